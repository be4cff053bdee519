//! A database larger than the memory it may take: load, random reads, scans, reads of the past, opening anew.
//! `DOTVM_LONG=1` takes ten million records instead of a hundred thousand, and prints times and sizes.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use dotdb::{CollectionId, Database, Direction, Durability, Mode, Tx, ValueKind};
use dotdb_redb::{CACHE_BYTES, RedbStore};
use fastrand::Rng;

/// Records of one transaction while loading.
const AT_ONCE: u64 = 10_000;
/// One record in so many is changed after loading.
const CHANGED: u64 = 101;
const VALUE_BYTES: usize = 64;
/// Random reads of each version, fewer in a small run.
const READS: u64 = 100_000;

/// What a record holds: 64 bytes that follow from its number and how often it was changed.
fn value(number: u64, change: u64) -> Vec<u8> {
    let mut random = Rng::with_seed(number << 1 | change);
    (0..VALUE_BYTES / 8).flat_map(|_| random.u64(..).to_be_bytes()).collect()
}

fn records(tx: &mut Tx) -> CollectionId {
    let contract = tx.contract_id("big").unwrap();
    tx.collection(contract, "records", ValueKind::Bytes).unwrap()
}

/// Most memory that the process has ever had, bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// What the whole test may take, whatever the number of records: the cache of the store, and an eighth more for what
/// it keeps of each page; 1 kB for each record of one transaction, and for each of the 65,536 changes that are read
/// from the journal when a version is opened; 64 MB for batches and the program itself.
fn bound() -> u64 {
    CACHE_BYTES as u64 * 9 / 8 + (AT_ONCE + (1 << 16)) * 1024 + (64 << 20)
}

struct Stage(Instant);

impl Stage {
    fn done(&mut self, what: &str) {
        let peak = peak_bytes().unwrap_or(0);
        println!("{what}: {:.1?}, peak memory {} MB", self.0.elapsed(), peak >> 20);
        self.0 = Instant::now();
    }
}

/// Reads records chosen at random.
fn read_some(tx: &mut Tx, records: CollectionId, count: u64, random: &mut Rng, change: impl Fn(u64) -> u64) {
    for _ in 0..READS.min(count / 5) {
        let number = random.u64(..count);
        let found = tx.get(records, &number.to_be_bytes()).unwrap().expect("it is there");
        assert_eq!(found, value(number, change(number)), "record {number}");
    }
    assert_eq!(tx.get(records, &count.to_be_bytes()).unwrap(), None);
}

/// Goes over all records.
fn scan(tx: &mut Tx, records: CollectionId, count: u64, change: impl Fn(u64) -> u64) {
    let cursor = tx.scan(records, Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
    let mut number = 0u64;
    while let Some((key, found)) = tx.next(cursor).unwrap() {
        assert_eq!(key, &number.to_be_bytes()[..]);
        assert!(found == value(number, change(number)), "record {number}");
        number += 1;
    }
    assert_eq!(number, count);
    assert_eq!(tx.count(records).unwrap(), count);
}

#[test]
fn more_records_than_memory() {
    let count: u64 = dotvm_test_modes::pick(100_000, 10_000_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big.db");
    let open = || Database::open(Arc::new(RedbStore::open_or_create(&path).unwrap())).unwrap();
    let size = || std::fs::metadata(&path).unwrap().len() >> 20;
    let mut random = Rng::with_seed(count);
    let mut stage = Stage(Instant::now());

    let database = open();
    for first in (0..count).step_by(AT_ONCE as usize) {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let records = records(&mut tx);
        for number in first..(first + AT_ONCE).min(count) {
            tx.put(records, &number.to_be_bytes(), value(number, 0)).unwrap();
        }
        tx.commit(Durability::None).unwrap();
    }
    database.sync().unwrap();
    let loaded = database.version();
    assert_eq!(loaded, count.div_ceil(AT_ONCE));
    database.name_version("loaded", loaded).unwrap();
    stage.done(&format!("{count} records loaded, {} MB", size()));

    let is_changed = |number: u64| u64::from(number.is_multiple_of(CHANGED));
    for first in (0..count).step_by((AT_ONCE * CHANGED) as usize) {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let records = records(&mut tx);
        for number in (first..count.min(first + AT_ONCE * CHANGED)).step_by(CHANGED as usize) {
            assert!(tx.put(records, &number.to_be_bytes(), value(number, 1)).unwrap());
        }
        tx.commit(Durability::Sync).unwrap();
    }
    stage.done(&format!("one in {CHANGED} changed, {} MB", size()));

    let mut now = database.begin(Mode::ReadOnly).unwrap();
    let handle = records(&mut now);
    read_some(&mut now, handle, count, &mut random, is_changed);
    stage.done("random reads");
    scan(&mut now, handle, count, is_changed);
    stage.done("a scan");

    let mut then = database.begin_at(loaded).unwrap();
    let handle = records(&mut then);
    stage.done("a version opened");
    read_some(&mut then, handle, count, &mut random, |_| 0);
    stage.done("random reads of it");
    scan(&mut then, handle, count, |_| 0);
    stage.done("a scan of it");
    let mut half = database.begin_at(loaded / 2).unwrap();
    let handle = records(&mut half);
    assert_eq!(half.count(handle).unwrap(), (loaded / 2) * AT_ONCE);
    read_some(&mut half, handle, (loaded / 2) * AT_ONCE, &mut random, |_| 0);
    stage.done("random reads of a version half loaded");
    drop((now, then, half));

    let version = database.version();
    if let Some(peak) = peak_bytes() {
        assert!(peak <= bound(), "{} MB were taken and {} MB allowed", peak >> 20, bound() >> 20);
    }
    drop(database);
    stage.done("closed");
    let database = open();
    stage.done("opened again");
    assert_eq!((database.version(), database.version_named("loaded").unwrap()), (version, loaded));
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let handle = records(&mut tx);
    read_some(&mut tx, handle, count, &mut random, is_changed);
    assert_eq!(tx.insert(handle, "one more").unwrap(), &count.to_be_bytes()[..]);
    tx.commit(Durability::Sync).unwrap();
    stage.done(&format!("random reads and a commit, {} MB", size()));
    if let Some(peak) = peak_bytes() {
        // Of the first store's cache the allocator may not have given anything back.
        let bound = bound() + CACHE_BYTES as u64;
        assert!(peak <= bound, "{} MB were taken and {} MB allowed", peak >> 20, bound >> 20);
    }
}
