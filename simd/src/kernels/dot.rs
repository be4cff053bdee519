//! Sums of products.

use std::marker::PhantomData;

use super::{BLOCK, How};
use crate::element::Element;
use crate::level::{Kernel, Level};
use crate::pool;

/// What differs between integers and floating-point numbers.
pub(super) trait Dot: Element {
    /// A sum of a block.
    type Sum: Copy + Default + Send;
    /// The sum of the products of one block.
    fn block(level: Level, a: &[u8], b: &[u8]) -> Self::Sum;
    /// One sum and another.
    fn plus(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// The result.
    fn bits(sum: Self::Sum) -> u64;
}

pub(super) fn dot<E: Dot>(how: How, a: &[u8], b: &[u8]) -> u64 {
    let bytes = BLOCK * E::BYTES;
    if a.len() <= bytes {
        return E::bits(E::block(how.level, a, b));
    }
    let mut sums = vec![E::Sum::default(); a.len().div_ceil(bytes)];
    let pieces = a.chunks(bytes).zip(b.chunks(bytes)).zip(&mut sums);
    pool::for_each(how.spread, 2 * a.len(), pieces, |((a, b), sum)| *sum = E::block(how.level, a, b));
    let first = sums[0];
    E::bits(sums[1..].iter().fold(first, |sum, &next| E::plus(sum, next)))
}

/// The sum of the products of signed integers, modulo 2^64.
struct Integers<'a, E> {
    a: &'a [u8],
    b: &'a [u8],
    element: PhantomData<E>,
}

impl<E: Element + Into<i64>> Kernel for Integers<'_, E> {
    type Output = i64;

    #[inline(always)]
    fn run(self) -> i64 {
        let pairs = self.a.chunks_exact(E::BYTES).zip(self.b.chunks_exact(E::BYTES));
        pairs.fold(0i64, |sum, (x, y)| {
            let (x, y): (i64, i64) = (E::read(x).into(), E::read(y).into());
            sum.wrapping_add(x.wrapping_mul(y))
        })
    }
}

macro_rules! integers {
    ($($integer:ident $($better:ident)?;)*) => {
        $(impl Dot for $integer {
            type Sum = i64;
            fn block(level: Level, a: &[u8], b: &[u8]) -> i64 {
                $(
                    #[cfg(target_arch = "x86_64")]
                    if let Some(sum) = super::x86::$better(level, a, b) {
                        return sum;
                    }
                )?
                level.run(Integers::<$integer> { a, b, element: PhantomData })
            }
            fn plus(a: i64, b: i64) -> i64 {
                a.wrapping_add(b)
            }
            fn bits(sum: i64) -> u64 {
                sum as u64
            }
        })*
    };
}
integers! {
    i8 bytes;
    i16 halves;
    i32;
    i64;
}

macro_rules! floats {
    ($($float:ident $sums:literal $fold:ident $better:ident;)*) => {
        $(
        /// The sum of a block of which all but less than one round of elements are in `sums`.
        #[inline(always)]
        pub(super) fn $fold(mut sums: [$float; $sums], a_rest: &[u8], b_rest: &[u8]) -> $float {
            let rest = a_rest.chunks_exact($float::BYTES).zip(b_rest.chunks_exact($float::BYTES));
            for (sum, (x, y)) in sums.iter_mut().zip(rest) {
                *sum = $float::read(x).mul_add($float::read(y), *sum);
            }
            let mut half = $sums / 2;
            while half > 0 {
                for index in 0..half {
                    sums[index] += sums[index + half];
                }
                half /= 2;
            }
            sums[0]
        }

        impl Dot for $float {
            type Sum = $float;
            fn block(level: Level, a: &[u8], b: &[u8]) -> $float {
                #[cfg(target_arch = "x86_64")]
                if let Some(sum) = super::x86::$better(level, a, b) {
                    return sum;
                }
                let _ = level;
                const BYTES: usize = size_of::<$float>();
                let mut sums = [0.0; $sums];
                let (a, a_rest) = a.as_chunks::<{ $sums * BYTES }>();
                let (b, b_rest) = b.as_chunks::<{ $sums * BYTES }>();
                for (x, y) in a.iter().zip(b) {
                    for (index, sum) in sums.iter_mut().enumerate() {
                        let at = index * BYTES;
                        *sum = $float::read(&x[at..at + BYTES]).mul_add($float::read(&y[at..at + BYTES]), *sum);
                    }
                }
                $fold(sums, a_rest, b_rest)
            }
            fn plus(a: $float, b: $float) -> $float {
                a + b
            }
            fn bits(sum: $float) -> u64 {
                sum.canonical().to_bits().into()
            }
        }
        )*
    };
}
floats! {
    f32 64 fold_singles singles;
    f64 32 fold_doubles doubles;
}
