//! `dotvm conformance`.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use dotvm_nock_machine::conformance::{PROGRAMS, VECTORS};
use dotvm_nock_machine::{Bounds, conformance as nock};
use dotvm_transpiler::conformance::{EXPECTED, suites};
use dotvm_transpiler::frontend::Frontend;
use dotvm_transpiler::{FRONTENDS, by_name};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::guest::InMemory;
use crate::output::Output;

/// Run the samples of other machines and compare what comes out
///
/// A line a case, and a total; the exit code says whether all passed. docs/conformance.md describes a folder of samples.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder with expected.json, or with folders that have one; for Nock with vectors.json, programs, or both
    #[arg(value_hint = ValueHint::DirPath)]
    directory: PathBuf,

    /// Only the samples of this machine
    #[arg(long, value_name = "VM", value_parser = machine())]
    vm: Option<Machine>,

    /// Only the cases whose names hold this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

/// A machine that has samples.
#[derive(Clone, Copy)]
enum Machine {
    Frontend(&'static dyn Frontend),
    Nock,
}

fn machine() -> impl TypedValueParser<Value = Machine> {
    let names = FRONTENDS.iter().map(|frontend| frontend.name()).chain(["nock"]);
    PossibleValuesParser::new(names).try_map(|name| match by_name(&name) {
        Some(frontend) => Ok(Machine::Frontend(frontend)),
        None if name == "nock" => Ok(Machine::Nock),
        None => Err(format!("there is no frontend for {name}")),
    })
}

impl Args {
    /// That the folder holds no cases of the machine asked for.
    fn no_cases(&self) -> String {
        let folder = self.directory.display();
        match self.vm {
            Some(Machine::Nock) => {
                format!(
                    "{folder} holds no cases of nock: no {VECTORS}, no {PROGRAMS} there or one folder below"
                )
            }
            Some(Machine::Frontend(frontend)) => {
                format!(
                    "{folder} holds no cases of {}: no {EXPECTED} there or one folder below",
                    frontend.name()
                )
            }
            None => format!(
                "{folder} holds no cases: no {EXPECTED}, {VECTORS} or {PROGRAMS} there or one folder below"
            ),
        }
    }
}

/// The suites of Nock: of the folder itself, or of those in it.
fn nock_suites(folder: &Path) -> Result<Vec<nock::Suite>, Failure> {
    let wrong = |error: String| Failure::new(Exit::Input, error);
    if nock::Suite::is_in(folder) {
        return Ok(vec![nock::Suite::read(folder).map_err(wrong)?]);
    }
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|error| Failure::unreadable(folder, &error))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| nock::Suite::is_in(path))
        .collect();
    folders.sort();
    folders.iter().map(|folder| nock::Suite::read(folder).map_err(wrong)).collect()
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
    let is_nock = matches!(args.vm, None | Some(Machine::Nock));
    let nocks = if is_nock { nock_suites(&args.directory)? } else { Vec::new() };
    let suites = match args.vm {
        Some(Machine::Nock) => Ok(Vec::new()),
        Some(Machine::Frontend(frontend)) => suites(&args.directory, Some(frontend.name())),
        None => suites(&args.directory, None),
    };
    let suites = suites.map_err(|error| Failure::new(Exit::Input, error))?;
    if nocks.is_empty() && suites.is_empty() {
        return Err(Failure::new(Exit::Input, args.no_cases()));
    }
    let only = args.only.as_deref().unwrap_or_default();
    let mut cases = Vec::new();
    let mut add = |line: String, name: String, differences: Vec<String>| {
        if !args.json {
            output.print(&format!("{line}\n"))?;
        }
        cases.push(CaseReport { passed: differences.is_empty(), name, differences });
        Ok::<(), Failure>(())
    };
    for suite in &suites {
        for verdict in suite.run(only, &mut InMemory) {
            add(verdict.to_string(), verdict.name, verdict.differences)?;
        }
    }
    for suite in &nocks {
        for verdict in suite.run(only, &Bounds::default()) {
            add(verdict.to_string(), verdict.name, verdict.differences)?;
        }
    }
    if cases.is_empty() {
        let sentence = format!("no case in {} has {only:?} in its name", args.directory.display());
        return Err(Failure::new(Exit::Input, sentence));
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
