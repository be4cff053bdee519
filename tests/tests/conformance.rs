//! The samples of the source machines, through their frontends.

use std::path::{Path, PathBuf};

use dotvm_arch::Width;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::Invocation;
use dotvm_tests::generate::env;
use dotvm_tests::mock_host::MockHost;
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
        let invocation = Invocation { function, words: Vec::new(), refs: Vec::new() };
        let outcome = dotvm_engine::run(&program, &invocation, &limits, &mut host)?;
        let events = host.transaction.map(|transaction| transaction.now.state.events).unwrap_or_default();
        let [stdout, stderr] = host.outside.written;
        let stdout = events.iter().flat_map(|event| event.data.to_vec()).chain(stdout).collect();
        Ok(Ran { outcome, stdout, stderr, files: Default::default() })
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

#[test]
fn every_case_comes_out_as_expected() {
    let suites = suites(&folder(), None).unwrap_or_else(|error| panic!("{error}"));
    let mut failed = Vec::new();
    let mut passed = 0;
    for suite in &suites {
        for verdict in suite.run(&mut Engine) {
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
            .flat_map(|suite| suite.run(&mut Engine).map(|verdict| verdict.name).collect::<Vec<_>>())
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
