//! Paths into documents: `address.city`, `tags[0]`, `"odd name".x`.

use std::fmt;
use std::sync::Arc;

use crate::cbor;
use crate::error::QueryError;
use crate::value::{Malformed, ValueRef};

/// Most steps of a path: documents are nested no deeper.
pub const MAX_STEPS: usize = dotdb_document::MAX_DEPTH;
/// Longest name of a field in a path, bytes.
pub const MAX_FIELD_BYTES: usize = 1024;

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// To a map's value.
    Field(String),
    /// To an array's element, from 0.
    Index(u32),
}

/// Where in a document a value is. Without steps it is the document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Shared: plans have a path in many places.
    steps: Arc<[Step]>,
}

impl Path {
    /// A path of `steps`.
    ///
    /// # Errors
    /// [`QueryError::Invalid`] beyond [`MAX_STEPS`] and [`MAX_FIELD_BYTES`].
    pub fn new(steps: Vec<Step>) -> Result<Path, QueryError> {
        if steps.len() > MAX_STEPS {
            return Err(QueryError::Invalid(format!(
                "a path has {} steps, more than {MAX_STEPS}",
                steps.len()
            )));
        }
        let too_long = |step: &Step| matches!(step, Step::Field(name) if name.len() > MAX_FIELD_BYTES);
        if steps.iter().any(too_long) {
            return Err(QueryError::Invalid(format!("a field's name has more than {MAX_FIELD_BYTES} bytes")));
        }
        Ok(Path { steps: steps.into() })
    }

    /// A field of the document itself.
    ///
    /// # Errors
    /// As [`Path::new`].
    pub fn field(name: &str) -> Result<Path, QueryError> {
        Path::new(vec![Step::Field(name.to_owned())])
    }

    /// Reads a path's text form.
    ///
    /// # Errors
    /// [`QueryError::Text`] with the place.
    pub fn parse(text: &str) -> Result<Path, QueryError> {
        crate::index_text::path(text)
    }

    /// Its steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The value at this path of `document`, found by passing over what is beside it.
    ///
    /// # Errors
    /// [`Malformed`] if `document` is damaged on the way.
    pub fn find<'d>(&self, document: &'d [u8]) -> Result<ValueRef<'d>, Malformed> {
        walk(&self.steps, cbor::root(document)?)
    }
}

/// Goes down from `value`.
pub(crate) fn walk<'d>(steps: &[Step], mut value: ValueRef<'d>) -> Result<ValueRef<'d>, Malformed> {
    for step in steps {
        value = match (step, value) {
            (Step::Field(name), ValueRef::Map(map)) => cbor::field(map, name)?,
            (Step::Index(index), ValueRef::Array(array)) => {
                let mut elements = cbor::elements(array)?;
                if u64::from(*index) >= elements.left() {
                    return Ok(ValueRef::Missing);
                }
                elements.skip(u64::from(*index))?;
                elements.next()?.unwrap_or(ValueRef::Missing)
            }
            _ => return Ok(ValueRef::Missing),
        };
    }
    Ok(value)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_steps(f, &self.steps, true)
    }
}

/// `items[*].price`.
pub(crate) fn write_elements(f: &mut fmt::Formatter<'_>, array: &Path, below: &Path) -> fmt::Result {
    write!(f, "{array}[*]")?;
    write_steps(f, below.steps(), false)
}

fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[Step], from_start: bool) -> fmt::Result {
    for (position, step) in steps.iter().enumerate() {
        match step {
            Step::Field(name) => {
                if position > 0 || !from_start {
                    f.write_str(".")?;
                }
                write_name(f, name)?;
            }
            Step::Index(index) => write!(f, "[{index}]")?,
        }
    }
    Ok(())
}

/// Writes a name as the language reads it: in quotation marks where it must be.
pub(crate) fn write_name(f: &mut impl fmt::Write, name: &str) -> fmt::Result {
    if is_plain(name) { f.write_str(name) } else { write!(f, "\"{}\"", name.replace('"', "\"\"")) }
}

/// Whether a name needs no quotation marks.
pub(crate) fn is_plain(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name != crate::query::KEY_NAME
        && !is_keyword(name)
}

/// Words that mean something where a path can stand, besides those that the SQL parser reserves.
const WORDS: [&str; 32] = [
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COLLATE",
    "DESC",
    "DISTINCT",
    "EXCEPT",
    "EXISTS",
    "FALSE",
    "HAVING",
    "ILIKE",
    "IN",
    "INTERSECT",
    "IS",
    "JOIN",
    "LIKE",
    "MISSING",
    "NOT",
    "NULL",
    "OR",
    "OVER",
    "SOME",
    "TOP",
    "TRUE",
    "UNION",
    "WITH",
];

/// Whether the language gives the word a meaning of its own.
fn is_keyword(name: &str) -> bool {
    use sqlparser::keywords::{
        ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS,
    };
    let upper = name.to_ascii_uppercase();
    if WORDS.contains(&upper.as_str()) {
        return true;
    }
    let Ok(position) = ALL_KEYWORDS.binary_search(&upper.as_str()) else { return false };
    let keyword = &ALL_KEYWORDS_INDEX[position];
    RESERVED_FOR_COLUMN_ALIAS.contains(keyword) || RESERVED_FOR_TABLE_ALIAS.contains(keyword)
}

/// Writes a part of a collection's name, where more words have a meaning.
pub(crate) fn write_collection(f: &mut impl fmt::Write, name: &str) -> fmt::Result {
    let upper = name.to_ascii_uppercase();
    if sqlparser::keywords::ALL_KEYWORDS.binary_search(&upper.as_str()).is_ok() {
        return write!(f, "\"{name}\"");
    }
    write_name(f, name)
}
