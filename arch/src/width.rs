//! The word width of a module as a value, and the step from that value to a type.

use std::{fmt, str::FromStr};

/// The word width that a module fixes for all its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
    /// 128 bits.
    W128,
    /// 256 bits.
    W256,
    /// 512 bits.
    W512,
}

impl Width {
    /// Every width, narrowest first.
    pub const ALL: [Width; 5] = [Width::W32, Width::W64, Width::W128, Width::W256, Width::W512];

    /// The width in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
            Width::W128 => 128,
            Width::W256 => 256,
            Width::W512 => 512,
        }
    }

    /// The width in bytes.
    pub const fn bytes(self) -> usize {
        self.bits() as usize / 8
    }

    /// The width of exactly `bits` bits, if it is one of [`Width::ALL`].
    pub const fn from_bits(bits: u32) -> Option<Width> {
        match bits {
            32 => Some(Width::W32),
            64 => Some(Width::W64),
            128 => Some(Width::W128),
            256 => Some(Width::W256),
            512 => Some(Width::W512),
            _ => None,
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bits(), f)
    }
}

/// The text is not one of the word widths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a word width: use 32, 64, 128, 256 or 512")]
pub struct ParseWidthError {
    /// The text that was given.
    pub text: String,
}

impl FromStr for Width {
    type Err = ParseWidthError;

    /// Reads the number of bits in plain decimal, as [`Display`](fmt::Display) writes it.
    fn from_str(text: &str) -> Result<Width, ParseWidthError> {
        match text {
            "32" => Ok(Width::W32),
            "64" => Ok(Width::W64),
            "128" => Ok(Width::W128),
            "256" => Ok(Width::W256),
            "512" => Ok(Width::W512),
            _ => Err(ParseWidthError { text: text.to_owned() }),
        }
    }
}

/// Evaluates an expression with a type alias for the word of a [`Width`] known only at run time.
///
/// This is the only place where a width becomes a type. The five expressions must have one type. Keep the expression
/// a call of a function generic over [`Arch`](crate::Arch): on the concrete alias the inherent items of `ruint::Uint`
/// shadow those of [`Word`](crate::Word) (`W::BITS` would be a `usize`).
///
/// ```
/// use dotvm_arch::{Arch, Width, with_arch};
/// fn bytes_of<W: Arch>() -> usize {
///     W::BYTES
/// }
/// assert_eq!(with_arch!(Width::W256, W => bytes_of::<W>()), 32);
/// ```
#[macro_export]
macro_rules! with_arch {
    ($width:expr, $word:ident => $body:expr) => {
        match $width {
            $crate::Width::W32 => {
                type $word = $crate::W32;
                $body
            }
            $crate::Width::W64 => {
                type $word = $crate::W64;
                $body
            }
            $crate::Width::W128 => {
                type $word = $crate::W128;
                $body
            }
            $crate::Width::W256 => {
                type $word = $crate::W256;
                $body
            }
            $crate::Width::W512 => {
                type $word = $crate::W512;
                $body
            }
        }
    };
}
