//! Ranges read a page at a time: its rows share one buffer, so that none is allocated, and one crossing into the
//! backend.

use std::ops::Range;

use bytes::Bytes;

use crate::{PairIter, StoreError};

/// Bytes after which a page ends. Whoever keeps one of its rows keeps all of them.
pub const MAX_PAGE_BYTES: usize = 8 << 10;
/// Rows of the longest page that [`iterate`] reads; the first has one, and each twice as many as the one before.
const MAX_ITERATED_ROWS: usize = 64;

/// Rows that were read together, in the order of the range.
#[derive(Debug, Default)]
pub struct Page {
    buffer: Vec<u8>,
    places: Vec<Place>,
}

/// Where a row lies in the buffer: its value goes on where its key ends.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    middle: usize,
    end: usize,
}

impl Place {
    fn key(self) -> Range<usize> {
        self.start..self.middle
    }

    fn value(self) -> Range<usize> {
        self.middle..self.end
    }
}

impl Page {
    /// A page without rows.
    #[must_use]
    pub fn new() -> Page {
        Page::default()
    }

    /// Adds a row behind the others.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        self.places.push(Place { start, middle: start + key.len(), end: self.buffer.len() });
    }

    /// Key and value of a row; `None` behind the last.
    #[inline]
    #[must_use]
    pub fn row(&self, number: usize) -> Option<(&[u8], &[u8])> {
        let place = *self.places.get(number)?;
        Some((&self.buffer[place.key()], &self.buffer[place.value()]))
    }

    /// Number of rows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of its keys and values.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Takes all rows out. The memory stays.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.places.clear();
    }

    /// Takes all rows out, to be kept.
    fn take(&mut self) -> Kept {
        Kept {
            buffer: std::mem::take(&mut self.buffer).into(),
            places: std::mem::take(&mut self.places).into_iter(),
        }
    }
}

/// The rows of a page, each of which keeps its buffer.
#[derive(Default)]
struct Kept {
    buffer: Bytes,
    places: std::vec::IntoIter<Place>,
}

impl Iterator for Kept {
    type Item = (Bytes, Bytes);

    #[inline]
    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        let place = self.places.next()?;
        Some((self.buffer.slice(place.key()), self.buffer.slice(place.value())))
    }
}

/// A range in the course of being read.
pub trait Pages: Send {
    /// Adds the next rows to a page: `rows` of them, or fewer if they come to [`MAX_PAGE_BYTES`], or if there are no
    /// more, which `false` says. Not all backends see the end before they are asked for a row behind it.
    ///
    /// # Errors
    /// The store's; rows added before it are right. Afterwards it may answer anything but wrong rows.
    fn read(&mut self, rows: usize, page: &mut Page) -> Result<bool, StoreError>;
}

/// What [`Snapshot::pages`](crate::Snapshot::pages) gives.
pub type PageReader = Box<dyn Pages>;

/// Pages of a range that gives rows one by one; `None` at its end.
pub(crate) struct OneByOne(pub(crate) Option<PairIter>);

impl Pages for OneByOne {
    fn read(&mut self, rows: usize, page: &mut Page) -> Result<bool, StoreError> {
        let (start, mut left) = (page.bytes(), rows);
        while left > 0 && page.bytes() - start < MAX_PAGE_BYTES {
            let Some(row) = self.0.as_mut().and_then(Iterator::next) else {
                self.0 = None;
                return Ok(false);
            };
            let (key, value) = row.inspect_err(|_| self.0 = None)?;
            page.push(&key, &value);
            left -= 1;
        }
        Ok(true)
    }
}

/// The rows of a range one by one, to be kept.
pub fn iterate(pages: impl Pages + 'static) -> PairIter {
    Box::new(Rows {
        pages: Some(pages),
        page: Page::new(),
        page_bytes: 0,
        rows: Kept::default(),
        next_rows: 1,
        failure: None,
    })
}

struct Rows<P> {
    /// `None` at the end and after an error.
    pages: Option<P>,
    page: Page,
    /// Bytes of the last page.
    page_bytes: usize,
    rows: Kept,
    /// Rows of the next page.
    next_rows: usize,
    /// What comes after the rows.
    failure: Option<StoreError>,
}

impl<P: Pages> Rows<P> {
    #[inline(never)]
    fn fetch(&mut self) {
        let Some(pages) = &mut self.pages else { return };
        self.page.buffer.reserve((self.page_bytes * 2).min(MAX_PAGE_BYTES + MAX_PAGE_BYTES / 8));
        match pages.read(self.next_rows, &mut self.page) {
            Ok(true) => {}
            Ok(false) => self.pages = None,
            Err(error) => {
                self.pages = None;
                self.failure = Some(error);
            }
        }
        self.page_bytes = self.page.bytes();
        self.next_rows = (self.next_rows * 2).min(MAX_ITERATED_ROWS);
        self.rows = self.page.take();
    }
}

impl<P: Pages> Iterator for Rows<P> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.rows.next() {
            return Some(Ok(row));
        }
        self.fetch();
        match self.rows.next() {
            Some(row) => Some(Ok(row)),
            None => self.failure.take().map(Err),
        }
    }
}
