//! The managed heap of an instance: integers, byte strings and cells behind references of eight bytes.
//!
//! Everything in it is immutable, so there are no cycles and counting references is complete: what no reference
//! leads to any more is given back at once or, of a large structure, over the operations that follow, so that no
//! single one has to wait for it. How a reference is told from another and what it holds is in [`Reference`], where
//! things lie in [`Heap`]; the other files are operations on them. None needs more of the host's stack for deep
//! structures than for flat ones, or more time for shared ones than there are cells.

mod compare;
mod edge;
mod heap;
mod jam;
mod loose;
mod mug;
mod reference;
mod saved;
mod tree;

pub use heap::{Failure, Heap};
pub use loose::Loose;
pub use mug::{NounError, mug_of_bytes, mug_of_cell};
pub use reference::{Integer, Kind, Reference};
pub use saved::Restored;
pub use tree::{Axis, EditError};
