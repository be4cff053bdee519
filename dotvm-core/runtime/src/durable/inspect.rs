//! What a machine looks like that stands still.

use std::ops::Range;

use dotdb::MachineId;
use dotvm_arch::W512;
use dotvm_codec::Reader;
use dotvm_core::outcome::Ref;
use dotvm_engine::FrameView;

use super::image::part;
use super::{Machine, MachineStatus};
use crate::contracts::Runtime;
use crate::error::RuntimeError;
use crate::program::Program;

/// A machine in the middle of its run.
pub struct MachineView {
    /// Its instances: the first, and those of the contracts that called each other, the last called last.
    pub instances: Vec<InstanceView>,
}

/// An instance of a machine.
pub struct InstanceView {
    /// The program that it runs.
    pub program: Program,
    /// Gas that it has left.
    pub gas_left: u64,
    /// Guest gas that it has left.
    pub guest_gas_left: u64,
    /// Its frames, the first called first.
    pub frames: Vec<FrameView>,
    /// Word globals, zero-extended.
    pub word_globals: Vec<W512>,
    /// Reference globals.
    pub ref_globals: Vec<Ref>,
    /// Bytes of linear memory.
    pub memory_size: u64,
}

impl Runtime {
    /// What a machine looks like. Its linear memories are not read.
    ///
    /// # Errors
    /// [`RuntimeError::Machine`] for one that is damaged.
    pub fn view_machine(&self, machine: &Machine) -> Result<MachineView, RuntimeError> {
        if !matches!(machine.head.status, MachineStatus::Running | MachineStatus::OutOfGas) {
            return Ok(MachineView { instances: Vec::new() });
        }
        let database = self.database();
        let damaged = |damage: dotvm_codec::Damage| machine.refused(damage);
        let control = machine.part(database, part::CONTROL)?;
        let from = &mut Reader::new(&control);
        let programs = self.programs_of(machine, from)?;
        let kept = self.restore_with(machine, |len| Ok(vec![0; len]))?;
        from.require(kept.stack.len() == programs.len(), "it has other instances").map_err(damaged)?;
        let instances = kept.stack.into_iter().map(|running| {
            let (word_globals, ref_globals) = running.instance.globals();
            InstanceView {
                gas_left: running.instance.gas_left(),
                guest_gas_left: running.instance.guest_gas_left(),
                frames: running.instance.frames(),
                word_globals,
                ref_globals,
                memory_size: running.instance.memory_size(),
                program: running.program,
            }
        });
        Ok(MachineView { instances: instances.collect() })
    }

    /// Bytes of an instance's linear memory: reads only the pieces that they lie in. What is behind the last byte that
    /// was ever touched is zero.
    ///
    /// # Errors
    /// [`RuntimeError::Machine`] for a machine that is damaged, or has no such instance.
    pub fn machine_memory(
        &self,
        machine: &Machine,
        instance: usize,
        range: Range<u64>,
    ) -> Result<Vec<u8>, RuntimeError> {
        let part = part::memory(instance);
        let Some(there) = machine.head.table.len(part) else {
            return Err(machine.refused(format!("it has no instance {instance} with a memory")));
        };
        let (start, end) = (range.start.min(there), range.end.min(there));
        let mut bytes = machine.head.table.read(self.database(), machine.id, part, start..end.max(start))?;
        let wanted = range.end.saturating_sub(range.start) as usize;
        if bytes.try_reserve(wanted.saturating_sub(bytes.len())).is_err() {
            return Err(machine.refused("there is no memory for what is to be read of it"));
        }
        bytes.resize(wanted, 0);
        Ok(bytes)
    }

    /// The only machine that is kept, if there is one.
    ///
    /// # Errors
    /// [`RuntimeError::Db`].
    pub fn only_machine(&self) -> Result<Result<MachineId, Vec<MachineId>>, RuntimeError> {
        let machines: Vec<MachineId> = self.machines()?.into_iter().map(|(id, _)| id).collect();
        Ok(match machines[..] {
            [only] => Ok(only),
            _ => Err(machines),
        })
    }
}
