//! Reading an in-memory store from bytecode, against calling the store directly.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use dotdb::{Database, Durability, Mode, Store, ValueKind};
use dotdb_memory::MemoryStore;
use dotvm_arch::{W512, Width, Word};
use dotvm_core::container;
use dotvm_core::outcome::Invocation;
use dotvm_runtime::{Options, Program, execute};

use super::Setup;
use crate::dotvm::{assemble, invocation, limits, returned_word};
use crate::harness::{Contender, Goal, Kind, OURS, Workload};

pub const NAME: &str = "db_get";
pub const NAME_MANY: &str = "db_get_many";
pub const NAME_AGAIN: &str = "db_get_again";

/// The name of the direct contender, which is the baseline.
const DIRECT: &str = "store called directly";

const PROGRAM: &str = include_str!("../../programs/db_get.dasm");

/// The contract and the collection to which the records belong.
const CONTRACT: &str = "bench";
const COLLECTION: &str = "records";

/// Read `i` is of key `i * KEY_FACTOR` modulo the number of keys. Odd, so that no key is left out; also
/// written in the program.
const KEY_FACTOR: u64 = 40_503;

const VALUE_BYTES: usize = 32;

/// The first byte of the value of a key.
fn first_byte(key: u64) -> u8 {
    (key * 167 + 13) as u8
}

/// Every key read once, in one transaction.
pub fn build(setup: &Setup) -> Result<Workload> {
    let keys = setup.pick(1 << 14, 1 << 11);
    build_with(NAME, keys, keys, "each of them once")
}

/// The same with more keys than fit a processor's caches.
pub fn build_many(setup: &Setup) -> Result<Workload> {
    let keys = setup.pick(1 << 18, 1 << 14);
    build_with(NAME_MANY, keys, keys, "each of them once")
}

/// Few keys read often, in one transaction.
pub fn build_again(setup: &Setup) -> Result<Workload> {
    build_with(NAME_AGAIN, 1 << 10, setup.pick(1 << 20, 1 << 16), "over and over")
}

/// `keys` is a power of two.
fn build_with(name: &'static str, keys: u64, reads: u64, how: &str) -> Result<Workload> {
    let (store, database) = filled_store(keys)?;
    let sum = (0..reads).map(|i| u64::from(first_byte(scattered(i, keys)))).sum();
    Ok(Workload {
        name,
        summary: format!(
            "{reads} reads of {keys} keys of the in-memory store in scattered order, {how}, from the same program"
        ),
        operations: reads,
        unit: "read",
        kind: Kind::Compute,
        baseline: DIRECT,
        expected: sum,
        expected_state: None,
        goal: Some(Goal::ExtraNanosPerOperation(200.0)),
        contenders: vec![
            Box::new(DbGet::new(database, keys, reads)?),
            Box::new(Direct { prefix: record_prefix(&*store)?, store, keys, reads }),
        ],
    })
}

fn scattered(i: u64, keys: u64) -> u64 {
    i.wrapping_mul(KEY_FACTOR) & (keys - 1)
}

/// A store whose collection has the records with the keys from 0 to `keys` - 1.
fn filled_store(keys: u64) -> Result<(Arc<MemoryStore>, Database)> {
    let store = Arc::new(MemoryStore::new());
    let database = Database::open(Arc::clone(&store) as Arc<dyn Store>)?;
    let mut tx = database.begin(Mode::ReadWrite)?;
    let contract = tx.contract_id(CONTRACT)?;
    let records = tx.collection(contract, COLLECTION, ValueKind::Bytes)?;
    for key in 0..keys {
        let mut value = [0; VALUE_BYTES];
        value[0] = first_byte(key);
        tx.put(records, &key.to_be_bytes(), Bytes::copy_from_slice(&value))?;
    }
    tx.commit(Durability::None)?;
    Ok((store, database))
}

/// What DotDB puts before the 8 bytes of a key: found in the store, where records are the last pairs before tag 6.
fn record_prefix(store: &dyn Store) -> Result<Vec<u8>> {
    use std::ops::Bound::{Excluded, Unbounded};
    let last = store.snapshot()?.range(Unbounded, Excluded(&[6]), dotdb::Direction::Backward)?.next();
    let (key, value) = last.context("the store is empty")??;
    let prefix = key.len().checked_sub(8).filter(|_| value.len() == VALUE_BYTES);
    Ok(key[..prefix.context("the last pair is no record")?].to_vec())
}

/// DB_GET in a loop. One run is one transaction of the runtime.
struct DbGet {
    database: Database,
    program: Program,
    invocation: Invocation,
    options: Options,
}

impl DbGet {
    fn new(database: Database, keys: u64, reads: u64) -> Result<Self> {
        let module = assemble(PROGRAM, Width::W64)?;
        Ok(Self {
            database,
            invocation: invocation(&module, "run", &[W512::from(reads), W512::from(keys - 1)])?,
            program: Program::load(&container::write(&module)?)?,
            options: Options { limits: limits(), ..Options::default() },
        })
    }
}

impl Contender for DbGet {
    fn name(&self) -> &str {
        OURS
    }

    fn run(&mut self) -> Result<u64> {
        let Self { database, program, invocation, options } = self;
        let execution = execute(database, CONTRACT, program, invocation, options)?;
        returned_word(&execution.outcome)?.try_u64().context("the sum is too wide")
    }
}

/// The same reads through the store's own interface, with the keys that DotDB uses.
struct Direct {
    store: Arc<MemoryStore>,
    prefix: Vec<u8>,
    keys: u64,
    reads: u64,
}

impl Contender for Direct {
    fn name(&self) -> &str {
        DIRECT
    }

    fn run(&mut self) -> Result<u64> {
        let snapshot = self.store.snapshot()?;
        let mut key = [&self.prefix[..], &[0; 8]].concat();
        let place = self.prefix.len();
        let mut sum = 0;
        for i in 0..self.reads {
            key[place..].copy_from_slice(&scattered(i, self.keys).to_be_bytes());
            let value = snapshot.get(&key)?.context("a key is absent")?;
            sum += u64::from(*value.first().context("a value is empty")?);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_is_left_out() {
        let keys: BTreeSet<u64> = (0..1 << 10).map(|i| scattered(i, 1 << 10)).collect();
        assert_eq!(keys.len(), 1 << 10);
        assert!(PROGRAM.contains(&format!("PUSH {KEY_FACTOR} MUL")));
    }
}
