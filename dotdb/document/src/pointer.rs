//! JSON pointers (RFC 6901) into documents: reading, replacing, adding and removing what they name.
//!
//! The encoding holds no lengths in bytes of what arrays and maps contain, so a change is a splice, and only the head of
//! the array or map around it changes with it.

use std::ops::Range;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::item::{text_document, written};
use crate::validate::problem_of;
use crate::{DocumentError, validate};

/// Why a pointer leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// One of the byte strings is no document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The text is no pointer: RFC 6901 section 3.
    #[error("a JSON pointer is empty or starts with `/`, and `~` stands before 0 or 1 in it")]
    Syntax,
    /// There is nothing that could hold the value.
    #[error("the pointer names a place that is not there")]
    NoPlace,
    /// The document would be nested too deeply.
    #[error("arrays and maps would be nested deeper than 128")]
    TooDeep,
}

/// The tokens of a pointer, unescaped.
fn tokens(pointer: &[u8]) -> Result<Vec<String>, PointerError> {
    let text = std::str::from_utf8(pointer).map_err(|_| PointerError::Syntax)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.strip_prefix('/').ok_or(PointerError::Syntax)?;
    let unescape = |token: &str| {
        let mut parts = token.split('~');
        let mut unescaped = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (sign, rest) = match part.as_bytes().first() {
                Some(b'0') => ('~', &part[1..]),
                Some(b'1') => ('/', &part[1..]),
                _ => return Err(PointerError::Syntax),
            };
            unescaped.push(sign);
            unescaped.push_str(rest);
        }
        Ok(unescaped)
    };
    text.split('/').map(unescape).collect()
}

/// An array or map.
struct Parent {
    is_map: bool,
    count: u64,
    /// Its head.
    head: Range<usize>,
}

/// Where a pointer leads.
struct Place {
    /// What holds the value; `None` for the document itself.
    parent: Option<Parent>,
    /// Where the entry starts or would start: at the name, in maps.
    start: usize,
    /// The value, if there is one.
    value: Option<Range<usize>>,
}

/// Follows a pointer through a valid document; `None` if what should hold the value is not there.
fn follow(document: &[u8], tokens: &[String]) -> Result<Option<Place>, DocumentError> {
    let mut place = Place { parent: None, start: 0, value: Some(0..document.len()) };
    for token in tokens {
        let Some(value) = place.value else { return Ok(None) };
        let Some(next) = step(document, value.start, token)? else { return Ok(None) };
        place = next;
    }
    Ok(Some(place))
}

/// Follows one token into the item at `at`.
fn step(document: &[u8], at: usize, token: &str) -> Result<Option<Place>, DocumentError> {
    let fail =
        |error: minicbor::decode::Error| DocumentError::Cbor { offset: at, problem: problem_of(&error) };
    let mut decoder = Decoder::new(document);
    decoder.set_position(at);
    let is_map = match decoder.datatype().map_err(fail)? {
        Type::Map => true,
        Type::Array => false,
        _ => return Ok(None),
    };
    let count = if is_map { decoder.map() } else { decoder.array() }.map_err(fail)?.unwrap_or_default();
    let parent = Some(Parent { is_map, count, head: at..decoder.position() });
    if is_map {
        let wanted = text_document(token);
        for _ in 0..count {
            let start = decoder.position();
            decoder.skip().map_err(fail)?;
            let value = decoder.position();
            let name = &document[start..value];
            if name > wanted.as_slice() {
                return Ok(Some(Place { parent, start, value: None }));
            }
            decoder.skip().map_err(fail)?;
            if name == wanted {
                return Ok(Some(Place { parent, start, value: Some(value..decoder.position()) }));
            }
        }
    } else {
        let index = if token == "-" { Some(count) } else { array_index(token) };
        let Some(index) = index.filter(|&index| index <= count) else { return Ok(None) };
        for _ in 0..index {
            decoder.skip().map_err(fail)?;
        }
        if index < count {
            let start = decoder.position();
            decoder.skip().map_err(fail)?;
            return Ok(Some(Place { parent, start, value: Some(start..decoder.position()) }));
        }
    }
    Ok(Some(Place { parent, start: decoder.position(), value: None }))
}

/// Digits without leading zeros: RFC 6901 section 4.
fn array_index(token: &str) -> Option<u64> {
    let is_index =
        token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    if is_index { token.parse().ok() } else { None }
}

/// The head of a parent with another number of entries.
fn head(parent: &Parent, count: u64) -> Vec<u8> {
    written(|out| if parent.is_map { out.map(count).map(drop) } else { out.array(count).map(drop) })
}

/// Where the value that a pointer names lies in a document, itself a document; `None` if there is none.
///
/// # Errors
/// [`PointerError::Document`], [`PointerError::Syntax`].
pub fn get(document: &[u8], pointer: &[u8]) -> Result<Option<Range<usize>>, PointerError> {
    validate(document)?;
    let tokens = tokens(pointer)?;
    Ok(follow(document, &tokens)?.and_then(|place| place.value))
}

/// The document with `value` where the pointer leads: replaced, or added to the map or at the end of the array that is
/// there. The empty pointer names the whole document.
///
/// # Errors
/// All of [`PointerError`].
pub fn set(document: &[u8], pointer: &[u8], value: &[u8]) -> Result<Vec<u8>, PointerError> {
    validate(document)?;
    validate(value)?;
    let tokens = tokens(pointer)?;
    let place = follow(document, &tokens)?.ok_or(PointerError::NoPlace)?;
    let mut changed = Vec::with_capacity(document.len() + value.len() + pointer.len() + 16);
    match (place.value, place.parent, tokens.last()) {
        (Some(old), _, _) => {
            changed.extend_from_slice(&document[..old.start]);
            changed.extend_from_slice(value);
            changed.extend_from_slice(&document[old.end..]);
        }
        (None, Some(parent), Some(token)) => {
            changed.extend_from_slice(&document[..parent.head.start]);
            changed.extend(head(&parent, parent.count + 1));
            changed.extend_from_slice(&document[parent.head.end..place.start]);
            if parent.is_map {
                changed.extend(text_document(token));
            }
            changed.extend_from_slice(value);
            changed.extend_from_slice(&document[place.start..]);
        }
        _ => return Err(PointerError::NoPlace),
    }
    // Both were documents and the map's order was kept: only the nesting can be wrong.
    validate(&changed).map_err(|_| PointerError::TooDeep)?;
    Ok(changed)
}

/// The document without what the pointer names, unchanged if there is no such thing; what follows in an array moves up.
///
/// # Errors
/// [`PointerError::Document`], [`PointerError::Syntax`]; [`PointerError::NoPlace`] for the empty pointer, which names the
/// whole document.
pub fn delete(document: &[u8], pointer: &[u8]) -> Result<Vec<u8>, PointerError> {
    validate(document)?;
    let tokens = tokens(pointer)?;
    if tokens.is_empty() {
        return Err(PointerError::NoPlace);
    }
    let place = follow(document, &tokens)?;
    let Some(Place { parent: Some(parent), start, value: Some(value) }) = place else {
        return Ok(document.to_vec());
    };
    let mut changed = document[..parent.head.start].to_vec();
    changed.extend(head(&parent, parent.count - 1));
    changed.extend_from_slice(&document[parent.head.end..start]);
    changed.extend_from_slice(&document[value.end..]);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_json, to_json};

    fn at(document: &str, pointer: &str) -> Option<String> {
        let document = from_json(document).unwrap();
        let range = get(&document, pointer.as_bytes()).unwrap()?;
        Some(to_json(&document[range]).unwrap())
    }

    /// RFC 6901 section 5.
    #[test]
    fn the_examples_of_the_specification() {
        let document =
            r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        for (pointer, value) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(at(document, pointer).as_deref(), Some(value), "{pointer}");
        }
        for pointer in ["/fo", "/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/0/x", "/foo/+1", "/foo/a"] {
            assert_eq!(at(document, pointer), None, "{pointer}");
        }
        let document = from_json(document).unwrap();
        assert_eq!(get(&document, b"").unwrap(), Some(0..document.len()));
        for wrong in [&b"foo"[..], b"/~", b"/~2", b"/a~", b"/\xff"] {
            assert_eq!(get(&document, wrong), Err(PointerError::Syntax));
        }
    }

    #[test]
    fn values_are_replaced_added_and_removed() {
        let change = |document: &str, pointer: &str, value: Option<&str>| {
            let document = from_json(document).unwrap();
            let changed = match value {
                Some(value) => set(&document, pointer.as_bytes(), &from_json(value).unwrap()),
                None => delete(&document, pointer.as_bytes()),
            };
            changed.map(|changed| {
                crate::validate(&changed).unwrap();
                to_json(&changed).unwrap()
            })
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(change(r#"{"a":1,"c":2}"#, "/b", Some("[3]")), ok(r#"{"a":1,"b":[3],"c":2}"#));
        assert_eq!(change(r#"{"aa":1}"#, "/b", Some("2")), ok(r#"{"b":2,"aa":1}"#));
        assert_eq!(change(r#"{"a":{"x":[1,2]}}"#, "/a/x/1", Some("{}")), ok(r#"{"a":{"x":[1,{}]}}"#));
        assert_eq!(change("[1,2]", "/-", Some("3")), ok("[1,2,3]"));
        assert_eq!(change("[1,2]", "/2", Some("3")), ok("[1,2,3]"));
        assert_eq!(change("[1,2]", "/3", Some("3")), Err(PointerError::NoPlace));
        assert_eq!(change("{}", "/a/b", Some("3")), Err(PointerError::NoPlace));
        assert_eq!(change("5", "/a", Some("3")), Err(PointerError::NoPlace));
        assert_eq!(change("[1,2]", "", Some("3")), ok("3"));
        assert_eq!(change("[1,2,3]", "/1", None), ok("[1,3]"));
        assert_eq!(change(r#"{"a":1,"b":{"c":2}}"#, "/b/c", None), ok(r#"{"a":1,"b":{}}"#));
        assert_eq!(change(r#"{"a":1}"#, "/b/c", None), ok(r#"{"a":1}"#));
        assert_eq!(change("[1]", "/1", None), ok("[1]"));
        assert_eq!(change("[1]", "", None), Err(PointerError::NoPlace));
        // A head grows from one byte to two at 24 entries.
        let many = format!("[{}]", ["0"; 23].join(","));
        let more = format!("[{}]", ["0"; 24].join(","));
        assert_eq!(change(&many, "/23", Some("0")), ok(&more));
        assert_eq!(change(&more, "/0", None), ok(&many));
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert!(change("[]", "/0", Some(&deep)).is_ok());
        assert_eq!(change("[[]]", "/0/0", Some(&deep)), Err(PointerError::TooDeep));
    }
}
