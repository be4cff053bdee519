//! The in-memory store: an immutable ordered map behind a lock.
//!
//! A snapshot is a clone of the map, which shares its nodes and costs the same at any size; readers
//! never wait for one another. Nothing is written anywhere: every durability is as good as none.

use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use dotdb_store::{
    Batch, Direction, Durability, PairIter, Snapshot, Store, StoreError, StoreStats, Visitor, is_empty_range,
};
use imbl::OrdMap;

type Map = OrdMap<Bytes, Bytes>;

/// A store that lives as long as the process.
#[derive(Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    map: Map,
    live_bytes: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }
}

fn pair_bytes(key: &Bytes, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::new(MemorySnapshot { map: state.map.clone() }))
    }

    fn apply(&self, batch: &Batch, _: Durability) -> Result<(), StoreError> {
        batch.check_lengths()?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State { map, live_bytes } = &mut *state;
        for (key, value) in batch.iter() {
            let old = match value {
                Some(value) => {
                    *live_bytes += pair_bytes(key, value);
                    map.insert(key.clone(), value.clone())
                }
                None => map.remove(key),
            };
            if let Some(old) = old {
                *live_bytes -= pair_bytes(key, &old);
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(StoreStats {
            backend: "memory",
            keys: state.map.len() as u64,
            live_bytes: state.live_bytes,
            file_bytes: None,
            dead_bytes: None,
        })
    }
}

struct MemorySnapshot {
    map: Map,
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.map.get(key).cloned())
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        Ok(Box::new(Pages {
            map: self.map.clone(),
            from: from.map(Bytes::copy_from_slice),
            to: to.map(Bytes::copy_from_slice),
            direction,
            page: Vec::new().into_iter(),
            page_rows: FIRST_PAGE_ROWS,
            done: false,
        }))
    }

    fn visit(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
        see: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let mut rows = self.map.range::<_, [u8]>((from, to));
        let mut see = |(key, value): (&Bytes, &Bytes)| see(key, value);
        // Only why it ended is told.
        let _ = match direction {
            Direction::Forward => rows.try_for_each(&mut see),
            Direction::Backward => rows.rev().try_for_each(&mut see),
        };
        Ok(())
    }
}

/// Rows fetched by the first look-up of a range; each page is twice as long as the one before.
const FIRST_PAGE_ROWS: usize = 8;
/// Rows of the longest page.
const MAX_PAGE_ROWS: usize = 256;

/// A range that owns its map: the map's own iterators borrow it, so rows are fetched a page at a
/// time and each page starts where the last one ended.
struct Pages {
    map: Map,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    direction: Direction,
    page: std::vec::IntoIter<(Bytes, Bytes)>,
    page_rows: usize,
    done: bool,
}

impl Pages {
    fn fetch(&mut self) {
        let from = self.from.as_ref().map(|key| &key[..]);
        let to = self.to.as_ref().map(|key| &key[..]);
        if is_empty_range(from, to) {
            self.done = true;
            return;
        }
        let rows = self.map.range::<_, [u8]>((from, to));
        let own = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        let page: Vec<(Bytes, Bytes)> = match self.direction {
            Direction::Forward => rows.take(self.page_rows).map(own).collect(),
            Direction::Backward => rows.rev().take(self.page_rows).map(own).collect(),
        };
        self.done = page.len() < self.page_rows;
        self.page_rows = (self.page_rows * 2).min(MAX_PAGE_ROWS);
        if let Some((last, _)) = page.last() {
            let next = Bound::Excluded(last.clone());
            match self.direction {
                Direction::Forward => self.from = next,
                Direction::Backward => self.to = next,
            }
        }
        self.page = page.into_iter();
    }
}

impl Iterator for Pages {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(Ok(row));
            }
            if self.done {
                return None;
            }
            self.fetch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        dotdb_store::conformance::check_store(|| Arc::new(MemoryStore::new()));
    }

    #[test]
    fn counts_live_bytes() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put("ab", "1234").put("c", "");
        store.apply(&batch, Durability::None).unwrap();
        assert_eq!(store.stats().unwrap().live_bytes, 7);
        let mut batch = Batch::new();
        batch.put("ab", "1").delete("c").delete("absent");
        store.apply(&batch, Durability::None).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!((stats.keys, stats.live_bytes), (1, 3));
    }
}
