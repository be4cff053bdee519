//! The store interface: what DotDB asks of a storage engine, and its conformance suite.
//!
//! A store is one ordered keyspace of byte strings. It gives consistent snapshots and applies
//! batches of writes atomically; transactions, savepoints, collections and contracts are DotDB's
//! and are the same over every store. A new backend is finished when `conformance` is green on it.
//!
//! What a store promises:
//! - a [`Snapshot`] never changes, however many batches are applied after it was taken;
//! - a [`Batch`] is seen whole or not at all, by readers and after a crash;
//! - batches become durable in the order in which they were applied;
//! - keys are ordered as unsigned bytes, shorter first; empty keys and empty values are values.

mod batch;
mod error;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod faulty;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

pub use batch::Batch;
pub use error::StoreError;

/// One ordered keyspace of byte strings.
pub trait Store: Send + Sync {
    /// The state as of now, unaffected by later batches.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Applies a batch: all of it, or on an error none of it.
    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;

    /// Makes everything applied so far durable.
    fn sync(&self) -> Result<(), StoreError>;

    /// Size of the store; may take time linear in the number of keys.
    fn stats(&self) -> Result<StoreStats, StoreError>;

    /// Whether [`apply`](Store::apply) is refused because the store was opened for reading only.
    fn read_only(&self) -> bool {
        false
    }
}

/// A consistent, immutable view of a store.
pub trait Snapshot: Send + Sync {
    /// The value of a key, or `None`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The pairs between two bounds, in the given direction. Bounds that hold nothing, crossed ones
    /// included, give an empty iterator. After an error the iterator ends.
    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError>;
}

/// What [`Snapshot::range`] gives: key and value, or the error that ended the iteration.
pub type PairIter = Box<dyn Iterator<Item = Result<(Bytes, Bytes), StoreError>> + Send>;

/// Order of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Forward,
    /// Greatest key first.
    Backward,
}

/// What is promised when [`Store::apply`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The batch and all before it survive a power cut.
    Sync,
    /// The batch is visible; a crash may lose it, with all after it, until the next
    /// [`Store::sync`] or `Sync` batch.
    None,
}

/// Size of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Name of the backend, as in `redb`.
    pub backend: &'static str,
    /// Number of keys.
    pub keys: u64,
    /// Bytes of all keys and values.
    pub live_bytes: u64,
    /// Bytes of the store's file, if it has one.
    pub file_bytes: Option<u64>,
}

/// Whether no key can lie between two bounds. Backends whose own range refuses such bounds ask this
/// first.
pub fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a), Bound::Excluded(b))
        | (Bound::Excluded(a), Bound::Included(b))
        | (Bound::Excluded(a), Bound::Excluded(b)) => a >= b,
        (Bound::Unbounded, Bound::Excluded(b)) => b.is_empty(),
        (_, Bound::Unbounded) | (Bound::Unbounded, _) => false,
    }
}
