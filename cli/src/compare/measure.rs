//! One call at each width: what came out, and what it cost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dotvm_core::outcome::End;
use dotvm_runtime::{RuntimeError, Watch};
use serde::Serialize;

use super::lockstep::Parting;
use super::subject::{Ran, Setting, Subject, is_alike, shown};
use crate::failure::Failure;
use crate::input::trap_sentence;
use crate::report::BytesReport;

/// Seconds that runs took.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    /// The one in the middle.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// How many there were.
    pub runs: usize,
}

impl Times {
    /// Of these times, at least one.
    pub fn of(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        Times {
            median: seconds(times.get(times.len() / 2)),
            min: seconds(times.first()),
            max: seconds(times.last()),
            runs: times.len(),
        }
    }
}

/// What one width made of the call.
#[derive(Serialize)]
pub struct Row {
    /// Bits of a word.
    pub arch: u32,
    /// `ok`, `halted` or `trapped`.
    pub status: &'static str,
    /// How it ended, in a line.
    pub result: String,
    /// The trap in a sentence.
    pub trap: Option<String>,
    /// What was written to standard output, if anything was.
    pub stdout: Option<BytesReport>,
    /// Whether the widest width ended alike.
    pub agrees: bool,
    /// Where it came apart from the widest width, if that was looked for and found.
    pub parting: Option<Parting>,
    /// Gas used.
    pub gas: u64,
    /// Seconds.
    pub time: Times,
    /// How often control was transferred.
    pub transfers: u64,
    /// Most linear memory, bytes.
    pub memory_bytes: u64,
    /// Bytes of code.
    pub code_bytes: usize,
    /// Bytes of the module's file.
    pub module_bytes: usize,
}

/// Runs each width `runs` times, the widths in turn, and says how often each run is done through `done`.
pub fn measure(
    subjects: &[Subject],
    arguments: &[String],
    setting: &Setting,
    runs: usize,
    mut done: impl FnMut(),
) -> Result<Vec<Row>, Failure> {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); subjects.len()];
    let mut ends: Vec<Option<Ran>> = subjects.iter().map(|_| None).collect();
    for _ in 0..runs {
        for (index, subject) in subjects.iter().enumerate() {
            let ran = subject.run(arguments, setting)?;
            times[index].push(ran.time);
            ends[index] = Some(ran);
            done();
        }
    }
    let ends: Vec<Ran> = ends.into_iter().flatten().collect();
    let Some((widest, last)) = subjects.iter().zip(&ends).max_by_key(|(subject, _)| subject.width.bits())
    else {
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    for ((subject, ran), times) in subjects.iter().zip(&ends).zip(times) {
        let (transfers, memory_bytes) = watched(subject, arguments, setting)?;
        done();
        let outcome = &ran.execution.outcome;
        let (status, trap) = match &outcome.end {
            End::Trap(trap) => ("trapped", Some(trap_sentence(subject.module(), trap))),
            end if end.is_success() => ("ok", None),
            _ => ("halted", None),
        };
        let [stdout, _] = &ran.written;
        rows.push(Row {
            arch: subject.width.bits(),
            status,
            result: shown(&outcome.end),
            trap,
            stdout: (!stdout.is_empty()).then(|| BytesReport::new(stdout)),
            agrees: is_alike(ran, subject.width, last, widest.width),
            parting: None,
            gas: outcome.gas_used,
            time: Times::of(times),
            transfers,
            memory_bytes,
            code_bytes: subject.code_bytes(),
            module_bytes: subject.module_bytes,
        });
    }
    Ok(rows)
}

/// Transfers of control and most linear memory of a run.
fn watched(subject: &Subject, arguments: &[String], setting: &Setting) -> Result<(u64, u64), Failure> {
    let page = dotvm_core::limits::PAGE_BYTES;
    let seen = Arc::new(Mutex::new((0u64, subject.module().memory.min_pages * page)));
    let inside = seen.clone();
    let watch = Watch::new(move |instance| {
        let mut seen = inside.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0 += 1;
        seen.1 = seen.1.max(instance.memory_size());
        true
    });
    let mut setting = setting.clone();
    setting.options.watch = Some(watch);
    match subject.try_run(arguments, &setting)? {
        Ok(_) | Err(RuntimeError::Stopped) => {}
        Err(error) => return Err(error.into()),
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(*seen)
}
