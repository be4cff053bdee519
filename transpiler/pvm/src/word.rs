//! Instruction words and instructions (`docs/machines/pvm.md`, sections 3 and 4).

use std::fmt;

/// Where the operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The source register.
    Register = 0,
    /// Memory at the address in the source register.
    Ram = 1,
    /// The bytes behind the word.
    Immediate = 2,
    /// Nowhere.
    None = 3,
}

/// An instruction word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u16);

/// Names of the operations in listings.
const OPERATIONS: [&str; 16] = [
    "sum", "sub", "mul", "div", "and", "or", "nand", "nor", "xor", "bsl", "bsr", "rlr", "pop", "push", "swi",
    "nop",
];

/// Names of the registers in listings; the last four codes are reserved.
const REGISTERS: [&str; 12] = ["a", "x", "y", "b", "w", "z", "c", "d", "pc", "sb", "sp", "fl"];

/// FL's code.
pub const FL: u8 = 0xB;

impl Word {
    /// Bits 0 to 3.
    pub fn operation(self) -> u8 {
        (self.0 & 0xF) as u8
    }

    /// Bits 4 and 5.
    pub fn load(self) -> Load {
        [Load::Register, Load::Ram, Load::Immediate, Load::None][(self.0 >> 4 & 3) as usize]
    }

    /// Bits 6 and 7.
    pub fn load_size(self) -> u8 {
        (self.0 >> 6 & 3) as u8
    }

    /// Bytes of the operand.
    pub fn size(self) -> u8 {
        1 << self.load_size()
    }

    /// Bits 8 to 11.
    pub fn source(self) -> u8 {
        (self.0 >> 8 & 0xF) as u8
    }

    /// Bits 12 to 15.
    pub fn destination(self) -> u8 {
        (self.0 >> 12) as u8
    }

    /// Bytes of the instruction.
    pub fn bytes(self) -> u32 {
        2 + if self.load() == Load::Immediate { self.size() as u32 } else { 0 }
    }

    /// The fields by name, as the samples of the reference list them.
    pub fn fields(self) -> [(&'static str, u64); 5] {
        [
            ("operation", self.operation().into()),
            ("load_type", self.load() as u64),
            ("load_size", self.load_size().into()),
            ("source", self.source().into()),
            ("destination", self.destination().into()),
        ]
    }

    /// What is wrong with the word whatever the machine's state, if something is: it always raises this exception.
    pub fn fault(self) -> Option<Fault> {
        let source = self.source();
        let destination = self.destination();
        let reads_source = match self.operation() {
            0xF => false,
            0xC => false,
            _ => matches!(self.load(), Load::Register | Load::Ram),
        };
        let writes = self.operation() <= 0xB
            || self.operation() == 0xC && matches!(self.load(), Load::Register | Load::None);
        if self.0 == 0 {
            return Some(Fault::AllZero);
        }
        match (self.operation(), self.load()) {
            (0xF, _) => return None,
            (0xC, Load::Immediate) | (0..=0xB | 0xD | 0xE, Load::None) => return Some(Fault::LoadType),
            _ => {}
        }
        if reads_source {
            if source > FL {
                return Some(Fault::ReservedSource);
            }
            if self.load() == Load::Register && !is_size_allowed(source, self.size()) {
                return Some(Fault::SourceSize);
            }
        }
        if self.operation() == 0xC {
            if destination > FL {
                return Some(Fault::ReservedDestination);
            }
            if writes && !is_size_allowed(destination, self.size()) {
                return Some(Fault::DestinationSize);
            }
        }
        if writes {
            return match destination {
                0x8..=0xA => Some(Fault::Unwritable),
                0xC.. => Some(Fault::ReservedDestination),
                _ => None,
            };
        }
        None
    }
}

/// Whether a register may be an operand, or the destination of Pop, with this many bytes.
pub fn is_size_allowed(code: u8, size: u8) -> bool {
    match code {
        0x0 | 0x3 => true,
        0x1 | 0x2 | 0x4 | 0x5 | FL => size <= 4,
        _ => size == 8,
    }
}

/// What makes a word raise an exception whatever the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The word 0000.
    AllZero,
    /// A load type that the operation does not take.
    LoadType,
    /// Source C to F.
    ReservedSource,
    /// A size that the source does not take.
    SourceSize,
    /// Destination C to F.
    ReservedDestination,
    /// A size that the destination of Pop does not take.
    DestinationSize,
    /// Destination PC, SB or SP.
    Unwritable,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::AllZero => "invalid instruction (exception 1): the word is 0",
            Fault::LoadType => {
                "invalid instruction (exception 1): the operation does not take this load type"
            }
            Fault::ReservedSource => "invalid instruction (exception 1): the source register is reserved",
            Fault::SourceSize => "invalid instruction (exception 1): the source register has another size",
            Fault::ReservedDestination => {
                "invalid instruction (exception 1): the destination register is reserved"
            }
            Fault::DestinationSize => {
                "invalid instruction (exception 1): the destination register has another size"
            }
            Fault::Unwritable => "gpf (exception 2): PC, SB and SP are not written",
        })
    }
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it starts.
    pub address: u32,
    /// Its word.
    pub word: Word,
    /// Its immediate, 0 without one.
    pub immediate: u64,
}

impl Instruction {
    /// The instruction at an address of an image, or `None` if it is not wholly in it.
    #[inline]
    pub fn decode(image: &[u8], address: u32) -> Option<Instruction> {
        let bytes = image.get(address as usize..)?;
        let word = Word(u16::from_le_bytes(*bytes.first_chunk()?));
        let mut immediate = 0;
        if word.load() == Load::Immediate {
            let bytes = bytes.get(2..2 + word.size() as usize)?;
            immediate = match *bytes {
                [a] => a.into(),
                [a, b] => u16::from_le_bytes([a, b]).into(),
                [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
                _ => u64::from_le_bytes(*bytes.first_chunk()?),
            };
        }
        Some(Instruction { address, word, immediate })
    }

    /// The address behind it.
    #[inline]
    pub fn next(&self) -> u32 {
        self.address + self.word.bytes()
    }
}

impl fmt::Display for Instruction {
    /// In the notation of the reference, section 8.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word;
        if word.fault() == Some(Fault::AllZero) {
            return f.write_str(".word 0x0000");
        }
        let name = OPERATIONS[word.operation() as usize];
        if word.operation() == 0xF {
            return f.write_str(name);
        }
        let register = |code: u8| {
            REGISTERS.get(code as usize).map_or_else(|| format!("?{code:X}"), |name| (*name).to_owned())
        };
        let size = ["b", "w", "d", "q"][word.load_size() as usize];
        let operand = match word.load() {
            Load::Register => register(word.source()),
            Load::Ram => format!("[{}]", register(word.source())),
            Load::Immediate => format!("#{:#x}", self.immediate),
            Load::None => "?".to_owned(),
        };
        match word.operation() {
            0xC if word.load() == Load::Ram => write!(f, "pop.{size} [{}]", register(word.destination())),
            0xC => write!(f, "pop.{size} {}", register(word.destination())),
            0xD => write!(f, "push.{size} {operand}"),
            0xE => write!(f, "swi.{size} {operand}"),
            _ => write!(f, "{name}.{size} {}, {operand}", register(word.destination())),
        }
    }
}

/// The name of a register in listings.
pub fn register_name(code: u8) -> Option<&'static str> {
    REGISTERS.get(code as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The listings of the reference, section 8.
    #[test]
    fn instructions_are_shown_as_the_reference_writes_them() {
        for (bytes, text) in [
            (&[0x20, 0x00, 0x05][..], "sum.b a, #0x5"),
            (&[0xC1, 0x03], "sub.q a, b"),
            (&[0x50, 0x63], "sum.w c, [b]"),
            (&[0xAD, 0x00, 0x01, 0x00, 0x00, 0x00], "push.d #0x1"),
            (&[0xDC, 0x30], "pop.q [b]"),
            (&[0x2E, 0x00, 0x80], "swi.b #0x80"),
            (&[0x25, 0xB0, 0x0C], "or.b fl, #0xc"),
            (&[0xFF, 0xFF], "nop"),
        ] {
            let instruction = Instruction::decode(bytes, 0).expect("a whole instruction");
            assert_eq!(instruction.to_string(), text);
            assert_eq!(instruction.next() as usize, bytes.len());
        }
    }

    #[test]
    fn a_truncated_instruction_is_none() {
        assert_eq!(Instruction::decode(&[0xAD, 0, 1, 0, 0], 0), None);
        assert_eq!(Instruction::decode(&[0xFF], 0), None);
        assert_eq!(Instruction::decode(&[], 7), None);
    }
}
