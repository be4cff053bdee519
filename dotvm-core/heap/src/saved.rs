//! A heap written down, and read back place by place: references keep their numbers.
//!
//! Counts are not written: they are what the references that are read amount to, so a heap that was read back cannot
//! disagree with itself. Byte strings and integers of the module are written as what they are of it.

use std::ops::Range;

use bytes::Bytes;
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::module::Constant;
use num_bigint::BigInt;

use crate::heap::{CellPlace, Heap, NONE, Object, ObjectPlace};
use crate::mug::mug_of_cell;
use crate::reference::{Kind, Reference};

/// What a reference is written as: eight bytes, as it is.
impl Reference {
    /// Writes it down; its heap is to be written too.
    pub fn save(&self, to: &mut Writer) {
        to.word(self.0);
    }
}

const FREE: u8 = 0;
const BYTES: u8 = 1;
const SLICE: u8 = 2;
const INTEGER: u8 = 3;
const CONSTANT: u8 = 4;

impl Heap {
    /// Writes the heap down; `constants` are the module's, as far as they were made. What is dead is given back first.
    pub fn save(&mut self, constants: &[Reference], to: &mut Writer) {
        self.settle();
        to.count(self.cells.len());
        for place in &self.cells {
            to.flag(place.count() > 0);
            if place.count() > 0 {
                place.head.save(to);
                place.tail.save(to);
                to.flag(place.mug != 0);
            }
        }
        save_list(to, self.free_cell, |cell| self.cells[cell as usize].mug);
        let mut constant_of = vec![None; self.objects.len()];
        for (index, constant) in constants.iter().enumerate() {
            if constant.is_counted() {
                constant_of[constant.index()] = Some(index);
            }
        }
        to.count(self.objects.len());
        for (place, constant) in self.objects.iter().zip(constant_of) {
            match &place.object {
                Object::Free(_) => to.byte(FREE),
                Object::Bytes(bytes) => {
                    to.byte(BYTES);
                    to.bytes(bytes);
                }
                Object::Slice(part, whole) => {
                    let start = match self.as_bytes(whole) {
                        Some(whole) if !part.is_empty() => part.as_ptr() as usize - whole.as_ptr() as usize,
                        _ => 0,
                    };
                    to.byte(SLICE);
                    to.number(whole.index() as u64);
                    to.count(start);
                    to.count(part.len());
                }
                Object::Integer(number) => {
                    to.byte(INTEGER);
                    to.bytes(&number.to_signed_bytes_le());
                }
                Object::Constant(_) | Object::ConstantInteger(_) => {
                    to.byte(CONSTANT);
                    to.count(constant.unwrap_or(usize::MAX));
                }
                Object::Pending(..) => unreachable!("only a heap that is being read has such"),
            }
        }
        save_list(to, self.free_object, |object| match self.objects[object as usize].object {
            Object::Free(next) => next,
            _ => NONE,
        });
    }

    /// Reads a heap whose limit is `limit`. What refers to it from outside is to be read with [`Restored::reference`].
    ///
    /// # Errors
    /// A heap that cannot be.
    pub fn restore<'a>(
        limit: u64,
        constants: &'a [Constant],
        from: &mut Reader<'_>,
    ) -> Result<Restored<'a>, Damage> {
        let mut heap = Heap::new(limit);
        let cells = from.count(1)?;
        from.require(cells < NONE as usize, "the heap has too many cells")?;
        let mut hashed = Vec::new();
        for cell in 0..cells {
            let is_live = from.flag()?;
            let (mut head, mut tail) = (Reference::NULL, Reference::NULL);
            if is_live {
                (head, tail) = (Reference(from.word()?), Reference(from.word()?));
                if from.flag()? {
                    hashed.push(cell);
                }
                heap.live_cells += 1;
            }
            heap.cells.push(CellPlace::restored(head, tail, is_live));
        }
        let free = restore_list(from, cells, |cell| !heap.cells[cell].is_marked())?;
        heap.free_cell = link(&free, |cell, next| heap.cells[cell].mug = next);
        let mut made = vec![false; constants.len()];
        for _ in 0..from.count(1)? {
            let object = restore_object(from, constants, &mut made)?;
            heap.live_objects += u64::from(!matches!(object, Object::Free(_)));
            heap.objects.push(ObjectPlace { count: 0, object });
        }
        let is_free = |object: usize| matches!(heap.objects[object].object, Object::Free(_));
        let free = restore_list(from, heap.objects.len(), is_free)?;
        heap.free_object = link(&free, |object, next| heap.objects[object].object = Object::Free(next));
        heap.restore_slices(from)?;
        heap.used = heap.objects.iter().map(|place| place.object.size()).sum::<u64>()
            + heap.live_cells * dotvm_core::limits::heap::CELL;
        from.require(heap.used <= heap.limit, "the heap is over its limit")?;
        let mut restored = Restored { heap, constants };
        restored.count_cells(from)?;
        restored.restore_mugs(&hashed, from)?;
        Ok(restored)
    }

    /// Cuts the slices, whose wholes are all read, and counts what they keep.
    fn restore_slices(&mut self, from: &Reader<'_>) -> Result<(), Damage> {
        for index in 0..self.objects.len() {
            let Object::Pending(whole, ref range) = self.objects[index].object else { continue };
            let range = range.clone();
            let bytes = match self.objects.get(whole as usize).map(|place| &place.object) {
                Some(Object::Bytes(bytes) | Object::Constant(bytes)) => bytes,
                _ => return from.damage("a slice is of no byte string"),
            };
            from.require(
                range.start <= range.end && range.end <= bytes.len(),
                "a slice lies outside its byte string",
            )?;
            let part = bytes.slice(range);
            self.objects[index].object = Object::Slice(part, Reference::to_bytes(whole));
            self.objects[whole as usize].count += 1;
        }
        Ok(())
    }
}

fn save_list(to: &mut Writer, first: u32, next: impl Fn(u32) -> u32) {
    let mut place = first;
    while place != NONE {
        to.number(place);
        place = next(place);
    }
}

/// The list of free places: all that are free, each once.
fn restore_list(
    from: &mut Reader<'_>,
    places: usize,
    is_free: impl Fn(usize) -> bool,
) -> Result<Vec<u32>, Damage> {
    let mut wanted: Vec<bool> = (0..places).map(is_free).collect();
    let count = wanted.iter().filter(|&&free| free).count();
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let place: u32 = from.small()?;
        match wanted.get_mut(place as usize) {
            Some(free) if *free => *free = false,
            _ => return from.damage("the list of free places is not of free places"),
        }
        list.push(place);
    }
    Ok(list)
}

/// Links a list through its places; answers the first.
fn link(list: &[u32], mut set: impl FnMut(usize, u32)) -> u32 {
    let mut next = NONE;
    for &place in list.iter().rev() {
        set(place as usize, next);
        next = place;
    }
    next
}

fn restore_object(
    from: &mut Reader<'_>,
    constants: &[Constant],
    made: &mut [bool],
) -> Result<Object, Damage> {
    Ok(match from.byte()? {
        FREE => Object::Free(NONE),
        BYTES => Object::Bytes(Bytes::copy_from_slice(from.bytes()?)),
        SLICE => {
            let whole = from.small()?;
            let start: usize = from.small()?;
            let len: usize = from.small()?;
            let Some(end) = start.checked_add(len) else {
                return from.damage("a slice lies outside its byte string");
            };
            Object::Pending(whole, Range { start, end })
        }
        INTEGER => {
            let bytes = from.bytes()?;
            let number = BigInt::from_signed_bytes_le(bytes);
            from.require(
                Heap::size_of_integer(&number) > 0
                    && number.bits() <= dotvm_core::limits::MAX_INTEGER_BITS
                    && number.to_signed_bytes_le() == bytes,
                "an integer is not written in its one form",
            )?;
            Object::Integer(number)
        }
        CONSTANT => {
            let index: usize = from.small()?;
            match (constants.get(index), made.get_mut(index)) {
                (Some(constant), Some(made)) if !*made => {
                    *made = true;
                    match constant {
                        Constant::Bytes(bytes) => Object::Constant(bytes.clone()),
                        Constant::Integer(number) => Object::ConstantInteger(number.clone()),
                    }
                }
                _ => return from.damage("the module has no such constant, or it is there twice"),
            }
        }
        _ => return from.damage("there is no such kind of object"),
    })
}

/// A heap on its way back: references from outside are still to be read.
pub struct Restored<'a> {
    heap: Heap,
    constants: &'a [Constant],
}

impl Restored<'_> {
    /// Reads a reference from outside of the heap.
    ///
    /// # Errors
    /// One that leads nowhere.
    pub fn reference(&mut self, from: &mut Reader<'_>) -> Result<Reference, Damage> {
        let reference = Reference(from.word()?);
        self.heap.count_reference(&reference, from)?;
        Ok(reference)
    }

    /// Reads the reference to a constant of the module, null if it was not made yet.
    ///
    /// # Errors
    /// One that leads elsewhere.
    pub fn constant(&mut self, index: usize, from: &mut Reader<'_>) -> Result<Reference, Damage> {
        let reference = self.reference(from)?;
        let is_it = reference.is_null()
            || match &self.constants[index] {
                Constant::Integer(number) => {
                    self.heap.as_integer(&reference).is_some_and(|found| found.to_big() == *number)
                        && (!reference.is_counted() || self.heap.is_constant(&reference))
                }
                Constant::Bytes(bytes) => {
                    self.heap.as_bytes(&reference) == Some(bytes) && self.heap.is_constant(&reference)
                }
            };
        from.require(is_it, "a constant is not the module's")?;
        Ok(reference)
    }

    /// The heap, when all references to it were read.
    ///
    /// # Errors
    /// If nothing leads to something.
    pub fn finish(self, from: &Reader<'_>) -> Result<Heap, Damage> {
        let Heap { cells, objects, .. } = &self.heap;
        let lost = cells.iter().any(|cell| cell.is_marked() && cell.count() == 1);
        let lost =
            lost || objects.iter().any(|place| place.count == 0 && !matches!(place.object, Object::Free(_)));
        from.require(!lost, "nothing leads to a part of the heap")?;
        let mut heap = self.heap;
        for cell in &mut heap.cells {
            cell.unmark();
        }
        Ok(heap)
    }

    /// Counts what cells lead to, and refuses cells that lead to themselves.
    fn count_cells(&mut self, from: &Reader<'_>) -> Result<(), Damage> {
        let heap = &mut self.heap;
        for index in 0..heap.cells.len() {
            let (head, tail) = (heap.cells[index].head.alias(), heap.cells[index].tail.alias());
            heap.count_reference(&head, from)?;
            heap.count_reference(&tail, from)?;
        }
        // Cells that no other leads to go first, then those that only these led to, and so on: all, unless some lead to
        // themselves.
        let mut left: Vec<u32> = heap.cells.iter().map(|cell| cell.count().saturating_sub(1)).collect();
        let is_top = |&cell: &usize| heap.cells[cell].is_marked() && left[cell] == 0;
        let mut ready: Vec<usize> = (0..heap.cells.len()).filter(is_top).collect();
        let mut done = 0;
        while let Some(cell) = ready.pop() {
            done += 1;
            for part in [&heap.cells[cell].head, &heap.cells[cell].tail] {
                if part.is_cell() {
                    let left = &mut left[part.index()];
                    *left -= 1;
                    if *left == 0 {
                        ready.push(part.index());
                    }
                }
            }
        }
        from.require(done == heap.live_cells, "a cell leads to itself")
    }

    /// Computes the hashes of those cells that had one: the parts of such a cell have one too.
    fn restore_mugs(&mut self, hashed: &[usize], from: &Reader<'_>) -> Result<(), Damage> {
        const KNOWN: u32 = u32::MAX;
        let heap = &mut self.heap;
        for &cell in hashed {
            heap.cells[cell].mug = KNOWN;
        }
        for &top in hashed {
            let mut tasks = vec![top];
            while let Some(&cell) = tasks.last() {
                if heap.cells[cell].mug != KNOWN {
                    tasks.pop();
                    continue;
                }
                let parts = [heap.cells[cell].head.alias(), heap.cells[cell].tail.alias()];
                let mut is_ready = true;
                for part in &parts {
                    if !part.is_cell() {
                        from.require(heap.atom(part).is_some(), "what is no noun has a hash")?;
                        continue;
                    }
                    match heap.cells[part.index()].mug {
                        0 => return from.damage("a cell has a hash and its part has none"),
                        KNOWN => {
                            tasks.push(part.index());
                            is_ready = false;
                        }
                        _ => {}
                    }
                }
                if is_ready {
                    let mug = mug_of_cell(heap.known_mug(&parts[0]), heap.known_mug(&parts[1]));
                    heap.cells[cell].mug = mug;
                    tasks.pop();
                }
            }
        }
        Ok(())
    }
}

impl Heap {
    fn is_constant(&self, reference: &Reference) -> bool {
        matches!(self.objects[reference.index()].object, Object::Constant(_) | Object::ConstantInteger(_))
    }

    /// Counts a reference that was read, if it leads to what it says.
    fn count_reference(&mut self, reference: &Reference, from: &Reader<'_>) -> Result<(), Damage> {
        if !reference.is_counted() {
            let is_one = reference.is_null() || reference.as_small().is_some();
            return from.require(is_one, "a reference is none");
        }
        let index = reference.index();
        let is_there = match reference.kind() {
            Kind::Cell => {
                *reference == Reference::to_cell(index as u32)
                    && self.cells.get(index).is_some_and(CellPlace::is_marked)
            }
            Kind::Bytes => {
                *reference == Reference::to_bytes(index as u32)
                    && matches!(
                        self.objects.get(index).map(|place| &place.object),
                        Some(Object::Bytes(_) | Object::Slice(..) | Object::Constant(_))
                    )
            }
            _ => {
                *reference == Reference::to_large(index as u32)
                    && matches!(
                        self.objects.get(index).map(|place| &place.object),
                        Some(Object::Integer(_) | Object::ConstantInteger(_))
                    )
            }
        };
        from.require(is_there, "a reference leads nowhere")?;
        let counted = match reference.is_cell() {
            true => self.cells[index].count_one(),
            false => {
                let count = &mut self.objects[index].count;
                count.checked_add(1).map(|more| *count = more)
            }
        };
        from.require(counted.is_some(), "too many references lead to one place")
    }
}

#[cfg(test)]
mod tests {
    use dotvm_core::value::Ref;

    use super::*;

    fn constants() -> Vec<Constant> {
        vec![Constant::Bytes(Bytes::from_static(b"constant")), Constant::Integer(BigInt::from(1) << 99)]
    }

    /// A heap in which a little of everything happened, with its references.
    fn sample(seed: u64) -> (Heap, Vec<Reference>, Vec<Reference>) {
        let mut heap = Heap::new(1 << 20);
        let mut random = fastrand::Rng::with_seed(seed);
        let made = vec![
            heap.constant_bytes(Bytes::from_static(b"constant")).unwrap(),
            heap.constant_integer(&(BigInt::from(1) << 99)).unwrap(),
        ];
        let mut held = vec![heap.share(&made[0]), heap.share(&made[1])];
        for step in 0..200 {
            let at = random.usize(..held.len());
            let new = match random.u8(..7) {
                0 => heap.bytes(Bytes::from(vec![step as u8; random.usize(..9)])).unwrap(),
                1 => heap.integer(BigInt::from(random.i64(..)) << random.u32(..90)).unwrap(),
                2 => match heap.as_bytes(&held[at]).map(Bytes::len) {
                    Some(len) => heap.slice(&held[at].alias(), len / 2..len).unwrap().unwrap(),
                    None => Reference::small(step).unwrap(),
                },
                3 | 4 => {
                    let (mut head, mut tail) = (heap.share(&held[at]), heap.share(&held[held.len() - 1]));
                    heap.cons(&mut head, &mut tail).unwrap()
                }
                5 => {
                    let noun = held[at].alias();
                    heap.mug(&noun, |_| Ok::<(), ()>(())).ok();
                    Reference::NULL
                }
                _ => {
                    let gone = held.swap_remove(at);
                    heap.release(gone);
                    Reference::NULL
                }
            };
            held.push(new);
        }
        (heap, made, held)
    }

    fn saved(heap: &mut Heap, made: &[Reference], held: &[Reference]) -> Vec<u8> {
        let mut writer = Writer::new();
        heap.save(made, &mut writer);
        made.iter().chain(held).for_each(|reference| reference.save(&mut writer));
        writer.into_bytes()
    }

    type Held = (Heap, Vec<Reference>, Vec<Reference>);

    fn restored(bytes: &[u8], count: usize, constants: &[Constant]) -> Result<Held, Damage> {
        let mut reader = Reader::new(bytes);
        let mut restored = Heap::restore(1 << 20, constants, &mut reader)?;
        let made = (0..2).map(|index| restored.constant(index, &mut reader)).collect::<Result<_, _>>()?;
        let held = (0..count).map(|_| restored.reference(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok((restored.finish(&reader)?, made, held))
    }

    #[test]
    fn a_heap_comes_back_as_it_was() {
        for seed in 0..50 {
            let (mut heap, made, held) = sample(seed);
            let bytes = saved(&mut heap, &made, &held);
            let constants = constants();
            let (mut again, made_again, held_again) = restored(&bytes, held.len(), &constants).unwrap();
            assert_eq!(saved(&mut again, &made_again, &held_again), bytes);
            assert_eq!(again.census(), heap.census());
            for (old, new) in held.iter().zip(&held_again) {
                assert!(heap.export(old) == again.export(new));
            }
            for reference in made_again.into_iter().chain(held_again) {
                again.release(reference);
            }
            assert_eq!(again.census(), (0, 0, 0));
        }
    }

    #[test]
    fn no_damage_does_harm() {
        let (mut heap, made, held) = sample(3);
        let bytes = saved(&mut heap, &made, &held);
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..5_000 {
            let mut bad = bytes.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bad.len());
                bad[at] = if random.bool() { random.u8(..) } else { bad[at] ^ (1 << random.u8(..8)) };
            }
            bad.truncate(if random.u8(..) < 20 { random.usize(..bad.len()) } else { bad.len() });
            let constants = constants();
            if let Ok((mut again, made, held)) = restored(&bad, held.len(), &constants) {
                let outside: Vec<Ref> = held.iter().map(|reference| again.export(reference)).collect();
                assert_eq!(outside.len(), held.len());
                for reference in made.into_iter().chain(held) {
                    again.release(reference);
                }
                assert_eq!(again.census(), (0, 0, 0));
            }
        }
    }

    #[test]
    fn cells_that_lead_to_themselves_are_refused() {
        let mut writer = Writer::new();
        writer.count(2);
        for other in [1, 0] {
            writer.flag(true);
            Reference::to_cell(other).save(&mut writer);
            Reference::NULL.save(&mut writer);
            writer.flag(false);
        }
        writer.count(0);
        let bytes = writer.into_bytes();
        let damage = Heap::restore(1 << 20, &[], &mut Reader::new(&bytes)).err().unwrap();
        assert_eq!(damage.problem, "a cell leads to itself");
    }
}
