//! Bytes in, a module or the first thing wrong with them out.

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use num_bigint::{BigInt, Sign};

use super::error::{ReadError, ReadErrorKind};
use super::layout::{
    DEBUG_NAMES, HASH_OFFSET, HEADER_BYTES, MAGIC, NO_ENTRY, SECTION_ENTRY_BYTES, Section, VERSION_MAJOR,
    VERSION_MINOR, constant_kind, field,
};
use super::{HASH_BYTES, content_hash};
use crate::capability::Capability;
use crate::gas;
use crate::host_call::HostCall;
use crate::leb::{self, LebError};
use crate::limits::module::{ENTRIES, FILE_BYTES, FRAME_REFS, FRAME_WORDS, FUNCTIONS, NAME_BYTES};
use crate::module::{
    Collection, CollectionKind, Constant, DataSegment, Debug, Export, Function, FunctionDebug, Handler,
    HandlerTable, JumpMap, Memory, Module, Signature,
};

/// Reads a module file.
///
/// Memory is taken only for what the bytes at hand can hold: every count is held against its limit and against
/// the rest of its section first.
pub fn read(bytes: &[u8]) -> Result<Module, ReadError> {
    let section_count = read_header(bytes)?;
    let fail = |offset, kind| ReadError { offset, section: None, kind };
    let bits = u16_at(bytes, field::WIDTH);
    let width = Width::from_bits(bits.into()).ok_or(fail(field::WIDTH, ReadErrorKind::Width { bits }))?;
    let number = u16_at(bytes, field::SCHEDULE);
    if number != gas::SCHEDULE {
        return Err(fail(field::SCHEDULE, ReadErrorKind::GasSchedule { number }));
    }
    require_zeros(bytes, field::RESERVED, HASH_OFFSET)?;
    let mut module = Module::new("", width);
    module.entry = Some(u32_at(bytes, field::ENTRY)).filter(|&entry| entry != NO_ENTRY);

    let mut start = table_end(section_count);
    require_len(bytes, "section table", start as u64)?;
    let mut previous = None;
    for index in 0..section_count {
        let entry = table_end(index);
        let code = u16_at(bytes, entry);
        let section = Section::from_code(code).ok_or(fail(entry, ReadErrorKind::UnknownSection { code }))?;
        match previous {
            Some(previous) if previous == section => {
                return Err(fail(entry, ReadErrorKind::DuplicateSection { section }));
            }
            Some(previous) if previous > section => {
                return Err(fail(entry, ReadErrorKind::SectionOrder { section, previous }));
            }
            _ => previous = Some(section),
        }
        require_zeros(bytes, entry + 2, entry + 4)?;
        let found = u32_at(bytes, entry + 4);
        if found as usize != start {
            return Err(fail(entry + 4, ReadErrorKind::SectionPlace { section, found, expected: start }));
        }
        let len = u32_at(bytes, entry + 8);
        require_len(bytes, "section table", start as u64 + u64::from(len))?;
        let end = start + len as usize;
        let mut reader =
            Reader { bytes: &bytes[..end], at: start, section, width, debug_names_left: DEBUG_NAMES };
        if len == 0 {
            return Err(reader.fail_at(start, ReadErrorKind::EmptySection { section }));
        }
        reader.section(&mut module)?;
        reader.finish()?;
        start = end;
    }
    if start != bytes.len() {
        let kind = ReadErrorKind::TrailingBytes { what: "module", bytes: bytes.len() - start };
        return Err(fail(start, kind));
    }
    Ok(module)
}

/// Checks whether the bytes are an undamaged file of this format and returns the number of its sections.
fn read_header(bytes: &[u8]) -> Result<usize, ReadError> {
    let fail = |offset, kind| Err(ReadError { offset, section: None, kind });
    if bytes.len() > FILE_BYTES {
        return fail(0, ReadErrorKind::FileTooLarge { bytes: bytes.len(), max: FILE_BYTES });
    }
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if start.is_empty() || !MAGIC.starts_with(start) {
        return fail(0, ReadErrorKind::NotAModule { start: start.to_vec() });
    }
    require_len(bytes, "header", HEADER_BYTES as u64)?;
    let (major, minor) = (u16_at(bytes, field::MAJOR), u16_at(bytes, field::MINOR));
    if (major, minor) != (VERSION_MAJOR, VERSION_MINOR) {
        return fail(field::MAJOR, ReadErrorKind::Version { major, minor });
    }
    let flags = u16_at(bytes, field::FLAGS);
    if flags != 0 {
        return fail(field::FLAGS, ReadErrorKind::Flags { flags });
    }
    let section_count = usize::from(u16_at(bytes, field::SECTIONS));
    if bytes[HASH_OFFSET..HASH_OFFSET + HASH_BYTES] != content_hash(bytes) {
        // A file that lost its end is the commonest damage, and the section table shows it.
        let table = table_end(section_count);
        require_len(bytes, "section table", table as u64)?;
        if section_count > 0 {
            let last = table_end(section_count - 1);
            let end = u64::from(u32_at(bytes, last + 4)) + u64::from(u32_at(bytes, last + 8));
            require_len(bytes, "section table", end)?;
        }
        return fail(HASH_OFFSET, ReadErrorKind::Checksum);
    }
    Ok(section_count)
}

/// The offset behind the first `sections` entries of the section table.
fn table_end(sections: usize) -> usize {
    HEADER_BYTES + sections * SECTION_ENTRY_BYTES
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn require_len(bytes: &[u8], what: &'static str, needed: u64) -> Result<(), ReadError> {
    if bytes.len() as u64 >= needed {
        return Ok(());
    }
    let kind = ReadErrorKind::FileTruncated { what, bytes: bytes.len(), needed };
    Err(ReadError { offset: bytes.len(), section: None, kind })
}

fn require_zeros(bytes: &[u8], from: usize, to: usize) -> Result<(), ReadError> {
    match bytes[from..to].iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => {
            let kind = ReadErrorKind::Reserved { byte: bytes[from + at] };
            Err(ReadError { offset: from + at, section: None, kind })
        }
    }
}

/// Reads one section.
struct Reader<'a> {
    /// The file up to the end of the section.
    bytes: &'a [u8],
    /// Where the next field starts.
    at: usize,
    section: Section,
    width: Width,
    debug_names_left: usize,
}

impl<'a> Reader<'a> {
    fn section(&mut self, module: &mut Module) -> Result<(), ReadError> {
        match self.section {
            Section::Name => module.name = self.rest_as_name("module name")?,
            Section::Memory => module.memory = self.memory()?,
            Section::Signatures => {
                module.signatures = self.entries("signatures", ENTRIES, 4, Self::signature)?;
            }
            Section::Functions => {
                module.functions = self.entries("functions", FUNCTIONS, 5, Self::function)?;
            }
            Section::WordConstants => {
                module.word_constants =
                    self.entries("word constants", ENTRIES, 1, |reader| reader.word("word constant"))?;
            }
            Section::RefConstants => {
                module.ref_constants = self.entries("reference constants", ENTRIES, 2, Self::constant)?;
            }
            Section::WordGlobals => {
                module.word_globals =
                    self.entries("word globals", ENTRIES, 1, |reader| reader.word("word global"))?;
            }
            Section::RefGlobals => {
                // All start as null, so they are a number without entries.
                let start = self.at;
                module.ref_globals = self.count("reference globals", ENTRIES, 0)? as u32;
                if module.ref_globals == 0 {
                    return Err(self.fail_at(start, ReadErrorKind::EmptySection { section: self.section }));
                }
            }
            Section::Data => module.data = self.entries("data segments", ENTRIES, 3, Self::data_segment)?,
            Section::Tables => {
                module.tables = self.entries("tables", ENTRIES, 1, |reader| {
                    reader.list("table entries", ENTRIES, 1, Self::table_entry)
                })?;
            }
            Section::JumpMaps => module.jump_maps = self.entries("jump maps", ENTRIES, 2, Self::jump_map)?,
            Section::Collections => {
                module.collections = self.entries("collections", ENTRIES, 2, Self::collection)?;
            }
            Section::Capabilities => {
                module.capabilities = self.entries("capabilities", ENTRIES, 1, |reader| {
                    reader.code("capability", Capability::from_code)
                })?;
            }
            Section::Exports => module.exports = self.entries("exports", ENTRIES, 2, Self::export)?,
            Section::HostCalls => {
                module.host_calls = self.entries("host calls", ENTRIES, 5, Self::host_call)?;
            }
            Section::Debug => module.debug = Some(self.debug()?),
            Section::Handlers => {
                module.handlers = self.entries("handler tables", FUNCTIONS, 2, Self::handler_table)?;
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), ReadError> {
        match self.left() {
            0 => Ok(()),
            bytes => Err(self.fail_at(self.at, ReadErrorKind::TrailingBytes { what: "section", bytes })),
        }
    }

    fn memory(&mut self) -> Result<Memory, ReadError> {
        let start = self.at;
        let memory = Memory {
            min_pages: self.number("minimum pages", u64::MAX)?,
            max_pages: self.number("maximum pages", u64::MAX)?,
            heap_base: self.number("heap base", u64::MAX)?,
        };
        if memory == Memory::default() {
            return Err(self.fail_at(start, ReadErrorKind::EmptySection { section: self.section }));
        }
        Ok(memory)
    }

    fn signature(&mut self) -> Result<Signature, ReadError> {
        Ok(Signature {
            words_in: self.number_u16("word parameters")?,
            words_out: self.number_u16("word results")?,
            refs_in: self.number_u16("reference parameters")?,
            refs_out: self.number_u16("reference results")?,
        })
    }

    fn function(&mut self) -> Result<Function, ReadError> {
        Ok(Function {
            signature: self.number_u32("function signature")?,
            word_locals: self.number_u16("word locals")?,
            ref_locals: self.number_u16("reference locals")?,
            window: self.number_u16("window")?,
            code: self.byte_string("code")?.to_vec(),
        })
    }

    fn constant(&mut self) -> Result<Constant, ReadError> {
        let sign = self.code("kind of a reference constant", |byte| match byte {
            constant_kind::BYTES => Some(None),
            constant_kind::NOT_NEGATIVE => Some(Some(Sign::Plus)),
            constant_kind::NEGATIVE => Some(Some(Sign::Minus)),
            _ => None,
        })?;
        let Some(sign) = sign else {
            return Ok(Constant::Bytes(Bytes::copy_from_slice(self.byte_string("reference constant")?)));
        };
        let start = self.at;
        let bytes = self.byte_string("integer constant")?;
        // No integer is written in two ways.
        if bytes.first() == Some(&0) || (bytes.is_empty() && sign == Sign::Minus) {
            return Err(self.fail_at(start, ReadErrorKind::NotMinimal { what: "integer constant" }));
        }
        Ok(Constant::Integer(BigInt::from_bytes_be(sign, bytes)))
    }

    fn data_segment(&mut self) -> Result<DataSegment, ReadError> {
        Ok(DataSegment {
            address: self.number("data address", u64::MAX)?,
            read_only: self.code("protection of a data segment", |byte| match byte {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })?,
            bytes: self.byte_string("data")?.to_vec(),
        })
    }

    fn table_entry(&mut self) -> Result<Option<u32>, ReadError> {
        // 0 is the empty entry, so function numbers are one higher.
        let number = self.number("table entry", 1 << 32)?;
        Ok(number.checked_sub(1).map(|function| function as u32))
    }

    fn jump_map(&mut self) -> Result<JumpMap, ReadError> {
        let function = self.number_u32("jump map function")?;
        let entries = self.list("jump map entries", FILE_BYTES, 2, |reader| {
            Ok((reader.number("guest address", u64::MAX)?, reader.number_u32("code offset")?))
        })?;
        Ok(JumpMap { function, entries })
    }

    fn collection(&mut self) -> Result<Collection, ReadError> {
        let kind = self.code("collection kind", |byte| match byte {
            0 => Some(CollectionKind::Bytes),
            1 => Some(CollectionKind::Document),
            _ => None,
        })?;
        Ok(Collection { name: self.name("collection name")?, kind })
    }

    fn handler_table(&mut self) -> Result<HandlerTable, ReadError> {
        let function = self.number_u32("function of handlers")?;
        let entries = self.list("handlers", ENTRIES, 6, |reader| {
            Ok(Handler {
                from: reader.number_u32("start of a range")?,
                to: reader.number_u32("end of a range")?,
                target: reader.number_u32("handler")?,
                kinds: reader.number_u32("trap kinds")?,
                words: reader.number_u16("words kept")?,
                refs: reader.number_u16("references kept")?,
            })
        })?;
        Ok(HandlerTable { function, entries })
    }

    fn export(&mut self) -> Result<Export, ReadError> {
        Ok(Export { name: self.name("export name")?, function: self.number_u32("exported function")? })
    }

    fn host_call(&mut self) -> Result<HostCall, ReadError> {
        let start = self.at;
        let name = self.name("host call name")?;
        let signature = self.signature()?;
        match HostCall::from_name(&name) {
            Some(call) if call.signature() == signature => Ok(call),
            Some(call) => {
                let expected = call.effect_text();
                Err(self.fail_at(start, ReadErrorKind::HostCallSignature { name, expected }))
            }
            None => Err(self.fail_at(start, ReadErrorKind::UnknownHostCall { name })),
        }
    }

    fn debug(&mut self) -> Result<Debug, ReadError> {
        let source_name = self.name("source name")?;
        let mut source_hash = [0; HASH_BYTES];
        source_hash.copy_from_slice(self.take("source hash", HASH_BYTES as u64)?);
        Ok(Debug {
            source_name,
            source_hash,
            functions: self.list("functions", FUNCTIONS, 5, Self::function_debug)?,
            word_globals: self.names("word global names", ENTRIES)?,
            ref_globals: self.names("reference global names", ENTRIES)?,
            word_constants: self.names("word constant names", ENTRIES)?,
            ref_constants: self.names("reference constant names", ENTRIES)?,
            tables: self.names("table names", ENTRIES)?,
        })
    }

    fn function_debug(&mut self) -> Result<FunctionDebug, ReadError> {
        let name = self.name("function name")?;
        let words = self.names("word local names", FRAME_WORDS as usize)?;
        let refs = self.names("reference local names", FRAME_REFS as usize)?;
        let mut offset = 0;
        let lines = self.list("lines", FILE_BYTES, 2, |reader| {
            offset = reader.offset_behind(offset)?;
            Ok((offset, reader.number_u32("source line")?))
        })?;
        let mut offset = 0;
        let labels = self.named_list("labels", FILE_BYTES, 2, |reader| {
            offset = reader.offset_behind(offset)?;
            Ok((offset, reader.name("label")?))
        })?;
        Ok(FunctionDebug { name, words, refs, lines, labels })
    }

    /// A code offset, given as its distance from the one before it.
    fn offset_behind(&mut self, previous: u32) -> Result<u32, ReadError> {
        let start = self.at;
        let distance = self.number_u32("code offset")?;
        let max = u64::from(u32::MAX);
        previous
            .checked_add(distance)
            .ok_or_else(|| self.fail_at(start, ReadErrorKind::NumberTooLarge { what: "code offset", max }))
    }

    fn fail_at(&self, offset: usize, kind: ReadErrorKind) -> ReadError {
        ReadError { offset, section: Some(self.section), kind }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn number(&mut self, what: &'static str, max: u64) -> Result<u64, ReadError> {
        let start = self.at;
        let kind = match leb::read_unsigned(self.bytes, &mut self.at) {
            Ok(number) if number <= max => return Ok(number),
            Ok(_) | Err(LebError::TooLarge) => ReadErrorKind::NumberTooLarge { what, max },
            Err(LebError::NotMinimal) => ReadErrorKind::NotMinimal { what },
            Err(LebError::Truncated) => ReadErrorKind::SectionTruncated { what },
        };
        Err(self.fail_at(start, kind))
    }

    fn number_u32(&mut self, what: &'static str) -> Result<u32, ReadError> {
        Ok(self.number(what, u32::MAX.into())? as u32)
    }

    fn number_u16(&mut self, what: &'static str) -> Result<u16, ReadError> {
        Ok(self.number(what, u16::MAX.into())? as u16)
    }

    fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], ReadError> {
        if len > self.left() as u64 {
            return Err(self.fail_at(self.at, ReadErrorKind::SectionTruncated { what }));
        }
        let taken = &self.bytes[self.at..self.at + len as usize];
        self.at += len as usize;
        Ok(taken)
    }

    /// A length and as many bytes.
    fn byte_string(&mut self, what: &'static str) -> Result<&'a [u8], ReadError> {
        let len = self.number(what, u64::MAX)?;
        self.take(what, len)
    }

    /// A byte that stands for one of a few meanings.
    fn code<T>(&mut self, what: &'static str, meaning: fn(u8) -> Option<T>) -> Result<T, ReadError> {
        let start = self.at;
        let byte = self.take(what, 1)?[0];
        meaning(byte).ok_or_else(|| self.fail_at(start, ReadErrorKind::UnknownCode { what, byte }))
    }

    fn word(&mut self, what: &'static str) -> Result<W512, ReadError> {
        let start = self.at;
        let len = self.number(what, u64::MAX)?;
        if len > self.width.bytes() as u64 {
            let bits = self.width.bits();
            return Err(self.fail_at(start, ReadErrorKind::WordTooWide { what, bytes: len, bits }));
        }
        let bytes = self.take(what, len)?;
        if bytes.first() == Some(&0) {
            return Err(self.fail_at(start, ReadErrorKind::NotMinimal { what }));
        }
        Ok(W512::from_be_slice(bytes))
    }

    fn name(&mut self, what: &'static str) -> Result<String, ReadError> {
        let start = self.at;
        let len = self.number(what, u64::MAX)?;
        self.name_of_len(what, start, len)
    }

    /// A name without a length that takes all of the section.
    fn rest_as_name(&mut self, what: &'static str) -> Result<String, ReadError> {
        self.name_of_len(what, self.at, self.left() as u64)
    }

    fn name_of_len(&mut self, what: &'static str, start: usize, len: u64) -> Result<String, ReadError> {
        if len > NAME_BYTES as u64 {
            let kind = ReadErrorKind::NameTooLong { what, bytes: len, max: NAME_BYTES };
            return Err(self.fail_at(start, kind));
        }
        let bytes = self.take(what, len)?;
        match str::from_utf8(bytes) {
            Ok(name) => Ok(name.to_owned()),
            Err(error) => {
                let offset = self.at - bytes.len() + error.valid_up_to();
                Err(self.fail_at(offset, ReadErrorKind::InvalidUtf8 { what }))
            }
        }
    }

    fn names(&mut self, what: &'static str, max: usize) -> Result<Vec<String>, ReadError> {
        self.named_list(what, max, 1, |reader| reader.name("name"))
    }

    /// A count that is not zero and as many entries: the contents of a section.
    fn entries<T>(
        &mut self,
        what: &'static str,
        max: usize,
        entry_bytes: u64,
        entry: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let start = self.at;
        let entries = self.list(what, max, entry_bytes, entry)?;
        if entries.is_empty() {
            return Err(self.fail_at(start, ReadErrorKind::EmptySection { section: self.section }));
        }
        Ok(entries)
    }

    /// A count and as many entries of at least `entry_bytes` bytes each.
    fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        entry_bytes: u64,
        entry: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let count = self.count(what, max, entry_bytes)?;
        self.repeat(count, entry)
    }

    /// A list whose entries have names, which the whole debug section has only [`DEBUG_NAMES`] of.
    fn named_list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        entry_bytes: u64,
        entry: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let start = self.at;
        let count = self.count(what, max, entry_bytes)?;
        match self.debug_names_left.checked_sub(count) {
            Some(left) => self.debug_names_left = left,
            None => return Err(self.fail_at(start, ReadErrorKind::TooManyDebugNames { max: DEBUG_NAMES })),
        }
        self.repeat(count, entry)
    }

    /// A number of entries, each of at least `entry_bytes` bytes.
    fn count(&mut self, what: &'static str, max: usize, entry_bytes: u64) -> Result<usize, ReadError> {
        let start = self.at;
        let count = self.number(what, u64::MAX)?;
        let (max, left) = (max as u64, self.left());
        if count > max {
            return Err(self.fail_at(start, ReadErrorKind::CountOverLimit { what, count, max }));
        }
        if count.saturating_mul(entry_bytes) > left as u64 {
            return Err(self.fail_at(start, ReadErrorKind::CountOverBytes { what, count, left }));
        }
        Ok(count as usize)
    }

    fn repeat<T>(
        &mut self,
        count: usize,
        mut entry: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(entry(self)?);
        }
        Ok(entries)
    }
}
