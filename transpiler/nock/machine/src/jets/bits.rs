//! Layer two: atoms as rows of blocks of bits, and bitwise logic.

use dotvm_core::gas;
use num_bigint::BigUint;
use num_traits::Zero;

use super::call::{Call, Miss, Product};
use dotvm_heap::Reference;

/// The greatest block size that jets look at: blocks of 2^40 bits.
const MAX_BLOQ: u64 = 40;

/// Bits of a number of blocks, or a punt where that is more than any atom has and the formula is to say what follows.
fn width(bloq: u64, blocks: u64) -> Result<u64, Miss> {
    if bloq > MAX_BLOQ {
        return Err(Miss::Punt);
    }
    blocks.checked_mul(1 << bloq).filter(|bits| *bits < 1 << 62).ok_or(Miss::Punt)
}

/// The width that a block size, or a pair of it and a number of blocks, stands for.
fn bite(call: &Call<'_>, noun: &Reference) -> Result<u64, Miss> {
    if noun.is_cell() {
        let (bloq, step) = call.pair(noun)?;
        return width(call.number(&bloq)?, call.number(&step)?);
    }
    width(call.number(noun)?, 1)
}

fn low(number: &BigUint, bits: u64) -> BigUint {
    if number.bits() <= bits {
        return number.clone();
    }
    let mut digits = number.to_u64_digits();
    digits.truncate(bits.div_ceil(64) as usize);
    if !bits.is_multiple_of(64)
        && let Some(last) = digits.last_mut()
    {
        *last &= (1 << (bits % 64)) - 1;
    }
    from_digits(&digits)
}

fn from_digits(digits: &[u64]) -> BigUint {
    let bytes: Vec<u8> = digits.iter().flat_map(|digit| digit.to_le_bytes()).collect();
    BigUint::from_bytes_le(&bytes)
}

fn shifted_up(call: &mut Call<'_>, number: BigUint, bits: u64) -> Result<BigUint, Miss> {
    if number.is_zero() {
        return Ok(number);
    }
    call.pay_bits(number.bits().saturating_add(bits))?;
    Ok(number << bits)
}

fn blocks_of(bits: u64, width: u64) -> u64 {
    bits.div_ceil(width)
}

pub(super) fn bex(call: &mut Call<'_>) -> Product {
    let bits = call.sample()?;
    let bits = call.number(&bits)?;
    let power = shifted_up(call, BigUint::from(1u8), bits)?;
    call.atom(power)
}

pub(super) fn end(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    let width = bite(call, &a)?;
    if let Some(small) = Call::small(&b) {
        return call.atom_of(if width >= 64 { small } else { small & ((1 << width) - 1) });
    }
    let number = call.natural(&b)?;
    call.atom(low(&number, width))
}

pub(super) fn lsh(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    let width = bite(call, &a)?;
    let number = call.natural(&b)?;
    let number = shifted_up(call, number, width)?;
    call.atom(number)
}

pub(super) fn rsh(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    let width = bite(call, &a)?;
    if let Some(small) = Call::small(&b) {
        return call.atom_of(if width >= 64 { 0 } else { small >> width });
    }
    let number = call.natural(&b)?;
    call.atom(number >> width)
}

pub(super) fn met(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    let width = width(call.number(&a)?, 1)?;
    let bits = call.bits(&b)?;
    call.atom_of(blocks_of(bits, width))
}

pub(super) fn xeb(call: &mut Call<'_>) -> Product {
    let a = call.sample()?;
    let bits = call.bits(&a)?;
    call.atom_of(bits)
}

pub(super) fn cat(call: &mut Call<'_>) -> Product {
    let sample = call.sample()?;
    let [a, b, c] = call.three(&sample)?;
    let unit = width(call.number(&a)?, 1)?;
    let (b, c) = (call.natural(&b)?, call.natural(&c)?);
    let high = shifted_up(call, c, blocks_of(b.bits(), unit) * unit)?;
    call.atom(high | b)
}

pub(super) fn cut(call: &mut Call<'_>) -> Product {
    let sample = call.sample()?;
    let [a, range, d] = call.three(&sample)?;
    let (from, count) = call.pair(&range)?;
    let bloq = call.number(&a)?;
    let from = width(bloq, call.number(&from)?)?;
    let count = width(bloq, call.number(&count)?)?;
    if let Some(small) = Call::small(&d) {
        let rest = if from >= 64 { 0 } else { small >> from };
        return call.atom_of(if count >= 64 { rest } else { rest & ((1 << count) - 1) });
    }
    // Only the digits that are asked for are touched.
    let bits = call.bits(&d)?;
    if from >= bits {
        return call.atom_of(0);
    }
    let count = count.min(bits - from);
    call.pay(gas::integer(count.div_ceil(64) + 1))?;
    let number = match call.heap.as_integer(&d) {
        Some(dotvm_heap::Integer::Large(number)) => {
            let digits = number.magnitude().iter_u64_digits();
            let first = (from / 64) as usize;
            let wanted: Vec<u64> = digits.skip(first).take(count.div_ceil(64) as usize + 1).collect();
            low(&(from_digits(&wanted) >> (from % 64)), count)
        }
        _ => return Err(Miss::Punt),
    };
    call.atom(number)
}

/// A number in the making: bits are put one behind the other.
#[derive(Default)]
struct Row {
    digits: Vec<u64>,
    bits: u64,
}

impl Row {
    /// Appends a number that has at most so many bits, as that many.
    fn put(&mut self, number: &BigUint, bits: u64) {
        let needed = (self.bits + bits).div_ceil(64) as usize;
        self.digits.resize(needed.max(self.digits.len()), 0);
        let (mut at, shift) = ((self.bits / 64) as usize, self.bits % 64);
        for digit in number.iter_u64_digits() {
            self.digits[at] |= digit << shift;
            if shift > 0 && digit >> (64 - shift) != 0 {
                self.digits[at + 1] |= digit >> (64 - shift);
            }
            at += 1;
        }
        self.bits += bits;
    }

    fn number(&self) -> BigUint {
        from_digits(&self.digits)
    }
}

fn put(call: &mut Call<'_>, row: &mut Row, number: &BigUint, bits: u64) -> Result<(), Miss> {
    if row.bits.saturating_add(bits) > dotvm_core::limits::MAX_INTEGER_BITS {
        // The last ones may be zeros that make nothing longer: the formula is to say.
        return Err(Miss::Punt);
    }
    call.pay(gas::integer(bits.div_ceil(64)))?;
    row.put(number, bits);
    Ok(())
}

/// Puts pairs of a number of blocks and an atom together.
fn assembled(call: &mut Call<'_>, bloq: u64, parts: &[(Reference, Reference)]) -> Result<BigUint, Miss> {
    let mut row = Row::default();
    for (blocks, atom) in parts {
        let bits = width(bloq, call.number(blocks)?)?;
        let atom = call.natural(atom)?;
        put(call, &mut row, &low(&atom, bits), bits)?;
    }
    Ok(row.number())
}

pub(super) fn can(call: &mut Call<'_>) -> Product {
    let (a, list) = call.arguments()?;
    let bloq = call.number(&a)?;
    let items = call.items(&list)?;
    let parts = items.iter().map(|item| call.pair(item)).collect::<Result<Vec<_>, Miss>>()?;
    let number = assembled(call, bloq, &parts)?;
    call.atom(number)
}

pub(super) fn rap(call: &mut Call<'_>) -> Product {
    let (a, list) = call.arguments()?;
    let unit = width(call.number(&a)?, 1)?;
    let mut row = Row::default();
    for item in call.items(&list)? {
        let number = call.natural(&item)?;
        let bits = blocks_of(number.bits(), unit) * unit;
        put(call, &mut row, &number, bits)?;
    }
    call.atom(row.number())
}

pub(super) fn rep(call: &mut Call<'_>) -> Product {
    let (a, list) = call.arguments()?;
    let bits = bite(call, &a)?;
    let mut row = Row::default();
    for item in call.items(&list)? {
        let number = call.natural(&item)?;
        put(call, &mut row, &low(&number, bits), bits)?;
    }
    call.atom(row.number())
}

/// The blocks of a number, low ones first, up to the last that is not zero.
fn blocks(number: &BigUint, bits: u64) -> impl Iterator<Item = BigUint> {
    let digits = number.to_u64_digits();
    let count = blocks_of(number.bits(), bits);
    (0..count).map(move |block| {
        let from = block * bits;
        let first = (from / 64) as usize;
        let last = ((from + bits).div_ceil(64) as usize).min(digits.len());
        low(&(from_digits(&digits[first..last]) >> (from % 64)), bits)
    })
}

pub(super) fn rip(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    let bits = bite(call, &a)?;
    if Call::small(&b) == Some(0) {
        return Ok(Call::nil());
    }
    if bits == 0 {
        return Err(Miss::Punt);
    }
    if bits == 8 {
        let bytes = call.bytes(&b, u64::MAX)?;
        call.pay(gas::NODE * bytes.len() as u64)?;
        let items = bytes.into_iter().map(|byte| Reference::small(byte.into()).unwrap_or_default());
        return call.list(items, Call::nil());
    }
    let number = call.natural(&b)?;
    let count = blocks_of(number.bits(), bits);
    call.pay(gas::NODE.saturating_mul(count))?;
    let mut items = Vec::new();
    for block in blocks(&number, bits) {
        items.push(call.atom(block)?);
    }
    call.list(items.into_iter(), Call::nil())
}

pub(super) fn rev(call: &mut Call<'_>) -> Product {
    let sample = call.sample()?;
    let [bloq, count, data] = call.three(&sample)?;
    let (unit, count) = (width(call.number(&bloq)?, 1)?, call.number(&count)?);
    let total = width(call.number(&bloq)?, count)?;
    let data = call.natural(&data)?;
    let data = low(&data, total);
    if data.is_zero() {
        return call.atom_of(0);
    }
    call.pay_bits(total)?;
    let blocks: Vec<BigUint> = blocks(&data, unit).collect();
    let mut row = Row::default();
    let zeros = (count - blocks.len() as u64) * unit;
    put(call, &mut row, &BigUint::ZERO, zeros)?;
    for block in blocks.iter().rev() {
        put(call, &mut row, block, unit)?;
    }
    call.atom(row.number())
}

pub(super) fn sew(call: &mut Call<'_>) -> Product {
    let sample = call.sample()?;
    let [a, middle, e] = call.three(&sample)?;
    let [b, c, d] = call.three(&middle)?;
    let bloq = call.number(&a)?;
    let parts = [(b.alias(), e.alias()), (c.alias(), d)];
    let both = assembled(call, bloq, &parts)?;
    let from = width(bloq, call.number(&b)? + call.number(&c)?)?;
    let e = call.natural(&e)?;
    let rest = shifted_up(call, e >> from, from)?;
    call.atom(both | rest)
}

fn naturals(call: &mut Call<'_>) -> Result<(BigUint, BigUint), Miss> {
    let (a, b) = call.arguments()?;
    Ok((call.natural(&a)?, call.natural(&b)?))
}

pub(super) fn con(call: &mut Call<'_>) -> Product {
    let (a, b) = naturals(call)?;
    call.atom(a | b)
}

pub(super) fn dis(call: &mut Call<'_>) -> Product {
    let (a, b) = naturals(call)?;
    call.atom(a & b)
}

pub(super) fn mix(call: &mut Call<'_>) -> Product {
    let (a, b) = naturals(call)?;
    call.atom(a ^ b)
}
