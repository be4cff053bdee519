//! Point reads and range scans of a loaded database, over every backend and against it.

use anyhow::{Context, Result};

use super::Setup;
use super::store_load::{GOAL, Loaded, pairs};
use crate::harness::{Contender, Kind, Workload};
use crate::subjects::{Backend, Competitor, Key, counter, key};

/// Rows of a scan.
const ROWS: u64 = 1000;
/// Read `i` is of the pair with number `i * STEP` modulo the number of pairs: no pair is left out.
const STEP: u64 = 77_773;

/// Point reads.
pub fn build_get<B: Backend>(setup: &Setup) -> Result<Workload> {
    let pairs = pairs(setup);
    let numbers: Vec<u64> = (0..pairs).map(|i| i * STEP % pairs).collect();
    let workload = Read { points: true, keys: numbers.iter().copied().map(key).collect() };
    build::<B>(
        setup,
        B::NAMES.get,
        workload,
        format!("{pairs} pairs read by key in scattered order, each once, from one snapshot"),
        (pairs, "read"),
        numbers.iter().sum(),
    )
}

/// Range scans.
pub fn build_scan<B: Backend>(setup: &Setup) -> Result<Workload> {
    let pairs = pairs(setup);
    let scans = setup.pick(500, 4);
    let mut sorted: Vec<(Key, u64)> = (0..pairs).map(|number| (key(number), number)).collect();
    sorted.sort_unstable();
    let starts: Vec<usize> = (0..scans).map(|i| (i * STEP % (pairs - ROWS)) as usize).collect();
    let expected =
        |start: &usize| sorted[*start..*start + ROWS as usize].iter().map(|(_, number)| number).sum::<u64>();
    let sum = starts.iter().map(expected).sum();
    let workload = Read { points: false, keys: starts.iter().map(|&start| sorted[start].0).collect() };
    build::<B>(
        setup,
        B::NAMES.scan,
        workload,
        format!("{scans} scans of {ROWS} rows each over {pairs} pairs, from one snapshot"),
        (scans * ROWS, "row"),
        sum,
    )
}

#[derive(Clone)]
struct Read {
    points: bool,
    keys: Vec<Key>,
}

fn build<B: Backend>(
    setup: &Setup,
    name: &'static str,
    read: Read,
    summary: String,
    (operations, unit): (u64, &'static str),
    expected: u64,
) -> Result<Workload> {
    let pairs = pairs(setup);
    let reader = |competitor: &'static Competitor| -> Box<dyn Contender> {
        Box::new(Reader { competitor, pairs, read: read.clone(), loaded: Loaded::new(setup) })
    };
    Ok(Workload {
        name,
        summary,
        operations,
        unit,
        kind: Kind::Compute,
        baseline: B::BASELINE,
        expected,
        expected_state: None,
        goal: Some(GOAL),
        contenders: B::COMPETITORS.iter().filter(|competitor| !competitor.only_commits).map(reader).collect(),
    })
}

struct Reader {
    competitor: &'static Competitor,
    pairs: u64,
    read: Read,
    loaded: Loaded,
}

impl Contender for Reader {
    fn name(&self) -> &str {
        self.competitor.name
    }

    fn prepare(&mut self) -> Result<()> {
        self.loaded.fill(self.competitor, self.pairs)?;
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let mut client = self.loaded.get()?.client()?;
        let mut sum = Some(0);
        let mut add = |value: &[u8]| sum = sum.zip(counter(value).ok()).map(|(sum, counter)| sum + counter);
        if self.read.points {
            client.get(&self.read.keys, &mut add)?;
        } else {
            client.scan(&self.read.keys, ROWS as usize, &mut |_, value| add(value))?;
        }
        sum.context("a value has no counter")
    }
}
