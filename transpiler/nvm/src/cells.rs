//! Direct code: cells that are known, temporaries that hold them, and results.

use dotvm_core::opcode::Op as Code;

use crate::direct::{Direct, State, TEMPORARIES, Then, offset};
use crate::opcode::{Instruction, Op};
use crate::runtime::Local;
use crate::shape::Frame;
use crate::values::{Cell, Simple, Value};

/// A cell that is passed: its distance from the callee's entry, and from the base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing {
    pub cell: i32,
    pub at: i32,
}

/// Most cells that wait to be stored.
const WAITING: usize = 16;

impl Direct<'_> {
    /// A temporary that no value of the state nor one of those at hand uses.
    pub(crate) fn temporary(&mut self, state: &mut State, at_hand: &[Value]) -> Local {
        if let Some(free) = self.free(state, at_hand) {
            return free;
        }
        // Nothing waits any more, and nothing is known: memory holds it all.
        self.store_all(state);
        state.cells.forget_stored();
        state.frame_cells.forget_stored();
        match self.free(state, at_hand) {
            Some(free) => free,
            None => unreachable!("frames that a tree enters and operands are fewer than temporaries"),
        }
    }

    pub(crate) fn free(&self, state: &State, at_hand: &[Value]) -> Option<Local> {
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
                Value::Sum(local, _) => mark(Simple::Local(local)),
                Value::Return(_) | Value::Saved(_) => {}
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
    pub(crate) fn settled(&mut self, state: &mut State, value: Value, at_hand: &[Value]) -> Simple {
        match value {
            Value::Simple(simple) => simple,
            Value::Compare(..) | Value::Sum(..) | Value::Return(_) | Value::Saved(_) => {
                let held: Vec<Value> = at_hand.iter().copied().chain([value]).collect();
                let temporary = self.temporary(state, &held);
                self.value(value);
                self.set(temporary);
                Simple::Local(temporary)
            }
        }
    }

    /// What a cell holds, from the base or from the frame pointer at the root.
    pub(crate) fn cell(&mut self, state: &mut State, of_frame: bool, at: i32, at_hand: &[Value]) -> Value {
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
    pub(crate) fn take(&mut self, state: &mut State, at_hand: &[Value]) -> Value {
        let top = state.shape.height - 1;
        let value = self.cell(state, false, top, at_hand);
        state.shape.pop(1);
        state.cells.cut(top);
        value
    }

    /// Puts a value on top.
    pub(crate) fn put(&mut self, state: &mut State, value: Value) {
        state.cells.set(state.shape.height, value, true);
        state.shape.push(1);
        self.store_if_many(state);
    }

    /// Stores what waits if that is much: leaving a tree is not to cost more than the tree.
    pub(crate) fn store_if_many(&mut self, state: &mut State) {
        let waits = |cell: &&Cell| cell.dirty && cell.value.is_stored();
        let waiting = state.cells.iter().chain(state.frame_cells.iter()).filter(waits).count();
        if waiting > WAITING {
            self.store_all(state);
            let State { cells, frame_cells, .. } = state;
            let stored = cells.iter_mut().chain(frame_cells.iter_mut()).filter(|cell| cell.value.is_stored());
            stored.for_each(|cell| cell.dirty = false);
        }
    }

    /// Puts a result on top: `push` computes it from what is at hand.
    pub(crate) fn result(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        at_hand: &[Value],
        push: impl FnOnce(&mut Self),
    ) -> Then {
        let to = match self.stored_next(state, instruction.next()) {
            Some((register, count)) => {
                if let Some(inside) = &mut state.inside {
                    inside.bound = count;
                }
                register
            }
            None => self.temporary(state, at_hand),
        };
        push(self);
        self.set(to);
        self.put(state, Value::Simple(Simple::Local(to)));
        Then::Go(instruction.next())
    }

    /// The register that the next instruction, or DUP and the next, stores the top to, if no cell uses it: the result can be
    /// computed there. Also how many instructions that are.
    pub(crate) fn stored_next(&self, state: &State, next: u32) -> Option<(Local, u8)> {
        let within = |at: u32| {
            if self.is_apart(state, at) { None } else { Instruction::decode(self.image, at).ok() }
        };
        let mut instruction = within(next)?;
        let mut count = 1;
        if instruction.op == Op::Dup {
            instruction = within(instruction.next())?;
            count = 2;
        }
        let register = match instruction.op {
            Op::Store => {
                let register = self.locals.registers[instruction.operand as usize & 255]?;
                state.value_of(register).is_none().then_some(register)
            }
            Op::StoreArg | Op::StoreRel if count == 1 => self.passed_back(state, &instruction),
            _ => None,
        };
        register.map(|register| (register, count))
    }

    /// Brings cells to the word locals in which they are passed.
    pub(crate) fn move_to_passed(&mut self, state: &State, moves: &[Passing]) {
        let value = |at: i32| state.cells.get(at);
        let is_there = |moved: &&Passing| {
            value(moved.at) == Some(Value::Simple(Simple::Local(self.locals.passed(moved.cell))))
        };
        let moves: Vec<&Passing> = moves.iter().filter(|moved| !is_there(moved)).collect();
        for moved in &moves {
            match value(moved.at) {
                Some(value) => self.value(value),
                None => {
                    self.get(self.base(state.shape.base));
                    self.code.op(Code::Load32, &[offset(moved.at)]);
                }
            }
        }
        for moved in moves.iter().rev() {
            self.set(self.locals.passed(moved.cell));
        }
    }

    /// Before a register changes: cells that are computed from it are computed now.
    pub(crate) fn part_with(&mut self, state: &mut State, register: Local, at_hand: &[Value]) {
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
}
