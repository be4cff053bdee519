//! Documents against the examples of RFC 8949, appendix A, and against mutilated ones.

use dotdb_document::{DocumentError, MAX_DEPTH, from_json, to_json, validate};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// Examples that JSON can write.
const JSON: &[(&str, &str)] = &[
    ("0", "00"),
    ("1", "01"),
    ("10", "0a"),
    ("23", "17"),
    ("24", "1818"),
    ("25", "1819"),
    ("100", "1864"),
    ("1000", "1903e8"),
    ("1000000", "1a000f4240"),
    ("1000000000000", "1b000000e8d4a51000"),
    ("18446744073709551615", "1bffffffffffffffff"),
    ("18446744073709551616", "c249010000000000000000"),
    ("-18446744073709551616", "3bffffffffffffffff"),
    ("-18446744073709551617", "c349010000000000000000"),
    ("-1", "20"),
    ("-10", "29"),
    ("-100", "3863"),
    ("-1000", "3903e7"),
    ("0.0", "f90000"),
    ("-0.0", "f98000"),
    ("1.0", "f93c00"),
    ("1.1", "fb3ff199999999999a"),
    ("1.5", "f93e00"),
    ("65504.0", "f97bff"),
    ("100000.0", "fa47c35000"),
    ("3.4028234663852886e+38", "fa7f7fffff"),
    ("1.0e+300", "fb7e37e43c8800759c"),
    ("5.960464477539063e-8", "f90001"),
    ("0.00006103515625", "f90400"),
    ("-4.0", "f9c400"),
    ("-4.1", "fbc010666666666666"),
    ("false", "f4"),
    ("true", "f5"),
    ("null", "f6"),
    (r#""""#, "60"),
    (r#""a""#, "6161"),
    (r#""IETF""#, "6449455446"),
    (r#""\"\\""#, "62225c"),
    (r#""\u00fc""#, "62c3bc"),
    (r#""\u6c34""#, "63e6b0b4"),
    (r#""\ud800\udd51""#, "64f0908591"),
    ("[]", "80"),
    ("[1, 2, 3]", "83010203"),
    ("[1, [2, 3], [4, 5]]", "8301820203820405"),
    (
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    ),
    ("{}", "a0"),
    (r#"{"a": 1, "b": [2, 3]}"#, "a26161016162820203"),
    (r#"["a", {"b": "c"}]"#, "826161a161626163"),
    (r#"{"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}"#, "a56161614161626142616361436164614461656145"),
];

/// Examples that are documents and that JSON cannot write: as shown.
const SHOWN: &[(&str, &str)] = &[
    ("f97c00", "null"),
    ("f97e00", "null"),
    ("f9fc00", "null"),
    ("40", r#""0x""#),
    ("4401020304", r#""0x01020304""#),
];

/// Examples that are no documents: longer than need be, indefinite, or of other types.
const REFUSED: &[(&str, &str)] = &[
    ("fa7f800000", "the float has a shorter form at byte 0"),
    ("fa7fc00000", "the NaN is not f9 7e 00 at byte 0"),
    ("faff800000", "the float has a shorter form at byte 0"),
    ("fb7ff0000000000000", "the float has a shorter form at byte 0"),
    ("fb7ff8000000000000", "the NaN is not f9 7e 00 at byte 0"),
    ("fbfff0000000000000", "the float has a shorter form at byte 0"),
    ("f7", "the simple value is not null, false or true at byte 0"),
    ("f0", "the simple value is not null, false or true at byte 0"),
    ("f8ff", "the simple value is not null, false or true at byte 0"),
    ("c074323031332d30332d32315432303a30343a30305a", "the tag is not that of a bignum at byte 0"),
    ("c11a514b67b0", "the tag is not that of a bignum at byte 0"),
    ("c1fb41d452d9e2000000", "the tag is not that of a bignum at byte 0"),
    ("d74401020304", "the tag is not that of a bignum at byte 0"),
    ("d818456449455446", "the tag is not that of a bignum at byte 0"),
    ("a201020304", "the map key is not text at byte 1"),
    ("5f42010243030405ff", "the length is indefinite at byte 0"),
    ("7f657374726561646d696e67ff", "the length is indefinite at byte 0"),
    ("9fff", "the length is indefinite at byte 0"),
    ("83018202039f0405ff", "the length is indefinite at byte 5"),
    ("bf61610161629f0203ffff", "the length is indefinite at byte 0"),
    ("826161bf61626163ff", "the length is indefinite at byte 3"),
    // Beyond the appendix: each rule of section 4.2.1, and bytes that end too early.
    ("", "the document is cut off at byte 0"),
    ("19", "the document is cut off at byte 0"),
    ("62c3", "the document is cut off at byte 0"),
    ("8201", "the document is cut off at byte 2"),
    ("0000", "there are bytes after the document at byte 1"),
    ("1817", "the item's head is not the shortest at byte 0"),
    ("190018", "the item's head is not the shortest at byte 0"),
    ("3800", "the item's head is not the shortest at byte 0"),
    ("1b00000000ffffffff", "the item's head is not the shortest at byte 0"),
    ("780161", "the item's head is not the shortest at byte 0"),
    ("9800", "the item's head is not the shortest at byte 0"),
    ("b800", "the item's head is not the shortest at byte 0"),
    ("580100", "the item's head is not the shortest at byte 0"),
    ("fa3fc00000", "the float has a shorter form at byte 0"),
    ("a2616200616100", "the map keys are not sorted at byte 4"),
    ("a26261610061620 0", "the map keys are not sorted at byte 5"),
    ("a2616100616100", "the map key is there twice at byte 4"),
    ("61ff", "the item is not well-formed at byte 0"),
    ("1c", "the item's first byte is reserved at byte 0"),
    ("ff", "a break stands alone at byte 0"),
    ("c2480100000000000000", "the bignum fits into an integer at byte 0"),
    ("c24900ffffffffffffffff", "the bignum has leading zeros at byte 0"),
    ("c240", "the bignum has leading zeros at byte 0"),
    ("c200", "the bignum is not a byte string of definite length at byte 0"),
    ("d80249010000000000000000", "the item's head is not the shortest at byte 0"),
    ("9bffffffffffffffff00", "the document is cut off at byte 10"),
];

#[test]
fn appendix_a() {
    for (json, hex) in JSON {
        let document = from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(document, bytes(hex), "{json}");
        validate(&document).unwrap();
        let shown = to_json(&document).unwrap();
        assert_eq!(from_json(&shown).unwrap(), document, "{json} shown as {shown}");
    }
    for (hex, json) in SHOWN {
        assert_eq!(to_json(&bytes(hex)).unwrap(), *json, "{hex}");
    }
}

#[test]
fn refused() {
    for (hex, message) in REFUSED {
        let document = bytes(&hex.replace(' ', ""));
        let error = validate(&document).expect_err(hex);
        assert_eq!(error.to_string(), *message, "{hex}");
        assert_eq!(to_json(&document).unwrap_err(), error);
    }
}

#[test]
fn keys_are_sorted_by_their_encoding() {
    // RFC 8949 section 4.2.1: "z" (61 7a) before "aa" (62 61 61).
    let document = from_json(r#"{"aa": 1, "z": 2, "": 3}"#).unwrap();
    assert_eq!(document, bytes("a36003617a0262616101"));
    assert_eq!(to_json(&document).unwrap(), r#"{"":3,"z":2,"aa":1}"#);
}

#[test]
fn what_json_is_shown_as() {
    for (text, shown) in [
        (" [ 1 , -0 , 1.50 , 1e2 , 1E400000000 ] ".replace(" , 1E400000000", ""), "[1,0,1.5,100.0]"),
        (r#"{"b":"\u0041\n\"","a":true}"#.to_owned(), r#"{"a":true,"b":"A\n\""}"#),
        (
            "115792089237316195423570985008687907853269984665640564039457584007913129639935".to_owned(),
            "115792089237316195423570985008687907853269984665640564039457584007913129639935",
        ),
    ] {
        assert_eq!(to_json(&from_json(&text).unwrap()).unwrap(), shown);
    }
}

#[test]
fn the_widest_integers() {
    // 2^512 - 1 and -2^512 are the widest 64-byte bignums; one further is refused.
    let power: num_bigint::BigInt = num_bigint::BigInt::from(1) << 512;
    for fits in [&power - 1, -power.clone()] {
        let text = fits.to_string();
        assert_eq!(to_json(&from_json(&text).unwrap()).unwrap(), text);
    }
    for wide in [power.clone(), -power - 1] {
        let error = from_json(&wide.to_string()).unwrap_err();
        assert_eq!(error.to_string(), "the integer exceeds 512 bits at line 1, column 1");
    }
}

#[test]
fn json_errors_have_a_place() {
    for (text, line, column) in [
        ("", 1, 1),
        ("{", 1, 2),
        ("[1,\n 2,\n tru]", 3, 2),
        ("{\"a\": 1,\n  \"ü\": 2, \"a\": 3}", 2, 11),
        ("[1e999]", 1, 2),
        ("[01]", 1, 2),
        ("1 2", 1, 3),
        ("{\"a\" 1}", 1, 6),
        ("[1,]", 1, 4),
        ("'a'", 1, 1),
        ("\"\\ud800\"", 1, 1),
    ] {
        match from_json(text) {
            Err(DocumentError::Json { line: l, column: c, problem }) => {
                assert_eq!(l, line, "{text}: {problem} in column {c}");
                // The parser may point into the token.
                assert!(c >= column && c <= column + 3, "{text}: {problem} in column {c}");
                assert!(!problem.is_empty());
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deepest = from_json(&nested(MAX_DEPTH)).unwrap();
    validate(&deepest).unwrap();
    assert_eq!(to_json(&deepest).unwrap(), nested(MAX_DEPTH));
    for depth in [MAX_DEPTH + 1, 1_000_000] {
        let error = from_json(&nested(depth)).unwrap_err();
        assert_eq!(error.to_string(), "arrays and objects are nested deeper than 128 at line 1, column 129");
        let mut cbor = vec![0x81; depth];
        *cbor.last_mut().unwrap() = 0x80;
        let error = validate(&cbor).unwrap_err();
        assert_eq!(error.to_string(), "arrays and maps are nested deeper than 128 at byte 128");
    }
}

/// A JSON text, and the same with the entries of all objects in reverse order.
fn json_text() -> impl Strategy<Value = (String, String)> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u128>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{:?}", f64::from(n))),
    ];
    let text = "[a-z\u{e4}\u{1f600} ]{0,30}".prop_map(|text| format!("{text:?}"));
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, text]
        .prop_map(|text| (text.clone(), text));
    leaf.prop_recursive(4, 64, 8, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..8).prop_map(|items| {
            let (one, two): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            (format!("[{}]", one.join(",")), format!("[{}]", two.join(" , ")))
        });
        let map = prop::collection::btree_map("[a-z]{0,30}", inner, 0..8).prop_map(|entries| {
            let (one, mut two): (Vec<_>, Vec<_>) = entries
                .into_iter()
                .map(|(key, (one, two))| (format!("{key:?}:{one}"), format!("{key:?} : {two}")))
                .unzip();
            two.reverse();
            (format!("{{{}}}", one.join(",")), format!("{{{}}}", two.join("\n,")))
        });
        prop_oneof![array, map]
    })
}

proptest! {
    #[test]
    fn one_document_for_one_meaning((one, two) in json_text()) {
        let document = from_json(&one).unwrap();
        prop_assert_eq!(&from_json(&two).unwrap(), &document);
        prop_assert!(validate(&document).is_ok());
        prop_assert_eq!(from_json(&to_json(&document).unwrap()).unwrap(), document);
    }

    #[test]
    fn mutations_are_refused_or_canonical(
        (json, _) in json_text(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4),
    ) {
        let mut document = from_json(&json).unwrap();
        for (place, bit) in flips {
            let place = place.index(document.len());
            document[place] ^= 1 << bit;
        }
        if validate(&document).is_ok() {
            let again = from_json(&to_json(&document).unwrap()).unwrap();
            // Byte strings, NaN and infinities are shown as something else.
            let lossy = document.iter().any(|byte| matches!(byte, 0x40..=0x5b | 0xf9));
            prop_assert!(lossy || again == document);
        }
    }

    #[test]
    fn any_bytes_are_judged(document in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(validate(&document).is_ok(), to_json(&document).is_ok());
    }

    #[test]
    fn any_text_is_judged(text in "[\\[\\]{}\":,0-9eE.+\\-a-z\\\\ \u{e4}]{0,40}") {
        if let Ok(document) = from_json(&text) {
            prop_assert!(validate(&document).is_ok());
        }
    }
}
