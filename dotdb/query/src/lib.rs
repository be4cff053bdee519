//! Queries over collections of documents, without a store: the language and its compiled form,
//! schemas, indexes and their key encoding, the planner and the executor.

pub mod compiled;
pub mod encoding;
pub mod explain;
pub mod index;
pub mod page;
pub mod path;
pub mod query;
pub mod schema;

mod absent;
mod access;
mod cbor;
mod check;
mod collation;
mod dialect;
mod error;
mod eval;
mod exec;
mod filter;
mod group;
mod index_text;
mod normal;
mod parse;
mod plan;
mod planner;
mod prepared;
mod print;
mod ranges;
mod reasons;
mod source;
mod sum;
mod union;
mod value;

pub use absent::Absent;
pub use error::QueryError;
pub use exec::{Budget, ExecuteError, Executor, Progress, Row, RowRef, Step as ExecuteStep, execute};
pub use explain::{Counts, Explain};
pub use index::{Entry, EntryError, IndexPath, IndexSpec, decode_entry, entries};
pub use page::Token;
pub use path::{Path, Step};
pub use plan::{Index, Plan, PlanError, Request, plan};
pub use prepared::Prepared;
pub use query::Query;
pub use schema::{Schema, Violation};
pub use source::{Counted, IndexRow, KeyRange, RecordRow, Source, Statistics};
pub use value::{Malformed, Value, ValueRef};
