//! Verification and lowering of large modules: bytes of bytecode a second, and whether that holds as they grow.

use anyhow::{Context, Result};
use dotvm_arch::Width;
use dotvm_core::builder::CodeBuilder;
use dotvm_core::module::{Export, Function, Memory, Module, Signature};
use dotvm_core::opcode::Op;
use dotvm_engine::Program;
use fastrand::Rng;

use super::Setup;
use crate::harness::{Contender, Goal, Kind, OURS, Workload};

pub const NAME_SMALL: &str = "verify_lower_1m";
pub const NAME_MEDIUM: &str = "verify_lower_4m";
pub const NAME_LARGE: &str = "verify_lower_16m";

/// A module of about a million bytes.
pub fn build_small(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_SMALL, 1_000_000)
}

/// A module four times as large.
pub fn build_medium(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_MEDIUM, 4_000_000)
}

/// A module sixteen times as large.
pub fn build_large(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_LARGE, 16_000_000)
}

fn build(setup: &Setup, name: &'static str, bytes: usize) -> Result<Workload> {
    let Generated { module, bytes, instructions } = generate(setup.pick(bytes, bytes / 10));
    Ok(Workload {
        name,
        summary: format!(
            "a module of {} functions and {instructions} instructions verified and lowered",
            module.functions.len()
        ),
        operations: bytes as u64,
        unit: "byte",
        kind: Kind::Compute,
        baseline: OURS,
        expected: instructions,
        expected_state: None,
        goal: Some(Goal::OperationsPerSecond(50e6)),
        contenders: vec![Box::new(VerifyLower { module, next: None, last: None })],
    })
}

/// The module is copied before and what was made of it dropped after each run, neither timed.
struct VerifyLower {
    module: Module,
    next: Option<Module>,
    last: Option<Program>,
}

impl Contender for VerifyLower {
    fn name(&self) -> &str {
        OURS
    }

    fn prepare(&mut self) -> Result<()> {
        self.last = None;
        self.next = Some(self.module.clone());
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let module = self.next.take().context("not prepared")?;
        let program = self.last.insert(dotvm_engine::compile(module)?);
        Ok(program.verified().functions().iter().map(|function| u64::from(function.instructions)).sum())
    }
}

/// A module, and what is known of it from how it was made.
struct Generated {
    module: Module,
    /// Of code.
    bytes: usize,
    instructions: u64,
}

/// How many bytes of code a function has at least; the last statement may pass it.
const FUNCTION_BYTES: usize = 480;

/// Every function has two parameters, four more locals and one result.
const SIGNATURE: Signature = Signature { words_in: 2, words_out: 1, refs_in: 0, refs_out: 0 };
const LOCALS: usize = 6;

/// A module of at least `wanted` bytes of code: assignments of expressions, branches, loops, jump tables, loads,
/// stores, slots and calls of functions before, as a compiler would put them out. The same for the same size.
fn generate(wanted: usize) -> Generated {
    let mut module = Module::new("generated", Width::W256);
    module.memory = Memory { min_pages: 1, max_pages: 1, heap_base: 0 };
    module.signatures.push(SIGNATURE);
    let mut rng = Rng::with_seed(wanted as u64);
    let (mut bytes, mut instructions) = (0, 0);
    while bytes < wanted {
        let code = Writer::new(&mut rng, module.functions.len()).function(&mut instructions);
        bytes += code.len();
        module.functions.push(Function {
            signature: 0,
            word_locals: (LOCALS - SIGNATURE.words_in as usize) as u16,
            ref_locals: 0,
            window: 0,
            code,
        });
    }
    module.exports.push(Export { name: "run".to_owned(), function: module.functions.len() as u32 - 1 });
    Generated { module, bytes, instructions }
}

/// Writes one function.
struct Writer<'a> {
    rng: &'a mut Rng,
    /// How many functions there are before it.
    callees: usize,
    code: CodeBuilder,
    instructions: u64,
    /// About how many bytes were written.
    bytes: usize,
}

impl<'a> Writer<'a> {
    fn new(rng: &'a mut Rng, callees: usize) -> Self {
        Self { rng, callees, code: CodeBuilder::new(), instructions: 0, bytes: 0 }
    }

    fn function(mut self, instructions: &mut u64) -> Vec<u8> {
        while self.bytes < FUNCTION_BYTES {
            self.statement(2);
        }
        self.expression(2);
        self.op(Op::Ret, &[]);
        *instructions += self.instructions;
        self.code.finish().bytes
    }

    fn op(&mut self, op: Op, immediates: &[u64]) {
        self.code.op(op, immediates);
        self.instructions += 1;
        self.bytes += 1 + immediates.len();
    }

    fn jump(&mut self, op: Op, target: dotvm_core::builder::Label) {
        self.code.jump(op, target);
        self.instructions += 1;
        self.bytes += 2;
    }

    fn local(&mut self) -> u64 {
        self.rng.u64(0..LOCALS as u64)
    }

    fn statement(&mut self, depth: u32) {
        match self.rng.u32(0..if depth > 0 { 16 } else { 11 }) {
            0..=6 => {
                self.expression(2);
                let local = self.local();
                self.op(Op::Lset, &[local]);
            }
            7 => {
                let local = self.local();
                self.op(Op::Lget, &[local]);
                self.expression(1);
                let offset = 32 * self.rng.u64(0..64);
                self.op(Op::Store, &[offset]);
            }
            8 => {
                self.expression(0);
                self.expression(1);
                self.op(Op::Sstore, &[]);
            }
            9 | 10 => self.call(),
            11..=13 => self.branch(depth),
            14 => self.repeat(depth),
            _ => self.table(depth),
        }
    }

    fn call(&mut self) {
        self.expression(1);
        self.expression(1);
        if self.callees > 0 {
            let callee = self.rng.u64(0..self.callees as u64);
            self.op(Op::Call, &[callee]);
        } else {
            self.op(Op::Xor, &[]);
        }
        let local = self.local();
        self.op(Op::Lset, &[local]);
    }

    fn branch(&mut self, depth: u32) {
        let (otherwise, end) = (self.code.label(), self.code.label());
        self.condition();
        self.jump(Op::Jz, otherwise);
        self.statement(depth - 1);
        self.jump(Op::Jmp, end);
        self.code.bind(otherwise);
        self.statement(depth - 1);
        self.code.bind(end);
    }

    fn repeat(&mut self, depth: u32) {
        let again = self.code.label();
        self.code.bind(again);
        self.statement(depth - 1);
        self.condition();
        self.jump(Op::Jnz, again);
    }

    fn table(&mut self, depth: u32) {
        let cases: Vec<_> = (0..4).map(|_| self.code.label()).collect();
        let end = self.code.label();
        self.expression(0);
        self.code.table(&cases);
        self.instructions += 1;
        self.bytes += 2 + cases.len();
        for &case in &cases {
            self.code.bind(case);
            self.statement(depth - 1);
            self.jump(Op::Jmp, end);
        }
        self.code.bind(end);
    }

    fn condition(&mut self) {
        self.expression(1);
        self.expression(0);
        let comparisons = [Op::Eq, Op::Ne, Op::Lt, Op::Gt, Op::Le, Op::Ge, Op::Slt];
        let comparison = comparisons[self.rng.usize(0..comparisons.len())];
        self.op(comparison, &[]);
    }

    /// Leaves one word.
    fn expression(&mut self, depth: u32) {
        match self.rng.u32(0..if depth > 0 { 10 } else { 4 }) {
            0..=2 => {
                let local = self.local();
                self.op(Op::Lget, &[local]);
            }
            3 => {
                let number = self.rng.i64(-200..5_000);
                self.op(Op::Push, &[number as u64]);
            }
            4 => {
                self.expression(depth - 1);
                let offset = 32 * self.rng.u64(0..64);
                self.op(Op::Load, &[offset]);
            }
            5 => {
                self.expression(depth - 1);
                let number = self.rng.i64(-16..16);
                self.op(Op::Addi, &[number as u64]);
            }
            6 => {
                self.expression(depth - 1);
                self.op(Op::Sload, &[]);
            }
            _ => {
                self.expression(depth - 1);
                self.expression(depth - 1);
                let operations = [
                    Op::Add,
                    Op::Sub,
                    Op::Mul,
                    Op::And,
                    Op::Or,
                    Op::Xor,
                    Op::Shl,
                    Op::Shr,
                    Op::Divz,
                    Op::Min,
                ];
                let operation = operations[self.rng.usize(0..operations.len())];
                self.op(operation, &[]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_as_large_as_asked_and_the_same_again() {
        let first = generate(50_000);
        assert!((50_000..51_000).contains(&first.bytes), "{}", first.bytes);
        assert_eq!(
            first.bytes,
            first.module.functions.iter().map(|function| function.code.len()).sum::<usize>()
        );
        assert_eq!(generate(50_000).module, first.module);
    }
}
