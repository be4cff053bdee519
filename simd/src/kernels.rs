//! Kernels over arrays in linear memory, page A: the order of all roundings is fixed by the sizes alone, so that results are the same on every
//! machine, with any vector instructions and any number of threads.
//!
//! - Dot product of floating-point numbers: the arrays are cut into blocks of [`BLOCK`] elements. In a block element i
//!   is added to sum i mod s, s being 64 for binary32 and 32 for binary64, each product and addition rounded once; then the upper half
//!   of the sums is added to the lower half until one is left. The blocks' sums are added from the first to the last.
//! - Matrices: each element of the product starts at zero and takes its terms from the first to the last, each
//!   product and addition rounded once.
//! - Integers are signed; their dot product is kept modulo 2^64, other results modulo their size.

mod axpy;
mod dot;
mod matmul;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::collections::TryReserveError;
use std::ops::Range;

use dotvm_arch::Lane;

use crate::element::Element;
use crate::level::Level;
use crate::pool::Spread;

/// Elements of a block of a dot product.
pub const BLOCK: usize = 16_384;

/// How a kernel is done; its result does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Vector instructions.
    pub level: Level,
    /// Threads.
    pub spread: Spread,
}

impl How {
    /// As fast as this machine can.
    pub fn best() -> How {
        How { level: Level::best(), spread: Spread::IfLarge }
    }
}

/// Calls a generic function with the type of a lane's elements.
macro_rules! with_element {
    ($lane:expr, $E:ident => $body:expr) => {
        match $lane {
            Lane::I8 => {
                type $E = i8;
                $body
            }
            Lane::I16 => {
                type $E = i16;
                $body
            }
            Lane::I32 => {
                type $E = i32;
                $body
            }
            Lane::I64 => {
                type $E = i64;
                $body
            }
            Lane::F32 => {
                type $E = f32;
                $body
            }
            Lane::F64 => {
                type $E = f64;
                $body
            }
        }
    };
}

/// The sum of the products of the elements of two arrays of one length in bytes: of integers modulo 2^64, of
/// floating-point numbers their bits.
pub fn dot(how: How, lane: Lane, a: &[u8], b: &[u8]) -> u64 {
    with_element!(lane, E => dot::dot::<E>(how, a, b))
}

/// Each element of `y` becomes scalar · x + y, rounded once, x being what was there before; both are ranges of `memory`
/// of one length, and may overlap. `scalar` is in the low bits.
///
/// # Errors
/// There is no memory for a copy of what overlaps.
pub fn axpy(
    how: How,
    lane: Lane,
    scalar: u64,
    memory: &mut [u8],
    x: Range<usize>,
    y: Range<usize>,
) -> Result<(), TryReserveError> {
    let (copy, y) = match apart(memory, x.clone(), y.clone()) {
        Some((x, y)) => {
            with_element!(lane, E => axpy::axpy::<E>(how, E::from_low_bits(scalar), x, y));
            return Ok(());
        }
        None => (copied(&memory[x])?, &mut memory[y]),
    };
    with_element!(lane, E => axpy::axpy::<E>(how, E::from_low_bits(scalar), &copy, y));
    Ok(())
}

/// Sizes of a product of matrices: (rows × inner) · (inner × columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of the first matrix and of the product.
    pub rows: usize,
    /// Columns of the second matrix and of the product.
    pub columns: usize,
    /// Columns of the first matrix, rows of the second.
    pub inner: usize,
}

/// The matrix at `c` becomes the product of those at `a` and `b`, as they were before; all are ranges of `memory`, row
/// by row, and may overlap.
///
/// # Errors
/// There is no memory for copies of what overlaps.
pub fn matmul(
    how: How,
    lane: Lane,
    memory: &mut [u8],
    [a, b, c]: [Range<usize>; 3],
    sizes: Sizes,
) -> Result<(), TryReserveError> {
    if sizes.rows == 0 || sizes.columns == 0 {
        return Ok(());
    }
    let overlap = |x: &Range<usize>| x.start < c.end && c.start < x.end;
    let copy_of = |x: &Range<usize>| if overlap(x) { copied(&memory[x.clone()]).map(Some) } else { Ok(None) };
    let (a_copy, b_copy) = (copy_of(&a)?, copy_of(&b)?);
    let (before, rest) = memory.split_at_mut(c.start);
    let (product, after) = rest.split_at_mut(c.end - c.start);
    let operand = |x: Range<usize>| match x.start >= c.end {
        true => &after[x.start - c.end..x.end - c.end],
        false => &before[x],
    };
    let a = a_copy.as_deref().unwrap_or_else(|| operand(a));
    let b = b_copy.as_deref().unwrap_or_else(|| operand(b));
    with_element!(lane, E => matmul::matmul::<E>(how, a, b, product, sizes));
    Ok(())
}

fn copied(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Two ranges of memory, if they have no byte in common.
fn apart(memory: &mut [u8], x: Range<usize>, y: Range<usize>) -> Option<(&[u8], &mut [u8])> {
    if x.end <= y.start {
        let (low, high) = memory.split_at_mut(y.start);
        Some((&low[x], &mut high[..y.end - y.start]))
    } else if y.end <= x.start {
        let (low, high) = memory.split_at_mut(x.start);
        Some((&high[..x.end - x.start], &mut low[y]))
    } else {
        None
    }
}
