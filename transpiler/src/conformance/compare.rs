//! What a case expects against what came out.

use std::collections::BTreeMap;

use dotvm_frontend::{Ending, Frontend, Region};
use serde_json::Value;

/// What a run left besides its ending.
#[derive(Default)]
pub(super) struct Outputs {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Bytes of hexadecimal digits; blanks are allowed between them.
pub(super) fn bytes_of_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err(format!("{text:?} is not bytes in hexadecimal digits")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number, written as one or as text: decimal or hexadecimal.
fn number(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    let text = value.as_str()?;
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Whether a value is what is expected: of an object only the given keys count, numbers count by their value.
fn matches(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| matches(value, found)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(a, b)| matches(a, b))
        }
        _ if expected == found => true,
        _ => number(expected).is_some() && number(expected) == number(found),
    }
}

/// The differences of an ending from what is expected.
pub(super) fn ending(expect: &Value, ending: &Ending, outputs: &Outputs) -> Vec<String> {
    let mut differences = Vec::new();
    let Some(expect) = expect.as_object() else { return vec!["the case expects nothing".to_owned()] };
    for (field, expected) in expect {
        match field.as_str() {
            "status" => check(field, expected, &ending.status.as_str().into(), &mut differences),
            "exit_code" => {
                let found = ending.exit_code.clone().unwrap_or(Value::Null);
                check(field, expected, &found, &mut differences);
            }
            "stdout" => text(field, expected, &outputs.stdout, &mut differences),
            "stderr" => text(field, expected, &outputs.stderr, &mut differences),
            "memory" => memory(expected, ending.memory.as_ref(), &mut differences),
            "files" => files(expected, &outputs.files, &mut differences),
            _ => {
                let found = ending.fields.get(field).cloned().unwrap_or(Value::Null);
                check(field, expected, &found, &mut differences);
            }
        }
    }
    differences
}

fn check(field: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    if let (Value::Object(expected), Value::Object(found)) = (expected, found) {
        for (key, value) in expected {
            let found = found.get(key).unwrap_or(&Value::Null);
            check(&format!("{field}.{key}"), value, found, differences);
        }
    } else if !matches(expected, found) {
        differences.push(format!("{field} is {found}, expected {expected}"));
    }
}

fn text(field: &str, expected: &Value, found: &[u8], differences: &mut Vec<String>) {
    if expected.as_str().map(str::as_bytes) != Some(found) {
        let found = Value::from(String::from_utf8_lossy(found));
        differences.push(format!("{field} is {found}, expected {expected}"));
    }
}

fn memory(expected: &Value, found: Option<&Region>, differences: &mut Vec<String>) {
    let (Some(expected), Some(found)) = (expected.as_object(), found) else {
        return differences.push("there is no memory to compare".to_owned());
    };
    for (address, digits) in expected {
        let start = number(&Value::from(address.as_str())).and_then(|address| u64::try_from(address).ok());
        let bytes = digits.as_str().ok_or("no text".to_owned()).and_then(bytes_of_hex);
        let (Some(start), Ok(bytes)) = (start, bytes) else {
            differences.push(format!("memory at {address}: {digits} is not bytes at an address"));
            continue;
        };
        let offset = start.checked_sub(found.address).and_then(|offset| usize::try_from(offset).ok());
        let there = offset.and_then(|offset| found.bytes.get(offset..offset.checked_add(bytes.len())?));
        if there != Some(&bytes[..]) {
            let there = there.map_or("outside".to_owned(), hex);
            differences.push(format!("memory at {address} is {there}, expected {}", hex(&bytes)));
        }
    }
}

fn files(expected: &Value, found: &BTreeMap<String, Vec<u8>>, differences: &mut Vec<String>) {
    for (path, expected) in expected.as_object().into_iter().flatten() {
        let there = found.get(path);
        let is_as_expected = match expected {
            Value::Null => there.is_none(),
            Value::String(text) => there.is_some_and(|there| there == text.as_bytes()),
            other => {
                let bytes = other["hex"].as_str().map(bytes_of_hex);
                matches!((there, bytes), (Some(there), Some(Ok(bytes))) if *there == bytes)
            }
        };
        if !is_as_expected {
            let there = there.map_or(Value::Null, |there| String::from_utf8_lossy(there).into());
            differences.push(format!("file {path} is {there}, expected {expected}"));
        }
    }
}

/// The difference of an assembled image from the expected one.
pub(super) fn image(expected: &str, found: Option<&[u8]>) -> Option<String> {
    let found = found.unwrap_or_default();
    match bytes_of_hex(expected) {
        Ok(bytes) if bytes == found => None,
        _ => Some(format!("the image is {}, expected {expected}", hex(found))),
    }
}

/// The differences of an instruction word's fields, an entry `[word, fields]`.
pub(super) fn decoded(frontend: &dyn Frontend, entry: &Value) -> Vec<String> {
    let word = number(&entry[0]).and_then(|word| u64::try_from(word).ok());
    let Some(decoded) = word.and_then(|word| frontend.decode_word(word)) else {
        return vec![format!("{} is no instruction word", entry[0])];
    };
    let found: serde_json::Map<String, Value> =
        decoded.fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let mut differences = Vec::new();
    check("fields", &entry[1], &Value::Object(found), &mut differences);
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(expect: Value) -> Vec<String> {
        let mut found = Ending::new("exit");
        found.exit_code = Some(3.into());
        found.fields.insert("registers".to_owned(), json!({"a": "0xff", "b": "0x0"}));
        found.memory = Some(Region { address: 0x10, bytes: vec![1, 2, 3] });
        let outputs = Outputs {
            stdout: b"hi".to_vec(),
            files: BTreeMap::from([("/a".to_owned(), b"x".to_vec())]),
            ..Outputs::default()
        };
        ending(&expect, &found, &outputs)
    }

    #[test]
    fn what_is_given_is_compared() {
        let same = json!({"status": "exit", "exit_code": 3, "stdout": "hi", "registers": {"a": 255},
            "memory": {"0x11": "02 03"}, "files": {"/a": "x", "/b": null}});
        assert_eq!(differences(same), [""; 0]);
    }

    #[test]
    fn each_field_can_differ() {
        for (expect, sentence) in [
            (json!({"status": "end"}), "status is \"exit\", expected \"end\""),
            (json!({"exit_code": 4}), "exit_code is 3, expected 4"),
            (json!({"stdout": "ho"}), "stdout is \"hi\", expected \"ho\""),
            (json!({"registers": {"b": "0x1"}}), "registers.b is \"0x0\", expected \"0x1\""),
            (json!({"memory": {"0x12": "0300"}}), "memory at 0x12 is outside, expected 0300"),
            (json!({"memory": {"0x10": "02"}}), "memory at 0x10 is 01, expected 02"),
            (json!({"files": {"/a": null}}), "file /a is \"x\", expected null"),
            (json!({"fault": "bad_jump"}), "fault is null, expected \"bad_jump\""),
        ] {
            assert_eq!(differences(expect), [sentence]);
        }
    }

    #[test]
    fn hexadecimal_text_is_checked() {
        assert_eq!(
            bytes_of_hex("00 fF\n1"),
            Err("\"00 fF\\n1\" is not bytes in hexadecimal digits".to_owned())
        );
        assert_eq!(bytes_of_hex("00 fF"), Ok(vec![0, 255]));
        assert!(bytes_of_hex("+1").is_err());
    }
}
