//! A disk in memory that records what is done to it, and fails on demand.

#![allow(dead_code, reason = "each test uses its part")]

use std::io;
use std::sync::{Arc, Mutex};

use dotdb_redb::{LogFile, RedbStore};
use dotdb_store::StoreError;
use redb::StorageBackend;

/// What a drive writes at once.
pub const SECTOR_BYTES: usize = 512;

/// Something that was done to the disk, or a mark of the test between.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        file: usize,
        offset: u64,
        data: Vec<u8>,
    },
    SetLen(usize, u64),
    Sync(usize),
    /// The commit of this number is under way.
    Begin(usize),
    /// All commits up to this number were promised to survive a power cut.
    Promised(usize),
}

/// Calls that fail once the countdown has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every call.
    All,
    /// Writing and growing, because there is no space.
    Full,
}

/// The bytes of the store and of its log.
pub type Files = [Vec<u8>; 2];

/// The store's place in [`Files`].
pub const STORE: usize = 0;
/// The log's place in [`Files`].
pub const LOG: usize = 1;

#[derive(Default)]
struct State {
    files: Files,
    log: Vec<Op>,
    countdown: Option<(u64, Fault)>,
    calls: u64,
}

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    pub fn with(files: Files) -> Disk {
        Disk(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    pub fn files(&self) -> Files {
        self.0.lock().unwrap().files.clone()
    }

    /// Opens the store on it, with its log or without one.
    pub fn open(&self, cache_bytes: usize, with_log: bool) -> Result<RedbStore, StoreError> {
        match with_log {
            true => RedbStore::on_backend_with_log(self.clone(), Box::new(LogOn(self.clone())), cache_bytes),
            false => RedbStore::on_backend(self.clone(), cache_bytes),
        }
    }

    pub fn mark(&self, op: Op) {
        self.0.lock().unwrap().log.push(op);
    }

    pub fn take_log(&self) -> Vec<Op> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    /// Lets so many calls through that the fault is about, then fails all others.
    pub fn fail_after(&self, calls: u64, fault: Fault) {
        self.0.lock().unwrap().countdown = Some((calls, fault));
    }

    pub fn heal(&self) {
        self.0.lock().unwrap().countdown = None;
    }

    /// Whether the countdown has run out.
    pub fn has_failed(&self) -> bool {
        matches!(self.0.lock().unwrap().countdown, Some((0, _)))
    }

    fn state(&self, writes: bool) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.0.lock().unwrap();
        state.calls += 1;
        match &mut state.countdown {
            Some((0, Fault::All)) => return Err(io::Error::other("injected")),
            Some((0, Fault::Full)) if writes => return Err(io::ErrorKind::StorageFull.into()),
            Some((left, Fault::All)) => *left -= 1,
            Some((left, Fault::Full)) if writes => *left -= 1,
            _ => {}
        }
        Ok(state)
    }
}

impl Disk {
    fn set_len_of(&self, file: usize, len: u64) -> io::Result<()> {
        let mut state = self.state(true)?;
        state.files[file].resize(len as usize, 0);
        state.log.push(Op::SetLen(file, len));
        Ok(())
    }

    fn sync_file(&self, file: usize) -> io::Result<()> {
        self.state(false)?.log.push(Op::Sync(file));
        Ok(())
    }

    fn write_to(&self, file: usize, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state(true)?;
        let op = Op::Write { file, offset, data: data.to_vec() };
        apply(&mut state.files, &op);
        state.log.push(op);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state(false)?.files[STORE].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state(false)?;
        let from = offset as usize;
        match state.files[STORE].get(from..from + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set_len_of(STORE, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_file(STORE)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_to(STORE, offset, data)
    }
}

/// The log of the store on a disk.
struct LogOn(Disk);

impl LogFile for LogOn {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.state(false)?.files[LOG].clone())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_to(LOG, offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_file(LOG)
    }

    /// So little that batches go past it, and that it is begun anew again and again.
    fn max_bytes(&self) -> u64 {
        32 << 10
    }

    /// A cut may leave the old bytes, as it may leave a removed file.
    fn remove(&mut self) -> io::Result<()> {
        self.0.set_len_of(LOG, 0)
    }
}

/// Does to `files` what was done to the disk.
pub fn apply(files: &mut Files, op: &Op) {
    match op {
        Op::Write { file, offset, data } => {
            let bytes = &mut files[*file];
            let from = *offset as usize;
            if bytes.len() < from + data.len() {
                bytes.resize(from + data.len(), 0);
            }
            bytes[from..from + data.len()].copy_from_slice(data);
        }
        Op::SetLen(file, len) => files[*file].resize(*len as usize, 0),
        Op::Sync(_) | Op::Begin(_) | Op::Promised(_) => {}
    }
}
