//! Products of matrices, block by block, so that what is used again and again stays in the caches.

use super::{How, Sizes};
use crate::element::Element;
use crate::level::{Kernel, Kind};
use crate::pool;

/// Rows of the product that are computed together.
const TILE_ROWS: usize = 4;
/// Terms that are added before the next ones are looked at.
const TERMS: usize = 256;
/// Columns of the second matrix that are packed at a time.
const COLUMNS: usize = 512;
/// Rows of the product that a thread computes at a time.
const PIECE_ROWS: usize = 64;

/// Part of the second matrix: the terms `first..first + terms` of `columns` columns, panel by panel of `W` columns, those
/// behind the last being zero.
struct Packed<'a, E> {
    panels: &'a [E],
    first_term: usize,
    terms: usize,
    first_column: usize,
    columns: usize,
}

/// Some rows of the product, with the terms of a packed part added.
struct Rows<'a, E, const W: usize> {
    /// The same rows of the first matrix.
    a: &'a [u8],
    /// The rows.
    c: &'a mut [u8],
    packed: &'a Packed<'a, E>,
    sizes: Sizes,
}

impl<E: Element, const W: usize> Kernel for Rows<'_, E, W> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rows { a, c, packed, sizes } = self;
        let Packed { panels, first_term, terms, first_column, columns } = *packed;
        let (a_row, c_row) = (sizes.inner * E::BYTES, sizes.columns * E::BYTES);
        let rows = c.len() / c_row;
        let is_first = first_term == 0;
        let is_last = first_term + terms == sizes.inner;
        for (index, panel) in panels.chunks_exact(W * terms.max(1)).enumerate() {
            let column = first_column + index * W;
            let width = W.min(columns - index * W);
            for tile in (0..rows).step_by(TILE_ROWS) {
                let height = TILE_ROWS.min(rows - tile);
                let mut sums = [[E::ZERO; W]; TILE_ROWS];
                if !is_first {
                    for (row, sums) in sums.iter_mut().enumerate().take(height) {
                        let start = (tile + row) * c_row + column * E::BYTES;
                        let there = c[start..start + width * E::BYTES].chunks_exact(E::BYTES);
                        for (sum, there) in sums.iter_mut().zip(there) {
                            *sum = E::read(there);
                        }
                    }
                }
                // Rows behind the last are the last again, and not kept.
                let terms_of = |row: usize| {
                    let start = (tile + row.min(height - 1)) * a_row + first_term * E::BYTES;
                    a[start..start + terms * E::BYTES].chunks_exact(E::BYTES)
                };
                let [first, second, third, fourth] = [0, 1, 2, 3].map(terms_of);
                let factors = first.zip(second).zip(third.zip(fourth));
                for (((first, second), (third, fourth)), row) in factors.zip(panel.chunks_exact(W)) {
                    let factors = [first, second, third, fourth].map(E::read);
                    for (sums, factor) in sums.iter_mut().zip(factors) {
                        for (sum, &term) in sums.iter_mut().zip(row) {
                            *sum = factor.mul_add(term, *sum);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate().take(height) {
                    let start = (tile + row) * c_row + column * E::BYTES;
                    let there = c[start..start + width * E::BYTES].chunks_exact_mut(E::BYTES);
                    for (sum, there) in sums.iter().zip(there) {
                        if is_last { sum.canonical() } else { *sum }.write(there);
                    }
                }
            }
        }
    }
}

fn with_panels<E: Element, const W: usize>(how: How, a: &[u8], b: &[u8], c: &mut [u8], sizes: Sizes) {
    let mut panels = vec![E::ZERO; TERMS.min(sizes.inner) * COLUMNS.min(sizes.columns).next_multiple_of(W)];
    let (a_row, c_row) = (sizes.inner * E::BYTES, sizes.columns * E::BYTES);
    for first_column in (0..sizes.columns).step_by(COLUMNS) {
        let columns = COLUMNS.min(sizes.columns - first_column);
        for first_term in (0..sizes.inner).step_by(TERMS) {
            let terms = TERMS.min(sizes.inner - first_term);
            let panels = &mut panels[..terms * columns.next_multiple_of(W)];
            for (index, panel) in panels.chunks_exact_mut(W * terms).enumerate() {
                let first = first_column + index * W;
                let width = W.min(columns - index * W);
                for (term, row) in panel.chunks_exact_mut(W).enumerate() {
                    let start = ((first_term + term) * sizes.columns + first) * E::BYTES;
                    let from = b[start..start + width * E::BYTES].chunks_exact(E::BYTES);
                    for (to, from) in row.iter_mut().zip(from) {
                        *to = E::read(from);
                    }
                    row[width..].fill(E::ZERO);
                }
            }
            let packed = Packed { panels, first_term, terms, first_column, columns };
            let cost = sizes.rows.saturating_mul(terms * columns) / 4;
            let pieces = a.chunks(PIECE_ROWS * a_row).zip(c.chunks_mut(PIECE_ROWS * c_row));
            pool::for_each(how.spread, cost, pieces, |(a, c)| {
                how.level.run(Rows::<E, W> { a, c, packed: &packed, sizes });
            });
        }
    }
}

pub(super) fn matmul<E: Element>(how: How, a: &[u8], b: &[u8], c: &mut [u8], sizes: Sizes) {
    if sizes.inner == 0 {
        // Sums of nothing.
        return c.fill(0);
    }
    match (how.level.kind(), E::BYTES) {
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx512, 8) => with_panels::<E, 32>(how, a, b, c, sizes),
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx512, 4) => with_panels::<E, 64>(how, a, b, c, sizes),
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx2, 4) => with_panels::<E, 16>(how, a, b, c, sizes),
        (_, 8) => with_panels::<E, 8>(how, a, b, c, sizes),
        _ => with_panels::<E, 32>(how, a, b, c, sizes),
    }
}
