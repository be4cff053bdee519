//! Decoding of a function's bytes into instructions, in one linear pass.

use std::fmt;

use crate::leb::{self, LebError};
use crate::opcode::{Flow, Imm, Op, Prefix};

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inst {
    /// First immediate. Signed immediates keep their bits. For jumps: index of the target instruction. For JTAB:
    /// start of its targets in [`Decoded::targets`].
    pub a: u64,
    /// Second immediate. For JTAB: number of targets.
    pub b: u64,
    /// Byte offset in the function's code.
    pub offset: u32,
    /// The operation.
    pub op: Op,
    /// Its width prefix.
    pub prefix: Option<Prefix>,
}

/// The instructions of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Instructions in order.
    pub insts: Vec<Inst>,
    /// Targets of jump tables, as instruction indices.
    pub targets: Vec<u32>,
}

impl Decoded {
    /// The index of the instruction that starts at a byte offset.
    pub fn index_of(&self, offset: u32) -> Option<u32> {
        self.insts.binary_search_by_key(&offset, |inst| inst.offset).ok().map(|index| index as u32)
    }

    /// The targets of the JTAB instruction `inst`.
    pub fn table(&self, inst: &Inst) -> &[u32] {
        &self.targets[inst.a as usize..(inst.a + inst.b) as usize]
    }
}

/// Why a function's bytes are no instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Byte offset of the instruction.
    pub offset: u32,
    /// What is wrong.
    pub kind: DecodeErrorKind,
}

/// What is wrong with an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The function has no instructions.
    Empty,
    /// No operation has this code.
    UnknownOpcode(u8),
    /// The code ends inside the instruction.
    Truncated(Option<Op>),
    /// An immediate is longer than needed.
    NotMinimal(Op),
    /// An immediate is outside its range.
    ImmediateRange(Op, Imm),
    /// The operation takes no width prefix.
    PrefixNotAllowed(Op),
    /// The prefix is not narrower than the module's words.
    PrefixTooWide(Prefix),
    /// A jump leaves the function.
    JumpOutside(Op),
    /// A jump lands inside an instruction.
    JumpIntoInstruction {
        /// The jump.
        op: Op,
        /// Where it lands.
        target: u32,
    },
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeErrorKind::Empty => write!(f, "the function has no instructions"),
            DecodeErrorKind::UnknownOpcode(code) => write!(f, "no operation has the code 0x{code:02x}"),
            DecodeErrorKind::Truncated(Some(op)) => write!(f, "the code ends inside {}", op.mnemonic()),
            DecodeErrorKind::Truncated(None) => write!(f, "the code ends after a width prefix"),
            DecodeErrorKind::NotMinimal(op) => {
                write!(f, "an immediate of {} is longer than it needs to be", op.mnemonic())
            }
            DecodeErrorKind::ImmediateRange(op, imm) => {
                write!(f, "the immediate `{}` of {} is outside its range", imm.name(), op.mnemonic())
            }
            DecodeErrorKind::PrefixNotAllowed(op) => write!(f, "{} takes no width prefix", op.mnemonic()),
            DecodeErrorKind::PrefixTooWide(prefix) => {
                write!(f, "the prefix {} is not narrower than the module's words", prefix.mnemonic())
            }
            DecodeErrorKind::JumpOutside(op) => write!(f, "{} jumps out of the function", op.mnemonic()),
            DecodeErrorKind::JumpIntoInstruction { op, target } => {
                write!(f, "{} jumps to offset {target}, which is inside an instruction", op.mnemonic())
            }
        }
    }
}

/// Memory that [`decode`] reuses from function to function.
#[derive(Default)]
pub struct Scratch {
    /// Instruction index plus one at each byte offset, 0 inside instructions.
    index_at: Vec<u32>,
}

/// Decodes the code of a function of a module with words of `width_bits`.
pub fn decode(code: &[u8], width_bits: u32, scratch: &mut Scratch) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded { insts: Vec::with_capacity(code.len() / 2 + 1), targets: Vec::new() };
    scratch.index_at.clear();
    scratch.index_at.resize(code.len(), 0);
    if code.is_empty() {
        return Err(DecodeError { offset: 0, kind: DecodeErrorKind::Empty });
    }
    let mut has_jumps = false;
    let mut at = 0;
    while at < code.len() {
        let start = at;
        let fail = |kind| DecodeError { offset: start as u32, kind };
        let mut byte = code[at];
        at += 1;
        let prefix = Prefix::from_code(byte);
        if let Some(prefix) = prefix {
            byte = *code.get(at).ok_or(fail(DecodeErrorKind::Truncated(None)))?;
            at += 1;
            if prefix.bits() >= width_bits {
                return Err(fail(DecodeErrorKind::PrefixTooWide(prefix)));
            }
        }
        let op = Op::from_code(byte).ok_or(fail(DecodeErrorKind::UnknownOpcode(byte)))?;
        let info = op.info();
        if prefix.is_some() && !info.prefixable {
            return Err(fail(DecodeErrorKind::PrefixNotAllowed(op)));
        }
        let mut inst = Inst { a: 0, b: 0, offset: start as u32, op, prefix };
        let leb_error = |imm: Imm| {
            move |error: LebError| {
                fail(match error {
                    LebError::Truncated => DecodeErrorKind::Truncated(Some(op)),
                    LebError::NotMinimal => DecodeErrorKind::NotMinimal(op),
                    LebError::TooLarge => DecodeErrorKind::ImmediateRange(op, imm),
                })
            }
        };
        for (position, &imm) in info.imms.iter().enumerate() {
            let value = if imm == Imm::Table {
                let count = leb::read_unsigned(code, &mut at).map_err(leb_error(imm))?;
                // Each distance takes at least one byte.
                if count >= (code.len() - at) as u64 {
                    return Err(fail(DecodeErrorKind::Truncated(Some(op))));
                }
                inst.b = count + 1;
                let first = decoded.targets.len();
                for _ in 0..=count {
                    let distance = leb::read_signed(code, &mut at).map_err(leb_error(imm))?;
                    // Counted from the end of the instruction, which is known only after the last entry.
                    decoded.targets.push(distance as i32 as u32);
                    if i64::from(distance as i32) != distance {
                        return Err(fail(DecodeErrorKind::JumpOutside(op)));
                    }
                }
                for target in &mut decoded.targets[first..] {
                    *target = jump_target(at, i64::from(*target as i32), code.len())
                        .ok_or(fail(DecodeErrorKind::JumpOutside(op)))?;
                }
                has_jumps = true;
                first as u64
            } else if imm.is_signed() {
                let value = leb::read_signed(code, &mut at).map_err(leb_error(imm))?;
                if imm == Imm::Rel {
                    has_jumps = true;
                    let target = jump_target(at, value, code.len());
                    target.ok_or(fail(DecodeErrorKind::JumpOutside(op)))? as u64
                } else {
                    value as u64
                }
            } else {
                let value = leb::read_unsigned(code, &mut at).map_err(leb_error(imm))?;
                if value > immediate_max(imm) {
                    return Err(fail(DecodeErrorKind::ImmediateRange(op, imm)));
                }
                value
            };
            if position == 0 {
                inst.a = value;
            } else {
                inst.b = value;
            }
        }
        decoded.insts.push(inst);
        scratch.index_at[start] = decoded.insts.len() as u32;
    }
    if has_jumps {
        resolve_jumps(&mut decoded, &scratch.index_at)?;
    }
    Ok(decoded)
}

/// The absolute target of a jump, if it is inside the code.
#[inline]
fn jump_target(end: usize, distance: i64, code_len: usize) -> Option<u32> {
    let target = (end as i64).checked_add(distance)?;
    (0..code_len as i64).contains(&target).then_some(target as u32)
}

/// The greatest value of an unsigned immediate that no table bounds.
pub const fn immediate_max(imm: Imm) -> u64 {
    match imm {
        Imm::Offset | Imm::Amount => u32::MAX as u64,
        Imm::Format => 31,
        Imm::Bits => 512,
        Imm::ScanFlags | Imm::TxFlags => 1,
        _ => 65_535,
    }
}

/// Turns byte targets into instruction indices.
fn resolve_jumps(decoded: &mut Decoded, index_at: &[u32]) -> Result<(), DecodeError> {
    let Decoded { insts, targets } = decoded;
    for inst in insts {
        let op = inst.op;
        let offset = inst.offset;
        let resolve = |target: u32| match index_at[target as usize] {
            0 => Err(DecodeError { offset, kind: DecodeErrorKind::JumpIntoInstruction { op, target } }),
            index => Ok(index - 1),
        };
        match op.info().flow {
            Flow::Jump | Flow::Branch => inst.a = resolve(inst.a as u32)? as u64,
            Flow::Multi if op == Op::Jtab => {
                for target in &mut targets[inst.a as usize..(inst.a + inst.b) as usize] {
                    *target = resolve(*target)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
