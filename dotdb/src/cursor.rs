//! Cursors: ranges over the snapshot with the transaction's writes merged in.

pub(crate) mod saved;

use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow};

use bytes::{Buf, Bytes};
use dotdb_store::{Direction, PairIter, Snapshot, StoreError, is_empty_range};
use imbl::OrdMap;

use crate::collections::CollectionId;
use crate::error::DbError;
use crate::keys::{
    MAX_CURSORS, MAX_KEY_BYTES, PREFIX_BYTES, RECORD, check_len, prefix, prefix_end, prefixed,
};
use crate::querying::{QueryCursor, Work};
use crate::read_set::ReadSet;
use crate::tx::Tx;

/// A cursor of a transaction. Ids start at 1 and are never given twice in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CursorId(pub u64);

pub(crate) struct Cursor {
    pub(crate) rows: Rows,
    /// The record the cursor stands before, once it was looked at.
    row: Option<(Bytes, Bytes)>,
    /// The last savepoint set when it was opened.
    pub(crate) opened_after: u64,
}

/// Where a cursor's rows come from.
pub(crate) enum Rows {
    Records(Box<MergedRange>),
    Query(Box<QueryCursor>),
}

/// A cursor's next row, looked up: what taking it costs, then taking it.
pub struct CursorEntry<'tx> {
    cursor: &'tx mut Cursor,
}

impl CursorEntry<'_> {
    /// Key and value of the next row, `None` at the end. Changes nothing.
    pub fn row(&self) -> Option<(&[u8], &[u8])> {
        match &self.cursor.rows {
            Rows::Records(_) => self.cursor.row.as_ref().map(|(key, value)| (&key[..], &value[..])),
            Rows::Query(query) => query.row().map(|row| (row.key.unwrap_or_default(), row.document)),
        }
    }

    /// Bytes of the next row's key and value, 0 at the end. Changes nothing.
    pub fn bytes(&self) -> usize {
        self.row().map_or(0, |(key, value)| key.len() + value.len())
    }

    /// Gives the next row and steps over it.
    pub fn take(self) -> Option<(Bytes, Bytes)> {
        match &mut self.cursor.rows {
            Rows::Records(_) => self.cursor.row.take(),
            Rows::Query(query) => query.take().map(|row| (row.key.unwrap_or_default(), row.document)),
        }
    }
}

impl Tx {
    /// Opens a cursor over the records of a collection between two keys, as they are now: later
    /// writes of the transaction do not show. It closes with the transaction, and with a rollback to
    /// a savepoint set before it was opened. Rows it gives count no touches.
    pub fn scan(
        &mut self,
        collection: CollectionId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<CursorId, DbError> {
        if self.cursors.len() >= MAX_CURSORS {
            return Err(DbError::TooManyCursors);
        }
        let (from, to) = self.record_bounds(collection, from, to)?;
        let pending = self.pending_writes();
        let mut rows = MergedRange::new(&*self.snapshot, pending, from, to, direction)?;
        if self.read_only() && !self.tracks_all {
            rows = rows.untracked();
        }
        Ok(self.add_cursor(Rows::Records(Box::new(rows))))
    }

    /// The store keys of the records between two keys.
    fn record_bounds(
        &mut self,
        collection: CollectionId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<StoreRange, DbError> {
        let number = self.collection_number(collection)?;
        let prefix = prefix(RECORD, number);
        for bound in [from, to] {
            if let Bound::Included(key) | Bound::Excluded(key) = bound {
                check_len("key of the range", key.len(), MAX_KEY_BYTES)?;
            }
        }
        let from = match from {
            Bound::Unbounded => Bound::Included(prefix.to_vec()),
            bound => bound.map(|key| prefixed(&prefix, key)),
        };
        let to = match to {
            Bound::Unbounded => prefix_end(&prefix),
            bound => bound.map(|key| prefixed(&prefix, key)),
        };
        Ok((from, to))
    }

    /// Shows the records of a collection between two keys, in the given direction, until `see` breaks off. They are
    /// lent and not copied: several times as fast as a cursor. What was shown, and that there is nothing between,
    /// counts as read; it counts no touches.
    ///
    /// # Errors
    /// [`DbError::UnknownCollection`]; [`DbError::TooLarge`] for a bound over [`MAX_KEY_BYTES`]; the store's.
    pub fn visit(
        &mut self,
        collection: CollectionId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), DbError> {
        let (from, to) = self.record_bounds(collection, from, to)?;
        let tracks = !self.read_only();
        if tracks {
            // Should `see` panic or the store fail, all of it counts.
            self.reads.add_range(from.clone().map(Bytes::from), to.clone().map(Bytes::from));
        }
        let mut last = None;
        let mut see = |key: &[u8], value: &[u8]| {
            let answer = see(key.get(PREFIX_BYTES..).unwrap_or_default(), value);
            if tracks && answer.is_break() {
                last = Some(Bytes::copy_from_slice(key));
            }
            answer
        };
        let (first, end) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        if self.has_pending_writes_between(first, end) {
            let pending = self.pending_writes();
            for row in MergedRange::new(&*self.snapshot, pending, from, to, direction)?.untracked() {
                let (key, value) = row?;
                if see(&key, &value).is_break() {
                    break;
                }
            }
        } else {
            self.snapshot.visit(first, end, direction, &mut see)?;
        }
        if let Some(last) = last {
            self.reads.end_last_range(last, direction);
        }
        Ok(())
    }

    /// Whether the transaction has written records, contracts or counters between two store keys.
    fn has_pending_writes_between(&mut self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
        self.records.dirty_len() > 0
            && !is_empty_range(from, to)
            && self.pending_writes().range::<_, [u8]>((from, to)).next().is_some()
    }

    pub(crate) fn add_cursor(&mut self, rows: Rows) -> CursorId {
        self.last_cursor += 1;
        let cursor = Cursor { rows, row: None, opened_after: self.last_savepoint };
        self.cursors.insert(self.last_cursor, cursor);
        CursorId(self.last_cursor)
    }

    /// Looks a cursor's next row up. For a query that can examine any number of rows: to bound or price that, call
    /// [`Tx::cursor_work`] first.
    pub fn cursor_entry(&mut self, id: CursorId) -> Result<CursorEntry<'_>, DbError> {
        let cursor = self.cursors.get_mut(&id.0).ok_or(DbError::UnknownCursor { id: id.0 })?;
        while !cursor.work()?.done {}
        Ok(CursorEntry { cursor })
    }

    /// Takes one step towards a cursor's next row: reads at most one record or index entry. Tells what was read, and
    /// whether the row, or the end, is known now. The rows of a scan need one step each.
    ///
    /// # Errors
    /// [`DbError::UnknownCursor`]; what reading answers; what ends a query early.
    pub fn cursor_work(&mut self, id: CursorId) -> Result<Work, DbError> {
        self.cursors.get_mut(&id.0).ok_or(DbError::UnknownCursor { id: id.0 })?.work()
    }

    /// Gives a cursor's next row, `None` at the end.
    pub fn next(&mut self, id: CursorId) -> Result<Option<(Bytes, Bytes)>, DbError> {
        Ok(self.cursor_entry(id)?.take())
    }

    /// Takes back the cursor that was opened last, as if it had not been: the next one gets its number.
    ///
    /// # Errors
    /// [`DbError::UnknownCursor`] for any other.
    pub fn withdraw(&mut self, id: CursorId) -> Result<(), DbError> {
        if id.0 != self.last_cursor {
            return Err(DbError::UnknownCursor { id: id.0 });
        }
        self.close(id)?;
        self.last_cursor -= 1;
        Ok(())
    }

    /// Closes a cursor.
    pub fn close(&mut self, id: CursorId) -> Result<(), DbError> {
        let cursor = self.cursors.remove(&id.0).ok_or(DbError::UnknownCursor { id: id.0 })?;
        if !self.read_only() {
            cursor.add_to(&mut self.reads);
        }
        Ok(())
    }
}

impl Cursor {
    #[inline]
    fn work(&mut self) -> Result<Work, DbError> {
        if self.row.is_some() {
            return Ok(Work { done: true, ..Work::default() });
        }
        match &mut self.rows {
            Rows::Records(rows) => {
                let row = rows.next().transpose()?;
                self.row = row.map(|(mut key, value)| {
                    key.advance(PREFIX_BYTES.min(key.len()));
                    (key, value)
                });
                let bytes = self.row.as_ref().map_or(0, |(key, value)| key.len() + value.len());
                Ok(Work { done: true, rows: u64::from(self.row.is_some()), bytes: bytes as u64 })
            }
            Rows::Query(query) => query.work(),
        }
    }

    /// Counts what the cursor went over as read.
    pub(crate) fn add_to(self, reads: &mut ReadSet) {
        match self.rows {
            Rows::Records(rows) => {
                if let Some((from, to)) = rows.seen() {
                    reads.add_range(from, to);
                }
            }
            Rows::Query(query) => query.add_to(reads),
        }
    }
}

/// Two store keys between which something lies.
type StoreRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A range of the snapshot with pending writes merged in; owns all it needs.
pub(crate) struct MergedRange {
    base: PairIter,
    /// The snapshot's next row, `None` at the end; means nothing unless `looked`.
    next_base: Option<Result<(Bytes, Bytes), StoreError>>,
    looked: bool,
    started: bool,
    /// Whether [`seen`](MergedRange::seen) is asked how far reading came.
    tracks: bool,
    /// All of the range, which the snapshot's rows are looked for in.
    bounds: (Bound<Bytes>, Bound<Bytes>),
    /// Key of the last of the snapshot's rows that was looked at, `None` after the end.
    last_base: Option<Bytes>,
    /// Pending writes; `None` hides a key of the snapshot.
    pending: OrdMap<Bytes, Option<Bytes>>,
    /// What of `pending` is still to come.
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    direction: Direction,
    /// First of `pending` still to come.
    next_pending: Option<(Bytes, Option<Bytes>)>,
    done: bool,
}

impl MergedRange {
    pub(crate) fn new(
        snapshot: &dyn Snapshot,
        pending: OrdMap<Bytes, Option<Bytes>>,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
    ) -> Result<MergedRange, StoreError> {
        let base =
            snapshot.range(from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]), direction)?;
        let (from, to) = (from.map(Bytes::from), to.map(Bytes::from));
        let mut range = MergedRange {
            base,
            next_base: None,
            looked: false,
            started: false,
            tracks: true,
            bounds: (from.clone(), to.clone()),
            last_base: None,
            pending,
            from,
            to,
            direction,
            next_pending: None,
            done: false,
        };
        range.step_pending();
        Ok(range)
    }

    /// Does not remember how far reading came: nobody validates it.
    pub(crate) fn untracked(mut self) -> MergedRange {
        self.tracks = false;
        self
    }

    /// Whether it is known that there are no more rows.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    fn step_base(&mut self) {
        self.looked = true;
        self.next_base = self.read_base();
    }

    #[inline]
    fn read_base(&mut self) -> Option<Result<(Bytes, Bytes), StoreError>> {
        self.started = true;
        let row = self.base.next();
        if self.tracks {
            self.last_base = match &row {
                Some(Ok((key, _))) => Some(key.clone()),
                _ => None,
            };
        }
        row
    }

    /// What of the snapshot was looked at: keys that are there, and that between them there are no others. `None`
    /// before the first look; all of the range if it is not tracked.
    pub(crate) fn seen(&self) -> Option<(Bound<Bytes>, Bound<Bytes>)> {
        let (from, to) = self.bounds.clone();
        match (&self.last_base, self.direction) {
            _ if !self.started => None,
            (None, _) => Some((from, to)),
            (Some(last), Direction::Forward) => Some((from, Bound::Included(last.clone()))),
            (Some(last), Direction::Backward) => Some((Bound::Included(last.clone()), to)),
        }
    }

    fn step_pending(&mut self) {
        self.next_pending = None;
        let from = self.from.as_ref().map(|key| &key[..]);
        let to = self.to.as_ref().map(|key| &key[..]);
        if self.pending.is_empty() || is_empty_range(from, to) {
            return;
        }
        let mut rows = self.pending.range::<_, [u8]>((from, to));
        let row = match self.direction {
            Direction::Forward => rows.next(),
            Direction::Backward => rows.next_back(),
        };
        let Some((key, value)) = row.map(|(key, value)| (key.clone(), value.clone())) else { return };
        match self.direction {
            Direction::Forward => self.from = Bound::Excluded(key.clone()),
            Direction::Backward => self.to = Bound::Excluded(key.clone()),
        }
        self.next_pending = Some((key, value));
    }
}

impl Iterator for MergedRange {
    type Item = Result<(Bytes, Bytes), DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next_pending.is_none() && !self.looked && !self.done {
            // Nothing is left to merge.
            let row = self.read_base();
            self.done = !matches!(row, Some(Ok(_)));
            return row.map(|row| row.map_err(DbError::from));
        }
        while !self.done {
            if !self.looked {
                self.step_base();
            }
            let order = match (&self.next_base, &self.next_pending) {
                (None, None) => break,
                (Some(Err(_)), _) => {
                    self.done = true;
                    return self.next_base.take().map(|row| row.map_err(DbError::from));
                }
                (Some(Ok(_)), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((pending, _))) => match self.direction {
                    Direction::Forward => base.cmp(pending),
                    Direction::Backward => pending.cmp(base),
                },
            };
            if order == Ordering::Less {
                self.looked = false;
                let row = self.next_base.take();
                return row.map(|row| row.map_err(DbError::from));
            }
            if order == Ordering::Equal {
                self.looked = false;
            }
            let row = self.next_pending.take();
            self.step_pending();
            if let Some((key, Some(value))) = row {
                return Some(Ok((key, value)));
            }
        }
        self.done = true;
        None
    }
}
