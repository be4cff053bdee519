//! Machines whose checkpoints were tampered with: what is read of them is refused, or is a machine that runs.

use std::sync::Arc;

use dotvm_arch::Width;
use dotvm_codec::{Reader, Writer};
use dotvm_core::env::Env;
use dotvm_core::verify::verify;
use dotvm_engine::{Instance, Step};

use crate::differential::Case;
use crate::mock_host::MockHost;

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
    if instance.unsaved().is_some() {
        return None;
    }
    let (mut control, mut heap) = (Writer::new(), Writer::new());
    instance.save(&mut control, &mut heap).expect("it stands between two steps");
    let (mut control, mut heap) = (control.into_bytes(), heap.into_bytes());
    for edit in edits.chunks_exact(4) {
        let part = if edit[0] % 4 == 0 { &mut heap } else { &mut control };
        let place = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % part.len();
        part[place] = edit[3];
    }
    let mut reader = Reader::new(&control);
    let memory = |len| Ok(vec![0; len]);
    let restored = Instance::restore(program, &case.limits, &mut reader, &mut Reader::new(&heap), memory);
    let Ok(mut instance) = restored else { return Some(false) };
    instance.set_gas(GAS.min(instance.gas_left()));
    instance.frames();
    let mut host = MockHost::new(Env::default());
    let stopped = matches!(instance.resume(&mut host, u64::MAX), Ok(Step::OutOfGas(_)));
    if stopped && instance.unsaved().is_none() {
        instance.save(&mut Writer::new(), &mut Writer::new()).expect("it stands between two steps");
    }
    Some(true)
}
