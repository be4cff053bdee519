//! Indexes and schemas never disagree with the records, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dotdb::query::{IndexSpec, Schema};
use dotdb::{ContractId, Database, DbError, Durability, IndexState, Mode, Tx, ValueKind, document};
use dotdb_memory::MemoryStore;

const KIND: ValueKind = ValueKind::Document;

fn doc(json: &str) -> Vec<u8> {
    document::from_json(json).unwrap()
}

fn spec(text: &str) -> IndexSpec {
    IndexSpec::parse(text).unwrap()
}

fn database() -> (Database, ContractId) {
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let contract = database.retrying(Durability::None, |tx| tx.contract_id("c")).unwrap();
    (database, contract)
}

fn problems(database: &Database, contract: ContractId) -> Vec<String> {
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    let mut problems = Vec::new();
    tx.check_collection(people, |problem| problems.push(problem)).unwrap();
    problems
}

fn with_people<T>(
    database: &Database,
    contract: ContractId,
    mut work: impl FnMut(&mut Tx, dotdb::CollectionId) -> Result<T, DbError>,
) -> Result<T, DbError> {
    database.retrying(Durability::None, |tx| {
        let people = tx.collection(contract, "people", KIND)?;
        work(tx, people)
    })
}

fn random_document(rng: &mut fastrand::Rng) -> Vec<u8> {
    let age = rng.u32(..50);
    let city = ["Oslo", "Rome", "Bonn"][rng.usize(..3)];
    let tags: Vec<String> = (0..rng.usize(..4)).map(|_| format!("\"t{}\"", rng.u32(..6))).collect();
    match rng.u32(..5) {
        0 => doc(&format!(r#"{{"age":{age}}}"#)),
        1 => doc(&format!(r#"{{"city":"{city}","tags":[{}]}}"#, tags.join(","))),
        _ => doc(&format!(r#"{{"age":{age},"city":"{city}","tags":[{}]}}"#, tags.join(","))),
    }
}

#[test]
fn entries_follow_records_through_savepoints_builds_and_drops() {
    for seed in 0..6 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (database, contract) = database();
        let specs = [("by-age", "age"), ("by-place", "city, age"), ("by-tag", "tags[*]")];
        for _ in 0..60 {
            let mut tx = database.begin(Mode::ReadWrite).unwrap();
            let people = tx.collection(contract, "people", KIND).unwrap();
            for _ in 0..rng.usize(..30) {
                let savepoint = tx.savepoint();
                for _ in 0..rng.usize(..4) {
                    let key = rng.u32(..200).to_be_bytes();
                    if rng.u32(..3) == 0 {
                        tx.delete(people, &key).unwrap();
                    } else {
                        tx.put(people, &key, random_document(&mut rng)).unwrap();
                    }
                }
                if rng.bool() { tx.rollback_to(savepoint).unwrap() } else { tx.release(savepoint).unwrap() }
            }
            if rng.u32(..5) > 0 {
                tx.commit(Durability::None).unwrap();
            }
            let (name, columns) = specs[rng.usize(..3)];
            match rng.u32(..8) {
                0 => database.create_index(contract, "people", name, &spec(columns), |_| ()).unwrap(),
                1 => match database.drop_index(contract, "people", name) {
                    Ok(()) | Err(DbError::UnknownIndex { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
                _ => {}
            }
            assert_eq!(problems(&database, contract), [""; 0], "seed {seed}");
        }
        assert!(database.version() > 20);
    }
}

#[test]
fn an_index_is_built_while_others_write() {
    let (database, contract) = database();
    with_people(&database, contract, |tx, people| {
        let mut rng = fastrand::Rng::with_seed(1);
        for key in 0..8_000u32 {
            tx.put(people, &key.to_be_bytes(), random_document(&mut rng))?;
        }
        Ok(())
    })
    .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (database, done) = (&database, &done);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                while !done.load(Ordering::SeqCst) {
                    with_people(database, contract, |tx, people| {
                        let key = rng.u32(..9_000).to_be_bytes();
                        if rng.bool() {
                            tx.put(people, &key, random_document(&mut rng)).map(drop)
                        } else {
                            tx.delete(people, &key).map(drop)
                        }
                    })
                    .unwrap();
                    std::thread::yield_now();
                }
            });
        }
        let mut told = 0;
        database.create_index(contract, "people", "by-place", &spec("city, age"), |n| told += n).unwrap();
        assert!(told > 3_000, "{told}");
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(problems(&database, contract), [""; 0]);
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    let indexes = tx.indexes(people).unwrap();
    assert_eq!((indexes.len(), indexes[0].state), (1, IndexState::Ready));
}

#[test]
fn unique_indexes_refuse_and_change_nothing() {
    let (database, contract) = database();
    database.create_index(contract, "people", "by-mail", &spec("unique mail"), |_| ()).unwrap();
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    tx.put(people, b"ann", doc(r#"{"mail":"a@x"}"#)).unwrap();
    tx.put(people, b"none", doc("{}")).unwrap();
    tx.put(people, b"nobody", doc(r#"{"mail":null}"#)).unwrap();
    let refusal = r#"the index "by-mail" is unique, and the record "bob" has the same as "ann""#;
    assert_eq!(tx.put(people, b"bob", doc(r#"{"mail":"a@x"}"#)).unwrap_err().to_string(), refusal);
    assert_eq!((tx.get(people, b"bob").unwrap(), tx.count(people).unwrap()), (None, 3));
    // The same record may keep its own, give it up, and another take it.
    tx.put(people, b"ann", doc(r#"{"mail":"a@x","age":1}"#)).unwrap();
    tx.put(people, b"ann", doc(r#"{"mail":"b@x"}"#)).unwrap();
    tx.put(people, b"bob", doc(r#"{"mail":"a@x"}"#)).unwrap();
    tx.commit(Durability::None).unwrap();
    assert_eq!(problems(&database, contract), [""; 0]);

    // Two transactions that each see none of the other: one of them conflicts.
    let open = |key: &[u8]| {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let people = tx.collection(contract, "people", KIND).unwrap();
        tx.put(people, key, doc(r#"{"mail":"c@x"}"#)).unwrap();
        tx
    };
    let (first, second) = (open(b"cid"), open(b"dan"));
    first.commit(Durability::None).unwrap();
    assert!(second.commit(Durability::None).unwrap_err().is_conflict());

    // Built over records that break it, it is gone again and says which.
    database.drop_index(contract, "people", "by-mail").unwrap();
    with_people(&database, contract, |tx, people| tx.put(people, b"eve", doc(r#"{"mail":"c@x"}"#))).unwrap();
    let refused = database.create_index(contract, "people", "by-mail", &spec("unique mail"), |_| ());
    let refusal = r#"the index "by-mail" is unique, and the record "eve" has the same as "cid""#;
    assert_eq!(refused.unwrap_err().to_string(), refusal);
    assert_eq!(problems(&database, contract), [""; 0]);
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    let people = tx.collection(contract, "people", KIND).unwrap();
    assert_eq!(tx.indexes(people).unwrap(), []);
}

#[test]
fn schemas_are_checked_on_write() {
    let (database, contract) = database();
    let schema = Schema::from_json(
        r#"{"type":"object","required":["name"],"properties":{"age":{"type":"integer","minimum":0}}}"#,
    )
    .unwrap();
    with_people(&database, contract, |tx, people| {
        tx.put(people, b"ann", doc(r#"{"name":"Ann","age":7}"#))?;
        tx.set_schema(people, Some(&schema))
    })
    .unwrap();
    let put = |json: &str| with_people(&database, contract, |tx, people| tx.put(people, b"bob", doc(json)));
    put(r#"{"name":"Bob"}"#).unwrap();
    let refused = put(r#"{"name":"Bob","age":-1}"#).unwrap_err().to_string();
    assert!(refused.starts_with("the document breaks the schema of its collection: `age` "), "{refused}");
    assert!(put("{}").is_err());
    let other = Schema::from_json(r#"{"required":["age"]}"#).unwrap();
    let refused = with_people(&database, contract, |tx, people| tx.set_schema(people, Some(&other)));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with(r#"the record "bob" breaks the schema"#), "{refused}");
    with_people(&database, contract, |tx, people| tx.set_schema(people, None)).unwrap();
    put("{}").unwrap();
    assert_eq!(problems(&database, contract), [""; 0]);
}

#[test]
fn definitions_are_checked() {
    let (database, contract) = database();
    let create =
        |name: &str, columns: &str| database.create_index(contract, "people", name, &spec(columns), |_| ());
    create("by-age", "age").unwrap();
    create("by-age", "age").unwrap();
    assert_eq!(
        create("by-age", "city").unwrap_err().to_string(),
        r#"the collection has an index named "by-age" already, over age"#
    );
    assert!(create("By age", "age").unwrap_err().to_string().contains("has the character"));
    assert_eq!(
        database.drop_index(contract, "people", "by-size").unwrap_err().to_string(),
        r#"the collection has no index named "by-size""#
    );
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let bytes = tx.collection(contract, "bytes", ValueKind::Bytes).unwrap();
    assert!(matches!(tx.set_schema(bytes, None), Err(DbError::NotDocuments)));
}
