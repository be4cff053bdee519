//! Queries as text that parses back to the same query.

use std::fmt::{self, Display};

use crate::path::{write_collection, write_elements, write_name};
use crate::query::{Column, Comparison, Count, Expr, Filter, Function, KEY_NAME, OrderBy, Query};
use crate::value::{Value, ValueRef};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        match &self.columns {
            None => f.write_str("*")?,
            Some(columns) => list(f, columns)?,
        }
        f.write_str(" FROM ")?;
        for (position, part) in self.from.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            write_collection(f, part)?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        if !self.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            list(f, &self.group_by.iter().map(|group| self.named(group)).collect::<Vec<_>>())?;
        }
        if let Some(having) = &self.having {
            let mut having = having.clone();
            having.visit_mut(&mut |expr| *expr = self.named(expr));
            write!(f, " HAVING {having}")?;
        }
        if !self.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            let named = |order: &OrderBy| OrderBy { expr: self.named(&order.expr), ..order.clone() };
            list(f, &self.order_by.iter().map(named).collect::<Vec<_>>())?;
        }
        if let Some(limit) = &self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        if let Some(offset) = &self.offset {
            write!(f, " OFFSET {offset}")?;
        }
        Ok(())
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// The name that a column has without AS.
pub(crate) fn default_name(expr: &Expr) -> String {
    match expr {
        Expr::Path(path) => path.to_string(),
        other => other.to_string().to_lowercase_function(),
    }
}

trait LowercaseFunction {
    fn to_lowercase_function(self) -> String;
}

impl LowercaseFunction for String {
    /// `COUNT(*)` as `count(*)`; what is in parentheses stays.
    fn to_lowercase_function(self) -> String {
        match self.split_once('(') {
            Some((name, rest)) => format!("{}({rest}", name.to_ascii_lowercase()),
            None => self,
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        if default_name(&self.expr) != self.name {
            f.write_str(" AS ")?;
            write_name(f, &self.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        if let Some(locale) = &self.collation {
            write!(f, " COLLATE \"{}\"", locale.replace('"', "\"\""))?;
        }
        if self.descending { f.write_str(" DESC") } else { Ok(()) }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Count::Number(number) => number.fmt(f),
            Count::Parameter(number) => write!(f, "${}", number + 1),
        }
    }
}

impl Function {
    /// The name in the language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "COUNT",
            Function::Sum => "SUM",
            Function::Min => "MIN",
            Function::Max => "MAX",
            Function::Avg => "AVG",
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Key => f.write_str(KEY_NAME),
            Expr::Path(path) => path.fmt(f),
            Expr::Elements { array, below } => write_elements(f, array, below),
            Expr::Literal(value) => value.as_ref().fmt(f),
            Expr::Parameter(number) => write!(f, "${}", number + 1),
            Expr::Aggregate(function, None) => write!(f, "{}(*)", function.name()),
            Expr::Aggregate(function, Some(argument)) => write!(f, "{}({argument})", function.name()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Display for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueRef::Missing => f.write_str("MISSING"),
            ValueRef::Null => f.write_str("NULL"),
            ValueRef::Bool(true) => f.write_str("TRUE"),
            ValueRef::Bool(false) => f.write_str("FALSE"),
            ValueRef::Int(value) => value.fmt(f),
            ValueRef::Big { .. } => self.integer().unwrap_or_default().fmt(f),
            ValueRef::Float(value) => write!(f, "{value:?}"),
            ValueRef::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            ValueRef::Bytes(bytes) => {
                f.write_str("x'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
            ValueRef::Array(cbor) | ValueRef::Map(cbor) => match dotdb_document::to_json(cbor) {
                Ok(text) => f.write_str(&text),
                Err(_) => f.write_str("a damaged value"),
            },
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Compare(left, comparison, right) => write!(f, "{left} {comparison} {right}"),
            Filter::In(value, list) => {
                write!(f, "{value} IN (")?;
                self::list(f, list)?;
                f.write_str(")")
            }
            Filter::IsNull(value) => write!(f, "{value} IS NULL"),
            Filter::IsMissing(value) => write!(f, "{value} IS MISSING"),
            Filter::StartsWith(value, prefix) => write!(f, "starts_with({value}, {prefix})"),
            Filter::Like(value, pattern) => write!(f, "{value} LIKE {pattern}"),
            Filter::Any(value, comparison, array) => write!(f, "{value} {comparison} ANY({array})"),
            Filter::And(filters) => joined(f, filters, " AND ", |filter| matches!(filter, Filter::Or(_))),
            Filter::Or(filters) => joined(f, filters, " OR ", |_| false),
            Filter::Not(filter) => match &**filter {
                Filter::IsNull(value) => write!(f, "{value} IS NOT NULL"),
                Filter::IsMissing(value) => write!(f, "{value} IS NOT MISSING"),
                other => write!(f, "NOT ({other})"),
            },
        }
    }
}

fn joined(
    f: &mut fmt::Formatter<'_>,
    filters: &[Filter],
    word: &str,
    in_parentheses: impl Fn(&Filter) -> bool,
) -> fmt::Result {
    for (position, filter) in filters.iter().enumerate() {
        if position > 0 {
            f.write_str(word)?;
        }
        if in_parentheses(filter) { write!(f, "({filter})")? } else { filter.fmt(f)? }
    }
    Ok(())
}
