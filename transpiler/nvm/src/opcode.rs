//! The instructions (section 5) and system calls (section 8), each named once.

/// What follows an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    Plain,
    /// A byte.
    Byte,
    /// A number of four bytes, big-endian.
    Word,
    /// The same, which is an address of code.
    Address,
    /// The number of a system call.
    Call,
}

impl Form {
    /// Bytes of an instruction.
    pub fn bytes(self) -> u32 {
        match self {
            Form::Plain => 1,
            Form::Byte | Form::Call => 2,
            Form::Word | Form::Address => 5,
        }
    }
}

macro_rules! instructions {
    ($($code:literal $variant:ident $name:literal $form:ident;)*) => {
        /// An instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Op {
            $(#[doc = $name] $variant = $code,)*
        }

        impl Op {
            /// All of them.
            pub const ALL: &'static [Op] = &[$(Op::$variant),*];

            /// The instruction with this opcode.
            pub fn from_code(code: u8) -> Option<Op> {
                match code { $($code => Some(Op::$variant),)* _ => None }
            }

            /// The name in assembly text.
            pub fn name(self) -> &'static str {
                match self { $(Op::$variant => $name),* }
            }

            /// What follows the opcode.
            pub fn form(self) -> Form {
                match self { $(Op::$variant => Form::$form),* }
            }
        }
    };
}

instructions! {
    0x00 Halt "halt" Plain;
    0x01 Nop "nop" Plain;
    0x02 Push "push" Word;
    0x04 Pop "pop" Plain;
    0x05 Dup "dup" Plain;
    0x06 Swap "swap" Plain;
    0x10 Add "add" Plain;
    0x11 Sub "sub" Plain;
    0x12 Mul "mul" Plain;
    0x13 Div "div" Plain;
    0x14 Mod "mod" Plain;
    0x20 Cmp "cmp" Plain;
    0x21 Eq "eq" Plain;
    0x22 Neq "neq" Plain;
    0x23 Gt "gt" Plain;
    0x24 Lt "lt" Plain;
    0x30 Jmp "jmp" Address;
    0x31 Jz "jz" Address;
    0x32 Jnz "jnz" Address;
    0x33 Call "call" Address;
    0x34 Ret "ret" Plain;
    0x35 Enter "enter" Byte;
    0x36 Leave "leave" Plain;
    0x37 LoadArg "load_arg" Byte;
    0x38 StoreArg "store_arg" Byte;
    0x40 Load "load" Byte;
    0x41 Store "store" Byte;
    0x42 LoadRel "load_rel" Byte;
    0x43 StoreRel "store_rel" Byte;
    0x44 LoadAbs "load_abs" Plain;
    0x45 StoreAbs "store_abs" Plain;
    0x46 LoadHeap "load_heap" Plain;
    0x47 StoreHeap "store_heap" Plain;
    0x50 Syscall "syscall" Call;
    0x51 Break "break" Plain;
    0x60 And "and" Plain;
    0x61 Or "or" Plain;
    0x62 Xor "xor" Plain;
    0x63 Not "not" Plain;
    0x64 Shl "shl" Plain;
    0x65 Shr "shr" Plain;
    0x66 Sar "sar" Plain;
}

/// Other names that assembly text knows instructions by.
pub const OTHER_NAMES: &[(&str, Op)] = &[("hlt", Op::Halt)];

/// The names of system calls, and older ones.
pub const CALLS: &[(&str, u8)] = &[
    ("exit", 0x00),
    ("spawn", 0x01),
    ("open", 0x02),
    ("read", 0x03),
    ("write", 0x04),
    ("create", 0x05),
    ("delete", 0x06),
    ("cap_request", 0x07),
    ("cap_spawn", 0x08),
    ("drv_call", 0x09),
    ("msg_send", 0x0A),
    ("msg_recv", 0x0B),
    ("inb", 0x0C),
    ("outb", 0x0D),
    ("print", 0x0E),
    ("msg_receive", 0x0B),
    ("msg_recieve", 0x0B),
    ("port_in_byte", 0x0C),
    ("port_out_byte", 0x0D),
];

/// The instruction with a name, in any letter case.
pub fn op_named(name: &str) -> Option<Op> {
    let others = OTHER_NAMES.iter().copied();
    let mut all = Op::ALL.iter().map(|op| (op.name(), *op)).chain(others);
    all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, op)| op)
}

/// The number of the system call with a name, in any letter case.
pub fn call_named(name: &str) -> Option<u8> {
    CALLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

/// An instruction in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it is.
    pub address: u32,
    /// What it is.
    pub op: Op,
    /// Its operand, 0 without one.
    pub operand: u32,
}

/// Why there is no instruction at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInstruction {
    /// The image ends before it.
    End,
    /// No instruction has this opcode.
    Opcode(u8),
    /// The image ends within it.
    Truncated(Op),
}

impl Instruction {
    /// Decodes the instruction at an address.
    ///
    /// # Errors
    /// If there is none.
    pub fn decode(image: &[u8], address: u32) -> Result<Instruction, NoInstruction> {
        let rest = image.get(address as usize..).unwrap_or_default();
        let Some(&code) = rest.first() else { return Err(NoInstruction::End) };
        let op = Op::from_code(code).ok_or(NoInstruction::Opcode(code))?;
        let operand = match op.form() {
            Form::Plain => 0,
            Form::Byte | Form::Call => u32::from(*rest.get(1).ok_or(NoInstruction::Truncated(op))?),
            Form::Word | Form::Address => {
                let bytes = rest.get(1..5).ok_or(NoInstruction::Truncated(op))?;
                bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
            }
        };
        Ok(Instruction { address, op, operand })
    }

    /// The address behind it.
    pub fn next(&self) -> u32 {
        self.address + self.op.form().bytes()
    }
}

impl std::fmt::Display for Instruction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.op.name())?;
        match self.op.form() {
            Form::Plain => Ok(()),
            Form::Byte => write!(f, " {}", self.operand),
            Form::Word => write!(f, " {}", self.operand as i32),
            Form::Address => write!(f, " {:#x}", self.operand),
            Form::Call => match CALLS.iter().find(|call| u32::from(call.1) == self.operand) {
                Some((name, _)) => write!(f, " {name}"),
                None => write!(f, " {:#04x}", self.operand),
            },
        }
    }
}

/// Whether an image takes paths and strings from the heap: `auto` of section 8.
pub fn uses_heap(image: &[u8]) -> bool {
    let mut at = 4;
    while let Some(&code) = image.get(at) {
        match Op::from_code(code) {
            Some(Op::LoadHeap | Op::StoreHeap) => return true,
            Some(op) => at += op.form().bytes() as usize,
            None => at += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_42_instructions() {
        assert_eq!(Op::ALL.len(), 42);
        for &op in Op::ALL {
            assert_eq!(Op::from_code(op as u8), Some(op));
            assert_eq!(op_named(&op.name().to_uppercase()), Some(op));
        }
        assert_eq!(Op::from_code(0x03), None);
    }

    #[test]
    fn the_interface_is_chosen_by_a_walk() {
        assert!(uses_heap(b"NVM0\x46"));
        assert!(!uses_heap(b"NVM0\x02\0\0\0\x46"));
        assert!(uses_heap(b"NVM0\x03\x47"));
        assert!(!uses_heap(b"NVM0\x40"));
    }
}
