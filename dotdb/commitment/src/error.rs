//! What can go wrong with the tree and with a proof.

use dotdb_store::StoreError;

use crate::hash::Root;

/// An error of the state tree: each message is one sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum CommitmentError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No version was ever committed.
    #[error("the state tree has not been built yet")]
    NoTree,
    /// The version was pruned, or is older than the tree.
    #[error("version {version} of the state tree is not kept: the oldest that is kept is {oldest}")]
    Pruned {
        /// The version asked for.
        version: u64,
        /// The oldest version that can be asked for.
        oldest: u64,
    },
    /// The version is not there yet.
    #[error("the state tree has no version {version} yet: its latest is {latest}")]
    NotYet {
        /// The version asked for.
        version: u64,
        /// The latest version.
        latest: u64,
    },
    /// A new version must be greater than the latest one.
    #[error("the state tree has version {latest} and cannot be given version {version} after it")]
    VersionOrder {
        /// The version that was to be made.
        version: u64,
        /// The latest version.
        latest: u64,
    },
    /// The version is greater than [`MAX_VERSION`](crate::MAX_VERSION).
    #[error("version {version} is too great for the state tree, which has versions up to {limit}")]
    VersionTooGreat {
        /// The version that was to be made.
        version: u64,
        /// The greatest there can be.
        limit: u64,
    },
    /// One version was loaded in more chunks than can be told apart.
    #[error("version {version} of the state tree is loaded in too many chunks: make each of them larger")]
    TooManyChunks {
        /// The version that was being loaded.
        version: u64,
    },
    /// What is to be proved is not what is committed.
    #[error("the value to be proved is not the committed one: {problem}")]
    NotCommitted {
        /// What the tree has instead.
        problem: &'static str,
    },
    /// A key or value is too long for a proof.
    #[error("a {what} of {bytes} bytes is too large for a proof, which takes up to {limit}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// The rows were written by a later version of this program.
    #[error(
        "the state tree has format {found} and this program reads format {supported}: use a newer version"
    )]
    NewerFormat {
        /// Format of the rows.
        found: u8,
        /// The format known here.
        supported: u8,
    },
    /// A row of the tree is not what was written.
    #[error("the state tree is damaged: its row {row} {problem}")]
    Damaged {
        /// Key of the row without the store's prefix, in hex.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The bytes are not a proof.
    #[error("this is not a proof: {problem} at byte {at}")]
    Malformed {
        /// Where reading stopped.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The JSON form is not a proof.
    #[error("this is not a proof: {problem}")]
    MalformedJson {
        /// What is wrong.
        problem: &'static str,
    },
    /// The proof was made by a later version of this program.
    #[error("the proof has format {found} and this program reads format {supported}: use a newer version")]
    NewerFormat {
        /// Format of the proof.
        found: u64,
        /// The format known here.
        supported: u8,
    },
    /// The proof belongs to another root, or was altered.
    #[error("the proof leads to the root {computed} and not to {expected}")]
    OtherRoot {
        /// The root that follows from the proof.
        computed: Root,
        /// The root it was verified against.
        expected: Root,
    },
    /// A proof of absence whose last node is the key itself, or lies off the path of the key.
    #[error("the proof says that the key is absent, but {problem}")]
    NotAbsent {
        /// Why it does not follow.
        problem: &'static str,
    },
}
