//! A slow interpreter of NVM, written from its reference (`docs/machines/nvm.md`) and from nothing else: it shares no
//! code with the frontend. Section numbers are the reference's.

mod devices;
mod processes;
mod step;

use std::collections::{BTreeMap, VecDeque};

pub use devices::{Descriptor, Kind};
pub use processes::Process;

/// Cells of a stack.
pub const STACK: usize = 1024;
/// Bytes of a heap.
pub const HEAP: usize = 131_072;
/// Instructions of a slice.
pub const SLICE: u64 = 5000;

/// A fault (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Too few cells.
    StackUnderflow,
    /// No cell is free.
    StackOverflow,
    /// A divisor is 0.
    DivisionByZero,
    /// There is no such instruction.
    InvalidOpcode,
    /// The image ends within an instruction.
    BadOperand,
    /// A target is not in the image.
    BadJump,
    /// A frame does not hold what is asked for.
    BadFrame,
    /// An offset is not in the heap.
    HeapBounds,
    /// An address is not in a window of memory.
    BadAddress,
    /// DRV_ACCESS is missing.
    CapDenied,
    /// There is no such system call.
    BadSyscall,
    /// Nobody can wake the process.
    Deadlock,
}

impl Fault {
    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Fault::StackUnderflow => "stack_underflow",
            Fault::StackOverflow => "stack_overflow",
            Fault::DivisionByZero => "division_by_zero",
            Fault::InvalidOpcode => "invalid_opcode",
            Fault::BadOperand => "bad_operand",
            Fault::BadJump => "bad_jump",
            Fault::BadFrame => "bad_frame",
            Fault::HeapBounds => "heap_bounds",
            Fault::BadAddress => "bad_address",
            Fault::CapDenied => "cap_denied",
            Fault::BadSyscall => "bad_syscall",
            Fault::Deadlock => "deadlock",
        }
    }
}

/// How a run ended (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No process is active.
    Exit,
    /// All active ones are blocked.
    Deadlock,
    /// The host's instruction limit.
    Limit,
    /// The arguments do not fit the first process's stack.
    LoadError,
}

impl Status {
    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Status::Exit => "exit",
            Status::Deadlock => "deadlock",
            Status::Limit => "limit",
            Status::LoadError => "load_error",
        }
    }
}

/// What became of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Its number.
    pub pid: usize,
    /// Exit code and fault, once it has ended.
    pub end: Option<(i32, Option<Fault>)>,
}

/// A message in the queue.
struct Message {
    to: u32,
    from: usize,
    byte: u8,
}

/// A machine.
pub struct Machine {
    /// Processes by number; `None` is a free slot.
    pub processes: Vec<Option<Box<Process>>>,
    /// All processes that there were, in order of creation.
    pub fates: Vec<Fate>,
    /// The first process as it was when it ended.
    pub first: Option<Box<Process>>,
    /// Files by path.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Console output.
    pub output: Vec<u8>,
    /// Console error output.
    pub errors: Vec<u8>,
    /// The top cell at each BREAK.
    pub breaks: Vec<Option<i32>>,
    /// Calls and instructions that were denied for lack of a capability.
    pub denials: u64,
    /// Instructions carried out.
    pub executed: u64,
    input: VecDeque<u8>,
    descriptors: Vec<Option<Descriptor>>,
    queue: Vec<Message>,
    ports: Vec<u8>,
    screen: Vec<u8>,
    ram: Vec<u8>,
}

/// The interface that a program's OPEN, CREATE, DELETE, READ and WRITE have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// Chosen by a walk.
    Auto,
    /// Strings of cells, single bytes.
    Stack,
    /// Strings in the heap.
    Heap,
}

impl Machine {
    /// A machine with one process that runs this image with these capabilities; `None` if it is no image.
    pub fn new(image: &[u8], abi: Abi, capabilities: &[i32]) -> Option<Machine> {
        if !image.starts_with(b"NVM0") {
            return None;
        }
        let heap_abi = match abi {
            Abi::Auto => processes::uses_heap(image),
            Abi::Stack => false,
            Abi::Heap => true,
        };
        let mut first = Process::new(image, heap_abi);
        first.capabilities = capabilities.to_vec();
        let mut machine = Machine {
            processes: (0..32).map(|_| None).collect(),
            fates: vec![Fate { pid: 0, end: None }],
            first: None,
            files: BTreeMap::new(),
            output: Vec::new(),
            errors: Vec::new(),
            breaks: Vec::new(),
            denials: 0,
            executed: 0,
            input: VecDeque::new(),
            descriptors: (0..67).map(|_| None).collect(),
            queue: Vec::new(),
            ports: vec![0; 65_536],
            screen: vec![0; 4000],
            ram: vec![0; 1 << 20],
        };
        for (number, kind) in [Kind::Input, Kind::Output, Kind::Errors].into_iter().enumerate() {
            // Nobody has opened them, so nobody's end closes them.
            machine.descriptors[number] = Some(Descriptor::new(kind, usize::MAX));
        }
        machine.processes[0] = Some(Box::new(first));
        Some(machine)
    }

    /// Gives the console this input.
    pub fn set_input(&mut self, input: &[u8]) {
        self.input = input.iter().copied().collect();
    }

    /// Runs until all processes have ended, or for so many instructions, with arguments for the first process.
    pub fn run(&mut self, arguments: &[Vec<u8>], limit: u64) -> Status {
        if !arguments.is_empty() {
            let cells: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
            if arguments.len() > 32 || cells + 1 > STACK {
                return Status::LoadError;
            }
            if let Some(first) = &mut self.processes[0] {
                first.take_arguments(arguments);
            }
        }
        let mut pid = 0;
        loop {
            // A slice of process `pid`.
            if self.executed == limit {
                return Status::Limit;
            }
            let mut left = SLICE;
            while let Some(process) = &self.processes[pid] {
                if process.blocked {
                    break;
                }
                if process.ip as usize >= process.image.len() {
                    self.end(pid, 0, None);
                    break;
                }
                if left == 0 {
                    break;
                }
                if self.executed == limit {
                    return Status::Limit;
                }
                left -= 1;
                self.executed += 1;
                match self.step(pid) {
                    Ok(None) => {}
                    Ok(Some(code)) => self.end(pid, code, None),
                    Err(fault) => self.end(pid, -1, Some(fault)),
                }
            }
            let runnable = |pid: usize| self.processes[pid].as_ref().is_some_and(|process| !process.blocked);
            match (1..=32).map(|distance| (pid + distance) % 32).find(|pid| runnable(*pid)) {
                Some(next) => pid = next,
                None if self.processes.iter().all(Option::is_none) => return Status::Exit,
                None => {
                    for pid in 0..32 {
                        if self.processes[pid].is_some() {
                            self.end(pid, -1, Some(Fault::Deadlock));
                        }
                    }
                    return Status::Deadlock;
                }
            }
        }
    }

    /// What the first process has, or had when it ended.
    pub fn first(&self) -> &Process {
        match (&self.first, &self.processes[0]) {
            (Some(first), _) | (None, Some(first)) => first,
            (None, None) => unreachable!("the first process was kept when it ended"),
        }
    }

    fn end(&mut self, pid: usize, code: i32, fault: Option<Fault>) {
        let Some(process) = self.processes[pid].take() else { return };
        self.fates[process.number].end = Some((code, fault));
        if process.number == 0 {
            self.first = Some(process);
        }
        for descriptor in &mut self.descriptors {
            if descriptor.as_ref().is_some_and(|open| open.owner == pid) {
                *descriptor = None;
            }
        }
    }
}
