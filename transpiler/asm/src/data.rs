//! Contents of memory and of constants: where data segments go, and documents from JSON.

use dotdb_document::DocumentError;
use dotdb_query::{Query, QueryError};
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::{DataSegment, Memory};

use crate::diagnostics::Problem;
use crate::names::Scope;
use crate::syntax::{DataPlace, DataSource};

/// Alignment of named segments and of the heap, in bytes.
const ALIGN: u64 = 16;

/// Data segments in their places.
pub(crate) struct Layout {
    /// The segments, ascending by address.
    pub(crate) segments: Vec<DataSegment>,
    /// Address and length of each segment of the source, in its order.
    pub(crate) places: Vec<(u64, u64)>,
    /// The names, numbered by their segments in the source.
    pub(crate) names: Scope,
}

/// Gives each segment its address: read-only ones first, named ones behind the one before.
pub(crate) fn lay_out(sources: &[DataSource], address_bits: u32, problems: &mut Vec<Problem>) -> Layout {
    let mut names = Scope::new("a data segment", "declare one with `.data NAME \"...\"`");
    let mut places = vec![(0, 0); sources.len()];
    let mut end = 0;
    for read_only in [true, false] {
        for (index, source) in sources.iter().enumerate().filter(|(_, source)| source.read_only == read_only)
        {
            let address = match &source.place {
                DataPlace::Address(number) => number.to_u64(),
                DataPlace::Named(decl) => {
                    names.declare(decl, index as u32, problems);
                    end_aligned(end)
                }
            };
            let len = source.bytes.len() as u64;
            let last = address.and_then(|address| address.checked_add(len.saturating_sub(1)));
            match address.zip(last).filter(|(_, last)| address_bits >= 64 || last >> address_bits == 0) {
                Some((address, _)) if address.checked_add(len).is_some() => {
                    places[index] = (address, len);
                    end = end.max(address + len);
                }
                _ => {
                    let message =
                        format!("the segment does not lie within addresses of {} bits", address_bits.min(64));
                    problems.push(Problem::new(source.span.clone(), message));
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&index| (places[index].0, places[index].1));
    for pair in order.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let span = sources[after].span.clone();
        if places[before].0 + places[before].1 > places[after].0 {
            let message = format!("this segment at {:#x} overlaps another one", places[after].0);
            problems.push(Problem::new(span, message));
        } else if sources[after].read_only && !sources[before].read_only {
            let message = "a read-only segment cannot stand behind a writable one";
            problems.push(Problem::new(span, message).hint("read-only memory is one range from address 0"));
        }
    }
    let segments = order
        .iter()
        .map(|&index| DataSegment {
            address: places[index].0,
            read_only: sources[index].read_only,
            bytes: sources[index].bytes.clone(),
        })
        .collect();
    Layout { segments, places, names }
}

fn end_aligned(end: u64) -> Option<u64> {
    end.checked_next_multiple_of(ALIGN)
}

/// The memory of a module that states nothing: the pages that its data needs, and the heap behind the data.
pub(crate) fn default_memory(segments: &[DataSegment]) -> Memory {
    let ends = segments.iter().map(|segment| segment.address.saturating_add(segment.bytes.len() as u64));
    let end = ends.max().unwrap_or(0);
    let pages = end.div_ceil(PAGE_BYTES);
    Memory {
        min_pages: pages,
        max_pages: pages,
        heap_base: end_aligned(end).unwrap_or(u64::MAX - (ALIGN - 1)),
    }
}

/// Why a JSON text is no document.
pub(crate) struct DocumentProblem {
    /// Byte offset in the text.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// The name of a data segment or, with `.len` behind it, its length.
pub(crate) fn symbol(layout: &Layout, name: &str) -> Option<u64> {
    if let Some(index) = layout.names.get(name) {
        return Some(layout.places[index as usize].0);
    }
    let index = layout.names.get(name.strip_suffix(".len")?)?;
    Some(layout.places[index as usize].1)
}

/// Why a text is no query.
pub(crate) struct QueryProblem {
    /// Byte offset in the literal.
    pub(crate) at: usize,
    /// Bytes of the character there.
    pub(crate) len: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// A query, compiled. `literal` is the text as it stands in the source, quotes and escapes included.
pub(crate) fn query(text: &[u8], literal: &str) -> Result<Vec<u8>, QueryProblem> {
    let Ok(text) = std::str::from_utf8(text) else {
        let message = "the query is not UTF-8".to_owned();
        return Err(QueryProblem { at: 0, len: literal.len(), message });
    };
    let error = match Query::parse(text) {
        Ok(query) => return Ok(query.to_bytes()),
        Err(error) => error,
    };
    let (position, message) = match error {
        QueryError::Text { line, column, problem } => {
            let lines = text.split_inclusive('\n').take(line.saturating_sub(1) as usize);
            let before: usize = lines.map(|line| line.chars().count()).sum();
            (before + column.saturating_sub(1) as usize, problem)
        }
        error => (0, error.to_string()),
    };
    let (at, len) = character(literal, position);
    Err(QueryProblem { at, len, message })
}

/// Where the character of a string with this number stands in the string's literal, and its bytes there; behind the
/// last one the closing quote.
fn character(literal: &str, number: usize) -> (usize, usize) {
    let quote = literal.len().saturating_sub(1);
    let (mut at, mut len) = (1, 0);
    for _ in 0..=number {
        at += len;
        let rest = literal.get(at..quote).unwrap_or_default();
        len = match rest.as_bytes() {
            [] => return (quote, 1),
            [b'\\', b'x', ..] => 4,
            [b'\\', b'u', ..] => rest.find('}').map_or(2, |end| end + 1),
            [b'\\', ..] => 2,
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    (at, len)
}

/// A JSON text as a document: deterministic CBOR (RFC 8949 section 4.2).
pub(crate) fn document(json: &str) -> Result<Vec<u8>, DocumentProblem> {
    dotdb_document::from_json(json).map_err(|error| match error {
        DocumentError::Json { line, column, problem } => {
            let lines = json.split_inclusive('\n').take(line.saturating_sub(1) as usize);
            let line_start: usize = lines.map(str::len).sum();
            let mut rest = json[line_start..].char_indices();
            let at =
                rest.nth(column.saturating_sub(1) as usize).map_or(json.len(), |(at, _)| line_start + at);
            DocumentProblem { at, message: problem }
        }
        DocumentError::Cbor { .. } => DocumentProblem { at: 0, message: error.to_string() },
    })
}
