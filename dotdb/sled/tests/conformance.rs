//! The shared suite, and what only a store on disk can do.

use std::fs;
use std::sync::Arc;

use dotdb_sled::SledStore;
use dotdb_store::{Batch, Durability, Store, StoreError};

#[test]
fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    dotdb_store::conformance::check_store(|| {
        count += 1;
        Arc::new(SledStore::open_or_create(directory.path().join(format!("{count}"))).unwrap())
    });
}

#[test]
fn keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    dotdb_store::conformance::check_reopening(|| {
        Arc::new(SledStore::open_or_create(directory.path().join("state")).unwrap())
    });
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside the store");
}

#[test]
fn reading_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    assert!(matches!(SledStore::open_read_only(&path), Err(StoreError::NotFound { .. })));
    let store = SledStore::open_or_create(&path).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    assert!(matches!(SledStore::open_read_only(&path), Err(StoreError::Locked { .. })));
    drop(store);
    let store = SledStore::open_read_only(&path).unwrap();
    assert!(store.read_only());
    assert_eq!(store.snapshot().unwrap().get(b"k").unwrap().unwrap(), "v");
    let refused = store.apply(Batch::new().put("k", "w"), Durability::None);
    assert!(matches!(refused, Err(StoreError::ReadOnly)));
}
