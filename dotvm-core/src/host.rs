//! The host interface: what a running program may ask of the world outside its own memory.
//!
//! The engine knows no storage, file or clock; it calls this trait. Operations whose cost depends on lengths or
//! on storage take the gas meter and charge before their effect, so that an execution that runs out of gas
//! stops at the same point in every tier.

use bytes::Bytes;

use crate::env::Env;
use crate::gas::{Gas, OutOfGas};
use crate::trap::TrapKind;

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
    /// Number of documents.
    fn db_count(&mut self, coll: u32, gas: &mut Gas) -> HostResult<u64>;
    /// Opens a cursor over `from ≤ key < to`; `None` = open end. Numbers count up from 1 in each execution.
    fn db_scan(
        &mut self,
        coll: u32,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        descending: bool,
        gas: &mut Gas,
    ) -> HostResult<u64>;
    /// Next entry of a cursor; `None` at its end.
    fn db_next(&mut self, cursor: u64, gas: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>>;
    /// Closes a cursor.
    fn db_close(&mut self, cursor: u64) -> HostResult<()>;

    /// Opens a transaction where none is open.
    fn tx_begin(&mut self, read_only: bool) -> HostResult<()>;
    /// Commits durably; false = conflict, nothing changed. Charges [`crate::gas::commit`].
    fn tx_commit(&mut self, gas: &mut Gas) -> HostResult<bool>;
    /// Undoes and closes the open transaction.
    fn tx_abort(&mut self) -> HostResult<()>;
    /// Marks a point to roll back to. Numbers count up from 1 in each transaction.
    fn savepoint(&mut self) -> HostResult<u64>;
    /// Rolls state, documents, scratch slots and events back to a savepoint, which stays valid.
    fn rollback(&mut self, savepoint: u64) -> HostResult<()>;

    /// Records an event. Charges [`crate::gas::event`].
    fn emit(&mut self, topics: &[SlotValue], data: &Bytes, gas: &mut Gas) -> HostResult<()>;
}
