//! Linear memory of an instance.

use dotvm_arch::Word;
use dotvm_core::gas::{self, Gas};
use dotvm_core::heap::Heap;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::Module;
use dotvm_core::trap::TrapKind;

use crate::machine::Stop;

/// Linear memory: read-only data, then writable data, then the heap. Only the part up to the last byte touched is
/// there; what is behind it, up to the size, is zero.
#[derive(Debug)]
pub(crate) struct Memory {
    pub bytes: Vec<u8>,
    size: u64,
    /// End of the read-only data; writes below it trap.
    read_only_end: u64,
    max_pages: u64,
    heap: Heap,
}

const BOUNDS: Stop = Stop::trap(TrapKind::Bounds);
const PROTECT: Stop = Stop::trap(TrapKind::Protect);

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
        let data_end = module.data.last().map_or(0, |segment| segment.address as usize + segment.bytes.len());
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
        Ok(Memory { bytes, size, read_only_end, max_pages, heap: Heap::new(memory.heap_base) })
    }

    /// The `N` bytes at an address plus an offset.
    #[inline(always)]
    pub fn load<W: Word, const N: usize>(&mut self, address: W, offset: u64) -> Result<&[u8; N], Stop> {
        let start = self.reach(address, offset, N)?;
        self.bytes[start..].first_chunk().ok_or(BOUNDS)
    }

    /// The same for a write.
    #[inline(always)]
    pub fn store<W: Word, const N: usize>(&mut self, address: W, offset: u64) -> Result<&mut [u8; N], Stop> {
        let start = self.reach(address, offset, N)?;
        if (start as u64) < self.read_only_end {
            return Err(PROTECT);
        }
        self.bytes[start..].first_chunk_mut().ok_or(BOUNDS)
    }

    /// The bytes of a word at an address plus an offset.
    #[inline(always)]
    pub fn word<W: Word>(&mut self, address: W, offset: u64) -> Result<&[u8], Stop> {
        let start = self.reach(address, offset, W::BYTES)?;
        self.bytes.get(start..start + W::BYTES).ok_or(BOUNDS)
    }

    /// The same for a write.
    #[inline(always)]
    pub fn word_mut<W: Word>(&mut self, address: W, offset: u64) -> Result<&mut [u8], Stop> {
        let start = self.reach(address, offset, W::BYTES)?;
        if (start as u64) < self.read_only_end {
            return Err(PROTECT);
        }
        self.bytes.get_mut(start..start + W::BYTES).ok_or(BOUNDS)
    }

    /// Where an access of `len` bytes starts; all of them are there then.
    #[inline(always)]
    fn reach<W: Word>(&mut self, address: W, offset: u64, len: usize) -> Result<usize, Stop> {
        let start = address_of(address)?.checked_add(offset).ok_or(BOUNDS)?;
        let end = start.checked_add(len as u64).ok_or(BOUNDS)?;
        if end > self.bytes.len() as u64 {
            self.touch(end)?;
        }
        Ok(start as usize)
    }

    /// Makes the memory up to `end` be there, if it is within the size.
    #[cold]
    #[inline(never)]
    fn touch(&mut self, end: u64) -> Result<(), Stop> {
        if end > self.size {
            return Err(BOUNDS);
        }
        let len = self.bytes.len() as u64;
        // Doubling keeps the copies few; at least a page of the usual machine.
        let wanted = end.max(2 * len).max(4096).min(self.size);
        let no_memory =
            || Stop::Machine(format!("The machine has no memory for {wanted} bytes.").into_boxed_str());
        let wanted_len = usize::try_from(wanted).map_err(|_| no_memory())?;
        self.bytes.try_reserve_exact(wanted_len - self.bytes.len()).map_err(|_| no_memory())?;
        self.bytes.resize(wanted_len, 0);
        Ok(())
    }

    /// A range of memory for reading.
    pub fn range<W: Word>(
        &mut self,
        address: W,
        len: W,
        offset: u64,
    ) -> Result<std::ops::Range<usize>, Stop> {
        let len = len.try_u64().and_then(|len| usize::try_from(len).ok()).ok_or(BOUNDS)?;
        let start = self.reach(address, offset, len)?;
        Ok(start..start + len)
    }

    /// A range of memory for writing.
    pub fn writable_range<W: Word>(
        &mut self,
        address: W,
        len: W,
        offset: u64,
    ) -> Result<std::ops::Range<usize>, Stop> {
        let range = self.range(address, len, offset)?;
        if (range.start as u64) < self.read_only_end && !range.is_empty() { Err(PROTECT) } else { Ok(range) }
    }

    /// Size in pages.
    pub fn pages(&self) -> u64 {
        self.size / PAGE_BYTES
    }

    /// Grows by `pages`; the old size, or `None` beyond the limit.
    pub fn grow(&mut self, pages: Option<u64>, gas: &mut Gas) -> Result<Option<u64>, Stop> {
        let old = self.pages();
        let Some(new) = pages.and_then(|pages| old.checked_add(pages)).filter(|&new| new <= self.max_pages)
        else {
            return Ok(None);
        };
        gas.charge(gas::grow((new - old) * PAGE_BYTES))?;
        self.size = new * PAGE_BYTES;
        Ok(Some(old))
    }

    /// Gives out a zeroed block of at least `len` bytes.
    pub fn alloc(&mut self, len: Option<u64>, gas: &mut Gas) -> Result<u64, Stop> {
        let out_of_memory = Stop::trap(TrapKind::OutOfMemory);
        let Some((len, placement)) = len.and_then(|len| Some((len, self.heap.place(len)?))) else {
            return Err(out_of_memory);
        };
        let pages = placement.end.div_ceil(PAGE_BYTES);
        if pages > self.max_pages.max(self.pages()) {
            return Err(out_of_memory);
        }
        gas.charge(gas::grow(len))?;
        self.size = self.size.max(pages * PAGE_BYTES);
        self.heap.take(placement);
        // What was never touched is zero.
        let there = self.bytes.len() as u64;
        let block = placement.address.min(there)..placement.end.min(there);
        self.bytes[block.start as usize..block.end as usize].fill(0);
        Ok(placement.address)
    }

    /// The whole memory.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.resize(self.size as usize, 0);
        self.bytes
    }

    /// Takes a block back.
    pub fn free(&mut self, address: Option<u64>) -> Result<(), Stop> {
        match address {
            Some(address) if self.heap.free(address) => Ok(()),
            _ => Err(Stop::trap(TrapKind::BadFree)),
        }
    }
}

/// A word as an address: its low 64 bits, the others zero.
#[inline(always)]
fn address_of<W: Word>(word: W) -> Result<u64, Stop> {
    if W::BITS <= 64 { Ok(word.low_u64()) } else { word.try_u64().ok_or(BOUNDS) }
}
