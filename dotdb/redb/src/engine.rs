//! The open redb database, every use of which is contained.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dotdb_store::{Durability, StoreError};
use redb::{Builder, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, Table, TableError};

use crate::contain::contain;
use crate::{CACHE_BYTES, DATA, Data, FORMAT_VERSION, META, META_FORMAT, error};

enum Handle {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
}

pub(crate) struct Engine {
    /// `None` only while it is dropped.
    handle: Option<Handle>,
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

    fn checked(path: &Path, open: impl FnOnce() -> Result<Handle, StoreError>) -> Result<Engine, StoreError> {
        let engine = Engine { handle: Some(contain(open)?), broken: AtomicBool::new(false) };
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

    pub(crate) fn read_only(&self) -> bool {
        matches!(self.handle, Some(Handle::ReadOnly(_)))
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
        let transaction = match &self.handle {
            Some(Handle::Writable(database)) => database.begin_read(),
            Some(Handle::ReadOnly(database)) => database.begin_read(),
            None => return Err(StoreError::Corrupt { detail: "the store is being closed".into() }),
        };
        transaction.map_err(error::transaction)
    }

    /// Runs `change` in a transaction, which is committed unless it fails.
    pub(crate) fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Table<&[u8], &[u8]>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(Handle::Writable(database)) = &self.handle else { return Err(StoreError::ReadOnly) };
        self.contain(|| {
            let mut transaction = database.begin_write().map_err(error::transaction)?;
            let durability = match durability {
                Durability::Sync => redb::Durability::Immediate,
                Durability::None => redb::Durability::None,
            };
            transaction
                .set_durability(durability)
                .map_err(|error| StoreError::Corrupt { detail: error.to_string() })?;
            change(&mut transaction.open_table(DATA).map_err(error::table)?)?;
            transaction.commit().map_err(error::commit)
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let handle = self.handle.take();
        // Closing writes, and may meet the same damage; there is nobody left to tell.
        let _ = contain(move || {
            drop(handle);
            Ok(())
        });
    }
}
