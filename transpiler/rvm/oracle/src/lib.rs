//! A slow interpreter of RVM, written from its reference (`docs/machines/rvm.md`). It shares nothing with the frontend.

mod arithmetic;
mod file;
mod library;
mod load;
mod machine;
mod objects;
mod threads;

pub use file::Value;
pub use machine::{Machine, Status};

/// Loads a program: the main file of bytes, its name without end, and how to get libraries, as bytes too.
///
/// # Errors
/// A sentence, where the reference says load error.
pub fn load(main: &[u8], name: &str, library: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Machine, String> {
    load::load(main, name, library)
}
