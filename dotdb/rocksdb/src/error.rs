//! RocksDB's errors as ours. They are texts: `Status::ToString` in its `util/status.cc`.

use std::io;
use std::path::Path;

use dotdb_store::StoreError;
use rocksdb::{Error, ErrorKind};

pub(crate) fn map(error: Error) -> StoreError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::IOError if is_full(&text) => StoreError::Full,
        ErrorKind::IOError
        | ErrorKind::Aborted
        | ErrorKind::Busy
        | ErrorKind::TimedOut
        | ErrorKind::TryAgain
        | ErrorKind::ShutdownInProgress => {
            StoreError::Io { context: "access to the store's files".into(), source: io::Error::other(text) }
        }
        _ => StoreError::Corrupt { detail: text },
    }
}

fn is_full(text: &str) -> bool {
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}

pub(crate) fn opening(path: &Path, error: Error) -> StoreError {
    let text = error.to_string();
    match error.kind() {
        // `LockFile` in its `env/fs_posix.cc`.
        ErrorKind::IOError
            if text.contains("While lock file") || text.contains("lock hold by current process") =>
        {
            StoreError::Locked { path: path.to_owned(), holder: None }
        }
        ErrorKind::IOError if is_full(&text) => StoreError::Full,
        // The directory is there, as its marker was read: so a part of the store is missing.
        ErrorKind::IOError | ErrorKind::InvalidArgument | ErrorKind::NotFound if is_missing(&error) => {
            StoreError::Corrupt { detail: text }
        }
        ErrorKind::IOError => {
            StoreError::Io { context: format!("opening {}", path.display()), source: io::Error::other(text) }
        }
        ErrorKind::NotSupported => StoreError::NotADatabase { path: path.to_owned(), detail: text },
        _ => map(error),
    }
}

/// Whether a file was not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("No such file or directory") || text.contains("does not exist")
}
