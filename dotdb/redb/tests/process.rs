//! A store that another process holds, and one whose process was killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dotdb_redb::RedbStore;
use dotdb_store::{Batch, Durability, Store, StoreError};

const CHILD: &str = "DOTDB_REDB_TEST_CHILD";

/// Not a test of its own: what the child process runs.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = RedbStore::open_or_create(path).unwrap();
    store.apply(Batch::new().put("k", "v"), Durability::Sync).unwrap();
    println!("child is ready");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

/// A child that holds the store at `path` open, after one commit.
fn hold(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map(Result::unwrap).any(|line| line.contains("child is ready"));
    assert!(ready, "the child ended before it opened the store");
    child
}

#[test]
fn a_store_that_another_process_holds_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut child = hold(&path);
    for error in [RedbStore::open(&path).err(), RedbStore::open_read_only(&path).err()] {
        let error = error.expect("the store is held");
        assert!(matches!(&error, StoreError::Locked { path: held, .. } if *held == path));
        assert_eq!(
            error.to_string(),
            format!(
                "the store {} is open in another process, or twice in this one: close it there first",
                path.display()
            )
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();

    // Killed, so it needs repair, which reading alone cannot do.
    let unclean = RedbStore::open_read_only(&path).err().expect("repair is needed");
    assert!(matches!(unclean, StoreError::Unclean { .. }), "{unclean}");
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.snapshot().unwrap().get(b"k").unwrap().unwrap(), "v");
    drop(store);
    RedbStore::open_read_only(&path).unwrap();
}

const COMMITTER: &str = "DOTDB_REDB_TEST_COMMITTER";

/// Not a test of its own: commits one number after the other until it is killed.
#[test]
fn committer() {
    let Ok(path) = std::env::var(COMMITTER) else { return };
    let store = RedbStore::open_or_create(path).unwrap();
    for number in 0u64.. {
        let durability = if number.is_multiple_of(3) { Durability::None } else { Durability::Sync };
        store.apply(Batch::new().put("number", number.to_be_bytes().to_vec()), durability).unwrap();
        if durability == Durability::Sync {
            println!("committed {number}");
        }
    }
}

/// What a killed process had committed is in the log beside the store; reading alone does not overlook that.
#[test]
fn a_killed_process_leaves_a_log_that_is_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["committer", "--exact", "--nocapture"])
        .env(COMMITTER, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut committed = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, number)) = line.split_once("committed ") else { continue };
        committed = Some(number.parse::<u64>().unwrap());
        if committed >= Some(200) {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    let committed = committed.unwrap();
    let log = directory.path().join("state.db.redo");
    assert!(log.exists());
    assert!(matches!(RedbStore::open_read_only(&path), Err(StoreError::Unclean { .. })));
    let store = RedbStore::open(&path).unwrap();
    let found = store.snapshot().unwrap().get(b"number").unwrap().unwrap();
    assert!(store.blocks_are_known(), "what is durable has its sums");
    let found = u64::from_be_bytes(found[..].try_into().unwrap());
    assert!(found >= committed, "{found} of {committed}");
    assert!(!log.exists(), "what it held is in the store");
    drop(store);
    assert!(RedbStore::open_read_only(&path).is_ok());
}

/// Another store's log, or one of before, is not taken for this one's.
#[test]
fn a_foreign_log_is_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let log =
        |path: &Path| path.with_file_name(format!("{}.redo", path.file_name().unwrap().to_str().unwrap()));
    let commit = |store: &RedbStore, value: &str| {
        for _ in 0..20 {
            store.apply(Batch::new().put("k", value.to_owned()), Durability::Sync).unwrap();
        }
    };
    let store = RedbStore::open_or_create(&one).unwrap();
    commit(&store, "one");
    // As a crash leaves them: nothing is closed in good order.
    let kept = [&one, &log(&one)].map(|path| std::fs::read(path).unwrap());
    drop(store);
    let store = RedbStore::open_or_create(&two).unwrap();
    commit(&store, "two");
    let foreign = std::fs::read(log(&two)).unwrap();
    drop(store);
    std::fs::write(&one, &kept[0]).unwrap();
    std::fs::write(log(&one), &kept[1]).unwrap();
    let value = |path: &Path| RedbStore::open(path).unwrap().snapshot().unwrap().get(b"k").unwrap().unwrap();
    assert_eq!(value(&one), "one");
    // The state before the log alone, with another store's log beside it, and with its own again.
    std::fs::write(&one, &kept[0]).unwrap();
    std::fs::write(log(&one), &foreign).unwrap();
    assert_eq!(value(&one), "one", "the batches before the log was begun");
    // A file that is not a log is left alone.
    std::fs::write(log(&two), "notes").unwrap();
    let store = RedbStore::open(&two).unwrap();
    commit(&store, "three");
    drop(store);
    assert_eq!(std::fs::read(log(&two)).unwrap(), b"notes");
    assert_eq!(value(&two), "three");
}
