//! Every command does what it is for. Expected values are worked out by hand.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::Place;
use serde_json::{Value, json};

const BANK_DB: [&str; 2] = ["--db", "state.db"];

fn with_db<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &BANK_DB].concat()
}

#[test]
fn asm_writes_a_module_that_disassembles_and_verifies() {
    let place = Place::new();
    place.ok(&["asm", "bank.dasm"]);
    let module = place.read("bank.dotvm");
    assert!(module.starts_with(b"DOTV"));
    let text = place.ok(&["disasm", "bank.dotvm"]);
    place.write("again.dasm", &text);
    place.ok(&["asm", "again.dasm", "-o", "again.dotvm"]);
    assert_eq!(place.read("again.dotvm"), module);
    let report = place.ok(&["verify", "bank.dotvm"]);
    assert!(report.starts_with("module bank: 64-bit words, 13 functions"), "{report}");
    assert!(report.contains("capabilities: db.read, db.write, tx"), "{report}");
    assert!(report.contains("exported"), "{report}");
}

#[test]
fn asm_at_every_width() {
    let place = Place::new();
    for width in [32, 64, 128, 256, 512] {
        let arch = width.to_string();
        let report = place.json(0, &["asm", "bank.dasm", "--arch", &arch, "-o", "out.dotvm", "--json"]);
        assert_eq!(report["width"], json!(width));
        assert_eq!(report["bytes"], json!(place.read("out.dotvm").len()));
        let verified = place.json(0, &["verify", "out.dotvm", "--json"]);
        assert_eq!((&verified["width"], &verified["hash"]), (&json!(width), &report["hash"]));
        assert_eq!(verified["functions"].as_array().unwrap().len(), 13);
        assert_eq!(place.ok(&["run", "out.dotvm", "--fn", "words_of_env"]).lines().last(), Some(&*arch));
    }
}

#[test]
fn standard_input_and_output() {
    let place = Place::new();
    let mut child =
        place.command(&["asm", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(common::BANK.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"DOTV"));
    place.write("piped.dotvm", &output.stdout);
    assert_eq!(place.ok(&["run", "piped.dotvm", "-q"]), "hello\n");
}

#[test]
fn run_prints_results_a_line_each() {
    let place = Place::new();
    let run = place.run(&["run", "bank.dasm"]);
    assert_eq!((run.code, &*run.stdout), (0, "hello\n"));
    assert!(run.stderr.starts_with("gas "), "{}", run.stderr);
    let echo = ["run", "bank.dasm", "--fn", "echo", "--arg", "-1", "--arg", "0x10", "--arg", "null"];
    assert_eq!(place.ok(&echo), "18446744073709551615\n16\nnull\n");
    let narrow = [&echo[..], &["--arch", "32", "-q"]].concat();
    let run = place.run(&narrow);
    assert_eq!((&*run.stdout, &*run.stderr), ("4294967295\n16\nnull\n", ""));
    place.write("bytes", [0xff, 0]);
    let file = ["run", "bank.dasm", "--fn", "echo", "--arg", "0b11", "--arg", "1_000", "--arg", "@bytes"];
    assert_eq!(place.ok(&file), "3\n1000\n0xff00\n");
}

#[test]
fn state_without_a_store_is_thrown_away_and_that_is_said() {
    let place = Place::new();
    let run = place.run(&["run", "bank.dasm", "--fn", "add", "--arg", "5"]);
    assert_eq!((run.code, &*run.stdout), (0, "5\n"));
    assert!(run.stderr.contains("event 7 5 added\n"), "{}", run.stderr);
    assert!(run.stderr.contains("nothing is kept"), "{}", run.stderr);
    let run = place.run(&["run", "bank.dasm"]);
    assert!(!run.stderr.contains("nothing is kept"), "{}", run.stderr);
}

#[test]
fn state_in_a_store_is_there_again() {
    let place = Place::new();
    for (amount, sum) in [("5", "5\n"), ("37", "42\n"), ("0", "42\n")] {
        let args = with_db(&["run", "bank.dasm", "--fn", "add", "--arg", amount]);
        assert_eq!(place.ok(&args), sum);
    }
    // State is numbers: a 256-bit module of the same name continues it.
    let wide = ["run", "bank.dasm", "--fn", "add", "--arg", "-1", "--arch", "256", "--db", "redb:state.db"];
    // 42 + (2^256 - 1) wraps around to 41, which the program refuses.
    place.fails_with_trap(&wide, "User");
    let wide = ["run", "bank.dasm", "--fn", "add", "--arg", "1", "--arch", "256", "--db", "redb:state.db"];
    assert_eq!(place.ok(&wide), "43\n");
    assert_eq!(place.ok(&with_db(&["db", "get", "bank", "0"])), "43\n");
}

trait Traps {
    fn fails_with_trap(&self, args: &[&str], kind: &str) -> String;
}

impl Traps for Place {
    fn fails_with_trap(&self, args: &[&str], kind: &str) -> String {
        let run = self.run(args);
        assert_eq!((run.code, &*run.stdout), (1, ""), "{args:?}: {}", run.stderr);
        assert!(run.stderr.starts_with(&format!("error: {kind} in `")), "{args:?}: {}", run.stderr);
        run.stderr
    }
}

#[test]
fn deploy_and_call() {
    let place = Place::new();
    let report = place.json(0, &with_db(&["deploy", "bank.dasm", "--json"]));
    assert_eq!((&report["contract"], &report["change"]), (&json!("bank"), &json!("new")));
    let hash = report["hash"].as_str().unwrap().to_owned();
    assert_eq!(place.ok(&with_db(&["call", "bank", "add", "5"])), "5\n");
    assert_eq!(place.ok(&with_db(&["call", "bank", "add", "6"])), "11\n");
    let again = place.json(0, &with_db(&["deploy", "bank.dasm", "--json"]));
    assert_eq!((&again["change"], &again["hash"]), (&json!("none"), &json!(hash)));
    // Other code under the same name takes --upgrade, which keeps the state.
    place.write("other.dasm", common::BANK.replace("\"hello\"", "\"good day\""));
    place.fails(4, &with_db(&["deploy", "other.dasm"]), &["already belongs to other code", "--upgrade"]);
    assert_eq!(place.ok(&with_db(&["call", "bank", "hello"])), "hello\n");
    let upgraded = place.json(0, &with_db(&["deploy", "other.dasm", "--upgrade", "--json"]));
    assert_eq!((&upgraded["change"], &upgraded["replaced"]), (&json!("upgrade"), &json!(hash)));
    assert_eq!(place.ok(&with_db(&["call", "bank", "hello"])), "good day\n");
    assert_eq!(place.ok(&with_db(&["call", "bank", "add", "1"])), "12\n");
    // Running a file on the state of a deployed contract takes the same code.
    place.fails(4, &with_db(&["run", "bank.dasm"]), &["already belongs to other code", "--name"]);
    assert_eq!(place.ok(&with_db(&["run", "bank.dasm", "--name", "mine"])), "hello\n");
    // Another name is another state.
    place.ok(&with_db(&["deploy", "bank.dasm", "--name", "second"]));
    assert_eq!(place.ok(&with_db(&["call", "second", "add", "1"])), "1\n");
}

#[test]
fn the_environment_and_limits_are_options() {
    let place = Place::deployed();
    let words = [
        "call",
        "bank",
        "words_of_env",
        "--caller",
        "0x0a",
        "--value",
        "11",
        "--height",
        "12",
        "--time",
        "13",
        "--chain",
        "14",
        "-q",
    ];
    assert_eq!(place.ok(&with_db(&words)), "10\n11\n12\n13\n14\n64\n");
    let seed = format!("0x{}", "ab".repeat(32));
    let refs = ["call", "bank", "refs_of_env", "--input", "some input", "--seed", &seed];
    assert_eq!(place.ok(&with_db(&refs)), format!("bank\nsome input\n{seed}\n"));
    // The caller is wider than the module's words.
    place.fails_with_trap(&with_db(&["call", "bank", "words_of_env", "--caller", "-1"]), "Overflow");
    place.fails_with_trap(&with_db(&["call", "bank", "write_then_spin", "--gas", "100000"]), "Gas");
    place.fails_with_trap(&with_db(&["call", "bank", "deeper", "--depth", "10"]), "Depth");
    place.fails(3, &with_db(&["call", "bank", "hello", "--deny", "tx"]), &["capability `tx`", "not granted"]);
}

#[test]
fn nothing_is_kept_of_an_execution_that_fails() {
    let place = Place::deployed();
    place.ok(&with_db(&["call", "bank", "add", "42"]));
    let before = place.contents("state.db");
    let message = place.fails_with_trap(&with_db(&["call", "bank", "write_then_trap"]), "DivZero");
    let source_line = 1 + common::BANK.lines().position(|line| line.contains("DIV POP")).unwrap();
    assert!(message.contains("in `write_then_trap` at offset"), "{message}");
    assert!(message.contains(&format!("(bank.dasm:{source_line})")), "{message}");
    // The source is at hand: the line, and a caret under DIV.
    let shown = message.lines().position(|line| line.contains("PUSH 1 PUSH 0 DIV POP")).expect(&message);
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[shown + 1].find('^'), lines[shown].find("DIV"), "{message}");
    let halted = place.run(&with_db(&["call", "bank", "write_then_halt", "3", "because"]));
    assert_eq!((halted.code, &*halted.stdout), (1, "because\n"));
    assert!(halted.stderr.contains("halted with code 3"), "{}", halted.stderr);
    place.fails_with_trap(&with_db(&["call", "bank", "write_then_spin", "--gas", "100000"]), "Gas");
    assert_eq!(place.contents("state.db"), before);
    // HALT 0 keeps.
    assert_eq!(place.ok(&with_db(&["call", "bank", "write_then_halt", "0", "fine"])), "fine\n");
    assert_eq!(place.ok(&with_db(&["db", "get", "bank", "0"])), "99\n");
}

#[test]
fn what_a_program_commits_itself_stays() {
    let place = Place::deployed();
    place.fails_with_trap(&with_db(&["call", "bank", "commit_then_trap"]), "Unreachable");
    assert_eq!(place.ok(&with_db(&["db", "get", "bank", "5"])), "55\n");
}

#[test]
fn json_reports() {
    let place = Place::deployed();
    let report = place.json(0, &with_db(&["call", "bank", "add", "42", "--json"]));
    assert_eq!(report["status"], "ok");
    assert_eq!(report["result"], json!({"words": ["42"], "refs": []}));
    let root = place.json(0, &with_db(&["db", "root", "--json"]));
    assert_eq!(report["state_root"], root["root"]);
    assert_eq!(root["root"].as_str().unwrap().len(), 64);
    assert_eq!((&report["committed"], &report["changed_keys"]), (&json!(true), &json!(1)));
    let event = json!({"topics": ["7", "42"], "data": {"hex": "0x6164646564", "text": "added"}});
    assert_eq!(report["events"], json!([event]));
    assert_eq!((&report["trap"], &report["error"]), (&Value::Null, &Value::Null));
    assert!(report["gas_used"].as_u64().unwrap() > 500);

    let echo = place.json(0, &with_db(&["call", "bank", "echo", "1", "2", "0x00ff", "--json"]));
    let refs = json!([{"hex": "0x00ff", "text": null}]);
    assert_eq!(echo["result"], json!({"words": ["1", "2"], "refs": refs}));
    let echo = place.json(0, &with_db(&["call", "bank", "echo", "1", "2", "null", "--json"]));
    assert_eq!(echo["result"]["refs"], json!([null]));

    let trapped = place.json(1, &with_db(&["call", "bank", "write_then_trap", "--json"]));
    assert_eq!((&trapped["status"], &trapped["result"]), (&json!("trapped"), &Value::Null));
    let trap = &trapped["trap"];
    assert_eq!((&trap["kind"], &trap["function"]), (&json!("DivZero"), &json!("write_then_trap")));
    assert_eq!((&trap["sentence"], &trap["detail"]), (&json!("Division by zero."), &Value::Null));
    let source_line = 1 + common::BANK.lines().position(|line| line.contains("DIV POP")).unwrap();
    assert_eq!((&trap["line"], &trap["file"]), (&json!(source_line), &json!("bank.dasm")));
    assert_eq!((&trapped["committed"], &trapped["changed_keys"]), (&json!(false), &json!(0)));

    let halted = place.json(1, &with_db(&["call", "bank", "write_then_halt", "3", "why", "--json"]));
    assert_eq!((&halted["status"], &halted["halt_code"]), (&json!("halted"), &json!("3")));
    assert_eq!(halted["result"]["refs"][0]["text"], "why");

    let spent = place.json(1, &with_db(&["call", "bank", "write_then_spin", "--gas", "5000", "--json"]));
    assert_eq!(spent["trap"]["kind"], "Gas");
}

#[test]
fn db_shows_what_is_there() {
    let place = Place::deployed();
    place.ok(&with_db(&["call", "bank", "add", "42"]));
    for (key, text) in [("b", "second"), ("a", "first"), ("0x00ff", "0xfe")] {
        assert_eq!(place.ok(&with_db(&["call", "bank", "note", key, text])), "0\n");
    }
    assert_eq!(place.ok(&with_db(&["call", "bank", "note", "b", "other"])), "1\n");
    assert_eq!(place.ok(&with_db(&["call", "bank", "read", "b"])), "1\nother\n");
    assert_eq!(place.ok(&with_db(&["call", "bank", "read", "z"])), "0\nnull\n");
    place.ok(&with_db(&["call", "bank", "enrol", "al"]));

    let listing = place.ok(&with_db(&["db", "ls"]));
    assert!(listing.starts_with("bank  code "), "{listing}");
    assert!(listing.contains("bank/notes  bytes, 3 records\nbank/people  doc, 1 record\n"), "{listing}");
    let json = place.json(0, &with_db(&["db", "ls", "--json"]));
    assert_eq!(
        json["contracts"][0]["collections"][1],
        json!({"name": "people", "kind": "doc", "records": 1})
    );

    assert_eq!(place.ok(&with_db(&["db", "get", "bank", "0"])), "42\n");
    assert_eq!(place.ok(&with_db(&["db", "get", "bank", "1"])), "0\n");
    assert_eq!(place.ok(&with_db(&["db", "get", "bank/notes", "a"])), "first\n");
    // Deterministic CBOR orders the keys of a map by their encoded bytes: "age" is shorter than "name".
    let alice = r#"{"age":30,"name":"Alice"}"#;
    assert_eq!(place.ok(&with_db(&["db", "get", "bank/people", "al"])), format!("{alice}\n"));
    let found = place.json(0, &with_db(&["db", "get", "bank/people", "al", "--json"]));
    assert_eq!(found["value"], json!({"age": 30, "name": "Alice"}));
    assert_eq!(place.json(0, &with_db(&["db", "get", "bank", "0", "--json"]))["value"], "42");
    place.fails(1, &with_db(&["db", "get", "bank/notes", "z"]), &["no record z"]);

    assert_eq!(place.ok(&with_db(&["db", "scan", "bank"])), "0  42\n");
    let all = "0x00ff  0xfe\na  first\nb  other\n";
    assert_eq!(place.ok(&with_db(&["db", "scan", "bank/notes"])), all);
    let back: String = all.lines().rev().map(|line| format!("{line}\n")).collect();
    assert_eq!(place.ok(&with_db(&["db", "scan", "bank/notes", "--reverse"])), back);
    let part = ["db", "scan", "bank/notes", "--from", "a", "--to", "b"];
    assert_eq!(place.ok(&with_db(&part)), "a  first\n");
    assert_eq!(place.ok(&with_db(&["db", "scan", "bank/notes", "--limit", "1"])), "0x00ff  0xfe\n");
    let rows = place.json(0, &with_db(&["db", "scan", "bank/people", "--json"]));
    assert_eq!(rows["rows"][0]["value"]["name"], "Alice");
    assert_eq!(place.ok(&with_db(&["db", "scan", "bank", "--from", "1"])), "");

    let stats = place.json(0, &with_db(&["db", "stats", "--json"]));
    let counts = ["contracts", "slots", "collections", "records"].map(|name| stats[name].as_u64().unwrap());
    assert_eq!((counts, &stats["backend"]), ([1, 1, 2, 4], &json!("redb")));
    assert_eq!(stats["file_bytes"], json!(place.read("state.db").len()));
    assert!(place.ok(&with_db(&["db", "stats"])).contains("records      4\n"));
}

#[test]
fn db_changes_nothing() {
    let place = Place::deployed();
    let before = place.read("state.db");
    for args in [&["db", "ls"][..], &["db", "stats"], &["db", "get", "bank", "0"], &["db", "scan", "bank"]] {
        place.ok(&with_db(args));
    }
    assert!(place.read("state.db") == before, "the file is another");
}

#[test]
fn slots_are_listed_as_numbers_in_order() {
    let place = Place::new();
    place.write(
        "fill.dasm",
        ".module fill\n.arch 64\n.func pub fill\n PUSH 300 PUSH 1 SSTORE PUSH 2 PUSH 20 SSTORE PUSH 10 PUSH 3 SSTORE RET\n.end\n",
    );
    place.ok(&with_db(&["run", "fill.dasm", "--fn", "fill"]));
    assert_eq!(place.ok(&with_db(&["db", "scan", "fill"])), "2  20\n10  3\n300  1\n");
    assert_eq!(place.ok(&with_db(&["db", "scan", "fill", "--reverse", "--limit", "2"])), "300  1\n10  3\n");
    assert_eq!(place.ok(&with_db(&["db", "scan", "fill", "--from", "3", "--to", "300"])), "10  3\n");
    assert!(place.ok(&with_db(&["db", "ls"])).starts_with("fill  not deployed\n"));
}

#[test]
fn isa_shows_the_table_or_one_row() {
    let place = Place::new();
    assert!(place.ok(&["isa"]).contains("\n  90  SLOAD "));
    for name in ["ADDMOD", "addmod", "0x34"] {
        assert!(place.ok(&["isa", name]).starts_with("ADDMOD (code 0x34): "));
    }
    let all = place.json(0, &["isa", "--json"]);
    assert!(all["operations"].as_array().unwrap().len() > 100);
    let one = place.json(0, &["isa", "db_get", "--json"]);
    let row = &one["operations"][0];
    assert_eq!((&row["code"], &row["capability"]), (&json!(0x80), &json!("db.read")));
    place.fails(2, &["isa", "sloadd"], &["did you mean SLOAD?"]);
    assert!(place.ok(&["isa"]).contains("\n  FB 00  R.SLICE "));
    assert!(place.ok(&["isa", "0xfb00"]).starts_with("R.SLICE (code 0xFB00): "));
    place.fails(2, &["isa", "0xff"], &["no operation has the code 0xff"]);
}

#[test]
fn completions_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.ok(&["completions", shell]).contains("dotvm"), "{shell}");
    }
}

#[test]
fn help_and_version() {
    let place = Place::new();
    assert!(place.ok(&["--help"]).contains("Exit codes:"));
    assert!(place.ok(&["--version"]).starts_with("dotvm 0."));
    for command in ["asm", "disasm", "verify", "run", "deploy", "call", "db", "isa", "completions"] {
        assert!(place.ok(&[command, "--help"]).contains("Usage: dotvm "), "{command}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new();
    for args in [&["isa", "--markdown"][..], &["isa"], &["completions", "zsh"], &["run", "--help"]] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told() {
    let place = Place::new();
    let full = std::fs::File::create("/dev/full").unwrap();
    let output = place.command(&["isa"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: standard output cannot be written"));
}

#[test]
fn colour_when_asked_for() {
    let place = Place::new();
    let colored = |args: &[&str], variable: Option<&str>| {
        let mut command = place.command(args);
        command.env_remove("NO_COLOR").env("TERM", "xterm");
        if let Some(variable) = variable {
            command.env(variable, "1");
        }
        command.output().unwrap().stderr.contains(&0x1b)
    };
    assert!(colored(&["--color", "always", "run", "missing.dasm"], None));
    assert!(!colored(&["--color", "never", "run", "missing.dasm"], None));
    assert!(!colored(&["run", "missing.dasm"], None), "a pipe is no terminal");
    assert!(!colored(&["run", "missing.dasm"], Some("NO_COLOR")));
}
