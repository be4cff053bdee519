//! `dotvm call`.

use dotvm_runtime::args::{find_function, parse_invocation};
use dotvm_runtime::{Program, Runtime, RuntimeError};

use crate::ended::{Finished, Prepared};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys::SignerOptions;
use crate::options::{ExecutionOptions, StoreOption};
use crate::output::Output;
use crate::store::Access;

/// Call a function of a deployed contract in one transaction
///
/// If it succeeds, its changes are durable before the command ends; otherwise nothing is changed. Results go to
/// standard output, a line each; events, gas and errors to standard error.
#[derive(clap::Args)]
#[command(after_help = crate::docs::ARGUMENTS_HELP)]
pub(crate) struct Args {
    /// The contract
    contract: String,

    /// The function
    #[arg(value_name = "FN")]
    function: String,

    /// Arguments: words first, then references; behind -- they may start with -
    #[arg(value_name = "ARGS", allow_negative_numbers = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    store: StoreOption,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    #[command(flatten)]
    execution: ExecutionOptions,

    #[command(flatten)]
    trust: SignerOptions,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let mut prepared = Prepared::new(&args.execution, &[], args.json, false)?;
    prepared.options.signers = args.trust.signers()?;
    let runtime = Runtime::new(args.store.open(Access::Write)?);
    let invocation_of = |program: &Program| -> Result<_, RuntimeError> {
        let function = find_function(program.module(), Some(&args.function))?;
        Ok(parse_invocation(program.verified(), function, &args.arguments)?)
    };
    let (program, execution) = runtime.call(&args.contract, invocation_of, &prepared.options)?;
    let finished = Finished {
        program: &program,
        source: None,
        module: None,
        contract: &args.contract,
        invocation: &invocation_of(&program)?,
        execution: &execution,
        machine: None,
    };
    prepared.finish(&finished, &runtime, output)
}
