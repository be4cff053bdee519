//! Integer operations, rows 0x20 to 0x5F: mathematics on unbounded numbers, reduced modulo 2^w at the end.

use dotvm_core::gas;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// `value` modulo 2^`bits`.
pub fn truncate(value: &BigUint, bits: u32) -> BigUint {
    value & ones(bits)
}

/// `value` modulo 2^`bits`, at most 2^`bits` − 1 and never negative.
pub fn wrap(value: &BigInt, bits: u32) -> BigUint {
    value.mod_floor(&(BigInt::one() << bits)).magnitude().clone()
}

/// The number that `value` stands for in two's complement of `bits`.
pub fn signed(value: &BigUint, bits: u32) -> BigInt {
    let number = BigInt::from(value.clone());
    if value.bit(u64::from(bits) - 1) { number - (BigInt::one() << bits) } else { number }
}

/// A signed immediate as a word of `bits`.
pub fn immediate(imm: u64, bits: u32) -> BigUint {
    wrap(&BigInt::from(imm as i64), bits)
}

fn ones(bits: u32) -> BigUint {
    (BigUint::one() << bits) - 1u32
}

fn flag(condition: bool) -> BigUint {
    BigUint::from(u32::from(condition))
}

/// Whether `number` lies outside −2^(bits−1) … 2^(bits−1) − 1.
fn overflows(number: &BigInt, bits: u32) -> bool {
    let half = BigInt::one() << (bits - 1);
    *number >= half || *number < -half
}

/// The low `from` bits of `value`, read in two's complement, as a word of `bits`.
fn sign_extend(value: &BigUint, from: u32, bits: u32) -> BigUint {
    wrap(&signed(&truncate(value, from), from), bits)
}

/// The gas of an integer operation beyond its static part. The operands are as wide as the operation.
pub fn dynamic_gas(op: Op, bits: u32, operands: &[BigUint]) -> u64 {
    let bit_len = |operand: usize| operands[operand].bits() as u32;
    match op {
        Op::Exp => gas::power(bits, bit_len(1)),
        Op::Modpow => 2 * gas::power(bits, bit_len(1)),
        Op::Modinv => 2 * gas::power(bits, bit_len(1)),
        _ => 0,
    }
}

/// What an integer operation at a width of `bits` gives, the top of the stack last.
///
/// The operands are numbers below 2^`bits`, the top of the stack last; `imms` are the immediates as decoded.
///
/// # Panics
/// If `op` is not of the rows 0x20 to 0x5F.
pub fn integer(op: Op, bits: u32, operands: &[BigUint], imms: [u64; 2]) -> Result<Vec<BigUint>, TrapKind> {
    let zero = BigUint::zero();
    let a = operands.first().unwrap_or(&zero);
    let b = operands.get(1).unwrap_or(&zero);
    let c = operands.get(2).unwrap_or(&zero);
    let (sa, sb) = (signed(a, bits), signed(b, bits));
    let modulus = BigUint::one() << bits;
    // A number of bits or bytes that is a run-time operand: `None` from `limit` on.
    let below = |n: &BigUint, limit: u32| n.to_u32().filter(|&n| n < limit);
    let divisor = |n: &BigUint| if n.is_zero() { Err(TrapKind::DivZero) } else { Ok(()) };
    let one = |number: BigUint| Ok(vec![truncate(&number, bits)]);
    let one_signed = |number: BigInt| Ok(vec![wrap(&number, bits)]);

    match op {
        // 0x20–0x2F Integer arithmetic
        Op::Add => one(a + b),
        Op::Sub => one_signed(BigInt::from(a.clone()) - BigInt::from(b.clone())),
        Op::Mul => one(a * b),
        Op::Div => divisor(b).and_then(|()| one(a / b)),
        Op::Sdiv => {
            divisor(b)?;
            let quotient = sa / sb;
            if overflows(&quotient, bits) { Err(TrapKind::Overflow) } else { one_signed(quotient) }
        }
        Op::Mod => divisor(b).and_then(|()| one(a % b)),
        Op::Smod => divisor(b).and_then(|()| one_signed(sa % sb)),
        Op::Neg => one_signed(-sa),
        Op::Abs => one_signed(sa.abs()),
        Op::Addc => {
            let sum = a + b + (c & BigUint::one());
            Ok(vec![truncate(&sum, bits), flag(sum >= modulus)])
        }
        Op::Subb => {
            let difference =
                BigInt::from(a.clone()) - BigInt::from(b.clone()) - BigInt::from(c & BigUint::one());
            Ok(vec![wrap(&difference, bits), flag(difference.is_negative())])
        }
        Op::Mulw => {
            let product = a * b;
            Ok(vec![&product >> bits, truncate(&product, bits)])
        }
        Op::Saddo => with_overflow(sa + sb, bits),
        Op::Ssubo => with_overflow(sa - sb, bits),
        Op::Smulo => with_overflow(sa * sb, bits),
        Op::Addi => one(a + immediate(imms[0], bits)),

        // 0x30–0x3F Arithmetic with guest semantics, modular arithmetic
        Op::Divz => one(if b.is_zero() { zero } else { a / b }),
        Op::Sdivz => one_signed(if b.is_zero() { BigInt::zero() } else { sa / sb }),
        Op::Modz => one(if b.is_zero() { zero } else { a % b }),
        Op::Smodz => one_signed(if b.is_zero() { BigInt::zero() } else { sa % sb }),
        Op::Addmod => one(if c.is_zero() { zero } else { (a + b) % c }),
        Op::Mulmod => one(if c.is_zero() { zero } else { (a * b) % c }),
        Op::Exp => one(a.modpow(b, &modulus)),
        Op::Isqrt => one(a.sqrt()),
        Op::Min => one(a.min(b).clone()),
        Op::Max => one(a.max(b).clone()),
        Op::Smin => one_signed(sa.min(sb)),
        Op::Smax => one_signed(sa.max(sb)),
        Op::Divmod => divisor(b).map(|()| vec![a / b, a % b]),
        Op::Modpow => divisor(c).and_then(|()| one(a.modpow(b, c) % c)),
        Op::Modinv => divisor(b).and_then(|()| one(inverse(a, b))),
        Op::Sextd => one(match below(b, bits) {
            None => a.clone(),
            Some(0) => zero,
            Some(from) => sign_extend(a, from, bits),
        }),

        // 0x40–0x4F Bits and shifts
        Op::And => one(a & b),
        Op::Or => one(a | b),
        Op::Xor => one(a ^ b),
        Op::Not => one(ones(bits) - a),
        Op::Andn => one(a & (ones(bits) - b)),
        Op::Shl => one(below(b, bits).map_or_else(BigUint::zero, |n| a << n)),
        Op::Shr => one(below(b, bits).map_or_else(BigUint::zero, |n| a >> n)),
        Op::Sar => one_signed(sa.div_floor(&(BigInt::one() << below(b, bits).unwrap_or(bits)))),
        Op::Rotl => one(rotate_left(a, &(b % bits), bits)),
        Op::Rotr => one(rotate_left(a, &(bits - b % bits), bits)),
        Op::Clz => one(BigUint::from(u64::from(bits) - a.bits())),
        Op::Ctz => one(BigUint::from(a.trailing_zeros().unwrap_or(u64::from(bits)))),
        Op::Popcnt => one(BigUint::from(a.count_ones())),
        Op::Bswap => {
            let mut bytes = a.to_bytes_le();
            bytes.resize(bits as usize / 8, 0);
            one(BigUint::from_bytes_be(&bytes))
        }
        Op::Byte => one(match below(b, bits / 8) {
            None => zero,
            Some(index) => (a >> (8 * (bits / 8 - 1 - index))) % 256u32,
        }),

        // 0x50–0x5F Comparison and sub-fields
        Op::Eq => one(flag(a == b)),
        Op::Ne => one(flag(a != b)),
        Op::Lt => one(flag(a < b)),
        Op::Gt => one(flag(a > b)),
        Op::Le => one(flag(a <= b)),
        Op::Ge => one(flag(a >= b)),
        Op::Slt => one(flag(sa < sb)),
        Op::Sgt => one(flag(sa > sb)),
        Op::Sle => one(flag(sa <= sb)),
        Op::Sge => one(flag(sa >= sb)),
        Op::Eqz => one(flag(a.is_zero())),
        Op::Cmp => one_signed(BigInt::from(a.cmp(b) as i8)),
        Op::Sext => one(sign_extend(a, imms[0] as u32, bits)),
        Op::Zext => one(truncate(a, imms[0] as u32)),
        Op::Bextr => one(truncate(&(a >> imms[0]), imms[1] as u32)),
        Op::Bins => {
            let field = ones(imms[1] as u32) << imms[0];
            let kept = a & (ones(bits) - &field);
            one(kept | ((b << imms[0]) & field))
        }

        _ => unreachable!("{op:?} is no integer operation"),
    }
}

fn with_overflow(number: BigInt, bits: u32) -> Result<Vec<BigUint>, TrapKind> {
    Ok(vec![wrap(&number, bits), flag(overflows(&number, bits))])
}

/// `a` · 2^n modulo 2^`bits` − 1 on the bits of the word, for n up to `bits`.
fn rotate_left(a: &BigUint, n: &BigUint, bits: u32) -> BigUint {
    let n = n.to_u32().unwrap_or(0) % bits;
    truncate(&(a << n), bits) | (a >> (bits - n))
}

/// The x below `m` with a·x ≡ 1 modulo m, or 0 if there is none (Euclid's extended algorithm).
fn inverse(a: &BigUint, m: &BigUint) -> BigUint {
    let m = BigInt::from(m.clone());
    let euclid = BigInt::from(a.clone()).extended_gcd(&m);
    if euclid.gcd.abs().is_one() {
        (euclid.x * euclid.gcd).mod_floor(&m).magnitude().clone()
    } else {
        BigUint::zero()
    }
}
