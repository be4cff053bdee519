//! The samples of the source machines, through their frontends.

use std::path::{Path, PathBuf};

use dotvm_arch::{W512, Width};
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::Invocation;
use dotvm_frontend::{Frontend, Source};
use dotvm_nvm::Nvm;
use dotvm_tests::generate::env;
use dotvm_tests::mock_host::MockHost;
use dotvm_tests::nvm;
use dotvm_tests::pvm::asm::assemble;
use dotvm_tests::pvm::{Case, compare, hex};
use dotvm_transpiler::conformance::{Suite, suites};
use dotvm_transpiler::frontend::Translation;
use dotvm_transpiler::{Executor, Inputs, Ran};

/// Runs on the engine with a host in memory.
struct Engine;

impl Executor for Engine {
    fn execute(&mut self, translation: &Translation, inputs: &Inputs) -> Result<Ran, String> {
        let name = if inputs.inspect { translation.inspect } else { translation.run };
        let function = translation.module.export(name).ok_or("there is no such export")?;
        let program = dotvm_engine::compile(translation.module.clone()).map_err(|error| error.to_string())?;
        let limits =
            Limits { gas: Gas::MAX, guest_gas: inputs.budget.unwrap_or(u64::MAX), ..Limits::default() };
        let mut host = MockHost::new(env(0, Width::W64));
        host.env.input = inputs.stdin.clone().into();
        host.outside.input = inputs.stdin.clone().into();
        host.outside.arguments = inputs.args.iter().map(|argument| argument.clone().into()).collect();
        let state = &mut host.transaction.as_mut().expect("an open transaction").now.state;
        state.files = inputs.files.iter().map(|(path, bytes)| (path.clone().into(), bytes.clone())).collect();
        let words = inputs.words.iter().copied().map(W512::from).collect();
        let invocation = Invocation { function, words, refs: Vec::new() };
        let outcome = dotvm_engine::run(&program, &invocation, &limits, &mut host)?;
        let state = host.transaction.map(|transaction| transaction.now.state).unwrap_or_default();
        let events = state.events.iter().flat_map(|event| event.data.to_vec());
        let [stdout, stderr] = host.outside.written;
        let name = |path: Vec<u8>| String::from_utf8(path).expect("paths of samples are text");
        Ok(Ran {
            outcome,
            stdout: events.chain(stdout).collect(),
            stderr,
            files: state.files.into_iter().map(|(path, bytes)| (name(path), bytes)).collect(),
        })
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

#[test]
fn every_case_comes_out_as_expected() {
    let suites = suites(&folder(), None).unwrap_or_else(|error| panic!("{error}"));
    assert!(suites.len() >= 6, "samples and more cases of three machines");
    let mut failed = Vec::new();
    let mut passed = 0;
    for suite in &suites {
        for verdict in suite.run("", &mut Engine) {
            if verdict.passed() { passed += 1 } else { failed.push(verdict.to_string()) }
        }
    }
    assert!(failed.is_empty(), "{passed} passed\n{}", failed.join("\n"));
    assert_eq!(passed, suites.iter().map(Suite::len).sum::<usize>());
}

/// Each machine has its samples and at least 40 cases more, each with a name of its own.
#[test]
fn the_cases_are_there() {
    let names = |folder_name: &str| -> Vec<String> {
        let suites =
            suites(&folder().join(folder_name), Some("pvm")).unwrap_or_else(|error| panic!("{error}"));
        suites
            .iter()
            .flat_map(|suite| suite.run("", &mut Engine).map(|verdict| verdict.name).collect::<Vec<_>>())
            .collect()
    };
    let mut all = names("pvm");
    assert_eq!(all.len(), 17);
    all.extend(names("pvm-more"));
    assert!(all.len() >= 17 + 40 + 3);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two cases have one name");
}

#[test]
fn the_cases_of_nvm_are_there() {
    let count = |name: &str| {
        let suites = suites(&folder().join(name), Some("nvm")).unwrap_or_else(|error| panic!("{error}"));
        suites.iter().map(Suite::len).sum::<usize>()
    };
    assert_eq!(count("nvm"), 14);
    assert!(count("nvm-more") >= 100);
}

/// The oracle agrees, so that the samples check it too.
#[test]
fn the_oracle_runs_the_cases_alike() {
    for name in ["pvm", "pvm-more"] {
        let text =
            std::fs::read_to_string(folder().join(name).join("expected.json")).expect("a list of cases");
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for case in list["cases"].as_array().expect("cases") {
            let hex = case["hex"].as_str().expect("an image");
            let image = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("digits"))
                .collect();
            let case = Case {
                image,
                input: case["stdin"].as_str().unwrap_or_default().into(),
                budget: case["budget"].as_u64().unwrap_or(1_000_000),
                services: case["services"].as_bool().unwrap_or(true),
            };
            compare(&case).unwrap_or_else(|difference| panic!("{name}: {difference}"));
        }
    }
}

/// The oracle of NVM agrees too.
#[test]
fn the_oracle_runs_the_cases_of_nvm_alike() {
    let text = std::fs::read_to_string(folder().join("nvm-more/expected.json")).expect("a list of cases");
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let image_of = |value: &serde_json::Value| -> Option<Vec<u8>> {
        if let Some(hex) = value["hex"].as_str() {
            let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            return digits.chunks(2).map(byte).collect();
        }
        let lines = value["lines"].as_array()?.iter();
        let text: String = lines.map(|line| format!("{}\n", line.as_str().expect("text"))).collect();
        let parsed = Nvm.parse(&Source::new("case.asm", text.as_bytes())).ok()?;
        parsed.image().map(<[u8]>::to_vec)
    };
    let mut compared = 0;
    for case in list["cases"].as_array().expect("cases") {
        let Some(image) = image_of(case).filter(|image| image.starts_with(b"NVM0")) else { continue };
        let budget = case["budget"].as_u64().unwrap_or(1_000_000);
        let mut run = nvm::Case::new(image, budget);
        run.abi = match case["abi"].as_str() {
            Some("stack") => "stack",
            Some("heap") => "heap",
            _ => "auto",
        };
        let names: Vec<String> = case["caps"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cap| cap.as_str().expect("a name").to_owned())
            .collect();
        let words = Nvm.arguments(&names).expect("capabilities of NVM");
        run.capabilities = words[1..=words[0] as usize].iter().map(|value| *value as i32).collect();
        run.input = case["stdin"].as_str().unwrap_or_default().into();
        run.arguments = case["args"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|argument| argument.as_str().expect("text").into())
            .collect();
        for (path, contents) in case["files"].as_object().into_iter().flatten() {
            let contents = contents.as_str().map(Vec::from).or_else(|| image_of(contents)).expect("contents");
            run.files.insert(path.clone().into(), contents);
        }
        nvm::compare(&run).unwrap_or_else(|difference| panic!("{}: {difference}", case["name"]));
        compared += 1;
    }
    assert!(compared >= 90);
}

/// What the listings say is what the images are.
#[test]
fn listings_and_images_agree() {
    for name in ["pvm", "pvm-more"] {
        let folder = folder().join(name);
        let text = std::fs::read_to_string(folder.join("expected.json")).expect("a list of cases");
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for case in list["cases"].as_array().expect("cases") {
            let listing = match case["listing"].as_str() {
                Some(file) => std::fs::read_to_string(folder.join(file)).expect("a listing"),
                None => {
                    let lines = case["lines"].as_array().expect("a listing").iter();
                    lines.map(|line| format!("{}\n", line.as_str().expect("text"))).collect()
                }
            };
            assert_eq!(hex(&assemble(&listing)), case["hex"].as_str().expect("an image"), "{}", case["name"]);
        }
    }
}
