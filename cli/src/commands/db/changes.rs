//! `db diff` and `db watch`: what changed, by name.

use std::time::Duration;

use dotdb::{Catalog, Database, DbError, Difference, Place, StoreError, ValueKind};
use dotvm_runtime::show;
use serde::Serialize;
use serde_json::value::RawValue;

use super::row::{json_text, key_text, number_text, raw_json, value_text};
use super::versions;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::report::BytesReport;
use crate::store::Access;

/// Show what differs between two versions
///
/// `-` is what the first one has, `+` what the second one has.
#[derive(clap::Args)]
pub(super) struct DiffArgs {
    /// A version's number or name
    #[arg(value_name = "FROM")]
    from: String,
    /// A version's number or name [default: the current one]
    #[arg(value_name = "TO")]
    to: Option<String>,
    #[command(flatten)]
    store: StoreOption,
}

/// Show commits as they happen, a JSON object a line
///
/// The store is opened for reading only and for a moment each time, so that others can write to it.
#[derive(clap::Args)]
pub(super) struct WatchArgs {
    /// Begin with the commit after this version, as far back as is kept [default: the current one]
    #[arg(long, value_name = "VERSION")]
    from: Option<String>,
    /// End after so many commits
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Time between two looks
    #[arg(long, value_name = "SECONDS", default_value = "0.25", value_parser = crate::options::parse_seconds)]
    interval: Duration,
    #[command(flatten)]
    store: StoreOption,
}

/// A change in JSON.
#[derive(Serialize)]
struct ChangeReport {
    /// `slot`, `record`, `contract`, `code`, `collection`, `counter` or `other`.
    what: &'static str,
    /// CONTRACT or CONTRACT/COLLECTION, if it has one.
    place: Option<String>,
    /// A slot's number, a record's key, or what else it is.
    key: Key,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Bytes(BytesReport),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Number(String),
    Bytes(BytesReport),
    Document(Box<RawValue>),
}

/// Whether a change is more than a consequence of others: numbers given and entries of indexes are not shown.
fn is_shown(change: &Difference) -> bool {
    !matches!(change.key.first(), Some(0 | 0x10))
}

/// A store key with names.
struct Named {
    what: &'static str,
    place: Option<String>,
    kind: Option<ValueKind>,
    is_slot: bool,
    key: Vec<u8>,
}

fn name(change: &Difference, before: &Catalog, after: &Catalog) -> Named {
    let contract = |id| after.contract(id).or_else(|| before.contract(id)).map(str::to_owned);
    let named =
        |what, place, kind, key: &[u8]| Named { what, place, kind, is_slot: false, key: key.to_vec() };
    match change.place() {
        Place::Slot { contract: id, key } => {
            Named { is_slot: true, ..named("slot", contract(id), None, &key) }
        }
        Place::Record { collection, key } => {
            let catalog = if after.collection(collection).is_some() { after } else { before };
            let kind = catalog.collection(collection).map(|collection| collection.kind);
            named("record", catalog.collection_place(collection), kind, &key)
        }
        Place::Contract(name) => named("contract", Some(name.clone()), None, name.as_bytes()),
        Place::Code(hash) => named("code", None, None, show::hex(&hash).as_bytes()),
        Place::Collection { contract: id, name } => {
            let place = contract(id).map(|contract| format!("{contract}/{name}"));
            named("collection", place, None, name.as_bytes())
        }
        Place::Counter { collection } => {
            let place = after.collection_place(collection).or_else(|| before.collection_place(collection));
            named("counter", place, None, change.to_string().as_bytes())
        }
        Place::Other(_) => named("other", None, None, change.to_string().as_bytes()),
    }
}

impl Named {
    fn report(&self, change: &Difference) -> Result<ChangeReport, Failure> {
        let value = |value: Option<&[u8]>| -> Result<Option<Value>, Failure> {
            let Some(value) = value else { return Ok(None) };
            Ok(Some(match self.kind {
                _ if self.is_slot => Value::Number(number_text(value)?),
                Some(ValueKind::Document) => Value::Document(raw_json(value)?),
                _ => Value::Bytes(BytesReport::new(value)),
            }))
        };
        Ok(ChangeReport {
            what: self.what,
            place: self.place.clone(),
            key: match self.what {
                "slot" => Key::Text(number_text(&self.key)?),
                "record" => Key::Bytes(BytesReport::new(&self.key)),
                _ => Key::Text(String::from_utf8_lossy(&self.key).into_owned()),
            },
            before: value(change.before.as_deref())?,
            after: value(change.after.as_deref())?,
        })
    }

    /// One or two lines for people; none for what follows from others.
    fn lines(&self, change: &Difference) -> Result<Vec<String>, Failure> {
        let place = self.place.as_deref().unwrap_or("?");
        let sides = [("-", &change.before), ("+", &change.after)];
        let sides = sides.into_iter().filter_map(|(sign, value)| Some((sign, value.as_ref()?)));
        sides
            .filter(|_| self.what != "counter")
            .map(|(sign, value)| {
                Ok(match (self.what, self.kind) {
                    ("slot", _) => {
                        format!("{sign} {place} {}  {}", number_text(&self.key)?, number_text(value)?)
                    }
                    ("record", Some(ValueKind::Document)) => {
                        format!("{sign} {place} {}  {}", show::bytes(&self.key), json_text(value)?)
                    }
                    ("record", kind) => {
                        let kind = kind.or(Some(ValueKind::Bytes));
                        format!("{sign} {place} {}  {}", key_text(kind, &self.key)?, value_text(kind, value)?)
                    }
                    ("contract", _) => match value.get(4..) {
                        Some(code) if !code.is_empty() => {
                            format!("{sign} the contract {place}, code {}", show::hex(code))
                        }
                        _ => format!("{sign} the contract {place}"),
                    },
                    ("collection", _) => format!("{sign} the collection {place}"),
                    _ => format!("{sign} {change}"),
                })
            })
            .collect()
    }
}

#[derive(Serialize)]
struct Diff {
    status: &'static str,
    from: u64,
    to: u64,
    changes: Vec<ChangeReport>,
}

pub(super) fn diff(args: &DiffArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Read)?;
    let from = versions::find(&database, &args.from)?;
    let to = match &args.to {
        Some(to) => versions::find(&database, to)?,
        None => database.version(),
    };
    let mut changes = database.diff(from, to)?;
    changes.retain(is_shown);
    let before = database.begin_at(from)?.catalog()?;
    let after = database.begin_at(to)?.catalog()?;
    if json {
        let changes = changes.iter().map(|change| name(change, &before, &after).report(change));
        let changes = changes.collect::<Result<_, _>>()?;
        output.print_json(&Diff { status: "ok", from, to, changes })?;
        return Ok(Exit::Success);
    }
    if changes.is_empty() {
        output.remark("nothing differs");
    }
    output.print_lines(changes.iter().flat_map(
        |change| match name(change, &before, &after).lines(change) {
            Ok(lines) => lines.into_iter().map(Ok).collect(),
            Err(failure) => vec![Err(failure)],
        },
    ))?;
    Ok(Exit::Success)
}

/// A commit in JSON.
#[derive(Serialize)]
struct CommitReport {
    version: u64,
    changes: Vec<ChangeReport>,
}

pub(super) fn watch(args: &WatchArgs, output: &Output) -> Result<Exit, Failure> {
    let mut left = args.limit.unwrap_or(u64::MAX);
    // The first time a store that is held is an error; later it is only waited for.
    let database = args.store.open(Access::Read)?;
    let mut at = match &args.from {
        Some(from) => versions::find(&database, from)?,
        None => database.version(),
    };
    let mut told = false;
    if !look(&database, &mut at, &mut left, output)? {
        return Ok(Exit::Success);
    }
    drop(database);
    while left > 0 {
        std::thread::sleep(args.interval);
        let store = dotdb_stores::open(args.store.url(), Access::Read);
        let database = match store {
            Ok(store) => Database::open(store)?,
            Err(error @ StoreError::Locked { .. }) => {
                if !told {
                    output.remark(&format!("waiting: {error}"));
                }
                told = true;
                continue;
            }
            Err(error) => return Err(DbError::Store(error).into()),
        };
        told = false;
        if !look(&database, &mut at, &mut left, output)? {
            break;
        }
    }
    Ok(Exit::Success)
}

/// Prints the commits after `at`, of which `left` are wanted. Whether there is somebody who reads on.
fn look(database: &Database, at: &mut u64, left: &mut u64, output: &Output) -> Result<bool, Failure> {
    for commit in database.commits(*at)? {
        if *left == 0 {
            return Ok(false);
        }
        let commit = commit?;
        let before = database.begin_at(commit.version - 1)?.catalog()?;
        let after = database.begin_at(commit.version)?.catalog()?;
        let changes = commit
            .changes
            .iter()
            .filter(|change| is_shown(change))
            .map(|change| name(change, &before, &after).report(change));
        let report = CommitReport { version: commit.version, changes: changes.collect::<Result<_, _>>()? };
        if !output.print_json_line(&report)? {
            return Ok(false);
        }
        *at = commit.version;
        *left -= 1;
    }
    Ok(*left > 0)
}
