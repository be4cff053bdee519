//! What a transaction can answer instead of a result.

use dotdb_store::StoreError;

use crate::collections::ValueKind;
use dotdb_document::DocumentError;

/// An error of DotDB: each message is one sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The store under the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is not empty and holds something else.
    #[error("the store holds data that DotDB did not write")]
    Foreign,
    /// The store is empty and cannot be initialised.
    #[error("the store is empty and open for reading only")]
    Uninitialised,
    /// A write in a read-only transaction.
    #[error("the transaction is read-only")]
    ReadOnly,
    /// A savepoint that was never set, was released, or was undone by an earlier rollback.
    #[error("the transaction has no savepoint {id}")]
    UnknownSavepoint {
        /// What was asked for.
        id: u64,
    },
    /// A cursor that was never opened, or was closed.
    #[error("the transaction has no open cursor {id}")]
    UnknownCursor {
        /// What was asked for.
        id: u64,
    },
    /// More cursors than [`MAX_CURSORS`](crate::MAX_CURSORS).
    #[error("the transaction has {} cursors open already, which is the limit", crate::MAX_CURSORS)]
    TooManyCursors,
    /// A collection handle that this transaction did not give.
    #[error("the transaction has not opened a collection with handle {handle}")]
    UnknownCollection {
        /// What was asked for.
        handle: u32,
    },
    /// A collection keeps the other kind of value.
    #[error("the collection {name:?} keeps {found} and was opened for {wanted}")]
    CollectionKind {
        /// Name of the collection.
        name: String,
        /// Its kind.
        found: ValueKind,
        /// The kind asked for.
        wanted: ValueKind,
    },
    /// No contract has this name.
    #[error("there is no contract named {name:?}")]
    UnknownContract {
        /// What was asked for.
        name: String,
    },
    /// No code has this hash.
    #[error("there is no code with hash {hash}")]
    UnknownCode {
        /// What was asked for, in hexadecimal.
        hash: String,
    },
    /// A name that breaks the rules.
    #[error(
        "the name {name:?} {problem}: a name is 1 to {} of a-z 0-9 _ - . and starts with a letter",
        crate::MAX_NAME_BYTES
    )]
    Name {
        /// The name, cut if it is very long.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key, value or module is longer than its limit.
    #[error("the {what} has {bytes} bytes and the limit is {limit}")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A value of a document collection is no document.
    #[error("the value is not a document: {0}")]
    Document(#[from] DocumentError),
    /// A counter has no number left.
    #[error("the {what} are used up")]
    Exhausted {
        /// What cannot be numbered any more.
        what: &'static str,
    },
}
