//! DotDB's in-memory store called directly: snapshots and batches, writers one after the other.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use dotdb::store::{Batch, Durability};
use dotdb::{Direction, Store};
use dotdb_memory::MemoryStore;

use super::{ABSENT, Client, Key, READS, Subject, Value, incremented};

#[derive(Default)]
struct Memory {
    store: MemoryStore,
    /// Held by who reads and then writes.
    writer: Mutex<()>,
}

pub fn open(_: &Path) -> Result<Box<dyn Subject>> {
    Ok(Box::<Memory>::default())
}

impl Subject for Memory {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(self))
    }
}

impl Client for &Memory {
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()> {
        let write =
            |(key, value): &(Key, Value)| (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
        let batch: Batch = pairs.iter().map(write).collect();
        Ok(self.store.apply(&batch, Durability::Sync)?)
    }

    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let snapshot = self.store.snapshot()?;
        for key in keys {
            see(&snapshot.get(key)?.context(ABSENT)?);
        }
        Ok(())
    }

    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let snapshot = self.store.snapshot()?;
        for from in from {
            let mut left = rows;
            let mut see = |key: &[u8], value: &[u8]| {
                see(key, value);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            snapshot.visit(Bound::Included(from), Bound::Unbounded, Direction::Forward, &mut see)?;
        }
        Ok(())
    }

    fn increment(&mut self, keys: &[Key; READS]) -> Result<()> {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.store.snapshot()?;
        let mut batch = Batch::new();
        for (i, key) in keys.iter().enumerate() {
            let value = snapshot.get(key)?.context(ABSENT)?;
            if i < 2 {
                batch.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(&incremented(&value)?));
            }
        }
        drop(snapshot);
        Ok(self.store.apply(&batch, Durability::Sync)?)
    }
}
