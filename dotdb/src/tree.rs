//! The state tree: a root for every version, and proofs against it.
//!
//! The tree follows the journal as the history does (`settle`), so that commits do not wait for it. Asked for a
//! root that it has not reached yet, it is brought up to there: in the store, or where that cannot be written,
//! in memory.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_commitment::{NodeReader, Overlay, Proof, Root, SnapshotReader, Write};
use dotdb_store::{Batch, Direction, Durability, Snapshot, Store, StoreError};

use crate::collections::CollectionId;
use crate::contracts::ContractId;
use crate::database::{Database, Shared};
use crate::error::DbError;
use crate::journal;
use crate::keys::{
    COMMITTED, JOURNAL, MAX_KEY_BYTES, MAX_SLOT_BYTES, RECORD, SLOT, TREE, check_len, is_committed, prefix,
    prefixed, significant,
};
use crate::settings::Settings;
use crate::settle::as_of;
use crate::tx::Tx;

/// Rows of the tree after which a batch is written, at the end of a version.
const BATCH_ROWS: usize = 1 << 14;
/// Changes that are brought into the tree at once.
const CHUNK_CHANGES: usize = 1 << 14;
/// Nodes pruned at once.
const PRUNE_NODES: usize = 1 << 13;

fn reader(snapshot: &dyn Snapshot) -> SnapshotReader<'_> {
    SnapshotReader::new(snapshot, TREE)
}

fn store_rows(writes: Vec<Write>) -> Batch {
    writes.into_iter().map(|(key, value)| (SnapshotReader::store_key(TREE, &key), value)).collect()
}

/// The tree of the empty state, at version 0.
pub(crate) fn empty(batch: &mut Batch) -> Result<(), DbError> {
    struct Nothing;
    impl NodeReader for Nothing {
        fn row(&self, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
            Ok(None)
        }
        fn rows(
            &self,
            _: &[u8],
            _: &[u8],
            _: Direction,
            _: usize,
        ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
            Ok(Vec::new())
        }
    }
    for (key, value) in dotdb_commitment::update(&Nothing, 0, &[])?.writes {
        if let Some(value) = value {
            batch.put(SnapshotReader::store_key(TREE, &key), value);
        }
    }
    Ok(())
}

/// Brings a version's changes into a tree that has all versions before.
fn add_version(
    tree: &mut Overlay<'_>,
    snapshot: &Arc<dyn Snapshot>,
    version: u64,
    last: u64,
) -> Result<(), DbError> {
    let then = as_of(Arc::clone(snapshot), version, last)?;
    let mut changes = Vec::new();
    let mut is_first = true;
    let mut add = |changes: &mut Vec<(Bytes, Option<Bytes>)>| {
        let make = if is_first { dotdb_commitment::update } else { dotdb_commitment::load };
        is_first = false;
        let writes = make(&*tree, version, changes)?.writes;
        tree.apply(writes);
        changes.clear();
        Ok::<(), DbError>(())
    };
    for row in journal::changes(&**snapshot, version, version, Direction::Forward)? {
        for change in row?.changes() {
            let key = change?.key;
            if is_committed(&key) {
                let value = then.get(&key)?;
                changes.push((key, value));
                if changes.len() == CHUNK_CHANGES {
                    add(&mut changes)?;
                }
            }
        }
    }
    add(&mut changes)
}

impl Shared {
    fn check_rooted(&self) -> Result<(), DbError> {
        if self.settings.state_root { Ok(()) } else { Err(DbError::NoStateRoot) }
    }

    /// Brings the tree in the store up to `last`. Only one thread at a time may.
    pub(crate) fn grow_tree(&self, last: u64) -> Result<(), DbError> {
        if !self.settings.state_root {
            return Ok(());
        }
        loop {
            let snapshot = self.store.snapshot()?;
            let kept = dotdb_commitment::kept(&reader(&*snapshot))?.ok_or_else(no_tree)?;
            if kept.latest >= last {
                return Ok(());
            }
            let now = journal::last_version(&*snapshot)?;
            let base = reader(&*snapshot);
            let mut tree = Overlay::new(&base);
            for version in kept.latest + 1..=last {
                add_version(&mut tree, &snapshot, version, now)?;
                if tree.len() >= BATCH_ROWS {
                    break;
                }
            }
            self.store.apply(&store_rows(tree.into_writes()), Durability::None)?;
        }
    }

    /// Removes the nodes that only versions before `oldest` need.
    pub(crate) fn prune_tree(&self, oldest: u64) -> Result<(), DbError> {
        if !self.settings.state_root {
            return Ok(());
        }
        loop {
            let snapshot = self.store.snapshot()?;
            let pruned = dotdb_commitment::prune(&reader(&*snapshot), oldest, PRUNE_NODES)?;
            drop(snapshot);
            let batch = store_rows(pruned.writes);
            if !batch.is_empty() {
                self.store.apply(&batch, Durability::None)?;
            }
            if pruned.done {
                return Ok(());
            }
        }
    }

    /// A snapshot of the state at some version with a tree that ends there, and the rows that it lacks; the
    /// snapshot given is such a one but for the tree.
    fn tree_at(
        &self,
        snapshot: &Arc<dyn Snapshot>,
        version: u64,
    ) -> Result<(Arc<dyn Snapshot>, Vec<Write>), DbError> {
        self.check_rooted()?;
        let latest = |snapshot: &dyn Snapshot| {
            let kept = dotdb_commitment::kept(&reader(snapshot))?.ok_or_else(no_tree)?;
            Ok::<u64, DbError>(kept.latest)
        };
        let reached = latest(&**snapshot)?;
        if reached == version {
            return Ok((Arc::clone(snapshot), Vec::new()));
        }
        if !self.store.read_only() {
            self.catch_up()?;
            let fresh = self.store.snapshot()?;
            if latest(&*fresh)? == version {
                return Ok((fresh, Vec::new()));
            }
        }
        let base = reader(&**snapshot);
        let mut tree = Overlay::new(&base);
        for next in reached + 1..=version {
            add_version(&mut tree, snapshot, next, version)?;
        }
        Ok((Arc::clone(snapshot), tree.into_writes()))
    }

    /// A snapshot of now, and the rows that its tree lacks of those up to `version`.
    fn tree_reaching(&self, version: u64) -> Result<(Arc<dyn Snapshot>, Vec<Write>), DbError> {
        self.check_rooted()?;
        if !self.store.read_only() {
            self.catch_up()?;
        }
        let snapshot = self.store.snapshot()?;
        let last = journal::last_version(&*snapshot)?;
        let oldest = self.oldest(&*snapshot, last)?;
        if version > last {
            return Err(DbError::FutureVersion { version, last });
        }
        if version < oldest {
            return Err(DbError::PrunedVersion { version, oldest });
        }
        if dotdb_commitment::kept(&reader(&*snapshot))?.ok_or_else(no_tree)?.latest >= version {
            return Ok((snapshot, Vec::new()));
        }
        self.tree_at(&snapshot, last)
    }

    /// Calls `ask` with a tree that has the version.
    fn with_tree<T>(
        &self,
        version: u64,
        ask: impl FnOnce(&dyn NodeReader) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let (snapshot, rows) = self.tree_reaching(version)?;
        let base = reader(&*snapshot);
        let mut tree = Overlay::new(&base);
        tree.apply(rows);
        ask(&tree)
    }
}

fn no_tree() -> DbError {
    DbError::Store(StoreError::Corrupt { detail: "the state tree is missing".to_owned() })
}

/// The store key of a slot, which a proof is about.
///
/// # Errors
/// [`DbError::TooLarge`].
pub fn slot_key(contract: ContractId, key: &[u8]) -> Result<Bytes, DbError> {
    let key = significant(key);
    check_len("slot key", key.len(), MAX_SLOT_BYTES)?;
    // At most MAX_SLOT_BYTES.
    Ok([&prefix(SLOT, contract.0)[..], &[key.len() as u8], key].concat().into())
}

/// The store key of a record of the collection with this number.
///
/// # Errors
/// [`DbError::TooLarge`].
pub fn record_key(collection: u32, key: &[u8]) -> Result<Bytes, DbError> {
    check_len("key", key.len(), MAX_KEY_BYTES)?;
    Ok(prefixed(&prefix(RECORD, collection), key).into())
}

impl Database {
    /// The root hash of the state at a version.
    ///
    /// # Errors
    /// [`DbError::NoStateRoot`], [`DbError::FutureVersion`], [`DbError::PrunedVersion`].
    pub fn state_root(&self, version: u64) -> Result<Root, DbError> {
        self.shared.with_tree(version, |tree| Ok(dotdb_commitment::root(tree, version)?))
    }

    /// The proof of what a store key ([`slot_key`], [`record_key`]) holds at a version, or that it is absent.
    ///
    /// # Errors
    /// Those of [`state_root`](Database::state_root); a key that the root does not commit to.
    pub fn prove(&self, version: u64, key: &[u8]) -> Result<Proof, DbError> {
        let value = self.snapshot_at(version)?.get(key)?;
        self.shared
            .with_tree(version, |tree| Ok(dotdb_commitment::prove(tree, version, key, value.as_deref())?))
    }

    /// Goes over the state tree of the current version, its hashes included, and compares its root with that of the
    /// state itself. Answers the number of leaves.
    ///
    /// # Errors
    /// [`DbError::NoStateRoot`], what is damaged.
    pub fn check_state_root(&self) -> Result<u64, DbError> {
        self.shared.check_rooted()?;
        let snapshot = self.shared.store.snapshot()?;
        let last = journal::last_version(&*snapshot)?;
        let (snapshot, rows) = self.shared.tree_at(&snapshot, last)?;
        let base = reader(&*snapshot);
        let mut tree = Overlay::new(&base);
        tree.apply(rows);
        let leaves = dotdb_commitment::check(&tree, last)?;
        let mut committed = 0u64;
        for row in snapshot.range(
            Bound::Included(&[COMMITTED.start][..]),
            Bound::Excluded(&[COMMITTED.end][..]),
            Direction::Forward,
        )? {
            let (key, value) = row?;
            dotdb_commitment::prove(&tree, last, &key, Some(&value))?;
            committed += 1;
        }
        if committed != leaves {
            let detail = format!("the state tree has {leaves} leaves and the state {committed} keys");
            return Err(StoreError::Corrupt { detail }.into());
        }
        Ok(leaves)
    }

    /// Gives a database that keeps no state root one, from its current version on: the versions before are
    /// forgotten. Takes a time linear in the state; when it is interrupted, nothing has changed.
    ///
    /// # Errors
    /// The store's; [`DbError::Settings`] if the database keeps no history.
    pub fn add_state_root(store: Arc<dyn Store>) -> Result<Database, DbError> {
        let database = Database::open(Arc::clone(&store))?;
        if database.settings().state_root {
            return Ok(database);
        }
        let settings = Settings { state_root: true, ..database.settings() };
        settings.check()?;
        database.settle()?;
        let version = database.version();
        database.forget_before(version)?;
        let clear = |from: &[u8]| -> Result<(), DbError> {
            loop {
                let snapshot = store.snapshot()?;
                let rows = snapshot.range(
                    Bound::Included(from),
                    Bound::Excluded(&[TREE + 1][..]),
                    Direction::Forward,
                )?;
                let keys: Vec<_> = rows
                    .take(BATCH_ROWS)
                    .map(|row| row.map(|row| (row.0, None)))
                    .collect::<Result<_, _>>()?;
                if keys.is_empty() {
                    return Ok(());
                }
                store.apply(&Batch::from(keys), Durability::None)?;
            }
        };
        // What an interrupted attempt has left.
        clear(&[TREE])?;
        let state = store.snapshot()?;
        let mut rows = state.range(
            Bound::Included(&[COMMITTED.start][..]),
            Bound::Excluded(&[COMMITTED.end][..]),
            Direction::Forward,
        )?;
        loop {
            let chunk =
                rows.by_ref().take(CHUNK_CHANGES).map(|row| row.map(|(key, value)| (key, Some(value))));
            let chunk: Vec<_> = chunk.collect::<Result<_, _>>()?;
            let is_last = chunk.len() < CHUNK_CHANGES;
            let nodes = store.snapshot()?;
            let update = dotdb_commitment::load(&reader(&*nodes), version, &chunk)?;
            store.apply(&store_rows(update.writes), Durability::None)?;
            if is_last {
                break;
            }
        }
        let (key, value) = settings.row();
        store.apply(Batch::new().put(key, value), Durability::Sync)?;
        Database::open(store)
    }
}

impl Tx {
    /// The root hash of the state as this transaction sees it, its own changes included.
    ///
    /// # Errors
    /// [`DbError::NoStateRoot`].
    pub fn state_root(&mut self) -> Result<Root, DbError> {
        self.with_own_tree(|tree, version, _| Ok(dotdb_commitment::root(tree, version)?))
    }

    /// The proof of what a store key ([`slot_key`], [`record_key`]) holds, or that it is absent, in the state as this
    /// transaction sees it, and the root it is to be verified with, which is [`Tx::state_root`].
    ///
    /// # Errors
    /// [`DbError::NoStateRoot`]; a key that the root does not commit to.
    pub fn prove(&mut self, key: &[u8]) -> Result<(Root, Proof), DbError> {
        let committed = self.read_through(key)?;
        self.with_own_tree(|tree, version, pending| {
            let value = match pending.iter().find(|(changed, _)| changed == key) {
                Some((_, value)) => value.clone(),
                None => committed,
            };
            let root = dotdb_commitment::root(tree, version)?;
            Ok((root, dotdb_commitment::prove(tree, version, key, value.as_deref())?))
        })
    }

    /// [`Tx::prove`] for a record of a collection.
    ///
    /// # Errors
    /// Those of [`Tx::prove`]; [`DbError::UnknownCollection`], [`DbError::TooLarge`].
    pub fn prove_record(&mut self, collection: CollectionId, key: &[u8]) -> Result<(Root, Proof), DbError> {
        let number = self.collection_number(collection)?;
        self.prove(&record_key(number, key)?)
    }

    /// Calls `ask` with a tree of the state as the transaction sees it, the version it has there, and what the
    /// transaction has changed.
    fn with_own_tree<T>(
        &mut self,
        ask: impl FnOnce(&dyn NodeReader, u64, &[Write]) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        // The root depends on all of the state.
        self.read_everything();
        let version = self.version()?;
        let mut changes = self.pending_changes()?;
        changes.retain(|(key, _)| is_committed(key));
        let (snapshot, rows) = match self.at {
            // Its snapshot shows today's tree.
            Some(_) => self.shared.tree_reaching(version)?,
            None => self.shared.tree_at(&self.snapshot, version)?,
        };
        let base = reader(&*snapshot);
        let mut tree = Overlay::new(&base);
        tree.apply(rows);
        if changes.is_empty() {
            return ask(&tree, version, &[]);
        }
        if self.at.is_some() {
            let end = dotdb_commitment::end_at(&tree, version)?;
            tree.apply(vec![end]);
        }
        let writes = dotdb_commitment::update(&tree, version + 1, &changes)?.writes;
        tree.apply(writes);
        ask(&tree, version + 1, &changes)
    }
}

const _: () = assert!(TREE > JOURNAL);
