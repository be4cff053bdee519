//! Packed operations that are done lane by lane: integers of `B` bits and floating-point numbers.
//!
//! A lane comes as the low bits of a 64-bit number, the others zero, and goes the same way; what a function gives above
//! its lane is cut off. The number of lanes of a limb is a constant, so that the compiler unrolls and vectorises.

use dotvm_arch::float::{Conversion, Float, Rounding};
use dotvm_arch::{Lane, Word};

use crate::extract;

const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// The number that the low `B` bits are in two's complement.
const fn signed<const B: u32>(lane: u64) -> i64 {
    ((lane << (64 - B)) as i64) >> (64 - B)
}

/// A function of the lanes of three words.
#[inline(always)]
fn map3<W: Word, const B: u32>([a, b, c]: [W; 3], function: impl Fn(u64, u64, u64) -> u64) -> W {
    W::from_limb_fn(|limb| {
        let (x, y, z) = (a.limb(limb), b.limb(limb), c.limb(limb));
        let mut out = 0;
        for lane in 0..64 / B {
            let shift = lane * B;
            let of = |limb: u64| (limb >> shift) & mask(B);
            out |= (function(of(x), of(y), of(z)) & mask(B)) << shift;
        }
        out
    })
}

/// What two lanes of integers become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// Product modulo 2^B.
    Mul,
    /// The lesser, signed.
    Min,
    /// The greater, signed.
    Max,
    /// The lesser, unsigned.
    MinUnsigned,
    /// The greater, unsigned.
    MaxUnsigned,
    /// Sum, kept within the signed numbers.
    AddSigned,
    /// Sum, kept within the unsigned numbers.
    AddUnsigned,
    /// Difference, kept within the signed numbers.
    SubSigned,
    /// Difference, kept within the unsigned numbers.
    SubUnsigned,
    /// Half of the sum, rounded up, unsigned.
    Average,
    /// High half of the signed product.
    HighSigned,
    /// High half of the unsigned product.
    HighUnsigned,
}

fn binary_of<W: Word, const B: u32>(operation: Binary, a: W, b: W) -> W {
    let (least, greatest) = (-1i128 << (B - 1), (1i128 << (B - 1)) - 1);
    let wide = |x: u64| i128::from(signed::<B>(x));
    macro_rules! map {
        ($x:ident $y:ident $result:expr) => {
            map3::<W, B>([a, b, b], |$x, $y, _| $result)
        };
    }
    match operation {
        Binary::Mul => map!(x y x.wrapping_mul(y)),
        Binary::Min => map!(x y if signed::<B>(x) < signed::<B>(y) { x } else { y }),
        Binary::Max => map!(x y if signed::<B>(x) > signed::<B>(y) { x } else { y }),
        Binary::MinUnsigned => map!(x y x.min(y)),
        Binary::MaxUnsigned => map!(x y x.max(y)),
        Binary::AddSigned => map!(x y (wide(x) + wide(y)).clamp(least, greatest) as u64),
        Binary::SubSigned => map!(x y (wide(x) - wide(y)).clamp(least, greatest) as u64),
        Binary::AddUnsigned => map!(x y (u128::from(x) + u128::from(y)).min(mask(B).into()) as u64),
        Binary::SubUnsigned => map!(x y x.saturating_sub(y)),
        Binary::Average => map!(x y (u128::from(x) + u128::from(y)).div_ceil(2) as u64),
        Binary::HighSigned => map!(x y ((wide(x) * wide(y)) >> B) as u64),
        Binary::HighUnsigned => map!(x y ((u128::from(x) * u128::from(y)) >> B) as u64),
    }
}

/// Calls a function with the lane's bits as a constant.
macro_rules! with_bits {
    ($lane:expr, $function:ident::<W>($($argument:expr),*)) => {
        match $lane.bits() {
            8 => $function::<W, 8>($($argument),*),
            16 => $function::<W, 16>($($argument),*),
            32 => $function::<W, 32>($($argument),*),
            _ => $function::<W, 64>($($argument),*),
        }
    };
}

/// The operation on each pair of lanes.
pub fn binary<W: Word>(operation: Binary, lane: Lane, a: W, b: W) -> W {
    with_bits!(lane, binary_of::<W>(operation, a, b))
}

/// How lanes are shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// To higher bits.
    Left,
    /// To lower bits, zeros come in.
    Right,
    /// To lower bits, the sign comes in.
    Arithmetic,
}

fn shift_of<W: Word, const B: u32>(shift: Shift, a: W, by: u64) -> W {
    let is_out = by >= u64::from(B);
    match shift {
        Shift::Left | Shift::Right if is_out => W::ZERO,
        Shift::Left => map3::<W, B>([a; 3], |x, _, _| x << by),
        Shift::Right => map3::<W, B>([a; 3], |x, _, _| x >> by),
        Shift::Arithmetic => {
            let by = by.min(u64::from(B) - 1);
            map3::<W, B>([a; 3], |x, _, _| (signed::<B>(x) >> by) as u64)
        }
    }
}

/// Every lane shifted by as many bits; all of them, if these are as many as the lane has or more.
pub fn shift<W: Word>(shift: Shift, lane: Lane, a: W, by: u64) -> W {
    with_bits!(lane, shift_of::<W>(shift, a, by))
}

fn abs_of<W: Word, const B: u32>(a: W) -> W {
    map3::<W, B>([a; 3], |x, _, _| signed::<B>(x).unsigned_abs())
}

/// Absolute values; the least number stays as it is.
pub fn abs<W: Word>(lane: Lane, a: W) -> W {
    with_bits!(lane, abs_of::<W>(a))
}

/// All-ones where a ≤ b, else zero: signed integers or, if `is_unsigned`, unsigned ones.
pub fn le<W: Word>(lane: Lane, a: W, b: W, is_unsigned: bool) -> W {
    let greater = if is_unsigned { crate::lt_unsigned(lane, b, a) } else { crate::lt_signed(lane, b, a) };
    greater.not()
}

/// The lanes of `a` at the places that the lanes of `indices` name, then those of `b`; zero for other places.
pub fn shuffle<W: Word>(lane: Lane, a: W, b: W, indices: W) -> W {
    let count = lane.count::<W>();
    pack(lane, |index| {
        let place = extract(lane, indices, index)?;
        let place = u32::try_from(place).ok().filter(|&place| place < 2 * count)?;
        if place < count { extract(lane, a, place) } else { extract(lane, b, place - count) }
    })
}

/// A word of lanes; zero where there is none.
pub fn pack<W: Word>(lane: Lane, value: impl Fn(u32) -> Option<u64>) -> W {
    let per_limb = 64 / lane.bits();
    W::from_limb_fn(|limb| {
        (0..per_limb.min(lane.count::<W>())).fold(0, |out, index| {
            let value = value(limb as u32 * per_limb + index).unwrap_or(0) & lane.mask();
            out | value << (index * lane.bits())
        })
    })
}

/// Half as wide lanes, those of `a` below those of `b`: 0 the low bits, 1 kept within the signed numbers, 2 kept within
/// the unsigned ones, both of signed lanes.
pub fn narrow<W: Word>(lane: Lane, a: W, b: W, mode: u64) -> W {
    let (count, half) = (lane.count::<W>(), lane.bits() / 2);
    let narrow = if half == 8 {
        Lane::I8
    } else if half == 16 {
        Lane::I16
    } else {
        Lane::I32
    };
    let above = 64 - lane.bits();
    pack(narrow, |index| {
        let value = if index < count { extract(lane, a, index) } else { extract(lane, b, index - count) }?;
        let number = ((value << above) as i64) >> above;
        Some(match mode {
            0 => value,
            1 => number.clamp(-1 << (half - 1), (1 << (half - 1)) - 1) as u64,
            _ => number.clamp(0, (1 << half) - 1) as u64,
        })
    })
}

/// The lane of twice the bits, of integers of at most 32 bits.
fn double(lane: Lane) -> Lane {
    match lane.bits() {
        8 => Lane::I16,
        16 => Lane::I32,
        _ => Lane::I64,
    }
}

/// Twice as wide lanes of the low half of the lanes or, if `is_high`, of the high half.
pub fn widen<W: Word>(lane: Lane, a: W, is_high: bool, is_signed: bool) -> W {
    let wide = double(lane);
    let first = if is_high { wide.count::<W>() } else { 0 };
    let above = 64 - lane.bits();
    pack(wide, |index| {
        let value = extract(lane, a, first + index)?;
        Some(if is_signed { (((value << above) as i64) >> above) as u64 } else { value })
    })
}

/// Twice as wide lanes: of each pair of neighbours the sum of their two signed products.
pub fn dot<W: Word>(lane: Lane, a: W, b: W) -> W {
    let above = 64 - lane.bits();
    let signed = |word, index| Some(((extract(lane, word, index)? << above) as i64) >> above);
    pack(double(lane), |index| {
        let product = |index| Some(signed(a, index)?.wrapping_mul(signed(b, index)?));
        Some(product(2 * index)?.wrapping_add(product(2 * index + 1)?) as u64)
    })
}

/// The least or the greatest of all lanes, signed, zero-extended.
pub fn extreme<W: Word>(lane: Lane, a: W, is_greatest: bool) -> u64 {
    let operation = if is_greatest { Binary::Max } else { Binary::Min };
    fold(lane, a, |x, y| binary(operation, lane, x, y))
}

/// Lane 0 of what is left when the upper half of the lanes is combined with the lower half again and again: pairwise, in
/// an order that depends on the number of lanes alone.
fn fold<W: Word>(lane: Lane, a: W, combine: impl Fn(W, W) -> W) -> u64 {
    let (mut word, mut bits) = (a, W::BITS);
    while bits > lane.bits() {
        bits /= 2;
        word = combine(word, word.shr_u32(bits));
    }
    word.limb(0) & lane.mask()
}

/// 1 if no lane is zero.
pub fn all<W: Word>(lane: Lane, a: W) -> bool {
    crate::eq(lane, a, W::ZERO).is_zero()
}

/// What lanes of floating-point numbers become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatOp {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a ÷ b
    Div,
    /// The lesser.
    Min,
    /// The greater.
    Max,
    /// Without its sign.
    Abs,
    /// With the other sign.
    Neg,
    /// Square root.
    Sqrt,
    /// To an integer.
    Round(Rounding),
    /// a · b + c, rounded once.
    Fma,
    /// All-ones if equal.
    Eq,
    /// All-ones if less.
    Lt,
    /// All-ones if less or equal.
    Le,
}

fn float_of<F: Float, W: Word, const B: u32>(operation: FloatOp, operands: [W; 3]) -> W {
    let n = F::from_low_bits;
    let flag = |is: bool| if is { u64::MAX } else { 0 };
    match operation {
        FloatOp::Add => map3::<W, B>(operands, |a, b, _| n(a).fadd(n(b))),
        FloatOp::Sub => map3::<W, B>(operands, |a, b, _| n(a).fsub(n(b))),
        FloatOp::Mul => map3::<W, B>(operands, |a, b, _| n(a).fmul(n(b))),
        FloatOp::Div => map3::<W, B>(operands, |a, b, _| n(a).fdiv(n(b))),
        FloatOp::Min => map3::<W, B>(operands, |a, b, _| F::fmin(a, b)),
        FloatOp::Max => map3::<W, B>(operands, |a, b, _| F::fmax(a, b)),
        FloatOp::Abs => map3::<W, B>(operands, |a, _, _| F::fabs(a)),
        FloatOp::Neg => map3::<W, B>(operands, |a, _, _| F::fneg(a)),
        FloatOp::Sqrt => map3::<W, B>(operands, |a, _, _| n(a).fsqrt()),
        FloatOp::Round(rounding) => map3::<W, B>(operands, |a, _, _| n(a).fround(rounding)),
        FloatOp::Fma => map3::<W, B>(operands, |a, b, c| n(a).fma(n(b), n(c))),
        FloatOp::Eq => map3::<W, B>(operands, |a, b, _| flag(n(a).feq(n(b)))),
        FloatOp::Lt => map3::<W, B>(operands, |a, b, _| flag(n(a).flt(n(b)))),
        FloatOp::Le => map3::<W, B>(operands, |a, b, _| flag(n(a).fle(n(b)))),
    }
}

/// The operation on the lanes of up to three words; those it does not need are not looked at.
pub fn float<W: Word>(operation: FloatOp, lane: Lane, operands: [W; 3]) -> W {
    if lane == Lane::F32 {
        float_of::<f32, W, 32>(operation, operands)
    } else {
        float_of::<f64, W, 64>(operation, operands)
    }
}

/// Lane 0 of the lanes combined pairwise, the upper half with the lower half again and again.
pub fn float_fold<W: Word>(operation: FloatOp, lane: Lane, a: W) -> u64 {
    fold(lane, a, |x, y| float(operation, lane, [x, y, y]))
}

/// Every lane converted, by one that [`Conversion::has_lanes`]; others leave zeros.
pub fn convert<W: Word>(conversion: Conversion, a: W) -> W {
    use Conversion::*;
    let single = |lane: u64| f32::from_low_bits(lane);
    let double = |lane: u64| f64::from_low_bits(lane);
    macro_rules! map {
        ($bits:literal $lane:ident $result:expr) => {
            map3::<W, $bits>([a; 3], |$lane, _, _| $result)
        };
    }
    // Casts of the language saturate, round to the nearest even number and make 0 of NaN.
    match conversion {
        ToS32Sat => map!(32 x (single(x) as i32) as u64),
        ToU32Sat => map!(32 x (single(x) as u32).into()),
        ToS64Sat => map!(64 x (double(x) as i64) as u64),
        ToU64Sat => map!(64 x double(x) as u64),
        FromS32 => map!(32 x (x as i32 as f32).canonical_bits()),
        FromU32 => map!(32 x (x as u32 as f32).canonical_bits()),
        FromS64 => map!(64 x (x as i64 as f64).canonical_bits()),
        FromU64 => map!(64 x (x as f64).canonical_bits()),
        Promote => {
            pack(Lane::F64, |index| Some(single(extract(Lane::F32, a, index)?).to_f64().canonical_bits()))
        }
        Demote => pack(Lane::F32, |index| {
            Some(f32::from_f64(double(extract(Lane::F64, a, index)?)).canonical_bits())
        }),
        _ => W::ZERO,
    }
}
