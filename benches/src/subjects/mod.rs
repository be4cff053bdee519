//! Databases under test: DotDB over a backend, the same backend called directly, and SQLite. One driver works them
//! all, so that they get the same keys and values in the same order and promise the same durability.

mod dotdb;
mod memory;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sled;
pub mod sqlite;

use std::path::Path;

use anyhow::{Context, Result};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a value: a counter, and bytes that do not compress.
pub const VALUE_BYTES: usize = 100;
/// Reads of a small transaction; the first two are also written.
pub const READS: usize = 4;
/// Memory for cached pages that every database on disk is given, bytes.
pub const CACHE_BYTES: usize = 256 << 20;

/// A key.
pub type Key = [u8; KEY_BYTES];
/// A value.
pub type Value = [u8; VALUE_BYTES];

/// A database that several clients use at a time.
pub trait Subject: Send + Sync {
    /// A client, one for each thread.
    fn client(&self) -> Result<Box<dyn Client + '_>>;
}

/// One client's view of a database of pairs.
pub trait Client: Send {
    /// Puts pairs in one transaction, which is durable when this returns.
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()>;

    /// Shows the values of keys, all from one snapshot.
    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Shows so many pairs in key order from each of the keys on, or fewer at the end; all from one snapshot.
    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;

    /// Reads the values of four keys and adds one to the counters of the first two, in one serializable transaction,
    /// which is durable when this returns.
    fn increment(&mut self, keys: &[Key; READS]) -> Result<()>;
}

/// A database that can be made.
pub struct Competitor {
    /// Its name in the table.
    pub name: &'static str,
    /// Makes it, with files in an empty directory if it needs any.
    pub open: fn(&Path) -> Result<Box<dyn Subject>>,
    /// Whether it takes part only where clients commit.
    pub only_commits: bool,
}

/// A backend: DotDB over it, and what it is compared with.
pub trait Backend {
    /// Names of its workloads.
    const NAMES: Names;
    /// The backend called directly.
    const BASELINE: &'static str;
    /// Everybody who takes part.
    const COMPETITORS: &'static [Competitor];
}

/// Names of a backend's workloads.
pub struct Names {
    pub load: &'static str,
    pub get: &'static str,
    pub scan: &'static str,
    /// By the number of clients, as in [`CLIENTS`].
    pub tx: [&'static str; CLIENTS.len()],
}

/// Numbers of clients of small transactions.
pub const CLIENTS: [usize; 4] = [1, 4, 16, 64];

macro_rules! backend {
    ($type:ident, $name:literal, $direct:path $(, $more:expr)*) => {
        #[doc = concat!("DotDB over ", $name, ".")]
        pub struct $type;

        impl Backend for $type {
            const NAMES: Names = Names {
                load: concat!("store_load_", $name),
                get: concat!("store_get_", $name),
                scan: concat!("store_scan_", $name),
                tx: [
                    concat!("store_tx_", $name),
                    concat!("store_tx_", $name, "_4"),
                    concat!("store_tx_", $name, "_16"),
                    concat!("store_tx_", $name, "_64"),
                ],
            };
            const BASELINE: &'static str = concat!($name, " called directly");
            const COMPETITORS: &'static [Competitor] = &[
                Competitor {
                    name: concat!("DotDB over ", $name),
                    open: |path| dotdb::open(dotdb::On::$type, dotdb::KEEPING, dotdb::GROUP, path),
                    only_commits: false,
                },
                Competitor {
                    name: concat!("DotDB over ", $name, ", each commit flushed"),
                    open: |path| dotdb::open(dotdb::On::$type, dotdb::KEEPING, dotdb::SYNC, path),
                    only_commits: true,
                },
                Competitor {
                    name: concat!("DotDB over ", $name, ", no history"),
                    open: |path| dotdb::open(dotdb::On::$type, dotdb::FORGETTING, dotdb::GROUP, path),
                    only_commits: false,
                },
                Competitor {
                    name: concat!($name, " called directly"),
                    open: |path| $direct(path),
                    only_commits: false,
                },
                $($more,)*
            ];
        }
    };
}

backend!(
    Redb,
    "redb",
    redb::open,
    Competitor { name: "SQLite", open: |path| sqlite::open(path), only_commits: false }
);
backend!(Sled, "sled", sled::open);
backend!(Memory, "memory", memory::open);
#[cfg(feature = "rocksdb")]
backend!(Rocksdb, "rocksdb", rocksdb::open);

/// The key of a number: numbers in order give keys in none.
pub fn key(number: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    let mut state = number;
    for part in key.chunks_exact_mut(8) {
        state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        part.copy_from_slice(&state.to_be_bytes());
    }
    key
}

/// The first value of a number's key.
pub fn value(number: u64) -> Value {
    let mut value = [0; VALUE_BYTES];
    let mut state = !number;
    for part in value[8..].chunks_mut(8) {
        state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        part.copy_from_slice(&state.to_be_bytes()[..part.len()]);
    }
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// The finaliser of splitmix64, a bijection.
fn mix(mut state: u64) -> u64 {
    state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}

/// The counter in a value.
pub fn counter(value: &[u8]) -> Result<u64> {
    let bytes = value.first_chunk().context("a value has no counter")?;
    Ok(u64::from_be_bytes(*bytes))
}

/// A value with its counter one higher.
fn incremented(value: &[u8]) -> Result<Value> {
    let mut changed: Value = value.try_into().context("a value has another length")?;
    changed[..8].copy_from_slice(&(counter(value)? + 1).to_be_bytes());
    Ok(changed)
}

const ABSENT: &str = "a key is absent";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_differ_and_are_in_no_order() {
        let keys: Vec<Key> = (0..1000).map(key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1000);
        let rising = keys.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&rising), "{rising}");
    }

    #[test]
    fn incrementing_changes_only_the_counter() {
        let before = value(7);
        let after = incremented(&before).unwrap();
        assert_eq!((counter(&before).unwrap(), counter(&after).unwrap()), (7, 8));
        assert_eq!(before[8..], after[8..]);
        assert!(incremented(&before[1..]).is_err());
    }

    fn works<B: Backend>() {
        for competitor in B::COMPETITORS {
            let directory = tempfile::tempdir().unwrap();
            let subject = (competitor.open)(directory.path()).unwrap();
            let mut client = subject.client().unwrap();
            let pairs: Vec<(Key, Value)> = (0..100).map(|i| (key(i), value(i))).collect();
            client.put(&pairs).unwrap();
            for _ in 0..3 {
                client.increment(&[key(1), key(2), key(3), key(4)]).unwrap();
            }
            let mut seen = Vec::new();
            client.get(&[key(1), key(3)], &mut |value| seen.push(value.to_vec())).unwrap();
            assert_eq!(counter(&seen[0]).unwrap(), 4, "{}", competitor.name);
            assert_eq!(seen[1], value(3));
            let mut sorted = pairs.clone();
            sorted.sort();
            let mut keys = Vec::new();
            client.scan(&[sorted[10].0, sorted[98].0], 5, &mut |key, _| keys.push(key.to_vec())).unwrap();
            let expected: Vec<_> =
                sorted[10..15].iter().chain(&sorted[98..]).map(|(key, _)| key.to_vec()).collect();
            assert_eq!(keys, expected, "{}", competitor.name);
            assert!(client.get(&[key(1000)], &mut |_| ()).is_err(), "{}", competitor.name);
            assert!(client.increment(&[key(1), key(2), key(3), key(1000)]).is_err(), "{}", competitor.name);
        }
    }

    #[test]
    fn every_competitor_works() {
        works::<Redb>();
        works::<Sled>();
        works::<Memory>();
        #[cfg(feature = "rocksdb")]
        works::<Rocksdb>();
    }
}
