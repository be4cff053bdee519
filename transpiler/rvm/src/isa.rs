//! The instructions (`docs/machines/rvm.md`, section 6): the only list of them.

/// What stands behind an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Nothing.
    None,
    /// A name.
    Name,
    /// A label, in files the number of a record.
    Label,
    /// A literal, `[T:n]`, or the name of a structure.
    Value,
}

macro_rules! instructions {
    ($($code:literal $name:ident $text:literal $operand:ident $typed:literal;)*) => {
        /// Codes of instructions by name.
        // Some are only met as numbers in tables.
        #[allow(missing_docs, dead_code)]
        pub mod op {
            $(pub const $name: u8 = $code;)*
        }
        /// Name, operand and whether a type byte demands the operands' type, by code.
        const TABLE: [(&str, Operand, bool); 0x45] = [$(($text, Operand::$operand, $typed)),*];
    };
}

instructions! {
    0x00 HALT "halt" None false;
    0x01 NOOP "noop" None false;
    0x02 LOAD "load" Name false;
    0x03 STORE "store" Name false;
    0x04 PUSH "push" Value false;
    0x05 POP "pop" None false;
    0x06 DUP "dup" None false;
    0x07 SWAP "swap" None false;
    0x08 BR "br" Label false;
    0x09 BRF "brf" Label false;
    0x0A BRT "brt" Label false;
    0x0B BEQ "beq" Label false;
    0x0C BGE "bge" Label false;
    0x0D BGT "bgt" Label false;
    0x0E BLE "ble" Label false;
    0x0F BLT "blt" Label false;
    0x10 BNE "bne" Label false;
    0x11 ADD "add" None true;
    0x12 SUB "sub" None true;
    0x13 MUL "mul" None true;
    0x14 DIV "div" None true;
    0x15 MOD "mod" None true;
    0x16 AND "and" None true;
    0x17 OR "or" None true;
    0x18 XOR "xor" None true;
    0x19 SHL "shl" None true;
    0x1A SHR "shr" None true;
    0x1B NOT "not" None true;
    0x1C LAND "land" None true;
    0x1D LOR "lor" None true;
    0x1E LNOT "lnot" None true;
    0x1F CONV "conv" None false;
    0x20 EQ "eq" None true;
    0x21 GE "ge" None true;
    0x22 GT "gt" None true;
    0x23 LE "le" None true;
    0x24 LT "lt" None true;
    0x25 NE "ne" None true;
    0x26 LABEL "label" Name false;
    0x27 ROT "rot" None false;
    0x28 INC "inc" None true;
    0x29 DEC "dec" None true;
    0x2A NEG "neg" None true;
    0x2B CALL "call" Name false;
    0x2C RET "ret" None false;
    0x2D BEGIN "begin" Name false;
    0x2E END "end" None false;
    0x2F TYPEOF "typeof" None false;
    0x30 DEREF "deref" None false;
    0x31 ITOF "itof" None false;
    0x32 ITOS "itos" None false;
    0x33 ITOB "itob" None false;
    0x34 ITOC "itoc" None false;
    0x35 ITOP "itop" None false;
    0x36 FTOI "ftoi" None false;
    0x37 FTOS "ftos" None false;
    0x38 FTOB "ftob" None false;
    0x39 FTOC "ftoc" None false;
    0x3A STOI "stoi" None false;
    0x3B STOF "stof" None false;
    0x3C STOB "stob" None false;
    0x3D STOC "stoc" None false;
    0x3E CTOS "ctos" None false;
    0x3F CTOB "ctob" None false;
    0x40 PTOI "ptoi" None false;
    0x41 PTOS "ptos" None false;
    0x42 CTOF "ctof" None false;
    0x43 CTOI "ctoi" None false;
    0x44 BTOS "btos" None false;
}

/// Other spellings.
const ALIASES: [(&str, u8); 5] =
    [("jmp", op::BR), ("jmpc", op::BRT), ("gte", op::GE), ("lte", op::LE), ("neq", op::NE)];

/// The name of an instruction, if the code is one.
pub fn name(code: u8) -> Option<&'static str> {
    TABLE.get(usize::from(code)).map(|row| row.0)
}

/// What stands behind an instruction with a valid code.
pub fn operand(code: u8) -> Operand {
    TABLE[usize::from(code)].1
}

/// Whether a type byte of the instruction demands the type of its operands.
pub fn is_typed(code: u8) -> bool {
    TABLE[usize::from(code)].2
}

/// The code of a mnemonic in lower case. Marks of labels have none.
pub fn from_mnemonic(name: &[u8]) -> Option<u8> {
    let code = TABLE.iter().position(|row| row.0.as_bytes() == name).map(|code| code as u8);
    let code = code.filter(|code| *code != op::LABEL);
    code.or_else(|| ALIASES.iter().find(|alias| alias.0.as_bytes() == name).map(|alias| alias.1))
}

/// All mnemonics.
pub fn mnemonics() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.0).filter(|name| *name != "label").chain(ALIASES.iter().map(|alias| alias.0))
}
