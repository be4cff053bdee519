//! The machine: sections 2, 4 to 7 and 10 of the reference.

use std::collections::{HashMap, VecDeque};

use crate::arithmetic::{BOOL, I32, I64, PTR, binary, compare, convert, is_integer, named, truth, unary};
use crate::file::Value;
use crate::library::Entry;
use crate::objects::{Cells, Objects};

pub const MAX_OPERANDS: usize = 65_536;
pub const MAX_FRAMES: usize = 4_096;

/// What a name of the data block means.
#[derive(Clone, Debug)]
pub enum Meaning {
    Constant(Value),
    Variable(Value),
    Object(u64),
}

#[derive(Clone, Copy, Debug)]
pub struct Subroutine {
    pub entry: usize,
    pub end: usize,
    pub returns: u8,
}

#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub module: usize,
    pub at: usize,
    pub returns: u8,
}

#[derive(Clone, Debug)]
pub enum Instruction {
    Plain(u8, u8),
    Branch(u8, usize),
    Push(Value),
    New(Cells),
    Load(String),
    Store(String),
    StoreElement(String),
    Call(Place),
    System(&'static Entry),
}

#[derive(Clone, Debug, Default)]
pub struct Module {
    pub subroutines: HashMap<String, Subroutine>,
    pub labels: HashMap<String, usize>,
    pub names: HashMap<String, Meaning>,
    /// The subroutine that each record lies in, 0 for none.
    pub unit: Vec<usize>,
    pub code: Vec<Instruction>,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub module: usize,
    pub at: usize,
    pub base: usize,
    pub pool: HashMap<String, Value>,
    pub registers: [Value; 10],
    /// Where handlers begin, with their return types.
    pub handlers: Vec<Subroutine>,
    pub returns: u8,
    /// Whether it handles an exception.
    pub is_handler: bool,
}

impl Frame {
    pub fn new(place: Place, base: usize) -> Frame {
        Frame {
            module: place.module,
            at: place.at,
            base,
            pool: HashMap::new(),
            registers: [Value { ty: I64, bits: 0 }; 10],
            handlers: Vec::new(),
            returns: place.returns,
            is_handler: false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Thread {
    pub stack: Vec<Value>,
    pub frames: Vec<Frame>,
    /// Exceptions being handled.
    pub exceptions: usize,
    /// The result, once it has ended.
    pub result: Option<Value>,
    /// Whom it waits for.
    pub joins: Option<usize>,
    pub is_joined: bool,
    pub is_detached: bool,
}

impl Thread {
    pub fn new(frame: Frame, stack: Vec<Value>) -> Thread {
        Thread {
            stack,
            frames: vec![frame],
            exceptions: 0,
            result: None,
            joins: None,
            is_joined: false,
            is_detached: false,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With an exit code.
    Halt(i128),
    /// With the code of an error.
    Error(u64),
    /// At the instruction limit.
    Limit,
}

/// What an instruction may do besides its effect.
pub enum Event {
    /// The machine stops.
    Stop(Status),
    /// An error.
    Error(u64),
    /// An exception is thrown.
    Throw(u64),
    /// Another thread goes on.
    Switch,
}

/// A program and its state.
pub struct Machine {
    /// What it reads.
    pub input: VecDeque<u8>,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// What it wrote.
    pub output: Vec<u8>,
    /// Instructions carried out.
    pub executed: u64,
    pub(crate) modules: Vec<Module>,
    pub(crate) objects: Objects,
    pub(crate) threads: Vec<Thread>,
    pub(crate) current: usize,
    pub(crate) random: u64,
    /// What is left of the slice.
    pub(crate) slice: u32,
}

type Done<T = ()> = Result<T, Event>;

impl From<u64> for Event {
    fn from(code: u64) -> Event {
        Event::Error(code)
    }
}

impl Machine {
    pub(crate) fn new(modules: Vec<Module>, objects: Objects) -> Machine {
        let frame = Frame::new(Place { module: 0, at: 0, returns: 0 }, 0);
        Machine {
            input: VecDeque::new(),
            arguments: Vec::new(),
            output: Vec::new(),
            executed: 0,
            modules,
            objects,
            threads: vec![Thread::new(frame, Vec::new())],
            current: 0,
            random: 1,
            slice: 1_000,
        }
    }

    /// The operand stack of the main thread.
    pub fn stack(&self) -> &[Value] {
        &self.threads[0].stack
    }

    pub(crate) fn thread(&mut self) -> &mut Thread {
        &mut self.threads[self.current]
    }

    pub(crate) fn frame(&mut self) -> &mut Frame {
        self.thread().frames.last_mut().expect("a thread has a frame")
    }

    pub(crate) fn unchecked(&mut self) -> bool {
        self.frame().registers[8].bits & 8 != 0
    }

    pub(crate) fn push(&mut self, value: Value) -> Done {
        if self.thread().stack.len() >= MAX_OPERANDS {
            return Err(Event::Error(1));
        }
        self.thread().stack.push(value);
        Ok(())
    }

    pub(crate) fn need(&mut self, count: usize) -> Done {
        if self.thread().stack.len() < count { Err(Event::Error(2)) } else { Ok(()) }
    }

    pub(crate) fn pop(&mut self) -> Done<Value> {
        self.thread().stack.pop().ok_or(Event::Error(2))
    }

    /// Runs until the end or the limit.
    pub fn run(&mut self, budget: u64) -> Status {
        loop {
            let frame = self.frame();
            let (module, at) = (frame.module, frame.at);
            if at >= self.modules[module].code.len() {
                return Status::Halt(0);
            }
            if self.executed >= budget {
                return Status::Limit;
            }
            self.executed += 1;
            self.slice -= 1;
            self.frame().at += 1;
            let before = (self.current, self.thread().frames.len());
            let instruction = self.modules[module].code[at].clone();
            let stopped = match self.step(&instruction) {
                Ok(()) => None,
                Err(Event::Stop(status)) => Some(status),
                Err(Event::Switch) => self.switch(),
                Err(Event::Error(code)) => self.error(code, code, code),
                Err(Event::Throw(number)) => self.error(13, 12, number),
            };
            debug_assert!(before.1 > 0);
            if let Some(status) = stopped {
                return status;
            }
            if self.slice == 0
                && let Some(status) = self.switch()
            {
                return status;
            }
        }
    }

    /// Section 10: an error with what the error handler says, what r9 says where it is handled, and what is pushed.
    pub(crate) fn error(&mut self, mut code: u64, noted: u64, pushed: u64) -> Option<Status> {
        let thread = self.thread();
        let mut fatal = matches!(code, 1 | 2 | 3 | 14);
        if !fatal && thread.exceptions > 0 {
            (code, fatal) = (14, true);
        }
        if !fatal && let Some(frame) = thread.frames.iter().rev().find(|frame| !frame.handlers.is_empty()) {
            let handler = *frame.handlers.last().expect("a handler");
            let module = frame.module;
            self.frame().registers[9] = Value { ty: I64, bits: noted };
            if self.push(Value { ty: I64, bits: pushed }).is_err() || self.thread().frames.len() >= MAX_FRAMES
            {
                return self.fail(1);
            }
            let thread = self.thread();
            thread.exceptions += 1;
            let place = Place { module, at: handler.entry, returns: handler.returns };
            let mut frame = Frame::new(place, thread.stack.len());
            frame.is_handler = true;
            thread.frames.push(frame);
            return None;
        }
        let is_first = self.thread().frames.len() == 1;
        if !fatal && self.frame().registers[8].bits & 2 != 0 && !is_first {
            let thread = self.thread();
            let frame = thread.frames.pop().expect("a frame");
            thread.stack.truncate(frame.base);
            self.frame().registers[9] = Value { ty: I64, bits: code };
            if frame.returns != 0 && self.push(Value { ty: frame.returns, bits: 0 }).is_err() {
                return self.fail(1);
            }
            return None;
        }
        self.fail(code)
    }

    fn fail(&mut self, code: u64) -> Option<Status> {
        self.frame().registers[9] = Value { ty: I64, bits: code };
        self.frame().registers[8].bits |= 3;
        Some(Status::Error(code))
    }

    /// The object that `store x` as an element store means.
    fn named_object(&mut self, name: &str) -> Done<Value> {
        let module = self.frame().module;
        Ok(match self.modules[module].names.get(name) {
            Some(Meaning::Constant(value) | Meaning::Variable(value)) => *value,
            Some(Meaning::Object(bits)) => Value { ty: PTR, bits: *bits },
            None => self.local(name)?,
        })
    }

    fn local(&mut self, name: &str) -> Done<Value> {
        if let [b'r', digit @ b'0'..=b'9'] = name.as_bytes() {
            return Ok(self.frame().registers[usize::from(digit - b'0')]);
        }
        self.frame().pool.get(name).copied().ok_or(Event::Error(4))
    }

    fn store(&mut self, name: &str) -> Done {
        let value = self.pop()?;
        let module = self.frame().module;
        match self.modules[module].names.get_mut(name) {
            Some(Meaning::Variable(old)) => {
                if old.ty != value.ty {
                    return Err(Event::Error(16));
                }
                *old = value;
                return Ok(());
            }
            Some(_) => return Err(Event::Error(5)),
            None => {}
        }
        match name {
            "r8" | "r9" if !is_integer(value.ty) => Err(Event::Error(16)),
            "r8" => {
                self.frame().registers[8] = Value { ty: I64, bits: value.bits };
                if value.bits & 1 != 0 {
                    let code = self.frame().registers[9].bits;
                    let is_error = value.bits & 2 != 0;
                    return Err(Event::Stop(if is_error { Status::Error(code) } else { Status::Halt(0) }));
                }
                if value.bits & 4 != 0 { self.ret() } else { Ok(()) }
            }
            "r9" => {
                self.frame().registers[9] = Value { ty: I64, bits: value.bits };
                Ok(())
            }
            _ => {
                if let [b'r', digit @ b'0'..=b'7'] = name.as_bytes() {
                    self.frame().registers[usize::from(digit - b'0')] = value;
                } else {
                    self.frame().pool.insert(name.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    fn store_element(&mut self, name: &str) -> Done {
        self.need(2)?;
        let (value, ptr) = (self.pop()?, self.pop()?);
        if ptr.ty != PTR {
            return Err(Event::Error(16));
        }
        if ptr.bits == 0 {
            return Err(Event::Error(4));
        }
        let named = self.named_object(name)?;
        if named.ty != PTR {
            return Err(Event::Error(16));
        }
        if named.bits >> 32 != ptr.bits >> 32 {
            return Err(Event::Error(5));
        }
        let unchecked = self.unchecked();
        Ok(self.objects.store(ptr.bits, value, unchecked)?)
    }

    pub(crate) fn call(&mut self, place: Place) -> Done {
        if self.thread().frames.len() >= MAX_FRAMES {
            return Err(Event::Error(1));
        }
        let base = self.thread().stack.len();
        self.thread().frames.push(Frame::new(place, base));
        Ok(())
    }

    fn ret(&mut self) -> Done {
        let returns = self.frame().returns;
        if returns != 0 {
            self.need(1)?;
            if self.thread().stack.last().is_some_and(|value| value.ty != returns) {
                return Err(Event::Error(16));
            }
        }
        if self.thread().frames.len() == 1 {
            if self.current == 0 {
                return Err(Event::Stop(Status::Halt(0)));
            }
            let result = self.thread().stack.last().copied().unwrap_or(Value { ty: I64, bits: 0 });
            self.thread().result = Some(result);
            return Err(Event::Switch);
        }
        let frame = self.thread().frames.pop().expect("a frame");
        if frame.is_handler {
            self.thread().exceptions -= 1;
        }
        Ok(())
    }

    fn branch(&mut self, target: usize) -> Done {
        let frame = self.frame();
        let (module, here) = (frame.module, frame.at - 1);
        let unit = &self.modules[module].unit;
        if target > unit.len() || target < unit.len() && unit[target] != unit[here] {
            return Err(Event::Error(4));
        }
        self.frame().at = target;
        Ok(())
    }

    fn step(&mut self, instruction: &Instruction) -> Done {
        match instruction {
            Instruction::Push(value) => self.push(*value),
            Instruction::New(cells) => {
                // Room is looked for first: an instruction that fails makes nothing.
                if self.thread().stack.len() >= MAX_OPERANDS {
                    return Err(Event::Error(1));
                }
                let bits = self.objects.create(cells.clone())?;
                self.push(Value { ty: PTR, bits })
            }
            Instruction::Load(name) => {
                let module = self.frame().module;
                let value = match self.modules[module].names.get(name) {
                    Some(Meaning::Constant(value) | Meaning::Variable(value)) => *value,
                    Some(Meaning::Object(bits)) => Value { ty: PTR, bits: *bits },
                    None => self.local(name)?,
                };
                self.push(value)
            }
            Instruction::Store(name) => self.store(name),
            Instruction::StoreElement(name) => self.store_element(name),
            Instruction::Call(place) => self.call(*place),
            Instruction::System(entry) => {
                self.need(entry.2)?;
                self.system(entry.0, entry.1)
            }
            Instruction::Branch(op, target) => {
                let taken = match op {
                    0x08 => true,
                    0x09 => !truth(self.pop()?),
                    0x0A => truth(self.pop()?),
                    _ => {
                        self.need(2)?;
                        let (b, a) = (self.pop()?, self.pop()?);
                        compare(op - 0x0B, a, b, &self.objects)?
                    }
                };
                if taken { self.branch(*target) } else { Ok(()) }
            }
            Instruction::Plain(op, ty) => self.plain(*op, *ty),
        }
    }

    fn plain(&mut self, op: u8, ty: u8) -> Done {
        let unchecked = self.unchecked();
        match op {
            0x00 => Err(Event::Stop(Status::Halt(0))),
            0x01 | 0x26 => Ok(()),
            0x05 => self.pop().map(drop),
            0x06 => {
                self.need(1)?;
                let top = *self.thread().stack.last().expect("one value");
                self.push(top)
            }
            0x07 => {
                self.need(2)?;
                let stack = &mut self.thread().stack;
                let top = stack.len() - 1;
                stack.swap(top, top - 1);
                Ok(())
            }
            0x27 => {
                self.need(3)?;
                let stack = &mut self.thread().stack;
                let at = stack.len() - 3;
                stack[at..].rotate_left(1);
                Ok(())
            }
            0x11..=0x1A | 0x1C | 0x1D | 0x20..=0x25 => {
                self.need(2)?;
                let (b, a) = (self.pop()?, self.pop()?);
                if ty != 0 && (a.ty != ty || b.ty != ty) {
                    return Err(Event::Error(16));
                }
                let result = if op >= 0x20 {
                    Value { ty: BOOL, bits: compare(op - 0x20, a, b, &self.objects)?.into() }
                } else {
                    binary(op, a, b, &self.objects, unchecked)?
                };
                self.push(result)
            }
            0x1B | 0x1E | 0x28..=0x2A => {
                let a = self.pop()?;
                if ty != 0 && a.ty != ty {
                    return Err(Event::Error(16));
                }
                let result = unary(op, a, &self.objects, unchecked)?;
                self.push(result)
            }
            0x1F => {
                let a = self.pop()?;
                self.push(convert(ty, a)?)
            }
            0x2C | 0x2E => self.ret(),
            0x2D => {
                let frame = self.frame();
                let (module, entry) = (frame.module, frame.at);
                let ends = self.modules[module].subroutines.values();
                let end = ends
                    .filter(|subroutine| subroutine.entry == entry)
                    .map(|subroutine| subroutine.end)
                    .next();
                self.frame().at = end.expect("a subroutine begins here") + 1;
                Ok(())
            }
            0x2F => {
                let a = self.pop()?;
                self.push(Value { ty: I32, bits: a.ty.into() })
            }
            0x30 => {
                let a = self.pop()?;
                if a.ty != PTR {
                    return Err(Event::Error(16));
                }
                let value = self.objects.deref(a.bits, unchecked)?;
                self.push(value)
            }
            0x31..=0x44 => {
                let a = self.pop()?;
                let value = named(op, a, &mut self.objects)?;
                self.push(value)
            }
            _ => Err(Event::Error(3)),
        }
    }
}
