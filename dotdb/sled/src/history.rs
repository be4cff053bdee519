//! What batches overwrote, for the snapshots that were taken before them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use dotdb_store::StoreError;

use crate::engine::Engine;

/// Values that were overwritten, kept as long as a snapshot needs them.
///
/// Batches are counted; a snapshot is the number of batches before it. A value overwritten by batch `n` is what
/// the snapshots below `n` see, back to the value overwritten before it. It must be recorded before the batch is
/// applied, and looked for after the current value was read: then a reader that met the new value finds the old.
#[derive(Default)]
pub(crate) struct History {
    /// Number of batches applied.
    batches: u64,
    /// Snapshots that live, and how many of each.
    live: BTreeMap<u64, u32>,
    /// For each key the numbers of batches, ascending, and what they overwrote.
    overwritten: BTreeMap<Bytes, Vec<(u64, Option<Bytes>)>>,
    /// The keys of `overwritten` by number of the batch.
    keys: BTreeMap<u64, Vec<Bytes>>,
}

impl History {
    /// Whether overwritten values must be kept at all.
    pub(crate) fn is_needed(&self) -> bool {
        !self.live.is_empty()
    }

    /// Keeps what the next batch overwrites, unless no living snapshot would see it.
    pub(crate) fn record(&mut self, key: &Bytes, old: Option<Bytes>) {
        let Some((&newest, _)) = self.live.last_key_value() else { return };
        let batch = self.batches + 1;
        let values = self.overwritten.entry(key.clone()).or_default();
        if values.last().is_some_and(|&(last, _)| last > newest) {
            return;
        }
        values.push((batch, old));
        self.keys.entry(batch).or_default().push(key.clone());
    }

    /// Counts a batch that was applied.
    pub(crate) fn advance(&mut self) {
        self.batches += 1;
    }

    pub(crate) fn batches(&self) -> u64 {
        self.batches
    }

    fn open(&mut self) -> u64 {
        *self.live.entry(self.batches).or_default() += 1;
        self.batches
    }

    fn close(&mut self, snapshot: u64) {
        let Some(count) = self.live.get_mut(&snapshot) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.live.remove(&snapshot);
        let Some((&oldest, _)) = self.live.first_key_value() else {
            self.overwritten.clear();
            self.keys.clear();
            return;
        };
        while let Some(entry) = self.keys.first_entry() {
            if *entry.key() > oldest {
                break;
            }
            for key in entry.remove() {
                if let Some(values) = self.overwritten.get_mut(&key) {
                    values.retain(|&(batch, _)| batch > oldest);
                    if values.is_empty() {
                        self.overwritten.remove(&key);
                    }
                }
            }
        }
    }

    /// What a snapshot sees instead of the current value, if it sees another.
    fn value(&self, snapshot: u64, key: &[u8]) -> Option<&Option<Bytes>> {
        value_at(self.overwritten.get(key)?, snapshot)
    }
}

fn value_at(values: &[(u64, Option<Bytes>)], snapshot: u64) -> Option<&Option<Bytes>> {
    values.iter().find(|&&(batch, _)| batch > snapshot).map(|(_, old)| old)
}

/// A living snapshot.
pub(crate) struct Reader {
    engine: Arc<Engine>,
    history: Arc<RwLock<History>>,
    snapshot: u64,
}

impl Reader {
    /// A snapshot of now; no batch may be under way.
    pub(crate) fn new(engine: Arc<Engine>, history: Arc<RwLock<History>>) -> Reader {
        let snapshot = history.write().unwrap_or_else(PoisonError::into_inner).open();
        Reader { engine, history, snapshot }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let current = self.engine.get(key)?;
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        Ok(history.value(self.snapshot, key).cloned().unwrap_or(current))
    }

    /// Whether the current pairs between two bounds, which were read before, are those of the snapshot.
    pub(crate) fn is_current(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        history.overwritten.range::<[u8], _>((from, to)).next().is_none()
    }

    /// Turns the current pairs between two bounds into those of the snapshot.
    pub(crate) fn correct(&self, pairs: &mut BTreeMap<Bytes, Bytes>, from: Bound<&[u8]>, to: Bound<&[u8]>) {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        for (key, values) in history.overwritten.range::<[u8], _>((from, to)) {
            match value_at(values, self.snapshot) {
                Some(Some(old)) => {
                    pairs.insert(key.clone(), old.clone());
                }
                Some(None) => {
                    pairs.remove(key);
                }
                None => {}
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.history.write().unwrap_or_else(PoisonError::into_inner).close(self.snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(history: &History) -> usize {
        history.overwritten.values().map(Vec::len).sum()
    }

    #[test]
    fn values_are_kept_once_for_each_snapshot_and_no_longer() {
        let mut history = History::default();
        let key = Bytes::from("k");
        let write = |history: &mut History, old: u8| {
            history.record(&key, Some(vec![old].into()));
            history.advance();
        };
        write(&mut history, 0);
        assert_eq!(kept(&history), 0, "nobody looks");
        let first = history.open();
        for old in 1..10 {
            write(&mut history, old);
        }
        assert_eq!(kept(&history), 1, "the first of them is all that is needed");
        let second = history.open();
        let third = history.open();
        assert_eq!(second, third);
        write(&mut history, 10);
        write(&mut history, 11);
        let see = |history: &History, snapshot| history.value(snapshot, b"k").cloned();
        assert_eq!(see(&history, first), Some(Some(vec![1].into())));
        assert_eq!(see(&history, second), Some(Some(vec![10].into())));
        assert_eq!(see(&history, history.batches()), None, "the current value");
        history.close(first);
        assert_eq!(kept(&history), 1);
        history.close(second);
        assert_eq!(see(&history, third), Some(Some(vec![10].into())));
        history.close(third);
        assert_eq!(kept(&history), 0);
        assert!(history.keys.is_empty() && !history.is_needed());
    }
}
