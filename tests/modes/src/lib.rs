//! How long tests run, as the environment says: `DOTVM_LONG=1` for as long as a release is worth,
//! `DOTVM_SEEDS=first..end` for these random cases.

use std::ops::Range;

/// Whether tests are to take as long as a release is worth.
pub fn is_long() -> bool {
    std::env::var_os("DOTVM_LONG").is_some()
}

/// One of two sizes: that of every day, or that of the long mode.
pub fn pick<T>(usual: T, long: T) -> T {
    if is_long() { long } else { usual }
}

/// The seeds that the environment gives, if it gives any.
///
/// # Panics
/// If they are not two numbers with two points between.
pub fn seeds_given() -> Option<Range<u64>> {
    let text = std::env::var("DOTVM_SEEDS").ok()?;
    let range = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    Some(range.unwrap_or_else(|| panic!("DOTVM_SEEDS is first..end, not {text}")))
}

/// The seeds of random cases: those that the environment gives, or the usual ones.
pub fn seeds(usual: Range<u64>) -> Range<u64> {
    seeds_given().unwrap_or(usual)
}
