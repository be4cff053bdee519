//! A module comes back from its file as it was, and the hash is that of the file.

use dotvm_core::container::{HASH_OFFSET, HEADER_BYTES, Section, content_hash, read, write};
use dotvm_core::module::{Debug, Module};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::refusals::file;
use crate::{arbitrary, samples};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_module_comes_back(module in arbitrary::module()) {
        let file = write(&module).unwrap();
        let back = read(&file);
        prop_assert_eq!(back.as_ref(), Ok(&module));
        prop_assert_eq!(write(&back.unwrap()), Ok(file));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_contents_of_a_section_are_read_or_refused(
        section in select(Section::ALL.to_vec()),
        contents in vec(prop_oneof![0u8..5, any::<u8>()], 0..100),
    ) {
        let file = file(&[(section.code(), &contents)]);
        if let Ok(module) = read(&file) {
            prop_assert_eq!(write(&module), Ok(file));
        }
    }
}

#[test]
fn samples_come_back() {
    for (name, module) in samples::all() {
        let file = write(&module).unwrap();
        assert_eq!(read(&file), Ok(module), "{name}");
    }
}

#[test]
fn an_empty_module_is_a_header() {
    for width in dotvm_arch::Width::ALL {
        let module = Module::new("", width);
        let file = write(&module).unwrap();
        assert_eq!(file.len(), HEADER_BYTES);
        assert_eq!(read(&file), Ok(module));
    }
}

#[test]
fn debug_information_without_contents_is_not_no_debug_information() {
    let mut module = samples::tiny();
    module.debug = Some(Debug::default());
    assert_eq!(read(&write(&module).unwrap()), Ok(module));
}

#[test]
fn the_hash_is_blake3_of_the_file_with_a_zero_hash() {
    for mut file in samples::files() {
        let hash = content_hash(&file);
        assert_eq!(file[HASH_OFFSET..HEADER_BYTES], hash);
        file[HASH_OFFSET..HEADER_BYTES].fill(0);
        assert_eq!(*blake3::hash(&file).as_bytes(), hash);
        assert_eq!(content_hash(&file), hash, "the hash field does not take part");
    }
    for len in 0..=HEADER_BYTES {
        let zeros = vec![0; len];
        assert_eq!(content_hash(&zeros), *blake3::hash(&zeros).as_bytes(), "{len} bytes");
    }
}

#[test]
fn the_debug_section_is_part_of_the_identity() {
    let mut module = samples::sum(dotvm_arch::Width::W64);
    let with = content_hash(&write(&module).unwrap());
    module.debug = None;
    assert_ne!(content_hash(&write(&module).unwrap()), with);
}
