//! A chain of keccak-256 over 32 bytes: the cost of reaching a hash function from bytecode.

use std::hint::black_box;

use anyhow::Result;
use dotvm_arch::Width;
use revm::bytecode::opcode::{ADD, DUP1, DUP2, JUMPI, KECCAK256, MSTORE, NOT, PUSH0, RETURN};
use revm::primitives::keccak256;
use ruint::aliases::U256;
use sha3::{Digest, Keccak256};

use super::{Setup, fold};
use crate::dotvm;
use crate::evm::Assembler;
use crate::harness::{Contender, Kind, Workload};
use crate::peers::native::Native;
use crate::peers::revm as peer;

pub const NAME: &str = "keccak";

const PROGRAM: &str = include_str!("../../programs/keccak.dasm");

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let hashes = setup.pick(10_000, 1_000);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(dotvm::Call::new(PROGRAM, Width::W256, hashes)?));
    contenders.push(Box::new(peer::Call::new(program(hashes)?)?));
    contenders.push(Box::new(Native(move || native(black_box(hashes)))));
    Ok(Workload {
        name: NAME,
        summary: format!("{hashes} keccak-256 in a chain over 32 bytes in memory, from zero"),
        operations: hashes,
        unit: "hash",
        kind: Kind::Compute,
        baseline: peer::NAME,
        expected: expected(hashes),
        expected_state: None,
        goal: None,
        contenders,
    })
}

/// The chain by the `sha3` crate.
#[inline(never)]
fn native(hashes: u64) -> u64 {
    let mut value = [0u8; 32];
    for _ in 0..hashes {
        value = Keccak256::digest(value).into();
    }
    fold(U256::from_be_bytes(value))
}

/// The chain by the implementation that revm brings, so that the two check each other.
fn expected(hashes: u64) -> u64 {
    let mut value = [0u8; 32];
    for _ in 0..hashes {
        value = keccak256(value).0;
    }
    fold(U256::from_be_bytes(value))
}

fn program(hashes: u64) -> Result<Vec<u8>> {
    let mut asm = Assembler::default();
    let next = asm.label();
    // Counts down by adding -1 (PUSH0 NOT), kept below the counter.
    asm.ops(&[PUSH0, NOT]).push_u64(hashes);
    asm.bind(next);
    asm.push_u64(32).ops(&[PUSH0, KECCAK256, PUSH0, MSTORE]);
    asm.ops(&[DUP2, ADD, DUP1]).push_label(next).ops(&[JUMPI]);
    asm.push_u64(32).ops(&[PUSH0, RETURN]);
    asm.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hash_of_32_zero_bytes() {
        // keccak256 of 32 zero bytes, as in Solidity's storage layout for slot 0.
        let digest: [u8; 32] = Keccak256::digest([0u8; 32]).into();
        let known = "290decd9548b62a8d60345a988386fc84ba6bc95484008f6362f93160ef3e563";
        assert_eq!(U256::from_be_bytes(digest), U256::from_str_radix(known, 16).unwrap());
        assert_eq!(native(1), fold(U256::from_be_bytes(digest)));
    }
}
