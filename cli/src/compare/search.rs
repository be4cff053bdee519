//! The least argument, as far as it can be found, for which a width comes to another result than the widest.

use dotvm_arch::W512;
use serde::Serialize;

use super::subject::{Setting, Subject, is_alike, is_out_of_gas, shown, with_argument};
use crate::failure::Failure;

/// Arguments that are tried one after the other before greater steps are taken.
const FIRST: u64 = 64;

/// What a search found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Bits of a word.
    pub arch: u32,
    /// The argument from which on the results differ, in decimal; nothing if none was found.
    pub argument: Option<String>,
    /// The result there.
    pub here: Option<String>,
    /// The result of the widest width there.
    pub widest: Option<String>,
    /// The greatest argument that was tried and found alike, in decimal.
    pub alike_at: Option<String>,
    /// Whether every smaller argument was tried: else results may differ in between, too.
    pub is_least: bool,
    /// Why no greater argument was tried.
    pub stopped: Option<&'static str>,
}

/// What one argument comes to.
enum Try {
    Alike,
    Differs {
        here: String,
        there: String,
    },
    /// It takes more gas than a try is given.
    TooLong,
}

/// Where an argument is put.
pub struct Place<'a> {
    /// The other arguments.
    pub arguments: &'a [String],
    /// Number of all.
    pub count: usize,
    /// Its index.
    pub index: usize,
}

/// Searches arguments of a width: 0 to 64, then in steps twice as great each time, then between the last argument found
/// alike and the first that differs.
pub fn search(
    subject: &Subject,
    widest: &Subject,
    place: &Place<'_>,
    setting: &Setting,
    mut done: impl FnMut(),
) -> Result<Found, Failure> {
    let mut attempt = |value: &W512| -> Result<Try, Failure> {
        let arguments = with_argument(place.arguments, place.count, place.index, value);
        let there = widest.run(&arguments, setting)?;
        done();
        if is_out_of_gas(&there) {
            return Ok(Try::TooLong);
        }
        let here = subject.run(&arguments, setting)?;
        if is_alike(&here, subject.width, &there, widest.width) {
            return Ok(Try::Alike);
        }
        let end = |ran: &super::subject::Ran| shown(&ran.execution.outcome.end);
        Ok(Try::Differs { here: end(&here), there: end(&there) })
    };
    let mut found = Found {
        arch: subject.width.bits(),
        argument: None,
        here: None,
        widest: None,
        alike_at: None,
        is_least: true,
        stopped: None,
    };
    let mut alike = None;
    let greatest = W512::MAX >> (512 - subject.width.bits() as usize);
    let mut value = W512::ZERO;
    let mut differs = loop {
        match attempt(&value)? {
            Try::Alike => alike = Some(value),
            Try::TooLong => {
                found.stopped = Some("the next argument takes more gas than --gas allows");
                break None;
            }
            Try::Differs { here, there } => break Some((value, here, there)),
        }
        if value == greatest {
            found.stopped = Some("there is no greater argument");
            break None;
        }
        let next = if value < W512::from(FIRST) { value + W512::from(1u64) } else { value << 1 };
        value = if next > greatest || next <= value { greatest } else { next };
    };
    // Between an argument found alike and one that differs.
    while let (Some((above, ..)), Some(below)) = (&differs, alike) {
        let gap = *above - below;
        if gap <= W512::from(1u64) {
            break;
        }
        found.is_least = false;
        let middle = below + (gap >> 1);
        match attempt(&middle)? {
            Try::Alike => alike = Some(middle),
            Try::Differs { here, there } => differs = Some((middle, here, there)),
            Try::TooLong => break,
        }
    }
    found.alike_at = alike.map(|value| value.to_string());
    if let Some((value, here, there)) = differs {
        found.argument = Some(value.to_string());
        found.here = Some(here);
        found.widest = Some(there);
    }
    Ok(found)
}
