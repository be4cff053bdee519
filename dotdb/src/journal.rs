//! The journal: for each version the keys its commit changed, and what they held before.
//!
//! A commit that changes anything gives the state its next version, a number from 1 on, and writes the
//! journal's rows of that version in the same batch. Everything else that is known of the past is
//! derived from these rows: reads as of a version, differences, the state tree, the stream of changes.
//!
//! A row's key is 80, version u64, chunk u32. Its value is a sequence of entries: length of the key,
//! key, then 0 if the key was absent before, else length of the old value plus 1, and the old value.
//! Lengths are LEB128. A database that keeps no history writes rows without entries, and only the last.

use std::ops::Bound;

use bytes::{Buf, Bytes};
use dotdb_store::{Direction, PairIter, Snapshot, StoreError};

use crate::error::DbError;
use crate::keys::{JOURNAL, corrupt};

/// Bytes of entries after which a row is ended. A row that holds one large value is longer.
const CHUNK_BYTES: usize = 1 << 20;
const KEY_BYTES: usize = 13;

/// A key that a commit changed, and what it held before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    /// `None` if the key was absent.
    pub(crate) old: Option<Bytes>,
}

/// Rows under construction.
#[derive(Default)]
pub(crate) struct Writer {
    rows: Vec<Vec<u8>>,
}

impl Writer {
    pub(crate) fn push(&mut self, key: &[u8], old: Option<&[u8]>) {
        if self.rows.last().is_none_or(|row| row.len() >= CHUNK_BYTES) {
            self.rows.push(Vec::with_capacity(128));
        }
        let Some(row) = self.rows.last_mut() else { return };
        put_length(row, key.len() as u64);
        row.extend_from_slice(key);
        match old {
            None => row.push(0),
            Some(old) => {
                put_length(row, old.len() as u64 + 1);
                row.extend_from_slice(old);
            }
        }
    }

    /// The rows as they are written for a version; at least one.
    pub(crate) fn rows(self, version: u64) -> impl Iterator<Item = (Bytes, Bytes)> {
        let rows = if self.rows.is_empty() { vec![Vec::new()] } else { self.rows };
        // A transaction has fewer than 2^32 keys.
        rows.into_iter().enumerate().map(move |(chunk, row)| (row_key(version, chunk as u32), row.into()))
    }
}

fn put_length(row: &mut Vec<u8>, mut length: u64) {
    while length >= 0x80 {
        row.push(length as u8 | 0x80);
        length >>= 7;
    }
    row.push(length as u8);
}

/// Key of a row.
pub(crate) fn row_key(version: u64, chunk: u32) -> Bytes {
    let mut key = [JOURNAL; KEY_BYTES];
    key[1..9].copy_from_slice(&version.to_be_bytes());
    key[9..].copy_from_slice(&chunk.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// Version and chunk of a row's key.
pub(crate) fn place_of(key: &[u8]) -> Result<(u64, u32), DbError> {
    let bad =
        || DbError::Store(StoreError::Corrupt { detail: "a row of the journal has a bad key".to_owned() });
    let [JOURNAL, a, b, c, d, e, f, g, h, chunk @ ..] = key else { return Err(bad()) };
    let chunk = chunk.try_into().map_err(|_| bad())?;
    Ok((u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), u32::from_be_bytes(chunk)))
}

/// The changes of a row's value.
pub(crate) fn decode(key: &Bytes, mut value: Bytes) -> impl Iterator<Item = Result<Change, DbError>> + use<> {
    let row = key.clone();
    let mut done = false;
    std::iter::from_fn(move || {
        if done || value.is_empty() {
            return None;
        }
        let change = take_change(&mut value);
        done = change.is_none();
        Some(change.ok_or_else(|| corrupt(&row, "is not a row of the journal")))
    })
}

fn take_change(value: &mut Bytes) -> Option<Change> {
    let key = take_bytes(value, 0)??;
    let old = take_bytes(value, 1)?;
    Some(Change { key, old })
}

/// Length (less `bias`, and `None` if that is below 0) and so many bytes.
fn take_bytes(value: &mut Bytes, bias: u64) -> Option<Option<Bytes>> {
    let mut length = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = *value.first()?;
        value.advance(1);
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let Some(length) = length.checked_sub(bias) else { return Some(None) };
            let length = usize::try_from(length).ok().filter(|&length| length <= value.len())?;
            return Some(Some(value.split_to(length)));
        }
    }
    None
}

/// The last version of a state, 0 if nothing was ever committed.
pub(crate) fn last_version(snapshot: &dyn Snapshot) -> Result<u64, DbError> {
    let (from, to) = ([JOURNAL], [JOURNAL + 1]);
    let mut rows =
        snapshot.range(Bound::Included(&from[..]), Bound::Excluded(&to[..]), Direction::Backward)?;
    match rows.next() {
        None => Ok(0),
        Some(row) => Ok(place_of(&row?.0)?.0),
    }
}

/// The changes of the versions from `first` to `last`, both included.
pub(crate) fn changes(
    snapshot: &dyn Snapshot,
    first: u64,
    last: u64,
    direction: Direction,
) -> Result<Changes, DbError> {
    let (from, to) = (row_key(first, 0), row_key(last, u32::MAX));
    let rows = snapshot.range(Bound::Included(&from[..]), Bound::Included(&to[..]), direction)?;
    Ok(Changes { rows })
}

/// What [`changes`] gives: version, key of the row and its changes.
pub(crate) struct Changes {
    rows: PairIter,
}

/// A row of the journal.
pub(crate) struct Row {
    pub(crate) version: u64,
    pub(crate) key: Bytes,
    value: Bytes,
}

impl Row {
    pub(crate) fn changes(&self) -> impl Iterator<Item = Result<Change, DbError>> + use<> {
        decode(&self.key, self.value.clone())
    }
}

impl Iterator for Changes {
    type Item = Result<Row, DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.map_err(DbError::from).and_then(|(key, value)| {
            let (version, _) = place_of(&key)?;
            Ok(Row { version, key, value })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_in_chunks() {
        let mut writer = Writer::default();
        let old = vec![7; 300_000];
        let pairs: Vec<(Vec<u8>, Option<&[u8]>)> = (0..20u8)
            .map(|i| (vec![i; usize::from(i) * 20], (i % 3 != 0).then_some(&old[..usize::from(i) * 10_000])))
            .collect();
        for (key, old) in &pairs {
            writer.push(key, *old);
        }
        let rows: Vec<_> = writer.rows(9).collect();
        assert!(rows.len() > 1);
        let mut found = Vec::new();
        for (i, (key, value)) in rows.iter().enumerate() {
            assert_eq!(place_of(key).unwrap(), (9, i as u32));
            found.extend(decode(key, value.clone()).map(|change| change.unwrap()));
        }
        let expected: Vec<_> = pairs
            .iter()
            .map(|(key, old)| Change { key: key.clone().into(), old: old.map(Bytes::copy_from_slice) })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn damaged_rows_are_errors() {
        let mut writer = Writer::default();
        writer.push(b"key", Some(b"value"));
        let (key, value) = writer.rows(1).next().unwrap();
        for cut in 1..value.len() {
            let changes: Vec<_> = decode(&key, value.slice(..cut)).collect();
            assert!(changes.len() == 1 && changes[0].is_err(), "cut at {cut}");
        }
        assert!(decode(&key, Bytes::from_static(&[0xff; 20])).next().unwrap().is_err());
    }
}
