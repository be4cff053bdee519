//! Power cuts and failing disks for the backends that take no file layer of ours: the system calls of a child
//! process are recorded and played back, or made to fail, by strace.
//!
//! Needs strace and the right to trace, so these tests run only when asked for:
//! `cargo test -p dotdb-stores --test system_calls -- --ignored` (`.ci/run` does).
#![cfg(target_os = "linux")]

mod disk;
mod trace;

use std::collections::BTreeMap;
use std::fs;
use std::io::{IoSlice, Write};
use std::ops::Bound;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use disk::{Left, Recording};
use dotdb_store::{Batch, Direction, Durability, Store, StoreError};
use dotdb_stores::{Access, StoreUrl, open};
use fastrand::Rng;

const CHILD: &str = "DOTDB_SYSTEM_CALLS_CHILD";
const MARKS: &str = "DOTDB_SYSTEM_CALLS_MARKS";
const COMMITS: usize = 40;

/// Calls that change files.
const CALLS: &str = "openat,write,pwrite64,writev,pwritev,pwritev2,lseek,truncate,ftruncate,fallocate,fsync,fdatasync,\
                     sync_file_range,pread64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat";

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// The batch of each commit, and the state after it, from none on.
fn workload() -> (Vec<Batch>, Vec<Model>) {
    let mut random = Rng::with_seed(11);
    let (mut batches, mut models) = (vec![Batch::new()], vec![Model::new()]);
    for commit in 1..=COMMITS {
        let mut model = models[commit - 1].clone();
        let mut batch = Batch::new();
        batch.put("commit", commit.to_be_bytes().to_vec());
        model.insert(b"commit".to_vec(), commit.to_be_bytes().to_vec());
        for _ in 0..random.usize(1..12) {
            let key = random.u8(..60).to_be_bytes().to_vec();
            if random.u8(..4) == 0 {
                model.remove(&key);
                batch.delete(key);
            } else {
                // Now and then one that sled keeps in a file of its own.
                let len = if random.u8(..25) == 0 { 200_000 } else { random.usize(..2000) };
                let value: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
                model.insert(key.clone(), value.clone());
                batch.put(key, value);
            }
        }
        batches.push(batch);
        models.push(model);
    }
    (batches, models)
}

fn durability(commit: usize) -> Durability {
    if commit % 4 == 3 { Durability::None } else { Durability::Sync }
}

fn read(store: &Arc<dyn Store>) -> Result<Model, StoreError> {
    let rows = store.snapshot()?.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// Adds a line to the marks by a system call that the stores do not use, so that it can be told from theirs.
fn say(marks: &mut fs::File, text: &str) {
    let line = format!("{text}\n");
    let written = marks.write_vectored(&[IoSlice::new(line.as_bytes()), IoSlice::new(b"")]).unwrap();
    assert_eq!(written, line.len());
}

/// Not a test of its own: what the traced process runs.
#[test]
fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let mut marks = fs::File::create(std::env::var(MARKS).unwrap()).unwrap();
    if let Err(error) = work(&url.parse().unwrap(), &mut marks) {
        assert!(!error.to_string().contains('\n'), "{error}");
        say(&mut marks, &format!("failed {error}"));
    }
    say(&mut marks, "end");
    // The test harness would write on, and fail at that.
    std::process::exit(0);
}

fn work(url: &StoreUrl, marks: &mut fs::File) -> Result<(), StoreError> {
    let (batches, models) = workload();
    let mut store = open(url, Access::Write)?;
    for commit in 1..=COMMITS {
        say(marks, &format!("begin {commit}"));
        if let Err(error) = store.apply(&batches[commit], durability(commit)) {
            // The truth or an error, until the store is opened anew.
            if let Ok(found) = read(&store) {
                let true_state = found == models[commit - 1] || found == models[commit];
                assert!(true_state, "a wrong answer behind the error");
            }
            return Err(error);
        }
        if durability(commit) == Durability::Sync {
            say(marks, &format!("promised {commit}"));
        }
        assert!(read(&store)? == models[commit], "a wrong answer");
        if commit == COMMITS / 2 {
            drop(store);
            store = open(url, Access::Write)?;
        }
        if commit % 15 == 0 {
            store.compact()?;
        }
    }
    Ok(())
}

/// Runs the child under strace.
fn run(url: &str, marks: &Path, trace: &Path, options: &[&str]) -> Output {
    Command::new("timeout")
        .args(["120", "strace"])
        .args(["-f", "-y", "-xx", "-s", "100000000", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(trace)
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, url)
        .env(MARKS, marks)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("strace is installed")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn record(scheme: &str) -> Recording {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("state");
    let before = directory.path().join("before");
    let url = format!("{scheme}:{}", root.display());
    drop(open(&url.parse().unwrap(), Access::Create).unwrap());
    copy(&root, &before);
    let trace = directory.path().join("trace");
    let marks = directory.path().join("marks");
    let output = run(&url, &marks, &trace, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = trace::parse(&fs::read_to_string(&trace).unwrap());
    let recording = Recording::new(&root, &before, &marks, &calls);
    // What is played back to the end is what is there.
    let replayed = directory.path().join("replayed");
    recording.cut(recording.len(), Left::Everything, &replayed);
    let (replayed, there) = (files(&replayed), files(&root));
    assert!(replayed.keys().eq(there.keys()), "{:?} and {:?}", replayed.keys(), there.keys());
    for (name, bytes) in there {
        assert!(replayed[&name] == bytes, "{name} is not what was played back");
    }
    recording
}

/// All files below a directory.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(
                files(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// What came back after a cut: the number of a commit, or what is wrong.
fn recovered(scheme: &str, path: &Path, models: &[Model]) -> Result<usize, String> {
    let url: StoreUrl = format!("{scheme}:{}", path.display()).parse().unwrap();
    let store = open(&url, Access::Write).map_err(|error| format!("opening: {error}"))?;
    let found = read(&store).map_err(|error| format!("reading: {error}"))?;
    let commit = match found.get(&b"commit"[..]) {
        Some(number) => usize::from_be_bytes(number.as_slice().try_into().map_err(|_| "a partial number")?),
        None => 0,
    };
    if models.get(commit) != Some(&found) {
        return Err(format!("the state is not that of commit {commit}"));
    }
    store.apply(Batch::new().put("later", "x"), Durability::Sync).map_err(|error| error.to_string())?;
    Ok(commit)
}

/// Cuts the power before every `step`th step; gives the number of cuts and what was wrong.
fn cut_everywhere(scheme: &str, recording: &Recording, parts: u64, step: usize) -> (usize, Vec<String>) {
    let (_, models) = workload();
    let directory = tempfile::tempdir().unwrap();
    let (mut cuts, mut wrong) = (0, Vec::new());
    for position in (0..=recording.len()).step_by(step) {
        let (promised, begun) = recording.bounds(position);
        let parts = (0..parts).map(|part| Left::Part(position as u64 * 1000 + part));
        for left in [Left::Nothing, Left::Everything].into_iter().chain(parts) {
            let path = directory.path().join(format!("{cuts}"));
            cuts += 1;
            recording.cut(position, left, &path);
            match recovered(scheme, &path, &models) {
                Ok(commit) if (promised..=begun).contains(&commit) => {}
                Ok(commit) => wrong.push(format!(
                    "step {position}, {left:?}: commit {commit} came back, {promised} was promised and {begun} begun"
                )),
                Err(error) => wrong.push(format!("step {position}, {left:?}: {error}")),
            }
            fs::remove_dir_all(&path).unwrap();
        }
    }
    println!("{scheme}: {} steps, {cuts} cuts, {} wrong", recording.len(), wrong.len());
    (cuts, wrong)
}

fn long() -> bool {
    dotvm_test_modes::is_long()
}

#[cfg(feature = "rocksdb")]
#[test]
#[ignore = "needs strace"]
fn power_cuts_rocksdb() {
    let recording = record("rocksdb");
    let (_, wrong) =
        cut_everywhere("rocksdb", &recording, if long() { 20 } else { 2 }, if long() { 1 } else { 5 });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (_, wrong) = cut_everywhere("rocksdb", &recording.without_syncs(), 0, 40);
    assert!(
        wrong.iter().any(|sentence| sentence.contains("was promised")),
        "a lying disk is noticed: {wrong:?}"
    );
}

/// sled is weaker, as its crate's documentation says: a cut now and then leaves what it cannot open. It says so.
#[cfg(feature = "sled")]
#[test]
#[ignore = "needs strace"]
fn power_cuts_sled() {
    let recording = record("sled");
    let (cuts, wrong) =
        cut_everywhere("sled", &recording, if long() { 20 } else { 2 }, if long() { 1 } else { 5 });
    assert!(wrong.len() * 20 <= cuts, "of {cuts} cuts these: {}", wrong.join("\n"));
    println!("{}", wrong.join("\n"));
    let (_, wrong) = cut_everywhere("sled", &recording.without_syncs(), 0, 40);
    assert!(
        wrong.iter().any(|sentence| sentence.contains("was promised")),
        "a lying disk is noticed: {wrong:?}"
    );
}

/// Lets the system calls of a child fail, from the so-many-th on, and opens what it leaves behind.
fn failing_calls(scheme: &str) {
    let (_, models) = workload();
    let all: Vec<u32> =
        if long() { (1..250).collect() } else { vec![1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144] };
    let mut sentences = BTreeMap::new();
    let mut refused = Vec::new();
    for (calls, error) in [
        ("write,pwrite64,fallocate,ftruncate", "ENOSPC"),
        ("write,pwrite64,fallocate,ftruncate,fsync,fdatasync,sync_file_range,rename", "EIO"),
        ("fsync,fdatasync", "EIO"),
        ("pread64", "EIO"),
    ] {
        if scheme == "sled" && calls == "pread64" {
            // sled takes a read that fails while it opens for the end of its log, and writes over what is there.
            continue;
        }
        for when in &all {
            let context = format!("{scheme}, {error} from call {when} of {calls}");
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().join("state");
            let url = format!("{scheme}:{}", root.display());
            drop(open(&url.parse().unwrap(), Access::Create).unwrap());
            let (marks, trace) = (directory.path().join("marks"), directory.path().join("trace"));
            let inject = format!("inject={calls}:error={error}:when={when}+");
            let output = run(&url, &marks, &trace, &["-e", &inject]);
            let said = fs::read_to_string(&marks).unwrap_or_default();
            if !said.ends_with("end\n") && said.is_empty() {
                // The process could not even begin.
                continue;
            }
            assert!(
                output.status.success() && said.ends_with("end\n"),
                "{context}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let number = |word: &str| {
                let mut lines = said.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
                lines.next_back().unwrap_or(0)
            };
            let (promised, begun): (usize, usize) = (number("promised"), number("begin"));
            let failed = said.lines().find_map(|line| line.strip_prefix("failed "));
            if let Some(sentence) = failed {
                *sentences.entry(sentence.replace(&root.display().to_string(), "PATH")).or_insert(0) += 1;
            } else {
                assert_eq!(begun, COMMITS, "{context}");
            }
            match recovered(scheme, &root, &models) {
                Ok(commit) => assert!(
                    (promised..=begun).contains(&commit),
                    "{context}: commit {commit} came back, {promised} was promised and {begun} begun"
                ),
                // sled leaves a store that it does not open any more once in some hundred times (docs/storage.md).
                Err(error) if scheme == "sled" => refused.push(format!("{context}: {error}")),
                Err(error) => panic!("{context}: {error}"),
            }
        }
    }
    println!("{scheme}: {sentences:#?}, refused {refused:#?}");
    assert!(refused.len() <= all.len() / 10, "{refused:#?}");
    let full = "there is no space left to write to the store";
    assert!(sentences.keys().any(|sentence| sentence == full), "{sentences:#?}");
    assert!(sentences.len() > 1, "{sentences:#?}");
}

#[cfg(feature = "rocksdb")]
#[test]
#[ignore = "needs strace"]
fn failing_calls_rocksdb() {
    failing_calls("rocksdb");
}

#[cfg(feature = "sled")]
#[test]
#[ignore = "needs strace"]
fn failing_calls_sled() {
    failing_calls("sled");
}

#[test]
#[ignore = "needs strace"]
fn failing_calls_redb() {
    failing_calls("redb");
}
