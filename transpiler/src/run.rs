//! What a program of a source machine is run with, and by whom.

use std::collections::BTreeMap;

use dotvm_core::outcome::Outcome;
use dotvm_frontend::Translation;

/// What a program is run with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Console input.
    pub stdin: Vec<u8>,
    /// Arguments.
    pub args: Vec<Vec<u8>>,
    /// The words that the exports take ([`arguments`](dotvm_frontend::Frontend::arguments)).
    pub words: Vec<u64>,
    /// Files, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The source machine's instruction limit.
    pub budget: Option<u64>,
    /// Whether memory is wanted at the end.
    pub inspect: bool,
}

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// What was written to standard output.
    pub stdout: Vec<u8>,
    /// What was written to standard error.
    pub stderr: Vec<u8>,
    /// The files after it.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Whoever runs translated programs: the command line and the tests, each in its way.
pub trait Executor {
    /// Runs one on an empty state.
    ///
    /// # Errors
    /// A sentence, if there is no outcome: the module is refused, or does not fit the limits.
    fn execute(&mut self, translation: &Translation, inputs: &Inputs) -> Result<Ran, String>;
}
