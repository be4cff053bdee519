//! Words of 8 to 128 bits: load the limbs, one native operation, store.

use crate::{DivError, W8, W16, W32, W64, W128, Word, word::sealed::Sealed};

/// The primitive integer held in one or two limbs.
macro_rules! get {
    (1, $u:ident, $word:expr) => {
        $word.as_limbs()[0] as $u
    };
    (2, $u:ident, $word:expr) => {{
        let limbs = $word.as_limbs();
        limbs[0] as $u | (limbs[1] as $u) << 64
    }};
}

/// The word of a primitive integer.
macro_rules! put {
    (1, $value:expr) => {
        ruint::Uint::from_limbs([$value as u64])
    };
    (2, $value:expr) => {{
        let value = $value;
        ruint::Uint::from_limbs([value as u64, (value >> 64) as u64])
    }};
}

/// (a · b) mod m for m ≠ 0, through a primitive that holds the product, or through limbs where there is none.
macro_rules! mulmod {
    (limbs, $u:ident, $a:expr, $b:expr, $m:expr) => {
        $a.mul_mod($b, $m)
    };
    ($wide:ident, $u:ident, $a:expr, $b:expr, $m:expr) => {
        w((p($a) as $wide * p($b) as $wide % p($m) as $wide) as $u)
    };
}

macro_rules! native_word {
    ($word:ident, $limbs:tt limbs, $u:ident, $i:ident, product in $wide:ident) => {
        const _: () = {
            #[inline(always)]
            fn p(word: $word) -> $u {
                get!($limbs, $u, word)
            }

            #[inline(always)]
            const fn w(value: $u) -> $word {
                put!($limbs, value)
            }

            impl Sealed for $word {}

            impl Word for $word {
                const BITS: u32 = $u::BITS;
                const BYTES: usize = $u::BITS as usize / 8;
                const LIMBS: usize = $limbs;
                const ZERO: Self = w(0);
                const ONE: Self = w(1);
                const MAX: Self = w($u::MAX);
                const MIN_SIGNED: Self = w(1 << ($u::BITS - 1));

                #[inline(always)]
                fn limb(self, index: usize) -> u64 {
                    if index < $limbs { self.as_limbs()[index] } else { 0 }
                }
                #[inline(always)]
                fn from_limb_fn(limb: impl Fn(usize) -> u64) -> Self {
                    let mut value = limb(0) as $u;
                    if $limbs == 2 {
                        value |= (limb(1) as $u).unbounded_shl(64);
                    }
                    w(value)
                }
                #[inline(always)]
                fn from_u64(value: u64) -> Self {
                    w(value as $u)
                }
                #[inline(always)]
                fn from_i64(value: i64) -> Self {
                    w(value as $u)
                }
                #[inline(always)]
                fn try_u64(self) -> Option<u64> {
                    u64::try_from(p(self)).ok()
                }
                #[inline(always)]
                fn is_zero(self) -> bool {
                    p(self) == 0
                }
                #[inline(always)]
                fn is_negative(self) -> bool {
                    (p(self) as $i) < 0
                }
                #[inline(always)]
                fn bit_len(self) -> u32 {
                    $u::BITS - p(self).leading_zeros()
                }
                #[inline(always)]
                #[track_caller]
                fn read_le(bytes: &[u8]) -> Self {
                    w($u::from_le_bytes(bytes.try_into().expect("exactly one word of bytes")))
                }
                #[inline(always)]
                #[track_caller]
                fn write_le(self, bytes: &mut [u8]) {
                    bytes.copy_from_slice(&p(self).to_le_bytes());
                }
                #[inline]
                fn to_be_trimmed(self, buffer: &mut [u8; 64]) -> &[u8] {
                    let value = p(self);
                    buffer[..<Self as Word>::BYTES].copy_from_slice(&value.to_be_bytes());
                    &buffer[value.leading_zeros() as usize / 8..<Self as Word>::BYTES]
                }

                #[inline(always)]
                fn add(self, b: Self) -> Self {
                    w(p(self).wrapping_add(p(b)))
                }
                #[inline(always)]
                fn sub(self, b: Self) -> Self {
                    w(p(self).wrapping_sub(p(b)))
                }
                #[inline(always)]
                fn mul(self, b: Self) -> Self {
                    w(p(self).wrapping_mul(p(b)))
                }
                #[inline(always)]
                fn div(self, b: Self) -> Option<Self> {
                    p(self).checked_div(p(b)).map(w)
                }
                #[inline(always)]
                fn sdiv(self, b: Self) -> Result<Self, DivError> {
                    let (a, b) = (p(self) as $i, p(b) as $i);
                    if b == 0 {
                        return Err(DivError::Zero);
                    }
                    a.checked_div(b).map(|quotient| w(quotient as $u)).ok_or(DivError::Overflow)
                }
                #[inline(always)]
                fn rem(self, b: Self) -> Option<Self> {
                    p(self).checked_rem(p(b)).map(w)
                }
                #[inline(always)]
                fn srem(self, b: Self) -> Option<Self> {
                    let (a, b) = (p(self) as $i, p(b) as $i);
                    if b == 0 { None } else { Some(w(a.wrapping_rem(b) as $u)) }
                }
                #[inline(always)]
                fn addc(self, b: Self, carry: Self) -> (Self, Self) {
                    let (sum, carry) = p(self).carrying_add(p(b), p(carry) & 1 == 1);
                    (w(sum), Self::from_bool(carry))
                }
                #[inline(always)]
                fn subb(self, b: Self, borrow: Self) -> (Self, Self) {
                    let (difference, borrow) = p(self).borrowing_sub(p(b), p(borrow) & 1 == 1);
                    (w(difference), Self::from_bool(borrow))
                }
                #[inline(always)]
                fn mulw(self, b: Self) -> (Self, Self) {
                    let (low, high) = p(self).carrying_mul(p(b), 0);
                    (w(high), w(low))
                }
                #[inline(always)]
                fn saddo(self, b: Self) -> (Self, Self) {
                    let (sum, overflow) = (p(self) as $i).overflowing_add(p(b) as $i);
                    (w(sum as $u), Self::from_bool(overflow))
                }
                #[inline(always)]
                fn ssubo(self, b: Self) -> (Self, Self) {
                    let (difference, overflow) = (p(self) as $i).overflowing_sub(p(b) as $i);
                    (w(difference as $u), Self::from_bool(overflow))
                }
                #[inline(always)]
                fn smulo(self, b: Self) -> (Self, Self) {
                    let (product, overflow) = (p(self) as $i).overflowing_mul(p(b) as $i);
                    (w(product as $u), Self::from_bool(overflow))
                }

                #[inline(always)]
                fn addmod(self, b: Self, m: Self) -> Self {
                    let (a, b, m) = (p(self), p(b), p(m));
                    if m == 0 {
                        return <Self as Word>::ZERO;
                    }
                    let (sum, carry) = (a % m).overflowing_add(b % m);
                    w(if carry || sum >= m { sum.wrapping_sub(m) } else { sum })
                }
                #[inline(always)]
                fn mulmod(self, b: Self, m: Self) -> Self {
                    if p(m) == 0 {
                        return <Self as Word>::ZERO;
                    }
                    mulmod!($wide, $u, self, b, m)
                }
                #[inline]
                fn exp(self, e: Self) -> Self {
                    let (mut base, mut e, mut power) = (p(self), p(e), 1 as $u);
                    while e != 0 {
                        if e & 1 == 1 {
                            power = power.wrapping_mul(base);
                        }
                        base = base.wrapping_mul(base);
                        e >>= 1;
                    }
                    w(power)
                }
                #[inline]
                fn isqrt(self) -> Self {
                    w(p(self).isqrt())
                }
                #[inline(always)]
                fn divmod(self, b: Self) -> Option<(Self, Self)> {
                    let (a, b) = (p(self), p(b));
                    if b == 0 { None } else { Some((w(a / b), w(a % b))) }
                }
                #[inline(never)]
                fn modinv(self, m: Self) -> Option<Self> {
                    if p(m) == 0 { None } else { Some(self.inv_mod(m).unwrap_or(<Self as Word>::ZERO)) }
                }

                #[inline(always)]
                fn and(self, b: Self) -> Self {
                    w(p(self) & p(b))
                }
                #[inline(always)]
                fn or(self, b: Self) -> Self {
                    w(p(self) | p(b))
                }
                #[inline(always)]
                fn xor(self, b: Self) -> Self {
                    w(p(self) ^ p(b))
                }
                #[inline(always)]
                fn not(self) -> Self {
                    w(!p(self))
                }
                #[inline(always)]
                fn shl(self, n: Self) -> Self {
                    let n = p(n);
                    w(if n < $u::BITS as $u { p(self) << n } else { 0 })
                }
                #[inline(always)]
                fn shr(self, n: Self) -> Self {
                    let n = p(n);
                    w(if n < $u::BITS as $u { p(self) >> n } else { 0 })
                }
                #[inline(always)]
                fn sar(self, n: Self) -> Self {
                    let n = p(n).min($u::BITS as $u - 1);
                    w((p(self) as $i >> n) as $u)
                }
                #[inline(always)]
                fn rotl(self, n: Self) -> Self {
                    w(p(self).rotate_left(n.low_u32() % $u::BITS))
                }
                #[inline(always)]
                fn rotr(self, n: Self) -> Self {
                    w(p(self).rotate_right(n.low_u32() % $u::BITS))
                }
                #[inline(always)]
                fn clz(self) -> Self {
                    w(p(self).leading_zeros() as $u)
                }
                #[inline(always)]
                fn ctz(self) -> Self {
                    w(p(self).trailing_zeros() as $u)
                }
                #[inline(always)]
                fn popcnt(self) -> Self {
                    w(p(self).count_ones() as $u)
                }
                #[inline(always)]
                fn bswap(self) -> Self {
                    w(p(self).swap_bytes())
                }
                #[inline(always)]
                fn byte(self, i: Self) -> Self {
                    const LAST: $u = $u::BITS as $u / 8 - 1;
                    let i = p(i);
                    w(if i <= LAST { p(self) >> ((LAST - i) * 8) & 0xFF } else { 0 })
                }

                #[inline(always)]
                fn lt(self, b: Self) -> bool {
                    p(self) < p(b)
                }
                #[inline(always)]
                fn slt(self, b: Self) -> bool {
                    (p(self) as $i) < (p(b) as $i)
                }
                #[inline(always)]
                fn sext(self, n: u32) -> Self {
                    let unused = $u::BITS.saturating_sub(n);
                    w((p(self).unbounded_shl(unused) as $i).unbounded_shr(unused) as $u)
                }
                #[inline(always)]
                fn zext(self, n: u32) -> Self {
                    w(p(self) & !$u::MAX.unbounded_shl(n))
                }
                #[inline(always)]
                fn shl_u32(self, n: u32) -> Self {
                    w(p(self).unbounded_shl(n))
                }
                #[inline(always)]
                fn shr_u32(self, n: u32) -> Self {
                    w(p(self).unbounded_shr(n))
                }
                #[inline(always)]
                fn sar_u32(self, n: u32) -> Self {
                    w((p(self) as $i).unbounded_shr(n) as $u)
                }
            }
        };
    };
}

native_word!(W8, 1 limbs, u8, i8, product in u32);
native_word!(W16, 1 limbs, u16, i16, product in u32);
native_word!(W32, 1 limbs, u32, i32, product in u64);
native_word!(W64, 1 limbs, u64, i64, product in u128);
native_word!(W128, 2 limbs, u128, i128, product in limbs);
