//! Input files: source text or modules.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use dotvm_arch::Width;
use dotvm_asm::{AssembleError, Diagnostic, Options, explain_verify_error, locate_verify_error};
use dotvm_core::container::{self, KEY_BYTES, MAGIC, OpenError};
use dotvm_core::limits::module::FILE_BYTES;
use dotvm_core::module::Module;
use dotvm_core::outcome::End;
use dotvm_core::trap::Trap;
use dotvm_core::verify::{Verified, VerifyError, verify};
use dotvm_runtime::Program;
use dotvm_runtime::RuntimeError;
use dotvm_runtime::audit;

use crate::exit::Exit;
use crate::failure::{Failure, SourceError};
use crate::keys::TrustOptions;

/// Longest source text, bytes.
const SOURCE_BYTES: usize = 64 << 20;

/// A file that was read.
pub struct Input {
    /// The module file's bytes.
    pub bytes: Vec<u8>,
    /// The module.
    pub module: Module,
    /// The source text it was assembled from, if it is at hand.
    pub source: Option<String>,
    /// The public key of who signed it.
    pub signer: Option<[u8; KEY_BYTES]>,
    /// The bytes that a database keeps: a signed envelope, if no key is needed to open it, else the module file.
    pub kept: Vec<u8>,
}

impl Input {
    /// Reads `.dasm` or `.dotvm`, `-` being standard input. Other names are told apart by how they begin. `width`
    /// is the one a neutral source is assembled for, and must be a module's own. Sealed modules are opened, and only
    /// who is trusted is taken.
    pub fn read_trusted(path: &Path, width: Option<Width>, trust: &TrustOptions) -> Result<Input, Failure> {
        let bytes = read_file(path)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_module = match extension {
            Some("dasm") => false,
            Some("dotvm") => true,
            _ => bytes.starts_with(&MAGIC),
        };
        // Keys are read even where nothing is sealed: a name that is wrong is always said.
        let keys = trust.keys()?;
        if !is_module {
            let input = Input::assemble(path, bytes, width)?;
            trust.check(path, None)?;
            return Ok(input);
        }
        let opened = container::open(&bytes, &keys).map_err(|error| {
            if matches!(error, OpenError::Signature(_)) {
                audit::signature_refused(&path.display().to_string(), &error.to_string());
            }
            refused(path, &error.to_string())
        })?;
        // Nothing of a module is looked at before its signature is.
        trust.check(path, opened.signer.as_ref())?;
        let is_kept_signed = opened.signer.is_some() && !opened.encrypted;
        let kept = if is_kept_signed { bytes } else { opened.module.clone() };
        let (bytes, signer) = (opened.module, opened.signer);
        let module = container::read(&bytes).map_err(|error| refused(path, &error.to_string()))?;
        match width {
            Some(width) if width != module.width => Err(Failure::new(
                Exit::Usage,
                format!("{} has words of {} bits, not {width}", path.display(), module.width),
            )),
            _ => {
                let source = source_of(&module, path.parent());
                Ok(Input { bytes, module, source, signer, kept })
            }
        }
    }

    /// Reads source text and assembles it.
    pub fn read_source(path: &Path, width: Option<Width>) -> Result<Input, Failure> {
        let bytes = read_file(path)?;
        if bytes.starts_with(&MAGIC) {
            return Err(refused(path, "it is a module already, which `dotvm disasm` shows as source text"));
        }
        Input::assemble(path, bytes, width)
    }

    fn assemble(path: &Path, bytes: Vec<u8>, width: Option<Width>) -> Result<Input, Failure> {
        if bytes.len() > SOURCE_BYTES {
            return Err(refused(path, &format!("a source text has at most {SOURCE_BYTES} bytes")));
        }
        let source = match String::from_utf8(bytes) {
            Ok(source) => source,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
                return Err(refused(path, &format!("it is not UTF-8 text from line {line} on")));
            }
        };
        let options = Options { width, ..Options::for_file(&path.display().to_string()) };
        let module = dotvm_asm::assemble(&source, &options)?.module;
        let bytes = container::write(&module).map_err(|error| refused(path, &error.to_string()))?;
        let kept = bytes.clone();
        Ok(Input { bytes, module, source: Some(source), signer: None, kept })
    }

    /// Verifies the module.
    pub fn verify(&self, path: &Path) -> Result<Verified, Failure> {
        verify(self.module.clone()).map_err(|error| self.verify_failure(path, &error))
    }

    /// Makes the module ready to run.
    pub fn program(&self, path: &Path) -> Result<Program, Failure> {
        Program::load(&self.bytes).map_err(|error| match error {
            RuntimeError::Verify(error) => self.verify_failure(path, &error),
            error => error.into(),
        })
    }

    fn verify_failure(&self, path: &Path, error: &VerifyError) -> Failure {
        let mut failure = refused(path, &error.to_string());
        let Some(source) = self.source.clone() else { return failure };
        if let Some(diagnostic) = locate_verify_error(&source, &self.module, error) {
            failure.rendered = Some(explain_verify_error(&source, &self.module, error, true));
            failure.diagnostics.push(SourceError {
                line: diagnostic.line,
                column: diagnostic.column,
                message: diagnostic.message,
                hint: diagnostic.hint,
            });
        }
        failure
    }
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Input, format!("{} is refused: {why}", path.display()))
}

/// Reads a file of at most the size of a module.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES as u64 + 1;
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::unreadable(path, &error)),
    }
}

/// The source text that a module names, if the file lies in the folder (or the current one) and is unchanged.
fn source_of(module: &Module, folder: Option<&Path>) -> Option<String> {
    let debug = module.debug.as_ref()?;
    let path = folder.unwrap_or(Path::new("")).join(&debug.source_name);
    let metadata = path.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > SOURCE_BYTES as u64 {
        return None;
    }
    let source = std::fs::read_to_string(&path).ok()?;
    (*blake3::hash(source.as_bytes()).as_bytes() == debug.source_hash).then_some(source)
}

/// A trap for people: the sentence, and the source line with a caret if the source is at hand.
pub fn explain_trap(module: &Module, source: Option<&str>, trap: &Trap) -> String {
    let sentence = trap_sentence(module, trap);
    let found = source.map(str::to_owned).or_else(|| source_of(module, None));
    let place = found.as_deref().and_then(|source| {
        let error = VerifyError {
            function: Some((trap.function, module.function_name(trap.function))),
            offset: Some(trap.offset),
            message: String::new(),
        };
        locate_verify_error(source, module, &error)
    });
    match (found, place) {
        (Some(source), Some(place)) => {
            let file = module.debug.as_ref().map_or("", |debug| debug.source_name.as_str()).to_owned();
            let diagnostics = vec![Diagnostic { message: sentence, ..place }];
            AssembleError { file, source, diagnostics }.render(true)
        }
        _ => format!("{}error{}: {sentence}", ERROR.render(), ERROR.render_reset()),
    }
}

/// The style of the word `error`.
pub const ERROR: anstyle::Style = anstyle::AnsiColor::BrightRed.on_default().bold();

/// `Overflow in "transfer" at offset 12 (token.dasm:34): The result does not fit the word.`
pub fn trap_sentence(module: &Module, trap: &Trap) -> String {
    let place = match (&module.debug, module.source_line(trap.function, trap.offset)) {
        (Some(debug), Some(line)) if !debug.source_name.is_empty() => {
            format!(" ({}:{line})", debug.source_name)
        }
        _ => String::new(),
    };
    let function = module.function_name(trap.function);
    let detail = trap.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!(
        "{} in `{function}` at offset {}{place}: {}{detail}",
        trap.kind,
        trap.offset,
        trap.kind.sentence().trim_end_matches('.'),
    )
}

/// The exit code that says how a program ended.
pub fn exit_of(end: &End) -> Exit {
    if end.is_success() { Exit::Success } else { Exit::Program }
}
