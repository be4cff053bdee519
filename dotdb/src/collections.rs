//! Collections: ordered records of a contract.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;

use crate::contracts::ContractId;
use crate::counters::{self, Counters, Merge, count_key, counters_key, greatest_key};
use crate::error::DbError;
use crate::keys::{
    COLLECTION, MAX_KEY_BYTES, MAX_VALUE_BYTES, META_COLLECTIONS, PREFIX_BYTES, RECORD, check_len,
    check_name, corrupt, prefix, prefix_end, prefixed,
};
use crate::tx::{Record, Tx};
use dotdb_document as document;

/// Handle of a collection in the transaction that opened it: 0, 1 and so on in the order of opening.
/// It stays good after a rollback that undoes the collection's creation: the next use of the handle
/// creates it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u32);

/// What a collection's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Any bytes.
    Bytes,
    /// Documents: deterministic CBOR as [`document::validate`] accepts it.
    Document,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueKind::Bytes => "byte strings",
            ValueKind::Document => "documents",
        })
    }
}

/// A collection as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionInfo {
    /// The contract it belongs to.
    pub contract: ContractId,
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ValueKind,
    /// Number of records.
    pub count: u64,
}

/// What a transaction knows of a collection, but for its counters.
#[derive(Clone, Copy)]
pub(crate) struct CollectionState {
    /// 0 if it does not exist. No record has number 0, so reading it finds nothing.
    pub(crate) number: u32,
    pub(crate) kind: ValueKind,
    /// Whether it has indexes or a schema.
    pub(crate) has_definitions: bool,
}

impl CollectionState {
    /// As it is stored; `None` for a collection that does not exist.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let kind = match self.kind {
            ValueKind::Bytes => 0,
            ValueKind::Document => 1,
        };
        let [a, b, c, d] = self.number.to_be_bytes();
        (self.number != 0)
            .then(|| Bytes::copy_from_slice(&[a, b, c, d, kind, u8::from(self.has_definitions)]))
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<CollectionState, DbError> {
        let [a, b, c, d, kind, has_definitions] =
            value.try_into().map_err(|_| corrupt(key, "is not a collection"))?;
        let number = u32::from_be_bytes([a, b, c, d]);
        if number == 0 {
            return Err(corrupt(key, "is a collection without a number"));
        }
        let kind = match kind {
            0 => ValueKind::Bytes,
            1 => ValueKind::Document,
            _ => return Err(corrupt(key, "has an unknown kind of collection")),
        };
        let has_definitions = match has_definitions {
            0 => false,
            1 => true,
            _ => return Err(corrupt(key, "is not a collection")),
        };
        Ok(CollectionState { number, kind, has_definitions })
    }
}

/// One record, looked up: what an access costs, then the access.
pub struct RecordEntry<'tx> {
    /// Its `scratch` holds the record's store key.
    tx: &'tx mut Tx,
    collection: CollectionId,
    record: Record,
}

impl RecordEntry<'_> {
    #[inline]
    fn value(&self) -> Option<&Bytes> {
        match &self.record {
            Record::Cached(index) => self.tx.records.entry(*index).value.as_ref(),
            Record::Passing(value) => value.as_ref(),
        }
    }

    /// Whether the transaction has written the record, and not undone that. Changes nothing.
    #[inline]
    pub fn written(&self) -> bool {
        match self.record {
            Record::Cached(index) => self.tx.records.entry(index).dirty,
            Record::Passing(_) => false,
        }
    }

    /// Whether the record exists. Changes nothing.
    #[inline]
    pub fn exists(&self) -> bool {
        self.value().is_some()
    }

    /// Bytes of the value it holds, 0 if it does not exist. Changes nothing.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.value().map_or(0, Bytes::len)
    }

    /// The value, shared and not copied.
    #[inline]
    pub fn read(self) -> Option<Bytes> {
        match self.record {
            Record::Cached(index) => self.tx.records.entry(index).value.clone(),
            Record::Passing(value) => value,
        }
    }

    /// Inserts or replaces the record and tells whether it replaced.
    ///
    /// # Errors
    /// [`DbError::ReadOnly`]; [`DbError::TooLarge`] over [`MAX_VALUE_BYTES`]; [`DbError::Document`].
    pub fn put(mut self, value: impl Into<Bytes>) -> Result<bool, DbError> {
        let value = value.into();
        self.tx.check_writable()?;
        let state = self.tx.collection_state(self.collection)?;
        check_value(state.kind, &value)?;
        let replaced = self.exists();
        if state.has_definitions {
            self.reindex(state.number, Some(&value))?;
        }
        let RecordEntry { tx, record, .. } = self;
        tx.set_found(record, Some(value))?;
        if !replaced {
            // Keys of 8 bytes move the insertion counter past themselves, so that an insertion never meets an
            // existing record nor reuses a key.
            let key = tx.scratch.get(PREFIX_BYTES..).and_then(|key| key.try_into().ok());
            tx.count_records(state.number, 1, key.map_or(0, u64::from_be_bytes))?;
        }
        Ok(replaced)
    }

    /// Removes the record and tells whether it existed.
    pub fn delete(mut self) -> Result<bool, DbError> {
        self.tx.check_writable()?;
        if !self.exists() {
            return Ok(false);
        }
        let state = self.tx.collection_state(self.collection)?;
        if state.has_definitions {
            self.reindex(state.number, None)?;
        }
        let RecordEntry { tx, record, .. } = self;
        tx.set_found(record, None)?;
        tx.count_records(state.number, -1, 0)?;
        Ok(true)
    }
}

impl RecordEntry<'_> {
    /// Checks what the record is about to hold against its collection's schema and indexes, and brings those to it.
    #[cold]
    fn reindex(&mut self, collection: u32, new: Option<&Bytes>) -> Result<(), DbError> {
        let store_key = std::mem::take(&mut self.tx.scratch);
        let old = self.value().cloned();
        let result = self.tx.index_record(collection, &store_key[PREFIX_BYTES..], old.as_ref(), new);
        self.tx.scratch = store_key;
        result
    }
}

fn check_value(kind: ValueKind, value: &[u8]) -> Result<(), DbError> {
    check_len("value", value.len(), MAX_VALUE_BYTES)?;
    match kind {
        ValueKind::Bytes => Ok(()),
        ValueKind::Document => Ok(document::validate(value)?),
    }
}

impl Tx {
    /// Opens a collection of a contract. In a read-write transaction it is created if it is new; in
    /// a read-only one it is then empty.
    ///
    /// # Errors
    /// [`DbError::Name`]; [`DbError::CollectionKind`] if it keeps the other kind of value.
    pub fn collection(
        &mut self,
        contract: ContractId,
        name: &str,
        kind: ValueKind,
    ) -> Result<CollectionId, DbError> {
        check_name(name)?;
        let key = prefixed(&prefix(COLLECTION, contract.0), name.as_bytes());
        let snapshot = &self.snapshot;
        let index = self.collections.find_or_load(&key, || match snapshot.get(&key)? {
            Some(value) => CollectionState::decode(&key, &value),
            None => Ok(CollectionState { number: 0, kind, has_definitions: false }),
        })?;
        let found = self.collections.entry(index).value.kind;
        if found != kind {
            return Err(DbError::CollectionKind { name: name.to_owned(), found, wanted: kind });
        }
        let id = CollectionId(index as u32); // The cache holds no more entries than that.
        self.collection_number(id)?;
        Ok(id)
    }

    /// The kind of a contract's collection, `None` if it does not exist. Creates nothing.
    pub fn collection_kind(
        &mut self,
        contract: ContractId,
        name: &str,
    ) -> Result<Option<ValueKind>, DbError> {
        check_name(name)?;
        let key = prefixed(&prefix(COLLECTION, contract.0), name.as_bytes());
        if let Some(index) = self.collections.find(&key) {
            let state = self.collections.entry(index).value;
            return Ok((state.number != 0).then_some(state.kind));
        }
        let value = self.read_through(&key)?;
        value.map(|value| Ok(CollectionState::decode(&key, &value)?.kind)).transpose()
    }

    /// All collections in the order of contract and name.
    pub fn collections(&mut self) -> Result<Vec<CollectionInfo>, DbError> {
        let pending: OrdMap<Bytes, Option<Bytes>> =
            self.collections.dirty().map(|entry| (entry.key.clone(), entry.value.encode())).collect();
        let from = Bound::Included(vec![COLLECTION]);
        let rows = self.read_range(pending, from, prefix_end(&[COLLECTION]))?;
        rows.map(|row| {
            let (key, value) = row?;
            let state = CollectionState::decode(&key, &value)?;
            let [_, a, b, c, d, name @ ..] = &key[..] else {
                return Err(corrupt(&key, "has no collection name in its key"));
            };
            Ok(CollectionInfo {
                contract: ContractId(u32::from_be_bytes([*a, *b, *c, *d])),
                name: String::from_utf8_lossy(name).into_owned(),
                kind: state.kind,
                count: self.count_of(state.number)?,
            })
        })
        .collect()
    }

    /// Looks a record up.
    ///
    /// # Errors
    /// [`DbError::UnknownCollection`]; [`DbError::TooLarge`] for a key over [`MAX_KEY_BYTES`].
    #[inline]
    pub fn record_entry(&mut self, collection: CollectionId, key: &[u8]) -> Result<RecordEntry<'_>, DbError> {
        check_len("key", key.len(), MAX_KEY_BYTES)?;
        let number = self.collection_number(collection)?;
        let mut encoded = std::mem::take(&mut self.scratch);
        encoded.clear();
        encoded.extend_from_slice(&prefix(RECORD, number));
        encoded.extend_from_slice(key);
        let record = self.record(&encoded);
        self.scratch = encoded;
        Ok(RecordEntry { record: record?, tx: self, collection })
    }

    /// The value of a record.
    pub fn get(&mut self, collection: CollectionId, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        Ok(self.record_entry(collection, key)?.read())
    }

    /// Whether a record exists.
    pub fn exists(&mut self, collection: CollectionId, key: &[u8]) -> Result<bool, DbError> {
        Ok(self.record_entry(collection, key)?.read().is_some())
    }

    /// Inserts or replaces a record and tells whether it replaced.
    pub fn put(
        &mut self,
        collection: CollectionId,
        key: &[u8],
        value: impl Into<Bytes>,
    ) -> Result<bool, DbError> {
        self.entry_to_put(collection, key, false)?.put(value)
    }

    fn entry_to_put(
        &mut self,
        collection: CollectionId,
        key: &[u8],
        new: bool,
    ) -> Result<RecordEntry<'_>, DbError> {
        check_len("key", key.len(), MAX_KEY_BYTES)?;
        let number = self.collection_number(collection)?;
        let mut encoded = std::mem::take(&mut self.scratch);
        encoded.clear();
        encoded.extend_from_slice(&prefix(RECORD, number));
        encoded.extend_from_slice(key);
        let record = self.record_to_put(number, &encoded, new);
        self.scratch = encoded;
        Ok(RecordEntry { record: record?, tx: self, collection })
    }

    /// Removes a record and tells whether it existed.
    pub fn delete(&mut self, collection: CollectionId, key: &[u8]) -> Result<bool, DbError> {
        self.record_entry(collection, key)?.delete()
    }

    /// Adds a record under a new key, which it gives: 8 bytes, a big-endian number. Numbers start at
    /// 1, are greater than every 8-byte key the collection ever held, and are never given twice by
    /// committed transactions. Charge it as a first access: the key is not known before.
    pub fn insert(&mut self, collection: CollectionId, value: impl Into<Bytes>) -> Result<Bytes, DbError> {
        self.check_writable()?;
        let number = self.collection_number(collection)?;
        let key = greatest_key(number);
        let committed = counters::decode(&key, self.value_of(&key)?.as_ref())?;
        let greatest = committed.max(self.pending_counters(number).greatest);
        let next = greatest.checked_add(1);
        let key = next.ok_or(DbError::Exhausted { what: "insertion keys of the collection" })?.to_be_bytes();
        // No record has it, and that none has is what was read of the counter.
        self.entry_to_put(collection, &key, true)?.put(value)?;
        Ok(Bytes::copy_from_slice(&key))
    }

    /// Number of records of a collection; takes the same time at any size.
    pub fn count(&mut self, collection: CollectionId) -> Result<u64, DbError> {
        let state = self.collection_state(collection)?;
        self.count_of(state.number)
    }

    fn count_of(&mut self, number: u32) -> Result<u64, DbError> {
        let key = count_key(number);
        let committed = counters::decode(&key, self.value_of(&key)?.as_ref())?;
        Merge::Add(self.pending_counters(number).added).apply(&key, committed)
    }

    pub(crate) fn pending_counters(&self, number: u32) -> Counters {
        let place = self.counters.find(&counters_key(number));
        place.map_or(Counters::default(), |index| self.counters.entry(index).value)
    }

    /// Counts records added or removed, and the greatest 8-byte key put.
    fn count_records(&mut self, number: u32, added: i64, greatest: u64) -> Result<(), DbError> {
        let index = self.counters.find_or_load(&counters_key(number), || Ok(Counters::default()))?;
        let before = self.counters.entry(index).value;
        let after = Counters { added: before.added + added, greatest: before.greatest.max(greatest) };
        self.counters.set(index, self.epoch, after);
        Ok(())
    }

    #[inline]
    pub(crate) fn collection_state(&self, collection: CollectionId) -> Result<CollectionState, DbError> {
        match self.collections.get(collection.0 as usize) {
            Some(entry) => Ok(entry.value),
            None => Err(DbError::UnknownCollection { handle: collection.0 }),
        }
    }

    /// Writes the record whose store key `scratch` holds.
    fn set_found(&mut self, record: Record, value: Option<Bytes>) -> Result<(), DbError> {
        let index = match record {
            Record::Cached(index) => index,
            Record::Passing(old) => self.records.find_or_load(&self.scratch, || Ok(old))?,
        };
        self.set_record(index, value);
        Ok(())
    }

    pub(crate) fn set_collection(&mut self, collection: CollectionId, state: CollectionState) {
        self.collections.set(collection.0 as usize, self.epoch, state);
    }

    /// The number under which a collection's records are kept. Creates the collection if it does
    /// not exist and the transaction may write.
    #[inline]
    pub(crate) fn collection_number(&mut self, collection: CollectionId) -> Result<u32, DbError> {
        let state = self.collection_state(collection)?;
        if state.number != 0 || self.read_only() {
            return Ok(state.number);
        }
        self.create_collection(collection, state)
    }

    #[cold]
    fn create_collection(
        &mut self,
        collection: CollectionId,
        mut state: CollectionState,
    ) -> Result<u32, DbError> {
        state.number = self.next_number(META_COLLECTIONS, "collection numbers")?;
        self.set_collection(collection, state);
        Ok(state.number)
    }
}
