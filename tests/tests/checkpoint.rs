//! A machine that is written down and read back goes on as if nothing had happened, wherever it was stopped; and what
//! is read of damaged bytes is refused or is a machine that runs.

use std::cell::Cell;
use std::sync::Arc;

use dotvm_arch::{W512, Width};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::verify::Verified;
use dotvm_engine::{MemoryChanges, Program};
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

/// Bytes of a page whose change is told.
const PAGE: usize = 1 << 16;

/// Writes of every kind and length here and there, in blocks that are given out, taken back and moved, and with protection.
const WRITES: &str = "
.arch any
.memory 2 200
.data ro 0 \"what stays\"
.func pub main [n seed] -> [sum]
  .local i at block sum
  PUSH 40 MGROW POP
  .while LGET i LGET n LT .do
    LGET i ADDI 1 LSET i
    LGET seed PUSH 25173 MUL PUSH 13849 ADD PUSH 16777215 AND LSET seed
    LGET seed PUSH 2500000 MOD ADDI 64 LSET at
    .try
    LGET seed PUSH 64 DIV PUSH 10 MOD JTAB [byte half word wide copy fill alloc free move guard copy]
byte: LGET at LGET seed STORE8 0 JMP done
half: LGET at LGET seed STORE16 0 JMP done
word: LGET at LGET seed STORE32 0 JMP done
wide: LGET at LGET seed STORE 0 JMP done
copy: LGET at PUSH 64 PUSH 100000 MCOPY JMP done
fill: LGET at LGET seed PUSH 70000 MFILL JMP done
alloc: LGET seed PUSH 20000 MOD ALLOC LSET block LGET block LGET seed STORE8 0 JMP done
free: LGET block JZ done LGET block FREE PUSH 0 LSET block JMP done
move: LGET block JZ done LGET block LGET seed PUSH 50000 MOD M.REALLOC LSET block JMP done
guard: LGET i PUSH 300 LT JNZ done PUSH 1966080 PUSH 4096 PUSH 3 M.PROTECT
done: LGET at LOAD8 0 LGET sum ADD LSET sum
    .catch
      RPOP LGET sum ADD LSET sum
    .end_try
  .end_while
  LGET sum RET
.end
";

/// What is told to have changed is all that has changed, wherever it is asked.
#[test]
fn pages_that_changed_are_told() {
    for width in Width::ALL {
        let options = dotvm_asm::Options { width: Some(width), ..Default::default() };
        let module = dotvm_asm::assemble(WRITES, &options).unwrap().module;
        let program = Arc::new(dotvm_engine::compile(module).unwrap());
        for seed in 0..6 {
            let words = [400, seed].map(W512::from).to_vec();
            let invocation = Invocation { function: 0, words, refs: Vec::new() };
            let limits = Limits::default();
            let (mut known, mut whole, mut told): (Vec<u8>, _, _) = (Vec::new(), 0, 0);
            let (mut steps, mut host) = (0, MockHost::new(Env::default()));
            let ran = in_steps(&program, &invocation, &limits, &mut host, 300 << seed, |mut instance| {
                let changes = instance.take_changes();
                let [MemoryChanges { process: 0, bytes, pages }] = &changes[..] else { panic!() };
                let old_len = known.len();
                known.resize(bytes.len(), 0);
                let all = bytes.len().div_ceil(PAGE) as u32;
                let pages = match pages {
                    Some(pages) => pages.clone(),
                    None => (0..all).collect(),
                };
                (whole, told) = (whole + all, told + pages.len());
                for page in pages {
                    let range = page as usize * PAGE..((page as usize + 1) * PAGE).min(bytes.len());
                    known[range.clone()].copy_from_slice(&bytes[range]);
                }
                assert!(known == *bytes, "{width} bits, seed {seed}, {old_len} bytes before");
                steps += 1;
                if steps % 3 == 0 { restored(instance, &program, &limits) } else { instance }
            });
            let end = ran.unwrap().0.end;
            assert!(matches!(end, End::Return { .. }), "{end:?}");
            assert!(told > 30 && told < whole as usize * 2 / 3, "{told} of {whole} pages in {steps} steps");
        }
    }
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
