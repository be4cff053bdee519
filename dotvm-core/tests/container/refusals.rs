//! One test for each way a file is refused, with the sentence a person reads.
//!
//! The files are laid out here by hand, so that reader and writer cannot agree on the same mistake.

use dotvm_core::container::{Section, read, seal};

/// A file of words of 64 bits with these sections, its hash in order.
pub fn file(sections: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = b"DOTV\x01\0\0\0\x40\0\0\0\x01\0".to_vec();
    bytes.extend_from_slice(&(sections.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.resize(64, 0);
    let mut offset = 64 + 12 * sections.len();
    for (kind, contents) in sections {
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&(offset as u32).to_le_bytes());
        bytes.extend_from_slice(&(contents.len() as u32).to_le_bytes());
        offset += contents.len();
    }
    for (_, contents) in sections {
        bytes.extend_from_slice(contents);
    }
    seal(&mut bytes);
    bytes
}

/// The sentence with which bytes are refused.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    read(bytes).expect_err("these bytes are no module").to_string()
}

/// The sentence for a file with this one section, whose contents start at byte 76.
#[track_caller]
pub fn section_refusal(section: Section, contents: &[u8]) -> String {
    refusal(&file(&[(section.code(), contents)]))
}

/// The sentence for a file with a name and one capability of which bytes are set, the hash made to match.
#[track_caller]
fn patched_refusal(at: usize, patch: &[u8]) -> String {
    let mut bytes = file(&[(1, b"n"), (13, &[1, 0])]);
    assert!(read(&bytes).is_ok());
    bytes[at..at + patch.len()].copy_from_slice(patch);
    seal(&mut bytes);
    refusal(&bytes)
}

#[test]
fn files_of_another_kind() {
    assert_eq!(
        refusal(b"\x7fELF\x02\x01\x01"),
        "this is not a DotVM module: it starts with 7f 45 4c 46 and not with `DOTV` (at byte 0)"
    );
    assert_eq!(
        refusal(b"DX"),
        "this is not a DotVM module: it starts with 44 58 and not with `DOTV` (at byte 0)"
    );
    assert_eq!(refusal(b""), "this is not a DotVM module: the file is empty (at byte 0)");
}

#[test]
fn files_of_another_version() {
    assert_eq!(
        patched_refusal(4, &[2, 0, 3, 0]),
        "the module has format version 2.3, newer than this build reads, which is 1.0 (at byte 4)"
    );
    assert_eq!(
        patched_refusal(6, &[1, 0]),
        "the module has format version 1.1, newer than this build reads, which is 1.0 (at byte 4)"
    );
    assert_eq!(
        patched_refusal(4, &[0, 0, 9, 0]),
        "the module has format version 0.9, but this build reads only 1.0 (at byte 4)"
    );
}

#[test]
fn flags() {
    assert_eq!(
        patched_refusal(10, &[3, 0]),
        "the module is sealed and must be opened first: it has compression, encryption (at byte 10)"
    );
    assert_eq!(
        patched_refusal(10, &[4, 0x80]),
        "the module is sealed and must be opened first: it has signatures, unknown flags 0x8000 (at byte 10)"
    );
}

#[test]
fn cut_files() {
    let whole = file(&[(1, b"name")]);
    assert_eq!(
        refusal(&whole[..3]),
        "the file is cut short: it has 3 of the 64 bytes that its header promises (at byte 3)"
    );
    assert_eq!(
        refusal(&whole[..63]),
        "the file is cut short: it has 63 of the 64 bytes that its header promises (at byte 63)"
    );
    assert_eq!(
        refusal(&whole[..75]),
        "the file is cut short: it has 75 of the 76 bytes that its section table promises (at byte 75)"
    );
    assert_eq!(
        refusal(&whole[..79]),
        "the file is cut short: it has 79 of the 80 bytes that its section table promises (at byte 79)"
    );
    // The same where the hash matches the cut file.
    for (len, needed) in [(75, 76), (79, 80)] {
        let mut cut = whole[..len].to_vec();
        seal(&mut cut);
        assert_eq!(
            refusal(&cut),
            format!(
                "the file is cut short: it has {len} of the {needed} bytes that its section table promises (at byte {len})"
            )
        );
    }
}

#[test]
fn damaged_files() {
    let sentence = "the checksum does not match: the file is damaged or was changed (at byte 32)";
    let whole = file(&[(1, b"name")]);
    for at in [8, 12, 20, 32, 63, 76, 79] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert_eq!(refusal(&bytes), sentence, "byte {at}");
    }
    assert_eq!(refusal(&[&whole[..], &[0]].concat()), sentence);
}

#[test]
fn header_fields() {
    assert_eq!(
        patched_refusal(8, &[48, 0]),
        "words of 48 bits are unknown: the widths are 32, 64, 128, 256 and 512 (at byte 8)"
    );
    assert_eq!(
        patched_refusal(12, &[2, 1]),
        "the module is made for gas schedule 258, but this build has schedule 1 (at byte 12)"
    );
    for at in [20, 31, 66, 67, 78] {
        assert_eq!(
            patched_refusal(at, &[7]),
            format!("a reserved byte is 0x07 instead of zero (at byte {at})")
        );
    }
}

#[test]
fn section_table() {
    assert_eq!(
        refusal(&file(&[(1, b"n"), (99, b"x")])),
        "the section table lists the unknown section kind 99 (at byte 76)"
    );
    assert_eq!(
        refusal(&file(&[(0, b"n")])),
        "the section table lists the unknown section kind 0 (at byte 64)"
    );
    assert_eq!(refusal(&file(&[(1, b"n"), (1, b"n")])), "the section `name` is there twice (at byte 76)");
    assert_eq!(
        refusal(&file(&[(13, &[1, 0]), (1, b"n")])),
        "the section `name` stands behind `capabilities`, but belongs before it (at byte 76)"
    );
    assert_eq!(
        patched_refusal(80, &[90]),
        "the section `capabilities` is said to start at byte 90, but belongs at byte 89 (at byte 80)"
    );
    assert_eq!(
        patched_refusal(84, &[0xff; 4]),
        "the file is cut short: it has 91 of the 4294967384 bytes that its section table promises (at byte 91)"
    );
    assert_eq!(
        patched_refusal(84, &[1]),
        "1 capabilities do not fit the rest of the section, which has 0 bytes (at byte 89, in the section `capabilities`)"
    );
    let mut longer = file(&[(1, b"n")]);
    longer.push(0);
    seal(&mut longer);
    assert_eq!(refusal(&longer), "1 byte too many follow the end of the module (at byte 77)");
}

#[test]
fn sections_that_hold_nothing() {
    for &section in Section::ALL {
        assert_eq!(
            section_refusal(section, b""),
            format!(
                "the section `{section}` holds nothing and must be left out (at byte 76, in the section `{section}`)"
            )
        );
        let nothing: &[u8] = match section {
            Section::Name | Section::Debug => continue,
            Section::Memory => &[0, 0, 0],
            _ => &[0],
        };
        assert_eq!(
            section_refusal(section, nothing),
            format!(
                "the section `{section}` holds nothing and must be left out (at byte 76, in the section `{section}`)"
            )
        );
    }
}

#[test]
fn sections_with_too_few_or_too_many_bytes() {
    assert_eq!(
        section_refusal(Section::Memory, &[1, 0x80]),
        "the section ends inside the field `maximum pages` (at byte 77, in the section `memory`)"
    );
    assert_eq!(
        section_refusal(Section::Functions, &[1, 0, 0, 0, 0, 9, 0x00]),
        "the section ends inside the field `code` (at byte 82, in the section `functions`)"
    );
    assert_eq!(
        section_refusal(Section::Debug, &[0, 1, 2, 3]),
        "the section ends inside the field `source hash` (at byte 77, in the section `debug`)"
    );
    assert_eq!(
        section_refusal(Section::Signatures, &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        "3 signatures do not fit the rest of the section, which has 11 bytes (at byte 76, in the section `signatures`)"
    );
    assert_eq!(
        section_refusal(Section::Capabilities, &[1, 0, 0]),
        "1 byte too many follow the end of the section (at byte 78, in the section `capabilities`)"
    );
}

#[test]
fn numbers() {
    assert_eq!(
        section_refusal(Section::Signatures, &[1, 0x80, 0x00, 0, 0, 0]),
        "the field `word parameters` is encoded in more bytes than it needs (at byte 77, in the section `signatures`)"
    );
    assert_eq!(
        section_refusal(Section::Signatures, &[1, 0, 0x80, 0x80, 0x04, 0, 0]),
        "the field `word results` is greater than 65535 (at byte 78, in the section `signatures`)"
    );
    assert_eq!(
        section_refusal(Section::Functions, &[1, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 0]),
        "the field `function signature` is greater than 4294967295 (at byte 77, in the section `functions`)"
    );
    assert_eq!(
        section_refusal(Section::Memory, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0]),
        "the field `minimum pages` is greater than 18446744073709551615 (at byte 76, in the section `memory`)"
    );
    assert_eq!(
        section_refusal(Section::Tables, &[1, 1, 0x81, 0x80, 0x80, 0x80, 0x10]),
        "the field `table entry` is greater than 4294967296 (at byte 78, in the section `tables`)"
    );
}

#[test]
fn words() {
    assert_eq!(
        section_refusal(Section::WordConstants, &[1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        "the field `word constant` has 9 bytes and does not fit a word of 64 bits (at byte 77, in the section `word constants`)"
    );
    assert_eq!(
        section_refusal(Section::WordGlobals, &[2, 0, 2, 0, 5]),
        "the field `word global` is encoded in more bytes than it needs (at byte 78, in the section `word globals`)"
    );
}

#[test]
fn names() {
    assert_eq!(
        section_refusal(Section::Name, b"caf\xe9"),
        "the field `module name` is not valid UTF-8 (at byte 79, in the section `name`)"
    );
    assert_eq!(
        section_refusal(Section::Name, &[b'x'; 256]),
        "the field `module name` has 256 bytes, more than the limit of 255 (at byte 76, in the section `name`)"
    );
    assert_eq!(
        section_refusal(Section::Exports, &[&[1, 0x80, 0x02][..], &[b'x'; 257]].concat()),
        "the field `export name` has 256 bytes, more than the limit of 255 (at byte 77, in the section `exports`)"
    );
    assert_eq!(
        section_refusal(Section::Collections, &[1, 1, 2, b'a', 0xff]),
        "the field `collection name` is not valid UTF-8 (at byte 80, in the section `collections`)"
    );
}

#[test]
fn codes() {
    assert_eq!(
        section_refusal(Section::Data, &[1, 0, 2, 0]),
        "0x02 is no protection of a data segment (at byte 78, in the section `data`)"
    );
    assert_eq!(
        section_refusal(Section::Collections, &[1, 9, 1, b'c']),
        "0x09 is no collection kind (at byte 77, in the section `collections`)"
    );
    assert_eq!(
        section_refusal(Section::Capabilities, &[2, 0, 0xfe]),
        "0xfe is no capability (at byte 78, in the section `capabilities`)"
    );
    assert_eq!(
        section_refusal(Section::HostCalls, b"\x01\x09door.bell\0\0\0\0"),
        "this build knows no host call `door.bell` (at byte 77, in the section `host calls`)"
    );
    assert_eq!(
        section_refusal(Section::HostCalls, b"\x01\x0afile.close\0\0\x01\0"),
        "the host call `file.close` has another signature than this build's, which is `[file] → []` \
         (at byte 77, in the section `host calls`)"
    );
}

#[test]
fn offsets_in_the_debug_section_stay_in_32_bits() {
    let mut contents = vec![0; 33];
    // One function without names, two lines: 2^32 − 1, then one further.
    contents.extend_from_slice(&[1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1, 1]);
    assert_eq!(
        section_refusal(Section::Debug, &contents),
        "the field `code offset` is greater than 4294967295 (at byte 120, in the section `debug`)"
    );
}
