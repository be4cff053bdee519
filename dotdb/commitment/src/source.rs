//! The rows as jmt reads them, and its nodes as rows.
//!
//! jmt trusts its reader: it asserts that a leaf lies on its own path, that an inner node has children, that
//! a node is made stale once. Whatever it is given here was checked on its own ([`Node::decode`]) and against the
//! node above it, so that none of this can fail on damaged rows.

use std::cell::RefCell;
use std::collections::HashMap;

use jmt::storage::{LeafNode, Node as JmtNode, NodeBatch, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, ValueHash, Version};

use crate::error::CommitmentError;
use crate::reader::NodeReader;
use crate::rows::{Child, Node, NodeName, Path, damaged};

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
}

impl<'a> Source<'a> {
    pub(crate) fn new(reader: &'a dyn NodeReader, base: Option<u64>) -> Self {
        Self {
            reader,
            base,
            pending: None,
            above: RefCell::new(HashMap::new()),
            failure: RefCell::new(None),
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

    fn read(&self, name: &NodeName) -> Result<Node, CommitmentError> {
        let Some((above, nibble)) = name.path.parent() else {
            // jmt asks for the root of the step before, which need not be the step of the latest root.
            let Some(step) = self.base else { return Ok(Node::Empty) };
            return self.noted(&NodeName::root(step));
        };
        let child = self.above.borrow().get(&above).and_then(|children| children[usize::from(nibble)]);
        let node = self.noted(name)?;
        let fits = child.is_some_and(|child| {
            child.step == name.step
                && child.pairs == node.pairs()
                && child.is_leaf == matches!(node, Node::Leaf { .. })
        });
        if fits { Ok(node) } else { Err(damaged(&name.key(), "is not what the node above it says")) }
    }

    fn noted(&self, name: &NodeName) -> Result<Node, CommitmentError> {
        let node = Node::read(self.reader, name)?;
        if let Node::Inner(children) = &node {
            self.above.borrow_mut().insert(name.path, children.clone());
        }
        Ok(node)
    }
}

impl TreeReader for Source<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<JmtNode>> {
        if let Some(node) = self.pending.as_ref().and_then(|nodes| nodes.get_node(key)) {
            return Ok(Some(node.clone()));
        }
        match self.read(&name_of(key)) {
            Ok(node) => Ok(Some(to_jmt(&node)?)),
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

/// A node as jmt has it. Its constructors are private, its Borsh form is not.
fn to_jmt(node: &Node) -> anyhow::Result<JmtNode> {
    let children = match node {
        Node::Empty => return Ok(JmtNode::Null),
        Node::Leaf { key_hash, value_hash } => {
            return Ok(JmtNode::Leaf(LeafNode::new(KeyHash(*key_hash), ValueHash(*value_hash))));
        }
        Node::Inner(children) => children,
    };
    let mut out = Vec::with_capacity(17 + 50 * 16);
    out.push(1);
    let mut count = 0u64;
    for child in children.iter() {
        let Some(child) = child else {
            out.push(0);
            continue;
        };
        count += 1;
        out.push(1);
        out.extend_from_slice(&child.hash);
        out.extend_from_slice(&child.step.to_le_bytes());
        out.push(u8::from(!child.is_leaf));
        if !child.is_leaf {
            out.extend_from_slice(&child.pairs.to_le_bytes());
        }
    }
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&node.pairs().to_le_bytes());
    Ok(borsh::from_slice(&out)?)
}

/// A node of jmt's as we have it.
pub(crate) fn from_jmt(node: &JmtNode) -> Result<Node, CommitmentError> {
    let inner = match node {
        JmtNode::Null => return Ok(Node::Empty),
        JmtNode::Leaf(leaf) => {
            // The hash of the value is private; the Borsh form is the two hashes.
            let bytes = borsh::to_vec(leaf).unwrap_or_default();
            let value_hash = bytes.last_chunk::<32>().filter(|_| bytes.len() == 64);
            let value_hash = *value_hash.ok_or_else(|| CommitmentError::Damaged {
                row: "of a new leaf".to_owned(),
                problem: "is not made of two hashes".to_owned(),
            })?;
            return Ok(Node::Leaf { key_hash: leaf.key_hash().0, value_hash });
        }
        JmtNode::Internal(inner) => inner,
    };
    let mut children = Box::new([None; 16]);
    for (nibble, child) in inner.children_sorted() {
        children[nibble.as_usize()] = Some(Child {
            hash: child.hash,
            step: child.version,
            is_leaf: child.is_leaf(),
            pairs: child.leaf_count() as u64,
        });
    }
    Ok(Node::Inner(children))
}
