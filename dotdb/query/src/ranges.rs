//! What a condition says of the values at a path, as ranges of their encodings.

use crate::encoding::{self, class_range, prefix_end, text_prefix};
use crate::index::IndexPath;
use crate::path::Path;
use crate::query::{Comparison, Expr, Filter};
use crate::value::{Class, Value};

/// What is ranged over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// The record's key, as it is.
    Key,
    /// Encodings of the value at a path.
    Path(Path),
    /// Encodings of an array's elements.
    Elements(Path, Path),
}

impl Target {
    pub(crate) fn of_column(column: &IndexPath) -> Target {
        match column {
            IndexPath::Value(path) => Target::Path(path.clone()),
            IndexPath::Elements { array, below } => Target::Elements(array.clone(), below.clone()),
        }
    }

    pub(crate) fn of_expr(expr: &Expr) -> Option<Target> {
        match expr {
            Expr::Key => Some(Target::Key),
            Expr::Path(path) => Some(Target::Path(path.clone())),
            _ => None,
        }
    }
}

/// From `start` to before `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
    /// Whether it holds one value only.
    pub(crate) point: bool,
}

impl Interval {
    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Sorted, apart from each other, none empty.
pub(crate) type Set = Vec<Interval>;

/// What one condition says of one target: it can be true only of values in `set`.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    pub(crate) target: Target,
    pub(crate) set: Set,
    /// Whether it is true of every value in `set`.
    pub(crate) exact: bool,
}

fn tidy(mut set: Set) -> Set {
    set.retain(|interval| !interval.is_empty());
    set.sort();
    let mut tidied: Set = Vec::with_capacity(set.len());
    for interval in set {
        match tidied.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| *end > interval.start) => {
                let further = match (&last.end, &interval.end) {
                    (Some(a), Some(b)) => b > a,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if further {
                    last.end = interval.end;
                    last.point = false;
                }
            }
            _ => tidied.push(interval),
        }
    }
    tidied
}

fn union(a: Set, b: Set) -> Set {
    tidy(a.into_iter().chain(b).collect())
}

pub(crate) fn intersection(a: &Set, b: &Set) -> Set {
    let (mut at, mut bt) = (0, 0);
    let mut found = vec![];
    while let (Some(x), Some(y)) = (a.get(at), b.get(bt)) {
        let start = x.start.clone().max(y.start.clone());
        let x_first = match (&x.end, &y.end) {
            (Some(x), Some(y)) => x <= y,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let end = if x_first { x.end.clone() } else { y.end.clone() };
        let interval = Interval { start, end, point: x.point || y.point };
        if !interval.is_empty() {
            found.push(interval);
        }
        if x_first { at += 1 } else { bt += 1 }
    }
    found
}

fn point(encoded: Vec<u8>) -> Interval {
    let end = prefix_end(&encoded);
    Interval { start: encoded, end, point: true }
}

fn between(start: Vec<u8>, end: Option<Vec<u8>>) -> Interval {
    Interval { start, end, point: false }
}

/// All values that are there: neither missing nor null.
pub(crate) fn something() -> Set {
    vec![between(vec![class_range(Class::Bool).0], None)]
}

/// Values at a path for which `value comparison literal` is true; `None` if they are no ranges.
fn compared(comparison: Comparison, literal: &Value) -> Option<Set> {
    if literal.as_ref().is_nothing() {
        return Some(vec![]);
    }
    let encoded = encoding::encode(literal.as_ref()).ok()?;
    let (first, behind) = class_range(literal.as_ref().class());
    let (first, behind) = (vec![first], Some(vec![behind]));
    let interval = match comparison {
        Comparison::Equal => point(encoded),
        Comparison::NotEqual => return None,
        Comparison::Less => between(first, Some(encoded)),
        Comparison::LessOrEqual => between(first, prefix_end(&encoded)),
        Comparison::Greater => between(prefix_end(&encoded)?, behind),
        Comparison::GreaterOrEqual => between(encoded, behind),
    };
    Some(tidy(vec![interval]))
}

/// The same for keys, which compare with byte strings only.
fn key_compared(comparison: Comparison, literal: &Value) -> Option<Set> {
    let Value::Bytes(key) = literal else { return Some(vec![]) };
    let after = || [&key[..], &[0]].concat();
    let interval = match comparison {
        Comparison::Equal => Interval { start: key.clone(), end: Some(after()), point: true },
        Comparison::NotEqual => return None,
        Comparison::Less => between(vec![], Some(key.clone())),
        Comparison::LessOrEqual => between(vec![], Some(after())),
        Comparison::Greater => between(after(), None),
        Comparison::GreaterOrEqual => between(key.clone(), None),
    };
    Some(tidy(vec![interval]))
}

fn exact(target: Target, set: Option<Set>) -> Vec<Constraint> {
    set.map(|set| Constraint { target, set, exact: true }).into_iter().collect()
}

/// What `filter`, bound and normal, says of targets.
pub(crate) fn constraints(filter: &Filter) -> Vec<Constraint> {
    match filter {
        Filter::Compare(Expr::Path(path), comparison, Expr::Literal(literal)) => {
            exact(Target::Path(path.clone()), compared(*comparison, literal))
        }
        Filter::Compare(Expr::Key, comparison, Expr::Literal(literal)) => {
            exact(Target::Key, key_compared(*comparison, literal))
        }
        Filter::In(value @ (Expr::Path(_) | Expr::Key), list) => {
            let Some(target) = Target::of_expr(value) else { return vec![] };
            let mut set = vec![];
            for item in list {
                let Expr::Literal(literal) = item else { return vec![] };
                let points = match target {
                    Target::Key => key_compared(Comparison::Equal, literal),
                    _ => compared(Comparison::Equal, literal),
                };
                let Some(points) = points else { return vec![] };
                set.extend(points);
            }
            exact(target, Some(tidy(set)))
        }
        Filter::IsNull(Expr::Path(path)) => {
            let set =
                vec![between(vec![class_range(Class::Missing).0], Some(vec![class_range(Class::Null).1]))];
            exact(Target::Path(path.clone()), Some(set))
        }
        Filter::IsMissing(Expr::Path(path)) => {
            exact(Target::Path(path.clone()), Some(vec![point(vec![class_range(Class::Missing).0])]))
        }
        Filter::IsNull(Expr::Key) | Filter::IsMissing(Expr::Key) => exact(Target::Key, Some(vec![])),
        Filter::Not(inner) => match &**inner {
            Filter::IsNull(Expr::Path(path)) => exact(Target::Path(path.clone()), Some(something())),
            Filter::IsMissing(Expr::Path(path)) => {
                exact(Target::Path(path.clone()), Some(vec![between(vec![class_range(Class::Null).0], None)]))
            }
            _ => vec![],
        },
        Filter::StartsWith(Expr::Path(path), Expr::Literal(Value::Text(prefix))) => {
            let start = text_prefix(prefix);
            let end = prefix_end(&start);
            exact(Target::Path(path.clone()), Some(vec![between(start, end)]))
        }
        Filter::StartsWith(Expr::Key, Expr::Literal(Value::Bytes(prefix))) => {
            exact(Target::Key, Some(vec![between(prefix.clone(), prefix_end(prefix))]))
        }
        Filter::Like(Expr::Path(path), Expr::Literal(Value::Text(pattern))) => {
            let start = text_prefix(literal_prefix(pattern));
            let end = prefix_end(&start);
            vec![Constraint {
                target: Target::Path(path.clone()),
                set: vec![between(start, end)],
                exact: false,
            }]
        }
        Filter::Like(Expr::Key, Expr::Literal(Value::Text(pattern))) => {
            let start = literal_prefix(pattern).as_bytes().to_vec();
            let end = prefix_end(&start);
            vec![Constraint { target: Target::Key, set: vec![between(start, end)], exact: false }]
        }
        Filter::Any(Expr::Literal(literal), comparison, Expr::Path(array)) => {
            let below = Path::new(vec![]);
            let Ok(below) = below else { return vec![] };
            exact(Target::Elements(array.clone(), below), compared(comparison.mirrored(), literal))
        }
        Filter::Any(Expr::Literal(literal), comparison, Expr::Elements { array, below }) => {
            let target = Target::Elements(array.clone(), below.clone());
            exact(target, compared(comparison.mirrored(), literal))
        }
        Filter::And(filters) => {
            let mut found: Vec<Constraint> = vec![];
            for constraint in filters.iter().flat_map(constraints) {
                match found.iter_mut().find(|known| known.target == constraint.target) {
                    // Different elements may satisfy the two: one of them is enough here.
                    Some(_) if matches!(constraint.target, Target::Elements(..)) => {}
                    Some(known) => known.set = intersection(&known.set, &constraint.set),
                    None => found.push(Constraint { exact: false, ..constraint }),
                }
            }
            found
        }
        Filter::Or(filters) => {
            let mut branches = filters.iter().map(constraints);
            let Some(mut found) = branches.next() else { return vec![] };
            for branch in branches {
                let alone = branch.len() == 1 && found.len() == 1;
                let mut shared = vec![];
                for known in found {
                    if let Some(other) = branch.iter().find(|other| other.target == known.target) {
                        let exact = alone && known.exact && other.exact;
                        shared.push(Constraint {
                            target: known.target,
                            set: union(known.set, other.set.clone()),
                            exact,
                        });
                    }
                }
                found = shared;
            }
            found
        }
        _ => vec![],
    }
}

/// The part of a LIKE pattern before its first wildcard.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    pattern.split(['%', '_']).next().unwrap_or_default()
}
