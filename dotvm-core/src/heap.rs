//! The allocator behind ALLOC and FREE: size classes, deterministic, its book-keeping outside guest memory.
//!
//! Sizes are rounded up to a class: multiples of 16 up to 128 bytes, then four classes per doubling. A freed
//! block goes on its class's free list; the block freed last is given out first. Otherwise blocks are cut from
//! the end of the heap. Blocks are never merged, so both operations take constant time.

use std::collections::HashMap;

/// Classes of sizes below 2^48 bytes.
const CLASSES: usize = 8 + 41 * 4;

/// The heap of one instance. It only decides where blocks lie; the caller owns the memory.
#[derive(Clone, Debug)]
pub struct Heap {
    /// End of the part that was ever given out.
    top: u64,
    /// Class of each live block. Never iterated.
    live: HashMap<u64, u8>,
    /// Freed blocks of each class.
    free: Vec<Vec<u64>>,
}

/// What there is to a heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// End of the part that was ever given out.
    pub top: u64,
    /// Live blocks and their classes, by address.
    pub live: Vec<(u64, u8)>,
    /// Freed blocks of each class, the one freed last behind.
    pub free: Vec<Vec<u64>>,
}

/// Where the next block would lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// First address, a multiple of 16.
    pub address: u64,
    /// First address behind the block.
    pub end: u64,
    class: u8,
    reused: bool,
}

/// The class of a size and the bytes of its blocks; `None` from 2^48 bytes on.
fn class_of(bytes: u64) -> Option<(u8, u64)> {
    if bytes >= 1 << 48 {
        return None;
    }
    if bytes <= 128 {
        let class = bytes.div_ceil(16).max(1);
        return Some((class as u8 - 1, class * 16));
    }
    // 2^k < bytes ≤ 2^(k+1), cut in four.
    let k = 63 - (bytes - 1).leading_zeros();
    let step = 1u64 << (k - 2);
    let quarter = (bytes - (1 << k)).div_ceil(step);
    Some((8 + ((k - 7) * 4) as u8 + quarter as u8 - 1, (1 << k) + quarter * step))
}

impl Heap {
    /// An empty heap from `base` on, a multiple of 16.
    pub fn new(base: u64) -> Heap {
        Heap { top: base, live: HashMap::new(), free: Vec::new() }
    }

    /// Where a block of `bytes` would lie, or `None` if that is beyond 2^48 bytes.
    pub fn place(&self, bytes: u64) -> Option<Placement> {
        let (class, size) = class_of(bytes)?;
        let freed = self.free.get(class as usize).and_then(|blocks| blocks.last());
        let address = freed.copied().unwrap_or(self.top);
        Some(Placement { address, end: address.checked_add(size)?, class, reused: freed.is_some() })
    }

    /// Gives out the block of the latest [`Heap::place`].
    pub fn take(&mut self, placement: Placement) {
        if placement.reused {
            self.free[placement.class as usize].pop();
        } else {
            self.top = placement.end;
        }
        self.live.insert(placement.address, placement.class);
    }

    /// Bytes of the live block that starts at `address`.
    pub fn usable(&self, address: u64) -> Option<u64> {
        self.live.get(&address).map(|&class| bytes_of_class(class))
    }

    /// Bytes of the blocks that `bytes` are rounded up to, if there are any so large.
    pub fn rounded(bytes: u64) -> Option<u64> {
        class_of(bytes).map(|(_, size)| size)
    }

    /// The blocks that were taken back and not given out again: where they start and end.
    pub fn freed(&self) -> impl Iterator<Item = (u64, u64)> {
        self.free.iter().zip(0u8..).flat_map(|(blocks, class)| {
            blocks.iter().map(move |&address| (address, address + bytes_of_class(class)))
        })
    }

    /// All there is to it.
    pub fn parts(&self) -> Parts {
        let mut live: Vec<(u64, u8)> = self.live.iter().map(|(&address, &class)| (address, class)).collect();
        live.sort_unstable();
        Parts { top: self.top, live, free: self.free.clone() }
    }

    /// A heap from `base` on of these parts; `None` if the blocks do not lie one behind the other from `base` to the top.
    pub fn from_parts(base: u64, parts: Parts) -> Option<Heap> {
        let Parts { top, live, free } = parts;
        if free.len() > CLASSES {
            return None;
        }
        let freed =
            free.iter().zip(0u8..).flat_map(|(blocks, class)| blocks.iter().map(move |&at| (at, class)));
        let mut blocks: Vec<(u64, u8)> = live.iter().copied().chain(freed).collect();
        blocks.sort_unstable();
        let mut end = base;
        for (address, class) in blocks {
            if address != end || class as usize >= CLASSES {
                return None;
            }
            end = end.checked_add(bytes_of_class(class))?;
        }
        (end == top).then(|| Heap { top, live: live.into_iter().collect(), free })
    }

    /// Takes a block back; false if no live block starts at `address`.
    pub fn free(&mut self, address: u64) -> bool {
        let Some(class) = self.live.remove(&address) else { return false };
        if self.free.len() <= class as usize {
            self.free.resize(class as usize + 1, Vec::new());
        }
        self.free[class as usize].push(address);
        true
    }
}

/// Bytes of a class's blocks.
fn bytes_of_class(class: u8) -> u64 {
    if class < 8 {
        return 16 * (u64::from(class) + 1);
    }
    let (k, quarter) = (7 + (class - 8) / 4, (class - 8) % 4 + 1);
    (1 << k) + u64::from(quarter) * (1 << (k - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size_without_gaps() {
        let mut previous = (0, 16);
        for bytes in 0..100_000 {
            let (class, size) = class_of(bytes).unwrap();
            assert!(size >= bytes && size % 16 == 0);
            assert!(size <= 128 || size - bytes <= size / 4, "{bytes} wastes more than a quarter");
            assert_eq!(bytes_of_class(class), size);
            assert!((class, size) == previous || (class == previous.0 + 1 && size > previous.1));
            previous = (class, size);
        }
        assert!(class_of((1 << 48) - 1).is_some());
        assert!(class_of(1 << 48).is_none());
    }

    #[test]
    fn a_freed_block_is_reused_and_a_second_free_is_refused() {
        let mut heap = Heap::new(64);
        let mut alloc = |bytes| {
            let placement = heap.place(bytes).unwrap();
            heap.take(placement);
            placement.address
        };
        let (a, b) = (alloc(40), alloc(40));
        assert_eq!((a, b), (64, 112));
        assert_eq!((heap.usable(a), heap.usable(a + 16)), (Some(48), None));
        assert!(heap.free(a));
        assert_eq!((heap.usable(a), heap.freed().collect::<Vec<_>>()), (None, vec![(a, a + 48)]));
        assert!(!heap.free(a));
        assert!(!heap.free(a + 16));
        let placement = heap.place(33).unwrap();
        assert_eq!(placement.address, a);
        heap.take(placement);
        assert_eq!(heap.place(33).unwrap().address, 160);
    }

    #[test]
    fn a_heap_is_its_parts() {
        let (greatest, _) = class_of((1 << 48) - 1).unwrap();
        assert_eq!(usize::from(greatest) + 1, CLASSES);
        let mut heap = Heap::new(64);
        let mut blocks = Vec::new();
        for bytes in [40, 1000, 16, 40, 5000, 40] {
            let placement = heap.place(bytes).unwrap();
            heap.take(placement);
            blocks.push(placement.address);
        }
        for freed in [5, 0, 3, 4] {
            assert!(heap.free(blocks[freed]));
        }
        let parts = heap.parts();
        let again = Heap::from_parts(64, parts.clone()).unwrap();
        assert_eq!(again.parts(), parts);
        assert_eq!(again.place(40).unwrap(), heap.place(40).unwrap());
        assert!(Heap::from_parts(48, parts.clone()).is_none());
        assert!(Heap::from_parts(64, Parts { top: parts.top + 16, ..parts.clone() }).is_none());
        assert!(Heap::from_parts(64, Parts { live: parts.live[1..].to_vec(), ..parts.clone() }).is_none());
        assert!(Heap::from_parts(64, Parts { live: vec![(64, 255)], ..parts }).is_none());
    }
}
