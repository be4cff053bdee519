//! Page V: packed lanes in a word.

use dotvm_arch::float::{Conversion, Rounding};
use dotvm_arch::{Lane, Word};
use dotvm_core::opcode::Op;
use dotvm_simd::{self as simd, Binary, FloatOp, Shift};

/// Does an operation of page V on the operands at the start of `slots`, and leaves the result there. `imms`: the lane
/// and the other immediate.
#[inline(never)]
pub(crate) fn lanes<W: Word>(op: Op, slots: &mut [W], imms: [u64; 2], constants: &[W]) {
    let [code, imm] = imms;
    let operand = |position: usize| slots.get(position).copied().unwrap_or(W::ZERO);
    let [a, b, c] = [0, 1, 2].map(operand);
    if op == Op::VBlend {
        slots[0] = simd::blend(a, b, c);
        return;
    }
    if op == Op::VCvt {
        slots[0] = simd::convert(Conversion::from_code(code).expect("the verifier checked the kind"), a);
        return;
    }
    let lane = Lane::from_code(code).expect("the verifier checked the lane");
    let number = |word: u64| W::from_u64(word);
    if let Some(operation) = float_op(op, imm).filter(|_| lane.is_float()) {
        slots[0] = simd::float(operation, lane, [a, b, c]);
        return;
    }
    slots[0] = match op {
        Op::VSum if lane.is_float() => number(simd::float_fold(FloatOp::Add, lane, a)),
        Op::VRmin if lane.is_float() => number(simd::float_fold(FloatOp::Min, lane, a)),
        Op::VRmax if lane.is_float() => number(simd::float_fold(FloatOp::Max, lane, a)),
        Op::VSplat => simd::splat(lane, a.low_u64()),
        Op::VExtract => number(simd::extract(lane, a, imm as u32).unwrap_or(0)),
        Op::VReplace => simd::replace(lane, a, imm as u32, b.low_u64()).unwrap_or(a),
        Op::VAdd => simd::add(lane, a, b),
        Op::VSub => simd::sub(lane, a, b),
        Op::VMul => simd::binary(Binary::Mul, lane, a, b),
        Op::VMin => simd::binary(Binary::Min, lane, a, b),
        Op::VMax => simd::binary(Binary::Max, lane, a, b),
        Op::VMinu => simd::binary(Binary::MinUnsigned, lane, a, b),
        Op::VMaxu => simd::binary(Binary::MaxUnsigned, lane, a, b),
        Op::VAbs => simd::abs(lane, a),
        Op::VNeg => simd::neg(lane, a),
        Op::VAdds => simd::binary(Binary::AddSigned, lane, a, b),
        Op::VAddu => simd::binary(Binary::AddUnsigned, lane, a, b),
        Op::VSubs => simd::binary(Binary::SubSigned, lane, a, b),
        Op::VSubu => simd::binary(Binary::SubUnsigned, lane, a, b),
        Op::VAvgu => simd::binary(Binary::Average, lane, a, b),
        Op::VShl => simd::shift(Shift::Left, lane, a, b.try_u64().unwrap_or(u64::MAX)),
        Op::VShr => simd::shift(Shift::Right, lane, a, b.try_u64().unwrap_or(u64::MAX)),
        Op::VSar => simd::shift(Shift::Arithmetic, lane, a, b.try_u64().unwrap_or(u64::MAX)),
        Op::VEq => simd::eq(lane, a, b),
        Op::VLt => simd::lt_signed(lane, a, b),
        Op::VLe => simd::le(lane, a, b, false),
        Op::VLtu => simd::lt_unsigned(lane, a, b),
        Op::VLeu => simd::le(lane, a, b, true),
        Op::VShuffle => simd::shuffle(lane, a, b, constants[imm as usize]),
        // A second word of zeros: places behind the first are zero.
        Op::VPerm => simd::shuffle(lane, a, W::ZERO, b),
        Op::VAll => W::from_bool(simd::all(lane, a)),
        Op::VBitmask => number(simd::bitmask(lane, a)),
        Op::VSum => number(simd::sum(lane, a)),
        Op::VRmin => number(simd::extreme(lane, a, false)),
        Op::VRmax => number(simd::extreme(lane, a, true)),
        Op::VDot => simd::dot(lane, a, b),
        Op::VNarrow => simd::narrow(lane, a, b, imm),
        Op::VWiden => simd::widen(lane, a, imm & 1 != 0, imm & 2 != 0),
        Op::VMulhi if imm == 0 => simd::binary(Binary::HighUnsigned, lane, a, b),
        Op::VMulhi => simd::binary(Binary::HighSigned, lane, a, b),
        op => unreachable!("{op:?} is not of page V"),
    };
}

/// What an operation does with lanes of floating-point numbers, one by one.
fn float_op(op: Op, imm: u64) -> Option<FloatOp> {
    Some(match op {
        Op::VAdd => FloatOp::Add,
        Op::VSub => FloatOp::Sub,
        Op::VMul => FloatOp::Mul,
        Op::VDiv => FloatOp::Div,
        Op::VMin => FloatOp::Min,
        Op::VMax => FloatOp::Max,
        Op::VAbs => FloatOp::Abs,
        Op::VNeg => FloatOp::Neg,
        Op::VSqrt => FloatOp::Sqrt,
        Op::VRound => FloatOp::Round(Rounding::from_code(imm)?),
        Op::VFma => FloatOp::Fma,
        Op::VEq => FloatOp::Eq,
        Op::VLt => FloatOp::Lt,
        Op::VLe => FloatOp::Le,
        _ => return None,
    })
}
