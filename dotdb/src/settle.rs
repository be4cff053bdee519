//! What follows the journal in steps: the history by key, the state tree, and forgetting what is too old.
//!
//! A commit writes only its journal. Every so many changes, with a state root every [`STEP`] versions, and when
//! somebody asks for it, the rows since the last time are turned into history and tree, and versions beyond the
//! history's length are removed; those that were never turned into anything by then cost nothing more. All of it can
//! be derived again, so none of these writes is flushed: a crash loses them together with the marks that say how far
//! they went.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use dotdb_store::{Batch, Direction, Durability, Snapshot};

use crate::database::Shared;
use crate::error::DbError;
use crate::history;
use crate::journal;
use crate::keys::{VERSION_NAME, corrupt};
use crate::settings::{History, INDEXED, OLDEST, number_row, read_number};

/// Versions between two steps with a state root, which is asked for more often than the past.
pub(crate) const STEP: u64 = 256;
/// Versions between two steps without one.
const LONG_STEP: u64 = 1 << 14;
/// Changes that the journal gathers between two steps at most, by the transactions of one process. A step costs as
/// much as the changes did, and nothing if they are forgotten before it; the first who reads the past waits for it.
const STEP_CHANGES: u64 = 1 << 20;
/// Changes beyond the history that are held in memory by who reads the past: with more it takes a step first.
pub(crate) const READ_CHANGES: u64 = 1 << 16;
/// Rows after which a batch is written.
const BATCH_ROWS: usize = 1 << 14;
/// Bytes after which a batch is written.
const BATCH_BYTES: usize = 8 << 20;

/// Rows on their way to the store.
struct Writer<'a> {
    shared: &'a Shared,
    rows: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
}

impl Writer<'_> {
    fn push(&mut self, row: (Bytes, Option<Bytes>)) {
        self.bytes += row.0.len() + row.1.as_ref().map_or(0, Bytes::len);
        self.rows.push(row);
    }

    fn is_large(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<(), DbError> {
        self.bytes = 0;
        let batch = Batch::from(std::mem::take(&mut self.rows));
        if !batch.is_empty() {
            self.shared.store.apply(&batch, Durability::None)?;
        }
        Ok(())
    }
}

impl Shared {
    /// Takes a step when one is due and nobody else does. A failure shows in the next commit, or in what is asked
    /// of the history.
    pub(crate) fn settle_sometimes(&self, version: u64, changed: usize) {
        if !self.settings.keeps_history() {
            return;
        }
        let unsettled = self.unsettled.fetch_add(changed as u64, Ordering::Relaxed) + changed as u64;
        let step = if self.settings.state_root { STEP } else { LONG_STEP };
        let to_index = version.is_multiple_of(step) || unsettled >= STEP_CHANGES;
        let to_forget = match self.settings.history {
            History::Last(kept) => version.is_multiple_of((kept / 4).clamp(STEP, LONG_STEP)),
            History::None | History::All => false,
        };
        if !to_index && !to_forget {
            return;
        }
        let turn = match self.settling.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.settle_in_turn(&turn, to_index, to_forget).ok();
    }

    /// Brings history and tree up to the current version, and removes what is too old.
    pub(crate) fn settle(&self) -> Result<(), DbError> {
        self.settle_now(true)
    }

    /// Brings history and tree up to the current version; what can be read stays readable.
    pub(crate) fn catch_up(&self) -> Result<(), DbError> {
        self.settle_now(false)
    }

    fn settle_now(&self, forget: bool) -> Result<(), DbError> {
        if !self.settings.keeps_history() || self.store.read_only() {
            return Ok(());
        }
        self.settle_in_turn(&self.settling.lock().unwrap_or_else(PoisonError::into_inner), true, forget)
    }

    fn settle_in_turn(&self, _turn: &MutexGuard<'_, ()>, index: bool, forget: bool) -> Result<(), DbError> {
        let last = journal::last_version(&*self.store.snapshot()?)?;
        if self.settings.state_root {
            // The tree is grown version by version, from the history, and must not lack what is forgotten.
            self.index(last)?;
            self.grow_tree(last)?;
        }
        if forget {
            self.forget(last)?;
        }
        if index && !self.settings.state_root {
            self.index(last)?;
        }
        Ok(())
    }

    /// Adds the journal's changes up to `last` to the history by key, but for those that are forgotten.
    fn index(&self, last: u64) -> Result<(), DbError> {
        self.unsettled.store(0, Ordering::Relaxed);
        let snapshot = self.store.snapshot()?;
        let done = read_number(&*snapshot, INDEXED)?.max(read_number(&*snapshot, OLDEST)?);
        if done >= last {
            return Ok(());
        }
        let mut writer = Writer { shared: self, rows: Vec::new(), bytes: 0 };
        for row in journal::changes(&*snapshot, done + 1, last, Direction::Forward)? {
            let row = row?;
            for change in row.changes() {
                writer.push(history::row(&change?, row.version));
                if writer.is_large() {
                    writer.push(number_row(INDEXED, row.version - 1));
                    writer.flush()?;
                }
            }
        }
        writer.push(number_row(INDEXED, last));
        writer.flush()
    }

    /// Removes what the settings do not keep. Versions with a name are kept, and all after them.
    fn forget(&self, last: u64) -> Result<(), DbError> {
        let History::Last(kept) = self.settings.history else { return Ok(()) };
        let snapshot = self.store.snapshot()?;
        let named = names(&*snapshot)?.into_values().min().unwrap_or(u64::MAX);
        let oldest = last.saturating_sub(kept).min(named);
        self.forget_before(&*snapshot, oldest)
    }

    /// Makes `oldest` the oldest version that can be read.
    pub(crate) fn forget_before(&self, snapshot: &dyn Snapshot, oldest: u64) -> Result<(), DbError> {
        let before = read_number(snapshot, OLDEST)?;
        if oldest <= before {
            return Ok(());
        }
        let mut writer = Writer { shared: self, rows: Vec::new(), bytes: 0 };
        // First of all: what is half removed must not be read.
        writer.push(number_row(OLDEST, oldest));
        writer.flush()?;
        let last = journal::last_version(snapshot)?;
        // Of the version after, an interrupted step may have left some rows.
        let indexed = read_number(snapshot, INDEXED)?.saturating_add(1);
        // From the first row that is there: a crash may have kept this from being finished the last time.
        for row in journal::changes(snapshot, 0, oldest, Direction::Forward)? {
            let row = row?;
            if row.version <= indexed {
                for change in row.changes() {
                    writer.push((history::row_key(&change?.key, row.version).into(), None));
                }
            }
            // The last row tells the version of the state, and is removed the next time.
            if row.version < last {
                writer.push((row.key, None));
            }
            if writer.is_large() {
                writer.flush()?;
            }
        }
        writer.flush()?;
        self.prune_tree(oldest)
    }
}

/// Names of versions.
pub(crate) fn names(snapshot: &dyn Snapshot) -> Result<BTreeMap<String, u64>, DbError> {
    let (from, to) = ([VERSION_NAME], [VERSION_NAME + 1]);
    snapshot
        .range(Bound::Included(&from[..]), Bound::Excluded(&to[..]), Direction::Forward)?
        .map(|row| {
            let (key, value) = row?;
            let name =
                std::str::from_utf8(&key[1..]).map_err(|_| corrupt(&key, "has a name that is no text"))?;
            let version = value[..].try_into().map_err(|_| corrupt(&key, "is not a version"))?;
            Ok((name.to_owned(), u64::from_be_bytes(version)))
        })
        .collect()
}

/// The state as of a version, or the snapshot itself if that is its own.
pub(crate) fn as_of(
    snapshot: Arc<dyn Snapshot>,
    version: u64,
    last: u64,
) -> Result<Arc<dyn Snapshot>, DbError> {
    if version == last {
        return Ok(snapshot);
    }
    let indexed = read_number(&*snapshot, INDEXED)?;
    Ok(Arc::new(history::AsOf::new(snapshot, version, indexed, last)?))
}
