//! Verifying a file page by page, without changing it.
//!
//! Every page of a redb file is named by its parent together with a checksum, up to the header (redb's
//! `docs/design.md`, "Commit slot"), so that a walk from the root misses no damage. redb does that walk when it
//! repairs a file or is asked for it, and then it writes as well; so it is given a copy-on-write view of the
//! file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dotdb_store::contain::contain;
use dotdb_store::{Damage, StoreError};
use redb::{Builder, StorageBackend};

use crate::{blocks, error};

/// Memory for cached pages of the view, bytes.
const VIEW_CACHE_BYTES: usize = 16 << 20;
/// What redb calls progress when it has found the newest commit damaged and falls back to the one before; half
/// way between its neighbours, 0 and 0.6.
const FELL_BACK: std::ops::Range<f64> = 0.15..0.45;

/// Verifies the file at `path`, which nobody may be writing to. Without damage it gives the sums of the blocks that
/// were read, 0 for the others.
pub(crate) fn pages(path: &Path, found: &mut dyn FnMut(Damage)) -> Result<Option<Vec<u64>>, StoreError> {
    let file = File::open(path).map_err(|source| StoreError::from_io("opening", path, source))?;
    let view = View::new(file).map_err(|source| StoreError::from_io("reading", path, source))?;
    let sums = Arc::clone(&view.sums);
    let fell_back = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&fell_back);
    let result = contain(move || {
        let mut database = Builder::new()
            .set_cache_size(VIEW_CACHE_BYTES)
            .set_repair_callback(move |session| {
                if FELL_BACK.contains(&session.progress()) {
                    seen.store(true, Ordering::Relaxed);
                }
            })
            .create_with_backend(view)
            .map_err(|error| error::database(path, error))?;
        database.check_integrity().map_err(|error| error::database(path, error))
    });
    match result {
        Ok(true) if !fell_back.load(Ordering::Relaxed) => {
            return Ok(Some(std::mem::take(&mut *sums.lock().unwrap_or_else(PoisonError::into_inner))));
        }
        Ok(_) => found(Damage::anywhere(
            "a page of the newest commit, or the list of free pages, does not match its checksum",
        )),
        Err(StoreError::Corrupt { detail }) => {
            found(Damage::anywhere(format!("its pages are damaged ({detail})")));
        }
        Err(error) => return Err(error),
    }
    Ok(None)
}

const BLOCK_BYTES: u64 = blocks::BLOCK_BYTES as u64;

/// A file that keeps in memory what is written to it.
struct View {
    file: Mutex<File>,
    state: Mutex<State>,
    /// Of the blocks that were read as they are in the file.
    sums: Arc<Mutex<Vec<u64>>>,
}

struct State {
    len: u64,
    /// Up to here the file's own bytes count; behind it are zeros.
    file_len: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl View {
    fn new(file: File) -> io::Result<View> {
        let len = file.metadata()?.len();
        let state = State { len, file_len: len, blocks: BTreeMap::new() };
        Ok(View { file: Mutex::new(file), state: Mutex::new(state), sums: Arc::default() })
    }

    /// Fills `out` from the file, with zeros behind `file_len`.
    fn read_file(&self, file_len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = file_len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (kept, behind) = out.split_at_mut(in_file);
        behind.fill(0);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(kept)
    }
}

/// The parts of `len` bytes from `offset` on that lie in one block each: block, offset in it, place in the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % BLOCK_BYTES) as usize;
        let part = (len - done).min(BLOCK_BYTES as usize - within);
        let place = done..done + part;
        done += part;
        (part > 0).then_some((at / BLOCK_BYTES, within, place))
    })
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(state.file_len, offset, out)?;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (block, within, place) in parts(offset, out.len()) {
            let len = place.len();
            if let Some(bytes) = state.blocks.get(&block) {
                out[place].copy_from_slice(&bytes[within..within + len]);
            } else if len == blocks::BLOCK_BYTES {
                let block = block as usize;
                if sums.len() <= block {
                    sums.resize(block + 1, 0);
                }
                sums[block] = blocks::sum_of(&out[place]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if len < state.len {
            state.file_len = state.file_len.min(len);
            state.blocks.retain(|block, _| block * BLOCK_BYTES < len);
            if let Some(bytes) = state.blocks.get_mut(&(len / BLOCK_BYTES)) {
                bytes[(len % BLOCK_BYTES) as usize..].fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { len, file_len, blocks } = &mut *state;
        for (block, within, place) in parts(offset, data.len()) {
            let bytes = match blocks.entry(block) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let mut bytes = vec![0; BLOCK_BYTES as usize];
                    self.read_file(*file_len, block * BLOCK_BYTES, &mut bytes)?;
                    entry.insert(bytes)
                }
            };
            bytes[within..within + place.len()].copy_from_slice(&data[place]);
        }
        *len = (*len).max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_behaves_like_a_file_and_leaves_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let original: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &original).unwrap();
        let view = View::new(File::open(&path).unwrap()).unwrap();
        let mut model = original.clone();
        let steps: [(u64, usize, u8); 5] =
            [(4090, 12, 1), (0, 1, 2), (8192, 4096, 3), (19_999, 5000, 4), (12_000, 100, 5)];
        for (offset, len, byte) in steps {
            view.write(offset, &vec![byte; len]).unwrap();
            let end = offset as usize + len;
            model.resize(model.len().max(end), 0);
            model[offset as usize..end].fill(byte);
        }
        for len in [24_000usize, 9000, 30_000] {
            let mut all = vec![0xee; model.len()];
            view.read(0, &mut all).unwrap();
            assert!(all == model);
            view.set_len(len as u64).unwrap();
            model.resize(len, 0);
        }
        let mut all = vec![0xee; model.len()];
        view.read(0, &mut all).unwrap();
        assert!(all == model);
        assert!(view.read(29_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), original);
    }
}
