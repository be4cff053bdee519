//! The tasks of a machine: whose turn it is, who waits for what, and what the others have of the limits.
//!
//! One task runs at a time, in the machine's own fields; what the others have for themselves lies here. Everything is
//! decided by the order of what the tasks did and by the gas they used, so that a machine has one history.
//! `SEMANTICS.md` states the order, the table of opcodes what each operation does; those are in `tasks`.

mod saved;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dotvm_arch::Word;
use dotvm_core::limits::{Limits, TURN_GAS};
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Heap, Reference};

use crate::ahead::Outlook;
use crate::machine::{Execution, Machine, Next, Process, Stop};

/// Number of the task that a machine begins with, and of its process.
pub(crate) const FIRST: u32 = 0;

/// What a task uses of the limits that all tasks share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub frames: u32,
    pub words: u32,
    pub refs: u32,
}

impl Usage {
    fn add(&mut self, other: Usage) {
        self.frames += other.frames;
        self.words += other.words;
        self.refs += other.refs;
    }

    fn subtract(&mut self, other: Usage) {
        self.frames -= other.frames;
        self.words -= other.words;
        self.refs -= other.refs;
    }
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Message,
    /// The end of a task.
    End(u32),
    /// A.NOTIFY of an address.
    Address(u64),
}

/// Why a task that has waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// What it waited for came.
    Due,
    TimedOut,
    Deadlock,
}

/// A task that waits, or has waited and is ready to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub wait: Wait,
    /// The turn up to which it waits.
    deadline: Option<u64>,
    /// Why it goes on; `None` as long as it waits.
    cause: Option<Cause>,
}

impl Waiting {
    /// Whether it still waits.
    pub fn stands(&self) -> bool {
        self.cause.is_none()
    }

    /// The turn up to which it waits.
    pub fn deadline(&self) -> Option<u64> {
        self.deadline
    }
}

/// How a task ended: what JOIN answers.
#[derive(Debug)]
pub(crate) struct Ended<W> {
    /// 0 returned, 1 halted, 2 threw, 3 trapped, 4 killed.
    pub status: u8,
    pub value: W,
    pub result: Reference,
}

/// A task.
pub(crate) struct Task<W> {
    /// Its own state, while another task runs.
    pub execution: Execution<W>,
    /// What it uses of the limits, while another task runs.
    pub usage: Usage,
    /// The process whose memory and globals it has; its own number if it is the first task of one.
    pub process: u32,
    /// The process that it belongs to: the one that spawned it.
    pub owner: u32,
    /// The function that it began with.
    pub function: u32,
    /// Nobody interrupts it, and it never waits.
    pub is_paradot: bool,
    /// Who sent what, the oldest first.
    pub mailbox: VecDeque<(u32, Reference)>,
    /// Tasks that wait for its end, in the order in which they began to.
    pub waiters: Vec<u32>,
    pub waiting: Option<Waiting>,
    pub ended: Option<Ended<W>>,
}

impl<W: Word> Task<W> {
    pub fn new(process: u32, owner: u32, function: u32, is_paradot: bool) -> Task<W> {
        Task {
            execution: Execution::new(),
            usage: Usage::default(),
            process,
            owner,
            function,
            is_paradot,
            mailbox: VecDeque::new(),
            waiters: Vec::new(),
            waiting: None,
            ended: None,
        }
    }

    /// Gives back all references that it has.
    fn release(&mut self, heap: &mut Heap) {
        let refs = std::mem::replace(&mut self.execution, Execution::new()).refs;
        refs.into_iter().for_each(|reference| heap.release(reference));
        std::mem::take(&mut self.mailbox).into_iter().for_each(|(_, message)| heap.release(message));
    }
}

/// The tasks of a machine.
pub(crate) struct Scheduler<W> {
    /// Number of the task that runs.
    pub current: u32,
    /// Number of its process, which is not among `processes`.
    pub process: u32,
    /// All tasks that have not ended, and those that have and were not joined.
    pub tasks: BTreeMap<u32, Task<W>>,
    /// Processes whose tasks do not run now.
    processes: BTreeMap<u32, Process<W>>,
    /// Pairs of a process and a task that belongs to it.
    pub belonging: BTreeSet<(u32, u32)>,
    /// The greatest number that a task was given.
    pub last: u32,
    /// Tasks that can go on, in the order of their turns.
    ready: VecDeque<u32>,
    /// Number of turns that began.
    clock: u64,
    /// Gas left of the turn.
    turn_left: u64,
    /// Until when tasks wait that do not wait for ever.
    deadlines: BTreeSet<(u64, u32)>,
    /// Tasks that wait for A.NOTIFY, by process and address.
    sleepers: BTreeMap<(u32, u64), VecDeque<u32>>,
    /// What all tasks but the one that runs use.
    pub others: Usage,
    /// Pages of all processes but the one whose task runs.
    other_pages: u64,
    /// The limits of the machine.
    pub limits: Limits,
    /// Whether ParaDots are worth being tried ahead of their turns.
    pub outlook: Outlook,
}

impl<W: Word> Scheduler<W> {
    /// The scheduler of a machine with nothing but its first task, which runs.
    pub fn new(limits: &Limits) -> Scheduler<W> {
        Scheduler {
            current: FIRST,
            process: FIRST,
            tasks: BTreeMap::from([(FIRST, Task::new(FIRST, FIRST, 0, false))]),
            processes: BTreeMap::new(),
            belonging: BTreeSet::new(),
            last: FIRST,
            ready: VecDeque::new(),
            clock: 0,
            turn_left: u64::MAX,
            deadlines: BTreeSet::new(),
            sleepers: BTreeMap::new(),
            others: Usage::default(),
            other_pages: 0,
            limits: *limits,
            outlook: Outlook::default(),
        }
    }

    /// Pages of all processes but the one whose task runs.
    pub fn other_pages(&self) -> u64 {
        self.other_pages
    }

    /// Gas left of the turn.
    pub fn turn_left(&self) -> u64 {
        self.turn_left
    }

    /// Takes gas that was used from the turn.
    pub fn use_turn(&mut self, gas: u64) {
        self.turn_left = self.turn_left.saturating_sub(gas);
    }

    /// Begins to count the gas of a turn; there is something to count only if there are others and the turn does not last
    /// as long as its task.
    pub fn begin_turn(&mut self, entry_cost: u64) {
        let is_counted = self.tasks.len() > 1 && !self.runs_paradot();
        self.turn_left = if is_counted { TURN_GAS.max(entry_cost) } else { u64::MAX };
    }

    /// The process that the machine began with, unless its task runs.
    pub fn into_first_process(mut self: Box<Self>) -> Option<Process<W>> {
        self.processes.remove(&FIRST)
    }

    /// The task with this number, if there is one that has not ended.
    pub fn living(&mut self, pid: u32) -> Option<&mut Task<W>> {
        self.tasks.get_mut(&pid).filter(|task| task.ended.is_none())
    }

    /// The task that runs.
    pub fn running(&mut self) -> &mut Task<W> {
        self.tasks.get_mut(&self.current).expect("the task that runs is one")
    }

    /// Whether the task that runs is a ParaDot.
    pub fn runs_paradot(&self) -> bool {
        self.tasks.get(&self.current).is_some_and(|task| task.is_paradot)
    }

    /// The ParaDots of the running task's process that have their turns next, if the running task is at its end.
    pub fn next_paradots(&self) -> impl Iterator<Item = (u32, &Task<W>)> {
        let tasks = self.ready.iter().filter_map(|&pid| Some((pid, self.tasks.get(&pid)?)));
        tasks.take_while(|(_, task)| task.is_paradot && task.process == self.process)
    }

    /// A task is there from now on, and ready.
    pub fn add(&mut self, pid: u32, task: Task<W>, process: Option<Process<W>>) {
        self.others.add(task.usage);
        self.belonging.insert((task.owner, pid));
        if let Some(process) = process {
            self.other_pages += process.memory.pages();
            self.processes.insert(pid, process);
        }
        self.tasks.insert(pid, task);
        self.last = pid;
        self.ready.push_back(pid);
    }

    /// Lets the task that runs wait, for at most `ticks` turns or, if all bits are set, for ever; a ParaDot does not.
    pub fn wait(&mut self, wait: Wait, ticks: W) -> Stop {
        if self.runs_paradot() {
            return Stop::trap(TrapKind::Deadlock);
        }
        let deadline =
            (!ticks.eq(W::MAX)).then(|| self.clock.saturating_add(ticks.try_u64().unwrap_or(u64::MAX)));
        let pid = self.current;
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, pid));
        }
        match wait {
            Wait::Message => {}
            Wait::End(of) => {
                if let Some(task) = self.tasks.get_mut(&of) {
                    task.waiters.push(pid);
                }
            }
            Wait::Address(address) => {
                self.sleepers.entry((self.process, address)).or_default().push_back(pid);
            }
        }
        self.running().waiting = Some(Waiting { wait, deadline, cause: None });
        Stop::Switch
    }

    /// Takes a task off all lists of those that wait.
    fn unlist(&mut self, pid: u32) {
        let Some(task) = self.tasks.get(&pid) else { return };
        let Some(Waiting { wait, deadline, cause: None }) = task.waiting else { return };
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, pid));
        }
        if let Wait::Address(address) = wait {
            let key = (task.process, address);
            if let Some(queue) = self.sleepers.get_mut(&key) {
                queue.retain(|&sleeper| sleeper != pid);
                if queue.is_empty() {
                    self.sleepers.remove(&key);
                }
            }
        }
    }

    /// Makes a task ready that waits for `wait`; does nothing if it does not, or is ready already.
    pub fn wake(&mut self, pid: u32, wait: Wait, cause: Cause) {
        let is_waiting = |waiting: &Waiting| waiting.wait == wait && waiting.cause.is_none();
        if !self.tasks.get(&pid).and_then(|task| task.waiting.as_ref()).is_some_and(is_waiting) {
            return;
        }
        self.unlist(pid);
        if let Some(waiting) = self.tasks.get_mut(&pid).and_then(|task| task.waiting.as_mut()) {
            waiting.cause = Some(cause);
        }
        self.ready.push_back(pid);
    }

    /// Wakes the first `count` tasks that wait for A.NOTIFY of an address; how many there were.
    pub fn notify(&mut self, address: u64, count: u64) -> u64 {
        let mut woken = 0;
        while woken < count {
            let queue = self.sleepers.get(&(self.process, address));
            let Some(&pid) = queue.and_then(|queue| queue.front()) else { break };
            self.wake(pid, Wait::Address(address), Cause::Due);
            woken += 1;
        }
        woken
    }

    /// Ends the turn of the task that runs, which goes on later or not, and begins that of the next one; why this one goes
    /// on if it has waited.
    pub fn next_turn(&mut self, m: &mut Machine<'_, W>, goes_on: bool) -> Option<(Wait, Cause)> {
        if goes_on && self.running().waiting.is_none() {
            self.ready.push_back(self.current);
        }
        self.clock = self.clock.saturating_add(1);
        if self.ready.is_empty()
            && let Some(&(deadline, _)) = self.deadlines.first()
        {
            self.clock = self.clock.max(deadline);
        }
        while let Some(&(deadline, pid)) = self.deadlines.first()
            && deadline <= self.clock
        {
            let waiting = self.tasks.get(&pid).and_then(|task| task.waiting);
            let Some(Waiting { wait, .. }) = waiting else { unreachable!("who has a deadline waits") };
            self.wake(pid, wait, Cause::TimedOut);
        }
        if self.ready.is_empty() {
            let waiting = self.tasks.get(&FIRST).and_then(|task| task.waiting);
            let Some(Waiting { wait, .. }) = waiting else {
                unreachable!("the first task is there, and not ready")
            };
            self.wake(FIRST, wait, Cause::Deadlock);
        }
        let Some(pid) = self.ready.pop_front() else { unreachable!("a task is ready") };
        if !goes_on || pid != self.current {
            if goes_on {
                self.leave(m);
            }
            self.enter(m, pid);
        }
        self.begin_turn(match m.next {
            Next::Enter(entry) => m.lowered.entry_cost(entry),
            Next::Inst(_) => 0,
        });
        let waited = self.running().waiting.take();
        waited.and_then(|Waiting { wait, cause, .. }| Some((wait, cause?)))
    }

    /// Puts the state of the task that runs aside.
    fn leave(&mut self, m: &mut Machine<'_, W>) {
        let task = self.running();
        m.exchange_execution(&mut task.execution);
        task.usage = task.execution.usage();
        let usage = task.usage;
        self.others.add(usage);
    }

    /// Makes a task the one that runs. The machine has no other task's state any more.
    fn enter(&mut self, m: &mut Machine<'_, W>, pid: u32) {
        self.current = pid;
        let task = self.running();
        m.exchange_execution(&mut task.execution);
        let usage = std::mem::take(&mut task.usage);
        let process = task.process;
        self.others.subtract(usage);
        if process != self.process {
            let Some(mut exchanged) = self.processes.remove(&process) else {
                unreachable!("a task's process is there as long as the task")
            };
            self.other_pages -= exchanged.memory.pages();
            m.exchange_process(&mut exchanged);
            if self.living(self.process).is_some() {
                self.other_pages += exchanged.memory.pages();
                self.processes.insert(self.process, exchanged);
            } else {
                exchanged.ref_globals.into_iter().for_each(|reference| m.heap.release(reference));
            }
            self.process = process;
        }
        self.share_limits(m);
    }

    /// Leaves to the task that runs what the others do not have of the limits.
    pub fn share_limits(&self, m: &mut Machine<'_, W>) {
        m.limits.call_depth = self.limits.call_depth - self.others.frames;
        m.limits.stack_words = self.limits.stack_words - self.others.words;
        m.limits.stack_refs = self.limits.stack_refs - self.others.refs;
        m.memory.limit_pages(m.verified.module(), self.limits.memory_pages.saturating_sub(self.other_pages));
    }

    /// A task is at its end: the one that runs, or one that it kills. With the first task of a process all end that belong
    /// to the process.
    pub fn end(&mut self, m: &mut Machine<'_, W>, pid: u32, ended: Ended<W>) {
        self.unlist(pid);
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        if pid == self.current {
            m.exchange_execution(&mut task.execution);
        }
        task.release(&mut m.heap);
        task.waiting = None;
        task.ended = Some(ended);
        let usage = std::mem::take(&mut task.usage);
        let (process, waiters) = (task.process, std::mem::take(&mut task.waiters));
        self.others.subtract(usage);
        let has_ended_others = process == pid && self.end_process(m, pid);
        for waiter in waiters {
            self.wake(waiter, Wait::End(pid), Cause::Due);
        }
        if has_ended_others || pid != self.current {
            self.ready.retain(|pid| self.tasks.get(pid).is_some_and(|task| task.ended.is_none()));
        }
    }

    /// Ends all tasks that belong to a process, and takes away its memory and globals unless its task runs. Whether there
    /// were any.
    fn end_process(&mut self, m: &mut Machine<'_, W>, process: u32) -> bool {
        let count = self.tasks.len();
        let mut processes = vec![process];
        while let Some(process) = processes.pop() {
            if let Some(process) = self.processes.remove(&process) {
                self.other_pages -= process.memory.pages();
                process.ref_globals.into_iter().for_each(|reference| m.heap.release(reference));
            }
            let members = self.belonging.range((process, 0)..=(process, u32::MAX));
            for pid in members.map(|&(_, pid)| pid).collect::<Vec<_>>() {
                self.belonging.remove(&(process, pid));
                self.unlist(pid);
                let Some(mut task) = self.tasks.remove(&pid) else { continue };
                task.release(&mut m.heap);
                self.others.subtract(task.usage);
                match task.ended {
                    Some(ended) => m.heap.release(ended.result),
                    None if task.process == pid => processes.push(pid),
                    None => {}
                }
            }
        }
        self.tasks.len() < count
    }
}
