//! The engine in one go, and in steps: with nothing between two steps, or with instances that are written down and read.

use std::sync::Arc;

use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::host::{Host, HostError};
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, FinalState, Invocation, Outcome};
use dotvm_core::verify::Verified;
use dotvm_engine::{Instance, Program, Step};

use crate::mock_host::MockHost;

/// How a run ended and what it left, or why it has no end.
pub type Ran = Result<(Outcome, FinalState), String>;

/// An instance as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Everything but what follows.
    pub control: Vec<u8>,
    /// The managed heap.
    pub heap: Vec<u8>,
    /// Linear memories with the numbers of their processes.
    pub memories: Vec<(u32, Vec<u8>)>,
}

impl Saved {
    /// Writes an instance down.
    ///
    /// # Panics
    /// If it does not stand between two steps.
    pub fn of(instance: &mut Instance) -> Saved {
        let (mut control, mut heap) = (Writer::new(), Writer::new());
        instance.save(&mut control, &mut heap).expect("an instance between two steps can be written down");
        let memories = instance.memories().into_iter().map(|(pid, bytes)| (pid, bytes.to_vec())).collect();
        Saved { control: control.into_bytes(), heap: heap.into_bytes(), memories }
    }

    /// Reads it back.
    ///
    /// # Errors
    /// What is damaged.
    pub fn restore(&self, program: &Arc<Program>, limits: &Limits) -> Result<Instance, Damage> {
        let (mut control, mut heap) = (Reader::new(&self.control), Reader::new(&self.heap));
        let memory = |pid: u32, len: usize| {
            let found = self.memories.iter().find(|(of, _)| *of == pid);
            let mut memory = found.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            memory.resize(len, 0);
            Ok(memory)
        };
        let instance = Instance::restore(program.clone(), limits, &mut control, &mut heap, memory)?;
        control.end()?;
        Ok(instance)
    }
}

/// Writes an instance down and reads it back.
///
/// # Panics
/// If what was written is not read, or is written otherwise then.
pub fn restored(mut instance: Instance, program: &Arc<Program>, limits: &Limits) -> Instance {
    let saved = Saved::of(&mut instance);
    let mut again = saved.restore(program, limits).expect("what was written down is read");
    assert!(Saved::of(&mut again) == saved, "what was read is written down otherwise");
    again
}

/// Runs in one go.
///
/// # Errors
/// A sentence, if the invocation does not fit or there is no memory.
///
/// # Panics
/// If the module cannot be lowered.
pub fn at_once(verified: &Verified, invocation: &Invocation, limits: &Limits, host: &mut MockHost) -> Ran {
    let program = dotvm_engine::lower(verified.clone()).expect("generated modules can be lowered");
    dotvm_engine::run_to_state(&program, invocation, limits, host)
}

/// Runs in steps of `quantum` gas; `between` makes the instance that goes on of the one that has stopped.
///
/// # Errors
/// A sentence, if the invocation does not fit or there is no memory.
///
/// # Panics
/// If a call ends as none of them does.
pub fn in_steps(
    program: &Arc<Program>,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut MockHost,
    quantum: u64,
    mut between: impl FnMut(Instance) -> Instance,
) -> Ran {
    let mut instance = Instance::new(program.clone(), invocation.clone(), limits)?;
    let end = loop {
        let step = instance.resume(host, quantum)?;
        if let Step::Ended(end) = step {
            break end;
        }
        instance = between(instance);
        match step {
            Step::OutOfGas(trap) => break End::Trap(trap),
            Step::Formula => panic!("nothing asked for formulas"),
            Step::Calls(request) => match host.call(&request) {
                Ok(answer) => instance.answer(answer),
                Err(HostError::Trap(kind, detail)) => instance.refuse(kind, detail),
                Err(error) => panic!("{error:?}"),
            },
            Step::Quantum | Step::Ended(_) => {}
        }
    };
    let gas_used = limits.gas - instance.gas_left();
    let guest_gas_used = limits.guest_gas - instance.guest_gas_left();
    Ok((Outcome { end, gas_used, guest_gas_used }, instance.into_final_state()))
}
