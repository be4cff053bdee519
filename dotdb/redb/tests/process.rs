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
