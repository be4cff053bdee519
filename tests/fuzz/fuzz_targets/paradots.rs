//! ParaDots over memory, globals and state that they share come to the same on the reference interpreter and on the
//! engine with any number of threads, stopped anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    dotvm_tests::dot_model::run(bytes);
});
