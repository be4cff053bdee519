//! Contracts called by several threads at a time: every call counts once, and what cannot be settled is said.

use std::ops::Bound;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dotdb::store::{Batch, PairIter, Snapshot, StoreError, StoreStats};
use dotdb::{Database, Direction, Durability, Mode, Store};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use dotvm_arch::{W512, Width};
use dotvm_core::builder::CodeBuilder;
use dotvm_core::capability::Capability;
use dotvm_core::container;
use dotvm_core::module::{Export, Function, Module, Signature};
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{End, Invocation};
use dotvm_runtime::{Execution, Options, Program, Runtime, RuntimeError};

/// Adds 1 to slot 0 and answers the sum.
fn increment(code: &mut CodeBuilder) {
    code.op(Op::Push, &[0]);
    code.op(Op::Push, &[0]);
    code.op(Op::Sload, &[]);
    code.op(Op::Push, &[1]);
    code.op(Op::Add, &[]);
    code.op(Op::Ltee, &[0]);
    code.op(Op::Sstore, &[]);
}

/// A module that exports `add`, which adds 1 to slot 0 and answers the sum, `add_and_commit`, which commits that
/// itself and answers what TX_COMMIT did, and `add_twice`, which does it in two transactions and leaves the second one
/// open.
fn module() -> Vec<u8> {
    let mut module = Module::new("counter", Width::W64);
    module.signatures = vec![Signature { words_out: 1, ..Signature::default() }];
    let mut add = CodeBuilder::new();
    increment(&mut add);
    add.op(Op::Lget, &[0]);
    add.op(Op::Ret, &[]);
    let mut add_and_commit = CodeBuilder::new();
    increment(&mut add_and_commit);
    add_and_commit.op(Op::TxCommit, &[]);
    add_and_commit.op(Op::Ret, &[]);
    let mut add_twice = CodeBuilder::new();
    increment(&mut add_twice);
    add_twice.op(Op::TxCommit, &[]);
    add_twice.op(Op::Pop, &[]);
    add_twice.op(Op::TxBegin, &[0]);
    increment(&mut add_twice);
    add_twice.op(Op::Lget, &[0]);
    add_twice.op(Op::Ret, &[]);
    module.functions = [add, add_and_commit, add_twice]
        .into_iter()
        .map(|code| Function {
            signature: 0,
            word_locals: 1,
            ref_locals: 0,
            window: 0,
            code: code.finish().bytes,
        })
        .collect();
    module.capabilities = vec![Capability::Tx];
    module.exports = vec![
        Export { name: "add".into(), function: 0 },
        Export { name: "add_and_commit".into(), function: 1 },
        Export { name: "add_twice".into(), function: 2 },
    ];
    container::write(&module).unwrap()
}

fn runtime(store: Arc<dyn Store>) -> Runtime {
    let runtime = Runtime::new(Database::open(store).unwrap());
    runtime.deploy("counter", &module(), false).unwrap();
    runtime
}

fn call(runtime: &Runtime, function: &str, options: &Options) -> Result<Execution, RuntimeError> {
    let invocation = |program: &Program| {
        let function = program.module().export(function).expect("it is exported");
        Ok(Invocation { function, words: Vec::new(), refs: Vec::new() })
    };
    runtime.call("counter", invocation, options).map(|(_, execution)| execution)
}

fn word(execution: &Execution) -> u64 {
    match &execution.outcome.end {
        End::Return { words, .. } if words.len() == 1 => {
            assert_eq!(words[0], W512::from(words[0].as_limbs()[0]));
            words[0].as_limbs()[0]
        }
        other => panic!("{other:?}"),
    }
}

fn slot_0(runtime: &Runtime) -> u64 {
    let mut tx = runtime.database().begin(Mode::ReadOnly).unwrap();
    let contract = tx.contract_id("counter").unwrap();
    let value = tx.slot_get(contract, &[]).unwrap();
    value.as_bytes().iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Every call is made once, however often it was tried; each answers another sum. Answers how many were tried again.
fn count(store: Arc<dyn Store>, threads: u64, calls: u64, durability: Durability) -> u64 {
    let runtime = runtime(store);
    let options = Options { durability, retries: 1_000, ..Options::default() };
    let (sums, again) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..calls {
                    let execution = call(&runtime, "add", &options).unwrap();
                    assert!(execution.committed && execution.changed_keys == 1);
                    again.fetch_add(u64::from(execution.attempts) - 1, Ordering::Relaxed);
                    sums.lock().unwrap().push(word(&execution));
                }
            });
        }
    });
    let mut sums = sums.into_inner().unwrap();
    sums.sort_unstable();
    assert!(sums.into_iter().eq(1..=threads * calls), "a sum is missing or was answered twice");
    assert_eq!(slot_0(&runtime), threads * calls);
    let again = again.into_inner();
    println!("{} calls by {threads} threads in {:?}, {again} tried again", threads * calls, start.elapsed());
    again
}

#[test]
fn increments_of_many_callers_are_all_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut again = 0;
    for durability in [Durability::None, Durability::Group, Durability::Sync] {
        again += count(Arc::new(MemoryStore::new()), 4, 300, durability);
        let path = directory.path().join(format!("{durability:?}.redb"));
        again += count(Arc::new(RedbStore::open_or_create(path).unwrap()), 4, 50, durability);
    }
    assert!(again > 0, "no call was ever tried again: nothing was shown");
}

#[test]
fn callers_of_one_thread_are_never_tried_again() {
    assert_eq!(count(Arc::new(MemoryStore::new()), 1, 300, Durability::Sync), 0);
}

/// Calls a function while another call of `add` is committed between its begin and its first read, in each of the
/// first `rivals` attempts.
fn call_with_rivals(
    runtime: &Runtime,
    function: &str,
    options: &Options,
    rivals: u32,
) -> Result<Execution, RuntimeError> {
    let attempts = AtomicU32::new(0);
    let invocation = |program: &Program| {
        if attempts.fetch_add(1, Ordering::Relaxed) < rivals {
            assert_eq!(call(runtime, "add", &Options::default())?.attempts, 1);
        }
        let function = program.module().export(function).expect("it is exported");
        Ok(Invocation { function, words: Vec::new(), refs: Vec::new() })
    };
    runtime.call("counter", invocation, options).map(|(_, execution)| execution)
}

#[test]
fn a_call_is_tried_again_until_nobody_is_in_its_way() {
    let runtime = runtime(Arc::new(MemoryStore::new()));
    let execution = call_with_rivals(&runtime, "add", &Options::default(), 3).unwrap();
    assert_eq!((execution.attempts, word(&execution)), (4, 4));
    assert!(execution.committed);
    assert_eq!(slot_0(&runtime), 4);
}

#[test]
fn tries_are_bounded_and_a_last_conflict_is_told() {
    for (retries, sentence) in [(0, "(tried 1 time)"), (1, "(tried 2 times)"), (4, "(tried 5 times)")] {
        let runtime = runtime(Arc::new(MemoryStore::new()));
        let options = Options { retries, ..Options::default() };
        let error = call_with_rivals(&runtime, "add", &options, u32::MAX).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the transaction conflicts with another: another transaction changed slot 0 of contract 1; \
                 try it again {sentence}"
            )
        );
        assert!(
            matches!(error, RuntimeError::Conflict { attempts, .. } if attempts == retries + 1),
            "{error:?}"
        );
        assert_eq!(slot_0(&runtime), u64::from(retries) + 1, "only the others' calls are there");
    }
}

#[test]
fn a_program_learns_of_a_conflict_from_tx_commit() {
    let runtime = runtime(Arc::new(MemoryStore::new()));
    let execution = call_with_rivals(&runtime, "add_and_commit", &Options::default(), 1).unwrap();
    assert_eq!((word(&execution), execution.attempts, execution.changed_keys), (0, 1, 0));
    assert_eq!(slot_0(&runtime), 1, "the other's call alone");
    let execution = call_with_rivals(&runtime, "add_and_commit", &Options::default(), 0).unwrap();
    assert_eq!((word(&execution), execution.attempts, execution.changed_keys), (1, 1, 1));
    assert_eq!(slot_0(&runtime), 2);
}

/// What a store with a rival does once, and at which read of a slot.
type Rival = Arc<Mutex<Option<(u32, Box<dyn FnOnce() + Send>)>>>;

/// The in-memory store with a rival, who acts at a read of a slot from one of its snapshots.
struct WithRival {
    inner: MemoryStore,
    rival: Rival,
}

struct Watched {
    inner: Arc<dyn Snapshot>,
    rival: Rival,
}

impl Store for WithRival {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(Watched { inner: self.inner.snapshot()?, rival: Arc::clone(&self.rival) }))
    }

    fn apply(&self, batch: &Batch, durability: dotdb::store::Durability) -> Result<(), StoreError> {
        self.inner.apply(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats()
    }
}

impl Snapshot for Watched {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        // Slots have the tag 3.
        if key.first() == Some(&3) {
            let mut rival = self.rival.lock().unwrap();
            if let Some((left, _)) = rival.as_mut() {
                *left -= 1;
            }
            let acts = rival.take_if(|(left, _)| *left == 0);
            drop(rival);
            if let Some((_, act)) = acts {
                act();
            }
        }
        self.inner.get(key)
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        self.inner.range(from, to, direction)
    }
}

/// Calls `add_twice` while another call of `add` is committed at its n-th read of the slot.
fn add_twice_with_rival(read: u32) -> (Result<Execution, RuntimeError>, u64) {
    let rival = Rival::default();
    let store = WithRival { inner: MemoryStore::new(), rival: Arc::clone(&rival) };
    let runtime = runtime(Arc::new(store));
    let other = Runtime::new(runtime.database().clone());
    let act = Box::new(move || assert_eq!(call(&other, "add", &Options::default()).unwrap().attempts, 1));
    *rival.lock().unwrap() = Some((read, act));
    let result = call(&runtime, "add_twice", &Options::default());
    assert!(rival.lock().unwrap().is_none(), "the rival was there");
    (result, slot_0(&runtime))
}

/// What the program committed stays, and the rest is not tried again: the whole would count twice.
#[test]
fn a_conflict_after_the_programs_own_commit_is_told_apart() {
    let (result, sum) = add_twice_with_rival(2);
    let error = result.unwrap_err();
    assert!(matches!(&error, RuntimeError::LateConflict(conflict) if conflict.is_conflict()), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the transaction conflicts with another: another transaction changed slot 0 of contract 1; try it again; \
         earlier transactions of the execution are committed, so it was not repeated"
    );
    assert_eq!(sum, 2, "the program's first transaction and the other's call");
}

/// With the rival in the first transaction, which the program learns of, its second one is all there is, and may be
/// repeated.
#[test]
fn a_conflict_before_the_programs_own_commit_is_not_late() {
    let (result, sum) = add_twice_with_rival(1);
    let execution = result.unwrap();
    assert_eq!((word(&execution), execution.attempts, execution.changed_keys), (2, 1, 1));
    assert_eq!(sum, 2, "the other's call and the program's second transaction");
}
