//! `s = s*31 + i` over 64-bit words: the cost of a tight loop.

use std::hint::black_box;

use anyhow::Result;
use dotvm_arch::Width;
use ruint::Uint;

use super::{Setup, affine_sum};
use crate::dotvm;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::peers::native::Native;
use crate::peers::wasmi::{self, Wasmi};

pub const NAME: &str = "arith64";

const PROGRAM: &str = include_str!("../../programs/arith.dasm");

const FACTOR: u64 = 31;

const WAT: &str = r#"
(module
  (func (export "run") (param $n i64) (result i64)
    (local $s i64) (local $i i64)
    (loop $next
      (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (local.get $n))))
    (local.get $s)))
"#;

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let iterations = setup.pick(10_000_000, 1_000_000);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(dotvm::Call::new(PROGRAM, Width::W64, iterations)?));
    contenders.push(Box::new(Wasmi::new(WAT, iterations)?));
    contenders.push(Box::new(Native(move || native(black_box(FACTOR), black_box(iterations)))));
    Ok(Workload {
        name: NAME,
        summary: format!("s = s*31 + i, 64 bits, {iterations} iterations"),
        operations: iterations,
        unit: "iteration",
        kind: Kind::Compute,
        baseline: wasmi::NAME,
        expected: affine_sum(Uint::<64, 1>::from(FACTOR), iterations).to(),
        expected_state: None,
        goal: Some(Goal::TimesBaseline(1.8)),
        contenders,
    })
}

// A compiler that knows the factor folds several iterations into one, and the work is no longer the same.
#[inline(never)]
fn native(factor: u64, iterations: u64) -> u64 {
    (0..iterations).fold(0u64, |s, i| s.wrapping_mul(factor).wrapping_add(i))
}
