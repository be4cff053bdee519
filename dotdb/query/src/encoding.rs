//! Values as bytes that sort as the values do.
//!
//! Encodings are compared byte by byte, and none is the beginning of another, so those of several
//! values one after the other sort as the lists of values do. The first byte is the class:
//!
//! | Byte | Value | What follows |
//! |---|---|---|
//! | 02 | missing | |
//! | 04 | null | |
//! | 06, 08 | false, true | |
//! | 10 | -infinity | |
//! | 11 | negative number | as for its magnitude, all bits inverted |
//! | 12 | zero | |
//! | 13 | positive number | the exponent of two plus 2048 as two bytes, big-endian; the bits after the leading one in groups of seven, each in a byte whose lowest bit says whether more follow; groups of zeros at the end are left out, the first never |
//! | 14 | infinity | |
//! | 15 | NaN | |
//! | 20 | text | UTF-8 with 00 FF for each 00, then 00 00 |
//! | 30 | byte string | as text |
//! | 40 | array | its elements, then 00 |
//! | 50 | map | its names (as text) and values in the order of the document, then 00 |
//!
//! Numbers that are equal have one encoding, integer or float: what is decoded is the canonical form
//! of [`Value::canonical`].

use num_bigint::{BigInt, BigUint};

use crate::cbor;
use crate::value::{Class, Malformed, Value, ValueRef};

const END: u8 = 0x00;
const MISSING: u8 = 0x02;
const NULL: u8 = 0x04;
const FALSE: u8 = 0x06;
const TRUE: u8 = 0x08;
const NEGATIVE_INFINITY: u8 = 0x10;
const NEGATIVE: u8 = 0x11;
const ZERO: u8 = 0x12;
const POSITIVE: u8 = 0x13;
const INFINITY: u8 = 0x14;
const NAN: u8 = 0x15;
const TEXT: u8 = 0x20;
const BYTES: u8 = 0x30;
const ARRAY: u8 = 0x40;
const MAP: u8 = 0x50;

/// Added to exponents: the least is that of the least subnormal float, -1074.
const EXPONENT_BIAS: i32 = 2048;

/// Appends the encoding of `value`.
///
/// # Errors
/// [`Malformed`] inside of an array or map; `out` is then of no use.
pub fn encode_into(out: &mut Vec<u8>, value: ValueRef<'_>) -> Result<(), Malformed> {
    encode_at(out, value, 0)
}

/// The encoding of `value`.
///
/// # Errors
/// As [`encode_into`].
pub fn encode(value: ValueRef<'_>) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    encode_into(&mut out, value)?;
    Ok(out)
}

fn encode_at(out: &mut Vec<u8>, value: ValueRef<'_>, depth: usize) -> Result<(), Malformed> {
    match value {
        ValueRef::Missing => out.push(MISSING),
        ValueRef::Null => out.push(NULL),
        ValueRef::Bool(value) => out.push(if value { TRUE } else { FALSE }),
        ValueRef::Int(value) => encode_small(out, value < 0, value.unsigned_abs(), 0),
        ValueRef::Big { negative, magnitude } => {
            if negative {
                let magnitude = BigUint::from_bytes_be(magnitude) + 1u8;
                encode_magnitude(out, true, &magnitude.to_bytes_be(), 0);
            } else {
                encode_magnitude(out, false, magnitude, 0);
            }
        }
        ValueRef::Float(value) => encode_float(out, value),
        ValueRef::Text(text) => {
            out.push(TEXT);
            encode_string(out, text.as_bytes());
        }
        ValueRef::Bytes(bytes) => {
            out.push(BYTES);
            encode_string(out, bytes);
        }
        ValueRef::Array(_) | ValueRef::Map(_) if depth >= dotdb_document::MAX_DEPTH => return Err(Malformed),
        ValueRef::Array(array) => {
            out.push(ARRAY);
            let mut elements = cbor::elements(array)?;
            while let Some(element) = elements.next()? {
                encode_at(out, element, depth + 1)?;
            }
            out.push(END);
        }
        ValueRef::Map(map) => {
            out.push(MAP);
            let mut entries = cbor::entries(map)?;
            while let Some((name, value)) = entries.next()? {
                encode_at(out, ValueRef::Text(name), depth + 1)?;
                encode_at(out, value, depth + 1)?;
            }
            out.push(END);
        }
    }
    Ok(())
}

fn encode_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.push(NAN);
    } else if value.is_infinite() {
        out.push(if value < 0.0 { NEGATIVE_INFINITY } else { INFINITY });
    } else {
        let bits = value.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = match (bits >> 52 & 0x7ff) as i32 {
            0 => (fraction, -1074),
            biased => (fraction | 1 << 52, biased - 1075),
        };
        encode_small(out, value < 0.0, u128::from(mantissa), exponent);
    }
}

/// [`encode_magnitude`] for a magnitude of at most 128 bits.
fn encode_small(out: &mut Vec<u8>, negative: bool, magnitude: u128, exponent: i32) {
    if magnitude == 0 {
        out.push(ZERO);
        return;
    }
    let flip = if negative { 0xff } else { 0x00 };
    let zeros = magnitude.leading_zeros();
    // As there: from 1 to below 2^16.
    let biased = (exponent + 127 - zeros as i32 + EXPONENT_BIAS).clamp(0, 0xffff) as u16;
    let [high, low] = biased.to_be_bytes();
    out.extend_from_slice(&[if negative { NEGATIVE } else { POSITIVE }, high ^ flip, low ^ flip]);
    // The bits after the leading one, from the highest bit on.
    let mut rest = magnitude.checked_shl(zeros + 1).unwrap_or(0);
    loop {
        let seven = (rest >> 121) as u8;
        rest <<= 7;
        out.push((seven << 1 | u8::from(rest != 0)) ^ flip);
        if rest == 0 {
            break;
        }
    }
}

/// Encodes a number of magnitude `magnitude` * 2^`exponent`, `magnitude` being a big-endian integer.
fn encode_magnitude(out: &mut Vec<u8>, negative: bool, magnitude: &[u8], exponent: i32) {
    let Some(first) = magnitude.iter().position(|&byte| byte != 0) else {
        out.push(ZERO);
        return;
    };
    let magnitude = &magnitude[first..];
    let width = magnitude.len() as i32 * 8 - magnitude[0].leading_zeros() as i32;
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    // At least 1 and below 2^16: magnitudes have at most 513 bits, exponents at least -1074.
    let biased = (exponent + width - 1 + EXPONENT_BIAS).clamp(0, 0xffff) as u16;
    out.extend_from_slice(&biased.to_be_bytes());
    // Bits after the leading one, from the highest: bit i of the magnitude, counted from the left.
    let leading = magnitude[0].leading_zeros() as usize + 1;
    let total = magnitude.len() * 8;
    let bit = |at: usize| at < total && magnitude[at / 8] >> (7 - at % 8) & 1 == 1;
    let last_one = (leading..total).rev().find(|&at| bit(at)).map_or(leading, |at| at + 1);
    let groups = (last_one - leading).div_ceil(7).max(1);
    for group in 0..groups {
        let from = leading + group * 7;
        let seven = (from..from + 7).fold(0u8, |byte, at| byte << 1 | u8::from(bit(at)));
        out.push(seven << 1 | u8::from(group + 1 < groups));
    }
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

fn encode_string(out: &mut Vec<u8>, bytes: &[u8]) {
    escape(out, bytes);
    out.extend_from_slice(&[0x00, 0x00]);
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0x00 {
            out.push(0xff);
        }
    }
}

/// Reads the value that `bytes` begin with, and gives what is behind it. Only what [`encode_into`]
/// writes is read, numbers in canonical form.
///
/// # Errors
/// [`Malformed`] for all else.
pub fn decode(bytes: &[u8]) -> Result<(Value, &[u8]), Malformed> {
    decode_at(bytes, 0)
}

fn decode_at(bytes: &[u8], depth: usize) -> Result<(Value, &[u8]), Malformed> {
    let (&class, rest) = bytes.split_first().ok_or(Malformed)?;
    Ok(match class {
        MISSING if depth == 0 => (Value::Missing, rest),
        NULL => (Value::Null, rest),
        FALSE => (Value::Bool(false), rest),
        TRUE => (Value::Bool(true), rest),
        NEGATIVE_INFINITY => (Value::Float(f64::NEG_INFINITY), rest),
        ZERO => (Value::Int(0), rest),
        INFINITY => (Value::Float(f64::INFINITY), rest),
        NAN => (Value::Float(f64::NAN), rest),
        NEGATIVE | POSITIVE => decode_number(class == NEGATIVE, rest)?,
        TEXT => {
            let (text, rest) = decode_string(rest)?;
            (Value::Text(String::from_utf8(text).map_err(|_| Malformed)?), rest)
        }
        BYTES => {
            let (bytes, rest) = decode_string(rest)?;
            (Value::Bytes(bytes), rest)
        }
        ARRAY | MAP => {
            if depth >= dotdb_document::MAX_DEPTH {
                return Err(Malformed);
            }
            let mut items = Vec::new();
            let mut count = 0;
            let mut last_name: Option<Vec<u8>> = None;
            let mut rest = rest;
            while *rest.first().ok_or(Malformed)? != END {
                if class == MAP {
                    let (name, behind) = decode_at(rest, depth + 1)?;
                    let Value::Text(name) = name else { return Err(Malformed) };
                    let mut encoded = Vec::new();
                    cbor::write_text(&mut encoded, &name);
                    if last_name.as_ref().is_some_and(|last| *last >= encoded) {
                        return Err(Malformed);
                    }
                    items.extend_from_slice(&encoded);
                    last_name = Some(encoded);
                    rest = behind;
                }
                let (item, behind) = decode_at(rest, depth + 1)?;
                cbor::write(&mut items, item.as_ref());
                count += 1;
                rest = behind;
            }
            let mut document = Vec::with_capacity(items.len() + 9);
            cbor::write_head(&mut document, if class == MAP { 5 } else { 4 }, count);
            document.append(&mut items);
            (if class == MAP { Value::Map(document) } else { Value::Array(document) }, &rest[1..])
        }
        _ => return Err(Malformed),
    })
}

fn decode_number(negative: bool, bytes: &[u8]) -> Result<(Value, &[u8]), Malformed> {
    let flip = if negative { 0xff } else { 0x00 };
    let (exponent, rest) = bytes.split_first_chunk::<2>().ok_or(Malformed)?;
    let exponent = i32::from(u16::from_be_bytes(exponent.map(|byte| byte ^ flip))) - EXPONENT_BIAS;
    if let Some((magnitude, behind)) = decode_small(rest, flip, exponent) {
        return Ok((Value::Int(if negative { -magnitude } else { magnitude }), behind));
    }
    let mut mantissa = BigUint::from(1u8);
    let mut groups = 0i32;
    let mut rest = rest;
    loop {
        let (&byte, behind) = rest.split_first().ok_or(Malformed)?;
        let byte = byte ^ flip;
        mantissa = mantissa << 7u8 | BigUint::from(byte >> 1);
        groups += 1;
        rest = behind;
        if byte & 1 == 0 {
            if byte == 0 && groups > 1 {
                return Err(Malformed);
            }
            break;
        }
        // 74 groups hold the bits of the longest integer.
        if groups == 74 {
            return Err(Malformed);
        }
    }
    let twos = u32::try_from(mantissa.trailing_zeros().unwrap_or(0)).map_err(|_| Malformed)?;
    let shift = exponent - 7 * groups;
    let integral = shift + i32::try_from(twos).map_err(|_| Malformed)? >= 0;
    if integral && exponent <= 512 {
        let magnitude =
            if shift >= 0 { &mantissa << shift.unsigned_abs() } else { &mantissa >> shift.unsigned_abs() };
        let magnitude = BigInt::from(magnitude);
        if let Some(value) = Value::from_integer(&if negative { -magnitude } else { magnitude }) {
            return Ok((value, rest));
        }
    }
    // What no integer of a document is came of a float: at most 53 bits, no finer than the least subnormal.
    let mantissa = mantissa >> twos;
    let shift = shift + i32::try_from(twos).map_err(|_| Malformed)?;
    if mantissa.bits() > 53 || shift < -1074 || exponent > 1023 {
        return Err(Malformed);
    }
    let mantissa = u64::try_from(&mantissa).map_err(|_| Malformed)? as f64;
    // Two steps, each exact, as 2^-1074 alone is subnormal and 2^971 * 2^53 beyond one factor's range.
    let half = shift / 2;
    let magnitude = mantissa * 2f64.powi(shift - half) * 2f64.powi(half);
    Ok((Value::Float(if negative { -magnitude } else { magnitude }), rest))
}

/// The magnitude of an integer below 2^119, with what is behind it; `None` for everything else.
fn decode_small(bytes: &[u8], flip: u8, exponent: i32) -> Option<(i128, &[u8])> {
    let mut mantissa = 1i128;
    for (at, &byte) in bytes.iter().enumerate().take(17) {
        let byte = byte ^ flip;
        mantissa = mantissa << 7 | i128::from(byte >> 1);
        if byte & 1 == 0 {
            if byte == 0 && at > 0 {
                return None;
            }
            let shift = exponent - 7 * (at as i32 + 1);
            let magnitude = if shift >= 0 {
                (exponent < 119).then(|| mantissa << shift)
            } else {
                // At most 1 + 17 * 7 bits are shifted out.
                let lost = shift.unsigned_abs();
                (exponent >= 0 && mantissa.trailing_zeros() >= lost).then(|| mantissa >> lost)
            };
            return magnitude.map(|magnitude| (magnitude, &bytes[at + 1..]));
        }
    }
    None
}

fn decode_string(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Malformed> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(0x00) => match bytes.get(at + 1) {
                Some(0x00) => return Ok((out, &bytes[at + 2..])),
                Some(0xff) => {
                    out.push(0x00);
                    at += 2;
                }
                _ => return Err(Malformed),
            },
            Some(&byte) => {
                out.push(byte);
                at += 1;
            }
            None => return Err(Malformed),
        }
    }
}

/// The least byte string above all that begin with `prefix`; `None` if there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// First byte, and the byte after the last, of the encodings of a class.
pub(crate) fn class_range(class: Class) -> (u8, u8) {
    match class {
        Class::Missing => (MISSING, MISSING + 1),
        Class::Null => (NULL, NULL + 1),
        Class::Bool => (FALSE, TRUE + 1),
        Class::Number => (NEGATIVE_INFINITY, NAN + 1),
        Class::Text => (TEXT, TEXT + 1),
        Class::Bytes => (BYTES, BYTES + 1),
        Class::Array => (ARRAY, ARRAY + 1),
        Class::Map => (MAP, MAP + 1),
    }
}

/// How the encodings of all texts begin that begin with `prefix`.
pub(crate) fn text_prefix(prefix: &str) -> Vec<u8> {
    let mut out = vec![TEXT];
    escape(&mut out, prefix.as_bytes());
    out
}
