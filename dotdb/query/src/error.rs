//! What can be wrong with a query, a schema, an index or a document, in one sentence each.

/// Why a query, an index or a schema is refused, or why executing a query ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Text that is not a query of this language.
    #[error("{problem} at line {line}, column {column}")]
    Text {
        /// Line, from 1.
        line: u64,
        /// Column in characters, from 1.
        column: u64,
        /// What is wrong.
        problem: String,
    },
    /// A query that is well-formed and means nothing.
    #[error("{0}")]
    Invalid(String),
    /// Bytes that are not a compiled query.
    #[error("the compiled query is refused: {0}")]
    Compiled(String),
    /// Fewer or more values than the query has parameters.
    #[error("the query has {expected} parameters and {given} values are given")]
    Parameters {
        /// How many the query has.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A path that no document of the collection can have: its schema says so.
    #[error("the collection's schema has no field `{path}`{}", did_you_mean(.suggestion))]
    UnknownField {
        /// The path as the query has it.
        path: String,
        /// The nearest that the schema has.
        suggestion: Option<String>,
    },
    /// A continuation token that does not belong here.
    #[error("the continuation token is refused: {0}")]
    Token(String),
    /// More rows examined, or bytes read, than the budget allows.
    #[error("the query reads more than its budget of {limit} {unit}: {advice}")]
    Budget {
        /// The budget.
        limit: u64,
        /// What is counted.
        unit: &'static str,
        /// What helps.
        advice: String,
    },
    /// More memory needed than the budget allows.
    #[error("{what} needs more than {limit_bytes} bytes of memory: {advice}")]
    Memory {
        /// Who needs it.
        what: &'static str,
        /// The budget.
        limit_bytes: u64,
        /// What helps.
        advice: String,
    },
    /// A stored document that is damaged.
    #[error("the record with key x'{key}' is not a document: {problem}")]
    Record {
        /// The record's key in hexadecimal.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// An index that does not agree with the records.
    #[error("the index {index} names a record with key x'{key}' that is not there")]
    Dangling {
        /// The index.
        index: String,
        /// The record's key in hexadecimal.
        key: String,
    },
    /// An index entry that DotDB cannot have written.
    #[error("the index {index} has an entry that no document gives: x'{entry}'")]
    Entry {
        /// The index.
        index: String,
        /// The entry in hexadecimal.
        entry: String,
    },
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Bytes in lower-case hexadecimal, at most 64 of them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text: String = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 64 {
        text.push('…');
    }
    text
}

/// The candidate nearest to `name`, if one is near.
pub(crate) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<String> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= limit && candidate != name)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}
