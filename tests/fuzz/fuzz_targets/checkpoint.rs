//! Checkpoints that were tampered with are refused, or make a machine that runs; so are their heads.

#![no_main]

use dotvm_runtime::MachineHead;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    dotvm_tests::damaged_machine::run(bytes);
    MachineHead::from_bytes(bytes).ok();
    // The same with a checksum that is right.
    let hash = blake3::hash(bytes);
    let sealed = [bytes, hash.as_bytes()].concat();
    if let Ok(head) = MachineHead::from_bytes(&sealed) {
        assert_eq!(head.to_bytes(), sealed);
    }
});
