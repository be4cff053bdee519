//! `dotvm db`: import and export, dump and load, backup, migration, check and watch.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::Place;
use common::line::{json_line, line};
use dotdb::Store;
use dotdb::store::{Batch, Durability};
use dotdb_redb::RedbStore;
use serde_json::{Value, json};

const DAMAGED: i32 = 1;
const USAGE: i32 = 2;
const INPUT: i32 = 3;
const DATABASE: i32 = 4;

fn db(place: &Place, args: &str) -> String {
    place.ok(&line(args))
}

fn with_stdin(place: &Place, args: &[&str], input: &[u8]) -> (i32, String) {
    let mut child = place
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

const PEOPLE: &str =
    "{\"id\": \"anna\", \"age\": 31}\n\n{\"id\": \"ben\", \"age\": 27}\n{\"id\": 7, \"age\": 1}";

#[test]
fn json_lines_are_imported() {
    let place = Place::new();
    place.write("people.jsonl", PEOPLE);
    let imported = place.json(0, &json_line("import town/people people.jsonl --key id"));
    assert_eq!(imported, json!({"status": "ok", "put": 3, "replaced": 0, "skipped": 0, "version": 1}));
    let all =
        "7  {\"id\":7,\"age\":1}\nanna  {\"id\":\"anna\",\"age\":31}\nben  {\"id\":\"ben\",\"age\":27}\n";
    assert_eq!(db(&place, "scan town/people"), all);
    // Again: an error, or one of two ways out.
    let again = line("import town/people people.jsonl --key id");
    place.fails(INPUT, &again, &["people.jsonl:1: there is a record anna already", "nothing was kept"]);
    let skipped = place.json(0, &json_line("import town/people people.jsonl --key id --skip"));
    assert_eq!((&skipped["put"], &skipped["skipped"]), (&json!(0), &json!(3)));
    let replaced = place.json(0, &json_line("import town/people people.jsonl --key id --replace"));
    assert_eq!((&replaced["put"], &replaced["replaced"]), (&json!(0), &json!(3)));
    // New keys, from standard input.
    let (code, stderr) = with_stdin(&place, &line("import town/log - --insert"), b"1\n[2]\n");
    assert_eq!((code, stderr.as_str()), (0, "2 put, at version 3\n"));
    assert_eq!(db(&place, "scan town/log"), "0x0000000000000001  1\n0x0000000000000002  [2]\n");
}

#[test]
fn errors_have_a_line_and_say_what_was_kept() {
    let place = Place::new();
    let mut lines: Vec<String> = (1..=10).map(|i| format!("{{\"id\": \"k{i}\", \"n\": {i}}}")).collect();
    lines[7] = "{\"id\": \"k8\", \"n\": 08}".to_owned();
    place.write("in.jsonl", lines.join("\n"));
    let args = line("import town/people in.jsonl --key id --batch 3");
    place.fails(INPUT, &args, &["in.jsonl:8:20", "6 records before it are kept"]);
    assert_eq!(db(&place, "count town/people"), "6\n");
    for (text, words) in [
        ("{\"id\": 1.5}", "in.jsonl:1: the field id is neither text nor an integer"),
        ("{\"x\": 1}", "in.jsonl:1: the document has no field id"),
        ("{\"id\": \"a\", \"id\": \"b\"}", "\"id\" is twice"),
        ("\n\n{", "in.jsonl:3:"),
    ] {
        place.write("in.jsonl", text);
        place.fails(INPUT, &line("import town/people in.jsonl --key id"), &[words, "nothing was kept"]);
    }
    place.write("in.jsonl", b"{\"id\": \"\xff\"}");
    place.fails(
        INPUT,
        &line("import town/people in.jsonl --key id"),
        &["in.jsonl:1:9: it is not UTF-8 text"],
    );
    place.fails(INPUT, &line("import town/people no.jsonl --key id"), &["there is no file no.jsonl"]);
    place.fails(INPUT, &line("import town/people in.jsonl"), &["in.jsonl:1"]);
    assert_eq!(db(&place, "count town/people"), "6\n");
    // A mistake in the name of a new store leaves nothing behind.
    place.write("in.jsonl", "1");
    place.fails(USAGE, &["db", "import", "Town/p", "in.jsonl", "--insert", "--db", "new.db"], &["\"Town\""]);
    assert!(!place.path("new.db").exists());
    assert_eq!(place.run(&line("import town in.jsonl --insert")).code, USAGE);
}

#[test]
fn what_is_exported_is_imported_the_same() {
    let place = Place::new();
    let documents = [
        ("plain", r#"{"name":"Anna","age":31,"tags":["a","b"],"address":{"city":"Bern"}}"#),
        ("text:null", r#"{"name":"null","age":-1.5e300,"note":"7"}"#),
        ("0x00ff", r#"{"name":"","age":123456789012345678901234567890,"note":"a,\"b\"\nc"}"#),
        ("empty", "{}"),
        ("nothing", r#"{"age":null,"note":true,"name":"true"}"#),
    ];
    for (key, document) in documents {
        place.ok(&["db", "put", "town/people", key, document, "--db", "state.db"]);
    }
    let all = db(&place, "scan town/people");
    for file in ["people.jsonl", "people.csv"] {
        place.ok(&["db", "export", "town/people", "-o", file, "--db", "state.db"]);
        place.ok(&["db", "import", "town/people", file, "--db", "copy.db"]);
        assert_eq!(place.ok(&["db", "scan", "town/people", "--db", "copy.db"]), all, "{file}");
        std::fs::remove_file(place.path("copy.db")).unwrap();
    }
    let lines = db(&place, "export town/people");
    assert_eq!(lines.lines().count(), 5);
    assert!(lines.contains("{\"key\":\"text:null\",\"value\":"), "{lines}");
    assert_eq!(lines.into_bytes(), place.read("people.jsonl"));
    let csv = String::from_utf8(place.read("people.csv")).unwrap();
    assert!(csv.starts_with("_key,") && csv.contains("\"\"\"7\"\"\""), "{csv}");
    // Byte strings.
    db(&place, "put town/notes 0x00 0xff --bytes");
    db(&place, "put town/notes text:@x text:@y");
    db(&place, "export town/notes -o notes.jsonl");
    place.ok(&["db", "import", "town/notes", "notes.jsonl", "--bytes", "--db", "copy.db"]);
    assert_eq!(place.ok(&["db", "scan", "town/notes", "--db", "copy.db"]), db(&place, "scan town/notes"));
    place.fails(USAGE, &line("export town/notes --format csv"), &["CSV is for documents"]);
    db(&place, "put town/odd a 1");
    place.fails(INPUT, &line("export town/odd --format csv -o odd.csv"), &["the record a is no object"]);
    assert!(!place.path("odd.csv").exists());
    place.fails(DATABASE, &line("export town/poeple"), &["did you mean \"people\"?"]);
}

#[test]
fn csv_is_imported() {
    let place = Place::new();
    place.write("in.csv", "id,name,age,tags\r\na,Anna,31,\"[1,2]\"\r\nb,\"Ben, junior\",007,\r\n");
    db(&place, "import town/people in.csv --key id");
    let rows = "a  {\"id\":\"a\",\"age\":31,\"name\":\"Anna\",\"tags\":[1,2]}\n\
                b  {\"id\":\"b\",\"age\":\"007\",\"name\":\"Ben, junior\"}\n";
    assert_eq!(db(&place, "scan town/people"), rows);
    db(&place, "import town/text in.csv --key id --text");
    assert_eq!(
        db(&place, "get town/text a"),
        "{\"id\":\"a\",\"age\":\"31\",\"name\":\"Anna\",\"tags\":\"[1,2]\"}\n"
    );
    for (text, words) in [
        ("id,n\na,1\nb\n", "in.csv:3: the row has 1 cells, and the first one has 2"),
        ("id,id\n", "in.csv:1: two columns have the name \"id\""),
        ("x\n1\n", "in.csv:2: the document has no field id"),
    ] {
        place.write("in.csv", text);
        place.fails(INPUT, &line("import town/new in.csv --key id"), &[words]);
    }
    place.fails(INPUT, &line("import town/new in.csv"), &["there is no column _key"]);
}

/// A contract with state, documents, an index, and a history.
fn filled() -> Place {
    let place = Place::deployed();
    place.ok(&["call", "bank", "add", "42", "--db", "state.db"]);
    place.write("people.jsonl", PEOPLE);
    db(&place, "import town/people people.jsonl --key id");
    db(&place, "index create town/people by-age age");
    db(&place, "delete town/people ben");
    db(&place, "snapshot first --at 1");
    place
}

#[test]
fn dumps_go_between_backends() {
    let place = filled();
    let dumped = place.json(0, &json_line("dump state.dump"));
    assert_eq!(dumped["bytes"], json!(place.read("state.dump").len()));
    let root = db(&place, "root");
    let list = db(&place, "ls");
    place.ok(&["db", "load", "state.dump", "--db", "sled:copy"]);
    assert_eq!(place.ok(&["db", "root", "--db", "copy"]), root);
    assert_eq!(place.ok(&["db", "ls", "--db", "copy"]), list);
    place.ok(&["db", "check", "--db", "copy"]);
    assert_eq!(place.ok(&["call", "bank", "add", "1", "--db", "copy"]), "43\n");
    // Through a pipe, of an earlier version, with other settings.
    let old = place.command(&line("dump - --at 2")).output().unwrap();
    assert!(old.status.success());
    let (code, stderr) = with_stdin(&place, &["db", "load", "-", "--no-root", "--db", "old.db"], &old.stdout);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.ok(&["db", "get", "bank", "0", "--db", "old.db"]), "42\n");
    place.fails(DATABASE, &["db", "root", "--db", "old.db"], &["keeps no state root"]);
    let versions = place.json(0, &["db", "versions", "--db", "old.db", "--json"]);
    assert_eq!((&versions["oldest"], &versions["current"]), (&json!(2), &json!(2)));
    // An empty database is filled, one with something in it is not.
    place.ok(&["db", "create", "--db", "empty.db"]);
    place.ok(&["db", "load", "state.dump", "--db", "empty.db"]);
    assert_eq!(place.ok(&["db", "root", "--db", "empty.db"]), root);
    let before = place.contents("state.db");
    place.fails(DATABASE, &line("load state.dump"), &["there is a store at state.db already"]);
    assert!(place.contents("state.db") == before);
}

/// A loaded database has the sums of its blocks, so that reading it verifies no pair by itself.
#[test]
fn a_loaded_database_has_its_sums() {
    let place = filled();
    db(&place, "dump state.dump");
    place.ok(&["db", "load", "state.dump", "--db", "new.db"]);
    let sums = place.read("new.db.sums");
    // 16 bytes at the front, then 8 for each block of 4 KiB.
    assert!(sums.starts_with(b"DotDB sums 1"), "{sums:?}");
    assert!(sums.len() / 8 - 2 <= place.read("new.db").len() / 4096);
    assert!(!place.path("new.db").with_extension("redo").exists());
}

#[test]
fn a_bad_dump_leaves_no_database() {
    let place = filled();
    db(&place, "dump state.dump");
    let whole = place.read("state.dump");
    let names = |place: &Place| {
        let mut names: Vec<_> =
            std::fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    place.write("bad.dump", b"");
    let before = names(&place);
    let load = ["db", "load", "bad.dump", "--db", "new.db"];
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let cases: [(&[u8], &str); 6] = [
        (b"", "bad.dump: this is not a dump"),
        (b"{\"key\": 1}", "bad.dump: this is not a dump"),
        (&whole[..20], "bad.dump: the dump ends too early, at byte 20"),
        (&whole[..whole.len() - 1], "bad.dump: the dump ends too early"),
        (&flipped, "bad.dump: the dump is damaged: the checksum does not agree in the block at byte"),
        (&[&whole[..], b"x"].concat(), "the dump goes on behind its end"),
    ];
    for (bytes, words) in cases {
        place.write("bad.dump", bytes);
        place.fails(INPUT, &load, &[words]);
        assert_eq!(names(&place), before, "{words}");
    }
    place.fails(INPUT, &["db", "load", "none", "--db", "new.db"], &["there is no file none"]);
    place.fails(INPUT, &["db", "load", ".", "--db", "new.db"], &["is a directory"]);
    assert_eq!(names(&place), before);
    place.fails(USAGE, &["db", "load", "state.dump", "--db", "mem:"], &["in memory"]);
    place.fails(5, &line("dump no/where.dump"), &["no/where.dump cannot be written"]);
}

#[test]
fn a_backup_has_the_history() {
    let place = filled();
    for to in ["sled:copy", "copy.db"] {
        place.ok(&["db", "backup", to, "--db", "state.db"]);
        let name = to.trim_start_matches("sled:");
        for command in
            [&["db", "versions"][..], &["db", "root", "--at", "first"], &["db", "scan", "town/people"]]
        {
            let original = place.ok(&[command, &["--db", "state.db"]].concat());
            assert_eq!(place.ok(&[command, &["--db", name]].concat()), original);
        }
        place.ok(&["db", "check", "--db", name]);
        place.fails(DATABASE, &["db", "backup", to, "--db", "state.db"], &["there is a store at", "already"]);
    }
}

#[test]
fn check_names_what_is_damaged() {
    let place = filled();
    let checked = place.json(0, &json_line("check"));
    assert_eq!((&checked["status"], &checked["damage"]), (&json!("ok"), &json!([])));
    assert_eq!(db(&place, "check"), "");
    let damage = |key: &[u8], value: &'static [u8]| {
        let store = RedbStore::open(place.path("state.db")).unwrap();
        store.apply(Batch::new().put(key.to_vec(), value), Durability::Sync).unwrap();
    };
    // bank is contract 1, town is 2; a collection's row begins with its number.
    let rows = place.contents("state.db");
    let people = rows.iter().find(|(key, _)| key == b"\x04\0\0\0\x02people").unwrap();
    damage(&[b"\x05", &people.1[..4], b"anna"].concat(), b"\xff");
    damage(b"\x03\0\0\0\x01\0", b"\0");
    let run = place.run(&line("check"));
    assert_eq!(run.code, DAMAGED);
    for words in
        ["the record \"anna\" of town/people: it is no document", "slot 0 of contract bank", "the state tree"]
    {
        assert!(run.stdout.contains(words), "{words:?} is not in {}", run.stdout);
    }
    let json = place.json(DAMAGED, &json_line("check"));
    assert_eq!(json["status"], "damaged");
    assert!(json["damage"].as_array().unwrap().len() >= 3, "{json}");
}

#[test]
fn a_database_of_the_first_schema_is_migrated() {
    let place = Place::new();
    let rows: [(&'static [u8], &'static [u8]); 6] = [
        (b"\x00schema", &[0, 0, 0, 1]),
        (b"\x00contracts", &[0, 0, 0, 1]),
        (b"\x00collections", &[0, 0, 0, 1]),
        (b"\x01town", &[0, 0, 0, 1]),
        (b"\x04\0\0\0\x01notes", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        (b"\x05\0\0\0\x01hello", b"world"),
    ];
    let store = RedbStore::open_or_create(place.path("state.db")).unwrap();
    let mut batch = Batch::new();
    for (key, value) in rows {
        batch.put(key, value);
    }
    store.apply(&batch, Durability::Sync).unwrap();
    drop(store);
    let before = place.contents("state.db");
    for command in ["ls", "scan town/notes", "put town/notes a b", "check", "dump x"] {
        place.fails(DATABASE, &line(command), &["has schema 1 and this program needs schema 2", "migrate"]);
    }
    assert!(place.contents("state.db") == before);
    let migrated = place.json(0, &json_line("migrate"));
    let settings = json!({"history": "10000", "state_root": true});
    assert_eq!(migrated, json!({"status": "ok", "from": 1, "schema": 2, "settings": settings}));
    assert_eq!(db(&place, "scan town/notes"), "hello  world\n");
    db(&place, "check");
    assert_eq!(place.json(0, &json_line("migrate"))["from"], json!(null));
}

#[test]
fn commits_are_watched_while_another_process_writes() {
    let place = filled();
    let version = place.json(0, &json_line("versions"))["current"].as_u64().unwrap();
    let mut watcher = place
        .command(&line("watch --from first --interval 0.01"))
        .args(["--limit", &(version - 1 + 2).to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let add = next();
    assert_eq!(add["version"], 2);
    let slot = json!({"what": "slot", "place": "bank", "key": "0", "before": null, "after": "42"});
    assert_eq!(add["changes"][0], slot);
    for expected in 3..=version {
        assert_eq!(next()["version"], expected);
    }
    place.ok(&["call", "bank", "add", "1", "--db", "state.db", "--wait", "60"]);
    assert_eq!(next()["changes"][0]["after"], "43");
    place.ok(&["db", "put", "town/people", "zoe", "{\"age\": 1}", "--db", "state.db", "--wait", "60"]);
    let zoe = next();
    let record = zoe["changes"].as_array().unwrap().iter().find(|change| change["what"] == "record").unwrap();
    assert_eq!((&record["place"], &record["after"]), (&json!("town/people"), &json!({"age": 1})));
    assert!(watcher.wait().unwrap().success(), "it ends after so many");
    place.fails(DATABASE, &line("watch --from 99"), &["there is no version 99"]);
}
