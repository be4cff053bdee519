//! Ranges of a snapshot, a page of rows at a time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dotdb_store::{Direction, StoreError, is_empty_range};

use crate::history::Reader;

/// Rows of the first page; each page is twice as long as the one before.
const FIRST_PAGE_ROWS: usize = 16;
/// Rows of the longest page.
const MAX_PAGE_ROWS: usize = 256;
/// Bytes of rows after which a page ends. Whoever keeps one of its rows keeps all of them.
const MAX_PAGE_BYTES: usize = 16 << 10;

/// sled's own ranges show what is written meanwhile: so current rows are read first and then corrected.
pub(crate) struct Pages {
    reader: Arc<Reader>,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    direction: Direction,
    /// In the direction of the range.
    page: std::vec::IntoIter<(Bytes, Bytes)>,
    page_rows: usize,
    done: bool,
}

impl Pages {
    pub(crate) fn new(
        reader: Arc<Reader>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Pages {
        Pages {
            reader,
            from: from.map(Bytes::copy_from_slice),
            to: to.map(Bytes::copy_from_slice),
            direction,
            page: Vec::new().into_iter(),
            page_rows: FIRST_PAGE_ROWS,
            done: false,
        }
    }

    fn fetch(&mut self) -> Result<(), StoreError> {
        let from = self.from.as_ref().map(|key| &key[..]);
        let to = self.to.as_ref().map(|key| &key[..]);
        if is_empty_range(from, to) {
            self.done = true;
            return Ok(());
        }
        let (rows, whole) =
            self.reader.engine().rows(from, to, self.direction, self.page_rows, MAX_PAGE_BYTES)?;
        // The page reaches to its last row, or to the end of the range.
        let last = if whole { None } else { rows.last().map(|(key, _)| key.clone()) };
        let (from, to) = match (&last, self.direction) {
            (None, _) => (from, to),
            (Some(last), Direction::Forward) => (from, Bound::Included(&last[..])),
            (Some(last), Direction::Backward) => (Bound::Included(&last[..]), to),
        };
        self.page = if self.reader.is_current(from, to) {
            rows.into_iter()
        } else {
            let mut page: BTreeMap<Bytes, Bytes> = rows.into_iter().collect();
            self.reader.correct(&mut page, from, to);
            let page: Vec<(Bytes, Bytes)> = match self.direction {
                Direction::Forward => page.into_iter().collect(),
                Direction::Backward => page.into_iter().rev().collect(),
            };
            page.into_iter()
        };
        match (last, self.direction) {
            (None, _) => self.done = true,
            (Some(last), Direction::Forward) => self.from = Bound::Excluded(last),
            (Some(last), Direction::Backward) => self.to = Bound::Excluded(last),
        }
        self.page_rows = (self.page_rows * 2).min(MAX_PAGE_ROWS);
        Ok(())
    }
}

impl Iterator for Pages {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(Ok(row));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.fetch() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
