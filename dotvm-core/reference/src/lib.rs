//! A slow and obvious interpreter: the oracle of the fast one.
//!
//! It is written from the opcode table and `SEMANTICS.md` and shares no arithmetic with the engine: the width is
//! a number at run time, words are unbounded numbers reduced modulo 2^w, each frame has plain stacks, and every
//! operation is one arm of one match.

mod arithmetic;
mod arrays;
mod bytes;
mod cells;
mod crypto;
mod documents;
mod float;
mod integers;
mod lanes;
mod machine;
mod memory;
mod memory_page;
mod references;
mod system;
mod tasks;
mod value;

pub use arithmetic::integer;
use dotvm_arch::W512;
use dotvm_core::decode::Inst;
use dotvm_core::host::Host;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{FinalState, Invocation, Outcome};
use dotvm_core::verify::Verified;
pub use float::{BINARY32, BINARY64, Format, float};
use num_bigint::BigUint;

/// Runs a function of a verified module.
///
/// Errors: a sentence, if the invocation does not fit the module or the module's memory starts larger than the limit;
/// then nothing was run.
pub fn run(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut dyn Host,
) -> Result<(Outcome, FinalState), String> {
    run_with(verified, invocation, limits, host, &mut |_, _| {})
}

/// Like [`run`], and calls `inspect` with the index of the function and the instruction before each instruction,
/// after the gas of its block is taken.
pub fn run_with(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut dyn Host,
    inspect: &mut dyn FnMut(u32, &Inst),
) -> Result<(Outcome, FinalState), String> {
    invocation.check(verified)?;
    machine::run(verified, invocation, limits, host, inspect)
}

/// A word as it crosses the boundary of the machine.
fn to_w512(word: &BigUint) -> W512 {
    let mut bytes = [0; 64];
    for (to, from) in bytes.iter_mut().zip(word.to_bytes_le()) {
        *to = from;
    }
    W512::from_le_bytes(bytes)
}

/// A word that came across the boundary of the machine.
fn from_w512(word: &W512) -> BigUint {
    BigUint::from_bytes_le(&word.to_le_bytes::<64>())
}
