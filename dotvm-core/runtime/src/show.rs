//! Results as text.

use dotvm_core::outcome::Ref;

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The text that bytes are, if they are not empty, UTF-8 and without control characters.
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

/// Bytes in a form that [`parse_reference`](crate::args::parse_reference) reads back: text where they are text,
/// otherwise `0x` and hexadecimal digits.
pub fn bytes(bytes: &[u8]) -> String {
    match text_of(bytes) {
        Some(text) if crate::args::is_plain_text(text) => text.to_owned(),
        Some(text) => format!("text:{text}"),
        None => format!("0x{}", hex(bytes)),
    }
}

/// A reference in the form of [`bytes()`], or `null`, `int:…`, `cell:[…]`; a cell that takes more than about a
/// megabyte ends in `…`.
pub fn reference(reference: &Ref) -> String {
    match reference {
        Ref::Null => "null".to_owned(),
        Ref::Bytes(data) => bytes(data),
        number @ Ref::Int(_) => {
            let text = number.text(usize::MAX);
            if text.starts_with("int:") { text } else { format!("int:{text}") }
        }
        cell @ Ref::Cell(_) => format!("cell:{}", cell.text(SHOWN_BYTES)),
    }
}

/// About as many bytes of a cell are shown; a shared structure may unfold to more than any machine holds.
const SHOWN_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;

    use super::*;
    use crate::args::parse_reference;

    #[test]
    fn what_is_shown_is_read_back() {
        let samples: [&[u8]; 9] = [
            b"",
            b"alice",
            b"null",
            b"0x12",
            b"@file",
            b"text:x",
            "a \u{e9}".as_bytes(),
            b"line\n",
            &[0, 255, 1],
        ];
        for sample in samples {
            let shown = bytes(sample);
            let read = parse_reference(&shown).unwrap();
            assert_eq!(read, Ref::Bytes(sample.to_vec().into()), "{shown}");
        }
        assert_eq!(parse_reference(&reference(&Ref::Null)).unwrap(), Ref::Null);
        let number = Ref::Int(BigInt::from(-3) << 5000);
        let cell = Ref::cell(Ref::cell(1.into(), Ref::Null), Ref::cell((-2).into(), Ref::Bytes("x".into())));
        assert_eq!(reference(&cell), "cell:[[1 null] -2 0x78]");
        for sample in [number, 12.into(), cell] {
            assert_eq!(parse_reference(&reference(&sample)).unwrap(), sample);
        }
        assert_eq!(bytes(&[0, 255]), "0x00ff");
        assert_eq!(bytes(b"null"), "text:null");
    }
}
