//! From times to findings: ratios, goals met or missed, losses.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::harness::{Goal, Kind, OUR_DATABASE, OURS, Samples, Spread, Workload};
use crate::machine::Machine;
use crate::peers::native;

/// Chooses the fastest contender of each workload as its baseline.
pub const FASTEST: &str = "fastest";

/// One run of the suite.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The command that repeats it.
    pub command: String,
    /// Whether the workloads were reduced, which makes the figures unfit for publication.
    pub quick: bool,
    /// Where it ran.
    pub machine: Machine,
    /// What was measured, in table order.
    pub workloads: Vec<Measured>,
}

/// The findings on one workload.
#[derive(Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Short name.
    pub name: String,
    /// What is computed.
    pub summary: String,
    /// How often `unit` happens in one run.
    pub operations: u64,
    /// What is counted.
    pub unit: String,
    /// The clock of `nanos_per_operation` and of all comparisons.
    pub clock: Clock,
    /// How many rounds were timed.
    pub rounds: usize,
    /// The contender that the others are compared with; none if nobody took part.
    pub baseline: Option<String>,
    /// One row a contender.
    pub rows: Vec<Row>,
    /// What became of DotVM's goal, one sentence for each of its contenders.
    pub goals: Vec<Finding>,
    /// Where DotVM is slower than a rival, one sentence each.
    pub losses: Vec<String>,
}

/// Which clock decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// CPU time of the thread that works.
    ThreadCpu,
    /// Time on the wall.
    Wall,
}

/// The findings on one contender.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub contender: String,
    /// Thread CPU time in nanoseconds.
    pub cpu_nanos: Times,
    /// Wall time in nanoseconds.
    pub wall_nanos: Times,
    /// Median on the deciding clock by the number of operations.
    pub nanos_per_operation: f64,
    /// Median on the deciding clock by the baseline's.
    pub times_baseline: f64,
    /// Whether its range and the baseline's overlap, so that their order proves little.
    pub overlaps_baseline: bool,
}

/// Median and extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// Median.
    pub median: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
}

impl From<Spread> for Times {
    fn from(Spread { median, min, max }: Spread) -> Self {
        Self { median, min, max }
    }
}

/// Whether a goal was met, and how far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Whether it was met.
    pub met: bool,
    /// The figures, in a sentence.
    pub sentence: String,
}

/// The findings on `workload` from the times that [`crate::harness::measure`] returned. `baseline`
/// overrides the workload's own where that contender takes part; [`FASTEST`] chooses the fastest.
///
/// # Errors
/// A workload whose own baseline does not take part, or that was never run.
pub fn evaluate(workload: &Workload, samples: &[Samples], baseline: Option<&str>) -> Result<Measured> {
    let clock = match workload.kind {
        Kind::Compute => Clock::ThreadCpu,
        Kind::Durable => Clock::Wall,
    };
    let mut measured = Measured {
        name: workload.name.to_owned(),
        summary: workload.summary.clone(),
        operations: workload.operations,
        unit: workload.unit.to_owned(),
        clock,
        rounds: samples.iter().map(|samples| samples.cpu.len()).min().unwrap_or(0),
        baseline: None,
        rows: Vec::new(),
        goals: Vec::new(),
        losses: Vec::new(),
    };
    let mut spreads = Vec::new();
    for (contender, samples) in workload.contenders.iter().zip(samples) {
        let (Some(cpu), Some(wall)) = (Spread::of(&samples.cpu), Spread::of(&samples.wall)) else {
            anyhow::bail!("workload {}: {} was never run", workload.name, contender.name());
        };
        let deciding = match clock {
            Clock::ThreadCpu => cpu,
            Clock::Wall => wall,
        };
        spreads.push((contender.name(), cpu, wall, deciding));
    }
    if spreads.is_empty() {
        return Ok(measured);
    }

    let named = |name: &str| spreads.iter().find(|(contender, ..)| *contender == name);
    let chosen = match baseline {
        Some(FASTEST) => spreads.iter().min_by(|a, b| a.3.median.total_cmp(&b.3.median)),
        Some(name) => named(name).or_else(|| named(workload.baseline)),
        None => named(workload.baseline),
    };
    ensure!(
        chosen.is_some(),
        "workload {}: its baseline {} does not take part",
        workload.name,
        workload.baseline
    );
    let Some((baseline_name, .., base)) = chosen else { return Ok(measured) };
    measured.baseline = Some((*baseline_name).to_owned());
    for (name, cpu, wall, deciding) in &spreads {
        measured.rows.push(Row {
            contender: (*name).to_owned(),
            cpu_nanos: (*cpu).into(),
            wall_nanos: (*wall).into(),
            nanos_per_operation: deciding.median / workload.operations as f64,
            times_baseline: deciding.median / base.median,
            overlaps_baseline: name != baseline_name && deciding.overlaps(base),
        });
    }

    // Goals are against the workload's own baseline, whichever the table is compared with.
    let rows = &measured.rows;
    let own_baseline = rows.iter().find(|row| row.contender == workload.baseline);
    for ours in rows.iter().filter(|row| is_ours(&row.contender)) {
        if let Some(goal) = workload.goal {
            measured.goals.extend(judge(workload, goal, ours, own_baseline));
        }
        for rival in rows {
            let slower = ours.nanos_per_operation / rival.nanos_per_operation;
            let is_rival = !is_ours(&rival.contender) && rival.contender != native::NAME;
            if is_rival && slower > 1.0 {
                measured.losses.push(format!(
                    "{}: {} is {slower:.2}x slower than {}",
                    workload.name, ours.contender, rival.contender
                ));
            }
        }
    }
    Ok(measured)
}

fn is_ours(contender: &str) -> bool {
    contender.starts_with(OURS) || contender.starts_with(OUR_DATABASE)
}

/// What became of `goal`, unless it needs a baseline that did not take part.
fn judge(workload: &Workload, goal: Goal, ours: &Row, baseline: Option<&Row>) -> Option<Finding> {
    let name = format!("{}: {}", workload.name, ours.contender);
    let (met, sentence) = match goal {
        Goal::TimesBaseline(limit) => {
            let baseline = baseline?;
            let times = ours.nanos_per_operation / baseline.nanos_per_operation;
            let rival = &baseline.contender;
            (
                times <= limit,
                format!("{name} takes {times:.2} times the time of {rival}, at most {limit:.2} wanted"),
            )
        }
        Goal::ExtraNanosPerOperation(limit) => {
            let baseline = baseline?;
            let extra = ours.nanos_per_operation - baseline.nanos_per_operation;
            let (unit, rival) = (workload.unit, &baseline.contender);
            (
                extra <= limit,
                format!("{name} takes {extra:.0} ns a {unit} on top of {rival}, at most {limit:.0} wanted"),
            )
        }
        Goal::OperationsPerSecond(limit) => {
            let rate = 1e9 / ours.nanos_per_operation;
            let unit = workload.unit;
            let (rate_millions, limit_millions) = (rate / 1e6, limit / 1e6);
            (
                rate >= limit,
                format!(
                    "{name} does {rate_millions:.1} million {unit}s/s, at least {limit_millions:.1} million wanted"
                ),
            )
        }
    };
    Some(Finding { met, sentence })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::Contender;

    struct Named(&'static str);

    impl Contender for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn run(&mut self) -> Result<u64> {
            Ok(0)
        }
    }

    /// DotVM, rival and native with these CPU times in microseconds; a hundred operations.
    fn evaluated(ours: &[u64], rival: &[u64], goal: Goal, baseline: Option<&str>) -> Measured {
        let workload = Workload {
            name: "work",
            summary: String::new(),
            operations: 100,
            unit: "step",
            kind: Kind::Compute,
            baseline: "rival",
            expected: 0,
            expected_state: None,
            goal: Some(goal),
            contenders: vec![
                Box::new(Named("DotVM")),
                Box::new(Named("rival")),
                Box::new(Named(native::NAME)),
            ],
        };
        let samples = |micros: &[u64]| {
            let cpu: Vec<Duration> = micros.iter().copied().map(Duration::from_micros).collect();
            Samples { wall: vec![Duration::from_secs(1); cpu.len()], cpu }
        };
        evaluate(&workload, &[samples(ours), samples(rival), samples(&[1])], baseline).unwrap()
    }

    #[test]
    fn a_win_and_a_goal_that_is_met() {
        let measured = evaluated(&[40], &[80], Goal::TimesBaseline(0.5), None);
        assert_eq!(measured.rows[0].times_baseline, 0.5);
        assert_eq!(measured.rows[0].nanos_per_operation, 400.0);
        assert!(measured.goals[0].met, "{measured:?}");
        assert_eq!(measured.losses, Vec::<String>::new());
    }

    #[test]
    fn a_loss_is_named_even_with_another_baseline() {
        for baseline in [None, Some(FASTEST), Some(native::NAME), Some("absent")] {
            let measured = evaluated(&[90, 110, 100], &[80], Goal::TimesBaseline(1.2), baseline);
            assert_eq!(measured.losses, ["work: DotVM is 1.25x slower than rival"]);
            assert_eq!(
                measured.goals,
                [Finding {
                    met: false,
                    sentence: "work: DotVM takes 1.25 times the time of rival, at most 1.20 wanted"
                        .to_owned()
                }]
            );
        }
        let fastest = evaluated(&[100], &[80], Goal::TimesBaseline(1.2), Some(FASTEST));
        assert_eq!(fastest.baseline.as_deref(), Some(native::NAME));
        assert_eq!(fastest.rows[0].times_baseline, 100.0);
    }

    #[test]
    fn the_other_goals() {
        // 500 ns against 400 ns a step.
        assert!(evaluated(&[50], &[40], Goal::ExtraNanosPerOperation(100.0), None).goals[0].met);
        assert!(!evaluated(&[50], &[40], Goal::ExtraNanosPerOperation(99.0), None).goals[0].met);
        // 100 steps in 50 us are two million a second.
        assert!(evaluated(&[50], &[40], Goal::OperationsPerSecond(2e6), None).goals[0].met);
        assert!(!evaluated(&[50], &[40], Goal::OperationsPerSecond(2.1e6), None).goals[0].met);
    }

    #[test]
    fn overlapping_spreads_are_marked() {
        let measured = evaluated(&[70, 85, 90], &[80, 81, 82], Goal::TimesBaseline(2.0), None);
        assert!(measured.rows[0].overlaps_baseline);
        assert!(!measured.rows[1].overlaps_baseline, "the baseline is not compared with itself");
        assert!(!measured.rows[2].overlaps_baseline);
    }
}
