//! A database: DotDB over one store.

use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use dotdb_store::{Batch, Direction, Durability, Store, StoreError, StoreStats};

use crate::error::DbError;
use crate::keys::{META_SCHEMA, SCHEMA_VERSION, corrupt, decode_u32};
use crate::tx::Tx;

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads and writes.
    ReadWrite,
    /// Reads a snapshot.
    ReadOnly,
}

/// DotDB over one store. Clones share it.
///
/// Isolation is serializable: one read-write transaction at a time, and read-only ones on
/// snapshots, which wait for nobody. (Optimistic validation, which lets writers overlap, will
/// replace the lock behind the same interface.)
#[derive(Clone)]
pub struct Database {
    store: Arc<dyn Store>,
    writer: Arc<WriterLock>,
}

impl Database {
    /// Opens the database in a store, and initialises it if the store is empty.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`] for a later schema, [`DbError::Foreign`] for a store with other
    /// data, [`DbError::Uninitialised`] for an empty one that is open for reading only.
    pub fn open(store: Arc<dyn Store>) -> Result<Database, DbError> {
        let snapshot = store.snapshot()?;
        match snapshot.get(META_SCHEMA)? {
            Some(value) => {
                let found = decode_u32(META_SCHEMA, &value)?;
                match found {
                    SCHEMA_VERSION => {}
                    0 => return Err(corrupt(META_SCHEMA, "is not a schema version")),
                    _ => return Err(StoreError::NewerFormat { found, supported: SCHEMA_VERSION }.into()),
                }
            }
            None => {
                let mut all = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
                match all.next() {
                    Some(Ok(_)) => return Err(DbError::Foreign),
                    Some(Err(error)) => return Err(error.into()),
                    None if store.read_only() => return Err(DbError::Uninitialised),
                    None => {
                        let mut batch = Batch::new();
                        batch.put(META_SCHEMA, Bytes::copy_from_slice(&SCHEMA_VERSION.to_be_bytes()));
                        store.apply(&batch, Durability::Sync)?;
                    }
                }
            }
        }
        Ok(Database { store, writer: Arc::default() })
    }

    /// Begins a transaction. A read-write one waits until the one before it has ended: a thread that
    /// begins a second one while it holds the first waits forever.
    pub fn begin(&self, mode: Mode) -> Result<Tx, DbError> {
        let writer = match mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite if self.store.read_only() => return Err(StoreError::ReadOnly.into()),
            Mode::ReadWrite => Some(WriterLock::acquire(&self.writer)),
        };
        Ok(Tx::new(Arc::clone(&self.store), self.store.snapshot()?, writer))
    }

    /// Makes transactions committed with [`Durability::None`] durable.
    pub fn sync(&self) -> Result<(), DbError> {
        Ok(self.store.sync()?)
    }

    /// Size of the store.
    pub fn stats(&self) -> Result<StoreStats, DbError> {
        Ok(self.store.stats()?)
    }
}

/// Held by the read-write transaction that is open.
#[derive(Default)]
struct WriterLock {
    state: Mutex<WriterState>,
    freed: Condvar,
}

#[derive(Default)]
struct WriterState {
    held: bool,
    /// Threads that wait: with none, freeing the lock makes no system call.
    waiting: usize,
}

impl WriterLock {
    fn acquire(lock: &Arc<WriterLock>) -> WriterGuard {
        let mut state = lock.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        state = lock.freed.wait_while(state, |state| state.held).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.held = true;
        WriterGuard(Arc::clone(lock))
    }
}

/// The right to write: an owned guard, so that a transaction may move between threads.
pub(crate) struct WriterGuard(Arc<WriterLock>);

impl Drop for WriterGuard {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held = false;
        let waited_for = state.waiting > 0;
        drop(state);
        if waited_for {
            self.0.freed.notify_one();
        }
    }
}
