//! `dotvm resume`, and what `run --checkpoint-every` does at its end.

use clap::ValueHint;
use dotdb::MachineId;
use dotvm_core::gas::Gas;
use dotvm_runtime::{KeptRun, Runtime};

use crate::ended::{Finished, Prepared};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys::SignerOptions;
use crate::options::WaitOption;
use crate::output::Output;
use crate::outside::{FilesOut, InputOption};
use crate::receipt::RecordOptions;
use crate::store::{self, Access, StoreUrl};

/// Go on with a run that `run --checkpoint-every` has kept
///
/// It ends with the same result, gas, events and state as if nothing had happened. A machine whose run has ended shows
/// its result once more. Arguments, limits, rights, environment and required signatures are those of `run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The machine's number, as `dotvm db machines` shows it [default: the only one]
    machine: Option<u64>,

    /// The store
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    db: StoreUrl,

    #[command(flatten)]
    wait: WaitOption,

    /// More gas, as if the run had been given it from the beginning
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=Gas::MAX))]
    gas: u64,

    /// Gas between two checkpoints from here on [default: as before]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,

    #[command(flatten)]
    input: InputOption,

    #[command(flatten)]
    files_out: FilesOut,

    #[command(flatten)]
    records: RecordOptions,

    #[command(flatten)]
    trust: SignerOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let runtime = Runtime::new(store::open(&args.db, Access::Write, args.wait.wait)?);
    let id = match args.machine {
        Some(id) => MachineId(id),
        None => runtime.only_machine()?.map_err(|machines| not_one(&machines))?,
    };
    let mut machine = runtime.machine(id)?;
    machine.add_gas(args.gas);
    if let Some(every) = args.checkpoint_every {
        machine.set_every(every);
    }
    if let Some(signers) = args.trust.signers()? {
        machine.set_signers(signers);
    }
    let options = machine.options().clone();
    let prepared = Prepared::resumed(&args.input, &args.files_out, &args.records, options, args.json)?;
    machine.set_outside(prepared.options.outside.clone());
    let (program, bytes) = (machine.program().clone(), machine.module_bytes().clone());
    let (contract, invocation) = (machine.contract().to_owned(), machine.invocation().clone());
    let kept = runtime.resume(machine)?;
    let finished = Finished {
        program: &program,
        source: None,
        module: Some(&bytes),
        contract: &contract,
        invocation: &invocation,
        execution: &kept.execution,
        machine: kept.is_waiting.then_some(kept.machine),
    };
    finish_kept(&prepared, &finished, &kept, &runtime, args.json, output)
}

fn not_one(machines: &[MachineId]) -> Failure {
    if machines.is_empty() {
        return Failure::new(Exit::Database, "no run is kept in this store: each has come to its end");
    }
    let numbers: Vec<String> = machines.iter().map(ToString::to_string).collect();
    let sentence = format!("several machines are kept in this store: say which of {}", numbers.join(", "));
    Failure::new(Exit::Usage, sentence)
}

/// Shows a run that is kept, as other runs are shown; if it is over, its machine is forgotten then.
pub(super) fn finish_kept(
    prepared: &Prepared<'_>,
    run: &Finished<'_>,
    kept: &KeptRun,
    runtime: &Runtime,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let exit = if kept.is_waiting {
        prepared.show(run, runtime, output)?
    } else {
        prepared.finish(run, runtime, output)?
    };
    if let Some(what) = kept.postponed
        && !json
    {
        output.remark(&format!("the last checkpoint is older: {what} cannot be written down"));
    }
    if kept.is_waiting {
        if !json {
            let id = kept.machine;
            output.remark(&format!("machine {id} is kept: dotvm resume {id} --gas N goes on with it"));
        }
        return Ok(exit);
    }
    // The answer is out: what is left of the machine is of no use any more.
    runtime.forget_machine(kept.machine).map_err(|error| Failure::from(error).told_with(output))?;
    Ok(exit)
}
