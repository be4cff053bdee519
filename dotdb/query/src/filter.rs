//! Conditions: their operands, and their one form.

use crate::query::{Comparison, Expr, Filter};
use crate::value::Value;

macro_rules! visitor {
    ($visit:ident, $filter:ty, $expr:ty, $iter:ident) => {
        /// Calls `see` with every operand.
        pub(crate) fn $visit<'f>(self: $filter, see: &mut impl FnMut($expr)) {
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
                    list.$iter().for_each(see);
                }
                Filter::IsNull(value) | Filter::IsMissing(value) => see(value),
                Filter::And(filters) | Filter::Or(filters) => {
                    for filter in filters {
                        filter.$visit(see);
                    }
                }
                Filter::Not(filter) => filter.$visit(see),
            }
        }
    };
}

impl Filter {
    visitor!(visit, &'f Filter, &'f Expr, iter);
    visitor!(visit_mut, &'f mut Filter, &'f mut Expr, iter_mut);

    /// Puts values in place of the parameters, of which there must be as many.
    pub(crate) fn bind(&mut self, values: &[Value]) {
        self.visit_mut(&mut |expr| {
            if let Expr::Parameter(number) = expr
                && let Some(value) = values.get(usize::from(*number))
            {
                *expr = Expr::Literal(value.clone());
            }
        });
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
