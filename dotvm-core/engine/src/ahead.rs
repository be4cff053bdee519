//! ParaDots tried ahead of their turns, at once, each on a snapshot; each turn then takes over what its trial came to.
//!
//! A ParaDot has the turn to itself from its first instruction to its last, so those that stand in a row in the order of
//! turns come to the same whether each runs in its turn or was tried before: if nothing that its trial has read was
//! written by one before it, the trial is what the turn would be. If something was, it is tried again, now on what those
//! before it have left. What a trial cannot do for itself (anything asked of the host or of other tasks, a look at the gas,
//! a change of the size of memory, cells given or returned) makes it void, and the ParaDot runs in its turn as any
//! task does. So do all where there is one core, or trials have not paid off. Nothing of that shows in a result.

use std::collections::VecDeque;
use std::sync::Arc;

use dotvm_arch::Word;
use dotvm_core::capability::CapabilitySet;
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::Verified;
use dotvm_heap::{Heap, Loose, Reference};
use rayon::prelude::*;

use crate::bystander::Bystander;
use crate::interp::drive;
use crate::machine::{Execution, Frame, Machine, Next, Process, State, Stop};
use crate::memory::{Aside, Memory, Written};
use crate::program::Lowered;
use crate::scheduler::{Cause, Ended, Scheduler, Task, Wait};

/// How a trial stops that must not go on. A trial that runs out of gas is void as well, and no handler catches it.
pub(crate) const VOID: Stop = Stop::trap(TrapKind::Gas);

/// Bytes of snapshots that trials may copy at a time.
const MOST_BYTES: usize = 256 << 20;

/// Gas on average below which a trial costs more than it saves.
const SMALL: u64 = 4_000;

/// Whether trials pay off. It decides how long a run takes, not what it comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outlook {
    /// Trials at a time; 0 before the first.
    window: usize,
    /// ParaDots that are to run in their turns first.
    rest: u32,
    /// Trials that were taken over.
    pub taken: u64,
}

impl Outlook {
    /// How many are to be tried.
    fn window(&mut self) -> usize {
        if self.rest > 0 {
            self.rest -= 1;
            return 0;
        }
        let threads = rayon::current_num_threads();
        if threads < 2 {
            self.rest = u32::MAX;
            return 0;
        }
        self.window.clamp(4 * threads, 32 * threads)
    }

    /// Of so many trials so many were taken over as they were, which used so much gas.
    fn learn(&mut self, tried: usize, held: usize, gas: u64) {
        self.taken += held as u64;
        if held * 2 < tried {
            (self.window, self.rest) = (0, 64);
        } else if gas < SMALL * held as u64 {
            (self.window, self.rest) = (0, 1024);
        } else {
            self.window = 2 * tried;
        }
    }
}

/// What a machine has in a trial instead of others around it.
#[derive(Clone, Debug)]
pub(crate) struct Trial<W> {
    pid: u32,
    /// The globals as they were; the machine has none until it looks at one.
    word_globals: Arc<Vec<W>>,
    ref_globals: Arc<Vec<Option<Loose>>>,
}

impl<W> Trial<W> {
    /// The number of the task.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// A task that has not begun.
struct Beginning<W> {
    pid: u32,
    function: u32,
    words: Vec<W>,
    refs: Vec<Loose>,
    frames: Vec<Frame>,
    next: Next,
    slots: usize,
    dropped: CapabilitySet,
    /// What is left for it of the limits.
    limits: Limits,
}

impl<W: Word> Beginning<W> {
    /// `None` if it is given a cell, or has begun.
    fn of(
        pid: u32,
        task: &Task<W>,
        execution: &Execution<W>,
        heap: &Heap,
        limits: Limits,
    ) -> Option<Beginning<W>> {
        let has_begun = execution.frames.len() != 1 || !matches!(execution.next, Next::Enter(_));
        if has_begun || execution.ref_start != 0 {
            return None;
        }
        Some(Beginning {
            pid,
            function: task.function,
            words: execution.words.clone(),
            refs: execution.refs.iter().map(|reference| heap.loose(reference)).collect::<Option<_>>()?,
            frames: execution.frames.clone(),
            next: execution.next,
            slots: execution.slots,
            dropped: execution.dropped,
            limits,
        })
    }
}

/// What all trials begin with.
struct Start<'a, W> {
    verified: &'a Verified,
    lowered: &'a Lowered<W>,
    memory: &'a Memory,
    snapshot: Arc<Vec<u8>>,
    word_globals: Arc<Vec<W>>,
    ref_globals: Arc<Vec<Option<Loose>>>,
    env: Env,
    gas: u64,
    /// Room in the heap.
    heap_bytes: u64,
}

/// What a trial came to.
struct Tried<W> {
    used: u64,
    status: u8,
    value: W,
    result: Loose,
    memory: Box<Aside>,
    /// `None` if it has not looked at them.
    word_globals: Option<Vec<W>>,
    /// What it held in the heap counted no more than this.
    heap_bytes: u64,
}

impl<W: Word> Start<'_, W> {
    /// `None` if the task is to run in its turn.
    fn attempt(&self, beginning: Beginning<W>) -> Option<Tried<W>> {
        let Beginning { pid, function, words, refs, frames, next, slots, dropped, limits } = beginning;
        let mut heap = Heap::rising(self.heap_bytes);
        let refs = refs.iter().map(|loose| heap.lent(loose)).collect::<Result<Vec<_>, _>>().ok()?;
        let constants = self.verified.module().ref_constants.len();
        let state = State {
            execution: Execution { words, refs, frames, next, slots, dropped, ..Execution::new() },
            process: Process {
                memory: self.memory.aside(self.snapshot.clone()),
                word_globals: Vec::new(),
                ref_globals: Vec::new(),
            },
            heap,
            constants: std::iter::repeat_with(Reference::default).take(constants).collect(),
            gas: Gas::new(self.gas),
            reserve: 0,
            guest_gas: 0,
            limits,
            has_ended: false,
            scheduler: None,
            formulas: None,
            trial: Some(Box::new(Trial {
                pid,
                word_globals: self.word_globals.clone(),
                ref_globals: self.ref_globals.clone(),
            })),
        };
        let mut host = Bystander::new(self.env.clone());
        let mut machine = Machine::new(self.verified, self.lowered, &mut host, state);
        let (stop, _) = drive(&mut machine, u64::MAX, None);
        let Ended { status, value, result } = machine.ended_with(stop, function).ok()?;
        let State { process, heap, gas, .. } = machine.into_state();
        if host.was_asked() || heap.was_full() {
            return None;
        }
        Some(Tried {
            used: self.gas - gas.left(),
            status,
            value,
            result: heap.own(&result)?,
            memory: process.memory.into_aside()?,
            word_globals: Some(process.word_globals).filter(|globals| !globals.is_empty()),
            heap_bytes: heap.limit(),
        })
    }
}

/// What those that were tried together have changed since.
#[derive(Default)]
struct Changes {
    memory: Written,
    word_globals: bool,
}

impl<W: Word> Machine<'_, W> {
    /// Traps what a trial cannot do.
    #[inline(always)]
    pub fn check_in_turn(&self) -> Result<(), Stop> {
        if self.trial.is_some() { Err(VOID) } else { Ok(()) }
    }

    /// A word global where there are none yet, which is in trials.
    #[cold]
    #[inline(never)]
    pub fn first_word_global(&mut self, global: usize) -> &mut W {
        if let Some(trial) = &self.trial {
            self.word_globals = trial.word_globals.to_vec();
        }
        &mut self.word_globals[global]
    }

    /// The same for a reference global. One that holds a cell makes the trial void.
    #[cold]
    #[inline(never)]
    pub fn first_ref_global(&mut self, global: usize) -> Result<Reference, Stop> {
        if let Some(trial) = &self.trial {
            let globals = trial.ref_globals.clone();
            self.ref_globals = globals
                .iter()
                .map(|global| Ok(self.heap.lent(global.as_ref().ok_or(VOID)?)?))
                .collect::<Result<_, Stop>>()?;
        }
        Ok(self.heap.share(&self.ref_globals[global]))
    }

    /// The turns of ParaDots, from the running one on, that are taken over from trials, as long as all of a trial fits into
    /// what is left of `quantum`; why the task that goes on does so, if it has waited.
    pub(crate) fn run_ahead(&mut self, scheduler: &mut Scheduler<W>, quantum: u64) -> Option<(Wait, Cause)> {
        let (mut waited, mut quantum) = (None, quantum);
        while scheduler.runs_paradot() {
            let count = scheduler.outlook.window();
            let gas = quantum.min(self.gas.left());
            let mut trials = self.trials(scheduler, count, gas);
            let (tried, mut held, mut used) = (trials.len(), 0, 0);
            let mut changes = Changes::default();
            while scheduler.runs_paradot()
                && let Some(trial) = trials.pop_front()
            {
                let room = quantum.min(self.gas.left());
                let is_held = trial.as_ref().is_some_and(|trial| self.holds(trial, &changes, room));
                held += usize::from(is_held);
                let taken = match trial {
                    Some(_) if !is_held => self
                        .trials(scheduler, 1, room)
                        .pop_front()
                        .flatten()
                        .filter(|trial| self.holds(trial, &Changes::default(), room)),
                    trial => trial,
                };
                let Some(taken) = taken else {
                    scheduler.outlook.learn(tried, held, used);
                    return None;
                };
                used += taken.used;
                quantum -= taken.used;
                let ended = self.take_over(taken, &mut changes)?;
                scheduler.end(self, scheduler.current, ended);
                waited = scheduler.next_turn(self, false);
            }
            if tried == 0 {
                return None;
            }
            scheduler.outlook.learn(tried, held, used);
        }
        waited
    }

    /// Tries the running ParaDot and those behind it, `count` in all; none where nothing can be tried.
    fn trials(&mut self, scheduler: &mut Scheduler<W>, count: usize, gas: u64) -> VecDeque<Option<Tried<W>>> {
        if count == 0 || self.formulas.is_some() {
            return VecDeque::new();
        }
        let beginnings = self.beginnings(scheduler, count);
        let Some(snapshot) = self.memory.lend() else { return VecDeque::new() };
        let fitting = (MOST_BYTES / snapshot.len().max(1)).max(1);
        let start = Start {
            verified: self.verified,
            lowered: self.lowered,
            memory: &self.memory,
            snapshot,
            word_globals: Arc::new(std::mem::take(&mut self.word_globals)),
            ref_globals: Arc::new(self.ref_globals.iter().map(|global| self.heap.loose(global)).collect()),
            env: self.host.env().clone(),
            gas,
            heap_bytes: self.heap.room_left(),
        };
        let attempt = |beginning: Option<_>| start.attempt(beginning?);
        let trials: Vec<_> = match count {
            1 => beginnings.into_iter().map(attempt).collect(),
            _ => beginnings.into_par_iter().take(fitting).map(attempt).collect(),
        };
        let Start { snapshot, word_globals, .. } = start;
        self.memory.take_back(snapshot);
        self.word_globals = Arc::try_unwrap(word_globals).unwrap_or_else(|shared| shared.to_vec());
        trials.into()
    }

    /// How the running ParaDot and those behind it begin, with what is left to each of the limits in its turn.
    fn beginnings(&mut self, scheduler: &mut Scheduler<W>, count: usize) -> Vec<Option<Beginning<W>>> {
        let mut limits = self.limits;
        let mut running = Execution::new();
        self.exchange_execution(&mut running);
        let pid = scheduler.current;
        let task = scheduler.running();
        let mut beginnings = vec![Beginning::of(pid, task, &running, &self.heap, limits)];
        self.exchange_execution(&mut running);
        for (pid, task) in scheduler.next_paradots().take(count - 1) {
            // Those before it are at their ends then.
            limits.call_depth += task.usage.frames;
            limits.stack_words += task.usage.words;
            limits.stack_refs += task.usage.refs;
            beginnings.push(Beginning::of(pid, task, &task.execution, &self.heap, limits));
        }
        beginnings
    }

    /// Whether a trial is what the turn would be, which may use so much gas.
    fn holds(&mut self, tried: &Tried<W>, changes: &Changes, gas: u64) -> bool {
        tried.used <= gas
            && !(tried.word_globals.is_some() && changes.word_globals)
            && tried.heap_bytes <= self.heap.room_left()
            && !tried.memory.conflicts(&changes.memory)
    }

    /// Lets the running ParaDot end as its trial did; `None`, and nothing has changed, if the machine underneath has no
    /// memory for that.
    fn take_over(&mut self, tried: Tried<W>, changes: &mut Changes) -> Option<Ended<W>> {
        let Tried { used, status, value, result, memory, word_globals, .. } = tried;
        let result = self.heap.bring(result).ok()?;
        if self.memory.merge(&memory, &mut changes.memory).is_err() {
            self.heap.release(result);
            return None;
        }
        if let Some(globals) = word_globals {
            changes.word_globals |= globals != self.word_globals;
            self.word_globals = globals;
        }
        self.gas = Gas::new(self.gas.left() - used);
        Some(Ended { status, value, result })
    }
}
