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
mod check;
mod error;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod contain;
pub mod directory;
#[cfg(feature = "testing")]
pub mod faulty;
pub mod page;

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;

pub use batch::Batch;
pub use check::{Damage, check_pairs};
pub use error::{Holder, StoreError};
pub use page::{Page, PageReader, Pages};

/// Longest key that a store takes, bytes: the same for every backend, so that a dump of one can be loaded into
/// any other.
pub const MAX_KEY_BYTES: usize = 1 << 20;
/// Longest value that a store takes, bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 30;

/// One ordered keyspace of byte strings.
pub trait Store: Send + Sync {
    /// The state as of now, unaffected by later batches.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Applies a batch: all of it, or on an error none of it.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`]; [`StoreError::TooLarge`] over [`MAX_KEY_BYTES`] and [`MAX_VALUE_BYTES`];
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Corrupt`]: after one of these a backend may
    /// refuse all writes until it is opened anew.
    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;

    /// Makes everything applied so far durable.
    fn sync(&self) -> Result<(), StoreError>;

    /// Size of the store; may take time linear in the number of keys.
    fn stats(&self) -> Result<StoreStats, StoreError>;

    /// Gives space that holds nothing back to the file system, as far as the backend can. Batches and
    /// snapshots may have to wait meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while snapshots live, where the backend cannot compact beside them;
    /// [`StoreError::ReadOnly`].
    fn compact(&self) -> Result<CompactReport, StoreError> {
        let bytes = self.stats()?.file_bytes;
        Ok(CompactReport { bytes_before: bytes, bytes_after: bytes })
    }

    /// Verifies everything that the backend can verify, reading all of the store, and hands every damage to
    /// `found`. Batches may have to wait meanwhile. What is not handed over was found whole.
    ///
    /// # Errors
    /// Only what kept it from looking: damage is no error here.
    fn check(&self, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        check_pairs(&*self.snapshot()?, found, &mut |_, _| {}).map(drop)
    }

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

    /// Puts the value of a key in place of what `value` holds; `false` if it has none, and what `value` then holds
    /// means nothing.
    fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let found = self.get(key)?;
        if let Some(found) = &found {
            value.extend_from_slice(found);
        }
        Ok(found.is_some())
    }

    /// [`range`](Snapshot::range), read a page at a time.
    fn pages(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PageReader, StoreError> {
        Ok(Box::new(page::OneByOne(Some(self.range(from, to, direction)?))))
    }

    /// How many pairs lie between two bounds. At most `cap` are counted, from the least key on; what is not looked at is
    /// not verified either.
    fn count(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, cap: u64) -> Result<Counted, StoreError> {
        let mut rows = self.range(from, to, Direction::Forward)?;
        let mut counted = Counted { pairs: 0, last: None };
        while counted.pairs < cap {
            let Some(row) = rows.next() else { return Ok(Counted { last: None, ..counted }) };
            counted = Counted { pairs: counted.pairs + 1, last: Some(row?.0) };
        }
        Ok(counted)
    }

    /// Shows the pairs between two bounds, in the given direction, until `see` breaks off. They are lent and not
    /// copied, as those of [`range`](Snapshot::range) are, which outlive the look at them.
    ///
    /// # Errors
    /// Those of [`range`](Snapshot::range) and its pairs; what was shown before was right.
    fn visit(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
        see: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        for row in self.range(from, to, direction)? {
            let (key, value) = row?;
            if see(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What [`Snapshot::count`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Number of pairs counted.
    pub pairs: u64,
    /// The key of the last of them if there can be more, `None` if all were counted or none.
    pub last: Option<Bytes>,
}

/// Whom [`Snapshot::visit`] shows key and value to.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

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
    /// Bytes of the store's files, if it has any.
    pub file_bytes: Option<u64>,
    /// Of these the bytes that hold no pair, where the backend knows: free space, padding and what was
    /// overwritten or deleted. [`Store::compact`] gives a part of them back.
    pub dead_bytes: Option<u64>,
}

/// What [`Store::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the store's files before, if it has any.
    pub bytes_before: Option<u64>,
    /// Bytes of the store's files after.
    pub bytes_after: Option<u64>,
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
