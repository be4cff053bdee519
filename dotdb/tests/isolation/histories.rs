//! Random concurrent histories: interleaved step by step from a seed, and on threads. `DOTVM_SEEDS=0..10000` runs
//! more of the former, `DOTVM_LONG=1` more of the latter.

use std::ops::Range;
use std::sync::Arc;

use dotdb::{Database, Durability, Store};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use fastrand::Rng;

use crate::checker::{Read, Transaction, cycle, misread};
use crate::client::{Level, StandIn, System, dotdb};
use crate::session::{Plan, Session, replay};

type Committed = Vec<(Plan, Transaction)>;

fn seeds(otherwise: Range<u64>) -> Range<u64> {
    dotvm_test_modes::seeds(otherwise)
}

/// Runs transactions, a few of them open at a time, in an order that the seed gives. Answers those committed, and
/// how many met a conflict.
fn schedule(system: &dyn System, seed: u64) -> (Committed, usize) {
    const OPEN: usize = 4;
    const TRANSACTIONS: u32 = 40;
    let mut random = Rng::with_seed(seed);
    let (mut open, mut committed, mut conflicts) = (Vec::new(), Vec::new(), 0);
    let mut last = 0;
    loop {
        while open.len() < OPEN && last < TRANSACTIONS {
            last += 1;
            let durabilities = [Durability::None, Durability::Sync];
            open.push(Session::begin(system, Plan::random(last, &mut random, &durabilities)));
        }
        if open.is_empty() {
            return (committed, conflicts);
        }
        let which = random.usize(..open.len());
        if !open[which].step() {
            match open.swap_remove(which).commit() {
                Some(done) => committed.push(done),
                None => conflicts += 1,
            }
        }
    }
}

fn transactions(committed: &Committed) -> Vec<Transaction> {
    committed.iter().map(|(_, transaction)| transaction.clone()).collect()
}

fn rows(database: &Database) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    database.rows_at(database.version()).unwrap().map(|row| row.unwrap()).collect()
}

#[track_caller]
fn check(database: &Database, committed: &Committed) {
    let history = transactions(committed);
    assert_eq!(misread(&history), None);
    assert_eq!(cycle(&history), None);
    let again = dotdb(Arc::new(MemoryStore::new()));
    replay(&again, committed);
    assert_eq!(rows(&again), rows(database), "the state after running them one after the other");
    assert_eq!(again.version(), database.version());
}

#[test]
fn interleaved_steps_are_serializable() {
    let (mut all, mut lost) = (0, 0);
    for seed in seeds(0..400) {
        println!("seed {seed}");
        let database = dotdb(Arc::new(MemoryStore::new()));
        let (committed, conflicts) = schedule(&database, seed);
        check(&database, &committed);
        all += committed.len();
        lost += conflicts;
    }
    // Both are common: otherwise this shows little.
    assert!(lost * 20 > all && all > lost, "{all} committed, {lost} conflicts");
}

/// The same histories on databases that validate too little: the checker finds each of the things they miss.
#[test]
fn too_little_validation_is_found() {
    for (level, serializable) in
        [(Level::Writes, false), (Level::Items, false), (Level::Ranges, false), (Level::All, true)]
    {
        let cycles = (0..200)
            .filter(|&seed| {
                let (committed, _) = schedule(&StandIn::new(level), seed);
                let history = transactions(&committed);
                assert_eq!(misread(&history), None, "a snapshot is read");
                cycle(&history).is_some()
            })
            .count();
        assert_eq!(cycles == 0, serializable, "{level:?}: {cycles} of 200");
        println!("{level:?}: {cycles} of 200 histories are not serializable");
    }
}

/// A read changed after the fact is found, whichever it is.
#[test]
fn forged_reads_are_found() {
    let mut forged = 0;
    for seed in 0..20 {
        let history = transactions(&schedule(&dotdb(Arc::new(MemoryStore::new())), seed).0);
        for transaction in 0..history.len() {
            for read in 0..history[transaction].reads.len() {
                let mut history = history.clone();
                let read = &mut history[transaction].reads[read];
                *read = match *read {
                    Read::Value(item, value) => {
                        Read::Value(item, if value.is_some() { None } else { Some(1) })
                    }
                    Read::Exists(item, exists) => Read::Exists(item, !exists),
                    Read::Count(collection, count) => Read::Count(collection, count + 1),
                };
                assert!(misread(&history).is_some());
                forged += 1;
            }
        }
    }
    assert!(forged > 500);
}

/// The same on threads, whose interleaving is whatever it is.
fn run_threads(store: Arc<dyn Store>, rounds: u32, durabilities: &[Durability]) {
    const THREADS: u32 = 4;
    let database = dotdb(store);
    let seed = Rng::new().u64(..);
    println!("seed {seed}");
    let mut committed = Committed::new();
    let mut conflicts = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let database = &database;
                scope.spawn(move || {
                    let mut random = Rng::with_seed(seed ^ u64::from(thread));
                    let (mut committed, mut conflicts) = (Committed::new(), 0);
                    for round in 0..rounds {
                        let id = (thread + 1) << 24 | round;
                        let mut session =
                            Session::begin(database, Plan::random(id, &mut random, durabilities));
                        while session.step() {
                            if random.bool() {
                                std::thread::yield_now();
                            }
                        }
                        match session.commit() {
                            Some(done) => committed.push(done),
                            None => conflicts += 1,
                        }
                    }
                    (committed, conflicts)
                })
            })
            .collect();
        for thread in threads {
            let (mut done, lost) = thread.join().unwrap();
            committed.append(&mut done);
            conflicts += lost;
        }
    });
    println!("{} committed, {conflicts} conflicts", committed.len());
    assert!(committed.len() > (rounds * THREADS / 10) as usize, "hardly anything was committed");
    check(&database, &committed);
}

fn rounds(otherwise: u32) -> u32 {
    dotvm_test_modes::pick(otherwise, otherwise * 20)
}

#[test]
fn threads_over_memory_are_serializable() {
    for _ in 0..3 {
        run_threads(
            Arc::new(MemoryStore::new()),
            rounds(400),
            &[Durability::None, Durability::Sync, Durability::Group],
        );
    }
}

#[test]
fn threads_over_redb_are_serializable() {
    let directory = tempfile::tempdir().unwrap();
    for (name, durabilities) in [
        ("none.db", &[Durability::None][..]),
        ("group.db", &[Durability::Group]),
        ("mixed.db", &[Durability::None, Durability::Sync, Durability::Group]),
    ] {
        let store = RedbStore::open_or_create(directory.path().join(name)).unwrap();
        run_threads(Arc::new(store), rounds(200), durabilities);
    }
}
