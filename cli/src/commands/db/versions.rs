//! `db versions`, `snapshot`, `restore` and `prune`.

use std::collections::BTreeMap;

use dotdb::{Database, DbError, Durability};
use serde::Serialize;

use super::create::{SettingsReport, settings_text};
use super::place::unknown;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;

/// Show which versions of the state can be read
///
/// The state has a version after each commit, from 0 on, and no times.
#[derive(clap::Args)]
pub(super) struct VersionsArgs {
    #[command(flatten)]
    store: StoreOption,
}

/// Name a version, which keeps it from being forgotten; without a name, list the names
#[derive(clap::Args)]
pub(super) struct SnapshotArgs {
    /// The name: a-z 0-9 _ - . beginning with a letter
    name: Option<String>,
    /// The version [default: the current one]
    #[arg(long, value_name = "VERSION", requires = "name")]
    at: Option<String>,
    /// Take the name back
    #[arg(long, requires = "name", conflicts_with = "at")]
    drop: bool,
    #[command(flatten)]
    store: StoreOption,
}

/// Commit the state of an earlier version as the next version
///
/// What was in between can still be read, and restored.
#[derive(clap::Args)]
pub(super) struct RestoreArgs {
    /// A version's number or name
    version: String,
    #[command(flatten)]
    store: StoreOption,
}

/// Forget old versions
///
/// `db compact` gives their space back.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["keep", "before"])))]
pub(super) struct PruneArgs {
    /// How many versions to keep besides the current one
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
    /// The oldest version to keep: its number or name
    #[arg(long, value_name = "VERSION")]
    before: Option<String>,
    #[command(flatten)]
    store: StoreOption,
}

/// The version that a number or a name stands for.
pub(super) fn find(database: &Database, text: &str) -> Result<u64, Failure> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse().map_err(|_| {
            Failure::new(Exit::Usage, format!("{text:?} is neither a version's number nor a name"))
        });
    }
    match database.version_named(text) {
        Err(DbError::UnknownVersion { .. }) => {
            let names: Vec<String> = database.version_names()?.into_keys().collect();
            Err(unknown("version", text, "", &names))
        }
        version => Ok(version?),
    }
}

#[derive(Serialize)]
struct Versions {
    status: &'static str,
    oldest: u64,
    current: u64,
    names: BTreeMap<String, u64>,
    settings: SettingsReport,
}

pub(super) fn versions(args: &VersionsArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Read)?;
    let versions = Versions {
        status: "ok",
        oldest: database.oldest_version()?,
        current: database.version(),
        names: database.version_names()?,
        settings: database.settings().into(),
    };
    if json {
        output.print_json(&versions)?;
        return Ok(Exit::Success);
    }
    let mut lines = vec![
        format!("current  {}", versions.current),
        format!("oldest   {}", versions.oldest),
        format!("keeps    {}", settings_text(database.settings())),
    ];
    lines.extend(versions.names.iter().map(|(name, version)| format!("name     {name} is {version}")));
    output.print_lines(lines.into_iter().map(Ok))?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Named {
    status: &'static str,
    names: BTreeMap<String, u64>,
}

pub(super) fn snapshot(args: &SnapshotArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let Some(name) = &args.name else {
        let names = args.store.open(Access::Read)?.version_names()?;
        if json {
            output.print_json(&Named { status: "ok", names })?;
        } else {
            if names.is_empty() {
                output.remark("no version has a name");
            }
            output.print_lines(names.iter().map(|(name, version)| Ok(format!("{name}  {version}"))))?;
        }
        return Ok(Exit::Success);
    };
    let database = args.store.open(Access::Write)?;
    let remark = if args.drop {
        find(&database, name)?;
        database.forget_name(name)?;
        format!("the name {name} is gone")
    } else {
        let version = match &args.at {
            Some(at) => find(&database, at)?,
            None => database.version(),
        };
        database.name_version(name, version)?;
        format!("{name} is version {version}")
    };
    if json {
        output.print_json(&Named { status: "ok", names: database.version_names()? })?;
    } else {
        output.remark(&remark);
    }
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Restored {
    status: &'static str,
    /// The version that was restored.
    from: u64,
    /// The version that the state has now.
    version: u64,
}

pub(super) fn restore(args: &RestoreArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Write)?;
    let from = find(&database, &args.version)?;
    let before = database.version();
    let version = database.restore(from, Durability::Sync)?;
    if json {
        output.print_json(&Restored { status: "ok", from, version })?;
    } else if version == before {
        output.remark(&format!("the state is that of version {from} already"));
    } else {
        output.remark(&format!("version {version} is the state of version {from}"));
    }
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Pruned {
    status: &'static str,
    oldest: u64,
    current: u64,
}

pub(super) fn prune(args: &PruneArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Write)?;
    let current = database.version();
    let oldest = match (&args.before, args.keep) {
        (Some(before), _) => find(&database, before)?,
        (None, keep) => current.saturating_sub(keep.unwrap_or(u64::MAX)),
    };
    database.forget_before(oldest)?;
    database.sync()?;
    let oldest = database.oldest_version()?;
    if json {
        output.print_json(&Pruned { status: "ok", oldest, current })?;
    } else {
        output.remark(&format!("the oldest version is {oldest}"));
    }
    Ok(Exit::Success)
}
