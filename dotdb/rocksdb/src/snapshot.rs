//! Snapshots and ranges that own what they borrow.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::page::{self, MAX_PAGE_BYTES, Page, PageReader, Pages};
use dotdb_store::{Direction, PairIter, Snapshot, StoreError, Visitor, is_empty_range};
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
        Ok(page::iterate(self.reader(from, to, direction)))
    }

    fn pages(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PageReader, StoreError> {
        Ok(Box::new(self.reader(from, to, direction)))
    }

    fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let snapshot = self.held.borrow_dependent();
        let found = snapshot.get_pinned_opt(key, self.options()).map_err(error::map)?;
        value.extend_from_slice(found.as_deref().unwrap_or_default());
        Ok(found.is_some())
    }

    fn visit(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
        see: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        let Some(mut cursor) = self.reader(from, to, direction).cursor else { return Ok(()) };
        cursor.with_dependent_mut(|_, cursor| {
            match direction {
                Direction::Forward => cursor.seek_to_first(),
                Direction::Backward => cursor.seek_to_last(),
            }
            while let Some((key, value)) = cursor.item() {
                if see(key, value).is_break() {
                    return Ok(());
                }
                match direction {
                    Direction::Forward => cursor.next(),
                    Direction::Backward => cursor.prev(),
                }
            }
            cursor.status().map_err(error::map)
        })
    }
}

impl RocksdbSnapshot {
    fn reader(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, direction: Direction) -> Reader {
        if is_empty_range(from, to) {
            return Reader { cursor: None, started: false, direction };
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
        Reader { cursor: Some(cursor), started: false, direction }
    }
}

/// The key right behind another.
fn next(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Rows that come from RocksDB one by one, copied once.
struct Reader {
    /// `None` behind the last row and after an error.
    cursor: Option<Cursor>,
    started: bool,
    direction: Direction,
}

impl Pages for Reader {
    fn read(&mut self, rows: usize, page: &mut Page) -> Result<bool, StoreError> {
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        let (direction, start) = (self.direction, page.bytes());
        let started = std::mem::replace(&mut self.started, true);
        let result = cursor.with_dependent_mut(|_, cursor| {
            let mut started = started;
            for _ in 0..rows {
                if page.bytes() - start >= MAX_PAGE_BYTES {
                    break;
                }
                match (std::mem::replace(&mut started, true), direction) {
                    (false, Direction::Forward) => cursor.seek_to_first(),
                    (false, Direction::Backward) => cursor.seek_to_last(),
                    (true, Direction::Forward) => cursor.next(),
                    (true, Direction::Backward) => cursor.prev(),
                }
                match cursor.item() {
                    Some((key, value)) => page.push(key, value),
                    None => return cursor.status().map(|()| false).map_err(error::map),
                }
            }
            Ok(true)
        });
        if !matches!(result, Ok(true)) {
            self.cursor = None;
        }
        result
    }
}
