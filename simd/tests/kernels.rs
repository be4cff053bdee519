//! Kernels against the definition, element by element, at each level that this machine has, on one thread and on many; at odd addresses, and of
//! sizes around those of blocks, tiles and pieces.

use dotvm_simd::kernels::{self, BLOCK, How, Sizes};
use dotvm_simd::{Lane, Level, Spread};
use fastrand::Rng;

fn ways() -> Vec<How> {
    let levels = Level::all();
    let spreads = [Spread::Never, Spread::Always];
    levels.iter().flat_map(|&level| spreads.map(|spread| How { level, spread })).collect()
}

/// Random elements; floating-point numbers with zeros, infinities and NaNs among them.
fn elements(rng: &mut Rng, lane: Lane, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let rare = rng.u16(..);
        let bits = match (lane, rare) {
            (Lane::F32, 0..8) => 0x7f80_0000 | rng.u64(..2) << 31 | rng.u64(..2),
            (Lane::F64, 0..8) => 0x7ff0_0000_0000_0000 | rng.u64(..2) << 63 | rng.u64(..2),
            (Lane::F32, _) => ((rng.f32() - 0.5) * [1.0, 1e-40, 1e30][rng.usize(..3)]).to_bits().into(),
            (Lane::F64, _) => ((rng.f64() - 0.5) * [1.0, 1e-310, 1e30][rng.usize(..3)]).to_bits(),
            (_, 0..20_000) => 1 << (lane.bits() - 1),
            (_, 20_000..30_000) => (1 << (lane.bits() - 1)) - 1,
            _ => rng.u64(..),
        };
        bytes.extend_from_slice(&bits.to_le_bytes()[..lane.bits() as usize / 8]);
    }
    bytes
}

fn bits(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn signed(lane: Lane, bits: u64) -> i64 {
    ((bits << (64 - lane.bits())) as i64) >> (64 - lane.bits())
}

/// a · b + c of a lane, the canonical NaN for any other.
fn fused(lane: Lane, a: u64, b: u64, c: u64) -> u64 {
    let sum = match lane {
        Lane::F32 => f32::mul_add(f32(a), f32(b), f32(c)).to_bits().into(),
        Lane::F64 => f64::mul_add(f64::from_bits(a), f64::from_bits(b), f64::from_bits(c)).to_bits(),
        _ => a.wrapping_mul(b).wrapping_add(c) & lane.mask(),
    };
    canonical(lane, sum)
}

fn f32(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn canonical(lane: Lane, bits: u64) -> u64 {
    match lane {
        Lane::F32 if f32(bits).is_nan() => 0x7fc0_0000,
        Lane::F64 if f64::from_bits(bits).is_nan() => 0x7ff8_0000_0000_0000,
        _ => bits,
    }
}

fn sum_of(lane: Lane, a: u64, b: u64) -> u64 {
    let sum = match lane {
        Lane::F32 => (f32(a) + f32(b)).to_bits().into(),
        _ => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
    };
    canonical(lane, sum)
}

fn split(lane: Lane, bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(lane.bits() as usize / 8).map(bits).collect()
}

/// What page A says.
fn dot(lane: Lane, a: &[u64], b: &[u64]) -> u64 {
    if !lane.is_float() {
        let product = |(&a, &b): (&u64, &u64)| signed(lane, a).wrapping_mul(signed(lane, b));
        return a.iter().zip(b).map(product).fold(0i64, i64::wrapping_add) as u64;
    }
    let count = if lane == Lane::F32 { 64 } else { 32 };
    let block = |(a, b): (&[u64], &[u64])| {
        let mut sums = vec![0; count];
        for (index, (&a, &b)) in a.iter().zip(b).enumerate() {
            sums[index % count] = fused(lane, a, b, sums[index % count]);
        }
        while sums.len() > 1 {
            let upper = sums.split_off(sums.len() / 2);
            sums = sums.iter().zip(&upper).map(|(&low, &high)| sum_of(lane, low, high)).collect();
        }
        sums[0]
    };
    let sums = a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(block);
    sums.reduce(|sum, next| sum_of(lane, sum, next)).unwrap_or_default()
}

#[test]
fn dot_products_are_those_of_the_definition() {
    let mut rng = Rng::with_seed(1);
    for lane in Lane::ALL {
        let mut counts: Vec<usize> = (0..70).collect();
        counts.extend([127, 128, 129, 255, 256, 257, 1000, 4095, 4097]);
        counts.extend([BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 77, 5 * BLOCK]);
        for count in counts {
            let offset = rng.usize(..9);
            let mut first = vec![0; offset];
            first.extend(elements(&mut rng, lane, count));
            let second = elements(&mut rng, lane, count);
            let expected = dot(lane, &split(lane, &first[offset..]), &split(lane, &second));
            for how in ways() {
                let found = kernels::dot(how, lane, &first[offset..], &second);
                assert_eq!(found, expected, "{lane:?} {count} {how:?}");
            }
        }
    }
}

/// The greatest sums that lanes of 8 and 16 bits can have, one after the other.
#[test]
fn dot_products_of_extremes_are_exact() {
    for lane in [Lane::I8, Lane::I16, Lane::I32] {
        let least = (1u64 << (lane.bits() - 1)).to_le_bytes();
        for count in [1usize, 2, 100, 70_000] {
            let array = least[..lane.bits() as usize / 8].repeat(count);
            let expected = (count as u64).wrapping_mul(1 << (2 * lane.bits() - 2));
            for how in ways() {
                assert_eq!(kernels::dot(how, lane, &array, &array), expected, "{lane:?} {count} {how:?}");
            }
        }
    }
}

#[test]
fn scaled_sums_are_those_of_the_definition() {
    let mut rng = Rng::with_seed(2);
    for lane in Lane::ALL {
        let size = lane.bits() as usize / 8;
        let mut counts: Vec<usize> = (0..40).collect();
        counts.extend([100, 1023, (1 << 18) / size + 5, (1 << 20) / size + 3]);
        for count in counts {
            let (x, gap) = (rng.usize(..9), rng.usize(..9));
            // Behind each other, before each other, the same, and overlapping by all but an odd number of bytes.
            let places = [
                (x, x + count * size + gap),
                (x + count * size + gap, x),
                (x, x),
                (x, x + gap),
                (x + gap, x),
            ];
            let memory = elements(&mut rng, lane, 2 * count + 4 * 9);
            let scalar = bits(&elements(&mut rng, lane, 1));
            for (x, y) in places {
                let (x, y) = (x..x + count * size, y..y + count * size);
                let pairs = split(lane, &memory[x.clone()]).into_iter().zip(split(lane, &memory[y.clone()]));
                let results = pairs.map(|(x, y)| fused(lane, scalar, x, y));
                let mut expected = memory.clone();
                for (to, result) in expected[y.clone()].chunks_mut(size).zip(results) {
                    to.copy_from_slice(&result.to_le_bytes()[..size]);
                }
                for how in ways() {
                    let mut found = memory.clone();
                    kernels::axpy(how, lane, scalar, &mut found, x.clone(), y.clone()).unwrap();
                    assert!(found == expected, "{lane:?} {count} {x:?} {y:?} {how:?}");
                }
            }
        }
    }
}

fn check_matrices(rng: &mut Rng, lane: Lane, sizes: Sizes, is_overlapping: bool) {
    let size = lane.bits() as usize / 8;
    let Sizes { rows, columns, inner } = sizes;
    let lens = [rows * inner, inner * columns, rows * columns].map(|elements| elements * size);
    let memory = elements(rng, lane, lens.iter().sum::<usize>() / size + 40);
    let mut starts = [rng.usize(..9), 0, 0];
    starts[1] = starts[0] + lens[0] + rng.usize(..9);
    starts[2] = starts[1] + lens[1] + rng.usize(..9);
    if is_overlapping {
        starts = lens.map(|len| rng.usize(..=memory.len() - len));
    }
    let [a, b, c] = [0, 1, 2].map(|matrix| starts[matrix]..starts[matrix] + lens[matrix]);
    let (first, second) = (split(lane, &memory[a.clone()]), split(lane, &memory[b.clone()]));
    let mut expected = memory.clone();
    for row in 0..rows {
        for column in 0..columns {
            let terms = (0..inner).map(|term| (first[row * inner + term], second[term * columns + column]));
            let sum = terms.fold(0, |sum, (a, b)| fused(lane, a, b, sum));
            let at = c.start + (row * columns + column) * size;
            expected[at..at + size].copy_from_slice(&sum.to_le_bytes()[..size]);
        }
    }
    for how in ways() {
        let mut found = memory.clone();
        kernels::matmul(how, lane, &mut found, [a.clone(), b.clone(), c.clone()], sizes).unwrap();
        assert!(found == expected, "{lane:?} {sizes:?} {a:?} {b:?} {c:?} {how:?}");
    }
}

#[test]
fn products_of_matrices_are_those_of_the_definition() {
    let mut rng = Rng::with_seed(3);
    for lane in Lane::ALL {
        for round in 0..60 {
            let [rows, columns, inner] = [0; 3].map(|_| rng.usize(..20));
            check_matrices(&mut rng, lane, Sizes { rows, columns, inner }, round % 2 == 1);
        }
        for (rows, columns, inner) in
            [(1, 1, 600), (1, 700, 3), (70, 1, 5), (131, 67, 9), (5, 33, 513), (3, 513, 257), (66, 130, 70)]
        {
            let is_overlapping = rng.bool();
            check_matrices(&mut rng, lane, Sizes { rows, columns, inner }, is_overlapping);
        }
    }
}
