//! Nock: the text of nouns, and the compiler that makes functions of formulas.
//!
//! What the machine does is written in `docs/machines/nock.md`. Formulas are compiled when they are met: the engine asks
//! for the function of a formula ([`Compiler`]), and [`prelude`] is the module that it begins with.

mod code;
mod compile;
mod nouns;
mod prelude;
pub mod services;
pub mod text;
mod virtual_code;

pub use compile::{Compiler, Hints, Request, Unit};
pub use prelude::{Entry, Helper, PRELUDE_FUNCTIONS, prelude};
