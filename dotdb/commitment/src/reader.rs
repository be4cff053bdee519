//! Where the rows of the tree are read from: a store, or a store under changes that are not written yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use dotdb_store::{Direction, Snapshot, StoreError};

/// A row to write: its key, and its value or `None` to delete it.
pub type Write = (Bytes, Option<Bytes>);

/// Reads rows of the tree.
pub trait NodeReader {
    /// The value of a row, or `None`.
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// At most `limit` rows with keys from `from` inclusive to `to` exclusive, in the given direction.
    fn rows(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
}

/// The rows of a store whose keys begin with one prefix byte.
#[derive(Clone, Copy)]
pub struct SnapshotReader<'a> {
    snapshot: &'a dyn Snapshot,
    prefix: u8,
}

impl<'a> SnapshotReader<'a> {
    /// The rows of `snapshot` under `prefix`.
    pub fn new(snapshot: &'a dyn Snapshot, prefix: u8) -> Self {
        Self { snapshot, prefix }
    }

    /// The key in the store of a row.
    pub fn store_key(prefix: u8, row: &[u8]) -> Bytes {
        let mut key = Vec::with_capacity(1 + row.len());
        key.push(prefix);
        key.extend_from_slice(row);
        key.into()
    }
}

impl NodeReader for SnapshotReader<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.snapshot.get(&Self::store_key(self.prefix, key))
    }

    fn rows(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let (from, to) = (Self::store_key(self.prefix, from), Self::store_key(self.prefix, to));
        self.snapshot
            .range(Bound::Included(&from), Bound::Excluded(&to), direction)?
            .take(limit)
            .map(|row| row.map(|(key, value)| (key.slice(1..), value)))
            .collect()
    }
}

/// Rows that are not written yet over a reader: several versions can be computed before any is written, and the
/// root of pending changes without writing at all.
pub struct Overlay<'a> {
    base: &'a dyn NodeReader,
    rows: BTreeMap<Bytes, Option<Bytes>>,
}

impl<'a> Overlay<'a> {
    /// Nothing changed over `base`.
    pub fn new(base: &'a dyn NodeReader) -> Self {
        Self { base, rows: BTreeMap::new() }
    }

    /// Puts rows over those that are there.
    pub fn apply(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.rows.extend(writes);
    }

    /// Number of rows to write.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows to write, in the order of their keys.
    pub fn into_writes(self) -> Vec<Write> {
        self.rows.into_iter().collect()
    }
}

impl NodeReader for Overlay<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.row(key),
        }
    }

    fn rows(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let over = || self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        // Every row of the base may be deleted here, so that many more are asked for.
        let deleted = over().filter(|(_, value)| value.is_none()).count();
        let base = self.base.rows(from, to, direction, limit.saturating_add(deleted))?;
        let mut merged: BTreeMap<Bytes, Bytes> = base.into_iter().collect();
        for (key, value) in over() {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(match direction {
            Direction::Forward => merged.into_iter().take(limit).collect(),
            Direction::Backward => merged.into_iter().rev().take(limit).collect(),
        })
    }
}
