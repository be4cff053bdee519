//! Walking over the pairs of a snapshot: redb's cursor, the bound at which it stops, and what is checked of each row.
//!
//! redb's own ranges compare each key with the bound, and both ends with each other. A cursor does neither, and what it
//! leaves is compared here in words of eight bytes, which makes a step half as long.

use std::cmp::Ordering;
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::page::MAX_PAGE_BYTES;
use dotdb_store::{Counted, Direction, Page, Pages, StoreError};
use redb::{AccessGuard, Cursor, ReadableTable};
use self_cell::self_cell;

use crate::checksum::shown;
use crate::{Data, Held, error};

type Guard<'t> = AccessGuard<'t, &'static [u8]>;

/// Steps of a count between two comparisons with its bound.
const STRIDE: u64 = 16;

/// Rows from one bound to another.
pub(crate) struct Walk<'t> {
    cursor: Cursor<'t, &'static [u8], &'static [u8]>,
    /// Where it stops.
    end: Bound<Vec<u8>>,
    direction: Direction,
    /// The first key given of the page at hand, which keeps that page in memory.
    page: Option<Guard<'t>>,
    /// The addresses of the last key in it.
    place: Range<usize>,
    ended: bool,
}

impl<'t> Walk<'t> {
    /// Between bounds that are not crossed.
    pub(crate) fn new(
        data: &'t Data,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<Walk<'t>, StoreError> {
        let (cursor, end) = match direction {
            Direction::Forward => (data.lower_bound(from), to),
            Direction::Backward => (data.upper_bound(to), from),
        };
        let cursor = cursor.map_err(error::storage)?;
        Ok(Walk { cursor, end: end.map(<[u8]>::to_vec), direction, page: None, place: 0..0, ended: false })
    }

    /// Gives the next row, whose value has its checksum still, to `see`, and what that answers back; `None` at the end.
    #[inline]
    pub(crate) fn next<T>(
        &mut self,
        see: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let row = match self.direction {
            Direction::Forward => self.cursor.next(),
            Direction::Backward => self.cursor.prev(),
        };
        // Looked at where it lies: it is large, and would be copied.
        let Ok(Some((guard, stored))) = &row else {
            self.ended = true;
            return row.map(|_| None).map_err(error::storage);
        };
        let key = guard.value();
        if !is_before_end(key, &self.end, self.direction) {
            self.ended = true;
            return Ok(None);
        }
        let place = key.as_ptr_range();
        let place = place.start.addr()..place.end.addr();
        let turns = !follows_in_page(&self.place, &place, self.direction);
        if turns && let Some(page) = &self.page {
            check_order(page.value(), key, self.direction)?;
        }
        let seen = see(key, stored.value())?;
        self.place = place;
        if turns {
            self.page = row.ok().flatten().map(|(guard, _)| guard);
        }
        Ok(Some(seen))
    }
}

/// [`Snapshot::count`](dotdb_store::Snapshot::count) between bounds that are not crossed. Only some keys are compared
/// with the bound: behind the first one beyond it the cursor goes back.
pub(crate) fn count(
    data: &Data,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    cap: u64,
) -> Result<Counted, StoreError> {
    let mut walk = Walk::new(data, from, to, Direction::Forward)?;
    let mut pairs = 0;
    let mut last: Option<Guard<'_>> = None;
    while pairs < cap {
        let key = match walk.cursor.next() {
            Ok(Some((key, _))) => key,
            Ok(None) => return back(&mut walk, pairs),
            Err(error) => return Err(error::storage(error)),
        };
        pairs += 1;
        if pairs % STRIDE != 0 && pairs < cap {
            continue;
        }
        if !is_before_end(key.value(), &walk.end, Direction::Forward) {
            return back(&mut walk, pairs);
        }
        // Whoever counts on goes on behind it: a damaged inner page must not lead back.
        let in_order = match (&last, from) {
            (Some(last), _) => compare(last.value(), key.value()).is_lt(),
            (None, Bound::Included(from)) => compare(from, key.value()).is_le(),
            (None, Bound::Excluded(from)) => compare(from, key.value()).is_lt(),
            (None, Bound::Unbounded) => true,
        };
        if !in_order {
            return Err(out_of_order(key.value()));
        }
        last = Some(key);
    }
    Ok(Counted { pairs, last: last.map(|key| Bytes::copy_from_slice(key.value())) })
}

/// Takes those beyond the end, which are few, from the pairs that the cursor has gone over.
#[inline(never)]
fn back(walk: &mut Walk<'_>, mut pairs: u64) -> Result<Counted, StoreError> {
    while pairs > 0 {
        let Some((key, _)) = walk.cursor.prev().map_err(error::storage)? else { break };
        if is_before_end(key.value(), &walk.end, Direction::Forward) {
            break;
        }
        pairs -= 1;
    }
    Ok(Counted { pairs, last: None })
}

#[inline]
fn is_before_end(key: &[u8], end: &Bound<Vec<u8>>, direction: Direction) -> bool {
    let (end, included) = match end {
        Bound::Unbounded => return true,
        Bound::Included(end) => (end, true),
        Bound::Excluded(end) => (end, false),
    };
    match compare(key, end) {
        Ordering::Equal => included,
        order => (order == Ordering::Less) == (direction == Direction::Forward),
    }
}

/// As `a.cmp(b)`, without a call where they differ early or are short.
#[inline]
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    while let (Some((word_a, more_a)), Some((word_b, more_b))) =
        (rest_a.split_first_chunk::<8>(), rest_b.split_first_chunk::<8>())
    {
        if word_a != word_b {
            return u64::from_be_bytes(*word_a).cmp(&u64::from_be_bytes(*word_b));
        }
        (rest_a, rest_b) = (more_a, more_b);
    }
    rest_a.cmp(rest_b)
}

fn out_of_order(key: &[u8]) -> StoreError {
    StoreError::Corrupt { detail: format!("key {} is out of order", shown(key)) }
}

/// Whether a key lies in memory right behind the last one, whose page is still there, or backwards right before it:
/// then both are of one page, whose keys lie in order. They were written so if the page or their checksums are right.
#[inline]
fn follows_in_page(last: &Range<usize>, key: &Range<usize>, direction: Direction) -> bool {
    match direction {
        Direction::Forward => last.end == key.start && !key.is_empty(),
        Direction::Backward => key.end == last.start && !last.is_empty(),
    }
}

/// Whether a key comes after the first one of the page before: a damaged inner page may lead to rows that were given
/// before, again and again, but the keys of two leaves are never mixed.
#[inline(never)]
fn check_order(last: &[u8], key: &[u8], direction: Direction) -> Result<(), StoreError> {
    let in_order = match direction {
        Direction::Forward => last < key,
        Direction::Backward => last > key,
    };
    if in_order { Ok(()) } else { Err(out_of_order(key)) }
}

self_cell!(
    /// A walk with the snapshot that it goes over.
    struct Owned {
        owner: Arc<Held>,
        #[not_covariant]
        dependent: Walk,
    }
);

/// A range that is read a page at a time, each in one crossing into redb.
pub(crate) struct Reader {
    /// `None` at the end and after an error.
    walk: Option<Owned>,
}

impl Reader {
    /// Between bounds; crossed ones hold nothing.
    pub(crate) fn new(
        held: &Arc<Held>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<Reader, StoreError> {
        if dotdb_store::is_empty_range(from, to) {
            return Ok(Reader { walk: None });
        }
        let walk = Owned::try_new(Arc::clone(held), |held| {
            held.engine.contain(|| Walk::new(&held.data, from, to, direction))
        })?;
        Ok(Reader { walk: Some(walk) })
    }
}

impl Pages for Reader {
    fn read(&mut self, rows: usize, page: &mut Page) -> Result<bool, StoreError> {
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let start = page.bytes();
        let result = walk.with_dependent_mut(|held, walk| {
            let trust = held.trust();
            held.engine.contain(|| {
                let mut left = rows;
                while left > 0 && page.bytes() - start < MAX_PAGE_BYTES {
                    let seen = walk.next(|key, stored| {
                        page.push(key, trust.value(key, stored)?);
                        Ok(())
                    })?;
                    if seen.is_none() {
                        return Ok(false);
                    }
                    left -= 1;
                }
                Ok(true)
            })
        });
        if !matches!(result, Ok(true)) {
            self.walk = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_by_words_is_comparing() {
        let parts: [&[u8]; 9] =
            [b"", b"\0", b"\xff", b"1234567", b"12345678", b"123456789", b"12345678\0", b"12345679", b"x"];
        for a in parts.iter().flat_map(|a| parts.map(|b| [a, b].concat())) {
            for b in parts.iter().flat_map(|a| parts.map(|b| [a, b].concat())) {
                assert_eq!(compare(&a, &b), a.cmp(&b), "{a:?} {b:?}");
            }
        }
    }
}
