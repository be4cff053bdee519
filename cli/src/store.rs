//! Where state is kept: the names of stores, and the one place that knows the backends.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use dotdb::{Database, DbError, Store, StoreError};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;

use crate::failure::Failure;

/// The name of a store: `redb:PATH`, `mem:`, or a path alone, which means redb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In memory, thrown away when the process ends.
    Memory,
    /// A redb file.
    Redb(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        let path = |path: &str| match path {
            "" => Err("the path of the store is empty".to_owned()),
            path => Ok(Location::Redb(path.into())),
        };
        match text.split_once(':') {
            Some(("redb", rest)) => path(rest),
            Some(("mem", "")) => Ok(Location::Memory),
            Some(("mem", _)) => Err("`mem:` takes no path".to_owned()),
            // One letter is a drive; anything else that is no word is part of a path.
            Some((scheme, _)) if scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_lowercase()) => {
                Err(format!(
                    "there is no kind of store `{scheme}:`, only redb:PATH and mem: (a path is ./{text})"
                ))
            }
            _ => path(text),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("mem:"),
            Location::Redb(path) => path.display().fmt(f),
        }
    }
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing; the store is made if there is none.
    Create,
    /// Reading and writing.
    Write,
    /// Reading. A store that a killed process left behind is repaired first.
    Read,
}

/// Opens a store.
pub fn open(location: &Location, access: Access) -> Result<Database, Failure> {
    let store: Arc<dyn Store> = match location {
        Location::Memory => Arc::new(MemoryStore::new()),
        Location::Redb(path) if path.is_dir() => {
            let sentence = format!("{} is a directory, not a store", path.display());
            return Err(Failure::new(crate::exit::Exit::Database, sentence));
        }
        Location::Redb(path) => Arc::new(
            match access {
                Access::Create => RedbStore::open_or_create(path),
                Access::Write => RedbStore::open(path),
                Access::Read => match RedbStore::open_read_only(path) {
                    Err(StoreError::Unclean { .. }) => {
                        RedbStore::open(path).map(drop).and_then(|()| RedbStore::open_read_only(path))
                    }
                    result => result,
                },
            }
            .map_err(DbError::Store)?,
        ),
    };
    Ok(Database::open(store)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stores() {
        let redb = |path: &str| Ok(Location::Redb(path.into()));
        assert_eq!("state.db".parse(), redb("state.db"));
        assert_eq!("redb:state.db".parse(), redb("state.db"));
        assert_eq!("redb:mem:".parse(), redb("mem:"));
        assert_eq!("C:\\state.db".parse(), redb("C:\\state.db"));
        assert_eq!("./a:b".parse(), redb("./a:b"));
        assert_eq!("mem:".parse(), Ok(Location::Memory));
        for bad in ["", "redb:", "mem:x", "sled:x"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
