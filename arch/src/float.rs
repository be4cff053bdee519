//! Binary floating point: binary32 and binary64 of IEEE 754-2019, with the same bits on every machine.
//!
//! Everything is rounded to nearest, ties to even. A result that is no number is the one canonical NaN: positive,
//! quiet, payload 0. FABS, FNEG and FCOPYSIGN are operations on bits: they change the sign of a NaN and nothing else.
//!
//! The arithmetic is the host's: Rust guarantees that addition, multiplication, division, square root and fused
//! multiply-add are correctly rounded; only the bits of a NaN are left open, and those are fixed here. The x87
//! registers of 32-bit x86 round twice, so there it takes SSE2.

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!("floats need SSE2 on 32-bit x86: the x87 registers round twice");

mod convert;

pub use convert::{Conversion, OutsideRange};

/// A list of immediates: codes, names and meanings, from one table each.
macro_rules! immediates {
    ($(#[$doc:meta])* $name:ident { $($code:literal $variant:ident $text:literal $meaning:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`: ", $meaning, ".")] $variant = $code,)*
        }

        impl $name {
            /// All of them, ascending by code.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The one with this code.
            #[inline]
            pub const fn from_code(code: u64) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }

            /// The name in assembly text.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            /// What it does.
            pub const fn meaning(self) -> &'static str {
                match self { $($name::$variant => $meaning),* }
            }
        }
    };
}
use immediates;

immediates! {
    /// How FROUND rounds to an integer.
    Rounding {
        0 Nearest "nearest" "to the nearest integer, to the even one of two";
        1 Up "up" "to the next integer toward positive infinity";
        2 Down "down" "to the next integer toward negative infinity";
        3 Zero "zero" "to the next integer toward zero";
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A floating-point number with the operations of the instruction set, named as their mnemonics.
///
/// Results are bits, zero-extended, and no numbers of the host: the compiler may give any NaN for another as long as it
/// is a number, so a NaN is made canonical among the bits.
pub trait Float: sealed::Sealed + Copy + PartialOrd {
    /// Width of the format in bits.
    const BITS: u32;

    /// The number in the low bits.
    fn from_low_bits(bits: u64) -> Self;
    /// The bits of the number, or of the canonical NaN if it is none.
    fn canonical_bits(self) -> u64;

    /// Exactly this number.
    fn to_f64(self) -> f64;
    /// The nearest number of this format.
    fn from_f64(number: f64) -> Self;
    /// The nearest number of this format.
    fn from_u64(number: u64) -> Self;
    /// This number times 2^`exponent`, for exponents of 0 to 448 and a number of at least 2^63 (or less, where the
    /// product is exact).
    fn scale_up(self, exponent: u32) -> Self;

    /// FADD: a + b.
    fn fadd(self, b: Self) -> u64;
    /// FSUB: a − b.
    fn fsub(self, b: Self) -> u64;
    /// FMUL: a · b.
    fn fmul(self, b: Self) -> u64;
    /// FDIV: a ÷ b; division of another number than 0 by 0 is infinite.
    fn fdiv(self, b: Self) -> u64;
    /// FSQRT: the square root; −0 is its own.
    fn fsqrt(self) -> u64;
    /// FMA: a · b + c, rounded once.
    fn fma(self, b: Self, c: Self) -> u64;
    /// FROUND: to an integer, which keeps the sign also where it is 0.
    fn fround(self, rounding: Rounding) -> u64;
    /// FABS of a number's bits: the sign bit cleared.
    fn fabs(bits: u64) -> u64;
    /// FNEG of a number's bits: the sign bit inverted.
    fn fneg(bits: u64) -> u64;
    /// FCOPYSIGN of two numbers' bits: those of the first with the sign bit of the second.
    fn fcopysign(bits: u64, sign: u64) -> u64;
    /// FMIN of two numbers' bits: the lesser, NaN if either is NaN; −0 is less than +0.
    fn fmin(a: u64, b: u64) -> u64;
    /// FMAX of two numbers' bits: the greater, NaN if either is NaN; +0 is greater than −0.
    fn fmax(a: u64, b: u64) -> u64;
    /// FEQ: a = b; a NaN equals nothing, −0 equals +0.
    #[inline(always)]
    fn feq(self, b: Self) -> bool {
        self == b
    }
    /// FLT: a < b; false if either is NaN.
    #[inline(always)]
    fn flt(self, b: Self) -> bool {
        self < b
    }
    /// FLE: a ≤ b; false if either is NaN.
    #[inline(always)]
    fn fle(self, b: Self) -> bool {
        self <= b
    }
}

macro_rules! impl_float {
    ($float:ident, $bits:ident, $canonical:literal) => {
        impl Float for $float {
            const BITS: u32 = $bits::BITS;

            #[inline(always)]
            fn from_low_bits(bits: u64) -> Self {
                $float::from_bits(bits as $bits)
            }
            #[inline(always)]
            fn canonical_bits(self) -> u64 {
                if self.is_nan() { $canonical } else { self.to_bits() as u64 }
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_f64(number: f64) -> Self {
                number as $float
            }
            #[inline(always)]
            fn from_u64(number: u64) -> Self {
                number as $float
            }
            #[inline]
            fn scale_up(self, exponent: u32) -> Self {
                // 2^exponent in the format, or, beyond it, infinity, as the product with 2^63 is.
                let biased = exponent + ($float::MAX_EXP as u32 - 1);
                let infinite = 2 * $float::MAX_EXP as u32 - 1;
                let power = (biased.min(infinite) as $bits) << ($float::MANTISSA_DIGITS - 1);
                self * $float::from_bits(power)
            }

            #[inline(always)]
            fn fadd(self, b: Self) -> u64 {
                (self + b).canonical_bits()
            }
            #[inline(always)]
            fn fsub(self, b: Self) -> u64 {
                (self - b).canonical_bits()
            }
            #[inline(always)]
            fn fmul(self, b: Self) -> u64 {
                (self * b).canonical_bits()
            }
            #[inline(always)]
            fn fdiv(self, b: Self) -> u64 {
                (self / b).canonical_bits()
            }
            #[inline(always)]
            fn fsqrt(self) -> u64 {
                self.sqrt().canonical_bits()
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> u64 {
                self.mul_add(b, c).canonical_bits()
            }
            #[inline]
            fn fround(self, rounding: Rounding) -> u64 {
                let rounded = match rounding {
                    Rounding::Nearest => self.round_ties_even(),
                    Rounding::Up => self.ceil(),
                    Rounding::Down => self.floor(),
                    Rounding::Zero => self.trunc(),
                };
                rounded.canonical_bits()
            }
            #[inline(always)]
            fn fabs(bits: u64) -> u64 {
                (bits as $bits & ($bits::MAX >> 1)) as u64
            }
            #[inline(always)]
            fn fneg(bits: u64) -> u64 {
                (bits as $bits ^ !($bits::MAX >> 1)) as u64
            }
            #[inline(always)]
            fn fcopysign(bits: u64, sign: u64) -> u64 {
                let magnitude = $bits::MAX >> 1;
                (bits as $bits & magnitude | sign as $bits & !magnitude) as u64
            }
            #[inline]
            fn fmin(a: u64, b: u64) -> u64 {
                let (x, y) = ($float::from_low_bits(a), $float::from_low_bits(b));
                if x < y {
                    a as $bits as u64
                } else if y < x {
                    b as $bits as u64
                } else if x == y {
                    // Equal numbers differ in the sign of 0 at most.
                    (a as $bits | b as $bits) as u64
                } else {
                    $canonical
                }
            }
            #[inline]
            fn fmax(a: u64, b: u64) -> u64 {
                let (x, y) = ($float::from_low_bits(a), $float::from_low_bits(b));
                if x > y {
                    a as $bits as u64
                } else if y > x {
                    b as $bits as u64
                } else if x == y {
                    (a as $bits & b as $bits) as u64
                } else {
                    $canonical
                }
            }
        }
    };
}

impl_float!(f32, u32, 0x7fc0_0000);
impl_float!(f64, u64, 0x7ff8_0000_0000_0000);

#[cfg(test)]
mod tests {
    use super::*;

    /// A NaN with sign and payload goes in, the canonical one comes out; operations on bits keep it.
    #[test]
    fn results_that_are_no_numbers_have_one_form() {
        let bits = 0xfff0_0000_dead_beef;
        let nan = f64::from_bits(bits);
        let one = 1.0f64.to_bits();
        for result in [
            nan.fadd(1.0),
            1.0f64.fsub(nan),
            nan.fmul(nan),
            0.0f64.fdiv(0.0),
            (-1.0f64).fsqrt(),
            f64::INFINITY.fma(0.0, 1.0),
            nan.fround(Rounding::Up),
            f64::fmin(bits, one),
            f64::fmax(one, bits),
        ] {
            assert_eq!(result, 0x7ff8_0000_0000_0000);
        }
        assert_eq!(f32::from_f64(nan).canonical_bits(), 0x7fc0_0000);
        assert_eq!(f64::fneg(bits), 0x7ff0_0000_dead_beef);
        assert_eq!(f64::fabs(bits), 0x7ff0_0000_dead_beef);
        assert_eq!(f64::fcopysign(f64::fabs(bits), 1 << 63), bits);
    }

    /// What a multiplication and an addition would round twice.
    #[test]
    fn a_fused_operation_rounds_once() {
        let (a, b) = (1.0 + f64::EPSILON, 1.0 - f64::EPSILON);
        assert_eq!(a.fma(b, -1.0), (-f64::EPSILON * f64::EPSILON).to_bits());
        assert_eq!(f64::from_bits(a.fmul(b)).fadd(-1.0), 0);
        let (a, b) = (1.0 + f32::EPSILON, 1.0 - f32::EPSILON);
        assert_eq!(a.fma(b, -1.0), (-f32::EPSILON * f32::EPSILON).to_bits() as u64);
        // What is left of the product lies below every number.
        let least = f64::from_bits(1);
        assert_eq!(least.fma(least, 1.0), 1.0f64.to_bits());
        assert_eq!(least.fma(0.5, least), 2);
    }

    #[test]
    fn zeros_have_an_order_where_the_least_is_asked_for() {
        let negative = (-0.0f32).to_bits() as u64;
        assert_eq!((f32::fmin(negative, 0), f32::fmin(0, negative)), (negative, negative));
        assert_eq!((f32::fmax(negative, 0), f32::fmax(0, negative)), (0, 0));
        assert_eq!((-0.3f64).fround(Rounding::Up), (-0.0f64).to_bits());
        assert_eq!(2.5f64.fround(Rounding::Nearest), 2.0f64.to_bits());
    }
}
