//! What the planner and the executor ask of a store. One implementation serves one collection.

/// Byte strings from `start` to before `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct KeyRange {
    /// The least that is in it.
    pub start: Vec<u8>,
    /// The least above it; `None` is no bound.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Everything.
    #[must_use]
    pub fn all() -> KeyRange {
        KeyRange { start: vec![], end: None }
    }

    /// What begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: Vec<u8>) -> KeyRange {
        let end = crate::encoding::prefix_end(&prefix);
        KeyRange { start: prefix, end }
    }

    /// Whether `bytes` are in it.
    #[must_use]
    pub fn contains(&self, bytes: &[u8]) -> bool {
        *bytes >= *self.start && self.end.as_ref().is_none_or(|end| *bytes < **end)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// A record: its key and its document.
pub type RecordRow<'r> = (&'r [u8], &'r [u8]);

/// A row of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRow<'r> {
    /// The entry's bytes.
    pub entry: &'r [u8],
    /// The key of its record.
    pub key: &'r [u8],
    /// [`Entry::exact`](crate::Entry::exact), or `false` if that is not known.
    pub exact: bool,
}

/// A number of rows from the start of a range on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub rows: u64,
    /// Where those that were not counted begin, unless all were.
    pub rest: Option<Vec<u8>>,
}

/// The records of a collection and its indexes, as one state has them.
///
/// Ranges of an index are over an entry's bytes followed by the record's key: entries are in this
/// order, and a range may begin between two records of the same entry. `index` counts in the list
/// that the planner was given.
pub trait Source {
    /// Why reading fails.
    type Error;
    /// Where reading records has come to.
    type Records;
    /// Where reading entries has come to.
    type Entries;

    /// How many records the collection has.
    ///
    /// # Errors
    /// The store's.
    fn count(&mut self) -> Result<u64, Self::Error>;

    /// Begins to read records by key, from the greatest if `reverse`. No more than `wanted` are likely to be read,
    /// if that is known.
    ///
    /// # Errors
    /// The store's.
    fn records(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        wanted: Option<u64>,
    ) -> Result<Self::Records, Self::Error>;

    /// The next key and document.
    ///
    /// # Errors
    /// The store's.
    fn next_record<'c>(
        &mut self,
        cursor: &'c mut Self::Records,
    ) -> Result<Option<RecordRow<'c>>, Self::Error>;

    /// Begins to read an index's entries, from the greatest if `reverse`. No more than `wanted` are likely to be read,
    /// if that is known.
    ///
    /// # Errors
    /// The store's.
    fn entries(
        &mut self,
        index: usize,
        range: &KeyRange,
        reverse: bool,
        wanted: Option<u64>,
    ) -> Result<Self::Entries, Self::Error>;

    /// The next entry and the key of its record.
    ///
    /// # Errors
    /// The store's.
    fn next_entry<'c>(&mut self, cursor: &'c mut Self::Entries) -> Result<Option<IndexRow<'c>>, Self::Error>;

    /// How many entries of an index, or records if none is given, are in a range. At most `cap` are counted, from
    /// the least on.
    ///
    /// # Errors
    /// The store's.
    fn count_range(
        &mut self,
        index: Option<usize>,
        range: &KeyRange,
        cap: u64,
    ) -> Result<Counted, Self::Error> {
        let after = |parts: &[&[u8]]| Some([&parts.concat()[..], &[0]].concat());
        let mut counted = Counted { rows: 0, rest: None };
        match index {
            Some(index) => {
                let mut cursor = self.entries(index, range, false, Some(cap))?;
                while counted.rows < cap {
                    let Some(row) = self.next_entry(&mut cursor)? else {
                        counted.rest = None;
                        break;
                    };
                    counted = Counted { rows: counted.rows + 1, rest: after(&[row.entry, row.key]) };
                }
            }
            None => {
                let mut cursor = self.records(range, false, Some(cap))?;
                while counted.rows < cap {
                    let Some((key, _)) = self.next_record(&mut cursor)? else {
                        counted.rest = None;
                        break;
                    };
                    counted = Counted { rows: counted.rows + 1, rest: after(&[key]) };
                }
            }
        }
        Ok(counted)
    }

    /// Puts the document with a key in place of what `document` holds; `false` if there is none.
    ///
    /// # Errors
    /// The store's.
    fn get(&mut self, key: &[u8], document: &mut Vec<u8>) -> Result<bool, Self::Error>;
}

/// How much there is, for the planner. Counts are of the state that the query reads, so that the plan
/// is a function of it; each looks at no more than `cap` rows.
pub trait Statistics {
    /// Why counting fails.
    type Error;

    /// How many records the collection has.
    ///
    /// # Errors
    /// The store's.
    fn rows(&mut self) -> Result<u64, Self::Error>;

    /// How many records have their key in `range`, at most `cap`.
    ///
    /// # Errors
    /// The store's.
    fn key_rows(&mut self, range: &KeyRange, cap: u64) -> Result<u64, Self::Error>;

    /// How many entries of an index are in `range`, at most `cap`.
    ///
    /// # Errors
    /// The store's.
    fn index_rows(&mut self, index: usize, range: &KeyRange, cap: u64) -> Result<u64, Self::Error>;
}
