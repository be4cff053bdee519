//! y ← a · x + y.

use super::How;
use crate::element::Element;
use crate::level::{Kernel, Level};
use crate::pool;

struct Axpy<'a, E> {
    scalar: E,
    x: &'a [u8],
    y: &'a mut [u8],
}

impl<E: Element> Kernel for Axpy<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, y) in self.x.chunks_exact(E::BYTES).zip(self.y.chunks_exact_mut(E::BYTES)) {
            self.scalar.mul_add(E::read(x), E::read(y)).canonical().write(y);
        }
    }
}

/// Bytes of what one thread does at a time.
const PIECE: usize = 1 << 18;

fn one<E: Element>(level: Level, scalar: E, x: &[u8], y: &mut [u8]) {
    level.run(Axpy { scalar, x, y });
}

pub(super) fn axpy<E: Element>(how: How, scalar: E, x: &[u8], y: &mut [u8]) {
    let pieces = x.chunks(PIECE).zip(y.chunks_mut(PIECE));
    pool::for_each(how.spread, 2 * x.len(), pieces, |(x, y)| one(how.level, scalar, x, y));
}
