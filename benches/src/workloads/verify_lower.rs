//! Verification and lowering of a large module: bytes of bytecode a second.

use anyhow::Result;

use super::Setup;
use crate::harness::{Contender, Goal, Kind, Workload};

pub const NAME: &str = "verify_lower";

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let bytes = setup.pick(1_000_000, 100_000);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.extend(dotvm(setup)?);
    Ok(Workload {
        name: NAME,
        summary: "one module verified and lowered".to_owned(),
        operations: bytes,
        unit: "byte",
        kind: Kind::Compute,
        baseline: "DotVM",
        expected: 0,
        expected_state: None,
        goal: Some(Goal::OperationsPerSecond(50e6)),
        contenders,
    })
}

// DOTVM SLOT: a module of about `bytes` bytes of code, parsed beforehand, verified and lowered in `run`.
// Set `operations` above to its exact number of code bytes and `expected` to the number of its
// instructions, known from how it was generated.
fn dotvm(_: &Setup) -> Result<Option<Box<dyn Contender>>> {
    Ok(None)
}
