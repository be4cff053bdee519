//! `dotvm nock`.

mod kernels;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::{Subcommand, ValueHint};
use dotvm_core::value::Ref;
use dotvm_nock_machine::text::{Style, parse, show};
use dotvm_nock_machine::{
    Bounds, Failure as NockFailure, Input, Jets, Ran, Settings, cue, jam, mug, run_with as run_nock,
};
use dotvm_runtime::args::parse_hex;
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::failure::{Cause, Failure, SourceError};
use crate::input::read_file;
use crate::output::Output;

/// Evaluate Nock formulas; read, write and hash nouns
///
/// A noun is text ([1 2 3], 'abc', 0x2a), @FILE the noun in a file: a jam if its name ends in .jam, else text.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// Answer with one JSON object
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) json: bool,

    #[command(flatten)]
    bounds: BoundsOptions,
}

/// What a run of Nock may use.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct BoundsOptions {
    /// The most MiB of nouns that can be reached at one time
    #[arg(long, value_name = "MIB", global = true, default_value_t = 4096, help_heading = "Limits")]
    memory: u64,

    /// The most gas
    #[arg(long, value_name = "GAS", global = true, help_heading = "Limits")]
    max_computation: Option<u64>,

    /// The most calls that wait for a product
    #[arg(long, value_name = "N", global = true, default_value_t = 10_000_000, help_heading = "Limits")]
    max_stack_depth: u32,
}

impl BoundsOptions {
    fn bounds(self) -> Bounds {
        let bounds = Bounds::default();
        Bounds {
            max_memory: self.memory.saturating_mul(1 << 20),
            max_computation: self.max_computation.unwrap_or(bounds.max_computation),
            max_stack_depth: self.max_stack_depth,
        }
    }
}

/// How a formula is evaluated.
#[derive(clap::Args, Clone, Copy, Default)]
struct RunOptions {
    /// Evaluate every formula, also those that have jets
    #[arg(long, conflicts_with = "compare_jets", help_heading = "Jets")]
    no_jets: bool,
    /// Evaluate jets and their formulas, and fail where they differ
    #[arg(long, help_heading = "Jets")]
    compare_jets: bool,
    /// Tell what each jet did
    #[arg(long, help_heading = "Jets")]
    profile: bool,
}

impl RunOptions {
    fn settings(self, output: &Output) -> Settings {
        let jets = match self {
            RunOptions { no_jets: true, .. } => Jets::Off,
            RunOptions { compare_jets: true, .. } => Jets::Compare,
            _ => Jets::On,
        };
        // Lines of %slog are remarks: they go where remarks go, as they come.
        let output = output.clone();
        Settings { jets, print: Some(Arc::new(move |line: &str| output.remark(line))), ..Settings::default() }
    }
}

#[derive(Subcommand)]
enum Action {
    /// Evaluate a formula on a subject and print the product
    Eval {
        /// The subject
        subject: String,
        /// The formula
        formula: String,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Evaluate the formula of a file on its subject and print the product
    Run {
        /// The jam of the pair of a subject and a formula
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Write the jam of the product to this file instead of its text to standard output
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Write the jam of a noun: hexadecimal, low byte first
    Jam {
        /// The noun
        noun: String,
        /// Write its bytes to this file instead
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the noun that a jam stands for
    Cue {
        /// The jam in hexadecimal, low byte first, or @FILE
        jam: String,
    },
    /// Print the mug of a noun, its 31-bit hash
    Mug {
        /// The noun
        noun: String,
    },
    /// Print a noun over several lines, with text where atoms are text
    Pretty {
        /// The noun
        noun: String,
    },
    #[command(flatten)]
    Kernel(kernels::Action),
}

impl From<NockFailure> for Failure {
    fn from(failure: NockFailure) -> Failure {
        let limit = match failure {
            NockFailure::Limit(limit) => Some(limit),
            _ => None,
        };
        let exit = match failure {
            NockFailure::Input(_) => Exit::Input,
            NockFailure::Crash => Exit::Program,
            NockFailure::Limit(_) | NockFailure::Machine(_) => Exit::Limit,
        };
        let cause = Some(Cause { deterministic: failure.is_deterministic(), limit });
        Failure { cause, ..Failure::new(exit, failure) }
    }
}

/// A failure, with the file if that is what is wrong.
fn of_file(file: &str, failure: NockFailure) -> Failure {
    match failure {
        NockFailure::Input(sentence) => Failure::new(Exit::Input, format!("{file}: {sentence}")),
        failure => failure.into(),
    }
}

/// Reads a noun as arguments give it.
fn noun(argument: &str, bounds: &Bounds) -> Result<Ref, Failure> {
    let text = match argument.strip_prefix('@') {
        None => argument.to_owned(),
        Some(file) => {
            let bytes = read_file(Path::new(file))?;
            if file.ends_with(".jam") {
                return cue(&bytes.into(), bounds.max_memory).map_err(|error| of_file(file, error));
            }
            String::from_utf8(bytes)
                .map_err(|_| Failure::new(Exit::Input, format!("{file} is not UTF-8 text")))?
        }
    };
    parse(&text).map_err(|error| {
        let sentence = format!("line {}, column {}: {}", error.line, error.column, error.message);
        let mut failure = Failure::new(Exit::Input, &sentence);
        failure.rendered = Some(format!("error: {sentence}\n{}\n", error.excerpt));
        failure.diagnostics = vec![SourceError {
            line: error.line as u32,
            column: error.column as u32,
            message: error.message,
            hint: None,
        }];
        failure
    })
}

fn from_hex(argument: &str) -> Result<Bytes, Failure> {
    if let Some(file) = argument.strip_prefix('@') {
        return Ok(read_file(Path::new(file))?.into());
    }
    let digits: String = argument.strip_prefix("0x").unwrap_or(argument).split_ascii_whitespace().collect();
    parse_hex(&digits).map(Bytes::from).map_err(|error| Failure::new(Exit::Usage, error))
}

fn write(out: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(out, bytes).map_err(|error| Failure::unwritable(out.display(), &error))
}

/// Runs the jam of a subject and a formula, as `dotvm run` does with a file of this kind.
pub(super) fn run_file(file: &Path, bounds: &Bounds, json: bool, output: &Output) -> Result<Exit, Failure> {
    run_jam(file, None, bounds, RunOptions::default(), json, output)
}

fn run_jam(
    file: &Path,
    out: Option<&Path>,
    bounds: &Bounds,
    options: RunOptions,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let ran = run_nock(&Input::Jam(read_file(file)?.into()), bounds, &options.settings(output));
    let name = file.display().to_string();
    print_run(ran, out, bounds, options, json, output, |failure| of_file(&name, failure))
}

/// Prints a product, or fails as the run did.
fn print_run(
    ran: Ran,
    out: Option<&Path>,
    bounds: &Bounds,
    options: RunOptions,
    json: bool,
    output: &Output,
    failed: impl Fn(NockFailure) -> Failure,
) -> Result<Exit, Failure> {
    let Ran { result, gas_used, functions, jets, .. } = ran;
    let mut jets = if options.profile { jets } else { Vec::new() };
    jets.sort_by_key(|jet| std::cmp::Reverse(jet.products + jet.punts));
    if !json {
        for jet in &jets {
            output.remark(&format!(
                "{}: {} products, {} left to the formula",
                jet.path, jet.products, jet.punts
            ));
        }
    }
    let product = result.map_err(failed)?;
    if let Some(out) = out {
        write(out, &jam(&product, bounds.max_memory)?)?;
    }
    if json {
        let mut report = Map::new();
        report.insert("status".to_owned(), "ok".into());
        if out.is_none() {
            report.insert("product".to_owned(), show(&product, Style::PLAIN).into());
        }
        report.insert("mug".to_owned(), mug(&product, bounds.max_memory)?.into());
        report.insert("gas_used".to_owned(), gas_used.into());
        report.insert("functions".to_owned(), functions.into());
        if options.profile {
            let jets = jets.iter().map(
                |jet| serde_json::json!({ "path": jet.path, "products": jet.products, "punts": jet.punts }),
            );
            report.insert("jets".to_owned(), jets.collect());
        }
        output.print_json(&Value::Object(report))?;
        return Ok(Exit::Success);
    }
    if out.is_none() {
        output.print(&(show(&product, Style::PLAIN) + "\n"))?;
    }
    output.remark(&format!("gas {gas_used}"));
    output.remark(&format!("functions {functions}"));
    Ok(Exit::Success)
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let bounds = args.bounds.bounds();
    let answer = |name: &str, text: String| {
        if args.json {
            let mut report = Map::new();
            report.insert("status".to_owned(), "ok".into());
            report.insert(name.to_owned(), text.into());
            output.print_json(&Value::Object(report))?;
        } else {
            output.print(&(text + "\n"))?;
        }
        Ok(Exit::Success)
    };
    match &args.action {
        Action::Eval { subject, formula, options } => {
            let input = Input::Pair(noun(subject, &bounds)?, noun(formula, &bounds)?);
            let ran = run_nock(&input, &bounds, &options.settings(output));
            print_run(ran, None, &bounds, *options, args.json, output, Failure::from)
        }
        Action::Run { file, out, options } => {
            run_jam(file, out.as_deref(), &bounds, *options, args.json, output)
        }
        Action::Jam { noun: argument, out } => {
            let bytes = jam(&noun(argument, &bounds)?, bounds.max_memory)?;
            match out {
                Some(out) => {
                    write(out, &bytes)?;
                    Ok(Exit::Success)
                }
                None => answer("jam", dotvm_runtime::show::hex(&bytes)),
            }
        }
        Action::Cue { jam } => {
            let noun = cue(&from_hex(jam)?, bounds.max_memory)?;
            answer("noun", show(&noun, Style::PLAIN))
        }
        Action::Mug { noun: argument } => {
            let mug = mug(&noun(argument, &bounds)?, bounds.max_memory)?;
            answer("mug", format!("0x{mug:08x}"))
        }
        Action::Kernel(action) => kernels::run(action, &bounds, args.json, output),
        Action::Pretty { noun: argument } => answer("text", show(&noun(argument, &bounds)?, Style::PRETTY)),
    }
}
