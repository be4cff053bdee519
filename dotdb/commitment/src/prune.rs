//! Giving back the space of old versions.

use bytes::Bytes;
use dotdb_store::Direction;

use crate::error::CommitmentError;
use crate::reader::{NodeReader, Write};
use crate::rows::{HEAD_KEY, Head, node_key_of_stale_key, stale_keys_up_to};

/// A part of the work of pruning.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// The rows to write, almost all of them deletes.
    pub writes: Vec<Write>,
    /// Nodes that are deleted.
    pub nodes: usize,
    /// Whether nothing is left to be pruned before the version.
    pub done: bool,
}

/// Makes `oldest` the oldest version that is kept and deletes up to `limit` nodes that only older ones need. Call it
/// again, with what it returned written, until it is done.
///
/// # Errors
/// A version that is not there yet, no tree at all, damaged rows, or a store that cannot be read.
pub fn prune(reader: &dyn NodeReader, oldest: u64, limit: usize) -> Result<Pruned, CommitmentError> {
    let head = Head::read(reader)?.ok_or(CommitmentError::NoTree)?;
    if oldest > head.latest {
        return Err(CommitmentError::NotYet { version: oldest, latest: head.latest });
    }
    let mut writes: Vec<Write> = Vec::new();
    if oldest > head.oldest {
        writes.push((Bytes::from_static(&HEAD_KEY), Some(Head { oldest, ..head }.encode())));
    }
    let (from, to) = stale_keys_up_to(oldest.max(head.oldest));
    let stale = reader.rows(&from, &to, Direction::Forward, limit)?;
    for (key, _) in &stale {
        writes.push((node_key_of_stale_key(key)?.into(), None));
        writes.push((key.clone(), None));
    }
    Ok(Pruned { writes, nodes: stale.len(), done: stale.len() < limit })
}
