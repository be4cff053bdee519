//! Limits: a bound on everything a program can make the host do.

/// Bounds of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Gas, at most [`crate::gas::Gas::MAX`].
    pub gas: u64,
    /// Linear memory, in 64 KiB pages.
    pub memory_pages: u64,
    /// Nested calls.
    pub call_depth: u32,
    /// Words on the word stack, locals included, over all frames.
    pub stack_words: u32,
    /// References on the reference stack, locals included, over all frames.
    pub stack_refs: u32,
    /// Guest gas that METER takes from.
    pub guest_gas: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            gas: 10_000_000_000,
            memory_pages: 1024,
            call_depth: 10_000,
            stack_words: 1 << 18,
            stack_refs: 1 << 16,
            guest_gas: 0,
        }
    }
}

/// Bytes of a page of linear memory.
pub const PAGE_BYTES: u64 = 65_536;

/// Longest byte string a program can make, in bytes.
pub const MAX_BYTES_LEN: u64 = 16 << 20;

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
    /// Topics of an event.
    pub const TOPICS: u64 = 8;
}
