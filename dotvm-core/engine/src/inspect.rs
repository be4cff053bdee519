//! What an instance that stands still looks like, for people.

use dotvm_arch::W512;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::outcome::Ref;
use dotvm_heap::{Heap, Reference};

use crate::inst::Inst;
use crate::instance::{Instance, Run};
use crate::lower;
use crate::machine::{Execution, Next, Place, Process};
use crate::program::{Program, Wrap};
use crate::saved::places::Stands;
use crate::scheduler::{FIRST, Task, Wait};

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

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It is its turn.
    Runs,
    /// It waits for its turn.
    Ready,
    /// It waits for a message.
    Receives,
    /// It waits for the end of a task.
    Joins(u32),
    /// It waits for A.NOTIFY of an address.
    Sleeps(u64),
    /// It has ended with this status and value, and this result, which nobody has asked for yet.
    Ended(u8, W512, Ref),
}

/// A task of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Its number.
    pub task: u32,
    /// The number of the process whose memory and globals it has: its own if it is the first task of one.
    pub process: u32,
    /// The number of the process that it belongs to.
    pub owner: u32,
    /// How it stands.
    pub state: TaskState,
    /// The turn up to which it waits, if it does not wait for ever.
    pub deadline: Option<u64>,
    /// Messages that it has not received, with who sent them, the oldest first.
    pub mailbox: Vec<(u32, Ref)>,
    /// Its frames, the first called first; none if it has ended.
    pub frames: Vec<FrameView>,
}

/// What the tasks of a process share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessView {
    /// The number of its first task.
    pub process: u32,
    /// Word globals, zero-extended.
    pub word_globals: Vec<W512>,
    /// Reference globals.
    pub ref_globals: Vec<Ref>,
    /// Bytes of linear memory, of which [`Instance::memories`] has those that are there.
    pub memory_size: u64,
}

impl Instance {
    /// The frames of the task that runs between two steps, the first called first.
    pub fn frames(&self) -> Vec<FrameView> {
        self.running.frames(&self.program)
    }

    /// The tasks by number. The first one has number 0; it is the only one where nothing was spawned.
    pub fn tasks(&self) -> Vec<TaskView> {
        self.running.tasks(&self.program)
    }

    /// Bytes of the linear memory that the task that runs has.
    pub fn memory_size(&self) -> u64 {
        self.running.memory_size()
    }

    /// The processes by number. The first one has number 0.
    pub fn processes(&self) -> Vec<ProcessView> {
        self.running.process_views()
    }
}

impl<W: Wrap> Run<W> {
    /// What the tasks of each process share.
    pub(crate) fn views_of_processes(&self) -> Vec<ProcessView> {
        let heap = &self.state().heap;
        let view = |(process, of): (u32, &Process<W>)| ProcessView {
            process,
            word_globals: of.word_globals.iter().map(|word| word.resize()).collect(),
            ref_globals: of.ref_globals.iter().map(|reference| heap.export(reference)).collect(),
            memory_size: of.memory.pages() * PAGE_BYTES,
        };
        self.processes().into_iter().map(view).collect()
    }

    /// The tasks.
    pub(crate) fn task_views(&self, program: &Program) -> Vec<TaskView> {
        let state_of = self.state();
        let Some(scheduler) = &state_of.scheduler else {
            let frames = self.frame_views(program);
            let (state, mailbox) = (TaskState::Runs, Vec::new());
            return vec![TaskView {
                task: FIRST,
                process: FIRST,
                owner: FIRST,
                state,
                deadline: None,
                mailbox,
                frames,
            }];
        };
        let export = |reference: &Reference| state_of.heap.export(reference);
        let view = |(&pid, task): (&u32, &Task<W>)| {
            let waiting = task.waiting.filter(|waiting| waiting.stands());
            let (state, frames) = match (&task.ended, waiting) {
                (Some(ended), _) => {
                    (TaskState::Ended(ended.status, ended.value.resize(), export(&ended.result)), Vec::new())
                }
                _ if pid == scheduler.current => (TaskState::Runs, self.frame_views(program)),
                (None, waiting) => {
                    let state = match waiting.map(|waiting| waiting.wait) {
                        None => TaskState::Ready,
                        Some(Wait::Message) => TaskState::Receives,
                        Some(Wait::End(of)) => TaskState::Joins(of),
                        Some(Wait::Address(address)) => TaskState::Sleeps(address),
                    };
                    (state, views(program, &state_of.heap, &task.execution, Stands::Parked))
                }
            };
            TaskView {
                task: pid,
                process: task.process,
                owner: task.owner,
                state,
                deadline: waiting.and_then(|waiting| waiting.deadline()),
                mailbox: task.mailbox.iter().map(|(sender, message)| (*sender, export(message))).collect(),
                frames,
            }
        };
        scheduler.tasks.iter().map(view).collect()
    }

    /// The frames of the task that runs, the first called first.
    pub(crate) fn frame_views(&self, program: &Program) -> Vec<FrameView> {
        let stands = if self.waits { Stands::Calls } else { Stands::Runs };
        let state = self.state();
        views::<W>(program, &state.heap, &state.execution, stands)
    }
}

/// The frames of a task, the first called first.
fn views<W: Wrap>(
    program: &Program,
    heap: &Heap,
    execution: &Execution<W>,
    stands: Stands,
) -> Vec<FrameView> {
    let lowered = W::unwrap(&program.lowered).expect("an instance has its program's width");
    let verified = program.verified();
    let (mut place, mut is_call) = match execution.next {
        Next::Enter(place) => (Place::Entry(place), false),
        Next::Inst(place) if stands != Stands::Runs => (Place::Inst(place - 1), false),
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
            _ => (frame.start as usize, (slots - frame.start as usize) + if is_call { height } else { 0 }),
        };
        let locals = if shape.window > 0 { 0 } else { shape.word_locals + shape.words_in };
        let words = execution.words.get(start..start + height).unwrap_or_default();
        let (locals, stack) = words.split_at((locals as usize).min(words.len()));
        let ref_locals = (shape.refs_in + source.ref_locals) as usize;
        let held = execution.refs.get(refs..refs + ref_height).unwrap_or_default();
        let (ref_locals, ref_stack) = held.split_at(ref_locals.min(held.len()));
        let wide = |words: &[W]| words.iter().map(|word| word.resize()).collect();
        let outside = |refs: &[_]| refs.iter().map(|reference| heap.export(reference)).collect();
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
