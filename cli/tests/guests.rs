//! Programs of other machines on the command line.

mod common;

use std::path::Path;

use common::Place;
use serde_json::json;

/// `sum.q a, b; sub.b b, #1; swi #0x86; swi #0x8a`, with B = 10 and D at the sum: 55.
const LOOP: &[u8] = &[
    0x2d, 0x00, 0x0a, 0x0c, 0x30, 0xed, 0x00, 0x11, 0, 0, 0, 0, 0, 0, 0, 0xcc, 0x70, 0xc0, 0x03, 0x21, 0x30,
    0x01, 0x2e, 0x00, 0x86, 0x2e, 0x00, 0x8a,
];

/// `push.d #0x01020304; sum.b a, #3; swi #0x80`.
const EXIT_3: &[u8] = &[0xad, 0x00, 0x04, 0x03, 0x02, 0x01, 0x20, 0x00, 0x03, 0x2e, 0x00, 0x80];

fn place() -> Place {
    let place = Place::new();
    place.write("loop.pvm", LOOP);
    place.write("exit.pvm", EXIT_3);
    place
}

#[test]
fn a_program_is_recognised_and_run() {
    let place = place();
    assert_eq!(place.ok(&["run", "loop.pvm"]), "55");
    place.write("loop.bin", LOOP);
    assert_eq!(place.ok(&["run", "loop.bin", "--from", "pvm"]), "55");
    let run = place.run(&["run", "exit.pvm"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.starts_with("pvm: exit 3\n"), "{}", run.stderr);
}

#[test]
fn json_has_what_samples_compare() {
    let place = place();
    let report = place.json(1, &["run", "exit.pvm", "--json"]);
    assert_eq!((&report["status"], &report["exit_code"]), (&json!("exit"), &json!(3)));
    assert_eq!(report["registers"]["sp"], json!("0xff7fc"));
    assert_eq!(report["memory"], json!({"0xff7fc": "04030201"}));
    assert_eq!(report["instructions"], json!(3));
    let report = place.json(0, &["run", "loop.pvm", "--json"]);
    assert_eq!((&report["status"], &report["stdout"]), (&json!("end"), &json!("55")));
    let report = place.json(1, &["run", "loop.pvm", "--json", "--budget", "7"]);
    assert_eq!((&report["status"], &report["registers"]["pc"]), (&json!("limit"), &json!("0x11")));
    let report = place.json(1, &["run", "loop.pvm", "--json", "--no-services"]);
    assert_eq!((&report["status"], &report["vector"]), (&json!("interrupt"), &json!(0x86)));
}

#[test]
fn a_program_becomes_a_module() {
    let place = place();
    let report = place.json(0, &["transpile", "loop.pvm", "--json"]);
    assert_eq!((&report["machine"], &report["source_bytes"]), (&json!("pvm"), &json!(LOOP.len())));
    assert!(place.ok(&["verify", "loop.dotvm"]).contains("run"));
    // It writes 55; then status 0 and vector 0; A is 55 and B is 0; the program's budget is the guest meter.
    let words = place.ok(&["run", "loop.dotvm", "--guest-gas", "1000", "-q"]);
    assert_eq!(words.lines().take(4).collect::<Vec<_>>(), ["550", "0", "55", "0"]);
    place.ok(&["transpile", "loop.pvm", "--emit", "dasm", "-o", "loop.dasm"]);
    place.ok(&["asm", "loop.dasm", "-o", "again.dotvm"]);
    assert_eq!(place.read("again.dotvm"), place.read("loop.dotvm"));
}

#[test]
fn a_translation_is_explained() {
    let place = place();
    let text = place.ok(&["transpile", "loop.pvm", "--explain"]);
    assert!(text.contains("1 of 1 jumps and calls have a target that is known"), "{text}");
    assert!(text.contains("00011..00019  direct   3 instructions, D is 0x11, branch to 0x11"), "{text}");
    assert!(text.contains("00019..0001c  general  swi.b #0x8a: service 8A asks the host"), "{text}");
    let report = place.json(0, &["transpile", "loop.pvm", "--explain", "--json"]);
    assert_eq!(report["spans"][1]["scheme"], json!("direct"));
}

#[test]
fn a_word_is_explained() {
    let place = place();
    let text = place.ok(&["decode", "0x7a9c"]);
    assert!(text.starts_with("0x7a9c  pop.d [d]\n"), "{text}");
    let report = place.json(0, &["decode", "0x30c1", "--json"]);
    assert_eq!((&report["operation"], &report["destination"]), (&json!(1), &json!(3)));
    assert!(place.ok(&["decode", "0", "--from", "pvm"]).contains("exception 1"));
    place.fails(2, &["decode", "0x10000"], &["no instruction word"]);
}

#[test]
fn samples_are_run_and_counted() {
    let place = place();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/pvm");
    let text = place.ok(&["conformance", &samples.display().to_string()]);
    assert!(text.contains("ok    pvm/factorial\n") && text.ends_with("17 of 17 passed\n"), "{text}");
    let cases = json!({"vm": "pvm", "cases": [
        {"name": "right", "hex": "200005", "expect": {"status": "end", "registers": {"a": "0x5"}}},
        {"name": "wrong", "hex": "200005", "expect": {"status": "end", "registers": {"a": "0x6"}}},
    ]});
    place.write("expected.json", cases.to_string());
    let run = place.run(&["conformance", ".", "--vm", "pvm"]);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.stdout,
        "ok    pvm/right\nFAIL  pvm/wrong: registers.a is \"0x5\", expected \"0x6\"\n1 of 2 passed\n"
    );
    let report = place.json(1, &["conformance", ".", "--json"]);
    assert_eq!((&report["passed"], &report["failed"]), (&json!(1), &json!(1)));
    assert_eq!(place.ok(&["conformance", ".", "--only", "right"]), "ok    pvm/right\n1 of 1 passed\n");
    place.fails(3, &["conformance", ".", "--only", "middle"], &["no case in .", "\"middle\" in its name"]);
    place.fails(3, &["conformance", ".", "--vm", "nock"], &["holds no cases of nock"]);
    place.fails(3, &["conformance", ".", "--vm", "rvm"], &["holds no cases of rvm"]);
}

#[test]
fn what_is_wrong_is_said() {
    let place = place();
    place.write("large.pvm", vec![0xFF; 0xE_F801]);
    place.fails(3, &["run", "large.pvm"], &["large.pvm is refused", "at most 980992 bytes"]);
    place.fails(2, &["transpile", "bank.dasm"], &["nothing tells what machine"]);
    place.fails(2, &["run", "loop.pvm", "--fn", "main"], &["no functions"]);
    place.fails(3, &["run", "none.pvm"], &["there is no file"]);
    place.fails(3, &["conformance", "nowhere"], &["there is no file nowhere"]);
    place.write("expected.json", "{");
    place.fails(3, &["conformance", "."], &["it is no JSON"]);
    place.write("vectors.json", r#"{"nock": [{"subject": "1", "formula": "[0 1]", "product": "1"}]}"#);
    place.fails(3, &["conformance", "."], &["it is no JSON"]);
    place.ok(&["conformance", ".", "--vm", "nock"]);
}

/// Copies argument 0 to the output, writes it into a file, exits with the number of arguments.
const ECHO: &str = "
    .NVM0
    store 0             ; how many
    push 0
    push '/'
    push 'o'
    syscall create
    store 1
    next:
    dup
    jz done
    store 2
    load 2
    syscall print
    load 1
    load 2
    syscall write
    pop
    jmp next
    done:
    load 0
    syscall exit
";

#[test]
fn a_program_of_nvm_has_arguments_files_and_capabilities() {
    let place = place();
    place.write("echo.asm", ECHO);
    let all = ["run", "echo.asm", "--cap", "ALL", "--db", "s.db", "--json", "--", "hi", "x"];
    let report = place.json(1, &all);
    assert_eq!((&report["status"], &report["exit_code"]), (&json!("exit"), &json!(2)));
    assert_eq!((&report["stdout"], &report["files"]), (&json!("hi"), &json!({"/o": "hi"})));
    assert_eq!(report["processes"], json!([{"pid": 0, "exit_code": 2}]));
    // The file is kept, and can be carried out.
    place.run(&["run", "echo.asm", "--db", "s.db", "--file-out", "/o=out.txt", "--", "ho"]);
    assert_eq!(place.read("out.txt"), b"hi");
    // Without capabilities nothing is made; each denial is in the audit log.
    let report = place.json(1, &["run", "echo.asm", "--json", "--audit", "audit.log", "--", "hi"]);
    assert_eq!((&report["denials"], &report["files"]), (&json!(3), &json!({})));
    let told = place.run(&["run", "echo.asm", "--", "hi"]).stderr;
    assert!(
        told.contains("denials 3: --cap grants what was asked for") && !told.contains("breaks"),
        "{told}"
    );
    let log = String::from_utf8(place.read("audit.log")).unwrap();
    let denied: Vec<&str> = log.lines().filter(|line| line.contains("\"right_denied\"")).collect();
    assert_eq!(denied.len(), 3, "{log}");
    assert!(denied[0].contains("\"subject\":0,\"right\":\"CAP_FS_CREATE\",\"action\":\"CREATE\""), "{log}");
    // Files and input come in.
    place.write(
        "cat.asm",
        "next:\npush 0\nsyscall read\ndup\njz end\nsyscall print\njmp next\nend:\npop\nhlt",
    );
    place.write("in.txt", "from a file");
    assert_eq!(place.ok(&["run", "cat.asm", "--cap", "FS_READ", "--stdin", "in.txt"]), "from a file");
    let refused = place.run(&["run", "cat.asm", "--cap", "FS_EAT"]);
    assert!(refused.code == 2 && refused.stderr.contains("'FS_EAT'"), "{}", refused.stderr);
    let report = place.json(1, &["run", "cat.asm", "--json", "--budget", "3"]);
    assert_eq!(report["status"], json!("limit"));
}

#[test]
fn mistakes_in_assembly_text_are_shown() {
    let place = place();
    place.write("wrong.asm", ".NVM0\nstart:\n  pusch 1\n  jmp strat\n  load 256\n");
    let refused = place.run(&["run", "wrong.asm"]);
    assert_eq!(refused.code, 3);
    for part in [
        "there is no instruction `pusch`",
        "wrong.asm:3:3",
        "did you mean `push`?",
        "the label `strat` is not defined",
        "did you mean `start`?",
        "wrong.asm:5:8",
        "load takes 0 to 255",
        "^^^^^",
    ] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    place.write("other.nvm", b"NVM1\0");
    place.fails(3, &["run", "other.nvm"], &["the version at byte 3 is 0x31"]);
    place.fails(3, &["run", "echo.asm"], &["there is no file"]);
    place.write("image.bin", b"NVM0\x02\0\0\0\x07\x50\0");
    let text = place.ok(&["transpile", "image.bin", "--explain"]);
    assert!(text.contains("00004..00004  direct   tree of 1 instruction, checks once: room for 1"), "{text}");
    assert!(text.contains("00009..0000b  general  syscall exit: a system call"), "{text}");
    place.fails(3, &["run", "image.bin", "--abi", "none"], &["stack, heap and auto"]);
}
