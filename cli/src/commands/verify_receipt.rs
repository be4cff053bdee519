//! `dotvm verify-receipt`.

use std::path::PathBuf;

use clap::ValueHint;
use dotvm_core::limits::module::FILE_BYTES;
use dotvm_runtime::{Program, RuntimeError, show};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::keys::TrustOptions;
use crate::options::WaitOption;
use crate::output::Output;
use crate::receipt::{self, Receipt};
use crate::record::Difference;
use crate::store::{self, Access, StoreUrl};

const _: () = assert!(FILE_BYTES <= u32::MAX as usize);

/// Check a receipt: its signature, and by doing the run again on the state as it was before
///
/// Answers yes, or no and where the run differs from what the receipt says. Nothing is changed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The receipt, as --receipt of run or call has written it
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The store that the run was on, if it was on one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    db: Option<StoreUrl>,

    #[command(flatten)]
    wait: WaitOption,

    /// The module, if the store does not keep it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    module: Option<PathBuf>,

    /// The public key that must have signed: 64 hexadecimal digits [default: whichever the receipt names]
    #[arg(long, value_name = "HEX")]
    signer: Option<String>,

    #[command(flatten)]
    trust: TrustOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    /// Whether the signature is right and the run came out as the receipt says.
    valid: bool,
    public_key: String,
    contract: &'a str,
    version: u64,
    /// Why it is not valid.
    reason: Option<String>,
    differences: Vec<Difference>,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let receipt = Receipt::read(&args.file)?;
    let (reason, differences) = check(args, &receipt)?;
    let valid = reason.is_none();
    let public_key = show::hex(&receipt.public_key.0);
    if args.json {
        let report = Report {
            status: "ok",
            valid,
            public_key,
            contract: &receipt.run.contract,
            version: receipt.run.version,
            reason,
            differences,
        };
        output.print_json(&report)?;
    } else {
        match reason {
            None => output.print(&format!(
                "yes: {} at version {} ran as the receipt says, signed by {public_key}\n",
                receipt.run.contract, receipt.run.version
            ))?,
            Some(reason) => {
                let mut text = format!("no: {reason}\n");
                for difference in differences {
                    text.push_str(&format!("  {difference}\n"));
                }
                output.print(&text)?;
            }
        }
    }
    Ok(if valid { Exit::Success } else { Exit::Program })
}

/// Why the receipt is not valid, and in what the run differs.
fn check(args: &Args, receipt: &Receipt) -> Result<(Option<String>, Vec<Difference>), Failure> {
    let no = |reason: &str| Ok((Some(reason.to_owned()), Vec::new()));
    if let Some(key) = &args.signer {
        let key = dotvm_runtime::args::parse_hex(key.strip_prefix("0x").unwrap_or(key))
            .map_err(|problem| Failure::new(Exit::Usage, format!("--signer is no public key: {problem}")))?;
        if key[..] != receipt.public_key.0[..] {
            return no("another key has signed it");
        }
    }
    if !receipt.is_signed()? {
        return no("the signature is not that of its contents");
    }
    let run = &receipt.run;
    let signers = args.trust.signers()?;
    let database = match &args.db {
        Some(url) => store::open(url, Access::Read, args.wait.wait)?,
        None if run.version > 0 => {
            let sentence = format!("the run began at version {} of a store: --db PATH names it", run.version);
            return Err(Failure::new(Exit::Usage, sentence));
        }
        None => store::in_memory()?,
    };
    let program = match &args.module {
        Some(path) => {
            let program: Program = Input::read_trusted(path, None, &args.trust)?.program(path)?;
            if program.hash()[..] != run.module.0[..] {
                return no(&format!("it is about another module than {}", path.display()));
            }
            program
        }
        None => {
            let program = receipt::program_with(&database, &run.module.0)?;
            receipt::check_signer("the database", &program, signers.as_deref())?;
            program
        }
    };
    if let Some(reason) = other_code(&database, receipt)? {
        return no(&reason);
    }
    let nowhere = Box::new(|_, _: &[u8]| Ok(()));
    match receipt::again(&program, run, &database, signers, nowhere) {
        Ok((_, again)) => {
            let differences = run.differences(&again);
            let reason = (!differences.is_empty()).then(|| "the run differs".to_owned());
            Ok((reason, differences))
        }
        // The outside that the receipt tells of is not the one that the program asks for.
        Err(failure) if failure.exit == Exit::Outside => no(&failure.sentence),
        Err(failure) => Err(failure),
    }
}

/// Whether the contract had other code then than the receipt says.
fn other_code(database: &dotdb::Database, receipt: &Receipt) -> Result<Option<String>, Failure> {
    let run = &receipt.run;
    let found = database.begin_at(run.version)?.find_contract(&run.contract).map_err(RuntimeError::from)?;
    Ok(match found {
        Some((_, Some(code))) if code[..] != run.module.0[..] => {
            Some(format!("the contract {} had other code at version {}", run.contract, run.version))
        }
        _ => None,
    })
}
