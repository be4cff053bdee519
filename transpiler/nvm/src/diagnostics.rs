//! Errors in assembly text: file, line, column, the line itself, a caret, and a hint where there is one.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use dotvm_frontend::FrontendError;

/// Errors shown; the rest are counted.
const SHOWN: usize = 20;

/// An error in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// First byte of what is wrong.
    pub start: usize,
    /// Byte behind it.
    pub end: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// The error that a text with these problems is refused with.
pub(crate) fn refuse(file: &str, source: &str, problems: &[Problem]) -> FrontendError {
    let mut text = String::new();
    for problem in problems.iter().take(SHOWN) {
        text.push_str(&render(file, source, problem));
    }
    if problems.len() > SHOWN {
        text.push_str(&format!("and {} more errors\n", problems.len() - SHOWN));
    }
    FrontendError::assembly(format!("it does not assemble\n{}", text.trim_end()))
}

fn render(file: &str, source: &str, problem: &Problem) -> String {
    // The renderer sees only the line, so its work does not grow with the file.
    let before = &source.as_bytes()[..problem.start];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let text = source[start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let from = (problem.start - start).min(text.len());
    let to = problem.end.saturating_sub(start).clamp(from, text.len());
    let snippet =
        Snippet::source(text).line_start(line).path(file).annotation(AnnotationKind::Primary.span(from..to));
    let mut group = Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    format!("{}\n", Renderer::plain().render(&[group]))
}

/// Longest name for which a similar one is looked for.
const LONGEST_GUESS: usize = 64;

/// A hint at the name that a misspelt one is nearest to.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let folded = name.to_lowercase();
    let limit = (folded.len() / 3).max(1);
    if folded.len() > LONGEST_GUESS {
        return None;
    }
    known
        .into_iter()
        .filter(|known| known.len().abs_diff(folded.len()) <= limit)
        .map(|known| (strsim::damerau_levenshtein(&folded, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| format!("did you mean `{known}`?"))
}
