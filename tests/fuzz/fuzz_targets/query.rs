//! What a plan gives is what looking at every record gives, for queries, indexes and records made of
//! the input; and the input as text is a query that survives printing and compiling, or is refused.

#![no_main]

#[path = "../../../dotdb/query/tests/support/mod.rs"]
mod support;

use dotdb_query::Query;
use libfuzzer_sys::fuzz_target;

use support::choose::{self, Choices};
use support::memory::Memory;

fn survives(text: &str) -> Option<Query> {
    let query = Query::parse(text).ok()?;
    assert_eq!(Query::parse(&query.to_string()).as_ref(), Ok(&query));
    assert_eq!(Query::from_bytes(&query.to_bytes()).as_ref(), Ok(&query));
    Some(query)
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        survives(text);
    }
    let mut choices = Choices::new(bytes);
    let (text, parameters) = choose::query(&mut choices);
    let query = survives(&text).expect("chosen queries are queries");
    let indexes = choose::indexes(&mut choices);
    let pretended = choose::pretended(&mut choices);
    let mut memory = Memory::new(choose::records(&mut choices), &indexes);
    memory.pretended = pretended;
    support::check(&mut memory, &indexes, &query, &parameters);
});
