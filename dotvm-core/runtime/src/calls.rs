//! Contracts calling contracts: a stack of instances over one transaction, each call a savepoint.

use dotdb::CodeHash;
use dotvm_arch::W512;
use dotvm_core::call::{CallAnswer, CallRequest, CallStatus, entry_invocation};
use dotvm_core::capability::Capability;
use dotvm_core::env::Env;
use dotvm_core::host::{Host, HostError, HostResult};
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation, Outcome};
use dotvm_core::trap::TrapKind;
use dotvm_engine::{Instance, Step};

use crate::args::ArgumentError;
use crate::audit;
use crate::durable::{MachineStatus, Saver};
use crate::error::RuntimeError;
use crate::execute::Options;
use crate::host::{Callee, Caller, TxHost};
use crate::program::Program;

/// Programs kept ready to run.
pub(crate) trait Programs {
    /// The program with this code, if it is kept.
    fn recall(&self, hash: &CodeHash) -> Option<Program>;
    /// Keeps a program.
    fn remember(&self, program: Program);
}

/// Keeps none.
pub(crate) struct NoPrograms;

impl Programs for NoPrograms {
    fn recall(&self, _: &CodeHash) -> Option<Program> {
        None
    }

    fn remember(&self, _: Program) {}
}

/// An instance that runs or waits for the one above it.
pub(crate) struct Running<'a> {
    pub(crate) instance: Instance,
    pub(crate) limits: Limits,
    /// What its end goes back to; nothing for the first.
    pub(crate) caller: Option<Caller<'a>>,
    pub(crate) program: Program,
}

impl<'a> Running<'a> {
    fn begin(
        program: &Program,
        invocation: Invocation,
        limits: Limits,
        caller: Option<Caller<'a>>,
    ) -> Result<Running<'a>, Box<(String, Option<Caller<'a>>)>> {
        match Instance::new(program.shared().clone(), invocation, &limits) {
            Ok(instance) => Ok(Running { instance, limits, caller, program: program.clone() }),
            Err(sentence) => Err(Box::new((sentence, caller))),
        }
    }

    fn gas_used(&self) -> u64 {
        self.limits.gas - self.instance.gas_left()
    }

    fn guest_gas_used(&self) -> u64 {
        self.limits.guest_gas - self.instance.guest_gas_left()
    }
}

/// Runs an invocation of `program` on a host that is linked to its contract, with all the contracts that it calls.
pub(crate) fn run(
    host: &mut TxHost<'_>,
    programs: &dyn Programs,
    program: &Program,
    invocation: &Invocation,
    options: &Options,
) -> Result<Outcome, RuntimeError> {
    let first = host.contract_name().to_owned();
    let calls = Calls { programs, program, first, options };
    let mut stack = vec![first_instance(program, invocation, options)?];
    drive(host, &calls, &mut stack, None)
}

fn refuse(sentence: String) -> RuntimeError {
    ArgumentError::new(sentence).into()
}

/// The instance that an execution begins with.
pub(crate) fn first_instance<'a>(
    program: &Program,
    invocation: &Invocation,
    options: &Options,
) -> Result<Running<'a>, RuntimeError> {
    let first = Running::begin(program, invocation.clone(), options.limits, None);
    first.map_err(|refused| refuse(refused.0))
}

/// Goes on with a stack of instances until the first one ends, or is out of gas; `saver` writes it down meanwhile.
pub(crate) fn drive<'h>(
    host: &mut TxHost<'h>,
    calls: &Calls<'_>,
    stack: &mut Vec<Running<'h>>,
    mut saver: Option<&mut Saver<'_>>,
) -> Result<Outcome, RuntimeError> {
    loop {
        let depth = stack.len() as u32;
        let watch = if saver.is_none() { calls.options.watch.as_ref() } else { None };
        let quantum = match &saver {
            Some(saver) => saver.left(),
            None if watch.is_some() => 0,
            None => u64::MAX,
        };
        let running = stack.last_mut().expect("the loop ends with the first instance");
        let gas_before = running.instance.gas_left();
        let step = running.instance.resume(host, quantum).map_err(refuse)?;
        if let Some(saver) = &mut saver {
            saver.used(gas_before - running.instance.gas_left());
            saver.after_step(host);
        }
        let is_gas = matches!(step, Step::OutOfGas(_));
        let end = match step {
            Step::Quantum => {
                match &mut saver {
                    Some(saver) if host.is_before_commit() => saver.grant(host, stack)?,
                    Some(saver) => saver.checkpoint(host, stack, MachineStatus::Running)?,
                    None => {
                        if watch.is_some_and(|watch| !watch.look(&running.instance)) {
                            return Err(RuntimeError::Stopped);
                        }
                    }
                }
                continue;
            }
            Step::Calls(request) => {
                match calls.begin(host, &request, &running.limits, depth) {
                    Ok(Some(callee)) => stack.push(callee),
                    Ok(None) => running.instance.answer(CallAnswer::NOT_CALLED),
                    Err(HostError::Trap(kind, detail)) => running.instance.refuse(kind, detail),
                    Err(HostError::OutOfGas) => running.instance.refuse(TrapKind::Gas, String::new()),
                }
                continue;
            }
            Step::Ended(end) => end,
            Step::Formula => unreachable!("no instance of the runtime grows"),
            Step::OutOfGas(trap) => {
                if let Some(saver) = &mut saver
                    && depth == 1
                {
                    saver.checkpoint(host, stack, MachineStatus::OutOfGas)?;
                }
                End::Trap(trap)
            }
        };
        let is_out_of_gas = saver.is_some() && depth == 1 && is_gas;
        if is_out_of_gas && let Some(first) = stack.first() {
            let (gas_used, guest_gas_used) = (first.gas_used(), first.guest_gas_used());
            return Ok(Outcome { end, gas_used, guest_gas_used });
        }
        let Some(Running { caller, .. }) = stack.last_mut() else { continue };
        let caller = caller.take();
        let (gas_used, guest_gas_used) = match stack.pop() {
            Some(ended) => (ended.gas_used(), ended.guest_gas_used()),
            None => (0, 0),
        };
        let (Some(caller), Some(below)) = (caller, stack.last_mut()) else {
            return Ok(Outcome { end, gas_used, guest_gas_used });
        };
        let answer = CallAnswer::of_end(end, gas_used, guest_gas_used);
        match host.leave(caller, answer.status == CallStatus::Success) {
            Ok(()) => below.instance.answer(answer),
            Err(HostError::Trap(kind, detail)) => below.instance.refuse(kind, detail),
            Err(HostError::OutOfGas) => below.instance.refuse(TrapKind::Gas, String::new()),
        }
    }
}

/// What does not change while contracts call each other.
pub(crate) struct Calls<'a> {
    pub(crate) programs: &'a dyn Programs,
    /// The program that the execution began with, and its contract's name, which runs that program also where other
    /// code or none is deployed under it.
    pub(crate) program: &'a Program,
    pub(crate) first: String,
    pub(crate) options: &'a Options,
}

impl Calls<'_> {
    /// Begins a call; `None` if there is no such contract, or its entry cannot be called.
    fn begin<'h>(
        &self,
        host: &mut TxHost<'h>,
        request: &CallRequest,
        limits: &Limits,
        depth: u32,
    ) -> HostResult<Option<Running<'h>>> {
        let is_static = host.is_static()? || request.is_static();
        if is_static && !request.is_delegate() && request.value != W512::ZERO {
            let sentence = "a value cannot be sent where nothing may be written".to_owned();
            return Err(HostError::Trap(TrapKind::ReadOnly, sentence));
        }
        if depth >= limits.contract_depth {
            return Err(HostError::Trap(TrapKind::Depth, String::new()));
        }
        let Ok(name) = std::str::from_utf8(&request.contract) else { return Ok(None) };
        let caller = host.contract()?;
        let (contract, program) = match host.code_of(name)? {
            found if name == self.first => {
                // The first contract's number may be as young as this transaction.
                let contract = match found {
                    Some((contract, _)) => contract,
                    None => host.number_of(name)?,
                };
                (contract, self.program.clone())
            }
            Some((contract, hash)) => match self.program_of(host, &hash)? {
                Some(program) => (contract, program),
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        if name != self.first
            && let Some(trusted) = &self.options.signers
            && audit::check_signer(name, program.signer(), trusted).is_err()
        {
            return Ok(None);
        }
        let module = program.module();
        let is_denied = |capability: &&Capability| !self.options.granted.contains(**capability);
        if let Some(&capability) = module.capabilities.iter().find(is_denied) {
            audit::capability_denied(&module.name, capability);
            return Ok(None);
        }
        let Some(invocation) = entry_invocation(module, &request.input) else { return Ok(None) };
        let env = host.env().clone();
        let (contract, name, env) = if request.is_delegate() {
            (caller, host.contract_name().to_owned(), Env { input: request.input.clone(), ..env })
        } else {
            let env = Env {
                caller: W512::from(caller.0),
                value: request.value,
                contract: request.contract.clone(),
                input: request.input.clone(),
                ..env
            };
            (contract, name.to_owned(), env)
        };
        let collections = module.collections.clone();
        let has_files = module.host_calls.iter().any(|call| call.is_file());
        let entered = host.enter(Callee { contract, name, collections, env, has_files, is_static })?;
        let Some(caller) = entered else { return Ok(None) };
        audit::module_linked(host.contract_name(), module, program.hash());
        audit::contract_called(host.contract_name(), module, invocation.function, &host.env().caller);
        let limits = Limits {
            gas: request.gas,
            guest_gas: request.guest_gas,
            memory_pages: limits.memory_pages.saturating_sub(request.pages),
            heap_bytes: limits.heap_bytes.saturating_sub(request.heap_bytes),
            ..*limits
        };
        match Running::begin(&program, invocation, limits, Some(caller)) {
            Ok(running) => Ok(Some(running)),
            Err(refused) => {
                if let Some(caller) = refused.1 {
                    host.leave(caller, false)?;
                }
                Ok(None)
            }
        }
    }

    /// The program with a hash, kept or loaded; `None` if this version of the machine refuses its code.
    fn program_of(&self, host: &mut TxHost<'_>, hash: &CodeHash) -> HostResult<Option<Program>> {
        if let Some(program) = self.programs.recall(hash) {
            return Ok(Some(program));
        }
        let Ok(program) = Program::load(&host.module(hash)?) else { return Ok(None) };
        self.programs.remember(program.clone());
        Ok(Some(program))
    }
}
