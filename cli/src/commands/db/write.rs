//! `db put` and `db delete`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dotdb::{Database, Durability, Mode, ValueKind, document};
use dotvm_arch::Word;
use dotvm_core::outcome::Ref;
use dotvm_runtime::args::parse_reference;
use serde::Serialize;

use super::open_or_make;
use super::place::{Place, Source, find, record_key, slot_bytes, slot_key};
use super::read::no_record;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;

/// Longest text of a document, bytes: what is written with many escapes gets shorter.
const MAX_TEXT_BYTES: u64 = 4 * dotdb::MAX_VALUE_BYTES as u64;

/// Put a record into a collection, or set a slot of a contract
///
/// Contract and collection are made if they are not there, and so is the store; a new collection keeps documents
/// unless --bytes is given.
#[derive(clap::Args)]
pub(super) struct PutArgs {
    /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
    #[arg(value_name = "PLACE")]
    place: Place,
    /// The slot's number, or the record's key: text, 0x…, @FILE or text:…
    key: String,
    /// A document: JSON, @FILE or - for standard input; bytes: text, 0x…, @FILE or text:…; a slot: a number
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// The collection keeps byte strings, if it is new
    #[arg(long)]
    bytes: bool,
    #[command(flatten)]
    store: StoreOption,
}

/// Remove a record from a collection, or a slot of a contract
#[derive(clap::Args)]
pub(super) struct DeleteArgs {
    /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
    #[arg(value_name = "PLACE")]
    place: Place,
    /// The slot's number, or the record's key: text, 0x…, @FILE or text:…
    key: String,
    #[command(flatten)]
    store: StoreOption,
}

/// The JSON of a change.
#[derive(Serialize)]
pub(super) struct Changed {
    status: &'static str,
    /// The version that the state has now.
    version: u64,
    /// Whether something was there before.
    replaced: bool,
}

pub(super) fn put(args: &PutArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let source = match &args.place.collection {
        Some(_) if !args.bytes => read_text(&args.value)?,
        _ => String::new(),
    };
    let put = |database: &Database| put_into(database, args, &source);
    let database = open_or_make(&args.store, |database| put(database).map(drop))?;
    let (version, replaced) = put(&database)?;
    if json {
        output.print_json(&Changed { status: "ok", version, replaced })?;
    } else {
        output.remark(&format!("{} at version {version}", if replaced { "replaced" } else { "put" }));
    }
    Ok(Exit::Success)
}

fn put_into(database: &Database, args: &PutArgs, source: &str) -> Result<(u64, bool), Failure> {
    let mut tx = database.begin(Mode::ReadWrite)?;
    let contract = tx.contract_id(&args.place.contract)?;
    let replaced = match &args.place.collection {
        None => {
            let key = slot_bytes(&args.key)?;
            let mut buffer = [0; 64];
            let value = slot_key(&args.value)?.to_be_trimmed(&mut buffer).to_vec();
            let replaced = tx.slot_exists(contract, &key)?;
            tx.slot_set(contract, &key, &value)?;
            replaced
        }
        Some(name) => {
            let new = if args.bytes { ValueKind::Bytes } else { ValueKind::Document };
            let kind = tx.collection_kind(contract, name)?.unwrap_or(new);
            let kind = if args.bytes { new } else { kind };
            let collection = tx.collection(contract, name, kind)?;
            let value = match kind {
                ValueKind::Document => document_of(&args.value, source)?,
                ValueKind::Bytes => match parse_reference(&args.value)? {
                    Ref::Bytes(bytes) => bytes.to_vec(),
                    _ => {
                        let problem = format!("{0} is no value: the text is text:{0}", args.value);
                        return Err(Failure::new(Exit::Usage, problem));
                    }
                },
            };
            tx.put(collection, &record_key(&args.key)?, value)?
        }
    };
    Ok((tx.commit(Durability::Sync)?, replaced))
}

/// The text that an argument stands for: itself, @FILE's, or - for standard input's.
pub(super) fn read_text(argument: &str) -> Result<String, Failure> {
    let (path, bytes) = match argument.strip_prefix('@') {
        _ if argument == "-" => (Path::new("standard input"), read_all(std::io::stdin().lock())),
        Some(path) => (Path::new(path), File::open(path).and_then(read_all)),
        None => return Ok(argument.to_owned()),
    };
    let bytes = bytes.map_err(|error| Failure::unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        let sentence = format!("{} has more than {MAX_TEXT_BYTES} bytes", path.display());
        return Err(Failure::new(Exit::Input, sentence));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
        let sentence = format!("{} is not UTF-8 text from line {line} on", path.display());
        Failure::new(Exit::Input, sentence)
    })
}

fn read_all(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a text that is too long.
    reader.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn document_of(argument: &str, text: &str) -> Result<Vec<u8>, Failure> {
    document::from_json(text).map_err(|error| {
        let what = match argument.strip_prefix('@') {
            _ if argument == "-" => "standard input".to_owned(),
            Some(path) => path.to_owned(),
            None => "the value".to_owned(),
        };
        Failure::new(Exit::Input, format!("{what} is not a document in JSON: {error}"))
    })
}

pub(super) fn delete(args: &DeleteArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Write)?;
    let mut tx = database.begin(Mode::ReadWrite)?;
    match find(&mut tx, &args.place)? {
        Source::Slots(contract) => {
            if !tx.slot_delete(contract.id, &slot_bytes(&args.key)?)? {
                let sentence = format!("slot {} of {} holds nothing", args.key, args.place);
                return Err(Failure::new(Exit::Program, sentence));
            }
        }
        Source::Records(collection, _) => {
            let key = record_key(&args.key)?;
            if !tx.delete(collection, &key)? {
                return Err(no_record(&key));
            }
        }
    }
    let version = tx.commit(Durability::Sync)?;
    if json {
        output.print_json(&Changed { status: "ok", version, replaced: true })?;
    } else {
        output.remark(&format!("deleted at version {version}"));
    }
    Ok(Exit::Success)
}
