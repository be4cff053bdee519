//! Whether a condition holds of a row: true, false or unknown.

use crate::cbor;
use crate::path::{self, Path};
use crate::query::{Comparison, Expr, Filter};
use crate::value::{Malformed, ValueRef};

/// What conditions are about.
pub(crate) trait Row {
    /// The value of an operand.
    fn value<'a>(&'a self, expr: &'a Expr) -> Result<ValueRef<'a>, Malformed>;

    /// The value at a path of the document; missing in rows that are none.
    fn at(&self, _: &Path) -> Result<ValueRef<'_>, Malformed> {
        Ok(ValueRef::Missing)
    }
}

/// A record.
pub(crate) struct Record<'d> {
    pub(crate) key: &'d [u8],
    pub(crate) document: &'d [u8],
}

impl Row for Record<'_> {
    fn value<'a>(&'a self, expr: &'a Expr) -> Result<ValueRef<'a>, Malformed> {
        match expr {
            Expr::Key => Ok(ValueRef::Bytes(self.key)),
            Expr::Path(path) => self.at(path),
            Expr::Literal(value) => Ok(value.as_ref()),
            Expr::Elements { .. } | Expr::Parameter(_) | Expr::Aggregate(..) => Ok(ValueRef::Missing),
        }
    }

    fn at(&self, path: &Path) -> Result<ValueRef<'_>, Malformed> {
        path::walk(path.steps(), cbor::root(self.document)?)
    }
}

/// Evaluates a condition; `None` is unknown.
pub(crate) fn holds(filter: &Filter, row: &impl Row) -> Result<Option<bool>, Malformed> {
    Ok(match filter {
        Filter::Compare(left, comparison, right) => {
            compare(row.value(left)?, *comparison, row.value(right)?)?
        }
        Filter::In(value, list) => {
            let value = row.value(value)?;
            let mut result = Some(false);
            for item in list {
                match compare(value, Comparison::Equal, row.value(item)?)? {
                    Some(true) => return Ok(Some(true)),
                    None => result = None,
                    Some(false) => {}
                }
            }
            result
        }
        Filter::IsNull(value) => Some(row.value(value)?.is_nothing()),
        Filter::IsMissing(value) => Some(row.value(value)? == ValueRef::Missing),
        Filter::StartsWith(value, prefix) => match (row.value(value)?, row.value(prefix)?) {
            (ValueRef::Text(text), ValueRef::Text(prefix)) => Some(text.starts_with(prefix)),
            (ValueRef::Bytes(bytes), ValueRef::Bytes(prefix)) => Some(bytes.starts_with(prefix)),
            _ => None,
        },
        Filter::Like(value, pattern) => match (row.value(value)?, row.value(pattern)?) {
            (ValueRef::Text(text), ValueRef::Text(pattern)) => Some(like(text, pattern)),
            // Keys are byte strings, most of them text.
            (ValueRef::Bytes(bytes), ValueRef::Text(pattern)) if *value == Expr::Key => {
                std::str::from_utf8(bytes).ok().map(|text| like(text, pattern))
            }
            _ => None,
        },
        Filter::Any(value, comparison, array) => {
            let (array, below) = match array {
                Expr::Elements { array, below } => (row.at(array)?, below.steps()),
                array => (row.value(array)?, &[][..]),
            };
            let ValueRef::Array(array) = array else { return Ok(None) };
            let value = row.value(value)?;
            let mut elements = cbor::elements(array)?;
            let mut result = Some(false);
            while let Some(element) = elements.next()? {
                let element = path::walk(below, element)?;
                match compare(value, *comparison, element)? {
                    Some(true) => return Ok(Some(true)),
                    None => result = None,
                    Some(false) => {}
                }
            }
            result
        }
        Filter::And(filters) => {
            let mut result = Some(true);
            for filter in filters {
                match holds(filter, row)? {
                    Some(false) => return Ok(Some(false)),
                    None => result = None,
                    Some(true) => {}
                }
            }
            result
        }
        Filter::Or(filters) => {
            let mut result = Some(false);
            for filter in filters {
                match holds(filter, row)? {
                    Some(true) => return Ok(Some(true)),
                    None => result = None,
                    Some(false) => {}
                }
            }
            result
        }
        Filter::Not(filter) => holds(filter, row)?.map(|holds| !holds),
    })
}

fn compare(
    left: ValueRef<'_>,
    comparison: Comparison,
    right: ValueRef<'_>,
) -> Result<Option<bool>, Malformed> {
    if left.is_nothing() || right.is_nothing() || left.class() != right.class() {
        return Ok(None);
    }
    left.compare(right).map(|ordering| Some(comparison.holds(ordering)))
}

/// Whether `text` matches a pattern of `%` and `_`. The work is at most the product of the lengths.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    let mut text = text.chars();
    let mut pattern = pattern.chars();
    // Where to go on when the text after the last `%` does not fit: one character later.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = pattern.clone();
        let fits = match ahead.next() {
            Some('%') => {
                pattern = ahead;
                retry = Some((text.clone(), pattern.clone()));
                continue;
            }
            Some(wanted) => {
                let mut rest = text.clone();
                let fits = rest.next().is_some_and(|c| wanted == '_' || wanted == c);
                text = rest;
                pattern = ahead;
                fits
            }
            None if text.as_str().is_empty() => return true,
            None => false,
        };
        if !fits {
            let Some((from, after)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            text = from.clone();
            pattern = after.clone();
        }
    }
}
