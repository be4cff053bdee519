//! The order of values, their encodings, paths, index specifications and entries.

#[allow(dead_code)]
#[path = "support/tree.rs"]
mod tree;

use std::cmp::Ordering;

use dotdb_query::encoding::{decode, encode};
use dotdb_query::index::{MAX_ENTRIES, MAX_ENTRY_BYTES};
use dotdb_query::{EntryError, IndexSpec, Path, Value, ValueRef, decode_entry, entries};
use num_bigint::BigInt;
use proptest::prelude::*;

/// CBOR of a random value: JSON's kinds, floats of all bits, integers of all sizes, byte strings.
fn value() -> impl Strategy<Value = Value> {
    let integer = prop_oneof![
        any::<i64>().prop_map(|value| Value::Int(value.into())),
        (-3..4i64).prop_map(|value| Value::Int(value.into())),
        (any::<bool>(), prop::collection::vec(any::<u8>(), 1..=64)).prop_map(|(negative, bytes)| {
            let magnitude = BigInt::from_bytes_be(num_bigint::Sign::Plus, &bytes);
            Value::from_integer(&if negative { -1 - magnitude } else { magnitude }).unwrap()
        }),
        // Neighbours of powers of two, where floats and integers part.
        (0..512u32, -1..2i64, any::<bool>()).prop_map(|(power, offset, negative)| {
            let value = (BigInt::from(1) << power) + offset;
            Value::from_integer(&if negative { -value } else { value }).unwrap()
        }),
    ];
    let float = prop_oneof![
        any::<f64>().prop_map(Value::Float),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (0..1024i32).prop_map(|power| Value::Float(2f64.powi(power))),
        (-4..4i32).prop_map(|quarter| Value::Float(f64::from(quarter) / 4.0)),
        prop::sample::select(vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            5e-324,
            -5e-324,
            2.5e-320
        ])
        .prop_map(Value::Float),
    ];
    let text = prop_oneof!["[a\0\u{1}é]{0,3}".prop_map(Value::Text), any::<String>().prop_map(Value::Text)];
    let bytes = prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..4);
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        4 => integer,
        4 => float,
        2 => text,
        1 => bytes.prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| {
                let mut document = vec![0x80 + items.len() as u8];
                items.iter().for_each(|item| document.extend(item.to_document().unwrap()));
                Value::Array(document)
            }),
            prop::collection::btree_map("[a-c]{0,2}", inner, 0..3).prop_map(|entries| {
                let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = entries
                    .into_iter()
                    .map(|(name, value)| {
                        (Value::Text(name).to_document().unwrap(), value.to_document().unwrap())
                    })
                    .collect();
                pairs.sort();
                let mut document = vec![0xa0 + pairs.len() as u8];
                pairs.into_iter().for_each(|(name, value)| document.extend(name.into_iter().chain(value)));
                Value::Map(document)
            }),
        ]
    })
}

fn tree_of(value: &Value) -> tree::Tree {
    value.to_document().map_or(tree::Tree::Missing, |document| tree::decode(&document))
}

fn maybe() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Missing), 20 => value()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn values_are_documents_and_back(value in value()) {
        let document = value.to_document().unwrap();
        dotdb_document::validate(&document).unwrap();
        let back = Value::from_document(&document).unwrap();
        prop_assert_eq!(back.to_document().unwrap(), document);
    }

    #[test]
    fn order_is_that_of_the_trees(a in maybe(), b in maybe()) {
        let expected = tree::compare(&tree_of(&a), &tree_of(&b));
        prop_assert_eq!(a.as_ref().compare(b.as_ref()).unwrap(), expected);
        let (a, b) = (encode(a.as_ref()).unwrap(), encode(b.as_ref()).unwrap());
        prop_assert_eq!(a.cmp(&b), expected);
        // None is the beginning of another, so that lists sort as their encodings.
        prop_assert!(expected == Ordering::Equal || !b.starts_with(&a));
    }

    #[test]
    fn encodings_are_read_back(value in maybe(), behind in prop::collection::vec(any::<u8>(), 0..3)) {
        let encoded = encode(value.as_ref()).unwrap();
        let bytes = [&encoded[..], &behind].concat();
        let (back, rest) = decode(&bytes).unwrap();
        prop_assert_eq!(rest, &behind[..]);
        prop_assert!(value.as_ref().compare(back.as_ref()).unwrap().is_eq());
        prop_assert_eq!(encode(back.as_ref()).unwrap(), encoded);
        if let (Value::Float(_) | Value::Int(_) | Value::Big { .. }, false) = (&value, matches!(value, Value::Float(v) if v.is_nan())) {
            prop_assert_eq!(back, value.canonical());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok((value, rest)) = decode(&bytes) {
            // What is read has one encoding.
            prop_assert_eq!(encode(value.as_ref()).unwrap(), &bytes[..bytes.len() - rest.len()]);
        }
        let _ = ValueRef::read(&bytes).map(|value| value.compare(ValueRef::Null));
        let path = Path::parse("a[1].b").unwrap();
        let _ = path.find(&bytes);
        for spec in ["a", "tags[*]", "a, tags[*].x"] {
            let _ = entries(&IndexSpec::parse(spec).unwrap(), &bytes);
        }
    }
}

#[test]
fn the_order_as_it_is_written_down() {
    let big = "13407807929942597099574024998205846127479365820592393377723561443721764030073546976801874298166903427690031858186486050853753882811946569946433649006084095"; // 2^512 - 1
    let texts = [
        "null",
        "false",
        "true",
        "-1e300",
        "-13407807929942597099574024998205846127479365820592393377723561443721764030073546976801874298166903427690031858186486050853753882811946569946433649006084096",
        "-2",
        "-1.5",
        "-1",
        "-5e-324",
        "0",
        "5e-324",
        "0.5",
        "1",
        "1.5",
        "2",
        "9007199254740992.0",
        "9007199254740993",
        "9007199254740994.0",
        "18446744073709551615",
        "18446744073709551616",
        big,
        "1e300",
        "\"\"",
        "\"\\u0000\"",
        "\"a\"",
        "\"a\\u0000\"",
        "\"ab\"",
        "\"b\"",
        "\"z\"",
        "\"é\"",
        "\"😀\"",
        "[]",
        "[null]",
        "[1]",
        "[1,2]",
        "[2]",
        "[\"a\"]",
        "{}",
        "{\"a\":1}",
        "{\"a\":2}",
        "{\"b\":1}",
        "{\"aa\":1}",
    ];
    // Maps go by name, shorter names first in the document; "aa" sorts before "b" as text.
    let mut values: Vec<Value> = texts.iter().map(|text| Value::from_json(text).unwrap()).collect();
    let (last, before) = (values.len() - 1, values.len() - 2);
    values.swap(last, before);
    values.insert(22, Value::Float(f64::INFINITY));
    values.insert(23, Value::Float(f64::NAN));
    values.insert(3, Value::Float(f64::NEG_INFINITY));
    values.insert(0, Value::Missing);
    let encoded: Vec<Vec<u8>> = values.iter().map(|value| encode(value.as_ref()).unwrap()).collect();
    for (pair, bytes) in values.windows(2).zip(encoded.windows(2)) {
        assert!(pair[0].as_ref().compare(pair[1].as_ref()).unwrap().is_lt(), "{} < {}", pair[0], pair[1]);
        assert!(bytes[0] < bytes[1], "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn encodings_as_the_table_has_them() {
    for (json, hex) in [
        ("null", "04"),
        ("true", "08"),
        ("0", "12"),
        ("-0.0", "12"),
        ("1", "13080000"),
        ("1.0", "13080000"),
        ("-1", "11f7ffff"),
        // 1.1 binary: exponent 0, the bits after the leading one 1000000.
        ("1.5", "13080080"),
        // 300 = 2^8 * 1.00101100b: groups 0010110, 0.
        ("300", "1308082c"),
        ("\"a\\u0000b\"", "206100ff620000"),
        ("[1,[]]", "4013080000400000"),
        ("{\"a\":null}", "502061000004 00"),
    ] {
        let encoded = encode(Value::from_json(json).unwrap().as_ref()).unwrap();
        let shown: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, hex.replace(' ', ""), "{json}");
    }
}

/// Floats next to the widest integers: 2^512 is no integer of a document, -2^512 is one.
#[test]
fn the_ends_of_integers() {
    for (value, canonical) in [
        (Value::Float(2f64.powi(512)), Value::Float(2f64.powi(512))),
        (Value::Float(-(2f64.powi(512))), Value::from_integer(&-(BigInt::from(1) << 512u32)).unwrap()),
        (Value::Float(2f64.powi(511)), Value::from_integer(&(BigInt::from(1) << 511u32)).unwrap()),
        (Value::Float(f64::MAX), Value::Float(f64::MAX)),
        (Value::Float(f64::MIN_POSITIVE / 2.0), Value::Float(f64::MIN_POSITIVE / 2.0)),
    ] {
        let encoded = encode(value.as_ref()).unwrap();
        assert_eq!(decode(&encoded).unwrap().0, canonical);
        assert_eq!(value.canonical(), canonical);
    }
}

#[test]
fn deep_documents_are_walked() {
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let value = Value::from_json(&deep).unwrap();
    let (back, _) =
        decode(&encode(value.as_ref()).unwrap()).map(|(value, rest)| (value, rest.len())).unwrap();
    assert_eq!(back, value);
    // Deeper than documents go: refused, not followed.
    assert!(encode(ValueRef::Array(&[0x81; 100_000])).is_err());
    assert!(decode(&[0x40; 100_000]).is_err());
}

#[test]
fn paths() {
    let document =
        dotdb_document::from_json(r#"{"a": {"b": [10, {"c": 1}]}, "odd name": {"x\"y": 2}}"#).unwrap();
    for (text, expected) in [
        ("a.b[0]", ValueRef::Int(10)),
        ("a.b[1].c", ValueRef::Int(1)),
        ("a.b[2]", ValueRef::Missing),
        ("a.b.c", ValueRef::Missing),
        ("a[0]", ValueRef::Missing),
        ("\"odd name\".\"x\"\"y\"", ValueRef::Int(2)),
    ] {
        let path = Path::parse(text).unwrap();
        assert_eq!(path.find(&document).unwrap(), expected, "{text}");
        assert_eq!(path.to_string(), text);
    }
    for (text, column) in [
        ("", 1),
        ("a.", 3),
        ("a[", 3),
        ("a[x]", 3),
        ("a[99999999999]", 3),
        ("a b", 2),
        ("\"a", 3),
        ("a[*]", 1),
    ] {
        let error = Path::parse(text).unwrap_err();
        assert!(error.to_string().ends_with(&format!("at line 1, column {column}")), "{text}: {error}");
    }
}

#[test]
fn index_specifications() {
    for text in
        ["balance", "city, age", "unique email", "tags[*]", "unique a.b[0], items[*].price", "unique unique"]
    {
        let spec = IndexSpec::parse(text).unwrap();
        assert_eq!(spec.to_string(), text);
        assert_eq!(IndexSpec::from_bytes(&spec.to_bytes()).unwrap(), spec);
    }
    assert_eq!(IndexSpec::parse(" UNIQUE  a ,b ").unwrap().to_string(), "unique a, b");
    // A field may have the name: alone, or before a comma.
    assert_eq!(IndexSpec::parse("unique").unwrap().to_string(), "unique");
    for (text, problem) in [
        ("", "expected a field's name at line 1, column 1"),
        ("a,", "expected a field's name at line 1, column 3"),
        ("a; b", "expected a comma or the end at line 1, column 2"),
        ("a, a", "the index has a twice"),
        ("a[*], b[*]", "an index goes over the elements of one array only"),
        ("a[*][*]", "a second `[*]` in one path at line 1, column 5"),
        ("a[*x]", "expected `]` at line 1, column 4"),
        ("a,b,c,d,e,f,g,h,i", "an index has 1 to 8 paths, this one 9"),
    ] {
        assert_eq!(IndexSpec::parse(text).unwrap_err().to_string(), problem);
    }
    assert!(IndexSpec::from_bytes(&[0x82, 0xf4, 0x80]).is_err());
    let sloppy = [0x82, 0xf4, 0x81, 0x81, 0x78, 0x01, b'a'];
    assert!(IndexSpec::from_bytes(&sloppy).unwrap_err().to_string().contains("deterministic"));
}

#[test]
fn entries_of_documents() {
    let of = |spec: &str, json: &str| {
        let spec = IndexSpec::parse(spec).unwrap();
        let found = entries(&spec, &dotdb_document::from_json(json).unwrap()).unwrap();
        let show = |entry: &dotdb_query::Entry| {
            let values: Vec<String> =
                decode_entry(&spec, &entry.key).unwrap().iter().map(Value::to_string).collect();
            format!("{}{}", values.join(" "), if entry.exclusive { "!" } else { "" })
        };
        found.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(of("city, age", r#"{"city": "Oslo", "age": 3.0}"#), ["'Oslo' 3"]);
    assert_eq!(of("city, age", r#"{"age": null}"#), ["MISSING NULL"]);
    assert_eq!(of("unique email", r#"{"email": "x"}"#), ["'x'!"]);
    // Any number of documents may have no value in a unique index.
    assert_eq!(of("unique email", r#"{"email": null}"#), ["NULL"]);
    assert_eq!(of("unique email", "{}"), ["MISSING"]);
    assert_eq!(of("tags[*]", r#"{"tags": ["b", "a", "b", 1, 1.0]}"#), ["1", "'a'", "'b'"]);
    assert!(of("tags[*]", "{}").is_empty());
    assert!(of("tags[*]", r#"{"tags": "a"}"#).is_empty());
    assert!(of("tags[*]", r#"{"tags": []}"#).is_empty());
    assert_eq!(of("k, i[*].p, z", r#"{"k": 1, "i": [{"p": 2}, {}], "z": 3}"#), ["1 MISSING 3", "1 2 3"]);
    let spec = IndexSpec::parse("a").unwrap();
    let long =
        dotdb_document::from_json(&format!("{{\"a\": {:?}}}", "x".repeat(MAX_ENTRY_BYTES - 3))).unwrap();
    assert_eq!(entries(&spec, &long).unwrap()[0].key.len(), MAX_ENTRY_BYTES);
    let longer =
        dotdb_document::from_json(&format!("{{\"a\": {:?}}}", "x".repeat(MAX_ENTRY_BYTES - 2))).unwrap();
    assert!(
        matches!(entries(&spec, &longer), Err(EntryError::TooLong { bytes, .. }) if bytes == MAX_ENTRY_BYTES + 1)
    );
    let many: Vec<String> = (0..=MAX_ENTRIES).map(|number| number.to_string()).collect();
    let many = dotdb_document::from_json(&format!("{{\"a\": [{}]}}", many.join(","))).unwrap();
    assert!(matches!(entries(&IndexSpec::parse("a[*]").unwrap(), &many), Err(EntryError::TooMany { .. })));
}
