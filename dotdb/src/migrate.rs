//! Databases of earlier schemas.
//!
//! Schema 1 had no settings, no journal, no counters and no indexes, and other rows of collections: number u32, kind
//! u8, number of records u64, and the key that the next insertion gives, u64, 0 if they were used up. All else was as
//! it is.

use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{Batch, Durability, Store, StoreError};

use crate::catalog::rows_of;
use crate::collections::{CollectionState, ValueKind};
use crate::counters;
use crate::database::{Database, schema_version};
use crate::error::DbError;
use crate::keys::{COLLECTION, META_SCHEMA, SCHEMA_VERSION, corrupt};
use crate::settings::Settings;

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Schema before.
    pub from: u32,
    /// Schema now.
    pub to: u32,
}

impl Database {
    /// Gives a database of an earlier schema today's, in one atomic batch; it then keeps what `settings` say. Answers
    /// `None` for a database that has it already, whose settings stay.
    ///
    /// The state root, if there is to be one, is added afterwards: a database that was interrupted there is whole
    /// and has none yet ([`Database::add_state_root`]).
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`]; [`DbError::Foreign`] for a store without a schema; [`DbError::Settings`]; the
    /// store's.
    pub fn migrate(store: &Arc<dyn Store>, settings: Settings) -> Result<Option<Migration>, DbError> {
        settings.check()?;
        let snapshot = store.snapshot()?;
        let from = match schema_version(&*snapshot)? {
            Some(SCHEMA_VERSION) => return Ok(None),
            Some(found) if found > SCHEMA_VERSION => {
                return Err(StoreError::NewerFormat { found, supported: SCHEMA_VERSION }.into());
            }
            Some(found) => found,
            None => return Err(DbError::Foreign),
        };
        if store.read_only() {
            return Err(StoreError::ReadOnly.into());
        }
        let mut writes = Vec::new();
        for row in rows_of(&*snapshot, COLLECTION)? {
            let (key, value) = row?;
            writes.extend(collection_rows(key, &value)?);
        }
        drop(snapshot);
        let (key, value) = Settings { state_root: false, ..settings }.row();
        writes.push((key, Some(value)));
        let schema = Bytes::copy_from_slice(&SCHEMA_VERSION.to_be_bytes());
        writes.push((Bytes::from_static(META_SCHEMA), Some(schema)));
        store.apply(&Batch::from(writes), Durability::Sync)?;
        if settings.state_root {
            Database::add_state_root(Arc::clone(store))?;
        }
        Ok(Some(Migration { from, to: SCHEMA_VERSION }))
    }
}

/// Today's rows of a collection of schema 1.
fn collection_rows(key: Bytes, value: &[u8]) -> Result<Vec<(Bytes, Option<Bytes>)>, DbError> {
    let bad = || corrupt(&key, "is not a collection of schema 1");
    let (number, rest) = value.split_first_chunk().ok_or_else(bad)?;
    let (&kind, rest) = rest.split_first().ok_or_else(bad)?;
    let (count, rest) = rest.split_first_chunk().ok_or_else(bad)?;
    let number = u32::from_be_bytes(*number);
    let kind = match kind {
        0 => ValueKind::Bytes,
        1 => ValueKind::Document,
        _ => return Err(bad()),
    };
    let next = u64::from_be_bytes(rest.try_into().map_err(|_| bad())?);
    let count = u64::from_be_bytes(*count);
    let state = CollectionState { number, kind, has_definitions: false };
    let state = state.encode().ok_or_else(bad)?;
    // 0 stood for "none left": the greatest key was given.
    let greatest = next.wrapping_sub(1);
    let counter = |key: [u8; 6], value| (Bytes::copy_from_slice(&key), counters::encode(value));
    let mut rows = vec![counter(counters::count_key(number), count)];
    rows.push(counter(counters::greatest_key(number), greatest));
    rows.retain(|(_, value)| value.is_some());
    rows.push((key, Some(state)));
    Ok(rows)
}
