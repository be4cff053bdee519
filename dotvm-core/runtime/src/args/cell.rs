//! Integers and cells from text.

use dotvm_core::limits::MAX_INTEGER_BITS;
use dotvm_core::outcome::Ref;
use num_bigint::{BigInt, Sign};

use super::parse_hex;

/// An integer: decimal or `0x…`, with `-` in front if negative.
pub(super) fn integer(text: &str) -> Option<BigInt> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (Sign::Minus, digits),
        None => (Sign::Plus, text),
    };
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    // At least three bits a digit; what is too long is not converted.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) || digits.len() as u64 > MAX_INTEGER_BITS / 3 {
        return None;
    }
    let magnitude = num_bigint::BigUint::parse_bytes(digits.as_bytes(), radix)?;
    (magnitude.bits() <= MAX_INTEGER_BITS).then(|| BigInt::from_biguint(sign, magnitude))
}

/// A cell: `[a b c]` is `[a [b c]]`.
pub(super) fn parse(text: &str) -> Result<Ref, String> {
    // The parts of each bracket that is open.
    let mut open: Vec<Vec<Ref>> = Vec::new();
    let mut rest = text.trim();
    if !rest.starts_with('[') {
        return Err("it does not begin with a bracket".to_owned());
    }
    loop {
        let part = if let Some(behind) = rest.strip_prefix('[') {
            open.push(Vec::new());
            rest = behind.trim_start();
            continue;
        } else if let Some(behind) = rest.strip_prefix(']') {
            rest = behind.trim_start();
            join(open.pop().unwrap_or_default())?
        } else {
            let end = rest.find([' ', '[', ']']).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind.trim_start();
            if word.is_empty() && rest.is_empty() {
                return Err("it is not closed".to_owned());
            }
            leaf(word)?
        };
        match open.last_mut() {
            Some(parts) => parts.push(part),
            None if rest.is_empty() => return Ok(part),
            None => return Err(format!("{rest:?} stands behind it")),
        }
    }
}

fn join(mut parts: Vec<Ref>) -> Result<Ref, String> {
    if parts.len() < 2 {
        return Err("a cell has at least two parts".to_owned());
    }
    let last = parts.pop().unwrap_or_default();
    Ok(parts.into_iter().rev().fold(last, |tail, head| Ref::cell(head, tail)))
}

fn leaf(word: &str) -> Result<Ref, String> {
    if word == "null" {
        return Ok(Ref::Null);
    }
    if let Some(digits) = word.strip_prefix("0x") {
        return parse_hex(digits).map(|bytes| Ref::Bytes(bytes.into()));
    }
    let number = integer(word.strip_prefix("int:").unwrap_or(word));
    number.map(Ref::Int).ok_or_else(|| format!("{word:?} is no part of one"))
}
