//! Restoring an earlier version while others commit: the new version is exactly the old one, and counters stay right.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dotdb::{
    Database, Direction, Durability, History, Mode, Settings, Store, StoreError, StoreStats, Tx, ValueKind,
};
use dotdb_memory::MemoryStore;
use dotdb_store::{Batch, PairIter, Snapshot};
use fastrand::Rng;

fn records(tx: &mut Tx) -> dotdb::CollectionId {
    let contract = tx.contract_id("c").unwrap();
    tx.collection(contract, "records", ValueKind::Bytes).unwrap()
}

/// Puts and deletes records of keys that belong to one thread, so that threads conflict over nothing but the restorer.
fn write(database: &Database, thread: u8, random: &mut Rng) {
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let records = records(&mut tx);
    for _ in 0..random.u8(1..4) {
        let key = [thread, random.u8(..4)];
        if random.bool() {
            tx.put(records, &key, random.u64(..).to_be_bytes().to_vec()).unwrap();
        } else {
            tx.delete(records, &key).unwrap();
        }
    }
    match tx.commit(Durability::None) {
        Ok(_) => {}
        Err(error) => assert!(error.is_conflict(), "{error}"),
    }
}

fn rows(database: &Database, version: u64) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    database.rows_at(version).unwrap().map(|row| row.unwrap()).collect()
}

#[test]
fn a_restored_version_is_the_old_one_whatever_others_commit() {
    let settings = Settings { history: History::All, ..Settings::default() };
    let database = Database::open_or_create(Arc::new(MemoryStore::new()), settings).unwrap();
    let mut random = Rng::new();
    let seed = random.u64(..);
    println!("seed {seed}");
    {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        records(&mut tx);
        tx.commit(Durability::None).unwrap();
    }
    let stop = AtomicBool::new(false);
    let (mut restored, mut conflicts) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (database, stop) = (&database, &stop);
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed ^ u64::from(thread));
                // A scan of the past goes over all that changed since.
                while !stop.load(Ordering::Relaxed) && database.version() < 3_000 {
                    write(database, thread, &mut random);
                }
            });
        }
        let start = Instant::now();
        while restored.len() < 60 && start.elapsed() < Duration::from_secs(30) {
            let last = database.version();
            let version = random.u64(last.saturating_sub(20).max(1)..=last);
            match database.restore(version, Durability::None) {
                // Nothing to restore, above all before the others have begun.
                Ok(made) if made <= last => std::thread::yield_now(),
                Ok(made) => restored.push((version, made)),
                Err(error) => {
                    assert!(error.is_conflict(), "{error}");
                    conflicts += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} versions, {} restored, {conflicts} conflicts", database.version(), restored.len());
    assert!(restored.len() > 5, "only {} versions were restored", restored.len());
    for (version, made) in restored {
        assert_eq!(rows(&database, version), rows(&database, made), "version {version} restored as {made}");
    }
    for version in (1..=database.version()).rev().take(50) {
        let mut tx = database.begin_at(version).unwrap();
        let records = records(&mut tx);
        let cursor = tx.scan(records, Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
        let mut found = 0;
        while tx.next(cursor).unwrap().is_some() {
            found += 1;
        }
        assert_eq!(tx.count(records).unwrap(), found, "at version {version}");
    }
}

/// A store that calls something once, when a range of it is read.
struct Hooked {
    inner: MemoryStore,
    hook: Hook,
}

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

struct HookedSnapshot {
    inner: Arc<dyn Snapshot>,
    hook: Hook,
}

impl Store for Hooked {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(HookedSnapshot { inner: self.inner.snapshot()?, hook: self.hook.clone() }))
    }

    fn apply(&self, batch: &Batch, durability: dotdb_store::Durability) -> Result<(), StoreError> {
        self.inner.apply(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats()
    }
}

impl Snapshot for HookedSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.inner.range(from, to, direction)
    }
}

/// What is committed while versions are compared is in no place that the restored version has reason to change.
#[test]
fn a_commit_in_the_middle_of_restoring_is_not_mixed_into_it() {
    let hook = Hook::default();
    let store = Arc::new(Hooked { inner: MemoryStore::new(), hook: hook.clone() });
    let database = Database::open(store).unwrap();
    for keys in [&["a", "y"][..], &["a"]] {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let records = records(&mut tx);
        for key in keys {
            tx.put(records, key.as_bytes(), vec![keys.len() as u8]).unwrap();
        }
        tx.commit(Durability::None).unwrap();
    }
    let other = database.clone();
    *hook.lock().unwrap() = Some(Box::new(move || {
        let mut tx = other.begin(Mode::ReadWrite).unwrap();
        let records = records(&mut tx);
        // The number of records stays.
        tx.delete(records, b"y").unwrap();
        tx.put(records, b"z", "new").unwrap();
        tx.commit(Durability::None).unwrap();
    }));
    let error = database.restore(1, Durability::None).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(database.version(), 3);
    assert_eq!(database.restore(1, Durability::None).unwrap(), 4);
    assert_eq!(rows(&database, 4), rows(&database, 1));
}
