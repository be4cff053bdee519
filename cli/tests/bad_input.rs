//! Bad input of every kind: one sentence, the right exit code, no panic, the store unchanged.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Place, contents};
use dotdb::Store;
use dotdb::store::Durability;
use dotdb_redb::RedbStore;
use dotdb_store::Batch;

/// Usage.
const USAGE: i32 = 2;
/// Input file.
const INPUT: i32 = 3;
/// Database.
const DATABASE: i32 = 4;

const COMMANDS_ON_A_FILE: [&[&str]; 4] =
    [&["disasm", "FILE"], &["verify", "FILE"], &["run", "FILE"], &["deploy", "FILE", "--db", "state.db"]];

fn on<'a>(command: &[&'a str], file: &'a str) -> Vec<&'a str> {
    command.iter().map(|&arg| if arg == "FILE" { file } else { arg }).collect()
}

/// A deployed contract with some state, and its assembled module.
fn place() -> Place {
    let place = Place::deployed();
    place.ok(&["call", "bank", "add", "42", "--db", "state.db"]);
    place.ok(&["asm", "bank.dasm"]);
    place
}

#[test]
fn files_that_are_not_there_or_no_files() {
    let place = place();
    std::fs::create_dir(place.path("folder.dotvm")).unwrap();
    std::fs::create_dir(place.path("folder.dasm")).unwrap();
    let before = place.contents("state.db");
    for command in COMMANDS_ON_A_FILE.into_iter().chain([&["asm", "FILE"][..]]) {
        place.fails(INPUT, &on(command, "missing.dasm"), &["there is no file missing.dasm"]);
        place.fails(INPUT, &on(command, "missing/bank.dotvm"), &["missing/bank.dotvm"]);
        place.fails(INPUT, &on(command, "folder.dotvm"), &["folder.dotvm is a directory"]);
        place.fails(INPUT, &on(command, "folder.dasm"), &["folder.dasm is a directory"]);
    }
    assert_eq!(place.contents("state.db"), before);
}

#[test]
fn truncated_modules() {
    let place = place();
    let module = place.read("bank.dotvm");
    let before = place.contents("state.db");
    let lengths = (0..80).chain((80..module.len()).step_by(97)).chain([module.len() - 1]);
    for len in lengths {
        place.write("cut.dotvm", &module[..len]);
        let words = if len == 0 { "not a DotVM module" } else { "cut short" };
        place.fails(INPUT, &["verify", "cut.dotvm"], &["cut.dotvm is refused", words]);
    }
    for command in COMMANDS_ON_A_FILE {
        place.fails(INPUT, &on(command, "cut.dotvm"), &["cut.dotvm is refused"]);
    }
    assert_eq!(place.contents("state.db"), before);
}

#[test]
fn bit_flipped_modules() {
    let place = place();
    let module = place.read("bank.dotvm");
    let before = place.contents("state.db");
    for index in (0..64).chain((64..module.len()).step_by(23)) {
        let mut flipped = module.clone();
        flipped[index] ^= 1 << (index % 8);
        place.write("flipped.dotvm", &flipped);
        place.fails(INPUT, &["run", "flipped.dotvm"], &["flipped.dotvm is refused"]);
    }
    for command in COMMANDS_ON_A_FILE {
        place.fails(INPUT, &on(command, "flipped.dotvm"), &["the checksum does not match"]);
    }
    assert_eq!(place.contents("state.db"), before);
}

#[test]
fn wrong_magic_version_and_width() {
    let place = place();
    let module = place.read("bank.dotvm");
    // docs/module-format.md: magic at 0, version at 4, width at 8.
    let patched = |at: usize, bytes: &[u8]| {
        let mut patched = module.clone();
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        dotvm_core::container::seal(&mut patched);
        place.write("patched.dotvm", patched);
    };
    patched(0, b"WASM");
    place.fails(INPUT, &["run", "patched.dotvm"], &["not a DotVM module"]);
    patched(4, &[9, 0]);
    place.fails(INPUT, &["run", "patched.dotvm"], &["format version 9.", "newer"]);
    patched(8, &[48, 0]);
    place.fails(INPUT, &["run", "patched.dotvm"], &["48 bits"]);
    place.fails(USAGE, &["run", "bank.dotvm", "--arch", "256"], &["words of 64 bits, not 256"]);
    place.write("narrow.dasm", ".arch 32\n.func pub f\n RET\n.end\n");
    assert_eq!(place.run(&["run", "narrow.dasm", "--fn", "f", "--arch", "64"]).code, INPUT);
}

#[test]
fn files_of_other_kinds() {
    let place = place();
    place.write("empty.dotvm", "");
    place.fails(INPUT, &["run", "empty.dotvm"], &["not a DotVM module", "empty"]);
    place.write("latin.dasm", b".func pub f\n; caf\xe9\nRET\n.end\n");
    place.fails(INPUT, &["asm", "latin.dasm"], &["not UTF-8 text from line 2"]);
    place.fails(INPUT, &["asm", "bank.dotvm"], &["a module already"]);
    place.write("noise", [0xde, 0xad, 0xbe, 0xef].repeat(100));
    place.fails(INPUT, &["run", "noise"], &["noise is refused"]);
}

#[test]
fn source_that_does_not_assemble() {
    let place = place();
    place.write("bad.dasm", ".func pub f [a] -> [r]\n  LGET b\n  FROB\n  RET\n.end\n");
    let before = place.contents("state.db");
    for command in [&["asm", "FILE"][..], &["verify", "FILE"], &["run", "FILE"]] {
        let run = place.run(&on(command, "bad.dasm"));
        assert_eq!((run.code, &*run.stdout), (INPUT, ""));
        // Both errors, each with its line.
        for words in ["bad.dasm:2:8", "LGET b", "bad.dasm:3:3", "FROB", "^"] {
            assert!(run.stderr.contains(words), "{words} is not in {}", run.stderr);
        }
    }
    assert!(!place.path("bad.dotvm").exists());
    let report = place.json(INPUT, &["asm", "bad.dasm", "--json"]);
    assert_eq!(report["status"], "error");
    assert_eq!(report["diagnostics"][1]["line"], 3);
    assert_eq!(place.contents("state.db"), before);
}

#[test]
fn source_that_the_verifier_refuses() {
    let place = place();
    for (body, words) in [("ADD RET", "ADD"), ("PUSH 1 RET", "RET"), ("again: PUSH 1 JMP again", "")] {
        place.write("bad.dasm", format!(".func pub f\n  {body}\n.end\n"));
        for command in [&["asm", "FILE"][..], &["verify", "FILE"], &["run", "FILE", "--fn", "f"]] {
            let run = place.run(&on(command, "bad.dasm"));
            assert_eq!((run.code, &*run.stdout), (INPUT, ""), "{body}");
            assert!(run.stderr.contains("bad.dasm:2:") && run.stderr.contains(words), "{}", run.stderr);
        }
        let report = place.json(INPUT, &["run", "bad.dasm", "--fn", "f", "--json"]);
        assert_eq!(report["diagnostics"][0]["line"], 2);
    }
    // A capability that is not listed.
    place.write("bad.dasm", ".collection c bytes\n.func pub f\n RCONST \"k\" DB_GET c POP RPOP RET\n.end\n");
    let run = place.run(&["verify", "bad.dasm"]);
    assert_eq!(run.code, INPUT);
    assert!(run.stderr.contains("db.read"), "{}", run.stderr);
}

#[test]
fn functions_and_arguments() {
    let place = place();
    let before = place.contents("state.db");
    let call = |args: &[&str], words: &[&str]| {
        place.fails(USAGE, &[&["call", "bank"], args, &["--db", "state.db"]].concat(), words);
    };
    call(&["ad", "1"], &["no function `ad`", "did you mean `add`?"]);
    call(&["withdraw"], &["no function `withdraw`", "which can be add, "]);
    call(&["add"], &["`add` takes 1 word (amount), but none was given"]);
    call(&["add", "1", "2"], &["but 2 were given"]);
    call(&["echo", "1", "2"], &["2 words (a, b) and then 1 reference (x)"]);
    call(&["hello", "1"], &["takes no arguments"]);
    call(&["add", "ten"], &["\"ten\"", "not a digit"]);
    call(&["add", ""], &["no digit"]);
    // 2^64, and below -2^63.
    call(&["add", "18446744073709551616"], &["does not fit", "64 bits"]);
    call(&["add", "-9223372036854775809"], &["does not fit", "64 bits"]);
    call(&["echo", "1", "2", "0x123"], &["3 hexadecimal digits"]);
    call(&["echo", "1", "2", "@missing"], &["the argument file missing cannot be read"]);
    call(&["hello", "--input", "null"], &["the input is bytes, not null"]);
    let run = |args: &[&str], words: &[&str]| {
        place.fails(USAGE, &[&["run", "bank.dasm"], args].concat(), words);
    };
    run(&["--fn", "add", "--arg", "0x100000000", "--arch", "32"], &["does not fit", "32 bits"]);
    run(&["--fn", "hallo"], &["did you mean `hello`?"]);
    run(&["--name", "No Name"], &["\"No Name\"", "a-z"]);
    place.write("plain.dasm", ".func pub f\n RET\n.end\n");
    place.fails(USAGE, &["run", "plain.dasm"], &["no entry", "which can be f"]);
    assert_eq!(place.contents("state.db"), before);
}

#[test]
fn options_that_clap_refuses() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["run"],
        &["run", "bank.dasm", "--gas", "-1"],
        &["run", "bank.dasm", "--gas", "9223372036854775808"],
        &["run", "bank.dasm", "--memory", "65537"],
        &["run", "bank.dasm", "--arch", "48"],
        &["run", "bank.dasm", "--seed", "0x12"],
        &["run", "bank.dasm", "--deny", "everything"],
        &["run", "bank.dasm", "--db", "fjall:state"],
        &["run", "bank.dasm", "--caller", "alice"],
        &["call", "bank", "hello"],
        &["db", "get", "/x", "1", "--db", "state.db"],
        &["completions", "tcsh"],
    ] {
        let run = place.run(args);
        assert_eq!((run.code, &*run.stdout), (USAGE, ""), "{args:?}");
        assert!(run.stderr.starts_with("error: "), "{args:?}: {}", run.stderr);
    }
    let report = place.json(USAGE, &["run", "bank.dasm", "--gas", "many", "--json"]);
    assert_eq!(report["status"], "error");
    assert!(report["error"].as_str().unwrap().contains("'many'"), "{report}");
    let report = place.json(USAGE, &["call", "bank", "add", "--json"]);
    assert_eq!(report["error"], "the following required arguments were not provided: --db <PATH>");
}

#[test]
fn stores_that_are_not_there() {
    let place = Place::new();
    let sentence = "there is no store at missing.db";
    place.fails(DATABASE, &["call", "bank", "add", "1", "--db", "missing.db"], &[sentence]);
    for command in [&["ls"][..], &["stats"], &["get", "bank", "1"], &["scan", "bank"]] {
        place.fails(DATABASE, &[&["db"], command, &["--db", "missing.db"]].concat(), &[sentence]);
    }
    assert!(!place.path("missing.db").exists());
    let report = place.json(DATABASE, &["call", "bank", "add", "1", "--db", "missing.db", "--json"]);
    assert_eq!((&report["status"], &report["gas_used"]), (&"error".into(), &serde_json::Value::Null));
    assert_eq!(report["error"], sentence);
    let nowhere = ["run", "bank.dasm", "--db", "no/such/folder/state.db"];
    place.fails(DATABASE, &nowhere, &["no/such/folder/state.db"]);
    place.fails(DATABASE, &["run", "bank.dasm", "--db", "."], &["is a directory"]);
    // A program that is refused makes no store.
    place.fails(USAGE, &["run", "bank.dasm", "--fn", "nothing", "--db", "new.db"], &["no function"]);
    place.write("bad.dotvm", "DOTV");
    place.fails(INPUT, &["deploy", "bad.dotvm", "--db", "new.db"], &["refused"]);
    assert!(!place.path("new.db").exists());
}

#[test]
fn contracts_collections_and_records_that_are_not_there() {
    let place = place();
    let before = place.contents("state.db");
    let fails = |args: &[&str], words: &[&str]| {
        place.fails(DATABASE, &[args, &["--db", "state.db"]].concat(), words);
    };
    fails(&["call", "bnak", "add", "1"], &["no contract named \"bnak\"", "did you mean \"bank\"?"]);
    fails(&["call", "exchange", "add", "1"], &["no contract named \"exchange\""]);
    fails(&["db", "get", "bnak", "1"], &["no contract named \"bnak\"", "did you mean \"bank\"?"]);
    fails(&["db", "get", "bank/note", "1"], &["no collection named \"note\" in bank", "\"notes\"?"]);
    fails(&["db", "scan", "bank/missing"], &["no collection named \"missing\""]);
    let usage = ["db", "get", "bank", "first", "--db", "state.db"];
    place.fails(USAGE, &usage, &["\"first\""]);
    // State without code is no contract to call.
    place.ok(&["run", "bank.dasm", "--name", "loose", "--fn", "add", "--arg", "1", "--db", "state.db"]);
    fails(&["call", "loose", "add", "1"], &["no contract named \"loose\""]);
    assert_ne!(place.contents("state.db"), before);
}

#[test]
fn a_store_in_use() {
    let place = place();
    let before = place.contents("state.db");
    let holder = RedbStore::open(place.path("state.db")).unwrap();
    for args in [
        &["call", "bank", "add", "1", "--db", "state.db"][..],
        &["run", "bank.dasm", "--db", "state.db"],
        &["deploy", "bank.dasm", "--db", "state.db"],
        &["db", "ls", "--db", "state.db"],
    ] {
        let args = [args, &["--wait", "0"]].concat();
        place.fails(DATABASE, &args, &["the store state.db is open in another process"]);
    }
    drop(holder);
    assert_eq!(place.contents("state.db"), before);
}

/// What a killed process had not committed is not there, and the store is usable at once.
#[cfg(unix)]
#[test]
fn killed_processes() {
    let place = place();
    let before = place.contents("state.db");
    for signal in ["-INT", "-TERM", "-KILL"] {
        if signal == "-INT" && interrupts_are_ignored() {
            continue;
        }
        let spin = ["call", "bank", "write_then_spin", "--gas", "9223372036854775807", "--db", "state.db"];
        let mut child = place.command(&spin).spawn().unwrap();
        // Once the store is locked, the call is on its way. It may have met our own look and given up.
        while place.run(&["db", "ls", "--db", "state.db"]).code == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            if child.try_wait().unwrap().is_some() {
                child = place.command(&spin).spawn().unwrap();
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(!child.wait().unwrap().success());
        assert_eq!(place.ok(&["db", "get", "bank", "0", "--db", "state.db"]), "42\n");
        assert_eq!(place.contents("state.db"), before, "{signal}");
    }
}

/// A job that a shell starts in the background passes on to its children that they ignore SIGINT, signal 2.
fn interrupts_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> 1 & 1 == 1)
}

#[test]
fn stores_that_are_damaged_or_something_else() {
    let place = place();
    let good = place.read("state.db");
    let commands: [&[&str]; 4] = [
        &["call", "bank", "add", "1", "--db", "bad.db"],
        &["run", "bank.dasm", "--db", "bad.db"],
        &["deploy", "bank.dasm", "--db", "bad.db"],
        &["db", "ls", "--db", "bad.db"],
    ];
    for (bytes, words) in [
        (&b""[..], "is not a DotDB store: it is empty"),
        (b"This is a text file.\n", "is not a DotDB store"),
        (&good[..good.len() / 3], ""),
        (&good[..600], ""),
    ] {
        for args in commands {
            place.write("bad.db", bytes);
            place.fails(DATABASE, args, &[words]);
            assert_eq!(place.read("bad.db"), bytes, "{args:?} has changed a file it cannot read");
        }
    }
    // Damage in the pages: whatever is found is told in one sentence, and most of it is.
    let mut found = 0;
    for at in (64..good.len()).step_by(good.len() / 60) {
        let mut bytes = good.clone();
        for byte in bytes.iter_mut().skip(at).take(512) {
            *byte ^= 0x5a;
        }
        place.write("bad.db", bytes);
        let run = place.run(&["call", "bank", "add", "0", "--db", "bad.db"]);
        match run.code {
            0 => assert_eq!(run.stdout, "42\n", "damage at {at}"),
            DATABASE => {
                assert!(
                    run.stderr.starts_with("error: ") && run.stderr.lines().count() == 1,
                    "{}",
                    run.stderr
                );
                found += 1;
            }
            code => panic!("damage at {at}: exit code {code}: {}", run.stderr),
        }
    }
    assert!(found > 0);
}

#[test]
fn stores_from_a_newer_version() {
    let place = place();
    std::fs::copy(place.path("state.db"), place.path("format.db")).unwrap();
    std::fs::copy(place.path("state.db"), place.path("schema.db")).unwrap();
    newer_format(&place.path("format.db"));
    newer_schema(&place.path("schema.db"));
    let schema_before = contents(&place.path("schema.db"));
    for store in ["format.db", "schema.db"] {
        for args in [
            &["call", "bank", "add", "1", "--db", store][..],
            &["run", "bank.dasm", "--db", store],
            &["deploy", "bank.dasm", "--upgrade", "--db", store],
            &["db", "stats", "--db", store],
        ] {
            place.fails(DATABASE, args, &["99", "use a newer version"]);
        }
    }
    assert_eq!(contents(&place.path("schema.db")), schema_before);
}

/// Raises the version of the file's own layout: table `dotdb.meta`, key `format`.
fn newer_format(path: &Path) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u32>::new("dotdb.meta");
    transaction.open_table(table).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
}

/// Raises the version of DotDB's keys: key 00 `schema`.
fn newer_schema(path: &Path) {
    let store = Arc::new(RedbStore::open(path).unwrap());
    let mut batch = Batch::new();
    batch.put(&b"\x00schema"[..], 99u32.to_be_bytes().to_vec());
    store.apply(&batch, Durability::Sync).unwrap();
}

#[test]
fn code_in_the_store_that_is_refused() {
    let place = place();
    // The module's bytes stand under tag 02 and their hash.
    let path = place.path("state.db");
    let (key, mut code) = contents(&path).into_iter().find(|(key, _)| key[0] == 2).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    let store = RedbStore::open(&path).unwrap();
    let mut batch = Batch::new();
    batch.put(key, code);
    store.apply(&batch, Durability::Sync).unwrap();
    drop(store);
    let words = ["the code kept for the contract \"bank\" is refused", "checksum"];
    place.fails(DATABASE, &["call", "bank", "add", "1", "--db", "state.db"], &words);
}

#[test]
fn collections_of_another_kind() {
    let place = place();
    let before = place.contents("state.db");
    place.write("other.dasm", ".module bank\n.collection notes doc\n.func pub f\n RET\n.end\n");
    place.ok(&["deploy", "other.dasm", "--upgrade", "--db", "state.db"]);
    let call = ["call", "bank", "f", "--db", "state.db"];
    place.fails(DATABASE, &call, &["\"notes\" keeps byte strings and was opened for documents"]);
    place.ok(&["deploy", "bank.dasm", "--upgrade", "--db", "state.db"]);
    let after = place.contents("state.db");
    assert!(before.iter().all(|pair| after.contains(pair)));
}
