//! What is forgotten is gone from the store, also if forgetting was interrupted; and many versions are settled by
//! themselves.

use std::ops::Bound;
use std::sync::Arc;

use dotdb::{Database, Direction, Durability, History, Mode, Settings, Store};
use dotdb_memory::MemoryStore;
use dotdb_store::faulty::FaultyStore;

fn database(store: Arc<dyn Store>, history: History) -> Database {
    Database::open_or_create(store, Settings { history, ..Settings::default() }).unwrap()
}

/// One version more, in which slot 1 holds its number.
fn commit(database: &Database) {
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    tx.slot_set(contract, &[1], &(database.version() + 1).to_be_bytes()).unwrap();
    tx.commit(Durability::None).unwrap();
}

fn slot_at(database: &Database, version: u64) -> u64 {
    let mut tx = database.begin_at(version).unwrap();
    if tx.contract("c").unwrap().is_none() {
        return 0;
    }
    let contract = tx.contract_id("c").unwrap();
    let value = tx.slot_get(contract, &[1]).unwrap();
    value.as_bytes().iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Rows of the journal and of the history, by their tags in `dotdb/src/keys.rs`.
fn derived_rows(store: &dyn Store) -> (usize, usize) {
    let snapshot = store.snapshot().unwrap();
    let count = |tag: u8| {
        let (from, to) = ([tag], [tag + 1]);
        let rows = snapshot.range(Bound::Included(&from), Bound::Excluded(&to), Direction::Forward).unwrap();
        rows.count()
    };
    (count(0x80), count(0x81))
}

#[test]
fn versions_are_settled_and_forgotten_by_themselves() {
    let store = Arc::new(MemoryStore::new());
    let database = database(store.clone(), History::Last(100));
    let mut greatest = 0;
    for version in 1..=1500 {
        commit(&database);
        assert_eq!(database.version(), version);
        let oldest = database.oldest_version().unwrap();
        assert!(oldest <= version.saturating_sub(100), "100 versions are kept, and {oldest} is the oldest");
        greatest = greatest.max(derived_rows(&*store).0);
        if version % 97 == 0 {
            for version in [oldest, oldest + 50, version - 1, version] {
                assert_eq!(slot_at(&database, version), version);
            }
        }
    }
    assert!(greatest < 800, "{greatest} rows of the journal were kept for 100 versions");
    database.settle().unwrap();
    assert_eq!(database.oldest_version().unwrap(), 1400);
    for version in 1400..=1500 {
        assert_eq!(slot_at(&database, version), version);
    }
}

#[test]
fn what_is_forgotten_is_gone_however_often_that_was_interrupted() {
    const VERSIONS: u64 = 20;
    for countdown in 0..100 {
        let inner = Arc::new(MemoryStore::new());
        let faulty = Arc::new(FaultyStore::new(inner.clone()));
        let database = database(faulty.clone(), History::All);
        for _ in 0..VERSIONS {
            commit(&database);
        }
        for oldest in [5, 10, VERSIONS] {
            faulty.fail_after(countdown);
            let _ = database.forget_before(oldest);
            faulty.heal();
            let oldest = database.oldest_version().unwrap();
            for version in oldest..=VERSIONS {
                assert_eq!(slot_at(&database, version), version, "countdown {countdown}");
            }
        }
        // As after a crash: from here on another object works on the store.
        drop(database);
        let database = Database::open(faulty.clone()).unwrap();
        assert_eq!(database.version(), VERSIONS);
        database.forget_before(VERSIONS).unwrap();
        commit(&database);
        database.forget_before(VERSIONS + 1).unwrap();
        let (journal, history) = derived_rows(&*inner);
        // The last version's row says which version it is.
        assert!(journal <= 1 && history <= 1, "countdown {countdown}: {journal} and {history} rows are left");
    }
}

#[test]
fn a_database_without_history_keeps_one_row() {
    let store = Arc::new(MemoryStore::new());
    let database = database(store.clone(), History::None);
    for version in 1..=600 {
        commit(&database);
        assert_eq!((database.version(), database.oldest_version().unwrap()), (version, version));
    }
    assert_eq!(derived_rows(&*store), (1, 0));
    assert_eq!(slot_at(&database, 600), 600);
    assert_eq!(
        database.begin_at(599).map(drop).unwrap_err().to_string(),
        "version 599 is not kept any more: the oldest is 600"
    );
    drop(database);
    assert_eq!(Database::open(store).unwrap().version(), 600);
}
