//! `dotvm nock`: formulas, nouns, and kernels that are kept.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::Place;
use dotvm_test_modes::pick;

/// A kernel whose state is the list of its events. `%crash` crashes, `%loop` never ends, for `%bad` the answer is no pair, for
/// `%large` the state becomes a list of 40,000 numbers. Peek answers `[0 0 state]`, load puts `%old` before the old state.
fn kernel(name: &str) -> String {
    let gate = |body: &str| format!("[8 [1 0] [1 {body}] 0 1]");
    let list = "[8 [1 0 0] 8 [1 6 [5 [0 12] 1 40.000] [0 13] 9 2 10 [6 [4 0 12] [0 12] 0 13] 0 1] 9 2 0 1]";
    let poke = format!(
        "[6 [5 [0 6] 1 %crash] [0 0] 6 [5 [0 6] 1 %loop] [8 [1 9 2 0 1] 9 2 0 1] 6 [5 [0 6] 1 %bad] [1 5] \
         [[[1 {name}] 0 6] [1 0]] 10 [6 6 [5 [0 6] 1 %large] {list} [0 6] 0 30] 0 7]"
    );
    let load = gate("[10 [6 [1 %old] 0 6] 0 7]");
    let peek = gate("[[1 0] [1 0] 0 30]");
    format!("[[{load} 0 {peek} {}] 0 %context]", gate(&poke))
}

/// A place with a kernel booted in `state.db`.
fn booted() -> Place {
    let place = Place::new();
    place.write("log.noun", kernel("%done"));
    place.ok(&["nock", "boot", "log", "log.noun", "--db", "state.db"]);
    place
}

fn state(place: &Place) -> String {
    place.ok(&["nock", "get", "log", "--db", "state.db"]).trim().to_owned()
}

#[test]
fn formulas_are_evaluated() {
    let place = Place::new();
    assert_eq!(place.ok(&["nock", "eval", "[40 41 42]", "[4 0 7]"]), "43\n");
    place.write("pair.noun", "[[40 41 42] 4 0 7]");
    place.ok(&["nock", "jam", "@pair.noun", "--out", "pair.jam"]);
    assert_eq!(place.ok(&["nock", "run", "pair.jam"]), "43\n");
    assert_eq!(place.ok(&["run", "pair.jam"]), "43\n");
    let answer = place.json(0, &["nock", "run", "pair.jam", "--json"]);
    assert_eq!((answer["status"].as_str(), answer["product"].as_str()), (Some("ok"), Some("43")));
    assert!(answer["gas_used"].as_u64() > Some(0));
    place.ok(&["nock", "run", "pair.jam", "--out", "product.jam"]);
    assert_eq!(place.ok(&["nock", "cue", "@product.jam"]), "43\n");
}

#[test]
fn nouns_are_read_written_and_hashed() {
    let place = Place::new();
    // Jam and mug as Vere has them.
    assert_eq!(place.ok(&["nock", "jam", "[1 2 3]"]), "714834\n");
    assert_eq!(place.ok(&["nock", "cue", "714834"]), "[1 2 3]\n");
    assert_eq!(place.ok(&["nock", "cue", "0x71 48 34"]), "[1 2 3]\n");
    assert_eq!(place.ok(&["nock", "mug", "[1 2 3]"]), "0x3a811aec\n");
    assert_eq!(place.ok(&["nock", "mug", "'hello'"]), "0x615a67a2\n");
    assert_eq!(place.ok(&["nock", "pretty", "[1.819.043.176 [478560413032 1]]"]), "['hell' 'hello' 1]\n");
    let long = place.ok(&["nock", "pretty", &format!("[{}]", "123.456.789.012 ".repeat(40))]);
    assert!(long.lines().count() > 1, "{long}");
    let answer = place.json(0, &["nock", "jam", "[1 2 3]", "--json"]);
    assert_eq!(answer["jam"], "714834");
}

#[test]
fn bad_nouns_and_jams_are_refused_with_the_place() {
    let place = Place::new();
    let run = place.run(&["nock", "eval", "[1\n 2]]", "[0 1]"]);
    assert_eq!(run.code, 3);
    assert_eq!(run.stderr, "error: line 2, column 4: there is more behind the noun\n   2]]\n     ^\n");
    let answer = place.json(3, &["nock", "mug", "[1 (2)]", "--json"]);
    let diagnostic = &answer["diagnostics"][0];
    assert_eq!((diagnostic["line"].as_u64(), diagnostic["column"].as_u64()), (Some(1), Some(4)));
    place.fails(3, &["nock", "cue", "01"], &["no jam"]);
    place.fails(2, &["nock", "cue", "0"], &["hexadecimal"]);
    place.fails(3, &["nock", "run", "none.jam"], &["there is no file none.jam"]);
    place.write("atom.jam", [2]);
    place.fails(3, &["nock", "run", "atom.jam"], &["an atom"]);
    place.write("cut.jam", [0x55; 100]);
    place.fails(3, &["run", "cut.jam"], &["no jam"]);
    place.write("bad.noun", [b'[', 0xFF]);
    place.fails(3, &["nock", "mug", "@bad.noun"], &["UTF-8"]);
}

#[test]
fn crashes_and_limits_have_exit_codes_of_their_own() {
    let place = Place::new();
    place.fails(1, &["nock", "eval", "5", "[0 2]"], &["crashes"]);
    let answer = place.json(1, &["nock", "eval", "5", "[0 2]", "--json"]);
    assert_eq!((&answer["deterministic"], &answer["limit"]), (&true.into(), &serde_json::Value::Null));
    let endless = "[8 [1 9 2 0 1] 9 2 0 1]";
    let deep = "[8 [1 4 9 2 0 1] 9 2 0 1]";
    let large = "[8 [1 9 2 [0 2] [0 3] 0 3] 9 2 0 1]";
    for (formula, flag, value, limit) in [
        (endless, "--max-computation", "100000", "max_computation"),
        (deep, "--max-stack-depth", "1000", "max_stack_depth"),
        (large, "--memory", "1", "max_memory"),
    ] {
        place.fails(8, &["nock", "eval", "0", formula, flag, value], &[limit]);
        let answer = place.json(8, &["nock", "eval", "0", formula, flag, value, "--json"]);
        assert_eq!((&answer["deterministic"], &answer["limit"]), (&false.into(), &limit.into()), "{answer}");
    }
}

#[test]
fn the_samples_of_nock_pass() {
    let place = Place::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/nock");
    let told = place.ok(&["conformance", folder, "--vm", "nock", "--only", "formula"]);
    let last = told.lines().last().unwrap();
    assert!(last.ends_with(" passed") && told.lines().count() > 200, "{last}");
    let wrong = r#"{"nock": [{"id": "n", "subject": "1", "formula": "[0 1]", "product": "2"}]}"#;
    std::fs::create_dir_all(place.path("wrong")).unwrap();
    place.write("wrong/vectors.json", wrong);
    let answer = place.json(1, &["conformance", "wrong", "--vm", "nock", "--json"]);
    assert_eq!((answer["passed"].as_u64(), answer["failed"].as_u64()), (Some(0), Some(1)));
    assert!(answer["cases"][0]["differences"][0].as_str().unwrap().contains("the product is 1, not 2"));
    std::fs::create_dir_all(place.path("empty")).unwrap();
    place.fails(3, &["conformance", "empty", "--vm", "nock"], &["no cases of nock"]);
}

#[test]
fn a_kernel_is_kept_between_events() {
    let place = booted();
    assert_eq!(state(&place), "0");
    assert_eq!(place.ok(&["nock", "poke", "log", "7", "--db", "state.db"]), "[['done' 7] 0]\n");
    let answer = place.json(0, &["nock", "poke", "log", "[8 9]", "--db", "state.db", "--json"]);
    assert_eq!(
        (answer["effects"].as_str(), answer["events"].as_u64()),
        (Some("[[1701736292 8 9] 0]"), Some(2))
    );
    assert_eq!(state(&place), "[[8 9] 7 0]");
    assert_eq!(place.ok(&["nock", "peek", "log", "[%x 0]", "--db", "state.db"]), "[0 0 [8 9] 7 0]\n");
    let axis = |axis: &str| place.ok(&["nock", "get", "log", "--axis", axis, "--db", "state.db"]);
    assert_eq!((&axis("12")[..], &axis("26")[..], &axis("24")[..]), ("[8 9]\n", "7\n", "8\n"));
    assert_eq!(axis("7"), "32783474438860643\n");
    place.fails(2, &["nock", "get", "log", "--axis", "200", "--db", "state.db"], &["no part"]);
    place.fails(2, &["nock", "get", "log", "--axis", "0", "--db", "state.db"], &["no part"]);
    place.fails(2, &["nock", "get", "log", "--axis", "[1 2]", "--db", "state.db"], &["a number"]);
    let list = place.json(0, &["nock", "kernels", "--db", "state.db", "--json"]);
    assert_eq!(
        (list["kernels"][0]["name"].as_str(), list["kernels"][0]["events"].as_u64()),
        (Some("log"), Some(2))
    );
    // As it was.
    let version =
        place.json(0, &["db", "versions", "--db", "state.db", "--json"])["current"].as_u64().unwrap();
    let before = (version - 1).to_string();
    assert_eq!(place.ok(&["nock", "get", "log", "--at", &before, "--db", "state.db"]), "[7 0]\n");
    assert_eq!(place.ok(&["nock", "peek", "log", "0", "--at", &before, "--db", "state.db"]), "[0 0 7 0]\n");
    place.ok(&["nock", "forget", "log", "--db", "state.db"]);
    place.fails(4, &["nock", "peek", "log", "0", "--db", "state.db"], &["no kernel named \"log\""]);
    assert_eq!(place.ok(&["db", "collections", "log", "--db", "state.db"]).matches(" 0").count(), 2);
    place.ok(&["nock", "boot", "log", "log.noun", "--db", "state.db"]);
    assert_eq!(state(&place), "0");
}

#[test]
fn what_fails_changes_nothing() {
    let place = booted();
    place.ok(&["nock", "poke", "log", "1", "--db", "state.db"]);
    let before = place.ok(&["db", "root", "--db", "state.db"]);
    place.fails(1, &["nock", "poke", "log", "%crash", "--db", "state.db"], &["crashes"]);
    place.fails(
        1,
        &["nock", "poke", "log", "%bad", "--db", "state.db"],
        &["not a pair of effects and a kernel"],
    );
    let limited = ["nock", "poke", "log", "%loop", "--db", "state.db", "--max-computation", "1000000"];
    place.fails(8, &limited, &["max_computation"]);
    let answer = place.json(8, &[&limited[..], &["--json"]].concat());
    assert_eq!((&answer["deterministic"], &answer["limit"]), (&false.into(), &"max_computation".into()));
    place.fails(4, &["nock", "boot", "log", "log.noun", "--db", "state.db"], &["already", "--upgrade"]);
    place.fails(4, &["nock", "poke", "lok", "1", "--db", "state.db"], &["did you mean \"log\"?"]);
    place.fails(2, &["nock", "poke", "log", "1"], &["--db"]);
    place.write("no.noun", "[1 2 3]");
    place.fails(3, &["nock", "boot", "no", "no.noun", "--db", "state.db"], &["no kernel", "4, 22 and 23"]);
    place.fails(4, &["nock", "poke", "log", "1", "--db", "none.db"], &["none.db"]);
    assert_eq!(place.ok(&["db", "root", "--db", "state.db"]), before);
    place.ok(&["deploy", "bank.dasm", "--db", "state.db"]);
    place.fails(4, &["nock", "boot", "bank", "log.noun", "--db", "state.db"], &["no kernel"]);
}

#[test]
fn kernels_come_from_jams_and_traps_and_are_upgraded() {
    let place = Place::new();
    place.write("log.noun", kernel("%done"));
    place.write("new.noun", kernel("%new"));
    place.write("trap.noun", format!("[[1 {}] 0 0]", kernel("%trap")));
    place.ok(&["nock", "jam", "@log.noun", "--out", "log.jam"]);
    place.ok(&["nock", "jam", "@trap.noun", "--out", "trap.jam"]);
    // Without a store nothing is kept but what is written.
    assert_eq!(place.ok(&["nock", "poke", "log.jam", "1", "--kernel-out", "log1.jam"]), "[['done' 1] 0]\n");
    assert_eq!(place.ok(&["nock", "poke", "log1.jam", "2", "--kernel-out", "log2.jam"]), "[['done' 2] 0]\n");
    place.ok(&["nock", "boot", "two", "log2.jam", "--db", "state.db"]);
    assert_eq!(place.ok(&["nock", "get", "two", "--db", "state.db"]), "[2 1 0]\n");
    assert_eq!(place.ok(&["nock", "poke", "trap.jam", "1", "--trap"]), "[['trap' 1] 0]\n");
    place.fails(3, &["nock", "poke", "trap.jam", "1"], &["--trap"]);
    // Installed by its first event, in the same transaction.
    place.fails(1, &["nock", "poke", "log.jam", "%crash", "--db", "state.db"], &["crashes"]);
    place.fails(4, &["nock", "get", "log", "--db", "state.db"], &["no kernel"]);
    place.ok(&["nock", "poke", "log.jam", "5", "--db", "state.db"]);
    place.ok(&["nock", "poke", "log.jam", "6", "--db", "state.db"]);
    assert_eq!(state(&place), "[6 5 0]");
    place.ok(&["nock", "jam", "@new.noun", "--out", "log.jam"]);
    place.fails(4, &["nock", "poke", "log.jam", "7", "--db", "state.db"], &["already"]);
    // The state goes through the new one's load.
    place.ok(&["nock", "boot", "log", "new.noun", "--upgrade", "--db", "state.db"]);
    assert_eq!(state(&place), "[6581359 6 5 0]");
    assert_eq!(place.ok(&["nock", "poke", "log", "7", "--db", "state.db"]), "[['new' 7] 0]\n");
    place.fails(4, &["nock", "boot", "none", "new.noun", "--upgrade", "--db", "state.db"], &["no kernel"]);
}

#[test]
fn the_state_of_a_kernel_is_proven() {
    let place = booted();
    // Several pieces.
    place.ok(&["nock", "poke", "log", "%large", "--db", "state.db"]);
    place.ok(&["nock", "poke", "log", "3", "--db", "state.db"]);
    let root = place.ok(&["db", "root", "--db", "state.db"]);
    let root = root.trim();
    place.ok(&["db", "prove", "log/kernel", "head", "--output", "head.json", "--db", "state.db"]);
    let told = place.json(0, &["db", "verify-proof", "head.json", "--root", root, "--json"]);
    // The head that is proven has the hash of the state's jam.
    place.ok(&["nock", "get", "log", "--out", "state.jam", "--db", "state.db"]);
    let jam = place.read("state.jam");
    let text = told["value"]["text"].as_str().map(str::to_owned);
    let hex = told["value"]["hex"].as_str().unwrap().to_owned();
    let hash = blake3::hash(&jam).to_hex().to_string();
    let as_hex: String = hash.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(text.is_some_and(|text| text.contains(&hash)) || hex.contains(&as_hex), "{told}");
    assert!(jam.len() > 65_536, "{} bytes", jam.len());
    // And so are pieces.
    place.ok(&["db", "prove", "log/nouns", "state-00000001", "--output", "piece", "--db", "state.db"]);
    let told = place.json(0, &["db", "verify-proof", "piece", "--root", root, "--json"]);
    let piece: String = jam[65_536..].iter().take(65_536).map(|byte| format!("{byte:02x}")).collect();
    assert!(told["value"]["hex"].as_str() == Some(&format!("0x{piece}")), "another piece");
    // A state that gets smaller loses its pieces.
    place.ok(&["nock", "boot", "log", "log.noun", "--upgrade", "--db", "state.db"]);
    place.ok(&["db", "verify-proof", "head.json", "--root", root]);
    let later = place.ok(&["db", "root", "--db", "state.db"]);
    place.fails(1, &["db", "verify-proof", "head.json", "--root", later.trim()], &["proves nothing"]);
}

#[test]
fn events_are_taken_whole_or_not_at_all_when_killed() {
    let place = booted();
    let mut acknowledged = 0u64;
    let rounds = pick(15, 300);
    let started = std::time::Instant::now();
    place.ok(&["nock", "poke", "log", "0", "--db", "state.db"]);
    let usual = started.elapsed();
    for event in 1..=rounds {
        let mut child = place
            .command(&["nock", "poke", "log", &event.to_string(), "--db", "state.db"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(usual.mul_f64((event % 7) as f64 / 6.0).max(Duration::from_millis(1)));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        if !output.stdout.is_empty() {
            acknowledged += 1;
        }
    }
    let list = place.json(0, &["nock", "kernels", "--db", "state.db", "--json"]);
    let events = list["kernels"][0]["events"].as_u64().unwrap();
    assert!(events > acknowledged, "{events} events, {acknowledged} acknowledged");
    let state = state(&place);
    let taken: Vec<u64> =
        state.trim_matches(['[', ']']).split(' ').map(|event| event.parse().unwrap()).collect();
    // The last 0 ends the list.
    assert_eq!(taken.len() as u64, events + 1);
    assert!(taken[..events as usize].windows(2).all(|pair| pair[0] > pair[1]), "{state}");
}

#[test]
fn limits_and_options_of_run_are_taken_or_refused() {
    let place = Place::new();
    let run = |formula: &str, options: &[&str]| {
        place.ok(&["nock", "jam", &format!("[0 {formula}]"), "--out", "it.jam"]);
        place.run(&[&["run", "it.jam"][..], options].concat())
    };
    let told = |formula: &str, options: &[&str], limit: &str| {
        let run = run(formula, options);
        assert_eq!(run.code, 8, "{}", run.stderr);
        assert!(run.stderr.contains(limit), "{}", run.stderr);
    };
    told("[8 [1 9 2 0 1] 9 2 0 1]", &["--gas", "100000"], "max_computation");
    told("[8 [1 4 9 2 0 1] 9 2 0 1]", &["--depth", "1000"], "max_stack_depth");
    told("[8 [1 9 2 [0 2] [0 3] 0 3] 9 2 0 1]", &["--heap", "1000000"], "max_memory");
    for options in [
        &["--memory", "3"][..],
        &["--guest-gas", "3"],
        &["--tasks", "2"],
        &["--contract-depth", "2"],
        &["--cap", "clock"],
        &["--caller", "3"],
        &["--seed", &"00".repeat(32)],
        &["--argv", "a"],
        &["--record", "it.record"],
        &["--fn", "main"],
        &["--arg", "1"],
        &["--arch", "64"],
        &["--from", "nvm"],
        &["--db", "state.db"],
        &["--name", "it"],
        &["--checkpoint-every", "5", "--db", "mem:"],
    ] {
        let run = run("[0 1]", options);
        assert_eq!((run.code, &run.stdout[..]), (2, ""), "{options:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{options:?}: {}", run.stderr);
    }
    assert_eq!(run("[1 7]", &["--gas", "1000", "--heap", "100000", "--depth", "10"]).stdout, "7\n");
}
