//! DotDB answers as ordered maps do: transactions, savepoints, conflicts, versions of the past, opening anew.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotvm_tests::dotdb_model::run(bytes));
