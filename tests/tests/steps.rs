//! A run that stops and goes on ends as if it had not stopped: the engine in steps against the engine in one go.

use std::cell::Cell;
use std::sync::Arc;

use dotvm_arch::{W512, Width};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::Verified;
use dotvm_engine::{Instance, Step};
use dotvm_tests::differential::compare;
use dotvm_tests::mock_host::MockHost;
use dotvm_tests::stepped::{at_once, in_steps};

fn agree(width: Width) {
    for quantum in [0, 1, 7, 60, 5_000] {
        let steps = Cell::new(0);
        let stepped = |verified: &Verified, invocation: &Invocation, limits: &Limits, host: &mut MockHost| {
            let program = Arc::new(dotvm_engine::lower(verified.clone()).unwrap());
            in_steps(&program, invocation, limits, host, quantum, |instance| {
                steps.set(steps.get() + 1);
                instance
            })
        };
        compare(0..60, width, 30, &at_once, &stepped);
        assert!(steps.get() > 100, "{} steps of {quantum} gas", steps.get());
    }
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

/// Exceptions through calls, memory, a window function, byte strings and powers, whose cost is dynamic.
const MIXED: &str = "
.arch any
.memory 1 4
.func pub main [n] -> [sum]{last}
  .local sum
  .rlocal text
  .while LGET n .do
    .try
      LGET n PUSH 3 MOD JTAB [power copy throw]
power: PUSH 3 LGET n EXP LGET sum ADD LSET sum JMP done
copy:  PUSH 0 LGET n STORE8 0 PUSH 64 PUSH 0 PUSH 50 MCOPY
       PUSH 60 PUSH 20 BLOAD RLSET text JMP done
throw: LGET n RLGET text CALL thrower
done:  NOP
    .catch User
      RLSET text LGET sum XOR LSET sum
    .end_try
    LGET n CALL guest LGET sum ADD LSET sum
    LGET n ADDI -1 LSET n
  .end_while
  LGET sum RLGET text RET
.end
.func thrower [n]{text}
  LGET n PUSH 7 MUL RLGET text THROW
.end
.func guest [target] -> [r] window 16
  BLK 1 1 PUSH 1 AND JMAP jumps
first:  BLK 0 1 PUSH 11 RET
second: BLK 0 2 PUSH 22 PUSH 3 MUL RET
.end
.map jumps guest { 0: first  1: second }
";

/// Out of gas after every few units, at a transfer of control or in the middle of a line, and given more each time.
#[test]
fn a_run_out_of_gas_goes_on_with_more() {
    for width in Width::ALL {
        let options = dotvm_asm::Options { width: Some(width), ..Default::default() };
        let module = dotvm_asm::assemble(MIXED, &options).unwrap().module;
        let program = Arc::new(dotvm_engine::compile(module).unwrap());
        let invocation = Invocation { function: 0, words: vec![W512::from(60)], refs: Vec::new() };
        let mut host = MockHost::new(Env::default());
        let whole = dotvm_engine::run_to_state(&program, &invocation, &Limits::default(), &mut host).unwrap();
        assert!(matches!(whole.0.end, End::Return { .. }), "{:?}", whole.0.end);
        for portion in [1, 2, 3, 10, 97] {
            let limits = Limits { gas: 0, ..Limits::default() };
            let mut instance = Instance::new(program.clone(), invocation.clone(), &limits).unwrap();
            let (mut given, mut stops) = (0, 0);
            let end = loop {
                match instance.resume(&mut host, u64::MAX).unwrap() {
                    Step::Ended(end) => break end,
                    Step::OutOfGas(trap) => {
                        assert_eq!(trap.kind, TrapKind::Gas);
                        stops += 1;
                        given += portion;
                        instance.set_gas(instance.gas_left() + portion);
                    }
                    step => panic!("{step:?}"),
                }
            };
            assert_eq!(end, whole.0.end, "{width} bits, portions of {portion}");
            assert_eq!(given - instance.gas_left(), whole.0.gas_used, "{width} bits, portions of {portion}");
            assert_eq!(instance.into_final_state(), whole.1, "{width} bits, portions of {portion}");
            assert!(stops > 20);
        }
    }
}
