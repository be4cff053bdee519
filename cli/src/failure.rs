//! Why a command did not do what it was asked for.

use std::fmt::Display;
use std::io;
use std::path::Path;

use dotdb::DbError;
use dotvm_asm::AssembleError;
use dotvm_runtime::RuntimeError;
use dotvm_runtime::args::ArgumentError;
use serde::Serialize;

use crate::exit::Exit;
use crate::output::Output;

/// A failed command: an exit code and one sentence.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// One sentence, without "error:" and full stop.
    pub sentence: String,
    /// The same at more length for people, with source lines and carets.
    pub rendered: Option<String>,
    /// The errors of a source text one by one.
    pub diagnostics: Vec<SourceError>,
    /// Of a run of Nock: whether it would fail everywhere.
    pub cause: Option<Cause>,
    /// Whether the JSON answer has it already.
    pub told: bool,
}

/// Why a run of Nock has no product.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cause {
    /// Whether it has none wherever it runs, within whatever limits.
    pub deterministic: bool,
    /// The limit that was reached, if one was.
    pub limit: Option<&'static str>,
}

/// An error in a source text.
#[derive(Clone, Debug, Serialize)]
pub struct SourceError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to make it right.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with this sentence.
    pub fn new(exit: Exit, sentence: impl Display) -> Failure {
        Failure {
            exit,
            sentence: sentence.to_string(),
            rendered: None,
            diagnostics: Vec::new(),
            cause: None,
            told: false,
        }
    }

    /// An input file that cannot be read.
    pub fn unreadable(path: &Path, error: &io::Error) -> Failure {
        let sentence = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
            io::ErrorKind::IsADirectory => format!("{} is a directory, not a file", path.display()),
            io::ErrorKind::InvalidData => format!("{} is not UTF-8 text", path.display()),
            _ => format!("{} cannot be read: {error}", path.display()),
        };
        Failure::new(Exit::Input, sentence)
    }

    /// The failure, which the JSON answer has already.
    pub fn told(self) -> Failure {
        Failure { told: true, ..self }
    }

    /// The failure told on standard error, because the JSON answer was given before it.
    pub fn told_with(self, output: &Output) -> Failure {
        output.complain(&format!("error: {}", self.sentence));
        self.told()
    }

    /// An output that cannot be written.
    pub fn unwritable(what: impl Display, error: &io::Error) -> Failure {
        Failure::new(Exit::Output, format!("{what} cannot be written: {error}"))
    }
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Failure {
        let sentence = match error.diagnostics.as_slice() {
            [] => format!("{} does not assemble", error.file),
            [first, rest @ ..] => {
                let place = format!("{}:{}:{}: {}", error.file, first.line, first.column, first.message);
                if rest.is_empty() { place } else { format!("{place} (and {} more errors)", rest.len()) }
            }
        };
        Failure {
            exit: Exit::Input,
            sentence,
            rendered: Some(error.render(true)),
            diagnostics: error
                .diagnostics
                .into_iter()
                .map(|diagnostic| SourceError {
                    line: diagnostic.line,
                    column: diagnostic.column,
                    message: diagnostic.message,
                    hint: diagnostic.hint,
                })
                .collect(),
            cause: None,
            told: false,
        }
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Failure {
        let exit = match &error {
            RuntimeError::Read(_)
            | RuntimeError::Open(_)
            | RuntimeError::Untrusted { .. }
            | RuntimeError::UntrustedMachine { .. }
            | RuntimeError::Verify(_)
            | RuntimeError::Lower(_)
            | RuntimeError::NotGranted { .. } => Exit::Input,
            RuntimeError::Argument(_) => Exit::Usage,
            RuntimeError::Stopped => Exit::Program,
            RuntimeError::System(_) => Exit::Outside,
            RuntimeError::Db(error) => exit_of(error),
            RuntimeError::Conflict { .. }
            | RuntimeError::LateConflict(_)
            | RuntimeError::OutsideConflict(_) => Exit::Conflict,
            RuntimeError::UnknownContract { .. }
            | RuntimeError::StoredCode { .. }
            | RuntimeError::NameTaken { .. }
            | RuntimeError::UnknownMachine { .. }
            | RuntimeError::Machine { .. } => Exit::Database,
        };
        let mut failure = Failure::new(exit, &error);
        if let RuntimeError::NotGranted { capability, .. } = error {
            failure.sentence.push_str(&format!(": --cap {capability} grants it"));
        }
        failure
    }
}

impl From<ArgumentError> for Failure {
    fn from(error: ArgumentError) -> Failure {
        Failure::new(Exit::Usage, error)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Failure {
        Failure::new(exit_of(&error), error)
    }
}

fn exit_of(error: &DbError) -> Exit {
    match error {
        DbError::Name { .. } | DbError::Settings { .. } => Exit::Usage,
        DbError::TooLarge { .. }
        | DbError::Document(_)
        | DbError::Schema(_)
        | DbError::SchemaOfRecord { .. }
        | DbError::IndexEntry(_)
        | DbError::NotUnique { .. } => Exit::Input,
        DbError::Query(_) => Exit::Usage,
        DbError::Conflict { .. } => Exit::Conflict,
        _ => Exit::Database,
    }
}
