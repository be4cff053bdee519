//! The open sled tree, every use of which is contained.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dotdb_store::contain::contain;
use dotdb_store::{Batch, Direction, StoreError, directory};
use sled::{Db, IVec};

use crate::files::Files;
use crate::history::{History, Reader};
use crate::watch::Watch;
use crate::{CACHE_BYTES, error};

/// First byte of the keys of pairs.
const DATA: u8 = b'd';
/// The first key behind them.
const DATA_END: &[u8] = b"e";
/// Key of the [`Totals`].
const TOTALS: &[u8] = b"m";

/// What the pairs amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) keys: u64,
    /// Of all keys and values.
    pub(crate) bytes: u64,
    /// Sum of the pairs' hashes, modulo 2^128.
    pub(crate) sum: u128,
    /// Number of batches that changed something.
    pub(crate) batches: u64,
}

const TOTALS_BYTES: usize = 40;

impl Totals {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.keys += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    fn subtract(&mut self, key: &[u8], value: &[u8]) {
        // What is subtracted was added once; damage may say otherwise, and is found as a wrong total.
        self.keys = self.keys.wrapping_sub(1);
        self.bytes = self.bytes.wrapping_sub((key.len() + value.len()) as u64);
        self.sum = self.sum.wrapping_sub(hash(key, value));
    }

    fn to_bytes(self) -> [u8; TOTALS_BYTES] {
        let mut bytes = [0; TOTALS_BYTES];
        bytes[..8].copy_from_slice(&self.keys.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.sum.to_be_bytes());
        bytes[32..].copy_from_slice(&self.batches.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Totals> {
        let bytes: &[u8; TOTALS_BYTES] = bytes.try_into().ok()?;
        let (keys, rest) = bytes.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        Some(Totals {
            keys: u64::from_be_bytes(*keys),
            bytes: u64::from_be_bytes(*count),
            sum: u128::from_be_bytes(*rest.first_chunk()?),
            batches: u64::from_be_bytes(*rest.last_chunk()?),
        })
    }
}

/// The first half of the BLAKE3 of the key's length, the key and the value.
fn hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(value);
    let hash = hasher.finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(half)
}

/// How long closing waits for sled's threads to let go of the lock.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Engine {
    /// `None` only while it is dropped.
    database: Option<Db>,
    watch: Option<Watch>,
    /// Held while a batch is applied and while a snapshot is taken.
    totals: Mutex<Totals>,
    history: Arc<RwLock<History>>,
    files: Mutex<Files>,
    path: PathBuf,
    /// Number of batches when it was opened.
    recorded: AtomicU64,
    /// Whether a panic was caught or a write failed, after which memory and files may differ.
    broken: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longest key that is looked up without an allocation.
const SHORT_KEY_BYTES: usize = 63;

fn stored_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

impl Engine {
    pub(crate) fn open(path: &Path) -> Result<Engine, StoreError> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES);
        let database = contain(|| config.open().map_err(|error| error::opening(path, error)))?;
        let watch = Watch::start(config, database.clone())
            .map_err(|source| StoreError::Io { context: "starting a thread".into(), source })?;
        let files = Files::open(path).map_err(|source| StoreError::from_io("opening", path, source))?;
        let engine = Engine {
            database: Some(database),
            watch: Some(watch),
            totals: Mutex::default(),
            history: Arc::default(),
            files: Mutex::new(files),
            path: path.to_owned(),
            recorded: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        };
        let totals = engine.contain(|database| match database.get(TOTALS).map_err(error::map)? {
            Some(bytes) => Totals::from_bytes(&bytes).ok_or_else(|| StoreError::Corrupt {
                detail: "the totals of the store are unreadable".into(),
            }),
            None => match database.range(&[DATA][..]..DATA_END).next() {
                None => Ok(Totals::default()),
                Some(row) => {
                    row.map_err(error::map)?;
                    Err(StoreError::Corrupt { detail: "there are pairs but no totals of them".into() })
                }
            },
        })?;
        directory::check_progress(path, totals.batches)?;
        *lock(&engine.totals) = totals;
        engine.recorded.store(totals.batches, Ordering::Relaxed);
        Ok(engine)
    }

    /// Runs a call into sled, unless an earlier one has panicked or failed to write.
    fn contain<T>(&self, call: impl FnOnce(&Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Busy("the store is being closed".into()));
        };
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::Io {
                context: "access to the store's files".into(),
                source: io::Error::other("an earlier access failed, so the store must be opened anew"),
            });
        }
        let mut finished = false;
        let result = contain(|| {
            let result = call(database);
            finished = true;
            result
        });
        if !finished {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    /// As [`contain`](Engine::contain), for what leaves memory and files apart if it fails.
    fn contain_write<T>(&self, call: impl FnOnce(&Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = self.contain(call);
        if result.is_err() {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    /// A snapshot, and what its pairs amount to.
    pub(crate) fn snapshot(self: &Arc<Engine>) -> Result<(Reader, Totals), StoreError> {
        let totals = lock(&self.totals);
        self.contain(|_| Ok(()))?;
        Ok((Reader::new(Arc::clone(self), Arc::clone(&self.history)), *totals))
    }

    pub(crate) fn totals(&self) -> Totals {
        *lock(&self.totals)
    }

    /// The current value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let (mut short, long);
        let stored: &[u8] = if key.len() <= SHORT_KEY_BYTES {
            short = [DATA; 1 + SHORT_KEY_BYTES];
            short[1..=key.len()].copy_from_slice(key);
            &short[..=key.len()]
        } else {
            long = stored_key(key);
            &long
        };
        self.contain(|database| {
            let value = database.get(stored).map_err(error::map)?;
            Ok(value.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    /// Up to so many current rows of a range, or fewer once they have so many bytes, and whether these are all.
    pub(crate) fn rows(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), StoreError> {
        let from = match from {
            Bound::Unbounded => Bound::Included(vec![DATA]),
            bound => bound.map(stored_key),
        };
        let to = match to {
            Bound::Unbounded => Bound::Excluded(DATA_END.to_vec()),
            bound => bound.map(stored_key),
        };
        self.contain(|database| {
            let mut range = database.range((from, to));
            // All rows share one buffer.
            let (mut buffer, mut places) = (Vec::new(), Vec::with_capacity(max_rows));
            let whole = loop {
                if places.len() >= max_rows || buffer.len() >= max_bytes {
                    break false;
                }
                let row = match direction {
                    Direction::Forward => range.next(),
                    Direction::Backward => range.next_back(),
                };
                let Some(row) = row else { break true };
                let (key, value) = row.map_err(error::map)?;
                let Some((&DATA, key)) = key.split_first() else {
                    return Err(StoreError::Corrupt { detail: "a key lies outside of its range".into() });
                };
                let start = buffer.len();
                buffer.extend_from_slice(key);
                buffer.extend_from_slice(&value);
                places.push((start, start + key.len(), buffer.len()));
            };
            let buffer = Bytes::from(buffer);
            let row = |(start, middle, end)| (buffer.slice(start..middle), buffer.slice(middle..end));
            Ok((places.into_iter().map(row).collect(), whole))
        })
    }

    pub(crate) fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut totals = lock(&self.totals);
        let mut after = *totals;
        let mut writes = sled::Batch::default();
        let mut overwritten: Vec<(Bytes, Option<IVec>)> = Vec::with_capacity(batch.len());
        self.contain(|database| {
            for (key, value) in batch.iter() {
                let stored = stored_key(key);
                let old = database.get(&stored).map_err(error::map)?;
                if let Some(old) = &old {
                    after.subtract(key, old);
                }
                match value {
                    Some(value) => {
                        after.add(key, value);
                        writes.insert(stored, &value[..]);
                    }
                    None if old.is_none() => continue,
                    None => writes.remove(stored),
                }
                overwritten.push((key.clone(), old));
            }
            Ok(())
        })?;
        if overwritten.is_empty() {
            return Ok(());
        }
        after.batches += 1;
        writes.insert(TOTALS, &after.to_bytes()[..]);
        {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            if history.is_needed() {
                for (key, old) in overwritten {
                    history.record(&key, old.map(|old| Bytes::copy_from_slice(&old)));
                }
            }
        }
        self.contain_write(|database| database.apply_batch(writes).map_err(error::map))?;
        self.history.write().unwrap_or_else(PoisonError::into_inner).advance();
        *totals = after;
        Ok(())
    }

    /// Makes everything applied so far durable; what another call has made durable meanwhile is not written again.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let applied = || self.history.read().unwrap_or_else(PoisonError::into_inner).batches();
        let wanted = applied();
        let mut files = lock(&self.files);
        if wanted > 0 && files.batches >= wanted {
            return Ok(());
        }
        let reached = applied();
        self.contain_write(|database| {
            database.flush().map_err(error::map)?;
            files.sync().map_err(|error| error::map(error.into()))
        })?;
        files.batches = reached;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // There is nobody left to tell of errors: the record stays as it was, and is true.
        let batches = self.totals().batches;
        if batches != self.recorded.load(Ordering::Relaxed) && self.sync().is_ok() {
            let _ = directory::write_progress(&self.path, batches);
        }
        self.watch = None;
        let database = self.database.take();
        // Closing writes, and may meet damage.
        let close = move || {
            let _ = contain(move || {
                drop(database);
                Ok(())
            });
        };
        if self.broken.load(Ordering::Relaxed) {
            // sled may wait for ever for a part of its log that was never written. Where no thread can be had
            // either, the closure is dropped here, and with it the database.
            let _ = thread::Builder::new().name("dotdb-sled-close".into()).spawn(close);
        } else {
            close();
            wait_until_released(&self.path);
        }
    }
}

/// sled's threads may hold the lock a moment longer than the database they worked for, and then who opens it at once is
/// told that somebody else has it.
fn wait_until_released(path: &Path) {
    let Ok(file) = File::open(path.join("db")) else { return };
    let start = Instant::now();
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && start.elapsed() < RELEASED_WITHIN {
        thread::sleep(Duration::from_millis(1));
    }
}
