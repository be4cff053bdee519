//! RVM: what the frontend makes of programs runs as its oracle runs them.

use std::collections::BTreeMap;

use dotvm_test_modes::{pick, seeds};
use dotvm_tests::rvm::programs::PROGRAMS;
use dotvm_tests::rvm::{Case, compare, compare_translated, generate, translate};

fn samples() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/rvm")
}

#[test]
fn samples_run_as_under_the_oracle() {
    let mut libraries = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(samples()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        libraries.insert(name, std::fs::read(path).expect("a file"));
    }
    let mut failed = Vec::new();
    for (name, main) in libraries.iter().filter(|(name, _)| name.ends_with(".ras")) {
        let case =
            Case { main: main.clone(), libraries: libraries.clone(), budget: 1_000_000, ..Case::default() };
        match compare(&case) {
            Ok(end) => println!("{name}: {} {:?}", end.status, String::from_utf8_lossy(&end.output)),
            Err(difference) => failed.push(format!("{name}: {difference}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs cases; answers how they ended.
fn all(cases: impl Iterator<Item = (u64, Case)>) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for (seed, case) in cases {
        let end = compare(&case).unwrap_or_else(|difference| {
            panic!("seed {seed}: {difference}\n{}", String::from_utf8_lossy(&case.main))
        });
        let status = if end.status.starts_with("refused") { "refused".to_owned() } else { end.status };
        *ends.entry(status).or_default() += 1;
    }
    ends
}

#[test]
fn random_programs_run_as_under_the_oracle() {
    let ends =
        all(seeds(0..pick(600, 20_000)).map(|seed| (seed, generate::case(seed, 5 + seed as usize % 40))));
    println!("{ends:?}");
    assert!(!ends.contains_key("refused"), "{ends:?}");
    for status in
        ["halt 0", "limit", "error 2", "error 4", "error 5", "error 13", "error 14", "error 15", "error 16"]
    {
        assert!(ends.contains_key(status), "no program ended with {status}: {ends:?}");
    }
}

#[test]
fn noise_runs_as_under_the_oracle() {
    let ends = all(seeds(0..pick(600, 100_000)).map(|seed| (seed, generate::noise(seed))));
    println!("{ends:?}");
    assert!(ends.len() > 3, "{ends:?}");
}

#[test]
fn noise_of_text_is_refused_or_runs() {
    for seed in seeds(0..pick(600, 100_000)) {
        let case = Case { main: generate::text_noise(seed), budget: 1_000, ..Case::default() };
        compare(&case).unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
    }
}

#[test]
fn the_measured_programs_answer_what_arithmetic_says() {
    for program in PROGRAMS {
        let end = compare(&Case::assembly(program.text))
            .unwrap_or_else(|difference| panic!("{}: {difference}", program.name));
        assert_eq!(
            (end.status.as_str(), &end.output[..]),
            ("halt 0", program.output.as_bytes()),
            "{}",
            program.name
        );
    }
}

/// Every limit ends a program where it says, whatever the instruction there is.
#[test]
fn every_limit_ends_a_program_where_it_says() {
    for seed in 0..pick(8, 500) {
        let whole = generate::case(seed, 20);
        let Ok(program) = translate(&whole) else { continue };
        for budget in 0..150 {
            let case = Case { budget, ..whole.clone() };
            compare_translated(&program, &case)
                .unwrap_or_else(|difference| panic!("seed {seed}, limit {budget}: {difference}"));
        }
    }
}
