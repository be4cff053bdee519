//! One execution: link, run, commit or undo.

use std::time::Duration;

use bytes::Bytes;
use dotdb::commitment::Root;
use dotdb::{ContractId, Database, DbError, Durability, Mode, Tx};
use dotvm_core::capability::CapabilitySet;
use dotvm_core::container::KEY_BYTES;
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::outcome::{Invocation, Outcome};

use crate::args::ArgumentError;
use crate::audit;
use crate::calls::{self, Calls, NoPrograms, Programs, Running};
use crate::durable::{KeptRun, Saver};
use crate::error::RuntimeError;
use crate::host::{Event, TxHost};
use crate::program::Program;
use crate::system::Outside;
use crate::watch::Watch;

/// What the host gives to an execution.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds.
    pub limits: Limits,
    /// Environment. The name of the contract is filled in.
    pub env: Env,
    /// Capabilities that the module may ask for.
    pub granted: CapabilitySet,
    /// The outside.
    pub outside: Outside,
    /// Files, by path, that are put into the contract's before the program starts, as a part of its transaction.
    pub files: Vec<(Bytes, Bytes)>,
    /// Public keys of those whose contracts may be called, if it matters.
    pub signers: Option<Vec<[u8; KEY_BYTES]>>,
    /// How durable a commit is before it is acknowledged.
    pub durability: Durability,
    /// How often an execution is begun again when other transactions changed what it has read.
    pub retries: u32,
    /// Who looks at the run; not at one that is kept.
    pub watch: Option<Watch>,
}

impl Default for Options {
    /// The capabilities that need not be asked for, no outside, durable commits, default limits, an environment of zeros.
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            env: Env::default(),
            granted: CapabilitySet::defaults(),
            outside: Outside::default(),
            files: Vec::new(),
            signers: None,
            durability: Durability::Sync,
            retries: 10,
            watch: None,
        }
    }
}

/// An execution that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// The events of the transactions that were committed, in the order in which they were recorded.
    pub events: Vec<Event>,
    /// Whether it was a success, and its last transaction therefore kept, durably if so asked.
    pub committed: bool,
    /// Number of keys whose change was committed; transactions that the program committed itself count even if
    /// the execution then failed.
    pub changed_keys: u64,
    /// The version of the state that its first transaction began at.
    pub version_before: u64,
    /// The version that its last commit made, or the one before if nothing was committed.
    pub version_after: u64,
    /// How often it was tried, 1 if no other transaction was in its way.
    pub attempts: u32,
}

/// Runs a program on the state of the contract named `contract`, in one transaction: kept on success, undone on
/// a trap, out of gas or another HALT code than 0. Tried again, as often as the options say, if it conflicts with
/// another transaction.
///
/// # Errors
/// [`RuntimeError::NotGranted`], [`RuntimeError::Argument`], [`RuntimeError::Conflict`], [`RuntimeError::Db`];
/// nothing is changed then, but for transactions that the program itself had committed before the database failed
/// or, with [`RuntimeError::LateConflict`], before the last one conflicted.
pub fn execute(
    database: &Database,
    contract: &str,
    program: &Program,
    invocation: &Invocation,
    options: &Options,
) -> Result<Execution, RuntimeError> {
    let place = Place::of(contract, None, program);
    retrying(options, || {
        let tx = database.begin(Mode::ReadWrite)?;
        execute_in(database, tx, place, program, invocation, options, &NoPrograms)
    })
}

/// Tries an execution until it does not conflict with another transaction.
pub(crate) fn retrying<T: Attempt>(
    options: &Options,
    mut attempt: impl FnMut() -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match attempt() {
            Err(RuntimeError::Db(conflict)) if conflict.is_conflict() => {
                if !options.outside.lock().restart() {
                    return Err(RuntimeError::OutsideConflict(conflict));
                }
                if attempts > options.retries {
                    return Err(RuntimeError::Conflict { conflict, attempts });
                }
                // First at once: the other transaction is over. Then ever later, out of each other's way.
                if attempts > 2 {
                    std::thread::sleep(Duration::from_micros(50 << attempts.min(10)));
                }
            }
            Ok(mut done) => {
                done.execution().attempts = attempts;
                return Ok(done);
            }
            Err(error) => return Err(error),
        }
    }
}

/// What [`retrying`] tries.
pub(crate) trait Attempt {
    fn execution(&mut self) -> &mut Execution;
}

impl Attempt for Execution {
    fn execution(&mut self) -> &mut Execution {
        self
    }
}

impl Attempt for (Program, Execution) {
    fn execution(&mut self) -> &mut Execution {
        &mut self.1
    }
}

/// Whose state an execution runs on.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The contract's name.
    pub(crate) name: &'a str,
    /// Its number if it was looked up in the transaction.
    pub(crate) contract: Option<ContractId>,
    /// Whether the program calls for files.
    pub(crate) has_files: bool,
}

impl<'a> Place<'a> {
    pub(crate) fn of(name: &'a str, contract: Option<ContractId>, program: &Program) -> Place<'a> {
        let has_files = program.module().host_calls.iter().any(|call| call.is_file());
        Place { name, contract, has_files }
    }
}

/// [`execute`] in a transaction that is open already.
pub(crate) fn execute_in(
    database: &Database,
    tx: Tx,
    place: Place<'_>,
    program: &Program,
    invocation: &Invocation,
    options: &Options,
    programs: &dyn Programs,
) -> Result<Execution, RuntimeError> {
    let mut host = link(database, tx, place, program, invocation, options)?;
    let outcome = run(&mut host, programs, program, invocation, options)?;
    let committed = outcome.end.is_success();
    let repeatable = !host.has_committed();
    host.note_end(&outcome.end);
    host.end(committed).map_err(|error| {
        if repeatable || !error.is_conflict() { error.into() } else { RuntimeError::LateConflict(error) }
    })?;
    Ok(execution(host, outcome, committed))
}

/// Does again what was done at a version of the state, and commits nothing. Answers the execution, and the root that
/// the state has after it.
///
/// # Errors
/// Those of [`execute`] but for conflicts; [`RuntimeError::Db`] if the version is not kept any more or the database keeps
/// no state root; [`RuntimeError::System`] if the program, having committed a transaction itself, begins another.
pub fn execute_again(
    database: &Database,
    contract: &str,
    program: &Program,
    invocation: &Invocation,
    options: &Options,
    version: u64,
) -> Result<(Execution, Root), RuntimeError> {
    let before = database.state_root(version)?;
    let tx = database.begin_again(version)?;
    let place = Place::of(contract, None, program);
    let mut host = link(database, tx, place, program, invocation, options)?;
    host.do_again(version);
    let outcome = run(&mut host, &NoPrograms, program, invocation, options)?;
    let committed = outcome.end.is_success();
    host.end(committed)?;
    let root = host.root_again().unwrap_or(before);
    Ok((execution(host, outcome, committed), root))
}

/// The host of an execution that can begin.
pub(crate) fn link<'a>(
    database: &'a Database,
    tx: Tx,
    place: Place<'a>,
    program: &'a Program,
    invocation: &Invocation,
    options: &Options,
) -> Result<TxHost<'a>, RuntimeError> {
    let module = program.module();
    check_granted(module, options.granted)?;
    audit::module_linked(place.name, module, program.hash());
    invocation.check(program.verified()).map_err(ArgumentError::new)?;
    audit::contract_called(place.name, module, invocation.function, &options.env.caller);
    let contract = Bytes::copy_from_slice(place.name.as_bytes());
    let env = Env { contract, ..options.env.clone() };
    let mut host = TxHost::link_at(database, tx, place, &module.collections, env, options.durability)?;
    host.door.outside = options.outside.clone();
    host.import(&options.files)?;
    Ok(host)
}

fn run(
    host: &mut TxHost<'_>,
    programs: &dyn Programs,
    program: &Program,
    invocation: &Invocation,
    options: &Options,
) -> Result<Outcome, RuntimeError> {
    let outcome = calls::run(host, programs, program, invocation, options)?;
    check_outside(host, options)?;
    Ok(outcome)
}

/// Fails if the outside did.
fn check_outside(host: &mut TxHost<'_>, options: &Options) -> Result<(), RuntimeError> {
    match host.door.failure.take() {
        Some(failure) => Err(failure.into()),
        None => Ok(options.outside.lock().finish()?),
    }
}

/// An execution that is kept, between two steps.
pub(crate) struct Kept<'a> {
    pub(crate) host: TxHost<'a>,
    pub(crate) stack: Vec<Running<'a>>,
}

/// Begins an execution that is kept, in a transaction that can be.
pub(crate) fn begin_in<'a>(
    database: &'a Database,
    tx: Tx,
    place: Place<'a>,
    program: &'a Program,
    invocation: &Invocation,
    options: &Options,
) -> Result<Kept<'a>, RuntimeError> {
    let mut host = link(database, tx, place, program, invocation, options)?;
    host.keep_for_saving();
    Ok(Kept { host, stack: vec![calls::first_instance(program, invocation, options)?] })
}

/// Goes on with an execution that is kept, to its end or until it is out of gas.
pub(crate) fn finish_kept(
    kept: Kept<'_>,
    saver: &mut Saver<'_>,
    program: &Program,
    options: &Options,
    programs: &dyn Programs,
) -> Result<KeptRun, RuntimeError> {
    let Kept { mut host, mut stack } = kept;
    let first = saver.contract().to_owned();
    let calls = Calls { programs, program, first, options };
    let outcome = calls::drive(&mut host, &calls, &mut stack, Some(saver))?;
    let is_out_of_gas = !stack.is_empty();
    if !is_out_of_gas {
        check_outside(&mut host, options)?;
    } else if let Some(failure) = host.door.failure.take() {
        return Err(failure.into());
    }
    let committed = outcome.end.is_success();
    let repeatable = !host.has_committed();
    let pending = if committed { host.pending_keys() } else { 0 };
    let mut execution = Execution {
        outcome,
        events: Vec::new(),
        committed,
        changed_keys: host.changed_keys() + pending,
        version_before: host.version_before(),
        version_after: host.version_after(),
        attempts: 1,
    };
    if is_out_of_gas {
        execution.events = host.into_results().0;
        return Ok(KeptRun {
            machine: saver.id(),
            execution,
            is_waiting: true,
            postponed: saver.postponed(),
        });
    }
    host.note_end(&execution.outcome.end);
    let rows = saver.ended_with(&host, &execution);
    let conflict = |error: DbError| {
        if repeatable || !error.is_conflict() { error.into() } else { RuntimeError::LateConflict(error) }
    };
    if pending > 0 {
        host.write_with_commit(rows);
        host.end(committed).map_err(conflict)?;
    } else {
        host.end(committed).map_err(conflict)?;
        saver.write(rows(host.version_after()))?;
    }
    let (events, changed_keys, (version_before, version_after)) = host.into_results();
    execution = Execution { events, changed_keys, version_before, version_after, ..execution };
    Ok(KeptRun { machine: saver.id(), execution, is_waiting: false, postponed: saver.postponed() })
}

fn execution(host: TxHost<'_>, outcome: Outcome, committed: bool) -> Execution {
    let (events, changed_keys, (version_before, version_after)) = host.into_results();
    Execution { outcome, events, committed, changed_keys, version_before, version_after, attempts: 1 }
}

fn check_granted(module: &Module, granted: CapabilitySet) -> Result<(), RuntimeError> {
    match module.capabilities.iter().find(|&&capability| !granted.contains(capability)) {
        Some(&capability) => {
            audit::capability_denied(&module.name, capability);
            Err(RuntimeError::NotGranted { module: module.name.clone(), capability })
        }
        None => Ok(()),
    }
}
