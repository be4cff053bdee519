//! Names, byte strings and numbers as the lexer reads them back.

use dotdb_query::Query;
use dotvm_arch::{W512, Word};
use dotvm_core::module::Constant;

use crate::lexer::{continues_word, starts_word};

/// A name: plain where the lexer takes it as one word, otherwise in backquotes.
pub(crate) fn name(name: &str) -> String {
    let mut characters = name.chars();
    // `_` means "no name", a leading `@` keeps a label out of the debug section, `pub` exports a function.
    let plain = characters.next().is_some_and(|first| starts_word(first) && first != '@')
        && characters.all(continues_word)
        && !matches!(name, "_" | "pub");
    if plain { name.to_owned() } else { quote(name, '`') }
}

/// Text in quotes, with escapes for what is not plainly visible.
pub(crate) fn quote(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            _ if character == quote || character == '\\' => {
                out.push('\\');
                out.push(character);
            }
            ' '..='~' => out.push(character),
            _ if character.is_alphanumeric() => out.push(character),
            _ => out.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
        }
    }
    out.push(quote);
    out
}

/// A byte string: as text where it is text without control characters, otherwise in hexadecimal.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text)
            if text
                .chars()
                .all(|character| !character.is_control() || matches!(character, '\n' | '\r' | '\t')) =>
        {
            quote(text, '"')
        }
        _ => hex(bytes),
    }
}

/// `0x` and two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(2 * bytes.len() + 2);
    out.push_str("0x");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// A word: decimal below 2^64, hexadecimal beyond.
pub(crate) fn word(word: W512) -> String {
    match Word::try_u64(word) {
        Some(small) => small.to_string(),
        None => format!("{word:#x}"),
    }
}

/// The text of a compiled query, if that compiles to the same bytes.
pub(crate) fn query(contents: &[u8]) -> Option<String> {
    let text = Query::from_bytes(contents).ok()?.to_string();
    Query::parse(&text).is_ok_and(|query| query.to_bytes() == contents).then_some(text)
}

/// A constant where it is used, if it can stand there.
pub(crate) fn inline(constant: &Constant) -> Option<String> {
    match constant {
        Constant::Bytes(contents) => query(contents).is_none().then(|| bytes(contents)),
        Constant::Integer(number) => i64::try_from(number).ok().map(|number| format!("={number}")),
    }
}

/// The contents of a constant: JSON where the bytes are a document that is a map or a list.
pub(crate) fn constant(constant: &Constant) -> String {
    let contents = match constant {
        Constant::Bytes(contents) => contents,
        // Decimal digits of longer ones take too long.
        Constant::Integer(number) if number.bits() > 4096 => return format!("int {number:#x}"),
        Constant::Integer(number) => return format!("int {number}"),
    };
    // Major types 4 and 5; such a first byte starts no UTF-8 text.
    if matches!(contents.first(), Some(0x80..=0xBF))
        && let Ok(json) = dotdb_document::to_json(contents)
        && dotdb_document::from_json(&json).is_ok_and(|document| document == *contents)
    {
        return format!("doc {json}");
    }
    format!("bytes {}", bytes(contents))
}
