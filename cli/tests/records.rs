//! Recordings that are replayed, and receipts that hold.

mod common;

use common::Place;
use serde_json::{Value, json};

/// A counter that also listens to the outside.
const METER: &str = r#"
.module meter
.arch 256
.cap console.write console.read clock entropy args tx file.read file.write file.create
.host console.write console.read clock.wall entropy.get args.get file.open file.create file.write file.read

; Adds an amount to slot 0 and answers the sum.
.func pub add [amount] -> [sum]
  .local sum
  PUSH 0 SLOAD LGET amount ADD LTEE sum
  PUSH 0 SWAP SSTORE
  PUSH 7 LGET sum RCONST "added" EMIT 2
  LGET sum RET
.end

; All that differs from one time to another.
.func pub listen -> [seconds nanoseconds]{line random argument}
  SYS clock.wall
  PUSH 1 RCONST "heard\n" SYS console.write
  PUSH 100 SYS console.read
  PUSH 32 SYS entropy.get
  PUSH 0 SYS args.get
  PUSH 0 SYS clock.wall POP SSTORE
  RET
.end

; Puts what came in into a file.
.func pub keep -> [file]
  RCONST "line" SYS file.create DUP PUSH 100 SYS console.read SYS file.write RET
.end

.func pub fail
  PUSH 0 PUSH 99 SSTORE TRAP
.end

.func pub stop [code]{text}
  PUSH 0 PUSH 99 SSTORE LGET code RLGET text HALT
.end

.func pub commits
  PUSH 0 PUSH 1 SSTORE TX_COMMIT POP TX_BEGIN 0 PUSH 0 PUSH 2 SSTORE RET
.end
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("meter.dasm", METER);
    place.write("input", "a line\n");
    place.write("key", format!("dotvm-signing-key {}\n", "11".repeat(32)));
    place
}

/// The same with `meter` deployed in `s.db`.
fn deployed() -> Place {
    let place = place();
    place.ok(&["deploy", "meter.dasm", "--db", "s.db"]);
    place.ok(&["call", "meter", "add", "5", "--db", "s.db", "--cap", "all"]);
    place
}

fn record(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&place.read(name)).unwrap()
}

fn rewrite(place: &Place, from: &str, to: &str, change: impl FnOnce(&mut Value)) {
    let mut value = record(place, from);
    change(&mut value);
    place.write(to, serde_json::to_vec(&value).unwrap());
}

#[test]
fn a_run_is_replayed_without_the_outside() {
    let place = place();
    let run = ["run", "meter.dasm", "--fn", "listen", "--cap", "all", "--stdin", "input", "--argv", "first"];
    let first = place.run(&[&run[..], &["--record", "r.json"]].concat());
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stdout.starts_with("heard\n"), "{}", first.stdout);
    let recorded = record(&place, "r.json");
    assert_eq!(recorded["format"], json!("dotvm recording 1"));
    assert_eq!(recorded["run"]["calls"].as_array().unwrap().len(), 6);
    // Neither input nor source are needed any more.
    std::fs::remove_file(place.path("input")).unwrap();
    std::fs::remove_file(place.path("meter.dasm")).unwrap();
    let again = place.run(&["replay", "r.json"]);
    assert_eq!((again.code, &again.stdout), (0, &first.stdout), "{}", again.stderr);
    for line in again.stderr.lines() {
        assert!(first.stderr.contains(line), "{line} is not in {}", first.stderr);
    }
    assert!(again.stderr.contains("state root "), "{}", again.stderr);
    let report = place.json(0, &["replay", "r.json", "--json"]);
    assert_eq!(report["stdout"]["hex"], json!("0x68656172640a"));
    assert_eq!(report["state_root"], recorded["run"]["root_after"]);
}

#[test]
fn a_replay_says_where_it_comes_apart() {
    let place = place();
    let run =
        ["run", "meter.dasm", "--fn", "listen", "--cap", "all", "--stdin", "input", "--record", "r.json"];
    place.ok(&run);
    let apart = |change: &dyn Fn(&mut Value), words: &[&str]| {
        rewrite(&place, "r.json", "other.json", |value| change(value));
        let failed = place.run(&["replay", "other.json", "-q"]);
        assert_eq!(failed.code, 7, "{}", failed.stderr);
        assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
        for word in words {
            assert!(failed.stderr.contains(word), "{word:?} is not in {}", failed.stderr);
        }
    };
    apart(
        &|value| drop(value["run"]["calls"].as_array_mut().unwrap().remove(0)),
        &["call 1", "reads the wall clock", "writes to standard output"],
    );
    apart(
        &|value| drop(value["run"]["calls"].as_array_mut().unwrap().pop()),
        &["call 6", "has come to its end"],
    );
    apart(
        &|value| {
            let calls = value["run"]["calls"].as_array_mut().unwrap();
            calls.push(calls[0].clone());
        },
        &["come to its end where the recorded run reads the wall clock"],
    );
    apart(&|value| value["run"]["calls"][1]["bytes"] = json!("0x00"), &["call 2", "other bytes are written"]);
    apart(
        &|value| value["run"]["calls"][3]["bytes"] = json!("0x00"),
        &["call 4", "asks for 32 random bytes"],
    );
    apart(&|value| value["run"]["calls"][2]["bytes"] = json!("0x00"), &["comes apart", "end:"]);
    apart(&|value| value["run"]["gas_used"] = json!(1), &["comes apart", "gas_used: 1 was recorded"]);
    apart(&|value| value["run"]["root_after"] = json!("0".repeat(64)), &["comes apart", "root_after"]);
    apart(&|value| value["run"]["limits"]["gas"] = json!(60), &["come to its end where"]);
    // What is no recording at all.
    rewrite(&place, "r.json", "broken.json", |value| value["extra"] = json!(1));
    place.fails(3, &["replay", "broken.json"], &["is no recording", "extra"]);
    rewrite(&place, "r.json", "broken.json", |value| value["format"] = json!("dotvm recording 2"));
    place.fails(3, &["replay", "broken.json"], &["in the format \"dotvm recording 2\""]);
    rewrite(&place, "r.json", "broken.json", |value| {
        value["run"]["module"] = json!(format!("0x{}", "00".repeat(32)))
    });
    place.fails(3, &["replay", "broken.json"], &["module is not the one of its run"]);
    place.fails(3, &["replay", "nowhere.json"], &["there is no file nowhere.json"]);
}

#[test]
fn a_call_is_replayed_on_the_state_as_it_was() {
    let place = deployed();
    let call = ["call", "meter", "add", "2", "--db", "s.db", "--cap", "all", "--record", "r.json"];
    assert_eq!(place.ok(&call), "7\n");
    place.ok(&["call", "meter", "add", "100", "--db", "s.db", "--cap", "all"]);
    let before = place.contents("s.db");
    assert_eq!(place.ok(&["replay", "r.json", "--db", "s.db"]), "7\n");
    assert_eq!(place.contents("s.db"), before, "a replay changes nothing");
    place.fails(2, &["replay", "r.json"], &["--db PATH"]);
    // Files live in the state and are there again.
    let keep =
        ["call", "meter", "keep", "--db", "s.db", "--cap", "all", "--stdin", "input", "--record", "k.json"];
    place.ok(&keep);
    assert_eq!(place.ok(&["replay", "k.json", "--db", "s.db"]), "1\n");
}

#[test]
fn runs_that_commit_themselves_are_replayed_from_nothing_only() {
    let place = deployed();
    place.ok(&["run", "meter.dasm", "--fn", "commits", "--cap", "all", "--record", "r.json"]);
    place.ok(&["replay", "r.json"]);
    place.ok(&["call", "meter", "commits", "--db", "s.db", "--cap", "all", "--record", "c.json"]);
    place.fails(7, &["replay", "c.json", "--db", "s.db"], &["commits transactions of its own"]);
}

#[test]
fn a_receipt_holds() {
    let place = deployed();
    let sign = ["--db", "s.db", "--cap", "all", "--receipt", "r.json", "--sign-key", "key"];
    for (call, code) in [
        (&["call", "meter", "add", "2"][..], 0),
        (&["call", "meter", "listen", "--stdin", "input"], 0),
        (&["call", "meter", "fail"], 1),
        (&["call", "meter", "stop", "3", "text"], 1),
    ] {
        let run = place.run(&[call, &sign].concat());
        assert_eq!(run.code, code, "{call:?}: {}", run.stderr);
        place.ok(&["call", "meter", "add", "100", "--db", "s.db", "--cap", "all"]);
        let before = place.contents("s.db");
        let answer = place.ok(&["verify-receipt", "r.json", "--db", "s.db"]);
        assert!(answer.starts_with("yes: meter at version "), "{answer}");
        assert_eq!(place.contents("s.db"), before, "checking changes nothing");
    }
    // On an empty state nothing but the module is needed.
    place.ok(&[
        "run",
        "meter.dasm",
        "--fn",
        "add",
        "--arg",
        "1",
        "--cap",
        "all",
        "--receipt",
        "m.json",
        "--sign-key",
        "key",
    ]);
    place.ok(&["verify-receipt", "m.json", "--module", "meter.dasm"]);
    place.fails(3, &["verify-receipt", "m.json"], &["keeps no code", "--module FILE"]);
    let other = place.run(&["verify-receipt", "m.json", "--module", "bank.dasm"]);
    assert_eq!((other.code, &*other.stdout), (1, "no: it is about another module than bank.dasm\n"));
}

#[test]
fn the_signer_can_be_asked_for() {
    let place = deployed();
    place.ok(&[
        "call",
        "meter",
        "add",
        "2",
        "--db",
        "s.db",
        "--cap",
        "all",
        "--receipt",
        "r.json",
        "--sign-key",
        "key",
    ]);
    let key = record(&place, "r.json")["public_key"].as_str().unwrap().to_owned();
    place.ok(&["verify-receipt", "r.json", "--db", "s.db", "--signer", &key]);
    let other = "22".repeat(32);
    let report = place.json(1, &["verify-receipt", "r.json", "--db", "s.db", "--signer", &other, "--json"]);
    assert_eq!((&report["valid"], &report["reason"]), (&json!(false), &json!("another key has signed it")));
    place.write("short", "1234");
    let sign =
        ["run", "meter.dasm", "--fn", "fail", "--cap", "all", "--receipt", "x.json", "--sign-key", "short"];
    place.fails(3, &sign, &["short is refused", "dotvm-signing-key"]);
}

/// A field of the receipt changed, and the signature not.
#[test]
fn a_receipt_that_was_tampered_with_is_refused() {
    let place = deployed();
    place.ok(&[
        "call",
        "meter",
        "keep",
        "--db",
        "s.db",
        "--cap",
        "all",
        "--stdin",
        "input",
        "--receipt",
        "r.json",
        "--sign-key",
        "key",
    ]);
    let receipt = record(&place, "r.json");
    let run = receipt["run"].as_object().unwrap();
    assert_eq!(run.len(), 18, "each field of a run is changed below");
    for (field, value) in run {
        let other = match (field.as_str(), value) {
            ("contract", _) => json!("other"),
            ("capabilities", _) => json!(["tx"]),
            ("calls", _) => json!([]),
            ("files", _) => json!([{"path": "0x61", "contents": "0x"}]),
            ("refs", _) => json!([null]),
            ("words", _) => json!(["1"]),
            ("end", _) => json!({"kind": "returned", "words": ["2"], "refs": []}),
            ("limits" | "environment", Value::Object(fields)) => {
                let mut fields = fields.clone();
                let name = if field == "limits" { "gas" } else { "time" };
                fields.insert(name.to_owned(), json!(123_456));
                Value::Object(fields)
            }
            (_, Value::Number(number)) => json!(number.as_u64().unwrap() + 1),
            // A hash: another last digit.
            (_, Value::String(text)) => {
                let last = if text.ends_with('0') { '1' } else { '0' };
                json!(format!("{}{last}", &text[..text.len() - 1]))
            }
            (field, value) => panic!("{field}: {value}"),
        };
        assert_ne!(&other, value, "{field}");
        rewrite(&place, "r.json", "t.json", |receipt| receipt["run"][field] = other);
        let report = place.json(1, &["verify-receipt", "t.json", "--db", "s.db", "--json"]);
        assert_eq!(report["reason"], json!("the signature is not that of its contents"), "{field}");
    }
    for field in ["public_key", "signature"] {
        rewrite(&place, "r.json", "t.json", |receipt| {
            receipt[field] = json!(format!("0x{}", "ab".repeat(32)))
        });
        place.json(1, &["verify-receipt", "t.json", "--db", "s.db", "--json"]);
    }
}

/// Signed by somebody who lies: only doing the run again shows it.
#[test]
fn a_signed_lie_is_found_out() {
    let place = deployed();
    let call = ["call", "meter", "add", "2", "--db", "s.db", "--cap", "all", "--record", "r.json"];
    place.ok(&call);
    let run = record(&place, "r.json")["run"].clone();
    let lies = [
        ("gas_used", json!(7)),
        ("guest_gas_used", json!(7)),
        ("changed_keys", json!(7)),
        ("root_before", json!("0".repeat(64))),
        ("root_after", run["root_before"].clone()),
        ("end", json!({"kind": "returned", "words": ["8"], "refs": []})),
        ("events", json!(format!("0x{}", "00".repeat(32)))),
    ];
    for (field, lie) in lies {
        let mut lying = run.clone();
        lying[field] = lie;
        place.write("lie.json", signed(&lying));
        let report = place.json(1, &["verify-receipt", "lie.json", "--db", "s.db", "--json"]);
        assert_eq!(report["reason"], json!("the run differs"), "{field}");
        let differences = report["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 1, "{field}: {differences:?}");
        assert_eq!((&differences[0]["field"], &differences[0]["again"]), (&json!(field), &run[field]));
    }
    // Other arguments lead elsewhere in more than one way.
    let mut lying = run.clone();
    lying["words"] = json!(["3"]);
    place.write("lie.json", signed(&lying));
    let answer = place.run(&["verify-receipt", "lie.json", "--db", "s.db"]);
    assert!(
        answer.code == 1 && answer.stdout.starts_with("no: the run differs\n  end:"),
        "{}",
        answer.stdout
    );
    // A call that was never made.
    let mut lying = run.clone();
    lying["calls"] = json!([{"call": "clock.wall", "seconds": 1, "nanoseconds": 2}]);
    place.write("lie.json", signed(&lying));
    let answer = place.run(&["verify-receipt", "lie.json", "--db", "s.db"]);
    assert!(answer.code == 1 && answer.stdout.contains("come to its end where"), "{}", answer.stdout);
    place.write("truth.json", signed(&run));
    place.ok(&["verify-receipt", "truth.json", "--db", "s.db"]);
}

/// A receipt of these words, signed.
fn signed(run: &Value) -> Vec<u8> {
    let secret = [0x22; 32];
    let alg = dotvm_crypto::SignatureAlg::Ed25519;
    let message = format!("dotvm receipt 1\n{}", serde_json::to_string(run).unwrap());
    let hex = |bytes: &[u8]| format!("0x{}", dotvm_runtime::show::hex(bytes));
    let receipt = json!({
        "format": "dotvm receipt 1",
        "run": run,
        "public_key": hex(&alg.public_key(&secret).unwrap()),
        "signature": hex(&alg.sign(&secret, message.as_bytes()).unwrap()),
    });
    serde_json::to_vec(&receipt).unwrap()
}
