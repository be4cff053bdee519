//! One execution: link, run, commit or undo.

use std::time::Duration;

use bytes::Bytes;
use dotdb::{ContractId, Database, Durability, Mode, Tx};
use dotvm_core::capability::Capability;
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::outcome::{Invocation, Outcome};

use crate::args::ArgumentError;
use crate::calls::{self, NoPrograms, Programs};
use crate::error::RuntimeError;
use crate::host::{Event, TxHost};
use crate::program::Program;

/// What the host gives to an execution.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds.
    pub limits: Limits,
    /// Environment. The name of the contract is filled in.
    pub env: Env,
    /// Capabilities that the module may ask for.
    pub granted: Vec<Capability>,
    /// How durable a commit is before it is acknowledged.
    pub durability: Durability,
    /// How often an execution is begun again when other transactions changed what it has read.
    pub retries: u32,
}

impl Default for Options {
    /// Every capability, durable commits, default limits, an environment of zeros.
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            env: Env::default(),
            granted: Capability::ALL.to_vec(),
            durability: Durability::Sync,
            retries: 10,
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
    let place = Place { name: contract, contract: None };
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
    let module = program.module();
    check_granted(module, &options.granted)?;
    invocation.check(program.verified()).map_err(ArgumentError::new)?;
    let contract = Bytes::copy_from_slice(place.name.as_bytes());
    let env = Env { contract, ..options.env.clone() };
    let mut host = TxHost::link_at(database, tx, place, &module.collections, env, options.durability)?;
    let outcome = calls::run(&mut host, programs, program, invocation, options)?;
    let committed = outcome.end.is_success();
    let repeatable = !host.has_committed();
    let (events, changed_keys) = host.finish(committed).map_err(|error| {
        if repeatable || !error.is_conflict() { error.into() } else { RuntimeError::LateConflict(error) }
    })?;
    Ok(Execution { outcome, events, committed, changed_keys, attempts: 1 })
}

fn check_granted(module: &Module, granted: &[Capability]) -> Result<(), RuntimeError> {
    match module.capabilities.iter().find(|capability| !granted.contains(capability)) {
        Some(&capability) => Err(RuntimeError::NotGranted { module: module.name.clone(), capability }),
        None => Ok(()),
    }
}
