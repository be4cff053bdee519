//! The engine: lowers verified modules to a register form and interprets it, one engine at five word widths.
//!
//! ```text
//! Module --compile--> Program --run(invocation, limits, host)--> Outcome
//! ```
//!
//! The engine knows no storage, no file and no clock, and threads only to do at once what comes to the same one after the
//! other (`ahead`, the kernels): everything outside an instance's own memory goes
//! through [`dotvm_core::host::Host`].

#![allow(
    clippy::unnecessary_lazy_evaluations,
    reason = "a `Stop` that is made before it is needed is dropped on the way where nothing stops: 1.9 times as long in the sieve"
)]

mod ahead;
mod arrays;
mod bystander;
mod cells;
mod ext;
mod ext_bytes;
mod ext_crypto;
mod ext_documents;
mod ext_memory;
mod float;
mod formulas;
mod fusion;
mod growth;
mod guard;
mod inspect;
mod inst;
mod instance;
mod int;
mod integers;
mod interp;
mod lanes;
mod lower;
mod machine;
mod memory;
mod ops;
mod prime;
mod program;
mod references;
mod registers;
mod saved;
mod scheduler;
mod services;
mod system;
mod tasks;

pub use growth::Unit;
pub use inspect::{FrameView, ProcessView, TaskState, TaskView};
pub use instance::{Instance, Step, Wanted};
pub use lower::LowerError;
pub use program::{CompileError, Program, compile, lower, run, run_to_state};
pub use saved::MemoryChanges;
pub use services::{Answer, Charge, FormulaCall, Refusal, Served, Services};
