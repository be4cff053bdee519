//! Tasks written down and read back.
//!
//! Only what cannot be told from the rest is written: who belongs to whom, how long who waits and what all have of the
//! limits follows. What is read is checked to be what a scheduler can be, because it trusts its lists: a task that can go
//! on is in the queue once, one that waits is in no queue, a process is there as long as its first task.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dotvm_arch::Word;
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::limits::{Limits, MAX_TASK};
use dotvm_core::opcode::Op;
use dotvm_heap::Restored;

use super::{Cause, Ended, FIRST, Scheduler, Task, Usage, Wait, Waiting};
use crate::machine::Process;
use crate::program::{Lowered, Program};
use crate::saved::places::Stands;
use crate::saved::{
    Memories, restore_execution, restore_process, restore_words, save_execution, save_process, save_words,
};

const PROCESS: u8 = 0;
const THREAD: u8 = 1;
const PARADOT: u8 = 2;

const ENDED: u8 = 0;
const RUNS: u8 = 1;
const PARKED: u8 = 2;

const NOTHING: u8 = 0;
const MESSAGE: u8 = 1;
const END: u8 = 2;
const ADDRESS: u8 = 3;

/// Greatest status of a task that has ended.
const LAST_STATUS: u8 = 4;

impl<W: Word> Scheduler<W> {
    /// Writes the tasks down, but for what the machine has of the one that runs and of its process; the first one began
    /// with the function `first`.
    pub fn save(
        &self,
        program: &Program,
        lowered: &Lowered<W>,
        first: u32,
        to: &mut Writer,
    ) -> Result<(), String> {
        to.number(self.current);
        to.number(self.last);
        to.number(self.clock);
        to.number(self.turn_left);
        to.count(self.tasks.len());
        for (&pid, task) in &self.tasks {
            to.number(pid);
            to.number(task.owner);
            to.byte(match task.process == pid {
                true => PROCESS,
                false if task.is_paradot => PARADOT,
                false => THREAD,
            });
            to.number(if pid == FIRST { first } else { task.function });
            to.count(task.mailbox.len());
            for (sender, message) in &task.mailbox {
                to.number(*sender);
                message.save(to);
            }
            save_numbers(task.waiters.iter(), to);
            match &task.ended {
                Some(Ended { status, value, result }) => {
                    to.byte(ENDED);
                    to.byte(*status);
                    save_words(std::slice::from_ref(value), to);
                    result.save(to);
                }
                None if pid == self.current => to.byte(RUNS),
                None => {
                    to.byte(PARKED);
                    save_waiting(task.waiting, to);
                    let function = if pid == FIRST { first } else { task.function };
                    let (execution, stands) = (&task.execution, Stands::Parked);
                    save_execution(program, lowered, function, stands, execution, &self.limits, to)?;
                }
            }
        }
        save_numbers(self.ready.iter(), to);
        save_numbers(self.sleepers.values().flatten(), to);
        to.count(self.processes.len());
        for (&pid, process) in &self.processes {
            to.number(pid);
            save_process(process, to);
        }
        Ok(())
    }

    /// Reads the tasks of a machine with these limits, but for what it has of the one that runs and of its process.
    pub fn restore(
        program: &Program,
        lowered: &Lowered<W>,
        limits: &Limits,
        heap: &mut Restored<'_>,
        from: &mut Reader<'_>,
        memories: Memories<'_>,
    ) -> Result<Scheduler<W>, Damage> {
        let mut scheduler = Scheduler { tasks: BTreeMap::new(), ..Scheduler::new(limits) };
        scheduler.current = from.small()?;
        scheduler.last = from.small()?;
        from.require(scheduler.last <= MAX_TASK, "there are no tasks with such numbers")?;
        scheduler.clock = from.number()?;
        scheduler.turn_left = from.number()?;
        for _ in 0..from.count(7)? {
            let pid: u32 = from.small()?;
            let is_next = match scheduler.tasks.last_key_value() {
                None => pid == FIRST,
                Some((&last, _)) => last < pid && pid <= scheduler.last,
            };
            from.require(is_next, "tasks are out of order")?;
            let task = restore_task(pid, program, lowered, limits, heap, from, &scheduler)?;
            scheduler.tasks.insert(pid, task);
        }
        from.require(scheduler.tasks.len() <= limits.tasks.max(1) as usize, "there are too many tasks")?;
        let first = scheduler.tasks.get(&FIRST);
        from.require(first.is_some_and(|first| first.ended.is_none()), "the first task is gone")?;
        let Some(current) = scheduler.living(scheduler.current) else {
            return from.damage("the task that runs is none");
        };
        scheduler.process = current.process;
        scheduler.belonging = scheduler.tasks.iter().skip(1).map(|(&pid, task)| (task.owner, pid)).collect();
        scheduler.restore_queues(from)?;
        let living = |task: &&Task<W>| task.ended.is_none();
        let mut others = [0_u64; 3];
        for task in scheduler.tasks.values().filter(living) {
            let Usage { frames, words, refs } = task.usage;
            others.iter_mut().zip([frames, words, refs]).for_each(|(sum, used)| *sum += u64::from(used));
        }
        let shared = [limits.call_depth, limits.stack_words, limits.stack_refs];
        let fits = others.iter().zip(shared).all(|(&used, limit)| used <= u64::from(limit));
        from.require(fits, "the tasks have more than all tasks may have")?;
        let [frames, words, refs] = others.map(|sum| sum as u32);
        scheduler.others = Usage { frames, words, refs };
        let mut wanted: BTreeSet<u32> =
            scheduler.tasks.values().filter(living).map(|task| task.process).collect();
        wanted.remove(&scheduler.process);
        let count = from.count(2)?;
        from.require(count == wanted.len(), "the processes are not those of the tasks")?;
        for pid in wanted {
            let found: u32 = from.small()?;
            from.require(found == pid, "the processes are not those of the tasks")?;
            let process: Process<W> = restore_process(program, limits, heap, from, |len| memories(pid, len))?;
            scheduler.other_pages = scheduler.other_pages.saturating_add(process.memory.pages());
            scheduler.processes.insert(pid, process);
        }
        Ok(scheduler)
    }

    /// Reads who waits for its turn and in which order tasks wait at addresses; finds who waits until when.
    fn restore_queues(&mut self, from: &mut Reader<'_>) -> Result<(), Damage> {
        let stands = |task: &Task<W>| match task.waiting {
            Some(Waiting { cause: None, wait, .. }) => Some(wait),
            _ => None,
        };
        let mut ready: BTreeSet<u32> = self
            .tasks
            .iter()
            .filter(|(pid, task)| **pid != self.current && task.ended.is_none() && stands(task).is_none())
            .map(|(&pid, _)| pid)
            .collect();
        for _ in 0..from.count(1)? {
            let pid = from.small()?;
            from.require(ready.remove(&pid), "a task has its turn twice, or cannot go on")?;
            self.ready.push_back(pid);
        }
        from.require(ready.is_empty(), "a task that can go on has no turn")?;
        let mut sleepers: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        for (&pid, task) in &self.tasks {
            if let Some(Wait::Address(address)) = stands(task) {
                sleepers.insert(pid, (task.process, address));
            }
            if let Some(Waiting { deadline: Some(deadline), cause: None, .. }) = task.waiting {
                self.deadlines.insert((deadline, pid));
            }
        }
        for _ in 0..from.count(1)? {
            let pid = from.small()?;
            let Some(place) = sleepers.remove(&pid) else {
                return from.damage("a task waits twice, or at no address");
            };
            self.sleepers.entry(place).or_default().push_back(pid);
        }
        from.require(sleepers.is_empty(), "a task waits and is not found")
    }

    /// All memories of the machine with the numbers of their processes, in their order; `running` is that of the process
    /// whose task runs.
    pub fn memories<'a>(&'a self, running: &'a Process<W>) -> Vec<(u32, &'a Process<W>)> {
        let others = self.processes.iter().map(|(&pid, process)| (pid, process));
        let mut all: Vec<_> = others.chain([(self.process, running)]).collect();
        all.sort_unstable_by_key(|&(pid, _)| pid);
        all
    }

    /// The same, to be changed.
    pub fn memories_mut<'a>(&'a mut self, running: &'a mut Process<W>) -> Vec<(u32, &'a mut Process<W>)> {
        let others = self.processes.iter_mut().map(|(&pid, process)| (pid, process));
        let mut all: Vec<_> = others.chain([(self.process, running)]).collect();
        all.sort_unstable_by_key(|&(pid, _)| pid);
        all
    }

    /// The function that the task that runs began with, where the first task began with `first`.
    pub fn running_function(&self, first: u32) -> u32 {
        match self.tasks.get(&self.current) {
            Some(task) if self.current != FIRST => task.function,
            _ => first,
        }
    }

    /// What is left of the limits for the task that runs.
    pub fn limits_left(&self) -> Limits {
        Limits {
            call_depth: self.limits.call_depth - self.others.frames,
            stack_words: self.limits.stack_words - self.others.words,
            stack_refs: self.limits.stack_refs - self.others.refs,
            ..self.limits
        }
    }
}

fn save_numbers<'a>(numbers: impl Iterator<Item = &'a u32> + Clone, to: &mut Writer) {
    to.count(numbers.clone().count());
    numbers.for_each(|&number| to.number(number));
}

fn save_waiting(waiting: Option<Waiting>, to: &mut Writer) {
    let Some(Waiting { wait, deadline, cause }) = waiting else { return to.byte(NOTHING) };
    match wait {
        Wait::Message => to.byte(MESSAGE),
        Wait::End(of) => {
            to.byte(END);
            to.number(of);
        }
        Wait::Address(address) => {
            to.byte(ADDRESS);
            to.number(address);
        }
    }
    to.flag(deadline.is_some());
    if let Some(deadline) = deadline {
        to.number(deadline);
    }
    to.byte(match cause {
        None => 0,
        Some(Cause::Due) => 1,
        Some(Cause::TimedOut) => 2,
        Some(Cause::Deadlock) => 3,
    });
}

fn restore_waiting(from: &mut Reader<'_>) -> Result<Option<Waiting>, Damage> {
    let wait = match from.byte()? {
        NOTHING => return Ok(None),
        MESSAGE => Wait::Message,
        END => Wait::End(from.small()?),
        ADDRESS => Wait::Address(from.number()?),
        _ => return from.damage("a task does not wait for this"),
    };
    let deadline = if from.flag()? { Some(from.number()?) } else { None };
    let cause = match from.byte()? {
        0 => None,
        1 => Some(Cause::Due),
        2 => Some(Cause::TimedOut),
        3 => Some(Cause::Deadlock),
        _ => return from.damage("a task does not go on for this"),
    };
    Ok(Some(Waiting { wait, deadline, cause }))
}

fn restore_task<W: Word>(
    pid: u32,
    program: &Program,
    lowered: &Lowered<W>,
    limits: &Limits,
    heap: &mut Restored<'_>,
    from: &mut Reader<'_>,
    scheduler: &Scheduler<W>,
) -> Result<Task<W>, Damage> {
    let owner: u32 = from.small()?;
    let kind = from.byte()?;
    from.require(kind <= PARADOT, "there is no such kind of task")?;
    let process = if kind == PROCESS { pid } else { owner };
    // Whom a task belongs to was there before it, and is there as long as it.
    let has_owner = match pid {
        FIRST => owner == FIRST && process == FIRST,
        _ => scheduler.tasks.get(&owner).is_some_and(|task| task.process == owner && task.ended.is_none()),
    };
    from.require(has_owner, "a task belongs to no process")?;
    let function: u32 = from.small()?;
    from.require((function as usize) < lowered.functions.len(), "the module has no such function")?;
    let mut task = Task::new(process, owner, function, kind == PARADOT);
    let messages = from.count(9)?;
    from.require(messages <= limits.mailbox as usize, "a mailbox holds too many messages")?;
    let mut mailbox = VecDeque::with_capacity(messages);
    for _ in 0..messages {
        mailbox.push_back((from.small()?, heap.reference(from)?));
    }
    task.mailbox = mailbox;
    task.waiters = (0..from.count(1)?).map(|_| from.small()).collect::<Result<_, _>>()?;
    match from.byte()? {
        ENDED => {
            let status = from.byte()?;
            from.require(status <= LAST_STATUS, "a task does not end like this")?;
            let [value] = restore_words::<W>(from)?[..] else { return from.damage("a result is no word") };
            from.require(task.mailbox.is_empty(), "a task that has ended has messages")?;
            task.ended = Some(Ended { status, value, result: heap.reference(from)? });
        }
        RUNS => from.require(pid == scheduler.current, "another task runs")?,
        PARKED => {
            from.require(pid != scheduler.current, "the task that runs does not")?;
            task.waiting = restore_waiting(from)?;
            from.require(!(task.is_paradot && task.waiting.is_some()), "a ParaDot waits")?;
            let (execution, after) =
                restore_execution(program, lowered, function, Stands::Parked, limits, heap, from)?;
            let is_one = match task.waiting.map(|waiting| waiting.wait) {
                None => matches!(after, None | Some(Op::Yield)),
                Some(Wait::Message) => after == Some(Op::Recv),
                Some(Wait::End(_)) => after == Some(Op::Join),
                Some(Wait::Address(_)) => after == Some(Op::AWait),
            };
            from.require(is_one, "a task waits for something else than its operation")?;
            task.usage = execution.usage();
            task.execution = execution;
        }
        _ => return from.damage("a task does not stand like this"),
    }
    Ok(task)
}
