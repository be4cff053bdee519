//! `s = s*k + i` over 256-bit words: the cost of wide arithmetic.

use std::hint::black_box;

use anyhow::Result;
use dotvm_arch::Width;
use revm::bytecode::opcode::{ADD, DUP2, DUP3, DUP5, GT, JUMPI, MSTORE, MUL, PUSH0, RETURN, SWAP1};
use ruint::{aliases::U256, uint};

use super::{Setup, affine_sum, fold};
use crate::dotvm;
use crate::evm::Assembler;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::peers::native::Native;
use crate::peers::revm as peer;

pub const NAME: &str = "arith256";

const PROGRAM: &str = include_str!("../../programs/arith256.dasm");

/// An odd factor with bits in all four limbs.
pub const FACTOR: U256 = uint!(0x9e3779b97f4a7c15f39cc0605cedc8341082276bf3a27251f86c6a11d0c18e95_U256);

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let iterations = setup.pick(5_000_000, 500_000);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(dotvm::Call::new(PROGRAM, Width::W256, iterations)?));
    contenders.push(Box::new(peer::Call::new(program(iterations)?)?));
    contenders.push(Box::new(Native(move || fold(native(black_box(FACTOR), black_box(iterations))))));
    Ok(Workload {
        name: NAME,
        summary: format!("s = s*k + i, 256 bits, {iterations} iterations"),
        operations: iterations,
        unit: "iteration",
        kind: Kind::Compute,
        baseline: peer::NAME,
        expected: fold(affine_sum(FACTOR, iterations)),
        expected_state: None,
        goal: Some(Goal::TimesBaseline(1.0 / 2.5)),
        contenders,
    })
}

#[inline(never)]
fn native(factor: U256, iterations: u64) -> U256 {
    (0..iterations).fold(U256::ZERO, |s, i| s.wrapping_mul(factor).wrapping_add(U256::from(i)))
}

/// The loop with both constants kept on the stack, since a DUP is cheaper than a PUSH32.
fn program(iterations: u64) -> Result<Vec<u8>> {
    let mut asm = Assembler::default();
    let next = asm.label();
    // n k i s
    asm.push_u64(iterations).push(FACTOR).ops(&[PUSH0, PUSH0]);
    asm.bind(next);
    // s = s*k + i
    asm.ops(&[DUP3, MUL, DUP2, ADD]);
    // i = i + 1, leaves n k s i
    asm.ops(&[SWAP1]).push_u64(1).ops(&[ADD]);
    // n k i s, again while n > i
    asm.ops(&[SWAP1, DUP2, DUP5, GT]).push_label(next).ops(&[JUMPI]);
    asm.ops(&[PUSH0, MSTORE]).push_u64(32).ops(&[PUSH0, RETURN]);
    asm.finish()
}
