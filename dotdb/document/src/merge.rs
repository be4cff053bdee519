//! Merge patches: RFC 7396 on documents.

use std::cmp::Ordering;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::validate::{problem_of, validate};
use crate::{DocumentError, MAX_DEPTH};

/// The document that a merge patch makes of `target` (RFC 7396 section 2): maps are merged name by name, a null in the
/// patch removes the name, and whatever else is in the patch takes the place of what was there.
///
/// # Errors
/// [`DocumentError::Cbor`] if one of the two is not a document; the offset is that in the one which is not.
pub fn merge_patch(target: &[u8], patch: &[u8]) -> Result<Vec<u8>, DocumentError> {
    validate(target)?;
    validate(patch)?;
    let mut merged = Vec::with_capacity(target.len() + patch.len());
    merge(Some(target), patch, 0, &mut merged)?;
    Ok(merged)
}

/// A map's names and values, both encoded, ascending by name.
type Members<'d> = Vec<(&'d [u8], &'d [u8])>;

/// The members of a map, `None` if the document is something else.
fn members(document: &[u8]) -> Result<Option<Members<'_>>, DocumentError> {
    let mut decoder = Decoder::new(document);
    let malformed = |offset: usize| {
        move |error: minicbor::decode::Error| DocumentError::Cbor { offset, problem: problem_of(&error) }
    };
    if decoder.datatype().map_err(malformed(0))? != Type::Map {
        return Ok(None);
    }
    let count = decoder.map().map_err(malformed(0))?.unwrap_or_default();
    let mut members = Vec::new();
    for _ in 0..count {
        let start = decoder.position();
        decoder.skip().map_err(malformed(start))?;
        let value = decoder.position();
        decoder.skip().map_err(malformed(value))?;
        members.push((&document[start..value], &document[value..decoder.position()]));
    }
    Ok(Some(members))
}

const NULL: &[u8] = &[0xf6];

/// Appends the merge of two documents inside `depth` maps.
fn merge(target: Option<&[u8]>, patch: &[u8], depth: usize, out: &mut Vec<u8>) -> Result<(), DocumentError> {
    let Some(changes) = members(patch)? else {
        out.extend_from_slice(patch);
        return Ok(());
    };
    if depth == MAX_DEPTH {
        return Err(DocumentError::Cbor { offset: 0, problem: "arrays and maps are nested deeper than 128" });
    }
    // What is not a map counts as an empty one.
    let old = target.map(members).transpose()?.flatten().unwrap_or_default();
    let (mut old, mut changes) = (old.into_iter().peekable(), changes.into_iter().peekable());
    let (mut count, mut body) = (0u64, Vec::new());
    loop {
        let order = match (old.peek(), changes.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((name, _)), Some((changed, _))) => name.cmp(changed),
        };
        let kept = if order.is_le() { old.next() } else { None };
        let change = if order.is_ge() { changes.next() } else { None };
        match (kept, change) {
            (_, Some((_, NULL))) => continue,
            (kept, Some((name, change))) => {
                body.extend_from_slice(name);
                merge(kept.map(|(_, value)| value), change, depth + 1, &mut body)?;
            }
            (Some((name, value)), None) => {
                body.extend_from_slice(name);
                body.extend_from_slice(value);
            }
            (None, None) => break,
        }
        count += 1;
    }
    let mut encoder = Encoder::new(&mut *out);
    match encoder.map(count) {
        Ok(_) => out.extend_from_slice(&body),
        Err(_) => return Err(DocumentError::Cbor { offset: 0, problem: "the map cannot be written" }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_json, to_json};

    /// The examples of RFC 7396 appendix A.
    #[test]
    fn the_examples_of_the_specification() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, r#"null"#, r#"null"#),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, result) in cases {
            let merged = merge_patch(&from_json(target).unwrap(), &from_json(patch).unwrap()).unwrap();
            assert_eq!(merged, from_json(result).unwrap(), "{target} with {patch}");
            assert!(to_json(&merged).is_ok());
        }
    }

    #[test]
    fn what_is_no_document_is_refused_and_nesting_is_kept_within_its_limit() {
        let empty = from_json("{}").unwrap();
        assert!(merge_patch(&[0xff], &empty).is_err());
        assert!(merge_patch(&empty, &[0xa1]).is_err());
        assert!(merge_patch(&empty, &[]).is_err());
        let deep = from_json(&format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH))).unwrap();
        assert_eq!(merge_patch(&empty, &deep).unwrap(), deep);
        assert_eq!(merge_patch(&deep, &deep).unwrap(), deep);
    }

    /// A map of more than 23 names has a longer head, and loses it again.
    #[test]
    fn the_result_is_deterministic_cbor() {
        let names = |from: u32, to: u32, value: &str| {
            let members: Vec<String> = (from..to).map(|name| format!("\"k{name}\":{value}")).collect();
            from_json(&format!("{{{}}}", members.join(","))).unwrap()
        };
        let merged = merge_patch(&names(0, 20, "1"), &names(10, 30, "2")).unwrap();
        validate(&merged).unwrap();
        assert_eq!(merge_patch(&merged, &names(10, 30, "null")).unwrap(), names(0, 10, "1"));
    }
}
