//! Open transactions written down, and opened again as if nothing had happened.
//!
//! A transaction is what it has read, what it will write and what it can undo, over the state as of a version. Opened
//! again it reads that version, whatever was committed since, as long as the history has it; its commit is validated
//! against all that was.

use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::Direction;
use dotvm_codec::{Damage, Reader, Writer};

use crate::cache::Cache;
use crate::cursor::Cursor;
use crate::cursor::saved::{restore_bound, save_bound};
use crate::database::{Database, Mode};
use crate::error::DbError;
use crate::journal;
use crate::keys::{MAX_CURSORS, describe};
use crate::read_set::{Points, ReadSet};
use crate::tx::{Savepoint, Tx};

/// Why a transaction that was written down is not opened again: a sentence.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What was written down is damaged.
    #[error("the pending transaction is damaged: {0}")]
    Damage(#[from] Damage),
    /// The state is not the one that the transaction was on.
    #[error("the pending transaction has read another state than this database has: {what} is different")]
    OtherState {
        /// What differs.
        what: String,
    },
    /// So much was committed since that its keys cannot be held in memory.
    #[error("since the pending transaction began so much was committed that it cannot be validated any more")]
    TooMuch,
    /// The database or its store.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Most keys changed since that are kept to validate against.
const MAX_CHANGED: usize = 1 << 22;

impl Tx {
    /// From here on the transaction can be written down. It must be new: nothing was read yet.
    pub fn keep_for_saving(&mut self) {
        self.points = Points::Lasting;
        self.tracks_all = true;
    }

    /// How many collections were opened: their handles are the numbers below that.
    pub fn opened_collections(&self) -> usize {
        self.collections.len()
    }

    /// Writes the transaction down. It goes on.
    ///
    /// # Errors
    /// [`DbError::NotSaved`] for what cannot be written down; the store's.
    pub fn save(&self, to: &mut Writer) -> Result<(), DbError> {
        if self.points != Points::Lasting || self.at.is_some() && !self.read_only() {
            return Err(DbError::NotSaved { what: "a transaction that was not begun for that" });
        }
        to.flag(self.read_only());
        to.number(self.version()?);
        to.number(self.last_savepoint);
        to.count(self.savepoints.len());
        for savepoint in &self.savepoints {
            to.number(savepoint.id);
            for mark in [savepoint.slots, savepoint.collections, savepoint.counters, savepoint.records] {
                to.count(mark);
            }
        }
        self.slots.save(to);
        self.collections.save(to);
        self.counters.save(to);
        self.records.save(to);
        self.reads.save(to);
        to.number(self.last_cursor);
        to.count(self.cursors.len());
        for (&id, cursor) in &self.cursors {
            to.number(id);
            cursor.save(to)?;
        }
        Ok(())
    }
}

impl ReadSet {
    fn save(&self, to: &mut Writer) {
        to.flag(self.everything);
        let mut points = self.points.clone();
        points.sort_unstable();
        points.dedup();
        to.count(points.len());
        points.into_iter().for_each(|point| to.word(point));
        to.count(self.ranges.len());
        for (from, end) in &self.ranges {
            save_bound(from, to);
            save_bound(end, to);
        }
    }

    fn restore(from: &mut Reader<'_>) -> Result<ReadSet, Damage> {
        let mut reads = ReadSet::default();
        reads.everything = from.flag()?;
        let points = from.count(8)?;
        reads.points = (0..points).map(|_| from.word()).collect::<Result<_, _>>()?;
        from.require(reads.points.is_sorted(), "what was read is out of order")?;
        for _ in 0..from.count(2)? {
            reads.ranges.push((restore_bound(from)?, restore_bound(from)?));
        }
        Ok(reads)
    }
}

impl Database {
    /// Opens a transaction that was written down.
    ///
    /// # Errors
    /// [`RestoreError`]; among those of the database are [`DbError::PrunedVersion`] and [`DbError::FutureVersion`] for a
    /// state that is not kept, or not here.
    pub fn restore_tx(&self, from: &mut Reader<'_>) -> Result<Tx, RestoreError> {
        self.restore_or_look(from, false)
    }

    /// Opens a transaction that was written down only to be looked at, also where the store is open for reading only.
    ///
    /// # Errors
    /// Those of [`restore_tx`](Database::restore_tx).
    pub fn look_at_tx(&self, from: &mut Reader<'_>) -> Result<Tx, RestoreError> {
        self.restore_or_look(from, true)
    }

    fn restore_or_look(&self, from: &mut Reader<'_>, looks: bool) -> Result<Tx, RestoreError> {
        let read_only = from.flag()?;
        let version = from.number()?;
        let mut tx = self.begin(if read_only || looks { Mode::ReadOnly } else { Mode::ReadWrite })?;
        let last = tx.version()?;
        if version != last {
            tx.snapshot = self.snapshot_at(version)?;
            tx.at = (read_only || looks).then_some(version);
            if !read_only && !looks {
                tx.since = Some((version, self.changed_since(version)?));
            }
        }
        tx.keep_for_saving();
        tx.last_savepoint = from.number()?;
        let mut savepoints: Vec<Savepoint> = Vec::new();
        for _ in 0..from.count(5)? {
            let savepoint = Savepoint {
                id: from.number()?,
                slots: from.small()?,
                collections: from.small()?,
                counters: from.small()?,
                records: from.small()?,
            };
            let is_next = savepoints.last().is_none_or(|last| {
                last.id < savepoint.id
                    && last.slots <= savepoint.slots
                    && last.collections <= savepoint.collections
                    && last.counters <= savepoint.counters
                    && last.records <= savepoint.records
            });
            from.require(
                is_next && (1..=tx.last_savepoint).contains(&savepoint.id),
                "savepoints are out of order",
            )?;
            savepoints.push(savepoint);
        }
        tx.slots = Cache::restore(from)?;
        tx.collections = Cache::restore(from)?;
        tx.counters = Cache::restore(from)?;
        tx.records = Cache::restore(from)?;
        let holds = savepoints.last().is_none_or(|last| {
            last.slots <= tx.slots.mark()
                && last.collections <= tx.collections.mark()
                && last.counters <= tx.counters.mark()
                && last.records <= tx.records.mark()
        });
        from.require(holds, "a savepoint lies behind what can be undone")?;
        from.require(!read_only || tx.changed_keys() == 0, "a transaction that only reads has written")?;
        tx.epoch = savepoints.last().map_or(0, |last| last.id);
        tx.savepoints = savepoints;
        tx.reads = ReadSet::restore(from)?;
        tx.last_cursor = from.number()?;
        let cursors = from.count(2)?;
        from.require(cursors <= MAX_CURSORS, "there are too many cursors")?;
        let snapshot = Arc::clone(&tx.snapshot);
        let reads = std::mem::take(&mut tx.reads);
        for _ in 0..cursors {
            let id = from.number()?;
            let is_next = tx.cursors.last_key_value().is_none_or(|(&last, _)| last < id);
            from.require(is_next && id <= tx.last_cursor, "cursors are out of order")?;
            let cursor = Cursor::restore(&mut tx, from)?;
            tx.cursors.insert(id, cursor);
        }
        // What queries were planned with was read before.
        tx.reads = reads;
        let get = |key: &[u8]| Ok(snapshot.get(key)?);
        let other =
            [tx.slots.first_other(get)?, tx.collections.first_other(get)?, tx.records.first_other(get)?];
        if let Some(key) = other.into_iter().flatten().next() {
            return Err(RestoreError::OtherState { what: describe(key) });
        }
        Ok(tx)
    }

    /// The keys changed after a version.
    fn changed_since(&self, version: u64) -> Result<Vec<Bytes>, RestoreError> {
        let snapshot = self.shared.store.snapshot().map_err(DbError::from)?;
        let last = journal::last_version(&*snapshot)?;
        let mut keys = Vec::new();
        for row in journal::changes(&*snapshot, version + 1, last, Direction::Forward)? {
            for change in row?.changes() {
                keys.push(change?.key);
            }
            if keys.len() > MAX_CHANGED {
                keys.sort_unstable();
                keys.dedup();
                if keys.len() > MAX_CHANGED / 2 {
                    return Err(RestoreError::TooMuch);
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
