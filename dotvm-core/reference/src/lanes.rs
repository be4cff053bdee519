//! Page V: packed lanes in a word, as lists of numbers.

use dotvm_arch::Lane;
use dotvm_arch::float::Conversion;
use dotvm_core::opcode::Op;
use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, ToPrimitive, Zero};

use crate::arithmetic::{signed, truncate, wrap};
use crate::float::{BINARY32, BINARY64, float};

/// The lanes of a word, the least significant first.
fn split(word: &BigUint, bits: u32, lane_bits: u32) -> Vec<BigUint> {
    (0..bits / lane_bits).map(|lane| truncate(&(word >> (lane * lane_bits)), lane_bits)).collect()
}

/// The word of these lanes, each cut to its bits.
fn join(lanes: &[BigUint], lane_bits: u32) -> BigUint {
    lanes.iter().rev().fold(BigUint::zero(), |word, lane| (word << lane_bits) + truncate(lane, lane_bits))
}

/// A number within bounds.
fn kept(number: BigInt, least: BigInt, greatest: BigInt) -> BigInt {
    number.max(least).min(greatest)
}

/// The least and the greatest signed number.
fn signed_bounds(bits: u32) -> (BigInt, BigInt) {
    let half = BigInt::one() << (bits - 1);
    (-&half, half - 1)
}

/// The result of an operation on words of `bits`; `constant` is the places of V.SHUFFLE.
pub fn lanes(op: Op, bits: u32, lane: Lane, imm: u64, operands: &[BigUint], constant: &BigUint) -> BigUint {
    let n = lane.bits();
    let ones = (BigUint::one() << n) - 1u32;
    let vectors: Vec<Vec<BigUint>> = operands.iter().map(|word| split(word, bits, n)).collect();
    let a = &vectors[0];
    let count = a.len();
    let integer = |lane: &BigUint| signed(lane, n);
    let each = |function: &dyn Fn(&[&BigUint]) -> BigUint| {
        let lanes: Vec<BigUint> = (0..count)
            .map(|index| function(&vectors.iter().map(|vector| &vector[index]).collect::<Vec<_>>()))
            .collect();
        join(&lanes, n)
    };
    let flag = |is: bool| if is { ones.clone() } else { BigUint::zero() };
    let (least, greatest) = signed_bounds(n);
    if lane.is_float() {
        let format = if n == 32 { BINARY32 } else { BINARY64 };
        let scalar = |op: Op, operands: &[&BigUint]| {
            let operands: Vec<BigUint> = operands.iter().copied().cloned().collect();
            float(op, format, n, &operands, imm).expect("only conversions trap")
        };
        let same = match op {
            Op::VAdd => Some(Op::Fadd),
            Op::VSub => Some(Op::Fsub),
            Op::VMul => Some(Op::Fmul),
            Op::VDiv => Some(Op::Fdiv),
            Op::VMin => Some(Op::Fmin),
            Op::VMax => Some(Op::Fmax),
            Op::VAbs => Some(Op::Fabs),
            Op::VNeg => Some(Op::Fneg),
            Op::VSqrt => Some(Op::Fsqrt),
            Op::VRound => Some(Op::Fround),
            Op::VFma => Some(Op::Fma),
            _ => None,
        };
        if let Some(same) = same {
            return each(&|lanes| scalar(same, lanes));
        }
        let compared = match op {
            Op::VEq => Some(Op::Feq),
            Op::VLt => Some(Op::Flt),
            Op::VLe => Some(Op::Fle),
            _ => None,
        };
        if let Some(compared) = compared {
            return each(&|lanes| flag(scalar(compared, lanes) == BigUint::one()));
        }
        let folded = match op {
            Op::VSum => Some(Op::Fadd),
            Op::VRmin => Some(Op::Fmin),
            Op::VRmax => Some(Op::Fmax),
            _ => None,
        };
        if let Some(folded) = folded {
            // The upper half is combined with the lower half until one lane is left.
            let mut lanes = a.clone();
            while lanes.len() > 1 {
                let upper = lanes.split_off(lanes.len() / 2);
                lanes = lanes.iter().zip(&upper).map(|(low, high)| scalar(folded, &[low, high])).collect();
            }
            return lanes[0].clone();
        }
    }
    match op {
        Op::VSplat => join(&vec![a[0].clone(); count], n),
        Op::VExtract => a[imm as usize].clone(),
        Op::VReplace => {
            let mut lanes = a.clone();
            lanes[imm as usize] = truncate(&operands[1], n);
            join(&lanes, n)
        }
        Op::VAdd => each(&|x| x[0] + x[1]),
        Op::VSub => each(&|x| x[0] + (&ones + 1u32) - x[1]),
        Op::VMul => each(&|x| x[0] * x[1]),
        Op::VMin => each(&|x| wrap(&integer(x[0]).min(integer(x[1])), n)),
        Op::VMax => each(&|x| wrap(&integer(x[0]).max(integer(x[1])), n)),
        Op::VMinu => each(&|x| x[0].min(x[1]).clone()),
        Op::VMaxu => each(&|x| x[0].max(x[1]).clone()),
        Op::VAbs => each(&|x| integer(x[0]).magnitude().clone()),
        Op::VNeg => each(&|x| (&ones + 1u32) - x[0]),
        Op::VAdds => {
            each(&|x| wrap(&kept(integer(x[0]) + integer(x[1]), least.clone(), greatest.clone()), n))
        }
        Op::VSubs => {
            each(&|x| wrap(&kept(integer(x[0]) - integer(x[1]), least.clone(), greatest.clone()), n))
        }
        Op::VAddu => each(&|x| (x[0] + x[1]).min(ones.clone())),
        Op::VSubu => each(&|x| if x[0] > x[1] { x[0] - x[1] } else { BigUint::zero() }),
        Op::VAvgu => each(&|x| (x[0] + x[1] + 1u32) / 2u32),
        Op::VShl | Op::VShr | Op::VSar => {
            let by = operands[1].to_u32().unwrap_or(n).min(n);
            let shifted: Vec<BigUint> = a
                .iter()
                .map(|lane| match op {
                    Op::VShl => lane << by,
                    Op::VShr => lane >> by,
                    _ => wrap(&integer(lane).div_floor(&(BigInt::one() << by)), n),
                })
                .collect();
            join(&shifted, n)
        }
        Op::VEq => each(&|x| flag(x[0] == x[1])),
        Op::VLt => each(&|x| flag(integer(x[0]) < integer(x[1]))),
        Op::VLe => each(&|x| flag(integer(x[0]) <= integer(x[1]))),
        Op::VLtu => each(&|x| flag(x[0] < x[1])),
        Op::VLeu => each(&|x| flag(x[0] <= x[1])),
        Op::VShuffle | Op::VPerm => {
            let (mut from, places) = (a.clone(), if op == Op::VPerm { &operands[1] } else { constant });
            if op == Op::VShuffle {
                from.extend(vectors[1].iter().cloned());
            }
            let picked: Vec<BigUint> = split(places, bits, n)
                .iter()
                .map(|place| place.to_usize().and_then(|place| from.get(place)).cloned().unwrap_or_default())
                .collect();
            join(&picked, n)
        }
        Op::VAll => BigUint::from(u32::from(a.iter().all(|lane| !lane.is_zero()))),
        Op::VBitmask => join(&a.iter().map(|lane| lane >> (n - 1)).collect::<Vec<_>>(), 1),
        Op::VSum => truncate(&a.iter().sum::<BigUint>(), n),
        Op::VRmin => a.iter().min_by_key(|lane| integer(lane)).cloned().unwrap_or_default(),
        Op::VRmax => a.iter().max_by_key(|lane| integer(lane)).cloned().unwrap_or_default(),
        Op::VDot => {
            let products: Vec<BigInt> =
                a.iter().zip(&vectors[1]).map(|(x, y)| integer(x) * integer(y)).collect();
            let sums: Vec<BigUint> =
                products.chunks(2).map(|pair| wrap(&pair.iter().sum::<BigInt>(), 2 * n)).collect();
            join(&sums, 2 * n)
        }
        Op::VNarrow => {
            let half = n / 2;
            let (least, greatest) = signed_bounds(half);
            let narrowed: Vec<BigUint> = a
                .iter()
                .chain(&vectors[1])
                .map(|lane| match imm {
                    0 => truncate(lane, half),
                    1 => wrap(&kept(integer(lane), least.clone(), greatest.clone()), half),
                    _ => {
                        let greatest = (BigInt::one() << half) - 1;
                        kept(integer(lane), BigInt::zero(), greatest).magnitude().clone()
                    }
                })
                .collect();
            join(&narrowed, half)
        }
        Op::VWiden => {
            let half = if imm & 1 == 0 { &a[..count / 2] } else { &a[count / 2..] };
            let wide: Vec<BigUint> = half
                .iter()
                .map(|lane| if imm & 2 == 0 { lane.clone() } else { wrap(&integer(lane), 2 * n) })
                .collect();
            join(&wide, 2 * n)
        }
        Op::VMulhi if imm == 0 => each(&|x| (x[0] * x[1]) >> n),
        _ => each(&|x| wrap(&(integer(x[0]) * integer(x[1])).div_floor(&(BigInt::one() << n)), n)),
    }
}

/// V.CVT.
pub fn convert_lanes(bits: u32, kind: u64, operand: &BigUint) -> BigUint {
    use Conversion::*;
    let conversion = Conversion::from_code(kind).expect("the verifier checked the kind");
    // Bits of a lane before and after.
    let (before, after) = match conversion {
        Promote => (32, 64),
        Demote => (64, 32),
        ToS32Sat | ToU32Sat | FromS32 | FromU32 => (32, 32),
        _ => (64, 64),
    };
    let format = if before.max(after) == 32 { BINARY32 } else { BINARY64 };
    let converted: Vec<BigUint> = split(operand, bits, before)
        .into_iter()
        .take((bits / after) as usize)
        .map(|lane| float(Op::Fcvt, format, 64, &[lane], kind).expect("no conversion of lanes traps"))
        .collect();
    join(&converted, after)
}
