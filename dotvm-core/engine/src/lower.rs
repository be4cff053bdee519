//! Lowering: stack code to the register form, one linear pass over the verified instructions.
//!
//! Within a block the operand stack is kept symbolically: an entry is a value in its canonical slot, a local, or a
//! constant, and pushes emit nothing. Before a block ends everything is brought to its canonical slot. Two
//! fusions are made on the fly: a result that is stored to a local at once is computed there, and a comparison
//! that is branched on at once becomes a compare-and-jump.

use dotvm_arch::{W512, Word};
use dotvm_core::decode::{Decoded, Inst as Source};
use dotvm_core::module::Module;
use dotvm_core::opcode::{Flow, Op};
use dotvm_core::verify::{Block, VerifiedFunction};
use hashbrown::HashMap;

use crate::fusion::{fuse, retarget};
use crate::inst::{Inst, Slot};
use crate::program::{Entry, Lowered, LoweredFunction};

/// A module that verifies but is too large for the register form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// More than 65,536 different pairs of rare immediates.
    #[error("the module uses more than 65,536 different pairs of immediates")]
    TooManyImmediates,
    /// More than 2^31 instructions.
    #[error("the module has more than 2,147,483,647 instructions")]
    TooManyInstructions,
}

/// The pair that most operations have, at index 0.
const NO_IMMEDIATES: [u64; 2] = [0, 0];

/// An entry of the symbolic operand stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// In the canonical slot of its position.
    Canonical,
    /// In a local, unchanged since it was pushed.
    Local(Slot),
    /// A signed number.
    Imm(i64),
    /// A word constant.
    Const(u32),
}

/// A place in the code whose jump distance waits for the target.
enum Patch {
    /// The jump instruction at this index.
    Jump(usize),
    /// The entry of the jump tables at this index.
    Table(usize),
}

/// The second operand of a binary operation.
enum Operand {
    Slot(Slot),
    Imm(i16),
    Const(u16),
}

/// What lowering carries from function to function.
pub(crate) struct State<W> {
    out: Lowered<W>,
    added_constants: HashMap<i64, u32>,
    immediate_index: HashMap<[u64; 2], u16>,
    stack: Vec<Value>,
    /// Code index of each block of the current function that was emitted.
    block_starts: Vec<u32>,
    patches: Vec<(Patch, u32)>,
    /// The jump maps of each window function.
    maps_of: HashMap<u32, Vec<usize>>,
}

impl<W: Word> State<W> {
    /// Nothing lowered yet of a module whose tables are verified.
    pub fn new(module: &Module) -> State<W> {
        let bytes: usize = module.functions.iter().map(|function| function.code.len()).sum();
        let mut maps_of: HashMap<u32, Vec<usize>> = HashMap::new();
        for (index, map) in module.jump_maps.iter().enumerate() {
            maps_of.entry(map.function).or_default().push(index);
        }
        State {
            out: Lowered {
                code: Vec::with_capacity(bytes + 2),
                origin: Vec::with_capacity(bytes / 2 + 2),
                entries: Vec::with_capacity(bytes / 8),
                functions: Vec::with_capacity(module.functions.len()),
                constants: module.word_constants.iter().map(|word| word_from::<W>(*word)).collect(),
                immediates: vec![NO_IMMEDIATES],
                tables: Vec::new(),
                maps: vec![HashMap::new(); module.jump_maps.len()],
            },
            added_constants: HashMap::new(),
            immediate_index: HashMap::new(),
            stack: Vec::new(),
            block_starts: Vec::new(),
            patches: Vec::new(),
            maps_of,
        }
    }

    /// Lowers the next function, which is verified.
    pub fn function(
        &mut self,
        module: &Module,
        index: u32,
        code: &Decoded,
        source: &VerifiedFunction,
    ) -> Result<(), LowerError> {
        let mut lowerer = Lowerer {
            module,
            source,
            code,
            index,
            state: self,
            pending_locals: 0,
            base: 0,
            producer: None,
            origin: 0,
            is_window: false,
        };
        if lowerer.state.out.code.is_empty() {
            lowerer.emit(Inst::Exit);
        }
        lowerer.function()
    }

    /// The register form, when all functions are lowered.
    pub fn finish(mut self) -> Result<Lowered<W>, LowerError> {
        let Lowered { code, entries, .. } = &mut self.out;
        let count = code.len();
        if count > i32::MAX as usize {
            return Err(LowerError::TooManyInstructions);
        }
        code.resize(2 * count, Inst::Gas { cost: 0 });
        for entry in entries {
            code[count + entry.at as usize] = Inst::Gas { cost: entry.cost };
        }
        Ok(self.out)
    }
}

struct Lowerer<'a, W> {
    module: &'a Module,
    source: &'a VerifiedFunction,
    code: &'a Decoded,
    /// Index of the function.
    index: u32,
    state: &'a mut State<W>,
    /// Stack entries that are locals.
    pending_locals: usize,
    /// Number of word locals: the first canonical slot.
    base: Slot,
    /// The last instruction emitted and the stack position whose value it computed into its canonical slot.
    producer: Option<(usize, usize)>,
    /// Index of the source instruction.
    origin: u32,
    is_window: bool,
}

/// A word of the module's width from the carrier of any width.
pub(crate) fn word_from<W: Word>(word: W512) -> W {
    W::from_limb_fn(|limb| word.as_limbs()[limb])
}

impl<W: Word> Lowerer<'_, W> {
    fn function(&mut self) -> Result<(), LowerError> {
        let source = self.source;
        let function = &self.module.functions[self.index as usize];
        let signature = self.module.signature_of(self.index);
        self.is_window = function.window > 0;
        self.base = if self.is_window { 0 } else { signature.words_in + function.word_locals };
        self.state.out.functions.push(LoweredFunction {
            entry: self.state.out.code.len() as u32,
            frame_words: source.frame_words,
            frame_refs: source.frame_refs,
            words_in: signature.words_in,
            words_out: signature.words_out,
            refs_in: signature.refs_in,
            refs_out: signature.refs_out,
            word_locals: function.word_locals,
            window: function.window,
        });
        self.state.block_starts.clear();
        for (number, block) in source.blocks.iter().enumerate() {
            let end = source.blocks.get(number + 1).map_or(self.code.insts.len(), |next| next.start as usize);
            self.block(block, end)?;
        }
        for (patch, target) in std::mem::take(&mut self.state.patches) {
            let target = self.code_index(target);
            match patch {
                Patch::Jump(at) => self.set_distance(at, target),
                Patch::Table(at) => self.state.out.tables[at] = target,
            }
        }
        for map in self.state.maps_of.remove(&self.index).unwrap_or_default() {
            for &(address, offset) in &self.module.jump_maps[map].entries {
                let target =
                    self.code.index_of(offset).expect("the verifier checked the entries of jump maps");
                let at = self.code_index(target);
                self.state.out.maps[map].insert(address, at);
            }
        }
        Ok(())
    }

    /// The code index of the block that starts at a source instruction.
    fn code_index(&self, target: u32) -> u32 {
        self.state.block_starts[block_index(self.source, target)]
    }

    fn block(&mut self, block: &Block, end: usize) -> Result<(), LowerError> {
        let start = self.state.out.code.len();
        self.state.block_starts.push(start as u32);
        let cost = block.gas;
        self.state.out.entries.push(Entry { at: start as u32, inst: block.start, cost });
        self.state.stack.clear();
        self.state.stack.resize(block.words as usize, Value::Canonical);
        self.pending_locals = 0;
        self.producer = None;
        let mut refs = self.ref_base() + block.refs as Slot;
        let code = self.code;
        for (at, inst) in (block.start..).zip(&code.insts[block.start as usize..end]) {
            self.origin = at;
            self.inst(inst, &mut refs)?;
        }
        let last = self.code.insts[end - 1].op;
        let flow = last.flow();
        if matches!(flow, Flow::Next | Flow::NextBlock | Flow::Branch) {
            self.flush();
            let next = self.source.blocks.get(self.state.block_starts.len());
            let next_cost = next.map_or(0, |next| next.gas);
            if matches!(last, Op::Gas | Op::Meterq) {
                self.emit(Inst::Gas { cost: next_cost });
            }
            if self.falls_into_blk(end) {
                let at = self.emit(Inst::Shift { by: self.state.stack.len() as u16 });
                if flow != Flow::Next {
                    // Behind a call or branch, control is transferred to the Shift.
                    self.state.out.entries.push(Entry { at: at as u32, inst: end as u32, cost: next_cost });
                }
            }
        }
        if self.state.out.code.len() == start {
            // Two blocks that are entered at different costs need two places.
            self.emit(Inst::Gas { cost: 0 });
        }
        Ok(())
    }

    /// Number of reference locals: the first reference of the operand stack.
    fn ref_base(&self) -> Slot {
        self.module.signature_of(self.index).refs_in + self.module.functions[self.index as usize].ref_locals
    }

    fn falls_into_blk(&self, next: usize) -> bool {
        self.is_window && self.code.insts.get(next).is_some_and(|inst| inst.op == Op::Blk)
    }

    // Emission

    fn emit(&mut self, inst: Inst) -> usize {
        self.producer = None;
        self.state.out.code.push(inst);
        self.state.out.origin.push(self.origin);
        self.state.out.code.len() - 1
    }

    /// Emits an instruction that computes the value to be pushed into its canonical slot, and pushes it.
    fn emit_result(&mut self, make: impl FnOnce(Slot) -> Inst) {
        let position = self.state.stack.len();
        let d = self.canonical(position);
        let at = self.emit(make(d));
        self.state.stack.push(Value::Canonical);
        self.producer = Some((at, position));
    }

    /// The last instruction emitted, if it computed the value at a position.
    fn producer_of(&self, position: usize) -> Option<usize> {
        self.producer.filter(|producer| producer.1 == position).map(|producer| producer.0)
    }

    /// Takes back the last instruction.
    fn retract(&mut self) {
        self.state.out.code.pop();
        self.state.out.origin.pop();
        self.producer = None;
    }

    fn canonical(&self, position: usize) -> Slot {
        self.base + position as Slot
    }

    fn constant(&mut self, value: i64) -> u32 {
        let constants = &mut self.state.out.constants;
        *self.state.added_constants.entry(value).or_insert_with(|| {
            constants.push(W::from_i64(value));
            constants.len() as u32 - 1
        })
    }

    fn immediates(&mut self, a: u64, b: u64) -> Result<u16, LowerError> {
        if [a, b] == NO_IMMEDIATES {
            return Ok(0);
        }
        if let Some(&index) = self.state.immediate_index.get(&[a, b]) {
            return Ok(index);
        }
        let index =
            u16::try_from(self.state.out.immediates.len()).map_err(|_| LowerError::TooManyImmediates)?;
        self.state.out.immediates.push([a, b]);
        self.state.immediate_index.insert([a, b], index);
        Ok(index)
    }

    // The symbolic stack

    fn push(&mut self, value: Value) {
        self.pending_locals += matches!(value, Value::Local(_)) as usize;
        self.state.stack.push(value);
    }

    fn pop(&mut self) -> Value {
        let value = self.state.stack.pop().expect("the verifier checked the heights");
        self.pending_locals -= matches!(value, Value::Local(_)) as usize;
        if self.producer_of(self.state.stack.len()).is_some() {
            self.producer = None;
        }
        value
    }

    /// Emits the move of a value to a slot.
    fn load(&mut self, value: Value, d: Slot, position: usize) {
        let inst = match value {
            Value::Canonical => Inst::Mov { d, a: self.canonical(position) },
            Value::Local(a) => Inst::Mov { d, a },
            Value::Imm(imm) => match i32::try_from(imm) {
                Ok(imm) => Inst::LoadI { d, imm },
                Err(_) => Inst::LoadK { d, k: self.constant(imm) },
            },
            Value::Const(k) => Inst::LoadK { d, k },
        };
        if inst != (Inst::Mov { d, a: d }) {
            self.emit(inst);
        }
    }

    /// Brings the entry at a position to its canonical slot.
    fn settle(&mut self, position: usize) -> Slot {
        let d = self.canonical(position);
        let value = self.state.stack[position];
        if value != Value::Canonical {
            self.pending_locals -= matches!(value, Value::Local(_)) as usize;
            self.state.stack[position] = Value::Canonical;
            self.load(value, d, position);
        }
        d
    }

    /// Brings the entries from a position on to their canonical slots.
    fn settle_from(&mut self, position: usize) {
        for position in position..self.state.stack.len() {
            self.settle(position);
        }
    }

    fn flush(&mut self) {
        self.settle_from(0);
    }

    /// A slot that holds the entry at a position; constants are brought to their canonical slot.
    fn slot(&mut self, position: usize) -> Slot {
        match self.state.stack[position] {
            Value::Local(slot) => slot,
            _ => self.settle(position),
        }
    }

    /// The entry at a position as a second operand.
    fn operand(&mut self, position: usize) -> Operand {
        match self.state.stack[position] {
            Value::Imm(imm) => match i16::try_from(imm) {
                Ok(imm) => Operand::Imm(imm),
                Err(_) => match u16::try_from(self.constant(imm)) {
                    Ok(k) => Operand::Const(k),
                    Err(_) => Operand::Slot(self.slot(position)),
                },
            },
            Value::Const(k) => match u16::try_from(k) {
                Ok(k) => Operand::Const(k),
                Err(_) => Operand::Slot(self.slot(position)),
            },
            _ => Operand::Slot(self.slot(position)),
        }
    }

    /// The entry at a position as a slot or an immediate.
    fn near_operand(&mut self, position: usize) -> Operand {
        match self.state.stack[position] {
            Value::Imm(imm) if i16::try_from(imm).is_ok() => Operand::Imm(imm as i16),
            _ => Operand::Slot(self.slot(position)),
        }
    }

    /// Drops the top entries without bringing them anywhere.
    fn drop_values(&mut self, count: usize) {
        for _ in 0..count {
            self.pop();
        }
    }

    // Instructions

    fn inst(&mut self, inst: &Source, refs: &mut Slot) -> Result<(), LowerError> {
        if inst.prefix.is_some() {
            return self.in_place_integer(inst);
        }
        let top = self.state.stack.len();
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

            Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Eq | Op::Ne => self.binary(inst.op),
            Op::Sub | Op::Div | Op::Mod | Op::Shl | Op::Shr | Op::Sar => self.binary(inst.op),
            Op::Lt | Op::Gt | Op::Le | Op::Ge | Op::Slt | Op::Sgt | Op::Sle | Op::Sge => self.binary(inst.op),
            Op::Addi => {
                self.push(Value::Imm(inst.a as i64));
                self.binary(Op::Add);
            }
            Op::Not => {
                let a = self.slot(top - 1);
                self.drop_values(1);
                self.emit_result(|d| Inst::Not { d, a });
            }
            Op::Eqz => {
                let a = self.slot(top - 1);
                self.drop_values(1);
                self.emit_result(|d| Inst::EqI { d, a, imm: 0 });
            }

            Op::Load8 | Op::Load16 | Op::Load32 | Op::Load64 | Op::Load if inst.a <= u16::MAX as u64 => {
                let p = self.slot(top - 1);
                let off = inst.a as u16;
                self.drop_values(1);
                self.emit_result(|d| match inst.op {
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
                if let Value::Imm(imm) = self.state.stack[top - 1]
                    && let Ok(imm) = i16::try_from(imm)
                {
                    self.drop_values(2);
                    self.emit(match inst.op {
                        Op::Store8 => Inst::Store8I { p, imm, off },
                        Op::Store16 => Inst::Store16I { p, imm, off },
                        Op::Store32 => Inst::Store32I { p, imm, off },
                        Op::Store64 => Inst::Store64I { p, imm, off },
                        _ => Inst::StoreWI { p, imm, off },
                    });
                    return Ok(());
                }
                let a = self.slot(top - 1);
                self.drop_values(2);
                self.emit(match inst.op {
                    Op::Store8 => Inst::Store8 { p, a, off },
                    Op::Store16 => Inst::Store16 { p, a, off },
                    Op::Store32 => Inst::Store32 { p, a, off },
                    Op::Store64 => Inst::Store64 { p, a, off },
                    _ => Inst::StoreW { p, a, off },
                });
            }

            Op::Jmp => {
                self.flush();
                self.leave_window();
                let at = self.emit(Inst::Jump { to: 0 });
                self.state.patches.push((Patch::Jump(at), inst.a as u32));
            }
            Op::Jz | Op::Jnz => self.branch(inst),
            Op::Jtab => self.jump_table(inst),
            Op::Jmap => {
                let a = self.slot(top - 1);
                self.drop_values(1);
                self.flush();
                self.emit(Inst::JumpMapped { a, map: inst.a as u16, by: self.state.stack.len() as u16 });
            }
            Op::Blk => {
                self.emit(Inst::Block { need: inst.a as u16, grow: inst.b as u16 });
            }
            Op::Call => {
                let callee = self.module.signature_of(inst.a as u32);
                self.flush();
                let w = self.canonical(top - callee.words_in as usize);
                let r = *refs - callee.refs_in;
                self.emit(Inst::Call { w, r, f: inst.a as u16 });
                self.finish_in_place(callee.words_in, callee.words_out);
                *refs = r + callee.refs_out;
            }
            Op::Calli => {
                let callee = self.module.signatures[inst.a as usize];
                let x = self.immediates(inst.a, inst.b as u64)?;
                self.flush();
                let w = self.canonical(top - 1 - callee.words_in as usize);
                let r = *refs - callee.refs_in;
                self.emit(Inst::CallIndirect { w, r, x });
                self.finish_in_place(callee.words_in + 1, callee.words_out);
                *refs = r + callee.refs_out;
            }
            Op::Tcall => {
                let callee = self.module.signature_of(inst.a as u32);
                self.flush();
                let w = self.canonical(top - callee.words_in as usize);
                self.emit(Inst::TailCall { w, r: *refs - callee.refs_in, f: inst.a as u16 });
            }
            Op::Ret => self.ret(*refs),
            _ if is_integer(inst.op) => return self.in_place_integer(inst),
            _ => return self.in_place(inst, refs),
        }
        Ok(())
    }

    fn copy(&mut self, position: usize) {
        match self.state.stack[position] {
            Value::Canonical => {
                let a = self.canonical(position);
                self.emit_result(|d| Inst::Mov { d, a });
            }
            value => self.push(value),
        }
    }

    /// Exchanges the top with the entry `n` below it.
    fn exchange(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let top = self.state.stack.len() - 1;
        let (high, low) = (self.state.stack[top], self.state.stack[top - n]);
        if high != Value::Canonical && low != Value::Canonical {
            self.state.stack.swap(top, top - n);
        } else {
            let (a, b) = (self.settle(top), self.settle(top - n));
            self.emit(Inst::Swap { a, b });
        }
    }

    /// Brings the entry `n` below the top to the top.
    fn rotate(&mut self, n: usize) {
        let from = self.state.stack.len() - 1 - n;
        if self.state.stack[from..].iter().all(|value| *value != Value::Canonical) {
            self.state.stack[from..].rotate_left(1);
        } else if n > 0 {
            self.settle_from(from);
            self.emit(Inst::Rot { from: self.canonical(from), n: n as u16 });
        }
    }

    fn set_local(&mut self, local: Slot, keep: bool) {
        let position = self.state.stack.len() - 1;
        let producer = self.producer_of(position);
        let value = self.state.stack[position];
        // Entries that still mean the old value of the local must be saved first.
        let is_pending =
            self.pending_locals > 0 && self.state.stack[..position].contains(&Value::Local(local));
        if let (Some(at), false) = (producer, is_pending)
            && let Some(retargeted) = retarget(self.state.out.code[at], local)
        {
            self.state.out.code[at] = retargeted;
            self.pop();
            if keep {
                self.push(Value::Local(local));
            }
            self.producer = None;
            return;
        }
        if is_pending {
            for below in 0..position {
                if self.state.stack[below] == Value::Local(local) {
                    self.settle(below);
                }
            }
        }
        self.load(value, local, position);
        self.producer = None;
        if !keep {
            self.pop();
        }
    }

    /// An addition to a product by a small number that was computed just before: both in one.
    fn multiply_add(&mut self) -> bool {
        let top = self.state.stack.len();
        for (product, other) in [(top - 1, top - 2), (top - 2, top - 1)] {
            let multiply = self.producer_of(product).map(|at| self.state.out.code[at]);
            let Some(Inst::MulI { a, imm, .. }) = multiply else { continue };
            let (Ok(imm), Value::Canonical | Value::Local(_)) = (i8::try_from(imm), self.state.stack[other])
            else {
                continue;
            };
            self.retract();
            let b = self.slot(other);
            self.drop_values(2);
            self.emit_result(|d| Inst::MulAddI { imm, d, a, b });
            return true;
        }
        false
    }

    fn binary(&mut self, op: Op) {
        let top = self.state.stack.len();
        if op == Op::Add && self.multiply_add() {
            return;
        }
        // An operand that is exchanged must be in a slot; so must the first one.
        let (op, a, b) = match op {
            Op::Gt | Op::Le | Op::Sgt | Op::Sle => {
                let exchanged = match op {
                    Op::Gt => Op::Lt,
                    Op::Le => Op::Ge,
                    Op::Sgt => Op::Slt,
                    _ => Op::Sge,
                };
                // x > c is x ≥ c + 1 and x ≤ c is x < c + 1, unless c is the greatest number.
                match self.state.stack[top - 1] {
                    Value::Imm(imm) if (-32_768..32_767).contains(&imm) && imm != -1 => {
                        let moved = match op {
                            Op::Gt => Op::Ge,
                            Op::Le => Op::Lt,
                            Op::Sgt => Op::Sge,
                            _ => Op::Slt,
                        };
                        (moved, self.slot(top - 2), Operand::Imm(imm as i16 + 1))
                    }
                    _ => {
                        let (a, b) = (self.slot(top - 2), self.slot(top - 1));
                        (exchanged, b, Operand::Slot(a))
                    }
                }
            }
            Op::Sub => match self.state.stack[top - 1] {
                Value::Imm(imm) if imm != i64::MIN => {
                    self.state.stack[top - 1] = Value::Imm(-imm);
                    let b = self.operand(top - 1);
                    (Op::Add, self.slot(top - 2), b)
                }
                _ => {
                    let b = self.slot(top - 1);
                    (Op::Sub, self.slot(top - 2), Operand::Slot(b))
                }
            },
            Op::Shl | Op::Shr | Op::Sar => match self.state.stack[top - 1] {
                Value::Imm(imm) if (0..W::BITS as i64).contains(&imm) => {
                    (op, self.slot(top - 2), Operand::Imm(imm as i16))
                }
                _ => {
                    let b = self.slot(top - 1);
                    (op, self.slot(top - 2), Operand::Slot(b))
                }
            },
            Op::Div | Op::Mod => {
                let b = self.slot(top - 1);
                (op, self.slot(top - 2), Operand::Slot(b))
            }
            Op::Lt | Op::Ge | Op::Slt | Op::Sge => (op, self.slot(top - 2), self.near_operand(top - 1)),
            _ => {
                // Commutative: a constant goes second.
                let is_constant = |value: Value| matches!(value, Value::Imm(_) | Value::Const(_));
                let (first, second) =
                    match is_constant(self.state.stack[top - 2]) && !is_constant(self.state.stack[top - 1]) {
                        true => (top - 1, top - 2),
                        false => (top - 2, top - 1),
                    };
                let b = if matches!(op, Op::Eq | Op::Ne) {
                    self.near_operand(second)
                } else {
                    self.operand(second)
                };
                (op, self.slot(first), b)
            }
        };
        self.drop_values(2);
        self.emit_result(|d| match (op, b) {
            (Op::Add, Operand::Slot(b)) => Inst::AddR { d, a, b },
            (Op::Add, Operand::Imm(imm)) => Inst::AddI { d, a, imm },
            (Op::Add, Operand::Const(k)) => Inst::AddK { d, a, k },
            (Op::Sub, Operand::Slot(b)) => Inst::SubR { d, a, b },
            (Op::Mul, Operand::Slot(b)) => Inst::MulR { d, a, b },
            (Op::Mul, Operand::Imm(imm)) => Inst::MulI { d, a, imm },
            (Op::Mul, Operand::Const(k)) => Inst::MulK { d, a, k },
            (Op::And, Operand::Slot(b)) => Inst::AndR { d, a, b },
            (Op::And, Operand::Imm(imm)) => Inst::AndI { d, a, imm },
            (Op::And, Operand::Const(k)) => Inst::AndK { d, a, k },
            (Op::Or, Operand::Slot(b)) => Inst::OrR { d, a, b },
            (Op::Or, Operand::Imm(imm)) => Inst::OrI { d, a, imm },
            (Op::Or, Operand::Const(k)) => Inst::OrK { d, a, k },
            (Op::Xor, Operand::Slot(b)) => Inst::XorR { d, a, b },
            (Op::Xor, Operand::Imm(imm)) => Inst::XorI { d, a, imm },
            (Op::Xor, Operand::Const(k)) => Inst::XorK { d, a, k },
            (Op::Shl, Operand::Slot(b)) => Inst::ShlR { d, a, b },
            (Op::Shl, Operand::Imm(imm)) => Inst::ShlI { d, a, imm },
            (Op::Shr, Operand::Slot(b)) => Inst::ShrR { d, a, b },
            (Op::Shr, Operand::Imm(imm)) => Inst::ShrI { d, a, imm },
            (Op::Sar, Operand::Slot(b)) => Inst::SarR { d, a, b },
            (Op::Sar, Operand::Imm(imm)) => Inst::SarI { d, a, imm },
            (Op::Div, Operand::Slot(b)) => Inst::DivR { d, a, b },
            (Op::Mod, Operand::Slot(b)) => Inst::ModR { d, a, b },
            (Op::Eq, Operand::Slot(b)) => Inst::EqR { d, a, b },
            (Op::Eq, Operand::Imm(imm)) => Inst::EqI { d, a, imm },
            (Op::Ne, Operand::Slot(b)) => Inst::NeR { d, a, b },
            (Op::Ne, Operand::Imm(imm)) => Inst::NeI { d, a, imm },
            (Op::Lt, Operand::Slot(b)) => Inst::LtR { d, a, b },
            (Op::Lt, Operand::Imm(imm)) => Inst::LtI { d, a, imm },
            (Op::Ge, Operand::Slot(b)) => Inst::GeR { d, a, b },
            (Op::Ge, Operand::Imm(imm)) => Inst::GeI { d, a, imm },
            (Op::Slt, Operand::Slot(b)) => Inst::SltR { d, a, b },
            (Op::Slt, Operand::Imm(imm)) => Inst::SltI { d, a, imm },
            (Op::Sge, Operand::Slot(b)) => Inst::SgeR { d, a, b },
            (Op::Sge, Operand::Imm(imm)) => Inst::SgeI { d, a, imm },
            (op, _) => unreachable!("{op:?} has no register form with this operand"),
        });
    }

    /// JZ and JNZ, fused with the comparison before them.
    fn branch(&mut self, inst: &Source) {
        let position = self.state.stack.len() - 1;
        let producer = self.producer_of(position);
        let jump_if = inst.op == Op::Jnz;
        // The jump is emitted before its target is known to be near: forward targets wait for a patch. Whether the
        // distance fits is judged by the distance in source instructions: each becomes at most three, its own, the move
        // of what it pushed, and a filler where it is a block.
        let distance = (inst.a as i64 - self.origin as i64).unsigned_abs() * 3 + 8;
        let mut fused = None;
        if distance < i16::MAX as u64 && !self.is_window {
            fused = producer.and_then(|at| fuse(self.state.out.code[at], jump_if));
        }
        if fused.is_some() {
            self.retract();
            self.drop_values(1);
            self.flush();
        } else {
            let a = self.slot(position);
            self.drop_values(1);
            self.flush();
            fused = Some(if jump_if { Inst::JumpNz { a, to: 0 } } else { Inst::JumpZ { a, to: 0 } });
        }
        let jump = fused.expect("set on both paths");
        if !self.is_window {
            let at = self.emit(jump);
            self.state.patches.push((Patch::Jump(at), inst.a as u32));
            return;
        }
        // In a window function the taken path moves slot 0: jump over it where the branch is not taken.
        self.emit(match jump {
            Inst::JumpNz { a, .. } => Inst::JumpZ { a, to: 2 },
            Inst::JumpZ { a, .. } => Inst::JumpNz { a, to: 2 },
            other => other,
        });
        self.leave_window();
        let at = self.emit(Inst::Jump { to: 0 });
        self.state.patches.push((Patch::Jump(at), inst.a as u32));
    }

    fn leave_window(&mut self) {
        if self.is_window {
            self.emit(Inst::Shift { by: self.state.stack.len() as u16 });
        }
    }

    fn jump_table(&mut self, inst: &Source) {
        let a = self.slot(self.state.stack.len() - 1);
        self.drop_values(1);
        self.flush();
        let start = self.state.out.tables.len();
        self.emit(Inst::JumpTable { a, start: start as u32 });
        let targets = self.code.table(inst);
        self.state.out.tables.push(targets.len() as u32);
        for &target in targets {
            let at = self.state.out.tables.len();
            self.state.out.tables.push(0);
            if self.is_window {
                // Each entry leads to a stub that moves slot 0.
                self.state.out.tables[at] = self.state.out.code.len() as u32;
                self.leave_window();
                let jump = self.emit(Inst::Jump { to: 0 });
                self.state.patches.push((Patch::Jump(jump), target));
            } else {
                self.state.patches.push((Patch::Table(at), target));
            }
        }
    }

    fn ret(&mut self, refs: Slot) {
        let signature = self.module.signature_of(self.index);
        let n = signature.words_out;
        let uses_refs = self.source.frame_refs > 0;
        if self.is_window {
            self.flush();
            self.emit(Inst::WindowEnd { w: self.state.stack.len() as Slot, n });
        } else if n == 1 && !uses_refs {
            let a = self.slot(0);
            self.emit(Inst::Ret1 { a });
            return;
        }
        self.flush();
        let w = if self.is_window { 0 } else { self.canonical(0) };
        if uses_refs {
            self.emit(Inst::RetRefs { w, r: refs - signature.refs_out, f: self.index as u16 });
        } else if n == 0 {
            self.emit(Inst::Ret0);
        } else {
            self.emit(Inst::RetN { a: w, n });
        }
    }

    /// Replaces the operands of an operation that works in place by its results.
    fn finish_in_place(&mut self, words_in: u16, words_out: u16) {
        self.drop_values(words_in as usize);
        for _ in 0..words_out {
            self.state.stack.push(Value::Canonical);
        }
    }

    fn in_place_integer(&mut self, inst: &Source) -> Result<(), LowerError> {
        let effect = inst.op.info().effect.expect("integer operations have fixed effects");
        let position = self.state.stack.len() - effect.words_in as usize;
        let x = self.immediates(inst.a, inst.b as u64)?;
        self.settle_from(position);
        let w = self.canonical(position);
        self.emit(match inst.prefix {
            Some(prefix) => Inst::Narrow { op: inst.op, prefix, w, x },
            None => Inst::Int { op: inst.op, w, x },
        });
        self.finish_in_place(effect.words_in as u16, effect.words_out as u16);
        Ok(())
    }

    /// An operation on references, memory or the host.
    fn in_place(&mut self, inst: &Source, refs: &mut Slot) -> Result<(), LowerError> {
        let (words_in, words_out, refs_in, refs_out) = match (inst.op, inst.op.info().effect) {
            (_, Some(effect)) => (effect.words_in, effect.words_out, effect.refs_in, effect.refs_out),
            (Op::Rdup, _) => (0, 0, inst.a as u32 + 1, inst.a as u32 + 2),
            (Op::Rswap, _) => (0, 0, inst.a as u32 + 1, inst.a as u32 + 1),
            (Op::Emit, _) => (inst.a as u32, 0, 1, 0),
            (Op::Env, _) => {
                let is_word =
                    dotvm_core::env::EnvField::from_code(inst.a).is_some_and(|field| field.is_word());
                (0, is_word as u32, 0, !is_word as u32)
            }
            (op, _) => unreachable!("{op:?} is lowered elsewhere"),
        };
        let position = self.state.stack.len() - words_in as usize;
        let x = self.immediates(inst.a, inst.b as u64)?;
        self.settle_from(position);
        let r = *refs - refs_in as Slot;
        self.emit(Inst::Ext { op: inst.op, w: self.canonical(position), r, x });
        self.finish_in_place(words_in as u16, words_out as u16);
        *refs = r + refs_out as Slot;
        Ok(())
    }

    /// Sets the distance of the jump at `at`.
    fn set_distance(&mut self, at: usize, target: u32) {
        let distance = target as i64 - (at as i64 + 1);
        match &mut self.state.out.code[at] {
            Inst::Jump { to } | Inst::JumpZ { to, .. } | Inst::JumpNz { to, .. } => *to = distance as i32,
            Inst::JumpEqR { to, .. }
            | Inst::JumpEqI { to, .. }
            | Inst::JumpNeR { to, .. }
            | Inst::JumpNeI { to, .. }
            | Inst::JumpLtR { to, .. }
            | Inst::JumpLtI { to, .. }
            | Inst::JumpGeR { to, .. }
            | Inst::JumpGeI { to, .. }
            | Inst::JumpSltR { to, .. }
            | Inst::JumpSltI { to, .. }
            | Inst::JumpSgeR { to, .. }
            | Inst::JumpSgeI { to, .. } => {
                *to = i16::try_from(distance).expect("branch() fuses only near targets");
            }
            other => unreachable!("{other:?} is no jump"),
        }
    }
}

/// The number of the block that starts at a source instruction.
fn block_index(source: &VerifiedFunction, start: u32) -> usize {
    source.blocks.binary_search_by_key(&start, |block| block.start).expect("jumps lead to blocks")
}

/// Whether an operation belongs to the integer rows 0x20 to 0x5F.
fn is_integer(op: Op) -> bool {
    (0x20..0x60).contains(&(op as u8))
}
