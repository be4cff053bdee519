//! `kill -9` at random moments in a loop of calls of the token contract: every acknowledged transfer is there, none
//! is partial, the total supply holds.
//!
//! The child is this test binary again: it calls `transfer` over the store on disk and prints each transfer's number
//! after the call answered. Accounts and amounts follow from the number, so the parent knows every balance.
//! `DOTVM_LONG=1` runs 200 rounds instead of 20. The store alone has the same test in `dotdb/tests/crash.rs`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dotdb::{Database, StoreError};
use dotdb_redb::RedbStore;
use dotvm_arch::W512;
use dotvm_asm::{Options as Assembly, assemble};
use dotvm_core::container;
use dotvm_core::env::Env;
use dotvm_core::outcome::{End, Invocation};
use dotvm_runtime::{Execution, Options, Runtime};

const STORE: &str = "DOTVM_CRASH_TEST_STORE";
const FIRST: &str = "DOTVM_CRASH_TEST_FIRST";
const ACCOUNTS: u64 = 8;
const SUPPLY: u64 = ACCOUNTS * 1_000_000;

/// From, to (another account) and amount (at least 1) of a transfer.
fn transfer(number: u64) -> (u64, u64, u64) {
    let random = fastrand::Rng::with_seed(number).u64(..);
    let from = random % ACCOUNTS;
    (from, (from + 1 + (random >> 8) % (ACCOUNTS - 1)) % ACCOUNTS, 1 + (random >> 16) % 100)
}

fn call(runtime: &Runtime, function: &str, caller: u64, arguments: &[u64]) -> Execution {
    let options = Options { env: Env { caller: W512::from(caller), ..Env::default() }, ..Options::default() };
    let words: Vec<W512> = arguments.iter().map(|&word| W512::from(word)).collect();
    let invocation = |program: &dotvm_runtime::Program| {
        let function = program.module().export(function).expect("the token has this function");
        Ok(Invocation { function, words: words.clone(), refs: Vec::new() })
    };
    let (_, execution) = runtime.call("token", invocation, &options).expect("the store works");
    assert!(execution.committed, "{:?}", execution.outcome);
    execution
}

/// Not a test of its own: what the child process runs until it is killed.
#[test]
fn child() {
    let Ok(store) = std::env::var(STORE) else { return };
    let first: u64 = std::env::var(FIRST).expect("set with the store").parse().expect("a number");
    let runtime = open(Path::new(&store)).expect("the store opens");
    let mut out = std::io::stdout();
    for number in first.. {
        let (from, to, amount) = transfer(number);
        call(&runtime, "transfer", from, &[to, amount]);
        writeln!(out, "ack {number}").expect("the parent listens");
    }
}

fn open(path: &Path) -> Result<Runtime, StoreError> {
    let store = RedbStore::open_or_create(path)?;
    Ok(Runtime::new(Database::open(Arc::new(store)).expect("the database opens")))
}

/// The state after so many transfers.
fn balances_after(count: u64) -> Vec<u64> {
    let mut balances = vec![SUPPLY / ACCOUNTS; ACCOUNTS as usize];
    for number in 1..=count {
        let (from, to, amount) = transfer(number);
        balances[from as usize] -= amount;
        balances[to as usize] += amount;
    }
    balances
}

fn balances_in(path: &Path) -> Vec<u64> {
    let runtime = open(path).expect("the store opens after a kill");
    let word = |execution: Execution| match execution.outcome.end {
        End::Return { words, .. } => words[0].as_limbs()[0],
        end => panic!("{end:?}"),
    };
    assert_eq!(word(call(&runtime, "totalSupply", 0, &[])), SUPPLY);
    (0..ACCOUNTS).map(|account| word(call(&runtime, "balanceOf", 0, &[account]))).collect()
}

#[test]
fn acknowledged_calls_survive_kills() {
    let rounds = dotvm_test_modes::pick(20, 200);
    let mut random = fastrand::Rng::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bank.redb");
    {
        let source = include_str!("../../examples/token.dasm");
        let module =
            assemble(source, &Assembly::for_file("token.dasm")).expect("the example assembles").module;
        let runtime = open(&path).expect("a new store");
        runtime.deploy("token", &container::write(&module).expect("a module"), false).expect("deployed");
        for account in 0..ACCOUNTS {
            call(&runtime, "mint", 0, &[account, SUPPLY / ACCOUNTS]);
        }
    }
    let mut kept = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["child", "--exact", "--nocapture"])
            .env(STORE, &path)
            .env(FIRST, (kept + 1).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary runs again");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut acknowledged = kept;
        let mut wait = random.u64(..20);
        let note = |line: &str, acknowledged: &mut u64| {
            if let Some(number) = line.strip_prefix("ack ").and_then(|number| number.parse().ok()) {
                *acknowledged = number;
                return 1;
            }
            0
        };
        while wait > 0 {
            let line = lines.next().expect("the child runs until it is killed").expect("text");
            wait -= note(&line, &mut acknowledged);
        }
        std::thread::sleep(Duration::from_micros(random.u64(..10_000)));
        child.kill().expect("the child runs until it is killed");
        child.wait().expect("the child ends");
        for line in lines.map_while(Result::ok) {
            note(&line, &mut acknowledged);
        }
        let found = balances_in(&path);
        // The call under way when the child was killed may have been committed before it was acknowledged.
        kept = match found {
            found if found == balances_after(acknowledged) => acknowledged,
            found if found == balances_after(acknowledged + 1) => acknowledged + 1,
            found => panic!(
                "round {round}: after {acknowledged} acknowledged transfers the balances are {found:?}"
            ),
        };
    }
    assert!(kept > rounds, "only {kept} transfers in {rounds} rounds");
}
