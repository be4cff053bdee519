//! From records and entries to rows of the result.

use bytes::Bytes;

use super::entry_row::EntryRow;
use super::groups::group_key;
use super::{ExecuteError, Executed, Executor, Last, Row, Step};
use crate::QueryError;
use crate::cbor;
use crate::encoding;
use crate::error::hex;
use crate::eval::{self, Record};
use crate::index;
use crate::page::Position;
use crate::plan::{Fetch, Grouping, Plan};
use crate::source::{IndexRow, Source};
use crate::value::{Malformed, ValueRef};

/// Columns of a result whose number fits into the first byte of a map.
const FEW_COLUMNS: usize = 23;

fn damaged(key: &[u8]) -> impl Fn(Malformed) -> QueryError {
    move |error| QueryError::Record { key: hex(key), problem: error.to_string() }
}

impl<S: Source> Executor<S> {
    /// Takes in an index entry, met in this one of the plan's ways.
    pub(super) fn entry(&mut self, access: usize, row: IndexRow, source: &mut S) -> Executed<Step, S> {
        let Some(number) = self.plan.accesses()[access].index else { return Ok(Step::Working) };
        let IndexRow { entry, key, exact } = row;
        let suffices = match self.plan.fetch() {
            Fetch::Never => true,
            Fetch::Inexact => exact,
            Fetch::Always => false,
        };
        if suffices || self.plan.entry_filter.is_some() {
            let index = &self.plan.indexes[number];
            let damaged = |_| QueryError::Entry { index: index.name.clone(), entry: hex(&entry) };
            index::decode_entry_into(&index.spec, &entry, &mut self.values).map_err(damaged)?;
            let row = EntryRow { spec: &index.spec, values: &self.values, key: &key };
            if let Some(filter) = &self.plan.entry_filter
                && eval::holds(filter, &row).map_err(damaged)? != Some(true)
            {
                return Ok(Step::Working);
            }
            if suffices && matches!(self.plan.grouping, Grouping::None) {
                let sort_key = sort_key(&self.plan, &row).map_err(damaged)?;
                let document = project(&self.plan, &mut self.buffer, &row, None).map_err(damaged)?;
                let shown = Row { key: Some(key.clone()), document };
                return Ok(self.found(shown, access, entry, key, sort_key)?);
            }
            if suffices {
                let (encoded, keys) = group_key(&self.plan, &row).map_err(damaged)?;
                // Groups take the row in while the executor is not theirs.
                let indexes = std::sync::Arc::clone(&self.plan.indexes);
                let values = std::mem::take(&mut self.values);
                let row = EntryRow { spec: &indexes[number].spec, values: &values, key: &key };
                let closed = self.close_group(&encoded)?;
                let damaged =
                    |_| QueryError::Entry { index: indexes[number].name.clone(), entry: hex(&entry) };
                self.add_to_group(encoded, keys, &row)?.map_err(damaged)?;
                self.values = values;
                return Ok(closed);
            }
        }
        let document = source.get(&key).map_err(ExecuteError::Source)?;
        let Some(document) = document else {
            let index = self.plan.indexes[number].name.clone();
            return Err(QueryError::Dangling { index, key: hex(&key) }.into());
        };
        self.counts.fetched += 1;
        self.charge(document.len())?;
        if !self.is_first(access, &entry, &key, &document)? {
            return Ok(Step::Working);
        }
        self.record(access, entry, key, document)
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
        entry: Bytes,
        key: Bytes,
        document: Bytes,
    ) -> Executed<Step, S> {
        let record = Record { key: &key, document: &document };
        self.watch.see(&document).map_err(damaged(&key))?;
        if let Some(filter) = &self.plan.filter
            && eval::holds(filter, &record).map_err(damaged(&key))? != Some(true)
        {
            return Ok(Step::Working);
        }
        if matches!(self.plan.grouping, Grouping::None) {
            let sort_key = sort_key(&self.plan, &record).map_err(damaged(&key))?;
            let shown =
                project(&self.plan, &mut self.buffer, &record, Some(&document)).map_err(damaged(&key))?;
            let row = Row { key: Some(key.clone()), document: shown };
            return Ok(self.found(row, access, entry, key, sort_key)?);
        }
        let (encoded, keys) = group_key(&self.plan, &record).map_err(damaged(&key))?;
        let closed = self.close_group(&encoded)?;
        self.add_to_group(encoded, keys, &record)?.map_err(damaged(&key))?;
        Ok(closed)
    }

    fn found(
        &mut self,
        row: Row,
        access: usize,
        entry: Bytes,
        key: Bytes,
        sort_key: Vec<u8>,
    ) -> Result<Step, QueryError> {
        if self.plan.sort {
            self.sort_in(sort_key, key.to_vec(), row)?;
            return Ok(Step::Working);
        }
        Ok(self.emit(row, Last::Scan { access, entry, key }))
    }

    /// Gives a row, unless OFFSET passes it over.
    pub(super) fn emit(&mut self, row: Row, last: Last) -> Step {
        if self.skip > 0 {
            self.skip -= 1;
            return Step::Working;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        self.last = Some(last);
        Step::Row(row)
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

/// The columns as a document.
pub(super) fn project(
    plan: &Plan,
    buffer: &mut Vec<u8>,
    row: &impl eval::Row,
    whole: Option<&Bytes>,
) -> Result<Bytes, Malformed> {
    let Some(columns) = &plan.bound.prepared.query().columns else {
        return Ok(whole.cloned().unwrap_or_default());
    };
    buffer.clear();
    // The head, which says how many there are, comes last.
    buffer.push(0);
    let mut count = 0;
    for (position, name) in plan.bound.prepared.names() {
        let value = row.value(&columns[*position].expr)?;
        if value != ValueRef::Missing {
            buffer.extend_from_slice(name);
            cbor::write(buffer, value);
            count += 1;
        }
    }
    if count <= FEW_COLUMNS {
        buffer[0] = cbor::MAP << 5 | count as u8;
        return Ok(Bytes::copy_from_slice(buffer));
    }
    let mut head = Vec::with_capacity(buffer.len() + 9);
    cbor::write_head(&mut head, cbor::MAP, count as u64);
    head.extend_from_slice(&buffer[1..]);
    Ok(head.into())
}
