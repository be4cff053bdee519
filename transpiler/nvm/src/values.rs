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
}

impl Value {
    /// Whether it is computed from a local.
    pub fn uses(self, local: Local) -> bool {
        let is = |simple: Simple| simple == Simple::Local(local);
        match self {
            Value::Simple(simple) => is(simple),
            Value::Compare(_, a, b) => is(a) || is(b),
        }
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

    /// Forgets the cells from a height on: the stack ends below.
    pub fn cut(&mut self, height: i32) {
        self.0.retain(|cell| cell.at < height);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Cell> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cell> {
        self.0.iter_mut()
    }
}
