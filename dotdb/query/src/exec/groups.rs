//! Groups in execution, and results that need no rows.

use super::rows::{project, sort_key};
use super::{ExecuteError, Executed, Executor, Progress, RowRef, Stage};
use crate::QueryError;
use crate::encoding;
use crate::error::hex;
use crate::eval;
use crate::group::{Finished, Group};
use crate::index::decode_entry;
use crate::plan::{Grouping, Plan, Probe};
use crate::query::{Expr, Function};
use crate::source::{KeyRange, Source};
use crate::value::{Malformed, Value};

impl<S: Source> Executor<S> {
    /// When groups come one after the other and another begins, finishes the last.
    pub(super) fn close_group(&mut self, encoded: &[u8]) -> Result<Progress, QueryError> {
        if !matches!(self.plan.grouping, Grouping::Streaming) || self.groups.contains_key(encoded) {
            return Ok(Progress::Working);
        }
        match self.groups.pop_first() {
            None => Ok(Progress::Working),
            Some((encoded, group)) => {
                self.memory = self.memory.saturating_sub(encoded.len() as u64 + group.bytes());
                self.finish_group(encoded, group)
            }
        }
    }

    pub(super) fn add_to_group(
        &mut self,
        encoded: Vec<u8>,
        keys: Vec<Value>,
        row: &impl eval::Row,
    ) -> Result<Result<(), Malformed>, QueryError> {
        let mut more = 0;
        let length = encoded.len() as u64;
        let aggregates = self.plan.bound.prepared.aggregates();
        let group = self.groups.entry(encoded).or_insert_with(|| {
            more = length;
            Group::new(keys, aggregates)
        });
        let before = if more > 0 { 0 } else { group.bytes() };
        if more > 0 {
            self.counts.groups += 1;
        }
        let added = group.add(aggregates, row);
        let after = group.bytes();
        if after >= before {
            self.hold(more + after - before, "grouping")?;
        } else {
            self.memory = self.memory.saturating_sub(before - after);
        }
        Ok(added)
    }

    /// A group as a row of the result, if HAVING lets it pass.
    pub(super) fn finish_group(&mut self, encoded: Vec<u8>, group: Group) -> Result<Progress, QueryError> {
        let damaged = |error: Malformed| QueryError::Invalid(error.to_string());
        let prepared = self.plan.bound.prepared.clone();
        let query = prepared.query();
        let finished = Finished::new(query, prepared.aggregates(), group);
        if let Some(having) = &self.plan.having
            && eval::holds(having, &finished).map_err(damaged)? != Some(true)
        {
            return Ok(Progress::Working);
        }
        project(&self.plan, &mut self.document, &finished, &[]).map_err(damaged)?;
        let sort_key = sort_key(&self.plan, &finished).map_err(damaged)?;
        let mut id = encoded;
        if query.group_order() == Some(true) {
            id.iter_mut().for_each(|byte| *byte = !*byte);
        }
        if self.plan.sort {
            let row = RowRef { key: None, document: &self.document }.to_row();
            self.sort_in(sort_key, id, row)?;
            return Ok(Progress::Working);
        }
        if self.is_before_resume(&sort_key, &id) {
            return Ok(Progress::Working);
        }
        Ok(self.emit(None, sort_key, id))
    }

    /// The one row of a query whose functions' results are known.
    pub(super) fn one_group(&mut self, results: Vec<Value>) -> Executed<Progress, S> {
        let damaged = |error: Malformed| QueryError::Invalid(error.to_string());
        self.counts.groups += 1;
        self.exhausted = true;
        self.stage = Stage::Done;
        let prepared = self.plan.bound.prepared.clone();
        let finished = Finished::known(prepared.query(), prepared.aggregates(), results);
        project(&self.plan, &mut self.document, &finished, &[]).map_err(damaged)?;
        if self.is_before_resume(&[], &[]) {
            return Ok(Progress::Done);
        }
        Ok(self.emit(None, vec![], vec![]))
    }

    /// Finds the first row of a probe: one step a range.
    pub(super) fn probe(
        &mut self,
        number: usize,
        mut results: Vec<Value>,
        source: &mut S,
    ) -> Executed<Progress, S> {
        let Grouping::Ends(probes) = &self.plan.grouping else { return Ok(Progress::Done) };
        let Some(Probe { access, reverse, column }) = probes.get(number).cloned() else {
            // Columns may show the same function twice, functions are computed once.
            let prepared = &self.plan.bound.prepared;
            let columns = prepared.query().columns.as_deref().unwrap_or_default();
            let of = |(function, argument): &(Function, Option<Expr>)| {
                let is_it = |expr: &Expr| {
                    matches!(expr, Expr::Aggregate(known, known_argument)
                        if known == function && known_argument.as_deref() == argument.as_ref())
                };
                let position = columns.iter().position(|column| is_it(&column.expr));
                position.and_then(|position| results.get(position)).cloned().unwrap_or(Value::Null)
            };
            let results = prepared.aggregates().iter().map(of).collect();
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
                    let mut cursor = source.records(range, reverse, Some(1)).map_err(ExecuteError::Source)?;
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
                    let entries = source.entries(index, range, reverse, Some(1));
                    let mut cursor = entries.map_err(ExecuteError::Source)?;
                    if let Some(row) = source.next_entry(&mut cursor).map_err(ExecuteError::Source)? {
                        self.counts.entries += 1;
                        self.charge(row.entry.len() + row.key.len())?;
                        let entry = row.entry;
                        let index = &self.plan.indexes[index];
                        let damaged = |_| QueryError::Entry { index: index.name.clone(), entry: hex(entry) };
                        let mut values = decode_entry(&index.spec, entry).map_err(damaged)?;
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
        Ok(Progress::Working)
    }
}

/// The values that a row is grouped by, encoded and as they are shown.
pub(super) fn group_key(plan: &Plan, row: &impl eval::Row) -> Result<(Vec<u8>, Vec<Value>), Malformed> {
    let mut encoded = Vec::new();
    let mut keys = vec![];
    for group in &plan.bound.prepared.query().group_by {
        let value = row.value(group)?;
        encoding::encode_into(&mut encoded, value)?;
        keys.push(value.to_value().canonical());
    }
    Ok((encoded, keys))
}
