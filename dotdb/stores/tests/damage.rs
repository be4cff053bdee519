//! Flipped bits in the files of stores that are directories.
//!
//! What is read is the truth or an error; what reads cannot tell, the check finds. Both engines cut a log off at the
//! damage and would bring an older state back: it is refused, as the store was closed.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotdb_store::{Batch, Direction, Durability, Store, StoreError};
use dotdb_stores::{Access, Backend, StoreUrl, open};

const COMMITS: u32 = 20;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// The state after each commit, from none on.
fn models() -> Vec<Model> {
    let mut models = vec![Model::new()];
    for commit in 1..=COMMITS {
        let mut model = models[commit as usize - 1].clone();
        model.insert(b"commit".to_vec(), commit.to_be_bytes().to_vec());
        for key in 0..20u32 {
            // Numbers that spread over the keys: 7 generates the numbers modulo 71.
            let key = (key * 7 + commit * 31) % 71;
            model.insert(key.to_be_bytes().to_vec(), vec![commit as u8; 30 + key as usize]);
        }
        models.push(model);
    }
    models
}

fn make(url: &StoreUrl, compact: bool) {
    let store = open(url, Access::Create).unwrap();
    let models = models();
    for pair in models.windows(2) {
        let mut batch = Batch::new();
        for (key, value) in &pair[1] {
            if pair[0].get(key) != Some(value) {
                batch.put(key.clone(), value.clone());
            }
        }
        store.apply(&batch, Durability::Sync).unwrap();
    }
    if compact {
        store.compact().unwrap();
    }
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Whole,
    /// An error, as a sentence.
    Refused,
    /// Pairs are missing or of different commits, and the check says so.
    Noticed,
}

fn read(store: &Arc<dyn Store>, direction: Direction) -> Result<Model, StoreError> {
    let rows = store.snapshot()?.range(Bound::Unbounded, Bound::Unbounded, direction)?;
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

fn inspect(url: &StoreUrl, models: &[Model], context: &str) -> Outcome {
    let outcome = (|| -> Result<Outcome, StoreError> {
        let store = open(url, Access::Read)?;
        let found = read(&store, Direction::Forward)?;
        assert!(found == read(&store, Direction::Backward)?, "{context}: other rows backwards");
        let snapshot = store.snapshot()?;
        for (key, value) in &found {
            // Every value was once that of its key.
            let once = models.iter().any(|model| model.get(key) == Some(value));
            assert!(once, "{context}: a wrong value for {key:?}");
            let got = snapshot.get(key)?;
            assert_eq!(got.as_deref(), Some(&value[..]), "{context}: a look-up differs");
        }
        if Some(&found) == models.last() {
            return Ok(Outcome::Whole);
        }
        assert!(!models.contains(&found), "{context}: an older state is back");
        let mut damage = Vec::new();
        store.check(&mut |found| damage.push(found.to_string()))?;
        assert!(!damage.is_empty(), "{context}: pairs are missing and the check finds nothing");
        Ok(Outcome::Noticed)
    })();
    outcome.unwrap_or_else(|error| {
        let error = error.to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{context}: {error}");
        Outcome::Refused
    })
}

fn flip(backend: Backend, compact: bool) -> Vec<Outcome> {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    make(&StoreUrl::Disk(backend, whole.clone()), compact);
    let models = models();
    let mut paths = Vec::new();
    files(&whole, &mut paths);
    // Bytes that are not zero, of every file: a sample.
    let samples = dotvm_test_modes::pick(25, 500);
    let mut outcomes = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&whole).unwrap();
        let bytes = fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i] != 0).collect();
        for (round, &place) in places.iter().step_by(places.len().div_ceil(samples).max(1)).enumerate() {
            let copied = directory.path().join(format!("{}-{round}", outcomes.len()));
            copy(&whole, &copied);
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (round % 8);
            fs::write(copied.join(name), flipped).unwrap();
            let context = format!("{backend:?} {} byte {place}", name.display());
            outcomes.push(inspect(&StoreUrl::Disk(backend, copied.clone()), &models, &context));
            // What another open database still holds open may stay for a moment.
            let _ = fs::remove_dir_all(&copied);
        }
    }
    let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    println!(
        "{backend:?}, compacted {compact}: {} flips, {} without effect, {} refused, {} noticed by the check",
        outcomes.len(),
        count(Outcome::Whole),
        count(Outcome::Refused),
        count(Outcome::Noticed),
    );
    outcomes
}

#[cfg(feature = "rocksdb")]
#[test]
fn flipped_bits_in_rocksdb() {
    // In the log, and in the tables.
    for compact in [false, true] {
        assert!(flip(Backend::Rocksdb, compact).contains(&Outcome::Refused));
    }
}

#[cfg(feature = "sled")]
#[test]
fn flipped_bits_in_sled() {
    assert!(flip(Backend::Sled, false).contains(&Outcome::Refused));
}
