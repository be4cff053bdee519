//! The symbolic operand stack.

use dotvm_arch::Word;

use super::{Lowerer, NOWHERE};
use crate::fusion::retarget;
use crate::inst::{Inst, Slot};

/// An entry of the symbolic operand stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// In the canonical slot of its position.
    Canonical,
    /// In a local, unchanged since it was pushed.
    Local(Slot),
    /// A signed number.
    Imm(i64),
    /// A word constant.
    Const(u32),
}

/// A second operand.
pub(super) enum Operand {
    Slot(Slot),
    Imm(i16),
    Const(u16),
}

/// A second operand that is no constant.
pub(super) enum Near {
    Slot(Slot),
    Imm(i16),
}

/// How many entries from the first that is not canonical on are looked through at most. Beyond, all are brought to their
/// slots first, so that lowering takes linear time.
const SYMBOLIC_LIMIT: usize = 128;

impl<W: Word> Lowerer<'_, W> {
    /// The slot where the entry at a position is canonical.
    pub(super) fn canonical(&self, position: usize) -> Slot {
        self.base + position as Slot
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: Value) {
        if self.top - self.first > SYMBOLIC_LIMIT {
            self.flush_many();
        }
        let position = self.top;
        self.push_canonical();
        self.stack[position] = value;
    }

    /// Pushes a value that is in the canonical slot.
    #[inline(always)]
    pub(super) fn push_canonical(&mut self) {
        if self.top == self.stack.len() {
            self.stack.push(Value::Canonical);
        }
        self.top += 1;
    }

    /// Drops the top entries without bringing them anywhere.
    pub(super) fn drop_values(&mut self, count: usize) {
        let top = self.top - count;
        // Below `first` the entries are canonical as those behind the top must be.
        for position in top.max(self.first)..self.top {
            self.stack[position] = Value::Canonical;
        }
        self.top = top;
        self.first = self.first.min(top);
    }

    /// Makes the stack higher by canonical entries, or lower by entries that are canonical.
    pub(super) fn set_top(&mut self, top: usize) {
        if self.stack.len() < top {
            self.stack.resize(top, Value::Canonical);
        }
        self.top = top;
        self.first = self.first.min(top);
    }

    /// Drops everything.
    pub(super) fn forget(&mut self) {
        self.drop_values(self.top - self.first);
    }

    /// The index of the last instruction emitted, if it computed the value at a position.
    pub(super) fn producer_of(&self, position: usize) -> Option<usize> {
        (self.producer == position && self.stack[position] == Value::Canonical)
            .then(|| self.out.code.len() - 1)
    }

    /// Emits the move of a value to a slot.
    fn load(&mut self, value: Value, d: Slot, position: usize) {
        let inst = match value {
            Value::Canonical => Inst::Mov { d, a: self.canonical(position) },
            Value::Local(a) if a == d => return,
            Value::Local(a) => Inst::Mov { d, a },
            Value::Imm(imm) => match i32::try_from(imm) {
                Ok(imm) => Inst::LoadI { d, imm },
                Err(_) => Inst::LoadK { d, k: self.constant(imm) },
            },
            Value::Const(k) => Inst::LoadK { d, k },
        };
        self.emit(inst);
    }

    /// Brings the entry at a position to its canonical slot.
    pub(super) fn settle(&mut self, position: usize) -> Slot {
        let d = self.canonical(position);
        let value = self.stack[position];
        if value != Value::Canonical {
            self.stack[position] = Value::Canonical;
            self.load(value, d, position);
        }
        d
    }

    /// Brings the entries from a position on to their canonical slots.
    pub(super) fn settle_from(&mut self, position: usize) {
        for position in position.max(self.first)..self.top {
            self.settle(position);
        }
    }

    /// Brings all entries to their canonical slots.
    pub(super) fn flush(&mut self) {
        self.settle_from(0);
        self.first = self.top;
    }

    /// The same where it happens rarely.
    #[cold]
    #[inline(never)]
    fn flush_many(&mut self) {
        self.flush();
    }

    /// A slot that holds the entry at a position; constants are brought to their canonical slot.
    pub(super) fn slot(&mut self, position: usize) -> Slot {
        match self.stack[position] {
            Value::Local(slot) => slot,
            _ => self.settle(position),
        }
    }

    /// The entry at a position as a second operand.
    pub(super) fn operand(&mut self, position: usize) -> Operand {
        match self.stack[position] {
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
    pub(super) fn near_operand(&mut self, position: usize) -> Near {
        match self.stack[position] {
            Value::Imm(imm) if i16::try_from(imm).is_ok() => Near::Imm(imm as i16),
            _ => Near::Slot(self.slot(position)),
        }
    }

    /// Pushes the entry at a position.
    pub(super) fn copy(&mut self, position: usize) {
        match self.stack[position] {
            Value::Canonical => {
                let a = self.canonical(position);
                self.emit_result(|d| Inst::Mov { d, a });
            }
            value => self.push(value),
        }
    }

    /// Exchanges the top with the entry `n` below it.
    pub(super) fn exchange(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let top = self.top - 1;
        let (high, low) = (self.stack[top], self.stack[top - n]);
        if high != Value::Canonical && low != Value::Canonical {
            self.stack.swap(top, top - n);
        } else {
            let (a, b) = (self.settle(top), self.settle(top - n));
            self.emit(Inst::Swap { a, b });
        }
    }

    /// Brings the entry `n` below the top to the top.
    pub(super) fn rotate(&mut self, n: usize) {
        let from = self.top - 1 - n;
        let moved = &mut self.stack[from..self.top];
        if moved.iter().all(|value| *value != Value::Canonical) {
            moved.rotate_left(1);
        } else if n > 0 {
            self.settle_from(from);
            self.emit(Inst::Rot { from: self.canonical(from), n: n as u16 });
        }
    }

    /// Sets a local to the top, which is kept or dropped.
    pub(super) fn set_local(&mut self, local: Slot, keep: bool) {
        let position = self.top - 1;
        if position - self.first.min(position) > SYMBOLIC_LIMIT {
            self.flush_many();
        }
        // Entries that still mean the old value of the local must be saved first.
        let first = self.first.min(position);
        let is_pending = self.stack[first..position].contains(&Value::Local(local));
        if !is_pending
            && let Some(at) = self.producer_of(position)
            && let Some(retargeted) = retarget(self.out.code[at], local)
        {
            self.out.code[at] = retargeted;
            self.drop_values(1);
            if keep {
                self.push(Value::Local(local));
            }
            self.producer = NOWHERE;
            return;
        }
        if is_pending {
            for below in first..position {
                if self.stack[below] == Value::Local(local) {
                    self.settle(below);
                }
            }
        }
        self.load(self.stack[position], local, position);
        self.producer = NOWHERE;
        if !keep {
            self.drop_values(1);
        }
    }
}
