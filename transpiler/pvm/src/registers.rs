//! Where direct code keeps the registers of eight bytes: each in a local, or A and B in two, where a program uses
//! their halves more than the whole. The general scheme keeps them whole.

use dotvm_core::builder::CodeBuilder;
use dotvm_core::opcode::Op;

use crate::blocks::Blocks;
use crate::class::{Class, Part, classify, whole_register};
use crate::locals::*;
use crate::word::{Instruction, Load};

/// The low half of a register of eight bytes.
pub(crate) const LOW_HALF: u64 = 0xFFFF_FFFF;

/// Where a register, or a half of one, is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In a local from a bit on.
    Bits {
        local: Local,
        shift: u64,
        /// The bits of the local that can be 1.
        holds: u64,
    },
    /// In two locals.
    Halves { low: Local, high: Local },
}

/// Which registers are kept in halves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    split: [bool; 2],
}

/// The locals of the halves of A and B.
const HALVES: [(Local, Local); 2] = [(A_LOW, A_HIGH), (B_LOW, B_HIGH)];

impl Registers {
    /// Chooses for a program.
    pub fn choose(image: &[u8], services: bool, blocks: &Blocks) -> Registers {
        // Uses of the halves less uses of the whole.
        let mut balance = [0i64; 2];
        let mut count = |code: u8| match whole_register(code) {
            Some((register @ (0 | 1), Part::Whole)) => balance[register] -= 1,
            Some((register @ (0 | 1), _)) => balance[register] += 1,
            _ => {}
        };
        for block in &blocks.list {
            let mut at = block.start;
            for _ in 0..block.count {
                let Some(instruction) = Instruction::decode(image, at) else { break };
                let word = instruction.word;
                if matches!(word.load(), Load::Register | Load::Ram) && word.operation() != 0xC {
                    count(word.source());
                }
                if matches!(classify(&instruction, services), Class::Arithmetic | Class::Pop | Class::PopRam)
                {
                    count(word.destination());
                }
                at = instruction.next();
            }
        }
        Registers { split: balance.map(|balance| balance > 0) }
    }

    /// The locals of a register that is kept in halves.
    pub fn halves(self, register: usize) -> Option<(Local, Local)> {
        if *self.split.get(register)? { HALVES.get(register).copied() } else { None }
    }

    /// Where a part of a register is.
    pub fn place(self, register: usize, part: Part) -> Place {
        let whole = register as Local;
        match (self.halves(register), part) {
            (Some((low, high)), Part::Whole) => Place::Halves { low, high },
            (Some((low, _)), Part::Low) => Place::Bits { local: low, shift: 0, holds: LOW_HALF },
            (Some((_, high)), Part::High) => Place::Bits { local: high, shift: 0, holds: LOW_HALF },
            (None, Part::High) => Place::Bits { local: whole, shift: 32, holds: u64::MAX },
            (None, _) => Place::Bits { local: whole, shift: 0, holds: u64::MAX },
        }
    }

    /// The locals that a write to a part of a register changes.
    pub fn written(self, register: usize, part: Part) -> [Local; 2] {
        match self.place(register, part) {
            Place::Bits { local, .. } => [local; 2],
            Place::Halves { low, high } => [low, high],
        }
    }

    /// Whether any register is kept in halves.
    pub fn any(self) -> bool {
        self.split != [false; 2]
    }

    /// Code from the form of the general scheme to that of direct code.
    pub fn split(self, code: &mut CodeBuilder) {
        for register in 0..self.split.len() {
            if let Some((low, high)) = self.halves(register) {
                set_halves(code, register as Local, low, high);
            }
        }
    }

    /// Code from the form of direct code to that of the general scheme.
    pub fn join(self, code: &mut CodeBuilder) {
        for register in 0..self.split.len() {
            if let Some((low, high)) = self.halves(register) {
                push_halves(code, low, high);
                code.op(Op::Lset, &[register as Local]);
            }
        }
    }
}

/// Pushes the number that two halves are.
pub(crate) fn push_halves(code: &mut CodeBuilder, low: Local, high: Local) {
    code.op(Op::Lget, &[high]);
    code.op(Op::Push, &[32]);
    code.op(Op::Shl, &[]);
    code.op(Op::Lget, &[low]);
    code.op(Op::Or, &[]);
}

/// Sets two halves from the number in a local.
pub(crate) fn set_halves(code: &mut CodeBuilder, number: Local, low: Local, high: Local) {
    code.op(Op::Lget, &[number]);
    code.op(Op::Push, &[LOW_HALF]);
    code.op(Op::And, &[]);
    code.op(Op::Lset, &[low]);
    code.op(Op::Lget, &[number]);
    code.op(Op::Push, &[32]);
    code.op(Op::Shr, &[]);
    code.op(Op::Lset, &[high]);
}
