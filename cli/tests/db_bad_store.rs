//! Every `dotvm db` command on a store that is not there, not one, not allowed or too new: one sentence, nothing changed.

mod common;

use common::Place;
use dotdb::Store;
use dotdb::store::{Batch, Durability};
use dotdb_redb::RedbStore;

const USAGE: i32 = 2;
const DATABASE: i32 = 4;

const READ: [&str; 22] = [
    "ls",
    "collections",
    "get a/b c",
    "scan a/b",
    "count a/b",
    "export a/b",
    "query SELECT_*_FROM_a.b",
    "explain SELECT_*_FROM_a.b",
    "index list a/b",
    "schema show a/b",
    "versions",
    "snapshot",
    "diff 0",
    "watch",
    "root",
    "prove a 1",
    "check",
    "dump out.dump",
    "backup out.db",
    "stats",
    "get a 1 --at first",
    "count a/b --at 3",
];

const WRITE: [&str; 11] = [
    "delete a/b c",
    "index create a/b n f",
    "index drop a/b n",
    "schema drop a/b",
    "snapshot n",
    "snapshot --drop n",
    "restore 0",
    "prune --keep 1",
    "compact",
    "migrate",
    "root --enable",
];

const MAKE: [&str; 2] = ["put a/b c 1", "import a/b in.jsonl --insert"];

fn command<'a>(text: &str, buffer: &'a mut Vec<String>, store: &str) -> Vec<&'a str> {
    buffer.clear();
    buffer.push("db".to_owned());
    // `_` stands for a space inside a word.
    buffer.extend(text.split(' ').map(|word| word.replace('_', " ")));
    buffer.extend(["--db".to_owned(), store.to_owned(), "--wait".to_owned(), "0".to_owned()]);
    buffer.iter().map(String::as_str).collect()
}

fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path(".")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn place() -> Place {
    let place = Place::new();
    place.write("in.jsonl", "{\"n\": 1}\n");
    place
}

#[test]
fn unknown_kinds_of_store() {
    let place = place();
    let mut buffer = Vec::new();
    for text in READ.iter().chain(&WRITE).chain(&MAKE).chain(&["create", "load in.jsonl"]) {
        let run = place.run(&command(text, &mut buffer, "fjall:state"));
        assert_eq!(run.code, USAGE, "{text}");
        assert!(run.stderr.contains("there is no kind of store `fjall:`"), "{text}: {}", run.stderr);
    }
    assert_eq!(names(&place), ["bank.dasm", "in.jsonl"]);
}

#[test]
fn stores_that_are_not_there() {
    let place = place();
    let mut buffer = Vec::new();
    for store in ["missing.db", "sled:missing", "no/where.db"] {
        for text in READ.iter().chain(&WRITE) {
            place.fails(DATABASE, &command(text, &mut buffer, store), &["there is no store at"]);
        }
    }
    for text in MAKE.iter().chain(&["create"]) {
        let message = place.fails(DATABASE, &command(text, &mut buffer, "no/where.db"), &["no/where.db"]);
        assert!(!message.contains("tmp"), "{message}");
    }
    assert_eq!(names(&place), ["bank.dasm", "in.jsonl"]);
}

#[test]
fn files_that_are_no_database() {
    let place = place();
    place.write("text.db", "Not a database at all, but long enough to have a header.\n".repeat(100));
    std::fs::create_dir(place.path("folder")).unwrap();
    place.write("folder/file", "");
    let before = (names(&place), place.read("text.db"));
    let mut buffer = Vec::new();
    for store in ["text.db", "redb:text.db", "folder", "sled:text.db", "sled:folder", "redb:folder"] {
        for text in READ.iter().chain(&WRITE).chain(&MAKE) {
            place.fails(DATABASE, &command(text, &mut buffer, store), &["is not a DotDB store"]);
        }
        assert_eq!(place.run(&command("create", &mut buffer, store)).code, DATABASE);
    }
    assert_eq!((names(&place), place.read("text.db")), before);
}

#[test]
fn databases_of_a_later_version() {
    let place = place();
    let store = RedbStore::open_or_create(place.path("new.db")).unwrap();
    store.apply(Batch::new().put(&b"\0schema"[..], vec![0, 0, 0, 9]), Durability::Sync).unwrap();
    drop(store);
    let before = place.contents("new.db");
    let mut buffer = Vec::new();
    for text in READ.iter().chain(&WRITE).chain(&MAKE) {
        let words = ["has format 9", "reads up to format 2", "use a newer version"];
        place.fails(DATABASE, &command(text, &mut buffer, "new.db"), &words);
    }
    assert!(place.contents("new.db") == before);
}

#[cfg(unix)]
#[test]
fn stores_that_may_not_be_opened() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    place.ok(&["db", "put", "a/b", "c", "1", "--db", "state.db"]);
    let allow =
        |mode| std::fs::set_permissions(place.path("state.db"), PermissionsExt::from_mode(mode)).unwrap();
    allow(0o000);
    if std::fs::File::open(place.path("state.db")).is_ok() {
        // The superuser may open everything.
        return;
    }
    let mut buffer = Vec::new();
    for text in READ.iter().chain(&WRITE).chain(&MAKE) {
        place.fails(DATABASE, &command(text, &mut buffer, "state.db"), &["state.db", "ermission denied"]);
    }
    allow(0o444);
    for text in WRITE.iter().chain(&MAKE) {
        place.fails(DATABASE, &command(text, &mut buffer, "state.db"), &["state.db", "ermission denied"]);
    }
    assert_eq!(place.ok(&["db", "get", "a/b", "c", "--db", "state.db"]), "1\n");
}
