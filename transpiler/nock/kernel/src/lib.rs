//! Kernels of Nock: cores that take events and are kept in DotDB between them.
//!
//! ```text
//! kernel, event --poke--> effects, kernel        one transaction
//! kernel, path  --peek--> product                nothing changes
//! ```
//!
//! [`Kernel`] knows how a kernel is called, [`store`] how it lies in a database.

mod kernel;
pub mod store;

use dotdb::DbError;
use dotvm_nock_machine::Failure;

pub use kernel::{ARMS, BATTERY, CONTEXT, Kernel, LOAD, PEEK, POKE, Poked, STATE, part};
pub use store::{Head, Part};

/// Why nothing came of it. Whatever it is, the state is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run has no product.
    #[error(transparent)]
    Nock(#[from] Failure),
    /// The product is not what a kernel answers with, which follows from kernel and event alone.
    #[error("{0}")]
    Product(&'static str),
    /// A noun that is to be a kernel is none.
    #[error("this noun is no kernel: {0}")]
    Shape(&'static str),
    /// There is no kernel with this name.
    #[error("there is no kernel named {0:?}")]
    Unknown(String),
    /// There is a kernel with this name.
    #[error("there is a kernel named {0:?} already")]
    Exists(String),
    /// The name is that of a contract which has code or a collection of another kind.
    #[error("{0:?} is the name of a contract that is no kernel")]
    Taken(String),
    /// What is kept of a kernel does not fit together.
    #[error("the kernel {name:?} is damaged: {problem}")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The database's.
    #[error(transparent)]
    Db(#[from] DbError),
}
