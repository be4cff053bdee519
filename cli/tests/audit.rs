//! The audit log tells what happened, in the form that its description promises.

mod common;

use common::Place;
use dotvm_runtime::audit::{EVENTS, FieldKind};
use serde_json::{Value, json};

/// Drops a capability, opens files, and asks about a proof.
const PROGRAM: &str = r#"
.module audited
.cap tx file.read file.create
.host file.open file.create

.func pub files
  RCONST "a" SYS file.create POP RCONST "a" SYS file.open POP RCONST "b" SYS file.open POP RET
.end

.func pub drops
  PUSH cap.tx CAP_DROP PUSH cap.tx CAP_DROP RET
.end

.func pub proof -> [r]
  PUSH 0 PUSH 1 RCONST "no root" RCONST "no proof" STATE_VERIFY RET
.end

.func pub aborts
  TX_ABORT RET
.end
"#;

/// The lines of the log, each of them checked against the schema.
fn lines(place: &Place) -> Vec<Value> {
    let text = String::from_utf8(place.read("audit.log")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let fields = line.as_object().unwrap();
        let kind = EVENTS.iter().find(|kind| json!(kind.name) == line["event"]).expect("a known event");
        let names = ["seq", "time_ms", "event"].into_iter().chain(kind.fields.iter().map(|field| field.0));
        assert_eq!(
            fields.keys().map(String::as_str).collect::<Vec<_>>(),
            names.collect::<Vec<_>>(),
            "{line}"
        );
        assert!(line["seq"].as_u64() > Some(0) && line["time_ms"].is_u64(), "{line}");
        for &(name, field) in kind.fields {
            let fits = match field {
                FieldKind::Text => line[name].is_string(),
                FieldKind::Number => line[name].is_u64(),
                FieldKind::Flag => line[name].is_boolean(),
            };
            assert!(fits, "{name} in {line}");
        }
    }
    lines
}

/// The log of one command: its events without what differs from run to run.
fn events(place: &Place, args: &[&str]) -> Vec<Value> {
    let _ = std::fs::remove_file(place.path("audit.log"));
    place.run(&[args, &["--audit", "audit.log"]].concat());
    let mut lines = lines(place);
    for (index, line) in lines.iter_mut().enumerate() {
        let fields = line.as_object_mut().unwrap();
        assert_eq!(fields.shift_remove("seq"), Some(json!(index + 1)));
        fields.shift_remove("time_ms");
        fields.shift_remove("hash");
    }
    lines
}

#[test]
fn what_happened_is_told() {
    let place = Place::new();
    place.write("audited.dasm", PROGRAM);
    let deployed = events(&place, &["deploy", "audited.dasm", "--db", "s.db"]);
    assert_eq!(
        deployed,
        [json!({"event": "contract_deployed", "contract": "audited", "number": 1, "change": "new"})]
    );
    let linked = json!({"event": "module_linked", "contract": "audited", "module": "audited", "capabilities": "tx file.read file.create"});
    let called = |function: &str| json!({"event": "contract_called", "contract": "audited", "function": function, "caller": "7"});
    let call =
        |function: &str| events(&place, &["call", "audited", function, "--db", "s.db", "--caller", "7"]);
    let opened = |path: &str, created: bool| json!({"event": "file_opened", "contract": "audited", "path": path, "created": created});
    assert_eq!(
        call("files"),
        [
            linked.clone(),
            called("files"),
            opened("a", true),
            opened("a", false),
            json!({"event": "transaction_committed", "contract": "audited", "version": 2, "changed_keys": 2}),
        ]
    );
    // Given up once.
    let dropped = json!({"event": "capability_dropped", "contract": "audited", "capability": "tx"});
    assert_eq!(call("drops"), [linked.clone(), called("drops"), dropped]);
    let refused = json!({"event": "proof_refused", "contract": "audited"});
    assert_eq!(call("proof"), [linked.clone(), called("proof"), refused]);
    let undone =
        |reason: &str| json!({"event": "transaction_undone", "contract": "audited", "reason": reason});
    assert_eq!(call("aborts"), [linked, called("aborts"), undone("abort")]);
    let denied = events(&place, &["run", "audited.dasm", "--fn", "drops", "--deny", "tx"]);
    assert_eq!(denied, [json!({"event": "capability_denied", "module": "audited", "capability": "tx"})]);
}

#[test]
fn what_fails_is_told_to_be_undone() {
    let place = Place::deployed();
    let last = |function: &str, args: &[&str]| {
        let events = events(&place, &[&["call", "bank", function, "--db", "state.db"][..], args].concat());
        events.last().cloned().unwrap()
    };
    let undone = |reason: &str| json!({"event": "transaction_undone", "contract": "bank", "reason": reason});
    assert_eq!(last("write_then_trap", &[]), undone("DivZero"));
    assert_eq!(last("write_then_halt", &["3", "x"]), undone("halt"));
    assert_eq!(last("write_then_spin", &["--gas", "1000"]), undone("Gas"));
    let committed = |changed: u64, version: u64| json!({"event": "transaction_committed", "contract": "bank", "version": version, "changed_keys": changed});
    assert_eq!(last("add", &["5"]), committed(1, 2));
    // A program that commits itself and then fails.
    let all = events(&place, &["call", "bank", "commit_then_trap", "--db", "state.db"]);
    assert_eq!(all[all.len() - 2..], [committed(1, 3), undone("Unreachable")]);
}

#[test]
fn a_log_goes_on_and_its_failure_is_an_error() {
    let place = Place::new();
    let run = ["run", "bank.dasm", "--audit", "audit.log"];
    place.ok(&run);
    let first = place.read("audit.log");
    place.ok(&run);
    let both = place.read("audit.log");
    assert!(both.starts_with(&first) && both.len() > first.len());
    place.fails(
        5,
        &["run", "bank.dasm", "--audit", "no/such/dir/log"],
        &["no/such/dir/log cannot be written"],
    );
    if cfg!(target_os = "linux") {
        let full = place.run(&["run", "bank.dasm", "--audit", "/dev/full", "-q"]);
        assert_eq!((full.code, &*full.stdout), (5, "hello\n"), "{}", full.stderr);
        assert!(full.stderr.contains("the audit log /dev/full cannot be written"), "{}", full.stderr);
    }
}
