//! The model of one version: the rows of a store, as the table in `dotdb/src/keys.rs` lays them out.

use std::collections::BTreeMap;
use std::ops::Bound;

pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub rows: Rows,
}

fn key(tag: u8, number: u32, rest: &[u8]) -> Vec<u8> {
    [&[tag][..], &number.to_be_bytes(), rest].concat()
}

pub fn significant(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|&byte| byte == 0).collect()
}

/// The part of a row's value that the table names, which may be followed by more in the row of a collection.
pub fn named_part(key: &[u8], value: &[u8]) -> Vec<u8> {
    let bytes = if key[0] == 4 { 5 } else { value.len() };
    value[..bytes].to_vec()
}

impl State {
    /// The number at the beginning of a row's value, 0 if there is no such row.
    fn number(&self, key: &[u8]) -> u32 {
        self.rows.get(key).map_or(0, |value| u32::from_be_bytes(value[..4].try_into().unwrap()))
    }

    fn counter(&self, key: &[u8]) -> u64 {
        self.rows.get(key).map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
    }

    fn set_counter(&mut self, key: Vec<u8>, value: u64) {
        match value {
            0 => self.rows.remove(&key),
            value => self.rows.insert(key, value.to_be_bytes().to_vec()),
        };
    }

    fn next_number(&mut self, counter: &[u8]) -> u32 {
        let next = self.number(counter) + 1;
        self.rows.insert(counter.to_vec(), next.to_be_bytes().to_vec());
        next
    }

    /// Number of a contract, 0 if there is none of this name.
    pub fn find_contract(&self, name: &str) -> u32 {
        self.number(&[&[1], name.as_bytes()].concat())
    }

    pub fn contract(&mut self, name: &str) -> u32 {
        match self.find_contract(name) {
            0 => {
                let number = self.next_number(b"\0contracts");
                self.rows.insert([&[1], name.as_bytes()].concat(), number.to_be_bytes().to_vec());
                number
            }
            number => number,
        }
    }

    pub fn set_slot(&mut self, contract: u32, slot: &[u8], value: &[u8]) {
        let (slot, value) = (significant(slot), significant(value));
        let key = key(3, contract, &[&[slot.len() as u8], &slot[..]].concat());
        match value.is_empty() {
            true => self.rows.remove(&key),
            false => self.rows.insert(key, value),
        };
    }

    pub fn slot(&self, contract: u32, slot: &[u8]) -> Vec<u8> {
        let slot = significant(slot);
        let key = key(3, contract, &[&[slot.len() as u8], &slot[..]].concat());
        self.rows.get(&key).cloned().unwrap_or_default()
    }

    /// Number of a collection, 0 if there is none of this name.
    pub fn find_collection(&self, contract: u32, name: &str) -> u32 {
        self.number(&key(4, contract, name.as_bytes()))
    }

    pub fn collection(&mut self, contract: u32, name: &str) -> u32 {
        match self.find_collection(contract, name) {
            0 => {
                let number = self.next_number(b"\0collections");
                let value = [&number.to_be_bytes()[..], &[0]].concat();
                self.rows.insert(key(4, contract, name.as_bytes()), value);
                number
            }
            number => number,
        }
    }

    pub fn get(&self, collection: u32, record: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(&key(5, collection, record)).cloned()
    }

    pub fn put(&mut self, collection: u32, record: &[u8], value: &[u8]) -> bool {
        if self.rows.insert(key(5, collection, record), value.to_vec()).is_some() {
            return true;
        }
        self.set_counter(key(6, collection, &[0]), self.count(collection) + 1);
        if let Ok(record) = record.try_into() {
            let greatest = self.greatest(collection).max(u64::from_be_bytes(record));
            self.set_counter(key(6, collection, &[1]), greatest);
        }
        false
    }

    pub fn delete(&mut self, collection: u32, record: &[u8]) -> bool {
        let existed = self.rows.remove(&key(5, collection, record)).is_some();
        if existed {
            self.set_counter(key(6, collection, &[0]), self.count(collection) - 1);
        }
        existed
    }

    pub fn count(&self, collection: u32) -> u64 {
        self.counter(&key(6, collection, &[0]))
    }

    pub fn greatest(&self, collection: u32) -> u64 {
        self.counter(&key(6, collection, &[1]))
    }

    /// Rows of a tag and a number, without both.
    pub fn part(&self, tag: u8, number: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        let prefix = key(tag, number, &[]);
        self.rows
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key[5..].to_vec(), value.clone()))
            .collect()
    }

    pub fn records(&self, collection: u32, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let above = |key: &[u8]| match from {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        let below = |key: &[u8]| match to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        self.part(5, collection).into_iter().filter(|(key, _)| above(key) && below(key)).collect()
    }
}

/// Keys that differ between two states: key, before, after.
pub type Differences = Vec<(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>)>;

pub fn differences(before: &State, after: &State) -> Differences {
    let mut keys: Vec<&Vec<u8>> = before.rows.keys().chain(after.rows.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let both = |key: &Vec<u8>| (key.clone(), before.rows.get(key).cloned(), after.rows.get(key).cloned());
    keys.into_iter().map(both).filter(|(_, before, after)| before != after).collect()
}
