//! What one item is: its kind, its length, the number or string it holds; and items made of those.

use std::ops::Range;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::{DocumentError, MAX_BIGNUM_BYTES, validate};

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `null`.
    Null = 0,
    /// `false` or `true`.
    Boolean = 1,
    /// A number without fraction.
    Integer = 2,
    /// A floating-point number.
    Float = 3,
    /// Unicode text.
    Text = 4,
    /// A byte string.
    Bytes = 5,
    /// Values in order.
    Array = 6,
    /// Values by name.
    Map = 7,
}

/// The kind of a document by its first byte; `None` if no document starts so. What follows is not looked at.
pub fn kind(document: &[u8]) -> Option<Kind> {
    Some(match document.first()? {
        0x00..=0x1b | 0x20..=0x3b | 0xc2 | 0xc3 => Kind::Integer,
        0x40..=0x5b => Kind::Bytes,
        0x60..=0x7b => Kind::Text,
        0x80..=0x9b => Kind::Array,
        0xa0..=0xbb => Kind::Map,
        0xf4 | 0xf5 => Kind::Boolean,
        0xf6 => Kind::Null,
        0xf9..=0xfb => Kind::Float,
        _ => return None,
    })
}

/// The length that the head of a document states: values of an array or map, bytes of a text or byte string; `None` of
/// what has none. What follows the head is not looked at.
pub fn length(document: &[u8]) -> Option<u64> {
    if !matches!(kind(document)?, Kind::Text | Kind::Bytes | Kind::Array | Kind::Map) {
        return None;
    }
    argument(document).map(|(length, _)| length)
}

/// The argument of an item's head, in the shortest form, and the bytes of the head: RFC 8949 section 3.
fn argument(item: &[u8]) -> Option<(u64, usize)> {
    let short = item.first()? & 0x1f;
    let bytes = match short {
        0..24 => return Some((short.into(), 1)),
        24..=27 => 1 << (short - 24),
        _ => return None,
    };
    let value = item.get(1..1 + bytes)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    let least = [24, 0x100, 0x1_0000, 0x1_0000_0000][usize::from(short - 24)];
    (value >= least).then_some((value, 1 + bytes))
}

/// An integer of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// Whether it is −1 − magnitude rather than the magnitude.
    pub is_negative: bool,
    /// Big-endian.
    pub magnitude: [u8; MAX_BIGNUM_BYTES],
}

/// The integer that a document is, `None` of any other.
///
/// # Errors
/// [`DocumentError::Cbor`] if it starts as an integer but is none.
pub fn integer(document: &[u8]) -> Result<Option<Integer>, DocumentError> {
    if kind(document) != Some(Kind::Integer) {
        return Ok(None);
    }
    validate(document)?;
    let mut magnitude = [0; MAX_BIGNUM_BYTES];
    let is_bignum = document[0] >= 0xc0;
    // Behind the tag of a bignum stands a byte string.
    let item = if is_bignum { &document[1..] } else { document };
    let (value, head) = argument(item).unwrap_or_default();
    let value = value.to_be_bytes();
    let digits = if is_bignum { &item[head..] } else { &value[..] };
    magnitude[MAX_BIGNUM_BYTES - digits.len()..].copy_from_slice(digits);
    let is_negative = matches!(document[0], 0x20..=0x3b | 0xc3);
    Ok(Some(Integer { is_negative, magnitude }))
}

/// A document that is a number without sign, given by at most 64 big-endian bytes.
pub fn unsigned_document(digits: &[u8]) -> Vec<u8> {
    let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
    let digits = &digits[zeros..];
    if digits.len() <= 8 {
        let value = digits.iter().fold(0, |value, &digit| value << 8 | u64::from(digit));
        return written(|out| out.u64(value).map(drop));
    }
    let mut document = vec![0xc2];
    document.extend(bytes_document(digits));
    document
}

/// Where the contents of a text or byte string lie in a document, `None` of any other.
///
/// # Errors
/// [`DocumentError::Cbor`] if `bytes` are no document.
pub fn string(bytes: &[u8]) -> Result<Option<Range<usize>>, DocumentError> {
    validate(bytes)?;
    let is_string = matches!(kind(bytes), Some(Kind::Text | Kind::Bytes));
    let head = argument(bytes).map(|(_, head)| head);
    Ok(head.filter(|_| is_string).map(|head| head..bytes.len()))
}

/// A document that is a text.
pub fn text_document(text: &str) -> Vec<u8> {
    written(|out| out.str(text).map(drop))
}

/// A document that is a byte string.
pub fn bytes_document(bytes: &[u8]) -> Vec<u8> {
    written(|out| out.bytes(bytes).map(drop))
}

/// What is written to an encoder.
pub(crate) fn written<E>(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), E>) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // A vector takes everything that is written to it.
    let _ = write(&mut encoder);
    encoder.into_writer()
}

/// An entry of a map or array: places in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The text of the name, in maps.
    pub name: Option<Range<usize>>,
    /// The value, a document itself.
    pub value: Range<usize>,
}

/// Entry `index` of an array or map; `None` behind the last.
///
/// # Errors
/// [`DocumentError::Cbor`] if `document` is none, or neither array nor map.
pub fn entry(document: &[u8], index: u64) -> Result<Option<Entry>, DocumentError> {
    validate(document)?;
    let mut decoder = Decoder::new(document);
    let fail = |_| DocumentError::Cbor { offset: 0, problem: "the item is not well-formed" };
    let count = match decoder.datatype().map_err(fail)? {
        Type::Map => decoder.map().map_err(fail)?,
        Type::Array => decoder.array().map_err(fail)?,
        _ => return Err(DocumentError::Cbor { offset: 0, problem: "the document is neither array nor map" }),
    };
    if index >= count.unwrap_or_default() {
        return Ok(None);
    }
    let is_map = kind(document) == Some(Kind::Map);
    for _ in 0..index {
        if is_map {
            decoder.skip().map_err(fail)?;
        }
        decoder.skip().map_err(fail)?;
    }
    let name = if is_map {
        let length = decoder.str().map_err(fail)?.len();
        Some(decoder.position() - length..decoder.position())
    } else {
        None
    };
    let start = decoder.position();
    decoder.skip().map_err(fail)?;
    Ok(Some(Entry { name, value: start..decoder.position() }))
}
