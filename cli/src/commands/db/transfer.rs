//! `db dump`, `load`, `backup` and `migrate`.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::ValueHint;
use dotdb::{Database, Settings, TransferError};
use serde::Serialize;

use super::create::{SettingsOption, SettingsReport};
use super::fresh::{fill_store, write_file};
use super::versions;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::progress::Progress;
use crate::store::{Access, SETTINGS, StoreUrl};

/// Write the state of a version to a file, which any backend can load
#[derive(clap::Args)]
pub(super) struct DumpArgs {
    /// Where to; - is standard output
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The version: its number or name [default: the current one]
    #[arg(long, value_name = "VERSION")]
    at: Option<String>,
    #[command(flatten)]
    store: StoreOption,
}

/// Make a database of a dump, in a new store
///
/// The database keeps what the dumped one kept, unless other settings are given.
#[derive(clap::Args)]
pub(super) struct LoadArgs {
    /// The dump; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingsOption,
    #[command(flatten)]
    store: StoreOption,
}

/// Copy a database with its history to a new store of any backend
#[derive(clap::Args)]
pub(super) struct BackupArgs {
    /// The new store: a path, redb:PATH, rocksdb:PATH or sled:PATH
    #[arg(value_name = "TO", value_hint = ValueHint::AnyPath)]
    to: StoreUrl,
    #[command(flatten)]
    store: StoreOption,
}

/// Bring a database that an earlier version of dotvm made to today's schema
#[derive(clap::Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    settings: SettingsOption,
    #[command(flatten)]
    store: StoreOption,
}

#[derive(Serialize)]
struct Transferred {
    status: &'static str,
    version: u64,
    /// Rows of the state, or keys of the store.
    rows: u64,
    bytes: u64,
}

fn refused(error: TransferError) -> Failure {
    let exit = match &error {
        TransferError::Db(_) => Exit::Database,
        TransferError::Write(_) => Exit::Output,
        TransferError::NotEmpty | TransferError::OtherRoot { .. } => Exit::Database,
        _ => Exit::Input,
    };
    match error {
        TransferError::Db(error) => error.into(),
        error => Failure::new(exit, error),
    }
}

fn report(done: &Transferred, remark: &str, json: bool, output: &Output) -> Result<Exit, Failure> {
    if json {
        output.print_json(done)?;
    } else {
        output.remark(remark);
    }
    Ok(Exit::Success)
}

pub(super) fn dump(args: &DumpArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Read)?;
    let version = match &args.at {
        Some(at) => versions::find(&database, at)?,
        None => database.version(),
    };
    let write = |to: &mut dyn Write| {
        let mut progress = Progress::new("dumping", "bytes", None, output);
        database.dump(version, to, |bytes| progress.advance(bytes)).map_err(refused)
    };
    let to_stdout = args.file.as_os_str() == "-";
    let dump = if to_stdout {
        write(&mut io::BufWriter::new(io::stdout().lock()))?
    } else {
        write_file(&args.file, write)?
    };
    let done = Transferred { status: "ok", version, rows: dump.rows, bytes: dump.bytes };
    let remark = format!("dumped version {version}: {} rows, {} bytes", dump.rows, dump.bytes);
    // On standard output it would be taken for a part of the dump.
    report(&done, &remark, json && !to_stdout, output)
}

pub(super) fn load(args: &LoadArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (mut from, length): (Box<dyn Read>, Option<u64>) = if args.file.as_os_str() == "-" {
        (Box::new(io::stdin().lock()), None)
    } else {
        let unreadable = |error: io::Error| Failure::unreadable(&args.file, &error);
        let file = File::open(&args.file).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        (Box::new(BufReader::with_capacity(1 << 20, file)), Some(metadata.len()))
    };
    let name = if args.file.as_os_str() == "-" { Path::new("standard input") } else { &args.file };
    let dump = fill_store(args.store.url(), Some(&args.store), |store| {
        let mut progress = Progress::new("loading", "bytes", length, output);
        let choose = |kept: Settings| args.settings.settings(kept);
        let (_, dump) =
            Database::load(&store, &mut *from, choose, |bytes| progress.advance(bytes)).map_err(|error| {
                let mut failure = refused(error);
                if failure.exit == Exit::Input {
                    failure.sentence = format!("{}: {}", name.display(), failure.sentence);
                }
                failure
            })?;
        Ok(dump)
    })?;
    let done = Transferred { status: "ok", version: dump.version, rows: dump.rows, bytes: dump.bytes };
    report(&done, &format!("loaded version {}: {} rows", dump.version, dump.rows), json, output)
}

pub(super) fn backup(args: &BackupArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Read)?;
    let backup = fill_store(&args.to, None, |store| {
        let mut progress = Progress::new("copying", "bytes", None, output);
        database.backup(&*store, |bytes| progress.advance(bytes)).map_err(refused)
    })?;
    let done = Transferred { status: "ok", version: backup.version, rows: backup.keys, bytes: backup.bytes };
    let remark = format!("copied version {} and its history: {} keys", backup.version, backup.keys);
    report(&done, &remark, json, output)
}

#[derive(Serialize)]
struct Migrated {
    status: &'static str,
    /// The schema before, null if it was today's.
    from: Option<u32>,
    schema: u32,
    settings: SettingsReport,
}

pub(super) fn migrate(args: &MigrateArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let store = args.store.open_store(Access::Write)?;
    let migration = Database::migrate(&store, args.settings.settings(SETTINGS))?;
    let settings = Database::open(store)?.settings().into();
    let from = migration.map(|migration| migration.from);
    if json {
        output.print_json(&Migrated { status: "ok", from, schema: dotdb::SCHEMA_VERSION, settings })?;
        return Ok(Exit::Success);
    }
    output.remark(&match from {
        Some(from) => format!("migrated from schema {from} to {}", dotdb::SCHEMA_VERSION),
        None => format!("the database has schema {} already", dotdb::SCHEMA_VERSION),
    });
    Ok(Exit::Success)
}
