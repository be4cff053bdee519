//! Transactions, contract slots and collections over any ordered store.
//!
//! [`Database`] is DotDB over one [`Store`]; [`Tx`] is a transaction on it. A call of a contract is
//! one transaction, a call frame is a [savepoint](Tx::savepoint), a trap is a
//! [rollback](Tx::rollback_to). What the state consists of:
//! - **contracts** ([`Tx::contract_id`], [`Tx::bind`]): a name, a number and the hash of its code;
//! - **slots** ([`Tx::slot_entry`]): words of a contract, keyed by words;
//! - **collections** ([`Tx::collection`], [`Tx::record_entry`], [`Tx::scan`]): ordered byte-string
//!   keys with byte-string or [document] values.
//!
//! Cost travels with the answer: an *entry* is the result of one look-up. It tells what an access
//! would cost ([`Touch`], bytes) before anything changes, then carries it out:
//!
//! ```
//! # use std::sync::Arc;
//! # use dotdb::{Database, Durability, Mode, Touch};
//! # fn main() -> Result<(), dotdb::DbError> {
//! let database = Database::open(Arc::new(dotdb_memory::MemoryStore::new()))?;
//! let mut tx = database.begin(Mode::ReadWrite)?;
//! let token = tx.contract_id("token")?;
//! let entry = tx.slot_entry(token, &[7])?;
//! assert_eq!((entry.touch(), entry.bytes()), (Touch::First, 0)); // charge here, then
//! entry.store(&[1, 0])?;
//! assert_eq!(tx.slot_get(token, &[7])?.as_bytes(), [1, 0]);
//! tx.commit(Durability::Sync)?;
//! # Ok(())
//! # }
//! ```
//!
//! Transactions are serializable ([`Database::begin`]) and give the state a version each, which can be read
//! later ([`Database::begin_at`]), named, compared and restored.

mod absence;
mod cache;
mod catalog;
mod check;
mod collections;
mod contracts;
mod counters;
mod cursor;
mod database;
mod dump;
mod durability;
mod error;
mod history;
mod index;
mod journal;
mod keys;
mod machines;
mod migrate;
mod pipeline;
mod querying;
mod read_set;
mod saved;
mod settings;
mod settle;
mod slot_range;
mod slots;
mod space;
mod transfer;
mod tree;
mod tx;
mod versions;

pub use catalog::{Catalog, CatalogCollection};
pub use check::Finding;
pub use collections::{CollectionId, CollectionInfo, RecordEntry, ValueKind};
pub use contracts::{CodeHash, Contract, ContractId};
pub use cursor::{CursorEntry, CursorId};
pub use database::{Database, Mode};
pub use dotdb_commitment as commitment;
pub use dotdb_document as document;
pub use dotdb_query as query;
pub use dotdb_store as store;
pub use dotdb_store::{Direction, Store, StoreError, StoreStats};
pub use dump::{DUMP_FORMAT, Dump};
pub use durability::Durability;
pub use error::DbError;
pub use index::{IndexInfo, IndexState, MAX_INDEXES};
pub use keys::{
    MAX_CODE_BYTES, MAX_CURSORS, MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_SLOT_BYTES, MAX_VALUE_BYTES,
    SCHEMA_VERSION,
};
pub(crate) use keys::{describe as describe_key, show as show_key};
pub use machines::{MachineId, MachineRow, Rows};
pub use migrate::Migration;
pub use querying::{QueryOptions, Work};
pub use saved::RestoreError;
pub use settings::{History, Settings};
pub use slot_range::SlotRange;
pub use slots::{SlotEntry, SlotValue, Slots};
pub use space::Space;
pub use transfer::{Backup, TransferError};
pub use tree::{record_key, slot_key};
pub use tx::Tx;
pub use versions::{Commit, Difference, Place};

/// Whether an access to a slot is the transaction's first to its key.
///
/// As in EIP-2929, rolling back to a savepoint also undoes the touches made after it, so that what
/// a re-execution costs depends only on the state it starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The key was not read or written before in this transaction.
    First,
    /// The key was read or written before.
    Again,
}
