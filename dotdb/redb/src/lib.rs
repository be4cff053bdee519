//! The embedded default store on disk, over redb: one file, ACID, opened at once.
//!
//! On disk: table `dotdb.meta` holds `format`, the [`FORMAT_VERSION`]; table `dotdb.data` holds the
//! pairs. Each value ends in a checksum of key and value (`checksum`), checked at every
//! read: redb verifies its own checksums only when it repairs a file. So a damaged value is never
//! given out. A damaged key or inner page can still hide a pair without an error; [`Store::check`], which
//! verifies redb's page checksums as well, finds it.
//!
//! What is promised: [`Durability::Sync`] is one flush to the disk before `apply` returns, of a record of the log
//! (`log`) or of redb's pages. While a store is open the log is in the file `PATH.redo` beside it, which belongs to
//! it until it is closed in good order. A new file is made beside its name, synced and only then given its name,
//! so that a power cut leaves either no store or a whole one.
//!
//! redb asserts inside on some damaged files. Those panics are caught at this boundary, and only
//! there: the call answers [`StoreError::Corrupt`], and so does every later call of that store
//! ([`dotdb_store::contain`]).

mod checksum;
mod engine;
mod error;
mod file;
mod log;
mod verify;

use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::contain::call_out;
use dotdb_store::{
    Batch, CompactReport, Counted, Damage, Direction, Durability, PairIter, Snapshot, Store, StoreError,
    StoreStats, Visitor, check_pairs, is_empty_range,
};
use redb::{AccessGuard, ReadOnlyTable, ReadableTableMetadata, TableDefinition};

use crate::checksum::shown;
use crate::engine::Engine;
#[cfg(feature = "testing")]
pub use crate::log::LogFile;

/// Version of the tables and values described above. A file with a greater one is refused.
/// Format 1, which had another checksum, is read and written as it is.
pub const FORMAT_VERSION: u32 = 2;
/// Memory for cached pages, bytes.
pub const CACHE_BYTES: usize = 256 << 20;

const DATA: TableDefinition<&[u8], &[u8]> = TableDefinition::new("dotdb.data");
const META: TableDefinition<&str, u32> = TableDefinition::new("dotdb.meta");
const META_FORMAT: &str = "format";
/// The halves of the salt, see `log`; absent while no log is in use.
const META_SALT: [&str; 2] = ["log.high", "log.low"];

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
        Ok(RedbStore { engine: Arc::new(Engine::on_backend(backend, None, cache_bytes)?), path: None })
    }

    /// As [`on_backend`](RedbStore::on_backend), with a log, which is in use from the first durable batch on.
    ///
    /// # Errors
    /// As [`open`](RedbStore::open).
    #[cfg(feature = "testing")]
    pub fn on_backend_with_log(
        backend: impl redb::StorageBackend,
        log: Box<dyn LogFile>,
        cache_bytes: usize,
    ) -> Result<RedbStore, StoreError> {
        Ok(RedbStore { engine: Arc::new(Engine::on_backend(backend, Some(log), cache_bytes)?), path: None })
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
        self.engine.apply(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let sizes = self.engine.sizes()?;
        let checksums = sizes.keys.saturating_mul(checksum::BYTES as u64);
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

struct RedbSnapshot {
    data: Data,
    /// Keeps the file open: closing it would end the snapshot. Dropped after `data`.
    engine: Arc<Engine>,
}

impl Snapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.engine.contain(|| match self.data.get(key).map_err(error::storage)? {
            Some(stored) => self.engine.sums().verified_copy(key, stored.value()).map(Some),
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

    fn visit(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
        see: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let sums = self.engine.sums();
        self.engine.contain(|| {
            let mut rows = self.data.range::<&[u8]>((from, to)).map_err(error::storage)?;
            let mut last: Option<AccessGuard<&[u8]>> = None;
            loop {
                let row = match direction {
                    Direction::Forward => rows.next(),
                    Direction::Backward => rows.next_back(),
                };
                let Some(row) = row else { return Ok(()) };
                let (guard, stored) = row.map_err(error::storage)?;
                let key = guard.value();
                if let Some(last) = &last
                    && !follows_in_page(last.value(), key, direction)
                {
                    check_order(Some(last.value()), key, direction)?;
                }
                let value = sums.verified(key, stored.value())?;
                if call_out(|| see(key, value)).is_break() {
                    return Ok(());
                }
                last = Some(guard);
            }
        })
    }
}

fn out_of_order(key: &[u8]) -> StoreError {
    StoreError::Corrupt { detail: format!("key {} is out of order", shown(key)) }
}

/// Whether a key lies in memory right behind the last one, which is still there, or backwards right before it: then
/// both are of one page, whose keys lie in order. They were written so if their checksums are right.
#[inline]
fn follows_in_page(last: &[u8], key: &[u8], direction: Direction) -> bool {
    match direction {
        Direction::Forward => last.as_ptr_range().end == key.as_ptr() && !key.is_empty(),
        Direction::Backward => key.as_ptr_range().end == last.as_ptr() && !last.is_empty(),
    }
}

/// Whether a key comes after the last one: a damaged inner page may lead to rows that were given before, again and
/// again.
#[inline]
fn check_order(last: Option<&[u8]>, key: &[u8], direction: Direction) -> Result<(), StoreError> {
    let in_order = match (last, direction) {
        (None, _) => true,
        (Some(last), Direction::Forward) => last < key,
        (Some(last), Direction::Backward) => last > key,
    };
    match in_order {
        true => Ok(()),
        false => Err(out_of_order(key)),
    }
}

/// Rows of the longest page that is read at a time; the first has one, and each twice as many as the one before.
const MAX_PAGE_ROWS: usize = 64;
/// Bytes after which a page ends. Whoever keeps one of its rows keeps all of them.
const MAX_PAGE_BYTES: usize = 8 << 10;

struct Rows {
    /// `None` at the end and after an error.
    rows: Option<redb::Range<'static, &'static [u8], &'static [u8]>>,
    /// The last key of the page.
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
        let sums = self.engine.sums();
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
                check_order(last, key, direction)?;
                let value = sums.verified(key, stored.value())?;
                let start = buffer.len();
                buffer.extend_from_slice(key);
                buffer.extend_from_slice(value);
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
