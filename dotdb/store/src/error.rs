//! What a store can answer instead of a result.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a store: each message is one sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the store, or this one has it open already.
    #[error("{}", locked(path, holder.as_ref()))]
    Locked {
        /// The store's file or directory.
        path: PathBuf,
        /// Who has it open, if that is known.
        holder: Option<Holder>,
    },
    /// This program was built without what the store needs.
    #[error("{0}")]
    Unsupported(String),
    /// Something else that is going on in this process must end first.
    #[error("{0}")]
    Busy(String),
    /// The store was not closed in good order and must be opened for writing once to be repaired.
    #[error("the store {} was not closed in good order: open it for writing once to repair it", path.display())]
    Unclean {
        /// The store's file.
        path: PathBuf,
    },
    /// There is no such store.
    #[error("there is no store at {}", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a DotDB store: {detail}", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },
    /// The store is damaged.
    #[error("the store is damaged: {detail}")]
    Corrupt {
        /// What is wrong, and where if known.
        detail: String,
    },
    /// The store was written by a later version of this program.
    #[error(
        "the store has format {found} and this program reads up to format {supported}: use a newer version"
    )]
    NewerFormat {
        /// Format of the store.
        found: u32,
        /// Newest format known here.
        supported: u32,
    },
    /// No space is left.
    #[error("there is no space left to write to the store")]
    Full,
    /// A key or value is longer than the backend can keep.
    #[error("a {what} of {bytes} bytes is too large for the store, which takes up to {limit}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The longest allowed.
        limit: u64,
    },
    /// A write to a store that was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The operating system refused.
    #[error("{context} failed: {source}")]
    Io {
        /// What was attempted, with the file's name where there is one.
        context: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// A process that has a store open for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// What it runs, as in `dotvm call token transfer`.
    pub program: String,
    /// When it opened the store, as in `2026-11-21T13:42:29Z`.
    pub since: String,
}

fn locked(path: &Path, holder: Option<&Holder>) -> String {
    let path = path.display();
    match holder {
        Some(Holder { process, program, since }) if *process == std::process::id() => {
            format!(
                "the store {path} is held by this process ({program}) since {since}: close it there first"
            )
        }
        Some(Holder { process, program, since }) => {
            format!("the store {path} is held by process {process} ({program}) since {since}")
        }
        None => {
            format!("the store {path} is open in another process, or twice in this one: close it there first")
        }
    }
}

impl StoreError {
    /// Turns an I/O error into the variant that says most: [`StoreError::NotFound`],
    /// [`StoreError::Full`], else [`StoreError::Io`].
    pub fn from_io(action: &str, path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { path: path.to_owned() },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Io { context: format!("{action} {}", path.display()), source },
        }
    }
}
