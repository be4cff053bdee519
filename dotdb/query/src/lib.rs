//! Queries over collections of documents, without a store: the language and its compiled form,
//! schemas, indexes and their key encoding, the planner and the executor.

pub mod encoding;
pub mod index;
pub mod path;
pub mod query;
pub mod schema;

mod cbor;
mod collation;
pub mod compiled;
mod dialect;
mod error;
mod index_text;
mod parse;
mod print;
mod source;
mod value;

pub use error::QueryError;
pub use index::{Entry, EntryError, IndexPath, IndexSpec, decode_entry, entries};
pub use path::{Path, Step};
pub use query::Query;
pub use schema::{Schema, Violation};
pub use source::{KeyRange, Source, Statistics};
pub use value::{Malformed, Value, ValueRef};
