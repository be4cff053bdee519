//! `compare`: what widths make of one program. Expected values by arithmetic.

mod common;

use common::Place;
use serde_json::Value;

/// n! by a loop.
const FACTORIAL: &str = "
.module factorial
.arch any
.entry main
.func pub main [n] -> [product]
  .local product
  PUSH 1 LSET product
  .while LGET n .do
    LGET product LGET n MUL LSET product
    LGET n ADDI -1 LSET n
  .end_while
  LGET product RET
.end
.func pub half [n] -> [half]
  LGET n PUSH 2 DIV RET
.end
.func pub forever
again:
  JMP again
.end
";

fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.path("factorial.dasm"), FACTORIAL).unwrap();
    place
}

fn factorial(n: u32) -> String {
    (1..=n).map(num_bigint::BigUint::from).product::<num_bigint::BigUint>().to_string()
}

/// The greatest n whose factorial fits into a word.
fn greatest(bits: u64) -> u32 {
    let fits =
        |n: u32| (1..=n).map(num_bigint::BigUint::from).product::<num_bigint::BigUint>().bits() <= bits;
    (0..).take_while(|n| fits(*n)).last().unwrap()
}

fn rows(report: &Value, name: &str) -> Vec<Value> {
    report[name].as_array().unwrap().clone()
}

#[test]
fn widths_agree_or_part_where_the_product_does_not_fit() {
    let place = place();
    let report = place.json(0, &["compare", "factorial.dasm", "--arg", "21", "--runs", "2", "--json"]);
    for row in rows(&report, "widths") {
        let arch = row["arch"].as_u64().unwrap();
        let product = (1..=21u32).map(num_bigint::BigUint::from).product::<num_bigint::BigUint>();
        let expected = product % (num_bigint::BigUint::from(1u8) << arch);
        assert_eq!(row["result"], expected.to_string());
        assert_eq!(row["agrees"], 21 <= greatest(arch));
        assert_eq!(row["time"]["runs"], 2);
        assert!(row["gas"].as_u64().unwrap() > 0 && row["transfers"].as_u64().unwrap() >= 21);
    }
    // 64 bits part where 21 * 20 * ... first exceeds 2^64: the product goes down from 21.
    let row = &rows(&report, "widths")[1];
    let mut product = num_bigint::BigUint::from(1u8);
    let mut n = 21u32;
    while product.bits() <= 64 {
        product *= n;
        n -= 1;
    }
    let parting = &row["parting"];
    assert_eq!(parting["what"], "product");
    assert_eq!(parting["widest"], product.to_string());
    let wrapped: num_bigint::BigUint = product % (num_bigint::BigUint::from(1u8) << 64);
    assert_eq!(parting["here"], wrapped.to_string());
    assert_eq!(rows(&report, "widths")[2]["parting"], Value::Null);
}

#[test]
fn signed_numbers_are_the_same_at_every_width() {
    let place = place();
    let source = ".module m\n.arch any\n.func pub f -> [x]\n PUSH -5 RET\n.end\n";
    std::fs::write(place.path("m.dasm"), source).unwrap();
    let report = place.json(0, &["compare", "m.dasm", "--fn", "f", "--runs", "1", "--json"]);
    for row in rows(&report, "widths") {
        assert_eq!(row["agrees"], true, "{row}");
    }
}

#[test]
fn the_least_argument_that_does_not_fit_is_found() {
    let place = place();
    let report = place.json(0, &["compare", "factorial.dasm", "--find-divergence", "n", "--json"]);
    for found in rows(&report, "divergence") {
        let arch = found["arch"].as_u64().unwrap();
        let first = greatest(arch) + 1;
        assert_eq!(found["argument"], first.to_string(), "{found}");
        assert_eq!(found["alike_at"], (first - 1).to_string());
        assert_eq!(found["is_least"], first <= 64);
        // At 512 bits, 98! is the last that fits.
        if first <= 98 {
            assert_eq!(found["widest"], factorial(first));
        }
    }
    // Half of a number is the same wherever the number fits.
    let args =
        ["compare", "factorial.dasm", "--fn", "half", "--find-divergence", "--arch", "32,64", "--json"];
    let report = place.json(0, &args);
    let found = &rows(&report, "divergence")[0];
    assert_eq!(found["argument"], Value::Null);
    assert_eq!(found["alike_at"], u32::MAX.to_string());
    assert!(found["stopped"].as_str().unwrap().contains("no greater argument"));
}

#[test]
fn sweeps_are_tables_and_plots() {
    let place = place();
    let args =
        ["compare", "factorial.dasm", "--sweep", "n=0..6:2", "--arch", "32,64", "--runs", "1", "--csv"];
    let text = place.ok(&[&args[..], &["--html", "page.html", "--svg", "plot.svg"]].concat());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().iter().next(), Some("n"));
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let found: Vec<(&str, &str, &str)> = records.iter().map(|row| (&row[0], &row[1], &row[4])).collect();
    assert_eq!(found, [("0", "1", "1"), ("2", "2", "2"), ("4", "24", "24"), ("6", "720", "720")]);
    let svg = String::from_utf8(place.read("plot.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("32 bits") && svg.contains("<polyline"), "{svg}");
    let page = String::from_utf8(place.read("page.html")).unwrap();
    assert!(page.contains("<td>720</td>") && page.contains("<polyline"), "{page}");
}

#[test]
fn bars_stand_for_the_widths() {
    let place = place();
    let shown = place.ok(&["compare", "factorial.dasm", "--arg", "13", "--runs", "1", "--svg", "plot.svg"]);
    assert!(shown.contains("1932053504") && shown.contains("6227020800"), "{shown}");
    assert!(shown.contains("32 bits part in `main`"), "{shown}");
    let svg = String::from_utf8(place.read("plot.svg")).unwrap();
    for width in ["32", "64", "128", "256", "512"] {
        assert!(svg.contains(&format!("{width} bits")), "{svg}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = place();
    let usage = |args: &[&str], words: &[&str]| place.fails(2, &[&["compare"][..], args].concat(), words);
    let refused = |args: &[&str], words: &str| {
        let report = place.json(2, &[&["compare", "factorial.dasm", "--json"], args].concat());
        assert!(report["error"].as_str().unwrap().contains(words), "{report}");
    };
    refused(&["--sweep", "n=9..1"], "a range goes up");
    refused(&["--sweep", "n=1..9999999"], "at most 10000 values");
    refused(&["--arch", "48"], "48");
    usage(&["factorial.dasm", "--sweep", "m=1..9"], &["no word parameter \"m\"", "n"]);
    usage(&["factorial.dasm", "--find-divergence", "--svg", "x.svg"], &["nothing to plot"]);
    usage(&["factorial.dasm"], &["takes"]);
    place.ok(&["asm", "factorial.dasm", "--arch", "64"]);
    place.fails(3, &["compare", "factorial.dotvm", "--arg", "1"], &["it is a module already"]);
    // Endless programs end by their gas.
    let args = ["compare", "factorial.dasm", "--fn", "forever", "--gas", "1000", "--runs", "1", "--json"];
    for row in rows(&place.json(0, &args), "widths") {
        assert_eq!((&row["status"], &row["result"]), (&"trapped".into(), &"trap Gas".into()));
    }
}
