//! Exact sums: integers and floats are added without rounding, in any order with the same result, and
//! rounded once at the end.

use num_bigint::{BigInt, BigUint, Sign};

use crate::value::{Value, ValueRef};

/// The least power of two that a float is a multiple of.
const LEAST_EXPONENT: u32 = 1074;

/// A sum of numbers, and how many they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    count: u64,
    integers: i128,
    /// Integers that `integers` does not hold.
    large: BigInt,
    /// Floats, times 2^1074.
    floats: BigInt,
    infinities: u64,
    negative_infinities: u64,
    nans: u64,
}

impl Sum {
    /// Adds a value if it is a number.
    pub(crate) fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Int(number) => match self.integers.checked_add(number) {
                Some(sum) => self.integers = sum,
                None => self.large += number,
            },
            ValueRef::Big { .. } => self.large += value.integer().unwrap_or_default(),
            ValueRef::Float(number) if number.is_nan() => self.nans += 1,
            ValueRef::Float(number) if number.is_infinite() => {
                if number < 0.0 {
                    self.negative_infinities += 1
                } else {
                    self.infinities += 1
                }
            }
            ValueRef::Float(number) => {
                let bits = number.to_bits();
                let fraction = bits & ((1 << 52) - 1);
                let (mantissa, shift) = match (bits >> 52 & 0x7ff) as u32 {
                    0 => (fraction, 0),
                    biased => (fraction | 1 << 52, biased - 1),
                };
                let scaled = BigInt::from(mantissa) << shift;
                if number < 0.0 { self.floats -= scaled } else { self.floats += scaled }
            }
            _ => return,
        }
        self.count += 1;
    }

    /// What all numbers together are if not finite.
    fn special(&self) -> Option<f64> {
        match (self.nans > 0, self.infinities > 0, self.negative_infinities > 0) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// Times 2^1074.
    fn scaled(&self) -> BigInt {
        ((BigInt::from(self.integers) + &self.large) << LEAST_EXPONENT) + &self.floats
    }

    /// The sum: an integer if it is one of at most 512 bits, else the nearest float; null of no
    /// numbers.
    pub(crate) fn total(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        if let Some(special) = self.special() {
            return Value::Float(special);
        }
        let scaled = self.scaled();
        if scaled.magnitude().trailing_zeros().is_none_or(|zeros| zeros >= u64::from(LEAST_EXPONENT))
            && let Some(integer) = Value::from_integer(&(&scaled >> LEAST_EXPONENT))
        {
            return integer;
        }
        Value::Float(nearest(&scaled, &BigUint::from(1u8)))
    }

    /// The mean, the nearest float; null of no numbers.
    pub(crate) fn mean(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        if let Some(special) = self.special() {
            return Value::Float(special);
        }
        Value::Float(nearest(&self.scaled(), &BigUint::from(self.count)))
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        64 + (self.large.bits() + self.floats.bits()) / 8
    }
}

/// The float nearest to `numerator` / `denominator` / 2^1074, ties to even, infinity beyond the range.
fn nearest(numerator: &BigInt, denominator: &BigUint) -> f64 {
    let magnitude = numerator.magnitude();
    if magnitude.bits() == 0 {
        return 0.0;
    }
    // A quotient of 55 bits or more, the rest being told by whether the division leaves any: 53 bits
    // of mantissa, one to round, one or more to break ties.
    let width = magnitude.bits() as i64 - denominator.bits() as i64;
    let shift = (56 - width).max(0) as u64;
    let scaled = magnitude << shift;
    let quotient = &scaled / denominator;
    let rest = scaled - &quotient * denominator;
    let mut exponent = -(shift as i64) - i64::from(LEAST_EXPONENT);
    // The last bit that the float has: 2^-1074, or what leaves 53 bits.
    let bits = quotient.bits() as i64;
    let drop = (bits - 53).max(-i64::from(LEAST_EXPONENT) - exponent).max(0) as u64;
    let kept = &quotient >> drop;
    let dropped = &quotient - (&kept << drop);
    let half = if drop == 0 { BigUint::default() } else { BigUint::from(1u8) << (drop - 1) };
    let exact = rest.bits() == 0;
    let mut mantissa = u64::try_from(&kept).unwrap_or(u64::MAX);
    let up = drop > 0 && (dropped > half || dropped == half && (!exact || mantissa & 1 == 1));
    exponent += drop as i64;
    mantissa += u64::from(up);
    let magnitude = if exponent > 1023 {
        f64::INFINITY
    } else {
        let exponent = exponent as i32;
        let half = exponent / 2;
        mantissa as f64 * 2f64.powi(exponent - half) * 2f64.powi(half)
    };
    if numerator.sign() == Sign::Minus { -magnitude } else { magnitude }
}
