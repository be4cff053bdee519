//! A query as the parser, the compiled form, the printer and the planner know it.

use std::collections::BTreeSet;

use crate::QueryError;
use crate::path::{Path, Step};
use crate::value::Value;

/// How queries name a record's key.
pub const KEY_NAME: &str = "_key";
/// Deepest nesting of AND, OR and NOT.
pub const MAX_FILTER_DEPTH: usize = 32;
/// Most columns, groupings or orderings of a query, each.
pub const MAX_COLUMNS: usize = 256;
/// Most conditions and operands of a query's filters together.
pub const MAX_NODES: usize = 8192;
/// Most parameters of a query.
pub const MAX_PARAMETERS: usize = 1024;
/// Longest text or byte string in a query, bytes.
pub const MAX_LITERAL_BYTES: usize = 64 << 10;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A function over the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// How many rows, or how many with a value.
    Count,
    /// Exact sum of the numbers.
    Sum,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
    /// Mean of the numbers, a float.
    Avg,
}

/// What is compared, shown, grouped or ordered by.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The record's key, a byte string.
    Key,
    /// The value at a path of the document.
    Path(Path),
    /// A constant.
    Literal(Value),
    /// A value given at run time, counted from 0.
    Parameter(u16),
    /// A function over a group's rows; without argument it is `COUNT(*)`, else the argument is the
    /// key or a path.
    Aggregate(Function, Option<Box<Expr>>),
}

/// A condition, true, false or unknown of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Unknown if a side is missing or null or the sides are of different types.
    Compare(Expr, Comparison, Expr),
    /// Equal to one of them.
    In(Expr, Vec<Expr>),
    /// Missing or null.
    IsNull(Expr),
    /// Missing.
    IsMissing(Expr),
    /// The first text begins with the second.
    StartsWith(Expr, Expr),
    /// The text matches a pattern of `%` (any text) and `_` (any one character).
    Like(Expr, Expr),
    /// The comparison holds with an element of an array.
    Any(Expr, Comparison, Expr),
    /// All of two or more.
    And(Vec<Filter>),
    /// One of two or more.
    Or(Vec<Filter>),
    /// Not.
    Not(Box<Filter>),
}

/// A column of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What it shows.
    pub expr: Expr,
    /// Its name in the resulting document.
    pub name: String,
}

/// One ordering.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderBy {
    /// By what.
    pub expr: Expr,
    /// Greatest first.
    pub descending: bool,
    /// The locale by whose rules text is ordered, instead of by code point.
    pub collation: Option<String>,
}

/// A number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As written.
    Number(u64),
    /// Given at run time.
    Parameter(u16),
}

/// A query: made by [`Query::parse`] or [`Query::from_bytes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub(crate) from: Vec<String>,
    /// `None` shows whole documents.
    pub(crate) columns: Option<Vec<Column>>,
    pub(crate) filter: Option<Filter>,
    pub(crate) group_by: Vec<Expr>,
    pub(crate) having: Option<Filter>,
    pub(crate) order_by: Vec<OrderBy>,
    pub(crate) limit: Option<Count>,
    pub(crate) offset: Option<Count>,
}

/// Where in a query something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    From,
    Column(usize),
    Where,
    Group(usize),
    Having,
    Order(usize),
}

impl Query {
    /// The collection's name, in one or two parts: `collection`, or `contract` and `collection`.
    #[must_use]
    pub fn from(&self) -> &[String] {
        &self.from
    }

    /// The columns of the result; `None` if it is whole documents.
    #[must_use]
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    /// What rows must satisfy.
    #[must_use]
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// What rows are grouped by.
    #[must_use]
    pub fn group_by(&self) -> &[Expr] {
        &self.group_by
    }

    /// What groups must satisfy.
    #[must_use]
    pub fn having(&self) -> Option<&Filter> {
        self.having.as_ref()
    }

    /// What the result is ordered by.
    #[must_use]
    pub fn order_by(&self) -> &[OrderBy] {
        &self.order_by
    }

    /// Most rows of the result.
    #[must_use]
    pub fn limit(&self) -> Option<Count> {
        self.limit
    }

    /// Rows passed over first.
    #[must_use]
    pub fn offset(&self) -> Option<Count> {
        self.offset
    }

    /// How many values [`plan`](crate::plan) needs.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let mut most = 0;
        let mut see = |number: u16| most = most.max(usize::from(number) + 1);
        for filter in self.filter.iter().chain(&self.having) {
            filter.visit(&mut |expr| {
                if let Expr::Parameter(number) = expr {
                    see(*number);
                }
            });
        }
        for count in [self.limit, self.offset].into_iter().flatten() {
            if let Count::Parameter(number) = count {
                see(number);
            }
        }
        most
    }

    /// Whether rows are put together: it has a grouping or a function over rows.
    #[must_use]
    pub fn is_grouped(&self) -> bool {
        let is_aggregate = |expr: &Expr| matches!(expr, Expr::Aggregate(..));
        !self.group_by.is_empty()
            || self.having.is_some()
            || self.columns.iter().flatten().any(|column| is_aggregate(&column.expr))
            || self.order_by.iter().any(|order| is_aggregate(&order.expr))
    }

    /// Whether groups by their own order come in the order that is asked for, and in which direction.
    pub(crate) fn group_order(&self) -> Option<bool> {
        let first = self.order_by.first()?;
        let fits = self.order_by.len() <= self.group_by.len()
            && self.order_by.iter().zip(&self.group_by).all(|(order, group)| {
                order.expr == *group && order.collation.is_none() && order.descending == first.descending
            });
        fits.then_some(first.descending)
    }

    /// How GROUP BY, HAVING and ORDER BY name `expr`, where the name of a column stands for what it
    /// shows; `None` if they cannot.
    fn name_of(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Path(path) = expr else { return Some(expr.clone()) };
        let [Step::Field(name)] = path.steps() else { return Some(expr.clone()) };
        let columns = self.columns.as_deref().unwrap_or_default();
        match columns.iter().find(|column| column.name == *name) {
            Some(column) if column.expr != *expr => {
                let shows_it = columns.iter().find(|column| column.expr == *expr)?;
                Path::field(&shows_it.name).ok().map(Expr::Path)
            }
            _ => Some(expr.clone()),
        }
    }

    /// As [`Query::name_of`], of a query that was checked.
    pub(crate) fn named(&self, expr: &Expr) -> Expr {
        self.name_of(expr).unwrap_or_else(|| expr.clone())
    }

    /// Every path that the query reads, none twice.
    #[must_use]
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = BTreeSet::new();
        self.visit(&mut |expr| match expr {
            Expr::Path(path) => {
                paths.insert(path);
            }
            Expr::Aggregate(_, Some(argument)) => {
                if let Expr::Path(path) = &**argument {
                    paths.insert(path);
                }
            }
            _ => {}
        });
        paths.into_iter().collect()
    }

    fn visit<'q>(&'q self, see: &mut impl FnMut(&'q Expr)) {
        self.columns.iter().flatten().for_each(|column| see(&column.expr));
        if let Some(filter) = &self.filter {
            filter.visit(see);
        }
        self.group_by.iter().for_each(&mut *see);
        if let Some(filter) = &self.having {
            filter.visit(see);
        }
        self.order_by.iter().for_each(|order| see(&order.expr));
    }

    /// Puts values in place of the parameters.
    ///
    /// # Errors
    /// [`QueryError::Parameters`], or [`QueryError::Invalid`] if LIMIT or OFFSET is no count.
    pub(crate) fn bind(&self, values: &[Value]) -> Result<Query, QueryError> {
        let expected = self.parameters();
        if expected != values.len() {
            return Err(QueryError::Parameters { expected, given: values.len() });
        }
        let mut query = self.clone();
        for filter in [&mut query.filter, &mut query.having].into_iter().flatten() {
            filter.visit_mut(&mut |expr| {
                if let Expr::Parameter(number) = expr {
                    *expr = Expr::Literal(values[usize::from(*number)].clone());
                }
            });
        }
        for (word, count) in [("LIMIT", &mut query.limit), ("OFFSET", &mut query.offset)] {
            if let Some(Count::Parameter(number)) = count {
                let number = match &values[usize::from(*number)] {
                    Value::Int(number) => u64::try_from(*number).ok(),
                    _ => None,
                };
                let fail =
                    || QueryError::Invalid(format!("{word} needs a number of rows from 0 to 2^64 - 1"));
                *count = Some(Count::Number(number.ok_or_else(fail)?));
            }
        }
        Ok(query)
    }

    /// Checks what neither the grammar nor the compiled form's layout ensure.
    pub(crate) fn check(&self) -> Result<(), (String, Spot)> {
        if !(1..=2).contains(&self.from.len()) {
            let problem = "a collection is named `collection` or `contract.collection`";
            return Err((problem.to_owned(), Spot::From));
        }
        if self.from.iter().any(String::is_empty) {
            return Err(("the collection's name is empty".to_owned(), Spot::From));
        }
        let mut nodes = 0;
        for (filter, spot) in [(&self.filter, Spot::Where), (&self.having, Spot::Having)] {
            if let Some(filter) = filter {
                filter.check(0, &mut nodes).map_err(|problem| (problem, spot))?;
            }
        }
        self.check_lists()?;
        if self.is_grouped() { self.check_grouped() } else { self.check_plain() }
    }

    fn check_lists(&self) -> Result<(), (String, Spot)> {
        let columns = self.columns.as_deref().unwrap_or_default();
        for (what, length, spot) in [
            ("columns", columns.len(), Spot::Column(0)),
            ("groupings", self.group_by.len(), Spot::Group(0)),
            ("orderings", self.order_by.len(), Spot::Order(0)),
        ] {
            if length > MAX_COLUMNS {
                return Err((format!("the query has {length} {what}, more than {MAX_COLUMNS}"), spot));
            }
        }
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            return Err(("the query has no columns".to_owned(), Spot::Column(0)));
        }
        let mut names = BTreeSet::new();
        for (at, column) in columns.iter().enumerate() {
            if !names.insert(&column.name) {
                return Err((
                    format!("two columns have the name {:?}: name one with AS", column.name),
                    Spot::Column(at),
                ));
            }
            if !matches!(column.expr, Expr::Key | Expr::Path(_) | Expr::Aggregate(..)) {
                let problem = "a column is a path, `_key` or a function such as COUNT(*)";
                return Err((problem.to_owned(), Spot::Column(at)));
            }
            column.expr.check().map_err(|problem| (problem, Spot::Column(at)))?;
        }
        for (at, group) in self.group_by.iter().enumerate() {
            if !matches!(group, Expr::Key | Expr::Path(_)) {
                return Err(("GROUP BY takes paths and `_key`".to_owned(), Spot::Group(at)));
            }
            if self.name_of(group).is_none() {
                return Err((
                    format!("GROUP BY {group} names a column that shows another thing"),
                    Spot::Group(at),
                ));
            }
            if self.group_by[..at].contains(group) {
                return Err((format!("GROUP BY has {group} twice"), Spot::Group(at)));
            }
        }
        for (at, order) in self.order_by.iter().enumerate() {
            if !matches!(order.expr, Expr::Key | Expr::Path(_) | Expr::Aggregate(..)) {
                let problem = "ORDER BY takes paths, `_key`, columns' names and functions such as COUNT(*)";
                return Err((problem.to_owned(), Spot::Order(at)));
            }
            order.expr.check().map_err(|problem| (problem, Spot::Order(at)))?;
            if self.name_of(&order.expr).is_none() {
                let problem = format!("ORDER BY {} names a column that shows another thing", order.expr);
                return Err((problem, Spot::Order(at)));
            }
            if let Some(locale) = &order.collation {
                crate::collation::check(locale).map_err(|problem| (problem, Spot::Order(at)))?;
            }
        }
        Ok(())
    }

    fn check_grouped(&self) -> Result<(), (String, Spot)> {
        let Some(columns) = &self.columns else {
            let problem = "a grouped query shows paths of GROUP BY and functions such as COUNT(*), not *";
            return Err((problem.to_owned(), Spot::Column(0)));
        };
        let known = |expr: &Expr| match expr {
            Expr::Key | Expr::Path(_) => self.group_by.contains(expr),
            _ => true,
        };
        let problem = |expr: &Expr| {
            format!(
                "{expr} differs within a group: add it to GROUP BY, or use a function such as MIN({expr})"
            )
        };
        for (at, column) in columns.iter().enumerate() {
            if !known(&column.expr) {
                return Err((problem(&column.expr), Spot::Column(at)));
            }
        }
        for (at, order) in self.order_by.iter().enumerate() {
            if !known(&order.expr) {
                return Err((problem(&order.expr), Spot::Order(at)));
            }
        }
        let mut unknown = None;
        if let Some(having) = &self.having {
            having.visit(&mut |expr| {
                if self.name_of(expr).is_none() {
                    unknown = Some(format!("HAVING names a column by {expr} that shows another thing"));
                } else if !known(expr) && unknown.is_none() {
                    unknown = Some(problem(expr));
                }
            });
        }
        if let Some(problem) = unknown {
            return Err((problem, Spot::Having));
        }
        self.check_where()
    }

    fn check_plain(&self) -> Result<(), (String, Spot)> {
        self.check_where()
    }

    fn check_where(&self) -> Result<(), (String, Spot)> {
        let mut aggregate = None;
        if let Some(filter) = &self.filter {
            filter.visit(&mut |expr| {
                if matches!(expr, Expr::Aggregate(..)) && aggregate.is_none() {
                    aggregate = Some(format!("{expr} is of a group, WHERE is of single rows: use HAVING"));
                }
            });
        }
        aggregate.map_or(Ok(()), |problem| Err((problem, Spot::Where)))
    }
}

impl Expr {
    fn check(&self) -> Result<(), String> {
        match self {
            Expr::Key | Expr::Path(_) => Ok(()),
            Expr::Parameter(number) if usize::from(*number) < MAX_PARAMETERS => Ok(()),
            Expr::Parameter(_) => Err(format!("a query has at most {MAX_PARAMETERS} parameters")),
            Expr::Literal(value) => match value {
                Value::Missing | Value::Array(_) | Value::Map(_) => {
                    Err("the constant has no text form".to_owned())
                }
                Value::Float(value) if !value.is_finite() => Err("the constant has no text form".to_owned()),
                Value::Text(text) if text.len() > MAX_LITERAL_BYTES => {
                    Err(format!("a text has more than {MAX_LITERAL_BYTES} bytes: use a parameter"))
                }
                Value::Bytes(bytes) if bytes.len() > MAX_LITERAL_BYTES => {
                    Err(format!("a byte string has more than {MAX_LITERAL_BYTES} bytes: use a parameter"))
                }
                _ => Ok(()),
            },
            Expr::Aggregate(Function::Count, None) => Ok(()),
            Expr::Aggregate(_, None) => Err("only COUNT takes *".to_owned()),
            Expr::Aggregate(_, Some(argument)) => match **argument {
                Expr::Key | Expr::Path(_) => Ok(()),
                _ => Err("a function over rows takes a path or `_key`".to_owned()),
            },
        }
    }
}

impl Filter {
    /// Calls `see` with every operand.
    pub(crate) fn visit<'f>(&'f self, see: &mut impl FnMut(&'f Expr)) {
        match self {
            Filter::Compare(a, _, b)
            | Filter::StartsWith(a, b)
            | Filter::Like(a, b)
            | Filter::Any(a, _, b) => {
                see(a);
                see(b);
            }
            Filter::In(value, list) => {
                see(value);
                list.iter().for_each(see);
            }
            Filter::IsNull(value) | Filter::IsMissing(value) => see(value),
            Filter::And(filters) | Filter::Or(filters) => {
                for filter in filters {
                    filter.visit(see);
                }
            }
            Filter::Not(filter) => filter.visit(see),
        }
    }

    pub(crate) fn visit_mut(&mut self, see: &mut impl FnMut(&mut Expr)) {
        match self {
            Filter::Compare(a, _, b)
            | Filter::StartsWith(a, b)
            | Filter::Like(a, b)
            | Filter::Any(a, _, b) => {
                see(a);
                see(b);
            }
            Filter::In(value, list) => {
                see(value);
                list.iter_mut().for_each(see);
            }
            Filter::IsNull(value) | Filter::IsMissing(value) => see(value),
            Filter::And(filters) | Filter::Or(filters) => {
                for filter in filters {
                    filter.visit_mut(see);
                }
            }
            Filter::Not(filter) => filter.visit_mut(see),
        }
    }

    fn check(&self, depth: usize, nodes: &mut usize) -> Result<(), String> {
        if depth > MAX_FILTER_DEPTH {
            return Err(format!("conditions are nested deeper than {MAX_FILTER_DEPTH}"));
        }
        *nodes += match self {
            Filter::In(_, list) => list.len() + 1,
            _ => 1,
        };
        if *nodes > MAX_NODES {
            return Err(format!("the query has more than {MAX_NODES} conditions and operands"));
        }
        match self {
            Filter::Compare(a, _, b)
            | Filter::StartsWith(a, b)
            | Filter::Like(a, b)
            | Filter::Any(a, _, b) => {
                a.check()?;
                b.check()
            }
            Filter::In(_, list) if list.is_empty() => Err("IN needs at least one value".to_owned()),
            Filter::In(value, list) => {
                value.check()?;
                list.iter().try_for_each(Expr::check)
            }
            Filter::IsNull(value) | Filter::IsMissing(value) => value.check(),
            Filter::And(filters) => {
                if filters.len() < 2 || filters.iter().any(|filter| matches!(filter, Filter::And(_))) {
                    return Err("an AND is not in its one form".to_owned());
                }
                filters.iter().try_for_each(|filter| filter.check(depth + 1, nodes))
            }
            Filter::Or(filters) => {
                if filters.len() < 2 || filters.iter().any(|filter| matches!(filter, Filter::Or(_))) {
                    return Err("an OR is not in its one form".to_owned());
                }
                filters.iter().try_for_each(|filter| filter.check(depth + 1, nodes))
            }
            Filter::Not(filter) => filter.check(depth + 1, nodes),
        }
    }

    /// All of `filters`, in the one form.
    pub(crate) fn all(filters: Vec<Filter>) -> Option<Filter> {
        let mut flat = Vec::with_capacity(filters.len());
        for filter in filters {
            match filter {
                Filter::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 { Some(Filter::And(flat)) } else { flat.pop() }
    }

    /// One of `filters`, in the one form.
    pub(crate) fn one(filters: Vec<Filter>) -> Option<Filter> {
        let mut flat = Vec::with_capacity(filters.len());
        for filter in filters {
            match filter {
                Filter::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 { Some(Filter::Or(flat)) } else { flat.pop() }
    }
}

impl Comparison {
    /// With the sides exchanged.
    pub(crate) fn mirrored(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    pub(crate) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
