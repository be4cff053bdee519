//! Products of matrices, block by block, so that what is used again and again stays in the caches.

use super::{How, Sizes};
use crate::element::Element;
#[cfg(target_arch = "x86_64")]
use crate::level::Kind;
use crate::level::{Kernel, Level};
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
    level: Level,
    /// The same rows of the first matrix.
    a: &'a [u8],
    /// The rows.
    c: &'a mut [u8],
    packed: &'a Packed<'a, E>,
    sizes: Sizes,
}

/// An element of matrices.
pub(super) trait Entry: Element {
    /// Adds the terms of a panel to a tile; false if it did nothing, as [`add_terms`] is as good.
    #[inline(always)]
    fn tile<const W: usize>(_: Level, _: [&[u8]; 4], _: &[Self], _: &mut [[Self; W]; TILE_ROWS]) -> bool {
        false
    }
}

macro_rules! entries {
    ($($element:ident $($better:ident)?;)*) => {
        $(impl Entry for $element {
            $(
                #[cfg(target_arch = "x86_64")]
                #[inline(always)]
                fn tile<const W: usize>(
                    level: Level,
                    factors: [&[u8]; 4],
                    panel: &[Self],
                    sums: &mut [[Self; W]; TILE_ROWS],
                ) -> bool {
                    super::x86::$better(level, factors, panel, sums)
                }
            )?
        })*
    };
}
entries! {
    i8;
    i16 tile_i16;
    i32 tile_i32;
    i64;
    f32 tile_f32;
    f64 tile_f64;
}

/// Adds the terms of a panel to a tile: of each row the factors are given as bytes.
#[inline(always)]
fn add_terms<E: Element, const W: usize>(factors: [&[u8]; 4], panel: &[E], sums: &mut [[E; W]; TILE_ROWS]) {
    let [first, second, third, fourth] = factors.map(|bytes| bytes.chunks_exact(E::BYTES));
    let factors = first.zip(second).zip(third.zip(fourth));
    for (((first, second), (third, fourth)), row) in factors.zip(panel.as_chunks::<W>().0) {
        let factors = [first, second, third, fourth].map(E::read);
        for (sums, factor) in sums.iter_mut().zip(factors) {
            for (sum, &term) in sums.iter_mut().zip(row) {
                *sum = factor.mul_add(term, *sum);
            }
        }
    }
}

impl<E: Entry, const W: usize> Kernel for Rows<'_, E, W> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rows { level, a, c, packed, sizes } = self;
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
                let factors = [0, 1, 2, 3].map(|row: usize| {
                    let start = (tile + row.min(height - 1)) * a_row + first_term * E::BYTES;
                    &a[start..start + terms * E::BYTES]
                });
                if !E::tile(level, factors, panel, &mut sums) {
                    add_terms(factors, panel, &mut sums);
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

fn with_panels<E: Entry, const W: usize>(how: How, a: &[u8], b: &[u8], c: &mut [u8], sizes: Sizes) {
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
                let level = how.level;
                level.run(Rows::<E, W> { level, a, c, packed: &packed, sizes });
            });
        }
    }
}

pub(super) fn matmul<E: Entry>(how: How, a: &[u8], b: &[u8], c: &mut [u8], sizes: Sizes) {
    if sizes.inner == 0 {
        // Sums of nothing.
        return c.fill(0);
    }
    // Two registers of columns.
    #[cfg(target_arch = "x86_64")]
    if how.level.kind() == Kind::Avx512 {
        return match E::BYTES {
            8 => with_panels::<E, 16>(how, a, b, c, sizes),
            4 => with_panels::<E, 32>(how, a, b, c, sizes),
            2 => with_panels::<E, 64>(how, a, b, c, sizes),
            _ => with_panels::<E, 128>(how, a, b, c, sizes),
        };
    }
    match E::BYTES {
        8 => with_panels::<E, 8>(how, a, b, c, sizes),
        4 => with_panels::<E, 16>(how, a, b, c, sizes),
        2 => with_panels::<E, 32>(how, a, b, c, sizes),
        _ => with_panels::<E, 64>(how, a, b, c, sizes),
    }
}
