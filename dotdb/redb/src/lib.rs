//! The embedded default store on disk, over redb: one file, ACID, opened at once.
//!
//! On disk: table `dotdb.meta` holds `format`, the [`FORMAT_VERSION`]; table `dotdb.data` holds the
//! pairs. Each value ends in the CRC-32 (IEEE, little-endian) of key and value, checked at every
//! read: redb verifies its own checksums only when it repairs a file. So a damaged value is never
//! given out. A damaged key or inner page can still hide a pair without an error; [`Store::check`], which
//! verifies redb's page checksums as well, finds it.
//!
//! What is promised: [`Durability::Sync`] is redb's immediate durability, one flush to the disk
//! before `apply` returns. A new file is made beside its name, synced and only then given its name,
//! so that a power cut leaves either no store or a whole one.
//!
//! redb asserts inside on some damaged files. Those panics are caught at this boundary, and only
//! there: the call answers [`StoreError::Corrupt`], and so does every later call of that store
//! ([`dotdb_store::contain`]).

mod engine;
mod error;
mod file;
mod verify;

use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use dotdb_store::{
    Batch, CompactReport, Counted, Damage, Direction, Durability, PairIter, Snapshot, Store, StoreError,
    StoreStats, check_pairs, is_empty_range,
};
use redb::{ReadOnlyTable, ReadableTableMetadata, TableDefinition};

use crate::engine::Engine;

/// Version of the tables and values described above. A file with a greater one is refused.
pub const FORMAT_VERSION: u32 = 1;
/// Memory for cached pages, bytes.
pub const CACHE_BYTES: usize = 256 << 20;

const CHECKSUM_BYTES: usize = 4;
const DATA: TableDefinition<&[u8], &[u8]> = TableDefinition::new("dotdb.data");
const META: TableDefinition<&str, u32> = TableDefinition::new("dotdb.meta");
const META_FORMAT: &str = "format";

type Data = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A store in one file. While it is open for writing no other process can open it; any number of
/// processes can have it open for reading.
pub struct RedbStore {
    engine: Arc<Engine>,
    /// `None` in tests that give it something else than a file.
    path: Option<PathBuf>,
}

impl RedbStore {
    /// Opens the store at `path`, or makes a new one there if nothing is there.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<RedbStore, StoreError> {
        match Self::open(&path) {
            Err(StoreError::NotFound { .. }) => {
                file::create(path.as_ref())?;
                Self::open(path)
            }
            result => result,
        }
    }

    /// Opens the store at `path`. A store that was not closed in good order is repaired.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotADatabase`], [`StoreError::Corrupt`],
    /// [`StoreError::NewerFormat`], [`StoreError::Locked`], [`StoreError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<RedbStore, StoreError> {
        let path = path.as_ref().to_owned();
        file::check_magic(&path)?;
        let engine = Engine::open(&path)?;
        Ok(RedbStore { engine: Arc::new(engine), path: Some(path) })
    }

    /// Opens the store at `path` for reading only.
    ///
    /// # Errors
    /// As [`open`](RedbStore::open), and [`StoreError::Unclean`] if it needs repair first.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<RedbStore, StoreError> {
        let path = path.as_ref().to_owned();
        file::check_magic(&path)?;
        let engine = Engine::open_read_only(&path)?;
        Ok(RedbStore { engine: Arc::new(engine), path: Some(path) })
    }

    /// Opens a store on something that behaves like a file, which becomes a new store if it is empty.
    /// `cache_bytes` is the memory for cached pages.
    ///
    /// # Errors
    /// As [`open`](RedbStore::open).
    #[cfg(feature = "testing")]
    pub fn on_backend(
        backend: impl redb::StorageBackend,
        cache_bytes: usize,
    ) -> Result<RedbStore, StoreError> {
        Ok(RedbStore { engine: Arc::new(Engine::on_backend(backend, cache_bytes)?), path: None })
    }

    fn file_bytes(&self) -> Result<Option<u64>, StoreError> {
        let Some(path) = &self.path else { return Ok(None) };
        let file =
            fs::metadata(path).map_err(|source| StoreError::from_io("reading the size of", path, source))?;
        Ok(Some(file.len()))
    }
}

impl Store for RedbStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let data = self.engine.data()?;
        Ok(Arc::new(RedbSnapshot { data, engine: Arc::clone(&self.engine) }))
    }

    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        batch.check_lengths()?;
        self.engine.write(durability, |data| {
            for (key, value) in batch.iter() {
                let Some(value) = value else {
                    data.remove(&key[..]).map_err(error::storage)?;
                    continue;
                };
                let mut place =
                    data.insert_reserve(&key[..], value.len() + CHECKSUM_BYTES).map_err(error::storage)?;
                let (kept, sum) = place.as_mut().split_at_mut(value.len());
                kept.copy_from_slice(value);
                sum.copy_from_slice(&checksum(key, value));
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.engine.write(Durability::Sync, |_| Ok(()))
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let sizes = self.engine.sizes()?;
        let checksums = sizes.keys.saturating_mul(CHECKSUM_BYTES as u64);
        let live_bytes = sizes.stored_bytes.saturating_sub(checksums);
        let file_bytes = self.file_bytes()?;
        Ok(StoreStats {
            backend: "redb",
            keys: sizes.keys,
            live_bytes,
            file_bytes,
            dead_bytes: file_bytes.map(|bytes| bytes.saturating_sub(sizes.page_bytes)),
        })
    }

    /// redb moves pages to the front of the file and cuts it off; batches and new snapshots wait.
    fn compact(&self) -> Result<CompactReport, StoreError> {
        let bytes_before = self.file_bytes()?;
        self.engine.compact()?;
        Ok(CompactReport { bytes_before, bytes_after: self.file_bytes()? })
    }

    /// The checksum of every page in use, of every pair, and that scans, look-ups and the number of pairs agree.
    fn check(&self, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        if let Some(path) = &self.path {
            self.engine.verify_pages(path, found)?;
        }
        let data = self.engine.data()?;
        let counted = self.engine.contain(|| data.len().map_err(error::storage));
        let snapshot = RedbSnapshot { data, engine: Arc::clone(&self.engine) };
        let keys = check_pairs(&snapshot, found, &mut |_, _| {})?;
        match counted {
            Ok(counted) if counted == keys => {}
            Ok(counted) => {
                found(Damage::anywhere(format!("{keys} pairs were found where {counted} should be")))
            }
            Err(StoreError::Corrupt { detail }) => found(Damage::anywhere(detail)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_only(&self) -> bool {
        self.engine.read_only()
    }
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

/// Appends key and value to `buffer` if the value's checksum is right: one after the other in memory they are
/// checked in one pass.
fn append_verified(buffer: &mut Vec<u8>, key: &[u8], stored: &[u8]) -> Result<(), StoreError> {
    let start = buffer.len();
    buffer.extend_from_slice(key);
    if let Some((value, sum)) = stored.split_last_chunk::<CHECKSUM_BYTES>() {
        buffer.extend_from_slice(value);
        if *sum == crc32fast::hash(&buffer[start..]).to_le_bytes() {
            return Ok(());
        }
    }
    buffer.truncate(start);
    Err(StoreError::Corrupt {
        detail: format!("the value of key {} does not match its checksum", shown(key)),
    })
}

/// Takes the checksum off a stored value.
fn verified(key: &[u8], stored: &[u8]) -> Result<Bytes, StoreError> {
    let value_bytes = stored.len().saturating_sub(CHECKSUM_BYTES);
    // Exactly as long as it gets: so it is given out without being moved.
    let mut pair = Vec::with_capacity(key.len() + value_bytes);
    append_verified(&mut pair, key, stored)?;
    let mut value = Bytes::from(pair);
    value.advance(key.len());
    Ok(value)
}

fn shown(key: &[u8]) -> String {
    key.iter().take(80).map(|byte| format!("{byte:02x}")).collect()
}

struct RedbSnapshot {
    data: Data,
    /// Keeps the file open: closing it would end the snapshot. Dropped after `data`.
    engine: Arc<Engine>,
}

impl Snapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.engine.contain(|| match self.data.get(key).map_err(error::storage)? {
            Some(stored) => verified(key, stored.value()).map(Some),
            None => Ok(None),
        })
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
        let rows = self.engine.contain(|| self.data.range::<&[u8]>((from, to)).map_err(error::storage))?;
        Ok(Box::new(Rows {
            rows: Some(rows),
            last: None,
            page: Vec::new().into_iter(),
            page_rows: 1,
            page_bytes: 0,
            failure: None,
            direction,
            engine: Arc::clone(&self.engine),
        }))
    }

    /// Values and their checksums are not read.
    fn count(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, cap: u64) -> Result<Counted, StoreError> {
        if is_empty_range(from, to) {
            return Ok(Counted { pairs: 0, last: None });
        }
        self.engine.contain(|| {
            let mut rows = self.data.range::<&[u8]>((from, to)).map_err(error::storage)?;
            for pairs in 1..cap {
                match rows.next() {
                    Some(row) => drop(row.map_err(error::storage)?),
                    None => return Ok(Counted { pairs: pairs - 1, last: None }),
                }
            }
            let row = if cap > 0 { rows.next().transpose().map_err(error::storage)? } else { None };
            let pairs = if row.is_some() { cap } else { cap.saturating_sub(1) };
            let last = row.map(|(key, _)| Bytes::copy_from_slice(key.value()));
            // Whoever counts on goes on behind it: a damaged inner page must not lead back.
            match (from, &last) {
                (Bound::Included(from), Some(key)) if key < from => Err(out_of_order(key)),
                (Bound::Excluded(from), Some(key)) if key <= from => Err(out_of_order(key)),
                _ => Ok(Counted { pairs, last }),
            }
        })
    }
}

fn out_of_order(key: &[u8]) -> StoreError {
    StoreError::Corrupt { detail: format!("key {} is out of order", shown(key)) }
}

/// Rows of the longest page that is read at a time; the first has one, and each twice as many as the one before.
const MAX_PAGE_ROWS: usize = 64;
/// Bytes after which a page ends. Whoever keeps one of its rows keeps all of them.
const MAX_PAGE_BYTES: usize = 8 << 10;

struct Rows {
    /// `None` at the end and after an error.
    rows: Option<redb::Range<'static, &'static [u8], &'static [u8]>>,
    /// The last key of the page: a damaged inner page may lead to rows that were given before, again and again.
    last: Option<Bytes>,
    page: std::vec::IntoIter<(Bytes, Bytes)>,
    /// Most rows of the next page.
    page_rows: usize,
    /// Bytes of the last page.
    page_bytes: usize,
    /// What comes after the page.
    failure: Option<StoreError>,
    direction: Direction,
    engine: Arc<Engine>,
}

impl Rows {
    /// Reads the next page: its rows share one buffer, and one crossing into redb.
    #[inline(never)]
    fn fetch(&mut self) {
        let Some(rows) = &mut self.rows else { return };
        let mut buffer = Vec::with_capacity((self.page_bytes * 2).min(MAX_PAGE_BYTES + MAX_PAGE_BYTES / 8));
        let mut places = Vec::with_capacity(self.page_rows);
        let (last, direction, page_rows) = (self.last.as_deref(), self.direction, self.page_rows);
        let result = self.engine.contain(|| {
            while places.len() < page_rows && buffer.len() < MAX_PAGE_BYTES {
                let row = match direction {
                    Direction::Forward => rows.next(),
                    Direction::Backward => rows.next_back(),
                };
                let Some(row) = row else { return Ok(false) };
                let (key, stored) = row.map_err(error::storage)?;
                let key = key.value();
                let last = match places.last() {
                    Some(&(start, middle, _)) => Some(&buffer[start..middle]),
                    None => last,
                };
                let in_order = match (last, direction) {
                    (None, _) => true,
                    (Some(last), Direction::Forward) => last < key,
                    (Some(last), Direction::Backward) => last > key,
                };
                if !in_order {
                    return Err(out_of_order(key));
                }
                let start = buffer.len();
                append_verified(&mut buffer, key, stored.value())?;
                places.push((start, start + key.len(), buffer.len()));
            }
            Ok(true)
        });
        match result {
            Ok(true) => {}
            Ok(false) => self.rows = None,
            Err(error) => {
                self.rows = None;
                self.failure = Some(error);
            }
        }
        self.page_bytes = buffer.len();
        let buffer = Bytes::from(buffer);
        let row = |(start, middle, end): (usize, usize, usize)| {
            (buffer.slice(start..middle), buffer.slice(middle..end))
        };
        let page: Vec<(Bytes, Bytes)> = places.into_iter().map(row).collect();
        self.last = page.last().map(|(key, _)| key.clone());
        self.page = page.into_iter();
        self.page_rows = (self.page_rows * 2).min(MAX_PAGE_ROWS);
    }
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), StoreError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.page.next() {
            return Some(Ok(row));
        }
        self.fetch();
        match self.page.next() {
            Some(row) => Some(Ok(row)),
            None => self.failure.take().map(Err),
        }
    }
}
