//! A collection and its indexes in ordered maps.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;

use bytes::Bytes;
use dotdb_query::{Index, IndexRow, KeyRange, Source, Statistics, entries};

#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By entry and key in one, as ranges are over them: with the length of the entry, and whether it is exact.
    pub indexes: Vec<BTreeMap<Vec<u8>, (usize, bool)>>,
    /// Records that the statistics tell of beyond those that are there, so that the planner takes to
    /// indexes in small collections too. Results must not depend on it.
    pub pretended: u64,
}

impl Memory {
    pub fn new(records: BTreeMap<Vec<u8>, Vec<u8>>, indexes: &[Index]) -> Memory {
        let mut memory =
            Memory { records: BTreeMap::new(), indexes: vec![BTreeMap::new(); indexes.len()], pretended: 0 };
        for (key, document) in records {
            memory.insert(indexes, key, document);
        }
        memory
    }

    pub fn insert(&mut self, indexes: &[Index], key: Vec<u8>, document: Vec<u8>) {
        self.remove(indexes, &key);
        for (index, rows) in indexes.iter().zip(&mut self.indexes) {
            let own = entries(&index.spec, &document).unwrap();
            let distinct: BTreeSet<_> = own.iter().map(|entry| &entry.key).collect();
            assert_eq!(distinct.len(), own.len());
            for entry in own {
                rows.insert([&entry.key[..], &key].concat(), (entry.key.len(), entry.exact));
            }
        }
        self.records.insert(key, document);
    }

    pub fn remove(&mut self, indexes: &[Index], key: &[u8]) {
        let Some(document) = self.records.remove(key) else { return };
        for (index, rows) in indexes.iter().zip(&mut self.indexes) {
            for entry in entries(&index.spec, &document).unwrap() {
                rows.remove(&[&entry.key[..], key].concat());
            }
        }
    }
}

fn bounds(range: &KeyRange) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let end = range.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(range.start.clone()), end)
}

type Rows<T> = std::vec::IntoIter<T>;

fn in_order<T>(mut rows: Vec<T>, reverse: bool) -> Rows<T> {
    if reverse {
        rows.reverse();
    }
    rows.into_iter()
}

impl Source for Memory {
    type Error = Infallible;
    type Records = Rows<(Bytes, Bytes)>;
    type Entries = Rows<IndexRow>;

    fn count(&mut self) -> Result<u64, Infallible> {
        Ok(self.records.len() as u64)
    }

    fn records(&mut self, range: &KeyRange, reverse: bool) -> Result<Self::Records, Infallible> {
        assert!(!range.is_empty());
        let rows = self.records.range(bounds(range));
        let rows = rows.map(|(key, document)| (key.clone().into(), document.clone().into())).collect();
        Ok(in_order(rows, reverse))
    }

    fn next_record(&mut self, cursor: &mut Self::Records) -> Result<Option<(Bytes, Bytes)>, Infallible> {
        Ok(cursor.next())
    }

    fn entries(
        &mut self,
        index: usize,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<Self::Entries, Infallible> {
        assert!(!range.is_empty());
        let rows = self.indexes[index].range(bounds(range));
        let rows = rows
            .map(|(row, &(length, exact))| IndexRow {
                entry: row[..length].to_vec().into(),
                key: row[length..].to_vec().into(),
                exact,
            })
            .collect();
        Ok(in_order(rows, reverse))
    }

    fn next_entry(&mut self, cursor: &mut Self::Entries) -> Result<Option<IndexRow>, Infallible> {
        Ok(cursor.next())
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Infallible> {
        Ok(self.records.get(key).map(|document| document.clone().into()))
    }
}

impl Statistics for Memory {
    type Error = Infallible;

    fn rows(&mut self) -> Result<u64, Infallible> {
        Ok(self.records.len() as u64 + self.pretended)
    }

    fn key_rows(&mut self, range: &KeyRange, cap: u64) -> Result<u64, Infallible> {
        if range.is_empty() {
            return Ok(0);
        }
        let there = self.records.range(bounds(range)).count() as u64;
        Ok((there + self.pretended).min(cap))
    }

    fn index_rows(&mut self, index: usize, range: &KeyRange, cap: u64) -> Result<u64, Infallible> {
        if range.is_empty() {
            return Ok(0);
        }
        Ok(self.indexes[index].range(bounds(range)).take(cap as usize).count() as u64)
    }
}
