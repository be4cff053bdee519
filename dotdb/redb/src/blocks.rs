//! Sums of the file's blocks: whether what redb reads is what it once wrote.
//!
//! redb verifies the checksums of its pages only when it repairs a file, so each value has one of its own, and to
//! verify it costs a third of a scan. A page that is known to be as it was written needs no such care: its values are
//! those that were written with it. So the file is read and written through [`Summed`], which keeps a sum for each
//! block of 4 KiB and compares it when redb loads the block into its cache, once for all reads that follow.
//!
//! The sums are in the file `PATH.sums`. They are a hint: a block without one, or with another one, is no error, but
//! from then on ([`Blocks::are_known`]) each value is verified by itself, as it is where there are no sums at all, and
//! what is written gets no sums: it may be a copy of a damaged page. So
//! the file of sums is never flushed for its own sake, can be lost, old or damaged, and may be deleted. After a power
//! cut it may lag behind; [`Store::check`](dotdb_store::Store::check) makes it right again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{BackendError, StorageBackend};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a block, the least page of redb.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// How a file of sums begins; behind it 8 bytes for each block, little-endian, 0 where it is not known.
const MAGIC: [u8; 16] = *b"DotDB sums 1\n\0\0\0";

/// Blocks whose sums are written together.
const GROUP: usize = 512;

/// The sum of a block: XXH3 (64 bits), never 0.
pub(crate) fn sum_of(block: &[u8]) -> u64 {
    xxh3_64(block).max(1)
}

/// The sums of a store's blocks.
pub(crate) struct Blocks {
    /// 0 for a block that is not known.
    sums: RwLock<Vec<u64>>,
    /// Whether every block that was loaded was known, and as it was written.
    known: AtomicBool,
    kept: Mutex<Kept>,
}

/// What of the sums the file beside the store does not have yet.
struct Kept {
    /// `None` if they are only in memory.
    path: Option<PathBuf>,
    /// Opened by the first writing.
    file: Option<File>,
    /// Groups that changed.
    changed: BTreeSet<usize>,
    /// Whether the file has sums of this kind; if not it is made anew.
    is_sound: bool,
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("known", &self.known).finish_non_exhaustive()
    }
}

/// The name of the file of sums beside the store at `path`.
pub fn sums_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sums");
    name.into()
}

/// The sums in a file, `None` if there is none or it is something else.
fn load(path: &Path) -> Option<Vec<u64>> {
    let bytes = fs::read(path).ok()?;
    let sums = bytes.strip_prefix(&MAGIC)?;
    let (sums, _) = sums.as_chunks::<8>();
    Some(sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect())
}

impl Blocks {
    fn new(sums: Vec<u64>, path: Option<PathBuf>, is_sound: bool) -> Blocks {
        let kept = Kept { path, file: None, changed: BTreeSet::new(), is_sound };
        Blocks { sums: RwLock::new(sums), known: AtomicBool::new(true), kept: Mutex::new(kept) }
    }

    /// Those of the store at `path`: none if there is no file of sums.
    pub(crate) fn beside(path: &Path) -> Blocks {
        let path = sums_path(path);
        let sums = load(&path);
        let is_sound = sums.is_some();
        Blocks::new(sums.unwrap_or_default(), Some(path), is_sound)
    }

    /// Those of a store that keeps no file of sums.
    pub(crate) fn in_memory() -> Blocks {
        Blocks::new(Vec::new(), None, false)
    }

    /// Keeps the sums beside the store at `path` from now on.
    pub(crate) fn keep_beside(&self, path: &Path) {
        self.keep_all();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.path, kept.is_sound) = (Some(sums_path(path)), false);
    }

    /// Whether every block that redb has loaded so far is as it was written. Once it is not, it stays so until the
    /// store is opened again or checked.
    #[inline]
    pub(crate) fn are_known(&self) -> bool {
        // The block's way into redb's cache and out of it orders this after the store in `compare`.
        self.known.load(Ordering::Relaxed)
    }

    /// The sums as they are now.
    pub(crate) fn copied(&self) -> Vec<u64> {
        self.sums.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the sums of blocks that were verified, and all that lies in them, in place of those that were here `before`; 0
    /// stands for a block that was not. What was written since then keeps what was said of it.
    pub(crate) fn adopt(&self, found: &[u64], before: &[u64]) {
        {
            let mut sums = self.sums.write().unwrap_or_else(PoisonError::into_inner);
            if sums.len() < found.len() {
                sums.resize(found.len(), 0);
            }
            for (block, (sum, found)) in sums.iter_mut().zip(found).enumerate() {
                if *found != 0 && *sum == before.get(block).copied().unwrap_or(0) {
                    *sum = *found;
                }
            }
        }
        self.known.store(true, Ordering::Relaxed);
        self.keep_all();
    }

    /// Knows no block from now on.
    pub(crate) fn forget(&self) {
        self.known.store(false, Ordering::Relaxed);
        self.sums.write().unwrap_or_else(PoisonError::into_inner).fill(0);
        self.keep_all();
    }

    /// Knows no block, and keeps nothing beside the store.
    pub(crate) fn give_up(&self) {
        self.forget();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).path = None;
    }

    fn keep_all(&self) {
        let groups = self.sums.read().unwrap_or_else(PoisonError::into_inner).len().div_ceil(GROUP);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).changed.extend(0..groups);
    }

    /// Compares what was read with the sums. The first block is redb's header, which has checksums of its own that redb
    /// verifies, and which is also read in part.
    fn compare(&self, offset: u64, bytes: &[u8]) {
        let is_known = blocks(offset, bytes).filter(|(block, _)| *block != 0).all(|(block, bytes)| {
            let sum = sum_of(bytes);
            let sums = self.sums.read().unwrap_or_else(PoisonError::into_inner);
            bytes.len() == BLOCK_BYTES && sums.get(block) == Some(&sum)
        });
        if !is_known {
            self.known.store(false, Ordering::Relaxed);
        }
    }

    /// Takes note of what was written. After a block that was not known, what is written may be a copy of what that holds,
    /// damage included: it is not known either.
    fn note(&self, offset: u64, bytes: &[u8]) {
        for (block, bytes) in blocks(offset, bytes).filter(|(block, _)| *block != 0) {
            let sum = if bytes.len() == BLOCK_BYTES && self.are_known() { sum_of(bytes) } else { 0 };
            let mut sums = self.sums.write().unwrap_or_else(PoisonError::into_inner);
            if sums.len() <= block {
                sums.resize(block + 1, 0);
            }
            sums[block] = sum;
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).changed.insert(block / GROUP);
        }
    }

    fn cut(&self, len: u64) {
        let mut sums = self.sums.write().unwrap_or_else(PoisonError::into_inner);
        let blocks = usize::try_from(len / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
        if blocks < sums.len() {
            sums.truncate(blocks);
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.changed.retain(|group| group * GROUP < blocks);
            kept.changed.insert(blocks.saturating_sub(1) / GROUP);
        }
    }

    /// Writes what changed into the file of sums, without flushing it. If that fails there is no such file any more:
    /// the next opening verifies each value by itself.
    fn keep(&self) {
        let sums = self.sums.read().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut kept.changed);
        let Some(path) = kept.path.clone().filter(|_| !changed.is_empty()) else { return };
        if kept.write(&path, &sums, &changed).is_err() {
            kept.path = None;
            kept.file = None;
            // Without it, or with what it holds of old: blocks that do not match are not known.
            let _ = fs::remove_file(path);
        }
    }
}

impl Kept {
    fn write(&mut self, path: &Path, sums: &[u64], changed: &BTreeSet<usize>) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file =
                    File::options().write(true).create(true).truncate(!self.is_sound).open(path)?;
                if !self.is_sound {
                    file.write_all(&MAGIC)?;
                    self.is_sound = true;
                }
                none.insert(file)
            }
        };
        for &group in changed {
            let Some(sums) = sums.get(group * GROUP..).map(|sums| &sums[..sums.len().min(GROUP)]) else {
                continue;
            };
            let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            file.seek(SeekFrom::Start((MAGIC.len() + group * GROUP * 8) as u64))?;
            file.write_all(&bytes)?;
        }
        file.set_len((MAGIC.len() + sums.len() * 8) as u64)
    }
}

/// The blocks that `bytes` at `offset` lie in, each with its part of them.
fn blocks(offset: u64, mut bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    std::iter::from_fn(move || {
        let within = (at % BLOCK_BYTES as u64) as usize;
        let (part, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - within));
        let block = usize::try_from(at / BLOCK_BYTES as u64).ok()?;
        bytes = rest;
        at += part.len() as u64;
        (!part.is_empty()).then_some((block, part))
    })
}

/// A file that is read and written with sums of its blocks.
#[derive(Debug)]
pub(crate) struct Summed<B> {
    file: B,
    blocks: Arc<Blocks>,
}

impl<B: StorageBackend> Summed<B> {
    pub(crate) fn new(file: B, blocks: Arc<Blocks>) -> Summed<B> {
        Summed { file, blocks }
    }
}

impl<B: StorageBackend> StorageBackend for Summed<B> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)?;
        self.blocks.compare(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.blocks.cut(len);
        Ok(())
    }

    /// The sums are written first: whoever is killed afterwards has those of all that is durable.
    fn sync_data(&self) -> io::Result<()> {
        self.blocks.keep();
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)?;
        self.blocks.note(offset, data);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.blocks.keep();
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
