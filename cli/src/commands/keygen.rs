//! `dotvm keygen`.

use std::path::PathBuf;

use clap::ValueHint;
use dotvm_core::container::{KEY_BYTES, key_id};
use dotvm_core::crypto::SignatureAlg;
use dotvm_runtime::show::hex;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys::{self, Kind};
use crate::output::Output;

/// Make a key, to sign modules or to encrypt them
///
/// The secret key goes into a new file that only its owner may read. Of a signing key the public key is shown, which
/// `--require-signed-by` takes; of an encryption key its number, by which sealed modules name it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file for the secret key, which must not be there yet
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Make a key that encrypts (AES-256-GCM) instead of one that signs (Ed25519)
    #[arg(long)]
    encryption: bool,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    file: String,
    kind: &'static str,
    /// Of a signing key.
    public_key: Option<String>,
    /// Of an encryption key.
    key_id: Option<String>,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key)
        .map_err(|error| Failure::new(Exit::Input, format!("the system gives no random bytes: {error}")))?;
    let kind = if args.encryption { Kind::Encryption } else { Kind::Signing };
    let (public_key, id) = if args.encryption {
        (None, Some(hex(&key_id(&key))))
    } else {
        let public =
            SignatureAlg::Ed25519.public_key(&key).map_err(|error| Failure::new(Exit::Input, error))?;
        (Some(hex(&public)), None)
    };
    keys::write(&args.file, kind, &key)?;
    let shown = public_key.clone().or_else(|| id.clone()).unwrap_or_default();
    let file = args.file.display().to_string();
    let report = Report { status: "ok", file, kind: kind.word(), public_key, key_id: id };
    if args.json {
        output.print_json(&report)?;
    } else {
        output.print(&format!("{shown}\n"))?;
    }
    Ok(Exit::Success)
}
