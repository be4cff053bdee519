//! Failing and full disks: an error or the truth, never a wrong answer, and nothing acknowledged is lost.

mod disk;

use std::collections::BTreeMap;
use std::ops::Bound;

use disk::{Disk, Fault};
use dotdb_redb::RedbStore;
use dotdb_store::{Batch, Direction, Durability, Store, StoreError};
use fastrand::Rng;

/// So little that reads come to the disk.
const CACHE_BYTES: usize = 16 << 10;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn batch(random: &mut Rng, commit: usize, model: &mut Model) -> Batch {
    let mut batch = Batch::new();
    batch.put("commit", commit.to_be_bytes().to_vec());
    model.insert(b"commit".to_vec(), commit.to_be_bytes().to_vec());
    for _ in 0..random.usize(1..20) {
        let key = random.u8(..100).to_be_bytes().to_vec();
        let value = vec![random.u8(..); random.usize(..3000)];
        batch.put(key.clone(), value.clone());
        model.insert(key, value);
    }
    batch
}

fn read(store: &RedbStore) -> Result<Model, StoreError> {
    let snapshot = store.snapshot()?;
    let rows = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// Runs commits on a disk that fails after so many calls. Gives whether it failed.
fn run(calls: u64, fault: Fault, with_log: bool) -> bool {
    const COMMITS: usize = 12;
    let context = format!("{fault:?} after {calls} calls, log: {with_log}");
    let mut random = Rng::with_seed(5);
    let disk = Disk::default();
    let store = disk.open(CACHE_BYTES, with_log).unwrap();
    disk.fail_after(calls, fault);
    let mut models = vec![Model::new()];
    let mut acknowledged = 0;
    for commit in 1..=COMMITS {
        let mut model = models[commit - 1].clone();
        let batch = batch(&mut random, commit, &mut model);
        models.push(model);
        match store.apply(&batch, Durability::Sync) {
            Ok(()) => acknowledged = commit,
            Err(error) => {
                assert!(disk.has_failed(), "{context}: {error}");
                let full = matches!(error, StoreError::Full);
                assert_eq!(full, fault == Fault::Full, "{context}: {error}");
                break;
            }
        }
        // The truth or an error.
        match read(&store) {
            Ok(found) => assert!(found == models[commit], "{context}: a wrong answer"),
            Err(error) => assert!(disk.has_failed(), "{context}: {error}"),
        }
    }
    let failed = disk.has_failed();
    // Behind an error the store gives the last state or an error, and takes nothing that it does not keep.
    if let Ok(found) = read(&store) {
        assert!(found == models[acknowledged], "{context}: a wrong answer behind the error");
    }
    disk.heal();
    if let Ok(found) = read(&store) {
        assert!(found == models[acknowledged], "{context}: a wrong answer once the disk was well");
    }
    let later = store.apply(Batch::new().put("later", "x"), Durability::Sync).is_ok();
    if failed && fault == Fault::All {
        assert!(store.sync().is_err() || later, "{context}");
    }
    drop(store);
    let store = disk.open(CACHE_BYTES, with_log).unwrap();
    let mut found = read(&store).unwrap();
    assert_eq!(found.remove(&b"later"[..]).is_some(), later, "{context}: the later commit");
    // The commit that failed may be there after all, whole.
    let whole = models[acknowledged..].iter().take(2).any(|model| *model == found);
    assert!(whole, "{context}: neither commit {acknowledged} nor the next came back");
    store.check(&mut |damage| panic!("{context}: {damage}")).unwrap();
    store.apply(Batch::new().put("again", "x"), Durability::Sync).unwrap();
    failed
}

#[test]
fn failing_disks() {
    for (fault, with_log) in
        [(Fault::All, false), (Fault::Full, false), (Fault::All, true), (Fault::Full, true)]
    {
        let mut calls = 0;
        while run(calls, fault, with_log) {
            calls += dotvm_test_modes::pick(1 + calls / 40, 1);
        }
        assert!(calls > 20, "{fault:?}: only {calls} calls were made");
    }
}

/// A disk that fails while the store is opened: a sentence.
#[test]
fn opening_on_a_failing_disk() {
    for with_log in [false, true] {
        let disk = Disk::default();
        let store = disk.open(CACHE_BYTES, with_log).unwrap();
        for value in ["v", "w"] {
            store.apply(Batch::new().put("k", value), Durability::Sync).unwrap();
        }
        // Not closed in good order: opening repairs.
        let files = disk.files();
        drop(store);
        let mut calls = 0;
        loop {
            let disk = Disk::with(files.clone());
            disk.fail_after(calls, Fault::All);
            match disk.open(CACHE_BYTES, with_log) {
                Ok(_) => break,
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
            disk.heal();
            let store = disk.open(CACHE_BYTES, with_log).unwrap();
            assert_eq!(store.snapshot().unwrap().get(b"k").unwrap().unwrap(), "w");
            calls += 1;
        }
        assert!(calls > 3, "opening made {calls} calls");
    }
}
