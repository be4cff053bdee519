//! Packed integer lanes inside a word: a 128-bit word is sixteen 8-bit or four 32-bit lanes, a 512-bit word eight
//! 64-bit lanes. There are no vector registers; the same operation exists at every width.
//!
//! The operations work on whole 64-bit limbs (SIMD within a register): the lanes' top bits are kept apart so that
//! carries stop at lane borders; what does not gain by that, and floating-point numbers, go lane by lane. They are
//! page V of the instruction set.
//!
//! [`kernels`] are dot products and the like over arrays in memory, page A, with the vector instructions that the machine has
//! and on several threads.

mod element;
pub mod kernels;
mod lanewise;
mod level;
mod pool;

pub use dotvm_arch::Lane;
use dotvm_arch::Word;
pub use lanewise::*;
pub use level::Level;
pub use pool::Spread;

/// A limb with the lowest bit of each lane set.
const fn ones(lane: Lane) -> u64 {
    u64::MAX / lane.mask()
}

/// A limb with the top bit of each lane set.
const fn tops(lane: Lane) -> u64 {
    ones(lane) << (lane.bits() - 1)
}

/// The value's low bits in every lane.
pub fn splat<W: Word>(lane: Lane, value: u64) -> W {
    let low = value & (u64::MAX >> (64 - lane.bits()));
    W::from_limb_fn(|_| low.wrapping_mul(ones(lane)))
}

/// Lane `index`, counted from the least significant, zero-extended; `None` if there is no such lane.
pub fn extract<W: Word>(lane: Lane, word: W, index: u32) -> Option<u64> {
    if index >= lane.count::<W>() {
        return None;
    }
    let bit = index * lane.bits();
    Some((word.limb(bit as usize / 64) >> (bit % 64)) & (u64::MAX >> (64 - lane.bits())))
}

/// The word with lane `index` replaced by the value's low bits; `None` if there is no such lane.
pub fn replace<W: Word>(lane: Lane, word: W, index: u32, value: u64) -> Option<W> {
    if index >= lane.count::<W>() {
        return None;
    }
    let bit = index * lane.bits();
    let mask = (u64::MAX >> (64 - lane.bits())) << (bit % 64);
    Some(W::from_limb_fn(|limb| {
        if limb == bit as usize / 64 {
            (word.limb(limb) & !mask) | ((value << (bit % 64)) & mask)
        } else {
            word.limb(limb)
        }
    }))
}

/// Lanewise sum, each modulo its size.
pub fn add<W: Word>(lane: Lane, a: W, b: W) -> W {
    let tops = tops(lane);
    W::from_limb_fn(|limb| {
        let (x, y) = (a.limb(limb), b.limb(limb));
        (x & !tops).wrapping_add(y & !tops) ^ ((x ^ y) & tops)
    })
}

/// Lanewise difference, each modulo its size.
pub fn sub<W: Word>(lane: Lane, a: W, b: W) -> W {
    let tops = tops(lane);
    W::from_limb_fn(|limb| {
        let (x, y) = (a.limb(limb), b.limb(limb));
        (x | tops).wrapping_sub(y & !tops) ^ ((x ^ !y) & tops)
    })
}

/// Lanewise negation, each modulo its size.
pub fn neg<W: Word>(lane: Lane, a: W) -> W {
    sub(lane, W::ZERO, a)
}

/// All-ones in the lanes that are equal, zero in the others.
pub fn eq<W: Word>(lane: Lane, a: W, b: W) -> W {
    let tops = tops(lane);
    W::from_limb_fn(|limb| {
        let difference = a.limb(limb) ^ b.limb(limb);
        // The top bit of each lane says whether any bit of the lane differs.
        let differs = (((difference & !tops).wrapping_add(!tops)) | difference) & tops;
        spread(lane, !differs & tops)
    })
}

/// All-ones in the lanes where a < b as unsigned numbers, zero in the others.
pub fn lt_unsigned<W: Word>(lane: Lane, a: W, b: W) -> W {
    let tops = tops(lane);
    W::from_limb_fn(|limb| {
        let (x, y) = (a.limb(limb), b.limb(limb));
        // The borrow out of each lane of x − y.
        let low = !((x | tops).wrapping_sub(y & !tops)) & tops;
        spread(lane, ((!x & y) | (!(x ^ y) & low)) & tops)
    })
}

/// All-ones in the lanes where a < b as signed numbers, zero in the others.
pub fn lt_signed<W: Word>(lane: Lane, a: W, b: W) -> W {
    let tops = W::from_limb_fn(|_| tops(lane));
    lt_unsigned(lane, a.xor(tops), b.xor(tops))
}

/// The bits of `a` where the mask is set, those of `b` where it is not.
pub fn blend<W: Word>(a: W, b: W, mask: W) -> W {
    W::from_limb_fn(|limb| (a.limb(limb) & mask.limb(limb)) | (b.limb(limb) & !mask.limb(limb)))
}

/// The top bit of every lane, lane 0 in bit 0.
pub fn bitmask<W: Word>(lane: Lane, a: W) -> u64 {
    (0..lane.count::<W>()).fold(0, |mask, index| {
        let value = extract(lane, a, index).unwrap_or(0);
        mask | ((value >> (lane.bits() - 1)) << index)
    })
}

/// The sum of all lanes modulo the lane's size.
pub fn sum<W: Word>(lane: Lane, a: W) -> u64 {
    let total = (0..lane.count::<W>())
        .fold(0u64, |total, index| total.wrapping_add(extract(lane, a, index).unwrap_or(0)));
    total & (u64::MAX >> (64 - lane.bits()))
}

/// All-ones in the lanes whose top bit is set in `tops`.
fn spread(lane: Lane, tops: u64) -> u64 {
    let lows = tops >> (lane.bits() - 1);
    // lane − 1 borrows nothing beyond its lane: 2^n·low − low fills the lane.
    (tops << 1).wrapping_sub(lows)
}
