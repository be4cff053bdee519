//! How a key and its value are shown.

use dotdb::{ValueKind, document};
use dotvm_arch::{W512, Word};
use dotvm_runtime::show;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::BytesReport;

/// A key and its value.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Row {
    Slot { key: String, value: String },
    Bytes { key: BytesReport, value: BytesReport },
    Document { key: BytesReport, value: Box<RawValue> },
}

impl Row {
    /// A slot (`None`), or a record of a collection that keeps this kind of value.
    pub(super) fn new(kind: Option<ValueKind>, key: &[u8], value: &[u8]) -> Result<Row, Failure> {
        Ok(match kind {
            None => Row::Slot { key: number_text(key)?, value: number_text(value)? },
            Some(ValueKind::Bytes) => {
                Row::Bytes { key: BytesReport::new(key), value: BytesReport::new(value) }
            }
            Some(ValueKind::Document) => {
                Row::Document { key: BytesReport::new(key), value: raw_json(value)? }
            }
        })
    }
}

/// The key of a row in a form that the command line reads back.
pub(super) fn key_text(kind: Option<ValueKind>, key: &[u8]) -> Result<String, Failure> {
    match kind {
        None => number_text(key),
        Some(_) => Ok(show::bytes(key)),
    }
}

/// The value of a row.
pub(super) fn value_text(kind: Option<ValueKind>, value: &[u8]) -> Result<String, Failure> {
    match kind {
        None => number_text(value),
        Some(ValueKind::Bytes) => Ok(show::bytes(value)),
        Some(ValueKind::Document) => json_text(value),
    }
}

/// A slot's key or value in decimal.
pub(super) fn number_text(bytes: &[u8]) -> Result<String, Failure> {
    match <W512 as Word>::from_be_slice(bytes) {
        Some(word) => Ok(word.to_string()),
        None => Err(Failure::new(Exit::Database, "the store is damaged: a slot has more than 512 bits")),
    }
}

/// A document as JSON, in one line.
pub(super) fn json_text(value: &[u8]) -> Result<String, Failure> {
    document::to_json(value).map_err(|error| {
        Failure::new(Exit::Database, format!("the store is damaged: a record is no document: {error}"))
    })
}

/// A document as a part of JSON output.
pub(super) fn raw_json(value: &[u8]) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(json_text(value)?).map_err(|error| Failure::new(Exit::Output, error))
}
