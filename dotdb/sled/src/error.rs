//! sled's errors as ours.

use std::io;
use std::path::Path;

use dotdb_store::StoreError;

pub(crate) fn map(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                StoreError::Corrupt { detail: source.to_string() }
            }
            _ => StoreError::Io { context: "access to the store's files".into(), source },
        },
        sled::Error::Corruption { at, .. } => StoreError::Corrupt {
            detail: match at {
                Some(place) => format!("sled found damage at {place:?}"),
                None => "sled found damage".into(),
            },
        },
        other => StoreError::Corrupt { detail: other.to_string() },
    }
}

pub(crate) fn opening(path: &Path, error: sled::Error) -> StoreError {
    match error {
        // `Config::try_lock` of sled 0.34.7 makes this of whatever the lock answered.
        sled::Error::Io(source) if source.to_string().starts_with("could not acquire lock") => {
            StoreError::Locked { path: path.to_owned(), holder: None }
        }
        sled::Error::Io(source)
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            StoreError::from_io("opening", path, source)
        }
        sled::Error::Unsupported(detail) => StoreError::NotADatabase { path: path.to_owned(), detail },
        other => map(other),
    }
}
