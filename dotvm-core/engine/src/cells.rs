//! Cells and nouns, rows 0xC0 to 0xCF, and lists: what is done out of line, and what instructions of their own call.

use dotvm_arch::Word;
use dotvm_core::gas::{self, Gas, OutOfGas};
use dotvm_core::limits::{MAX_INTEGER_BITS, heap as size};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Axis, EditError, Heap, Integer, NounError, Reference};
use num_bigint::{BigInt, Sign};

use crate::inst::Slot;
use crate::machine::{Machine, Stop};
use crate::references::bytes_of;

const KIND: Stop = Stop::trap(TrapKind::Kind);

impl From<NounError<OutOfGas>> for Stop {
    #[cold]
    fn from(error: NounError<OutOfGas>) -> Stop {
        match error {
            NounError::Kind => KIND,
            NounError::Size => Stop::trap(TrapKind::Size),
            NounError::Malformed => Stop::trap(TrapKind::Range),
            NounError::Charge(error) => error.into(),
            NounError::Failure(failure) => failure.into(),
        }
    }
}

impl From<EditError> for Stop {
    #[cold]
    fn from(error: EditError) -> Stop {
        match error {
            EditError::NoCell => KIND,
            EditError::Failure(failure) => failure.into(),
        }
    }
}

/// The axis that a reference is, or a Kind or Range trap.
fn axis_of<'a>(heap: &'a Heap, reference: &Reference) -> Result<Axis<'a>, Stop> {
    match heap.as_integer(reference).ok_or(KIND)? {
        Integer::Small(axis) if axis > 0 => Ok(Axis::Short(axis as u64)),
        Integer::Large(axis) if axis.sign() == Sign::Plus => Ok(Axis::Long(axis)),
        _ => Err(Stop::trap(TrapKind::Range)),
    }
}

impl<W: Word> Machine<'_, W> {
    /// Rows 0xC0 to 0xCF without instructions of their own, and lists.
    #[inline(never)]
    pub fn cell_op(&mut self, op: Op, w: usize, r: usize, a: u64) -> Result<(), Stop> {
        match op {
            Op::Axis => {
                let axis = Axis::Short(a);
                self.gas.charge(axis.depth())?;
                let part = self.heap.part(&self.refs[r], axis).ok_or(KIND)?.alias();
                let part = self.heap.share(&part);
                self.set_ref(r, part);
            }
            Op::Axisd => {
                let axis = axis_of(&self.heap, &self.refs[r])?;
                self.gas.charge(axis.depth())?;
                let part = self.heap.part(&self.refs[r + 1], axis).ok_or(KIND)?.alias();
                let part = self.heap.share(&part);
                self.set_ref(r, part);
                self.clear_refs(r + 1, 1);
            }
            Op::Edit => {
                let axis = Axis::Short(a);
                self.gas.charge(gas::NODE * axis.depth())?;
                let whole = self.heap.edit(&self.refs[r + 1], axis, &self.refs[r])?;
                self.set_ref(r, whole);
                self.clear_refs(r + 1, 1);
            }
            Op::Editd => {
                let axis = axis_of(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::NODE * axis.depth())?;
                // The axis may lie in the heap, which an edit changes.
                let whole = match axis {
                    Axis::Short(axis) => {
                        self.heap.edit(&self.refs[r + 2], Axis::Short(axis), &self.refs[r + 1])?
                    }
                    Axis::Long(axis) => {
                        let axis = axis.clone();
                        self.heap.edit(&self.refs[r + 2], Axis::Long(&axis), &self.refs[r + 1])?
                    }
                };
                self.set_ref(r, whole);
                self.clear_refs(r + 1, 2);
            }
            Op::Rcmp => {
                let order =
                    self.heap.compare(&self.refs[r], &self.refs[r + 1], |cost| self.gas.charge(cost))?;
                self.words[w] = W::from_i64(order as i64);
                self.clear_refs(r, 2);
            }
            Op::Mug => {
                let mug = self.heap.mug(&self.refs[r], |cost| self.gas.charge(cost))?;
                self.words[w] = W::from_u64(mug.into());
                self.clear_refs(r, 1);
            }
            Op::Jam => {
                let bytes = self.heap.jam(&self.refs[r], |cost| self.gas.charge(cost))?;
                self.set_bytes(r, bytes)?;
            }
            Op::Cue => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?.clone();
                let noun = self.heap.cue(&bytes, |cost| self.gas.charge(cost))?;
                self.set_ref(r, noun);
            }
            Op::RList => self.list(r, a as usize)?,
            Op::RUnlist => self.unlist(r, a as usize)?,
            op => unreachable!("{op:?} is no operation on cells"),
        }
        Ok(())
    }

    /// CONS of the two references from `r` on.
    #[inline(always)]
    pub fn cons(&mut self, r: usize) -> Result<(), Stop> {
        let [head, tail] = &mut self.refs[r..r + 2] else { unreachable!("a range of two") };
        let cell = self.heap.cons(head, tail)?;
        *head = cell;
        Ok(())
    }

    /// HEAD of the reference at `r`.
    #[inline(always)]
    pub fn head(&mut self, r: usize) -> Result<(), Stop> {
        let head = self.heap.head(&self.refs[r]).ok_or(KIND)?.alias();
        let head = self.heap.share(&head);
        self.set_ref(r, head);
        Ok(())
    }

    /// TAIL of the reference at `r`.
    #[inline(always)]
    pub fn tail(&mut self, r: usize) -> Result<(), Stop> {
        let tail = self.heap.tail(&self.refs[r]).ok_or(KIND)?.alias();
        let tail = self.heap.share(&tail);
        self.set_ref(r, tail);
        Ok(())
    }

    /// The part of the frame's reference `a` at a short axis, put into `d`, which is null.
    #[inline(always)]
    pub fn part_of(&mut self, d: Slot, a: Slot, axis: Axis<'_>) -> Result<(), Stop> {
        let whole = &self.refs[self.ref_start + a as usize];
        let part = self.heap.part(whole, axis).ok_or(KIND)?.alias();
        self.refs[self.ref_start + d as usize] = self.heap.share(&part);
        Ok(())
    }

    /// R.LIST of the references from `r` on.
    fn list(&mut self, r: usize, count: usize) -> Result<(), Stop> {
        self.gas.charge(gas::NODE * count as u64)?;
        self.heap.room(size::CELL * count as u64)?;
        let mut list = Reference::NULL;
        for item in self.refs[r..r + count].iter_mut().rev() {
            list = self.heap.cons(item, &mut list)?;
        }
        self.refs[r] = list;
        Ok(())
    }

    /// R.UNLIST of the reference at `r`.
    fn unlist(&mut self, r: usize, count: usize) -> Result<(), Stop> {
        self.gas.charge(count as u64)?;
        let mut rest = self.refs[r].alias();
        for _ in 0..count {
            rest = self.heap.tail(&rest).ok_or(KIND)?.alias();
        }
        if !rest.is_null() {
            return Err(KIND);
        }
        let list = std::mem::take(&mut self.refs[r]);
        let mut rest = list.alias();
        for at in r..r + count {
            let (Some(head), Some(tail)) = (self.heap.head(&rest), self.heap.tail(&rest)) else { break };
            let (head, tail) = (head.alias(), tail.alias());
            self.refs[at] = self.heap.share(&head);
            rest = tail;
        }
        self.heap.release(list);
        Ok(())
    }
}

/// An integer plus 1.
#[inline(always)]
pub(crate) fn increment(heap: &mut Heap, number: &Reference, gas: &mut Gas) -> Result<Reference, Stop> {
    match number.as_small().and_then(|number| Reference::small(number + 1)) {
        Some(next) => Ok(next),
        None => increment_large(heap, number, gas),
    }
}

#[cold]
#[inline(never)]
fn increment_large(heap: &mut Heap, number: &Reference, gas: &mut Gas) -> Result<Reference, Stop> {
    let number = heap.as_integer(number).ok_or(KIND)?;
    gas.charge(gas::copy(8 * number.limbs()))?;
    let next: BigInt = number.to_big() + 1;
    if next.bits() > MAX_INTEGER_BITS {
        return Err(Stop::trap(TrapKind::Size));
    }
    Ok(heap.integer(next)?)
}
