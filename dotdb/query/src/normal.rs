//! Bound conditions in a form that says the same with fewer kinds of conditions.

use crate::cbor;
use crate::query::{Comparison, Expr, Filter};
use crate::value::{Value, ValueRef};

/// Rewrites a bound filter: constants go right, keys are compared with byte strings, membership in a
/// constant array is IN, LIKE with a prefix is `starts_with`.
pub(crate) fn normal(filter: Filter) -> Filter {
    match filter {
        Filter::Compare(left @ Expr::Literal(_), comparison, right) if !matches!(right, Expr::Literal(_)) => {
            normal(Filter::Compare(right, comparison.mirrored(), left))
        }
        Filter::Compare(Expr::Key, comparison, Expr::Literal(value)) => {
            Filter::Compare(Expr::Key, comparison, Expr::Literal(key(value)))
        }
        Filter::In(Expr::Key, list) => {
            let coerce = |item| match item {
                Expr::Literal(value) => Expr::Literal(key(value)),
                other => other,
            };
            Filter::In(Expr::Key, list.into_iter().map(coerce).collect())
        }
        Filter::StartsWith(Expr::Key, Expr::Literal(value)) => {
            Filter::StartsWith(Expr::Key, Expr::Literal(key(value)))
        }
        Filter::Like(value, Expr::Literal(Value::Text(pattern))) => {
            let wildcards = pattern.matches(['%', '_']).count();
            if wildcards == 0 && value != Expr::Key {
                Filter::Compare(value, Comparison::Equal, Expr::Literal(Value::Text(pattern)))
            } else if wildcards == 1 && pattern.ends_with('%') && value != Expr::Key {
                let prefix = pattern.trim_end_matches('%').to_owned();
                Filter::StartsWith(value, Expr::Literal(Value::Text(prefix)))
            } else {
                Filter::Like(value, Expr::Literal(Value::Text(pattern)))
            }
        }
        Filter::Any(value, Comparison::Equal, Expr::Literal(Value::Array(array))) => match items(&array) {
            Some(list) => normal(Filter::In(value, list)),
            None => Filter::Any(value, Comparison::Equal, Expr::Literal(Value::Array(array))),
        },
        Filter::And(filters) => {
            let filters = filters.into_iter().map(normal).collect();
            Filter::all(filters).unwrap_or(Filter::And(vec![]))
        }
        Filter::Or(filters) => {
            let filters = filters.into_iter().map(normal).collect();
            Filter::one(filters).unwrap_or(Filter::Or(vec![]))
        }
        Filter::Not(inner) => Filter::Not(Box::new(normal(*inner))),
        other => other,
    }
}

/// What stands for a key: text for its UTF-8, an integer for the eight bytes that inserts give.
fn key(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Bytes(text.into_bytes()),
        Value::Int(number) => match u64::try_from(number) {
            Ok(number) => Value::Bytes(number.to_be_bytes().to_vec()),
            Err(_) => Value::Int(number),
        },
        other => other,
    }
}

fn items(array: &[u8]) -> Option<Vec<Expr>> {
    let mut elements = cbor::elements(array).ok()?;
    let mut list = vec![];
    while let Some(element) = elements.next().ok()? {
        list.push(Expr::Literal(ValueRef::to_value(element)));
    }
    Some(list)
}
