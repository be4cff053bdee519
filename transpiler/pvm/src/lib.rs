//! The frontend of PVM v1, a small 64-bit register machine. What the machine does is written in
//! `docs/machines/pvm.md`; section numbers in this crate are that text's.
//!
//! An image becomes one function with static heights. Blocks that a walk finds are direct code; all else, and
//! every case that direct code does not know, is done by a general scheme, an interpreter in bytecode that
//! stands beside it and hands back as soon as there is direct code again. So the choice between the two is about speed
//! only.

mod blocks;
mod class;
mod direct;
mod explain;
mod flags;
mod general;
mod locals;
mod machine;
mod operations;
mod registers;
mod rooms;
mod track;
mod translate;
mod word;

use dotvm_core::outcome::{End, Outcome, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_frontend::{
    DecodedWord, Ending, Explanation, Frontend, FrontendError, Options, Parsed, Region, Source, Translation,
};
use serde_json::{Map, Value};

use crate::machine::{REGISTERS, STACK_BASE, Status};
use crate::translate::{ANSWERS, low};

pub use crate::machine::{IMAGE_BYTES, MEMORY_BYTES};
pub use crate::word::{Instruction, Load, Word};

/// The frontend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pvm;

/// An image of a size that fits.
struct Image<'a> {
    source: Source<'a>,
}

impl Frontend for Pvm {
    fn name(&self) -> &'static str {
        "pvm"
    }

    fn title(&self) -> &'static str {
        "PVM v1: a 64-bit register machine with 16 operations; raw images"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["pvm"]
    }

    fn parse<'a>(&self, source: &Source<'a>) -> Result<Box<dyn Parsed + 'a>, FrontendError> {
        if source.bytes.len() > IMAGE_BYTES {
            let message = format!(
                "an image of PVM has at most {IMAGE_BYTES} bytes, so that it ends below the stack, and this has {}",
                source.bytes.len()
            );
            return Err(FrontendError::load(message));
        }
        Ok(Box::new(Image { source: *source }))
    }

    fn ending(&self, outcome: &Outcome) -> Result<Ending, String> {
        let (words, refs) = match &outcome.end {
            End::Return { words, refs } if words.len() == usize::from(ANSWERS) => (words, refs),
            End::Trap(trap) if trap.kind == TrapKind::Gas => return Ok(Ending::new(Status::Limit.name())),
            other => return Err(format!("no program of PVM ends so: {other:?}")),
        };
        let words: Vec<u64> = words.iter().map(low).collect();
        let status = usize::try_from(words[0]).ok().and_then(|status| Status::ALL.get(status));
        let Some(&status) = status else { return Err(format!("{} is no status of PVM", words[0])) };
        let mut ending = Ending::new(status.name());
        match status {
            Status::Exit => ending.exit_code = Some(words[2].into()),
            Status::Exception | Status::Interrupt | Status::DoubleFault => {
                ending.fields.insert("vector".to_owned(), words[1].into());
            }
            Status::End | Status::Limit => {}
        }
        ending.fields.insert("registers".to_owned(), Value::Object(registers(&words)));
        if let Some(Ref::Bytes(memory)) = refs.first() {
            ending.memory = Some(Region { address: 0, bytes: memory.to_vec() });
        }
        Ok(ending)
    }

    fn decode_word(&self, word: u64) -> Option<DecodedWord> {
        let word = Word(u16::try_from(word).ok()?);
        Some(DecodedWord { fields: word.fields().to_vec(), lines: explain::word(word) })
    }
}

/// The registers and the halves of A and B, by name.
fn registers(words: &[u64]) -> Map<String, Value> {
    let mut registers = Map::new();
    let mut set = |name: &str, value: u64| {
        registers.insert(name.to_owned(), format!("{value:#x}").into());
    };
    for (name, value) in REGISTERS.iter().zip(&words[2..6]) {
        set(name, *value);
    }
    for (low, high, whole) in [("x", "y", words[2]), ("w", "z", words[3])] {
        set(low, whole & 0xFFFF_FFFF);
        set(high, whole >> 32);
    }
    for (name, value) in [("pc", words[6]), ("sb", STACK_BASE), ("sp", words[7]), ("fl", words[8])] {
        set(name, value);
    }
    registers
}

impl Parsed for Image<'_> {
    fn translate(&self, options: &Options) -> Result<Translation, FrontendError> {
        let image = self.source.bytes;
        let name = options.module_name.as_deref().unwrap_or(self.source.module_name());
        let blocks = blocks::find(image, options.services);
        let module = translate::module(name, self.source.file_name(), image, &blocks, options.services);
        Ok(Translation { module, run: "run", inspect: "inspect" })
    }

    fn explain(&self, options: &Options) -> Result<Explanation, FrontendError> {
        let image = self.source.bytes;
        Ok(explain::program(image, &blocks::find(image, options.services)))
    }

    fn image(&self) -> Option<&[u8]> {
        Some(self.source.bytes)
    }
}
