//! Unbounded integers, row 0xD0.

use dotvm_core::gas;
use dotvm_core::integer::{IntegerFn, Narrowing, cost};
use dotvm_core::limits::{MAX_BYTES_LEN, MAX_INTEGER_BITS};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::arithmetic::{signed, wrap};
use crate::cells::limbs;
use crate::machine::{Fault, Machine};
use crate::value::Value;

/// a / b rounded down, and what is left, from the quotient toward zero.
fn divide(a: &BigInt, b: &BigInt) -> (BigInt, BigInt) {
    let (quotient, rest) = (a / b, a % b);
    if rest.is_zero() || rest.sign() == b.sign() { (quotient, rest) } else { (quotient - 1u32, rest + b) }
}

/// The number with these bytes, the high ones first.
fn number_of<'a>(bytes: impl Iterator<Item = &'a u8>) -> BigInt {
    bytes.fold(BigInt::zero(), |number, &byte| number * 256u32 + u32::from(byte))
}

/// The digits of two numbers in two's complement, combined bit by bit.
fn bitwise(a: &BigInt, b: &BigInt, combine: impl Fn(u8, u8) -> u8) -> BigInt {
    let (mut a, mut b) = (a.to_signed_bytes_le(), b.to_signed_bytes_le());
    let len = a.len().max(b.len()) + 1;
    for bytes in [&mut a, &mut b] {
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        bytes.resize(len, fill);
    }
    let bytes: Vec<u8> = a.iter().zip(&b).map(|(&a, &b)| combine(a, b)).collect();
    BigInt::from_signed_bytes_le(&bytes)
}

impl Machine<'_> {
    fn pop_integer(&mut self) -> Result<BigInt, Fault> {
        match self.pop_ref() {
            Value::Int(number) => Ok(number.value.clone()),
            _ => Err(TrapKind::Kind.into()),
        }
    }

    fn push_integer(&mut self, number: BigInt) -> Result<(), Fault> {
        if number.bits() > MAX_INTEGER_BITS {
            return Err(TrapKind::Size.into());
        }
        self.push_new(Value::int(number))
    }

    /// The operations of the row; `imm` is the immediate.
    pub fn unbounded(&mut self, op: Op, imm: u64) -> Result<(), Fault> {
        match op {
            Op::Zdivmod => {
                let (b, a) = (self.pop_integer()?, self.pop_integer()?);
                if b.is_zero() {
                    return Err(TrapKind::DivZero.into());
                }
                self.charge(gas::integer_product(limbs(&a), limbs(&b)))?;
                let (quotient, rest) = divide(&a, &b);
                self.push_integer(quotient)?;
                self.push_integer(rest)
            }
            Op::Zcmp => {
                let (b, a) = (self.pop_integer()?, self.pop_integer()?);
                self.charge(gas::integer(limbs(&a).min(limbs(&b))))?;
                self.push(wrap(&(a - b).signum(), self.bits));
                Ok(())
            }
            Op::Zshl => {
                let (shift, a) = (self.pop(), self.pop_integer()?);
                if !a.is_zero() {
                    if &shift + a.bits() > BigUint::from(MAX_INTEGER_BITS) {
                        return Err(TrapKind::Size.into());
                    }
                    let shift = shift.to_u64().unwrap_or_default();
                    self.charge(gas::integer(limbs(&a) + shift / 64))?;
                    return self.push_integer(a * (BigInt::one() << shift));
                }
                self.push_integer(a)
            }
            Op::Zshr => {
                let (shift, a) = (self.pop(), self.pop_integer()?);
                self.charge(gas::integer(limbs(&a)))?;
                let shift = shift.min(BigUint::from(a.bits() + 1)).to_u64().unwrap_or_default();
                self.push_integer(divide(&a, &(BigInt::one() << shift)).0)
            }
            Op::Zbits => {
                let a = self.pop_integer()?;
                self.push(a.bits());
                Ok(())
            }
            Op::W2z => {
                let word = self.pop();
                self.push_integer(if imm != 0 { signed(&word, self.bits) } else { word.into() })
            }
            Op::Z2w => self.narrow(imm),
            Op::Zfn => self.integer_fn(imm),
            _ => {
                let (b, a) = (self.pop_integer()?, self.pop_integer()?);
                let (len_a, len_b) = (limbs(&a), limbs(&b));
                let divides = matches!(op, Op::Zdiv | Op::Zmod);
                if divides && b.is_zero() {
                    return Err(TrapKind::DivZero.into());
                }
                let is_product = divides || op == Op::Zmul;
                self.charge(if is_product {
                    gas::integer_product(len_a, len_b)
                } else {
                    gas::integer(len_a.max(len_b))
                })?;
                self.push_integer(match op {
                    Op::Zadd => b + a,
                    Op::Zsub => -(b - a),
                    Op::Zmul => b * a,
                    Op::Zdiv => divide(&a, &b).0,
                    Op::Zmod => divide(&a, &b).1,
                    Op::Zand => bitwise(&a, &b, |a, b| a & b),
                    Op::Zor => bitwise(&a, &b, |a, b| a | b),
                    Op::Zxor => bitwise(&a, &b, |a, b| a ^ b),
                    _ => unreachable!("{op:?} is of another row"),
                })
            }
        }
    }

    /// Z2W.
    fn narrow(&mut self, mode: u64) -> Result<(), Fault> {
        let mode = Narrowing::from_code(mode).ok_or(TrapKind::Range)?;
        let number = self.pop_integer()?;
        let is_signed = matches!(mode, Narrowing::Signed | Narrowing::ClampSigned);
        let half = BigInt::one() << (self.bits - 1);
        let (least, greatest) =
            if is_signed { (-&half, half - 1u32) } else { (BigInt::zero(), half * 2u32 - 1u32) };
        let number = match mode {
            Narrowing::Wrap => number,
            _ if least <= number && number <= greatest => number,
            Narrowing::Unsigned | Narrowing::Signed => return Err(TrapKind::Overflow.into()),
            _ => number.clamp(least, greatest),
        };
        self.push(wrap(&number, self.bits));
        Ok(())
    }

    /// ZFN.
    fn integer_fn(&mut self, function: u64) -> Result<(), Fault> {
        let function = IntegerFn::from_code(function).ok_or(TrapKind::Range)?;
        let range = |is_right: bool| if is_right { Ok(()) } else { Err(Fault::from(TrapKind::Range)) };
        match function {
            IntegerFn::Pow => {
                let (e, a) = (self.pop_integer()?, self.pop_integer()?);
                range(!e.is_negative())?;
                if a.magnitude() <= &BigUint::one() {
                    let is_one = e.is_zero() || (a.is_negative() && (&e % 2u32).is_zero());
                    return self.push_integer(if is_one { BigInt::one() } else { a });
                }
                let bits = BigInt::from(a.bits() - 1) * &e;
                if e > MAX_INTEGER_BITS.into() || bits >= MAX_INTEGER_BITS.into() {
                    return Err(TrapKind::Size.into());
                }
                let exponent = e.to_u64().unwrap_or_default();
                self.charge(cost::pow(a.bits() * exponent / 64 + 1))?;
                let power = (0..e.bits()).rev().fold(BigInt::one(), |power, bit| {
                    let square = &power * &power;
                    if e.bit(bit) { square * &a } else { square }
                });
                self.push_integer(power)
            }
            IntegerFn::Modpow => {
                let (m, e, a) = (self.pop_integer()?, self.pop_integer()?, self.pop_integer()?);
                if m.is_zero() {
                    return Err(TrapKind::DivZero.into());
                }
                range(m.is_positive() && !e.is_negative())?;
                self.charge(cost::modpow(limbs(&a), e.bits(), limbs(&m)))?;
                let power = (0..e.bits()).rev().fold(divide(&BigInt::one(), &m).1, |power, bit| {
                    let square = &power * &power;
                    let next = if e.bit(bit) { square * &a } else { square };
                    divide(&next, &m).1
                });
                self.push_integer(power)
            }
            IntegerFn::Gcd | IntegerFn::Lcm => {
                let (b, a) = (self.pop_integer()?, self.pop_integer()?);
                self.charge(cost::gcd(limbs(&a).max(limbs(&b))))?;
                let (mut x, mut y) = (a.abs(), b.abs());
                while !y.is_zero() {
                    (x, y) = (y.clone(), x % y);
                }
                let is_lcm = function == IntegerFn::Lcm;
                self.push_integer(match x.is_zero() {
                    false if is_lcm => (a * b).abs() / x,
                    _ => x,
                })
            }
            IntegerFn::Modinv => {
                let (m, a) = (self.pop_integer()?, self.pop_integer()?);
                if m.is_zero() {
                    return Err(TrapKind::DivZero.into());
                }
                range(m.is_positive())?;
                self.charge(cost::gcd(limbs(&a).max(limbs(&m))))?;
                let euclid = divide(&a, &m).1.extended_gcd(&m);
                if euclid.gcd.is_one() {
                    self.push_integer(divide(&euclid.x, &m).1)
                } else {
                    self.push_ref(Value::Null);
                    Ok(())
                }
            }
            IntegerFn::Isqrt => {
                let a = self.pop_integer()?;
                range(!a.is_negative())?;
                self.charge(cost::isqrt(limbs(&a)))?;
                // Bit by bit, the highest first.
                let root = (0..=a.bits() / 2).rev().fold(BigInt::zero(), |root, bit| {
                    let next = &root + (BigInt::one() << bit);
                    if &next * &next <= a { next } else { root }
                });
                self.push_integer(root)
            }
            IntegerFn::IsPrime => {
                let a = self.pop_integer()?;
                let is_prime = self.test_prime(&a)?;
                self.push(u32::from(is_prime));
                Ok(())
            }
            IntegerFn::NextPrime => {
                let mut a = self.pop_integer()?.max(BigInt::zero());
                loop {
                    a += 1u32;
                    if self.test_prime(&a)? {
                        return self.push_integer(a);
                    }
                }
            }
            IntegerFn::FromLe | IntegerFn::FromBe | IntegerFn::FromText => self.integer_of_bytes(function),
            IntegerFn::ToLe | IntegerFn::ToBe | IntegerFn::ToDec | IntegerFn::ToHex => {
                let a = self.pop_integer()?;
                let is_text = matches!(function, IntegerFn::ToDec | IntegerFn::ToHex);
                range(is_text || !a.is_negative())?;
                let len = limbs(&a);
                let is_decimal = function == IntegerFn::ToDec;
                self.charge(if is_decimal { cost::decimal(len) } else { gas::integer(len) })?;
                let (base, sign) =
                    (if is_decimal { 10u32 } else { 16 }, if a.is_negative() { "-" } else { "" });
                let bytes = if is_text {
                    let prefix = if is_decimal { "" } else { "0x" };
                    format!("{sign}{prefix}{}", a.magnitude().to_str_radix(base)).into_bytes()
                } else {
                    let mut bytes = a.magnitude().to_radix_le(256);
                    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
                    if function == IntegerFn::ToBe {
                        bytes.reverse();
                    }
                    bytes
                };
                if bytes.len() as u64 > MAX_BYTES_LEN {
                    return Err(TrapKind::Size.into());
                }
                self.push_new(Value::bytes(bytes.into()))
            }
        }
    }

    fn integer_of_bytes(&mut self, function: IntegerFn) -> Result<(), Fault> {
        let Value::Bytes(text) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        let bytes = &text.bytes;
        let len = (bytes.len() as u64).div_ceil(8).max(1);
        let is_text = function == IntegerFn::FromText;
        self.charge(if is_text { cost::decimal(len) } else { gas::integer(len) })?;
        match function {
            IntegerFn::FromLe => self.push_integer(number_of(bytes.iter().rev())),
            IntegerFn::FromBe => self.push_integer(number_of(bytes.iter())),
            _ => {
                let text = std::str::from_utf8(bytes).unwrap_or("?");
                let (sign, digits) =
                    text.strip_prefix('-').map_or((Sign::Plus, text), |digits| (Sign::Minus, digits));
                let (radix, digits) = digits.strip_prefix("0x").map_or((10, digits), |digits| (16, digits));
                let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
                if !is_number {
                    self.push_ref(Value::Null);
                    return Ok(());
                }
                let magnitude = digits.chars().fold(BigUint::zero(), |number, digit| {
                    number * radix + digit.to_digit(radix).unwrap_or_default()
                });
                self.push_integer(BigInt::from_biguint(sign, magnitude))
            }
        }
    }

    /// Whether a number is prime: by trial below 2^32, otherwise by powers of forty bases.
    fn test_prime(&mut self, number: &BigInt) -> Result<bool, Fault> {
        let len = limbs(number);
        self.charge(cost::trial(len))?;
        let Some(n) = number.to_biguint().filter(|n| *n > BigUint::one()) else { return Ok(false) };
        for divisor in (2u32..256).filter(|divisor| (2..*divisor).all(|d| divisor % d != 0)) {
            if (&n % divisor).is_zero() {
                return Ok(n == divisor.into());
            }
        }
        if n.bits() <= 16 {
            return Ok(true);
        }
        self.charge(cost::prime(len))?;
        if let Some(n) = n.to_u32() {
            return Ok((257..)
                .take_while(|d: &u32| u64::from(*d) * u64::from(*d) <= n.into())
                .all(|d| n % d != 0));
        }
        let less = &n - 1u32;
        let twos = less.trailing_zeros().unwrap_or_default();
        let odd = &less >> twos;
        Ok((0..40u32).all(|base| {
            let mut power = BigUint::from(2 * base + 3).modpow(&odd, &n);
            if power.is_one() || power == less {
                return true;
            }
            (1..twos).any(|_| {
                power = &power * &power % &n;
                power == less
            })
        }))
    }
}
