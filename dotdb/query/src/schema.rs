//! Schemas: what documents of a collection must look like, in a part of JSON Schema (2020-12).
//!
//! Known: `type` (with `"bytes"` besides JSON's), `properties`, `required`, `additionalProperties`,
//! `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength`, `enum`,
//! `const`, `items`, `minItems`, `maxItems`, `uniqueItems`, and the notes `$schema`, `$comment`,
//! `title`, `description`. Any other word is refused: a rule that is not checked is worse than none.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::QueryError;
use crate::cbor;
use crate::encoding;
use crate::error::nearest;
use crate::path::{Path, Step, write_name};
use crate::value::{Class, Malformed, Value, ValueRef};

/// Longest schema, bytes of CBOR.
pub const MAX_SCHEMA_BYTES: usize = 64 << 10;

const TYPES: [&str; 8] = ["null", "boolean", "integer", "number", "string", "bytes", "array", "object"];
const NOTES: [&str; 4] = ["$schema", "$comment", "title", "description"];
const WORDS: [&str; 17] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "enum",
    "const",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "description",
];

/// A schema, and the document it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    document: Vec<u8>,
    root: Rules,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Rules {
    /// Positions in [`TYPES`].
    types: Option<Vec<usize>>,
    /// By name.
    properties: Vec<(String, Rules)>,
    required: Vec<String>,
    additional: Additional,
    minimum: Option<Value>,
    maximum: Option<Value>,
    exclusive_minimum: Option<Value>,
    exclusive_maximum: Option<Value>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    choices: Option<Vec<Value>>,
    items: Option<Box<Rules>>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique_items: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Additional {
    #[default]
    Allowed,
    Refused,
    Rules(Box<Rules>),
}

/// How a document breaks a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(.path))]
pub struct Violation {
    /// Where in the document, as queries write it; empty for the document itself.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

fn place(path: &str) -> String {
    if path.is_empty() { "the document ".to_owned() } else { format!("`{path}` ") }
}

impl Schema {
    /// Reads a schema from JSON text.
    ///
    /// # Errors
    /// [`QueryError::Text`] for text that is not JSON, [`QueryError::Invalid`] with the place for
    /// rules that are unknown or malformed.
    pub fn from_json(text: &str) -> Result<Schema, QueryError> {
        let document = dotdb_document::from_json(text).map_err(|error| match error {
            dotdb_document::DocumentError::Json { line, column, problem } => {
                QueryError::Text { line, column, problem }
            }
            other => QueryError::Invalid(other.to_string()),
        })?;
        Schema::from_bytes(&document)
    }

    /// Reads the stored form: the schema as a document.
    ///
    /// # Errors
    /// [`QueryError::Invalid`] with the place.
    pub fn from_bytes(document: &[u8]) -> Result<Schema, QueryError> {
        if document.len() > MAX_SCHEMA_BYTES {
            let problem = format!("the schema has {} bytes, more than {MAX_SCHEMA_BYTES}", document.len());
            return Err(QueryError::Invalid(problem));
        }
        dotdb_document::validate(document)
            .map_err(|error| QueryError::Invalid(format!("the schema: {error}")))?;
        let root = ValueRef::read(document).map_err(|error| QueryError::Invalid(error.to_string()))?;
        let root = rules(root, "").map_err(QueryError::Invalid)?;
        Ok(Schema { document: document.to_vec(), root })
    }

    /// The stored form: deterministic CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> &[u8] {
        &self.document
    }

    /// The schema as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        dotdb_document::to_json(&self.document).unwrap_or_default()
    }

    /// Checks a document.
    ///
    /// # Errors
    /// The first [`Violation`], in the order of the document.
    pub fn check(&self, document: &[u8]) -> Result<(), Violation> {
        let damaged = |error: Malformed| Violation {
            path: String::new(),
            problem: format!("cannot be checked: {error}"),
        };
        let root = ValueRef::read(document).map_err(damaged)?;
        let mut at = Vec::new();
        match self.root.check(root, &mut at) {
            Ok(()) => Ok(()),
            Err(Failed::Malformed(error)) => Err(damaged(error)),
            Err(Failed::Broken(problem)) => Err(Violation { path: path_text(&at), problem }),
        }
    }

    /// Whether a document can have a value at `path`: a schema that forbids additional properties
    /// may say no, with the nearest path that it has.
    ///
    /// # Errors
    /// [`QueryError::UnknownField`].
    pub fn allows(&self, path: &Path) -> Result<(), QueryError> {
        let mut rules = &self.root;
        for (at, step) in path.steps().iter().enumerate() {
            let next = match step {
                Step::Index(_) => rules.items.as_deref(),
                Step::Field(name) => match rules.properties.iter().find(|(known, _)| known == name) {
                    Some((_, rules)) => Some(rules),
                    None => match &rules.additional {
                        Additional::Allowed => None,
                        Additional::Rules(rules) => Some(&**rules),
                        Additional::Refused => {
                            let names = rules.properties.iter().map(|(name, _)| name.as_str());
                            let suggestion = nearest(name, names).and_then(|near| {
                                let mut steps = path.steps()[..at].to_vec();
                                steps.push(Step::Field(near));
                                Path::new(steps).ok().map(|path| path.to_string())
                            });
                            return Err(QueryError::UnknownField { path: path.to_string(), suggestion });
                        }
                    },
                },
            };
            match next {
                Some(next) => rules = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Reads the rules at `place`, a JSON pointer (RFC 6901). The document's depth bounds the recursion.
fn rules(value: ValueRef<'_>, place: &str) -> Result<Rules, String> {
    let fail = |problem: &str| Err(format!("the schema at {}: {problem}", shown(place)));
    let ValueRef::Map(map) = value else {
        return fail("rules are a JSON object");
    };
    let mut found = Rules::default();
    let mut entries = read(cbor::entries(map), place)?;
    while let Some((word, value)) = read(entries.next(), place)? {
        let below = format!("{place}/{}", word.replace('~', "~0").replace('/', "~1"));
        match word {
            "type" => found.types = Some(types(value, &below)?),
            "properties" => {
                let ValueRef::Map(map) = value else {
                    return Err(format!("the schema at {below}: properties are a JSON object"));
                };
                let mut properties = read(cbor::entries(map), &below)?;
                while let Some((name, value)) = read(properties.next(), &below)? {
                    let deeper = format!("{below}/{}", name.replace('~', "~0").replace('/', "~1"));
                    found.properties.push((name.to_owned(), rules(value, &deeper)?));
                }
            }
            "required" => found.required = texts(value, &below)?,
            "additionalProperties" => {
                found.additional = match value {
                    ValueRef::Bool(true) => Additional::Allowed,
                    ValueRef::Bool(false) => Additional::Refused,
                    value => Additional::Rules(Box::new(rules(value, &below)?)),
                }
            }
            "minimum" => found.minimum = Some(number(value, &below)?),
            "maximum" => found.maximum = Some(number(value, &below)?),
            "exclusiveMinimum" => found.exclusive_minimum = Some(number(value, &below)?),
            "exclusiveMaximum" => found.exclusive_maximum = Some(number(value, &below)?),
            "minLength" => found.min_length = Some(count(value, &below)?),
            "maxLength" => found.max_length = Some(count(value, &below)?),
            "minItems" => found.min_items = Some(count(value, &below)?),
            "maxItems" => found.max_items = Some(count(value, &below)?),
            "uniqueItems" => match value {
                ValueRef::Bool(unique) => found.unique_items = unique,
                _ => return Err(format!("the schema at {below}: expected true or false")),
            },
            "enum" => {
                found.choices = Some(list(value, &below)?.into_iter().map(ValueRef::to_value).collect())
            }
            "const" => found.choices = Some(vec![value.to_value()]),
            "items" => found.items = Some(Box::new(rules(value, &below)?)),
            note if NOTES.contains(&note) => {}
            unknown => {
                let hint = nearest(unknown, WORDS.into_iter())
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                return fail(&format!("the rule {unknown:?} is not known{hint}"));
            }
        }
    }
    Ok(found)
}

fn shown(place: &str) -> &str {
    if place.is_empty() { "its root" } else { place }
}

fn read<T>(result: Result<T, Malformed>, place: &str) -> Result<T, String> {
    result.map_err(|error| format!("the schema at {}: {error}", shown(place)))
}

fn list<'a>(value: ValueRef<'a>, place: &str) -> Result<Vec<ValueRef<'a>>, String> {
    let ValueRef::Array(array) = value else {
        return Err(format!("the schema at {place}: expected a list"));
    };
    let mut elements = read(cbor::elements(array), place)?;
    let mut found = Vec::new();
    while let Some(element) = read(elements.next(), place)? {
        found.push(element);
    }
    if found.is_empty() { Err(format!("the schema at {place}: the list is empty")) } else { Ok(found) }
}

fn texts(value: ValueRef<'_>, place: &str) -> Result<Vec<String>, String> {
    if matches!(value, ValueRef::Array(&[0x80])) {
        return Ok(vec![]);
    }
    let text = |value| match value {
        ValueRef::Text(text) => Ok(text.to_owned()),
        _ => Err(format!("the schema at {place}: expected a list of texts")),
    };
    list(value, place)?.into_iter().map(text).collect()
}

fn types(value: ValueRef<'_>, place: &str) -> Result<Vec<usize>, String> {
    let names = match value {
        ValueRef::Text(name) => vec![name.to_owned()],
        value => texts(value, place)?,
    };
    let position = |name: &String| {
        TYPES.iter().position(|known| known == name).ok_or_else(|| {
            let hint = nearest(name, TYPES.into_iter()).map_or_else(
                || format!("there are {}", TYPES.join(", ")),
                |near| format!("did you mean {near:?}?"),
            );
            format!("the schema at {place}: there is no type {name:?}; {hint}")
        })
    };
    names.iter().map(position).collect()
}

fn number(value: ValueRef<'_>, place: &str) -> Result<Value, String> {
    match value.class() {
        Class::Number => Ok(value.to_value()),
        _ => Err(format!("the schema at {place}: expected a number")),
    }
}

fn count(value: ValueRef<'_>, place: &str) -> Result<u64, String> {
    let number = match value {
        ValueRef::Int(number) => u64::try_from(number).ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("the schema at {place}: expected an integer from 0"))
}

/// A bound, the words for it, and whether a value that compares so with it is within.
type Limit<'s> = (&'s Option<Value>, &'s str, fn(Ordering) -> bool);

/// Why a check ended.
enum Failed {
    Malformed(Malformed),
    Broken(String),
}

impl From<Malformed> for Failed {
    fn from(error: Malformed) -> Failed {
        Failed::Malformed(error)
    }
}

fn path_text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        // Writing to a string cannot fail.
        let _written = match step {
            Step::Index(index) => write!(text, "[{index}]"),
            Step::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                write_name(&mut text, name)
            }
        };
    }
    text
}

impl Rules {
    /// Checks `value` at `at`, which is left at the place of what is wrong.
    fn check(&self, value: ValueRef<'_>, at: &mut Vec<Step>) -> Result<(), Failed> {
        let broken = |problem: String| Err(Failed::Broken(problem));
        if let Some(types) = &self.types
            && !types.iter().any(|&position| is_of(value, position))
        {
            let expected: Vec<&str> = types.iter().map(|&position| TYPES[position]).collect();
            return broken(format!(
                "is {}, the schema asks for {}",
                value.type_name(),
                expected.join(" or ")
            ));
        }
        if let Some(choices) = &self.choices {
            let mut found = false;
            for choice in choices {
                found |= value.compare(choice.as_ref())? == Ordering::Equal;
            }
            if !found {
                let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
                return broken(format!("is {value}, the schema asks for {}", choices.join(" or ")));
            }
        }
        match value {
            ValueRef::Int(_) | ValueRef::Big { .. } | ValueRef::Float(_) => self.check_number(value),
            ValueRef::Text(text) => self.check_length(text.chars().count() as u64, "characters"),
            ValueRef::Bytes(bytes) => self.check_length(bytes.len() as u64, "bytes"),
            ValueRef::Array(array) => self.check_array(array, at),
            ValueRef::Map(map) => self.check_map(map, at),
            _ => Ok(()),
        }
    }

    fn check_number(&self, value: ValueRef<'_>) -> Result<(), Failed> {
        let limits: [Limit<'_>; 4] = [
            (&self.minimum, "at least", Ordering::is_ge),
            (&self.maximum, "at most", Ordering::is_le),
            (&self.exclusive_minimum, "more than", Ordering::is_gt),
            (&self.exclusive_maximum, "less than", Ordering::is_lt),
        ];
        for (limit, words, holds) in limits {
            if let Some(limit) = limit {
                let is_nan = matches!(value, ValueRef::Float(value) if value.is_nan());
                if is_nan || !holds(value.compare(limit.as_ref())?) {
                    return Err(Failed::Broken(format!("is {value}, the schema asks for {words} {limit}")));
                }
            }
        }
        Ok(())
    }

    fn check_length(&self, length: u64, unit: &str) -> Result<(), Failed> {
        match (self.min_length, self.max_length) {
            (Some(least), _) if length < least => {
                Err(Failed::Broken(format!("has {length} {unit}, the schema asks for at least {least}")))
            }
            (_, Some(most)) if length > most => {
                Err(Failed::Broken(format!("has {length} {unit}, the schema asks for at most {most}")))
            }
            _ => Ok(()),
        }
    }

    fn check_array(&self, array: &[u8], at: &mut Vec<Step>) -> Result<(), Failed> {
        let mut elements = cbor::elements(array)?;
        let length = elements.left();
        if let Some(least) = self.min_items.filter(|&least| length < least) {
            return Err(Failed::Broken(format!(
                "has {length} elements, the schema asks for at least {least}"
            )));
        }
        if let Some(most) = self.max_items.filter(|&most| length > most) {
            return Err(Failed::Broken(format!("has {length} elements, the schema asks for at most {most}")));
        }
        let mut seen = BTreeSet::new();
        let mut index = 0;
        while let Some(element) = elements.next()? {
            at.push(Step::Index(index));
            if self.unique_items && !seen.insert(encoding::encode(element)?) {
                return Err(Failed::Broken(
                    "is there twice, the schema asks for elements that differ".to_owned(),
                ));
            }
            if let Some(rules) = &self.items {
                rules.check(element, at)?;
            }
            at.pop();
            index = index.saturating_add(1);
        }
        Ok(())
    }

    fn check_map(&self, map: &[u8], at: &mut Vec<Step>) -> Result<(), Failed> {
        for name in &self.required {
            if cbor::field(map, name)? == ValueRef::Missing {
                at.push(Step::Field(name.clone()));
                return Err(Failed::Broken("is missing, the schema requires it".to_owned()));
            }
        }
        let mut entries = cbor::entries(map)?;
        while let Some((name, value)) = entries.next()? {
            at.push(Step::Field(name.to_owned()));
            match self.properties.iter().find(|(known, _)| known == name) {
                Some((_, rules)) => rules.check(value, at)?,
                None => match &self.additional {
                    Additional::Allowed => {}
                    Additional::Rules(rules) => rules.check(value, at)?,
                    Additional::Refused => {
                        let names = self.properties.iter().map(|(name, _)| name.as_str());
                        let hint = nearest(name, names)
                            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                        return Err(Failed::Broken(format!("is not in the schema{hint}")));
                    }
                },
            }
            at.pop();
        }
        Ok(())
    }
}

/// Whether `value` is of the type at `position` in [`TYPES`].
fn is_of(value: ValueRef<'_>, position: usize) -> bool {
    match TYPES[position] {
        "null" => value == ValueRef::Null,
        "boolean" => value.class() == Class::Bool,
        "integer" => match value {
            ValueRef::Float(value) => value.is_finite() && value.fract() == 0.0,
            value => value.class() == Class::Number,
        },
        "number" => value.class() == Class::Number,
        "string" => value.class() == Class::Text,
        "bytes" => value.class() == Class::Bytes,
        "array" => value.class() == Class::Array,
        _ => value.class() == Class::Map,
    }
}
