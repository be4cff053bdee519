//! A transaction: a snapshot, what was read from it, what is to be written, and savepoints.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{Direction, Snapshot};
use imbl::OrdMap;

use crate::absence::Filter;
use crate::cache::Cache;
use crate::collections::CollectionState;
use crate::counters::{self, Counters};
use crate::cursor::{Cursor, MergedRange};
use crate::database::Shared;
use crate::durability::Durability;
use crate::error::DbError;
use crate::index::Definitions;
use crate::journal;
use crate::keys::describe;
use crate::machines::RowsOfCommit;
use crate::pipeline::{Prepared, Registration};
use crate::read_set::{Points, ReadSet};
use crate::slots::SlotValue;

/// A transaction. Dropping it rolls it back.
///
/// Reads see the transaction's own writes. Slots and collections used stay cached until the end, and
/// so does every record written; of the records only read, the first few thousand do.
pub struct Tx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    /// The version a read-only transaction was asked to read.
    pub(crate) at: Option<u64>,
    /// `None` if the transaction is read-only.
    registration: Option<Registration>,
    /// What was read and is in none of the caches.
    pub(crate) reads: ReadSet,
    pub(crate) slots: Cache<SlotValue>,
    pub(crate) collections: Cache<CollectionState>,
    /// What is added to collections' counters, under the prefix of their keys. Not what is read of them.
    pub(crate) counters: Cache<Counters>,
    /// Everything else: records, contracts, code, counters.
    pub(crate) records: Cache<Option<Bytes>>,
    /// The dirty entries of `records` in key order, from when a range is first read on.
    writes: Option<OrdMap<Bytes, Option<Bytes>>>,
    /// Indexes and schemas of collections, by number, as the transaction sees them.
    pub(crate) definitions: BTreeMap<u32, Arc<Definitions>>,
    /// The collection put into last, and what was never inserted into it, if that is known.
    filter: Option<(u32, Option<Arc<Filter>>)>,
    pub(crate) cursors: BTreeMap<u64, Cursor>,
    pub(crate) last_cursor: u64,
    /// Key under construction.
    pub(crate) scratch: Vec<u8>,
    /// Ids strictly increase.
    pub(crate) savepoints: Vec<Savepoint>,
    pub(crate) last_savepoint: u64,
    /// Id of the innermost savepoint, 0 if none is set.
    pub(crate) epoch: u64,
    pub(crate) points: Points,
    /// Cursors of a transaction that only reads tell how far they are, too.
    pub(crate) tracks_all: bool,
    /// For a transaction that was written down and opened again on an older version: that version, and the keys changed
    /// between it and the registration, sorted.
    pub(crate) since: Option<(u64, Vec<Bytes>)>,
    /// What is to be written with the commit.
    pub(crate) with_commit: Option<RowsOfCommit>,
}

/// Entries of [`Tx::records`] from which on reads are not remembered: a transaction that reads more
/// records than that rarely comes back to them, and keeping each would cost more than the store does.
const MAX_REMEMBERED: usize = 1 << 12;

/// A store key of [`Tx::records`], looked up.
pub(crate) enum Record {
    /// Its index there.
    Cached(usize),
    /// It is not there, and this is its value.
    Passing(Option<Bytes>),
}

pub(crate) struct Savepoint {
    pub(crate) id: u64,
    pub(crate) slots: usize,
    pub(crate) collections: usize,
    pub(crate) counters: usize,
    pub(crate) records: usize,
}

impl Tx {
    pub(crate) fn new(
        shared: Arc<Shared>,
        snapshot: Arc<dyn Snapshot>,
        at: Option<u64>,
        registration: Option<Registration>,
    ) -> Tx {
        Tx {
            shared,
            snapshot,
            at,
            registration,
            reads: ReadSet::default(),
            slots: Cache::new(),
            collections: Cache::new(),
            counters: Cache::new(),
            records: Cache::new(),
            writes: None,
            definitions: BTreeMap::new(),
            filter: None,
            cursors: BTreeMap::new(),
            last_cursor: 0,
            scratch: Vec::new(),
            savepoints: Vec::new(),
            last_savepoint: 0,
            epoch: 0,
            points: Points::default(),
            tracks_all: false,
            since: None,
            with_commit: None,
        }
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.registration.is_none()
    }

    #[inline]
    pub(crate) fn check_writable(&self) -> Result<(), DbError> {
        if self.registration.is_some() { Ok(()) } else { Err(DbError::ReadOnly) }
    }

    /// The version that the transaction reads. One that may write can already see a version that is being
    /// committed.
    pub fn version(&self) -> Result<u64, DbError> {
        match self.at.or(self.since.as_ref().map(|since| since.0)) {
            Some(version) => Ok(version),
            None => journal::last_version(&*self.snapshot),
        }
    }

    /// Number of changes that a commit would write now, by which a commit is priced: slots and records, contracts,
    /// collections made, and collections whose number of records changes.
    pub fn changed_keys(&self) -> usize {
        self.slots.dirty_len()
            + self.collections.dirty_len()
            + self.counters.dirty_len()
            + self.records.dirty_len()
    }

    /// Makes the transaction's writes part of the state, as durably as asked before it returns. Answers the version
    /// that the state has then, or if nothing was written, the one that was read.
    ///
    /// # Errors
    /// [`DbError::Conflict`] if another transaction has changed what this one has read; [`DbError::Again`]; the store's.
    /// Then nothing of the transaction is in the state.
    pub fn commit(mut self, durability: Durability) -> Result<u64, DbError> {
        self.cursors_end(|_| true);
        if let Some(version) = self.at.filter(|_| self.registration.is_some()) {
            return Err(DbError::Again { version });
        }
        let Some(registration) = self.registration.take().filter(|_| self.changed_keys() > 0) else {
            return self.version();
        };
        let shared = Arc::clone(&self.shared);
        let changed = self.changed_keys();
        let mut prepared = self.prepare(shared.settings.keeps_history(), durability);
        prepared.with_commit = self.with_commit.take();
        prepared.is_snapshot_old = self.since.is_some();
        self.reads.seal();
        let pipeline = Arc::clone(registration.pipeline());
        let Tx { snapshot, reads, slots, collections, records, points, since, .. } = self;
        let has_read = |key: &[u8]| {
            slots.find(key).is_some()
                || collections.find(key).is_some()
                || records.find(key).is_some()
                || reads.contains(key, || points.of(records.hash_builder(), key))
        };
        if let Some(key) = since.iter().flat_map(|(_, keys)| keys).find(|key| has_read(key)) {
            return Err(DbError::Conflict { with: format!("another transaction changed {}", describe(key)) });
        }
        let version = pipeline.commit(registration, snapshot, prepared, has_read)?;
        shared.settle_sometimes(version, changed);
        Ok(version)
    }

    /// What the commit writes, and the journal of it.
    fn prepare(&self, keeps_history: bool, durability: Durability) -> Prepared {
        let mut journal = journal::Writer::default();
        let mut writes = Vec::with_capacity(self.changed_keys() + 2);
        let mut change = |key: &Bytes, old: Option<&[u8]>, new: Option<Bytes>| {
            if keeps_history {
                journal.push(key, old);
            }
            writes.push((key.clone(), new));
        };
        for slot in self.slots.changes() {
            let old = slot.old.as_bytes();
            change(slot.key, (!old.is_empty()).then_some(old), slot.new.encode());
        }
        let mut created = Vec::new();
        for collection in self.collections.changes() {
            if collection.old.number == 0 {
                created.push(collection.new.number);
            }
            change(collection.key, collection.old.encode().as_deref(), collection.new.encode());
        }
        for record in self.records.changes() {
            change(record.key, record.old.as_deref(), record.new.clone());
        }
        let merges = self.counters.changes().flat_map(|counters| counters.new.merges(counters.key)).collect();
        Prepared { writes, merges, created, journal, durability, with_commit: None, is_snapshot_old: false }
    }

    /// All that a commit would write now, counters included, and nothing of the journal.
    pub(crate) fn pending_changes(&mut self) -> Result<Vec<(Bytes, Option<Bytes>)>, DbError> {
        let Prepared { mut writes, merges, .. } = self.prepare(false, Durability::None);
        for (key, merge) in merges {
            let value = counters::decode(&key, self.value_of(&key)?.as_ref())?;
            writes.push((key.clone(), counters::encode(merge.apply(&key, value)?)));
        }
        Ok(writes)
    }

    /// Ends the transaction; nothing it wrote is kept.
    pub fn abort(self) {}

    /// Sets a savepoint inside those already set. Ids start at 1 and only grow in a transaction, so
    /// an id greater than a frame's own was set inside that frame.
    pub fn savepoint(&mut self) -> u64 {
        self.last_savepoint += 1;
        self.epoch = self.last_savepoint;
        self.savepoints.push(Savepoint {
            id: self.epoch,
            slots: self.slots.mark(),
            collections: self.collections.mark(),
            counters: self.counters.mark(),
            records: self.records.mark(),
        });
        self.epoch
    }

    /// Undoes writes and touches made since savepoint `id`, which stays set; savepoints set after it
    /// are gone, and so are cursors opened after it. Cursors opened before keep their position.
    pub fn rollback_to(&mut self, id: u64) -> Result<(), DbError> {
        let place = self.place_of(id)?;
        let savepoint = &self.savepoints[place];
        let writes = &mut self.writes;
        self.records.rollback(savepoint.records, |entry| match writes {
            Some(writes) if entry.dirty => {
                writes.insert(entry.key.clone(), entry.value.clone());
            }
            Some(writes) => {
                writes.remove(&entry.key);
            }
            None => {}
        });
        self.slots.rollback(savepoint.slots, |_| ());
        self.collections.rollback(savepoint.collections, |_| ());
        self.counters.rollback(savepoint.counters, |_| ());
        self.definitions.clear();
        self.cursors_end(|cursor| cursor.opened_after >= id);
        self.savepoints.truncate(place + 1);
        self.epoch = id;
        Ok(())
    }

    /// Forgets savepoint `id` and those set after it; what was written since stays, and belongs to
    /// the savepoint before.
    pub fn release(&mut self, id: u64) -> Result<(), DbError> {
        let place = self.place_of(id)?;
        let parent = if place == 0 { 0 } else { self.savepoints[place - 1].id };
        let savepoint = &self.savepoints[place];
        self.slots.release(savepoint.slots, parent);
        self.collections.release(savepoint.collections, parent);
        self.counters.release(savepoint.counters, parent);
        self.records.release(savepoint.records, parent);
        self.savepoints.truncate(place);
        self.epoch = parent;
        Ok(())
    }

    fn place_of(&self, id: u64) -> Result<usize, DbError> {
        self.savepoints
            .binary_search_by_key(&id, |savepoint| savepoint.id)
            .map_err(|_| DbError::UnknownSavepoint { id })
    }

    /// Looks the store key of a record up.
    #[inline]
    pub(crate) fn record(&mut self, key: &[u8]) -> Result<Record, DbError> {
        if self.records.len() < MAX_REMEMBERED {
            return Ok(Record::Cached(self.record_index(key)?));
        }
        match self.records.find(key) {
            Some(index) => Ok(Record::Cached(index)),
            None => Ok(Record::Passing(self.read_through(key)?)),
        }
    }

    /// Reads a store key from the snapshot without remembering its value.
    pub(crate) fn read_through(&mut self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        if self.registration.is_some() {
            self.reads.add_point(self.points.of(self.records.hash_builder(), key));
        }
        Ok(self.snapshot.get(key)?)
    }

    /// The pairs between two store keys, writes of records, contracts and counters included. All of the range counts
    /// as read.
    pub(crate) fn read_range(
        &mut self,
        pending: OrdMap<Bytes, Option<Bytes>>,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> Result<MergedRange, DbError> {
        if self.registration.is_some() {
            self.reads.add_range(from.clone().map(Bytes::from), to.clone().map(Bytes::from));
        }
        Ok(MergedRange::new(&*self.snapshot, pending, from, to, Direction::Forward)?)
    }

    /// Counts all of the state as read.
    pub(crate) fn read_everything(&mut self) {
        if self.registration.is_some() {
            self.reads.add_everything();
        }
    }

    /// Ends cursors; what they went over counts as read.
    pub(crate) fn cursors_end(&mut self, ends: impl Fn(&Cursor) -> bool) {
        for (_, cursor) in self.cursors.extract_if(.., |_, cursor| ends(cursor)) {
            if self.registration.is_some() {
                cursor.add_to(&mut self.reads);
            }
        }
    }

    /// Looks the store key of a record up that is about to be put, without reading what was never inserted into its
    /// collection, or is known to be `new`.
    #[inline]
    pub(crate) fn record_to_put(
        &mut self,
        collection: u32,
        key: &[u8],
        new: bool,
    ) -> Result<Record, DbError> {
        let pipeline = &self.shared.pipeline;
        if self.filter.as_ref().is_none_or(|(known, _)| *known != collection) {
            self.filter = Some((collection, pipeline.absences.of(collection)));
        }
        let filter = self.filter.as_ref().and_then(|(_, filter)| filter.as_ref());
        let snapshot = &self.snapshot;
        let index = self.records.find_or_load(key, || {
            if new || filter.is_some_and(|filter| filter.excludes(pipeline.absences.hash(key))) {
                return Ok(None);
            }
            Ok(snapshot.get(key)?)
        });
        index.map(Record::Cached)
    }

    /// Index in `records` of a store key, which is remembered from now on.
    fn record_index(&mut self, key: &[u8]) -> Result<usize, DbError> {
        let snapshot = &self.snapshot;
        self.records.find_or_load(key, || Ok(snapshot.get(key)?))
    }

    /// Reads a store key that is rarely read twice: it is not remembered.
    pub(crate) fn raw_get(&mut self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        let found = if self.records.len() == 0 { None } else { self.records.find(key) };
        match found {
            Some(index) => Ok(self.records.entry(index).value.clone()),
            None => self.read_through(key),
        }
    }

    /// The value of a store key, remembered as records are.
    pub(crate) fn value_of(&mut self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        Ok(match self.record(key)? {
            Record::Cached(index) => self.records.entry(index).value.clone(),
            Record::Passing(value) => value,
        })
    }

    /// Writes a store key.
    pub(crate) fn raw_set(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), DbError> {
        self.check_writable()?;
        let index = self.record_index(key)?;
        self.set_record(index, value);
        Ok(())
    }

    pub(crate) fn set_record(&mut self, index: usize, value: Option<Bytes>) {
        if let Some(writes) = &mut self.writes {
            writes.insert(self.records.entry(index).key.clone(), value.clone());
        }
        self.records.set(index, self.epoch, value);
    }

    /// The writes of records, contracts and counters.
    pub(crate) fn pending_writes(&mut self) -> OrdMap<Bytes, Option<Bytes>> {
        let records = &self.records;
        let collect = || records.dirty().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        self.writes.get_or_insert_with(collect).clone()
    }

    /// The next number of a counter: 1, 2, and so on.
    pub(crate) fn next_number(&mut self, counter: &[u8], what: &'static str) -> Result<u32, DbError> {
        let last = match self.raw_get(counter)? {
            Some(value) => crate::keys::decode_u32(counter, &value)?,
            None => 0,
        };
        let next = last.checked_add(1).ok_or(DbError::Exhausted { what })?;
        self.raw_set(counter, Some(Bytes::copy_from_slice(&next.to_be_bytes())))?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use dotdb_memory::MemoryStore;

    use super::*;
    use crate::{Database, Mode, ValueKind};

    #[test]
    fn the_undo_log_does_not_grow_with_calls() {
        let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let call = |tx: &mut Tx| {
            let savepoint = tx.savepoint();
            tx.slot_set(contract, &[1], &[1]).unwrap();
            tx.release(savepoint).unwrap();
        };
        for _ in 0..100 {
            call(&mut tx);
        }
        tx.slot_set(contract, &[2], &[1]).unwrap();
        assert_eq!(tx.slots.mark(), 0, "without a savepoint there is nothing to go back to");
        let outer = tx.savepoint();
        for _ in 0..100 {
            call(&mut tx);
            let inner = tx.savepoint();
            tx.slot_set(contract, &[1], &[2]).unwrap();
            tx.rollback_to(inner).unwrap();
            tx.rollback_to(outer).unwrap();
            tx.slot_set(contract, &[1], &[3]).unwrap();
            tx.slot_set(contract, &[2], &[3]).unwrap();
        }
        assert_eq!(tx.slots.mark(), 2, "one for each slot since the savepoint");
    }

    #[test]
    fn reads_beyond_a_number_are_not_remembered_and_writes_are() {
        let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let records = tx.collection(contract, "r", ValueKind::Bytes).unwrap();
        let key = |i: usize| (i as u64).to_be_bytes();
        for i in 0..2 * MAX_REMEMBERED {
            tx.put(records, &key(i), &b"old"[..]).unwrap();
        }
        tx.commit(Durability::None).unwrap();

        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let records = tx.collection(contract, "r", ValueKind::Bytes).unwrap();
        for i in 0..2 * MAX_REMEMBERED {
            assert_eq!(tx.get(records, &key(i)).unwrap().unwrap(), "old");
        }
        assert_eq!(tx.records.len(), MAX_REMEMBERED);
        let [changed, gone] = [key(MAX_REMEMBERED), key(MAX_REMEMBERED + 1)];
        let savepoint = tx.savepoint();
        assert!(tx.put(records, &changed, &b"new"[..]).unwrap());
        assert!(tx.delete(records, &gone).unwrap());
        assert_eq!(tx.records.len(), MAX_REMEMBERED + 2);
        assert_eq!(tx.get(records, &changed).unwrap().unwrap(), "new");
        assert_eq!(tx.get(records, &gone).unwrap(), None);
        assert_eq!(tx.count(records).unwrap(), 2 * MAX_REMEMBERED as u64 - 1);
        tx.rollback_to(savepoint).unwrap();
        assert_eq!(tx.get(records, &changed).unwrap().unwrap(), "old");
        assert_eq!(tx.get(records, &gone).unwrap().unwrap(), "old");
        assert_eq!((tx.changed_keys(), tx.count(records).unwrap()), (0, 2 * MAX_REMEMBERED as u64));
    }

    #[test]
    fn transactions_move_between_threads() {
        fn send<T: Send>() {}
        fn share<T: Send + Sync>() {}
        send::<Tx>();
        share::<Database>();
    }
}
