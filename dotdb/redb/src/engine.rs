//! The open redb database, every use of which is contained.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dotdb_store::contain::contain;
use dotdb_store::{Batch, Damage, Durability, StoreError};
use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTableMetadata, Table,
    TableError, WriteTransaction,
};

use crate::blocks::{Blocks, Summed};
use crate::checksum::Checksum;
use crate::log::{BesideStore, Log, Way};
use crate::{CACHE_BYTES, DATA, Data, FORMAT_VERSION, META, META_FORMAT, META_SALT, checksum, error, verify};

enum Handle {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
    /// While it is dropped.
    Closed,
}

pub(crate) struct Engine {
    /// Held for writing only by what needs the database for itself.
    handle: RwLock<Handle>,
    /// Whether a panic was caught, after which nothing inside can be relied on.
    broken: AtomicBool,
    sums: Checksum,
    /// `None` in a store that is only read.
    blocks: Option<Arc<Blocks>>,
    /// `None` without a log. Locked before `handle`.
    log: Mutex<Option<Log>>,
}

impl Engine {
    /// `blocks` are those of a store that was just made.
    pub(crate) fn open(path: &Path, blocks: Option<Blocks>) -> Result<Engine, StoreError> {
        let log = Log::new(Box::new(BesideStore::new(path)), false);
        let blocks = match blocks {
            Some(blocks) => {
                blocks.keep_beside(path);
                blocks
            }
            None => Blocks::beside(path),
        };
        let blocks = Arc::new(blocks);
        Engine::checked(path, Some(log), Some(Arc::clone(&blocks)), || {
            let fail = |error| error::database(path, error);
            let file =
                File::options().read(true).write(true).open(path).map_err(|error| fail(error.into()))?;
            let file = Summed::new(FileBackend::new(file).map_err(fail)?, blocks);
            let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file);
            Ok(Handle::Writable(database.map_err(fail)?))
        })
    }

    pub(crate) fn open_read_only(path: &Path) -> Result<Engine, StoreError> {
        let log = Log::new(Box::new(BesideStore::new(path)), false);
        Engine::checked(path, Some(log), None, || {
            let database = Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path);
            Ok(Handle::ReadOnly(database.map_err(|error| error::database(path, error))?))
        })
    }

    /// A store on something that behaves like a file; an empty one becomes a new store.
    #[cfg(feature = "testing")]
    pub(crate) fn on_backend(
        backend: impl redb::StorageBackend,
        log: Option<Box<dyn crate::log::LogFile>>,
        cache: usize,
    ) -> Result<Engine, StoreError> {
        let path = Path::new("(backend)");
        let log = log.map(|file| Log::new(file, true));
        let blocks = Arc::new(Blocks::in_memory());
        Engine::checked(path, log, Some(Arc::clone(&blocks)), || {
            let new = backend.len().map_err(|error| error::storage(error.into()))? == 0;
            let backend = Summed::new(backend, blocks);
            let database = Builder::new()
                .set_cache_size(cache)
                .create_with_backend(backend)
                .map_err(|error| error::database(path, error))?;
            if new {
                crate::file::initialise(&database)?;
            }
            Ok(Handle::Writable(database))
        })
    }

    fn checked(
        path: &Path,
        log: Option<Log>,
        blocks: Option<Arc<Blocks>>,
        open: impl FnOnce() -> Result<Handle, StoreError>,
    ) -> Result<Engine, StoreError> {
        let mut engine = Engine {
            handle: RwLock::new(contain(open)?),
            broken: AtomicBool::new(false),
            sums: Checksum::Xxh3,
            blocks,
            log: Mutex::new(None),
        };
        let found = engine.contain(|| {
            let meta = match engine.read()?.open_table(META) {
                Ok(meta) => meta,
                Err(TableError::Storage(error)) => return Err(error::storage(error)),
                Err(other) => {
                    let detail = format!("it is a redb file of another program ({other})");
                    return Err(StoreError::NotADatabase { path: path.to_owned(), detail });
                }
            };
            let number = |name| -> Result<Option<u32>, StoreError> {
                Ok(meta.get(name).map_err(error::storage)?.map(|number| number.value()))
            };
            let salt = number(META_SALT[0])?.zip(number(META_SALT[1])?);
            let salt = salt.map(|(high, low)| u64::from(high) << 32 | u64::from(low));
            Ok((number(META_FORMAT)?, salt))
        })?;
        let (found, salt) = found;
        engine.sums = match (found, found.and_then(Checksum::of_format)) {
            (_, Some(sums)) => sums,
            (Some(found), None) if found > FORMAT_VERSION => {
                return Err(StoreError::NewerFormat { found, supported: FORMAT_VERSION });
            }
            _ => {
                return Err(StoreError::Corrupt { detail: format!("its format version is {found:?}") });
            }
        };
        engine.data()?;
        // Programs that know format 1 only do not look for a log, nor for sums.
        if let Some(blocks) = engine.blocks.as_ref().filter(|_| found == Some(1)) {
            blocks.give_up();
        }
        if let Some(mut log) = log.filter(|_| found != Some(1)) {
            if let Some(salt) = salt {
                engine.repeat(path, &mut log, salt)?;
            }
            engine.log = Mutex::new(Some(log).filter(|_| !engine.read_only()));
        }
        Ok(engine)
    }

    /// Brings what the log holds beyond redb's durable state into it.
    fn repeat(&self, path: &Path, log: &mut Log, salt: u64) -> Result<(), StoreError> {
        let records = log.records(salt)?;
        if records.is_empty() {
            return Ok(());
        }
        let handle = self.shared();
        let Handle::Writable(database) = &*handle else {
            return Err(StoreError::Unclean { path: path.to_owned() });
        };
        self.contain(|| {
            let transaction = begin(database, Durability::Sync)?;
            {
                let mut data = transaction.open_table(DATA).map_err(error::table)?;
                for write in records.writes() {
                    let (key, value) = write?;
                    put(&mut data, self.sums, key, value)?;
                }
            }
            set_salt(&transaction, None)?;
            transaction.commit().map_err(error::commit)
        })?;
        drop(handle);
        log.remove();
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> RwLockReadGuard<'_, Handle> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Handle> {
        self.handle.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read_only(&self) -> bool {
        matches!(*self.shared(), Handle::ReadOnly(_))
    }

    /// Runs a call into redb, unless an earlier one has panicked.
    pub(crate) fn contain<T>(&self, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            let detail = "an earlier access met damage inside the storage engine".into();
            return Err(StoreError::Corrupt { detail });
        }
        let mut finished = false;
        let result = contain(|| {
            let result = call();
            finished = true;
            result
        });
        if !finished {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    /// How the values that are read have to be verified.
    #[inline]
    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust { sums: self.sums, blocks: self.blocks.as_deref() }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn blocks_are_known(&self) -> bool {
        self.blocks.as_ref().is_some_and(|blocks| blocks.are_known())
    }

    /// How values are verified one by one, whatever is known of their blocks.
    pub(crate) fn no_trust(&self) -> Trust<'_> {
        Trust { sums: self.sums, blocks: None }
    }

    /// Knows the blocks that [`verify_pages`](Engine::verify_pages) gave, all values in which were verified too.
    pub(crate) fn know_blocks(&self, (before, seen): &VerifiedBlocks) {
        if let Some(blocks) = &self.blocks {
            blocks.adopt(seen, before);
        }
    }

    /// Knows no block: there is damage.
    pub(crate) fn forget_blocks(&self) {
        if let Some(blocks) = &self.blocks {
            blocks.forget();
        }
    }

    /// The pairs as of now.
    pub(crate) fn data(&self) -> Result<Data, StoreError> {
        self.contain(|| self.read()?.open_table(DATA).map_err(error::table))
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        let transaction = match &*self.shared() {
            Handle::Writable(database) => database.begin_read(),
            Handle::ReadOnly(database) => database.begin_read(),
            Handle::Closed => return Err(closed()),
        };
        transaction.map_err(error::transaction)
    }

    /// Applies a batch.
    pub(crate) fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let mut log = self.log();
        let durable = durability == Durability::Sync;
        let way = way(&mut log, Some(batch), durable)?;
        let handle = self.shared();
        let Handle::Writable(database) = &*handle else { return Err(StoreError::ReadOnly) };
        let result = self.contain(|| {
            let logged = way == Way::Logged;
            let transaction = begin(database, if logged { Durability::None } else { durability })?;
            {
                let mut data = transaction.open_table(DATA).map_err(error::table)?;
                for (key, value) in batch.iter() {
                    put(&mut data, self.sums, key, value.map(|value| &value[..]))?;
                }
            }
            match (way, &mut *log) {
                (Way::Logged, Some(log)) => {
                    // Durable before it can be seen.
                    log.append(batch, durable)?;
                    transaction.commit().map_err(error::commit).inspect_err(|_| log.fail())
                }
                (Way::Direct(salt), log) => commit_directly(transaction, log, salt, durable),
                (Way::Logged, None) => transaction.commit().map_err(error::commit),
            }
        });
        // redb takes no writes after such an error either.
        if let (Err(StoreError::Io { .. } | StoreError::Corrupt { .. }), Some(log)) = (&result, &mut *log) {
            log.fail();
        }
        result
    }

    /// Makes what was applied durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let mut log = self.log();
        match (way(&mut log, None, true)?, &mut *log) {
            (Way::Logged, Some(log)) => log.sync(),
            (Way::Direct(salt), log) => self.make_durable(log, salt),
            (Way::Logged, None) => Ok(()),
        }
    }

    /// Makes redb's own state durable; the log is empty then.
    fn make_durable(&self, log: &mut Option<Log>, salt: Option<u64>) -> Result<(), StoreError> {
        let handle = self.shared();
        let Handle::Writable(database) = &*handle else { return Err(StoreError::ReadOnly) };
        self.contain(|| commit_directly(begin(database, Durability::Sync)?, log, salt, true))
    }

    /// Ends the use of the log: redb has everything, and no salt.
    fn end_log(&self, log: &mut Option<Log>) -> Result<(), StoreError> {
        if let Some(open) = log.as_ref().filter(|log| log.is_begun()) {
            open.check()?;
            self.make_durable(log, None)?;
        }
        Ok(())
    }

    /// Number of pairs, and bytes of keys and stored values and of the pages that hold them.
    pub(crate) fn sizes(&self) -> Result<Sizes, StoreError> {
        let data = self.data()?;
        self.contain(|| {
            let stats = data.stats().map_err(error::storage)?;
            Ok(Sizes {
                keys: data.len().map_err(error::storage)?,
                stored_bytes: stats.stored_bytes(),
                page_bytes: stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes(),
            })
        })
    }

    /// Moves pages to the front of the file and cuts it off behind them.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let mut log = self.log();
        self.end_log(&mut log)?;
        let mut handle = self.exclusive();
        match &mut *handle {
            Handle::Writable(database) => {
                self.contain(|| database.compact().map(drop).map_err(error::compaction))
            }
            Handle::ReadOnly(_) => Err(StoreError::ReadOnly),
            Handle::Closed => Err(closed()),
        }
    }

    /// Verifies the checksum of every page in use, as they are in the file at `path`, and gives the sums of their blocks
    /// if they are right and the store keeps sums. Batches wait meanwhile.
    pub(crate) fn verify_pages(
        &self,
        path: &Path,
        found: &mut dyn FnMut(Damage),
    ) -> Result<Option<VerifiedBlocks>, StoreError> {
        let mut log = self.log();
        self.end_log(&mut log)?;
        let handle = self.shared();
        let mut waiting = None;
        if let Handle::Writable(database) = &*handle {
            waiting = Some(self.contain(|| {
                // What is only in memory comes to the file, and stays as it is while nobody else can write.
                begin(database, Durability::Sync)?.commit().map_err(error::commit)?;
                database.begin_write().map_err(error::transaction)
            })?);
        }
        let before = self.blocks.as_ref().map(|blocks| blocks.copied());
        let result = verify::pages(path, found).map(|seen| before.zip(seen));
        if let Some(transaction) = waiting {
            self.contain(|| transaction.abort().map_err(error::storage))?;
        }
        result
    }
}

/// The sums that a store had before its blocks were verified, and those that were found.
pub(crate) type VerifiedBlocks = (Vec<u64>, Vec<u64>);

/// What is known of the blocks that values are read from.
#[derive(Clone, Copy)]
pub(crate) struct Trust<'a> {
    sums: Checksum,
    blocks: Option<&'a Blocks>,
}

impl Trust<'_> {
    /// The value without its checksum, which is right.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not.
    #[inline]
    pub(crate) fn value<'v>(self, key: &[u8], stored: &'v [u8]) -> Result<&'v [u8], StoreError> {
        match stored.split_last_chunk::<{ checksum::BYTES }>() {
            Some((value, _)) if self.blocks.is_some_and(Blocks::are_known) => Ok(value),
            _ => self.sums.verified(key, stored),
        }
    }
}

/// What [`Engine::sizes`] gives.
pub(crate) struct Sizes {
    pub(crate) keys: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) page_bytes: u64,
}

fn way(log: &mut Option<Log>, batch: Option<&Batch>, durable: bool) -> Result<Way, StoreError> {
    let Some(log) = log else { return Ok(Way::Direct(None)) };
    log.check()?;
    Ok(log.way(batch, durable))
}

/// Commits a transaction that the log does not hold.
fn commit_directly(
    transaction: WriteTransaction,
    log: &mut Option<Log>,
    salt: Option<u64>,
    durable: bool,
) -> Result<(), StoreError> {
    let Some(log) = log.as_mut().filter(|log| log.is_begun() || salt.is_some()) else {
        return transaction.commit().map_err(error::commit);
    };
    set_salt(&transaction, salt)?;
    // Failed, it may be in the file all the same: with a salt that is not that of the next record.
    transaction.commit().map_err(error::commit).inspect_err(|_| log.fail())?;
    log.committed_directly(salt, durable);
    Ok(())
}

fn set_salt(transaction: &WriteTransaction, salt: Option<u64>) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META).map_err(error::table)?;
    for (name, shift) in META_SALT.into_iter().zip([32, 0]) {
        match salt {
            // One half after the other.
            Some(salt) => meta.insert(name, (salt >> shift) as u32).map(drop),
            None => meta.remove(name).map(drop),
        }
        .map_err(error::storage)?;
    }
    Ok(())
}

/// Puts a pair with its checksum, or removes a key.
fn put(
    data: &mut Table<&[u8], &[u8]>,
    sums: Checksum,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), StoreError> {
    let Some(value) = value else {
        return data.remove(key).map(drop).map_err(error::storage);
    };
    let mut place = data.insert_reserve(key, value.len() + checksum::BYTES).map_err(error::storage)?;
    let (kept, sum) = place.as_mut().split_at_mut(value.len());
    kept.copy_from_slice(value);
    sum.copy_from_slice(&sums.of(key, value));
    Ok(())
}

fn begin(database: &Database, durability: Durability) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write().map_err(error::transaction)?;
    let durability = match durability {
        Durability::Sync => redb::Durability::Immediate,
        Durability::None => redb::Durability::None,
    };
    transaction
        .set_durability(durability)
        .map_err(|error| StoreError::Corrupt { detail: error.to_string() })?;
    Ok(transaction)
}

fn closed() -> StoreError {
    StoreError::Busy("the store is being closed".into())
}

impl Drop for Engine {
    fn drop(&mut self) {
        let mut log = std::mem::take(&mut *self.log());
        let ended = self.end_log(&mut log).is_ok();
        let handle = std::mem::replace(&mut *self.exclusive(), Handle::Closed);
        // Closing writes, and may meet the same damage; there is nobody left to tell.
        let _ = contain(move || {
            drop(handle);
            Ok(())
        });
        if let Some(mut log) = log.filter(|log| ended && log.is_used()) {
            log.remove();
        }
    }
}
