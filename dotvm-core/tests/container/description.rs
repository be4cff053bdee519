//! `docs/module-format.md` says what the writer does.

use dotvm_core::container::{Section, write};

use crate::samples;

const DESCRIPTION: &str = include_str!("../../../docs/module-format.md");

/// The bytes of the hex dump: lines of an offset, two columns of bytes, and text after a bar.
fn dumped_bytes() -> Vec<u8> {
    let dump = DESCRIPTION.split("```hexdump\n").nth(1).unwrap().split("```").next().unwrap();
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let (offset, rest) = line.split_once("  ").unwrap();
        assert_eq!(usize::from_str_radix(offset, 16), Ok(bytes.len()), "{line}");
        let hex = rest.split('|').next().unwrap();
        bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

#[test]
fn the_worked_example_is_the_writers_output() {
    let written = write(&samples::tiny()).unwrap();
    let mut dump = String::new();
    for (row, bytes) in written.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String =
            bytes.iter().map(|byte| if (0x20..0x7f).contains(byte) { *byte as char } else { '.' }).collect();
        dump.push_str(&format!("{:08x}  {:<47}  |{text}|\n", row * 16, hex.join(" ")));
    }
    assert_eq!(dumped_bytes(), written, "docs/module-format.md should have this dump:\n{dump}");
}

#[test]
fn every_section_is_described() {
    for section in Section::ALL {
        let row = format!("| {} | `{section}` |", section.code());
        assert!(DESCRIPTION.contains(&row), "docs/module-format.md has no row `{row}`");
    }
    let chapter = DESCRIPTION.split("\n## Sections\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = chapter.lines().filter(|line| line.contains(" | `")).count();
    assert_eq!(rows, Section::ALL.len(), "docs/module-format.md describes a section that does not exist");
}
