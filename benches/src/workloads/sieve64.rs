//! The sieve of Eratosthenes over bytes: the cost of loads, stores and branches.

use std::hint::black_box;

use anyhow::Result;
use dotvm_arch::Width;

use super::Setup;
use crate::dotvm;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::peers::native::Native;
use crate::peers::wasmi::{self, Wasmi};

pub const NAME: &str = "sieve64";

const PROGRAM: &str = include_str!("../../programs/sieve.dasm");

/// Sixteen pages hold 1,048,576 bytes, one for every number up to the limit. Addresses are 32 bits, as
/// WebAssembly compilers make them.
const WAT: &str = r#"
(module
  (memory 16)
  (func (export "run") (param $limit i64) (result i64)
    (local $n i32) (local $i i32) (local $j i32) (local $count i32)
    (local.set $n (i32.wrap_i64 (local.get $limit)))
    (memory.fill (i32.const 0) (i32.const 1) (i32.add (local.get $n) (i32.const 1)))
    (local.set $i (i32.const 2))
    (block $sieved
      (loop $next
        (br_if $sieved (i32.gt_u (i32.mul (local.get $i) (local.get $i)) (local.get $n)))
        (if (i32.load8_u (local.get $i))
          (then
            (local.set $j (i32.mul (local.get $i) (local.get $i)))
            (loop $strike
              (i32.store8 (local.get $j) (i32.const 0))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br_if $strike (i32.le_u (local.get $j) (local.get $n))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.set $i (i32.const 2))
    (loop $sum
      (local.set $count (i32.add (local.get $count) (i32.load8_u (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $sum (i32.le_u (local.get $i) (local.get $n))))
    (i64.extend_i32_u (local.get $count))))
"#;

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    // The number of primes up to 10^6 and 10^5: OEIS A006880.
    let (limit, primes) = setup.pick((1_000_000, 78_498), (100_000, 9_592));
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(dotvm::Call::new(PROGRAM, Width::W64, limit)?));
    contenders.push(Box::new(Wasmi::new(WAT, limit)?));
    let mut flags = vec![0; limit as usize + 1];
    contenders.push(Box::new(Native(move || native(black_box(&mut flags)))));
    Ok(Workload {
        name: NAME,
        summary: format!("byte sieve up to {limit}, primes counted; the fill is part of the work"),
        operations: limit,
        unit: "number",
        kind: Kind::Compute,
        baseline: wasmi::NAME,
        expected: primes,
        expected_state: None,
        goal: Some(Goal::TimesBaseline(1.8)),
        contenders,
    })
}

#[inline(never)]
fn native(flags: &mut [u8]) -> u64 {
    flags.fill(1);
    let mut i = 2;
    while i * i < flags.len() {
        if flags[i] != 0 {
            for j in (i * i..flags.len()).step_by(i) {
                flags[j] = 0;
            }
        }
        i += 1;
    }
    flags[2..].iter().map(|&flag| u64::from(flag)).sum()
}
