//! `db create`.

use dotdb::{Database, History, Settings};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::{Access, SETTINGS};

/// Make an empty database, with settings of one's own
///
/// `run`, `deploy`, `db put` and `db import` make one by themselves that keeps the last 10,000 versions and a state
/// root.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsOption,
    #[command(flatten)]
    store: StoreOption,
}

/// `--history` and `--no-root`.
#[derive(clap::Args)]
pub(super) struct SettingsOption {
    /// How many versions can be read besides the current one: none, a number, or all [default: 10000]
    #[arg(long, value_name = "VERSIONS")]
    history: Option<History>,
    /// Keep a state root, by which anybody can check a proof (the default with a history)
    #[arg(long, overrides_with = "no_root")]
    root: bool,
    /// Keep no state root, which costs some 30 microseconds for each key changed
    #[arg(long)]
    no_root: bool,
}

impl SettingsOption {
    /// What was asked for, or else `default`.
    pub(super) fn settings(&self, default: Settings) -> Settings {
        let history = self.history.unwrap_or(default.history);
        let state_root = match (self.root, self.no_root) {
            (true, _) => true,
            (_, true) => false,
            _ => default.state_root && history != History::None,
        };
        Settings { history, state_root }
    }
}

/// Settings in JSON.
#[derive(Serialize)]
pub(super) struct SettingsReport {
    /// `none`, `all` or a number.
    history: String,
    state_root: bool,
}

impl From<Settings> for SettingsReport {
    fn from(settings: Settings) -> SettingsReport {
        SettingsReport { history: settings.history.to_string(), state_root: settings.state_root }
    }
}

/// Settings for people.
pub(super) fn settings_text(settings: Settings) -> String {
    let history = match settings.history {
        History::None => "no history".to_owned(),
        History::Last(versions) => format!("the last {versions} versions"),
        History::All => "all versions".to_owned(),
    };
    let root = if settings.state_root { "a state root" } else { "no state root" };
    format!("{history}, {root}")
}

#[derive(Serialize)]
struct Created {
    status: &'static str,
    settings: SettingsReport,
}

pub(super) fn run(args: &Args, json: bool, output: &Output) -> Result<Exit, Failure> {
    let settings = args.settings.settings(SETTINGS);
    if args.store.url().path().is_none() {
        return Err(Failure::new(Exit::Usage, "a database in memory is gone when the command ends"));
    }
    if !args.store.is_new()? {
        let sentence = format!("there is a store at {} already", args.store.url());
        return Err(Failure::new(Exit::Database, sentence));
    }
    // The settings are checked before anything is made.
    Database::open_or_create(crate::store::memory_store()?, settings)?;
    let store = args.store.open_store(Access::Create)?;
    let settings = Database::open_or_create(store, settings)?.settings();
    if json {
        output.print_json(&Created { status: "ok", settings: settings.into() })?;
    } else {
        output.remark(&format!("made {}, which keeps {}", args.store.url(), settings_text(settings)));
    }
    Ok(Exit::Success)
}
