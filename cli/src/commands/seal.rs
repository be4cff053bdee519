//! `dotvm seal` and `dotvm unseal`.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use dotvm_core::container::{Wrapping, content_hash, wrap};
use dotvm_runtime::show::hex;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::keys::{self, Kind, TrustOptions};
use crate::output::Output;

/// Compress, encrypt or sign a module so that it can travel
///
/// The module inside stays what it is, and so does its hash. `run`, `deploy`, `verify` and `disasm` take sealed modules.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Module (.dotvm), sealed or not, or source text (.dasm); - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Where the sealed module goes
    #[arg(long, short, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: PathBuf,

    /// Compress it (LZ4)
    #[arg(long)]
    compress: bool,

    /// Encrypt it under the key in this file (AES-256-GCM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    encrypt_with: Option<PathBuf>,

    /// Sign it with the secret key in this file (Ed25519)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sign_with: Option<PathBuf>,

    #[command(flatten)]
    trust: TrustOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

/// Take a module out of its seal
///
/// What comes out is the module as it was sealed, byte for byte, if nothing was changed on the way.
#[derive(clap::Args)]
pub(crate) struct UnsealArgs {
    /// Sealed module (.dotvm); - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Where the module goes
    #[arg(long, short, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: PathBuf,

    #[command(flatten)]
    trust: TrustOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    output: String,
    /// Bytes of the file that was written.
    bytes: usize,
    /// Hash of the module inside.
    hash: String,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    if !args.compress && args.encrypt_with.is_none() && args.sign_with.is_none() {
        return Err(Failure::new(
            Exit::Usage,
            "nothing to do: give --compress, --encrypt-with or --sign-with",
        ));
    }
    let input = Input::read_trusted(&args.file, None, &args.trust)?;
    let encrypt_with =
        args.encrypt_with.as_ref().map(|path| keys::read(path, Kind::Encryption)).transpose()?;
    let sign_with = args.sign_with.as_ref().map(|path| keys::read(path, Kind::Signing)).transpose()?;
    let wrapping = Wrapping {
        compress: args.compress,
        encrypt_with: encrypt_with.as_ref(),
        sign_with: sign_with.as_ref(),
    };
    let sealed = wrap(&input.bytes, &wrapping).map_err(|error| Failure::new(Exit::Input, error))?;
    put(&args.output, &sealed, &input.bytes, args.json, output)
}

pub(super) fn unseal(args: &UnsealArgs, output: &Output) -> Result<Exit, Failure> {
    let input = Input::read_trusted(&args.file, None, &args.trust)?;
    put(&args.output, &input.bytes, &input.bytes, args.json, output)
}

/// Writes a file and says so.
fn put(target: &Path, bytes: &[u8], module: &[u8], json: bool, output: &Output) -> Result<Exit, Failure> {
    std::fs::write(target, bytes).map_err(|error| Failure::unwritable(target.display(), &error))?;
    let report = Report {
        status: "ok",
        output: target.display().to_string(),
        bytes: bytes.len(),
        hash: hex(&content_hash(module)),
    };
    if json {
        output.print_json(&report)?;
    } else {
        output.remark(&format!("{}: {} bytes, module {}", report.output, report.bytes, report.hash));
    }
    Ok(Exit::Success)
}
