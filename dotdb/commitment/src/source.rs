//! The rows as jmt reads them, and its nodes as rows.
//!
//! jmt trusts its reader: it asserts that a leaf lies on its own path, that an inner node has children, that
//! a node is made stale once. Whatever it is given here was checked on its own ([`Node::decode`]) and against the
//! node above it, so that none of this can fail on damaged rows.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use jmt::storage::{LeafNode, Node as JmtNode, NodeBatch, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, ValueHash, Version};

use crate::error::CommitmentError;
use crate::reader::NodeReader;
use crate::rows::{Child, EMPTY, INNER, LEAF, Node, NodeName, Path, SUM_BYTES, damaged, sealed};

/// Room for the Borsh form of the greatest node.
const BORSH_BYTES: usize = 1024;

/// The latest version of the tree, and the nodes of a step after it that are not rows yet.
pub(crate) struct Source<'a> {
    reader: &'a dyn NodeReader,
    /// The step of the latest root, if there is a tree.
    base: Option<u64>,
    /// The nodes that a step has made on top.
    pending: Option<NodeBatch>,
    /// The children of the inner nodes that were read; looked up only.
    above: RefCell<HashMap<Path, Box<[Option<Child>; 16]>>>,
    /// Why a read failed: jmt passes on no more than a text.
    failure: RefCell<Option<CommitmentError>>,
    /// The Borsh form of the node being read.
    buffer: RefCell<Vec<u8>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(reader: &'a dyn NodeReader, base: Option<u64>) -> Self {
        Self {
            reader,
            base,
            pending: None,
            above: RefCell::new(HashMap::new()),
            failure: RefCell::new(None),
            buffer: RefCell::new(Vec::with_capacity(BORSH_BYTES)),
        }
    }

    /// Puts the nodes of a step over the rows.
    pub(crate) fn put_over(&mut self, nodes: NodeBatch) {
        self.pending = Some(nodes);
    }

    pub(crate) fn pending(&self) -> Option<&NodeBatch> {
        self.pending.as_ref()
    }

    /// What an error of jmt was about.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> CommitmentError {
        self.failure.borrow_mut().take().unwrap_or_else(|| CommitmentError::Damaged {
            row: "of a node on the way".to_owned(),
            problem: format!("does not fit the others ({error:#})"),
        })
    }

    fn read(&self, name: &NodeName) -> Result<JmtNode, CommitmentError> {
        let Some((above, nibble)) = name.path.parent() else {
            // jmt asks for the root of the step before, which need not be the step of the latest root.
            let Some(step) = self.base else { return Ok(JmtNode::Null) };
            let name = NodeName::root(step);
            let node = Node::read(self.reader, &name)?;
            return self.pass_on(&name, node);
        };
        let child = self.above.borrow().get(&above).and_then(|children| children[usize::from(nibble)]);
        let node = Node::read(self.reader, name)?;
        let fits = child.is_some_and(|child| {
            child.step == name.step
                && child.pairs == node.pairs()
                && child.is_leaf == matches!(node, Node::Leaf { .. })
        });
        if !fits {
            return Err(damaged(&name.key(), "is not what the node above it says"));
        }
        self.pass_on(name, node)
    }

    /// The node as jmt has it; its children are noted.
    fn pass_on(&self, name: &NodeName, node: Node) -> Result<JmtNode, CommitmentError> {
        let pairs = node.pairs();
        Ok(match node {
            Node::Empty => JmtNode::Null,
            Node::Leaf { key_hash, value_hash } => {
                JmtNode::Leaf(LeafNode::new(KeyHash(key_hash), ValueHash(value_hash)))
            }
            Node::Inner(children) => {
                let node = inner_to_jmt(&children, pairs, &mut self.buffer.borrow_mut());
                self.above.borrow_mut().insert(name.path, children);
                node.map_err(|_| damaged(&name.key(), "is no node for jmt"))?
            }
        })
    }
}

impl TreeReader for Source<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<JmtNode>> {
        if let Some(node) = self.pending.as_ref().and_then(|nodes| nodes.get_node(key)) {
            return Ok(Some(node.clone()));
        }
        match self.read(&name_of(key)) {
            Ok(node) => Ok(Some(node)),
            Err(error) => {
                let text = error.to_string();
                self.failure.borrow_mut().get_or_insert(error);
                Err(anyhow::Error::msg(text))
            }
        }
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        anyhow::bail!("the tree holds no values")
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("the tree is not restored leaf by leaf")
    }
}

/// Our name of jmt's node.
pub(crate) fn name_of(key: &NodeKey) -> NodeName {
    let path = key.nibble_path().nibbles().fold(Path::default(), |path, nibble| path.child(nibble.into()));
    NodeName { step: key.version(), path }
}

/// An inner node as jmt has it. Its constructors are private, its Borsh form is not.
fn inner_to_jmt(
    children: &[Option<Child>; 16],
    pairs: u64,
    buffer: &mut Vec<u8>,
) -> Result<JmtNode, std::io::Error> {
    buffer.clear();
    buffer.push(1);
    for child in children {
        let Some(child) = child else {
            buffer.push(0);
            continue;
        };
        buffer.push(1);
        buffer.extend_from_slice(&child.hash);
        buffer.extend_from_slice(&child.step.to_le_bytes());
        buffer.push(u8::from(!child.is_leaf));
        if !child.is_leaf {
            buffer.extend_from_slice(&child.pairs.to_le_bytes());
        }
    }
    let count = children.iter().flatten().count() as u64;
    buffer.extend_from_slice(&count.to_le_bytes());
    buffer.extend_from_slice(&pairs.to_le_bytes());
    borsh::from_slice(buffer)
}

/// The value of the row with this key for a node of jmt's.
pub(crate) fn encode(key: &[u8], node: &JmtNode) -> Bytes {
    // Rows are kept as they are made: exactly as long as they need to be.
    let mut out = Vec::new();
    match node {
        JmtNode::Null => {
            out.reserve_exact(1 + SUM_BYTES);
            out.push(EMPTY);
        }
        JmtNode::Leaf(leaf) => {
            out.reserve_exact(1 + 64 + SUM_BYTES);
            out.push(LEAF);
            // The hash of the value is private; the Borsh form is the two hashes. Writing to a vector cannot fail.
            let _ = borsh::BorshSerialize::serialize(leaf, &mut out);
        }
        JmtNode::Internal(inner) => {
            let (there, leaves) = inner.generate_bitmaps();
            let (children, inners) = (there.count_ones() as usize, (there & !leaves).count_ones() as usize);
            out.reserve_exact(5 + 40 * children + 8 * inners + SUM_BYTES);
            out.push(INNER);
            out.extend_from_slice(&there.to_be_bytes());
            out.extend_from_slice(&leaves.to_be_bytes());
            for (_, child) in inner.children_sorted() {
                out.extend_from_slice(&child.hash);
                out.extend_from_slice(&child.version.to_be_bytes());
                if !child.is_leaf() {
                    out.extend_from_slice(&(child.leaf_count() as u64).to_be_bytes());
                }
            }
        }
    }
    sealed(key, out)
}
