//! Snapshots and ranges that own what they borrow.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{Direction, PairIter, Snapshot, StoreError, is_empty_range};
use rocksdb::{DB, DBRawIterator, ReadOptions};
use self_cell::self_cell;

use crate::error;

type Borrowed<'a> = rocksdb::Snapshot<'a>;

self_cell!(
    /// RocksDB's snapshot with its database.
    struct Held {
        owner: Arc<DB>,
        #[covariant]
        dependent: Borrowed,
    }
);

self_cell!(
    /// RocksDB's iterator with its snapshot.
    struct Cursor {
        owner: Arc<Held>,
        #[covariant]
        dependent: DBRawIterator,
    }
);

pub(crate) struct RocksdbSnapshot {
    held: Arc<Held>,
    /// Whether blocks that are read stay in the cache.
    fill_cache: bool,
}

impl RocksdbSnapshot {
    pub(crate) fn new(database: Arc<DB>, fill_cache: bool) -> RocksdbSnapshot {
        RocksdbSnapshot { held: Arc::new(Held::new(database, |database| database.snapshot())), fill_cache }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(self.fill_cache);
        options
    }
}

impl Snapshot for RocksdbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let snapshot = self.held.borrow_dependent();
        let value = snapshot.get_pinned_opt(key, self.options()).map_err(error::map)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        let mut options = self.options();
        match from {
            Bound::Unbounded => {}
            Bound::Included(key) => options.set_iterate_lower_bound(key),
            Bound::Excluded(key) => options.set_iterate_lower_bound(next(key)),
        }
        match to {
            Bound::Unbounded => {}
            Bound::Excluded(key) => options.set_iterate_upper_bound(key),
            Bound::Included(key) => options.set_iterate_upper_bound(next(key)),
        }
        let cursor =
            Cursor::new(Arc::clone(&self.held), |held| held.borrow_dependent().raw_iterator_opt(options));
        Ok(Box::new(Rows { cursor: Some(cursor), started: false, direction }))
    }
}

/// The key right behind another.
fn next(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

struct Rows {
    /// `None` behind the last row and after an error.
    cursor: Option<Cursor>,
    started: bool,
    direction: Direction,
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (started, direction) = (self.started, self.direction);
        let row = self.cursor.as_mut()?.with_dependent_mut(|_, rows| {
            match (started, direction) {
                (false, Direction::Forward) => rows.seek_to_first(),
                (false, Direction::Backward) => rows.seek_to_last(),
                (true, Direction::Forward) => rows.next(),
                (true, Direction::Backward) => rows.prev(),
            }
            match rows.item() {
                Some((key, value)) => Ok(Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))),
                None => rows.status().map(|()| None).map_err(error::map),
            }
        });
        self.started = true;
        if !matches!(row, Ok(Some(_))) {
            self.cursor = None;
        }
        row.transpose()
    }
}
