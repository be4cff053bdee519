//! `kill -9` at random moments in a loop of committed transfers: every acknowledged transfer is
//! there, none is partial, the total supply holds.
//!
//! The child is this test binary again. It carries out transfer 1, 2, 3 and so on, whose accounts
//! and amounts follow from the number alone, and prints each number after its commit. So from the
//! number kept in the store the parent can compute every balance. `DOTVM_LONG=1` runs 200 rounds
//! instead of 20; `DOTVM_SEED` repeats a run's kill moments as far as clocks allow.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dotdb::{Database, DbError, Durability, Mode, StoreError, Tx, ValueKind};
use dotdb_redb::RedbStore;

const CHILD: &str = "DOTDB_CRASH_TEST_CHILD";
const ACCOUNTS: u8 = 16;
const START_BALANCE: u64 = 1_000_000;
/// Slot that holds the number of the last transfer.
const LAST: &[u8] = &[255];

/// One step of splitmix64.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From, to and amount of a transfer.
fn transfer(number: u64) -> (u8, u8, u64) {
    let random = mix(number);
    (random as u8 % ACCOUNTS, (random >> 8) as u8 % ACCOUNTS, random >> 16 & 0xff)
}

fn read(tx: &mut Tx, slot: &[u8]) -> u64 {
    let token = tx.contract_id("token").unwrap();
    let value = tx.slot_get(token, slot).unwrap();
    value.as_bytes().iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn write(tx: &mut Tx, slot: &[u8], value: u64) {
    let token = tx.contract_id("token").unwrap();
    tx.slot_set(token, slot, &value.to_be_bytes()).unwrap();
}

fn account(number: u8) -> [u8; 1] {
    [number + 1]
}

fn open(path: &Path) -> Result<Database, DbError> {
    Database::open(Arc::new(RedbStore::open_or_create(path)?))
}

/// Not a test of its own: what the child process runs until it is killed.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let database = open(Path::new(&path)).unwrap();
    let mut out = std::io::stdout();
    loop {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let token = tx.contract_id("token").unwrap();
        let number = read(&mut tx, LAST) + 1;
        if number == 1 {
            for i in 0..ACCOUNTS {
                write(&mut tx, &account(i), START_BALANCE);
            }
        }
        let (from, to, amount) = transfer(number);
        let balance = read(&mut tx, &account(from));
        write(&mut tx, &account(from), balance - amount);
        let balance = read(&mut tx, &account(to));
        write(&mut tx, &account(to), balance + amount);
        write(&mut tx, LAST, number);
        let log = tx.collection(token, "log", ValueKind::Bytes).unwrap();
        tx.insert(log, vec![from, to, amount as u8]).unwrap();
        tx.commit(Durability::Sync).unwrap();
        writeln!(out, "ack {number}").unwrap();
    }
}

/// Checks the whole state and gives the number of transfers in it.
fn check(path: &Path) -> u64 {
    let database = match RedbStore::open(path) {
        Ok(store) => Database::open(Arc::new(store)).unwrap(),
        Err(StoreError::NotFound { .. }) => return 0, // Killed before there was a store.
        Err(error) => panic!("the store cannot be opened after a kill: {error}"),
    };
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    if tx.contract("token").unwrap().is_none() {
        return 0;
    }
    let count = read(&mut tx, LAST);
    let mut balances = [START_BALANCE; ACCOUNTS as usize];
    for number in 1..=count {
        let (from, to, amount) = transfer(number);
        balances[usize::from(from)] -= amount;
        balances[usize::from(to)] += amount;
    }
    let found: Vec<u64> = (0..ACCOUNTS).map(|i| read(&mut tx, &account(i))).collect();
    assert_eq!(found, balances, "a transfer of the first {count} is missing or partial");
    assert_eq!(found.iter().sum::<u64>(), START_BALANCE * u64::from(ACCOUNTS), "the total supply");
    let token = tx.contract_id("token").unwrap();
    let log = tx.collection(token, "log", ValueKind::Bytes).unwrap();
    assert_eq!(tx.count(log).unwrap(), count);
    let all = std::ops::Bound::Unbounded;
    let cursor = tx.scan(log, all, all, dotdb::Direction::Forward).unwrap();
    for number in 1..=count {
        let (from, to, amount) = transfer(number);
        let (key, value) = tx.next(cursor).unwrap().expect("the log is complete");
        assert_eq!((&key[..], &value[..]), (&number.to_be_bytes()[..], &[from, to, amount as u8][..]));
    }
    assert_eq!(tx.next(cursor).unwrap(), None);
    count
}

#[test]
fn acknowledged_transfers_survive_kills() {
    let rounds = if std::env::var_os("DOTVM_LONG").is_some() { 200 } else { 20 };
    let seed = match std::env::var("DOTVM_SEED") {
        Ok(seed) => seed.parse().expect("DOTVM_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    };
    println!("DOTVM_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let mut path = directory.path().join("0.db");
    let (mut acknowledged, mut total) = (0, 0);
    for round in 0..rounds {
        // A new store now and then, so that creation is interrupted too.
        if round % 5 == 4 {
            path = directory.path().join(format!("{round}.db"));
            acknowledged = 0;
        }
        let random = mix(seed ^ mix(round));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut next = || {
            line.clear();
            let complete = lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n');
            complete.then(|| line.trim().strip_prefix("ack ").and_then(|number| number.parse::<u64>().ok()))
        };
        // Even rounds wait for some acknowledgements, odd ones may hit the opening.
        let mut waiting = if round % 2 == 0 { 1 + random % 40 } else { 0 };
        while waiting > 0 {
            if let Some(number) = next().expect("the child runs until it is killed") {
                acknowledged = number;
                waiting -= 1;
            }
        }
        std::thread::sleep(Duration::from_micros((random >> 8) % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(line) = next() {
            acknowledged = line.unwrap_or(acknowledged);
        }
        let kept = check(&path);
        println!("round {round}: {acknowledged} acknowledged, {kept} kept");
        assert!(kept >= acknowledged, "round {round}: transfers {kept} to {acknowledged} are lost");
        // At most the one under way when the child was killed.
        assert!(kept <= acknowledged + 1, "round {round}: {kept} kept of {acknowledged} acknowledged");
        acknowledged = kept;
        total = total.max(kept);
    }
    assert!(total > 0, "no transfer was ever made");
}
