//! Random transactions, what each of them saw and wrote, and running them again.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use dotdb::Durability;
use fastrand::Rng;

use crate::checker::{Item, Read, Transaction, Value};
use crate::client::{COLLECTIONS, Client, End, Range, System};

const SLOTS: u8 = 3;
const KEYS: u8 = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(Item),
    Put(Item),
    Delete(Item),
    Scan(Range),
    Count(u8),
    Savepoint,
    Rollback,
}

/// What a transaction is going to do; only the values it writes depend on what it reads.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: u32,
    read_only: bool,
    steps: Vec<Step>,
    durability: Durability,
}

fn item(random: &mut Rng) -> Item {
    if random.u8(..3) == 0 {
        Item::Slot(random.u8(1..=SLOTS))
    } else {
        Item::Record(random.u8(..COLLECTIONS), random.u8(..KEYS))
    }
}

fn bound(random: &mut Rng) -> Bound<u8> {
    match random.u8(..4) {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(random.u8(..KEYS)),
        _ => Bound::Included(random.u8(..KEYS)),
    }
}

impl Plan {
    pub fn random(id: u32, random: &mut Rng, durabilities: &[Durability]) -> Plan {
        let read_only = random.u8(..6) == 0;
        let step = |random: &mut Rng| match random.u8(..20) {
            0..5 => Step::Get(item(random)),
            5..10 if !read_only => Step::Put(item(random)),
            10..12 if !read_only => Step::Delete(item(random)),
            12..16 => Step::Scan(Range {
                collection: random.u8(..COLLECTIONS),
                from: bound(random),
                to: bound(random),
                backward: random.bool(),
                most: if random.bool() { usize::MAX } else { random.usize(..3) },
                close: random.bool(),
            }),
            16..18 => Step::Count(random.u8(..COLLECTIONS)),
            18 => Step::Savepoint,
            19 => Step::Rollback,
            _ => Step::Get(item(random)),
        };
        let steps = (0..random.usize(1..8)).map(|_| step(random)).collect();
        let durability = durabilities[random.usize(..durabilities.len())];
        Plan { id, read_only, steps, durability }
    }
}

/// A plan being carried out.
pub struct Session<'a> {
    client: Box<dyn Client + 'a>,
    plan: Plan,
    next: usize,
    done: Transaction,
    savepoints: Vec<BTreeMap<Item, Option<Value>>>,
    /// Whether records that were written existed before.
    existed: BTreeMap<Item, bool>,
    /// Hash of all that was seen.
    digest: u64,
}

impl<'a> Session<'a> {
    pub fn begin(system: &'a dyn System, plan: Plan) -> Session<'a> {
        let mut client = system.begin(plan.read_only);
        let snapshot = client.snapshot();
        let done =
            Transaction { id: plan.id, snapshot, version: None, reads: Vec::new(), writes: BTreeMap::new() };
        Session { client, plan, next: 0, done, savepoints: Vec::new(), existed: BTreeMap::new(), digest: 0 }
    }

    fn saw(&mut self, what: u64) {
        self.digest = (self.digest ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn saw_value(&mut self, item: Item, value: Option<Value>) {
        self.saw(value.map_or(1, |value| value as u64 ^ (value >> 64) as u64));
        match self.done.writes.get(&item) {
            Some(own) => assert_eq!(value, *own, "its own write of {item:?}"),
            None => self.done.reads.push(Read::Value(item, value)),
        }
    }

    fn set(&mut self, item: Item, delete: bool) {
        let value = Value::from(self.plan.id) << 96 | (self.next as Value) << 64 | Value::from(self.digest);
        let value = (!delete).then_some(value);
        if let Some(existed) = self.client.set(item, value) {
            self.saw(u64::from(existed));
            match self.done.writes.get(&item) {
                Some(own) => assert_eq!(existed, own.is_some(), "its own write of {item:?}"),
                None => {
                    self.done.reads.push(Read::Exists(item, existed));
                    self.existed.insert(item, existed);
                }
            }
            if delete && !existed {
                return;
            }
        }
        self.done.writes.insert(item, value);
    }

    fn scan(&mut self, range: Range) {
        let rows = self.client.scan(range);
        let sorted =
            |pair: &[(u8, Value)]| if range.backward { pair[0].0 > pair[1].0 } else { pair[0].0 < pair[1].0 };
        assert!(rows.windows(2).all(sorted), "{rows:?} of {range:?}");
        assert!(rows.iter().all(|(key, _)| (range.from, range.to).contains(key)), "{rows:?} of {range:?}");
        let (mut from, mut to) = (range.from, range.to);
        if rows.len() >= range.most {
            let Some(&(last, _)) = rows.last() else { return };
            *(if range.backward { &mut from } else { &mut to }) = Bound::Included(last);
        }
        let mut rows: BTreeMap<u8, Value> = rows.into_iter().collect();
        for key in (0..KEYS).filter(|key| (from, to).contains(key)) {
            self.saw_value(Item::Record(range.collection, key), rows.remove(&key));
        }
        assert!(rows.is_empty(), "{rows:?} of {range:?}");
    }

    fn count(&mut self, collection: u8) {
        let count = self.client.count(collection);
        self.saw(count);
        let of_others = self
            .done
            .writes
            .iter()
            .filter(|(item, _)| item.collection() == Some(collection))
            .fold(count, |count, (item, value)| {
                count + u64::from(self.existed[item]) - u64::from(value.is_some())
            });
        self.done.reads.push(Read::Count(collection, of_others));
    }

    /// Takes the next step; answers `false` when only the commit is left.
    pub fn step(&mut self) -> bool {
        let Some(&step) = self.plan.steps.get(self.next) else { return false };
        self.next += 1;
        match step {
            Step::Get(item) => {
                let value = self.client.get(item);
                self.saw_value(item, value);
            }
            Step::Put(item) => self.set(item, false),
            Step::Delete(item) => self.set(item, true),
            Step::Scan(range) => self.scan(range),
            Step::Count(collection) => self.count(collection),
            Step::Savepoint => {
                self.client.savepoint();
                self.savepoints.push(self.done.writes.clone());
            }
            Step::Rollback => {
                self.client.rollback();
                if let Some(writes) = self.savepoints.last() {
                    self.done.writes = writes.clone();
                }
            }
        }
        true
    }

    /// Commits; `None` after a conflict.
    pub fn commit(mut self) -> Option<(Plan, Transaction)> {
        match self.client.commit(self.plan.durability) {
            End::Conflict => return None,
            End::Read => assert!(self.done.writes.is_empty(), "{:?} were not written", self.done.writes),
            End::Version(version) => self.done.version = Some(version),
        }
        Some((self.plan, self.done))
    }
}

/// Runs committed transactions one after the other: each when it made its version, and those that only read when
/// theirs was there. Each must see and write what it did the first time.
pub fn replay(system: &dyn System, committed: &[(Plan, Transaction)]) {
    let mut order: Vec<&(Plan, Transaction)> = committed.iter().collect();
    order.sort_by_key(|(_, done)| match done.version {
        Some(version) => (version, 0),
        None => (done.snapshot, 1),
    });
    for (plan, expected) in order {
        let mut session = Session::begin(system, plan.clone());
        while session.step() {}
        let (_, mut found) = session.commit().expect("alone, no transaction conflicts");
        assert_eq!(found.version.is_some(), expected.version.is_some());
        (found.version, found.snapshot) = (expected.version, expected.snapshot);
        assert_eq!(&found, expected, "one after the other");
    }
}
