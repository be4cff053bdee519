//! Deploying and calling contracts, and what of an execution is kept.

use std::sync::Arc;

use dotdb::{Database, DbError, Mode};
use dotdb_memory::MemoryStore;
use dotdb_store::faulty::FaultyStore;
use dotvm_arch::{W512, Width};
use dotvm_core::builder::CodeBuilder;
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::container;
use dotvm_core::gas;
use dotvm_core::limits::Limits;
use dotvm_core::module::{Collection, CollectionKind, Export, Function, Module, Signature};
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{End, Invocation, Outcome};
use dotvm_core::trap::TrapKind;
use dotvm_runtime::args::{find_function, parse_invocation};
use dotvm_runtime::{Change, Options, Program, Runtime, RuntimeError, execute};

/// A module that exports `add` (adds its argument to slot 0 and answers `step` times the sum) and `fail` (sets
/// slot 0 and traps).
fn module(step: u64) -> Vec<u8> {
    let mut module = Module::new("counter", Width::W64);
    module.signatures =
        vec![Signature { words_in: 1, words_out: 1, ..Signature::default() }, Signature::default()];
    let mut add = CodeBuilder::new();
    add.op(Op::Push, &[0]);
    add.op(Op::Push, &[0]);
    add.op(Op::Sload, &[]);
    add.op(Op::Lget, &[0]);
    add.op(Op::Add, &[]);
    add.op(Op::Ltee, &[0]);
    add.op(Op::Sstore, &[]);
    add.op(Op::Lget, &[0]);
    add.op(Op::Push, &[step]);
    add.op(Op::Mul, &[]);
    add.op(Op::Ret, &[]);
    let mut fail = CodeBuilder::new();
    fail.op(Op::Push, &[0]);
    fail.op(Op::Push, &[7]);
    fail.op(Op::Sstore, &[]);
    fail.op(Op::Trap, &[]);
    module.functions = [(0, add), (1, fail)]
        .into_iter()
        .map(|(signature, code)| Function {
            signature,
            word_locals: 0,
            ref_locals: 0,
            window: 0,
            code: code.finish().bytes,
        })
        .collect();
    module.exports =
        vec![Export { name: "add".into(), function: 0 }, Export { name: "fail".into(), function: 1 }];
    container::write(&module).unwrap()
}

fn runtime() -> Runtime {
    Runtime::new(Database::open(Arc::new(MemoryStore::new())).unwrap())
}

fn call(runtime: &Runtime, name: &str, function: &str, args: &[&str]) -> Result<Outcome, RuntimeError> {
    let invocation = |program: &Program| {
        let function = find_function(program.module(), Some(function))?;
        Ok(parse_invocation(program.verified(), function, args)?)
    };
    runtime.call(name, invocation, &Options::default()).map(|(_, execution)| execution.outcome)
}

fn word(outcome: &Outcome) -> W512 {
    match &outcome.end {
        End::Return { words, refs } if words.len() == 1 && refs.is_empty() => words[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_of_a_contract_share_its_state() {
    let runtime = runtime();
    let deployed = runtime.deploy("counter", &module(1), false).unwrap();
    assert_eq!(deployed.change, Change::New);
    assert_eq!(deployed.hash, container::content_hash(&module(1)));
    assert_eq!(word(&call(&runtime, "counter", "add", &["5"]).unwrap()), W512::from(5));
    assert_eq!(word(&call(&runtime, "counter", "add", &["-2"]).unwrap()), W512::from(3));
    let failed = call(&runtime, "counter", "fail", &[]).unwrap();
    assert!(matches!(failed.end, End::Trap(trap) if trap.kind == TrapKind::Unreachable));
    assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(3));
}

#[test]
fn a_new_runtime_finds_code_and_state() {
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let first = Runtime::new(database.clone());
    first.deploy("counter", &module(1), false).unwrap();
    call(&first, "counter", "add", &["41"]).unwrap();
    let second = Runtime::new(database);
    assert_eq!(word(&call(&second, "counter", "add", &["1"]).unwrap()), W512::from(42));
}

#[test]
fn a_name_keeps_its_code_unless_upgraded() {
    let runtime = runtime();
    let first = runtime.deploy("counter", &module(1), false).unwrap();
    assert_eq!(runtime.deploy("counter", &module(1), false).unwrap().change, Change::None);
    call(&runtime, "counter", "add", &["4"]).unwrap();
    assert!(matches!(
        runtime.deploy("counter", &module(10), false),
        Err(RuntimeError::NameTaken { name, .. }) if name == "counter"
    ));
    assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(4));
    let upgraded = runtime.deploy("counter", &module(10), true).unwrap();
    assert_eq!((upgraded.change, upgraded.contract), (Change::Upgrade(first.hash), first.contract));
    assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(40));
    // And back: the code is still there under its hash.
    runtime.deploy("counter", &module(1), true).unwrap();
    assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(4));
}

#[test]
fn two_names_of_one_code_have_states_of_their_own() {
    let runtime = runtime();
    runtime.deploy("a", &module(1), false).unwrap();
    runtime.deploy("b", &module(1), false).unwrap();
    call(&runtime, "a", "add", &["5"]).unwrap();
    assert_eq!(word(&call(&runtime, "b", "add", &["1"]).unwrap()), W512::from(1));
}

#[test]
fn refused_modules_and_names_leave_nothing() {
    let runtime = runtime();
    let before = runtime.database().stats().unwrap();
    let mut damaged = module(1);
    damaged[100] ^= 1;
    assert!(matches!(runtime.deploy("counter", &damaged, false), Err(RuntimeError::Read(_))));
    let bad_name = runtime.deploy("Not A Name", &module(1), false);
    assert!(matches!(bad_name, Err(RuntimeError::Db(DbError::Name { .. }))));
    assert!(matches!(
        call(&runtime, "counter", "add", &["1"]),
        Err(RuntimeError::UnknownContract { nearest: None, .. })
    ));
    assert_eq!(runtime.database().stats().unwrap(), before);
}

#[test]
fn near_names_are_suggested() {
    let runtime = runtime();
    runtime.deploy("counter", &module(1), false).unwrap();
    let unknown = call(&runtime, "conuter", "add", &["1"]).unwrap_err().to_string();
    assert_eq!(unknown, "there is no contract named \"conuter\": did you mean \"counter\"?");
    let unknown = call(&runtime, "counter", "ad", &["1"]).unwrap_err().to_string();
    assert_eq!(unknown, "the module \"counter\" exports no function `ad`: did you mean `add`?");
}

#[test]
fn a_capability_that_is_not_granted_is_named() {
    let mut module = Module::new("reader", Width::W64);
    module.capabilities = vec![Capability::DbRead, Capability::Tx];
    module.collections = vec![Collection { name: "notes".into(), kind: CollectionKind::Bytes }];
    module.signatures = vec![Signature::default()];
    let mut code = CodeBuilder::new();
    code.op(Op::Ret, &[]);
    module.functions =
        vec![Function { signature: 0, word_locals: 0, ref_locals: 0, window: 0, code: code.finish().bytes }];
    let program = Program::load(&container::write(&module).unwrap()).unwrap();
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    let invocation = Invocation { function: 0, words: vec![], refs: vec![] };
    let options = Options { granted: CapabilitySet::from_iter([Capability::DbRead]), ..Options::default() };
    let error = execute(&database, "reader", &program, &invocation, &options).unwrap_err();
    assert!(matches!(error, RuntimeError::NotGranted { capability: Capability::Tx, .. }));
    assert!(error.to_string().contains("`tx`"), "{error}");
    let execution = execute(&database, "reader", &program, &invocation, &Options::default()).unwrap();
    assert!(execution.committed && execution.changed_keys == 0);
}

#[test]
fn gas_is_that_of_the_schedule() {
    let runtime = runtime();
    runtime.deploy("counter", &module(1), false).unwrap();
    // PUSH 0, PUSH 0, SLOAD, LGET, ADD, LTEE, SSTORE, LGET, PUSH, MUL, RET: eight of 1 (MUL at 64 bits and the
    // jump RET among them) and ADD of 1, two slot operations of 20; 480 for the first touch; no full 8 bytes.
    let expected = 9 + 2 * 20 + gas::slot(true, 1);
    let outcome = call(&runtime, "counter", "add", &["5"]).unwrap();
    assert_eq!(outcome.gas_used, expected);
    // One less is not enough, and then nothing is kept.
    let invocation = |_: &Program| Ok(Invocation { function: 0, words: vec![W512::from(1)], refs: vec![] });
    let limits = Limits { gas: expected - 1, ..Limits::default() };
    let (_, execution) =
        runtime.call("counter", invocation, &Options { limits, ..Options::default() }).unwrap();
    assert!(matches!(execution.outcome.end, End::Trap(trap) if trap.kind == TrapKind::Gas));
    assert!(!execution.committed);
    assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(5));
}

#[test]
fn a_store_that_fails_anywhere_leaves_all_or_nothing() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let runtime = Runtime::new(Database::open(store.clone()).unwrap());
    runtime.deploy("counter", &module(1), false).unwrap();
    let mut sum = 0;
    let mut failures = 0;
    for calls in 0.. {
        store.fail_after(calls);
        let result = call(&runtime, "counter", "add", &["1"]);
        store.heal();
        match result {
            Ok(outcome) => {
                sum += 1;
                assert_eq!(word(&outcome), W512::from(sum));
                break;
            }
            Err(RuntimeError::Db(DbError::Store(_))) => failures += 1,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(sum));
    }
    assert!(failures >= 3, "snapshot, slot and commit can fail, but only {failures} did");
}

#[test]
fn concurrent_calls_are_serial() {
    let runtime = Arc::new(runtime());
    runtime.deploy("counter", &module(1), false).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let runtime = runtime.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    call(&runtime, "counter", "add", &["1"]).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(word(&call(&runtime, "counter", "add", &["0"]).unwrap()), W512::from(200));
    let mut tx = runtime.database().begin(Mode::ReadOnly).unwrap();
    assert_eq!(tx.contracts().unwrap().len(), 1);
    assert!(tx.contract("counter").unwrap().is_some());
}
