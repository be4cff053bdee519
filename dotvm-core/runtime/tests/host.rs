//! The host over DotDB, driven as an engine drives it. Expected gas is worked out by hand from the schedule:
//! slot 480 on first touch + bytes/8, database 20 a row + bytes/8, event 10 a topic + bytes/8, commit 50 a key.

use std::sync::Arc;

use bytes::Bytes;
use dotdb::{Database, Durability, Mode};
use dotdb_memory::MemoryStore;
use dotdb_store::faulty::FaultyStore;
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::host::{Host, HostError, SlotValue};
use dotvm_core::module::{Collection, CollectionKind};
use dotvm_core::trap::TrapKind;
use dotvm_runtime::{MAX_SAVEPOINTS, TxHost};

fn database() -> Database {
    Database::open(Arc::new(MemoryStore::new())).unwrap()
}

fn collections() -> Vec<Collection> {
    vec![
        Collection { name: "notes".into(), kind: CollectionKind::Bytes },
        Collection { name: "docs".into(), kind: CollectionKind::Document },
    ]
}

fn link<'a>(database: &'a Database, collections: &'a [Collection], mode: Mode) -> TxHost<'a> {
    let tx = database.begin(mode).unwrap();
    TxHost::link(database, tx, "c", collections, Env::default(), Durability::None).unwrap()
}

/// What an operation charges.
fn cost<T>(operation: impl FnOnce(&mut Gas) -> Result<T, HostError>) -> (T, u64) {
    let mut gas = Gas::new(1_000_000);
    let answer = operation(&mut gas).unwrap();
    (answer, 1_000_000 - gas.left())
}

fn kind<T>(result: Result<T, HostError>) -> TrapKind {
    match result.map(drop) {
        Err(HostError::Trap(kind, sentence)) => {
            assert!(!sentence.is_empty());
            kind
        }
        other => panic!("{other:?} is no trap"),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn slots_are_charged_by_first_touch_and_bytes() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    assert_eq!(cost(|gas| host.slot_store(&[1], &[9; 15], gas)).1, 480 + 2);
    let (value, charged) = cost(|gas| host.slot_load(&[1], gas));
    assert_eq!((value.as_bytes(), charged), (&[9u8; 15][..], 2));
    assert_eq!(cost(|gas| host.slot_exists(&[1; 8], gas)), (false, 480 + 1));
    assert_eq!(cost(|gas| host.slot_delete(&[1; 8], gas)), (false, 1));
    assert_eq!(cost(|gas| host.slot_delete(&[1], gas)), (true, 0));
    assert_eq!(cost(|gas| host.slot_load(&[1], gas)).0.as_bytes(), b"");
    assert_eq!(cost(|gas| host.slot_load(&[], gas)).1, 480);
}

#[test]
fn what_does_not_fit_the_gas_changes_nothing() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    let mut gas = Gas::new(100);
    assert_eq!(host.slot_store(&[1], &[5], &mut gas), Err(HostError::OutOfGas));
    assert_eq!(host.db_put(0, b"k", &bytes(&"x".repeat(1000)), &mut gas), Err(HostError::OutOfGas));
    assert_eq!(host.db_insert(0, &bytes(&"x".repeat(1000)), &mut gas), Err(HostError::OutOfGas));
    assert_eq!(host.emit(&[], &bytes(&"x".repeat(1000)), &mut gas), Err(HostError::OutOfGas));
    assert_eq!(gas.left(), 100);
    // Still the first touch, and nothing there.
    assert_eq!(cost(|gas| host.slot_exists(&[1], gas)), (false, 480));
    assert_eq!(cost(|gas| host.db_count(0, gas)), (0, 20));
    assert_eq!(host.finish(true).unwrap(), (vec![], 0));
}

#[test]
fn documents_are_charged_by_row_and_bytes() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    assert_eq!(cost(|gas| host.db_put(0, b"key", &bytes("five!"), gas)), (false, 20 + 1));
    assert_eq!(cost(|gas| host.db_put(0, b"key", &bytes("four"), gas)), (true, 20));
    assert_eq!(cost(|gas| host.db_get(0, b"key", gas)), (Some(bytes("four")), 20));
    assert_eq!(cost(|gas| host.db_get(0, b"absent key", gas)), (None, 20 + 1));
    assert_eq!(cost(|gas| host.db_exists(0, b"key", gas)), (true, 20));
    let (key, charged) = cost(|gas| host.db_insert(0, &bytes("12345678"), gas));
    assert_eq!((&key[..], charged), (&1u64.to_be_bytes()[..], 20 + 2));
    assert_eq!(cost(|gas| host.db_count(0, gas)), (2, 20));
    assert_eq!(cost(|gas| host.db_delete(0, b"key", gas)), (true, 20));
    assert_eq!(cost(|gas| host.db_count(0, gas)).0, 1);
    // 0x01 is the document 1; 0x18 0x01 is the same in more bytes than needed.
    assert!(!cost(|gas| host.db_put(1, b"d", &Bytes::from_static(&[1]), gas)).0);
    let mut gas = Gas::new(1_000_000);
    assert_eq!(kind(host.db_put(1, b"d", &Bytes::from_static(&[0x18, 1]), &mut gas)), TrapKind::Db);
    assert_eq!(kind(host.db_get(0, &[0; 5000], &mut gas)), TrapKind::Db);
}

#[test]
fn cursors_run_both_ways_and_close() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    let mut gas = Gas::new(1_000_000);
    for key in ["a", "b", "c", "d"] {
        host.db_put(0, key.as_bytes(), &bytes("1234567"), &mut gas).unwrap();
    }
    let (up, charged) = cost(|gas| host.db_scan(0, Some(b"b"), Some(b"d"), false, gas));
    assert_eq!((up, charged), (1, 0));
    let (down, _) = cost(|gas| host.db_scan(0, None, None, true, gas));
    assert_eq!(down, 2);
    assert_eq!(cost(|gas| host.db_next(up, gas)), (Some((bytes("b"), bytes("1234567"))), 20 + 1));
    assert_eq!(cost(|gas| host.db_next(up, gas)).0, Some((bytes("c"), bytes("1234567"))));
    assert_eq!(cost(|gas| host.db_next(up, gas)), (None, 20));
    assert_eq!(cost(|gas| host.db_next(down, gas)).0.unwrap().0, bytes("d"));
    host.db_close(up).unwrap();
    for cursor in [0, up, 3, u64::MAX] {
        assert_eq!(kind(host.db_next(cursor, &mut gas)), TrapKind::Index);
        assert_eq!(kind(host.db_close(cursor)), TrapKind::Index);
    }
    // Numbers count on over the transactions of an execution, and old ones stay closed.
    host.tx_abort().unwrap();
    host.tx_begin(false).unwrap();
    assert_eq!(kind(host.db_next(down, &mut gas)), TrapKind::Index);
    assert_eq!(host.db_scan(0, None, None, false, &mut gas).unwrap(), 3);
    assert_eq!(host.db_next(3, &mut gas).unwrap(), None);
}

#[test]
fn a_rollback_takes_state_documents_scratch_and_events() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    let mut gas = Gas::new(1_000_000);
    let topic = SlotValue::new(&[7]).unwrap();
    host.slot_store(&[1], &[1], &mut gas).unwrap();
    host.scratch_store(&[1], &[1]).unwrap();
    host.emit(&[topic], &bytes("kept"), &mut gas).unwrap();
    assert_eq!(host.savepoint().unwrap(), 1);
    host.slot_store(&[1], &[2], &mut gas).unwrap();
    host.scratch_store(&[1], &[2]).unwrap();
    host.scratch_store(&[2], &[2]).unwrap();
    host.db_put(0, b"k", &bytes("v"), &mut gas).unwrap();
    assert_eq!(host.savepoint().unwrap(), 2);
    host.emit(&[], &bytes("dropped"), &mut gas).unwrap();
    host.scratch_store(&[1], &[3]).unwrap();
    host.rollback(1).unwrap();
    assert_eq!(host.slot_load(&[1], &mut gas).unwrap().as_bytes(), [1]);
    assert_eq!(host.scratch_load(&[1]).unwrap().as_bytes(), [1]);
    assert_eq!(host.scratch_load(&[2]).unwrap().as_bytes(), b"");
    assert_eq!(host.db_get(0, b"k", &mut gas).unwrap(), None);
    assert_eq!(kind(host.rollback(2)), TrapKind::Tx);
    assert_eq!(kind(host.rollback(0)), TrapKind::Tx);
    // Savepoint 1 stays valid.
    host.scratch_store(&[1], &[4]).unwrap();
    host.rollback(1).unwrap();
    assert_eq!(host.scratch_load(&[1]).unwrap().as_bytes(), [1]);
    let (events, changed) = host.finish(true).unwrap();
    assert_eq!(changed, 1);
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0].data[..], events[0].topics[0].to_string()), (&b"kept"[..], "7".to_owned()));
}

#[test]
fn savepoints_are_limited() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    for id in 1..=MAX_SAVEPOINTS as u64 {
        assert_eq!(host.savepoint().unwrap(), id);
    }
    assert_eq!(kind(host.savepoint()), TrapKind::Tx);
    host.rollback(1).unwrap();
    host.savepoint().unwrap();
}

#[test]
fn events_are_charged_by_topic_and_bytes() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    let topics = [SlotValue::new(&[1; 8]).unwrap(), SlotValue::ZERO];
    assert_eq!(cost(|gas| host.emit(&topics, &bytes("12345678"), gas)).1, 2 * 10 + 2);
}

#[test]
fn transactions_inside_a_call() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadWrite);
    let mut gas = Gas::new(1_000_000);
    assert_eq!(kind(host.tx_begin(false)), TrapKind::Tx);
    host.slot_store(&[1], &[1], &mut gas).unwrap();
    host.scratch_store(&[1], &[1]).unwrap();
    host.emit(&[], &bytes("first"), &mut gas).unwrap();
    host.savepoint().unwrap();
    assert_eq!(cost(|gas| host.tx_commit(gas)), (true, 50));
    // Nothing is open now.
    assert_eq!(kind(host.slot_load(&[1], &mut gas)), TrapKind::Tx);
    assert_eq!(kind(host.scratch_load(&[1])), TrapKind::Tx);
    assert_eq!(kind(host.db_next(1, &mut gas)), TrapKind::Tx);
    assert_eq!(kind(host.tx_commit(&mut gas)), TrapKind::Tx);
    assert_eq!(kind(host.tx_abort()), TrapKind::Tx);
    assert_eq!(kind(host.savepoint()), TrapKind::Tx);
    host.tx_begin(true).unwrap();
    assert_eq!(host.slot_load(&[1], &mut gas).unwrap().as_bytes(), [1]);
    assert_eq!(host.scratch_load(&[1]).unwrap().as_bytes(), b"");
    assert_eq!(kind(host.slot_store(&[1], &[2], &mut gas)), TrapKind::ReadOnly);
    assert_eq!(kind(host.slot_delete(&[1], &mut gas)), TrapKind::ReadOnly);
    assert_eq!(kind(host.scratch_store(&[1], &[2])), TrapKind::ReadOnly);
    assert_eq!(kind(host.db_put(0, b"k", &bytes("v"), &mut gas)), TrapKind::ReadOnly);
    assert_eq!(kind(host.db_delete(0, b"k", &mut gas)), TrapKind::ReadOnly);
    assert_eq!(kind(host.db_insert(0, &bytes("v"), &mut gas)), TrapKind::ReadOnly);
    assert_eq!(kind(host.emit(&[], &bytes("x"), &mut gas)), TrapKind::ReadOnly);
    host.tx_abort().unwrap();
    host.tx_begin(false).unwrap();
    assert_eq!(host.savepoint().unwrap(), 1, "savepoints count from 1 in each transaction");
    host.slot_store(&[1], &[3], &mut gas).unwrap();
    host.emit(&[], &bytes("undone"), &mut gas).unwrap();
    // The execution fails: what it had committed stays, with its events.
    let (events, changed) = host.finish(false).unwrap();
    assert_eq!((events.len(), &events[0].data[..], changed), (1, &b"first"[..], 1));
    let mut host = link(&database, &collections, Mode::ReadWrite);
    assert_eq!(host.slot_load(&[1], &mut gas).unwrap().as_bytes(), [1]);
}

#[test]
fn a_read_only_transaction_of_an_unknown_contract_is_empty() {
    let (database, collections) = (database(), collections());
    let mut host = link(&database, &collections, Mode::ReadOnly);
    let mut gas = Gas::new(1_000_000);
    assert_eq!(host.slot_load(&[1], &mut gas).unwrap().as_bytes(), b"");
    assert_eq!(host.db_get(0, b"k", &mut gas).unwrap(), None);
    assert_eq!(host.db_count(0, &mut gas).unwrap(), 0);
    assert_eq!(host.finish(true).unwrap().1, 0);
}

#[test]
fn an_execution_that_changes_nothing_leaves_the_store_as_it_was() {
    let (database, collections) = (database(), collections());
    let before = database.stats().unwrap();
    let mut host = link(&database, &collections, Mode::ReadWrite);
    host.slot_load(&[1], &mut Gas::new(1_000_000)).unwrap();
    assert_eq!(host.finish(true).unwrap(), (vec![], 0));
    assert_eq!(database.stats().unwrap(), before);
}

#[test]
fn a_failing_store_is_a_trap_and_then_the_answer() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let database = Database::open(store.clone()).unwrap();
    let collections = collections();
    let mut gas = Gas::new(1_000_000);
    let mut host = link(&database, &collections, Mode::ReadWrite);
    host.slot_store(&[1], &[1], &mut gas).unwrap();
    store.fail_after(0);
    assert_eq!(kind(host.slot_load(&[2], &mut gas)), TrapKind::Db);
    store.heal();
    assert!(host.finish(true).is_err(), "an execution that met a failing store is not kept");
    let mut host = link(&database, &collections, Mode::ReadWrite);
    assert_eq!(host.slot_load(&[1], &mut gas).unwrap().as_bytes(), b"");
    host.slot_store(&[1], &[1], &mut gas).unwrap();
    store.fail_after(0);
    assert!(host.finish(true).is_err());
}
