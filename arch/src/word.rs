//! The word: one unsigned number modulo 2^w, with the integer operations of the instruction set.

use crate::{Width, text, text::ParseWordError};
use std::{
    fmt::{Debug, Display, LowerHex},
    hash::Hash,
};

/// A word of 8 bits; only the operand of a width-prefixed operation.
pub type W8 = ruint::Uint<8, 1>;
/// A word of 16 bits; only the operand of a width-prefixed operation.
pub type W16 = ruint::Uint<16, 1>;
/// A word of 32 bits.
pub type W32 = ruint::Uint<32, 1>;
/// A word of 64 bits.
pub type W64 = ruint::Uint<64, 1>;
/// A word of 128 bits.
pub type W128 = ruint::Uint<128, 2>;
/// A word of 256 bits.
pub type W256 = ruint::Uint<256, 4>;
/// A word of 512 bits.
pub type W512 = ruint::Uint<512, 8>;

/// Why a trapping signed division has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DivError {
    /// The divisor is 0.
    #[error("division by zero")]
    Zero,
    /// The most negative number divided by -1.
    #[error("signed division overflows: the most negative number divided by -1")]
    Overflow,
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// An unsigned number modulo 2^[`BITS`](Word::BITS); signedness is in the operation.
///
/// The operations carry the mnemonics of the instruction set in lower case; where a mnemonic would clash with a
/// method of [`Ord`] or says too little it differs: [`rem`](Word::rem) is MOD, [`srem`](Word::srem) SMOD,
/// [`umin`](Word::umin) MIN, [`umax`](Word::umax) MAX, [`cmp3`](Word::cmp3) CMP. [`Ord`] itself is the unsigned order.
///
/// Write code generic over `Word`. On a concrete alias such as [`W256`] the inherent items of `ruint::Uint` shadow
/// associated items of the same name (`W256::BITS` is a `usize`, `W256::from_be_slice` panics on overflow); there, say
/// `<W256 as Word>::BITS`.
pub trait Word:
    sealed::Sealed + Copy + Clone + Eq + Ord + Hash + Debug + Default + Display + LowerHex + Send + Sync + 'static
{
    /// Width in bits.
    const BITS: u32;
    /// Width in bytes.
    const BYTES: usize;
    /// Number of 64-bit limbs.
    const LIMBS: usize;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// 2^w - 1, all bits set; -1 when read as signed.
    const MAX: Self;
    /// 2^(w-1), the most negative number when read as signed.
    const MIN_SIGNED: Self;

    // Conversions.

    /// Limb `index`, least significant first; 0 beyond the word. Unused high bits of the limb are 0.
    fn limb(self, index: usize) -> u64;

    /// The word whose limb `i` is `limb(i)`; bits beyond the width are dropped.
    fn from_limb_fn(limb: impl Fn(usize) -> u64) -> Self;

    /// `value` modulo 2^w.
    fn from_u64(value: u64) -> Self;

    /// `value` modulo 2^w, sign-extended if the word is wider.
    fn from_i64(value: i64) -> Self;

    /// 1 for true, 0 for false.
    #[inline(always)]
    fn from_bool(value: bool) -> Self {
        Self::from_u64(value as u64)
    }

    /// The low 64 bits.
    #[inline(always)]
    fn low_u64(self) -> u64 {
        self.limb(0)
    }

    /// The low 32 bits.
    #[inline(always)]
    fn low_u32(self) -> u32 {
        self.limb(0) as u32
    }

    /// The value, if it is below 2^64.
    fn try_u64(self) -> Option<u64>;

    /// Whether all bits are 0.
    fn is_zero(self) -> bool;

    /// Bit `index`, least significant first; false beyond the word.
    #[inline(always)]
    fn bit(self, index: u32) -> bool {
        (self.limb((index / 64) as usize) >> (index % 64)) & 1 == 1
    }

    /// The sign bit.
    fn is_negative(self) -> bool;

    /// The number of bits up to the highest set one; 0 for 0.
    fn bit_len(self) -> u32;

    /// Reads a little-endian word.
    ///
    /// # Panics
    /// If `bytes` is not exactly [`BYTES`](Word::BYTES) long.
    fn read_le(bytes: &[u8]) -> Self;

    /// Writes the word in little-endian order.
    ///
    /// # Panics
    /// If `bytes` is not exactly [`BYTES`](Word::BYTES) long.
    fn write_le(self, bytes: &mut [u8]);

    /// Reads a big-endian number of any length; empty is 0. `None` if it does not fit.
    #[inline]
    fn from_be_slice(bytes: &[u8]) -> Option<Self> {
        let (leading, bytes) = bytes.split_at(bytes.len().saturating_sub(Self::BYTES));
        if leading.iter().any(|&byte| byte != 0) {
            return None;
        }
        if Self::LIMBS == 1 {
            return Some(Self::from_u64(match bytes.try_into() {
                Ok(bytes) => u64::from_be_bytes(bytes),
                Err(_) => bytes.iter().fold(0, |limb, &byte| limb << 8 | u64::from(byte)),
            }));
        }
        let mut padded = [0; 64];
        padded[64 - bytes.len()..].copy_from_slice(bytes);
        let (limbs, _) = padded.as_chunks::<8>();
        Some(Self::from_limb_fn(|i| u64::from_be_bytes(limbs[7 - i])))
    }

    /// The big-endian bytes without leading zeros, in (the front of) `buffer`; empty for 0.
    fn to_be_trimmed(self, buffer: &mut [u8; 64]) -> &[u8];

    /// Zero-extends or truncates to another width.
    #[inline(always)]
    fn resize<V: Word>(self) -> V {
        V::from_limb_fn(|i| self.limb(i))
    }

    /// Sign-extends `value` to this width, or truncates it.
    #[inline(always)]
    fn sign_extend_from<V: Word>(value: V) -> Self {
        let fill = if value.is_negative() { u64::MAX } else { 0 };
        Self::from_limb_fn(|i| {
            if i >= V::LIMBS {
                fill
            } else if V::BITS < 64 {
                value.limb(i) | (fill << (V::BITS % 64))
            } else {
                value.limb(i)
            }
        })
    }

    /// Reads `0x…`, `0b…` or decimal, single `_` between digits, and a leading `-` for two's complement.
    ///
    /// # Errors
    /// The text has no digit, another character, or a number outside 0 ..= 2^w - 1 or, with `-`, below -2^(w-1).
    fn parse(text: &str) -> Result<Self, ParseWordError> {
        text::parse(text)
    }

    // 0x20 to 0x2F: integer arithmetic.

    /// ADD: a + b modulo 2^w.
    fn add(self, b: Self) -> Self;
    /// SUB: a - b modulo 2^w.
    fn sub(self, b: Self) -> Self;
    /// MUL: a · b modulo 2^w.
    fn mul(self, b: Self) -> Self;
    /// DIV, unsigned; `None` for b = 0.
    fn div(self, b: Self) -> Option<Self>;
    /// SDIV: signed, toward zero.
    ///
    /// # Errors
    /// b = 0, or the most negative number divided by -1.
    fn sdiv(self, b: Self) -> Result<Self, DivError>;
    /// MOD, unsigned; `None` for b = 0.
    fn rem(self, b: Self) -> Option<Self>;
    /// SMOD: signed remainder with the sign of a; `None` for b = 0. The most negative number rem -1 is 0.
    fn srem(self, b: Self) -> Option<Self>;
    /// NEG: -a modulo 2^w.
    #[inline(always)]
    fn neg(self) -> Self {
        Self::ZERO.sub(self)
    }
    /// ABS: the magnitude of the signed value; the most negative number stays itself.
    #[inline(always)]
    fn abs(self) -> Self {
        if self.is_negative() { self.neg() } else { self }
    }
    /// ADDC: a + b + low bit of `carry`, as (sum, carry out).
    fn addc(self, b: Self, carry: Self) -> (Self, Self);
    /// SUBB: a - b - low bit of `borrow`, as (difference, borrow out).
    fn subb(self, b: Self, borrow: Self) -> (Self, Self);
    /// MULW: the full unsigned product as (high, low).
    fn mulw(self, b: Self) -> (Self, Self);
    /// SADDO: (a + b, 1 if the signed sum overflows).
    fn saddo(self, b: Self) -> (Self, Self);
    /// SSUBO: (a - b, 1 if the signed difference overflows).
    fn ssubo(self, b: Self) -> (Self, Self);
    /// SMULO: (a · b, 1 if the signed product overflows).
    fn smulo(self, b: Self) -> (Self, Self);
    /// ADDI: a + s modulo 2^w, s sign-extended.
    #[inline(always)]
    fn addi(self, s: i64) -> Self {
        self.add(Self::from_i64(s))
    }

    // 0x30 to 0x3F: guest semantics, modular.

    /// DIVZ: unsigned, 0 for b = 0.
    #[inline(always)]
    fn divz(self, b: Self) -> Self {
        self.div(b).unwrap_or(Self::ZERO)
    }
    /// SDIVZ: signed, 0 for b = 0; the most negative number divided by -1 is itself.
    #[inline(always)]
    fn sdivz(self, b: Self) -> Self {
        match self.sdiv(b) {
            Ok(quotient) => quotient,
            Err(DivError::Zero) => Self::ZERO,
            Err(DivError::Overflow) => Self::MIN_SIGNED,
        }
    }
    /// MODZ: unsigned, 0 for b = 0.
    #[inline(always)]
    fn modz(self, b: Self) -> Self {
        self.rem(b).unwrap_or(Self::ZERO)
    }
    /// SMODZ: signed with the sign of a, 0 for b = 0.
    #[inline(always)]
    fn smodz(self, b: Self) -> Self {
        self.srem(b).unwrap_or(Self::ZERO)
    }
    /// ADDMOD: (a + b) mod m over the full sum; 0 for m = 0.
    fn addmod(self, b: Self, m: Self) -> Self;
    /// MULMOD: (a · b) mod m over the full product; 0 for m = 0.
    fn mulmod(self, b: Self, m: Self) -> Self;
    /// EXP: a^e modulo 2^w; 0^0 = 1.
    fn exp(self, e: Self) -> Self;
    /// ISQRT: the floor of the square root.
    fn isqrt(self) -> Self;
    /// MIN, unsigned.
    #[inline(always)]
    fn umin(self, b: Self) -> Self {
        if b.lt(self) { b } else { self }
    }
    /// MAX, unsigned.
    #[inline(always)]
    fn umax(self, b: Self) -> Self {
        if self.lt(b) { b } else { self }
    }
    /// SMIN, signed.
    #[inline(always)]
    fn smin(self, b: Self) -> Self {
        if b.slt(self) { b } else { self }
    }
    /// SMAX, signed.
    #[inline(always)]
    fn smax(self, b: Self) -> Self {
        if self.slt(b) { b } else { self }
    }
    /// DIVMOD: (quotient, remainder), unsigned; `None` for b = 0.
    fn divmod(self, b: Self) -> Option<(Self, Self)>;
    /// MODPOW: a^e mod m, 0 for m = 1; `None` for m = 0.
    #[inline(never)]
    fn modpow(self, e: Self, m: Self) -> Option<Self> {
        modpow_by_division(self, e, m)
    }
    /// MODINV: the inverse of a modulo m, 0 if there is none or m = 1; `None` for m = 0.
    fn modinv(self, m: Self) -> Option<Self>;
    /// SEXTD: [`sext`](Word::sext) from the low n bits with n a word.
    #[inline(always)]
    fn sextd(self, n: Self) -> Self {
        self.sext(n.saturating_u32())
    }

    // 0x40 to 0x4F: bits and shifts.

    /// AND.
    fn and(self, b: Self) -> Self;
    /// OR.
    fn or(self, b: Self) -> Self;
    /// XOR.
    fn xor(self, b: Self) -> Self;
    /// NOT.
    fn not(self) -> Self;
    /// ANDN: a ∧ ¬b.
    #[inline(always)]
    fn andn(self, b: Self) -> Self {
        self.and(b.not())
    }
    /// SHL; 0 for n ≥ w.
    fn shl(self, n: Self) -> Self;
    /// SHR: zero-filling; 0 for n ≥ w.
    fn shr(self, n: Self) -> Self;
    /// SAR: sign-filling; all sign bits for n ≥ w.
    fn sar(self, n: Self) -> Self;
    /// ROTL by n modulo w.
    fn rotl(self, n: Self) -> Self;
    /// ROTR by n modulo w.
    fn rotr(self, n: Self) -> Self;
    /// CLZ: leading zero bits; w for 0.
    fn clz(self) -> Self;
    /// CTZ: trailing zero bits; w for 0.
    fn ctz(self) -> Self;
    /// POPCNT: the number of bits that are set.
    fn popcnt(self) -> Self;
    /// BSWAP: reverses the bytes of the word.
    fn bswap(self) -> Self;
    /// BYTE: byte i counted from the most significant; 0 if outside.
    fn byte(self, i: Self) -> Self;

    // 0x50 to 0x5F: comparison and sub-fields.

    /// EQ.
    #[inline(always)]
    fn eq(self, b: Self) -> bool {
        self.xor(b).is_zero()
    }
    /// NE.
    #[inline(always)]
    fn ne(self, b: Self) -> bool {
        !self.eq(b)
    }
    /// LT, unsigned.
    fn lt(self, b: Self) -> bool;
    /// GT, unsigned.
    #[inline(always)]
    fn gt(self, b: Self) -> bool {
        b.lt(self)
    }
    /// LE, unsigned.
    #[inline(always)]
    fn le(self, b: Self) -> bool {
        !b.lt(self)
    }
    /// GE, unsigned.
    #[inline(always)]
    fn ge(self, b: Self) -> bool {
        !self.lt(b)
    }
    /// SLT, signed.
    fn slt(self, b: Self) -> bool;
    /// SGT, signed.
    #[inline(always)]
    fn sgt(self, b: Self) -> bool {
        b.slt(self)
    }
    /// SLE, signed.
    #[inline(always)]
    fn sle(self, b: Self) -> bool {
        !b.slt(self)
    }
    /// SGE, signed.
    #[inline(always)]
    fn sge(self, b: Self) -> bool {
        !self.slt(b)
    }
    /// EQZ.
    #[inline(always)]
    fn eqz(self) -> bool {
        self.is_zero()
    }
    /// CMP: -1, 0 or 1 as the unsigned a is below, equal to or above b.
    #[inline(always)]
    fn cmp3(self, b: Self) -> Self {
        Self::from_i64(b.lt(self) as i64 - self.lt(b) as i64)
    }
    /// SEXT: sign-extends from the low n bits; 0 for n = 0, unchanged for n ≥ w.
    fn sext(self, n: u32) -> Self;
    /// ZEXT: keeps the low n bits; unchanged for n ≥ w.
    fn zext(self, n: u32) -> Self;
    /// BEXTR: the field of `len` bits from bit `off`; bits beyond the word read as 0.
    #[inline(always)]
    fn bextr(self, off: u32, len: u32) -> Self {
        self.shr_u32(off).zext(len)
    }
    /// BINS: replaces the `len` bits from bit `off` by the low bits of `field`; bits beyond the word are dropped.
    #[inline(always)]
    fn bins(self, field: Self, off: u32, len: u32) -> Self {
        let mask = Self::MAX.zext(len);
        self.andn(mask.shl_u32(off)).or(field.and(mask).shl_u32(off))
    }

    // Immediate forms and helpers.

    /// [`shl`](Word::shl) by a number of bits known as a machine integer.
    fn shl_u32(self, n: u32) -> Self;
    /// [`shr`](Word::shr) by a number of bits known as a machine integer.
    fn shr_u32(self, n: u32) -> Self;
    /// [`sar`](Word::sar) by a number of bits known as a machine integer.
    fn sar_u32(self, n: u32) -> Self;
    /// The value, or `u32::MAX` if it is larger.
    #[inline(always)]
    fn saturating_u32(self) -> u32 {
        match self.try_u64() {
            Some(value) if value < u32::MAX as u64 => value as u32,
            _ => u32::MAX,
        }
    }
}

/// a^e mod m for any m, one or two [`mulmod`](Word::mulmod) for each bit of e; `None` for m = 0.
pub(crate) fn modpow_by_division<W: Word>(a: W, e: W, m: W) -> Option<W> {
    let base = a.rem(m)?;
    let mut power = W::ONE.rem(m)?;
    for index in (0..e.bit_len()).rev() {
        power = power.mulmod(power, m);
        if e.bit(index) {
            power = power.mulmod(base, m);
        }
    }
    Some(power)
}

/// A word width that a module may choose.
pub trait Arch: Word {
    /// The width as a value.
    const WIDTH: Width;
}

impl Arch for W32 {
    const WIDTH: Width = Width::W32;
}
impl Arch for W64 {
    const WIDTH: Width = Width::W64;
}
impl Arch for W128 {
    const WIDTH: Width = Width::W128;
}
impl Arch for W256 {
    const WIDTH: Width = Width::W256;
}
impl Arch for W512 {
    const WIDTH: Width = Width::W512;
}
