//! A store that fails: every failure is an answer, and a failed transaction leaves nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use dotdb::{Database, DbError, Direction, Durability, Mode, Store, StoreError, ValueKind};
use dotdb_memory::MemoryStore;
use dotdb_store::faulty::FaultyStore;

/// Everything in a store.
fn contents(store: &dyn Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let all = store.snapshot().unwrap().range(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
    all.unwrap().map(|row| row.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn work(database: &Database) -> Result<(), DbError> {
    let mut tx = database.begin(Mode::ReadWrite)?;
    tx.put_code([7; 32], "module")?;
    let contract = tx.bind("token", [7; 32])?;
    tx.slot_set(contract, &[1], &[2])?;
    let savepoint = tx.savepoint();
    let log = tx.collection(contract, "log", ValueKind::Document)?;
    tx.insert(log, vec![0xf6])?;
    tx.put(log, b"key", vec![0x01])?;
    let cursor = tx.scan(log, Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
    while tx.next(cursor)?.is_some() {}
    tx.slots(contract)?.collect::<Result<Vec<_>, _>>()?;
    tx.contracts()?;
    tx.collections()?;
    tx.release(savepoint)?;
    tx.commit(Durability::Sync).map(drop)
}

#[test]
fn every_failing_call_is_answered_and_changes_nothing() {
    let inner = Arc::new(MemoryStore::new());
    let faulty = Arc::new(FaultyStore::new(inner.clone()));
    let database = Database::open(faulty.clone()).unwrap();
    let before = contents(&*inner);
    let mut failures = 0;
    for countdown in 0.. {
        faulty.fail_after(countdown);
        let result = work(&database);
        faulty.heal();
        match result {
            Ok(()) => break,
            Err(error) => {
                assert!(matches!(error, DbError::Store(StoreError::Io { .. })), "{error}");
                assert_eq!(contents(&*inner), before, "countdown {countdown}");
                failures += 1;
            }
        }
    }
    // A snapshot, reads of 9 keys and 5 ranges at least, and the commit.
    assert!(failures >= 16, "only {failures} calls were made to fail");
    assert_ne!(contents(&*inner), before);
    // No failure has kept the right to write, and the work can be done again on top.
    work(&database).unwrap();
}

#[test]
fn a_failed_opening_can_be_repeated() {
    let inner = Arc::new(MemoryStore::new());
    let faulty = Arc::new(FaultyStore::new(inner.clone()));
    for countdown in 0..4 {
        faulty.fail_after(countdown);
        assert!(matches!(Database::open(faulty.clone()), Err(DbError::Store(_))), "countdown {countdown}");
        assert!(contents(&*inner).is_empty());
    }
    faulty.heal();
    Database::open(faulty.clone()).unwrap();
}
