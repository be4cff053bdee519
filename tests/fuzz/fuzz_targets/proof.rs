//! Proofs: reading and verifying is total, a proof has one form, and what is accepted is so.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use dotdb_commitment::{Change, NodeReader, Proof, Root, prove, update};
use dotdb_store::{Direction, StoreError};
use libfuzzer_sys::fuzz_target;

/// Pairs in the state: enough for proofs of many depths.
const PAIRS: u8 = 40;

struct Tree {
    rows: BTreeMap<Bytes, Bytes>,
    state: BTreeMap<Bytes, Bytes>,
    root: Root,
}

impl NodeReader for Tree {
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn rows(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let there = self.rows.iter().filter(|(key, _)| from <= &key[..] && &key[..] < to);
        let there = there.map(|(key, value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => there.take(limit).collect(),
            Direction::Backward => there.rev().take(limit).collect(),
        })
    }
}

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree { rows: BTreeMap::new(), state: BTreeMap::new(), root: Root::EMPTY };
    let changes: Vec<Change> = (0..PAIRS).map(|n| (vec![n].into(), Some(vec![n; 3].into()))).collect();
    let made = update(&tree, 1, &changes).expect("an empty tree takes any change");
    tree.rows.extend(made.writes.into_iter().filter_map(|(key, value)| Some((key, value?))));
    tree.state.extend(changes.into_iter().filter_map(|(key, value)| Some((key, value?))));
    tree.root = made.root;
    tree
});

/// What follows from bytes that may be a proof.
fn judge(tree: &Tree, bytes: &[u8]) {
    let Ok(proof) = Proof::from_bytes(bytes) else { return };
    assert_eq!(proof.to_bytes(), bytes, "a proof has two forms");
    if let Ok(verified) = proof.verify(&tree.root) {
        assert_eq!(verified.value.as_ref(), tree.state.get(&verified.key), "a false proof is accepted");
    }
    if let Ok(verified) = proof.verify(&Root::EMPTY) {
        assert_eq!(verified.value, None, "something is in the empty state");
    }
}

// Bytes as they are; and a true proof, of a key that the first byte chooses, with three bytes an alteration: where,
// and what is exclusive-ored there, cut off or put in.
fuzz_target!(|data: &[u8]| {
    let tree = &*TREE;
    judge(tree, data);
    let Some((&number, alterations)) = data.split_first() else { return };
    let key = [number];
    let value = tree.state.get(&key[..]).map(|value| &value[..]);
    let proof = prove(tree, 1, &key, value).expect("what is there is proved");
    let mut bytes = proof.to_bytes();
    judge(tree, &bytes);
    for alteration in alterations.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([alteration[0] & 0x0f, alteration[1]])) % (bytes.len() + 1);
        match alteration[0] >> 6 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, alteration[2]),
            _ if at < bytes.len() => bytes[at] ^= alteration[2],
            _ => {}
        }
        judge(tree, &bytes);
    }
});
