//! Small modules built by hand, and a host that offers nothing but an environment.
#![allow(dead_code, reason = "each test file uses its part")]

use dotvm_arch::{W512, Width};
use dotvm_core::builder::{Code, CodeBuilder};
use dotvm_core::host::NoState;
use dotvm_core::limits::Limits;
use dotvm_core::module::{Function, Module, Signature};
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{End, FinalState, Invocation, Outcome};
use dotvm_core::trap::{Trap, TrapKind};
use dotvm_core::verify::verify;

/// A module under construction.
pub struct Program(pub Module);

/// Words in, words out, references in, references out.
pub type Shape = (u16, u16, u16, u16);

impl Program {
    pub fn new(width: Width) -> Program {
        Program(Module::new("test", width))
    }

    pub fn signature(&mut self, (words_in, words_out, refs_in, refs_out): Shape) -> u32 {
        self.0.signatures.push(Signature { words_in, words_out, refs_in, refs_out });
        self.0.signatures.len() as u32 - 1
    }

    fn add(
        &mut self,
        shape: Shape,
        locals: (u16, u16),
        window: u16,
        build: impl FnOnce(&mut CodeBuilder),
    ) -> Code {
        let signature = self.signature(shape);
        let mut builder = CodeBuilder::new();
        build(&mut builder);
        let code = builder.finish();
        self.0.functions.push(Function {
            signature,
            word_locals: locals.0,
            ref_locals: locals.1,
            window,
            code: code.bytes.clone(),
        });
        code
    }

    /// Adds a function with word and reference locals; answers its index.
    pub fn function(
        &mut self,
        shape: Shape,
        locals: (u16, u16),
        build: impl FnOnce(&mut CodeBuilder),
    ) -> u32 {
        self.add(shape, locals, 0, build);
        self.0.functions.len() as u32 - 1
    }

    /// Adds a window function; answers its code.
    pub fn window(&mut self, shape: Shape, window: u16, build: impl FnOnce(&mut CodeBuilder)) -> Code {
        self.add(shape, (0, 0), window, build)
    }

    /// Memory of `min` pages that may reach `max`, the heap behind 1024 bytes.
    pub fn memory(&mut self, min: u64, max: u64) {
        self.0.memory.min_pages = min;
        self.0.memory.max_pages = max;
        self.0.memory.heap_base = 1024;
    }

    pub fn run_all(&self, function: u32, words: &[u64], limits: Limits) -> (Outcome, FinalState) {
        self.try_run(function, words, limits).unwrap()
    }

    pub fn try_run(
        &self,
        function: u32,
        words: &[u64],
        limits: Limits,
    ) -> Result<(Outcome, FinalState), String> {
        let verified = verify(self.0.clone()).unwrap_or_else(|error| panic!("{error}"));
        let words = words.iter().map(|&word| W512::from(word)).collect();
        let invocation = Invocation { function, words, refs: Vec::new() };
        dotvm_reference::run(&verified, &invocation, &limits, &mut NoState::default())
    }

    pub fn run(&self, function: u32, words: &[u64], limits: Limits) -> Outcome {
        self.run_all(function, words, limits).0
    }

    /// Runs function 0 to its return and answers the low 64 bits of its results.
    pub fn results(&self, words: &[u64]) -> Vec<u64> {
        self.wide_results(words).iter().map(|word| word.as_limbs()[0]).collect()
    }

    pub fn wide_results(&self, words: &[u64]) -> Vec<W512> {
        match self.run(0, words, Limits::default()).end {
            End::Return { words, .. } => words,
            end => panic!("{end:?}"),
        }
    }

    /// Runs function 0 to its trap.
    pub fn trap(&self, words: &[u64], limits: Limits) -> Trap {
        match self.run(0, words, limits).end {
            End::Trap(trap) => trap,
            end => panic!("{end:?}"),
        }
    }

    pub fn trap_kind(&self, words: &[u64]) -> TrapKind {
        self.trap(words, Limits::default()).kind
    }
}

/// A function of one straight line: its operations, then RET.
pub fn line(width: Width, shape: Shape, ops: &[(Op, &[u64])]) -> Program {
    let mut program = Program::new(width);
    program.function(shape, (0, 0), |code| {
        for &(op, imms) in ops {
            code.op(op, imms);
        }
        code.op(Op::Ret, &[]);
    });
    program
}

/// The bits of a signed immediate.
pub fn s(number: i64) -> u64 {
    number as u64
}
