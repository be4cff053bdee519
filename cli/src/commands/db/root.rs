//! `db root`, `prove` and `verify-proof`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use dotdb::commitment::{MAX_PROOF_VALUE_BYTES, Proof, Root};
use dotdb::{Database, Place as StorePlace, document, slot_key};
use dotvm_runtime::show;
use serde::Serialize;

use super::place::{Place, Source, find, record_key, slot_bytes};
use super::row::number_text;
use super::{ReadOptions, versions};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::report::BytesReport;
use crate::store::Access;

/// Show the root hash of the state, by which a proof is verified
#[derive(clap::Args)]
pub(super) struct RootArgs {
    /// The version: its number or name [default: the current one]
    #[arg(long, value_name = "VERSION", conflicts_with = "enable")]
    at: Option<String>,
    /// Keep a state root from now on, in a database that was made without one: earlier versions are forgotten
    #[arg(long)]
    enable: bool,
    #[command(flatten)]
    store: StoreOption,
}

/// Prove what a slot or a record holds, or that it is not there
///
/// Whoever knows the root of the state can verify the proof without the database (`db verify-proof`).
#[derive(clap::Args)]
pub(super) struct ProveArgs {
    /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
    #[arg(value_name = "PLACE")]
    place: Place,
    /// The slot's number, or the record's key: text, 0x…, @FILE or text:…
    key: String,
    /// Where to write the proof: as JSON to a name with .json, else as bytes [default: JSON to standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    #[command(flatten)]
    read: ReadOptions,
}

/// Verify a proof against a root: no database is needed
///
/// Exit code 0 if the state with this root holds what the proof says, 1 if that does not follow.
#[derive(clap::Args)]
pub(super) struct VerifyProofArgs {
    /// The proof, as JSON or bytes; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The root: 64 hexadecimal digits, as `db root` shows it
    #[arg(long, value_name = "HEX")]
    root: Root,
}

#[derive(Serialize)]
struct RootReport {
    status: &'static str,
    version: u64,
    root: String,
}

pub(super) fn root(args: &RootArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = if args.enable {
        Database::add_state_root(args.store.open_store(Access::Write)?)?
    } else {
        args.store.open(Access::Read)?
    };
    let version = match &args.at {
        Some(at) => versions::find(&database, at)?,
        None => database.version(),
    };
    let root = database.state_root(version)?.to_string();
    if json {
        output.print_json(&RootReport { status: "ok", version, root })?;
    } else {
        output.print(&format!("{root}\n"))?;
    }
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct ProofReport<'a> {
    status: &'static str,
    root: String,
    proof: &'a Proof,
}

pub(super) fn prove(args: &ProveArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (_, mut tx) = args.read.begin()?;
    let (root, proof) = match find(&mut tx, &args.place)? {
        Source::Slots(contract) => tx.prove(&slot_key(contract.id, &slot_bytes(&args.key)?)?)?,
        Source::Records(collection, _) => tx.prove_record(collection, &record_key(&args.key)?)?,
    };
    let unwritable = |error: serde_json::Error| Failure::unwritable("the proof", &error.into());
    if let Some(path) = &args.output {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let bytes = if is_json {
            (serde_json::to_string_pretty(&proof).map_err(unwritable)? + "\n").into_bytes()
        } else {
            proof.to_bytes()
        };
        fs::write(path, bytes).map_err(|error| Failure::unwritable(path.display(), &error))?;
    }
    if json {
        output.print_json(&ProofReport { status: "ok", root: root.to_string(), proof: &proof })?;
    } else if args.output.is_none() {
        output.print(&format!("{}\n", serde_json::to_string_pretty(&proof).map_err(unwritable)?))?;
    }
    if !json {
        let what = if proof.claimed_value().is_some() { "holds" } else { "does not hold" };
        output.remark(&format!("proves that the state with the root {root} {what} it"));
    }
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct VerifiedReport {
    status: &'static str,
    root: String,
    /// What the key of the state is, for people.
    place: String,
    /// The key of the state.
    key: BytesReport,
    /// Null if the state has no such key.
    value: Option<BytesReport>,
}

/// Longest proof that is read, bytes: of the longest value in JSON, and the rest.
const MAX_FILE_BYTES: u64 = 2 * MAX_PROOF_VALUE_BYTES as u64 + (1 << 20);

pub(super) fn verify(args: &VerifyProofArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (proof, name) = read(&args.file)?;
    let verified = proof
        .verify(&args.root)
        .map_err(|error| Failure::new(Exit::Program, format!("{name} proves nothing: {error}")))?;
    let (place, value) = described(&verified.key, verified.value.as_deref())?;
    if json {
        output.print_json(&VerifiedReport {
            status: "ok",
            root: args.root.to_string(),
            place,
            key: BytesReport::new(&verified.key),
            value: verified.value.as_deref().map(BytesReport::new),
        })?;
    } else {
        let value = value.map_or("is not there".to_owned(), |value| format!("is {value}"));
        output.print(&format!("{place} {value}\n"))?;
    }
    Ok(Exit::Success)
}

/// The proof in a file, which is JSON if it begins so, and the file's name.
fn read(path: &Path) -> Result<(Proof, String), Failure> {
    let (bytes, name) = if path.as_os_str() == "-" {
        (limited(std::io::stdin().lock()), "standard input".to_owned())
    } else {
        (fs::File::open(path).and_then(limited), path.display().to_string())
    };
    let bytes = bytes.map_err(|error| Failure::unreadable(Path::new(&name), &error))?;
    let refused = |problem: String| Failure::new(Exit::Input, format!("{name}: {problem}"));
    let proof = match bytes.first() {
        Some(b'{') => serde_json::from_slice::<Proof>(&bytes).map_err(|error| refused(error.to_string()))?,
        _ => Proof::from_bytes(&bytes).map_err(|error| refused(error.to_string()))?,
    };
    Ok((proof, name))
}

fn limited(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a key of the state and its value are, for people. A proof has numbers of contracts and collections, no names.
fn described(key: &bytes::Bytes, value: Option<&[u8]>) -> Result<(String, Option<String>), Failure> {
    let is_map = |value: &[u8]| value.first().is_some_and(|byte| byte >> 5 == 5);
    Ok(match StorePlace::of(key) {
        StorePlace::Slot { contract, key } => {
            let place = format!("slot {} of contract {}", number_text(&key)?, contract.0);
            (place, value.map(number_text).transpose()?)
        }
        StorePlace::Record { collection, key } => {
            // Maps are taken for documents: few other byte strings can be read as one.
            let text = value.map(|value| match document::to_json(value) {
                Ok(json) if is_map(value) => json,
                _ => show::bytes(value),
            });
            (format!("record {} of collection {collection}", show::bytes(&key)), text)
        }
        _ => (format!("the key {}", show::bytes(key)), value.map(show::bytes)),
    })
}
