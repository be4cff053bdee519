//! Layer one: arithmetic and tree addresses.

use dotvm_core::gas;
use num_bigint::BigUint;
use num_integer::Integer;
use num_traits::Zero;

use super::call::{Call, Miss, Product};

/// Both atoms of the sample, if they are small.
fn smalls(call: &Call<'_>) -> Result<Option<(u64, u64)>, Miss> {
    let (a, b) = call.arguments()?;
    Ok(Call::small(&a).zip(Call::small(&b)))
}

fn naturals(call: &mut Call<'_>) -> Result<(BigUint, BigUint), Miss> {
    let (a, b) = call.arguments()?;
    Ok((call.natural(&a)?, call.natural(&b)?))
}

pub(super) fn add(call: &mut Call<'_>) -> Product {
    if let Some((a, b)) = smalls(call)? {
        return call.atom_of(a + b);
    }
    let (a, b) = naturals(call)?;
    call.atom(a + b)
}

pub(super) fn dec(call: &mut Call<'_>) -> Product {
    let a = call.sample()?;
    match Call::small(&a) {
        Some(0) => Err(Miss::Crash),
        Some(a) => call.atom_of(a - 1),
        None => {
            let a = call.natural(&a)?;
            call.atom(a - 1u8)
        }
    }
}

pub(super) fn sub(call: &mut Call<'_>) -> Product {
    if let Some((a, b)) = smalls(call)? {
        return call.atom_of(a.checked_sub(b).ok_or(Miss::Crash)?);
    }
    let (a, b) = naturals(call)?;
    if a < b {
        return Err(Miss::Crash);
    }
    call.atom(a - b)
}

pub(super) fn mul(call: &mut Call<'_>) -> Product {
    if let Some((a, b)) = smalls(call)?
        && let Some(product) = a.checked_mul(b)
    {
        return call.atom_of(product);
    }
    let (a, b) = naturals(call)?;
    call.pay(gas::integer_product(a.bits().div_ceil(64), b.bits().div_ceil(64)))?;
    call.pay_bits(a.bits() + b.bits())?;
    call.atom(a * b)
}

/// Quotient and remainder.
fn divided(call: &mut Call<'_>) -> Result<(BigUint, BigUint), Miss> {
    let (a, b) = naturals(call)?;
    if b.is_zero() {
        return Err(Miss::Crash);
    }
    call.pay(gas::integer_product(a.bits().div_ceil(64), b.bits().div_ceil(64)))?;
    Ok(a.div_rem(&b))
}

pub(super) fn div(call: &mut Call<'_>) -> Product {
    if let Some((a, b)) = smalls(call)? {
        return call.atom_of(a.checked_div(b).ok_or(Miss::Crash)?);
    }
    let (quotient, _) = divided(call)?;
    call.atom(quotient)
}

pub(super) fn rem(call: &mut Call<'_>) -> Product {
    if let Some((a, b)) = smalls(call)? {
        return call.atom_of(a.checked_rem(b).ok_or(Miss::Crash)?);
    }
    let (_, remainder) = divided(call)?;
    call.atom(remainder)
}

pub(super) fn dvr(call: &mut Call<'_>) -> Product {
    let (quotient, remainder) = divided(call)?;
    let quotient = call.atom(quotient)?;
    let remainder = call.atom(remainder)?;
    call.cons(quotient, remainder)
}

fn is_less(call: &mut Call<'_>) -> Result<bool, Miss> {
    if let Some((a, b)) = smalls(call)? {
        return Ok(a < b);
    }
    let (a, b) = naturals(call)?;
    Ok(a < b)
}

fn is_greater(call: &mut Call<'_>) -> Result<bool, Miss> {
    if let Some((a, b)) = smalls(call)? {
        return Ok(a > b);
    }
    let (a, b) = naturals(call)?;
    Ok(a > b)
}

pub(super) fn lth(call: &mut Call<'_>) -> Product {
    Call::flag(is_less(call)?)
}

pub(super) fn gth(call: &mut Call<'_>) -> Product {
    Call::flag(is_greater(call)?)
}

pub(super) fn gte(call: &mut Call<'_>) -> Product {
    Call::flag(!is_less(call)?)
}

pub(super) fn lte(call: &mut Call<'_>) -> Product {
    Call::flag(!is_greater(call)?)
}

/// One of the arguments.
fn choose(call: &mut Call<'_>, is_first: bool) -> Product {
    let (a, b) = call.arguments()?;
    Ok(call.share(if is_first { &a } else { &b }))
}

pub(super) fn max(call: &mut Call<'_>) -> Product {
    let is_first = is_greater(call)?;
    choose(call, is_first)
}

pub(super) fn min(call: &mut Call<'_>) -> Product {
    let is_first = is_less(call)?;
    choose(call, is_first)
}

/// An axis of at least 2.
fn axis(call: &mut Call<'_>) -> Result<BigUint, Miss> {
    let axis = call.sample()?;
    let axis = call.natural(&axis)?;
    if axis.bits() < 2 { Err(Miss::Crash) } else { Ok(axis) }
}

pub(super) fn cap(call: &mut Call<'_>) -> Product {
    let axis = axis(call)?;
    call.atom_of(2 + u64::from(axis.bit(axis.bits() - 2)))
}

pub(super) fn mas(call: &mut Call<'_>) -> Product {
    let mut axis = axis(call)?;
    let bits = axis.bits();
    axis.set_bit(bits - 1, false);
    axis.set_bit(bits - 2, true);
    call.atom(axis)
}

pub(super) fn peg(call: &mut Call<'_>) -> Product {
    let (a, mut b) = naturals(call)?;
    if a.is_zero() || b.is_zero() {
        return Err(Miss::Crash);
    }
    let steps = b.bits() - 1;
    call.pay_bits(a.bits() + steps)?;
    b.set_bit(steps, false);
    call.atom((a << steps) | b)
}
