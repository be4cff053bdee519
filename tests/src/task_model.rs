//! The scheduler: bytes are read as a script for tasks that begin, join, kill, wake and talk to each other, and what they
//! do is one history, on the reference interpreter, on the engine, and on the engine stopped wherever the bytes say.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use dotvm_arch::Width;
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, FinalState, Invocation, Outcome, Ref};
use dotvm_engine::{Instance, Program, Step};

use crate::mock_host::MockHost;
use crate::stepped::restored;

/// Gas of a run.
const GAS: u64 = 400_000;

/// Carries out a script: operations of two bytes, what is done and with what. All that comes out is summed up.
const ACTOR: &str = r#"
.arch any
.memory 1 3
.cap db.read db.write tx clock
.global total = 0
.rglobal trace
.func pub main {script} -> [sum]
  .local at op with sum
  .rlocal got
  .while LGET at ADDI 2 RLGET script BLEN LE .do
    LGET at RLGET script BGET PUSH 15 AND LSET op
    LGET at ADDI 1 RLGET script BGET LSET with
    LGET at ADDI 2 LSET at
    .try
      LGET op JTAB [process thread yield join send recv kill wait notify spend store fail caps trace grow nothing]
process:
      LGET with RLGET script LGET at CALL part SPAWN process main JMP spawned
thread:
      LGET with RLGET script LGET at CALL part LGET with PUSH 1 AND JNZ paradot
      SPAWN thread main JMP spawned
paradot:
      SPAWN paradot main
spawned:
      LGET sum CALL mix LSET sum
      LGET at LGET with PUSH 30 AND ADD LSET at JMP nothing
yield:
      YIELD JMP nothing
join:
      LGET with PUSH 15 AND JOIN RPOP ADD LGET sum CALL mix LSET sum JMP nothing
send:
      LGET with PUSH 15 AND
      LGET sum W2Z unsigned LGET with PUSH 64 AND JZ small
      RLGET script CONS
small:
      SEND LGET sum CALL mix LSET sum JMP nothing
recv:
      LGET with CALL ticks RECV RLSET got LGET sum CALL mix LSET sum
      RLGET got RKIND PUSH 1 NE JNZ nothing
      RLGET got Z2W wrap LGET sum CALL mix LSET sum JMP nothing
kill:
      LGET with PUSH 15 AND LGET with KILL LGET sum CALL mix LSET sum JMP nothing
wait:
      LGET with CALL place LGET with PUSH 5 SHR PUSH 1 AND LGET with CALL ticks A.WAIT u8 0
      LGET sum CALL mix LSET sum JMP nothing
notify:
      LGET with CALL place LGET with PUSH 2 SHR PUSH 3 AND A.NOTIFY 0 LGET sum CALL mix LSET sum JMP nothing
spend:
      LGET with PUSH 6 SHL CALL count JMP nothing
store:
      LGET with CALL place LGET with PUSH 5 SHR PUSH 1 AND STORE8 0
      GGET total LGET with ADD GSET total JMP nothing
fail:
      LGET with PUSH 3 AND JTAB [crash throws halts deep]
crash:
      TRAP
throws:
      LGET with RLGET got THROW
halts:
      LGET with RLGET got HALT
deep:
      CALL forever JMP nothing
caps:
      LGET with PUSH 15 AND CAP_DROP
      LGET with PUSH 4 SHR CAP_TEST LGET sum CALL mix LSET sum JMP nothing
trace:
      SELF LGET sum CALL mix LSET sum
      LGET sum W2Z unsigned RGGET trace CONS RGSET trace JMP nothing
grow:
      PUSH 1 MGROW LGET sum CALL mix LSET sum
nothing: NOP
    .catch
      RPOP LGET sum CALL mix LSET sum
    .end_try
  .end_while
  LGET sum RET
.end
; The script of a task begun with this, and the capabilities that it has.
.func part [with at]{script} -> [caps]{part}
  LGET with LGET at LGET with PUSH 30 AND RLGET script R.SLICE RET
.end
.func mix [x sum] -> [sum]
  LGET sum PUSH 31 MUL LGET x ADD PUSH 16777215 AND RET
.end
.func ticks [with] -> [ticks]
  LGET with PUSH 248 GE JNZ ever
  LGET with PUSH 7 AND RET
ever:
  PUSH -1 RET
.end
.func place [with] -> [address]
  LGET with PUSH 1 SHR PUSH 1 AND PUSH 3 SHL ADDI 64 RET
.end
.func count [n]
again:
  LGET n JZ done
  LGET n ADDI -1 LSET n JMP again
done:
  RET
.end
.func forever
  CALL forever RET
.end
"#;

static PROGRAMS: LazyLock<Vec<Arc<Program>>> = LazyLock::new(|| {
    let program = |width| {
        let options = dotvm_asm::Options { width: Some(width), ..dotvm_asm::Options::default() };
        let module = dotvm_asm::assemble(ACTOR, &options).expect("the actor is a program").module;
        Arc::new(dotvm_engine::compile(module).expect("the actor verifies"))
    };
    Width::ALL.into_iter().map(program).collect()
});

/// What can be seen of a run.
type Seen = (Outcome, FinalState, MockHost);

/// Runs with `limits.gas` gas in all, of which at most `portion` is given at a time, in steps of `quantum`; after each
/// `every` of them the machine is written down and another one goes on.
fn in_steps(
    program: &Arc<Program>,
    invocation: &Invocation,
    limits: &Limits,
    quantum: u64,
    portion: u64,
    every: usize,
) -> Seen {
    let mut host = MockHost::new(Env::default());
    let first = Limits { gas: portion.min(limits.gas), ..*limits };
    let mut given = first.gas;
    let mut instance = Instance::new(program.clone(), invocation.clone(), &first).expect("it can begin");
    let mut steps = 0;
    let end = loop {
        let step = instance.resume(&mut host, quantum).expect("there is memory");
        steps += 1;
        if !matches!(step, Step::Ended(_)) && steps % every == 0 {
            instance = restored(instance, program, limits);
        }
        match step {
            Step::Ended(end) => break end,
            Step::OutOfGas(trap) if given == limits.gas => break End::Trap(trap),
            Step::OutOfGas(_) => {
                let more = portion.min(limits.gas - given);
                given += more;
                instance.set_gas(instance.gas_left() + more);
            }
            Step::Quantum => {}
            step => panic!("{step:?}"),
        }
    };
    let outcome = Outcome { end, gas_used: given - instance.gas_left(), guest_gas_used: 0 };
    (outcome, instance.into_final_state(), host)
}

/// Reads bytes as a script and runs it.
///
/// # Panics
/// If two of the runs differ.
pub fn run(bytes: &[u8]) {
    let Some((settings, script)) = bytes.split_first_chunk::<6>() else { return };
    let [width, tasks, mailbox, depth, quantum, portion] = settings.map(usize::from);
    let every = depth / 8 % 8;
    let program = &PROGRAMS[width % PROGRAMS.len()];
    let limits = Limits {
        gas: GAS,
        memory_pages: 6,
        call_depth: 3 + depth as u32,
        stack_words: 2_000,
        stack_refs: 1_000,
        tasks: 1 + tasks as u32 % 32,
        mailbox: mailbox as u32 % 4,
        ..Limits::default()
    };
    let script = script.get(..600).unwrap_or(script);
    let refs = vec![Ref::Bytes(Bytes::copy_from_slice(script))];
    let invocation = Invocation { function: 0, words: Vec::new(), refs };
    let mut host = MockHost::new(Env::default());
    let (outcome, state) = dotvm_reference::run(program.verified(), &invocation, &limits, &mut host)
        .expect("the invocation fits");
    let expected = (outcome, state, host);
    let mut host = MockHost::new(Env::default());
    let (outcome, state) =
        dotvm_engine::run_to_state(program, &invocation, &limits, &mut host).expect("the invocation fits");
    assert_eq!((outcome, state, host), expected, "the engine in one go");
    let quantum = 1 << (quantum % 16);
    let portion = 1 + 97 * portion as u64;
    for every in [usize::MAX, 1 + every] {
        let run = |quantum, portion| in_steps(program, &invocation, &limits, quantum, portion, every);
        assert_eq!(run(quantum, u64::MAX), expected, "steps of {quantum}, restored after {every}");
        assert_eq!(run(u64::MAX, portion), expected, "portions of {portion}, restored after {every}");
        assert_eq!(run(quantum, portion), expected, "both, restored after {every}");
    }
}
