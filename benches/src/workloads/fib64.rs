//! Recursive Fibonacci: the cost of call and return.

use std::hint::black_box;

use anyhow::Result;
use dotvm_arch::Width;

use super::Setup;
use crate::dotvm;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::peers::native::Native;
use crate::peers::wasmi::{self, Wasmi};

pub const NAME: &str = "fib64";

const PROGRAM: &str = include_str!("../../programs/fib.dasm");

const WAT: &str = r#"
(module
  (func $fib (export "run") (param $n i64) (result i64)
    (if (i64.lt_u (local.get $n) (i64.const 2)) (then (return (local.get $n))))
    (i64.add
      (call $fib (i64.sub (local.get $n) (i64.const 1)))
      (call $fib (i64.sub (local.get $n) (i64.const 2))))))
"#;

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let n = setup.pick(30, 22);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(dotvm::Call::new(PROGRAM, Width::W64, n)?));
    contenders.push(Box::new(Wasmi::new(WAT, n)?));
    contenders.push(Box::new(Native(move || native(black_box(n)))));
    Ok(Workload {
        name: NAME,
        summary: format!("fib({n}) by recursion, 64 bits"),
        operations: calls(n),
        unit: "call",
        kind: Kind::Compute,
        baseline: wasmi::NAME,
        expected: fibonacci(n),
        expected_state: None,
        goal: Some(Goal::TimesBaseline(1.8)),
        contenders,
    })
}

#[inline(never)]
fn native(n: u64) -> u64 {
    if n < 2 { n } else { native(n - 1) + native(n - 2) }
}

/// fib(n), by addition from below.
fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// How many calls the recursion makes: calls(n) = 1 + calls(n-1) + calls(n-2), which is 2*fib(n+1) - 1.
fn calls(n: u64) -> u64 {
    2 * fibonacci(n + 1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!([0, 1, 2, 10, 30].map(fibonacci), [0, 1, 1, 55, 832_040]);
        assert_eq!([0, 1, 2, 3, 4].map(calls), [1, 1, 3, 5, 9]);
    }
}
