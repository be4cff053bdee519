//! `cargo bench -p dotvm-tests --bench checkpoint`: what a checkpoint of a machine with 64 MiB of memory costs when none,
//! one in a hundred, or all of its pages have changed, against writing those pages and nothing else to the same store.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dotdb::Database;
use dotdb::store::{Batch, Durability, Store};
use dotdb_redb::RedbStore;
use dotvm_arch::W512;
use dotvm_asm::{Options as Assembly, assemble};
use dotvm_core::container;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::Invocation;
use dotvm_runtime::{Options, Program, Runtime};

/// Fills the memory, then changes so many pages in each round, which takes so much gas.
const PROGRAM: &str = "
.arch 64
.memory 1024
.entry main
.func pub main [rounds pages burn]
  .local i
  .while LGET i PUSH 1024 LT .do
    LGET i PUSH 65536 MUL LGET i ADDI 1 STORE 8
    LGET i ADDI 1 LSET i
  .end_while
  .while LGET rounds .do
    PUSH 0 LSET i
    .while LGET i LGET pages LT .do
      LGET i PUSH 65536 MUL LGET rounds STORE 0
      LGET i ADDI 1 LSET i
    .end_while
    PUSH 0 LSET i
    .while LGET i LGET burn LT .do
      LGET i ADDI 1 LSET i
    .end_while
    LGET rounds ADDI -1 LSET rounds
  .end_while
  RET
.end
";

const PAGE: usize = 1 << 16;

fn store(path: &Path) -> Arc<dyn Store> {
    Arc::new(RedbStore::open_or_create(path).expect("a store"))
}

/// Seconds and gas of a run, kept or not.
fn run(module: &[u8], rounds: u64, pages: u64, every: Option<u64>) -> (f64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new(Database::open(store(&folder.path().join("a.redb"))).expect("a database"));
    let program = Program::load(module).expect("a program");
    let words = [rounds, pages, 8_000].map(W512::from).to_vec();
    let invocation = Invocation { function: 0, words, refs: Vec::new() };
    let limits = Limits { gas: 1 << 40, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let start = Instant::now();
    let execution = match every {
        Some(every) => {
            runtime.run_kept("m", &program, module, &invocation, &options, every).expect("a run").execution
        }
        None => runtime.run("m", &program, &invocation, &options).expect("a run"),
    };
    assert!(execution.committed, "{:?}", execution.outcome);
    (start.elapsed().as_secs_f64(), execution.outcome.gas_used)
}

/// Seconds of writing so many pages durably.
fn write(pages: usize, times: u8) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(&folder.path().join("a.redb"));
    let put = |round: u8, pages: usize| {
        let mut batch = Batch::new();
        for page in 0..pages {
            let mut bytes = vec![page as u8; PAGE];
            bytes[0] = round;
            batch.put((page as u32).to_be_bytes().to_vec(), Bytes::from(bytes));
        }
        batch.put(b"head".to_vec(), Bytes::from(vec![round; 33_000]));
        store.apply(&batch, Durability::Sync).expect("written");
    };
    put(0, 1024);
    let start = Instant::now();
    (1..=times).for_each(|round| put(round, pages));
    start.elapsed().as_secs_f64() / f64::from(times)
}

fn main() {
    let module = assemble(PROGRAM, &Assembly::for_file("pages.dasm")).expect("it assembles").module;
    let module = container::write(&module).expect("a module");
    println!("{:>6} {:>14} {:>14} {:>6}", "pages", "checkpoint ms", "their rows ms", "times");
    for pages in [0, 10, 1024] {
        let (few, many) = (4, 34);
        // The runs differ in their last rounds only, with checkpoints and without: one a round.
        let ((short, gas_short), (long, gas_long)) =
            (run(&module, few, pages, None), run(&module, many, pages, None));
        let every = (gas_long - gas_short) / (many - few);
        let plain = long - short;
        let kept = |rounds| run(&module, rounds, pages, Some(every)).0;
        let checkpoint = (kept(many) - kept(few) - plain) / (many - few) as f64;
        let rows = write(pages as usize, 10);
        println!("{pages:>6} {:>14.2} {:>14.2} {:>6.2}", checkpoint * 1e3, rows * 1e3, checkpoint / rows);
    }
}
