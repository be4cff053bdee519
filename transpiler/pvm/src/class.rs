//! What direct code can stand for an instruction, and what is left to the general scheme.

use std::fmt;

use crate::word::{FL, Fault, Instruction, Load};

/// What an instruction is to the translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Operations 0 to B.
    Arithmetic,
    /// Push.
    Push,
    /// Pop into a register.
    Pop,
    /// Pop into memory.
    PopRam,
    /// NOP.
    Nothing,
    /// A jump, call or return by service 84 to 89.
    Transfer(u8),
    /// The general scheme does it.
    General(Why),
}

/// Why an instruction is left to the general scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It always raises an exception.
    Fault(Fault),
    /// It is not wholly in the image.
    Truncated,
    /// It reads FL, which is kept in parts.
    ReadsFlags,
    /// It writes FL: a change of the ring, or a return from an interrupt.
    WritesFlags,
    /// It stores into the image, always a gpf, or into the vector table.
    StoresAtRegister,
    /// A service that asks the host, or ends the run.
    Service(u8),
    /// A vector without a default service.
    Interrupt(u8),
    /// The vector is computed.
    ComputedInterrupt,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Fault(fault) => fault.fmt(f),
            Why::Truncated => f.write_str("gpf (exception 2): the image ends within the instruction"),
            Why::ReadsFlags => f.write_str("reads FL, which is kept in parts"),
            Why::WritesFlags => f.write_str("writes FL: a change of the ring or a return from an interrupt"),
            Why::StoresAtRegister => {
                f.write_str("stores at PC, which is in the image, or at SB, the vector table")
            }
            Why::Service(0x80) => f.write_str("ends the run"),
            Why::Service(vector) => write!(f, "service {vector:02X} asks the host"),
            Why::Interrupt(vector) => write!(f, "vector {vector:02X} has no default service"),
            Why::ComputedInterrupt => f.write_str("the vector is computed"),
        }
    }
}

/// Classifies an instruction.
pub(crate) fn classify(instruction: &Instruction, services: bool) -> Class {
    let word = instruction.word;
    let operation = word.operation();
    if let Some(fault) = word.fault() {
        return Class::General(Why::Fault(fault));
    }
    if operation == 0xF {
        return Class::Nothing;
    }
    let reads_register = matches!(word.load(), Load::Register | Load::Ram);
    if operation != 0xC && reads_register && word.source() == FL {
        return Class::General(Why::ReadsFlags);
    }
    match operation {
        0xC if word.load() == Load::Ram => match word.destination() {
            FL => Class::General(Why::ReadsFlags),
            0x8 | 0x9 => Class::General(Why::StoresAtRegister),
            _ => Class::PopRam,
        },
        0xC if word.destination() == FL => Class::General(Why::WritesFlags),
        0xC => Class::Pop,
        0xD => Class::Push,
        0xE => match word.load() {
            Load::Immediate => match instruction.immediate as u8 {
                vector @ 0x84..=0x89 if services => Class::Transfer(vector),
                vector @ 0x80..=0x8A if services => Class::General(Why::Service(vector)),
                vector => Class::General(Why::Interrupt(vector)),
            },
            _ => Class::General(Why::ComputedInterrupt),
        },
        _ if word.destination() == FL => Class::General(Why::WritesFlags),
        _ => Class::Arithmetic,
    }
}

/// The register of eight bytes that a code is, or is a half of: A, B, C, D are 0 to 3.
pub(crate) fn whole_register(code: u8) -> Option<(usize, Part)> {
    Some(match code {
        0x0 => (0, Part::Whole),
        0x1 => (0, Part::Low),
        0x2 => (0, Part::High),
        0x3 => (1, Part::Whole),
        0x4 => (1, Part::Low),
        0x5 => (1, Part::High),
        0x6 => (2, Part::Whole),
        0x7 => (3, Part::Whole),
        _ => return None,
    })
}

/// A part of a register of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Low,
    High,
}

impl Part {
    /// Bits of the part.
    pub fn bits(self) -> u32 {
        if self == Part::Whole { 64 } else { 32 }
    }

    /// The part of a number.
    pub fn of(self, number: u64) -> u64 {
        match self {
            Part::Whole => number,
            Part::Low => number & 0xFFFF_FFFF,
            Part::High => number >> 32,
        }
    }

    /// The number with the part replaced.
    pub fn put(self, number: u64, part: u64) -> u64 {
        match self {
            Part::Whole => part,
            Part::Low => number & !0xFFFF_FFFF | part & 0xFFFF_FFFF,
            Part::High => number & 0xFFFF_FFFF | part << 32,
        }
    }
}

/// Whether direct code for the instruction checks something and leaves the instruction to the general scheme if the
/// check fails.
pub(crate) fn is_checked(instruction: &Instruction, class: Class) -> bool {
    let word = instruction.word;
    let is_free = |code: u8| whole_register(code).is_none();
    match class {
        Class::Arithmetic => {
            word.load() == Load::Ram && !is_free(word.source())
                || word.operation() == 3
                    && (word.load() != Load::Immediate || instruction.immediate as u32 == 0)
        }
        Class::Push => word.load() == Load::Ram && !is_free(word.source()),
        Class::PopRam => !is_free(word.destination()),
        _ => false,
    }
}
