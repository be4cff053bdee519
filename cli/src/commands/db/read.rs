//! `db ls`, `collections`, `get`, `scan` and `count`.

use std::ops::Bound;

use dotdb::{CollectionId, Contract, Direction, Tx, ValueKind};
use dotvm_runtime::show::{self, hex};
use serde::Serialize;

use super::ReadOptions;
use super::place::{Place, Source, find, record_key, slot_bytes};
use super::row::{Row, key_text, value_text};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;

/// List contracts and their collections
#[derive(clap::Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    store: StoreOption,
}

/// List collections with their indexes
#[derive(clap::Args)]
pub(super) struct CollectionsArgs {
    /// Only those of this contract
    contract: Option<String>,
    #[command(flatten)]
    read: ReadOptions,
}

/// Show a slot of a contract, or a record of a collection
///
/// Documents are shown as JSON, other values as text or in hexadecimal.
#[derive(clap::Args)]
pub(super) struct GetArgs {
    /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
    #[arg(value_name = "PLACE")]
    place: Place,
    /// The slot's number, or the record's key: text, 0x…, @FILE or text:…
    key: String,
    #[command(flatten)]
    read: ReadOptions,
}

/// List the slots of a contract, or the records of a collection, in the order of their keys
#[derive(clap::Args)]
pub(super) struct ScanArgs {
    /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
    #[arg(value_name = "PLACE")]
    place: Place,
    /// First key
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// First key that is not listed any more
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// Only records whose key begins so
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "to"])]
    prefix: Option<String>,
    /// From the greatest key to the smallest
    #[arg(long)]
    reverse: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    read: ReadOptions,
}

/// Count the slots of a contract, or the records of a collection
#[derive(clap::Args)]
pub(super) struct CountArgs {
    /// CONTRACT for its slots, CONTRACT/COLLECTION for a collection
    #[arg(value_name = "PLACE")]
    place: Place,
    #[command(flatten)]
    read: ReadOptions,
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

pub(super) fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bytes => "bytes",
        ValueKind::Document => "doc",
    }
}

pub(super) fn records_text(records: u64) -> String {
    format!("{records} record{}", if records == 1 { "" } else { "s" })
}

pub(super) fn ls(args: &LsArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let mut tx = args.store.open(Access::Read)?.begin(dotdb::Mode::ReadOnly)?;
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
            let records = records_text(collection.records);
            lines.push(format!("{}/{}  {}, {records}", contract.name, collection.name, collection.kind));
        }
    }
    if lines.is_empty() {
        output.remark("the store holds no contracts");
    }
    output.print_lines(lines.into_iter().map(Ok))?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Collections {
    status: &'static str,
    collections: Vec<CollectionDetails>,
}

#[derive(Serialize)]
struct CollectionDetails {
    place: String,
    kind: &'static str,
    records: u64,
    schema: bool,
    indexes: Vec<super::index::IndexReport>,
}

pub(super) fn collections(args: &CollectionsArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (_, mut tx) = args.read.begin()?;
    if let Some(contract) = &args.contract {
        find(&mut tx, &Place { contract: contract.clone(), collection: None })?;
    }
    let names: std::collections::BTreeMap<_, _> =
        tx.contracts()?.into_iter().map(|contract| (contract.id, contract.name)).collect();
    let mut collections = Vec::new();
    for collection in tx.collections()? {
        let contract = names.get(&collection.contract).map_or("", String::as_str);
        if args.contract.as_ref().is_some_and(|wanted| wanted != contract) {
            continue;
        }
        let id = tx.collection(collection.contract, &collection.name, collection.kind)?;
        collections.push(CollectionDetails {
            place: format!("{contract}/{}", collection.name),
            kind: kind_name(collection.kind),
            records: collection.count,
            schema: tx.schema(id)?.is_some(),
            indexes: tx.indexes(id)?.iter().map(super::index::IndexReport::new).collect(),
        });
    }
    if json {
        output.print_json(&Collections { status: "ok", collections })?;
        return Ok(Exit::Success);
    }
    if collections.is_empty() {
        output.remark("there are no collections");
    }
    output.print_lines(collections.into_iter().map(|collection| {
        let schema = if collection.schema { ", schema" } else { "" };
        let indexes: String =
            collection.indexes.iter().map(|index| format!("\n  {}", index.text())).collect();
        let records = records_text(collection.records);
        Ok(format!("{}  {}, {records}{schema}{indexes}", collection.place, collection.kind))
    }))?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Found {
    status: &'static str,
    #[serde(flatten)]
    row: Row,
}

pub(super) fn get(args: &GetArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (_, mut tx) = args.read.begin()?;
    let source = find(&mut tx, &args.place)?;
    let (key, value) = match &source {
        Source::Slots(contract) => {
            let key = slot_bytes(&args.key)?;
            let value = tx.slot_get(contract.id, &key)?;
            (key, value.as_bytes().to_vec().into())
        }
        Source::Records(collection, _) => {
            let key = record_key(&args.key)?;
            let Some(value) = tx.get(*collection, &key)? else { return Err(no_record(&key)) };
            (key, value)
        }
    };
    if json {
        output.print_json(&Found { status: "ok", row: Row::new(source.kind(), &key, &value)? })?;
    } else {
        output.print(&format!("{}\n", value_text(source.kind(), &value)?))?;
    }
    Ok(Exit::Success)
}

/// A key that is not there.
pub(super) fn no_record(key: &[u8]) -> Failure {
    Failure::new(Exit::Program, format!("there is no record {} in the collection", show::bytes(key)))
}

#[derive(Serialize)]
struct Count {
    status: &'static str,
    count: u64,
}

pub(super) fn count(args: &CountArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (_, mut tx) = args.read.begin()?;
    let count = match find(&mut tx, &args.place)? {
        Source::Slots(contract) => {
            let mut count = 0;
            for slot in tx.slots(contract.id)? {
                slot?;
                count += 1;
            }
            count
        }
        Source::Records(collection, _) => tx.count(collection)?,
    };
    if json {
        output.print_json(&Count { status: "ok", count })?;
    } else {
        output.print(&format!("{count}\n"))?;
    }
    Ok(Exit::Success)
}

/// A key and its value, as the store has them.
pub(super) type Pair = Result<(Vec<u8>, Vec<u8>), Failure>;

pub(super) fn scan(args: &ScanArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (_, mut tx) = args.read.begin()?;
    let source = find(&mut tx, &args.place)?;
    let kind = source.kind();
    let pairs: Box<dyn Iterator<Item = Pair> + '_> = match &source {
        Source::Slots(contract) => slots(&mut tx, contract, args)?,
        Source::Records(collection, _) => records(&mut tx, *collection, args)?,
    };
    let pairs = pairs.take(args.limit.unwrap_or(usize::MAX));
    if json {
        output.print_json_list(
            "rows",
            pairs.map(|pair| pair.and_then(|(key, value)| Row::new(kind, &key, &value))),
        )?;
    } else {
        output.print_lines(pairs.map(|pair| {
            let (key, value) = pair?;
            Ok(format!("{}  {}", key_text(kind, &key)?, value_text(kind, &value)?))
        }))?;
    }
    Ok(Exit::Success)
}

fn direction(args: &ScanArgs) -> Direction {
    if args.reverse { Direction::Backward } else { Direction::Forward }
}

fn slots<'a>(
    tx: &mut Tx,
    contract: &Contract,
    args: &ScanArgs,
) -> Result<Box<dyn Iterator<Item = Pair> + 'a>, Failure> {
    if args.prefix.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "slots are numbers, and have a range (--from, --to) but no prefix",
        ));
    }
    let from = args.from.as_deref().map(slot_bytes).transpose()?;
    let to = args.to.as_deref().map(slot_bytes).transpose()?;
    let pairs = tx.slots_between(contract.id, from.as_deref(), to.as_deref(), direction(args))?;
    Ok(Box::new(
        pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(Failure::from)),
    ))
}

fn records<'a>(
    tx: &'a mut Tx,
    collection: CollectionId,
    args: &ScanArgs,
) -> Result<Box<dyn Iterator<Item = Pair> + 'a>, Failure> {
    let (from, to) = match &args.prefix {
        Some(prefix) => {
            let prefix = record_key(prefix)?;
            let end = after_prefix(&prefix);
            (Some(prefix), end)
        }
        None => (
            args.from.as_deref().map(record_key).transpose()?,
            args.to.as_deref().map(record_key).transpose()?,
        ),
    };
    all_records(tx, collection, from.as_deref(), to.as_deref(), direction(args))
}

/// The least key above all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The records from a key on to before another.
pub(super) fn all_records<'a>(
    tx: &'a mut Tx,
    collection: CollectionId,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    direction: Direction,
) -> Result<Box<dyn Iterator<Item = Pair> + 'a>, Failure> {
    let from = from.map_or(Bound::Unbounded, Bound::Included);
    let to = to.map_or(Bound::Unbounded, Bound::Excluded);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255]), None);
        assert_eq!(after_prefix(b""), None);
    }
}
