//! The part of SQL's expressions that the language has, as hooks of the SQL parser.
//!
//! Taking over what an expression can begin with keeps the parser from trying readings that the
//! language does not have, so that its work is proportional to the text.

use sqlparser::ast::{
    AccessExpr, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Subscript, Value,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, Word};

/// `IS MISSING`, as the parser's tree carries it.
pub(crate) const IS_MISSING: &str = "is missing";
/// `IS NOT MISSING`.
pub(crate) const IS_NOT_MISSING: &str = "is not missing";

/// `items[*].price`: a list of the array's path and of an element with the path below it.
pub(crate) const ELEMENTS: &str = "elements";

#[derive(Debug)]
pub(crate) struct DotDialect;

impl Dialect for DotDialect {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_'
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        c == '"'
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        Some(prefix(parser))
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        infix(parser, expr).transpose()
    }
}

/// An error as the parser words it: the place at the end.
pub(crate) fn fail<T>(problem: &str, at: Location) -> Result<T, ParserError> {
    Err(ParserError::ParserError(format!("{problem}{at}")))
}

fn prefix(parser: &mut Parser) -> Result<Expr, ParserError> {
    let token = parser.peek_token();
    let start = token.span.start;
    match token.token {
        Token::Word(word) if word.quote_style.is_none() => match word.keyword {
            Keyword::NOT => {
                parser.next_token();
                let precedence = DotDialect.prec_value(Precedence::UnaryNot);
                let expr = Box::new(parser.parse_subexpr(precedence)?);
                Ok(Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr })
            }
            Keyword::TRUE | Keyword::FALSE | Keyword::NULL => parser.parse_value().map(Expr::Value),
            Keyword::CASE => fail("CASE is not supported", start),
            Keyword::CAST => fail("CAST is not supported", start),
            Keyword::EXISTS if matches!(parser.peek_nth_token(1).token, Token::LParen) => {
                fail("EXISTS is not supported: a field that is there is `field IS NOT MISSING`", start)
            }
            Keyword::SELECT | Keyword::WITH => fail("queries in queries are not supported", start),
            Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::AND
            | Keyword::OR => fail(&format!("expected a value or a path, found {}", word.value), start),
            _ => name_or_call(parser, word),
        },
        Token::Word(word) => {
            let span = parser.next_token().span;
            elements(parser, word.into_ident(span))
        }
        Token::LParen => {
            parser.next_token();
            if let Token::Word(Word { keyword: Keyword::SELECT | Keyword::WITH | Keyword::VALUES, .. }) =
                parser.peek_token().token
            {
                return fail("queries in queries are not supported", parser.peek_token().span.start);
            }
            let inner = parser.parse_expr()?;
            parser.expect_token(&Token::RParen)?;
            Ok(Expr::Nested(Box::new(inner)))
        }
        Token::Minus => {
            parser.next_token();
            let next = parser.peek_token();
            let Token::Number(digits, long) = next.token else {
                return fail("a minus sign stands only before a number", start);
            };
            parser.next_token();
            Ok(Expr::Value(Value::Number(format!("-{digits}"), long).with_span(token.span)))
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_) => {
            parser.next_token();
            let value = match token.token {
                Token::Number(digits, long) => Value::Number(digits, long),
                Token::SingleQuotedString(text) => Value::SingleQuotedString(text),
                Token::HexStringLiteral(digits) => Value::HexStringLiteral(digits),
                Token::Placeholder(name) => Value::Placeholder(name),
                _ => return fail("expected a value", start),
            };
            Ok(Expr::Value(value.with_span(token.span)))
        }
        Token::EOF => fail("expected a value or a path, found the end", start),
        other => fail(&format!("expected a value or a path, found {other}"), start),
    }
}

fn name_or_call(parser: &mut Parser, word: Word) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    let name = word.into_ident(span);
    if !parser.consume_token(&Token::LParen) {
        return elements(parser, name);
    }
    let distinct = parser.parse_keyword(Keyword::DISTINCT);
    let mut args = vec![];
    if !parser.consume_token(&Token::RParen) {
        loop {
            args.push(FunctionArg::Unnamed(if parser.consume_token(&Token::Mul) {
                FunctionArgExpr::Wildcard
            } else {
                FunctionArgExpr::Expr(parser.parse_expr()?)
            }));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    }
    Ok(Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: distinct.then_some(DuplicateTreatment::Distinct),
            args,
            clauses: vec![],
        }),
        within_group: vec![],
        filter: None,
        null_treatment: None,
        over: None,
    }))
}

/// The tokens of a path behind its first name that goes over elements; otherwise the name, whose path is the parser's.
fn elements(parser: &mut Parser, name: Ident) -> Result<Expr, ParserError> {
    // Looks ahead over `.field` and `[0]` for `[*]`.
    let mut ahead = 0;
    loop {
        let tokens = [0, 1, 2].map(|next| parser.peek_nth_token(ahead + next).token);
        match tokens {
            [Token::Period, Token::Word(_), _] => ahead += 2,
            [Token::LBracket, Token::Number(..), Token::RBracket] => ahead += 3,
            [Token::LBracket, Token::Mul, Token::RBracket] => break,
            _ => return Ok(Expr::Identifier(name)),
        }
    }
    let root = Box::new(Expr::Identifier(name.clone()));
    let access_chain = steps(parser);
    let array = match access_chain.is_empty() {
        true => Expr::Identifier(name.clone()),
        false => Expr::CompoundFieldAccess { root: root.clone(), access_chain },
    };
    for token in [Token::LBracket, Token::Mul, Token::RBracket] {
        parser.expect_token(&token)?;
    }
    let element = Expr::CompoundFieldAccess { root, access_chain: steps(parser) };
    if let [Token::LBracket, Token::Mul] = [0, 1].map(|next| parser.peek_nth_token(next).token) {
        return fail("a second `[*]` in one path", parser.peek_token().span.start);
    }
    Ok(Expr::Named { expr: Box::new(Expr::Tuple(vec![array, element])), name: Ident::new(ELEMENTS) })
}

/// Takes `.field` and `[0]`, as many as come.
fn steps(parser: &mut Parser) -> Vec<AccessExpr> {
    let mut steps = vec![];
    loop {
        match [0, 1, 2].map(|next| parser.peek_nth_token(next).token) {
            [Token::Period, Token::Word(word), _] => {
                parser.next_token();
                let span = parser.next_token().span;
                steps.push(AccessExpr::Dot(Expr::Identifier(word.into_ident(span))));
            }
            [Token::LBracket, Token::Number(digits, long), Token::RBracket] => {
                parser.next_token();
                let span = parser.next_token().span;
                parser.next_token();
                let index = Expr::Value(Value::Number(digits, long).with_span(span));
                steps.push(AccessExpr::Subscript(Subscript::Index { index }));
            }
            _ => return steps,
        }
    }
}

/// `IS [NOT] MISSING` and `[NOT] IN (...)`; the rest is the parser's.
fn infix(parser: &mut Parser, expr: &Expr) -> Result<Option<Expr>, ParserError> {
    let words = [0, 1, 2].map(|ahead| match parser.peek_nth_token(ahead).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    });
    let start = parser.peek_token().span.start;
    let (length, name) = match [&words[0][..], &words[1], &words[2]] {
        ["IS", "MISSING", _] => (2, IS_MISSING),
        ["IS", "NOT", "MISSING"] => (3, IS_NOT_MISSING),
        ["IN", ..] => (1, ""),
        ["NOT", "IN", _] => (2, ""),
        _ => return Ok(None),
    };
    if !matches!(
        expr,
        Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::CompoundFieldAccess { .. }
            | Expr::Value(_)
            | Expr::Function(_)
    ) {
        return fail("expected a path, a value or a function before it", start);
    }
    for _ in 0..length {
        parser.next_token();
    }
    let expr = Box::new(expr.clone());
    if !name.is_empty() {
        return Ok(Some(Expr::Named { expr, name: Ident::new(name) }));
    }
    parser.expect_token(&Token::LParen)?;
    let list = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Some(Expr::InList { expr, list, negated: length == 2 }))
}
