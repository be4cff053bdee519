//! Runs that outlive their process: written down every so much gas, and resumed by whoever has the store.
//!
//! A machine is a run that is kept. It is written down when it begins, then every so much gas, in the batch of each
//! commit that the program makes, when it is out of gas, and in the batch of its last commit, from when on only the
//! result is there. So whenever the process is killed, what is in the state and what is written down of the machine
//! belong together, and the run goes on from there as if nothing had happened.

pub(crate) mod basics;
mod image;
mod inspect;
mod saver;

use bytes::Bytes;
use dotdb::{CodeHash, Database, DbError, MachineId, MachineRow, Mode, RestoreError};
use dotvm_codec::Reader;
use dotvm_core::container::KEY_BYTES;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::Invocation;
use dotvm_engine::Instance;

pub use image::{CHECKPOINT_FORMAT, MachineHead, MachineStatus};
pub use inspect::{InstanceView, MachineView};
pub(crate) use saver::Saver;

use crate::audit;
use crate::calls::{Programs, Running};
use crate::contracts::Runtime;
use crate::error::RuntimeError;
use crate::execute::{Attempt, Execution, Kept, Options, begin_in, finish_kept, link};
use crate::host::TxHost;
use crate::program::Program;
use crate::show::hex;
use crate::system::Outside;
use image::part;

/// A run that was kept, and how far it came.
#[derive(Clone, Debug)]
pub struct KeptRun {
    /// The machine.
    pub machine: MachineId,
    /// How it ended, or that it is out of gas.
    pub execution: Execution,
    /// Whether it is out of gas and can be resumed with more.
    pub is_waiting: bool,
    /// What kept the last checkpoint from being written: the one before holds.
    pub postponed: Option<&'static str>,
}

impl Attempt for KeptRun {
    fn execution(&mut self) -> &mut Execution {
        &mut self.execution
    }
}

/// A machine as it is listed: its number, and what is known of it or why nothing is.
pub type ListedMachine = (MachineId, Result<MachineHead, RuntimeError>);

/// A machine that was read, ready to be resumed.
pub struct Machine {
    id: MachineId,
    head: MachineHead,
    program: Program,
    bytes: Bytes,
    start: Vec<u8>,
    contract: String,
    invocation: Invocation,
    options: Options,
}

impl Machine {
    /// Its number.
    pub fn id(&self) -> MachineId {
        self.id
    }

    /// What is known of it.
    pub fn head(&self) -> &MachineHead {
        &self.head
    }

    /// The program that it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The bytes of the program's module.
    pub fn module_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The name that its state is kept under.
    pub fn contract(&self) -> &str {
        &self.contract
    }

    /// The call that it began with.
    pub fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    /// What the host gives, but for the outside.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Gives it an outside.
    pub fn set_outside(&mut self, outside: Outside) {
        self.options.outside = outside;
    }

    /// Sets the public keys of those who must have signed what it runs, in the place of those that it began with.
    pub fn set_signers(&mut self, signers: Vec<[u8; KEY_BYTES]>) {
        self.options.signers = Some(signers);
    }

    /// Holds who signed a program that it runs against those who are required.
    fn check_signer(&self, program: &Program) -> Result<(), RuntimeError> {
        let Some(trusted) = &self.options.signers else { return Ok(()) };
        let name = &program.module().name;
        audit::check_signer(name, program.signer(), trusted).map_err(|why| RuntimeError::UntrustedMachine {
            id: self.id.0,
            module: name.clone(),
            why,
        })
    }

    /// Sets how much gas lies between two checkpoints.
    pub fn set_every(&mut self, gas: u64) {
        self.head.every = gas;
    }

    /// Gives it more gas, as if it had had that from the beginning.
    pub fn add_gas(&mut self, gas: u64) {
        let limit = self.head.gas_limit.saturating_add(gas).min(Gas::MAX);
        self.head.gas_left += limit - self.head.gas_limit;
        self.head.gas_limit = limit;
        self.options.limits.gas = limit;
    }

    fn refused(&self, problem: impl ToString) -> RuntimeError {
        RuntimeError::Machine { id: self.id.0, problem: problem.to_string() }
    }

    fn restore_error(&self, error: RestoreError) -> RuntimeError {
        match error {
            RestoreError::Db(error @ DbError::PrunedVersion { .. }) => self
                .refused(format!("the state that it reads is gone ({error}); the run can only begin anew")),
            RestoreError::Db(error @ DbError::FutureVersion { .. }) => {
                self.refused(format!("this is not the state that it reads ({error})"))
            }
            RestoreError::Db(error) => error.into(),
            error => self.refused(error),
        }
    }

    fn part(&self, database: &Database, part: u64) -> Result<Vec<u8>, RuntimeError> {
        self.head.table.read_all(database, self.id, part)
    }
}

impl Runtime {
    /// The machines that are kept, by number. What cannot be read of one is told in its place.
    ///
    /// # Errors
    /// [`RuntimeError::Db`].
    pub fn machines(&self) -> Result<Vec<ListedMachine>, RuntimeError> {
        let machines = self.database().machines()?.into_iter().map(|(id, head)| {
            let head = MachineHead::from_bytes(&head);
            (id, head.map_err(|problem| RuntimeError::Machine { id: id.0, problem }))
        });
        Ok(machines.collect())
    }

    /// Reads a machine, but for what it has in its memories.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownMachine`]; [`RuntimeError::Machine`] for one that is damaged or belongs to another program.
    pub fn machine(&self, id: MachineId) -> Result<Machine, RuntimeError> {
        let database = self.database();
        let refused = |problem: String| RuntimeError::Machine { id: id.0, problem };
        let Some(head) = database.machine_row(id, MachineRow::Head)? else {
            return Err(RuntimeError::UnknownMachine { id: id.0 });
        };
        let mut head = MachineHead::from_bytes(&head).map_err(refused)?;
        let Some(bytes) = database.machine_row(id, MachineRow::Module)? else {
            return Err(refused("its module is missing".to_owned()));
        };
        let program = Program::load(&bytes).map_err(|error| refused(error.to_string()))?;
        if *program.hash() != head.hash {
            let sentence = format!("its module is another than the one it began with, {}", hex(&head.hash));
            return Err(refused(sentence));
        }
        let start = head.table.read_all(database, id, part::START)?;
        let restored = basics::restore_start(&start);
        let (contract, invocation, mut options) = restored.map_err(|damage| refused(damage.to_string()))?;
        invocation.check(program.verified()).map_err(refused)?;
        head.gas_limit = head.gas_limit.min(Gas::MAX);
        options.limits.gas = head.gas_limit;
        Ok(Machine { id, head, program, bytes, start, contract, invocation, options })
    }

    /// [`Runtime::run`] that is kept: `module` are the bytes of the program's module, `every` is the gas between two
    /// checkpoints.
    ///
    /// # Errors
    /// Those of [`Runtime::run`].
    pub fn run_kept(
        &self,
        name: &str,
        program: &Program,
        module: &[u8],
        invocation: &Invocation,
        options: &Options,
        every: u64,
    ) -> Result<KeptRun, RuntimeError> {
        // What can be refused is refused before there is a machine.
        let tx = self.database().begin(Mode::ReadWrite)?;
        let (place, tx) = self.place_of(tx, name, program)?;
        drop(link(self.database(), tx, place, program, invocation, options)?);
        let mut saver = Saver::begin(self.database(), name, program, module, invocation, options, every)?;
        let result = self.run_again(name, program, invocation, options, &mut saver, None);
        self.settle_failure(saver.id(), result)
    }

    /// Goes on with a machine.
    ///
    /// # Errors
    /// Those of [`Runtime::run`]; [`RuntimeError::Machine`] if what was written down of it is damaged, or the state is
    /// not there any more; [`RuntimeError::UntrustedMachine`] if what it is in the middle of is not signed as required.
    pub fn resume(&self, machine: Machine) -> Result<KeptRun, RuntimeError> {
        let Machine { id, head, program, start, contract, invocation, options, .. } = &machine;
        let database = self.database();
        if database.store().read_only() {
            return Err(DbError::from(dotdb::StoreError::ReadOnly).into());
        }
        let damaged = |damage: dotvm_codec::Damage| machine.refused(damage);
        machine.check_signer(program)?;
        if head.status == MachineStatus::Started {
            let mut saver = Saver::of(database, *id, head.clone(), start.clone(), options);
            let result = self.run_again(contract, program, invocation, options, &mut saver, None);
            return self.settle_failure(*id, result);
        }
        let outside = machine.part(database, part::OUTSIDE)?;
        let mut reader = Reader::new(&outside);
        options.outside.lock().restore(&mut reader).and_then(|()| reader.end()).map_err(damaged)?;
        if head.status == MachineStatus::Ended {
            let (result, events) =
                (machine.part(database, part::RESULT)?, machine.part(database, part::EVENTS)?);
            let execution = basics::restore_result(&result, &events, head.version).map_err(damaged)?;
            return Ok(KeptRun { machine: *id, execution, is_waiting: false, postponed: None });
        }
        let kept = self.restore(&machine)?;
        let mut saver = Saver::of(database, *id, head.clone(), start.clone(), options);
        let result = self.run_again(contract, program, invocation, options, &mut saver, Some(kept));
        self.settle_failure(*id, result)
    }

    /// Forgets a machine.
    ///
    /// # Errors
    /// [`RuntimeError::Db`].
    pub fn forget_machine(&self, id: MachineId) -> Result<(), RuntimeError> {
        Ok(self.database().remove_machine(id)?)
    }

    /// Runs until it does not conflict with others, first what was restored if anything was.
    fn run_again(
        &self,
        name: &str,
        program: &Program,
        invocation: &Invocation,
        options: &Options,
        saver: &mut Saver<'_>,
        restored: Option<Kept<'_>>,
    ) -> Result<KeptRun, RuntimeError> {
        let mut restored = restored;
        let mut is_first = true;
        crate::execute::retrying(options, || {
            let kept = match restored.take() {
                Some(kept) => kept,
                None => {
                    if !std::mem::take(&mut is_first) {
                        saver.restart()?;
                    }
                    let mut tx = self.database().begin(Mode::ReadWrite)?;
                    tx.keep_for_saving();
                    let (place, tx) = self.place_of(tx, name, program)?;
                    begin_in(self.database(), tx, place, program, invocation, options)?
                }
            };
            is_first = false;
            finish_kept(kept, saver, program, options, self)
        })
    }

    /// A run that was refused for good is not kept.
    fn settle_failure(
        &self,
        id: MachineId,
        result: Result<KeptRun, RuntimeError>,
    ) -> Result<KeptRun, RuntimeError> {
        let is_over = match &result {
            Ok(_) | Err(RuntimeError::Machine { .. } | RuntimeError::Db(_) | RuntimeError::System(_)) => {
                false
            }
            Err(_) => true,
        };
        if is_over {
            self.forget_machine(id)?;
        }
        result
    }

    /// The stack of instances and its host, as they were written down.
    fn restore(&self, machine: &Machine) -> Result<Kept<'_>, RuntimeError> {
        let mut failure = None;
        let restored = self.restore_with(machine, |part, len| {
            if machine.head.table.len(part) != Some(len as u64) {
                return Err("linear memory has another length than its bytes".to_owned());
            }
            machine.part(self.database(), part).map_err(|error| {
                let sentence = error.to_string();
                failure = Some(error);
                sentence
            })
        });
        match failure {
            Some(error) => Err(error),
            None => restored,
        }
    }

    /// [`Runtime::restore`] with linear memories from elsewhere, asked for by their parts when their length is known.
    fn restore_with(
        &self,
        machine: &Machine,
        mut memory: impl FnMut(u64, usize) -> Result<Vec<u8>, String>,
    ) -> Result<Kept<'_>, RuntimeError> {
        let Machine { head, options, .. } = machine;
        let database = self.database();
        let damaged = |damage: dotvm_codec::Damage| machine.refused(damage);
        let control = machine.part(database, part::CONTROL)?;
        let (transaction, events) =
            (machine.part(database, part::TRANSACTION)?, machine.part(database, part::EVENTS)?);
        let from = &mut Reader::new(&control);
        let programs = self.programs_of(machine, from)?;
        let last = programs.last().unwrap_or(&machine.program);
        let host = TxHost::restore(
            database,
            last,
            options,
            head.version,
            from,
            &mut Reader::new(&transaction),
            &mut Reader::new(&events),
        )
        .map_err(|error| machine.restore_error(error))?;
        let count: usize = from.small().map_err(damaged)?;
        if count != programs.len() || host.depth() as usize + 1 != count {
            return Err(machine.refused("its instances are not as many as its contract calls"));
        }
        let mut stack: Vec<Running<'_>> = Vec::new();
        for (index, program) in programs.iter().enumerate() {
            let below = index.checked_sub(1).map(|below| &programs[below]);
            let running = self.restore_instance(machine, &host, index, below, program, from, &mut memory)?;
            stack.push(running);
        }
        from.end().map_err(damaged)?;
        Ok(Kept { host, stack })
    }

    #[allow(clippy::too_many_arguments)]
    fn restore_instance<'h>(
        &self,
        machine: &Machine,
        host: &TxHost<'h>,
        index: usize,
        below: Option<&Program>,
        program: &Program,
        from: &mut Reader<'_>,
        memory: &mut dyn FnMut(u64, usize) -> Result<Vec<u8>, String>,
    ) -> Result<Running<'h>, RuntimeError> {
        let damaged = |damage: dotvm_codec::Damage| machine.refused(damage);
        let mut limits: Limits = basics::restore_limits(from).map_err(damaged)?;
        let caller = match below {
            Some(below) => Some(host.restore_caller(below, from).map_err(damaged)?),
            None => None,
        };
        let heap = machine.part(self.database(), part::heap(index))?;
        let shared = program.shared().clone();
        let memory = |process, len| memory(part::memory(index, process), len);
        let restored = Instance::restore(shared, &limits, from, &mut Reader::new(&heap), memory);
        let mut instance = restored.map_err(damaged)?;
        let given = machine.head.gas_limit.saturating_sub(limits.gas);
        if index == 0 && given > 0 {
            limits.gas += given;
            instance.set_gas(instance.gas_left() + given);
        }
        Ok(Running { instance, limits, caller, program: program.clone() })
    }

    /// Reads which programs the instances run, the first called first.
    fn programs_of(&self, machine: &Machine, from: &mut Reader<'_>) -> Result<Vec<Program>, RuntimeError> {
        let damaged = |damage: dotvm_codec::Damage| machine.refused(damage);
        let count = from.count(64).map_err(damaged)?;
        let mut programs = Vec::with_capacity(count);
        let mut tx = self.database().begin(Mode::ReadOnly)?;
        for _ in 0..count {
            let hash: CodeHash = from.array().map_err(damaged)?;
            let fingerprint: [u8; 32] = from.array().map_err(damaged)?;
            let program = match self.recall(&hash) {
                _ if hash == *machine.program.hash() => machine.program.clone(),
                Some(program) => program,
                None => match tx.code(&hash)? {
                    Some(code) => Program::load(&code).map_err(|error| machine.refused(error))?,
                    None => {
                        let sentence =
                            format!("the code {} of a contract that it calls is missing", hex(&hash));
                        return Err(machine.refused(sentence));
                    }
                },
            };
            machine.check_signer(&program)?;
            if program.lowered().fingerprint() != fingerprint {
                let name = &program.module().name;
                return Err(machine.refused(format!(
                    "it was written down by a version of this program that prepares or prices {name:?} otherwise"
                )));
            }
            programs.push(program);
        }
        match programs.first() {
            Some(first) if first.hash() == machine.program.hash() => Ok(programs),
            _ => Err(machine.refused("its first instance is of another program")),
        }
    }
}
