//! redb called directly: one table, [`Durability::Immediate`], write transactions one after the other as redb has them.

use std::path::Path;

use anyhow::{Context, Result};
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::{ABSENT, CACHE_BYTES, Client, Key, READS, Subject, Value, incremented};

const PAIRS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("pairs");

struct Redb(Database);

pub fn open(directory: &Path) -> Result<Box<dyn Subject>> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(directory.join("pairs.redb"))?;
    let transaction = database.begin_write()?;
    transaction.open_table(PAIRS)?;
    transaction.commit()?;
    Ok(Box::new(Redb(database)))
}

impl Redb {
    fn begin(&self) -> Result<WriteTransaction> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }
}

impl Subject for Redb {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(self))
    }
}

impl Client for &Redb {
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()> {
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(PAIRS)?;
            for (key, value) in pairs {
                table.insert(&key[..], &value[..])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(PAIRS)?;
        for key in keys {
            see(table.get(&key[..])?.context(ABSENT)?.value());
        }
        Ok(())
    }

    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(PAIRS)?;
        for from in from {
            for row in table.range(&from[..]..)?.take(rows) {
                let (key, value) = row?;
                see(key.value(), value.value());
            }
        }
        Ok(())
    }

    fn increment(&mut self, keys: &[Key; READS]) -> Result<()> {
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(PAIRS)?;
            for (i, key) in keys.iter().enumerate() {
                let old = table.get(&key[..])?.context(ABSENT)?;
                if i < 2 {
                    let new = incremented(old.value())?;
                    drop(old);
                    table.insert(&key[..], &new[..])?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}
