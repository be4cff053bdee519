//! Dump and load, backup, migration, and what `check` finds.

use std::io::{self, Read};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb::query::{IndexSpec, Schema};
use dotdb::store::{Batch, Durability as StoreDurability};
use dotdb::{
    Database, DbError, Direction, Durability, History, Mode, Settings, Store, StoreError, TransferError,
    ValueKind, document,
};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;

const ROOTED: Settings = Settings { history: History::Last(100), state_root: true };

fn pairs(store: &dyn Store) -> Vec<(Bytes, Bytes)> {
    let snapshot = store.snapshot().unwrap();
    let pairs = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
    pairs.map(|pair| pair.unwrap()).collect()
}

/// The state's rows at a version, which two databases can be compared by.
fn state(database: &Database, version: u64) -> Vec<(Bytes, Bytes)> {
    database.rows_at(version).unwrap().map(|row| row.unwrap()).collect()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (i, byte) in bytes.iter().enumerate() {
        hash[i % 32] ^= byte.rotate_left((i / 32 % 8) as u32);
    }
    hash
}

/// Contracts with code, slots, documents with a schema and an index, byte strings; four versions.
fn filled(store: Arc<dyn Store>, settings: Settings) -> Database {
    let database = Database::open_or_create(store, settings).unwrap();
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    tx.put_code(hash(b"module"), &b"module"[..]).unwrap();
    let town = tx.bind("town", hash(b"module")).unwrap();
    let people = tx.collection(town, "people", ValueKind::Document).unwrap();
    for (key, json) in [("anna", r#"{"age":31}"#), ("ben", r#"{"age":27}"#)] {
        tx.put(people, key.as_bytes(), document::from_json(json).unwrap()).unwrap();
    }
    tx.commit(Durability::Sync).unwrap();
    database.create_index(town, "people", "by-age", &IndexSpec::parse("age").unwrap(), |_| ()).unwrap();
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let other = tx.contract_id("other").unwrap();
    let notes = tx.collection(other, "notes", ValueKind::Bytes).unwrap();
    for i in 0..200u32 {
        tx.insert(notes, i.to_le_bytes().repeat(3000)).unwrap();
    }
    tx.slot_set(other, &[1, 0], &[7]).unwrap();
    tx.commit(Durability::Sync).unwrap();
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let people = tx.collection(town, "people", ValueKind::Document).unwrap();
    let schema = Schema::from_json(r#"{"properties":{"age":{"type":"integer"}}}"#).unwrap();
    tx.set_schema(people, Some(&schema)).unwrap();
    tx.delete(people, b"ben").unwrap();
    tx.commit(Durability::Sync).unwrap();
    database
}

fn findings(database: &Database) -> Vec<String> {
    let mut found = Vec::new();
    let rows = database.check(&hash, |_| (), &mut |finding| found.push(finding.to_string())).unwrap();
    assert!(rows > 200);
    found
}

fn dump(database: &Database, version: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let dump = database.dump(version, &mut bytes, |_| ()).unwrap();
    assert_eq!((dump.version, dump.bytes), (version, bytes.len() as u64));
    bytes
}

fn load(bytes: &[u8]) -> Result<(Database, dotdb::Dump), TransferError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    Database::load(&store, &mut &bytes[..], |settings| settings, |_| ())
}

#[test]
fn a_dump_is_loaded_into_another_backend_with_version_and_root() {
    let folder = tempfile::tempdir().unwrap();
    let redb = Arc::new(RedbStore::open_or_create(folder.path().join("a.db")).unwrap());
    let database = filled(redb, ROOTED);
    let last = database.version();
    for version in [last, last - 1] {
        let bytes = dump(&database, version);
        let (loaded, dump) = load(&bytes).unwrap();
        assert_eq!((loaded.version(), loaded.oldest_version().unwrap()), (version, version));
        assert_eq!(loaded.settings(), ROOTED);
        assert_eq!(state(&loaded, version), state(&database, version));
        assert_eq!(loaded.state_root(version).unwrap(), database.state_root(version).unwrap());
        assert_eq!(dump.root, Some(database.state_root(version).unwrap()));
        assert_eq!(findings(&loaded), Vec::<String>::new());
        // Life goes on there.
        let mut tx = loaded.begin(Mode::ReadWrite).unwrap();
        let id = tx.contract_id("new").unwrap();
        tx.slot_set(id, &[1], &[1]).unwrap();
        assert_eq!(tx.commit(Durability::Sync).unwrap(), version + 1);
        assert_eq!(loaded.begin_at(version).unwrap().contracts().unwrap().len(), 2);
        assert_eq!(findings(&loaded), Vec::<String>::new());
    }
    // Other settings, and back into a file.
    let store: Arc<dyn Store> = Arc::new(RedbStore::open_or_create(folder.path().join("b.db")).unwrap());
    let none = Settings { history: History::None, state_root: false };
    let bytes = dump(&database, last);
    let (loaded, _) = Database::load(&store, &mut &bytes[..], |_| none, |_| ()).unwrap();
    assert_eq!((loaded.settings(), state(&loaded, last)), (none, state(&database, last)));
    assert_eq!(findings(&loaded), Vec::<String>::new());
    let again = Database::load(&store, &mut &bytes[..], |_| none, |_| ());
    assert!(matches!(again, Err(TransferError::NotEmpty)));
}

#[test]
fn an_empty_database_has_a_dump() {
    let database = Database::open_or_create(Arc::new(MemoryStore::new()), ROOTED).unwrap();
    let (loaded, dump) = load(&dump(&database, 0)).unwrap();
    assert_eq!((loaded.version(), dump.rows), (0, 0));
    assert_eq!(loaded.state_root(0).unwrap(), database.state_root(0).unwrap());
}

/// A store that must stay no database.
fn refused(bytes: &[u8]) -> String {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let error = Database::load(&store, &mut &bytes[..], |settings| settings, |_| ()).map(drop).unwrap_err();
    assert!(pairs(&*store).iter().all(|(key, _)| &key[..] != b"\0schema"), "{error}");
    error.to_string()
}

#[test]
fn dumps_that_are_cut_or_altered_are_refused() {
    let database = filled(Arc::new(MemoryStore::new()), ROOTED);
    let whole = dump(&database, database.version());
    assert!(whole.len() > 2 << 20, "several blocks");
    let cuts = (0..300).chain((300..whole.len()).step_by(99_991)).chain(whole.len() - 60..whole.len());
    for cut in cuts {
        let message = refused(&whole[..cut]);
        let wanted = if cut < 8 { "not a dump" } else { "ends too early, at byte" };
        assert!(message.contains(wanted), "cut at {cut}: {message}");
    }
    let flips = (0..120).chain((120..whole.len()).step_by(77_777)).chain(whole.len() - 60..whole.len());
    for flip in flips {
        let mut bytes = whole.clone();
        bytes[flip] ^= 0x10;
        let message = refused(&bytes);
        let known = ["not a dump", "damaged", "too early"].iter().any(|words| message.contains(words));
        assert!(known, "flipped at {flip}: {message}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(refused(&longer).contains("goes on behind its end"));
    // A block left out, with its own checksum right.
    let length = |at: usize| u32::from_be_bytes(whole[at + 1..at + 5].try_into().unwrap()) as usize + 9;
    let first = 8 + length(8);
    let second = first + length(first);
    let without = [&whole[..first], &whole[second..]].concat();
    assert!(refused(&without).contains("does not agree"), "{}", refused(&without));
    // A later format: its number follows magic and head, and the checksum is made anew.
    let mut newer = whole.clone();
    newer[8 + 5 + 3] = 2;
    let head = 8 + length(8);
    let crc = crc32(&newer[8..head - 4]);
    newer[head - 4..head].copy_from_slice(&crc.to_be_bytes());
    assert!(refused(&newer).contains("format 2"), "{}", refused(&newer));
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn readers_that_give_little_and_readers_that_fail() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = buffer.len().min(4093).min(self.0.len());
            buffer[..some].copy_from_slice(&self.0[..some]);
            self.0 = &self.0[some..];
            Ok(some)
        }
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let database = filled(Arc::new(MemoryStore::new()), ROOTED);
    let bytes = dump(&database, database.version());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut read = 0;
    Database::load(&store, &mut Slow(&bytes), |settings| settings, |bytes| read += bytes).unwrap();
    // The magic is not told, nor that nothing follows.
    assert_eq!(read + 8 + head_bytes(&bytes), bytes.len() as u64);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let failed = Database::load(&store, &mut Broken, |settings| settings, |_| ()).map(drop);
    assert!(failed.unwrap_err().to_string().contains("unplugged"));
}

fn head_bytes(dump: &[u8]) -> u64 {
    u64::from(u32::from_be_bytes(dump[9..13].try_into().unwrap())) + 9
}

#[test]
fn a_backup_is_of_one_moment_while_others_commit() {
    let all = Settings { history: History::All, state_root: true };
    let database = filled(Arc::new(MemoryStore::new()), all);
    let before = database.version();
    let folder = tempfile::tempdir().unwrap();
    let copy = Arc::new(RedbStore::open_or_create(folder.path().join("copy.db")).unwrap());
    let backup = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            // A counter and its negative, never apart in one version.
            for i in 1..=500u64 {
                let mut tx = database.begin(Mode::ReadWrite).unwrap();
                let id = tx.contract_id("other").unwrap();
                tx.slot_set(id, &[2], &i.to_be_bytes()).unwrap();
                tx.slot_set(id, &[3], &(!i).to_be_bytes()).unwrap();
                tx.commit(Durability::None).unwrap();
            }
        });
        let backup = database.backup(&*copy, |_| ()).unwrap();
        writer.join().unwrap();
        backup
    });
    let restored = Database::open(copy.clone()).unwrap();
    assert_eq!(restored.version(), backup.version);
    assert_eq!(pairs(&*copy).len() as u64, backup.keys);
    let mut tx = restored.begin(Mode::ReadOnly).unwrap();
    let id = tx.contract_id("other").unwrap();
    let number =
        |value: dotdb::SlotValue| value.as_bytes().iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    let (count, inverse) = (tx.slot_get(id, &[2]).unwrap(), tx.slot_get(id, &[3]).unwrap());
    assert_eq!(number(count), backup.version - before);
    assert!(count.as_bytes().is_empty() || number(count) == !number(inverse));
    drop(tx);
    let version = backup.version;
    assert_eq!(restored.state_root(version).unwrap(), database.state_root(version).unwrap());
    assert_eq!(state(&restored, before), state(&database, before), "the history is there");
    assert_eq!(findings(&restored), Vec::<String>::new());
    assert!(matches!(database.backup(&*copy, |_| ()), Err(TransferError::NotEmpty)));
}

/// A store as the first release wrote it, byte by byte.
fn schema_1() -> Vec<(&'static [u8], &'static [u8])> {
    vec![
        (b"\x00schema", &[0, 0, 0, 1]),
        (b"\x00contracts", &[0, 0, 0, 2]),
        (b"\x00collections", &[0, 0, 0, 3]),
        (b"\x01town", &[0, 0, 0, 1]),
        (b"\x01other", &[0, 0, 0, 2]),
        (b"\x03\0\0\0\x01\x01\x07", &[42]),
        // Number 2, documents, 2 records, next key 1: nothing was ever inserted.
        (b"\x04\0\0\0\x01people", &[0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]),
        // Number 1, byte strings, 1 record, next key 10.
        (b"\x04\0\0\0\x01notes", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 10]),
        // Number 3, no records, the keys used up.
        (b"\x04\0\0\0\x02full", &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (b"\x05\0\0\0\x01\0\0\0\0\0\0\0\x09", b"nine"),
        // {"age": 31} and 5 as CBOR.
        (b"\x05\0\0\0\x02anna", &[0xa1, 0x63, b'a', b'g', b'e', 0x18, 31]),
        (b"\x05\0\0\0\x02five", &[5]),
    ]
}

fn store_of(rows: Vec<(&'static [u8], &'static [u8])>) -> Arc<dyn Store> {
    let store = MemoryStore::new();
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(key, value)| (Bytes::from_static(key), Some(Bytes::from_static(value))))
        .collect();
    store.apply(&Batch::from(rows), StoreDurability::Sync).unwrap();
    Arc::new(store)
}

#[test]
fn a_database_of_schema_1_is_migrated() {
    for settings in [ROOTED, Settings { history: History::None, state_root: false }] {
        let store = store_of(schema_1());
        let refused = Database::open(Arc::clone(&store)).map(drop).unwrap_err();
        assert!(matches!(refused, DbError::OlderSchema { found: 1, current: 2 }), "{refused}");
        let migration = Database::migrate(&store, settings).unwrap().unwrap();
        assert_eq!((migration.from, migration.to), (1, 2));
        let database = Database::open(Arc::clone(&store)).unwrap();
        assert_eq!((database.settings(), database.version()), (settings, 0));
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let town = tx.contract_id("town").unwrap();
        assert_eq!(tx.slot_get(town, &[7]).unwrap().as_bytes(), [42]);
        let people = tx.collection(town, "people", ValueKind::Document).unwrap();
        let notes = tx.collection(town, "notes", ValueKind::Bytes).unwrap();
        assert_eq!((tx.count(people).unwrap(), tx.count(notes).unwrap()), (2, 1));
        let anna = tx.get(people, b"anna").unwrap().unwrap();
        assert_eq!(document::to_json(&anna).unwrap(), r#"{"age":31}"#);
        assert_eq!(tx.insert(notes, &b"ten"[..]).unwrap()[..], 10u64.to_be_bytes());
        assert_eq!(tx.insert(people, vec![6]).unwrap()[..], 1u64.to_be_bytes());
        let other = tx.contract_id("other").unwrap();
        let full = tx.collection(other, "full", ValueKind::Bytes).unwrap();
        assert!(matches!(tx.insert(full, &b"x"[..]), Err(DbError::Exhausted { .. })));
        assert_eq!(tx.commit(Durability::Sync).unwrap(), 1);
        let mut found = Vec::new();
        database.check(&hash, |_| (), &mut |finding| found.push(finding.to_string())).unwrap();
        assert_eq!(found, Vec::<String>::new());
        // Once more is no change.
        let before = pairs(&*store);
        assert_eq!(Database::migrate(&store, settings).unwrap(), None);
        assert_eq!(pairs(&*store), before);
    }
}

#[test]
fn migration_refuses_what_it_does_not_know() {
    let newer = store_of(vec![(b"\x00schema", &[0, 0, 0, 9])]);
    let error = Database::migrate(&newer, ROOTED).unwrap_err();
    assert!(matches!(error, DbError::Store(StoreError::NewerFormat { found: 9, supported: 2 })), "{error}");
    let foreign = store_of(vec![(b"name", b"value")]);
    assert!(matches!(Database::migrate(&foreign, ROOTED), Err(DbError::Foreign)));
    let mut rows = schema_1();
    rows[6].1 = &[0, 0, 0, 2, 1, 0];
    let damaged = store_of(rows);
    let before = pairs(&*damaged);
    assert!(Database::migrate(&damaged, ROOTED).unwrap_err().to_string().contains("schema 1"));
    assert_eq!(pairs(&*damaged), before);
}

/// Damage done behind the database's back, and words of what `check` says of it.
#[test]
fn every_kind_of_damage_is_found_and_named() {
    let put =
        |key: &'static [u8], value: &'static [u8]| (Bytes::from_static(key), Some(Bytes::from_static(value)));
    let delete = |key: &'static [u8]| (Bytes::from_static(key), None);
    let age = document::from_json(r#"{"age":31}"#).unwrap();
    assert_eq!(age, [0xa1, 0x63, b'a', b'g', b'e', 0x18, 31]);
    // town is contract 1, other is 2; people is collection 1, notes is 2; by-age is index 1.
    type Damage = (Bytes, Option<Bytes>);
    let cases: [(Damage, &[&str]); 22] = [
        (put(b"\x05\0\0\0\x01anna", &[0xff]), &["the record \"anna\" of town/people", "no document"]),
        (
            delete(b"\x05\0\0\0\x01anna"),
            &["town/people", "has 0 records and counts 1", "belong to no record"],
        ),
        (
            put(b"\x05\0\0\0\x01anna", &[0xa1, 0x63, b'a', b'g', b'e', 0x18, 32]),
            &["town/people", "lacks an entry of the record \"anna\""],
        ),
        (
            put(b"\x05\0\0\0\x01anna", &[0xa1, 0x63, b'a', b'g', b'e', 0x61, b'x']),
            &["town/people", "the record \"anna\" breaks the schema"],
        ),
        (put(b"\x05\0\0\0\x09x", b"y"), &["belongs to no collection"]),
        (
            put(b"\x06\0\0\0\x02\0", &[0, 0, 0, 0, 0, 0, 0, 9]),
            &["other/notes", "has 200 records and counts 9"],
        ),
        (put(b"\x06\0\0\0\x02\0", &[1]), &["the counters of other/notes", "not a counter"]),
        (put(b"\x03\0\0\0\x02\x02\x01\0", &[0, 7]), &["slot 0x0100 of contract other", "not a slot value"]),
        (put(b"\x03\0\0\0\x02\x02\x01", &[7]), &["not that of a slot"]),
        (put(b"\x03\0\0\0\x07\x01\x01", &[7]), &["belongs to no contract"]),
        (put(b"\x01town", &[0, 0]), &["contracts and collections", "is not a contract"]),
        (put(b"\x01other", &[0, 0, 0, 1]), &["has the number of another contract"]),
        (put(b"\x04\0\0\0\x02notes", &[0, 0, 0, 2, 7, 0]), &["has an unknown kind of collection"]),
        (put(b"\x04\0\0\0\x02notes", &[0, 0, 0, 2, 0, 1]), &["other/notes", "not what it says"]),
        (
            put(b"\x07\0\0\0\x01by-age", &[0, 0, 0]),
            &["the index \"by-age\" of town/people", "not the definition"],
        ),
        (put(b"\x08\0\0\0\x01", &[0xff]), &["the schema of town/people"]),
        (put(b"\x10\0\0\0\x09x", &[0, 1]), &["an entry of index 9", "belongs to no index"]),
        (put(b"\x00collections", &[0, 0, 0, 1]), &["the last number given is 1, and 2 is in use"]),
        (delete(b"\x80\0\0\0\0\0\0\0\x02\0\0\0\0"), &["a gap before version 3"]),
        (put(b"\x83old", &[0, 0, 0, 0, 0, 0, 0, 99]), &["stands for version 99, which is not kept"]),
        (put(b"\x20key", b""), &["DotDB writes no such key"]),
        (put(b"\x84colour", b""), &["it is no setting"]),
    ];
    for (damage, words) in cases {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let database = filled(Arc::clone(&store), ROOTED);
        database.settle().unwrap();
        assert_eq!(findings(&database), Vec::<String>::new());
        drop(database);
        let shown = format!("{:?}", damage.0);
        store.apply(&Batch::from(vec![damage]), StoreDurability::Sync).unwrap();
        let found = findings(&Database::open(store).unwrap()).join("\n");
        for word in words {
            assert!(found.contains(word), "{shown}: {word:?} is not in {found:?}");
        }
    }
}

#[test]
fn damaged_code_history_and_tree_are_found() {
    let rows = |store: &dyn Store, tag: u8| -> Vec<Bytes> {
        let rows = pairs(store).into_iter().filter(|(key, _)| key[0] == tag);
        rows.map(|(key, _)| key).collect()
    };
    type Case = (u8, Option<&'static [u8]>, &'static str);
    let cases: [Case; 6] = [
        (2, Some(b"other"), "does not have the hash"),
        (2, None, "its code is not there"),
        (0x81, None, "the history does not say so"),
        (0x81, Some(&[1, 2, 3]), "the history does not say so"),
        (0x82, Some(&[0xee]), "the state tree"),
        (0x10, None, "lacks an entry of the record \"anna\""),
    ];
    for (tag, value, words) in cases {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let database = filled(Arc::clone(&store), ROOTED);
        database.settle().unwrap();
        drop(database);
        let keys = rows(&*store, tag);
        // The nodes of the tree that today's version has: all of them.
        let damaged = if tag == 0x82 { &keys[..] } else { &keys[..1] };
        let value = value.map(Bytes::from_static);
        let batch: Batch = damaged.iter().map(|key| (key.clone(), value.clone())).collect();
        store.apply(&batch, StoreDurability::Sync).unwrap();
        let found = findings(&Database::open(store).unwrap()).join("\n");
        assert!(found.contains(words), "tag {tag:02x}: {words:?} is not in {found:?}");
    }
}
