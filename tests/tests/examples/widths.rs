//! Programs that show their width, against big integers and plain Rust.

use dotvm_arch::{W512, Width};
use dotvm_core::outcome::{End, Ref};
use dotvm_core::trap::TrapKind;
use num_bigint::BigUint;
use sha3::{Digest, Keccak256};

use super::ledger::{refs, run, words};

fn big(word: &W512) -> BigUint {
    BigUint::from_bytes_le(&word.to_le_bytes::<64>())
}

fn modulus(width: Width) -> BigUint {
    BigUint::from(1u8) << width.bits()
}

/// The first word that a function answers.
fn number(name: &str, width: Width, function: Option<&str>, arguments: &[&str]) -> BigUint {
    big(&words(run(name, width, function, arguments))[0])
}

#[test]
fn hello() {
    for width in Width::ALL {
        assert_eq!(refs(run("hello", width, None, &[])), [Ref::Bytes("Hello, world!".into())]);
    }
}

#[test]
fn factorials_wrap_around_or_trap() {
    for width in Width::ALL {
        let mut factorial = BigUint::from(1u8);
        let mut has_trapped = false;
        for n in 0u32..=110 {
            factorial *= n.max(1);
            let n = n.to_string();
            assert_eq!(
                number("factorial", width, None, &[&n]),
                &factorial % modulus(width),
                "{n}! at {width}"
            );
            match run("factorial", width, Some("checked"), &[&n]) {
                End::Return { words, .. } => assert_eq!(big(&words[0]), factorial, "{n}! at {width}"),
                End::Trap(trap) => {
                    assert!(factorial >= modulus(width), "{n}! fits {width} bits");
                    assert_eq!(trap.kind, TrapKind::User);
                    assert_eq!(trap.detail.unwrap(), "exception 1: the factorial does not fit the word");
                    has_trapped = true;
                }
                end => panic!("{end:?}"),
            }
        }
        assert!(has_trapped, "110! does not fit {width} bits");
    }
}

#[test]
fn fibonacci_numbers_wrap_around() {
    for width in Width::ALL {
        let (mut f, mut next) = (BigUint::from(0u8), BigUint::from(1u8));
        let mut first_too_large = None;
        for n in 0u32..=800 {
            if first_too_large.is_none() && f >= modulus(width) {
                first_too_large = Some(BigUint::from(n));
            }
            if n % 50 == 0 || n < 20 {
                let text = n.to_string();
                let expected = &f % modulus(width);
                assert_eq!(number("fibonacci", width, None, &[&text]), expected, "F({n}) at {width}");
                if n < 20 {
                    assert_eq!(number("fibonacci", width, Some("recursive"), &[&text]), expected);
                }
            }
            (f, next) = (next.clone(), f + next);
        }
        assert_eq!(Some(number("fibonacci", width, Some("first_too_large"), &[])), first_too_large);
    }
}

#[test]
fn modular_powers_are_those_of_big_integers() {
    for width in Width::ALL {
        let greatest = modulus(width) - 1u8;
        let cases = [
            ("3", "100", "101"),
            ("0", "0", "1"),
            ("7", "0", "5"),
            ("123456789", "987654321", "1000000007"),
            ("-1", "-2", "-3"),
            ("-5", "-1", "4294967291"),
            ("2", "1000", "-1"),
        ];
        for (base, exponent, divisor) in cases {
            let value = |text: &str| match text.strip_prefix('-') {
                Some(digits) => modulus(width) - digits.parse::<BigUint>().unwrap(),
                None => text.parse().unwrap(),
            };
            let expected = value(base).modpow(&value(exponent), &value(divisor));
            for function in [None, Some("builtin")] {
                let power = number("modexp", width, function, &[base, exponent, divisor]);
                assert_eq!(power, expected, "{base}^{exponent} mod {divisor} at {width}");
            }
        }
        let expected = BigUint::from(3u8).modpow(&BigUint::from(1000u32), &greatest);
        assert_eq!(number("modexp", width, Some("mersenne"), &["3", "1000"]), expected);
        let End::Trap(trap) = run("modexp", width, None, &["3", "4", "0"]) else { panic!() };
        assert_eq!(trap.kind, TrapKind::DivZero);
    }
}

#[test]
fn hash_chains_are_those_of_the_sha3_crate() {
    let mut digest = vec![0; 32];
    for n in 0u32..=100 {
        for width in Width::ALL.into_iter().filter(|_| n < 3 || n == 100) {
            let end = run("hash_chain", width, None, &[&n.to_string()]);
            let expected = BigUint::from_bytes_be(&digest) % modulus(width);
            assert_eq!(big(&words(end.clone())[0]), expected, "{n} rounds at {width}");
            assert_eq!(refs(end), [Ref::Bytes(digest.clone().into())]);
        }
        digest = Keccak256::digest(&digest).to_vec();
    }
}

#[test]
fn primes_are_counted_in_words_of_the_width() {
    let is_prime = |n: u32| n >= 2 && (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    for width in Width::ALL {
        for n in [0u32, 1, 2, 3, 4, 31, 32, 33, 64, 65, 511, 512, 513, 1000, 5000] {
            let primes = (0..n).filter(|&n| is_prime(n)).count() as u64;
            let needed = u64::from(n.div_ceil(width.bits()));
            let expected = vec![W512::from(primes), W512::from(needed)];
            assert_eq!(words(run("sieve", width, None, &[&n.to_string()])), expected, "{n} at {width}");
        }
    }
}

#[test]
fn the_pool_finds_what_one_finds() {
    let steps = |mut n: u64| {
        let mut steps = 0;
        while n != 1 {
            n = if n % 2 == 1 { 3 * n + 1 } else { n / 2 };
            steps += 1;
        }
        steps
    };
    let expected: u64 = (1..=300).map(steps).sum();
    for width in Width::ALL {
        for workers in ["1", "2", "7", "400"] {
            let found = number("worker_pool", width, None, &["300", workers]);
            assert_eq!(found, BigUint::from(expected), "{workers} workers at {width}");
        }
        assert_eq!(number("worker_pool", width, Some("ping_pong"), &["25"]), BigUint::from(50u8));
    }
}
