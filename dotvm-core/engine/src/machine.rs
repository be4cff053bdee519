//! The state of a running instance.

use dotvm_arch::{W512, Word};
use dotvm_core::call::{CallAnswer, CallRequest};
use dotvm_core::capability::CapabilitySet;
use dotvm_core::gas::{Gas, OutOfGas};
use dotvm_core::host::{Host, HostError};
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::outcome::{End, FinalState, Ref, exception_detail};
use dotvm_core::trap::{SHOWN_ENTRIES, ShownRef, StackTops, Trap, TrapKind};
use dotvm_core::verify::Verified;
use dotvm_heap::{Heap, Reference};

use crate::ahead::Trial;
use crate::formulas::Formulas;
use crate::inst::Inst;
use crate::lower::{self, HeldWord, word_from};
use crate::memory::Memory;
use crate::program::{Lowered, LoweredFunction};
use crate::scheduler::{Scheduler, Usage};

/// Why an execution stops before its entry function returns.
#[derive(Debug)]
pub(crate) enum Stop {
    Trap(TrapKind, Option<Box<str>>),
    /// HALT: its code and result.
    Halt(Box<(W512, Reference)>),
    /// THROW: an exception's code and payload.
    Throw(Box<(W512, Reference)>),
    /// The quantum is used up; the run can go on.
    Quantum,
    /// Another contract is to be called; its answer goes where the machine's `answer_at` says.
    Call(Box<CallRequest>),
    /// SPAWN of a function as a task of a kind; its operands lie where `answer_at` says.
    Spawn {
        function: u32,
        kind: u8,
    },
    /// The task gives up its turn or waits; if it is ready, it goes on with the next instruction.
    Switch,
    /// NOCK on a formula without a function.
    Formula,
    /// The machine underneath cannot go on; the run has no outcome.
    Machine(Box<str>),
}

impl Stop {
    pub const fn trap(kind: TrapKind) -> Stop {
        Stop::Trap(kind, None)
    }
}

impl From<OutOfGas> for Stop {
    fn from(_: OutOfGas) -> Stop {
        Stop::trap(TrapKind::Gas)
    }
}

impl From<HostError> for Stop {
    fn from(error: HostError) -> Stop {
        match error {
            HostError::OutOfGas => Stop::trap(TrapKind::Gas),
            HostError::Trap(kind, detail) if detail.is_empty() => Stop::trap(kind),
            HostError::Trap(kind, detail) => Stop::Trap(kind, Some(detail.into_boxed_str())),
        }
    }
}

/// Where a run stopped, as an index in the code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// At this instruction.
    Inst(usize),
    /// Before entering at this instruction.
    Entry(usize),
}

/// Where to go on after a return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Index of the instruction behind the call.
    pub return_to: u32,
    /// Index in the word stack of the caller's slot 0.
    pub caller_slots: u32,
    /// Index in the reference stack of the caller's reference 0.
    pub caller_refs: u32,
    /// Index in the word stack where this frame starts.
    pub start: u32,
    /// Greatest height of a window function, 0 for others.
    pub window: u32,
}

/// Where the interpreter goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// With a transfer of control to this instruction, which is still to be paid.
    Enter(usize),
    /// With this instruction.
    Inst(usize),
}

macro_rules! state {
    (
        $(#[$execution_doc:meta])* Execution { $($(#[$e_doc:meta])* $e_field:ident: $e_type:ty,)* }
        $(#[$process_doc:meta])* Process { $($(#[$p_doc:meta])* $p_field:ident: $p_type:ty,)* }
        $(#[$state_doc:meta])* State { $($(#[$doc:meta])* $field:ident: $type:ty,)* }
    ) => {
        $(#[$execution_doc])*
        pub(crate) struct Execution<W> {
            $($(#[$e_doc])* pub $e_field: $e_type,)*
        }

        $(#[$process_doc])*
        pub(crate) struct Process<W> {
            $($(#[$p_doc])* pub $p_field: $p_type,)*
        }

        $(#[$state_doc])*
        pub(crate) struct State<W> {
            /// The task that runs, or would run next.
            pub execution: Execution<W>,
            /// The process that it belongs to.
            pub process: Process<W>,
            $($(#[$doc])* pub $field: $type,)*
        }

        /// An instance that runs: its state, its program and its host. The fields of the task that runs and of its process
        /// are the machine's own, so that nothing lies between the interpreter and them.
        pub(crate) struct Machine<'a, W> {
            pub verified: &'a Verified,
            pub lowered: &'a Lowered<W>,
            pub host: &'a mut dyn Host,
            $($(#[$e_doc])* pub $e_field: $e_type,)*
            $($(#[$p_doc])* pub $p_field: $p_type,)*
            $($(#[$doc])* pub $field: $type,)*
        }

        impl<'a, W: Word> Machine<'a, W> {
            pub fn new(
                verified: &'a Verified,
                lowered: &'a Lowered<W>,
                host: &'a mut dyn Host,
                state: State<W>,
            ) -> Machine<'a, W> {
                Machine {
                    verified,
                    lowered,
                    host,
                    $($e_field: state.execution.$e_field,)*
                    $($p_field: state.process.$p_field,)*
                    $($field: state.$field,)*
                }
            }

            /// Exchanges the task that runs for another.
            pub fn exchange_execution(&mut self, other: &mut Execution<W>) {
                $(std::mem::swap(&mut self.$e_field, &mut other.$e_field);)*
            }

            /// Exchanges the process of the task that runs for another.
            pub fn exchange_process(&mut self, other: &mut Process<W>) {
                $(std::mem::swap(&mut self.$p_field, &mut other.$p_field);)*
            }

            pub fn into_state(self) -> State<W> {
                State {
                    execution: Execution { $($e_field: self.$e_field,)* },
                    process: Process { $($p_field: self.$p_field,)* },
                    $($field: self.$field,)*
                }
            }
        }
    };
}

state! {
    /// What one task of a machine has for itself: where it is and what it has on its stacks.
    Execution {
        /// Word stack: frames overlap where arguments become parameters. As long as any frame has reached.
        words: Vec<W>,
        /// Reference stack, laid out alike. Entries above the current frame's live ones are null.
        refs: Vec<Reference>,
        /// Index of the current frame's reference 0.
        ref_start: usize,
        frames: Vec<Frame>,
        next: Next,
        /// Index in the word stack of the current frame's slot 0, while the interpreter does not run.
        slots: usize,
        /// Where the answer to a request goes: indices in the word stack and in the reference stack.
        answer_at: (usize, usize),
        /// Capabilities of the module that the program has given up.
        dropped: CapabilitySet,
    }
    /// What the tasks of a process share: its memory and its globals.
    Process {
        memory: Memory,
        word_globals: Vec<W>,
        ref_globals: Vec<Reference>,
    }
    /// What a run changes, by itself: an instance that is not running.
    State {
        /// What the references of all tasks lead to.
        heap: Heap,
        /// The module's reference constants; null until they are used.
        constants: Vec<Reference>,
        gas: Gas,
        /// Gas that is there beyond the slice that the interpreter may use before it stops.
        reserve: u64,
        guest_gas: u64,
        /// What the task that runs may use: the limits of the machine but for what others have.
        limits: Limits,
        has_ended: bool,
        /// The other tasks, once there were any.
        scheduler: Option<Box<Scheduler<W>>>,
        /// The functions of formulas, if somebody makes them.
        formulas: Option<Box<Formulas>>,
        /// What there is instead of the machine, if a ParaDot is tried ahead of its turn.
        trial: Option<Box<Trial<W>>>,
    }
}

impl<W: Word> Execution<W> {
    /// A task that has not begun.
    pub fn new() -> Execution<W> {
        Execution {
            words: Vec::new(),
            refs: Vec::new(),
            ref_start: 0,
            frames: Vec::new(),
            next: Next::Inst(0),
            slots: 0,
            answer_at: (0, 0),
            dropped: CapabilitySet::NONE,
        }
    }
}

impl<W> Execution<W> {
    /// What it has of the limits that all tasks share.
    pub fn usage(&self) -> Usage {
        Usage {
            frames: self.frames.len() as u32,
            words: self.words.len() as u32,
            refs: self.refs.len() as u32,
        }
    }
}

impl<W: Word> Process<W> {
    /// A process as it starts, or a sentence why its memory is larger than the limit.
    pub fn new(module: &Module, limits: &Limits) -> Result<Process<W>, String> {
        Ok(Process {
            memory: Memory::new(module, limits.memory_pages)?,
            word_globals: module.word_globals.iter().map(|word| word_from(*word)).collect(),
            ref_globals: nulls(module.ref_globals as usize),
        })
    }
}

impl<W: Word> State<W> {
    pub fn new(module: &Module, limits: &Limits) -> Result<State<W>, String> {
        Ok(State {
            execution: Execution { frames: Vec::with_capacity(16), ..Execution::new() },
            process: Process::new(module, limits)?,
            heap: Heap::new(limits.heap_bytes),
            constants: nulls(module.ref_constants.len()),
            gas: Gas::new(limits.gas),
            reserve: 0,
            guest_gas: limits.guest_gas,
            limits: *limits,
            has_ended: false,
            scheduler: None,
            formulas: None,
            trial: None,
        })
    }

    /// What is left in the process that the machine began with.
    pub fn into_final_state(self) -> FinalState {
        let first = self.scheduler.and_then(|scheduler| scheduler.into_first_process());
        let Process { memory, word_globals, ref_globals } = first.unwrap_or(self.process);
        FinalState {
            memory: memory.into_bytes(),
            word_globals: word_globals.iter().map(|word| word.resize()).collect(),
            ref_globals: ref_globals.iter().map(|reference| self.heap.export(reference)).collect(),
        }
    }
}

impl<W: Word> Machine<'_, W> {
    /// Takes the answer to a call, whose operands still lie where it goes; what keeps it from that is how the call ends.
    pub fn answer_call(&mut self, answer: CallAnswer) -> Option<Stop> {
        let CallAnswer { status, output, gas_used, guest_gas_used } = answer;
        let (w, r) = self.answer_at;
        self.gas = Gas::new(self.gas.left().saturating_sub(gas_used));
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.use_turn(gas_used);
        }
        self.guest_gas = self.guest_gas.saturating_sub(guest_gas_used);
        if let Err(stop) = self.set_optional_bytes(r, output) {
            return Some(stop);
        }
        self.clear_refs(r + 1, 1);
        self.words[w] = W::from_u64(status as u64);
        None
    }

    /// Gives an operation all the gas there is, of which the interpreter has `slice`.
    #[inline(always)]
    pub fn lend_gas(&mut self, slice: Gas) {
        self.gas = Gas::new(slice.left() + self.reserve);
    }

    /// The interpreter's slice of what an operation left.
    #[inline(always)]
    pub fn take_gas_back(&mut self) -> Gas {
        let left = self.gas.left();
        let slice = left.saturating_sub(self.reserve);
        self.reserve = left - slice;
        Gas::new(slice)
    }

    /// Charges in the middle of a line, where the slice may end but the run goes on.
    #[cold]
    pub fn charge_beyond_slice(&mut self, slice: &mut Gas, amount: u64) -> Result<(), OutOfGas> {
        let total = slice.left() + self.reserve;
        self.reserve = total.checked_sub(amount).ok_or(OutOfGas)?;
        *slice = Gas::new(0);
        Ok(())
    }

    /// Takes over what the interpreter has in registers; answers the index of the instruction at `next`.
    pub fn leave(&mut self, gas: Gas, slots: *const W, next: *const Inst) -> usize {
        self.gas = gas;
        self.slots = (slots as usize - self.words.as_ptr() as usize) / size_of::<W>();
        (next as usize - self.lowered.code.as_ptr() as usize) / size_of::<Inst>()
    }

    /// Pays for where the machine goes on; answers the instruction there.
    pub fn pay_entry(&mut self) -> Result<usize, (Option<Stop>, Place)> {
        match self.next {
            Next::Inst(inst) => Ok(inst),
            Next::Enter(entry) => match self.gas.charge(self.lowered.entry_cost(entry)) {
                Ok(()) => Ok(entry),
                Err(out_of_gas) => Err((Some(out_of_gas.into()), Place::Entry(entry))),
            },
        }
    }

    /// The place before a function.
    pub fn entry_of(&self, function: u32) -> Place {
        Place::Entry(self.lowered.functions[function as usize].entry as usize)
    }

    /// How a run of a function ended that stopped like this, or a sentence why it has no end.
    pub fn end_of(&self, stopped: (Option<Stop>, Place), function: u32) -> Result<End, String> {
        let trap = |kind, detail, at| {
            let (function, offset) = self.locate(at);
            End::Trap(Trap { kind, detail, function, offset, stacks: Some(Box::new(self.stack_tops(at))) })
        };
        Ok(match stopped {
            (None, _) => {
                let function = &self.lowered.functions[function as usize];
                End::Return {
                    words: self.words[..function.words_out as usize]
                        .iter()
                        .map(|word| word.resize())
                        .collect(),
                    refs: self.export_refs(0, function.refs_out as usize),
                }
            }
            (Some(Stop::Halt(halt)), _) => {
                let (code, result) = *halt;
                End::Halt { code, result: self.heap.export(&result) }
            }
            (Some(Stop::Machine(why)), _) => return Err(why.into_string()),
            (Some(Stop::Throw(exception)), at) => {
                let (code, payload) = *exception;
                trap(TrapKind::User, Some(exception_detail(&code, &self.heap.export(&payload))), at)
            }
            (Some(Stop::Trap(kind, detail)), at) => trap(kind, detail.map(String::from), at),
            (Some(Stop::Quantum | Stop::Call(_) | Stop::Spawn { .. } | Stop::Switch | Stop::Formula), _) => {
                unreachable!("such a run is not at its end")
            }
        })
    }

    /// Makes the word stack at least `needed` words long; `needed` is within the limit.
    #[cold]
    #[inline(never)]
    pub fn grow_words(&mut self, needed: usize) {
        self.words.resize(needed, W::ZERO);
    }

    /// Checks the reference stack's limit for a frame of `frame_refs` from `start` on, and makes room for it.
    pub fn reserve_refs(&mut self, start: usize, frame_refs: u32) -> Result<(), Stop> {
        let needed = start + frame_refs as usize;
        if needed > self.limits.stack_refs as usize {
            return Err(Stop::trap(TrapKind::Stack));
        }
        if needed > self.refs.len() {
            self.refs.resize_with(needed, Reference::default);
        }
        Ok(())
    }

    /// Hands the references of the current frame over to a tail call: its arguments are at `r`.
    pub fn replace_refs(&mut self, r: usize, callee: &LoweredFunction) -> Result<(), Stop> {
        let start = self.ref_start;
        if callee.frame_refs > 0 {
            self.reserve_refs(start, callee.frame_refs)?;
        }
        let end = (start + r + callee.refs_in as usize).min(self.refs.len());
        self.refs[start..end].rotate_left(r.min(end - start));
        let kept = start + callee.refs_in as usize;
        self.clear_refs(kept, end.saturating_sub(kept));
        Ok(())
    }

    /// Leaves the results at `r` as the only references of the current frame.
    pub fn return_refs(&mut self, r: usize, function: &LoweredFunction) {
        let frame = &mut self.refs[self.ref_start..self.ref_start + function.frame_refs as usize];
        let results = function.refs_out as usize;
        for result in 0..results {
            frame.swap(result, r + result);
        }
        for dead in &mut frame[results..] {
            self.heap.clear(dead);
        }
    }

    /// References as they are outside; none where the program uses none.
    pub fn export_refs(&self, from: usize, count: usize) -> Vec<Ref> {
        let refs = self.refs.get(from..from + count).unwrap_or_default();
        refs.iter().map(|reference| self.heap.export(reference)).collect()
    }

    /// Finds the handler of a trap at an instruction, cuts the stacks and gives it the code and the payload; answers
    /// the index of its first instruction. Nothing is changed if there is none.
    #[cold]
    pub fn catch(&mut self, kind: TrapKind, inst: usize, code: W, payload: &mut Reference) -> Option<usize> {
        if !kind.is_catchable() || self.lowered.handlers.is_empty() {
            return None;
        }
        let (mut at, mut depth, mut ref_start) = (inst, self.frames.len(), self.ref_start);
        let handler = loop {
            if let Some(handler) = self.lowered.handler(at, kind) {
                break handler;
            }
            depth = depth.checked_sub(1).filter(|&depth| depth > 0)?;
            let frame = self.frames[depth];
            at = frame.return_to as usize - 1;
            ref_start = frame.caller_refs as usize;
        };
        // Above the frame that trapped all references are null.
        let function = &self.lowered.functions[self.lowered.function_at(inst)];
        let refs_end = (self.ref_start + function.frame_refs as usize).min(self.refs.len());
        self.frames.truncate(depth);
        self.ref_start = ref_start;
        let slot = ref_start + handler.payload_slot as usize;
        self.clear_refs(slot, refs_end.max(slot + 1) - slot);
        self.refs[slot] = std::mem::take(payload);
        let start = self.frames[depth - 1].start as usize;
        self.words[start + handler.code_slot as usize] = code;
        Some(handler.target as usize)
    }

    /// What lies on the stacks where a run stopped.
    fn stack_tops(&self, place: Place) -> StackTops {
        let held = lower::held(self.verified, self.lowered, place);
        let start = self.frames.last().map_or(0, |frame| frame.start as usize);
        let below = if held.is_window { self.slots.saturating_sub(start) } else { 0 };
        let slot = |index: usize| self.words.get(index).copied().unwrap_or(W::ZERO);
        let words = held.words.iter().map(|word| match *word {
            HeldWord::Slot(offset) => slot(self.slots + offset),
            HeldWord::Imm(number) => W::from_i64(number),
            HeldWord::Const(constant) => self.lowered.constants.get(constant).copied().unwrap_or(W::ZERO),
        });
        let below_slots = (1..=below).map(|back| slot(self.slots - back));
        let words: Vec<W512> =
            words.chain(below_slots).take(SHOWN_ENTRIES).map(|word| word.resize()).collect();
        let refs = held.refs.iter().map(|&(place, original)| {
            let at = |slot: usize| self.refs.get(self.ref_start + slot).filter(|found| !found.is_null());
            match at(place).or_else(|| at(original?)) {
                Some(found) if found.is_cell() => ShownRef::Cell,
                Some(found) => ShownRef::Value(self.heap.export(found)),
                None => ShownRef::Value(Ref::Null),
            }
        });
        StackTops {
            more_words: (held.word_height + below - words.len()) as u64,
            words,
            refs: refs.collect(),
            more_refs: (held.ref_height - held.refs.len()) as u64,
        }
    }

    /// The function and the byte offset of the source instruction where a run stopped.
    pub fn locate(&self, place: Place) -> (u32, u32) {
        lower::locate(self.verified, self.lowered, place)
    }
}

fn nulls(count: usize) -> Vec<Reference> {
    std::iter::repeat_with(Reference::default).take(count).collect()
}
