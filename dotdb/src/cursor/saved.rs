//! Cursors written down and read back: how far they are, and what of the transaction's writes they still go over.

use std::ops::Bound;

use bytes::Bytes;
use dotdb_store::{Direction, is_empty_range};
use dotvm_codec::{Damage, Reader, Writer};
use imbl::OrdMap;

use super::{Cursor, MergedRange, Rows};
use crate::error::DbError;
use crate::keys::RECORD;
use crate::querying::QueryCursor;
use crate::saved::RestoreError;
use crate::tx::Tx;

pub(crate) fn save_bound(bound: &Bound<Bytes>, to: &mut Writer) {
    let (kind, key) = match bound {
        Bound::Unbounded => (0, None),
        Bound::Included(key) => (1, Some(key)),
        Bound::Excluded(key) => (2, Some(key)),
    };
    to.byte(kind);
    if let Some(key) = key {
        to.bytes(key);
    }
}

pub(crate) fn restore_bound(from: &mut Reader<'_>) -> Result<Bound<Bytes>, Damage> {
    Ok(match from.byte()? {
        0 => Bound::Unbounded,
        1 => Bound::Included(Bytes::copy_from_slice(from.bytes()?)),
        2 => Bound::Excluded(Bytes::copy_from_slice(from.bytes()?)),
        _ => return from.damage("there is no such kind of bound"),
    })
}

fn slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

impl Cursor {
    /// Writes it down.
    pub(crate) fn save(&self, to: &mut Writer) -> Result<(), DbError> {
        to.number(self.opened_after);
        let rows = match &self.rows {
            Rows::Records(rows) => rows,
            Rows::Query(query) => {
                to.flag(true);
                return query.save(to);
            }
        };
        to.flag(false);
        to.flag(self.row.is_some());
        if let Some((key, value)) = &self.row {
            to.bytes(key);
            to.bytes(value);
        }
        to.flag(rows.direction == Direction::Backward);
        to.flag(rows.tracks);
        for bound in [&rows.bounds.0, &rows.bounds.1, &rows.from, &rows.to] {
            save_bound(bound, to);
        }
        // The snapshot's row that was looked at and is still to come is looked at again.
        let again = rows.looked && rows.next_base.is_some();
        let [started, ended] = [rows.started, rows.started && rows.last_base.is_none()];
        [started, ended, again, rows.looked, rows.done].into_iter().for_each(|flag| to.flag(flag));
        to.optional_bytes(rows.last_base.as_deref());
        to.flag(rows.next_pending.is_some());
        if let Some((key, value)) = &rows.next_pending {
            to.bytes(key);
            to.optional_bytes(value.as_deref());
        }
        let (from, end) = (slice(&rows.from), slice(&rows.to));
        let pending: Vec<_> = match is_empty_range(from, end) {
            true => Vec::new(),
            false => rows.pending.range::<_, [u8]>((from, end)).collect(),
        };
        to.count(pending.len());
        for (key, value) in pending {
            to.bytes(key);
            to.optional_bytes(value.as_deref());
        }
        Ok(())
    }

    /// Reads a cursor of a transaction that was read but for its cursors.
    pub(crate) fn restore(tx: &mut Tx, reader: &mut Reader<'_>) -> Result<Cursor, RestoreError> {
        let opened_after = reader.number()?;
        if reader.flag()? {
            let rows = Rows::Query(Box::new(QueryCursor::restore(tx, reader)?));
            return Ok(Cursor { rows, row: None, opened_after });
        }
        let snapshot = &*tx.snapshot;
        let row = match reader.flag()? {
            true => Some((Bytes::copy_from_slice(reader.bytes()?), Bytes::copy_from_slice(reader.bytes()?))),
            false => None,
        };
        let direction = if reader.flag()? { Direction::Backward } else { Direction::Forward };
        let tracks = reader.flag()?;
        let bounds = (restore_bound(reader)?, restore_bound(reader)?);
        let is_record = |bound: &Bound<Bytes>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.first() == Some(&RECORD),
            Bound::Unbounded => false,
        };
        let is_end =
            |bound: &Bound<Bytes>| is_record(bound) || *bound == Bound::Excluded(vec![RECORD + 1].into());
        reader.require(
            is_record(&bounds.0) && is_end(&bounds.1),
            "a cursor is over something else than records",
        )?;
        let (from, to) = (restore_bound(reader)?, restore_bound(reader)?);
        let (started, ended, again) = (reader.flag()?, reader.flag()?, reader.flag()?);
        let (looked, done) = (reader.flag()?, reader.flag()?);
        let last_base = reader.optional_bytes()?.map(Bytes::copy_from_slice);
        let stands = last_base.is_some() == (started && !ended) && (started || !ended);
        reader.require(stands, "a cursor stands nowhere")?;
        let next_pending = match reader.flag()? {
            true => {
                let key = Bytes::copy_from_slice(reader.bytes()?);
                Some((key, reader.optional_bytes()?.map(Bytes::copy_from_slice)))
            }
            false => None,
        };
        let mut pending = OrdMap::new();
        for _ in 0..reader.count(2)? {
            let key = Bytes::copy_from_slice(reader.bytes()?);
            pending.insert(key, reader.optional_bytes()?.map(Bytes::copy_from_slice));
        }
        let mut rest = bounds.clone();
        if let Some(last) = &last_base {
            let last = if again { Bound::Included(last.clone()) } else { Bound::Excluded(last.clone()) };
            match direction {
                Direction::Forward => rest.0 = last,
                Direction::Backward => rest.1 = last,
            }
        }
        let base = match ended || is_empty_range(slice(&rest.0), slice(&rest.1)) {
            true => snapshot.range(Bound::Unbounded, Bound::Excluded(&[]), direction),
            false => snapshot.range(slice(&rest.0), slice(&rest.1), direction),
        };
        let mut rows = MergedRange {
            base: base.map_err(DbError::from)?,
            next_base: None,
            looked: looked && !again,
            started,
            tracks,
            bounds,
            last_base,
            pending,
            from,
            to,
            direction,
            next_pending,
            done,
        };
        if again {
            let last = rows.last_base.take();
            rows.step_base();
            let is_there = rows.last_base.is_some() && rows.last_base == last;
            reader.require(is_there, "a cursor stands at a record that is not there")?;
        }
        Ok(Cursor { rows: Rows::Records(Box::new(rows)), row, opened_after })
    }
}
