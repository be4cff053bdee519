//! Limits: a bound on everything a program can make the host do.

/// Bounds of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Gas, at most [`crate::gas::Gas::MAX`].
    pub gas: u64,
    /// Linear memory, in 64 KiB pages, of all processes together.
    pub memory_pages: u64,
    /// Nested calls, of all tasks together.
    pub call_depth: u32,
    /// Words on the word stack, locals included, over all frames of all tasks.
    pub stack_words: u32,
    /// References on the reference stack, locals included, over all frames of all tasks.
    pub stack_refs: u32,
    /// Nested contracts, the first included.
    pub contract_depth: u32,
    /// Guest gas that METER takes from.
    pub guest_gas: u64,
    /// Managed heap, in bytes as [`heap`] counts them; beyond [`heap::BYTES`] it is that.
    pub heap_bytes: u64,
    /// Tasks at a time: the first one, and those that SPAWN began and no JOIN has taken the result of.
    pub tasks: u32,
    /// Messages that wait in the mailbox of one task.
    pub mailbox: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            gas: 10_000_000_000,
            memory_pages: 1024,
            call_depth: 10_000,
            stack_words: 1 << 18,
            stack_refs: 1 << 16,
            contract_depth: 64,
            guest_gas: 0,
            heap_bytes: 256 << 20,
            tasks: 1024,
            mailbox: 1024,
        }
    }
}

/// Gas that a task may use before another one has its turn, where there is another.
pub const TURN_GAS: u64 = 10_000;

/// Greatest number of a task; none is given twice.
pub const MAX_TASK: u32 = i32::MAX as u32;

/// Bytes of a page of linear memory.
pub const PAGE_BYTES: u64 = 65_536;

/// Longest byte string a program can make, in bytes.
pub const MAX_BYTES_LEN: u64 = 16 << 20;

/// Bits of the greatest absolute value of an integer: as many as the longest byte string has.
pub const MAX_INTEGER_BITS: u64 = 8 * MAX_BYTES_LEN;

/// What the objects of the managed heap count, however a tier keeps them. What several references share counts once,
/// null and integers from −2^61 to 2^61 − 1 nothing, and constants of the module nothing.
pub mod heap {
    /// The greatest limit: numbers of objects and of references to one stay within 32 bits.
    pub const BYTES: u64 = 32 << 30;
    /// A cell.
    pub const CELL: u64 = 32;
    /// A byte string besides its bytes; a slice of one has none of its own but keeps the whole. An integer besides its
    /// limbs of 8 bytes.
    pub const OBJECT: u64 = 64;
    /// The integers from −2^61 up to this one count nothing.
    pub const GREATEST_SMALL: i64 = (1 << 61) - 1;
    /// The least integer that counts nothing.
    pub const LEAST_SMALL: i64 = -(1 << 61);
}

/// Bounds of a module, checked by the reader and the verifier.
pub mod module {
    /// Bytes of a module file.
    pub const FILE_BYTES: usize = 256 << 20;
    /// Functions.
    pub const FUNCTIONS: usize = 65_535;
    /// Word locals, parameters and operand stack of one function together.
    pub const FRAME_WORDS: u32 = 65_535;
    /// Reference locals, parameters and operand stack of one function together.
    pub const FRAME_REFS: u32 = 65_535;
    /// Entries of any other table (constants, globals, signatures, collections, exports, …).
    pub const ENTRIES: usize = 65_535;
    /// Bytes of a name.
    pub const NAME_BYTES: usize = 255;
    /// Ranges of handlers around one instruction.
    pub const HANDLER_DEPTH: usize = 64;
    /// Topics of an event.
    pub const TOPICS: u64 = 8;
}
