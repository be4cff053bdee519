//! The examples of docs/query.md give what it says.

mod support;

use std::collections::BTreeMap;

use dotdb_query::{Index, IndexSpec, Query};

use support::memory::Memory;
use support::run;

/// Fenced blocks: their kind, their text, and the line on which they begin.
fn blocks(text: &str) -> Vec<(&str, String, usize)> {
    let mut found = vec![];
    let mut open: Option<(&str, String, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => open = Some((kind, String::new(), number + 1)),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, text, _))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

#[test]
fn examples_give_what_they_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/query.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = blocks(&text);
    let records: BTreeMap<Vec<u8>, Vec<u8>> = blocks
        .iter()
        .find(|(kind, ..)| *kind == "records")
        .unwrap()
        .1
        .lines()
        .map(|line| {
            let (key, json) = line.split_once(' ').unwrap();
            (key.as_bytes().to_vec(), dotdb_document::from_json(json).unwrap())
        })
        .collect();
    let indexes: Vec<Index> = ["city, age", "tags[*]", "balance"]
        .map(|spec| Index { name: spec.to_owned(), spec: IndexSpec::parse(spec).unwrap() })
        .to_vec();
    let mut memory = Memory::new(records, &indexes);
    let mut examples = 0;
    for pair in blocks.windows(2) {
        let [(kind, text, line), (expects, expected, _)] = pair else { unreachable!("windows of two") };
        if *kind != "sql" {
            continue;
        }
        examples += 1;
        let result = Query::parse(text).and_then(|query| run(&mut memory, &indexes, &query, &[], None));
        let given = match (*expects, result) {
            ("rows", Ok((rows, ..))) => {
                rows.iter().map(|row| dotdb_document::to_json(&row.document).unwrap() + "\n").collect()
            }
            ("explain", Ok((_, _, explain))) => {
                let touched = explain.actual.unwrap();
                assert_eq!((touched.records, touched.fetched), (0, 0));
                dotdb_query::Explain { actual: None, ..explain }.to_string()
            }
            ("error", Err(error)) => format!("{error}\n"),
            (_, result) => panic!("docs/query.md, line {line}: {result:?}"),
        };
        assert_eq!(given, *expected, "docs/query.md, line {line}");
    }
    assert!(examples > 10, "{examples}");
}
