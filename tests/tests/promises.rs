//! What the machine has promised from its first design on, one test for each: stack, heap, static memory, protected
//! memory, validation, limits, sandboxing, audit. Each is small and whole; the text tests go into every corner.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use dotdb::{Database, History, Settings};
use dotdb_memory::MemoryStore;
use dotvm_arch::{W512, Width};
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::container;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::verify;
use dotvm_runtime::audit::TARGET;
use dotvm_runtime::{Execution, Options, Program, Runtime, RuntimeError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

fn runtime() -> Runtime {
    let settings = Settings { history: History::All, state_root: true };
    Runtime::new(Database::open_or_create(Arc::new(MemoryStore::new()), settings).unwrap())
}

fn bytes_of(source: &str, width: Width) -> Vec<u8> {
    let options = dotvm_asm::Options { width: Some(width), ..dotvm_asm::Options::default() };
    container::write(&dotvm_asm::assemble(source, &options).expect("the source assembles").module).unwrap()
}

/// Runs a function at every width on a state of its own; the same must come of it.
fn run(source: &str, function: &str, words: &[u64], limits: Limits) -> End {
    let mut ends = Width::ALL.iter().map(|&width| {
        let program = Program::load(&bytes_of(source, width)).unwrap();
        let options = Options { limits, ..Options::default() };
        execute(&runtime(), &program, function, words, &options).unwrap().outcome.end
    });
    let first = ends.next().unwrap();
    assert!(ends.all(|end| end == first), "{function} ends otherwise at another width");
    first
}

fn execute(
    runtime: &Runtime,
    program: &Program,
    function: &str,
    words: &[u64],
    options: &Options,
) -> Result<Execution, RuntimeError> {
    let invocation = Invocation {
        function: program.module().export(function).unwrap(),
        words: words.iter().map(|&word| W512::from(word)).collect(),
        refs: vec![],
    };
    runtime.run("promise", program, &invocation, options)
}

#[track_caller]
fn returns(end: &End, expected: &[u64]) {
    let expected: Vec<W512> = expected.iter().map(|&word| W512::from(word)).collect();
    assert!(matches!(end, End::Return { words, .. } if *words == expected), "{end:?}");
}

#[track_caller]
fn traps(end: &End, kind: TrapKind) {
    assert!(matches!(end, End::Trap(trap) if trap.kind == kind), "{end:?} instead of {kind}");
}

/// Values come off the stack in the reverse order; one that is not there is refused before anything runs, and calls
/// without end meet a limit.
#[test]
fn stack() {
    let source = "
.arch any
.func pub reversed [a b c] -> [x y z]
  LGET a LGET b LGET c SWAP ROT 2 RET
.end
.func pub endless -> [x]
  .local a b c
  CALL endless RET
.end
";
    returns(&run(source, "reversed", &[1, 2, 3], Limits::default()), &[3, 2, 1]);
    traps(&run(source, "endless", &[], Limits { call_depth: 50, ..Limits::default() }), TrapKind::Depth);
    traps(&run(source, "endless", &[], Limits { stack_words: 90, ..Limits::default() }), TrapKind::Stack);

    let mut module = container::read(&bytes_of(source, Width::W64)).unwrap();
    // ADD, RET: two words are taken where there are none.
    module.functions[1].code = vec![0x20, 0x0A];
    let refused = verify(module).unwrap_err().to_string();
    assert!(refused.contains("ADD"), "{refused}");
}

/// Blocks are zeroed, apart from each other and aligned; what was given back is given out again; a block is given back
/// once.
#[test]
fn heap() {
    let source = "
.arch any
.memory 1 2
.func pub blocks -> [aligned apart zero again]
  .local p q
  PUSH 40 ALLOC LSET p
  PUSH 40 ALLOC LSET q
  LGET p LGET q OR PUSH 15 AND EQZ
  LGET q LGET p SUB PUSH 39 GT
  LGET p PUSH 255 PUSH 40 MFILL
  LGET q LOAD8 39
  LGET p FREE
  PUSH 40 ALLOC LGET p EQ
  LGET p LOAD8 7 EQZ AND
  RET
.end
.func pub twice
  .local p
  PUSH 8 ALLOC LTEE p FREE LGET p FREE RET
.end
.func pub inside
  PUSH 64 ALLOC ADDI 16 FREE RET
.end
.func pub much -> [p]
  PUSH 200000 ALLOC RET
.end
";
    returns(&run(source, "blocks", &[], Limits::default()), &[1, 1, 0, 1]);
    traps(&run(source, "twice", &[], Limits::default()), TrapKind::BadFree);
    traps(&run(source, "inside", &[], Limits::default()), TrapKind::BadFree);
    traps(&run(source, "much", &[], Limits::default()), TrapKind::OutOfMemory);
}

/// The module's data are there at the start, and read-only ones stay as they are.
#[test]
fn static_memory() {
    let source = r#"
.arch any
.memory 1
.data ro 0 "constant"
.data 16 "variable"
.func pub read [p] -> [x]
  LGET p LOAD8 0 RET
.end
.func pub write [p] -> [x]
  LGET p PUSH 7 STORE8 0 LGET p LOAD8 0 RET
.end
"#;
    returns(&run(source, "read", &[0], Limits::default()), &[b'c'.into()]);
    returns(&run(source, "read", &[16], Limits::default()), &[b'v'.into()]);
    returns(&run(source, "read", &[24], Limits::default()), &[0]);
    returns(&run(source, "write", &[16], Limits::default()), &[7]);
    traps(&run(source, "write", &[7], Limits::default()), TrapKind::Protect);
    traps(&run(source, "write", &[65_536], Limits::default()), TrapKind::Bounds);
}

/// Pages have permissions; a freed block cannot be used any more once the program asked for protection.
#[test]
fn protected_memory() {
    let source = "
.arch any
.memory 2 4
.func pub page [flags] -> [x]
  PUSH 0x2000 PUSH 0x1000 LGET flags M.PROTECT
  PUSH 0x2fff LOAD8 0 POP
  PUSH 0x2fff PUSH 9 STORE8 0
  PUSH 0x2fff LOAD8 0 RET
.end
.func pub after_free -> [x]
  .local p
  PUSH 0x2000 PUSH 1 PUSH 3 M.PROTECT
  PUSH 32 ALLOC LTEE p PUSH 5 STORE8 0
  LGET p FREE
  LGET p LOAD8 0 RET
.end
";
    returns(&run(source, "page", &[3], Limits::default()), &[9]);
    traps(&run(source, "page", &[1], Limits::default()), TrapKind::Protect);
    traps(&run(source, "page", &[0], Limits::default()), TrapKind::Protect);
    traps(&run(source, "after_free", &[], Limits::default()), TrapKind::Protect);
}

const COUNTER: &str = "
.arch any
.memory 1 4
.func pub count -> [n]
  PUSH 1 PUSH 1 SLOAD ADDI 1 SSTORE
  PUSH 1 SLOAD RET
.end
.func pub count_forever -> [n]
  PUSH 1 PUSH 5 SSTORE
again:
  JMP again
.end
.func pub cells_forever {x} -> {x}
again:
  RLGET x RNULL CONS RLSET x
  JMP again
.end
.func pub grow -> [n]
  PUSH 2 MGROW RET
.end
";

/// No module file that was changed is taken, and none that the verifier refuses runs: whatever is changed in it, with the
/// checksum made to match, it is refused with a sentence or verifies.
#[test]
fn validation() {
    let bytes = bytes_of(COUNTER, Width::W64);
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Program::load(&changed).is_err(), "byte {at} bit {bit} was changed unnoticed");
            container::seal(&mut changed);
            if let Err(error) = Program::load(&changed) {
                assert!(error.to_string().len() > 10, "{error}");
                refused += 1;
            }
        }
        let error = Program::load(&bytes[..at]).map(|_| ()).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    assert!(refused > bytes.len(), "only {refused} changes are refused");
}

/// Gas, memory, stacks and the managed heap are bounded, and who meets a bound leaves nothing behind.
#[test]
fn limits() {
    let runtime = runtime();
    let program = Program::load(&bytes_of(COUNTER, Width::W64)).unwrap();
    let limited = |limits: Limits| Options { limits, ..Options::default() };
    let first = execute(&runtime, &program, "count", &[], &Options::default()).unwrap();
    returns(&first.outcome.end, &[1]);

    let gas = Limits { gas: 10_000, ..Limits::default() };
    let ended = execute(&runtime, &program, "count_forever", &[], &limited(gas)).unwrap();
    traps(&ended.outcome.end, TrapKind::Gas);
    assert!(ended.outcome.gas_used <= 10_000 && !ended.committed);

    let invocation = Invocation {
        function: program.module().export("cells_forever").unwrap(),
        words: vec![],
        refs: vec![dotvm_core::outcome::Ref::Null],
    };
    let heap = Limits { heap_bytes: 1 << 16, gas: 100_000_000, ..Limits::default() };
    let ended = runtime.run("promise", &program, &invocation, &limited(heap)).unwrap();
    traps(&ended.outcome.end, TrapKind::OutOfMemory);

    let pages = Limits { memory_pages: 2, ..Limits::default() };
    let ended = execute(&runtime, &program, "grow", &[], &limited(pages)).unwrap();
    returns(&ended.outcome.end, &[u64::MAX]);

    let last = execute(&runtime, &program, "count", &[], &Options::default()).unwrap();
    returns(&last.outcome.end, &[2]);
}

const CLOCK: &str = "
.arch any
.cap clock
.host clock.wall
.func pub now -> [seconds nanoseconds]
  SYS clock.wall RET
.end
.func pub given_up -> [seconds nanoseconds]
  PUSH CLOCK CAP_DROP
  SYS clock.wall RET
.end
";

/// A module reaches nothing that it does not list and the host does not grant, what it gave up is gone, and one contract's
/// state is not another's.
#[test]
fn sandboxing() {
    let source = CLOCK.replace("CLOCK", &(Capability::Clock as u64).to_string());
    let runtime = runtime();
    let program = Program::load(&bytes_of(&source, Width::W64)).unwrap();
    let refused = execute(&runtime, &program, "now", &[], &Options::default()).unwrap_err();
    assert!(matches!(refused, RuntimeError::NotGranted { capability: Capability::Clock, .. }), "{refused}");
    let options = Options { granted: CapabilitySet::all(), ..Options::default() };
    let ended = execute(&runtime, &program, "given_up", &[], &options).unwrap();
    traps(&ended.outcome.end, TrapKind::Cap);

    // Without the line that lists the capability there is no module that calls the clock.
    let unlisted = source.replace(".cap clock\n", "");
    let options = dotvm_asm::Options { width: Some(Width::W64), ..dotvm_asm::Options::default() };
    let refused = match dotvm_asm::assemble(&unlisted, &options) {
        Err(error) => error.to_string(),
        Ok(assembled) => verify(assembled.module).unwrap_err().to_string(),
    };
    assert!(refused.contains("clock"), "{refused}");

    let counter = Program::load(&bytes_of(COUNTER, Width::W64)).unwrap();
    let other = runtime.run(
        "other",
        &counter,
        &Invocation { function: counter.module().export("count").unwrap(), words: vec![], refs: vec![] },
        &Options::default(),
    );
    returns(&other.unwrap().outcome.end, &[1]);
    returns(&execute(&runtime, &counter, "count", &[], &Options::default()).unwrap().outcome.end, &[1]);
}

/// Keeps the audit events as text.
struct Listener(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Who was linked with which rights, who was refused, what was committed and what was undone is told, and nothing else.
#[test]
fn audit() {
    let told = Arc::new(Mutex::new(Vec::new()));
    // While there is one subscriber only, whether an event is of interest is asked of the thread that comes to it first,
    // which may be that of another test.
    let _other = tracing::Dispatch::new(Listener(Arc::default()));
    let runtime = runtime();
    let counter = Program::load(&bytes_of(COUNTER, Width::W64)).unwrap();
    let source = CLOCK.replace("CLOCK", &(Capability::Clock as u64).to_string());
    let clock = Program::load(&bytes_of(&source, Width::W64)).unwrap();
    tracing::subscriber::with_default(Listener(told.clone()), || {
        execute(&runtime, &counter, "count", &[], &Options::default()).unwrap();
        let gas = Options { limits: Limits { gas: 1000, ..Limits::default() }, ..Options::default() };
        execute(&runtime, &counter, "count_forever", &[], &gas).unwrap();
        execute(&runtime, &clock, "now", &[], &Options::default()).unwrap_err();
    });
    let told = told.lock().unwrap();
    let names: Vec<&str> = told.iter().map(|line| line.split('"').nth(1).unwrap_or_default()).collect();
    let run = ["module_linked", "contract_called"];
    let expected =
        [&run[..], &["transaction_committed"], &run, &["transaction_undone"], &["capability_denied"]]
            .concat();
    assert_eq!(names, expected, "{told:#?}");
    assert!(told[5].contains("reason=\"Gas\""), "{}", told[5]);
    assert!(told[6].contains("capability=\"clock\""), "{}", told[6]);
}
