//! A transaction: a snapshot, what was read from it, what is to be written, and savepoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{Batch, Durability, Snapshot, Store};
use imbl::OrdMap;

use crate::cache::Cache;
use crate::collections::CollectionState;
use crate::cursor::Cursor;
use crate::database::WriterGuard;
use crate::error::DbError;
use crate::slots::SlotValue;

/// A transaction. Dropping it rolls it back.
///
/// Reads see the transaction's own writes. Slots and collections used stay cached until the end, and
/// so does every record written; of the records only read, the first few thousand do.
pub struct Tx {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    /// `None` if the transaction is read-only.
    pub(crate) writer: Option<WriterGuard>,
    pub(crate) slots: Cache<SlotValue>,
    pub(crate) collections: Cache<CollectionState>,
    /// Everything else: records, contracts, code, counters.
    pub(crate) records: Cache<Option<Bytes>>,
    /// The dirty entries of `records` in key order.
    pub(crate) writes: OrdMap<Bytes, Option<Bytes>>,
    pub(crate) cursors: BTreeMap<u64, Cursor>,
    pub(crate) last_cursor: u64,
    /// Key under construction.
    pub(crate) scratch: Vec<u8>,
    /// Ids strictly increase.
    savepoints: Vec<Savepoint>,
    pub(crate) last_savepoint: u64,
    /// Id of the innermost savepoint, 0 if none is set.
    pub(crate) epoch: u64,
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

struct Savepoint {
    id: u64,
    slots: usize,
    collections: usize,
    records: usize,
}

impl Tx {
    pub(crate) fn new(store: Arc<dyn Store>, snapshot: Arc<dyn Snapshot>, writer: Option<WriterGuard>) -> Tx {
        Tx {
            store,
            snapshot,
            writer,
            slots: Cache::new(),
            collections: Cache::new(),
            records: Cache::new(),
            writes: OrdMap::new(),
            cursors: BTreeMap::new(),
            last_cursor: 0,
            scratch: Vec::new(),
            savepoints: Vec::new(),
            last_savepoint: 0,
            epoch: 0,
        }
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.writer.is_none()
    }

    #[inline]
    pub(crate) fn check_writable(&self) -> Result<(), DbError> {
        if self.writer.is_some() { Ok(()) } else { Err(DbError::ReadOnly) }
    }

    /// Number of store keys that a commit would write now, by which a commit is priced.
    pub fn changed_keys(&self) -> usize {
        self.slots.dirty_len() + self.collections.dirty_len() + self.writes.len()
    }

    /// Makes the transaction's writes part of the state, as durably as asked before it returns.
    ///
    /// # Errors
    /// The store's, and then nothing of the transaction is in the state.
    pub fn commit(self, durability: Durability) -> Result<(), DbError> {
        let Tx { store, snapshot, writer, slots, collections, writes, cursors, .. } = self;
        // Nodes that a snapshot still shares would be copied instead of changed.
        drop((snapshot, cursors));
        let mut batch = Vec::with_capacity(slots.dirty_len() + collections.dirty_len() + writes.len());
        batch.extend(slots.into_dirty().map(|(key, value)| (key, value.encode())));
        batch.extend(collections.into_dirty().map(|(key, value)| (key, value.encode())));
        batch.extend(writes);
        let batch = Batch::from(batch);
        if !batch.is_empty() {
            store.apply(&batch, durability)?;
        }
        drop(writer);
        Ok(())
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
        self.records.rollback(savepoint.records, |entry| {
            if entry.dirty {
                writes.insert(entry.key.clone(), entry.value.clone());
            } else {
                writes.remove(&entry.key);
            }
        });
        self.slots.rollback(savepoint.slots, |_| ());
        self.collections.rollback(savepoint.collections, |_| ());
        self.cursors.retain(|_, cursor| cursor.opened_after < id);
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
            None => Ok(Record::Passing(self.snapshot.get(key)?)),
        }
    }

    /// Index in `records` of a store key, which is remembered from now on.
    fn record_index(&mut self, key: &[u8]) -> Result<usize, DbError> {
        let snapshot = &self.snapshot;
        self.records.find_or_load(key, || Ok(snapshot.get(key)?))
    }

    /// Reads a store key that is rarely read twice: it is not remembered.
    pub(crate) fn raw_get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        let found = if self.records.len() == 0 { None } else { self.records.find(key) };
        match found {
            Some(index) => Ok(self.records.entry(index).value.clone()),
            None => Ok(self.snapshot.get(key)?),
        }
    }

    /// Writes a store key.
    pub(crate) fn raw_set(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), DbError> {
        self.check_writable()?;
        let index = self.record_index(key)?;
        self.set_record(index, value);
        Ok(())
    }

    pub(crate) fn set_record(&mut self, index: usize, value: Option<Bytes>) {
        self.records.set(index, self.epoch, value.clone());
        self.writes.insert(self.records.entry(index).key.clone(), value);
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
