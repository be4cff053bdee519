//! Where things lie, how they are counted and given back.
//!
//! Cells lie in one array and integers and byte strings in another; free places form a list through themselves. A
//! count that falls to zero gives the place back. What a dead cell leads to is given back in steps: its place joins the
//! list of the dead, and each operation that takes or gives back a cell works off a part of that list. Before the
//! limit is found exceeded the list is worked off whole, so that what is counted against the limit then is exactly
//! what can be reached.

use std::ops::Range;

use bytes::Bytes;
use dotvm_core::limits::heap as size;
use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::reference::{Integer, Kind, Reference, limbs};

/// Why something does not fit the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It would exceed the heap's limit.
    Full,
    /// The machine underneath has no memory left.
    Machine,
}

/// The end of a list, and the number of no cell.
pub(crate) const NONE: u32 = u32::MAX;

/// Dead cells that one operation gives back at most. A cell takes about 5 ns, so that none waits for more than a
/// few microseconds.
const STEPS: u32 = 512;

/// Places for cells that are kept when the last cell is gone.
const KEPT_CELLS: usize = 1 << 16;

/// A place for a cell: 24 bytes.
#[derive(Debug)]
pub(crate) struct CellPlace {
    pub head: Reference,
    pub tail: Reference,
    /// References to it; 0 if it is dead or free.
    count: u32,
    /// The noun's mug once it is known, else 0; of a dead or free place the next one in the list.
    pub mug: u32,
}

/// A place for an integer or a byte string.
#[derive(Debug)]
pub(crate) struct ObjectPlace {
    pub count: u32,
    pub object: Object,
}

#[derive(Debug)]
pub(crate) enum Object {
    /// Free, and the next free place.
    Free(u32),
    Bytes(Bytes),
    /// A part of another byte string, which it keeps.
    Slice(Bytes, Reference),
    /// A byte string of the module, which counts nothing.
    Constant(Bytes),
    Integer(BigInt),
    /// An integer of the module.
    ConstantInteger(BigInt),
    /// A part of the byte string with this number, while the heap is being read.
    Pending(u32, Range<usize>),
}

impl CellPlace {
    /// A place that was read: one that is not free has a count of 1 from the start, which marks it.
    pub fn restored(head: Reference, tail: Reference, is_live: bool) -> CellPlace {
        CellPlace { head, tail, count: u32::from(is_live), mug: 0 }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether it is not free, while the heap is being read.
    pub fn is_marked(&self) -> bool {
        self.count > 0
    }

    /// Counts a reference, unless there are too many.
    pub fn count_one(&mut self) -> Option<()> {
        self.count = self.count.checked_add(1)?;
        Some(())
    }

    /// Takes the mark away.
    pub fn unmark(&mut self) {
        self.count = self.count.saturating_sub(1);
    }
}

/// The heap of an instance.
#[derive(Debug)]
pub struct Heap {
    pub(crate) cells: Vec<CellPlace>,
    pub(crate) free_cell: u32,
    dead_cell: u32,
    pub(crate) objects: Vec<ObjectPlace>,
    pub(crate) free_object: u32,
    /// What is counted against the limit: of all that is reachable, and of what is dead but not yet given back.
    pub(crate) used: u64,
    pub(crate) limit: u64,
    /// What the limit may rise to.
    pub(crate) most: u64,
    /// Something did not fit.
    pub(crate) was_full: bool,
    pub(crate) live_cells: u64,
    pub(crate) live_objects: u64,
    /// Working memory of operations on structures, by number of cell; zeros between them.
    pub(crate) marks: Vec<u32>,
}

impl Heap {
    /// An empty heap that holds at most `limit` bytes, as [`dotvm_core::limits::heap`] counts them.
    pub fn new(limit: u64) -> Heap {
        Heap {
            cells: Vec::new(),
            free_cell: NONE,
            dead_cell: NONE,
            objects: Vec::new(),
            free_object: NONE,
            used: 0,
            limit: limit.min(size::BYTES),
            most: limit.min(size::BYTES),
            was_full: false,
            live_cells: 0,
            live_objects: 0,
            marks: Vec::new(),
        }
    }

    /// Another reference to the same.
    #[inline(always)]
    pub fn share(&mut self, reference: &Reference) -> Reference {
        if reference.is_counted() {
            let count = if reference.is_cell() {
                &mut self.cells[reference.index()].count
            } else {
                &mut self.objects[reference.index()].count
            };
            *count += 1;
        }
        reference.alias()
    }

    /// Gives a reference back.
    #[inline(always)]
    pub fn release(&mut self, reference: Reference) {
        if !reference.is_counted() {
            return;
        }
        let index = reference.index();
        if !reference.is_cell() {
            return self.release_object(index);
        }
        let place = &mut self.cells[index];
        place.count -= 1;
        if place.count == 0 {
            self.bury(index);
            self.give_back(STEPS);
        }
    }

    /// Gives back what a place holds, and leaves null.
    #[inline(always)]
    pub fn clear(&mut self, place: &mut Reference) {
        self.release(std::mem::take(place));
    }

    #[inline]
    fn release_object(&mut self, index: usize) {
        let place = &mut self.objects[index];
        place.count -= 1;
        if place.count == 0 {
            self.free_object(index);
        }
    }

    fn free_object(&mut self, index: usize) {
        let place = &mut self.objects[index];
        let object = std::mem::replace(&mut place.object, Object::Free(self.free_object));
        self.free_object = index as u32;
        self.live_objects -= 1;
        self.used -= object.size();
        if let Object::Slice(_, whole) = object {
            // A whole is no slice, so this is not done again from there.
            self.release_object(whole.index());
        }
    }

    /// Puts a cell that nothing leads to on the list of the dead.
    #[inline(always)]
    fn bury(&mut self, index: usize) {
        self.cells[index].mug = self.dead_cell;
        self.dead_cell = index as u32;
    }

    /// Gives back dead cells, at most so many.
    #[inline]
    fn give_back(&mut self, steps: u32) {
        for _ in 0..steps {
            if self.dead_cell == NONE {
                if self.live_cells == 0 && self.cells.len() > KEPT_CELLS {
                    self.shrink();
                }
                return;
            }
            let index = self.dead_cell as usize;
            let place = &mut self.cells[index];
            self.dead_cell = place.mug;
            place.mug = self.free_cell;
            self.free_cell = index as u32;
            let (head, tail) = (std::mem::take(&mut place.head), std::mem::take(&mut place.tail));
            self.live_cells -= 1;
            self.used -= size::CELL;
            self.release_part(head);
            self.release_part(tail);
        }
    }

    /// Gives a reference back that a dead cell held.
    #[inline(always)]
    fn release_part(&mut self, reference: Reference) {
        if !reference.is_counted() {
            return;
        }
        let index = reference.index();
        if !reference.is_cell() {
            return self.release_object(index);
        }
        let place = &mut self.cells[index];
        place.count -= 1;
        if place.count == 0 {
            self.bury(index);
        }
    }

    /// Lets go of the places when all are free.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.cells = Vec::new();
        self.marks = Vec::new();
        self.free_cell = NONE;
    }

    /// Gives back everything that is dead, however long it takes.
    pub fn settle(&mut self) {
        while self.dead_cell != NONE {
            self.give_back(u32::MAX);
        }
    }

    /// Whether so many bytes more fit.
    #[inline(always)]
    pub fn room(&mut self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.limit - self.used { Ok(()) } else { self.make_room(bytes) }
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, bytes: u64) -> Result<(), Failure> {
        self.settle();
        if bytes <= self.limit - self.used {
            return Ok(());
        }
        let Some(needed) = self.used.checked_add(bytes).filter(|&needed| needed <= self.most) else {
            self.was_full = true;
            return Err(Failure::Full);
        };
        self.limit = needed.max(2 * self.limit).min(self.most);
        Ok(())
    }

    // Cells

    /// A pair of what two places hold, which are null then.
    ///
    /// # Errors
    /// If there is no room; then nothing has changed.
    #[inline(always)]
    pub fn cons(&mut self, head: &mut Reference, tail: &mut Reference) -> Result<Reference, Failure> {
        self.room(size::CELL)?;
        let index = self.free_cell;
        if index == NONE || self.dead_cell != NONE {
            return self.cons_in_new_place(head, tail);
        }
        let place = &mut self.cells[index as usize];
        self.free_cell = place.mug;
        *place = CellPlace { head: std::mem::take(head), tail: std::mem::take(tail), count: 1, mug: 0 };
        self.used += size::CELL;
        self.live_cells += 1;
        Ok(Reference::to_cell(index))
    }

    /// A cell where no place is free, or where some may become free first.
    #[inline(never)]
    fn cons_in_new_place(
        &mut self,
        head: &mut Reference,
        tail: &mut Reference,
    ) -> Result<Reference, Failure> {
        // Twice as many as are taken, so that the list of the dead becomes empty.
        self.give_back(2);
        let new = CellPlace { head: std::mem::take(head), tail: std::mem::take(tail), count: 1, mug: 0 };
        let index = self.free_cell;
        if index != NONE {
            let place = &mut self.cells[index as usize];
            self.free_cell = place.mug;
            *place = new;
        } else {
            if self.cells.len() == self.cells.capacity() && self.cells.try_reserve(64).is_err() {
                (*head, *tail) = (new.head, new.tail);
                return Err(Failure::Machine);
            }
            self.cells.push(new);
        }
        self.used += size::CELL;
        self.live_cells += 1;
        Ok(Reference::to_cell(if index != NONE { index } else { self.cells.len() as u32 - 1 }))
    }

    /// The first of a pair.
    #[inline(always)]
    pub fn head(&self, reference: &Reference) -> Option<&Reference> {
        reference.is_cell().then(|| &self.cells[reference.index()].head)
    }

    /// The second of a pair.
    #[inline(always)]
    pub fn tail(&self, reference: &Reference) -> Option<&Reference> {
        reference.is_cell().then(|| &self.cells[reference.index()].tail)
    }

    // Byte strings and integers

    fn add_object(&mut self, object: Object) -> Result<u32, Failure> {
        let bytes = object.size();
        self.room(bytes)?;
        self.used += bytes;
        self.live_objects += 1;
        let index = self.free_object;
        let new = ObjectPlace { count: 1, object };
        if index == NONE {
            self.objects.push(new);
            return Ok(self.objects.len() as u32 - 1);
        }
        let place = &mut self.objects[index as usize];
        let Object::Free(next) = place.object else { unreachable!("the list holds free places") };
        self.free_object = next;
        *place = new;
        Ok(index)
    }

    /// What a byte string of a length counts.
    pub const fn size_of_bytes(len: u64) -> u64 {
        size::OBJECT + len
    }

    /// A byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: Bytes) -> Result<Reference, Failure> {
        Ok(Reference::to_bytes(self.add_object(Object::Bytes(bytes))?))
    }

    /// A byte string of the module: it counts nothing.
    pub fn constant_bytes(&mut self, bytes: Bytes) -> Result<Reference, Failure> {
        Ok(Reference::to_bytes(self.add_object(Object::Constant(bytes))?))
    }

    /// An integer of the module: it counts nothing.
    pub fn constant_integer(&mut self, number: &BigInt) -> Result<Reference, Failure> {
        match number.to_i64().and_then(Reference::small) {
            Some(small) => Ok(small),
            None => Ok(Reference::to_large(self.add_object(Object::ConstantInteger(number.clone()))?)),
        }
    }

    /// A part of a byte string, not copied; `None` if it is none, or does not have the range.
    pub fn slice(
        &mut self,
        reference: &Reference,
        range: Range<usize>,
    ) -> Option<Result<Reference, Failure>> {
        let bytes = self.as_bytes(reference)?;
        if range.start > range.end || range.end > bytes.len() {
            return None;
        }
        let part = bytes.slice(range);
        let whole = match &self.objects[reference.index()].object {
            Object::Slice(_, whole) => whole.alias(),
            _ => reference.alias(),
        };
        let index = match self.add_object(Object::Slice(part, whole.alias())) {
            Ok(index) => index,
            Err(failure) => return Some(Err(failure)),
        };
        self.objects[whole.index()].count += 1;
        Some(Ok(Reference::to_bytes(index)))
    }

    /// The byte string that a reference leads to.
    #[inline(always)]
    pub fn as_bytes(&self, reference: &Reference) -> Option<&Bytes> {
        if reference.kind() != Kind::Bytes {
            return None;
        }
        match &self.objects[reference.index()].object {
            Object::Bytes(bytes) | Object::Slice(bytes, _) | Object::Constant(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// What an integer counts.
    pub fn size_of_integer(number: &BigInt) -> u64 {
        match number.to_i64().and_then(Reference::small) {
            Some(_) => 0,
            None => size::OBJECT + 8 * limbs(number),
        }
    }

    /// An integer.
    pub fn integer(&mut self, number: BigInt) -> Result<Reference, Failure> {
        match number.to_i64().and_then(Reference::small) {
            Some(small) => Ok(small),
            None => Ok(Reference::to_large(self.add_object(Object::Integer(number))?)),
        }
    }

    /// The integer that a reference leads to.
    #[inline(always)]
    pub fn as_integer(&self, reference: &Reference) -> Option<Integer<'_>> {
        if let Some(small) = reference.as_small() {
            return Some(Integer::Small(small));
        }
        if reference.kind() != Kind::Integer {
            return None;
        }
        match &self.objects[reference.index()].object {
            Object::Integer(number) | Object::ConstantInteger(number) => Some(Integer::Large(number)),
            _ => None,
        }
    }

    // Figures

    /// What is reachable counts so much: exact, because what is dead is given back first.
    pub fn reachable(&mut self) -> u64 {
        self.settle();
        self.used
    }

    /// Cells and objects that are reachable, and what they count: exact, because what is dead is given back first.
    pub fn census(&mut self) -> (u64, u64, u64) {
        self.settle();
        (self.live_cells, self.live_objects, self.used)
    }
}

impl Object {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Object::Free(_) | Object::Constant(_) | Object::ConstantInteger(_) | Object::Pending(..) => 0,
            Object::Bytes(bytes) => Heap::size_of_bytes(bytes.len() as u64),
            Object::Slice(..) => size::OBJECT,
            Object::Integer(number) => size::OBJECT + 8 * limbs(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: i64) -> Reference {
        Reference::small(number).unwrap()
    }

    fn list(heap: &mut Heap, len: i64) -> Reference {
        let mut list = Reference::NULL;
        for item in 0..len {
            list = heap.cons(&mut number(item), &mut list).unwrap();
        }
        list
    }

    #[test]
    fn a_long_list_dies_in_steps_and_wholly() {
        let mut heap = Heap::new(u64::MAX);
        let long = list(&mut heap, 1_000_000);
        heap.release(long);
        assert!(heap.live_cells > 900_000, "one operation gave back {}", 1_000_000 - heap.live_cells);
        let small = list(&mut heap, 10);
        assert_eq!(heap.census(), (10, 0, 320));
        heap.release(small);
        assert_eq!(heap.census(), (0, 0, 0));
        assert!(heap.cells.capacity() == 0, "the places are given back");
    }

    #[test]
    fn the_limit_counts_what_is_reachable() {
        let mut heap = Heap::new(32 * 1000);
        let full = list(&mut heap, 1000);
        assert_eq!(heap.cons(&mut Reference::NULL.alias(), &mut Reference::NULL.alias()), Err(Failure::Full));
        heap.release(full);
        let full = list(&mut heap, 1000);
        assert_eq!(heap.bytes(Bytes::new()), Err(Failure::Full));
        heap.release(full);
        let bytes = heap.bytes(Bytes::from(vec![0; 32 * 1000 - 64])).unwrap();
        assert!(heap.room(1).is_err() && heap.room(0).is_ok());
        heap.release(bytes);
        assert_eq!(heap.census(), (0, 0, 0));
    }

    #[test]
    fn a_slice_keeps_its_whole_and_nothing_twice() {
        let mut heap = Heap::new(u64::MAX);
        let whole = heap.bytes(Bytes::from_static(b"abcdef")).unwrap();
        let part = heap.slice(&whole, 1..5).unwrap().unwrap();
        let part_of_part = heap.slice(&part, 1..3).unwrap().unwrap();
        heap.release(whole);
        heap.release(part);
        assert_eq!(heap.as_bytes(&part_of_part).unwrap(), "cd");
        assert_eq!(heap.census(), (0, 2, 64 + 64 + 6));
        assert!(heap.slice(&part_of_part, 1..3).is_none());
        heap.release(part_of_part);
        assert_eq!(heap.census(), (0, 0, 0));
    }

    #[test]
    fn integers_are_large_only_where_they_must_be() {
        let mut heap = Heap::new(u64::MAX);
        let small = heap.integer(BigInt::from(size::LEAST_SMALL)).unwrap();
        assert_eq!((small.as_small(), heap.census()), (Some(size::LEAST_SMALL), (0, 0, 0)));
        let large = heap.integer(BigInt::from(1) << 64).unwrap();
        assert_eq!((large.kind(), heap.census()), (Kind::Integer, (0, 1, 64 + 16)));
        let shared = heap.share(&large);
        heap.release(large);
        assert_eq!(heap.as_integer(&shared).map(|number| number.to_big()), Some(BigInt::from(1) << 64));
        heap.release(shared);
        assert_eq!(heap.census(), (0, 0, 0));
    }
}
