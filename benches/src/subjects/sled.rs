//! sled called directly: one tree and its transactions. sled's own flush does not reach the disk, so its log is
//! synced after it, as DotDB does.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow};
use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{Batch, Config, Db, Tree};

use super::{ABSENT, CACHE_BYTES, Client, Key, READS, Subject, Value, incremented};

struct Sled {
    database: Db,
    pairs: Tree,
    log: File,
}

pub fn open(directory: &Path) -> Result<Box<dyn Subject>> {
    let path = directory.join("pairs.sled");
    let config = Config::new().path(&path).cache_capacity(CACHE_BYTES as u64);
    let database = config.open()?;
    let pairs = database.open_tree("pairs")?;
    let log = File::options().read(true).write(true).open(path.join("db"))?;
    Ok(Box::new(Sled { database, pairs, log }))
}

impl Sled {
    fn sync(&self) -> Result<()> {
        self.database.flush()?;
        Ok(self.log.sync_all()?)
    }
}

impl Subject for Sled {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(self))
    }
}

impl Client for &Sled {
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(key, &value[..]);
        }
        self.pairs.apply_batch(batch)?;
        self.sync()
    }

    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        for key in keys {
            see(&self.pairs.get(key)?.context(ABSENT)?);
        }
        Ok(())
    }

    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for from in from {
            for row in self.pairs.range::<&[u8], _>(&from[..]..).take(rows) {
                let (key, value) = row?;
                see(&key, &value);
            }
        }
        Ok(())
    }

    fn increment(&mut self, keys: &[Key; READS]) -> Result<()> {
        let result = self.pairs.transaction(|pairs| {
            for (i, key) in keys.iter().enumerate() {
                let abort = ConflictableTransactionError::Abort;
                let value = pairs.get(key)?.ok_or_else(|| abort(anyhow!(ABSENT)))?;
                if i < 2 {
                    pairs.insert(key, &incremented(&value).map_err(abort)?[..])?;
                }
            }
            Ok(())
        });
        result.map_err(|error: TransactionError<Error>| match error {
            TransactionError::Abort(error) => error,
            TransactionError::Storage(error) => error.into(),
        })?;
        self.sync()
    }
}
