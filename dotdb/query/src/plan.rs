//! Plans: which way to the rows, and what is done with them.

use std::sync::Arc;

use crate::QueryError;
use crate::access::{Access, Conditions};
use crate::collation::Collation;
use crate::explain::Explain;
use crate::index::IndexSpec;
use crate::normal::normal;
use crate::page::{Position, Token};
use crate::planner::{Candidate, Choice, Planner};
use crate::prepared::{Bound, Prepared};
use crate::query::Filter;
use crate::schema::Schema;
use crate::source::{KeyRange, Statistics};
use crate::value::Value;

/// An index that is ready for queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name, none twice in a list.
    pub name: String,
    /// What it is over.
    pub spec: IndexSpec,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError<E> {
    /// The query, its values or its token are refused.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Counting rows failed.
    #[error("{0}")]
    Statistics(E),
}

/// How rows are put together.
#[derive(Clone, Debug)]
pub(crate) enum Grouping {
    /// Rows stay rows.
    None,
    /// All that is asked for is how many records there are.
    Count,
    /// All that is asked for is how many rows the ranges have.
    CountRanges,
    /// All that is asked for is at the ends of indexes: one probe a column.
    Ends(Vec<Probe>),
    /// One group, or groups that come one after the other.
    Streaming,
    /// Groups are collected.
    Collected,
}

/// A first or last row.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) access: Access,
    pub(crate) reverse: bool,
    /// Which column of the index is wanted; `None` is the key.
    pub(crate) column: Option<usize>,
}

/// Whether the records of index entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    Never,
    /// Where the entry does not have the values as the document has them.
    Inexact,
    Always,
}

/// What the executor does: made by [`plan`].
pub struct Plan {
    pub(crate) bound: Bound,
    pub(crate) indexes: Arc<[Index]>,
    /// What was looked at, and which of it was chosen.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) best: usize,
    /// Whether that was settled without counting its rows.
    pub(crate) settled: bool,
    /// How many records the collection has.
    pub(crate) total: u64,
    /// The conditions, all of which must be true.
    pub(crate) conjuncts: Vec<Filter>,
    /// Checked on an entry's values, before its record is read.
    pub(crate) entry_filter: Option<Filter>,
    /// Checked on the record.
    pub(crate) filter: Option<Filter>,
    /// Checked on groups.
    pub(crate) having: Option<Filter>,
    /// Whether rows are sorted after they were found.
    pub(crate) sort: bool,
    pub(crate) collations: Vec<Option<Collation>>,
    pub(crate) grouping: Grouping,
    pub(crate) resume: Option<Position>,
}

impl Plan {
    /// What it does, and why.
    #[must_use]
    pub fn explain(&self) -> Explain {
        crate::reasons::explain(self)
    }

    /// Whether it reads a range of an index, or of the records if none is given.
    #[must_use]
    pub fn reads(&self, index: Option<usize>, range: &KeyRange) -> bool {
        self.accesses().iter().any(|access| access.index == index && access.ranges.contains(range))
    }

    fn chosen(&self) -> &Candidate {
        &self.candidates[self.best]
    }

    /// The ways to the rows, one after the other: one but for a union.
    pub(crate) fn accesses(&self) -> &[Access] {
        &self.chosen().accesses
    }

    pub(crate) fn reverse(&self) -> bool {
        self.chosen().reverse
    }

    pub(crate) fn fetch(&self) -> Fetch {
        self.chosen().fetch
    }

    /// The index that a way goes through; `None` is the records by key.
    pub(crate) fn index_of(&self, access: usize) -> Option<&Index> {
        self.accesses().get(access)?.index.map(|number| &self.indexes[number])
    }
}

/// Everything a plan is made from.
pub struct Request<'a> {
    /// The query.
    pub query: &'a Prepared,
    /// A value for each of its parameters.
    pub parameters: &'a [Value],
    /// The collection's indexes that are ready.
    pub indexes: &'a Arc<[Index]>,
    /// The collection's schema.
    pub schema: Option<&'a Schema>,
    /// Where the last page ended.
    pub token: Option<&'a Token>,
}

/// Plans a query.
///
/// # Errors
/// [`PlanError::Query`]: the query has another number of parameters, names a field that the schema
/// forbids, needs rules of locales that are not built in, or the token is of another query;
/// [`PlanError::Statistics`].
pub fn plan<S: Statistics>(request: &Request<'_>, statistics: &mut S) -> Result<Plan, PlanError<S::Error>> {
    let bound = request.query.bind(request.parameters)?;
    if let Some(schema) = request.schema {
        request.query.paths().iter().try_for_each(|path| schema.allows(path))?;
    }
    if request.token.is_some_and(|token| token.mark != bound.mark()) {
        return Err(QueryError::Token("it is of another query, or of other values".to_owned()).into());
    }
    let resume = request.token.map(|token| token.position.clone());
    let query = request.query.query();
    let collations = query
        .order_by
        .iter()
        .map(|order| order.collation.as_deref().map(Collation::new).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let planner = Planner {
        conditions: Conditions::new(bound.filter().map(normal)),
        limit: bound.limit,
        offset: if resume.is_some() { 0 } else { bound.offset },
        grouped: request.query.is_grouped(),
        query,
        indexes: request.indexes,
    };
    let Choice { candidates, best, settled, total, grouping, sort } =
        planner.choose(statistics, resume.as_ref())?;
    let conjuncts = planner.conditions.conjuncts;
    let all =
        |numbers: &[usize]| Filter::all(numbers.iter().map(|&number| conjuncts[number].clone()).collect());
    let chosen = &candidates[best];
    let (entry_filter, filter) = (all(&chosen.entry_filter), all(&chosen.filter));
    let having = bound.having().map(normal);
    Ok(Plan {
        bound: Bound { offset: planner.offset, ..bound },
        indexes: Arc::clone(request.indexes),
        candidates,
        best,
        settled,
        total,
        conjuncts,
        entry_filter,
        filter,
        having,
        sort,
        collations,
        grouping,
        resume,
    })
}
