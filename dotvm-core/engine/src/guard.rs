//! Protection of memory, for programs that asked for it: permissions of pages, and blocks that were freed.

use std::collections::BTreeMap;

/// Bytes of a page that has a permission of its own.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// What a page allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    None,
    Read,
    ReadWrite,
}

impl Permission {
    /// The permission that the flags of M.PROTECT name.
    pub fn from_flags(flags: u64) -> Option<Permission> {
        match flags {
            0 => Some(Permission::None),
            1 => Some(Permission::Read),
            3 => Some(Permission::ReadWrite),
            _ => None,
        }
    }

    /// The flags that name it.
    pub fn flags(self) -> u8 {
        match self {
            Permission::None => 0,
            Permission::Read => 1,
            Permission::ReadWrite => 3,
        }
    }
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The protection of a memory.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Permissions of pages from a page on, up to the next entry. Before the first entry all is allowed.
    pages: BTreeMap<u64, Permission>,
    /// Freed blocks: where they start and end. They do not overlap.
    freed: BTreeMap<u64, u64>,
}

impl Guard {
    /// A guard of freed blocks, each with its start and end, that allows everything else.
    pub fn new(freed: impl Iterator<Item = (u64, u64)>) -> Guard {
        Guard { pages: BTreeMap::new(), freed: freed.collect() }
    }

    /// Where permissions of pages change, and to what.
    pub fn pages(&self) -> &BTreeMap<u64, Permission> {
        &self.pages
    }

    /// Sets the permissions of pages from a page on.
    pub fn set_pages(&mut self, pages: BTreeMap<u64, Permission>) {
        self.pages = pages;
    }

    /// Whether an access to the bytes from `start` to before `end` is allowed.
    pub fn allows(&self, start: u64, end: u64, access: Access) -> bool {
        if start == end {
            return true;
        }
        let allows = |permission: Permission| match access {
            Access::Read => permission != Permission::None,
            Access::Write => permission == Permission::ReadWrite,
        };
        let (first, last) = (start / PAGE_BYTES, (end - 1) / PAGE_BYTES);
        // Of the blocks that start before the end, the last one reaches farthest.
        let is_freed = self.freed.range(..end).next_back().is_some_and(|(_, &freed_end)| freed_end > start);
        !is_freed && allows(self.permission(first)) && self.pages.range(first..=last).all(|(_, &p)| allows(p))
    }

    /// The permission of a page.
    fn permission(&self, page: u64) -> Permission {
        self.pages.range(..=page).next_back().map_or(Permission::ReadWrite, |(_, &permission)| permission)
    }

    /// Gives the pages from `first` to before `end` a permission.
    pub fn protect(&mut self, first: u64, end: u64, permission: Permission) {
        if first == end {
            return;
        }
        let behind = self.permission(end);
        let inside: Vec<u64> = self.pages.range(first..end).map(|(&page, _)| page).collect();
        for page in inside {
            self.pages.remove(&page);
        }
        self.pages.insert(first, permission);
        self.pages.insert(end, behind);
    }

    /// A block was freed.
    pub fn close(&mut self, start: u64, end: u64) {
        self.freed.insert(start, end);
    }

    /// A freed block, or a new one, was given out.
    pub fn open(&mut self, start: u64) {
        self.freed.remove(&start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against one permission a page and one flag a byte.
    #[test]
    fn ranges_of_pages_mean_what_single_pages_mean() {
        const PAGES: usize = 24;
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let mut guard = Guard::new(std::iter::empty());
            let mut pages = [Permission::ReadWrite; PAGES];
            for _ in 0..random.usize(..12) {
                let first = random.usize(..PAGES);
                let end = random.usize(first..=PAGES);
                let permission = Permission::from_flags([0, 1, 3][random.usize(..3)]).unwrap();
                guard.protect(first as u64, end as u64, permission);
                pages[first..end].fill(permission);
            }
            for _ in 0..100 {
                let start = random.u64(..PAGES as u64 * PAGE_BYTES);
                let end = random.u64(start..=(start + 3 * PAGE_BYTES).min(PAGES as u64 * PAGE_BYTES));
                let touched = (start..end).map(|at| pages[(at / PAGE_BYTES) as usize]);
                assert_eq!(
                    guard.allows(start, end, Access::Read),
                    touched.clone().all(|page| page != Permission::None)
                );
                assert_eq!(
                    guard.allows(start, end, Access::Write),
                    touched.clone().all(|page| page == Permission::ReadWrite)
                );
            }
        }
    }

    #[test]
    fn a_freed_block_is_closed_byte_by_byte() {
        let mut guard = Guard::new([(32, 48)].into_iter());
        guard.close(64, 128);
        assert!(guard.allows(0, 32, Access::Write) && guard.allows(48, 64, Access::Write));
        assert!(guard.allows(40, 40, Access::Read) && guard.allows(128, 200, Access::Read));
        for (start, end) in [(31, 33), (47, 48), (63, 65), (127, 128), (0, 200), (70, 80)] {
            assert!(!guard.allows(start, end, Access::Read), "{start}..{end}");
        }
        guard.open(32);
        assert!(guard.allows(0, 64, Access::Write));
    }
}
