//! Rows 0xE1 to 0xE7 and 0xF909 to 0xF90A: operations on tasks, and how the machine goes from one to another.

use dotvm_arch::Word;
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::gas;
use dotvm_core::limits::MAX_TASK;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_heap::Reference;

use crate::ahead::VOID;
use crate::lower::word_from;
use crate::machine::{Frame, Machine, Next, Place, Process, Stop};
use crate::scheduler::{Cause, Ended, FIRST, Scheduler, Task, Usage, Wait};

const _: () = assert!(Capability::ALL.len() <= 32, "SPAWN names capabilities by the bits of any word");

/// The kind of task that has a memory of its own.
const PROCESS: u8 = 0;
/// The kind that nobody interrupts and that never waits.
const PARADOT: u8 = 2;

/// How A.WAIT ends.
mod waited {
    pub const WOKEN: u64 = 0;
    pub const NOT_EQUAL: u64 = 1;
    pub const TIMED_OUT: u64 = 2;
}

/// How a task ends.
mod status {
    pub const RETURNED: u8 = 0;
    pub const HALTED: u8 = 1;
    pub const THREW: u8 = 2;
    pub const TRAPPED: u8 = 3;
    pub const KILLED: u8 = 4;
}

/// What is not a number of a task is no task's.
fn pid_of<W: Word>(word: W) -> Option<u32> {
    word.try_u64().and_then(|pid| u32::try_from(pid).ok())
}

impl<W: Word> Machine<'_, W> {
    /// Does something with the scheduler and the machine; makes the scheduler if there is none.
    fn with_scheduler<T>(&mut self, act: impl FnOnce(&mut Scheduler<W>, &mut Self) -> T) -> T {
        let scheduler = self.scheduler.take();
        let mut scheduler = scheduler.unwrap_or_else(|| Box::new(Scheduler::new(&self.limits)));
        let result = act(&mut scheduler, self);
        self.scheduler = Some(scheduler);
        result
    }

    /// Does an operation on tasks.
    #[inline(never)]
    pub fn task_op(&mut self, op: Op, w: usize, r: usize, imms: [u64; 2]) -> Result<(), Stop> {
        let [a, b] = imms;
        if let Some(trial) = &self.trial {
            return match op {
                Op::Yield => Ok(()),
                Op::Selfid => {
                    self.words[w] = W::from_u64(trial.pid().into());
                    Ok(())
                }
                _ => Err(VOID),
            };
        }
        match op {
            Op::Spawn => {
                let callee = &self.verified.module().functions[b as usize];
                let module = self.verified.module();
                let process = (a == 0).then(|| (module.data_end(), module.globals()));
                self.gas.charge(gas::task(callee.word_locals.into(), process))?;
                self.answer_at = (w, r);
                return Err(Stop::Spawn { function: b as u32, kind: a as u8 });
            }
            Op::Yield if self.scheduler.as_ref().is_some_and(|scheduler| !scheduler.runs_paradot()) => {
                return Err(Stop::Switch);
            }
            Op::Yield => {}
            Op::Join => return self.join(w, r),
            Op::Selfid => {
                let pid = self.scheduler.as_ref().map_or(FIRST, |scheduler| scheduler.current);
                self.words[w] = W::from_u64(pid.into());
            }
            Op::Send => self.send(w, r),
            Op::Recv => return self.receive(w, r),
            Op::Kill => self.kill(w)?,
            Op::AWait => return self.wait_at(w, r, a, b),
            Op::ANotify => {
                let address = self.memory.range(self.words[w], W::from_u64(1), a)?.start as u64;
                let count = self.words[w + 1].try_u64().unwrap_or(u64::MAX);
                let woken = self.scheduler.as_mut().map_or(0, |scheduler| scheduler.notify(address, count));
                self.words[w] = W::from_u64(woken);
            }
            op => unreachable!("{op:?} is no operation on tasks"),
        }
        Ok(())
    }

    /// The number of another task that belongs to the process of the one that runs.
    fn own_task(&self, word: W) -> Result<u32, Stop> {
        let scheduler = self.scheduler.as_ref();
        scheduler
            .zip(pid_of(word))
            .filter(|(scheduler, pid)| {
                *pid != scheduler.current && scheduler.belonging.contains(&(scheduler.process, *pid))
            })
            .map(|(_, pid)| pid)
            .ok_or(Stop::trap(TrapKind::Index))
    }

    fn join(&mut self, w: usize, r: usize) -> Result<(), Stop> {
        let pid = self.own_task(self.words[w])?;
        self.with_scheduler(|scheduler, m| {
            if scheduler.living(pid).is_some() {
                m.answer_at = (w, r);
                return Err(scheduler.wait(Wait::End(pid), W::MAX));
            }
            m.take_result(scheduler, pid, w, r)
        })
    }

    /// Takes the result of a task that has ended.
    fn take_result(
        &mut self,
        scheduler: &mut Scheduler<W>,
        pid: u32,
        w: usize,
        r: usize,
    ) -> Result<(), Stop> {
        let ended = scheduler.tasks.get_mut(&pid).and_then(|task| task.ended.take());
        // Another task was faster.
        let Some(Ended { status, value, result }) = ended else { return Err(Stop::trap(TrapKind::Index)) };
        scheduler.tasks.remove(&pid);
        scheduler.belonging.remove(&(scheduler.process, pid));
        self.words[w] = W::from_u64(status.into());
        self.words[w + 1] = value;
        self.set_ref(r, result);
        Ok(())
    }

    fn send(&mut self, w: usize, r: usize) {
        let to = pid_of(self.words[w]);
        let message = std::mem::take(&mut self.refs[r]);
        let refused = self.with_scheduler(|scheduler, _| {
            let (current, capacity) = (scheduler.current, scheduler.limits.mailbox as usize);
            let receiver = to.and_then(|to| scheduler.living(to));
            let Some(receiver) = receiver.filter(|task| task.mailbox.len() < capacity) else {
                return Some(message);
            };
            receiver.mailbox.push_back((current, message));
            if receiver.waiting.is_some()
                && let Some(to) = to
            {
                scheduler.wake(to, Wait::Message, Cause::Due);
            }
            None
        });
        self.words[w] = W::from_bool(refused.is_none());
        if let Some(message) = refused {
            self.heap.release(message);
        }
    }

    fn receive(&mut self, w: usize, r: usize) -> Result<(), Stop> {
        self.with_scheduler(|scheduler, m| {
            if m.words[w].is_zero() || !scheduler.running().mailbox.is_empty() {
                m.take_message(scheduler, w, r);
                return Ok(());
            }
            m.answer_at = (w, r);
            Err(scheduler.wait(Wait::Message, m.words[w]))
        })
    }

    /// Takes the oldest message, if there is one.
    fn take_message(&mut self, scheduler: &mut Scheduler<W>, w: usize, r: usize) {
        let (from, message) = match scheduler.running().mailbox.pop_front() {
            Some((from, message)) => (W::from_u64(from.into()), message),
            None => (W::MAX, Reference::NULL),
        };
        self.words[w] = from;
        self.set_ref(r, message);
    }

    fn kill(&mut self, w: usize) -> Result<(), Stop> {
        let pid = self.own_task(self.words[w])?;
        let value = self.words[w + 1];
        let was_living = self.with_scheduler(|scheduler, m| {
            let was_living = scheduler.living(pid).is_some();
            if was_living {
                let ended = Ended { status: status::KILLED, value, result: Reference::NULL };
                scheduler.end(m, pid, ended);
                scheduler.share_limits(m);
            }
            was_living
        });
        self.words[w] = W::from_bool(was_living);
        Ok(())
    }

    fn wait_at(&mut self, w: usize, r: usize, format: u64, offset: u64) -> Result<(), Stop> {
        let (address, found) = self.formatted(self.words[w], format, offset)?;
        let (expected, ticks) = (self.words[w + 1], self.words[w + 2]);
        if !found.eq(expected) || ticks.is_zero() {
            let how = if found.eq(expected) { waited::TIMED_OUT } else { waited::NOT_EQUAL };
            self.words[w] = W::from_u64(how);
            return Ok(());
        }
        self.answer_at = (w, r);
        Err(self.with_scheduler(|scheduler, _| scheduler.wait(Wait::Address(address), ticks)))
    }

    /// Goes on to another task where one has stopped, having used so much gas. A trap is how what it waited for ended, for
    /// the task that goes on. ParaDots on the way use no more than `quantum`.
    ///
    /// Errors: it was the first task that ended, or the machine is to stop.
    pub fn reschedule(
        &mut self,
        stopped: (Option<Stop>, Place),
        used: u64,
        quantum: u64,
    ) -> Result<Option<Stop>, (Option<Stop>, Place)> {
        let (stop, place) = stopped;
        let is_first = self.scheduler.as_ref().is_none_or(|scheduler| scheduler.current == FIRST);
        let ended = match (stop, place) {
            (Some(Stop::Spawn { function, kind }), Place::Inst(_)) => {
                let spawned = self.with_scheduler(|scheduler, m| {
                    scheduler.use_turn(used);
                    m.spawn(scheduler, function, kind)
                });
                return spawned.map(|()| None).map_err(|stop| (Some(stop), place));
            }
            (Some(Stop::Switch), _) => {
                return Ok(self.with_scheduler(|scheduler, m| m.turn_over(scheduler, true, quantum)));
            }
            (stop, place) if is_first => return Err(self.stopped_in_turn((stop, place), used)),
            (stop, place) => {
                let function =
                    self.scheduler.as_mut().map_or(FIRST, |scheduler| scheduler.running().function);
                match self.ended_with(stop, function) {
                    Ok(ended) => ended,
                    Err(stop) => return Err(self.stopped_in_turn((Some(stop), place), used)),
                }
            }
        };
        Ok(self.with_scheduler(|scheduler, m| {
            scheduler.end(m, scheduler.current, ended);
            m.turn_over(scheduler, false, quantum)
        }))
    }

    /// The machine stops in a turn.
    fn stopped_in_turn(&mut self, stopped: (Option<Stop>, Place), used: u64) -> (Option<Stop>, Place) {
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.use_turn(used);
        }
        stopped
    }

    /// How a task has ended that began with this function and stopped like this.
    ///
    /// Errors: it has not ended, the machine stops.
    pub(crate) fn ended_with(&mut self, stop: Option<Stop>, function: u32) -> Result<Ended<W>, Stop> {
        Ok(match stop {
            None => self.returned(function),
            Some(Stop::Halt(halt)) => {
                let (code, result) = *halt;
                Ended { status: status::HALTED, value: word_from(code), result }
            }
            Some(Stop::Throw(exception)) => {
                let (code, payload) = *exception;
                Ended { status: status::THREW, value: word_from(code), result: payload }
            }
            Some(Stop::Trap(kind, _)) if kind != TrapKind::Gas => {
                Ended { status: status::TRAPPED, value: W::from_u64(kind as u64), result: Reference::NULL }
            }
            Some(stop) => return Err(stop),
        })
    }

    /// What the function returned that a task began with.
    fn returned(&mut self, function: u32) -> Ended<W> {
        let function = &self.lowered.functions[function as usize];
        let value = if function.words_out > 0 { self.words[0] } else { W::ZERO };
        let result = if function.refs_out > 0 { std::mem::take(&mut self.refs[0]) } else { Reference::NULL };
        Ended { status: status::RETURNED, value, result }
    }

    /// Begins the next turn. What the task waited for comes to it, or a trap.
    fn turn_over(&mut self, scheduler: &mut Scheduler<W>, goes_on: bool, quantum: u64) -> Option<Stop> {
        let waited = scheduler.next_turn(self, goes_on);
        let waited = if scheduler.runs_paradot() { self.run_ahead(scheduler, quantum) } else { waited };
        let waited = waited?;
        let (w, r) = self.answer_at;
        match waited {
            (_, Cause::Deadlock) => return Some(Stop::trap(TrapKind::Deadlock)),
            (Wait::Message, _) => self.take_message(scheduler, w, r),
            (Wait::End(pid), _) => return self.take_result(scheduler, pid, w, r).err(),
            (Wait::Address(_), Cause::Due) => self.words[w] = W::from_u64(waited::WOKEN),
            (Wait::Address(_), Cause::TimedOut) => self.words[w] = W::from_u64(waited::TIMED_OUT),
        }
        None
    }

    /// SPAWN.
    fn spawn(&mut self, scheduler: &mut Scheduler<W>, function: u32, kind: u8) -> Result<(), Stop> {
        let is_thread = kind != PROCESS;
        let (w, r) = self.answer_at;
        let callee = &self.lowered.functions[function as usize];
        let (words_in, refs_in) = (callee.words_in as usize, callee.refs_in as usize);
        let words = callee.frame_words.max(callee.words_out.into());
        let usage = Usage { frames: 1, words, refs: callee.frame_refs };
        let own = Usage {
            frames: self.frames.len() as u32,
            words: self.words.len() as u32,
            refs: self.refs.len() as u32,
        };
        let limits = &scheduler.limits;
        let others = scheduler.others;
        let fits = |used: [u32; 3], limit: u32| {
            used.iter().map(|&used| u64::from(used)).sum::<u64>() <= u64::from(limit)
        };
        let pages = self.memory.pages() + scheduler.other_pages();
        let module = self.verified.module();
        let has_room = scheduler.tasks.len() < limits.tasks as usize
            && scheduler.last < MAX_TASK
            && fits([own.frames, others.frames, usage.frames], limits.call_depth)
            && fits([own.words, others.words, usage.words], limits.stack_words)
            && fits([own.refs, others.refs, usage.refs], limits.stack_refs)
            && (is_thread || pages + module.memory.min_pages <= limits.memory_pages);
        if !has_room {
            self.clear_refs(r, refs_in);
            self.words[w] = W::ZERO;
            return Ok(());
        }
        let pid = scheduler.last + 1;
        let process = match is_thread {
            true => None,
            false => Some(Process::new(module, limits).map_err(|why| Stop::Machine(why.into_boxed_str()))?),
        };
        let kept = self.words[w + words_in].low_u64();
        let taken = Capability::ALL.iter().copied();
        let taken: CapabilitySet = taken
            .filter(|&capability| kept >> capability as u8 & 1 == 0 || self.dropped.contains(capability))
            .collect();
        let process_of_task = if is_thread { scheduler.process } else { pid };
        let mut task = Task::new(process_of_task, scheduler.process, function, kind == PARADOT);
        task.usage = usage;
        let execution = &mut task.execution;
        execution.words.extend_from_slice(&self.words[w..w + words_in]);
        execution.words.resize(words as usize, W::ZERO);
        execution.refs.extend(self.refs[r..r + refs_in].iter_mut().map(std::mem::take));
        execution.refs.resize_with(callee.frame_refs as usize, Reference::default);
        execution.frames.push(Frame {
            return_to: 0,
            caller_slots: 0,
            caller_refs: 0,
            start: 0,
            window: callee.window as u32,
        });
        execution.next = Next::Enter(callee.entry as usize);
        execution.slots = if callee.window > 0 { words_in } else { 0 };
        execution.dropped = taken;
        scheduler.add(pid, task, process);
        scheduler.share_limits(self);
        if scheduler.tasks.len() == 2 {
            scheduler.begin_turn(0);
        }
        self.words[w] = W::from_u64(pid.into());
        Ok(())
    }
}
