//! Ways to the rows: the records by key, or an index, each with the ranges that conditions leave.

use std::collections::{BTreeMap, BTreeSet};

use crate::encoding::prefix_end;
use crate::index::{IndexPath, IndexSpec};
use crate::plan::Index;
use crate::query::{Filter, OrderBy};
use crate::ranges::{self, Constraint, Interval, Set, Target};
use crate::source::KeyRange;

/// Most ranges of one plan: beyond, a list of values is looked up in the rows instead.
pub(crate) const MAX_RANGES: usize = 256;

/// What the top-level conditions say together.
pub(crate) struct Conditions {
    /// The conditions, all of which must be true.
    pub(crate) conjuncts: Vec<Filter>,
    /// By target: what is left of it, and which conditions say exactly that.
    targets: BTreeMap<Target, (Set, BTreeSet<usize>)>,
}

impl Conditions {
    pub(crate) fn new(filter: Option<Filter>) -> Conditions {
        let conjuncts = match filter {
            None => vec![],
            Some(Filter::And(filters)) => filters,
            Some(other) => vec![other],
        };
        let mut targets: BTreeMap<Target, (Set, BTreeSet<usize>)> = BTreeMap::new();
        for (number, conjunct) in conjuncts.iter().enumerate() {
            for Constraint { target, set, exact } in ranges::constraints(conjunct) {
                let covers: BTreeSet<usize> = exact.then_some(number).into_iter().collect();
                let is_elements = matches!(target, Target::Elements(..));
                match targets.get_mut(&target) {
                    None => {
                        targets.insert(target, (set, covers));
                    }
                    // Different elements may satisfy different conditions: the narrower one is used.
                    Some(known) if is_elements => {
                        let is_narrow = |set: &Set| set.iter().all(|interval| interval.point);
                        if is_narrow(&set) && !is_narrow(&known.0) {
                            *known = (set, covers);
                        }
                    }
                    Some((known, known_covers)) => {
                        *known = ranges::intersection(known, &set);
                        known_covers.extend(covers);
                    }
                }
            }
        }
        Conditions { conjuncts, targets }
    }

    /// The same, and that there is a value at `target`.
    pub(crate) fn with_something_at(&self, target: &Target) -> Conditions {
        let mut targets = self.targets.clone();
        let something = ranges::something();
        match targets.get_mut(target) {
            None => {
                targets.insert(target.clone(), (something, BTreeSet::new()));
            }
            Some((set, _)) => *set = ranges::intersection(set, &something),
        }
        Conditions { conjuncts: self.conjuncts.clone(), targets }
    }

    /// Whether the ranges of some target say exactly what a condition does.
    pub(crate) fn covers(&self, number: usize) -> bool {
        self.targets.values().any(|(_, covers)| covers.contains(&number))
    }

    /// Whether all rows have the same value at `target`.
    pub(crate) fn is_constant(&self, target: &Target) -> bool {
        !matches!(target, Target::Elements(..))
            && matches!(self.targets.get(target), Some((set, _)) if matches!(&set[..], [Interval { point: true, .. }]))
    }
}

/// A way to the rows.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// In the list of indexes; `None` is the records by key.
    pub(crate) index: Option<usize>,
    /// Sorted, apart from each other.
    pub(crate) ranges: Vec<KeyRange>,
    /// The conditions that every row in the ranges satisfies.
    pub(crate) covers: BTreeSet<usize>,
    /// How many columns have one value in all ranges.
    pub(crate) fixed: usize,
    /// Whether rows come sorted by the columns behind the fixed ones, then by key.
    pub(crate) sorted: bool,
    /// Whether a record can be met more than once.
    pub(crate) repeats: bool,
    /// Whether the ranges end with one that is not a list of values.
    pub(crate) ends_in_range: bool,
}

/// The records by key.
pub(crate) fn primary(conditions: &Conditions) -> Access {
    let (ranges, covers, constrained) = match conditions.targets.get(&Target::Key) {
        Some((set, covers)) => {
            let range =
                |interval: &Interval| KeyRange { start: interval.start.clone(), end: interval.end.clone() };
            (set.iter().map(range).collect(), covers.clone(), true)
        }
        None => (vec![KeyRange::all()], BTreeSet::new(), false),
    };
    let points = constrained && conditions.targets[&Target::Key].0.iter().all(|interval| interval.point);
    Access { index: None, ranges, covers, fixed: 0, sorted: true, repeats: false, ends_in_range: !points }
}

/// An index; `None` if it does not hold every row that the conditions leave.
pub(crate) fn through(number: usize, spec: &IndexSpec, conditions: &Conditions) -> Option<Access> {
    let mut prefixes: Vec<Vec<u8>> = vec![vec![]];
    let mut access = Access {
        index: Some(number),
        ranges: vec![],
        covers: BTreeSet::new(),
        fixed: 0,
        sorted: true,
        repeats: false,
        ends_in_range: false,
    };
    let mut elements_are_used = false;
    for column in spec.columns() {
        let target = Target::of_column(column);
        let Some((set, covers)) = conditions.targets.get(&target) else { break };
        let is_elements = matches!(column, IndexPath::Elements { .. });
        let points = set.iter().all(|interval| interval.point);
        if prefixes.len().saturating_mul(set.len()) > MAX_RANGES {
            break;
        }
        elements_are_used |= is_elements;
        access.covers.extend(covers);
        access.repeats |= is_elements && !(points && set.len() <= 1);
        let joined = |prefix: &Vec<u8>, end: &[u8]| [prefix, end].concat();
        if points {
            let single = prefixes.len() <= 1 && set.len() <= 1;
            access.sorted &= single;
            access.fixed += usize::from(single && access.sorted);
            prefixes = prefixes
                .iter()
                .flat_map(|prefix| set.iter().map(move |interval| joined(prefix, &interval.start)))
                .collect();
            continue;
        }
        for prefix in &prefixes {
            for interval in set {
                let end = match &interval.end {
                    Some(end) => Some(joined(prefix, end)),
                    None => prefix_end(prefix),
                };
                access.ranges.push(KeyRange { start: joined(prefix, &interval.start), end });
            }
        }
        access.ends_in_range = true;
        prefixes.clear();
        break;
    }
    access.ranges.extend(prefixes.into_iter().map(KeyRange::prefix));
    let holds_all = spec.element_column().is_none() || elements_are_used;
    holds_all.then_some(access)
}

impl Access {
    /// What rows come sorted by, behind the fixed columns.
    fn order(&self, indexes: &[Index]) -> Vec<Target> {
        if !self.sorted {
            return vec![];
        }
        let columns = self.index.map_or(&[][..], |number| indexes[number].spec.columns());
        columns.iter().skip(self.fixed).map(Target::of_column).chain([Target::Key]).collect()
    }

    /// Whether rows come sorted by `wanted`, or backwards by it.
    pub(crate) fn comes_by(&self, wanted: &[Target], indexes: &[Index], conditions: &Conditions) -> bool {
        if wanted.is_empty() {
            return true;
        }
        let mut order = self.order(indexes).into_iter().peekable();
        for target in wanted {
            while order.peek().is_some_and(|next| next != target && conditions.is_constant(next)) {
                order.next();
            }
            if order.next().as_ref() != Some(target) {
                return false;
            }
        }
        true
    }
}

/// What is left of an ordering: without what is the same in all rows, and what is behind the key.
pub(crate) enum Wanted {
    /// Rows by these targets, all in one direction.
    Scan(Vec<Target>, bool),
    /// No scan gives it.
    Sort,
}

pub(crate) fn wanted(order_by: &[OrderBy], conditions: &Conditions) -> Wanted {
    let mut targets = vec![];
    let mut reverse = None;
    for order in order_by {
        let Some(target) = Target::of_expr(&order.expr) else { return Wanted::Sort };
        if conditions.is_constant(&target) {
            continue;
        }
        if order.collation.is_some() || *reverse.get_or_insert(order.descending) != order.descending {
            return Wanted::Sort;
        }
        let is_key = target == Target::Key;
        targets.push(target);
        if is_key {
            break;
        }
    }
    Wanted::Scan(targets, reverse.unwrap_or(false))
}
