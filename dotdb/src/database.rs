//! A database: DotDB over one store.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dotdb_store::{Batch, Direction, Snapshot, Store, StoreError, StoreStats};

use crate::error::DbError;
use crate::journal;
use crate::keys::{META_SCHEMA, SCHEMA_VERSION, corrupt, decode_u32};
use crate::pipeline::Pipeline;
use crate::settings::{History, INDEXED, OLDEST, Settings, read_number};
use crate::settle;
use crate::tree;
use crate::tx::Tx;

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads and writes.
    ReadWrite,
    /// Reads a snapshot.
    ReadOnly,
}

/// DotDB over one store. Clones share it, and so do threads.
///
/// Isolation is serializable: a transaction reads a snapshot and, if it has written, commits only if nothing that
/// it has read (keys, absences, ranges) was changed meanwhile. No transaction waits for another but for the flush
/// that they share.
#[derive(Clone)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
}

/// What a database's transactions share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Settings,
    pub(crate) pipeline: Arc<Pipeline>,
    /// Held while history and tree are brought up to date.
    pub(crate) settling: Mutex<()>,
    /// Keys changed since then, roughly.
    pub(crate) unsettled: AtomicU64,
    /// The greatest number given to a machine.
    pub(crate) last_machine: AtomicU64,
}

impl Database {
    /// Opens the database in a store, and initialises it with the default [`Settings`] if the store is empty.
    ///
    /// A store has one database at a time: clone it for other threads. Two that are opened on one store do not know
    /// of each other's transactions.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`] for a later schema, [`DbError::OlderSchema`] for one that must be migrated first,
    /// [`DbError::Foreign`] for a store with other data, [`DbError::Uninitialised`] for an empty one that is open
    /// for reading only.
    pub fn open(store: Arc<dyn Store>) -> Result<Database, DbError> {
        Database::open_or_create(store, Settings::default())
    }

    /// Opens the database in a store, and initialises it with these settings if the store is empty. A database that
    /// is there keeps its own.
    ///
    /// # Errors
    /// Those of [`open`](Database::open).
    pub fn open_or_create(store: Arc<dyn Store>, settings: Settings) -> Result<Database, DbError> {
        settings.check()?;
        let snapshot = store.snapshot()?;
        let settings = match schema_version(&*snapshot)? {
            Some(SCHEMA_VERSION) => Settings::read(&*snapshot)?.ok_or_else(|| StoreError::Corrupt {
                detail: "the database's settings are missing".to_owned(),
            })?,
            Some(found) if found < SCHEMA_VERSION => {
                return Err(DbError::OlderSchema { found, current: SCHEMA_VERSION });
            }
            Some(found) => return Err(StoreError::NewerFormat { found, supported: SCHEMA_VERSION }.into()),
            None => {
                let mut all = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
                match all.next() {
                    Some(Ok(_)) => return Err(DbError::Foreign),
                    Some(Err(error)) => return Err(error.into()),
                    None if store.read_only() => return Err(DbError::Uninitialised),
                    None => initialise(&*store, &settings)?,
                }
                settings
            }
        };
        let snapshot = store.snapshot()?;
        let version = journal::last_version(&*snapshot)?;
        // Nobody has counted what an earlier process left to be settled.
        let is_settled = version == 0 || read_number(&*snapshot, INDEXED)? == version;
        let unsettled = if is_settled { 0 } else { settle::READ_CHANGES + 1 };
        let pipeline = Pipeline::new(Arc::clone(&store), version, settings.keeps_history());
        let shared = Shared {
            store,
            settings,
            pipeline: Arc::new(pipeline),
            settling: Mutex::default(),
            unsettled: AtomicU64::new(unsettled),
            last_machine: AtomicU64::new(0),
        };
        Ok(Database { shared: Arc::new(shared) })
    }

    /// What the database keeps.
    pub fn settings(&self) -> Settings {
        self.shared.settings
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Begins a transaction. Waits for nobody; several may be open at a time.
    pub fn begin(&self, mode: Mode) -> Result<Tx, DbError> {
        let shared = Arc::clone(&self.shared);
        match mode {
            Mode::ReadOnly => {
                let snapshot = shared.store.snapshot()?;
                Ok(Tx::new(shared, snapshot, None, None))
            }
            Mode::ReadWrite if shared.store.read_only() => Err(StoreError::ReadOnly.into()),
            Mode::ReadWrite => {
                let (snapshot, registration) = shared.pipeline.begin()?;
                Ok(Tx::new(shared, snapshot, None, Some(registration)))
            }
        }
    }

    /// Begins a read-only transaction on the state as it was at a version.
    ///
    /// # Errors
    /// [`DbError::FutureVersion`], [`DbError::PrunedVersion`].
    pub fn begin_at(&self, version: u64) -> Result<Tx, DbError> {
        let snapshot = self.snapshot_at(version)?;
        Ok(Tx::new(Arc::clone(&self.shared), snapshot, Some(version), None))
    }

    /// Begins a transaction on the state as it was at a version that may write, and cannot be committed: to do again
    /// what was done then, and see what would become of the state.
    ///
    /// # Errors
    /// Those of [`begin_at`](Database::begin_at).
    pub fn begin_again(&self, version: u64) -> Result<Tx, DbError> {
        let snapshot = self.snapshot_at(version)?;
        let (_, registration) = self.shared.pipeline.begin()?;
        Ok(Tx::new(Arc::clone(&self.shared), snapshot, Some(version), Some(registration)))
    }

    /// The state as of a version.
    pub(crate) fn snapshot_at(&self, version: u64) -> Result<Arc<dyn Snapshot>, DbError> {
        let snapshot = self.shared.snapshot_with_history()?;
        self.shared.snapshot_at(snapshot, version)
    }

    /// The last committed version of the state: 0, and one more with each commit that changes anything.
    pub fn version(&self) -> u64 {
        self.shared.pipeline.version()
    }

    /// The oldest version that can be read.
    pub fn oldest_version(&self) -> Result<u64, DbError> {
        let snapshot = self.shared.store.snapshot()?;
        let last = journal::last_version(&*snapshot)?;
        self.shared.oldest(&*snapshot, last)
    }

    /// Waits until there is a version after `version`, for at most so long. Answers the current version.
    pub fn wait_for_commit(&self, version: u64, timeout: Duration) -> u64 {
        self.shared.pipeline.wait_past(version, timeout)
    }

    /// Makes transactions committed with [`Durability::None`](crate::Durability::None) durable.
    pub fn sync(&self) -> Result<(), DbError> {
        Ok(self.shared.store.sync()?)
    }

    /// Brings what is derived from the journal up to date: reads of old versions, state tree, removal of versions
    /// that are too old. Happens by itself every few hundred versions.
    pub fn settle(&self) -> Result<(), DbError> {
        self.shared.settle()
    }

    /// Size of the store.
    pub fn stats(&self) -> Result<StoreStats, DbError> {
        Ok(self.shared.store.stats()?)
    }
}

impl Shared {
    /// A snapshot whose past can be read without much of the journal in memory.
    pub(crate) fn snapshot_with_history(&self) -> Result<Arc<dyn Snapshot>, DbError> {
        let snapshot = self.store.snapshot()?;
        let behind = journal::last_version(&*snapshot)?.saturating_sub(read_number(&*snapshot, INDEXED)?);
        let is_far = behind > 2 * settle::STEP || behind > 0 && self.is_far_behind();
        if is_far && !self.store.read_only() {
            self.catch_up()?;
            return Ok(self.store.snapshot()?);
        }
        Ok(snapshot)
    }

    /// Whether the journal may have more changes beyond the history than readers should hold in memory.
    pub(crate) fn is_far_behind(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed) > settle::READ_CHANGES
    }

    /// The oldest version that a snapshot whose own is `last` can give.
    pub(crate) fn oldest(&self, snapshot: &dyn Snapshot, last: u64) -> Result<u64, DbError> {
        match self.settings.history {
            History::None => Ok(last),
            _ => read_number(snapshot, OLDEST),
        }
    }

    /// The state as of a version that is not after the snapshot's own.
    pub(crate) fn snapshot_at(
        &self,
        snapshot: Arc<dyn Snapshot>,
        version: u64,
    ) -> Result<Arc<dyn Snapshot>, DbError> {
        let last = journal::last_version(&*snapshot)?;
        if version > last {
            return Err(DbError::FutureVersion { version, last });
        }
        let oldest = self.oldest(&*snapshot, last)?;
        if version < oldest {
            return Err(DbError::PrunedVersion { version, oldest });
        }
        settle::as_of(snapshot, version, last)
    }
}

/// The schema version of a store that has one.
pub(crate) fn schema_version(snapshot: &dyn Snapshot) -> Result<Option<u32>, DbError> {
    match snapshot.get(META_SCHEMA)? {
        None => Ok(None),
        Some(value) => match decode_u32(META_SCHEMA, &value)? {
            0 => Err(corrupt(META_SCHEMA, "is not a schema version")),
            version => Ok(Some(version)),
        },
    }
}

fn initialise(store: &dyn Store, settings: &Settings) -> Result<(), DbError> {
    let mut batch = Batch::new();
    batch.put(META_SCHEMA, Bytes::copy_from_slice(&SCHEMA_VERSION.to_be_bytes()));
    let (key, value) = settings.row();
    batch.put(key, value);
    if settings.state_root {
        tree::empty(&mut batch)?;
    }
    Ok(store.apply(&batch, dotdb_store::Durability::Sync)?)
}
