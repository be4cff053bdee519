//! Counts beyond the limits of a module, for reader and writer.

use dotvm_arch::{W512, Width};
use dotvm_core::capability::Capability;
use dotvm_core::container::{DEBUG_NAMES, Section, read, write};
use dotvm_core::limits::MAX_BYTES_LEN;
use dotvm_core::limits::module::{ENTRIES, FILE_BYTES};
use dotvm_core::module::{Constant, Debug, Export, FunctionDebug, Module, Signature};

use crate::refusals::{file, section_refusal};

#[test]
fn counts_over_the_limit_are_refused() {
    // 65,536, and nothing behind it: the limit comes before the bytes at hand.
    let count = [0x80, 0x80, 0x04];
    for (section, what) in [
        (Section::Signatures, "signatures"),
        (Section::Functions, "functions"),
        (Section::WordConstants, "word constants"),
        (Section::RefConstants, "reference constants"),
        (Section::WordGlobals, "word globals"),
        (Section::RefGlobals, "reference globals"),
        (Section::Data, "data segments"),
        (Section::Tables, "tables"),
        (Section::JumpMaps, "jump maps"),
        (Section::Collections, "collections"),
        (Section::Capabilities, "capabilities"),
        (Section::Exports, "exports"),
        (Section::HostCalls, "host calls"),
    ] {
        assert_eq!(
            section_refusal(section, &count),
            format!("65536 {what} are more than the limit of 65535 (at byte 76, in the section `{section}`)")
        );
    }
}

#[test]
fn counts_without_a_limit_of_their_own_are_held_against_the_bytes_at_hand() {
    // A jump map that claims 2^28 entries, which would take 4 GiB.
    assert_eq!(
        section_refusal(Section::JumpMaps, &[1, 0, 0x80, 0x80, 0x80, 0x80, 0x01]),
        "268435456 jump map entries do not fit the rest of the section, which has 0 bytes (at byte 78, in the section `jump maps`)"
    );
    // A count of 2^64 − 1.
    let count = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(
        section_refusal(Section::JumpMaps, &[&[1, 0][..], &count].concat()),
        "18446744073709551615 jump map entries are more than the limit of 268435456 (at byte 78, in the section `jump maps`)"
    );
    // A reference constant of 2^64 − 1 bytes.
    assert_eq!(
        section_refusal(Section::RefConstants, &[&[1, 0][..], &count].concat()),
        "the section ends inside the field `reference constant` (at byte 88, in the section `reference constants`)"
    );
}

#[test]
fn a_file_over_the_limit_is_refused() {
    assert_eq!(
        read(&vec![0; FILE_BYTES + 1]).unwrap_err().to_string(),
        "the file has 268435457 bytes, more than the limit of 268435456 (at byte 0)"
    );
}

#[test]
fn names_in_the_debug_section_have_a_limit_together() {
    // 65 functions of 65,535 word locals without names.
    let functions = 65;
    let mut contents = vec![0; 33];
    contents.push(functions);
    for _ in 0..functions {
        contents.extend_from_slice(&[0, 0xff, 0xff, 0x03]);
        contents.resize(contents.len() + 65_535 + 3, 0);
    }
    contents.extend_from_slice(&[0; 5]);
    // 64 × 65,535 are within 2^22, so the last function's list at 76 + 34 + 64 × 65,542 + 1 is one too many.
    assert_eq!(
        section_refusal(Section::Debug, &contents),
        "there are more than 4194304 names (at byte 4194799, in the section `debug`)"
    );
    contents[33] = 64;
    let end = contents.len() - 5 - 65_542;
    contents.drain(end..end + 65_542);
    assert!(read(&file(&[(Section::Debug.code(), &contents)])).is_ok());
}

/// The sentence with which a module is refused.
#[track_caller]
fn write_refusal(change: impl FnOnce(&mut Module)) -> String {
    let mut module = Module::new("m", Width::W64);
    change(&mut module);
    write(&module).expect_err("this module has no file").to_string()
}

#[test]
fn modules_over_the_limits_have_no_file() {
    let too_many = ENTRIES + 1;
    assert_eq!(
        write_refusal(|module| module.signatures = vec![Signature::default(); too_many]),
        "the module cannot be written: 65536 signatures are more than the limit of 65535, in the section `signatures`"
    );
    assert_eq!(
        write_refusal(|module| module.ref_globals = too_many as u32),
        "the module cannot be written: 65536 reference globals are more than the limit of 65535, in the section `reference globals`"
    );
    assert_eq!(
        write_refusal(|module| module.capabilities = vec![Capability::Tx; too_many]),
        "the module cannot be written: 65536 capabilities are more than the limit of 65535, in the section `capabilities`"
    );
    assert_eq!(
        write_refusal(|module| module.tables = vec![vec![None; too_many]]),
        "the module cannot be written: 65536 table entries are more than the limit of 65535, in the section `tables`"
    );
    assert_eq!(
        write_refusal(|module| module.name = "é".repeat(128)),
        "the module cannot be written: the field `module name` has 256 bytes, more than the limit of 255, in the section `name`"
    );
    assert_eq!(
        write_refusal(|module| module.exports = vec![Export { name: "x".repeat(256), function: 0 }]),
        "the module cannot be written: the field `export name` has 256 bytes, more than the limit of 255, in the section `exports`"
    );
    let names = vec![String::new(); 65_535];
    let functions =
        vec![FunctionDebug { words: names, ..FunctionDebug::default() }; DEBUG_NAMES / 65_535 + 1];
    assert_eq!(
        write_refusal(|module| module.debug = Some(Debug { functions, ..Debug::default() })),
        "the module cannot be written: there are more than 4194304 names, in the section `debug`"
    );
    let constant = Constant::from(vec![0; MAX_BYTES_LEN as usize]);
    assert_eq!(
        write_refusal(|module| module.ref_constants = vec![constant; FILE_BYTES / MAX_BYTES_LEN as usize]),
        "the module cannot be written: it takes more than the limit of 268435456 bytes, in the section `reference constants`"
    );
}

#[test]
fn modules_that_no_bytes_stand_for_have_no_file() {
    assert_eq!(
        write_refusal(|module| module.entry = Some(u32::MAX)),
        "the module cannot be written: function 4294967295 cannot be the entry"
    );
    assert_eq!(
        write_refusal(|module| module.word_constants = vec![W512::ZERO, W512::from(1) << 64]),
        "the module cannot be written: word constant 1 does not fit a word of 64 bits, in the section `word constants`"
    );
    let debug = |function| Some(Debug { functions: vec![function], ..Debug::default() });
    assert_eq!(
        write_refusal(|module| {
            module.debug = debug(FunctionDebug { lines: vec![(3, 1), (2, 2)], ..FunctionDebug::default() });
        }),
        "the module cannot be written: lines are not in ascending order of their offsets, in the section `debug`"
    );
    let labels = vec![(1, "a".to_owned()), (0, "b".to_owned())];
    assert_eq!(
        write_refusal(|module| {
            module.debug = debug(FunctionDebug { labels, ..FunctionDebug::default() });
        }),
        "the module cannot be written: labels are not in ascending order of their offsets, in the section `debug`"
    );
}
