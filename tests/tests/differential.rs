//! The engine against the reference interpreter on generated programs: outcome, gas, memory, globals and the host.

use dotvm_arch::Width;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{FinalState, Invocation, Outcome};
use dotvm_core::verify::Verified;
use dotvm_tests::differential::{compare, reference};
use dotvm_tests::mock_host::MockHost;

fn engine(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut MockHost,
) -> Result<(Outcome, FinalState), String> {
    let program = dotvm_engine::lower(verified.clone()).expect("generated modules can be lowered");
    dotvm_engine::run_to_state(&program, invocation, limits, host)
}

/// Seeds of each width, from DOTVM_SEEDS as `first..end` for longer runs.
fn agree(width: Width) {
    let seeds = std::env::var("DOTVM_SEEDS").map_or(0..150, |text| {
        let (first, end) = text.split_once("..").expect("DOTVM_SEEDS is first..end");
        let number = |text: &str| text.parse::<u64>().expect("DOTVM_SEEDS is first..end");
        number(first)..number(end)
    });
    compare(seeds.clone(), width, 8, &engine, &reference);
    compare(seeds, width, 40, &engine, &reference);
}

#[test]
fn words_of_32_bits() {
    agree(Width::W32);
}

#[test]
fn words_of_64_bits() {
    agree(Width::W64);
}

#[test]
fn words_of_128_bits() {
    agree(Width::W128);
}

#[test]
fn words_of_256_bits() {
    agree(Width::W256);
}

#[test]
fn words_of_512_bits() {
    agree(Width::W512);
}
