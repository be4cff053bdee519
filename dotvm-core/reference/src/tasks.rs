//! Tasks: processes and threads that take turns. Each says since when it is ready or waits, and whoever has been so for
//! longest comes first; there are no other lists.

use std::collections::{BTreeMap, BTreeSet};

use dotvm_core::capability::Capability;
use dotvm_core::decode::Inst;
use dotvm_core::gas;
use dotvm_core::limits::{MAX_TASK, TURN_GAS};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::Body;
use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};

use crate::machine::{Fault, Frame, Machine, cost_of_entry};
use crate::memory::{Format, Memory};
use crate::value::Value;
use crate::{arithmetic, from_w512};

/// What a task waits for.
#[derive(Clone, PartialEq)]
enum Wish {
    Message,
    EndOf(u64),
    /// A.NOTIFY of this address.
    Notice(u64),
}

/// Why a wait is over.
#[derive(Clone, Copy, PartialEq)]
enum Why {
    Fulfilled,
    TimedOut,
    Deadlock,
}

enum Status {
    /// Goes on when its turn comes; with what it has waited for.
    Ready {
        since: u64,
        after: Option<(Wish, Why)>,
    },
    /// `until` is the turn.
    Waits {
        since: u64,
        wish: Wish,
        until: Option<u64>,
    },
    Ended {
        status: u32,
        value: BigUint,
        result: Value,
    },
}

pub struct Task {
    /// The process whose memory it sees: its own number, if it is the first task there.
    process: u64,
    /// The process that spawned it.
    owner: u64,
    /// Nobody interrupts it, and it never waits.
    is_paradot: bool,
    /// Empty while it runs.
    frames: Vec<Frame>,
    /// The most words and references that its stacks have reached, while it does not run.
    reached: [u64; 2],
    held: Vec<Capability>,
    mailbox: Vec<(u64, Value)>,
    status: Status,
}

impl Task {
    /// The first one.
    pub fn first() -> Task {
        Task {
            process: 0,
            owner: 0,
            is_paradot: false,
            frames: Vec::new(),
            reached: [0; 2],
            held: Vec::new(),
            mailbox: Vec::new(),
            status: Status::Ready { since: 0, after: None },
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.status, Status::Ended { .. })
    }

    /// All references that it has.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        let result = match &self.status {
            Status::Ended { result, .. } => Some(result),
            _ => None,
        };
        let frames = self.frames.iter().flat_map(|frame| frame.ref_locals.iter().chain(&frame.refs));
        frames.chain(self.mailbox.iter().map(|(_, message)| message)).chain(result)
    }
}

/// What the tasks of a process share.
pub struct Space {
    pub memory: Memory,
    /// Data segments that M.DROP emptied.
    pub dropped: BTreeSet<usize>,
    pub word_globals: Vec<BigUint>,
    pub ref_globals: Vec<Value>,
}

/// The tasks of a machine, and whose turn it is.
pub struct Tasks {
    pub all: BTreeMap<u64, Task>,
    /// What the processes have that no running task sees.
    pub spaces: BTreeMap<u64, Space>,
    pub current: u64,
    /// Number given last.
    last: u64,
    /// Counts everything that happens to tasks.
    now: u64,
    /// Counts turns.
    clock: u64,
    /// Gas of this turn, and gas there was when it began.
    turn: u64,
    turn_began_with: u64,
    /// Whether the task that runs is to be left.
    pub is_turn_over: bool,
    /// What befell the task that runs while it waited.
    pub befell: Option<Fault>,
}

impl Tasks {
    pub fn new() -> Tasks {
        Tasks {
            all: BTreeMap::from([(0, Task::first())]),
            spaces: BTreeMap::new(),
            current: 0,
            last: 0,
            now: 0,
            clock: 0,
            turn: 0,
            turn_began_with: 0,
            is_turn_over: false,
            befell: None,
        }
    }

    fn running(&mut self) -> &mut Task {
        self.all.get_mut(&self.current).expect("the task that runs is one")
    }

    fn process(&self) -> u64 {
        self.all[&self.current].process
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn is_alive(&self, pid: u64) -> bool {
        self.all.get(&pid).is_some_and(|task| !task.has_ended())
    }

    /// Ends the wait of a task.
    fn wake(&mut self, pid: u64, why: Why) {
        let since = self.tick();
        let Some(task) = self.all.get_mut(&pid) else { return };
        if let Status::Waits { wish, .. } = &task.status {
            task.status = Status::Ready { since, after: Some((wish.clone(), why)) };
        }
    }

    /// Tasks that wait for something, whoever has waited for longest first.
    fn waiting_for(&self, wish: &Wish) -> Vec<u64> {
        let mut waiting: Vec<(u64, u64)> = Vec::new();
        for (&pid, task) in &self.all {
            if let Status::Waits { since, wish: wanted, .. } = &task.status
                && wanted == wish
            {
                waiting.push((*since, pid));
            }
        }
        waiting.sort();
        waiting.into_iter().map(|(_, pid)| pid).collect()
    }
}

impl Machine<'_> {
    /// What all tasks but the running one have of the limits: frames, words and references.
    pub fn used_by_others(&self) -> [u64; 3] {
        let mut total = [0; 3];
        for task in self.tasks.all.values().filter(|task| !task.frames.is_empty()) {
            total[0] += task.frames.len() as u64;
            total[1] += task.reached[0];
            total[2] += task.reached[1];
        }
        total
    }

    /// Pages of all processes.
    pub fn all_pages(&self) -> u64 {
        self.memory.pages() + self.tasks.spaces.values().map(|space| space.memory.pages()).sum::<u64>()
    }

    /// Whether something of this cost does not fit into what is left of the turn.
    pub fn exceeds_turn(&self, cost: u64) -> bool {
        let left = |tasks: &Tasks| tasks.turn.saturating_sub(tasks.turn_began_with - self.gas.left());
        self.tasks.all.len() > 1 && !self.runs_paradot() && cost > left(&self.tasks)
    }

    /// Whether the task that runs is a ParaDot.
    fn runs_paradot(&self) -> bool {
        self.tasks.all[&self.tasks.current].is_paradot
    }

    /// Lets the pages of other processes count against the limit.
    fn limit_pages(&mut self) {
        let others = self.all_pages() - self.memory.pages();
        let limit = self.limits.memory_pages - others;
        self.memory.set_page_limit(self.verified.module(), limit);
    }

    /// Does an operation on tasks.
    pub fn task_op(&mut self, inst: &Inst) -> Result<(), Fault> {
        match inst.op {
            Op::Spawn => self.spawn(inst.a, inst.b),
            Op::Yield => {
                self.tasks.is_turn_over = !self.runs_paradot();
                Ok(())
            }
            Op::Selfid => {
                self.push(self.tasks.current);
                Ok(())
            }
            Op::Join => {
                let pid = self.pop_own_task()?;
                if self.tasks.is_alive(pid) {
                    return self.wait(Wish::EndOf(pid), None);
                }
                self.take_result(pid)
            }
            Op::Kill => {
                let code = self.pop();
                let pid = self.pop_own_task()?;
                let is_alive = self.tasks.is_alive(pid);
                if is_alive {
                    self.end_task(pid, 4, code, Value::Null);
                }
                self.push(u32::from(is_alive));
                Ok(())
            }
            Op::Send => {
                let (pid, message) = (self.pop().to_u64(), self.pop_ref());
                let from = self.tasks.current;
                let limit = self.limits.mailbox as usize;
                let to = pid.and_then(|pid| self.tasks.all.get_mut(&pid));
                match to.filter(|task| !task.has_ended() && task.mailbox.len() < limit) {
                    Some(task) => {
                        task.mailbox.push((from, message));
                        let waits = matches!(task.status, Status::Waits { wish: Wish::Message, .. });
                        if let Some(pid) = pid.filter(|_| waits) {
                            self.tasks.wake(pid, Why::Fulfilled);
                        }
                        self.push(1u32);
                    }
                    None => self.push(0u32),
                }
                Ok(())
            }
            Op::Recv => {
                let ticks = self.pop();
                if ticks.is_zero() || !self.tasks.running().mailbox.is_empty() {
                    self.take_message();
                    Ok(())
                } else {
                    self.wait(Wish::Message, Some(ticks))
                }
            }
            Op::AWait => {
                let (ticks, expected, address) = (self.pop(), self.pop(), self.pop());
                let format = Format::from_immediate(inst.a);
                let found = self.memory.load(&address, inst.b.into(), format)?;
                let start = self.memory.range(&address, inst.b.into(), format.bytes)?.start as u64;
                let found = match format.is_signed {
                    true => arithmetic::wrap(&arithmetic::signed(&found, 8 * format.bytes as u32), self.bits),
                    false => found,
                };
                if found != expected {
                    self.push(1u32);
                } else if ticks.is_zero() {
                    self.push(2u32);
                } else {
                    self.wait(Wish::Notice(start), Some(ticks))?;
                }
                Ok(())
            }
            Op::ANotify => {
                let (count, address) = (self.pop(), self.pop());
                let start = self.memory.range(&address, inst.a, 1)?.start as u64;
                let process = self.tasks.process();
                let waiting = self.tasks.waiting_for(&Wish::Notice(start));
                let mut woken = 0u32;
                for pid in waiting {
                    if self.tasks.all[&pid].process == process && BigUint::from(woken) < count {
                        self.tasks.wake(pid, Why::Fulfilled);
                        woken += 1;
                    }
                }
                self.push(woken);
                Ok(())
            }
            op => unreachable!("{op:?} is no operation on tasks"),
        }
    }

    /// Takes the number of another task of this process.
    fn pop_own_task(&mut self) -> Result<u64, Fault> {
        let pid = self.pop().to_u64().ok_or(TrapKind::Index)?;
        let process = self.tasks.process();
        match self.tasks.all.get(&pid) {
            Some(task) if pid != 0 && pid != self.tasks.current && task.owner == process => Ok(pid),
            _ => Err(TrapKind::Index.into()),
        }
    }

    /// The task that runs waits, for so many turns; for ever if all bits are ones or nothing is said. A ParaDot does not.
    fn wait(&mut self, wish: Wish, ticks: Option<BigUint>) -> Result<(), Fault> {
        if self.runs_paradot() {
            return Err(TrapKind::Deadlock.into());
        }
        let forever = (BigUint::from(1u32) << self.bits) - 1u32;
        let until = ticks
            .filter(|ticks| *ticks != forever)
            .map(|ticks| self.tasks.clock.saturating_add(ticks.to_u64().unwrap_or(u64::MAX)));
        let since = self.tasks.tick();
        self.tasks.running().status = Status::Waits { since, wish, until };
        self.tasks.is_turn_over = true;
        Ok(())
    }

    fn take_message(&mut self) {
        let mailbox = &mut self.tasks.running().mailbox;
        if mailbox.is_empty() {
            self.push((BigUint::from(1u32) << self.bits) - 1u32);
            self.push_ref(Value::Null);
        } else {
            let (from, message) = mailbox.remove(0);
            self.push(from);
            self.push_ref(message);
        }
    }

    fn take_result(&mut self, pid: u64) -> Result<(), Fault> {
        match self.tasks.all.remove(&pid) {
            Some(Task { status: Status::Ended { status, value, result }, .. }) => {
                self.push(status);
                self.push(value);
                self.push_ref(result);
                Ok(())
            }
            _ => Err(TrapKind::Index.into()),
        }
    }

    fn spawn(&mut self, kind: u64, function: u32) -> Result<(), Fault> {
        let is_thread = kind > 0;
        let mask = self.pop();
        let (words, refs) = self.arguments(function);
        let module = self.verified.module();
        let word_locals = module.functions[function as usize].word_locals;
        let space = (!is_thread).then(|| (module.data_end(), module.globals()));
        self.charge(gas::task(word_locals.into(), space))?;
        let code = &self.verified.functions()[function as usize];
        let [own_words, own_refs] = self.reached;
        let (own, others) = ([self.frames.len() as u64, own_words, own_refs], self.used_by_others());
        let results = self.verified.signature(function).words_out;
        let new = [1, u64::from(code.frame_words.max(results.into())), u64::from(code.frame_refs)];
        let limits = [self.limits.call_depth, self.limits.stack_words, self.limits.stack_refs];
        let fits = |index: usize| own[index] + others[index] + new[index] <= u64::from(limits[index]);
        let has_pages = is_thread || self.all_pages() + module.memory.min_pages <= self.limits.memory_pages;
        let has_numbers = self.tasks.last < u64::from(MAX_TASK);
        let count = self.tasks.all.len() as u64;
        if count >= u64::from(self.limits.tasks) || !has_numbers || !(0..3).all(fits) || !has_pages {
            self.push(0u32);
            return Ok(());
        }
        self.tasks.last += 1;
        let (pid, process) = (self.tasks.last, self.tasks.process());
        if !is_thread {
            let memory = Memory::new(module, self.limits.memory_pages)
                .map_err(|sentence| Fault::new(TrapKind::OutOfMemory, sentence))?;
            let space = Space {
                memory,
                dropped: BTreeSet::new(),
                word_globals: module.word_globals.iter().map(from_w512).collect(),
                ref_globals: vec![Value::Null; module.ref_globals as usize],
            };
            self.tasks.spaces.insert(pid, space);
        }
        let is_kept = |capability: &Capability| mask.bit(*capability as u64);
        let since = self.tasks.tick();
        let task = Task {
            process: if is_thread { process } else { pid },
            owner: process,
            is_paradot: kind == 2,
            frames: vec![self.frame_of(function, words, refs)],
            reached: [new[1], new[2]],
            held: self.held.iter().copied().filter(is_kept).collect(),
            mailbox: Vec::new(),
            status: Status::Ready { since, after: None },
        };
        self.tasks.all.insert(pid, task);
        self.limit_pages();
        if count == 1 {
            self.tasks.turn = TURN_GAS;
            self.tasks.turn_began_with = self.gas.left();
        }
        self.push(pid);
        Ok(())
    }

    /// A task is at its end, and whatever belongs to it if it is the first of a process.
    pub fn end_task(&mut self, pid: u64, status: u32, value: BigUint, result: Value) {
        if pid == self.tasks.current {
            self.frames.clear();
        }
        let Some(task) = self.tasks.all.get_mut(&pid) else { return };
        task.frames.clear();
        task.mailbox.clear();
        task.status = Status::Ended { status, value, result };
        let mut dead = if task.process == pid { vec![pid] } else { Vec::new() };
        while let Some(process) = dead.pop() {
            self.tasks.spaces.remove(&process);
            self.tasks.all.retain(|&pid, task| {
                let belongs = task.owner == process && pid != 0;
                if belongs && task.process == pid {
                    dead.push(pid);
                }
                !belongs
            });
        }
        for waiting in self.tasks.waiting_for(&Wish::EndOf(pid)) {
            self.tasks.wake(waiting, Why::Fulfilled);
        }
        self.limit_pages();
    }

    /// The next task's turn. What it has waited for is done; a fault is left in `befell`.
    pub fn next_turn(&mut self, bodies: &[Body]) {
        let tasks = &mut self.tasks;
        tasks.is_turn_over = false;
        let current = tasks.current;
        let since = tasks.tick();
        if let Some(task) = tasks.all.get_mut(&current)
            && let Status::Ready { since: ready, .. } = &mut task.status
        {
            *ready = since;
        }
        tasks.clock = tasks.clock.saturating_add(1);
        let is_any_ready =
            |tasks: &Tasks| tasks.all.values().any(|task| matches!(task.status, Status::Ready { .. }));
        let mut deadlines: Vec<(u64, u64)> = Vec::new();
        for (&pid, task) in &tasks.all {
            if let Status::Waits { until: Some(until), .. } = task.status {
                deadlines.push((until, pid));
            }
        }
        deadlines.sort();
        if !is_any_ready(tasks)
            && let Some(&(first, _)) = deadlines.first()
        {
            tasks.clock = tasks.clock.max(first);
        }
        for (until, pid) in deadlines {
            if until <= tasks.clock {
                tasks.wake(pid, Why::TimedOut);
            }
        }
        if !is_any_ready(tasks) {
            tasks.wake(0, Why::Deadlock);
        }
        let ready = tasks.all.iter().filter_map(|(&pid, task)| match task.status {
            Status::Ready { since, .. } => Some((since, pid)),
            _ => None,
        });
        let (_, next) = ready.min().expect("somebody is ready");
        self.switch_to(next);
        let Status::Ready { after, .. } = &mut self.tasks.running().status else {
            unreachable!("it was ready");
        };
        let after = after.take();
        self.tasks.turn_began_with = self.gas.left();
        let frame = self.frames.last().expect("a task that goes on has a frame");
        let blocks = &bodies[frame.function as usize].blocks;
        let cost = if frame.transferred { cost_of_entry(blocks, frame.next) } else { 0 };
        self.tasks.turn = TURN_GAS.max(cost);
        match after {
            None => {}
            Some((_, Why::Deadlock)) => self.tasks.befell = Some(TrapKind::Deadlock.into()),
            Some((Wish::Message, _)) => self.take_message(),
            Some((Wish::EndOf(pid), _)) => self.tasks.befell = self.take_result(pid).err(),
            Some((Wish::Notice(_), why)) => self.push(if why == Why::TimedOut { 2u32 } else { 0 }),
        }
    }

    /// Exchanges what the running task sees.
    fn switch_to(&mut self, next: u64) {
        let process = self.tasks.process();
        let left = self.tasks.running();
        if !left.has_ended() {
            left.frames = std::mem::take(&mut self.frames);
            left.reached = self.reached;
            left.held = std::mem::take(&mut self.held);
        }
        self.tasks.current = next;
        let entered = self.tasks.running();
        self.frames = std::mem::take(&mut entered.frames);
        self.reached = entered.reached;
        self.held = std::mem::take(&mut entered.held);
        let entered = entered.process;
        if entered != process {
            self.see(entered, process);
        }
        self.limit_pages();
    }

    /// Exchanges what one process has for what another has.
    pub fn see(&mut self, process: u64, instead_of: u64) {
        let Some(mut space) = self.tasks.spaces.remove(&process) else { return };
        std::mem::swap(&mut space.memory, &mut self.memory);
        std::mem::swap(&mut space.dropped, &mut self.dropped);
        std::mem::swap(&mut space.word_globals, &mut self.word_globals);
        std::mem::swap(&mut space.ref_globals, &mut self.ref_globals);
        if self.tasks.is_alive(instead_of) {
            self.tasks.spaces.insert(instead_of, space);
        }
    }
}
