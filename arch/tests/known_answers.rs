//! Answers that others have published or that follow from arithmetic.

use dotvm_arch::{DivError, W8, W16, W32, W64, W128, W256, W512, Word};

fn w(text: &str) -> W256 {
    W256::parse(text).expect(text)
}

const TOP: &str = "0x8000000000000000000000000000000000000000000000000000000000000000";
const MAX: &str = "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const MAX_SIGNED: &str = "0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// EIP-145, the test cases of SHL.
#[test]
fn eip145_shl() {
    for (value, shift, expected) in [
        ("1", "0x00", "1"),
        ("1", "0x01", "2"),
        ("1", "0xff", TOP),
        ("1", "0x0100", "0"),
        ("1", "0x0101", "0"),
        (MAX, "0x00", MAX),
        (MAX, "0x01", "-2"),
        (MAX, "0xff", TOP),
        (MAX, "0x0100", "0"),
        ("0", "0x01", "0"),
        (MAX_SIGNED, "0x01", "-2"),
    ] {
        assert_eq!(w(value).shl(w(shift)), w(expected), "{value} << {shift}");
    }
}

/// EIP-145, the test cases of SHR.
#[test]
fn eip145_shr() {
    let quarter = "0x4000000000000000000000000000000000000000000000000000000000000000";
    for (value, shift, expected) in [
        ("1", "0x00", "1"),
        ("1", "0x01", "0"),
        (TOP, "0x01", quarter),
        (TOP, "0xff", "1"),
        (TOP, "0x0100", "0"),
        (TOP, "0x0101", "0"),
        (MAX, "0x00", MAX),
        (MAX, "0x01", MAX_SIGNED),
        (MAX, "0xff", "1"),
        (MAX, "0x0100", "0"),
        ("0", "0x01", "0"),
    ] {
        assert_eq!(w(value).shr(w(shift)), w(expected), "{value} >> {shift}");
    }
}

/// EIP-145, the test cases of SAR.
#[test]
fn eip145_sar() {
    let quarter = "0x4000000000000000000000000000000000000000000000000000000000000000";
    let three_quarters = "0xc000000000000000000000000000000000000000000000000000000000000000";
    for (value, shift, expected) in [
        ("1", "0x00", "1"),
        ("1", "0x01", "0"),
        (TOP, "0x01", three_quarters),
        (TOP, "0xff", MAX),
        (TOP, "0x0100", MAX),
        (TOP, "0x0101", MAX),
        (MAX, "0x00", MAX),
        (MAX, "0x01", MAX),
        (MAX, "0xff", MAX),
        (MAX, "0x0100", MAX),
        ("0", "0x01", "0"),
        (quarter, "0xfe", "1"),
        (MAX_SIGNED, "0xf8", "0x7f"),
        (MAX_SIGNED, "0xfe", "1"),
        (MAX_SIGNED, "0xff", "0"),
        (MAX_SIGNED, "0x0100", "0"),
        (TOP, MAX, MAX),
        (MAX_SIGNED, MAX, "0"),
    ] {
        assert_eq!(w(value).sar(w(shift)), w(expected), "{value} >> {shift}");
    }
}

/// Yellow Paper, appendix H.2: SDIV and SMOD are total, toward zero, with the sign of the dividend.
#[test]
fn evm_signed_division() {
    for (a, b, quotient, remainder) in [
        ("10", "10", "1", "0"),
        ("-2", "-1", "2", "0"),
        (TOP, "-1", TOP, "0"),
        (TOP, "1", TOP, "0"),
        (TOP, "0", "0", "0"),
        ("0", "0", "0", "0"),
        ("10", "3", "3", "1"),
        ("-8", "-3", "2", "-2"),
        ("-8", "3", "-2", "-2"),
        ("8", "-3", "-2", "2"),
        ("-1", "2", "0", "-1"),
        (MAX_SIGNED, TOP, "0", MAX_SIGNED),
        (TOP, MAX_SIGNED, "-1", "-1"),
        (TOP, TOP, "1", "0"),
    ] {
        assert_eq!(w(a).sdivz(w(b)), w(quotient), "{a} / {b}");
        assert_eq!(w(a).smodz(w(b)), w(remainder), "{a} rem {b}");
    }
}

/// Yellow Paper, appendix H.2: SIGNEXTEND(k, x) extends from byte k, that is from 8(k+1) bits.
#[test]
fn evm_signextend() {
    for (k, x, expected) in [
        (0, "0xff", MAX),
        (0, "0x7f", "0x7f"),
        (0, "0x80", "-128"),
        (0, "0x12340f", "0x0f"),
        (1, "0xff80", "-128"),
        (1, "0x017fff", "0x7fff"),
        (30, TOP, "0"),
        (31, TOP, TOP),
        (32, MAX_SIGNED, MAX_SIGNED),
        (u64::MAX / 8 - 1, TOP, TOP),
    ] {
        assert_eq!(w(x).sextd(W256::from_u64(8 * (k + 1))), w(expected), "SIGNEXTEND({k}, {x})");
    }
    assert_eq!(w(TOP).sextd(w(MAX)), w(TOP));
}

/// Yellow Paper, appendix H.2: byte 0 is the most significant.
#[test]
fn evm_byte() {
    let counting = w("0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    for i in 0..32 {
        assert_eq!(counting.byte(W256::from_u64(i)), W256::from_u64(i));
    }
    for outside in ["32", "33", "0x10000000000000000", MAX] {
        assert_eq!(w(MAX).byte(w(outside)), W256::ZERO);
    }
    assert_eq!(w("0xff00").byte(w("30")), w("0xff"));
}

/// Yellow Paper, appendix H.2: the sum and the product are not reduced modulo 2^256 first.
#[test]
fn evm_modular() {
    for (a, b, m, sum, product) in [
        ("10", "10", "8", "4", "4"),
        (MAX, "2", "2", "1", "0"),
        (MAX, MAX, "12", "6", "9"),
        (MAX, MAX, "0", "0", "0"),
        (MAX, MAX, "1", "0", "0"),
        (MAX, MAX, MAX, "0", "0"),
        (MAX, "1", MAX, "1", "0"),
        // 2^256 - 1 = 2^255 + (2^255 - 1), so it leaves 2^255 - 1 modulo 2^255; twice that is 2^255 - 2 above it.
        (MAX, MAX, TOP, "0x7ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe", "1"),
    ] {
        assert_eq!(w(a).addmod(w(b), w(m)), w(sum), "{a} + {b} mod {m}");
        assert_eq!(w(a).mulmod(w(b), w(m)), w(product), "{a} * {b} mod {m}");
    }
}

#[test]
fn evm_exp() {
    for (a, e, expected) in [
        ("10", "2", "100"),
        ("2", "2", "4"),
        ("0", "0", "1"),
        ("0", "1", "0"),
        (MAX, "0", "1"),
        ("1", MAX, "1"),
        ("2", "255", TOP),
        ("2", "256", "0"),
        ("2", "0x10000000000000001", "0"),
        ("-1", MAX, "-1"),
        ("-1", "2", "1"),
        // 3^161 is the largest power of three below 2^256.
        ("3", "161", "65542350158517637872691969508970705427701150314738255642438471845988797065603"),
    ] {
        assert_eq!(w(a).exp(w(e)), w(expected), "{a} ^ {e}");
    }
}

/// EIP-7939, the test cases of CLZ.
#[test]
fn eip7939_clz() {
    let quarter = "0x4000000000000000000000000000000000000000000000000000000000000000";
    for (x, expected) in [("0", 256), (TOP, 0), (MAX, 0), (quarter, 1), (MAX_SIGNED, 1), ("1", 255)] {
        assert_eq!(w(x).clz(), W256::from_u64(expected), "{x}");
    }
}

/// secp256k1 (SEC 2, section 2.4.1): p = 2^256 - 2^32 - 977 is prime, so a^(p-2) is the inverse of a.
#[test]
fn prime_field() {
    let p = w("0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");
    let gx = w("0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    let gy = w("0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8");
    let y_squared = gx.mulmod(gx, p).mulmod(gx, p).addmod(W256::from_u64(7), p);
    assert_eq!(gy.mulmod(gy, p), y_squared);
    assert_eq!(gx.modpow(p.sub(w("2")), p), gx.modinv(p));
    assert_eq!(gx.modpow(p.sub(W256::ONE), p), Some(W256::ONE));
    // The inverse of 2 is (p + 1) / 2.
    assert_eq!(w("2").modinv(p), Some(p.shr(W256::ONE).add(W256::ONE)));
}

fn at_every_width<W: Word>() {
    let (zero, one, two, max, min) = (W::ZERO, W::ONE, W::from_u64(2), W::MAX, W::MIN_SIGNED);
    let width = W::from_u64(W::BITS.into());
    // (2^w - 1)^2 = 2^(2w) - 2^(w+1) + 1
    assert_eq!(max.mulw(max), (max.sub(one), one));
    assert_eq!(max.mulw(two), (one, max.sub(one)));
    assert_eq!(max.mul(max), one);
    assert_eq!(max.addc(max, max), (max, one));
    assert_eq!(zero.subb(max, one), (zero, one));
    // WebAssembly core specification, section 4.3.2: idiv_s overflows, irem_s gives 0.
    assert_eq!(min.sdiv(max), Err(DivError::Overflow));
    assert_eq!(min.srem(max), Some(zero));
    assert_eq!(min.sdiv(zero), Err(DivError::Zero));
    assert_eq!(min.abs(), min);
    assert_eq!(min.neg(), min);
    assert_eq!(min.smulo(max), (min, one));
    assert_eq!(min.smulo(one), (min, zero));
    assert_eq!(min.sar(one).smulo(two), (min, zero));
    assert_eq!(max.not().not().saddo(min), (min.sub(one), one));
    assert_eq!(zero.ssubo(min), (min, one));
    assert_eq!((zero.clz(), zero.ctz(), max.popcnt()), (width, width, width));
    assert_eq!((one.rotr(one), min.rotl(one), max.rotl(max)), (min, one, max));
    assert_eq!(one.rotl(width.add(one)), two);
    assert!(max.slt(zero) && max.gt(zero) && min.sle(min));
    assert_eq!((zero.cmp3(one), one.cmp3(one), max.cmp3(one)), (max, zero, one));
    // floor(sqrt(2^w - 1)) = 2^(w/2) - 1
    assert_eq!(max.isqrt(), max.shr_u32(W::BITS / 2));
    assert_eq!(
        (zero.modpow(zero, zero), zero.modpow(zero, one), zero.modpow(zero, two)),
        (None, Some(zero), Some(one))
    );
    assert_eq!((one.modinv(zero), one.modinv(one), two.modinv(min)), (None, Some(zero), Some(zero)));
    // (2^w - 1)^2 = 1 modulo 2^(w-1).
    assert_eq!(max.modinv(min), Some(min.sub(one)));
    assert_eq!((max.bextr(W::BITS, 1), max.bextr(1, 0), max.bextr(W::BITS - 1, 9)), (zero, zero, one));
    assert_eq!((zero.bins(max, W::BITS - 1, 1), max.bins(zero, 0, W::BITS)), (min, zero));
    assert_eq!((max.sext(0), one.sext(1), two.sext(1)), (zero, max, zero));
}

#[test]
fn every_width() {
    at_every_width::<W8>();
    at_every_width::<W16>();
    at_every_width::<W32>();
    at_every_width::<W64>();
    at_every_width::<W128>();
    at_every_width::<W256>();
    at_every_width::<W512>();
}
