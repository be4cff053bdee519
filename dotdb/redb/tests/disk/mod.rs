//! A disk in memory that records what is done to it, and fails on demand.

#![allow(dead_code, reason = "each test uses its part")]

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

/// What a drive writes at once.
pub const SECTOR_BYTES: usize = 512;

/// Something that was done to the disk, or a mark of the test between.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    SetLen(u64),
    Sync,
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

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
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
    pub fn with(bytes: Vec<u8>) -> Disk {
        Disk(Arc::new(Mutex::new(State { bytes, ..State::default() })))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
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

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state(false)?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state(false)?;
        let from = offset as usize;
        match state.bytes.get(from..from + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state(true)?;
        state.bytes.resize(len as usize, 0);
        state.log.push(Op::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state(false)?.log.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state(true)?;
        let op = Op::Write { offset, data: data.to_vec() };
        apply(&mut state.bytes, &op);
        state.log.push(op);
        Ok(())
    }
}

/// Does to `bytes` what was done to the disk.
pub fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, data } => {
            let from = *offset as usize;
            if bytes.len() < from + data.len() {
                bytes.resize(from + data.len(), 0);
            }
            bytes[from..from + data.len()].copy_from_slice(data);
        }
        Op::SetLen(len) => bytes.resize(*len as usize, 0),
        Op::Sync | Op::Begin(_) | Op::Promised(_) => {}
    }
}
