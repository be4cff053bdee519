//! Plans that are expected of the planner, budgets, pages under change, explanations, absent fields.

mod support;

use dotdb_query::{
    Budget, ExecuteError, Executor, Index, IndexSpec, Prepared, Query, QueryError, Request, Schema, Token,
    Value, execute, plan,
};

use support::memory::Memory;
use support::{run, run_within};

fn indexes(specs: &[&str]) -> Vec<Index> {
    specs
        .iter()
        .map(|spec| Index { name: (*spec).to_owned(), spec: IndexSpec::parse(spec).unwrap() })
        .collect()
}

/// 1,000 people of 10 cities, aged 0 to 99; every tenth without age.
fn people(indexes: &[Index]) -> Memory {
    let document = |number: u32| {
        let age =
            if number.is_multiple_of(10) { String::new() } else { format!(", \"age\": {}", number % 100) };
        let tags = if number.is_multiple_of(3) { "[\"x\", \"y\"]" } else { "[\"y\"]" };
        let json = format!("{{\"city\": \"c{}\", \"n\": {number}, \"tags\": {tags}{age}}}", number / 100);
        (format!("p{number:04}").into_bytes(), dotdb_document::from_json(&json).unwrap())
    };
    Memory::new((0..1000).map(document).collect(), indexes)
}

fn explained(memory: &mut Memory, indexes: &[Index], text: &str) -> (usize, dotdb_query::Explain) {
    let (rows, _, explain) = run(memory, indexes, &Query::parse(text).unwrap(), &[], None).unwrap();
    (rows.len(), explain)
}

#[test]
fn plans_read_what_they_need() {
    let indexes = indexes(&["city, age", "n", "tags[*]", "age"]);
    let mut memory = people(&indexes);
    // Query, rows of the result, index, records read by scan, entries, records read by key.
    for (text, rows, access, records, entries, fetched) in [
        ("SELECT * FROM p", 1000, "records by key", 1000, 0, 0),
        ("SELECT * FROM p LIMIT 3", 3, "records by key", 3, 0, 0),
        ("SELECT * FROM p WHERE _key = 'p0007'", 1, "records by key", 1, 0, 0),
        ("SELECT * FROM p WHERE _key IN ('p0007', 'p0009', 'q')", 2, "records by key", 2, 0, 0),
        ("SELECT * FROM p WHERE starts_with(_key, 'p012')", 10, "records by key", 10, 0, 0),
        ("SELECT * FROM p ORDER BY _key DESC LIMIT 2", 2, "records by key", 2, 0, 0),
        ("SELECT * FROM p WHERE n = 5", 1, "index n", 0, 1, 1),
        ("SELECT * FROM p WHERE n = 5 OR n = 7.0", 2, "index n", 0, 2, 2),
        ("SELECT * FROM p WHERE n > 995", 4, "index n", 0, 4, 4),
        ("SELECT * FROM p WHERE n > 995 AND n <= 997 AND n <> 996", 1, "index n", 0, 2, 1),
        ("SELECT * FROM p WHERE city = 'c3' AND age = 7", 1, "index city, age", 0, 1, 1),
        ("SELECT * FROM p WHERE city = 'c3' AND age < 5", 4, "index city, age", 0, 4, 4),
        ("SELECT * FROM p WHERE city = 'c3' AND age IS MISSING", 10, "index city, age", 0, 10, 10),
        ("SELECT * FROM p WHERE city = 'c3' AND n = 300", 1, "index n", 0, 1, 1),
        ("SELECT COUNT(*) FROM p WHERE city = 'c3'", 1, "index city, age", 0, 100, 0),
        ("SELECT COUNT(*) FROM p", 1, "count of the collection", 0, 0, 0),
        ("SELECT MIN(n), MAX(n) FROM p", 1, "ends of index n", 0, 2, 0),
        ("SELECT MIN(age) FROM p WHERE city = 'c4'", 1, "ends of index city, age", 0, 1, 0),
        ("SELECT MAX(_key) FROM p", 1, "ends of records by key", 1, 0, 0),
        ("SELECT * FROM p ORDER BY n LIMIT 3", 3, "index n", 0, 3, 3),
        ("SELECT * FROM p ORDER BY n DESC LIMIT 3 OFFSET 2", 3, "index n", 0, 5, 5),
        (
            "SELECT * FROM p WHERE city = 'c3' ORDER BY age DESC, _key DESC LIMIT 3",
            3,
            "index city, age",
            0,
            3,
            3,
        ),
        ("SELECT city, COUNT(*) FROM p GROUP BY city", 10, "index city, age", 0, 1000, 0),
        (
            "SELECT city, age, COUNT(*) FROM p GROUP BY city, age ORDER BY city DESC LIMIT 1",
            1,
            "index city, age",
            0,
            2,
            0,
        ),
        ("SELECT _key FROM p WHERE age = 7 LIMIT 2", 2, "index age", 0, 2, 0),
        ("SELECT COUNT(*) FROM p WHERE 'x' = ANY(tags)", 1, "index tags[*]", 0, 334, 0),
        ("SELECT n, _key FROM p WHERE n > 995", 4, "index n", 0, 4, 0),
        ("SELECT n AS a FROM p ORDER BY n DESC LIMIT 2", 2, "index n", 0, 2, 0),
        ("SELECT city FROM p WHERE city = 'c3' AND age < 5 AND age <> 2", 3, "index city, age", 0, 4, 0),
        ("SELECT n, city FROM p WHERE n > 995", 4, "index n", 0, 4, 4),
        ("SELECT COUNT(*) FROM p WHERE _key < 'p0500'", 1, "records by key", 500, 0, 0),
        ("SELECT * FROM p WHERE n > 995 OR age = 3", 14, "union of index n (n), index age (age)", 0, 14, 14),
        // 3, which both branches have, comes once; so do the nine others of that age.
        ("SELECT n FROM p WHERE n = 3 OR age = 3 ORDER BY n", 10, "union of index n (n)", 0, 11, 11),
        (
            "SELECT COUNT(*) FROM p WHERE n < 5 OR _key >= 'p0998'",
            1,
            "union of index n (n), records by key",
            2,
            5,
            5,
        ),
        ("SELECT * FROM p WHERE n > 10 OR city = 'c3'", 989, "records by key", 1000, 0, 0),
        ("SELECT * FROM p WHERE n = 5 AND n = 6", 0, "records by key", 0, 0, 0),
    ] {
        let (found, explain) = explained(&mut memory, &indexes, text);
        let actual = explain.actual.unwrap();
        let shown = format!("{text}\n{explain}");
        assert_eq!(found, rows, "{shown}");
        if rows > 0 {
            assert!(explain.access.starts_with(access), "{shown}");
        }
        assert_eq!((actual.records, actual.entries, actual.fetched), (records, entries, fetched), "{shown}");
        assert_eq!(actual.results, rows as u64);
    }
}

#[test]
fn numbers_are_shown_as_the_document_has_them() {
    let indexes = indexes(&["a"]);
    let numbers = ["1", "1.0", "2.5", "-0.0", "1e300", "[1.0]", "[2]", "null"];
    let documents = numbers.iter().enumerate().map(|(key, number)| {
        (vec![key as u8], dotdb_document::from_json(&format!("{{\"a\": {number}}}")).unwrap())
    });
    let mut memory = Memory::new(documents.collect(), &indexes);
    memory.pretended = 1000;
    let query = Query::parse("SELECT a FROM c ORDER BY a").unwrap();
    let (rows, _, explain) = run(&mut memory, &indexes, &query, &[], None).unwrap();
    let shown = |row: &dotdb_query::Row| dotdb_document::to_json(&row.document).unwrap();
    assert_eq!(
        rows.iter().map(shown).collect::<Vec<_>>(),
        [
            r#"{"a":null}"#,
            r#"{"a":-0.0}"#,
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":2.5}"#,
            r#"{"a":1e300}"#,
            r#"{"a":[1.0]}"#,
            r#"{"a":[2]}"#
        ]
    );
    // Records are read for the integral floats alone, of which 1e300 has no other form.
    let actual = explain.actual.unwrap();
    assert!(explain.access.starts_with("index a"), "{explain}");
    assert_eq!((actual.entries, actual.fetched), (8, 3));
}

#[test]
fn explanations_name_the_reasons() {
    let indexes = indexes(&["n", "tags[*]"]);
    let mut memory = people(&indexes);
    let (_, explain) =
        explained(&mut memory, &indexes, "SELECT * FROM p WHERE n < 3 AND city = 'c0' LIMIT 2");
    let text = explain.to_string();
    for line in [
        "└ limit 2",
        "└ keep records with city = 'c0'",
        "└ read each record by its key",
        "└ index n (n), where n < 3, 3 of 1000 rows",
        "  records by key: 1000 rows, cost 667: costs 639 more",
        "  index tags[*] (tags[*]): rows not counted: no condition that it can use is on tags[*]",
        "touched: 0 records, 2 index entries, 2 records by key",
    ] {
        // Three rows of 1000 at most: 333 are read for each of the two.
        assert!(text.contains(line), "{line}\n{text}");
    }
    let json = serde_json::to_value(&explain).unwrap();
    assert_eq!(json["actual"]["fetched"], 2);
    assert_eq!(json["within"][0], "n < 3");
}

#[test]
fn pages_stay_apart_while_records_come_and_go() {
    let indexes = indexes(&["n"]);
    for text in [
        "SELECT * FROM p ORDER BY n LIMIT 10",
        "SELECT * FROM p ORDER BY n DESC LIMIT 10",
        "SELECT * FROM p LIMIT 10",
        "SELECT * FROM p ORDER BY city DESC, age LIMIT 10",
        "SELECT * FROM p WHERE n >= 0 ORDER BY age LIMIT 10",
    ] {
        let mut memory = people(&indexes);
        let query = Query::parse(text).unwrap();
        let mut token: Option<Token> = None;
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..200u32 {
            let (rows, next, _) = run(&mut memory, &indexes, &query, &[], token.as_ref()).unwrap();
            for row in &rows {
                assert!(seen.insert(row.key.clone().unwrap()), "{text}: a row came twice");
            }
            if rows.len() < 10 {
                break;
            }
            token = next;
            // What comes in is of another age, city and number at both ends; what goes was seen.
            for (key, n) in [(format!("a{round}"), -1), (format!("z{round}"), 5000)] {
                let json = format!("{{\"city\": \"c5\", \"n\": {n}, \"age\": 50}}");
                memory.insert(&indexes, key.into_bytes(), dotdb_document::from_json(&json).unwrap());
            }
            let gone = rows[3].key.clone().unwrap();
            memory.remove(&indexes, &gone);
        }
        let first = seen.iter().filter(|key| key.starts_with(b"p")).count();
        assert_eq!(first, 1000, "{text}: every record that was there throughout came");
    }
}

#[test]
fn tokens_of_other_queries_are_refused() {
    let mine = indexes(&["n"]);
    let mut memory = people(&mine);
    let query = Query::parse("SELECT * FROM p WHERE n > $1 ORDER BY n LIMIT 5").unwrap();
    let (_, token, _) = run(&mut memory, &mine, &query, &[Value::from(3u64)], None).unwrap();
    let token = token.unwrap();
    assert_eq!(Token::from_text(&token.to_text()).unwrap(), token);
    let refused = |memory: &mut Memory, indexes: &[Index], text: &str, value: u64| {
        let query = Query::parse(text).unwrap();
        run(memory, indexes, &query, &[Value::from(value)], Some(&token)).unwrap_err().to_string()
    };
    let other = "the continuation token is refused: it is of another query, or of other values";
    assert_eq!(refused(&mut memory, &mine, "SELECT * FROM p WHERE n > $1 ORDER BY n LIMIT 5", 4), other);
    assert_eq!(refused(&mut memory, &mine, "SELECT * FROM p WHERE n >= $1 ORDER BY n LIMIT 5", 3), other);
    let gone =
        "the continuation token is refused: the index that the last page was read from is gone: begin again";
    assert_eq!(refused(&mut memory, &[], "SELECT * FROM p WHERE n > $1 ORDER BY n LIMIT 5", 3), gone);
    // Pages may differ in size.
    let larger = Query::parse("SELECT * FROM p WHERE n > $1 ORDER BY n LIMIT 50").unwrap();
    let (rows, _, _) = run(&mut memory, &mine, &larger, &[Value::from(3u64)], Some(&token)).unwrap();
    assert_eq!(rows.len(), 50);
    assert_eq!(rows[0].key.as_deref(), Some(&b"p0009"[..]));
    for text in ["", "AAAA", "not a token", "a=b"] {
        assert!(matches!(Token::from_text(text), Err(QueryError::Token(_))), "{text}");
    }
}

#[test]
fn budgets_end_queries() {
    let none = indexes(&[]);
    let mut memory = people(&none);
    let mut fails = |text: &str, budget: Budget| {
        let query = Query::parse(text).unwrap();
        run_within(&mut memory, &none, &query, &[], None, budget).unwrap_err().to_string()
    };
    let budget = Budget::default();
    assert_eq!(
        fails("SELECT * FROM p WHERE n = 999", Budget { rows: 10, ..budget }),
        "the query reads more than its budget of 10 rows: an index on what the query compares makes it read less"
    );
    assert!(fails("SELECT COUNT(n) FROM p", Budget { bytes: 1000, ..budget }).contains("1000 bytes"));
    assert_eq!(
        fails("SELECT * FROM p ORDER BY n", Budget { memory_bytes: 10_000, ..budget }),
        "sorting needs more than 10000 bytes of memory: add an index on what ORDER BY names, or a LIMIT"
    );
    assert!(
        fails("SELECT n, COUNT(*) FROM p GROUP BY n", Budget { memory_bytes: 10_000, ..budget })
            .contains("grouping")
    );
    // With LIMIT only that many rows are held.
    let query = Query::parse("SELECT * FROM p ORDER BY n DESC LIMIT 5").unwrap();
    let rows = run_within(&mut memory, &none, &query, &[], None, Budget { memory_bytes: 10_000, ..budget })
        .unwrap()
        .0;
    assert_eq!(rows[0].key.as_deref(), Some(&b"p0999"[..]));
}

fn absent(memory: &mut Memory, text: &str) -> Vec<(String, Option<String>)> {
    let query = Prepared::new(Query::parse(text).unwrap());
    let indexes = std::sync::Arc::default();
    let request = Request { query: &query, parameters: &[], indexes: &indexes, schema: None, token: None };
    let mut executor: Executor<Memory> = execute(plan(&request, memory).unwrap(), Budget::default());
    while executor.next(memory).unwrap().is_some() {}
    executor.absent().into_iter().map(|absent| (absent.path, absent.suggestion)).collect()
}

#[test]
fn absent_fields_are_named() {
    let mut memory = people(&[]);
    let document = dotdb_document::from_json(r#"{"address": {"street": "x"}}"#).unwrap();
    memory.insert(&[], b"a".to_vec(), document);
    assert_eq!(
        absent(&mut memory, "SELECT * FROM p WHERE ctiy = 'c1'"),
        [("ctiy".to_owned(), Some("city".to_owned()))]
    );
    assert_eq!(
        absent(&mut memory, "SELECT n, address.stret FROM p"),
        [("address.stret".to_owned(), Some("address.street".to_owned()))]
    );
    assert_eq!(absent(&mut memory, "SELECT n FROM p WHERE qqqqqqqq = 1"), [("qqqqqqqq".to_owned(), None)]);
    assert_eq!(absent(&mut memory, "SELECT n FROM p WHERE age > 1000"), []);
}

#[test]
fn a_schema_refuses_unknown_fields() {
    let mut memory = people(&[]);
    let schema =
        Schema::from_json(r#"{"properties": {"city": {}, "n": {}}, "additionalProperties": false}"#).unwrap();
    let query = Prepared::new(Query::parse("SELECT * FROM p WHERE ctiy = 'c1'").unwrap());
    let indexes = std::sync::Arc::default();
    let request =
        Request { query: &query, parameters: &[], indexes: &indexes, schema: Some(&schema), token: None };
    let Err(error) = plan(&request, &mut memory) else { panic!("the field is unknown") };
    assert_eq!(error.to_string(), "the collection's schema has no field `ctiy`; did you mean `city`?");
}

#[test]
fn damage_is_an_error() {
    let mine = indexes(&["n"]);
    let query = Query::parse("SELECT * FROM p WHERE n = 5").unwrap();
    let mut memory = people(&mine);
    memory.records.remove(&b"p0005"[..]);
    let error = run(&mut memory, &mine, &query, &[], None).unwrap_err();
    assert_eq!(error.to_string(), "the index n names a record with key x'7030303035' that is not there");
    let mut memory = people(&mine);
    memory.records.insert(b"p0005".to_vec(), vec![0xff]);
    let error = run(&mut memory, &mine, &query, &[], None).unwrap_err();
    assert_eq!(error.to_string(), "the record with key x'7030303035' is not a document: the CBOR is damaged");
    let mut memory = people(&mine);
    memory.indexes[0] = [(vec![0x13, 0x99], (1, false))].into();
    let count = Query::parse("SELECT COUNT(n) FROM p WHERE n > 0").unwrap();
    let error = run(&mut memory, &mine, &count, &[], None).unwrap_err();
    assert_eq!(error.to_string(), "the index n has an entry that no document gives: x'13'");
}

#[test]
fn parameters_are_checked() {
    let mut memory = people(&[]);
    let query = Query::parse("SELECT * FROM p WHERE n = $2 LIMIT $1").unwrap();
    let mut go = |values: &[Value]| run(&mut memory, &[], &query, values, None).map(|(rows, ..)| rows.len());
    assert_eq!(go(&[Value::from(1u64), Value::from(7u64)]), Ok(1));
    assert_eq!(
        go(&[Value::from(1u64)]).unwrap_err().to_string(),
        "the query has 2 parameters and 1 values are given"
    );
    let error = go(&[Value::from(-1i64), Value::from(7u64)]).unwrap_err().to_string();
    assert_eq!(error, "LIMIT needs a number of rows from 0 to 2^64 - 1");
    // Another set of values is another number of rows, not another plan for the same text.
    assert_eq!(go(&[Value::from(5u64), Value::from("7")]), Ok(0));
}

#[test]
fn sums_are_exact_in_any_order() {
    let sums = |numbers: &[&str]| {
        let documents = numbers.iter().enumerate().map(|(key, number)| {
            (vec![key as u8], dotdb_document::from_json(&format!("{{\"a\": {number}}}")).unwrap())
        });
        let mut memory = Memory::new(documents.collect(), &[]);
        let query = Query::parse("SELECT SUM(a) AS s, AVG(a) AS m FROM c").unwrap();
        let (rows, ..) = run(&mut memory, &[], &query, &[], None).unwrap();
        dotdb_document::to_json(&rows[0].document).unwrap()
    };
    assert_eq!(sums(&[]), r#"{"m":null,"s":null}"#);
    assert_eq!(sums(&["\"x\"", "null"]), r#"{"m":null,"s":null}"#);
    assert_eq!(sums(&["1", "2"]), r#"{"m":1.5,"s":3}"#);
    assert_eq!(sums(&["1.5", "1.5", "true"]), r#"{"m":1.5,"s":3}"#);
    // One by one, rounding would lose the 1.
    assert_eq!(sums(&["1e300", "1", "-1e300"]), r#"{"m":0.3333333333333333,"s":1}"#);
    assert_eq!(sums(&["0.1", "0.2"]), r#"{"m":0.15000000000000002,"s":0.30000000000000004}"#);
    assert_eq!(sums(&["5e-324", "5e-324", "5e-324"]), r#"{"m":5e-324,"s":1.5e-323}"#);
    assert_eq!(
        sums(&["1.7976931348623157e308", "1.7976931348623157e308"]),
        r#"{"m":1.7976931348623157e308,"s":null}"#
    );
}

#[cfg(not(feature = "collation"))]
#[test]
fn without_locales_collate_says_so() {
    let mut memory = people(&[]);
    let query = Query::parse("SELECT * FROM p ORDER BY city COLLATE \"de\"").unwrap();
    let error = run(&mut memory, &[], &query, &[], None).unwrap_err().to_string();
    assert!(error.contains("built without them (feature `collation`)"), "{error}");
}

#[cfg(feature = "collation")]
#[test]
fn locales_order_text() {
    let names = ["z", "ä", "a", "Z", "o"];
    let documents = names.iter().enumerate().map(|(key, name)| {
        (vec![key as u8], dotdb_document::from_json(&format!("{{\"a\": {name:?}}}")).unwrap())
    });
    let mut memory = Memory::new(documents.collect(), &[]);
    let mut by = |order: &str| {
        let query = Query::parse(&format!("SELECT a FROM c ORDER BY a {order}")).unwrap();
        let (rows, ..) = run(&mut memory, &[], &query, &[], None).unwrap();
        let name = |row: &dotdb_query::Row| {
            dotdb_document::to_json(&row.document).unwrap().replace("{\"a\":\"", "").replace("\"}", "")
        };
        rows.iter().map(name).collect::<Vec<_>>().join("")
    };
    assert_eq!(by(""), "Zaozä");
    assert_eq!(by("COLLATE \"de\""), "aäozZ");
    assert_eq!(by("COLLATE \"sv\""), "aozZä");
    assert_eq!(by("COLLATE \"de\" DESC"), "Zzoäa");
}

/// The query's own errors are told from the source's.
#[test]
fn errors_are_told_apart() {
    let error: ExecuteError<std::fmt::Error> = ExecuteError::Source(std::fmt::Error);
    assert!(!matches!(error, ExecuteError::Query(_)));
}
