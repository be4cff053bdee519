//! Lanes inside words, cells, and ParaDots: each against the same in Rust.

use std::hint::black_box;
use std::rc::Rc;

use anyhow::Result;
use dotvm_arch::Width;

use super::Setup;
use crate::dotvm;
use crate::harness::{Contender, Kind, Workload};
use crate::peers::native::{self, Native};

pub const NAME_LANES: &str = "lanes512";
pub const NAME_CELLS: &str = "cells";
pub const NAME_AXIS: &str = "axis";
pub const NAME_PARADOTS: &str = "paradots";
pub const NAME_CALLS: &str = "paradots_calls";

const LANES: &str = "
.arch 512
.func pub run [n] -> [sum]
  .local a b
  PUSH 3 V.SPLAT i32 LSET a
again:
  LGET b LGET a V.MUL i32 LGET a V.ADD i32 LSET b
  LGET n ADDI -1 LTEE n JNZ again
  LGET b V.SUM i32 RET
.end
";

const CELLS: &str = "
.arch 64
.func pub run [n] -> [sum]
  .local i sum
  .rlocal list
  .while LGET n .do
    RNULL RLSET list
    PUSH 0 LSET i
    .while LGET i PUSH 1000 LT .do
      LGET i W2Z unsigned RLGET list CONS RLSET list
      LGET i ADDI 1 LSET i
    .end_while
    .while RLGET list ISCELL .do
      RLGET list HEAD Z2W wrap LGET sum ADD LSET sum
      RLGET list TAIL RLSET list
    .end_while
    LGET n ADDI -1 LSET n
  .end_while
  LGET sum RET
.end
";

/// A tree of depth 4 whose leaves are 16 to 31; 23 is the leaf at axis 23.
const AXIS: &str = "
.arch 64
.func pub run [n] -> [sum]
  .local sum
  .rlocal tree
  PUSH 1 CALL tree RLSET tree
again:
  RLGET tree AXIS 23 Z2W wrap LGET sum ADD LSET sum
  LGET n ADDI -1 LTEE n JNZ again
  LGET sum RET
.end
.func tree [at] -> {tree}
  LGET at PUSH 16 GE
  .if
    LGET at W2Z unsigned RET
  .end_if
  LGET at PUSH 1 SHL CALL tree LGET at PUSH 1 SHL ADDI 1 CALL tree CONS RET
.end
";

const PARADOTS: &str = include_str!("../../programs/paradots.dasm");

fn workload(
    name: &'static str,
    summary: String,
    operations: u64,
    unit: &'static str,
    expected: u64,
    contenders: Vec<Box<dyn Contender>>,
) -> Workload {
    Workload {
        name,
        summary,
        operations,
        unit,
        kind: Kind::Compute,
        baseline: native::NAME,
        expected,
        expected_state: None,
        goal: None,
        contenders,
    }
}

/// A multiplication and an addition of sixteen lanes.
pub fn build_lanes(setup: &Setup) -> Result<Workload> {
    let n = setup.pick(2_000_000, 200_000);
    let contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(dotvm::Call::new(LANES, Width::W512, n)?),
        Box::new(Native(move || lanes(black_box(n)))),
    ];
    let summary = format!("{n} times b = 3 b + 3 in sixteen lanes of 32 bits, then their sum");
    Ok(workload(NAME_LANES, summary, 2 * n, "operation", lanes(n), contenders))
}

#[inline(never)]
fn lanes(n: u64) -> u64 {
    let (a, mut b) = ([3u32; 16], [0u32; 16]);
    for _ in 0..n {
        for (b, a) in b.iter_mut().zip(black_box(&a)) {
            *b = b.wrapping_mul(*a).wrapping_add(*a);
        }
    }
    let sum = b.iter().fold(0u32, |sum, b| sum.wrapping_add(*b));
    super::fold(ruint::aliases::U256::from(sum))
}

/// Lists of a thousand numbers, made and walked.
pub fn build_cells(setup: &Setup) -> Result<Workload> {
    struct List(u64, Option<Rc<List>>);
    let n = setup.pick(2_000, 200);
    let native = move || {
        let mut sum = 0;
        for _ in 0..black_box(n) {
            let mut list: Option<Rc<List>> = None;
            for i in 0..1000 {
                list = Some(Rc::new(List(i, list)));
            }
            while let Some(cell) = list {
                sum += cell.0;
                // Take it apart, as the program does: a list that is dropped whole would be so in one recursion.
                list = match Rc::try_unwrap(cell) {
                    Ok(cell) => cell.1,
                    Err(shared) => shared.1.clone(),
                };
            }
        }
        sum
    };
    let contenders: Vec<Box<dyn Contender>> =
        vec![Box::new(dotvm::Call::new(CELLS, Width::W64, n)?), Box::new(Native(native))];
    let summary = format!("{n} lists of 1,000 numbers, made, walked and given back; native: Rc");
    Ok(workload(NAME_CELLS, summary, 1000 * n, "cell", 499_500 * n, contenders))
}

/// A way of four steps into a tree.
pub fn build_axis(setup: &Setup) -> Result<Workload> {
    enum Tree {
        Leaf(u64),
        Pair(Rc<Tree>, Rc<Tree>),
    }
    fn tree(at: u64) -> Rc<Tree> {
        Rc::new(if at >= 16 { Tree::Leaf(at) } else { Tree::Pair(tree(2 * at), tree(2 * at + 1)) })
    }
    fn part(tree: &Rc<Tree>, axis: u64) -> Option<Rc<Tree>> {
        let mut at = tree;
        for bit in (0..axis.ilog2()).rev() {
            let Tree::Pair(head, tail) = &**at else { return None };
            at = if axis >> bit & 1 == 0 { head } else { tail };
        }
        Some(at.clone())
    }
    let n = setup.pick(5_000_000, 500_000);
    let native = move || {
        let tree = tree(1);
        (0..black_box(n))
            .map(|_| match part(black_box(&tree), black_box(23)).as_deref() {
                Some(Tree::Leaf(leaf)) => *leaf,
                _ => 0,
            })
            .sum()
    };
    let contenders: Vec<Box<dyn Contender>> =
        vec![Box::new(dotvm::Call::new(AXIS, Width::W64, n)?), Box::new(Native(native))];
    let summary =
        format!("{n} times the leaf at axis 23 of a tree, added up; native: Rc, an axis known when it runs");
    Ok(workload(NAME_AXIS, summary, n, "look", 23 * n, contenders))
}

/// 64 pieces of work of which none needs another's.
pub fn build_paradots(setup: &Setup) -> Result<Workload> {
    build_pieces(
        setup,
        NAME_PARADOTS,
        "as ParaDots, joined at the end (wall time shows what several cores bring)",
        "run",
    )
}

/// The same pieces as plain calls.
pub fn build_calls(setup: &Setup) -> Result<Workload> {
    build_pieces(setup, NAME_CALLS, "as plain calls", "calls")
}

fn build_pieces(setup: &Setup, name: &'static str, how: &str, function: &str) -> Result<Workload> {
    let n = setup.pick(200_000, 20_000);
    let contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(dotvm::Call::of(PARADOTS, Width::W64, function, n)?),
        Box::new(Native(move || pieces(black_box(n)))),
    ];
    let summary = format!("64 times {n} steps of s = 31 s + n, each step's s stored in memory, {how}");
    Ok(workload(name, summary, 64 * n, "step", pieces(n), contenders))
}

#[inline(never)]
fn pieces(n: u64) -> u64 {
    let mut memory = [0; 64];
    for place in &mut memory {
        let mut s = 0u64;
        for n in (1..=n).rev() {
            s = s.wrapping_mul(31).wrapping_add(n);
            *black_box(&mut *place) = s;
        }
    }
    memory.iter().fold(0, |sum, s| sum.wrapping_add(*s))
}
