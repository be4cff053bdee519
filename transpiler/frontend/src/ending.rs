//! How a program of a source machine ended.

use serde_json::{Map, Value};

/// A part of a source machine's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first address.
    pub address: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The end of a run in the words of the source machine, as conformance samples compare it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Ending {
    /// The machine's word for how it ended.
    pub status: String,
    /// The exit code, where the run has one.
    pub exit_code: Option<Value>,
    /// Further fields by name: vector, registers, fault, processes, final_stack, files.
    pub fields: Map<String, Value>,
    /// Memory, if it was asked for.
    pub memory: Option<Region>,
}

impl Ending {
    /// An end with this status and nothing else.
    pub fn new(status: &str) -> Ending {
        Ending { status: status.to_owned(), ..Ending::default() }
    }
}
