//! A collection and its indexes in ordered maps.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;

use dotdb_query::{Index, IndexRow, KeyRange, RecordRow, Source, Statistics, entries};

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

/// Rows one after the other, of which the last one given is lent.
pub struct Rows<T> {
    rest: std::vec::IntoIter<T>,
    current: Option<T>,
}

impl<T> Rows<T> {
    fn step(&mut self) -> Option<&T> {
        self.current = self.rest.next();
        self.current.as_ref()
    }
}

fn in_order<T>(mut rows: Vec<T>, reverse: bool) -> Rows<T> {
    if reverse {
        rows.reverse();
    }
    Rows { rest: rows.into_iter(), current: None }
}

impl Source for Memory {
    type Error = Infallible;
    type Records = Rows<(Vec<u8>, Vec<u8>)>;
    type Entries = Rows<(Vec<u8>, Vec<u8>, bool)>;

    fn count(&mut self) -> Result<u64, Infallible> {
        Ok(self.records.len() as u64)
    }

    fn records(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        _: Option<u64>,
    ) -> Result<Self::Records, Infallible> {
        assert!(!range.is_empty());
        let rows = self.records.range(bounds(range));
        let rows = rows.map(|(key, document)| (key.clone(), document.clone())).collect();
        Ok(in_order(rows, reverse))
    }

    fn next_record<'c>(
        &mut self,
        cursor: &'c mut Self::Records,
    ) -> Result<Option<RecordRow<'c>>, Infallible> {
        Ok(cursor.step().map(|(key, document)| (&key[..], &document[..])))
    }

    fn entries(
        &mut self,
        index: usize,
        range: &KeyRange,
        reverse: bool,
        _: Option<u64>,
    ) -> Result<Self::Entries, Infallible> {
        assert!(!range.is_empty());
        let rows = self.indexes[index].range(bounds(range));
        let rows = rows
            .map(|(row, &(length, exact))| (row[..length].to_vec(), row[length..].to_vec(), exact))
            .collect();
        Ok(in_order(rows, reverse))
    }

    fn next_entry<'c>(&mut self, cursor: &'c mut Self::Entries) -> Result<Option<IndexRow<'c>>, Infallible> {
        Ok(cursor.step().map(|(entry, key, exact)| IndexRow { entry, key, exact: *exact }))
    }

    fn get(&mut self, key: &[u8], document: &mut Vec<u8>) -> Result<bool, Infallible> {
        document.clear();
        let found = self.records.get(key);
        document.extend_from_slice(found.map_or(&[][..], |found| found));
        Ok(found.is_some())
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
