//! Queries answered by looking at every record, as their definition says.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use dotdb_query::query::{Comparison, Count, Expr, Filter, Function};
use dotdb_query::{Path, Query, Row, Step, Value};
use num_bigint::BigInt;

use super::memory::Memory;
use super::tree::{Tree, compare as order, decode, scaled};

/// Keys and documents.
type Records = Vec<(Vec<u8>, Tree)>;

/// What an expression is of a row.
type Lookup<'l> = &'l dyn Fn(&Expr) -> Tree;

fn of_value(value: &Value) -> Tree {
    match value {
        Value::Float(value) => Tree::Float(*value),
        value => value.to_document().map_or(Tree::Missing, |document| decode(&document)),
    }
}

fn at(path: &Path, document: &Tree) -> Tree {
    let mut tree = document.clone();
    for step in path.steps() {
        tree = match (step, tree) {
            (Step::Field(name), Tree::Map(entries)) => {
                entries.into_iter().find(|(known, _)| known == name).map_or(Tree::Missing, |(_, value)| value)
            }
            (Step::Index(index), Tree::Array(items)) => {
                items.into_iter().nth(*index as usize).unwrap_or(Tree::Missing)
            }
            _ => Tree::Missing,
        };
    }
    tree
}

fn compared(left: &Tree, comparison: Comparison, right: &Tree) -> Option<bool> {
    if left.is_nothing() || right.is_nothing() || left.kind() != right.kind() {
        return None;
    }
    let order = order(left, right);
    Some(match comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::NotEqual => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    })
}

/// Constants that a key is compared with stand for byte strings.
fn as_key(tree: Tree) -> Tree {
    match tree {
        Tree::Text(text) => Tree::Bytes(text.into_bytes()),
        Tree::Int(number) => match u64::try_from(&number) {
            Ok(number) => Tree::Bytes(number.to_be_bytes().to_vec()),
            Err(_) => Tree::Int(number),
        },
        other => other,
    }
}

fn pair(left: &Expr, right: &Expr, lookup: Lookup<'_>) -> (Tree, Tree) {
    let constant = |expr: &Expr| matches!(expr, Expr::Literal(_) | Expr::Parameter(_));
    let (l, r) = (lookup(left), lookup(right));
    match (left, right) {
        (Expr::Key, right) if constant(right) => (l, as_key(r)),
        (left, Expr::Key) if constant(left) => (as_key(l), r),
        _ => (l, r),
    }
}

/// True if one is, unknown if one is unknown, else false.
fn any(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let results: Vec<_> = results.collect();
    if results.contains(&Some(true)) {
        Some(true)
    } else if results.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        [c, rest @ ..] => text.first() == Some(c) && like(&text[1..], rest),
    }
}

fn holds(filter: &Filter, lookup: Lookup<'_>) -> Option<bool> {
    match filter {
        Filter::Compare(left, comparison, right) => {
            let (left, right) = pair(left, right, lookup);
            compared(&left, *comparison, &right)
        }
        Filter::In(value, list) => any(list.iter().map(|item| {
            let (left, right) = pair(value, item, lookup);
            compared(&left, Comparison::Equal, &right)
        })),
        Filter::IsNull(value) => Some(lookup(value).is_nothing()),
        Filter::IsMissing(value) => Some(matches!(lookup(value), Tree::Missing)),
        Filter::StartsWith(value, prefix) => match pair(value, prefix, lookup) {
            (Tree::Text(text), Tree::Text(prefix)) => Some(text.starts_with(&prefix)),
            (Tree::Bytes(bytes), Tree::Bytes(prefix)) => Some(bytes.starts_with(&prefix)),
            _ => None,
        },
        Filter::Like(value, pattern) => {
            let text = match (value, lookup(value)) {
                (_, Tree::Text(text)) => text,
                (Expr::Key, Tree::Bytes(key)) => String::from_utf8(key).ok()?,
                _ => return None,
            };
            let Tree::Text(pattern) = lookup(pattern) else { return None };
            Some(like(&text.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>()))
        }
        Filter::Any(value, comparison, array) => {
            let Tree::Array(items) = lookup(array) else { return None };
            let value = lookup(value);
            any(items.iter().map(|item| compared(&value, *comparison, item)))
        }
        Filter::Or(filters) => any(filters.iter().map(|filter| holds(filter, lookup))),
        Filter::And(filters) => {
            any(filters.iter().map(|filter| holds(filter, lookup).map(|holds| !holds))).map(|holds| !holds)
        }
        Filter::Not(filter) => holds(filter, lookup).map(|holds| !holds),
    }
}

/// Groups show 1.0 as 1.
fn canonical(tree: &Tree) -> Tree {
    match tree {
        Tree::Float(value) if value.is_finite() && value.fract() == 0.0 => {
            let integer = scaled(*value) >> 1074u32;
            let magnitude = if integer < BigInt::ZERO { -1 - &integer } else { integer.clone() };
            if magnitude.bits() <= 512 { Tree::Int(integer) } else { tree.clone() }
        }
        Tree::Array(items) => Tree::Array(items.iter().map(canonical).collect()),
        Tree::Map(entries) => {
            Tree::Map(entries.iter().map(|(name, value)| (name.clone(), canonical(value))).collect())
        }
        other => other.clone(),
    }
}

/// The float nearest to `scaled` / 2^1074 / `count`, found among the neighbours of a first guess.
fn rounded(scaled_sum: &BigInt, count: u64) -> f64 {
    let distance = |candidate: f64| {
        let difference = scaled(candidate) * count - scaled_sum;
        if difference < BigInt::ZERO { -difference } else { difference }
    };
    // Bisection over the floats, which sort as their bits do.
    let negative = *scaled_sum < BigInt::ZERO;
    let target = if negative { -scaled_sum } else { scaled_sum.clone() };
    let (mut low, mut high) = (0u64, f64::MAX.to_bits());
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if scaled(f64::from_bits(middle)) * count <= target { low = middle } else { high = middle - 1 }
    }
    let sign = if negative { -1.0 } else { 1.0 };
    let (below, above) =
        (f64::from_bits(low) * sign, f64::from_bits((low + 1).min(f64::MAX.to_bits())) * sign);
    match distance(below).cmp(&distance(above)) {
        Ordering::Less => below,
        Ordering::Greater => above,
        Ordering::Equal if low & 1 == 0 => below,
        Ordering::Equal => above,
    }
}

fn aggregate(function: Function, argument: Option<&Expr>, rows: &[(Vec<u8>, Tree)]) -> Tree {
    let values: Vec<Tree> = match argument {
        None => return Tree::Int(BigInt::from(rows.len())),
        Some(argument) => rows.iter().map(|(key, document)| record(argument, key, document, &[])).collect(),
    };
    let values: Vec<Tree> = values.into_iter().filter(|value| !value.is_nothing()).collect();
    match function {
        Function::Count => Tree::Int(BigInt::from(values.len())),
        Function::Min => values.iter().min_by(|a, b| order(a, b)).map_or(Tree::Null, canonical),
        Function::Max => values.iter().max_by(|a, b| order(a, b)).map_or(Tree::Null, canonical),
        Function::Sum | Function::Avg => {
            let numbers: Vec<&Tree> = values.iter().filter(|value| value.kind() == 4).collect();
            if numbers.is_empty() {
                return Tree::Null;
            }
            let mut sum = BigInt::ZERO;
            for number in &numbers {
                sum += match number {
                    Tree::Int(value) => value.clone() << 1074u32,
                    Tree::Float(value) => scaled(*value),
                    _ => unreachable!("a number"),
                };
            }
            if function == Function::Avg {
                return Tree::Float(rounded(&sum, numbers.len() as u64));
            }
            let integer = &sum >> 1074u32;
            let whole = (&integer << 1074u32) == sum && integer.bits() <= 512;
            if whole { Tree::Int(integer) } else { Tree::Float(rounded(&sum, 1)) }
        }
    }
}

fn record(expr: &Expr, key: &[u8], document: &Tree, parameters: &[Value]) -> Tree {
    match expr {
        Expr::Key => Tree::Bytes(key.to_vec()),
        Expr::Path(path) => at(path, document),
        Expr::Elements { array, below } => match at(array, document) {
            Tree::Array(items) => Tree::Array(items.iter().map(|item| at(below, item)).collect()),
            _ => Tree::Missing,
        },
        Expr::Literal(value) => of_value(value),
        Expr::Parameter(number) => of_value(&parameters[usize::from(*number)]),
        Expr::Aggregate(..) => unreachable!("not of a record"),
    }
}

/// A row of the expected result: how it is known, what it shows, what it is sorted by.
struct Expected {
    name: String,
    shown: Tree,
    sorted_by: Vec<Tree>,
}

fn project(query: &Query, lookup: Lookup<'_>, whole: Option<&Tree>) -> Tree {
    match query.columns() {
        None => whole.unwrap().clone(),
        Some(columns) => {
            let mut entries: Vec<(String, Tree)> =
                columns.iter().map(|column| (column.name.clone(), lookup(&column.expr))).collect();
            entries.retain(|(_, value)| !matches!(value, Tree::Missing));
            entries.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            Tree::Map(entries)
        }
    }
}

fn expected(memory: &Memory, query: &Query, parameters: &[Value]) -> Vec<Expected> {
    let mut rows: Records = vec![];
    for (key, document) in &memory.records {
        let document = decode(document);
        let lookup = |expr: &Expr| record(expr, key, &document, parameters);
        if query.filter().is_none_or(|filter| holds(filter, &lookup) == Some(true)) {
            rows.push((key.clone(), document));
        }
    }
    let sorted_by = |lookup: Lookup<'_>| query.order_by().iter().map(|order| lookup(&order.expr)).collect();
    if !query.is_grouped() {
        let row = |(key, document): &(Vec<u8>, Tree)| {
            let lookup = |expr: &Expr| record(expr, key, document, parameters);
            let shown = project(query, &lookup, Some(document));
            Expected { name: format!("{key:?}"), shown, sorted_by: sorted_by(&lookup) }
        };
        return rows.iter().map(row).collect();
    }
    let mut groups: Vec<(Vec<Tree>, Records)> = vec![];
    if query.group_by().is_empty() {
        groups.push((vec![], rows));
    } else {
        for (key, document) in rows {
            let by: Vec<Tree> =
                query.group_by().iter().map(|group| record(group, &key, &document, parameters)).collect();
            let same = |known: &[Tree]| known.iter().zip(&by).all(|(a, b)| order(a, b).is_eq());
            match groups.iter_mut().find(|(known, _)| same(known)) {
                Some((_, rows)) => rows.push((key, document)),
                None => groups.push((by, vec![(key, document)])),
            }
        }
    }
    let mut found = vec![];
    for (by, rows) in groups {
        let lookup = |expr: &Expr| match expr {
            Expr::Aggregate(function, argument) => aggregate(*function, argument.as_deref(), &rows),
            Expr::Literal(value) => of_value(value),
            Expr::Parameter(number) => of_value(&parameters[usize::from(*number)]),
            other => canonical(&by[query.group_by().iter().position(|group| group == other).unwrap()]),
        };
        if query.having().is_none_or(|having| holds(having, &lookup) == Some(true)) {
            let shown = project(query, &lookup, None);
            found.push(Expected { name: format!("{shown:?}"), shown, sorted_by: sorted_by(&lookup) });
        }
    }
    found
}

fn by_order(query: &Query, a: &[Tree], b: &[Tree]) -> Ordering {
    for (wanted, (a, b)) in query.order_by().iter().zip(a.iter().zip(b)) {
        let order = order(a, b);
        if order.is_ne() {
            return if wanted.descending { order.reverse() } else { order };
        }
    }
    Ordering::Equal
}

/// Checks rows that a plan gave.
pub fn compare(memory: &Memory, query: &Query, parameters: &[Value], rows: &[Row], explain: &str) {
    let expected = expected(memory, query, parameters);
    let mut by_name: BTreeMap<String, &Expected> =
        expected.iter().map(|row| (row.name.clone(), row)).collect();
    assert_eq!(by_name.len(), expected.len(), "rows of the result have names of their own");
    let number = |count: Option<Count>| match count {
        Some(Count::Number(number)) => Some(number as usize),
        Some(Count::Parameter(_)) => unreachable!("not generated"),
        None => None,
    };
    let offset = number(query.offset()).unwrap_or(0).min(expected.len());
    let end = number(query.limit()).map_or(expected.len(), |limit| (offset + limit).min(expected.len()));
    assert_eq!(rows.len(), end - offset, "{query}\n{parameters:?}\n{explain}");
    let mut sorted: Vec<&Expected> = expected.iter().collect();
    sorted.sort_by(|a, b| by_order(query, &a.sorted_by, &b.sorted_by));
    for (position, row) in rows.iter().enumerate() {
        let shown = decode(&row.document);
        let name = match &row.key {
            Some(key) => format!("{:?}", key.to_vec()),
            None => format!("{shown:?}"),
        };
        let found = by_name.remove(&name);
        let found = found.unwrap_or_else(|| panic!("{query}\n{parameters:?}\nunexpected: {name}\n{explain}"));
        assert_eq!(format!("{shown:?}"), format!("{:?}", found.shown), "{query}\n{explain}");
        let in_place = by_order(query, &found.sorted_by, &sorted[offset + position].sorted_by);
        assert!(in_place.is_eq(), "{query}\nrow {position} is out of order: {name}\n{explain}");
        dotdb_document::validate(&row.document).unwrap();
    }
}
