//! New versions of the tree, and their roots.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jmt::storage::TreeUpdateBatch;
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, RootHash};

use crate::error::CommitmentError;
use crate::hash::{Hash, Root, TreeHasher, hash};
use crate::reader::{NodeReader, Write};
use crate::rows::{
    HEAD_KEY, Head, MAX_VERSION, Node, NodeName, damaged, first_step, last_step, node_keys_up_to,
    step_of_node_key, version_of,
};
use crate::source::{Source, from_jmt, name_of};

/// A changed key and its value, or `None` if it was deleted.
pub type Change = (Bytes, Option<Bytes>);

/// A new version: its root and the rows that hold it.
#[derive(Clone, Debug)]
pub struct Update {
    /// The root of the new version.
    pub root: Root,
    /// The rows to write, each key once.
    pub writes: Vec<Write>,
}

/// Which versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The oldest version that can be asked for.
    pub oldest: u64,
    /// The version that was made last.
    pub latest: u64,
    /// The root of that version.
    pub root: Root,
}

/// Which versions there are; `None` if the tree was never built.
pub fn kept(reader: &dyn NodeReader) -> Result<Option<Kept>, CommitmentError> {
    let head = Head::read(reader)?;
    Ok(head.map(|head| Kept { oldest: head.oldest, latest: head.latest, root: Root(head.root) }))
}

/// Makes `version`, which is the latest one with `changes` made to it; of changes of one key the last one counts.
///
/// Versions may be left out: those have the root of the version before them. Takes time in proportion to the number
/// of changes and the logarithm of the number of pairs.
///
/// # Errors
/// A version that is not greater than the latest, damaged rows, or a store that cannot be read.
pub fn update(reader: &dyn NodeReader, version: u64, changes: &[Change]) -> Result<Update, CommitmentError> {
    let head = Head::read(reader)?;
    if let Some(head) = head.filter(|head| version <= head.latest) {
        return Err(CommitmentError::VersionOrder { version, latest: head.latest });
    }
    apply(reader, head, version, changes)
}

/// Like [`update`], but `version` may be the latest one, whose root is then replaced: builds the tree of a state that
/// is there already, in as many chunks as memory asks for, up to 32,767 of them.
///
/// Only for a version whose root nobody was given yet.
///
/// # Errors
/// Those of [`update`], and too many chunks.
pub fn load(reader: &dyn NodeReader, version: u64, changes: &[Change]) -> Result<Update, CommitmentError> {
    let head = Head::read(reader)?;
    if let Some(head) = head.filter(|head| version < head.latest) {
        return Err(CommitmentError::VersionOrder { version, latest: head.latest });
    }
    apply(reader, head, version, changes)
}

/// The root of a version.
///
/// # Errors
/// A version that was pruned or is not there yet, no tree at all, damaged rows, or a store that cannot be read.
pub fn root(reader: &dyn NodeReader, version: u64) -> Result<Root, CommitmentError> {
    locate(reader, version).map(|(_, root)| root)
}

/// The step of a version's root, and the root.
pub(crate) fn locate(reader: &dyn NodeReader, version: u64) -> Result<(u64, Root), CommitmentError> {
    let head = Head::read(reader)?.ok_or(CommitmentError::NoTree)?;
    if version == head.latest {
        return Ok((head.step, Root(head.root)));
    }
    if version > head.latest {
        return Err(CommitmentError::NotYet { version, latest: head.latest });
    }
    if version < head.oldest {
        return Err(CommitmentError::Pruned { version, oldest: head.oldest });
    }
    // Every step that changed something made a root, so the last node made up to the version tells the step.
    let (from, to) = node_keys_up_to(version);
    let last = reader.rows(&from, &to, dotdb_store::Direction::Backward, 1)?;
    let (key, _) = last.first().ok_or_else(|| damaged(&from, "and all up to the version are missing"))?;
    let step = step_of_node_key(key)?;
    let node = Node::read(reader, &NodeName::root(step))?;
    Ok((step, Root(node.hash())))
}

type Tree<'a, 'r> = JellyfishMerkleTree<'a, Source<'r>, TreeHasher>;

/// Applies changes on top of `head` as one or two steps of `version`.
fn apply(
    reader: &dyn NodeReader,
    head: Option<Head>,
    version: u64,
    changes: &[Change],
) -> Result<Update, CommitmentError> {
    if version > MAX_VERSION {
        return Err(CommitmentError::VersionTooGreat { version, limit: MAX_VERSION });
    }
    let base = head.map(|head| head.step);
    let start = base.map_or(0, |step| step + 1).max(first_step(version));
    if start >= last_step(version) {
        return Err(CommitmentError::TooManyChunks { version });
    }

    let last_of_each: BTreeMap<Hash, &Option<Bytes>> =
        changes.iter().map(|(key, value)| (hash(key), value)).collect();
    let mut puts: Vec<(KeyHash, OwnedValue)> = Vec::new();
    let mut deletes: Vec<(KeyHash, Option<OwnedValue>)> = Vec::new();
    for (key_hash, value) in last_of_each {
        match value {
            Some(value) => puts.push((KeyHash(key_hash), value.to_vec())),
            None => deletes.push((KeyHash(key_hash), None)),
        }
    }

    // jmt takes puts by the batch, which hashes what they share once, but deletes one after another.
    let mut source = Source::new(reader, base);
    let mut rows = Rows { reader_base: base, ..Rows::default() };
    if !puts.is_empty() {
        let made = Tree::new(&source).batch_put_value_sets(vec![puts], None, start);
        let (roots, batch) = made.map_err(|error| source.explain(&error))?;
        rows.stale(start, &batch);
        rows.root = roots.last().map(|root| (start, *root));
        source.put_over(batch.node_batch);
    }
    if !deletes.is_empty() {
        let step = start + u64::from(source.pending().is_some());
        let made = Tree::new(&source).put_value_set(deletes, step);
        let (root, batch) = made.map_err(|error| source.explain(&error))?;
        // If none of the keys was there, all jmt has made is a copy of the root.
        if !batch.stale_node_index_batch.is_empty() {
            rows.stale(step, &batch);
            rows.root = Some((step, root));
            rows.made(&batch.node_batch)?;
        }
    }
    if let Some(pending) = source.pending() {
        rows.made(pending)?;
    }
    rows.into_update(head, version, start)
}

/// What the steps of one version have made and made stale.
#[derive(Default)]
struct Rows {
    /// The step of the root before.
    reader_base: Option<u64>,
    /// The step and hash of the last root made.
    root: Option<(u64, RootHash)>,
    made: BTreeMap<NodeName, Node>,
    stale: BTreeSet<NodeName>,
}

impl Rows {
    fn made(&mut self, nodes: &jmt::storage::NodeBatch) -> Result<(), CommitmentError> {
        for (key, node) in nodes.nodes() {
            self.made.insert(name_of(key), from_jmt(node)?);
        }
        Ok(())
    }

    /// Notes what `step` has made stale. What jmt calls the root of the step before the first is the root of the base.
    fn stale(&mut self, step: u64, batch: &TreeUpdateBatch) {
        let names = batch.stale_node_index_batch.iter().map(|stale| name_of(&stale.node_key));
        let is_first = self.root.is_none();
        for name in names {
            if !(is_first && name == NodeName::root(step - 1)) {
                self.stale.insert(name);
            }
        }
    }

    fn into_update(
        mut self,
        head: Option<Head>,
        version: u64,
        start: u64,
    ) -> Result<Update, CommitmentError> {
        let (step, root) = match (self.root, head) {
            (Some((step, root)), _) => {
                // jmt lets the root of an empty tree stay.
                self.stale.extend(self.reader_base.map(NodeName::root));
                (step, root.0)
            }
            (None, Some(head)) => (head.step, head.root),
            (None, None) => {
                self.made.insert(NodeName::root(start), Node::Empty);
                (start, Node::Empty.hash())
            }
        };
        let mut writes: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for (name, node) in &self.made {
            if !self.stale.contains(name) {
                let key = name.key();
                let value = node.encode(&key);
                writes.insert(key.into(), Some(value));
            }
        }
        for name in self.stale.iter().filter(|name| !self.made.contains_key(name)) {
            if version_of(name.step) == version {
                // An earlier chunk of the same version: nobody can ask for it.
                writes.insert(name.key().into(), None);
            } else {
                writes.insert(name.stale_key(version).into(), Some(Bytes::new()));
            }
        }
        let oldest = head.map_or(version, |head| head.oldest);
        let head = Head { oldest, latest: version, step, root };
        writes.insert(Bytes::from_static(&HEAD_KEY), Some(head.encode()));
        Ok(Update { root: Root(root), writes: writes.into_iter().collect() })
    }
}
