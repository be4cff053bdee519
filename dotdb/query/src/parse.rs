//! From text to a query: the SQL parser's tree, and what of it the language has.

use num_bigint::BigInt;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr as Sql, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, LimitClause, ObjectName, ObjectNamePart, OrderByKind, OrderBySort, Query as SqlQuery, Select,
    SelectItem, SetExpr, Statement, Subscript, TableFactor, UnaryOperator, Value as SqlValue, ValueWithSpan,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::QueryError;
use crate::dialect::{DotDialect, IS_MISSING, IS_NOT_MISSING};
use crate::error::nearest;
use crate::path::{Path, Step};
use crate::print::default_name;
use crate::query::{
    Column, Comparison, Count, Expr, Filter, Function, KEY_NAME, MAX_PARAMETERS, OrderBy, Query, Spot,
};
use crate::value::Value;

/// Longest text of a query, bytes.
pub const MAX_TEXT_BYTES: usize = 256 << 10;
/// Most words, signs and constants of a query.
pub const MAX_TOKENS: usize = 4096;
/// Deepest nesting that the SQL parser follows.
const RECURSION_LIMIT: usize = 48;

const FUNCTIONS: &[&str] = &["count", "sum", "min", "max", "avg", "starts_with", "contains"];

/// What SQL has and the language has not: the word, what must follow it, and the sentence.
const REFUSED: &[(&str, &str)] = &[
    ("JOIN", "JOIN is not supported: a query reads one collection"),
    ("UNION", "UNION is not supported: a query is one SELECT"),
    ("INTERSECT", "INTERSECT is not supported: a query is one SELECT"),
    ("EXCEPT", "EXCEPT is not supported: a query is one SELECT"),
    ("DISTINCT", "DISTINCT is not supported: use GROUP BY"),
    ("ILIKE", "ILIKE is not supported: LIKE compares text as it is"),
    ("OVER", "functions over windows are not supported"),
];

impl Query {
    /// Reads a query's text.
    ///
    /// # Errors
    /// [`QueryError::Text`] with line and column.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        if text.len() > MAX_TEXT_BYTES {
            let problem = format!("the query has {} bytes, more than {MAX_TEXT_BYTES}", text.len());
            return Err(QueryError::Text { line: 1, column: 1, problem });
        }
        let tokens = Tokenizer::new(&DotDialect, text)
            .tokenize_with_location()
            .map_err(|error| located(text, &error.message, error.location))?;
        refuse(text, &tokens)?;
        let mut parser = Parser::new(&DotDialect)
            .with_recursion_limit(RECURSION_LIMIT)
            .with_tokens_with_locations(tokens.clone());
        let mut statements = parser.parse_statements().map_err(|error| parser_error(text, error))?;
        let reader = Reader {
            text,
            tokens: &tokens,
            next_parameter: std::cell::Cell::new(0),
            numbered: std::cell::Cell::new(false),
        };
        match (statements.pop(), statements.len()) {
            (Some(Statement::Query(query)), 0) => reader.query(*query),
            (None, _) => Err(located(text, "the query is empty", Location { line: 1, column: 1 })),
            (Some(_), 0) => Err(located(text, "a query begins with SELECT", Location { line: 1, column: 1 })),
            (Some(_), _) => {
                Err(located(text, "there is more than one query", Location { line: 1, column: 1 }))
            }
        }
    }
}

impl std::str::FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Query, QueryError> {
        Query::parse(text)
    }
}

/// Refuses by its words what the parser need not see.
fn refuse(text: &str, tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let significant: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    if let Some(token) = significant.get(MAX_TOKENS) {
        let problem = format!("the query has more than {MAX_TOKENS} words and signs: use parameters");
        return Err(located(text, &problem, token.span.start));
    }
    let word = |at: usize| match significant.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let is_step = |at: usize| at > 0 && significant[at - 1].token == Token::Period;
    match word(0).as_str() {
        "SELECT" => {}
        "" if significant.is_empty() || significant[0].token == Token::EOF => {
            return Err(located(text, "the query is empty", Location { line: 1, column: 1 }));
        }
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "MERGE" | "CREATE" | "DROP" | "ALTER" | "TRUNCATE" => {
            let problem = format!("queries only read, and {} writes: a query begins with SELECT", word(0));
            return Err(located(text, &problem, significant[0].span.start));
        }
        "WITH" => {
            return Err(located(
                text,
                "WITH is not supported: a query is one SELECT",
                significant[0].span.start,
            ));
        }
        _ => {
            let found = &significant[0].token;
            let problem = format!("a query begins with SELECT, this one with {found}");
            return Err(located(text, &problem, significant[0].span.start));
        }
    }
    for at in 1..significant.len() {
        if is_step(at) {
            continue;
        }
        let place = significant[at].span.start;
        let current = word(at);
        if let Some((_, problem)) = REFUSED.iter().find(|(refused, _)| *refused == current) {
            return Err(located(text, problem, place));
        }
        let next_is_paren = significant.get(at + 1).is_some_and(|next| next.token == Token::LParen);
        if current == "FROM" && next_is_paren {
            return Err(located(
                text,
                "queries in queries are not supported",
                significant[at + 1].span.start,
            ));
        }
        if current == "SELECT" {
            return Err(located(text, "queries in queries are not supported", place));
        }
    }
    Ok(())
}

fn located(text: &str, problem: &str, at: Location) -> QueryError {
    let (line, column) = if at.line == 0 { end_of(text) } else { (at.line, at.column) };
    QueryError::Text { line, column, problem: problem.to_owned() }
}

/// Just behind the last character that is not white space.
fn end_of(text: &str) -> (u64, u64) {
    let text = text.trim_end();
    let line = text.matches('\n').count() as u64 + 1;
    let last = text.rsplit('\n').next().unwrap_or(text);
    (line, last.chars().count() as u64 + 1)
}

/// Puts the parser's error, which has its place at the end, into our form.
fn parser_error(text: &str, error: ParserError) -> QueryError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let problem = "expressions are nested too deep";
            return located(text, problem, Location { line: 1, column: 1 });
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (problem, at) = match message.rsplit_once(" at Line: ") {
        Some((problem, place)) => {
            let (line, column) = place.split_once(", Column: ").unwrap_or((place, ""));
            let number = |digits: &str| digits.trim().parse().unwrap_or(0);
            (problem, Location { line: number(line), column: number(column) })
        }
        None => (message.as_str(), Location { line: 0, column: 0 }),
    };
    let problem = match problem.split_once("Expected: ").and_then(|(_, rest)| rest.split_once(", found: ")) {
        Some((expected, "EOF")) => format!("expected {expected}, found the end"),
        Some((expected, found)) => format!("expected {expected}, found {found}"),
        None => problem.to_owned(),
    };
    located(text, &problem.replace('\n', " "), at)
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t [TokenWithSpan],
    next_parameter: std::cell::Cell<usize>,
    /// Whether `$1` and not `?` was used.
    numbered: std::cell::Cell<bool>,
}

type Read<T> = Result<T, QueryError>;

impl Reader<'_> {
    fn fail<T>(&self, problem: &str, at: Location) -> Read<T> {
        Err(located(self.text, problem, at))
    }

    /// Where an unquoted word stands that the parser did not keep the place of.
    fn place_of(&self, words: &[&str]) -> Location {
        let is_one = |token: &&TokenWithSpan| {
            matches!(&token.token, Token::Word(word) if word.quote_style.is_none()
                && words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted)))
        };
        self.tokens.iter().find(is_one).map_or(Location { line: 1, column: 1 }, |token| token.span.start)
    }

    fn query(&self, query: SqlQuery) -> Read<Query> {
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

    fn filter(&self, expr: Sql) -> Read<Filter> {
        let place = start_of(&expr);
        let negate =
            |filter: Filter, negated: bool| if negated { Filter::Not(Box::new(filter)) } else { filter };
        Ok(match expr {
            Sql::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), left, right } => {
                let mut parts = vec![*right];
                let mut rest = *left;
                while let Sql::BinaryOp { left, op: next, right } = rest {
                    if next != op {
                        rest = Sql::BinaryOp { left, op: next, right };
                        break;
                    }
                    parts.push(*right);
                    rest = *left;
                }
                parts.push(rest);
                let filters =
                    parts.into_iter().rev().map(|part| self.filter(part)).collect::<Read<Vec<_>>>()?;
                let joined =
                    if op == BinaryOperator::And { Filter::all(filters) } else { Filter::one(filters) };
                joined.map_or_else(|| self.fail("a condition is missing", place), Ok)?
            }
            Sql::Nested(inner) => self.filter(*inner)?,
            Sql::UnaryOp { op: UnaryOperator::Not, expr } => Filter::Not(Box::new(self.filter(*expr)?)),
            Sql::BinaryOp { left, op, right } => {
                let Some(comparison) = comparison(&op) else {
                    return self.fail(&format!("the operator {op} is not supported"), place);
                };
                Filter::Compare(self.operand(*left)?, comparison, self.operand(*right)?)
            }
            Sql::AnyOp { left, compare_op, right, .. } => {
                let Some(comparison) = comparison(&compare_op) else {
                    return self.fail(&format!("the operator {compare_op} is not supported"), place);
                };
                Filter::Any(self.operand(*left)?, comparison, self.operand(*right)?)
            }
            Sql::AllOp { .. } => return self.fail("ALL is not supported", place),
            Sql::InList { expr, list, negated } => {
                let list = list.into_iter().map(|value| self.operand(value)).collect::<Read<Vec<_>>>()?;
                negate(Filter::In(self.operand(*expr)?, list), negated)
            }
            Sql::Between { expr, negated, low, high } => {
                let value = self.operand(*expr)?;
                let low = Filter::Compare(value.clone(), Comparison::GreaterOrEqual, self.operand(*low)?);
                let high = Filter::Compare(value, Comparison::LessOrEqual, self.operand(*high)?);
                negate(Filter::And(vec![low, high]), negated)
            }
            Sql::Like { negated, any: false, expr, pattern, escape_char: None } => {
                negate(Filter::Like(self.operand(*expr)?, self.operand(*pattern)?), negated)
            }
            Sql::Like { .. } => return self.fail("LIKE takes one pattern of % and _, without ESCAPE", place),
            Sql::IsNull(expr) => Filter::IsNull(self.operand(*expr)?),
            Sql::IsNotNull(expr) => Filter::Not(Box::new(Filter::IsNull(self.operand(*expr)?))),
            Sql::Named { expr, name } if name.value == IS_MISSING => Filter::IsMissing(self.operand(*expr)?),
            Sql::Named { expr, name } if name.value == IS_NOT_MISSING => {
                Filter::Not(Box::new(Filter::IsMissing(self.operand(*expr)?)))
            }
            Sql::Function(function) if self.is_condition(&function) => self.condition(function)?,
            other => {
                let value = self.operand(other)?;
                Filter::Compare(value, Comparison::Equal, Expr::Literal(Value::Bool(true)))
            }
        })
    }

    fn is_condition(&self, function: &sqlparser::ast::Function) -> bool {
        let name = function.name.to_string();
        name.eq_ignore_ascii_case("starts_with") || name.eq_ignore_ascii_case("contains")
    }

    fn condition(&self, function: sqlparser::ast::Function) -> Read<Filter> {
        let place = place_of_name(&function.name);
        let name = function.name.to_string().to_ascii_lowercase();
        let mut args = self.arguments(function)?.into_iter();
        let (Some(Some(first)), Some(Some(second)), None) = (args.next(), args.next(), args.next()) else {
            return self.fail(&format!("{name} takes two arguments"), place);
        };
        Ok(if name == "contains" {
            Filter::Any(second, Comparison::Equal, first)
        } else {
            Filter::StartsWith(first, second)
        })
    }

    /// A function's arguments, `None` for `*`.
    fn arguments(&self, function: sqlparser::ast::Function) -> Read<Vec<Option<Expr>>> {
        let place = place_of_name(&function.name);
        let FunctionArguments::List(list) = function.args else {
            return self.fail("a function takes its arguments in parentheses", place);
        };
        let argument = |arg: FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.operand(expr).map(Some),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(None),
            _ => self.fail("a function takes paths and values", place),
        };
        list.args.into_iter().map(argument).collect()
    }

    fn operand(&self, expr: Sql) -> Read<Expr> {
        let place = start_of(&expr);
        Ok(match expr {
            Sql::Nested(inner) => self.operand(*inner)?,
            Sql::Identifier(name) if name.quote_style.is_none() && name.value == KEY_NAME => Expr::Key,
            Sql::Identifier(name) => Expr::Path(self.path(vec![Step::Field(name.value)], place)?),
            Sql::CompoundIdentifier(names) => {
                Expr::Path(self.path(names.into_iter().map(|name| Step::Field(name.value)).collect(), place)?)
            }
            Sql::CompoundFieldAccess { root, access_chain } => {
                let mut steps = match *root {
                    Sql::Identifier(name) => vec![Step::Field(name.value)],
                    Sql::CompoundIdentifier(names) => {
                        names.into_iter().map(|name| Step::Field(name.value)).collect()
                    }
                    _ => return self.fail("a path begins with a field's name", place),
                };
                for access in access_chain {
                    steps.push(self.step(access, place)?);
                }
                Expr::Path(self.path(steps, place)?)
            }
            Sql::Value(ValueWithSpan { value, span }) => self.value(value, span.start)?,
            Sql::Function(function) => self.aggregate(function)?,
            Sql::BinaryOp { op, .. } => {
                let problem = match comparison(&op) {
                    Some(_) => "a condition stands in WHERE or HAVING, not as a value".to_owned(),
                    None if matches!(op, BinaryOperator::And | BinaryOperator::Or) => {
                        "a condition stands in WHERE or HAVING, not as a value".to_owned()
                    }
                    None => format!(
                        "the operator {op} is not supported: queries compare values and do not compute"
                    ),
                };
                return self.fail(&problem, place);
            }
            Sql::Cast { .. } => return self.fail("casts are not supported", place),
            Sql::Collate { .. } => return self.fail("COLLATE stands only in ORDER BY", place),
            Sql::Tuple(_) => return self.fail("lists of values are not supported here", place),
            Sql::UnaryOp { op, .. } => {
                return self.fail(&format!("the operator {op} is not supported here"), place);
            }
            _ => {
                return self
                    .fail("this expression is not supported: expected a path, a value or a function", place);
            }
        })
    }

    fn path(&self, steps: Vec<Step>, place: Location) -> Read<Path> {
        Path::new(steps).or_else(|error| self.fail(&error.to_string(), place))
    }

    fn step(&self, access: AccessExpr, place: Location) -> Read<Step> {
        match access {
            AccessExpr::Dot(Sql::Identifier(name)) if name.quote_style != Some('\'') => {
                Ok(Step::Field(name.value))
            }
            AccessExpr::Subscript(Subscript::Index { index: Sql::Value(ValueWithSpan { value, span }) }) => {
                let number = match &value {
                    SqlValue::Number(digits, _) => digits.parse().ok(),
                    _ => None,
                };
                match number {
                    Some(number) => Ok(Step::Index(number)),
                    None => self.fail("an element's number is an integer from 0", span.start),
                }
            }
            _ => self.fail("a path has fields and elements: `a.b[0]`", place),
        }
    }

    fn value(&self, value: SqlValue, place: Location) -> Read<Expr> {
        Ok(Expr::Literal(match value {
            SqlValue::Null => Value::Null,
            SqlValue::Boolean(value) => Value::Bool(value),
            SqlValue::SingleQuotedString(text) => Value::Text(text),
            SqlValue::Number(digits, _) => match number(&digits) {
                Ok(value) => value,
                Err(problem) => return self.fail(problem, place),
            },
            SqlValue::HexStringLiteral(digits) => match bytes(&digits) {
                Some(bytes) => Value::Bytes(bytes),
                None => return self.fail("a byte string has an even number of hexadecimal digits", place),
            },
            SqlValue::Placeholder(name) => return self.parameter(&name, place),
            _ => return self.fail("this kind of constant is not supported", place),
        }))
    }

    fn parameter(&self, name: &str, place: Location) -> Read<Expr> {
        let next = self.next_parameter.get();
        let number = if name == "?" {
            if self.numbered.get() {
                return self.fail("a query has parameters `?` or `$1`, not both", place);
            }
            self.next_parameter.set(next + 1);
            next + 1
        } else {
            if next > 0 {
                return self.fail("a query has parameters `?` or `$1`, not both", place);
            }
            self.numbered.set(true);
            let digits = name.strip_prefix('$').unwrap_or_default();
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse::<usize>() {
                Ok(number) if plain && number > 0 => number,
                _ => return self.fail("a parameter is `?`, or `$` and a number from 1", place),
            }
        };
        if number > MAX_PARAMETERS {
            return self.fail(&format!("a query has at most {MAX_PARAMETERS} parameters"), place);
        }
        Ok(Expr::Parameter((number - 1) as u16))
    }

    fn aggregate(&self, function: sqlparser::ast::Function) -> Read<Expr> {
        let place = place_of_name(&function.name);
        let name = function.name.to_string().to_ascii_lowercase();
        let which = match name.as_str() {
            "count" => Function::Count,
            "sum" => Function::Sum,
            "min" => Function::Min,
            "max" => Function::Max,
            "avg" => Function::Avg,
            "starts_with" | "contains" => {
                return self.fail(&format!("{name} is a condition: it stands in WHERE or HAVING"), place);
            }
            _ => {
                let hint = match nearest(&name, FUNCTIONS.iter().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", FUNCTIONS.join(", ")),
                };
                return self.fail(&format!("there is no function {name}; {hint}"), place);
            }
        };
        let mut args = self.arguments(function)?.into_iter();
        let (Some(argument), None) = (args.next(), args.next()) else {
            return self.fail(&format!("{name} takes one argument"), place);
        };
        match (which, argument) {
            (Function::Count, None) => Ok(Expr::Aggregate(which, None)),
            (_, None) => self.fail(&format!("{name} takes a path; only COUNT takes *"), place),
            (_, Some(argument @ (Expr::Key | Expr::Path(_)))) => {
                Ok(Expr::Aggregate(which, Some(Box::new(argument))))
            }
            _ => self.fail(&format!("{name} takes a path or {KEY_NAME}"), place),
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

fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// As JSON has it: an integer without fraction and exponent, else a float.
fn number(digits: &str) -> Result<Value, &'static str> {
    if digits.contains(['.', 'e', 'E']) {
        return match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Float(value)),
            _ => Err("the number exceeds the range of 64-bit floats"),
        };
    }
    const TOO_WIDE: &str = "the integer exceeds 512 bits";
    // 2^512 has 155 digits.
    if digits.len() > 156 {
        return Err(TOO_WIDE);
    }
    let value: BigInt = digits.parse().map_err(|_| "the number is malformed")?;
    Value::from_integer(&value).ok_or(TOO_WIDE)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some((nibble(pair[0])? << 4 | nibble(pair[1])?) as u8)).collect()
}

fn place_of_name(name: &ObjectName) -> Location {
    match name.0.first() {
        Some(ObjectNamePart::Identifier(Ident { span, .. })) => span.start,
        _ => Location { line: 1, column: 1 },
    }
}

/// Where an expression begins. It goes down without recursion: expressions can be deep to the left.
fn start_of(expr: &Sql) -> Location {
    let mut expr = expr;
    loop {
        expr = match expr {
            Sql::Identifier(name) => return name.span.start,
            Sql::CompoundIdentifier(names) => {
                return names.first().map_or(Location { line: 1, column: 1 }, |name| name.span.start);
            }
            Sql::Value(value) => return value.span.start,
            Sql::Function(function) => return place_of_name(&function.name),
            Sql::CompoundFieldAccess { root, .. } => root,
            Sql::BinaryOp { left, .. } | Sql::AnyOp { left, .. } | Sql::AllOp { left, .. } => left,
            Sql::Nested(inner)
            | Sql::IsNull(inner)
            | Sql::IsNotNull(inner)
            | Sql::IsTrue(inner)
            | Sql::IsNotTrue(inner)
            | Sql::IsFalse(inner)
            | Sql::IsNotFalse(inner)
            | Sql::IsUnknown(inner)
            | Sql::IsNotUnknown(inner)
            | Sql::IsDistinctFrom(inner, _)
            | Sql::IsNotDistinctFrom(inner, _) => inner,
            Sql::UnaryOp { expr, .. }
            | Sql::Named { expr, .. }
            | Sql::InList { expr, .. }
            | Sql::Between { expr, .. }
            | Sql::Like { expr, .. }
            | Sql::ILike { expr, .. }
            | Sql::SimilarTo { expr, .. }
            | Sql::RLike { expr, .. }
            | Sql::Cast { expr, .. }
            | Sql::Collate { expr, .. } => expr,
            _ => return Location { line: 1, column: 1 },
        };
    }
}
