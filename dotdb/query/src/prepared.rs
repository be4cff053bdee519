//! Queries made ready once, to be planned and run any number of times.

use std::sync::Arc;

use crate::QueryError;
use crate::cbor;
use crate::compiled;
use crate::group;
use crate::path::Path;
use crate::query::{Count, Expr, Filter, Function, Query};
use crate::value::Value;

/// A query with what plans need of it, whatever the values and the state. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Prepared {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    query: Query,
    parameters: usize,
    grouped: bool,
    paths: Vec<Path>,
    aggregates: Vec<(Function, Option<Expr>)>,
    names: Vec<(usize, Vec<u8>)>,
}

/// Values for a prepared query, in their places.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) prepared: Prepared,
    pub(crate) values: Vec<Value>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
}

impl Prepared {
    /// Makes a query ready.
    #[must_use]
    pub fn new(query: Query) -> Prepared {
        let columns = query.columns().unwrap_or_default();
        let mut names: Vec<(usize, Vec<u8>)> = columns
            .iter()
            .enumerate()
            .map(|(position, column)| {
                let mut name = Vec::new();
                cbor::write_text(&mut name, &column.name);
                (position, name)
            })
            .collect();
        names.sort_by(|(_, a), (_, b)| a.cmp(b));
        let shared = Shared {
            parameters: query.parameters(),
            grouped: query.is_grouped(),
            paths: query.paths().into_iter().cloned().collect(),
            aggregates: group::aggregates(&query),
            names,
            query,
        };
        Prepared { shared: Arc::new(shared) }
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.shared.query
    }

    pub(crate) fn is_grouped(&self) -> bool {
        self.shared.grouped
    }

    /// Every path that the query reads.
    pub(crate) fn paths(&self) -> &[Path] {
        &self.shared.paths
    }

    /// Its functions over rows, none twice.
    pub(crate) fn aggregates(&self) -> &[(Function, Option<Expr>)] {
        &self.shared.aggregates
    }

    /// Positions and encoded names of the columns, in the order of the resulting document.
    pub(crate) fn names(&self) -> &[(usize, Vec<u8>)] {
        &self.shared.names
    }

    /// The query with values for its parameters.
    ///
    /// # Errors
    /// [`QueryError::Parameters`], or [`QueryError::Invalid`] if LIMIT or OFFSET is no count.
    pub(crate) fn bind(&self, values: &[Value]) -> Result<Bound, QueryError> {
        let expected = self.shared.parameters;
        if expected != values.len() {
            return Err(QueryError::Parameters { expected, given: values.len() });
        }
        let number = |word: &str, count: Option<Count>| match count {
            None => Ok(None),
            Some(count) => count.value(values).map(Some).ok_or_else(|| {
                QueryError::Invalid(format!("{word} needs a number of rows from 0 to 2^64 - 1"))
            }),
        };
        Ok(Bound {
            limit: number("LIMIT", self.query().limit)?,
            offset: number("OFFSET", self.query().offset)?.unwrap_or(0),
            prepared: self.clone(),
            values: values.to_vec(),
        })
    }
}

impl From<Query> for Prepared {
    fn from(query: Query) -> Prepared {
        Prepared::new(query)
    }
}

impl Bound {
    /// What rows must satisfy.
    pub(crate) fn filter(&self) -> Option<Filter> {
        self.with_values(self.prepared.query().filter.as_ref())
    }

    /// What groups must satisfy.
    pub(crate) fn having(&self) -> Option<Filter> {
        self.with_values(self.prepared.query().having.as_ref())
    }

    fn with_values(&self, filter: Option<&Filter>) -> Option<Filter> {
        let mut filter = filter?.clone();
        filter.bind(&self.values);
        Some(filter)
    }

    /// The query with its values, as text.
    pub(crate) fn text(&self) -> String {
        self.prepared.query().bind(&self.values).to_string()
    }

    /// The mark of continuation tokens: the same for the same query with the same values, whatever LIMIT and OFFSET.
    pub(crate) fn mark(&self) -> [u8; 8] {
        compiled::mark(&self.prepared.query().bind(&self.values))
    }
}
