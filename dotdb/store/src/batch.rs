//! A set of writes that are applied together.

use bytes::Bytes;

use crate::{MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError};

/// Puts and deletes in key order, one for each key: the last one given wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In key order, one for each key.
    writes: Vec<(Bytes, Option<Bytes>)>,
}

impl Batch {
    /// A batch that changes nothing.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets a key. Takes a time linear in the batch unless keys come in order: collect a large batch instead.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Batch {
        self.write(key.into(), Some(value.into()))
    }

    /// Removes a key, as [`put`](Batch::put) sets it; removing one that is absent is no error.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Batch {
        self.write(key.into(), None)
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) -> &mut Batch {
        if self.writes.last().is_none_or(|(last, _)| *last < key) {
            self.writes.push((key, value));
            return self;
        }
        match self.writes.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(place) => self.writes[place].1 = value,
            Err(place) => self.writes.insert(place, (key, value)),
        }
        self
    }

    /// The writes in key order; `None` is a delete.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.writes.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Whether every key and value is short enough for a store: backends ask before they change anything.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn check_lengths(&self) -> Result<(), StoreError> {
        let check = |what, bytes: usize, limit: usize| match bytes <= limit {
            true => Ok(()),
            false => Err(StoreError::TooLarge { what, bytes: bytes as u64, limit: limit as u64 }),
        };
        for (key, value) in &self.writes {
            check("key", key.len(), MAX_KEY_BYTES)?;
            check("value", value.as_ref().map_or(0, Bytes::len), MAX_VALUE_BYTES)?;
        }
        Ok(())
    }

    /// Number of keys written.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

impl From<Vec<(Bytes, Option<Bytes>)>> for Batch {
    /// Writes in any order; the last one of a key wins.
    fn from(mut writes: Vec<(Bytes, Option<Bytes>)>) -> Batch {
        writes.sort_by(|(a, _), (b, _)| a.cmp(b));
        writes.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Batch { writes }
    }
}

impl FromIterator<(Bytes, Option<Bytes>)> for Batch {
    fn from_iter<I: IntoIterator<Item = (Bytes, Option<Bytes>)>>(writes: I) -> Batch {
        Batch::from(writes.into_iter().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn writes_are_in_key_order_and_the_last_one_of_a_key_wins() {
        // Seven keys met in a scattered order, several times each: 3 generates the numbers modulo 65537.
        let key = |n: u32| Bytes::copy_from_slice(&(n % 7).to_be_bytes());
        let numbers = std::iter::successors(Some(1u32), |n| Some(n * 3 % 65_537)).take(60);
        let writes: Vec<(Bytes, Option<Bytes>)> = numbers
            .map(|n| (key(n), (n % 3 != 0).then(|| Bytes::copy_from_slice(&n.to_be_bytes()))))
            .collect();
        let expected: BTreeMap<Bytes, Option<Bytes>> = writes.iter().cloned().collect();
        assert_eq!(expected.len(), 7);
        let mut one_by_one = Batch::new();
        for (key, value) in writes.clone() {
            match value {
                Some(value) => one_by_one.put(key, value),
                None => one_by_one.delete(key),
            };
        }
        for batch in [one_by_one, writes.into_iter().collect()] {
            let expected = expected.iter().map(|(key, value)| (key, value.as_ref()));
            assert!(batch.iter().eq(expected), "{batch:?}");
        }
    }
}
