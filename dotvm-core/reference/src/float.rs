//! Floating-point operations, row 0xB0: mathematics on exact numbers, rounded once at the end (IEEE 754-2019).
//!
//! A finite number is ± m · 2^e with whole m and e. Sums, products and comparisons of such numbers are exact; of a
//! quotient or a root as many digits are found as decide how it is rounded, and whether anything is left over.

use std::cmp::Ordering;

use dotvm_arch::float::{Conversion, Rounding};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::arithmetic::{signed, truncate, wrap};

/// An interchange format (IEEE 754-2019 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Width in bits.
    pub bits: u32,
    /// Digits of the significand, the implicit one included.
    precision: i64,
    /// The greatest exponent, of a significand from 1 to 2; the least of a normal number is 1 less this.
    greatest: i64,
}

/// binary32.
pub const BINARY32: Format = Format { bits: 32, precision: 24, greatest: 127 };
/// binary64.
pub const BINARY64: Format = Format { bits: 64, precision: 53, greatest: 1023 };

/// What the bits of a format stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Number {
    Nan,
    Infinite { negative: bool },
    Finite(Exact),
}

/// ± `m` · 2^`e`; zero has a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exact {
    negative: bool,
    m: BigUint,
    e: i64,
}

impl Exact {
    fn from_integer(integer: &BigInt) -> Exact {
        Exact { negative: integer.is_negative(), m: integer.magnitude().clone(), e: 0 }
    }

    /// The number in units of 2^`e`, which is no more than its own.
    fn in_units(&self, e: i64) -> BigInt {
        let sign = if self.negative { Sign::Minus } else { Sign::Plus };
        BigInt::from_biguint(sign, &self.m << (self.e - e))
    }

    /// Two numbers in the same units, and those units.
    fn aligned(&self, other: &Exact) -> (BigInt, BigInt, i64) {
        let e = self.e.min(other.e);
        (self.in_units(e), other.in_units(e), e)
    }

    fn compare(&self, other: &Exact) -> Ordering {
        let (a, b, _) = self.aligned(other);
        a.cmp(&b)
    }

    fn product(&self, other: &Exact) -> Exact {
        Exact { negative: self.negative != other.negative, m: &self.m * &other.m, e: self.e + other.e }
    }

    /// The sum; of what cancels the zero is positive, unless both are negative (section 6.3).
    fn sum(&self, other: &Exact) -> Exact {
        let (a, b, e) = self.aligned(other);
        let sum = a + b;
        let negative = if sum.is_zero() { self.negative && other.negative } else { sum.is_negative() };
        Exact { negative, m: sum.magnitude().clone(), e }
    }

    /// Without its fraction.
    fn whole(&self) -> BigInt {
        let sign = if self.negative { Sign::Minus } else { Sign::Plus };
        let m = if self.e >= 0 { &self.m << self.e } else { &self.m >> -self.e };
        BigInt::from_biguint(sign, m)
    }

    /// The integer that a mode rounds to.
    fn integer(&self, mode: Rounding) -> BigInt {
        if self.e >= 0 {
            return self.whole();
        }
        let one = BigInt::one() << -self.e;
        let number = self.in_units(self.e);
        let below = number.div_floor(&one);
        match mode {
            Rounding::Down => below,
            Rounding::Up => -(-number).div_floor(&one),
            Rounding::Zero => self.whole(),
            Rounding::Nearest => {
                let rest: BigInt = (number - &below * &one) * 2;
                match rest.cmp(&one) {
                    Ordering::Less => below,
                    Ordering::Greater => below + 1,
                    Ordering::Equal if below.is_even() => below,
                    Ordering::Equal => below + 1,
                }
            }
        }
    }
}

impl Format {
    fn fraction_bits(self) -> u64 {
        self.precision as u64 - 1
    }

    fn sign_bit(self) -> BigUint {
        BigUint::one() << (self.bits - 1)
    }

    /// The number that the low bits of a word stand for.
    fn read(self, bits: &BigUint) -> Number {
        let negative = bits.bit(u64::from(self.bits) - 1);
        let fraction = truncate(bits, self.fraction_bits() as u32);
        let exponent = (bits >> self.fraction_bits()) % (2 * (self.greatest + 1)) as u64;
        let exponent = exponent.to_i64().unwrap_or_default();
        if exponent == 2 * self.greatest + 1 {
            return if fraction.is_zero() { Number::Infinite { negative } } else { Number::Nan };
        }
        // Subnormal numbers have the exponent of the least normal ones and no implicit digit.
        let implicit = BigUint::from(u32::from(exponent > 0)) << self.fraction_bits();
        let e = exponent.max(1) - self.greatest - self.fraction_bits() as i64;
        Number::Finite(Exact { negative, m: fraction + implicit, e })
    }

    fn signed(self, negative: bool, magnitude: BigUint) -> BigUint {
        if negative { magnitude + self.sign_bit() } else { magnitude }
    }

    fn infinite(self, negative: bool) -> BigUint {
        self.signed(negative, BigUint::from((2 * self.greatest + 1) as u64) << self.fraction_bits())
    }

    /// The canonical NaN: positive, quiet, nothing else.
    fn nan(self) -> BigUint {
        self.infinite(false) + (BigUint::one() << (self.fraction_bits() - 1))
    }

    /// The nearest number, ties to even (section 4.3.1). `more`: the magnitude is a little greater than that of
    /// `exact`, by less than its last digit, which then lies more than a digit below those that are kept.
    fn round(self, exact: &Exact, more: bool) -> BigUint {
        let Exact { negative, m, e } = exact;
        if m.is_zero() {
            return self.signed(*negative, BigUint::zero());
        }
        let leading = e + m.bits() as i64 - 1;
        // The exponent of the last digit that is kept.
        let mut last = leading.max(1 - self.greatest) - self.fraction_bits() as i64;
        let mut kept = if *e >= last { m << (e - last) } else { m >> (last - e) };
        if *e < last {
            let half = BigUint::one() << (last - e - 1);
            let rest = truncate(m, (last - e) as u32);
            if rest > half || (rest == half && (more || kept.is_odd())) {
                kept += 1u32;
            }
        }
        if kept.bits() as i64 > self.precision {
            kept >>= 1;
            last += 1;
        }
        if last + self.fraction_bits() as i64 > self.greatest {
            return self.infinite(*negative);
        }
        let is_normal = kept.bits() as i64 == self.precision;
        let magnitude = if is_normal {
            let exponent = last + self.fraction_bits() as i64 + self.greatest;
            // The implicit digit is worth one step of the exponent.
            (BigUint::from((exponent - 1) as u64) << self.fraction_bits()) + kept
        } else {
            kept
        };
        self.signed(*negative, magnitude)
    }

    fn write(self, number: &Number) -> BigUint {
        match number {
            Number::Nan => self.nan(),
            Number::Infinite { negative } => self.infinite(*negative),
            Number::Finite(exact) => self.round(exact, false),
        }
    }

    fn divide(self, a: &Number, b: &Number) -> BigUint {
        match (a, b) {
            (Number::Nan, _) | (_, Number::Nan) | (Number::Infinite { .. }, Number::Infinite { .. }) => {
                self.nan()
            }
            (Number::Infinite { negative }, Number::Finite(b)) => self.infinite(*negative != b.negative),
            (Number::Finite(a), Number::Infinite { negative }) => {
                self.signed(a.negative != *negative, BigUint::zero())
            }
            (Number::Finite(a), Number::Finite(b)) => {
                let negative = a.negative != b.negative;
                if b.m.is_zero() {
                    return if a.m.is_zero() { self.nan() } else { self.infinite(negative) };
                }
                // Enough digits that the quotient has more than are ever kept.
                let digits = 2 * i64::from(self.bits) + b.m.bits() as i64;
                let (quotient, rest) = (&a.m << digits).div_rem(&b.m);
                self.round(&Exact { negative, m: quotient, e: a.e - digits - b.e }, !rest.is_zero())
            }
        }
    }

    fn root(self, a: &Number) -> BigUint {
        match a {
            Number::Finite(a) if a.m.is_zero() => self.round(a, false),
            Number::Infinite { negative: false } => self.infinite(false),
            Number::Finite(a) if !a.negative => {
                // An even exponent, and enough digits.
                let digits = 4 * i64::from(self.bits) + a.e.rem_euclid(2);
                let square = &a.m << digits;
                let root = square.sqrt();
                let more = &root * &root != square;
                self.round(&Exact { negative: false, m: root, e: (a.e - digits) / 2 }, more)
            }
            _ => self.nan(),
        }
    }

    /// a · b + c, rounded once (section 5.4.1).
    fn multiply_add(self, a: &Number, b: &Number, c: &Number) -> BigUint {
        match (self.multiply(a, b), c) {
            (Number::Nan, _) | (_, Number::Nan) => self.nan(),
            (Number::Infinite { negative }, Number::Infinite { negative: other }) => {
                if negative == *other {
                    self.infinite(negative)
                } else {
                    self.nan()
                }
            }
            (Number::Infinite { negative }, _) => self.infinite(negative),
            (_, Number::Infinite { negative }) => self.infinite(*negative),
            (Number::Finite(product), Number::Finite(c)) => self.round(&product.sum(c), false),
        }
    }

    /// The exact product.
    fn multiply(self, a: &Number, b: &Number) -> Number {
        match (a, b) {
            (Number::Nan, _) | (_, Number::Nan) => Number::Nan,
            (Number::Infinite { negative }, Number::Infinite { negative: other }) => {
                Number::Infinite { negative: negative != other }
            }
            (Number::Infinite { negative }, Number::Finite(x))
            | (Number::Finite(x), Number::Infinite { negative }) => {
                if x.m.is_zero() {
                    Number::Nan
                } else {
                    Number::Infinite { negative: *negative != x.negative }
                }
            }
            (Number::Finite(a), Number::Finite(b)) => Number::Finite(a.product(b)),
        }
    }
}

/// How two numbers compare: not at all if either is NaN; zeros are equal.
fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    let side = |negative: bool| if negative { Ordering::Less } else { Ordering::Greater };
    match (a, b) {
        (Number::Nan, _) | (_, Number::Nan) => None,
        (Number::Infinite { negative }, Number::Infinite { negative: other }) => Some(other.cmp(negative)),
        (Number::Infinite { negative }, _) => Some(side(*negative)),
        (_, Number::Infinite { negative }) => Some(side(!negative)),
        (Number::Finite(a), Number::Finite(b)) => Some(a.compare(b)),
    }
}

/// What a floating-point operation on a format gives in a module with words of `bits`, or `None` if it traps Overflow.
/// The operands are words, the top of the stack last.
///
/// # Panics
/// If `op` is not of row 0xB0.
pub fn float(op: Op, format: Format, bits: u32, operands: &[BigUint], imm: u64) -> Result<BigUint, TrapKind> {
    let words: Vec<BigUint> = operands.iter().map(|word| truncate(word, format.bits)).collect();
    let numbers: Vec<Number> = words.iter().map(|word| format.read(word)).collect();
    let a = &numbers[0];
    let magnitude = || truncate(&words[0], format.bits - 1);
    let is_negative = |word: &BigUint| word.bit(u64::from(format.bits) - 1);
    let one = || Number::Finite(Exact::from_integer(&BigInt::one()));
    let flag = |holds: bool| BigUint::from(u32::from(holds));
    Ok(match op {
        Op::Fadd => format.multiply_add(a, &one(), &numbers[1]),
        Op::Fsub => {
            let negated = format.read(&(&words[1] ^ format.sign_bit()));
            format.multiply_add(a, &one(), &negated)
        }
        Op::Fmul => format.write(&format.multiply(a, &numbers[1])),
        Op::Fma => format.multiply_add(a, &numbers[1], &numbers[2]),
        Op::Fdiv => format.divide(a, &numbers[1]),
        Op::Fsqrt => format.root(a),
        Op::Fabs => magnitude(),
        Op::Fneg => &words[0] ^ format.sign_bit(),
        Op::Fcopysign => format.signed(is_negative(&words[1]), magnitude()),
        Op::Fmin | Op::Fmax => {
            let first = match compare(a, &numbers[1]) {
                None => return Ok(format.nan()),
                Some(Ordering::Equal) => is_negative(&words[0]) == (op == Op::Fmin),
                Some(order) => (order == Ordering::Less) == (op == Op::Fmin),
            };
            words[usize::from(!first)].clone()
        }
        Op::Fround => {
            let mode = Rounding::from_code(imm).ok_or(TrapKind::Index)?;
            match a {
                Number::Finite(exact) => {
                    let integer = exact.integer(mode);
                    let rounded = Exact { negative: exact.negative, ..Exact::from_integer(&integer) };
                    format.round(&rounded, false)
                }
                other => format.write(other),
            }
        }
        Op::Feq => flag(compare(a, &numbers[1]) == Some(Ordering::Equal)),
        Op::Flt => flag(compare(a, &numbers[1]) == Some(Ordering::Less)),
        Op::Fle => flag(matches!(compare(a, &numbers[1]), Some(Ordering::Less | Ordering::Equal))),
        Op::Fcvt => {
            let kind = Conversion::from_code(imm).ok_or(TrapKind::Index)?;
            return convert(kind, format, bits, &operands[0]);
        }
        op => unreachable!("{op:?} is no floating-point operation"),
    })
}

/// FCVT.
fn convert(kind: Conversion, format: Format, bits: u32, word: &BigUint) -> Result<BigUint, TrapKind> {
    use Conversion::*;
    let width = match kind {
        ToS32 | ToU32 | ToS32Sat | ToU32Sat | FromS32 | FromU32 => 32,
        ToS64 | ToU64 | ToS64Sat | ToU64Sat | FromS64 | FromU64 => 64,
        _ => bits,
    };
    let is_signed = matches!(
        kind,
        ToS32 | ToS64 | ToSigned | ToS32Sat | ToS64Sat | ToSignedSat | FromS32 | FromS64 | FromSigned
    );
    let nearest = matches!(kind, ToS32Sat | ToU32Sat | ToS64Sat | ToU64Sat | ToSignedSat | ToUnsignedSat);
    match kind {
        Promote => Ok(BINARY64.write(&BINARY32.read(&truncate(word, 32)))),
        Demote => Ok(BINARY32.write(&BINARY64.read(&truncate(word, 64)))),
        FromS32 | FromU32 | FromS64 | FromU64 | FromSigned | FromUnsigned => {
            let word = truncate(word, width);
            let integer = if is_signed { signed(&word, width) } else { word.into() };
            Ok(format.round(&Exact::from_integer(&integer), false))
        }
        _ => {
            let (least, greatest) = if is_signed {
                let half = BigInt::one() << (width - 1);
                (-&half, half - 1)
            } else {
                (BigInt::zero(), (BigInt::one() << width) - 1)
            };
            let integer = match format.read(&truncate(word, format.bits)) {
                Number::Finite(exact) => Some(exact.whole()),
                Number::Infinite { negative: true } => Some(&least - 1),
                Number::Infinite { negative: false } => Some(&greatest + 1),
                Number::Nan => None,
            };
            match integer {
                Some(integer) if (&least..=&greatest).contains(&&integer) => Ok(wrap(&integer, width)),
                _ if !nearest => Err(TrapKind::Overflow),
                Some(integer) => Ok(wrap(&integer.clamp(least, greatest), width)),
                None => Ok(BigUint::zero()),
            }
        }
    }
}
