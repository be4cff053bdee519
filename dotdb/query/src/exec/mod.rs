//! The executor: it pulls rows from a source, one small step at a time.

mod entry_row;
mod groups;
mod rows;

use std::collections::BTreeMap;

use bytes::Bytes;

use entry_row::Shown;

use crate::QueryError;
use crate::absent::{Absent, Watch};
use crate::explain::{Counts, Explain};
use crate::group::Group;
use crate::page::{Position, Token};
use crate::plan::{Grouping, Plan};
use crate::source::{Counted, KeyRange, Source};
use crate::value::Value;

/// Most rows that a step counts.
const COUNT_STEP: u64 = 1024;

/// What a query may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most records and index entries read.
    pub rows: u64,
    /// Most bytes of keys, entries and documents read.
    pub bytes: u64,
    /// Most bytes held for sorting and grouping.
    pub memory_bytes: u64,
}

impl Default for Budget {
    /// Rows and bytes without bound, 64 MiB of memory.
    fn default() -> Budget {
        Budget { rows: u64::MAX, bytes: u64::MAX, memory_bytes: 64 << 20 }
    }
}

/// A row of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The record's key; `None` if the row is of a group.
    pub key: Option<Bytes>,
    /// The record's document, or the columns asked for as a document.
    pub document: Bytes,
}

/// A row of the result, as long as the executor does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef<'r> {
    /// As [`Row::key`].
    pub key: Option<&'r [u8]>,
    /// As [`Row::document`].
    pub document: &'r [u8],
}

impl RowRef<'_> {
    /// The row, to be kept.
    #[must_use]
    pub fn to_row(&self) -> Row {
        Row { key: self.key.map(Bytes::copy_from_slice), document: Bytes::copy_from_slice(self.document) }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// [`Executor::row`] is another row of the result.
    Row,
    /// Something was read; there is more to do.
    Working,
    /// There are no more rows.
    Done,
}

/// What a step came to, with its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A row of the result.
    Row(Row),
    /// Something was read; there is more to do.
    Working,
    /// There are no more rows.
    Done,
}

/// Why executing ends early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError<E> {
    /// The query's own: a budget, damaged data.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Reading failed.
    #[error("{0}")]
    Source(E),
}

/// Begins to execute a plan.
#[must_use]
pub fn execute<S: Source>(plan: Plan, budget: Budget) -> Executor<S> {
    Executor {
        skip: plan.bound.offset,
        left: plan.bound.limit,
        stage: Stage::Start,
        counts: Counts::default(),
        groups: BTreeMap::new(),
        sorted: BTreeMap::new(),
        memory: 0,
        last: None,
        exhausted: false,
        watch: Watch::new(plan.bound.prepared.paths()),
        values: Vec::new(),
        shown: None,
        fetched: Vec::new(),
        document: Vec::new(),
        key: Vec::new(),
        has_key: false,
        last_entry: Vec::new(),
        plan,
        budget,
    }
}

/// A query in execution.
pub struct Executor<S: Source> {
    plan: Plan,
    budget: Budget,
    stage: Stage<S>,
    /// By encoded group key. When groups come one after the other it holds one.
    groups: BTreeMap<Vec<u8>, Group>,
    /// By sort key, then by id.
    sorted: BTreeMap<(Vec<u8>, Vec<u8>), Row>,
    /// Bytes held by `groups` and `sorted`.
    memory: u64,
    skip: u64,
    left: Option<u64>,
    last: Option<Last>,
    exhausted: bool,
    counts: Counts,
    watch: Watch,
    /// The values of the entry that was read last.
    values: Vec<Value>,
    /// Where rows of the index with this number have the columns of the result, if they have all.
    shown: Option<(usize, Option<Vec<Shown>>)>,
    /// The document that was fetched last.
    fetched: Vec<u8>,
    /// The row that was given last, or the document of one under construction.
    document: Vec<u8>,
    /// The key of the row that was given last.
    key: Vec<u8>,
    has_key: bool,
    /// The index entry of the row that was given last.
    last_entry: Vec<u8>,
}

/// Where the rows so far end.
enum Last {
    /// In this one of the plan's ways, at the entry and the key given last.
    Scan {
        access: usize,
    },
    Sorted {
        sort_key: Vec<u8>,
        id: Vec<u8>,
    },
}

/// A range of the plan: of which way, and its number there.
#[derive(Clone, Copy, Default)]
struct Place {
    access: usize,
    range: usize,
}

impl Place {
    fn next(self) -> Place {
        Place { range: self.range + 1, ..self }
    }
}

enum Stage<S: Source> {
    Start,
    /// Between ranges: which is next.
    Range(Place),
    Records(Place, S::Records),
    Entries(Place, S::Entries),
    /// Rows are counted: in the range with this number from there on, after so many.
    Count {
        range: usize,
        from: Option<Vec<u8>>,
        rows: u64,
    },
    /// The first row of the probe with this number is wanted; results so far.
    Probe(usize, Vec<Value>),
    /// Groups are taken from `groups`.
    Groups,
    /// Rows are taken from `sorted`.
    Sorted,
    Done,
}

type Executed<T, S> = Result<T, ExecuteError<<S as Source>::Error>>;

impl<S: Source> Executor<S> {
    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// [`ExecuteError`]; executing ends with it.
    pub fn next(&mut self, source: &mut S) -> Executed<Option<Row>, S> {
        loop {
            match self.step(source)? {
                Step::Row(row) => return Ok(Some(row)),
                Step::Working => {}
                Step::Done => return Ok(None),
            }
        }
    }

    /// Reads at most one record or index entry, with the record of that entry, or counts at most 1,024 of them.
    ///
    /// # Errors
    /// As [`Executor::next`].
    pub fn step(&mut self, source: &mut S) -> Executed<Step, S> {
        Ok(match self.progress(source)? {
            Progress::Row => Step::Row(self.row().to_row()),
            Progress::Working => Step::Working,
            Progress::Done => Step::Done,
        })
    }

    /// As [`step`](Executor::step), the row being lent by [`row`](Executor::row).
    ///
    /// # Errors
    /// As [`Executor::next`].
    pub fn progress(&mut self, source: &mut S) -> Executed<Progress, S> {
        let result = self.advance(source);
        match &result {
            Ok(Progress::Row) => self.counts.results += 1,
            Ok(_) => {}
            Err(_) => self.stage = Stage::Done,
        }
        result
    }

    /// The row of the last step, if that came to a row.
    #[must_use]
    pub fn row(&self) -> RowRef<'_> {
        RowRef { key: self.has_key.then_some(&self.key[..]), document: &self.document }
    }

    /// What was touched so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Where the rows so far end: the next page begins there. `None` if there is no more, or no row
    /// was given yet.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        let last = self.last.as_ref().filter(|_| !self.exhausted)?;
        let accesses = self.plan.accesses().len();
        let name = |access| self.plan.index_of(access).map(|index| index.name.clone());
        let position = match last {
            Last::Sorted { sort_key, id } => Position::Sorted { sort_key: sort_key.clone(), id: id.clone() },
            Last::Scan { access } if accesses > 1 => Position::Union {
                indexes: (0..accesses).map(name).collect(),
                // Ways have a range each, of which there are few.
                access: *access as u32,
                entry: self.last_entry.clone(),
                key: self.key.clone(),
            },
            Last::Scan { access } => Position::Scan {
                index: name(*access),
                reverse: self.plan.reverse(),
                entry: self.last_entry.clone(),
                key: self.key.clone(),
            },
        };
        Some(Token { mark: self.plan.bound.mark(), position })
    }

    /// The plan, with what was touched so far.
    #[must_use]
    pub fn explain(&self) -> Explain {
        Explain { actual: Some(self.counts), ..self.plan.explain() }
    }

    /// The query's paths that no document had so far, if any document was read.
    #[must_use]
    pub fn absent(&self) -> Vec<Absent> {
        self.watch.absent()
    }

    fn advance(&mut self, source: &mut S) -> Executed<Progress, S> {
        if self.left == Some(0) {
            self.stage = Stage::Done;
            return Ok(Progress::Done);
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Start => self.start(source),
            Stage::Range(place) => self.open(place, source),
            Stage::Records(place, mut cursor) => {
                let record = source.next_record(&mut cursor).map_err(ExecuteError::Source)?;
                let Some((key, document)) = record else {
                    self.stage = Stage::Range(place.next());
                    return Ok(Progress::Working);
                };
                self.counts.records += 1;
                self.charge(key.len() + document.len())?;
                let mut progress = Progress::Working;
                if self.is_first(place.access, &[], key, document)? {
                    progress = self.record(place.access, &[], key, document)?;
                }
                self.stage = Stage::Records(place, cursor);
                Ok(progress)
            }
            Stage::Entries(place, mut cursor) => {
                let row = source.next_entry(&mut cursor).map_err(ExecuteError::Source)?;
                let Some(row) = row else {
                    self.stage = Stage::Range(place.next());
                    return Ok(Progress::Working);
                };
                self.counts.entries += 1;
                self.charge(row.entry.len() + row.key.len())?;
                let progress = self.entry(place.access, row, source)?;
                self.stage = Stage::Entries(place, cursor);
                Ok(progress)
            }
            Stage::Count { range, from, rows } => self.count(range, from, rows, source),
            Stage::Probe(number, results) => self.probe(number, results, source),
            Stage::Groups => {
                let Some((encoded, group)) = self.groups.pop_first() else {
                    self.stage = if self.plan.sort { Stage::Sorted } else { Stage::Done };
                    self.exhausted |= !self.plan.sort;
                    return Ok(if self.plan.sort { Progress::Working } else { Progress::Done });
                };
                self.stage = Stage::Groups;
                self.memory = self.memory.saturating_sub(encoded.len() as u64 + group.bytes());
                Ok(self.finish_group(encoded, group)?)
            }
            Stage::Sorted => {
                let Some(((sort_key, id), row)) = self.sorted.pop_first() else {
                    self.exhausted = true;
                    return Ok(Progress::Done);
                };
                self.stage = Stage::Sorted;
                Ok(self.emit_kept(row, sort_key, id))
            }
            Stage::Done => Ok(Progress::Done),
        }
    }

    fn start(&mut self, source: &mut S) -> Executed<Progress, S> {
        match &self.plan.grouping {
            Grouping::None => self.stage = Stage::Range(Place::default()),
            Grouping::Streaming | Grouping::Collected => {
                // Functions over no rows have a result, groups of no rows do not exist.
                if self.plan.bound.prepared.query().group_by.is_empty() {
                    let group = Group::new(vec![], self.plan.bound.prepared.aggregates());
                    self.groups.insert(vec![], group);
                    self.counts.groups += 1;
                }
                self.stage = Stage::Range(Place::default());
            }
            Grouping::Count => {
                let count = source.count().map_err(ExecuteError::Source)?;
                return self.one_group(vec![Value::from(count)]);
            }
            Grouping::CountRanges => self.stage = Stage::Count { range: 0, from: None, rows: 0 },
            Grouping::Ends(_) => self.stage = Stage::Probe(0, vec![]),
        }
        Ok(Progress::Working)
    }

    /// Opens a range, in the order of the scan.
    fn open(&mut self, place: Place, source: &mut S) -> Executed<Progress, S> {
        let reverse = self.plan.reverse();
        let Some(access) = self.plan.accesses().get(place.access) else {
            self.stage = match (&self.plan.grouping, self.plan.sort) {
                (Grouping::None, false) => Stage::Done,
                (Grouping::None, true) => Stage::Sorted,
                _ => Stage::Groups,
            };
            self.exhausted = matches!(self.stage, Stage::Done);
            return Ok(if self.exhausted { Progress::Done } else { Progress::Working });
        };
        let ranges = &access.ranges;
        let at = if reverse { ranges.len().checked_sub(place.range + 1) } else { Some(place.range) };
        let Some(range) = at.and_then(|at| ranges.get(at)) else {
            self.stage = Stage::Range(Place { access: place.access + 1, range: 0 });
            return Ok(Progress::Working);
        };
        let mut range = range.clone();
        let passed = match &self.plan.resume {
            Some(Position::Scan { entry, key, .. }) => Some([&entry[..], key].concat()),
            Some(Position::Union { access, entry, key, .. }) if *access as usize == place.access => {
                Some([&entry[..], key].concat())
            }
            Some(Position::Union { access, .. }) if *access as usize > place.access => {
                self.stage = Stage::Range(Place { access: place.access + 1, range: 0 });
                return Ok(Progress::Working);
            }
            _ => None,
        };
        if let Some(mut last) = passed {
            if reverse {
                if range.end.as_ref().is_none_or(|end| *end > last) {
                    range.end = Some(last);
                }
            } else {
                last.push(0);
                range.start = range.start.max(last);
            }
        }
        if range.is_empty() {
            self.stage = Stage::Range(place.next());
            return Ok(Progress::Working);
        }
        // Each row read is a row of the result, as far as can be told.
        let is_direct =
            !self.plan.sort && matches!(self.plan.grouping, Grouping::None) && self.plan.filter.is_none();
        let wanted = self.left.filter(|_| is_direct && self.plan.entry_filter.is_none());
        let wanted = wanted.map(|left| left.saturating_add(self.skip));
        self.stage = match access.index {
            None => {
                let records = source.records(&range, reverse, wanted);
                Stage::Records(place, records.map_err(ExecuteError::Source)?)
            }
            Some(index) => {
                let entries = source.entries(index, &range, reverse, wanted);
                Stage::Entries(place, entries.map_err(ExecuteError::Source)?)
            }
        };
        Ok(Progress::Working)
    }

    /// Counts rows of a range; the result is known after the last.
    fn count(
        &mut self,
        number: usize,
        from: Option<Vec<u8>>,
        rows: u64,
        source: &mut S,
    ) -> Executed<Progress, S> {
        let range =
            self.plan.accesses().first().and_then(|access| Some((access.index, access.ranges.get(number)?)));
        let Some((index, range)) = range else {
            return self.one_group(vec![Value::from(rows)]);
        };
        let range = KeyRange { start: from.unwrap_or_else(|| range.start.clone()), end: range.end.clone() };
        let counted = match range.is_empty() {
            true => Counted { rows: 0, rest: None },
            false => source.count_range(index, &range, COUNT_STEP).map_err(ExecuteError::Source)?,
        };
        match index {
            None => self.counts.records += counted.rows,
            Some(_) => self.counts.entries += counted.rows,
        }
        self.charge(0)?;
        let rows = rows + counted.rows;
        self.stage = match counted.rest {
            Some(rest) => Stage::Count { range: number, from: Some(rest), rows },
            None => Stage::Count { range: number + 1, from: None, rows },
        };
        Ok(Progress::Working)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.counts.bytes = self.counts.bytes.saturating_add(bytes as u64);
        let rows = self.counts.records + self.counts.entries + self.counts.fetched;
        let advice = || "an index on what the query compares makes it read less".to_owned();
        if rows > self.budget.rows {
            return Err(QueryError::Budget { limit: self.budget.rows, unit: "rows", advice: advice() });
        }
        if self.counts.bytes > self.budget.bytes {
            return Err(QueryError::Budget { limit: self.budget.bytes, unit: "bytes", advice: advice() });
        }
        Ok(())
    }

    fn hold(&mut self, bytes: u64, what: &'static str) -> Result<(), QueryError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory <= self.budget.memory_bytes {
            return Ok(());
        }
        let advice = match what {
            "sorting" => "add an index on what ORDER BY names, or a LIMIT",
            _ => "add an index on what GROUP BY names, or a condition",
        };
        Err(QueryError::Memory { what, limit_bytes: self.budget.memory_bytes, advice: advice.to_owned() })
    }
}
