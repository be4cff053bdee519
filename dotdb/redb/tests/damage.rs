//! Files that are not a store, are damaged, or come from the future: a sentence, never a panic and
//! never a wrong value.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;

use dotdb_redb::RedbStore;
use dotdb_store::{Batch, Direction, Durability, Store, StoreError};
use redb::TableDefinition;

const PAIRS: u32 = 200;

fn model() -> BTreeMap<Vec<u8>, Vec<u8>> {
    (0..PAIRS).map(|i| (i.to_be_bytes().to_vec(), vec![i as u8; 40])).collect()
}

fn make(path: &Path) -> Vec<u8> {
    let store = RedbStore::open_or_create(path).unwrap();
    let mut batch = Batch::new();
    for (key, value) in model() {
        batch.put(key, value);
    }
    store.apply(&batch, Durability::Sync).unwrap();
    drop(store);
    fs::read(path).unwrap()
}

/// Opens a damaged file and reads all of it. Every value given must be a true one. Gives the message
/// of the error, if there was one, and how many true values were missed without an error.
fn inspect(path: &Path) -> (Option<String>, usize) {
    let truth = model();
    let mut missed = 0;
    let mut check = || -> Result<(), StoreError> {
        let store = RedbStore::open(path)?;
        let snapshot = store.snapshot()?;
        for (key, value) in &truth {
            match snapshot.get(key)? {
                Some(found) => assert_eq!(&found[..], &value[..], "a wrong value for {key:?}"),
                None => missed += 1,
            }
        }
        for direction in [Direction::Forward, Direction::Backward] {
            for row in snapshot.range(Bound::Unbounded, Bound::Unbounded, direction)?.take(1000) {
                let (key, value) = row?;
                assert_eq!(truth.get(&key[..]).map(|value| &value[..]), Some(&value[..]), "a wrong row");
            }
        }
        store.stats()?;
        store.apply(Batch::new().put("new", "value"), Durability::Sync)?;
        Ok(())
    };
    (check().err().map(|error| error.to_string()), missed)
}

#[test]
fn flipped_bits() {
    let directory = tempfile::tempdir().unwrap();
    let whole = make(&directory.path().join("whole.db"));
    let path = directory.path().join("flipped.db");
    // The header (320 bytes), and what is not zero behind it: much of it in long mode, else a sample.
    let (header, behind) = if std::env::var_os("DOTVM_LONG").is_some() { (1, 7) } else { (5, 185) };
    let data = (320..whole.len()).filter(|&i| whole[i] != 0).step_by(behind);
    let offsets: Vec<usize> = (0..320).step_by(header).chain(data).collect();
    let (mut errors, mut missed) = (0, 0);
    for (round, &offset) in offsets.iter().enumerate() {
        let mut flipped = whole.clone();
        flipped[offset] ^= 1 << (round % 8);
        fs::write(&path, &flipped).unwrap();
        let (error, absent) = inspect(&path);
        if let Some(error) = error {
            errors += 1;
            assert!(!error.is_empty() && !error.contains('\n'), "byte {offset}: {error}");
        }
        missed += absent;
    }
    println!("{} flips: {errors} errors, {missed} values missed", offsets.len());
    assert!(errors > 0, "no flip was noticed");
}

#[test]
fn cut_files() {
    let directory = tempfile::tempdir().unwrap();
    let whole = make(&directory.path().join("whole.db"));
    let path = directory.path().join("cut.db");
    for length in [0, 1, 8, 9, 10, 64, 319, 320, 511, 512, 4095, 4096, 4097, 8192, 20_000, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = RedbStore::open(&path).err().unwrap_or_else(|| panic!("{length} bytes were opened"));
        let expected = if length < 9 {
            matches!(error, StoreError::NotADatabase { .. })
        } else {
            matches!(error, StoreError::Corrupt { .. })
        };
        assert!(expected, "{length} bytes: {error}");
    }
}

#[test]
fn other_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "Dear diary, today I wrote a virtual machine.").unwrap();
    let error = RedbStore::open_or_create(&path).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("{} is not a DotDB store: it does not begin like a redb file", path.display())
    );
    assert_eq!(fs::read(&path).unwrap().len(), 44, "the file is as it was");

    let path = directory.path().join("other.redb");
    let other = redb::Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    let numbers: TableDefinition<u64, u64> = TableDefinition::new("numbers");
    transaction.open_table(numbers).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(other);
    let error = RedbStore::open(&path).err().unwrap();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
}

#[test]
fn files_from_the_future() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    make(&path);
    let raw = redb::Database::open(&path).unwrap();
    let transaction = raw.begin_write().unwrap();
    let meta: TableDefinition<&str, u32> = TableDefinition::new("dotdb.meta");
    transaction.open_table(meta).unwrap().insert("format", 9).unwrap();
    transaction.commit().unwrap();
    drop(raw);
    for error in [RedbStore::open(&path).err().unwrap(), RedbStore::open_read_only(&path).err().unwrap()] {
        assert_eq!(
            error.to_string(),
            "the store has format 9 and this program reads up to format 1: use a newer version"
        );
    }
}

#[test]
fn a_value_changed_behind_our_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    make(&path);
    let raw = redb::Database::open(&path).unwrap();
    let transaction = raw.begin_write().unwrap();
    let data: TableDefinition<&[u8], &[u8]> = TableDefinition::new("dotdb.data");
    let key = 7u32.to_be_bytes();
    transaction.open_table(data).unwrap().insert(&key[..], &[7u8; 44][..]).unwrap();
    transaction.commit().unwrap();
    drop(raw);
    let store = RedbStore::open(&path).unwrap();
    let error = store.snapshot().unwrap().get(&key).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the store is damaged: the value of key 00000007 does not match its checksum"
    );
    let rows = store.snapshot().unwrap().range(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
    let rows: Vec<_> = rows.unwrap().collect();
    assert_eq!(rows.len(), 8, "the range ends with the error");
    assert!(rows[..7].iter().all(Result::is_ok) && rows[7].is_err());
}
