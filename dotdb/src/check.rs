//! Looking for damage: what the store finds, whether every row is what DotDB writes, and whether those that say the
//! same in two places agree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_query::Schema;
use dotdb_store::{Direction, Snapshot, StoreError};

use crate::catalog::Catalog;
use crate::collections::ValueKind;
use crate::contracts::CodeHash;
use crate::database::{Database, Mode};
use crate::error::DbError;
use crate::index::{IndexInfo, split_entry};
use crate::keys::{
    CODE, COLLECTION, CONTRACT, COUNTER, HISTORY, INDEX, INDEX_ENTRY, JOURNAL, MACHINE, MAX_KEY_BYTES,
    META_COLLECTIONS, META_CONTRACTS, META_INDEXES, META_SCHEMA, PREFIX_BYTES, RECORD, SCHEMA, SETTING, SLOT,
    SLOT_PREFIX_BYTES, TREE, VERSION_NAME, decode_u32, tagged,
};
use crate::machines::MachineId;
use crate::settings::{INDEXED, OLDEST, Settings, read_number};
use crate::slots::SlotValue;
use crate::{history, journal};

/// Something wrong in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, for people: `the record "anna" of town/people`.
    pub place: String,
    /// What is wrong, a sentence without full stop.
    pub problem: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Told of each [`Finding`].
type Found<'a> = dyn FnMut(Finding) + 'a;

/// Tags with a meaning, in order.
const TAGS: [u8; 16] = [
    0,
    CONTRACT,
    CODE,
    SLOT,
    COLLECTION,
    RECORD,
    COUNTER,
    INDEX,
    SCHEMA,
    INDEX_ENTRY,
    JOURNAL,
    HISTORY,
    TREE,
    VERSION_NAME,
    SETTING,
    MACHINE,
];

/// What kept something from being read: damage is told, all else ends the check.
fn tell(error: DbError, place: &str, found: &mut Found<'_>) -> Result<(), DbError> {
    let damage = match &error {
        DbError::Store(StoreError::Corrupt { .. }) | DbError::Commitment(_) => true,
        DbError::Store(_) | DbError::Group(_) => false,
        _ => true,
    };
    if !damage {
        return Err(error);
    }
    let problem = match error {
        DbError::Store(StoreError::Corrupt { detail }) => detail,
        error => error.to_string(),
    };
    found(Finding { place: place.to_owned(), problem });
    Ok(())
}

/// What rows are compared with.
struct Checker<'a> {
    snapshot: &'a Arc<dyn Snapshot>,
    catalog: Catalog,
    settings: Settings,
    /// Numbers of indexes that have a definition.
    indexes: BTreeSet<u32>,
    /// Collections that have a definition.
    defined: BTreeSet<u32>,
    oldest: u64,
    indexed: u64,
    last: u64,
    /// Changes of the journal that the history by key must have.
    journal_changes: u64,
    /// Rows of the history by key for versions that can be read.
    history_rows: u64,
    /// The last row of the journal.
    journal_at: Option<(u64, u32)>,
    hash_code: &'a dyn Fn(&[u8]) -> CodeHash,
}

impl Database {
    /// Looks for damage and tells `found` of each: the store's own check; every row; contracts' code against its hash;
    /// journal against history; collections' counts, schemas and indexes against their records; the state tree against
    /// the state. `progress` is told of the rows seen since it was last called. Answers the number of rows.
    ///
    /// # Errors
    /// Only what kept it from looking.
    pub fn check(
        &self,
        hash_code: &dyn Fn(&[u8]) -> CodeHash,
        mut progress: impl FnMut(u64),
        found: &mut dyn FnMut(Finding),
    ) -> Result<u64, DbError> {
        let mut damages = Vec::new();
        self.shared.store.check(&mut |damage| damages.push(damage))?;
        let snapshot = self.shared.store.snapshot()?;
        let catalog = Catalog::read(&*snapshot, |error| tell(error, "contracts and collections", found))?;
        for damage in damages {
            let place = match &damage.key {
                Some(key) => format!("the store, at {}", catalog.describe(key)),
                None => "the store".to_owned(),
            };
            found(Finding { place, problem: damage.detail });
        }
        let mut checker = Checker {
            snapshot: &snapshot,
            catalog,
            settings: self.settings(),
            indexes: BTreeSet::new(),
            defined: BTreeSet::new(),
            oldest: read_number(&*snapshot, OLDEST)?,
            indexed: read_number(&*snapshot, INDEXED)?,
            last: journal::last_version(&*snapshot)?,
            journal_changes: 0,
            history_rows: 0,
            journal_at: None,
            hash_code,
        };
        let rows = checker.rows(&mut progress, found)?;
        checker.whole(found)?;
        self.check_collections(&checker.catalog, found)?;
        if self.settings().state_root
            && let Err(error) = self.check_state_root()
        {
            tell(error, "the state tree", found)?;
        }
        Ok(rows)
    }

    fn check_collections(&self, catalog: &Catalog, found: &mut Found<'_>) -> Result<(), DbError> {
        for (&number, collection) in catalog.collections() {
            let place = catalog.collection_place(number).unwrap_or_default();
            let mut tx = self.begin(Mode::ReadOnly)?;
            let checked =
                tx.collection(collection.contract, &collection.name, collection.kind).and_then(|id| {
                    tx.check_collection(id, |problem| found(Finding { place: place.clone(), problem }))
                });
            if let Err(error) = checked {
                tell(error, &place, found)?;
            }
        }
        Ok(())
    }
}

impl Checker<'_> {
    fn rows(&mut self, progress: &mut dyn FnMut(u64), found: &mut Found<'_>) -> Result<u64, DbError> {
        // Tag by tag, and what lies between, so that damage in one part does not hide the others.
        let mut ranges = Vec::new();
        let mut next = 0u8;
        for tag in TAGS {
            if next < tag {
                ranges.push((next, Some(tag)));
            }
            ranges.push((tag, Some(tag + 1)));
            next = tag + 1;
        }
        ranges.push((next, None));
        let mut rows = 0;
        for (from, to) in ranges {
            let (from, to) = ([from], to.map(|to| [to]));
            let to = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
            let mut last: Option<Bytes> = None;
            for row in self.snapshot.range(Bound::Included(&from[..]), to, Direction::Forward)? {
                match row {
                    Ok((key, value)) => {
                        if let Err(problem) = self.row(&key, &value)? {
                            found(Finding { place: self.catalog.describe(&key), problem });
                        }
                        rows += 1;
                        progress(1);
                        last = Some(key);
                    }
                    Err(error) => {
                        let place = match &last {
                            Some(key) => format!("behind {}", self.catalog.describe(key)),
                            None => format!("the rows with tag {:02x}", from[0]),
                        };
                        tell(error.into(), &place, found)?;
                        break;
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Looks at a row: what is wrong with it, if anything.
    fn row(&mut self, key: &Bytes, value: &Bytes) -> Result<Result<(), String>, DbError> {
        let number = key.get(1..PREFIX_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let rest = key.get(PREFIX_BYTES..).unwrap_or_default();
        let of_collection = number.and_then(|number| self.catalog.collection(number));
        let sentence = |error: DbError| match error {
            DbError::Store(StoreError::Corrupt { detail }) => detail,
            error => error.to_string(),
        };
        let tag = key.first().copied().unwrap_or_default();
        let no_collection = || "it belongs to no collection".to_owned();
        let result = match tag {
            0 => self.counter(key, value),
            // `Catalog::read` has read them.
            CONTRACT => match self.code_of(key) {
                Some(code) if self.snapshot.get(&tagged(CODE, &code))?.is_none() => {
                    Err("its code is not there".to_owned())
                }
                _ => Ok(()),
            },
            COLLECTION | SETTING => self.known(key, value),
            CODE if (self.hash_code)(value)[..] == key[1..] => Ok(()),
            CODE => Err("it does not have the hash that it is kept under".to_owned()),
            SLOT => match (number, rest.split_first()) {
                (Some(contract), _) if !self.catalog.contracts().contains_key(&contract) => {
                    Err("it belongs to no contract".to_owned())
                }
                (_, Some((&length, slot)))
                    if usize::from(length) == slot.len()
                        && key.len() <= SLOT_PREFIX_BYTES + crate::MAX_SLOT_BYTES
                        && slot.first() != Some(&0) =>
                {
                    SlotValue::decode(key, value).map(drop).map_err(sentence)
                }
                _ => Err("its key is not that of a slot".to_owned()),
            },
            RECORD => match of_collection {
                None => Err(no_collection()),
                Some(_) if rest.len() > MAX_KEY_BYTES => Err("its key is too long".to_owned()),
                Some(_) if value.len() > crate::MAX_VALUE_BYTES => Err("its value is too long".to_owned()),
                Some(collection) if collection.kind == ValueKind::Document => {
                    dotdb_document::validate(value).map_err(|error| format!("it is no document: {error}"))
                }
                Some(_) => Ok(()),
            },
            COUNTER => match (of_collection, rest, value.len()) {
                (None, ..) => Err(no_collection()),
                (_, [0 | 1], 8) => Ok(()),
                _ => Err("it is not a counter".to_owned()),
            },
            INDEX => match (of_collection, number) {
                (Some(collection), Some(number)) if collection.kind == ValueKind::Document => {
                    self.defined.insert(number);
                    match IndexInfo::decode(key, value) {
                        Ok(index) if self.indexes.insert(index.number) => Ok(()),
                        Ok(_) => Err("it has the number of another index".to_owned()),
                        Err(error) => Err(sentence(error)),
                    }
                }
                _ => Err("it belongs to no collection of documents".to_owned()),
            },
            SCHEMA => match (of_collection, number) {
                (Some(collection), Some(number)) if collection.kind == ValueKind::Document => {
                    self.defined.insert(number);
                    Schema::from_bytes(value).map(drop).map_err(|error| error.to_string())
                }
                _ => Err("it belongs to no collection of documents".to_owned()),
            },
            INDEX_ENTRY => match number {
                Some(number) if self.indexes.contains(&number) => {
                    split_entry(key, value).map(drop).map_err(sentence)
                }
                _ => Err("it belongs to no index".to_owned()),
            },
            JOURNAL => match self.journal(key, value) {
                Ok(result) => result,
                Err(DbError::Store(StoreError::Corrupt { detail })) => Err(detail),
                Err(error) => return Err(error),
            },
            HISTORY => self.history(key, value),
            // `check_state_root` reads them.
            TREE => Ok(()),
            // What is in them is checked when the machine is read.
            MACHINE => MachineId::of_key(key).map(drop).ok_or_else(|| "it is no row of a machine".to_owned()),
            VERSION_NAME => match <[u8; 8]>::try_from(&value[..]).map(u64::from_be_bytes) {
                Ok(version) if (self.oldest..=self.last).contains(&version) => Ok(()),
                Ok(version) => Err(format!("it stands for version {version}, which is not kept")),
                Err(_) => Err("it stands for no version".to_owned()),
            },
            _ => Err("DotDB writes no such key".to_owned()),
        };
        Ok(result)
    }

    /// The code that a contract's row names.
    fn code_of(&self, key: &[u8]) -> Option<CodeHash> {
        let name = std::str::from_utf8(key.get(1..)?).ok()?;
        let (_, code) = self.catalog.contracts().values().find(|(other, _)| other == name)?;
        *code
    }

    /// Rows whose names are known and which others have read.
    fn known(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match (key.first(), key) {
            (Some(&COLLECTION), _) => Ok(()),
            (_, INDEXED | OLDEST) if value.len() == 8 => {
                let number = u64::from_be_bytes(value.try_into().unwrap_or_default());
                if number <= self.last {
                    Ok(())
                } else {
                    Err(format!("it is {number}, after the last version"))
                }
            }
            // `Settings::read` has read it.
            (_, b"\x84settings") => Ok(()),
            _ => Err("it is no setting".to_owned()),
        }
    }

    /// The last numbers given.
    fn counter(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let number = decode_u32(key, value).map_err(|_| "it is not a number".to_owned())?;
        let greatest = match key {
            META_SCHEMA => return Ok(()),
            META_CONTRACTS => self.catalog.contracts().keys().next_back(),
            META_COLLECTIONS => self.catalog.collections().keys().next_back(),
            META_INDEXES => None,
            _ => return Err("DotDB writes no such key".to_owned()),
        };
        match greatest {
            Some(&greatest) if greatest > number => {
                Err(format!("the last number given is {number}, and {greatest} is in use"))
            }
            _ => Ok(()),
        }
    }

    fn journal(&mut self, key: &Bytes, value: &Bytes) -> Result<Result<(), String>, DbError> {
        let (version, chunk) = journal::place_of(key)?;
        let before = self.journal_at.replace((version, chunk));
        let readable = version > self.oldest && self.settings.keeps_history();
        for change in journal::decode(key, value.clone()) {
            let change = change?;
            if readable && version <= self.indexed {
                self.journal_changes += 1;
                let (row, expected) = history::row(&change, version);
                if self.snapshot.get(&row)? != expected {
                    let what = self.catalog.describe(&change.key);
                    return Ok(Err(format!(
                        "version {version} changed {what}, and the history does not say so"
                    )));
                }
            }
        }
        let follows = match before {
            // Others may be left of what was being forgotten.
            _ if !readable => true,
            Some((last, last_chunk)) if last == version => chunk == last_chunk.wrapping_add(1),
            Some((last, _)) if last >= self.oldest => version == last + 1 && chunk == 0,
            _ => version == self.oldest + 1 && chunk == 0,
        };
        Ok(if follows { Ok(()) } else { Err(format!("the journal has a gap before version {version}")) })
    }

    fn history(&mut self, key: &[u8], value: &Bytes) -> Result<(), String> {
        let Ok((_, version)) = history::decode_key(key) else {
            return Err("a row of the history has no version".to_owned());
        };
        if history::decode_value(value.clone()).is_err() {
            return Err("a row of the history cannot be read".to_owned());
        }
        // An interrupted step may have left some rows of the version after.
        if version > self.indexed.saturating_add(1) {
            return Err(format!("the history has version {version}, and reaches to {}", self.indexed));
        }
        self.history_rows += u64::from(version > self.oldest);
        Ok(())
    }

    /// What no single row shows.
    fn whole(&self, found: &mut Found<'_>) -> Result<(), DbError> {
        if self.history_rows != self.journal_changes {
            let (rows, changes) = (self.history_rows, self.journal_changes);
            let problem = format!("it has {rows} changes, and the journal {changes}");
            found(Finding { place: "the history".to_owned(), problem });
        }
        let flags: BTreeMap<u32, bool> = self
            .catalog
            .collections()
            .iter()
            .map(|(&number, state)| (number, state.has_definitions))
            .collect();
        for (number, flag) in flags {
            if flag != self.defined.contains(&number) {
                let place = self.catalog.collection_place(number).unwrap_or_default();
                let problem = "whether it has indexes or a schema is not what it says".to_owned();
                found(Finding { place, problem });
            }
        }
        Ok(())
    }
}
