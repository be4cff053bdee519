//! What must never be seen: each anomaly of the literature (Berenson and others 1995, Adya 1999, Fekete and others
//! 2004) is tried, and the transaction that would complete it is refused.

use std::ops::Bound;
use std::sync::Arc;

use dotdb::{CollectionId, ContractId, Database, DbError, Direction, Durability, Mode, Tx, ValueKind};
use dotdb_memory::MemoryStore;

const X: &[u8] = &[1];
const Y: &[u8] = &[2];
const ALL: Bound<&[u8]> = Bound::Unbounded;

pub(crate) fn begin(database: &Database) -> Tx {
    database.begin(Mode::ReadWrite).unwrap()
}

/// The contract and the collection that the tests work on.
pub(crate) fn open(tx: &mut Tx) -> (ContractId, CollectionId) {
    let contract = tx.contract_id("c").unwrap();
    (contract, tx.collection(contract, "records", ValueKind::Bytes).unwrap())
}

/// A database with slots X = Y = 50 and records b, d and f.
pub(crate) fn database() -> Database {
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let mut tx = begin(&database);
    let (_, records) = open(&mut tx);
    set(&mut tx, X, 50);
    set(&mut tx, Y, 50);
    for key in ["b", "d", "f"] {
        tx.put(records, key.as_bytes(), "old").unwrap();
    }
    tx.commit(Durability::None).unwrap();
    database
}

pub(crate) fn set(tx: &mut Tx, slot: &[u8], value: u8) {
    let (contract, _) = open(tx);
    tx.slot_set(contract, slot, &[value]).unwrap();
}

pub(crate) fn get(tx: &mut Tx, slot: &[u8]) -> u8 {
    let (contract, _) = open(tx);
    tx.slot_get(contract, slot).unwrap().as_bytes().first().copied().unwrap_or(0)
}

pub(crate) fn put(tx: &mut Tx, key: &str) {
    let (_, records) = open(tx);
    tx.put(records, key.as_bytes(), "new").unwrap();
}

/// Keys that a scan between two bounds gives, all of them or the first few; the cursor is left open.
pub(crate) fn scan(
    tx: &mut Tx,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    direction: Direction,
    most: usize,
) -> Vec<String> {
    let (_, records) = open(tx);
    let cursor = tx.scan(records, from, to, direction).unwrap();
    let mut keys = Vec::new();
    while keys.len() < most {
        let Some((key, _)) = tx.next(cursor).unwrap() else { break };
        keys.push(String::from_utf8(key.to_vec()).unwrap());
    }
    keys
}

fn all_keys(tx: &mut Tx) -> Vec<String> {
    scan(tx, ALL, ALL, Direction::Forward, usize::MAX)
}

pub(crate) fn commits(tx: Tx) {
    tx.commit(Durability::None).unwrap();
}

/// The sentence with which a commit is refused.
fn refused(database: &Database, tx: Tx) -> String {
    let version = database.version();
    match tx.commit(Durability::None) {
        Err(error @ DbError::Conflict { .. }) => {
            assert!(error.is_conflict());
            assert_eq!(database.version(), version, "nothing was changed");
            error.to_string()
        }
        other => panic!("{other:?} is no conflict"),
    }
}

fn current(database: &Database, slot: &[u8]) -> u8 {
    get(&mut database.begin(Mode::ReadOnly).unwrap(), slot)
}

#[test]
fn dirty_write() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    set(&mut one, X, 1);
    set(&mut two, X, 2);
    set(&mut two, Y, 2);
    set(&mut one, Y, 1);
    commits(one);
    assert_eq!(
        refused(&database, two),
        "the transaction conflicts with another: another transaction changed slot 0x01 of contract 1; try it again"
    );
    assert_eq!((current(&database, X), current(&database, Y)), (1, 1));
}

#[test]
fn dirty_read() {
    let database = database();
    let mut one = begin(&database);
    set(&mut one, X, 1);
    let mut two = begin(&database);
    assert_eq!(get(&mut two, X), 50);
    assert_eq!(current(&database, X), 50);
    one.abort();
    assert_eq!(get(&mut two, X), 50);
    assert_eq!(current(&database, X), 50);
}

#[test]
fn intermediate_read() {
    let database = database();
    let mut one = begin(&database);
    set(&mut one, X, 1);
    assert_eq!(current(&database, X), 50);
    set(&mut one, X, 2);
    commits(one);
    assert_eq!(current(&database, X), 2);
}

#[test]
fn non_repeatable_read() {
    let database = database();
    let (mut one, mut reader) = (begin(&database), database.begin(Mode::ReadOnly).unwrap());
    assert_eq!((get(&mut one, X), get(&mut reader, X)), (50, 50));
    let mut two = begin(&database);
    set(&mut two, X, 2);
    put(&mut two, "c");
    commits(two);
    assert_eq!((get(&mut one, X), get(&mut reader, X)), (50, 50));
    assert_eq!(all_keys(&mut one), ["b", "d", "f"]);
    assert_eq!(all_keys(&mut reader), ["b", "d", "f"]);
    set(&mut one, Y, 1);
    refused(&database, one);
}

#[test]
fn lost_update() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    let (first, second) = (get(&mut one, X), get(&mut two, X));
    set(&mut one, X, first + 20);
    set(&mut two, X, second + 30);
    commits(one);
    refused(&database, two);
    assert_eq!(current(&database, X), 70);
}

#[test]
fn lost_update_of_a_record() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    put(&mut one, "b");
    put(&mut two, "b");
    commits(one);
    assert!(refused(&database, two).contains(r#"the record "b" of collection 1"#));
}

#[test]
fn inserters_of_the_same_key() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    put(&mut one, "c");
    put(&mut two, "c");
    commits(one);
    refused(&database, two);
    // Automatic keys: both would get the same.
    let (mut one, mut two) = (begin(&database), begin(&database));
    for tx in [&mut one, &mut two] {
        let (_, records) = open(tx);
        assert_eq!(tx.insert(records, "new").unwrap(), &1u64.to_be_bytes()[..]);
    }
    commits(one);
    refused(&database, two);
}

#[test]
fn creators_of_the_same_collection_or_contract() {
    let database = database();
    let (mut one, mut two, mut three) = (begin(&database), begin(&database), begin(&database));
    for tx in [&mut one, &mut two] {
        let (contract, _) = open(tx);
        tx.collection(contract, "fresh", ValueKind::Bytes).unwrap();
    }
    three.contract_id("d").unwrap();
    commits(one);
    refused(&database, two);
    commits(three);
    let (mut one, mut two) = (begin(&database), begin(&database));
    assert_eq!(one.contract_id("e").unwrap(), two.contract_id("f").unwrap());
    commits(one);
    refused(&database, two);
}

#[test]
fn phantom_by_scan() {
    for (direction, closed) in
        [(Direction::Forward, true), (Direction::Forward, false), (Direction::Backward, false)]
    {
        let database = database();
        let mut one = begin(&database);
        let found = scan(&mut one, Bound::Included(b"a"), Bound::Excluded(b"e"), direction, usize::MAX);
        assert_eq!(found.len(), 2);
        if closed {
            let (_, records) = open(&mut one);
            let cursor = one.scan(records, Bound::Included(b"a"), Bound::Excluded(b"e"), direction).unwrap();
            while one.next(cursor).unwrap().is_some() {}
            one.close(cursor).unwrap();
        }
        set(&mut one, X, found.len() as u8);
        let mut two = begin(&database);
        put(&mut two, "c");
        commits(two);
        assert!(
            refused(&database, one).contains(r#"the record "c" of collection 1"#),
            "{direction:?} {closed}"
        );
    }
}

#[test]
fn phantom_by_the_removal_or_change_of_a_scanned_record() {
    for delete in [true, false] {
        let database = database();
        let mut one = begin(&database);
        assert_eq!(all_keys(&mut one).len(), 3);
        set(&mut one, X, 3);
        let mut two = begin(&database);
        let (_, records) = open(&mut two);
        if delete {
            assert!(two.delete(records, b"d").unwrap());
        } else {
            assert!(two.put(records, b"d", "new").unwrap());
        }
        commits(two);
        refused(&database, one);
    }
}

#[test]
fn phantom_in_an_empty_range() {
    let database = database();
    let mut one = begin(&database);
    let (from, to) = (Bound::Excluded(&b"b"[..]), Bound::Excluded(&b"d"[..]));
    assert!(scan(&mut one, from, to, Direction::Forward, 1).is_empty());
    set(&mut one, X, 0);
    let mut two = begin(&database);
    put(&mut two, "c");
    commits(two);
    refused(&database, one);
}

#[test]
fn phantom_before_the_first_row_taken() {
    let database = database();
    let mut one = begin(&database);
    assert_eq!(scan(&mut one, ALL, ALL, Direction::Forward, 1), ["b"]);
    set(&mut one, X, 0);
    let mut two = begin(&database);
    put(&mut two, "a");
    commits(two);
    refused(&database, one);

    let mut one = begin(&database);
    assert_eq!(scan(&mut one, ALL, ALL, Direction::Backward, 1), ["f"]);
    set(&mut one, X, 0);
    let mut two = begin(&database);
    put(&mut two, "g");
    commits(two);
    refused(&database, one);
}

#[test]
fn phantom_under_a_cursor_that_a_rollback_closed() {
    let database = database();
    let mut one = begin(&database);
    let (contract, records) = open(&mut one);
    let savepoint = one.savepoint();
    let cursor = one.scan(records, ALL, ALL, Direction::Forward).unwrap();
    while one.next(cursor).unwrap().is_some() {}
    one.rollback_to(savepoint).unwrap();
    one.slot_set(contract, X, &[3]).unwrap();
    let mut two = begin(&database);
    put(&mut two, "c");
    commits(two);
    refused(&database, one);
}

#[test]
fn phantom_by_absence() {
    let database = database();
    let mut one = begin(&database);
    let (contract, records) = open(&mut one);
    assert!(!one.exists(records, b"c").unwrap());
    assert!(!one.slot_exists(contract, &[9]).unwrap());
    set(&mut one, X, 1);
    let mut two = begin(&database);
    put(&mut two, "c");
    commits(two);
    refused(&database, one);

    let mut one = begin(&database);
    assert_eq!(get(&mut one, &[9]), 0);
    set(&mut one, X, 1);
    let mut two = begin(&database);
    set(&mut two, &[9], 1);
    commits(two);
    refused(&database, one);
}

#[test]
fn phantom_among_slots_contracts_and_collections() {
    let database = database();
    let listing: [fn(&mut Tx) -> usize; 3] = [
        |tx| {
            let (contract, _) = open(tx);
            tx.slots(contract).unwrap().count()
        },
        |tx| tx.contracts().unwrap().len(),
        |tx| tx.collections().unwrap().len(),
    ];
    let adding: [fn(&mut Tx); 3] = [
        |tx| set(tx, &[9], 1),
        |tx| assert_eq!(tx.contract_id("another").unwrap().0, 2),
        |tx| {
            let (contract, _) = open(tx);
            tx.collection(contract, "another", ValueKind::Bytes).unwrap();
        },
    ];
    for (list, add) in listing.iter().zip(adding) {
        let mut one = begin(&database);
        let count = list(&mut one);
        set(&mut one, X, count as u8);
        let mut two = begin(&database);
        add(&mut two);
        commits(two);
        refused(&database, one);
        assert_eq!(list(&mut begin(&database)), count + 1);
    }
}

#[test]
fn phantom_by_the_kind_of_a_collection() {
    let database = database();
    let mut one = begin(&database);
    let (contract, _) = open(&mut one);
    assert_eq!(one.collection_kind(contract, "fresh").unwrap(), None);
    set(&mut one, X, 1);
    let mut two = begin(&database);
    two.collection(contract, "fresh", ValueKind::Document).unwrap();
    commits(two);
    refused(&database, one);
}

#[test]
fn read_skew() {
    let database = database();
    let mut reader = database.begin(Mode::ReadOnly).unwrap();
    let mut writer = begin(&database);
    assert_eq!((get(&mut reader, X), get(&mut writer, X)), (50, 50));
    let mut two = begin(&database);
    set(&mut two, X, 25);
    set(&mut two, Y, 75);
    commits(two);
    assert_eq!((get(&mut reader, Y), get(&mut writer, Y)), (50, 50));
    let (_, records) = open(&mut writer);
    writer.put(records, b"sum", vec![100]).unwrap();
    refused(&database, writer);
}

#[test]
fn write_skew() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    for tx in [&mut one, &mut two] {
        assert_eq!(u32::from(get(tx, X)) + u32::from(get(tx, Y)), 100);
    }
    set(&mut one, X, 0);
    set(&mut two, Y, 0);
    commits(one);
    refused(&database, two);
}

#[test]
fn write_skew_over_ranges() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    // Each takes the other half to be as it is, and adds to its own.
    let below = scan(&mut one, ALL, Bound::Excluded(b"d"), Direction::Forward, usize::MAX);
    let above = scan(&mut two, Bound::Included(b"d"), ALL, Direction::Backward, usize::MAX);
    assert_eq!((below.len(), above.len()), (1, 2));
    put(&mut one, "e");
    put(&mut two, "a");
    commits(one);
    refused(&database, two);
}

#[test]
fn write_skew_over_a_count() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    for (tx, key) in [(&mut one, "g"), (&mut two, "h")] {
        let (_, records) = open(tx);
        // At most four.
        assert_eq!(tx.count(records).unwrap(), 3);
        put(tx, key);
        assert_eq!(tx.count(records).unwrap(), 4);
    }
    commits(one);
    assert!(refused(&database, two).contains("the counters of collection 1"));
}

#[test]
fn a_count_read_by_one_and_changed_by_another() {
    for delete in [false, true] {
        let database = database();
        let (mut one, mut two) = (begin(&database), begin(&database));
        let (_, records) = open(&mut one);
        assert_eq!(one.count(records).unwrap(), 3);
        set(&mut one, X, 3);
        let (_, records) = open(&mut two);
        if delete {
            two.delete(records, b"f").unwrap();
        } else {
            two.put(records, b"g", "new").unwrap();
        }
        commits(two);
        refused(&database, one);
    }
    // As it is listed with the collections.
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    assert_eq!(one.collections().unwrap()[0].count, 3);
    set(&mut one, X, 3);
    put(&mut two, "g");
    commits(two);
    refused(&database, one);
}

/// Fekete, O'Neil, O'Neil 2004: with snapshots alone a transaction that only reads can make two others, which
/// would be serializable without it, not so. Checking account X, savings account Y.
#[test]
fn read_only_transaction() {
    let database = database();
    {
        let mut tx = begin(&database);
        set(&mut tx, X, 0);
        set(&mut tx, Y, 0);
        commits(tx);
    }
    let mut withdrawal = begin(&database);
    assert_eq!((get(&mut withdrawal, X), get(&mut withdrawal, Y)), (0, 0));
    let mut deposit = begin(&database);
    assert_eq!(get(&mut deposit, Y), 0);
    set(&mut deposit, Y, 20);
    commits(deposit);
    // The statement shows the deposit and no penalty, so the withdrawal comes after it, without one.
    let mut statement = database.begin(Mode::ReadOnly).unwrap();
    assert_eq!((get(&mut statement, X), get(&mut statement, Y)), (0, 20));
    // The withdrawal of 10 overdraws what it knows of, with a penalty of 1.
    set(&mut withdrawal, X, 11);
    refused(&database, withdrawal);
    commits(statement);
}

#[test]
fn reads_before_a_rollback_still_count() {
    let database = database();
    let mut one = begin(&database);
    let (contract, records) = open(&mut one);
    let savepoint = one.savepoint();
    assert_eq!(get(&mut one, X), 50);
    assert!(one.exists(records, b"b").unwrap());
    one.rollback_to(savepoint).unwrap();
    one.slot_set(contract, Y, &[1]).unwrap();
    let mut two = begin(&database);
    set(&mut two, X, 1);
    commits(two);
    refused(&database, one);

    let mut one = begin(&database);
    let (contract, records) = open(&mut one);
    let savepoint = one.savepoint();
    one.put(records, b"b", "undone").unwrap();
    one.rollback_to(savepoint).unwrap();
    one.slot_set(contract, Y, &[1]).unwrap();
    let mut two = begin(&database);
    put(&mut two, "b");
    commits(two);
    refused(&database, one);
}

#[test]
fn reads_beyond_those_remembered_count() {
    let database = database();
    let mut one = begin(&database);
    let (_, records) = open(&mut one);
    for i in 0..6000u32 {
        assert_eq!(one.get(records, &i.to_be_bytes()).unwrap(), None);
    }
    set(&mut one, X, 1);
    let mut two = begin(&database);
    let (_, records) = open(&mut two);
    two.put(records, &5999u32.to_be_bytes(), "new").unwrap();
    commits(two);
    refused(&database, one);
}

#[test]
fn a_collection_that_restoring_removed() {
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let mut tx = begin(&database);
    tx.contract_id("c").unwrap();
    commits(tx);
    let mut tx = begin(&database);
    open(&mut tx);
    commits(tx);
    let mut one = begin(&database);
    put(&mut one, "b");
    database.restore(1, Durability::None).unwrap();
    assert_eq!(
        refused(&database, one).split(": ").nth(1).unwrap(),
        "another transaction changed the collection \"records\" of contract 1; try it again"
    );
}
