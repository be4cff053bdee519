//! `dotvm db`: versions, names, differences, restoring, pruning; the state root and proofs of it.

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

/// Four versions: anna at 1, ben at 2, anna older at 3, ben gone at 4.
fn town() -> Place {
    let place = Place::new();
    db(&place, r#"put town/people anna '{"age": 31}'"#);
    db(&place, r#"put town/people ben '{"age": 27}'"#);
    db(&place, r#"put town/people anna '{"age": 32}'"#);
    db(&place, "delete town/people ben");
    place
}

#[test]
fn versions_have_names_and_can_be_read() {
    let place = town();
    db(&place, "snapshot two --at 2");
    db(&place, "snapshot now");
    assert_eq!(db(&place, "snapshot"), "now  4\ntwo  2\n");
    let versions = place.json(0, &json_line("versions"));
    assert_eq!((&versions["oldest"], &versions["current"]), (&json!(0), &json!(4)));
    assert_eq!(versions["names"], json!({"now": 4, "two": 2}));
    assert_eq!(db(&place, "scan town/people --at two"), "anna  {\"age\":31}\nben  {\"age\":27}\n");
    assert_eq!(db(&place, "scan town/people --at 3"), "anna  {\"age\":32}\nben  {\"age\":27}\n");
    assert_eq!(
        db(&place, "versions"),
        "current  4\noldest   0\nkeeps    the last 10000 versions, a state root\nname     now is 4\nname     two is 2\n"
    );
    let before = place.contents("state.db");
    place.fails(DATABASE, &line("snapshot two --at 3"), &["\"two\" stands for version 2 already"]);
    place.fails(USAGE, &line("snapshot 9lives"), &["does not start with a letter"]);
    place.fails(DATABASE, &line("snapshot later --at 9"), &["there is no version 9: the last is 4"]);
    place.fails(
        DATABASE,
        &line("snapshot --drop twoo"),
        &["no version named \"twoo\"", "did you mean \"two\"?"],
    );
    place.fails(DATABASE, &line("scan town/people --at noww"), &["did you mean \"now\"?"]);
    assert!(place.contents("state.db") == before);
    db(&place, "snapshot --drop now");
    assert_eq!(place.json(0, &json_line("snapshot"))["names"], json!({"two": 2}));
}

#[test]
fn differences_are_shown_by_name() {
    let place = town();
    assert_eq!(
        db(&place, "diff 2 4"),
        "- town/people anna  {\"age\":31}\n+ town/people anna  {\"age\":32}\n- town/people ben  {\"age\":27}\n"
    );
    let first = db(&place, "diff 0 1");
    assert!(
        first.contains("+ the contract town\n") && first.contains("+ the collection town/people\n"),
        "{first}"
    );
    db(&place, "put town 7 42");
    assert_eq!(db(&place, "diff 4"), "+ town 7  42\n");
    assert_eq!(db(&place, "diff 5 4"), "- town 7  42\n");
    assert_eq!(db(&place, "diff 3 3"), "");
    let diff = place.json(0, &json_line("diff 2 4"));
    assert_eq!((&diff["from"], &diff["to"]), (&json!(2), &json!(4)));
    let anna = json!({
        "what": "record", "place": "town/people", "key": {"hex": "0x616e6e61", "text": "anna"},
        "before": {"age": 31}, "after": {"age": 32}
    });
    assert_eq!(diff["changes"][0], anna);
    assert_eq!(diff["changes"][1]["after"], json!(null));
    let slot = place.json(0, &json_line("diff 4 5"));
    assert_eq!(
        slot["changes"][0],
        json!({"what": "slot", "place": "town", "key": "7", "before": null, "after": "42"})
    );
}

#[test]
fn an_earlier_state_is_restored_and_old_versions_are_forgotten() {
    let place = town();
    let restored = place.json(0, &json_line("restore 2"));
    assert_eq!(restored, json!({"status": "ok", "from": 2, "version": 5}));
    assert_eq!(db(&place, "diff 2 5"), "");
    assert_eq!(db(&place, "count town/people"), "2\n");
    assert_eq!(db(&place, "count town/people --at 4"), "1\n");
    db(&place, "snapshot keep --at 3");
    place.fails(DATABASE, &line("prune --before 4"), &["version 3 is kept under the name \"keep\""]);
    place.fails(DATABASE, &line("prune --before 9"), &["there is no version 9"]);
    let pruned = place.json(0, &json_line("prune --keep 2"));
    assert_eq!(pruned, json!({"status": "ok", "oldest": 3, "current": 5}));
    let before = place.contents("state.db");
    for command in ["restore 2", "scan town/people --at 2", "diff 1", "root --at 0", "prove town 1 --at 2"] {
        place.fails(DATABASE, &line(command), &["is not kept any more: the oldest is 3"]);
    }
    assert!(place.contents("state.db") == before);
    assert_eq!(place.run(&["db", "prune", "--db", "state.db"]).code, USAGE);
    let compacted = place.json(0, &json_line("compact"));
    let bytes = |name: &str| compacted[name].as_u64().unwrap();
    assert!(bytes("bytes_after") <= bytes("bytes_before"), "{compacted}");
    assert_eq!(bytes("bytes_after"), place.read("state.db").len() as u64);
    assert_eq!(db(&place, "count town/people"), "2\n");
}

#[test]
fn proofs_need_the_root_and_nothing_else() {
    let place = town();
    db(&place, "put town 300 42");
    let root = db(&place, "root").trim().to_owned();
    assert_eq!(root.len(), 64);
    let old = db(&place, "root --at 3").trim().to_owned();
    assert_ne!(root, old);
    assert_eq!(place.json(0, &json_line("root"))["root"], json!(root));
    db(&place, "prove town/people anna -o anna.json");
    db(&place, "prove town/people nobody -o nobody.proof");
    db(&place, "prove town 300 -o slot.proof");
    db(&place, "prove town/people ben --at 3 -o ben.proof");
    let printed = db(&place, "prove town/people anna");
    assert_eq!(printed.into_bytes(), place.read("anna.json"));
    // The database is gone: root and proof are all there is.
    std::fs::remove_file(place.path("state.db")).unwrap();
    let verify = |file: &str, root: &str| place.ok(&["db", "verify-proof", file, "--root", root]);
    assert_eq!(verify("anna.json", &root), "record anna of collection 1 is {\"age\":32}\n");
    assert_eq!(verify("nobody.proof", &root), "record nobody of collection 1 is not there\n");
    assert_eq!(verify("slot.proof", &root), "slot 300 of contract 1 is 42\n");
    assert_eq!(verify("ben.proof", &old), "record ben of collection 1 is {\"age\":27}\n");
    let json = place.json(0, &["db", "verify-proof", "slot.proof", "--root", &root, "--json"]);
    assert_eq!(json["value"]["hex"], "0x2a");
    // Another root, an altered proof, and what is no proof.
    let wrong = ["db", "verify-proof", "anna.json", "--root", &old];
    place.fails(NOTHING, &wrong, &["anna.json proves nothing", "leads to the root", &old]);
    let mut bytes = place.read("slot.proof");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    place.write("altered.proof", &bytes);
    place.fails(NOTHING, &["db", "verify-proof", "altered.proof", "--root", &root], &["proves nothing"]);
    for cut in [0, 1, 5, last] {
        place.write("cut.proof", &bytes[..cut]);
        place.fails(INPUT, &["db", "verify-proof", "cut.proof", "--root", &root], &["not a proof"]);
    }
    place.write("bad.json", "{\"format\": 1}");
    place.fails(INPUT, &["db", "verify-proof", "bad.json", "--root", &root], &["bad.json"]);
    place.fails(INPUT, &["db", "verify-proof", "none", "--root", &root], &["there is no file none"]);
    assert_eq!(place.run(&["db", "verify-proof", "slot.proof", "--root", "12"]).code, USAGE);
}

#[test]
fn a_root_can_be_had_later() {
    let place = Place::new();
    db(&place, "create --no-root");
    db(&place, r#"put town/people anna '{"age": 31}'"#);
    place.fails(DATABASE, &line("root"), &["keeps no state root"]);
    place.fails(DATABASE, &line("prove town 1"), &["keeps no state root"]);
    let root = db(&place, "root --enable");
    assert_eq!(db(&place, "root"), root);
    // The same state has the same root wherever it came to be.
    let other = Place::new();
    db(&other, r#"put town/people anna '{"age": 31}'"#);
    assert_eq!(db(&other, "root"), root);
    assert_eq!(place.json(0, &json_line("versions"))["oldest"], json!(1));
}

#[test]
fn run_and_call_tell_the_root_after_the_commit() {
    let place = Place::deployed();
    let add = place.json(0, &["call", "bank", "add", "42", "--db", "state.db", "--json"]);
    assert_eq!(add["state_root"], json!(db(&place, "root").trim()));
    let text = place.run(&["call", "bank", "add", "1", "--db", "state.db"]);
    assert!(text.stderr.contains(&format!("state root {}", db(&place, "root").trim())), "{}", text.stderr);
    let trapped = place.json(1, &["call", "bank", "write_then_trap", "--db", "state.db", "--json"]);
    assert_eq!(trapped["state_root"], json!(null));
    let run = place.json(
        0,
        &["run", "bank.dasm", "--name", "two", "--fn", "add", "--arg", "1", "--db", "state.db", "--json"],
    );
    assert_eq!(run["state_root"], json!(db(&place, "root").trim()));
}
