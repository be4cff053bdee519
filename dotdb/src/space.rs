//! Where the bytes of a store are.

use std::ops::Bound;

use dotdb_store::Direction;

use crate::database::Database;
use crate::error::DbError;
use crate::keys::{HISTORY, INDEX_ENTRY, JOURNAL, SLOT, TREE};

/// Bytes of keys and values by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Number of slots of all contracts.
    pub slots: u64,
    /// Contracts, code, slots, collections, records, definitions.
    pub state_bytes: u64,
    /// Entries of indexes.
    pub index_bytes: u64,
    /// Journal and history by key.
    pub history_bytes: u64,
    /// Nodes of the state tree.
    pub tree_bytes: u64,
    /// Settings and names of versions.
    pub other_bytes: u64,
}

impl Database {
    /// Where the bytes of the store are. Reads all of it.
    ///
    /// # Errors
    /// The store's.
    pub fn space(&self) -> Result<Space, DbError> {
        let mut space = Space::default();
        let snapshot = self.shared.store.snapshot()?;
        for row in snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)? {
            let (key, value) = row?;
            let tag = key.first().copied().unwrap_or_default();
            space.slots += u64::from(tag == SLOT);
            *match tag {
                JOURNAL | HISTORY => &mut space.history_bytes,
                TREE => &mut space.tree_bytes,
                INDEX_ENTRY => &mut space.index_bytes,
                0..JOURNAL => &mut space.state_bytes,
                _ => &mut space.other_bytes,
            } += (key.len() + value.len()) as u64;
        }
        Ok(space)
    }
}
