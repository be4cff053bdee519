//! The past: every version that is kept reads as it was, and what is derived from versions agrees with them.
//!
//! Random work is done on a database and on a list of ordered maps, one for each version.
//! `DOTVM_SEEDS=0..10000` runs more of it.

mod forgetting;
mod large;
mod random;
mod state;
