//! Native Rust: the physical limit.

use anyhow::Result;

use crate::harness::Contender;

/// The name of native contenders.
pub const NAME: &str = "native Rust";

/// A workload written in Rust and compiled with the suite.
///
/// The closure must take its parameters through [`std::hint::black_box`], or the compiler may compute
/// the answer beforehand.
pub struct Native<F>(pub F);

impl<F: FnMut() -> u64> Contender for Native<F> {
    fn name(&self) -> &str {
        NAME
    }

    fn run(&mut self) -> Result<u64> {
        Ok((self.0)())
    }
}
