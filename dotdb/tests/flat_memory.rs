//! Scans, queries and dumps of more data than memory is given to them: a process of its own, whose peak the system
//! tells.
#![cfg(target_os = "linux")]

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use dotdb::query::{Query, Value};
use dotdb::{Database, Direction, Durability, Mode, QueryOptions, Settings, ValueKind, document};
use dotdb_redb::RedbStore;

const DIRECTORY: &str = "DOTDB_FLAT_MEMORY_DIRECTORY";
const WORK: &str = "DOTDB_FLAT_MEMORY_WORK";

/// Memory for the store's cached pages, bytes.
const CACHE_BYTES: usize = 8 << 20;
const RECORDS: u64 = 80_000;
const RECORD_BYTES: usize = 1000;
/// What a process may take above one that only opens the database, bytes: the cache, twice the pages of a batch, and
/// what the allocator keeps. A third of the data.
const ALLOWED_BYTES: u64 = CACHE_BYTES as u64 + (16 << 20);

fn open(directory: &Path) -> Database {
    let path = directory.join("store");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let backend = redb::backends::FileBackend::new(file).unwrap();
    let store = RedbStore::on_backend(backend, CACHE_BYTES).unwrap();
    Database::open_or_create(Arc::new(store), Settings::default()).unwrap()
}

fn fill(directory: &Path) {
    let database = open(directory);
    let text = "x".repeat(RECORD_BYTES);
    for start in (0..RECORDS).step_by(1000) {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let contract = tx.contract_id("c").unwrap();
        let records = tx.collection(contract, "records", ValueKind::Document).unwrap();
        for number in start..start + 1000 {
            let value = document::from_json(&format!(r#"{{"number":{number},"text":"{text}"}}"#)).unwrap();
            tx.put(records, &number.to_be_bytes(), value).unwrap();
        }
        tx.commit(Durability::None).unwrap();
    }
    database.sync().unwrap();
}

/// The most memory that the process has had, bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Not a test of its own: what the processes run.
#[test]
fn child() {
    let (Ok(directory), Ok(work)) = (std::env::var(DIRECTORY), std::env::var(WORK)) else { return };
    let directory = Path::new(&directory);
    if work == "fill" {
        return fill(directory);
    }
    let database = open(directory);
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let contract = tx.contract_id("c").unwrap();
    let records = tx.collection(contract, "records", ValueKind::Document).unwrap();
    let rows = match work.as_str() {
        "open" => RECORDS,
        "scan" => {
            let cursor = tx.scan(records, Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
            std::iter::from_fn(|| tx.next(cursor).unwrap()).count() as u64
        }
        "query" => {
            let query = Query::parse("SELECT * FROM records WHERE number >= $1").unwrap();
            let options = QueryOptions::default();
            let (cursor, _) = tx.query(records, &query, &[Value::Int(0)], &options).unwrap();
            std::iter::from_fn(|| tx.query_next(cursor).unwrap()).count() as u64
        }
        "dump" => {
            drop(tx);
            database.dump(database.version(), &mut io::sink(), |_| ()).unwrap();
            RECORDS
        }
        other => panic!("{other}"),
    };
    assert_eq!(rows, RECORDS);
    println!("peak {}", peak());
}

fn run(directory: &Path, work: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(WORK, work)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{work}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let peak = text.lines().find_map(|line| line.strip_prefix("peak "));
    peak.map_or(0, |peak| peak.parse().unwrap())
}

#[test]
fn reading_more_than_memory_takes_no_more_memory() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "fill");
    let data = fs::metadata(directory.path().join("store")).unwrap().len();
    assert!(data > 3 * ALLOWED_BYTES, "{data} bytes on disk prove little");
    let least = run(directory.path(), "open");
    println!("open: {least} bytes");
    assert!(least < data / 2, "opening took {least} bytes");
    for work in ["scan", "query", "dump"] {
        let more = run(directory.path(), work).saturating_sub(least);
        println!("{work}: {more} bytes more than opening, of {data}");
        assert!(more < ALLOWED_BYTES, "{work} took {more} bytes more than opening");
    }
}
