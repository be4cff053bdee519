//! What an instance that stands still looks like, for people.

use dotvm_arch::W512;
use dotvm_core::outcome::Ref;

use crate::inst::Inst;
use crate::instance::{Instance, Run};
use crate::lower;
use crate::machine::{Next, Place};
use crate::program::{Program, Wrap};

/// A frame: a function that was called and has not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameView {
    /// Index of the function.
    pub function: u32,
    /// Offset in its code of the instruction that it goes on with or, where it has called another, of that call.
    pub offset: u32,
    /// Word parameters and locals, zero-extended. None in window functions, which have them on the stack.
    pub locals: Vec<W512>,
    /// The word stack, the lowest first.
    pub stack: Vec<W512>,
    /// Reference parameters and locals.
    pub ref_locals: Vec<Ref>,
    /// The reference stack, the lowest first.
    pub ref_stack: Vec<Ref>,
}

impl Instance {
    /// The frames between two steps, the first called first.
    pub fn frames(&self) -> Vec<FrameView> {
        self.running.frames(&self.program)
    }

    /// Values of the globals, words and references.
    pub fn globals(&self) -> (Vec<W512>, Vec<Ref>) {
        self.running.globals()
    }

    /// Bytes of linear memory, of which [`Instance::memory`] has those that are there.
    pub fn memory_size(&self) -> u64 {
        self.running.memory_size()
    }
}

impl<W: Wrap> Run<W> {
    /// The globals' values.
    pub(crate) fn global_values(&self) -> (Vec<W512>, Vec<Ref>) {
        let state = self.state();
        let words = state.process.word_globals.iter().map(|word| word.resize()).collect();
        (words, state.process.ref_globals.iter().map(|reference| state.heap.export(reference)).collect())
    }

    /// The frames, the first called first.
    pub(crate) fn frame_views(&self, program: &Program) -> Vec<FrameView> {
        let state = self.state();
        let execution = &state.execution;
        let lowered = W::unwrap(&program.lowered).expect("an instance has its program's width");
        let verified = program.verified();
        let (mut place, mut is_call) = match execution.next {
            Next::Enter(place) => (Place::Entry(place), false),
            Next::Inst(place) if self.waits => (Place::Inst(place - 1), false),
            Next::Inst(place) => (Place::Inst(place), false),
        };
        let (mut slots, mut refs) = (execution.slots, execution.ref_start);
        let mut views = Vec::with_capacity(execution.frames.len());
        for frame in execution.frames.iter().rev() {
            let (Place::Inst(at) | Place::Entry(at)) = place;
            let (function, offset) = lower::locate(verified, lowered, place);
            let shape = &lowered.functions[function as usize];
            let source = &verified.module().functions[function as usize];
            // Of a frame that has called another, what lies below the call's operands; of the last one, what there is
            // when control is transferred to its place, and elsewhere all of the frame.
            let (height, ref_height) = match (is_call, lowered.code[at]) {
                (true, Inst::Call { w, r, .. } | Inst::CallIndirect { w, r, .. }) => (w as usize, r as usize),
                _ => lower::heights(verified, lowered, place)
                    .unwrap_or((shape.frame_words as usize, shape.frame_refs as usize)),
            };
            let (start, height) = match shape.window {
                0 => (slots, height),
                _ => {
                    (frame.start as usize, (slots - frame.start as usize) + if is_call { height } else { 0 })
                }
            };
            let locals = if shape.window > 0 { 0 } else { shape.word_locals + shape.words_in };
            let words = execution.words.get(start..start + height).unwrap_or_default();
            let (locals, stack) = words.split_at((locals as usize).min(words.len()));
            let ref_locals = (shape.refs_in + source.ref_locals) as usize;
            let held = execution.refs.get(refs..refs + ref_height).unwrap_or_default();
            let (ref_locals, ref_stack) = held.split_at(ref_locals.min(held.len()));
            let wide = |words: &[W]| words.iter().map(|word| word.resize()).collect();
            let outside = |refs: &[_]| refs.iter().map(|reference| state.heap.export(reference)).collect();
            views.push(FrameView {
                function,
                offset,
                locals: wide(locals),
                stack: wide(stack),
                ref_locals: outside(ref_locals),
                ref_stack: outside(ref_stack),
            });
            place = Place::Inst((frame.return_to as usize).saturating_sub(1));
            is_call = true;
            (slots, refs) = (frame.caller_slots as usize, frame.caller_refs as usize);
        }
        views.reverse();
        views
    }
}
