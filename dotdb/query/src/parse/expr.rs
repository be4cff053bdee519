//! Conditions and operands.

use num_bigint::BigInt;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr as Sql, FunctionArg, FunctionArgExpr, FunctionArguments, Subscript,
    UnaryOperator, Value as SqlValue, ValueWithSpan,
};
use sqlparser::tokenizer::Location;

use super::{Read, Reader, place_of_name, start_of};
use crate::dialect::{ELEMENTS, IS_MISSING, IS_NOT_MISSING};
use crate::error::nearest;
use crate::path::{Path, Step};
use crate::query::{Comparison, Expr, Filter, Function, KEY_NAME, MAX_PARAMETERS};
use crate::value::Value;

const FUNCTIONS: &[&str] = &["count", "sum", "min", "max", "avg", "starts_with", "contains"];

impl Reader<'_> {
    pub(super) fn filter(&self, expr: Sql) -> Read<Filter> {
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
                Filter::Any(self.operand(*left)?, comparison, whole(self.operand(*right)?))
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
            Filter::Any(second, Comparison::Equal, whole(first))
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

    pub(super) fn operand(&self, expr: Sql) -> Read<Expr> {
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
            Sql::Named { expr, name } if name.value == ELEMENTS => match *expr {
                Sql::Tuple(parts) => self.elements(parts, place)?,
                _ => return self.fail("a path begins with a field's name", place),
            },
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

    /// A path over elements: the array, and behind it an element with a path below.
    fn elements(&self, parts: Vec<Sql>, place: Location) -> Read<Expr> {
        let mut parts = parts.into_iter();
        let (Some(array), Some(element)) = (parts.next(), parts.next()) else {
            return self.fail("a path begins with a field's name", place);
        };
        let Expr::Path(array) = self.operand(array)? else {
            return self.fail("`[*]` stands behind the path of an array", place);
        };
        let below = match element {
            Sql::CompoundFieldAccess { access_chain, .. } => {
                access_chain.into_iter().map(|access| self.step(access, place)).collect::<Read<Vec<_>>>()?
            }
            _ => vec![],
        };
        Ok(Expr::Elements { array, below: self.path(below, place)? })
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

/// Elements without a path below are what the array stands for in ANY.
fn whole(array: Expr) -> Expr {
    match array {
        Expr::Elements { array, below } if below.steps().is_empty() => Expr::Path(array),
        other => other,
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
