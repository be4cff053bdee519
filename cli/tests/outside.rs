//! What programs get from outside, and what is granted to them.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::Place;
use serde_json::json;

/// Programs that use each part of the outside.
const OUTSIDE: &str = r#"
.module outside
.cap console.write console.read args file.read file.write file.create clock entropy
.host console.write console.read args.get file.open file.create file.read file.write clock.wall clock.monotonic entropy.get
.entry cat

; Standard input to standard output.
.func pub cat
  .rlocal text
  .while PUSH 100 SYS console.read RLSET text RLGET text BLEN .do
    PUSH 1 RLGET text SYS console.write
  .end_while
  RET
.end

.func pub echo [i] -> {argument}
  LGET i SYS args.get RET
.end

.func pub complain_and_trap
  PUSH 2 RCONST "oh no\n" SYS console.write
  TRAP
.end

; A file in, the same twice into another.
.func pub double
  .local out
  .rlocal text
  RCONST "in" SYS file.open PUSH 16777216 SYS file.read RLSET text
  RCONST "out" SYS file.create LSET out
  LGET out RLGET text SYS file.write
  LGET out RLGET text SYS file.write RET
.end

; Seconds since 1970, whether the clock stood still or went on, and whether two draws differ.
.func pub time -> [seconds goes_on differs]
  .local s n
  SYS clock.wall POP
  SYS clock.monotonic LSET n LSET s
  SYS clock.monotonic LGET n GE SWAP LGET s GE OR
  PUSH 16 SYS entropy.get HASHW blake3 PUSH 16 SYS entropy.get HASHW blake3 NE
  RET
.end
"#;

/// A place with the program, at 256 bits.
fn place() -> Place {
    let place = Place::new();
    place.write("outside.dasm", OUTSIDE.replace(".module outside", ".module outside\n.arch 256"));
    place
}

/// What every call takes to be granted all.
const ALL: [&str; 2] = ["--cap", "all"];

fn run<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["run", "outside.dasm", "-q"], args, &ALL].concat()
}

#[test]
fn what_is_not_granted_is_named_before_anything_runs() {
    let place = place();
    let refused = ["run", "outside.dasm"];
    place.fails(3, &refused, &["the module \"outside\"", "`clock`", "--cap clock grants it"]);
    let more = ["run", "outside.dasm", "--cap", "clock"];
    place.fails(3, &more, &["`entropy`", "--cap entropy grants it"]);
    place.ok(&["run", "outside.dasm", "--cap", "clock", "--cap", "entropy"]);
    place.ok(&["run", "outside.dasm", "--cap", "all"]);
    let denied = ["run", "outside.dasm", "--cap", "all", "--deny", "args"];
    place.fails(3, &denied, &["`args`", "not granted"]);
    // The order of the options has no meaning.
    let none = ["run", "bank.dasm", "--cap", "tx", "--cap", "none", "--cap", "db.read"];
    place.fails(3, &none, &["`db.write`"]);
    place.ok(&["run", "bank.dasm", "--cap", "tx", "--cap", "none", "--cap", "db.read", "--cap", "db.write"]);
    assert_eq!(place.run(&["run", "bank.dasm", "--cap", "everything"]).code, 2);
}

#[test]
fn standard_input_goes_through() {
    let place = place();
    place.write("input", "from a file\n");
    assert_eq!(place.ok(&run(&["--stdin", "input"])), "from a file\n");
    let mut child = place.command(&run(&[])).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"piped\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"piped\n"[..]));
    place.fails(3, &run(&["--stdin", "nowhere"]), &["there is no file nowhere"]);
    // The program itself came in there.
    place.fails(2, &["run", "-", "--stdin", "-", "--cap", "all"], &["standard input"]);
}

#[test]
fn arguments_come_behind_the_dashes() {
    let place = place();
    let argument = |i: &str| {
        place.ok(&[&run(&["--fn", "echo", "--arg", i, "--argv", "zero"])[..], &["--", "-x", "two"]].concat())
    };
    assert_eq!(argument("0"), "zero\n");
    assert_eq!(argument("1"), "-x\n");
    assert_eq!(argument("2"), "two\n");
    assert_eq!(argument("3"), "null\n");
}

#[test]
fn what_is_written_stays_when_the_program_traps_and_is_kept_apart_in_json() {
    let place = place();
    let failed = place.run(&run(&["--fn", "complain_and_trap"]));
    assert_eq!((failed.code, &*failed.stdout), (1, ""));
    assert!(failed.stderr.starts_with("oh no\nerror"), "{}", failed.stderr);
    let report = place.json(1, &run(&["--fn", "complain_and_trap", "--json"]));
    assert_eq!(report["stderr"], json!({"hex": "0x6f68206e6f0a", "text": null}));
    assert_eq!(report["stdout"], json!(null));
    place.write("input", "x");
    let report = place.json(0, &run(&["--stdin", "input", "--json"]));
    assert_eq!(report["stdout"], json!({"hex": "0x78", "text": "x"}));
}

#[test]
fn files_are_carried_in_and_out_and_stay_in_the_store() {
    let place = place();
    let text = "0123456789".repeat(1000);
    place.write("host.txt", &text);
    place.ok(&run(&[
        "--fn",
        "double",
        "--file",
        "in=host.txt",
        "--file-out",
        "out=twice.txt",
        "--db",
        "s.db",
    ]));
    assert_eq!(place.read("twice.txt"), text.repeat(2).into_bytes());
    // The state is kept under the module's name, so both files are still there.
    place.ok(&run(&["--fn", "double", "--db", "s.db", "--file-out", "in=again.txt"]));
    assert_eq!(place.read("again.txt"), text.into_bytes());
    place.fails(5, &run(&["--file-out", "nothing=x", "--db", "s.db"]), &["has no file \"nothing\""]);
    assert_eq!(place.run(&run(&["--file", "in"])).code, 2);
    place.fails(3, &run(&["--file", "in=nowhere"]), &["there is no file nowhere"]);
    place.fails(2, &["run", "bank.dasm", "--file", "in=host.txt"], &["calls for no files"]);
    place.fails(2, &run(&["--file", &format!("{}=host.txt", "x".repeat(256))]), &["255 bytes"]);
}

#[test]
fn clocks_and_random_bytes_are_the_machines() {
    let place = place();
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let answer = place.ok(&run(&["--fn", "time"]));
    let words: Vec<u64> = answer.lines().map(|line| line.parse().unwrap()).collect();
    let after = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((before..=after).contains(&words[0]), "{before} {answer} {after}");
    assert_eq!(words[1..], [1, 1]);
}
