//! Page R: operations on documents. What is in a byte string is looked at only after its length is paid for.

use std::ops::Range;

use bytes::Bytes;
use dotdb_document::pointer::{self, PointerError};
use dotdb_document::{self as document, DocumentError};
use dotvm_arch::Word;
use dotvm_core::gas;
use dotvm_core::limits::{self, MAX_BYTES_LEN};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_heap::Reference;

use crate::machine::{Machine, Stop};
use crate::references::bytes_of;

const KIND: Stop = Stop::trap(TrapKind::Kind);

impl From<DocumentError> for Stop {
    fn from(_: DocumentError) -> Stop {
        KIND
    }
}

impl From<PointerError> for Stop {
    fn from(error: PointerError) -> Stop {
        Stop::trap(match error {
            PointerError::Document(_) | PointerError::Syntax => TrapKind::Kind,
            PointerError::NoPlace => TrapKind::Index,
            PointerError::TooDeep => TrapKind::Size,
        })
    }
}

/// Bytes that were made, or a Size trap.
fn made(bytes: Vec<u8>) -> Result<Bytes, Stop> {
    if bytes.len() as u64 > MAX_BYTES_LEN { Err(Stop::trap(TrapKind::Size)) } else { Ok(bytes.into()) }
}

impl<W: Word> Machine<'_, W> {
    /// Does an operation of page R on documents; `a` is its immediate.
    #[inline(never)]
    pub fn documents(&mut self, op: Op, w: usize, r: usize, a: u64) -> Result<(), Stop> {
        match op {
            Op::RDparse => {
                let [text] = self.paid_documents(r)?;
                let parsed = std::str::from_utf8(&text).ok().and_then(|text| document::from_json(text).ok());
                self.set_optional_bytes(r, parsed.map(made).transpose()?)?;
            }
            Op::RDtext => {
                let [doc] = self.paid_documents(r)?;
                self.set_bytes(r, made(document::to_json(&doc)?.into())?)?;
            }
            Op::RDget => {
                let [path, doc] = self.paid_documents(r)?;
                let value = pointer::get(&doc, &path)?;
                let value = self.optional_part(r + 1, value)?;
                self.set_ref(r, value);
                self.clear_refs(r + 1, 1);
            }
            Op::RDset => {
                let [value, path, doc] = self.paid_documents(r)?;
                self.set_bytes(r, made(pointer::set(&doc, &path, &value)?)?)?;
                self.clear_refs(r + 1, 2);
            }
            Op::RDdel => {
                let [path, doc] = self.paid_documents(r)?;
                self.set_bytes(r, made(pointer::delete(&doc, &path)?)?)?;
                self.clear_refs(r + 1, 1);
            }
            Op::RDtype => {
                let kind = document::kind(bytes_of(&self.heap, &self.refs[r])?).ok_or(KIND)?;
                self.words[w] = W::from_u64(kind as u64);
                self.clear_refs(r, 1);
            }
            Op::RDlen => {
                let length = document::length(bytes_of(&self.heap, &self.refs[r])?).ok_or(KIND)?;
                // A length that no byte string has is not that of a document.
                self.words[w] =
                    W::from_u64(Some(length).filter(|&length| length <= MAX_BYTES_LEN).ok_or(KIND)?);
                self.clear_refs(r, 1);
            }
            Op::RDint => {
                let integer = document::integer(bytes_of(&self.heap, &self.refs[r])?)?;
                let word = integer.and_then(|integer| {
                    let magnitude = W::from_be_slice(&integer.magnitude)?;
                    match integer.is_negative {
                        false => Some(magnitude),
                        // −1 − n is the complement of n.
                        true => Some(magnitude.not()).filter(|word| word.slt(W::ZERO)),
                    }
                });
                self.words[w] = W::from_bool(word.is_some());
                self.words[w + 1] = word.unwrap_or(W::ZERO);
                self.clear_refs(r, 1);
            }
            Op::RIntd => {
                let mut buffer = [0; 64];
                let digits = self.words[w].to_be_trimmed(&mut buffer);
                self.set_bytes(r, document::unsigned_document(digits).into())?;
            }
            Op::RDstr => {
                let doc = bytes_of(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::copy(doc.len() as u64))?;
                let contents = document::string(doc)?;
                let contents = self.optional_part(r, contents)?;
                self.set_ref(r, contents);
            }
            Op::RStrd => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::copy(bytes.len() as u64))?;
                let doc = made(match a {
                    0 => document::text_document(std::str::from_utf8(bytes).map_err(|_| KIND)?),
                    _ => document::bytes_document(bytes),
                })?;
                self.set_bytes(r, doc)?;
            }
            Op::RDiter => {
                let [doc] = self.paid_documents(r)?;
                // No document has as many entries as a number wider than 64 bits.
                let index = self.words[w].try_u64().unwrap_or(u64::MAX);
                let entry = document::entry(&doc, index)?;
                let (name, value) = entry.map(|entry| (entry.name, Some(entry.value))).unwrap_or_default();
                let parts = u64::from(name.is_some()) + u64::from(value.is_some());
                self.heap.room(parts * limits::heap::OBJECT)?;
                self.words[w] = W::from_bool(value.is_some());
                let name = self.optional_part(r, name)?;
                let value = self.optional_part(r, value)?;
                self.set_ref(r, name);
                self.set_ref(r + 1, value);
            }
            op => unreachable!("{op:?} is not about documents"),
        }
        Ok(())
    }

    /// A part of a byte string, not copied, or null.
    fn optional_part(&mut self, r: usize, range: Option<Range<usize>>) -> Result<Reference, Stop> {
        let part = range.and_then(|range| self.heap.slice(&self.refs[r], range));
        Ok(part.transpose()?.unwrap_or(Reference::NULL))
    }

    /// The byte strings from `refs[r]` on, paid for.
    fn paid_documents<const N: usize>(&mut self, r: usize) -> Result<[Bytes; N], Stop> {
        let mut documents = [const { Bytes::new() }; N];
        for (document, reference) in documents.iter_mut().zip(&self.refs[r..]) {
            *document = bytes_of(&self.heap, reference)?.clone();
        }
        let bytes = documents.iter().map(|document| document.len() as u64).sum();
        self.gas.charge(gas::document(bytes))?;
        Ok(documents)
    }
}
