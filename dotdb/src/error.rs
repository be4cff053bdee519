//! What a transaction can answer instead of a result.

use std::sync::Arc;

use dotdb_store::StoreError;

use crate::collections::ValueKind;
use bytes::Bytes;
use dotdb_document::DocumentError;
use dotdb_query::{EntryError, QueryError, Violation};

/// An error of DotDB: each message is one sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The store under the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed while it wrote the group of commits that this one was part of.
    #[error(transparent)]
    Group(Arc<StoreError>),
    /// What the transaction has read was changed by another before it could commit: nothing of it is in the state,
    /// and the same transaction may succeed if it is begun again.
    #[error("the transaction conflicts with another: {with}; try it again")]
    Conflict {
        /// What was changed meanwhile.
        with: String,
    },
    /// The database was written by an earlier version of this program.
    #[error("the database has schema {found} and this program needs schema {current}: migrate it first")]
    OlderSchema {
        /// Schema of the database.
        found: u32,
        /// The one known here.
        current: u32,
    },
    /// A version that no commit has reached.
    #[error("there is no version {version}: the last is {last}")]
    FutureVersion {
        /// What was asked for.
        version: u64,
        /// The version of the state.
        last: u64,
    },
    /// A transaction on the state of a version that was there to do something again.
    #[error("a transaction on version {version} of the state cannot be committed")]
    Again {
        /// The version.
        version: u64,
    },
    /// Something of a transaction that cannot be written down.
    #[error("{what} cannot be written down")]
    NotSaved {
        /// What it is.
        what: &'static str,
    },
    /// A version whose state is not kept any more.
    #[error("version {version} is not kept any more: the oldest is {oldest}")]
    PrunedVersion {
        /// What was asked for.
        version: u64,
        /// The oldest that can be read.
        oldest: u64,
    },
    /// No version has this name.
    #[error("there is no version named {name:?}")]
    UnknownVersion {
        /// What was asked for.
        name: String,
    },
    /// A version has this name already.
    #[error("the name {name:?} stands for version {version} already")]
    VersionNameTaken {
        /// The name.
        name: String,
        /// What it stands for.
        version: u64,
    },
    /// A version that a name keeps from being forgotten.
    #[error("version {version} is kept under the name {name:?}: take the name back first")]
    VersionNamed {
        /// The name.
        name: String,
        /// What it stands for.
        version: u64,
    },
    /// Something that needs the state root, in a database that keeps none.
    #[error("the database keeps no state root: it was made without one")]
    NoStateRoot,
    /// The state tree or a proof.
    #[error(transparent)]
    Commitment(#[from] dotdb_commitment::CommitmentError),
    /// Settings that do not go together.
    #[error("these settings do not go together: {problem}")]
    Settings {
        /// What is wrong.
        problem: &'static str,
    },
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
    /// A document that breaks the schema of its collection.
    #[error("the document breaks the schema of its collection: {0}")]
    Schema(#[from] Violation),
    /// A record that is there and breaks a new schema.
    #[error("the record {} breaks the schema: {violation}", crate::show_key(.record))]
    SchemaOfRecord {
        /// Its key.
        record: Bytes,
        /// How it breaks it.
        violation: Violation,
    },
    /// A document that an index cannot take.
    #[error(transparent)]
    IndexEntry(#[from] EntryError),
    /// Two records with what a unique index allows one to have.
    #[error("the index {index:?} is unique, and the record {} has the same as {}", crate::show_key(.record), crate::show_key(.other))]
    NotUnique {
        /// Name of the index.
        index: String,
        /// Key of the record that was to be written.
        record: Bytes,
        /// Key of the record that has it already.
        other: Bytes,
    },
    /// No index of the collection has this name.
    #[error("the collection has no index named {name:?}")]
    UnknownIndex {
        /// What was asked for.
        name: String,
    },
    /// The collection has another index of this name.
    #[error("the collection has an index named {name:?} already, over {spec}")]
    IndexExists {
        /// Its name.
        name: String,
        /// What it is over.
        spec: String,
    },
    /// More indexes than [`MAX_INDEXES`](crate::MAX_INDEXES).
    #[error("the collection has {} indexes already, which is the limit", crate::MAX_INDEXES)]
    TooManyIndexes,
    /// Something that only collections of documents have.
    #[error("the collection keeps byte strings: indexes, schemas and queries are for documents")]
    NotDocuments,
    /// A query is refused, or ended early.
    #[error("{0}")]
    Query(Box<QueryError>),
    /// A counter has no number left.
    #[error("the {what} are used up")]
    Exhausted {
        /// What cannot be numbered any more.
        what: &'static str,
    },
}

impl DbError {
    /// The error of a group, to one of its members.
    pub(crate) fn from_shared(error: Arc<StoreError>) -> DbError {
        match Arc::try_unwrap(error) {
            Ok(error) => DbError::Store(error),
            Err(error) => DbError::Group(error),
        }
    }

    /// Whether the same transaction may succeed if it is begun again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, DbError::Conflict { .. })
    }

    /// The store's error, if it was the store that failed.
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            DbError::Store(error) => Some(error),
            DbError::Group(error) => Some(error),
            _ => None,
        }
    }
}
