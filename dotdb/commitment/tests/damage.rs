//! Damaged rows: an error that names one, never a panic and never a wrong root.

mod common;

use bytes::Bytes;
use common::{Rows, State, change, deletes, key, puts};
use dotdb_commitment::{Change, CommitmentError, Root, check, load, prove, prune, root, update};

/// A tree of a few versions, with the state of the latest.
fn tree() -> (Rows, State) {
    let mut rows = Rows::default();
    let mut state = State::new();
    for version in 1..6u32 {
        let mut changes = puts(version * 20..version * 20 + 40);
        changes.extend(deletes(version * 15..version * 15 + 10));
        change(&mut state, &changes);
        rows.write(update(&rows, version.into(), &changes).unwrap().writes);
    }
    (rows, state)
}

/// Changes that pass through most of the tree, and that empty it.
fn next_changes(state: &State) -> [Vec<Change>; 4] {
    let all: Vec<Change> = state.keys().map(|key| (key.clone(), None)).collect();
    let mixed: Vec<Change> = puts(50..90).into_iter().chain(all.iter().step_by(2).cloned()).collect();
    [puts(0..300), all, mixed, deletes(60..61)]
}

/// Where [`ask`] puts the root of the latest version, and its check.
const ROOT_OF_LATEST: usize = 4;
const CHECK_OF_LATEST: usize = 9;

type Answers = Vec<Result<Root, CommitmentError>>;

/// Everything that can be asked of the tree. What is answered must not panic.
fn ask(rows: &Rows, state: &State) -> Answers {
    let mut answers: Answers = (1..6).map(|version| root(rows, version)).collect();
    answers.extend((1..6).map(|version| check(rows, version).map(|pairs| Root([pairs as u8; 32]))));
    for changes in next_changes(state) {
        answers.push(update(rows, 6, &changes).map(|made| made.root));
        answers.push(load(rows, 5, &changes).map(|made| made.root));
    }
    for number in [0, 7, 60, 61, 100, 101, 102, 103, 500] {
        let value = state.get(&key(number)).map(|value| &value[..]);
        let proof = prove(rows, 5, &key(number), value);
        answers.push(proof.map(|proof| Root([proof.to_bytes().len() as u8; 32])));
    }
    for oldest in [1, 3, 5] {
        answers.push(prune(rows, oldest, 1000).map(|pruned| Root([pruned.nodes as u8; 32])));
    }
    answers
}

/// Each answer as it was, or an error.
fn assert_never_wrong(damaged: &Answers, whole: &Answers, what: &str) {
    for (index, (damaged, whole)) in damaged.iter().zip(whole).enumerate() {
        match (damaged, whole) {
            (Ok(damaged), Ok(whole)) => assert_eq!(damaged, whole, "answer {index}, {what}"),
            (Err(CommitmentError::Damaged { .. } | CommitmentError::NoTree), _) => {}
            (damaged, _) => panic!("answer {index}, {what}: {damaged:?}"),
        }
    }
}

/// `value` with the checksum it should have.
fn sealed(key: &[u8], mut value: Vec<u8>) -> Bytes {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&value);
    value.extend_from_slice(&hasher.finalize().to_be_bytes());
    value.into()
}

#[test]
fn a_flipped_bit_is_found() {
    let (rows, state) = tree();
    let whole = ask(&rows, &state);
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = 0;
    for (key, value) in &rows.0 {
        if !value.is_empty() {
            let mut flipped = value.to_vec();
            flipped[random.usize(..value.len())] ^= 1 << random.u8(..8);
            let mut damaged = rows.clone();
            damaged.0.insert(key.clone(), flipped.into());
            let answers = ask(&damaged, &state);
            found += usize::from(answers.iter().any(Result::is_err));
            assert_never_wrong(&answers, &whole, &format!("{key:x?}"));
        }
    }
    assert!(found > 100, "only {found} were found");
}

#[test]
fn a_missing_or_exchanged_row_is_found() {
    let (rows, state) = tree();
    let whole = ask(&rows, &state);
    let nodes: Vec<&Bytes> = rows.0.keys().filter(|key| key[0] == 0).collect();
    let mut random = fastrand::Rng::with_seed(2);
    for &key in &nodes {
        let mut missing = rows.clone();
        missing.0.remove(key);
        let answers = ask(&missing, &state);
        assert!(answers.iter().any(|answer| matches!(answer, Err(CommitmentError::Damaged { .. }))));
        if key[9] == 0 {
            // The root's row tells which step a version had: without it an older one may be found, never a wrong latest.
            continue;
        }
        assert_never_wrong(&answers, &whole, &format!("without {key:x?}"));
        let mut exchanged = rows.clone();
        exchanged.0.insert(key.clone(), rows.0[nodes[random.usize(..nodes.len())]].clone());
        assert_never_wrong(&ask(&exchanged, &state), &whole, &format!("exchanged {key:x?}"));
    }
}

/// Rows that somebody made up, with right checksums: whatever is answered, nothing panics, and a check finds them.
#[test]
fn made_up_rows_do_not_panic() {
    let (rows, state) = tree();
    let whole = ask(&rows, &state);
    let mut random = fastrand::Rng::with_seed(3);
    let keys: Vec<&Bytes> = rows.0.keys().filter(|key| key[0] != 1).collect();
    let mut refused = 0;
    for _ in 0..1000 {
        let mut damaged = rows.clone();
        for _ in 0..random.usize(1..3) {
            let key = keys[random.usize(..keys.len())];
            let mut value = damaged.0[key].to_vec();
            value.truncate(value.len() - 4);
            match random.u8(..6) {
                0 => value.truncate(random.usize(..value.len())),
                1 => value.extend((0..random.usize(1..80)).map(|_| random.u8(..))),
                2 => {
                    let other = &rows.0[keys[random.usize(..keys.len())]];
                    value = other[..other.len() - 4].to_vec();
                }
                3 => {
                    // The bitmaps and the steps are where a node's shape is.
                    let end = value.len().min(46);
                    value[random.usize(..end)] ^= 1 << random.u8(..8);
                }
                _ => {
                    let at = random.usize(..value.len());
                    value[at] = *random.choice(&[0, 1, 2, 127, 255, value[at] ^ 1]).unwrap();
                }
            }
            damaged.0.insert(key.clone(), sealed(key, value));
        }
        let answers = ask(&damaged, &state);
        if let Ok(checked) = &answers[CHECK_OF_LATEST] {
            assert_eq!(checked, whole[CHECK_OF_LATEST].as_ref().unwrap());
            assert_eq!(answers[ROOT_OF_LATEST].as_ref().unwrap(), whole[ROOT_OF_LATEST].as_ref().unwrap());
        }
        refused += usize::from(answers.iter().any(Result::is_err));
    }
    assert!(refused > 500, "only {refused} of 1000 were refused");
}

#[test]
fn rows_of_stale_nodes_are_checked() {
    let (mut rows, _) = tree();
    let stale = rows.0.keys().find(|key| key[0] == 1).unwrap().clone();
    rows.0.remove(&stale);
    rows.0.insert(stale.slice(..stale.len() - 1), Bytes::new());
    let error = prune(&rows, 5, 1000).unwrap_err().to_string();
    assert!(error.contains("does not name a node"), "{error}");
}

#[test]
fn messages_name_the_row() {
    let (rows, _) = tree();
    let head = Bytes::from_static(&[2]);
    let mut damaged = rows.clone();
    damaged.0.insert(head.clone(), Bytes::from_static(b"?"));
    assert_eq!(
        root(&damaged, 5).unwrap_err().to_string(),
        "the state tree is damaged: its row 02 has a wrong checksum"
    );
    let mut newer = rows.0[&head].to_vec();
    newer.truncate(newer.len() - 4);
    newer[0] = 2;
    damaged.0.insert(head.clone(), sealed(&head, newer));
    assert_eq!(
        root(&damaged, 5).unwrap_err().to_string(),
        "the state tree has format 2 and this program reads format 1: use a newer version"
    );
    let leaf = rows.0.iter().rfind(|(key, value)| key[0] == 0 && value[0] == 1).unwrap().0;
    let mut damaged = rows.clone();
    damaged.0.remove(leaf);
    let wanted: String = leaf.iter().map(|byte| format!("{byte:02x}")).collect();
    let all = next_changes(&tree().1)[1].clone();
    for error in [check(&damaged, 5).unwrap_err(), update(&damaged, 6, &all).unwrap_err()] {
        assert_eq!(error.to_string(), format!("the state tree is damaged: its row {wanted} is missing"));
    }
}
