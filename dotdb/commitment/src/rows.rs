//! The rows that hold the tree: their keys, their bytes, and their checks.
//!
//! | key | value |
//! |---|---|
//! | 00, step u64, number of nibbles u8, the nibbles from the high half of the first byte on | a node |
//! | 01, version u64, key of a node without its 00 | empty: the node is not needed from that version on |
//! | 02 | format u8, oldest version u64, latest version u64, step of the latest root u64, latest root (32 bytes) |
//!
//! A step is one application of changes: version times 65,536 plus a number that starts at 1, because a version may
//! be made in several steps. Nodes are of three kinds:
//!
//! | first byte | then |
//! |---|---|
//! | 00 | nothing: the root of the empty tree |
//! | 01 | hash of the key, hash of the value |
//! | 02 | bits of the children there are u16, bits of the leaves among them u16; for each child its hash, step u64 and, if it is no leaf, number of pairs u64 |
//!
//! All integers are big-endian; child 0 is the lowest bit. Every non-empty value ends with the CRC-32 of the row's key and the
//! bytes before, so that a flipped bit or a row in another's place is found when it is read.

use bytes::Bytes;

use crate::error::CommitmentError;
use crate::hash::{HASH_BYTES, Hash, PLACEHOLDER, hex, inner_hash, leaf_hash};
use crate::reader::NodeReader;

/// The greatest version of a state tree: 2^48 - 2.
pub const MAX_VERSION: u64 = (1 << 48) - 2;

/// Format of the rows.
const FORMAT: u8 = 1;

/// Bits of a step below the version.
const STEP_BITS: u32 = 16;

/// Most nibbles on a path.
pub(crate) const MAX_NIBBLES: u8 = 64;

/// More pairs than there can be; a sum of sixteen is still far from overflow.
const MAX_PAIRS: u64 = 1 << 56;

const NODE: u8 = 0;
const STALE: u8 = 1;
const HEAD: u8 = 2;

/// Key of the row that says which versions there are.
pub(crate) const HEAD_KEY: [u8; 1] = [HEAD];

/// The first step of a version.
pub(crate) fn first_step(version: u64) -> u64 {
    version << STEP_BITS | 1
}

/// The last step that a version can have.
pub(crate) fn last_step(version: u64) -> u64 {
    version << STEP_BITS | ((1 << STEP_BITS) - 1)
}

/// The version that a step belongs to.
pub(crate) fn version_of(step: u64) -> u64 {
    step >> STEP_BITS
}

/// The nibbles from the root to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path {
    len: u8,
    nibbles: Hash,
}

impl Path {
    /// The path one nibble longer; at its full length it stays as it is.
    pub(crate) fn child(mut self, nibble: u8) -> Self {
        if self.len < MAX_NIBBLES {
            let shift = if self.len.is_multiple_of(2) { 4 } else { 0 };
            self.nibbles[usize::from(self.len / 2)] |= (nibble & 15) << shift;
            self.len += 1;
        }
        self
    }

    /// The path one nibble shorter, and that nibble.
    pub(crate) fn parent(mut self) -> Option<(Self, u8)> {
        let last = self.len.checked_sub(1)?;
        let nibble = nibble(&self.nibbles, last);
        self.nibbles[usize::from(last / 2)] &= if last.is_multiple_of(2) { 0x00 } else { 0xf0 };
        self.len = last;
        Some((self, nibble))
    }

    pub(crate) fn len(&self) -> u8 {
        self.len
    }

    pub(crate) fn is_root(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.nibbles[..usize::from(self.len.div_ceil(2))]
    }

    /// Whether a key with this hash belongs below.
    fn leads_to(&self, key_hash: &Hash) -> bool {
        (0..self.len).all(|index| nibble(&self.nibbles, index) == nibble(key_hash, index))
    }
}

/// Nibble `index` of a hash, most significant first.
pub(crate) fn nibble(hash: &Hash, index: u8) -> u8 {
    hash[usize::from(index / 2)] >> (if index.is_multiple_of(2) { 4 } else { 0 }) & 15
}

/// Names a node: when it was made, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeName {
    pub step: u64,
    pub path: Path,
}

impl NodeName {
    pub(crate) fn root(step: u64) -> Self {
        Self { step, path: Path::default() }
    }

    fn write(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.step.to_be_bytes());
        key.push(self.path.len);
        key.extend_from_slice(self.path.bytes());
    }

    /// Key of the node's row.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(10 + self.path.bytes().len());
        key.push(NODE);
        self.write(&mut key);
        key
    }

    /// Key of the row that says the node is stale since `version`.
    pub(crate) fn stale_key(&self, version: u64) -> Vec<u8> {
        let mut key = Vec::with_capacity(18 + self.path.bytes().len());
        key.push(STALE);
        key.extend_from_slice(&version.to_be_bytes());
        self.write(&mut key);
        key
    }
}

/// Bounds of the keys of all nodes made up to the end of `version`.
pub(crate) fn node_keys_up_to(version: u64) -> ([u8; 9], [u8; 9]) {
    (bound(NODE, 0), bound(NODE, last_step(version).saturating_add(1)))
}

/// Bounds of the keys of all rows that name nodes not needed from `version` on.
pub(crate) fn stale_keys_up_to(version: u64) -> ([u8; 9], [u8; 9]) {
    (bound(STALE, 0), bound(STALE, version.saturating_add(1)))
}

fn bound(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The step in the key of a node's row.
pub(crate) fn step_of_node_key(key: &[u8]) -> Result<u64, CommitmentError> {
    let step = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    step.ok_or_else(|| damaged(key, "has no key of a node"))
}

/// The key of the node that a row of a stale node names.
pub(crate) fn node_key_of_stale_key(key: &[u8]) -> Result<Vec<u8>, CommitmentError> {
    match key.get(9..) {
        Some(name) if name.len() >= 9 && name.len() == 9 + usize::from(name[8].div_ceil(2)) => {
            Ok([&[NODE], name].concat())
        }
        _ => Err(damaged(key, "does not name a node")),
    }
}

/// A child of an inner node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub hash: Hash,
    /// The step in which it was made.
    pub step: u64,
    pub is_leaf: bool,
    /// Pairs in its subtree.
    pub pairs: u64,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// The root of the empty tree.
    Empty,
    /// A pair.
    Leaf { key_hash: Hash, value_hash: Hash },
    /// Four levels of the binary tree.
    Inner(Box<[Option<Child>; 16]>),
}

/// What a part of an inner node's children comes to.
pub(crate) enum Part {
    /// No child.
    Empty,
    /// Nothing but this child, which stands for the whole part.
    One(u8, Child),
    /// Something to split further.
    Many,
}

/// What the `width` children from `start` on come to: a single leaf stands for all levels above it.
pub(crate) fn part(children: &[Option<Child>; 16], start: u8, width: u8) -> Part {
    let mut there = (start..start.saturating_add(width).min(16))
        .filter_map(|index| children[usize::from(index)].map(|child| (index, child)));
    match (there.next(), there.next()) {
        (None, _) => Part::Empty,
        (Some((index, child)), None) if width == 1 || child.is_leaf => Part::One(index, child),
        _ => Part::Many,
    }
}

/// The hash of the `width` children from `start` on.
pub(crate) fn part_hash(children: &[Option<Child>; 16], start: u8, width: u8) -> Hash {
    match part(children, start, width) {
        Part::Empty => PLACEHOLDER,
        Part::One(_, child) => child.hash,
        Part::Many => {
            let half = width / 2;
            inner_hash(&part_hash(children, start, half), &part_hash(children, start + half, half))
        }
    }
}

impl Node {
    /// The hash of the node's subtree.
    pub(crate) fn hash(&self) -> Hash {
        match self {
            Node::Empty => PLACEHOLDER,
            Node::Leaf { key_hash, value_hash } => leaf_hash(key_hash, value_hash),
            Node::Inner(children) => part_hash(children, 0, 16),
        }
    }

    /// Pairs in the node's subtree.
    pub(crate) fn pairs(&self) -> u64 {
        match self {
            Node::Empty => 0,
            Node::Leaf { .. } => 1,
            Node::Inner(children) => children.iter().flatten().map(|child| child.pairs).sum(),
        }
    }

    /// The node in a row, with all that must hold of a node of this name.
    pub(crate) fn decode(name: &NodeName, key: &[u8], value: &[u8]) -> Result<Node, CommitmentError> {
        let mut input = Input { key, rest: unsealed(key, value)? };
        let node = match input.array::<1>()? {
            [EMPTY] if name.path.is_root() => Node::Empty,
            [LEAF] => {
                let key_hash = input.array()?;
                if !name.path.leads_to(&key_hash) {
                    return Err(damaged(key, "is a leaf of another place"));
                }
                Node::Leaf { key_hash, value_hash: input.array()? }
            }
            [INNER] if name.path.len < MAX_NIBBLES => Node::Inner(input.children(name.step)?),
            _ => return Err(damaged(key, "is no node that can stand there")),
        };
        if !input.rest.is_empty() {
            return Err(damaged(key, "has bytes after its end"));
        }
        Ok(node)
    }

    /// The node of a name, `None` if there is no such row.
    pub(crate) fn find(reader: &dyn NodeReader, name: &NodeName) -> Result<Option<Node>, CommitmentError> {
        let key = name.key();
        reader.row(&key)?.map(|value| Self::decode(name, &key, &value)).transpose()
    }

    /// The node of a name that must be there.
    pub(crate) fn read(reader: &dyn NodeReader, name: &NodeName) -> Result<Node, CommitmentError> {
        Self::find(reader, name)?.ok_or_else(|| damaged(&name.key(), "is missing"))
    }
}

/// Which versions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub oldest: u64,
    pub latest: u64,
    /// The step of the latest version's root.
    pub step: u64,
    /// The latest version's root.
    pub root: Hash,
}

impl Head {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(1 + 3 * 8 + HASH_BYTES + SUM_BYTES);
        out.push(FORMAT);
        for number in [self.oldest, self.latest, self.step] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.root);
        sealed(&HEAD_KEY, out)
    }

    /// The versions of the tree, or `None` if it was never built.
    pub(crate) fn read(reader: &dyn NodeReader) -> Result<Option<Head>, CommitmentError> {
        let key = &HEAD_KEY[..];
        let Some(value) = reader.row(key)? else { return Ok(None) };
        let mut input = Input { key, rest: unsealed(key, &value)? };
        let [format] = input.array()?;
        if format != FORMAT {
            return Err(CommitmentError::NewerFormat { found: format, supported: FORMAT });
        }
        let mut number = || input.array().map(u64::from_be_bytes);
        let (oldest, latest, step) = (number()?, number()?, number()?);
        let root = input.array()?;
        let in_order = oldest <= latest && latest <= MAX_VERSION && version_of(step) <= latest && step > 0;
        if !in_order || !input.rest.is_empty() {
            return Err(damaged(key, "does not say which versions there are"));
        }
        Ok(Some(Head { oldest, latest, step, root }))
    }
}

/// Bytes of the checksum at the end of a value.
pub(crate) const SUM_BYTES: usize = 4;

/// First byte of the root of the empty tree.
pub(crate) const EMPTY: u8 = 0;
/// First byte of a leaf.
pub(crate) const LEAF: u8 = 1;
/// First byte of an inner node.
pub(crate) const INNER: u8 = 2;

/// `value` with its checksum.
pub(crate) fn sealed(key: &[u8], mut value: Vec<u8>) -> Bytes {
    let sum = checksum(key, &value);
    value.extend_from_slice(&sum);
    value.into()
}

/// `value` without its checksum, which must be right.
fn unsealed<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], CommitmentError> {
    match value.split_last_chunk::<SUM_BYTES>() {
        Some((value, sum)) if *sum == checksum(key, value) => Ok(value),
        _ => Err(damaged(key, "has a wrong checksum")),
    }
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; SUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

/// The error for a row with this key.
pub(crate) fn damaged(key: &[u8], problem: &str) -> CommitmentError {
    CommitmentError::Damaged { row: hex(key), problem: problem.to_owned() }
}

/// The rest of a row's value.
struct Input<'a> {
    key: &'a [u8],
    rest: &'a [u8],
}

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CommitmentError> {
        let (array, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| damaged(self.key, "is too short"))?;
        self.rest = rest;
        Ok(*array)
    }

    /// The children of an inner node that was made in `step`.
    fn children(&mut self, step: u64) -> Result<Box<[Option<Child>; 16]>, CommitmentError> {
        let there = u16::from_be_bytes(self.array()?);
        let leaves = u16::from_be_bytes(self.array()?);
        if leaves & !there != 0 || (there.count_ones() < 2 && there == leaves) {
            return Err(damaged(self.key, "has children that cannot be"));
        }
        let mut children = Box::new([None; 16]);
        let mut sum = 0u64;
        for (index, child) in children.iter_mut().enumerate().filter(|(index, _)| there >> index & 1 == 1) {
            let hash: [u8; HASH_BYTES] = self.array()?;
            let made = u64::from_be_bytes(self.array()?);
            let is_leaf = leaves >> index & 1 == 1;
            let pairs = if is_leaf { 1 } else { u64::from_be_bytes(self.array()?) };
            sum = sum.saturating_add(pairs);
            if made > step || (!is_leaf && pairs < 2) || sum > MAX_PAIRS {
                return Err(damaged(self.key, "has children that cannot be"));
            }
            *child = Some(Child { hash, step: made, is_leaf, pairs });
        }
        Ok(children)
    }
}
