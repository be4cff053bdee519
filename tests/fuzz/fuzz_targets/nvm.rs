//! Any bytes behind the signature are an image of NVM that translates to a module that verifies and runs as under the
//! oracle; other bytes are refused, or assemble, without a panic. The first two bytes are the instruction limit, the
//! interface, the capabilities and the input.
#![no_main]

use dotvm_frontend::{Frontend, Source};
use dotvm_nvm::{Nvm, SIGNATURE};
use dotvm_tests::nvm::{Case, compare};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[budget, settings], rest)) = bytes.split_first_chunk() else { return };
    // As it is: an image, a text, or neither.
    for name in ["case.nvm", "case.asm", "case"] {
        let _ = Nvm.parse(&Source::new(name, rest));
    }
    if rest.len() > 70_000 {
        return;
    }
    let mut case = Case::new([&SIGNATURE[..], rest].concat(), u64::from(budget) * 64);
    case.abi = ["auto", "stack", "heap"][usize::from(settings) % 3];
    case.capabilities = if settings & 0x80 == 0 { vec![0xFFFF] } else { vec![1, 2, 8] };
    case.input = vec![settings; usize::from(settings % 4)];
    case.files.insert(b"/a".to_vec(), case.image.clone());
    // The name of what is random: its bytes differ.
    if b"urandom".iter().all(|letter| rest.contains(letter)) {
        return;
    }
    if let Err(difference) = compare(&case) {
        panic!("{difference}");
    }
});
