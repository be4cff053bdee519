//! From text to a query: the SQL parser's tree, and what of it the language has.

mod expr;
mod refuse;
mod select;

use sqlparser::ast::{Expr as Sql, Ident, ObjectName, ObjectNamePart, Statement};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::QueryError;
use crate::dialect::DotDialect;
use crate::query::Query;
use refuse::{located, parser_error, refuse};

/// Longest text of a query, bytes.
pub const MAX_TEXT_BYTES: usize = 256 << 10;
/// Most words, signs and constants of a query.
pub const MAX_TOKENS: usize = 4096;
/// Deepest nesting that the SQL parser follows.
const RECURSION_LIMIT: usize = 48;

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
            Sql::Tuple(parts) if !parts.is_empty() => &parts[0],
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
