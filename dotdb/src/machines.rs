//! Rows of machines that were written down in the middle of a run.
//!
//! They are no part of the state: they have no version and no history, and the state root does not know them. What is in
//! them is the runtime's; here is only where they lie. All rows of one checkpoint are written in one batch, either by
//! themselves or with the commit of the transaction that the machine ends ([`Tx::write_with_commit`]).

use std::ops::Bound;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dotdb_store::{Batch, Direction, Durability};

use crate::database::Database;
use crate::error::DbError;
use crate::keys::{MACHINE, prefix_end};
use crate::tx::Tx;

/// The number of a machine in its database, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub u64);

/// A row of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MachineRow {
    /// What the others are, and how it was made.
    Head,
    /// The module that it runs.
    Module,
    /// A piece of a part.
    Chunk {
        /// The part.
        part: u64,
        /// Which piece.
        chunk: u32,
    },
}

/// Rows to be written, or removed where there is no value.
pub type Rows = Vec<(Bytes, Option<Bytes>)>;

/// Makes rows when the version that a commit gives the state is known.
pub(crate) type RowsOfCommit = Box<dyn FnOnce(u64) -> Rows + Send>;

const HEAD: u8 = 0;
const MODULE: u8 = 1;
const CHUNK: u8 = 2;

impl MachineId {
    fn prefix(self) -> Vec<u8> {
        let mut key = vec![MACHINE];
        key.extend(self.0.to_be_bytes());
        key
    }

    /// The key of a row.
    pub fn key(self, row: MachineRow) -> Bytes {
        let mut key = self.prefix();
        match row {
            MachineRow::Head => key.push(HEAD),
            MachineRow::Module => key.push(MODULE),
            MachineRow::Chunk { part, chunk } => {
                key.push(CHUNK);
                key.extend(part.to_be_bytes());
                key.extend(chunk.to_be_bytes());
            }
        }
        key.into()
    }

    /// The machine and row that a key is of.
    pub fn of_key(key: &[u8]) -> Option<(MachineId, MachineRow)> {
        let rest = key.strip_prefix(&[MACHINE])?;
        let (id, rest) = rest.split_first_chunk()?;
        let row = match rest {
            [HEAD] => MachineRow::Head,
            [MODULE] => MachineRow::Module,
            [CHUNK, rest @ ..] => {
                let (part, chunk) = rest.split_first_chunk()?;
                MachineRow::Chunk {
                    part: u64::from_be_bytes(*part),
                    chunk: u32::from_be_bytes(chunk.try_into().ok()?),
                }
            }
            _ => return None,
        };
        Some((MachineId(u64::from_be_bytes(*id)), row))
    }
}

impl std::fmt::Display for MachineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Database {
    /// The machines that are there, by number, with their heads.
    ///
    /// # Errors
    /// The store's.
    pub fn machines(&self) -> Result<Vec<(MachineId, Bytes)>, DbError> {
        let snapshot = self.shared.store.snapshot()?;
        let mut machines = Vec::new();
        let mut from = vec![MACHINE];
        loop {
            let end = prefix_end(&[MACHINE]);
            let (first, last) = (Bound::Included(&from[..]), end.as_ref().map(|key| &key[..]));
            let Some(row) = snapshot.range(first, last, Direction::Forward)?.next() else { break };
            let (key, value) = row?;
            let Some((id, row)) = MachineId::of_key(&key) else { return Err(bad_key(&key)) };
            if row != MachineRow::Head {
                return Err(bad_key(&key));
            }
            machines.push((id, value));
            let Some(next) = id.0.checked_add(1) else { break };
            from = MachineId(next).prefix();
        }
        Ok(machines)
    }

    /// A row of a machine.
    ///
    /// # Errors
    /// The store's.
    pub fn machine_row(&self, id: MachineId, row: MachineRow) -> Result<Option<Bytes>, DbError> {
        Ok(self.shared.store.snapshot()?.get(&id.key(row))?)
    }

    /// A number that no machine has.
    ///
    /// # Errors
    /// The store's.
    pub fn new_machine(&self) -> Result<MachineId, DbError> {
        let last = self.machines()?.last().map_or(0, |(id, _)| id.0);
        // Numbers that were given and not written yet count too.
        let given = &self.shared.last_machine;
        let next = given.load(Ordering::Relaxed).max(last).checked_add(1);
        let next = next.ok_or(DbError::Exhausted { what: "machines" })?;
        given.fetch_max(next, Ordering::Relaxed);
        Ok(MachineId(next))
    }

    /// Writes rows of a machine in one durable batch.
    ///
    /// # Errors
    /// The store's; nothing is changed then.
    pub fn write_machine(&self, rows: Rows) -> Result<(), DbError> {
        debug_assert!(rows.iter().all(|(key, _)| MachineId::of_key(key).is_some()));
        Ok(self.shared.store.apply(&Batch::from(rows), Durability::Sync)?)
    }

    /// The rows of a machine that are there.
    ///
    /// # Errors
    /// The store's.
    pub fn machine_rows(&self, id: MachineId) -> Result<Vec<MachineRow>, DbError> {
        let snapshot = self.shared.store.snapshot()?;
        let prefix = id.prefix();
        let end = prefix_end(&prefix);
        let (first, last) = (Bound::Included(&prefix[..]), end.as_ref().map(|key| &key[..]));
        let mut rows = Vec::new();
        for row in snapshot.range(first, last, Direction::Forward)? {
            let (key, _) = row?;
            let (_, row) = MachineId::of_key(&key).ok_or_else(|| bad_key(&key))?;
            rows.push(row);
        }
        Ok(rows)
    }

    /// Removes a machine.
    ///
    /// # Errors
    /// The store's.
    pub fn remove_machine(&self, id: MachineId) -> Result<(), DbError> {
        let rows = self.machine_rows(id)?;
        if rows.is_empty() {
            return Ok(());
        }
        self.write_machine(rows.into_iter().map(|row| (id.key(row), None)).collect())
    }
}

impl Tx {
    /// Writes rows of a machine in the batch of the commit, if there is one. `rows` is told the version that the commit
    /// gives the state.
    pub fn write_with_commit(&mut self, rows: impl FnOnce(u64) -> Rows + Send + 'static) {
        self.with_commit = Some(Box::new(rows));
    }
}

fn bad_key(key: &[u8]) -> DbError {
    crate::keys::corrupt(key, "is a machine's and has a key that no machine has")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dotdb_memory::MemoryStore;

    use super::*;
    use crate::{Durability as Commits, Mode};

    #[test]
    fn rows_are_found_by_machine() {
        let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
        assert_eq!(database.machines().unwrap(), []);
        let (first, second) = (database.new_machine().unwrap(), database.new_machine().unwrap());
        assert!(first < second);
        let chunk = MachineRow::Chunk { part: 7, chunk: 1 };
        for (id, text) in [(second, "b"), (first, "a")] {
            let rows = [MachineRow::Head, MachineRow::Module, chunk];
            let value = |row: &MachineRow| (id.key(*row), Some(Bytes::from(format!("{text} {row:?}"))));
            database.write_machine(rows.iter().map(value).collect()).unwrap();
        }
        let heads: Vec<_> = database.machines().unwrap();
        assert_eq!(heads, [(first, Bytes::from("a Head")), (second, Bytes::from("b Head"))]);
        assert_eq!(database.machine_row(second, chunk).unwrap().unwrap(), format!("b {chunk:?}"));
        assert_eq!(database.machine_rows(first).unwrap(), [MachineRow::Head, MachineRow::Module, chunk]);
        database.remove_machine(first).unwrap();
        assert_eq!(database.machines().unwrap().len(), 1);
        assert_eq!(database.version(), 0);
    }

    #[test]
    fn rows_are_written_with_a_commit_and_only_then() {
        let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
        let id = database.new_machine().unwrap();
        for is_written in [false, true] {
            let mut tx = database.begin(Mode::ReadWrite).unwrap();
            if is_written {
                tx.contract_id("c").unwrap();
            }
            tx.write_with_commit(move |version| {
                vec![(id.key(MachineRow::Head), Some(version.to_string().into()))]
            });
            tx.commit(Commits::Sync).unwrap();
            let expected = is_written.then(|| (id, Bytes::from("1")));
            assert_eq!(database.machines().unwrap(), Vec::from_iter(expected));
        }
    }
}
