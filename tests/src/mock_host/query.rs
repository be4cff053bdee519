//! Queries over the documents of a map, run to their end at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use dotdb::query::{
    Budget, ExecuteStep, IndexRow, KeyRange, PlanError, Prepared, Query, RecordRow, Request, Source,
    Statistics, Value, execute, plan,
};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{HostError, HostResult};
use dotvm_core::trap::TrapKind;

use super::Step;

/// Bytes of tag and number before a record's key in the store, which the planner's counts see.
const STORE_PREFIX_BYTES: usize = 5;

/// All documents of a collection by key; there are no indexes.
struct Documents {
    rows: Vec<(Bytes, Bytes)>,
    planning: (u64, u64),
}

impl Documents {
    fn within(&self, range: &KeyRange) -> Vec<(Bytes, Bytes)> {
        self.rows.iter().filter(|(key, _)| range.contains(key)).cloned().collect()
    }
}

/// Records one after the other, of which the last one given is lent.
struct Rows {
    rest: std::vec::IntoIter<(Bytes, Bytes)>,
    current: Option<(Bytes, Bytes)>,
}

impl Source for Documents {
    type Error = Infallible;
    type Records = Rows;
    type Entries = Infallible;

    fn count(&mut self) -> Result<u64, Infallible> {
        Ok(self.rows.len() as u64)
    }

    fn records(&mut self, range: &KeyRange, reverse: bool, _: Option<u64>) -> Result<Rows, Infallible> {
        let mut rows = self.within(range);
        if reverse {
            rows.reverse();
        }
        Ok(Rows { rest: rows.into_iter(), current: None })
    }

    fn next_record<'c>(&mut self, cursor: &'c mut Rows) -> Result<Option<RecordRow<'c>>, Infallible> {
        cursor.current = cursor.rest.next();
        Ok(cursor.current.as_ref().map(|(key, document)| (&key[..], &document[..])))
    }

    fn entries(&mut self, _: usize, _: &KeyRange, _: bool, _: Option<u64>) -> Result<Infallible, Infallible> {
        panic!("the planner was given no index")
    }

    fn next_entry<'c>(&mut self, cursor: &'c mut Infallible) -> Result<Option<IndexRow<'c>>, Infallible> {
        match *cursor {}
    }

    fn get(&mut self, key: &[u8], document: &mut Vec<u8>) -> Result<bool, Infallible> {
        document.clear();
        let found = self.rows.iter().find(|(row, _)| row == key);
        document.extend_from_slice(found.map_or(&[][..], |(_, found)| found));
        Ok(found.is_some())
    }
}

impl Statistics for Documents {
    type Error = Infallible;

    fn rows(&mut self) -> Result<u64, Infallible> {
        Ok(self.rows.len() as u64)
    }

    fn key_rows(&mut self, range: &KeyRange, cap: u64) -> Result<u64, Infallible> {
        let seen: Vec<_> = self.within(range).into_iter().take(cap as usize).collect();
        self.planning.0 += seen.len() as u64;
        self.planning.1 += seen
            .iter()
            .map(|(key, document)| (STORE_PREFIX_BYTES + key.len() + document.len()) as u64)
            .sum::<u64>();
        Ok(seen.len() as u64)
    }

    fn index_rows(&mut self, _: usize, _: &KeyRange, _: u64) -> Result<u64, Infallible> {
        panic!("the planner was given no index")
    }
}

fn refused<T>(error: impl std::fmt::Display) -> HostResult<T> {
    Err(HostError::Trap(TrapKind::Db, error.to_string()))
}

/// Charges for a query and its planning, and answers the steps of its cursor. `check` refuses collections that keep no
/// documents.
pub fn run(
    rows: Vec<(Bytes, Bytes)>,
    compiled: &[u8],
    arguments: Option<&[u8]>,
    gas: &mut Gas,
    check: impl FnOnce() -> HostResult<()>,
) -> HostResult<VecDeque<Step>> {
    gas.charge(gas::database(0, (compiled.len() + arguments.map_or(0, <[u8]>::len)) as u64))?;
    let query = Query::from_bytes(compiled).or_else(refused)?;
    let parameters = arguments.map_or(Ok(Vec::new()), Value::list_from_document).or_else(refused)?;
    check()?;
    let (query, indexes) = (Prepared::new(query), Arc::default());
    let request =
        Request { query: &query, parameters: &parameters, indexes: &indexes, schema: None, token: None };
    let mut documents = Documents { rows, planning: (0, 0) };
    let plan = plan(&request, &mut documents).or_else(|error| match error {
        PlanError::Query(error) => refused(error),
        PlanError::Statistics(never) => match never {},
    })?;
    gas.charge(gas::database(documents.planning.0, documents.planning.1))?;

    let mut executor = execute(plan, Budget::default());
    let mut steps = VecDeque::new();
    loop {
        let before = executor.counts();
        let step = match executor.step(&mut documents) {
            Ok(step) => step,
            Err(error) => {
                steps.push_back(Step::Failed(error.to_string()));
                return Ok(steps);
            }
        };
        let after = executor.counts();
        let examined = |counts: dotdb::query::Counts| counts.records + counts.entries + counts.fetched;
        let cost = gas::database(examined(after) - examined(before), after.bytes - before.bytes);
        steps.push_back(Step::Work(cost));
        match step {
            ExecuteStep::Row(row) => steps.push_back(Step::Row(row.key.unwrap_or_default(), row.document)),
            ExecuteStep::Working => {}
            ExecuteStep::Done => return Ok(steps),
        }
    }
}
