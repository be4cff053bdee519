//! What neither the grammar nor the compiled form's layout ensure of a query.

use std::collections::BTreeSet;

use crate::query::{
    Expr, Filter, Function, MAX_COLUMNS, MAX_FILTER_DEPTH, MAX_LITERAL_BYTES, MAX_NODES, MAX_PARAMETERS,
    Query, Spot,
};
use crate::value::Value;

impl Query {
    /// Checks the query; says what is wrong, and where.
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
        if self.is_grouped() {
            self.check_grouped()?;
        }
        self.check_where()
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
        Ok(())
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
            Expr::Elements { .. } => {
                Err("`[*]` stands only in ANY and contains: `5 < ANY(items[*].price)`".to_owned())
            }
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
            Filter::Compare(a, _, b) | Filter::StartsWith(a, b) | Filter::Like(a, b) => {
                a.check()?;
                b.check()
            }
            Filter::Any(a, _, Expr::Elements { .. }) => a.check(),
            Filter::Any(a, _, b) => {
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
}
