//! Instances that run in steps: a run can stop and go on later as if nothing had happened.

use std::sync::Arc;

use dotvm_arch::with_arch;
use dotvm_codec::Writer;
use dotvm_core::call::{CallAnswer, CallRequest};
use dotvm_core::gas::Gas;
use dotvm_core::host::Host;
use dotvm_core::limits::{Limits, PAGE_BYTES};
use dotvm_core::outcome::{End, FinalState, Invocation};
use dotvm_core::trap::{Trap, TrapKind};
use dotvm_heap::{Heap, Reference};

use crate::formulas::{Formulas, hash, is_crowded};
use crate::growth::Unit;
use crate::inspect::{FrameView, ProcessView, TaskView};
use crate::interp::{drive, enter_first};
use crate::machine::{Machine, State, Stop};
use crate::program::{CompileError, Program, Wrap};
use crate::saved::MemoryChanges;
use crate::services::Services;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The run is at its end.
    Ended(End),
    /// What comes next cannot be paid, which is how the run ends (the trap Gas) unless it is given more gas.
    OutOfGas(Trap),
    /// The quantum is used up.
    Quantum,
    /// Another contract is to be called: the run goes on when the call was answered or refused.
    Calls(Box<CallRequest>),
    /// NOCK met a formula without a function: the run goes on when there is one, see [`Instance::wanted`]. Only in
    /// instances for which [`Instance::grow`] was called.
    Formula,
}

/// What is asked for when a formula has no function.
pub struct Wanted<'a> {
    /// What the references lead to.
    pub heap: &'a mut Heap,
    /// The formula, a cell.
    pub formula: Reference,
    /// The subject.
    pub subject: Reference,
    /// Whether the function must do for any subject: there are many for single batteries already.
    pub for_all: bool,
    /// The number of the next function.
    pub next_function: u32,
    /// The number of the next reference global.
    pub next_global: u32,
    /// What [`Instance::serve`] was given.
    pub services: Option<&'a mut dyn Services>,
}

/// A run of a program: it goes on with each [`Instance::resume`] and stops where control is transferred, so that its
/// result, gas and state do not depend on where it was stopped.
pub struct Instance {
    pub(crate) program: Arc<Program>,
    pub(crate) running: Box<dyn Running>,
}

impl Instance {
    /// An instance that begins with a function.
    ///
    /// # Errors
    /// A sentence, if the invocation does not fit the function or memory starts larger than the limit.
    pub fn new(program: Arc<Program>, invocation: Invocation, limits: &Limits) -> Result<Instance, String> {
        fn at_width<W: Wrap>(
            program: &Program,
            invocation: Invocation,
            limits: &Limits,
        ) -> Result<Box<dyn Running>, String> {
            let state = State::<W>::new(program.verified().module(), limits)?;
            let function = invocation.function;
            Ok(Box::new(Run {
                state: Some(state),
                function,
                begin: Some(invocation),
                reply: None,
                waits: false,
            }))
        }
        invocation.check(program.verified())?;
        let running =
            with_arch!(program.verified().module().width, W => at_width::<W>(&program, invocation, limits))?;
        Ok(Instance { program, running })
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Goes on until the run ends or has to wait, or until a transfer of control does not fit into what is left of
    /// `quantum`. Each step makes headway, whatever the quantum; operations that charge by what they do may use more.
    ///
    /// # Errors
    /// A sentence, if the machine underneath has no memory left. The run has no outcome then.
    ///
    /// # Panics
    /// If the run is at its end.
    pub fn resume(&mut self, host: &mut dyn Host, quantum: u64) -> Result<Step, String> {
        self.running.resume(&self.program, host, quantum)
    }

    /// Gas left.
    pub fn gas_left(&self) -> u64 {
        self.running.gas().left()
    }

    /// Sets the gas left, at most [`Gas::MAX`].
    pub fn set_gas(&mut self, gas: u64) {
        self.running.set_gas(Gas::new(gas));
    }

    /// Guest gas left.
    pub fn guest_gas_left(&self) -> u64 {
        self.running.guest_gas()
    }

    /// Answers the call that the last step asked for; what it used is taken from the gas left.
    pub fn answer(&mut self, answer: CallAnswer) {
        self.running.answer(answer);
    }

    /// Refuses the call that the last step asked for: the call traps.
    pub fn refuse(&mut self, kind: TrapKind, detail: String) {
        self.running.refuse(Stop::Trap(kind, Some(detail.into_boxed_str())));
    }

    /// From now on formulas without a function stop the run ([`Step::Formula`]); before, NOCK traps.
    pub fn grow(&mut self) {
        self.running.grow();
    }

    /// The same, and NOCK asks the services first. The function with the number `identity` takes one reference and
    /// returns it.
    pub fn serve(&mut self, services: Box<dyn Services>, identity: u32) {
        self.running.grow();
        self.running.serve(services, identity);
    }

    /// The formula that the last step asked a function for. The references are not counted: they are to be looked at, and
    /// what is kept of them is shared.
    pub fn wanted(&mut self) -> Option<Wanted<'_>> {
        self.running.wanted(&self.program)
    }

    /// Adds functions to the program, of which one stands for the formula that the last step asked for. If others have
    /// the program too, this instance goes on with a copy.
    ///
    /// # Errors
    /// If the functions are refused, or there are too many. Nothing has changed then.
    pub fn define(&mut self, unit: Unit) -> Result<(), CompileError> {
        let Unit { functions, globals, entry, has_battery } = unit;
        let added = Arc::make_mut(&mut self.program).extend(functions, globals.len() as u32);
        self.running.add_globals(globals, added.is_ok());
        added?;
        self.running.define(entry, has_battery);
        Ok(())
    }

    /// ParaDots so far whose turns were taken over from trials. A figure for measurements: it depends on the machine.
    pub fn tried_ahead(&self) -> u64 {
        self.running.tried_ahead()
    }

    /// What is left in the instance.
    pub fn into_final_state(self) -> FinalState {
        self.running.into_final_state()
    }
}

/// An instance whose width is known.
pub(crate) trait Running: Send {
    fn resume(&mut self, program: &Program, host: &mut dyn Host, quantum: u64) -> Result<Step, String>;
    fn gas(&self) -> Gas;
    fn set_gas(&mut self, gas: Gas);
    fn guest_gas(&self) -> u64;
    fn answer(&mut self, answer: CallAnswer);
    fn refuse(&mut self, stop: Stop);
    fn save(&mut self, program: &Program, control: &mut Writer, heap: &mut Writer) -> Result<(), String>;
    fn memories(&self) -> Vec<(u32, &[u8])>;
    fn take_changes(&mut self) -> Vec<MemoryChanges<'_>>;
    fn frames(&self, program: &Program) -> Vec<FrameView>;
    fn tasks(&self, program: &Program) -> Vec<TaskView>;
    fn process_views(&self) -> Vec<ProcessView>;
    fn memory_size(&self) -> u64;
    fn grows(&self) -> bool;
    fn tried_ahead(&self) -> u64;
    fn grow(&mut self);
    fn serve(&mut self, services: Box<dyn Services>, identity: u32);
    fn wanted(&mut self, program: &Program) -> Option<Wanted<'_>>;
    fn add_globals(&mut self, globals: Vec<Reference>, are_wanted: bool);
    fn define(&mut self, function: u32, has_battery: bool);
    fn into_final_state(self: Box<Self>) -> FinalState;
}

pub(crate) struct Run<W> {
    /// Nothing while it runs.
    pub state: Option<State<W>>,
    /// The function that it began with.
    pub function: u32,
    /// What it is to begin with.
    pub begin: Option<Invocation>,
    /// What becomes of the call that it waits for.
    pub reply: Option<Reply>,
    /// The last step asked for a call.
    pub waits: bool,
}

pub(crate) enum Reply {
    Answer(CallAnswer),
    Refusal(Stop),
}

impl<W> Run<W> {
    pub fn state(&self) -> &State<W> {
        self.state.as_ref().expect("the state is back after each step")
    }
}

impl<W: Wrap> Running for Run<W> {
    fn resume(&mut self, program: &Program, host: &mut dyn Host, quantum: u64) -> Result<Step, String> {
        let lowered = W::unwrap(&program.lowered).expect("an instance has its program's width");
        let state = self.state.take().expect("the state is back after each step");
        let mut machine = Machine::new(program.verified(), lowered, host, state);
        let stopped = match self.begin.take() {
            Some(invocation) => match enter_first(&mut machine, &invocation) {
                Ok(()) => drive(&mut machine, quantum, None),
                Err(stop) => (Some(stop), machine.entry_of(invocation.function)),
            },
            None => {
                assert!(!machine.has_ended, "the run is at its end");
                let refusal = match self.reply.take() {
                    Some(Reply::Answer(answer)) => machine.answer_call(answer),
                    Some(Reply::Refusal(stop)) => Some(stop),
                    None => None,
                };
                drive(&mut machine, quantum, refusal)
            }
        };
        let step = match stopped {
            (Some(Stop::Quantum), _) => Ok(Step::Quantum),
            (Some(Stop::Call(request)), _) => Ok(Step::Calls(request)),
            (Some(Stop::Formula), _) => Ok(Step::Formula),
            (Some(Stop::Trap(TrapKind::Gas, detail)), place) => {
                match machine.end_of((Some(Stop::Trap(TrapKind::Gas, detail)), place), self.function) {
                    Ok(End::Trap(trap)) => Ok(Step::OutOfGas(trap)),
                    other => other.map(Step::Ended),
                }
            }
            stopped => {
                machine.has_ended = true;
                machine.end_of(stopped, self.function).map(Step::Ended)
            }
        };
        self.state = Some(machine.into_state());
        self.waits = matches!(step, Ok(Step::Calls(_)));
        step
    }

    fn gas(&self) -> Gas {
        self.state().gas
    }

    fn set_gas(&mut self, gas: Gas) {
        if let Some(state) = &mut self.state {
            state.gas = gas;
        }
    }

    fn guest_gas(&self) -> u64 {
        self.state().guest_gas
    }

    fn answer(&mut self, answer: CallAnswer) {
        self.reply = Some(Reply::Answer(answer));
    }

    fn refuse(&mut self, stop: Stop) {
        self.reply = Some(Reply::Refusal(stop));
    }

    fn save(&mut self, program: &Program, control: &mut Writer, heap: &mut Writer) -> Result<(), String> {
        Run::save(self, program, control, heap)
    }

    fn memories(&self) -> Vec<(u32, &[u8])> {
        self.processes().into_iter().map(|(pid, process)| (pid, process.memory.bytes())).collect()
    }

    fn take_changes(&mut self) -> Vec<MemoryChanges<'_>> {
        self.changes_of_memories()
    }

    fn frames(&self, program: &Program) -> Vec<FrameView> {
        self.frame_views(program)
    }

    fn tasks(&self, program: &Program) -> Vec<TaskView> {
        self.task_views(program)
    }

    fn process_views(&self) -> Vec<ProcessView> {
        self.views_of_processes()
    }

    fn tried_ahead(&self) -> u64 {
        self.state().scheduler.as_ref().map_or(0, |scheduler| scheduler.outlook.taken)
    }

    fn memory_size(&self) -> u64 {
        self.state().process.memory.pages() * PAGE_BYTES
    }

    fn grows(&self) -> bool {
        self.state().formulas.is_some()
    }

    fn grow(&mut self) {
        if let Some(state) = &mut self.state {
            state.formulas.get_or_insert_with(|| Box::new(Formulas::new()));
        }
    }

    fn serve(&mut self, services: Box<dyn Services>, identity: u32) {
        if let Some(formulas) = self.state.as_mut().and_then(|state| state.formulas.as_mut()) {
            formulas.services = Some(services);
            formulas.identity = identity;
        }
    }

    fn wanted(&mut self, program: &Program) -> Option<Wanted<'_>> {
        let State { execution, heap, formulas, .. } = self.state.as_mut()?;
        let formulas = formulas.as_mut()?;
        let (subject, formula) =
            (execution.refs.get(formulas.wanted)?.alias(), execution.refs.get(formulas.wanted + 1)?.alias());
        let mug = hash(heap, &formula, |_| Ok::<(), ()>(())).ok()?;
        let module = program.verified().module();
        Some(Wanted {
            for_all: is_crowded(formulas.count(mug)),
            heap,
            formula,
            subject,
            next_function: module.functions.len() as u32,
            next_global: module.ref_globals,
            services: match &mut formulas.services {
                Some(services) => Some(services.as_mut()),
                None => None,
            },
        })
    }

    fn add_globals(&mut self, globals: Vec<Reference>, are_wanted: bool) {
        let Some(State { process, heap, .. }) = self.state.as_mut() else { return };
        if are_wanted {
            process.ref_globals.extend(globals);
        } else {
            globals.into_iter().for_each(|global| heap.release(global));
        }
    }

    fn define(&mut self, function: u32, has_battery: bool) {
        let Some(State { execution, heap, formulas: Some(formulas), .. }) = self.state.as_mut() else {
            return;
        };
        let (subject, formula) = (&execution.refs[formulas.wanted], &execution.refs[formulas.wanted + 1]);
        let Ok(mug) = hash(heap, formula, |_| Ok::<(), ()>(())) else { return };
        let battery = heap.head(subject).filter(|_| has_battery).map_or(Reference::NULL, Reference::alias);
        formulas.define(heap, mug, formula, &battery, function);
    }

    fn into_final_state(self: Box<Self>) -> FinalState {
        self.state.expect("the state is back after each step").into_final_state()
    }
}
