//! The verifier accepts or refuses any module that a file can hold.

#![no_main]

use dotvm_core::{container, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut sealed = bytes.to_vec();
    container::seal(&mut sealed);
    let Ok(module) = container::read(&sealed) else { return };
    match verify::verify(module) {
        Ok(verified) => assert_eq!(verified.functions().len(), verified.module().functions.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
