//! One argument over a range: growth curves.

use dotvm_arch::{W512, Width};
use dotvm_runtime::args::parse_word;
use serde::Serialize;

use super::subject::{Setting, Subject, parameter, shown, with_argument};
use crate::exit::Exit;
use crate::failure::Failure;

/// Most values of a sweep.
const VALUES: usize = 10_000;

/// An argument and the values that it takes.
#[derive(Clone, Debug)]
pub struct Range {
    /// Name or number of the parameter.
    pub argument: String,
    /// First value.
    pub first: W512,
    /// Last value.
    pub last: W512,
    /// From each value to the next.
    pub step: W512,
}

/// Reads `ARG=A..B` or `ARG=A..B:STEP`.
pub fn parse_range(text: &str) -> Result<Range, String> {
    let broken = || "this is not ARG=FIRST..LAST, or ARG=FIRST..LAST:STEP".to_owned();
    let (argument, range) = text.split_once('=').ok_or_else(broken)?;
    let (first, rest) = range.split_once("..").ok_or_else(broken)?;
    let (last, step) = rest.split_once(':').unwrap_or((rest, "1"));
    let number = |text: &str| parse_word(text, Width::W512).map_err(|error| error.to_string());
    let range = Range {
        argument: argument.to_owned(),
        first: number(first)?,
        last: number(last)?,
        step: number(step)?,
    };
    if range.step == W512::ZERO || range.first > range.last {
        return Err("a range goes up, in steps of at least 1".to_owned());
    }
    if (range.last - range.first) / range.step >= W512::from(VALUES) {
        return Err(format!("a range has at most {VALUES} values: a greater STEP leaves some out"));
    }
    Ok(range)
}

impl Range {
    /// The values.
    pub fn values(&self) -> impl Iterator<Item = W512> {
        let (first, last, step) = (self.first, self.last, self.step);
        std::iter::successors(Some(first), move |value| value.checked_add(step).filter(|next| *next <= last))
    }
}

/// What one width made of one value.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Bits of a word.
    pub arch: u32,
    /// How it ended.
    pub result: String,
    /// Gas used.
    pub gas: u64,
    /// The least time of the runs, seconds.
    pub seconds: f64,
}

/// What all widths made of one value.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The value, in decimal.
    pub value: String,
    /// Of each width.
    pub cells: Vec<Cell>,
}

/// Runs each width with each value, `runs` times.
pub fn sweep(
    subjects: &[Subject],
    range: &Range,
    arguments: &[String],
    setting: &Setting,
    runs: usize,
    mut done: impl FnMut(),
) -> Result<Vec<Point>, Failure> {
    let Some(first) = subjects.first() else { return Ok(Vec::new()) };
    let index = parameter(first, &range.argument)?;
    let signature = first.module().signature_of(first.function);
    let count = usize::from(signature.words_in) + usize::from(signature.refs_in);
    let mut points = Vec::new();
    for value in range.values() {
        let arguments = with_argument(arguments, count, index, &value);
        let mut cells = Vec::new();
        for subject in subjects {
            if subject.width.bits() < 512 && value >> subject.width.bits() as usize != W512::ZERO {
                let sentence =
                    format!("{value} is no word of {} bits: --arch leaves widths out", subject.width);
                return Err(Failure::new(Exit::Usage, sentence));
            }
            let mut least = f64::INFINITY;
            let mut cell = None;
            for _ in 0..runs {
                let ran = subject.run(&arguments, setting)?;
                least = least.min(ran.time.as_secs_f64());
                let outcome = &ran.execution.outcome;
                cell.get_or_insert_with(|| (shown(&outcome.end), outcome.gas_used));
                done();
            }
            let (result, gas) = cell.unwrap_or_default();
            cells.push(Cell { arch: subject.width.bits(), result, gas, seconds: least });
        }
        points.push(Point { value: value.to_string(), cells });
    }
    Ok(points)
}
