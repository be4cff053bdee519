//! DotDB over any backend: one collection of byte strings.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use dotdb::{
    CollectionId, ContractId, Database, DbError, Direction, Durability, History, Mode, Settings, Store, Tx,
    ValueKind,
};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use dotdb_sled::SledStore;

use super::{ABSENT, Client, Key, READS, Subject, Value, incremented};

/// The default settings.
pub const KEEPING: Option<History> = None;
/// No history.
pub const FORGETTING: Option<History> = Some(History::None);
pub const GROUP: Durability = Durability::Group;
pub const SYNC: Durability = Durability::Sync;

/// The backend.
pub enum On {
    Redb,
    Sled,
    Memory,
    #[cfg(feature = "rocksdb")]
    Rocksdb,
}

const CONTRACT: &str = "bench";
const COLLECTION: &str = "pairs";

struct DotDb {
    database: Database,
    contract: ContractId,
    durability: Durability,
}

/// Makes a database, with the default settings but for the history if one is given.
pub fn open(
    on: On,
    history: Option<History>,
    durability: Durability,
    directory: &Path,
) -> Result<Box<dyn Subject>> {
    let path = directory.join("pairs");
    let store: Arc<dyn Store> = match on {
        On::Redb => Arc::new(RedbStore::open_or_create(path)?),
        On::Sled => Arc::new(SledStore::open_or_create(path)?),
        On::Memory => Arc::new(MemoryStore::new()),
        #[cfg(feature = "rocksdb")]
        On::Rocksdb => Arc::new(dotdb_rocksdb::RocksdbStore::open_or_create(path)?),
    };
    let default = Settings::default();
    let settings = Settings { history: history.unwrap_or(default.history), ..default };
    let database = Database::open_or_create(store, settings)?;
    let mut tx = database.begin(Mode::ReadWrite)?;
    let contract = tx.contract_id(CONTRACT)?;
    tx.collection(contract, COLLECTION, ValueKind::Bytes)?;
    tx.commit(Durability::Sync)?;
    Ok(Box::new(DotDb { database, contract, durability }))
}

impl DotDb {
    fn begin(&self, mode: Mode) -> Result<(Tx, CollectionId)> {
        let mut tx = self.database.begin(mode)?;
        let pairs = tx.collection(self.contract, COLLECTION, ValueKind::Bytes)?;
        Ok((tx, pairs))
    }

    fn try_to_increment(&self, keys: &[Key; READS]) -> Result<()> {
        let (mut tx, pairs) = self.begin(Mode::ReadWrite)?;
        for (i, key) in keys.iter().enumerate() {
            let value = tx.get(pairs, key)?.context(ABSENT)?;
            if i < 2 {
                tx.put(pairs, key, incremented(&value)?.to_vec())?;
            }
        }
        tx.commit(self.durability)?;
        Ok(())
    }
}

impl Subject for DotDb {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(self))
    }
}

impl Client for &DotDb {
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()> {
        let (mut tx, collection) = self.begin(Mode::ReadWrite)?;
        for (key, value) in pairs {
            tx.put(collection, key, value.to_vec())?;
        }
        tx.commit(self.durability)?;
        Ok(())
    }

    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (mut tx, pairs) = self.begin(Mode::ReadOnly)?;
        for key in keys {
            see(&tx.get(pairs, key)?.context(ABSENT)?);
        }
        Ok(())
    }

    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let (mut tx, pairs) = self.begin(Mode::ReadOnly)?;
        for from in from {
            let mut left = rows;
            tx.visit(pairs, Bound::Included(from), Bound::Unbounded, Direction::Forward, |key, value| {
                see(key, value);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(())
    }

    fn increment(&mut self, keys: &[Key; READS]) -> Result<()> {
        loop {
            match self.try_to_increment(keys) {
                Err(error) if matches!(error.downcast_ref(), Some(DbError::Conflict { .. })) => {}
                result => return result,
            }
        }
    }
}
