//! Groups of rows, and what is computed of them.

use crate::encoding;
use crate::eval::Row;
use crate::query::{Expr, Filter, Function, Query};
use crate::sum::Sum;
use crate::value::{Malformed, Value, ValueRef};

/// The functions of a query, none twice.
pub(crate) fn aggregates(query: &Query) -> Vec<(Function, Option<Expr>)> {
    let mut found: Vec<(Function, Option<Expr>)> = vec![];
    let mut see = |expr: &Expr| {
        if let Expr::Aggregate(function, argument) = expr {
            let aggregate = (*function, argument.as_deref().cloned());
            if !found.contains(&aggregate) {
                found.push(aggregate);
            }
        }
    };
    query.columns.iter().flatten().for_each(|column| see(&column.expr));
    query.order_by.iter().for_each(|order| see(&order.expr));
    if let Some(having) = &query.having {
        Filter::visit(having, &mut see);
    }
    found
}

/// One function's state.
#[derive(Clone, Debug)]
enum State {
    Count(u64),
    Sum(Sum),
    /// The value and its encoding; none yet.
    Best(Option<(Vec<u8>, Value)>),
}

/// A group: the values it is grouped by, and the functions' states.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    keys: Vec<Value>,
    states: Vec<State>,
}

impl Group {
    pub(crate) fn new(keys: Vec<Value>, aggregates: &[(Function, Option<Expr>)]) -> Group {
        let state = |(function, _): &(Function, Option<Expr>)| match function {
            Function::Count => State::Count(0),
            Function::Sum | Function::Avg => State::Sum(Sum::default()),
            Function::Min | Function::Max => State::Best(None),
        };
        Group { keys, states: aggregates.iter().map(state).collect() }
    }

    /// Takes a row in.
    pub(crate) fn add(
        &mut self,
        aggregates: &[(Function, Option<Expr>)],
        row: &impl Row,
    ) -> Result<(), Malformed> {
        for ((function, argument), state) in aggregates.iter().zip(&mut self.states) {
            let value = match argument {
                None => ValueRef::Bool(true),
                Some(argument) => row.value(argument)?,
            };
            if value.is_nothing() {
                continue;
            }
            match state {
                State::Count(count) => *count += 1,
                State::Sum(sum) => sum.add(value),
                State::Best(best) => {
                    let encoded = encoding::encode(value)?;
                    let better = best.as_ref().is_none_or(|(known, _)| match function {
                        Function::Min => encoded < *known,
                        _ => encoded > *known,
                    });
                    if better {
                        // Equal values may differ in form: the canonical one is shown.
                        *best = Some((encoded, value.to_value().canonical()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        let state = |state: &State| match state {
            State::Count(_) => 32,
            State::Sum(sum) => sum.bytes(),
            State::Best(best) => 64 + best.as_ref().map_or(0, |(encoded, _)| 2 * encoded.len() as u64),
        };
        64 + 48 * self.keys.len() as u64 + self.states.iter().map(state).sum::<u64>()
    }
}

/// A finished group as a row: of paths that it is grouped by, and of functions.
pub(crate) struct Finished<'q> {
    query: &'q Query,
    keys: Vec<Value>,
    aggregates: &'q [(Function, Option<Expr>)],
    results: Vec<Value>,
}

impl<'q> Finished<'q> {
    pub(crate) fn new(
        query: &'q Query,
        aggregates: &'q [(Function, Option<Expr>)],
        group: Group,
    ) -> Finished<'q> {
        let result = |((function, _), state): (&(Function, Option<Expr>), State)| match state {
            State::Count(count) => Value::from(count),
            State::Sum(sum) if *function == Function::Avg => sum.mean(),
            State::Sum(sum) => sum.total(),
            State::Best(best) => best.map_or(Value::Null, |(_, value)| value),
        };
        let results = aggregates.iter().zip(group.states).map(result).collect();
        Finished { query, keys: group.keys, aggregates, results }
    }

    /// A group whose functions' results are known.
    pub(crate) fn known(
        query: &'q Query,
        aggregates: &'q [(Function, Option<Expr>)],
        results: Vec<Value>,
    ) -> Finished<'q> {
        Finished { query, keys: vec![], aggregates, results }
    }
}

impl Row for Finished<'_> {
    fn value<'a>(&'a self, expr: &'a Expr) -> Result<ValueRef<'a>, Malformed> {
        let found = match expr {
            Expr::Literal(value) => return Ok(value.as_ref()),
            Expr::Aggregate(function, argument) => {
                let is_it = |(known, known_argument): &(Function, Option<Expr>)| {
                    known == function && known_argument.as_ref() == argument.as_deref()
                };
                self.aggregates.iter().position(is_it).and_then(|position| self.results.get(position))
            }
            _ => self.query.group_by.iter().position(|group| group == expr).and_then(|at| self.keys.get(at)),
        };
        Ok(found.map_or(ValueRef::Missing, Value::as_ref))
    }
}
