//! `dotvm replay`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueHint;
use dotvm_runtime::{Stream, SystemError};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys::SignerOptions;
use crate::options::WaitOption;
use crate::output::Output;
use crate::receipt::{self, Recording, Sink};
use crate::report::Report;
use crate::store::{self, Access, StoreUrl};

/// Do a recorded run again, without console, clocks and the rest of the outside
///
/// Shows what `run` or `call` has shown, the same results, gas, events and state root, or says where the run comes apart
/// from the recorded one. Nothing is changed: a run on a store is done again on the state as it was before.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The recording, as --record of run or call has written it
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The store, if the recorded run had one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    db: Option<StoreUrl>,

    #[command(flatten)]
    wait: WaitOption,

    #[command(flatten)]
    trust: SignerOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let recording = Recording::read(&args.file)?;
    let signers = args.trust.signers()?;
    let program = recording.program(signers.as_deref())?;
    let recorded = &recording.run;
    let written: Arc<Mutex<[Vec<u8>; 2]>> = Arc::default();
    let sink = sink(args.json, Arc::clone(&written));
    let (execution, again) = match &args.db {
        Some(url) => {
            let database = store::open(url, Access::Read, args.wait.wait)?;
            receipt::again(&program, recorded, &database, signers, sink)?
        }
        None if recorded.version > 0 => {
            let sentence = format!(
                "the recorded run began at version {} of a store: --db PATH names it",
                recorded.version
            );
            return Err(Failure::new(Exit::Usage, sentence));
        }
        None => receipt::again_from_nothing(&program, recorded, signers, sink)?,
    };
    if let Some(difference) = recorded.differences(&again).first() {
        let sentence = format!("the run comes apart from the recorded one: {difference}");
        return Err(Failure::new(Exit::Outside, sentence));
    }
    let root = again.root_after.parse().ok().filter(|_| execution.committed);
    let console =
        args.json.then(|| std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner)));
    Report { module: program.module(), source: None, execution: &execution, root, console, machine: None }
        .print(args.json, output)
}

/// Shows what the program writes, or keeps it for JSON.
pub(super) fn sink(keeps: bool, written: Arc<Mutex<[Vec<u8>; 2]>>) -> Sink {
    Box::new(move |stream, bytes| {
        let shown = match (keeps, stream) {
            (true, _) => {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                written[usize::from(stream == Stream::Error)].extend_from_slice(bytes);
                return Ok(());
            }
            (false, Stream::Output) => {
                let mut output = io::stdout().lock();
                output.write_all(bytes).and_then(|()| output.flush())
            }
            (false, Stream::Error) => io::stderr().lock().write_all(bytes),
        };
        match shown {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(SystemError(format!("what the program writes cannot be shown: {error}")))
            }
            _ => Ok(()),
        }
    })
}
