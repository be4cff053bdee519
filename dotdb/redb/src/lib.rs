//! The embedded default store on disk, over redb: one file, ACID, opened at once.
//!
//! On disk: table `dotdb.meta` holds `format`, the [`FORMAT_VERSION`]; table `dotdb.data` holds the
//! pairs. Each value ends in a checksum of key and value (`checksum`), checked at every
//! read unless the block that it lies in is known to be as it was written (`blocks`): redb verifies its own
//! checksums only when it repairs a file. So a damaged value is never given out. A damaged key or inner page can still hide a pair without an error; [`Store::check`], which
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

mod blocks;
mod checksum;
mod engine;
mod error;
mod file;
mod log;
mod verify;
mod walk;

use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::contain::call_out;
use dotdb_store::{
    Batch, CompactReport, Counted, Damage, Direction, Durability, PageReader, PairIter, Snapshot, Store,
    StoreError, StoreStats, Visitor, check_pairs, is_empty_range, page,
};
use redb::{ReadOnlyTable, ReadableTableMetadata, TableDefinition};

use crate::blocks::Blocks;
pub use crate::blocks::sums_path;
use crate::engine::{Engine, Trust, VerifiedBlocks};
#[cfg(feature = "testing")]
pub use crate::log::LogFile;
use crate::walk::{Reader, Walk};

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
                let blocks = file::create(path.as_ref())?;
                Self::opened(path.as_ref(), Some(blocks))
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
        Self::opened(path.as_ref(), None)
    }

    fn opened(path: &Path, blocks: Option<Blocks>) -> Result<RedbStore, StoreError> {
        file::check_magic(path)?;
        let engine = Engine::open(path, blocks)?;
        Ok(RedbStore { engine: Arc::new(engine), path: Some(path.to_owned()) })
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

    /// Whether all blocks that were read so far are known to be as they were written, so that no value was verified
    /// by itself.
    #[cfg(feature = "testing")]
    pub fn blocks_are_known(&self) -> bool {
        self.engine.blocks_are_known()
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
        Ok(Arc::new(RedbSnapshot::new(data, &self.engine, true)))
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
        let mut is_sound = true;
        let result = self.check_all(&mut |damage| {
            is_sound = false;
            found(damage);
        });
        match result {
            Ok(verified) if is_sound => {
                if let Some(verified) = verified {
                    self.engine.know_blocks(&verified);
                }
                Ok(())
            }
            result => {
                self.engine.forget_blocks();
                result.map(drop)
            }
        }
    }

    fn read_only(&self) -> bool {
        self.engine.read_only()
    }
}

impl RedbStore {
    fn check_all(&self, found: &mut dyn FnMut(Damage)) -> Result<Option<VerifiedBlocks>, StoreError> {
        let verified = match &self.path {
            Some(path) => self.engine.verify_pages(path, found)?,
            None => None,
        };
        let data = self.engine.data()?;
        let counted = self.engine.contain(|| data.len().map_err(error::storage));
        let snapshot = RedbSnapshot::new(data, &self.engine, false);
        let keys = check_pairs(&snapshot, found, &mut |_, _| {})?;
        match counted {
            Ok(counted) if counted == keys => {}
            Ok(counted) => {
                found(Damage::anywhere(format!("{keys} pairs were found where {counted} should be")))
            }
            Err(StoreError::Corrupt { detail }) => found(Damage::anywhere(detail)),
            Err(error) => return Err(error),
        }
        Ok(verified)
    }
}

/// A snapshot, which everything that reads it keeps.
struct Held {
    data: Data,
    /// Keeps the file open: closing it would end the snapshot. Dropped after `data`.
    engine: Arc<Engine>,
    /// Whether values of blocks that are known are not verified.
    trusts: bool,
}

impl Held {
    #[inline]
    fn trust(&self) -> Trust<'_> {
        if self.trusts { self.engine.trust() } else { self.engine.no_trust() }
    }
}

struct RedbSnapshot {
    held: Arc<Held>,
}

impl RedbSnapshot {
    fn new(data: Data, engine: &Arc<Engine>, trusts: bool) -> RedbSnapshot {
        RedbSnapshot { held: Arc::new(Held { data, engine: Arc::clone(engine), trusts }) }
    }
}

impl Snapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Held { data, engine, .. } = &*self.held;
        engine.contain(|| match data.get(key).map_err(error::storage)? {
            Some(stored) => {
                self.held.trust().value(key, stored.value()).map(|value| Some(Bytes::copy_from_slice(value)))
            }
            None => Ok(None),
        })
    }

    fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let Held { data, engine, .. } = &*self.held;
        engine.contain(|| match data.get(key).map_err(error::storage)? {
            Some(stored) => {
                value.extend_from_slice(self.held.trust().value(key, stored.value())?);
                Ok(true)
            }
            None => Ok(false),
        })
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        Ok(page::iterate(Reader::new(&self.held, from, to, direction)?))
    }

    fn pages(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PageReader, StoreError> {
        Ok(Box::new(Reader::new(&self.held, from, to, direction)?))
    }

    /// Values and their checksums are not read.
    fn count(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, cap: u64) -> Result<Counted, StoreError> {
        if is_empty_range(from, to) {
            return Ok(Counted { pairs: 0, last: None });
        }
        let Held { data, engine, .. } = &*self.held;
        engine.contain(|| walk::count(data, from, to, cap))
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
        let Held { data, engine, .. } = &*self.held;
        let trust = self.held.trust();
        engine.contain(|| {
            let mut walk = Walk::new(data, from, to, direction)?;
            let mut look = |key: &[u8], stored: &[u8]| {
                let value = trust.value(key, stored)?;
                Ok(call_out(|| see(key, value)))
            };
            while let Some(answer) = walk.next(&mut look)? {
                if answer.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}
