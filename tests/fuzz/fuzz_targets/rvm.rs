//! Any bytes are a program of RVM, bytes or text, that translates to a module that verifies and runs as under the
//! oracle, or are refused by both. The first byte is the instruction limit.
#![no_main]

use dotvm_tests::rvm::{Case, compare};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&budget, main)) = bytes.split_first() else { return };
    let case = Case {
        main: main.to_vec(),
        input: b"in\nput".to_vec(),
        budget: u64::from(budget) * 8,
        ..Case::default()
    };
    if let Err(difference) = compare(&case) {
        panic!("{difference}");
    }
});
