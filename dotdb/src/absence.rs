//! Which keys were never inserted, so that loading new collections looks no record up.
//!
//! A collection that was created since the database was opened got all its keys from this process. They are kept in a
//! Bloom filter: what it does not have is in no state that a transaction can see, and putting it reads nothing. The
//! filter forgets nothing, neither what was deleted or rolled back nor what a failed write would have inserted: that
//! costs a look-up, as do the few keys that it takes for inserted ones.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

use crate::keys::{PREFIX_BYTES, RECORD};

/// Most collections with a filter; those created later are looked up.
const MAX_FILTERS: usize = 64;
/// Keys of a filter's first layer; each layer has four times as many as the one before.
const FIRST_KEYS: u64 = 1 << 12;
/// Layers of a filter: 5.6 million keys in 8 MiB. One that is full answers nothing any more.
const LAYERS: usize = 6;
const BITS_PER_KEY: u64 = 12;
/// Words of a block, a cache line, in which all bits of a key are.
const BLOCK_WORDS: usize = 8;
/// Bits of a key: four in a hundred keys are taken for inserted ones at the worst.
const KEY_BITS: u32 = 5;

/// The filters of a database.
#[derive(Default)]
pub(crate) struct Absences {
    filters: RwLock<HashMap<u32, Arc<Filter>>>,
    /// Whether there is one.
    some: AtomicBool,
    /// Seeded anew in each process: guests choose keys.
    hasher: DefaultHashBuilder,
}

/// The keys of one collection.
pub(crate) struct Filter {
    layers: [OnceLock<Box<[AtomicU64]>>; LAYERS],
    /// Keys inserted; changed by one thread at a time.
    keys: AtomicU64,
    full: AtomicBool,
}

impl Absences {
    /// The filter of a collection that has one.
    pub(crate) fn of(&self, collection: u32) -> Option<Arc<Filter>> {
        if !self.some.load(Ordering::Relaxed) {
            return None;
        }
        self.filters.read().unwrap_or_else(PoisonError::into_inner).get(&collection).cloned()
    }

    /// A store key's hash.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Takes in what a transaction is about to write, which created these collections. By one thread at a time, before
    /// anybody can see the writes.
    pub(crate) fn add(&self, created: &[u32], writes: &[(Bytes, Option<Bytes>)]) {
        if !created.is_empty() {
            let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
            for &collection in created {
                // A number that a restored state gives again keeps its filter.
                if filters.len() < MAX_FILTERS {
                    filters.entry(collection).or_insert_with(|| Arc::new(Filter::new()));
                }
            }
            self.some.store(!filters.is_empty(), Ordering::Relaxed);
        }
        if !self.some.load(Ordering::Relaxed) {
            return;
        }
        let mut last: Option<(u32, Option<Arc<Filter>>)> = None;
        for (key, value) in writes {
            let Some([RECORD, a, b, c, d]) = key.first_chunk::<PREFIX_BYTES>() else { continue };
            if value.is_none() {
                continue;
            }
            let collection = u32::from_be_bytes([*a, *b, *c, *d]);
            if last.as_ref().is_none_or(|(known, _)| *known != collection) {
                last = Some((collection, self.of(collection)));
            }
            if let Some((_, Some(filter))) = &last {
                filter.insert(self.hash(key));
            }
        }
    }
}

/// The keys that a layer takes.
fn capacity(layer: usize) -> u64 {
    FIRST_KEYS << (2 * layer)
}

/// Calls `see` with each word and the bits in it that a hash sets, until it answers `false`; tells whether it never did.
#[inline]
fn all_bits(words: &[AtomicU64], hash: u64, mut see: impl FnMut(&AtomicU64, u64) -> bool) -> bool {
    // The upper half chooses the block, nine bits at a time of the mixed lower half a bit in it.
    let blocks = (words.len() / BLOCK_WORDS) as u64;
    let block = (((hash >> 32) * blocks) >> 32) as usize * BLOCK_WORDS;
    let mut bits = (hash as u32 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..KEY_BITS {
        let bit = (bits >> 55) as usize;
        bits <<= 9;
        if !see(&words[block + bit / 64], 1 << (bit % 64)) {
            return false;
        }
    }
    true
}

impl Filter {
    fn new() -> Filter {
        Filter { layers: Default::default(), keys: AtomicU64::new(0), full: AtomicBool::new(false) }
    }

    /// Whether a key was surely never inserted.
    #[inline]
    pub(crate) fn excludes(&self, hash: u64) -> bool {
        let has = |words: &[AtomicU64]| {
            all_bits(words, hash, |word, bits| word.load(Ordering::Relaxed) & bits != 0)
        };
        !self.full.load(Ordering::Relaxed)
            && !self.layers.iter().map_while(OnceLock::get).any(|words| has(words))
    }

    /// By one thread at a time. Who can see the key has met this thread at a lock since.
    fn insert(&self, hash: u64) {
        if self.full.load(Ordering::Relaxed) || !self.excludes(hash) {
            return;
        }
        let (mut keys, mut layer) = (self.keys.load(Ordering::Relaxed), 0);
        self.keys.store(keys + 1, Ordering::Relaxed);
        while layer < LAYERS && keys >= capacity(layer) {
            keys -= capacity(layer);
            layer += 1;
        }
        let Some(layer_words) = self.layers.get(layer) else {
            self.full.store(true, Ordering::Relaxed);
            return;
        };
        let words = (capacity(layer) * BITS_PER_KEY / 64) as usize;
        let words = layer_words.get_or_init(|| (0..words).map(|_| AtomicU64::new(0)).collect());
        all_bits(words, hash, |word, bits| {
            word.fetch_or(bits, Ordering::Relaxed);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::prefix;

    fn write(collection: u32, number: u64) -> (Bytes, Option<Bytes>) {
        let key = [&prefix(RECORD, collection)[..], &number.to_be_bytes()].concat();
        (key.into(), Some(Bytes::from_static(b"v")))
    }

    #[test]
    fn what_was_inserted_is_never_excluded_and_most_else_is() {
        let absences = Absences::default();
        absences.add(&[7], &[]);
        assert!(absences.of(8).is_none(), "nobody knows what was in it before");
        let filter = absences.of(7).unwrap();
        let mut inserted = 0;
        for end in [1, 4000, 5000, 100_000, 300_000] {
            let writes: Vec<_> =
                (inserted..end).flat_map(|number| [write(7, number), write(8, number)]).collect();
            absences.add(&[], &writes);
            inserted = end;
            assert!((0..end).all(|number| !filter.excludes(absences.hash(&write(7, number).0))));
            let taken =
                (end..end + 10_000).filter(|&number| !filter.excludes(absences.hash(&write(7, number).0)));
            let taken = taken.count();
            assert!(taken < 1000, "{taken} of 10,000 with {end} inserted");
        }
    }

    #[test]
    fn a_full_filter_excludes_nothing() {
        let filter = Filter::new();
        filter.keys.store((0..LAYERS).map(capacity).sum(), Ordering::Relaxed);
        assert!(filter.excludes(1));
        filter.insert(2);
        assert!(!filter.excludes(1) && !filter.excludes(2));
    }

    #[test]
    fn there_are_only_so_many() {
        let absences = Absences::default();
        absences.add(&(1..200).collect::<Vec<_>>(), &[]);
        assert_eq!((1..200).filter(|&collection| absences.of(collection).is_some()).count(), MAX_FILTERS);
    }
}
