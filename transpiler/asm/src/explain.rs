//! The verifier's errors at their place in the source.

use dotvm_core::module::Module;
use dotvm_core::verify::VerifyError;

use crate::diagnostics::{Diagnostic, Lines, render};
use crate::{Options, assemble};

/// Where in the source a verifier error is, as data; `None` if the source is not the module's or the error is
/// not about an instruction.
pub fn locate_verify_error(source: &str, module: &Module, error: &VerifyError) -> Option<Diagnostic> {
    let (function, offset) = (error.function.as_ref()?.0, error.offset?);
    let options = Options { width: Some(module.width), ..Options::default() };
    let assembled = assemble(source, &options).ok()?;
    if assembled.module.functions.get(function as usize)?.code
        != module.functions.get(function as usize)?.code
    {
        return None;
    }
    let spans = &assembled.spans[function as usize];
    let after = spans.partition_point(|(start, _)| *start <= offset);
    let span = spans.get(after.checked_sub(1)?)?.1.clone();
    let (line, column) = Lines::new(source).locate(span.start);
    Some(Diagnostic { line, column, span, message: error.to_string(), hint: None })
}

/// A verifier error for people: with its source line and a caret if the source is the module's, else alone.
pub fn explain_verify_error(source: &str, module: &Module, error: &VerifyError, color: bool) -> String {
    let file = module.debug.as_ref().map_or("", |debug| debug.source_name.as_str());
    match locate_verify_error(source, module, error) {
        Some(diagnostic) => render(file, source, &diagnostic, color),
        None => format!("error: {error}\n"),
    }
}
