//! References: eight bytes that hold a small integer, or say where in the heap a thing lies.

use num_bigint::BigInt;

use dotvm_core::limits::heap::{GREATEST_SMALL, LEAST_SMALL};

/// A reference of an instance.
///
/// It owns a count of what it leads to, so it cannot be copied: [`Heap::share`](crate::Heap::share) makes another, and
/// [`Heap::release`](crate::Heap::release) gives it back. One that is merely dropped keeps its object for as long as
/// the heap lives, which is wrong but harmless.
///
/// The low two bits tell apart: 0 null; 1 a small integer in the other 62 bits; 2 a cell and 3 another object,
/// whose number is in the upper half, and of an object bit 2 says whether it is an integer.
#[derive(Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Reference(pub(crate) u64);

/// What a reference leads to; the numbers are those that RKIND answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Nothing.
    Null = 0,
    /// An integer.
    Integer = 1,
    /// A byte string.
    Bytes = 2,
    /// A pair of references.
    Cell = 3,
}

/// An integer of the heap.
#[derive(Clone, Copy, Debug)]
pub enum Integer<'a> {
    /// From −2^61 to 2^61 − 1.
    Small(i64),
    /// Any other.
    Large(&'a BigInt),
}

impl Integer<'_> {
    /// The integer as an unbounded one.
    pub fn to_big(self) -> BigInt {
        match self {
            Integer::Small(number) => number.into(),
            Integer::Large(number) => number.clone(),
        }
    }

    /// 64-bit limbs of the absolute value, at least 1.
    pub fn limbs(self) -> u64 {
        match self {
            Integer::Small(_) => 1,
            Integer::Large(number) => limbs(number),
        }
    }
}

/// 64-bit limbs of an absolute value, at least 1.
pub(crate) fn limbs(number: &BigInt) -> u64 {
    number.bits().div_ceil(64).max(1)
}

const TAG: u64 = 3;
const SMALL: u64 = 1;
const CELL: u64 = 2;
const OBJECT: u64 = 3;
const OBJECT_IS_INTEGER: u64 = 4;

impl Reference {
    /// Null.
    pub const NULL: Reference = Reference(0);

    /// A small integer, or `None` if it is outside −2^61 … 2^61 − 1.
    #[inline(always)]
    pub const fn small(number: i64) -> Option<Reference> {
        if number >= LEAST_SMALL && number <= GREATEST_SMALL {
            Some(Reference(((number as u64) << 2) | SMALL))
        } else {
            None
        }
    }

    /// The integer, if it is a small one.
    #[inline(always)]
    pub const fn as_small(&self) -> Option<i64> {
        if self.0 & TAG == SMALL { Some(self.0 as i64 >> 2) } else { None }
    }

    /// Whether it is null.
    #[inline(always)]
    pub const fn is_null(&self) -> bool {
        self.0 == 0
    }

    /// Whether it leads to a cell.
    #[inline(always)]
    pub const fn is_cell(&self) -> bool {
        self.0 & TAG == CELL
    }

    /// What it leads to.
    #[inline]
    pub const fn kind(&self) -> Kind {
        match self.0 & TAG {
            0 => Kind::Null,
            SMALL => Kind::Integer,
            CELL => Kind::Cell,
            _ if self.0 & OBJECT_IS_INTEGER != 0 => Kind::Integer,
            _ => Kind::Bytes,
        }
    }

    /// Whether anything in the heap is counted for it.
    #[inline(always)]
    pub(crate) const fn is_counted(&self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) const fn to_cell(index: u32) -> Reference {
        Reference((index as u64) << 32 | CELL)
    }

    pub(crate) const fn to_bytes(index: u32) -> Reference {
        Reference((index as u64) << 32 | OBJECT)
    }

    pub(crate) const fn to_large(index: u32) -> Reference {
        Reference((index as u64) << 32 | OBJECT_IS_INTEGER | OBJECT)
    }

    /// The number of the cell or object.
    #[inline(always)]
    pub(crate) const fn index(&self) -> usize {
        (self.0 >> 32) as usize
    }

    /// A number that no other cell or object has while this one lives.
    #[inline(always)]
    pub const fn identity(&self) -> u64 {
        self.0
    }

    /// The same reference again, without a count of its own: to be looked at while another one keeps what it leads to,
    /// and neither released nor stored.
    #[inline(always)]
    pub const fn alias(&self) -> Reference {
        Reference(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_come_back_as_they_were() {
        assert_eq!(size_of::<Reference>(), 8);
        for number in [0, 1, -1, GREATEST_SMALL, LEAST_SMALL, 1 << 40] {
            let reference = Reference::small(number).unwrap();
            assert_eq!((reference.as_small(), reference.kind()), (Some(number), Kind::Integer));
            assert!(!reference.is_counted() && !reference.is_null());
        }
        assert_eq!(Reference::small(GREATEST_SMALL + 1), None);
        assert_eq!(Reference::small(LEAST_SMALL - 1), None);
        assert_eq!(Reference::NULL.as_small(), None);
    }

    #[test]
    fn kinds_are_told_apart() {
        let all = [Reference::NULL, Reference::to_large(7), Reference::to_bytes(7), Reference::to_cell(7)];
        assert_eq!(all.each_ref().map(|reference| reference.kind() as u8), [0, 1, 2, 3]);
        assert!(all[1..].iter().all(|reference| reference.is_counted() && reference.index() == 7));
    }
}
