//! Contracts calling contracts, through the runtime. Random scripts run as in the fuzz target `calls`;
//! `DOTVM_SEEDS=0..100000` runs more.

use std::sync::Arc;

use dotdb::{Database, History, Settings};
use dotdb_memory::MemoryStore;
use dotvm_arch::{W512, Width};
use dotvm_core::container;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::trap::TrapKind;
use dotvm_runtime::{Execution, Options, Runtime};
use dotvm_tests::call_model;
use fastrand::Rng;

#[test]
fn random_scripts_do_what_the_model_does() {
    let seeds = dotvm_test_modes::seeds(0..300);
    for seed in seeds {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let mut bytes = Vec::new();
        for _ in 0..5 {
            let len = random.usize(..150);
            call_model::random_script(&mut random, len, &mut bytes);
            bytes.push(0xFF);
        }
        call_model::run(&bytes);
    }
}

fn runtime() -> Runtime {
    let settings = Settings { history: History::All, state_root: true };
    Runtime::new(Database::open_or_create(Arc::new(MemoryStore::new()), settings).unwrap())
}

fn deploy(runtime: &Runtime, name: &str, source: &str) -> u32 {
    let module = dotvm_asm::assemble(source, &dotvm_asm::Options::default()).unwrap().module;
    runtime.deploy(name, &container::write(&module).unwrap(), false).unwrap().contract.0
}

fn call_with(runtime: &Runtime, name: &str, function: &str, words: &[u64], options: &Options) -> Execution {
    let invocation = |program: &dotvm_runtime::Program| {
        let function = program.module().export(function).unwrap();
        Ok(Invocation { function, words: words.iter().map(|&word| W512::from(word)).collect(), refs: vec![] })
    };
    runtime.call(name, invocation, options).unwrap().1
}

fn call(runtime: &Runtime, name: &str, function: &str, words: &[u64]) -> Vec<W512> {
    match call_with(runtime, name, function, words, &Options::default()).outcome.end {
        End::Return { words, .. } => words,
        end => panic!("{name}.{function}: {end:?}"),
    }
}

const VAULT: &str = include_str!("../../examples/vault.dasm");
const TILL: &str = include_str!("../../examples/till.dasm");

#[test]
fn a_contract_of_32_bits_calls_one_of_512() {
    let runtime = runtime();
    deploy(&runtime, "vault", VAULT);
    let till = deploy(&runtime, "till", TILL);
    let other = deploy(&runtime, "other", TILL);
    assert_eq!(call(&runtime, "till", "pay", &[4_000_000_000]), [W512::from(4_000_000_000u64)]);
    assert_eq!(call(&runtime, "other", "pay", &[7]), [W512::from(7)]);
    // Beyond 32 bits: the vault has it all, the till sees the low part.
    let total = 4_000_000_000u64 + 3_000_000_000;
    assert_eq!(call(&runtime, "till", "pay", &[3_000_000_000]), [W512::from(total % (1 << 32))]);
    assert_eq!(call(&runtime, "vault", "balance", &[till.into()]), [W512::from(total)]);
    assert_eq!(call(&runtime, "till", "take", &[1_000_000_000]), [W512::from(1_000_000_000)]);
    assert_eq!(call(&runtime, "other", "take", &[8]), [W512::ZERO]);
    assert_eq!(call(&runtime, "other", "balance", &[]), [W512::from(7)]);
    assert_eq!(call(&runtime, "vault", "balance", &[till.into()]), [W512::from(total - 1_000_000_000)]);
    assert_eq!(call(&runtime, "vault", "balance", &[other.into()]), [W512::from(7)]);
}

/// `purse` pays out by calling the receiver before it writes the new balance; with its lock it is safe.
const PURSE: &str = r#"
.module purse
.arch 256
.entry pay_out
.func pub fill [amount]
  PUSH 1 LGET amount SSTORE RET
.end
.func pub left -> [amount]
  PUSH 1 SLOAD RET
.end
.func pub paid -> [amount]
  PUSH 2 SLOAD RET
.end
.func pay_out
  LOCK
  PUSH 1 SLOAD PUSH 10 LT
  .if PUSH 1 RNULL HALT
  .end_if
  PUSH -1 PUSH 10 RCONST "thief" RNULL XCALL 0 RPOP POP
  PUSH 2 PUSH 2 SLOAD ADDI 10 SSTORE
  PUSH 1 PUSH 1 SLOAD ADDI -10 SSTORE
  UNLOCK
  RET
.end
"#;

const THIEF: &str = r#"
.module thief
.arch 64
.entry receive
.func pub rob [deposit]
  PUSH -1 PUSH 0 RCONST "purse" RNULL XCALL 0 RPOP
  .if PUSH 2 RNULL HALT
  .end_if
  RET
.end
.func receive
  PUSH 1 PUSH 1 SLOAD ADDI 1 SSTORE
  PUSH 1 SLOAD PUSH 4 LT
  .if
    PUSH -1 PUSH 0 RCONST "purse" RNULL XCALL 0 RPOP POP
  .end_if
  RET
.end
.func pub received -> [times]
  PUSH 1 SLOAD RET
.end
"#;

#[test]
fn reentrant_calls_see_what_is_written_and_scratch_slots_lock_them_out() {
    let lock = "PUSH 9 TLOAD\n  .if PUSH 3 RNULL HALT\n  .end_if\n  PUSH 9 PUSH 1 TSTORE";
    for (lock, unlock, received) in [("", "", 4), (lock, "PUSH 9 PUSH 0 TSTORE", 1)] {
        let runtime = runtime();
        deploy(
            &runtime,
            "purse",
            &PURSE.replace("  LOCK\n", &format!("  {lock}\n")).replace("UNLOCK", unlock),
        );
        deploy(&runtime, "thief", THIEF);
        call(&runtime, "purse", "fill", &[15]);
        call(&runtime, "thief", "rob", &[0]);
        // Unlocked, each nested call found the balance not yet lowered.
        assert_eq!(call(&runtime, "thief", "received", &[]), [W512::from(received)]);
        assert_eq!(call(&runtime, "purse", "paid", &[]), [W512::from(10 * received)]);
    }
}

/// Each calls the other, once more than the limit allows.
const PING: &str = r#"
.module ping
.arch any
.entry main
.func pub main
  PUSH 1 PUSH 1 SLOAD ADDI 1 SSTORE
  PUSH -1 PUSH 0 RCONST "OTHER" RNULL XCALL 0 RPOP POP RET
.end
.func pub times -> [n]
  PUSH 1 SLOAD RET
.end
"#;

#[test]
fn the_depth_is_limited() {
    for (depth, counts) in [(1, None), (2, Some((1, 0))), (3, Some((1, 1))), (64, Some((32, 31)))] {
        let runtime = runtime();
        deploy(&runtime, "ping", &PING.replace("OTHER", "pong"));
        deploy(&runtime, "pong", &PING.replace("OTHER", "ping"));
        let limits = Limits { contract_depth: depth, ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        let end = call_with(&runtime, "ping", "main", &[], &options).outcome.end;
        match (end, counts) {
            (End::Trap(trap), None) => assert_eq!(trap.kind, TrapKind::Depth),
            // The innermost one traps with what it has written; all others stay.
            (End::Return { .. }, Some((pings, pongs))) => {
                assert_eq!(call(&runtime, "ping", "times", &[]), [W512::from(pings)]);
                assert_eq!(call(&runtime, "pong", "times", &[]), [W512::from(pongs)]);
            }
            (end, _) => panic!("depth {depth}: {end:?}"),
        }
    }
}

#[test]
fn a_failed_call_leaves_the_state_that_would_be_there_without_it() {
    const WRITER: &str = r#"
.module writer
.arch 128
.cap db.read db.write
.collection notes doc
.entry main
.func main
  PUSH 1 PUSH 2 SSTORE PUSH 3 PUSH 4 TSTORE
  RCONST "key" RCONST 0xA0 DB_PUT notes POP
  RCONST 0xA0 DB_INSERT notes RPOP
  RCONST "told" EMIT 0
  PUSH 9 RNULL THROW
.end
"#;
    const CALLER: &str = r#"
.module caller
.arch 64
.func pub with -> [status]
  PUSH 1 PUSH 1 SSTORE PUSH -1 PUSH 0 RCONST "writer" RNULL XCALL 0 RPOP RET
.end
.func pub without -> [status]
  PUSH 1 PUSH 1 SSTORE PUSH 2 RET
.end
"#;
    let roots = ["with", "without"].map(|function| {
        let runtime = runtime();
        deploy(&runtime, "writer", WRITER);
        deploy(&runtime, "caller", CALLER);
        let execution = call_with(&runtime, "caller", function, &[], &Options::default());
        assert_eq!(execution.outcome.end, End::Return { words: vec![W512::from(2)], refs: vec![] });
        assert!(execution.events.is_empty());
        assert_eq!(execution.changed_keys, 1);
        runtime.database().state_root(runtime.database().version()).unwrap()
    });
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn a_callee_gets_the_memory_that_its_callers_leave() {
    const GREEDY: &str = r#"
.module greedy
.arch 64
.memory 1 100
.entry main
.func main -> {pages}
  PUSH 200 MGROW POP
  .while PUSH 1 MGROW ADDI 1 .do .end_while
  MSIZE R.W2B 2 RET
.end
.func pub ask [own] -> [callee]
  LGET own MGROW POP
  PUSH -1 PUSH 0 RCONST "greedy" RNULL XCALL 0
  .if RPOP PUSH 0 RET
  .end_if
  R.B2W RET
.end
"#;
    let runtime = runtime();
    deploy(&runtime, "greedy", GREEDY);
    let limits = Limits { memory_pages: 60, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let ask = |own: u64| match call_with(&runtime, "greedy", "ask", &[own], &options).outcome.end {
        End::Return { words, .. } => words[0],
        end => panic!("{end:?}"),
    };
    assert_eq!(ask(0), W512::from(59));
    assert_eq!(ask(40), W512::from(19));
    // Not even the page that it starts with: not called.
    assert_eq!(ask(59), W512::ZERO);
}

/// What is deployed under a name while others call it is what they call from then on.
#[test]
fn an_upgrade_is_called_at_once() {
    let answer = |number: u32| {
        format!(".module m\n.arch 32\n.entry main\n.func main -> {{r}}\n  PUSH {number} R.W2B 1 RET\n.end\n")
    };
    const ASK: &str = ".module ask\n.arch 512\n.func pub ask -> [r]\n  PUSH -1 PUSH 0 RCONST \"m\" RNULL XCALL 0 POP R.B2W RET\n.end\n";
    let runtime = runtime();
    deploy(&runtime, "m", &answer(1));
    deploy(&runtime, "ask", ASK);
    assert_eq!(call(&runtime, "ask", "ask", &[]), [W512::from(1)]);
    let module = dotvm_asm::assemble(&answer(2), &dotvm_asm::Options::default()).unwrap().module;
    assert_eq!(module.width, Width::W32);
    runtime.deploy("m", &container::write(&module).unwrap(), true).unwrap();
    assert_eq!(call(&runtime, "ask", "ask", &[]), [W512::from(2)]);
}
