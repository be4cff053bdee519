//! The machine's host over a transaction of DotDB.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use dotdb::query::{Query, Value};
use dotdb::{
    CollectionId, ContractId, CursorId, Database, DbError, Direction, Durability, MAX_KEY_BYTES, Mode,
    QueryOptions, Touch, Tx, ValueKind,
};
use dotvm_arch::{W512, Word};
use dotvm_core::env::Env;
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{Host, HostError, HostResult, SlotValue};
use dotvm_core::module::{Collection, CollectionKind};
use dotvm_core::trap::TrapKind;

use crate::execute::Place;
use crate::past::Past;
use crate::scratch::Scratch;

/// Most savepoints set at a time in one transaction.
pub const MAX_SAVEPOINTS: usize = 1 << 16;
/// Most scratch slots in one transaction.
pub const MAX_SCRATCH_SLOTS: usize = 1 << 20;
/// Most bytes of topics and data of the events of one execution; each event counts 64 more.
pub const MAX_EVENT_BYTES: u64 = 256 << 20;
/// Most bytes of keys and values that one transaction may hold back until it commits; each write counts 64 more.
pub const MAX_PENDING_BYTES: u64 = 1 << 30;

/// What an event or a write occupies beyond its bytes, roughly.
const ENTRY_BYTES: u64 = 64;

/// An event that a program recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Topics, zero-extended words.
    pub topics: Vec<W512>,
    /// Data.
    pub data: Bytes,
}

/// A [`Host`] over DotDB: the state of one contract, in one transaction at a time.
///
/// Reads of absent keys and ends of cursors are charged like rows. After TX_COMMIT or TX_ABORT no transaction is
/// open and every operation on state traps until the next TX_BEGIN.
pub struct TxHost<'a> {
    database: &'a Database,
    durability: Durability,
    contract_name: &'a str,
    collections: &'a [Collection],
    env: Env,
    open: Option<OpenTx>,
    /// Events of the transactions that were committed.
    events: Vec<Event>,
    /// Cursors of the transactions that are closed, by which the open one's are numbered on.
    cursors_before: u64,
    changed_keys: u64,
    /// The program has committed a transaction that changed something.
    has_committed: bool,
    failure: Option<DbError>,
    /// The versions read last.
    past: Past,
}

/// The open transaction and what is undone with it.
pub(crate) struct OpenTx {
    pub(crate) tx: Tx,
    pub(crate) contract: ContractId,
    /// Parallel to the module's collections.
    collections: Vec<(CollectionId, CollectionKind)>,
    /// Keys that linking itself has changed.
    linked_keys: usize,
    /// Greatest cursor number given.
    last_cursor: u64,
    /// Cursors of queries; numbers of closed ones may be among them.
    queries: BTreeSet<CursorId>,
    events: Vec<Event>,
    event_bytes: u64,
    scratch: Scratch,
    /// Ascending by id.
    marks: Vec<Mark>,
    pending: Pending,
}

/// What a savepoint stands for besides DotDB's part.
struct Mark {
    id: u64,
    events: usize,
    event_bytes: u64,
    scratch: usize,
}

impl<'a> TxHost<'a> {
    /// Links a contract's state: takes an open transaction, gives the contract a number if it has none, and opens
    /// (in a read-write transaction creates) the collections.
    ///
    /// # Errors
    /// [`DbError::Name`]; [`DbError::CollectionKind`] if a collection keeps the other kind of value.
    pub fn link(
        database: &'a Database,
        tx: Tx,
        contract_name: &'a str,
        collections: &'a [Collection],
        env: Env,
        durability: Durability,
    ) -> Result<TxHost<'a>, DbError> {
        let place = Place { name: contract_name, contract: None };
        TxHost::link_at(database, tx, place, collections, env, durability)
    }

    /// [`TxHost::link`], for a contract that may have been looked up in the transaction.
    pub(crate) fn link_at(
        database: &'a Database,
        tx: Tx,
        place: Place<'a>,
        collections: &'a [Collection],
        env: Env,
        durability: Durability,
    ) -> Result<TxHost<'a>, DbError> {
        let open = OpenTx::link(tx, place, collections)?;
        Ok(TxHost {
            database,
            durability,
            contract_name: place.name,
            collections,
            env,
            open: Some(open),
            events: Vec::new(),
            cursors_before: 0,
            changed_keys: 0,
            has_committed: false,
            failure: None,
            past: Past::default(),
        })
    }

    /// Ends the execution: commits the open transaction, or with `keep` = false undoes it. Answers the events of
    /// all committed transactions and the number of keys that those changed.
    ///
    /// # Errors
    /// What the store answered when it failed, now or in an operation before, and then the open transaction is
    /// undone.
    pub fn finish(mut self, keep: bool) -> Result<(Vec<Event>, u64), DbError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if let Some(open) = self.open.take().filter(|_| keep) {
            self.commit(open)?;
        }
        Ok((self.events, self.changed_keys))
    }

    /// Whether a transaction of the execution is in the state already.
    pub(crate) fn has_committed(&self) -> bool {
        self.has_committed
    }

    fn commit(&mut self, open: OpenTx) -> Result<(), DbError> {
        let changed = open.changed_keys();
        // What linking made is of no use to anybody unless the program has written.
        if changed > 0 {
            open.tx.commit(self.durability)?;
            self.changed_keys += changed;
            self.has_committed = true;
        }
        self.events.extend(open.events);
        Ok(())
    }

    #[inline]
    fn open(&mut self) -> HostResult<&mut OpenTx> {
        self.open.as_mut().ok_or_else(no_transaction)
    }

    /// Remembers a failure of the store, whose trap is not the program's doing.
    #[cold]
    fn trap(&mut self, error: DbError) -> HostError {
        let kind = match &error {
            DbError::ReadOnly => TrapKind::ReadOnly,
            DbError::UnknownCursor { .. } => TrapKind::Index,
            DbError::UnknownSavepoint { .. } => TrapKind::Tx,
            _ => TrapKind::Db,
        };
        let sentence = error.to_string();
        if error.store_error().is_some() {
            self.failure.get_or_insert(error);
        }
        HostError::Trap(kind, sentence)
    }

    /// Turns an operation's result into the host's.
    #[inline]
    fn answer<T>(&mut self, result: Result<T, Refusal>) -> HostResult<T> {
        match result {
            Ok(answer) => Ok(answer),
            Err(Refusal::Host(error)) => Err(error),
            Err(Refusal::Db(error)) => Err(self.trap(error)),
        }
    }
}

/// Why an operation did not happen, before it is told to the machine.
pub(crate) enum Refusal {
    Host(HostError),
    Db(DbError),
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Refusal {
        Refusal::Db(error)
    }
}

impl From<gas::OutOfGas> for Refusal {
    fn from(_: gas::OutOfGas) -> Refusal {
        Refusal::Host(HostError::OutOfGas)
    }
}

pub(crate) fn refuse<T>(kind: TrapKind, sentence: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Host(HostError::Trap(kind, sentence.into())))
}

#[cold]
fn no_transaction() -> HostError {
    HostError::Trap(TrapKind::Tx, "no transaction is open".to_owned())
}

fn slot_value(bytes: &[u8]) -> Result<SlotValue, Refusal> {
    match SlotValue::new(bytes) {
        Some(value) => Ok(value),
        None => refuse(TrapKind::Overflow, "the slot holds more than 512 bits"),
    }
}

/// What the writes of a transaction hold back until it commits.
#[derive(Default)]
struct Pending {
    bytes: u64,
}

impl Pending {
    /// Counts a write, or refuses it. While a savepoint is set (`undoable`) the value replaced is kept too.
    #[inline]
    fn hold(&mut self, first: bool, undoable: bool, bytes: usize, replaced: usize) -> Result<(), Refusal> {
        let mut total = self.bytes + bytes as u64;
        if first || undoable {
            total += ENTRY_BYTES;
        } else {
            total = total.saturating_sub(replaced as u64);
        }
        if total > MAX_PENDING_BYTES {
            let sentence = format!("the transaction's changes exceed the limit of {MAX_PENDING_BYTES} bytes");
            return refuse(TrapKind::Db, sentence);
        }
        self.bytes = total;
        Ok(())
    }
}

impl OpenTx {
    pub(crate) fn link(mut tx: Tx, place: Place<'_>, collections: &[Collection]) -> Result<OpenTx, DbError> {
        let contract = match place.contract {
            Some(contract) => contract,
            // Numbers start at 1: contract 0 has no state, as befits one that does not exist.
            None if tx.read_only() => tx.find_contract(place.name)?.map_or(ContractId(0), |(id, _)| id),
            None => tx.contract_id(place.name)?,
        };
        let collections = collections
            .iter()
            .map(|collection| {
                let kind = match collection.kind {
                    CollectionKind::Bytes => ValueKind::Bytes,
                    CollectionKind::Document => ValueKind::Document,
                };
                Ok((tx.collection(contract, &collection.name, kind)?, collection.kind))
            })
            .collect::<Result<Vec<_>, DbError>>()?;
        Ok(OpenTx {
            linked_keys: tx.changed_keys(),
            tx,
            contract,
            collections,
            last_cursor: 0,
            queries: BTreeSet::new(),
            events: Vec::new(),
            event_bytes: 0,
            scratch: Scratch::default(),
            marks: Vec::new(),
            pending: Pending::default(),
        })
    }

    /// Keys that the program has changed.
    pub(crate) fn changed_keys(&self) -> u64 {
        self.tx.changed_keys().saturating_sub(self.linked_keys) as u64
    }

    #[inline]
    fn check_writable(&self) -> Result<(), Refusal> {
        if self.tx.read_only() { Err(DbError::ReadOnly.into()) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn collection(&self, coll: u32) -> Result<CollectionId, Refusal> {
        match self.collections.get(coll as usize) {
            Some(&(id, _)) => Ok(id),
            None => refuse(TrapKind::Index, format!("the module has no collection {coll}")),
        }
    }

    fn slot_load(&mut self, key: &[u8], gas: &mut Gas) -> Result<SlotValue, Refusal> {
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(entry.touch() == Touch::First, (key.len() + entry.bytes()) as u64))?;
        slot_value(entry.read())
    }

    /// [`OpenTx::slot_load`] that costs the same however often the slot is read.
    fn slot_load_untouched(&mut self, key: &[u8], gas: &mut Gas) -> Result<SlotValue, Refusal> {
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(true, (key.len() + entry.bytes()) as u64))?;
        slot_value(entry.read())
    }

    fn slot_store(&mut self, key: &[u8], value: &[u8], gas: &mut Gas) -> Result<(), Refusal> {
        self.check_writable()?;
        let entry = self.tx.slot_entry(self.contract, key)?;
        let (first, replaced) = (entry.touch() == Touch::First, entry.bytes());
        gas.charge(gas::slot(first, (key.len() + value.len()) as u64))?;
        self.pending.hold(first, !self.marks.is_empty(), value.len(), replaced)?;
        Ok(entry.store(value)?)
    }

    fn slot_delete(&mut self, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(entry.touch() == Touch::First, key.len() as u64))?;
        Ok(entry.delete()?)
    }

    fn slot_exists(&mut self, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(entry.touch() == Touch::First, key.len() as u64))?;
        Ok(!entry.read().is_empty())
    }

    fn scratch_store(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.check_writable()?;
        let Some(value) = SlotValue::new(value) else {
            return refuse(TrapKind::Overflow, "the value has more than 512 bits");
        };
        if !self.scratch.store(key, value, !self.marks.is_empty()) {
            return refuse(
                TrapKind::OutOfMemory,
                format!("the transaction holds {MAX_SCRATCH_SLOTS} scratch slots or changes to them"),
            );
        }
        Ok(())
    }

    pub(crate) fn db_get(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> Result<Option<Bytes>, Refusal> {
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        gas.charge(gas::database(1, (key.len() + entry.bytes()) as u64))?;
        Ok(entry.read())
    }

    fn db_put(&mut self, coll: u32, key: &[u8], doc: &Bytes, gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        let (first, replaced) = (!entry.written(), entry.bytes());
        gas.charge(gas::database(1, (key.len() + doc.len()) as u64))?;
        self.pending.hold(first, !self.marks.is_empty(), doc.len(), replaced)?;
        Ok(entry.put(doc.clone())?)
    }

    fn db_delete(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        gas.charge(gas::database(1, key.len() as u64))?;
        Ok(entry.delete()?)
    }

    fn db_exists(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        gas.charge(gas::database(1, key.len() as u64))?;
        Ok(entry.read().is_some())
    }

    fn db_insert(&mut self, coll: u32, doc: &Bytes, gas: &mut Gas) -> Result<Bytes, Refusal> {
        self.check_writable()?;
        let collection = self.collection(coll)?;
        gas.charge(gas::database(1, (INSERT_KEY_BYTES + doc.len()) as u64))?;
        self.pending.hold(true, true, doc.len(), 0)?;
        Ok(self.tx.insert(collection, doc.clone())?)
    }

    fn db_patch(&mut self, coll: u32, key: &[u8], patch: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        let collection = self.collection(coll)?;
        if self.collections[coll as usize].1 != CollectionKind::Document {
            return refuse(
                TrapKind::Db,
                "the collection keeps byte strings, and only documents can be patched",
            );
        }
        let entry = self.tx.record_entry(collection, key)?;
        let (first, replaced) = (!entry.written(), entry.bytes());
        gas.charge(gas::database(1, (key.len() + replaced + patch.len()) as u64))?;
        dotdb::document::validate(patch).map_err(DbError::Document)?;
        let Some(old) = entry.read() else { return Ok(false) };
        let merged = dotdb::document::merge_patch(&old, patch).map_err(DbError::Document)?;
        self.pending.hold(first, !self.marks.is_empty(), merged.len(), replaced)?;
        self.tx.put(collection, key, merged)?;
        Ok(true)
    }

    fn db_count(&mut self, coll: u32, gas: &mut Gas) -> Result<u64, Refusal> {
        let collection = self.collection(coll)?;
        gas.charge(gas::database(1, 0))?;
        Ok(self.tx.count(collection)?)
    }

    fn db_scan(
        &mut self,
        coll: u32,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        descending: bool,
        gas: &mut Gas,
    ) -> Result<u64, Refusal> {
        let collection = self.collection(coll)?;
        // Before the charge, as with every operand.
        if let Some(key) = [from, to].into_iter().flatten().find(|key| key.len() > MAX_KEY_BYTES) {
            let what = "key of the range";
            return Err(DbError::TooLarge { what, bytes: key.len(), limit: MAX_KEY_BYTES }.into());
        }
        let bytes = from.map_or(0, <[u8]>::len) + to.map_or(0, <[u8]>::len);
        gas.charge(gas::database(0, bytes as u64))?;
        let direction = if descending { Direction::Backward } else { Direction::Forward };
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let CursorId(cursor) = self.tx.scan(collection, from, to, direction)?;
        self.last_cursor = cursor;
        Ok(cursor)
    }

    /// Opens a query's cursor.
    fn open_query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> Result<CursorId, Refusal> {
        let collection = self.collection(coll)?;
        gas.charge(gas::database(0, (plan.len() + arguments.map_or(0, <[u8]>::len)) as u64))?;
        let query = Query::from_bytes(plan).map_err(DbError::from)?;
        let arguments = match arguments {
            Some(arguments) => Value::list_from_document(arguments).map_err(DbError::from)?,
            None => Vec::new(),
        };
        let (cursor, planning) = self.tx.query(collection, &query, &arguments, &QueryOptions::default())?;
        self.last_cursor = cursor.0;
        gas.charge(gas::database(planning.rows, planning.bytes))?;
        Ok(cursor)
    }

    fn db_query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> Result<u64, Refusal> {
        let cursor = self.open_query(coll, plan, arguments, gas)?;
        self.queries.insert(cursor);
        Ok(cursor.0)
    }

    fn db_query_count(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> Result<u64, Refusal> {
        let cursor = self.open_query(coll, plan, arguments, gas)?;
        let mut count = 0;
        loop {
            self.work(cursor, gas)?;
            if self.tx.cursor_entry(cursor)?.take().is_none() {
                break;
            }
            count += 1;
        }
        self.tx.close(cursor)?;
        Ok(count)
    }

    /// Works, and charges for what it takes, until a query's next row or its end is known.
    fn work(&mut self, cursor: CursorId, gas: &mut Gas) -> Result<(), Refusal> {
        loop {
            let work = self.tx.cursor_work(cursor)?;
            gas.charge(gas::database(work.rows, work.bytes))?;
            if work.done {
                return Ok(());
            }
        }
    }

    fn db_next(&mut self, cursor: CursorId, gas: &mut Gas) -> Result<Option<(Bytes, Bytes)>, Refusal> {
        if self.queries.contains(&cursor) {
            self.work(cursor, gas)?;
        }
        let entry = self.tx.cursor_entry(cursor)?;
        gas.charge(gas::database(1, entry.bytes() as u64))?;
        Ok(entry.take())
    }

    fn savepoint(&mut self) -> Result<u64, Refusal> {
        if self.marks.len() >= MAX_SAVEPOINTS {
            return refuse(TrapKind::Tx, format!("{MAX_SAVEPOINTS} savepoints are set, which is the limit"));
        }
        let id = self.tx.savepoint();
        self.marks.push(Mark {
            id,
            events: self.events.len(),
            event_bytes: self.event_bytes,
            scratch: self.scratch.mark(),
        });
        Ok(id)
    }

    fn rollback(&mut self, savepoint: u64) -> Result<(), Refusal> {
        self.tx.rollback_to(savepoint)?;
        let Ok(place) = self.marks.binary_search_by_key(&savepoint, |mark| mark.id) else {
            return Err(DbError::UnknownSavepoint { id: savepoint }.into());
        };
        let mark = &self.marks[place];
        self.events.truncate(mark.events);
        self.event_bytes = mark.event_bytes;
        self.scratch.rollback(mark.scratch);
        self.marks.truncate(place + 1);
        Ok(())
    }

    fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> Result<(), Refusal> {
        self.check_writable()?;
        let topic_bytes: usize = topics.iter().map(|topic| topic.as_bytes().len()).sum();
        let bytes = (topic_bytes + data.len()) as u64;
        gas.charge(gas::event(topics.len() as u64, bytes))?;
        let total = self.event_bytes + bytes + ENTRY_BYTES;
        if total > MAX_EVENT_BYTES {
            let sentence = format!("the execution's events exceed the limit of {MAX_EVENT_BYTES} bytes");
            return refuse(TrapKind::OutOfMemory, sentence);
        }
        // A topic has at most 64 bytes.
        let topics =
            topics.iter().filter_map(|topic| <W512 as Word>::from_be_slice(topic.as_bytes())).collect();
        self.events.push(Event { topics, data: data.clone() });
        self.event_bytes = total;
        Ok(())
    }
}

/// Length of the keys that DB_INSERT gives.
const INSERT_KEY_BYTES: usize = 8;

/// Forwards an operation to the open transaction.
macro_rules! with_open {
    ($host:ident.$operation:ident($($argument:expr),*)) => {{
        let result = $host.open()?.$operation($($argument),*);
        $host.answer(result)
    }};
}

impl Host for TxHost<'_> {
    fn env(&self) -> &Env {
        &self.env
    }

    fn slot_load(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<SlotValue> {
        with_open!(self.slot_load(key, gas))
    }

    fn slot_store(&mut self, key: &[u8], value: &[u8], gas: &mut Gas) -> HostResult<()> {
        with_open!(self.slot_store(key, value, gas))
    }

    fn slot_delete(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        with_open!(self.slot_delete(key, gas))
    }

    fn slot_exists(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        with_open!(self.slot_exists(key, gas))
    }

    fn scratch_load(&mut self, key: &[u8]) -> HostResult<SlotValue> {
        Ok(self.open()?.scratch.load(key))
    }

    fn scratch_store(&mut self, key: &[u8], value: &[u8]) -> HostResult<()> {
        with_open!(self.scratch_store(key, value))
    }

    fn db_get(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<Option<Bytes>> {
        with_open!(self.db_get(coll, key, gas))
    }

    fn db_put(&mut self, coll: u32, key: &[u8], doc: &Bytes, gas: &mut Gas) -> HostResult<bool> {
        with_open!(self.db_put(coll, key, doc, gas))
    }

    fn db_delete(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        with_open!(self.db_delete(coll, key, gas))
    }

    fn db_exists(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        with_open!(self.db_exists(coll, key, gas))
    }

    fn db_insert(&mut self, coll: u32, doc: &Bytes, gas: &mut Gas) -> HostResult<Bytes> {
        with_open!(self.db_insert(coll, doc, gas))
    }

    fn db_patch(&mut self, coll: u32, key: &[u8], patch: &[u8], gas: &mut Gas) -> HostResult<bool> {
        with_open!(self.db_patch(coll, key, patch, gas))
    }

    fn db_get_at(&mut self, coll: u32, version: u64, key: &[u8], gas: &mut Gas) -> HostResult<Option<Bytes>> {
        let result = self.past(version).and_then(|past| past.db_get(coll, key, gas));
        self.answer(result)
    }

    fn db_count(&mut self, coll: u32, gas: &mut Gas) -> HostResult<u64> {
        with_open!(self.db_count(coll, gas))
    }

    fn db_scan(
        &mut self,
        coll: u32,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        descending: bool,
        gas: &mut Gas,
    ) -> HostResult<u64> {
        let before = self.cursors_before;
        with_open!(self.db_scan(coll, from, to, descending, gas)).map(|cursor| before + cursor)
    }

    fn db_query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<u64> {
        let before = self.cursors_before;
        with_open!(self.db_query(coll, plan, arguments, gas)).map(|cursor| before + cursor)
    }

    fn db_query_count(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<u64> {
        with_open!(self.db_query_count(coll, plan, arguments, gas))
    }

    fn db_next(&mut self, cursor: u64, gas: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>> {
        let id = self.cursor(cursor)?;
        with_open!(self.db_next(id, gas))
    }

    fn db_close(&mut self, cursor: u64) -> HostResult<()> {
        let id = self.cursor(cursor)?;
        let open = self.open()?;
        open.queries.remove(&id);
        let result = open.tx.close(id).map_err(Refusal::Db);
        self.answer(result)
    }

    fn slot_load_at(&mut self, version: u64, key: &[u8], gas: &mut Gas) -> HostResult<SlotValue> {
        let result = self.past(version).and_then(|past| past.slot_load_untouched(key, gas));
        self.answer(result)
    }

    fn state_root(&mut self, gas: &mut Gas) -> HostResult<Bytes> {
        with_open!(self.state_root(gas))
    }

    fn state_prove(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<Bytes> {
        with_open!(self.state_prove(key, gas))
    }

    fn db_prove(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<Bytes> {
        with_open!(self.db_prove(coll, key, gas))
    }

    fn state_verify(
        &mut self,
        key: &[u8],
        value: &[u8],
        root: &[u8],
        proof: &[u8],
        gas: &mut Gas,
    ) -> HostResult<bool> {
        let contract = self.open()?.contract;
        let result = crate::proof::verify(contract, key, value, root, proof, gas);
        self.answer(result)
    }

    fn tx_begin(&mut self, read_only: bool) -> HostResult<()> {
        if self.open.is_some() {
            return Err(HostError::Trap(TrapKind::Tx, "a transaction is already open".to_owned()));
        }
        let mode = if read_only { Mode::ReadOnly } else { Mode::ReadWrite };
        let tx = self.database.begin(mode);
        // An earlier transaction's number may never have been committed.
        let place = Place { name: self.contract_name, contract: None };
        match tx.and_then(|tx| OpenTx::link(tx, place, self.collections)) {
            Ok(open) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => Err(self.trap(error)),
        }
    }

    fn tx_commit(&mut self, gas: &mut Gas) -> HostResult<bool> {
        let changed = self.open()?.changed_keys();
        gas.charge(gas::commit(changed))?;
        let Some(open) = self.close() else { return Err(no_transaction()) };
        match self.commit(open) {
            Ok(()) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(self.trap(error)),
        }
    }

    fn tx_abort(&mut self) -> HostResult<()> {
        self.close().map(drop).ok_or_else(no_transaction)
    }

    fn savepoint(&mut self) -> HostResult<u64> {
        with_open!(self.savepoint())
    }

    fn rollback(&mut self, savepoint: u64) -> HostResult<()> {
        with_open!(self.rollback(savepoint))
    }

    fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> HostResult<()> {
        with_open!(self.emit(topics, data, gas))
    }
}

impl TxHost<'_> {
    /// The contract's state as of a version up to that which the open transaction began at.
    fn past(&mut self, version: u64) -> Result<&mut OpenTx, Refusal> {
        let Some(open) = &self.open else { return Err(Refusal::Host(no_transaction())) };
        let last = open.tx.version()?;
        if version > last {
            return Err(DbError::FutureVersion { version, last }.into());
        }
        self.past.at(version, || {
            let tx = self.database.begin_at(version)?;
            OpenTx::link(tx, Place { name: self.contract_name, contract: None }, self.collections)
        })
    }

    /// The open transaction's cursor that the program knows by this number.
    fn cursor(&mut self, cursor: u64) -> HostResult<CursorId> {
        let before = self.cursors_before;
        self.open()?;
        match cursor.checked_sub(before).filter(|&id| id > 0) {
            Some(id) => Ok(CursorId(id)),
            None => {
                let error = DbError::UnknownCursor { id: cursor };
                Err(HostError::Trap(TrapKind::Index, error.to_string()))
            }
        }
    }

    /// Takes the open transaction out; its cursors are closed and their numbers used up.
    fn close(&mut self) -> Option<OpenTx> {
        let open = self.open.take()?;
        self.cursors_before += open.last_cursor;
        Some(open)
    }
}
