//! The host of an execution written down between two steps, and read back.

use std::borrow::Cow;

use dotdb::{Database, DbError, RestoreError, Rows};
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::env::RandomStream;

use super::{Caller, TxHost};
use crate::door::{Door, restore_files, save_files};
use crate::durable::basics::{restore_env, restore_event, save_env, save_event};
use crate::execute::Options;
use crate::open_tx::{OpenTx, Outer};
use crate::past::Past;
use crate::program::Program;

/// Makes the rows that are to be written with a commit, when its version is known.
pub(crate) type RowsOfCommit = Box<dyn FnOnce(u64) -> Rows + Send>;

/// How far a run that is kept is with its next commit.
pub(crate) enum Commit {
    /// It has not come to one.
    None,
    /// It has stopped before one.
    Asked,
    /// It may be made; these rows are to be written with it.
    Granted(Option<RowsOfCommit>),
    /// It was made before the machine was written down, and changed so many keys: its operation has only to be answered.
    Made(u64),
}

/// What is written down of a host, in the parts of a machine.
#[derive(Default)]
pub(crate) struct SavedHost {
    pub(crate) control: Writer,
    pub(crate) transaction: Writer,
    pub(crate) events: Writer,
}

impl<'a> TxHost<'a> {
    /// From here on the execution can be written down.
    pub(crate) fn keep_for_saving(&mut self) {
        self.commit = Some(Commit::None);
    }

    /// Whether the run has stopped before a commit.
    pub(crate) fn is_before_commit(&self) -> bool {
        matches!(self.commit, Some(Commit::Asked))
    }

    /// Lets the commit go on that the run has stopped before.
    pub(crate) fn grant_commit(&mut self, rows: Option<RowsOfCommit>) {
        self.commit = Some(Commit::Granted(rows));
    }

    /// Whether the rows that a commit was granted with are written; asked once.
    pub(crate) fn take_written(&mut self) -> bool {
        std::mem::take(&mut self.has_written_rows)
    }

    /// Keys that a commit would change now.
    pub(crate) fn pending_keys(&self) -> u64 {
        self.open.as_ref().map_or(0, OpenTx::changed_keys)
    }

    /// Writes the host down; with `as_committed`, as it is when the open transaction is committed and its program was
    /// not told yet.
    pub(crate) fn save(&self, as_committed: bool) -> Result<SavedHost, DbError> {
        let mut saved = SavedHost::default();
        let SavedHost { control: to, transaction, events } = &mut saved;
        let open = self.open.as_ref();
        let committed = open.filter(|_| as_committed);
        let changed = committed.map_or(0, OpenTx::changed_keys);
        to.bytes(self.contract_name.as_bytes());
        to.flag(self.has_files);
        save_env(&self.env, to);
        to.number(self.random.place());
        to.number(self.depth);
        to.number(self.cursors_before + committed.map_or(0, |open| open.last_cursor));
        to.number(self.changed_keys + changed);
        to.flag(self.has_committed || changed > 0);
        to.number(self.versions.0);
        let made = match &self.commit {
            _ if as_committed => Some(changed),
            Some(Commit::Made(changed)) => Some(*changed),
            _ => None,
        };
        to.flag(made.is_some());
        to.number(made.unwrap_or(0));
        self.door.save(as_committed, to);
        self.events.iter().for_each(|event| save_event(event, events));
        let mut count = self.events.len();
        if let Some(open) = committed {
            open.events.iter().for_each(|event| save_event(event, events));
            count += open.events.len();
        }
        to.count(count);
        to.flag(open.is_some() && !as_committed);
        if let Some(open) = open.filter(|_| !as_committed) {
            open.save(to, transaction, events)?;
        }
        Ok(saved)
    }

    /// Reads a host for an instance of `program`, whose last commit has made version `version`.
    pub(crate) fn restore(
        database: &'a Database,
        program: &Program,
        options: &Options,
        version: u64,
        from: &mut Reader<'_>,
        transaction: &mut Reader<'_>,
        events: &mut Reader<'_>,
    ) -> Result<TxHost<'a>, RestoreError> {
        let contract_name = Cow::Owned(from.text()?.to_owned());
        let collections = program.module().collections.clone();
        let has_files = from.flag()?;
        let env = restore_env(from)?;
        let random = RandomStream::at(from.number()?);
        let depth = from.small()?;
        let cursors_before = from.number()?;
        let (changed_keys, has_committed) = (from.number()?, from.flag()?);
        let versions = (from.number()?, version);
        let is_made = from.flag()?;
        let made = from.number()?;
        let mut door = Door::default();
        door.outside = options.outside.clone();
        door.restore(from)?;
        let count: usize = from.small()?;
        let committed = (0..count).map(|_| restore_event(events)).collect::<Result<_, _>>()?;
        let open = match from.flag()? {
            true => Some(OpenTx::restore(database, &collections, from, transaction, events)?),
            false => None,
        };
        from.require(!(is_made && open.is_some()), "a transaction is open and committed")?;
        from.require(depth == 0 || open.is_some(), "a contract was called without a transaction")?;
        transaction.end()?;
        events.end()?;
        Ok(TxHost {
            database,
            durability: options.durability,
            contract_name,
            has_files,
            collections: Cow::Owned(collections),
            env,
            random,
            open,
            depth,
            door,
            events: committed,
            cursors_before,
            changed_keys,
            has_committed,
            failure: None,
            again: None,
            versions,
            past: Past::default(),
            commit: Some(if is_made { Commit::Made(made) } else { Commit::None }),
            has_written_rows: false,
        })
    }

    /// Reads what a contract call goes back to: an instance of `program`.
    pub(crate) fn restore_caller(
        &self,
        program: &Program,
        from: &mut Reader<'_>,
    ) -> Result<Caller<'a>, Damage> {
        let collections = program.module().collections.clone();
        let opened = self.open.as_ref().map_or(0, |open| open.tx.opened_collections());
        Ok(Caller {
            tx: Outer::restore(&collections, opened, from)?,
            name: Cow::Owned(from.text()?.to_owned()),
            collections: Cow::Owned(collections),
            env: restore_env(from)?,
            past: Past::default(),
            has_files: from.flag()?,
            files: restore_files(self.door.last_file(), from)?,
        })
    }

    /// How many contract calls are not over.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Events of committed transactions, and of the open one if it is to be kept.
    pub(crate) fn events_so_far(&self, with_open: bool) -> Writer {
        let mut to = Writer::new();
        self.events.iter().for_each(|event| save_event(event, &mut to));
        if let Some(open) = self.open.as_ref().filter(|_| with_open) {
            open.events.iter().for_each(|event| save_event(event, &mut to));
        }
        to
    }
}

impl Caller<'_> {
    /// Writes it down.
    pub(crate) fn save(&self, to: &mut Writer) {
        self.tx.save(to);
        to.bytes(self.name.as_bytes());
        save_env(&self.env, to);
        to.flag(self.has_files);
        save_files(&self.files, to);
    }
}
