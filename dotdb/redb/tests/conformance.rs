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
fn keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    dotdb_store::conformance::check_reopening(|| {
        Arc::new(RedbStore::open_or_create(directory.path().join("state.db")).unwrap())
    });
}

#[test]
fn compaction_gives_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open_or_create(directory.path().join("state.db")).unwrap();
    let mut batch = Batch::new();
    for key in 0..3000u32 {
        batch.put(key.to_be_bytes().to_vec(), vec![7; 4000]);
    }
    store.apply(&batch, Durability::Sync).unwrap();
    let mut batch = Batch::new();
    for key in 10..3000u32 {
        batch.delete(key.to_be_bytes().to_vec());
    }
    store.apply(&batch, Durability::Sync).unwrap();
    let before = store.stats().unwrap();
    // 3,000 values of 4,000 bytes were written and 10 are left.
    assert!(before.dead_bytes.unwrap() > 11_000_000, "{before:?}");
    let report = store.compact().unwrap();
    let after = store.stats().unwrap();
    assert_eq!(report.bytes_before, before.file_bytes);
    assert_eq!(report.bytes_after, after.file_bytes);
    assert!(report.bytes_after.unwrap() < 2_000_000, "{report:?}");
    assert_eq!((after.keys, after.live_bytes), (10, 10 * 4004));
    assert!(after.dead_bytes.unwrap() < before.dead_bytes.unwrap());
    let snapshot = store.snapshot().unwrap();
    let error = store.compact().unwrap_err();
    assert_eq!(error.to_string(), "the store cannot be compacted while it is being read");
    assert_eq!(snapshot.get(&3u32.to_be_bytes()).unwrap().unwrap(), vec![7; 4000]);
    drop(snapshot);
    drop(store);
    let store = RedbStore::open_read_only(directory.path().join("state.db")).unwrap();
    assert!(matches!(store.compact(), Err(StoreError::ReadOnly)));
    store.check(&mut |damage| panic!("{damage}")).unwrap();
}

#[test]
fn a_new_store_leaves_its_file_and_the_sums_and_keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    assert!(matches!(RedbStore::open(&path), Err(StoreError::NotFound { .. })));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "a failed opening makes no file");
    let store = RedbStore::open_or_create(&path).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    drop(store);
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["state.db", "state.db.sums"]);
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
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "the store and its sums");
}
