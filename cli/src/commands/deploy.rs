//! `dotvm deploy`.

use std::path::PathBuf;

use clap::ValueHint;
use dotvm_runtime::{Change, Runtime, RuntimeError, show::hex};
use serde::Serialize;

use super::run::contract_name;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::keys::TrustOptions;
use crate::options::{ArchOption, StoreOption};
use crate::output::Output;
use crate::store::Access;

/// Keep a program in a store, under a name by which it can be called
///
/// The code is kept under its hash. The same code under the same name is no change.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Source text (.dasm) or module (.dotvm); - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    store: StoreOption,

    /// The contract's name [default: the module's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Replace the code that has the name; its state stays
    #[arg(long)]
    upgrade: bool,

    #[command(flatten)]
    arch: ArchOption,

    #[command(flatten)]
    trust: TrustOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    contract: String,
    number: u32,
    hash: String,
    /// `new`, `none` or `upgrade`.
    change: &'static str,
    /// Hash of the code that was replaced.
    replaced: Option<String>,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let input = Input::read_trusted(&args.file, args.arch.arch, &args.trust)?;
    // Before the store is opened, or made.
    input.program(&args.file)?;
    let name = args.name.clone().unwrap_or_else(|| contract_name(&input.module));
    let runtime = Runtime::new(args.store.open(Access::Create)?);
    let deployed = runtime.deploy(&name, &input.kept, args.upgrade).map_err(|error| {
        let taken = matches!(error, RuntimeError::NameTaken { .. });
        let mut failure = Failure::from(error);
        if taken {
            failure.sentence.push_str(": --upgrade replaces it and keeps the state");
        }
        failure
    })?;
    let (change, replaced) = match deployed.change {
        Change::New => ("new", None),
        Change::None => ("none", None),
        Change::Upgrade(old) => ("upgrade", Some(hex(&old))),
    };
    let report = Report {
        status: "ok",
        contract: name,
        number: deployed.contract.0,
        hash: hex(&deployed.hash),
        change,
        replaced,
    };
    if args.json {
        output.print_json(&report)?;
        return Ok(Exit::Success);
    }
    let what = match deployed.change {
        Change::New => "deployed",
        Change::None => "was deployed already",
        Change::Upgrade(_) => "upgraded",
    };
    output.print(&format!("{} {what}, code {}\n", report.contract, report.hash))?;
    Ok(Exit::Success)
}
