//! The log: where small durable batches go first.
//!
//! A durable commit of redb writes every page that changed and every page above it: for a transaction of two records
//! a dozen pages, and most of its time. With the log such a batch is one record appended to the file `PATH.redo` and
//! one flush; redb gets it without being durable, and writes its pages once for thousands of batches, when the log is
//! full or a batch is too large for it.
//!
//! Which log belongs to which state is told by a *salt*, a random number in redb's own table. Every transaction of
//! redb that the log does not hold sets a new one. So redb's last durable state and the records whose checksums are
//! made with its salt are together the state: opening repeats those records, which is right also if redb has
//! some of them already, because they say what keys hold and not how they change. A record of another salt, or
//! behind one that is not whole, is nothing.
//!
//! A record: magic u32, bytes of its writes u32, checksum u64 (XXH3 of what follows, seeded with the salt), number u64
//! (from 1 on without a gap), number of the last record known to be durable when it was written u64, the writes,
//! zeros up to a multiple of 8. A write: bytes of the key u32, bytes of the value u32 ([`DELETE`] removes), key,
//! value. All integers are little-endian.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use dotdb_store::{Batch, StoreError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{error, file};

/// Bytes of records after which redb is made durable and the log begun anew: what an opening after a crash repeats,
/// and what bounds how long one commit in thousands takes.
const MAX_LOG_BYTES: u64 = 4 << 20;
/// The longest record is this part of that; a larger batch goes to redb.
const LONGEST_RECORD: u64 = 16;
/// Durable batches of an opening before the log is begun: who commits once or twice is faster without.
const FIRST_BATCHES: u32 = 8;
/// Length that the file has at first; it is doubled when it does not do.
const FIRST_FILE_BYTES: u64 = 64 << 10;

const MAGIC: u32 = u32::from_le_bytes(*b"dRDO");
const HEADER_BYTES: usize = 32;
const ALIGNMENT: usize = 8;
/// In place of a value's length: the key is removed.
const DELETE: u32 = u32::MAX;

/// Where the log is kept.
pub trait LogFile: Send {
    /// All bytes, none if there is no file.
    fn read(&mut self) -> io::Result<Vec<u8>>;
    /// Writes at an offset, in a file that is made if there is none.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable, the file's name included.
    fn sync(&mut self) -> io::Result<()>;
    /// Removes the file.
    fn remove(&mut self) -> io::Result<()>;
    /// Bytes of records after which redb is made durable and the log begun anew.
    fn max_bytes(&self) -> u64 {
        MAX_LOG_BYTES
    }
}

/// The file `PATH.redo` beside a store.
pub(crate) struct BesideStore {
    path: PathBuf,
    file: Option<File>,
    /// Whether the directory does not know the file for sure.
    is_new: bool,
}

impl BesideStore {
    pub(crate) fn new(store: &Path) -> BesideStore {
        let mut path = store.as_os_str().to_owned();
        path.push(".redo");
        BesideStore { path: path.into(), file: None, is_new: false }
    }
}

impl LogFile for BesideStore {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map(|_| bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = File::options().write(true).create(true).truncate(false).open(&self.path)?;
                self.is_new = true;
                self.file.insert(file)
            }
        };
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data()?;
        if self.is_new {
            file::sync_directory(&self.path)?;
            self.is_new = false;
        }
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        self.file = None;
        fs::remove_file(&self.path)
    }
}

/// The log of a store that is open for writing.
pub(crate) struct Log {
    file: Box<dyn LogFile>,
    /// That of the records, `None` before the log is begun.
    salt: Option<u64>,
    /// Durable batches yet to come before it is.
    first_batches: u32,
    /// Where the next record goes.
    end: u64,
    /// Length of the file, as far as known.
    file_bytes: u64,
    is_used: bool,
    /// Number of the last record.
    last: u64,
    /// Number of the last record known to be durable.
    synced: u64,
    /// redb holds a batch that neither the log holds nor redb has made durable.
    behind: bool,
    /// A call failed so that it is not known what is on disk.
    failed: bool,
}

/// How a batch is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a transaction of redb alone, which sets this salt if there is one.
    Direct(Option<u64>),
    /// In a record, and in a transaction of redb that is not durable.
    Logged,
}

impl Log {
    /// A log that is begun after some batches, or with the first one.
    pub(crate) fn new(file: Box<dyn LogFile>, at_once: bool) -> Log {
        Log {
            file,
            salt: None,
            first_batches: if at_once { 0 } else { FIRST_BATCHES },
            end: 0,
            file_bytes: 0,
            is_used: false,
            last: 0,
            synced: 0,
            behind: false,
            failed: false,
        }
    }

    /// Whether there may be records that redb has not made durable.
    pub(crate) fn is_begun(&self) -> bool {
        self.salt.is_some()
    }

    /// # Errors
    /// [`StoreError::Io`] after a failure that left the store in doubt.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.failed {
            false => Ok(()),
            true => Err(StoreError::Io {
                context: "access to the store's log".into(),
                source: io::Error::other("an earlier access failed, so the store must be opened anew"),
            }),
        }
    }

    /// Nothing is known any more of what is on disk: no more writes.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    /// How a batch is to be applied; `None` is no batch but all that was applied before.
    pub(crate) fn way(&mut self, batch: Option<&Batch>, durable: bool) -> Way {
        let Some(_) = self.salt else {
            // A file that is not ours is left alone.
            let begins = durable && batch.is_some() && self.first_batches == 0 && self.is_ours();
            self.first_batches = self.first_batches.saturating_sub(u32::from(durable));
            return Way::Direct(begins.then(new_salt));
        };
        let most = self.file.max_bytes();
        let fits = |batch: &Batch| {
            let bytes = record_bytes(batch) as u64;
            bytes <= most / LONGEST_RECORD && self.end + bytes <= most
        };
        if self.behind || !batch.is_none_or(fits) { Way::Direct(Some(new_salt())) } else { Way::Logged }
    }

    fn is_ours(&mut self) -> bool {
        let is_record = |bytes: &Vec<u8>| bytes.is_empty() || bytes.starts_with(&MAGIC.to_le_bytes());
        self.file.read().is_ok_and(|bytes| {
            self.file_bytes = bytes.len() as u64;
            is_record(&bytes)
        })
    }

    /// redb has committed what the log does not hold, and a new salt with it.
    pub(crate) fn committed_directly(&mut self, salt: Option<u64>, durable: bool) {
        match durable {
            true => {
                self.salt = salt;
                (self.end, self.last, self.synced, self.behind) = (0, 0, 0, false);
            }
            // Until it is durable, the state that a crash leaves has the old salt, and needs the old records.
            false => self.behind |= self.salt.is_some(),
        }
    }

    /// Appends a batch; if asked to, makes it and all before it durable.
    pub(crate) fn append(&mut self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        let Some(salt) = self.salt else { return Ok(()) };
        let mut record = encode(batch, salt, self.last + 1, self.synced);
        let bytes = record.len() as u64;
        let end = self.end + bytes;
        self.is_used = true;
        if end > self.file_bytes {
            // The file grows in few steps: a flush that finds its length changed costs twice as much.
            let length = end.max(self.file_bytes * 2).max(FIRST_FILE_BYTES);
            record.resize((length - self.end) as usize, 0);
            self.write(self.end, &record)?;
            self.file_bytes = length;
        } else {
            self.write(self.end, &record)?;
        }
        self.end = end;
        self.last += 1;
        if durable { self.sync() } else { Ok(()) }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write(offset, bytes).map_err(io_error)
    }

    /// Makes all records durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        if self.synced == self.last {
            return Ok(());
        }
        if let Err(source) = self.file.sync() {
            self.failed = true;
            return Err(io_error(source));
        }
        self.synced = self.last;
        Ok(())
    }

    /// The records that follow a durable state with this salt.
    pub(crate) fn records(&mut self, salt: u64) -> Result<Records, StoreError> {
        let bytes = self.file.read().map_err(io_error)?;
        self.file_bytes = bytes.len() as u64;
        Records::find(bytes, salt)
    }

    /// Whether the file is ours.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used
    }

    /// Removes the file, which nobody needs any more.
    pub(crate) fn remove(&mut self) {
        (self.file_bytes, self.is_used) = (0, false);
        // One that stays does no harm: no state has its salt.
        self.file.remove().ok();
    }
}

fn io_error(source: io::Error) -> StoreError {
    error::storage(source.into())
}

fn new_salt() -> u64 {
    // Keyed by the system's randomness, and with another number at each call.
    RandomState::new().hash_one(std::process::id())
}

fn record_bytes(batch: &Batch) -> usize {
    let writes = batch.iter().map(|(key, value)| 8 + key.len() + value.map_or(0, |value| value.len()));
    (HEADER_BYTES + writes.sum::<usize>()).next_multiple_of(ALIGNMENT)
}

/// A record of a batch that is short enough for one.
fn encode(batch: &Batch, salt: u64, number: u64, synced: u64) -> Vec<u8> {
    let mut record = Vec::with_capacity(record_bytes(batch));
    record.extend([0; 16]);
    record.extend(number.to_le_bytes());
    record.extend(synced.to_le_bytes());
    for (key, value) in batch.iter() {
        // Both are shorter than a record.
        record.extend((key.len() as u32).to_le_bytes());
        record.extend(value.map_or(DELETE, |value| value.len() as u32).to_le_bytes());
        record.extend_from_slice(key);
        record.extend_from_slice(value.map_or(&[][..], |value| value));
    }
    let sum = xxh3_64_with_seed(&record[16..], salt);
    let bytes = (record.len() - HEADER_BYTES) as u32;
    record[..4].copy_from_slice(&MAGIC.to_le_bytes());
    record[4..8].copy_from_slice(&bytes.to_le_bytes());
    record[8..16].copy_from_slice(&sum.to_le_bytes());
    record.resize(record.len().next_multiple_of(ALIGNMENT), 0);
    record
}

/// What a log holds.
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// Where the writes of each record are.
    places: Vec<std::ops::Range<usize>>,
}

/// A record that is whole.
struct Found {
    number: u64,
    synced: u64,
    writes: std::ops::Range<usize>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn record_at(bytes: &[u8], at: usize, salt: u64) -> Option<Found> {
    if u32_at(bytes, at)? != MAGIC {
        return None;
    }
    let end = at + HEADER_BYTES + usize::try_from(u32_at(bytes, at + 4)?).ok()?;
    let summed = bytes.get(at + 16..end)?;
    let found = Found {
        number: u64_at(bytes, at + 16)?,
        synced: u64_at(bytes, at + 24)?,
        writes: at + HEADER_BYTES..end,
    };
    (xxh3_64_with_seed(summed, salt) == u64_at(bytes, at + 8)?).then_some(found)
}

impl Records {
    /// # Errors
    /// [`StoreError::Corrupt`] if a record is damaged of which a later one says that it was durable.
    fn find(bytes: Vec<u8>, salt: u64) -> Result<Records, StoreError> {
        let (mut places, mut at) = (Vec::new(), 0);
        while let Some(found) = record_at(&bytes, at, salt) {
            if found.number != places.len() as u64 + 1 {
                break;
            }
            at = found.writes.end.next_multiple_of(ALIGNMENT);
            places.push(found.writes);
        }
        let missing = places.len() as u64 + 1;
        let later = (at..bytes.len()).step_by(ALIGNMENT).filter_map(|at| record_at(&bytes, at, salt));
        for found in later {
            if found.synced >= missing {
                let detail = format!(
                    "record {missing} of its log, {at} bytes from the start, does not match its checksum"
                );
                return Err(StoreError::Corrupt { detail });
            }
        }
        Ok(Records { bytes, places })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Their writes from the first on: key and value, `None` for one that removes.
    pub(crate) fn writes(&self) -> impl Iterator<Item = Result<(&[u8], Option<&[u8]>), StoreError>> {
        self.places.iter().flat_map(|place| {
            let mut rest = &self.bytes[place.clone()];
            std::iter::from_fn(move || {
                if rest.is_empty() {
                    return None;
                }
                let write = take_write(&mut rest);
                if write.is_none() {
                    rest = &[];
                }
                let bad = || StoreError::Corrupt { detail: "a record of its log cannot be read".into() };
                Some(write.ok_or_else(bad))
            })
        })
    }
}

fn take_write<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let (key_bytes, value_bytes) = (u32_at(rest, 0)?, u32_at(rest, 4)?);
    let (key, after) = rest.get(8..)?.split_at_checked(key_bytes as usize)?;
    let (value, after) = match value_bytes {
        DELETE => (None, after),
        bytes => {
            let (value, after) = after.split_at_checked(bytes as usize)?;
            (Some(value), after)
        }
    };
    *rest = after;
    Some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seed: u8) -> Batch {
        let mut batch = Batch::new();
        batch
            .put(vec![seed; 3], vec![seed; usize::from(seed) * 7])
            .delete(vec![seed, 1])
            .put("", "")
            .put("z", "z");
        batch
    }

    fn log(salt: u64, durable: [bool; 4]) -> Vec<u8> {
        let mut synced = 0;
        let mut bytes = Vec::new();
        for (i, durable) in durable.into_iter().enumerate() {
            bytes.extend(encode(&batch(i as u8), salt, i as u64 + 1, synced));
            if durable {
                synced = i as u64 + 1;
            }
        }
        bytes
    }

    fn count(bytes: &[u8], salt: u64) -> Option<usize> {
        Records::find(bytes.to_vec(), salt).ok().map(|records| records.places.len())
    }

    #[test]
    fn records_round_trip() {
        let mut bytes = log(7, [true; 4]);
        assert_eq!(encode(&batch(3), 7, 4, 3).len(), record_bytes(&batch(3)));
        bytes.resize(bytes.len() + 1000, 0);
        let records = Records::find(bytes.clone(), 7).unwrap();
        let writes: Vec<_> = records.writes().map(Result::unwrap).collect();
        let batches: Vec<Batch> = (0..4).map(batch).collect();
        let expected: Vec<_> = batches
            .iter()
            .flat_map(|batch| batch.iter().map(|(key, value)| (&key[..], value.map(|value| &value[..]))))
            .collect();
        assert_eq!(writes, expected);
        assert_eq!(count(&bytes, 8), Some(0), "another salt's records are none");
    }

    /// A record that is not whole ends the log, unless one behind it tells that it was durable.
    #[test]
    fn torn_and_damaged_records() {
        for (durable, outcome) in
            [([true; 4], None), ([false; 4], Some(1)), ([true, false, true, true], None)]
        {
            let bytes = log(7, durable);
            let first = encode(&batch(0), 7, 1, 0).len();
            for at in [first, first + 4, first + 8, first + 16, first + 24, first + HEADER_BYTES] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 4;
                assert_eq!(count(&damaged, 7), outcome, "{durable:?} {at}");
            }
            let whole = encode(&batch(3), 7, 4, 0).len();
            let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
            assert!(zeros < ALIGNMENT, "the last value ends in no zero");
            for cut in zeros + 1..=whole {
                assert_eq!(count(&bytes[..bytes.len() - cut], 7), Some(3), "{durable:?} {cut}");
            }
        }
    }

    /// What an earlier log left behind a shorter one is not taken for its own.
    #[test]
    fn records_of_before_are_not_taken_up() {
        let mut bytes = log(7, [true; 4]);
        let new = encode(&batch(0), 9, 1, 0);
        bytes[..new.len()].copy_from_slice(&new);
        assert_eq!(count(&bytes, 9), Some(1));
    }
}
