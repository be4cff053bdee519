//! A machine that is written down and read back goes on as if nothing had happened, wherever it was stopped; and what
//! is read of damaged bytes is refused or is a machine that runs.

use std::cell::Cell;
use std::sync::Arc;

use dotvm_arch::{W512, Width};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::verify::Verified;
use dotvm_engine::Program;
use dotvm_tests::differential::compare;
use dotvm_tests::mock_host::MockHost;
use dotvm_tests::stepped::{Ran, at_once, in_steps, restored};

/// Runs in steps of `quantum` gas, each in an instance of its own; adds the number of steps to `steps`.
fn in_instances(
    program: &Arc<Program>,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut MockHost,
    quantum: u64,
    steps: &Cell<u64>,
) -> Ran {
    host.commit_stops = Some(false);
    let ran = in_steps(program, invocation, limits, host, quantum, |instance| {
        steps.set(steps.get() + 1);
        restored(instance, program, limits)
    });
    host.commit_stops = None;
    ran
}

fn agree(width: Width) {
    for quantum in [0, 23, 500] {
        let steps = Cell::new(0);
        let saved = |verified: &Verified, invocation: &Invocation, limits: &Limits, host: &mut MockHost| {
            let program = Arc::new(dotvm_engine::lower(verified.clone()).unwrap());
            in_instances(&program, invocation, limits, host, quantum, &steps)
        };
        compare(0..40, width, 30, &at_once, &saved);
        assert!(steps.get() > 100, "{} steps of {quantum} gas", steps.get());
    }
}

#[test]
fn machines_of_32_bits_go_on() {
    agree(Width::W32);
}

#[test]
fn machines_of_64_bits_go_on() {
    agree(Width::W64);
}

#[test]
fn machines_of_128_bits_go_on() {
    agree(Width::W128);
}

#[test]
fn machines_of_256_bits_go_on() {
    agree(Width::W256);
}

#[test]
fn machines_of_512_bits_go_on() {
    agree(Width::W512);
}

/// Recursion, tail calls, indirect calls and a window function that calls, stopped everywhere.
const DEEP: &str = "
.arch any
.memory 1 4
.sig binary [a b] -> [c]
.func pub main [n] -> [sum]{last}
  .local sum
  .while LGET n .do
    LGET n PUSH 3 PUSH 1 CALLI binary table LGET sum ADD LSET sum
    LGET n CALL down LGET sum ADD LSET sum
    LGET n CALL window LGET sum ADD LSET sum
    LGET n ALLOC LGET n STORE8 0
    LGET n ADDI -1 LSET n
  .end_while
  LGET sum RNULL RET
.end
.func down [n] -> [r]
  LGET n JZ last
  LGET n LGET n ADDI -1 CALL down ADD RET
last: PUSH 0 PUSH 5 TCALL add
.end
.func add [a b] -> [c]
  LGET a LGET b ADD RET
.end
.func mul [a b] -> [c]
  LGET a LGET b MUL RET
.end
.func window [n] -> [r] window 16
  BLK 1 1 PUSH 2 CALL add
  BLK 0 1 PUSH 7 JMP on
on: BLK 2 0 ADD RET
.end
.table table add mul add
";

#[test]
fn frames_of_every_kind_go_on() {
    for width in Width::ALL {
        let options = dotvm_asm::Options { width: Some(width), ..Default::default() };
        let source = DEEP.replace("LGET n PUSH 8 MOD ALLOC LGET n STORE8 0", "PUSH 8 LGET n STORE8 0");
        let module = match dotvm_asm::assemble(&source, &options) {
            Ok(assembled) => assembled.module,
            Err(error) => panic!("{error:?}"),
        };
        let program = Arc::new(dotvm_engine::compile(module).unwrap());
        let invocation = Invocation { function: 0, words: vec![W512::from(12)], refs: Vec::new() };
        let limits = Limits::default();
        let mut host = MockHost::new(Env::default());
        let whole = dotvm_engine::run_to_state(&program, &invocation, &limits, &mut host).unwrap();
        assert!(matches!(whole.0.end, End::Return { .. }), "{:?}", whole.0.end);
        for quantum in [0, 1, 10, 100] {
            let mut host = MockHost::new(Env::default());
            let steps = Cell::new(0);
            let again = in_instances(&program, &invocation, &limits, &mut host, quantum, &steps);
            assert_eq!(again.unwrap(), whole, "{width} bits, steps of {quantum}");
        }
    }
}

/// Bytes that are not what was written are refused, or make a machine that the engine can run: never a panic, and in
/// this build every slot that is read or written is checked.
#[test]
fn damaged_machines_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut refused, mut ran) = (0, 0);
    for _ in 0..dotvm_test_modes::pick(4_000, 400_000) {
        let bytes: Vec<u8> = (0..random.usize(7..16)).map(|_| random.u8(..)).collect();
        match dotvm_tests::damaged_machine::run(&bytes) {
            Some(false) => refused += 1,
            Some(true) => ran += 1,
            None => {}
        }
    }
    assert!(refused > 300 && ran > 300, "{refused} refused, {ran} ran");
}
