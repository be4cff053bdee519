//! How a machine lies in rows: parts, cut into pieces of 64 KiB, and a head that names them all.
//!
//! The head has the hash of every piece. So a checkpoint writes only the pieces whose hash is another than at the one
//! before, and a machine that is read is what was written or is refused. `docs/checkpoints.md` has the format byte by
//! byte.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use dotdb::{CodeHash, Database, MachineId, MachineRow, Rows};
use dotvm_codec::{Damage, Reader, Writer};

use crate::error::RuntimeError;

/// Format of what is written, and the only one read.
pub const CHECKPOINT_FORMAT: u32 = 2;
/// Bytes of a piece: a page of linear memory.
pub(crate) const CHUNK: usize = 1 << 16;

const MAGIC: &[u8; 8] = b"DOTVMCPT";
/// The hash of a piece of zeros, which has no row.
const ZEROS: Hash = [0; 32];

/// A piece of zeros.
static NOTHING: [u8; CHUNK] = [0; CHUNK];

type Hash = [u8; 32];

/// The parts of a machine.
pub(crate) mod part {
    /// What the run began with.
    pub const START: u64 = 0;
    /// The host and everything of the instances that is not below.
    pub const CONTROL: u64 = 1;
    /// The pending transaction.
    pub const TRANSACTION: u64 = 2;
    /// Events recorded so far.
    pub const EVENTS: u64 = 3;
    /// What the outside was and has answered.
    pub const OUTSIDE: u64 = 4;
    /// How the run ended.
    pub const RESULT: u64 = 5;
    /// The managed heap of an instance; those of contracts that were called follow.
    pub const fn heap(instance: usize) -> u64 {
        8 + 2 * instance as u64
    }
    /// The linear memory of a process of an instance.
    pub const fn memory(instance: usize, process: u32) -> u64 {
        (process as u64) << 32 | (9 + 2 * instance as u64)
    }
}

/// What becomes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineStatus {
    /// It was written down as it was to begin.
    Started,
    /// It was written down in the middle of its run.
    Running,
    /// It has run out of gas, and goes on when it is given more.
    OutOfGas,
    /// Its run is over; the result is kept.
    Ended,
}

impl MachineStatus {
    const ALL: [MachineStatus; 4] =
        [MachineStatus::Started, MachineStatus::Running, MachineStatus::OutOfGas, MachineStatus::Ended];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            MachineStatus::Started => "started",
            MachineStatus::Running => "running",
            MachineStatus::OutOfGas => "out of gas",
            MachineStatus::Ended => "ended",
        }
    }
}

/// What is known of a machine without reading it whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineHead {
    /// What becomes of it.
    pub status: MachineStatus,
    /// Gas between two checkpoints.
    pub every: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// The contract's name.
    pub contract: String,
    /// The module's name.
    pub module: String,
    /// The hash of the module's file.
    pub hash: CodeHash,
    /// Width of its words in bits.
    pub bits: u32,
    /// How the program is lowered and priced: [`dotvm_engine::Program::fingerprint`].
    pub fingerprint: [u8; 32],
    /// Gas that the run was given.
    pub gas_limit: u64,
    /// Gas that the first instance has left.
    pub gas_left: u64,
    /// The version of the state that the run's last commit has made, or that it began at.
    pub version: u64,
    pub(crate) table: Table,
}

/// The parts of a machine with the hashes of their pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    parts: BTreeMap<u64, PartTable>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PartTable {
    len: u64,
    chunks: Vec<Hash>,
}

impl PartTable {
    /// Bytes of a piece.
    fn chunk_len(&self, index: usize) -> u64 {
        self.len.saturating_sub(index as u64 * CHUNK as u64).min(CHUNK as u64)
    }
}

/// A part as it is to be written.
pub(crate) struct Part<'a> {
    /// Which.
    pub(crate) number: u64,
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The pieces that may be others than they were, and those whose length is another; `None` if all may be.
    pub(crate) changed: Option<BTreeSet<u32>>,
}

impl<'a> Part<'a> {
    /// A part of which any piece may be another.
    pub(crate) fn of(number: u64, bytes: impl Into<Cow<'a, [u8]>>) -> Part<'a> {
        Part { number, bytes: bytes.into(), changed: None }
    }
}

impl MachineHead {
    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.table.parts.values().map(|part| part.len).sum()
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Bytes {
        let mut to = Writer::new();
        to.raw(MAGIC);
        to.number(CHECKPOINT_FORMAT);
        to.byte(self.status as u8);
        to.number(self.every);
        to.number(self.checkpoints);
        to.bytes(self.contract.as_bytes());
        to.bytes(self.module.as_bytes());
        to.raw(&self.hash);
        to.number(self.bits);
        to.raw(&self.fingerprint);
        to.number(self.gas_limit);
        to.number(self.gas_left);
        to.number(self.version);
        to.count(self.table.parts.len());
        for (&part, table) in &self.table.parts {
            to.number(part);
            to.number(table.len);
            table.chunks.iter().for_each(|hash| to.raw(hash));
        }
        let hash = blake3::hash(to.as_bytes());
        to.raw(hash.as_bytes());
        to.into_bytes().into()
    }

    /// Reads a head.
    ///
    /// # Errors
    /// A sentence's end: what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<MachineHead, String> {
        let Some((contents, hash)) = bytes.split_last_chunk::<32>() else {
            return Err("its head is cut short".to_owned());
        };
        if !contents.starts_with(MAGIC) {
            return Err("its head is none".to_owned());
        }
        let mut from = Reader::new(&contents[MAGIC.len()..]);
        let format = from.number().map_err(|damage| damage.to_string())?;
        if format != u64::from(CHECKPOINT_FORMAT) {
            return Err(format!("it has format {format} and this program reads format {CHECKPOINT_FORMAT}"));
        }
        if blake3::hash(contents).as_bytes() != hash {
            return Err("its head is damaged: its checksum is another".to_owned());
        }
        MachineHead::read(&mut from).map_err(|damage| format!("its head is damaged: {damage}"))
    }

    fn read(from: &mut Reader<'_>) -> Result<MachineHead, Damage> {
        let Some(&status) = MachineStatus::ALL.get(from.byte()? as usize) else {
            return from.damage("there is no such status");
        };
        let mut head = MachineHead {
            status,
            every: from.number()?,
            checkpoints: from.number()?,
            contract: from.text()?.to_owned(),
            module: from.text()?.to_owned(),
            hash: from.array()?,
            bits: from.small()?,
            fingerprint: from.array()?,
            gas_limit: from.number()?,
            gas_left: from.number()?,
            version: from.number()?,
            table: Table::default(),
        };
        for _ in 0..from.count(2)? {
            let part = from.number()?;
            let len = from.number()?;
            let chunks = len.div_ceil(CHUNK as u64);
            from.require(chunks <= from.rest() as u64 / 32, "a part is longer than its pieces")?;
            let chunks = (0..chunks).map(|_| from.array()).collect::<Result<_, _>>()?;
            let is_next = head.table.parts.last_key_value().is_none_or(|(&last, _)| last < part);
            from.require(is_next, "parts are out of order")?;
            head.table.parts.insert(part, PartTable { len, chunks });
        }
        from.end()?;
        Ok(head)
    }
}

impl Table {
    /// The parts as they are to be written where those of `self` are: the new table, and the rows that change.
    pub(crate) fn replaced_by(&self, id: MachineId, parts: &[Part<'_>]) -> (Table, Rows) {
        let mut table = Table::default();
        let mut rows = Rows::new();
        for Part { number, bytes, changed } in parts {
            let none = PartTable::default();
            let old = self.parts.get(number).unwrap_or(&none);
            let mut chunks = Vec::with_capacity(bytes.len().div_ceil(CHUNK));
            for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
                let known = old.chunks.get(index);
                let may_differ = changed.as_ref().is_none_or(|changed| changed.contains(&(index as u32)));
                if let Some(&hash) = known
                    && !may_differ
                    && old.chunk_len(index) == chunk.len() as u64
                {
                    chunks.push(hash);
                    continue;
                }
                let hash = hash_of(chunk);
                if known != Some(&hash) {
                    let key = id.key(MachineRow::Chunk { part: *number, chunk: index as u32 });
                    rows.push((key, (hash != ZEROS).then(|| Bytes::copy_from_slice(chunk))));
                }
                chunks.push(hash);
            }
            for index in chunks.len()..old.chunks.len() {
                rows.push((id.key(MachineRow::Chunk { part: *number, chunk: index as u32 }), None));
            }
            table.parts.insert(*number, PartTable { len: bytes.len() as u64, chunks });
        }
        for (&part, old) in self.parts.iter().filter(|(part, _)| !table.parts.contains_key(part)) {
            for index in 0..old.chunks.len() {
                rows.push((id.key(MachineRow::Chunk { part, chunk: index as u32 }), None));
            }
        }
        (table, rows)
    }

    /// Length of a part, if the machine has it.
    pub(crate) fn len(&self, part: u64) -> Option<u64> {
        self.parts.get(&part).map(|part| part.len)
    }

    /// Reads a range of a part, and of its pieces only those that the range lies in.
    pub(crate) fn read(
        &self,
        database: &Database,
        id: MachineId,
        part: u64,
        range: Range<u64>,
    ) -> Result<Vec<u8>, RuntimeError> {
        let damaged = |problem: &str| RuntimeError::Machine { id: id.0, problem: problem.to_owned() };
        let Some(table) = self.parts.get(&part) else { return Err(damaged("it lacks a part")) };
        if range.start > range.end || range.end > table.len {
            return Err(damaged("a part is shorter than what is to be read of it"));
        }
        let mut bytes = Vec::new();
        let wanted = (range.end - range.start) as usize;
        bytes.try_reserve_exact(wanted).map_err(|_| damaged("there is no memory for it"))?;
        let first = range.start / CHUNK as u64;
        for index in first..range.end.div_ceil(CHUNK as u64) {
            let start = index * CHUNK as u64;
            let len = (table.len - start).min(CHUNK as u64);
            let row = MachineRow::Chunk { part, chunk: index as u32 };
            let hash = table.chunks[index as usize];
            let chunk = match database.machine_row(id, row)? {
                Some(chunk) if hash_of(&chunk) == hash && chunk.len() as u64 == len => chunk,
                None if hash == ZEROS => vec![0; len as usize].into(),
                _ => return Err(damaged("a piece of it is missing or damaged")),
            };
            let from = range.start.saturating_sub(start).min(len) as usize;
            let to = (range.end - start).min(len) as usize;
            bytes.extend_from_slice(&chunk[from..to]);
        }
        Ok(bytes)
    }

    /// Reads a part.
    pub(crate) fn read_all(
        &self,
        database: &Database,
        id: MachineId,
        part: u64,
    ) -> Result<Vec<u8>, RuntimeError> {
        self.read(database, id, part, 0..self.len(part).unwrap_or(0))
    }
}

fn hash_of(chunk: &[u8]) -> Hash {
    if *chunk == NOTHING[..chunk.len().min(CHUNK)] { ZEROS } else { *blake3::hash(chunk).as_bytes() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dotdb_memory::MemoryStore;

    use super::*;

    fn head(table: Table) -> MachineHead {
        MachineHead {
            status: MachineStatus::Running,
            every: 1000,
            checkpoints: 3,
            contract: "c".to_owned(),
            module: "m".to_owned(),
            hash: [1; 32],
            bits: 64,
            fingerprint: [2; 32],
            gas_limit: 10_000,
            gas_left: 9_000,
            version: 4,
            table,
        }
    }

    #[test]
    fn only_pieces_that_changed_are_written() {
        let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
        let id = MachineId(1);
        let mut memory = vec![0; 5 * CHUNK + 100];
        memory[2 * CHUNK] = 1;
        let (table, rows) = Table::default().replaced_by(id, &[Part::of(9, &memory)]);
        assert_eq!(rows.iter().filter(|(_, value)| value.is_some()).count(), 1);
        database.write_machine(rows).unwrap();
        memory[5 * CHUNK + 99] = 7;
        memory[2 * CHUNK] = 0;
        let (table, rows) = table.replaced_by(id, &[Part::of(9, &memory), Part::of(1, &b"x"[..])]);
        assert_eq!(rows.len(), 3);
        database.write_machine(rows).unwrap();
        assert!(table.read_all(&database, id, 9).unwrap() == memory);
        let range = 5 * CHUNK as u64 - 3..5 * CHUNK as u64 + 100;
        let expected = &memory[range.start as usize..range.end as usize];
        assert_eq!(table.read(&database, id, 9, range).unwrap(), expected);
        let (table, rows) = table.replaced_by(id, &[Part::of(1, &b"x"[..])]);
        database.write_machine(rows).unwrap();
        assert_eq!(table.read_all(&database, id, 1).unwrap(), &b"x"[..]);
        assert_eq!(database.machine_rows(id).unwrap(), [MachineRow::Chunk { part: 1, chunk: 0 }]);
        let key = id.key(MachineRow::Chunk { part: 1, chunk: 0 });
        database.write_machine(vec![(key, Some(Bytes::from_static(b"y")))]).unwrap();
        let error = table.read_all(&database, id, 1).unwrap_err().to_string();
        assert_eq!(error, "machine 1 cannot go on: a piece of it is missing or damaged");
    }

    #[test]
    fn a_head_is_read_as_it_was_written_or_refused() {
        let parts = [Part::of(1, &b"abc"[..]), Part::of(9, vec![3; 2 * CHUNK])];
        let (table, _) = Table::default().replaced_by(MachineId(1), &parts);
        let head = head(table);
        let bytes = head.to_bytes();
        assert_eq!(MachineHead::from_bytes(&bytes), Ok(head));
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1;
            assert!(MachineHead::from_bytes(&bad).is_err(), "byte {at}");
            assert!(MachineHead::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
