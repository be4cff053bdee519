//! Any text assembles or is refused with errors; what assembles is disassembled and assembled to the same module.

#![no_main]

use dotvm_asm::{Options, assemble, disassemble};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = Options::for_file("fuzz.dasm");
    match assemble(text, &options) {
        Err(error) => assert!(!error.diagnostics.is_empty()),
        Ok(assembled) => {
            let text = disassemble(&assembled.module).expect("assembled code decodes");
            let again = assemble(&text, &options).expect("a disassembly assembles");
            assert_eq!(again.module, assembled.module);
        }
    }
});
