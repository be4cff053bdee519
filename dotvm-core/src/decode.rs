//! Decoding of a function's bytes into instructions, in one linear pass.

use std::fmt;

use crate::leb::{self, LebError};
use crate::opcode::{Facts, Imm, Op, Prefix, Quick};

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
    borders: Indices,
    /// The instructions with jump targets.
    jumps: Indices,
}

/// Instruction indices, ascending. Adding one conditionally takes no branch.
#[derive(Default)]
struct Indices {
    /// One place more than can be taken.
    places: Vec<u32>,
    count: usize,
}

impl Indices {
    fn reset(&mut self, limit: usize) {
        if self.places.len() <= limit {
            self.places.resize(limit + 1, 0);
        }
        self.count = 0;
    }

    #[inline(always)]
    fn add_if(&mut self, condition: bool, index: u32) {
        self.places[self.count] = index;
        self.count += condition as usize;
    }

    fn as_slice(&self) -> &[u32] {
        &self.places[..self.count]
    }
}

impl Scratch {
    /// Indices of the instructions of the function decoded last that end a block or start one themselves.
    pub(crate) fn borders(&self) -> &[u32] {
        self.borders.as_slice()
    }
}

/// Decodes the code of a function of a module with words of `width_bits`.
pub fn decode(code: &[u8], width_bits: u32, scratch: &mut Scratch) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    decode_into(code, width_bits, scratch, &mut decoded)?;
    Ok(decoded)
}

/// The same into memory that is reused from function to function.
pub fn decode_into(
    code: &[u8],
    width_bits: u32,
    scratch: &mut Scratch,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    if code.is_empty() {
        return Err(DecodeError { offset: 0, kind: DecodeErrorKind::Empty });
    }
    let Scratch { index_at, borders, jumps } = scratch;
    let Decoded { insts, targets } = decoded;
    insts.clear();
    targets.clear();
    insts.reserve(code.len() / 2 + 1);
    index_at.clear();
    index_at.resize(code.len(), 0);
    borders.reset(code.len());
    jumps.reset(code.len());
    let index_at = &mut index_at[..code.len()];
    let mut at = 0;
    while at < code.len() {
        let start = at;
        let index = insts.len() as u32;
        let facts = Facts::of(code[start]);
        index_at[start] = index + 1;
        if let (Some(op), Some((a, len))) = (facts.op, quick(code, start, facts.quick)) {
            at = start + len;
            borders.add_if(facts.is_border, index);
            jumps.add_if(facts.quick == Quick::Rel, index);
            insts.push(Inst { a, b: 0, offset: start as u32, op, prefix: None });
            continue;
        }
        let inst = instruction(code, &mut at, width_bits, targets)?;
        borders.add_if(Facts::of(inst.op as u8).is_border, index);
        jumps.add_if(matches!(inst.op.info().imms, [Imm::Rel | Imm::Table]), index);
        insts.push(inst);
    }
    resolve_jumps(decoded, jumps.as_slice(), index_at)
}

/// The immediate of an instruction without prefix and the instruction's length, if it has at most one immediate and
/// that is one or two bytes long, minimal and in range. What it does not read is read, or refused, elsewhere.
#[inline(always)]
fn quick(code: &[u8], start: usize, quick: Quick) -> Option<(u64, usize)> {
    if quick == Quick::None {
        return Some((0, 1));
    }
    let low = *code.get(start + 1)?;
    let (unsigned, bits) = if low < 0x80 {
        (low as u64, 7)
    } else {
        let high = *code.get(start + 2)?;
        // A high part that only repeats the sign (or is zero) is not minimal; that is told apart elsewhere.
        if high >= 0x80 || high == 0 || high == 0x7f {
            return None;
        }
        ((low & 0x7f) as u64 | (high as u64) << 7, 14)
    };
    let len = 1 + bits / 7;
    let signed = ((unsigned << (64 - bits)) as i64 >> (64 - bits)) as u64;
    let target = signed.wrapping_add((start + len) as u64);
    match quick {
        Quick::Unsigned => Some((unsigned, len)),
        Quick::Signed => Some((signed, len)),
        Quick::Rel if target < code.len() as u64 => Some((target, len)),
        _ => None,
    }
}

/// Decodes one instruction of any kind at `*at` and moves `*at` behind it.
#[inline(never)]
fn instruction(
    code: &[u8],
    at: &mut usize,
    width_bits: u32,
    targets: &mut Vec<u32>,
) -> Result<Inst, DecodeError> {
    let start = *at;
    let fail = |kind| DecodeError { offset: start as u32, kind };
    let mut byte = code[start];
    *at += 1;
    let prefix = Prefix::from_code(byte);
    if let Some(prefix) = prefix {
        byte = *code.get(*at).ok_or(fail(DecodeErrorKind::Truncated(None)))?;
        *at += 1;
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
    for (position, &imm) in info.imms.iter().enumerate() {
        let refused = |error: ImmError| fail(error.kind(op, imm));
        if imm == Imm::Table {
            (inst.a, inst.b) = table(code, at, targets).map_err(refused)?;
        } else if position == 0 {
            inst.a = immediate(code, at, imm).map_err(refused)?;
        } else {
            // No second immediate is wider than 32 bits.
            inst.b = immediate(code, at, imm).map_err(refused)? as u32;
        }
    }
    Ok(inst)
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
fn resolve_jumps(decoded: &mut Decoded, jumps: &[u32], index_at: &[u32]) -> Result<(), DecodeError> {
    let Decoded { insts, targets } = decoded;
    for &jump in jumps {
        let inst = &mut insts[jump as usize];
        let op = inst.op;
        let offset = inst.offset;
        let resolve = |target: u32| match index_at[target as usize] {
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
