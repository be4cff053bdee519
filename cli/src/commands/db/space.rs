//! `db stats` and `db compact`.

use std::path::Path;

use dotdb::store::directory::total_bytes;
use dotdb::{Mode, Space};
use serde::Serialize;

use super::create::{SettingsReport, settings_text};
use super::read::{kind_name, records_text};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;

/// Show what the store holds, and where its bytes are
///
/// Reads all of the store.
#[derive(clap::Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    store: StoreOption,
}

/// Give space that holds nothing back to the file system
#[derive(clap::Args)]
pub(super) struct CompactArgs {
    #[command(flatten)]
    store: StoreOption,
}

#[derive(Serialize)]
struct Stats {
    status: &'static str,
    backend: &'static str,
    contracts: usize,
    slots: u64,
    collections: usize,
    records: u64,
    version: u64,
    oldest_version: u64,
    settings: SettingsReport,
    keys: u64,
    live_bytes: u64,
    /// What of `live_bytes` the state has, the indexes, the history, the state tree.
    state_bytes: u64,
    index_bytes: u64,
    history_bytes: u64,
    tree_bytes: u64,
    file_bytes: Option<u64>,
    /// What of the files holds nothing, where the backend knows.
    dead_bytes: Option<u64>,
    collection_counts: Vec<CollectionCount>,
}

#[derive(Serialize)]
struct CollectionCount {
    place: String,
    kind: &'static str,
    records: u64,
}

pub(super) fn stats(args: &StatsArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Read)?;
    let mut tx = database.begin(Mode::ReadOnly)?;
    let store = database.stats()?;
    let space: Space = database.space()?;
    let contracts = tx.contracts()?;
    let collections = tx.collections()?;
    let name_of =
        |id| contracts.iter().find(|contract| contract.id == id).map_or("", |contract| &contract.name);
    let stats = Stats {
        status: "ok",
        backend: store.backend,
        contracts: contracts.len(),
        slots: space.slots,
        collections: collections.len(),
        records: collections.iter().map(|collection| collection.count).sum(),
        version: database.version(),
        oldest_version: database.oldest_version()?,
        settings: database.settings().into(),
        keys: store.keys,
        live_bytes: store.live_bytes,
        state_bytes: space.state_bytes,
        index_bytes: space.index_bytes,
        history_bytes: space.history_bytes,
        tree_bytes: space.tree_bytes,
        file_bytes: store.file_bytes,
        dead_bytes: store.dead_bytes,
        collection_counts: collections
            .iter()
            .map(|collection| CollectionCount {
                place: format!("{}/{}", name_of(collection.contract), collection.name),
                kind: kind_name(collection.kind),
                records: collection.count,
            })
            .collect(),
    };
    if json {
        output.print_json(&stats)?;
        return Ok(Exit::Success);
    }
    let mut lines = vec![
        ("backend", stats.backend.to_owned()),
        ("contracts", stats.contracts.to_string()),
        ("slots", stats.slots.to_string()),
        ("collections", stats.collections.to_string()),
        ("records", stats.records.to_string()),
        ("version", format!("{}, the oldest is {}", stats.version, stats.oldest_version)),
        ("keeps", settings_text(database.settings())),
        ("keys", stats.keys.to_string()),
        ("live data", format!("{} bytes", stats.live_bytes)),
        ("  state", format!("{} bytes", stats.state_bytes)),
        ("  indexes", format!("{} bytes", stats.index_bytes)),
        ("  history", format!("{} bytes", stats.history_bytes)),
        ("  tree", format!("{} bytes", stats.tree_bytes)),
    ];
    lines.extend(stats.file_bytes.map(|bytes| ("file", format!("{bytes} bytes"))));
    lines.extend(stats.dead_bytes.map(|bytes| ("  dead", format!("{bytes} bytes"))));
    let lines = lines.into_iter().map(|(name, value)| format!("{name:<12} {value}"));
    let counts = stats.collection_counts.iter().map(|collection| {
        format!("{}  {}, {}", collection.place, collection.kind, records_text(collection.records))
    });
    output.print_lines(lines.chain(counts).map(Ok))?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Compacted {
    status: &'static str,
    bytes_before: Option<u64>,
    bytes_after: Option<u64>,
}

pub(super) fn compact(args: &CompactArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Write)?;
    let report = database.store().compact().map_err(dotdb::DbError::Store)?;
    // Closing a store changes its length once more.
    drop(database);
    let bytes_before = report.bytes_before;
    let bytes_after = args.store.url().path().and_then(closed_bytes).or(report.bytes_after);
    if json {
        output.print_json(&Compacted { status: "ok", bytes_before, bytes_after })?;
        return Ok(Exit::Success);
    }
    if let (Some(before), Some(after)) = (bytes_before, bytes_after) {
        output.print(&format!("before  {before} bytes\nafter   {after} bytes\n"))?;
    }
    Ok(Exit::Success)
}

/// Bytes of a store's file or directory.
fn closed_bytes(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    if metadata.is_dir() { total_bytes(path).ok() } else { Some(metadata.len()) }
}
