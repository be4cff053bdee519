//! What the verifier accepts runs alike on the engine and on the reference interpreter. The engine's slot accesses
//! are checked, as debug assertions are on.

#![no_main]

use dotvm_core::limits::Limits;
use dotvm_core::outcome::{Invocation, Ref};
use dotvm_core::{container, env::Env, verify};
use dotvm_tests::mock_host::MockHost;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut sealed = bytes.to_vec();
    container::seal(&mut sealed);
    let Ok(module) = container::read(&sealed) else { return };
    let Ok(verified) = verify::verify(module) else { return };
    let limits =
        Limits { gas: 20_000, memory_pages: 4, call_depth: 20, stack_words: 5_000, ..Limits::default() };
    for function in 0..verified.functions().len().min(4) as u32 {
        let signature = verified.signature(function);
        let invocation = Invocation {
            function,
            words: vec![Default::default(); signature.words_in as usize],
            refs: vec![Ref::Null; signature.refs_in as usize],
        };
        let (mut left, mut right) = (MockHost::new(Env::default()), MockHost::new(Env::default()));
        let expected = dotvm_reference::run(&verified, &invocation, &limits, &mut left);
        let Ok(program) = dotvm_engine::lower(verified.clone()) else { return };
        let found = dotvm_engine::run_to_state(&program, &invocation, &limits, &mut right);
        match (expected, found) {
            (Ok(expected), Ok(found)) => {
                assert_eq!(expected, found);
                assert_eq!(left, right);
            }
            (Err(_), Err(_)) => {}
            (expected, found) => panic!("{expected:?} on the reference, {found:?} on the engine"),
        }
    }
});
