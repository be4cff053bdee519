//! ParaDots: bytes are read as scripts of ParaDots that read, write, wait and fail, over memory, globals and state that
//! they share. They come to the same on the reference interpreter, where each has its turn, and on the engine with 1, 2
//! and 8 threads, in one go and stopped wherever the bytes say.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, FinalState, Invocation, Outcome, Ref};
use dotvm_engine::{Instance, Program, Step};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::mock_host::MockHost;

/// Gas of a run.
const GAS: u64 = 3_000_000;

/// Begins a ParaDot for each portion of the script, joins them all and sums up what they answer.
const ACTOR: &str = r#"
.arch any
.memory 1 3
.cap db.read db.write tx
.global total = 0
.rglobal trace
.func pub main [portion]{script} -> [sum]
  .local at first last sum
  .while LGET at RLGET script BLEN LT .do
    LGET at RLGET script CALL rest
    LGET portion LT JZ whole
    LGET at RLGET script CALL rest LSET portion
whole:
    LGET at LGET portion RLGET script R.SLICE
    LGET at RLGET script BGET PUSH 7 AND JNZ paradot
    PUSH -1 SPAWN thread acts JMP begun
paradot:
    PUSH -1 SPAWN paradot acts
begun:
    LSET last
    LGET first JNZ known
    LGET last LSET first
known:
    LGET at LGET portion ADD LSET at
  .end_while
  .while LGET first LGET last LE .do
    .try
      LGET first JOIN RPOP LGET sum CALL mix LSET sum LGET sum CALL mix LSET sum
    .catch
      RPOP LGET sum CALL mix LSET sum
    .end_try
    LGET first ADDI 1 LSET first
  .end_while
  LGET sum RET
.end
.func rest [at]{script} -> [bytes]
  RLGET script BLEN LGET at SUB RET
.end
; What a task does: operations of two bytes.
.func acts {script} -> [sum]{last}
  .local at op with sum
  .rlocal got
  .while LGET at ADDI 2 RLGET script BLEN LE .do
    LGET at RLGET script BGET PUSH 31 AND LSET op
    LGET at ADDI 1 RLGET script BGET LSET with
    LGET at ADDI 2 LSET at
    .try
      LGET op JTAB [load store store8 word wide fill copy add spin spend get set make part pair join slot random gas grow block fail yield send trace told load store spend spin store8 nothing]
load:
      LGET with CALL place LOAD32 0 LGET sum CALL mix LSET sum JMP nothing
store:
      LGET with CALL place LGET sum STORE32 0 JMP nothing
store8:
      LGET with CALL place LGET sum STORE8 3 JMP nothing
word:
      LGET with CALL place LGET sum STORE 0 JMP nothing
wide:
      LGET with CALL place LOAD 5 LGET sum CALL mix LSET sum JMP nothing
fill:
      LGET with CALL place LGET sum LGET with MFILL JMP nothing
copy:
      LGET with CALL place LGET with PUSH 7 XOR CALL place PUSH 40 MCOPY JMP nothing
add:
      LGET with CALL place LGET with CALL place LOAD32 0 ADDI 1 STORE32 0 JMP nothing
spin:
      LGET with CALL count JMP nothing
spend:
      LGET with PUSH 6 SHL CALL count JMP nothing
get:
      GGET total LGET sum CALL mix LSET sum JMP nothing
set:
      GGET total LGET with ADD GSET total JMP nothing
make:
      LGET with W2Z unsigned LGET with ZSHL RLSET got JMP nothing
part:
      PUSH 0 PUSH 1 RLGET script R.SLICE RLSET got JMP nothing
pair:
      RLGET got RLGET script CONS RLSET got JMP nothing
join:
      LGET with PUSH 15 AND JOIN RPOP ADD LGET sum CALL mix LSET sum JMP nothing
slot:
      LGET with PUSH 3 AND LGET with PUSH 3 AND SLOAD LGET with ADD SSTORE JMP nothing
random:
      PUSH 1 RANDOM RLSET got PUSH 0 RLGET got BGET LGET sum CALL mix LSET sum JMP nothing
gas:
      GAS LGET sum CALL mix LSET sum JMP nothing
grow:
      LGET with PUSH 63 AND JNZ nothing
      PUSH 1 MGROW LGET sum CALL mix LSET sum JMP nothing
block:
      LGET with PUSH 7 AND JNZ nothing
      LGET with ALLOC LGET sum CALL mix LSET sum JMP nothing
fail:
      LGET with PUSH 31 AND JTAB [crash throws halts deep bounds nothing]
crash:
      TRAP
throws:
      LGET with RLGET got THROW
halts:
      LGET with RLGET got HALT
deep:
      CALL forever JMP nothing
bounds:
      PUSH -1 LOAD8 0 LSET sum JMP nothing
yield:
      YIELD JMP nothing
send:
      PUSH 0 RLGET got SEND LGET sum CALL mix LSET sum JMP nothing
trace:
      LGET with PUSH 15 AND JNZ told
      RLGET got RGSET trace JMP nothing
told:
      RGGET trace RKIND LGET sum CALL mix LSET sum
nothing: NOP
    .catch
      RPOP LGET sum CALL mix LSET sum
    .end_try
  .end_while
  LGET sum RLGET got RET
.end
.func mix [x sum] -> [sum]
  LGET sum PUSH 31 MUL LGET x ADD PUSH 16777215 AND RET
.end
; Places of all alignments, some in grains that others use too, around the border of a page.
.func place [with] -> [address]
  LGET with PUSH 5 MUL ADDI 3500 RET
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
        let module = dotvm_asm::assemble(ACTOR, &options).unwrap_or_else(|error| panic!("{error}")).module;
        Arc::new(dotvm_engine::compile(module).expect("the actor verifies"))
    };
    Width::ALL.into_iter().map(program).collect()
});

static POOLS: LazyLock<Vec<ThreadPool>> = LazyLock::new(|| {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("there are threads");
    [1, 2, 8].into_iter().map(pool).collect()
});

/// What can be seen of a run.
type Seen = (Outcome, FinalState, MockHost);

/// Runs in steps of `quantum`; also how many turns were taken over from trials.
fn in_steps(
    program: &Arc<Program>,
    invocation: &Invocation,
    limits: &Limits,
    quantum: u64,
) -> (Seen, u64, u64) {
    let mut host = MockHost::new(Env::default());
    let mut instance = Instance::new(program.clone(), invocation.clone(), limits).expect("it can begin");
    let mut steps = 0;
    let end = loop {
        steps += 1;
        match instance.resume(&mut host, quantum).expect("there is memory") {
            Step::Ended(end) => break end,
            Step::OutOfGas(trap) => break End::Trap(trap),
            Step::Quantum => {}
            step => panic!("{step:?}"),
        }
    };
    let outcome = Outcome { end, gas_used: limits.gas - instance.gas_left(), guest_gas_used: 0 };
    let taken = instance.tried_ahead();
    ((outcome, instance.into_final_state(), host), steps, taken)
}

/// Reads bytes as scripts and runs them; how many ParaDots were taken over from trials with 8 threads.
///
/// # Panics
/// If two of the runs differ.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((settings, script)) = bytes.split_first_chunk::<6>() else { return 0 };
    let [width, portion, depth, heap, quantum, gas] = settings.map(u64::from);
    let program = &PROGRAMS[width as usize % PROGRAMS.len()];
    let limits = Limits {
        gas: if gas % 4 == 0 { gas << 10 } else { GAS },
        memory_pages: 3,
        call_depth: 40 + depth as u32,
        stack_words: 4_000,
        stack_refs: 2_000,
        heap_bytes: if heap % 4 == 0 { 2_000 + 16 * heap } else { 1 << 20 },
        tasks: 64,
        ..Limits::default()
    };
    let script = script.get(..1200).unwrap_or(script);
    let refs = vec![Ref::Bytes(Bytes::copy_from_slice(script))];
    let portion = 2 + portion % 64;
    let invocation = Invocation { function: 0, words: vec![W512::from(portion)], refs };
    let mut host = MockHost::new(Env::default());
    let (outcome, state) = dotvm_reference::run(program.verified(), &invocation, &limits, &mut host)
        .expect("the invocation fits");
    let expected = (outcome, state, host);
    let quantum = 1 << (6 + quantum % 16);
    let mut places = Vec::new();
    let mut taken = 0;
    for pool in POOLS.iter() {
        pool.install(|| {
            let threads = rayon::current_num_threads();
            let (seen, _, tried) = in_steps(program, &invocation, &limits, u64::MAX);
            assert_eq!(seen, expected, "{threads} threads");
            taken = tried;
            let (seen, steps, _) = in_steps(program, &invocation, &limits, quantum);
            assert_eq!(seen, expected, "{threads} threads, steps of {quantum}");
            places.push(steps);
        });
    }
    assert!(places.iter().all(|steps| *steps == places[0]), "as many steps whatever the threads: {places:?}");
    taken
}
