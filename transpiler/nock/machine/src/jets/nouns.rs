//! Layer two: hashes and orders of nouns, jam and cue.

use dotvm_heap::{Reference, mug_of_bytes};

use super::call::{Call, Miss, Product};

pub(super) fn mug(call: &mut Call<'_>) -> Product {
    let noun = call.sample()?;
    let mug = call.mug(&noun)?;
    call.atom_of(mug.into())
}

/// Whether one noun is not behind another: by structure, then by size.
fn is_in_depth_order(call: &mut Call<'_>, a: &Reference, b: &Reference) -> Result<bool, Miss> {
    let (mut a, mut b) = (a.alias(), b.alias());
    loop {
        call.pay(dotvm_core::gas::PAIR)?;
        if call.equal(&a, &b)? {
            return Ok(true);
        }
        if !a.is_cell() {
            return Ok(b.is_cell() || call.natural(&a)? < call.natural(&b)?);
        }
        if !b.is_cell() {
            return Ok(false);
        }
        let ((a_head, a_tail), (b_head, b_tail)) = (call.pair(&a)?, call.pair(&b)?);
        (a, b) = if call.equal(&a_head, &b_head)? { (a_tail, b_tail) } else { (a_head, b_head) };
    }
}

pub(super) fn dor(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    Call::flag(is_in_depth_order(call, &a, &b)?)
}

/// By hash, where equal hashes leave it to the depth order.
fn by_hash(call: &mut Call<'_>, hash: impl Fn(u32) -> u32) -> Product {
    let (a, b) = call.arguments()?;
    let (first, second) = (hash(call.mug(&a)?), hash(call.mug(&b)?));
    if first == second {
        return Call::flag(is_in_depth_order(call, &a, &b)?);
    }
    Call::flag(first < second)
}

pub(super) fn gor(call: &mut Call<'_>) -> Product {
    by_hash(call, |mug| mug)
}

/// The hash of a hash.
pub(super) fn mug_of_mug(mug: u32) -> u32 {
    let bytes = mug.to_le_bytes();
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    mug_of_bytes(&bytes[..len])
}

pub(super) fn mor(call: &mut Call<'_>) -> Product {
    by_hash(call, mug_of_mug)
}

pub(super) fn jam(call: &mut Call<'_>) -> Product {
    let noun = call.sample()?;
    let bytes = call.heap.jam(&noun, &mut *call.charge)?;
    call.atom_of_bytes(&bytes)
}

pub(super) fn cue(call: &mut Call<'_>) -> Product {
    let jam = call.sample()?;
    let bytes = call.bytes(&jam, u64::MAX)?.into();
    match call.heap.cue(&bytes, &mut *call.charge) {
        Ok(noun) => Ok(noun),
        // What is no jam by the rules of this machine is left to the formula.
        Err(dotvm_heap::NounError::Malformed | dotvm_heap::NounError::Kind) => Err(Miss::Punt),
        Err(error) => Err(error.into()),
    }
}
