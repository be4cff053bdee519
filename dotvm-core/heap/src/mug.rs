//! The hash of a noun: 31 bits, kept in each cell once it is known.
//!
//! A noun is a natural number (an atom) or a cell of nouns. The hash of an atom is MurmurHash3 (x86, 32 bits) of its
//! bytes, low ones first, folded to 31 bits; that of a cell is the same of the hashes of its parts.

use dotvm_core::gas;

use crate::heap::{Failure, Heap};
use crate::reference::{Integer, Kind, Reference};

/// Why an operation on a noun is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NounError<E> {
    /// A part is neither a natural number nor a cell.
    Kind,
    /// The result would be too long.
    Size,
    /// The bytes stand for no noun.
    Malformed,
    /// The work is not paid.
    Charge(E),
    /// The result does not fit the heap.
    Failure(Failure),
}

/// A part of a noun that is still to be looked at.
pub(crate) enum Task {
    Visit(Reference),
    /// Both parts of this cell are done.
    Join(u32),
}

impl Heap {
    /// The hash of a noun. The second time it costs nothing.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn mug<E>(
        &mut self,
        noun: &Reference,
        mut charge: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<u32, NounError<E>> {
        self.make_marks();
        let mut seen = Vec::new();
        let mut order = Vec::new();
        let found = self.unhashed(noun, &mut seen, &mut order, &mut charge);
        for cell in seen {
            self.marks[cell as usize] = 0;
        }
        found?;
        for cell in order {
            let place = &self.cells[cell as usize];
            let mug = mug_of_cell(self.known_mug(&place.head), self.known_mug(&place.tail));
            self.cells[cell as usize].mug = mug;
        }
        Ok(self.known_mug(noun))
    }

    /// The cells whose hash is not known, parts first.
    fn unhashed<E>(
        &mut self,
        noun: &Reference,
        seen: &mut Vec<u32>,
        order: &mut Vec<u32>,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), NounError<E>> {
        let mut tasks = vec![Task::Visit(noun.alias())];
        while let Some(task) = tasks.pop() {
            match task {
                Task::Join(cell) => order.push(cell),
                Task::Visit(part) if part.is_cell() => {
                    let index = part.index();
                    let place = &self.cells[index];
                    if place.mug != 0 || self.marks[index] != 0 {
                        continue;
                    }
                    charge(gas::NODE).map_err(NounError::Charge)?;
                    let (head, tail) = (place.head.alias(), place.tail.alias());
                    self.marks[index] = 1;
                    seen.push(index as u32);
                    tasks.extend([Task::Join(index as u32), Task::Visit(tail), Task::Visit(head)]);
                }
                Task::Visit(part) => {
                    let limbs = self.atom(&part).ok_or(NounError::Kind)?.limbs();
                    charge(limbs).map_err(NounError::Charge)?;
                }
            }
        }
        Ok(())
    }

    /// The natural number that a reference leads to.
    pub(crate) fn atom(&self, reference: &Reference) -> Option<Integer<'_>> {
        self.as_integer(reference).filter(|number| match number {
            Integer::Small(number) => *number >= 0,
            Integer::Large(number) => number.sign() == num_bigint::Sign::Plus,
        })
    }

    /// The hash of an atom, or of a cell that has one.
    pub(crate) fn known_mug(&self, noun: &Reference) -> u32 {
        if noun.kind() == Kind::Cell {
            return self.cells[noun.index()].mug;
        }
        match self.as_integer(noun) {
            Some(Integer::Small(number)) => mug_of_bytes(trimmed(&number.to_le_bytes())),
            Some(Integer::Large(number)) => mug_of_bytes(&number.magnitude().to_bytes_le()),
            None => 0,
        }
    }
}

/// Bytes without zeros at the end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..len]
}

/// The hash of an atom with these bytes, low ones first, the last one not zero.
pub fn mug_of_bytes(bytes: &[u8]) -> u32 {
    fold(0xCAFE_BABE, 0x7FFF, bytes)
}

/// The hash of a cell from those of its parts.
pub fn mug_of_cell(head: u32, tail: u32) -> u32 {
    let both = u64::from(head) | u64::from(tail) << 32;
    fold(0xDEAD_BEEF, 0xFFFE, trimmed(&both.to_le_bytes()))
}

/// The first hash of eight seeds that is not zero when folded to 31 bits.
fn fold(seed: u32, otherwise: u32, bytes: &[u8]) -> u32 {
    (0..8)
        .map(|round| {
            let hash = murmur3(seed.wrapping_add(round), bytes);
            (hash >> 31) ^ (hash & 0x7FFF_FFFF)
        })
        .find(|&hash| hash != 0)
        .unwrap_or(otherwise)
}

/// MurmurHash3_x86_32 (Austin Appleby, public domain).
fn murmur3(seed: u32, bytes: &[u8]) -> u32 {
    let scramble = |block: u32| block.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut hash = seed;
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash ^= scramble(u32::from_le_bytes(last));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use dotvm_core::value::Ref;
    use num_bigint::BigInt;

    use super::*;

    fn mug(noun: Ref) -> Result<u32, NounError<Infallible>> {
        let mut heap = Heap::new(u64::MAX);
        let noun = heap.import(&noun).unwrap();
        let mug = heap.mug(&noun, |_| Ok(()));
        assert!(heap.marks.iter().all(|&mark| mark == 0));
        mug
    }

    /// Values of Vere and of nockvm, which agree.
    #[test]
    fn mugs_are_those_of_other_machines() {
        let power = |bits: u32| Ref::Int(BigInt::from(1) << bits);
        let pair = |a: i64, b: i64| Ref::cell(a.into(), b.into());
        for (noun, expected) in [
            (Ref::from(0), 0x79ff_04e8),
            (1.into(), 0x715c_2a60),
            (42.into(), 0x6438_49c6),
            (255.into(), 0x37e4_d879),
            (power(32), 0x1de7_cf81),
            (Ref::Int((BigInt::from(1) << 63) - 1), 0x7a9f_252e),
            (power(63), 0x135e_b193),
            (power(64), 0x26a7_107f),
            (power(128), 0x05dd_5e8a),
            (pair(0, 0), 0x192f_5588),
            (pair(0, 1), 0x16a1_233b),
            (pair(1, 0), 0x44e4_ce97),
            (Ref::cell(1.into(), pair(2, 3)), 0x3a81_1aec),
            (Ref::cell(pair(1, 2), 3.into()), 0x2f8d_5f9f),
            // The first seed gives zero.
            (1_843_092_694.into(), 0x0429_ceea),
            (3_006_991_168.into(), 0x5cbf_3de5),
        ] {
            assert_eq!(mug(noun.clone()), Ok(expected), "{noun:?}");
        }
        let list = (0..10).rev().fold(Ref::from(0), |tail, item| Ref::cell(item.into(), tail));
        assert_eq!(mug(list), Ok(0x0e63_8896));
    }

    #[test]
    fn what_is_no_noun_has_no_mug() {
        for part in [Ref::Null, (-1).into(), Ref::Bytes("x".into()), Ref::Int(BigInt::from(-1) << 80)] {
            assert_eq!(mug(part.clone()), Err(NounError::Kind));
            assert_eq!(mug(Ref::cell(1.into(), part)), Err(NounError::Kind));
        }
    }

    #[test]
    fn shared_and_deep_nouns_cost_what_they_have() {
        let double = (0..100).fold(Ref::from(1), |part, _| Ref::cell(part.clone(), part));
        let mut heap = Heap::new(u64::MAX);
        let noun = heap.import(&double).unwrap();
        let mut cost = 0;
        let first = heap.mug(&noun, |amount| {
            cost += amount;
            Ok::<(), Infallible>(())
        });
        assert_eq!(cost, 100 * gas::NODE + 2);
        let again = heap.mug(&noun, |_| Err(()));
        assert_eq!(again.ok(), first.ok());
        let deep = (0..300_000).fold(Ref::from(1), |part, item| Ref::cell(part, item.into()));
        assert!(mug(deep).is_ok());
    }
}
