//! Page R: operations on documents, which are read into trees and written anew.

use std::rc::Rc;

use bytes::Bytes;
use dotvm_core::gas;
use dotvm_core::limits;
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint, Sign};
use num_traits::ToPrimitive;

use crate::machine::{Fault, Machine};
use crate::value::{Text, Value};

/// A document as a tree.
#[derive(Clone)]
enum Node {
    Null,
    Boolean(bool),
    Integer(BigInt),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    /// In the order of the encoded names.
    Map(Vec<(String, Node)>),
}

/// Reads items from bytes.
struct Reader<'b> {
    bytes: &'b [u8],
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let taken = self.bytes.get(..count)?.to_vec();
        self.bytes = &self.bytes[count..];
        Some(taken)
    }

    fn number(&mut self, count: usize) -> Option<u64> {
        Some(self.take(count)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// RFC 8949 section 3: the first byte holds the major type and the argument or its length.
    fn item(&mut self, depth: usize) -> Option<Node> {
        let first = self.number(1)?;
        let (major, short) = (first >> 5, first & 31);
        let argument = match short {
            0..24 => short,
            24..=27 => self.number(1 << (short - 24))?,
            _ => return None,
        };
        Some(match major {
            0 => Node::Integer(argument.into()),
            1 => Node::Integer(-1 - BigInt::from(argument)),
            2 => Node::Bytes(self.take(argument.to_usize()?)?),
            3 => Node::Text(String::from_utf8(self.take(argument.to_usize()?)?).ok()?),
            4 | 5 if depth == 128 => return None,
            4 => Node::Array((0..argument).map(|_| self.item(depth + 1)).collect::<Option<_>>()?),
            5 => Node::Map(
                (0..argument)
                    .map(|_| match self.item(depth + 1)? {
                        Node::Text(name) => Some((name, self.item(depth + 1)?)),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            6 if argument == 2 || argument == 3 => match self.item(depth)? {
                Node::Bytes(digits) if digits.len() <= 64 => {
                    let magnitude = BigInt::from(BigUint::from_bytes_be(&digits));
                    Node::Integer(if argument == 3 { -1 - magnitude } else { magnitude })
                }
                _ => return None,
            },
            7 => match short {
                20 | 21 => Node::Boolean(short == 21),
                22 => Node::Null,
                25 => Node::Float(half_to_float(argument as u16)),
                26 => Node::Float(f32::from_bits(argument as u32).into()),
                27 => Node::Float(f64::from_bits(argument)),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits.
fn half_to_float(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    sign * match (exponent, fraction) {
        (0, fraction) => fraction * 2f64.powi(-24),
        (31, 0.0) => f64::INFINITY,
        (31, _) => f64::NAN,
        (exponent, fraction) => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// Appends a head of the shortest form.
fn write_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let (short, bytes) = match argument {
        0..24 => (argument as u8, 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | short);
    out.extend_from_slice(&argument.to_be_bytes()[8 - bytes..]);
}

fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
    }
    let is_same = |other: f64| other.to_bits() == value.to_bits();
    if !is_same(f64::from(value as f32)) {
        out.push(0xfb);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Some(half) = (0..=u16::MAX).find(|&half| is_same(half_to_float(half))) {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
    } else {
        out.push(0xfa);
        out.extend_from_slice(&(value as f32).to_be_bytes());
    }
}

fn write(out: &mut Vec<u8>, node: &Node) {
    match node {
        Node::Null => out.push(0xf6),
        Node::Boolean(value) => out.push(0xf4 + u8::from(*value)),
        Node::Float(value) => write_float(out, *value),
        Node::Integer(value) => {
            let is_negative = value.sign() == Sign::Minus;
            let magnitude = if is_negative { -1 - value } else { value.clone() }.magnitude().clone();
            match magnitude.to_u64() {
                Some(argument) => write_head(out, u8::from(is_negative), argument),
                None => {
                    out.push(0xc2 + u8::from(is_negative));
                    write(out, &Node::Bytes(magnitude.to_bytes_be()));
                }
            }
        }
        Node::Bytes(bytes) => {
            write_head(out, 2, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Node::Text(text) => {
            write_head(out, 3, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        Node::Array(values) => {
            write_head(out, 4, values.len() as u64);
            values.iter().for_each(|value| write(out, value));
        }
        Node::Map(entries) => {
            write_head(out, 5, entries.len() as u64);
            for (name, value) in entries {
                write(out, &Node::Text(name.clone()));
                write(out, value);
            }
        }
    }
}

fn encoded(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, node);
    out
}

/// A document is what can be read and is written the same again, names ascending.
fn read(bytes: &[u8]) -> Result<Node, Fault> {
    let mut reader = Reader { bytes };
    let node = reader.item(0).filter(is_ordered).ok_or(TrapKind::Kind)?;
    if reader.bytes.is_empty() && encoded(&node) == bytes { Ok(node) } else { Err(TrapKind::Kind.into()) }
}

fn is_ordered(node: &Node) -> bool {
    match node {
        Node::Array(values) => values.iter().all(is_ordered),
        Node::Map(entries) => {
            entries.is_sorted_by(|a, b| name_order(&a.0) < name_order(&b.0))
                && entries.iter().all(|(_, value)| is_ordered(value))
        }
        _ => true,
    }
}

fn name_order(name: &str) -> Vec<u8> {
    encoded(&Node::Text(name.to_owned()))
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Node::Map(entries) => 1 + entries.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The tokens of a JSON pointer: RFC 6901.
fn tokens(path: &[u8]) -> Result<Vec<String>, Fault> {
    let path = String::from_utf8(path.to_vec()).map_err(|_| TrapKind::Kind)?;
    let mut tokens = path.split('/').map(str::to_owned);
    if tokens.next().is_some_and(|first| !first.is_empty()) {
        return Err(TrapKind::Kind.into());
    }
    let tokens: Vec<String> = tokens.collect();
    if tokens.iter().any(|token| token.replace("~0", "").replace("~1", "").contains('~')) {
        return Err(TrapKind::Kind.into());
    }
    Ok(tokens.iter().map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

/// The position that a token names in an array of this length; at its end if there is none yet.
fn position(token: &str, len: usize) -> Option<usize> {
    if token == "-" {
        return Some(len);
    }
    let number: usize = token.parse().ok()?;
    (number.to_string() == token && number <= len).then_some(number)
}

/// What a token names in a node.
fn child<'n>(node: &'n mut Node, token: &str) -> Option<&'n mut Node> {
    match node {
        Node::Array(values) => {
            let position = position(token, values.len())?;
            values.get_mut(position)
        }
        Node::Map(entries) => entries.iter_mut().find(|entry| entry.0 == token).map(|entry| &mut entry.1),
        _ => None,
    }
}

fn descend<'n>(mut node: &'n mut Node, tokens: &[String]) -> Option<&'n mut Node> {
    for token in tokens {
        node = child(node, token)?;
    }
    Some(node)
}

impl Machine<'_> {
    /// Takes byte strings off the stack, the top last, and pays for their length.
    fn pop_documents(&mut self, count: usize) -> Result<Vec<Bytes>, Fault> {
        let mut documents = Vec::new();
        for _ in 0..count {
            documents.insert(0, self.pop_bytes()?);
        }
        self.charge(gas::document(documents.iter().map(|document| document.len() as u64).sum()))?;
        Ok(documents)
    }

    fn push_made(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        if bytes.len() as u64 > limits::MAX_BYTES_LEN {
            return Err(TrapKind::Size.into());
        }
        self.push_new(Value::bytes(bytes.into()))
    }

    /// R.DPARSE. JSON text itself is the document crate's, which has tests of its own.
    pub fn document_parse(&mut self) -> Result<(), Fault> {
        let text = self.pop_documents(1)?.remove(0);
        let parsed = String::from_utf8(text.to_vec()).ok();
        match parsed.and_then(|text| dotdb_document::from_json(&text).ok()) {
            Some(document) => self.push_made(document),
            None => {
                self.push_ref(Value::Null);
                Ok(())
            }
        }
    }

    /// R.DTEXT.
    pub fn document_text(&mut self) -> Result<(), Fault> {
        let document = self.pop_documents(1)?.remove(0);
        read(&document)?;
        let text = dotdb_document::to_json(&document).map_err(|_| TrapKind::Kind)?;
        self.push_made(text.into_bytes())
    }

    /// R.DGET.
    pub fn document_get(&mut self) -> Result<(), Fault> {
        let Value::Bytes(whole) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        let path = self.pop_bytes()?;
        self.charge(gas::document((whole.bytes.len() + path.len()) as u64))?;
        let mut document = read(&whole.bytes)?;
        let value = descend(&mut document, &tokens(&path)?).map(|value| encoded(value));
        self.push_part(&whole, value)
    }

    /// A part of a byte string, or null.
    fn push_part(&mut self, whole: &Rc<Text>, part: Option<Vec<u8>>) -> Result<(), Fault> {
        self.push_new(part.map_or(Value::Null, |part| Value::slice(whole, part.into())))
    }

    /// R.DSET.
    pub fn document_set(&mut self) -> Result<(), Fault> {
        let operands = self.pop_documents(3)?;
        let mut document = read(&operands[2])?;
        let value = read(&operands[0])?;
        let tokens = tokens(&operands[1])?;
        match tokens.split_last() {
            None => document = value,
            Some((last, way)) => match descend(&mut document, way).ok_or(TrapKind::Index)? {
                Node::Array(values) => {
                    let position = position(last, values.len()).ok_or(TrapKind::Index)?;
                    values.truncate(values.len().max(position));
                    match values.get_mut(position) {
                        Some(old) => *old = value,
                        None => values.push(value),
                    }
                }
                Node::Map(entries) => {
                    entries.retain(|entry| entry.0 != *last);
                    entries.push((last.clone(), value));
                    entries.sort_by_key(|entry| name_order(&entry.0));
                }
                _ => return Err(TrapKind::Index.into()),
            },
        }
        if depth(&document) > 128 {
            return Err(TrapKind::Size.into());
        }
        self.push_made(encoded(&document))
    }

    /// R.DDEL.
    pub fn document_delete(&mut self) -> Result<(), Fault> {
        let operands = self.pop_documents(2)?;
        let mut document = read(&operands[1])?;
        let tokens = tokens(&operands[0])?;
        let (last, way) = tokens.split_last().ok_or(TrapKind::Index)?;
        match descend(&mut document, way) {
            Some(Node::Array(values)) => {
                if let Some(position) =
                    position(last, values.len()).filter(|&position| position < values.len())
                {
                    values.remove(position);
                }
            }
            Some(Node::Map(entries)) => entries.retain(|entry| entry.0 != *last),
            _ => {}
        }
        self.push_made(encoded(&document))
    }

    /// R.DTYPE, by the first byte alone: RFC 8949 section 3.
    pub fn document_type(&mut self) -> Result<(), Fault> {
        let document = self.pop_bytes()?;
        let first = *document.first().ok_or(TrapKind::Kind)?;
        let kind = match (first >> 5, first & 31) {
            (7, 22) => 0u32,
            (7, 20 | 21) => 1,
            (0 | 1, 0..=27) | (6, 2 | 3) => 2,
            (7, 25..=27) => 3,
            (3, 0..=27) => 4,
            (2, 0..=27) => 5,
            (4, 0..=27) => 6,
            (5, 0..=27) => 7,
            _ => return Err(TrapKind::Kind.into()),
        };
        self.push(kind);
        Ok(())
    }

    /// R.DLEN, by the head alone.
    pub fn document_length(&mut self) -> Result<(), Fault> {
        let document = self.pop_bytes()?;
        let mut reader = Reader { bytes: &document };
        let first = reader.number(1).ok_or(TrapKind::Kind)?;
        let (major, short) = ((first >> 5) as u8, first & 31);
        let length = match short {
            0..24 => short,
            24..=27 => reader.number(1 << (short - 24)).ok_or(TrapKind::Kind)?,
            _ => return Err(TrapKind::Kind.into()),
        };
        let mut shortest = Vec::new();
        write_head(&mut shortest, major, length);
        if !(2..=5).contains(&major) || !document.starts_with(&shortest) || length > limits::MAX_BYTES_LEN {
            return Err(TrapKind::Kind.into());
        }
        self.push(length);
        Ok(())
    }

    /// R.DINT.
    pub fn document_integer(&mut self) -> Result<(), Fault> {
        let document = self.pop_bytes()?;
        let number = match document.first() {
            // Only what starts as an integer is looked at.
            Some(0x00..=0x1b | 0x20..=0x3b | 0xc2 | 0xc3) => match read(&document)? {
                Node::Integer(number) => Some(number),
                _ => None,
            },
            _ => None,
        };
        let modulus = BigInt::from(1) << self.bits;
        let lowest = -(&modulus >> 1u32);
        let fitting = number.filter(|number| *number < modulus && *number >= lowest);
        self.push(u32::from(fitting.is_some()));
        let word = fitting.map_or(BigInt::ZERO, |number| {
            if number.sign() == Sign::Minus { number + modulus } else { number }
        });
        self.push(word.magnitude().clone());
        Ok(())
    }

    /// R.INTD.
    pub fn integer_document(&mut self) -> Result<(), Fault> {
        let word = self.pop();
        self.push_made(encoded(&Node::Integer(word.into())))
    }

    /// R.DSTR.
    pub fn document_string(&mut self) -> Result<(), Fault> {
        let Value::Bytes(whole) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        self.charge(gas::copy(whole.bytes.len() as u64))?;
        let contents = match read(&whole.bytes)? {
            Node::Text(text) => Some(text.into_bytes()),
            Node::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        self.push_part(&whole, contents)
    }

    /// R.STRD.
    pub fn string_document(&mut self, kind: u64) -> Result<(), Fault> {
        let bytes = self.pop_bytes()?.to_vec();
        self.charge(gas::copy(bytes.len() as u64))?;
        self.push_made(encoded(&match kind {
            0 => Node::Text(String::from_utf8(bytes).map_err(|_| TrapKind::Kind)?),
            _ => Node::Bytes(bytes),
        }))
    }

    /// R.DITER.
    pub fn document_entry(&mut self) -> Result<(), Fault> {
        let Value::Bytes(whole) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        self.charge(gas::document(whole.bytes.len() as u64))?;
        let index = self.pop().to_usize();
        let (name, value) = match read(&whole.bytes)? {
            Node::Array(values) => (None, index.and_then(|index| values.get(index).cloned())),
            Node::Map(entries) => match index.and_then(|index| entries.get(index).cloned()) {
                Some((name, value)) => (Some(name), Some(value)),
                None => (None, None),
            },
            _ => return Err(TrapKind::Kind.into()),
        };
        self.push(u32::from(value.is_some()));
        self.push_part(&whole, name.map(String::into_bytes))?;
        self.push_part(&whole, value.map(|value| encoded(&value)))
    }
}
