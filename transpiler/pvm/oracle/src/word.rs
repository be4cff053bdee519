//! The instruction word (section 3).

/// Where the operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadType {
    /// The source register.
    Register,
    /// Memory at the address in the source register.
    Ram,
    /// The bytes behind the word.
    Immediate,
    /// Nowhere.
    None,
}

/// An instruction word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u16);

impl Word {
    /// Bits 0 to 3.
    pub fn operation(self) -> u8 {
        (self.0 & 0xF) as u8
    }

    /// Bits 4 and 5.
    pub fn load_type(self) -> LoadType {
        match self.0 >> 4 & 3 {
            0 => LoadType::Register,
            1 => LoadType::Ram,
            2 => LoadType::Immediate,
            _ => LoadType::None,
        }
    }

    /// Bits 6 and 7: the operand's bytes.
    pub fn size(self) -> usize {
        1 << (self.0 >> 6 & 3)
    }

    /// Bits 8 to 11.
    pub fn source(self) -> u8 {
        (self.0 >> 8 & 0xF) as u8
    }

    /// Bits 12 to 15.
    pub fn destination(self) -> u8 {
        (self.0 >> 12) as u8
    }
}
