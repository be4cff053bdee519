//! Roots: against the definition, against published and independently computed values, and whatever the history.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{Rows, State, change, deletes, key, naive_root, puts};
use dotdb_commitment::{
    Change, CommitmentError, MAX_VERSION, Overlay, Root, SnapshotReader, check, kept, load, prove, prune,
    root, update,
};
use dotdb_memory::MemoryStore;
use dotdb_store::{Batch, Durability, Store};
use proptest::prelude::*;

fn text(pairs: &[(&'static str, &'static str)]) -> Vec<Change> {
    pairs.iter().map(|&(key, value)| (Bytes::from(key), Some(Bytes::from(value)))).collect()
}

fn root_of(changes: &[Change]) -> String {
    update(&Rows::default(), 0, changes).unwrap().root.to_string()
}

/// The vectors that jmt publishes, `src/tests/sha2_256_vectors.json` of version 0.12.
#[test]
fn published_roots() {
    assert_eq!(root_of(&[]), "5350415253455f4d45524b4c455f504c414345484f4c4445525f484153485f5f");
    assert_eq!(
        root_of(&text(&[("hello", "world")])),
        "6b97115f56e533f2fd443f7e76e4d1ff94d34e6b2e233f2dbdf5cfd1ec39a30c"
    );
    assert_eq!(
        root_of(&text(&[("hello", "world"), ("goodbye", "world")])),
        "e1e1e220d4b4a9611a9a09dbcee964b4a6c3a40f6f4dee265ad45cf64568790b"
    );
}

/// Computed once by a dozen lines of Python with its own SHA-256.
#[test]
fn roots_computed_elsewhere() {
    assert_eq!(
        root_of(&text(&[("", "")])),
        "e0ce13c469a668da7c7dc1a4c109e30e9d9a211a83213810853d663c156320d1"
    );
    assert_eq!(
        root_of(&text(&[("a", "1")])),
        "7d9d282a9389c7d2ad4b73b5e924aca19080fd5f8a1c93347f7b824138d00c59"
    );
    assert_eq!(
        root_of(&text(&[("a", "1"), ("b", "2"), ("c", "3")])),
        "b367f6e649bb2cdadfdcb9ea0bbc50e624d893cd7e1783097a64b77a7bef7250"
    );
    let squares: Vec<Change> = (0..1000u32)
        .map(|i| (key(i), Some(Bytes::copy_from_slice(&(u64::from(i) * u64::from(i)).to_be_bytes()))))
        .collect();
    assert_eq!(root_of(&squares), "6e433fcff5d20b5e995baeb371f8979597d9c20667bf9dcc3b942cf3533c2ad4");
}

#[test]
fn roots_as_text() {
    let root = Root(std::array::from_fn(|i| i as u8));
    let text = root.to_string();
    assert_eq!(text, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    assert_eq!(text.parse(), Ok(root));
    assert_eq!(text.to_uppercase().parse(), Ok(root));
    for bad in ["", "0", &text[1..], &format!("{text}00"), &text.replace('f', "g"), &text.replace("0f", "+f")]
    {
        assert!(bad.parse::<Root>().is_err(), "{bad:?}");
    }
}

#[test]
fn versions_and_their_errors() {
    let mut rows = Rows::default();
    assert!(matches!(root(&rows, 0), Err(CommitmentError::NoTree)));
    assert!(matches!(check(&rows, 0), Err(CommitmentError::NoTree)));
    assert!(matches!(prune(&rows, 0, 9), Err(CommitmentError::NoTree)));
    assert!(matches!(prove(&rows, 0, b"", None), Err(CommitmentError::NoTree)));
    assert_eq!(kept(&rows).unwrap(), None);

    rows.write(update(&rows, 7, &puts(0..3)).unwrap().writes);
    let seven = root(&rows, 7).unwrap();
    // Versions left out have the root before them.
    rows.write(update(&rows, 10, &puts(3..5)).unwrap().writes);
    let ten = root(&rows, 10).unwrap();
    assert_eq!([root(&rows, 8).unwrap(), root(&rows, 9).unwrap()], [seven, seven]);
    assert_ne!(ten, seven);
    let kept = kept(&rows).unwrap().unwrap();
    assert_eq!((kept.oldest, kept.latest, kept.root), (7, 10, ten));

    for version in [0, 7, 9, 10] {
        let error = update(&rows, version, &puts(0..1)).unwrap_err();
        assert!(matches!(error, CommitmentError::VersionOrder { latest: 10, .. }), "{error}");
    }
    assert!(matches!(load(&rows, 9, &[]), Err(CommitmentError::VersionOrder { .. })));
    assert!(matches!(root(&rows, 6), Err(CommitmentError::Pruned { version: 6, oldest: 7 })));
    assert!(matches!(root(&rows, 11), Err(CommitmentError::NotYet { version: 11, latest: 10 })));
    assert!(matches!(update(&rows, MAX_VERSION + 1, &[]), Err(CommitmentError::VersionTooGreat { .. })));
    assert!(matches!(update(&rows, u64::MAX, &[]), Err(CommitmentError::VersionTooGreat { .. })));
    rows.write(update(&rows, MAX_VERSION, &puts(0..9)).unwrap().writes);
    assert_eq!(check(&rows, MAX_VERSION).unwrap(), 9);
    assert_eq!(root(&rows, MAX_VERSION - 1).unwrap(), ten);
}

#[test]
fn a_version_that_changes_nothing() {
    let mut rows = Rows::default();
    rows.write(update(&rows, 1, &deletes(0..9)).unwrap().writes);
    assert_eq!(root(&rows, 1).unwrap(), Root::EMPTY);
    rows.write(update(&rows, 2, &puts(0..9)).unwrap().writes);
    let two = root(&rows, 2).unwrap();
    let nodes = rows.0.len();
    for version in 3..6 {
        let made = update(&rows, version, &deletes(100..200)).unwrap();
        assert_eq!(made.root, two);
        rows.write(made.writes);
        assert_eq!(rows.0.len(), nodes, "no node is written");
    }
    rows.write(update(&rows, 6, &deletes(0..9)).unwrap().writes);
    assert_eq!(root(&rows, 6).unwrap(), Root::EMPTY);
    assert_eq!((root(&rows, 5).unwrap(), root(&rows, 1).unwrap()), (two, Root::EMPTY));
    rows.write(update(&rows, 7, &[]).unwrap().writes);
    rows.write(update(&rows, 8, &puts(0..9)).unwrap().writes);
    assert_eq!(root(&rows, 8).unwrap(), two);
    assert_eq!(root(&rows, 7).unwrap(), Root::EMPTY);
}

#[test]
fn the_last_change_of_a_key_counts() {
    let mut changes = puts(0..20);
    changes.extend(deletes(0..10));
    changes.extend(puts(5..7));
    let made = update(&Rows::default(), 1, &changes).unwrap();
    let mut state = State::new();
    change(&mut state, &changes);
    assert_eq!(state.len(), 12);
    assert_eq!(made.root, naive_root(&state));
}

/// The rows that a version needs: what is left after all before it is pruned.
fn pruned_to_the_latest(rows: &Rows) -> BTreeMap<Bytes, Bytes> {
    let mut rows = rows.clone();
    let latest = kept(&rows).unwrap().unwrap().latest;
    loop {
        let pruned = prune(&rows, latest, 7).unwrap();
        rows.write(pruned.writes);
        if pruned.done {
            return rows.0;
        }
    }
}

/// Changes by number, few or so many that puts go by the batch: puts with a value of their own or deletes.
fn changes(keys: u32) -> impl Strategy<Value = Vec<Change>> {
    let one = (0..keys, prop::option::weighted(0.65, 0u8..4))
        .prop_map(|(number, value)| (key(number), value.map(|value| Bytes::from(vec![value; value.into()]))));
    prop_oneof![prop::collection::vec(one.clone(), 0..12), prop::collection::vec(one, 60..120)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Every version has the root of its definition, whole, right after it was made, at the end, and after pruning; and
    /// nothing is left of what was pruned.
    #[test]
    fn any_history(history in prop::collection::vec((1u64..4, changes(150)), 1..12), cut in 0usize..12, limit in 1usize..50) {
        let mut rows = Rows::default();
        let mut state = State::new();
        let mut version = 0;
        let mut roots = Vec::new();
        for (step, changes) in &history {
            version += step;
            change(&mut state, changes);
            let made = update(&rows, version, changes).unwrap();
            prop_assert_eq!(made.root, naive_root(&state));
            rows.write(made.writes);
            prop_assert_eq!(check(&rows, version).unwrap(), state.len() as u64);
            roots.push((version, made.root));
        }
        for &(version, wanted) in &roots {
            prop_assert_eq!(root(&rows, version).unwrap(), wanted);
            check(&rows, version).unwrap();
        }

        // Another history to the same pairs: all of them at once, and in chunks.
        let pairs: Vec<Change> = state.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let at_once = update(&Rows::default(), 3, &pairs).unwrap();
        prop_assert_eq!(at_once.root, naive_root(&state));
        let mut loaded = Rows::default();
        loaded.write(load(&loaded, 3, &[]).unwrap().writes);
        for chunk in pairs.chunks(40) {
            loaded.write(load(&loaded, 3, chunk).unwrap().writes);
        }
        prop_assert_eq!(root(&loaded, 3).unwrap(), naive_root(&state));
        prop_assert_eq!(check(&loaded, 3).unwrap(), state.len() as u64);
        let mut whole = Rows::default();
        whole.write(at_once.writes);
        prop_assert_eq!(loaded.0.len(), whole.0.len(), "the chunks leave nothing behind");
        prop_assert_eq!(pruned_to_the_latest(&rows).len(), whole.0.len(), "the versions leave nothing behind");

        // Pruning takes older versions away and no others.
        let (oldest, _) = roots[cut.min(roots.len() - 1)];
        loop {
            let pruned = prune(&rows, oldest, limit).unwrap();
            prop_assert!(pruned.nodes <= limit);
            rows.write(pruned.writes);
            for &(version, wanted) in &roots {
                match root(&rows, version) {
                    Ok(found) => {
                        prop_assert!(version >= oldest && found == wanted);
                        check(&rows, version).unwrap();
                    }
                    Err(error) => {
                        let pruned = matches!(error, CommitmentError::Pruned { .. });
                        prop_assert!(version < oldest && pruned, "{}", error);
                    }
                }
            }
            if pruned.done {
                break;
            }
        }
    }

    /// Versions computed in an overlay are those computed row by row.
    #[test]
    fn pending_versions(history in prop::collection::vec(changes(120), 1..8)) {
        let mut rows = Rows::default();
        let base = Rows::default();
        let mut overlay = Overlay::new(&base);
        for (version, changes) in (1..).zip(&history) {
            let pending = update(&overlay, version, changes).unwrap();
            let made = update(&rows, version, changes).unwrap();
            prop_assert_eq!(pending.root, made.root);
            overlay.apply(pending.writes);
            rows.write(made.writes);
            for version in 1..=version {
                prop_assert_eq!(root(&overlay, version).unwrap(), root(&rows, version).unwrap());
            }
        }
        let pruned = prune(&overlay, history.len() as u64, usize::MAX).unwrap();
        overlay.apply(pruned.writes);
        prop_assert!(prune(&overlay, history.len() as u64, 1).unwrap().done);
        rows.write(prune(&rows, history.len() as u64, usize::MAX).unwrap().writes);
        let mut written = Rows::default();
        written.write(overlay.into_writes());
        prop_assert_eq!(written.0, rows.0);
    }
}

/// The rows lie under their prefix, beside whatever else the store has.
#[test]
fn over_a_store() {
    const PREFIX: u8 = 0x82;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let write = |writes: Vec<dotdb_commitment::Write>| {
        let mut batch = Batch::new();
        for (row, value) in writes {
            let key = SnapshotReader::store_key(PREFIX, &row);
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        store.apply(&batch, Durability::None).unwrap();
    };
    let mut batch = Batch::new();
    for prefix in 0..=u8::MAX {
        batch.put(Bytes::from(vec![prefix]), Bytes::from_static(b"another's"));
        batch.put(Bytes::from(vec![prefix; 12]), Bytes::from_static(b"another's"));
    }
    batch.delete(Bytes::from(vec![PREFIX; 12]));
    store.apply(&batch, Durability::None).unwrap();

    let mut state = State::new();
    for version in 1..20u32 {
        let mut changes = puts(version * 10..version * 10 + 20);
        changes.extend(deletes(version * 7..version * 7 + 5));
        change(&mut state, &changes);
        let snapshot = store.snapshot().unwrap();
        let reader = SnapshotReader::new(&*snapshot, PREFIX);
        let made = update(&reader, version.into(), &changes).unwrap();
        assert_eq!(made.root, naive_root(&state));
        write(made.writes);
    }
    let snapshot = store.snapshot().unwrap();
    let reader = SnapshotReader::new(&*snapshot, PREFIX);
    assert_eq!(check(&reader, 19).unwrap(), state.len() as u64);
    assert_eq!(root(&reader, 19).unwrap(), naive_root(&state));
    let pruned = prune(&reader, 10, usize::MAX).unwrap();
    assert!(pruned.nodes > 0);
    write(pruned.writes);
    let snapshot = store.snapshot().unwrap();
    let reader = SnapshotReader::new(&*snapshot, PREFIX);
    assert!(matches!(root(&reader, 9), Err(CommitmentError::Pruned { .. })));
    assert_eq!(check(&reader, 19).unwrap(), state.len() as u64);
    check(&reader, 10).unwrap();
}

/// Many versions of small changes to a larger state, with what each of them writes.
#[test]
fn a_commit_writes_a_logarithm() {
    let mut rows = Rows::default();
    rows.write(update(&rows, 0, &puts(0..20_000)).unwrap().writes);
    let one = update(&rows, 1, &puts(7..8)).unwrap().writes;
    // Levels of 16: 20,000 pairs fill three and a part of the fourth and fifth; each gives a node and a stale row.
    assert!(one.len() <= 1 + 2 * 6, "{} rows for one key of 20,000", one.len());
}
