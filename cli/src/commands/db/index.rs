//! `db index`.

use std::sync::Mutex;

use clap::Subcommand;
use dotdb::query::IndexSpec;
use dotdb::{DbError, IndexInfo, IndexState, Mode, ValueKind};
use serde::Serialize;

use super::ReadOptions;
use super::place::{CollectionPlace, find_collection, unknown};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::progress::Progress;
use crate::store::Access;

/// Make, drop and list indexes of a collection of documents
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Make an index, or continue to make one that was interrupted
    Create {
        #[arg(value_name = "CONTRACT/COLLECTION")]
        place: CollectionPlace,
        /// Name of the index
        name: String,
        /// Paths, the first one first: "city, age", "address.city", "tags[*]" (each element), "unique email"
        spec: String,
        /// No two records may have the same values there
        #[arg(long)]
        unique: bool,
        #[command(flatten)]
        store: StoreOption,
    },
    /// Drop an index, or continue to
    Drop {
        #[arg(value_name = "CONTRACT/COLLECTION")]
        place: CollectionPlace,
        /// Name of the index
        name: String,
        #[command(flatten)]
        store: StoreOption,
    },
    /// List the indexes
    List {
        #[arg(value_name = "CONTRACT/COLLECTION")]
        place: CollectionPlace,
        #[command(flatten)]
        read: ReadOptions,
    },
}

/// An index in JSON.
#[derive(Serialize)]
pub(super) struct IndexReport {
    name: String,
    /// As [`IndexSpec::parse`] reads it.
    spec: String,
    unique: bool,
    /// `ready`, `building` or `dropping`.
    state: &'static str,
}

impl IndexReport {
    pub(super) fn new(index: &IndexInfo) -> IndexReport {
        IndexReport {
            name: index.name.clone(),
            spec: index.spec.to_string(),
            unique: index.spec.unique(),
            state: match index.state {
                IndexState::Ready => "ready",
                IndexState::Building => "building",
                IndexState::Dropping => "dropping",
            },
        }
    }

    pub(super) fn text(&self) -> String {
        match self.state {
            "ready" => format!("{}  {}", self.name, self.spec),
            state => format!("{}  {} ({state})", self.name, self.spec),
        }
    }
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
    /// The version that the state has now.
    version: u64,
}

#[derive(Serialize)]
struct List {
    status: &'static str,
    indexes: Vec<IndexReport>,
}

pub(super) fn run(args: &Args, json: bool, output: &Output) -> Result<Exit, Failure> {
    match &args.command {
        IndexCommand::Create { place, name, spec, unique, store } => {
            create(place, name, spec, *unique, store, json, output)
        }
        IndexCommand::Drop { place, name, store } => drop_index(place, name, store, json, output),
        IndexCommand::List { place, read } => {
            let (_, mut tx) = read.begin()?;
            let (_, collection, _) = find_collection(&mut tx, place)?;
            let indexes: Vec<_> = tx.indexes(collection)?.iter().map(IndexReport::new).collect();
            if json {
                output.print_json(&List { status: "ok", indexes })?;
            } else {
                if indexes.is_empty() {
                    output.remark(&format!("{place} has no indexes"));
                }
                output.print_lines(indexes.iter().map(|index| Ok(index.text())))?;
            }
            Ok(Exit::Success)
        }
    }
}

fn create(
    place: &CollectionPlace,
    name: &str,
    spec: &str,
    unique: bool,
    store: &StoreOption,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let refused = |error| Failure::new(Exit::Usage, format!("{spec:?} is no index: {error}"));
    let mut spec = IndexSpec::parse(spec).map_err(refused)?;
    if unique && !spec.unique() {
        spec = IndexSpec::new(spec.columns().to_vec(), true).map_err(refused)?;
    }
    let database = store.open(Access::Write)?;
    let mut tx = database.begin(Mode::ReadOnly)?;
    let (contract, collection, kind) = find_collection(&mut tx, place)?;
    if kind == ValueKind::Bytes {
        return Err(DbError::NotDocuments.into());
    }
    let records = tx.count(collection)?;
    drop(tx);
    let progress = Mutex::new(Progress::new("indexing", "records", Some(records), output));
    let done = database.create_index(contract, &place.collection, name, &spec, |records| {
        if let Ok(mut progress) = progress.lock() {
            progress.advance(records as u64);
        }
    });
    drop(progress);
    done?;
    report(database.version(), &format!("the index {name} of {place} is ready"), json, output)
}

fn drop_index(
    place: &CollectionPlace,
    name: &str,
    store: &StoreOption,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let database = store.open(Access::Write)?;
    let mut tx = database.begin(Mode::ReadOnly)?;
    let (contract, collection, _) = find_collection(&mut tx, place)?;
    let names: Vec<String> = tx.indexes(collection)?.into_iter().map(|index| index.name).collect();
    drop(tx);
    match database.drop_index(contract, &place.collection, name) {
        Err(DbError::UnknownIndex { .. }) => {
            return Err(unknown("index", name, &format!(" of {place}"), &names));
        }
        dropped => dropped?,
    }
    report(database.version(), &format!("the index {name} of {place} is gone"), json, output)
}

fn report(version: u64, remark: &str, json: bool, output: &Output) -> Result<Exit, Failure> {
    if json {
        output.print_json(&Done { status: "ok", version })?;
    } else {
        output.remark(remark);
    }
    Ok(Exit::Success)
}
