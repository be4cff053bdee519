//! Direct code for single instructions: the stack, locals, arithmetic, the heap.

use dotvm_core::opcode::Op as Code;

use crate::direct::{Direct, Locals, State, Then};
use crate::machine::HEAP_BYTES;
use crate::opcode::{Instruction, Op};
use crate::runtime::Local;
use crate::shape::{Frame, frame_index};
use crate::trees::is_target;
use crate::values::{Simple, Value, negated};

impl Direct<'_> {
    pub(crate) fn instruction(&mut self, state: &mut State, instruction: &Instruction) -> Then {
        let op = instruction.op;
        if let Some(inside) = state.inside {
            return self.inside(state, inside, instruction);
        }
        // Whether it has direct code is asked on a copy of what it changes.
        if may_have_none(op) && state.shape.clone().step(instruction).is_err() {
            return self.give_up(state, instruction);
        }
        self.plain(state, instruction)
    }

    /// An instruction that has direct code.
    pub(crate) fn plain(&mut self, state: &mut State, instruction: &Instruction) -> Then {
        let (op, next) = (instruction.op, instruction.next());
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
                let (of_frame, at) = match state.shape.frame {
                    Frame::At(at) => (false, at + index),
                    _ => (true, index),
                };
                let value = self.cell(state, of_frame, at, &[]);
                let simple = Value::Simple(self.settled(state, value, &[]));
                let cells = if of_frame { &mut state.frame_cells } else { &mut state.cells };
                cells.restate(at, simple);
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
                if let Some(callee) = self.routine_of(instruction) {
                    self.call_routine(state, callee, instruction);
                    return Then::Left;
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
    pub(crate) fn before(state: &State, count: u16) -> State {
        State { count, ..state.clone() }
    }

    pub(crate) fn binary(&mut self, state: &mut State, instruction: &Instruction) -> Then {
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
                if state.inside.is_some() && self.stored_next(state, instruction.next()).is_none() {
                    let sum = match a {
                        Value::Simple(Simple::Local(local)) => Some(Value::Sum(local, number)),
                        Value::Sum(local, more) => Some(Value::Sum(local, number.wrapping_add(more))),
                        _ => None,
                    };
                    if let Some(sum) = sum {
                        self.put(state, sum);
                        return Then::Go(instruction.next());
                    }
                }
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

    pub(crate) fn divide(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
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

    pub(crate) fn heap(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
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
    pub(crate) fn heap_address(&mut self, hb: Local, address: Simple) -> u64 {
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
}

/// Whether there are instructions of this kind without direct code.
fn may_have_none(op: Op) -> bool {
    matches!(
        op,
        Op::Halt
            | Op::LoadAbs
            | Op::StoreAbs
            | Op::Syscall
            | Op::Break
            | Op::Enter
            | Op::Leave
            | Op::LoadArg
            | Op::StoreArg
            | Op::LoadRel
            | Op::StoreRel
    )
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
