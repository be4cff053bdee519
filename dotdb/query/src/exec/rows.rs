//! From records and entries to rows of the result.

use bytes::Bytes;

use super::entry_row::{EntryRow, Shown, shown};
use super::groups::group_key;
use super::{ExecuteError, Executed, Executor, Last, Progress, Row, RowRef};
use crate::QueryError;
use crate::cbor;
use crate::encoding;
use crate::error::hex;
use crate::eval::{self, Record};
use crate::index;
use crate::page::Position;
use crate::plan::{Fetch, Grouping, Plan};
use crate::source::{IndexRow, Source};
use crate::value::{Malformed, Value, ValueRef};

/// Columns of a result whose number fits into the first byte of a map.
const FEW_COLUMNS: usize = 23;

fn damaged(key: &[u8]) -> impl Fn(Malformed) -> QueryError {
    move |error| QueryError::Record { key: hex(key), problem: error.to_string() }
}

impl<S: Source> Executor<S> {
    /// Takes in an index entry, met in this one of the plan's ways.
    pub(super) fn entry(
        &mut self,
        access: usize,
        row: IndexRow<'_>,
        source: &mut S,
    ) -> Executed<Progress, S> {
        let Some(number) = self.plan.accesses()[access].index else { return Ok(Progress::Working) };
        let IndexRow { entry, key, exact } = row;
        let suffices = match self.plan.fetch() {
            Fetch::Never => true,
            Fetch::Inexact => exact,
            Fetch::Always => false,
        };
        if suffices || self.plan.entry_filter.is_some() {
            let index = &self.plan.indexes[number];
            let damaged = |_| QueryError::Entry { index: index.name.clone(), entry: hex(entry) };
            index::decode_entry_into(&index.spec, entry, &mut self.values).map_err(damaged)?;
            let row = EntryRow { spec: &index.spec, values: &self.values, key };
            if let Some(filter) = &self.plan.entry_filter
                && eval::holds(filter, &row).map_err(damaged)? != Some(true)
            {
                return Ok(Progress::Working);
            }
            if suffices && matches!(self.plan.grouping, Grouping::None) {
                let sort_key = sort_key(&self.plan, &row).map_err(damaged)?;
                if self.shown.as_ref().is_none_or(|(known, _)| *known != number) {
                    self.shown = Some((number, shown(&self.plan, &index.spec)));
                }
                match &self.shown {
                    Some((_, Some(shown))) => {
                        let value = |position: usize| match shown.get(position) {
                            Some(Shown::Column(column)) => {
                                self.values.get(*column).map(Value::as_ref).ok_or(Malformed)
                            }
                            Some(Shown::Key) => Ok(ValueRef::Bytes(key)),
                            None => Err(Malformed),
                        };
                        columns(&self.plan, &mut self.document, value).map_err(damaged)?;
                    }
                    _ => project(&self.plan, &mut self.document, &row, &[]).map_err(damaged)?,
                }
                return Ok(self.found(access, entry, key, sort_key)?);
            }
            if suffices {
                let (encoded, keys) = group_key(&self.plan, &row).map_err(damaged)?;
                // Groups take the row in while the executor is not theirs.
                let indexes = std::sync::Arc::clone(&self.plan.indexes);
                let values = std::mem::take(&mut self.values);
                let row = EntryRow { spec: &indexes[number].spec, values: &values, key };
                let closed = self.close_group(&encoded)?;
                let damaged =
                    |_| QueryError::Entry { index: indexes[number].name.clone(), entry: hex(entry) };
                self.add_to_group(encoded, keys, &row)?.map_err(damaged)?;
                self.values = values;
                return Ok(closed);
            }
        }
        let mut document = std::mem::take(&mut self.fetched);
        if !source.get(key, &mut document).map_err(ExecuteError::Source)? {
            let index = self.plan.indexes[number].name.clone();
            return Err(QueryError::Dangling { index, key: hex(key) }.into());
        }
        self.counts.fetched += 1;
        self.charge(document.len())?;
        let mut progress = Progress::Working;
        if self.is_first(access, entry, key, &document)? {
            progress = self.record(access, entry, key, &document)?;
        }
        self.fetched = document;
        Ok(progress)
    }

    /// Whether this is the first time that the plan meets the record, by `entry` in the way with number `access`. It
    /// is passed over at the others.
    pub(super) fn is_first(
        &self,
        access: usize,
        entry: &[u8],
        key: &[u8],
        document: &[u8],
    ) -> Result<bool, QueryError> {
        let accesses = self.plan.accesses();
        for (number, earlier) in accesses[..access].iter().enumerate() {
            let in_ranges = |full: &[u8]| earlier.ranges.iter().any(|range| range.contains(full));
            let is_met = match self.plan.index_of(number) {
                None => in_ranges(key),
                Some(index) => {
                    let own = self.entries(&index.spec, key, document)?;
                    own.iter().any(|own| in_ranges(&[&own.key[..], key].concat()))
                }
            };
            if is_met {
                return Ok(false);
            }
        }
        let Some(index) = self.plan.index_of(access).filter(|_| accesses[access].repeats) else {
            return Ok(true);
        };
        let mut own = self.entries(&index.spec, key, document)?;
        if self.plan.reverse() {
            own.reverse();
        }
        let in_ranges = |entry: &[u8]| {
            let full = [entry, key].concat();
            accesses[access].ranges.iter().any(|range| range.contains(&full))
        };
        Ok(own.iter().find(|own| in_ranges(&own.key)).is_some_and(|first| first.key == entry))
    }

    /// The entries of a record in an index that it is in.
    fn entries(
        &self,
        spec: &index::IndexSpec,
        key: &[u8],
        document: &[u8],
    ) -> Result<Vec<index::Entry>, QueryError> {
        let damaged =
            |error: index::EntryError| QueryError::Record { key: hex(key), problem: error.to_string() };
        index::entries(spec, document).map_err(damaged)
    }

    /// Takes in a record, met in this one of the plan's ways.
    pub(super) fn record(
        &mut self,
        access: usize,
        entry: &[u8],
        key: &[u8],
        document: &[u8],
    ) -> Executed<Progress, S> {
        let record = Record { key, document };
        self.watch.see(document).map_err(damaged(key))?;
        if let Some(filter) = &self.plan.filter
            && eval::holds(filter, &record).map_err(damaged(key))? != Some(true)
        {
            return Ok(Progress::Working);
        }
        if matches!(self.plan.grouping, Grouping::None) {
            let sort_key = sort_key(&self.plan, &record).map_err(damaged(key))?;
            project(&self.plan, &mut self.document, &record, document).map_err(damaged(key))?;
            return Ok(self.found(access, entry, key, sort_key)?);
        }
        let (encoded, keys) = group_key(&self.plan, &record).map_err(damaged(key))?;
        let closed = self.close_group(&encoded)?;
        self.add_to_group(encoded, keys, &record)?.map_err(damaged(key))?;
        Ok(closed)
    }

    /// Takes in a row of the result, whose document is in `document`.
    #[inline]
    fn found(
        &mut self,
        access: usize,
        entry: &[u8],
        key: &[u8],
        sort_key: Vec<u8>,
    ) -> Result<Progress, QueryError> {
        if self.plan.sort {
            let row = RowRef { key: Some(key), document: &self.document }.to_row();
            self.sort_in(sort_key, key.to_vec(), row)?;
            return Ok(Progress::Working);
        }
        if !self.passes() {
            return Ok(Progress::Working);
        }
        self.last_entry.clear();
        self.last_entry.extend_from_slice(entry);
        self.key.clear();
        self.key.extend_from_slice(key);
        self.has_key = true;
        self.last = Some(Last::Scan { access });
        Ok(Progress::Row)
    }

    /// Whether the next row is given: OFFSET passes rows over, LIMIT counts them.
    #[inline]
    fn passes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        true
    }

    /// Gives a row whose document is in `document`, which does not come in the order of a scan.
    pub(super) fn emit(&mut self, key: Option<&[u8]>, sort_key: Vec<u8>, id: Vec<u8>) -> Progress {
        if !self.passes() {
            return Progress::Working;
        }
        self.has_key = key.is_some();
        self.key.clear();
        self.key.extend_from_slice(key.unwrap_or_default());
        self.last = Some(Last::Sorted { sort_key, id });
        Progress::Row
    }

    /// Gives a row that was kept for sorting.
    pub(super) fn emit_kept(&mut self, row: Row, sort_key: Vec<u8>, id: Vec<u8>) -> Progress {
        self.document.clear();
        self.document.extend_from_slice(&row.document);
        self.emit(row.key.as_deref(), sort_key, id)
    }

    pub(super) fn is_before_resume(&self, sort_key: &[u8], id: &[u8]) -> bool {
        match &self.plan.resume {
            Some(Position::Sorted { sort_key: last, id: last_id }) => {
                (sort_key, id) <= (&last[..], &last_id[..])
            }
            _ => false,
        }
    }

    /// Keeps a row for sorting: with LIMIT no more than that many.
    pub(super) fn sort_in(&mut self, sort_key: Vec<u8>, id: Vec<u8>, row: Row) -> Result<(), QueryError> {
        if self.is_before_resume(&sort_key, &id) {
            return Ok(());
        }
        let bytes = |sort_key: &[u8], id: &[u8], row: &Row| {
            (sort_key.len() + id.len() + row.document.len() + row.key.as_ref().map_or(0, Bytes::len) + 128)
                as u64
        };
        let most = self.plan.bound.limit.map(|limit| limit.saturating_add(self.plan.bound.offset));
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
}

/// What the row is sorted by after it was found; empty if it comes in order.
pub(super) fn sort_key(plan: &Plan, row: &impl eval::Row) -> Result<Vec<u8>, Malformed> {
    if !plan.sort && matches!(plan.grouping, Grouping::None) {
        return Ok(vec![]);
    }
    let mut key = Vec::new();
    for (order, collation) in plan.bound.prepared.query().order_by.iter().zip(&plan.collations) {
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

/// The columns as a document, in place of what `document` holds; `whole` is the record's.
pub(super) fn project(
    plan: &Plan,
    document: &mut Vec<u8>,
    row: &impl eval::Row,
    whole: &[u8],
) -> Result<(), Malformed> {
    let Some(columns) = &plan.bound.prepared.query().columns else {
        document.clear();
        document.extend_from_slice(whole);
        return Ok(());
    };
    let names = plan.bound.prepared.names();
    let value = |position: usize| {
        let (column, _) = names.get(position).ok_or(Malformed)?;
        row.value(&columns.get(*column).ok_or(Malformed)?.expr)
    };
    self::columns(plan, document, value)
}

/// A document of the columns of the result, each of which `value` gives by its place in the document.
#[inline]
fn columns<'v>(
    plan: &Plan,
    document: &mut Vec<u8>,
    value: impl Fn(usize) -> Result<ValueRef<'v>, Malformed>,
) -> Result<(), Malformed> {
    document.clear();
    // The head, which says how many there are, comes last.
    document.push(0);
    let mut count = 0;
    for (position, (_, name)) in plan.bound.prepared.names().iter().enumerate() {
        let value = value(position)?;
        if value != ValueRef::Missing {
            document.extend_from_slice(name);
            cbor::write(document, value);
            count += 1;
        }
    }
    if count <= FEW_COLUMNS {
        document[0] = cbor::MAP << 5 | count as u8;
        return Ok(());
    }
    let mut head = Vec::with_capacity(9);
    cbor::write_head(&mut head, cbor::MAP, count as u64);
    document.splice(..1, head);
    Ok(())
}
