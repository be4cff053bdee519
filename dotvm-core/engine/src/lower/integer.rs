//! Integer operations with two operands that have instructions of their own.

use dotvm_arch::Word;

use super::Lowerer;
use super::values::{Near, Operand, Value};
use crate::inst::{Inst, Slot};

/// Emits an operation on operands that a method takes: in the form for two slots, and those for a short immediate and for
/// a constant where it has them.
macro_rules! operation {
    ($lowerer:expr, $operands:ident, $slots:ident) => {{
        let (a, b) = $lowerer.$operands();
        $lowerer.emit_result(|d| Inst::$slots { d, a, b })
    }};
    ($lowerer:expr, $operands:ident, $slots:ident $imm:ident) => {{
        let (a, b) = $lowerer.$operands();
        $lowerer.emit_result(|d| match b {
            Near::Slot(b) => Inst::$slots { d, a, b },
            Near::Imm(imm) => Inst::$imm { d, a, imm },
        })
    }};
    ($lowerer:expr, $operands:ident, $slots:ident $imm:ident $const:ident) => {{
        let (a, b) = $lowerer.$operands();
        $lowerer.emit_result(|d| match b {
            Operand::Slot(b) => Inst::$slots { d, a, b },
            Operand::Imm(imm) => Inst::$imm { d, a, imm },
            Operand::Const(k) => Inst::$const { d, a, k },
        })
    }};
}
pub(super) use operation;

impl<W: Word> Lowerer<'_, W> {
    /// Takes two operands; a constant goes second.
    pub(super) fn commutative_operands(&mut self) -> (Slot, Operand) {
        let (first, second) = self.constant_second();
        let b = self.operand(second);
        let a = self.slot(first);
        self.drop_values(2);
        (a, b)
    }

    /// Takes two operands of which the second is a constant.
    fn second_constant_operands(&mut self) -> (Slot, Operand) {
        let b = self.operand(self.top - 1);
        let a = self.slot(self.top - 2);
        self.drop_values(2);
        (a, b)
    }

    /// Takes two operands; a number goes second, constants of the pool are brought to a slot.
    pub(super) fn equality_operands(&mut self) -> (Slot, Near) {
        let (first, second) = self.constant_second();
        let b = self.near_operand(second);
        let a = self.slot(first);
        self.drop_values(2);
        (a, b)
    }

    /// The positions of the two operands, the one with a constant second.
    fn constant_second(&self) -> (usize, usize) {
        let (first, second) = (self.top - 2, self.top - 1);
        let is_constant = |position: usize| matches!(self.stack[position], Value::Imm(_) | Value::Const(_));
        if is_constant(first) && !is_constant(second) { (second, first) } else { (first, second) }
    }

    pub(super) fn slot_operands(&mut self) -> (Slot, Slot) {
        let b = self.slot(self.top - 1);
        let a = self.slot(self.top - 2);
        self.drop_values(2);
        (a, b)
    }

    /// A distance that is no more than the width is an immediate.
    pub(super) fn shift_operands(&mut self) -> (Slot, Near) {
        let b = match self.stack[self.top - 1] {
            Value::Imm(imm) if (0..W::BITS as i64).contains(&imm) => Near::Imm(imm as i16),
            _ => Near::Slot(self.slot(self.top - 1)),
        };
        let a = self.slot(self.top - 2);
        self.drop_values(2);
        (a, b)
    }

    pub(super) fn comparison_operands(&mut self) -> (Slot, Near) {
        let a = self.slot(self.top - 2);
        let b = self.near_operand(self.top - 1);
        self.drop_values(2);
        (a, b)
    }

    /// The operands exchanged; or a slot and one more than the immediate, unless that is the greatest number.
    pub(super) fn exchanged_operands(&mut self) -> (Slot, Near) {
        let a = self.slot(self.top - 2);
        let operands = match self.stack[self.top - 1] {
            Value::Imm(imm) if (-32_768..32_767).contains(&imm) && imm != -1 => {
                (a, Near::Imm(imm as i16 + 1))
            }
            _ => (self.slot(self.top - 1), Near::Slot(a)),
        };
        self.drop_values(2);
        operands
    }

    pub(super) fn add(&mut self) {
        if !self.multiply_add() {
            operation!(self, commutative_operands, AddR AddI AddK);
        }
    }

    pub(super) fn add_immediate(&mut self, imm: i64) {
        if let Ok(imm) = i16::try_from(imm) {
            self.unary(|d, a| Inst::AddI { d, a, imm });
        } else {
            self.push(Value::Imm(imm));
            self.add();
        }
    }

    /// Subtracting a number is adding its negative.
    pub(super) fn subtract(&mut self) {
        let top = self.top;
        if let Value::Imm(imm) = self.stack[top - 1]
            && imm != i64::MIN
        {
            self.stack[top - 1] = Value::Imm(-imm);
            operation!(self, second_constant_operands, AddR AddI AddK);
        } else {
            operation!(self, slot_operands, SubR);
        }
    }

    /// An addition to a product by a small number that was computed just before: both in one.
    fn multiply_add(&mut self) -> bool {
        let top = self.top;
        for (product, other) in [(top - 1, top - 2), (top - 2, top - 1)] {
            let multiply = self.producer_of(product).map(|at| self.out.code[at]);
            let Some(Inst::MulI { a, imm, .. }) = multiply else { continue };
            let (Ok(imm), Value::Canonical | Value::Local(_)) = (i8::try_from(imm), self.stack[other]) else {
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
}
