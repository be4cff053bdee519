//! The managed heap answers as trees do, counts exactly what is reachable, and keeps nothing at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotvm_tests::heap_model::run(bytes));
