//! Files that are not a store, are damaged, or come from the future: a sentence, never a panic and
//! never a wrong value.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

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

/// What [`Store::check`] finds in a file, or why it could not be opened.
fn found(path: &Path) -> Vec<String> {
    let store = match RedbStore::open_read_only(path) {
        Err(StoreError::Unclean { .. }) => RedbStore::open(path),
        result => result,
    };
    let mut found = Vec::new();
    match store.and_then(|store| store.check(&mut |damage| found.push(damage.to_string()))) {
        Ok(()) => {}
        Err(error) => found.push(error.to_string()),
    }
    assert!(found.iter().all(|line| !line.is_empty() && !line.contains('\n')), "{found:?}");
    found
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
            let mut rows = 0;
            for row in snapshot.range(Bound::Unbounded, Bound::Unbounded, direction)? {
                let (key, value) = row?;
                assert_eq!(truth.get(&key[..]).map(|value| &value[..]), Some(&value[..]), "a wrong row");
                rows += 1;
            }
            missed += truth.len() - rows;
        }
        store.stats()?;
        store.apply(Batch::new().put("new", "value"), Durability::Sync)?;
        Ok(())
    };
    (check().err().map(|error| error.to_string()), missed)
}

fn sums_of(path: &Path) -> PathBuf {
    path.with_extension("db.sums")
}

/// Every read answers the truth or an error. The one thing that reads cannot tell, a pair that damage hides, the
/// check finds; and it finds the damage of every page in use, whether a read meets it or not.
#[test]
fn flipped_bits() {
    flip_bits(false);
}

/// With the sums of the blocks as they were, by which values that are not damaged are not verified.
#[test]
fn flipped_bits_of_known_blocks() {
    flip_bits(true);
}

fn flip_bits(with_sums: bool) {
    let directory = tempfile::tempdir().unwrap();
    let whole = make(&directory.path().join("whole.db"));
    let sums = fs::read(sums_of(&directory.path().join("whole.db"))).unwrap();
    assert_eq!(found(&directory.path().join("whole.db")), [""; 0]);
    let path = directory.path().join("flipped.db");
    // The header (320 bytes), and what is not zero behind it: much of it in long mode, else a sample.
    let (header, behind) = dotvm_test_modes::pick((5, 61), (1, 7));
    let data = (320..whole.len()).filter(|&i| whole[i] != 0).step_by(behind);
    let offsets: Vec<usize> = (0..320).step_by(header).chain(data).collect();
    let (mut errors, mut hiding, mut noticed) = (0, 0, 0);
    for (round, &offset) in offsets.iter().enumerate() {
        let mut flipped = whole.clone();
        flipped[offset] ^= 1 << (round % 8);
        fs::write(&path, &flipped).unwrap();
        let give_sums = || match with_sums {
            true => fs::write(sums_of(&path), &sums).unwrap(),
            false => drop(fs::remove_file(sums_of(&path))),
        };
        give_sums();
        let damage = found(&path);
        fs::write(&path, &flipped).unwrap();
        give_sums();
        let (error, missed) = inspect(&path);
        if let Some(error) = error {
            errors += 1;
            assert!(!error.is_empty() && !error.contains('\n'), "byte {offset}: {error}");
        }
        if missed > 0 {
            hiding += 1;
            assert!(
                !damage.is_empty(),
                "byte {offset}: {missed} pairs are hidden and the check finds nothing"
            );
        }
        noticed += usize::from(!damage.is_empty());
    }
    println!(
        "{} flips: {errors} errors, {hiding} hiding pairs, {noticed} noticed by the check",
        offsets.len()
    );
    assert!(errors > 0 && hiding > 0 && noticed > errors, "the flips met nothing");
}

/// A key changed in its page: the pair is hidden from look-ups, and the check names it.
#[test]
fn a_changed_key_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let store = RedbStore::open_or_create(&path).unwrap();
    store
        .apply(Batch::new().put("before", "1").put("needle-in-a-page", "2").put("z", "3"), Durability::Sync)
        .unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - 16).filter(|&i| &bytes[i..i + 16] == b"needle-in-a-page").collect();
    for place in places {
        bytes[place + 7] ^= 2;
    }
    fs::write(&path, bytes).unwrap();
    let found = found(&path);
    assert!(
        found.iter().any(|line| line.starts_with("its pages are damaged") || line.contains("checksum")),
        "{found:?}"
    );
    let key: String = b"needle-kn-a-page".iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(found.iter().any(|line| line.contains(&key)), "{found:?}");
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
            "the store has format 9 and this program reads up to format 2: use a newer version"
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

/// What the first format wrote is read and written on, with its own checksums.
#[test]
fn files_of_the_first_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let data = redb::TableDefinition::<&[u8], &[u8]>::new("dotdb.data");
    let meta = redb::TableDefinition::<&str, u32>::new("dotdb.meta");
    {
        let raw = redb::Database::create(&path).unwrap();
        let transaction = raw.begin_write().unwrap();
        transaction.open_table(meta).unwrap().insert("format", 1).unwrap();
        // CRC-32 of `123456789` is cbf43926, the check value of its catalogue entry.
        let stored = [&b"56789"[..], &0xcbf4_3926u32.to_le_bytes()].concat();
        transaction.open_table(data).unwrap().insert(&b"1234"[..], &stored[..]).unwrap();
        transaction.commit().unwrap();
    }
    let store = RedbStore::open(&path).unwrap();
    for number in 0..20u8 {
        store.apply(Batch::new().put("1234", [b"5678", &[number][..]].concat()), Durability::Sync).unwrap();
    }
    assert_eq!(store.snapshot().unwrap().get(b"1234").unwrap().unwrap(), &b"5678\x13"[..]);
    store.apply(Batch::new().put("1234", "56789"), Durability::Sync).unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "programs of its time look for no log or sums");
    drop(store);
    let raw = redb::Database::open(&path).unwrap();
    let table = redb::ReadableDatabase::begin_read(&raw).unwrap().open_table(data).unwrap();
    let stored = table.get(&b"1234"[..]).unwrap().unwrap();
    assert_eq!(stored.value(), [&b"56789"[..], &0xcbf4_3926u32.to_le_bytes()].concat());
}
