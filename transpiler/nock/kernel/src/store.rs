//! How a kernel lies in a database.
//!
//! A kernel is a contract with two collections. `kernel` holds one document, `head`. `nouns` holds two jams in pieces of
//! [`PIECE_BYTES`]: `state`, the noun at axis 6, and `code`, the pair of those at axes 2 and 7, which events seldom change.
//! The head has length, hash and mug of both, so a proof of this one record says which nouns the state of the database
//! holds; each piece can be proven too.

use bytes::Bytes;
use dotdb::{ContractId, Database, Durability, Mode, Tx, ValueKind, document};
use dotvm_core::value::Ref;
use dotvm_nock_machine::{Bounds, cue, jam, mug};
use serde::{Deserialize, Serialize};

use crate::{Error, Kernel, Poked};

/// The collection of the head.
pub const HEADS: &str = "kernel";
/// The key of the head.
pub const HEAD: &str = "head";
/// The collection of the pieces.
pub const NOUNS: &str = "nouns";
/// Bytes of a piece; the last one of a jam may be shorter.
pub const PIECE_BYTES: usize = 1 << 16;

/// The format that is written, and the only one read.
const FORMAT: u32 = 1;

/// How often an event is tried when other transactions were in its way.
const ATTEMPTS: u32 = 10;

/// What is known of a kernel without its nouns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How kernels are kept.
    format: u32,
    /// Events that it has taken.
    pub events: u64,
    /// BLAKE3 hash, in hexadecimal, of the file that it was installed or upgraded from last.
    pub source: String,
    /// Battery and context.
    pub code: Part,
    /// The state.
    pub state: Part,
}

/// A jam that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash, in hexadecimal.
    pub blake3: String,
    /// The mug of its noun.
    pub mug: u32,
}

/// The key of a piece: the jam's name, a dash and the number of the piece in eight digits, from 0 on.
pub fn piece_key(jam: &str, piece: usize) -> String {
    format!("{jam}-{piece:08}")
}

/// The hash of a jam in hexadecimal.
pub fn hash(jam: &[u8]) -> String {
    blake3::hash(jam).to_hex().to_string()
}

fn damaged(name: &str, problem: impl ToString) -> Error {
    Error::Damaged { name: name.to_owned(), problem: problem.to_string() }
}

/// The number of the contract that a kernel is.
fn find(tx: &mut Tx, name: &str) -> Result<Option<ContractId>, Error> {
    let Some((contract, _)) = tx.find_contract(name)? else { return Ok(None) };
    Ok(match tx.collection_kind(contract, HEADS)? {
        Some(ValueKind::Document) => Some(contract),
        _ => None,
    })
}

fn head_in(tx: &mut Tx, contract: ContractId, name: &str) -> Result<Option<Head>, Error> {
    let heads = tx.collection(contract, HEADS, ValueKind::Document)?;
    let Some(bytes) = tx.get(heads, HEAD.as_bytes())? else { return Ok(None) };
    let json = document::to_json(&bytes).map_err(|error| damaged(name, error))?;
    let head: Head = serde_json::from_str(&json).map_err(|error| damaged(name, error))?;
    if head.format != FORMAT {
        return Err(damaged(name, format!("it has format {}, and this program reads {FORMAT}", head.format)));
    }
    Ok(Some(head))
}

/// The head of a kernel.
///
/// # Errors
/// [`Error::Damaged`], [`Error::Db`].
pub fn head(tx: &mut Tx, name: &str) -> Result<Option<Head>, Error> {
    match find(tx, name)? {
        Some(contract) => head_in(tx, contract, name),
        None => Ok(None),
    }
}

/// The kernels by name.
///
/// # Errors
/// [`Error::Damaged`], [`Error::Db`].
pub fn list(tx: &mut Tx) -> Result<Vec<(String, Head)>, Error> {
    let mut found = Vec::new();
    for contract in tx.contracts()? {
        if let Some(head) = head(tx, &contract.name)? {
            found.push((contract.name, head));
        }
    }
    Ok(found)
}

fn read_part(
    tx: &mut Tx,
    contract: ContractId,
    name: &str,
    (what, part): (&str, &Part),
    max_memory: u64,
) -> Result<Ref, Error> {
    let bytes = read_jam(tx, contract, name, what, part)?;
    Ok(cue(&bytes, max_memory)?)
}

fn read_jam(tx: &mut Tx, contract: ContractId, name: &str, what: &str, part: &Part) -> Result<Bytes, Error> {
    let nouns = tx.collection(contract, NOUNS, ValueKind::Bytes)?;
    let mut bytes: Vec<u8> = Vec::new();
    for piece in 0..part.bytes.div_ceil(PIECE_BYTES as u64) as usize {
        let key = piece_key(what, piece);
        match tx.get(nouns, key.as_bytes())? {
            Some(value) => bytes.extend_from_slice(&value),
            None => return Err(damaged(name, format!("{key} is missing"))),
        }
    }
    if bytes.len() as u64 != part.bytes || hash(&bytes) != part.blake3 {
        return Err(damaged(name, format!("the pieces of its {what} are not what its head says")));
    }
    Ok(bytes.into())
}

fn lookup(tx: &mut Tx, name: &str) -> Result<(ContractId, Head), Error> {
    if let Some(contract) = find(tx, name)?
        && let Some(head) = head_in(tx, contract, name)?
    {
        return Ok((contract, head));
    }
    Err(Error::Unknown(name.to_owned()))
}

/// Reads a kernel.
///
/// # Errors
/// [`Error::Unknown`], [`Error::Damaged`], [`Error::Db`]; [`Error::Nock`] if it does not fit `max_memory` bytes.
pub fn read(tx: &mut Tx, name: &str, max_memory: u64) -> Result<(Kernel, Head), Error> {
    let (contract, head) = lookup(tx, name)?;
    let code = read_part(tx, contract, name, ("code", &head.code), max_memory)?;
    let state = read_part(tx, contract, name, ("state", &head.state), max_memory)?;
    match Kernel::assemble(&code, state) {
        Ok(kernel) => Ok((kernel, head)),
        Err(error) => Err(damaged(name, error)),
    }
}

/// Reads the jam of a kernel's state, which the head has the hash of.
///
/// # Errors
/// Those of [`read`].
pub fn read_state_jam(tx: &mut Tx, name: &str) -> Result<Bytes, Error> {
    let (contract, head) = lookup(tx, name)?;
    read_jam(tx, contract, name, "state", &head.state)
}

/// Writes a noun in pieces; those that are there already are left alone.
fn write_part(
    tx: &mut Tx,
    contract: ContractId,
    what: &str,
    noun: &Ref,
    before: Option<&Part>,
    max_memory: u64,
) -> Result<Part, Error> {
    let bytes = jam(noun, max_memory)?;
    let part = Part { bytes: bytes.len() as u64, blake3: hash(&bytes), mug: mug(noun, max_memory)? };
    if before == Some(&part) {
        return Ok(part);
    }
    let nouns = tx.collection(contract, NOUNS, ValueKind::Bytes)?;
    let mut pieces = 0;
    for start in (0..bytes.len()).step_by(PIECE_BYTES) {
        let piece = bytes.slice(start..bytes.len().min(start + PIECE_BYTES));
        let key = piece_key(what, pieces);
        if tx.get(nouns, key.as_bytes())?.as_ref() != Some(&piece) {
            tx.put(nouns, key.as_bytes(), piece)?;
        }
        pieces += 1;
    }
    for piece in pieces.. {
        if !tx.delete(nouns, piece_key(what, piece).as_bytes())? {
            break;
        }
    }
    Ok(part)
}

fn write(
    tx: &mut Tx,
    contract: ContractId,
    kernel: &Kernel,
    before: Option<&Head>,
    (events, source): (u64, &str),
    max_memory: u64,
) -> Result<Head, Error> {
    let (code, state) = (before.map(|head| &head.code), before.map(|head| &head.state));
    let head = Head {
        format: FORMAT,
        events,
        source: source.to_owned(),
        code: write_part(tx, contract, "code", &kernel.code(), code, max_memory)?,
        state: write_part(tx, contract, "state", &kernel.state(), state, max_memory)?,
    };
    let heads = tx.collection(contract, HEADS, ValueKind::Document)?;
    let json = serde_json::to_string(&head).unwrap_or_default();
    let document = document::from_json(&json).map_err(dotdb::DbError::from)?;
    tx.put(heads, HEAD.as_bytes(), document)?;
    Ok(head)
}

/// Tries a transaction until no other is in its way, and commits it durably.
fn commit<T>(database: &Database, mut work: impl FnMut(&mut Tx) -> Result<T, Error>) -> Result<T, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut tx = database.begin(Mode::ReadWrite)?;
        let answer = work(&mut tx)?;
        match tx.commit(Durability::Sync) {
            Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
            committed => {
                committed?;
                return Ok(answer);
            }
        }
    }
}

/// The contract for a kernel that is to be installed under a name without one.
fn place_of(tx: &mut Tx, name: &str) -> Result<ContractId, Error> {
    if let Some((contract, code)) = tx.find_contract(name)? {
        let kinds = [(HEADS, ValueKind::Document), (NOUNS, ValueKind::Bytes)];
        for (collection, kind) in kinds {
            if code.is_some() || tx.collection_kind(contract, collection)?.is_some_and(|found| found != kind)
            {
                return Err(Error::Taken(name.to_owned()));
            }
        }
        return Ok(contract);
    }
    Ok(tx.contract_id(name)?)
}

/// Installs a kernel under a name that no other has. `source` is the file that it was read from.
///
/// # Errors
/// [`Error::Exists`], [`Error::Taken`], [`Error::Db`].
pub fn boot(
    database: &Database,
    name: &str,
    kernel: &Kernel,
    source: &[u8],
    bounds: &Bounds,
) -> Result<Head, Error> {
    commit(database, |tx| {
        if head(tx, name)?.is_some() {
            return Err(Error::Exists(name.to_owned()));
        }
        let contract = place_of(tx, name)?;
        write(tx, contract, kernel, None, (0, &hash(source)), bounds.max_memory)
    })
}

/// Replaces a kernel's code: the new one's arm `load` is given the state of the one that is there.
///
/// # Errors
/// [`Error::Unknown`], those of [`Kernel::load`], [`Error::Db`].
pub fn upgrade(
    database: &Database,
    name: &str,
    kernel: &Kernel,
    source: &[u8],
    bounds: &Bounds,
) -> Result<Head, Error> {
    commit(database, |tx| {
        let (contract, before) = lookup(tx, name)?;
        let state = read_part(tx, contract, name, ("state", &before.state), bounds.max_memory)?;
        let loaded = kernel.load(state, bounds)?;
        let counted = (before.events, &hash(source)[..]);
        write(tx, contract, &loaded, Some(&before), counted, bounds.max_memory)
    })
}

/// A kernel and the file that it was read from, to be installed where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The file's bytes.
    pub file: &'a [u8],
}

/// Gives a kernel an event: afterwards the new kernel is kept durably, or nothing has changed. If there is no kernel
/// with this name and `source` is one, it is installed in the same transaction.
///
/// # Errors
/// [`Error::Unknown`], [`Error::Damaged`], those of [`Kernel::poke`], [`Error::Db`]; [`Error::Exists`] if the kernel was
/// installed from another file than `source`.
pub fn poke(
    database: &Database,
    name: &str,
    source: Option<Source<'_>>,
    event: &Ref,
    bounds: &Bounds,
) -> Result<(Poked, Head), Error> {
    commit(database, |tx| {
        if let Some(Source { kernel, file }) = source {
            match head(tx, name)? {
                Some(head) if head.source != hash(file) => return Err(Error::Exists(name.to_owned())),
                Some(_) => {}
                None => {
                    let contract = place_of(tx, name)?;
                    write(tx, contract, kernel, None, (0, &hash(file)), bounds.max_memory)?;
                }
            }
        }
        let (kernel, before) = read(tx, name, bounds.max_memory)?;
        let contract = lookup(tx, name)?.0;
        let poked = kernel.poke(event.clone(), bounds)?;
        let counted = (before.events + 1, &before.source[..]);
        let head = write(tx, contract, &poked.kernel, Some(&before), counted, bounds.max_memory)?;
        Ok((poked, head))
    })
}

/// Removes a kernel.
///
/// # Errors
/// [`Error::Unknown`], [`Error::Db`].
pub fn forget(database: &Database, name: &str) -> Result<(), Error> {
    commit(database, |tx| {
        let (contract, head) = lookup(tx, name)?;
        let nouns = tx.collection(contract, NOUNS, ValueKind::Bytes)?;
        for (what, part) in [("code", &head.code), ("state", &head.state)] {
            for piece in 0..part.bytes.div_ceil(PIECE_BYTES as u64) as usize {
                if !tx.delete(nouns, piece_key(what, piece).as_bytes())? {
                    break;
                }
            }
        }
        let heads = tx.collection(contract, HEADS, ValueKind::Document)?;
        tx.delete(heads, HEAD.as_bytes())?;
        Ok(())
    })
}
