//! Names in atoms.

use dotvm_heap::{Heap, Integer, Reference};

/// The text of an atom, the first character in the low byte; a number's digits if it is no text. `None` of a cell.
pub(crate) fn cord(heap: &Heap, atom: &Reference) -> Option<String> {
    let bytes = match heap.as_integer(atom)? {
        Integer::Small(number) if number >= 0 => number.to_le_bytes().to_vec(),
        Integer::Large(number) => number.magnitude().to_bytes_le(),
        Integer::Small(_) => return None,
    };
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Some(match std::str::from_utf8(&bytes[..len]) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => match heap.as_integer(atom)? {
            Integer::Small(number) => number.to_string(),
            Integer::Large(number) => number.to_string(),
        },
    })
}
