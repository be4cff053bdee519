//! RocksDB called directly: optimistic transactions, each waiting for its record of the log to be synced.

use std::path::Path;

use anyhow::{Context, Result};
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, Direction, ErrorKind, IteratorMode, OptimisticTransactionDB,
    OptimisticTransactionOptions, Options, WriteBatchWithTransaction, WriteOptions,
};

use super::{ABSENT, CACHE_BYTES, Client, Key, READS, Subject, Value, incremented};

struct Rocksdb(OptimisticTransactionDB);

pub fn open(directory: &Path) -> Result<Box<dyn Subject>> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    Ok(Box::new(Rocksdb(OptimisticTransactionDB::open(&options, directory.join("pairs.rocksdb"))?)))
}

fn durable() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

impl Rocksdb {
    fn try_to_increment(&self, keys: &[Key; READS]) -> Result<Result<(), rocksdb::Error>> {
        let transaction = self.0.transaction_opt(&durable(), &OptimisticTransactionOptions::default());
        for (i, key) in keys.iter().enumerate() {
            let value = transaction.get_pinned_for_update(key, true)?.context(ABSENT)?;
            if i < 2 {
                transaction.put(key, incremented(&value)?)?;
            }
        }
        Ok(transaction.commit())
    }
}

impl Subject for Rocksdb {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(self))
    }
}

impl Client for &Rocksdb {
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()> {
        let mut batch = WriteBatchWithTransaction::<true>::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(self.0.write_opt(batch, &durable())?)
    }

    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let snapshot = self.0.snapshot();
        for key in keys {
            see(&snapshot.get_pinned(key)?.context(ABSENT)?);
        }
        Ok(())
    }

    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let snapshot = self.0.snapshot();
        for from in from {
            for row in snapshot.iterator(IteratorMode::From(from, Direction::Forward)).take(rows) {
                let (key, value) = row?;
                see(&key, &value);
            }
        }
        Ok(())
    }

    fn increment(&mut self, keys: &[Key; READS]) -> Result<()> {
        loop {
            match self.try_to_increment(keys)? {
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::TryAgain) => {}
                result => return Ok(result?),
            }
        }
    }
}
