//! Values of documents, borrowed from their CBOR, and the total order over them.
//!
//! missing < null < false < true < numbers < text < byte strings < arrays < maps. Numbers compare
//! by their exact value, whatever their form: 1 equals 1.0, and 2^53 + 1 is greater than the float
//! 2^53. NaN equals itself and is above all other numbers; the two zeros are equal. Text compares by
//! Unicode code point; byte strings by byte; arrays by element, then by length; maps as arrays of
//! their names and values in the order of the encoding.

use std::cmp::Ordering;

use num_bigint::{BigInt, BigUint, Sign};

use crate::cbor;
use crate::encoding;

/// CBOR that is not a document: where stored data is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CBOR is damaged")]
pub struct Malformed;

/// A value that borrows from a document or from a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// There is no value at the path.
    Missing,
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// An integer beyond 64 bits as documents have it: `magnitude`, or -1 - `magnitude`.
    Big {
        /// Whether it is -1 - `magnitude`.
        negative: bool,
        /// Big-endian, without leading zeros, at most 64 bytes.
        magnitude: &'a [u8],
    },
    /// A float.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// A byte string.
    Bytes(&'a [u8]),
    /// An array, as CBOR.
    Array(&'a [u8]),
    /// A map, as CBOR.
    Map(&'a [u8]),
}

/// A value on its own: literals and parameters of queries, columns of results.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// There is no value.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// An integer beyond 128 bits: `magnitude`, or -1 - `magnitude`.
    Big {
        /// Whether it is -1 - `magnitude`.
        negative: bool,
        /// Big-endian, without leading zeros, at most 64 bytes.
        magnitude: Vec<u8>,
    },
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// An array, as deterministic CBOR.
    Array(Vec<u8>),
    /// A map, as deterministic CBOR.
    Map(Vec<u8>),
}

/// What comparisons ask to be alike on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Missing,
    Null,
    Bool,
    Number,
    Text,
    Bytes,
    Array,
    Map,
}

impl<'a> ValueRef<'a> {
    /// Reads the item that `bytes` begin with.
    ///
    /// # Errors
    /// [`Malformed`] if it is not one that documents have.
    pub fn read(bytes: &'a [u8]) -> Result<ValueRef<'a>, Malformed> {
        cbor::item(bytes).map(|(value, _)| value)
    }

    pub(crate) fn class(self) -> Class {
        match self {
            ValueRef::Missing => Class::Missing,
            ValueRef::Null => Class::Null,
            ValueRef::Bool(_) => Class::Bool,
            ValueRef::Int(_) | ValueRef::Big { .. } | ValueRef::Float(_) => Class::Number,
            ValueRef::Text(_) => Class::Text,
            ValueRef::Bytes(_) => Class::Bytes,
            ValueRef::Array(_) => Class::Array,
            ValueRef::Map(_) => Class::Map,
        }
    }

    /// Whether it is missing or null: comparisons with it are unknown.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        matches!(self, ValueRef::Missing | ValueRef::Null)
    }

    /// The total order.
    ///
    /// # Errors
    /// [`Malformed`] inside of an array or map.
    pub fn compare(self, other: ValueRef<'_>) -> Result<Ordering, Malformed> {
        Ok(match (self, other) {
            (ValueRef::Int(a), ValueRef::Int(b)) => a.cmp(&b),
            (ValueRef::Float(a), ValueRef::Float(b)) if !a.is_nan() && !b.is_nan() => {
                a.partial_cmp(&b).ok_or(Malformed)?
            }
            (ValueRef::Text(a), ValueRef::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (ValueRef::Bytes(a), ValueRef::Bytes(b)) => a.cmp(b),
            (ValueRef::Bool(a), ValueRef::Bool(b)) => a.cmp(&b),
            (a, b) => match a.class().cmp(&b.class()) {
                Ordering::Equal => encoding::encode(a)?.cmp(&encoding::encode(b)?),
                unequal => unequal,
            },
        })
    }

    /// A copy on its own.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::Missing => Value::Missing,
            ValueRef::Null => Value::Null,
            ValueRef::Bool(value) => Value::Bool(value),
            ValueRef::Int(value) => Value::Int(value),
            ValueRef::Big { negative, magnitude } => Value::Big { negative, magnitude: magnitude.to_vec() },
            ValueRef::Float(value) => Value::Float(value),
            ValueRef::Text(text) => Value::Text(text.to_owned()),
            ValueRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Array(cbor) => Value::Array(cbor.to_vec()),
            ValueRef::Map(cbor) => Value::Map(cbor.to_vec()),
        }
    }

    /// The integer, if it is one.
    pub(crate) fn integer(self) -> Option<BigInt> {
        match self {
            ValueRef::Int(value) => Some(BigInt::from(value)),
            ValueRef::Big { negative, magnitude } => {
                let magnitude = BigInt::from(BigUint::from_bytes_be(magnitude));
                Some(if negative { -1 - magnitude } else { magnitude })
            }
            _ => None,
        }
    }

    /// What a sentence calls it.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self.class() {
            Class::Missing => "missing",
            Class::Null => "null",
            Class::Bool => "a boolean",
            Class::Number => "a number",
            Class::Text => "text",
            Class::Bytes => "a byte string",
            Class::Array => "an array",
            Class::Map => "an object",
        }
    }
}

impl Value {
    /// Borrows it.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Missing => ValueRef::Missing,
            Value::Null => ValueRef::Null,
            Value::Bool(value) => ValueRef::Bool(*value),
            Value::Int(value) => ValueRef::Int(*value),
            Value::Big { negative, magnitude } => ValueRef::Big { negative: *negative, magnitude },
            Value::Float(value) => ValueRef::Float(*value),
            Value::Text(text) => ValueRef::Text(text),
            Value::Bytes(bytes) => ValueRef::Bytes(bytes),
            Value::Array(cbor) => ValueRef::Array(cbor),
            Value::Map(cbor) => ValueRef::Map(cbor),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`dotdb_document::DocumentError`] if `bytes` are not exactly one document.
    pub fn from_document(bytes: &[u8]) -> Result<Value, dotdb_document::DocumentError> {
        dotdb_document::validate(bytes)?;
        let damaged =
            |_| dotdb_document::DocumentError::Cbor { offset: 0, problem: "the item is not well-formed" };
        ValueRef::read(bytes).map(ValueRef::to_value).map_err(damaged)
    }

    /// Reads JSON text, as documents take it.
    ///
    /// # Errors
    /// [`dotdb_document::DocumentError`] if it is not JSON that documents can hold.
    pub fn from_json(text: &str) -> Result<Value, dotdb_document::DocumentError> {
        Value::from_document(&dotdb_document::from_json(text)?)
    }

    /// The values that a document is a list of, as parameters come from programs.
    ///
    /// # Errors
    /// One sentence if `bytes` are not a document, or one that is no array.
    pub fn list_from_document(bytes: &[u8]) -> Result<Vec<Value>, dotdb_document::DocumentError> {
        let damaged = |problem| dotdb_document::DocumentError::Cbor { offset: 0, problem };
        let Value::Array(array) = Value::from_document(bytes)? else {
            return Err(damaged("the list of values is not an array"));
        };
        let malformed = |_| damaged("the item is not well-formed");
        let mut elements = cbor::elements(&array).map_err(malformed)?;
        let mut values = Vec::new();
        while let Some(element) = elements.next().map_err(malformed)? {
            values.push(element.to_value());
        }
        Ok(values)
    }

    /// The value as a document; `None` if it is missing.
    #[must_use]
    pub fn to_document(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        cbor::write(&mut out, self.as_ref()).then_some(out)
    }

    /// An integer of any size that documents allow: `None` beyond 512 bits.
    #[must_use]
    pub fn from_integer(value: &BigInt) -> Option<Value> {
        if let Ok(small) = i128::try_from(value) {
            return Some(Value::Int(small));
        }
        let negative = value.sign() == Sign::Minus;
        let magnitude = if negative { value.magnitude() - 1u8 } else { value.magnitude().clone() };
        let magnitude = magnitude.to_bytes_be();
        (magnitude.len() <= dotdb_document::MAX_BIGNUM_BYTES).then_some(Value::Big { negative, magnitude })
    }

    /// The same value with each number in its one form: an integer wherever it is integral and has at
    /// most 512 bits.
    #[must_use]
    pub fn canonical(self) -> Value {
        let value = match self {
            Value::Float(value) => value,
            Value::Array(_) | Value::Map(_) => {
                let encoded = encoding::encode(self.as_ref());
                return match encoded.as_deref().map(encoding::decode) {
                    Ok(Ok((value, _))) => value,
                    _ => self,
                };
            }
            _ => return self,
        };
        if !value.is_finite() || value.fract() != 0.0 {
            return Value::Float(value);
        }
        // An integral float: 53 bits and a power of two.
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as i32 - 1075;
        let mantissa = bits & ((1 << 52) - 1) | u64::from(value != 0.0) << 52;
        let magnitude = BigInt::from(mantissa);
        let magnitude = if exponent >= 0 {
            magnitude << exponent.unsigned_abs()
        } else {
            magnitude >> exponent.unsigned_abs().min(64)
        };
        let integer = if value < 0.0 { -magnitude } else { magnitude };
        Value::from_integer(&integer).unwrap_or(Value::Float(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(i128::from(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i128::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}
