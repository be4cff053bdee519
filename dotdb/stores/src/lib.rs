//! Names of stores: from a URL to an open store of any backend.
//!
//! The one place that knows all backends. What a process has open for writing it announces in a small file
//! beside the store, so that a second process can be told who holds it.

mod holder;
mod open;
mod url;

pub use open::{Access, beside, open, open_waiting};
pub use url::{Backend, StoreUrl, UrlError, detect};
