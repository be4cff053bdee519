//! Writing checkpoints of a run while it runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use dotdb::{Database, MachineId, MachineRow, Rows};
use dotvm_codec::Writer;
use dotvm_core::outcome::Invocation;
use dotvm_engine::MemoryChanges;

use super::basics::{save_limits, save_result, save_start};
use super::image::{MachineHead, MachineStatus, Part, Table, part};
use crate::calls::Running;
use crate::error::RuntimeError;
use crate::execute::{Execution, Options};
use crate::host::TxHost;
use crate::program::Program;

/// Keeps a run: writes it down every so much gas, at each commit, and at its end.
pub(crate) struct Saver<'a> {
    database: &'a Database,
    id: MachineId,
    /// Everything but status and table is good for the whole run.
    head: MachineHead,
    /// Gas until the next checkpoint.
    left: u64,
    options: &'a Options,
    start: Vec<u8>,
    /// The table that is written with the commit that was granted last.
    granted: Option<Table>,
    /// Pages that have changed since what is written, as far as their memories were asked; `None` if any may have.
    unwritten: BTreeMap<u64, Option<BTreeSet<u32>>>,
    /// What kept the last checkpoint from being written.
    postponed: Option<&'static str>,
}

impl<'a> Saver<'a> {
    /// For a run that begins: writes down what it begins with. `bytes` are those of the module.
    pub(crate) fn begin(
        database: &'a Database,
        contract: &str,
        program: &Program,
        bytes: &[u8],
        invocation: &Invocation,
        options: &'a Options,
        every: u64,
    ) -> Result<Saver<'a>, RuntimeError> {
        let module = program.module();
        let head = MachineHead {
            status: MachineStatus::Started,
            every,
            checkpoints: 0,
            contract: contract.to_owned(),
            module: module.name.clone(),
            hash: *program.hash(),
            bits: module.width.bits(),
            fingerprint: program.lowered().fingerprint(),
            gas_limit: options.limits.gas,
            gas_left: options.limits.gas,
            version: database.version(),
            table: Table::default(),
        };
        let start = save_start(contract, invocation, options);
        let mut saver = Saver::of(database, database.new_machine()?, head, start, options);
        let module = bytes.to_vec().into();
        let mut rows = vec![(saver.id.key(MachineRow::Module), Some(module))];
        rows.extend(saver.start_again());
        database.write_machine(rows)?;
        Ok(saver)
    }

    /// For a run that goes on.
    pub(crate) fn of(
        database: &'a Database,
        id: MachineId,
        head: MachineHead,
        start: Vec<u8>,
        options: &'a Options,
    ) -> Saver<'a> {
        let left = head.every;
        Saver {
            database,
            id,
            head,
            left,
            options,
            start,
            granted: None,
            unwritten: BTreeMap::new(),
            postponed: None,
        }
    }

    /// The contract's name.
    pub(crate) fn contract(&self) -> &str {
        &self.head.contract
    }

    /// Writes rows of the machine.
    pub(crate) fn write(&self, rows: Rows) -> Result<(), RuntimeError> {
        Ok(self.database.write_machine(rows)?)
    }

    /// The machine's number.
    pub(crate) fn id(&self) -> MachineId {
        self.id
    }

    /// Gas until the next checkpoint.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// What kept the last checkpoint from being written, if something did.
    pub(crate) fn postponed(&self) -> Option<&'static str> {
        self.postponed
    }

    /// So much gas was used.
    pub(crate) fn used(&mut self, gas: u64) {
        self.left = self.left.saturating_sub(gas);
    }

    /// The rows of a machine that is to begin.
    fn start_again(&mut self) -> Rows {
        self.unwritten.clear();
        let parts = [Part::of(part::START, &self.start)];
        let (table, mut rows) = self.head.table.replaced_by(self.id, &parts);
        self.head = MachineHead {
            status: MachineStatus::Started,
            gas_left: self.head.gas_limit,
            table,
            ..self.head.clone()
        };
        rows.push((self.id.key(MachineRow::Head), Some(self.head.to_bytes())));
        rows
    }

    /// The run begins again.
    pub(crate) fn restart(&mut self) -> Result<(), RuntimeError> {
        let rows = self.start_again();
        self.left = self.head.every;
        Ok(self.database.write_machine(rows)?)
    }

    /// Writes the run down as it stands.
    pub(crate) fn checkpoint(
        &mut self,
        host: &TxHost<'_>,
        stack: &mut [Running<'_>],
        status: MachineStatus,
    ) -> Result<(), RuntimeError> {
        self.left = self.head.every;
        self.postponed = stack.iter().find_map(|running| running.instance.unsaved());
        if self.postponed.is_some() {
            return Ok(());
        }
        let (head, mut rows) = self.image(host, stack, status, false)?;
        rows.push((self.id.key(MachineRow::Head), Some(head.to_bytes())));
        self.database.write_machine(rows)?;
        self.head = head;
        self.unwritten.clear();
        Ok(())
    }

    /// Lets the commit go on that the run has stopped before, together with the run as it stands then.
    pub(crate) fn grant(
        &mut self,
        host: &mut TxHost<'_>,
        stack: &mut [Running<'_>],
    ) -> Result<(), RuntimeError> {
        if host.pending_keys() == 0 || host.depth() > 0 {
            // Nothing will be written that could be written twice.
            host.grant_commit(None);
            return Ok(());
        }
        if let Some(what) = stack.iter().find_map(|running| running.instance.unsaved()) {
            // Committed without the machine it would be committed once more after a kill.
            let problem =
                format!("{what} cannot be written down, and so cannot commit a transaction of its own");
            return Err(RuntimeError::Machine { id: self.id.0, problem });
        }
        let (head, mut rows) = self.image(host, stack, MachineStatus::Running, true)?;
        self.granted = Some(head.table.clone());
        let key = self.id.key(MachineRow::Head);
        host.grant_commit(Some(Box::new(move |version| {
            let head = MachineHead { version, ..head };
            rows.push((key, Some(head.to_bytes())));
            rows
        })));
        Ok(())
    }

    /// Looks what became of a commit that was granted.
    pub(crate) fn after_step(&mut self, host: &mut TxHost<'_>) {
        if host.take_written()
            && let Some(table) = self.granted.take()
        {
            self.left = self.head.every;
            self.unwritten.clear();
            let checkpoints = self.head.checkpoints + 1;
            self.head = MachineHead {
                table,
                checkpoints,
                version: host.version_after(),
                status: MachineStatus::Running,
                ..self.head.clone()
            };
        }
    }

    /// The head and the rows of the run as it stands, or with `as_committed` as it stands after the next commit.
    fn image(
        &mut self,
        host: &TxHost<'_>,
        stack: &mut [Running<'_>],
        status: MachineStatus,
        as_committed: bool,
    ) -> Result<(MachineHead, Rows), RuntimeError> {
        let refused = |problem| RuntimeError::Machine { id: self.id.0, problem };
        let saved = host.save(as_committed)?;
        let mut control = Writer::new();
        control.count(stack.len());
        for running in stack.iter() {
            control.raw(running.program.hash());
            control.raw(&running.program.lowered().fingerprint());
        }
        control.raw(saved.control.as_bytes());
        control.count(stack.len());
        let mut heaps = Vec::with_capacity(stack.len());
        let gas_left = stack.first().map_or(0, |first| first.instance.gas_left());
        for running in stack.iter_mut() {
            save_limits(&running.limits, &mut control);
            if let Some(caller) = &running.caller {
                caller.save(&mut control);
            }
            let mut heap = Writer::new();
            running.instance.save(&mut control, &mut heap).map_err(refused)?;
            heaps.push(heap.into_bytes());
        }
        let mut outside = Writer::new();
        self.options.outside.lock().save(&mut outside);
        let mut parts = vec![
            Part::of(part::START, &self.start),
            Part::of(part::CONTROL, control.into_bytes()),
            Part::of(part::TRANSACTION, saved.transaction.into_bytes()),
            Part::of(part::EVENTS, saved.events.into_bytes()),
            Part::of(part::OUTSIDE, outside.into_bytes()),
        ];
        for (index, (heap, running)) in heaps.into_iter().zip(stack.iter_mut()).enumerate() {
            parts.push(Part::of(part::heap(index), heap));
            for MemoryChanges { process, bytes, pages } in running.instance.take_changes() {
                let number = part::memory(index, process);
                let changed = match (pages, self.unwritten.get(&number)) {
                    (None, _) | (_, Some(None)) => None,
                    (Some(pages), None) => Some(pages.into_iter().collect()),
                    (Some(pages), Some(Some(before))) => {
                        Some(before.iter().copied().chain(pages).collect::<BTreeSet<_>>())
                    }
                };
                self.unwritten.insert(number, changed.clone());
                parts.push(Part { number, bytes: Cow::Borrowed(bytes), changed });
            }
        }
        let (table, rows) = self.head.table.replaced_by(self.id, &parts);
        let head = MachineHead {
            status,
            checkpoints: self.head.checkpoints + 1,
            gas_left,
            version: host.version_after(),
            table,
            ..self.head.clone()
        };
        Ok((head, rows))
    }

    /// The rows of the run when it is over, as `execution` says but for its events and the version that it makes.
    pub(crate) fn ended_with(
        &self,
        host: &TxHost<'_>,
        execution: &Execution,
    ) -> impl FnOnce(u64) -> Rows + Send + 'static {
        let mut outside = Writer::new();
        self.options.outside.lock().save(&mut outside);
        let parts = [
            Part::of(part::START, &self.start),
            Part::of(part::EVENTS, host.events_so_far(execution.committed).into_bytes()),
            Part::of(part::OUTSIDE, outside.into_bytes()),
            Part::of(part::RESULT, save_result(execution)),
        ];
        let (table, mut rows) = self.head.table.replaced_by(self.id, &parts);
        let head = MachineHead {
            status: MachineStatus::Ended,
            gas_left: self.head.gas_limit.saturating_sub(execution.outcome.gas_used),
            table,
            ..self.head.clone()
        };
        let key = self.id.key(MachineRow::Head);
        move |version| {
            let head = MachineHead { version, ..head };
            rows.push((key, Some(head.to_bytes())));
            rows
        }
    }
}
