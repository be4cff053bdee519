//! Kernels of page A against a plain loop and against loops written by hand with AVX2, on arrays that lie in the
//! second-level cache. `cargo bench -p dotvm-simd` prints nanoseconds a call, the best of many rounds.

use std::hint::black_box;
use std::time::Instant;

use dotvm_simd::kernels::{self, How, Sizes};
use dotvm_simd::{Lane, Level, Spread};

/// Elements of an array.
const COUNT: usize = 16_384;
/// Rows and columns of a matrix.
const SIDE: usize = 192;

/// Nanoseconds of the fastest of many rounds.
fn time(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..60 {
        let start = Instant::now();
        for _ in 0..16 {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() / 16.0);
    }
    best * 1e9
}

fn bytes(lane: Lane, count: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = Vec::new();
    for _ in 0..count {
        let element = match lane {
            Lane::F32 => (rng.f32() - 0.5).to_bits().into(),
            Lane::F64 => (rng.f64() - 0.5).to_bits(),
            _ => rng.u64(..),
        };
        bytes.extend_from_slice(&element.to_le_bytes()[..lane.bits() as usize / 8]);
    }
    bytes
}

macro_rules! plain_dot {
    ($name:ident $element:ident $sum:ident) => {
        #[inline(never)]
        fn $name(a: &[u8], b: &[u8]) -> $sum {
            let (a, b) = (a.as_chunks().0, b.as_chunks().0);
            let pairs = a.iter().zip(b);
            let pairs = pairs.map(|(&x, &y)| ($element::from_le_bytes(x), $element::from_le_bytes(y)));
            pairs.fold(0 as $sum, |sum, (x, y)| sum + x as $sum * y as $sum)
        }
    };
}
plain_dot!(plain_f64 f64 f64);
plain_dot!(plain_f32 f32 f32);
plain_dot!(plain_i8 i8 i64);
plain_dot!(plain_i16 i16 i64);
plain_dot!(plain_i32 i32 i64);

#[inline(never)]
fn plain_axpy(a: f64, x: &[u8], y: &mut [u8]) {
    for (x, y) in x.as_chunks().0.iter().zip(y.as_chunks_mut().0) {
        *y = (a * f64::from_le_bytes(*x) + f64::from_le_bytes(*y)).to_le_bytes();
    }
}

#[inline(never)]
fn plain_matmul(a: &[f64], b: &[f64], c: &mut [f64]) {
    for row in 0..SIDE {
        for column in 0..SIDE {
            let terms = (0..SIDE).map(|term| a[row * SIDE + term] * b[term * SIDE + column]);
            c[row * SIDE + column] = terms.sum();
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod hand {
    use std::arch::x86_64::*;

    use super::SIDE;

    // SAFETY of all of them: the caller has found AVX2 and FMA, and pointers stay within the slices, whose lengths are
    // multiples of what a round takes.

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn dot_f64(a: &[u8], b: &[u8]) -> f64 {
        let mut sums = [_mm256_setzero_pd(); 8];
        let (p, q) = (a.as_ptr().cast::<f64>(), b.as_ptr().cast::<f64>());
        for at in (0..a.len() / 8).step_by(32) {
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: see above.
                *sum = unsafe {
                    let at = at + 4 * index;
                    _mm256_fmadd_pd(_mm256_loadu_pd(p.add(at)), _mm256_loadu_pd(q.add(at)), *sum)
                };
            }
        }
        let mut lanes = [0.0; 4];
        let sum = sums[1..].iter().fold(sums[0], |sum, &next| _mm256_add_pd(sum, next));
        // SAFETY: four numbers are there.
        unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), sum) };
        lanes.iter().sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn dot_f32(a: &[u8], b: &[u8]) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 8];
        let (p, q) = (a.as_ptr().cast::<f32>(), b.as_ptr().cast::<f32>());
        for at in (0..a.len() / 4).step_by(64) {
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: see above.
                *sum = unsafe {
                    let at = at + 8 * index;
                    _mm256_fmadd_ps(_mm256_loadu_ps(p.add(at)), _mm256_loadu_ps(q.add(at)), *sum)
                };
            }
        }
        let mut lanes = [0.0; 8];
        let sum = sums[1..].iter().fold(sums[0], |sum, &next| _mm256_add_ps(sum, next));
        // SAFETY: eight numbers are there.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        lanes.iter().sum()
    }

    #[target_feature(enable = "avx2")]
    pub unsafe fn dot_i16(a: &[u8], b: &[u8]) -> i64 {
        let mut sums = [_mm256_setzero_si256(); 2];
        for at in (0..a.len()).step_by(32) {
            // SAFETY: see above.
            let pairs = unsafe {
                let x = _mm256_loadu_si256(a.as_ptr().add(at).cast());
                let y = _mm256_loadu_si256(b.as_ptr().add(at).cast());
                _mm256_madd_epi16(x, y)
            };
            sums[0] = _mm256_add_epi64(sums[0], _mm256_cvtepi32_epi64(_mm256_castsi256_si128(pairs)));
            sums[1] = _mm256_add_epi64(sums[1], _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(pairs)));
        }
        let sum = _mm256_add_epi64(sums[0], sums[1]);
        let mut lanes = [0i64; 4];
        // SAFETY: four numbers are there.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().sum()
    }

    #[target_feature(enable = "avx2")]
    pub unsafe fn dot_i32(a: &[u8], b: &[u8]) -> i64 {
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..a.len()).step_by(64) {
            for half in 0..2 {
                // SAFETY: see above.
                let (x, y) = unsafe {
                    let x = _mm256_loadu_si256(a.as_ptr().add(at + 32 * half).cast());
                    (x, _mm256_loadu_si256(b.as_ptr().add(at + 32 * half).cast()))
                };
                let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(x), _mm256_srli_epi64::<32>(y));
                sums[2 * half] = _mm256_add_epi64(sums[2 * half], _mm256_mul_epi32(x, y));
                sums[2 * half + 1] = _mm256_add_epi64(sums[2 * half + 1], odd);
            }
        }
        let sum = sums[1..].iter().fold(sums[0], |sum, &next| _mm256_add_epi64(sum, next));
        let mut lanes = [0i64; 4];
        // SAFETY: four numbers are there.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().fold(0, |sum, &lane| sum.wrapping_add(lane))
    }

    #[target_feature(enable = "avx2")]
    pub unsafe fn dot_i8(a: &[u8], b: &[u8]) -> i64 {
        let mut sums = [_mm256_setzero_si256(); 2];
        for at in (0..a.len()).step_by(32) {
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: see above.
                let (x, y) = unsafe {
                    let x = _mm_loadu_si128(a.as_ptr().add(at + 16 * half).cast());
                    (x, _mm_loadu_si128(b.as_ptr().add(at + 16 * half).cast()))
                };
                let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), _mm256_cvtepi8_epi16(y));
                *sum = _mm256_add_epi32(*sum, products);
            }
        }
        let sum = _mm256_add_epi32(sums[0], sums[1]);
        let mut lanes = [0i32; 8];
        // SAFETY: eight numbers are there.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().map(|&lane| i64::from(lane)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn axpy(a: f64, x: &[u8], y: &mut [u8]) {
        let a = _mm256_set1_pd(a);
        let (p, q) = (x.as_ptr().cast::<f64>(), y.as_mut_ptr().cast::<f64>());
        for at in (0..x.len() / 8).step_by(4) {
            // SAFETY: see above.
            unsafe {
                let sum = _mm256_fmadd_pd(a, _mm256_loadu_pd(p.add(at)), _mm256_loadu_pd(q.add(at)));
                _mm256_storeu_pd(q.add(at), sum);
            }
        }
    }

    /// Four rows by eight columns at a time; the sides are multiples of both.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn matmul(a: &[f64], b: &[f64], c: &mut [f64]) {
        for column in (0..SIDE).step_by(8) {
            for row in (0..SIDE).step_by(4) {
                let mut sums = [[_mm256_setzero_pd(); 2]; 4];
                for term in 0..SIDE {
                    // SAFETY: see above.
                    unsafe {
                        let from = b.as_ptr().add(term * SIDE + column);
                        let (low, high) = (_mm256_loadu_pd(from), _mm256_loadu_pd(from.add(4)));
                        for (index, [first, second]) in sums.iter_mut().enumerate() {
                            let factor = _mm256_set1_pd(*a.get_unchecked((row + index) * SIDE + term));
                            *first = _mm256_fmadd_pd(factor, low, *first);
                            *second = _mm256_fmadd_pd(factor, high, *second);
                        }
                    }
                }
                for (index, [first, second]) in sums.into_iter().enumerate() {
                    // SAFETY: see above.
                    unsafe {
                        let to = c.as_mut_ptr().add((row + index) * SIDE + column);
                        _mm256_storeu_pd(to, first);
                        _mm256_storeu_pd(to.add(4), second);
                    }
                }
            }
        }
    }
}

fn row(name: &str, plain: f64, by_hand: Option<f64>, ours: &[(Level, f64)]) {
    let hand = by_hand.map_or("-".to_owned(), |hand| format!("{hand:.0}"));
    let levels: Vec<String> = ours
        .iter()
        .map(|(level, time)| {
            let against = by_hand.map_or(String::new(), |hand| format!(", {:.2} of hand", time / hand));
            format!("{level:?} {time:.0} ({:.1}x plain{against})", plain / time)
        })
        .collect();
    println!("{name:10} plain {plain:.0}  hand {hand}  {}", levels.join("  "));
}

fn main() {
    let levels = Level::all();
    let has_avx2 = levels.len() > 1;
    let at_levels = |work: &dyn Fn(How)| -> Vec<(Level, f64)> {
        let how = |level| How { level, spread: Spread::Never };
        levels.iter().map(|&level| (level, time(|| work(how(level))))).collect()
    };
    macro_rules! dots {
        ($($lane:ident $plain:ident $hand:ident;)*) => {
            $(
                let (a, b) = (bytes(Lane::$lane, COUNT, 1), bytes(Lane::$lane, COUNT, 2));
                let plain = time(|| _ = black_box($plain(black_box(&a), black_box(&b))));
                let mut by_hand = None;
                #[cfg(target_arch = "x86_64")]
                if has_avx2 {
                    // SAFETY: AVX2 and FMA were found, and the length is a multiple of 256 bytes.
                    by_hand = Some(time(|| _ = black_box(unsafe { hand::$hand(black_box(&a), black_box(&b)) })));
                }
                let ours = at_levels(&|how| _ = black_box(kernels::dot(how, Lane::$lane, black_box(&a), black_box(&b))));
                row(concat!("dot ", stringify!($lane)), plain, by_hand, &ours);
            )*
        };
    }
    dots! {
        F64 plain_f64 dot_f64;
        F32 plain_f32 dot_f32;
        I8 plain_i8 dot_i8;
        I16 plain_i16 dot_i16;
        I32 plain_i32 dot_i32;
    }
    let len = COUNT * 8;
    let memory = std::cell::RefCell::new(bytes(Lane::F64, 2 * COUNT, 3));
    let x = bytes(Lane::F64, COUNT, 4);
    let factor = black_box(1e-9f64);
    let mut y = memory.borrow()[len..].to_vec();
    let plain = time(|| plain_axpy(factor, black_box(&x), black_box(&mut y)));
    let mut by_hand = None;
    #[cfg(target_arch = "x86_64")]
    if has_avx2 {
        // SAFETY: AVX2 and FMA were found, and the length is a multiple of 32 bytes.
        by_hand = Some(time(|| unsafe { hand::axpy(factor, black_box(&x), black_box(&mut y)) }));
    }
    let ours = at_levels(&|how| {
        let mut memory = memory.borrow_mut();
        kernels::axpy(how, Lane::F64, factor.to_bits(), black_box(&mut memory), 0..len, len..2 * len)
            .expect("nothing overlaps");
    });
    row("axpy F64", plain, by_hand, &ours);

    let numbers = |seed| -> Vec<f64> {
        let bytes = bytes(Lane::F64, SIDE * SIDE, seed);
        bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
    };
    let (a, b, mut c) = (numbers(5), numbers(6), numbers(7));
    let plain = time(|| plain_matmul(black_box(&a), black_box(&b), black_box(&mut c)));
    let mut by_hand = None;
    #[cfg(target_arch = "x86_64")]
    if has_avx2 {
        // SAFETY: AVX2 and FMA were found, and a matrix has as many rows and columns as the loops take.
        by_hand = Some(time(|| unsafe { hand::matmul(black_box(&a), black_box(&b), black_box(&mut c)) }));
    }
    let size = SIDE * SIDE * 8;
    let memory = std::cell::RefCell::new(bytes(Lane::F64, 3 * SIDE * SIDE, 8));
    let sizes = Sizes { rows: SIDE, columns: SIDE, inner: SIDE };
    let ours = at_levels(&|how| {
        let mut memory = memory.borrow_mut();
        let ranges = [0..size, size..2 * size, 2 * size..3 * size];
        kernels::matmul(how, Lane::F64, black_box(&mut memory), ranges, sizes).expect("nothing overlaps");
    });
    row("matmul F64", plain, by_hand, &ours);
}
