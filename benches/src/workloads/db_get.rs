//! Reading one key of an in-memory store from bytecode, against calling the store directly.

use anyhow::Result;

use super::Setup;
use crate::harness::{Contender, Goal, Kind, Workload};

pub const NAME: &str = "db_get";

/// The name that the direct contender must carry, since it is the baseline.
const DIRECT: &str = "store called directly";

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let reads = setup.pick(1_000_000, 100_000);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.extend(dotvm(setup)?);
    contenders.extend(direct(setup)?);
    Ok(Workload {
        name: NAME,
        summary: format!("{reads} reads of present keys in the in-memory store"),
        operations: reads,
        unit: "read",
        kind: Kind::Compute,
        baseline: DIRECT,
        expected: 0,
        expected_state: None,
        goal: Some(Goal::ExtraNanosPerOperation(200.0)),
        contenders,
    })
}

// DOTVM SLOT: DB_GET in a loop over the keys that `direct` reads. Set `expected` above to the sum of the
// values, computed from how they were made.
fn dotvm(_: &Setup) -> Result<Option<Box<dyn Contender>>> {
    Ok(None)
}

// DOTVM SLOT: the in-memory backend, the same reads through its own interface, named `DIRECT`.
fn direct(_: &Setup) -> Result<Option<Box<dyn Contender>>> {
    Ok(None)
}
