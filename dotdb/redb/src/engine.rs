//! The open redb database, every use of which is contained.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dotdb_store::contain::contain;
use dotdb_store::{Damage, Durability, StoreError};
use redb::{
    Builder, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTableMetadata, Table,
    TableError, WriteTransaction,
};

use crate::{CACHE_BYTES, DATA, Data, FORMAT_VERSION, META, META_FORMAT, error, verify};

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
}

impl Engine {
    pub(crate) fn open(path: &Path) -> Result<Engine, StoreError> {
        Engine::checked(path, || {
            let database = Builder::new().set_cache_size(CACHE_BYTES).open(path);
            Ok(Handle::Writable(database.map_err(|error| error::database(path, error))?))
        })
    }

    pub(crate) fn open_read_only(path: &Path) -> Result<Engine, StoreError> {
        Engine::checked(path, || {
            let database = Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path);
            Ok(Handle::ReadOnly(database.map_err(|error| error::database(path, error))?))
        })
    }

    /// A store on something that behaves like a file; an empty one becomes a new store.
    #[cfg(feature = "testing")]
    pub(crate) fn on_backend(backend: impl redb::StorageBackend, cache: usize) -> Result<Engine, StoreError> {
        let path = Path::new("(backend)");
        Engine::checked(path, || {
            let new = backend.len().map_err(|error| error::storage(error.into()))? == 0;
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

    fn checked(path: &Path, open: impl FnOnce() -> Result<Handle, StoreError>) -> Result<Engine, StoreError> {
        let engine = Engine { handle: RwLock::new(contain(open)?), broken: AtomicBool::new(false) };
        let found = engine.contain(|| {
            let meta = match engine.read()?.open_table(META) {
                Ok(meta) => meta,
                Err(TableError::Storage(error)) => return Err(error::storage(error)),
                Err(other) => {
                    let detail = format!("it is a redb file of another program ({other})");
                    return Err(StoreError::NotADatabase { path: path.to_owned(), detail });
                }
            };
            Ok(meta.get(META_FORMAT).map_err(error::storage)?.map(|version| version.value()))
        })?;
        match found {
            Some(FORMAT_VERSION) => {}
            Some(found) if found > FORMAT_VERSION => {
                return Err(StoreError::NewerFormat { found, supported: FORMAT_VERSION });
            }
            _ => {
                return Err(StoreError::Corrupt { detail: format!("its format version is {found:?}") });
            }
        }
        engine.data()?;
        Ok(engine)
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

    /// Runs `change` in a transaction, which is committed unless it fails.
    pub(crate) fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Table<&[u8], &[u8]>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let handle = self.shared();
        let Handle::Writable(database) = &*handle else { return Err(StoreError::ReadOnly) };
        self.contain(|| {
            let transaction = begin(database, durability)?;
            change(&mut transaction.open_table(DATA).map_err(error::table)?)?;
            transaction.commit().map_err(error::commit)
        })
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
        let mut handle = self.exclusive();
        match &mut *handle {
            Handle::Writable(database) => {
                self.contain(|| database.compact().map(drop).map_err(error::compaction))
            }
            Handle::ReadOnly(_) => Err(StoreError::ReadOnly),
            Handle::Closed => Err(closed()),
        }
    }

    /// Verifies the checksum of every page in use, as they are in the file at `path`. Batches wait meanwhile.
    pub(crate) fn verify_pages(&self, path: &Path, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        let handle = self.shared();
        let mut waiting = None;
        if let Handle::Writable(database) = &*handle {
            waiting = Some(self.contain(|| {
                // What is only in memory comes to the file, and stays as it is while nobody else can write.
                begin(database, Durability::Sync)?.commit().map_err(error::commit)?;
                database.begin_write().map_err(error::transaction)
            })?);
        }
        let result = verify::pages(path, found);
        if let Some(transaction) = waiting {
            self.contain(|| transaction.abort().map_err(error::storage))?;
        }
        result
    }
}

/// What [`Engine::sizes`] gives.
pub(crate) struct Sizes {
    pub(crate) keys: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) page_bytes: u64,
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
        let handle = std::mem::replace(&mut *self.exclusive(), Handle::Closed);
        // Closing writes, and may meet the same damage; there is nobody left to tell.
        let _ = contain(move || {
            drop(handle);
            Ok(())
        });
    }
}
