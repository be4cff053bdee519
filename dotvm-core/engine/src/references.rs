//! References of the current frame: what operations out of line read them as and leave in their place, and the
//! operations on them alone.
//!
//! Places are indices in the reference stack. What an operation makes must fit the heap beside its operands, so these
//! are given back last.

use bytes::Bytes;
use dotvm_arch::Word;
use dotvm_core::module::Constant;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Failure, Heap, Reference};

use crate::machine::{Machine, Stop};

impl From<Failure> for Stop {
    #[cold]
    fn from(failure: Failure) -> Stop {
        match failure {
            Failure::Full => Stop::trap(TrapKind::OutOfMemory),
            Failure::Machine => Stop::Machine("The machine has no memory for more cells.".into()),
        }
    }
}

/// The byte string of a reference, or a Kind trap.
#[inline]
pub(crate) fn bytes_of<'a>(heap: &'a Heap, reference: &Reference) -> Result<&'a Bytes, Stop> {
    heap.as_bytes(reference).ok_or_else(|| Stop::trap(TrapKind::Kind))
}

/// The byte string of a reference or `None` for null, or a Kind trap.
#[inline]
pub(crate) fn optional_bytes<'a>(heap: &'a Heap, reference: &Reference) -> Result<Option<&'a [u8]>, Stop> {
    if reference.is_null() { Ok(None) } else { bytes_of(heap, reference).map(|bytes| Some(&bytes[..])) }
}

impl<W: Word> Machine<'_, W> {
    /// Puts a byte string in the place of a reference.
    #[inline]
    pub fn set_bytes(&mut self, at: usize, bytes: Bytes) -> Result<(), Stop> {
        let new = self.heap.bytes(bytes)?;
        self.set_ref(at, new);
        Ok(())
    }

    /// Puts a byte string or null in the place of a reference.
    #[inline]
    pub fn set_optional_bytes(&mut self, at: usize, bytes: Option<Bytes>) -> Result<(), Stop> {
        let new = match bytes {
            Some(bytes) => self.heap.bytes(bytes)?,
            None => Reference::NULL,
        };
        self.set_ref(at, new);
        Ok(())
    }

    /// Puts a reference in the place of another.
    #[inline(always)]
    pub fn set_ref(&mut self, at: usize, new: Reference) {
        let old = std::mem::replace(&mut self.refs[at], new);
        self.heap.release(old);
    }

    /// Gives references back.
    #[inline]
    pub fn clear_refs(&mut self, from: usize, count: usize) {
        for place in &mut self.refs[from..from + count] {
            self.heap.clear(place);
        }
    }

    /// A reference constant; made when it is first asked for.
    #[inline]
    pub fn constant(&mut self, index: usize) -> Result<Reference, Stop> {
        if self.constants[index].is_null() {
            self.constants[index] = match &self.verified.module().ref_constants[index] {
                Constant::Bytes(bytes) => self.heap.constant_bytes(bytes.clone())?,
                Constant::Integer(number) => self.heap.constant_integer(number)?,
            };
        }
        Ok(self.heap.share(&self.constants[index]))
    }

    /// Rows 0x72 to 0x7B without instructions of their own.
    pub fn reference_op(&mut self, op: Op, w: usize, r: usize, a: u64) -> Result<(), Stop> {
        let a = a as usize;
        match op {
            Op::Rconst => self.refs[r] = self.constant(a)?,
            Op::Rswap => self.refs.swap(r, r + a),
            Op::Rgset => {
                self.check_in_turn()?;
                let old = std::mem::replace(&mut self.ref_globals[a], std::mem::take(&mut self.refs[r]));
                self.heap.release(old);
            }
            Op::Rkind => {
                self.words[w] = W::from_u64(self.refs[r].kind() as u64);
                self.clear_refs(r, 1);
            }
            op => unreachable!("{op:?} is no operation on references alone"),
        }
        Ok(())
    }
}
