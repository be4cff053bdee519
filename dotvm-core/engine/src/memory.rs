//! Linear memory of an instance.

mod aside;
mod changes;
mod saved;

use std::ops::Range;

use dotvm_arch::Word;
use dotvm_core::gas::{self, Gas};
use dotvm_core::heap::{Heap, Placement};
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::Module;
use dotvm_core::trap::TrapKind;

use aside::Use;

use crate::guard::{self, Access, Guard, Permission};
use crate::machine::Stop;
use changes::Changes;

pub(crate) use aside::{Aside, Written};

/// Linear memory: read-only data, then writable data, then the heap. Only the part up to the last byte touched is
/// there; what is behind it, up to the size, is zero.
///
/// The bytes of a program that never asked for protection lie in `open`, and an access is one comparison with their
/// number. When it asks, they move behind the guard and `open` stays empty, so that from there on each access takes the
/// other way, where the guard is asked.
#[derive(Debug)]
pub(crate) struct Memory {
    open: Vec<u8>,
    guarded: Option<Box<Guarded>>,
    /// The bytes in a trial; `open` stays empty there too.
    aside: Option<Box<Aside>>,
    /// Where a write needs no look: of the open bytes, behind the read-only data, the pages that are known to have changed,
    /// or all where nobody counts those.
    free: Range<u64>,
    /// Pages that have changed, where somebody counts them.
    changes: Option<Box<Changes>>,
    size: u64,
    /// End of the read-only data; writes below it trap.
    read_only_end: u64,
    max_pages: u64,
    heap: Heap,
    /// End of the memory that M.TOUCH made part of the touched memory, a multiple of 32.
    touched: u64,
    /// Data segments that M.DROP has emptied; shorter than their list where none behind was.
    dropped: Vec<bool>,
}

/// The bytes of a program that asked for protection.
#[derive(Debug)]
struct Guarded {
    bytes: Vec<u8>,
    guard: Guard,
}

const BOUNDS: Stop = Stop::trap(TrapKind::Bounds);
const PROTECT: Stop = Stop::trap(TrapKind::Protect);
const BAD_FREE: Stop = Stop::trap(TrapKind::BadFree);
const OUT_OF_MEMORY: Stop = Stop::trap(TrapKind::OutOfMemory);

impl Memory {
    /// The memory that a module starts with, or a sentence why the host's limit does not allow it.
    pub fn new(module: &Module, limit_pages: u64) -> Result<Memory, String> {
        let memory = &module.memory;
        if memory.min_pages > limit_pages {
            return Err(format!(
                "The module needs {} pages of memory, but the limit is {limit_pages}.",
                memory.min_pages
            ));
        }
        // The verifier placed all data within the pages at the start.
        let data_end = module.data_end() as usize;
        // Asking first turns what would abort the process into an answer.
        let no_memory =
            |_| format!("The machine has no memory for the {data_end} bytes that the module starts with.");
        Vec::<u8>::new().try_reserve_exact(data_end).map_err(no_memory)?;
        let mut bytes = vec![0; data_end];
        let mut read_only_end = 0;
        for segment in &module.data {
            let start = segment.address as usize;
            let end = start + segment.bytes.len();
            bytes[start..end].copy_from_slice(&segment.bytes);
            if segment.read_only {
                read_only_end = end as u64;
            }
        }
        let max_pages = memory.max_pages.min(limit_pages);
        let size = memory.min_pages * PAGE_BYTES;
        Ok(Memory {
            free: read_only_end..bytes.len() as u64,
            open: bytes,
            guarded: None,
            aside: None,
            changes: None,
            size,
            read_only_end,
            max_pages,
            heap: Heap::new(memory.heap_base),
            touched: 0,
            dropped: Vec::new(),
        })
    }

    /// The bytes that are there: those of ranges that [`Memory::range`] gave, and others.
    pub fn bytes(&self) -> &[u8] {
        match (&self.guarded, &self.aside) {
            (Some(guarded), _) => &guarded.bytes,
            (None, Some(aside)) => aside.bytes(),
            (None, None) => &self.open,
        }
    }

    /// The same for a write, into ranges that [`Memory::writable_range`] gave.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match (&mut self.guarded, &mut self.aside) {
            (Some(guarded), _) => &mut guarded.bytes,
            (None, Some(aside)) => aside.bytes_mut(),
            (None, None) => &mut self.open,
        }
    }

    /// The `N` bytes at an address plus an offset.
    #[inline(always)]
    pub fn load<W: Word, const N: usize>(&mut self, address: W, offset: u64) -> Result<&[u8; N], Stop> {
        let (start, end) = span(address, offset, N)?;
        if end > self.open.len() as u64 {
            return self.reach(start, end, Access::Read)?.first_chunk().ok_or_else(|| BOUNDS);
        }
        self.open[start as usize..].first_chunk().ok_or_else(|| BOUNDS)
    }

    /// The same for a write.
    #[inline(always)]
    pub fn store<W: Word, const N: usize>(&mut self, address: W, offset: u64) -> Result<&mut [u8; N], Stop> {
        let (start, end) = span(address, offset, N)?;
        if end > self.free.end || start < self.free.start {
            return self.reach(start, end, Access::Write)?.first_chunk_mut().ok_or_else(|| BOUNDS);
        }
        let bytes = self.open.get_mut(start as usize..end as usize);
        bytes.and_then(|bytes| bytes.first_chunk_mut()).ok_or_else(|| BOUNDS)
    }

    /// The bytes of a word at an address plus an offset.
    #[inline(always)]
    pub fn word<W: Word>(&mut self, address: W, offset: u64) -> Result<&[u8], Stop> {
        let (start, end) = span(address, offset, W::BYTES)?;
        if end > self.open.len() as u64 {
            return self.reach(start, end, Access::Read).map(|bytes| &*bytes);
        }
        self.open.get(start as usize..end as usize).ok_or_else(|| BOUNDS)
    }

    /// The same for a write.
    #[inline(always)]
    pub fn word_mut<W: Word>(&mut self, address: W, offset: u64) -> Result<&mut [u8], Stop> {
        let (start, end) = span(address, offset, W::BYTES)?;
        if end > self.free.end || start < self.free.start {
            return self.reach(start, end, Access::Write);
        }
        self.open.get_mut(start as usize..end as usize).ok_or_else(|| BOUNDS)
    }

    /// The bytes of an access that reads or overwrites all of them, if it is within the size and allowed; they are there then.
    #[cold]
    #[inline(never)]
    fn reach(&mut self, start: u64, end: u64, access: Access) -> Result<&mut [u8], Stop> {
        self.reach_for(start, end, access, access.into())
    }

    fn reach_for(&mut self, start: u64, end: u64, access: Access, usage: Use) -> Result<&mut [u8], Stop> {
        if end > self.size {
            return Err(BOUNDS);
        }
        if access == Access::Write && start < self.read_only_end && start < end {
            return Err(PROTECT);
        }
        if self.aside.is_some() {
            let size = self.size;
            return self.aside.as_mut().map_or(Err(BOUNDS), |aside| aside.reach(start, end, usage, size));
        }
        let bytes = match &mut self.guarded {
            None => &mut self.open,
            Some(guarded) if guarded.guard.allows(start, end, access) => &mut guarded.bytes,
            Some(_) => return Err(PROTECT),
        };
        if end > bytes.len() as u64 {
            touch(bytes, end, self.size)?;
        }
        if access == Access::Write {
            self.changed(start, end);
        }
        Ok(&mut self.bytes_mut()[start as usize..end as usize])
    }

    /// The bytes from `start` to before `end` are to be written, or were.
    fn changed(&mut self, start: u64, end: u64) {
        let free = match &mut self.changes {
            Some(changes) => changes.mark(start, end),
            None => 0..u64::MAX,
        };
        let there = self.open.len() as u64;
        self.free = free.start.max(self.read_only_end)..free.end.min(there);
    }

    /// The pages that have changed since this was asked last, in their order; `None` if any may have. From now on changes are
    /// counted.
    pub fn take_changes(&mut self) -> Option<Vec<u32>> {
        let changed = self.changes.as_ref().and_then(|changes| changes.pages());
        self.count_changes();
        changed
    }

    /// Counts changes from now on.
    fn count_changes(&mut self) {
        self.changes = Some(Box::new(Changes::none(self.bytes().len())));
        self.free = 0..0;
    }

    /// The same for a range of which anything may be read, and written if it is to be.
    fn reach_range(&mut self, start: u64, end: u64, access: Access) -> Result<(), Stop> {
        let usage = if access == Access::Read { Use::Read } else { Use::Change };
        self.reach_for(start, end, access, usage).map(|_| ())
    }

    /// A range of memory for reading.
    pub fn range<W: Word>(&mut self, address: W, len: W, offset: u64) -> Result<Range<usize>, Stop> {
        self.range_for(address, len, offset, Access::Read)
    }

    /// A range of memory for writing.
    pub fn writable_range<W: Word>(&mut self, address: W, len: W, offset: u64) -> Result<Range<usize>, Stop> {
        self.range_for(address, len, offset, Access::Write)
    }

    fn range_for<W: Word>(
        &mut self,
        address: W,
        len: W,
        offset: u64,
        access: Access,
    ) -> Result<Range<usize>, Stop> {
        let len = len.try_u64().and_then(|len| usize::try_from(len).ok()).ok_or_else(|| BOUNDS)?;
        let (start, end) = span(address, offset, len)?;
        self.reach_range(start, end, access)?;
        Ok(start as usize..end as usize)
    }

    /// An array of `len` bytes, which may be more than a word says.
    pub fn array<W: Word>(&mut self, address: W, len: u64, access: Access) -> Result<Range<usize>, Stop> {
        let len = usize::try_from(len).map_err(|_| BOUNDS)?;
        let (start, end) = span(address, 0, len)?;
        self.reach_range(start, end, access)?;
        Ok(start as usize..end as usize)
    }

    /// Size in pages.
    pub fn pages(&self) -> u64 {
        self.size / PAGE_BYTES
    }

    /// Sets how many pages it may have; what it has stays.
    pub fn limit_pages(&mut self, module: &Module, limit_pages: u64) {
        self.max_pages = module.memory.max_pages.min(limit_pages);
    }

    /// Grows by `pages`; the old size, or `None` beyond the limit.
    pub fn grow(&mut self, pages: Option<u64>, gas: &mut Gas) -> Result<Option<u64>, Stop> {
        self.check_in_turn()?;
        let old = self.pages();
        let Some(new) = pages.and_then(|pages| old.checked_add(pages)).filter(|&new| new <= self.max_pages)
        else {
            return Ok(None);
        };
        gas.charge(gas::grow((new - old) * PAGE_BYTES))?;
        self.size = new * PAGE_BYTES;
        Ok(Some(old))
    }

    /// Where a block of `len` bytes goes, within the limit.
    fn place(&self, len: Option<u64>) -> Result<(u64, Placement), Stop> {
        let Some((len, placement)) = len.and_then(|len| Some((len, self.heap.place(len)?))) else {
            return Err(OUT_OF_MEMORY);
        };
        let pages = placement.end.div_ceil(PAGE_BYTES);
        if pages > self.max_pages.max(self.pages()) { Err(OUT_OF_MEMORY) } else { Ok((len, placement)) }
    }

    /// Gives out a zeroed block of at least `len` bytes.
    pub fn alloc(&mut self, len: Option<u64>, gas: &mut Gas) -> Result<u64, Stop> {
        self.check_in_turn()?;
        let (len, placement) = self.place(len)?;
        gas.charge(gas::grow(len))?;
        self.size = self.size.max(placement.end.div_ceil(PAGE_BYTES) * PAGE_BYTES);
        self.give_out(placement);
        Ok(placement.address)
    }

    /// Gives out a block that is placed within the size, zeroed whatever protects it.
    fn give_out(&mut self, placement: Placement) {
        self.heap.take(placement);
        if let Some(guarded) = &mut self.guarded {
            guarded.guard.open(placement.address);
        }
        // What was never touched is zero.
        let bytes = self.bytes_mut();
        let there = bytes.len() as u64;
        let block = placement.address.min(there)..placement.end.min(there);
        bytes[block.start as usize..block.end as usize].fill(0);
        self.changed(block.start, block.end);
    }

    /// The whole memory.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = self.guarded.take().map_or(self.open, |guarded| guarded.bytes);
        bytes.resize(self.size as usize, 0);
        bytes
    }

    /// Takes a block back.
    pub fn free(&mut self, address: Option<u64>) -> Result<(), Stop> {
        self.check_in_turn()?;
        let address = address.ok_or(BAD_FREE)?;
        let len = self.heap.usable(address).ok_or(BAD_FREE)?;
        self.heap.free(address);
        if let Some(guarded) = &mut self.guarded {
            guarded.guard.close(address, address + len);
        }
        Ok(())
    }

    /// Bytes of a live block.
    pub fn usable(&self, address: Option<u64>) -> Result<u64, Stop> {
        self.check_in_turn()?;
        address.and_then(|address| self.heap.usable(address)).ok_or(BAD_FREE)
    }

    /// Makes a live block hold `len` bytes, where it lies or elsewhere; answers where.
    pub fn realloc(&mut self, address: Option<u64>, len: Option<u64>, gas: &mut Gas) -> Result<u64, Stop> {
        self.check_in_turn()?;
        let old_len = self.usable(address)?;
        let old = address.ok_or(BAD_FREE)?;
        if let Some(len) = len.filter(|&len| Heap::rounded(len) == Some(old_len)) {
            gas.charge(gas::grow(len))?;
            return Ok(old);
        }
        let (len, placement) = self.place(len)?;
        let kept = old_len.min(placement.end - placement.address);
        gas.charge(gas::grow(len) + gas::copy(kept))?;
        self.size = self.size.max(placement.end.div_ceil(PAGE_BYTES) * PAGE_BYTES);
        let there = self.bytes().len() as u64;
        // Behind what is there all is zero, as the new block will be.
        let source = old.min(there)..(old + kept).min(there);
        let copied = source.end - source.start;
        let end = placement.address + copied;
        if copied > 0 && end > there {
            let size = self.size;
            touch(self.guarded.as_mut().map_or(&mut self.open, |guarded| &mut guarded.bytes), end, size)?;
        }
        self.give_out(placement);
        if copied > 0 {
            let source = source.start as usize..source.end as usize;
            self.bytes_mut().copy_within(source, placement.address as usize);
            self.changed(placement.address, end);
        }
        self.free(address)?;
        Ok(placement.address)
    }

    /// M.TOUCH: makes the bytes up to `start + len` part of the touched memory; its size.
    pub fn extend_touched(
        &mut self,
        start: Option<u64>,
        len: Option<u64>,
        gas: &mut Gas,
    ) -> Result<u64, Stop> {
        self.check_in_turn()?;
        if len == Some(0) {
            return Ok(self.touched);
        }
        let end =
            start.zip(len).and_then(|(start, len)| start.checked_add(len)?.checked_next_multiple_of(32));
        let end = end.ok_or(OUT_OF_MEMORY)?.max(self.touched);
        let pages = end.div_ceil(PAGE_BYTES);
        if pages > self.max_pages.max(self.pages()) {
            return Err(OUT_OF_MEMORY);
        }
        gas.charge(gas::grow(end - self.touched))?;
        self.size = self.size.max(pages * PAGE_BYTES);
        self.touched = end;
        Ok(end)
    }

    /// M.PROTECT of a range within the size; turns protection on.
    pub fn protect(&mut self, pages: Range<u64>, permission: Permission) {
        let guarded = self.guarded.get_or_insert_with(|| {
            let guard = Guard::new(self.heap.freed());
            Box::new(Guarded { bytes: std::mem::take(&mut self.open), guard })
        });
        guarded.guard.protect(pages.start, pages.end, permission);
        self.free = 0..0;
    }

    /// The pages of 4 KiB that hold `len` bytes from a multiple of 4 KiB on, within the size.
    pub fn pages_of(&self, start: Option<u64>, len: Option<u64>) -> Result<Range<u64>, Stop> {
        let end = start.zip(len).and_then(|(start, len)| start.checked_add(len));
        match (start, end.filter(|&end| end <= self.size)) {
            (Some(start), Some(end)) => Ok(start / guard::PAGE_BYTES..end.div_ceil(guard::PAGE_BYTES)),
            _ => Err(BOUNDS),
        }
    }

    /// Whether M.DROP emptied a data segment.
    pub fn is_dropped(&self, segment: usize) -> bool {
        self.dropped.get(segment).is_some_and(|&is_dropped| is_dropped)
    }

    /// M.DROP.
    pub fn drop_data(&mut self, segment: usize) {
        if self.dropped.len() <= segment {
            self.dropped.resize(segment + 1, false);
        }
        self.dropped[segment] = true;
    }
}

/// Makes the memory up to `end`, which is within the size, be there.
fn touch(bytes: &mut Vec<u8>, end: u64, size: u64) -> Result<(), Stop> {
    let len = bytes.len() as u64;
    // Doubling keeps the copies few; at least a page of the usual machine.
    let wanted = end.max(2 * len).max(4096).min(size);
    let no_memory =
        || Stop::Machine(format!("The machine has no memory for {wanted} bytes.").into_boxed_str());
    let wanted_len = usize::try_from(wanted).map_err(|_| no_memory())?;
    bytes.try_reserve_exact(wanted_len - bytes.len()).map_err(|_| no_memory())?;
    bytes.resize(wanted_len, 0);
    Ok(())
}

/// Where an access of `len` bytes at an address plus an offset starts and ends.
#[inline(always)]
fn span<W: Word>(address: W, offset: u64, len: usize) -> Result<(u64, u64), Stop> {
    let start = address_of(address)?.checked_add(offset).ok_or_else(|| BOUNDS)?;
    let end = start.checked_add(len as u64).ok_or_else(|| BOUNDS)?;
    Ok((start, end))
}

/// A word as an address: its low 64 bits, the others zero.
#[inline(always)]
fn address_of<W: Word>(word: W) -> Result<u64, Stop> {
    if W::BITS <= 64 { Ok(word.low_u64()) } else { word.try_u64().ok_or_else(|| BOUNDS) }
}
