//! Equality and order of structures.

use std::cmp::Ordering;

use dotvm_core::gas;

use crate::heap::Heap;
use crate::reference::{Integer, Reference};

/// What one comparison needs besides the heap.
struct Comparison {
    /// Pairs of places still to be compared, the next one last.
    pairs: Vec<(Reference, Reference)>,
    /// Cells that were put into another's class, in this order. Their marks hold the number of a cell of the class plus
    /// one.
    joined: Vec<u32>,
}

impl Heap {
    /// Compares two references: by kind (null, integer, byte string, cell), then by value; byte strings and cells
    /// by their first difference.
    ///
    /// Two pairs of cells of which the one follows from the other are looked into once, so the work is in proportion to
    /// the number of cells. What turns out equal shares its parts from then on. `charge` is asked before each piece of
    /// work.
    ///
    /// # Errors
    /// That of `charge`; nothing has changed then.
    #[inline]
    pub fn compare<E>(
        &mut self,
        a: &Reference,
        b: &Reference,
        mut charge: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Ordering, E> {
        if !(a.is_cell() && b.is_cell()) {
            return self.compare_leaves(a, b, &mut charge);
        }
        self.compare_cells(a, b, &mut charge)
    }

    fn compare_leaves<E>(
        &self,
        a: &Reference,
        b: &Reference,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Ordering, E> {
        if let (Some(a), Some(b)) = (a.as_small(), b.as_small()) {
            return Ok(a.cmp(&b));
        }
        if let (Some(a), Some(b)) = (self.as_bytes(a), self.as_bytes(b)) {
            charge(gas::copy(a.len().min(b.len()) as u64))?;
            return Ok(a.cmp(b));
        }
        if let (Some(a), Some(b)) = (self.as_integer(a), self.as_integer(b)) {
            charge(gas::copy(8 * a.limbs().min(b.limbs())))?;
            return Ok(match (a, b) {
                (Integer::Large(a), Integer::Large(b)) => a.cmp(b),
                (a, b) => a.to_big().cmp(&b.to_big()),
            });
        }
        Ok(a.kind().cmp(&b.kind()))
    }

    #[inline(never)]
    fn compare_cells<E>(
        &mut self,
        a: &Reference,
        b: &Reference,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Ordering, E> {
        if a == b {
            return Ok(Ordering::Equal);
        }
        self.make_marks();
        let mut work = Comparison { pairs: vec![(a.alias(), b.alias())], joined: Vec::new() };
        let result = self.walk(&mut work, charge);
        let garbage =
            if matches!(result, Ok(Ordering::Equal)) { self.unify(&work.joined) } else { Vec::new() };
        for cell in work.joined {
            self.marks[cell as usize] = 0;
        }
        garbage.into_iter().for_each(|reference| self.release(reference));
        result
    }

    /// A mark for each place.
    pub(crate) fn make_marks(&mut self) {
        if self.marks.len() < self.cells.len() {
            self.marks.resize(self.cells.capacity(), 0);
        }
    }

    fn walk<E>(
        &mut self,
        work: &mut Comparison,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Ordering, E> {
        while let Some((a, b)) = work.pairs.pop() {
            if !(a.is_cell() && b.is_cell()) {
                match self.compare_leaves(&a, &b, charge)? {
                    Ordering::Equal => continue,
                    unequal => return Ok(unequal),
                }
            }
            if a == b {
                continue;
            }
            let (root_a, root_b) = (self.class(a.index() as u32), self.class(b.index() as u32));
            if root_a == root_b {
                continue;
            }
            charge(gas::PAIR)?;
            self.marks[root_b as usize] = root_a + 1;
            work.joined.push(root_b);
            let (a, b) = (&self.cells[a.index()], &self.cells[b.index()]);
            work.pairs.push((a.tail.alias(), b.tail.alias()));
            work.pairs.push((a.head.alias(), b.head.alias()));
        }
        Ok(Ordering::Equal)
    }

    /// The cell that stands for the class of a cell; the way there becomes shorter.
    fn class(&mut self, mut cell: u32) -> u32 {
        loop {
            let next = self.marks[cell as usize];
            if next == 0 {
                return cell;
            }
            let after = self.marks[next as usize - 1];
            if after == 0 {
                return next - 1;
            }
            self.marks[cell as usize] = after;
            cell = after - 1;
        }
    }

    /// Lets cells that are equal share their parts; answers what they held before.
    fn unify(&mut self, joined: &[u32]) -> Vec<Reference> {
        let mut garbage = Vec::with_capacity(2 * joined.len());
        for &cell in joined {
            let root = self.class(cell) as usize;
            let (head, tail) = (self.cells[root].head.alias(), self.cells[root].tail.alias());
            let (head, tail) = (self.share(&head), self.share(&tail));
            let place = &mut self.cells[cell as usize];
            garbage.push(std::mem::replace(&mut place.head, head));
            garbage.push(std::mem::replace(&mut place.tail, tail));
        }
        garbage
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use dotvm_core::value::Ref;
    use num_bigint::BigInt;

    use super::*;

    fn free(_: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn order(a: &Ref, b: &Ref) -> Ordering {
        let mut heap = Heap::new(u64::MAX);
        let (a, b) = (heap.import(a).unwrap(), heap.import(b).unwrap());
        let Ok(order) = heap.compare(&a, &b, free);
        let Ok(again) = heap.compare(&b, &a, free);
        assert_eq!(order, again.reverse());
        heap.release(a);
        heap.release(b);
        assert_eq!(heap.census(), (0, 0, 0));
        order
    }

    #[test]
    fn kinds_come_first_and_then_values() {
        let bytes = |text: &'static str| Ref::Bytes(Bytes::from_static(text.as_bytes()));
        let power = |bits: u32| Ref::Int(BigInt::from(1) << bits);
        let ascending = [
            Ref::Null,
            Ref::Int(BigInt::from(-1) << 70),
            (-1).into(),
            0.into(),
            5.into(),
            power(61),
            power(64),
            power(65),
            bytes(""),
            bytes("a"),
            bytes("aa"),
            bytes("b"),
            Ref::cell(0.into(), 9.into()),
            Ref::cell(1.into(), 0.into()),
            Ref::cell(1.into(), Ref::cell(0.into(), 0.into())),
            Ref::cell(Ref::cell(0.into(), 0.into()), 0.into()),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(order(a, b), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn equal_structures_share_afterwards_and_cost_little_then() {
        let tree = |seed: i64| {
            let leaf = Ref::cell(seed.into(), Ref::Int(BigInt::from(seed) << 100));
            (0..60).fold(leaf, |part, _| Ref::cell(part.clone(), part))
        };
        let mut heap = Heap::new(u64::MAX);
        let (a, b) = (heap.import(&tree(3)).unwrap(), heap.import(&tree(3)).unwrap());
        let mut cost = 0;
        let charge = |amount: u64| {
            cost += amount;
            Ok::<(), Infallible>(())
        };
        assert_eq!(heap.compare(&a, &b, charge), Ok(Ordering::Equal));
        assert_eq!(cost, 61 * gas::PAIR);
        assert_eq!(heap.census().0, 62, "all cells but the two at the top are shared");
        let other = heap.import(&tree(4)).unwrap();
        assert_eq!(heap.compare(&a, &other, free), Ok(Ordering::Less));
        assert!(heap.marks.iter().all(|&mark| mark == 0));
        for reference in [a, b, other] {
            heap.release(reference);
        }
        assert_eq!(heap.census(), (0, 0, 0));
    }

    /// Shared on one side where the other is not, level by level: what follows from pairs looked at must be found.
    #[test]
    fn structures_shared_in_turns_are_compared_in_proportion() {
        let turns = |odd: usize| {
            (0..120).fold(Ref::from(1), |part, level| {
                if level % 2 == odd {
                    Ref::cell(part.clone(), part)
                } else {
                    let copy = match &part {
                        Ref::Cell(cell) => Ref::cell(cell.head().clone(), cell.tail().clone()),
                        other => other.clone(),
                    };
                    Ref::cell(part, copy)
                }
            })
        };
        assert_eq!(order(&turns(0), &turns(1)), Ordering::Equal);
    }

    #[test]
    fn deep_lists_are_compared() {
        let list = |last: i64| (0..200_000).fold(Ref::from(last), |tail, item| Ref::cell(item.into(), tail));
        assert_eq!(order(&list(1), &list(1)), Ordering::Equal);
        assert_eq!(order(&list(1), &list(2)), Ordering::Less);
    }

    #[test]
    fn a_comparison_that_is_not_paid_leaves_no_mark() {
        let list = || (0..100).fold(Ref::Null, |tail, item| Ref::cell(item.into(), tail));
        let mut heap = Heap::new(u64::MAX);
        let (a, b) = (heap.import(&list()).unwrap(), heap.import(&list()).unwrap());
        let mut left = 50;
        let result = heap.compare(&a, &b, |amount| {
            left -= amount as i64;
            if left < 0 { Err(()) } else { Ok(()) }
        });
        assert_eq!(result, Err(()));
        assert!(heap.marks.iter().all(|&mark| mark == 0));
        assert_eq!(heap.census().0, 200);
    }
}
