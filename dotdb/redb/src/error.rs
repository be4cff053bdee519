//! redb's errors as ours.

use std::io;
use std::path::Path;

use dotdb_store::StoreError;
use redb::{CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError};

pub(crate) fn storage(error: StorageError) -> StoreError {
    match error {
        StorageError::Io(source) => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => corrupt(source.to_string()),
            _ => StoreError::Io { context: "access to the store's file".into(), source },
        },
        StorageError::ValueTooLarge(bytes) => StoreError::TooLarge {
            what: "value",
            bytes: bytes as u64,
            limit: dotdb_store::MAX_VALUE_BYTES as u64,
        },
        StorageError::Corrupted(detail) => corrupt(detail),
        StorageError::PreviousIo => StoreError::Io {
            context: "access to the store's file".into(),
            source: io::Error::other("an earlier access failed, so the store must be opened anew"),
        },
        StorageError::DatabaseClosed => StoreError::Io {
            context: "access to the store's file".into(),
            source: io::Error::other("the store was closed"),
        },
        other => corrupt(other.to_string()),
    }
}

pub(crate) fn transaction(error: TransactionError) -> StoreError {
    match error {
        TransactionError::Storage(error) => storage(error),
        other => corrupt(other.to_string()),
    }
}

pub(crate) fn table(error: TableError) -> StoreError {
    match error {
        TableError::Storage(error) => storage(error),
        other => corrupt(other.to_string()),
    }
}

pub(crate) fn commit(error: CommitError) -> StoreError {
    match error {
        CommitError::Storage(error) => storage(error),
        other => corrupt(other.to_string()),
    }
}

pub(crate) fn compaction(error: CompactionError) -> StoreError {
    match error {
        CompactionError::Storage(error) => storage(error),
        CompactionError::TransactionInProgress
        | CompactionError::PersistentSavepointExists
        | CompactionError::EphemeralSavepointExists => {
            StoreError::Busy("the store cannot be compacted while it is being read".into())
        }
        other => corrupt(other.to_string()),
    }
}

pub(crate) fn database(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { path: path.to_owned(), holder: None },
        DatabaseError::RepairAborted => StoreError::Unclean { path: path.to_owned() },
        DatabaseError::UpgradeRequired(version) => StoreError::NotADatabase {
            path: path.to_owned(),
            detail: format!("it has the old redb file format {version}"),
        },
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            StoreError::from_io("opening", path, source)
        }
        DatabaseError::Storage(error) => storage(error),
        other => corrupt(other.to_string()),
    }
}

fn corrupt(detail: String) -> StoreError {
    StoreError::Corrupt { detail }
}
