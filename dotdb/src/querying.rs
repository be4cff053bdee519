//! Queries in a transaction: the planner and the executor of `dotdb-query` over a snapshot and pending writes.

mod saved;

use std::mem;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dotdb_query::{
    Absent, Budget, Counted, ExecuteError, Executor, Explain, IndexRow, KeyRange, Plan, PlanError, Prepared,
    Query, QueryError, RecordRow, Request, Row, RowRef, Source, Statistics, Token, Value, execute, plan,
};
use dotdb_store::{Direction, Page, PageReader, Snapshot, is_empty_range};
use hashbrown::DefaultHashBuilder;
use imbl::OrdMap;

use crate::collections::{CollectionId, ValueKind};
use crate::counters::{self, Merge, count_key};
use crate::cursor::{CursorId, MergedRange, Rows};
use crate::error::DbError;
use crate::index::split_entry;
use crate::keys::{INDEX_ENTRY, MAX_CURSORS, PREFIX_BYTES, RECORD, prefix, prefix_end, prefixed};
use crate::read_set::{Points, ReadSet};
use crate::tx::Tx;
use saved::Origin;

/// How a query is to be run.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Where the page before ended.
    pub token: Option<Token>,
    /// What it may take.
    pub budget: Budget,
}

/// A cursor's step, of which a row may take many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Whether the next row, or the end, is known.
    pub done: bool,
    /// Records and index entries examined.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// A query in execution, over the state as it was when it began.
pub(crate) struct QueryCursor {
    executor: Executor<QuerySource>,
    source: QuerySource,
    /// The executor's row waits to be taken.
    has_row: bool,
    /// The executor has no more rows.
    ended: bool,
    /// Steps that the executor was asked for.
    steps: u64,
    /// How it began, where the transaction can be written down.
    origin: Option<Box<Origin>>,
}

/// A collection and its indexes, as a transaction saw them at some moment.
pub(crate) struct QuerySource {
    snapshot: Arc<dyn Snapshot>,
    pending: OrdMap<Bytes, Option<Bytes>>,
    collection: u32,
    /// The number of each index that the planner was given.
    indexes: Arc<[u32]>,
    /// Records added and not committed, less those removed.
    added: i64,
    /// `None` if the transaction is read-only.
    reads: Option<Reads>,
    /// Rows examined by the planner.
    planning: Work,
    /// What the planner has counted, for the executor to begin with.
    dives: Vec<Dive>,
    /// A key under construction.
    key: Vec<u8>,
}

/// The first rows of a range, which the planner has counted.
struct Dive {
    /// `None` is of the records.
    index: Option<usize>,
    range: KeyRange,
    reading: Box<Reading>,
}

/// What a query has read, which also its cursors add to when they end.
struct Reads {
    set: Arc<Mutex<ReadSet>>,
    /// The transaction's.
    hasher: DefaultHashBuilder,
    points: Points,
}

fn lock(set: &Mutex<ReadSet>) -> MutexGuard<'_, ReadSet> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QuerySource {
    fn get_store_key(&mut self, key: &[u8]) -> Result<Option<Bytes>, DbError> {
        let mut value = Vec::new();
        Ok(self.get_store_key_into(key, &mut value)?.then(|| value.into()))
    }

    fn get_store_key_into(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, DbError> {
        if !self.pending.is_empty()
            && let Some(pending) = self.pending.get(key)
        {
            value.clear();
            value.extend_from_slice(pending.as_deref().unwrap_or_default());
            return Ok(pending.is_some());
        }
        if let Some(reads) = &self.reads {
            lock(&reads.set).add_point(reads.points.of(&reads.hasher, key));
        }
        Ok(self.snapshot.get_into(key, value)?)
    }

    /// What begins the store keys of an index's entries, or of the records.
    fn prefix(&self, index: Option<usize>) -> [u8; PREFIX_BYTES] {
        match index {
            Some(index) => prefix(INDEX_ENTRY, self.indexes[index]),
            None => prefix(RECORD, self.collection),
        }
    }

    fn bounds(&self, index: Option<usize>, range: &KeyRange) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let prefix = self.prefix(index);
        let to = match &range.end {
            Some(end) => Bound::Excluded(prefixed(&prefix, end)),
            None => prefix_end(&prefix),
        };
        (Bound::Included(prefixed(&prefix, &range.start)), to)
    }

    fn open(
        &self,
        index: Option<usize>,
        range: &KeyRange,
        reverse: bool,
        wanted: Option<u64>,
    ) -> Result<Box<Reading>, DbError> {
        let (from, to) = self.bounds(index, range);
        let direction = if reverse { Direction::Backward } else { Direction::Forward };
        let reads = self.reads.as_ref().map(|reads| Arc::clone(&reads.set));
        let rows = if self.has_pending(&from, &to) {
            let (from, to) = (from.clone(), to.clone());
            let rows = MergedRange::new(&*self.snapshot, self.pending.clone(), from, to, direction)?;
            Ahead::Merged(Box::new(if reads.is_some() { rows } else { rows.untracked() }))
        } else {
            let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
            Ahead::Pages(self.snapshot.pages(from, to, direction)?)
        };
        let next_rows = wanted.map_or(FIRST_PAGE_ROWS, |wanted| wanted.clamp(1, MAX_PAGE_ROWS));
        Ok(Box::new(Reading {
            rows,
            page: Page::new(),
            at: 0,
            looked: 0,
            ended: false,
            seen_end: false,
            // At most MAX_PAGE_ROWS.
            next_rows: next_rows as usize,
            bounds: (from, to),
            direction,
            reads,
        }))
    }

    /// Begins to read a range, with what the planner has read of it.
    fn read(
        &mut self,
        index: Option<usize>,
        range: &KeyRange,
        reverse: bool,
        wanted: Option<u64>,
    ) -> Result<Box<Reading>, DbError> {
        let is_it = |dive: &Dive| !reverse && dive.index == index && dive.range == *range;
        match self.dives.iter().position(is_it) {
            Some(position) => Ok(self.dives.swap_remove(position).reading),
            None => self.open(index, range, reverse, wanted),
        }
    }

    /// Adds what was read, all cursors having ended, to the transaction's.
    fn end(mut self, reads: &mut ReadSet) {
        self.dives.clear();
        if let Some(own) = self.reads {
            reads.merge(mem::take(&mut *lock(&own.set)));
        }
    }

    /// Counts rows of a range up to `cap`, going on where it was counted before.
    fn dive(&mut self, index: Option<usize>, range: &KeyRange, cap: u64) -> Result<u64, DbError> {
        let known = self.dives.iter().position(|dive| dive.index == index && dive.range == *range);
        let known = match known {
            Some(known) => known,
            None => {
                let reading = self.open(index, range, false, None)?;
                self.dives.push(Dive { index, range: range.clone(), reading });
                self.dives.len() - 1
            }
        };
        self.dives[known].reading.look_ahead(cap, &mut self.planning)
    }

    /// Whether a transaction's own writes are between two store keys.
    fn has_pending(&self, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
        let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        !self.pending.is_empty()
            && !is_empty_range(from, to)
            && self.pending.range::<_, [u8]>((from, to)).next().is_some()
    }
}

/// Rows of the first page that is read where it is not known how many are wanted; each has twice as many as the one
/// before.
const FIRST_PAGE_ROWS: u64 = 16;
/// Rows of the longest page.
const MAX_PAGE_ROWS: u64 = 128;

/// Where reading has come to. What it went over counts as read when it ends, what was only read ahead does not.
pub(crate) struct Reading {
    rows: Ahead,
    page: Page,
    /// Rows of the page that were given.
    at: usize,
    /// Rows of the page that were given or counted.
    looked: usize,
    /// There are no rows behind the page.
    ended: bool,
    /// It was told that there are no more rows.
    seen_end: bool,
    /// Rows of the next page.
    next_rows: usize,
    bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    direction: Direction,
    /// `None` if nobody validates what was read.
    reads: Option<Arc<Mutex<ReadSet>>>,
}

/// Where pages come from.
enum Ahead {
    /// The snapshot.
    Pages(PageReader),
    /// The snapshot with pending writes, which knows what was looked at: nothing is read ahead.
    Merged(Box<MergedRange>),
}

impl Reading {
    #[inline]
    fn next(&mut self) -> Result<Option<RecordRow<'_>>, DbError> {
        if self.at == self.page.len() {
            self.turn()?;
        }
        let row = self.page.row(self.at);
        if row.is_some() {
            self.at += 1;
            self.looked = self.looked.max(self.at);
        }
        Ok(row)
    }

    /// Goes on to the next page.
    #[inline(never)]
    fn turn(&mut self) -> Result<(), DbError> {
        if !self.ended {
            self.page.clear();
            (self.at, self.looked) = (0, 0);
            let rows = if matches!(self.rows, Ahead::Merged(_)) { 1 } else { self.next_rows };
            self.next_rows = (self.next_rows * 2).min(MAX_PAGE_ROWS as usize);
            self.fetch(rows)?;
        }
        self.seen_end |= self.page.len() == self.at;
        Ok(())
    }

    fn fetch(&mut self, rows: usize) -> Result<(), DbError> {
        let more = match &mut self.rows {
            Ahead::Pages(pages) => pages.read(rows, &mut self.page).map_err(DbError::from),
            Ahead::Merged(merged) => merged
                .by_ref()
                .take(rows)
                .try_for_each(|row| {
                    let (key, value) = row?;
                    self.page.push(&key, &value);
                    Ok(())
                })
                .map(|()| !merged.is_done()),
        };
        // After an error all of the range counts.
        self.seen_end |= more.is_err();
        self.ended = !*more.as_ref().unwrap_or(&false);
        more.map(drop)
    }

    /// How many rows are to come, at most `cap`; adds those read for it to `work`.
    fn look_ahead(&mut self, cap: u64, work: &mut Work) -> Result<u64, DbError> {
        let wanted = usize::try_from(cap).unwrap_or(usize::MAX);
        while self.page.len() - self.at < wanted && !self.ended {
            let (rows, bytes) = (self.page.len(), self.page.bytes());
            let result = self.fetch(wanted - (rows - self.at));
            work.rows += (self.page.len() - rows) as u64;
            work.bytes += (self.page.bytes() - bytes) as u64;
            result?;
        }
        let there = (self.page.len() - self.at).min(wanted);
        self.looked = self.looked.max(self.at + there);
        self.seen_end |= there < wanted;
        Ok(there as u64)
    }

    fn seen(&self) -> Option<(Bound<Bytes>, Bound<Bytes>)> {
        if let Ahead::Merged(merged) = &self.rows {
            return merged.seen();
        }
        let (from, to) = self.bounds.clone();
        let (from, to) = (from.map(Bytes::from), to.map(Bytes::from));
        if self.seen_end {
            return Some((from, to));
        }
        let last = self.looked.checked_sub(1).and_then(|last| self.page.row(last));
        let last = Bound::Included(Bytes::copy_from_slice(last?.0));
        Some(match self.direction {
            Direction::Forward => (from, last),
            Direction::Backward => (last, to),
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(reads) = &self.reads
            && let Some((from, to)) = self.seen()
        {
            lock(reads).add_range(from, to);
        }
    }
}

impl Source for QuerySource {
    type Error = DbError;
    type Records = Box<Reading>;
    type Entries = Box<Reading>;

    fn count(&mut self) -> Result<u64, DbError> {
        let key = count_key(self.collection);
        let committed = counters::decode(&key, self.get_store_key(&key)?.as_ref())?;
        Merge::Add(self.added).apply(&key, committed)
    }

    fn records(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        wanted: Option<u64>,
    ) -> Result<Box<Reading>, DbError> {
        self.read(None, range, reverse, wanted)
    }

    #[inline]
    fn next_record<'c>(&mut self, cursor: &'c mut Box<Reading>) -> Result<Option<RecordRow<'c>>, DbError> {
        let row = cursor.next()?;
        Ok(row.map(|(key, document)| (key.get(PREFIX_BYTES..).unwrap_or_default(), document)))
    }

    fn entries(
        &mut self,
        index: usize,
        range: &KeyRange,
        reverse: bool,
        wanted: Option<u64>,
    ) -> Result<Box<Reading>, DbError> {
        self.read(Some(index), range, reverse, wanted)
    }

    #[inline]
    fn next_entry<'c>(&mut self, cursor: &'c mut Box<Reading>) -> Result<Option<IndexRow<'c>>, DbError> {
        cursor.next()?.map(|(key, value)| split_entry(key, value)).transpose()
    }

    fn count_range(&mut self, index: Option<usize>, range: &KeyRange, cap: u64) -> Result<Counted, DbError> {
        let (from, to) = self.bounds(index, range);
        let (rows, last) = if self.has_pending(&from, &to) {
            let mut reading = self.open(index, range, false, None)?;
            let (mut rows, mut last) = (0, None);
            while rows < cap {
                let Some((key, _)) = reading.next()? else {
                    last = None;
                    break;
                };
                rows += 1;
                last = Some(Bytes::copy_from_slice(key));
            }
            (rows, last)
        } else {
            let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
            let counted = self.snapshot.count(from, to, cap)?;
            if let Some(reads) = &self.reads {
                let end = match &counted.last {
                    Some(last) => Bound::Included(last.clone()),
                    None => to.map(Bytes::copy_from_slice),
                };
                lock(&reads.set).add_range(from.map(Bytes::copy_from_slice), end);
            }
            (counted.pairs, counted.last)
        };
        let rest = last.and_then(|key| Some([key.get(PREFIX_BYTES..)?, &[0]].concat()));
        Ok(Counted { rows, rest })
    }

    fn get(&mut self, key: &[u8], document: &mut Vec<u8>) -> Result<bool, DbError> {
        let mut store_key = mem::take(&mut self.key);
        store_key.clear();
        store_key.extend_from_slice(&prefix(RECORD, self.collection));
        store_key.extend_from_slice(key);
        let found = self.get_store_key_into(&store_key, document);
        self.key = store_key;
        found
    }
}

impl Statistics for QuerySource {
    type Error = DbError;

    fn rows(&mut self) -> Result<u64, DbError> {
        self.count()
    }

    fn key_rows(&mut self, range: &KeyRange, cap: u64) -> Result<u64, DbError> {
        self.dive(None, range, cap)
    }

    fn index_rows(&mut self, index: usize, range: &KeyRange, cap: u64) -> Result<u64, DbError> {
        self.dive(Some(index), range, cap)
    }
}

impl QueryCursor {
    /// Reads at most one record or index entry with its record, unless a row is waiting.
    pub(crate) fn work(&mut self) -> Result<Work, DbError> {
        if self.has_row || self.ended {
            return Ok(Work { done: true, ..Work::default() });
        }
        let before = self.executor.counts();
        self.step()?;
        let after = self.executor.counts();
        Ok(Work {
            done: self.has_row || self.ended,
            rows: after.records + after.entries + after.fetched
                - before.records
                - before.entries
                - before.fetched,
            bytes: after.bytes - before.bytes,
        })
    }

    /// The row that waits to be taken.
    pub(crate) fn row(&self) -> Option<RowRef<'_>> {
        self.has_row.then(|| self.executor.row())
    }

    /// Takes the row that waits.
    pub(crate) fn take(&mut self) -> Option<Row> {
        mem::take(&mut self.has_row).then(|| self.executor.row().to_row())
    }

    /// Works until the next row, or the end, is known, and takes it.
    fn lend(&mut self) -> Result<Option<RowRef<'_>>, DbError> {
        while !self.has_row && !self.ended {
            self.step()?;
        }
        Ok(mem::take(&mut self.has_row).then(|| self.executor.row()))
    }

    /// Counts what the query has read as read by the transaction.
    pub(crate) fn add_to(self, reads: &mut ReadSet) {
        let QueryCursor { executor, source, .. } = self;
        drop(executor);
        source.end(reads);
    }
}

fn from_execution(error: ExecuteError<DbError>) -> DbError {
    match error {
        ExecuteError::Query(error) => error.into(),
        ExecuteError::Source(error) => error,
    }
}

impl Tx {
    /// [`Tx::query_prepared`] of a query that is run once.
    ///
    /// # Errors
    /// As there.
    pub fn query(
        &mut self,
        collection: CollectionId,
        query: &Query,
        parameters: &[Value],
        options: &QueryOptions,
    ) -> Result<(CursorId, Work), DbError> {
        self.query_prepared(collection, &Prepared::new(query.clone()), parameters, options)
    }

    /// Plans a query over a collection of documents and begins to execute it, on the state as it is now: later writes
    /// of the transaction do not show. The collection is the one given, whatever the query's FROM says. The cursor
    /// gives rows as any other does ([`Tx::cursor_entry`], [`Tx::next`], the key of a group being empty), or with
    /// [`Tx::query_next`].
    ///
    /// The plan depends on the state alone: on the number of records, and on counts of index ranges, which count as
    /// read. Answers the cursor, and what planning examined.
    ///
    /// # Errors
    /// [`DbError::NotDocuments`], [`DbError::Query`], [`DbError::TooManyCursors`].
    pub fn query_prepared(
        &mut self,
        collection: CollectionId,
        query: &Prepared,
        parameters: &[Value],
        options: &QueryOptions,
    ) -> Result<(CursorId, Work), DbError> {
        if self.cursors.len() >= MAX_CURSORS {
            return Err(DbError::TooManyCursors);
        }
        let (plan, mut source) = self.plan(collection, query, parameters, options)?;
        let planning = Work { done: true, ..source.planning };
        source.planning = Work::default();
        // What was counted of other ways is not read again.
        source.dives.retain(|dive| plan.reads(dive.index, &dive.range));
        let executor = execute(plan, options.budget);
        let origin = self.tracks_all.then(|| {
            let (query, parameters, options) = (query.clone(), parameters.to_vec(), options.clone());
            Box::new(Origin { collection, query, parameters, options })
        });
        let cursor = QueryCursor { executor, source, has_row: false, ended: false, steps: 0, origin };
        Ok((self.add_cursor(Rows::Query(Box::new(cursor))), planning))
    }

    /// What a query would do, and why, without doing it.
    ///
    /// # Errors
    /// Those of [`Tx::query`].
    pub fn explain(
        &mut self,
        collection: CollectionId,
        query: &Query,
        parameters: &[Value],
    ) -> Result<Explain, DbError> {
        let query = Prepared::new(query.clone());
        let (plan, source) = self.plan(collection, &query, parameters, &QueryOptions::default())?;
        source.end(&mut self.reads);
        Ok(plan.explain())
    }

    fn plan(
        &mut self,
        collection: CollectionId,
        query: &Prepared,
        parameters: &[Value],
        options: &QueryOptions,
    ) -> Result<(Plan, QuerySource), DbError> {
        let number = self.collection_number(collection)?;
        let (pending, added) = (self.pending_writes(), self.pending_counters(number).added);
        self.plan_on(collection, query, parameters, options, pending, added)
    }

    /// Plans a query on writes of the transaction, so many records having been added by them.
    fn plan_on(
        &mut self,
        collection: CollectionId,
        query: &Prepared,
        parameters: &[Value],
        options: &QueryOptions,
        pending: OrdMap<Bytes, Option<Bytes>>,
        added: i64,
    ) -> Result<(Plan, QuerySource), DbError> {
        let number = self.collection_number(collection)?;
        if self.collection_state(collection)?.kind != ValueKind::Document {
            return Err(DbError::NotDocuments);
        }
        let definitions = match self.collection_state(collection)?.has_definitions {
            true => self.definitions(number)?,
            false => Arc::default(),
        };
        let mut source = QuerySource {
            snapshot: Arc::clone(&self.snapshot),
            pending,
            collection: number,
            indexes: Arc::clone(&definitions.numbers),
            added,
            reads: (!self.read_only()).then(|| Reads {
                set: Arc::default(),
                hasher: self.records.hasher(),
                points: self.points,
            }),
            planning: Work::default(),
            dives: Vec::new(),
            key: Vec::new(),
        };
        let request = Request {
            query,
            parameters,
            indexes: &definitions.ready,
            schema: definitions.schema.as_ref(),
            token: options.token.as_ref(),
        };
        let plan = plan(&request, &mut source).map_err(|error| match error {
            PlanError::Query(error) => DbError::from(error),
            PlanError::Statistics(error) => error,
        })?;
        Ok((plan, source))
    }

    /// A query's next row, `None` at the end.
    ///
    /// # Errors
    /// [`DbError::UnknownCursor`], also for a cursor that is not of a query; what reading answers.
    pub fn query_next(&mut self, id: CursorId) -> Result<Option<Row>, DbError> {
        Ok(self.query_lend(id)?.map(|row| row.to_row()))
    }

    /// [`Tx::query_next`], the row being lent and not copied.
    ///
    /// # Errors
    /// As there.
    pub fn query_lend(&mut self, id: CursorId) -> Result<Option<RowRef<'_>>, DbError> {
        self.query_cursor(id)?.lend()
    }

    /// What a query does, and what it has touched so far.
    ///
    /// # Errors
    /// [`DbError::UnknownCursor`].
    pub fn query_explain(&mut self, id: CursorId) -> Result<Explain, DbError> {
        Ok(self.query_cursor(id)?.executor.explain())
    }

    /// Where the rows that a query gave so far end, for the next page; `None` if there is none.
    ///
    /// # Errors
    /// [`DbError::UnknownCursor`].
    pub fn query_token(&mut self, id: CursorId) -> Result<Option<Token>, DbError> {
        Ok(self.query_cursor(id)?.executor.token())
    }

    /// The paths of a query that no document had so far.
    ///
    /// # Errors
    /// [`DbError::UnknownCursor`].
    pub fn query_absent(&mut self, id: CursorId) -> Result<Vec<Absent>, DbError> {
        Ok(self.query_cursor(id)?.executor.absent())
    }

    fn query_cursor(&mut self, id: CursorId) -> Result<&mut QueryCursor, DbError> {
        match self.cursors.get_mut(&id.0) {
            Some(cursor) => match &mut cursor.rows {
                Rows::Query(query) => Ok(query),
                Rows::Records(_) => Err(DbError::UnknownCursor { id: id.0 }),
            },
            None => Err(DbError::UnknownCursor { id: id.0 }),
        }
    }
}

impl From<QueryError> for DbError {
    fn from(error: QueryError) -> DbError {
        DbError::Query(Box::new(error))
    }
}
