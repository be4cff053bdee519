//! Linear memory and the heap of one instance, with every bound checked where it is used.

use std::collections::BTreeMap;
use std::ops::Range;

use dotvm_core::gas;
use dotvm_core::heap::Heap;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::Module;
use dotvm_core::trap::TrapKind;
use num_bigint::BigUint;
use num_traits::ToPrimitive;

/// Bytes of a page that has a protection of its own.
const SMALL_PAGE: u64 = 4096;

/// The memory of one instance.
pub struct Memory {
    bytes: Vec<u8>,
    /// First address that may be written.
    read_only_end: u64,
    /// Pages it may reach.
    page_limit: u64,
    heap: Heap,
    /// Flags of pages of 4 KiB that M.PROTECT named: 1 read, 2 write. `None` before the first.
    protected: Option<BTreeMap<u64, u64>>,
    /// Bytes that M.TOUCH has touched.
    touched: u64,
}

/// Where and how LOADX and STOREX find a value.
#[derive(Clone, Copy)]
pub struct Format {
    /// Bytes of the value.
    pub bytes: u64,
    /// Whether a load extends the sign.
    pub is_signed: bool,
    /// Whether the first byte is the most significant one.
    pub is_big_endian: bool,
}

impl Format {
    /// A little-endian unsigned value.
    pub const fn little(bytes: u64) -> Format {
        Format { bytes, is_signed: false, is_big_endian: false }
    }

    /// The format that the immediate of LOADX and STOREX names.
    pub const fn from_immediate(fmt: u64) -> Format {
        Format { bytes: 1 << (fmt & 7), is_signed: fmt & 8 != 0, is_big_endian: fmt & 16 != 0 }
    }
}

impl Memory {
    /// The memory that a verified module starts with, or a sentence why it cannot.
    pub fn new(module: &Module, limit_pages: u64) -> Result<Memory, String> {
        let page_limit = module.memory.max_pages.min(limit_pages);
        let min_pages = module.memory.min_pages;
        if min_pages > page_limit {
            return Err(format!(
                "The module needs {min_pages} pages of memory, but the limit is {page_limit}."
            ));
        }
        let read_only_end = module
            .data
            .iter()
            .filter(|segment| segment.read_only)
            .map(|segment| segment.address + segment.bytes.len() as u64)
            .max()
            .unwrap_or(0);
        let mut memory = Memory {
            bytes: Vec::new(),
            read_only_end,
            page_limit,
            heap: Heap::new(module.memory.heap_base),
            protected: None,
            touched: 0,
        };
        if !memory.extend(min_pages * PAGE_BYTES) {
            return Err(format!("There is no room for the module's {min_pages} pages of memory."));
        }
        for segment in &module.data {
            let start = segment.address as usize;
            memory.bytes[start..start + segment.bytes.len()].copy_from_slice(&segment.bytes);
        }
        Ok(memory)
    }

    /// Sets how many pages it may have at most.
    pub fn set_page_limit(&mut self, module: &Module, limit_pages: u64) {
        self.page_limit = module.memory.max_pages.min(limit_pages);
    }

    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its size in pages.
    pub fn pages(&self) -> u64 {
        self.bytes.len() as u64 / PAGE_BYTES
    }

    /// Makes memory `size` bytes long; false if this machine has not as much.
    fn extend(&mut self, size: u64) -> bool {
        let Ok(size) = usize::try_from(size) else { return false };
        let has_room = self.bytes.try_reserve_exact(size.saturating_sub(self.bytes.len())).is_ok();
        if has_room {
            self.bytes.resize(size, 0);
        }
        has_room
    }

    /// The `len` bytes at `address + offset`, all of them within memory and readable.
    pub fn range(&self, address: &BigUint, offset: u64, len: u64) -> Result<Range<usize>, TrapKind> {
        let start = address.to_u64().and_then(|address| address.checked_add(offset));
        let end = start.and_then(|start| start.checked_add(len));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.bytes.len() as u64 => {
                self.check_protection(start, end, 1)?;
                Ok(start as usize..end as usize)
            }
            _ => Err(TrapKind::Bounds),
        }
    }

    /// Every page must have the flag, and no byte may lie in a freed block, once the program asked for protection.
    fn check_protection(&self, start: u64, end: u64, flag: u64) -> Result<(), TrapKind> {
        let Some(protected) = &self.protected else { return Ok(()) };
        if start == end {
            return Ok(());
        }
        let pages = start / SMALL_PAGE..=(end - 1) / SMALL_PAGE;
        let is_allowed =
            pages.into_iter().all(|page| protected.get(&page).is_none_or(|flags| flags & flag != 0));
        let is_freed = self.heap.freed().any(|(freed, freed_end)| freed < end && start < freed_end);
        if is_allowed && !is_freed { Ok(()) } else { Err(TrapKind::Protect) }
    }

    /// The `len` bytes at `address + offset`, all of them within memory and writable.
    pub fn writable(&self, address: &BigUint, offset: u64, len: u64) -> Result<Range<usize>, TrapKind> {
        let range = self.range(address, offset, len)?;
        if !range.is_empty() && (range.start as u64) < self.read_only_end {
            return Err(TrapKind::Protect);
        }
        self.check_protection(range.start as u64, range.end as u64, 2)?;
        Ok(range)
    }

    /// The bytes of a range that was checked before.
    pub fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The bytes of a range that was checked before, for writing.
    pub fn slice_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }

    /// Copies within memory; both ranges were checked before and are equally long.
    pub fn copy_within(&mut self, source: Range<usize>, destination: usize) {
        self.bytes.copy_within(source, destination);
    }

    /// Reads an unsigned value.
    pub fn load(&self, address: &BigUint, offset: u64, format: Format) -> Result<BigUint, TrapKind> {
        let bytes = self.slice(self.range(address, offset, format.bytes)?);
        Ok(if format.is_big_endian { BigUint::from_bytes_be(bytes) } else { BigUint::from_bytes_le(bytes) })
    }

    /// Writes the low bytes of `value`.
    pub fn store(
        &mut self,
        address: &BigUint,
        offset: u64,
        value: &BigUint,
        format: Format,
    ) -> Result<(), TrapKind> {
        let range = self.writable(address, offset, format.bytes)?;
        let mut bytes = value.to_bytes_le();
        bytes.resize(format.bytes as usize, 0);
        if format.is_big_endian {
            bytes.reverse();
        }
        self.bytes[range].copy_from_slice(&bytes);
        Ok(())
    }

    /// MGROW: the pages before, or `None` beyond the limit. Calls `charge` with the cost before it grows.
    pub fn grow(
        &mut self,
        pages: &BigUint,
        charge: impl FnOnce(u64) -> Result<(), TrapKind>,
    ) -> Result<Option<u64>, TrapKind> {
        let old = self.pages();
        let new = pages.to_u64().and_then(|pages| old.checked_add(pages));
        let Some(new) = new.filter(|&new| new <= self.page_limit) else { return Ok(None) };
        charge(gas::grow((new - old) * PAGE_BYTES))?;
        Ok(self.extend(new * PAGE_BYTES).then_some(old))
    }

    /// ALLOC: the address of a zeroed block. Calls `charge` with the cost before it takes the block.
    pub fn alloc(
        &mut self,
        bytes: &BigUint,
        charge: impl FnOnce(u64) -> Result<(), TrapKind>,
    ) -> Result<u64, TrapKind> {
        let bytes = bytes.to_u64().ok_or(TrapKind::OutOfMemory)?;
        let placement = self.heap.place(bytes).ok_or(TrapKind::OutOfMemory)?;
        let pages = placement.end.div_ceil(PAGE_BYTES).max(self.pages());
        if pages > self.page_limit {
            return Err(TrapKind::OutOfMemory);
        }
        charge(gas::grow(bytes))?;
        if !self.extend(pages * PAGE_BYTES) {
            return Err(TrapKind::OutOfMemory);
        }
        self.heap.take(placement);
        self.bytes[placement.address as usize..placement.end as usize].fill(0);
        Ok(placement.address)
    }

    /// FREE of a live block.
    pub fn free(&mut self, address: &BigUint) -> Result<(), TrapKind> {
        match address.to_u64() {
            Some(address) if self.heap.free(address) => Ok(()),
            _ => Err(TrapKind::BadFree),
        }
    }

    /// M.USABLE: bytes of a live block.
    pub fn usable(&self, address: &BigUint) -> Result<u64, TrapKind> {
        address.to_u64().and_then(|address| self.heap.usable(address)).ok_or(TrapKind::BadFree)
    }

    /// M.REALLOC. A block of the right class stays; any other is given out anew, copied and freed.
    pub fn realloc(
        &mut self,
        address: &BigUint,
        bytes: &BigUint,
        mut charge: impl FnMut(u64) -> Result<(), TrapKind>,
    ) -> Result<u64, TrapKind> {
        let old_len = self.usable(address)?;
        let old = address.to_u64().ok_or(TrapKind::BadFree)?;
        let rounded = bytes.to_u64().and_then(Heap::rounded);
        if rounded == Some(old_len) {
            charge(gas::grow(bytes.to_u64().unwrap_or_default()))?;
            return Ok(old);
        }
        let kept = old_len.min(rounded.ok_or(TrapKind::OutOfMemory)?);
        let new = self.alloc(bytes, |cost| charge(cost + gas::copy(kept)))?;
        self.bytes.copy_within(old as usize..(old + kept) as usize, new as usize);
        self.free(address)?;
        Ok(new)
    }

    /// M.PROTECT. Calls `charge` with the cost before it changes anything.
    pub fn protect(
        &mut self,
        [address, len, flags]: [&BigUint; 3],
        charge: impl FnOnce(u64) -> Result<(), TrapKind>,
    ) -> Result<(), TrapKind> {
        let flags = flags.to_u64().filter(|flags| [0, 1, 3].contains(flags)).ok_or(TrapKind::Range)?;
        if address % SMALL_PAGE != BigUint::ZERO {
            return Err(TrapKind::Range);
        }
        if address + len > BigUint::from(self.bytes.len()) {
            return Err(TrapKind::Bounds);
        }
        let first = address.to_u64().ok_or(TrapKind::Bounds)?;
        let len = len.to_u64().ok_or(TrapKind::Bounds)?;
        charge(gas::copy(len))?;
        let pages = self.protected.get_or_insert_default();
        for page in first / SMALL_PAGE..(first + len).div_ceil(SMALL_PAGE) {
            pages.insert(page, flags);
        }
        Ok(())
    }

    /// M.TOUCH: bytes touched afterwards, a multiple of 32.
    pub fn touch(
        &mut self,
        address: &BigUint,
        len: &BigUint,
        charge: impl FnOnce(u64) -> Result<(), TrapKind>,
    ) -> Result<u64, TrapKind> {
        if *len == BigUint::ZERO {
            return Ok(self.touched);
        }
        let words = (address + len + 31u32) / 32u32;
        let end = (words * 32u32).to_u64().ok_or(TrapKind::OutOfMemory)?.max(self.touched);
        let pages = end.div_ceil(PAGE_BYTES).max(self.pages());
        if pages > self.page_limit {
            return Err(TrapKind::OutOfMemory);
        }
        charge(gas::grow(end - self.touched))?;
        if !self.extend(pages * PAGE_BYTES) {
            return Err(TrapKind::OutOfMemory);
        }
        self.touched = end;
        Ok(end)
    }
}
