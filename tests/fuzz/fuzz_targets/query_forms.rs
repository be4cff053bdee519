//! Compiled queries, continuation tokens, index specifications, schemas, encodings and documents: any
//! bytes are read or refused, and what is read is written again to the same bytes.

#![no_main]

use dotdb_query::{IndexSpec, Query, Schema, Token, Value, ValueRef, encoding, entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(query) = Query::from_bytes(bytes) {
        assert_eq!(query.to_bytes(), bytes);
        assert_eq!(Query::parse(&query.to_string()).as_ref(), Ok(&query));
    }
    if let Ok(token) = Token::from_bytes(bytes) {
        assert_eq!(token.to_bytes(), bytes);
    }
    if let Ok(spec) = IndexSpec::from_bytes(bytes) {
        assert_eq!(spec.to_bytes(), bytes);
        assert_eq!(IndexSpec::parse(&spec.to_string()).as_ref(), Ok(&spec));
    }
    if let Ok((value, rest)) = encoding::decode(bytes) {
        assert_eq!(encoding::encode(value.as_ref()).unwrap(), &bytes[..bytes.len() - rest.len()]);
    }
    if let Ok(schema) = Schema::from_bytes(bytes) {
        let _ = schema.check(bytes);
    }
    let elements = IndexSpec::parse("a, b[*].c").unwrap();
    if let Ok(value) = Value::from_document(bytes) {
        let encoded = encoding::encode(value.as_ref()).unwrap();
        let (back, _) = encoding::decode(&encoded).unwrap();
        assert!(back.as_ref().compare(value.as_ref()).unwrap().is_eq());
        assert!(!matches!(entries(&elements, bytes), Err(dotdb_query::EntryError::Malformed(_))));
    } else {
        // What is no document is damaged, or read in part.
        let _ = entries(&elements, bytes);
        let _ = ValueRef::read(bytes).and_then(|value| value.compare(ValueRef::Null));
    }
});
