//! DotDB against ordered maps: bytes are read as operations on both, which must answer alike.
//!
//! A fuzzer chooses the bytes. Transactions with savepoints, a rival that commits in the middle of them (whether that
//! is a conflict is known exactly), versions of the past, restoring, forgetting, opening anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use dotdb::{
    CollectionId, ContractId, Database, DbError, Direction, Durability, History, Mode, Settings, Tx,
    ValueKind,
};
use dotdb_memory::MemoryStore;

const COLLECTIONS: [&str; 2] = ["a", "b"];

type Key = Vec<u8>;

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    slots: BTreeMap<u8, u8>,
    collections: [BTreeMap<Key, Vec<u8>>; 2],
    /// Greatest key of eight bytes that was ever there.
    greatest: [u64; 2],
}

/// What a transaction has read.
#[derive(Default)]
struct Reads {
    slots: BTreeSet<u8>,
    records: BTreeSet<(usize, Key)>,
    ranges: Vec<(usize, Bound<Key>, Bound<Key>)>,
    counts: BTreeSet<usize>,
}

impl Reads {
    /// Whether a write changes anything that was read.
    fn contain(&self, write: &Write) -> bool {
        match write {
            Write::Slot(slot, _) => self.slots.contains(slot),
            Write::Record { which, key, is_new, .. } => {
                self.records.contains(&(*which, key.clone()))
                    || *is_new && self.counts.contains(which)
                    || self.ranges.iter().any(|(of, from, to)| of == which && is_between(key, from, to))
            }
        }
    }
}

struct Open {
    tx: Tx,
    contract: ContractId,
    collections: [CollectionId; 2],
    state: State,
    savepoints: Vec<(u64, State)>,
    reads: Reads,
    /// What rivals have committed meanwhile.
    rivals: Vec<Write>,
}

/// A write of a rival.
enum Write {
    Slot(u8, u8),
    Record { which: usize, key: Key, value: Vec<u8>, is_new: bool },
}

impl State {
    fn set_slot(&mut self, slot: u8, value: u8) {
        match value {
            0 => self.slots.remove(&slot),
            value => self.slots.insert(slot, value),
        };
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Slot(slot, value) => self.set_slot(*slot, *value),
            Write::Record { which, key, value, .. } => {
                self.collections[*which].insert(key.clone(), value.clone());
            }
        }
    }
}

/// The bytes that choose.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn up_to(&mut self, end: usize) -> usize {
        usize::from(self.next().unwrap_or(0)) % end
    }

    fn key(&mut self) -> Key {
        (0..self.up_to(3)).map(|_| [0, 1, 254, 255][self.up_to(4)]).collect()
    }

    fn value(&mut self) -> Vec<u8> {
        let byte = self.next().unwrap_or(0);
        vec![byte; usize::from(byte % 5)]
    }

    fn bound(&mut self) -> Bound<Key> {
        match self.up_to(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }
}

fn as_slice(bound: &Bound<Key>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

fn is_between(key: &Key, from: &Bound<Key>, to: &Bound<Key>) -> bool {
    RangeBounds::<[u8]>::contains(&(as_slice(from), as_slice(to)), &key[..])
}

fn open_collections(tx: &mut Tx) -> (ContractId, [CollectionId; 2]) {
    let contract = tx.contract_id("c").expect("a name");
    (contract, COLLECTIONS.map(|name| tx.collection(contract, name, ValueKind::Bytes).expect("a collection")))
}

struct Model {
    store: Arc<MemoryStore>,
    database: Database,
    /// One for each version from 1 on.
    states: Vec<State>,
    oldest: u64,
    open: Option<Open>,
}

impl Model {
    fn new(history: History) -> Model {
        let store = Arc::new(MemoryStore::new());
        let settings = Settings { history, ..Settings::default() };
        let database = Database::open_or_create(store.clone(), settings).expect("a new database");
        let mut tx = database.begin(Mode::ReadWrite).expect("a transaction");
        open_collections(&mut tx);
        assert_eq!(tx.commit(Durability::None).expect("committed"), 1);
        Model { store, database, states: vec![State::default()], oldest: 0, open: None }
    }

    fn last(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    fn open(&mut self) -> &mut Open {
        if self.open.is_none() {
            let mut tx = self.database.begin(Mode::ReadWrite).expect("a transaction");
            let (contract, collections) = open_collections(&mut tx);
            let state = self.last().clone();
            let (savepoints, reads) = (Vec::new(), Reads::default());
            let rivals = Vec::new();
            self.open = Some(Open { tx, contract, collections, state, savepoints, reads, rivals });
        }
        self.open.as_mut().expect("it is open")
    }

    fn commit(&mut self) {
        let Some(Open { tx, mut state, reads, rivals, .. }) = self.open.take() else { return };
        let writes = tx.changed_keys() > 0;
        let conflicts = rivals.iter().any(|write| reads.contain(write));
        let result = tx.commit(Durability::None);
        match result {
            Ok(version) if writes => {
                assert!(!conflicts, "a conflict was missed");
                rivals.iter().for_each(|write| state.write(write));
                self.states.push(state);
                assert_eq!(version, self.states.len() as u64);
            }
            Ok(_) => {}
            Err(error) => assert!(conflicts && writes && error.is_conflict(), "{error}"),
        }
        assert_eq!(self.database.version(), self.states.len() as u64);
    }

    /// Another transaction, from begin to commit.
    fn rival(&mut self, bytes: &mut Bytes<'_>) {
        let mut state = self.last().clone();
        let mut tx = self.database.begin(Mode::ReadWrite).expect("a transaction");
        let (contract, collections) = open_collections(&mut tx);
        let write = if bytes.up_to(2) == 0 {
            let (slot, value) = (bytes.up_to(4) as u8, bytes.up_to(3) as u8);
            tx.slot_set(contract, &[slot], &[value]).expect("a slot");
            Write::Slot(slot, value)
        } else {
            let (which, key, value) = (bytes.up_to(2), bytes.key(), bytes.value());
            let is_new = !state.collections[which].contains_key(&key);
            assert_eq!(tx.put(collections[which], &key, value.clone()).expect("a record"), !is_new);
            Write::Record { which, key, value, is_new }
        };
        state.write(&write);
        if let Some(open) = &mut self.open {
            open.rivals.push(write);
        }
        self.states.push(state);
        assert_eq!(tx.commit(Durability::None).expect("alone"), self.states.len() as u64);
    }

    fn check_version(&mut self, version: u64) {
        let last = self.states.len() as u64;
        let mut tx = match self.database.begin_at(version) {
            Ok(tx) => tx,
            Err(DbError::FutureVersion { .. }) => return assert!(version > last),
            Err(DbError::PrunedVersion { .. }) => return assert!(version < self.oldest),
            Err(error) => panic!("{error}"),
        };
        assert!((self.oldest..=last).contains(&version));
        if version == 0 {
            return assert_eq!(tx.contracts().expect("contracts"), []);
        }
        let state = self.states[version as usize - 1].clone();
        check_all(&mut tx, &state);
    }

    /// The oldest version after settling.
    fn oldest_when_settled(&self) -> u64 {
        let last = self.states.len() as u64;
        match self.database.settings().history {
            History::None => last,
            History::Last(kept) => last.saturating_sub(kept).max(self.oldest),
            History::All => self.oldest,
        }
    }

    /// Settling happens by itself, too.
    fn follow_oldest(&mut self) {
        let oldest = self.database.oldest_version().expect("a version");
        assert!([self.oldest, self.oldest_when_settled()].contains(&oldest));
        self.oldest = oldest;
    }

    fn step(&mut self, operation: u8, bytes: &mut Bytes<'_>) {
        match operation % 20 {
            0..12 => self.open().step(operation % 20, bytes),
            12 | 13 => self.commit(),
            14 => drop(self.open.take()),
            15 | 16 => self.rival(bytes),
            17 => {
                let version = self.oldest + bytes.up_to(8) as u64;
                self.check_version(version);
            }
            18 => {
                self.open = None;
                let version = self.oldest + bytes.up_to(8) as u64;
                let last = self.states.len() as u64;
                if version == 0 {
                    return;
                }
                match self.database.restore(version, Durability::None) {
                    Ok(made) => {
                        let state = self.states[version as usize - 1].clone();
                        if state != *self.last() {
                            self.states.push(state);
                        }
                        assert_eq!(made, self.states.len() as u64);
                    }
                    Err(DbError::FutureVersion { .. }) => assert!(version > last),
                    Err(error) => panic!("{error}"),
                }
            }
            _ => match bytes.up_to(3) {
                0 => {
                    self.database.settle().expect("settled");
                    self.oldest = self.oldest_when_settled();
                }
                1 => {
                    let oldest = self.oldest + bytes.up_to(4) as u64;
                    if oldest <= self.states.len() as u64 {
                        self.database.forget_before(oldest).expect("forgotten");
                        self.oldest = self.oldest_when_settled().max(oldest);
                    }
                }
                _ => {
                    self.open = None;
                    self.database = Database::open(self.store.clone()).expect("it is there");
                    assert_eq!(self.database.version(), self.states.len() as u64);
                }
            },
        }
        self.follow_oldest();
    }
}

impl Open {
    fn step(&mut self, operation: u8, bytes: &mut Bytes<'_>) {
        let which = bytes.up_to(2);
        let collection = self.collections[which];
        let records = &mut self.state.collections[which];
        match operation {
            0 => {
                let slot = bytes.up_to(4) as u8;
                self.reads.slots.insert(slot);
                let value = self.tx.slot_get(self.contract, &[slot]).expect("a slot");
                assert_eq!(value.as_bytes().first(), self.state.slots.get(&slot));
            }
            1 => {
                let (slot, value) = (bytes.up_to(4) as u8, bytes.up_to(3) as u8);
                self.reads.slots.insert(slot);
                self.tx.slot_set(self.contract, &[slot], &[value]).expect("a slot");
                self.state.set_slot(slot, value);
            }
            2 => {
                let key = bytes.key();
                let value = self.tx.get(collection, &key).expect("a record").map(|value| value.to_vec());
                assert_eq!(value.as_ref(), records.get(&key));
                self.reads.records.insert((which, key));
            }
            3 | 4 => {
                let (key, value) = (bytes.key(), bytes.value());
                let replaced = self.tx.put(collection, &key, value.clone()).expect("a record");
                assert_eq!(replaced, records.insert(key.clone(), value).is_some());
                self.reads.records.insert((which, key));
            }
            5 => {
                let key = bytes.key();
                let existed = self.tx.delete(collection, &key).expect("a record");
                assert_eq!(existed, records.remove(&key).is_some());
                self.reads.records.insert((which, key));
            }
            6 => {
                let value = bytes.value();
                self.state.greatest[which] += 1;
                let key = self.state.greatest[which].to_be_bytes();
                assert_eq!(self.tx.insert(collection, value.clone()).expect("a record"), &key[..]);
                assert_eq!(records.insert(key.to_vec(), value), None);
                self.reads.records.insert((which, key.to_vec()));
            }
            7 => {
                let (from, to) = (bytes.bound(), bytes.bound());
                let backward = bytes.up_to(2) == 1;
                let direction = if backward { Direction::Backward } else { Direction::Forward };
                let cursor =
                    self.tx.scan(collection, as_slice(&from), as_slice(&to), direction).expect("a cursor");
                let mut expected: Vec<_> =
                    records.iter().filter(|(key, _)| is_between(key, &from, &to)).collect();
                if backward {
                    expected.reverse();
                }
                for (key, value) in expected {
                    let (found, held) = self.tx.next(cursor).expect("a row").expect("one more");
                    assert_eq!((&found[..], &held[..]), (&key[..], &value[..]));
                }
                assert_eq!(self.tx.next(cursor).expect("the end"), None);
                if bytes.up_to(2) == 0 {
                    self.tx.close(cursor).expect("it is open");
                }
                self.reads.ranges.push((which, from, to));
            }
            8 => {
                assert_eq!(self.tx.count(collection).expect("a count"), records.len() as u64);
                self.reads.counts.insert(which);
            }
            9 => self.savepoints.push((self.tx.savepoint(), self.state.clone())),
            10 if !self.savepoints.is_empty() => {
                let place = bytes.up_to(self.savepoints.len());
                self.tx.rollback_to(self.savepoints[place].0).expect("it is set");
                self.savepoints.truncate(place + 1);
                self.state = self.savepoints[place].1.clone();
            }
            11 if !self.savepoints.is_empty() => {
                let place = bytes.up_to(self.savepoints.len());
                self.tx.release(self.savepoints[place].0).expect("it is set");
                self.savepoints.truncate(place);
            }
            _ => {}
        }
    }
}

/// All of a state, seen by iteration.
fn check_all(tx: &mut Tx, state: &State) {
    let (contract, collections) = open_collections(tx);
    let number = |bytes: &[u8]| bytes.first().copied().unwrap_or(0);
    let slots = tx.slots(contract).expect("slots").map(|slot| slot.expect("a slot"));
    let slots: BTreeMap<u8, u8> = slots.map(|(slot, value)| (number(&slot), number(&value))).collect();
    assert_eq!(slots, state.slots);
    for (collection, expected) in collections.into_iter().zip(&state.collections) {
        let all = Bound::Unbounded;
        let cursor = tx.scan(collection, all, all, Direction::Forward).expect("a cursor");
        let mut found = BTreeMap::new();
        while let Some((key, value)) = tx.next(cursor).expect("a row") {
            found.insert(key.to_vec(), value.to_vec());
        }
        assert_eq!(&found, expected);
        assert_eq!(tx.count(collection).expect("a count"), expected.len() as u64);
    }
}

/// Reads bytes as operations and carries them out.
///
/// # Panics
/// If DotDB and the model do not agree.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let history = match bytes.up_to(4) {
        0 => History::None,
        1 => History::Last(2),
        _ => History::All,
    };
    let mut model = Model::new(history);
    if history == History::None {
        model.oldest = 1;
    }
    while let Some(operation) = bytes.next() {
        model.step(operation, &mut bytes);
    }
    model.commit();
    model.follow_oldest();
    for version in model.oldest..=model.states.len() as u64 {
        model.check_version(version);
    }
}
