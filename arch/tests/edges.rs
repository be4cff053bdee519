//! Text, width and `primitive-types` conversions: what is refused and how it is said.

use dotvm_arch::{
    Arch, ParseWordError, Signed, W32, W64, W128, W256, W512, Width, Word, primitive, with_arch,
};
use primitive_types::{H160, H256, U256};

#[test]
fn numbers_are_read() {
    for (text, expected) in [
        ("0", 0),
        ("-0", 0),
        ("007", 7),
        ("1_000", 1000),
        ("0xFf_00", 0xFF00),
        ("0b1010_1", 21),
        ("-1", u32::MAX),
        ("-0x80000000", 0x8000_0000),
        ("-0b1", u32::MAX),
        ("4294967295", u32::MAX),
    ] {
        assert_eq!(W32::parse(text), Ok(W32::from_u64(expected.into())), "{text}");
    }
}

#[test]
fn bad_numbers_are_refused_with_the_place() {
    use ParseWordError::{BadDigit, Empty, Overflow};
    for (text, expected) in [
        ("", Empty),
        ("-", Empty),
        ("0x", Empty),
        ("-0b", Empty),
        ("x", BadDigit { at: 0 }),
        ("+1", BadDigit { at: 0 }),
        ("--1", BadDigit { at: 1 }),
        (" 1", BadDigit { at: 0 }),
        ("1 ", BadDigit { at: 1 }),
        ("12a", BadDigit { at: 2 }),
        ("0x12g", BadDigit { at: 4 }),
        ("0b102", BadDigit { at: 4 }),
        ("0X10", BadDigit { at: 1 }),
        ("_1", BadDigit { at: 0 }),
        ("1_", BadDigit { at: 1 }),
        ("1__0", BadDigit { at: 2 }),
        ("0x_1", BadDigit { at: 2 }),
        ("1é", BadDigit { at: 1 }),
        ("-٣", BadDigit { at: 1 }),
        ("4294967296", Overflow { width: 32 }),
        ("0x100000000", Overflow { width: 32 }),
        ("-2147483649", Overflow { width: 32 }),
        ("99999999999999999999x", BadDigit { at: 20 }),
    ] {
        assert_eq!(W32::parse(text), Err(expected), "{text}");
    }
    assert_eq!(Overflow { width: 32 }.to_string(), "the number does not fit in a word of 32 bits");
    assert_eq!(BadDigit { at: 4 }.to_string(), "the character at byte 4 is not a digit of the number");
}

#[test]
fn signed_text_honours_the_format() {
    let minus_two = W512::from_i64(-2);
    assert_eq!(format!("{}", Signed(minus_two)), "-2");
    assert_eq!(format!("{:>6}", Signed(minus_two)), "    -2");
    assert_eq!(format!("{:06}", Signed(minus_two)), "-00002");
    assert_eq!(Signed(W32::MIN_SIGNED).to_string(), i32::MIN.to_string());
}

#[test]
fn widths() {
    for width in Width::ALL {
        assert_eq!(Width::from_bits(width.bits()), Some(width));
        assert_eq!(width.to_string().parse(), Ok(width));
        assert_eq!(width.to_string(), width.bits().to_string());
        assert_eq!(width.bytes() * 8, width.bits() as usize);
        fn of<W: Arch>() -> (Width, u32, usize) {
            (W::WIDTH, W::BITS, W::BYTES)
        }
        assert_eq!(with_arch!(width, W => of::<W>()), (width, width.bits(), width.bytes()));
    }
    assert_eq!(Width::ALL.map(Width::bits), [32, 64, 128, 256, 512]);
    for bits in [0, 8, 16, 31, 33, 1024, u32::MAX] {
        assert_eq!(Width::from_bits(bits), None);
    }
    for text in ["", "8", "064", "64 ", "W64", "1024"] {
        let error = text.parse::<Width>().expect_err(text);
        assert_eq!(error.to_string(), format!("'{text}' is not a word width: use 32, 64, 128, 256 or 512"));
    }
}

#[test]
fn ethereum_numbers() {
    let number =
        U256::from_dec_str("123456789012345678901234567890123456789012345678901234567890").expect("a number");
    let word = W256::parse("123456789012345678901234567890123456789012345678901234567890").expect("a number");
    assert_eq!(primitive::u256_from_w256(word), number);
    assert_eq!(primitive::w256_from_u256(number), word);
    assert_eq!(primitive::to_u256(word), Some(number));
    assert_eq!(primitive::from_u256(number), Some(word));
    assert_eq!(primitive::from_u256::<W512>(number), Some(word.resize()));
    assert_eq!(primitive::from_u256::<W128>(number), None);
    assert_eq!(primitive::from_u256(U256::MAX), Some(<W256 as Word>::MAX));
    assert_eq!(primitive::from_u256(U256::from(u64::MAX)), Some(<W64 as Word>::MAX));
    assert_eq!(primitive::from_u256::<W64>(U256::from(u64::MAX) + 1), None);
    assert_eq!(primitive::to_u256(W32::from_u64(7)), Some(U256::from(7)));
    assert_eq!(primitive::to_u256(<W512 as Word>::MAX), None);
    assert_eq!(primitive::to_u256(<W256 as Word>::MAX.resize::<W512>()), Some(U256::MAX));
}

#[test]
fn ethereum_hashes() {
    let hash = H256(std::array::from_fn(|i| i as u8 + 1));
    let word =
        W256::parse("0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20").expect("a number");
    assert_eq!(primitive::h256_from_w256(word), hash);
    assert_eq!(primitive::w256_from_h256(hash), word);
    assert_eq!(primitive::to_h256(word), Some(hash));
    assert_eq!(primitive::from_h256(hash), Some(word));
    assert_eq!(primitive::from_h256::<W128>(hash), None);
    let nine = H256(std::array::from_fn(|i| if i == 31 { 9 } else { 0 }));
    assert_eq!(primitive::from_h256::<W32>(nine), Some(W32::from_u64(9)));
    assert_eq!(primitive::to_h256(W64::from_u64(9)), Some(nine));
    assert_eq!(primitive::to_h256(<W512 as Word>::MIN_SIGNED), None);
}

#[test]
fn ethereum_addresses() {
    let address = H160(std::array::from_fn(|i| i as u8 + 1));
    let word = W256::parse("0x0102030405060708090a0b0c0d0e0f1011121314").expect("a number");
    assert_eq!(primitive::to_h160(word), Some(address));
    assert_eq!(primitive::from_h160(address), Some(word));
    assert_eq!(primitive::from_h160(address), Some(word.resize::<W512>()));
    assert_eq!(primitive::from_h160::<W128>(address), None);
    let first_bit_above = <W256 as Word>::ONE.shl_u32(160);
    assert_eq!(primitive::to_h160(first_bit_above), None);
    assert_eq!(primitive::to_h160(first_bit_above.sub(<W256 as Word>::ONE)), Some(H160::repeat_byte(0xFF)));
    assert_eq!(primitive::to_h160(<W256 as Word>::ZERO), Some(H160::zero()));
    let one = H160(std::array::from_fn(|i| (i == 19) as u8));
    assert_eq!(primitive::to_h160(<W32 as Word>::ONE), Some(one));
    assert_eq!(primitive::from_h160(one), Some(<W32 as Word>::ONE));
}
