//! What is known of cells while direct code is made: values that were not stored yet, or need not be loaded again.

use dotvm_core::opcode::Op;

use crate::runtime::Local;

/// A value that can be pushed without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simple {
    Constant(i32),
    /// A word local of the function.
    Local(Local),
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Simple(Simple),
    /// A comparison that is not made yet, 0 or 1.
    Compare(Op, Simple, Simple),
    /// A sum that is not made yet.
    Sum(Local, i32),
    /// The return address of a call that is part of its caller's code: it is known, and not stored inside of routines.
    Return(u32),
    /// The frame pointer that ENTER saved inside of a routine, which is not stored there: the frame's cell, or `None` if the
    /// frame is the outermost caller's.
    Saved(Option<i32>),
}

impl Value {
    /// Whether it is computed from a local.
    pub fn uses(self, local: Local) -> bool {
        let is = |simple: Simple| simple == Simple::Local(local);
        match self {
            Value::Simple(simple) => is(simple),
            Value::Compare(_, a, b) => is(a) || is(b),
            Value::Sum(a, _) => a == local,
            Value::Return(_) | Value::Saved(_) => false,
        }
    }

    /// Whether it is stored where cells are.
    pub fn is_stored(self) -> bool {
        !matches!(self, Value::Return(_) | Value::Saved(_))
    }

    pub fn constant(self) -> Option<i32> {
        match self {
            Value::Simple(Simple::Constant(constant)) => Some(constant),
            _ => None,
        }
    }
}

/// The comparison that is 1 where another is 0.
pub(crate) fn negated(op: Op) -> Op {
    match op {
        Op::Eq => Op::Ne,
        Op::Ne => Op::Eq,
        Op::Sgt => Op::Sle,
        Op::Sle => Op::Sgt,
        Op::Slt => Op::Sge,
        Op::Sge => Op::Slt,
        other => unreachable!("{} is no comparison of NVM", other.mnemonic()),
    }
}

/// A cell whose value is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Its distance from the base.
    pub at: i32,
    pub value: Value,
    /// Whether memory holds something else.
    pub dirty: bool,
}

/// Cells by their distance from a base, none twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(Vec<Cell>);

impl Cells {
    pub fn get(&self, at: i32) -> Option<Value> {
        self.0.iter().rev().find(|cell| cell.at == at).map(|cell| cell.value)
    }

    pub fn set(&mut self, at: i32, value: Value, dirty: bool) {
        match self.0.iter_mut().rev().find(|cell| cell.at == at) {
            Some(cell) => *cell = Cell { at, value, dirty },
            None => self.0.push(Cell { at, value, dirty }),
        }
    }

    /// Another form of the same value.
    pub fn restate(&mut self, at: i32, value: Value) {
        if let Some(cell) = self.0.iter_mut().find(|cell| cell.at == at) {
            cell.value = value;
        }
    }

    pub fn forget(&mut self, at: i32) {
        self.0.retain(|cell| cell.at != at);
    }

    /// Forgets the cells from a height on: the stack ends below.
    pub fn cut(&mut self, height: i32) {
        self.0.retain(|cell| cell.at < height);
    }

    /// Forgets what is stored.
    pub fn forget_stored(&mut self) {
        self.0.retain(|cell| !cell.value.is_stored());
    }

    pub fn iter(&self) -> impl Iterator<Item = &Cell> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cell> {
        self.0.iter_mut()
    }
}
