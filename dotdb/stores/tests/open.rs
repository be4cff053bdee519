//! Opening stores by name: each backend, and everything that can be at a path instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotdb_store::{Batch, Durability, Holder, Store, StoreError};
use dotdb_stores::{Access, Backend, StoreUrl, detect, open, open_waiting};

fn backends() -> Vec<Backend> {
    let here = |backend: &Backend| match backend {
        Backend::Redb => true,
        Backend::Rocksdb => cfg!(feature = "rocksdb"),
        Backend::Sled => cfg!(feature = "sled"),
    };
    Backend::ALL.into_iter().filter(here).collect()
}

fn url(backend: Backend, path: &Path) -> StoreUrl {
    StoreUrl::Disk(backend, path.to_owned())
}

fn value(store: &Arc<dyn Store>) -> Option<String> {
    let value = store.snapshot().unwrap().get(b"k").unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn refused(url: &StoreUrl, access: Access) -> StoreError {
    match open(url, access) {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            error
        }
    }
}

/// The names that a store at `path` takes.
fn names_of(backend: Backend, path: &Path) -> Vec<PathBuf> {
    let sums = (backend == Backend::Redb).then(|| path.with_extension("sums"));
    std::iter::once(path.to_owned()).chain(sums).collect()
}

/// Names of all files below a directory.
fn names(path: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn each_backend() {
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let url = url(backend, &path);
        for access in [Access::Write, Access::Read] {
            let error = refused(&url, access);
            assert_eq!(error.to_string(), format!("there is no store at {}", path.display()));
        }
        assert!(names(directory.path()).is_empty(), "what is refused makes nothing");
        assert_eq!(detect(&path).unwrap(), None);
        let store = open(&url, Access::Create).unwrap();
        assert_eq!(store.stats().unwrap().backend, backend.scheme());
        store.apply(Batch::new().put("k", "1"), Durability::Sync).unwrap();
        drop(store);
        assert_eq!(names(directory.path()), names_of(backend, &path));
        assert_eq!(detect(&path).unwrap(), Some(backend));
        // By its path alone, for whatever purpose.
        let name = StoreUrl::Path(path.clone());
        for access in [Access::Create, Access::Write, Access::Read] {
            let store = open(&name, access).unwrap();
            assert_eq!(value(&store).as_deref(), Some("1"));
            assert_eq!(store.read_only(), access == Access::Read);
        }
        // As a store of another kind.
        for other in backends().into_iter().filter(|other| *other != backend) {
            let error = refused(&StoreUrl::Disk(other, path.clone()), Access::Create);
            assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
        }
        assert_eq!(value(&open(&name, Access::Read).unwrap()).as_deref(), Some("1"));
    }
}

#[test]
fn a_new_store_is_redb_unless_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let store = open(&StoreUrl::Path(path.clone()), Access::Create).unwrap();
    assert_eq!(store.stats().unwrap().backend, "redb");
    assert_eq!(open(&StoreUrl::Memory, Access::Create).unwrap().stats().unwrap().backend, "memory");
}

#[test]
fn places_where_no_store_is_or_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/notes.txt"), "Dear diary").unwrap();
    fs::write(at("notes.txt"), "Dear diary, today I wrote a virtual machine.").unwrap();
    fs::create_dir(at("strange")).unwrap();
    fs::write(at("strange/dotdb-store"), "dotdb cassandra 1\n").unwrap();
    fs::create_dir(at("torn")).unwrap();
    fs::write(at("torn/dotdb-store"), "dot").unwrap();
    for backend in backends() {
        for (name, words) in [
            ("full", "a directory"),
            ("notes.txt", "is not a DotDB store"),
            ("strange", "cassandra"),
            ("torn", "does not name a backend"),
            ("no/such/place", "no/such/place"),
            ("notes.txt/state", "notes.txt/state"),
        ] {
            let error = refused(&url(backend, &at(name)), Access::Create).to_string();
            assert!(error.contains(words), "{backend:?} {name}: {error}");
        }
    }
    fs::create_dir(at("empty")).unwrap();
    let error = refused(&StoreUrl::Path(at("empty")), Access::Create).to_string();
    assert!(error.contains("empty directory"), "{error}");
    assert_eq!(fs::read(at("full/notes.txt")).unwrap(), b"Dear diary");
    assert_eq!(names(&at("full")).len(), 1);
    assert_eq!(names(&at("empty")).len(), 0);
    assert_eq!(names(directory.path()).len(), 5, "nothing is left behind");
}

#[test]
fn directories_from_the_future() {
    for backend in backends().into_iter().filter(|backend| *backend != Backend::Redb) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        drop(open(&url(backend, &path), Access::Create).unwrap());
        fs::write(path.join("dotdb-store"), format!("dotdb {} 9\n", backend.scheme())).unwrap();
        for access in [Access::Create, Access::Write, Access::Read] {
            assert_eq!(
                refused(&StoreUrl::Path(path.clone()), access).to_string(),
                "the store has format 9 and this program reads up to format 1: use a newer version"
            );
        }
    }
}

#[test]
fn who_holds_it_and_waiting() {
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        // What a killed process left behind does not matter.
        fs::write(directory.path().join("state.lock"), "1\n2020-01-01T00:00:00Z\nold\n").unwrap();
        let url = url(backend, &path);
        let store = open(&url, Access::Create).unwrap();
        match refused(&url, Access::Write) {
            StoreError::Locked { path: held, holder: Some(Holder { process, program, since }) } => {
                assert_eq!((held, process), (path.clone(), std::process::id()));
                assert!(program.starts_with("open-"), "{program}");
                assert!(since.starts_with('2') && since.ends_with('Z') && since.len() == 20, "{since}");
            }
            other => panic!("{backend:?}: {other}"),
        }
        let start = Instant::now();
        let wait = Duration::from_millis(120);
        assert!(matches!(open_waiting(&url, Access::Write, wait), Err(StoreError::Locked { .. })));
        assert!(start.elapsed() >= wait && start.elapsed() < Duration::from_secs(30));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                drop(store);
            });
            let store = open_waiting(&url, Access::Write, Duration::from_secs(60)).unwrap();
            store.apply(Batch::new().put("k", "2"), Durability::Sync).unwrap();
        });
        assert_eq!(value(&open(&url, Access::Read).unwrap()).as_deref(), Some("2"));
        assert_eq!(names(directory.path()), names_of(backend, &path));
    }
}

#[cfg(not(feature = "rocksdb"))]
#[test]
fn a_build_without_rocksdb_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let error = refused(&url(Backend::Rocksdb, &path), Access::Create);
    assert_eq!(
        error.to_string(),
        "this program was built without RocksDB: build it with `--features rocksdb`, which needs a C++ compiler \
         and libclang"
    );
    assert!(!path.exists());
}
