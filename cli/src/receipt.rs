//! Recordings and receipts: their files, and doing again what they say.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, ValueHint};
use dotdb::commitment::Root;
use dotdb::{Database, Mode};
use dotvm_core::container::KEY_BYTES;
use dotvm_core::outcome::Invocation;
use dotvm_crypto::SignatureAlg;
use dotvm_runtime::{
    Execution, Options, Outside, OutsideCall, Program, Replay, Runtime, Stream, SystemError, audit,
    execute_again, show,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys::{self, Kind};
use crate::record::{HexBytes, RunRecord};
use crate::store;

/// A public key.
type Key = [u8; KEY_BYTES];

/// A recording: a run with its module.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// `dotvm recording 1`.
    format: String,
    /// The bytes of the module.
    module: HexBytes,
    /// The run.
    pub run: RunRecord,
}

/// A receipt: a run, signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// `dotvm receipt 1`.
    format: String,
    /// The run.
    pub run: RunRecord,
    /// The signer's ed25519 key.
    pub public_key: HexBytes,
    /// Of [`signed_bytes`].
    signature: HexBytes,
}

const RECORDING: &str = "dotvm recording 1";
const RECEIPT: &str = "dotvm receipt 1";

/// What a receipt's signature is of: the format, a line feed, and the run as JSON without spaces, its fields in the
/// order of the file format.
fn signed_bytes(run: &RunRecord) -> Result<Vec<u8>, Failure> {
    let mut bytes = format!("{RECEIPT}\n").into_bytes();
    serde_json::to_writer(&mut bytes, run).map_err(|error| Failure::unwritable("JSON", &error.into()))?;
    Ok(bytes)
}

impl Recording {
    /// A recording of a run of the module with these bytes.
    pub fn new(module: Bytes, run: RunRecord) -> Recording {
        Recording { format: RECORDING.to_owned(), module: HexBytes(module), run }
    }

    /// Reads a recording.
    pub fn read(path: &Path) -> Result<Recording, Failure> {
        let recording: Recording = read_json(path, "recording")?;
        check_format(path, &recording.format, RECORDING)?;
        Ok(recording)
    }

    /// Its program, signed by one of `signers` if there are any.
    pub fn program(&self, signers: Option<&[Key]>) -> Result<Program, Failure> {
        let program = Program::load(&self.module.0)?;
        check_signer("the recording", &program, signers)?;
        if program.hash()[..] != self.run.module.0[..] {
            return Err(Failure::new(Exit::Input, "the recording's module is not the one of its run"));
        }
        Ok(program)
    }
}

impl Receipt {
    /// Signs a run.
    pub fn new(run: RunRecord, secret_key: &[u8]) -> Result<Receipt, Failure> {
        let refused = |error| Failure::new(Exit::Input, error);
        let public_key = SignatureAlg::Ed25519.public_key(secret_key).map_err(refused)?;
        let signature = SignatureAlg::Ed25519.sign(secret_key, &signed_bytes(&run)?).map_err(refused)?;
        Ok(Receipt {
            format: RECEIPT.to_owned(),
            run,
            public_key: HexBytes(public_key.into()),
            signature: HexBytes(signature.into()),
        })
    }

    /// Reads a receipt.
    pub fn read(path: &Path) -> Result<Receipt, Failure> {
        let receipt: Receipt = read_json(path, "receipt")?;
        check_format(path, &receipt.format, RECEIPT)?;
        Ok(receipt)
    }

    /// Whether its signature is that of its key.
    pub fn is_signed(&self) -> Result<bool, Failure> {
        let signed = signed_bytes(&self.run)?;
        Ok(SignatureAlg::Ed25519.verify(&self.public_key.0, &signed, &self.signature.0))
    }
}

/// Holds who signed a program that was found in `place` against the keys that are required.
pub fn check_signer(place: &str, program: &Program, signers: Option<&[Key]>) -> Result<(), Failure> {
    let Some(trusted) = signers else { return Ok(()) };
    let name = &program.module().name;
    audit::check_signer(name, program.signer(), trusted)
        .map_err(|why| Failure::new(Exit::Input, format!("the module {name:?} of {place} is refused: {why}")))
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T, Failure> {
    let text = fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Exit::Input, format!("{} is no {what}: {error}", path.display())))
}

fn check_format(path: &Path, found: &str, expected: &str) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    let sentence =
        format!("{} is in the format {found:?}, and this program reads {expected:?}", path.display());
    Err(Failure::new(Exit::Input, sentence))
}

/// Writes a recording or a receipt.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| Failure::unwritable("JSON", &error.into()))?;
    text.push(b'\n');
    fs::write(path, text).map_err(|error| Failure::unwritable(path.display(), &error))
}

/// Takes what a replayed program writes.
pub type Sink = Box<dyn FnMut(Stream, &[u8]) -> Result<(), SystemError> + Send>;

/// Does a run again on the state as it was, without the outside, and writes down what came out.
pub fn again(
    program: &Program,
    run: &RunRecord,
    database: &Database,
    signers: Option<Vec<Key>>,
    sink: Sink,
) -> Result<(Execution, RunRecord), Failure> {
    repeat(program, run, signers, sink, |invocation, options| {
        let (execution, after) =
            execute_again(database, &run.contract, program, invocation, options, run.version)?;
        Ok((execution, (database.state_root(run.version)?, after)))
    })
}

/// Does again a run on an empty state, which can commit transactions of its own.
pub fn again_from_nothing(
    program: &Program,
    run: &RunRecord,
    signers: Option<Vec<Key>>,
    sink: Sink,
) -> Result<(Execution, RunRecord), Failure> {
    let runtime = Runtime::new(store::in_memory()?);
    repeat(program, run, signers, sink, |invocation, options| {
        let execution = runtime.run(&run.contract, program, invocation, options)?;
        let roots = roots(runtime.database(), &execution)?;
        Ok((execution, roots))
    })
}

/// Does a run again with the answers from outside that were written down. Contracts must be signed by one of `signers`, or
/// of those of the run if none are given.
fn repeat(
    program: &Program,
    run: &RunRecord,
    signers: Option<Vec<Key>>,
    sink: Sink,
    execute: impl FnOnce(&Invocation, &Options) -> Result<(Execution, (Root, Root)), Failure>,
) -> Result<(Execution, RunRecord), Failure> {
    let broken = |sentence| Failure::new(Exit::Input, format!("the record of the run is broken: {sentence}"));
    let calls = run.outside_calls().map_err(broken)?;
    let recorded = run.options().map_err(broken)?;
    let mut options = Options { outside: Outside::new(Replay::new(calls.clone(), sink)), ..recorded };
    if signers.is_some() {
        options.signers = signers;
    }
    let invocation = run.invocation();
    let (execution, roots) = execute(&invocation, &options)?;
    let mut record = RunRecord::new(program, &run.contract, &invocation, &options, &calls, &execution, roots)
        .map_err(unwritten)?;
    // What is required now is no part of what happened then.
    record.signers = run.signers.clone();
    Ok((execution, record))
}

fn unwritten(sentence: String) -> Failure {
    Failure::new(Exit::Output, sentence)
}

/// The roots of the state before and after an execution.
pub fn roots(database: &Database, execution: &Execution) -> Result<(Root, Root), Failure> {
    Ok((database.state_root(execution.version_before)?, database.state_root(execution.version_after)?))
}

/// The code with a hash that a database keeps.
fn code_with(database: &Database, hash: &[u8]) -> Result<Bytes, Failure> {
    let key = hash.try_into().map_err(|_| Failure::new(Exit::Input, "the module's hash has not 32 bytes"))?;
    let mut tx = database.begin(Mode::ReadOnly)?;
    tx.code(&key)?.ok_or_else(|| {
        let hash = show::hex(hash);
        Failure::new(
            Exit::Input,
            format!("the database keeps no code with the hash {hash}: --module FILE gives it"),
        )
    })
}

/// The program with a hash, from the code that a database keeps.
pub fn program_with(database: &Database, hash: &[u8]) -> Result<Program, Failure> {
    Ok(Program::load(&code_with(database, hash)?)?)
}

/// What is written down of a run.
#[derive(Args)]
pub struct RecordOptions {
    /// Write the run down, with all that it gets from outside, for `dotvm replay`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Records")]
    record: Option<PathBuf>,

    /// Write a signed receipt, for `dotvm verify-receipt`
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        requires = "sign_key",
        help_heading = "Records"
    )]
    receipt: Option<PathBuf>,

    /// The key that signs the receipt, as `dotvm keygen` makes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "receipt", help_heading = "Records")]
    sign_key: Option<PathBuf>,
}

/// A run that has come to its end, and what there is to write down about it.
pub struct Ended<'a> {
    pub program: &'a Program,
    pub contract: &'a str,
    pub invocation: &'a Invocation,
    pub options: &'a Options,
    pub calls: &'a [OutsideCall],
    pub execution: &'a Execution,
    pub database: &'a Database,
}

impl RecordOptions {
    /// Whether anything is to be written down.
    pub fn is_on(&self) -> bool {
        self.record.is_some() || self.receipt.is_some()
    }

    /// The key that signs; read before anything runs.
    pub fn key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let key = self.sign_key.as_deref().map(|path| keys::read(path, Kind::Signing)).transpose()?;
        Ok(key.map(|key| Zeroizing::new(key.to_vec())))
    }

    /// Writes down what was asked for. `module` is the module's file where the database does not keep it.
    pub fn write(&self, run: &Ended<'_>, module: Option<&[u8]>, key: Option<&[u8]>) -> Result<(), Failure> {
        if !self.is_on() {
            return Ok(());
        }
        let roots = roots(run.database, run.execution)?;
        let Ended { program, contract, invocation, options, calls, execution, .. } = *run;
        let record = RunRecord::new(program, contract, invocation, options, calls, execution, roots)
            .map_err(unwritten)?;
        if let Some((path, key)) = self.receipt.as_deref().zip(key) {
            write_json(path, &Receipt::new(record.clone(), key)?)?;
        }
        if let Some(path) = &self.record {
            let module = match module {
                Some(module) => Bytes::copy_from_slice(module),
                None => code_with(run.database, program.hash())?,
            };
            write_json(path, &Recording::new(module, record))?;
        }
        Ok(())
    }
}
