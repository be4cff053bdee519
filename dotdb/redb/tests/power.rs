//! Power cuts at every point of a recorded workload.
//!
//! What was synced stays. Of the writes since then the cut leaves none, all, or any part: each sector of each write
//! by itself, in any order, with the file as long as before, after or in between. The store that comes back must
//! open, hold a state that was committed, whole, and none older than was promised.

mod disk;

use std::collections::BTreeMap;
use std::ops::Bound;

use disk::{Disk, Files, Op, SECTOR_BYTES, apply};
use dotdb_redb::RedbStore;
use dotdb_store::{Batch, Direction, Durability, Store};
use fastrand::Rng;

const CACHE_BYTES: usize = 1 << 20;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// The bytes at the beginning, what was done to them, and the state after each commit, from 0 on.
struct Recording {
    start: Files,
    log: Vec<Op>,
    models: Vec<Model>,
    with_log: bool,
}

/// A store under random batches: overwriting, growing, shrinking, compacting, closing and opening.
fn record(seed: u64, commits: usize, with_log: bool) -> Recording {
    let mut random = Rng::with_seed(seed);
    let disk = Disk::default();
    let mut store = disk.open(CACHE_BYTES, with_log).unwrap();
    store.sync().unwrap();
    // Until here the file has no name yet: a cut would leave no store.
    disk.take_log();
    let start = disk.files();
    let mut models = vec![Model::new()];
    for commit in 1..=commits {
        let mut model = models[commit - 1].clone();
        let mut batch = Batch::new();
        batch.put("commit", commit.to_be_bytes().to_vec());
        model.insert(b"commit".to_vec(), commit.to_be_bytes().to_vec());
        let writes = if random.u8(..10) == 0 { 200 } else { random.usize(0..12) };
        for _ in 0..writes {
            let key = random.u16(..400).to_be_bytes().to_vec();
            if random.u8(..3) == 0 {
                model.remove(&key);
                batch.delete(key);
            } else {
                let len = if random.u8(..20) == 0 { random.usize(..20_000) } else { random.usize(..300) };
                let value = vec![random.u8(..); len];
                batch.put(key.clone(), value.clone());
                model.insert(key, value);
            }
        }
        models.push(model);
        disk.mark(Op::Begin(commit));
        let durability = if random.u8(..3) == 0 { Durability::None } else { Durability::Sync };
        store.apply(&batch, durability).unwrap();
        if durability == Durability::Sync {
            disk.mark(Op::Promised(commit));
        }
        match random.u8(..12) {
            0 => {
                store.sync().unwrap();
                disk.mark(Op::Promised(commit));
            }
            1 => drop(store.compact().unwrap()),
            2 => {
                drop(store);
                store = disk.open(CACHE_BYTES, with_log).unwrap();
            }
            _ => {}
        }
    }
    Recording { start, log: disk.take_log(), models, with_log }
}

/// How much of what was not synced a cut leaves.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    Everything,
    /// A part chosen by a seed.
    Some(u64),
}

/// The files after a cut: `synced` with some of `pending`.
fn after_cut(synced: &Files, pending: &[Op], left: Left) -> Files {
    let mut bytes = synced.clone();
    let seed = match left {
        Left::Nothing => return bytes,
        Left::Everything => {
            pending.iter().for_each(|op| apply(&mut bytes, op));
            return bytes;
        }
        Left::Some(seed) => seed,
    };
    let mut random = Rng::with_seed(seed);
    // Sectors become durable each by itself, the length of the file too.
    let mut parts: Vec<Op> = Vec::new();
    for op in pending {
        match op {
            Op::Write { file, offset, data } => {
                let mut from = 0;
                while from < data.len() {
                    let at = *offset as usize + from;
                    let len = (SECTOR_BYTES - at % SECTOR_BYTES).min(data.len() - from);
                    let data = data[from..from + len].to_vec();
                    parts.push(Op::Write { file: *file, offset: at as u64, data });
                    from += len;
                }
            }
            Op::SetLen(..) => parts.push(op.clone()),
            Op::Sync(_) | Op::Begin(_) | Op::Promised(_) => {}
        }
    }
    let kept = [10, 50, 90, 99][random.usize(..4)];
    parts.retain(|_| random.u8(..100) < kept);
    let mut lens = bytes.each_ref().map(Vec::len);
    for part in &parts {
        match part {
            Op::SetLen(file, set) => lens[*file] = *set as usize,
            // The log grows by being written.
            Op::Write { file: disk::LOG, offset, data } => {
                lens[disk::LOG] = lens[disk::LOG].max(*offset as usize + data.len());
            }
            _ => {}
        }
    }
    if random.bool() {
        random.shuffle(&mut parts);
    }
    for part in parts {
        if !matches!(part, Op::SetLen(..)) {
            apply(&mut bytes, &part);
        }
    }
    // What was written behind the end that the file had in the end is not there.
    for (bytes, len) in bytes.iter_mut().zip(lens) {
        bytes.resize(len, 0);
    }
    bytes
}

/// Opens what a cut left and gives the number of the commit whose state it holds.
fn recovered(files: Files, models: &[Model], with_log: bool) -> Result<usize, String> {
    let disk = Disk::with(files);
    let open = || disk.open(CACHE_BYTES, with_log).map_err(|error| format!("opening: {error}"));
    let read = |store: &RedbStore| -> Result<Model, String> {
        let snapshot = store.snapshot().map_err(|error| error.to_string())?;
        let rows = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
        rows.map_err(|error| error.to_string())?
            .map(|row| {
                row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(|error| error.to_string())
            })
            .collect()
    };
    let store = open()?;
    let state = read(&store)?;
    let commit = match state.get(&b"commit"[..]) {
        Some(number) => usize::from_be_bytes(number.as_slice().try_into().map_err(|_| "a partial number")?),
        None => 0,
    };
    if models.get(commit) != Some(&state) {
        return Err(format!("the state is not that of commit {commit}"));
    }
    // It is a store like any other.
    let mut found = Vec::new();
    store.check(&mut |damage| found.push(damage.to_string())).map_err(|error| error.to_string())?;
    if !found.is_empty() {
        return Err(format!("the check finds {found:?}"));
    }
    store.apply(Batch::new().put("later", "x"), Durability::Sync).map_err(|error| error.to_string())?;
    drop(store);
    let mut expected = state;
    expected.insert(b"later".to_vec(), b"x".to_vec());
    if read(&open()?)? != expected {
        return Err("a commit after the cut is not there".to_owned());
    }
    Ok(commit)
}

/// Cuts the power at every point of a recording, or at every `step`th; gives the number of cuts and what was wrong.
fn cut_everywhere(recording: &Recording, parts: u64, step: usize) -> (usize, Vec<String>) {
    let mut synced = recording.start.clone();
    let mut pending: Vec<Op> = Vec::new();
    let (mut begun, mut promised) = (0, 0);
    let (mut cuts, mut wrong) = (0, Vec::new());
    for (position, op) in recording.log.iter().enumerate() {
        match op {
            Op::Begin(commit) => begun = *commit,
            Op::Promised(commit) => promised = *commit,
            Op::Sync(synced_file) => {
                let is_synced = |op: &Op| match op {
                    Op::Write { file, .. } | Op::SetLen(file, _) => file == synced_file,
                    Op::Sync(_) | Op::Begin(_) | Op::Promised(_) => false,
                };
                pending.extract_if(.., |op| is_synced(op)).for_each(|op| apply(&mut synced, &op));
            }
            Op::Write { .. } | Op::SetLen(..) => pending.push(op.clone()),
        }
        if position % step != 0 {
            continue;
        }
        let parts = (0..parts).map(|part| Left::Some(position as u64 * 1000 + part));
        for left in [Left::Nothing, Left::Everything].into_iter().chain(parts) {
            cuts += 1;
            match recovered(after_cut(&synced, &pending, left), &recording.models, recording.with_log) {
                Ok(commit) if (promised..=begun).contains(&commit) => {}
                Ok(commit) => wrong.push(format!(
                    "operation {position}, {left:?}: commit {commit} came back, {promised} was promised and {begun} begun"
                )),
                Err(error) => wrong.push(format!("operation {position}, {left:?}: {error}")),
            }
        }
    }
    (cuts, wrong)
}

fn power_cuts(with_log: bool) {
    let long = dotvm_test_modes::is_long();
    let (seeds, commits, parts) = if long { (20, 120, 12) } else { (1, 40, 2) };
    for seed in 0..seeds {
        let recording = record(seed, commits, with_log);
        let (cuts, wrong) = cut_everywhere(&recording, parts, 1);
        println!("seed {seed}: {} operations, {cuts} cuts, {} wrong", recording.log.len(), wrong.len());
        assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
    }
}

#[test]
fn power_cuts_without_a_log() {
    power_cuts(false);
}

#[test]
fn power_cuts_with_a_log() {
    power_cuts(true);
}

/// The same on a disk that answers a sync without doing it: the test would notice.
#[test]
fn a_lying_disk_is_noticed() {
    for (with_log, lies) in [(false, disk::STORE), (true, disk::STORE), (true, disk::LOG)] {
        let mut recording = record(3, 30, with_log);
        recording.log.retain(|op| !matches!(op, Op::Sync(file) if *file == lies));
        let (_, wrong) = cut_everywhere(&recording, 1, 20);
        let noticed = wrong.iter().any(|sentence| sentence.contains("was promised"));
        assert!(noticed, "with a log: {with_log}, file {lies}: {wrong:?}");
    }
}
