//! Machines whose checkpoints were tampered with: what is read of them is refused, or is a machine that runs.

use std::sync::Arc;

use dotvm_arch::Width;
use dotvm_core::env::Env;
use dotvm_core::verify::verify;
use dotvm_engine::{Instance, Step};

use crate::differential::Case;
use crate::mock_host::MockHost;
use crate::stepped::Saved;

/// Most gas that a machine is run with that was read.
const GAS: u64 = 20_000;

/// The first bytes choose a generated program and where it is stopped; each four that follow change a byte of what was
/// written down: its part, its place in two bytes, its value. Answers whether what came of it was read.
///
/// # Panics
/// If reading or running it does any harm.
pub fn run(bytes: &[u8]) -> Option<bool> {
    let (&[seed, steps, quantum], edits) = bytes.split_first_chunk()?;
    let case = Case::generate(seed.into(), Width::ALL[usize::from(seed) % 5], 30);
    let program = Arc::new(dotvm_engine::lower(verify(case.module).ok()?).ok()?);
    let mut host = MockHost::new(Env::default());
    let mut instance = Instance::new(program.clone(), case.invocation, &case.limits).ok()?;
    for _ in 0..=steps % 8 {
        if instance.resume(&mut host, quantum.into()) != Ok(Step::Quantum) {
            return None;
        }
    }
    let mut saved = Saved::of(&mut instance);
    for edit in edits.chunks_exact(4) {
        let part = if edit[0] % 4 == 0 { &mut saved.heap } else { &mut saved.control };
        let place = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % part.len();
        part[place] = edit[3];
    }
    let Ok(mut instance) = saved.restore(&program, &case.limits) else { return Some(false) };
    instance.set_gas(GAS.min(instance.gas_left()));
    instance.tasks();
    instance.processes();
    let mut host = MockHost::new(Env::default());
    let stopped = matches!(instance.resume(&mut host, u64::MAX), Ok(Step::OutOfGas(_)));
    if stopped {
        Saved::of(&mut instance);
    }
    Some(true)
}
