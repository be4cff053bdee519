//! A set of writes that are applied together.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Puts and deletes in key order, one for each key: the last one given wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

impl Batch {
    /// A batch that changes nothing.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Batch {
        self.writes.insert(key.into(), Some(value.into()));
        self
    }

    /// Removes a key; removing one that is absent is no error.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Batch {
        self.writes.insert(key.into(), None);
        self
    }

    /// The writes in key order; `None` is a delete.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.writes.iter().map(|(key, value)| (key, value.as_ref()))
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

impl FromIterator<(Bytes, Option<Bytes>)> for Batch {
    fn from_iter<I: IntoIterator<Item = (Bytes, Option<Bytes>)>>(writes: I) -> Batch {
        Batch { writes: writes.into_iter().collect() }
    }
}
