//! Row 0xB0 on exact numbers against the hardware's arithmetic, on random bits and those near the edges of a format.

use dotvm_core::opcode::{OPS, Op};
use dotvm_reference::{BINARY32, BINARY64, float};
use num_bigint::BigUint;
use num_traits::ToPrimitive;

/// A stream of bits (splitmix64).
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// Bits of a format: any, or with an exponent near an edge or near that of 1.
    fn number(&mut self, bits: u32, fraction_bits: u32) -> u64 {
        let (any, choice, delta) = (self.next(), self.next() % 8, self.next() % 4);
        let ones = (1u64 << (bits - 1 - fraction_bits)) - 1;
        let exponent = match choice {
            0 => delta,
            1 => ones - delta,
            2 | 3 => ones / 2 - 2 + delta,
            _ => any >> fraction_bits & ones,
        };
        let fraction = if self.next().is_multiple_of(4) { delta } else { any } & ((1 << fraction_bits) - 1);
        let sign = any >> (bits - 1) & 1;
        sign << (bits - 1) | exponent << fraction_bits | fraction
    }
}

fn exact(op: Op, is_single: bool, operands: &[u64]) -> u64 {
    let operands: Vec<BigUint> = operands.iter().map(|&operand| operand.into()).collect();
    let format = if is_single { BINARY32 } else { BINARY64 };
    float(op, format, 64, &operands, 0).unwrap().to_u64().unwrap()
}

/// The host's result, a NaN made canonical.
macro_rules! host {
    ($float:ident, $bits:ident, $nan:literal, $op:expr, $x:expr) => {{
        let [a, b, c] = $x.map(|bits: u64| $float::from_bits(bits as $bits));
        let result = match $op {
            Op::Fadd => a + b,
            Op::Fsub => a - b,
            Op::Fmul => a * b,
            Op::Fdiv => a / b,
            Op::Fsqrt => a.sqrt(),
            Op::Fma => a.mul_add(b, c),
            Op::Fround => a.round_ties_even(),
            op => unreachable!("{op:?}"),
        };
        if result.is_nan() { $nan } else { u64::from(result.to_bits()) }
    }};
}

#[test]
fn exact_arithmetic_agrees_with_the_hardware() {
    let mut bits = Bits(7);
    for op in [Op::Fadd, Op::Fsub, Op::Fmul, Op::Fdiv, Op::Fsqrt, Op::Fma, Op::Fround] {
        let count = op.info().effect.unwrap().words_in as usize;
        for _ in 0..4_000 {
            let x = [0; 3].map(|_| bits.number(32, 23));
            let single = host!(f32, u32, 0x7fc0_0000, op, x);
            assert_eq!(exact(op, true, &x[..count]), single, "{op:?} {x:x?}");
            let x = [0; 3].map(|_| bits.number(64, 52));
            let double = host!(f64, u64, 0x7ff8_0000_0000_0000, op, x);
            assert_eq!(exact(op, false, &x[..count]), double, "{op:?} {x:x?}");
        }
    }
}

#[test]
fn every_operation_of_the_row_takes_any_bits() {
    let mut bits = Bits(8);
    for info in OPS.iter().filter(|info| info.op.is_float()) {
        let count = info.effect.unwrap().words_in as usize;
        for imm in 0..if info.imms.is_empty() { 1 } else { 20 } {
            for width in [32, 64, 512] {
                let operands: Vec<BigUint> =
                    (0..count).map(|_| BigUint::from(bits.number(64, 52)) << (bits.next() % 8)).collect();
                for format in [BINARY32, BINARY64] {
                    let result = float(info.op, format, width, &operands, imm);
                    assert!(result.is_err() || result.is_ok_and(|word| word.bits() <= 64 || width == 512));
                }
            }
        }
    }
}
