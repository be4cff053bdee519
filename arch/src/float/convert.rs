//! Conversions between floating-point numbers, and between them and integers of any width.

use super::Float;
use crate::{W32, W64, Word};

super::immediates! {
    /// What FCVT converts. The floating-point side has the format on which the instruction works, except for the two
    /// conversions between the formats; an integer of the word has the module's width, the others lie zero-extended in
    /// the word. To an integer is toward zero, to a floating-point number to the nearest, ties to even.
    Conversion {
        0 ToS32 "to-s32" "to a signed integer of 32 bits; what is outside its range traps Overflow";
        1 ToU32 "to-u32" "to an unsigned integer of 32 bits; what is outside its range traps Overflow";
        2 ToS64 "to-s64" "to a signed integer of 64 bits; what is outside its range traps Overflow";
        3 ToU64 "to-u64" "to an unsigned integer of 64 bits; what is outside its range traps Overflow";
        4 ToSigned "to-signed" "to a signed word; what is outside its range traps Overflow";
        5 ToUnsigned "to-unsigned" "to an unsigned word; what is outside its range traps Overflow";
        6 ToS32Sat "to-s32-sat" "to the nearest signed integer of 32 bits, NaN to 0";
        7 ToU32Sat "to-u32-sat" "to the nearest unsigned integer of 32 bits, NaN to 0";
        8 ToS64Sat "to-s64-sat" "to the nearest signed integer of 64 bits, NaN to 0";
        9 ToU64Sat "to-u64-sat" "to the nearest unsigned integer of 64 bits, NaN to 0";
        10 ToSignedSat "to-signed-sat" "to the nearest signed word, NaN to 0";
        11 ToUnsignedSat "to-unsigned-sat" "to the nearest unsigned word, NaN to 0";
        12 FromS32 "from-s32" "from a signed integer, the low 32 bits";
        13 FromU32 "from-u32" "from an unsigned integer, the low 32 bits";
        14 FromS64 "from-s64" "from a signed integer, the low 64 bits";
        15 FromU64 "from-u64" "from an unsigned integer, the low 64 bits";
        16 FromSigned "from-signed" "from a signed word";
        17 FromUnsigned "from-unsigned" "from an unsigned word";
        18 Promote "promote" "from binary32 to binary64, which is exact";
        19 Demote "demote" "from binary64 to binary32";
    }
}

/// A number that no integer of the wanted kind stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number is outside the range of the integer")]
pub struct OutsideRange;

impl Conversion {
    /// Whether it is between the two formats, which then do not depend on a prefix.
    pub const fn is_between_formats(self) -> bool {
        matches!(self, Conversion::Promote | Conversion::Demote)
    }

    /// The narrowest word that holds operand and result, whatever the format of the floating-point side.
    pub const fn narrowest_word(self) -> u32 {
        use Conversion::*;
        match self {
            ToS64 | ToU64 | ToS64Sat | ToU64Sat | FromS64 | FromU64 | Promote | Demote => 64,
            _ => 32,
        }
    }

    /// Whether it is one of lanes, too: none traps, and integers are as wide as the numbers they are converted from or to.
    pub const fn has_lanes(self) -> bool {
        use Conversion::*;
        match self {
            ToS32Sat | ToU32Sat | ToS64Sat | ToU64Sat | FromS32 | FromU32 | FromS64 | FromU64 => true,
            _ => self.is_between_formats(),
        }
    }

    /// Converts the low bits of a word, with the format `F` on the floating-point side.
    ///
    /// # Errors
    /// The number is outside the range, in those conversions that do not give the nearest.
    #[inline(never)]
    pub fn convert<F: Float, W: Word>(self, operand: W) -> Result<W, OutsideRange> {
        let bits = operand.low_u64();
        let float = F::from_low_bits(bits);
        let from = W::from_u64;
        Ok(match self {
            Conversion::ToS32 => to_signed::<W32>(float.to_f64())?.resize(),
            Conversion::ToU32 => to_unsigned::<W32>(float.to_f64())?.resize(),
            Conversion::ToS64 => to_signed::<W64>(float.to_f64())?.resize(),
            Conversion::ToU64 => to_unsigned::<W64>(float.to_f64())?.resize(),
            Conversion::ToSigned => to_signed(float.to_f64())?,
            Conversion::ToUnsigned => to_unsigned(float.to_f64())?,
            Conversion::ToS32Sat => to_nearest_signed::<W32>(float.to_f64()).resize(),
            Conversion::ToU32Sat => to_nearest_unsigned::<W32>(float.to_f64()).resize(),
            Conversion::ToS64Sat => to_nearest_signed::<W64>(float.to_f64()).resize(),
            Conversion::ToU64Sat => to_nearest_unsigned::<W64>(float.to_f64()).resize(),
            Conversion::ToSignedSat => to_nearest_signed(float.to_f64()),
            Conversion::ToUnsignedSat => to_nearest_unsigned(float.to_f64()),
            Conversion::FromS32 => from(from_signed::<F, _>(operand.resize::<W32>())),
            Conversion::FromU32 => from(from_unsigned::<F, _>(operand.resize::<W32>())),
            Conversion::FromS64 => from(from_signed::<F, _>(operand.resize::<W64>())),
            Conversion::FromU64 => from(from_unsigned::<F, _>(operand.resize::<W64>())),
            Conversion::FromSigned => from(from_signed::<F, _>(operand)),
            Conversion::FromUnsigned => from(from_unsigned::<F, _>(operand)),
            Conversion::Promote => W::from_u64(f32::from_low_bits(bits).to_f64().canonical_bits()),
            Conversion::Demote => W::from_u64(f32::from_f64(f64::from_low_bits(bits)).canonical_bits()),
        })
    }
}

/// The magnitude of a number without its fraction, if it fits: of NaN it does not.
fn magnitude<N: Word>(number: f64) -> Option<N> {
    let bits = number.to_bits();
    let biased = (bits >> 52) as u32 & 0x7ff;
    if biased < 1023 {
        return Some(N::ZERO);
    }
    // 1 ≤ |number|: the significand's lowest bit is worth 2^(exponent − 52).
    let exponent = biased - 1023;
    let significand = bits & ((1 << 52) - 1) | 1 << 52;
    match exponent {
        _ if exponent >= N::BITS => None,
        0..52 => Some(N::from_u64(significand >> (52 - exponent))),
        _ => Some(N::from_u64(significand).shl_u32(exponent - 52)),
    }
}

/// The unsigned integer of a number's whole part.
///
/// # Errors
/// There is none.
pub(super) fn to_unsigned<N: Word>(number: f64) -> Result<N, OutsideRange> {
    match magnitude::<N>(number) {
        Some(magnitude) if number > -1.0 => Ok(magnitude),
        _ => Err(OutsideRange),
    }
}

/// The signed integer of a number's whole part.
///
/// # Errors
/// There is none.
pub(super) fn to_signed<N: Word>(number: f64) -> Result<N, OutsideRange> {
    match magnitude::<N>(number) {
        Some(magnitude) if number < 0.0 && !magnitude.gt(N::MIN_SIGNED) => Ok(magnitude.neg()),
        Some(magnitude) if number >= 0.0 && !magnitude.is_negative() => Ok(magnitude),
        _ => Err(OutsideRange),
    }
}

fn to_nearest_unsigned<N: Word>(number: f64) -> N {
    to_unsigned(number).unwrap_or(if number > 0.0 { N::MAX } else { N::ZERO })
}

fn to_nearest_signed<N: Word>(number: f64) -> N {
    to_signed(number).unwrap_or(if number > 0.0 {
        N::MIN_SIGNED.not()
    } else if number < 0.0 {
        N::MIN_SIGNED
    } else {
        N::ZERO
    })
}

/// The bits of the nearest number of the format.
fn from_unsigned<F: Float, N: Word>(integer: N) -> u64 {
    let len = integer.bit_len();
    if len <= 64 {
        return F::from_u64(integer.low_u64()).canonical_bits();
    }
    // The highest 64 bits, of which the lowest says whether anything is below: no format has more than 53, so that
    // it decides ties only.
    let below = len - 64;
    let rest = integer.zext(below);
    F::from_u64(integer.shr_u32(below).low_u64() | !rest.is_zero() as u64).scale_up(below).canonical_bits()
}

fn from_signed<F: Float, N: Word>(integer: N) -> u64 {
    let magnitude = from_unsigned::<F, N>(integer.abs());
    if integer.is_negative() { F::fneg(magnitude) } else { magnitude }
}
