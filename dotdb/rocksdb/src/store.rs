//! The store itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotdb_store::{
    Batch, CompactReport, Damage, Direction, Durability, Snapshot, Store, StoreError, StoreStats,
    check_pairs, directory,
};
use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, WriteBatch, WriteOptions, properties};

use crate::error;
use crate::options::options;
use crate::snapshot::RocksdbSnapshot;

/// Version of the layout described in the crate's documentation. A store with a greater one is refused.
pub const FORMAT_VERSION: u32 = 1;
/// Name of the backend.
pub const BACKEND: &str = "rocksdb";
/// Memory for cached blocks, bytes.
pub const CACHE_BYTES: usize = 256 << 20;

/// Memory for cached blocks of a check, bytes.
const CHECK_CACHE_BYTES: usize = 8 << 20;
/// How often opening for reading begins again when a file was removed by the writer meanwhile.
const READ_ATTEMPTS: usize = 10;

/// A store in a directory. One process can have it open for writing, any number beside it for reading.
pub struct RocksdbStore {
    database: Arc<DB>,
    path: PathBuf,
    read_only: bool,
    /// RocksDB's number of writes at that time.
    opened_at: u64,
}

impl RocksdbStore {
    /// Opens the store at `path`, or makes a new one there if nothing or an empty directory is there.
    ///
    /// # Errors
    /// As [`open`](RocksdbStore::open).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<RocksdbStore, StoreError> {
        let path = path.as_ref();
        if directory::is_absent(path)? {
            directory::create(path, BACKEND, FORMAT_VERSION, |new| {
                let mut options = options(CHECK_CACHE_BYTES);
                options.create_if_missing(true);
                options.set_error_if_exists(true);
                DB::open(&options, new).map(drop).map_err(|error| error::opening(new, error))
            })?;
        }
        RocksdbStore::open(path)
    }

    /// Opens the store at `path`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotADatabase`], [`StoreError::Corrupt`],
    /// [`StoreError::NewerFormat`], [`StoreError::Locked`], [`StoreError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<RocksdbStore, StoreError> {
        let path = path.as_ref().to_owned();
        directory::expect_marker(&path, BACKEND, FORMAT_VERSION)?;
        let database =
            DB::open(&options(CACHE_BYTES), &path).map_err(|error| error::opening(&path, error))?;
        RocksdbStore::checked(database, path, false)
    }

    /// Opens the store at `path` as it is now, for reading only; another process may have it open for writing.
    ///
    /// # Errors
    /// As [`open`](RocksdbStore::open), except [`StoreError::Locked`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<RocksdbStore, StoreError> {
        let path = path.as_ref().to_owned();
        directory::expect_marker(&path, BACKEND, FORMAT_VERSION)?;
        let database = open_for_reading(&path, CACHE_BYTES)?;
        RocksdbStore::checked(database, path, true)
    }

    fn checked(database: DB, path: PathBuf, read_only: bool) -> Result<RocksdbStore, StoreError> {
        let opened_at = database.latest_sequence_number();
        directory::check_progress(&path, opened_at)?;
        Ok(RocksdbStore { database: Arc::new(database), path, read_only, opened_at })
    }

    fn file_bytes(&self) -> Result<u64, StoreError> {
        directory::total_bytes(&self.path)
            .map_err(|source| StoreError::from_io("reading the size of", &self.path, source))
    }

    fn property(&self, name: &properties::PropName) -> Result<u64, StoreError> {
        Ok(self.database.property_int_value(name).map_err(error::map)?.unwrap_or_default())
    }
}

impl Drop for RocksdbStore {
    /// Makes everything durable and records how far it has come. If that fails, the record stays as it was, and is
    /// true.
    fn drop(&mut self) {
        let reached = self.database.latest_sequence_number();
        if !self.read_only && reached != self.opened_at && self.database.flush_wal(true).is_ok() {
            let _ = directory::write_progress(&self.path, reached);
        }
    }
}

/// Every table is opened at once and stays so: from then on the writer may remove it.
fn open_for_reading(path: &Path, cache_bytes: usize) -> Result<DB, StoreError> {
    let mut attempt = 1;
    loop {
        match DB::open_for_read_only(&options(cache_bytes), path, false) {
            Err(error) if error::is_missing(&error) && attempt < READ_ATTEMPTS => attempt += 1,
            result => return result.map_err(|error| error::opening(path, error)),
        }
    }
}

impl Store for RocksdbStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(RocksdbSnapshot::new(Arc::clone(&self.database), true)))
    }

    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        batch.check_lengths()?;
        let mut writes = WriteBatch::default();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Sync);
        // A batch is in key order: each key is looked for from where the one before went.
        options.set_memtable_insert_hint_per_batch(true);
        self.database.write_opt(writes, &options).map_err(error::map)
    }

    fn sync(&self) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        self.database.flush_wal(true).map_err(error::map)
    }

    /// Counts the keys one by one: RocksDB only estimates.
    fn stats(&self) -> Result<StoreStats, StoreError> {
        let snapshot = RocksdbSnapshot::new(Arc::clone(&self.database), false);
        let (mut keys, mut live_bytes) = (0, 0);
        use std::ops::Bound::Unbounded;
        for row in snapshot.range(Unbounded, Unbounded, Direction::Forward)? {
            let (key, value) = row?;
            keys += 1;
            live_bytes += (key.len() + value.len()) as u64;
        }
        let tables = self.property(properties::TOTAL_SST_FILES_SIZE)?;
        let live = self.property(properties::ESTIMATE_LIVE_DATA_SIZE)?;
        Ok(StoreStats {
            backend: BACKEND,
            keys,
            live_bytes,
            file_bytes: Some(self.file_bytes()?),
            dead_bytes: Some(tables.saturating_sub(live)),
        })
    }

    /// Merges all tables into the last level. Batches and snapshots go on meanwhile; what a snapshot still sees
    /// stays.
    fn compact(&self) -> Result<CompactReport, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        let bytes_before = Some(self.file_bytes()?);
        self.database.flush().map_err(error::map)?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.database.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(CompactReport { bytes_before, bytes_after: Some(self.file_bytes()?) })
    }

    /// The checksum of every block and every record of the log, read anew from disk, and that scans and look-ups
    /// agree. Batches go on meanwhile.
    fn check(&self, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        if !self.read_only {
            // What is only in the log comes to the tables.
            match self.database.flush().map_err(error::map) {
                Err(StoreError::Corrupt { detail }) => found(Damage::anywhere(detail)),
                result => result?,
            }
        }
        match open_for_reading(&self.path, CHECK_CACHE_BYTES) {
            Ok(fresh) => {
                let snapshot = RocksdbSnapshot::new(Arc::new(fresh), false);
                check_pairs(&snapshot, found, &mut |_, _| {})?;
            }
            Err(StoreError::Corrupt { detail }) => found(Damage::anywhere(detail)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_only(&self) -> bool {
        self.read_only
    }
}
