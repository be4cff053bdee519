//! Probable primes: strong for the prime bases below 40 (Miller and Rabin) and a strong Lucas probable prime with
//! Selfridge's parameters (Baillie and Wagstaff, "Lucas Pseudoprimes", 1980). No composite is known that passes.

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, ToPrimitive, Zero};

/// The primes below 256.
const SMALL: [u8; 54] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223,
    227, 229, 233, 239, 241, 251,
];

/// Bases of the strong tests: the primes below 40.
const BASES: usize = 12;

/// Whether a number is prime, where the primes below 256 decide that.
pub fn by_trial(number: &BigUint) -> Option<bool> {
    if number < &BigUint::from(2u32) {
        return Some(false);
    }
    for prime in SMALL {
        if (number % u32::from(prime)).is_zero() {
            return Some(number.to_u8() == Some(prime));
        }
    }
    (number.bits() <= 16).then_some(true)
}

/// Whether a number that the primes below 256 do not divide is a probable prime.
pub fn is_probable_prime(number: &BigUint) -> bool {
    SMALL[..BASES].iter().all(|&base| is_strong_for(number, base.into())) && is_strong_lucas(number)
}

/// Whether an odd number n = d·2^s + 1 is a strong probable prime: a^d = 1 or a^(d·2^r) = −1 for an r below s.
fn is_strong_for(number: &BigUint, base: u32) -> bool {
    let less = number - 1u32;
    let twos = less.trailing_zeros().unwrap_or(0);
    let mut power = BigUint::from(base).modpow(&(&less >> twos), number);
    if power.is_one() || power == less {
        return true;
    }
    for _ in 1..twos {
        power = &power * &power % number;
        if power == less {
            return true;
        }
    }
    false
}

/// The Jacobi symbol of a small number and an odd one.
fn jacobi(mut a: BigInt, n: &BigUint) -> i32 {
    let mut n = BigInt::from(n.clone());
    let mut sign = 1;
    a = a.mod_floor(&n);
    while !a.is_zero() {
        while a.is_even() {
            a >>= 1u32;
            if matches!((&n % 8u32).to_u32(), Some(3 | 5)) {
                sign = -sign;
            }
        }
        std::mem::swap(&mut a, &mut n);
        if (&a % 4u32).to_u32() == Some(3) && (&n % 4u32).to_u32() == Some(3) {
            sign = -sign;
        }
        a = a.mod_floor(&n);
    }
    if n.is_one() { sign } else { 0 }
}

/// Whether an odd number is a strong Lucas probable prime for P = 1 and Q = (1 − D) / 4, where D is the first of
/// 5, −7, 9, −11, … with the Jacobi symbol −1.
fn is_strong_lucas(number: &BigUint) -> bool {
    // A square has no such D.
    let root = number.sqrt();
    if &root * &root == *number {
        return false;
    }
    let mut d = 5i64;
    loop {
        match jacobi(d.into(), number) {
            -1 => break,
            0 if BigUint::from(d.unsigned_abs()) != *number => return false,
            _ => d = if d > 0 { -(d + 2) } else { -(d - 2) },
        }
    }
    let n = BigInt::from(number.clone());
    let q = BigInt::from((1 - d) / 4);
    let half = |value: BigInt| {
        let even = if value.is_odd() { value + &n } else { value };
        (even >> 1u32).mod_floor(&n)
    };
    let more = number + 1u32;
    let twos = more.trailing_zeros().unwrap_or(0);
    let odd = &more >> twos;
    // U and V of the bits read so far, and Q to the power of their number.
    let (mut u, mut v, mut power) = (BigInt::one(), BigInt::one(), q.mod_floor(&n));
    for bit in (0..odd.bits() - 1).rev() {
        u = (&u * &v).mod_floor(&n);
        v = (&v * &v - &power * 2u32).mod_floor(&n);
        power = (&power * &power).mod_floor(&n);
        if odd.bit(bit) {
            let next_u = half(&u + &v);
            v = half(&v + &u * d);
            u = next_u;
            power = (&power * &q).mod_floor(&n);
        }
    }
    if u.is_zero() || v.is_zero() {
        return true;
    }
    for _ in 1..twos {
        v = (&v * &v - &power * 2u32).mod_floor(&n);
        if v.is_zero() {
            return true;
        }
        power = (&power * &power).mod_floor(&n);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_prime(number: &BigUint) -> bool {
        by_trial(number).unwrap_or_else(|| is_probable_prime(number))
    }

    #[test]
    fn primes_below_a_hundred_thousand_are_those_of_the_sieve() {
        let mut sieve = vec![true; 100_000];
        (sieve[0], sieve[1]) = (false, false);
        for number in 0..sieve.len() {
            if sieve[number] {
                (number * number..sieve.len()).step_by(number).for_each(|multiple| sieve[multiple] = false);
            }
            assert_eq!(is_prime(&number.into()), sieve[number], "{number}");
        }
    }

    /// Strong Lucas pseudoprimes (OEIS A217255), strong pseudoprimes to the bases up to 37 (Sorenson and Webster 2015), and
    /// Mersenne numbers.
    #[test]
    fn pseudoprimes_are_told_from_primes() {
        for composite in [
            "5459",
            "5777",
            "10877",
            "3215031751",
            "3825123056546413051",
            "318665857834031151167461",
            "3317044064679887385961981",
        ] {
            assert!(!is_prime(&composite.parse().unwrap()), "{composite}");
        }
        for exponent in [61u32, 89, 107, 127, 521, 607] {
            assert!(is_prime(&((BigUint::one() << exponent) - 1u32)), "2^{exponent} − 1");
        }
        for exponent in [67u32, 101, 257, 509] {
            assert!(!is_prime(&((BigUint::one() << exponent) - 1u32)), "2^{exponent} − 1");
        }
    }

    #[test]
    fn lucas_alone_and_powers_alone_are_fooled_by_others() {
        for fooled in [5459u32, 5777, 10877, 16109, 18971] {
            assert!(is_strong_lucas(&fooled.into()), "{fooled}");
        }
        assert!(is_strong_for(&2047u32.into(), 2));
    }
}
