//! Cursors of queries written down and read back.
//!
//! What a query has come to is not written, but how it began and how many steps it took: it takes them again. A plan and
//! each step depend on nothing but the state and the transaction's writes of that time, which are written with it.

use std::ops::Bound;

use bytes::Bytes;
use dotdb_query::{Budget, Prepared, Progress, Query, Token, Value, execute};
use dotvm_codec::{Damage, Reader, Writer};
use imbl::OrdMap;

use super::{QueryCursor, QueryOptions, QuerySource, Work, from_execution};
use crate::collections::CollectionId;
use crate::counters::count_key;
use crate::error::DbError;
use crate::keys::prefix_end;
use crate::saved::RestoreError;
use crate::tx::Tx;

/// How a query began.
pub(crate) struct Origin {
    pub(crate) collection: CollectionId,
    pub(crate) query: Prepared,
    pub(crate) parameters: Vec<Value>,
    pub(crate) options: QueryOptions,
}

const NOT_SAVED: DbError = DbError::NotSaved { what: "a query that was not begun for that" };

impl QueryCursor {
    /// Writes it down.
    pub(crate) fn save(&self, to: &mut Writer) -> Result<(), DbError> {
        let Some(origin) = &self.origin else { return Err(NOT_SAVED) };
        let Origin { collection, query, parameters, options: QueryOptions { token, budget } } = &**origin;
        to.number(collection.0);
        to.bytes(&query.query().to_bytes());
        to.count(parameters.len());
        for parameter in parameters {
            to.bytes(&parameter.to_document().ok_or(NOT_SAVED)?);
        }
        to.optional_bytes(token.as_ref().map(Token::to_bytes).as_deref());
        [budget.rows, budget.bytes, budget.memory_bytes].into_iter().for_each(|limit| to.number(limit));
        to.word(self.source.added as u64);
        let pending = self.source.pending_in_reach();
        to.count(pending.len());
        for (key, value) in pending {
            to.bytes(key);
            to.optional_bytes(value);
        }
        to.number(self.steps);
        to.flag(self.has_row);
        to.flag(self.ended);
        self.counts().into_iter().for_each(|count| to.number(count));
        Ok(())
    }

    /// Reads it and takes its steps again, in a transaction that was read but for its cursors.
    pub(crate) fn restore(tx: &mut Tx, from: &mut Reader<'_>) -> Result<QueryCursor, RestoreError> {
        let collection = CollectionId(from.small()?);
        from.require((collection.0 as usize) < tx.opened_collections(), "a collection was not opened")?;
        let query = Query::from_bytes(from.bytes()?);
        let Ok(query) = query else { return Ok(from.damage("a cursor's query is none")?) };
        let parameters = (0..from.count(2)?).map(|_| parameter(from)).collect::<Result<Vec<_>, _>>()?;
        let token = match from.optional_bytes()?.map(Token::from_bytes).transpose() {
            Ok(token) => token,
            Err(_) => return Ok(from.damage("a query begins behind no page")?),
        };
        let budget = Budget { rows: from.number()?, bytes: from.number()?, memory_bytes: from.number()? };
        let added = from.word()? as i64;
        let mut pending = OrdMap::new();
        for _ in 0..from.count(2)? {
            let key = Bytes::copy_from_slice(from.bytes()?);
            pending.insert(key, from.optional_bytes()?.map(Bytes::copy_from_slice));
        }
        let steps = from.number()?;
        let (has_row, ended) = (from.flag()?, from.flag()?);
        let counts = [from.number()?, from.number()?, from.number()?, from.number()?, from.number()?];
        let options = QueryOptions { token, budget };
        let query = Prepared::new(query);
        let (plan, mut source) = tx.plan_on(collection, &query, &parameters, &options, pending, added)?;
        source.planning = Work::default();
        source.dives.retain(|dive| plan.reads(dive.index, &dive.range));
        let origin = Some(Box::new(Origin { collection, query, parameters, options }));
        let executor = execute(plan, budget);
        let mut cursor = QueryCursor { executor, source, has_row: false, ended: false, steps: 0, origin };
        let mut is_row = false;
        while cursor.steps < steps && !cursor.ended {
            is_row = match cursor.step() {
                Ok(progress) => progress == Progress::Row,
                // It failed then, too; a cursor that has failed is at its end.
                Err(DbError::Query(_)) => false,
                Err(error) => return Err(error.into()),
            };
        }
        cursor.has_row = is_row && has_row;
        let is_it = (cursor.steps, cursor.has_row, cursor.ended) == (steps, has_row, ended)
            && cursor.counts() == counts;
        if !is_it {
            return Err(RestoreError::OtherState { what: "what a query has read".to_owned() });
        }
        Ok(cursor)
    }

    /// Goes a step on.
    #[inline]
    pub(super) fn step(&mut self) -> Result<Progress, DbError> {
        self.steps += 1;
        let progress = self.executor.progress(&mut self.source).map_err(from_execution)?;
        match progress {
            Progress::Row => self.has_row = true,
            Progress::Working => {}
            Progress::Done => self.ended = true,
        }
        Ok(progress)
    }

    /// What the steps so far have come to.
    fn counts(&self) -> [u64; 5] {
        let counts = self.executor.counts();
        [counts.records, counts.entries, counts.fetched, counts.bytes, counts.results]
    }
}

impl QuerySource {
    /// The writes that its query can meet.
    fn pending_in_reach(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        let mut found = Vec::new();
        let indexes = (0..self.indexes.len()).map(Some);
        let mut ranges: Vec<_> = indexes.chain([None]).map(|index| self.prefix(index).to_vec()).collect();
        ranges.push(count_key(self.collection).to_vec());
        ranges.sort_unstable();
        ranges.dedup();
        for first in ranges {
            let end = prefix_end(&first);
            let bounds = (Bound::Included(&first[..]), end.as_ref().map(|key| &key[..]));
            let rows = self.pending.range::<_, [u8]>(bounds);
            found.extend(rows.map(|(key, value)| (&key[..], value.as_deref())));
        }
        found
    }
}

fn parameter(from: &mut Reader<'_>) -> Result<Value, Damage> {
    match Value::from_document(from.bytes()?) {
        Ok(value) => Ok(value),
        Err(_) => from.damage("a query's parameter is no document"),
    }
}
