//! A plan put into words.

use std::collections::BTreeSet;

use crate::access::Access;
use crate::explain::{Considered, Explain};
use crate::plan::{Fetch, Grouping, Index, Plan};
use crate::planner::Candidate;

/// What a plan does, and why.
pub(crate) fn explain(plan: &Plan) -> Explain {
    let chosen = &plan.candidates[plan.best];
    let names = |accesses: &[Access]| match accesses {
        [access] => name(&plan.indexes, access.index),
        accesses => {
            let names: Vec<String> =
                accesses.iter().map(|access| name(&plan.indexes, access.index)).collect();
            format!("union of {}", names.join(", "))
        }
    };
    let how = match &plan.grouping {
        Grouping::Count => "count of the collection".to_owned(),
        Grouping::Ends(probes) => {
            let names = probes.iter().map(|probe| name(&plan.indexes, probe.access.index));
            let names: BTreeSet<String> = names.collect();
            format!("ends of {}", names.into_iter().collect::<Vec<_>>().join(", "))
        }
        _ => names(&chosen.accesses),
    };
    let texts = |numbers: &[usize]| -> Vec<String> {
        numbers.iter().map(|&number| plan.conjuncts[number].to_string()).collect()
    };
    let within: Vec<usize> = match &chosen.accesses[..] {
        [access] => access.covers.iter().copied().collect(),
        _ => vec![],
    };
    let short = matches!(plan.grouping, Grouping::Count | Grouping::Ends(_));
    let is_scan = matches!(&chosen.accesses[..], [Access { index: None, .. }]);
    let limit = plan.bound.limit;
    let query = plan.bound.prepared.query();
    Explain {
        query: plan.bound.text(),
        access: how,
        ranges: if short { 0 } else { chosen.ranges() },
        within: texts(&within),
        backward: chosen.reverse,
        filter_on_entry: texts(&chosen.entry_filter),
        filter_on_record: texts(&chosen.filter),
        reads_records: !short
            && !matches!(plan.grouping, Grouping::CountRanges)
            && (is_scan || chosen.fetch == Fetch::Always),
        grouping: match &plan.grouping {
            Grouping::None => None,
            Grouping::Count | Grouping::Ends(_) => Some("no rows are read".to_owned()),
            Grouping::CountRanges => Some("one group, rows are counted and not read".to_owned()),
            Grouping::Streaming if query.group_by.is_empty() => Some("one group".to_owned()),
            Grouping::Streaming => Some("groups one after the other".to_owned()),
            Grouping::Collected => Some("groups collected in memory".to_owned()),
        },
        order: match (plan.sort, limit.is_some()) {
            (true, true) => Some("the first rows kept in memory (LIMIT)".to_owned()),
            (true, false) => Some("all rows sorted in memory".to_owned()),
            (false, _) if !query.order_by.is_empty() => Some("comes by itself".to_owned()),
            (false, _) => None,
        },
        limit,
        offset: plan.bound.offset,
        collection_rows: plan.total,
        estimated_rows: if short { None } else { chosen.rows },
        considered: considered(plan, &names),
        actual: None,
    }
}

fn name(indexes: &[Index], index: Option<usize>) -> String {
    match index {
        None => "records by key".to_owned(),
        Some(number) => format!("index {} ({})", indexes[number].name, indexes[number].spec),
    }
}

fn considered(plan: &Plan, names: &dyn Fn(&[Access]) -> String) -> Vec<Considered> {
    let mut considered = vec![];
    for (number, candidate) in plan.candidates.iter().enumerate() {
        let chosen = number == plan.best;
        let why = if chosen && plan.candidates.len() == 1 && plan.resume.is_some() {
            "the last page was read this way".to_owned()
        } else if chosen && plan.candidates.len() == 1 {
            "there is no other way".to_owned()
        } else if chosen && plan.settled {
            "chosen: it costs least, however many rows it has".to_owned()
        } else if chosen {
            "chosen: it costs least".to_owned()
        } else {
            format!("costs {} more", candidate.cost.saturating_sub(plan.candidates[plan.best].cost))
        };
        considered.push(Considered {
            access: names(&candidate.accesses),
            rows: candidate.rows,
            cost: Some(candidate.cost),
            chosen,
            why,
        });
    }
    for (number, index) in plan.indexes.iter().enumerate() {
        let is_it = |candidate: &Candidate| matches!(&candidate.accesses[..], [access] if access.index == Some(number));
        if !plan.candidates.iter().any(is_it) {
            let why = match index.spec.element_column() {
                Some(column) => {
                    format!("no condition that it can use is on {}", index.spec.columns()[column])
                }
                None => "the last page was read another way".to_owned(),
            };
            considered.push(Considered {
                access: name(&plan.indexes, Some(number)),
                rows: None,
                cost: None,
                chosen: false,
                why,
            });
        }
    }
    considered
}
