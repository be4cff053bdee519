//! `dotvm db query` and `explain`.

mod common;

use common::Place;
use common::line::{json_line, line};
use serde_json::{Value, json};

const USAGE: i32 = 2;
const DATABASE: i32 = 4;

fn people() -> Place {
    let place = Place::new();
    let people = [
        ("anna", 31, "Bern"),
        ("ben", 27, "Basel"),
        ("carl", 44, "Bern"),
        ("dora", 19, "Chur"),
        ("emil", 31, "Basel"),
    ];
    let lines =
        people.map(|(id, age, city)| format!("{{\"id\":\"{id}\",\"age\":{age},\"city\":\"{city}\"}}\n"));
    place.write("people.jsonl", lines.concat());
    place.ok(&line("import town/people people.jsonl --key id"));
    place
}

/// The rows of a query with `--json`, and the line after them.
fn rows(place: &Place, args: &[&str]) -> (Vec<Value>, Value) {
    let lines = place.ok(&[&["db", "query"], args, &["--db", "state.db", "--json"]].concat());
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap();
    assert_eq!(end["status"], "ok");
    assert_eq!(end["rows"], json!(lines.len()));
    (lines, end)
}

#[test]
fn answers_are_tables_and_json_lines() {
    let place = people();
    let query =
        ["db", "query", "SELECT id, age FROM town.people WHERE city = ? ORDER BY age DESC", "--arg", "Bern"];
    let table = place.ok(&[&query[..], &["--db", "state.db"]].concat());
    assert_eq!(table, "id    age\ncarl  44\nanna  31\n");
    let (found, _) = rows(&place, &query[2..]);
    assert_eq!(found[0]["value"], json!({"id": "carl", "age": 44}));
    assert_eq!(found[0]["key"]["text"], "carl");
    let (groups, _) =
        rows(&place, &["SELECT city, count(*) AS n FROM town.people GROUP BY city ORDER BY city"]);
    let groups: Vec<&Value> = groups.iter().map(|row| &row["value"]).collect();
    assert_eq!(
        groups,
        [
            &json!({"n": 2, "city": "Basel"}),
            &json!({"n": 2, "city": "Bern"}),
            &json!({"n": 1, "city": "Chur"})
        ]
    );
    let whole = place.ok(&line("query 'SELECT * FROM town.people WHERE age < 20'"));
    assert_eq!(whole, "dora  {\"id\":\"dora\",\"age\":19,\"city\":\"Chur\"}\n");
    let (none, _) = rows(&place, &["SELECT id FROM town.people WHERE age > ?", "--arg", "99"]);
    assert!(none.is_empty());
    // As of before they were there: the contract was not, either.
    place.fails(DATABASE, &line("query 'SELECT * FROM town.people' --at 0"), &["no contract named \"town\""]);
}

#[test]
fn pages_follow_one_another() {
    let place = people();
    let query = "SELECT id FROM town.people ORDER BY id";
    let mut found = Vec::new();
    let mut page: Option<String> = None;
    for _ in 0..4 {
        let mut args = vec![query, "--limit", "2"];
        if let Some(page) = &page {
            args.extend(["--page", page]);
        }
        let (rows, end) = rows(&place, &args);
        found.extend(rows.iter().map(|row| row["value"]["id"].as_str().unwrap().to_owned()));
        page = end["next"].as_str().map(str::to_owned);
        if page.is_none() {
            break;
        }
    }
    assert_eq!(found, ["anna", "ben", "carl", "dora", "emil"]);
    let other = ["db", "query", "SELECT age FROM town.people", "--page", "AAAA", "--db", "state.db"];
    place.fails(USAGE, &other, &["the query is refused", "token"]);
}

#[test]
fn explain_shows_plan_and_work() {
    let place = people();
    let query = "SELECT id FROM town.people WHERE age = 31";
    let scan = place.json(0, &["db", "explain", query, "--db", "state.db", "--json"]);
    assert_eq!((&scan["actual"]["records"], &scan["actual"]["results"]), (&json!(5), &json!(2)));
    place.ok(&line("index create town/people by-age age"));
    let text = place.ok(&["db", "explain", query, "--db", "state.db"]);
    assert!(text.contains("touched: ") && text.contains("2 rows"), "{text}");
    let plan = place.json(0, &["db", "explain", query, "--plan", "--db", "state.db", "--json"]);
    assert_eq!(plan["actual"], json!(null));
    assert!(!plan["considered"].as_array().unwrap().is_empty());
}

#[test]
fn what_is_wrong_is_one_sentence() {
    let place = people();
    let before = place.contents("state.db");
    let fails = |code: i32, query: &str, words: &[&str]| {
        place.fails(code, &["db", "query", query, "--db", "state.db"], words);
        place.fails(code, &["db", "explain", query, "--db", "state.db"], words);
        let json = place.json(code, &["db", "query", query, "--db", "state.db", "--json"]);
        assert_eq!(json["status"], "error");
    };
    fails(USAGE, "SELEC * FROM town.people", &["the query is refused", "line 1, column 1"]);
    fails(USAGE, "SELECT * FROM town.people WHERE age >", &["line 1, column"]);
    fails(USAGE, "SELECT * FROM people", &["FROM needs the contract too: FROM CONTRACT.people"]);
    fails(USAGE, "SELECT * FROM town.people WHERE age = ?", &["1 parameters and 0 values"]);
    fails(USAGE, "DELETE FROM town.people", &["the query is refused"]);
    fails(DATABASE, "SELECT * FROM town.poeple", &["did you mean \"people\"?"]);
    fails(DATABASE, "SELECT * FROM twon.people", &["did you mean \"town\"?"]);
    // No document has the field: said with what is near, and the answer is empty.
    let run = place.run(&line("query 'SELECT id FROM town.people WHERE agee = 31'"));
    assert_eq!((run.code, run.stdout.as_str()), (0, "id\n"));
    assert_eq!(run.stderr, "no document has the field agee: did you mean \"age\"?\n");
    // With a schema it is an error.
    place.write("schema.json", r#"{"properties":{"id":{},"age":{},"city":{}},"additionalProperties":false}"#);
    place.ok(&line("schema set town/people schema.json"));
    let closed = place.contents("state.db");
    fails(USAGE, "SELECT id FROM town.people WHERE agee = 31", &["has no field `agee`; did you mean `age`?"]);
    assert!(place.contents("state.db") == closed);
    assert!(closed != before);
    place.ok(&line("put town/notes n text --bytes"));
    fails(DATABASE, "SELECT * FROM town.notes", &["the collection keeps byte strings"]);
    assert!(place.json(0, &json_line("versions"))["current"] == 3);
}
