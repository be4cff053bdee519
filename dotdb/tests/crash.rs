//! `kill -9` at random moments in a loop of committed transfers, for every backend and durability: what was
//! acknowledged as durable is there, what is there is a prefix of what was committed, nothing is partial, and
//! counters, history and state root agree with it.
//!
//! The child is this test binary again. Each of its threads, a *lane*, carries out its transfers 1, 2, 3 and so on,
//! whose accounts and amounts follow from lane and number alone, and prints each number with the version that its
//! commit made. Transfers add and subtract, so how many of each lane were made determines every balance.
//! `DOTVM_LONG=1` runs 1,000 rounds of each instead of 50 of each backend; `DOTVM_SEED` repeats a run's kill moments as
//! far as clocks allow. RocksDB: `cargo test -p dotdb --features dotdb-stores/rocksdb --test crash -- --ignored`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Bound;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dotdb::{
    ContractId, Database, Direction, Durability, History, Mode, Place, Settings, StoreError, Tx, ValueKind,
};
use dotdb_stores::{Access, StoreUrl};
use fastrand::Rng;

const URL: &str = "DOTDB_CRASH_TEST_URL";
const DURABILITY: &str = "DOTDB_CRASH_TEST_DURABILITY";
const ACCOUNTS: u8 = 16;
const START_BALANCE: u64 = 1 << 40;
/// Records that a lane keeps of its last transfers.
const WINDOW: u64 = 8;
const KEPT_VERSIONS: u64 = 300;
/// For how long a store may still be held that was closed: by threads of its own (sled), or by a child of another test
/// that was being started.
const WAIT: Duration = Duration::from_secs(10);

/// Durabilities, and how many threads commit with each.
const LEVELS: [(&str, Durability, u8); 3] =
    [("sync", Durability::Sync, 1), ("group", Durability::Group, 4), ("none", Durability::None, 2)];

/// From, to and amount of a transfer.
fn transfer(lane: u8, number: u64) -> (u8, u8, u64) {
    let mut random = Rng::with_seed(number << 8 | u64::from(lane));
    (random.u8(..ACCOUNTS), random.u8(..ACCOUNTS), random.u64(..256))
}

fn token(tx: &mut Tx) -> ContractId {
    tx.contract_id("token").unwrap()
}

fn read(tx: &mut Tx, slot: &[u8]) -> u64 {
    let token = token(tx);
    let value = tx.slot_get(token, slot).unwrap();
    value.as_bytes().iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn write(tx: &mut Tx, slot: &[u8], value: u64) {
    let token = token(tx);
    tx.slot_set(token, slot, &value.to_be_bytes()).unwrap();
}

fn account(number: u8) -> [u8; 2] {
    [1, number]
}

/// Slot that holds the number of a lane's last transfer.
fn last(lane: u8) -> [u8; 2] {
    [2, lane]
}

fn record(lane: u8, number: u64) -> Vec<u8> {
    [&[lane][..], &number.to_be_bytes()].concat()
}

fn settings(state_root: bool) -> Settings {
    Settings { history: History::Last(KEPT_VERSIONS), state_root }
}

/// Not a test of its own: what the child process runs until it is killed.
#[test]
fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let level = std::env::var(DURABILITY).unwrap();
    let (_, durability, lanes) = *LEVELS.iter().find(|(name, ..)| *name == level).unwrap();
    let store = dotdb_stores::open_waiting(&url.parse().unwrap(), Access::Create, WAIT).unwrap();
    let database = Database::open_or_create(store, settings(url.ends_with("-rooted"))).unwrap();
    if database.version() == 0 {
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        for number in 0..ACCOUNTS {
            write(&mut tx, &account(number), START_BALANCE);
        }
        let token = token(&mut tx);
        tx.collection(token, "log", ValueKind::Bytes).unwrap();
        tx.commit(Durability::Sync).unwrap();
    }
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let database = &database;
            scope.spawn(move || {
                loop {
                    carry_out(database, lane, durability);
                }
            });
        }
    });
}

fn carry_out(database: &Database, lane: u8, durability: Durability) {
    let mut tx = database.begin(Mode::ReadWrite).unwrap();
    let number = read(&mut tx, &last(lane)) + 1;
    let (from, to, amount) = transfer(lane, number);
    let balance = read(&mut tx, &account(from));
    write(&mut tx, &account(from), balance - amount);
    let balance = read(&mut tx, &account(to));
    write(&mut tx, &account(to), balance + amount);
    write(&mut tx, &last(lane), number);
    let token = token(&mut tx);
    let log = tx.collection(token, "log", ValueKind::Bytes).unwrap();
    assert!(!tx.put(log, &record(lane, number), vec![from, to, amount as u8]).unwrap());
    if number > WINDOW {
        assert!(tx.delete(log, &record(lane, number - WINDOW)).unwrap());
    }
    let version = match tx.commit(durability) {
        Ok(version) => version,
        Err(error) if error.is_conflict() => return,
        Err(error) => panic!("{error}"),
    };
    let mut line = format!("ack {lane} {number} {version}\n");
    if durability == Durability::None && number.is_multiple_of(64) {
        database.sync().unwrap();
        line += &format!("synced {version}\n");
    }
    // One call, so that a line is whole or its end is missing.
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// A commit that a child has told of.
#[derive(Clone, Copy, Debug)]
struct Ack {
    lane: u8,
    number: u64,
    version: u64,
}

/// What is in the store after a kill.
#[derive(Clone, Debug, Default, PartialEq)]
struct Found {
    version: u64,
    /// Number of transfers of each lane.
    lanes: BTreeMap<u8, u64>,
}

/// Checks the state that a transaction sees at a version, all of it.
fn check_state(tx: &mut Tx, version: u64) -> BTreeMap<u8, u64> {
    let mut lanes = BTreeMap::new();
    let mut balances = [START_BALANCE; ACCOUNTS as usize];
    for (_, _, most) in LEVELS {
        for lane in 0..most {
            lanes.insert(lane, read(tx, &last(lane)));
        }
    }
    assert_eq!(lanes.values().sum::<u64>(), version - 1, "each version but the first has one transfer more");
    let token = token(tx);
    let log = tx.collection(token, "log", ValueKind::Bytes).unwrap();
    let cursor = tx.scan(log, Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
    let mut records = 0;
    for (&lane, &count) in &lanes {
        for number in 1..=count {
            let (from, to, amount) = transfer(lane, number);
            balances[usize::from(from)] -= amount;
            balances[usize::from(to)] += amount;
            if number + WINDOW > count {
                let (key, value) = tx.next(cursor).unwrap().expect("the log is complete");
                assert_eq!(
                    (&key[..], &value[..]),
                    (&record(lane, number)[..], &[from, to, amount as u8][..])
                );
                records += 1;
            }
        }
    }
    assert_eq!(tx.next(cursor).unwrap(), None);
    assert_eq!(tx.count(log).unwrap(), records, "the counter of version {version}");
    let found: Vec<u64> = (0..ACCOUNTS).map(|number| read(tx, &account(number))).collect();
    assert_eq!(found, balances, "a transfer of {lanes:?} is missing or partial in version {version}");
    lanes
}

/// Checks the whole database.
fn check(url: &StoreUrl, random: &mut Rng) -> Found {
    let database = match dotdb_stores::open_waiting(url, Access::Write, WAIT) {
        // Killed before the database was there.
        Err(StoreError::NotFound { .. }) => return Found::default(),
        Err(error) => panic!("the store cannot be opened after a kill: {error}"),
        Ok(store) => Database::open_or_create(store, settings(url.to_string().ends_with("-rooted"))).unwrap(),
    };
    let version = database.version();
    if version == 0 {
        assert_eq!(database.begin(Mode::ReadOnly).unwrap().contracts().unwrap(), []);
        return Found::default();
    }
    let mut tx = database.begin(Mode::ReadOnly).unwrap();
    assert_eq!(tx.version().unwrap(), version);
    let lanes = check_state(&mut tx, version);
    let oldest = database.oldest_version().unwrap();
    assert!(oldest <= version.saturating_sub(KEPT_VERSIONS), "{oldest} is the oldest of {version}");
    let first = oldest.max(1);
    for version in [first, random.u64(first..=version), random.u64(first..=version)] {
        check_state(&mut database.begin_at(version).unwrap(), version);
    }
    for commit in database.commits(first.max(version.saturating_sub(20))).unwrap() {
        let commit = commit.unwrap();
        assert_eq!(commit.changes, database.diff(commit.version - 1, commit.version).unwrap());
        let of_a_lane = |place| matches!(place, Place::Slot { key, .. } if key[0] == 2);
        let transfers = commit.changes.iter().filter(|change| of_a_lane(change.place())).count();
        assert_eq!(transfers, 1, "commit {}", commit.version);
    }
    if database.settings().state_root {
        database.check_state_root().unwrap();
    }
    // What is derived from the journal, once it is all there.
    database.settle().unwrap();
    let version_before = random.u64(database.oldest_version().unwrap().max(1)..=version);
    check_state(&mut database.begin_at(version_before).unwrap(), version_before);
    Found { version, lanes }
}

/// Lets a child run for a while and kills it. Answers what it has told, and the last version it knew to be durable
/// by a call of its own.
fn round(url: &str, level: &str, wait_for: usize, then: Duration) -> (Vec<Ack>, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(URL, url)
        .env(DURABILITY, level)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut acks, mut synced) = (Vec::new(), 0);
    let mut next = |acks: &mut Vec<Ack>| {
        let mut line = String::new();
        let complete = lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n');
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            _ if !complete => return false,
            ["ack", lane, number, version] => acks.push(Ack {
                lane: lane.parse().unwrap(),
                number: number.parse().unwrap(),
                version: version.parse().unwrap(),
            }),
            ["synced", version] => synced = synced.max(version.parse().unwrap()),
            // The test runner's own.
            _ => {}
        }
        true
    };
    while acks.len() < wait_for {
        assert!(next(&mut acks), "the child runs until it is killed");
    }
    std::thread::sleep(then);
    child.kill().unwrap();
    child.wait().unwrap();
    while next(&mut acks) {}
    (acks, synced)
}

fn run(backend: &str, level: &str, rounds: u64) {
    let (_, durability, _) = *LEVELS.iter().find(|(name, ..)| *name == level).unwrap();
    let seed = match std::env::var("DOTVM_SEED") {
        Ok(seed) => seed.parse().expect("DOTVM_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    };
    println!("DOTVM_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let (mut url, mut before) = (String::new(), Found::default());
    let (mut acknowledged, mut lost) = (0, 0);
    for number in 0..rounds {
        // A new store now and then, so that creation is interrupted too.
        if number % 10 == 0 {
            let rooted = if number % 20 == 0 { "" } else { "-rooted" };
            url = format!("{backend}:{}", directory.path().join(format!("{number}{rooted}")).display());
            before = Found::default();
        }
        // Half the rounds wait for some acknowledgements, the others may hit the opening.
        let wait_for = if random.bool() { random.usize(1..40) } else { 0 };
        let then = Duration::from_micros(random.u64(..20_000));
        let (acks, synced) = round(&url, level, wait_for, then);
        let found = check(&url.parse().unwrap(), &mut random);
        println!("{backend} {level} round {number}: {} acknowledged, version {}", acks.len(), found.version);
        assert!(found.version >= before.version.max(synced), "round {number}: {before:?} became {found:?}");
        let mut told: BTreeMap<u8, u64> = before.lanes.clone();
        for Ack { lane, number, version } in &acks {
            let kept = found.lanes.get(lane).is_some_and(|last| last >= number);
            assert_eq!(
                kept,
                *version <= found.version,
                "lane {lane}: {number} is in version {version}: {found:?}"
            );
            lost += u64::from(!kept);
            assert!(kept || durability == Durability::None, "lane {lane}: {number} is lost: {found:?}");
            let last = told.entry(*lane).or_default();
            assert!(*number > *last, "lane {lane}: {number} after {last}");
            *last = *number;
        }
        for (lane, last) in &found.lanes {
            let told = told.get(lane).copied().unwrap_or(0);
            // At most the one under way when the child was killed.
            assert!(*last <= told + 1, "lane {lane}: {last} found and {told} acknowledged");
        }
        acknowledged += acks.len();
        before = found;
    }
    println!(
        "{backend} {level}: {rounds} rounds, {acknowledged} commits acknowledged, {lost} lost as they may"
    );
    assert!(acknowledged > rounds as usize, "only {acknowledged} commits");
}

fn run_all(backend: &str) {
    for ((level, ..), rounds) in LEVELS.into_iter().zip([16, 17, 17]) {
        run(backend, level, dotvm_test_modes::pick(rounds, 1_000));
    }
}

#[test]
fn redb() {
    run_all("redb");
}

#[test]
fn sled() {
    run_all("sled");
}

#[test]
#[ignore = "needs --features dotdb-stores/rocksdb"]
fn rocksdb() {
    run_all("rocksdb");
}
