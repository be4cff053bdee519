//! Sums of blocks: when values need not be verified one by one, and that they are wherever anything is not known.

use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use dotdb_redb::RedbStore;
use dotdb_store::{Batch, Direction, Durability, Store, StoreError};

const PAIRS: u32 = 3000;

fn pair(i: u32, round: u8) -> (Vec<u8>, Vec<u8>) {
    // Every hundredth value fills several blocks.
    let bytes = if i.is_multiple_of(100) { 10_000 } else { 50 };
    (i.to_be_bytes().to_vec(), vec![i as u8 ^ round; bytes])
}

fn put_all(store: &RedbStore, round: u8, durability: Durability) {
    let mut batch = Batch::new();
    for i in 0..PAIRS {
        let (key, value) = pair(i, round);
        batch.put(key, value);
    }
    store.apply(&batch, durability).unwrap();
}

/// Reads every pair both ways, as of that round.
fn read_all(store: &RedbStore, round: u8) {
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
    let mut count = 0;
    for (row, i) in rows.zip(0..) {
        let (key, value) = row.unwrap();
        assert!((key.to_vec(), value.to_vec()) == pair(i, round), "row {i}");
        assert_eq!(snapshot.get(&key).unwrap().unwrap(), value);
        count += 1;
    }
    assert_eq!(count, PAIRS);
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state.db")
    }

    fn sums(&self) -> PathBuf {
        self.directory.path().join("state.db.sums")
    }

    fn open(&self) -> RedbStore {
        RedbStore::open_or_create(self.path()).unwrap()
    }

    /// Opens the store, reads all of it, and tells whether all of it was known.
    fn is_known(&self, round: u8) -> bool {
        let store = self.open();
        read_all(&store, round);
        store.blocks_are_known()
    }
}

/// The files as a process leaves them that is killed at this moment.
fn killed(from: &Place, to: &Place) {
    for entry in fs::read_dir(from.directory.path()).unwrap() {
        let from: PathBuf = entry.unwrap().path();
        fs::copy(&from, to.directory.path().join(from.file_name().unwrap())).unwrap();
    }
}

#[test]
fn what_was_written_is_known_when_it_is_opened_again() {
    let place = Place::new();
    let store = place.open();
    put_all(&store, 1, Durability::Sync);
    read_all(&store, 1);
    assert!(store.blocks_are_known());
    drop(store);
    assert!(place.is_known(1));
    for round in 2..6 {
        let store = place.open();
        put_all(&store, round, if round % 2 == 0 { Durability::Sync } else { Durability::None });
        read_all(&store, round);
        assert!(store.blocks_are_known());
        drop(store);
        assert!(place.is_known(round), "round {round}");
    }
    assert_eq!(fs::metadata(place.sums()).unwrap().len() % 8, 0);
}

#[test]
fn what_is_durable_is_known_after_a_kill() {
    let (place, copy) = (Place::new(), Place::new());
    let store = place.open();
    for round in 0..4 {
        put_all(&store, round, Durability::Sync);
        store.apply(Batch::new().put("~small", vec![round]), Durability::Sync).unwrap();
        store.apply(Batch::new().delete("~small"), Durability::Sync).unwrap();
        killed(&place, &copy);
        assert!(copy.is_known(round), "round {round}");
    }
}

#[test]
fn compaction_keeps_the_sums() {
    let place = Place::new();
    let store = place.open();
    for round in 0..3 {
        put_all(&store, round, Durability::Sync);
    }
    store.compact().unwrap();
    read_all(&store, 2);
    assert!(store.blocks_are_known());
    drop(store);
    assert!(place.is_known(2));
}

/// Without sums, with cut ones, with other bytes or a folder in their place, and with those of an earlier state: each
/// value is verified by itself, and the check makes the sums right again where they can be kept.
#[test]
fn lost_and_wrong_sums() {
    let place = Place::new();
    drop(place.open());
    let first = fs::read(place.sums()).unwrap();
    put_all(&place.open(), 1, Durability::Sync);
    let old = fs::read(place.sums()).unwrap();
    for round in 2..5 {
        put_all(&place.open(), round, Durability::Sync);
    }
    let right = fs::read(place.sums()).unwrap();
    let mut flipped = right.clone();
    for byte in flipped.iter_mut().skip(16).step_by(8) {
        *byte ^= 4;
    }
    let cases: [(&str, Option<&[u8]>); 7] = [
        ("none", None),
        ("empty", Some(b"")),
        ("text", Some(b"these are no sums at all, but text")),
        ("first", Some(&first)),
        ("old", Some(&old)),
        ("cut", Some(&right[..right.len() / 2])),
        ("flipped", Some(&flipped)),
    ];
    for (name, bytes) in cases {
        let _ = fs::remove_file(place.sums());
        if let Some(bytes) = bytes {
            fs::write(place.sums(), bytes).unwrap();
        }
        assert!(!place.is_known(4), "{name}");
        assert!(!place.is_known(4), "{name}: reading alone does not know better");
        let store = place.open();
        store.check(&mut |damage| panic!("{name}: {damage}")).unwrap();
        drop(store);
        assert!(place.is_known(4), "{name}: after the check");
    }
    fs::remove_file(place.sums()).unwrap();
    fs::create_dir(place.sums()).unwrap();
    assert!(!place.is_known(4));
    place.open().check(&mut |damage| panic!("{damage}")).unwrap();
    assert!(!place.is_known(4));
    assert!(place.sums().is_dir());
}

/// A damaged page that redb copies, because a neighbour is written or the file compacted, does not become a known one.
#[test]
fn copies_of_damaged_pages_are_not_known() {
    type Copying = fn(&RedbStore);
    let ways: [(&str, Copying); 3] = [
        ("neighbours", |store| {
            for i in 0..PAIRS {
                if i != 7 {
                    let (key, value) = pair(i, 2);
                    store.apply(Batch::new().put(key, value), Durability::None).unwrap();
                }
            }
        }),
        ("compaction", |store| {
            store.compact().unwrap();
        }),
        ("both", |store| {
            let (key, value) = pair(8, 2);
            store.apply(Batch::new().put(key, value), Durability::Sync).unwrap();
            store.compact().unwrap();
        }),
    ];
    for (name, copy) in ways {
        let place = Place::new();
        // Space in front, so that there is something to compact.
        let store = place.open();
        for round in 0..3 {
            put_all(&store, round, Durability::Sync);
        }
        drop(store);
        let mut bytes = fs::read(place.path()).unwrap();
        let value = pair(7, 2).1;
        // Of the values that differ in nothing but where they lie, all that are 7's.
        let places: Vec<usize> =
            (0..bytes.len() - value.len()).filter(|&at| bytes[at..].starts_with(&value)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at + 20] ^= 1;
        }
        fs::write(place.path(), bytes).unwrap();
        copy(&place.open());
        for _ in 0..2 {
            let error = place.open().snapshot().unwrap().get(&7u32.to_be_bytes());
            assert!(matches!(error, Err(StoreError::Corrupt { .. })), "{name}: {error:?}");
        }
    }
}

/// A value written past the store, with its page's own checksum right, is found by the check, which then leaves no
/// sums behind, so that no reading trusts it.
#[test]
fn the_check_does_not_make_wrong_values_known() {
    let place = Place::new();
    put_all(&place.open(), 1, Durability::Sync);
    write_past(&place.path());
    for _ in 0..2 {
        let store = place.open();
        let mut found = Vec::new();
        store.check(&mut |damage| found.push(damage.to_string())).unwrap();
        assert!(found.iter().any(|line| line.contains("does not match its checksum")), "{found:?}");
        drop(store);
        let store = place.open();
        let error = store.snapshot().unwrap().get(&7u32.to_be_bytes()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(!store.blocks_are_known());
    }
}

fn write_past(path: &Path) {
    let raw = redb::Database::open(path).unwrap();
    let transaction = raw.begin_write().unwrap();
    let data: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("dotdb.data");
    transaction.open_table(data).unwrap().insert(&7u32.to_be_bytes()[..], &[7u8; 54][..]).unwrap();
    transaction.commit().unwrap();
}
