//! Measuring: contenders of a workload run in turn, each checked, each timed on two clocks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};

/// Contenders whose name starts with this are ours: goals and losses are reported for them.
pub const OURS: &str = "DotVM";
/// And those whose name starts with this.
pub const OUR_DATABASE: &str = "DotDB";

/// One way of doing a workload's work.
pub trait Contender {
    /// The name in the table.
    fn name(&self) -> &str;

    /// Brings the contender to its starting state. Called before every run, not timed.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Does the work once and returns its checksum. This alone is timed.
    fn run(&mut self) -> Result<u64>;

    /// A checksum of the state which the last run left behind, if the workload leaves any. Not timed.
    fn audit(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// What a workload is bound by, which decides the clock its ratios are taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Thread CPU time; one untimed warm-up run.
    Compute,
    /// Waits for the disk: wall time, no warm-up, and at most [`DURABLE_ROUNDS`] rounds.
    Durable,
}

/// The most rounds a [`Kind::Durable`] workload is given.
pub const DURABLE_ROUNDS: usize = 5;

/// What DotVM has set out to reach on a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this many times the baseline's time.
    TimesBaseline(f64),
    /// At most this many nanoseconds per operation on top of the baseline's.
    ExtraNanosPerOperation(f64),
    /// At least this many operations per second.
    OperationsPerSecond(f64),
}

/// One piece of work, everybody who does it, and the answer they must all give.
pub struct Workload {
    /// Short name, as given to `--only`.
    pub name: &'static str,
    /// What is computed, in one line.
    pub summary: String,
    /// How often `unit` happens in one run.
    pub operations: u64,
    /// What is counted, in the singular.
    pub unit: &'static str,
    /// What the work is bound by.
    pub kind: Kind,
    /// The contender others are compared with, unless the caller chooses another.
    pub baseline: &'static str,
    /// The checksum that every run must return.
    pub expected: u64,
    /// The checksum that every audit must return, where the work leaves state behind.
    pub expected_state: Option<u64>,
    /// What DotVM has set out to reach.
    pub goal: Option<Goal>,
    /// Who takes part, in table order.
    pub contenders: Vec<Box<dyn Contender>>,
}

/// The times of one contender, one entry a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Thread CPU time.
    pub cpu: Vec<Duration>,
    /// Wall time.
    pub wall: Vec<Duration>,
}

/// Median and extremes of one contender's times on one clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median; the mean of the middle two when their number is even.
    pub median: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
}

impl Spread {
    /// The spread of `times`, or nothing if there are none.
    pub fn of(times: &[Duration]) -> Option<Self> {
        let mut nanos: Vec<u128> = times.iter().map(Duration::as_nanos).collect();
        nanos.sort_unstable();
        let (&min, &max) = (nanos.first()?, nanos.last()?);
        let (low, high) = (nanos[(nanos.len() - 1) / 2], nanos[nanos.len() / 2]);
        Some(Self { median: (low + high) as f64 / 2.0, min: min as f64, max: max as f64 })
    }

    /// Whether the two ranges have a value in common, so that their order proves little.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// Runs every contender of `workload` for `rounds` rounds, in turn (A B C, A B C), and returns their
/// times in the same order.
///
/// # Errors
/// A contender that fails, or that returns another checksum than the workload's.
pub fn measure(workload: &mut Workload, rounds: usize) -> Result<Vec<Samples>> {
    let rounds = match workload.kind {
        Kind::Compute => rounds,
        Kind::Durable => rounds.min(DURABLE_ROUNDS),
    };
    let (expected, expected_state) = (workload.expected, workload.expected_state);
    let name = workload.name;
    let mut samples = vec![Samples::default(); workload.contenders.len()];

    if workload.kind == Kind::Compute {
        for contender in &mut workload.contenders {
            once(contender.as_mut(), expected, expected_state)
                .with_context(|| format!("workload {name}, {}, warm-up", contender.name()))?;
        }
    }
    for round in 1..=rounds {
        for (contender, samples) in workload.contenders.iter_mut().zip(&mut samples) {
            let (cpu, wall) = once(contender.as_mut(), expected, expected_state)
                .with_context(|| format!("workload {name}, {}, round {round}", contender.name()))?;
            samples.cpu.push(cpu);
            samples.wall.push(wall);
        }
    }
    Ok(samples)
}

/// One prepared, timed and checked run: thread CPU time and wall time.
fn once(
    contender: &mut dyn Contender,
    expected: u64,
    expected_state: Option<u64>,
) -> Result<(Duration, Duration)> {
    contender.prepare().context("preparing failed")?;
    let wall_start = Instant::now();
    let cpu_start = thread_cpu_time();
    let checksum = contender.run();
    let cpu = thread_cpu_time().saturating_sub(cpu_start);
    let wall = wall_start.elapsed();

    let checksum = checksum.context("the run failed")?;
    ensure!(checksum == expected, "wrong checksum: {checksum:#018x} instead of {expected:#018x}");
    let state = contender.audit().context("reading the state failed")?;
    ensure!(
        state == expected_state,
        "wrong state left behind: checksum {state:x?} instead of {expected_state:x?}"
    );
    Ok((cpu, wall))
}

/// CPU time that the calling thread has used, user and system together.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    struct Fake {
        name: &'static str,
        answer: u64,
        state: Option<u64>,
        log: Rc<RefCell<String>>,
    }

    impl Contender for Fake {
        fn name(&self) -> &str {
            self.name
        }

        fn run(&mut self) -> Result<u64> {
            self.log.borrow_mut().push_str(self.name);
            Ok(self.answer)
        }

        fn audit(&mut self) -> Result<Option<u64>> {
            Ok(self.state)
        }
    }

    fn workload(kind: Kind, answers: [u64; 2], states: [Option<u64>; 2]) -> (Workload, Rc<RefCell<String>>) {
        let log = Rc::new(RefCell::new(String::new()));
        let contenders = ["A", "B"]
            .into_iter()
            .zip(answers)
            .zip(states)
            .map(|((name, answer), state)| {
                Box::new(Fake { name, answer, state, log: Rc::clone(&log) }) as Box<dyn Contender>
            })
            .collect();
        let workload = Workload {
            name: "fake",
            summary: String::new(),
            operations: 1,
            unit: "run",
            kind,
            baseline: "A",
            expected: 7,
            expected_state: Some(9),
            goal: None,
            contenders,
        };
        (workload, log)
    }

    #[test]
    fn contenders_take_turns_after_a_warm_up() {
        let (mut fakes, log) = workload(Kind::Compute, [7, 7], [Some(9), Some(9)]);
        let samples = measure(&mut fakes, 3).unwrap();
        assert_eq!(*log.borrow(), "ABABABAB");
        assert!(samples.iter().all(|samples| samples.cpu.len() == 3 && samples.wall.len() == 3));
    }

    #[test]
    fn durable_work_has_no_warm_up_and_few_rounds() {
        let (mut fakes, log) = workload(Kind::Durable, [7, 7], [Some(9), Some(9)]);
        measure(&mut fakes, 50).unwrap();
        assert_eq!(*log.borrow(), "AB".repeat(DURABLE_ROUNDS));
    }

    #[test]
    fn a_wrong_answer_or_a_wrong_state_is_an_error() {
        let (mut fakes, _) = workload(Kind::Durable, [7, 8], [Some(9), Some(9)]);
        let message = format!("{:#}", measure(&mut fakes, 1).unwrap_err());
        assert!(
            message.contains("workload fake, B, round 1: wrong checksum: 0x0000000000000008"),
            "{message}"
        );

        let (mut fakes, _) = workload(Kind::Compute, [7, 7], [Some(9), None]);
        let message = format!("{:#}", measure(&mut fakes, 1).unwrap_err());
        assert!(message.contains("workload fake, B, warm-up: wrong state"), "{message}");
    }

    #[test]
    fn medians_and_extremes() {
        let times = |nanos: &[u64]| nanos.iter().copied().map(Duration::from_nanos).collect::<Vec<_>>();
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&times(&[5])), Some(Spread { median: 5.0, min: 5.0, max: 5.0 }));
        assert_eq!(Spread::of(&times(&[9, 1, 4])), Some(Spread { median: 4.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(&times(&[9, 1, 4, 5])), Some(Spread { median: 4.5, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn ranges_overlap_when_they_share_a_value() {
        let spread = |min, max| Spread { median: min, min, max };
        assert!(spread(1.0, 3.0).overlaps(&spread(3.0, 4.0)));
        assert!(!spread(1.0, 2.0).overlaps(&spread(3.0, 4.0)));
    }

    #[test]
    fn work_takes_thread_time_and_sleep_does_not() {
        let start = thread_cpu_time();
        std::thread::sleep(Duration::from_millis(30));
        let asleep = thread_cpu_time() - start;
        assert!(asleep < Duration::from_millis(15), "sleeping took {asleep:?} of CPU time");
        let mut x = 1u64;
        while thread_cpu_time() - start - asleep < Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }
}
