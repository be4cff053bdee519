//! Documents from JSON text (RFC 8259), and back.
//!
//! A number without fraction and exponent is an integer, any other a float. What JSON lacks is shown
//! as text: byte strings as hexadecimal after `0x`; NaN and the infinities are shown as `null`, as
//! RFC 8949 section 6.1 advises. All else comes back as it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::f16;
use json_event_parser::{JsonEvent, LowLevelJsonParser, WriterJsonSerializer};
use minicbor::data::{Int, Tag, Type};
use minicbor::{Decoder, Encoder};
use num_bigint::{BigInt, BigUint, Sign};

use crate::validate::problem_of;
use crate::{DocumentError, MAX_BIGNUM_BYTES, MAX_DEPTH, validate};

/// Encodes JSON text as a document.
///
/// # Errors
/// [`DocumentError::Json`] with line and column: text that is not JSON, a name that is twice in one
/// object, a number beyond the range of 64-bit floats or 512-bit integers, nesting deeper than
/// [`MAX_DEPTH`].
pub fn from_json(text: &str) -> Result<Vec<u8>, DocumentError> {
    let mut encoder = Encoder::new(Vec::with_capacity(text.len()));
    encode(&mut encoder, &parse(text)?).expect("a vector takes everything that is written to it");
    Ok(encoder.into_writer())
}

/// Shows a document as JSON text, in one line.
///
/// # Errors
/// [`DocumentError::Cbor`] if `bytes` are not a document.
pub fn to_json(bytes: &[u8]) -> Result<String, DocumentError> {
    validate(bytes)?;
    let mut decoder = Decoder::new(bytes);
    let mut writer = WriterJsonSerializer::new(Vec::new());
    let fail = |problem| DocumentError::Cbor { offset: 0, problem };
    match show(&mut decoder, &mut writer) {
        Ok(()) => {}
        Err(ShowError::Decode(error)) => return Err(fail(problem_of(&error))),
        Err(ShowError::Write) => return Err(fail("the document cannot be shown")),
    }
    let text = writer.finish().map_err(|_| fail("the document cannot be shown"))?;
    String::from_utf8(text).map_err(|_| fail("the document cannot be shown"))
}

enum Node<'t> {
    Null,
    Bool(bool),
    Integer(BigInt),
    Float(f64),
    Text(Cow<'t, str>),
    Array(Vec<Node<'t>>),
    /// By encoded key, so in the order of the encoding.
    Map(BTreeMap<Vec<u8>, Node<'t>>),
}

/// An array or map that is not closed yet.
enum Open<'t> {
    Array(Vec<Node<'t>>),
    Map(BTreeMap<Vec<u8>, Node<'t>>, Option<Vec<u8>>),
}

fn parse(text: &str) -> Result<Node<'_>, DocumentError> {
    let mut parser = LowLevelJsonParser::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut document = None;
    let mut offset = 0;
    loop {
        let step = parser.parse_next(&text.as_bytes()[offset..], true);
        let start = token_start(text, offset);
        offset += step.consumed_bytes;
        let fail = |problem: &str| json_error(text, start, problem);
        let event = match step.event {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                let at = usize::try_from(error.location().start.offset).unwrap_or(text.len());
                return Err(json_error(text, at, error.message()));
            }
            None => return Err(fail("the text ends too early")),
        };
        let node = match event {
            JsonEvent::Null => Node::Null,
            JsonEvent::Boolean(value) => Node::Bool(value),
            JsonEvent::Number(number) => parse_number(&number).map_err(fail)?,
            JsonEvent::String(text) => Node::Text(text),
            JsonEvent::StartArray | JsonEvent::StartObject if open.len() == MAX_DEPTH => {
                return Err(fail("arrays and objects are nested deeper than 128"));
            }
            JsonEvent::StartArray => {
                open.push(Open::Array(Vec::new()));
                continue;
            }
            JsonEvent::StartObject => {
                open.push(Open::Map(BTreeMap::new(), None));
                continue;
            }
            JsonEvent::ObjectKey(name) => {
                let Some(Open::Map(entries, key)) = open.last_mut() else {
                    return Err(fail("a name is outside of an object"));
                };
                let encoded = encode_key(&name);
                if entries.contains_key(&encoded) {
                    return Err(fail(&format!("the name {name:?} is twice in one object")));
                }
                *key = Some(encoded);
                continue;
            }
            JsonEvent::EndArray | JsonEvent::EndObject => match open.pop() {
                Some(Open::Array(items)) => Node::Array(items),
                Some(Open::Map(entries, _)) => Node::Map(entries),
                None => return Err(fail("nothing is open here")),
            },
            JsonEvent::Eof => return document.ok_or_else(|| fail("the text is empty")),
        };
        match open.last_mut() {
            None => document = Some(node),
            Some(Open::Array(items)) => items.push(node),
            Some(Open::Map(entries, key)) => {
                let key = key.take().ok_or_else(|| fail("a value has no name"))?;
                entries.insert(key, node);
            }
        }
    }
}

/// Where the next token begins: what separates tokens belongs to the step that gives the second.
fn token_start(text: &str, offset: usize) -> usize {
    let rest = &text.as_bytes()[offset..];
    let skipped = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'));
    offset + skipped.count()
}

fn json_error(text: &str, offset: usize, problem: &str) -> DocumentError {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let continues = |byte: &&u8| **byte & 0xc0 == 0x80; // Bytes 2 to 4 of a UTF-8 character.
    let column = before.len() - line_start - before[line_start..].iter().filter(continues).count();
    DocumentError::Json {
        line: before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1,
        column: column as u64 + 1,
        problem: problem.trim_end_matches('.').replace('\n', " "),
    }
}

fn parse_number(number: &str) -> Result<Node<'static>, &'static str> {
    if number.contains(['.', 'e', 'E']) {
        return match number.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Node::Float(value)),
            _ => Err("the number exceeds the range of 64-bit floats"),
        };
    }
    // 2^512 has 155 digits: longer ones need no arithmetic to be refused.
    const TOO_WIDE: &str = "the integer exceeds 512 bits";
    if number.len() > 156 {
        return Err(TOO_WIDE);
    }
    let value: BigInt = number.parse().map_err(|_| "the number is malformed")?;
    if magnitude(&value).bits() > 8 * MAX_BIGNUM_BYTES as u64 {
        Err(TOO_WIDE)
    } else {
        Ok(Node::Integer(value))
    }
}

/// What the head, or the bignum's bytes, hold: n, or -1 - n.
fn magnitude(value: &BigInt) -> BigUint {
    match value.sign() {
        Sign::Minus => value.magnitude() - 1u8,
        _ => value.magnitude().clone(),
    }
}

type Output<'a> = &'a mut Encoder<Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode(out: Output<'_>, node: &Node<'_>) -> Written {
    match node {
        Node::Null => out.null()?,
        Node::Bool(value) => out.bool(*value)?,
        Node::Text(text) => out.str(text)?,
        Node::Float(value) => return encode_float(out, *value),
        Node::Integer(value) => return encode_integer(out, value),
        Node::Array(items) => {
            out.array(items.len() as u64)?;
            return items.iter().try_for_each(|item| encode(out, item));
        }
        Node::Map(entries) => {
            out.map(entries.len() as u64)?;
            return entries.iter().try_for_each(|(key, value)| {
                out.writer_mut().extend_from_slice(key);
                encode(out, value)
            });
        }
    };
    Ok(())
}

fn encode_integer(out: Output<'_>, value: &BigInt) -> Written {
    let small = i128::try_from(value).ok().and_then(|value| Int::try_from(value).ok());
    match small {
        Some(value) => out.int(value)?,
        None => {
            let tag = if value.sign() == Sign::Minus { 3 } else { 2 };
            out.tag(Tag::new(tag))?.bytes(&magnitude(value).to_bytes_be())?
        }
    };
    Ok(())
}

/// The shortest of the three forms that keeps the value: RFC 8949 section 4.2.1.
fn encode_float(out: Output<'_>, value: f64) -> Written {
    let single = value as f32;
    if f64::from(single) != value {
        out.f64(value)?;
    } else if f16::from_f32(single).to_f32() != single {
        out.f32(single)?;
    } else {
        out.f16(single)?;
    }
    Ok(())
}

fn encode_key(name: &str) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::with_capacity(name.len() + 9));
    encoder.str(name).expect("a vector takes everything that is written to it");
    encoder.into_writer()
}

enum ShowError {
    Decode(minicbor::decode::Error),
    Write,
}

impl From<minicbor::decode::Error> for ShowError {
    fn from(error: minicbor::decode::Error) -> ShowError {
        ShowError::Decode(error)
    }
}

impl From<std::io::Error> for ShowError {
    fn from(_: std::io::Error) -> ShowError {
        ShowError::Write
    }
}

/// Writes one item of a validated document, whose nesting bounds the recursion.
fn show(input: &mut Decoder<'_>, out: &mut WriterJsonSerializer<Vec<u8>>) -> Result<(), ShowError> {
    let event = match input.datatype()? {
        Type::Bool => JsonEvent::Boolean(input.bool()?),
        Type::F16 => float(f64::from(input.f16()?)),
        Type::F32 => float(f64::from(input.f32()?)),
        Type::F64 => float(input.f64()?),
        Type::Bytes => {
            let digits = input.bytes()?.iter().map(|byte| format!("{byte:02x}"));
            JsonEvent::String(std::iter::once("0x".to_owned()).chain(digits).collect::<String>().into())
        }
        Type::String => JsonEvent::String(input.str()?.into()),
        Type::Tag => {
            let negative = input.tag()?.as_u64() == 3;
            let magnitude = BigInt::from(BigUint::from_bytes_be(input.bytes()?));
            let value = if negative { -1 - magnitude } else { magnitude };
            JsonEvent::Number(value.to_string().into())
        }
        Type::Array => {
            out.serialize_event(JsonEvent::StartArray)?;
            for _ in 0..input.array()?.unwrap_or(0) {
                show(input, out)?;
            }
            JsonEvent::EndArray
        }
        Type::Map => {
            out.serialize_event(JsonEvent::StartObject)?;
            for _ in 0..input.map()?.unwrap_or(0) {
                out.serialize_event(JsonEvent::ObjectKey(input.str()?.into()))?;
                show(input, out)?;
            }
            JsonEvent::EndObject
        }
        Type::Null => {
            input.null()?;
            JsonEvent::Null
        }
        _ => JsonEvent::Number(i128::from(input.int()?).to_string().into()),
    };
    Ok(out.serialize_event(event)?)
}

/// The shortest digits that give the value back, with a fraction or exponent so that it stays a
/// float.
fn float(value: f64) -> JsonEvent<'static> {
    if value.is_finite() { JsonEvent::Number(format!("{value:?}").into()) } else { JsonEvent::Null }
}
