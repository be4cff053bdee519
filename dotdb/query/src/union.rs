//! OR over different paths: each branch by an index of its own, one after the other.

use std::collections::BTreeSet;

use crate::access::{self, Access, Conditions, MAX_RANGES};
use crate::plan::Index;
use crate::query::Filter;

/// For the first OR among the conditions whose branches all have a narrower way than all records: those ways. A record
/// can be met in several of them, and all conditions are to be checked on it.
pub(crate) fn accesses(conditions: &Conditions, indexes: &[Index]) -> Option<Vec<Access>> {
    let conjuncts = &conditions.conjuncts;
    let mut ors = conjuncts.iter().enumerate().filter_map(|(number, conjunct)| match conjunct {
        // Branches over one path are ranges of one index already.
        Filter::Or(branches) if branches.len() <= MAX_RANGES && !conditions.covers(number) => {
            Some((number, branches))
        }
        _ => None,
    });
    ors.find_map(|(number, branches)| of_or(conjuncts, number, branches, indexes))
}

fn of_or(conjuncts: &[Filter], number: usize, branches: &[Filter], indexes: &[Index]) -> Option<Vec<Access>> {
    let others = conjuncts.iter().enumerate().filter(|(other, _)| *other != number);
    let others: Vec<Filter> = others.map(|(_, filter)| filter.clone()).collect();
    let mut found = vec![];
    let mut ranges = 0;
    for branch in branches {
        let all = others.iter().cloned().chain([branch.clone()]).collect();
        let access = best(&Conditions::new(Filter::all(all)), indexes)?;
        ranges += access.ranges.len();
        if ranges > MAX_RANGES {
            return None;
        }
        found.push(access);
    }
    Some(found)
}

/// The way that conditions narrow most, as far as can be told without counting: by the most of them, then by values
/// before ranges.
fn best(conditions: &Conditions, indexes: &[Index]) -> Option<Access> {
    let through = indexes
        .iter()
        .enumerate()
        .filter_map(|(number, index)| access::through(number, &index.spec, conditions));
    let ways = [access::primary(conditions)].into_iter().chain(through);
    let is_narrow =
        |access: &Access| !access.ranges.iter().any(|range| range.start.is_empty() && range.end.is_none());
    let mut best: Option<Access> = None;
    for access in ways.filter(is_narrow) {
        let rank = |access: &Access| (access.covers.len(), !access.ends_in_range);
        if best.as_ref().is_none_or(|best| rank(&access) > rank(best)) {
            best = Some(access);
        }
    }
    // Its numbers are of the branch's conditions.
    best.map(|access| Access { covers: BTreeSet::new(), ..access })
}
