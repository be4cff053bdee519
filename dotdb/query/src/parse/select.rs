//! SELECT and its clauses.

use sqlparser::ast::{
    Expr as Sql, GroupByExpr, LimitClause, ObjectName, ObjectNamePart, OrderByKind, OrderBySort,
    Query as SqlQuery, Select, SelectItem, SetExpr, TableFactor, Value as SqlValue, ValueWithSpan,
};
use sqlparser::tokenizer::Location;

use super::refuse::located;
use super::{Read, Reader, start_of};
use crate::path::Step;
use crate::print::default_name;
use crate::query::{Column, Count, Expr, OrderBy, Query, Spot};
use crate::value::Value;

impl Reader<'_> {
    pub(super) fn query(&self, query: SqlQuery) -> Read<Query> {
        let SqlQuery {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        for (is_there, word) in [
            (with.is_some(), "WITH"),
            (fetch.is_some(), "FETCH"),
            (!locks.is_empty() || for_clause.is_some(), "FOR"),
            (settings.is_some(), "SETTINGS"),
            (format_clause.is_some(), "FORMAT"),
            (!pipe_operators.is_empty(), "|>"),
        ] {
            if is_there {
                return self.fail(&format!("{word} is not supported"), self.place_of(&[word]));
            }
        }
        let SetExpr::Select(select) = *body else {
            return self.fail("a query is one SELECT", Location { line: 1, column: 1 });
        };
        let mut spots = vec![];
        let mut query = self.select(*select, &mut spots)?;
        if let Some(order_by) = order_by {
            if order_by.interpolate.is_some() {
                return self.fail("INTERPOLATE is not supported", self.place_of(&["INTERPOLATE"]));
            }
            let OrderByKind::Expressions(orders) = order_by.kind else {
                return self.fail("ORDER BY ALL is not supported", self.place_of(&["ALL"]));
            };
            for (at, order) in orders.into_iter().enumerate() {
                spots.push((Spot::Order(at), start_of(&order.expr)));
                let order = self.order(order, query.columns.as_deref().unwrap_or_default())?;
                query.order_by.push(order);
            }
        }
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return self.fail("LIMIT ... BY is not supported", self.place_of(&["LIMIT"]));
                }
                query.limit = limit.map(|limit| self.count(limit, "LIMIT")).transpose()?;
                query.offset = offset.map(|offset| self.count(offset.value, "OFFSET")).transpose()?;
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                query.limit = Some(self.count(limit, "LIMIT")?);
                query.offset = Some(self.count(offset, "OFFSET")?);
            }
        }
        let place = |spot: Spot| {
            let found = spots.iter().find(|(known, _)| *known == spot).map(|(_, place)| *place);
            found.unwrap_or(Location { line: 1, column: 1 })
        };
        query.check().map_err(|(problem, spot)| located(self.text, &problem, place(spot)))?;
        Ok(query)
    }

    fn select(&self, select: Select, spots: &mut Vec<(Spot, Location)>) -> Read<Query> {
        for (is_there, words) in [
            (select.top.is_some(), ["TOP", "TOP"]),
            (select.into.is_some(), ["INTO", "INTO"]),
            (!select.lateral_views.is_empty(), ["LATERAL", "LATERAL"]),
            (select.prewhere.is_some(), ["PREWHERE", "PREWHERE"]),
            (!select.connect_by.is_empty(), ["CONNECT", "START"]),
            (!select.cluster_by.is_empty(), ["CLUSTER", "CLUSTER"]),
            (!select.distribute_by.is_empty(), ["DISTRIBUTE", "DISTRIBUTE"]),
            (!select.sort_by.is_empty(), ["SORT", "SORT"]),
            (!select.named_window.is_empty(), ["WINDOW", "WINDOW"]),
            (select.qualify.is_some(), ["QUALIFY", "QUALIFY"]),
            (select.distinct.is_some(), ["DISTINCT", "ALL"]),
            (select.value_table_mode.is_some(), ["STRUCT", "VALUE"]),
            (select.exclude.is_some() || select.select_modifiers.is_some(), ["EXCLUDE", "SELECT"]),
        ] {
            if is_there {
                return self.fail(&format!("{} is not supported", words[0]), self.place_of(&words));
            }
        }
        let from_place = self.place_of(&["FROM"]);
        let mut tables = select.from.into_iter();
        let (table, more) = (tables.next(), tables.next());
        let Some(table) = table else {
            return self.fail("FROM with a collection is missing", Location { line: 0, column: 0 });
        };
        if more.is_some() || !table.joins.is_empty() {
            return self.fail("a query reads one collection", from_place);
        }
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = table.relation
        else {
            return self.fail("FROM takes the name of a collection", from_place);
        };
        if let Some(alias) = alias {
            return self.fail("a collection takes no other name in a query", alias.name.span.start);
        }
        let extras = args.is_some()
            || !with_hints.is_empty()
            || version.is_some()
            || with_ordinality
            || !partitions.is_empty()
            || json_path.is_some()
            || sample.is_some()
            || !index_hints.is_empty();
        if extras {
            return self.fail("FROM takes the name of a collection and nothing else", from_place);
        }
        spots.push((Spot::From, from_place));
        let from = self.name(name)?;
        let columns = self.columns(select.projection, spots)?;
        let filter = match select.selection {
            None => None,
            Some(filter) => {
                spots.push((Spot::Where, start_of(&filter)));
                Some(self.filter(filter)?)
            }
        };
        let GroupByExpr::Expressions(groups, modifiers) = select.group_by else {
            return self.fail("GROUP BY ALL is not supported", self.place_of(&["GROUP"]));
        };
        if !modifiers.is_empty() {
            return self.fail("GROUP BY takes paths and nothing else", self.place_of(&["GROUP"]));
        }
        let mut group_by = vec![];
        for (at, group) in groups.into_iter().enumerate() {
            spots.push((Spot::Group(at), start_of(&group)));
            let group = self.operand(group)?;
            group_by.push(resolve(group, columns.as_deref().unwrap_or_default()));
        }
        let having = match select.having {
            None => None,
            Some(having) => {
                spots.push((Spot::Having, start_of(&having)));
                let mut having = self.filter(having)?;
                let known = columns.as_deref().unwrap_or_default();
                having.visit_mut(&mut |expr| {
                    let taken = std::mem::replace(expr, Expr::Key);
                    *expr = resolve(taken, known);
                });
                Some(having)
            }
        };
        Ok(Query { from, columns, filter, group_by, having, order_by: vec![], limit: None, offset: None })
    }

    fn name(&self, name: ObjectName) -> Read<Vec<String>> {
        let part = |part: ObjectNamePart| match part {
            ObjectNamePart::Identifier(name) => Ok(name.value),
            ObjectNamePart::Function(_) => {
                self.fail("a name is not a function", Location { line: 1, column: 1 })
            }
        };
        name.0.into_iter().map(part).collect()
    }

    fn columns(
        &self,
        items: Vec<SelectItem>,
        spots: &mut Vec<(Spot, Location)>,
    ) -> Read<Option<Vec<Column>>> {
        let count = items.len();
        let mut columns = vec![];
        for (at, item) in items.into_iter().enumerate() {
            let (expr, alias) = match item {
                SelectItem::Wildcard(options) => {
                    let place = options.wildcard_token.0.span.start;
                    if count > 1 {
                        return self.fail("* stands alone: it shows whole documents", place);
                    }
                    let plain = options.opt_ilike.is_none()
                        && options.opt_exclude.is_none()
                        && options.opt_except.is_none()
                        && options.opt_replace.is_none()
                        && options.opt_rename.is_none();
                    if !plain {
                        return self.fail("* takes no additions: name the columns", place);
                    }
                    spots.push((Spot::Column(0), place));
                    return Ok(None);
                }
                SelectItem::QualifiedWildcard(_, options) => {
                    let place = options.wildcard_token.0.span.start;
                    return self.fail("* stands alone: it shows whole documents", place);
                }
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
                SelectItem::ExprWithAliases { expr, .. } => {
                    return self.fail("a column has one name", start_of(&expr));
                }
            };
            spots.push((Spot::Column(at), start_of(&expr)));
            let expr = self.operand(expr)?;
            let name = alias.map_or_else(|| default_name(&expr), |alias| alias.value);
            columns.push(Column { expr, name });
        }
        Ok(Some(columns))
    }

    fn order(&self, order: sqlparser::ast::OrderByExpr, columns: &[Column]) -> Read<OrderBy> {
        let place = start_of(&order.expr);
        if order.with_fill.is_some() {
            return self.fail("WITH FILL is not supported", place);
        }
        if order.options.nulls_first.is_some() {
            let problem =
                "NULLS FIRST and LAST are not supported: missing and null are least, first with ASC";
            return self.fail(problem, self.place_of(&["NULLS"]));
        }
        let descending = match order.options.sort {
            None | Some(OrderBySort::Asc) => false,
            Some(OrderBySort::Desc) => true,
            Some(OrderBySort::Using(_)) => return self.fail("USING is not supported", place),
        };
        let (expr, collation) = match order.expr {
            Sql::Collate { expr, collation } => {
                let mut parts = self.name(collation)?;
                let (Some(locale), true) = (parts.pop(), parts.is_empty()) else {
                    return self.fail("a locale is one name, such as \"de\"", place);
                };
                (*expr, Some(locale))
            }
            expr => (expr, None),
        };
        if let Sql::Value(ValueWithSpan { value: SqlValue::Number(..), .. }) = expr {
            return self.fail("ORDER BY takes columns by name, not by number", place);
        }
        Ok(OrderBy { expr: resolve(self.operand(expr)?, columns), descending, collation })
    }

    fn count(&self, expr: Sql, word: &str) -> Read<Count> {
        let place = start_of(&expr);
        match self.operand(expr)? {
            Expr::Literal(Value::Int(number)) => match u64::try_from(number) {
                Ok(number) => Ok(Count::Number(number)),
                Err(_) => self.fail(&format!("{word} is a number of rows from 0 to 2^64 - 1"), place),
            },
            Expr::Parameter(number) => Ok(Count::Parameter(number)),
            _ => self.fail(&format!("{word} takes a number of rows or a parameter"), place),
        }
    }
}

/// A column's name stands for what the column shows.
fn resolve(expr: Expr, columns: &[Column]) -> Expr {
    let Expr::Path(path) = &expr else { return expr };
    let [Step::Field(name)] = path.steps() else { return expr };
    match columns.iter().find(|column| column.name == *name) {
        Some(column) => column.expr.clone(),
        None => expr,
    }
}
