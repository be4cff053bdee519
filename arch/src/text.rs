//! Words as text. Unsigned decimal and hexadecimal output are `Display` and `LowerHex` of the word itself.

use crate::Word;
use std::fmt;

/// Why a text is not a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseWordError {
    /// There is no digit.
    #[error("a number is expected, but there is no digit")]
    Empty,
    /// A character is not a digit of the base, or a `_` does not stand between two digits.
    #[error("the character at byte {at} is not a digit of the number")]
    BadDigit {
        /// Offset in bytes from the start of the text.
        at: usize,
    },
    /// The number does not fit.
    #[error("the number does not fit in a word of {width} bits")]
    Overflow {
        /// The width of the word in bits.
        width: u32,
    },
}

/// Reads `0x…`, `0b…` or decimal, single `_` between digits, and a leading `-` for two's complement.
///
/// A syntax error is reported before an overflow, wherever the two are in the text.
pub(crate) fn parse<W: Word>(text: &str) -> Result<W, ParseWordError> {
    let unsigned = text.strip_prefix('-');
    let negative = unsigned.is_some();
    let unsigned = unsigned.unwrap_or(text);
    let (radix, digits) = if let Some(digits) = unsigned.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = unsigned.strip_prefix("0b") {
        (2, digits)
    } else {
        (10, unsigned)
    };
    if digits.is_empty() {
        return Err(ParseWordError::Empty);
    }
    let start = text.len() - digits.len();

    let mut value = Some(W::ZERO);
    let mut after_digit = false;
    for (offset, character) in digits.char_indices() {
        if character == '_' && after_digit {
            after_digit = false;
            continue;
        }
        let digit = character.to_digit(radix).ok_or(ParseWordError::BadDigit { at: start + offset })?;
        after_digit = true;
        value = value.and_then(|value| push_digit(value, radix, digit));
    }
    if !after_digit {
        return Err(ParseWordError::BadDigit { at: text.len() - 1 });
    }

    let overflow = ParseWordError::Overflow { width: W::BITS };
    let value = value.ok_or(overflow)?;
    match negative {
        false => Ok(value),
        true if value <= W::MIN_SIGNED => Ok(value.neg()),
        true => Err(overflow),
    }
}

/// value · radix + digit, if it fits.
fn push_digit<W: Word>(value: W, radix: u32, digit: u32) -> Option<W> {
    let (high, low) = value.mulw(W::from_u64(radix.into()));
    let (sum, carry) = low.addc(W::from_u64(digit.into()), W::ZERO);
    if high.is_zero() && carry.is_zero() { Some(sum) } else { None }
}

/// Shows a word as a signed decimal number.
#[derive(Clone, Copy, Debug)]
pub struct Signed<W>(pub W);

impl<W: Word> fmt::Display for Signed<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(!self.0.is_negative(), "", &self.0.abs().to_string())
    }
}
