//! The shared suite, and what only a store in a file can do.

use std::fs;
use std::sync::Arc;

use dotdb_redb::RedbStore;
use dotdb_store::{Batch, Durability, Store, StoreError};

#[test]
fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    dotdb_store::conformance::check_store(|| {
        count += 1;
        Arc::new(RedbStore::open_or_create(directory.path().join(format!("{count}.db"))).unwrap())
    });
}

#[test]
fn a_new_store_leaves_one_file_and_keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    assert!(matches!(RedbStore::open(&path), Err(StoreError::NotFound { .. })));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "a failed opening makes no file");
    let store = RedbStore::open_or_create(&path).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    drop(store);
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["state.db"]);
    let store = RedbStore::open_or_create(&path).unwrap();
    assert_eq!(store.snapshot().unwrap().get(b"k").unwrap().unwrap(), "v");
}

#[test]
fn reading_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let store = RedbStore::open_or_create(&path).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    assert!(matches!(RedbStore::open_read_only(&path), Err(StoreError::Locked { .. })));
    drop(store);
    let one = RedbStore::open_read_only(&path).unwrap();
    let two = RedbStore::open_read_only(&path).unwrap();
    for store in [&one, &two] {
        assert!(store.read_only());
        assert_eq!(store.snapshot().unwrap().get(b"k").unwrap().unwrap(), "v");
        let refused = store.apply(Batch::new().put("k", "w"), Durability::Sync);
        assert!(matches!(refused, Err(StoreError::ReadOnly)));
    }
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Locked { .. })));
    assert_eq!(one.stats().unwrap().keys, 1);
}

#[test]
fn a_snapshot_outlives_its_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open_or_create(directory.path().join("state.db")).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    let snapshot = store.snapshot().unwrap();
    drop(store);
    assert_eq!(snapshot.get(b"k").unwrap().unwrap(), "v");
}

#[test]
fn places_where_no_store_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let message = |path: &std::path::Path| match RedbStore::open_or_create(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    };
    let missing = directory.path().join("no/such/state.db");
    assert!(message(&missing).starts_with("creating the store "), "{}", message(&missing));
    assert!(message(directory.path()).starts_with("opening "), "{}", message(directory.path()));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn many_create_the_same_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let opened = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    match RedbStore::open_or_create(&path) {
                        Ok(store) => {
                            let key = opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_be_bytes();
                            store.apply(Batch::new().put(key.to_vec(), "v"), Durability::Sync).unwrap();
                            return;
                        }
                        Err(StoreError::Locked { .. }) => std::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    // Had one replaced the file of another, a commit would be gone.
    assert_eq!(RedbStore::open(&path).unwrap().stats().unwrap().keys, 8);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}
