//! The interpreter's view of the current frame and of the code: two raw pointers, checked in debug builds.
//!
//! This is the only `unsafe` of the engine. With the checks of debug builds left in, the benchmark programs take 1.5
//! to 3.4 times as long at 64 and 256 bits (`docs/benchmarks.md` says how to repeat that). What makes them unnecessary:
//!
//! - **Slots.** The verifier computes the greatest height of each function, lowering names only slots below
//!   `frame_words`, and a call makes sure that the word stack holds the callee's whole frame before it is entered.
//!   Window functions move slot 0 within a frame whose size is their window; the `Block` instruction checks the
//!   height before any slot of the block is used.
//! - **Code.** Every function ends in an instruction that leaves it (the verifier refuses code that runs off its
//!   end), and jumps are patched to the starts of blocks.
//! - **Validity.** After anything that may touch the word stack through its owner (calls that grow it, operations
//!   out of line) the pointer is derived anew.

use std::marker::PhantomData;

use crate::inst::{Inst, Slot};

/// Slot 0 of the current frame in the word stack.
pub(crate) struct Registers<W> {
    slots: *mut W,
    #[cfg(debug_assertions)]
    bounds: (*mut W, *mut W),
}

impl<W: Copy> Registers<W> {
    /// The frame whose slot 0 is `words[start]`; `start` may be the length if no slot is used.
    #[inline(always)]
    pub fn new(words: &mut [W], start: usize) -> Registers<W> {
        assert!(start <= words.len());
        #[cfg(debug_assertions)]
        let bounds = words.as_mut_ptr_range();
        // SAFETY: `start` is at most the length of `words`, so the pointer stays within it or one behind.
        let slots = unsafe { words.as_mut_ptr().add(start) };
        Registers {
            slots,
            #[cfg(debug_assertions)]
            bounds: (bounds.start, bounds.end),
        }
    }

    /// The index of slot 0 in the word stack that starts at `words`.
    #[inline(always)]
    pub fn start(&self, words: &[W]) -> usize {
        (self.slots as usize - words.as_ptr() as usize) / size_of::<W>()
    }

    /// Where slot 0 is.
    #[inline(always)]
    pub fn address(&self) -> *const W {
        self.slots
    }

    /// The value in a slot.
    #[inline(always)]
    pub fn get(&self, slot: Slot) -> W {
        self.check(slot);
        // SAFETY: the slot lies within the frame (see the module's text), all of which is initialised.
        unsafe { *self.slots.add(slot as usize) }
    }

    /// Sets a slot.
    #[inline(always)]
    pub fn set(&mut self, slot: Slot, value: W) {
        self.check(slot);
        // SAFETY: as in `get`; nothing else refers to the word stack while the interpreter holds this pointer.
        unsafe { *self.slots.add(slot as usize) = value }
    }

    #[inline(always)]
    fn check(&self, _slot: Slot) {
        #[cfg(debug_assertions)]
        {
            let at = self.slots.wrapping_add(_slot as usize);
            assert!(self.bounds.0 <= at && at < self.bounds.1, "slot {_slot} is outside the word stack");
        }
    }
}

/// The place in the code.
pub(crate) struct Cursor<'a> {
    next: *const Inst,
    /// Number of instructions: the distance to the costs.
    count: usize,
    code: PhantomData<&'a [Inst]>,
    #[cfg(debug_assertions)]
    bounds: (*const Inst, *const Inst),
}

impl<'a> Cursor<'a> {
    /// Before instruction `index` of code that is one half instructions and one half costs.
    #[inline(always)]
    pub fn new(code: &'a [Inst], index: usize) -> Cursor<'a> {
        let count = code.len() / 2;
        assert!(index < count);
        Cursor {
            count,
            // SAFETY: the index is within the code.
            next: unsafe { code.as_ptr().add(index) },
            code: PhantomData,
            #[cfg(debug_assertions)]
            bounds: (code.as_ptr(), code[count..].as_ptr()),
        }
    }

    /// The next instruction; the cursor moves behind it. A reference, so that each field is loaded by itself:
    /// loading the instruction whole costs shifts and masks in every handler.
    #[inline(always)]
    pub fn fetch(&mut self) -> &'a Inst {
        self.check();
        // SAFETY: the cursor is within the code (see the module's text); behind the last instruction it is never
        // used, since that one leaves its function.
        unsafe {
            let inst = &*self.next;
            self.next = self.next.add(1);
            inst
        }
    }

    /// Moves by a distance; answers the cost of what is entered.
    #[inline(always)]
    pub fn enter_by(&mut self, distance: isize) -> u32 {
        // SAFETY: jump distances lead to instructions of the same program.
        self.next = unsafe { self.next.offset(distance) };
        self.enter()
    }

    /// Moves to an index; answers the cost of what is entered.
    #[inline(always)]
    pub fn enter_at(&mut self, code: &'a [Inst], index: usize) -> u32 {
        debug_assert!(index < self.count);
        // SAFETY: entries of functions, return addresses and targets of tables are indices of instructions.
        self.next = unsafe { code.as_ptr().add(index) };
        self.enter()
    }

    /// The cost of entering at the next instruction.
    #[inline(always)]
    pub fn enter(&mut self) -> u32 {
        self.check();
        // SAFETY: the second half of the code holds a `Gas` for each instruction of the first.
        match unsafe { &*self.next.add(self.count) } {
            Inst::Gas { cost } => *cost,
            _other => {
                #[cfg(debug_assertions)]
                unreachable!("the cost of an instruction is {_other:?}");
                // SAFETY: as above.
                #[cfg(not(debug_assertions))]
                unsafe {
                    std::hint::unreachable_unchecked()
                }
            }
        }
    }

    /// Where the next instruction is.
    #[inline(always)]
    pub fn address(&self) -> *const Inst {
        self.next
    }

    /// The index of the next instruction.
    #[inline(always)]
    pub fn index(&self, code: &[Inst]) -> usize {
        (self.next as usize - code.as_ptr() as usize) / size_of::<Inst>()
    }

    #[inline(always)]
    fn check(&self) {
        #[cfg(debug_assertions)]
        assert!(self.bounds.0 <= self.next && self.next < self.bounds.1, "the cursor left the code");
    }
}
