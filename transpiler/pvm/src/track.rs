//! What is known within a block: constants in registers, and what lies on the stack.

use crate::class::{Class, Part, whole_register};
use crate::machine::STACK_BASE;
use crate::word::{Instruction, Load};

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number.
    Constant(u64),
    /// What a register of eight bytes, or a half of it, holds now, too.
    Register(usize, Part),
}

struct Slot {
    /// Where it lies, relative to the stack pointer at the block's start.
    at: i32,
    size: i32,
    value: Value,
    /// The register's version when it was pushed.
    version: u32,
}

/// Follows a block's instructions.
#[derive(Default)]
pub(crate) struct Tracker {
    /// Stack pointer less that at the block's start.
    pub delta: i32,
    /// What is known of A, B, C, D.
    pub constants: [Option<u64>; 4],
    /// How often each register was written.
    versions: [u32; 4],
    slots: Vec<Slot>,
}

impl Tracker {
    /// Forgets everything but the constant in D.
    pub fn start(&mut self, d: Option<u64>) {
        self.delta = 0;
        self.constants = [None, None, None, d];
        self.versions = [0; 4];
        self.slots.clear();
    }

    /// The constant in a register, if there is one.
    pub fn register(&self, instruction: &Instruction, code: u8) -> Option<u64> {
        match code {
            0x8 => Some(instruction.next().into()),
            0x9 => Some(STACK_BASE),
            _ => {
                let (register, part) = whole_register(code)?;
                self.constants[register].map(|constant| part.of(constant))
            }
        }
    }

    /// The operand, if it is a constant.
    pub fn operand(&self, instruction: &Instruction) -> Option<u64> {
        let word = instruction.word;
        match word.load() {
            Load::Immediate => Some(instruction.immediate),
            Load::Register => {
                let value = self.register(instruction, word.source())?;
                Some(value & u64::MAX >> (64 - 8 * u32::from(word.size())))
            }
            _ => None,
        }
    }

    /// What the next `size` bytes on the stack are.
    pub fn popped(&self, size: u8) -> Option<Value> {
        let slot =
            self.slots.iter().rev().find(|slot| slot.at == self.delta && slot.size == i32::from(size))?;
        match slot.value {
            Value::Register(register, _) if slot.version != self.versions[register] => None,
            value => Some(value),
        }
    }

    /// Something was written to memory at a place that is not known.
    fn forget_memory(&mut self) {
        self.slots.clear();
    }

    fn push(&mut self, size: i32, value: Option<Value>) {
        self.delta -= size;
        let at = self.delta;
        self.slots.retain(|slot| slot.at >= at + size);
        if let Some(value) = value {
            let version = match value {
                Value::Register(register, _) => self.versions[register],
                Value::Constant(_) => 0,
            };
            self.slots.push(Slot { at, size, value, version });
        }
    }

    fn pop(&mut self, size: i32) {
        self.delta += size;
        let delta = self.delta;
        self.slots.retain(|slot| slot.at >= delta);
    }

    fn write(&mut self, register: usize, constant: Option<u64>) {
        self.constants[register] = constant;
        self.versions[register] += 1;
    }

    /// Goes behind an instruction.
    pub fn apply(&mut self, instruction: &Instruction, class: Class) {
        let word = instruction.word;
        let size = i32::from(word.size());
        match class {
            Class::Arithmetic => {
                let Some((register, part)) = whole_register(word.destination()) else { return };
                let is_cleared = word.operation() == 8
                    && part == Part::Whole
                    && word.load() == Load::Register
                    && (word.source(), word.size()) == (word.destination(), 8);
                let result = match (self.constants[register], self.operand(instruction)) {
                    _ if is_cleared => Some(0),
                    (Some(whole), Some(operand)) => {
                        compute(word.operation(), part.of(whole), operand, part.bits())
                            .map(|result| part.put(whole, result))
                    }
                    _ => None,
                };
                self.write(register, result);
            }
            Class::Push => {
                let value = match self.operand(instruction) {
                    Some(constant) => Some(Value::Constant(constant)),
                    None if word.load() == Load::Register => whole_register(word.source())
                        .filter(|(_, part)| part.bits() == 8 * u32::from(word.size()))
                        .map(|(register, part)| Value::Register(register, part)),
                    None => None,
                };
                self.push(size, value);
            }
            Class::Pop => {
                let value = self.popped(word.size());
                self.pop(size);
                let Some((register, part)) = whole_register(word.destination()) else { return };
                let constant = match value {
                    Some(Value::Constant(constant)) => match part {
                        Part::Whole => Some(constant),
                        _ => self.constants[register].map(|whole| part.put(whole, constant)),
                    },
                    _ => None,
                };
                self.write(register, constant);
            }
            Class::PopRam => {
                self.pop(size);
                self.forget_memory();
            }
            Class::Transfer(0x88) => self.push(8, Some(Value::Constant(instruction.next().into()))),
            Class::Transfer(0x89) => self.pop(8),
            Class::Transfer(_) | Class::Nothing | Class::General(_) => {}
        }
    }
}

/// The result of an operation on numbers of `bits` bits, `None` where it raises an exception.
pub(crate) fn compute(operation: u8, d: u64, s: u64, bits: u32) -> Option<u64> {
    let mask = u64::MAX >> (64 - bits);
    let s = s & mask;
    let shift = u32::try_from(s).unwrap_or(u32::MAX);
    let result = match operation {
        0x0 => d.wrapping_add(s),
        0x1 => d.wrapping_sub(s),
        0x2 => d.wrapping_mul(s),
        0x3 => d.checked_div(s)?,
        0x4 => d & s,
        0x5 => d | s,
        0x6 => !(d & s),
        0x7 => !(d | s),
        0x8 => d ^ s,
        0x9 => d.checked_shl(shift).unwrap_or(0),
        0xA => d.checked_shr(shift).unwrap_or(0),
        _ if bits == 32 => (d as u32).rotate_left((s % 32) as u32).into(),
        _ => d.rotate_left((s % 64) as u32),
    };
    Some(result & mask)
}
