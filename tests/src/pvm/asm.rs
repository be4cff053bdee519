//! The notation of listings (`docs/machines/pvm.md`, section 8), to images.

use std::collections::HashMap;

const OPERATIONS: [&str; 16] = [
    "sum", "sub", "mul", "div", "and", "or", "nand", "nor", "xor", "bsl", "bsr", "rlr", "pop", "push", "swi",
    "nop",
];
const REGISTERS: [&str; 12] = ["a", "x", "y", "b", "w", "z", "c", "d", "pc", "sb", "sp", "fl"];
const SIZES: [&str; 4] = ["b", "w", "d", "q"];

/// Assembles a listing.
///
/// # Panics
/// If it is none: listings are parts of tests.
pub fn assemble(listing: &str) -> Vec<u8> {
    let mut labels = HashMap::new();
    // Sizes do not depend on labels: the first pass finds them, the second one uses them.
    pass(listing, &mut labels);
    pass(listing, &mut labels)
}

fn pass(listing: &str, labels: &mut HashMap<String, u64>) -> Vec<u8> {
    let mut image = Vec::new();
    for line in listing.lines() {
        let mut text = line.split(';').next().unwrap_or_default().trim();
        if let Some((name, rest)) = text.split_once(':')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            labels.insert(name.to_owned(), image.len() as u64);
            text = rest.trim();
        }
        if text.is_empty() {
            continue;
        }
        let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
        let operands: Vec<&str> = operands.split(',').map(str::trim).collect();
        match name {
            ".word" => {
                for operand in operands {
                    image.extend_from_slice(&(number(operand, labels) as u16).to_le_bytes());
                }
            }
            ".byte" => image.extend(operands.iter().map(|operand| number(operand, labels) as u8)),
            ".ascii" => image.extend_from_slice(text.split('"').nth(1).expect("a text").as_bytes()),
            "nop" => image.extend_from_slice(&[0xFF, 0xFF]),
            _ => instruction(name, &operands, labels, &mut image),
        }
    }
    image
}

fn instruction(name: &str, operands: &[&str], labels: &HashMap<String, u64>, image: &mut Vec<u8>) {
    let index = |list: &[&str], wanted: &str| {
        list.iter()
            .position(|name| *name == wanted)
            .unwrap_or_else(|| panic!("{wanted} in {name} {operands:?}")) as u16
    };
    let (name, size) = name.split_once('.').unwrap_or((name, "b"));
    let (operation, size) = (index(&OPERATIONS, name), index(&SIZES, size));
    let register = |text: &str| index(&REGISTERS, text);
    let address = |text: &str| text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).map(register);
    let mut word = operation | size << 6;
    let mut immediate = None;
    if operation == 12 {
        word |= match address(operands[0]) {
            Some(register) => 1 << 4 | register << 12,
            None => register(operands[0]) << 12,
        };
    } else {
        let operand = operands[operands.len() - 1];
        if operation < 12 {
            word |= register(operands[0]) << 12;
        }
        if let Some(text) = operand.strip_prefix('#') {
            word |= 2 << 4;
            immediate = Some(number(text, labels));
        } else {
            word |= match address(operand) {
                Some(register) => 1 << 4 | register << 8,
                None => register(operand) << 8,
            };
        }
    }
    image.extend_from_slice(&word.to_le_bytes());
    if let Some(number) = immediate {
        image.extend_from_slice(&number.to_le_bytes()[..1 << size]);
    }
}

fn number(text: &str, labels: &HashMap<String, u64>) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{text} is no number")),
        None => text.parse().unwrap_or_else(|_| labels.get(text).copied().unwrap_or_default()),
    }
}
