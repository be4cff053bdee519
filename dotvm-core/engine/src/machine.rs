//! The state of a running instance.

use dotvm_arch::{W512, Word};
use dotvm_core::gas::{Gas, OutOfGas};
use dotvm_core::host::{Host, HostError};
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{FinalState, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::Verified;
use dotvm_heap::{Heap, Reference};

use crate::lower::{self, word_from};
use crate::memory::Memory;
use crate::program::{Lowered, LoweredFunction};

/// Why an execution stops before its entry function returns.
#[derive(Debug)]
pub(crate) enum Stop {
    Trap(TrapKind, Option<Box<str>>),
    Halt(Box<(W512, Ref)>),
    /// The machine underneath cannot go on; the run has no outcome.
    Machine(Box<str>),
}

impl Stop {
    pub const fn trap(kind: TrapKind) -> Stop {
        Stop::Trap(kind, None)
    }
}

impl From<OutOfGas> for Stop {
    fn from(_: OutOfGas) -> Stop {
        Stop::trap(TrapKind::Gas)
    }
}

impl From<HostError> for Stop {
    fn from(error: HostError) -> Stop {
        match error {
            HostError::OutOfGas => Stop::trap(TrapKind::Gas),
            HostError::Trap(kind, detail) if detail.is_empty() => Stop::trap(kind),
            HostError::Trap(kind, detail) => Stop::Trap(kind, Some(detail.into_boxed_str())),
        }
    }
}

/// Where a run stopped, as an index in the code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// At this instruction.
    Inst(usize),
    /// Before entering at this instruction.
    Entry(usize),
}

/// Where to go on after a return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Index of the instruction behind the call.
    pub return_to: u32,
    /// Index in the word stack of the caller's slot 0.
    pub caller_slots: u32,
    /// Index in the reference stack of the caller's reference 0.
    pub caller_refs: u32,
    /// Index in the word stack where this frame starts.
    pub start: u32,
    /// Greatest height of a window function, 0 for others.
    pub window: u32,
}

/// An instance: everything a run changes, except the interpreter's registers.
pub(crate) struct Machine<'a, W> {
    pub verified: &'a Verified,
    pub lowered: &'a Lowered<W>,
    pub host: &'a mut dyn Host,
    /// Word stack: frames overlap where arguments become parameters. Grows up to the limit.
    pub words: Vec<W>,
    /// Reference stack, laid out alike. Entries above the current frame's live ones are null.
    pub refs: Vec<Reference>,
    /// Index of the current frame's reference 0.
    pub ref_start: usize,
    pub frames: Vec<Frame>,
    pub memory: Memory,
    pub word_globals: Vec<W>,
    pub ref_globals: Vec<Reference>,
    /// What the references lead to.
    pub heap: Heap,
    /// The module's reference constants; null until they are used.
    pub constants: Vec<Reference>,
    pub gas: Gas,
    pub guest_gas: u64,
    pub limits: Limits,
}

impl<'a, W: Word> Machine<'a, W> {
    pub fn new(
        verified: &'a Verified,
        lowered: &'a Lowered<W>,
        limits: &Limits,
        host: &'a mut dyn Host,
    ) -> Result<Machine<'a, W>, String> {
        let module = verified.module();
        Ok(Machine {
            verified,
            lowered,
            host,
            words: Vec::new(),
            refs: Vec::new(),
            ref_start: 0,
            frames: Vec::with_capacity(16),
            memory: Memory::new(module, limits.memory_pages)?,
            word_globals: module.word_globals.iter().map(|word| word_from(*word)).collect(),
            ref_globals: nulls(module.ref_globals as usize),
            heap: Heap::new(limits.heap_bytes),
            constants: nulls(module.ref_constants.len()),
            gas: Gas::new(limits.gas),
            guest_gas: limits.guest_gas,
            limits: *limits,
        })
    }

    /// Makes the word stack at least `needed` words long; `needed` is within the limit.
    #[cold]
    #[inline(never)]
    pub fn grow_words(&mut self, needed: usize) {
        let len = needed.max(self.words.len() * 2).max(32).min(self.limits.stack_words as usize);
        self.words.resize(len, W::ZERO);
    }

    /// Checks the reference stack's limit for a frame of `frame_refs` from `start` on, and makes room for it.
    pub fn reserve_refs(&mut self, start: usize, frame_refs: u32) -> Result<(), Stop> {
        let needed = start + frame_refs as usize;
        if needed > self.limits.stack_refs as usize {
            return Err(Stop::trap(TrapKind::Stack));
        }
        if needed > self.refs.len() {
            self.refs.resize_with(needed.max(self.refs.len() * 2).max(8), Reference::default);
        }
        Ok(())
    }

    /// Hands the references of the current frame over to a tail call: its arguments are at `r`.
    pub fn replace_refs(&mut self, r: usize, callee: &LoweredFunction) -> Result<(), Stop> {
        let start = self.ref_start;
        if callee.frame_refs > 0 {
            self.reserve_refs(start, callee.frame_refs)?;
        }
        let end = (start + r + callee.refs_in as usize).min(self.refs.len());
        self.refs[start..end].rotate_left(r.min(end - start));
        let kept = start + callee.refs_in as usize;
        self.clear_refs(kept, end.saturating_sub(kept));
        Ok(())
    }

    /// Leaves the results at `r` as the only references of the current frame.
    pub fn return_refs(&mut self, r: usize, function: &LoweredFunction) {
        let frame = &mut self.refs[self.ref_start..self.ref_start + function.frame_refs as usize];
        let results = function.refs_out as usize;
        for result in 0..results {
            frame.swap(result, r + result);
        }
        for dead in &mut frame[results..] {
            self.heap.clear(dead);
        }
    }

    /// References as they are outside; none where the program uses none.
    pub fn export_refs(&self, from: usize, count: usize) -> Vec<Ref> {
        let refs = self.refs.get(from..from + count).unwrap_or_default();
        refs.iter().map(|reference| self.heap.export(reference)).collect()
    }

    /// The function and the byte offset of the source instruction where a run stopped.
    pub fn locate(&self, place: Place) -> (u32, u32) {
        let (Place::Inst(index) | Place::Entry(index)) = place;
        let functions = &self.lowered.functions;
        let after = functions.partition_point(|function| function.entry as usize <= index);
        let function = after.saturating_sub(1);
        let body = self.verified.body(function as u32);
        let trace = lower::trace(self.verified, self.lowered, function as u32, &body);
        let at = index - functions[function].entry as usize;
        let inst = match place {
            Place::Inst(_) => trace.origin[at],
            Place::Entry(_) => {
                let entry = trace.entries.partition_point(|entry| entry.0 as usize <= at) - 1;
                trace.entries[entry].1
            }
        };
        (function as u32, body.code.insts.get(inst as usize).map_or(0, |inst| inst.offset))
    }

    pub fn into_final_state(self) -> FinalState {
        FinalState {
            memory: self.memory.into_bytes(),
            word_globals: self.word_globals.iter().map(|word| word.resize()).collect(),
            ref_globals: self.ref_globals.iter().map(|reference| self.heap.export(reference)).collect(),
        }
    }
}

fn nulls(count: usize) -> Vec<Reference> {
    std::iter::repeat_with(Reference::default).take(count).collect()
}
