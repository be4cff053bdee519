//! PVM: what the frontend makes of programs runs as its oracle runs them.

use std::collections::BTreeMap;

use dotvm_test_modes::{pick, seeds};
use dotvm_tests::pvm::asm::assemble;
use dotvm_tests::pvm::programs::PROGRAMS;
use dotvm_tests::pvm::{Case, Final, compare, compare_translated, generate, translate};

/// Runs cases; answers how they ended.
fn all(cases: impl Iterator<Item = (u64, Case)>) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for (seed, case) in cases {
        let Final { status, .. } =
            compare(&case).unwrap_or_else(|difference| panic!("seed {seed}: {difference}\n{case:?}"));
        *ends.entry(status).or_default() += 1;
    }
    ends
}

#[test]
fn random_programs_run_as_under_the_oracle() {
    let seeds = seeds(0..pick(600, 20_000));
    let ends = all(seeds.map(|seed| (seed, generate::case(seed, 8 + seed as usize % 120))));
    println!("{ends:?}");
    for status in ["end", "exception 0", "exception 1", "exception 2", "exception 4", "interrupt 32", "limit"]
    {
        assert!(ends.contains_key(status), "no program ended with {status}: {ends:?}");
    }
}

#[test]
fn noise_runs_as_under_the_oracle() {
    let ends = all(seeds(0..pick(300, 100_000)).map(|seed| (seed, generate::noise(seed))));
    println!("{ends:?}");
}

/// Every limit ends a program where it says, whatever the instruction there is.
#[test]
fn every_limit_ends_a_program_where_it_says() {
    for seed in 0..pick(5, 500) {
        let whole = generate::case(seed, 60);
        let program = translate(&whole);
        for budget in 0..120 {
            let case = Case { budget, ..whole.clone() };
            compare_translated(&program, &case)
                .unwrap_or_else(|difference| panic!("seed {seed}, limit {budget}: {difference}"));
        }
    }
}

/// Found by the random programs: a return to an address that is known, with another D than all jumps there have.
#[test]
fn a_known_return_does_not_assume_what_jumps_prove() {
    // push.q d; push.q #0x6d; pop.q d; swi #0x89
    let image = [0xCD, 0x07, 0xED, 0x00, 0x6D, 0, 0, 0, 0, 0, 0, 0, 0xCC, 0x70, 0x2E, 0x00, 0x89];
    let case = Case { image: image.to_vec(), input: Vec::new(), budget: 32, services: true };
    let end = compare(&case).unwrap_or_else(|difference| panic!("{difference}"));
    assert_eq!(end.status, "exception 2", "the second return leads outside the image");
}

#[test]
fn the_measured_programs_answer_what_arithmetic_says() {
    for program in PROGRAMS {
        let case =
            Case { image: assemble(program.listing), input: Vec::new(), budget: u64::MAX, services: true };
        let end = compare(&case).unwrap_or_else(|difference| panic!("{}: {difference}", program.name));
        assert_eq!((end.status.as_str(), end.registers[0]), ("exit", program.exit_code), "{}", program.name);
    }
}
