//! What a database keeps besides its state, chosen when it is made.
//!
//! | key | value |
//! |---|---|
//! | 84 `settings` | history u64 (number of versions, 0 for none, the greatest for all), state root u8 |
//! | 84 `indexed` | last version whose changes are in the history by key, u64 |
//! | 84 `oldest` | oldest version that can be read, u64 |

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use dotdb_store::Snapshot;

use crate::error::DbError;
use crate::keys::{SETTING, corrupt};

/// How many versions of the state can be read besides the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// No other.
    None,
    /// So many of the last, roughly: what is older is removed in steps.
    Last(u64),
    /// All.
    All,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            History::None => f.write_str("none"),
            History::Last(versions) => write!(f, "{versions}"),
            History::All => f.write_str("all"),
        }
    }
}

impl FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<History, String> {
        match text {
            "none" | "0" => Ok(History::None),
            "all" => Ok(History::All),
            text => match text.parse() {
                Ok(versions) if versions < u64::MAX => Ok(History::Last(versions)),
                _ => Err(format!("{text:?} is neither `none`, `all` nor a number of versions")),
            },
        }
    }
}

/// What a database keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How far back it can be read.
    pub history: History,
    /// Whether every version has a root hash, by which anybody can check a proof of what the state holds. Needs a
    /// history.
    pub state_root: bool,
}

impl Default for Settings {
    /// The last 10,000 versions, without root hashes: those cost some 30 microseconds for each key changed.
    fn default() -> Settings {
        Settings { history: History::Last(10_000), state_root: false }
    }
}

const SETTINGS: &[u8] = b"\x84settings";
pub(crate) const INDEXED: &[u8] = b"\x84indexed";
pub(crate) const OLDEST: &[u8] = b"\x84oldest";

impl Settings {
    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<(), DbError> {
        if self.state_root && !self.keeps_history() {
            return Err(DbError::Settings { problem: "a state root needs a history" });
        }
        Ok(())
    }

    pub(crate) fn keeps_history(&self) -> bool {
        self.history != History::None
    }

    pub(crate) fn row(&self) -> (Bytes, Bytes) {
        let history = match self.history {
            History::None => 0,
            History::Last(versions) => versions,
            History::All => u64::MAX,
        };
        let mut value = history.to_be_bytes().to_vec();
        value.push(u8::from(self.state_root));
        (Bytes::from_static(SETTINGS), value.into())
    }

    /// The settings of a database that has some.
    pub(crate) fn read(snapshot: &dyn Snapshot) -> Result<Option<Settings>, DbError> {
        let Some(value) = snapshot.get(SETTINGS)? else { return Ok(None) };
        let bad = || corrupt(SETTINGS, "is not a list of settings");
        let (history, rest) = value.split_first_chunk().ok_or_else(bad)?;
        let history = match u64::from_be_bytes(*history) {
            0 => History::None,
            u64::MAX => History::All,
            versions => History::Last(versions),
        };
        let state_root = match rest {
            [0] => false,
            [1] => true,
            _ => return Err(bad()),
        };
        Ok(Some(Settings { history, state_root }))
    }
}

/// A number of the rows above, 0 if it is absent.
pub(crate) fn read_number(snapshot: &dyn Snapshot, key: &'static [u8]) -> Result<u64, DbError> {
    debug_assert_eq!(key.first(), Some(&SETTING));
    match snapshot.get(key)? {
        None => Ok(0),
        Some(value) => {
            let bytes = value[..].try_into().map_err(|_| corrupt(key, "is not a number"))?;
            Ok(u64::from_be_bytes(bytes))
        }
    }
}

/// A row of the above.
pub(crate) fn number_row(key: &'static [u8], number: u64) -> (Bytes, Option<Bytes>) {
    (Bytes::from_static(key), Some(Bytes::copy_from_slice(&number.to_be_bytes())))
}
