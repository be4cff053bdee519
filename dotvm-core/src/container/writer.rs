//! A module in, the bytes of its file out.

use bytes::Bytes;
use dotvm_arch::W512;
use num_bigint::Sign;

use super::error::{WriteError, WriteErrorKind};
use super::layout::{
    DEBUG_NAMES, HEADER_BYTES, MAGIC, NO_ENTRY, SECTION_ENTRY_BYTES, Section, VERSION_MAJOR, VERSION_MINOR,
    constant_kind, field,
};
use super::seal;
use crate::gas;
use crate::leb;
use crate::limits::module::{ENTRIES, FILE_BYTES, FRAME_REFS, FRAME_WORDS, FUNCTIONS, NAME_BYTES};
use crate::module::{Constant, Debug, FunctionDebug, Memory, Module};

/// Writes a module file.
///
/// Fails for what no file can hold: counts and names over their limits, words that do not fit the width. Other
/// faults of a module can be written; the verifier finds them.
pub fn write(module: &Module) -> Result<Vec<u8>, WriteError> {
    if module.entry == Some(NO_ENTRY) {
        return Err(WriteError { section: None, kind: WriteErrorKind::Entry });
    }
    let mut contents = Vec::new();
    let mut lengths = Vec::new();
    let mut table_bytes = 0;
    for &section in Section::ALL {
        let start = contents.len();
        let mut writer = Writer { out: contents, section, debug_names_left: DEBUG_NAMES };
        writer.section(module)?;
        contents = writer.out;
        if contents.len() > start {
            lengths.push((section, contents.len() - start));
            table_bytes += SECTION_ENTRY_BYTES;
        }
        // Checked after each section: every length and offset below is less than 2^32.
        if HEADER_BYTES + table_bytes + contents.len() > FILE_BYTES {
            let kind = WriteErrorKind::FileTooLarge { max: FILE_BYTES };
            return Err(WriteError { section: Some(section), kind });
        }
    }
    let mut file = header(module, lengths.len() as u16);
    file.reserve_exact(table_bytes + contents.len());
    let mut offset = HEADER_BYTES + table_bytes;
    for (section, len) in lengths {
        file.extend_from_slice(&section.code().to_le_bytes());
        file.extend_from_slice(&[0; 2]);
        file.extend_from_slice(&(offset as u32).to_le_bytes());
        file.extend_from_slice(&(len as u32).to_le_bytes());
        offset += len;
    }
    file.extend_from_slice(&contents);
    seal(&mut file);
    Ok(file)
}

/// The header, its hash still zero.
fn header(module: &Module, section_count: u16) -> Vec<u8> {
    let mut header = vec![0; HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(field::MAJOR, &VERSION_MAJOR.to_le_bytes());
    put(field::MINOR, &VERSION_MINOR.to_le_bytes());
    put(field::WIDTH, &(module.width.bits() as u16).to_le_bytes());
    put(field::SCHEDULE, &gas::SCHEDULE.to_le_bytes());
    put(field::SECTIONS, &section_count.to_le_bytes());
    put(field::ENTRY, &module.entry.unwrap_or(NO_ENTRY).to_le_bytes());
    header
}

/// Writes one section.
struct Writer {
    /// The sections up to here.
    out: Vec<u8>,
    section: Section,
    debug_names_left: usize,
}

type Written = Result<(), WriteError>;

impl Writer {
    /// Appends the section's contents: nothing if the module has nothing for it.
    fn section(&mut self, module: &Module) -> Written {
        match self.section {
            Section::Name => {
                self.check_name("module name", &module.name)?;
                self.out.extend_from_slice(module.name.as_bytes());
                Ok(())
            }
            Section::Memory if module.memory == Memory::default() => Ok(()),
            Section::Memory => {
                self.number(module.memory.min_pages);
                self.number(module.memory.max_pages);
                self.number(module.memory.heap_base);
                Ok(())
            }
            Section::Signatures => {
                self.entries("signatures", ENTRIES, &module.signatures, |out, signature| {
                    out.number(signature.words_in);
                    out.number(signature.words_out);
                    out.number(signature.refs_in);
                    out.number(signature.refs_out);
                    Ok(())
                })
            }
            Section::Functions => self.entries("functions", FUNCTIONS, &module.functions, |out, function| {
                out.number(function.signature);
                out.number(function.word_locals);
                out.number(function.ref_locals);
                out.number(function.window);
                out.byte_string(&function.code);
                Ok(())
            }),
            Section::WordConstants => {
                self.words("word constants", "word constant", module, &module.word_constants)
            }
            Section::RefConstants => {
                self.entries("reference constants", ENTRIES, &module.ref_constants, |out, constant| {
                    out.constant(constant);
                    Ok(())
                })
            }
            Section::WordGlobals => self.words("word globals", "word global", module, &module.word_globals),
            Section::RefGlobals if module.ref_globals == 0 => Ok(()),
            Section::RefGlobals => self.count("reference globals", module.ref_globals as usize, ENTRIES),
            Section::Data => self.entries("data segments", ENTRIES, &module.data, |out, segment| {
                out.number(segment.address);
                out.out.push(u8::from(segment.read_only));
                out.byte_string(&segment.bytes);
                Ok(())
            }),
            Section::Tables => self.entries("tables", ENTRIES, &module.tables, |out, table| {
                out.list("table entries", ENTRIES, table, |out, entry| {
                    // 0 is the empty entry, so function numbers are one higher.
                    out.number(entry.map_or(0, |function| u64::from(function) + 1));
                    Ok(())
                })
            }),
            Section::JumpMaps => self.entries("jump maps", ENTRIES, &module.jump_maps, |out, map| {
                out.number(map.function);
                out.list("jump map entries", FILE_BYTES, &map.entries, |out, &(address, offset)| {
                    out.number(address);
                    out.number(offset);
                    Ok(())
                })
            }),
            Section::Collections => {
                self.entries("collections", ENTRIES, &module.collections, |out, collection| {
                    out.out.push(collection.kind as u8);
                    out.name("collection name", &collection.name)
                })
            }
            Section::Capabilities => {
                self.entries("capabilities", ENTRIES, &module.capabilities, |out, &capability| {
                    out.out.push(capability as u8);
                    Ok(())
                })
            }
            Section::Exports => self.entries("exports", ENTRIES, &module.exports, |out, export| {
                out.name("export name", &export.name)?;
                out.number(export.function);
                Ok(())
            }),
            Section::HostCalls => self.entries("host calls", ENTRIES, &module.host_calls, |out, call| {
                out.name("host call name", call.name())?;
                let signature = call.signature();
                out.number(signature.words_in);
                out.number(signature.words_out);
                out.number(signature.refs_in);
                out.number(signature.refs_out);
                Ok(())
            }),
            Section::Debug => module.debug.as_ref().map_or(Ok(()), |debug| self.debug(debug)),
            Section::Handlers => self.entries("handler tables", FUNCTIONS, &module.handlers, |out, table| {
                out.number(table.function);
                out.list("handlers", ENTRIES, &table.entries, |out, handler| {
                    out.number(handler.from);
                    out.number(handler.to);
                    out.number(handler.target);
                    out.number(handler.kinds);
                    out.number(handler.words);
                    out.number(handler.refs);
                    Ok(())
                })
            }),
        }
    }

    fn debug(&mut self, debug: &Debug) -> Written {
        self.name("source name", &debug.source_name)?;
        self.out.extend_from_slice(&debug.source_hash);
        self.list("functions", FUNCTIONS, &debug.functions, Writer::function_debug)?;
        self.names("word global names", ENTRIES, &debug.word_globals)?;
        self.names("reference global names", ENTRIES, &debug.ref_globals)?;
        self.names("word constant names", ENTRIES, &debug.word_constants)?;
        self.names("reference constant names", ENTRIES, &debug.ref_constants)?;
        self.names("table names", ENTRIES, &debug.tables)
    }

    fn function_debug(&mut self, function: &FunctionDebug) -> Written {
        self.name("function name", &function.name)?;
        self.names("word local names", FRAME_WORDS as usize, &function.words)?;
        self.names("reference local names", FRAME_REFS as usize, &function.refs)?;
        let mut previous = 0;
        self.list("lines", FILE_BYTES, &function.lines, |out, &(offset, line)| {
            out.offset_behind("lines", &mut previous, offset)?;
            out.number(line);
            Ok(())
        })?;
        self.take_debug_names(function.labels.len())?;
        let mut previous = 0;
        self.list("labels", FILE_BYTES, &function.labels, |out, (offset, label)| {
            out.offset_behind("labels", &mut previous, *offset)?;
            out.name("label", label)
        })
    }

    /// A code offset, as its distance from the one before it.
    fn offset_behind(&mut self, what: &'static str, previous: &mut u32, offset: u32) -> Written {
        let distance =
            offset.checked_sub(*previous).ok_or_else(|| self.fail(WriteErrorKind::Order { what }))?;
        self.number(distance);
        *previous = offset;
        Ok(())
    }

    fn fail(&self, kind: WriteErrorKind) -> WriteError {
        WriteError { section: Some(self.section), kind }
    }

    fn number(&mut self, number: impl Into<u64>) {
        leb::write_unsigned(&mut self.out, number.into());
    }

    fn count(&mut self, what: &'static str, count: usize, max: usize) -> Written {
        if count > max {
            return Err(self.fail(WriteErrorKind::CountOverLimit { what, count, max }));
        }
        self.number(count as u64);
        Ok(())
    }

    fn byte_string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn constant(&mut self, constant: &Constant) {
        let (kind, bytes) = match constant {
            Constant::Bytes(bytes) => (constant_kind::BYTES, bytes.clone()),
            Constant::Integer(number) => {
                let (sign, bytes) = number.to_bytes_be();
                let kind =
                    if sign == Sign::Minus { constant_kind::NEGATIVE } else { constant_kind::NOT_NEGATIVE };
                (kind, if sign == Sign::NoSign { Bytes::new() } else { bytes.into() })
            }
        };
        self.out.push(kind);
        self.byte_string(&bytes);
    }

    fn check_name(&self, what: &'static str, name: &str) -> Written {
        if name.len() > NAME_BYTES {
            return Err(self.fail(WriteErrorKind::NameTooLong { what, bytes: name.len(), max: NAME_BYTES }));
        }
        Ok(())
    }

    fn name(&mut self, what: &'static str, name: &str) -> Written {
        self.check_name(what, name)?;
        self.byte_string(name.as_bytes());
        Ok(())
    }

    fn names(&mut self, what: &'static str, max: usize, names: &[String]) -> Written {
        self.take_debug_names(names.len())?;
        self.list(what, max, names, |out, name| out.name("name", name))
    }

    fn take_debug_names(&mut self, count: usize) -> Written {
        self.debug_names_left = self
            .debug_names_left
            .checked_sub(count)
            .ok_or_else(|| self.fail(WriteErrorKind::TooManyDebugNames { max: DEBUG_NAMES }))?;
        Ok(())
    }

    fn words(&mut self, list: &'static str, what: &'static str, module: &Module, words: &[W512]) -> Written {
        let bits = module.width.bits();
        let mut index = 0;
        self.entries(list, ENTRIES, words, |out, word| {
            let bytes = word.to_be_bytes::<64>();
            let significant = &bytes[word.leading_zeros() / 8..];
            if significant.len() * 8 > bits as usize {
                return Err(out.fail(WriteErrorKind::WordTooWide { what, index, bits }));
            }
            index += 1;
            out.byte_string(significant);
            Ok(())
        })
    }

    /// A list that is a section, left out when it is empty.
    fn entries<T>(
        &mut self,
        what: &'static str,
        max: usize,
        entries: &[T],
        write: impl FnMut(&mut Writer, &T) -> Written,
    ) -> Written {
        if entries.is_empty() { Ok(()) } else { self.list(what, max, entries, write) }
    }

    /// A count and as many entries.
    fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        entries: &[T],
        mut write: impl FnMut(&mut Writer, &T) -> Written,
    ) -> Written {
        self.count(what, entries.len(), max)?;
        entries.iter().try_for_each(|entry| write(self, entry))
    }
}
