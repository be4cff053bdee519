//! Decoding of a function's bytes into instructions, in one linear pass.

use std::fmt;

use crate::leb::{self, LebError};
use crate::opcode::{Facts, Imm, Op, Prefix};

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inst {
    /// First immediate. Signed immediates keep their bits. For jumps: index of the target instruction. For JTAB:
    /// start of its targets in [`Decoded::targets`].
    pub a: u64,
    /// Second immediate. For JTAB: number of targets.
    pub b: u32,
    /// Byte offset in the function's code.
    pub offset: u32,
    /// The operation.
    pub op: Op,
    /// Its width prefix.
    pub prefix: Option<Prefix>,
}

const _: () = assert!(size_of::<Inst>() == 24);

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
        &self.targets[inst.a as usize..inst.a as usize + inst.b as usize]
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
    /// Indices of the instructions with jump targets.
    jumps: Vec<u32>,
}

/// Decodes the code of a function of a module with words of `width_bits`.
pub fn decode(code: &[u8], width_bits: u32, scratch: &mut Scratch) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded { insts: Vec::with_capacity(code.len() / 2 + 1), targets: Vec::new() };
    scratch.index_at.clear();
    scratch.index_at.resize(code.len(), 0);
    scratch.jumps.clear();
    if code.is_empty() {
        return Err(DecodeError { offset: 0, kind: DecodeErrorKind::Empty });
    }
    let mut at = 0;
    while at < code.len() {
        let start = at;
        let fail = |kind| DecodeError { offset: start as u32, kind };
        let mut facts = Facts::of(code[at]);
        let mut prefix = None;
        at += 1;
        if facts.op.is_none()
            && let Some(found) = Prefix::from_code(code[start])
        {
            facts = Facts::of(*code.get(at).ok_or(fail(DecodeErrorKind::Truncated(None)))?);
            at += 1;
            if found.bits() >= width_bits {
                return Err(fail(DecodeErrorKind::PrefixTooWide(found)));
            }
            prefix = Some(found);
        }
        let op = facts.op.ok_or(fail(DecodeErrorKind::UnknownOpcode(code[at - 1])))?;
        if prefix.is_some() && !facts.prefixable {
            return Err(fail(DecodeErrorKind::PrefixNotAllowed(op)));
        }
        let mut inst = Inst { a: 0, b: 0, offset: start as u32, op, prefix };
        if let [Some(first), second] = facts.imms {
            let is_jump = matches!(first, Imm::Rel | Imm::Table);
            let decoded_imms = if first == Imm::Table {
                table(code, &mut at, &mut decoded.targets).map(|(a, b)| (inst.a, inst.b) = (a, b))
            } else {
                immediate(code, &mut at, first).map(|a| inst.a = a)
            };
            decoded_imms.map_err(|error| fail(error.kind(op, first)))?;
            if let Some(second) = second {
                // No second immediate is wider than 32 bits.
                inst.b =
                    immediate(code, &mut at, second).map_err(|error| fail(error.kind(op, second)))? as u32;
            }
            if is_jump {
                scratch.jumps.push(decoded.insts.len() as u32);
            }
        }
        decoded.insts.push(inst);
        scratch.index_at[start] = decoded.insts.len() as u32;
    }
    resolve_jumps(&mut decoded, scratch)?;
    Ok(decoded)
}

/// Why an immediate is refused.
enum ImmError {
    Leb(LebError),
    Range,
    Outside,
}

impl From<LebError> for ImmError {
    fn from(error: LebError) -> ImmError {
        ImmError::Leb(error)
    }
}

impl ImmError {
    #[cold]
    fn kind(self, op: Op, imm: Imm) -> DecodeErrorKind {
        match self {
            ImmError::Leb(LebError::Truncated) => DecodeErrorKind::Truncated(Some(op)),
            ImmError::Leb(LebError::NotMinimal) => DecodeErrorKind::NotMinimal(op),
            ImmError::Leb(LebError::TooLarge) | ImmError::Range => DecodeErrorKind::ImmediateRange(op, imm),
            ImmError::Outside => DecodeErrorKind::JumpOutside(op),
        }
    }
}

/// Reads an immediate other than a table; of a jump the byte offset of its target.
#[inline(always)]
fn immediate(code: &[u8], at: &mut usize, imm: Imm) -> Result<u64, ImmError> {
    if imm.is_signed() {
        let value = leb::read_signed(code, at)?;
        if imm == Imm::Rel {
            return jump_target(*at, value, code.len()).map(u64::from).ok_or(ImmError::Outside);
        }
        return Ok(value as u64);
    }
    let value = leb::read_unsigned(code, at)?;
    if value > immediate_max(imm) { Err(ImmError::Range) } else { Ok(value) }
}

/// Reads a jump table: where its targets start, still as byte offsets, and how many they are.
#[inline(never)]
fn table(code: &[u8], at: &mut usize, targets: &mut Vec<u32>) -> Result<(u64, u32), ImmError> {
    let count = leb::read_unsigned(code, at)?;
    // Each distance takes at least one byte.
    if count >= (code.len() - *at) as u64 {
        return Err(ImmError::Leb(LebError::Truncated));
    }
    let first = targets.len();
    for _ in 0..=count {
        let distance = leb::read_signed(code, at)?;
        // Counted from the end of the instruction, which is known only after the last entry.
        targets.push(distance as i32 as u32);
        if i64::from(distance as i32) != distance {
            return Err(ImmError::Outside);
        }
    }
    for target in &mut targets[first..] {
        *target = jump_target(*at, i64::from(*target as i32), code.len()).ok_or(ImmError::Outside)?;
    }
    Ok((first as u64, count as u32 + 1))
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
fn resolve_jumps(decoded: &mut Decoded, scratch: &Scratch) -> Result<(), DecodeError> {
    let Decoded { insts, targets } = decoded;
    for &jump in &scratch.jumps {
        let inst = &mut insts[jump as usize];
        let op = inst.op;
        let offset = inst.offset;
        let resolve = |target: u32| match scratch.index_at[target as usize] {
            0 => Err(DecodeError { offset, kind: DecodeErrorKind::JumpIntoInstruction { op, target } }),
            index => Ok(index - 1),
        };
        if op == Op::Jtab {
            for target in &mut targets[inst.a as usize..inst.a as usize + inst.b as usize] {
                *target = resolve(*target)?;
            }
        } else {
            inst.a = resolve(inst.a as u32)? as u64;
        }
    }
    Ok(())
}
