//! Contracts that call each other do what a few lines of Rust do: state, events and answers, failures undone.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotvm_tests::call_model::run(bytes));
