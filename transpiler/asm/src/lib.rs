//! The assembler and disassembler of `.dasm` source, described in `docs/assembly.md`.
//!
//! [`assemble`] turns text into a [`Module`] or into every error of the text at once; [`disassemble`] turns a
//! module into the text from which [`assemble`] makes the same module again.
//!
//! ```
//! let source = ".func pub double [x] -> [y]\n  LGET x PUSH 2 MUL RET\n.end\n";
//! let assembled = dotvm_asm::assemble(source, &dotvm_asm::Options::default()).unwrap();
//! let text = dotvm_asm::disassemble(&assembled.module).unwrap();
//! let again = dotvm_asm::assemble(&text, &dotvm_asm::Options::default()).unwrap();
//! assert_eq!(again.module, assembled.module);
//! ```

mod data;
mod diagnostics;
mod directives;
mod disasm;
mod emit;
mod explain;
mod function;
mod keywords;
mod lexer;
mod names;
mod parser;
mod syntax;

use std::ops::Range;
use std::path::Path;

use dotvm_arch::Width;
use dotvm_core::limits::module::NAME_BYTES;
use dotvm_core::module::Module;

pub use diagnostics::{AssembleError, Diagnostic};
pub use disasm::{DisassembleError, disassemble};
pub use explain::{explain_verify_error, locate_verify_error};

/// What the assembler is told besides the source text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Word width for source that fixes none; 64 bits without it. Source that fixes another one is refused.
    pub width: Option<Width>,
    /// Name of the source file, for messages and the debug section (there without its folders if it is longer
    /// than a name may be).
    pub file: String,
    /// Name of a module that does not state its own; the stem of the file's name without it.
    pub module_name: Option<String>,
}

impl Options {
    /// Options for a source file.
    pub fn for_file(file: &str) -> Options {
        Options { file: file.to_owned(), ..Options::default() }
    }

    /// The file's name for the debug section: without its folder, so that the module is the same wherever its
    /// source lies.
    fn source_name(&self) -> String {
        let name = Path::new(&self.file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name[..name.floor_char_boundary(NAME_BYTES)].to_owned()
    }

    fn default_module_name(&self) -> String {
        match &self.module_name {
            Some(name) => name.clone(),
            None => match Path::new(&self.file).file_stem().and_then(|stem| stem.to_str()) {
                Some(stem) => stem.to_owned(),
                None => "module".to_owned(),
            },
        }
    }
}

/// An assembled module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The module, with its debug section unless the source says `.nodebug`. Nothing has verified it yet.
    pub module: Module,
    /// For each function the code offset of each instruction and its bytes in the source text.
    pub spans: Vec<Vec<(u32, Range<usize>)>>,
}

/// Assembles a source text.
///
/// # Errors
/// Everything that is wrong with the text, up to a thousand errors.
pub fn assemble(source: &str, options: &Options) -> Result<Assembled, AssembleError> {
    let (syntax, problems) = parser::parse(source);
    emit::emit(&syntax, source, options, problems)
        .map_err(|problems| AssembleError::new(&options.file, source, problems))
}
