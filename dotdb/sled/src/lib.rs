//! A store over sled 0.34, for those who ask for it.
//!
//! On disk: a directory with sled's files and `dotdb-store`, which names the [`FORMAT_VERSION`]. One tree holds
//! the pairs under `d` and the key, and under `m` what they amount to: their number, their bytes, the sum of their
//! hashes and the number of batches, written in the same batch. So the sizes are known at once, and
//! [`Store::check`] finds a pair that was lost, changed or brought back, whatever sled itself believes.
//!
//! # What is promised, and what was measured
//! sled's own flush does not reach the disk: it ends in `sync_file_range`, which writes neither the file's
//! metadata nor the drive's cache. In simulated power cuts after it 45 to 48 of 50 rounds had lost acknowledged
//! commits. So [`Durability::Sync`] here is that flush and then an fsync of sled's files of our own; with it 1 of
//! 400 cuts still lost something, and none of 50 processes killed with `kill -9`. sled cuts a damaged
//! log off at the damage when it opens, so that an older state comes back; a store that is closed therefore records
//! how far it has come (`dotdb-progress`), and one that has come less far is refused. Only what was written since
//! a store was last closed in good order can still be lost so. Who cannot afford that takes redb.
//!
//! # Snapshots
//! sled has none over several keys. So while snapshots live, each batch first keeps the values that it overwrites
//! in memory, once for each key and snapshot that needs it, and a snapshot sees these in place of the newer ones.
//! A snapshot that is kept for long while much is written takes memory for every key written.
//!
//! # After an error
//! When a write has failed the store refuses everything; it may stay locked until the process ends, because sled
//! may wait for ever to close its files. A read that fails while sled opens a store it takes for the end of its log:
//! the store can be destroyed by that.
//!
//! sled has no opening for reading only: it takes the store for itself, and a store opened so refuses writes.

mod engine;
mod error;
mod files;
mod history;
mod range;
mod watch;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{
    Batch, CompactReport, Damage, Direction, Durability, PairIter, Snapshot, Store, StoreError, StoreStats,
    check_pairs, directory, is_empty_range,
};

use crate::engine::{Engine, Totals};
use crate::history::Reader;

/// Version of the tree described above. A store with a greater one is refused.
pub const FORMAT_VERSION: u32 = 1;
/// Name of the backend.
pub const BACKEND: &str = "sled";
/// Memory for cached pages, bytes.
pub const CACHE_BYTES: u64 = 256 << 20;

/// A store in a directory, which one process can have open.
pub struct SledStore {
    engine: Arc<Engine>,
    path: PathBuf,
    read_only: bool,
}

impl SledStore {
    /// Opens the store at `path`, or makes a new one there if nothing or an empty directory is there.
    ///
    /// # Errors
    /// As [`open`](SledStore::open).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        let path = path.as_ref();
        if directory::is_absent(path)? {
            directory::create(path, BACKEND, FORMAT_VERSION, |new| Engine::open(new).map(drop))?;
        }
        SledStore::open(path)
    }

    /// Opens the store at `path`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotADatabase`], [`StoreError::Corrupt`],
    /// [`StoreError::NewerFormat`], [`StoreError::Locked`], [`StoreError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        let path = path.as_ref().to_owned();
        directory::expect_marker(&path, BACKEND, FORMAT_VERSION)?;
        let engine = Engine::open(&path)?;
        Ok(SledStore { engine: Arc::new(engine), path, read_only: false })
    }

    /// Opens the store at `path` and refuses writes. No other process can open it meanwhile.
    ///
    /// # Errors
    /// As [`open`](SledStore::open).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        Ok(SledStore { read_only: true, ..SledStore::open(path)? })
    }

    fn file_bytes(&self) -> Result<u64, StoreError> {
        directory::total_bytes(&self.path)
            .map_err(|source| StoreError::from_io("reading the size of", &self.path, source))
    }

    fn take_snapshot(&self) -> Result<(SledSnapshot, Totals), StoreError> {
        let (reader, totals) = self.engine.snapshot()?;
        Ok((SledSnapshot { reader: Arc::new(reader) }, totals))
    }
}

impl Store for SledStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(self.take_snapshot()?.0))
    }

    /// A batch is seen by snapshots before it is durable.
    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        batch.check_lengths()?;
        self.engine.apply(batch)?;
        match durability {
            Durability::Sync => self.engine.sync(),
            Durability::None => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        if self.read_only { Err(StoreError::ReadOnly) } else { self.engine.sync() }
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let totals = self.engine.totals();
        let file_bytes = self.file_bytes()?;
        Ok(StoreStats {
            backend: BACKEND,
            keys: totals.keys,
            live_bytes: totals.bytes,
            file_bytes: Some(file_bytes),
            dead_bytes: Some(file_bytes.saturating_sub(totals.bytes)),
        })
    }

    /// sled gives space back only by itself, when it writes on: this only writes out what is in memory.
    fn compact(&self) -> Result<CompactReport, StoreError> {
        let bytes_before = Some(self.file_bytes()?);
        self.sync()?;
        Ok(CompactReport { bytes_before, bytes_after: Some(self.file_bytes()?) })
    }

    /// That scans and look-ups agree, and that the pairs amount to what was written with them.
    fn check(&self, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        let (snapshot, expected) = self.take_snapshot()?;
        let mut totals = Totals::default();
        check_pairs(&snapshot, found, &mut |key, value| totals.add(key, value))?;
        totals.batches = expected.batches;
        if totals.keys != expected.keys {
            let detail = format!("{} pairs were found where {} should be", totals.keys, expected.keys);
            found(Damage::anywhere(detail));
        } else if totals != expected {
            found(Damage::anywhere("the pairs do not add up to what was written: one or more were changed"));
        }
        Ok(())
    }

    fn read_only(&self) -> bool {
        self.read_only
    }
}

struct SledSnapshot {
    reader: Arc<Reader>,
}

impl Snapshot for SledSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.reader.get(key)
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        Ok(Box::new(range::Pages::new(Arc::clone(&self.reader), from, to, direction)))
    }
}
