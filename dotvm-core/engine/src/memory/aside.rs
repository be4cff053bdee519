//! A memory beside another's: what a task sees that is tried ahead of its turn.
//!
//! It begins as a snapshot, of which it copies pages when they are touched, and keeps for each grain of eight bytes
//! whether it was read before it was written, and whether it was written. What was read decides whether the trial holds,
//! what was written is what the memory itself takes over.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use dotvm_core::limits::PAGE_BYTES;

use super::{Memory, touch};
use crate::ahead::VOID;
use crate::guard::Access;
use crate::machine::Stop;

/// Bytes that are copied at a time.
const PAGE: usize = 4096;
/// Bytes that are read and written as one.
const GRAIN: usize = 8;
const GRAINS: usize = PAGE / GRAIN;
const _: () = assert!(PAGE_BYTES.is_multiple_of(PAGE as u64));

/// Something of the grain was seen as the snapshot has it.
const READ: u8 = 1;
/// Something of the grain was written, and the rest of it was seen or written too.
const WRITTEN: u8 = 2;

#[derive(Debug)]
pub(crate) struct Aside {
    /// Nothing once the trial is over.
    snapshot: Option<Arc<Vec<u8>>>,
    bytes: Vec<u8>,
    /// Marks of the grains.
    marks: Vec<u8>,
    /// Pages that were copied, in the order in which they were, and whether a page was.
    pages: Vec<u32>,
    is_there: Vec<bool>,
}

/// Grains that were written since a snapshot was taken, by page.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pages: BTreeMap<u32, [u64; GRAINS / 64]>,
}

/// What is done with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    /// Every byte is written before anything else is done.
    Overwrite,
    /// Bytes may be read, written, or left.
    Change,
}

impl From<Access> for Use {
    fn from(access: Access) -> Use {
        match access {
            Access::Read => Use::Read,
            Access::Write => Use::Overwrite,
        }
    }
}

impl Aside {
    fn new(snapshot: Arc<Vec<u8>>) -> Aside {
        let len = snapshot.len().next_multiple_of(PAGE);
        Aside {
            snapshot: Some(snapshot),
            bytes: vec![0; len],
            marks: vec![0; len / GRAIN],
            pages: Vec::new(),
            is_there: vec![false; len / PAGE],
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The bytes of a range within `size` for this use of them.
    pub(super) fn reach(&mut self, start: u64, end: u64, usage: Use, size: u64) -> Result<&mut [u8], Stop> {
        let range = start as usize..end as usize;
        let enough = match usage {
            Use::Read => READ | WRITTEN,
            Use::Overwrite | Use::Change => WRITTEN,
        };
        let grains = range.start / GRAIN..range.end.div_ceil(GRAIN);
        let is_noted =
            self.marks.get(grains).is_some_and(|marks| marks.iter().all(|mark| mark & enough != 0));
        if !is_noted {
            self.note(range.clone(), usage, size)?;
        }
        Ok(&mut self.bytes[range])
    }

    fn note(&mut self, range: Range<usize>, usage: Use, size: u64) -> Result<(), Stop> {
        if range.end > self.bytes.len() {
            let wanted = (range.end.max(2 * self.bytes.len()) as u64).next_multiple_of(PAGE as u64).min(size);
            let len = usize::try_from(wanted).map_err(|_| VOID)?;
            self.bytes.try_reserve_exact(len - self.bytes.len()).map_err(|_| VOID)?;
            self.bytes.resize(len, 0);
            self.marks.resize(len / GRAIN, 0);
            self.is_there.resize(len / PAGE, false);
        }
        if range.is_empty() {
            return Ok(());
        }
        let Some(snapshot) = &self.snapshot else { return Err(VOID) };
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            if std::mem::replace(&mut self.is_there[page], true) {
                continue;
            }
            self.pages.push(page as u32);
            let from = (page * PAGE).min(snapshot.len())..((page + 1) * PAGE).min(snapshot.len());
            let len = from.len();
            self.bytes[page * PAGE..][..len].copy_from_slice(&snapshot[from]);
        }
        for grain in range.start / GRAIN..range.end.div_ceil(GRAIN) {
            let is_whole = range.start <= grain * GRAIN && (grain + 1) * GRAIN <= range.end;
            let mark = &mut self.marks[grain];
            let is_written = *mark & WRITTEN != 0;
            *mark |= match usage {
                Use::Read if is_written => 0,
                Use::Read => READ,
                Use::Overwrite if is_written || is_whole => WRITTEN,
                Use::Change if is_written => WRITTEN,
                Use::Overwrite | Use::Change => READ | WRITTEN,
            };
        }
        Ok(())
    }

    /// Grains of a page with a mark.
    fn marked(&self, page: u32, mark: u8) -> impl Iterator<Item = usize> {
        let marks = &self.marks[page as usize * GRAINS..][..GRAINS];
        marks.iter().enumerate().filter(move |(_, marks)| *marks & mark != 0).map(|(grain, _)| grain)
    }

    /// Whether something was read that has been written since.
    pub fn conflicts(&self, written: &Written) -> bool {
        self.pages.iter().any(|&page| {
            written.pages.get(&page).is_some_and(|grains| {
                self.marked(page, READ).any(|grain| grains[grain / 64] >> (grain % 64) & 1 != 0)
            })
        })
    }
}

impl Memory {
    /// The bytes, to be looked at by many until they are given back; `None` where pages are protected.
    pub fn lend(&mut self) -> Option<Arc<Vec<u8>>> {
        self.free = 0..0;
        self.guarded.is_none().then(|| Arc::new(std::mem::take(&mut self.open)))
    }

    /// Takes lent bytes back.
    pub fn take_back(&mut self, bytes: Arc<Vec<u8>>) {
        self.open = Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec());
    }

    /// A memory like this one whose bytes are lent.
    pub fn aside(&self, snapshot: Arc<Vec<u8>>) -> Memory {
        Memory {
            open: Vec::new(),
            guarded: None,
            aside: Some(Box::new(Aside::new(snapshot))),
            free: 0..0,
            changes: None,
            size: self.size,
            read_only_end: self.read_only_end,
            max_pages: self.max_pages,
            heap: dotvm_core::heap::Heap::new(0),
            touched: self.touched,
            dropped: self.dropped.clone(),
        }
    }

    /// What has become of a memory aside.
    pub fn into_aside(self) -> Option<Box<Aside>> {
        let mut aside = self.aside?;
        aside.snapshot = None;
        Some(aside)
    }

    /// Takes over what was written aside, and notes it.
    pub fn merge(&mut self, aside: &Aside, written: &mut Written) -> Result<(), Stop> {
        let last = aside.pages.iter().filter_map(|&page| {
            aside.marked(page, WRITTEN).last().map(|grain| page as usize * PAGE + (grain + 1) * GRAIN)
        });
        let end = last.max().unwrap_or_default() as u64;
        if end > self.open.len() as u64 {
            touch(&mut self.open, end, self.size)?;
        }
        for &page in &aside.pages {
            let start = page as usize * PAGE;
            let mut changed = None;
            for grain in aside.marked(page, WRITTEN) {
                let range = start + grain * GRAIN..start + (grain + 1) * GRAIN;
                self.open[range.clone()].copy_from_slice(&aside.bytes[range]);
                written.pages.entry(page).or_default()[grain / 64] |= 1 << (grain % 64);
                let (first, _) = changed.unwrap_or((grain, grain));
                changed = Some((first, grain + 1));
            }
            if let Some((first, end)) = changed {
                self.changed((start + first * GRAIN) as u64, (start + end * GRAIN) as u64);
            }
        }
        Ok(())
    }

    /// Whether it is one aside, where nothing but bytes is to be had.
    pub(super) fn check_in_turn(&self) -> Result<(), Stop> {
        if self.aside.is_some() { Err(VOID) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(len: usize) -> Aside {
        Aside::new(Arc::new((0..len).map(|byte| byte as u8).collect()))
    }

    #[test]
    fn what_was_written_first_was_not_read() {
        let mut memory = aside(10_000);
        let size = 65_536;
        memory.reach(16, 24, Use::Overwrite, size).unwrap().fill(9);
        assert_eq!(memory.reach(16, 32, Use::Read, size).unwrap()[..9], [9, 9, 9, 9, 9, 9, 9, 9, 24]);
        // Half of a grain: the other half was there before.
        memory.reach(4092, 4096, Use::Overwrite, size).unwrap().fill(1);
        memory.reach(40, 48, Use::Change, size).unwrap();
        assert_eq!(memory.marks[1..7], [0, WRITTEN, READ, 0, READ | WRITTEN, 0]);
        assert_eq!(memory.marks[511], READ | WRITTEN);
        assert_eq!(memory.pages, [0]);
        // Behind the snapshot all is zero.
        assert_eq!(memory.reach(9_999, 10_001, Use::Read, size).unwrap(), [9_999u32 as u8, 0]);
        assert_eq!(memory.reach(60_000, 60_001, Use::Read, size).unwrap(), [0]);
        assert_eq!(memory.pages, [0, 2, 14]);
        assert!(memory.reach(65_536, 65_536, Use::Read, size).unwrap().is_empty());
    }

    #[test]
    fn only_reads_of_what_was_written_conflict() {
        let mut memory = aside(10_000);
        memory.reach(4096, 4104, Use::Read, 65_536).unwrap();
        memory.reach(4104, 4112, Use::Overwrite, 65_536).unwrap();
        let written = |page, grain: usize| {
            let mut written = Written::default();
            written.pages.entry(page).or_default()[grain / 64] |= 1 << (grain % 64);
            written
        };
        assert!(memory.conflicts(&written(1, 0)));
        assert!(!memory.conflicts(&written(1, 1)));
        assert!(!memory.conflicts(&written(0, 0)));
    }
}
