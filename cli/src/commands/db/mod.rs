//! `dotvm db`: everything that DotDB does, from the command line. One subject a file; what they share is in `place`
//! (what is meant), `row` (how it is shown) and here.

mod changes;
mod check;
mod create;
mod export;
mod fresh;
mod import;
mod index;
mod machines;
mod place;
mod query;
mod read;
mod root;
mod row;
mod schema;
mod space;
mod transfer;
mod versions;
mod write;

use clap::Subcommand;
use dotdb::{Database, Mode, Tx};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;

/// Work with a database: records, indexes, queries, history, proofs, upkeep
///
/// A place is CONTRACT for a contract's slots, or CONTRACT/COLLECTION for a collection of it.
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
    Create(create::Args),
    Ls(read::LsArgs),
    Collections(read::CollectionsArgs),
    Get(read::GetArgs),
    Scan(read::ScanArgs),
    Count(read::CountArgs),
    Put(write::PutArgs),
    Delete(write::DeleteArgs),
    Query(query::QueryArgs),
    Explain(query::ExplainArgs),
    Index(index::Args),
    Schema(schema::Args),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Versions(versions::VersionsArgs),
    Snapshot(versions::SnapshotArgs),
    Diff(changes::DiffArgs),
    Restore(versions::RestoreArgs),
    Prune(versions::PruneArgs),
    Watch(changes::WatchArgs),
    Root(root::RootArgs),
    Prove(root::ProveArgs),
    VerifyProof(root::VerifyProofArgs),
    Check(check::CheckArgs),
    Dump(transfer::DumpArgs),
    Load(transfer::LoadArgs),
    Backup(transfer::BackupArgs),
    Migrate(transfer::MigrateArgs),
    Stats(space::StatsArgs),
    Compact(space::CompactArgs),
    Machines(machines::ListArgs),
    GetMachine(machines::GetArgs),
    ForgetMachine(machines::ForgetArgs),
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let json = args.json;
    match &args.command {
        DbCommand::Create(args) => create::run(args, json, output),
        DbCommand::Ls(args) => read::ls(args, json, output),
        DbCommand::Collections(args) => read::collections(args, json, output),
        DbCommand::Get(args) => read::get(args, json, output),
        DbCommand::Scan(args) => read::scan(args, json, output),
        DbCommand::Count(args) => read::count(args, json, output),
        DbCommand::Put(args) => write::put(args, json, output),
        DbCommand::Delete(args) => write::delete(args, json, output),
        DbCommand::Query(args) => query::query(args, json, output),
        DbCommand::Explain(args) => query::explain(args, json, output),
        DbCommand::Index(args) => index::run(args, json, output),
        DbCommand::Schema(args) => schema::run(args, json, output),
        DbCommand::Import(args) => import::import(args, json, output),
        DbCommand::Export(args) => export::export(args, json, output),
        DbCommand::Versions(args) => versions::versions(args, json, output),
        DbCommand::Snapshot(args) => versions::snapshot(args, json, output),
        DbCommand::Diff(args) => changes::diff(args, json, output),
        DbCommand::Restore(args) => versions::restore(args, json, output),
        DbCommand::Prune(args) => versions::prune(args, json, output),
        DbCommand::Watch(args) => changes::watch(args, output),
        DbCommand::Root(args) => root::root(args, json, output),
        DbCommand::Prove(args) => root::prove(args, json, output),
        DbCommand::VerifyProof(args) => root::verify(args, json, output),
        DbCommand::Check(args) => check::check(args, json, output),
        DbCommand::Dump(args) => transfer::dump(args, json, output),
        DbCommand::Load(args) => transfer::load(args, json, output),
        DbCommand::Backup(args) => transfer::backup(args, json, output),
        DbCommand::Migrate(args) => transfer::migrate(args, json, output),
        DbCommand::Stats(args) => space::stats(args, json, output),
        DbCommand::Compact(args) => space::compact(args, json, output),
        DbCommand::Machines(args) => machines::list(args, json, output),
        DbCommand::GetMachine(args) => machines::get(args, json, output),
        DbCommand::ForgetMachine(args) => machines::forget(args, json, output),
    }
}

/// The store to read, and which version of it.
#[derive(clap::Args)]
pub(super) struct ReadOptions {
    /// Read the state as it was at a version: its number, or a name that `db snapshot` gave it
    #[arg(long, value_name = "VERSION")]
    at: Option<String>,

    #[command(flatten)]
    store: StoreOption,
}

impl ReadOptions {
    /// Opens the database and begins to read it.
    pub(super) fn begin(&self) -> Result<(Database, Tx), Failure> {
        let database = self.store.open(Access::Read)?;
        let tx = match &self.at {
            None => database.begin(Mode::ReadOnly)?,
            Some(at) => database.begin_at(versions::find(&database, at)?)?,
        };
        Ok((database, tx))
    }
}

/// Opens a database to write to. If there is none, what is to be done is first tried on one in memory, so that a
/// mistake leaves nothing behind.
fn open_or_make(
    store: &StoreOption,
    rehearse: impl FnOnce(&Database) -> Result<(), Failure>,
) -> Result<Database, Failure> {
    if store.is_new()? {
        rehearse(&crate::store::in_memory()?)?;
    }
    store.open(Access::Create)
}
