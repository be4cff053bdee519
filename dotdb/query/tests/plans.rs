//! What plans give is what looking at every record gives.

mod support;

use std::collections::BTreeMap;

use dotdb_query::Query;
use proptest::prelude::*;

use support::choose::{self, Choices};
use support::memory::Memory;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn planned_is_naive(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut choices = Choices::new(&bytes);
        let queries: Vec<_> = (0..3).map(|_| choose::query(&mut choices)).collect();
        let indexes = choose::indexes(&mut choices);
        let pretended = choose::pretended(&mut choices);
        let mut memory = Memory::new(choose::records(&mut choices), &indexes);
        memory.pretended = pretended;
        for (text, parameters) in queries {
            let query = Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            prop_assert_eq!(&Query::parse(&query.to_string()).unwrap(), &query);
            prop_assert_eq!(&Query::from_bytes(&query.to_bytes()).unwrap(), &query);
            support::check(&mut memory, &indexes, &query, &parameters);
        }
    }
}

/// The random queries above meet every kind of plan, with rows in the result.
#[test]
fn every_kind_of_plan_is_met() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut met: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..4000 {
        let bytes: Vec<u8> = (0..600).map(|_| random.u8(..)).collect();
        let mut choices = Choices::new(&bytes);
        let (text, parameters) = choose::query(&mut choices);
        let indexes = choose::indexes(&mut choices);
        let pretended = choose::pretended(&mut choices);
        let mut memory = Memory::new(choose::records(&mut choices), &indexes);
        memory.pretended = pretended;
        let query = Query::parse(&text).unwrap();
        let (rows, _, explain) = support::run(&mut memory, &indexes, &query, &parameters, None).unwrap();
        support::naive::compare(&memory, &query, &parameters, &rows, &explain.to_string());
        let by_index = explain.access.starts_with("index");
        let is = |part: &Option<String>, text: &str| part.as_ref().is_some_and(|part| part.contains(text));
        for (kind, is_met) in [
            ("records, all", !by_index && explain.ranges == 1 && explain.within.is_empty()),
            ("records, a range", explain.access.starts_with("records") && !explain.within.is_empty()),
            ("an index, a range", by_index && explain.ranges == 1 && !explain.within.is_empty()),
            ("an index, ranges", by_index && explain.ranges > 1),
            ("an index, all of it", by_index && explain.within.is_empty()),
            ("elements", by_index && explain.access.contains("[*]")),
            ("an index alone", by_index && !explain.reads_records),
            ("a filter on entries", !explain.filter_on_entry.is_empty()),
            ("a filter on records", by_index && !explain.filter_on_record.is_empty()),
            ("backward", explain.backward),
            ("a union", explain.access.starts_with("union")),
            ("counted", is(&explain.grouping, "counted")),
            ("elements below", by_index && explain.within.iter().any(|text| text.contains("[*]"))),
            ("rows of entries", by_index && !explain.reads_records && explain.grouping.is_none()),
            ("ends", explain.access.starts_with("ends of index")),
            ("count", explain.access.starts_with("count")),
            ("one group", is(&explain.grouping, "one group")),
            ("groups in order", is(&explain.grouping, "after the other")),
            ("groups collected", is(&explain.grouping, "collected")),
            ("order of an index", by_index && is(&explain.order, "by itself")),
            ("sorted", is(&explain.order, "sorted")),
            ("the first rows", is(&explain.order, "LIMIT")),
        ] {
            *met.entry(kind).or_default() += u32::from(is_met && !rows.is_empty());
        }
    }
    for (kind, times) in met {
        assert!(times >= 2, "{kind}: met {times} times");
    }
}
