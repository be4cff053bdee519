//! Opening the database that `--db` names.

use std::sync::Arc;
use std::time::Duration;

use dotdb::{Database, DbError, Settings, Store};
pub use dotdb_stores::{Access, StoreUrl};

use crate::failure::Failure;

/// What a database keeps that the command line makes: the last 10,000 versions, and a state root.
pub const SETTINGS: Settings = Settings { history: dotdb::History::Last(10_000), state_root: true };

/// Opens a store, waiting so long for another process to close it.
pub fn open_store(url: &StoreUrl, access: Access, wait: Duration) -> Result<Arc<dyn Store>, Failure> {
    Ok(dotdb_stores::open_waiting(url, access, wait).map_err(DbError::Store)?)
}

/// Opens a database, waiting so long for another process to close it.
pub fn open(url: &StoreUrl, access: Access, wait: Duration) -> Result<Database, Failure> {
    Ok(Database::open_or_create(open_store(url, access, wait)?, SETTINGS)?)
}

/// An empty store in memory.
pub fn memory_store() -> Result<Arc<dyn Store>, Failure> {
    open_store(&StoreUrl::Memory, Access::Create, Duration::ZERO)
}

/// An empty database in memory.
pub fn in_memory() -> Result<Database, Failure> {
    open(&StoreUrl::Memory, Access::Create, Duration::ZERO)
}

/// Whether there is no store yet.
pub fn is_new(url: &StoreUrl) -> Result<bool, Failure> {
    match url.path() {
        None => Ok(true),
        Some(path) => Ok(dotdb_stores::detect(path).map_err(DbError::Store)?.is_none()),
    }
}
