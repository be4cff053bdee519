//! Reading items of a document in place, and writing them in the deterministic encoding.

use half::f16;
use minicbor::Decoder;
use minicbor::data::Type;

use crate::value::{Malformed, ValueRef};

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Malformed {
        Malformed
    }
}

/// Reads the item that `bytes` begin with, and gives how many bytes it has.
pub(crate) fn item(bytes: &[u8]) -> Result<(ValueRef<'_>, usize), Malformed> {
    let mut input = Decoder::new(bytes);
    let value = match input.datatype()? {
        Type::Null => {
            input.null()?;
            ValueRef::Null
        }
        Type::Bool => ValueRef::Bool(input.bool()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => ValueRef::Int(i128::from(input.u64()?)),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => ValueRef::Int(i128::from(input.int()?)),
        Type::F16 => ValueRef::Float(f64::from(input.f16()?)),
        Type::F32 => ValueRef::Float(f64::from(input.f32()?)),
        Type::F64 => ValueRef::Float(input.f64()?),
        Type::String => ValueRef::Text(input.str()?),
        Type::Bytes => ValueRef::Bytes(input.bytes()?),
        Type::Tag => {
            let tag = input.tag()?.as_u64();
            let magnitude = input.bytes()?;
            if !(2..=3).contains(&tag) || magnitude.len() > dotdb_document::MAX_BIGNUM_BYTES {
                return Err(Malformed);
            }
            integer(tag == 3, magnitude)
        }
        Type::Array => {
            input.skip()?;
            ValueRef::Array(&bytes[..input.position()])
        }
        Type::Map => {
            input.skip()?;
            ValueRef::Map(&bytes[..input.position()])
        }
        _ => return Err(Malformed),
    };
    Ok((value, input.position()))
}

/// A bignum: as a plain integer where 128 bits hold it.
fn integer(negative: bool, magnitude: &[u8]) -> ValueRef<'_> {
    let significant = magnitude.iter().position(|&byte| byte != 0).unwrap_or(magnitude.len());
    let magnitude = &magnitude[significant..];
    let small = magnitude.iter().take(17).fold(0u128, |number, &byte| number << 8 | u128::from(byte));
    match i128::try_from(small) {
        Ok(value) if magnitude.len() <= 16 => ValueRef::Int(if negative { -1 - value } else { value }),
        _ => ValueRef::Big { negative, magnitude },
    }
}

/// The elements of an array.
pub(crate) struct Elements<'a> {
    left: u64,
    rest: &'a [u8],
}

/// Begins reading an array's elements.
pub(crate) fn elements(array: &[u8]) -> Result<Elements<'_>, Malformed> {
    let mut input = Decoder::new(array);
    let left = input.array()?.ok_or(Malformed)?;
    Ok(Elements { left, rest: &array[input.position()..] })
}

impl<'a> Elements<'a> {
    /// How many are to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<ValueRef<'a>>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        let (value, length) = item(self.rest)?;
        self.left -= 1;
        self.rest = self.rest.get(length..).ok_or(Malformed)?;
        Ok(Some(value))
    }

    /// Passes over `count` elements without reading them.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Malformed> {
        let mut input = Decoder::new(self.rest);
        for _ in 0..count.min(self.left) {
            input.skip()?;
            self.left -= 1;
        }
        self.rest = &self.rest[input.position()..];
        Ok(())
    }
}

/// The entries of a map.
pub(crate) struct Entries<'a> {
    left: u64,
    rest: &'a [u8],
}

/// Begins reading a map's entries.
pub(crate) fn entries(map: &[u8]) -> Result<Entries<'_>, Malformed> {
    let mut input = Decoder::new(map);
    let left = input.map()?.ok_or(Malformed)?;
    Ok(Entries { left, rest: &map[input.position()..] })
}

impl<'a> Entries<'a> {
    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<(&'a str, ValueRef<'a>)>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut input = Decoder::new(self.rest);
        let name = input.str()?;
        let rest = &self.rest[input.position()..];
        let (value, length) = item(rest)?;
        self.left -= 1;
        self.rest = rest.get(length..).ok_or(Malformed)?;
        Ok(Some((name, value)))
    }
}

/// The value of a map's entry. What comes before it is skipped, not read.
pub(crate) fn field<'a>(map: &'a [u8], name: &str) -> Result<ValueRef<'a>, Malformed> {
    let mut input = Decoder::new(map);
    for _ in 0..input.map()?.ok_or(Malformed)? {
        if input.str()? == name {
            return item(&map[input.position()..]).map(|(value, _)| value);
        }
        input.skip()?;
    }
    Ok(ValueRef::Missing)
}

/// Writes a value in the deterministic encoding; writes nothing and gives `false` if it is missing.
pub(crate) fn write(out: &mut Vec<u8>, value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Missing => return false,
        ValueRef::Null => out.push(0xf6),
        ValueRef::Bool(value) => out.push(0xf4 + u8::from(value)),
        ValueRef::Int(value) => write_integer(out, value),
        ValueRef::Big { negative, magnitude } => write_bignum(out, negative, magnitude),
        ValueRef::Float(value) => write_float(out, value),
        ValueRef::Text(text) => write_text(out, text),
        ValueRef::Bytes(bytes) => {
            write_head(out, 2, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        ValueRef::Array(cbor) | ValueRef::Map(cbor) => out.extend_from_slice(cbor),
    }
    true
}

/// Writes an item's head (RFC 8949 section 3) in its shortest form.
pub(crate) fn write_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    let (information, tail) = match argument {
        0..24 => (bytes[7], &bytes[8..]),
        24..=0xff => (24, &bytes[7..]),
        0x100..=0xffff => (25, &bytes[6..]),
        0x1_0000..=0xffff_ffff => (26, &bytes[4..]),
        _ => (27, &bytes[..]),
    };
    out.push(major << 5 | information);
    out.extend_from_slice(tail);
}

/// Writes text.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_integer(out: &mut Vec<u8>, value: i128) {
    let magnitude = if value < 0 { (-1 - value).unsigned_abs() } else { value.unsigned_abs() };
    match u64::try_from(magnitude) {
        Ok(argument) => write_head(out, u8::from(value < 0), argument),
        Err(_) => {
            let bytes = magnitude.to_be_bytes();
            write_bignum(out, value < 0, &bytes[(magnitude.leading_zeros() / 8) as usize..]);
        }
    }
}

fn write_bignum(out: &mut Vec<u8>, negative: bool, magnitude: &[u8]) {
    write_head(out, 6, 2 + u64::from(negative));
    write_head(out, 2, magnitude.len() as u64);
    out.extend_from_slice(magnitude);
}

/// The shortest of the three forms that keeps the value: RFC 8949 section 4.2.1.
fn write_float(out: &mut Vec<u8>, value: f64) {
    let single = value as f32;
    let half = f16::from_f32(single);
    if value.is_nan() {
        out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
    } else if f64::from(half.to_f32()) == value {
        out.push(0xf9);
        out.extend_from_slice(&half.to_bits().to_be_bytes());
    } else if f64::from(single) == value {
        out.push(0xfa);
        out.extend_from_slice(&single.to_bits().to_be_bytes());
    } else {
        out.push(0xfb);
        out.extend_from_slice(&value.to_bits().to_be_bytes());
    }
}
