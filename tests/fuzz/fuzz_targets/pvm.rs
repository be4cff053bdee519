//! Any bytes are an image of PVM that translates to a module that verifies and runs as under the oracle, or are
//! refused. The first two bytes are the instruction limit and the input.
#![no_main]

use dotvm_tests::pvm::{Case, compare};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[budget, settings], image)) = bytes.split_first_chunk() else { return };
    if image.len() > dotvm_pvm::IMAGE_BYTES {
        return;
    }
    let case = Case {
        image: image.to_vec(),
        input: vec![settings; usize::from(settings % 3)],
        budget: u64::from(budget) * 4,
        services: settings & 0x80 == 0,
    };
    if let Err(difference) = compare(&case) {
        panic!("{difference}");
    }
});
