//! What a machine looks like that stands still.

use std::ops::Range;

use dotdb::MachineId;
use dotvm_codec::Reader;
use dotvm_engine::{ProcessView, TaskView};

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
    /// Its tasks by number: one, unless it has spawned others.
    pub tasks: Vec<TaskView>,
    /// The processes that they are in, by number.
    pub processes: Vec<ProcessView>,
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
        let kept = self.restore_with(machine, |_, len| Ok(vec![0; len]))?;
        from.require(kept.stack.len() == programs.len(), "it has other instances").map_err(damaged)?;
        let instances = kept.stack.into_iter().map(|running| InstanceView {
            gas_left: running.instance.gas_left(),
            guest_gas_left: running.instance.guest_gas_left(),
            tasks: running.instance.tasks(),
            processes: running.instance.processes(),
            program: running.program,
        });
        Ok(MachineView { instances: instances.collect() })
    }

    /// Bytes of the linear memory of a process of an instance: reads only the pieces that they lie in. What is behind the last byte that
    /// was ever touched is zero.
    ///
    /// # Errors
    /// [`RuntimeError::Machine`] for a machine that is damaged, or has no such instance.
    pub fn machine_memory(
        &self,
        machine: &Machine,
        instance: usize,
        process: u32,
        range: Range<u64>,
    ) -> Result<Vec<u8>, RuntimeError> {
        let part = part::memory(instance, process);
        let Some(there) = machine.head.table.len(part) else {
            return Err(machine.refused(format!("it has no instance {instance} with a process {process}")));
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
