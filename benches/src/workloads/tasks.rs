//! Tasks: messages between two processes, in portions and one by one, and threads begun and joined.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;

use anyhow::Result;
use dotvm_arch::Width;

use super::Setup;
use crate::dotvm;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::peers::native::{self, Native};

pub const NAME_MESSAGES: &str = "messages";
pub const NAME_PING_PONG: &str = "ping_pong";
pub const NAME_SPAWN: &str = "spawn";

const MESSAGES: &str = include_str!("../../programs/messages.dasm");
const PING_PONG: &str = include_str!("../../programs/ping_pong.dasm");
const SPAWN: &str = include_str!("../../programs/spawn.dasm");

/// Messages there and back, a hundred at a time.
pub fn build_messages(setup: &Setup) -> Result<Workload> {
    let n = setup.pick(200_000, 20_000);
    of_messages(NAME_MESSAGES, "100 messages there, then 100 back", MESSAGES, n, 100)
}

/// Messages there and back, one at a time: a change of tasks for each.
pub fn build_ping_pong(setup: &Setup) -> Result<Workload> {
    let n = setup.pick(100_000, 10_000);
    of_messages(NAME_PING_PONG, "one message there, then one back", PING_PONG, n, 1)
}

fn of_messages(name: &'static str, what: &str, program: &str, n: u64, portion: u64) -> Result<Workload> {
    let contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(dotvm::Call::new(program, Width::W64, n)?),
        Box::new(Native(move || channels(black_box(n), portion))),
    ];
    Ok(Workload {
        name,
        summary: format!("{n} times between two processes: {what}; native: two channels between two threads"),
        operations: 2 * n,
        unit: "message",
        kind: Kind::Compute,
        baseline: native::NAME,
        expected: n * (n + 1) / 2,
        expected_state: None,
        goal: Some(Goal::OperationsPerSecond(1e6)),
        contenders,
    })
}

/// The same between two threads of the operating system.
fn channels(n: u64, portion: u64) -> u64 {
    let (there, arrivals) = mpsc::channel::<u64>();
    let (back, answers) = mpsc::channel();
    let worker = thread::spawn(move || arrivals.iter().all(|number| back.send(number + 1).is_ok()));
    let mut sum = 0;
    for start in (0..n).step_by(portion as usize) {
        for number in start..start + portion {
            there.send(number).expect("the worker is there");
        }
        sum += answers.iter().take(portion as usize).sum::<u64>();
    }
    drop(there);
    worker.join().expect("the worker ends");
    sum
}

/// Threads, each joined before the next one begins.
pub fn build_spawn(setup: &Setup) -> Result<Workload> {
    let n = setup.pick(20_000, 2_000);
    let contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(dotvm::Call::new(SPAWN, Width::W64, n)?),
        Box::new(Native(move || {
            (0..black_box(n)).map(|_| thread::spawn(|| 1).join().unwrap_or(0)).sum::<u64>() * (n + 1) / 2
        })),
    ];
    Ok(Workload {
        name: NAME_SPAWN,
        summary: format!(
            "{n} threads begun and joined, one after the other; native: threads of the operating system"
        ),
        operations: n,
        unit: "thread",
        kind: Kind::Compute,
        baseline: native::NAME,
        expected: n * (n + 1) / 2,
        expected_state: None,
        goal: Some(Goal::OperationsPerSecond(1e6)),
        contenders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_one_greater() {
        assert_eq!(channels(100, 1), 5050);
        assert_eq!(channels(100, 20), 5050);
    }
}
