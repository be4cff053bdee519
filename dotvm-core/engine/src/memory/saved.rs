//! Linear memory written down, but for its bytes.

use std::collections::BTreeMap;

use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::heap::{Heap, Parts};
use dotvm_core::limits::{Limits, PAGE_BYTES};
use dotvm_core::module::Module;

use super::{Guarded, Memory};
use crate::guard::{Guard, Permission};

impl Memory {
    /// Writes down everything but the bytes.
    pub fn save(&self, to: &mut Writer) {
        to.number(self.pages());
        to.count(self.bytes().len());
        to.number(self.touched);
        to.count(self.dropped.len());
        self.dropped.iter().for_each(|&is_dropped| to.flag(is_dropped));
        let Parts { top, live, free } = self.heap.parts();
        to.number(top);
        to.count(live.len());
        for (address, class) in live {
            to.number(address);
            to.byte(class);
        }
        to.count(free.len());
        for blocks in free {
            to.count(blocks.len());
            blocks.into_iter().for_each(|address| to.number(address));
        }
        to.flag(self.guarded.is_some());
        if let Some(guarded) = &self.guarded {
            let pages = guarded.guard.pages();
            to.count(pages.len());
            for (&page, permission) in pages {
                to.number(page);
                to.byte(permission.flags());
            }
        }
    }

    /// Reads a memory of an instance of `module`; `bytes` gives its bytes when their number is known.
    pub fn restore(
        module: &Module,
        limits: &Limits,
        from: &mut Reader<'_>,
        bytes: impl FnOnce(usize) -> Result<Vec<u8>, String>,
    ) -> Result<Memory, Damage> {
        let pages = from.number()?;
        let max_pages = module.memory.max_pages.min(limits.memory_pages);
        from.require(
            (module.memory.min_pages..=max_pages.max(module.memory.min_pages)).contains(&pages),
            "linear memory has a size that it cannot have",
        )?;
        let size = pages * PAGE_BYTES;
        let len: usize = from.small()?;
        from.require(len as u64 <= size, "linear memory is longer than its size")?;
        let touched = from.number()?;
        from.require(
            touched.is_multiple_of(32) && touched <= size,
            "the touched memory is longer than linear memory",
        )?;
        let segments = from.count(1)?;
        from.require(segments <= module.data.len(), "more data segments are emptied than there are")?;
        let dropped = (0..segments).map(|_| from.flag()).collect::<Result<_, _>>()?;
        let heap = restore_heap(module, size, from)?;
        let mut guard = None;
        if from.flag()? {
            let mut pages = BTreeMap::new();
            for _ in 0..from.count(2)? {
                let page = from.number()?;
                let Some(permission) = Permission::from_flags(from.byte()?.into()) else {
                    return from.damage("there is no such permission");
                };
                let is_next = pages.last_key_value().is_none_or(|(&last, _)| last < page);
                from.require(is_next, "permissions of pages are out of order")?;
                pages.insert(page, permission);
            }
            let mut made = Guard::new(heap.freed());
            made.set_pages(pages);
            guard = Some(made);
        }
        let bytes = match bytes(len) {
            Ok(bytes) if bytes.len() == len => bytes,
            Ok(_) => return from.damage("linear memory has another length than its bytes"),
            Err(sentence) => return from.damage(sentence),
        };
        let read_only = module.data.iter().rfind(|segment| segment.read_only);
        let read_only_end = read_only.map_or(0, |segment| segment.address + segment.bytes.len() as u64);
        let (open, guarded) = match guard {
            Some(guard) => (Vec::new(), Some(Box::new(Guarded { bytes, guard }))),
            None => (bytes, None),
        };
        let mut memory = Memory {
            open,
            guarded,
            aside: None,
            free: 0..0,
            changes: None,
            size,
            read_only_end,
            max_pages,
            heap,
            touched,
            dropped,
        };
        // It is as it was written.
        memory.count_changes();
        Ok(memory)
    }
}

fn restore_heap(module: &Module, size: u64, from: &mut Reader<'_>) -> Result<Heap, Damage> {
    let base = module.memory.heap_base;
    let top = from.number()?;
    from.require(top == base || top <= size, "the allocator's heap ends behind linear memory")?;
    let mut live = Vec::new();
    for _ in 0..from.count(2)? {
        live.push((from.number()?, from.byte()?));
    }
    from.require(live.is_sorted(), "blocks are out of order")?;
    let mut free = Vec::new();
    for _ in 0..from.count(1)? {
        let count = from.count(1)?;
        free.push((0..count).map(|_| from.number()).collect::<Result<_, _>>()?);
    }
    match Heap::from_parts(base, Parts { top, live, free }) {
        Some(heap) => Ok(heap),
        None => from.damage("the allocator's blocks do not lie one behind the other"),
    }
}
