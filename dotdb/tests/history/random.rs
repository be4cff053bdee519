//! Random work against the model.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use dotdb::{
    CollectionId, ContractId, Database, DbError, Difference, Direction, Durability, History, Mode, Settings,
    Store, Tx, ValueKind,
};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use dotdb_store::faulty::FaultyStore;
use fastrand::Rng;

use crate::state::{Differences, State, differences, named_part};

const CONTRACTS: [&str; 2] = ["one", "two"];
const COLLECTIONS: [&str; 2] = ["a", "b"];
const NAMES: [&str; 3] = ["first", "second", "third"];

struct Run<'a> {
    open: &'a mut dyn FnMut() -> Arc<dyn Store>,
    faulty: Arc<FaultyStore>,
    database: Option<Database>,
    settings: Settings,
    states: Vec<State>,
    oldest: u64,
    names: BTreeMap<String, u64>,
    /// Transactions that read a version, whatever is forgotten meanwhile.
    held: Vec<(u64, Tx)>,
    random: Rng,
}

fn key(random: &mut Rng) -> Vec<u8> {
    match random.u8(..5) {
        // Keys that inserts give, or would give.
        0 => random.u64(..5).to_be_bytes().to_vec(),
        _ => (0..random.usize(..3)).map(|_| [0, 1, 255][random.usize(..3)]).collect(),
    }
}

fn value(random: &mut Rng) -> Vec<u8> {
    (0..random.usize(..4)).map(|_| random.u8(..4)).collect()
}

fn bound(random: &mut Rng) -> Bound<Vec<u8>> {
    match random.u8(..3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(random)),
        _ => Bound::Excluded(key(random)),
    }
}

fn found(differences: Vec<Difference>) -> Differences {
    let part = |key: &[u8], value: Option<bytes::Bytes>| value.map(|value| named_part(key, &value));
    differences
        .into_iter()
        .map(|Difference { key, before, after }| (key.to_vec(), part(&key, before), part(&key, after)))
        .collect()
}

/// What a transaction works with, and what it makes of the model.
struct Work {
    tx: Tx,
    state: State,
    savepoints: Vec<(u64, State)>,
    handles: BTreeMap<(usize, usize), CollectionId>,
}

impl Work {
    /// Collections may be used only through this: after a rollback the handle makes the collection again.
    fn collection(&mut self, contract: usize, name: usize) -> (CollectionId, u32) {
        let id = self.contract(contract);
        let handle = match self.handles.get(&(contract, name)) {
            Some(&handle) => handle,
            None => {
                let handle = self.tx.collection(id, COLLECTIONS[name], ValueKind::Bytes).unwrap();
                self.handles.insert((contract, name), handle);
                handle
            }
        };
        (handle, self.state.collection(id.0, COLLECTIONS[name]))
    }

    fn contract(&mut self, contract: usize) -> ContractId {
        let id = self.tx.contract_id(CONTRACTS[contract]).unwrap();
        assert_eq!(id.0, self.state.contract(CONTRACTS[contract]));
        id
    }

    fn step(&mut self, random: &mut Rng) {
        let (contract, name) = (random.usize(..2), random.usize(..2));
        match random.u8(..14) {
            0..4 => {
                let (slot, value) = (key(random), value(random));
                let id = self.contract(contract);
                self.tx.slot_set(id, &slot, &value).unwrap();
                self.state.set_slot(id.0, &slot, &value);
            }
            4..8 => {
                let (key, value) = (key(random), value(random));
                let (collection, number) = self.collection(contract, name);
                let replaced = self.tx.put(collection, &key, value.clone()).unwrap();
                assert_eq!(replaced, self.state.put(number, &key, &value));
            }
            8..10 => {
                let key = key(random);
                let (collection, number) = self.collection(contract, name);
                let existed = self.tx.delete(collection, &key).unwrap();
                assert_eq!(existed, self.state.delete(number, &key));
            }
            10 => {
                let value = value(random);
                let (collection, number) = self.collection(contract, name);
                let key = (self.state.greatest(number) + 1).to_be_bytes();
                assert_eq!(self.tx.insert(collection, value.clone()).unwrap(), &key[..]);
                assert!(!self.state.put(number, &key, &value));
            }
            11..13 => self.savepoints.push((self.tx.savepoint(), self.state.clone())),
            _ if self.savepoints.is_empty() => {}
            _ => {
                let place = random.usize(..self.savepoints.len());
                self.savepoints.truncate(place + 1);
                let (id, state) = &self.savepoints[place];
                self.tx.rollback_to(*id).unwrap();
                self.state = state.clone();
            }
        }
    }
}

impl Run<'_> {
    fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn state(&self, version: u64) -> &State {
        &self.states[version as usize]
    }

    /// A version that is kept, or sometimes one that is not.
    fn some_version(&mut self) -> u64 {
        match self.random.u8(..10) {
            0 => self.random.u64(..self.last() + 4),
            _ => self.random.u64(self.oldest..=self.last()),
        }
    }

    /// The oldest version after settling.
    fn oldest_when_settled(&self) -> u64 {
        let named = self.names.values().copied().min().unwrap_or(u64::MAX);
        match self.settings.history {
            History::None => self.last(),
            History::All => self.oldest,
            History::Last(kept) => self.last().saturating_sub(kept).min(named).max(self.oldest),
        }
    }

    /// Settling happens by itself, too.
    fn follow_oldest(&mut self) {
        let oldest = self.database().oldest_version().unwrap();
        assert!([self.oldest, self.oldest_when_settled()].contains(&oldest), "{oldest}");
        self.oldest = oldest;
    }

    /// Whether a version can be read; if not, that `result` says so.
    fn expect_kept<T>(&self, version: u64, result: Result<T, DbError>) -> Option<T> {
        let expected = if version > self.last() {
            format!("there is no version {version}: the last is {}", self.last())
        } else if version < self.oldest {
            format!("version {version} is not kept any more: the oldest is {}", self.oldest)
        } else {
            return Some(result.unwrap());
        };
        match result {
            Ok(_) => panic!("expected: {expected}"),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
        None
    }

    /// Calls with a store that fails after a few calls, or most of the time does not. `None` if it did.
    fn with_faults<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<T, DbError>,
    ) -> Option<Result<T, DbError>> {
        if self.random.u8(..4) == 0 {
            self.faulty.fail_after(self.random.u64(..12));
        }
        let result = call(self);
        self.faulty.heal();
        match result {
            Err(error) if error.store_error().is_some() => {
                assert!(error.to_string().contains("the injected fault"), "{error}");
                None
            }
            result => Some(result),
        }
    }

    fn transact(&mut self) {
        let mut work = Work {
            tx: self.database().begin(Mode::ReadWrite).unwrap(),
            state: self.state(self.last()).clone(),
            savepoints: Vec::new(),
            handles: BTreeMap::new(),
        };
        for _ in 0..self.random.usize(..6) {
            work.step(&mut self.random);
        }
        if self.random.u8(..8) == 0 {
            return work.tx.abort();
        }
        let writes = work.tx.changed_keys() > 0;
        let durability = [Durability::None, Durability::Sync, Durability::Group][self.random.usize(..3)];
        let Work { tx, state, .. } = work;
        let Some(version) = self.with_faults(move |_| tx.commit(durability)) else { return };
        if writes {
            self.states.push(state);
        } else {
            assert_eq!(&state, self.state(self.last()));
        }
        assert_eq!(version.unwrap(), self.last());
        assert_eq!(self.database().version(), self.last());
    }

    fn restore(&mut self) {
        let version = self.some_version();
        let Some(result) = self.with_faults(|run| run.database().restore(version, Durability::None)) else {
            return;
        };
        let Some(made) = self.expect_kept(version, result) else { return };
        let state = self.state(version).clone();
        if state != *self.state(self.last()) {
            self.states.push(state);
        }
        assert_eq!(made, self.last());
    }

    fn name(&mut self) {
        let (version, name) = (self.some_version(), NAMES[self.random.usize(..NAMES.len())]);
        if self.random.bool() {
            let Some(result) = self.with_faults(|run| run.database().forget_name(name)) else { return };
            match (self.names.remove(name), result) {
                (Some(_), result) => result.unwrap(),
                (None, result) => {
                    assert_eq!(
                        result.unwrap_err().to_string(),
                        format!("there is no version named {name:?}")
                    );
                }
            }
            return;
        }
        let Some(result) = self.with_faults(|run| run.database().name_version(name, version)) else { return };
        if self.settings.history == History::None {
            assert!(matches!(result, Err(DbError::Settings { .. })));
            return;
        }
        match self.names.get(name) {
            Some(&taken) if taken == version => result.unwrap(),
            Some(&taken) => assert_eq!(
                result.unwrap_err().to_string(),
                format!("the name {name:?} stands for version {taken} already")
            ),
            None => {
                if self.expect_kept(version, result).is_some() {
                    self.names.insert(name.to_owned(), version);
                }
            }
        }
    }

    fn settle(&mut self) {
        if self.with_faults(|run| run.database().settle()).is_some_and(|result| result.is_ok()) {
            assert_eq!(self.database().oldest_version().unwrap(), self.oldest_when_settled());
        }
        self.follow_oldest();
    }

    fn forget(&mut self) {
        let oldest = self.some_version();
        let named = self.names.iter().find(|(_, version)| **version < oldest);
        let named = named.map(|(name, version)| {
            format!("version {version} is kept under the name {name:?}: take the name back first")
        });
        let before = self.oldest_when_settled();
        match self.with_faults(|run| run.database().forget_before(oldest)) {
            _ if self.settings.history == History::None => {}
            None => {
                let found = self.database().oldest_version().unwrap();
                let possible = [self.oldest, before, before.max(oldest)];
                assert!(possible.contains(&found), "{found} is none of {possible:?}");
                self.oldest = found;
            }
            Some(result) => {
                if oldest > self.last() {
                    let expected = format!("there is no version {oldest}: the last is {}", self.last());
                    return assert_eq!(result.unwrap_err().to_string(), expected);
                }
                self.oldest = before;
                match named {
                    Some(sentence) => assert_eq!(result.unwrap_err().to_string(), sentence),
                    None => {
                        result.unwrap();
                        self.oldest = before.max(oldest);
                    }
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.held.clear();
        self.database = None;
        // The store is let go before it is opened again.
        self.faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        self.faulty = Arc::new(FaultyStore::new((self.open)()));
        // It keeps the settings it was made with.
        self.database = Some(Database::open(self.faulty.clone()).unwrap());
        assert_eq!(self.database().settings(), self.settings);
        assert_eq!(self.database().version(), self.last());
        assert_eq!(self.database().version_names().unwrap(), self.names);
    }

    /// All that can be asked of a version.
    fn check_version(&mut self, version: u64) {
        let rows = self.database().rows_at(version);
        let Some(rows) = self.expect_kept(version, rows) else {
            self.expect_kept(version, self.database().begin_at(version));
            return;
        };
        let rows = rows.map(|row| row.unwrap()).filter(|(key, _)| &key[..] != b"\0schema");
        let rows: BTreeMap<_, _> =
            rows.map(|(key, value)| (key.to_vec(), named_part(&key, &value))).collect();
        assert_eq!(rows, self.state(version).rows, "version {version}");
        let mut tx = self.database().begin_at(version).unwrap();
        self.check_tx(version, &mut tx);
    }

    fn check_tx(&mut self, version: u64, tx: &mut Tx) {
        let state = self.states[version as usize].clone();
        let random = &mut self.random;
        assert_eq!((tx.version().unwrap(), tx.read_only()), (version, true));
        assert!(matches!(tx.put_code([0; 32], "x"), Err(DbError::ReadOnly)));
        let names: Vec<(String, u32)> =
            tx.contracts().unwrap().into_iter().map(|contract| (contract.name, contract.id.0)).collect();
        let expected = CONTRACTS.iter().map(|name| ((*name).to_owned(), state.find_contract(name)));
        assert_eq!(names, expected.filter(|(_, number)| *number != 0).collect::<Vec<_>>());
        let mut listed = Vec::new();
        for (name, number) in names {
            let contract = ContractId(number);
            let slots = tx.slots(contract).unwrap().map(|slot| slot.unwrap());
            let slots: Vec<_> =
                slots.map(|(key, value)| ([&[key.len() as u8], &key[..]].concat(), value.to_vec())).collect();
            assert_eq!(slots, state.part(3, number), "slots of {name}");
            for _ in 0..4 {
                let slot = key(random);
                assert_eq!(tx.slot_get(contract, &slot).unwrap().as_bytes(), state.slot(number, &slot));
            }
            for name in COLLECTIONS {
                let collection = tx.collection(contract, name, ValueKind::Bytes).unwrap();
                let number = state.find_collection(number, name);
                if number != 0 {
                    listed.push((contract, name.to_owned(), state.count(number)));
                }
                assert_eq!(tx.count(collection).unwrap(), state.part(5, number).len() as u64);
                for _ in 0..4 {
                    let key = key(random);
                    let value = tx.get(collection, &key).unwrap().map(|value| value.to_vec());
                    assert_eq!(value, state.get(number, &key));
                }
                for direction in [Direction::Forward, Direction::Backward] {
                    let (from, to) = (bound(random), bound(random));
                    let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
                    let cursor = tx.scan(collection, from, to, direction).unwrap();
                    let mut rows = Vec::new();
                    while let Some((key, value)) = tx.next(cursor).unwrap() {
                        rows.push((key.to_vec(), value.to_vec()));
                    }
                    tx.close(cursor).unwrap();
                    if direction == Direction::Backward {
                        rows.reverse();
                    }
                    assert_eq!(rows, state.records(number, from, to), "{direction:?} at version {version}");
                }
            }
        }
        let collections = tx.collections().unwrap();
        let collections: Vec<_> =
            collections.into_iter().map(|info| (info.contract, info.name, info.count)).collect();
        listed.sort();
        assert_eq!(collections, listed);
    }

    fn hold(&mut self) {
        if self.held.len() < 3 {
            let version = self.random.u64(self.oldest..=self.last());
            self.held.push((version, self.database().begin_at(version).unwrap()));
        } else {
            let (version, mut tx) = self.held.remove(0);
            self.check_tx(version, &mut tx);
        }
    }

    fn compare(&mut self) {
        let (from, to) = (self.some_version(), self.some_version());
        let result = self.database().diff(from, to);
        // The first of them that cannot be read is named.
        let kept = |version| (self.oldest..=self.last()).contains(&version);
        if kept(from) {
            if let Some(differences_found) = self.expect_kept(to, result) {
                assert_eq!(
                    found(differences_found),
                    differences(self.state(from), self.state(to)),
                    "{from} to {to}"
                );
            }
        } else {
            self.expect_kept(from, result);
        }
        let after = self.some_version();
        let Some(commits) = self.expect_kept(after, self.database().commits(after)) else { return };
        let mut version = after;
        for commit in commits {
            let commit = commit.unwrap();
            version += 1;
            assert_eq!(commit.version, version);
            let expected = differences(self.state(version - 1), self.state(version));
            assert_eq!(found(commit.changes), expected, "commit {version}");
        }
        assert_eq!(version, self.last());
    }

    fn step(&mut self) {
        match self.random.u8(..30) {
            0..14 => self.transact(),
            14..16 => self.restore(),
            16..18 => self.name(),
            18..20 => self.settle(),
            20 => self.forget(),
            21 => self.reopen(),
            22..24 => self.hold(),
            24..26 => self.compare(),
            _ => {
                let version = self.some_version();
                self.check_version(version);
            }
        }
        self.follow_oldest();
    }
}

fn run(seed: u64, steps: usize, open: &mut dyn FnMut() -> Arc<dyn Store>) -> u64 {
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let history = match random.u8(..6) {
        0 => History::None,
        1..4 => History::Last(random.u64(1..20)),
        _ => History::All,
    };
    let state_root = history != History::None && random.u8(..4) == 0;
    let settings = Settings { history, state_root };
    let faulty = Arc::new(FaultyStore::new(open()));
    let database = Some(Database::open_or_create(faulty.clone(), settings).unwrap());
    let mut run = Run {
        open,
        faulty,
        database,
        settings,
        states: vec![State::default()],
        oldest: 0,
        names: BTreeMap::new(),
        held: Vec::new(),
        random,
    };
    for _ in 0..steps {
        run.step();
    }
    for round in 0..2 {
        for version in 0..=run.last() + 1 {
            run.check_version(version);
        }
        for (name, &version) in &run.names {
            assert_eq!(run.database().version_named(name).unwrap(), version);
            assert!(version >= run.oldest || settings.history == History::None);
        }
        if round == 0 {
            run.database().settle().unwrap();
            run.follow_oldest();
            run.reopen();
        }
    }
    run.last()
}

fn seeds(otherwise: u64) -> std::ops::Range<u64> {
    dotvm_test_modes::seeds(0..otherwise)
}

#[test]
fn versions_over_memory() {
    let mut versions = 0;
    for seed in seeds(80) {
        let store = Arc::new(MemoryStore::new());
        versions += run(seed, 120, &mut || store.clone());
    }
    assert!(versions > 1000 || dotvm_test_modes::seeds_given().is_some(), "only {versions} versions");
}

#[test]
fn versions_over_redb() {
    for seed in seeds(3) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        run(seed + 1_000_000, 100, &mut || Arc::new(RedbStore::open_or_create(&path).unwrap()));
    }
}
