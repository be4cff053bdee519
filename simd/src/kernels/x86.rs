//! Blocks of dot products and tiles of matrices with the vector instructions of x86-64, where the compiler does not find the
//! best ones by itself: sums that must stay in registers, the multiplication of pairs of small integers.

use std::arch::x86_64::*;

use super::dot::{fold_doubles, fold_singles};
use crate::level::{Kind, Level};

/// Sum of the products of at most [`BLOCK`](super::BLOCK) elements: at the level, or `None` where there is nothing
/// better than what the compiler makes.
macro_rules! at_level {
    ($name:ident $result:ident $avx2:ident $avx512:ident) => {
        pub(super) fn $name(level: Level, a: &[u8], b: &[u8]) -> Option<$result> {
            match level.kind() {
                Kind::Scalar => None,
                // SAFETY: a level of this kind exists only where AVX2 and FMA were found.
                Kind::Avx2 => Some(unsafe { $avx2(a, b) }),
                // SAFETY: a level of this kind exists only where AVX-512 F, BW, DQ and VL were found.
                Kind::Avx512 => Some(unsafe { $avx512(a, b) }),
            }
        }
    };
}

at_level!(doubles f64 doubles_avx2 doubles_avx512);
at_level!(singles f32 singles_avx2 singles_avx512);
at_level!(bytes i64 bytes_avx2 bytes_avx512);
at_level!(halves i64 halves_avx2 halves_avx512);

#[target_feature(enable = "avx")]
fn load_256(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there to be read, and the instruction takes any address.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn load_512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes are there to be read, and the instruction takes any address.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// All sums of a block in registers, 256 bytes of each array at a time.
macro_rules! floats {
    ($name:ident $features:literal $float:ident $sums:literal $fold:ident $bytes:literal $load:ident $cast:ident $zero:ident $fused:ident $store:ident) => {
        #[target_feature(enable = $features)]
        fn $name(a: &[u8], b: &[u8]) -> $float {
            const REGISTERS: usize = 256 / $bytes;
            let (a, a_rest) = a.as_chunks::<256>();
            let (b, b_rest) = b.as_chunks::<256>();
            let mut registers = [$zero(); REGISTERS];
            for (x, y) in a.iter().zip(b) {
                let (x, y) = (x.as_chunks::<$bytes>().0, y.as_chunks::<$bytes>().0);
                for (index, sum) in registers.iter_mut().enumerate() {
                    *sum = $fused($cast($load(&x[index])), $cast($load(&y[index])), *sum);
                }
            }
            let mut sums = [0.0; $sums];
            for (to, sum) in sums.as_chunks_mut::<{ $sums / REGISTERS }>().0.iter_mut().zip(registers) {
                // SAFETY: as many numbers are there to be written as a register holds, at any address.
                unsafe { $store(to.as_mut_ptr(), sum) };
            }
            $fold(sums, a_rest, b_rest)
        }
    };
}

floats!(doubles_avx2 "avx2,fma" f64 32 fold_doubles 32 load_256 _mm256_castsi256_pd _mm256_setzero_pd _mm256_fmadd_pd _mm256_storeu_pd);
floats!(singles_avx2 "avx2,fma" f32 64 fold_singles 32 load_256 _mm256_castsi256_ps _mm256_setzero_ps _mm256_fmadd_ps _mm256_storeu_ps);
floats!(doubles_avx512 "avx2,fma,avx512f" f64 32 fold_doubles 64 load_512 _mm512_castsi512_pd _mm512_setzero_pd _mm512_fmadd_pd _mm512_storeu_pd);
floats!(singles_avx512 "avx2,fma,avx512f" f32 64 fold_singles 64 load_512 _mm512_castsi512_ps _mm512_setzero_ps _mm512_fmadd_ps _mm512_storeu_ps);

/// The sum of the products of the integers of `$size` bytes behind the last whole chunk.
macro_rules! rest {
    ($integer:ident, $a:expr, $b:expr) => {{
        let pairs = $a.as_chunks().0.iter().zip($b.as_chunks().0);
        pairs
            .map(|(&x, &y)| i64::from($integer::from_le_bytes(x)) * i64::from($integer::from_le_bytes(y)))
            .sum::<i64>()
    }};
}

/// Chunks of 16-bit integers after which sums of 32 bits are emptied: two products of bytes are at most 2^15, so that
/// 2^10 of them are far from the border.
const FEW: usize = 1 << 10;

#[target_feature(enable = "avx2")]
fn sum_of_i32_256(sums: __m256i) -> i64 {
    let low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(sums));
    let high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(sums));
    sum_of_i64_256(_mm256_add_epi64(low, high))
}

#[target_feature(enable = "avx2")]
fn sum_of_i64_256(sums: __m256i) -> i64 {
    let lanes = [
        _mm256_extract_epi64::<0>(sums),
        _mm256_extract_epi64::<1>(sums),
        _mm256_extract_epi64::<2>(sums),
        _mm256_extract_epi64::<3>(sums),
    ];
    lanes.into_iter().fold(0, i64::wrapping_add)
}

#[target_feature(enable = "avx2")]
fn bytes_avx2(a: &[u8], b: &[u8]) -> i64 {
    let (a, a_rest) = a.as_chunks::<32>();
    let (b, b_rest) = b.as_chunks::<32>();
    let mut total = rest!(i8, a_rest, b_rest);
    for (a, b) in a.chunks(FEW).zip(b.chunks(FEW)) {
        let mut sums = [_mm256_setzero_si256(); 2];
        for (x, y) in a.iter().zip(b) {
            let (x, y) = (load_256(x), load_256(y));
            let low = |v| _mm256_cvtepi8_epi16(_mm256_castsi256_si128(v));
            let high = |v| _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(v));
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low(x), low(y)));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high(x), high(y)));
        }
        total += sum_of_i32_256(sums[0]) + sum_of_i32_256(sums[1]);
    }
    total
}

#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn bytes_avx512(a: &[u8], b: &[u8]) -> i64 {
    let (a, a_rest) = a.as_chunks::<64>();
    let (b, b_rest) = b.as_chunks::<64>();
    let mut total = rest!(i8, a_rest, b_rest);
    for (a, b) in a.chunks(FEW).zip(b.chunks(FEW)) {
        let mut sums = [_mm512_setzero_si512(); 2];
        for (x, y) in a.iter().zip(b) {
            let (x, y) = (load_512(x), load_512(y));
            let low = |v| _mm512_cvtepi8_epi16(_mm512_castsi512_si256(v));
            let high = |v| _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64::<1>(v));
            sums[0] = _mm512_add_epi32(sums[0], _mm512_madd_epi16(low(x), low(y)));
            sums[1] = _mm512_add_epi32(sums[1], _mm512_madd_epi16(high(x), high(y)));
        }
        for sums in sums {
            total += sum_of_i32_256(_mm512_castsi512_si256(sums));
            total += sum_of_i32_256(_mm512_extracti64x4_epi64::<1>(sums));
        }
    }
    total
}

// Two products of 16 bits are at least 2^16 − 2^31 and at most 2^31, which 32 bits do not hold. Less 1 they do, and
// wrapping gives just that; what was taken away is added again at the end.

#[target_feature(enable = "avx2")]
fn halves_avx2(a: &[u8], b: &[u8]) -> i64 {
    let (a, a_rest) = a.as_chunks::<64>();
    let (b, b_rest) = b.as_chunks::<64>();
    let mut sums = [_mm256_setzero_si256(); 4];
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x.as_chunks::<32>().0, y.as_chunks::<32>().0);
        for half in 0..2 {
            let pairs = _mm256_madd_epi16(load_256(&x[half]), load_256(&y[half]));
            let pairs = _mm256_sub_epi32(pairs, _mm256_set1_epi32(1));
            let low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(pairs));
            let high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(pairs));
            sums[2 * half] = _mm256_add_epi64(sums[2 * half], low);
            sums[2 * half + 1] = _mm256_add_epi64(sums[2 * half + 1], high);
        }
    }
    let taken = 16 * a.len() as i64;
    sums.into_iter().fold(rest!(i16, a_rest, b_rest) + taken, |total, sums| total + sum_of_i64_256(sums))
}

#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn halves_avx512(a: &[u8], b: &[u8]) -> i64 {
    let (a, a_rest) = a.as_chunks::<64>();
    let (b, b_rest) = b.as_chunks::<64>();
    let mut sums = [_mm512_setzero_si512(); 2];
    for (x, y) in a.iter().zip(b) {
        let pairs = _mm512_madd_epi16(load_512(x), load_512(y));
        let pairs = _mm512_sub_epi32(pairs, _mm512_set1_epi32(1));
        let low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(pairs));
        let high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(pairs));
        sums[0] = _mm512_add_epi64(sums[0], low);
        sums[1] = _mm512_add_epi64(sums[1], high);
    }
    let mut total = rest!(i16, a_rest, b_rest) + 16 * a.len() as i64;
    for sums in sums {
        total += sum_of_i64_256(_mm512_castsi512_si256(sums));
        total += sum_of_i64_256(_mm512_extracti64x4_epi64::<1>(sums));
    }
    total
}

/// A tile of a product of matrices: four rows by two registers of columns, which stay in registers while a panel of the
/// second matrix goes by.
macro_rules! tiles {
    ($name:ident $features:literal $element:ident $width:literal $load:ident $store:ident $pointer:ty, $splat:ident $fused:ident) => {
        #[target_feature(enable = $features)]
        fn $name(factors: [&[u8]; 4], panel: &[$element], sums: &mut [[$element; $width]; 4]) {
            const HALF: usize = $width / 2;
            let load = |elements: &[$element; HALF]| {
                // SAFETY: as many elements are there to be read as a register holds, at any address.
                unsafe { $load(elements.as_ptr().cast::<$pointer>()) }
            };
            let halves = |row: &[$element; $width]| {
                let halves = row.as_chunks::<HALF>().0;
                [load(&halves[0]), load(&halves[1])]
            };
            let [first, second, third, fourth] = factors.map(|bytes| bytes.as_chunks().0);
            let mut registers = [halves(&sums[0]), halves(&sums[1]), halves(&sums[2]), halves(&sums[3])];
            let factors = first.iter().zip(second).zip(third.iter().zip(fourth));
            for (row, ((first, second), (third, fourth))) in panel.as_chunks::<$width>().0.iter().zip(factors)
            {
                let [low, high] = halves(row);
                let factors = [first, second, third, fourth];
                for (sums, factor) in registers.iter_mut().zip(factors) {
                    let factor = $splat($element::from_le_bytes(*factor));
                    sums[0] = $fused(factor, low, sums[0]);
                    sums[1] = $fused(factor, high, sums[1]);
                }
            }
            for (to, from) in sums.iter_mut().zip(registers) {
                for (to, from) in to.as_chunks_mut::<HALF>().0.iter_mut().zip(from) {
                    // SAFETY: as many elements are there to be written as a register holds, at any address.
                    unsafe { $store(to.as_mut_ptr().cast::<$pointer>(), from) };
                }
            }
        }
    };
}

#[target_feature(enable = "avx2")]
fn fused_i32_256(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_add_epi32(_mm256_mullo_epi32(a, b), c)
}

#[target_feature(enable = "avx2")]
fn fused_i16_256(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_add_epi16(_mm256_mullo_epi16(a, b), c)
}

#[target_feature(enable = "avx512f")]
fn fused_i32_512(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_add_epi32(_mm512_mullo_epi32(a, b), c)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn fused_i16_512(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_add_epi16(_mm512_mullo_epi16(a, b), c)
}

tiles!(tile_f64_avx2 "avx2,fma" f64 8 _mm256_loadu_pd _mm256_storeu_pd f64, _mm256_set1_pd _mm256_fmadd_pd);
tiles!(tile_f32_avx2 "avx2,fma" f32 16 _mm256_loadu_ps _mm256_storeu_ps f32, _mm256_set1_ps _mm256_fmadd_ps);
tiles!(tile_i32_avx2 "avx2" i32 16 _mm256_loadu_si256 _mm256_storeu_si256 __m256i, _mm256_set1_epi32 fused_i32_256);
tiles!(tile_i16_avx2 "avx2" i16 32 _mm256_loadu_si256 _mm256_storeu_si256 __m256i, _mm256_set1_epi16 fused_i16_256);
tiles!(tile_f64_avx512 "avx512f" f64 16 _mm512_loadu_pd _mm512_storeu_pd f64, _mm512_set1_pd _mm512_fmadd_pd);
tiles!(tile_f32_avx512 "avx512f" f32 32 _mm512_loadu_ps _mm512_storeu_ps f32, _mm512_set1_ps _mm512_fmadd_ps);
tiles!(tile_i32_avx512 "avx512f" i32 32 _mm512_loadu_si512 _mm512_storeu_si512 __m512i, _mm512_set1_epi32 fused_i32_512);
tiles!(tile_i16_avx512 "avx512f,avx512bw" i16 64 _mm512_loadu_si512 _mm512_storeu_si512 __m512i, _mm512_set1_epi16 fused_i16_512);

macro_rules! tile_at_level {
    ($($name:ident $element:ident $avx2:ident $narrow:literal $avx512:ident $wide:literal;)*) => {
        $(
        /// Adds the terms of a panel to a tile; false if there is nothing better for this level and width than what the
        /// compiler makes.
        #[inline(always)]
        pub(super) fn $name<const W: usize>(
            level: Level,
            factors: [&[u8]; 4],
            panel: &[$element],
            sums: &mut [[$element; W]; 4],
        ) -> bool {
            let sums = sums.as_flattened_mut();
            match level.kind() {
                Kind::Avx2 if W == $narrow => {
                    let Some(sums) = sums.as_chunks_mut::<$narrow>().0.first_chunk_mut() else { return false };
                    // SAFETY: a level of this kind exists only where AVX2 and FMA were found.
                    unsafe { $avx2(factors, panel, sums) };
                    true
                }
                Kind::Avx512 if W == $wide => {
                    let Some(sums) = sums.as_chunks_mut::<$wide>().0.first_chunk_mut() else { return false };
                    // SAFETY: a level of this kind exists only where AVX-512 F, BW, DQ and VL were found.
                    unsafe { $avx512(factors, panel, sums) };
                    true
                }
                _ => false,
            }
        }
        )*
    };
}
tile_at_level! {
    tile_f64 f64 tile_f64_avx2 8 tile_f64_avx512 16;
    tile_f32 f32 tile_f32_avx2 16 tile_f32_avx512 32;
    tile_i32 i32 tile_i32_avx2 16 tile_i32_avx512 32;
    tile_i16 i16 tile_i16_avx2 32 tile_i16_avx512 64;
}
