//! Direct code for frames, branches and returns.

use dotvm_core::opcode::Op as Code;

use crate::direct::{Direct, State, Then, offset};
use crate::machine::STACK_CELLS;
use crate::opcode::{Instruction, Op};
use crate::shape::{Base, Frame};
use crate::trees::is_target;
use crate::values::{Simple, Value};

impl Direct<'_> {
    pub(crate) fn enter(&mut self, state: &mut State, instruction: &Instruction) {
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
        self.zeros(state, instruction.operand as i32);
    }

    /// Puts zeros on top.
    pub(crate) fn zeros(&mut self, state: &mut State, zeros: i32) {
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

    pub(crate) fn leave_frame(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
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

    pub(crate) fn branch(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
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
        } else if let Some(label) = self.loop_back(state, target) {
            self.add_to(self.locals.left, -i64::from(state.count));
            state.count = 0;
            label
        } else if state.inside.is_none()
            && let Some(index) = self.trees.at(target)
            && target <= instruction.address
            && Self::is_unchanged(state)
            && !(state.rounds > 0 && self.current.is_some_and(|current| current.index == index))
        {
            // A loop: back to its root at once.
            self.add_to(self.locals.left, -i64::from(state.count));
            state.count = 0;
            match self.current {
                Some(current) if current.index == index => current.again,
                _ => self.roots[index],
            }
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
    pub(crate) fn is_unchanged(state: &State) -> bool {
        let shape = &state.shape;
        let mut cells = state.cells.iter().chain(state.frame_cells.iter());
        shape.base == Base::Entry
            && shape.height == 0
            && shape.frame == Frame::Entry
            && !cells.any(|cell| cell.dirty)
    }

    pub(crate) fn ret(&mut self, state: &mut State, instruction: &Instruction, count: u16) -> Then {
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
    pub(crate) fn go_by_table(&mut self) -> Then {
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
