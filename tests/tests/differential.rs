//! The engine against the reference interpreter on generated programs: outcome, gas, memory, globals and the host.

use dotvm_arch::Width;
use dotvm_core::builder::CodeBuilder;
use dotvm_core::limits::Limits;
use dotvm_core::module::{Function, Module, Signature};
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{FinalState, Invocation, Outcome};
use dotvm_core::verify::Verified;
use dotvm_tests::differential::{Case, compare, reference};
use dotvm_tests::mock_host::MockHost;

fn engine(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut MockHost,
) -> Result<(Outcome, FinalState), String> {
    let program = dotvm_engine::lower(verified.clone()).expect("generated modules can be lowered");
    dotvm_engine::run_to_state(&program, invocation, limits, host)
}

/// Seeds of each width, from DOTVM_SEEDS as `first..end` for longer runs.
fn agree(width: Width) {
    let seeds = dotvm_test_modes::seeds(0..150);
    compare(seeds.clone(), width, 8, &engine, &reference);
    compare(seeds, width, 40, &engine, &reference);
}

#[test]
fn words_of_32_bits() {
    agree(Width::W32);
}

#[test]
fn words_of_64_bits() {
    agree(Width::W64);
}

#[test]
fn words_of_128_bits() {
    agree(Width::W128);
}

#[test]
fn words_of_256_bits() {
    agree(Width::W256);
}

#[test]
fn words_of_512_bits() {
    agree(Width::W512);
}

/// A block of a window function that does nothing but drop a value, between a branch and BLK: at every gas limit
/// the trap names the block that did not start.
#[test]
fn gas_ends_at_the_same_block_before_blk() {
    let mut module = Module::new("window", Width::W64);
    module.signatures.push(Signature::default());
    let mut code = CodeBuilder::new();
    let end = code.label();
    code.op(Op::Blk, &[0, 2]);
    code.op(Op::Push, &[0]);
    code.op(Op::Push, &[0]);
    code.jump(Op::Jnz, end);
    code.op(Op::Pop, &[]);
    code.bind(end);
    code.op(Op::Blk, &[0, 0]);
    code.op(Op::Ret, &[]);
    module.functions.push(Function {
        signature: 0,
        word_locals: 0,
        ref_locals: 0,
        window: 2,
        code: code.finish().bytes,
    });
    let invocation = Invocation { function: 0, words: Vec::new(), refs: Vec::new() };
    for gas in 0..8 {
        let limits = Limits { gas, ..Limits::default() };
        let case = Case { seed: 0, module: module.clone(), invocation: invocation.clone(), limits };
        assert_eq!(case.difference(&engine, &reference), None, "gas {gas}");
    }
}
