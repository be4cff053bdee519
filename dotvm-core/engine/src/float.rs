//! Floating-point operations that have no register instruction of their own, of both formats at any word width.

use dotvm_arch::Word;
use dotvm_arch::float::{Conversion, Float, Rounding};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;

use crate::machine::Stop;

/// Does an operation of row 0xB0 on the operands at the start of `slots`, and leaves the result there. `is_single`:
/// on binary32, otherwise on binary64.
#[inline(never)]
pub(crate) fn float<W: Word>(op: Op, is_single: bool, slots: &mut [W], imm: u64) -> Result<(), Stop> {
    let result =
        if is_single { compute::<f32, W>(op, slots, imm) } else { compute::<f64, W>(op, slots, imm) };
    slots[0] = result?;
    Ok(())
}

fn compute<F: Float, W: Word>(op: Op, slots: &[W], imm: u64) -> Result<W, Stop> {
    let bits = |position: usize| slots[position].low_u64();
    let number = |position: usize| F::from_low_bits(bits(position));
    let a = number(0);
    Ok(W::from_u64(match op {
        Op::Fadd => a.fadd(number(1)),
        Op::Fsub => a.fsub(number(1)),
        Op::Fmul => a.fmul(number(1)),
        Op::Fdiv => a.fdiv(number(1)),
        Op::Fsqrt => a.fsqrt(),
        Op::Fma => a.fma(number(1), number(2)),
        Op::Fround => a.fround(Rounding::from_code(imm).expect("the verifier checked the mode")),
        Op::Fabs => F::fabs(bits(0)),
        Op::Fneg => F::fneg(bits(0)),
        Op::Fcopysign => F::fcopysign(bits(0), bits(1)),
        Op::Fmin => F::fmin(bits(0), bits(1)),
        Op::Fmax => F::fmax(bits(0), bits(1)),
        Op::Feq => a.feq(number(1)) as u64,
        Op::Flt => a.flt(number(1)) as u64,
        Op::Fle => a.fle(number(1)) as u64,
        Op::Fcvt => {
            let conversion = Conversion::from_code(imm).expect("the verifier checked the kind");
            return conversion.convert::<F, W>(slots[0]).map_err(|_| Stop::trap(TrapKind::Overflow));
        }
        op => unreachable!("{op:?} is no floating-point operation"),
    }))
}
