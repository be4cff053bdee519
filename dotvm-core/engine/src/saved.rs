//! Instances written down between two steps, and read back.
//!
//! What is written is what the engine would find: frames and the place to go on with are those of the register form, so
//! they hold for a program that was lowered the same way, which [`Program::fingerprint`] tells. Whatever is read is
//! checked against the verified module before an instance is made of it (`places`); linear memory's bytes are the
//! caller's to keep.

pub(crate) mod places;

use std::sync::Arc;

use dotvm_arch::{Word, with_arch};
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::gas::{self, Gas};
use dotvm_core::limits::Limits;
use dotvm_core::opcode::Op;
use dotvm_heap::{Heap, Reference, Restored};

use crate::instance::{Instance, Run, Running};
use crate::machine::{Execution, Frame, Next, Process, State};
use crate::memory::Memory;
use crate::program::{Lowered, Program, Wrap, with_lowered};
use crate::scheduler::{FIRST, Scheduler};
use places::{Layout, Stands};

impl Program {
    /// A hash of what places, frames and costs of this program are: instances that were written down go on only in a
    /// program that has the same.
    pub fn fingerprint(&self) -> [u8; 32] {
        fn of<W: Word>(lowered: &Lowered<W>) -> Vec<u8> {
            let mut writer = Writer::new();
            writer.number(gas::SCHEDULE);
            writer.number(W::BITS);
            writer.count(lowered.code.len());
            (0..lowered.code.len() / 2).for_each(|inst| writer.number(lowered.entry_cost(inst)));
            for function in &lowered.functions {
                writer.number(function.entry);
                writer.number(function.frame_words);
                writer.number(function.frame_refs);
                writer.number(function.window);
            }
            writer.into_bytes()
        }
        let bytes = with_lowered!(&self.lowered, lowered => of(lowered));
        *blake3::hash(&bytes).as_bytes()
    }
}

/// A linear memory, and what has changed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryChanges<'a> {
    /// The number of its process.
    pub process: u32,
    /// The bytes that are there.
    pub bytes: &'a [u8],
    /// The pages of 64 KiB that have changed, in their order; `None` if any may have.
    pub pages: Option<Vec<u32>>,
}

impl Instance {
    /// Writes the instance down as it stands after a step: the bytes of linear memories are [`Instance::memories`], the
    /// managed heap goes to `heap`, and everything else to `control`.
    ///
    /// # Errors
    /// A sentence, if it has not begun, is at its end, or was answered and did not go on.
    pub fn save(&mut self, control: &mut Writer, heap: &mut Writer) -> Result<(), String> {
        self.running.save(&self.program, control, heap)
    }

    /// What keeps the instance from being written down now, though it stands between two steps.
    pub fn unsaved(&self) -> Option<&'static str> {
        self.running.grows().then_some("a program that grows while it runs")
    }

    /// The bytes of linear memories that are there, by the numbers of their processes; those behind, up to a memory's
    /// size, are zero. The process that the instance began with has number 0.
    pub fn memories(&self) -> Vec<(u32, &[u8])> {
        self.running.memories()
    }

    /// The linear memories as [`Instance::memories`] has them, with the pages of each that have changed since this was asked
    /// last, or since the instance was read.
    pub fn take_changes(&mut self) -> Vec<MemoryChanges<'_>> {
        self.running.take_changes()
    }

    /// Reads an instance that was written down. `memory` gives the bytes of the linear memory of a process, when it is told
    /// its number and how many there are.
    ///
    /// # Errors
    /// What cannot be a state of this program within these limits.
    pub fn restore(
        program: Arc<Program>,
        limits: &Limits,
        control: &mut Reader<'_>,
        heap: &mut Reader<'_>,
        mut memory: impl FnMut(u32, usize) -> Result<Vec<u8>, String>,
    ) -> Result<Instance, Damage> {
        type Boxed = Box<dyn Running>;
        fn at_width<W: Wrap>(
            program: &Program,
            limits: &Limits,
            control: &mut Reader<'_>,
            heap: &mut Reader<'_>,
            memories: Memories<'_>,
        ) -> Result<Boxed, Damage> {
            let Some(lowered) = W::unwrap(&program.lowered) else { return control.damage("another width") };
            Ok(Box::new(restore(program, lowered, limits, control, heap, memories)?))
        }
        let width = program.verified().module().width;
        let running = with_arch!(width, W => at_width::<W>(&program, limits, control, heap, &mut memory))?;
        Ok(Instance { program, running })
    }
}

impl<W: Wrap> Run<W> {
    /// Writes it down.
    pub(crate) fn save(
        &mut self,
        program: &Program,
        control: &mut Writer,
        heap: &mut Writer,
    ) -> Result<(), String> {
        let (Some(state), None, None) = (&mut self.state, &self.begin, &self.reply) else {
            return Err("an instance is written down only between two steps".to_owned());
        };
        let lowered = W::unwrap(&program.lowered).expect("an instance has its program's width");
        if state.formulas.is_some() {
            return Err("an instance whose program grows while it runs is not written down".to_owned());
        }
        if state.has_ended {
            return Err("an instance that is at its end is not written down".to_owned());
        }
        state.heap.save(&state.constants, heap);
        control.number(self.function);
        control.flag(self.waits);
        control.flag(state.scheduler.is_some());
        let mut function = self.function;
        if let Some(scheduler) = &state.scheduler {
            scheduler.save(program, lowered, self.function, control)?;
            function = scheduler.running_function(self.function);
        }
        save_process(&state.process, control);
        let stands = if self.waits { Stands::Calls } else { Stands::Runs };
        save_execution(program, lowered, function, stands, &state.execution, &state.limits, control)?;
        state.constants.iter().for_each(|constant| constant.save(control));
        control.number(state.gas.left());
        control.number(state.guest_gas);
        Ok(())
    }

    /// The processes with their numbers, in their order.
    pub(crate) fn processes(&self) -> Vec<(u32, &Process<W>)> {
        let state = self.state();
        match &state.scheduler {
            Some(scheduler) => scheduler.memories(&state.process),
            None => vec![(FIRST, &state.process)],
        }
    }

    /// The memories, and which of their pages have changed.
    pub(crate) fn changes_of_memories(&mut self) -> Vec<MemoryChanges<'_>> {
        let Some(state) = &mut self.state else { return Vec::new() };
        let processes = match &mut state.scheduler {
            Some(scheduler) => scheduler.memories_mut(&mut state.process),
            None => vec![(FIRST, &mut state.process)],
        };
        let changes = processes.into_iter().map(|(process, of)| {
            let pages = of.memory.take_changes();
            MemoryChanges { process, bytes: of.memory.bytes(), pages }
        });
        changes.collect()
    }
}

/// Gives the bytes of the linear memory of a process.
pub(crate) type Memories<'a> = &'a mut dyn FnMut(u32, usize) -> Result<Vec<u8>, String>;

/// Writes down what the tasks of a process share, but for the bytes of its memory.
pub(crate) fn save_process<W: Word>(process: &Process<W>, to: &mut Writer) {
    process.memory.save(to);
    save_words(&process.word_globals, to);
    save_references(&process.ref_globals, to);
}

pub(crate) fn restore_process<W: Word>(
    program: &Program,
    limits: &Limits,
    heap: &mut Restored<'_>,
    from: &mut Reader<'_>,
    bytes: impl FnOnce(usize) -> Result<Vec<u8>, String>,
) -> Result<Process<W>, Damage> {
    let module = program.verified().module();
    let memory = Memory::restore(module, limits, from, bytes)?;
    let word_globals = restore_words::<W>(from)?;
    from.require(word_globals.len() == module.word_globals.len(), "the module has other globals")?;
    let ref_globals = restore_references(heap, from)?;
    from.require(ref_globals.len() == module.ref_globals as usize, "the module has other globals")?;
    Ok(Process { memory, word_globals, ref_globals })
}

/// Writes down a task that began with `function`.
pub(crate) fn save_execution<W: Word>(
    program: &Program,
    lowered: &Lowered<W>,
    function: u32,
    stands: Stands,
    execution: &Execution<W>,
    limits: &Limits,
    to: &mut Writer,
) -> Result<(), String> {
    let Execution { words, refs, ref_start, frames, next, slots, answer_at: _, dropped } = execution;
    let (is_entry, place) = match *next {
        Next::Enter(place) => (true, place),
        Next::Inst(place) => (false, place),
    };
    to.flag(is_entry);
    to.count(place);
    to.count(*slots);
    to.count(*ref_start);
    to.count(frames.len());
    for frame in frames {
        for number in [frame.return_to, frame.caller_slots, frame.caller_refs, frame.start, frame.window] {
            to.number(number);
        }
    }
    let layout = Layout { function, stands, next: *next, slots: *slots, frames, ref_start: *ref_start };
    let extent = places::check(program, lowered, &layout, limits)
        .map_err(|problem| format!("the engine is in a state that cannot be: {problem}"))?;
    save_words(&words[..extent.words], to);
    save_references(&refs[..extent.refs], to);
    // What the stacks have reached counts beside those of other tasks.
    to.count(words.len());
    to.count(refs.len());
    to.count(dropped.iter().count());
    dropped.iter().for_each(|capability| to.byte(capability as u8));
    Ok(())
}

/// Reads a task that began with `function`, and which operation it is in the middle of.
pub(crate) fn restore_execution<W: Word>(
    program: &Program,
    lowered: &Lowered<W>,
    function: u32,
    stands: Stands,
    limits: &Limits,
    heap: &mut Restored<'_>,
    from: &mut Reader<'_>,
) -> Result<(Execution<W>, Option<Op>), Damage> {
    let is_entry = from.flag()?;
    let place: usize = from.small()?;
    let next = if is_entry { Next::Enter(place) } else { Next::Inst(place) };
    let slots = from.small()?;
    let ref_start = from.small()?;
    let mut frames = Vec::new();
    for _ in 0..from.count(5)? {
        frames.push(Frame {
            return_to: from.small()?,
            caller_slots: from.small()?,
            caller_refs: from.small()?,
            start: from.small()?,
            window: from.small()?,
        });
    }
    let layout = Layout { function, stands, next, slots, frames: &frames, ref_start };
    let extent = match places::check(program, lowered, &layout, limits) {
        Ok(extent) => extent,
        Err(problem) => return from.damage(problem),
    };
    let mut words = restore_words::<W>(from)?;
    from.require(words.len() == extent.words, "the word stack has not the size of its frames")?;
    let mut refs = restore_references(heap, from)?;
    from.require(refs.len() == extent.refs, "the reference stack has not the size of its frames")?;
    let reached: [usize; 2] = [from.small()?, from.small()?];
    let can_be = (words.len()..=words.len().max(limits.stack_words as usize)).contains(&reached[0])
        && (refs.len()..=refs.len().max(limits.stack_refs as usize)).contains(&reached[1]);
    from.require(can_be, "the stacks have not reached as far as they are said to have")?;
    words.resize(reached[0], W::ZERO);
    refs.resize_with(reached[1], Reference::default);
    let mut dropped = CapabilitySet::NONE;
    for _ in 0..from.count(1)? {
        match Capability::from_code(from.byte()?) {
            Some(capability) if !dropped.contains(capability) => dropped.insert(capability),
            _ => return from.damage("there is no such capability"),
        }
    }
    let answer_at = extent.answer_at;
    Ok((Execution { words, refs, ref_start, frames, next, slots, answer_at, dropped }, extent.after))
}

pub(crate) fn save_words<W: Word>(words: &[W], to: &mut Writer) {
    to.count(words.len());
    let mut bytes = vec![0; W::BYTES];
    for word in words {
        word.write_le(&mut bytes);
        to.raw(&bytes);
    }
}

pub(crate) fn restore_words<W: Word>(from: &mut Reader<'_>) -> Result<Vec<W>, Damage> {
    let count = from.count(W::BYTES)?;
    let bytes = from.raw(count * W::BYTES)?;
    Ok(bytes.chunks_exact(W::BYTES).map(W::read_le).collect())
}

fn save_references(references: &[Reference], to: &mut Writer) {
    to.count(references.len());
    references.iter().for_each(|reference| reference.save(to));
}

fn restore_references(heap: &mut Restored<'_>, from: &mut Reader<'_>) -> Result<Vec<Reference>, Damage> {
    let count = from.count(8)?;
    (0..count).map(|_| heap.reference(from)).collect()
}

fn restore<W: Wrap>(
    program: &Program,
    lowered: &Lowered<W>,
    limits: &Limits,
    from: &mut Reader<'_>,
    heap: &mut Reader<'_>,
    memories: Memories<'_>,
) -> Result<Run<W>, Damage> {
    let module = program.verified().module();
    let mut restored = Heap::restore(limits.heap_bytes, &module.ref_constants, heap)?;
    heap.end()?;
    let function: u32 = from.small()?;
    let waits = from.flag()?;
    let mut scheduler: Option<Box<Scheduler<W>>> = None;
    if from.flag()? {
        let tasks = Scheduler::restore(program, lowered, limits, &mut restored, from, &mut *memories)?;
        scheduler = Some(Box::new(tasks));
    }
    let number = scheduler.as_ref().map_or(FIRST, |scheduler| scheduler.process);
    let mut process = restore_process(program, limits, &mut restored, from, |len| memories(number, len))?;
    let mut limits = *limits;
    let mut first = function;
    if let Some(scheduler) = &scheduler {
        first = scheduler.running_function(function);
        limits = scheduler.limits_left();
        let pages = limits.memory_pages.saturating_sub(scheduler.other_pages());
        process.memory.limit_pages(module, pages);
    }
    let stands = if waits { Stands::Calls } else { Stands::Runs };
    let (execution, _) = restore_execution(program, lowered, first, stands, &limits, &mut restored, from)?;
    let constants = (0..module.ref_constants.len())
        .map(|index| restored.constant(index, from))
        .collect::<Result<_, _>>()?;
    let gas = from.number()?;
    from.require(gas <= Gas::MAX, "there is more gas than there can be")?;
    let guest_gas = from.number()?;
    let heap = restored.finish(from)?;
    let state = State {
        execution,
        process,
        heap,
        constants,
        gas: Gas::new(gas),
        reserve: 0,
        guest_gas,
        limits,
        has_ended: false,
        scheduler,
        formulas: None,
        trial: None,
    };
    Ok(Run { state: Some(state), function, begin: None, reply: None, waits })
}
