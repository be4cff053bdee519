//! `dotvm rvm`: the commands that users of RVM know.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueHint};
use dotvm_core::capability::CapabilitySet;
use dotvm_runtime::Runtime;
use dotvm_transpiler::frontend::{Frontend, FrontendError, Options, Source};
use dotvm_transpiler::{Inputs, by_name};
use serde_json::Value;

use crate::ended::Prepared;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::guest::{self, Folder};
use crate::input::read_file;
use crate::options::ExecutionOptions;
use crate::output::Output;
use crate::store;

/// Run, assemble and check programs of RVM
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    Build(BuildArgs),
    Check(CheckArgs),
}

/// Run a program: assemble it if needed, link, run
///
/// The exit code is 0, that of [os]exit, or the code of the error that stopped the machine.
#[derive(clap::Args)]
struct RunArgs {
    /// Assembly (.ras) or bytes (.rvm)
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGV")]
    arguments: Vec<String>,

    /// Most instructions that the program may take [default: no limit but gas]
    #[arg(long, value_name = "N")]
    budget: Option<u64>,

    #[command(flatten)]
    execution: ExecutionOptions,
}

/// Assemble a program to bytes; nothing is linked
#[derive(clap::Args)]
struct BuildArgs {
    /// Assembly (.ras)
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Where the bytes go [default: the program's name with .rvm]
    #[arg(value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// Assemble and link a program, and report errors only
#[derive(clap::Args)]
struct CheckArgs {
    /// Assembly (.ras) or bytes (.rvm)
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    match &args.command {
        Command::Run(args) => run_program(args, output),
        Command::Build(args) => build(args, output),
        Command::Check(args) => check(args),
    }
}

/// Does something with a file as a source.
fn with_source<T>(
    path: &Path,
    then: impl FnOnce(&'static dyn Frontend, &Source<'_>) -> Result<T, FrontendError>,
) -> Result<T, Failure> {
    let bytes = read_file(path)?;
    let name = path.display().to_string();
    let folder = Folder(path.parent().unwrap_or(Path::new("")));
    let source = Source { name: &name, bytes: &bytes, neighbours: &folder };
    let Some(frontend) = by_name("rvm") else {
        return Err(Failure::new(Exit::Usage, "there is no frontend for RVM"));
    };
    then(frontend, &source).map_err(|error| Failure::new(Exit::Input, format!("{name} is refused: {error}")))
}

fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    with_source(&args.file, |frontend, source| frontend.parse(source).map(drop))?;
    Ok(Exit::Success)
}

fn build(args: &BuildArgs, output: &Output) -> Result<Exit, Failure> {
    let target = args.output.clone().unwrap_or_else(|| args.file.with_extension("rvm"));
    if target == args.file {
        let sentence =
            format!("the bytes would replace their source {}: name another file", target.display());
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let bytes = with_source(&args.file, |_, source| dotvm_rvm::assemble(source))?;
    std::fs::write(&target, &bytes).map_err(|error| Failure::unwritable(target.display(), &error))?;
    output.remark(&format!("{}: {} bytes", target.display(), bytes.len()));
    Ok(Exit::Success)
}

fn run_program(args: &RunArgs, output: &Output) -> Result<Exit, Failure> {
    let prepared = Prepared::new(&args.execution, &args.arguments, false, false)?;
    let denied: CapabilitySet = guest::all_but(prepared.options.granted);
    let (frontend, translation) = with_source(&args.file, |frontend, source| {
        let options = Options { denied, ..Options::default() };
        Ok((frontend, frontend.parse(source)?.translate(&options)?))
    })?;
    let runtime = Runtime::new(store::in_memory()?);
    let inputs = Inputs { budget: args.budget, ..Inputs::default() };
    let ran = guest::execute(&runtime, "rvm", &translation, &inputs, prepared.options.clone())?;
    let ending = frontend.ending(&ran.outcome).map_err(|error| Failure::new(Exit::Program, error))?;
    let code = ending.exit_code.as_ref().and_then(Value::as_i64).unwrap_or(0) as u8;
    match ending.status.as_str() {
        "halt" if code == 0 => Ok(Exit::Success),
        "halt" => Ok(Exit::Guest(code)),
        "error" => {
            let place = ending
                .fields
                .get("instruction")
                .map_or_else(String::new, |number| format!(", record {number}"));
            let name = ending.fields.get("error_name").and_then(Value::as_str).unwrap_or("unknown error");
            output.complain(&format!("rvm: error {code}, {name}{place}"));
            Ok(Exit::Guest(code))
        }
        status => {
            output.complain(&format!("rvm: {status}"));
            Ok(Exit::Program)
        }
    }
}
