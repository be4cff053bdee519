//! The machine: frames, the run loop, and the meaning of every operation.

use std::collections::BTreeSet;

use bytes::Bytes;
use dotvm_arch::Lane;
use dotvm_core::call::CallRequest;
use dotvm_core::capability::Capability;
use dotvm_core::decode::{Decoded, Inst};
use dotvm_core::env::{EnvField, EnvValue};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{Host, HostError};
use dotvm_core::limits::Limits;
use dotvm_core::limits::heap as heap_limits;
use dotvm_core::module::{Constant, Handler};
use dotvm_core::opcode::{Flow, Op};
use dotvm_core::outcome::{End, FinalState, Invocation, Outcome, exception_detail};
use dotvm_core::trap::{Trap, TrapKind};
use dotvm_core::verify::{Block, Body, Verified};
use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};

use crate::arithmetic::{dynamic_gas, immediate, integer, signed, truncate, wrap};
use crate::float::{BINARY32, BINARY64, float};
use crate::lanes::{convert_lanes, lanes};
use crate::memory::{Format, Memory};
use crate::tasks::{Task, Tasks};
use crate::value::{Value, reachable};
use crate::{from_w512, to_w512};

/// Bytes of the heap before anybody has counted: more than any limit.
const UNKNOWN: u64 = u64::MAX;

/// A function in execution.
pub struct Frame {
    pub function: u32,
    /// Index of the instruction to execute next.
    pub next: usize,
    /// Whether control comes here by a transfer, which is where gas is charged, or by falling through.
    pub transferred: bool,
    /// Parameters and locals; empty in window functions, whose parameters lie on the stack.
    pub locals: Vec<BigUint>,
    pub ref_locals: Vec<Value>,
    pub words: Vec<BigUint>,
    pub refs: Vec<Value>,
}

/// How a task comes to its end by itself.
enum Finish {
    Return(Vec<BigUint>, Vec<Value>),
    Halt(BigUint, Value),
}

impl Finish {
    /// The end of the machine, if it is the first task's.
    fn end(&self) -> End {
        match self {
            Finish::Return(words, refs) => End::Return {
                words: words.iter().map(to_w512).collect(),
                refs: refs.iter().map(Value::to_ref).collect(),
            },
            Finish::Halt(code, result) => End::Halt { code: to_w512(code), result: result.to_ref() },
        }
    }
}

/// Why an operation did not happen.
pub struct Fault {
    pub kind: TrapKind,
    pub detail: Option<String>,
    /// What THROW threw.
    pub exception: Option<(BigUint, Value)>,
}

impl Fault {
    /// With a detail.
    pub fn new(kind: TrapKind, detail: String) -> Fault {
        Fault { kind, detail: Some(detail), exception: None }
    }
}

impl From<TrapKind> for Fault {
    fn from(kind: TrapKind) -> Fault {
        Fault { kind, detail: None, exception: None }
    }
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Fault {
        match error {
            HostError::OutOfGas => TrapKind::Gas.into(),
            HostError::Trap(kind, detail) => {
                Fault { kind, detail: Some(detail).filter(|detail| !detail.is_empty()), exception: None }
            }
        }
    }
}

/// One execution.
pub struct Machine<'a> {
    pub verified: &'a Verified,
    pub limits: &'a Limits,
    /// Width of the words.
    pub bits: u32,
    pub host: &'a mut dyn Host,
    pub gas: Gas,
    guest_gas: u64,
    /// Capabilities that the program still has.
    pub held: Vec<Capability>,
    pub memory: Memory,
    /// Data segments that M.DROP emptied.
    pub dropped: BTreeSet<usize>,
    pub word_globals: Vec<BigUint>,
    pub ref_globals: Vec<Value>,
    pub frames: Vec<Frame>,
    /// The most words and references that the stacks have reached.
    pub reached: [u64; 2],
    /// All tasks. What is above of the running one is not in there.
    pub tasks: Tasks,
    /// References that the current operation took from the stack; they live until it is done.
    operands: Vec<Value>,
    /// At least what the references that there are count against the limit of the heap.
    heap_bytes: u64,
}

/// Runs an invocation that fits the module.
pub fn run(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut dyn Host,
    inspect: &mut dyn FnMut(u32, &Inst),
) -> Result<(Outcome, FinalState), String> {
    let module = verified.module();
    let gas = Gas::new(limits.gas);
    let mut machine = Machine {
        verified,
        limits,
        bits: module.width.bits(),
        host,
        gas,
        guest_gas: limits.guest_gas,
        held: module.capabilities.clone(),
        memory: Memory::new(module, limits.memory_pages)?,
        dropped: BTreeSet::new(),
        word_globals: module.word_globals.iter().map(from_w512).collect(),
        ref_globals: vec![Value::Null; module.ref_globals as usize],
        frames: Vec::new(),
        reached: [0; 2],
        tasks: Tasks::new(),
        operands: Vec::new(),
        heap_bytes: UNKNOWN,
    };
    // What keeps the entry function from starting is a trap of its first instruction.
    let end = machine.run(invocation, inspect).unwrap_or_else(|Fault { kind, detail, .. }| {
        End::Trap(Trap { kind, detail, function: invocation.function, offset: 0, stacks: None })
    });
    let outcome = Outcome {
        end,
        gas_used: gas.left() - machine.gas.left(),
        guest_gas_used: limits.guest_gas - machine.guest_gas,
    };
    // Gas may have run out in another process than the first.
    machine.see(0, 0);
    let state = FinalState {
        memory: machine.memory.into_bytes(),
        word_globals: machine.word_globals.iter().map(to_w512).collect(),
        ref_globals: machine.ref_globals.iter().map(Value::to_ref).collect(),
    };
    Ok((outcome, state))
}

/// What a transfer of control to an instruction costs: the gas up to the next one.
pub fn cost_of_entry(blocks: &[Block], inst: usize) -> u64 {
    match blocks.binary_search_by_key(&inst, |block| block.start as usize) {
        Ok(block) => blocks[block].gas.into(),
        Err(_) => 0,
    }
}

impl Machine<'_> {
    /// Err: the entry function does not start.
    fn run(&mut self, invocation: &Invocation, inspect: &mut dyn FnMut(u32, &Inst)) -> Result<End, Fault> {
        let words = invocation.words.iter().map(from_w512).collect();
        let refs = invocation.refs.iter().map(Value::of).collect();
        self.enter(invocation.function, words, refs)?;
        // There is room for what it returns.
        let results = self.verified.signature(invocation.function).words_out;
        self.reached[0] = self.reached[0].max(results.into());
        self.room(0)?;
        let verified = self.verified;
        let bodies: Vec<Body> = verified.bodies(0..verified.functions().len() as u32).collect();
        loop {
            let frame = self.frame();
            let index = frame.function;
            let Body { code, blocks } = &bodies[index as usize];
            let (inst, step) = match self.tasks.befell.take() {
                // The instruction at which it has waited.
                Some(fault) => (&code.insts[self.frame().next - 1], Err(fault)),
                None => {
                    let next = self.frame().next;
                    let inst = &code.insts[next];
                    if self.frame().transferred && self.exceeds_turn(cost_of_entry(blocks, next)) {
                        self.next_turn(&bodies);
                        continue;
                    }
                    let frame = self.frame();
                    frame.next += 1;
                    let transferred =
                        std::mem::replace(&mut frame.transferred, inst.op.info().flow != Flow::Next);
                    let paid = if transferred { self.charge(cost_of_entry(blocks, next)) } else { Ok(()) };
                    let step = paid.and_then(|()| {
                        inspect(index, inst);
                        self.operands.clear();
                        self.step(code, inst)
                    });
                    (inst, step)
                }
            };
            let is_first = self.tasks.current == 0;
            let ended = match step {
                Ok(None) if self.tasks.is_turn_over => {
                    self.next_turn(&bodies);
                    continue;
                }
                Ok(None) => continue,
                Ok(Some(finish)) if is_first => return Ok(finish.end()),
                Ok(Some(Finish::Return(words, refs))) => {
                    let word = words.into_iter().next().unwrap_or_default();
                    (0, word, refs.into_iter().next().unwrap_or_default())
                }
                Ok(Some(Finish::Halt(code, result))) => (1, code, result),
                Err(fault) => {
                    let offset = inst.offset;
                    let Err(Fault { kind, detail, exception }) = self.catch(fault, offset, &bodies) else {
                        continue;
                    };
                    if is_first || kind == TrapKind::Gas {
                        return Ok(End::Trap(Trap { kind, detail, function: index, offset, stacks: None }));
                    }
                    match exception {
                        Some((code, payload)) => (2, code, payload),
                        None => (3, BigUint::from(kind as u8), Value::Null),
                    }
                }
            };
            self.operands.clear();
            let (status, value, result) = ended;
            self.end_task(self.tasks.current, status, value, result);
            self.next_turn(&bodies);
        }
    }

    /// Goes on with the innermost handler of a fault at this offset of the current function, or gives it back.
    fn catch(&mut self, fault: Fault, offset: u32, bodies: &[Body]) -> Result<(), Fault> {
        let (kind, mut at) = (fault.kind, offset);
        let module = self.verified.module();
        for depth in (0..self.frames.len()).rev() {
            let frame = &self.frames[depth];
            let code = &bodies[frame.function as usize].code;
            if depth + 1 < self.frames.len() {
                // The call is the instruction before the one to go on with.
                at = code.insts[frame.next - 1].offset;
            }
            let catches = |handler: &&Handler| {
                (handler.from..handler.to).contains(&at) && handler.kinds & kind.bit() != 0
            };
            // Of several the last is the innermost.
            let found = module.handlers_of(frame.function).iter().rfind(catches);
            let Some(handler) = found.filter(|_| kind.is_catchable()) else { continue };
            self.frames.truncate(depth + 1);
            let frame = self.frame();
            frame.words.truncate(handler.words.into());
            frame.refs.truncate(handler.refs.into());
            frame.next = code.index_of(handler.target).expect("the verifier found it") as usize;
            frame.transferred = true;
            let (word, payload) = match fault.exception {
                Some((word, payload)) => (word, payload),
                None => (BigUint::from(kind as u8), Value::Null),
            };
            self.push(word);
            self.push_ref(payload);
            return Ok(());
        }
        Err(fault)
    }

    /// Takes gas.
    pub fn charge(&mut self, amount: u64) -> Result<(), Fault> {
        self.gas.charge(amount).map_err(|_| TrapKind::Gas.into())
    }

    /// Starts a function whose arguments are off the stacks.
    fn enter(&mut self, function: u32, words: Vec<BigUint>, refs: Vec<Value>) -> Result<(), Fault> {
        let [other_frames, other_words, other_refs] = self.used_by_others();
        let (mut all_words, mut all_refs) = (other_words, other_refs);
        if other_frames + self.frames.len() as u64 + 1 > u64::from(self.limits.call_depth) {
            return Err(TrapKind::Depth.into());
        }
        for frame in &self.frames {
            all_words += (frame.locals.len() + frame.words.len()) as u64;
            all_refs += (frame.ref_locals.len() + frame.refs.len()) as u64;
        }
        let code = &self.verified.functions()[function as usize];
        if all_words + u64::from(code.frame_words) > u64::from(self.limits.stack_words)
            || all_refs + u64::from(code.frame_refs) > u64::from(self.limits.stack_refs)
        {
            return Err(TrapKind::Stack.into());
        }
        let [most_words, most_refs] = self.reached;
        self.reached = [
            most_words.max(all_words - other_words + u64::from(code.frame_words)),
            most_refs.max(all_refs - other_refs + u64::from(code.frame_refs)),
        ];
        let frame = self.frame_of(function, words, refs);
        self.frames.push(frame);
        Ok(())
    }

    /// The frame that a function starts with.
    pub fn frame_of(&self, function: u32, words: Vec<BigUint>, refs: Vec<Value>) -> Frame {
        let declaration = &self.verified.module().functions[function as usize];
        let (mut locals, mut ref_locals) = (words, refs);
        ref_locals.resize(ref_locals.len() + declaration.ref_locals as usize, Value::Null);
        let mut words = Vec::new();
        if declaration.window > 0 {
            std::mem::swap(&mut words, &mut locals);
        } else {
            locals.resize(locals.len() + declaration.word_locals as usize, BigUint::zero());
        }
        Frame { function, next: 0, transferred: true, locals, ref_locals, words, refs: Vec::new() }
    }

    /// Takes the arguments of `function` off the stacks.
    pub fn arguments(&mut self, function: u32) -> (Vec<BigUint>, Vec<Value>) {
        let signature = self.verified.signature(function);
        let words = self.pop_many(signature.words_in as usize);
        let refs = &mut self.frame().refs;
        (words, refs.split_off(refs.len() - signature.refs_in as usize))
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the loop ends when the entry function returns")
    }

    /// Takes the top of the word stack.
    pub fn pop(&mut self) -> BigUint {
        self.frame().words.pop().expect("the verifier proved the height")
    }

    /// Takes words, the top last.
    pub fn pop_many(&mut self, count: usize) -> Vec<BigUint> {
        let words = &mut self.frame().words;
        words.split_off(words.len() - count)
    }

    /// Puts a word on the stack, modulo 2^w.
    pub fn push(&mut self, word: impl Into<BigUint>) {
        let word = truncate(&word.into(), self.bits);
        self.frame().words.push(word);
    }

    /// Takes the top of the reference stack.
    pub fn pop_ref(&mut self) -> Value {
        let reference = self.frame().refs.pop().expect("the verifier proved the height");
        self.operands.push(reference.clone());
        reference
    }

    /// Puts a reference on the stack.
    pub fn push_ref(&mut self, reference: Value) {
        self.frame().refs.push(reference);
    }

    /// Keeps a reference until the operation is done.
    pub fn keep(&mut self, reference: Value) {
        self.operands.push(reference);
    }

    /// Puts a reference on the stack that leads to something new, if that fits the heap beside all there is.
    pub fn push_new(&mut self, reference: Value) -> Result<(), Fault> {
        self.room(reference.size())?;
        self.push_ref(reference);
        Ok(())
    }

    /// What all that is reachable counts.
    fn reachable(&self) -> u64 {
        let frames = self.frames.iter().flat_map(|frame| frame.ref_locals.iter().chain(&frame.refs));
        let tasks = self.tasks.all.values().flat_map(Task::values);
        let globals = self.tasks.spaces.values().flat_map(|space| &space.ref_globals);
        reachable(frames.chain(&self.ref_globals).chain(&self.operands).chain(tasks).chain(globals))
    }

    /// Takes room in the heap.
    pub fn room(&mut self, bytes: u64) -> Result<(), Fault> {
        let limit = self.limits.heap_bytes.min(heap_limits::BYTES);
        if self.heap_bytes.saturating_add(bytes) > limit {
            self.heap_bytes = self.reachable();
            if self.heap_bytes + bytes > limit {
                return Err(TrapKind::OutOfMemory.into());
            }
        }
        self.heap_bytes += bytes;
        Ok(())
    }

    /// Continues at another instruction of the function.
    fn jump(&mut self, target: u64) {
        self.frame().next = target as usize;
    }

    /// The greatest word, or `number` if that is less.
    fn push_at_most(&mut self, number: u64) {
        let greatest = (BigUint::from(1u32) << self.bits) - 1u32;
        self.push(BigUint::from(number).min(greatest));
    }

    /// Executes one instruction; its end, if the execution ends with it.
    fn step(&mut self, code: &Decoded, inst: &Inst) -> Result<Option<Finish>, Fault> {
        let bits = self.bits;
        let (a, b) = (inst.a, u64::from(inst.b));
        self.check_capability(inst.op.info().capability)?;
        match inst.op {
            // 0x00–0x0F Control
            Op::Trap => return Err(TrapKind::Unreachable.into()),
            Op::Nop => {}
            Op::Jmp => self.jump(a),
            Op::Jz => {
                if self.pop().is_zero() {
                    self.jump(a);
                }
            }
            Op::Jnz => {
                if !self.pop().is_zero() {
                    self.jump(a);
                }
            }
            Op::Jtab => {
                let targets = code.table(inst);
                let last = targets.len() - 1;
                let entry = self.pop().to_usize().map_or(last, |entry| entry.min(last));
                self.jump(u64::from(targets[entry]));
            }
            Op::Jmap => {
                let address = self.pop().to_u64();
                let map = &self.verified.module().jump_maps[a as usize];
                let entry =
                    map.entries.iter().find(|entry| Some(entry.0) == address).ok_or(TrapKind::Jump)?;
                let target = code.index_of(entry.1).ok_or(TrapKind::Jump)?;
                self.jump(u64::from(target));
            }
            Op::Call => {
                let (words, refs) = self.arguments(a as u32);
                self.enter(a as u32, words, refs)?;
            }
            Op::Calli => {
                let module = self.verified.module();
                let entry = self.pop().to_usize().and_then(|entry| module.tables[b as usize].get(entry));
                let callee = entry.ok_or(TrapKind::Index)?.ok_or(TrapKind::Null)?;
                if self.verified.signature(callee) != module.signatures[a as usize] {
                    return Err(TrapKind::Sig.into());
                }
                self.charge(gas::locals(module.functions[callee as usize].word_locals.into()))?;
                let (words, refs) = self.arguments(callee);
                self.enter(callee, words, refs)?;
            }
            Op::Tcall => {
                let (words, refs) = self.arguments(a as u32);
                self.frames.pop();
                self.enter(a as u32, words, refs)?;
            }
            Op::Ret => {
                let signature = self.verified.signature(self.frame().function);
                if self.frame().words.len() != signature.words_out as usize {
                    return Err(TrapKind::Stack.into());
                }
                let Some(Frame { words, refs, .. }) = self.frames.pop() else { return Ok(None) };
                match self.frames.last_mut() {
                    Some(caller) => {
                        caller.words.extend(words);
                        caller.refs.extend(refs);
                    }
                    None => return Ok(Some(Finish::Return(words, refs))),
                }
            }
            Op::Blk => {
                let height = self.frame().words.len() as u64;
                let window = self.verified.module().functions[self.frame().function as usize].window;
                if height < a || height + b > u64::from(window) {
                    return Err(TrapKind::Stack.into());
                }
            }
            Op::Meter => self.meter(Some(a))?,
            Op::Meterd => {
                let amount = self.pop().to_u64();
                self.meter(amount)?;
            }
            Op::Throw => {
                let (code, payload) = (self.pop(), self.pop_ref());
                let detail = exception_detail(&to_w512(&code), &payload.to_ref());
                let exception = Some((code, payload));
                return Err(Fault { kind: TrapKind::User, detail: Some(detail), exception });
            }
            Op::Halt => {
                let (code, result) = (self.pop(), self.pop_ref());
                return Ok(Some(Finish::Halt(code, result)));
            }

            // 0x10–0x1F Stack, constants, locals, globals
            Op::Push => self.push(immediate(a, bits)),
            Op::Pushc => self.push(from_w512(&self.verified.module().word_constants[a as usize])),
            Op::Pop => drop(self.pop()),
            Op::Dup => self.dup(0),
            Op::Dupn => self.dup(a as usize),
            Op::Swap => self.swap(1),
            Op::Swapn => self.swap(a as usize),
            Op::Rot => {
                let words = &mut self.frame().words;
                let word = words.remove(words.len() - 1 - a as usize);
                words.push(word);
            }
            Op::Select => {
                let (condition, no, yes) = (self.pop(), self.pop(), self.pop());
                self.push(if condition.is_zero() { no } else { yes });
            }
            Op::Lget => {
                let word = self.frame().locals[a as usize].clone();
                self.push(word);
            }
            Op::Lset => {
                let word = self.pop();
                self.frame().locals[a as usize] = word;
            }
            Op::Ltee => {
                let word = self.pop();
                self.frame().locals[a as usize] = word.clone();
                self.push(word);
            }
            Op::Gget => self.push(self.word_globals[a as usize].clone()),
            Op::Gset => self.word_globals[a as usize] = self.pop(),
            Op::Meterq => self.push_at_most(self.guest_gas),
            Op::Popn => drop(self.pop_many(a as usize)),

            // 0x20–0x5F Integers
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Sdiv | Op::Mod | Op::Smod | Op::Neg => {
                self.integer(inst)?
            }
            Op::Abs | Op::Addc | Op::Subb | Op::Mulw | Op::Saddo | Op::Ssubo | Op::Smulo | Op::Addi => {
                self.integer(inst)?
            }
            Op::Divz | Op::Sdivz | Op::Modz | Op::Smodz | Op::Addmod | Op::Mulmod | Op::Exp | Op::Isqrt => {
                self.integer(inst)?
            }
            Op::Min | Op::Max | Op::Smin | Op::Smax | Op::Divmod | Op::Modpow | Op::Modinv | Op::Sextd => {
                self.integer(inst)?
            }
            Op::And | Op::Or | Op::Xor | Op::Not | Op::Andn | Op::Shl | Op::Shr | Op::Sar => {
                self.integer(inst)?
            }
            Op::Rotl | Op::Rotr | Op::Clz | Op::Ctz | Op::Popcnt | Op::Bswap | Op::Byte => {
                self.integer(inst)?
            }
            Op::Eq | Op::Ne | Op::Lt | Op::Gt | Op::Le | Op::Ge | Op::Slt | Op::Sgt => self.integer(inst)?,
            Op::Sle | Op::Sge | Op::Eqz | Op::Cmp | Op::Sext | Op::Zext | Op::Bextr | Op::Bins => {
                self.integer(inst)?
            }

            // 0x60–0x6F Linear memory
            Op::Load => self.load(a, Format::little(u64::from(bits / 8)))?,
            Op::Loadx => self.load(b, Format::from_immediate(a))?,
            Op::Load8 => self.load(a, Format::little(1))?,
            Op::Load16 => self.load(a, Format::little(2))?,
            Op::Load32 => self.load(a, Format::little(4))?,
            Op::Load64 => self.load(a, Format::little(8))?,
            Op::Store => self.store(a, Format::little(u64::from(bits / 8)))?,
            Op::Storex => self.store(b, Format::from_immediate(a))?,
            Op::Store8 => self.store(a, Format::little(1))?,
            Op::Store16 => self.store(a, Format::little(2))?,
            Op::Store32 => self.store(a, Format::little(4))?,
            Op::Store64 => self.store(a, Format::little(8))?,
            Op::Msize => self.push(self.memory.pages()),
            Op::Mgrow => {
                let pages = self.pop();
                let gas = &mut self.gas;
                let old = self.memory.grow(&pages, |cost| gas.charge(cost).map_err(|_| TrapKind::Gas))?;
                self.push(old.map_or_else(|| immediate(-1i64 as u64, bits), BigUint::from));
            }
            Op::Mcopy => {
                let (len, source, destination) = (self.pop(), self.pop(), self.pop());
                let len = len.to_u64().ok_or(TrapKind::Bounds)?;
                let source = self.memory.range(&source, 0, len)?;
                let destination = self.memory.writable(&destination, 0, len)?;
                self.charge(gas::copy(len))?;
                self.memory.copy_within(source, destination.start);
            }
            Op::Mfill => {
                let (len, byte, destination) = (self.pop(), self.pop(), self.pop());
                let len = len.to_u64().ok_or(TrapKind::Bounds)?;
                let destination = self.memory.writable(&destination, 0, len)?;
                self.charge(gas::copy(len))?;
                self.memory.slice_mut(destination).fill(byte.to_bytes_le()[0]);
            }

            // 0x70–0x7F Heap, reference stack, byte strings
            Op::Alloc => {
                let bytes = self.pop();
                let gas = &mut self.gas;
                let address =
                    self.memory.alloc(&bytes, |cost| gas.charge(cost).map_err(|_| TrapKind::Gas))?;
                self.push(address);
            }
            Op::Free => {
                let address = self.pop();
                self.memory.free(&address)?;
            }
            Op::Rconst => self.push_ref(match &self.verified.module().ref_constants[a as usize] {
                Constant::Bytes(bytes) => Value::constant_bytes(bytes.clone()),
                Constant::Integer(number) => Value::constant_int(number.clone()),
            }),
            Op::Rnull => self.push_ref(Value::Null),
            Op::Rpop => drop(self.pop_ref()),
            Op::Rdup => {
                let refs = &mut self.frame().refs;
                refs.push(refs[refs.len() - 1 - a as usize].clone());
            }
            Op::Rswap => {
                let refs = &mut self.frame().refs;
                let top = refs.len() - 1;
                refs.swap(top, top - a as usize);
            }
            Op::Rlget => {
                let reference = self.frame().ref_locals[a as usize].clone();
                self.push_ref(reference);
            }
            Op::Rlset => {
                let reference = self.pop_ref();
                self.frame().ref_locals[a as usize] = reference;
            }
            Op::Rgget => self.push_ref(self.ref_globals[a as usize].clone()),
            Op::Rgset => self.ref_globals[a as usize] = self.pop_ref(),
            Op::Rkind => {
                let reference = self.pop_ref();
                self.push(reference.kind());
            }
            Op::Blen => self.blen()?,
            Op::Bget => self.bget()?,
            Op::Bload => self.bload()?,
            Op::Bstore => self.bstore()?,

            // 0x80–0x8F Database
            Op::DbGet => self.db_get(a as u32)?,
            Op::DbPut => self.db_put(a as u32)?,
            Op::DbDelete => self.db_delete(a as u32)?,
            Op::DbCount => self.db_count(a as u32)?,
            Op::DbExists => self.db_exists(a as u32)?,
            Op::DbInsert => self.db_insert(a as u32)?,
            Op::DbQuery => self.db_query(a as u32)?,
            Op::DbPatch => self.db_patch(a as u32)?,
            Op::DbGetAt => self.db_get_at(a as u32)?,
            Op::DbProve => self.db_prove(a as u32)?,
            Op::DbScan => self.db_scan(a as u32, b & 1 != 0)?,
            Op::DbNext => self.db_next()?,
            Op::DbClose => self.db_close()?,

            // 0x90–0x9F Contract state and transactions
            Op::Sload => self.sload()?,
            Op::Sstore => self.sstore()?,
            Op::Sdelete => self.sdelete()?,
            Op::Sexists => self.sexists()?,
            Op::Tload => self.tload()?,
            Op::Tstore => self.tstore()?,
            Op::TxBegin => self.host.tx_begin(a & 1 != 0)?,
            Op::TxCommit => {
                let committed = self.host.tx_commit(&mut self.gas)?;
                self.push(u32::from(committed));
            }
            Op::TxAbort => self.host.tx_abort()?,
            Op::Savepoint => {
                let savepoint = self.host.savepoint()?;
                self.push(savepoint);
            }
            Op::Rollback => {
                let savepoint = self.pop().to_u64().ok_or(TrapKind::Tx)?;
                self.host.rollback(savepoint)?;
            }
            Op::StateRoot => self.state_root()?,
            Op::StateProve => self.state_prove()?,
            Op::StateVerify => self.state_verify()?,
            Op::StateAt => self.state_at()?,

            // 0xA0–0xAF Cryptography
            Op::Hash => self.hash(a)?,
            Op::Hashw => self.hashw(a)?,
            Op::Hashm => self.hashm(a)?,

            Op::Hmac | Op::Kdf | Op::Random => self.derive(inst.op, a)?,
            Op::Encrypt | Op::Decrypt => self.cipher(inst.op, a)?,
            Op::Sign | Op::Verify | Op::Recover | Op::Pubkey | Op::Keygen => self.signature(inst.op, a)?,

            // 0xB0–0xBF Floating point
            Op::Fadd | Op::Fsub | Op::Fmul | Op::Fdiv | Op::Fsqrt | Op::Fabs | Op::Fneg | Op::Fmin => {
                self.float(inst)?
            }
            Op::Fmax | Op::Fround | Op::Fcopysign | Op::Feq | Op::Flt | Op::Fle | Op::Fcvt | Op::Fma => {
                self.float(inst)?
            }

            // 0xC0–0xCF Cells
            Op::Cons => self.cons()?,
            Op::Head => self.part(0)?,
            Op::Tail => self.part(1)?,
            Op::Axis => self.axis(a)?,
            Op::Axisd => self.computed_axis()?,
            Op::Edit => self.edit(a)?,
            Op::Editd => self.computed_edit()?,
            Op::Iscell => self.is_cell(),
            Op::Rinc => self.increment()?,
            Op::Req => self.equal()?,
            Op::Mug => self.mug()?,
            Op::Jam => self.jam()?,
            Op::Cue => self.cue()?,
            Op::Rcmp => self.compare()?,
            // Nobody makes functions of formulas here.
            Op::Nock | Op::Tnock => {
                let formula = self.pop_ref();
                return Err(
                    if matches!(formula, Value::Cell(_)) { TrapKind::Null } else { TrapKind::Kind }.into()
                );
            }

            // 0xD0–0xDF Unbounded integers
            Op::Zadd | Op::Zsub | Op::Zmul | Op::Zdiv | Op::Zmod | Op::Zdivmod | Op::Zcmp | Op::Zshl => {
                self.unbounded(inst.op, a)?
            }
            Op::Zshr | Op::Zand | Op::Zor | Op::Zxor | Op::Zbits | Op::W2z | Op::Z2w | Op::Zfn => {
                self.unbounded(inst.op, a)?
            }

            // 0xE0–0xEF System, processes, contracts
            Op::Xcall => self.contract_call(a)?,
            Op::Sys => self.sys(a as usize)?,
            Op::Spawn | Op::Yield | Op::Join | Op::Selfid | Op::Send | Op::Recv | Op::Kill => {
                self.task_op(inst)?
            }
            Op::AWait | Op::ANotify => self.task_op(inst)?,
            Op::CapTest => self.cap_test(),
            Op::CapDrop => self.cap_drop(),
            Op::Env => self.env(a)?,
            Op::Xcreate => self.contract_create()?,
            Op::Emit => self.emit(a as usize)?,
            Op::Gas => self.push_at_most(self.gas.left()),
            Op::Break => {}

            // Page V: packed lanes
            Op::VSplat
            | Op::VExtract
            | Op::VReplace
            | Op::VAdd
            | Op::VSub
            | Op::VMul
            | Op::VDiv
            | Op::VMin => self.packed(inst),
            Op::VMax | Op::VMinu | Op::VMaxu | Op::VAbs | Op::VNeg | Op::VSqrt | Op::VRound | Op::VFma => {
                self.packed(inst)
            }
            Op::VAdds | Op::VAddu | Op::VSubs | Op::VSubu | Op::VAvgu | Op::VShl | Op::VShr | Op::VSar => {
                self.packed(inst)
            }
            Op::VEq | Op::VLt | Op::VLe | Op::VLtu | Op::VLeu | Op::VBlend | Op::VShuffle | Op::VPerm => {
                self.packed(inst)
            }
            Op::VAll
            | Op::VBitmask
            | Op::VSum
            | Op::VRmin
            | Op::VRmax
            | Op::VDot
            | Op::VNarrow
            | Op::VWiden => self.packed(inst),
            Op::VMulhi | Op::VCvt => self.packed(inst),

            // Page A: array kernels
            Op::ADot => self.dot_product(a)?,
            Op::AAxpy => self.scaled_sum(a)?,
            Op::AMatmul => self.matrix_product(a)?,

            // Page M: memory extension
            Op::MProtect => self.protect()?,
            Op::MRealloc => self.realloc()?,
            Op::MUsable => {
                let address = self.pop();
                let bytes = self.memory.usable(&address)?;
                self.push(bytes);
            }
            Op::MInit => self.init_memory(a as usize)?,
            Op::MDrop => _ = self.dropped.insert(a as usize),
            Op::MCmp => self.compare_memory()?,
            Op::MFind => self.find_in_memory()?,
            Op::MTouch => self.touch_memory()?,

            // Page R: byte strings and documents
            Op::RList => self.list(a)?,
            Op::RUnlist => self.unlist(a)?,
            Op::RSlice => self.slice()?,
            Op::RCat => self.cat()?,
            Op::RW2b => self.word_to_bytes(a)?,
            Op::RB2w => self.bytes_to_word()?,
            Op::RFind => self.find()?,
            Op::RHex => self.hex()?,
            Op::RUnhex => self.unhex()?,
            Op::RUtf8 => self.utf8()?,
            Op::RDparse => self.document_parse()?,
            Op::RDtext => self.document_text()?,
            Op::RDget => self.document_get()?,
            Op::RDset => self.document_set()?,
            Op::RDdel => self.document_delete()?,
            Op::RDtype => self.document_type()?,
            Op::RDlen => self.document_length()?,
            Op::RDint => self.document_integer()?,
            Op::RIntd => self.integer_document()?,
            Op::RDstr => self.document_string()?,
            Op::RStrd => self.string_document(a)?,
            Op::RDiter => self.document_entry()?,
            Op::RLoadw => self.load_word()?,
            Op::RCopyz => self.copy_with_zeros()?,
        }
        Ok(None)
    }

    /// Page V.
    fn packed(&mut self, inst: &Inst) {
        let count = inst.op.info().effect.map_or(0, |effect| effect.words_in as usize);
        let operands = self.pop_many(count);
        if inst.op == Op::VBlend {
            let [a, b, mask] = [0, 1, 2].map(|operand| operands[operand].clone());
            return self.push((a & &mask) + (&b - (&b & &mask)));
        }
        if inst.op == Op::VCvt {
            return self.push(convert_lanes(self.bits, inst.a, &operands[0]));
        }
        let lane = Lane::from_code(inst.a).expect("the verifier checked the lane");
        let places = match inst.op {
            Op::VShuffle => from_w512(&self.verified.module().word_constants[inst.b as usize]),
            _ => BigUint::zero(),
        };
        let result = lanes(inst.op, self.bits, lane, inst.b.into(), &operands, &places);
        self.push(result);
    }

    /// METER and METERD; `None` = wider than 64 bits.
    fn meter(&mut self, amount: Option<u64>) -> Result<(), Fault> {
        let left = amount.and_then(|amount| self.guest_gas.checked_sub(amount));
        self.guest_gas = left.ok_or(TrapKind::Meter)?;
        Ok(())
    }

    fn dup(&mut self, below: usize) {
        let words = &mut self.frame().words;
        words.push(words[words.len() - 1 - below].clone());
    }

    fn swap(&mut self, below: usize) {
        let words = &mut self.frame().words;
        let top = words.len() - 1;
        words.swap(top, top - below);
    }

    /// Rows 0x20 to 0x5F, at the width of the prefix or of the module.
    fn integer(&mut self, inst: &Inst) -> Result<(), Fault> {
        let bits = inst.prefix.map_or(self.bits, |prefix| prefix.bits());
        let count = inst.op.info().effect.map_or(0, |effect| effect.words_in as usize);
        let operands: Vec<BigUint> = self.pop_many(count).iter().map(|word| truncate(word, bits)).collect();
        let results = integer(inst.op, bits, &operands, [inst.a, inst.b.into()])?;
        self.charge(dynamic_gas(inst.op, bits, &operands))?;
        self.frame().words.extend(results);
        Ok(())
    }

    /// Row 0xB0, on binary32 behind W32 and in 32-bit modules, else on binary64.
    fn float(&mut self, inst: &Inst) -> Result<(), Fault> {
        let format = if inst.prefix.is_some() || self.bits == 32 { BINARY32 } else { BINARY64 };
        let count = inst.op.info().effect.map_or(0, |effect| effect.words_in as usize);
        let operands = self.pop_many(count);
        let result = float(inst.op, format, self.bits, &operands, inst.a)?;
        self.push(result);
        Ok(())
    }

    fn load(&mut self, offset: u64, format: Format) -> Result<(), Fault> {
        let address = self.pop();
        let value = self.memory.load(&address, offset, format)?;
        let is_signed = format.is_signed;
        self.push(if is_signed { wrap(&signed(&value, 8 * format.bytes as u32), self.bits) } else { value });
        Ok(())
    }

    fn store(&mut self, offset: u64, format: Format) -> Result<(), Fault> {
        let (value, address) = (self.pop(), self.pop());
        self.memory.store(&address, offset, &value, format)?;
        Ok(())
    }

    /// XCALL.
    fn contract_call(&mut self, flags: u64) -> Result<(), Fault> {
        let (input, contract) = (self.pop_ref(), self.pop_ref());
        let (value, wanted) = (self.pop(), self.pop());
        let Value::Bytes(contract) = contract else { return Err(TrapKind::Kind.into()) };
        let input = match input {
            Value::Bytes(input) => input.bytes.clone(),
            Value::Null => Bytes::new(),
            _ => return Err(TrapKind::Kind.into()),
        };
        self.charge(gas::copy((contract.bytes.len() + input.len()) as u64))?;
        let request = CallRequest {
            flags: flags as u8,
            gas: wanted.to_u64().unwrap_or(u64::MAX).min(self.gas.left()),
            guest_gas: self.guest_gas,
            value: to_w512(&value),
            contract: contract.bytes.clone(),
            input,
            pages: self.all_pages(),
            heap_bytes: self.reachable(),
        };
        let answer = self.host.call(&request)?;
        self.charge(answer.gas_used)?;
        self.guest_gas -= answer.guest_gas_used;
        self.push_new(answer.output.map_or(Value::Null, Value::bytes))?;
        self.push(answer.status as u32);
        Ok(())
    }

    /// XCREATE.
    fn contract_create(&mut self) -> Result<(), Fault> {
        let (code, salt) = (self.pop_ref(), self.pop());
        let Value::Bytes(code) = code else { return Err(TrapKind::Kind.into()) };
        let (is_new, name) = self.host.contract_create(&salt.to_bytes_be(), &code.bytes, &mut self.gas)?;
        self.push_new(name.map_or(Value::Null, Value::bytes))?;
        self.push(u32::from(is_new));
        Ok(())
    }

    /// ENV.
    fn env(&mut self, field: u64) -> Result<(), Fault> {
        let field = EnvField::from_code(field).ok_or(TrapKind::Index)?;
        match self.host.env().get(field, self.bits) {
            EnvValue::Word(word) if word.bit_len() > self.bits as usize => Err(TrapKind::Overflow.into()),
            EnvValue::Word(word) => {
                self.push(from_w512(&word));
                Ok(())
            }
            EnvValue::Bytes(bytes) => self.push_new(Value::bytes(bytes)),
        }
    }
}
