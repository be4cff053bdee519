//! NVM: what the frontend makes of programs runs as its oracle runs them.

use std::collections::BTreeMap;

use dotvm_test_modes::{pick, seeds};
use dotvm_tests::nvm::programs::PROGRAMS;
use dotvm_tests::nvm::{Case, assemble, compare, compare_translated, generate, translate};

/// Runs cases; counts how they ended: statuses, and the faults of all processes.
fn all(cases: impl Iterator<Item = (u64, Case)>) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for (seed, case) in cases {
        let end = compare(&case).unwrap_or_else(|difference| panic!("seed {seed}: {difference}\n{case:?}"));
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let faults = end.fields["processes"].as_array().expect("a list").iter().map(|end| text(&end[2]));
        for name in faults.chain([text(&end.fields["status"])]).flatten() {
            *ends.entry(name).or_default() += 1;
        }
    }
    ends
}

#[test]
fn random_programs_run_as_under_the_oracle() {
    let ends =
        all(seeds(0..pick(500, 20_000)).map(|seed| (seed, generate::case(seed, 8 + seed as usize % 60))));
    println!("{ends:?}");
    for name in [
        "exit",
        "limit",
        "deadlock",
        "stack_underflow",
        "stack_overflow",
        "division_by_zero",
        "invalid_opcode",
        "bad_jump",
        "bad_frame",
        "heap_bounds",
        "bad_address",
        "cap_denied",
    ] {
        assert!(ends.contains_key(name), "no program ended with {name}: {ends:?}");
    }
}

#[test]
fn noise_runs_as_under_the_oracle() {
    let ends = all(seeds(0..pick(300, 20_000)).map(|seed| (seed, generate::noise(seed))));
    println!("{ends:?}");
}

/// Every limit ends a program where it says, whatever the instruction there is.
#[test]
fn every_limit_ends_a_program_where_it_says() {
    for seed in 0..pick(4, 300) {
        let whole = generate::case(seed, 30);
        let program = translate(&whole);
        for budget in 0..150 {
            let case = Case { budget, ..whole.clone() };
            compare_translated(&program, &case)
                .unwrap_or_else(|difference| panic!("seed {seed}, limit {budget}: {difference}"));
        }
    }
}

#[test]
fn the_measured_programs_answer_what_arithmetic_says() {
    for program in PROGRAMS {
        let case = Case::new(assemble(program.text), u64::MAX);
        let end = compare(&case).unwrap_or_else(|difference| panic!("{}: {difference}", program.name));
        assert_eq!(end.fields["processes"][0][1], program.exit_code, "{}", program.name);
    }
}
