//! Direct code: a tree of the program becomes a piece of the machine's function.
//!
//! At its root a tree checks, once for all of its paths, that its instructions fit the slice, that the stack holds the cells
//! it takes and has room for those it leaves, and that the frame holds what it reaches. Where a check fails the general
//! scheme takes the root's first instruction. Within a tree cells are values that are known, and are stored only where the
//! tree is left. What else may go wrong (a divisor, an offset, a return address) is checked in place; where such
//! a check fails, the state as it was before the instruction is made good and the general scheme takes it from there. So
//! direct code knows no faults.

use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::opcode::Op as Code;

use crate::machine::{HEAP_BYTES, STACK_AT, STACK_CELLS};
use crate::opcode::{Instruction, Op};
use crate::runtime::Local;
use crate::shape::{Base, Frame, Shape, frame_index};
use crate::trees::{Tree, Trees, is_target};
use crate::values::{Cells, Simple, Value, negated};

/// Locals for values.
pub(crate) const TEMPORARIES: u64 = 40;
/// Most locals of the program that are word locals of the function.
const REGISTERS: usize = 48;
/// Most cells that wait to be stored.
const WAITING: usize = 16;
/// Most entries of the jump tables that stand where a return is; beyond, all returns share one.
const TABLE_ENTRIES: usize = 1 << 16;

/// The word locals that direct code uses.
#[derive(Clone, Debug)]
pub(crate) struct Locals {
    pub s: Local,
    pub fa: Local,
    pub ip: Local,
    pub left: Local,
    pub hb: Local,
    /// Always 0.
    pub zero: Local,
    /// The greatest offset of a word in the heap.
    pub heap_limit: Local,
    /// First of the temporaries.
    pub temporaries: Local,
    /// The word local of each local that has one.
    pub registers: Vec<Option<Local>>,
}

impl Locals {
    /// Chooses the locals that become word locals, from `first` on: those that are named most. Answers them, and how many
    /// word locals there are then.
    pub fn registers(trees: &Trees, first: Local) -> (Vec<Option<Local>>, Local) {
        let mut named: Vec<usize> = (0..256).filter(|local| trees.locals[*local] > 0).collect();
        named.sort_by_key(|local| (std::cmp::Reverse(trees.locals[*local]), *local));
        named.truncate(REGISTERS);
        let mut registers = vec![None; 256];
        let mut next = first;
        for local in named {
            registers[local] = Some(next);
            next += 1;
        }
        (registers, next)
    }
}

/// Where the function's parts are.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// The general scheme.
    pub general: Label,
    /// Goes on at `ip`, behind a return.
    pub returns: Label,
    /// A return has led to what is no target.
    pub bad_return: Label,
}

/// The program's state along a path.
#[derive(Clone)]
struct State {
    shape: Shape,
    /// Cells from the base.
    cells: Cells,
    /// Cells from the frame pointer that the tree was entered with.
    frame_cells: Cells,
    /// What ENTER saved, parallel to the shape's list.
    saved: Vec<Value>,
    /// Holds the frame pointer that LEAVE took.
    taken: Local,
    /// Instructions since `left` was counted down.
    count: u16,
}

impl State {
    /// A value that is computed from a local, if a cell has one.
    fn value_of(&self, local: Local) -> Option<Value> {
        let mut cells = self.cells.iter().chain(self.frame_cells.iter());
        cells.find(|cell| cell.value.uses(local)).map(|cell| cell.value)
    }
}

/// A check that failed: back to before an instruction, in the general scheme.
struct Exit {
    label: Label,
    state: State,
    address: u32,
}

/// Makes direct code.
pub(crate) struct Direct<'a> {
    code: &'a mut CodeBuilder,
    image: &'a [u8],
    trees: &'a Trees,
    locals: &'a Locals,
    places: Places,
    roots: Vec<Label>,
    targets: Vec<Label>,
    /// The same behind a return, where what is no target is a fault.
    return_targets: Vec<Label>,
    has_own_tables: bool,
    has_shared_returns: bool,
    exits: Vec<Exit>,
    /// Paths of the tree that are not made yet.
    pending: Vec<(Label, State, u32)>,
    /// Line of each instruction, or nothing where addresses are lines.
    lines: &'a [u32],
}

/// What comes behind an instruction.
enum Then {
    /// The instruction at this address.
    Go(u32),
    /// Nothing: the path was left.
    Left,
}

impl<'a> Direct<'a> {
    /// For the trees of an image.
    pub fn new(
        code: &'a mut CodeBuilder,
        image: &'a [u8],
        trees: &'a Trees,
        locals: &'a Locals,
        places: Places,
        lines: &'a [u32],
    ) -> Direct<'a> {
        let roots: Vec<Label> = trees.list.iter().map(|_| code.label()).collect();
        let mut targets = vec![places.general; image.len() + 1];
        for (tree, root) in trees.list.iter().zip(&roots) {
            targets[tree.start as usize] = *root;
        }
        let mut return_targets = targets.clone();
        return_targets[..4].fill(places.bad_return);
        return_targets[image.len()] = places.bad_return;
        Direct {
            has_shared_returns: false,
            return_targets,
            has_own_tables: (trees.returns as usize).saturating_mul(image.len() + 1) <= TABLE_ENTRIES,
            code,
            image,
            trees,
            locals,
            places,
            roots,
            targets,
            exits: Vec::new(),
            pending: Vec::new(),
            lines,
        }
    }

    /// The code that goes on at each address; and the same behind a return, if returns share it.
    pub fn targets(self) -> (Vec<Label>, Option<Vec<Label>>) {
        (self.targets, self.has_shared_returns.then_some(self.return_targets))
    }

    /// Makes all trees.
    pub fn trees(&mut self) {
        for index in 0..self.trees.list.len() {
            let tree = self.trees.list[index];
            self.line(tree.start);
            self.code.bind(self.roots[index]);
            self.tree(&tree);
        }
        self.code.line(0);
    }

    fn line(&mut self, address: u32) {
        let line = self.lines.get(address as usize).copied().unwrap_or(address);
        self.code.line(line);
    }

    // Short forms

    fn op(&mut self, op: Code) {
        self.code.op(op, &[]);
    }

    fn get(&mut self, local: Local) {
        self.code.op(Code::Lget, &[local]);
    }

    fn set(&mut self, local: Local) {
        self.code.op(Code::Lset, &[local]);
    }

    fn push(&mut self, number: i64) {
        self.code.op(Code::Push, &[number as u64]);
    }

    fn simple(&mut self, simple: Simple) {
        match simple {
            Simple::Constant(constant) => self.push(constant.into()),
            Simple::Local(local) => self.get(local),
        }
    }

    fn value(&mut self, value: Value) {
        match value {
            Value::Simple(simple) => self.simple(simple),
            Value::Compare(op, a, b) => {
                self.simple(a);
                self.simple(b);
                self.op(op);
            }
        }
    }

    fn add_to(&mut self, local: Local, number: i64) {
        if number != 0 {
            self.get(local);
            self.code.op(Code::Addi, &[number as u64]);
            self.set(local);
        }
    }

    fn go_general(&mut self, address: u32) {
        self.push(i64::from(address.cast_signed()));
        self.set(self.locals.ip);
        self.code.jump(Code::Jmp, self.places.general);
    }

    // Trees

    fn tree(&mut self, tree: &Tree) {
        let fail = self.code.label();
        self.checks(tree, fail);
        let state = State {
            shape: Shape::new(),
            cells: Cells::default(),
            frame_cells: Cells::default(),
            saved: Vec::new(),
            taken: 0,
            count: 0,
        };
        self.path(state, tree.start, true);
        while let Some((label, state, address)) = self.pending.pop() {
            self.code.bind(label);
            self.path(state, address, false);
        }
        for exit in std::mem::take(&mut self.exits) {
            self.code.bind(exit.label);
            self.leave(&exit.state);
            self.go_general(exit.address);
        }
        self.line(tree.start);
        self.code.bind(fail);
        self.go_general(tree.start);
    }

    /// Checks what the tree needs.
    fn checks(&mut self, tree: &Tree, fail: Label) {
        let needs = &tree.needs;
        let Locals { s, fa, left, .. } = *self.locals;
        let room = |height: i32| 4 * (STACK_CELLS as i64 - i64::from(height));
        let check = |direct: &mut Self, local: Local, limit: i64, op: Code| {
            direct.get(local);
            direct.push(limit);
            direct.op(op);
            direct.code.jump(Code::Jnz, fail);
        };
        check(self, left, needs.count.into(), Code::Lt);
        if needs.low < 0 {
            check(self, s, -4 * i64::from(needs.low), Code::Slt);
        }
        if needs.high > 0 {
            check(self, s, room(needs.high), Code::Sgt);
        }
        if let Some(below) = needs.below_frame {
            check(self, fa, 4 * i64::from(below), Code::Slt);
            self.get(s);
            self.get(fa);
            self.op(Code::Sub);
            self.push(4 * (i64::from(needs.above_frame) + 1 - i64::from(needs.low)));
            self.op(Code::Slt);
            self.code.jump(Code::Jnz, fail);
            if needs.high_frame > 1 {
                check(self, fa, room(needs.high_frame), Code::Sgt);
            }
        } else if needs.saves_frame {
            check(self, fa, -8, Code::Eq);
        }
    }

    /// Makes a path to its end.
    fn path(&mut self, mut state: State, from: u32, is_root: bool) {
        let mut at = from;
        let mut is_first = is_root;
        loop {
            if self.trees.at(at).is_some() && !is_first {
                return self.go(&state, at);
            }
            is_first = false;
            let Ok(instruction) = Instruction::decode(self.image, at) else {
                self.leave(&state);
                return self.go_general(at);
            };
            self.line(at);
            match self.instruction(&mut state, &instruction) {
                Then::Go(next) => at = next,
                Then::Left => return,
            }
        }
    }

    // Leaving

    /// Brings memory, the stack pointer and the frame pointer up to date, and counts.
    fn leave(&mut self, state: &State) {
        let Locals { s, fa, left, .. } = *self.locals;
        self.store_all(state);
        let shape = &state.shape;
        let height = 4 * i64::from(shape.height);
        match shape.base {
            Base::Entry => {
                if let Frame::At(at) = shape.frame {
                    self.get(s);
                    self.code.op(Code::Addi, &[(4 * i64::from(at)) as u64]);
                    self.set(fa);
                }
                self.add_to(s, height);
            }
            Base::Frame => {
                self.get(fa);
                self.code.op(Code::Addi, &[height as u64]);
                self.set(s);
                self.get(state.taken);
                self.set(fa);
            }
        }
        self.add_to(left, -i64::from(state.count));
    }

    /// Stores what waits.
    fn store_all(&mut self, state: &State) {
        let base = self.base(state.shape.base);
        for (cells, base) in [(&state.cells, base), (&state.frame_cells, self.locals.fa)] {
            for cell in cells.iter().filter(|cell| cell.dirty) {
                self.get(base);
                self.value(cell.value);
                self.code.op(Code::Store32, &[offset(cell.at)]);
            }
        }
    }

    fn base(&self, base: Base) -> Local {
        match base {
            Base::Entry => self.locals.s,
            Base::Frame => self.locals.fa,
        }
    }

    /// Leaves for an address.
    fn go(&mut self, state: &State, address: u32) {
        self.leave(state);
        match self.trees.at(address) {
            Some(index) => self.code.jump(Code::Jmp, self.roots[index]),
            None => self.go_general(address),
        }
    }

    /// Leaves before an instruction that has no direct code here.
    fn give_up(&mut self, state: &State, instruction: &Instruction) -> Then {
        self.leave(state);
        self.go_general(instruction.address);
        Then::Left
    }

    /// Where a check fails that stands before an instruction.
    fn exit(&mut self, before: &State, instruction: &Instruction) -> Label {
        let label = self.code.label();
        self.exits.push(Exit { label, state: before.clone(), address: instruction.address });
        label
    }

    // Values

    /// A temporary that no value of the state nor one of those at hand uses.
    fn temporary(&mut self, state: &mut State, at_hand: &[Value]) -> Local {
        if let Some(free) = self.free(state, at_hand) {
            return free;
        }
        // Nothing waits any more, and nothing is known: memory holds it all.
        self.store_all(state);
        state.cells.clear();
        state.frame_cells.clear();
        match self.free(state, at_hand) {
            Some(free) => free,
            None => unreachable!("frames that a tree enters and operands are fewer than temporaries"),
        }
    }

    fn free(&self, state: &State, at_hand: &[Value]) -> Option<Local> {
        let first = self.locals.temporaries;
        let mut used = 0u64;
        let mut mark = |value: Value| {
            let mut mark = |simple: Simple| {
                if let Simple::Local(local) = simple
                    && (first..first + TEMPORARIES).contains(&local)
                {
                    used |= 1 << (local - first);
                }
            };
            match value {
                Value::Simple(simple) => mark(simple),
                Value::Compare(_, a, b) => {
                    mark(a);
                    mark(b);
                }
            }
        };
        let cells = state.cells.iter().chain(state.frame_cells.iter()).map(|cell| cell.value);
        cells.chain(at_hand.iter().copied()).chain(state.saved.iter().copied()).for_each(&mut mark);
        if state.shape.frame == Frame::Taken {
            mark(Value::Simple(Simple::Local(state.taken)));
        }
        let free = used.trailing_ones() as u64;
        (free < TEMPORARIES).then_some(first + free)
    }

    /// The value as one that need not be computed.
    fn settled(&mut self, state: &mut State, value: Value, at_hand: &[Value]) -> Simple {
        match value {
            Value::Simple(simple) => simple,
            Value::Compare(..) => {
                let held: Vec<Value> = at_hand.iter().copied().chain([value]).collect();
                let temporary = self.temporary(state, &held);
                self.value(value);
                self.set(temporary);
                Simple::Local(temporary)
            }
        }
    }

    /// What a cell holds, from the base or from the frame pointer at the root.
    fn cell(&mut self, state: &mut State, of_frame: bool, at: i32, at_hand: &[Value]) -> Value {
        let cells = if of_frame { &state.frame_cells } else { &state.cells };
        if let Some(value) = cells.get(at) {
            return value;
        }
        let temporary = self.temporary(state, at_hand);
        let base = if of_frame { self.locals.fa } else { self.base(state.shape.base) };
        self.get(base);
        self.code.op(Code::Load32, &[offset(at)]);
        self.set(temporary);
        let value = Value::Simple(Simple::Local(temporary));
        let cells = if of_frame { &mut state.frame_cells } else { &mut state.cells };
        cells.set(at, value, false);
        value
    }

    /// Takes the top.
    fn take(&mut self, state: &mut State, at_hand: &[Value]) -> Value {
        let top = state.shape.height - 1;
        let value = self.cell(state, false, top, at_hand);
        state.shape.pop(1);
        state.cells.cut(top);
        value
    }

    /// Puts a value on top.
    fn put(&mut self, state: &mut State, value: Value) {
        state.cells.set(state.shape.height, value, true);
        state.shape.push(1);
        self.store_if_many(state);
    }

    /// Stores what waits if that is much: leaving a tree is not to cost more than the tree.
    fn store_if_many(&mut self, state: &mut State) {
        let waiting = state.cells.iter().chain(state.frame_cells.iter()).filter(|cell| cell.dirty).count();
        if waiting > WAITING {
            self.store_all(state);
            let State { cells, frame_cells, .. } = state;
            cells.iter_mut().chain(frame_cells.iter_mut()).for_each(|cell| cell.dirty = false);
        }
    }

    /// Puts a result on top: `push` computes it from what is at hand.
    fn result(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        at_hand: &[Value],
        push: impl FnOnce(&mut Self),
    ) -> Then {
        let to = match self.stored_next(state, instruction.next()) {
            Some(register) => register,
            None => self.temporary(state, at_hand),
        };
        push(self);
        self.set(to);
        self.put(state, Value::Simple(Simple::Local(to)));
        Then::Go(instruction.next())
    }

    /// The register that the next instruction, or DUP and the next, stores the top to, if no cell uses it: the result can be
    /// computed there.
    fn stored_next(&self, state: &State, next: u32) -> Option<Local> {
        let within = |at: u32| {
            if self.trees.at(at).is_some() { None } else { Instruction::decode(self.image, at).ok() }
        };
        let mut instruction = within(next)?;
        if instruction.op == Op::Dup {
            instruction = within(instruction.next())?;
        }
        if instruction.op != Op::Store {
            return None;
        }
        let register = self.locals.registers[instruction.operand as usize & 255]?;
        if state.value_of(register).is_some() { None } else { Some(register) }
    }

    /// Before a register changes: cells that are computed from it are computed now.
    fn part_with(&mut self, state: &mut State, register: Local, at_hand: &[Value]) {
        while let Some(value) = state.value_of(register) {
            let held: Vec<Value> = at_hand.iter().copied().chain([value]).collect();
            let temporary = self.temporary(state, &held);
            self.value(value);
            self.set(temporary);
            let State { cells, frame_cells, .. } = state;
            for cell in cells.iter_mut().chain(frame_cells.iter_mut()).filter(|cell| cell.value == value) {
                cell.value = Value::Simple(Simple::Local(temporary));
            }
        }
    }

    // Instructions

    fn instruction(&mut self, state: &mut State, instruction: &Instruction) -> Then {
        let (op, next) = (instruction.op, instruction.next());
        // Whether it has direct code is asked on a copy of what it changes.
        if may_have_none(op) && state.shape.clone().step(instruction).is_err() {
            return self.give_up(state, instruction);
        }
        let before_count = state.count;
        state.count += 1;
        match op {
            Op::Nop => {}
            Op::Push => {
                self.put(state, Value::Simple(Simple::Constant(instruction.operand.cast_signed())));
            }
            Op::Pop => {
                state.shape.pop(1);
                state.cells.cut(state.shape.height);
            }
            Op::Dup => {
                let top = state.shape.height - 1;
                let value = self.cell(state, false, top, &[]);
                let simple = Value::Simple(self.settled(state, value, &[]));
                if simple != value {
                    state.cells.set(top, simple, true);
                }
                self.put(state, simple);
            }
            Op::Swap => {
                let b = self.take(state, &[]);
                let a = self.take(state, &[b]);
                self.put(state, b);
                self.put(state, a);
            }
            Op::Load => match self.locals.registers[instruction.operand as usize & 255] {
                Some(register) => self.put(state, Value::Simple(Simple::Local(register))),
                None => {
                    let zero = self.locals.zero;
                    return self.result(state, instruction, &[], |direct| {
                        direct.get(zero);
                        direct.code.op(Code::Load32, &[4 * u64::from(instruction.operand)]);
                    });
                }
            },
            Op::Store => {
                let value = self.take(state, &[]);
                match self.locals.registers[instruction.operand as usize & 255] {
                    Some(register) if value == Value::Simple(Simple::Local(register)) => {}
                    Some(register) => {
                        self.part_with(state, register, &[value]);
                        self.value(value);
                        self.set(register);
                    }
                    None => {
                        self.get(self.locals.zero);
                        self.value(value);
                        self.code.op(Code::Store32, &[4 * u64::from(instruction.operand)]);
                    }
                }
            }
            Op::Eq | Op::Neq | Op::Gt | Op::Lt => {
                let b = self.take(state, &[]);
                let a = self.take(state, &[b]);
                let a = self.settled(state, a, &[b]);
                let b = self.settled(state, b, &[Value::Simple(a)]);
                let compare = match op {
                    Op::Eq => Code::Eq,
                    Op::Neq => Code::Ne,
                    Op::Gt => Code::Sgt,
                    _ => Code::Slt,
                };
                self.put(state, Value::Compare(compare, a, b));
            }
            Op::Not => {
                let a = self.take(state, &[]);
                return self.result(state, instruction, &[a], |direct| {
                    direct.value(a);
                    direct.op(Code::Not);
                });
            }
            Op::Div | Op::Mod => return self.divide(state, instruction, before_count),
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Cmp
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::Shl
            | Op::Shr
            | Op::Sar => return self.binary(state, instruction),
            Op::LoadHeap | Op::StoreHeap => return self.heap(state, instruction, before_count),
            Op::Enter => self.enter(state, instruction),
            Op::Leave => return self.leave_frame(state, instruction, before_count),
            Op::LoadArg | Op::LoadRel => {
                let index = frame_index(instruction);
                let value = match state.shape.frame {
                    Frame::At(at) => self.cell(state, false, at + index, &[]),
                    _ => self.cell(state, true, index, &[]),
                };
                let simple = Value::Simple(self.settled(state, value, &[]));
                self.put(state, simple);
            }
            Op::StoreArg | Op::StoreRel => {
                let value = self.take(state, &[]);
                let index = frame_index(instruction);
                match state.shape.frame {
                    // A cell above the stack: without effect.
                    Frame::At(at) if at + index >= state.shape.height => {}
                    Frame::At(at) => state.cells.set(at + index, value, true),
                    _ => state.frame_cells.set(index, value, true),
                }
                self.store_if_many(state);
            }
            Op::Jmp => {
                if !is_target(self.image, instruction.operand) {
                    state.count = before_count;
                    return self.give_up(state, instruction);
                }
                return Then::Go(instruction.operand);
            }
            Op::Jz | Op::Jnz => return self.branch(state, instruction, before_count),
            Op::Call => {
                if !is_target(self.image, instruction.operand) {
                    state.count = before_count;
                    return self.give_up(state, instruction);
                }
                self.put(state, Value::Simple(Simple::Constant(next.cast_signed())));
                self.go(state, instruction.operand);
                return Then::Left;
            }
            Op::Ret => return self.ret(state, instruction, before_count),
            Op::Halt | Op::LoadAbs | Op::StoreAbs | Op::Syscall | Op::Break => {
                unreachable!("{instruction} has no direct code, as its shape says")
            }
        }
        Then::Go(next)
    }

    /// The state before the instruction at hand, none of whose operands is taken yet.
    fn before(state: &State, count: u16) -> State {
        State { count, ..state.clone() }
    }

    fn binary(&mut self, state: &mut State, instruction: &Instruction) -> Then {
        let b = self.take(state, &[]);
        let a = self.take(state, &[b]);
        if let (Some(x), Some(y)) = (a.constant(), b.constant()) {
            let value = fold(instruction.op, x, y);
            self.put(state, Value::Simple(Simple::Constant(value)));
            return Then::Go(instruction.next());
        }
        // `push 1, xor` behind a comparison is how programs write the opposite.
        if let (Op::Xor, Value::Compare(op, x, y), Some(1)) = (instruction.op, a, b.constant()) {
            self.put(state, Value::Compare(negated(op), x, y));
            return Then::Go(instruction.next());
        }
        let count = b.constant();
        match (instruction.op, count) {
            (Op::Add | Op::Sub, Some(number)) => {
                let number = if instruction.op == Op::Add { number } else { number.wrapping_neg() };
                self.result(state, instruction, &[a], |direct| {
                    direct.value(a);
                    direct.code.op(Code::Addi, &[i64::from(number) as u64]);
                })
            }
            (Op::Cmp, _) => {
                let a = self.settled(state, a, &[b]);
                let b = self.settled(state, b, &[Value::Simple(a)]);
                self.result(state, instruction, &[Value::Simple(a), Value::Simple(b)], |direct| {
                    direct.value(Value::Compare(Code::Sgt, a, b));
                    direct.value(Value::Compare(Code::Slt, a, b));
                    direct.op(Code::Sub);
                })
            }
            (Op::Shl | Op::Shr | Op::Sar, count) => {
                let op = match instruction.op {
                    Op::Shl => Code::Shl,
                    Op::Shr => Code::Shr,
                    _ => Code::Sar,
                };
                self.result(state, instruction, &[a, b], |direct| {
                    direct.value(a);
                    match count {
                        Some(count) => direct.push((count & 31).into()),
                        None => {
                            direct.value(b);
                            direct.push(31);
                            direct.op(Code::And);
                        }
                    }
                    direct.op(op);
                })
            }
            (op, _) => self.result(state, instruction, &[a, b], |direct| {
                direct.value(a);
                direct.value(b);
                direct.op(match op {
                    Op::Add => Code::Add,
                    Op::Sub => Code::Sub,
                    Op::Mul => Code::Mul,
                    Op::And => Code::And,
                    Op::Or => Code::Or,
                    _ => Code::Xor,
                });
            }),
        }
    }

    fn divide(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
        let divisor = self.cell(state, false, state.shape.height - 1, &[]);
        match divisor.constant() {
            Some(0) => return self.give_up(&Self::before(state, count), instruction),
            Some(_) => {}
            None => {
                let divisor = self.settled(state, divisor, &[]);
                let now = Self::before(state, count);
                let label = self.exit(&now, instruction);
                self.simple(divisor);
                self.code.jump(Code::Jz, label);
                state.cells.set(state.shape.height - 1, Value::Simple(divisor), true);
            }
        }
        let b = self.take(state, &[]);
        let a = self.take(state, &[b]);
        let op = if instruction.op == Op::Div { Code::Sdivz } else { Code::Smodz };
        self.result(state, instruction, &[a, b], |direct| {
            direct.value(a);
            direct.value(b);
            direct.op(op);
        })
    }

    fn heap(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
        let is_store = instruction.op == Op::StoreHeap;
        let place = state.shape.height - if is_store { 2 } else { 1 };
        let Locals { hb, heap_limit, .. } = *self.locals;
        let address = self.cell(state, false, place, &[]);
        let address = self.settled(state, address, &[]);
        if let Simple::Constant(offset) = address {
            if offset.cast_unsigned() > HEAP_BYTES as u32 - 4 {
                return self.give_up(&Self::before(state, count), instruction);
            }
        } else {
            let now = Self::before(state, count);
            let label = self.exit(&now, instruction);
            self.simple(address);
            self.get(heap_limit);
            self.op(Code::Gt);
            self.code.jump(Code::Jnz, label);
        }
        let held = Value::Simple(address);
        if is_store {
            let value = self.take(state, &[held]);
            state.shape.pop(1);
            state.cells.cut(state.shape.height);
            let offset = self.heap_address(hb, address);
            self.value(value);
            self.code.op(Code::Store32, &[offset]);
            return Then::Go(instruction.next());
        }
        state.shape.pop(1);
        state.cells.cut(state.shape.height);
        self.result(state, instruction, &[held], |direct| {
            let offset = direct.heap_address(hb, address);
            direct.code.op(Code::Load32, &[offset]);
        })
    }

    /// Pushes an address in the heap; answers the offset that goes with it.
    fn heap_address(&mut self, hb: Local, address: Simple) -> u64 {
        match address {
            Simple::Constant(offset) => {
                self.get(hb);
                u64::from(offset.cast_unsigned())
            }
            Simple::Local(local) => {
                self.get(local);
                self.get(hb);
                self.op(Code::Add);
                0
            }
        }
    }

    fn enter(&mut self, state: &mut State, instruction: &Instruction) {
        let saved = self.temporary(state, &[]);
        match state.shape.frame {
            // The root has checked that it is a frame pointer, or none.
            Frame::Entry | Frame::Taken => {
                self.get(self.locals.fa);
                self.push(2);
                self.op(Code::Sar);
            }
            Frame::At(at) => {
                self.get(self.locals.s);
                self.push(2);
                self.op(Code::Shr);
                self.code.op(Code::Addi, &[i64::from(at) as u64]);
            }
        }
        self.set(saved);
        let saved = Value::Simple(Simple::Local(saved));
        let at = state.shape.height;
        state.saved.push(saved);
        state.shape.entered.push((at, state.shape.frame));
        state.shape.frame = Frame::At(at);
        self.put(state, saved);
        let zeros = instruction.operand as i32;
        if zeros <= 8 {
            for _ in 0..zeros {
                self.put(state, Value::Simple(Simple::Constant(0)));
            }
        } else {
            self.get(self.locals.s);
            self.code.op(Code::Addi, &[offset(state.shape.height)]);
            self.push(0);
            self.push(4 * i64::from(zeros));
            self.op(Code::Mfill);
            state.shape.push(zeros);
        }
    }

    fn leave_frame(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
        if let Frame::At(at) = state.shape.frame {
            if state.cells.get(at) != state.saved.last().copied() {
                return self.give_up(&Self::before(state, count), instruction);
            }
            state.saved.pop();
            if let Some((_, before)) = state.shape.entered.pop() {
                state.shape.frame = before;
            }
            state.shape.height = at;
            state.cells.cut(at);
            return Then::Go(instruction.next());
        }
        // The frame that the tree was entered with: cells count from it now.
        let saved = self.cell(state, true, 0, &[]);
        let saved = self.settled(state, saved, &[]);
        let label = self.exit(&Self::before(state, count), instruction);
        self.simple(saved);
        self.code.op(Code::Addi, &[1]);
        self.push(STACK_CELLS as i64);
        self.op(Code::Gt);
        self.code.jump(Code::Jnz, label);
        let taken = self.temporary(state, &[Value::Simple(saved)]);
        self.simple(saved);
        self.push(2);
        self.op(Code::Shl);
        self.set(taken);
        state.taken = taken;
        state.cells = std::mem::take(&mut state.frame_cells);
        state.cells.cut(0);
        state.shape.base = Base::Frame;
        state.shape.height = 0;
        state.shape.frame = Frame::Taken;
        Then::Go(instruction.next())
    }

    fn branch(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
        let target = instruction.operand;
        let value = self.cell(state, false, state.shape.height - 1, &[]);
        let before = Self::before(state, count);
        state.shape.pop(1);
        state.cells.cut(state.shape.height);
        if let Some(constant) = value.constant() {
            if (constant == 0) != (instruction.op == Op::Jz) {
                return Then::Go(instruction.next());
            }
            if is_target(self.image, target) {
                return Then::Go(target);
            }
            return self.give_up(&before, instruction);
        }
        let label = if !is_target(self.image, target) {
            self.exit(&before, instruction)
        } else if let Some(index) = self.trees.at(target)
            && target <= instruction.address
            && Self::is_unchanged(state)
        {
            // A loop: back to its root at once.
            self.add_to(self.locals.left, -i64::from(state.count));
            state.count = 0;
            self.roots[index]
        } else {
            let label = self.code.label();
            self.pending.push((label, state.clone(), target));
            label
        };
        self.value(value);
        self.code.jump(if instruction.op == Op::Jz { Code::Jz } else { Code::Jnz }, label);
        Then::Go(instruction.next())
    }

    /// Whether all is as memory and the pointers have it.
    fn is_unchanged(state: &State) -> bool {
        let shape = &state.shape;
        let mut cells = state.cells.iter().chain(state.frame_cells.iter());
        shape.base == Base::Entry
            && shape.height == 0
            && shape.frame == Frame::Entry
            && !cells.any(|cell| cell.dirty)
    }

    fn ret(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
        let top = state.shape.height - 1;
        if state.cells.get(top).is_none() {
            // As memory has it: the table tells targets from what is none, and the cell is still there then.
            self.get(self.base(state.shape.base));
            self.code.op(Code::Load32, &[offset(top)]);
            self.set(self.locals.ip);
            state.shape.pop(1);
            self.leave(state);
            return self.go_by_table();
        }
        let address = self.cell(state, false, top, &[]);
        let address = self.settled(state, address, &[]);
        let before = Self::before(state, count);
        if let Simple::Constant(target) = address {
            if !is_target(self.image, target.cast_unsigned()) {
                return self.give_up(&before, instruction);
            }
            state.shape.pop(1);
            state.cells.cut(state.shape.height);
            self.go(state, target.cast_unsigned());
            return Then::Left;
        }
        let label = self.exit(&before, instruction);
        self.simple(address);
        self.code.op(Code::Addi, &[-4i64 as u64]);
        self.push(self.image.len() as i64 - 4);
        self.op(Code::Ge);
        self.code.jump(Code::Jnz, label);
        self.simple(address);
        self.set(self.locals.ip);
        state.shape.pop(1);
        state.cells.cut(state.shape.height);
        self.leave(state);
        self.go_by_table()
    }

    /// Goes on behind a return, at `ip`.
    fn go_by_table(&mut self) -> Then {
        if self.has_own_tables {
            self.get(self.locals.ip);
            self.code.table(&self.return_targets);
        } else {
            self.has_shared_returns = true;
            self.code.jump(Code::Jmp, self.places.returns);
        }
        Then::Left
    }
}

/// Whether there are instructions of this kind without direct code.
fn may_have_none(op: Op) -> bool {
    match op {
        Op::Halt | Op::LoadAbs | Op::StoreAbs | Op::Syscall | Op::Break | Op::Enter | Op::Leave => true,
        Op::LoadArg | Op::StoreArg | Op::LoadRel | Op::StoreRel => true,
        _ => false,
    }
}

/// The offset of a cell from its base in memory.
fn offset(at: i32) -> u64 {
    (STACK_AT as i64 + 4 * i64::from(at)) as u64
}

/// What an operation gives for two constants.
fn fold(op: Op, a: i32, b: i32) -> i32 {
    match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        Op::Cmp => a.cmp(&b) as i32,
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Shl => a.wrapping_shl(b.cast_unsigned()),
        Op::Shr => a.cast_unsigned().wrapping_shr(b.cast_unsigned()).cast_signed(),
        _ => a.wrapping_shr(b.cast_unsigned()),
    }
}
