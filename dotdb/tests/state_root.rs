//! Roots and proofs of a database: at every version, in transactions, after reopening.

use std::sync::Arc;

use bytes::Bytes;
use dotdb::commitment::{NodeReader, Overlay, Root};
use dotdb::{Database, DbError, Durability, History, Mode, Settings, Store, ValueKind, record_key, slot_key};
use dotdb_memory::MemoryStore;
use dotdb_store::{Direction, StoreError};

struct Nothing;

impl NodeReader for Nothing {
    fn row(&self, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    fn rows(&self, _: &[u8], _: &[u8], _: Direction, _: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        Ok(Vec::new())
    }
}

/// The root of the state at a version, built from nothing.
fn root_from_rows(database: &Database, version: u64) -> Root {
    let rows = database.rows_at(version).unwrap().map(|row| row.unwrap());
    let committed = rows.filter(|(key, _)| (1..9).contains(&key[0]));
    let changes: Vec<_> = committed.map(|(key, value)| (key, Some(value))).collect();
    dotdb::commitment::update(&Overlay::new(&Nothing), 1, &changes).unwrap().root
}

fn rooted(store: Arc<dyn Store>) -> Database {
    Database::open_or_create(store, Settings { state_root: true, ..Settings::default() }).unwrap()
}

/// Versions with slots and records put, changed and removed.
fn work(database: &Database, versions: u64) {
    for i in 0..versions {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let records = tx.collection(contract, "r", ValueKind::Bytes).unwrap();
        tx.slot_set(contract, &[(i % 7) as u8], &(i * i % 5).to_be_bytes()).unwrap();
        tx.insert(records, Bytes::from(format!("value {i}"))).unwrap();
        if i % 3 == 2 {
            tx.delete(records, &(i / 2).to_be_bytes()).unwrap();
        }
        tx.commit(Durability::None).unwrap();
    }
}

#[test]
fn every_version_has_the_root_of_its_state() {
    let store = Arc::new(MemoryStore::new());
    let database = rooted(store.clone());
    // Asked for when the tree lags, when it is there, and after the tree took steps of its own.
    assert_eq!(database.state_root(0).unwrap(), root_from_rows(&database, 0));
    work(&database, 20);
    assert_eq!(database.state_root(20).unwrap(), root_from_rows(&database, 20));
    work(&database, 600);
    for version in [0, 1, 7, 19, 20, 21, 255, 256, 257, 511, 512, 613, 619, 620] {
        assert_eq!(
            database.state_root(version).unwrap(),
            root_from_rows(&database, version),
            "version {version}"
        );
    }
    assert!(database.check_state_root().unwrap() > 400);
    let database = Database::open(store).unwrap();
    assert_eq!(database.state_root(300).unwrap(), root_from_rows(&database, 300));
    assert_eq!(database.state_root(621).unwrap_err().to_string(), "there is no version 621: the last is 620");
    database.forget_before(400).unwrap();
    assert_eq!(
        database.state_root(399).unwrap_err().to_string(),
        "version 399 is not kept any more: the oldest is 400"
    );
    assert_eq!(database.state_root(400).unwrap(), root_from_rows(&database, 400));
    assert_eq!(database.state_root(620).unwrap(), root_from_rows(&database, 620));
}

#[test]
fn a_transaction_sees_the_root_of_its_own_state() {
    let database = rooted(Arc::new(MemoryStore::new()));
    work(&database, 10);
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    assert_eq!(tx.state_root().unwrap(), database.state_root(10).unwrap());
    // Another one commits: the transaction still sees its own state.
    work(&database, 1);
    assert_eq!(tx.state_root().unwrap(), root_from_rows(&database, 10));
    drop(tx);

    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    let records = tx.collection(contract, "r", ValueKind::Bytes).unwrap();
    let savepoint = tx.savepoint();
    tx.put(records, b"new", "value").unwrap();
    tx.slot_set(contract, &[1], &[9]).unwrap();
    let pending = tx.state_root().unwrap();
    let (root, proof) = tx.prove_record(records, b"new").unwrap();
    assert_eq!(root, pending);
    assert_eq!(proof.verify(&root).unwrap().value.unwrap(), "value");
    let (_, absence) = tx.prove(&slot_key(contract, &[200]).unwrap()).unwrap();
    assert_eq!(absence.verify(&root).unwrap().value, None);
    tx.commit(Durability::None).unwrap();
    assert_eq!(database.state_root(12).unwrap(), pending);

    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    tx.savepoint();
    tx.slot_set(contract, &[1], &[10]).unwrap();
    assert_ne!(tx.state_root().unwrap(), pending);
    tx.rollback_to(savepoint).unwrap();
    assert_eq!(tx.state_root().unwrap(), pending);
    let mut past = database.begin_at(5).unwrap();
    assert_eq!(past.state_root().unwrap(), root_from_rows(&database, 5));
}

#[test]
fn proofs_of_the_past() {
    let database = rooted(Arc::new(MemoryStore::new()));
    work(&database, 300);
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    let contract = tx.contract_id("c").unwrap();
    for version in [1, 40, 300] {
        let root = database.state_root(version).unwrap();
        let mut then = database.begin_at(version).unwrap();
        let slot = slot_key(contract, &[3]).unwrap();
        let proof = database.prove(version, &slot).unwrap();
        let verified = proof.verify(&root).unwrap();
        let held = then.slot_get(contract, &[3]).unwrap();
        assert_eq!(verified.value.as_deref().unwrap_or_default(), held.as_bytes());
        let records = then.collection(contract, "r", ValueKind::Bytes).unwrap();
        let first = record_key(1, &1u64.to_be_bytes()).unwrap();
        let verified = database.prove(version, &first).unwrap().verify(&root).unwrap();
        assert_eq!(verified.value, then.get(records, &1u64.to_be_bytes()).unwrap());
        assert!(database.prove(version, &slot).unwrap().verify(&database.state_root(2).unwrap()).is_err());
    }
}

#[test]
fn a_root_can_be_added_later() {
    let store = Arc::new(MemoryStore::new());
    let database = Database::open(store.clone()).unwrap();
    work(&database, 50);
    assert!(matches!(database.state_root(50), Err(DbError::NoStateRoot)));
    let expected = root_from_rows(&database, 50);
    drop(database);
    let database = Database::add_state_root(store.clone()).unwrap();
    assert_eq!(database.state_root(50).unwrap(), expected);
    work(&database, 5);
    assert_eq!(database.state_root(55).unwrap(), root_from_rows(&database, 55));
    database.check_state_root().unwrap();
    let none = Settings { history: History::None, state_root: true };
    let refused = Database::open_or_create(Arc::new(MemoryStore::new()), none);
    assert_eq!(
        refused.err().unwrap().to_string(),
        "these settings do not go together: a state root needs a history"
    );
}
