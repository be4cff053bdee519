//! DotVM and its peers on the same work, in one run.

mod dotvm;
mod evm;
mod harness;
mod machine;
mod peers;
mod report;
mod subjects;
mod table;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::machine::Machine;
use crate::report::Report;
use crate::workloads::{Scale, Setup};

/// Runs every workload on DotVM and its peers, in turn, and prints one table.
#[derive(Debug, Parser)]
#[command(name = "dotvm-benches", version)]
struct Arguments {
    /// How often each contender is timed; stores on disk at most five times.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Only this workload; may be given more than once.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    only: Vec<String>,

    /// About a tenth of the work, to see that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,

    /// Compare with this contender where it takes part, or with the "fastest".
    #[arg(long, value_name = "CONTENDER")]
    baseline: Option<String>,

    /// Where durable stores keep their files; on a file system in memory they are not durable.
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    store_directory: PathBuf,

    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,

    /// Also write the table between the marker lines of this document.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only", "baseline"])]
    markdown: Option<PathBuf>,

    /// List the workloads and stop.
    #[arg(long)]
    list: bool,
}

fn names() -> impl Iterator<Item = &'static str> {
    workloads::ALL.iter().map(|entry| entry.name)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        names().for_each(|name| println!("{name}"));
        return Ok(());
    }
    ensure!(
        arguments.quick || !cfg!(debug_assertions),
        "figures of an unoptimised build mean nothing: use --release, or --quick to see that everything runs"
    );
    let setup = Setup {
        scale: if arguments.quick { Scale::Quick } else { Scale::Full },
        store_directory: arguments.store_directory.clone(),
    };
    let directory = &setup.store_directory;
    ensure!(directory.is_dir(), "the store directory {} does not exist", directory.display());

    let mut measured = Vec::new();
    for entry in workloads::ALL {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == entry.name) {
            continue;
        }
        eprintln!("{}", entry.name);
        let mut workload = (entry.build)(&setup).with_context(|| format!("cannot set up {}", entry.name))?;
        let samples = harness::measure(&mut workload, arguments.rounds as usize)?;
        measured.push(report::evaluate(&workload, &samples, arguments.baseline.as_deref())?);
    }

    let report = Report {
        command: command(arguments),
        quick: arguments.quick,
        machine: Machine::detect(directory),
        workloads: measured,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table::text(&report));
    }
    if let Some(path) = &arguments.markdown {
        table::write_markdown(&report, path)?;
    }
    Ok(())
}

/// The command that repeats this run.
fn command(arguments: &Arguments) -> String {
    let mut command = format!("cargo run --release -p dotvm-benches -- --rounds {}", arguments.rounds);
    for only in &arguments.only {
        command += &format!(" --only {only}");
    }
    if arguments.quick {
        command += " --quick";
    }
    if let Some(baseline) = &arguments.baseline {
        command += &format!(" --baseline '{baseline}'");
    }
    if let Some(path) = &arguments.markdown {
        command += &format!(" --markdown {}", path.display());
    }
    command
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn published_figures_are_whole() {
        for partial in ["--quick", "--only=keccak", "--baseline=fastest"] {
            assert!(Arguments::try_parse_from(["dotvm-benches", "--markdown=x.md", partial]).is_err());
        }
        assert!(Arguments::try_parse_from(["dotvm-benches", "--only=nothing"]).is_err());
    }

    #[test]
    fn the_command_repeats_the_run() {
        let words = ["dotvm-benches", "--rounds", "3", "--only", "keccak", "--quick"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        let repeated = command(&arguments);
        let (_, words) = repeated.split_once(" -- ").unwrap();
        let again = Arguments::try_parse_from(["dotvm-benches"].into_iter().chain(words.split(' '))).unwrap();
        assert_eq!(command(&again), repeated);
    }
}
