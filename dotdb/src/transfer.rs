//! What moving a whole database can answer, and copying one as it is.

use std::io;
use std::ops::Bound;

use bytes::Bytes;
use dotdb_commitment::Root;
use dotdb_store::{Batch, Direction, Durability, Snapshot, Store, StoreError};

use crate::database::Database;
use crate::error::DbError;
use crate::journal;
use crate::keys::META_SCHEMA;

/// Why a dump, a load or a backup was not carried out: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Writing the dump failed.
    #[error("the dump cannot be written: {0}")]
    Write(io::Error),
    /// Reading the dump failed.
    #[error("the dump cannot be read: {0}")]
    Read(io::Error),
    /// Something else than a dump.
    #[error("this is not a dump of a DotDB database")]
    NotADump,
    /// A dump of a later version of this program.
    #[error(
        "the dump has format {found} and this program reads up to format {supported}: use a newer version"
    )]
    NewerFormat {
        /// Format of the dump.
        found: u32,
        /// Newest format known here.
        supported: u32,
    },
    /// A dump of a database with another schema.
    #[error("the dump is of a database with schema {found} and this program has schema {current}")]
    Schema {
        /// Schema of the dumped database.
        found: u32,
        /// The one known here.
        current: u32,
    },
    /// The dump ends before its end block.
    #[error("the dump ends too early, at byte {at}: it was cut short")]
    Truncated {
        /// Its length.
        at: u64,
    },
    /// A checksum that does not agree, or something that no dump has.
    #[error("the dump is damaged: {problem} in the block at byte {at}")]
    Damaged {
        /// Where the block begins.
        at: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// What was loaded has another state root than what was dumped.
    #[error("what was loaded has the state root {found}, and what was dumped had {expected}")]
    OtherRoot {
        /// Root of the loaded state.
        found: Root,
        /// Root in the dump.
        expected: Root,
    },
    /// The store to write to is not empty.
    #[error("the store holds something already: only an empty one can be filled")]
    NotEmpty,
    /// The database or its store.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> TransferError {
        TransferError::Db(error.into())
    }
}

/// Bytes after which a batch is written.
const BATCH_BYTES: usize = 8 << 20;
/// Rows after which a batch is written.
const BATCH_ROWS: usize = 1 << 14;

/// Rows on their way into a new store.
pub(crate) struct Filler<'a> {
    store: &'a dyn Store,
    rows: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
}

impl<'a> Filler<'a> {
    /// Begins to fill a store.
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`].
    pub(crate) fn new(store: &'a dyn Store) -> Result<Filler<'a>, TransferError> {
        let snapshot = store.snapshot()?;
        let mut rows = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
        match rows.next() {
            None => Ok(Filler { store, rows: Vec::new(), bytes: 0 }),
            Some(Ok(_)) => Err(TransferError::NotEmpty),
            Some(Err(error)) => Err(error.into()),
        }
    }

    pub(crate) fn push(&mut self, key: Bytes, value: Bytes) -> Result<(), StoreError> {
        self.bytes += key.len() + value.len();
        self.rows.push((key, Some(value)));
        if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush(Durability::None)?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.bytes = 0;
        self.store.apply(&Batch::from(std::mem::take(&mut self.rows)), durability)
    }
}

/// What a backup has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The version it holds.
    pub version: u64,
    /// Number of keys.
    pub keys: u64,
    /// Bytes of them and their values.
    pub bytes: u64,
}

impl Database {
    /// Copies all of the database, its history included, into an empty store of any backend, as of one moment;
    /// transactions go on meanwhile. `progress` is told of bytes copied since it was last called.
    ///
    /// Until it is complete, what is in the store is no database.
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`]; either store's.
    pub fn backup(&self, to: &dyn Store, mut progress: impl FnMut(u64)) -> Result<Backup, TransferError> {
        let snapshot = self.shared.store.snapshot()?;
        let mut backup = Backup { version: journal::last_version(&*snapshot)?, keys: 0, bytes: 0 };
        let mut filler = Filler::new(to)?;
        let mut schema = None;
        for row in all_rows(&*snapshot)? {
            let (key, value) = row?;
            let bytes = (key.len() + value.len()) as u64;
            (backup.keys, backup.bytes) = (backup.keys + 1, backup.bytes + bytes);
            if key == META_SCHEMA {
                schema = Some(value);
            } else {
                filler.push(key, value)?;
            }
            progress(bytes);
        }
        filler.flush(Durability::None)?;
        if let Some(schema) = schema {
            to.apply(Batch::new().put(META_SCHEMA, schema), Durability::Sync)?;
        }
        Ok(backup)
    }
}

fn all_rows(snapshot: &dyn Snapshot) -> Result<dotdb_store::PairIter, StoreError> {
    snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)
}
