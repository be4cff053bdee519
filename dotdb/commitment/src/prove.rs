//! Making proofs, and checking the whole tree.
//!
//! jmt's own proofs carry both children of every sibling, which makes them twice as long, and its prover panics when
//! a row is missing; a verifier needs no more than the siblings' hashes.

use bytes::Bytes;

use crate::error::CommitmentError;
use crate::hash::{Hash, PLACEHOLDER, hash};
use crate::proof::{End, MAX_PROOF_KEY_BYTES, MAX_PROOF_VALUE_BYTES, Proof};
use crate::reader::NodeReader;
use crate::rows::{Child, Node, NodeName, Part, Path, damaged, nibble, part, part_hash};
use crate::tree::locate;

/// The proof that `version` has `value` under `key`, or with `None` that it has no such key.
///
/// The tree knows only hashes of values, so that the caller has to say which one it is.
///
/// # Errors
/// A value that is not the committed one, a version that was pruned or is not there yet, a key or value too long for a proof,
/// damaged rows, or a store that cannot be read.
pub fn prove(
    reader: &dyn NodeReader,
    version: u64,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Proof, CommitmentError> {
    let value_bytes = value.map_or(0, <[u8]>::len);
    for (what, bytes, limit) in
        [("key", key.len(), MAX_PROOF_KEY_BYTES), ("value", value_bytes, MAX_PROOF_VALUE_BYTES)]
    {
        if bytes > limit {
            return Err(CommitmentError::TooLarge { what, bytes, limit });
        }
    }
    let (step, root) = locate(reader, version)?;
    let key_hash = hash(key);
    let mut siblings = Vec::new();
    let leaf = descend(reader, step, &key_hash, &mut siblings)?;
    let not_committed = |problem| CommitmentError::NotCommitted { problem };
    let end = match (leaf, value) {
        (Some((found, value_hash)), Some(value)) if found == key_hash => {
            if hash(value) != value_hash {
                return Err(not_committed("the key has another"));
            }
            End::Value(Bytes::copy_from_slice(value))
        }
        (Some((found, _)), None) if found == key_hash => {
            return Err(not_committed("the key is present"));
        }
        (_, Some(_)) => return Err(not_committed("the key is absent")),
        (Some((key_hash, value_hash)), None) => End::Other { key_hash, value_hash },
        (None, None) => End::Empty,
    };
    let proof = Proof::new(Bytes::copy_from_slice(key), end, siblings);
    match proof.verify(&root) {
        Ok(_) => Ok(proof),
        Err(error) => Err(damaged(
            &NodeName::root(step).key(),
            &format!(
                "or one on the way from it to key hash {} is wrong ({error})",
                crate::hash::hex(&key_hash)
            ),
        )),
    }
}

/// Walks from the root made in `step` as far as the key leads: the leaf there, if any, and the siblings of all
/// binary levels on the way, `None` where there is no pair, root first.
fn descend(
    reader: &dyn NodeReader,
    step: u64,
    key_hash: &Hash,
    siblings: &mut Vec<Option<Hash>>,
) -> Result<Option<(Hash, Hash)>, CommitmentError> {
    let mut name = NodeName::root(step);
    loop {
        let children = match Node::read(reader, &name)? {
            Node::Empty => return Ok(None),
            Node::Leaf { key_hash, value_hash } => return Ok(Some((key_hash, value_hash))),
            Node::Inner(children) => children,
        };
        match child_towards(&children, nibble(key_hash, name.path.len()), siblings) {
            None => return Ok(None),
            Some((index, child)) => name = NodeName { step: child.step, path: name.path.child(index) },
        }
    }
}

/// The child to which `nibble` leads: itself, or the leaf that stands for a part which has it. Adds the siblings of
/// the levels passed.
fn child_towards(
    children: &[Option<Child>; 16],
    nibble: u8,
    siblings: &mut Vec<Option<Hash>>,
) -> Option<(u8, Child)> {
    for width in [8, 4, 2, 1] {
        let start = nibble & !(width - 1);
        let sibling = part_hash(children, start ^ width, width);
        siblings.push((sibling != PLACEHOLDER).then_some(sibling));
        match part(children, start, width) {
            Part::Empty => return None,
            Part::One(index, child) => return Some((index, child)),
            Part::Many => {}
        }
    }
    None
}

/// Reads the whole tree of a version, with every hash computed again, and returns the number of its pairs.
///
/// # Errors
/// Damaged rows, the first of them named; a version that was pruned or is not there yet; or a store that cannot be
/// read.
pub fn check(reader: &dyn NodeReader, version: u64) -> Result<u64, CommitmentError> {
    let (step, root) = locate(reader, version)?;
    let name = NodeName::root(step);
    let node = Node::read(reader, &name)?;
    if node.hash() != root.0 {
        return Err(damaged(&name.key(), "does not have the root of its version"));
    }
    check_below(reader, name.path, &node)?;
    Ok(node.pairs())
}

/// Checks the nodes below `node`, which was checked itself. Recursion is at most as deep as a path is long.
fn check_below(reader: &dyn NodeReader, path: Path, node: &Node) -> Result<(), CommitmentError> {
    let Node::Inner(children) = node else { return Ok(()) };
    for (index, child) in (0..16).zip(children.iter()) {
        let Some(child) = child else { continue };
        let name = NodeName { step: child.step, path: path.child(index) };
        let node = Node::read(reader, &name)?;
        let is_leaf = matches!(node, Node::Leaf { .. });
        if node.hash() != child.hash || is_leaf != child.is_leaf || node.pairs() != child.pairs {
            return Err(damaged(&name.key(), "is not what the node above it says"));
        }
        check_below(reader, name.path, &node)?;
    }
    Ok(())
}
