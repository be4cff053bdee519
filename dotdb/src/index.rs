//! Secondary indexes of collections of documents, and their schemas.
//!
//! A definition's key is 07, collection u32, index name; its value is the index's number u32, its state u8, the
//! length u16 of the progress and the progress, and the [`IndexSpec`] as CBOR. An entry's key is 10, index u32, the
//! entry and the record's key; its value is the length of the entry, a u16 whose highest bit is set if the entry is
//! exact ([`Entry::exact`]). Entries written before there was that bit lack it: then the record has the values. A
//! schema's key is 08, collection u32.
//!
//! Entries change in the transaction that changes the record, whatever state the index is in, so that they can
//! never disagree with it. Building goes over the records that were there before, some at a time, each part a
//! transaction of its own with the progress in the definition: other transactions go on meanwhile, and an
//! interrupted build is continued where it stood.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_query::{Entry, Index, IndexRow, IndexSpec, Schema};
use dotdb_store::Direction;

use crate::collections::{CollectionId, ValueKind};
use crate::contracts::ContractId;
use crate::cursor::MergedRange;
use crate::database::{Database, Mode};
use crate::durability::Durability;
use crate::error::DbError;
use crate::keys::{
    INDEX, INDEX_ENTRY, META_INDEXES, PREFIX_BYTES, RECORD, SCHEMA, check_name, corrupt, prefix, prefix_end,
    prefixed,
};
use crate::tx::Tx;

/// Most indexes of a collection.
pub const MAX_INDEXES: usize = 64;
/// Records or entries of one step of building or dropping.
const STEP_RECORDS: usize = 1000;

/// What an index can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It has every record.
    Ready,
    /// Records that were there before it may be missing.
    Building,
    /// Its entries are being removed.
    Dropping,
}

/// An index of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexInfo {
    /// Its name, unique in the collection.
    pub name: String,
    /// What it is over.
    pub spec: IndexSpec,
    /// Whether it can be used.
    pub state: IndexState,
    pub(crate) number: u32,
    /// In building, the first key that was not looked at yet.
    progress: Bytes,
}

/// What a collection's documents must satisfy, and how they are found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definitions {
    pub(crate) indexes: Vec<IndexInfo>,
    pub(crate) schema: Option<Schema>,
    /// Those of `indexes` that are ready, as the planner takes them, and their numbers.
    pub(crate) ready: Arc<[Index]>,
    pub(crate) numbers: Arc<[u32]>,
}

impl IndexInfo {
    fn encode(&self) -> Bytes {
        let mut value = self.number.to_be_bytes().to_vec();
        value.push(match self.state {
            IndexState::Ready => 0,
            IndexState::Building => 1,
            IndexState::Dropping => 2,
        });
        // A record's key, which is shorter.
        value.extend((self.progress.len() as u16).to_be_bytes());
        value.extend_from_slice(&self.progress);
        value.extend(self.spec.to_bytes());
        value.into()
    }

    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<IndexInfo, DbError> {
        let bad = || corrupt(key, "is not the definition of an index");
        let name = key.get(PREFIX_BYTES..).and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(bad)?;
        let ([a, b, c, d, state, e, f], rest) = value.split_first_chunk::<7>().ok_or_else(bad)?;
        let progress = usize::from(u16::from_be_bytes([*e, *f]));
        let (progress, spec) = rest.split_at_checked(progress).ok_or_else(bad)?;
        Ok(IndexInfo {
            name: name.to_owned(),
            spec: IndexSpec::from_bytes(spec).map_err(|_| bad())?,
            state: match state {
                0 => IndexState::Ready,
                1 => IndexState::Building,
                2 => IndexState::Dropping,
                _ => return Err(bad()),
            },
            number: u32::from_be_bytes([*a, *b, *c, *d]),
            progress: value.slice_ref(progress),
        })
    }
}

/// The key of an entry.
pub(crate) fn entry_key(index: u32, entry: &[u8], record: &[u8]) -> Vec<u8> {
    [&prefix(INDEX_ENTRY, index)[..], entry, record].concat()
}

/// Set in the value of an exact entry's row; entries have at most [`dotdb_query::index::MAX_ENTRY_BYTES`].
const EXACT: u16 = 1 << 15;

/// The value of an entry's row.
pub(crate) fn entry_value(entry: &Entry) -> Bytes {
    let length = entry.key.len() as u16;
    Bytes::copy_from_slice(&(if entry.exact { length | EXACT } else { length }).to_be_bytes())
}

/// An entry's row in its parts.
#[inline]
pub(crate) fn split_entry<'r>(key: &'r [u8], value: &[u8]) -> Result<IndexRow<'r>, DbError> {
    let value = value.try_into().map(u16::from_be_bytes).ok();
    let parts = value.and_then(|value| {
        let (entry, record) = key.get(PREFIX_BYTES..)?.split_at_checked(usize::from(value & !EXACT))?;
        Some(IndexRow { entry, key: record, exact: value & EXACT != 0 })
    });
    parts.ok_or_else(|| corrupt(key, "is not an entry of an index"))
}

impl Tx {
    /// Indexes and schema of the collection with this number.
    pub(crate) fn definitions(&mut self, collection: u32) -> Result<Arc<Definitions>, DbError> {
        if let Some(definitions) = self.definitions.get(&collection) {
            return Ok(Arc::clone(definitions));
        }
        let of_collection = prefix(INDEX, collection);
        let from = Bound::Included(of_collection.to_vec());
        let pending = self.pending_writes();
        let rows = self.read_range(pending, from, prefix_end(&of_collection))?;
        let indexes = rows.map(|row| row.and_then(|(key, value)| IndexInfo::decode(&key, &value)));
        let indexes = indexes.collect::<Result<Vec<_>, DbError>>()?;
        let key = prefix(SCHEMA, collection);
        let schema = self.raw_get(&key)?;
        let schema =
            schema.map(|schema| Schema::from_bytes(&schema).map_err(|_| corrupt(&key, "is not a schema")));
        let ready = || indexes.iter().filter(|index| index.state == IndexState::Ready);
        let definitions = Arc::new(Definitions {
            ready: ready()
                .map(|index| Index { name: index.name.clone(), spec: index.spec.clone() })
                .collect(),
            numbers: ready().map(|index| index.number).collect(),
            schema: schema.transpose()?,
            indexes,
        });
        self.definitions.insert(collection, Arc::clone(&definitions));
        Ok(definitions)
    }

    /// Checks a document that is about to be written under a record's key, and brings the indexes to it.
    pub(crate) fn index_record(
        &mut self,
        collection: u32,
        key: &[u8],
        old: Option<&Bytes>,
        new: Option<&Bytes>,
    ) -> Result<(), DbError> {
        let definitions = self.definitions(collection)?;
        if let (Some(schema), Some(new)) = (&definitions.schema, new) {
            schema.check(new)?;
        }
        let mut removed = Vec::new();
        let mut added = Vec::new();
        for index in definitions.indexes.iter().filter(|index| index.state != IndexState::Dropping) {
            let entries = |document: Option<&Bytes>| -> Result<BTreeSet<Entry>, DbError> {
                let Some(document) = document else { return Ok(BTreeSet::new()) };
                Ok(dotdb_query::entries(&index.spec, document)?.into_iter().collect())
            };
            let (old, new) = (entries(old)?, entries(new)?);
            for entry in new.difference(&old) {
                if entry.exclusive {
                    self.check_unique(index, entry, key)?;
                }
                added.push((entry_key(index.number, &entry.key, key), entry_value(entry)));
            }
            removed.extend(old.difference(&new).map(|entry| entry_key(index.number, &entry.key, key)));
        }
        for key in removed {
            self.raw_set(&key, None)?;
        }
        for (key, value) in added {
            self.raw_set(&key, Some(value))?;
        }
        Ok(())
    }

    /// Refuses an entry that another record has.
    fn check_unique(&mut self, index: &IndexInfo, entry: &Entry, record: &[u8]) -> Result<(), DbError> {
        let with_entry = entry_key(index.number, &entry.key, &[]);
        let from = Bound::Included(with_entry.clone());
        let pending = self.pending_writes();
        let rows = self.read_range(pending, from, prefix_end(&with_entry))?;
        for row in rows {
            let (key, value) = row?;
            let other = split_entry(&key, &value)?.key;
            if other != record {
                let index = index.name.clone();
                let (record, other) = (Bytes::copy_from_slice(record), Bytes::copy_from_slice(other));
                return Err(DbError::NotUnique { index, record, other });
            }
        }
        Ok(())
    }

    /// The indexes of a collection in the order of their names.
    ///
    /// # Errors
    /// [`DbError::UnknownCollection`].
    pub fn indexes(&mut self, collection: CollectionId) -> Result<Vec<IndexInfo>, DbError> {
        let state = self.collection_state(collection)?;
        Ok(if state.has_definitions { self.definitions(state.number)?.indexes.clone() } else { Vec::new() })
    }

    /// The schema of a collection, if it has one.
    ///
    /// # Errors
    /// [`DbError::UnknownCollection`].
    pub fn schema(&mut self, collection: CollectionId) -> Result<Option<Schema>, DbError> {
        let state = self.collection_state(collection)?;
        Ok(if state.has_definitions { self.definitions(state.number)?.schema.clone() } else { None })
    }

    /// Gives a collection of documents a schema, or none. Every document must satisfy it already.
    ///
    /// # Errors
    /// [`DbError::SchemaOfRecord`] for one that does not; [`DbError::NotDocuments`].
    pub fn set_schema(&mut self, collection: CollectionId, schema: Option<&Schema>) -> Result<(), DbError> {
        let number = self.check_documents(collection)?;
        if let Some(schema) = schema {
            for row in self.records_from(number, &[])? {
                let (key, document) = row?;
                schema
                    .check(&document)
                    .map_err(|violation| DbError::SchemaOfRecord { record: key, violation })?;
            }
        }
        self.define(
            collection,
            &prefix(SCHEMA, number),
            schema.map(|schema| Bytes::copy_from_slice(schema.to_bytes())),
        )
    }

    fn check_documents(&mut self, collection: CollectionId) -> Result<u32, DbError> {
        self.check_writable()?;
        let number = self.collection_number(collection)?;
        match self.collection_state(collection)?.kind {
            ValueKind::Document => Ok(number),
            ValueKind::Bytes => Err(DbError::NotDocuments),
        }
    }

    /// Keys and values of a collection's records from a key on; all of them count as read.
    fn records_from(
        &mut self,
        number: u32,
        from: &[u8],
    ) -> Result<impl Iterator<Item = Result<(Bytes, Bytes), DbError>> + use<>, DbError> {
        let of_collection = prefix(RECORD, number);
        let from = Bound::Included(prefixed(&of_collection, from));
        let pending = self.pending_writes();
        let rows = self.read_range(pending, from, prefix_end(&of_collection))?;
        Ok(rows.map(|row| row.map(|(key, value)| (key.slice(PREFIX_BYTES..), value))))
    }

    /// Writes a definition, and whether the collection has any.
    fn define(&mut self, collection: CollectionId, key: &[u8], value: Option<Bytes>) -> Result<(), DbError> {
        self.raw_set(key, value)?;
        let mut state = self.collection_state(collection)?;
        self.definitions.remove(&state.number);
        let definitions = self.definitions(state.number)?;
        let has_definitions = definitions.schema.is_some() || !definitions.indexes.is_empty();
        if state.has_definitions != has_definitions {
            state.has_definitions = has_definitions;
            self.set_collection(collection, state);
        }
        Ok(())
    }

    fn index_named(&mut self, collection: CollectionId, name: &str) -> Result<IndexInfo, DbError> {
        let found = self.indexes(collection)?.into_iter().find(|index| index.name == name);
        found.ok_or_else(|| DbError::UnknownIndex { name: name.to_owned() })
    }

    fn define_index(
        &mut self,
        collection: CollectionId,
        number: u32,
        index: &IndexInfo,
    ) -> Result<(), DbError> {
        let key = prefixed(&prefix(INDEX, number), index.name.as_bytes());
        self.define(collection, &key, Some(index.encode()))
    }

    /// Defines an index, to be built; if it is there and the same, answers its state.
    fn begin_index(
        &mut self,
        collection: CollectionId,
        name: &str,
        spec: &IndexSpec,
    ) -> Result<IndexState, DbError> {
        check_name(name)?;
        let number = self.check_documents(collection)?;
        let indexes = self.indexes(collection)?;
        if let Some(index) = indexes.iter().find(|index| index.name == name) {
            if index.spec != *spec || index.state == IndexState::Dropping {
                let spec = index.spec.to_string();
                return Err(DbError::IndexExists { name: name.to_owned(), spec });
            }
            return Ok(index.state);
        }
        if indexes.len() >= MAX_INDEXES {
            return Err(DbError::TooManyIndexes);
        }
        let index = IndexInfo {
            name: name.to_owned(),
            spec: spec.clone(),
            state: IndexState::Building,
            number: self.next_number(META_INDEXES, "index numbers")?,
            progress: Bytes::new(),
        };
        self.define_index(collection, number, &index)?;
        Ok(IndexState::Building)
    }

    /// Adds some more records to an index that is being built. Answers how many, and whether it is ready.
    fn continue_index(
        &mut self,
        collection: CollectionId,
        name: &str,
        records: usize,
    ) -> Result<(usize, bool), DbError> {
        let number = self.check_documents(collection)?;
        let mut index = self.index_named(collection, name)?;
        if index.state != IndexState::Building {
            return Ok((0, index.state == IndexState::Ready));
        }
        let from = prefixed(&prefix(RECORD, number), &index.progress);
        let end = prefix_end(&prefix(RECORD, number));
        let mut rows = self.scan_range(Bound::Included(from), end)?;
        let mut done = 0;
        let mut next = None;
        for row in rows.by_ref() {
            let (key, document) = row?;
            let key = key.slice(PREFIX_BYTES..);
            if done == records {
                next = Some(key);
                break;
            }
            for entry in dotdb_query::entries(&index.spec, &document)? {
                if entry.exclusive {
                    self.check_unique(&index, &entry, &key)?;
                }
                self.raw_set(&entry_key(index.number, &entry.key, &key), Some(entry_value(&entry)))?;
            }
            done += 1;
        }
        self.end_scan(&rows);
        let ready = next.is_none();
        if ready {
            index.state = IndexState::Ready;
        }
        index.progress = next.unwrap_or_default();
        self.define_index(collection, number, &index)?;
        Ok((done, ready))
    }

    /// Removes some entries of an index. Answers whether all of it is gone.
    fn continue_drop(
        &mut self,
        collection: CollectionId,
        name: &str,
        entries: usize,
    ) -> Result<bool, DbError> {
        let number = self.check_documents(collection)?;
        let mut index = match self.index_named(collection, name) {
            Err(DbError::UnknownIndex { .. }) => return Ok(true),
            index => index?,
        };
        if index.state != IndexState::Dropping {
            index.state = IndexState::Dropping;
            self.define_index(collection, number, &index)?;
        }
        let of_index = prefix(INDEX_ENTRY, index.number);
        let mut rows = self.scan_range(Bound::Included(of_index.to_vec()), prefix_end(&of_index))?;
        let keys = rows.by_ref().take(entries).map(|row| row.map(|(key, _)| key));
        let keys = keys.collect::<Result<Vec<_>, DbError>>()?;
        self.end_scan(&rows);
        let gone = keys.len() < entries;
        for key in keys {
            self.raw_set(&key, None)?;
        }
        if gone {
            let key = prefixed(&prefix(INDEX, number), name.as_bytes());
            self.define(collection, &key, None)?;
        }
        Ok(gone)
    }

    /// Compares a collection's indexes with its records, both ways, and its count with their number. Tells `found` of
    /// each difference, in a sentence.
    ///
    /// # Errors
    /// Those of the store.
    pub fn check_collection(
        &mut self,
        collection: CollectionId,
        mut found: impl FnMut(String),
    ) -> Result<(), DbError> {
        let count = self.count(collection)?;
        let number = self.collection_number(collection)?;
        let indexes = self.indexes(collection)?;
        let schema = self.schema(collection)?;
        let mut expected = vec![0u64; indexes.len()];
        let mut records = 0u64;
        for row in self.records_from(number, &[])? {
            let (key, document) = row?;
            records += 1;
            let shown = crate::show_key(&key);
            if let Some(schema) = &schema
                && let Err(violation) = schema.check(&document)
            {
                found(format!("the record {shown} breaks the schema: {violation}"));
            }
            for (index, expected) in indexes.iter().zip(&mut expected) {
                let entries = match dotdb_query::entries(&index.spec, &document) {
                    Ok(entries) => entries,
                    Err(error) => {
                        found(format!(
                            "the record {shown} has no place in the index {:?}: {error}",
                            index.name
                        ));
                        continue;
                    }
                };
                for entry in entries {
                    let row = self.raw_get(&entry_key(index.number, &entry.key, &key))?;
                    *expected += u64::from(row.is_some());
                    if index.state == IndexState::Ready && row.is_none() {
                        found(format!("the index {:?} lacks an entry of the record {shown}", index.name));
                    }
                }
            }
        }
        if records != count {
            found(format!("the collection has {records} records and counts {count}"));
        }
        for (index, expected) in indexes.iter().zip(expected) {
            let of_index = prefix(INDEX_ENTRY, index.number);
            let pending = self.pending_writes();
            let rows = self.read_range(pending, Bound::Included(of_index.to_vec()), prefix_end(&of_index))?;
            let mut entries = 0u64;
            for row in rows {
                let (key, value) = row?;
                split_entry(&key, &value)?;
                entries += 1;
            }
            if index.state != IndexState::Dropping && entries != expected {
                let more = entries.saturating_sub(expected);
                found(format!("the index {:?} has {more} entries that belong to no record", index.name));
            }
        }
        Ok(())
    }

    /// Rows between two store keys, of which only what is looked at counts as read: see `end_scan`.
    fn scan_range(&mut self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Result<MergedRange, DbError> {
        let pending = self.pending_writes();
        Ok(MergedRange::new(&*self.snapshot, pending, from, to, Direction::Forward)?)
    }

    fn end_scan(&mut self, rows: &MergedRange) {
        if let Some((from, to)) = rows.seen().filter(|_| !self.read_only()) {
            self.reads.add_range(from, to);
        }
    }
}

impl Database {
    /// Makes an index over a collection of documents and builds it, a thousand records at a time, while other
    /// transactions go on. Continues one of the same name and kind that was interrupted. `progress` is told how many
    /// records were added since it was last called.
    ///
    /// # Errors
    /// [`DbError::IndexExists`] for another of that name; [`DbError::NotUnique`] if two records have what no two may
    /// have, and then the index is dropped again; [`DbError::IndexEntry`]; [`DbError::NotDocuments`].
    pub fn create_index(
        &self,
        contract: ContractId,
        collection: &str,
        name: &str,
        spec: &IndexSpec,
        mut progress: impl FnMut(usize),
    ) -> Result<(), DbError> {
        let state = self.retrying(Durability::Sync, |tx| {
            let collection = tx.collection(contract, collection, ValueKind::Document)?;
            tx.begin_index(collection, name, spec)
        })?;
        let mut ready = state == IndexState::Ready;
        while !ready {
            let step = self.retrying(Durability::None, |tx| {
                let collection = tx.collection(contract, collection, ValueKind::Document)?;
                tx.continue_index(collection, name, STEP_RECORDS)
            });
            let records;
            (records, ready) = match step {
                Err(error @ (DbError::NotUnique { .. } | DbError::IndexEntry(_))) => {
                    self.drop_index(contract, collection, name)?;
                    return Err(error);
                }
                step => step?,
            };
            progress(records);
        }
        self.sync()
    }

    /// Drops an index; continues where a drop was interrupted.
    ///
    /// # Errors
    /// [`DbError::UnknownIndex`].
    pub fn drop_index(&self, contract: ContractId, collection: &str, name: &str) -> Result<(), DbError> {
        self.retrying(Durability::Sync, |tx| {
            let collection = tx.collection(contract, collection, ValueKind::Document)?;
            tx.index_named(collection, name).map(drop)
        })?;
        while !self.retrying(Durability::None, |tx| {
            let collection = tx.collection(contract, collection, ValueKind::Document)?;
            tx.continue_drop(collection, name, STEP_RECORDS)
        })? {}
        self.sync()
    }

    /// Runs a transaction until it does not conflict with another, and commits it.
    ///
    /// # Errors
    /// Those of `work` and of [`Tx::commit`], but for conflicts.
    pub fn retrying<T>(
        &self,
        durability: Durability,
        mut work: impl FnMut(&mut Tx) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        loop {
            let mut tx = self.begin(Mode::ReadWrite)?;
            let answer = work(&mut tx)?;
            match tx.commit(durability) {
                Err(error) if error.is_conflict() => std::thread::yield_now(),
                committed => return committed.map(|_| answer),
            }
        }
    }
}
