//! Any bytes are read or refused, and what is read is the one encoding of its module.

#![no_main]

use dotvm_core::container;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // Behind the checksum, which random bytes hardly ever match.
    let mut sealed = bytes.to_vec();
    container::seal(&mut sealed);
    read(&sealed);
});

fn read(bytes: &[u8]) {
    match container::read(bytes) {
        Ok(module) => assert_eq!(container::write(&module).as_deref(), Ok(bytes)),
        Err(error) => {
            assert!(error.offset <= bytes.len());
            assert!(!error.to_string().is_empty());
        }
    }
}
