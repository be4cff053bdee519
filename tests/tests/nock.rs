//! Nock: compiled formulas against the oracle, vectors and programs, depth, limits, bad input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dotvm_core::value::Ref;
use dotvm_nock_machine::conformance::Suite;
use dotvm_nock_machine::text::parse;
use dotvm_nock_machine::{Bounds, Failure, Input, cue, jam, mug, run};
use dotvm_test_modes::pick;
use dotvm_tests::nock::{self, compare};
use fastrand::Rng;

/// How many: hundreds, or as many as the environment's DOTVM_LONG says.
fn count(usual: u64) -> u64 {
    std::env::var("DOTVM_LONG").ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/nock")
}

#[test]
fn vectors_and_programs_come_out_as_expected() {
    // The programs that run for long are for the benchmark.
    const LONG: &[&str] = &["dec_1000000", "fib_25", "ack_3", "sort_10k", "tree_20"];
    let suite = Suite::read(&folder()).unwrap_or_else(|error| panic!("{error}"));
    let kinds = ["formula", "jam", "cue"].map(|kind| format!("nock/{kind} "));
    let short = suite.programs().filter(|name| !LONG.iter().any(|long| name.contains(long)));
    let names: Vec<String> = kinds.into_iter().chain(short).collect();
    let bounds = Bounds::default();
    let verdicts: Vec<_> = names.iter().flat_map(|name| suite.run(name, &bounds)).collect();
    let failed: Vec<String> =
        verdicts.iter().filter(|verdict| !verdict.passed()).map(|v| v.to_string()).collect();
    assert!(failed.is_empty(), "{} of {} failed\n{}", failed.len(), verdicts.len(), failed.join("\n"));
    assert!(verdicts.len() > 410, "only {} cases", verdicts.len());
}

#[test]
fn random_formulas_do_as_under_the_oracle() {
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..count(800) {
        let mut random = Rng::with_seed(seed);
        let subject = nock::noun(&mut random, 5);
        let depth = random.u32(1..9);
        let formula = nock::formula(&mut random, depth);
        let end =
            compare(&subject, &formula).unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
        *ends.entry(end).or_default() += 1;
    }
    println!("{ends:?}");
    for end in ["product", "crash"] {
        assert!(ends.contains_key(end), "no formula ended with {end}: {ends:?}");
    }
}

fn eval(subject: &str, formula: &str) -> Result<Ref, Failure> {
    evaluate(parse(subject).unwrap(), parse(formula).unwrap())
}

fn evaluate(subject: Ref, formula: Ref) -> Result<Ref, Failure> {
    run(&Input::Pair(subject, formula), &Bounds::default()).result
}

fn atom(number: i64) -> Ref {
    number.into()
}

#[test]
fn formulas_nest_a_million_deep() {
    let deep = (0..1_000_000).fold(Ref::cell(atom(0), atom(1)), |formula, _| Ref::cell(atom(4), formula));
    assert_eq!(evaluate(atom(5), deep), Ok(atom(1_000_005)));
    let deep = (0..1_000_000).fold(Ref::cell(atom(4), Ref::cell(atom(0), atom(1))), |formula, _| {
        Ref::cell(atom(7), Ref::cell(Ref::cell(atom(0), atom(1)), formula))
    });
    assert_eq!(evaluate(atom(5), deep), Ok(atom(6)));
    let wide = (0..300_000)
        .fold(Ref::cell(atom(1), atom(0)), |formula, _| Ref::cell(Ref::cell(atom(0), atom(1)), formula));
    let product = evaluate(atom(7), wide).unwrap();
    assert_eq!(product, (0..300_000).fold(atom(0), |list, _| Ref::cell(atom(7), list)));
}

#[test]
fn a_formula_that_shares_its_parts_is_compiled_in_proportion() {
    // [a a] of itself, 60 times: a tree of 2^60 leaves of which each level is one noun.
    let shared = (0..60).fold(Ref::cell(atom(0), atom(1)), |formula, _| {
        Ref::cell(atom(5), Ref::cell(formula.clone(), formula))
    });
    let bounds = Bounds { max_computation: 1_000_000, ..Bounds::default() };
    let ran = run(&Input::Pair(atom(0), shared), &bounds);
    assert_eq!(ran.result, Err(Failure::Limit("max_computation")));
    assert!(ran.functions < 20_000, "{} functions", ran.functions);
}

/// Counts to a bound by a call that is not known before it is made: `[2 …]` with the formula in the subject.
#[test]
fn tail_calls_take_no_room() {
    // [formula counter bound]
    let formula = "[6 [5 [0 6] 0 7] [0 6] 2 [[0 2] [4 0 6] 0 7] 0 2]";
    let subject = parse(&format!("[{formula} 0 300000]")).unwrap();
    let bounds = Bounds { max_stack_depth: 20, max_memory: 1 << 20, ..Bounds::default() };
    let ran = run(&Input::Pair(subject, parse("[2 [0 1] 0 2]").unwrap()), &bounds);
    assert_eq!(ran.result, Ok(atom(300_000)));
}

/// Makes so many cells of 24 bytes, a list of `kept` numbers at most at one time: 12 counts all, 26 those of the list 27.
fn lists(cells: u64, kept: u64) -> Ref {
    let next = "9 2 10 [6 [4 0 12] [4 0 26] [0 12] 0 27] 0 1";
    let drop = "[9 2 10 [6 [4 0 12] [1 0] 1 0] 0 1]";
    let formula = format!(
        "[8 [1 0 0 0] 8 [1 6 [5 [0 12] 1 {cells}] [0 12] 6 [5 [0 26] 1 {kept}] {drop} {next}] 9 2 0 1]"
    );
    parse(&formula).unwrap()
}

#[test]
fn what_is_dropped_is_given_back() {
    let bounds = Bounds { max_memory: 1 << 20, ..Bounds::default() };
    // 1.2 GB in all, or a terabyte.
    let cells = pick(50_000_000, 41_700_000_000);
    let ran = run(&Input::Pair(atom(0), lists(cells, 1_000)), &bounds);
    assert_eq!(ran.result, Ok(atom(cells as i64)));
    // What is not dropped is not given back.
    let ran = run(&Input::Pair(atom(0), lists(cells, cells)), &bounds);
    assert_eq!(ran.result, Err(Failure::Limit("max_memory")));
}

#[test]
fn limits_are_told_from_crashes() {
    let endless = parse("[8 [1 9 2 0 1] 9 2 0 1]").unwrap();
    let bounds = Bounds { max_computation: 100_000, ..Bounds::default() };
    let limited = |formula: &Ref, bounds: &Bounds| run(&Input::Pair(atom(0), formula.clone()), bounds).result;
    assert_eq!(limited(&endless, &bounds), Err(Failure::Limit("max_computation")));
    let deep = parse("[8 [1 4 9 2 0 1] 9 2 0 1]").unwrap();
    let bounds = Bounds { max_stack_depth: 1_000, ..Bounds::default() };
    assert_eq!(limited(&deep, &bounds), Err(Failure::Limit("max_stack_depth")));
    let large = parse("[8 [1 9 2 [0 2] [0 3] 0 3] 9 2 0 1]").unwrap();
    let bounds = Bounds { max_memory: 1 << 20, ..Bounds::default() };
    assert_eq!(limited(&large, &bounds), Err(Failure::Limit("max_memory")));
    assert_eq!(eval("5", "[0 2]"), Err(Failure::Crash));
    assert!(Failure::Crash.is_deterministic() && !Failure::Limit("max_memory").is_deterministic());
}

/// Each turn evaluates a formula that was never met before, `[1 n]`.
#[test]
fn more_formulas_than_a_program_has_functions_end_a_run_with_a_sentence() {
    let counting = |bound: &str| {
        let formula = format!(
            "[8 [1 0] 8 [1 6 [5 [0 6] 1 {bound}] [0 6] 8 [2 [0 1] [1 1] 0 6] 9 2 10 [6 4 0 14] 0 3] 9 2 0 1]"
        );
        run(&Input::Pair(atom(0), parse(&formula).unwrap()), &Bounds::default()).result
    };
    assert_eq!(counting("1.000"), Ok(atom(1_000)));
    let Err(Failure::Machine(sentence)) = counting("70.000") else { panic!("there is a product") };
    assert!(sentence.contains("more functions"), "{sentence}");
    assert!(!Failure::Machine(sentence).is_deterministic());
}

#[test]
fn ill_formed_formulas_crash_only_where_they_are_evaluated() {
    assert_eq!(eval("5", "[6 [1 0] [4 0 1] 99]"), Ok(atom(6)));
    assert_eq!(eval("5", "[6 [1 1] [4 0 1] 99]"), Err(Failure::Crash));
    for formula in
        ["5", "[5 1]", "[2 5]", "[9 [1 1] 0 1]", "[10 [0 0 1] 0 1]", "[6 [1 2] [0 1] 0 1]", "[13 0 1]"]
    {
        assert_eq!(eval("[1 2]", formula), Err(Failure::Crash), "{formula}");
    }
}

#[test]
fn hostile_jams_are_refused_and_take_no_memory() {
    let mut random = Rng::with_seed(7);
    for _ in 0..count(3_000) {
        let bytes: Vec<u8> = (0..random.usize(..24)).map(|_| random.u8(..)).collect();
        if let Ok(noun) = cue(&Bytes::from(bytes), 1 << 20) {
            let again = jam(&noun, 1 << 24).unwrap();
            assert_eq!(cue(&again, 1 << 24).unwrap(), noun);
        }
    }
    // A length that claims 2^40 bits: those that are not there are zeros.
    let claims = [0u8, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0];
    assert!(matches!(cue(&Bytes::copy_from_slice(&claims), 1 << 20), Err(_) | Ok(Ref::Int(_))));
    // Cells without end.
    assert!(cue(&Bytes::from(vec![0x55; 100_000]), 1 << 20).is_err());
    assert!(cue(&Bytes::new(), 1 << 20).is_err());
    let ran = run(&Input::Jam(Bytes::from_static(&[2])), &Bounds::default());
    assert!(matches!(ran.result, Err(Failure::Input(_))));
}

#[test]
fn jams_come_back_and_mugs_are_those_of_the_reference() {
    assert_eq!(mug(&parse("[1 2 3]").unwrap(), 1 << 20), Ok(0x3a81_1aec));
    let mut random = Rng::with_seed(3);
    for _ in 0..count(500) {
        let noun = nock::noun(&mut random, 8);
        assert_eq!(cue(&jam(&noun, 1 << 24).unwrap(), 1 << 24), Ok(noun));
    }
}
