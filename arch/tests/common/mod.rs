//! Values for the tests and their translation to and from the reference, `num-bigint`.

use dotvm_arch::Word;
use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::One;
use proptest::prelude::*;

/// 2^n.
pub fn power(n: u32) -> BigUint {
    BigUint::one() << n
}

/// The unsigned value.
pub fn unsigned<W: Word>(word: W) -> BigUint {
    (0..W::LIMBS).rev().fold(BigUint::ZERO, |value, i| (value << 64u32) + word.limb(i))
}

/// The signed value.
pub fn signed<W: Word>(word: W) -> BigInt {
    let value = unsigned(word);
    if value >= power(W::BITS - 1) {
        BigInt::from(value) - BigInt::from(power(W::BITS))
    } else {
        value.into()
    }
}

/// The word congruent to `value` modulo 2^w.
pub fn wrap<W: Word>(value: impl Into<BigInt>) -> W {
    let reduced = value.into().mod_floor(&power(W::BITS).into());
    let limbs = reduced.to_biguint().expect("a floor remainder is not negative").to_u64_digits();
    W::from_limb_fn(|i| limbs.get(i).copied().unwrap_or(0))
}

/// Words with most weight on the edges where carries, signs and limbs meet. Boxed, because the value trees of several
/// such strategies side by side overflow the stack of a test thread.
pub fn word<W: Word>() -> BoxedStrategy<W> {
    let limb = || {
        prop_oneof![
            Just(0),
            Just(u64::MAX),
            Just(1),
            Just(1 << 63),
            Just(u64::MAX >> 1),
            any::<u64>(),
            any::<u64>()
        ]
    };
    let limbs = move || prop::array::uniform8(limb());
    let edges = [0i64, 1, 2, -1, -2].map(|n| wrap::<W>(n));
    let signs = [-1i64, 0, 1].map(|n| wrap::<W>(BigInt::from(power(W::BITS - 1)) + n));
    prop_oneof![
        2 => prop::sample::select([&edges[..], &signs[..]].concat()),
        2 => (0..W::BITS, -1i64..=1).prop_map(|(n, d)| wrap(BigInt::from(power(n)) + d)),
        1 => (0..W::BITS, -1i64..=1).prop_map(|(n, d)| wrap(d - BigInt::from(power(n)))),
        2 => (-40i64..600).prop_map(wrap),
        1 => (0..W::BITS, 0u64..600).prop_map(|(n, d)| wrap(power(n) | BigUint::from(d))),
        3 => limbs().prop_map(|limbs| W::from_limb_fn(|i| limbs[i])),
        3 => (limbs(), 0..W::BITS).prop_map(|(limbs, n)| {
            wrap(unsigned(W::from_limb_fn(|i| limbs[i])) >> n)
        }),
    ]
    .boxed()
}

/// Two words, often equal or neighbours.
pub fn pair<W: Word>() -> impl Strategy<Value = (W, W)> {
    prop_oneof![
        6 => (word(), word()),
        1 => (word(), -1i64..=1).prop_map(|(a, d)| (a, wrap(signed(a) + d))),
    ]
}
