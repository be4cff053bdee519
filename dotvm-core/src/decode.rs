//! Decoding of a function's bytes into instructions, in one linear pass.

use std::fmt;

use crate::leb::{self, LebError};
use crate::opcode::{Facts, Flow, Imm, OPS, Op, OpInfo, Prefix, is_page};

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
    UnknownOpcode(u16),
    /// The code ends inside the instruction.
    Truncated(Option<Op>),
    /// An immediate is longer than needed.
    NotMinimal(Op),
    /// An immediate is outside its range.
    ImmediateRange(Op, Imm),
    /// The operation takes no width prefix, or not this one.
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
            DecodeErrorKind::Truncated(None) => {
                write!(f, "the code ends after a width prefix or the code of a page")
            }
            DecodeErrorKind::NotMinimal(op) => {
                write!(f, "an immediate of {} is longer than it needs to be", op.mnemonic())
            }
            DecodeErrorKind::ImmediateRange(op, imm) => {
                write!(f, "the immediate `{}` of {} is outside its range", imm.name(), op.mnemonic())
            }
            DecodeErrorKind::PrefixNotAllowed(op) if op.is_float() => {
                write!(f, "{} takes no width prefix but W32", op.mnemonic())
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
    /// Instruction index at each byte offset where an instruction starts; elsewhere what earlier functions left.
    index_at: Vec<u32>,
    /// Indices of instructions that end a block or start one themselves, ascending, and one place more.
    borders: Vec<u32>,
    border_count: usize,
}

impl Scratch {
    /// Indices of the instructions of the function decoded last that end a block or start one themselves.
    pub(crate) fn borders(&self) -> &[u32] {
        &self.borders[..self.border_count]
    }

    /// Makes room for a function with `len` bytes of code.
    fn make_room(&mut self, len: usize) {
        if self.borders.len() <= len {
            self.index_at.resize(len, 0);
            self.borders.resize(len + 1, 0);
        }
        self.border_count = 0;
    }

    /// Adds a border if the condition holds, without a branch.
    #[inline(always)]
    fn border_if(&mut self, condition: bool, index: u32) {
        self.borders[self.border_count] = index;
        self.border_count += condition as usize;
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
    scratch.make_room(code.len());
    decoded.insts.clear();
    decoded.insts.reserve(code.len() / 2 + 1);
    decoded.targets.clear();
    let mut at = 0;
    loop {
        at = short_instructions(code, at, scratch, &mut decoded.insts);
        if at == code.len() {
            break;
        }
        scratch.index_at[at] = decoded.insts.len() as u32;
        let inst = instruction(code, &mut at, width_bits, &mut decoded.targets)?;
        scratch.border_if(Facts::of_op(inst.op).is_border, decoded.insts.len() as u32);
        decoded.insts.push(inst);
    }
    resolve_jumps(decoded, scratch)
}

/// How an instruction is read that has no prefix, one byte of code and at most one immediate of one or two bytes, as masks: whether there
/// is an immediate, how long it is and of what kind is different at every instruction, and computing with masks spares
/// the wrong predictions of branches.
#[derive(Clone, Copy)]
struct Short {
    /// The bits of the immediate.
    mask: u32,
    /// The sign bit of a signed immediate, else 0.
    sign: u32,
    /// All ones if the immediate is the distance of a jump, else 0.
    rel: u64,
    /// Bytes of the instruction.
    len: u8,
    /// The bits of the immediate's second byte, 0 if there is none.
    second: u8,
    /// The second byte less one must be below this: one of nothing but zeros or signs may be one too many, and one with
    /// its top bit set is not the last. 0 if the instruction cannot be read so.
    limit: u8,
    op: Op,
}

/// By code, twice: followed by a byte below 0x80, and by another.
static SHORT: [Short; 512] = {
    let mut table = [Short { mask: 0, sign: 0, rel: 0, len: 1, second: 0, limit: 0, op: Op::Trap }; 512];
    let mut row = 0;
    while row < OPS.len() {
        let info = &OPS[row];
        let code = info.code as usize;
        if code < 0x100 {
            table[2 * code] = Short::of(info, 1);
            table[2 * code + 1] = Short::of(info, 2);
        }
        row += 1;
    }
    table
};

impl Short {
    /// The operation with an immediate of one or two bytes, if it has one.
    const fn of(info: &OpInfo, bytes: u8) -> Short {
        let none = Short { mask: 0, sign: 0, rel: 0, len: 1, second: 0, limit: 0x7e, op: info.op };
        let mask = if bytes == 1 { 0x7f } else { 0x3fff };
        let second = if bytes == 1 { 0 } else { 0xff };
        let unsigned = Short { mask, len: 1 + bytes, second, ..none };
        let signed = Short { sign: 1 << (7 * bytes - 1), ..unsigned };
        match info.imms {
            [] => none,
            [Imm::Signed] => signed,
            [Imm::Rel] => Short { rel: u64::MAX, ..signed },
            [Imm::Table] => Short { limit: 0, ..none },
            [imm] if immediate_max(*imm) >= mask as u64 => unsigned,
            _ => Short { limit: 0, ..none },
        }
    }
}

/// Decodes instructions that are [`Short`] from `at` on; answers where they end. What it does not read is read, or
/// refused, elsewhere.
#[inline(never)]
fn short_instructions(code: &[u8], mut at: usize, scratch: &mut Scratch, insts: &mut Vec<Inst>) -> usize {
    let index_at = &mut scratch.index_at[..code.len()];
    let borders = &mut scratch.borders[..];
    let mut border_count = scratch.border_count;
    while let Some(&[byte, low, high]) = code.get(at..at + 3).and_then(|bytes| bytes.first_chunk()) {
        let short = &SHORT[2 * byte as usize + (low >> 7) as usize];
        let end = at + short.len as usize;
        let bits = ((low & 0x7f) as u32 | (high as u32) << 7) & short.mask;
        let value = (bits ^ short.sign).wrapping_sub(short.sign) as i32 as u64;
        let a = value.wrapping_add(short.rel & end as u64);
        let is_inside = (short.rel & a) < code.len() as u64;
        if (high.wrapping_sub(1) & short.second >= short.limit) | !is_inside {
            break;
        }
        let index = insts.len() as u32;
        index_at[at] = index;
        borders[border_count] = index;
        border_count += Facts::of(byte).is_border as usize;
        insts.push(Inst { a, b: 0, offset: at as u32, op: short.op, prefix: None });
        at = end;
    }
    scratch.border_count = border_count;
    at
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
    let mut number = u16::from(byte);
    if is_page(byte) {
        let second = *code.get(*at).ok_or(fail(DecodeErrorKind::Truncated(None)))?;
        number = number << 8 | u16::from(second);
        *at += 1;
    }
    let op = Op::from_code(number).ok_or(fail(DecodeErrorKind::UnknownOpcode(number)))?;
    let info = op.info();
    if prefix.is_some_and(|prefix| !info.takes(prefix)) {
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
        Imm::ByteCount => 64,
        Imm::Signedness => 1,
        Imm::Axis => u64::MAX,
        Imm::LaneIndex => 63,
        Imm::Lane => 5,
        Imm::LaneNarrowing => 2,
        Imm::Widening => 3,
        Imm::ScanFlags | Imm::TxFlags | Imm::StringKind => 1,
        Imm::TaskKind => 2,
        Imm::CallFlags => 3,
        _ => 65_535,
    }
}

/// Turns byte targets into instruction indices; all jumps are among the borders.
fn resolve_jumps(decoded: &mut Decoded, scratch: &Scratch) -> Result<(), DecodeError> {
    let Decoded { insts, targets } = decoded;
    for &border in scratch.borders() {
        let Inst { a, b, offset, op, .. } = insts[border as usize];
        let resolve = |target: u32| {
            let index = scratch.index_at[target as usize];
            match insts.get(index as usize) {
                Some(inst) if inst.offset == target => Ok(index),
                _ => Err(DecodeError { offset, kind: DecodeErrorKind::JumpIntoInstruction { op, target } }),
            }
        };
        match op.flow() {
            Flow::Jump | Flow::Branch => insts[border as usize].a = resolve(a as u32)? as u64,
            Flow::Multi if op == Op::Jtab => {
                for target in &mut targets[a as usize..a as usize + b as usize] {
                    *target = resolve(*target)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
