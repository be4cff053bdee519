//! Whether a history of transactions is serializable: Adya's direct serialization graph, and the search for a cycle.
//!
//! Every value is written once, so a value read names its writer. The order in which writers installed versions of
//! an item is that of the versions of the state that their commits answered. Ranges are read as the items in them,
//! absent ones included; a count is read as a predicate over its collection.
//! Atul Adya, "Weak Consistency: A Generalized Theory and Optimistic Implementations for Distributed Transactions",
//! MIT 1999, section 3.1.

use std::collections::{BTreeMap, BTreeSet};

/// A place in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Slot(u8),
    /// Of a collection, under a key.
    Record(u8, u8),
}

impl Item {
    pub fn collection(self) -> Option<u8> {
        match self {
            Item::Slot(_) => None,
            Item::Record(collection, _) => Some(collection),
        }
    }
}

pub type Value = u128;

/// What a transaction saw of the state of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Value(Item, Option<Value>),
    Exists(Item, bool),
    /// Number of records of a collection.
    Count(u8, u64),
}

/// A transaction that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub id: u32,
    /// The version that it read.
    pub snapshot: u64,
    /// The version that it made, if it has written.
    pub version: Option<u64>,
    pub reads: Vec<Read>,
    pub writes: BTreeMap<Item, Option<Value>>,
}

/// Version, index of the transaction (`None` at the beginning), value.
type Installed = (u64, Option<usize>, Option<Value>);

struct Order {
    items: BTreeMap<Item, Vec<Installed>>,
    /// For each collection the transactions that changed its number of records, and the number after.
    counts: BTreeMap<u8, Vec<(u64, usize, u64)>>,
}

static NEVER_WRITTEN: [Installed; 1] = [(0, None, None)];

impl Order {
    fn new(history: &[Transaction]) -> Order {
        let mut writers: Vec<(u64, usize)> = history
            .iter()
            .enumerate()
            .filter_map(|(index, transaction)| Some((transaction.version?, index)))
            .collect();
        writers.sort_unstable();
        let mut order = Order { items: BTreeMap::new(), counts: BTreeMap::new() };
        let mut present: BTreeMap<u8, BTreeSet<Item>> = BTreeMap::new();
        for (version, index) in writers {
            let mut touched = BTreeSet::new();
            for (&item, &value) in &history[index].writes {
                order.items.entry(item).or_insert_with(|| NEVER_WRITTEN.to_vec()).push((
                    version,
                    Some(index),
                    value,
                ));
                let Some(collection) = item.collection() else { continue };
                touched.insert(collection);
                let present = present.entry(collection).or_default();
                match value {
                    Some(_) => present.insert(item),
                    None => present.remove(&item),
                };
            }
            for collection in touched {
                let after = present[&collection].len() as u64;
                let counts = order.counts.entry(collection).or_default();
                if counts.last().map_or(0, |&(.., before)| before) != after {
                    counts.push((version, index, after));
                }
            }
        }
        order
    }

    fn installed(&self, item: Item) -> &[Installed] {
        self.items.get(&item).map_or(&NEVER_WRITTEN, |installed| installed)
    }

    /// Place among the versions of an item of the one that a snapshot has.
    fn place_at(&self, item: Item, snapshot: u64) -> usize {
        self.installed(item).partition_point(|&(version, ..)| version <= snapshot) - 1
    }
}

/// A read that is not what the transaction's snapshot holds, as a sentence.
pub fn misread(history: &[Transaction]) -> Option<String> {
    let order = Order::new(history);
    let versions: Vec<u64> = history.iter().filter_map(|transaction| transaction.version).collect();
    if versions.iter().collect::<BTreeSet<_>>().len() < versions.len() {
        return Some("two transactions made the same version".to_owned());
    }
    for Transaction { id, snapshot, version, reads, .. } in history {
        if version.is_some_and(|version| version <= *snapshot) {
            return Some(format!("transaction {id} made version {version:?} and read version {snapshot}"));
        }
        for read in reads {
            let at = |item| order.installed(item)[order.place_at(item, *snapshot)].2;
            let right = match *read {
                Read::Value(item, value) => at(item) == value,
                Read::Exists(item, exists) => at(item).is_some() == exists,
                Read::Count(collection, count) => {
                    let counts = order.counts.get(&collection).map_or(&[][..], |counts| counts);
                    let place = counts.partition_point(|&(version, ..)| version <= *snapshot);
                    place.checked_sub(1).map_or(0, |place| counts[place].2) == count
                }
            };
            if !right {
                return Some(format!("transaction {id} at version {snapshot} read {read:x?}"));
            }
        }
    }
    None
}

/// A cycle of dependencies, as ids of transactions.
pub fn cycle(history: &[Transaction]) -> Option<Vec<u32>> {
    let order = Order::new(history);
    let mut after: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); history.len()];
    let mut add = |from: Option<usize>, to: usize| {
        if let Some(from) = from.filter(|&from| from != to) {
            after[from].insert(to);
        }
    };
    // ww
    for installed in order.items.values() {
        for pair in installed.windows(2) {
            if let Some(to) = pair[1].1 {
                add(pair[0].1, to);
            }
        }
    }
    for (reader, transaction) in history.iter().enumerate() {
        for read in &transaction.reads {
            match *read {
                Read::Value(item, _) | Read::Exists(item, _) => {
                    let installed = order.installed(item);
                    let named = match *read {
                        Read::Value(_, Some(value)) => {
                            installed.iter().position(|version| version.2 == Some(value))
                        }
                        _ => None,
                    };
                    let place = named.unwrap_or_else(|| order.place_at(item, transaction.snapshot));
                    // wr
                    add(installed[place].1, reader);
                    // rw
                    if let Some(next) = installed.get(place + 1).and_then(|next| next.1) {
                        add(Some(reader), next);
                    }
                }
                Read::Count(collection, _) => {
                    for &(version, changer, _) in order.counts.get(&collection).into_iter().flatten() {
                        if version <= transaction.snapshot {
                            add(Some(changer), reader);
                        } else {
                            add(Some(reader), changer);
                        }
                    }
                }
            }
        }
    }
    find_cycle(&after).map(|cycle| cycle.into_iter().map(|index| history[index].id).collect())
}

/// Takes nodes without predecessors away (Kahn 1962) until none is left, or only cycles and what follows them.
fn find_cycle(after: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut before = vec![BTreeSet::new(); after.len()];
    for (from, successors) in after.iter().enumerate() {
        for &to in successors {
            before[to].insert(from);
        }
    }
    let mut free: Vec<usize> = (0..after.len()).filter(|&node| before[node].is_empty()).collect();
    let mut left: BTreeSet<usize> = (0..after.len()).collect();
    while let Some(node) = free.pop() {
        left.remove(&node);
        for &to in &after[node] {
            before[to].remove(&node);
            if before[to].is_empty() {
                free.push(to);
            }
        }
    }
    // Each of those left has a predecessor among them.
    let mut path = vec![*left.first()?];
    loop {
        let last = path[path.len() - 1];
        let from = *before[last].first()?;
        if let Some(start) = path.iter().position(|&node| node == from) {
            let mut cycle = path.split_off(start);
            cycle.reverse();
            return Some(cycle);
        }
        path.push(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Item = Item::Slot(1);
    const Y: Item = Item::Slot(2);
    const R: Item = Item::Record(0, 1);
    const S: Item = Item::Record(0, 2);

    fn made(
        id: u32,
        snapshot: u64,
        version: u64,
        reads: &[Read],
        writes: &[(Item, Option<Value>)],
    ) -> Transaction {
        Transaction {
            id,
            snapshot,
            version: (version > 0).then_some(version),
            reads: reads.to_vec(),
            writes: writes.iter().copied().collect(),
        }
    }

    /// Slots X = 100 and Y = 200, as version 1.
    fn start() -> Transaction {
        made(1, 0, 1, &[], &[(X, Some(100)), (Y, Some(200))])
    }

    #[track_caller]
    fn assert_cycle(history: &[Transaction], ids: &[u32]) {
        let found = cycle(history).expect("a cycle is there");
        assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), ids.iter().copied().collect());
    }

    #[track_caller]
    fn assert_good(history: &[Transaction]) {
        assert_eq!((cycle(history), misread(history)), (None, None));
    }

    #[test]
    fn good_histories_pass() {
        assert_good(&[]);
        assert_good(&[
            start(),
            made(2, 1, 2, &[Read::Value(X, Some(100))], &[(X, Some(101))]),
            made(3, 2, 3, &[Read::Value(X, Some(101)), Read::Exists(R, false)], &[(R, Some(1))]),
            made(4, 1, 0, &[Read::Value(X, Some(100)), Read::Value(R, None), Read::Count(0, 0)], &[]),
            made(5, 3, 4, &[Read::Count(0, 1)], &[(R, None)]),
            made(6, 4, 0, &[Read::Value(R, None), Read::Count(0, 0)], &[]),
        ]);
        // Concurrent, and in disjoint places.
        assert_good(&[
            start(),
            made(2, 1, 2, &[Read::Value(X, Some(100))], &[(X, Some(101))]),
            made(3, 1, 3, &[Read::Value(Y, Some(200))], &[(Y, Some(201))]),
        ]);
    }

    #[test]
    fn lost_update_is_a_cycle() {
        let read = [Read::Value(X, Some(100))];
        assert_cycle(
            &[start(), made(2, 1, 2, &read, &[(X, Some(101))]), made(3, 1, 3, &read, &[(X, Some(102))])],
            &[2, 3],
        );
    }

    #[test]
    fn write_skew_is_a_cycle() {
        let reads = [Read::Value(X, Some(100)), Read::Value(Y, Some(200))];
        assert_cycle(
            &[start(), made(2, 1, 2, &reads, &[(X, Some(101))]), made(3, 1, 3, &reads, &[(Y, Some(201))])],
            &[2, 3],
        );
    }

    #[test]
    fn read_skew_is_a_cycle() {
        let mixed = made(3, 1, 0, &[Read::Value(X, Some(100)), Read::Value(Y, Some(201))], &[]);
        let history = [start(), made(2, 1, 2, &[], &[(X, Some(101)), (Y, Some(201))]), mixed];
        assert_cycle(&history, &[2, 3]);
        assert!(misread(&history).unwrap().starts_with("transaction 3 at version 1 read"));
    }

    #[test]
    fn phantoms_are_cycles() {
        // Both found the other's record absent.
        assert_cycle(
            &[
                made(2, 0, 1, &[Read::Value(S, None)], &[(R, Some(1))]),
                made(3, 0, 2, &[Read::Exists(R, false)], &[(S, Some(2))]),
            ],
            &[2, 3],
        );
        let count = [Read::Count(0, 0)];
        assert_cycle(
            &[made(2, 0, 1, &count, &[(R, Some(1))]), made(3, 0, 2, &count, &[(S, Some(2))])],
            &[2, 3],
        );
    }

    /// Fekete and others: without the reader the two writers are serializable.
    #[test]
    fn the_read_only_anomaly_is_a_cycle() {
        let withdrawal =
            made(2, 1, 3, &[Read::Value(X, Some(100)), Read::Value(Y, Some(200))], &[(X, Some(101))]);
        let deposit = made(3, 1, 2, &[Read::Value(Y, Some(200))], &[(Y, Some(201))]);
        let statement = made(4, 2, 0, &[Read::Value(X, Some(100)), Read::Value(Y, Some(201))], &[]);
        assert_good(&[start(), withdrawal.clone(), deposit.clone()]);
        assert_cycle(&[start(), withdrawal, deposit, statement], &[2, 3, 4]);
    }

    #[test]
    fn reads_of_what_is_not_there_are_told() {
        for read in [
            Read::Value(X, Some(7)),
            Read::Value(X, None),
            Read::Value(R, Some(1)),
            Read::Exists(R, true),
            Read::Exists(X, false),
            Read::Count(0, 1),
        ] {
            assert!(misread(&[start(), made(2, 1, 0, &[read], &[])]).is_some(), "{read:?}");
        }
        let twice = [made(2, 0, 1, &[], &[(X, Some(1))]), made(3, 0, 1, &[], &[(Y, Some(1))])];
        assert_eq!(misread(&twice).unwrap(), "two transactions made the same version");
        assert!(misread(&[made(2, 3, 3, &[], &[(X, Some(1))])]).is_some());
    }
}
