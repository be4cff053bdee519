//! Proofs: complete, the same as jmt's own, and of no use once anything in them is altered.

mod common;

use std::collections::HashMap;

use bytes::Bytes;
use common::{Rows, State, change, deletes, key, naive_root, puts};
use dotdb_commitment::{
    Change, CommitmentError, MAX_PROOF_KEY_BYTES, MAX_PROOF_VALUE_BYTES, Proof, ProofError, Root, prove,
    update,
};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, SimpleHasher, Version};
use sha2::{Digest, Sha256};

fn sha(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part)).finalize().into()
}

/// A tree of one version with these changes.
fn tree(changes: &[Change]) -> (Rows, State, Root) {
    let mut rows = Rows::default();
    let mut state = State::new();
    change(&mut state, changes);
    let made = update(&rows, 1, changes).unwrap();
    rows.write(made.writes);
    assert_eq!(made.root, naive_root(&state));
    (rows, state, made.root)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the proof is accepted; if it is, what it says must be so.
fn accepted(proof: &Proof, root: &Root, state: &State) -> bool {
    let Ok(verified) = proof.verify(root) else { return false };
    assert_eq!(verified.value.as_ref(), state.get(&verified.key), "a false proof of {:?}", verified.key);
    true
}

#[test]
fn every_key_present_and_absent() {
    for count in [0, 1, 2, 3, 5, 17, 100, 1000] {
        let (rows, state, root) = tree(&puts(0..count));
        for number in 0..count + 300 {
            let key = key(number);
            let value = state.get(&key);
            let proof = prove(&rows, 1, &key, value.map(|value| &value[..])).unwrap();
            let verified = proof.verify(&root).unwrap();
            assert_eq!((&verified.key, verified.value.as_ref()), (&key, value));
            assert_eq!((proof.key(), proof.claimed_value()), (&key, value));

            let bytes = proof.to_bytes();
            assert_eq!(Proof::from_bytes(&bytes).unwrap(), proof);
            let json = serde_json::to_string(&proof).unwrap();
            assert_eq!(serde_json::from_str::<Proof>(&json).unwrap(), proof);

            // Anything else is not committed, and no proof of it is made.
            for other in [Some(&b"another"[..]), value.map_or(Some(&b""[..]), |_| None)] {
                let error = prove(&rows, 1, &key, other).unwrap_err();
                assert!(matches!(error, CommitmentError::NotCommitted { .. }), "{error}");
            }
            assert!(!accepted(&proof, &Root([7; 32]), &state));
        }
    }
}

#[test]
fn proofs_of_every_version() {
    let mut rows = Rows::default();
    let mut state = State::new();
    let mut versions = Vec::new();
    for version in 1..30u32 {
        let mut changes = puts(version * 3..version * 3 + 12);
        changes.extend(deletes(version * 2..version * 2 + 4));
        change(&mut state, &changes);
        let made = update(&rows, version.into(), &changes).unwrap();
        rows.write(made.writes);
        versions.push((version, made.root, state.clone()));
    }
    for (version, root, state) in &versions {
        for number in 0..130 {
            let value = state.get(&key(number)).map(|value| &value[..]);
            let proof = prove(&rows, (*version).into(), &key(number), value).unwrap();
            assert!(accepted(&proof, root, state));
            for (other, other_root, other_state) in &versions {
                assert!(other_root != root || other_state == state, "{version} and {other}");
                accepted(&proof, other_root, other_state);
            }
        }
    }
}

/// Every bit of every proof flipped, every byte left out, and one added: refused, or still true.
#[test]
fn no_alteration_is_accepted() {
    for count in [1, 2, 3, 40] {
        let (rows, state, root) = tree(&puts(0..count));
        for number in (0..count.min(6)).chain(1000..1012) {
            let value = state.get(&key(number));
            let proof = prove(&rows, 1, &key(number), value.map(|value| &value[..])).unwrap();
            let bytes = proof.to_bytes();
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut altered = bytes.clone();
                    altered[at] ^= 1 << bit;
                    let Ok(altered) = Proof::from_bytes(&altered) else { continue };
                    let accepted = accepted(&altered, &root, &state);
                    assert!(
                        !accepted || (value.is_none() && altered.key() != proof.key()),
                        "bit {bit} of byte {at} means nothing"
                    );
                }
                let mut shorter = bytes.clone();
                shorter.remove(at);
                if let Ok(shorter) = Proof::from_bytes(&shorter) {
                    assert!(!accepted(&shorter, &root, &state) || value.is_none());
                }
                assert!(Proof::from_bytes(&bytes[..at]).is_err());
            }
            let longer = [&bytes[..], &[0]].concat();
            let error = Proof::from_bytes(&longer).unwrap_err();
            assert!(error.to_string().contains("after the end"), "{error}");
        }
    }
}

/// A proof put together by hand, as an attacker would. Siblings are root first.
fn forged(key: &[u8], kind: u8, middle: &[u8], siblings: &[Option<[u8; 32]>]) -> Proof {
    let mut bytes = vec![1, kind];
    bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(middle);
    bytes.extend_from_slice(&(siblings.len() as u16).to_be_bytes());
    let mut bits = vec![0u8; siblings.len().div_ceil(8)];
    for (index, _) in siblings.iter().enumerate().filter(|(_, sibling)| sibling.is_some()) {
        bits[index / 8] |= 0x80 >> (index % 8);
    }
    bytes.extend_from_slice(&bits);
    bytes.extend(siblings.iter().flatten().flatten());
    Proof::from_bytes(&bytes).unwrap()
}

/// The siblings of a proof.
fn siblings(proof: &Proof) -> Vec<Option<[u8; 32]>> {
    let json = serde_json::to_value(proof).unwrap();
    let unhex = |text: &str| -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    };
    json["siblings"].as_array().unwrap().iter().map(|sibling| sibling.as_str().map(unhex)).collect()
}

#[test]
fn a_present_key_is_never_proved_absent() {
    let (rows, state, root) = tree(&puts(0..64));
    for number in 0..64 {
        let key = key(number);
        let value = &state[&key];
        let all = siblings(&prove(&rows, 1, &key, Some(value)).unwrap());
        let leaves: Vec<Vec<u8>> =
            state.iter().map(|(key, value)| [sha(&[key]), sha(&[value])].concat()).collect();
        // The way cut short or prolonged, with every leaf of the tree or none at its end.
        for depth in 0..=all.len() {
            assert!(!accepted(&forged(&key, 1, &[], &all[..depth]), &root, &state));
            for leaf in &leaves {
                assert!(!accepted(&forged(&key, 2, leaf, &all[..depth]), &root, &state));
            }
        }
        for extra in [None, Some([0; 32]), Some(sha(&[b"JMT::LeafNode", &leaves[0]]))] {
            let longer = [&all[..], &[extra]].concat();
            assert!(!accepted(&forged(&key, 1, &[], &longer), &root, &state));
            assert!(!accepted(&forged(&key, 2, &leaves[number as usize], &longer), &root, &state));
        }
        let itself = forged(&key, 2, &[sha(&[&key]), sha(&[value])].concat(), &all);
        assert!(matches!(itself.verify(&root), Err(ProofError::NotAbsent { .. })));
    }
}

/// The two hashes of an inner node shown as the two hashes of a leaf, and the other way round.
#[test]
fn inner_nodes_are_no_leaves() {
    // Two pairs whose keys differ in the first bit, so that the root is an inner node of two leaves.
    let first = (0..).map(key).find(|key| sha(&[key])[0] < 0x80).unwrap();
    let second = (0..).map(key).find(|key| sha(&[key])[0] >= 0x80).unwrap();
    let pairs = [(first.clone(), Some(Bytes::from("1"))), (second.clone(), Some(Bytes::from("2")))];
    let (_, state, root) = tree(&pairs);
    let left = sha(&[b"JMT::LeafNode", &sha(&[&first]), &sha(&[b"1"])]);
    let right = sha(&[b"JMT::LeafNode", &sha(&[&second]), &sha(&[b"2"])]);
    assert_eq!(root.0, sha(&[b"JMT::IntrnalNode", &left, &right]));
    let absence = forged(&first, 2, &[left, right].concat(), &[]);
    assert!(matches!(absence.verify(&root), Err(ProofError::OtherRoot { .. })));

    // A root that is a leaf, taken apart as if it were an inner node.
    let (_, lone, leaf) = tree(&[(first.clone(), Some(Bytes::from("1")))]);
    let (key_hash, value_hash) = (sha(&[&first]), sha(&[b"1"]));
    for sibling in [key_hash, value_hash] {
        for kind_and_middle in [(1, vec![]), (0, [&[0, 0, 0, 1], &b"1"[..]].concat())] {
            let proof = forged(&first, kind_and_middle.0, &kind_and_middle.1, &[Some(sibling)]);
            assert!(!accepted(&proof, &leaf, &lone));
        }
    }
    // And the swap of left and right.
    let value = [&[0, 0, 0, 1], &b"1"[..]].concat();
    assert!(accepted(&forged(&first, 0, &value, &[Some(right)]), &root, &state));
    assert!(!accepted(&forged(&second, 0, &value, &[Some(right)]), &root, &state));
    assert!(!accepted(&forged(&second, 0, &value, &[Some(left)]), &root, &state));
}

/// A tree of jmt's in memory, with nothing of ours.
#[derive(Default)]
struct Direct {
    nodes: HashMap<NodeKey, Node>,
    values: HashMap<KeyHash, OwnedValue>,
}

impl TreeReader for Direct {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.get(key).cloned())
    }

    fn get_value_option(&self, _: Version, key_hash: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.values.get(&key_hash).cloned())
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("not asked for")
    }
}

struct Hasher(Sha256);

impl SimpleHasher for Hasher {
    fn new() -> Self {
        Self(Sha256::new())
    }
    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }
    fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The hashes of the siblings in a proof of jmt's, root first, from its Borsh form.
fn jmt_siblings(proof: &[u8]) -> Vec<Option<[u8; 32]>> {
    let mut rest = if proof[0] == 0 { &proof[1..] } else { &proof[65..] };
    let count = u32::from_le_bytes(rest[..4].try_into().unwrap());
    rest = &rest[4..];
    let mut siblings = Vec::new();
    for _ in 0..count {
        let (hash, bytes) = match rest[0] {
            0 => (None, 1),
            1 => (Some(sha(&[b"JMT::IntrnalNode", &rest[1..65]])), 65),
            _ => (Some(sha(&[b"JMT::LeafNode", &rest[1..65]])), 65),
        };
        siblings.push(hash);
        rest = &rest[bytes..];
    }
    assert!(rest.is_empty());
    siblings.reverse();
    siblings
}

#[test]
fn the_same_as_jmts_own() {
    let (rows, state, root) = tree(&puts(0..500));
    let mut direct = Direct::default();
    let pairs = state.iter().map(|(key, value)| (KeyHash(sha(&[key])), Some(value.to_vec())));
    let (jmt_root, batch) =
        JellyfishMerkleTree::<_, Hasher>::new(&Direct::default()).put_value_set(pairs, 1).unwrap();
    assert_eq!(jmt_root.0, root.0);
    direct.nodes.extend(batch.node_batch.nodes().clone());
    direct.values.extend(state.iter().map(|(key, value)| (KeyHash(sha(&[key])), value.to_vec())));
    for number in 0..700 {
        let key_hash = KeyHash(sha(&[&key(number)]));
        let (value, proof) =
            JellyfishMerkleTree::<_, Hasher>::new(&direct).get_with_proof(key_hash, 1).unwrap();
        let ours = prove(&rows, 1, &key(number), value.as_deref()).unwrap();
        assert_eq!(siblings(&ours), jmt_siblings(&borsh::to_vec(&proof).unwrap()), "key {number}");
        assert_eq!(ours.verify(&root).unwrap().value.as_deref(), value.as_deref());
        proof.verify(jmt_root, key_hash, value).unwrap();
    }
}

#[test]
fn limits() {
    let long_key = Bytes::from(vec![1; MAX_PROOF_KEY_BYTES]);
    let (rows, _, root) = tree(&[(long_key.clone(), Some(Bytes::from(vec![2; 100_000])))]);
    let proof = prove(&rows, 1, &long_key, Some(&[2; 100_000])).unwrap();
    assert_eq!(Proof::from_bytes(&proof.to_bytes()).unwrap().verify(&root), proof.verify(&root));
    let too_long = vec![1; MAX_PROOF_KEY_BYTES + 1];
    let error = prove(&rows, 1, &too_long, None).unwrap_err();
    assert_eq!(error.to_string(), "a key of 65536 bytes is too large for a proof, which takes up to 65535");
    let error = prove(&rows, 1, b"", Some(&vec![0; MAX_PROOF_VALUE_BYTES + 1])).unwrap_err();
    assert!(matches!(error, CommitmentError::TooLarge { what: "value", .. }));
}

#[test]
fn malformed_bytes_and_json() {
    let mut long = vec![1, 1, 0, 0, 1, 1];
    long.extend([0; 33]);
    for (bytes, wanted) in [
        (&[][..], "this is not a proof: the bytes end too early at byte 0"),
        (&[0, 1], "this is not a proof: there is an unknown format at byte 0"),
        (&[2], "the proof has format 2 and this program reads format 1: use a newer version"),
        (&[1, 3, 0, 0, 0, 0], "this is not a proof: there is an unknown kind at byte 1"),
        (&[1, 1, 0, 1], "this is not a proof: the bytes end too early at byte 4"),
        (&[1, 0, 0, 0, 2, 0, 0, 1], "this is not a proof: the value is too long at byte 4"),
        (&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "this is not a proof: the value is too long at byte 4"),
        (&long, "this is not a proof: there are more than 256 siblings at byte 4"),
        (&[1, 1, 0, 0, 0, 1, 0x40], "this is not a proof: there are bits beyond the siblings at byte 6"),
        (&[1, 1, 0, 0, 0, 0, 0], "this is not a proof: there are bytes after the end at byte 6"),
        (
            b"\x01\x01\0\0\0\x01\x80SPARSE_MERKLE_PLACEHOLDER_HASH__",
            "this is not a proof: a sibling is spelled out that is empty at byte 7",
        ),
    ] {
        assert_eq!(Proof::from_bytes(bytes).unwrap_err().to_string(), wanted);
    }
    assert_eq!(
        Proof::from_bytes(&[1, 1, 0, 0, 0, 0]).unwrap().verify(&Root::EMPTY).unwrap().value,
        None,
        "nothing is in the empty state"
    );

    let placeholder = hex(b"SPARSE_MERKLE_PLACEHOLDER_HASH__");
    for (json, wanted) in [
        (r#"{"format":2,"key":"","siblings":[]}"#.to_owned(), "use a newer version"),
        (r#"{"format":0,"key":"","siblings":[]}"#.to_owned(), "unknown format"),
        (r#"{"format":1,"key":"0","siblings":[]}"#.to_owned(), "the key is not hexadecimal"),
        (r#"{"format":1,"key":"","value":"x","siblings":[]}"#.to_owned(), "the value is not hexadecimal"),
        (r#"{"format":1,"key":"","siblings":["00"]}"#.to_owned(), "64 hexadecimal digits"),
        (format!(r#"{{"format":1,"key":"","siblings":["{placeholder}"]}}"#), "spelled out"),
        (
            format!(r#"{{"format":1,"key":"","siblings":[{}]}}"#, vec!["null"; 257].join(",")),
            "more than 256 siblings",
        ),
        (
            format!(
                r#"{{"format":1,"key":"","value":"","siblings":[],"other":{{"key_hash":"{0}","value_hash":"{0}"}}}}"#,
                "00".repeat(32)
            ),
            "both a value and another pair",
        ),
        (r#"{"format":1,"key":"","siblings":[],"more":1}"#.to_owned(), "unknown field"),
    ] {
        let error = serde_json::from_str::<Proof>(&json).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

/// The example of docs/proofs.md, whose bytes were put together by other means.
#[test]
fn the_documented_example() {
    let pairs = [
        (Bytes::from("apple"), Some(Bytes::from("red"))),
        (Bytes::from("banana"), Some(Bytes::from("yellow"))),
        (Bytes::from("cherry"), Some(Bytes::from("dark"))),
    ];
    let (rows, _, root) = tree(&pairs);
    let document = include_str!("../../../docs/proofs.md");
    assert!(document.contains(&root.to_string()), "root {root}");
    let text: String = document.split_whitespace().collect();
    for (key, value) in [("apple", Some("red")), ("durian", None)] {
        let proof = prove(&rows, 1, key.as_bytes(), value.map(str::as_bytes)).unwrap();
        let bytes = hex(&proof.to_bytes());
        assert!(text.contains(&bytes), "{key}: {bytes}");
        let json: String = serde_json::to_string(&proof).unwrap().split_whitespace().collect();
        assert!(text.contains(&json), "{json}");
    }
}
