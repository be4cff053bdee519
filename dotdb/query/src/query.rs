//! A query as the parser, the compiled form, the printer and the planner know it.

use std::collections::BTreeSet;

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
    /// For ANY alone: of each element of the array at a path the value below it, `items[*].price`.
    Elements {
        /// To the array.
        array: Path,
        /// From an element down; has steps.
        below: Path,
    },
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
    pub(crate) fn name_of(&self, expr: &Expr) -> Option<Expr> {
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
            Expr::Path(path) | Expr::Elements { array: path, .. } => {
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

    /// Puts values in place of the parameters, of which there must be as many.
    pub(crate) fn bind(&self, values: &[Value]) -> Query {
        let mut query = self.clone();
        for filter in [&mut query.filter, &mut query.having].into_iter().flatten() {
            filter.bind(values);
        }
        for count in [&mut query.limit, &mut query.offset].into_iter().flatten() {
            if let Some(number) = count.value(values) {
                *count = Count::Number(number);
            }
        }
        query
    }
}

impl Count {
    /// The number; `None` if the parameter is none.
    pub(crate) fn value(self, values: &[Value]) -> Option<u64> {
        match self {
            Count::Number(number) => Some(number),
            Count::Parameter(number) => match values.get(usize::from(number)) {
                Some(Value::Int(number)) => u64::try_from(*number).ok(),
                _ => None,
            },
        }
    }
}
