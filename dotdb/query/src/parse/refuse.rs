//! Errors with their places, and what is refused by its words before it is parsed.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::MAX_TOKENS;
use crate::QueryError;

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

/// Refuses by its words what the parser need not see.
pub(super) fn refuse(text: &str, tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
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

pub(super) fn located(text: &str, problem: &str, at: Location) -> QueryError {
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
pub(super) fn parser_error(text: &str, error: ParserError) -> QueryError {
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
