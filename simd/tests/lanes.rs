//! Every operation against the same one done lane by lane on a list of numbers.

use dotvm_arch::{W32, W64, W128, W256, W512, Word};
use dotvm_simd::{
    Lane, add, bitmask, blend, eq, extract, lt_signed, lt_unsigned, neg, replace, splat, sub, sum,
};
use proptest::prelude::*;

fn lanes<W: Word>(lane: Lane, word: W) -> Vec<u64> {
    let mut bytes = vec![0; W::BYTES];
    word.write_le(&mut bytes);
    bytes
        .chunks_exact(lane.bits() as usize / 8)
        .map(|chunk| chunk.iter().rev().fold(0, |value, byte| (value << 8) | *byte as u64))
        .collect()
}

fn signed(lane: Lane, value: u64) -> i64 {
    ((value << (64 - lane.bits())) as i64) >> (64 - lane.bits())
}

fn word<W: Word>(limbs: &[u64]) -> W {
    W::from_limb_fn(|limb| limbs[limb])
}

fn check<W: Word>(lane: Lane, a: W, b: W, scalar: u64) {
    let mask = u64::MAX >> (64 - lane.bits());
    let (x, y) = (lanes(lane, a), lanes(lane, b));
    assert_eq!(x.len(), lane.count::<W>() as usize);
    let pairs = |f: &dyn Fn(u64, u64) -> u64| -> Vec<u64> {
        x.iter().zip(&y).map(|(x, y)| f(*x, *y) & mask).collect()
    };
    let flag = |condition: bool| if condition { mask } else { 0 };
    assert_eq!(lanes(lane, add(lane, a, b)), pairs(&|x, y| x.wrapping_add(y)));
    assert_eq!(lanes(lane, sub(lane, a, b)), pairs(&|x, y| x.wrapping_sub(y)));
    assert_eq!(lanes(lane, neg(lane, a)), pairs(&|x, _| x.wrapping_neg()));
    assert_eq!(lanes(lane, eq(lane, a, b)), pairs(&|x, y| flag(x == y)));
    assert_eq!(lanes(lane, lt_unsigned(lane, a, b)), pairs(&|x, y| flag(x < y)));
    assert_eq!(lanes(lane, lt_signed(lane, a, b)), pairs(&|x, y| flag(signed(lane, x) < signed(lane, y))));
    assert_eq!(lanes(lane, splat::<W>(lane, scalar)), vec![scalar & mask; x.len()]);
    let smaller = blend(a, b, lt_unsigned(lane, a, b));
    assert_eq!(lanes(lane, smaller), pairs(&|x, y| x.min(y)));
    assert_eq!(sum(lane, a), x.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)) & mask);
    let tops = x.iter().enumerate().fold(0, |bits, (index, x)| bits | ((x >> (lane.bits() - 1)) << index));
    assert_eq!(bitmask(lane, a), tops);
    for index in 0..x.len() as u32 {
        assert_eq!(extract(lane, a, index), Some(x[index as usize]));
        let mut replaced = x.clone();
        replaced[index as usize] = scalar & mask;
        assert_eq!(replace(lane, a, index, scalar).map(|word| lanes(lane, word)), Some(replaced));
    }
    assert_eq!(extract(lane, a, x.len() as u32), None);
    assert_eq!(replace(lane, a, x.len() as u32, scalar), None);
}

fn limb() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        Just(0x8080_8080_8080_8080),
        Just(0x7fff_8000_0001_ffff),
        any::<u8>().prop_map(|byte| byte as u64 * 0x0101_0101_0101_0101),
    ]
}

proptest! {
    #[test]
    fn lanes_at_every_width(
        a in prop::collection::vec(limb(), 8),
        b in prop::collection::vec(limb(), 8),
        scalar in limb(),
    ) {
        for lane in Lane::ALL {
            if lane != Lane::I64 {
                check::<W32>(lane, word(&a), word(&b), scalar);
            }
            check::<W64>(lane, word(&a), word(&b), scalar);
            check::<W128>(lane, word(&a), word(&b), scalar);
            check::<W256>(lane, word(&a), word(&b), scalar);
            check::<W512>(lane, word(&a), word(&b), scalar);
        }
    }
}
