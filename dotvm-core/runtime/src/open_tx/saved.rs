//! The open transaction of an execution written down and read back.

use std::collections::BTreeSet;

use dotdb::{CollectionId, ContractId, CursorId, Database, RestoreError};
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::module::Collection;

use super::{Files, Frame, Mark, OpenTx, Outer, Pending};
use crate::durable::basics::{restore_event, save_event};
use crate::scratch::Scratch;

impl OpenTx {
    /// Writes it down: the pending transaction to `tx`, the events to `events`, everything else to `to`.
    pub(crate) fn save(
        &self,
        to: &mut Writer,
        tx: &mut Writer,
        events: &mut Writer,
    ) -> Result<(), dotdb::DbError> {
        self.tx.save(tx)?;
        self.events.iter().for_each(|event| save_event(event, events));
        to.count(self.events.len());
        to.number(self.event_bytes);
        save_link(self.contract, &self.collections, &self.files, to);
        save_frame(&self.frame, to);
        to.count(self.linked_keys);
        to.number(self.last_cursor);
        to.count(self.queries.len());
        self.queries.iter().for_each(|query| to.number(query.0));
        to.flag(self.owed.is_some());
        if let Some((cursor, cost)) = self.owed {
            to.number(cursor.0);
            to.number(cost);
        }
        self.scratch.save(to);
        to.count(self.marks.len());
        for mark in &self.marks {
            to.number(mark.id);
            to.count(mark.events);
            to.number(mark.event_bytes);
            to.count(mark.scratch);
            to.count(mark.linked_keys);
        }
        to.number(self.pending.bytes);
        Ok(())
    }

    /// Opens it again, for a contract with these collections.
    pub(crate) fn restore(
        database: &Database,
        collections: &[Collection],
        from: &mut Reader<'_>,
        tx: &mut Reader<'_>,
        events: &mut Reader<'_>,
    ) -> Result<OpenTx, RestoreError> {
        // Nobody goes on with a machine in a store that cannot be written.
        let looks = database.store().read_only();
        let pending = if looks { database.look_at_tx(tx)? } else { database.restore_tx(tx)? };
        tx.end()?;
        let count: usize = from.small()?;
        let events = (0..count).map(|_| restore_event(events)).collect::<Result<Vec<_>, _>>()?;
        let event_bytes = from.number()?;
        let opened = pending.opened_collections();
        let (contract, collections, files) = restore_link(collections, opened, from)?;
        let frame = restore_frame(from)?;
        let linked_keys = from.small()?;
        let last_cursor = from.number()?;
        let mut queries = BTreeSet::new();
        for _ in 0..from.count(1)? {
            queries.insert(CursorId(from.number()?));
        }
        let owed = if from.flag()? { Some((CursorId(from.number()?), from.number()?)) } else { None };
        let scratch = Scratch::restore(from)?;
        let mut marks: Vec<Mark> = Vec::new();
        for _ in 0..from.count(5)? {
            let mark = Mark {
                id: from.number()?,
                events: from.small()?,
                event_bytes: from.number()?,
                scratch: from.small()?,
                linked_keys: from.small()?,
            };
            let is_next = marks.last().is_none_or(|last| last.id < mark.id && last.scratch <= mark.scratch);
            from.require(
                is_next && mark.scratch <= scratch.mark() && mark.events <= events.len(),
                "savepoints are out of order",
            )?;
            marks.push(mark);
        }
        Ok(OpenTx {
            tx: pending,
            contract,
            collections,
            frame,
            files,
            linked_keys,
            last_cursor,
            queries,
            owed,
            events,
            event_bytes,
            scratch,
            marks,
            pending: Pending { bytes: from.number()? },
        })
    }
}

impl Outer {
    /// Writes down what a contract call goes back to.
    pub(crate) fn save(&self, to: &mut Writer) {
        save_link(self.contract, &self.collections, &self.files, to);
        save_frame(&self.frame, to);
    }

    /// Reads it, for a contract with these collections in a transaction that has opened so many.
    pub(crate) fn restore(
        collections: &[Collection],
        opened: usize,
        from: &mut Reader<'_>,
    ) -> Result<Outer, Damage> {
        let (contract, collections, files) = restore_link(collections, opened, from)?;
        Ok(Outer { contract, collections, files, frame: restore_frame(from)? })
    }
}

type Collections = Vec<(CollectionId, dotvm_core::module::CollectionKind)>;

fn save_link(contract: ContractId, collections: &Collections, files: &Option<Files>, to: &mut Writer) {
    to.number(contract.0);
    collections.iter().for_each(|(id, _)| to.number(id.0));
    to.flag(files.is_some());
    if let Some(files) = files {
        let (sizes, blocks) = files.collections();
        to.number(sizes.0);
        to.number(blocks.0);
    }
}

fn restore_link(
    collections: &[Collection],
    opened: usize,
    from: &mut Reader<'_>,
) -> Result<(ContractId, Collections, Option<Files>), Damage> {
    let contract = ContractId(from.small()?);
    let collection = |from: &mut Reader<'_>| {
        let id: u32 = from.small()?;
        from.require((id as usize) < opened, "a collection was not opened")?;
        Ok(CollectionId(id))
    };
    let collections = collections
        .iter()
        .map(|declared| Ok((collection(from)?, declared.kind)))
        .collect::<Result<_, Damage>>()?;
    let files = match from.flag()? {
        true => Some(Files::of_collections(collection(from)?, collection(from)?)),
        false => None,
    };
    Ok((contract, collections, files))
}

fn save_frame(frame: &Frame, to: &mut Writer) {
    to.flag(frame.is_static);
    to.number(frame.savepoint);
    to.number(frame.cursor);
}

fn restore_frame(from: &mut Reader<'_>) -> Result<Frame, Damage> {
    Ok(Frame { is_static: from.flag()?, savepoint: from.number()?, cursor: from.number()? })
}
