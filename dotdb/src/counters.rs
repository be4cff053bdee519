//! What a transaction adds to a collection's counters without reading them.
//!
//! Transactions that add records to one collection do not conflict over its number of records: each carries
//! what it adds, and the sum is formed when they are committed, one after the other.

use bytes::Bytes;

use crate::error::DbError;
use crate::keys::{COUNTER, PREFIX_BYTES, corrupt, prefix};

/// What a transaction does to a collection's two counters.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Records added, less those removed.
    pub(crate) added: i64,
    /// Greatest 8-byte key put, 0 if none.
    pub(crate) greatest: u64,
}

/// One counter's change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Merge {
    /// Adds.
    Add(i64),
    /// Raises to at least this.
    Max(u64),
}

impl Merge {
    /// The counter's new value.
    pub(crate) fn apply(self, key: &[u8], value: u64) -> Result<u64, DbError> {
        match self {
            Merge::Add(added) => value
                .checked_add_signed(added)
                .ok_or_else(|| corrupt(key, "does not count the records there are")),
            Merge::Max(least) => Ok(value.max(least)),
        }
    }
}

/// Under which the two counters of a collection are cached: the prefix of their keys.
pub(crate) fn counters_key(collection: u32) -> [u8; PREFIX_BYTES] {
    prefix(COUNTER, collection)
}

/// Key of a collection's number of records.
pub(crate) fn count_key(collection: u32) -> [u8; PREFIX_BYTES + 1] {
    counter_key(&counters_key(collection), 0)
}

/// Key of a collection's greatest 8-byte key.
pub(crate) fn greatest_key(collection: u32) -> [u8; PREFIX_BYTES + 1] {
    counter_key(&counters_key(collection), 1)
}

fn counter_key(prefix: &[u8; PREFIX_BYTES], which: u8) -> [u8; PREFIX_BYTES + 1] {
    let [tag, a, b, c, d] = *prefix;
    [tag, a, b, c, d, which]
}

impl Counters {
    /// The changes, with the keys of the counters that `prefix` begins.
    pub(crate) fn merges(self, prefix: &[u8]) -> impl Iterator<Item = (Bytes, Merge)> {
        let changes = [
            (self.added != 0).then_some((0, Merge::Add(self.added))),
            (self.greatest != 0).then_some((1, Merge::Max(self.greatest))),
        ];
        let prefix = prefix.to_vec();
        changes
            .into_iter()
            .flatten()
            .map(move |(which, merge)| ([&prefix[..], &[which]].concat().into(), merge))
    }
}

/// Decodes a counter, absent ones being 0.
pub(crate) fn decode(key: &[u8], value: Option<&Bytes>) -> Result<u64, DbError> {
    match value {
        None => Ok(0),
        Some(value) => {
            let bytes = value[..].try_into().map_err(|_| corrupt(key, "is not a counter"))?;
            Ok(u64::from_be_bytes(bytes))
        }
    }
}

/// A counter as it is stored.
pub(crate) fn encode(value: u64) -> Option<Bytes> {
    (value != 0).then(|| Bytes::copy_from_slice(&value.to_be_bytes()))
}
