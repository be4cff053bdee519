//! A transaction that is written down and opened again goes on as if nothing had happened: what it reads, what it can
//! undo, what its cursors give, what it writes and whether it conflicts.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb::query::{Budget, IndexSpec, Query, Value};
use dotdb::{
    CollectionId, ContractId, CursorId, Database, DbError, Direction, Durability, History, Mode,
    QueryOptions, RestoreError, Settings, Tx, ValueKind, document,
};
use dotdb_memory::MemoryStore;
use dotvm_codec::{Reader, Writer};

fn database(history: History) -> Database {
    let settings = Settings { history, state_root: false };
    Database::open_or_create(Arc::new(MemoryStore::new()), settings).unwrap()
}

fn fill(database: &Database) {
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    let records = tx.collection(contract, "records", ValueKind::Bytes).unwrap();
    for key in 0..40u8 {
        tx.put(records, &[key], Bytes::from(vec![key; 5])).unwrap();
        tx.slot_set(contract, &[key + 1], &[key + 1]).unwrap();
    }
    tx.commit(Durability::Sync).unwrap();
}

fn fill_people(database: &Database) {
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    let people = tx.collection(contract, "people", ValueKind::Document).unwrap();
    for key in 0..40u8 {
        tx.put(people, &[key], person(key, key % 7)).unwrap();
    }
    tx.commit(Durability::Sync).unwrap();
    let spec = IndexSpec::parse("age").unwrap();
    database.create_index(contract, "people", "by-age", &spec, |_| ()).unwrap();
}

fn person(number: u8, age: u8) -> Bytes {
    document::from_json(&format!(r#"{{"age":{age},"n":{number},"text":"{}"}}"#, "x".repeat(age.into())))
        .unwrap()
        .into()
}

/// By key, by index, joined ways, sorted, grouped, counted; the last but one takes more than it may.
const QUERIES: [&str; 9] = [
    "SELECT * FROM people WHERE n >= $1",
    "SELECT n FROM people WHERE age >= $1 ORDER BY age",
    "SELECT n FROM people WHERE age = $1 OR age = 3",
    "SELECT n, text FROM people WHERE n > $1 ORDER BY text DESC, n LIMIT 7 OFFSET 2",
    "SELECT age, COUNT(*) AS c, SUM(n) AS s FROM people WHERE n > $1 GROUP BY age",
    "SELECT text, MIN(n) AS m FROM people WHERE n <> $1 GROUP BY text HAVING COUNT(*) > 1",
    "SELECT COUNT(*) AS c FROM people WHERE age > $1",
    "SELECT n FROM people WHERE n > $1 ORDER BY text",
    "SELECT n FROM people WHERE age < $1 ORDER BY age DESC",
];

fn saved(tx: &Tx) -> Vec<u8> {
    let mut writer = Writer::new();
    tx.save(&mut writer).unwrap();
    writer.into_bytes()
}

fn again(database: &Database, tx: Tx) -> Tx {
    let bytes = saved(&tx);
    drop(tx);
    let mut reader = Reader::new(&bytes);
    let tx = database.restore_tx(&mut reader).unwrap();
    reader.end().unwrap();
    assert!(saved(&tx) == bytes, "what was read is written down otherwise");
    tx
}

struct Run {
    tx: Tx,
    contract: ContractId,
    records: CollectionId,
    people: CollectionId,
    cursors: Vec<CursorId>,
    savepoints: Vec<u64>,
    seen: Vec<String>,
}

impl Run {
    fn begin(database: &Database, mode: Mode) -> Run {
        let mut tx = database.begin(mode).unwrap();
        tx.keep_for_saving();
        let contract = tx.find_contract("c").unwrap().unwrap().0;
        let records = tx.collection(contract, "records", ValueKind::Bytes).unwrap();
        let people = tx.collection(contract, "people", ValueKind::Document).unwrap();
        Run { tx, contract, records, people, cursors: Vec::new(), savepoints: Vec::new(), seen: Vec::new() }
    }

    fn step(&mut self, random: &mut fastrand::Rng) {
        let (key, tx) = (random.u8(..60), &mut self.tx);
        let seen = match random.u8(..16) {
            0 => format!("{:?}", tx.get(self.records, &[key]).unwrap()),
            1 => format!("{:?}", tx.put(self.records, &[key], Bytes::from(vec![key; 3])).map(drop).is_ok()),
            2 => format!("{:?}", tx.delete(self.records, &[key]).ok()),
            3 => format!("{:?}", tx.slot_get(self.contract, &[key]).unwrap()),
            4 => format!("{:?}", tx.slot_set(self.contract, &[key], &[random.u8(..)]).is_ok()),
            5 => format!("{:?}", tx.insert(self.records, Bytes::from_static(b"new")).ok()),
            6 => {
                let direction = if random.bool() { Direction::Forward } else { Direction::Backward };
                let (from, to) = (Bound::Included(&[key / 2][..]), Bound::Excluded(&[key][..]));
                let cursor = match random.bool() {
                    true => tx.scan(self.records, from, to, direction),
                    false => tx.scan(self.records, Bound::Unbounded, Bound::Unbounded, direction),
                };
                self.cursors.push(cursor.unwrap());
                String::new()
            }
            7 | 8 | 14 if !self.cursors.is_empty() => {
                let cursor = self.cursors[random.usize(..self.cursors.len())];
                match random.u8(..4) {
                    // In the middle of the way to a row.
                    0 => format!("{:?}", tx.cursor_work(cursor).map_err(|error| error.to_string())),
                    1 => format!("{:?}", tx.cursor_entry(cursor).map(|entry| entry.bytes()).ok()),
                    _ => format!("{:?}", tx.next(cursor).map_err(|error| error.to_string())),
                }
            }
            12 => format!("{:?}", tx.put(self.people, &[key], person(key, random.u8(..7))).map(drop).is_ok()),
            13 => format!("{:?}", tx.delete(self.people, &[key]).ok()),
            15 => {
                let number = random.usize(..QUERIES.len());
                let query = Query::parse(QUERIES[number]).unwrap();
                let rows = if number == 7 { 9 } else { u64::MAX };
                let budget = Budget { rows, ..Budget::default() };
                let options = QueryOptions { token: None, budget };
                let parameter = Value::from_json(&random.u8(..7).to_string()).unwrap();
                match tx.query(self.people, &query, &[parameter], &options) {
                    Ok((cursor, work)) => {
                        self.cursors.push(cursor);
                        format!("{work:?}")
                    }
                    Err(error) => error.to_string(),
                }
            }
            9 => {
                self.savepoints.push(tx.savepoint());
                String::new()
            }
            10 if random.u8(..) < 100 && !self.savepoints.is_empty() => {
                let at = random.usize(..self.savepoints.len());
                tx.rollback_to(self.savepoints[at]).unwrap();
                self.savepoints.truncate(at + 1);
                String::new()
            }
            _ => format!("{} {}", tx.changed_keys(), tx.count(self.records).unwrap()),
        };
        self.seen.push(seen);
    }
}

fn rows(database: &Database) -> Vec<(Bytes, Bytes)> {
    let snapshot = database.store().snapshot().unwrap();
    snapshot
        .range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// One transaction as it comes, one that is opened again after every few steps, while others commit.
#[test]
fn it_goes_on_as_if_nothing_had_happened() {
    let (mut committed, mut conflicts) = (0, 0);
    for seed in 0..150 {
        let databases = [database(History::All), database(History::All)];
        databases.iter().for_each(fill);
        databases.iter().for_each(fill_people);
        let mode = if seed % 5 == 0 { Mode::ReadOnly } else { Mode::ReadWrite };
        let mut runs = databases.each_ref().map(|database| Run::begin(database, mode));
        let mut random = fastrand::Rng::with_seed(seed);
        for step in 0..60 {
            for (run, database) in runs.iter_mut().zip(&databases) {
                run.step(&mut fastrand::Rng::with_seed(seed * 1000 + step));
                // Somebody else, who is in the way of half of them.
                if random.clone().u8(..) < 6 {
                    let mut other = database.begin(Mode::ReadWrite).unwrap();
                    let contract = other.find_contract("c").unwrap().unwrap().0;
                    let records = other.collection(contract, "records", ValueKind::Bytes).unwrap();
                    let key = [if seed % 2 == 0 { step as u8 } else { 200 }, step as u8];
                    other.put(records, &key, Bytes::from_static(b"other")).unwrap();
                    let people = other.collection(contract, "people", ValueKind::Document).unwrap();
                    let key = if seed % 2 == 0 { vec![step as u8] } else { vec![200, step as u8] };
                    other.put(people, &key, person(200, 9)).unwrap();
                    other.slot_set(contract, &[100 + step as u8], &[1]).unwrap();
                    other.commit(Durability::Sync).unwrap();
                }
            }
            if random.u8(..) < 80 {
                let [_, Run { tx, .. }] = &mut runs;
                let spare = databases[1].begin(Mode::ReadOnly).unwrap();
                let old = std::mem::replace(tx, spare);
                *tx = again(&databases[1], old);
            }
        }
        let [plain, restored] = runs;
        assert_eq!(plain.seen, restored.seen, "seed {seed}");
        let ends = [plain.tx, restored.tx].map(|tx| match tx.commit(Durability::Sync) {
            Ok(version) => Some(version),
            Err(DbError::Conflict { .. }) => None,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(ends[0], ends[1], "seed {seed}");
        *(if ends[0].is_some() { &mut committed } else { &mut conflicts }) += 1;
        assert!(rows(&databases[0]) == rows(&databases[1]), "seed {seed}");
    }
    assert!(committed > 30 && conflicts > 30, "{committed} committed, {conflicts} conflicts");
}

#[test]
fn a_state_that_is_gone_or_another_is_told() {
    let database_ = database(History::None);
    fill(&database_);
    let mut run = Run::begin(&database_, Mode::ReadWrite);
    run.tx.get(run.records, &[3]).unwrap();
    let bytes = saved(&run.tx);
    let mut other = database_.begin(Mode::ReadWrite).unwrap();
    let contract = other.contract_id("d").unwrap();
    other.slot_set(contract, &[1], &[1]).unwrap();
    other.commit(Durability::Sync).unwrap();
    let error = database_.restore_tx(&mut Reader::new(&bytes)).err().unwrap();
    assert!(matches!(error, RestoreError::Db(DbError::PrunedVersion { .. })), "{error}");
    // Another database, whose first version is something else.
    let foreign = database(History::All);
    let mut tx = foreign.begin(Mode::ReadWrite).unwrap();
    tx.contract_id("c").unwrap();
    tx.commit(Durability::Sync).unwrap();
    let error = foreign.restore_tx(&mut Reader::new(&bytes)).err().unwrap();
    assert!(matches!(error, RestoreError::OtherState { .. }), "{error}");
    let empty = database(History::All);
    let error = empty.restore_tx(&mut Reader::new(&bytes)).err().unwrap();
    assert!(matches!(error, RestoreError::Db(DbError::FutureVersion { .. })), "{error}");
}

#[test]
fn damage_is_refused_or_does_no_harm() {
    let database = database(History::All);
    fill(&database);
    fill_people(&database);
    let mut random = fastrand::Rng::with_seed(5);
    let mut run = Run::begin(&database, Mode::ReadWrite);
    for seed in 0..80 {
        run.step(&mut fastrand::Rng::with_seed(seed));
    }
    let bytes = saved(&run.tx);
    let (mut refused, mut opened) = (0, 0);
    for _ in 0..3_000 {
        let mut bad = bytes.clone();
        for _ in 0..random.usize(1..3) {
            let at = random.usize(..bad.len());
            bad[at] = if random.bool() { random.u8(..) } else { bad[at].wrapping_add(1) };
        }
        match database.restore_tx(&mut Reader::new(&bad)) {
            Err(_) => refused += 1,
            Ok(mut tx) => {
                opened += 1;
                for &cursor in &run.cursors {
                    while let Ok(Some(_)) = tx.next(cursor) {}
                }
                for &savepoint in run.savepoints.iter().rev() {
                    tx.rollback_to(savepoint).ok();
                }
                tx.changed_keys();
                saved(&tx);
            }
        }
    }
    assert!(refused > 100 && opened > 100, "{refused} refused, {opened} opened");
}
