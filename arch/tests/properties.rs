//! Every operation at every width against `num-bigint`.

mod common;

use common::{pair, power, signed, unsigned, word, wrap};
use dotvm_arch::{DivError, Signed, W8, W16, W32, W64, W128, W256, W512, Word};
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, Signed as _, Zero};
use proptest::prelude::*;
use std::cmp::Ordering;

/// Whether a signed value fits in the word.
fn in_range<W: Word>(value: &BigInt) -> bool {
    let limit = BigInt::from(power(W::BITS - 1));
    -&limit <= *value && *value < limit
}

fn additive<W: Word>(a: W, b: W, c: W) {
    let (ua, ub, sa, sb) = (unsigned(a), unsigned(b), signed(a), signed(b));
    let low = unsigned(c) % 2u32;
    let modulus = power(W::BITS);

    assert_eq!(a.add(b), wrap(&ua + &ub));
    assert_eq!(a.sub(b), wrap(&sa - &sb));
    assert_eq!(a.addi(c.low_u64() as i64), wrap(&sa + (c.low_u64() as i64)));
    assert_eq!(a.neg(), wrap(-&sa));
    assert_eq!(a.abs(), wrap(sa.abs()));

    let sum = &ua + &ub + &low;
    assert_eq!(a.addc(b, c), (wrap(sum.clone()), W::from_bool(sum >= modulus)));
    let difference = BigInt::from(ua.clone()) - BigInt::from(ub.clone()) - BigInt::from(low);
    assert_eq!(a.subb(b, c), (wrap(difference.clone()), W::from_bool(difference.is_negative())));

    let sum = &sa + &sb;
    assert_eq!(a.saddo(b), (wrap(sum.clone()), W::from_bool(!in_range::<W>(&sum))));
    let difference = &sa - &sb;
    assert_eq!(a.ssubo(b), (wrap(difference.clone()), W::from_bool(!in_range::<W>(&difference))));
}

fn multiplicative<W: Word>(a: W, b: W) {
    let (ua, ub, sa, sb) = (unsigned(a), unsigned(b), signed(a), signed(b));

    let product = &ua * &ub;
    assert_eq!(a.mul(b), wrap(product.clone()));
    assert_eq!(a.mulw(b), (wrap(&product >> W::BITS), wrap(product)));
    let product = &sa * &sb;
    assert_eq!(a.smulo(b), (wrap(product.clone()), W::from_bool(!in_range::<W>(&product))));

    if ub.is_zero() {
        assert_eq!(a.div(b), None);
        assert_eq!(a.rem(b), None);
        assert_eq!(a.divmod(b), None);
        assert_eq!(a.sdiv(b), Err(DivError::Zero));
        assert_eq!(a.srem(b), None);
        for result in [a.divz(b), a.modz(b), a.sdivz(b), a.smodz(b)] {
            assert_eq!(result, W::ZERO);
        }
    } else {
        let (quotient, remainder): (W, W) = (wrap(&ua / &ub), wrap(&ua % &ub));
        assert_eq!(a.div(b), Some(quotient));
        assert_eq!(a.rem(b), Some(remainder));
        assert_eq!(a.divmod(b), Some((quotient, remainder)));
        assert_eq!(a.divz(b), quotient);
        assert_eq!(a.modz(b), remainder);

        // `/` and `%` of BigInt truncate toward zero and take the sign of the dividend.
        let (quotient, remainder) = (&sa / &sb, &sa % &sb);
        let fits = in_range::<W>(&quotient);
        assert_eq!(a.sdiv(b), if fits { Ok(wrap(quotient.clone())) } else { Err(DivError::Overflow) });
        assert_eq!(a.sdivz(b), wrap(quotient));
        assert_eq!(a.srem(b), Some(wrap(remainder.clone())));
        assert_eq!(a.smodz(b), wrap(remainder));
    }
}

fn modular<W: Word>(a: W, b: W, m: W) {
    let (ua, ub, um) = (unsigned(a), unsigned(b), unsigned(m));
    if um.is_zero() {
        assert_eq!(a.addmod(b, m), W::ZERO);
        assert_eq!(a.mulmod(b, m), W::ZERO);
        assert_eq!(a.modinv(m), None);
    } else {
        assert_eq!(a.addmod(b, m), wrap((&ua + &ub) % &um));
        assert_eq!(a.mulmod(b, m), wrap((&ua * &ub) % &um));
        let inverse = unsigned(a.modinv(m).expect("the modulus is not 0"));
        if ua.gcd(&um).is_one() && !um.is_one() {
            assert!(
                inverse < um && (&ua * &inverse % &um).is_one(),
                "{a} has not the inverse {inverse} mod {m}"
            );
        } else {
            assert!(inverse.is_zero(), "{a} has no inverse mod {m}");
        }
    }
}

fn powers<W: Word>(a: W, e: W, m: W) {
    let (ua, ue, um) = (unsigned(a), unsigned(e), unsigned(m));
    assert_eq!(a.exp(e), wrap(ua.modpow(&ue, &power(W::BITS))));
    assert_eq!(a.isqrt(), wrap(ua.sqrt()));
    let expected = if um.is_zero() { None } else { Some(wrap(ua.modpow(&ue, &um))) };
    assert_eq!(a.modpow(e, m), expected);
}

fn bitwise<W: Word>(a: W, b: W) {
    let (ua, ub) = (unsigned(a), unsigned(b));
    let ones = power(W::BITS) - 1u32;
    assert_eq!(a.and(b), wrap(&ua & &ub));
    assert_eq!(a.or(b), wrap(&ua | &ub));
    assert_eq!(a.xor(b), wrap(&ua ^ &ub));
    assert_eq!(a.not(), wrap(&ones - &ua));
    assert_eq!(a.andn(b), wrap(&ua & (&ones - &ub)));

    assert_eq!(a.clz(), wrap(u64::from(W::BITS) - ua.bits()));
    assert_eq!(a.ctz(), wrap(ua.trailing_zeros().unwrap_or(W::BITS.into())));
    assert_eq!(a.popcnt(), wrap(ua.count_ones()));
    let mut bytes = ua.to_bytes_le();
    bytes.resize(W::BYTES, 0);
    assert_eq!(a.bswap(), wrap(BigUint::from_bytes_be(&bytes)));
}

fn shifts<W: Word>(a: W, n: W) {
    let ua = unsigned(a);
    let bits = BigUint::from(W::BITS);
    // A shift by w or more gives what a shift by w gives.
    let amount = u32::try_from(unsigned(n).min(bits.clone())).expect("at most w");
    let shr: W = wrap(&ua >> amount);
    let shl: W = wrap(&ua << amount);
    let sar: W = wrap(signed(a).div_floor(&power(amount).into()));
    assert_eq!((a.shl(n), a.shl_u32(amount)), (shl, shl));
    assert_eq!((a.shr(n), a.shr_u32(amount)), (shr, shr));
    assert_eq!((a.sar(n), a.sar_u32(amount)), (sar, sar));
    assert_eq!(a.shl_u32(u32::MAX), W::ZERO);
    assert_eq!(a.shr_u32(u32::MAX), W::ZERO);
    assert_eq!(a.sar_u32(u32::MAX), wrap(if signed(a).is_negative() { -1 } else { 0 }));

    let turn = u32::try_from(unsigned(n) % &bits).expect("below w");
    assert_eq!(a.rotl(n), wrap((&ua << turn) | (&ua >> (W::BITS - turn))));
    assert_eq!(a.rotr(n), wrap((&ua >> turn) | (&ua << (W::BITS - turn))));

    let mut bytes = ua.to_bytes_le();
    bytes.resize(W::BYTES, 0);
    bytes.reverse();
    let index = usize::try_from(unsigned(n)).unwrap_or(usize::MAX);
    assert_eq!(a.byte(n), wrap(bytes.get(index).copied().unwrap_or(0)));

    assert_eq!(a.sextd(n), sext(a, amount));
    assert_eq!(n.saturating_u32(), u32::try_from(unsigned(n)).unwrap_or(u32::MAX));
}

/// Sign extension from the low n ≤ w bits.
fn sext<W: Word>(a: W, n: u32) -> W {
    let low = unsigned(a) % power(n);
    if n > 0 && low >= power(n - 1) { wrap(BigInt::from(low) - BigInt::from(power(n))) } else { wrap(low) }
}

fn comparisons<W: Word>(a: W, b: W) {
    let order = unsigned(a).cmp(&unsigned(b));
    assert_eq!((a.eq(b), a.ne(b)), (order.is_eq(), order.is_ne()));
    assert_eq!(
        (a.lt(b), a.gt(b), a.le(b), a.ge(b)),
        (order.is_lt(), order.is_gt(), order.is_le(), order.is_ge())
    );
    assert_eq!(Ord::cmp(&a, &b), order);
    let sign = match order {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    };
    assert_eq!(a.cmp3(b), wrap(sign));
    assert_eq!(a.umin(b), wrap(unsigned(a).min(unsigned(b))));
    assert_eq!(a.umax(b), wrap(unsigned(a).max(unsigned(b))));

    let order = signed(a).cmp(&signed(b));
    assert_eq!(
        (a.slt(b), a.sgt(b), a.sle(b), a.sge(b)),
        (order.is_lt(), order.is_gt(), order.is_le(), order.is_ge())
    );
    assert_eq!(a.smin(b), wrap(signed(a).min(signed(b))));
    assert_eq!(a.smax(b), wrap(signed(a).max(signed(b))));
    assert_eq!(a.eqz(), unsigned(a).is_zero());
}

fn fields<W: Word>(a: W, field: W, off: u32, len: u32) {
    let bits = W::BITS;
    assert_eq!(a.zext(len), wrap(unsigned(a) % power(len.min(bits))));
    assert_eq!(a.sext(len), sext(a, len.min(bits)));
    assert_eq!(a.bextr(off, len), wrap((unsigned(a) >> off) % power(len)));
    // Bit by bit, as the table words it.
    let inserted = (0..bits).fold(BigUint::ZERO, |value, i| {
        let bit = if (off..off + len).contains(&i) {
            unsigned(field).bit((i - off).into())
        } else {
            unsigned(a).bit(i.into())
        };
        value | (BigUint::from(bit) << i)
    });
    assert_eq!(a.bins(field, off, len), wrap(inserted));
}

fn conversions<W: Word>(a: W, number: u64, leading: usize) {
    let value = unsigned(a);
    assert_eq!(W::from_u64(number), wrap(number));
    assert_eq!(W::from_i64(number as i64), wrap(number as i64));
    assert_eq!((W::from_bool(false), W::from_bool(true)), (wrap(0), wrap(1)));
    assert_eq!((W::ZERO, W::ONE), (wrap(0), wrap(1)));
    assert_eq!((W::MAX, W::MIN_SIGNED), (wrap(-1), wrap(power(W::BITS - 1))));
    assert_eq!(W::default(), W::ZERO);
    assert_eq!(W::BYTES * 8, W::BITS as usize);

    assert_eq!(BigUint::from(a.low_u64()), &value % power(64));
    assert_eq!(BigUint::from(a.low_u32()), &value % power(32));
    assert_eq!(a.try_u64(), u64::try_from(value.clone()).ok());
    assert_eq!(a.is_zero(), value.is_zero());
    assert_eq!(a.is_negative(), signed(a).is_negative());
    assert_eq!(u64::from(a.bit_len()), value.bits());
    assert!((0..W::BITS + 70).all(|i| a.bit(i) == value.bit(i.into())));
    assert_eq!(a.limb(W::LIMBS), 0);

    let mut bytes = vec![0xA5; W::BYTES];
    a.write_le(&mut bytes);
    assert_eq!(BigUint::from_bytes_le(&bytes), value);
    assert_eq!(W::read_le(&bytes), a);

    let minimal = if value.is_zero() { Vec::new() } else { value.to_bytes_be() };
    let mut buffer = [0xA5; 64];
    assert_eq!(a.to_be_trimmed(&mut buffer), minimal);
    let padded = [vec![0; leading], minimal].concat();
    assert_eq!(W::from_be_slice(&padded), Some(a));
    let one_byte_more = [&[1], &vec![0; leading][..], &bytes[..]].concat();
    assert_eq!(W::from_be_slice(&one_byte_more), None);

    fn resizes<W: Word, V: Word>(a: W) {
        assert_eq!(a.resize::<V>(), wrap(unsigned(a)));
        assert_eq!(V::sign_extend_from(a), wrap(signed(a)));
    }
    resizes::<W, W8>(a);
    resizes::<W, W16>(a);
    resizes::<W, W32>(a);
    resizes::<W, W64>(a);
    resizes::<W, W128>(a);
    resizes::<W, W256>(a);
    resizes::<W, W512>(a);
}

fn texts<W: Word>(a: W, excess: u64) {
    let value = unsigned(a);
    assert_eq!(a.to_string(), value.to_string());
    assert_eq!(format!("{a:x}"), value.to_str_radix(16));
    assert_eq!(format!("{a:#x}"), format!("0x{}", value.to_str_radix(16)));
    assert_eq!(Signed(a).to_string(), signed(a).to_string());
    assert_eq!(W::parse(&value.to_string()), Ok(a));
    assert_eq!(W::parse(&signed(a).to_string()), Ok(a));
    assert_eq!(W::parse(&format!("0x{}", value.to_str_radix(16))), Ok(a));
    assert_eq!(W::parse(&format!("0b{}", value.to_str_radix(2))), Ok(a));

    let overflow = Err(dotvm_arch::ParseWordError::Overflow { width: W::BITS });
    let too_large = power(W::BITS) + excess;
    assert_eq!(W::parse(&too_large.to_string()), overflow);
    assert_eq!(W::parse(&format!("0x{}", too_large.to_str_radix(16))), overflow);
    let too_negative = BigInt::from_biguint(Sign::Minus, power(W::BITS - 1) + 1u32 + excess);
    assert_eq!(W::parse(&too_negative.to_string()), overflow);
}

macro_rules! at_widths {
    ($($name:ident: $word:ident),* $(,)?) => {
        $(mod $name {
            use super::*;
            const FIELD: std::ops::Range<u32> = 0..<$word as Word>::BITS + 70;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(1000))]
                #[test]
                fn additive((a, b) in pair::<$word>(), c in word()) {
                    super::additive(a, b, c);
                }
                #[test]
                fn multiplicative((a, b) in pair::<$word>()) {
                    super::multiplicative(a, b);
                }
                #[test]
                fn modular((a, b) in pair::<$word>(), (m, n) in pair()) {
                    super::modular(a, b, m);
                    super::modular(a, m, b);
                    super::modular(m, n, a);
                    super::modular(n, a, m);
                }
                #[test]
                fn bitwise((a, b) in pair::<$word>()) {
                    super::bitwise(a, b);
                }
                #[test]
                fn shifts(a in word::<$word>(), n in word(), near in 0..<$word as Word>::BITS * 2) {
                    super::shifts(a, n);
                    super::shifts(a, wrap(near));
                }
                #[test]
                fn comparisons((a, b) in pair::<$word>()) {
                    super::comparisons(a, b);
                }
                #[test]
                fn fields((a, f) in pair::<$word>(), off in FIELD, len in FIELD) {
                    super::fields(a, f, off, len);
                    super::fields(a, f, off % <$word as Word>::BITS, len % 65);
                }
                #[test]
                fn conversions(a in word::<$word>(), n in word::<W64>(), leading in 0..70usize) {
                    super::conversions(a, n.low_u64(), leading);
                }
                #[test]
                fn texts(a in word::<$word>(), excess: u64) {
                    super::texts(a, excess);
                }
            }
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(100))]
                #[test]
                fn powers(a in word::<$word>(), e in word(), m in word()) {
                    super::powers(a, e, m);
                }
            }
        })*
    };
}

at_widths! { w8: W8, w16: W16, w32: W32, w64: W64, w128: W128, w256: W256, w512: W512 }

/// All pairs of 8-bit words.
#[test]
fn exhaustive_8() {
    let words: Vec<W8> = (0..256).map(wrap).collect();
    for &a in &words {
        for &b in &words {
            additive(a, b, a);
            additive(a, b, a.not());
            multiplicative(a, b);
            modular(a, b, a.xor(b));
            modular(b, b, a);
            bitwise(a, b);
            shifts(a, b);
            comparisons(a, b);
        }
    }
}
