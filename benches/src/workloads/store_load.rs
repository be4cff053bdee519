//! Loading a database in durable batches, over every backend and against it.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Setup;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::subjects::{Backend, Competitor, Key, Subject, Value, counter, key, value};

/// Pairs of a transaction.
const BATCH: usize = 1000;
/// What DotDB may take of the time of the backend called directly.
pub const GOAL: Goal = Goal::TimesBaseline(1.15);

/// Number of pairs that stores are loaded with.
pub fn pairs(setup: &Setup) -> u64 {
    setup.pick(200_000, 4_000)
}

pub fn build<B: Backend>(setup: &Setup) -> Result<Workload> {
    let pairs = pairs(setup);
    let loader = |competitor: &'static Competitor| -> Box<dyn Contender> {
        Box::new(Loader { competitor, pairs, loaded: Loaded::new(setup), batches: Vec::new() })
    };
    Ok(Workload {
        name: B::NAMES.load,
        summary: format!(
            "{pairs} pairs of 32 and 100 bytes put into an empty store in no order, {BATCH} a durable transaction"
        ),
        operations: pairs,
        unit: "pair",
        kind: Kind::Durable,
        baseline: B::BASELINE,
        expected: pairs,
        expected_state: Some(sum_of_counters(pairs)),
        goal: Some(GOAL),
        contenders: B::COMPETITORS.iter().filter(|competitor| !competitor.only_commits).map(loader).collect(),
    })
}

/// What the counters of a store with so many pairs add up to at first.
pub fn sum_of_counters(pairs: u64) -> u64 {
    (0..pairs).sum()
}

/// A store in a directory of its own, which is removed after it is closed.
pub struct Loaded {
    parent: std::path::PathBuf,
    store: Option<(Box<dyn Subject>, TempDir)>,
}

impl Loaded {
    /// No store yet.
    pub fn new(setup: &Setup) -> Self {
        Self { parent: setup.store_directory.clone(), store: None }
    }

    /// An empty store.
    pub fn create(&mut self, competitor: &Competitor) -> Result<&dyn Subject> {
        self.store = None;
        let directory = TempDir::new_in(&self.parent)?;
        let store = (competitor.open)(directory.path())?;
        Ok(&*self.store.insert((store, directory)).0)
    }

    /// A store with all pairs, which is made the first time.
    pub fn fill(&mut self, competitor: &Competitor, pairs: u64) -> Result<&dyn Subject> {
        if self.store.is_none() {
            let mut client = self.create(competitor)?.client()?;
            for batch in batches(pairs, 10 * BATCH) {
                client.put(&batch)?;
            }
        }
        self.get()
    }

    pub fn get(&self) -> Result<&dyn Subject> {
        Ok(&*self.store.as_ref().context("not prepared")?.0)
    }

    /// The sum of all counters, and of the pairs there are.
    pub fn sum(&self) -> Result<(u64, u64)> {
        let (mut sum, mut count) = (0, 0);
        let mut bad = None;
        let mut see = |_: &[u8], value: &[u8]| {
            match counter(value) {
                Ok(counter) => sum += counter,
                Err(error) => bad = Some(error),
            }
            count += 1;
        };
        self.get()?.client()?.scan(&[[0; 32]], usize::MAX >> 1, &mut see)?;
        bad.map_or(Ok((sum, count)), Err)
    }
}

fn batches(pairs: u64, size: usize) -> Vec<Vec<(Key, Value)>> {
    let all: Vec<(Key, Value)> = (0..pairs).map(|number| (key(number), value(number))).collect();
    all.chunks(size).map(<[_]>::to_vec).collect()
}

struct Loader {
    competitor: &'static Competitor,
    pairs: u64,
    loaded: Loaded,
    batches: Vec<Vec<(Key, Value)>>,
}

impl Contender for Loader {
    fn name(&self) -> &str {
        self.competitor.name
    }

    fn prepare(&mut self) -> Result<()> {
        if self.batches.is_empty() {
            self.batches = batches(self.pairs, BATCH);
        }
        self.loaded.create(self.competitor)?;
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let mut client = self.loaded.get()?.client()?;
        let mut loaded = 0;
        for batch in &self.batches {
            client.put(batch)?;
            loaded += batch.len() as u64;
        }
        Ok(loaded)
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let (sum, count) = self.loaded.sum()?;
        anyhow::ensure!(count == self.pairs, "{count} pairs instead of {}", self.pairs);
        // Closed here, so that it does not flush beside the next contender.
        self.loaded = Loaded { parent: self.loaded.parent.clone(), store: None };
        Ok(Some(sum))
    }
}
