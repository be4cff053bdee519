//! `--db` with each kind of store, and a second process at one.

mod common;

use std::time::{Duration, Instant};

use common::Place;
use dotdb_stores::{Access, StoreUrl, open};

const DATABASE: i32 = 4;

fn urls() -> Vec<&'static str> {
    let mut urls = vec!["redb:a-store", "sled:a-store"];
    if cfg!(feature = "rocksdb") {
        urls.push("rocksdb:a-store");
    }
    urls
}

#[test]
fn state_is_kept_in_each() {
    for url in urls() {
        let place = Place::new();
        place.ok(&["deploy", "bank.dasm", "--db", url]);
        for amount in ["40", "2"] {
            place.ok(&["call", "bank", "add", amount, "--db", url]);
        }
        // A store that is there is known by its path alone.
        for name in [url, "a-store"] {
            assert_eq!(place.ok(&["db", "get", "bank", "0", "--db", name]).trim(), "42", "{name}");
        }
        let stats = place.json(0, &["db", "stats", "--db", "a-store", "--json"]);
        assert_eq!(stats["backend"], url.split(':').next().unwrap());
        assert!(!place.path("a-store.lock").exists(), "the announcement is gone with the process");
        for other in ["redb", "sled"].into_iter().filter(|scheme| !url.starts_with(scheme)) {
            let name = format!("{other}:a-store");
            place.fails(DATABASE, &["db", "ls", "--db", &name], &["is not a DotDB store", other]);
        }
    }
    if !cfg!(feature = "rocksdb") {
        let place = Place::new();
        let run = ["run", "bank.dasm", "--db", "rocksdb:new"];
        place.fails(DATABASE, &run, &["built without RocksDB", "--features rocksdb", "libclang"]);
        assert!(!place.path("new").exists());
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_store() {
    for url in urls() {
        let place = Place::new();
        place.ok(&["deploy", "bank.dasm", "--db", url]);
        let (scheme, name) = url.split_once(':').unwrap();
        let here: StoreUrl = format!("{scheme}:{}", place.path(name).display()).parse().unwrap();
        let holder = open(&here, Access::Write).unwrap();
        let held = format!("the store {name} is held by process {} (", std::process::id());
        let call = ["call", "bank", "add", "1", "--db", url];
        place.fails(DATABASE, &[&call[..], &["--wait", "0"]].concat(), &[&held, " since 2"]);
        if scheme == "rocksdb" {
            place.ok(&["db", "ls", "--db", url]);
        }
        let start = Instant::now();
        place.fails(DATABASE, &[&call[..], &["--wait", "0.3"]].concat(), &[&held]);
        assert!(start.elapsed() >= Duration::from_millis(300));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                drop(holder);
            });
            place.ok(&[&call[..], &["--wait", "60"]].concat());
        });
    }
}
