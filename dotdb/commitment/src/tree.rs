//! New versions of the tree, and their roots.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dotdb_store::Direction;
use jmt::storage::{Node, NodeBatch, NodeKey, StaleNodeIndex};
use jmt::{JellyfishMerkleTree, KeyHash};

use crate::error::CommitmentError;
use crate::hash::{Hash, PLACEHOLDER, Root, TreeHasher, hash};
use crate::reader::{NodeReader, Write};
use crate::rows;
use crate::rows::{
    HEAD_KEY, Head, MAX_VERSION, NodeName, damaged, first_step, last_step, node_keys_up_to, step_of_node_key,
    version_of,
};
use crate::source::{Source, encode, name_of};

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

/// The row over which a tree ends at an earlier version, so that [`update`] makes another one after that: to see what
/// would have become of it.
///
/// # Errors
/// Those of [`root`].
pub fn end_at(reader: &dyn NodeReader, version: u64) -> Result<Write, CommitmentError> {
    let (step, Root(root)) = locate(reader, version)?;
    let oldest = Head::read(reader)?.map_or(version, |head| head.oldest);
    let head = Head { oldest, latest: version, step, root };
    Ok((Bytes::from_static(&HEAD_KEY), Some(head.encode())))
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
    let last = reader.rows(&from, &to, Direction::Backward, 1)?;
    let (key, _) = last.first().ok_or_else(|| damaged(&from, "and all up to the version are missing"))?;
    let step = step_of_node_key(key)?;
    let node = rows::Node::read(reader, &NodeName::root(step))?;
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
    let deletes = last_of_each.values().filter(|value| value.is_none()).count();
    let puts = last_of_each.len() - deletes;
    let owned = |value: &Option<Bytes>| value.as_ref().map(|value| value.to_vec());

    // jmt takes puts by the batch, which hashes what they share once, but deletes one after another.
    let mut source = Source::new(reader, base);
    let mut rows = Rows { base, start, ..Rows::default() };
    if puts >= BATCH {
        let puts = last_of_each
            .iter()
            .filter_map(|(&key_hash, value)| owned(value).map(|value| (KeyHash(key_hash), value)))
            .collect();
        let made = Tree::new(&source).batch_put_value_sets(vec![puts], None, start);
        let (roots, batch) = made.map_err(|error| source.explain(&error))?;
        rows.root = roots.last().map(|root| (start, root.0));
        rows.stale.extend(batch.stale_node_index_batch);
        source.put_over(batch.node_batch);
    }
    if deletes > 0 || (0 < puts && puts < BATCH) {
        let rest = last_of_each
            .iter()
            .filter(|(_, value)| value.is_none() || puts < BATCH)
            .map(|(&key_hash, value)| (KeyHash(key_hash), owned(value)));
        let step = start + u64::from(source.pending().is_some());
        let made = Tree::new(&source).put_value_set(rest, step);
        let (root, batch) = made.map_err(|error| source.explain(&error))?;
        let before = rows.root.map(|(_, root)| root).or(head.map(|head| head.root)).unwrap_or(PLACEHOLDER);
        // If there was nothing to change, all jmt has made is a copy of the root.
        if root.0 != before || !batch.stale_node_index_batch.is_empty() {
            rows.root = Some((step, root.0));
            rows.stale.extend(batch.stale_node_index_batch);
            rows.made(&batch.node_batch);
        }
    }
    if let Some(pending) = source.pending() {
        rows.made(pending);
    }
    Ok(rows.into_update(head, version))
}

/// The fewest puts that are given to jmt as a batch.
const BATCH: usize = 32;

/// What the steps of one version have made and made stale.
#[derive(Default)]
struct Rows {
    /// The step of the root before.
    base: Option<u64>,
    /// The first step of the version.
    start: u64,
    /// The step and hash of the last root made.
    root: Option<(u64, Hash)>,
    stale: BTreeSet<StaleNodeIndex>,
    writes: Vec<Write>,
}

impl Rows {
    /// Adds the nodes of a step, without those that the next one has made stale, which must be noted before.
    fn made(&mut self, nodes: &NodeBatch) {
        let short_lived: BTreeSet<&NodeKey> = self
            .stale
            .iter()
            .map(|stale| &stale.node_key)
            .filter(|key| key.version() >= self.start)
            .collect();
        for (key, node) in nodes.nodes() {
            if short_lived.is_empty() || !short_lived.contains(key) {
                let row = name_of(key).key();
                let value = encode(&row, node);
                self.writes.push((row.into(), Some(value)));
            }
        }
    }

    /// Adds the row of a node that `version` does not need any more.
    fn made_stale(&mut self, name: &NodeName, version: u64) {
        self.writes.push(if version_of(name.step) == version {
            // Of an earlier chunk of the same version: nobody can ask for it.
            (name.key().into(), None)
        } else {
            (name.stale_key(version).into(), Some(Bytes::new()))
        });
    }

    fn into_update(mut self, head: Option<Head>, version: u64) -> Update {
        let (step, root) = match (self.root, head) {
            (Some(root), _) => {
                for stale in std::mem::take(&mut self.stale) {
                    // What jmt calls the root of the step before is the base, which it forgets if it is empty.
                    let key = &stale.node_key;
                    if key.version() < self.start && !key.nibble_path().is_empty() {
                        self.made_stale(&name_of(key), version);
                    }
                }
                if let Some(base) = self.base {
                    self.made_stale(&NodeName::root(base), version);
                }
                root
            }
            (None, Some(head)) => (head.step, head.root),
            (None, None) => {
                let row = NodeName::root(self.start).key();
                let value = encode(&row, &Node::Null);
                self.writes.push((row.into(), Some(value)));
                (self.start, PLACEHOLDER)
            }
        };
        let oldest = head.map_or(version, |head| head.oldest);
        let head = Head { oldest, latest: version, step, root };
        self.writes.push((Bytes::from_static(&HEAD_KEY), Some(head.encode())));
        self.writes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Update { root: Root(root), writes: self.writes }
    }
}
