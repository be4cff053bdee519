//! Any bytes are cued or refused, and a pair is evaluated as the oracle does.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotvm_tests::nock::fuzz(bytes));
