//! Random transactions against a model: ordered maps, and a stack of their clones for savepoints.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use dotdb::{
    CollectionId, ContractId, CursorId, Database, DbError, Direction, Durability, Mode, Store, Touch, Tx,
    ValueKind,
};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use proptest::prelude::*;

const CONTRACTS: [&str; 2] = ["one", "two"];
const COLLECTIONS: [&str; 2] = ["a", "b"];
/// More records than a transaction remembers from reading them.
const MANY: u16 = 5000;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type RowsToCome = std::vec::IntoIter<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug)]
enum Op {
    SlotGet(usize, Vec<u8>),
    SlotSet(usize, Vec<u8>, Vec<u8>),
    SlotDelete(usize, Vec<u8>),
    Get(usize, Vec<u8>),
    GetMany(usize),
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Scan(usize, Bound<Vec<u8>>, Bound<Vec<u8>>, bool),
    OpenCursor(usize),
    Next(prop::sample::Index),
    Savepoint,
    Rollback(prop::sample::Index),
    Release(prop::sample::Index),
    Commit,
    Abort,
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..3),
        // Keys that inserts give, or would give.
        1 => (0..6u64).prop_map(|n| n.to_be_bytes().to_vec()),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
}

fn op() -> impl Strategy<Value = Op> {
    let value = || prop::collection::vec(any::<u8>(), 0..4);
    let which = || 0..2usize;
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (which(), key()).prop_map(|(c, k)| Op::SlotGet(c, k)),
        8 => (which(), key(), value()).prop_map(|(c, k, v)| Op::SlotSet(c, k, v)),
        2 => (which(), key()).prop_map(|(c, k)| Op::SlotDelete(c, k)),
        4 => (which(), key()).prop_map(|(c, k)| Op::Get(c, k)),
        1 => which().prop_map(Op::GetMany),
        8 => (which(), key(), value()).prop_map(|(c, k, v)| Op::Put(c, k, v)),
        4 => (which(), key()).prop_map(|(c, k)| Op::Delete(c, k)),
        2 => (which(), value()).prop_map(|(c, v)| Op::Insert(c, v)),
        4 => (which(), bound(), bound(), any::<bool>()).prop_map(|(c, f, t, b)| Op::Scan(c, f, t, b)),
        1 => which().prop_map(Op::OpenCursor),
        3 => at().prop_map(Op::Next),
        6 => Just(Op::Savepoint),
        4 => at().prop_map(Op::Rollback),
        2 => at().prop_map(Op::Release),
        2 => Just(Op::Commit),
        1 => Just(Op::Abort),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    /// By contract, then by number.
    slots: [BTreeMap<u128, Vec<u8>>; 2],
    collections: [Rows; 2],
    next_keys: [u64; 2],
    /// Slots.
    touched: BTreeSet<(usize, Vec<u8>)>,
    /// Records.
    written: BTreeSet<(usize, Vec<u8>)>,
}

impl State {
    fn touch(&mut self, which: usize, key: &[u8]) -> Touch {
        if self.touched.insert((which, key.to_vec())) { Touch::First } else { Touch::Again }
    }
}

fn significant(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|&byte| byte == 0).collect()
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// A transaction with its model, and what they began from.
struct Run {
    tx: Tx,
    contracts: Vec<ContractId>,
    collections: Vec<CollectionId>,
    state: State,
    savepoints: Vec<(u64, State)>,
    /// Id, rows to come, last savepoint when it was opened.
    cursors: Vec<(CursorId, RowsToCome, u64)>,
    last_savepoint: u64,
}

impl Run {
    fn begin(database: &Database, mut state: State) -> Run {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contracts: Vec<_> = CONTRACTS.iter().map(|name| tx.contract_id(name).unwrap()).collect();
        let open = |name| tx.collection(contracts[0], name, ValueKind::Bytes).unwrap();
        let collections = COLLECTIONS.map(open).to_vec();
        state.touched.clear();
        state.written.clear();
        Run { tx, contracts, collections, state, savepoints: vec![], cursors: vec![], last_savepoint: 0 }
    }

    fn step(&mut self, op: &Op) {
        let Run { tx, state, .. } = self;
        match op {
            Op::SlotGet(c, key) => {
                let entry = tx.slot_entry(self.contracts[*c], key).unwrap();
                let expected = state.slots[*c].get(&number(key)).cloned().unwrap_or_default();
                assert_eq!(entry.touch(), state.touch(*c, &significant(key)));
                assert_eq!(entry.bytes(), expected.len());
                assert_eq!(entry.read(), expected);
            }
            Op::SlotSet(c, key, value) => {
                let entry = tx.slot_entry(self.contracts[*c], key).unwrap();
                assert_eq!(entry.touch(), state.touch(*c, &significant(key)));
                entry.store(value).unwrap();
                let value = significant(value);
                if value.is_empty() {
                    state.slots[*c].remove(&number(key));
                } else {
                    state.slots[*c].insert(number(key), value);
                }
            }
            Op::SlotDelete(c, key) => {
                state.touch(*c, &significant(key));
                let existed = state.slots[*c].remove(&number(key)).is_some();
                assert_eq!(tx.slot_delete(self.contracts[*c], key).unwrap(), existed);
                assert!(!tx.slot_exists(self.contracts[*c], key).unwrap());
            }
            Op::Get(c, key) => {
                let entry = tx.record_entry(self.collections[*c], key).unwrap();
                let expected = state.collections[*c].get(key).cloned();
                assert_eq!(entry.written(), state.written.contains(&(*c, key.clone())));
                assert_eq!(entry.exists(), expected.is_some());
                assert_eq!(entry.bytes(), expected.as_ref().map_or(0, Vec::len));
                assert_eq!(entry.read().map(|value| value.to_vec()), expected);
            }
            Op::GetMany(c) => {
                for i in 0..MANY {
                    let [high, low] = i.to_be_bytes();
                    assert_eq!(tx.get(self.collections[*c], &[7, high, low]).unwrap(), None);
                }
            }
            Op::Put(c, key, value) => {
                state.written.insert((*c, key.clone()));
                let replaced = state.collections[*c].insert(key.clone(), value.clone()).is_some();
                assert_eq!(tx.put(self.collections[*c], key, value.clone()).unwrap(), replaced);
                if let (false, Ok(key)) = (replaced, <[u8; 8]>::try_from(&key[..])) {
                    let next = &mut state.next_keys[*c];
                    *next = (*next).max(u64::from_be_bytes(key));
                }
            }
            Op::Delete(c, key) => {
                let existed = state.collections[*c].remove(key).is_some();
                if existed {
                    state.written.insert((*c, key.clone()));
                }
                assert_eq!(tx.delete(self.collections[*c], key).unwrap(), existed);
            }
            Op::Insert(c, value) => {
                state.next_keys[*c] += 1;
                let key = state.next_keys[*c].to_be_bytes();
                assert_eq!(tx.insert(self.collections[*c], value.clone()).unwrap(), &key[..]);
                state.written.insert((*c, key.to_vec()));
                assert!(state.collections[*c].insert(key.to_vec(), value.clone()).is_none());
            }
            Op::Scan(c, from, to, backward) => {
                let direction = if *backward { Direction::Backward } else { Direction::Forward };
                let (from, to) = (from.as_ref().map(|k| &k[..]), to.as_ref().map(|k| &k[..]));
                let cursor = tx.scan(self.collections[*c], from, to, direction).unwrap();
                let mut expected = Vec::new();
                if !dotdb_store::is_empty_range(from, to) {
                    expected.extend(state.collections[*c].range::<[u8], _>((from, to)));
                }
                if *backward {
                    expected.reverse();
                }
                for most in [usize::MAX, expected.len().div_ceil(2)] {
                    let mut visited = Vec::new();
                    let see = |key: &[u8], value: &[u8]| {
                        visited.push((key.to_vec(), value.to_vec()));
                        if visited.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    };
                    tx.visit(self.collections[*c], from, to, direction, see).unwrap();
                    let shown = visited.iter().map(|(key, value)| (key, value));
                    assert!(shown.eq(expected.iter().take(most.max(1)).copied()), "{visited:?}");
                }
                for (key, value) in expected {
                    let entry = tx.cursor_entry(cursor).unwrap();
                    assert_eq!(entry.row(), Some((&key[..], &value[..])));
                    assert_eq!(entry.bytes(), key.len() + value.len());
                    entry.take();
                }
                assert_eq!(tx.next(cursor).unwrap(), None);
                tx.close(cursor).unwrap();
                assert!(matches!(tx.next(cursor), Err(DbError::UnknownCursor { .. })));
                assert_eq!(tx.count(self.collections[*c]).unwrap(), state.collections[*c].len() as u64);
            }
            Op::OpenCursor(c) => {
                let (all, forward) = (Bound::Unbounded, Direction::Forward);
                let cursor = tx.scan(self.collections[*c], all, all, forward).unwrap();
                let rows: Vec<_> = state.collections[*c].clone().into_iter().collect();
                self.cursors.push((cursor, rows.into_iter(), self.last_savepoint));
            }
            Op::Next(at) => {
                if let Some((cursor, rows, _)) = self.cursors.get_mut(at.index(99) % 3) {
                    let row = tx.next(*cursor).unwrap();
                    assert_eq!(row.map(|(key, value)| (key.to_vec(), value.to_vec())), rows.next());
                }
            }
            Op::Savepoint => {
                let id = tx.savepoint();
                assert!(id > self.last_savepoint);
                self.last_savepoint = id;
                self.savepoints.push((id, state.clone()));
            }
            Op::Rollback(at) if !self.savepoints.is_empty() => {
                let place = at.index(self.savepoints.len());
                let (id, saved) = self.savepoints[place].clone();
                tx.rollback_to(id).unwrap();
                *state = saved;
                for (gone, _) in self.savepoints.drain(place + 1..) {
                    assert!(matches!(tx.rollback_to(gone), Err(DbError::UnknownSavepoint { .. })));
                }
                for (cursor, ..) in self.cursors.extract_if(.., |(.., opened_after)| *opened_after >= id) {
                    assert!(matches!(tx.next(cursor), Err(DbError::UnknownCursor { .. })));
                }
            }
            Op::Release(at) if !self.savepoints.is_empty() => {
                let place = at.index(self.savepoints.len());
                tx.release(self.savepoints[place].0).unwrap();
                for (gone, _) in self.savepoints.drain(place..) {
                    assert!(matches!(tx.release(gone), Err(DbError::UnknownSavepoint { .. })));
                }
            }
            Op::Rollback(_) | Op::Release(_) => {
                assert!(matches!(tx.rollback_to(1 << 40), Err(DbError::UnknownSavepoint { .. })));
            }
            Op::Commit | Op::Abort | Op::Reopen => unreachable!("steps between transactions"),
        }
    }

    /// All of the state, seen by iteration.
    fn check(&mut self) {
        for (c, contract) in self.contracts.iter().enumerate() {
            let found: Vec<(u128, Vec<u8>)> = self
                .tx
                .slots(*contract)
                .unwrap()
                .map(|slot| slot.unwrap())
                .map(|(key, value)| (number(&key), value.to_vec()))
                .collect();
            let expected: Vec<_> = self.state.slots[c].clone().into_iter().collect();
            assert_eq!(found, expected, "slots of {contract:?}, in order");
        }
        for c in 0..COLLECTIONS.len() {
            self.step(&Op::Scan(c, Bound::Unbounded, Bound::Unbounded, false));
        }
        let listed = self.tx.collections().unwrap();
        let listed: Vec<_> = listed.iter().map(|info| (&info.name[..], info.count)).collect();
        let expected =
            COLLECTIONS.iter().zip(&self.state.collections).map(|(name, rows)| (*name, rows.len() as u64));
        assert_eq!(listed, expected.collect::<Vec<_>>());
    }
}

fn run(ops: &[Op], mut open: impl FnMut() -> Arc<dyn Store>) {
    let mut database = Database::open(open()).unwrap();
    let mut committed = State::default();
    let mut run = Run::begin(&database, committed.clone());
    for op in ops {
        match op {
            Op::Commit | Op::Abort | Op::Reopen => {
                if matches!(op, Op::Abort) {
                    run.tx.abort();
                } else {
                    run.check();
                    committed = run.state;
                    run.tx.commit(Durability::None).unwrap();
                }
                if matches!(op, Op::Reopen) {
                    drop(database);
                    database = Database::open(open()).unwrap();
                }
                run = Run::begin(&database, committed.clone());
            }
            op => run.step(op),
        }
    }
    run.check();
    drop(run);
    Run::begin(&database, committed).check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(dotvm_test_modes::pick(500, 20_000)))]

    #[test]
    fn memory(ops in prop::collection::vec(op(), 0..150)) {
        let store = Arc::new(MemoryStore::new());
        run(&ops, || store.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(dotvm_test_modes::pick(20, 1_000)))]

    #[test]
    fn redb(ops in prop::collection::vec(op(), 0..150)) {
        let directory = tempfile::tempdir().unwrap();
        run(&ops, || Arc::new(RedbStore::open_or_create(directory.path().join("state.db")).unwrap()));
    }
}
