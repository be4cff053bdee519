//! Unbounded integers, row 0xD0. Small ones are computed as they lie in the reference.

use std::borrow::Cow;
use std::cmp::Ordering;

use bytes::Bytes;
use dotvm_arch::{W512, Word};
use dotvm_core::gas;
use dotvm_core::integer::{IntegerFn, Narrowing, cost};
use dotvm_core::limits::{MAX_BYTES_LEN, MAX_INTEGER_BITS};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Heap, Integer, Reference};
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer as _;
use num_traits::{Signed, Zero};

use crate::machine::{Machine, Stop};
use crate::prime;
use crate::references::bytes_of;

const KIND: Stop = Stop::trap(TrapKind::Kind);
const RANGE: Stop = Stop::trap(TrapKind::Range);
const SIZE: Stop = Stop::trap(TrapKind::Size);
const DIV_ZERO: Stop = Stop::trap(TrapKind::DivZero);

/// 64-bit limbs of an absolute value, at least 1.
fn limbs(number: &BigInt) -> u64 {
    number.bits().div_ceil(64).max(1)
}

/// 8 bytes each, at least 1.
fn limbs_of_bytes(bytes: &[u8]) -> u64 {
    (bytes.len() as u64).div_ceil(8).max(1)
}

/// An integer as an unbounded one.
fn big<'a>(heap: &'a Heap, reference: &Reference) -> Result<Cow<'a, BigInt>, Stop> {
    Ok(match heap.as_integer(reference).ok_or(KIND)? {
        Integer::Small(number) => Cow::Owned(number.into()),
        Integer::Large(number) => Cow::Borrowed(number),
    })
}

/// What an operation gives for two small integers, if that is not more than 128 bits and nothing traps.
fn small(op: Op, a: i64, b: i64) -> Option<i128> {
    let (wide_a, wide_b) = (i128::from(a), i128::from(b));
    Some(match op {
        Op::Zadd => wide_a + wide_b,
        Op::Zsub => wide_a - wide_b,
        Op::Zmul => wide_a * wide_b,
        Op::Zdiv if b != 0 => num_integer::Integer::div_floor(&wide_a, &wide_b),
        Op::Zmod if b != 0 => num_integer::Integer::mod_floor(&wide_a, &wide_b),
        Op::Zand => (a & b).into(),
        Op::Zor => (a | b).into(),
        Op::Zxor => (a ^ b).into(),
        _ => return None,
    })
}

impl<W: Word> Machine<'_, W> {
    /// Row 0xD0; `a` is the immediate.
    #[inline(never)]
    pub fn integer_op(&mut self, op: Op, w: usize, r: usize, a: u64) -> Result<(), Stop> {
        match op {
            Op::Zadd | Op::Zsub | Op::Zmul | Op::Zdiv | Op::Zmod | Op::Zand | Op::Zor | Op::Zxor => {
                if let (Some(a), Some(b)) = (self.refs[r].as_small(), self.refs[r + 1].as_small())
                    && let Some(result) = small(op, a, b)
                {
                    let result = match i64::try_from(result).ok().and_then(Reference::small) {
                        Some(small) => small,
                        None => self.heap.integer(result.into())?,
                    };
                    self.set_ref(r, result);
                    self.clear_refs(r + 1, 1);
                    return Ok(());
                }
                self.binary(op, r)
            }
            Op::Zdivmod => self.divide(r),
            Op::Zcmp => {
                let (a, b) = (big(&self.heap, &self.refs[r])?, big(&self.heap, &self.refs[r + 1])?);
                self.gas.charge(gas::integer(limbs(&a).min(limbs(&b))))?;
                self.words[w] = W::from_i64(a.cmp(&b) as i64);
                self.clear_refs(r, 2);
                Ok(())
            }
            Op::Zshl => self.shift_left(w, r),
            Op::Zshr => {
                let number = big(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::integer(limbs(&number)))?;
                // Beyond the length of the number only its sign is left.
                let shift = self.words[w].try_u64().unwrap_or(u64::MAX).min(number.bits() + 1);
                let result = &*number >> shift;
                self.set_integer(r, result)
            }
            Op::Zbits => {
                let bits = big(&self.heap, &self.refs[r])?.bits();
                self.words[w] = W::from_u64(bits);
                self.clear_refs(r, 1);
                Ok(())
            }
            Op::W2z => {
                let word = self.words[w].resize::<W512>();
                let magnitude = BigUint::from_bytes_le(&word.to_le_bytes::<64>());
                let mut number = BigInt::from(magnitude);
                if a != 0 && number.bits() == W::BITS as u64 {
                    number -= BigInt::from(1) << W::BITS;
                }
                self.set_integer(r, number)
            }
            Op::Z2w => {
                let mode = Narrowing::from_code(a).expect("the verifier checked the mode");
                let number = big(&self.heap, &self.refs[r])?;
                self.words[w] = narrow(mode, &number).ok_or_else(|| Stop::trap(TrapKind::Overflow))?;
                self.clear_refs(r, 1);
                Ok(())
            }
            Op::Zfn => {
                self.integer_fn(IntegerFn::from_code(a).expect("the verifier checked the function"), w, r)
            }
            op => unreachable!("{op:?} is no operation on unbounded integers"),
        }
    }

    /// Puts an integer in the place of a reference, unless it is too long.
    fn set_integer(&mut self, at: usize, number: BigInt) -> Result<(), Stop> {
        if number.bits() > MAX_INTEGER_BITS {
            return Err(SIZE);
        }
        let new = self.heap.integer(number)?;
        self.set_ref(at, new);
        Ok(())
    }

    fn binary(&mut self, op: Op, r: usize) -> Result<(), Stop> {
        let (a, b) = (big(&self.heap, &self.refs[r])?, big(&self.heap, &self.refs[r + 1])?);
        if matches!(op, Op::Zdiv | Op::Zmod) && b.is_zero() {
            return Err(DIV_ZERO);
        }
        let (len_a, len_b) = (limbs(&a), limbs(&b));
        self.gas.charge(match op {
            Op::Zmul | Op::Zdiv | Op::Zmod => gas::integer_product(len_a, len_b),
            _ => gas::integer(len_a.max(len_b)),
        })?;
        let (a, b) = (&*a, &*b);
        let result = match op {
            Op::Zadd => a + b,
            Op::Zsub => a - b,
            Op::Zmul => a * b,
            Op::Zdiv => a.div_floor(b),
            Op::Zmod => a.mod_floor(b),
            Op::Zand => a & b,
            Op::Zor => a | b,
            _ => a ^ b,
        };
        self.set_integer(r, result)?;
        self.clear_refs(r + 1, 1);
        Ok(())
    }

    /// ZDIVMOD.
    fn divide(&mut self, r: usize) -> Result<(), Stop> {
        let (a, b) = (big(&self.heap, &self.refs[r])?, big(&self.heap, &self.refs[r + 1])?);
        if b.is_zero() {
            return Err(DIV_ZERO);
        }
        self.gas.charge(gas::integer_product(limbs(&a), limbs(&b)))?;
        let (quotient, remainder) = a.div_mod_floor(&b);
        self.heap.room(Heap::size_of_integer(&quotient) + Heap::size_of_integer(&remainder))?;
        self.set_integer(r, quotient)?;
        self.set_integer(r + 1, remainder)
    }

    /// ZSHL.
    fn shift_left(&mut self, w: usize, r: usize) -> Result<(), Stop> {
        let number = big(&self.heap, &self.refs[r])?;
        if number.is_zero() {
            return Ok(());
        }
        let shift = self.words[w].try_u64().filter(|&shift| shift <= MAX_INTEGER_BITS).ok_or(SIZE)?;
        if number.bits() + shift > MAX_INTEGER_BITS {
            return Err(SIZE);
        }
        self.gas.charge(gas::integer(limbs(&number) + shift / 64))?;
        let result = &*number << shift;
        self.set_integer(r, result)
    }

    /// ZFN.
    fn integer_fn(&mut self, function: IntegerFn, w: usize, r: usize) -> Result<(), Stop> {
        use IntegerFn::*;
        match function {
            FromLe | FromBe | FromText => return self.integer_of_bytes(function, r),
            ToLe | ToBe | ToDec | ToHex => return self.bytes_of_integer(function, r),
            _ => {}
        }
        let a = big(&self.heap, &self.refs[r])?;
        let b = match function {
            Isqrt | IsPrime | NextPrime => Cow::Owned(BigInt::ZERO),
            _ => big(&self.heap, &self.refs[r + 1])?,
        };
        let result = match function {
            Pow => {
                if b.is_negative() {
                    return Err(RANGE);
                }
                // 0, 1 and −1 stay small whatever the exponent.
                if a.bits() <= 1 {
                    let is_even = b.is_even();
                    if b.is_zero() || (a.is_negative() && is_even) { BigInt::from(1) } else { a.into_owned() }
                } else {
                    let exponent = u64::try_from(&*b).ok().filter(|&exponent| exponent <= MAX_INTEGER_BITS);
                    let exponent = exponent.ok_or(SIZE)?;
                    if (a.bits() - 1).saturating_mul(exponent) >= MAX_INTEGER_BITS {
                        return Err(SIZE);
                    }
                    self.gas.charge(cost::pow(a.bits() * exponent / 64 + 1))?;
                    a.pow(exponent as u32)
                }
            }
            Modpow => {
                let m = big(&self.heap, &self.refs[r + 2])?;
                check_modulus(&m)?;
                if b.is_negative() {
                    return Err(RANGE);
                }
                self.gas.charge(cost::modpow(limbs(&a), b.bits(), limbs(&m)))?;
                a.modpow(&b, &m)
            }
            Gcd => {
                self.gas.charge(cost::gcd(limbs(&a).max(limbs(&b))))?;
                a.gcd(&b)
            }
            Lcm => {
                self.gas.charge(cost::gcd(limbs(&a).max(limbs(&b))))?;
                a.lcm(&b)
            }
            Modinv => {
                check_modulus(&b)?;
                self.gas.charge(cost::gcd(limbs(&a).max(limbs(&b))))?;
                match inverse(&a, &b) {
                    Some(inverse) => inverse,
                    None => {
                        self.clear_refs(r, 2);
                        return Ok(());
                    }
                }
            }
            Isqrt => {
                if a.is_negative() {
                    return Err(RANGE);
                }
                self.gas.charge(cost::isqrt(limbs(&a)))?;
                a.sqrt()
            }
            IsPrime => {
                let len = limbs(&a);
                let number = a.to_biguint().unwrap_or_default();
                self.gas.charge(cost::trial(len))?;
                let is_prime = match prime::by_trial(&number) {
                    Some(is_prime) => is_prime,
                    None => {
                        self.gas.charge(cost::prime(len))?;
                        prime::is_probable_prime(&number)
                    }
                };
                self.words[w] = W::from_bool(is_prime);
                self.clear_refs(r, 1);
                return Ok(());
            }
            _ => {
                let mut number = a.to_biguint().unwrap_or_default();
                loop {
                    number += 1u32;
                    let len = number.bits().div_ceil(64).max(1);
                    self.gas.charge(cost::trial(len))?;
                    match prime::by_trial(&number) {
                        Some(true) => break,
                        Some(false) => continue,
                        None => {}
                    }
                    self.gas.charge(cost::prime(len))?;
                    if prime::is_probable_prime(&number) {
                        break;
                    }
                }
                number.into()
            }
        };
        self.set_integer(r, result)?;
        self.clear_refs(r + 1, function.effect().refs_in as usize - 1);
        Ok(())
    }

    fn integer_of_bytes(&mut self, function: IntegerFn, r: usize) -> Result<(), Stop> {
        let bytes = bytes_of(&self.heap, &self.refs[r])?;
        let len = limbs_of_bytes(bytes);
        let number = match function {
            IntegerFn::FromText => {
                self.gas.charge(cost::decimal(len))?;
                match number_of(bytes) {
                    Some(number) => number,
                    None => {
                        self.clear_refs(r, 1);
                        return Ok(());
                    }
                }
            }
            IntegerFn::FromLe => {
                self.gas.charge(gas::integer(len))?;
                BigUint::from_bytes_le(bytes).into()
            }
            _ => {
                self.gas.charge(gas::integer(len))?;
                BigUint::from_bytes_be(bytes).into()
            }
        };
        self.set_integer(r, number)
    }

    fn bytes_of_integer(&mut self, function: IntegerFn, r: usize) -> Result<(), Stop> {
        let number = big(&self.heap, &self.refs[r])?;
        let len = limbs(&number);
        let is_text = matches!(function, IntegerFn::ToDec | IntegerFn::ToHex);
        if !is_text && number.is_negative() {
            return Err(RANGE);
        }
        self.gas.charge(if function == IntegerFn::ToDec { cost::decimal(len) } else { gas::integer(len) })?;
        let bytes: Bytes = match function {
            IntegerFn::ToDec => number.to_string().into(),
            IntegerFn::ToHex => format!("{:#x}", &*number).into(),
            _ if number.is_zero() => Bytes::new(),
            IntegerFn::ToLe => number.magnitude().to_bytes_le().into(),
            _ => number.magnitude().to_bytes_be().into(),
        };
        if bytes.len() as u64 > MAX_BYTES_LEN {
            return Err(SIZE);
        }
        self.set_bytes(r, bytes)
    }
}

fn check_modulus(modulus: &BigInt) -> Result<(), Stop> {
    match modulus.cmp(&BigInt::ZERO) {
        Ordering::Greater => Ok(()),
        Ordering::Equal => Err(DIV_ZERO),
        Ordering::Less => Err(RANGE),
    }
}

/// The inverse of a number modulo another.
fn inverse(a: &BigInt, modulus: &BigInt) -> Option<BigInt> {
    let modulus = modulus.magnitude();
    if modulus == &BigUint::from(1u32) {
        return Some(BigInt::ZERO);
    }
    let a = a.mod_floor(&BigInt::from(modulus.clone()));
    a.magnitude().modinv(modulus).map(BigInt::from)
}

/// The integer that a text is.
fn number_of(text: &[u8]) -> Option<BigInt> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (Sign::Minus, digits),
        None => (Sign::Plus, text),
    };
    let (radix, digits) = match digits.strip_prefix(b"0x") {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    let is_digit = |byte: &u8| (*byte as char).is_digit(radix);
    if digits.is_empty() || !digits.iter().all(is_digit) {
        return None;
    }
    Some(BigInt::from_biguint(sign, BigUint::parse_bytes(digits, radix)?))
}

/// The word that a mode makes of an integer; `None` for Overflow.
fn narrow<W: Word>(mode: Narrowing, number: &BigInt) -> Option<W> {
    let bits = W::BITS as u64;
    let is_signed = matches!(mode, Narrowing::Signed | Narrowing::ClampSigned);
    let half = || BigInt::from(1) << (bits - 1);
    // −2^(w−1) is the only number of w bits that fits with a sign.
    let fits = match is_signed {
        true => number.bits() < bits || (number.bits() == bits && *number == -half()),
        false => !number.is_negative() && number.bits() <= bits,
    };
    let number = match mode {
        _ if fits => Cow::Borrowed(number),
        Narrowing::Unsigned | Narrowing::Signed => return None,
        Narrowing::Wrap => Cow::Borrowed(number),
        Narrowing::Clamp if number.is_negative() => return Some(W::ZERO),
        Narrowing::Clamp => return Some(W::MAX),
        Narrowing::ClampSigned if number.is_negative() => Cow::Owned(-half()),
        Narrowing::ClampSigned => Cow::Owned(half() - 1u32),
    };
    let limbs =
        number.magnitude().iter_u64_digits().take((W::BITS as usize).div_ceil(64)).collect::<Vec<u64>>();
    let ones = if W::BITS < 64 { (1 << W::BITS) - 1 } else { u64::MAX };
    let magnitude = W::from_limb_fn(|limb| limbs.get(limb).copied().unwrap_or(0) & ones);
    Some(if number.is_negative() { W::ZERO.sub(magnitude) } else { magnitude })
}
