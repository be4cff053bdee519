//! Reading items of a document in place, and writing them in the deterministic encoding.

use half::f16;

use crate::value::{Malformed, ValueRef};

/// Where reading has come to in well-formed CBOR of definite lengths, which documents are.
#[derive(Clone, Copy)]
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
/// Major type of maps.
pub(crate) const MAP: u8 = 5;
const TAG: u8 = 6;

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes, at: 0 }
    }

    #[inline]
    fn tail<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let tail = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(Malformed)?;
        self.at += N;
        Ok(*tail)
    }

    /// Reads an item's head (RFC 8949 section 3): major type, what stands beside it, and the argument.
    #[inline]
    fn head(&mut self) -> Result<(u8, u8, u64), Malformed> {
        let [first] = self.tail()?;
        let (major, information) = (first >> 5, first & 0x1f);
        let argument = match information {
            0..24 => u64::from(information),
            24 => u64::from(self.tail::<1>()?[0]),
            25 => u64::from(u16::from_be_bytes(self.tail()?)),
            26 => u64::from(u32::from_be_bytes(self.tail()?)),
            27 => u64::from_be_bytes(self.tail()?),
            _ => return Err(Malformed),
        };
        Ok((major, information, argument))
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(Malformed)?;
        self.at += taken.len();
        Ok(taken)
    }

    /// The bytes of the string that comes next, which must be text.
    #[inline]
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        match self.head()? {
            (TEXT, _, length) => self.take(length),
            _ => Err(Malformed),
        }
    }

    /// The number of items of the array or map that comes next.
    fn container(&mut self, wanted: u8) -> Result<u64, Malformed> {
        match self.head()? {
            (major, _, length) if major == wanted => Ok(length),
            _ => Err(Malformed),
        }
    }

    /// Passes over `items` items, with all that is in them.
    #[inline]
    fn skip(&mut self, items: u64) -> Result<(), Malformed> {
        // Each item takes a byte at least, so that no count is followed far.
        let mut left = items;
        while left > 0 {
            left -= 1;
            let (major, _, argument) = self.head()?;
            match major {
                BYTES | TEXT => {
                    self.take(argument)?;
                }
                ARRAY => left = left.checked_add(argument).ok_or(Malformed)?,
                MAP => {
                    left =
                        argument.checked_mul(2).and_then(|items| left.checked_add(items)).ok_or(Malformed)?
                }
                TAG => left = left.checked_add(1).ok_or(Malformed)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads the item that `bytes` begin with, and gives how many bytes it has.
pub(crate) fn item(bytes: &[u8]) -> Result<(ValueRef<'_>, usize), Malformed> {
    let mut input = Input::new(bytes);
    let (major, information, argument) = input.head()?;
    let value = match major {
        UNSIGNED => ValueRef::Int(i128::from(argument)),
        NEGATIVE => ValueRef::Int(-1 - i128::from(argument)),
        BYTES => ValueRef::Bytes(input.take(argument)?),
        TEXT => ValueRef::Text(std::str::from_utf8(input.take(argument)?).map_err(|_| Malformed)?),
        ARRAY => {
            input.skip(argument)?;
            ValueRef::Array(&bytes[..input.at])
        }
        MAP => {
            input.skip(argument.checked_mul(2).ok_or(Malformed)?)?;
            ValueRef::Map(&bytes[..input.at])
        }
        TAG if argument == 2 || argument == 3 => {
            let (BYTES, _, length) = input.head()? else { return Err(Malformed) };
            let magnitude = input.take(length)?;
            if magnitude.len() > dotdb_document::MAX_BIGNUM_BYTES {
                return Err(Malformed);
            }
            integer(argument == 3, magnitude)
        }
        _ => match information {
            20 => ValueRef::Bool(false),
            21 => ValueRef::Bool(true),
            22 => ValueRef::Null,
            // The head has read just these bytes.
            25 => ValueRef::Float(f64::from(f16::from_bits(argument as u16))),
            26 => ValueRef::Float(f64::from(f32::from_bits(argument as u32))),
            27 => ValueRef::Float(f64::from_bits(argument)),
            _ => return Err(Malformed),
        },
    };
    Ok((value, input.at))
}

/// A whole document as a value: an array or a map is not gone over.
pub(crate) fn root(document: &[u8]) -> Result<ValueRef<'_>, Malformed> {
    match document.first().map(|first| first >> 5) {
        Some(ARRAY) => Ok(ValueRef::Array(document)),
        Some(MAP) => Ok(ValueRef::Map(document)),
        _ => item(document).map(|(value, _)| value),
    }
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
    let mut input = Input::new(array);
    let left = input.container(ARRAY)?;
    Ok(Elements { left, rest: &array[input.at..] })
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
        let mut input = Input::new(self.rest);
        let count = count.min(self.left);
        input.skip(count)?;
        self.left -= count;
        self.rest = &self.rest[input.at..];
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
    let mut input = Input::new(map);
    let left = input.container(MAP)?;
    Ok(Entries { left, rest: &map[input.at..] })
}

impl<'a> Entries<'a> {
    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<(&'a str, ValueRef<'a>)>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut input = Input::new(self.rest);
        let name = std::str::from_utf8(input.text()?).map_err(|_| Malformed)?;
        let rest = &self.rest[input.at..];
        let (value, length) = item(rest)?;
        self.left -= 1;
        self.rest = rest.get(length..).ok_or(Malformed)?;
        Ok(Some((name, value)))
    }
}

/// The value of a map's entry. What comes before it is skipped, not read.
pub(crate) fn field<'a>(map: &'a [u8], name: &str) -> Result<ValueRef<'a>, Malformed> {
    let mut input = Input::new(map);
    for _ in 0..input.container(MAP)? {
        if input.text()? == name.as_bytes() {
            return item(&map[input.at..]).map(|(value, _)| value);
        }
        input.skip(1)?;
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
