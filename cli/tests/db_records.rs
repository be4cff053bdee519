//! `dotvm db`: records, indexes and schemas from the command line, and what is refused.

mod common;

use common::Place;
use common::line::{json_line, line};
use serde_json::json;

const NOTHING: i32 = 1;
const USAGE: i32 = 2;
const INPUT: i32 = 3;
const DATABASE: i32 = 4;

fn db(place: &Place, args: &str) -> String {
    place.ok(&line(args))
}

fn people() -> Place {
    let place = Place::new();
    db(&place, r#"put town/people anna '{"name": "Anna", "age": 31, "city": "Bern"}'"#);
    db(&place, r#"put town/people ben '{"name": "Ben", "age": 27, "city": "Basel"}'"#);
    db(&place, r#"put town/people carl '{"name": "Carl", "age": 44, "city": "Bern"}'"#);
    place
}

#[test]
fn records_are_put_read_and_deleted() {
    let place = people();
    // In the order of the encoding: shorter names first.
    let ben = "{\"age\":27,\"city\":\"Basel\",\"name\":\"Ben\"}\n";
    assert_eq!(db(&place, "get town/people ben"), ben);
    assert_eq!(db(&place, "count town/people"), "3\n");
    let again = place.json(0, &json_line(r#"put town/people ben '{"age": 28}'"#));
    assert_eq!(again, json!({"status": "ok", "version": 4, "replaced": true}));
    assert_eq!(db(&place, "get town/people ben"), "{\"age\":28}\n");
    assert_eq!(db(&place, "get town/people ben --at 3"), ben);
    assert_eq!(db(&place, "count town/people --at 2"), "2\n");
    db(&place, "delete town/people ben");
    place.fails(NOTHING, &line("get town/people ben"), &["there is no record ben"]);
    place.fails(NOTHING, &line("delete town/people ben"), &["there is no record ben"]);
    assert_eq!(db(&place, "count town/people"), "2\n");
    let list = db(&place, "collections");
    assert_eq!(list, "town/people  doc, 2 records\n");
}

#[test]
fn byte_strings_and_slots() {
    let place = Place::new();
    db(&place, "put town/notes 0x01 hello --bytes");
    db(&place, "put town/notes b 0x00ff");
    assert_eq!(db(&place, "scan town/notes"), "0x01  hello\nb  0x00ff\n");
    db(&place, "put town 7 0x10");
    db(&place, "put town 8 9");
    assert_eq!(db(&place, "get town 7"), "16\n");
    assert_eq!(db(&place, "scan town --reverse"), "8  9\n7  16\n");
    assert_eq!(db(&place, "count town"), "2\n");
    db(&place, "delete town 7");
    place.fails(NOTHING, &line("delete town 7"), &["slot 7 of town holds nothing"]);
    place.fails(USAGE, &line("scan town --prefix 1"), &["no prefix"]);
    place.fails(INPUT, &line("put town/people x 1.5.2"), &["line 1, column"]);
}

#[test]
fn ranges_and_prefixes() {
    let place = Place::new();
    for key in ["a", "ab", "abc", "b", "0xff"] {
        place.ok(&["db", "put", "c/r", key, "x", "--bytes", "--db", "state.db"]);
    }
    let keys = |args: &str| -> Vec<String> {
        let rows = place.json(0, &json_line(&format!("scan c/r {args}")));
        assert_eq!(rows["status"], "ok");
        rows["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["key"]["hex"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys("--prefix ab"), ["0x6162", "0x616263"]);
    assert_eq!(keys("--prefix ab --reverse"), ["0x616263", "0x6162"]);
    assert_eq!(keys("--prefix 0xff"), ["0xff"]);
    assert_eq!(keys("--from ab --to b"), ["0x6162", "0x616263"]);
    assert_eq!(keys("--limit 1"), ["0x61"]);
    assert_eq!(keys("--at 2"), ["0x61", "0x6162"]);
}

#[test]
fn documents_come_from_arguments_files_and_standard_input() {
    let place = Place::new();
    place.write("doc.json", "{\"n\": 1}\n");
    db(&place, "put c/d file @doc.json");
    let mut child = place
        .command(&["db", "put", "c/d", "stdin", "-", "--db", "state.db"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"[1,\n 2]").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(db(&place, "scan c/d"), "file  {\"n\":1}\nstdin  [1,2]\n");
}

#[test]
fn what_is_wrong_changes_nothing_and_makes_nothing() {
    let place = Place::new();
    let long = "k".repeat(2000);
    let new: [(i32, &str, &[&str]); 6] = [
        (INPUT, r#"put c/d k '{"a": 1,}'"#, &["the value is not a document in JSON", "line 1, column 9"]),
        (USAGE, "put C/d k 1", &["the name \"C\"", "a name is 1 to 64"]),
        (USAGE, "put c/D k 1", &["the name \"D\""]),
        (USAGE, "put c 1 many", &["\"many\""]),
        (INPUT, "put c/d k @missing.json", &["there is no file missing.json"]),
        (USAGE, "put c/ k 1", &["CONTRACT"]),
    ];
    for (code, args, words) in new {
        if args.starts_with("put c/ ") {
            assert_eq!(place.run(&line(args)).code, code);
        } else {
            place.fails(code, &line(args), words);
        }
        assert!(!place.path("state.db").exists(), "{args}");
    }
    let place = people();
    db(&place, "put town/notes n text --bytes");
    let before = place.contents("state.db");
    place.write("bad.json", "{\n  \"a\": tru\n}");
    place.write("latin.json", b"{\n\"\xe4\": 1}");
    let key_limit = ["the key has 2000 bytes and the limit is 1024"];
    place.fails(INPUT, &["db", "put", "town/people", &long, "1", "--db", "state.db"], &key_limit);
    place.fails(INPUT, &["db", "get", "town/people", &long, "--db", "state.db"], &key_limit);
    place.write("large.json", format!("\"{}\"", "x".repeat(16 << 20)));
    place.fails(
        INPUT,
        &line("put town/people k @large.json"),
        &["the value has 167772", "the limit is 16777216"],
    );
    place.write("larger.json", vec![b' '; (64 << 20) + 1]);
    place.fails(
        INPUT,
        &line("put town/people k @larger.json"),
        &["larger.json has more than 67108864 bytes"],
    );
    place.fails(
        INPUT,
        &line("put town/people k @bad.json"),
        &["bad.json is not a document", "line 2, column"],
    );
    place.fails(
        INPUT,
        &line("put town/people k @latin.json"),
        &["latin.json is not UTF-8 text from line 2 on"],
    );
    place.fails(
        DATABASE,
        &line("put town/people k x --bytes"),
        &["keeps documents and was opened for byte strings"],
    );
    place.fails(
        DATABASE,
        &line("get town/poeple k"),
        &["no collection named \"poeple\"", "did you mean \"people\"?"],
    );
    place.fails(DATABASE, &line("count twon"), &["no contract named \"twon\"", "did you mean \"town\"?"]);
    place.fails(DATABASE, &line("delete town/poeple k"), &["did you mean \"people\"?"]);
    place.fails(DATABASE, &line("get town/people k --at 99"), &["there is no version 99: the last is 4"]);
    place.fails(DATABASE, &line("get town/people k --at fisrt"), &["there is no version named \"fisrt\""]);
    assert!(place.contents("state.db") == before);
}

#[test]
fn databases_are_made_with_settings() {
    let place = Place::new();
    let made = place.json(0, &["db", "create", "--db", "sled:s", "--history", "7", "--no-root", "--json"]);
    assert_eq!(made["settings"], json!({"history": "7", "state_root": false}));
    place.fails(DATABASE, &["db", "create", "--db", "s"], &["there is a store at s already"]);
    place.fails(
        USAGE,
        &["db", "create", "--db", "t", "--history", "none", "--root"],
        &["a state root needs a history"],
    );
    assert!(!place.path("t").exists());
    place.ok(&["db", "create", "--db", "t", "--history", "none"]);
    let versions = place.json(0, &["db", "versions", "--db", "t", "--json"]);
    assert_eq!(versions["settings"], json!({"history": "none", "state_root": false}));
    // What other commands make keeps a root and 10,000 versions.
    let place = people();
    let stats = place.json(0, &json_line("stats"));
    assert_eq!(stats["settings"], json!({"history": "10000", "state_root": true}));
    assert_eq!((&stats["version"], &stats["oldest_version"]), (&json!(3), &json!(0)));
    assert_eq!(stats["collection_counts"], json!([{"place": "town/people", "kind": "doc", "records": 3}]));
    let part = |name: &str| stats[name].as_u64().unwrap();
    let parts = part("state_bytes") + part("index_bytes") + part("history_bytes") + part("tree_bytes");
    assert!(parts <= part("live_bytes") && parts + 100 > part("live_bytes"), "{stats}");
    assert!(part("dead_bytes") < part("file_bytes"), "{stats}");
}

#[test]
fn indexes_are_made_listed_and_dropped() {
    let place = people();
    db(&place, "index create town/people by-city 'city, age'");
    db(&place, "index create town/people by-age age --unique");
    assert_eq!(db(&place, "index list town/people"), "by-age  unique age\nby-city  city, age\n");
    let listed = place.json(0, &json_line("index list town/people"));
    let second = json!({"name": "by-city", "spec": "city, age", "unique": false, "state": "ready"});
    assert_eq!(listed["indexes"][1], second);
    // Made again it is there already; another of the name is refused.
    db(&place, "index create town/people by-city 'city, age'");
    let before = place.contents("state.db");
    place.fails(
        DATABASE,
        &line("index create town/people by-city city"),
        &["has an index named \"by-city\" already"],
    );
    let taken = r#"put town/people z '{"age": 31}'"#;
    place.fails(INPUT, &line(taken), &["\"by-age\" is unique", "\"z\"", "\"anna\""]);
    place.fails(DATABASE, &line("index drop town/people by-ctiy"), &["did you mean \"by-city\"?"]);
    place.fails(USAGE, &line("index create town/people x 'a b'"), &["\"a b\" is no index", "line 1, column"]);
    assert!(place.contents("state.db") == before);
    // A unique index that cannot be: it is gone again.
    place.fails(
        INPUT,
        &line("index create town/people u 'unique city'"),
        &["\"u\" is unique", "\"carl\"", "\"anna\""],
    );
    db(&place, "index drop town/people by-city");
    assert_eq!(db(&place, "index list town/people"), "by-age  unique age\n");
    assert_eq!(db(&place, "collections"), "town/people  doc, 3 records\n  by-age  unique age\n");
    db(&place, "put town/notes n text --bytes");
    place.fails(DATABASE, &line("index create town/notes x a"), &["the collection keeps"]);
}

#[test]
fn schemas_are_set_shown_and_dropped() {
    let place = people();
    let schema = r#"{"type":"object","properties":{"age":{"type":"integer"},"name":{"type":"string"}},"required":["name"]}"#;
    place.write("schema.json", schema);
    db(&place, "schema set town/people schema.json");
    let shown: serde_json::Value = serde_json::from_str(&db(&place, "schema show town/people")).unwrap();
    assert_eq!(shown, serde_json::from_str::<serde_json::Value>(schema).unwrap());
    let before = place.contents("state.db");
    place.fails(INPUT, &line(r#"put town/people d '{"name": 4}'"#), &["breaks the schema", "name"]);
    place.write("strict.json", r#"{"type":"object","properties":{"age":{"type":"string"}}}"#);
    place.fails(
        INPUT,
        &line("schema set town/people strict.json"),
        &["record \"anna\" breaks the schema", "age"],
    );
    place.write("bad.json", r#"{"type":"objekt"}"#);
    place.fails(INPUT, &line("schema set town/people bad.json"), &["bad.json is no schema"]);
    place.fails(INPUT, &line("schema set town/people no.json"), &["there is no file no.json"]);
    assert!(place.contents("state.db") == before);
    db(&place, "schema drop town/people");
    db(&place, r#"put town/people d '{"name": 4}'"#);
}
