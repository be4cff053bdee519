//! What contracts, collections and transactions promise one by one.

use std::ops::Bound;
use std::sync::Arc;

use dotdb::{
    Contract, Database, DbError, Direction, Durability, MAX_CURSORS, MAX_KEY_BYTES, MAX_VALUE_BYTES, Mode,
    Store, StoreError, Touch, Tx, ValueKind,
};
use dotdb_memory::MemoryStore;
use dotdb_store::Batch;

const ALL: Bound<&[u8]> = Bound::Unbounded;

fn database() -> Database {
    Database::open(Arc::new(MemoryStore::new())).unwrap()
}

fn begin(database: &Database) -> Tx {
    database.begin(Mode::ReadWrite).unwrap()
}

fn message<T>(result: Result<T, DbError>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn contracts_are_numbered_bound_and_listed() {
    let database = database();
    let mut tx = begin(&database);
    let token = tx.contract_id("token").unwrap();
    assert_eq!(tx.contract_id("token").unwrap(), token);
    assert_eq!(
        message(tx.bind("auction", [0xab; 32])),
        format!("there is no code with hash {}", "ab".repeat(32))
    );
    tx.put_code([0xab; 32], "module").unwrap();
    let auction = tx.bind("auction", [0xab; 32]).unwrap();
    assert_eq!((token.0, auction.0), (1, 2));
    let listed = [
        Contract { name: "auction".into(), id: auction, code: Some([0xab; 32]) },
        Contract { name: "token".into(), id: token, code: None },
    ];
    assert_eq!(tx.contracts().unwrap(), listed);
    tx.commit(Durability::Sync).unwrap();

    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    assert_eq!(tx.contracts().unwrap(), listed);
    assert_eq!(tx.contract("auction").unwrap().as_ref(), Some(&listed[0]));
    assert_eq!(tx.contract("nobody").unwrap(), None);
    assert_eq!(message(tx.contract_id("nobody")), r#"there is no contract named "nobody""#);
    assert_eq!(tx.code(&[0xab; 32]).unwrap().unwrap(), "module");
    assert_eq!(tx.code(&[0; 32]).unwrap(), None);
    assert_eq!(
        message(tx.contract("To ken")),
        "the name \"To ken\" has the character 'T': \
         a name is 1 to 64 of a-z 0-9 _ - . and starts with a letter"
    );
}

#[test]
fn widths_share_slots() {
    let database = database();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    let word256 = |low: u8| [&[0; 31][..], &[low]].concat();
    tx.slot_set(contract, &word256(5), &word256(9)).unwrap();
    assert_eq!(tx.slot_get(contract, &[0, 0, 0, 0, 0, 0, 0, 5]).unwrap().as_bytes(), [9]);
    // Slot 0 is a slot; the value 0 removes.
    tx.slot_set(contract, &[0; 8], &[1]).unwrap();
    assert!(tx.slot_exists(contract, &[]).unwrap());
    tx.slot_set(contract, &[], &[0; 64]).unwrap();
    assert!(!tx.slot_exists(contract, &[0; 32]).unwrap());
    // 64 bytes fit, whatever zeros lead; 65 do not.
    tx.slot_set(contract, &[1; 64], &[[0; 8].as_slice(), &[255; 64]].concat()).unwrap();
    assert_eq!(
        message(tx.slot_set(contract, &[1; 65], &[1])),
        "the slot key has 65 bytes and the limit is 64"
    );
    assert_eq!(
        message(tx.slot_set(contract, &[1], &[1; 65])),
        "the slot value has 65 bytes and the limit is 64"
    );
    let keys: Vec<usize> = tx.slots(contract).unwrap().map(|slot| slot.unwrap().0.len()).collect();
    assert_eq!(keys, [1, 64]);
    let other = tx.contract_id("d").unwrap();
    assert_eq!(tx.slots(other).unwrap().count(), 0);
}

#[test]
fn a_rejected_write_changes_and_touches_nothing() {
    let database = database();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    assert!(tx.slot_entry(contract, &[1]).unwrap().store(&[1; 65]).is_err());
    assert_eq!(tx.slot_entry(contract, &[1]).unwrap().touch(), Touch::First);
    let documents = tx.collection(contract, "docs", ValueKind::Document).unwrap();
    assert_eq!(
        message(tx.put(documents, b"k", vec![0x18, 0x01])),
        "the value is not a document: the item's head is not the shortest at byte 0"
    );
    assert_eq!(
        message(tx.put(documents, b"k", vec![0; MAX_VALUE_BYTES + 1])),
        "the value has 16777217 bytes and the limit is 16777216"
    );
    assert_eq!(
        message(tx.put(documents, &[0; MAX_KEY_BYTES + 1], vec![0])),
        "the key has 1025 bytes and the limit is 1024"
    );
    assert!(!tx.record_entry(documents, b"k").unwrap().written());
    assert_eq!(tx.count(documents).unwrap(), 0);
    assert_eq!(tx.insert(documents, vec![0xf6]).unwrap(), &1u64.to_be_bytes()[..]);
}

#[test]
fn collections_keep_their_kind_and_belong_to_a_contract() {
    let database = database();
    let mut tx = begin(&database);
    let (one, two) = (tx.contract_id("one").unwrap(), tx.contract_id("two").unwrap());
    let a = tx.collection(one, "data", ValueKind::Bytes).unwrap();
    let b = tx.collection(two, "data", ValueKind::Document).unwrap();
    tx.put(a, b"k", "a").unwrap();
    assert_eq!(tx.get(b, b"k").unwrap(), None);
    let refusal = r#"the collection "data" keeps byte strings and was opened for documents"#;
    assert_eq!(message(tx.collection(one, "data", ValueKind::Document)), refusal);
    tx.commit(Durability::Sync).unwrap();
    let mut tx = begin(&database);
    assert_eq!(message(tx.collection(one, "data", ValueKind::Document)), refusal);
    assert_eq!(tx.collection_kind(two, "data").unwrap(), Some(ValueKind::Document));
    assert_eq!(tx.collection_kind(two, "nothing").unwrap(), None);
    assert_eq!(tx.collections().unwrap().len(), 2);
    assert!(matches!(tx.get(b, b"k"), Err(DbError::UnknownCollection { handle: 1 })));
}

#[test]
fn a_handle_survives_the_rollback_of_its_collection() {
    let database = database();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    let savepoint = tx.savepoint();
    let first = tx.collection(contract, "first", ValueKind::Bytes).unwrap();
    tx.put(first, b"k", "lost").unwrap();
    tx.rollback_to(savepoint).unwrap();
    assert_eq!(tx.collections().unwrap(), []);
    let second = tx.collection(contract, "second", ValueKind::Bytes).unwrap();
    tx.put(second, b"k", "second").unwrap();
    assert_eq!(tx.get(first, b"k").unwrap(), None);
    tx.put(first, b"k", "first").unwrap();
    tx.commit(Durability::Sync).unwrap();
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    for name in ["first", "second"] {
        let collection = tx.collection(contract, name, ValueKind::Bytes).unwrap();
        assert_eq!(tx.get(collection, b"k").unwrap().unwrap(), name);
    }
}

#[test]
fn inserted_keys_are_never_given_twice() {
    let database = database();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    let open = |tx: &mut Tx| tx.collection(contract, "log", ValueKind::Bytes).unwrap();
    let log = open(&mut tx);
    assert_eq!(tx.insert(log, "x").unwrap(), &1u64.to_be_bytes()[..]);
    assert_eq!(tx.insert(log, "x").unwrap(), &2u64.to_be_bytes()[..]);
    tx.delete(log, &2u64.to_be_bytes()).unwrap();
    tx.commit(Durability::Sync).unwrap();
    let mut tx = begin(&database);
    let log = open(&mut tx);
    assert_eq!(tx.insert(log, "x").unwrap(), &3u64.to_be_bytes()[..]);
    tx.put(log, &(u64::MAX - 1).to_be_bytes(), "x").unwrap();
    assert_eq!(tx.insert(log, "x").unwrap(), &u64::MAX.to_be_bytes()[..]);
    tx.commit(Durability::Sync).unwrap();
    let mut tx = begin(&database);
    let log = open(&mut tx);
    assert_eq!(message(tx.insert(log, "x")), "the insertion keys of the collection are used up");
    assert_eq!(tx.count(log).unwrap(), 4);
}

#[test]
fn read_only_transactions_see_one_state_and_write_nothing() {
    let database = database();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    tx.slot_set(contract, &[1], &[1]).unwrap();
    tx.commit(Durability::Sync).unwrap();
    let mut reader = database.begin(Mode::ReadOnly).unwrap();
    let mut writer = begin(&database);
    writer.slot_set(contract, &[1], &[2]).unwrap();
    writer.slot_set(contract, &[2], &[2]).unwrap();
    writer.commit(Durability::Sync).unwrap();
    assert_eq!(reader.slot_get(contract, &[1]).unwrap().as_bytes(), [1]);
    assert_eq!(reader.slot_get(contract, &[2]).unwrap().as_bytes(), []);
    assert!(matches!(reader.slot_set(contract, &[1], &[3]), Err(DbError::ReadOnly)));
    assert!(matches!(reader.put_code([0; 32], "x"), Err(DbError::ReadOnly)));
    let absent = reader.collection(contract, "absent", ValueKind::Bytes).unwrap();
    assert_eq!(reader.get(absent, b"k").unwrap(), None);
    assert_eq!(reader.count(absent).unwrap(), 0);
    assert!(matches!(reader.put(absent, b"k", "v"), Err(DbError::ReadOnly)));
    assert!(matches!(reader.delete(absent, b"k"), Err(DbError::ReadOnly)));
    assert!(matches!(reader.insert(absent, "v"), Err(DbError::ReadOnly)));
    let cursor = reader.scan(absent, ALL, ALL, Direction::Forward).unwrap();
    assert_eq!(reader.next(cursor).unwrap(), None);
    assert_eq!(reader.changed_keys(), 0);
    reader.commit(Durability::Sync).unwrap();
}

#[test]
fn increments_of_many_threads_are_all_there() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 500;
    let database = database();
    let contract = {
        let mut tx = begin(&database);
        let contract = tx.contract_id("c").unwrap();
        tx.commit(Durability::None).unwrap();
        contract
    };
    let increment = || {
        let mut tx = begin(&database);
        let bytes = tx.slot_get(contract, &[1]).unwrap().as_bytes().to_vec();
        let sum = bytes.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        tx.slot_set(contract, &[1], &(sum + 1).to_be_bytes()).unwrap();
        tx.commit(Durability::None)
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    while let Err(error) = increment() {
                        assert!(error.is_conflict(), "{error}");
                    }
                }
            });
        }
    });
    let sum = begin(&database).slot_get(contract, &[1]).unwrap();
    assert_eq!(sum.as_bytes(), [7, 208], "2000");
    assert_eq!(database.version(), 2001);
}

#[test]
fn cursors_are_limited_and_ids_are_not_reused() {
    let database = database();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    let data = tx.collection(contract, "data", ValueKind::Bytes).unwrap();
    let cursors: Vec<_> =
        (0..MAX_CURSORS).map(|_| tx.scan(data, ALL, ALL, Direction::Forward).unwrap()).collect();
    assert_eq!(
        message(tx.scan(data, ALL, ALL, Direction::Forward)),
        "the transaction has 1024 cursors open already, which is the limit"
    );
    tx.close(cursors[0]).unwrap();
    let next = tx.scan(data, ALL, ALL, Direction::Forward).unwrap();
    assert!(next > cursors[MAX_CURSORS - 1]);
    assert_eq!(message(tx.close(cursors[0])), "the transaction has no open cursor 1");
}

#[test]
fn stores_that_cannot_be_opened() {
    let store = Arc::new(MemoryStore::new());
    store.apply(Batch::new().put("other", "data"), dotdb_store::Durability::Sync).unwrap();
    assert_eq!(message(Database::open(store)), "the store holds data that DotDB did not write");

    let store = Arc::new(MemoryStore::new());
    Database::open(store.clone()).unwrap();
    store
        .apply(Batch::new().put(&b"\0schema"[..], &[0, 0, 0, 3][..]), dotdb_store::Durability::Sync)
        .unwrap();
    assert!(matches!(
        Database::open(store),
        Err(DbError::Store(StoreError::NewerFormat { found: 3, supported: 2 }))
    ));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty.db");
    drop(dotdb_redb::RedbStore::open_or_create(&path).unwrap());
    let store = Arc::new(dotdb_redb::RedbStore::open_read_only(&path).unwrap());
    assert_eq!(message(Database::open(store)), "the store is empty and open for reading only");
}

#[test]
fn a_database_open_for_reading_refuses_writers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    drop(Database::open(Arc::new(dotdb_redb::RedbStore::open_or_create(&path).unwrap())).unwrap());
    let database = Database::open(Arc::new(dotdb_redb::RedbStore::open_read_only(&path).unwrap())).unwrap();
    assert_eq!(message(database.begin(Mode::ReadWrite)), "the store is open for reading only");
    assert!(database.begin(Mode::ReadOnly).unwrap().contracts().unwrap().is_empty());
}

#[test]
fn damaged_values_are_named() {
    let store = Arc::new(MemoryStore::new());
    let database = Database::open(store.clone()).unwrap();
    let mut tx = begin(&database);
    let contract = tx.contract_id("c").unwrap();
    tx.slot_set(contract, &[1], &[1]).unwrap();
    tx.commit(Durability::Sync).unwrap();
    // Slot 1 of contract 1, as laid out in `keys`.
    store
        .apply(Batch::new().put(&[3, 0, 0, 0, 1, 1, 1][..], &[0, 1][..]), dotdb_store::Durability::Sync)
        .unwrap();
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    assert_eq!(
        message(tx.slot_get(contract, &[1])),
        "the store is damaged: the value of key 03000000010101 is not a slot value"
    );
}

/// What was never inserted into a collection of this process is not looked up, and everything else is: what another
/// transaction inserted, what was deleted, undone or restored.
#[test]
fn puts_into_a_new_collection_know_what_they_replace() {
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let begin = || {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let records = tx.collection(contract, "new", ValueKind::Bytes).unwrap();
        (tx, records)
    };
    let (mut tx, records) = begin();
    assert!(!tx.put(records, b"first", "1").unwrap());
    tx.commit(Durability::None).unwrap();
    for round in 0..3u32 {
        let (mut tx, records) = begin();
        for number in 0..2000u32 {
            let replaced = tx.put(records, &number.to_be_bytes(), "v").unwrap();
            assert_eq!(replaced, round > 0 && number % 2 == 0, "{round} {number}");
        }
        assert!(tx.put(records, b"first", "2").unwrap());
        assert_eq!(tx.count(records).unwrap(), 2001);
        tx.commit(Durability::None).unwrap();
        let (mut tx, records) = begin();
        for number in (1..2000u32).step_by(2) {
            assert!(tx.delete(records, &number.to_be_bytes()).unwrap());
        }
        tx.commit(Durability::None).unwrap();
    }
    let (mut undone, records) = begin();
    let savepoint = undone.savepoint();
    assert!(!undone.put(records, b"undone", "").unwrap());
    undone.rollback_to(savepoint).unwrap();
    assert!(!undone.put(records, b"undone", "").unwrap());
    let inserted = undone.insert(records, "inserted").unwrap();
    // Another one, which has not seen it, must not replace it unknowingly.
    let (mut other, same) = begin();
    assert!(!other.put(same, b"undone", "other").unwrap());
    undone.commit(Durability::None).unwrap();
    assert!(matches!(other.commit(Durability::None), Err(DbError::Conflict { .. })));
    let (mut tx, records) = begin();
    assert!(tx.put(records, b"undone", "").unwrap() && tx.put(records, &inserted, "").unwrap());
    assert_eq!(tx.count(records).unwrap(), 1003);
    drop(tx);
    let mut damages = Vec::new();
    database.check(&|_| panic!("there is no code"), |_| (), &mut |damage| damages.push(damage)).unwrap();
    assert!(damages.is_empty(), "{damages:?}");
}
