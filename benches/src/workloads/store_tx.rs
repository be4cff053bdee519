//! Small durable transactions of one client and of several at a time, over every backend and against it.

use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use super::Setup;
use super::store_load::{GOAL, Loaded, pairs};
use crate::harness::{Contender, Kind, Workload};
use crate::subjects::{Backend, CLIENTS, Competitor, Key, READS, key};

/// Transaction `i` begins with the pair with number `i * STEP` modulo the number of pairs.
const STEP: u64 = 77_773;
/// From one pair of a transaction to the next.
const STRIDE: u64 = 50_021;

/// Small transactions of `CLIENTS[PLACE]` clients.
pub fn build<B: Backend, const PLACE: usize>(setup: &Setup) -> Result<Workload> {
    let (pairs, clients) = (pairs(setup), CLIENTS[PLACE]);
    let transactions = setup.pick(2048, 128);
    let keys: Vec<[Key; READS]> = (0..transactions)
        .map(|i| std::array::from_fn(|j| key((i * STEP + j as u64 * STRIDE) % pairs)))
        .collect();
    let worker = |competitor: &'static Competitor| -> Box<dyn Contender> {
        Box::new(Worker {
            competitor,
            pairs,
            clients,
            keys: keys.clone(),
            loaded: Loaded::new(setup),
            sum: 0,
        })
    };
    let who = if clients == 1 { "one client".to_owned() } else { format!("{clients} clients at a time") };
    Ok(Workload {
        name: B::NAMES.tx[PLACE],
        summary: format!(
            "{transactions} serializable durable transactions of 4 reads and 2 writes on {pairs} pairs, by {who}"
        ),
        operations: transactions,
        unit: "transaction",
        kind: Kind::Durable,
        baseline: B::BASELINE,
        expected: transactions,
        expected_state: Some(2 * transactions),
        goal: Some(GOAL),
        contenders: B::COMPETITORS.iter().map(worker).collect(),
    })
}

struct Worker {
    competitor: &'static Competitor,
    pairs: u64,
    clients: usize,
    keys: Vec<[Key; READS]>,
    loaded: Loaded,
    /// Of all counters before the run.
    sum: u64,
}

impl Contender for Worker {
    fn name(&self) -> &str {
        self.competitor.name
    }

    fn prepare(&mut self) -> Result<()> {
        self.loaded.fill(self.competitor, self.pairs)?;
        self.sum = self.loaded.sum()?.0;
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let subject = self.loaded.get()?;
        let work = |keys: &[[Key; READS]]| -> Result<u64> {
            let mut client = subject.client()?;
            for keys in keys {
                client.increment(keys)?;
            }
            Ok(keys.len() as u64)
        };
        if self.clients == 1 {
            return work(&self.keys);
        }
        thread::scope(|scope| {
            let shares = self.keys.chunks(self.keys.len().div_ceil(self.clients));
            let threads: Vec<_> = shares.map(|share| scope.spawn(|| work(share))).collect();
            let done =
                threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?);
            done.sum()
        })
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let (sum, count) = self.loaded.sum()?;
        ensure!(count == self.pairs, "{count} pairs instead of {}", self.pairs);
        Ok(Some(sum.checked_sub(self.sum).context("counters were lost")?))
    }
}
