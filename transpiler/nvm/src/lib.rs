//! The frontend of NVM, the virtual machine of NovariaOS. What the machine does is written in `docs/machines/nvm.md`;
//! section numbers in this crate are that text's.
//!
//! All processes run in one function, in turns: the one that runs has its stack and its locals at fixed addresses. Blocks of
//! the program that a walk finds are direct code; all else, other images that processes load, and every case that
//! direct code does not know, is done by a general scheme, an interpreter in bytecode that stands beside it. So the
//! choice between the two is about speed only.

mod asm;
mod cells;
mod diagnostics;
mod direct;
mod ending;
mod explain;
mod flow;
mod heights;
mod inside;
mod machine;
mod opcode;
mod operations;
mod routines;
mod runtime;
mod shape;
mod text;
mod translate;
mod trees;
mod values;

use dotvm_core::outcome::Outcome;
use dotvm_frontend::{
    Detection, Ending, Explanation, Frontend, FrontendError, Options, Parsed, Source, Translation,
};

use crate::asm::Assembled;
use crate::translate::Program;

pub use crate::machine::{
    CAPABILITIES, FAULTS, IMAGE_BYTES, LOGGED, MAX_CAPABILITIES, SIGNATURE, SLICE, Status,
};
pub use crate::opcode::{Form, Instruction, NoInstruction, Op, uses_heap};

/// The frontend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nvm;

/// A program: an image, or text with what it assembles to.
enum Image<'a> {
    Bytes(&'a [u8]),
    Text(Assembled),
}

struct Loaded<'a> {
    source: Source<'a>,
    image: Image<'a>,
}

/// Bytes of a text that are looked at to tell what it is.
const LOOKED_AT: usize = 4096;

/// Whether a text begins with the directive of this assembly language, behind comments and empty lines.
fn begins_with_directive(bytes: &[u8]) -> bool {
    let text = &bytes[..bytes.len().min(LOOKED_AT)];
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b";"));
    let word = first.and_then(|line| line.split(|byte| matches!(byte, b' ' | b'\t' | b';')).next());
    word.is_some_and(|word| word.eq_ignore_ascii_case(b".NVM0") || word.eq_ignore_ascii_case(b".NVM"))
}

impl Frontend for Nvm {
    fn name(&self) -> &'static str {
        "nvm"
    }

    fn title(&self) -> &'static str {
        "NVM of NovariaOS: processes of a 32-bit stack machine; images and assembly text"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["nvm", "asm"]
    }

    fn detect(&self, source: &Source<'_>) -> Detection {
        if source.bytes.starts_with(&SIGNATURE) || begins_with_directive(source.bytes) {
            return Detection::Contents;
        }
        match source.extension() {
            Some(extension) if self.extensions().contains(&extension) => Detection::Name,
            _ => Detection::No,
        }
    }

    fn capabilities(&self) -> &'static [&'static str] {
        const NAMES: [&str; CAPABILITIES.len()] = {
            let mut names = [""; CAPABILITIES.len()];
            let mut index = 0;
            while index < names.len() {
                names[index] = CAPABILITIES[index].0;
                index += 1;
            }
            names
        };
        &NAMES
    }

    fn arguments(&self, capabilities: &[String]) -> Result<Vec<u64>, String> {
        let mut words = vec![0];
        for name in capabilities {
            let bare = match &**name {
                "CAPS_NONE" => "NONE",
                name => name.strip_prefix("CAP_").unwrap_or(name),
            };
            let known = CAPABILITIES.iter().find(|known| known.0 == bare).map(|known| known.1);
            let value = known.or_else(|| match name.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok().filter(|value| *value <= 0xFFFF),
                None => name.parse().ok().filter(|value| *value <= 0xFFFF),
            });
            let Some(value) = value else { return Err(format!("nvm has no capability {name}")) };
            if !words[1..].contains(&value) {
                words.push(value);
            }
        }
        words[0] = words.len() as u64 - 1;
        if words.len() > 1 + MAX_CAPABILITIES {
            return Err(format!("a process of nvm holds at most {MAX_CAPABILITIES} capabilities"));
        }
        words.resize(1 + MAX_CAPABILITIES, 0);
        Ok(words)
    }

    fn parse<'a>(&self, source: &Source<'a>) -> Result<Box<dyn Parsed + 'a>, FrontendError> {
        let bytes = source.bytes;
        if bytes.starts_with(&SIGNATURE) {
            if bytes.len() > IMAGE_BYTES {
                let len = bytes.len();
                return Err(FrontendError::load(format!(
                    "an image of NVM has at most {IMAGE_BYTES} bytes, and this has {len}"
                )));
            }
            return Ok(Box::new(Loaded { source: *source, image: Image::Bytes(bytes) }));
        }
        let is_image_by_name = matches!(source.extension(), Some("nvm" | "bin"));
        let is_text = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
        if !begins_with_directive(bytes) && (is_image_by_name || !is_text) {
            let message = match bytes.get(..4) {
                None => "an image begins with the four bytes NVM0, and this has fewer".to_owned(),
                Some(b"NVM\x00" | b"NVM1" | b"NVM2") => {
                    format!("the version at byte 3 is {:#04x}, and only 0x30 is known", bytes[3])
                }
                Some(found) => format!("an image begins with 4e564d30, and this with {}", hex(found)),
            };
            return Err(FrontendError::load(message));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                return Err(FrontendError::assembly(format!("line {line}: this is no UTF-8 text")));
            }
        };
        let assembled = asm::assemble(source.file_name(), text)?;
        Ok(Box::new(Loaded { source: *source, image: Image::Text(assembled) }))
    }

    fn ending(&self, outcome: &Outcome) -> Result<Ending, String> {
        ending::read(outcome)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Loaded<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.image {
            Image::Bytes(bytes) => bytes,
            Image::Text(assembled) => &assembled.image,
        }
    }

    fn program<'p>(&'p self, options: &'p Options) -> Result<Program<'p>, FrontendError> {
        let heap_abi = match options.abi.as_deref() {
            None | Some("auto") => uses_heap(self.bytes()),
            Some("stack") => false,
            Some("heap") => true,
            Some(other) => {
                let message = format!("NVM has the interfaces stack, heap and auto, and no {other}");
                return Err(FrontendError::load(message));
            }
        };
        Ok(Program {
            name: options.module_name.as_deref().unwrap_or(self.source.module_name()),
            source_name: self.source.file_name(),
            source: self.source.bytes,
            image: self.bytes(),
            lines: match &self.image {
                Image::Bytes(_) => Vec::new(),
                Image::Text(assembled) => {
                    let mut lines = vec![0; assembled.image.len()];
                    for &(address, line) in &assembled.lines {
                        lines[address as usize] = line;
                    }
                    lines
                }
            },
            heap_abi,
        })
    }
}

impl Parsed for Loaded<'_> {
    fn translate(&self, options: &Options) -> Result<Translation, FrontendError> {
        let module = translate::module(&self.program(options)?);
        Ok(Translation { module, run: "run", inspect: "inspect" })
    }

    fn explain(&self, options: &Options) -> Result<Explanation, FrontendError> {
        let program = self.program(options)?;
        Ok(explain::program(&program, &trees::find(program.image)))
    }

    fn image(&self) -> Option<&[u8]> {
        Some(self.bytes())
    }
}
