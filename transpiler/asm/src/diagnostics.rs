//! Errors as data and as text with the line, a caret and a hint.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::lexer::Span;

/// Errors shown in one run; the rest are counted.
const SHOWN: usize = 50;

/// An error in source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Bytes of the source text that the error is about.
    pub span: Span,
    /// What is wrong, in one clause.
    pub message: String,
    /// How to make it right, where that is known.
    pub hint: Option<String>,
}

/// Why a source text is no module: at least one error, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembleError {
    /// Name of the source file.
    pub file: String,
    /// The source text.
    pub source: String,
    /// The errors.
    pub diagnostics: Vec<Diagnostic>,
}

impl AssembleError {
    pub(crate) fn new(file: &str, source: &str, mut problems: Vec<Problem>) -> AssembleError {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems.dedup();
        let mut lines = Lines::new(source);
        let diagnostics = problems
            .into_iter()
            .map(|problem| {
                let (line, column) = lines.locate(problem.span.start);
                let Problem { span, message, hint } = problem;
                Diagnostic { line, column, span, message, hint }
            })
            .collect();
        AssembleError { file: file.to_owned(), source: source.to_owned(), diagnostics }
    }

    /// The errors for people: each with file, line, column, the line itself, a caret and a hint.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for diagnostic in self.diagnostics.iter().take(SHOWN) {
            out.push_str(&render(&self.file, &self.source, diagnostic, color));
            out.push('\n');
        }
        if let Some(more) = self.diagnostics.len().checked_sub(SHOWN).filter(|&more| more > 0) {
            out.push_str(&format!("and {more} more errors\n"));
        }
        out
    }
}

impl fmt::Display for AssembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for AssembleError {}

/// One error with its source line.
pub(crate) fn render(file: &str, source: &str, diagnostic: &Diagnostic, color: bool) -> String {
    // The renderer sees only the line, so its work does not grow with the file.
    let start = source[..diagnostic.span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
    let line = source[start..end].trim_end_matches('\r');
    let from = (diagnostic.span.start - start).min(line.len());
    let to = (diagnostic.span.end.saturating_sub(start)).clamp(from, line.len());
    let snippet = Snippet::source(line)
        .line_start(diagnostic.line as usize)
        .path(if file.is_empty() { "source" } else { file })
        .annotation(AnnotationKind::Primary.span(from..to));
    let mut group = Level::ERROR.primary_title(diagnostic.message.as_str()).element(snippet);
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

/// An error while its place is still a byte range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Problem {
        Problem { span, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Problem {
        self.hint = hint;
        self
    }
}

/// Turns ascending byte positions into lines and columns in one pass.
pub(crate) struct Lines<'a> {
    source: &'a str,
    line: u32,
    line_start: usize,
    at: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(source: &'a str) -> Lines<'a> {
        Lines { source, line: 1, line_start: 0, at: 0 }
    }

    /// Line, from 1, of a position that is not before the last one asked for.
    pub(crate) fn line(&mut self, position: usize) -> u32 {
        for (offset, byte) in self.source.as_bytes()[self.at..position].iter().enumerate() {
            if *byte == b'\n' {
                self.line += 1;
                self.line_start = self.at + offset + 1;
            }
        }
        self.at = position;
        self.line
    }

    /// Line and column, from 1, of a position that is not before the last one asked for.
    pub(crate) fn locate(&mut self, position: usize) -> (u32, u32) {
        let line = self.line(position);
        (line, self.source[self.line_start..position].chars().count() as u32 + 1)
    }
}

/// Longest name, in characters, for which a similar one is searched.
const LONGEST_GUESS: usize = 64;

/// "did you mean `x`?" for the candidate nearest to a misspelt name, if one is near.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let folded = name.to_lowercase();
    let len = folded.chars().count();
    let limit = (len / 3).max(1);
    if len > LONGEST_GUESS {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(len) <= limit)
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
