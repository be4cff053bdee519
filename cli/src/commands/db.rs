//! `dotvm db`: what a store holds, opened for reading only.

use std::ops::Bound;

use clap::Subcommand;
use dotdb::{CollectionId, Contract, Database, Direction, Mode, Tx, ValueKind, document};
use dotvm_arch::{W512, Word};
use dotvm_core::outcome::Ref;
use dotvm_runtime::args::{nearest, parse_reference};
use dotvm_runtime::show::{self, hex};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::{StoreOption, parse_wide};
use crate::output::Output;
use crate::report::BytesReport;
use crate::store::Access;

/// Look into a store, which is opened for reading only
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: DbCommand,

    /// Answer with one JSON object
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Subcommand)]
enum DbCommand {
    /// List contracts and their collections
    Ls {
        #[command(flatten)]
        store: StoreOption,
    },
    /// Show a slot of a contract, or a record of a collection
    ///
    /// Documents are shown as JSON, other values as text or in hexadecimal.
    Get {
        /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
        #[arg(value_name = "WHERE")]
        place: Place,
        /// The slot's number, or the record's key: text, 0x…, @FILE or text:…
        key: String,
        #[command(flatten)]
        store: StoreOption,
    },
    /// List the slots of a contract, or the records of a collection, in the order of their keys
    Scan {
        /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
        #[arg(value_name = "WHERE")]
        place: Place,
        /// First key
        #[arg(long, value_name = "KEY")]
        from: Option<String>,
        /// First key that is not listed any more
        #[arg(long, value_name = "KEY")]
        to: Option<String>,
        /// From the greatest key to the smallest
        #[arg(long)]
        reverse: bool,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        store: StoreOption,
    },
    /// Count what the store holds
    Stats {
        #[command(flatten)]
        store: StoreOption,
    },
}

/// `CONTRACT` or `CONTRACT/COLLECTION`.
#[derive(Clone, Debug)]
struct Place {
    contract: String,
    collection: Option<String>,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (contract, collection) = match text.split_once('/') {
            Some((contract, collection)) => (contract, Some(collection.to_owned())),
            None => (text, None),
        };
        if contract.is_empty() || collection.as_ref().is_some_and(String::is_empty) {
            return Err("this is neither CONTRACT nor CONTRACT/COLLECTION".to_owned());
        }
        Ok(Place { contract: contract.to_owned(), collection })
    }
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let open = |store: &StoreOption| store.open(Access::Read);
    match &args.command {
        DbCommand::Ls { store } => ls(&open(store)?, args.json, output),
        DbCommand::Get { place, key, store } => get(&open(store)?, place, key, args.json, output),
        DbCommand::Scan { place, from, to, reverse, limit, store } => {
            let range = Range {
                from: from.as_deref(),
                to: to.as_deref(),
                reverse: *reverse,
                limit: limit.unwrap_or(usize::MAX),
            };
            scan(&open(store)?, place, &range, args.json, output)
        }
        DbCommand::Stats { store } => stats(&open(store)?, args.json, output),
    }
}

#[derive(Serialize)]
struct Listing {
    status: &'static str,
    contracts: Vec<ContractReport>,
}

#[derive(Serialize)]
struct ContractReport {
    name: String,
    number: u32,
    /// Hash of its code, if it was deployed.
    code: Option<String>,
    collections: Vec<CollectionReport>,
}

#[derive(Serialize)]
struct CollectionReport {
    name: String,
    /// `bytes` or `doc`.
    kind: &'static str,
    records: u64,
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bytes => "bytes",
        ValueKind::Document => "doc",
    }
}

fn ls(database: &Database, json: bool, output: &Output) -> Result<Exit, Failure> {
    let mut tx = database.begin(Mode::ReadOnly)?;
    let collections = tx.collections()?;
    let contracts = tx.contracts()?.into_iter().map(|contract| ContractReport {
        number: contract.id.0,
        code: contract.code.as_ref().map(|hash| hex(hash)),
        collections: collections
            .iter()
            .filter(|collection| collection.contract == contract.id)
            .map(|collection| CollectionReport {
                name: collection.name.clone(),
                kind: kind_name(collection.kind),
                records: collection.count,
            })
            .collect(),
        name: contract.name,
    });
    let listing = Listing { status: "ok", contracts: contracts.collect() };
    if json {
        output.print_json(&listing)?;
        return Ok(Exit::Success);
    }
    let mut lines = Vec::new();
    for contract in &listing.contracts {
        let code = match &contract.code {
            Some(hash) => format!("code {hash}"),
            None => "not deployed".to_owned(),
        };
        lines.push(format!("{}  {code}", contract.name));
        for collection in &contract.collections {
            lines.push(format!(
                "{}/{}  {}, {} record{}",
                contract.name,
                collection.name,
                collection.kind,
                collection.records,
                if collection.records == 1 { "" } else { "s" }
            ));
        }
    }
    if lines.is_empty() {
        output.remark("the store holds no contracts");
    }
    output.print_lines(lines.into_iter().map(Ok))?;
    Ok(Exit::Success)
}

/// Slots of a contract or records of a collection.
enum Source {
    Slots(Contract),
    Records(CollectionId, ValueKind),
}

fn find(tx: &mut Tx, place: &Place) -> Result<Source, Failure> {
    let Some(contract) = tx.contract(&place.contract)? else {
        let names: Vec<String> = tx.contracts()?.into_iter().map(|contract| contract.name).collect();
        return Err(unknown("contract", &place.contract, "", &names));
    };
    let Some(name) = &place.collection else { return Ok(Source::Slots(contract)) };
    let Some(kind) = tx.collection_kind(contract.id, name)? else {
        let collections = tx.collections()?.into_iter();
        let own = collections.filter(|collection| collection.contract == contract.id);
        let names: Vec<String> = own.map(|collection| collection.name).collect();
        return Err(unknown("collection", name, &format!(" in {}", contract.name), &names));
    };
    Ok(Source::Records(tx.collection(contract.id, name, kind)?, kind))
}

fn unknown(what: &str, name: &str, place: &str, names: &[String]) -> Failure {
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(nearest) => format!(": did you mean {nearest:?}?"),
        None => String::new(),
    };
    Failure::new(Exit::Database, format!("there is no {what} named {name:?}{place}{hint}"))
}

/// A key and its value.
#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Slot { key: String, value: String },
    Bytes { key: BytesReport, value: BytesReport },
    Document { key: BytesReport, value: Box<RawValue> },
}

impl Row {
    fn slot(key: &[u8], value: &[u8]) -> Result<Row, Failure> {
        let number = |bytes: &[u8]| match <W512 as Word>::from_be_slice(bytes) {
            Some(word) => Ok(word.to_string()),
            None => Err(Failure::new(Exit::Database, "the store is damaged: a slot has more than 512 bits")),
        };
        Ok(Row::Slot { key: number(key)?, value: number(value)? })
    }

    fn record(kind: ValueKind, key: &[u8], value: &[u8]) -> Result<Row, Failure> {
        let key = BytesReport::new(key);
        match kind {
            ValueKind::Bytes => Ok(Row::Bytes { key, value: BytesReport::new(value) }),
            ValueKind::Document => {
                let json = json_of(value)?;
                let value = RawValue::from_string(json).map_err(|error| Failure::new(Exit::Output, error))?;
                Ok(Row::Document { key, value })
            }
        }
    }
}

fn json_of(document: &[u8]) -> Result<String, Failure> {
    document::to_json(document).map_err(|error| {
        Failure::new(Exit::Database, format!("the store is damaged: a record is no document: {error}"))
    })
}

fn record_text(kind: ValueKind, value: &[u8]) -> Result<String, Failure> {
    match kind {
        ValueKind::Bytes => Ok(show::bytes(value)),
        ValueKind::Document => json_of(value),
    }
}

fn record_key(text: &str) -> Result<Vec<u8>, Failure> {
    match parse_reference(text)? {
        Ref::Bytes(key) => Ok(key.to_vec()),
        Ref::Null => Err(Failure::new(Exit::Usage, "null is no key: the text is text:null")),
    }
}

fn slot_key(text: &str) -> Result<W512, Failure> {
    parse_wide(text).map_err(|error| Failure::new(Exit::Usage, error))
}

#[derive(Serialize)]
struct Found {
    status: &'static str,
    #[serde(flatten)]
    row: Row,
}

fn get(database: &Database, place: &Place, key: &str, json: bool, output: &Output) -> Result<Exit, Failure> {
    let mut tx = database.begin(Mode::ReadOnly)?;
    let (text, row) = match find(&mut tx, place)? {
        Source::Slots(contract) => {
            let mut buffer = [0; 64];
            let key = slot_key(key)?.to_be_trimmed(&mut buffer).to_vec();
            let value = tx.slot_get(contract.id, &key)?;
            let row = Row::slot(&key, value.as_bytes())?;
            let Row::Slot { value, .. } = &row else { return Err(Failure::new(Exit::Output, "no slot")) };
            (value.clone(), row)
        }
        Source::Records(collection, kind) => {
            let bytes = record_key(key)?;
            let Some(value) = tx.get(collection, &bytes)? else {
                let sentence = format!("there is no record {} in the collection", show::bytes(&bytes));
                return Err(Failure::new(Exit::Program, sentence));
            };
            (record_text(kind, &value)?, Row::record(kind, &bytes, &value)?)
        }
    };
    if json {
        output.print_json(&Found { status: "ok", row })?;
    } else {
        output.print(&format!("{text}\n"))?;
    }
    Ok(Exit::Success)
}

struct Range<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
    reverse: bool,
    limit: usize,
}

#[derive(Serialize)]
struct Rows {
    status: &'static str,
    rows: Vec<Row>,
}

type Pair = Result<(Vec<u8>, Vec<u8>), Failure>;

fn scan(
    database: &Database,
    place: &Place,
    range: &Range,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut tx = database.begin(Mode::ReadOnly)?;
    let source = find(&mut tx, place)?;
    let pairs: Box<dyn Iterator<Item = Pair> + '_> = match &source {
        Source::Slots(contract) => slots(&mut tx, contract, range)?,
        Source::Records(collection, _) => records(&mut tx, *collection, range)?,
    };
    let pairs = pairs.take(range.limit);
    if json {
        let rows = pairs.map(|pair| {
            let (key, value) = pair?;
            match &source {
                Source::Slots(_) => Row::slot(&key, &value),
                Source::Records(_, kind) => Row::record(*kind, &key, &value),
            }
        });
        output.print_json(&Rows { status: "ok", rows: rows.collect::<Result<_, _>>()? })?;
    } else {
        output.print_lines(pairs.map(|pair| {
            let (key, value) = pair?;
            match &source {
                Source::Slots(_) => match Row::slot(&key, &value)? {
                    Row::Slot { key, value } => Ok(format!("{key}  {value}")),
                    Row::Bytes { .. } | Row::Document { .. } => Ok(String::new()),
                },
                Source::Records(_, kind) => {
                    Ok(format!("{}  {}", show::bytes(&key), record_text(*kind, &value)?))
                }
            }
        }))?;
    }
    Ok(Exit::Success)
}

fn slots<'a>(
    tx: &mut Tx,
    contract: &Contract,
    range: &Range,
) -> Result<Box<dyn Iterator<Item = Pair> + 'a>, Failure> {
    let from = range.from.map(slot_key).transpose()?.unwrap_or(W512::ZERO);
    let to = range.to.map(slot_key).transpose()?;
    let pairs = tx
        .slots(contract.id)?
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(Failure::from))
        .filter(move |pair| match pair {
            Ok((key, _)) => <W512 as Word>::from_be_slice(key)
                .is_none_or(|key| from <= key && to.is_none_or(|to| key < to)),
            Err(_) => true,
        });
    if range.reverse {
        let mut pairs: Vec<Pair> = pairs.collect();
        pairs.reverse();
        return Ok(Box::new(pairs.into_iter()));
    }
    Ok(Box::new(pairs))
}

fn records<'a>(
    tx: &'a mut Tx,
    collection: CollectionId,
    range: &Range,
) -> Result<Box<dyn Iterator<Item = Pair> + 'a>, Failure> {
    let from = range.from.map(record_key).transpose()?;
    let to = range.to.map(record_key).transpose()?;
    let from = from.as_deref().map_or(Bound::Unbounded, Bound::Included);
    let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let direction = if range.reverse { Direction::Backward } else { Direction::Forward };
    let cursor = tx.scan(collection, from, to, direction)?;
    let mut failed = false;
    Ok(Box::new(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let pair = tx.next(cursor).transpose()?;
        failed = pair.is_err();
        Some(pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(Failure::from))
    })))
}

#[derive(Serialize)]
struct Stats {
    status: &'static str,
    backend: &'static str,
    contracts: usize,
    slots: u64,
    collections: usize,
    records: u64,
    keys: u64,
    live_bytes: u64,
    file_bytes: Option<u64>,
}

fn stats(database: &Database, json: bool, output: &Output) -> Result<Exit, Failure> {
    let mut tx = database.begin(Mode::ReadOnly)?;
    let store = database.stats()?;
    let contracts = tx.contracts()?;
    let collections = tx.collections()?;
    let mut slots = 0;
    for contract in &contracts {
        for slot in tx.slots(contract.id)? {
            slot?;
            slots += 1;
        }
    }
    let stats = Stats {
        status: "ok",
        backend: store.backend,
        contracts: contracts.len(),
        slots,
        collections: collections.len(),
        records: collections.iter().map(|collection| collection.count).sum(),
        keys: store.keys,
        live_bytes: store.live_bytes,
        file_bytes: store.file_bytes,
    };
    if json {
        output.print_json(&stats)?;
        return Ok(Exit::Success);
    }
    let file = stats.file_bytes.map(|bytes| format!("file         {bytes} bytes\n")).unwrap_or_default();
    output.print(&format!(
        "backend      {}\ncontracts    {}\nslots        {}\ncollections  {}\nrecords      {}\n\
         keys         {}\nlive data    {} bytes\n{file}",
        stats.backend,
        stats.contracts,
        stats.slots,
        stats.collections,
        stats.records,
        stats.keys,
        stats.live_bytes,
    ))?;
    Ok(Exit::Success)
}
