//! What the tests share: rows in memory, and the tree's hash as its definition says it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use dotdb_commitment::{Change, NodeReader, Root, Write};
use dotdb_store::{Direction, StoreError};
use sha2::{Digest, Sha256};

/// Rows in memory.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub BTreeMap<Bytes, Bytes>);

impl Rows {
    pub fn write(&mut self, writes: Vec<Write>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl NodeReader for Rows {
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn rows(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let pairs = range.map(|(key, value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => pairs.take(limit).collect(),
            Direction::Backward => pairs.rev().take(limit).collect(),
        })
    }
}

/// A state as a map.
pub type State = BTreeMap<Bytes, Bytes>;

fn sha(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part)).finalize().into()
}

/// The root as the definition says it: a subtree without pairs is the placeholder, one with one pair its leaf, any
/// other its halves by the next bit of the keys' hashes.
pub fn naive_root(state: &State) -> Root {
    fn subtree(pairs: &[([u8; 32], [u8; 32])], depth: usize) -> [u8; 32] {
        match pairs {
            [] => *b"SPARSE_MERKLE_PLACEHOLDER_HASH__",
            [(key, value)] => sha(&[b"JMT::LeafNode", key, value]),
            _ => {
                let (right, left): (Vec<_>, Vec<_>) =
                    pairs.iter().partition(|(key, _)| key[depth / 8] & (0x80 >> (depth % 8)) != 0);
                sha(&[b"JMT::IntrnalNode", &subtree(&left, depth + 1), &subtree(&right, depth + 1)])
            }
        }
    }
    let pairs: Vec<_> = state.iter().map(|(key, value)| (sha(&[key]), sha(&[value]))).collect();
    Root(subtree(&pairs, 0))
}

/// Makes changes to a map.
pub fn change(state: &mut State, changes: &[Change]) {
    for (key, value) in changes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

/// A key: numbers make it, so that tests meet the same ones again.
pub fn key(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Pairs with the keys of these numbers.
pub fn puts(numbers: impl IntoIterator<Item = u32>) -> Vec<Change> {
    numbers.into_iter().map(|n| (key(n), Some(Bytes::from(format!("value {n}"))))).collect()
}

/// Deletes of the keys of these numbers.
pub fn deletes(numbers: impl IntoIterator<Item = u32>) -> Vec<Change> {
    numbers.into_iter().map(|n| (key(n), None)).collect()
}
