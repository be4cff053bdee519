//! What histories are made with: DotDB, and stand-ins for it that validate too little, on which the checker must
//! find what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::{Arc, Mutex};

use dotdb::{
    CollectionId, ContractId, Database, DbError, Direction, Durability, Mode, Settings, Store, Tx, ValueKind,
};

use crate::checker::{Item, Value};

/// Number of collections.
pub const COLLECTIONS: u8 = 2;
const NAMES: [&str; COLLECTIONS as usize] = ["a", "b"];

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Conflict,
    /// Nothing was to be written.
    Read,
    Version(u64),
}

/// A range of a collection's keys.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub collection: u8,
    pub from: Bound<u8>,
    pub to: Bound<u8>,
    pub backward: bool,
    /// Rows to be taken.
    pub most: usize,
    /// Whether the cursor is closed afterwards.
    pub close: bool,
}

/// A transaction.
pub trait Client {
    fn snapshot(&mut self) -> u64;
    fn get(&mut self, item: Item) -> Option<Value>;
    /// Whether the record existed; `None` for a slot, of which that is not asked.
    fn set(&mut self, item: Item, value: Option<Value>) -> Option<bool>;
    fn scan(&mut self, range: Range) -> Vec<(u8, Value)>;
    fn count(&mut self, collection: u8) -> u64;
    fn savepoint(&mut self);
    /// Back to the last savepoint, which stays.
    fn rollback(&mut self);
    fn commit(self: Box<Self>, durability: Durability) -> End;
}

/// Something that has transactions.
pub trait System {
    fn begin(&self, read_only: bool) -> Box<dyn Client + '_>;
}

/// DotDB with an empty state.
pub fn dotdb(store: Arc<dyn Store>) -> Database {
    let database = Database::open_or_create(store, Settings::default()).unwrap();
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    for name in NAMES {
        tx.collection(contract, name, ValueKind::Bytes).unwrap();
    }
    tx.commit(Durability::None).unwrap();
    database
}

impl System for Database {
    fn begin(&self, read_only: bool) -> Box<dyn Client + '_> {
        let mode = if read_only { Mode::ReadOnly } else { Mode::ReadWrite };
        let mut tx = Database::begin(self, mode).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let collections = NAMES.map(|name| tx.collection(contract, name, ValueKind::Bytes).unwrap());
        Box::new(DotdbClient { tx, contract, collections, savepoints: Vec::new() })
    }
}

struct DotdbClient {
    tx: Tx,
    contract: ContractId,
    collections: [CollectionId; COLLECTIONS as usize],
    savepoints: Vec<u64>,
}

fn number(bytes: &[u8]) -> Value {
    bytes.iter().fold(0, |number, &byte| number << 8 | Value::from(byte))
}

impl Client for DotdbClient {
    fn snapshot(&mut self) -> u64 {
        self.tx.version().unwrap()
    }

    fn get(&mut self, item: Item) -> Option<Value> {
        match item {
            Item::Slot(slot) => {
                let value = self.tx.slot_get(self.contract, &[slot]).unwrap();
                Some(number(value.as_bytes())).filter(|&value| value != 0)
            }
            Item::Record(collection, key) => {
                let value = self.tx.get(self.collections[usize::from(collection)], &[key]).unwrap();
                value.map(|value| number(&value))
            }
        }
    }

    fn set(&mut self, item: Item, value: Option<Value>) -> Option<bool> {
        match item {
            Item::Slot(slot) => {
                self.tx.slot_set(self.contract, &[slot], &value.unwrap_or(0).to_be_bytes()).unwrap();
                None
            }
            Item::Record(collection, key) => {
                let collection = self.collections[usize::from(collection)];
                Some(match value {
                    Some(value) => self.tx.put(collection, &[key], value.to_be_bytes().to_vec()).unwrap(),
                    None => self.tx.delete(collection, &[key]).unwrap(),
                })
            }
        }
    }

    fn scan(&mut self, range: Range) -> Vec<(u8, Value)> {
        let direction = if range.backward { Direction::Backward } else { Direction::Forward };
        let bytes = |bound: Bound<u8>| bound.map(|key| [key]);
        let (from, to) = (bytes(range.from), bytes(range.to));
        let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        let collection = self.collections[usize::from(range.collection)];
        let mut rows = Vec::new();
        if range.close && range.most % 2 == 1 {
            let see = |key: &[u8], value: &[u8]| {
                rows.push((key[0], number(value)));
                if rows.len() == range.most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.tx.visit(collection, from, to, direction, see).unwrap();
            return rows;
        }
        let cursor = self.tx.scan(collection, from, to, direction).unwrap();
        while rows.len() < range.most {
            let Some((key, value)) = self.tx.next(cursor).unwrap() else { break };
            rows.push((key[0], number(&value)));
        }
        if range.close {
            self.tx.close(cursor).unwrap();
        }
        rows
    }

    fn count(&mut self, collection: u8) -> u64 {
        self.tx.count(self.collections[usize::from(collection)]).unwrap()
    }

    fn savepoint(&mut self) {
        self.savepoints.push(self.tx.savepoint());
    }

    fn rollback(&mut self) {
        if let Some(&savepoint) = self.savepoints.last() {
            self.tx.rollback_to(savepoint).unwrap();
        }
    }

    fn commit(self: Box<Self>, durability: Durability) -> End {
        let writes = self.tx.changed_keys() > 0;
        match self.tx.commit(durability) {
            Ok(version) if writes => End::Version(version),
            Ok(_) => End::Read,
            Err(DbError::Conflict { .. }) => End::Conflict,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a stand-in validates of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What it wrote: snapshot isolation.
    Writes,
    /// And the items it asked for by name.
    Items,
    /// And the ranges it went over, but no counts.
    Ranges,
    /// And counts: serializable.
    All,
}

/// The state after a commit, and what the commit wrote.
type After = (BTreeMap<Item, Value>, BTreeSet<Item>);

/// A database of ordered maps.
pub struct StandIn {
    level: Level,
    states: Mutex<Vec<After>>,
}

impl StandIn {
    pub fn new(level: Level) -> StandIn {
        StandIn { level, states: Mutex::new(vec![Default::default()]) }
    }
}

struct StandInClient<'a> {
    system: &'a StandIn,
    snapshot: usize,
    state: BTreeMap<Item, Value>,
    writes: BTreeMap<Item, Option<Value>>,
    savepoints: Vec<BTreeMap<Item, Option<Value>>>,
    items: Vec<Item>,
    ranges: Vec<(Item, Item)>,
    counts: Vec<u8>,
}

impl System for StandIn {
    fn begin(&self, _: bool) -> Box<dyn Client + '_> {
        let states = self.states.lock().unwrap();
        Box::new(StandInClient {
            system: self,
            snapshot: states.len() - 1,
            state: states[states.len() - 1].0.clone(),
            writes: BTreeMap::new(),
            savepoints: Vec::new(),
            items: Vec::new(),
            ranges: Vec::new(),
            counts: Vec::new(),
        })
    }
}

impl StandInClient<'_> {
    fn now(&self) -> BTreeMap<Item, Value> {
        self.now_on(&self.state)
    }

    /// A state with the transaction's writes in it.
    fn now_on(&self, state: &BTreeMap<Item, Value>) -> BTreeMap<Item, Value> {
        let mut now = state.clone();
        for (&item, &value) in &self.writes {
            match value {
                Some(value) => now.insert(item, value),
                None => now.remove(&item),
            };
        }
        now
    }
}

fn count_in(state: &BTreeMap<Item, Value>, collection: u8) -> u64 {
    state.keys().filter(|item| item.collection() == Some(collection)).count() as u64
}

impl Client for StandInClient<'_> {
    fn snapshot(&mut self) -> u64 {
        self.snapshot as u64
    }

    fn get(&mut self, item: Item) -> Option<Value> {
        self.items.push(item);
        self.now().get(&item).copied()
    }

    fn set(&mut self, item: Item, value: Option<Value>) -> Option<bool> {
        let existed = self.now().contains_key(&item);
        if existed || value.is_some() || item.collection().is_none() {
            self.writes.insert(item, value);
        }
        item.collection().map(|_| {
            self.items.push(item);
            existed
        })
    }

    fn scan(&mut self, range: Range) -> Vec<(u8, Value)> {
        let item = |key| Item::Record(range.collection, key);
        self.ranges.push((item(0), item(u8::MAX)));
        let mut rows: Vec<(u8, Value)> = self
            .now()
            .into_iter()
            .filter_map(|(item, value)| match item {
                Item::Record(collection, key) if collection == range.collection => Some((key, value)),
                _ => None,
            })
            .filter(|(key, _)| (range.from, range.to).contains(key))
            .collect();
        if range.backward {
            rows.reverse();
        }
        rows.truncate(range.most);
        rows
    }

    fn count(&mut self, collection: u8) -> u64 {
        self.counts.push(collection);
        count_in(&self.now(), collection)
    }

    fn savepoint(&mut self) {
        self.savepoints.push(self.writes.clone());
    }

    fn rollback(&mut self) {
        if let Some(writes) = self.savepoints.last() {
            self.writes = writes.clone();
        }
    }

    fn commit(self: Box<Self>, _: Durability) -> End {
        if self.writes.is_empty() {
            return End::Read;
        }
        let level = self.system.level;
        let mut states = self.system.states.lock().unwrap();
        let since = &states[self.snapshot + 1..];
        let written: BTreeSet<Item> = since.iter().flat_map(|(_, written)| written).copied().collect();
        let in_range = |item: &&Item| self.ranges.iter().any(|(from, to)| (from..=to).contains(item));
        let counted_otherwise = |&collection: &u8| {
            let before = count_in(&self.state, collection);
            since.iter().any(|(state, _)| count_in(state, collection) != before)
        };
        let conflict = self.writes.keys().any(|item| written.contains(item))
            || level >= Level::Items && self.items.iter().any(|item| written.contains(item))
            || level >= Level::Ranges && written.iter().any(|item| in_range(&item))
            || level >= Level::All && self.counts.iter().any(counted_otherwise);
        if conflict {
            return End::Conflict;
        }
        let now = self.now_on(&states[states.len() - 1].0);
        states.push((now, self.writes.keys().copied().collect()));
        End::Version(states.len() as u64 - 1)
    }
}
