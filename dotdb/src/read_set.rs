//! What a transaction has read of its snapshot, as far as its caches do not tell.
//!
//! A transaction is serializable if nothing it has read was changed by the transactions committed since its
//! snapshot: no key, no absence, no range. What it only adds to (the number of records of a collection) does not
//! count as read.

use std::ops::Bound;

use bytes::Bytes;
use dotdb_store::Direction;
use hashbrown::DefaultHashBuilder;

use crate::cache::hash64;

/// How keys become the numbers that a [`ReadSet`] keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Points {
    /// By the transaction's own hasher, which no other process has.
    #[default]
    OfProcess,
    /// In a way that lasts.
    Lasting,
}

impl Points {
    /// The number of a key.
    #[inline]
    pub(crate) fn of(self, hasher: &DefaultHashBuilder, key: &[u8]) -> u64 {
        match self {
            Points::OfProcess => hash64(hasher, key),
            Points::Lasting => {
                let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(key).as_bytes();
                u64::from_le_bytes([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Keys are kept as 64-bit hashes: two that meet are at worst a conflict that was none.
#[derive(Default)]
pub(crate) struct ReadSet {
    pub(crate) points: Vec<u64>,
    /// Length at which repetitions are next taken out of `points`.
    compact_at: usize,
    pub(crate) ranges: Vec<(Bound<Bytes>, Bound<Bytes>)>,
    /// So much was read that anything counts as read.
    pub(crate) everything: bool,
}

/// Most keys kept one by one.
const MAX_POINTS: usize = 1 << 22;
/// Most ranges kept one by one.
const MAX_RANGES: usize = 1 << 16;
const FIRST_COMPACTION: usize = 1 << 12;

impl ReadSet {
    /// A key's hash, by the transaction's own hasher.
    #[inline]
    pub(crate) fn add_point(&mut self, hash: u64) {
        if self.everything {
            return;
        }
        if self.points.len() >= self.compact_at.max(FIRST_COMPACTION) {
            self.compact();
        }
        self.points.push(hash);
    }

    #[cold]
    fn compact(&mut self) {
        self.points.sort_unstable();
        self.points.dedup();
        if self.points.len() >= MAX_POINTS {
            self.everything = true;
            self.points = Vec::new();
        }
        self.compact_at = self.points.len() * 2;
    }

    pub(crate) fn add_range(&mut self, from: Bound<Bytes>, to: Bound<Bytes>) {
        if self.ranges.len() >= MAX_RANGES {
            self.everything = true;
            self.ranges = Vec::new();
        }
        if !self.everything {
            self.ranges.push((from, to));
        }
    }

    /// The range added last was read in this direction, and only as far as to a key.
    pub(crate) fn end_last_range(&mut self, last: Bytes, direction: Direction) {
        if let Some((from, to)) = self.ranges.last_mut() {
            match direction {
                Direction::Forward => *to = Bound::Included(last),
                Direction::Backward => *from = Bound::Included(last),
            }
        }
    }

    /// From now on anything counts as read.
    pub(crate) fn add_everything(&mut self) {
        *self = ReadSet { everything: true, ..ReadSet::default() };
    }

    /// Adds all that another has, whose points are by the same hasher.
    pub(crate) fn merge(&mut self, other: ReadSet) {
        self.everything |= other.everything;
        for point in other.points {
            self.add_point(point);
        }
        for (from, to) in other.ranges {
            self.add_range(from, to);
        }
    }

    /// Sorts, so that [`contains`](ReadSet::contains) can search.
    pub(crate) fn seal(&mut self) {
        self.points.sort_unstable();
    }

    /// Whether a key, whose hash is given, was read.
    pub(crate) fn contains(&self, key: &[u8], hash: impl FnOnce() -> u64) -> bool {
        if self.everything {
            return true;
        }
        let inside = |(from, to): &(Bound<Bytes>, Bound<Bytes>)| {
            let above = match from {
                Bound::Included(from) => key >= &from[..],
                Bound::Excluded(from) => key > &from[..],
                Bound::Unbounded => true,
            };
            above
                && match to {
                    Bound::Included(to) => key <= &to[..],
                    Bound::Excluded(to) => key < &to[..],
                    Bound::Unbounded => true,
                }
        };
        self.ranges.iter().any(inside)
            || (!self.points.is_empty() && self.points.binary_search(&hash()).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_ranges_are_found() {
        let mut reads = ReadSet::default();
        for _ in 0..3 {
            for hash in (0..10_000).rev() {
                reads.add_point(hash * 2);
            }
        }
        assert!(reads.points.len() <= 20_000, "{}", reads.points.len());
        reads.add_range(Bound::Excluded(Bytes::from("b")), Bound::Included(Bytes::from("d")));
        reads.add_range(Bound::Unbounded, Bound::Excluded(Bytes::from("B")));
        reads.end_last_range(Bytes::from("A"), Direction::Backward);
        reads.seal();
        for (key, hash, found) in [
            ("b", 1, false),
            ("c", 1, true),
            ("d", 1, true),
            ("e", 1, false),
            ("e", 9_998, true),
            ("@", 1, false),
            ("A", 1, true),
            ("AA", 1, true),
            ("B", 1, false),
        ] {
            assert_eq!(reads.contains(key.as_bytes(), || hash), found, "{key} {hash}");
        }
    }

    #[test]
    fn too_many_reads_conflict_with_everything() {
        let mut reads = ReadSet::default();
        for hash in 0..=MAX_POINTS as u64 * 2 {
            reads.add_point(hash);
        }
        reads.seal();
        assert!(reads.contains(b"whatever", || u64::MAX) && reads.points.len() <= MAX_POINTS);
    }
}
