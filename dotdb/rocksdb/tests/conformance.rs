//! The shared suite, and what only a store on disk can do.
#![cfg(feature = "bundled")]

use std::fs;
use std::sync::Arc;

use dotdb_rocksdb::RocksdbStore;
use dotdb_store::{Batch, Durability, Store, StoreError};

#[test]
fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    dotdb_store::conformance::check_store(|| {
        count += 1;
        Arc::new(RocksdbStore::open_or_create(directory.path().join(format!("{count}"))).unwrap())
    });
}

#[test]
fn keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    dotdb_store::conformance::check_reopening(|| {
        Arc::new(RocksdbStore::open_or_create(directory.path().join("state")).unwrap())
    });
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside the store");
}

#[test]
fn reading_beside_a_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    assert!(matches!(RocksdbStore::open(&path), Err(StoreError::NotFound { .. })));
    assert!(matches!(RocksdbStore::open_read_only(&path), Err(StoreError::NotFound { .. })));
    let store = RocksdbStore::open_or_create(&path).unwrap();
    store.apply(Batch::new().put("k", "1"), Durability::Sync).unwrap();
    assert!(matches!(RocksdbStore::open(&path), Err(StoreError::Locked { .. })));
    let reader = RocksdbStore::open_read_only(&path).unwrap();
    store.apply(Batch::new().put("k", "2"), Durability::Sync).unwrap();
    store.compact().unwrap();
    let seen = |store: &RocksdbStore| store.snapshot().unwrap().get(b"k").unwrap().unwrap();
    assert_eq!(seen(&reader), "1", "the state of its opening");
    assert_eq!(seen(&RocksdbStore::open_read_only(&path).unwrap()), "2");
    assert!(reader.read_only());
    let refused = reader.apply(Batch::new().put("k", "3"), Durability::None);
    assert!(matches!(refused, Err(StoreError::ReadOnly)));
    assert!(matches!(reader.compact(), Err(StoreError::ReadOnly)));
    reader.check(&mut |damage| panic!("{damage}")).unwrap();
    drop(store);
    assert_eq!(seen(&RocksdbStore::open(&path).unwrap()), "2");
}

#[test]
fn compaction_gives_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksdbStore::open_or_create(directory.path().join("state")).unwrap();
    let write = |value: &dyn Fn(u32) -> Option<Vec<u8>>| {
        let mut batch = Batch::new();
        for key in 0..3000u32 {
            match value(key) {
                Some(value) => batch.put(key.to_be_bytes().to_vec(), value),
                None => batch.delete(key.to_be_bytes().to_vec()),
            };
        }
        store.apply(&batch, Durability::Sync).unwrap();
    };
    // Bytes that do not compress: a linear congruence taken at its upper bits.
    write(&|key| {
        let mut state = key;
        let mut step = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Some((0..4000).map(|_| step()).collect())
    });
    write(&|_| None);
    let report = store.compact().unwrap();
    assert!(report.bytes_before.unwrap() > 12_000_000, "{report:?}");
    assert!(report.bytes_after.unwrap() < 1_000_000, "{report:?}");
    assert_eq!(store.stats().unwrap().keys, 0);
}

#[test]
fn a_snapshot_outlives_its_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksdbStore::open_or_create(directory.path().join("state")).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    let snapshot = store.snapshot().unwrap();
    drop(store);
    assert_eq!(snapshot.get(b"k").unwrap().unwrap(), "v");
}
