//! Reading the state as it was at a version.
//!
//! The journal says by version what each commit changed; the history says the same by key. A row's key is 81,
//! the store key with every 00 written as 00 FF, 00 00, and the version u64 that changed it; its value is 00 if
//! the key was absent before, else 01 and the old value. So what a key held at a version is the old value of
//! the first later change, or what it holds now if there is none: one look-up at any distance.
//!
//! The history follows the journal in steps (`settle`); what it does not have yet is read from the journal into
//! memory when a version is opened.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{Direction, PairIter, Snapshot, StoreError, is_empty_range};
use imbl::OrdMap;

use crate::error::DbError;
use crate::journal::{self, Change};
use crate::keys::{HISTORY, JOURNAL};

const VERSION_BYTES: usize = 8;

/// The part of a history row's key that is the same for all versions of a store key.
fn prefix_of(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.len() + 3 + VERSION_BYTES + 4);
    row.push(HISTORY);
    for &byte in key {
        row.push(byte);
        if byte == 0 {
            row.push(0xff);
        }
    }
    row.extend([0, 0]);
    row
}

/// Key of a history row.
pub(crate) fn row_key(key: &[u8], version: u64) -> Vec<u8> {
    let mut row = prefix_of(key);
    row.extend(version.to_be_bytes());
    row
}

/// A history row.
pub(crate) fn row(change: &Change, version: u64) -> (Bytes, Option<Bytes>) {
    let value = match &change.old {
        None => Bytes::from_static(&[0]),
        Some(old) => [&[1], &old[..]].concat().into(),
    };
    (row_key(&change.key, version).into(), Some(value))
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { detail: "a row of the history by key cannot be read".to_owned() }
}

pub(crate) fn decode_key(row: &[u8]) -> Result<(Bytes, u64), StoreError> {
    let (row, version) = row.split_last_chunk::<VERSION_BYTES>().ok_or_else(corrupt)?;
    let escaped =
        row.strip_prefix(&[HISTORY]).and_then(|row| row.strip_suffix(&[0, 0])).ok_or_else(corrupt)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        if byte == 0 && bytes.next() != Some(&0xff) {
            return Err(corrupt());
        }
        key.push(byte);
    }
    Ok((key.into(), u64::from_be_bytes(*version)))
}

pub(crate) fn decode_value(mut value: Bytes) -> Result<Option<Bytes>, StoreError> {
    match value.first() {
        Some(0) if value.len() == 1 => Ok(None),
        Some(1) => Ok(Some(value.split_off(1))),
        _ => Err(corrupt()),
    }
}

/// The state as of a version: a snapshot of a snapshot. Rows that are DotDB's own are those of now.
pub(crate) struct AsOf {
    base: Arc<dyn Snapshot>,
    version: u64,
    /// What keys held at the version or, if later, where the history ends; in the order of keys.
    tail: OrdMap<Bytes, Option<Bytes>>,
}

impl AsOf {
    /// The state at `version`, which is not after `last`, the snapshot's own; the history reaches to `indexed`.
    pub(crate) fn new(
        base: Arc<dyn Snapshot>,
        version: u64,
        indexed: u64,
        last: u64,
    ) -> Result<AsOf, DbError> {
        let mut tail = OrdMap::new();
        let first = version.max(indexed) + 1;
        if first <= last {
            for row in journal::changes(&*base, first, last, Direction::Backward)? {
                for change in row?.changes() {
                    let Change { key, old } = change?;
                    tail.insert(key, old);
                }
            }
        }
        Ok(AsOf { base, version, tail })
    }
}

impl Snapshot for AsOf {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key.first().is_some_and(|&tag| tag >= JOURNAL) {
            return self.base.get(key);
        }
        let (from, to) = (row_key(key, self.version + 1), row_key(key, u64::MAX));
        let mut later =
            self.base.range(Bound::Included(&from[..]), Bound::Included(&to[..]), Direction::Forward)?;
        if let Some(row) = later.next() {
            return decode_value(row?.1);
        }
        match self.tail.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        let to = match to {
            Bound::Unbounded => Bound::Excluded(&[JOURNAL][..]),
            to => to,
        };
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        let own = |row: Result<(Bytes, Bytes), StoreError>| row.map(|(key, value)| (key, Some(value)));
        let now: Changes = Box::new(self.base.range(from, to, direction)?.map(own));
        let tail = Tail {
            rows: self.tail.clone(),
            from: from.map(Bytes::copy_from_slice),
            to: to.map(Bytes::copy_from_slice),
            direction,
        };
        let last = |key: &[u8]| row_key(key, u64::MAX);
        let first_row = match from {
            Bound::Included(key) => Bound::Included(prefix_of(key)),
            Bound::Excluded(key) => Bound::Excluded(last(key)),
            Bound::Unbounded => Bound::Included(vec![HISTORY]),
        };
        let last_row = match to {
            Bound::Included(key) => Bound::Included(last(key)),
            Bound::Excluded(key) => Bound::Excluded(prefix_of(key)),
            Bound::Unbounded => Bound::Excluded(vec![HISTORY + 1]),
        };
        let rows = self.base.range(
            first_row.as_ref().map(|key| &key[..]),
            last_row.as_ref().map(|key| &key[..]),
            direction,
        )?;
        let history = ByKey { rows, after: self.version, direction, next: None };
        let sources: [Changes; 3] = [Box::new(history), Box::new(tail), now];
        Ok(Box::new(Merged {
            sources: sources.map(|rows| Source { rows, next: None }),
            direction,
            done: false,
        }))
    }
}

/// Keys with what they held.
type Changes = Box<dyn Iterator<Item = Result<(Bytes, Option<Bytes>), StoreError>> + Send>;

/// A range of [`AsOf::tail`].
struct Tail {
    rows: OrdMap<Bytes, Option<Bytes>>,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    direction: Direction,
}

impl Iterator for Tail {
    type Item = Result<(Bytes, Option<Bytes>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from.as_ref().map(|key| &key[..]);
        let to = self.to.as_ref().map(|key| &key[..]);
        if self.rows.is_empty() || is_empty_range(from, to) {
            return None;
        }
        let mut rows = self.rows.range::<_, [u8]>((from, to));
        let (key, value) = match self.direction {
            Direction::Forward => rows.next(),
            Direction::Backward => rows.next_back(),
        }?;
        let row = (key.clone(), value.clone());
        match self.direction {
            Direction::Forward => self.from = Bound::Excluded(row.0.clone()),
            Direction::Backward => self.to = Bound::Excluded(row.0.clone()),
        }
        Some(Ok(row))
    }
}

/// For each key of the history the first change after a version.
struct ByKey {
    rows: PairIter,
    after: u64,
    direction: Direction,
    /// The row looked at but not used.
    next: Option<(Bytes, u64, Bytes)>,
}

impl ByKey {
    /// The next row that is of a later version.
    fn row(&mut self) -> Result<Option<(Bytes, u64, Bytes)>, StoreError> {
        if let Some(row) = self.next.take() {
            return Ok(Some(row));
        }
        for row in self.rows.by_ref() {
            let (key, value) = row?;
            let (key, version) = decode_key(&key)?;
            if version > self.after {
                return Ok(Some((key, version, value)));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, StoreError> {
        let Some((key, mut first, mut value)) = self.row()? else { return Ok(None) };
        while let Some(row) = self.row()? {
            if row.0 != key {
                self.next = Some(row);
                break;
            }
            // Forward, versions rise and the first one is the one wanted; backward, the last one is.
            if self.direction == Direction::Backward {
                (first, value) = (row.1, row.2);
            }
        }
        debug_assert!(first > self.after);
        Ok(Some((key, decode_value(value)?)))
    }
}

impl Iterator for ByKey {
    type Item = Result<(Bytes, Option<Bytes>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

struct Source {
    rows: Changes,
    /// `Some(None)` at the end.
    next: Option<Option<(Bytes, Option<Bytes>)>>,
}

impl Source {
    fn peek(&mut self) -> Result<Option<&Bytes>, StoreError> {
        if self.next.is_none() {
            self.next = Some(self.rows.next().transpose()?);
        }
        Ok(self.next.as_ref().and_then(|row| row.as_ref().map(|(key, _)| key)))
    }
}

/// Sources in the order of keys; where several have a key, the first one's value holds.
struct Merged {
    sources: [Source; 3],
    direction: Direction,
    done: bool,
}

impl Merged {
    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        loop {
            let mut first: Option<Bytes> = None;
            for source in &mut self.sources {
                let Some(key) = source.peek()? else { continue };
                let order = first.as_ref().map_or(Ordering::Less, |first| match self.direction {
                    Direction::Forward => key.cmp(first),
                    Direction::Backward => first.cmp(key),
                });
                if order == Ordering::Less {
                    first = Some(key.clone());
                }
            }
            let Some(first) = first else { return Ok(None) };
            let mut value = None;
            for source in &mut self.sources {
                if source.peek()? == Some(&first)
                    && let Some(Some((_, held))) = source.next.take()
                {
                    value.get_or_insert(held);
                }
            }
            if let Some(Some(value)) = value {
                return Ok(Some((first, value)));
            }
        }
    }
}

impl Iterator for Merged {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = self.step().transpose();
        self.done = !matches!(row, Some(Ok(_)));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_order_as_keys_then_versions() {
        let keys: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0\x01", b"a", b"a\0", b"ab"];
        let mut rows = Vec::new();
        for key in keys {
            for version in [1, 256, u64::MAX] {
                let row = row_key(key, version);
                assert_eq!(decode_key(&row).unwrap(), (Bytes::copy_from_slice(key), version));
                rows.push(row);
            }
        }
        assert!(rows.is_sorted());
    }
}
