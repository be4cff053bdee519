//! What a transaction remembers of what it has read, and all that it has written, keyed by store
//! key, with undo.
//!
//! One hash look-up finds an entry; entries never move, so their index is a handle for the whole
//! transaction. A savepoint is an *epoch*: a number greater than every earlier epoch. An entry is
//! logged at most once for each savepoint that is still set, so the log is bounded by the distinct
//! keys changed since, not by the number of writes.

mod saved;

use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::Touch;
use crate::error::DbError;

/// Entries of one kind of value. `V` also says when a key is absent.
pub(crate) struct Cache<V> {
    entries: Vec<Entry<V>>,
    index: HashTable<Place>,
    /// Seeded anew in each process: guests choose keys, and no order leaks from the table.
    hasher: DefaultHashBuilder,
    undo: Vec<Undo<V>>,
    dirty: usize,
    /// What entries held before their first write.
    originals: Vec<V>,
}

/// Where the entry of a key is. The hash is kept so that neither a miss nor a growing table reads keys.
struct Place {
    hash: u32,
    index: u32,
}

pub(crate) struct Entry<V> {
    pub(crate) key: Bytes,
    pub(crate) value: V,
    pub(crate) dirty: bool,
    touched: bool,
    /// Epoch in which this entry was last logged.
    logged: u64,
    /// Place in `originals`, [`NEVER_WRITTEN`] before the first write.
    original: u32,
}

const NEVER_WRITTEN: u32 = u32::MAX;

/// A change to be committed.
pub(crate) struct Change<'a, V> {
    pub(crate) key: &'a Bytes,
    pub(crate) old: &'a V,
    pub(crate) new: &'a V,
}

/// An entry as it was before its first change in an epoch.
struct Undo<V> {
    index: u32,
    value: V,
    dirty: bool,
    touched: bool,
    logged: u64,
}

impl<V: Clone> Cache<V> {
    pub(crate) fn new() -> Cache<V> {
        Cache {
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            undo: Vec::new(),
            dirty: 0,
            originals: Vec::new(),
        }
    }

    /// The index of a key's entry, which is loaded if the key is new.
    #[inline]
    pub(crate) fn find_or_load(
        &mut self,
        key: &[u8],
        load: impl FnOnce() -> Result<V, DbError>,
    ) -> Result<usize, DbError> {
        let hash = hash(&self.hasher, key);
        match self.find_hashed(hash, key) {
            Some(index) => Ok(index),
            None => self.add(hash, key, load()?),
        }
    }

    #[inline(never)]
    fn add(&mut self, hash: u32, key: &[u8], value: V) -> Result<usize, DbError> {
        let index = self.entries.len();
        let stored = u32::try_from(index).ok().filter(|&index| index != NEVER_WRITTEN);
        let stored = stored.ok_or(DbError::Exhausted { what: "keys of a transaction" })?;
        self.entries.push(Entry {
            key: Bytes::copy_from_slice(key),
            value,
            dirty: false,
            touched: false,
            logged: 0,
            original: NEVER_WRITTEN,
        });
        self.index.insert_unique(spread(hash), Place { hash, index: stored }, |place| spread(place.hash));
        Ok(index)
    }

    /// The index of a key's entry, if it has one.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        self.find_hashed(hash(&self.hasher, key), key)
    }

    #[inline]
    fn find_hashed(&self, hash: u32, key: &[u8]) -> Option<usize> {
        let is_same = |place: &Place| place.hash == hash && self.entries[place.index as usize].key == key;
        self.index.find(spread(hash), is_same).map(|place| place.index as usize)
    }

    /// The hasher of [`hash64`].
    #[inline]
    pub(crate) fn hash_builder(&self) -> &DefaultHashBuilder {
        &self.hasher
    }

    /// The hasher of [`hash64`].
    pub(crate) fn hasher(&self) -> DefaultHashBuilder {
        self.hasher.clone()
    }

    /// Number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Entry<V>> {
        self.entries.get(index)
    }

    #[inline]
    pub(crate) fn entry(&self, index: usize) -> &Entry<V> {
        &self.entries[index]
    }

    #[inline]
    pub(crate) fn touch_of(&self, index: usize) -> Touch {
        if self.entries[index].touched { Touch::Again } else { Touch::First }
    }

    /// Counts an access.
    #[inline]
    pub(crate) fn touch(&mut self, index: usize, epoch: u64) {
        if !self.entries[index].touched {
            self.log(index, epoch);
            self.entries[index].touched = true;
        }
    }

    /// Writes a value, which also counts as an access.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, epoch: u64, value: V) {
        self.log(index, epoch);
        let entry = &mut self.entries[index];
        self.dirty += usize::from(!entry.dirty);
        let old = std::mem::replace(&mut entry.value, value);
        if entry.original == NEVER_WRITTEN {
            // Fits, as the entries do.
            entry.original = self.originals.len() as u32;
            self.originals.push(old);
        }
        entry.dirty = true;
        entry.touched = true;
    }

    #[inline]
    fn log(&mut self, index: usize, epoch: u64) {
        let entry = &mut self.entries[index];
        if entry.logged < epoch {
            self.undo.push(Undo {
                // Fits: `add` refuses more entries than that.
                index: index as u32,
                value: entry.value.clone(),
                dirty: entry.dirty,
                touched: entry.touched,
                logged: entry.logged,
            });
            entry.logged = epoch;
        }
    }

    /// The place in the undo log that a savepoint remembers.
    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Undoes everything after `mark`, telling `restored` about each entry as it is then.
    pub(crate) fn rollback(&mut self, mark: usize, mut restored: impl FnMut(&Entry<V>)) {
        for undo in self.undo.drain(mark..).rev() {
            let entry = &mut self.entries[undo.index as usize];
            self.dirty -= usize::from(entry.dirty);
            self.dirty += usize::from(undo.dirty);
            entry.value = undo.value;
            entry.dirty = undo.dirty;
            entry.touched = undo.touched;
            entry.logged = undo.logged;
            restored(entry);
        }
    }

    /// Makes what was logged after `mark` part of the epoch `parent` (0: of no savepoint), dropping
    /// what that epoch has logged already.
    pub(crate) fn release(&mut self, mark: usize, parent: u64) {
        let mut kept = mark;
        for i in mark..self.undo.len() {
            if self.undo[i].logged < parent {
                self.undo.swap(kept, i);
                kept += 1;
            }
        }
        self.undo.truncate(kept);
    }

    /// Number of entries to be written.
    pub(crate) fn dirty_len(&self) -> usize {
        self.dirty
    }

    /// What is to be written, with what was there before, in no useful order: sort before anything is shown.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_, V>> {
        self.dirty().map(|entry| Change {
            key: &entry.key,
            old: &self.originals[entry.original as usize],
            new: &entry.value,
        })
    }

    /// Entries to be written, in no useful order: sort before anything is shown.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &Entry<V>> {
        self.entries.iter().filter(|entry| entry.dirty)
    }
}

/// A key's hash.
#[inline]
pub(crate) fn hash64(hasher: &DefaultHashBuilder, key: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish()
}

#[inline]
fn hash(hasher: &DefaultHashBuilder, key: &[u8]) -> u32 {
    hash64(hasher, key) as u32
}

/// The table takes the bucket from the low bits and a tag from the highest.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (Cache<u32>, usize) {
        let mut cache = Cache::new();
        let index = cache.find_or_load(b"k", || Ok(10)).unwrap();
        (cache, index)
    }

    #[test]
    fn logs_once_for_each_savepoint() {
        let (mut cache, k) = cache();
        cache.set(k, 0, 11);
        assert_eq!(cache.mark(), 0, "nothing to undo to without a savepoint");
        for value in 0..100 {
            cache.set(k, 1, value);
        }
        assert_eq!(cache.mark(), 1);
        cache.rollback(0, |_| ());
        assert_eq!(cache.entry(k).value, 11);
    }

    #[test]
    fn released_epochs_fold_into_their_parent() {
        let (mut cache, k) = cache();
        cache.set(k, 1, 20);
        for epoch in 2..100 {
            let mark = cache.mark();
            cache.set(k, epoch, epoch as u32);
            cache.release(mark, 1);
        }
        assert_eq!(cache.mark(), 1);
        cache.rollback(0, |_| ());
        assert_eq!((cache.entry(k).value, cache.dirty_len()), (10, 0));
        assert_eq!(cache.touch_of(k), Touch::First);
    }

    #[test]
    fn a_key_first_changed_in_a_released_epoch_is_undone_with_the_parent() {
        let (mut cache, k) = cache();
        cache.set(k, 2, 30);
        cache.release(0, 1);
        cache.set(k, 1, 31);
        assert_eq!(cache.mark(), 1);
        cache.rollback(0, |_| ());
        assert_eq!(cache.entry(k).value, 10);
    }
}
