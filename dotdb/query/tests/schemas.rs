//! Schemas: what they refuse, and how they say it.

use dotdb_query::{Path, Schema};

const PEOPLE: &str = r#"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 200},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "minItems": 1, "maxItems": 3, "uniqueItems": true},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "kind": {"const": "person"}
    },
    "required": ["name"],
    "additionalProperties": false
}"#;

#[test]
fn documents_are_checked() {
    let schema = Schema::from_json(PEOPLE).unwrap();
    assert_eq!(Schema::from_bytes(schema.to_bytes()).unwrap(), schema);
    assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
    let check = |json: &str| match schema.check(&dotdb_document::from_json(json).unwrap()) {
        Ok(()) => "good".to_owned(),
        Err(violation) => violation.to_string(),
    };
    for (json, result) in [
        (
            r#"{"name": "Åsa", "age": 3.0, "tags": ["a", 1], "address": {"city": "Oslo", "zip": 1}, "kind": "person"}"#,
            "good",
        ),
        (r#"{"name": "Ann", "age": null}"#, "good"),
        ("[]", "the document is an array, the schema asks for object"),
        ("{}", "`name` is missing, the schema requires it"),
        (r#"{"name": 1}"#, "`name` is a number, the schema asks for string"),
        (r#"{"name": ""}"#, "`name` has 0 characters, the schema asks for at least 1"),
        (r#"{"name": "äöüäöü"}"#, "`name` has 6 characters, the schema asks for at most 5"),
        (r#"{"name": "a", "age": 1.5}"#, "`age` is a number, the schema asks for integer or null"),
        (r#"{"name": "a", "age": -1}"#, "`age` is -1, the schema asks for at least 0"),
        (r#"{"name": "a", "age": 200}"#, "`age` is 200, the schema asks for less than 200"),
        (r#"{"name": "a", "tags": []}"#, "`tags` has 0 elements, the schema asks for at least 1"),
        (r#"{"name": "a", "tags": ["a", "c"]}"#, "`tags[1]` is 'c', the schema asks for 'a' or 'b' or 1"),
        (
            r#"{"name": "a", "tags": [1, 1.0]}"#,
            "`tags[1]` is there twice, the schema asks for elements that differ",
        ),
        (r#"{"name": "a", "address": {}}"#, "`address.city` is missing, the schema requires it"),
        (r#"{"name": "a", "kind": "cat"}"#, "`kind` is 'cat', the schema asks for 'person'"),
        (r#"{"name": "a", "agee": 1}"#, "`agee` is not in the schema; did you mean `age`?"),
    ] {
        assert_eq!(check(json), result, "{json}");
    }
    let error = schema.allows(&Path::parse("adress.city").unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the collection's schema has no field `adress.city`; did you mean `address`?"
    );
    schema.allows(&Path::parse("address.street").unwrap()).unwrap();
    schema.allows(&Path::parse("tags[0]").unwrap()).unwrap();
}

#[test]
fn schemas_are_checked() {
    for (json, message) in [
        ("{", "at line 1, column 2"),
        ("[]", "the schema at its root: rules are a JSON object"),
        (
            r#"{"typ": "string"}"#,
            "the schema at its root: the rule \"typ\" is not known; did you mean \"type\"?",
        ),
        (
            r#"{"properties": {"a/b": {"pattern": "x"}}}"#,
            "the schema at /properties/a~1b: the rule \"pattern\" is not known",
        ),
        (
            r#"{"type": "int"}"#,
            "the schema at /type: there is no type \"int\"; there are null, boolean, integer, number, string, bytes, array, object",
        ),
        (r#"{"items": {"minimum": "1"}}"#, "the schema at /items/minimum: expected a number"),
        (r#"{"minLength": -1}"#, "the schema at /minLength: expected an integer from 0"),
        (r#"{"enum": []}"#, "the schema at /enum: the list is empty"),
        (r#"{"required": "a"}"#, "the schema at /required: expected a list"),
    ] {
        let error = Schema::from_json(json).unwrap_err().to_string();
        assert!(error.ends_with(message), "{error}");
    }
}
