//! Queries in transactions: the same answer with and without indexes, over pending writes, page by page; what they
//! have read counts as read.

use std::sync::Arc;

use dotdb::query::{IndexSpec, Query, Value};
use dotdb::{
    CollectionId, ContractId, Database, DbError, Durability, Mode, QueryOptions, Tx, ValueKind, document,
};
use dotdb_memory::MemoryStore;

const KIND: ValueKind = ValueKind::Document;
const CITIES: [&str; 4] = ["Oslo", "Rome", "Bonn", "Lima"];

/// Record `i` as numbers: its age and its city.
fn person(i: u32) -> (u32, usize) {
    (i * 7 % 60, (i / 3 % 4) as usize)
}

fn put_person(tx: &mut Tx, people: CollectionId, i: u32) {
    let (age, city) = person(i);
    let json =
        format!(r#"{{"age":{age},"city":"{}","n":{i},"tags":["t{}","t{}"]}}"#, CITIES[city], i % 5, i % 3);
    tx.put(people, &i.to_be_bytes(), document::from_json(&json).unwrap()).unwrap();
}

fn filled(people: u32) -> (Database, ContractId) {
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    let collection = tx.collection(contract, "people", KIND).unwrap();
    for i in 0..people {
        put_person(&mut tx, collection, i);
    }
    tx.commit(Durability::None).unwrap();
    (database, contract)
}

fn index(database: &Database, contract: ContractId, name: &str, columns: &str) {
    database.create_index(contract, "people", name, &IndexSpec::parse(columns).unwrap(), |_| ()).unwrap();
}

/// The rows of a query, each as JSON.
fn rows(tx: &mut Tx, people: CollectionId, text: &str, parameters: &[Value]) -> Vec<String> {
    let query = Query::parse(text).unwrap();
    let (cursor, _) = tx.query(people, &query, parameters, &QueryOptions::default()).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = tx.query_next(cursor).unwrap() {
        rows.push(document::to_json(&row.document).unwrap());
    }
    tx.close(cursor).unwrap();
    rows
}

#[test]
fn indexes_change_the_work_and_not_the_answer() {
    const PEOPLE: u32 = 2000;
    let (database, contract) = filled(PEOPLE);
    let all = || (0..PEOPLE).map(|i| (i, person(i)));
    let expect = |keep: &dyn Fn(u32, usize) -> bool| -> Vec<String> {
        let mut kept: Vec<(u32, u32)> =
            all().filter(|&(_, (age, city))| keep(age, city)).map(|(i, (age, _))| (age, i)).collect();
        kept.sort();
        kept.into_iter().map(|(_, i)| format!(r#"{{"n":{i}}}"#)).collect()
    };
    let cases: [(&str, Vec<String>); 3] = [
        (
            "SELECT n FROM people WHERE age = 14 AND city = 'Oslo' ORDER BY age, n",
            expect(&|age, city| age == 14 && city == 0),
        ),
        (
            "SELECT n FROM people WHERE age >= 50 AND age < 52 ORDER BY age, n",
            expect(&|age, _| (50..52).contains(&age)),
        ),
        (
            "SELECT n FROM people WHERE city IN ('Bonn','Lima') AND age < 2 ORDER BY age, n",
            expect(&|age, city| city >= 2 && age < 2),
        ),
    ];
    for step in 0..3 {
        match step {
            1 => index(&database, contract, "by-age", "age"),
            2 => index(&database, contract, "by-place", "city, age"),
            _ => {}
        }
        for (text, expected) in &cases {
            let mut tx = database.begin(Mode::ReadOnly).unwrap();
            let people = tx.collection(contract, "people", KIND).unwrap();
            assert!(!expected.is_empty());
            assert_eq!(rows(&mut tx, people, text, &[]), *expected, "{text} at step {step}");
            let explain = tx.explain(people, &Query::parse(text).unwrap(), &[]).unwrap();
            if step == 2 {
                assert!(explain.access.contains("by-"), "{explain:?}");
            }
        }
    }
    // With an index a query reads what it answers and little more.
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    let query = Query::parse(cases[0].0).unwrap();
    let (cursor, planning) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
    while tx.query_next(cursor).unwrap().is_some() {}
    let counts = tx.query_explain(cursor).unwrap().actual.unwrap();
    assert!(counts.entries + counts.fetched + planning.rows < 200, "{counts:?} {planning:?}");
    assert_eq!(counts.records, 0);
}

#[test]
fn pending_writes_show_and_later_ones_do_not() {
    let (database, contract) = filled(20);
    index(&database, contract, "by-age", "age");
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    put_person(&mut tx, people, 20);
    tx.delete(people, &4u32.to_be_bytes()).unwrap();
    assert_eq!(rows(&mut tx, people, "SELECT COUNT(*) AS n FROM people", &[]), [r#"{"n":20}"#]);
    // 20 * 7 % 60 = 20, and no other below 21 has it.
    assert_eq!(rows(&mut tx, people, "SELECT n FROM people WHERE age = 20", &[]), [r#"{"n":20}"#]);
    // 4 * 7 = 28.
    assert!(rows(&mut tx, people, "SELECT n FROM people WHERE age = $1", &[Value::from(28u64)]).is_empty());
    let query = Query::parse("SELECT n FROM people ORDER BY age").unwrap();
    let (cursor, _) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
    tx.next(cursor).unwrap().unwrap();
    for i in 0..20u32 {
        tx.delete(people, &i.to_be_bytes()).unwrap();
    }
    let mut left = 0;
    while tx.next(cursor).unwrap().is_some() {
        left += 1;
    }
    assert_eq!(left, 19);
    assert_eq!(rows(&mut tx, people, "SELECT n FROM people", &[]), [r#"{"n":20}"#]);
}

#[test]
fn rows_of_entries_have_the_form_that_the_document_has_now() {
    let (database, contract) = filled(0);
    index(&database, contract, "by-a", "a");
    let query = Query::parse("SELECT a FROM people WHERE a >= 1").unwrap();
    for (number, fetched) in [("1", 0), ("1.0", 1), ("1.5", 0), ("[1.0]", 0), ("1", 0)] {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let people = tx.collection(contract, "people", KIND).unwrap();
        tx.put(people, b"k", document::from_json(&format!("{{\"a\":{number}}}")).unwrap()).unwrap();
        tx.commit(Durability::None).unwrap();
        let mut tx = database.begin(Mode::ReadOnly).unwrap();
        let people = tx.collection(contract, "people", KIND).unwrap();
        let (cursor, _) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
        let row = tx.query_next(cursor).unwrap().map(|row| document::to_json(&row.document).unwrap());
        // An array is no number: it is not in the range.
        let expected = (number != "[1.0]").then(|| format!("{{\"a\":{number}}}"));
        assert_eq!(row, expected);
        let actual = tx.query_explain(cursor).unwrap().actual.unwrap();
        assert_eq!((actual.records, actual.fetched), (0, fetched), "{number}");
    }
}

#[test]
fn ranges_are_counted_without_reading_and_over_pending_writes() {
    let (database, contract) = filled(3000);
    index(&database, contract, "by-n", "n");
    let text = "SELECT COUNT(*) AS c FROM people WHERE n >= 100 AND n < 2500";
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    assert_eq!(rows(&mut tx, people, text, &[]), [r#"{"c":2400}"#]);
    tx.delete(people, &1000u32.to_be_bytes()).unwrap();
    assert_eq!(rows(&mut tx, people, text, &[]), [r#"{"c":2399}"#]);
    put_person(&mut tx, people, 5000);
    assert_eq!(rows(&mut tx, people, text, &[]), [r#"{"c":2399}"#]);
    let query = Query::parse(text).unwrap();
    let (cursor, planning) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
    tx.query_next(cursor).unwrap().unwrap();
    let actual = tx.query_explain(cursor).unwrap().actual.unwrap();
    assert_eq!((planning.rows, actual.entries, actual.bytes), (0, 2399, 0));
}

#[test]
fn pages_meet() {
    let (database, contract) = filled(500);
    index(&database, contract, "by-place", "city, age");
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    for text in [
        "SELECT n FROM people WHERE city = 'Rome' ORDER BY age LIMIT 7",
        "SELECT n FROM people ORDER BY n DESC LIMIT 7",
        "SELECT n FROM people LIMIT 7",
    ] {
        let query = Query::parse(text).unwrap();
        let whole = rows(&mut tx, people, text.strip_suffix(" LIMIT 7").unwrap(), &[]);
        let (mut paged, mut options) = (Vec::new(), QueryOptions::default());
        loop {
            let (cursor, _) = tx.query(people, &query, &[], &options).unwrap();
            while let Some(row) = tx.query_next(cursor).unwrap() {
                paged.push(document::to_json(&row.document).unwrap());
            }
            options.token = tx.query_token(cursor).unwrap();
            tx.close(cursor).unwrap();
            if options.token.is_none() {
                break;
            }
        }
        assert_eq!(paged, whole, "{text}");
        assert!(whole.len() > 100);
    }
}

#[test]
fn what_a_query_has_read_counts_as_read() {
    let conflicts = |text: &str, indexed: bool, change: &dyn Fn(&mut Tx, CollectionId)| {
        let (database, contract) = filled(100);
        if indexed {
            index(&database, contract, "by-age", "age");
        }
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let people = tx.collection(contract, "people", KIND).unwrap();
        let before = rows(&mut tx, people, text, &[]);
        tx.slot_set(contract, &[1], &[before.len() as u8 + 1]).unwrap();
        let mut other = database.begin(Mode::ReadWrite).unwrap();
        let others = other.collection(contract, "people", KIND).unwrap();
        change(&mut other, others);
        other.commit(Durability::None).unwrap();
        match tx.commit(Durability::None) {
            Ok(_) => false,
            Err(error) => {
                assert!(error.is_conflict(), "{error}");
                true
            }
        }
    };
    let set_age = |i: u32, age: u32| {
        move |tx: &mut Tx, people: CollectionId| {
            let json = format!(r#"{{"age":{age},"n":{i}}}"#);
            tx.put(people, &i.to_be_bytes(), document::from_json(&json).unwrap()).unwrap();
        }
    };
    let text = "SELECT n FROM people WHERE age = 14";
    // A phantom comes into the range; a record of the range goes; one elsewhere changes.
    for indexed in [false, true] {
        assert!(conflicts(text, indexed, &set_age(5, 14)), "indexed: {indexed}");
        assert!(conflicts(text, indexed, &set_age(2, 15)), "indexed: {indexed}");
    }
    assert!(!conflicts(text, true, &set_age(5, 36)), "35 to 36 is far from 14");
    assert!(conflicts(text, false, &set_age(5, 36)), "without an index all was read");
}

#[test]
fn refusals() {
    let (database, contract) = filled(3);
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    let bytes = tx.collection(contract, "bytes", ValueKind::Bytes).unwrap();
    let query = Query::parse("SELECT n FROM people WHERE age = $1").unwrap();
    let mut refusal = |collection, parameters: &[Value]| {
        tx.query(collection, &query, parameters, &QueryOptions::default()).unwrap_err().to_string()
    };
    assert_eq!(refusal(people, &[]), "the query has 1 parameters and 0 values are given");
    assert!(refusal(bytes, &[Value::from(1u64)]).contains("indexes, schemas and queries are for documents"));
    let scan =
        tx.scan(people, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, dotdb::Direction::Forward);
    assert!(tx.query_next(scan.unwrap()).is_err());
}

/// Rows come in pages, and what a page has beyond the rows that were given was not read by the transaction: who changes
/// an entry there does not conflict with it, who changes one before does.
#[test]
fn what_is_only_read_ahead_is_not_read() {
    const PEOPLE: u32 = 50;
    let change = |database: &Database, contract, n: u32| {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let people = tx.collection(contract, "people", KIND).unwrap();
        let json = format!(r#"{{"n":{n}.5}}"#);
        assert!(tx.put(people, &n.to_be_bytes(), document::from_json(&json).unwrap()).unwrap());
        tx.commit(Durability::None).unwrap();
    };
    for (order, first, last) in [("n", 0, 2), ("n DESC", 47, 49)] {
        for ends in [false, true] {
            for place in [0, 2, 3, 4, 20, 46, 47, 49] {
                let (database, contract) = filled(PEOPLE);
                index(&database, contract, "n", "n");
                let mut tx = database.begin(Mode::ReadWrite).unwrap();
                let people = tx.collection(contract, "people", KIND).unwrap();
                let query =
                    Query::parse(&format!("SELECT n FROM people WHERE n >= 0 ORDER BY {order}")).unwrap();
                let (cursor, _) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
                let mut rows = 0;
                while (ends || rows < 3) && tx.query_lend(cursor).unwrap().is_some() {
                    rows += 1;
                }
                assert_eq!(rows, if ends { PEOPLE } else { 3 });
                tx.slot_set(contract, &[1], &[1]).unwrap();
                change(&database, contract, place);
                let is_read = (first..=last).contains(&place);
                let outcome = tx.commit(Durability::None);
                let is_conflict = matches!(outcome, Err(DbError::Conflict { .. }));
                assert_eq!(is_conflict, ends || is_read, "{order} {ends} {place}: {outcome:?}");
            }
        }
    }
}

/// Lent rows are those that are kept.
#[test]
fn rows_are_lent() {
    let (database, contract) = filled(300);
    index(&database, contract, "age", "age");
    for text in [
        "SELECT * FROM people WHERE age >= 30",
        "SELECT id, age FROM people WHERE age = 7",
        "SELECT age, n FROM people WHERE age < 20 ORDER BY n DESC LIMIT 10 OFFSET 3",
        "SELECT age, count(*) AS people FROM people GROUP BY age",
        "SELECT age FROM people WHERE age > 10 ORDER BY age LIMIT 40",
    ] {
        let mut tx = database.begin(Mode::ReadOnly).unwrap();
        let people = tx.collection(contract, "people", KIND).unwrap();
        let query = Query::parse(text).unwrap();
        let (kept, _) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
        let (lent, _) = tx.query(people, &query, &[], &QueryOptions::default()).unwrap();
        let mut rows = 0;
        while let Some(row) = tx.query_next(kept).unwrap() {
            let same = tx.query_lend(lent).unwrap().map(|lent| lent.to_row());
            assert_eq!(same, Some(row), "{text}");
            assert_eq!(tx.query_token(kept).unwrap(), tx.query_token(lent).unwrap(), "{text}");
            rows += 1;
        }
        assert_eq!(tx.query_lend(lent).unwrap(), None, "{text}");
        assert!(rows > 4, "{text}: {rows} rows");
    }
}
