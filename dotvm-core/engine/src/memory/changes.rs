//! Which pages of a memory have changed since somebody asked.
//!
//! Nothing of it is on the way of a write: a memory has a range in which a write needs no look, and whoever counts changes
//! makes that range as long as the changed pages around the last write. A write elsewhere goes the slow way, where its
//! pages are marked and the range is moved. Where a program writes here and there in turns, so that it goes the slow way
//! again and again between pages that are marked already, counting costs more than it saves: then all pages count as
//! changed until somebody asks again.

use std::ops::Range;

use dotvm_core::limits::PAGE_BYTES;

/// Slow writes that are worth a page that need not be hashed: a page of 64 KiB takes some 17 microseconds, a write some 10
/// nanoseconds.
const WRITES_A_PAGE: u64 = 1024;

/// Pages that have changed.
#[derive(Debug)]
pub(super) struct Changes {
    /// A bit a page.
    marks: Vec<u64>,
    /// Slow writes within marked pages until all pages count as changed.
    left: u64,
}

impl Changes {
    /// Nothing has changed of so many bytes.
    pub fn none(len: usize) -> Changes {
        let pages = (len as u64).div_ceil(PAGE_BYTES);
        Changes { marks: Vec::new(), left: pages.max(1) * WRITES_A_PAGE }
    }

    fn is_marked(&self, page: u64) -> bool {
        self.marks.get((page / 64) as usize).is_some_and(|bits| bits >> (page % 64) & 1 == 1)
    }

    /// The bytes from `start` to before `end` are written: where the next write needs no look.
    pub fn mark(&mut self, start: u64, end: u64) -> Range<u64> {
        let pages = start / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        let mut is_new = false;
        for page in pages.clone() {
            is_new |= !self.is_marked(page);
            let place = (page / 64) as usize;
            if place >= self.marks.len() {
                self.marks.resize(place + 1, 0);
            }
            self.marks[place] |= 1 << (page % 64);
        }
        if !is_new {
            self.left = self.left.saturating_sub(1);
        }
        if self.is_all() {
            return 0..u64::MAX;
        }
        let full = |page: u64| self.marks.get((page / 64) as usize) == Some(&u64::MAX);
        let (mut first, mut behind) = (pages.start, pages.end);
        while first > 0 && self.is_marked(first - 1) {
            first -= if first.is_multiple_of(64) && full(first - 1) { 64 } else { 1 };
        }
        while self.is_marked(behind) {
            behind += if behind.is_multiple_of(64) && full(behind) { 64 } else { 1 };
        }
        first * PAGE_BYTES..behind.saturating_mul(PAGE_BYTES)
    }

    fn is_all(&self) -> bool {
        self.left == 0
    }

    /// The pages that have changed, in their order; `None` if any may have.
    pub fn pages(&self) -> Option<Vec<u32>> {
        if self.is_all() {
            return None;
        }
        let bits = self.marks.iter().enumerate().filter(|(_, bits)| **bits != 0);
        let pages = bits.flat_map(|(place, bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| place as u32 * 64 + bit)
        });
        Some(pages.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a list of flags; the range is as long as it can be, and holds marked pages only.
    #[test]
    fn ranges_are_the_marked_pages_around_a_write() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let mut changes = Changes::none(300 << 16);
            let mut flags = vec![false; 400];
            for _ in 0..random.usize(1..60) {
                let start = random.u64(..300 * PAGE_BYTES);
                let most = [2, 70_000, 3_000_000][random.usize(..3)];
                let end = start + random.u64(1..most);
                let free = changes.mark(start, end);
                let pages = (start / PAGE_BYTES) as usize..end.div_ceil(PAGE_BYTES) as usize;
                flags[pages.clone()].fill(true);
                let first = flags[..pages.start].iter().rposition(|flag| !flag).map_or(0, |page| page + 1);
                let behind = pages.end + flags[pages.end..].iter().position(|flag| !flag).unwrap();
                assert_eq!(free, first as u64 * PAGE_BYTES..behind as u64 * PAGE_BYTES);
            }
            let marked = (0..400).filter(|&page| flags[page as usize]).collect();
            assert_eq!(changes.pages(), Some(marked));
        }
    }

    #[test]
    fn writing_in_turns_ends_the_counting() {
        let mut changes = Changes::none(2 << 16);
        let mut writes = 0;
        while changes.pages().is_some() {
            changes.mark(3 * PAGE_BYTES * (writes % 2), 3 * PAGE_BYTES * (writes % 2) + 8);
            writes += 1;
        }
        assert_eq!(writes, 2 + 2 * WRITES_A_PAGE);
        assert_eq!(changes.mark(0, 1), 0..u64::MAX);
    }
}
