//! Programs and contracts run against DotDB: one execution is one transaction.
//!
//! - [`TxHost`] is the machine's [`Host`](dotvm_core::host::Host) over a transaction of DotDB.
//! - [`execute`] links a program to a contract's state, runs it, and commits durably or leaves nothing.
//! - [`Runtime`] keeps code in the store: [`Runtime::deploy`] puts it there under a name, [`Runtime::call`] runs it.
//! - [`args`] and [`show`] turn text into arguments and results into text.
//!
//! Like the engine, this crate knows no storage backend: it takes a [`dotdb::Database`].

pub mod args;
pub mod audit;
mod calls;
mod contracts;
mod door;
mod durable;
mod error;
mod execute;
mod host;
mod open_tx;
mod past;
mod program;
mod proof;
mod recording;
mod scratch;
pub mod show;
pub mod system;
mod watch;

pub use dotvm_engine::{FrameView, Instance, ProcessView, TaskState, TaskView};

pub use contracts::{Change, Deployed, Runtime};
pub use durable::{
    CHECKPOINT_FORMAT, InstanceView, KeptRun, ListedMachine, Machine, MachineHead, MachineStatus, MachineView,
};
pub use error::RuntimeError;
pub use execute::{Execution, Options, execute, execute_again};
pub use host::{Event, TxHost};
pub use open_tx::{MAX_EVENT_BYTES, MAX_PENDING_BYTES, MAX_SAVEPOINTS, MAX_SCRATCH_SLOTS};
pub use program::Program;
pub use recording::{OutsideCall, Recorder, Replay};
pub use system::{Outside, Stream, System, SystemError};
pub use watch::Watch;
