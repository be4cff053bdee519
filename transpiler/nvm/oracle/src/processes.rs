//! Processes and messages (sections 2, 7 and 8).

use crate::{Fate, HEAP, Machine, Message, STACK};

/// A process.
#[derive(Clone)]
pub struct Process {
    /// Which it was in order of creation.
    pub number: usize,
    /// Its image.
    pub image: Vec<u8>,
    /// Whether strings lie in the heap.
    pub heap_abi: bool,
    /// Address of the next instruction.
    pub ip: u32,
    /// The cells in use.
    pub stack: Vec<i32>,
    /// Cells above: what STORE_REL and STORE_ARG put there has no effect.
    pub fp: i32,
    /// Locals.
    pub locals: [i32; 256],
    /// Heap.
    pub heap: Vec<u8>,
    /// Where READ puts the next string.
    pub cursor: usize,
    /// Capabilities.
    pub capabilities: Vec<i32>,
    /// It waits for a message.
    pub blocked: bool,
    /// What `/proc/<pid>/args` holds.
    pub arguments: Vec<u8>,
}

impl Process {
    pub(crate) fn new(image: &[u8], heap_abi: bool) -> Process {
        Process {
            number: 0,
            image: image.to_vec(),
            heap_abi,
            ip: 4,
            stack: Vec::with_capacity(STACK),
            fp: -1,
            locals: [0; 256],
            heap: vec![0; HEAP],
            cursor: 0,
            capabilities: Vec::new(),
            blocked: false,
            arguments: Vec::new(),
        }
    }

    /// Puts arguments on the stack: for the last down to the first a zero cell and the characters in reverse order, then
    /// their number.
    pub(crate) fn take_arguments(&mut self, arguments: &[Vec<u8>]) {
        for argument in arguments.iter().rev() {
            self.stack.push(0);
            self.stack.extend(argument.iter().rev().map(|byte| i32::from(*byte)));
        }
        self.stack.push(arguments.len() as i32);
        self.arguments = arguments.iter().skip(1).cloned().collect::<Vec<_>>().join(&b'\n');
    }

    /// Takes a string of cells from the stack; `None` if there is none, and then the stack is empty.
    pub(crate) fn pop_string(&mut self) -> Option<Vec<u8>> {
        let mut string = Vec::new();
        while let Some(cell) = self.stack.pop() {
            if cell as u8 == 0 {
                string.reverse();
                return Some(string);
            }
            string.push(cell as u8);
        }
        None
    }

    /// The string at an offset of the heap.
    pub(crate) fn heap_string(&self, offset: i32) -> Option<Vec<u8>> {
        let rest = self.heap.get(usize::try_from(offset).ok()?..).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().copied().take_while(|byte| *byte != 0).collect())
    }

    /// Whether it holds a capability.
    pub(crate) fn has(&self, capability: i32) -> bool {
        self.capabilities.iter().any(|held| *held == capability || *held == 0xFFFF)
    }
}

/// The `auto` of section 8.
pub(crate) fn uses_heap(image: &[u8]) -> bool {
    let mut at = 4;
    while at < image.len() {
        at += match image[at] {
            0x46 | 0x47 => return true,
            0x02 | 0x30..=0x33 => 5,
            0x35 | 0x37 | 0x38 | 0x40..=0x43 | 0x50 => 2,
            _ => 1,
        };
    }
    false
}

impl Machine {
    pub(crate) fn process(&mut self, pid: usize) -> &mut Process {
        match &mut self.processes[pid] {
            Some(process) => process,
            None => unreachable!("only active processes carry out instructions"),
        }
    }

    /// SPAWN, once its fixed arguments are popped.
    pub(crate) fn spawn(&mut self, pid: usize, argc: i32, fd: i32) -> i32 {
        if !(0..=32).contains(&argc) {
            return -1;
        }
        let process = self.process(pid);
        let arguments: Option<Vec<Vec<u8>>> = (0..argc).map(|_| process.pop_string()).collect();
        let may = self.may(pid, 1);
        let Some(arguments) = arguments.filter(|_| may) else { return -1 };
        let Some(image) = self.rest_of(pid, fd) else { return -1 };
        if !image.starts_with(b"NVM0") || image.len() > 65_536 {
            return -1;
        }
        let Some(slot) = self.processes.iter().position(Option::is_none) else { return -1 };
        let mut child = Process::new(&image, uses_heap(&image));
        child.number = self.fates.len();
        child.capabilities = self.process(pid).capabilities.clone();
        child.take_arguments(&arguments);
        self.fates.push(Fate { pid: slot, end: None });
        self.processes[slot] = Some(Box::new(child));
        slot as i32
    }

    /// Whether a process has a capability that a call needs.
    pub(crate) fn may(&mut self, pid: usize, capability: i32) -> bool {
        let has = self.process(pid).has(capability);
        self.denials += u64::from(!has);
        has
    }

    pub(crate) fn cap_request(&self, pid: i32, capability: i32) -> i32 {
        let process = usize::try_from(pid).ok().and_then(|pid| self.processes.get(pid)?.as_ref());
        process.map_or(-1, |process| process.has(capability).into())
    }

    pub(crate) fn cap_spawn(&mut self, giver: usize, pid: i32, capability: i32) -> i32 {
        if !self.may(giver, 8) || !self.may(giver, capability) {
            return -1;
        }
        let process = usize::try_from(pid).ok().and_then(|pid| self.processes.get_mut(pid)?.as_mut());
        let Some(process) = process else { return -1 };
        if process.capabilities.contains(&capability) {
            return 0;
        }
        if process.capabilities.len() == 8 {
            return -1;
        }
        process.capabilities.push(capability);
        0
    }

    /// MSG_SEND: whether there was room.
    pub(crate) fn send(&mut self, from: usize, to: i32, byte: i32) -> bool {
        if self.queue.len() == 32 {
            return false;
        }
        let to = to as u32 & 0xFFFF;
        self.queue.push(Message { to, from, byte: byte as u8 });
        if let Some(Some(process)) = self.processes.get_mut(to as usize) {
            process.blocked = false;
        }
        true
    }

    /// MSG_RECV: sender and byte of the oldest message to a process.
    pub(crate) fn receive(&mut self, pid: usize) -> Option<(usize, u8)> {
        let place = self.queue.iter().position(|message| message.to == pid as u32)?;
        let message = self.queue.remove(place);
        Some((message.from, message.byte))
    }
}
