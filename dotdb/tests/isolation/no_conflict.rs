//! What must not conflict: a refusal without need is a retry that a user waits for.

use std::ops::{Bound, ControlFlow};

use dotdb::{Database, Direction, Durability, Mode};

use crate::anomalies::{begin, commits, database, get, open, put, scan, set};

const X: &[u8] = &[1];
const Y: &[u8] = &[2];
const ALL: Bound<&[u8]> = Bound::Unbounded;

#[test]
fn inserters_of_different_keys_in_one_collection() {
    let database = database();
    let mut all: Vec<_> = (0..10).map(|_| begin(&database)).collect();
    for (i, tx) in all.iter_mut().enumerate() {
        let (_, records) = open(tx);
        tx.put(records, &[i as u8], "new").unwrap();
        // Of eight bytes, too: the insertion counter is raised and not read.
        tx.put(records, &(i as u64 + 1).to_be_bytes(), "new").unwrap();
    }
    all.into_iter().for_each(commits);
    let mut tx = begin(&database);
    let (_, records) = open(&mut tx);
    assert_eq!(tx.count(records).unwrap(), 3 + 20);
    assert_eq!(tx.insert(records, "next").unwrap(), &11u64.to_be_bytes()[..]);
}

#[test]
fn adding_and_removing_in_one_collection() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    put(&mut one, "x");
    let (_, records) = open(&mut two);
    assert!(two.delete(records, b"b").unwrap());
    commits(one);
    commits(two);
    let mut tx = begin(&database);
    let (_, records) = open(&mut tx);
    assert_eq!(tx.count(records).unwrap(), 3);
    assert_eq!(scan(&mut tx, ALL, ALL, Direction::Forward, 9), ["d", "f", "x"]);
}

#[test]
fn a_reader_of_a_count_and_a_writer_that_keeps_it() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    let (_, records) = open(&mut one);
    assert_eq!(one.count(records).unwrap(), 3);
    set(&mut one, X, 3);
    // Another value under the same key, and one record for another.
    put(&mut two, "d");
    let (_, records) = open(&mut two);
    two.delete(records, b"b").unwrap();
    two.put(records, b"c", "new").unwrap();
    commits(two);
    commits(one);
}

#[test]
fn different_slots() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    let x = get(&mut one, X);
    set(&mut one, X, x + 1);
    let y = get(&mut two, Y);
    set(&mut two, Y, y + 1);
    commits(one);
    commits(two);
}

#[test]
fn a_reader_of_one_range_and_a_writer_of_another() {
    let database = database();
    let mut one = begin(&database);
    assert_eq!(
        scan(&mut one, Bound::Included(b"a"), Bound::Included(b"d"), Direction::Forward, 9),
        ["b", "d"]
    );
    set(&mut one, X, 2);
    let mut two = begin(&database);
    put(&mut two, "dd");
    put(&mut two, "e");
    commits(two);
    commits(one);
}

#[test]
fn a_writer_beyond_what_a_cursor_has_given() {
    for (direction, taken, beyond) in
        [(Direction::Forward, ["b", "d"], ["e", "z"]), (Direction::Backward, ["f", "d"], ["c", "a"])]
    {
        let database = database();
        let mut one = begin(&database);
        assert_eq!(scan(&mut one, ALL, ALL, direction, 2), taken);
        set(&mut one, X, 2);
        let mut two = begin(&database);
        beyond.into_iter().for_each(|key| put(&mut two, key));
        commits(two);
        commits(one);
    }
}

#[test]
fn a_cursor_that_was_never_asked() {
    let database = database();
    let mut one = begin(&database);
    assert!(scan(&mut one, ALL, ALL, Direction::Forward, 0).is_empty());
    set(&mut one, X, 2);
    let mut two = begin(&database);
    put(&mut two, "b");
    commits(two);
    commits(one);
}

#[test]
fn transactions_that_only_read() {
    let database = database();
    let (mut one, mut two) = (begin(&database), database.begin(Mode::ReadOnly).unwrap());
    for tx in [&mut one, &mut two] {
        assert_eq!(get(tx, X), 50);
    }
    let mut writer = begin(&database);
    set(&mut writer, X, 1);
    commits(writer);
    // What they saw is the state before: nothing has to be refused.
    assert_eq!(one.commit(Durability::None).unwrap(), 1);
    assert_eq!(two.commit(Durability::None).unwrap(), 1);
}

#[test]
fn what_was_committed_before_the_transaction_began() {
    let database = database();
    let held = begin(&database);
    for round in 0..20 {
        let mut tx = begin(&database);
        let x = get(&mut tx, X);
        set(&mut tx, X, x + 1);
        put(&mut tx, "b");
        assert_eq!(tx.commit(Durability::None).unwrap(), 2 + round);
    }
    held.abort();
}

#[test]
fn an_undone_write_is_not_committed() {
    let database = database();
    let (mut one, mut two) = (begin(&database), begin(&database));
    assert_eq!(get(&mut two, Y), 50);
    let savepoint = one.savepoint();
    set(&mut one, Y, 9);
    one.rollback_to(savepoint).unwrap();
    set(&mut one, X, 1);
    commits(one);
    set(&mut two, &[3], 50);
    commits(two);
}

/// A transaction that was left open while others committed more than is kept to validate against: it is asked to
/// begin again, and what others wrote does not stay in memory for its sake.
#[test]
fn what_is_kept_for_an_idle_transaction_is_bounded() {
    let database = Database::open_or_create(
        std::sync::Arc::new(dotdb_memory::MemoryStore::new()),
        dotdb::Settings { history: dotdb::History::None, state_root: false },
    )
    .unwrap();
    let setup = |tx: &mut dotdb::Tx| {
        let contract = tx.contract_id("c")?;
        tx.collection(contract, "r", dotdb::ValueKind::Bytes)
    };
    database.retrying(Durability::None, setup).unwrap();
    let mut idle = database.begin(Mode::ReadWrite).unwrap();
    let records = setup(&mut idle).unwrap();
    idle.put(records, b"mine", "value").unwrap();
    let value = bytes::Bytes::from(vec![7; 8 << 20]);
    for _ in 0..40 {
        database
            .retrying(Durability::None, |tx| {
                let records = setup(tx)?;
                tx.put(records, b"other", value.clone())
            })
            .unwrap();
    }
    let refused = idle.commit(Durability::None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the transaction conflicts with another: so much was committed meanwhile that it cannot be told what; \
         try it again"
    );
}

/// What was visited is read as far as it was shown: `b` forwards, `f` backwards; another key of the same range is not.
#[test]
fn a_visit_that_is_broken_off() {
    for (direction, key, is_read) in [
        (Direction::Forward, "a", true),
        (Direction::Forward, "b", true),
        (Direction::Forward, "c", false),
        (Direction::Backward, "g", true),
        (Direction::Backward, "f", true),
        (Direction::Backward, "e", false),
    ] {
        let database = database();
        let (mut one, mut two) = (begin(&database), begin(&database));
        let (_, records) = open(&mut one);
        let mut seen = 0;
        let see = |_: &[u8], _: &[u8]| {
            seen += 1;
            ControlFlow::Break(())
        };
        one.visit(records, ALL, ALL, direction, see).unwrap();
        assert_eq!(seen, 1);
        set(&mut one, X, 3);
        put(&mut two, key);
        commits(two);
        assert_eq!(one.commit(Durability::None).is_err(), is_read, "{direction:?} {key}");
    }
}
