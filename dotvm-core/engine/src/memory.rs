//! Linear memory of an instance.

use dotvm_arch::Word;
use dotvm_core::gas::{self, Gas};
use dotvm_core::heap::Heap;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::Module;
use dotvm_core::trap::TrapKind;

use crate::machine::Stop;

/// Linear memory: read-only data, then writable data, then the heap.
#[derive(Debug)]
pub(crate) struct Memory {
    pub bytes: Vec<u8>,
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
        let size = memory.min_pages * PAGE_BYTES;
        // Asking first turns what would abort the process into an answer; zeroed memory comes lazily.
        let no_memory = || {
            format!("The machine has no memory for the {} pages the module starts with.", memory.min_pages)
        };
        let size = usize::try_from(size).map_err(|_| no_memory())?;
        Vec::<u8>::new().try_reserve_exact(size).map_err(|_| no_memory())?;
        let mut bytes = vec![0; size];
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
        Ok(Memory { bytes, read_only_end, max_pages, heap: Heap::new(memory.heap_base) })
    }

    /// The `N` bytes at an address plus an offset.
    #[inline(always)]
    pub fn load<W: Word, const N: usize>(&self, address: W, offset: u64) -> Result<&[u8; N], Stop> {
        let address = address_of(address)?;
        let start = address.checked_add(offset).ok_or(BOUNDS)?;
        let tail = self.bytes.get(start as usize..).ok_or(BOUNDS)?;
        tail.first_chunk().ok_or(BOUNDS)
    }

    /// The same for a write.
    #[inline(always)]
    pub fn store<W: Word, const N: usize>(&mut self, address: W, offset: u64) -> Result<&mut [u8; N], Stop> {
        let address = address_of(address)?;
        let start = address.checked_add(offset).ok_or(BOUNDS)?;
        let tail = self.bytes.get_mut(start as usize..).ok_or(BOUNDS)?;
        let chunk = tail.first_chunk_mut().ok_or(BOUNDS)?;
        if start < self.read_only_end {
            return Err(PROTECT);
        }
        Ok(chunk)
    }

    /// The bytes of a word at an address plus an offset.
    #[inline(always)]
    pub fn word<W: Word>(&self, address: W, offset: u64) -> Result<&[u8], Stop> {
        let start = address_of(address)?.checked_add(offset).ok_or(BOUNDS)?;
        self.bytes.get(start as usize..).and_then(|tail| tail.get(..W::BYTES)).ok_or(BOUNDS)
    }

    /// The same for a write.
    #[inline(always)]
    pub fn word_mut<W: Word>(&mut self, address: W, offset: u64) -> Result<&mut [u8], Stop> {
        let start = address_of(address)?.checked_add(offset).ok_or(BOUNDS)?;
        let bytes =
            self.bytes.get_mut(start as usize..).and_then(|tail| tail.get_mut(..W::BYTES)).ok_or(BOUNDS)?;
        if start < self.read_only_end { Err(PROTECT) } else { Ok(bytes) }
    }

    /// A range of memory for reading.
    pub fn range<W: Word>(&self, address: W, len: W, offset: u64) -> Result<std::ops::Range<usize>, Stop> {
        let start = address_of(address)?.checked_add(offset).ok_or(BOUNDS)?;
        let end = start.checked_add(len.try_u64().ok_or(BOUNDS)?).ok_or(BOUNDS)?;
        if end > self.bytes.len() as u64 { Err(BOUNDS) } else { Ok(start as usize..end as usize) }
    }

    /// A range of memory for writing.
    pub fn writable_range<W: Word>(
        &self,
        address: W,
        len: W,
        offset: u64,
    ) -> Result<std::ops::Range<usize>, Stop> {
        let range = self.range(address, len, offset)?;
        if (range.start as u64) < self.read_only_end && !range.is_empty() { Err(PROTECT) } else { Ok(range) }
    }

    /// Size in pages.
    pub fn pages(&self) -> u64 {
        self.bytes.len() as u64 / PAGE_BYTES
    }

    /// Grows by `pages`; the old size, or `None` beyond the limit.
    pub fn grow(&mut self, pages: Option<u64>, gas: &mut Gas) -> Result<Option<u64>, Stop> {
        let old = self.pages();
        let Some(new) = pages.and_then(|pages| old.checked_add(pages)).filter(|&new| new <= self.max_pages)
        else {
            return Ok(None);
        };
        gas.charge(gas::grow((new - old) * PAGE_BYTES))?;
        self.resize(new)?;
        Ok(Some(old))
    }

    /// Grows to `pages`, within the limit. Where the machine has no memory for them the run is given up: that is
    /// not the program's doing, and another machine would have answered.
    fn resize(&mut self, pages: u64) -> Result<(), Stop> {
        let no_memory =
            || Stop::Machine(format!("The machine has no memory for {pages} pages.").into_boxed_str());
        let size = usize::try_from(pages * PAGE_BYTES).map_err(|_| no_memory())?;
        self.bytes.try_reserve(size.saturating_sub(self.bytes.len())).map_err(|_| no_memory())?;
        self.bytes.resize(size, 0);
        Ok(())
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
        if pages > self.pages() {
            self.resize(pages)?;
        }
        self.heap.take(placement);
        self.bytes[placement.address as usize..placement.end as usize].fill(0);
        Ok(placement.address)
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
