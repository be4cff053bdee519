//! Versions, roots and queries through the host: what depends on the database rather than on the program.

use std::sync::Arc;

use dotdb::query::{IndexSpec, Query};
use dotdb::{ContractId, Database, Durability, History, Mode, Settings};
use dotdb_memory::MemoryStore;
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::host::{Host, HostError};
use dotvm_core::module::{Collection, CollectionKind};
use dotvm_core::trap::TrapKind;
use dotvm_runtime::TxHost;

const ALL_ROOTED: Settings = Settings { history: History::All, state_root: true };

fn database(settings: Settings) -> Database {
    Database::open_or_create(Arc::new(MemoryStore::new()), settings).unwrap()
}

fn collections() -> Vec<Collection> {
    vec![Collection { name: "docs".into(), kind: CollectionKind::Document }]
}

fn link<'a>(database: &'a Database, collections: &'a [Collection]) -> TxHost<'a> {
    let tx = database.begin(Mode::ReadWrite).unwrap();
    TxHost::link(database, tx, "c", collections, Env::default(), Durability::None).unwrap()
}

fn gas() -> Gas {
    Gas::new(1_000_000)
}

/// The sentence of a trap of kind Db.
fn refusal<T>(result: Result<T, HostError>) -> String {
    match result.map(drop) {
        Err(HostError::Trap(TrapKind::Db, sentence)) => sentence,
        other => panic!("{other:?} is no Db trap"),
    }
}

fn set(database: &Database, value: u8) {
    let mut host = link(database, &[]);
    host.slot_store(&[1], &[value], &mut gas()).unwrap();
    host.finish(true).unwrap();
}

#[test]
fn a_version_that_is_forgotten_or_still_to_come_is_refused() {
    let database = database(ALL_ROOTED);
    (1..=4).for_each(|value| set(&database, value));
    database.forget_before(3).unwrap();
    let mut host = link(&database, &[]);
    // Committed by another after the host's transaction began.
    set(&database, 5);
    assert_eq!(database.version(), 5);
    let mut at = |version| host.slot_load_at(version, &[1], &mut gas());
    assert_eq!(refusal(at(2)), "version 2 is not kept any more: the oldest is 3");
    assert_eq!(at(3).unwrap().as_bytes(), [3]);
    assert_eq!(at(4).unwrap().as_bytes(), [4]);
    assert_eq!(refusal(at(5)), "there is no version 5: the last is 4");
}

#[test]
fn a_database_without_a_root_says_so() {
    let database = database(Settings { history: History::All, state_root: false });
    let collections = collections();
    let mut host = link(&database, &collections);
    let expected = "the database keeps no state root: it was made without one";
    assert_eq!(refusal(host.state_root(&mut gas())), expected);
    assert_eq!(refusal(host.state_prove(&[1], &mut gas())), expected);
    assert_eq!(refusal(host.db_prove(0, b"k", &mut gas())), expected);
    // Verification needs none.
    assert_eq!(host.state_verify(&[1], &[], &[0; 32], b"no proof", &mut gas()), Ok(false));
}

#[test]
fn asking_for_the_root_reads_the_whole_state() {
    for asks in [false, true] {
        let database = database(ALL_ROOTED);
        set(&database, 1);
        let mut host = link(&database, &[]);
        if asks {
            host.state_root(&mut gas()).unwrap();
        }
        host.slot_store(&[2], &[2], &mut gas()).unwrap();
        set(&database, 5);
        assert_eq!(host.tx_commit(&mut gas()), Ok(!asks));
    }
}

#[test]
fn a_query_through_an_index_costs_the_rows_it_examines() {
    let database = database(ALL_ROOTED);
    let collections = collections();
    let mut host = link(&database, &collections);
    // {"n": 0} to {"n": 23}, a byte each.
    for n in 0..24u8 {
        let document = vec![0xa1, 0x61, b'n', n].into();
        host.db_put(0, &[n], &document, &mut gas()).unwrap();
    }
    host.finish(true).unwrap();
    let spec = IndexSpec::parse("n").unwrap();
    database.create_index(ContractId(1), "docs", "by_n", &spec, |_| ()).unwrap();

    let mut host = link(&database, &collections);
    let plan = Query::parse("SELECT * FROM docs WHERE n = $1").unwrap().to_bytes();
    let cost = |host: &mut TxHost<'_>, operation: &mut dyn FnMut(&mut TxHost<'_>, &mut Gas)| {
        let mut gas = gas();
        operation(host, &mut gas);
        1_000_000 - gas.left()
    };
    let mut cursor = 0;
    let opening = cost(&mut host, &mut |host, gas| {
        cursor = host.db_query(0, &plan, Some(&[0x81, 7]), gas).unwrap();
    });
    // The plan's and the argument's bytes, and what the planner counted of the one entry there is.
    assert!((20..200).contains(&opening), "{opening}");
    let row = cost(&mut host, &mut |host, gas| {
        let (key, document) = host.db_next(cursor, gas).unwrap().unwrap();
        assert_eq!((&key[..], &document[..]), (&[7][..], &[0xa1, 0x61, b'n', 7][..]));
    });
    // An entry and its record examined, and a row of 5 bytes given.
    assert!((60..80).contains(&row), "{row}");
    let end = cost(&mut host, &mut |host, gas| assert_eq!(host.db_next(cursor, gas), Ok(None)));
    assert_eq!(end, 20);
    host.db_close(cursor).unwrap();
    assert_eq!(host.db_query_count(0, &plan, Some(&[0x81, 7]), &mut gas()), Ok(1));
    assert_eq!(host.db_query_count(0, &plan, Some(&[0x81, 0x18, 99]), &mut gas()), Ok(0));
}
