//! Documents: deterministic CBOR inside, JSON at the edge.
//!
//! A document is one CBOR item (RFC 8949) in the core deterministic encoding of its section 4.2.1:
//! shortest heads, definite lengths, shortest floats that keep the value, map keys sorted by the
//! bytes of their encoding, none twice. It is built of what JSON has and a little more: null,
//! booleans, integers, floats, text, byte strings, arrays, and maps with text keys. Integers beyond
//! 64 bits are bignums (tags 2 and 3, section 3.4.3) of at most 512 bits. Other tags, `undefined`
//! and other simple values are refused. Equal documents are equal bytes.

mod item;
mod json;
mod merge;
pub mod pointer;
mod validate;

pub use item::{
    Entry, Integer, Kind, bytes_document, entry, integer, kind, length, string, text_document,
    unsigned_document,
};
pub use json::{from_json, to_json};
pub use merge::merge_patch;
pub use validate::validate;

/// Deepest nesting of arrays and maps.
pub const MAX_DEPTH: usize = 128;
/// Longest bignum, bytes: 512 bits.
pub const MAX_BIGNUM_BYTES: usize = 64;

/// Why something is not a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Bytes that are not a document.
    #[error("{problem} at byte {offset}")]
    Cbor {
        /// Where the item begins that is wrong.
        offset: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Text that is not JSON, or JSON that has no document.
    #[error("{problem} at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: u64,
        /// Column in characters, from 1.
        column: u64,
        /// What is wrong.
        problem: String,
    },
}
