//! Functions of unbounded integers that ZFN names, and the modes of Z2W.

use crate::gas;
use crate::opcode::Effect;

macro_rules! integer_functions {
    ($($code:literal $variant:ident $name:literal $effect:literal $meaning:literal;)*) => {
        /// A function that `ZFN` names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum IntegerFn {
            $(#[doc = concat!("`", $name, "` `", $effect, "`: ", $meaning, ".")] $variant = $code,)*
        }

        impl IntegerFn {
            /// All functions, ascending by code.
            pub const ALL: &'static [IntegerFn] = &[$(IntegerFn::$variant),*];

            /// The name in assembly text.
            pub const fn name(self) -> &'static str {
                match self { $(IntegerFn::$variant => $name),* }
            }

            /// The stack effect, as in the opcode table.
            pub const fn effect_text(self) -> &'static str {
                match self { $(IntegerFn::$variant => $effect),* }
            }

            /// What it gives.
            pub const fn meaning(self) -> &'static str {
                match self { $(IntegerFn::$variant => $meaning),* }
            }

            /// The stack effect.
            pub const fn effect(self) -> Effect {
                match self { $(IntegerFn::$variant => const { Effect::parse($effect) }),* }
            }
        }
    };
}

integer_functions! {
    0 Pow "pow" "{a e} → {r}" "a to the power e; e < 0 is Range";
    1 Modpow "modpow" "{b e m} → {r}" "b to the power e modulo m, from 0 to m − 1; m = 0 is DivZero, m or e < 0 Range";
    2 Gcd "gcd" "{a b} → {r}" "greatest common divisor, never negative; of 0 and 0 it is 0";
    3 Lcm "lcm" "{a b} → {r}" "least common multiple, never negative";
    4 Modinv "modinv" "{a m} → {r}" "inverse of a modulo m, null if there is none; m = 0 is DivZero, m < 0 Range";
    5 Isqrt "isqrt" "{a} → {r}" "square root, rounded down; a < 0 is Range";
    6 IsPrime "is_prime" "{a} → [r]" "1 if a is a probable prime: strong for the bases 2 to 37 and a strong Lucas probable prime, exact below 2^64";
    7 NextPrime "next_prime" "{a} → {r}" "least probable prime above a";
    8 FromLe "from_le" "{b} → {r}" "the natural number that the bytes are, low ones first";
    9 FromBe "from_be" "{b} → {r}" "the natural number that the bytes are, high ones first";
    10 ToLe "to_le" "{a} → {b}" "bytes of a natural number, low ones first, as few as it has; a < 0 is Range";
    11 ToBe "to_be" "{a} → {b}" "bytes of a natural number, high ones first, as few as it has; a < 0 is Range";
    12 FromText "from_text" "{b} → {r}" "number that decimal digits are, or 0x and hexadecimal ones, behind - if negative; null for any other text";
    13 ToDec "to_dec" "{a} → {b}" "decimal digits, behind - if negative";
    14 ToHex "to_hex" "{a} → {b}" "0x and hexadecimal digits in lower case, behind - if negative";
}

impl IntegerFn {
    /// The function with this code.
    pub fn from_code(code: u64) -> Option<IntegerFn> {
        IntegerFn::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

macro_rules! narrowings {
    ($($code:literal $variant:ident $name:literal $meaning:literal;)*) => {
        /// How `Z2W` makes a word of an integer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Narrowing {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant = $code,)*
        }

        impl Narrowing {
            /// All modes, ascending by code.
            pub const ALL: &'static [Narrowing] = &[$(Narrowing::$variant),*];

            /// The name in assembly text.
            pub const fn name(self) -> &'static str {
                match self { $(Narrowing::$variant => $name),* }
            }

            /// What it does.
            pub const fn meaning(self) -> &'static str {
                match self { $(Narrowing::$variant => $meaning),* }
            }
        }
    };
}

narrowings! {
    0 Unsigned "unsigned" "0 to 2^w − 1; any other integer is Overflow";
    1 Signed "signed" "−2^(w−1) to 2^(w−1) − 1 in two's complement; any other integer is Overflow";
    2 Wrap "wrap" "modulo 2^w";
    3 Clamp "clamp" "the nearest of 0 to 2^w − 1";
    4 ClampSigned "clamp_signed" "the nearest of −2^(w−1) to 2^(w−1) − 1 in two's complement";
}

impl Narrowing {
    /// The mode with this code.
    pub fn from_code(code: u64) -> Option<Narrowing> {
        Narrowing::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// What a function costs beyond its static part. Sizes are in 64-bit limbs of the absolute value, at least 1; of a byte
/// string, in 8 bytes, at least 1.
pub mod cost {
    use super::gas;

    /// POW with a result of about so many limbs.
    pub const fn pow(result: u64) -> u64 {
        gas::integer_product(result, result).saturating_mul(2)
    }

    /// MODPOW with an exponent of so many bits.
    pub const fn modpow(base: u64, exponent_bits: u64, modulus: u64) -> u64 {
        let step = modulus.saturating_mul(modulus).saturating_mul(2).saturating_add(16);
        step.saturating_mul(exponent_bits).saturating_add(gas::integer_product(base, modulus))
    }

    /// GCD, LCM and MODINV, by the larger operand.
    pub const fn gcd(limbs: u64) -> u64 {
        limbs.saturating_mul(limbs).saturating_mul(128)
    }

    /// ISQRT.
    pub const fn isqrt(limbs: u64) -> u64 {
        limbs.saturating_mul(limbs).saturating_mul(8).saturating_add(32)
    }

    /// One test for a prime: twelve powers, and a Lucas sequence that takes three times as long.
    pub const fn prime(limbs: u64) -> u64 {
        modpow(limbs, limbs.saturating_mul(64), limbs).saturating_mul(16)
    }

    /// Division by the primes below 256, which tells most numbers that are none.
    pub const fn trial(limbs: u64) -> u64 {
        limbs.saturating_mul(64)
    }

    /// Decimal text to number and back.
    pub const fn decimal(limbs: u64) -> u64 {
        limbs.saturating_mul(limbs).saturating_mul(2)
    }
}
