//! `dotvm run`.

use std::path::PathBuf;

use clap::ValueHint;
use dotvm_core::host_call::HostCall;
use dotvm_core::module::Module;
use dotvm_runtime::args::{find_function, parse_invocation};
use dotvm_runtime::{Runtime, RuntimeError};
use dotvm_transpiler::Inputs;

use super::resume;
use crate::ended::{Finished, Prepared};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::guest::{self, Guest, GuestOptions};
use crate::input::Input;
use crate::keys::TrustOptions;
use crate::options::{ArchOption, ExecutionOptions, WaitOption};
use crate::output::Output;
use crate::store::{self, Access, StoreUrl};

/// Run a function of a program in one transaction
///
/// Results go to standard output, a line each; events, gas and errors to standard error. State is kept in the
/// store of --db, durably before the command ends, if the program succeeds; without --db it is thrown away.
#[derive(clap::Args)]
#[command(after_help = crate::docs::ARGUMENTS_HELP)]
pub(crate) struct Args {
    /// Source text (.dasm), module (.dotvm), a program of another machine, or the jam of a Nock subject and formula (.jam);
    /// - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The function to run [default: the program's entry]
    #[arg(long = "fn", value_name = "NAME")]
    function: Option<String>,

    /// An argument (can be repeated): words first, then references
    #[arg(long = "arg", value_name = "V", allow_hyphen_values = true)]
    arguments: Vec<String>,

    /// Behind --: more arguments for args.get
    #[arg(last = true, value_name = "ARGV")]
    program_arguments: Vec<String>,

    /// The store (made if nothing is there): a path, redb:PATH, rocksdb:PATH, sled:PATH (weaker: see docs/storage.md)
    /// [default: in memory]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    db: Option<StoreUrl>,

    #[command(flatten)]
    wait: WaitOption,

    /// The name that the state is kept under [default: the module's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Keep the run in the store of --db: write it down after every N units of gas and with each commit, so that
    /// `dotvm resume` goes on with it when it was killed, ran out of gas, or was moved with its store
    #[arg(long, value_name = "N", requires = "db", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,

    #[command(flatten)]
    arch: ArchOption,

    #[command(flatten)]
    guest: GuestOptions,

    /// Most instructions that a program of another machine may take [default: no limit but gas]
    #[arg(long, value_name = "N", help_heading = "Other machines")]
    budget: Option<u64>,

    #[command(flatten)]
    trust: TrustOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    #[command(flatten)]
    execution: ExecutionOptions,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    if args.file.extension().is_some_and(|extension| extension == "jam") {
        return run_nock(args, output);
    }
    let taken = args.file.as_os_str() == "-";
    let mut prepared = Prepared::new(&args.execution, &args.program_arguments, args.json, taken)?;
    prepared.options.signers = args.trust.signers()?;
    if let Some(guest) = args.guest.read(&args.file, false, prepared.options.granted)? {
        // No image of another machine is signed.
        args.trust.check(&args.file, None)?;
        return run_guest(args, &guest, &prepared, output);
    }
    let input = Input::read_trusted(&args.file, args.arch.arch, &args.trust)?;
    let program = input.program(&args.file)?;
    let function = find_function(program.module(), args.function.as_deref())?;
    let invocation = parse_invocation(program.verified(), function, &args.arguments)?;
    let url = args.db.as_ref().unwrap_or(&StoreUrl::Memory);
    let runtime = Runtime::new(store::open(url, Access::Create, args.wait.wait)?);
    let name = args.name.clone().unwrap_or_else(|| contract_name(program.module()));
    let named = |error: RuntimeError| {
        let taken = matches!(error, RuntimeError::NameTaken { .. });
        let mut failure = Failure::from(error);
        if taken {
            failure.sentence.push_str(": --name keeps the state under another");
        }
        failure
    };
    if let Some(every) = args.checkpoint_every {
        if *url == StoreUrl::Memory {
            let sentence =
                "a run is kept in a store that stays: --checkpoint-every needs another --db than mem:";
            return Err(Failure::new(Exit::Usage, sentence));
        }
        let options = &prepared.options;
        let kept = runtime.run_kept(&name, &program, &input.kept, &invocation, options, every);
        let kept = kept.map_err(named)?;
        let run = Finished {
            program: &program,
            source: input.source.as_deref(),
            module: Some(&input.kept),
            contract: &name,
            invocation: &invocation,
            execution: &kept.execution,
            machine: kept.is_waiting.then_some(kept.machine),
        };
        return resume::finish_kept(&prepared, &run, &kept, &runtime, args.json, output);
    }
    let execution = runtime.run(&name, &program, &invocation, &prepared.options).map_err(named)?;
    let finished = Finished {
        program: &program,
        source: input.source.as_deref(),
        module: Some(&input.kept),
        contract: &name,
        invocation: &invocation,
        execution: &execution,
        machine: None,
    };
    let exit = prepared.finish(&finished, &runtime, output)?;
    if *url == StoreUrl::Memory && execution.changed_keys > 0 && !args.json {
        output.remark("nothing is kept: the state was in memory (--db PATH keeps it)");
    }
    Ok(exit)
}

/// Runs the jam of a subject and a formula.
fn run_nock(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let usage = |sentence: &str| Err(Failure::new(Exit::Usage, sentence));
    if args.function.is_some() || !args.arguments.is_empty() || !args.program_arguments.is_empty() {
        return usage(
            "a jam has no functions to choose from, and no arguments: no --fn, no --arg, nothing behind --",
        );
    }
    if args.guest.is_on() || args.budget.is_some() || args.arch.arch.is_some() {
        return usage("a jam is a program of Nock: no --from, --abi, --no-services, --budget, --arch");
    }
    if args.db.is_some() || args.name.is_some() || args.checkpoint_every.is_some() {
        return usage(
            "a run of Nock has no state and cannot be kept: no --db, --name, --checkpoint-every (`dotvm nock poke` keeps kernels)",
        );
    }
    args.trust.check(&args.file, None)?;
    super::nock::run_file(&args.file, &args.execution.bounds()?, args.json, output)
}

/// Runs a program of another machine.
fn run_guest(args: &Args, guest: &Guest, prepared: &Prepared<'_>, output: &Output) -> Result<Exit, Failure> {
    let Guest { frontend, translation, .. } = guest;
    let has_files = guest::has_files(&translation.module);
    let is_kept = args.checkpoint_every.is_some();
    let writes_files = args.execution.outside.files_out.writes_files() && !has_files;
    if is_kept || args.execution.records.is_on() || writes_files {
        let files = if has_files { "" } else { " and has no files" };
        let sentence = format!(
            "a run of a program of {} is not written down{files}: no --record, --receipt{}, --checkpoint-every",
            frontend.name(),
            if has_files { "" } else { ", --file-out" }
        );
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let words = args.execution.guest_capabilities(*frontend)?;
    let mut options = prepared.options.clone();
    options.granted = args.execution.granted_to_guest(*frontend);
    if args.function.is_some() || !args.arguments.is_empty() {
        let sentence =
            format!("a program of {} has no functions to choose from: no --fn, no --arg", frontend.name());
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let url = args.db.as_ref().unwrap_or(&StoreUrl::Memory);
    let runtime = Runtime::new(store::open(url, Access::Create, args.wait.wait)?);
    let name = args.name.clone().unwrap_or_else(|| contract_name(&translation.module));
    let input = match args.execution.outside.given_input()? {
        Some(input) if !translation.module.host_calls.contains(&HostCall::ConsoleRead) => input,
        _ => options.env.input.clone(),
    };
    let inputs =
        Inputs { stdin: input.to_vec(), words, budget: args.budget, inspect: args.json, ..Inputs::default() };
    let mut ran = guest::execute(&runtime, &name, translation, &inputs, options)?;
    guest::add_streams(&mut ran, prepared.collected());
    let exit = guest::print(guest, &ran, args.json, output)?;
    args.execution.outside.files_out.write_files(&runtime, &name)?;
    Ok(exit)
}

/// The name of a module as the name of a contract: in lower case, other characters than a-z 0-9 _ - . becoming
/// `-`, with `m-` before what does not start with a letter, cut to the length that names have.
pub(super) fn contract_name(module: &Module) -> String {
    let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.');
    let name: String = module.name.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("m-{name}") };
    name.chars().take(dotdb::MAX_NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotvm_arch::Width;

    #[test]
    fn names_of_modules_become_names_of_contracts() {
        let name = |module: &str| contract_name(&Module::new(module, Width::W64));
        assert_eq!(name("token"), "token");
        assert_eq!(name("My Token 2.1"), "my-token-2.1");
        assert_eq!(name("2fast"), "m-2fast");
        assert_eq!(name("\u{fc}ber"), "m--ber");
        assert_eq!(name(&"x".repeat(200)).len(), 64);
    }
}
