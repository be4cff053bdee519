//! Integer operations that have no register instruction of their own, at any operating width.

use dotvm_arch::{DivError, W8, W16, W32, W64, W128, W256, Word};
use dotvm_core::gas::{self, Gas};
use dotvm_core::opcode::{Op, Prefix};
use dotvm_core::trap::TrapKind;

use crate::machine::Stop;

/// Does an operation of rows 0x20 to 0x5F on the operands at the start of `slots`, and leaves the results there.
#[inline(never)]
pub(crate) fn integer<W: Word>(op: Op, slots: &mut [W], imms: [u64; 2], gas: &mut Gas) -> Result<(), Stop> {
    let info = op.info();
    let effect = info.effect.expect("integer operations have fixed effects");
    let mut operands = [W::ZERO; 3];
    for (operand, slot) in operands.iter_mut().zip(&slots[..effect.words_in as usize]) {
        *operand = *slot;
    }
    let (first, second) = compute(op, operands, imms, gas)?;
    slots[0] = first;
    if effect.words_out == 2 {
        slots[1] = second;
    }
    Ok(())
}

/// The same behind a width prefix: operands truncated, results zero-extended.
#[inline(never)]
pub(crate) fn narrow<W: Word>(
    op: Op,
    prefix: Prefix,
    slots: &mut [W],
    imms: [u64; 2],
    gas: &mut Gas,
) -> Result<(), Stop> {
    match prefix {
        Prefix::W8 => at_width::<W, W8>(op, slots, imms, gas),
        Prefix::W16 => at_width::<W, W16>(op, slots, imms, gas),
        Prefix::W32 => at_width::<W, W32>(op, slots, imms, gas),
        Prefix::W64 => at_width::<W, W64>(op, slots, imms, gas),
        Prefix::W128 => at_width::<W, W128>(op, slots, imms, gas),
        Prefix::W256 => at_width::<W, W256>(op, slots, imms, gas),
    }
}

fn at_width<W: Word, N: Word>(op: Op, slots: &mut [W], imms: [u64; 2], gas: &mut Gas) -> Result<(), Stop> {
    let effect = op.info().effect.expect("integer operations have fixed effects");
    let mut operands = [N::ZERO; 3];
    for (operand, slot) in operands.iter_mut().zip(&slots[..effect.words_in as usize]) {
        *operand = slot.resize();
    }
    let (first, second) = compute(op, operands, imms, gas)?;
    slots[0] = first.resize();
    if effect.words_out == 2 {
        slots[1] = second.resize();
    }
    Ok(())
}

fn div_zero<T>(result: Option<T>) -> Result<T, Stop> {
    result.ok_or_else(|| Stop::trap(TrapKind::DivZero))
}

/// One result, or two.
fn compute<W: Word>(op: Op, operands: [W; 3], imms: [u64; 2], gas: &mut Gas) -> Result<(W, W), Stop> {
    let [a, b, c] = operands;
    let flag = W::from_bool;
    let (x, y) = (imms[0] as u32, imms[1] as u32);
    let one = |value| (value, W::ZERO);
    Ok(match op {
        Op::Add => one(a.add(b)),
        Op::Sub => one(a.sub(b)),
        Op::Mul => one(a.mul(b)),
        Op::Div => one(div_zero(a.div(b))?),
        Op::Sdiv => one(a.sdiv(b).map_err(|error| {
            Stop::trap(match error {
                DivError::Zero => TrapKind::DivZero,
                DivError::Overflow => TrapKind::Overflow,
            })
        })?),
        Op::Mod => one(div_zero(a.rem(b))?),
        Op::Smod => one(div_zero(a.srem(b))?),
        Op::Neg => one(a.neg()),
        Op::Abs => one(a.abs()),
        Op::Addc => a.addc(b, c),
        Op::Subb => a.subb(b, c),
        Op::Mulw => a.mulw(b),
        Op::Saddo => a.saddo(b),
        Op::Ssubo => a.ssubo(b),
        Op::Smulo => a.smulo(b),
        Op::Addi => one(a.addi(imms[0] as i64)),

        Op::Divz => one(a.divz(b)),
        Op::Sdivz => one(a.sdivz(b)),
        Op::Modz => one(a.modz(b)),
        Op::Smodz => one(a.smodz(b)),
        Op::Addmod => one(a.addmod(b, c)),
        Op::Mulmod => one(a.mulmod(b, c)),
        Op::Exp => {
            gas.charge(gas::power(W::BITS, b.bit_len()))?;
            one(a.exp(b))
        }
        Op::Isqrt => one(a.isqrt()),
        Op::Min => one(a.umin(b)),
        Op::Max => one(a.umax(b)),
        Op::Smin => one(a.smin(b)),
        Op::Smax => one(a.smax(b)),
        Op::Divmod => div_zero(a.divmod(b))?,
        Op::Modpow => {
            if c.is_zero() {
                return Err(Stop::trap(TrapKind::DivZero));
            }
            gas.charge(2 * gas::power(W::BITS, b.bit_len()))?;
            one(div_zero(a.modpow(b, c))?)
        }
        Op::Modinv => {
            if b.is_zero() {
                return Err(Stop::trap(TrapKind::DivZero));
            }
            gas.charge(2 * gas::power(W::BITS, b.bit_len()))?;
            one(div_zero(a.modinv(b))?)
        }
        Op::Sextd => one(a.sextd(b)),

        Op::And => one(a.and(b)),
        Op::Or => one(a.or(b)),
        Op::Xor => one(a.xor(b)),
        Op::Not => one(a.not()),
        Op::Andn => one(a.andn(b)),
        Op::Shl => one(a.shl(b)),
        Op::Shr => one(a.shr(b)),
        Op::Sar => one(a.sar(b)),
        Op::Rotl => one(a.rotl(b)),
        Op::Rotr => one(a.rotr(b)),
        Op::Clz => one(a.clz()),
        Op::Ctz => one(a.ctz()),
        Op::Popcnt => one(a.popcnt()),
        Op::Bswap => one(a.bswap()),
        Op::Byte => one(a.byte(b)),

        Op::Eq => one(flag(a.eq(b))),
        Op::Ne => one(flag(a.ne(b))),
        Op::Lt => one(flag(a.lt(b))),
        Op::Gt => one(flag(a.gt(b))),
        Op::Le => one(flag(a.le(b))),
        Op::Ge => one(flag(a.ge(b))),
        Op::Slt => one(flag(a.slt(b))),
        Op::Sgt => one(flag(a.sgt(b))),
        Op::Sle => one(flag(a.sle(b))),
        Op::Sge => one(flag(a.sge(b))),
        Op::Eqz => one(flag(a.eqz())),
        Op::Cmp => one(a.cmp3(b)),
        Op::Sext => one(a.sext(x)),
        Op::Zext => one(a.zext(x)),
        Op::Bextr => one(a.bextr(x, y)),
        Op::Bins => one(a.bins(b, x, y)),
        op => unreachable!("{op:?} is no integer operation"),
    })
}
