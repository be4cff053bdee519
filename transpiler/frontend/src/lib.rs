//! The interface between the transpiler and its frontends, one for each source machine.
//!
//! A [`Frontend`] recognises a file, parses it, and translates what it parsed into a DotVM module. It also knows how to
//! read the end of such a module's run as an end of the source machine: status, exit code, registers, memory. It runs
//! nothing itself and knows no engine. `docs/frontends.md` walks through a new one.

mod ending;
mod explanation;
pub mod sample;
mod source;

use dotvm_core::capability::CapabilitySet;
use dotvm_core::module::Module;
use dotvm_core::outcome::Outcome;

pub use ending::{Ending, Region};
pub use explanation::{Explanation, MAX_SPANS, Scheme, Span};
pub use source::{Neighbours, NoNeighbours, Source};

/// How sure a frontend is that a file is a program of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detection {
    /// It is not, or nothing speaks for it.
    No,
    /// Its name says so.
    Name,
    /// Its contents say so: a signature.
    Contents,
}

/// What a translation may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The module's name; without it the stem of the file's name.
    pub module_name: Option<String>,
    /// The interface of system calls, for machines that have several (NVM); without it the frontend chooses.
    pub abi: Option<String>,
    /// Whether the machine's default services are on (PVM).
    pub services: bool,
    /// Capabilities that the host refuses: what needs them fails as the machine says, where it says so (RVM).
    pub denied: CapabilitySet,
}

impl Default for Options {
    fn default() -> Options {
        Options { module_name: None, abi: None, services: true, denied: CapabilitySet::NONE }
    }
}

/// Why a file does not become a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FrontendError {
    /// Whether it is an image that cannot be loaded, or text that does not assemble.
    pub kind: ErrorKind,
    /// A sentence without full stop, with the place: a line, or a byte address.
    pub message: String,
}

impl FrontendError {
    /// An image that cannot be loaded.
    pub fn load(message: impl Into<String>) -> FrontendError {
        FrontendError { kind: ErrorKind::Load, message: message.into() }
    }

    /// Text that does not assemble.
    pub fn assembly(message: impl Into<String>) -> FrontendError {
        FrontendError { kind: ErrorKind::Assembly, message: message.into() }
    }
}

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The image cannot be loaded.
    Load,
    /// The text does not assemble.
    Assembly,
}

impl ErrorKind {
    /// The status of a run that never began.
    pub fn status(self) -> &'static str {
        match self {
            ErrorKind::Load => "load_error",
            ErrorKind::Assembly => "asm_error",
        }
    }
}

/// A translated program.
///
/// Its link-time needs (capabilities, collections) are those of the module, which the runtime checks before the first
/// instruction: [`Module::capabilities`], [`Module::collections`].
#[derive(Clone, Debug)]
pub struct Translation {
    /// The module. It passes the verifier whatever the source was.
    pub module: Module,
    /// The export that runs the program and answers how it ended.
    pub run: &'static str,
    /// The export that does the same and also answers what memory holds then.
    pub inspect: &'static str,
}

/// A program of a source machine, parsed.
pub trait Parsed {
    /// Translates it.
    ///
    /// # Errors
    /// Where parsing alone does not find everything that is wrong: names that nothing defines, for example.
    fn translate(&self, options: &Options) -> Result<Translation, FrontendError>;

    /// What [`Parsed::translate`] does with these options, and why.
    ///
    /// # Errors
    /// Those of [`Parsed::translate`].
    fn explain(&self, options: &Options) -> Result<Explanation, FrontendError>;

    /// The image that it is, or that its text assembles to, on machines that have images.
    fn image(&self) -> Option<&[u8]> {
        None
    }
}

/// An instruction word taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedWord {
    /// Its fields by name.
    pub fields: Vec<(&'static str, u64)>,
    /// What it says, a line each, for people.
    pub lines: Vec<String>,
}

/// A source machine.
pub trait Frontend: Sync {
    /// Its name, as `--from` takes it.
    fn name(&self) -> &'static str;

    /// What it is, in one line.
    fn title(&self) -> &'static str;

    /// Ends of the names of its files, without the point.
    fn extensions(&self) -> &'static [&'static str];

    /// Whether a file is one of its programs. Takes a constant time whatever the file.
    fn detect(&self, source: &Source<'_>) -> Detection {
        match source.extension() {
            Some(extension) if self.extensions().contains(&extension) => Detection::Name,
            _ => Detection::No,
        }
    }

    /// The machine's own capabilities, by name, if it has any; a program runs with those that it is given.
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    /// The words that the exports of a translation take, for a program that holds these of the machine's capabilities.
    ///
    /// # Errors
    /// A sentence, if the machine has no such capability or a program cannot hold so many.
    fn arguments(&self, capabilities: &[String]) -> Result<Vec<u64>, String> {
        match capabilities.first() {
            None => Ok(Vec::new()),
            Some(name) => Err(format!("{} has no capability {name}", self.name())),
        }
    }

    /// Parses a program.
    ///
    /// # Errors
    /// If it is none, with the place.
    fn parse<'a>(&self, source: &Source<'a>) -> Result<Box<dyn Parsed + 'a>, FrontendError>;

    /// Reads how a run of a translated program ended.
    ///
    /// # Errors
    /// A sentence, if no program of this machine ends so: a trap of the translated code that stands for nothing, or a
    /// limit of the host's.
    fn ending(&self, outcome: &Outcome) -> Result<Ending, String>;

    /// Takes an instruction word apart, on machines that have words to take apart.
    fn decode_word(&self, _word: u64) -> Option<DecodedWord> {
        None
    }
}
