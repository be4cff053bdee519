//! Whether bytes are a document, in one pass and without building anything.

use half::f16;
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

use crate::{DocumentError, MAX_BIGNUM_BYTES, MAX_DEPTH};

/// Checks that `bytes` are exactly one document.
///
/// # Errors
/// [`DocumentError::Cbor`] with the offset of the first item that is wrong.
pub fn validate(bytes: &[u8]) -> Result<(), DocumentError> {
    let mut validator = Validator { decoder: Decoder::new(bytes) };
    validator.item(0)?;
    let end = validator.decoder.position();
    if end < bytes.len() {
        return Err(DocumentError::Cbor { offset: end, problem: "there are bytes after the document" });
    }
    Ok(())
}

struct Validator<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Validator<'b> {
    /// Checks one item inside `depth` arrays and maps: the recursion is as deep as the nesting.
    fn item(&mut self, depth: usize) -> Result<(), DocumentError> {
        let start = self.decoder.position();
        let fail = |problem| DocumentError::Cbor { offset: start, problem };
        let read = |error: Error| fail(problem_of(&error));
        match self.decoder.datatype().map_err(read)? {
            Type::Null => self.decoder.null().map_err(read),
            Type::Bool => self.decoder.bool().map(drop).map_err(read),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                let argument = self.decoder.u64().map_err(read)?;
                self.shortest(start, argument, 0)
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
                let value = i128::from(self.decoder.int().map_err(read)?);
                let argument = u64::try_from(-1 - value).map_err(|_| fail("the integer is too long"))?;
                self.shortest(start, argument, 0)
            }
            Type::F16 | Type::F32 | Type::F64 => self.float(start),
            Type::Bytes => self.byte_string(start).map(drop),
            Type::String => self.text().map(drop),
            Type::Tag => self.bignum(start),
            Type::Array => {
                let length = self.decoder.array().map_err(read)?;
                let length = length.ok_or_else(|| fail("the length is indefinite"))?;
                self.shortest(start, length, 0)?;
                let depth = deeper(start, depth)?;
                for _ in 0..length {
                    self.item(depth)?;
                }
                Ok(())
            }
            Type::Map => {
                let length = self.decoder.map().map_err(read)?;
                let length = length.ok_or_else(|| fail("the length is indefinite"))?;
                self.shortest(start, length, 0)?;
                let depth = deeper(start, depth)?;
                let mut last: Option<&[u8]> = None;
                for _ in 0..length {
                    last = Some(self.key(last)?);
                    self.item(depth)?;
                }
                Ok(())
            }
            Type::BytesIndef | Type::StringIndef | Type::ArrayIndef | Type::MapIndef => {
                Err(fail("the length is indefinite"))
            }
            Type::Undefined | Type::Simple => Err(fail("the simple value is not null, false or true")),
            Type::Break => Err(fail("a break stands alone")),
            Type::Unknown(_) => Err(fail("the item's first byte is reserved")),
        }
    }

    /// A map key, whose encoding it gives.
    fn key(&mut self, last: Option<&[u8]>) -> Result<&'b [u8], DocumentError> {
        let start = self.decoder.position();
        let fail = |problem| DocumentError::Cbor { offset: start, problem };
        match self.decoder.datatype() {
            Ok(Type::String | Type::StringIndef) => self.text()?,
            Ok(_) => return Err(fail("the map key is not text")),
            Err(error) => return Err(fail(problem_of(&error))),
        };
        let key = &self.decoder.input()[start..self.decoder.position()];
        match last {
            Some(last) if last == key => Err(fail("the map key is there twice")),
            Some(last) if last > key => Err(fail("the map keys are not sorted")),
            _ => Ok(key),
        }
    }

    fn text(&mut self) -> Result<&'b str, DocumentError> {
        let start = self.decoder.position();
        let fail = |problem| DocumentError::Cbor { offset: start, problem };
        if matches!(self.decoder.datatype(), Ok(Type::StringIndef)) {
            return Err(fail("the length is indefinite"));
        }
        let text = self.decoder.str().map_err(|error| fail(problem_of(&error)))?;
        self.shortest(start, text.len() as u64, text.len())?;
        Ok(text)
    }

    fn byte_string(&mut self, start: usize) -> Result<&'b [u8], DocumentError> {
        let bytes = self
            .decoder
            .bytes()
            .map_err(|error| DocumentError::Cbor { offset: start, problem: problem_of(&error) })?;
        self.shortest(start, bytes.len() as u64, bytes.len())?;
        Ok(bytes)
    }

    /// A bignum: RFC 8949 section 3.4.3, in the preferred form, which leaves what fits into 64 bits
    /// to the plain integers.
    fn bignum(&mut self, start: usize) -> Result<(), DocumentError> {
        let fail = |problem| DocumentError::Cbor { offset: start, problem };
        let tag = self.decoder.tag().map_err(|error| fail(problem_of(&error)))?.as_u64();
        self.shortest(start, tag, 0)?;
        if tag != 2 && tag != 3 {
            return Err(fail("the tag is not that of a bignum"));
        }
        let content = self.decoder.position();
        if !matches!(self.decoder.datatype(), Ok(Type::Bytes)) {
            return Err(fail("the bignum is not a byte string of definite length"));
        }
        match self.byte_string(content)? {
            [] | [0, ..] => Err(fail("the bignum has leading zeros")),
            magnitude if magnitude.len() <= 8 => Err(fail("the bignum fits into an integer")),
            magnitude if magnitude.len() > MAX_BIGNUM_BYTES => Err(fail("the bignum exceeds 512 bits")),
            _ => Ok(()),
        }
    }

    fn float(&mut self, start: usize) -> Result<(), DocumentError> {
        let fail = |problem| DocumentError::Cbor { offset: start, problem };
        let read = |error: Error| fail(problem_of(&error));
        let (value, could_be_shorter) = match self.decoder.datatype().map_err(read)? {
            Type::F16 => (f64::from(self.decoder.f16().map_err(read)?), false),
            Type::F32 => {
                let value = self.decoder.f32().map_err(read)?;
                (f64::from(value), f16::from_f32(value).to_f32() == value)
            }
            _ => {
                let value = self.decoder.f64().map_err(read)?;
                (value, f64::from(value as f32) == value)
            }
        };
        if value.is_nan() {
            let encoding = &self.decoder.input()[start..self.decoder.position()];
            return if encoding == NAN { Ok(()) } else { Err(fail("the NaN is not f9 7e 00")) };
        }
        if could_be_shorter { Err(fail("the float has a shorter form")) } else { Ok(()) }
    }

    /// Checks that the head of the item that began at `start` and ends here, before `payload` bytes,
    /// is the shortest for its argument.
    fn shortest(&self, start: usize, argument: u64, payload: usize) -> Result<(), DocumentError> {
        let head = self.decoder.position() - start - payload;
        let least = match argument {
            0..24 => 1,
            24..=0xff => 2,
            0x100..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        };
        if head == least {
            return Ok(());
        }
        Err(DocumentError::Cbor { offset: start, problem: "the item's head is not the shortest" })
    }
}

/// The one encoding of NaN: RFC 8949 section 4.2.2, first rule.
const NAN: [u8; 3] = [0xf9, 0x7e, 0x00];

fn deeper(start: usize, depth: usize) -> Result<usize, DocumentError> {
    if depth < MAX_DEPTH {
        return Ok(depth + 1);
    }
    Err(DocumentError::Cbor { offset: start, problem: "arrays and maps are nested deeper than 128" })
}

pub(super) fn problem_of(error: &Error) -> &'static str {
    if error.is_end_of_input() { "the document is cut off" } else { "the item is not well-formed" }
}
