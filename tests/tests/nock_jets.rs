//! Jets of Nock: registration, jets against their formulas, Nock within Nock, kept products.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use dotvm_core::value::Ref;
use dotvm_nock_machine::text::{Style, parse, show};
use dotvm_nock_machine::{Bounds, Failure, Input, Jets, Ran, Settings, cue, jet_paths, mug, run, run_with};
use dotvm_tests::nock;
use fastrand::Rng;
use num_bigint::BigInt;

fn noun(text: &str) -> Ref {
    parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message))
}

fn atom(number: impl Into<BigInt>) -> Ref {
    Ref::Int(number.into())
}

fn text(noun: &Ref) -> String {
    let mut text = show(noun, Style::PLAIN);
    text.truncate(2_000);
    text
}

fn settings(jets: Jets) -> Settings {
    Settings { jets, ..Settings::default() }
}

/// A gate with this battery and the sample `[17 4]`, and its context: a core `one`, whose context is the root.
fn cores(gate: &str) -> (String, String) {
    let root = "[[1 7] 138]";
    let one = format!("[[1 1] 0 {root}]");
    (format!("[{gate} [17 4] {one}]"), one)
}

#[test]
fn cores_match_by_path_and_by_every_battery_up_to_the_root() {
    // The formula answers the first argument, so that the jet, which adds, can be told from it.
    let (gate, one) = cores("[0 12]");
    let subject = |gate: &str| noun(&format!("[{gate} {one} [[1 7] 138] [0 12] [1 1] 138]"));
    let end = |gate: &str, formula: &str, jets: Jets| {
        run_with(&Input::Pair(subject(gate), noun(formula)), &Bounds::default(), &settings(jets)).result
    };
    let root = "[11 [%fast 1 [%k 138] [1 0] 0] [0 14]]";
    let parent = "[11 [%fast 1 %one [0 7] 0] [0 6]]";
    let add = |name: &str| format!("[11 [%fast 1 {name} [0 7] 0] [0 2]]");
    let all = |name: &str, call: &str| format!("[8 [{root} {parent} {}] 7 [0 3] {call}]", add(name));
    let call = "[9 2 0 2]";
    assert_eq!(end(&gate, &all("%add", call), Jets::On), Ok(atom(21)), "it is registered");
    assert_eq!(end(&gate, &all("%add", call), Jets::Off), Ok(atom(17)), "there are no jets");
    assert_eq!(end(&gate, call, Jets::On), Ok(atom(17)), "it is not registered");
    assert_eq!(end(&gate, &all("%sum", call), Jets::On), Ok(atom(17)), "no jet has this path");
    for missing in [
        format!("[8 [{parent} {}] 7 [0 3] {call}]", add("%add")),
        format!("[8 [{root} {}] 7 [0 3] {call}]", add("%add")),
        format!("[8 [{root} {parent}] 7 [0 3] {call}]"),
        // The parent is registered after its child.
        format!("[8 [{root} {} {parent}] 7 [0 3] {call}]", add("%add")),
    ] {
        assert_eq!(end(&gate, &missing, Jets::On), Ok(atom(17)), "{missing}");
    }
    // Another battery of the same shape, another battery of the parent, another root: none is the one that was registered.
    let others = [
        ("[9 2 10 [2 1 0 13] 0 2]", 4),
        ("[9 2 10 [14 1 1 2] 0 2]", 17),
        ("[9 2 10 [63 1 139] 0 2]", 17),
        ("[9 2 10 [62 1 1 8] 0 2]", 17),
    ];
    for (call, product) in others {
        assert_eq!(end(&gate, &all("%add", call), Jets::On), Ok(atom(product)), "{call}");
    }
    // What is equal but elsewhere in memory is.
    for same in ["[9 2 10 [2 0 30] 0 2]", "[9 2 10 [14 0 62] 0 2]", "[9 2 10 [63 0 63] 0 2]"] {
        assert_eq!(end(&gate, &all("%add", same), Jets::On), Ok(atom(21)), "{same}");
    }
    // Also as a tail call within the battery's own code, and by 2.
    assert_eq!(end(&gate, &all("%add", "[2 [0 2] 0 4]"), Jets::On), Ok(atom(21)));
    let Err(Failure::Machine(difference)) = end(&gate, &all("%add", call), Jets::Compare) else {
        panic!("the difference is not found")
    };
    assert!(difference.contains("k.138/one/add"), "{difference}");
    let (crashing, _) = cores("[0 0]");
    assert_eq!(end(&crashing, &all("%add", call), Jets::On), Ok(atom(21)));
    let Err(Failure::Machine(difference)) = end(&crashing, &all("%add", call), Jets::Compare) else {
        panic!("the difference is not found")
    };
    assert!(difference.contains("crashes"), "{difference}");
}

#[test]
fn hints_that_are_no_clues_are_passed_over() {
    for clue in [
        "0",
        "[1 2]",
        "[%add 5 0]",
        "[%add [0 0] 0]",
        "[%add [0 2] 0]",
        "[[1 2 3] [1 0] 0]",
        "[[%k [1 2]] [1 0] 0]",
    ] {
        let formula = format!("[11 [%fast 1 {clue}] 0 1]");
        let end = run(&Input::Pair(noun("[[1 7] 138]"), noun(&formula)), &Bounds::default()).result;
        assert_eq!(end, Ok(noun("[[1 7] 138]")), "{clue}");
        let end = run(&Input::Pair(noun("5"), noun(&formula)), &Bounds::default()).result;
        assert_eq!(end, Ok(atom(5)), "{clue}");
    }
    let end = run(&Input::Pair(noun("5"), noun("[11 [%fast 0 0] 0 1]")), &Bounds::default()).result;
    assert_eq!(end, Err(Failure::Crash), "a clue that crashes");
}

#[test]
fn kept_products_skip_no_clue_that_crashes() {
    let eval = |formula: &str| run(&Input::Pair(atom(5), noun(formula)), &Bounds::default());
    // f counts to 30,000.
    let f = "[8 [1 0] 8 [1 6 [5 [0 6] 1 30.000] [0 6] 9 2 10 [6 4 0 6] 0 1] 9 2 0 1]";
    let once = eval(&format!("[11 [%memo 1 0] {f}]"));
    let twice = eval(&format!("[[11 [%memo 1 0] {f}] 11 [%memo 1 1] {f}]"));
    let plain = eval(&format!("[{f} {f}]"));
    assert_eq!(twice.result, plain.result);
    assert!(twice.gas_used < once.gas_used + once.gas_used / 10, "{} {}", twice.gas_used, once.gas_used);
    assert!(plain.gas_used > once.gas_used * 3 / 2);
    assert_eq!(eval(&format!("[[11 [%memo 1 0] {f}] 11 [%memo 0 0] {f}]")).result, Err(Failure::Crash));
    assert_eq!(eval("[11 [%memo 1 0] 0 0]").result, Err(Failure::Crash));
    // Another subject is another product.
    let formula = noun("[7 [[0 1] 4 0 1] [11 [%memo 1 0] 4 0 2] 11 [%memo 1 0] 4 0 3]");
    assert_eq!(run(&Input::Pair(atom(5), formula), &Bounds::default()).result, Ok(noun("[6 7]")));
}

/// A run of the compiler of Hoon, with the cores of its standard library.
static COMPILER: LazyLock<Ran> = LazyLock::new(|| {
    let cores = ["one", "one/two", "one/two/tri", "one/two/tri/qua"].map(|path| format!("k.138/{path}"));
    let settings = Settings { cores: cores.to_vec(), ..Settings::default() };
    run_with(&Input::Jam(program("hoonc-build-trivial.jam")), &Bounds::default(), &settings)
});

fn program(name: &str) -> bytes::Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/nock/programs").join(name);
    std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}")).into()
}

#[test]
fn the_compiler_of_hoon_compiles() {
    let product = COMPILER.result.as_ref().expect("it has a product");
    assert_eq!(mug(product, 1 << 30), Ok(2_130_236_378));
    let expected = cue(&program("hoonc-build-trivial.product.jam"), 1 << 30).unwrap();
    assert_eq!(dotvm_nock_machine::jam(product, 1 << 30), dotvm_nock_machine::jam(&expected, 1 << 30));
    assert!(COMPILER.jets.len() > 50, "only {} jets were called", COMPILER.jets.len());
    let again = run(&Input::Jam(program("hoonc-build-trivial.jam")), &Bounds::default());
    assert_eq!(again.gas_used, COMPILER.gas_used);
}

fn core(path: &str) -> &'static Ref {
    let found = COMPILER.cores.iter().find(|(other, _)| other == path);
    &found.unwrap_or_else(|| panic!("{path} is not registered")).1
}

fn parts(noun: &Ref) -> Option<(&Ref, &Ref)> {
    match noun {
        Ref::Cell(cell) => Some((cell.head(), cell.tail())),
        _ => None,
    }
}

/// The axis of the arm whose formula registers a core of this name, in a battery.
fn arm(battery: &Ref, name: &str) -> Option<u64> {
    let wanted = noun(&format!("%{name}"));
    let fast = noun("%fast");
    let registers = |formula: &Ref| -> bool {
        let mut formula = formula;
        while let Some((op, rest)) = parts(formula) {
            let Some((hint, body)) = parts(rest) else { return false };
            if *op == atom(7) {
                formula = body;
                continue;
            }
            if *op != atom(11) {
                return false;
            }
            if let Some((tag, clue)) = parts(hint)
                && *tag == fast
                && let Some((_, constant)) = parts(clue)
                && parts(constant).is_some_and(|(chum, _)| *chum == wanted)
            {
                return true;
            }
            formula = body;
        }
        false
    };
    let mut level = vec![(1u64, battery)];
    for _ in 0..28 {
        if let Some((axis, _)) = level.iter().find(|(_, part)| registers(part)) {
            return Some(*axis);
        }
        level = level
            .iter()
            .filter_map(|(axis, part)| Some((axis, parts(part)?)))
            .flat_map(|(axis, (head, tail))| [(2 * axis, head), (2 * axis + 1, tail)])
            .collect();
    }
    None
}

/// A formula that registers the cores from the root to that at a path, which is at axis 2 of its subject, and goes on.
fn registering(path: &str, go_on: &str) -> String {
    let names: Vec<&str> = path.split('/').collect();
    let mut hints = Vec::new();
    let mut axis = 2u64;
    for (index, name) in names.iter().enumerate().rev() {
        let hint = if index == 0 {
            format!("[11 [%fast 1 [%k 138] [1 0] 0] 0 {axis}]")
        } else {
            format!("[11 [%fast 1 %{name} [0 3] 0] 0 {axis}]")
        };
        hints.push(hint);
        axis = 2 * axis + 1;
    }
    hints.reverse();
    format!("[8 [{} 1 0] 7 [0 3] {go_on}]", hints.join(" "))
}

/// The product of a gate of the standard library.
fn slam(path: &str, sample: Ref, jets: Jets) -> Ran {
    let (library, name) = path.rsplit_once('/').expect("a path");
    let library_core = core(library);
    let (battery, _) = parts(library_core).expect("a core");
    let axis = peg(2, arm(battery, name).unwrap_or_else(|| panic!("{path} has no arm")));
    let formula = registering(library, &format!("[8 [9 {axis} 0 2] 9 2 10 [6 0 7] 0 2]"));
    let subject = Ref::cell(library_core.clone(), sample);
    let bounds = Bounds { max_computation: 20_000_000_000, ..Bounds::default() };
    run_with(&Input::Pair(subject, noun(&formula)), &bounds, &settings(jets))
}

fn peg(a: u64, b: u64) -> u64 {
    let steps = b.ilog2();
    a << steps | (b - (1 << steps))
}

fn cell(a: Ref, b: Ref) -> Ref {
    Ref::cell(a, b)
}

fn list(items: Vec<Ref>) -> Ref {
    items.into_iter().rev().fold(atom(0), |list, item| cell(item, list))
}

fn small(random: &mut Rng) -> Ref {
    atom(random.u64(..200))
}

fn large(random: &mut Rng) -> Ref {
    match random.u8(..4) {
        0 => small(random),
        1 => atom((BigInt::from(1) << random.u32(58..70)) - random.u8(..3)),
        2 => atom(random.u64(..)),
        _ => atom(BigInt::from(random.u128(..)) << random.u32(..120)),
    }
}

fn nouns(random: &mut Rng) -> Ref {
    nock::noun(random, 3)
}

fn some(random: &mut Rng, item: fn(&mut Rng) -> Ref) -> Ref {
    let count = random.usize(..6);
    list((0..count).map(|_| item(random)).collect())
}

/// A block size, or one with a number of blocks.
fn bite(random: &mut Rng) -> Ref {
    let bloq = atom(random.u64(..7));
    if random.bool() { bloq } else { cell(bloq, atom(random.u64(1..5))) }
}

fn bloq(random: &mut Rng) -> Ref {
    atom(random.u64(..7))
}

type Sample = fn(&mut Rng) -> Ref;

/// Samples on which the formulas end in reasonable time.
const SAMPLES: &[(&str, Sample)] = &[
    ("one/add", |r| cell(small(r), large(r))),
    ("one/dec", small),
    ("one/div", |r| quotient(r)),
    ("one/dvr", |r| quotient(r)),
    ("one/mod", |r| quotient(r)),
    ("one/gte", |r| cell(small(r), small(r))),
    ("one/gth", |r| cell(small(r), large(r))),
    ("one/lte", |r| cell(large(r), small(r))),
    ("one/lth", |r| cell(small(r), small(r))),
    ("one/max", |r| cell(small(r), large(r))),
    ("one/min", |r| cell(small(r), large(r))),
    ("one/mul", |r| cell(small(r), large(r))),
    ("one/sub", |r| cell(large(r), small(r))),
    ("one/cap", large),
    ("one/mas", large),
    ("one/peg", |r| cell(large(r), large(r))),
    ("one/two/find", |r| {
        let few = |r: &mut Rng| atom(r.u64(..3));
        cell(some(r, few), list((0..12).map(|_| few(r)).collect()))
    }),
    ("one/two/flop", |r| some(r, nouns)),
    ("one/two/lent", |r| some(r, nouns)),
    ("one/two/reap", |r| cell(small(r), nouns(r))),
    ("one/two/scag", |r| cell(atom(r.u64(..8)), some(r, nouns))),
    ("one/two/snag", |r| cell(atom(r.u64(..6)), some(r, nouns))),
    ("one/two/snip", |r| some(r, nouns)),
    ("one/two/weld", |r| cell(some(r, nouns), some(r, nouns))),
    ("one/two/zing", |r| some(r, |r| some(r, nouns))),
    ("one/two/bex", small),
    ("one/two/can", |r| cell(bloq(r), some(r, |r| cell(atom(r.u64(..5)), large(r))))),
    ("one/two/cat", |r| cell(bloq(r), cell(large(r), large(r)))),
    ("one/two/cut", |r| cell(bloq(r), cell(cell(atom(r.u64(..9)), atom(r.u64(..9))), large(r)))),
    ("one/two/end", |r| cell(bite(r), large(r))),
    ("one/two/lsh", |r| cell(bite(r), large(r))),
    ("one/two/met", |r| cell(bloq(r), large(r))),
    ("one/two/rap", |r| cell(bloq(r), some(r, large))),
    ("one/two/rep", |r| cell(bite(r), some(r, large))),
    ("one/two/rev", |r| cell(bloq(r), cell(atom(r.u64(..20)), large(r)))),
    ("one/two/rip", |r| cell(bite(r), large(r))),
    ("one/two/rsh", |r| cell(bite(r), large(r))),
    ("one/two/sew", |r| {
        cell(bloq(r), cell(cell(atom(r.u64(..5)), cell(atom(r.u64(..5)), large(r))), large(r)))
    }),
    ("one/two/xeb", large),
    ("one/two/con", |r| cell(large(r), large(r))),
    ("one/two/dis", |r| cell(large(r), large(r))),
    ("one/two/mix", |r| cell(large(r), large(r))),
    ("one/two/mug", nouns),
    ("one/two/dor", |r| cell(nock::noun(r, 1), nock::noun(r, 1))),
    ("one/two/gor", |r| cell(nouns(r), nouns(r))),
    ("one/two/mor", |r| cell(nouns(r), nouns(r))),
    ("one/two/jam", nouns),
    ("one/two/tri/shax", |r| small(r)),
    ("one/two/tri/qua/trip", large),
];

/// A dividend that holds the divisor a few times.
fn quotient(random: &mut Rng) -> Ref {
    let Ref::Int(divisor) = large(random) else { return atom(0) };
    let dividend = &divisor * random.u64(..100) + random.u64(..5);
    cell(atom(dividend), atom(divisor))
}

#[test]
fn jets_do_as_their_formulas() {
    let times = std::env::var("DOTVM_LONG").ok().and_then(|number| number.parse().ok()).unwrap_or(12);
    let mut called = Vec::new();
    for (path, sample) in SAMPLES {
        let path = format!("k.138/{path}");
        let mut random = Rng::with_seed(path.len() as u64);
        let (mut products, mut own) = (0, 0);
        for _ in 0..times {
            let sample = sample(&mut random);
            let compared = slam(&path, sample.clone(), Jets::Compare);
            let with = slam(&path, sample.clone(), Jets::On);
            match &compared.result {
                Ok(_) => products += 1,
                Err(Failure::Crash) => {}
                Err(failure) => panic!("{path} {}: {failure}", text(&sample)),
            }
            assert_eq!(with.result, compared.result, "{path} {}", text(&sample));
            own += with.jets.iter().filter(|jet| jet.path == path).map(|jet| jet.products).sum::<u64>();
        }
        assert!(products > 0, "{path} has no product");
        assert!(own > 0, "the jet {path} was never called");
        called.push(path);
    }
    let untested: Vec<&str> = jet_paths().filter(|path| !called.iter().any(|other| other == path)).collect();
    println!("tested elsewhere: {untested:?}");
}

/// What the jet of a path does, for a gate that is registered with it whose own formula answers its sample.
fn jet(path: &str, sample: Ref) -> Result<Ref, Failure> {
    let names: Vec<&str> = path.split('/').collect();
    let mut context = noun("[[1 0] 138]");
    for (number, _) in names[1..names.len() - 1].iter().enumerate() {
        context = cell(cell(atom(1), atom(number as i64 + 1)), context);
    }
    let (library, name) = path.rsplit_once('/').expect("a path");
    // [library sample], of which a gate is made.
    let gate = format!("[11 [%fast 1 %{name} [0 7] 0] [1 0 6] [0 3] 0 2]");
    let formula = registering(library, &format!("[8 {gate} 9 2 0 2]"));
    run(&Input::Pair(cell(context, sample), noun(&formula)), &Bounds::default()).result
}

#[test]
fn the_farther_trace_is_last() {
    for (sample, last) in [
        ("[[1 5] 1 4]", "[1 5]"),
        ("[[1 5] 2 1]", "[2 1]"),
        ("[[3 1] 2 9]", "[3 1]"),
        ("[[1 5] 1 5]", "[1 5]"),
    ] {
        assert_eq!(jet("k.138/one/two/tri/qua/last", noun(sample)), Ok(noun(last)), "{sample}");
    }
    // What is no trace is left to the formula.
    assert_eq!(jet("k.138/one/two/tri/qua/last", atom(5)), Ok(atom(5)));
}

#[test]
fn hashes_are_those_of_the_standards() {
    // FIPS 180-4: the digests of "abc", the low byte first.
    let digest = |hex: &str| {
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        atom(BigInt::from_bytes_le(num_bigint::Sign::Plus, &bytes))
    };
    let sha_256 = digest("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let sha_512 = digest(
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    );
    let abc = || noun("'abc'");
    assert_eq!(slam("k.138/one/two/tri/shax", abc(), Jets::On).result, Ok(sha_256.clone()));
    assert_eq!(slam("k.138/one/two/tri/shay", cell(atom(3), abc()), Jets::On).result, Ok(sha_256));
    assert_eq!(slam("k.138/one/two/tri/shal", cell(atom(3), abc()), Jets::On).result, Ok(sha_512));
}

/// Formulas as Nock within Nock, by the jet and by the interpreter that Hoon has of it.
#[test]
fn nock_within_nock_is_that_of_its_formula() {
    let crash = "[1 0 0]";
    let scries = [
        // [~ ~ product], block, crash, and what is no unit.
        "[[1 0 0 0 12] 0 0]",
        "[[1 0] 0 0]",
        "[[1 0 0] 0 0]",
        "[[0 0] 0 0]",
        "[[1 3] 0 0]",
        "[[1 0 5] 0 0]",
    ];
    let mut cases: Vec<(String, String, String)> = Vec::new();
    for formula in [
        "[0 1]",
        "[0 6]",
        "5",
        crash,
        "[4 0 3]",
        "[11 [%spot 1 1 2] 0 0]",
        "[11 [%mean 0 1] 7 [11 [%hunk 1 3] 0 1] 0 0]",
        "[11 [[1 2] 1 3] 0 1]",
        "[11 %spot 0 0]",
        "[11 [%none 1 3] 0 0]",
        "[[11 [%mean 1 1] 0 1] 0 0]",
        "[11 [%lose 1 1] [11 [%hand 1 1] 4 0 1] 0 0]",
        // A loop that ends in a crash: each turn leaves its hint on the trace.
        "[8 [1 0] 8 [1 6 [5 [0 6] 1 3] [0 0] 11 [%mean 0 6] 9 2 10 [6 4 0 6] 0 1] 9 2 0 1]",
        "[11 [%mean 1 9] 12 [1 5] 1 6]",
        "[12 [0 0] 1 6]",
        "[12 [1 1] 0 0]",
        "[[12 [1 5] 1 6] 12 [1 7] 1 8]",
        "[11 [%mean 1 9] 9 2 0 1]",
        "[10 [0 12 [1 1] 1 1] 0 1]",
        "[6 [1 2] [1 1] 1 1]",
        "[2 [0 3] 0 2]",
    ] {
        for scry in scries {
            cases.push(("[[4 0 3] 7]".to_owned(), formula.to_owned(), scry.to_owned()));
        }
    }
    let mut random = Rng::with_seed(5);
    for _ in 0..40 {
        let depth = random.u32(1..5);
        let formula = nock::formula(&mut random, depth);
        let subject = nock::noun(&mut random, 3);
        let show = |noun: &Ref| show(noun, Style::PLAIN);
        cases.push((show(&subject), show(&formula), scries[0].to_owned()));
    }
    let mut kinds = [0; 4];
    for (subject, formula, scry) in cases {
        let sample = noun(&format!("[[{subject} {formula}] {scry}]"));
        let path = "k.138/one/two/tri/qua/mink";
        let with = slam(path, sample.clone(), Jets::On);
        let without = slam(path, sample, Jets::Off);
        assert_eq!(with.result, without.result, "[{subject} {formula}] {scry}");
        match &with.result {
            Ok(tone) => {
                let kind = parts(tone).map(|(kind, _)| kind.clone());
                let kind = (0..3).find(|number| kind == Some(atom(*number))).expect("a tone");
                kinds[kind as usize] += 1;
            }
            Err(_) => kinds[3] += 1,
        }
    }
    assert!(kinds.iter().all(|count| *count > 1), "{kinds:?}");
}

#[test]
fn slog_is_said_and_changes_nothing() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let print = Arc::new(move |line: &str| kept.lock().unwrap().push(line.to_owned()));
    let settings = Settings { print: Some(print), ..Settings::default() };
    let formula =
        "[11 [%slog 1 0 %rose [[44 32 0] ['[' 0] ']' 0] [%leaf 'a' 'b' 0] %c 0] [11 [%slog 1 5] 4 0 1]]";
    let ran = run_with(&Input::Pair(atom(41), noun(formula)), &Bounds::default(), &settings);
    assert_eq!(ran.result, Ok(atom(42)));
    assert_eq!(*lines.lock().unwrap(), ["[ab, c]"]);
}

#[test]
fn the_compiler_of_hoon_is_compared_with_its_formulas() {
    if std::env::var_os("DOTVM_LONG").is_none() {
        return;
    }
    let ran = run_with(
        &Input::Jam(program("hoonc-build-trivial.jam")),
        &Bounds::default(),
        &settings(Jets::Compare),
    );
    assert_eq!(ran.result.map(|product| mug(&product, 1 << 30)), Ok(Ok(2_130_236_378)));
}
