//! The host interface: what a running program may ask of the world outside its own memory.
//!
//! The engine knows no storage, file or clock; it calls this trait. Operations whose cost depends on lengths or
//! on storage take the gas meter and charge before their effect, so that an execution that runs out of gas
//! stops at the same point in every tier.

mod no_state;

use bytes::Bytes;

use crate::call::{CallAnswer, CallRequest};
use crate::capability::Capability;
use crate::env::Env;
use crate::gas::{Gas, OutOfGas};
use crate::host_call::{Answer, HostCall};
use crate::trap::TrapKind;

pub use no_state::NoState;

/// Why a host operation did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The cost does not fit the gas left; nothing was done.
    OutOfGas,
    /// The program traps with this kind and detail; nothing was done.
    Trap(TrapKind, String),
}

impl From<OutOfGas> for HostError {
    fn from(_: OutOfGas) -> HostError {
        HostError::OutOfGas
    }
}

/// Result of a host operation.
pub type HostResult<T> = Result<T, HostError>;

/// A number on its way between the machine and storage: big-endian, without leading zeros, empty for zero.
#[derive(Clone, Copy)]
pub struct SlotValue {
    bytes: [u8; 64],
    len: u8,
}

impl SlotValue {
    /// Zero.
    pub const ZERO: SlotValue = SlotValue { bytes: [0; 64], len: 0 };

    /// The number with these big-endian bytes, or `None` if there are more than 64.
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<SlotValue> {
        let mut value = SlotValue::ZERO;
        value.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        value.len = bytes.len() as u8;
        Some(value)
    }

    /// The big-endian bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// What a program may ask of its host. Keys and values of slots are big-endian numbers without leading zeros.
/// Collections are named by their index in the module's table.
pub trait Host {
    /// The environment that `ENV` reads.
    fn env(&self) -> &Env;

    /// Reads a slot; zero if absent. Charges [`crate::gas::slot`] over key and value.
    fn slot_load(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<SlotValue>;
    /// Writes a slot; an empty value removes it. Charges [`crate::gas::slot`] over key and value.
    fn slot_store(&mut self, key: &[u8], value: &[u8], gas: &mut Gas) -> HostResult<()>;
    /// Removes a slot; whether it was set. Charges [`crate::gas::slot`] over the key.
    fn slot_delete(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<bool>;
    /// Whether a slot is set. Charges [`crate::gas::slot`] over the key.
    fn slot_exists(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<bool>;
    /// Reads a scratch slot, which lives as long as the transaction; zero if absent.
    fn scratch_load(&mut self, key: &[u8]) -> HostResult<SlotValue>;
    /// Writes a scratch slot; undone by rollbacks.
    fn scratch_store(&mut self, key: &[u8], value: &[u8]) -> HostResult<()>;

    /// Reads a document. Charges [`crate::gas::database`] with one row over key and document.
    fn db_get(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<Option<Bytes>>;
    /// Inserts or replaces a document; whether one was replaced.
    fn db_put(&mut self, coll: u32, key: &[u8], doc: &Bytes, gas: &mut Gas) -> HostResult<bool>;
    /// Removes a document; whether it existed.
    fn db_delete(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<bool>;
    /// Whether a key is present.
    fn db_exists(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<bool>;
    /// Inserts under the next key of the collection's counter and answers the key.
    fn db_insert(&mut self, coll: u32, doc: &Bytes, gas: &mut Gas) -> HostResult<Bytes>;
    /// Puts the merge of a document and a patch (RFC 7396) in its place; false if there is no document, and then
    /// nothing changes. Charges [`crate::gas::database`] with one row over key, document and patch.
    fn db_patch(&mut self, coll: u32, key: &[u8], patch: &[u8], gas: &mut Gas) -> HostResult<bool>;
    /// Reads a document as it was at a version up to that which the transaction began at. Charged as
    /// [`Host::db_get`].
    fn db_get_at(&mut self, coll: u32, version: u64, key: &[u8], gas: &mut Gas) -> HostResult<Option<Bytes>>;
    /// Number of documents. Charges [`crate::gas::database`] with one row.
    fn db_count(&mut self, coll: u32, gas: &mut Gas) -> HostResult<u64>;
    /// Opens a cursor over the rows of a compiled query, whose parameters are the elements of the array `arguments`.
    /// Charges [`crate::gas::database`] over both, then with the rows that planning examined.
    fn db_query(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<u64>;
    /// Number of rows that a query gives. Charged as [`Host::db_query`] and each row as [`Host::db_next`] does, but for
    /// the rows themselves. Uses up a cursor's number.
    fn db_query_count(
        &mut self,
        coll: u32,
        plan: &[u8],
        arguments: Option<&[u8]>,
        gas: &mut Gas,
    ) -> HostResult<u64>;
    /// Opens a cursor over `from ≤ key < to`; `None` = open end. Numbers count up from 1 in each execution.
    fn db_scan(
        &mut self,
        coll: u32,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        descending: bool,
        gas: &mut Gas,
    ) -> HostResult<u64>;
    /// Next entry of a cursor; `None` at its end. Charges [`crate::gas::database`] with one row over key and document;
    /// a query's cursor before that with each record and index entry examined, one row over its bytes.
    fn db_next(&mut self, cursor: u64, gas: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>>;
    /// Closes a cursor.
    fn db_close(&mut self, cursor: u64) -> HostResult<()>;

    /// Reads a slot as it was at a version up to that which the transaction began at; zero if absent. Charged as the
    /// first touch of a slot.
    fn slot_load_at(&mut self, version: u64, key: &[u8], gas: &mut Gas) -> HostResult<SlotValue>;
    /// The root hash of the state as the transaction sees it: 32 bytes. Charges [`crate::gas::tree`].
    fn state_root(&mut self, gas: &mut Gas) -> HostResult<Bytes>;
    /// The proof of what a slot of this contract holds under [`Host::state_root`]. Charges [`crate::gas::tree`].
    fn state_prove(&mut self, key: &[u8], gas: &mut Gas) -> HostResult<Bytes>;
    /// The proof of what a key of a collection holds under [`Host::state_root`]. Charges [`crate::gas::database`] with
    /// one row over the key, and [`crate::gas::tree`].
    fn db_prove(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> HostResult<Bytes>;
    /// Whether a proof shows that a slot of this contract holds `value` (zero: that it is not set) in the state with
    /// this root; false for bytes that are no root or no proof. Reads no state. Charges [`crate::gas::proof`].
    fn state_verify(
        &mut self,
        key: &[u8],
        value: &[u8],
        root: &[u8],
        proof: &[u8],
        gas: &mut Gas,
    ) -> HostResult<bool>;

    /// Opens a transaction where none is open.
    fn tx_begin(&mut self, read_only: bool) -> HostResult<()>;
    /// Whether the run is to stop before a commit, which it asks each time it comes to one: what is written down of it then
    /// can be kept together with what the commit changes.
    fn stops_before_commit(&mut self) -> bool {
        false
    }
    /// Commits durably; false = conflict, nothing changed. Charges [`crate::gas::commit`].
    fn tx_commit(&mut self, gas: &mut Gas) -> HostResult<bool>;
    /// Undoes and closes the open transaction.
    fn tx_abort(&mut self) -> HostResult<()>;
    /// Marks a point to roll back to. Numbers count up from 1 in each transaction.
    fn savepoint(&mut self) -> HostResult<u64>;
    /// Rolls state, documents, scratch slots and events back to a savepoint, which stays valid.
    fn rollback(&mut self, savepoint: u64) -> HostResult<()>;

    /// Calls a contract: runs its entry function to the end and undoes its changes unless it succeeds. The machine has
    /// charged for the request and charges what the answer says was used. A host that runs instances in steps answers
    /// their requests by itself instead.
    fn call(&mut self, _request: &CallRequest) -> HostResult<CallAnswer> {
        Ok(CallAnswer::NOT_CALLED)
    }
    /// Keeps a module and gives it the name that [`crate::create::name`] makes of this contract, the salt (a big-endian
    /// number) and the code: whether the name is new, and the name; none for code that [`crate::create::accepted`] refuses,
    /// and where the name has other code. Charges [`crate::gas::create`].
    fn contract_create(
        &mut self,
        salt: &[u8],
        code: &Bytes,
        gas: &mut Gas,
    ) -> HostResult<(bool, Option<Bytes>)>;
    /// Does a host call: with as many words and references as its signature says, all of them bytes. What each does
    /// stands in [`HostCall`], how it traps in `SEMANTICS.md`.
    fn system(&mut self, call: HostCall, words: &[u64], refs: &[Bytes], gas: &mut Gas) -> HostResult<Answer>;
    /// The program gave up a capability that it held, for good. Hosts that keep an audit log note it.
    fn capability_dropped(&mut self, _capability: Capability) {}

    /// Fills `bytes` with the next ones of the execution's random stream, which follows from the environment's seed (see
    /// [`crate::env::RandomStream`]). There is one stream however many instances an execution has, and no rollback
    /// goes back in it: no program meets the same bytes twice.
    fn random(&mut self, bytes: &mut [u8]);

    /// Records an event. Charges [`crate::gas::event`].
    fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> HostResult<()>;
}
