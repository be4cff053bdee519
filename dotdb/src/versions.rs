//! Versions: names, differences, restoring, and the stream of commits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::PoisonError;

use bytes::Bytes;
use dotdb_store::{Batch, Direction, Durability as StoreDurability, StoreError};

use crate::database::{Database, Mode};
use crate::durability::Durability;
use crate::error::DbError;
use crate::journal;
use crate::keys::{
    CODE, COLLECTION, CONTRACT, COUNTER, PREFIX_BYTES, RECORD, SLOT, VERSION_NAME, check_name, tagged,
};
use crate::settings::History;
use crate::settle::{as_of, names};
use crate::{ContractId, describe_key};

/// What a store key is the place of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The contract of this name.
    Contract(String),
    /// The code with this hash.
    Code(Bytes),
    /// A slot.
    Slot {
        /// Whose.
        contract: ContractId,
        /// Its key without leading zeros.
        key: Bytes,
    },
    /// A collection.
    Collection {
        /// Whose.
        contract: ContractId,
        /// Its name.
        name: String,
    },
    /// A record of a collection.
    Record {
        /// The collection's number.
        collection: u32,
        /// Its key.
        key: Bytes,
    },
    /// A counter of a collection: its number of records, or the greatest 8-byte key it ever held.
    Counter {
        /// The collection's number.
        collection: u32,
    },
    /// Something else that DotDB keeps with the state.
    Other(Bytes),
}

impl Place {
    /// What a store key is the place of.
    pub fn of(key: &Bytes) -> Place {
        let number = key.get(1..PREFIX_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let rest = |from: usize| key.slice(from.min(key.len())..);
        let text = |from: usize| String::from_utf8_lossy(&rest(from)).into_owned();
        match (key.first(), number) {
            (Some(&CONTRACT), _) => Place::Contract(text(1)),
            (Some(&CODE), _) => Place::Code(rest(1)),
            (Some(&SLOT), Some(number)) => {
                Place::Slot { contract: ContractId(number), key: rest(PREFIX_BYTES + 1) }
            }
            (Some(&COLLECTION), Some(number)) => {
                Place::Collection { contract: ContractId(number), name: text(PREFIX_BYTES) }
            }
            (Some(&RECORD), Some(collection)) => Place::Record { collection, key: rest(PREFIX_BYTES) },
            (Some(&COUNTER), Some(collection)) => Place::Counter { collection },
            _ => Place::Other(key.clone()),
        }
    }
}

/// A store key whose value is not the same at two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key as the store has it, which orders differences.
    pub key: Bytes,
    /// Its value at the earlier version, `None` if it was absent.
    pub before: Option<Bytes>,
    /// Its value at the later version.
    pub after: Option<Bytes>,
}

impl Difference {
    /// What the key is the place of.
    pub fn place(&self) -> Place {
        Place::of(&self.key)
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&describe_key(&self.key))
    }
}

/// A commit of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The version it gave the state.
    pub version: u64,
    /// What it changed, in the order of keys.
    pub changes: Vec<Difference>,
}

impl Database {
    /// Gives a version a name, by which it is kept from being forgotten, and all after it. Takes the same time
    /// whatever the state's size.
    ///
    /// # Errors
    /// [`DbError::Name`], [`DbError::VersionNameTaken`], [`DbError::FutureVersion`], [`DbError::PrunedVersion`];
    /// [`DbError::Settings`] without a history.
    pub fn name_version(&self, name: &str, version: u64) -> Result<(), DbError> {
        check_name(name)?;
        if !self.shared.settings.keeps_history() {
            return Err(DbError::Settings { problem: "a name for a version needs a history that keeps it" });
        }
        // Held so that the version is not forgotten before its name is there.
        let _turn = self.shared.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.shared.store.snapshot()?;
        match names(&*snapshot)?.get(name) {
            Some(&taken) if taken == version => return Ok(()),
            Some(&taken) => return Err(DbError::VersionNameTaken { name: name.to_owned(), version: taken }),
            None => {}
        }
        let last = journal::last_version(&*snapshot)?;
        let oldest = self.shared.oldest(&*snapshot, last)?;
        if version > last {
            return Err(DbError::FutureVersion { version, last });
        }
        if version < oldest {
            return Err(DbError::PrunedVersion { version, oldest });
        }
        self.write_name(name, Some(version))
    }

    /// Takes a version's name back.
    ///
    /// # Errors
    /// [`DbError::UnknownVersion`].
    pub fn forget_name(&self, name: &str) -> Result<(), DbError> {
        self.version_named(name)?;
        self.write_name(name, None)
    }

    fn write_name(&self, name: &str, version: Option<u64>) -> Result<(), DbError> {
        if self.shared.store.read_only() {
            return Err(StoreError::ReadOnly.into());
        }
        let mut batch = Batch::new();
        let key = tagged(VERSION_NAME, name.as_bytes());
        match version {
            Some(version) => batch.put(key, Bytes::copy_from_slice(&version.to_be_bytes())),
            None => batch.delete(key),
        };
        Ok(self.shared.store.apply(&batch, StoreDurability::Sync)?)
    }

    /// The names of versions.
    pub fn version_names(&self) -> Result<BTreeMap<String, u64>, DbError> {
        names(&*self.shared.store.snapshot()?)
    }

    /// The version that a name stands for.
    ///
    /// # Errors
    /// [`DbError::UnknownVersion`].
    pub fn version_named(&self, name: &str) -> Result<u64, DbError> {
        let found = self.version_names()?.remove(name);
        found.ok_or_else(|| DbError::UnknownVersion { name: name.to_owned() })
    }

    /// What differs between two versions, in the order of keys; `earlier` need not be the lower one. Keeps the keys
    /// changed in between in memory.
    ///
    /// # Errors
    /// [`DbError::FutureVersion`], [`DbError::PrunedVersion`].
    pub fn diff(&self, earlier: u64, later: u64) -> Result<Vec<Difference>, DbError> {
        let now = self.shared.snapshot_with_history()?;
        let [before, after] = [earlier, later].map(|version| self.shared.snapshot_at(now.clone(), version));
        let (before, after) = (before?, after?);
        let (first, last) = (earlier.min(later) + 1, earlier.max(later));
        let mut keys = BTreeSet::new();
        for row in journal::changes(&*now, first, last, Direction::Forward)? {
            for change in row?.changes() {
                keys.insert(change?.key);
            }
        }
        let mut differences = Vec::new();
        for key in keys {
            let (before, after) = (before.get(&key)?, after.get(&key)?);
            if before != after {
                differences.push(Difference { key, before, after });
            }
        }
        Ok(differences)
    }

    /// Commits the state of an earlier version as the next version; what was in between stays readable. Answers the
    /// new version, or the current one if nothing differs.
    ///
    /// # Errors
    /// [`DbError::PrunedVersion`], [`DbError::FutureVersion`], [`DbError::Conflict`].
    pub fn restore(&self, version: u64, durability: Durability) -> Result<u64, DbError> {
        if self.shared.is_far_behind() {
            self.shared.catch_up()?;
        }
        let mut tx = self.begin(Mode::ReadWrite)?;
        // Whatever is committed meanwhile would be in the new version and was not in the old one.
        tx.read_everything();
        let last = tx.version()?;
        let then = self.shared.snapshot_at(tx.snapshot.clone(), version)?;
        let mut keys = BTreeSet::new();
        for row in journal::changes(&*tx.snapshot, version + 1, last, Direction::Forward)? {
            for change in row?.changes() {
                keys.insert(change?.key);
            }
        }
        for key in keys {
            let value = then.get(&key)?;
            if tx.raw_get(&key)? != value {
                tx.raw_set(&key, value)?;
            }
        }
        tx.commit(durability)
    }

    /// The commits after `after`, oldest first, as far as they are kept; each with what it changed.
    ///
    /// # Errors
    /// [`DbError::PrunedVersion`] if some of them are not kept any more, [`DbError::FutureVersion`].
    pub fn commits(
        &self,
        after: u64,
    ) -> Result<impl Iterator<Item = Result<Commit, DbError>> + use<>, DbError> {
        let snapshot = self.shared.snapshot_with_history()?;
        let last = journal::last_version(&*snapshot)?;
        let oldest = self.shared.oldest(&*snapshot, last)?;
        if after > last {
            return Err(DbError::FutureVersion { version: after, last });
        }
        if after < oldest {
            return Err(DbError::PrunedVersion { version: after, oldest });
        }
        Ok((after + 1..=last).map(move |version| {
            let mut changes = BTreeMap::new();
            for row in journal::changes(&*snapshot, version, version, Direction::Forward)? {
                for change in row?.changes() {
                    let change = change?;
                    changes.insert(change.key, change.old);
                }
            }
            let then = as_of(snapshot.clone(), version, last)?;
            let mut differences = Vec::with_capacity(changes.len());
            for (key, before) in changes {
                let after = then.get(&key)?;
                if before != after {
                    differences.push(Difference { key, before, after });
                }
            }
            Ok(Commit { version, changes: differences })
        }))
    }

    /// Forgets versions before `oldest`, whatever the settings keep.
    ///
    /// # Errors
    /// [`DbError::FutureVersion`]; [`DbError::VersionNamed`] if one of them has a name.
    pub fn forget_before(&self, oldest: u64) -> Result<(), DbError> {
        if self.shared.store.read_only() {
            return Err(StoreError::ReadOnly.into());
        }
        let last = self.version();
        if oldest > last {
            return Err(DbError::FutureVersion { version: oldest, last });
        }
        if self.shared.settings.history == History::None {
            return Ok(());
        }
        self.settle()?;
        let _turn = self.shared.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.shared.store.snapshot()?;
        if let Some((name, version)) = names(&*snapshot)?.into_iter().find(|(_, version)| *version < oldest) {
            return Err(DbError::VersionNamed { name, version });
        }
        self.shared.forget_before(&*snapshot, oldest)
    }

    /// The store keys and values of the state at a version, in the order of keys, those included that no contract
    /// sees.
    pub fn rows_at(&self, version: u64) -> Result<dotdb_store::PairIter, DbError> {
        let to = [crate::keys::JOURNAL];
        let rows =
            self.snapshot_at(version)?.range(Bound::Unbounded, Bound::Excluded(&to), Direction::Forward)?;
        Ok(rows)
    }
}
