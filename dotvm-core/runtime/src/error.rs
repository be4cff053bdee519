//! Why a program was not run, a contract not deployed, or a result not kept.

use dotdb::DbError;

use crate::system::SystemError;
use dotvm_core::capability::Capability;
use dotvm_core::container::{OpenError, ReadError};
use dotvm_core::verify::VerifyError;

use crate::args::ArgumentError;

/// An error of the runtime: each message is one sentence for people. How the program itself ended is no error but
/// an [`Outcome`](dotvm_core::outcome::Outcome).
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The bytes are no module.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The envelope of the module is damaged, or needs a key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The code of a contract is not signed by any of those required.
    #[error("the contract {name:?} is not called: {why}")]
    Untrusted {
        /// Name of the contract.
        name: String,
        /// What is wrong with its signature.
        why: String,
    },
    /// A program that a machine is in the middle of is not signed by any of those required.
    #[error("machine {id} is not gone on with, because of {module:?}: {why}")]
    UntrustedMachine {
        /// Its number.
        id: u64,
        /// Name of the program.
        module: String,
        /// What is wrong with its signature.
        why: String,
    },
    /// The verifier refuses the module.
    #[error("the verifier refuses the module: {0}")]
    Verify(#[from] VerifyError),
    /// The module cannot be brought into the engine's form.
    #[error("the module cannot be prepared to run: {0}")]
    Lower(String),
    /// The module needs a capability that the host does not grant.
    #[error("the module {module:?} needs the capability `{}` ({}), which is not granted", .capability.name(), .capability.meaning())]
    NotGranted {
        /// Name of the module.
        module: String,
        /// The capability.
        capability: Capability,
    },
    /// The function or its arguments.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// No code is deployed under the name.
    #[error("there is no contract named {name:?}{}", .nearest.as_ref().map(|name| format!(": did you mean {name:?}?")).unwrap_or_default())]
    UnknownContract {
        /// The name asked for.
        name: String,
        /// A deployed contract with a name much like it.
        nearest: Option<String>,
    },
    /// The code kept for a contract is refused, which other versions of this program may have accepted.
    #[error("the code kept for the contract {name:?} is refused: {source}")]
    StoredCode {
        /// Name of the contract.
        name: String,
        /// Why it is refused.
        source: Box<RuntimeError>,
    },
    /// Other code is deployed under the name.
    #[error("the name {name:?} already belongs to other code, with hash {deployed}")]
    NameTaken {
        /// The name.
        name: String,
        /// Hash of that code, in hexadecimal.
        deployed: String,
    },
    /// Other transactions kept changing what the execution had read; nothing of it is kept. It may succeed later.
    #[error("{conflict} (tried {attempts} time{})", if *.attempts == 1 { "" } else { "s" })]
    Conflict {
        /// The last conflict.
        conflict: DbError,
        /// How often the execution was tried.
        attempts: u32,
    },
    /// The last transaction of an execution conflicts with another after the program had committed earlier ones, so
    /// that it cannot be tried again as a whole.
    #[error("{0}; earlier transactions of the execution are committed, so it was not repeated")]
    LateConflict(DbError),
    /// Another transaction was in the way after the program had read or written outside, so that it cannot be tried
    /// again: nothing of it is kept.
    #[error("{0}; the program had read or written outside, so it was not repeated")]
    OutsideConflict(DbError),
    /// Who watched the run has stopped it.
    #[error("the run was stopped by what watched it")]
    Stopped,
    /// No machine has the number.
    #[error(
        "there is no machine {id}: it was never kept here, or its run has ended and the result was fetched"
    )]
    UnknownMachine {
        /// The number.
        id: u64,
    },
    /// A machine that was written down cannot be read, or does not go on here.
    #[error("machine {id} cannot go on: {problem}")]
    Machine {
        /// Its number.
        id: u64,
        /// Why.
        problem: String,
    },
    /// The outside failed, or a replay has come apart from what was recorded; nothing of the execution is kept.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The database failed; nothing of the execution is kept.
    #[error(transparent)]
    Db(#[from] DbError),
}
