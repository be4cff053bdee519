//! Parts of cells by tree address (axis): 1 is the whole, 2n the head and 2n + 1 the tail of what is at n.

use dotvm_core::limits::heap as size;
use num_bigint::BigInt;

use crate::heap::{Failure, Heap};
use crate::reference::Reference;

/// A tree address of at least 1.
#[derive(Clone, Copy, Debug)]
pub enum Axis<'a> {
    /// Of up to 64 bits.
    Short(u64),
    /// Of any size.
    Long(&'a BigInt),
}

impl Axis<'_> {
    /// Steps from the whole to the part.
    #[inline(always)]
    pub fn depth(self) -> u64 {
        match self {
            Axis::Short(axis) => axis.ilog2() as u64,
            Axis::Long(axis) => axis.bits() - 1,
        }
    }

    /// Whether the step with this number, counted from the last one, goes to the tail.
    #[inline(always)]
    fn is_tail(self, step: u64) -> bool {
        match self {
            Axis::Short(axis) => axis >> step & 1 != 0,
            Axis::Long(axis) => axis.bit(step),
        }
    }
}

/// Why a part is not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The way leads through what is no cell.
    NoCell,
    /// The new cells do not fit.
    Failure(Failure),
}

impl Heap {
    /// The part at a tree address; `None` if the way leads through what is no cell.
    #[inline(always)]
    pub fn part<'a>(&'a self, whole: &'a Reference, axis: Axis<'_>) -> Option<&'a Reference> {
        let mut part = whole;
        for step in (0..axis.depth()).rev() {
            if !part.is_cell() {
                return None;
            }
            let place = &self.cells[part.index()];
            part = if axis.is_tail(step) { &place.tail } else { &place.head };
        }
        Some(part)
    }

    /// The whole with another part at a tree address; everything beside the way is shared.
    ///
    /// # Errors
    /// Nothing has changed then; only what `new` held is lost if it does not fit.
    pub fn edit(
        &mut self,
        whole: &Reference,
        axis: Axis<'_>,
        new: &Reference,
    ) -> Result<Reference, EditError> {
        // What lies beside the way, the top first.
        let mut beside: Vec<Reference> = Vec::new();
        let mut part = whole.alias();
        for step in (0..axis.depth()).rev() {
            if !part.is_cell() {
                return Err(EditError::NoCell);
            }
            let place = &self.cells[part.index()];
            let (on, off) =
                if axis.is_tail(step) { (&place.tail, &place.head) } else { (&place.head, &place.tail) };
            part = on.alias();
            beside.push(off.alias());
        }
        self.room(size::CELL * axis.depth()).map_err(EditError::Failure)?;
        let mut result = self.share(new);
        for (step, beside) in beside.into_iter().rev().enumerate() {
            let mut other = self.share(&beside);
            let made = if axis.is_tail(step as u64) {
                self.cons(&mut other, &mut result)
            } else {
                self.cons(&mut result, &mut other)
            };
            match made {
                Ok(cell) => result = cell,
                Err(failure) => {
                    self.release(result);
                    self.release(other);
                    return Err(EditError::Failure(failure));
                }
            }
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use dotvm_core::value::Ref;

    use super::*;

    #[test]
    fn parts_are_found_and_replaced() {
        let mut heap = Heap::new(32 * 8);
        let tree = Ref::cell(Ref::cell(4.into(), 5.into()), Ref::cell(6.into(), 7.into()));
        let tree = heap.import(&tree).unwrap();
        for axis in 4..8 {
            assert_eq!(heap.part(&tree, Axis::Short(axis)).unwrap().as_small(), Some(axis as i64));
            let long = BigInt::from(axis);
            assert_eq!(heap.part(&tree, Axis::Long(&long)).unwrap().as_small(), Some(axis as i64));
            assert!(heap.part(&tree, Axis::Short(2 * axis)).is_none());
        }
        assert_eq!(heap.part(&tree, Axis::Short(1)), Some(&tree));
        let nine = Reference::small(9).unwrap();
        let edited = heap.edit(&tree, Axis::Short(5), &nine).unwrap();
        let expected = Ref::cell(Ref::cell(4.into(), 9.into()), Ref::cell(6.into(), 7.into()));
        assert_eq!((heap.export(&edited), heap.census().0), (expected, 5));
        assert_eq!(heap.edit(&tree, Axis::Short(1), &nine), Ok(nine.alias()));
        assert_eq!(heap.edit(&tree, Axis::Short(8), &nine), Err(EditError::NoCell));
        let again = heap.edit(&edited, Axis::Short(6), &tree).unwrap();
        assert_eq!(heap.census().0, 7);
        assert_eq!(heap.edit(&again, Axis::Short(4), &nine), Err(EditError::Failure(Failure::Full)));
        for reference in [tree, edited, again] {
            heap.release(reference);
        }
        assert_eq!(heap.census(), (0, 0, 0));
    }
}
