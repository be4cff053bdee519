//! The machine's host over a transaction of DotDB.

mod saved;

use std::borrow::Cow;

use bytes::Bytes;
use dotdb::commitment::Root;
use dotdb::{CodeHash, ContractId, CursorId, Database, DbError, Durability, Mode, Rows, Tx};
use dotvm_arch::W512;
use dotvm_core::capability::Capability;
use dotvm_core::env::{Env, RandomStream};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{Host, HostError, HostResult, SlotValue};
use dotvm_core::host_call::{Answer, HostCall};
use dotvm_core::module::Collection;
use dotvm_core::outcome::End;
use dotvm_core::trap::TrapKind;

use crate::args::ArgumentError;
use crate::audit;
use crate::contracts::Change;
use crate::door::{Door, OpenFiles};
use crate::error::RuntimeError;
use crate::execute::Place;
use crate::open_tx::{OpenTx, Outer, Refusal};
use crate::past::Past;
use crate::system::SystemError;
use saved::Commit;

/// An event that a program recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Topics, zero-extended words.
    pub topics: Vec<W512>,
    /// Data.
    pub data: Bytes,
}

/// An execution that does again what was done before.
struct Again {
    /// The version that the first one began at.
    version: u64,
    /// The root after the first commit.
    root: Option<Root>,
}

/// A [`Host`] over DotDB: the state of one contract, in one transaction at a time.
///
/// Reads of absent keys and ends of cursors are charged like rows. After TX_COMMIT or TX_ABORT no transaction is
/// open and every operation on state traps until the next TX_BEGIN.
pub struct TxHost<'a> {
    database: &'a Database,
    durability: Durability,
    pub(crate) contract_name: Cow<'a, str>,
    has_files: bool,
    collections: Cow<'a, [Collection]>,
    env: Env,
    random: RandomStream,
    pub(crate) open: Option<OpenTx>,
    /// Contract calls that are not over.
    depth: u32,
    pub(crate) door: Door,
    /// Events of the transactions that were committed.
    events: Vec<Event>,
    /// Cursors of the transactions that are closed, by which the open one's are numbered on.
    cursors_before: u64,
    changed_keys: u64,
    /// The program has committed a transaction that changed something.
    has_committed: bool,
    failure: Option<DbError>,
    /// Where the execution does again what was done before.
    again: Option<Again>,
    /// The version that the first transaction began at, and the one that the last commit has made.
    versions: (u64, u64),
    /// The versions read last.
    past: Past,
    /// How far an execution that is kept is with its next commit; nothing for others.
    commit: Option<Commit>,
    /// The last commit has written the rows that it was granted with.
    has_written_rows: bool,
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
        let place = Place { name: contract_name, contract: None, has_files: false };
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
        let version = tx.version()?;
        let open = OpenTx::link(tx, place, collections)?;
        Ok(TxHost {
            again: None,
            versions: (version, version),
            database,
            durability,
            contract_name: Cow::Borrowed(place.name),
            has_files: place.has_files,
            collections: Cow::Borrowed(collections),
            env,
            random: RandomStream::default(),
            open: Some(open),
            depth: 0,
            door: Door::default(),
            events: Vec::new(),
            cursors_before: 0,
            changed_keys: 0,
            has_committed: false,
            failure: None,
            past: Past::default(),
            commit: None,
            has_written_rows: false,
        })
    }

    /// Ends the execution: commits the open transaction, or with `keep` = false undoes it. Answers the events of
    /// all committed transactions and the number of keys that those changed.
    ///
    /// # Errors
    /// What the store answered when it failed, now or in an operation before, and then the open transaction is
    /// undone.
    pub fn finish(mut self, keep: bool) -> Result<(Vec<Event>, u64), DbError> {
        self.end(keep)?;
        Ok((self.events, self.changed_keys))
    }

    /// Tells the audit log of the open transaction that the end of the execution will undo.
    pub(crate) fn note_end(&self, end: &End) {
        if self.open.is_some() && !end.is_success() {
            audit::transaction_undone(&self.contract_name, audit::reason_of(end));
        }
    }

    /// [`TxHost::finish`], and the host is still there.
    pub(crate) fn end(&mut self, keep: bool) -> Result<(), DbError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        match self.open.take().filter(|_| keep) {
            Some(open) => self.commit(open),
            None => Ok(()),
        }
    }

    /// What [`TxHost::end`] has left: events, changed keys, and the versions before and after.
    pub(crate) fn into_results(self) -> (Vec<Event>, u64, (u64, u64)) {
        (self.events, self.changed_keys, self.versions)
    }

    /// The version that the execution began at.
    pub(crate) fn version_before(&self) -> u64 {
        self.versions.0
    }

    /// The version that the last commit has made.
    pub(crate) fn version_after(&self) -> u64 {
        self.versions.1
    }

    /// Keys that committed transactions have changed.
    pub(crate) fn changed_keys(&self) -> u64 {
        self.changed_keys
    }

    /// Writes rows of a machine with the open transaction's commit.
    pub(crate) fn write_with_commit(&mut self, rows: impl FnOnce(u64) -> Rows + Send + 'static) {
        if let Some(open) = &mut self.open {
            open.tx.write_with_commit(rows);
        }
    }

    /// Does again what was done at a version: nothing is committed.
    pub(crate) fn do_again(&mut self, version: u64) {
        self.again = Some(Again { version, root: None });
    }

    /// The root that the state would have now, if anything would have been committed.
    pub(crate) fn root_again(&self) -> Option<Root> {
        self.again.as_ref()?.root
    }

    /// Puts files in the place of what is there, as a part of the open transaction.
    pub(crate) fn import(&mut self, files: &[(Bytes, Bytes)]) -> Result<(), RuntimeError> {
        if let Some((path, _)) = files.first().filter(|_| !self.has_files) {
            let sentence =
                format!("the program calls for no files, so {} would be of no use", crate::show::bytes(path));
            return Err(ArgumentError::new(sentence).into());
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        for (path, contents) in files {
            match open.import(path, contents) {
                Ok(()) => {}
                Err(Refusal::Db(error)) => return Err(error.into()),
                Err(Refusal::Host(error)) => {
                    let HostError::Trap(_, sentence) = error else { continue };
                    let path = crate::show::bytes(path);
                    return Err(ArgumentError::new(format!("the file {path} is refused: {sentence}")).into());
                }
            }
        }
        Ok(())
    }

    /// Whether a transaction of the execution is in the state already.
    pub(crate) fn has_committed(&self) -> bool {
        self.has_committed
    }

    fn commit(&mut self, mut open: OpenTx) -> Result<(), DbError> {
        let changed = open.changed_keys();
        // What linking made is of no use to anybody unless the program has written.
        if changed > 0 {
            match &mut self.again {
                Some(again) => {
                    let root = open.tx.state_root();
                    if let Err(error) = &root {
                        // Whatever the program makes of it, there is no answer.
                        self.door.failure.get_or_insert(SystemError(error.to_string()));
                    }
                    again.root = Some(root?);
                }
                None => {
                    self.versions.1 = open.tx.commit(self.durability).inspect_err(|error| {
                        let reason = if error.is_conflict() { "conflict" } else { "failure" };
                        audit::transaction_undone(&self.contract_name, reason);
                    })?;
                    audit::transaction_committed(&self.contract_name, self.versions.1, changed);
                }
            }
            self.changed_keys += changed;
            self.has_committed = true;
        }
        self.events.extend(open.events);
        Ok(())
    }

    #[inline]
    pub(crate) fn open(&mut self) -> HostResult<&mut OpenTx> {
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
    pub(crate) fn answer<T>(&mut self, result: Result<T, Refusal>) -> HostResult<T> {
        match result {
            Ok(answer) => Ok(answer),
            Err(Refusal::Host(error)) => Err(error),
            Err(Refusal::Db(error)) => Err(self.trap(error)),
        }
    }
}

#[cold]
fn no_transaction() -> HostError {
    HostError::Trap(TrapKind::Tx, "no transaction is open".to_owned())
}

/// Forwards an operation to the open transaction.
macro_rules! with_open {
    ($host:ident.$operation:ident($($argument:expr),*)) => {{
        let result = $host.open()?.$operation($($argument),*);
        $host.answer(result)
    }};
}

impl Host for TxHost<'_> {
    fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(&self.env.seed, bytes);
    }

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
        if let Ok(false) = result {
            audit::proof_refused(&self.contract_name);
        }
        self.answer(result)
    }

    fn tx_begin(&mut self, read_only: bool) -> HostResult<()> {
        self.check_transaction_is_own()?;
        if self.open.is_some() {
            return Err(HostError::Trap(TrapKind::Tx, "a transaction is already open".to_owned()));
        }
        let mode = if read_only { Mode::ReadOnly } else { Mode::ReadWrite };
        let tx = match &self.again {
            None => self.database.begin(mode),
            Some(_) if self.has_committed => {
                let sentence = "the program commits transactions of its own, which cannot be done again here";
                self.door.failure.get_or_insert(SystemError(sentence.to_owned()));
                return Err(HostError::Trap(TrapKind::Tx, sentence.to_owned()));
            }
            Some(again) if read_only => self.database.begin_at(again.version),
            Some(again) => self.database.begin_again(again.version),
        };
        let is_kept = self.commit.is_some();
        let tx = tx.map(|mut tx| {
            if is_kept {
                tx.keep_for_saving();
            }
            tx
        });
        // An earlier transaction's number may never have been committed.
        let place = Place { name: &self.contract_name, contract: None, has_files: self.has_files };
        match tx.and_then(|tx| OpenTx::link(tx, place, &self.collections)) {
            Ok(open) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => Err(self.trap(error)),
        }
    }

    fn stops_before_commit(&mut self) -> bool {
        match self.commit {
            Some(Commit::None) => {
                self.commit = Some(Commit::Asked);
                true
            }
            _ => false,
        }
    }

    fn tx_commit(&mut self, gas: &mut Gas) -> HostResult<bool> {
        let rows = match self.commit.as_mut().map(|commit| std::mem::replace(commit, Commit::None)) {
            Some(Commit::Made(changed)) => {
                // Until it is paid it is to be answered again.
                self.commit = Some(Commit::Made(changed));
                gas.charge(gas::commit(changed))?;
                self.commit = Some(Commit::None);
                return Ok(true);
            }
            Some(Commit::Granted(rows)) => rows,
            _ => None,
        };
        self.check_transaction_is_own()?;
        let changed = self.open()?.changed_keys();
        gas.charge(gas::commit(changed))?;
        let Some(mut open) = self.close() else { return Err(no_transaction()) };
        let has_rows = rows.is_some();
        if let Some(rows) = rows {
            open.tx.write_with_commit(rows);
        }
        let committed = self.commit(open);
        self.has_written_rows = has_rows && committed.is_ok();
        match committed {
            Ok(()) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(self.trap(error)),
        }
    }

    fn tx_abort(&mut self) -> HostResult<()> {
        self.check_transaction_is_own()?;
        let Some(open) = self.close() else { return Err(no_transaction()) };
        drop(open);
        if self.again.is_none() {
            audit::transaction_undone(&self.contract_name, "abort");
        }
        Ok(())
    }

    fn savepoint(&mut self) -> HostResult<u64> {
        with_open!(self.savepoint())
    }

    fn rollback(&mut self, savepoint: u64) -> HostResult<()> {
        with_open!(self.rollback(savepoint))
    }

    fn system(&mut self, call: HostCall, words: &[u64], refs: &[Bytes], gas: &mut Gas) -> HostResult<Answer> {
        self.host_call(call, words, refs, gas)
    }

    fn capability_dropped(&mut self, capability: Capability) {
        audit::capability_dropped(&self.contract_name, capability);
    }

    fn contract_create(
        &mut self,
        salt: &[u8],
        code: &Bytes,
        gas: &mut Gas,
    ) -> HostResult<(bool, Option<Bytes>)> {
        let creator = self.contract_name.clone();
        let result = self.open()?.create_contract(&creator, salt, code, gas);
        let Some(created) = self.answer(result)? else { return Ok((false, None)) };
        let change = if created.is_new { Change::New } else { Change::None };
        audit::contract_deployed(&created.name, created.contract, &created.hash, &change);
        Ok((created.is_new, Some(created.name.into())))
    }

    fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> HostResult<()> {
        with_open!(self.emit(topics, data, gas))
    }
}

/// A contract that is called.
pub(crate) struct Callee {
    pub(crate) contract: ContractId,
    pub(crate) name: String,
    pub(crate) collections: Vec<Collection>,
    pub(crate) env: Env,
    pub(crate) has_files: bool,
    pub(crate) is_static: bool,
}

/// What a call goes back to.
pub(crate) struct Caller<'a> {
    tx: Outer,
    name: Cow<'a, str>,
    collections: Cow<'a, [Collection]>,
    env: Env,
    past: Past,
    has_files: bool,
    files: OpenFiles,
}

impl<'a> TxHost<'a> {
    /// The contract's state as of a version up to that which the open transaction began at.
    fn past(&mut self, version: u64) -> Result<&mut OpenTx, Refusal> {
        let Some(open) = &self.open else { return Err(Refusal::Host(no_transaction())) };
        let last = open.tx.version()?;
        if version > last {
            return Err(DbError::FutureVersion { version, last }.into());
        }
        let place = Place { name: &self.contract_name, contract: None, has_files: self.has_files };
        self.past.at(version, || {
            let tx = self.database.begin_at(version)?;
            OpenTx::link(tx, place, &self.collections)
        })
    }

    /// The open transaction's cursor that the program knows by this number.
    fn cursor(&mut self, cursor: u64) -> HostResult<CursorId> {
        let before = self.cursors_before;
        let open = self.open()?;
        match cursor.checked_sub(before).map(CursorId).filter(|&id| open.owns_cursor(id)) {
            Some(id) => Ok(id),
            None => {
                let error = DbError::UnknownCursor { id: cursor };
                Err(HostError::Trap(TrapKind::Index, error.to_string()))
            }
        }
    }

    /// A called contract runs in its caller's transaction.
    fn check_transaction_is_own(&self) -> HostResult<()> {
        if self.depth == 0 {
            return Ok(());
        }
        let sentence = "a contract that was called runs in its caller's transaction".to_owned();
        Err(HostError::Trap(TrapKind::Tx, sentence))
    }

    /// The code that a contract has, if there is such a contract and it has code.
    pub(crate) fn code_of(&mut self, name: &str) -> HostResult<Option<(ContractId, CodeHash)>> {
        match self.open()?.tx.find_contract(name) {
            Ok(found) => Ok(found.and_then(|(id, code)| Some((id, code?)))),
            Err(DbError::Name { .. }) => Ok(None),
            Err(error) => Err(self.trap(error)),
        }
    }

    /// The module with a hash.
    pub(crate) fn module(&mut self, hash: &CodeHash) -> HostResult<Bytes> {
        match self.open()?.tx.code(hash) {
            Ok(Some(module)) => Ok(module),
            Ok(None) => Err(self.trap(DbError::UnknownCode { hash: crate::show::hex(hash) })),
            Err(error) => Err(self.trap(error)),
        }
    }

    /// The number of the contract with a name, which is given one if it is new.
    pub(crate) fn number_of(&mut self, name: &str) -> HostResult<ContractId> {
        let result = self.open()?.tx.contract_id(name).map_err(Refusal::Db);
        self.answer(result)
    }

    /// The number of the contract that runs.
    pub(crate) fn contract(&mut self) -> HostResult<ContractId> {
        Ok(self.open()?.contract)
    }

    /// The name of the contract that runs.
    pub(crate) fn contract_name(&self) -> &str {
        &self.contract_name
    }

    /// Whether writes trap.
    pub(crate) fn is_static(&mut self) -> HostResult<bool> {
        Ok(self.open()?.is_static())
    }

    /// Begins a contract call; `None` if the contract's collections are of other kinds than its code wants.
    pub(crate) fn enter(&mut self, callee: Callee) -> HostResult<Option<Caller<'a>>> {
        let Callee { contract, name, collections, env, has_files, is_static } = callee;
        let tx = match self.open()?.enter(contract, &collections, has_files, is_static) {
            Ok(tx) => tx,
            Err(Refusal::Db(DbError::CollectionKind { .. })) => return Ok(None),
            Err(refusal) => return self.answer(Err(refusal)),
        };
        self.depth += 1;
        Ok(Some(Caller {
            tx,
            name: std::mem::replace(&mut self.contract_name, Cow::Owned(name)),
            collections: std::mem::replace(&mut self.collections, Cow::Owned(collections)),
            env: std::mem::replace(&mut self.env, env),
            past: std::mem::take(&mut self.past),
            has_files: std::mem::replace(&mut self.has_files, has_files),
            files: self.door.take_files(),
        }))
    }

    /// Ends a contract call, whose changes are kept or undone.
    pub(crate) fn leave(&mut self, caller: Caller<'a>, keep: bool) -> HostResult<()> {
        self.depth -= 1;
        let result = self.open()?.leave(caller.tx, keep);
        self.contract_name = caller.name;
        self.collections = caller.collections;
        self.env = caller.env;
        self.past = caller.past;
        self.has_files = caller.has_files;
        self.door.put_files(caller.files);
        self.answer(result)
    }

    /// Takes the open transaction out; its cursors are closed and their numbers used up.
    fn close(&mut self) -> Option<OpenTx> {
        let open = self.open.take()?;
        self.door.close_files();
        self.cursors_before += open.last_cursor;
        Some(open)
    }
}
