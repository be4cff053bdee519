//! Restoring an earlier version while others commit: the new version is exactly the old one, and counters stay right.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dotdb::{Database, Direction, Durability, History, Mode, Settings, Tx, ValueKind};
use dotdb_memory::MemoryStore;
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
                while !stop.load(Ordering::Relaxed) {
                    write(database, thread, &mut random);
                }
            });
        }
        while restored.len() < 150 && conflicts < 1_000_000 {
            let last = database.version();
            let version = random.u64(last.saturating_sub(20).max(1)..=last);
            match database.restore(version, Durability::None) {
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
    assert!(restored.iter().filter(|(version, made)| version + 1 < *made).count() > 10);
    for (version, made) in restored {
        assert_eq!(rows(&database, version), rows(&database, made), "version {version} restored as {made}");
    }
    for version in (1..=database.version()).rev().take(400).chain([database.version()]) {
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
