//! A complete host in memory: plain maps, undone by cloning, equal when everything they hold is equal.

mod commitment;
mod query;
mod system;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use dotvm_arch::W512;
use dotvm_core::call::{CallAnswer, CallRequest, CallStatus, entry_invocation};
use dotvm_core::capability::Capability;
use dotvm_core::create;
use dotvm_core::env::{Env, RandomStream};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{Host, HostError, HostResult, SlotValue};
use dotvm_core::host_call::{Answer, HostCall};
use dotvm_core::limits::Limits;
use dotvm_core::module::{Collection, CollectionKind};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::Verified;

use crate::outside::Script;

/// The number of the contract, as the first one of a database.
const CONTRACT_NUMBER: u64 = 1;

/// Longest key of a document, in bytes; longer ones trap Db.
pub const MAX_KEY_BYTES: usize = 1024;

/// An event as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Topics, big-endian without leading zeros.
    pub topics: Vec<Vec<u8>>,
    /// Data.
    pub data: Bytes,
}

/// What transactions change and rollbacks restore.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// Slots; none holds zero.
    pub slots: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Documents by collection and key.
    pub documents: BTreeMap<u32, BTreeMap<Vec<u8>, Bytes>>,
    /// The greatest key of 8 bytes that each collection ever held, as a number.
    pub counters: BTreeMap<u32, u64>,
    /// Files by path.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Blocks of files that are kept.
    pub blocks: BTreeSet<(Vec<u8>, u64)>,
    /// Events, in order.
    pub events: Vec<Event>,
    /// Contracts that this one has created, with their code's hashes by their names.
    pub created: BTreeMap<String, [u8; 32]>,
    /// Whether the contract and its collections are there: made by the first transaction that writes.
    pub is_linked: bool,
}

/// A slot or a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A slot.
    Slot(Vec<u8>),
    /// A document.
    Document(u32, Vec<u8>),
    /// The counters of a collection.
    Counters(u32),
    /// The size of a file.
    FileSize(Vec<u8>),
    /// A block of a file.
    FileBlock(Vec<u8>, u64),
    /// The number of files.
    Files,
    /// The number of blocks.
    FileBlocks,
}

/// What a savepoint brings back.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// The state.
    pub state: State,
    /// Scratch slots.
    pub scratch: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Slots whose first touch is paid.
    pub touched: BTreeSet<Vec<u8>>,
    /// Places written.
    pub changed: BTreeSet<Place>,
}

/// A step of a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A query examines something that costs so much.
    Work(u64),
    /// A key and a document.
    Row(Bytes, Bytes),
    /// The query cannot go on.
    Failed(String),
}

/// A cursor over what was there when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Steps still to come.
    steps: VecDeque<Step>,
    /// The savepoint set last when it was opened: rolling back to that or an earlier one closes it.
    opened_after: u64,
}

/// An open transaction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Whether writes trap.
    pub read_only: bool,
    /// What is visible now.
    pub now: Mark,
    /// Savepoints by number; those set after one that was rolled back to are gone.
    pub savepoints: BTreeMap<u64, Mark>,
    /// The number given last.
    pub last_savepoint: u64,
    /// Open cursors.
    pub cursors: BTreeMap<u64, Cursor>,
    /// Open files: path and position.
    pub open_files: BTreeMap<u64, (Vec<u8>, u64)>,
}

/// The host. A transaction is open at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MockHost {
    /// What ENV reads.
    pub env: Env,
    /// Where RANDOM reads.
    pub random: RandomStream,
    /// The module's collections. Where none are given, every collection takes what both kinds do.
    pub collections: Vec<Collection>,
    /// The committed state.
    pub committed: State,
    /// The states committed before, each at its version.
    pub versions: Vec<Arc<State>>,
    /// The open transaction.
    pub transaction: Option<Transaction>,
    /// Every `conflict_every`-th commit reports a conflict; 0 = none.
    pub conflict_every: u64,
    /// Commits so far, conflicts included.
    pub commits: u64,
    /// Cursors opened so far.
    pub cursors_opened: u64,
    /// Files opened so far.
    pub files_opened: u64,
    /// The outside.
    pub outside: Script,
    /// Capabilities given up, in order.
    pub dropped: Vec<Capability>,
    /// Calls so far, failed ones included: two runs that ask differently differ here.
    pub calls: u64,
    /// The contract's code, if it can be called from itself.
    pub code: Option<Code>,
    /// Limits of the contract that runs.
    pub limits: Limits,
    /// The contract call that runs.
    pub frame: Frame,
    /// Where it is, each commit is stopped before once: whether the next one was.
    pub commit_stops: Option<bool>,
}

/// A contract's code.
#[derive(Clone, Debug)]
pub struct Code(pub Arc<Verified>);

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Code {}

/// What a called contract may not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Frame {
    /// How many calls around it.
    pub depth: u32,
    /// Writes trap.
    pub is_static: bool,
    /// Savepoints up to here are the caller's.
    pub savepoint: u64,
    /// Cursors up to here are the caller's.
    pub cursor: u64,
}

fn trap<T>(kind: TrapKind, detail: &str) -> HostResult<T> {
    Err(HostError::Trap(kind, detail.to_owned()))
}

fn slot_value(bytes: &[u8]) -> HostResult<SlotValue> {
    SlotValue::new(bytes).ok_or_else(|| HostError::Trap(TrapKind::Size, "a slot holds 64 bytes".to_owned()))
}

fn check_key(key: &[u8]) -> HostResult<()> {
    if key.len() > MAX_KEY_BYTES { trap(TrapKind::Db, "the key is too long") } else { Ok(()) }
}

impl MockHost {
    /// A host with an open transaction on an empty state.
    pub fn new(env: Env) -> MockHost {
        MockHost::with_state(env, State::default())
    }

    /// A host with an open transaction on a state.
    pub fn with_state(env: Env, committed: State) -> MockHost {
        let mut host = MockHost {
            env,
            random: RandomStream::default(),
            collections: Vec::new(),
            committed,
            versions: Vec::new(),
            transaction: None,
            conflict_every: 0,
            commits: 0,
            cursors_opened: 0,
            files_opened: 0,
            outside: Script::default(),
            dropped: Vec::new(),
            calls: 0,
            code: None,
            limits: Limits::default(),
            frame: Frame::default(),
            commit_stops: None,
        };
        host.transaction = Some(host.begin(false));
        host
    }

    fn begin(&self, read_only: bool) -> Transaction {
        let mut state = self.committed.clone();
        state.is_linked |= !read_only;
        Transaction { read_only, now: Mark { state, ..Mark::default() }, ..Transaction::default() }
    }

    /// Makes a transaction's state the committed one: a new version, if it has changed anything.
    pub fn commit(&mut self, transaction: Transaction) {
        let Mark { state, changed, .. } = transaction.now;
        if changed.is_empty() {
            self.committed.events = state.events;
        } else {
            self.versions.push(Arc::new(std::mem::replace(&mut self.committed, state)));
        }
    }

    /// The state as of a version up to that which the open transaction began at.
    fn state_at(&mut self, version: u64) -> HostResult<&State> {
        self.open()?;
        let version = usize::try_from(version).unwrap_or(usize::MAX);
        match self.versions.get(version) {
            Some(state) => Ok(state),
            None if version == self.versions.len() => Ok(&self.committed),
            None => trap(TrapKind::Db, "there is no such version"),
        }
    }

    fn check_documents(&self, coll: u32) -> HostResult<()> {
        match self.collections.get(coll as usize) {
            Some(Collection { kind: CollectionKind::Bytes, .. }) => {
                trap(TrapKind::Db, "the collection keeps byte strings")
            }
            _ => Ok(()),
        }
    }

    /// The steps of a query's cursor.
    fn query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<VecDeque<Step>> {
        let rows = self.open()?.rows(coll, |_| true);
        let steps = query::run(rows, plan, arguments, gas, || self.check_documents(coll))?;
        self.cursors_opened += 1;
        Ok(steps)
    }

    /// What the tree of the open transaction's state is asked with: the state, the contract's name, its collections.
    fn tree(&mut self, database_cost: u64, gas: &mut Gas) -> HostResult<(&State, &[u8], &[Collection])> {
        let changed = self.open()?.now.changed.len() as u64;
        gas.charge(database_cost + gas::tree(changed))?;
        match &self.transaction {
            Some(transaction) => Ok((&transaction.now.state, &self.env.contract, &self.collections)),
            None => trap(TrapKind::Tx, "no transaction is open"),
        }
    }

    fn open(&mut self) -> HostResult<&mut Transaction> {
        self.calls += 1;
        match &mut self.transaction {
            Some(transaction) => Ok(transaction),
            None => trap(TrapKind::Tx, "no transaction is open"),
        }
    }

    /// A called contract runs in its caller's transaction.
    fn check_transaction_is_own(&mut self) -> HostResult<()> {
        if self.frame.depth > 0 { trap(TrapKind::Tx, "the transaction is the caller's") } else { Ok(()) }
    }

    fn open_for_writing(&mut self) -> HostResult<&mut Transaction> {
        let is_static = self.frame.is_static;
        let transaction = self.open()?;
        if transaction.read_only || is_static { trap(TrapKind::ReadOnly, "") } else { Ok(transaction) }
    }
}

impl Transaction {
    /// Charges for a slot and remembers its first touch.
    fn touch(&mut self, key: &[u8], bytes: usize, gas: &mut Gas) -> HostResult<()> {
        let is_first = !self.now.touched.contains(key);
        gas.charge(gas::slot(is_first, bytes as u64))?;
        self.now.touched.insert(key.to_vec());
        Ok(())
    }

    fn document(&self, coll: u32, key: &[u8]) -> Option<&Bytes> {
        self.now.state.documents.get(&coll)?.get(key)
    }

    /// The documents of a collection with such keys.
    fn rows(&self, coll: u32, within: impl Fn(&[u8]) -> bool) -> Vec<(Bytes, Bytes)> {
        let documents = self.now.state.documents.get(&coll).into_iter().flatten();
        documents
            .filter(|(key, _)| within(key))
            .map(|(key, document)| (Bytes::copy_from_slice(key), document.clone()))
            .collect()
    }

    fn write(&mut self, coll: u32, key: &[u8], document: &Bytes) -> bool {
        self.now.changed.insert(Place::Document(coll, key.to_vec()));
        let documents = self.now.state.documents.entry(coll).or_default();
        let is_replaced = documents.insert(key.to_vec(), document.clone()).is_some();
        if !is_replaced {
            self.now.changed.insert(Place::Counters(coll));
        }
        // A new key of 8 bytes moves the counter up to itself, so that no insertion meets it.
        if let (false, Ok(key)) = (is_replaced, key.try_into()) {
            let counter = self.now.state.counters.entry(coll).or_default();
            *counter = (*counter).max(u64::from_be_bytes(key));
        }
        is_replaced
    }
}

impl Host for MockHost {
    fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(&self.env.seed, bytes);
    }

    fn env(&self) -> &Env {
        &self.env
    }

    fn slot_load(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<SlotValue> {
        let transaction = self.open()?;
        let value = transaction.now.state.slots.get(key).cloned().unwrap_or_default();
        transaction.touch(key, key.len() + value.len(), gas)?;
        slot_value(&value)
    }

    fn slot_store(&mut self, key: &[u8], value: &[u8], gas: &mut Gas) -> HostResult<()> {
        let transaction = self.open_for_writing()?;
        transaction.touch(key, key.len() + value.len(), gas)?;
        transaction.now.changed.insert(Place::Slot(key.to_vec()));
        if value.is_empty() {
            transaction.now.state.slots.remove(key);
        } else {
            transaction.now.state.slots.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn slot_delete(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        let transaction = self.open_for_writing()?;
        transaction.touch(key, key.len(), gas)?;
        transaction.now.changed.insert(Place::Slot(key.to_vec()));
        Ok(transaction.now.state.slots.remove(key).is_some())
    }

    fn slot_exists(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        let transaction = self.open()?;
        transaction.touch(key, key.len(), gas)?;
        Ok(transaction.now.state.slots.contains_key(key))
    }

    fn scratch_load(&mut self, key: &[u8]) -> HostResult<SlotValue> {
        slot_value(self.open()?.now.scratch.get(key).map_or(&[], |value| &value[..]))
    }

    fn scratch_store(&mut self, key: &[u8], value: &[u8]) -> HostResult<()> {
        let transaction = self.open_for_writing()?;
        if value.is_empty() {
            transaction.now.scratch.remove(key);
        } else {
            transaction.now.scratch.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn db_get(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<Option<Bytes>> {
        let transaction = self.open()?;
        check_key(key)?;
        let document = transaction.document(coll, key).cloned();
        let bytes = key.len() + document.as_ref().map_or(0, Bytes::len);
        gas.charge(gas::database(1, bytes as u64))?;
        Ok(document)
    }

    fn db_put(&mut self, coll: u32, key: &[u8], doc: &Bytes, gas: &mut Gas) -> HostResult<bool> {
        let transaction = self.open_for_writing()?;
        check_key(key)?;
        gas.charge(gas::database(1, (key.len() + doc.len()) as u64))?;
        Ok(transaction.write(coll, key, doc))
    }

    fn db_delete(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        let transaction = self.open_for_writing()?;
        check_key(key)?;
        gas.charge(gas::database(1, key.len() as u64))?;
        let documents = transaction.now.state.documents.entry(coll).or_default();
        let existed = documents.remove(key).is_some();
        if existed {
            transaction.now.changed.extend([Place::Document(coll, key.to_vec()), Place::Counters(coll)]);
        }
        Ok(existed)
    }

    fn db_exists(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<bool> {
        let transaction = self.open()?;
        check_key(key)?;
        gas.charge(gas::database(1, key.len() as u64))?;
        Ok(transaction.document(coll, key).is_some())
    }

    fn db_insert(&mut self, coll: u32, doc: &Bytes, gas: &mut Gas) -> HostResult<Bytes> {
        let transaction = self.open_for_writing()?;
        gas.charge(gas::database(1, 8 + doc.len() as u64))?;
        let counter = transaction.now.state.counters.get(&coll).copied().unwrap_or_default();
        let Some(key) = counter.checked_add(1).map(u64::to_be_bytes) else {
            return trap(TrapKind::Db, "the counter is used up");
        };
        transaction.write(coll, &key, doc);
        Ok(Bytes::copy_from_slice(&key))
    }

    fn db_patch(&mut self, coll: u32, key: &[u8], patch: &[u8], gas: &mut Gas) -> HostResult<bool> {
        self.open_for_writing()?;
        self.check_documents(coll)?;
        let transaction = self.open()?;
        check_key(key)?;
        let old = transaction.document(coll, key).cloned();
        let bytes = key.len() + old.as_ref().map_or(0, Bytes::len) + patch.len();
        gas.charge(gas::database(1, bytes as u64))?;
        let merged = dotdb::document::merge_patch(old.as_deref().unwrap_or(&[0xf6]), patch);
        let Ok(merged) = merged else { return trap(TrapKind::Db, "not a document") };
        if old.is_some() {
            transaction.write(coll, key, &merged.into());
        }
        Ok(old.is_some())
    }

    fn db_get_at(&mut self, coll: u32, version: u64, key: &[u8], gas: &mut Gas) -> HostResult<Option<Bytes>> {
        let state = self.state_at(version)?;
        check_key(key)?;
        let document = state.documents.get(&coll).and_then(|documents| documents.get(key)).cloned();
        let bytes = key.len() + document.as_ref().map_or(0, Bytes::len);
        gas.charge(gas::database(1, bytes as u64))?;
        Ok(document)
    }

    fn slot_load_at(&mut self, version: u64, key: &[u8], gas: &mut Gas) -> HostResult<SlotValue> {
        let value = self.state_at(version)?.slots.get(key).cloned().unwrap_or_default();
        gas.charge(gas::slot(true, (key.len() + value.len()) as u64))?;
        slot_value(&value)
    }

    fn state_root(&mut self, gas: &mut Gas) -> HostResult<Bytes> {
        let (state, contract, collections) = self.tree(0, gas)?;
        commitment::root(state, contract, collections)
    }

    fn state_prove(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<Bytes> {
        let (state, contract, collections) = self.tree(0, gas)?;
        commitment::prove_slot(state, contract, collections, key)
    }

    fn db_prove(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<Bytes> {
        self.open()?;
        check_key(key)?;
        let (state, contract, collections) = self.tree(gas::database(1, key.len() as u64), gas)?;
        commitment::prove_record(state, contract, collections, coll, key)
    }

    fn state_verify(
        &mut self,
        key: &[u8],
        value: &[u8],
        root: &[u8],
        proof: &[u8],
        gas: &mut Gas,
    ) -> HostResult<bool> {
        commitment::verify(&self.open()?.now.state, key, value, root, proof, gas)
    }

    fn db_query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<u64> {
        let steps = self.query(coll, plan, arguments, gas)?;
        let number = self.cursors_opened;
        let transaction = self.open()?;
        let opened_after = transaction.last_savepoint;
        transaction.cursors.insert(number, Cursor { steps, opened_after });
        Ok(number)
    }

    fn db_query_count(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<u64> {
        let mut count = 0;
        for step in self.query(coll, plan, arguments, gas)? {
            match step {
                Step::Work(cost) => gas.charge(cost)?,
                Step::Row(..) => count += 1,
                Step::Failed(problem) => return trap(TrapKind::Db, &problem),
            }
        }
        Ok(count)
    }

    fn db_count(&mut self, coll: u32, gas: &mut Gas) -> HostResult<u64> {
        let transaction = self.open()?;
        gas.charge(gas::database(1, 0))?;
        Ok(transaction.now.state.documents.get(&coll).map_or(0, BTreeMap::len) as u64)
    }

    fn db_scan(
        &mut self,
        coll: u32,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        descending: bool,
        gas: &mut Gas,
    ) -> HostResult<u64> {
        let number = self.cursors_opened + 1;
        let transaction = self.open()?;
        from.map_or(Ok(()), check_key)?;
        to.map_or(Ok(()), check_key)?;
        gas.charge(gas::database(0, (from.map_or(0, <[u8]>::len) + to.map_or(0, <[u8]>::len)) as u64))?;
        let within = |key: &[u8]| from.is_none_or(|from| key >= from) && to.is_none_or(|to| key < to);
        let mut rows = transaction.rows(coll, within);
        if descending {
            rows.reverse();
        }
        let steps = rows.into_iter().map(|(key, document)| Step::Row(key, document)).collect();
        let opened_after = transaction.last_savepoint;
        transaction.cursors.insert(number, Cursor { steps, opened_after });
        self.cursors_opened = number;
        Ok(number)
    }

    fn db_next(&mut self, cursor: u64, gas: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>> {
        let first = self.frame.cursor;
        let transaction = self.open()?;
        let Some(cursor) = transaction.cursors.get_mut(&cursor).filter(|_| cursor > first) else {
            return trap(TrapKind::Index, "no such cursor");
        };
        loop {
            match cursor.steps.pop_front() {
                Some(Step::Work(cost)) => gas.charge(cost)?,
                Some(Step::Row(key, document)) => {
                    gas.charge(gas::database(1, (key.len() + document.len()) as u64))?;
                    return Ok(Some((key, document)));
                }
                Some(Step::Failed(problem)) => return trap(TrapKind::Db, &problem),
                None => {
                    gas.charge(gas::database(1, 0))?;
                    return Ok(None);
                }
            }
        }
    }

    fn db_close(&mut self, cursor: u64) -> HostResult<()> {
        let first = self.frame.cursor;
        let transaction = self.open()?;
        match cursor > first && transaction.cursors.remove(&cursor).is_some() {
            true => Ok(()),
            false => trap(TrapKind::Index, "no such cursor"),
        }
    }

    fn tx_begin(&mut self, read_only: bool) -> HostResult<()> {
        self.check_transaction_is_own()?;
        self.calls += 1;
        if self.transaction.is_some() {
            return trap(TrapKind::Tx, "a transaction is open already");
        }
        self.transaction = Some(self.begin(read_only));
        Ok(())
    }

    fn stops_before_commit(&mut self) -> bool {
        self.commit_stops.as_mut().is_some_and(|has_stopped| {
            *has_stopped = !*has_stopped;
            *has_stopped
        })
    }

    fn tx_commit(&mut self, gas: &mut Gas) -> HostResult<bool> {
        self.check_transaction_is_own()?;
        let changed = self.open()?.now.changed.len() as u64;
        gas.charge(gas::commit(changed))?;
        self.commits += 1;
        let has_conflict = self.conflict_every > 0 && self.commits.is_multiple_of(self.conflict_every);
        if let Some(transaction) = self.transaction.take()
            && !has_conflict
        {
            self.commit(transaction);
        }
        Ok(!has_conflict)
    }

    fn tx_abort(&mut self) -> HostResult<()> {
        self.check_transaction_is_own()?;
        self.open()?;
        self.transaction = None;
        Ok(())
    }

    fn savepoint(&mut self) -> HostResult<u64> {
        let transaction = self.open()?;
        transaction.last_savepoint += 1;
        transaction.savepoints.insert(transaction.last_savepoint, transaction.now.clone());
        Ok(transaction.last_savepoint)
    }

    fn rollback(&mut self, savepoint: u64) -> HostResult<()> {
        let first = self.frame.savepoint;
        let transaction = self.open()?;
        let Some(mark) = transaction.savepoints.get(&savepoint).filter(|_| savepoint > first) else {
            return trap(TrapKind::Tx, "no such savepoint");
        };
        transaction.now = mark.clone();
        transaction.savepoints.retain(|&number, _| number <= savepoint);
        transaction.cursors.retain(|_, cursor| cursor.opened_after < savepoint);
        Ok(())
    }

    fn system(&mut self, call: HostCall, words: &[u64], refs: &[Bytes], gas: &mut Gas) -> HostResult<Answer> {
        self.host_call(call, words, refs, gas)
    }

    fn contract_create(
        &mut self,
        salt: &[u8],
        code: &Bytes,
        gas: &mut Gas,
    ) -> HostResult<(bool, Option<Bytes>)> {
        let creator = String::from_utf8_lossy(&self.env.contract).into_owned();
        let transaction = self.open_for_writing()?;
        gas.charge(gas::create(code.len() as u64))?;
        let Some(hash) = create::accepted(code) else { return Ok((false, None)) };
        let name = create::name(&creator, salt, &hash);
        let is_new = transaction.now.state.created.insert(name.clone(), hash).is_none();
        Ok((is_new, Some(name.into())))
    }

    fn capability_dropped(&mut self, capability: Capability) {
        self.dropped.push(capability);
    }

    fn call(&mut self, request: &CallRequest) -> HostResult<CallAnswer> {
        let is_static = self.open()?.read_only || self.frame.is_static || request.is_static();
        if is_static && !request.is_delegate() && request.value != W512::ZERO {
            return trap(TrapKind::ReadOnly, "a value cannot be sent");
        }
        if self.frame.depth + 1 >= self.limits.contract_depth {
            return trap(TrapKind::Depth, "");
        }
        let Some(Code(code)) = self.code.clone().filter(|_| request.contract == self.env.contract) else {
            return Ok(CallAnswer::NOT_CALLED);
        };
        let Some(invocation) = entry_invocation(code.module(), &request.input) else {
            return Ok(CallAnswer::NOT_CALLED);
        };
        let outer = (self.env.clone(), self.limits, self.frame);
        let savepoint = self.savepoint()?;
        let first = self.cursors_opened;
        self.frame = Frame { depth: self.frame.depth + 1, is_static, savepoint, cursor: first };
        self.limits.gas = request.gas;
        self.limits.guest_gas = request.guest_gas;
        self.limits.memory_pages = self.limits.memory_pages.saturating_sub(request.pages);
        self.limits.heap_bytes = self.limits.heap_bytes.saturating_sub(request.heap_bytes);
        self.env.input = request.input.clone();
        if !request.is_delegate() {
            self.env.caller = W512::from(CONTRACT_NUMBER);
            self.env.value = request.value;
        }
        let limits = self.limits;
        let files = std::mem::take(&mut self.open()?.open_files);
        let ran = dotvm_reference::run(&code, &invocation, &limits, self);
        (self.env, self.limits, self.frame) = outer;
        let answer = match ran {
            Ok((outcome, _)) => CallAnswer::of_end(outcome.end, outcome.gas_used, outcome.guest_gas_used),
            Err(_) => CallAnswer::NOT_CALLED,
        };
        if answer.status != CallStatus::Success {
            self.rollback(savepoint)?;
        }
        let transaction = self.open()?;
        transaction.open_files = files;
        transaction.cursors.retain(|&number, _| number <= first);
        transaction.savepoints.retain(|&number, _| number < savepoint);
        Ok(answer)
    }

    fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> HostResult<()> {
        let transaction = self.open_for_writing()?;
        let topics: Vec<Vec<u8>> = topics.iter().map(|topic| topic.as_bytes().to_vec()).collect();
        let bytes = topics.iter().map(Vec::len).sum::<usize>() + data.len();
        gas.charge(gas::event(topics.len() as u64, bytes as u64))?;
        transaction.now.state.events.push(Event { topics, data: data.clone() });
        Ok(())
    }
}
