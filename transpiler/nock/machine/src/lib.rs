//! Runs Nock on the engine.
//!
//! ```text
//! subject, formula --run(limits)--> product | crash | limit
//! ```
//!
//! Each formula becomes a function when it is met for the first time. The noun that comes out, and whether a run
//! crashes, follow from subject and formula alone; where a limit ends it, from the limits too.

mod cold;
pub mod conformance;
mod host;
mod jets;
mod memo;
mod names;
mod services;
mod tank;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::trap::{Trap, TrapKind};
use dotvm_core::value::Ref;
use dotvm_engine::{Instance, Program, Step, Wanted};
use dotvm_heap::{Heap, Reference};
use dotvm_nock::{Compiler, Entry, Helper, Hints, PRELUDE_FUNCTIONS, Request, prelude};

use crate::host::NoHost;
use crate::services::{Server, SharedNotes, crashes, hint_names, lock};

pub use dotvm_nock::text;

/// What a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of nouns that can be reached at one time.
    pub max_memory: u64,
    /// Gas.
    pub max_computation: u64,
    /// Calls that wait for a product.
    pub max_stack_depth: u32,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { max_memory: 4 << 30, max_computation: Gas::MAX, max_stack_depth: 10_000_000 }
    }
}

/// References of a frame on the average, of which the stack is to hold as many as there may be calls.
const FRAME_REFS: u32 = 16;

impl Bounds {
    fn limits(&self) -> Limits {
        Limits {
            gas: self.max_computation.min(Gas::MAX),
            memory_pages: 0,
            call_depth: self.max_stack_depth,
            stack_words: u32::MAX >> 4,
            stack_refs: self.max_stack_depth.saturating_mul(FRAME_REFS).clamp(1 << 16, u32::MAX >> 2),
            heap_bytes: self.max_memory,
            ..Limits::default()
        }
    }
}

/// What is done about jets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jets {
    /// They are called in place of the formulas that programs declare with %fast.
    #[default]
    On,
    /// %fast is passed over.
    Off,
    /// Jet and formula are both evaluated, those within them not again, and a difference ends the run. Jets that only keep
    /// products are left out.
    Compare,
}

/// Takes lines of text.
pub type Print = Arc<dyn Fn(&str) + Send + Sync>;

/// How a run goes about what its result does not depend on, but its gas may.
#[derive(Clone, Default)]
pub struct Settings {
    /// What is done about jets.
    pub jets: Jets,
    /// Where lines of %slog go; nowhere if there is nothing.
    pub print: Option<Print>,
    /// Paths of cores that are to be in [`Ran::cores`] once they were registered.
    pub cores: Vec<String>,
}

/// What a run begins with.
#[derive(Clone, Debug)]
pub enum Input {
    /// A subject and a formula.
    Pair(Ref, Ref),
    /// The jam of both.
    Jam(Bytes),
}

/// Why there is no product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The formula has none for this subject: the same wherever it runs.
    Crash,
    /// A limit was reached: with others it may have one. The limit's name.
    Limit(&'static str),
    /// The input is no jam of a cell, or no noun.
    Input(String),
    /// The machine underneath has no memory left, or the program became larger than programs can be.
    Machine(String),
}

impl Failure {
    /// Whether it follows from subject and formula alone.
    pub fn is_deterministic(&self) -> bool {
        matches!(self, Failure::Crash | Failure::Input(_))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Crash => f.write_str("the formula crashes: it has no product"),
            Failure::Limit(limit) => write!(f, "{limit} is reached, so there is no result"),
            Failure::Input(why) | Failure::Machine(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The product, or why there is none.
    pub result: Result<Ref, Failure>,
    /// What it used.
    pub gas_used: u64,
    /// Functions that were made of formulas.
    pub functions: usize,
    /// What jets did, by path; those that were called.
    pub jets: Vec<JetUse>,
    /// The registered cores that were asked for, with their paths.
    pub cores: Vec<(String, Ref)>,
}

impl Ran {
    fn failed(failure: Failure) -> Ran {
        Ran { result: Err(failure), gas_used: 0, functions: 0, jets: Vec::new(), cores: Vec::new() }
    }
}

/// What a jet did in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetUse {
    /// The path of the core.
    pub path: &'static str,
    /// Products that it gave.
    pub products: u64,
    /// Times that it left it to the formula.
    pub punts: u64,
}

/// The paths of all cores that have jets.
pub fn jet_paths() -> impl Iterator<Item = &'static str> {
    jets::JETS.iter().map(|jet| jet.path)
}

static PRELUDE: LazyLock<Program> =
    LazyLock::new(|| dotvm_engine::compile(prelude()).expect("the prelude is a program"));

/// Runs a formula on a subject to its end.
pub fn run(input: &Input, bounds: &Bounds) -> Ran {
    run_with(input, bounds, &Settings::default())
}

/// The same with other settings.
pub fn run_with(input: &Input, bounds: &Bounds, settings: &Settings) -> Ran {
    let begun = match input {
        Input::Pair(subject, formula) => {
            Running::begin(Entry::Pair, vec![subject.clone(), formula.clone()], bounds, settings)
        }
        // What is wrong with a jam is to be told apart from what is wrong with a formula.
        Input::Jam(bytes) => check_jam(bytes, bounds)
            .and_then(|()| Running::begin(Entry::Jam, vec![Ref::Bytes(bytes.clone())], bounds, settings)),
    };
    match begun {
        Ok(running) => running.finish(),
        Err(failure) => Ran::failed(failure),
    }
}

/// A run that stands before its first formula.
pub struct Running {
    instance: Instance,
    compiler: Compiler,
    gas: u64,
    /// What the first step came to.
    step: Step,
    notes: SharedNotes,
}

impl Running {
    /// Begins a run of a jam whose product nobody wants, for measurements: subject and formula are there, nothing is
    /// compiled.
    ///
    /// # Errors
    /// Those of a run.
    pub fn of_jam(jam: &Bytes, bounds: &Bounds) -> Result<Running, Failure> {
        check_jam(jam, bounds)?;
        Running::begin(Entry::JamKind, vec![Ref::Bytes(jam.clone())], bounds, &Settings::default())
    }

    fn begin(entry: Entry, refs: Vec<Ref>, bounds: &Bounds, settings: &Settings) -> Result<Running, Failure> {
        let limits = bounds.limits();
        let invocation = Invocation { function: entry as u32, words: Vec::new(), refs };
        let program = Arc::new(PRELUDE.clone());
        let mut instance = Instance::new(program, invocation, &limits).map_err(Failure::Machine)?;
        let notes = SharedNotes::default();
        let server = Server::new(settings.clone(), bounds.max_memory, Arc::clone(&notes));
        instance.serve(Box::new(server), Helper::Identity as u32);
        let step = instance.resume(&mut NoHost, u64::MAX).map_err(Failure::Machine)?;
        let names = if settings.jets == Jets::Off { Default::default() } else { hint_names().collect() };
        let hints = Hints { names, memo: true, slog: settings.print.is_some() };
        Ok(Running { instance, compiler: Compiler::new(hints), gas: limits.gas, step, notes })
    }

    /// Goes on to the end.
    pub fn finish(mut self) -> Ran {
        let result = self.end();
        let functions = self.instance.program().verified().functions().len() - PRELUDE_FUNCTIONS;
        let mut notes = lock(&self.notes);
        let result = match (result, notes.compared) {
            (Err(Failure::Crash), Some(path)) => Err(Failure::Machine(crashes(path))),
            (result, _) => result,
        };
        let counts = jets::JETS.iter().zip(notes.products.iter().zip(&notes.punts));
        let jets = counts
            .filter(|(_, (products, punts))| **products + **punts > 0)
            .map(|(jet, (products, punts))| JetUse { path: jet.path, products: *products, punts: *punts })
            .collect();
        let cores = std::mem::take(&mut notes.cores);
        Ran { result, gas_used: self.gas - self.instance.gas_left(), functions, jets, cores }
    }

    fn end(&mut self) -> Result<Ref, Failure> {
        loop {
            match std::mem::replace(&mut self.step, Step::Quantum) {
                Step::Quantum => {}
                Step::Formula => define(&mut self.instance, &mut self.compiler)?,
                Step::Ended(End::Return { mut refs, .. }) => return Ok(refs.pop().unwrap_or_default()),
                Step::Ended(End::Trap(trap)) | Step::OutOfGas(trap) => return Err(failure(&trap)),
                // No code made of a formula does anything else.
                other => return Err(Failure::Machine(format!("the run stopped: {other:?}"))),
            }
            self.step = self.instance.resume(&mut NoHost, u64::MAX).map_err(Failure::Machine)?;
        }
    }
}

/// Makes the function that the run waits for.
fn define(instance: &mut Instance, compiler: &mut Compiler) -> Result<(), Failure> {
    let Some(Wanted { heap, formula, subject, for_all, next_function, next_global, services }) =
        instance.wanted()
    else {
        return Err(Failure::Machine("no formula waits for a function".to_owned()));
    };
    let is_watched = &mut |heap: &mut Heap, formula: &Reference| {
        let Some(services) = &services else { return false };
        heap.mug(formula, |_| Ok::<(), ()>(())).is_ok_and(|mug| services.is_of_interest(mug))
    };
    let request = Request { heap, formula, subject, for_all, next_function, next_global, is_watched };
    let unit = compiler.compile(request).map_err(Failure::Input)?;
    let unit = dotvm_engine::Unit {
        functions: unit.functions,
        globals: unit.globals,
        entry: unit.entry,
        has_battery: unit.has_battery,
    };
    instance.define(unit).map_err(|error| Failure::Machine(error.to_string()))
}

/// What a trap means for Nock.
fn failure(trap: &Trap) -> Failure {
    match trap.kind {
        TrapKind::Unreachable | TrapKind::Kind | TrapKind::Range | TrapKind::Overflow => Failure::Crash,
        TrapKind::OutOfMemory | TrapKind::Size => Failure::Limit("max_memory"),
        TrapKind::Depth | TrapKind::Stack => Failure::Limit("max_stack_depth"),
        TrapKind::Gas => Failure::Limit("max_computation"),
        other => Failure::Machine(format!("the run trapped: {}", other.sentence())),
    }
}

fn check_jam(bytes: &Bytes, bounds: &Bounds) -> Result<(), Failure> {
    match cue(bytes, bounds.max_memory)? {
        Ref::Cell(_) => Ok(()),
        _ => Err(Failure::Input("the jam is an atom, not the pair of a subject and a formula".to_owned())),
    }
}

/// The noun that a jam stands for.
///
/// # Errors
/// If it stands for none, or the noun does not fit `max_memory` bytes.
pub fn cue(bytes: &Bytes, max_memory: u64) -> Result<Ref, Failure> {
    let mut heap = Heap::new(max_memory);
    match heap.cue(bytes, |_| Ok::<(), ()>(())) {
        Ok(noun) => Ok(heap.export(&noun)),
        Err(dotvm_heap::NounError::Failure(_)) => Err(Failure::Limit("max_memory")),
        Err(_) => {
            Err(Failure::Input("these bytes are no jam: they end, or point, where no noun is".to_owned()))
        }
    }
}

/// The jam of a noun.
///
/// # Errors
/// If it is none, or the jam would be longer than a byte string may be.
pub fn jam(noun: &Ref, max_memory: u64) -> Result<Bytes, Failure> {
    let mut heap = Heap::new(max_memory);
    let noun = heap.import(noun).map_err(|_| Failure::Limit("max_memory"))?;
    heap.jam(&noun, |_| Ok::<(), ()>(())).map_err(|error| match error {
        dotvm_heap::NounError::Kind => Failure::Input("this is no noun".to_owned()),
        _ => Failure::Limit("the length of a jam"),
    })
}

/// The mug of a noun.
///
/// # Errors
/// If it is none, or does not fit `max_memory` bytes.
pub fn mug(noun: &Ref, max_memory: u64) -> Result<u32, Failure> {
    let mut heap = Heap::new(max_memory);
    let noun = heap.import(noun).map_err(|_| Failure::Limit("max_memory"))?;
    heap.mug(&noun, |_| Ok::<(), ()>(())).map_err(|_| Failure::Input("this is no noun".to_owned()))
}
