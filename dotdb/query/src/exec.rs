//! The executor: it pulls rows from a source, one small step at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::QueryError;
use crate::absent::{Absent, Watch};
use crate::cbor;
use crate::encoding;
use crate::error::hex;
use crate::eval::{self, Record};
use crate::explain::{Counts, Explain};
use crate::group::{self, Finished, Group};
use crate::index::{self, IndexPath, IndexSpec, decode_entry};
use crate::page::{Position, Token};
use crate::plan::{Grouping, Plan, Probe};
use crate::query::{Expr, Function};
use crate::source::{KeyRange, Source};
use crate::value::{Malformed, Value, ValueRef};

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

/// What a step came to.
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
    let aggregates = group::aggregates(&plan.query);
    let watch = Watch::new(&plan.query);
    let mut columns: Vec<usize> = (0..plan.query.columns.as_deref().unwrap_or_default().len()).collect();
    let names: Vec<Vec<u8>> = plan
        .query
        .columns
        .iter()
        .flatten()
        .map(|column| {
            let mut name = Vec::new();
            cbor::write_text(&mut name, &column.name);
            name
        })
        .collect();
    columns.sort_by(|&a, &b| names[a].cmp(&names[b]));
    Executor {
        skip: plan.offset,
        left: plan.limit,
        stage: Stage::Start,
        counts: Counts::default(),
        groups: BTreeMap::new(),
        sorted: BTreeMap::new(),
        memory: 0,
        last: None,
        exhausted: false,
        columns,
        names,
        aggregates,
        watch,
        plan,
        budget,
    }
}

/// A query in execution.
pub struct Executor<S: Source> {
    plan: Plan,
    budget: Budget,
    aggregates: Vec<(Function, Option<Expr>)>,
    /// Positions of the columns in the order of the resulting document.
    columns: Vec<usize>,
    /// The columns' encoded names.
    names: Vec<Vec<u8>>,
    stage: Stage<S>,
    /// By encoded group key. When groups come one after the other it holds one.
    groups: BTreeMap<Vec<u8>, Group>,
    /// By sort key, then by id.
    sorted: BTreeMap<(Vec<u8>, Vec<u8>), Row>,
    /// Bytes held by `groups` and `sorted`.
    memory: u64,
    skip: u64,
    left: Option<u64>,
    last: Option<Position>,
    exhausted: bool,
    counts: Counts,
    watch: Watch,
}

enum Stage<S: Source> {
    Start,
    /// Between ranges: the number of the next.
    Range(usize),
    Records(usize, S::Records),
    Entries(usize, S::Entries),
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

    /// Reads at most one record or index entry, with the record of that entry.
    ///
    /// # Errors
    /// As [`Executor::next`].
    pub fn step(&mut self, source: &mut S) -> Executed<Step, S> {
        let result = self.advance(source);
        match &result {
            Ok(Step::Row(_)) => self.counts.results += 1,
            Ok(_) => {}
            Err(_) => self.stage = Stage::Done,
        }
        result
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
        let position = self.last.clone().filter(|_| !self.exhausted)?;
        Some(Token { mark: self.plan.mark, position })
    }

    /// The plan, with what was touched so far.
    #[must_use]
    pub fn explain(&self) -> Explain {
        Explain { actual: Some(self.counts), ..self.plan.explain.clone() }
    }

    /// The query's paths that no document had so far, if any document was read.
    #[must_use]
    pub fn absent(&self) -> Vec<Absent> {
        self.watch.absent()
    }

    fn advance(&mut self, source: &mut S) -> Executed<Step, S> {
        if self.left == Some(0) {
            self.stage = Stage::Done;
            return Ok(Step::Done);
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Start => self.start(source),
            Stage::Range(number) => self.open(number, source),
            Stage::Records(number, mut cursor) => {
                let record = source.next_record(&mut cursor).map_err(ExecuteError::Source)?;
                let Some((key, document)) = record else {
                    self.stage = Stage::Range(number + 1);
                    return Ok(Step::Working);
                };
                self.stage = Stage::Records(number, cursor);
                self.counts.records += 1;
                self.charge(key.len() + document.len())?;
                self.record(None, key, document)
            }
            Stage::Entries(number, mut cursor) => {
                let entry = source.next_entry(&mut cursor).map_err(ExecuteError::Source)?;
                let Some((entry, key)) = entry else {
                    self.stage = Stage::Range(number + 1);
                    return Ok(Step::Working);
                };
                self.stage = Stage::Entries(number, cursor);
                self.counts.entries += 1;
                self.charge(entry.len() + key.len())?;
                self.entry(entry, key, source)
            }
            Stage::Probe(number, results) => self.probe(number, results, source),
            Stage::Groups => {
                let Some((encoded, group)) = self.groups.pop_first() else {
                    self.stage = if self.plan.sort { Stage::Sorted } else { Stage::Done };
                    self.exhausted |= !self.plan.sort;
                    return Ok(if self.plan.sort { Step::Working } else { Step::Done });
                };
                self.stage = Stage::Groups;
                self.memory = self.memory.saturating_sub(encoded.len() as u64 + group.bytes());
                Ok(self.finish_group(encoded, group)?)
            }
            Stage::Sorted => {
                let Some(((sort_key, id), row)) = self.sorted.pop_first() else {
                    self.exhausted = true;
                    return Ok(Step::Done);
                };
                self.stage = Stage::Sorted;
                Ok(self.emit(row, Position::Sorted { sort_key, id }))
            }
            Stage::Done => Ok(Step::Done),
        }
    }

    fn start(&mut self, source: &mut S) -> Executed<Step, S> {
        match &self.plan.grouping {
            Grouping::None => self.stage = Stage::Range(0),
            Grouping::Streaming | Grouping::Collected => {
                // Functions over no rows have a result, groups of no rows do not exist.
                if self.plan.query.group_by.is_empty() {
                    self.groups.insert(vec![], Group::new(vec![], &self.aggregates));
                    self.counts.groups += 1;
                }
                self.stage = Stage::Range(0);
            }
            Grouping::Count => {
                let count = source.count().map_err(ExecuteError::Source)?;
                return self.one_group(vec![Value::from(count)]);
            }
            Grouping::Ends(_) => self.stage = Stage::Probe(0, vec![]),
        }
        Ok(Step::Working)
    }

    /// Opens the range with this number, in the order of the scan.
    fn open(&mut self, number: usize, source: &mut S) -> Executed<Step, S> {
        let ranges = &self.plan.access.ranges;
        if number >= ranges.len() {
            self.stage = match (&self.plan.grouping, self.plan.sort) {
                (Grouping::None, false) => Stage::Done,
                (Grouping::None, true) => Stage::Sorted,
                _ => Stage::Groups,
            };
            self.exhausted = matches!(self.stage, Stage::Done);
            return Ok(if self.exhausted { Step::Done } else { Step::Working });
        }
        let at = if self.plan.reverse { ranges.len() - 1 - number } else { number };
        let mut range = ranges[at].clone();
        if let Some(Position::Scan { entry, key, .. }) = &self.plan.resume {
            let last = [&entry[..], &key[..]].concat();
            if self.plan.reverse {
                if range.end.as_ref().is_none_or(|end| *end > last) {
                    range.end = Some(last);
                }
            } else {
                let after = [&last[..], &[0]].concat();
                range.start = range.start.max(after);
            }
        }
        if range.is_empty() {
            self.stage = Stage::Range(number + 1);
            return Ok(Step::Working);
        }
        self.stage = match self.plan.access.index {
            None => Stage::Records(
                number,
                source.records(&range, self.plan.reverse).map_err(ExecuteError::Source)?,
            ),
            Some(index) => {
                let cursor =
                    source.entries(index, &range, self.plan.reverse).map_err(ExecuteError::Source)?;
                Stage::Entries(number, cursor)
            }
        };
        Ok(Step::Working)
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

    fn entry(&mut self, entry: Bytes, key: Bytes, source: &mut S) -> Executed<Step, S> {
        let Some(number) = self.plan.access.index else { return Ok(Step::Working) };
        let indexes = Arc::clone(&self.plan.indexes);
        let index = &indexes[number];
        let damaged = |_| QueryError::Entry { index: index.name.clone(), entry: hex(&entry) };
        let needs_values = self.plan.entry_filter.is_some() || !self.plan.fetch;
        if needs_values {
            let values = decode_entry(&index.spec, &entry).map_err(damaged)?;
            let row = EntryRow { spec: &index.spec, values, key: &key };
            if let Some(filter) = &self.plan.entry_filter
                && eval::holds(filter, &row).map_err(damaged)? != Some(true)
            {
                return Ok(Step::Working);
            }
            if !self.plan.fetch {
                return Ok(match self.plan.grouping {
                    Grouping::None => {
                        let sort_key = self.sort_key(&row).map_err(damaged)?;
                        let document = self.project(&row, None).map_err(damaged)?;
                        let shown = Row { key: Some(key.clone()), document };
                        self.found(shown, entry, key.clone(), sort_key)?
                    }
                    _ => {
                        let (encoded, keys) = self.group_key(&row).map_err(damaged)?;
                        let closed = self.close_group(&encoded)?;
                        self.add_to_group(encoded, keys, &row)?.map_err(damaged)?;
                        closed
                    }
                });
            }
        }
        let document = source.get(&key).map_err(ExecuteError::Source)?;
        let Some(document) = document else {
            return Err(QueryError::Dangling { index: index.name.clone(), key: hex(&key) }.into());
        };
        if self.plan.access.repeats && !self.is_first(&index.spec, &entry, &key, &document)? {
            self.counts.fetched += 1;
            self.charge(document.len())?;
            return Ok(Step::Working);
        }
        self.counts.fetched += 1;
        self.charge(document.len())?;
        self.record(Some(entry), key, document)
    }

    /// Whether `entry` is the first of the document's entries that the scan meets: it is met there, and
    /// passed over at the others.
    fn is_first(
        &self,
        spec: &IndexSpec,
        entry: &[u8],
        key: &[u8],
        document: &[u8],
    ) -> Result<bool, QueryError> {
        let damaged =
            |error: index::EntryError| QueryError::Record { key: hex(key), problem: error.to_string() };
        let mut own = index::entries(spec, document).map_err(damaged)?;
        if self.plan.reverse {
            own.reverse();
        }
        let in_ranges = |entry: &[u8]| {
            let full = [entry, key].concat();
            self.plan.access.ranges.iter().any(|range| range.contains(&full))
        };
        Ok(own.iter().find(|own| in_ranges(&own.key)).is_some_and(|first| first.key == entry))
    }

    fn record(&mut self, entry: Option<Bytes>, key: Bytes, document: Bytes) -> Executed<Step, S> {
        let record = Record { key: &key, document: &document };
        let damaged = |error: Malformed| QueryError::Record { key: hex(&key), problem: error.to_string() };
        self.watch.see(&document).map_err(damaged)?;
        if let Some(filter) = &self.plan.filter
            && eval::holds(filter, &record).map_err(damaged)? != Some(true)
        {
            return Ok(Step::Working);
        }
        if matches!(self.plan.grouping, Grouping::None) {
            let sort_key = self.sort_key(&record).map_err(damaged)?;
            let shown = self.project(&record, Some(&document)).map_err(damaged)?;
            let row = Row { key: Some(key.clone()), document: shown };
            return Ok(self.found(row, entry.unwrap_or_default(), key.clone(), sort_key)?);
        }
        let (encoded, keys) = self.group_key(&record).map_err(damaged)?;
        let closed = self.close_group(&encoded)?;
        self.add_to_group(encoded, keys, &record)?.map_err(damaged)?;
        Ok(closed)
    }

    /// What the row is sorted by after it was found; empty if it comes in order.
    fn sort_key(&self, row: &impl eval::Row) -> Result<Vec<u8>, Malformed> {
        if !self.plan.sort && matches!(self.plan.grouping, Grouping::None) {
            return Ok(vec![]);
        }
        let mut key = Vec::new();
        for (order, collation) in self.plan.query.order_by.iter().zip(&self.plan.collations) {
            let start = key.len();
            match (row.value(&order.expr)?, collation) {
                (ValueRef::Text(text), Some(collation)) => {
                    // Between the encodings of numbers and of byte strings, as text is.
                    let mut sorted = vec![];
                    encoding::encode_into(&mut sorted, ValueRef::Bytes(&collation.key(text)))?;
                    sorted[0] = encoding::class_range(crate::value::Class::Text).0;
                    key.append(&mut sorted);
                }
                (value, _) => encoding::encode_into(&mut key, value)?,
            }
            if order.descending {
                key[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        Ok(key)
    }

    /// The columns as a document.
    fn project(&self, row: &impl eval::Row, whole: Option<&Bytes>) -> Result<Bytes, Malformed> {
        let Some(columns) = &self.plan.query.columns else {
            return Ok(whole.cloned().unwrap_or_default());
        };
        let mut count = 0;
        let mut entries = Vec::new();
        for &position in &self.columns {
            let value = row.value(&columns[position].expr)?;
            if value != ValueRef::Missing {
                entries.extend_from_slice(&self.names[position]);
                cbor::write(&mut entries, value);
                count += 1;
            }
        }
        let mut document = Vec::with_capacity(entries.len() + 9);
        cbor::write_head(&mut document, 5, count);
        document.append(&mut entries);
        Ok(document.into())
    }

    fn found(&mut self, row: Row, entry: Bytes, key: Bytes, sort_key: Vec<u8>) -> Result<Step, QueryError> {
        if self.plan.sort {
            self.sort_in(sort_key, key.to_vec(), row)?;
            return Ok(Step::Working);
        }
        let index = self.plan.access.index.map(|number| self.plan.indexes[number].name.clone());
        let position =
            Position::Scan { index, reverse: self.plan.reverse, entry: entry.to_vec(), key: key.to_vec() };
        Ok(self.emit(row, position))
    }

    /// Gives a row, unless OFFSET passes it over.
    fn emit(&mut self, row: Row, position: Position) -> Step {
        if self.skip > 0 {
            self.skip -= 1;
            return Step::Working;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        self.last = Some(position);
        Step::Row(row)
    }

    fn is_before_resume(&self, sort_key: &[u8], id: &[u8]) -> bool {
        match &self.plan.resume {
            Some(Position::Sorted { sort_key: last, id: last_id }) => {
                (sort_key, id) <= (&last[..], &last_id[..])
            }
            _ => false,
        }
    }

    /// Keeps a row for sorting: with LIMIT no more than that many.
    fn sort_in(&mut self, sort_key: Vec<u8>, id: Vec<u8>, row: Row) -> Result<(), QueryError> {
        if self.is_before_resume(&sort_key, &id) {
            return Ok(());
        }
        let bytes = |sort_key: &[u8], id: &[u8], row: &Row| {
            (sort_key.len() + id.len() + row.document.len() + row.key.as_ref().map_or(0, Bytes::len) + 128)
                as u64
        };
        let most = self.plan.limit.map(|limit| limit.saturating_add(self.plan.offset));
        if most.is_some_and(|most| self.sorted.len() as u64 >= most) {
            let last = self.sorted.last_key_value().map(|(last, _)| last);
            if last.is_none_or(|last| (&last.0[..], &last.1[..]) <= (&sort_key[..], &id[..])) {
                return Ok(());
            }
            if let Some(((sort_key, id), row)) = self.sorted.pop_last() {
                self.memory = self.memory.saturating_sub(bytes(&sort_key, &id, &row));
            }
        }
        self.counts.sorted += 1;
        self.hold(bytes(&sort_key, &id, &row), "sorting")?;
        self.sorted.insert((sort_key, id), row);
        Ok(())
    }

    fn group_key(&self, row: &impl eval::Row) -> Result<(Vec<u8>, Vec<Value>), Malformed> {
        let mut encoded = Vec::new();
        let mut keys = vec![];
        for group in &self.plan.query.group_by {
            let value = row.value(group)?;
            encoding::encode_into(&mut encoded, value)?;
            keys.push(value.to_value().canonical());
        }
        Ok((encoded, keys))
    }

    /// When groups come one after the other and another begins, finishes the last.
    fn close_group(&mut self, encoded: &[u8]) -> Result<Step, QueryError> {
        if !matches!(self.plan.grouping, Grouping::Streaming) || self.groups.contains_key(encoded) {
            return Ok(Step::Working);
        }
        match self.groups.pop_first() {
            None => Ok(Step::Working),
            Some((encoded, group)) => {
                self.memory = self.memory.saturating_sub(encoded.len() as u64 + group.bytes());
                self.finish_group(encoded, group)
            }
        }
    }

    fn add_to_group(
        &mut self,
        encoded: Vec<u8>,
        keys: Vec<Value>,
        row: &impl eval::Row,
    ) -> Result<Result<(), Malformed>, QueryError> {
        let mut more = 0;
        let length = encoded.len() as u64;
        let group = self.groups.entry(encoded).or_insert_with(|| {
            more = length;
            Group::new(keys, &self.aggregates)
        });
        let before = if more > 0 { 0 } else { group.bytes() };
        if more > 0 {
            self.counts.groups += 1;
        }
        let added = group.add(&self.aggregates, row);
        let after = group.bytes();
        if after >= before {
            self.hold(more + after - before, "grouping")?;
        } else {
            self.memory = self.memory.saturating_sub(before - after);
        }
        Ok(added)
    }

    /// A group as a row of the result, if HAVING lets it pass.
    fn finish_group(&mut self, encoded: Vec<u8>, group: Group) -> Result<Step, QueryError> {
        let damaged = |error: Malformed| QueryError::Invalid(error.to_string());
        let finished = Finished::new(&self.plan.query, &self.aggregates, group);
        if let Some(having) = &self.plan.query.having
            && eval::holds(having, &finished).map_err(damaged)? != Some(true)
        {
            return Ok(Step::Working);
        }
        let document = self.project(&finished, None).map_err(damaged)?;
        let sort_key = self.sort_key(&finished).map_err(damaged)?;
        let mut id = encoded;
        if self.plan.query.group_order() == Some(true) {
            id.iter_mut().for_each(|byte| *byte = !*byte);
        }
        let row = Row { key: None, document };
        if self.plan.sort {
            self.sort_in(sort_key, id, row)?;
            return Ok(Step::Working);
        }
        if self.is_before_resume(&sort_key, &id) {
            return Ok(Step::Working);
        }
        Ok(self.emit(row, Position::Sorted { sort_key, id }))
    }

    /// The one row of a query whose functions' results are known.
    fn one_group(&mut self, results: Vec<Value>) -> Executed<Step, S> {
        let damaged = |error: Malformed| QueryError::Invalid(error.to_string());
        self.counts.groups += 1;
        self.exhausted = true;
        self.stage = Stage::Done;
        let finished = Finished::known(&self.plan.query, &self.aggregates, results);
        let document = self.project(&finished, None).map_err(damaged)?;
        if self.is_before_resume(&[], &[]) {
            return Ok(Step::Done);
        }
        Ok(self.emit(Row { key: None, document }, Position::Sorted { sort_key: vec![], id: vec![] }))
    }

    /// Finds the first row of a probe: one step a range.
    fn probe(&mut self, number: usize, mut results: Vec<Value>, source: &mut S) -> Executed<Step, S> {
        let Grouping::Ends(probes) = &self.plan.grouping else { return Ok(Step::Done) };
        let Some(Probe { access, reverse, column }) = probes.get(number).cloned() else {
            // Columns may show the same function twice, functions are computed once.
            let columns = self.plan.query.columns.as_deref().unwrap_or_default();
            let of = |(function, argument): &(Function, Option<Expr>)| {
                let is_it = |expr: &Expr| {
                    matches!(expr, Expr::Aggregate(known, known_argument)
                        if known == function && known_argument.as_deref() == argument.as_ref())
                };
                let position = columns.iter().position(|column| is_it(&column.expr));
                position.and_then(|position| results.get(position)).cloned().unwrap_or(Value::Null)
            };
            let results = self.aggregates.iter().map(of).collect();
            return self.one_group(results);
        };
        let mut ranges: Vec<KeyRange> = access.ranges;
        if reverse {
            ranges.reverse();
        }
        let mut found = Value::Null;
        for range in &ranges {
            match access.index {
                None => {
                    let mut cursor = source.records(range, reverse).map_err(ExecuteError::Source)?;
                    if let Some((key, document)) =
                        source.next_record(&mut cursor).map_err(ExecuteError::Source)?
                    {
                        self.counts.records += 1;
                        self.charge(key.len() + document.len())?;
                        found = Value::Bytes(key.to_vec());
                        break;
                    }
                }
                Some(index) => {
                    let mut cursor = source.entries(index, range, reverse).map_err(ExecuteError::Source)?;
                    if let Some((entry, key)) =
                        source.next_entry(&mut cursor).map_err(ExecuteError::Source)?
                    {
                        self.counts.entries += 1;
                        self.charge(entry.len() + key.len())?;
                        let index = &self.plan.indexes[index];
                        let damaged = |_| QueryError::Entry { index: index.name.clone(), entry: hex(&entry) };
                        let mut values = decode_entry(&index.spec, &entry).map_err(damaged)?;
                        if let Some(value) = column.and_then(|column| values.get_mut(column)) {
                            found = std::mem::take(value);
                        }
                        break;
                    }
                }
            }
        }
        results.push(found);
        self.stage = Stage::Probe(number + 1, results);
        Ok(Step::Working)
    }
}

/// An index entry as a row: of its columns and the key.
struct EntryRow<'e> {
    spec: &'e IndexSpec,
    values: Vec<Value>,
    key: &'e [u8],
}

impl eval::Row for EntryRow<'_> {
    fn value<'a>(&'a self, expr: &'a Expr) -> Result<ValueRef<'a>, Malformed> {
        match expr {
            Expr::Key => Ok(ValueRef::Bytes(self.key)),
            Expr::Literal(value) => Ok(value.as_ref()),
            Expr::Path(path) => {
                let is_it = |column: &IndexPath| matches!(column, IndexPath::Value(known) if known == path);
                let column = self.spec.columns().iter().position(is_it).ok_or(Malformed)?;
                Ok(self.values.get(column).ok_or(Malformed)?.as_ref())
            }
            Expr::Parameter(_) | Expr::Aggregate(..) => Err(Malformed),
        }
    }
}
