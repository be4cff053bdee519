//! Index specifications, and the entries that a document has in an index.
//!
//! An entry is the encodings (module [`encoding`]) of the document's values at the
//! index's paths, one after the other. A document without a value at a path is indexed with "missing"
//! there, so that an index holds every document of its collection and can answer IS MISSING and
//! ORDER BY alone. An index over the elements of an array (`tags[*]`) is another thing: it has one
//! entry for each distinct element, and none for a document whose value there is no array or empty.

use std::collections::BTreeSet;
use std::fmt;

use minicbor::{Decoder, Encoder};

use crate::QueryError;
use crate::cbor;
use crate::encoding;
use crate::path::{self, Path, Step};
use crate::value::{Malformed, ValueRef};

/// Most paths of one index.
pub const MAX_COLUMNS: usize = 8;
/// Longest entry, bytes.
pub const MAX_ENTRY_BYTES: usize = 1024;
/// Most entries of one document in one index.
pub const MAX_ENTRIES: usize = 4096;

/// What one column of an index holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexPath {
    /// The value at a path.
    Value(Path),
    /// Each element of the array at a path, or the value below it at a further path:
    /// `items[*].price`.
    Elements {
        /// To the array.
        array: Path,
        /// From an element down; without steps it is the element.
        below: Path,
    },
}

impl fmt::Display for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexPath::Value(path) => path.fmt(f),
            IndexPath::Elements { array, below } => path::write_elements(f, array, below),
        }
    }
}

/// What an index is over. Text form: `balance`, `city, age`, `unique email`, `tags[*]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexSpec {
    columns: Vec<IndexPath>,
    unique: bool,
}

/// One entry of a document in an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The encodings of the columns' values, one after the other.
    pub key: Vec<u8>,
    /// Whether another document must not have it: the index is unique and no column is missing or
    /// null.
    pub exclusive: bool,
    /// Whether decoding the key gives what the document has, in its form: 1 where it has 1, which 1.0 and -0.0 are
    /// not. Does not say it of a column over elements.
    pub exact: bool,
}

/// Why a document has no place in an index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The document is damaged.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A value is too long.
    #[error(
        "the index over {columns} takes at most {MAX_ENTRY_BYTES} bytes of a document, this one has {bytes}"
    )]
    TooLong {
        /// The index's text form.
        columns: String,
        /// The entry's length.
        bytes: usize,
    },
    /// An array has too many elements.
    #[error("the index over {columns} takes at most {MAX_ENTRIES} elements of a document")]
    TooMany {
        /// The index's text form.
        columns: String,
    },
}

impl IndexSpec {
    /// An index over `columns`.
    ///
    /// # Errors
    /// [`QueryError::Invalid`]: no column or more than [`MAX_COLUMNS`], a column twice, two columns
    /// over elements, a column over a whole document or an element of one.
    pub fn new(columns: Vec<IndexPath>, unique: bool) -> Result<IndexSpec, QueryError> {
        let fail = |problem: String| Err(QueryError::Invalid(problem));
        if columns.is_empty() || columns.len() > MAX_COLUMNS {
            return fail(format!("an index has 1 to {MAX_COLUMNS} paths, this one {}", columns.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|column| !seen.insert(*column)) {
            return fail(format!("the index has {twice} twice"));
        }
        if columns.iter().filter(|column| matches!(column, IndexPath::Elements { .. })).count() > 1 {
            return fail("an index goes over the elements of one array only".to_owned());
        }
        if columns.iter().any(|column| matches!(column, IndexPath::Value(path) if path.steps().is_empty())) {
            return fail("an index is over fields of documents, not over whole documents".to_owned());
        }
        // What the text form can say.
        let begins_with_place = |column: &IndexPath| {
            let (IndexPath::Value(path) | IndexPath::Elements { array: path, .. }) = column;
            !matches!(path.steps().first(), Some(Step::Field(_)))
        };
        if columns.iter().any(begins_with_place) {
            return fail("a path of an index begins with a field".to_owned());
        }
        Ok(IndexSpec { columns, unique })
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`QueryError::Text`] with the place, or as [`IndexSpec::new`].
    pub fn parse(text: &str) -> Result<IndexSpec, QueryError> {
        crate::index_text::spec(text)
    }

    /// What it is over, in order.
    #[must_use]
    pub fn columns(&self) -> &[IndexPath] {
        &self.columns
    }

    /// Whether no two documents may have the same entry.
    #[must_use]
    pub fn unique(&self) -> bool {
        self.unique
    }

    /// Which column is over elements, if one is.
    #[must_use]
    pub fn element_column(&self) -> Option<usize> {
        self.columns.iter().position(|column| matches!(column, IndexPath::Elements { .. }))
    }

    /// Deterministic CBOR: `[unique, [column...]]`, a column being an array of steps, a step text or
    /// a number, or `null` for "each element".
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        self.write(&mut out).expect("a vector takes everything that is written to it");
        out.into_writer()
    }

    fn write(
        &self,
        out: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        out.array(2)?.bool(self.unique)?.array(self.columns.len() as u64)?;
        for column in &self.columns {
            match column {
                IndexPath::Value(path) => {
                    out.array(path.steps().len() as u64)?;
                    write_steps(out, path)?;
                }
                IndexPath::Elements { array, below } => {
                    out.array((array.steps().len() + 1 + below.steps().len()) as u64)?;
                    write_steps(out, array)?;
                    out.null()?;
                    write_steps(out, below)?;
                }
            }
        }
        Ok(())
    }

    /// Reads what [`IndexSpec::to_bytes`] wrote, and only that.
    ///
    /// # Errors
    /// [`QueryError::Compiled`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<IndexSpec, QueryError> {
        let spec = IndexSpec::read(bytes)
            .map_err(|problem| QueryError::Compiled(format!("as an index, {problem}")))?;
        if spec.to_bytes() != bytes {
            return Err(QueryError::Compiled(
                "as an index, its encoding is not the deterministic one".to_owned(),
            ));
        }
        Ok(spec)
    }

    fn read(bytes: &[u8]) -> Result<IndexSpec, String> {
        let damaged = |_| "it is damaged".to_owned();
        let mut input = Decoder::new(bytes);
        if input.array().map_err(damaged)? != Some(2) {
            return Err("it is damaged".to_owned());
        }
        let unique = input.bool().map_err(damaged)?;
        let count = input.array().map_err(damaged)?.unwrap_or(0);
        if count > MAX_COLUMNS as u64 {
            return Err(format!("it has {count} paths"));
        }
        let mut columns = Vec::new();
        for _ in 0..count {
            let length = input.array().map_err(damaged)?.unwrap_or(0);
            if length > 2 * MAX_STEPS_U64 {
                return Err(format!("a path has {length} steps"));
            }
            let mut steps = Vec::new();
            let mut array = None;
            for _ in 0..length {
                match input.datatype().map_err(damaged)? {
                    minicbor::data::Type::String => {
                        steps.push(Step::Field(input.str().map_err(damaged)?.to_owned()));
                    }
                    minicbor::data::Type::Null if array.is_none() => {
                        input.null().map_err(damaged)?;
                        array = Some(std::mem::take(&mut steps));
                    }
                    _ => steps.push(Step::Index(input.u32().map_err(damaged)?)),
                }
            }
            let path = |steps| Path::new(steps).map_err(|error| error.to_string());
            columns.push(match array {
                None => IndexPath::Value(path(steps)?),
                Some(array) => IndexPath::Elements { array: path(array)?, below: path(steps)? },
            });
        }
        IndexSpec::new(columns, unique).map_err(|error| error.to_string())
    }
}

const MAX_STEPS_U64: u64 = path::MAX_STEPS as u64;

fn write_steps(
    out: &mut Encoder<Vec<u8>>,
    path: &Path,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    for step in path.steps() {
        match step {
            Step::Field(name) => out.str(name)?,
            Step::Index(index) => out.u32(*index)?,
        };
    }
    Ok(())
}

impl fmt::Display for IndexSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unique {
            f.write_str("unique ")?;
        }
        for (position, column) in self.columns.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            column.fmt(f)?;
        }
        Ok(())
    }
}

/// The entries that `document` has in an index, sorted, none twice.
///
/// # Errors
/// [`EntryError`]: the document is damaged, or has too much for an index.
pub fn entries(spec: &IndexSpec, document: &[u8]) -> Result<Vec<Entry>, EntryError> {
    let mut front = Partial::new();
    let columns = spec.columns();
    let element_column = spec.element_column();
    let root = cbor::root(document)?;
    let split = element_column.unwrap_or(columns.len());
    for column in &columns[..split] {
        front.push(column, root)?;
    }
    let entry = |key: Vec<u8>, nothing: bool, exact: bool| {
        if key.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong { columns: spec.to_string(), bytes: key.len() });
        }
        Ok(Entry { key, exclusive: spec.unique && !nothing, exact })
    };
    let Some(IndexPath::Elements { array, below }) = columns.get(split) else {
        return Ok(vec![entry(front.key, front.nothing, front.exact)?]);
    };
    let mut found = BTreeSet::new();
    if let ValueRef::Array(array) = path::walk(array.steps(), root)? {
        let mut back = Partial::new();
        for column in &columns[split + 1..] {
            back.push(column, root)?;
        }
        let mut elements = cbor::elements(array)?;
        while let Some(element) = elements.next()? {
            let value = path::walk(below.steps(), element)?;
            let mut key = front.key.clone();
            encoding::encode_into(&mut key, value)?;
            key.extend_from_slice(&back.key);
            let nothing = front.nothing || back.nothing || value.is_nothing();
            found.insert(entry(key, nothing, front.exact && back.exact)?);
            if found.len() > MAX_ENTRIES {
                return Err(EntryError::TooMany { columns: spec.to_string() });
            }
        }
    }
    Ok(found.into_iter().collect())
}

struct Partial {
    key: Vec<u8>,
    nothing: bool,
    exact: bool,
}

impl Partial {
    fn new() -> Partial {
        Partial { key: Vec::new(), nothing: false, exact: true }
    }

    fn push(&mut self, column: &IndexPath, root: ValueRef<'_>) -> Result<(), Malformed> {
        let IndexPath::Value(path) = column else { return Err(Malformed) };
        let value = path::walk(path.steps(), root)?;
        self.nothing |= value.is_nothing();
        let start = self.key.len();
        encoding::encode_into(&mut self.key, value)?;
        self.exact &= match value {
            ValueRef::Float(_) | ValueRef::Array(_) | ValueRef::Map(_) => {
                let decoded = encoding::decode(&self.key[start..]);
                decoded.is_ok_and(|(decoded, _)| is_same_form(decoded.as_ref(), value))
            }
            _ => true,
        };
        Ok(())
    }
}

/// Whether two values are one document, byte for byte.
fn is_same_form(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    let document = |value| {
        let mut out = Vec::new();
        cbor::write(&mut out, value);
        out
    };
    document(a) == document(b)
}

/// Reads the columns' values back from an entry's key; numbers are canonical, which are those of the document if the
/// entry is [exact](Entry::exact).
///
/// # Errors
/// [`Malformed`] for bytes that no document gives.
pub fn decode_entry(spec: &IndexSpec, key: &[u8]) -> Result<Vec<crate::Value>, Malformed> {
    let mut values = Vec::with_capacity(spec.columns().len());
    decode_entry_into(spec, key, &mut values)?;
    Ok(values)
}

/// [`decode_entry`], with the values in place of those there were.
pub(crate) fn decode_entry_into(
    spec: &IndexSpec,
    key: &[u8],
    values: &mut Vec<crate::Value>,
) -> Result<(), Malformed> {
    values.clear();
    let mut rest = key;
    for _ in spec.columns() {
        let (value, behind) = encoding::decode(rest)?;
        values.push(value);
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { Err(Malformed) }
}
