//! Looking for damage.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;

use crate::{Direction, Snapshot, StoreError};

/// Something that is wrong in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The key where it is, if there is one.
    pub key: Option<Bytes>,
    /// What is wrong, as a sentence without full stop.
    pub detail: String,
}

impl Damage {
    /// Damage that belongs to no one key.
    pub fn anywhere(detail: impl Into<String>) -> Damage {
        Damage { key: None, detail: detail.into() }
    }

    /// Damage at a key.
    pub fn at(key: &Bytes, detail: impl Into<String>) -> Damage {
        Damage { key: Some(key.clone()), detail: detail.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key) = &self.key else { return f.write_str(&self.detail) };
        f.write_str("key ")?;
        for byte in key.iter().take(80) {
            write!(f, "{byte:02x}")?;
        }
        if key.len() > 80 {
            write!(f, "... ({} bytes)", key.len())?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Walks all pairs in both directions and looks each of them up: every pair must be given both ways, in order,
/// and be found by its key. Hands each pair found forwards to `each` and gives their number.
///
/// # Errors
/// What is neither damage nor [`StoreError::Corrupt`].
pub fn check_pairs(
    snapshot: &dyn Snapshot,
    found: &mut dyn FnMut(Damage),
    each: &mut dyn FnMut(&Bytes, &Bytes),
) -> Result<u64, StoreError> {
    let mut keys = 0;
    let mut last: Option<Bytes> = None;
    let mut whole = true;
    let place = |last: &Option<Bytes>, detail: String| match last {
        Some(key) => Damage::at(key, format!("behind it, {detail}")),
        None => Damage::anywhere(detail),
    };
    for row in snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward)? {
        let (key, value) = match row {
            Ok(row) => row,
            Err(StoreError::Corrupt { detail }) => {
                found(place(&last, detail));
                whole = false;
                break;
            }
            Err(error) => return Err(error),
        };
        if last.as_ref().is_some_and(|last| *last >= key) {
            found(Damage::at(&key, "it is out of order"));
            whole = false;
            break;
        }
        match snapshot.get(&key) {
            Ok(Some(other)) if other == value => {}
            Ok(Some(_)) => found(Damage::at(&key, "a look-up gives another value than the scan")),
            Ok(None) => found(Damage::at(&key, "it is there but a look-up does not find it")),
            Err(StoreError::Corrupt { detail }) => found(Damage::at(&key, detail)),
            Err(error) => return Err(error),
        }
        keys += 1;
        each(&key, &value);
        last = Some(key);
    }
    let mut backward = 0;
    let mut first: Option<Bytes> = None;
    for row in snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Backward)? {
        match row {
            Ok((key, _)) => {
                if !whole && last.as_ref().is_some_and(|last| *last >= key) {
                    // The part that was seen forwards.
                    return Ok(keys);
                }
                if first.as_ref().is_some_and(|first| *first <= key) {
                    found(Damage::at(&key, "it is out of order, read backwards"));
                    return Ok(keys);
                }
                first = Some(key);
                backward += 1;
            }
            Err(StoreError::Corrupt { detail }) => {
                if let Some(key) = &first {
                    found(Damage::at(key, format!("before it, {detail}")));
                } else if whole {
                    found(Damage::anywhere(detail));
                }
                return Ok(keys);
            }
            Err(error) => return Err(error),
        }
    }
    if whole && backward != keys {
        found(Damage::anywhere(format!("{keys} pairs are found forwards and {backward} backwards")));
    }
    Ok(keys)
}
