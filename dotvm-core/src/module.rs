//! A module in memory: everything a `.dotvm` file holds, as plain data that nothing has checked yet.

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use num_bigint::BigInt;

use crate::capability::Capability;
use crate::host_call::HostCall;

/// A module. [`crate::container`] reads and writes its bytes, [`crate::verify`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name: under which its state is kept unless it is deployed under another.
    pub name: String,
    /// Word width.
    pub width: Width,
    /// Function that runs when none is named.
    pub entry: Option<u32>,
    /// Linear memory.
    pub memory: Memory,
    /// Signatures.
    pub signatures: Vec<Signature>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Word constants; each fits the width.
    pub word_constants: Vec<W512>,
    /// Reference constants.
    pub ref_constants: Vec<Constant>,
    /// Initial values of the word globals; each fits the width.
    pub word_globals: Vec<W512>,
    /// Number of reference globals; all start as null.
    pub ref_globals: u32,
    /// Initial contents of memory, ascending by address, not overlapping.
    pub data: Vec<DataSegment>,
    /// Function tables for CALLI.
    pub tables: Vec<Vec<Option<u32>>>,
    /// Jump maps for JMAP.
    pub jump_maps: Vec<JumpMap>,
    /// Handlers of traps, ascending by function.
    pub handlers: Vec<HandlerTable>,
    /// Collections that DB operations name by index.
    pub collections: Vec<Collection>,
    /// Capabilities the module needs, ascending, each once.
    pub capabilities: Vec<Capability>,
    /// Host calls that SYS names by index, each once.
    pub host_calls: Vec<HostCall>,
    /// Functions that can be called from outside, ascending by name.
    pub exports: Vec<Export>,
    /// Names and lines for people; without influence on execution.
    pub debug: Option<Debug>,
}

impl Module {
    /// An empty module.
    pub fn new(name: &str, width: Width) -> Module {
        Module {
            name: name.to_owned(),
            width,
            entry: None,
            memory: Memory::default(),
            signatures: Vec::new(),
            functions: Vec::new(),
            word_constants: Vec::new(),
            ref_constants: Vec::new(),
            word_globals: Vec::new(),
            ref_globals: 0,
            data: Vec::new(),
            tables: Vec::new(),
            jump_maps: Vec::new(),
            handlers: Vec::new(),
            collections: Vec::new(),
            capabilities: Vec::new(),
            host_calls: Vec::new(),
            exports: Vec::new(),
            debug: None,
        }
    }

    /// The signature of a function; both indices must exist, as they do in a verified module.
    pub fn signature_of(&self, function: u32) -> Signature {
        self.signatures[self.functions[function as usize].signature as usize]
    }

    /// Bytes of memory up to the end of the last data segment.
    pub fn data_end(&self) -> u64 {
        self.data.last().map_or(0, |segment| segment.address + segment.bytes.len() as u64)
    }

    /// Globals of both kinds.
    pub fn globals(&self) -> u64 {
        self.word_globals.len() as u64 + u64::from(self.ref_globals)
    }

    /// The handlers of a function, outer ranges first; none if it has no table.
    pub fn handlers_of(&self, function: u32) -> &[Handler] {
        match self.handlers.binary_search_by_key(&function, |table| table.function) {
            Ok(table) => &self.handlers[table].entries,
            Err(_) => &[],
        }
    }

    /// The index of an exported function.
    pub fn export(&self, name: &str) -> Option<u32> {
        self.exports.iter().find(|export| export.name == name).map(|export| export.function)
    }

    /// The name of a function for messages: from the debug section, an export, or its index.
    pub fn function_name(&self, function: u32) -> String {
        let debug = self.debug.as_ref().and_then(|debug| debug.functions.get(function as usize));
        if let Some(debug) = debug.filter(|debug| !debug.name.is_empty()) {
            return debug.name.clone();
        }
        match self.exports.iter().find(|export| export.function == function) {
            Some(export) => export.name.clone(),
            None => format!("f{function}"),
        }
    }

    /// The source line of the instruction at `offset`, if the debug section knows it.
    pub fn source_line(&self, function: u32, offset: u32) -> Option<u32> {
        let lines = &self.debug.as_ref()?.functions.get(function as usize)?.lines;
        let after = lines.partition_point(|&(start, _)| start <= offset);
        Some(lines.get(after.checked_sub(1)?)?.1)
    }
}

/// A reference constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A byte string.
    Bytes(Bytes),
    /// An integer.
    Integer(BigInt),
}

impl Constant {
    /// The byte string, if it is one.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Constant::Bytes(bytes) => Some(bytes),
            Constant::Integer(_) => None,
        }
    }
}

impl<B: Into<Bytes>> From<B> for Constant {
    fn from(bytes: B) -> Constant {
        Constant::Bytes(bytes.into())
    }
}

/// Linear memory of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// Pages of 64 KiB at the start.
    pub min_pages: u64,
    /// Pages that MGROW and ALLOC may reach, the host's limit permitting.
    pub max_pages: u64,
    /// First address that ALLOC may give, a multiple of 16 behind all data.
    pub heap_base: u64,
}

/// Parameters and results of a function on both stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Signature {
    /// Word parameters.
    pub words_in: u16,
    /// Word results.
    pub words_out: u16,
    /// Reference parameters.
    pub refs_in: u16,
    /// Reference results.
    pub refs_out: u16,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Index of its signature.
    pub signature: u32,
    /// Word locals besides the parameters, zero at entry.
    pub word_locals: u16,
    /// Reference locals besides the parameters, null at entry.
    pub ref_locals: u16,
    /// 0 for an ordinary function. Otherwise a window function, whose word stack height is not static, and this
    /// is the greatest height it may reach; it has no word locals, and its parameters lie on its stack.
    pub window: u16,
    /// Encoded instructions.
    pub code: Vec<u8>,
}

/// Initial contents of a part of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSegment {
    /// First address.
    pub address: u64,
    /// Whether writes trap; read-only segments come before all others.
    pub read_only: bool,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// A map from guest addresses to blocks of one window function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JumpMap {
    /// The window function.
    pub function: u32,
    /// Guest address and byte offset of a BLK instruction, ascending by address.
    pub entries: Vec<(u64, u32)>,
}

/// The handlers of one function, which is no window function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerTable {
    /// The function.
    pub function: u32,
    /// Ascending by `from`, then descending by `to`: a range stands behind those it lies in, and of equal ranges the
    /// last is the innermost.
    pub entries: Vec<Handler>,
}

/// Where a function goes on when an instruction in a range of it, or a function called there, traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Byte offset of the first instruction of the range.
    pub from: u32,
    /// Byte offset behind its last instruction.
    pub to: u32,
    /// Byte offset of the instruction to go on with.
    pub target: u32,
    /// What is caught, one bit for each [`TrapKind`](crate::trap::TrapKind): User alone, or any others.
    pub kinds: u32,
    /// Words that stay on the operand stack, below the code.
    pub words: u16,
    /// References that stay on it, below the payload.
    pub refs: u16,
}

/// What values a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CollectionKind {
    /// Any byte string.
    Bytes = 0,
    /// Documents: deterministic CBOR (RFC 8949 section 4.2), checked on write.
    Document = 1,
}

impl CollectionKind {
    /// The name in assembly text.
    pub const fn name(self) -> &'static str {
        match self {
            CollectionKind::Bytes => "bytes",
            CollectionKind::Document => "doc",
        }
    }
}

/// How the names of collections begin that the machine itself keeps, such as those of files.
pub const RESERVED_COLLECTIONS: &str = "dotvm.";

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Name.
    pub name: String,
    /// What it holds.
    pub kind: CollectionKind,
}

/// A function that can be called from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Name.
    pub name: String,
    /// Index of the function.
    pub function: u32,
}

/// Names and lines for people. Lists run parallel to the module's; an empty name means none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Debug {
    /// Name of the source file.
    pub source_name: String,
    /// BLAKE3 hash of the source text.
    pub source_hash: [u8; 32],
    /// Functions.
    pub functions: Vec<FunctionDebug>,
    /// Word globals.
    pub word_globals: Vec<String>,
    /// Reference globals.
    pub ref_globals: Vec<String>,
    /// Word constants.
    pub word_constants: Vec<String>,
    /// Reference constants.
    pub ref_constants: Vec<String>,
    /// Function tables.
    pub tables: Vec<String>,
}

/// Names and lines of one function.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FunctionDebug {
    /// Name.
    pub name: String,
    /// Word parameters and locals.
    pub words: Vec<String>,
    /// Reference parameters and locals.
    pub refs: Vec<String>,
    /// Code offset and the source line of the instructions from there on, ascending.
    pub lines: Vec<(u32, u32)>,
    /// Code offset and label, ascending by offset.
    pub labels: Vec<(u32, String)>,
}
