//! Contracts calling contracts, against a model: bytes are read as a script of writes, events, calls and failures, which
//! three contracts of different widths carry out and a few lines of Rust imitate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dotdb::{Database, History, Settings};
use dotdb_memory::MemoryStore;
use dotvm_arch::{W512, Width};
use dotvm_asm::Options;
use dotvm_core::container;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation, Ref};
use dotvm_runtime::Runtime;

/// Nested contracts.
const DEPTH: u32 = 5;

/// Carries out a script: statuses of calls are summed up in the two bytes that it answers.
const ACTOR: &str = r#"
.arch any
.cap db.read db.write
.entry main
.collection notes bytes
.func pub main {script} -> {sum}
  .local at op sum len
  .while LGET at RLGET script BLEN LT .do
    LGET at RLGET script BGET PUSH 15 AND LSET op
    LGET op PUSH 11 GE
    .if
      LGET at ADDI 1 LSET at
    .else
      LGET at ADDI 1 RLGET script BGET
      LGET op JTAB [write event note call static delegate caught trap halt remove undo]
write:
      PUSH 7 AND LGET at ADDI 2 RLGET script BGET SSTORE
      LGET at ADDI 3 LSET at JMP next
event:
      POP LGET at ADDI 1 PUSH 1 RLGET script R.SLICE EMIT 0
      LGET at ADDI 2 LSET at JMP next
note:
      POP LGET at ADDI 1 PUSH 1 RLGET script R.SLICE RDUP 0 DB_PUT notes POP
      LGET at ADDI 2 LSET at JMP next
remove:
      POP LGET at ADDI 1 PUSH 1 RLGET script R.SLICE DB_DELETE notes LGET sum ADD PUSH 65535 AND LSET sum
      LGET at ADDI 2 LSET at JMP next
undo:
      PUSH 7 AND LSET len SAVEPOINT LGET len PUSH 99 SSTORE RCONST "undone" EMIT 0 ROLLBACK
      LGET at ADDI 2 LSET at JMP next
call:
      CALL name LGET at ADDI 2 RLGET script BGET LSET len
      PUSH -1 PUSH 0 LGET at ADDI 3 LGET len RLGET script R.SLICE XCALL 0 JMP called
static:
      CALL name LGET at ADDI 2 RLGET script BGET LSET len
      PUSH -1 PUSH 0 LGET at ADDI 3 LGET len RLGET script R.SLICE XCALL 1 JMP called
delegate:
      CALL name LGET at ADDI 2 RLGET script BGET LSET len
      PUSH -1 PUSH 0 LGET at ADDI 3 LGET len RLGET script R.SLICE XCALL 2
called:
      CALL number ADD LGET sum PUSH 5 MUL ADD ADDI 1 PUSH 65535 AND LSET sum
      LGET at LGET len ADD ADDI 3 LSET at JMP next
caught:
      POP
      .try
        LGET at RNULL THROW
      .catch User
        RPOP POP LGET at ADDI 2 LSET at
      .end_try
      JMP next
halt:
      RCONST "halted" HALT
trap:
      TRAP
next:
      NOP
    .end_if
  .end_while
  LGET sum R.W2B 2 RET
.end
.func name [which] -> {name}
  LGET which PUSH 3 MOD JTAB [a b c]
a: RCONST "a" RET
b: RCONST "b" RET
c: RCONST "c" RET
.end
.func number {output} -> [n]
  RLGET output RKIND
  .if
    RLGET output BLEN RET
  .end_if
  PUSH 0 RET
.end
.func pub get [slot] -> [value]
  LGET slot SLOAD RET
.end
.func pub has {key} -> [there]
  RLGET key DB_EXISTS notes RET
.end
"#;

/// What the contracts hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    slots: [BTreeMap<u8, u8>; 3],
    notes: [BTreeSet<u8>; 3],
    events: Vec<Vec<u8>>,
}

/// How a contract ended.
#[derive(Clone, Debug, PartialEq)]
enum Ended {
    Returned(u16),
    Halted(u8),
    Trapped,
}

impl Ended {
    fn is_success(&self) -> bool {
        matches!(self, Ended::Returned(_) | Ended::Halted(0))
    }
}

impl World {
    /// Carries a script out on the state of contract `me`; undoes what a failure leaves.
    fn call(&mut self, me: usize, script: &[u8], is_static: bool, depth: u32) -> Ended {
        let before = self.clone();
        let ended = self.run(me, script, is_static, depth).unwrap_or(Ended::Trapped);
        if !ended.is_success() {
            *self = before;
        }
        ended
    }

    /// `None`: it traps.
    fn run(&mut self, me: usize, script: &[u8], is_static: bool, depth: u32) -> Option<Ended> {
        let (mut at, mut sum) = (0, 0u32);
        while at < script.len() {
            let op = script[at] & 15;
            if op >= 11 {
                at += 1;
                continue;
            }
            let operand = *script.get(at + 1)?;
            if is_static && matches!(op, 0 | 1 | 2 | 9 | 10) {
                return None;
            }
            match op {
                0 => {
                    match *script.get(at + 2)? {
                        0 => _ = self.slots[me].remove(&(operand & 7)),
                        value => _ = self.slots[me].insert(operand & 7, value),
                    }
                    at += 1;
                }
                1 => self.events.push(vec![operand]),
                2 => _ = self.notes[me].insert(operand),
                3..=5 => {
                    let len = usize::from(*script.get(at + 2)?);
                    let inner = script.get(at + 3..at + 3 + len)?;
                    if depth >= DEPTH {
                        return None;
                    }
                    let state = if op == 5 { me } else { usize::from(operand % 3) };
                    let (status, output) = match self.call(state, inner, is_static || op == 4, depth + 1) {
                        Ended::Returned(_) => (0, 2),
                        Ended::Halted(0) => (0, 6),
                        Ended::Halted(_) => (1, 6),
                        Ended::Trapped => (2, 0),
                    };
                    sum = (sum * 5 + status + output + 1) & 0xFFFF;
                    at += 1 + len;
                }
                7 => return None,
                8 => return Some(Ended::Halted(operand)),
                9 => sum = (sum + u32::from(self.notes[me].remove(&operand))) & 0xFFFF,
                _ => {}
            }
            at += 2;
        }
        Some(Ended::Returned(sum as u16))
    }
}

/// Contracts `a`, `b` and `c` of 32, 128 and 512 bits.
struct Contracts {
    runtime: Runtime,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Contracts {
    fn new() -> Contracts {
        let settings = Settings { history: History::None, state_root: false };
        let database = Database::open_or_create(Arc::new(MemoryStore::new()), settings);
        let runtime = Runtime::new(database.expect("a store in memory opens"));
        for (name, width) in NAMES.into_iter().zip([Width::W32, Width::W128, Width::W512]) {
            let options = Options { width: Some(width), ..Options::default() };
            let module = dotvm_asm::assemble(ACTOR, &options).expect("the actor assembles").module;
            let bytes = container::write(&module).expect("the actor can be written");
            runtime.deploy(name, &bytes, false).expect("the actor is deployed");
        }
        Contracts { runtime }
    }

    fn call(&self, name: &str, function: &str, words: &[u64], refs: &[Ref]) -> (End, Vec<Vec<u8>>) {
        let options = dotvm_runtime::Options {
            limits: Limits { contract_depth: DEPTH, ..Limits::default() },
            durability: dotdb::Durability::None,
            ..dotvm_runtime::Options::default()
        };
        let invocation = |program: &dotvm_runtime::Program| {
            Ok(Invocation {
                function: program.module().export(function).expect("the actor exports it"),
                words: words.iter().map(|&word| W512::from(word)).collect(),
                refs: refs.to_vec(),
            })
        };
        let (_, execution) = self.runtime.call(name, invocation, &options).expect("the call is made");
        (execution.outcome.end, execution.events.into_iter().map(|event| event.data.to_vec()).collect())
    }

    fn ask(&self, name: &str, function: &str, words: &[u64], refs: &[Ref]) -> W512 {
        match self.call(name, function, words, refs).0 {
            End::Return { words, .. } => words[0],
            end => panic!("{function} of {name} ends with {end:?}"),
        }
    }
}

/// Carries out scripts, one after the other, separated by 0xFF, and compares.
///
/// # Panics
/// If contracts and model disagree.
pub fn run(bytes: &[u8]) {
    let contracts = Contracts::new();
    let mut world = World::default();
    for script in bytes.split(|&byte| byte == 0xFF) {
        world.events.clear();
        let expected = world.call(0, script, false, 1);
        let refs = [Ref::Bytes(Bytes::copy_from_slice(script))];
        let (end, events) = contracts.call("a", "main", &[], &refs);
        let found = match &end {
            End::Return { refs, .. } => match &refs[0] {
                Ref::Bytes(sum) => Ended::Returned(u16::from_be_bytes(sum[..].try_into().unwrap())),
                other => panic!("the actor answers {other:?}"),
            },
            End::Halt { code, .. } => Ended::Halted(code.to::<u8>()),
            End::Trap(_) => Ended::Trapped,
        };
        assert_eq!(found, expected, "{script:?}: {end:?}");
        assert_eq!(events, world.events, "{script:?}");
    }
    for (index, name) in NAMES.into_iter().enumerate() {
        for slot in 0..8 {
            let expected = world.slots[index].get(&slot).copied().unwrap_or(0);
            assert_eq!(
                contracts.ask(name, "get", &[slot.into()], &[]),
                W512::from(expected),
                "{name} {slot}"
            );
        }
        for key in (0..=255u8).filter(|key| world.notes[index].contains(key) || bytes.contains(key)) {
            let there = contracts.ask(name, "has", &[], &[Ref::Bytes(Bytes::copy_from_slice(&[key]))]);
            assert_eq!(there == W512::from(1), world.notes[index].contains(&key), "{name} {key}");
        }
    }
}

/// A random script in which calls nest and most things succeed.
pub fn random_script(random: &mut fastrand::Rng, len: usize, out: &mut Vec<u8>) {
    let end = out.len() + len;
    while out.len() < end {
        let left = end - out.len();
        match random.u8(..24) {
            0..=4 => out.extend([0, random.u8(..8), random.u8(..4)]),
            5..=7 => out.extend([1, random.u8(..200)]),
            8..=10 => out.extend([2, random.u8(..6)]),
            11 | 12 => out.extend([9, random.u8(..6)]),
            13 => out.extend([10, random.u8(..8)]),
            14 => out.extend([6, 0]),
            15 if random.u8(..3) == 0 => out.extend([7, 0]),
            16 if random.u8(..3) == 0 => out.extend([8, random.u8(..2)]),
            17..=23 if left > 6 => {
                let inner = random.usize(..left.min(200) - 3);
                out.extend([3 + random.u8(..3), random.u8(..3), inner as u8]);
                let start = out.len();
                random_script(random, inner, out);
                // The last piece may reach further than it was given.
                out.truncate(start + inner);
                out.resize(start + inner, 15);
            }
            _ => out.push(15),
        }
    }
}
