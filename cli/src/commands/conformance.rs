//! `dotvm conformance`.

use std::path::PathBuf;

use clap::ValueHint;
use dotvm_transpiler::conformance::suites;
use dotvm_transpiler::frontend::Frontend;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::guest::{InMemory, frontend};
use crate::output::Output;

/// Run the samples of other machines and compare what comes out
///
/// A line a case, and a total; the exit code says whether all passed. docs/conformance.md describes a folder of samples.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder with expected.json, or with folders that have one
    #[arg(value_hint = ValueHint::DirPath)]
    directory: PathBuf,

    /// Only the samples of this machine
    #[arg(long, value_name = "VM", value_parser = frontend())]
    vm: Option<&'static dyn Frontend>,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    passed: usize,
    failed: usize,
    cases: Vec<CaseReport>,
}

#[derive(Serialize)]
struct CaseReport {
    name: String,
    passed: bool,
    differences: Vec<String>,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let vm = args.vm.map(|frontend| frontend.name());
    let suites = suites(&args.directory, vm).map_err(|error| Failure::new(Exit::Input, error))?;
    let mut cases = Vec::new();
    for suite in &suites {
        for verdict in suite.run(&mut InMemory) {
            if !args.json {
                output.print(&format!("{verdict}\n"))?;
            }
            cases.push(CaseReport {
                passed: verdict.passed(),
                name: verdict.name,
                differences: verdict.differences,
            });
        }
    }
    let passed = cases.iter().filter(|case| case.passed).count();
    let failed = cases.len() - passed;
    let exit = if failed == 0 { Exit::Success } else { Exit::Program };
    if args.json {
        let status = if failed == 0 { "ok" } else { "failed" };
        output.print_json(&Report { status, passed, failed, cases })?;
    } else {
        output.print(&format!("{passed} of {} passed\n", passed + failed))?;
    }
    Ok(exit)
}
