//! Lowering: stack code to the register form, one linear pass over the verified instructions.
//!
//! Within a block the operand stack is kept symbolically: an entry is a value in its canonical slot, a local, or a
//! constant, and pushes emit nothing. Before a block ends everything is brought to its canonical slot. Two
//! fusions are made on the fly: a result that is stored to a local at once is computed there, and a comparison
//! that is branched on at once becomes a compare-and-jump.

mod control;
mod integer;
mod values;

use std::borrow::Cow;

use dotvm_arch::{W512, Word};
use dotvm_core::decode::{Decoded, Inst as Source};
use dotvm_core::env::EnvField;
use dotvm_core::host_call::HostCall;
use dotvm_core::integer::IntegerFn;
use dotvm_core::module::{Handler, Module, Signature};
use dotvm_core::opcode::{Flow, Op};
use dotvm_core::trap::SHOWN_ENTRIES;
use dotvm_core::verify::{Block, Body, Verified, VerifiedFunction};
use hashbrown::HashMap;

use crate::inst::{Inst, Slot};
use crate::lower::control::Patch;
use crate::lower::integer::operation;
use crate::lower::values::{Near, Operand, Value};
use crate::machine::Place;
use crate::program::{Lowered, LoweredFunction, LoweredHandler, Operation};

/// A module that verifies but is too large for the register form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// More than 65,536 different pairs of rare immediates.
    #[error("the module uses more than 65,536 different pairs of immediates")]
    TooManyImmediates,
    /// More than 65,536 different rare operations, or the same with other immediates.
    #[error("the module uses more than 65,536 different operations with their immediates")]
    TooManyOperations,
    /// More than 2^31 instructions.
    #[error("the module has more than 2,147,483,647 instructions")]
    TooManyInstructions,
}

/// The pair that most operations have, at index 0.
const NO_IMMEDIATES: [u64; 2] = [0, 0];

/// Where lowering put the constants and immediates that it met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interned {
    /// Constants that are not the module's.
    constants: HashMap<i64, u32>,
    immediates: HashMap<[u64; 2], u16>,
    operations: HashMap<Operation, u16>,
}

/// Which source instructions a function's register form comes from.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// For each instruction the index of the source instruction that it was emitted for.
    pub origin: Vec<u32>,
    /// Where control is transferred to, ascending: index of the instruction, index of the source instruction.
    pub entries: Vec<(u32, u32)>,
}

/// A function to be lowered.
#[derive(Clone, Copy)]
struct Function<'a> {
    module: &'a Module,
    index: u32,
    code: &'a Decoded,
    verified: &'a VerifiedFunction,
}

/// Lowers the functions of a module, one after the other.
pub(crate) struct Lowerer<'a, W> {
    out: Lowered<W>,
    interned: Cow<'a, Interned>,
    /// The signature of each function: calls ask for it in no order, and these are close together.
    signature_of: Vec<u16>,
    host_calls: Vec<HostCall>,
    /// The jump maps of each window function.
    maps_of: HashMap<u32, Vec<usize>>,
    /// Where control is transferred to, ascending, and at what cost.
    entries: Vec<(u32, u32)>,
    /// What was emitted for what, if that is asked for.
    trace: Option<Trace>,

    // The current function
    /// Number of word locals: the first canonical slot.
    base: Slot,
    is_window: bool,
    /// Code index of each block that was emitted, at the index of its first instruction; elsewhere what earlier
    /// functions left.
    code_at: Vec<u32>,
    patches: Vec<(Patch, u32)>,

    // The current block
    /// Index of the source instruction.
    origin: u32,
    /// The symbolic operand stack; from `top` on all entries are canonical.
    stack: Vec<Value>,
    /// Number of entries.
    top: usize,
    /// Below this entry all are canonical.
    first: usize,
    /// Position of the stack entry that the last instruction emitted computed, if it is still there and canonical.
    producer: usize,
    /// Number of references of the frame, locals included.
    refs: Slot,
    /// Index of the instruction of this block that last copied a reference.
    copied: usize,
    /// Index of the instruction of this block that last moved a local to the stack.
    taken: usize,
    /// Whether the function has handlers.
    has_handlers: bool,
    /// The source instruction before which it is to be noted where the entries of the stacks are.
    asked: u32,
    /// Where they are.
    held: Option<Held>,
}

/// No position of the stack.
const NOWHERE: usize = usize::MAX;

/// A word of the module's width from the carrier of any width.
pub(crate) fn word_from<W: Word>(word: W512) -> W {
    W::from_limb_fn(|limb| word.as_limbs()[limb])
}

/// Traces the register form of a function of a lowered module: lowers it again, which takes memory and time only when
/// somebody asks.
pub(crate) fn trace<W: Word>(verified: &Verified, lowered: &Lowered<W>, index: u32, body: &Body) -> Trace {
    let mut lowerer =
        Lowerer::new(verified.module(), Lowered::<W>::default(), Cow::Borrowed(&lowered.interned));
    lowerer.trace = Some(Trace::default());
    let function = &verified.functions()[index as usize];
    lowerer
        .function(verified.module(), index, body, function)
        .expect("what was lowered before is lowered again");
    lowerer.trace.take().unwrap_or_default()
}

/// Where the top entries of the stacks are before a source instruction.
#[derive(Default)]
pub(crate) struct Held {
    /// The topmost first, at most [`SHOWN_ENTRIES`].
    pub words: Vec<HeldWord>,
    /// Entries of the word stack; in window functions those from slot 0 on.
    pub word_height: usize,
    /// The topmost first, at most [`SHOWN_ENTRIES`]: its place in the frame, and where else it is found if that is null,
    /// because the instruction takes it from there.
    pub refs: Vec<(usize, Option<usize>)>,
    /// Entries of the reference stack.
    pub ref_height: usize,
    pub is_window: bool,
}

/// Where a word is.
#[derive(Clone, Copy)]
pub(crate) enum HeldWord {
    /// In this slot of the frame.
    Slot(usize),
    /// It is this number.
    Imm(i64),
    /// It is this constant.
    Const(usize),
}

/// Where the top entries of the stacks are at a place.
pub(crate) fn held<W: Word>(verified: &Verified, lowered: &Lowered<W>, place: Place) -> Held {
    let (function, inst, body) = source_of(verified, lowered, place);
    let module = verified.module();
    let mut lowerer = Lowerer::new(module, Lowered::<W>::default(), Cow::Borrowed(&lowered.interned));
    lowerer.asked = inst;
    lowerer
        .function(module, function, &body, &verified.functions()[function as usize])
        .expect("what was lowered before is lowered again");
    lowerer.held.unwrap_or_default()
}

/// The function that a place belongs to, and the index of the source instruction there.
fn source_of<W: Word>(verified: &Verified, lowered: &Lowered<W>, place: Place) -> (u32, u32, Body) {
    let (Place::Inst(index) | Place::Entry(index)) = place;
    let function = lowered.function_at(index);
    let body = verified.body(function as u32);
    let trace = trace(verified, lowered, function as u32, &body);
    let at = index - lowered.functions[function].entry as usize;
    let inst = match place {
        Place::Inst(_) => trace.origin[at],
        Place::Entry(_) => {
            let entry = trace.entries.partition_point(|entry| entry.0 as usize <= at) - 1;
            trace.entries[entry].1
        }
    };
    (function as u32, inst, body)
}

/// The function that a place belongs to, and the byte offset of the source instruction there.
pub(crate) fn locate<W: Word>(verified: &Verified, lowered: &Lowered<W>, place: Place) -> (u32, u32) {
    let (function, inst, body) = source_of(verified, lowered, place);
    (function, body.code.insts.get(inst as usize).map_or(0, |inst| inst.offset))
}

/// How many words and references a frame holds, locals included, when control is transferred to a place; `None` for
/// other places.
pub(crate) fn heights<W: Word>(
    verified: &Verified,
    lowered: &Lowered<W>,
    place: Place,
) -> Option<(usize, usize)> {
    let Place::Entry(_) = place else { return None };
    let (function, inst, body) = source_of(verified, lowered, place);
    let shape = &lowered.functions[function as usize];
    let source = &verified.module().functions[function as usize];
    let block = body.blocks.binary_search_by_key(&inst, |block| block.start).ok()?;
    let block = &body.blocks[block];
    let words = (shape.words_in + shape.word_locals) as usize + block.words as usize;
    Some((words, (shape.refs_in + source.ref_locals) as usize + block.refs as usize))
}

impl<W: Word> Lowerer<'_, W> {
    /// Nothing lowered yet of a module whose tables are verified.
    pub fn of_module(module: &Module) -> Lowerer<'static, W> {
        let bytes: usize = module.functions.iter().map(|function| function.code.len()).sum();
        let mut lowerer = Lowerer::new(
            module,
            Lowered {
                code: Vec::with_capacity(bytes + 2),
                functions: Vec::with_capacity(module.functions.len()),
                constants: module.word_constants.iter().map(|word| word_from::<W>(*word)).collect(),
                immediates: vec![NO_IMMEDIATES],
                operations: Vec::new(),
                tables: Vec::new(),
                maps: vec![HashMap::new(); module.jump_maps.len()],
                handlers: Vec::new(),
                interned: Interned::default(),
                used: 0,
            },
            Cow::Owned(Interned::default()),
        );
        for (index, map) in module.jump_maps.iter().enumerate() {
            lowerer.maps_of.entry(map.function).or_default().push(index);
        }
        lowerer.emit(Inst::Exit);
        lowerer
    }
}

impl<'a, W: Word> Lowerer<'a, W> {
    fn new(module: &Module, out: Lowered<W>, interned: Cow<'a, Interned>) -> Lowerer<'a, W> {
        Lowerer {
            out,
            interned,
            // The verifier saw to it that no module has more signatures.
            signature_of: module.functions.iter().map(|function| function.signature as u16).collect(),
            host_calls: module.host_calls.clone(),
            maps_of: HashMap::new(),
            entries: Vec::new(),
            trace: None,
            base: 0,
            is_window: false,
            code_at: Vec::new(),
            patches: Vec::new(),
            origin: 0,
            stack: Vec::new(),
            top: 0,
            first: 0,
            producer: NOWHERE,
            refs: 0,
            copied: NOWHERE,
            taken: NOWHERE,
            has_handlers: false,
            asked: u32::MAX,
            held: None,
        }
    }

    /// For functions that are added to a module whose others are lowered: their code begins at 0, the tables are those
    /// that are there already.
    pub fn of_more(module: &Module, lowered: &mut Lowered<W>) -> Lowerer<'static, W> {
        let out = Lowered {
            constants: std::mem::take(&mut lowered.constants),
            immediates: std::mem::take(&mut lowered.immediates),
            operations: std::mem::take(&mut lowered.operations),
            ..Lowered::default()
        };
        Lowerer::new(module, out, Cow::Owned(std::mem::take(&mut lowered.interned)))
    }

    /// Gives back what [`Lowerer::of_more`] took; answers the functions that were added, and what entering their code
    /// costs where.
    pub fn give_back(self, lowered: &mut Lowered<W>) -> (Lowered<W>, Vec<(u32, u32)>) {
        let mut out = self.out;
        lowered.constants = std::mem::take(&mut out.constants);
        lowered.immediates = std::mem::take(&mut out.immediates);
        lowered.operations = std::mem::take(&mut out.operations);
        lowered.interned = self.interned.into_owned();
        (out, self.entries)
    }

    /// The register form, when all functions are lowered.
    pub fn finish(mut self) -> Result<Lowered<W>, LowerError> {
        let code = &mut self.out.code;
        let count = code.len();
        if count > i32::MAX as usize {
            return Err(LowerError::TooManyInstructions);
        }
        code.resize(2 * count, Inst::Gas { cost: 0 });
        for (at, cost) in self.entries {
            code[count + at as usize] = Inst::Gas { cost };
        }
        self.out.interned = self.interned.into_owned();
        self.out.used = count;
        Ok(self.out)
    }

    /// Lowers the next function, which is verified.
    #[inline(never)]
    pub fn function(
        &mut self,
        module: &Module,
        index: u32,
        body: &Body,
        verified: &VerifiedFunction,
    ) -> Result<(), LowerError> {
        let function = &module.functions[index as usize];
        let signature = module.signature_of(index);
        self.is_window = function.window > 0;
        self.has_handlers = !module.handlers_of(index).is_empty();
        self.base = if self.is_window { 0 } else { signature.words_in + function.word_locals };
        self.out.functions.push(LoweredFunction {
            entry: self.out.code.len() as u32,
            frame_words: verified.frame_words,
            frame_refs: verified.frame_refs,
            words_in: signature.words_in,
            words_out: signature.words_out,
            refs_in: signature.refs_in,
            refs_out: signature.refs_out,
            word_locals: function.word_locals,
            window: function.window,
        });
        let Body { code, blocks } = body;
        if self.code_at.len() < code.insts.len() {
            self.code_at.resize(code.insts.len(), 0);
        }
        let ref_locals = signature.refs_in + function.ref_locals;
        let function = Function { module, index, code, verified };
        for (number, block) in blocks.iter().enumerate() {
            self.refs = ref_locals + block.refs as Slot;
            self.block(&function, block, blocks.get(number + 1))?;
        }
        self.set_targets();
        if self.is_window {
            self.set_map_targets(module, index, code);
        }
        self.set_handlers(module.handlers_of(index), code, ref_locals);
        Ok(())
    }

    fn set_map_targets(&mut self, module: &Module, index: u32, code: &Decoded) {
        for &map in self.maps_of.get(&index).into_iter().flatten() {
            for &(address, offset) in &module.jump_maps[map].entries {
                let target = code.index_of(offset).expect("the verifier checked the entries of jump maps");
                self.out.maps[map].insert(address, self.code_at[target as usize]);
            }
        }
    }

    /// The handlers of the function: their borders are borders of blocks.
    fn set_handlers(&mut self, handlers: &[Handler], code: &Decoded, ref_locals: Slot) {
        let first = self.out.handlers.len();
        let at = |offset| match code.index_of(offset) {
            Some(inst) => self.code_at[inst as usize],
            None => self.out.code.len() as u32,
        };
        let mut lowered: Vec<LoweredHandler> = Vec::with_capacity(handlers.len());
        for handler in handlers {
            let (start, end) = (at(handler.from), at(handler.to));
            // Outwards from the one before; equal ranges are each other's neighbours.
            let mut outer = lowered.len().checked_sub(1);
            while let Some(index) = outer.filter(|&index| lowered[index].end <= start) {
                outer = (lowered[index].outer as usize).checked_sub(first).filter(|&outer| outer < index);
            }
            lowered.push(LoweredHandler {
                start,
                end,
                target: at(handler.target),
                kinds: handler.kinds,
                code_slot: self.base + handler.words,
                payload_slot: ref_locals + handler.refs,
                outer: outer.map_or(LoweredHandler::OUTERMOST, |index| (first + index) as u32),
            });
        }
        self.out.handlers.extend(lowered);
    }

    #[inline(always)]
    fn block(&mut self, function: &Function, block: &Block, next: Option<&Block>) -> Result<(), LowerError> {
        let source = &function.code.insts[..];
        let start = self.out.code.len();
        let end = next.map_or(source.len(), |next| next.start as usize);
        self.origin = block.start;
        self.code_at[block.start as usize] = start as u32;
        self.enter_here(block.start, block.gas);
        self.set_top(block.words as usize);
        self.first = self.top;
        self.producer = NOWHERE;
        self.copied = NOWHERE;
        self.taken = NOWHERE;
        for inst in &source[block.start as usize..end] {
            if self.origin == self.asked {
                self.note_held(function);
            }
            self.inst(function, inst)?;
            self.origin += 1;
        }
        self.origin = end as u32 - 1;
        let last = source[end - 1].op;
        let flow = last.flow();
        if matches!(flow, Flow::Next | Flow::NextBlock | Flow::Branch) {
            self.flush();
            let next_cost = next.map_or(0, |next| next.gas);
            // Behind an operation that is a transfer of control, what is entered is paid as it is reached.
            if flow == Flow::NextBlock && !matches!(last, Op::Call | Op::Calli | Op::Nock) {
                self.emit(Inst::Gas { cost: next_cost });
            }
            if self.is_window && source.get(end).is_some_and(|inst| inst.op == Op::Blk) {
                // Behind a call or branch, control is transferred to the Shift.
                if flow != Flow::Next {
                    self.enter_here(end as u32, next_cost);
                }
                self.emit(Inst::Shift { by: self.top as u16 });
            }
        } else {
            self.forget();
        }
        if self.out.code.len() == start {
            // Two blocks that are entered at different costs need two places.
            self.emit(Inst::Gas { cost: 0 });
        }
        Ok(())
    }

    /// Notes where the top entries of the stacks are.
    #[cold]
    #[inline(never)]
    fn note_held(&mut self, function: &Function) {
        let locals = function.module.functions[function.index as usize].ref_locals;
        let first_ref = (function.module.signature_of(function.index).refs_in + locals) as usize;
        let word = |position: usize| match self.stack.get(position).filter(|_| position >= self.first) {
            None | Some(Value::Canonical) => HeldWord::Slot(self.canonical(position) as usize),
            Some(Value::Local(local)) => HeldWord::Slot(*local as usize),
            Some(Value::Imm(number)) => HeldWord::Imm(*number),
            Some(Value::Const(constant)) => HeldWord::Const(*constant as usize),
        };
        let original = match self.out.code.last() {
            Some(Inst::RefCopy { d, a } | Inst::RefMove { d, a }) if *d + 1 == self.refs => Some(*a as usize),
            _ => None,
        };
        let top = self.refs as usize;
        let reference = |place: usize| (place, original.filter(|_| place + 1 == top));
        self.held = Some(Held {
            words: (0..self.top).rev().take(SHOWN_ENTRIES).map(word).collect(),
            word_height: self.top,
            refs: (first_ref..top).rev().take(SHOWN_ENTRIES).map(reference).collect(),
            ref_height: top.saturating_sub(first_ref),
            is_window: self.is_window,
        });
    }

    // Emission

    fn emit(&mut self, inst: Inst) {
        self.producer = NOWHERE;
        self.out.code.push(inst);
        if let Some(trace) = &mut self.trace {
            trace.origin.push(self.origin);
        }
    }

    /// Emits an instruction that computes the value to be pushed into its canonical slot, and pushes it.
    fn emit_result(&mut self, make: impl FnOnce(Slot) -> Inst) {
        let position = self.top;
        self.emit(make(self.canonical(position)));
        self.push_canonical();
        self.producer = position;
    }

    /// Takes back the last instruction.
    fn retract(&mut self) {
        self.out.code.pop();
        if let Some(trace) = &mut self.trace {
            trace.origin.pop();
        }
        self.producer = NOWHERE;
    }

    /// Control may be transferred to the next instruction, which stands for a source instruction, at a cost.
    fn enter_here(&mut self, inst: u32, cost: u32) {
        let at = self.out.code.len() as u32;
        self.entries.push((at, cost));
        if let Some(trace) = &mut self.trace {
            trace.entries.push((at, inst));
        }
    }

    fn constant(&mut self, value: i64) -> u32 {
        if let Some(&index) = self.interned.constants.get(&value) {
            return index;
        }
        let index = self.out.constants.len() as u32;
        self.out.constants.push(W::from_i64(value));
        self.interned.to_mut().constants.insert(value, index);
        index
    }

    fn immediates(&mut self, inst: &Source) -> Result<u16, LowerError> {
        let pair = [inst.a, inst.b as u64];
        if pair == NO_IMMEDIATES {
            return Ok(0);
        }
        if let Some(&index) = self.interned.immediates.get(&pair) {
            return Ok(index);
        }
        let index = u16::try_from(self.out.immediates.len()).map_err(|_| LowerError::TooManyImmediates)?;
        self.out.immediates.push(pair);
        self.interned.to_mut().immediates.insert(pair, index);
        Ok(index)
    }

    fn operation(&mut self, inst: &Source) -> Result<u16, LowerError> {
        let operation = Operation { a: inst.a, b: inst.b, op: inst.op };
        if let Some(&index) = self.interned.operations.get(&operation) {
            return Ok(index);
        }
        let index = u16::try_from(self.out.operations.len()).map_err(|_| LowerError::TooManyOperations)?;
        self.out.operations.push(operation);
        self.interned.to_mut().operations.insert(operation, index);
        Ok(index)
    }

    // Instructions

    #[inline(always)]
    fn inst(&mut self, function: &Function, inst: &Source) -> Result<(), LowerError> {
        if inst.prefix.is_some() {
            return if inst.op.is_float() { self.in_place_float(inst) } else { self.in_place_integer(inst) };
        }
        let top = self.top;
        match inst.op {
            Op::Nop | Op::Break => {}
            Op::Push => self.push(Value::Imm(inst.a as i64)),
            Op::Pushc => self.push(Value::Const(inst.a as u32)),
            Op::Pop => self.drop_values(1),
            Op::Popn => self.drop_values(inst.a as usize),
            Op::Dup => self.copy(top - 1),
            Op::Dupn => self.copy(top - 1 - inst.a as usize),
            Op::Swap => self.exchange(1),
            Op::Swapn => self.exchange(inst.a as usize),
            Op::Rot => self.rotate(inst.a as usize),
            Op::Select => {
                self.settle(top - 3);
                let (b, c) = (self.slot(top - 2), self.slot(top - 1));
                self.drop_values(3);
                self.emit_result(|d| Inst::Select { d, b, c });
            }
            Op::Lget => self.push(Value::Local(inst.a as Slot)),
            Op::Lset => self.set_local(inst.a as Slot, false),
            Op::Ltee => self.set_local(inst.a as Slot, true),
            Op::Gget => self.emit_result(|d| Inst::GlobalGet { d, g: inst.a as u16 }),
            Op::Gset => {
                let a = self.slot(top - 1);
                self.drop_values(1);
                self.emit(Inst::GlobalSet { g: inst.a as u16, a });
            }

            Op::Add => self.add(),
            Op::Addi => self.add_immediate(inst.a as i64),
            Op::Sub => self.subtract(),
            Op::Mul => operation!(self, commutative_operands, MulR MulI MulK),
            Op::And => operation!(self, commutative_operands, AndR AndI AndK),
            Op::Or => operation!(self, commutative_operands, OrR OrI OrK),
            Op::Xor => operation!(self, commutative_operands, XorR XorI XorK),
            Op::Div => operation!(self, slot_operands, DivR),
            Op::Mod => operation!(self, slot_operands, ModR),
            Op::Shl => operation!(self, shift_operands, ShlR ShlI),
            Op::Shr => operation!(self, shift_operands, ShrR ShrI),
            Op::Sar => operation!(self, shift_operands, SarR SarI),
            Op::Not => self.unary(|d, a| Inst::Not { d, a }),
            // Two shifts and a mask take less time than the way to a function.
            Op::Sext if (1..u64::from(W::BITS)).contains(&inst.a) => {
                let imm = (u64::from(W::BITS) - inst.a) as i16;
                self.unary(|d, a| Inst::ShlI { d, a, imm });
                self.unary(|d, a| Inst::SarI { d, a, imm });
            }
            Op::Zext if inst.a < u64::from(W::BITS).min(63) => {
                self.push(Value::Imm((1 << inst.a) - 1));
                operation!(self, commutative_operands, AndR AndI AndK);
            }
            Op::Eq => operation!(self, equality_operands, EqR EqI),
            Op::Ne => operation!(self, equality_operands, NeR NeI),
            Op::Lt => operation!(self, comparison_operands, LtR LtI),
            Op::Ge => operation!(self, comparison_operands, GeR GeI),
            Op::Slt => operation!(self, comparison_operands, SltR SltI),
            Op::Sge => operation!(self, comparison_operands, SgeR SgeI),
            // x > c is x ≥ c + 1 and x ≤ c is x < c + 1.
            Op::Gt => operation!(self, exchanged_operands, LtR GeI),
            Op::Le => operation!(self, exchanged_operands, GeR LtI),
            Op::Sgt => operation!(self, exchanged_operands, SltR SgeI),
            Op::Sle => operation!(self, exchanged_operands, SgeR SltI),
            Op::Eqz => self.unary(|d, a| Inst::EqI { d, a, imm: 0 }),

            Op::Fadd => operation!(self, slot_operands, FaddR),
            Op::Fsub => operation!(self, slot_operands, FsubR),
            Op::Fmul => operation!(self, slot_operands, FmulR),
            Op::Fdiv => operation!(self, slot_operands, FdivR),
            Op::Fsqrt => self.unary(|d, a| Inst::Fsqrt { d, a }),
            Op::Flt => operation!(self, slot_operands, FltR),
            Op::Fle => operation!(self, slot_operands, FleR),

            Op::Load8 | Op::Load16 | Op::Load32 | Op::Load64 | Op::Load if inst.a <= u16::MAX as u64 => {
                let off = inst.a as u16;
                self.unary(|d, p| match inst.op {
                    Op::Load8 => Inst::Load8 { d, p, off },
                    Op::Load16 => Inst::Load16 { d, p, off },
                    Op::Load32 => Inst::Load32 { d, p, off },
                    Op::Load64 => Inst::Load64 { d, p, off },
                    _ => Inst::LoadW { d, p, off },
                });
            }
            Op::Store8 | Op::Store16 | Op::Store32 | Op::Store64 | Op::Store if inst.a <= u16::MAX as u64 => {
                let p = self.slot(top - 2);
                let off = inst.a as u16;
                let value = self.near_operand(top - 1);
                self.drop_values(2);
                self.emit(match (inst.op, value) {
                    (Op::Store8, Near::Imm(imm)) => Inst::Store8I { p, imm, off },
                    (Op::Store16, Near::Imm(imm)) => Inst::Store16I { p, imm, off },
                    (Op::Store32, Near::Imm(imm)) => Inst::Store32I { p, imm, off },
                    (Op::Store64, Near::Imm(imm)) => Inst::Store64I { p, imm, off },
                    (_, Near::Imm(imm)) => Inst::StoreWI { p, imm, off },
                    (Op::Store8, Near::Slot(a)) => Inst::Store8 { p, a, off },
                    (Op::Store16, Near::Slot(a)) => Inst::Store16 { p, a, off },
                    (Op::Store32, Near::Slot(a)) => Inst::Store32 { p, a, off },
                    (Op::Store64, Near::Slot(a)) => Inst::Store64 { p, a, off },
                    (_, Near::Slot(a)) => Inst::StoreW { p, a, off },
                });
            }

            Op::Jmp => {
                self.flush();
                self.leave_window();
                self.emit_jump(Inst::Jump { to: 0 }, inst.a as u32);
            }
            Op::Jz => self.branch(inst, false),
            Op::Jnz => self.branch(inst, true),
            Op::Jtab => self.jump_table(function.code.table(inst)),
            Op::Jmap => {
                let a = self.slot(top - 1);
                self.drop_values(1);
                self.flush();
                self.emit(Inst::JumpMapped { a, map: inst.a as u16, by: self.top as u16 });
            }
            Op::Blk => self.emit(Inst::Block { need: inst.a as u16, grow: inst.b as u16 }),
            Op::Call => {
                let callee = self.callee(function.module, inst);
                self.flush();
                let (w, r) = self.call(callee, callee.words_in);
                self.emit(Inst::Call { w, r, f: inst.a as u16 });
            }
            Op::Calli => {
                let callee = function.module.signatures[inst.a as usize];
                let x = self.immediates(inst)?;
                self.flush();
                let (w, r) = self.call(callee, callee.words_in + 1);
                self.emit(Inst::CallIndirect { w, r, x });
            }
            Op::Tcall => {
                let callee = self.callee(function.module, inst);
                self.flush();
                let (w, r) = self.call(callee, callee.words_in);
                self.emit(Inst::TailCall { w, r, f: inst.a as u16 });
            }
            Op::Rlget => self.copy_ref(inst.a as Slot),
            Op::Rdup => self.copy_ref(self.refs - 1 - inst.a as Slot),
            Op::Nock | Op::Tnock => {
                self.flush();
                self.refs -= 2;
                let (w, r) = (self.canonical(self.top), self.refs);
                self.emit(if inst.op == Op::Nock { Inst::Nock { w, r } } else { Inst::TailNock { w, r } });
                self.refs += u16::from(inst.op == Op::Nock);
            }
            Op::Rgget => {
                self.emit(Inst::RefGlobal { d: self.refs, g: inst.a as u32 });
                self.refs += 1;
            }
            Op::Rnull => {
                self.emit(Inst::RefNull { d: self.refs });
                self.refs += 1;
            }
            Op::Rlset if self.is_taken(inst.a as Slot) => {
                self.retract();
                self.retract();
                self.refs -= 1;
                self.copied = NOWHERE;
                self.taken = self.out.code.len();
                self.emit(Inst::RefMove { d: self.refs - 1, a: inst.a as Slot });
            }
            Op::Rlset if self.is_incremented(inst.a as Slot) => {
                // It may end the run where RINC stands.
                let origin = self.origin;
                if let Some(trace) = &self.trace {
                    self.origin = trace.origin.last().copied().unwrap_or(origin);
                }
                self.retract();
                self.retract();
                self.refs -= 1;
                self.emit(Inst::IncrementLocal { a: inst.a as Slot });
                self.origin = origin;
            }
            Op::Rlset => {
                self.refs -= 1;
                self.emit(Inst::RefMove { d: inst.a as Slot, a: self.refs });
            }
            Op::Rpop => {
                self.refs -= 1;
                self.emit(Inst::RefDrop { a: self.refs });
            }
            Op::Cons => {
                self.refs -= 1;
                self.emit(Inst::Cons { r: self.refs - 1 });
            }
            Op::Head | Op::Tail | Op::Axis if inst.a <= u16::MAX as u64 && self.is_copied() => {
                self.part_of_original(inst);
            }
            Op::Head => self.emit(Inst::Head { r: self.refs - 1 }),
            Op::Tail => self.emit(Inst::Tail { r: self.refs - 1 }),
            Op::Iscell => {
                self.refs -= 1;
                let r = self.refs;
                self.emit_result(|d| Inst::IsCell { d, r });
            }
            Op::Rinc if self.is_copied() => {
                let Some(&Inst::RefCopy { d, a }) = self.out.code.last() else {
                    unreachable!("a copy is the last instruction")
                };
                self.retract();
                self.copied = NOWHERE;
                self.emit(Inst::IncrementOf { d, a });
            }
            Op::Rinc => self.emit(Inst::Increment { r: self.refs - 1 }),
            Op::Req => {
                self.refs -= 2;
                let r = self.refs;
                self.emit_result(|d| Inst::RefEq { d, r });
            }
            Op::Ret => self.ret(function),
            // Integer operations without an instruction of their own.
            _ if (0x20..0x60).contains(&(inst.op as u16)) => return self.in_place_integer(inst),
            Op::Spawn => {
                let callee = function.module.signature_of(inst.b);
                return self.in_place_with(inst, (callee.words_in as u32 + 1, 1, callee.refs_in as u32, 0));
            }
            op if op.is_float() => return self.in_place_float(inst),
            _ => return self.in_place(inst),
        }
        Ok(())
    }

    /// The signature of the function that a call names.
    fn callee(&self, module: &Module, call: &Source) -> Signature {
        module.signatures[self.signature_of[call.a as usize] as usize]
    }

    /// Copies a reference of the frame to the top.
    fn copy_ref(&mut self, a: Slot) {
        self.copied = self.out.code.len();
        self.emit(Inst::RefCopy { d: self.refs, a });
        self.refs += 1;
    }

    /// Whether the last instruction copied the top reference there.
    fn is_copied(&self) -> bool {
        self.copied != NOWHERE && self.copied + 1 == self.out.code.len()
    }

    /// Whether RLSET follows RLGET of the same local and RNULL: then the reference only moves.
    fn is_taken(&self, local: Slot) -> bool {
        let code = &self.out.code;
        self.copied != NOWHERE
            && self.copied + 2 == code.len()
            && code[self.copied] == (Inst::RefCopy { d: self.refs - 2, a: local })
            && code[self.copied + 1] == (Inst::RefNull { d: self.refs - 1 })
    }

    /// Whether RLSET puts back what was just taken from the local and incremented. If the increment traps, nobody can see
    /// that the local is not empty: there are no handlers.
    fn is_incremented(&self, local: Slot) -> bool {
        let (code, r) = (&self.out.code, self.refs - 1);
        self.taken != NOWHERE
            && self.taken + 2 == code.len()
            && code[self.taken] == (Inst::RefMove { d: r, a: local })
            && code[self.taken + 1] == (Inst::Increment { r })
            && !self.has_handlers
    }

    /// HEAD, TAIL or AXIS of what was copied just now: of the original, so that the whole is not counted for a moment.
    fn part_of_original(&mut self, inst: &Source) {
        let Some(&Inst::RefCopy { d, a }) = self.out.code.last() else {
            unreachable!("a copy is the last instruction")
        };
        self.retract();
        self.copied = NOWHERE;
        self.emit(match inst.op {
            Op::Head => Inst::HeadOf { d, a },
            Op::Tail => Inst::TailOf { d, a },
            _ => Inst::AxisOf { d, a, axis: inst.a as u16 },
        });
    }

    /// A word in, a word out.
    fn unary(&mut self, make: impl FnOnce(Slot, Slot) -> Inst) {
        let a = self.slot(self.top - 1);
        self.drop_values(1);
        self.emit_result(|d| make(d, a));
    }

    fn in_place_integer(&mut self, inst: &Source) -> Result<(), LowerError> {
        let effect = inst.op.info().effect.expect("integer operations have fixed effects");
        let position = self.top - effect.words_in as usize;
        let x = self.immediates(inst)?;
        self.settle_from(position);
        let w = self.canonical(position);
        self.emit(match inst.prefix {
            Some(prefix) => Inst::Narrow { op: inst.op, prefix, w, x },
            None => Inst::Int { op: inst.op, w, x },
        });
        self.set_top(position + effect.words_out as usize);
        Ok(())
    }

    fn in_place_float(&mut self, inst: &Source) -> Result<(), LowerError> {
        let effect = inst.op.info().effect.expect("floating-point operations have fixed effects");
        let position = self.top - effect.words_in as usize;
        let x = self.immediates(inst)?;
        self.settle_from(position);
        let is_single = inst.prefix.is_some() || W::BITS < 64;
        self.emit(Inst::Float { op: inst.op, is_single, w: self.canonical(position), x });
        self.set_top(position + effect.words_out as usize);
        Ok(())
    }

    /// An operation on references, memory or the host, or of a page.
    fn in_place(&mut self, inst: &Source) -> Result<(), LowerError> {
        let effect = match (inst.op, inst.op.info().effect) {
            (_, Some(effect)) => (effect.words_in, effect.words_out, effect.refs_in, effect.refs_out),
            (Op::Zfn, _) => {
                let effect =
                    IntegerFn::from_code(inst.a).expect("the verifier checked the function").effect();
                (effect.words_in, effect.words_out, effect.refs_in, effect.refs_out)
            }
            (Op::RList, _) => (0, 0, inst.a as u32, 1),
            (Op::RUnlist, _) => (0, 0, 1, inst.a as u32),
            (Op::Rswap, _) => (0, 0, inst.a as u32 + 1, inst.a as u32 + 1),
            (Op::Emit, _) => (inst.a as u32, 0, 1, 0),
            (Op::Sys, _) => {
                let effect = self.host_calls[inst.a as usize].effect();
                (effect.words_in, effect.words_out, effect.refs_in, effect.refs_out)
            }
            (Op::Env, _) => {
                let is_word = EnvField::from_code(inst.a).is_some_and(|field| field.is_word());
                (0, is_word as u32, 0, !is_word as u32)
            }
            (op, _) => unreachable!("{op:?} is lowered elsewhere"),
        };
        self.in_place_with(inst, effect)
    }

    /// The same with these numbers of words in and out, and of references in and out.
    fn in_place_with(
        &mut self,
        inst: &Source,
        (words_in, words_out, refs_in, refs_out): (u32, u32, u32, u32),
    ) -> Result<(), LowerError> {
        let position = self.top - words_in as usize;
        let x = self.operation(inst)?;
        self.settle_from(position);
        let r = self.refs - refs_in as Slot;
        self.emit(Inst::Ext { w: self.canonical(position), r, x });
        self.set_top(position + words_out as usize);
        self.refs = r + refs_out as Slot;
        Ok(())
    }
}
