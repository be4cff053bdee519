//! Who has signed what is gone on with, done again and checked: `resume`, `replay` and `verify-receipt` with
//! `--require-signed-by`, and with what was tampered with.

mod common;

use common::Place;
use serde_json::{Value, json};

/// Calls another contract again and again, and tells how often it was called.
const OUTER: &str = r#"
.module outer
.arch 64
.cap db.read db.write
.entry main
.func pub main [n] -> [called]
  .local called
  .while LGET n .do
    LGET n ADDI -1 LSET n
    PUSH 2000 PUSH 0 RCONST "inner" RNULL XCALL 0 RPOP EQZ
    LGET called ADD LSET called
  .end_while
  PUSH 0 LGET called SSTORE
  LGET called RET
.end
"#;

const INNER: &str =
    ".module inner\n.arch 64\n.entry main\n.func pub main {input} -> {answer}\nRLGET input RET\n.end\n";

const DB: [&str; 2] = ["--db", "state.db"];

/// A place with `outer.dotvm`, signed by the first of two keys, and a contract `inner` that nobody has signed.
fn place() -> (Place, String, String) {
    let place = Place::new();
    place.write("outer.dasm", OUTER);
    place.write("inner.dasm", INNER);
    let a = place.ok(&["keygen", "a.key"]).trim().to_owned();
    let b = place.ok(&["keygen", "b.key"]).trim().to_owned();
    place.ok(&["asm", "outer.dasm", "-o", "plain.dotvm"]);
    place.ok(&["seal", "plain.dotvm", "-o", "outer.dotvm", "--sign-with", "a.key"]);
    place.ok(&["deploy", "inner.dasm", "--db", "state.db"]);
    (place, a, b)
}

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

/// Rewrites a value of a machine in the store.
fn tamper(place: &Place, kind: u8, change: impl Fn(&[u8]) -> Vec<u8>) {
    let rows = common::contents(&place.path("state.db"));
    let (key, value) = rows.iter().find(|(key, _)| key[0] == 0x85 && key.get(9) == Some(&kind)).unwrap();
    let store = dotdb_redb::RedbStore::open(place.path("state.db")).unwrap();
    let mut batch = dotdb_store::Batch::new();
    batch.put(key.clone(), change(value));
    dotdb_store::Store::apply(&store, &batch, dotdb_store::Durability::Sync).unwrap();
}

#[test]
fn resume_asks_who_signed() {
    const RUN: [&str; 6] = ["run", "outer.dotvm", "--arg", "300", "--db", "state.db"];
    const KEPT: [&str; 4] = ["--checkpoint-every", "1000", "--gas", "9000"];
    const RESUME: [&str; 6] = ["resume", "1", "--db", "state.db", "--gas", "1000000"];
    let (first, a, b) = place();
    let by_a = ["--require-signed-by", a.as_str()];
    let by_b = ["--require-signed-by", b.as_str()];
    assert_eq!(first.ok(&RUN), "300\n");
    assert_eq!(first.ok(&with(&RUN, &by_a)), "0\n");

    // What was required at the beginning is required when it goes on.
    assert_eq!(first.run(&[&RUN[..], &KEPT, &by_a].concat()).code, 1);
    assert_eq!(first.ok(&RESUME), "0\n");

    let place = place_like(&first);
    assert_eq!(place.run(&with(&RUN, &KEPT)).code, 1);
    place.fails(
        3,
        &with(&RESUME, &by_b),
        &["machine 1 is not gone on with, because of \"outer\"", "none of those required"],
    );
    let kept = place.read("state.db");
    // From here on the other contract is not called any more.
    let called: u64 = place.ok(&with(&RESUME, &by_a)).trim().parse().unwrap();
    assert!(0 < called && called < 300, "{called}");

    // The same module without its signature, another module, a signature of something else.
    for (change, required, code, sentence) in [
        ("plain", &by_a[..], 3, "it is not signed, and a signature is required"),
        ("other", &[], 4, "its module is another than the one it began with"),
        ("damaged", &[], 4, "the signature is not one of this module"),
    ] {
        place.write("state.db", &kept);
        let bytes = match change {
            "plain" => place.read("plain.dotvm"),
            "other" => {
                place.ok(&["asm", "inner.dasm", "-o", "inner.dotvm"]);
                place.read("inner.dotvm")
            }
            _ => {
                let mut bytes = place.read("outer.dotvm");
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            }
        };
        tamper(&place, 1, |_| bytes.clone());
        place.fails(code, &with(&RESUME, required), &[sentence]);
        // It is refused, and not forgotten.
        assert_eq!(
            place.json(0, &["db", "machines", "--json", "--db", "state.db"])["machines"][0]["machine"],
            1
        );
    }
}

/// Another place with the same keys and modules.
fn place_like(place: &Place) -> Place {
    let other = Place::new();
    for file in ["outer.dotvm", "plain.dotvm", "inner.dasm", "a.key"] {
        other.write(file, place.read(file));
    }
    other.ok(&["deploy", "inner.dasm", "--db", "state.db"]);
    other
}

fn rewritten(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&place.read("r.json")).unwrap();
    change(&mut value);
    place.write("t.json", value.to_string());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn replay_asks_who_signed() {
    let (place, a, b) = place();
    let by_a = ["--require-signed-by", a.as_str()];
    let by_b = ["--require-signed-by", b.as_str()];
    let replay = |file: &'static str| with(&["replay", file], &DB);
    let run = ["run", "outer.dotvm", "--arg", "5", "--db", "state.db", "--record", "r.json"];
    assert_eq!(place.ok(&run), "5\n");
    assert_eq!(place.ok(&replay("r.json")), "5\n");
    place.fails(3, &with(&replay("r.json"), &by_b), &["\"outer\" of the recording is refused", &a]);
    // A contract that is called now must be signed too: the run comes apart.
    assert_eq!(place.run(&with(&replay("r.json"), &by_a)).code, 7);

    // Recorded with the requirement, it needs no option to come out alike.
    assert_eq!(place.ok(&with(&run, &by_a)), "0\n");
    assert_eq!(place.ok(&replay("r.json")), "0\n");
    assert_eq!(place.ok(&with(&replay("r.json"), &by_a)), "0\n");
    rewritten(&place, |recording| drop(recording["run"].as_object_mut().unwrap().remove("signers")));
    assert_eq!(place.run(&replay("t.json")).code, 7);
    rewritten(&place, |recording| recording["run"]["signers"] = json!(["0x12"]));
    place.fails(3, &replay("t.json"), &["the record of the run is broken: a key has not 32 bytes"]);

    // Its module without the signature, or with one of something else.
    rewritten(&place, |recording| recording["module"] = json!(hex(&place.read("plain.dotvm"))));
    assert_eq!(place.ok(&replay("t.json")), "0\n");
    place.fails(3, &with(&replay("t.json"), &by_a), &["it is not signed, and a signature is required"]);
    rewritten(&place, |recording| {
        let mut bytes = place.read("outer.dotvm");
        *bytes.last_mut().unwrap() ^= 1;
        recording["module"] = json!(hex(&bytes));
    });
    place.fails(3, &replay("t.json"), &["the signature is not one of this module"]);
}

#[test]
fn verify_receipt_asks_who_signed_stored_code() {
    let (place, a, b) = place();
    let by_a = ["--require-signed-by", a.as_str()];
    let by_b = ["--require-signed-by", b.as_str()];
    place.ok(&["deploy", "outer.dotvm", "--db", "state.db"]);
    let receipt = ["--receipt", "r.json", "--sign-key", "b.key"];
    place.ok(&[&["call", "outer", "main", "0"][..], &DB, &receipt].concat());
    let verify = with(&["verify-receipt", "r.json"], &DB);
    assert!(place.ok(&with(&verify, &by_a)).starts_with("yes: outer"));
    place.fails(3, &with(&verify, &by_b), &["\"outer\" of the database is refused", &a]);
    // A run that has called what nobody signed.
    place.ok(&[&["call", "outer", "main", "2"][..], &DB, &receipt].concat());
    assert!(place.ok(&verify).starts_with("yes: outer"));
    assert_eq!(place.run(&with(&verify, &by_a)).code, 1);
    // Code that was never signed.
    place.ok(&[&["call", "inner", "main", "0x00"][..], &DB, &receipt].concat());
    assert!(place.ok(&verify).starts_with("yes: inner"));
    place.fails(3, &with(&verify, &by_a), &["it is not signed, and a signature is required"]);
}
