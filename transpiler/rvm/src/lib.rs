//! The frontend of RVM v1, a small stack machine whose values carry their types. What the machine does is written in
//! `docs/machines/rvm.md`; section numbers in this crate are that text's.
//!
//! A program and the libraries that it names are linked to one sequence of instructions. A runtime library in bytecode
//! carries them out one by one as the reference says: the general scheme, which keeps every value with its type in memory.
//! Where heights and types are known there is direct code, in which values are plain words; it goes back to the general scheme
//! wherever something is not as assumed. So the choice between the two is about speed only.

mod analysis;
mod asm;
mod bytes;
mod classify;
mod direct;
mod explain;
pub mod generator;
mod isa;
mod lexer;
mod library;
mod link;
mod literal;
mod model;
mod program;
mod runtime;
mod translate;
mod types;

use dotvm_core::outcome::{End, Outcome, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_frontend::{
    Detection, Ending, Explanation, Frontend, FrontendError, Options, Parsed, Source, Translation,
};
use serde_json::Value;

use crate::program::Program;
pub use crate::types::{Constant, Type};

/// Names of the error codes.
const ERRORS: [&str; 18] = [
    "no error",
    "stack overflow",
    "stack underflow",
    "invalid opcode",
    "invalid memory address",
    "invalid memory access",
    "memory allocation failed",
    "thread creation failed",
    "thread join failed",
    "thread detach failed",
    "thread cancellation failed",
    "thread exit failed",
    "exception thrown",
    "exception handler not found",
    "exception handler failed",
    "division by zero",
    "type mismatch",
    "conversion failed",
];

/// The frontend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rvm;

/// The bytes of one file: what its text assembles to, or itself if it is bytes that are well formed. Nothing is linked.
///
/// # Errors
/// If the file is malformed, with the place.
pub fn assemble(source: &Source<'_>) -> Result<Vec<u8>, FrontendError> {
    let module = link::parse(source)?;
    Ok(if module.has_lines { bytes::write(&module) } else { source.bytes.to_vec() })
}

/// A linked program.
struct Linked<'a> {
    source: Source<'a>,
    image: Vec<u8>,
    program: Program,
}

impl Frontend for Rvm {
    fn name(&self) -> &'static str {
        "rvm"
    }

    fn title(&self) -> &'static str {
        "RVM v1: a stack machine with typed values; assembly (.ras) and bytes (.rvm)"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["rvm", "ras"]
    }

    fn detect(&self, source: &Source<'_>) -> Detection {
        if source.bytes.starts_with(&[0xFF, 0x00]) && source.extension() == Some("rvm") {
            return Detection::Contents;
        }
        match source.extension() {
            Some("ras" | "rvm") => Detection::Name,
            _ => Detection::No,
        }
    }

    fn parse<'a>(&self, source: &Source<'a>) -> Result<Box<dyn Parsed + 'a>, FrontendError> {
        let module = link::parse(source)?;
        let image = if module.has_lines { bytes::write(&module) } else { source.bytes.to_vec() };
        let program = link::link(module, source)?;
        Ok(Box::new(Linked { source: *source, image, program }))
    }

    fn ending(&self, outcome: &Outcome) -> Result<Ending, String> {
        let (words, refs) = match &outcome.end {
            End::Return { words, refs } if words.len() == usize::from(translate::ANSWERS) => (words, refs),
            End::Trap(trap) if trap.kind == TrapKind::Gas => return Ok(Ending::new("limit")),
            other => return Err(format!("no program of RVM ends so: {other:?}")),
        };
        let words: Vec<u64> = words.iter().map(|word| word.as_limbs()[0]).collect();
        let mut ending = match words[0] {
            0 => {
                let code = if words[2] == 0 { Value::from(words[1] as i64) } else { Value::from(words[1]) };
                Ending { exit_code: Some(code), ..Ending::new("halt") }
            }
            1 => {
                let mut ending = Ending::new("error");
                ending.exit_code = Some((words[1] as i64).into());
                ending.fields.insert("error".to_owned(), (words[1] as i64).into());
                let name = usize::try_from(words[1]).ok().and_then(|code| ERRORS.get(code));
                ending.fields.insert("error_name".to_owned(), name.copied().unwrap_or("unknown").into());
                let inst = words[3];
                ending.fields.insert("instruction".to_owned(), inst.into());
                ending
            }
            2 => Ending::new("limit"),
            other => return Err(format!("{other} is no status of RVM")),
        };
        if let Some(Ref::Bytes(stack)) = refs.first() {
            ending.fields.insert("final_stack".to_owned(), stack.chunks_exact(16).map(value).collect());
        }
        Ok(ending)
    }
}

/// A value of the final stack: name of the type and value.
fn value(bytes: &[u8]) -> Value {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let payload = number(0);
    let Some(ty) = u8::try_from(number(8)).ok().and_then(Type::from_code) else { return Value::Null };
    let float = |float: f64| match serde_json::Number::from_f64(float) {
        Some(number) => Value::Number(number),
        None if float.is_nan() => "nan".into(),
        None => if float > 0.0 { "inf" } else { "-inf" }.into(),
    };
    let value = match ty {
        Type::F32 => float(f32::from_bits(payload as u32).into()),
        Type::F64 => float(f64::from_bits(payload)),
        Type::Bool => (payload != 0).into(),
        Type::Char if payload < 0x80 => char::from(payload as u8).to_string().into(),
        Type::Ptr if payload == 0 => Value::Null,
        Type::Ptr => format!("{payload:#x}").into(),
        ty if ty.is_signed() => (payload as i64).into(),
        _ => payload.into(),
    };
    Value::Array(vec![ty.name().into(), value])
}

impl Parsed for Linked<'_> {
    fn translate(&self, options: &Options) -> Result<Translation, FrontendError> {
        let name = options.module_name.as_deref().unwrap_or(self.source.module_name());
        let name = &name[..name.floor_char_boundary(dotvm_core::limits::module::NAME_BYTES)];
        let module = translate::module(
            name,
            self.source.file_name(),
            self.source.bytes,
            &self.program,
            options.denied,
        );
        Ok(Translation { module, run: "run", inspect: "run" })
    }

    fn explain(&self, _options: &Options) -> Result<Explanation, FrontendError> {
        Ok(explain::program(&self.program))
    }

    fn image(&self) -> Option<&[u8]> {
        Some(&self.image)
    }
}
