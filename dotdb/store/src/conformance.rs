//! Checks that every backend must pass: call [`check_store`] from its tests.
//!
//! The expected answers come from `BTreeMap<Vec<u8>, Vec<u8>>`, whose order is that of unsigned
//! bytes. The checks panic with what differed; the random one names its seed.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::page::MAX_PAGE_BYTES;
use crate::{
    Batch, Direction, Durability, MAX_KEY_BYTES, MAX_VALUE_BYTES, Page, Snapshot, Store, StoreError,
    is_empty_range,
};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Runs all checks, each on a fresh store that `new` gives.
pub fn check_store(mut new: impl FnMut() -> Arc<dyn Store>) {
    points(&*new());
    edges(&*new());
    ranges(&*new());
    snapshots_do_not_change(&*new());
    iterators_outlive_snapshots(&*new());
    large_values(&*new());
    too_large(&*new());
    stats_count(&*new());
    upkeep(&*new());
    batches_are_seen_whole(&new());
    snapshots_beside_a_writer(&new());
    for seed in 1..=8 {
        random_model(&*new(), seed);
    }
}

/// Checks of a store that outlives its process: `open` opens the same one each time, which is new at first. The
/// store is closed in good order in between.
pub fn check_reopening(mut open: impl FnMut() -> Arc<dyn Store>) {
    let mut random = SplitMix64(99);
    let mut model = Model::new();
    for round in 0..6 {
        let store = open();
        assert!(!store.read_only());
        let found = rows(
            &*store.snapshot().expect("snapshot"),
            Bound::Unbounded,
            Bound::Unbounded,
            Direction::Forward,
        );
        assert_eq!(found, model.clone().into_iter().collect::<Rows>(), "after {round} times of opening");
        sound(&*store);
        for step in 0..40 {
            let mut batch = Batch::new();
            for _ in 0..random.below(8) {
                let key = random.key();
                if random.below(3) == 0 {
                    batch.delete(key.clone());
                    model.remove(&key);
                } else {
                    let length = if random.below(50) == 0 { 300_000 } else { random.below(200) };
                    let value = random.bytes(length);
                    batch.put(key.clone(), value.clone());
                    model.insert(key, value);
                }
            }
            let durability = if step % 4 == 0 { Durability::Sync } else { Durability::None };
            store.apply(&batch, durability).expect("apply");
        }
        match round % 3 {
            0 => store.sync().expect("sync"),
            1 => drop(store.compact().expect("compact")),
            _ => {}
        }
    }
}

/// Checks that a store finds nothing wrong with itself.
fn sound(store: &dyn Store) {
    let mut found = Vec::new();
    store.check(&mut |damage| found.push(damage.to_string())).expect("check");
    assert_eq!(found, [""; 0], "damage in a store that has none");
}

fn apply(store: &dyn Store, batch: &Batch) {
    store.apply(batch, Durability::None).expect("apply");
}

fn put_all(store: &dyn Store, keys: &[&[u8]]) {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(&[b"v", *key].concat()));
    }
    apply(store, &batch);
}

fn get(snapshot: &dyn Snapshot, key: &[u8]) -> Option<Vec<u8>> {
    let value = snapshot.get(key).expect("get").map(|value| value.to_vec());
    let mut into = b"what was there".to_vec();
    let found = snapshot.get_into(key, &mut into).expect("get");
    assert_eq!(found.then_some(into), value, "what is got into a buffer is what is got");
    value
}

fn rows(snapshot: &dyn Snapshot, from: Bound<&[u8]>, to: Bound<&[u8]>, direction: Direction) -> Rows {
    let rows = snapshot.range(from, to, direction).expect("range");
    let rows: Rows =
        rows.map(|row| row.expect("row")).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert!(
        visited(snapshot, from, to, direction, usize::MAX) == rows,
        "what is visited is what is ranged over"
    );
    for size in [1, 3, 1000] {
        assert!(paged(snapshot, from, to, direction, size) == rows, "pages are what is ranged over");
    }
    let half = rows.len().div_ceil(2);
    assert!(
        visited(snapshot, from, to, direction, half) == rows[..half],
        "visiting ends where it is broken off"
    );
    rows
}

fn paged(
    snapshot: &dyn Snapshot,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    direction: Direction,
    size: usize,
) -> Rows {
    let mut pages = snapshot.pages(from, to, direction).expect("pages");
    let (mut page, mut rows, mut more) = (Page::new(), Rows::new(), true);
    while more {
        // Now and then a page is added to.
        if rows.len() % 2 == 0 {
            page.clear();
        }
        let before = page.len();
        let bytes = page.bytes();
        more = pages.read(size, &mut page).expect("page");
        let read = page.len() - before;
        assert!(read <= size && (!more || read == size || page.bytes() - bytes >= MAX_PAGE_BYTES));
        let added = (before..page.len()).filter_map(|number| page.row(number));
        rows.extend(added.map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    page.clear();
    assert!(!pages.read(size, &mut page).expect("page") && page.is_empty(), "the end stays the end");
    rows
}

fn visited(
    snapshot: &dyn Snapshot,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    direction: Direction,
    most: usize,
) -> Rows {
    let mut rows = Rows::new();
    if most > 0 {
        let mut see = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        snapshot.visit(from, to, direction, &mut see).expect("visit");
    }
    rows
}

fn model_rows(model: &Model, from: Bound<&[u8]>, to: Bound<&[u8]>, direction: Direction) -> Rows {
    if is_empty_range(from, to) {
        return Vec::new();
    }
    let rows = model.range::<[u8], _>((from, to)).map(|(key, value)| (key.clone(), value.clone()));
    match direction {
        Direction::Forward => rows.collect(),
        Direction::Backward => rows.rev().collect(),
    }
}

fn points(store: &dyn Store) {
    let before = store.snapshot().expect("snapshot");
    assert_eq!(get(&*before, b"a"), None);
    put_all(store, &[b"a", b"b"]);
    let mut batch = Batch::new();
    batch.put("a", "new").delete("b").delete("never there").put("c", "1").put("c", "2");
    apply(store, &batch);
    let after = store.snapshot().expect("snapshot");
    assert_eq!(get(&*after, b"a"), Some(b"new".to_vec()));
    assert_eq!(get(&*after, b"b"), None);
    assert_eq!(get(&*after, b"c"), Some(b"2".to_vec()), "the last write of a key wins");
    apply(store, &Batch::new());
    store.apply(Batch::new().put("d", "1"), Durability::Sync).expect("durable apply");
    store.sync().expect("sync");
    assert_eq!(get(&*store.snapshot().expect("snapshot"), b"d"), Some(b"1".to_vec()));
    assert_eq!(get(&*before, b"a"), None);
}

fn edges(store: &dyn Store) {
    let keys: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0\xff", b"\x01", b"\xff", b"\xff\xff"];
    let mut batch = Batch::new();
    for key in keys {
        batch.put(Bytes::copy_from_slice(key), Bytes::new());
    }
    apply(store, &batch);
    let snapshot = store.snapshot().expect("snapshot");
    for key in keys {
        assert_eq!(get(&*snapshot, key), Some(Vec::new()), "an empty value under {key:?}");
    }
    let found = rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward);
    let found: Vec<&[u8]> = found.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(found, keys, "keys in the order of unsigned bytes, shorter first");
    apply(store, Batch::new().delete(Bytes::new()));
    assert_eq!(get(&*store.snapshot().expect("snapshot"), b""), None);
}

fn ranges(store: &dyn Store) {
    let keys: [&[u8]; 5] = [b"", b"b", b"bb", b"d", b"f"];
    put_all(store, &keys);
    let model: Model = keys.iter().map(|key| (key.to_vec(), [b"v", *key].concat())).collect();
    let snapshot = store.snapshot().expect("snapshot");
    let mut bounds: Vec<Bound<&[u8]>> = vec![Bound::Unbounded];
    for key in [&b""[..], b"a", b"b", b"ba", b"bb", b"d", b"f", b"g"] {
        bounds.extend([Bound::Included(key), Bound::Excluded(key)]);
    }
    for &from in &bounds {
        for &to in &bounds {
            for direction in [Direction::Forward, Direction::Backward] {
                let expected = model_rows(&model, from, to, direction);
                let found = rows(&*snapshot, from, to, direction);
                assert_eq!(found, expected, "range {from:?} {to:?} {direction:?}");
            }
            let expected = model_rows(&model, from, to, Direction::Forward);
            for cap in 0..=6usize {
                let counted = snapshot.count(from, to, cap as u64).expect("count");
                assert_eq!(counted.pairs, expected.len().min(cap) as u64, "count {from:?} {to:?} {cap}");
                if cap > expected.len() {
                    assert_eq!(counted.last, None, "count {from:?} {to:?} {cap}");
                } else if cap < expected.len() {
                    let last = cap.checked_sub(1).map(|last| &expected[last].0[..]);
                    assert_eq!(counted.last.as_deref(), last, "count {from:?} {to:?} {cap}");
                }
            }
        }
    }
}

fn snapshots_do_not_change(store: &dyn Store) {
    let mut kept = Vec::new();
    for round in 0..20u8 {
        kept.push(store.snapshot().expect("snapshot"));
        let mut batch = Batch::new();
        batch.put("same", vec![round]).put(vec![round], "own");
        if round > 0 {
            batch.delete(vec![round - 1]);
        }
        apply(store, &batch);
    }
    for (round, snapshot) in (0..20u8).zip(kept) {
        let mut expected = Rows::new();
        if let Some(last) = round.checked_sub(1) {
            expected = vec![(vec![last], b"own".to_vec()), (b"same".to_vec(), vec![last])];
        }
        let found = rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward);
        assert_eq!(found, expected, "snapshot of round {round}");
    }
}

fn iterators_outlive_snapshots(store: &dyn Store) {
    let numbers: Vec<[u8; 4]> = (0..2000u32).map(u32::to_be_bytes).collect();
    let keys: Vec<&[u8]> = numbers.iter().map(|key| &key[..]).collect();
    put_all(store, &keys);
    for direction in [Direction::Forward, Direction::Backward] {
        let snapshot = store.snapshot().expect("snapshot");
        let mut rows = snapshot.range(Bound::Unbounded, Bound::Unbounded, direction).expect("range");
        drop(snapshot);
        let first = rows.next().expect("a row").expect("row");
        assert_eq!(first.0, if direction == Direction::Forward { keys[0] } else { keys[1999] });
        let mut batch = Batch::new();
        for key in &numbers {
            batch.delete(Bytes::copy_from_slice(key));
        }
        apply(store, &batch);
        let rest: Vec<_> = rows.map(|row| row.expect("row")).collect();
        assert_eq!(rest.len(), 1999, "the range is as it was opened");
        put_all(store, &keys);
    }
}

fn large_values(store: &dyn Store) {
    for bytes in [4096, 65_537, 16 << 20] {
        let value: Vec<u8> = (0..bytes).map(|i: usize| (i % 251) as u8).collect();
        apply(store, Batch::new().put("large", value.clone()));
        let found = get(&*store.snapshot().expect("snapshot"), b"large");
        assert!(found == Some(value), "a value of {bytes} bytes");
    }
    let key = vec![7; 2048];
    apply(store, Batch::new().put(key.clone(), "x"));
    assert_eq!(get(&*store.snapshot().expect("snapshot"), &key), Some(b"x".to_vec()));
}

fn too_large(store: &dyn Store) {
    put_all(store, &[b"kept"]);
    let refused = |batch: &Batch, expected: (&str, usize, usize)| {
        match store.apply(batch, Durability::None) {
            Err(StoreError::TooLarge { what, bytes, limit }) => {
                assert_eq!((what, bytes, limit), (expected.0, expected.1 as u64, expected.2 as u64));
            }
            other => panic!("{expected:?}: {other:?}"),
        }
        let snapshot = store.snapshot().expect("snapshot");
        let found = rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward);
        assert_eq!(found, [(b"kept".to_vec(), b"vkept".to_vec())], "nothing has changed");
    };
    let key = vec![7; MAX_KEY_BYTES + 1];
    let expected = ("key", key.len(), MAX_KEY_BYTES);
    refused(Batch::new().put("a", "new").delete("kept").put(key.clone(), "x"), expected);
    refused(Batch::new().put("a", "new").delete(key), expected);
    let value = vec![0; MAX_VALUE_BYTES + 1];
    let expected = ("value", value.len(), MAX_VALUE_BYTES);
    refused(Batch::new().put("a", "new").put("b", value), expected);

    let longest = vec![7; MAX_KEY_BYTES];
    apply(store, Batch::new().put(longest.clone(), "x"));
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(get(&*snapshot, &longest), Some(b"x".to_vec()));
    let found = rows(&*snapshot, Bound::Excluded(b"\x06"), Bound::Unbounded, Direction::Backward);
    assert_eq!(found.len(), 2, "a key of the greatest length is found backwards");
}

/// Compaction and check, beside a snapshot and alone.
fn upkeep(store: &dyn Store) {
    sound(store);
    let keys: Vec<Vec<u8>> = (0..2000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let fill = |value: &'static [u8]| {
        let mut batch = Batch::new();
        for key in &keys {
            batch.put(key.clone(), value);
        }
        apply(store, &batch);
    };
    fill(&[1; 500]);
    fill(&[2; 500]);
    let mut batch = Batch::new();
    for key in keys.iter().skip(10) {
        batch.delete(key.clone());
    }
    let snapshot = store.snapshot().expect("snapshot");
    apply(store, &batch);
    match store.compact() {
        Ok(_) | Err(StoreError::Busy(_)) => {}
        Err(error) => panic!("compaction beside a snapshot: {error}"),
    }
    assert_eq!(rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward).len(), 2000);
    sound(store);
    drop(snapshot);
    let report = store.compact().expect("compact");
    assert_eq!(report.bytes_before.is_some(), store.stats().expect("stats").file_bytes.is_some());
    assert_eq!(report.bytes_after.is_some(), report.bytes_before.is_some());
    sound(store);
    let expected: Rows = keys.iter().take(10).map(|key| (key.clone(), vec![2; 500])).collect();
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward), expected);
    apply(store, Batch::new().put("after", "v"));
    assert_eq!(store.stats().expect("stats").keys, 11);
}

fn stats_count(store: &dyn Store) {
    assert_eq!(store.stats().expect("stats").keys, 0);
    put_all(store, &[b"a", b"bb", b"ccc"]);
    apply(store, Batch::new().delete("bb"));
    let stats = store.stats().expect("stats");
    // Keys of 1 and 3 bytes, values of 2 and 4.
    assert_eq!((stats.keys, stats.live_bytes), (2, 10));
    assert!(!stats.backend.is_empty());
}

/// One thread moves all keys from one number to the next in a batch; the others must never see two
/// numbers, nor a number lower than one seen before.
fn batches_are_seen_whole(store: &Arc<dyn Store>) {
    const KEYS: u8 = 50;
    const ROUNDS: u32 = 200;
    let write = |round: u32| {
        let mut batch = Batch::new();
        for key in 0..KEYS {
            batch.put(vec![key], round.to_be_bytes().to_vec());
        }
        apply(&**store, &batch);
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    let snapshot = store.snapshot().expect("snapshot");
                    let found = rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward);
                    assert_eq!(found.len(), usize::from(KEYS));
                    assert!(found.iter().all(|row| row.1 == found[0].1), "part of a batch was seen");
                    assert!(found[0].1 >= last, "time went backwards");
                    last = found[0].1.clone();
                }
            });
        }
        for round in 1..=ROUNDS {
            write(round);
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// One thread inserts, changes and deletes keys among many; each snapshot of the others gives the same rows
/// however often, in whichever direction and by whichever way it is read.
fn snapshots_beside_a_writer(store: &Arc<dyn Store>) {
    const ROUNDS: u32 = 300;
    let keys: Vec<[u8; 2]> = (0..500u16).map(u16::to_be_bytes).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    put_all(store.as_ref(), &keys);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let done = &done;
            let keys = &keys;
            scope.spawn(move || {
                let mut random = SplitMix64(thread);
                while !done.load(Ordering::SeqCst) {
                    let snapshot = store.snapshot().expect("snapshot");
                    let all = |direction| rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, direction);
                    let forward = all(Direction::Forward);
                    assert!(forward.is_sorted_by(|a, b| a.0 < b.0), "rows out of order");
                    let mut backward = all(Direction::Backward);
                    backward.reverse();
                    assert!(forward == backward, "backwards there are other rows");
                    let model: Model = forward.into_iter().collect();
                    for _ in 0..100 {
                        let key = keys[random.below(keys.len() as u64) as usize];
                        assert_eq!(get(&*snapshot, key), model.get(key).cloned(), "get {key:?}");
                    }
                    let from = keys[random.below(keys.len() as u64) as usize];
                    let found = rows(&*snapshot, Bound::Excluded(from), Bound::Unbounded, Direction::Forward);
                    assert_eq!(
                        found,
                        model_rows(&model, Bound::Excluded(from), Bound::Unbounded, Direction::Forward)
                    );
                }
            });
        }
        let mut random = SplitMix64(77);
        for round in 0..ROUNDS {
            let mut batch = Batch::new();
            for _ in 0..random.below(30) {
                let key = Bytes::copy_from_slice(keys[random.below(keys.len() as u64) as usize]);
                if random.below(2) == 0 {
                    batch.delete(key);
                } else {
                    batch.put(key, round.to_be_bytes().to_vec());
                }
            }
            apply(store.as_ref(), &batch);
        }
        done.store(true, Ordering::SeqCst);
    });
}

fn random_model(store: &dyn Store, seed: u64) {
    let mut random = SplitMix64(seed);
    let mut model = Model::new();
    let mut kept: Vec<(Arc<dyn Snapshot>, Model)> = Vec::new();
    for step in 0..300 {
        let context = format!("seed {seed} step {step}");
        let mut batch = Batch::new();
        for _ in 0..random.below(12) {
            let key = random.key();
            if random.below(3) == 0 {
                batch.delete(key.clone());
                model.remove(&key);
            } else {
                let length = random.below(40);
                let value = random.bytes(length);
                batch.put(key.clone(), value.clone());
                model.insert(key, value);
            }
        }
        apply(store, &batch);
        if random.below(20) == 0 {
            kept.push((store.snapshot().expect("snapshot"), model.clone()));
        }
        let snapshot = store.snapshot().expect("snapshot");
        let key = random.key();
        assert_eq!(get(&*snapshot, &key), model.get(&key).cloned(), "{context}: get {key:?}");
        let (low, high) = (random.key(), random.key());
        let from = random.bound(&low);
        let to = random.bound(&high);
        for direction in [Direction::Forward, Direction::Backward] {
            let expected = model_rows(&model, from, to, direction);
            let found = rows(&*snapshot, from, to, direction);
            assert_eq!(found, expected, "{context}: range {from:?} {to:?} {direction:?}");
        }
    }
    kept.push((store.snapshot().expect("snapshot"), model));
    for (snapshot, model) in kept {
        let expected: Rows = model.into_iter().collect();
        let found = rows(&*snapshot, Bound::Unbounded, Bound::Unbounded, Direction::Forward);
        assert_eq!(found, expected, "seed {seed}: a kept snapshot");
    }
}

/// Sebastiano Vigna's splitmix64: a generator that is the same everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Short keys over four bytes, so that keys meet and are prefixes of one another.
    fn key(&mut self) -> Vec<u8> {
        (0..self.below(5)).map(|_| [0, 1, 0x7f, 0xff][self.below(4) as usize]).collect()
    }

    fn bound<'a>(&mut self, key: &'a [u8]) -> Bound<&'a [u8]> {
        match self.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    }
}
