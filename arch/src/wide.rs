//! Words of 256 and 512 bits: limbs, through `ruint`.

use crate::{
    DivError, W64, W256, W512, Word,
    word::{modpow_by_division, sealed::Sealed},
};
use ruint::Uint;

/// The bits of limb `index` that lie below bit `n` of the word.
#[inline(always)]
fn mask_below(n: u32, index: usize) -> u64 {
    !u64::MAX.unbounded_shl(n.saturating_sub(64 * index as u32))
}

/// Limb `index`, or 0 beyond the word, chosen without an address: the word can stay in registers.
#[inline(always)]
fn select_limb<const LIMBS: usize>(limbs: &[u64; LIMBS], index: usize) -> u64 {
    let mut selected = 0;
    for (i, &limb) in limbs.iter().enumerate() {
        selected |= if i == index { limb } else { 0 };
    }
    selected
}

macro_rules! wide_word {
    ($word:ident, $bits:literal, $limbs:literal, double $double:literal, $double_limbs:literal) => {
        const _: () = {
            const TOP: usize = $limbs - 1;
            const SIGN: u64 = 1 << 63;

            #[inline(always)]
            fn map(f: impl FnMut(usize) -> u64) -> $word {
                Uint::from_limbs(std::array::from_fn(f))
            }

            #[inline(always)]
            fn magnitudes(a: $word, b: $word) -> ($word, $word) {
                (Word::abs(a), Word::abs(b))
            }

            impl Sealed for $word {}

            impl Word for $word {
                const BITS: u32 = $bits;
                const BYTES: usize = $bits / 8;
                const LIMBS: usize = $limbs;
                const ZERO: Self = Self::ZERO;
                const ONE: Self = Self::ONE;
                const MAX: Self = Self::MAX;
                const MIN_SIGNED: Self = {
                    let mut limbs = [0; $limbs];
                    limbs[TOP] = SIGN;
                    Uint::from_limbs(limbs)
                };

                #[inline(always)]
                fn limb(self, index: usize) -> u64 {
                    if index < $limbs { self.as_limbs()[index] } else { 0 }
                }
                #[inline(always)]
                fn from_limb_fn(limb: impl Fn(usize) -> u64) -> Self {
                    map(limb)
                }
                #[inline(always)]
                fn from_u64(value: u64) -> Self {
                    map(|i| if i == 0 { value } else { 0 })
                }
                #[inline(always)]
                fn from_i64(value: i64) -> Self {
                    map(|i| if i == 0 { value as u64 } else { (value >> 63) as u64 })
                }
                #[inline(always)]
                fn try_u64(self) -> Option<u64> {
                    let limbs = self.as_limbs();
                    if limbs[1..].iter().fold(0, |all, limb| all | limb) == 0 { Some(limbs[0]) } else { None }
                }
                #[inline(always)]
                fn is_zero(self) -> bool {
                    self.as_limbs().iter().fold(0, |all, limb| all | limb) == 0
                }
                #[inline(always)]
                fn is_negative(self) -> bool {
                    self.as_limbs()[TOP] & SIGN != 0
                }
                #[inline(always)]
                fn bit_len(self) -> u32 {
                    Uint::bit_len(&self) as u32
                }
                #[inline(always)]
                #[track_caller]
                fn read_le(bytes: &[u8]) -> Self {
                    let bytes: &[u8; $bits / 8] = bytes.try_into().expect("exactly one word of bytes");
                    let (limbs, _) = bytes.as_chunks::<8>();
                    map(|i| u64::from_le_bytes(limbs[i]))
                }
                #[inline(always)]
                #[track_caller]
                fn write_le(self, bytes: &mut [u8]) {
                    let bytes: &mut [u8; $bits / 8] = bytes.try_into().expect("exactly one word of bytes");
                    let (limbs, _) = bytes.as_chunks_mut::<8>();
                    for (bytes, limb) in limbs.iter_mut().zip(self.as_limbs()) {
                        *bytes = limb.to_le_bytes();
                    }
                }
                #[inline]
                fn to_be_trimmed(self, buffer: &mut [u8; 64]) -> &[u8] {
                    let (limbs, _) = buffer.as_chunks_mut::<8>();
                    for (bytes, limb) in limbs.iter_mut().zip(self.as_limbs().iter().rev()) {
                        *bytes = limb.to_be_bytes();
                    }
                    &buffer[Uint::leading_zeros(&self) / 8..$bits / 8]
                }

                #[inline(always)]
                fn add(self, b: Self) -> Self {
                    self.wrapping_add(b)
                }
                #[inline(always)]
                fn sub(self, b: Self) -> Self {
                    self.wrapping_sub(b)
                }
                #[inline(always)]
                fn mul(self, b: Self) -> Self {
                    self.wrapping_mul(b)
                }
                #[inline(always)]
                fn div(self, b: Self) -> Option<Self> {
                    if Word::is_zero(b) { None } else { Some(self.wrapping_div(b)) }
                }
                #[inline(never)]
                fn sdiv(self, b: Self) -> Result<Self, DivError> {
                    if Word::is_zero(b) {
                        return Err(DivError::Zero);
                    }
                    if self == Self::MIN_SIGNED && b == <Self as Word>::MAX {
                        return Err(DivError::Overflow);
                    }
                    let (dividend, divisor) = magnitudes(self, b);
                    let quotient = dividend.wrapping_div(divisor);
                    Ok(if self.is_negative() != b.is_negative() { Word::neg(quotient) } else { quotient })
                }
                #[inline(always)]
                fn rem(self, b: Self) -> Option<Self> {
                    if Word::is_zero(b) { None } else { Some(self.wrapping_rem(b)) }
                }
                #[inline(never)]
                fn srem(self, b: Self) -> Option<Self> {
                    let (dividend, divisor) = magnitudes(self, b);
                    let remainder = Word::rem(dividend, divisor)?;
                    Some(if self.is_negative() { Word::neg(remainder) } else { remainder })
                }
                #[inline(always)]
                fn addc(self, b: Self, carry: Self) -> (Self, Self) {
                    let mut carry = carry.as_limbs()[0] & 1 == 1;
                    let sum = map(|i| {
                        let (limb, out) = self.as_limbs()[i].carrying_add(b.as_limbs()[i], carry);
                        carry = out;
                        limb
                    });
                    (sum, Self::from_bool(carry))
                }
                #[inline(always)]
                fn subb(self, b: Self, borrow: Self) -> (Self, Self) {
                    let mut borrow = borrow.as_limbs()[0] & 1 == 1;
                    let difference = map(|i| {
                        let (limb, out) = self.as_limbs()[i].borrowing_sub(b.as_limbs()[i], borrow);
                        borrow = out;
                        limb
                    });
                    (difference, Self::from_bool(borrow))
                }
                #[inline(always)]
                fn mulw(self, b: Self) -> (Self, Self) {
                    let product: Uint<$double, $double_limbs> = self.widening_mul(b);
                    (map(|i| product.as_limbs()[$limbs + i]), map(|i| product.as_limbs()[i]))
                }
                #[inline(always)]
                fn saddo(self, b: Self) -> (Self, Self) {
                    let sum = self.wrapping_add(b);
                    let (a, b, s) = (self.as_limbs()[TOP], b.as_limbs()[TOP], sum.as_limbs()[TOP]);
                    (sum, Self::from_u64(((a ^ s) & (b ^ s)) >> 63))
                }
                #[inline(always)]
                fn ssubo(self, b: Self) -> (Self, Self) {
                    let difference = self.wrapping_sub(b);
                    let (a, b, d) = (self.as_limbs()[TOP], b.as_limbs()[TOP], difference.as_limbs()[TOP]);
                    (difference, Self::from_u64(((a ^ b) & (a ^ d)) >> 63))
                }
                #[inline(never)]
                fn smulo(self, b: Self) -> (Self, Self) {
                    let negative = self.is_negative() != b.is_negative();
                    let (a, b) = magnitudes(self, b);
                    let (magnitude, carried) = a.overflowing_mul(b);
                    // -2^(w-1) is in range, +2^(w-1) is not.
                    let outside =
                        if negative { magnitude > Self::MIN_SIGNED } else { magnitude.is_negative() };
                    let product = if negative { Word::neg(magnitude) } else { magnitude };
                    (product, Self::from_bool(carried | outside))
                }

                #[inline(never)]
                fn addmod(self, b: Self, m: Self) -> Self {
                    self.add_mod(b, m)
                }
                #[inline(never)]
                fn mulmod(self, b: Self, m: Self) -> Self {
                    self.mul_mod(b, m)
                }
                #[inline(never)]
                fn exp(self, e: Self) -> Self {
                    self.wrapping_pow(e)
                }
                #[inline(never)]
                fn isqrt(self) -> Self {
                    if Word::is_zero(self) {
                        return self;
                    }
                    // Newton's iteration from above: falls strictly until it reaches the floor of the root.
                    let mut root = <Self as Word>::ONE.shl_u32(Word::bit_len(self).div_ceil(2));
                    loop {
                        let next = root.wrapping_add(self.wrapping_div(root)).shr_u32(1);
                        if next >= root {
                            return root;
                        }
                        root = next;
                    }
                }
                #[inline(always)]
                fn divmod(self, b: Self) -> Option<(Self, Self)> {
                    if Word::is_zero(b) { None } else { Some(self.div_rem(b)) }
                }
                #[inline(never)]
                fn modpow(self, e: Self, m: Self) -> Option<Self> {
                    // An odd m is invertible modulo 2^64: Montgomery form replaces the divisions.
                    let inverse = match W64::from_limbs([m.as_limbs()[0]]).inv_ring() {
                        Some(inverse) if m != <Self as Word>::ONE => Word::neg(inverse).low_u64(),
                        _ => return modpow_by_division(self, e, m),
                    };
                    // 2^w mod m, which stands for 1.
                    let one = <Self as Word>::MAX.add_mod(<Self as Word>::ONE, m);
                    let base = self.mul_mod(one, m);
                    let mut power = one;
                    for index in (0..Word::bit_len(e)).rev() {
                        power = power.square_redc(m, inverse);
                        if Word::bit(e, index) {
                            power = power.mul_redc(base, m, inverse);
                        }
                    }
                    Some(power.mul_redc(<Self as Word>::ONE, m, inverse))
                }
                #[inline(never)]
                fn modinv(self, m: Self) -> Option<Self> {
                    if Word::is_zero(m) {
                        None
                    } else {
                        Some(self.inv_mod(m).unwrap_or(<Self as Word>::ZERO))
                    }
                }

                #[inline(always)]
                fn and(self, b: Self) -> Self {
                    map(|i| self.as_limbs()[i] & b.as_limbs()[i])
                }
                #[inline(always)]
                fn or(self, b: Self) -> Self {
                    map(|i| self.as_limbs()[i] | b.as_limbs()[i])
                }
                #[inline(always)]
                fn xor(self, b: Self) -> Self {
                    map(|i| self.as_limbs()[i] ^ b.as_limbs()[i])
                }
                #[inline(always)]
                fn not(self) -> Self {
                    map(|i| !self.as_limbs()[i])
                }
                #[inline(always)]
                fn shl(self, n: Self) -> Self {
                    self.shl_u32(n.saturating_u32())
                }
                #[inline(always)]
                fn shr(self, n: Self) -> Self {
                    self.shr_u32(n.saturating_u32())
                }
                #[inline(always)]
                fn sar(self, n: Self) -> Self {
                    self.sar_u32(n.saturating_u32())
                }
                #[inline(always)]
                fn rotl(self, n: Self) -> Self {
                    self.rotate_left(n.as_limbs()[0] as usize % $bits)
                }
                #[inline(always)]
                fn rotr(self, n: Self) -> Self {
                    self.rotate_right(n.as_limbs()[0] as usize % $bits)
                }
                #[inline(always)]
                fn clz(self) -> Self {
                    Self::from_u64(Uint::leading_zeros(&self) as u64)
                }
                #[inline(always)]
                fn ctz(self) -> Self {
                    Self::from_u64(Uint::trailing_zeros(&self) as u64)
                }
                #[inline(always)]
                fn popcnt(self) -> Self {
                    Self::from_u64(Uint::count_ones(&self) as u64)
                }
                #[inline(always)]
                fn bswap(self) -> Self {
                    map(|i| self.as_limbs()[TOP - i].swap_bytes())
                }
                #[inline(always)]
                fn byte(self, i: Self) -> Self {
                    // Past the last byte the subtraction wraps, and no limb has the index.
                    let from_low = ($bits / 8 - 1u32).wrapping_sub(i.saturating_u32());
                    let limb = select_limb(self.as_limbs(), from_low as usize / 8);
                    Self::from_u64(limb >> (from_low % 8 * 8) & 0xFF)
                }

                #[inline(always)]
                fn lt(self, b: Self) -> bool {
                    self < b
                }
                #[inline(always)]
                fn slt(self, b: Self) -> bool {
                    // Turning the sign bit over maps the signed order to the unsigned one.
                    self.xor(Self::MIN_SIGNED) < b.xor(Self::MIN_SIGNED)
                }
                #[inline(always)]
                fn sext(self, n: u32) -> Self {
                    // For n = 0 the subtraction wraps, and no limb has the index.
                    let sign = n.min($bits).wrapping_sub(1);
                    let negative = select_limb(self.as_limbs(), sign as usize / 64) >> (sign % 64) & 1 == 1;
                    let fill = if negative { u64::MAX } else { 0 };
                    map(|i| {
                        let mask = mask_below(n, i);
                        self.as_limbs()[i] & mask | fill & !mask
                    })
                }
                #[inline(always)]
                fn zext(self, n: u32) -> Self {
                    map(|i| self.as_limbs()[i] & mask_below(n, i))
                }
                #[inline(always)]
                fn shl_u32(self, n: u32) -> Self {
                    self.wrapping_shl(n as usize)
                }
                #[inline(always)]
                fn shr_u32(self, n: u32) -> Self {
                    self.wrapping_shr(n as usize)
                }
                #[inline(always)]
                fn sar_u32(self, n: u32) -> Self {
                    self.arithmetic_shr(n as usize)
                }
            }
        };
    };
}

wide_word!(W256, 256, 4, double 512, 8);
wide_word!(W512, 512, 8, double 1024, 16);
