//! Opening the database that `--db` names.

use std::time::Duration;

use dotdb::{Database, DbError};
pub use dotdb_stores::{Access, StoreUrl};

use crate::failure::Failure;

/// Opens a store, waiting so long for another process to close it.
pub fn open(url: &StoreUrl, access: Access, wait: Duration) -> Result<Database, Failure> {
    let store = dotdb_stores::open_waiting(url, access, wait).map_err(DbError::Store)?;
    Ok(Database::open(store)?)
}
