//! Opening a store of any backend.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use dotdb_store::{Batch, CompactReport, Damage, Durability, Snapshot, Store, StoreError, StoreStats};

use crate::holder::{self, Announcement};
use crate::url::{Backend, StoreUrl, detect};

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing; the store is made if there is none.
    Create,
    /// Reading and writing.
    Write,
    /// Reading. A redb store that a killed process left behind is repaired first.
    Read,
}

/// The files that a store at `path` which is closed can have beside itself, and that move or go with it.
pub fn beside(path: &Path) -> [PathBuf; 1] {
    [dotdb_redb::sums_path(path)]
}

/// Opens a store.
///
/// # Errors
/// Those of the backend; [`StoreError::NotFound`] unless it is created; [`StoreError::NotADatabase`] for another
/// kind of store than the URL says; [`StoreError::Unsupported`] for a backend that this build does not have;
/// [`StoreError::Locked`] with the holder, if it is known.
pub fn open(url: &StoreUrl, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    let (backend, path) = match url {
        StoreUrl::Memory => return Ok(Arc::new(MemoryStore::new())),
        StoreUrl::Disk(backend, path) => (expect(*backend, path)?, path),
        StoreUrl::Path(path) => match detect(path)? {
            Some(backend) => (backend, path),
            None if path.is_dir() => {
                let detail = "it is an empty directory (sled:PATH makes a store in it)".into();
                return Err(StoreError::NotADatabase { path: path.clone(), detail });
            }
            None => (Backend::Redb, path),
        },
    };
    let opened = match backend {
        Backend::Redb => open_redb(path, access),
        Backend::Rocksdb => open_rocksdb(path, access),
        Backend::Sled => open_sled(path, access),
    };
    match opened {
        Ok(store) if access == Access::Read => Ok(store),
        Ok(store) => Ok(Arc::new(Announced { _announcement: Announcement::new(path), store })),
        Err(StoreError::Locked { path, .. }) => {
            let holder = holder::read(&path);
            Err(StoreError::Locked { path, holder })
        }
        Err(error) => Err(error),
    }
}

/// First pause between two attempts to open a store; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Opens a store as [`open`] does, but tries again for so long while another process holds it.
///
/// # Errors
/// As [`open`]; [`StoreError::Locked`] when the time is up.
pub fn open_waiting(url: &StoreUrl, access: Access, wait: Duration) -> Result<Arc<dyn Store>, StoreError> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match open(url, access) {
            Err(StoreError::Locked { .. }) if start.elapsed() < wait => {
                thread::sleep(pause.min(wait.saturating_sub(start.elapsed())));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

/// Refuses a path where another kind of store is.
fn expect(backend: Backend, path: &Path) -> Result<Backend, StoreError> {
    let detail = match (backend, detect(path)?) {
        (Backend::Redb, None) if path.is_dir() => {
            "redb keeps a store in a file, and it is a directory".into()
        }
        (_, Some(found)) if found != backend && path.is_dir() => {
            format!("it is one of {0}: open it as {0}:{1}", found.scheme(), path.display())
        }
        (_, Some(found)) if found != backend => {
            format!("{} keeps a store in a directory, and it is a file", backend.scheme())
        }
        _ => return Ok(backend),
    };
    let detail = format!("as {}:, {detail}", backend.scheme());
    Err(StoreError::NotADatabase { path: path.to_owned(), detail })
}

fn open_redb(path: &Path, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    let store = match access {
        Access::Create => RedbStore::open_or_create(path),
        Access::Write => RedbStore::open(path),
        Access::Read => match RedbStore::open_read_only(path) {
            Err(StoreError::Unclean { .. }) => {
                RedbStore::open(path).map(drop).and_then(|()| RedbStore::open_read_only(path))
            }
            result => result,
        },
    };
    Ok(Arc::new(store?))
}

#[cfg(feature = "rocksdb")]
fn open_rocksdb(path: &Path, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    use dotdb_rocksdb::RocksdbStore;
    Ok(Arc::new(match access {
        Access::Create => RocksdbStore::open_or_create(path)?,
        Access::Write => RocksdbStore::open(path)?,
        Access::Read => RocksdbStore::open_read_only(path)?,
    }))
}

#[cfg(not(feature = "rocksdb"))]
fn open_rocksdb(_: &Path, _: Access) -> Result<Arc<dyn Store>, StoreError> {
    let sentence = "this program was built without RocksDB: build it with `--features rocksdb`, \
                    which needs a C++ compiler and libclang";
    Err(StoreError::Unsupported(sentence.into()))
}

#[cfg(feature = "sled")]
fn open_sled(path: &Path, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    use dotdb_sled::SledStore;
    Ok(Arc::new(match access {
        Access::Create => SledStore::open_or_create(path)?,
        Access::Write => SledStore::open(path)?,
        Access::Read => SledStore::open_read_only(path)?,
    }))
}

#[cfg(not(feature = "sled"))]
fn open_sled(_: &Path, _: Access) -> Result<Arc<dyn Store>, StoreError> {
    Err(StoreError::Unsupported(
        "this program was built without sled: build it with `--features sled`".into(),
    ))
}

/// A store whose holder is announced. The announcement goes first, so that it is never that of the next holder.
struct Announced {
    _announcement: Announcement,
    store: Arc<dyn Store>,
}

impl Store for Announced {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }

    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.store.apply(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.store.stats()
    }

    fn compact(&self) -> Result<CompactReport, StoreError> {
        self.store.compact()
    }

    fn check(&self, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        self.store.check(found)
    }

    fn read_only(&self) -> bool {
        self.store.read_only()
    }
}
