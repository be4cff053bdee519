//! Rows 0x20 to 0x5F: each operation at its edges, expected values worked out by hand.

use dotvm_core::opcode::{OPS, Op};
use dotvm_core::trap::TrapKind;
use dotvm_reference::integer;
use num_bigint::BigUint;

/// A table of 8-bit operations: operands, immediates, results.
#[test]
fn eight_bit_operations_at_their_edges() {
    type Row = (Op, &'static [u32], [u64; 2], &'static [u32]);
    let rows: &[Row] = &[
        (Op::Add, &[200, 100], [0, 0], &[44]),
        (Op::Sub, &[3, 5], [0, 0], &[254]),
        (Op::Mul, &[16, 17], [0, 0], &[16]),
        (Op::Div, &[250, 7], [0, 0], &[35]),
        (Op::Sdiv, &[0xF9, 2], [0, 0], &[0xFD]), // -7 / 2 = -3
        (Op::Mod, &[250, 7], [0, 0], &[5]),
        (Op::Smod, &[0xF9, 2], [0, 0], &[0xFF]), // -7 rem 2 = -1
        (Op::Smod, &[7, 0xFE], [0, 0], &[1]),
        (Op::Smod, &[0x80, 0xFF], [0, 0], &[0]),
        (Op::Neg, &[1], [0, 0], &[255]),
        (Op::Neg, &[0x80], [0, 0], &[0x80]),
        (Op::Abs, &[0x80], [0, 0], &[0x80]),
        (Op::Abs, &[0xFF], [0, 0], &[1]),
        (Op::Addc, &[255, 0, 3], [0, 0], &[0, 1]),
        (Op::Addc, &[255, 0, 2], [0, 0], &[255, 0]),
        (Op::Subb, &[0, 0, 1], [0, 0], &[255, 1]),
        (Op::Subb, &[5, 4, 1], [0, 0], &[0, 0]),
        (Op::Mulw, &[255, 255], [0, 0], &[254, 1]),
        (Op::Saddo, &[100, 28], [0, 0], &[128, 1]),
        (Op::Saddo, &[0xFF, 1], [0, 0], &[0, 0]),
        (Op::Ssubo, &[0x80, 1], [0, 0], &[127, 1]),
        (Op::Smulo, &[0x80, 0xFF], [0, 0], &[0x80, 1]),
        (Op::Smulo, &[0xF0, 8], [0, 0], &[0x80, 0]),
        (Op::Addi, &[1], [-2i64 as u64, 0], &[255]),
        (Op::Addi, &[1], [511, 0], &[0]),
        (Op::Divz, &[9, 0], [0, 0], &[0]),
        (Op::Sdivz, &[9, 0], [0, 0], &[0]),
        (Op::Sdivz, &[0x80, 0xFF], [0, 0], &[0x80]),
        (Op::Modz, &[9, 0], [0, 0], &[0]),
        (Op::Smodz, &[9, 0], [0, 0], &[0]),
        (Op::Smodz, &[0xF7, 4], [0, 0], &[0xFF]), // -9 rem 4 = -1
        (Op::Addmod, &[200, 100, 7], [0, 0], &[6]),
        (Op::Addmod, &[200, 100, 0], [0, 0], &[0]),
        (Op::Mulmod, &[200, 100, 251], [0, 0], &[171]), // 20000 = 79·251 + 171
        (Op::Exp, &[3, 5], [0, 0], &[243]),
        (Op::Exp, &[0, 0], [0, 0], &[1]),
        (Op::Exp, &[2, 8], [0, 0], &[0]),
        (Op::Isqrt, &[255], [0, 0], &[15]),
        (Op::Isqrt, &[225], [0, 0], &[15]),
        (Op::Min, &[0x80, 1], [0, 0], &[1]),
        (Op::Max, &[0x80, 1], [0, 0], &[0x80]),
        (Op::Smin, &[0x80, 1], [0, 0], &[0x80]),
        (Op::Smax, &[0x80, 1], [0, 0], &[1]),
        (Op::Divmod, &[250, 7], [0, 0], &[35, 5]),
        (Op::Modpow, &[3, 200, 7], [0, 0], &[2]), // 3^6 = 1 mod 7 and 200 = 33·6 + 2
        (Op::Modpow, &[0, 0, 1], [0, 0], &[0]),
        (Op::Modpow, &[5, 0, 9], [0, 0], &[1]),
        (Op::Modinv, &[3, 11], [0, 0], &[4]),
        (Op::Modinv, &[6, 9], [0, 0], &[0]),
        (Op::Modinv, &[200, 7], [0, 0], &[2]), // 200 = 4 mod 7
        (Op::Modinv, &[5, 1], [0, 0], &[0]),
        (Op::Sextd, &[0x08, 4], [0, 0], &[0xF8]),
        (Op::Sextd, &[0xF7, 4], [0, 0], &[7]),
        (Op::Sextd, &[0xF7, 0], [0, 0], &[0]),
        (Op::Sextd, &[0xF7, 8], [0, 0], &[0xF7]),
        (Op::And, &[0b1100, 0b1010], [0, 0], &[0b1000]),
        (Op::Or, &[0b1100, 0b1010], [0, 0], &[0b1110]),
        (Op::Xor, &[0b1100, 0b1010], [0, 0], &[0b0110]),
        (Op::Not, &[0x0F], [0, 0], &[0xF0]),
        (Op::Andn, &[0b1100, 0b1010], [0, 0], &[0b0100]),
        (Op::Shl, &[0x81, 1], [0, 0], &[2]),
        (Op::Shl, &[0x81, 8], [0, 0], &[0]),
        (Op::Shr, &[0x81, 7], [0, 0], &[1]),
        (Op::Shr, &[0x81, 200], [0, 0], &[0]),
        (Op::Sar, &[0x81, 1], [0, 0], &[0xC0]),
        (Op::Sar, &[0x81, 8], [0, 0], &[0xFF]),
        (Op::Sar, &[0x71, 255], [0, 0], &[0]),
        (Op::Rotl, &[0x81, 9], [0, 0], &[3]),
        (Op::Rotl, &[0x81, 8], [0, 0], &[0x81]),
        (Op::Rotr, &[0x81, 1], [0, 0], &[0xC0]),
        (Op::Rotr, &[0x81, 0], [0, 0], &[0x81]),
        (Op::Clz, &[0], [0, 0], &[8]),
        (Op::Clz, &[1], [0, 0], &[7]),
        (Op::Ctz, &[0], [0, 0], &[8]),
        (Op::Ctz, &[0x90], [0, 0], &[4]),
        (Op::Popcnt, &[0xF1], [0, 0], &[5]),
        (Op::Bswap, &[0x12], [0, 0], &[0x12]),
        (Op::Byte, &[0x12, 0], [0, 0], &[0x12]),
        (Op::Byte, &[0x12, 1], [0, 0], &[0]),
        (Op::Eq, &[4, 4], [0, 0], &[1]),
        (Op::Ne, &[4, 4], [0, 0], &[0]),
        (Op::Lt, &[0x80, 1], [0, 0], &[0]),
        (Op::Gt, &[0x80, 1], [0, 0], &[1]),
        (Op::Le, &[4, 4], [0, 0], &[1]),
        (Op::Ge, &[3, 4], [0, 0], &[0]),
        (Op::Slt, &[0x80, 1], [0, 0], &[1]),
        (Op::Sgt, &[0x80, 1], [0, 0], &[0]),
        (Op::Sle, &[0x80, 0x80], [0, 0], &[1]),
        (Op::Sge, &[0x80, 1], [0, 0], &[0]),
        (Op::Eqz, &[0], [0, 0], &[1]),
        (Op::Cmp, &[1, 2], [0, 0], &[255]),
        (Op::Cmp, &[2, 1], [0, 0], &[1]),
        (Op::Cmp, &[2, 2], [0, 0], &[0]),
        (Op::Sext, &[0x18], [4, 0], &[0xF8]),
        (Op::Sext, &[0x88], [8, 0], &[0x88]),
        (Op::Zext, &[0x18], [4, 0], &[8]),
        (Op::Bextr, &[0b1011_0100], [2, 4], &[0b1101]),
        (Op::Bins, &[0xFF, 0xF5], [2, 4], &[0b1101_0111]),
    ];
    for (op, operands, imms, expected) in rows {
        let operands: Vec<BigUint> = operands.iter().map(|&operand| operand.into()).collect();
        let expected: Vec<BigUint> = expected.iter().map(|&number| number.into()).collect();
        assert_eq!(integer(*op, 8, &operands, *imms), Ok(expected), "{op:?} {operands:?} {imms:?}");
    }
    let rows_of_table = OPS.iter().filter(|info| (0x20..0x60).contains(&info.code));
    for info in rows_of_table {
        assert!(rows.iter().any(|row| row.0 == info.op), "{} has no case", info.mnemonic);
    }
}

#[test]
fn divisions_trap() {
    let run = |op, operands: &[u32]| {
        let operands: Vec<BigUint> = operands.iter().map(|&operand| operand.into()).collect();
        integer(op, 8, &operands, [0, 0])
    };
    for op in [Op::Div, Op::Sdiv, Op::Mod, Op::Smod, Op::Divmod, Op::Modinv] {
        assert_eq!(run(op, &[5, 0]), Err(TrapKind::DivZero), "{op:?}");
    }
    assert_eq!(run(Op::Modpow, &[5, 5, 0]), Err(TrapKind::DivZero));
    assert_eq!(run(Op::Sdiv, &[0x80, 0xFF]), Err(TrapKind::Overflow));
}

/// Fermat: 3^(p−1) = 1 for the prime p = 2^255 − 19, and 2^−1 = (p + 1)/2.
#[test]
fn wide_modular_arithmetic() {
    let one = BigUint::from(1u32);
    let p: BigUint = (&one << 255) - 19u32;
    let power = integer(Op::Modpow, 256, &[BigUint::from(3u32), &p - 1u32, p.clone()], [0, 0]);
    assert_eq!(power, Ok(vec![one.clone()]));
    let inverse = integer(Op::Modinv, 256, &[BigUint::from(2u32), p.clone()], [0, 0]);
    assert_eq!(inverse, Ok(vec![(&p + 1u32) >> 1]));
    let top: BigUint = (&one << 256) - 1u32;
    // (2^256 − 1)^2 = 2^512 − 2^257 + 1
    let square = integer(Op::Mulw, 256, &[top.clone(), top.clone()], [0, 0]);
    assert_eq!(square, Ok(vec![&top - 1u32, one]));
    let swapped = integer(Op::Bswap, 256, &[BigUint::from(0x12u32)], [0, 0]);
    assert_eq!(swapped, Ok(vec![BigUint::from(0x12u32) << 248]));
}
