//! Tasks that begin, join, kill, wake and talk to each other have one history: on the reference interpreter, on the
//! engine, and on the engine stopped anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotvm_tests::task_model::run(bytes));
