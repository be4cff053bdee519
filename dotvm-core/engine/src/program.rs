//! A program: a verified module together with its register form.

use dotvm_arch::{W32, W64, W128, W256, W512, Word, with_arch};
use dotvm_core::host::Host;
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{FinalState, Invocation, Outcome};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::{Verified, VerifyError, verify_with};
use hashbrown::HashMap;

use crate::inst::Inst;
use crate::interp;
use crate::lower::{Interned, LowerError, Lowerer};

/// A verified module, lowered for its width and ready to run any number of times.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) verified: Verified,
    pub(crate) lowered: AnyLowered,
}

/// The register form of a module at its width.
#[derive(Clone, Debug)]
pub(crate) enum AnyLowered {
    W32(Lowered<W32>),
    W64(Lowered<W64>),
    W128(Lowered<W128>),
    W256(Lowered<W256>),
    W512(Lowered<W512>),
}

/// Calls a generic function with the register form, whatever its width.
macro_rules! with_lowered {
    ($any:expr, $lowered:ident => $body:expr) => {
        match $any {
            $crate::program::AnyLowered::W32($lowered) => $body,
            $crate::program::AnyLowered::W64($lowered) => $body,
            $crate::program::AnyLowered::W128($lowered) => $body,
            $crate::program::AnyLowered::W256($lowered) => $body,
            $crate::program::AnyLowered::W512($lowered) => $body,
        }
    };
}

/// The register form of a module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lowered<W> {
    /// Instructions of all functions, in order, the first being the return address of the entry function; then for each
    /// what a transfer of control to it costs: static gas from there to the next transfer. In a program that grew each
    /// half has room at its end.
    pub code: Vec<Inst>,
    /// Number of instructions.
    pub used: usize,
    pub functions: Vec<LoweredFunction>,
    /// Word constants: the module's, then those that lowering added.
    pub constants: Vec<W>,
    /// Pairs of immediates of operations that keep them aside.
    pub immediates: Vec<[u64; 2]>,
    /// Operations that are kept aside together with their immediates.
    pub operations: Vec<Operation>,
    /// Jump tables: the number of targets, then the targets.
    pub tables: Vec<u32>,
    pub maps: Vec<HashMap<u64, u32>>,
    /// Handlers of all functions, ascending by start, outer ranges first.
    pub handlers: Vec<LoweredHandler>,
    /// Where the added constants, the immediates and the operations are.
    pub interned: Interned,
}

/// An operation with its immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub a: u64,
    pub b: u32,
    pub op: Op,
}

/// What a call needs to know about a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoweredFunction {
    /// Index of its first instruction.
    pub entry: u32,
    pub frame_words: u32,
    pub frame_refs: u32,
    pub words_in: u16,
    pub words_out: u16,
    pub refs_in: u16,
    pub refs_out: u16,
    pub word_locals: u16,
    pub window: u16,
}

/// A handler over the register form. Looked at only when something traps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoweredHandler {
    /// The range: indices of the first instruction and of the one behind the last.
    pub start: u32,
    pub end: u32,
    /// Index of the instruction to go on with.
    pub target: u32,
    /// Bits of the kinds caught.
    pub kinds: u32,
    /// Slot of the code.
    pub code_slot: u16,
    /// Slot of the payload among the frame's references.
    pub payload_slot: u16,
    /// Index of the handler whose range this one's lies in, or [`LoweredHandler::OUTERMOST`].
    pub outer: u32,
}

impl LoweredHandler {
    /// There is no range around this one.
    pub const OUTERMOST: u32 = u32::MAX;
}

impl<W> Lowered<W> {
    /// What a transfer of control to an instruction costs.
    pub fn entry_cost(&self, inst: usize) -> u64 {
        match self.code[self.code.len() / 2 + inst] {
            Inst::Gas { cost } => cost.into(),
            other => unreachable!("the cost of an instruction is {other:?}"),
        }
    }

    /// The innermost handler around an instruction that catches a kind of trap.
    pub fn handler(&self, inst: usize, kind: TrapKind) -> Option<&LoweredHandler> {
        let after = self.handlers.partition_point(|handler| handler.start as usize <= inst);
        // Ranges nest: whichever lies around the instruction lies around the last that starts before it.
        let mut handler = self.handlers.get(after.checked_sub(1)?)?;
        loop {
            if inst < handler.end as usize && handler.kinds & kind.bit() != 0 {
                return Some(handler);
            }
            handler = self.handlers.get(handler.outer as usize)?;
        }
    }

    /// The index of the function that an instruction belongs to.
    pub fn function_at(&self, inst: usize) -> usize {
        self.functions.partition_point(|function| function.entry as usize <= inst).saturating_sub(1)
    }
}

/// Why a module does not become a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The verifier refuses it.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It is too large for the register form.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

/// The register form at one of the five widths.
pub(crate) trait Wrap: Word {
    fn wrap(lowered: Lowered<Self>) -> AnyLowered;
    /// The register form of a module of this width.
    fn unwrap(lowered: &AnyLowered) -> Option<&Lowered<Self>>;
}

macro_rules! wrap {
    ($($width:ident)*) => {
        $(impl Wrap for $width {
            fn wrap(lowered: Lowered<Self>) -> AnyLowered {
                AnyLowered::$width(lowered)
            }

            fn unwrap(lowered: &AnyLowered) -> Option<&Lowered<Self>> {
                match lowered {
                    AnyLowered::$width(lowered) => Some(lowered),
                    _ => None,
                }
            }
        })*
    };
}
wrap!(W32 W64 W128 W256 W512);
pub(crate) use with_lowered;

/// Verifies a module and lowers each function as soon as it is verified: its instructions and blocks are found once and
/// not kept.
pub fn compile(module: Module) -> Result<Program, CompileError> {
    fn at_width<W: Wrap>(module: Module) -> Result<Program, CompileError> {
        let (verified, lowerer) = verify_with::<_, CompileError>(
            module,
            Lowerer::<W>::of_module,
            |lowerer, module, index, body, function| Ok(lowerer.function(module, index, body, function)?),
        )?;
        Ok(Program { verified, lowered: W::wrap(lowerer.finish()?) })
    }
    with_arch!(module.width, W => at_width::<W>(module))
}

/// Lowers a verified module to the register form; [`compile`] does both at once.
pub fn lower(verified: Verified) -> Result<Program, LowerError> {
    fn at_width<W: Wrap>(verified: Verified) -> Result<Program, LowerError> {
        let mut lowerer = Lowerer::<W>::of_module(verified.module());
        let functions = 0..verified.functions().len() as u32;
        for ((index, function), body) in
            functions.clone().zip(verified.functions()).zip(verified.bodies(functions))
        {
            lowerer.function(verified.module(), index, &body, function)?;
        }
        Ok(Program { lowered: W::wrap(lowerer.finish()?), verified })
    }
    with_arch!(verified.module().width, W => at_width::<W>(verified))
}

impl Program {
    /// The module.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The register form of a function, one instruction a line.
    pub fn dump(&self, function: u32) -> String {
        with_lowered!(&self.lowered, lowered => {
            let start = lowered.functions[function as usize].entry as usize;
            let end = lowered.functions.get(function as usize + 1).map_or(lowered.used, |next| next.entry as usize);
            let mut text = String::new();
            for (index, inst) in lowered.code[start..end].iter().enumerate() {
                text.push_str(&format!("{index:5}  {inst:?}"));
                if let Inst::Ext { x, .. } = inst {
                    text.push_str(&format!("  {:?}", lowered.operations[*x as usize]));
                }
                text.push('\n');
            }
            text
        })
    }
}

/// Runs a function of a program to its end.
///
/// # Errors
/// A sentence, where there is no outcome: the invocation does not fit the function, memory starts larger than the
/// limit, or the machine underneath has no memory left. Nothing that the host was told counts then.
pub fn run(
    program: &Program,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut dyn Host,
) -> Result<Outcome, String> {
    with_lowered!(&program.lowered, lowered => {
        interp::run(&program.verified, lowered, invocation, limits, host).map(|(outcome, _)| outcome)
    })
}

/// Like [`run`], and gives back what is left in the instance.
pub fn run_to_state(
    program: &Program,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut dyn Host,
) -> Result<(Outcome, FinalState), String> {
    with_lowered!(&program.lowered, lowered => {
        interp::run(&program.verified, lowered, invocation, limits, host)
            .map(|(outcome, machine)| (outcome, machine.into_state().into_final_state()))
    })
}
