//! Words of 32 to 512 bits and the arithmetic of the instruction set on them.
//!
//! [`Word`] is one unsigned number modulo 2^w with every integer operation of the instruction set as a method.
//! [`Arch`] marks the five widths a module may choose; [`Width`] is the same choice as a value, and [`with_arch!`]
//! is the one place where that value becomes a type. [`float`] holds the operations on floating-point numbers.

pub mod float;
mod lane;
mod native;
pub mod primitive;
mod text;
mod wide;
mod width;
mod word;

pub use lane::Lane;
pub use text::{ParseWordError, Signed};
pub use width::{ParseWidthError, Width};
pub use word::{Arch, DivError, W8, W16, W32, W64, W128, W256, W512, Word};
