//! The open transaction of an execution: the operations on it, and what is undone with it.

mod files;
mod saved;

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use dotdb::query::{Query, Value};
use dotdb::{
    CodeHash, CollectionId, ContractId, CursorId, DbError, Direction, MAX_KEY_BYTES, QueryOptions, Touch, Tx,
    ValueKind,
};
use dotvm_arch::{W512, Word};
use dotvm_core::create;
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{HostError, SlotValue};
use dotvm_core::module::{Collection, CollectionKind};
use dotvm_core::trap::TrapKind;

use crate::execute::Place;
use crate::host::Event;
use crate::scratch::Scratch;
pub(crate) use files::Files;

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

/// The open transaction and what is undone with it.
pub(crate) struct OpenTx {
    pub(crate) tx: Tx,
    pub(crate) contract: ContractId,
    /// Parallel to the module's collections.
    collections: Vec<(CollectionId, CollectionKind)>,
    /// The contract call that runs.
    frame: Frame,
    /// Where files are kept, if the module calls for any.
    files: Option<Files>,
    /// Keys that linking itself has changed.
    linked_keys: usize,
    /// Greatest cursor number given.
    pub(crate) last_cursor: u64,
    /// Cursors of queries; numbers of closed ones may be among them.
    pub(crate) queries: BTreeSet<CursorId>,
    /// The step of a query's cursor that was taken and could not be paid, and its cost: it is paid before the next one.
    owed: Option<(CursorId, u64)>,
    pub(crate) events: Vec<Event>,
    event_bytes: u64,
    pub(crate) scratch: Scratch,
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
    linked_keys: usize,
}

/// What a called contract may not reach of its caller's transaction.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// Writes trap.
    is_static: bool,
    /// Savepoints up to this one are the callers'; this one is where the call began.
    savepoint: u64,
    /// Cursors up to this one are the callers'.
    cursor: u64,
}

/// What a call goes back to.
pub(crate) struct Outer {
    contract: ContractId,
    collections: Vec<(CollectionId, CollectionKind)>,
    files: Option<Files>,
    frame: Frame,
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

/// A contract that a program has made of code.
pub(crate) struct Created {
    pub(crate) name: String,
    pub(crate) contract: ContractId,
    pub(crate) hash: CodeHash,
    /// Whether it was not there before.
    pub(crate) is_new: bool,
}

impl OpenTx {
    pub(crate) fn link(mut tx: Tx, place: Place<'_>, collections: &[Collection]) -> Result<OpenTx, DbError> {
        let contract = match place.contract {
            Some(contract) => contract,
            // Numbers start at 1: contract 0 has no state, as befits one that does not exist.
            None if tx.read_only() => tx.find_contract(place.name)?.map_or(ContractId(0), |(id, _)| id),
            None => tx.contract_id(place.name)?,
        };
        let collections = link_collections(&mut tx, contract, collections)?;
        let files = place.has_files.then(|| Files::open(&mut tx, contract)).transpose()?;
        Ok(OpenTx {
            files,
            linked_keys: tx.changed_keys(),
            tx,
            contract,
            collections,
            frame: Frame::default(),
            last_cursor: 0,
            owed: None,
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
        if self.tx.read_only() || self.frame.is_static { Err(DbError::ReadOnly.into()) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn collection(&self, coll: u32) -> Result<CollectionId, Refusal> {
        match self.collections.get(coll as usize) {
            Some(&(id, _)) => Ok(id),
            None => refuse(TrapKind::Index, format!("the module has no collection {coll}")),
        }
    }

    pub(crate) fn slot_load(&mut self, key: &[u8], gas: &mut Gas) -> Result<SlotValue, Refusal> {
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(entry.touch() == Touch::First, (key.len() + entry.bytes()) as u64))?;
        slot_value(entry.read())
    }

    /// [`OpenTx::slot_load`] that costs the same however often the slot is read.
    pub(crate) fn slot_load_untouched(&mut self, key: &[u8], gas: &mut Gas) -> Result<SlotValue, Refusal> {
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(true, (key.len() + entry.bytes()) as u64))?;
        slot_value(entry.read())
    }

    pub(crate) fn slot_store(&mut self, key: &[u8], value: &[u8], gas: &mut Gas) -> Result<(), Refusal> {
        self.check_writable()?;
        let entry = self.tx.slot_entry(self.contract, key)?;
        let (first, replaced) = (entry.touch() == Touch::First, entry.bytes());
        gas.charge(gas::slot(first, (key.len() + value.len()) as u64))?;
        self.pending.hold(first, !self.marks.is_empty(), value.len(), replaced)?;
        Ok(entry.store(value)?)
    }

    pub(crate) fn slot_delete(&mut self, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(entry.touch() == Touch::First, key.len() as u64))?;
        Ok(entry.delete()?)
    }

    pub(crate) fn slot_exists(&mut self, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        let entry = self.tx.slot_entry(self.contract, key)?;
        gas.charge(gas::slot(entry.touch() == Touch::First, key.len() as u64))?;
        Ok(!entry.read().is_empty())
    }

    pub(crate) fn scratch_store(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
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

    pub(crate) fn db_put(
        &mut self,
        coll: u32,
        key: &[u8],
        doc: &Bytes,
        gas: &mut Gas,
    ) -> Result<bool, Refusal> {
        self.check_writable()?;
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        let (first, replaced) = (!entry.written(), entry.bytes());
        gas.charge(gas::database(1, (key.len() + doc.len()) as u64))?;
        self.pending.hold(first, !self.marks.is_empty(), doc.len(), replaced)?;
        Ok(entry.put(doc.clone())?)
    }

    pub(crate) fn db_delete(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        gas.charge(gas::database(1, key.len() as u64))?;
        Ok(entry.delete()?)
    }

    pub(crate) fn db_exists(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        let entry = self.tx.record_entry(self.collection(coll)?, key)?;
        gas.charge(gas::database(1, key.len() as u64))?;
        Ok(entry.read().is_some())
    }

    pub(crate) fn db_insert(&mut self, coll: u32, doc: &Bytes, gas: &mut Gas) -> Result<Bytes, Refusal> {
        self.check_writable()?;
        let collection = self.collection(coll)?;
        gas.charge(gas::database(1, (INSERT_KEY_BYTES + doc.len()) as u64))?;
        self.pending.hold(true, true, doc.len(), 0)?;
        Ok(self.tx.insert(collection, doc.clone())?)
    }

    pub(crate) fn db_patch(
        &mut self,
        coll: u32,
        key: &[u8],
        patch: &[u8],
        gas: &mut Gas,
    ) -> Result<bool, Refusal> {
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

    pub(crate) fn db_count(&mut self, coll: u32, gas: &mut Gas) -> Result<u64, Refusal> {
        let collection = self.collection(coll)?;
        gas.charge(gas::database(1, 0))?;
        Ok(self.tx.count(collection)?)
    }

    pub(crate) fn db_scan(
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
    pub(crate) fn open_query(
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
        if gas.charge(gas::database(planning.rows, planning.bytes)).is_err() {
            return Err(self.withdraw(cursor));
        }
        self.last_cursor = cursor.0;
        Ok(cursor)
    }

    /// Takes a cursor back that an operation has opened which cannot be paid: it is begun again, as if it had not begun.
    fn withdraw(&mut self, cursor: CursorId) -> Refusal {
        match self.tx.withdraw(cursor) {
            Ok(()) => Refusal::Host(HostError::OutOfGas),
            Err(error) => error.into(),
        }
    }

    pub(crate) fn db_query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> Result<u64, Refusal> {
        let before = *gas;
        let cursor =
            self.open_query(coll, plan, arguments, gas).inspect_err(|why| unspend(why, gas, before))?;
        self.queries.insert(cursor);
        Ok(cursor.0)
    }

    pub(crate) fn db_query_count(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> Result<u64, Refusal> {
        let before = *gas;
        let counted = self.count_rows(coll, plan, arguments, gas);
        counted.inspect_err(|why| unspend(why, gas, before))
    }

    fn count_rows(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> Result<u64, Refusal> {
        let given = self.last_cursor;
        let cursor = self.open_query(coll, plan, arguments, gas)?;
        let mut count = 0;
        loop {
            match self.work(cursor, gas) {
                Err(Refusal::Host(HostError::OutOfGas)) => {
                    self.last_cursor = given;
                    return Err(self.withdraw(cursor));
                }
                worked => worked?,
            }
            if self.tx.cursor_entry(cursor)?.take().is_none() {
                break;
            }
            count += 1;
        }
        self.tx.close(cursor)?;
        Ok(count)
    }

    /// Works, and charges for what it takes, until a query's next row or its end is known.
    pub(crate) fn work(&mut self, cursor: CursorId, gas: &mut Gas) -> Result<(), Refusal> {
        if let Some((_, cost)) = self.owed.filter(|&(of, _)| of == cursor) {
            gas.charge(cost)?;
        }
        self.owed = None;
        loop {
            let work = self.tx.cursor_work(cursor)?;
            let cost = gas::database(work.rows, work.bytes);
            if gas.charge(cost).is_err() {
                self.owed = Some((cursor, cost));
                return Err(Refusal::Host(HostError::OutOfGas));
            }
            if work.done {
                return Ok(());
            }
        }
    }

    pub(crate) fn db_next(
        &mut self,
        cursor: CursorId,
        gas: &mut Gas,
    ) -> Result<Option<(Bytes, Bytes)>, Refusal> {
        if self.queries.contains(&cursor) {
            self.work(cursor, gas)?;
        }
        let entry = self.tx.cursor_entry(cursor)?;
        gas.charge(gas::database(1, entry.bytes() as u64))?;
        Ok(entry.take())
    }

    pub(crate) fn savepoint(&mut self) -> Result<u64, Refusal> {
        if self.marks.len() >= MAX_SAVEPOINTS {
            return refuse(TrapKind::Tx, format!("{MAX_SAVEPOINTS} savepoints are set, which is the limit"));
        }
        let id = self.tx.savepoint();
        self.marks.push(Mark {
            id,
            events: self.events.len(),
            event_bytes: self.event_bytes,
            scratch: self.scratch.mark(),
            linked_keys: self.linked_keys,
        });
        Ok(id)
    }

    pub(crate) fn rollback(&mut self, savepoint: u64) -> Result<(), Refusal> {
        if savepoint <= self.frame.savepoint {
            return Err(DbError::UnknownSavepoint { id: savepoint }.into());
        }
        self.roll_back_to(savepoint)
    }

    fn roll_back_to(&mut self, savepoint: u64) -> Result<(), Refusal> {
        self.tx.rollback_to(savepoint)?;
        let Ok(place) = self.marks.binary_search_by_key(&savepoint, |mark| mark.id) else {
            return Err(DbError::UnknownSavepoint { id: savepoint }.into());
        };
        let mark = &self.marks[place];
        self.events.truncate(mark.events);
        self.event_bytes = mark.event_bytes;
        self.scratch.rollback(mark.scratch);
        self.linked_keys = mark.linked_keys;
        self.marks.truncate(place + 1);
        Ok(())
    }

    /// Whether writes trap.
    pub(crate) fn is_static(&self) -> bool {
        self.check_writable().is_err()
    }

    /// Whether a cursor is one of the contract that runs, not of its callers.
    pub(crate) fn owns_cursor(&self, CursorId(cursor): CursorId) -> bool {
        cursor > self.frame.cursor
    }

    /// Begins a contract call: from here on the operations are those of another contract, or of the same one with other
    /// code. Nothing is changed if it cannot be linked.
    pub(crate) fn enter(
        &mut self,
        contract: ContractId,
        collections: &[Collection],
        has_files: bool,
        is_static: bool,
    ) -> Result<Outer, Refusal> {
        let is_static = is_static || self.is_static();
        let savepoint = self.savepoint()?;
        let before = self.tx.changed_keys();
        let linked = link_collections(&mut self.tx, contract, collections).and_then(|linked| {
            let files = has_files.then(|| Files::open(&mut self.tx, contract)).transpose()?;
            Ok((linked, files))
        });
        let (linked, files) = match linked {
            Ok(linked) => linked,
            Err(error) => {
                self.roll_back_to(savepoint)?;
                self.release(savepoint)?;
                return Err(error.into());
            }
        };
        self.linked_keys += self.tx.changed_keys().saturating_sub(before);
        self.scratch.switch(self.contract.0, contract.0);
        Ok(Outer {
            contract: std::mem::replace(&mut self.contract, contract),
            collections: std::mem::replace(&mut self.collections, linked),
            files: std::mem::replace(&mut self.files, files),
            frame: std::mem::replace(
                &mut self.frame,
                Frame { is_static, savepoint, cursor: self.last_cursor },
            ),
        })
    }

    /// Ends a contract call, whose changes are kept or undone. Its cursors are closed and its savepoints gone.
    pub(crate) fn leave(&mut self, outer: Outer, keep: bool) -> Result<(), Refusal> {
        let Frame { savepoint, cursor, .. } = self.frame;
        if !keep {
            self.roll_back_to(savepoint)?;
        }
        for id in (cursor + 1..=self.last_cursor).map(CursorId) {
            match self.tx.close(id) {
                Ok(()) | Err(DbError::UnknownCursor { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.queries.remove(&id);
        }
        self.release(savepoint)?;
        self.scratch.switch(self.contract.0, outer.contract.0);
        self.contract = outer.contract;
        self.collections = outer.collections;
        self.files = outer.files;
        self.frame = outer.frame;
        Ok(())
    }

    /// Forgets a savepoint and those set after it.
    fn release(&mut self, savepoint: u64) -> Result<(), Refusal> {
        self.tx.release(savepoint)?;
        let place = self.marks.partition_point(|mark| mark.id < savepoint);
        self.marks.truncate(place);
        Ok(())
    }

    /// Makes a contract of code, unless it is there; `None` if that cannot be.
    pub(crate) fn create_contract(
        &mut self,
        creator: &str,
        salt: &[u8],
        code: &Bytes,
        gas: &mut Gas,
    ) -> Result<Option<Created>, Refusal> {
        self.check_writable()?;
        gas.charge(gas::create(code.len() as u64))?;
        let Some(hash) = create::accepted(code) else { return Ok(None) };
        let name = create::name(creator, salt, &hash);
        match self.tx.find_contract(&name)? {
            Some((contract, Some(found))) if found == hash => {
                return Ok(Some(Created { name, contract, hash, is_new: false }));
            }
            Some((_, Some(_))) => return Ok(None),
            _ => {}
        }
        self.pending.hold(true, true, code.len(), 0)?;
        if self.tx.code(&hash)?.is_none() {
            self.tx.put_code(hash, code.clone())?;
        }
        let contract = self.tx.bind(&name, hash)?;
        Ok(Some(Created { name, contract, hash, is_new: true }))
    }

    pub(crate) fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> Result<(), Refusal> {
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

/// Opens (in a read-write transaction creates) a contract's collections.
/// Gives back what an operation has spent that cannot be paid and is begun again.
fn unspend(why: &Refusal, gas: &mut Gas, before: Gas) {
    if matches!(why, Refusal::Host(HostError::OutOfGas)) {
        *gas = before;
    }
}

fn link_collections(
    tx: &mut Tx,
    contract: ContractId,
    collections: &[Collection],
) -> Result<Vec<(CollectionId, CollectionKind)>, DbError> {
    let mut link = |collection: &Collection| {
        let kind = match collection.kind {
            CollectionKind::Bytes => ValueKind::Bytes,
            CollectionKind::Document => ValueKind::Document,
        };
        Ok((tx.collection(contract, &collection.name, kind)?, collection.kind))
    };
    collections.iter().map(&mut link).collect()
}
