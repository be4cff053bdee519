//! Committing: validation, versions, and groups that share a flush.
//!
//! A transaction commits in three steps. Under the lock it is validated against every transaction
//! committed since its snapshot and given the next version. Its batch then joins those that wait. One of
//! the waiting threads, the leader, writes all waiting batches as one to the store, without the lock, and
//! wakes the others: while the disk flushes, the next group gathers.
//!
//! A transaction's *base* is the version that was surely in its snapshot. The snapshot may hold a group
//! that was being written when it was taken, which is then validated against in vain: a conflict too
//! many, never one too few.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dotdb_store::{Batch, Snapshot, Store, StoreError};

use crate::absence::Absences;
use crate::counters::{self, Merge};
use crate::durability::Durability;
use crate::error::DbError;
use crate::journal;
use crate::keys::{COUNTER, describe};
use crate::machines::RowsOfCommit;

/// Bytes of committed batches that are kept to validate against. When there are more, transactions older than the
/// oldest kept are asked to retry: one that is left open does not hold everything in memory that others commit.
const MAX_RECENT_BYTES: usize = 128 << 20;
/// What a row of a batch occupies beyond its bytes, roughly.
const ROW_BYTES: usize = 64;
/// For how long a leader of [`Durability::Group`] waits for transactions that are open to join.
const GROUP_DELAY: Duration = Duration::from_micros(500);

pub(crate) struct Pipeline {
    store: Arc<dyn Store>,
    /// Whether the journal says what changed, or only that something did.
    keeps_history: bool,
    state: Mutex<State>,
    /// A group was written.
    written: Condvar,
    /// A transaction joined those that wait, or ended without.
    joined: Condvar,
    /// What no transaction before has inserted.
    pub(crate) absences: Absences,
}

struct State {
    /// The version that the store holds.
    applied: u64,
    /// The last version given to a validated transaction.
    given: u64,
    /// Bases of the open read-write transactions, and how many have each.
    active: BTreeMap<u64, usize>,
    open: usize,
    /// What was committed after the smallest of `active`, in the order of versions.
    recent: VecDeque<(u64, Arc<Batch>)>,
    recent_bytes: usize,
    /// Every version after this one is in `recent`.
    recent_after: u64,
    waiting: Vec<Waiting>,
    last_ticket: u64,
    /// A thread is writing a group.
    leading: bool,
    /// Counters as the versions that were given but not yet applied leave them.
    counters: HashMap<Bytes, (u64, u64)>,
    /// Answers to tickets whose threads have not fetched them.
    answers: HashMap<u64, Result<(), Arc<StoreError>>>,
}

struct Waiting {
    ticket: u64,
    version: u64,
    batch: Arc<Batch>,
    durability: Durability,
}

/// What a transaction wants written.
pub(crate) struct Prepared {
    /// Keys with their new values; no key twice.
    pub(crate) writes: Vec<(Bytes, Option<Bytes>)>,
    pub(crate) merges: Vec<(Bytes, Merge)>,
    /// Numbers of the collections that were created.
    pub(crate) created: Vec<u32>,
    /// What the keys of `writes` held before.
    pub(crate) journal: journal::Writer,
    pub(crate) durability: Durability,
    /// Rows beside the state, which are written with it.
    pub(crate) with_commit: Option<RowsOfCommit>,
    /// The transaction's snapshot is older than its registration.
    pub(crate) is_snapshot_old: bool,
}

/// What a read-write transaction has of the pipeline while it is open.
pub(crate) struct Registration {
    pipeline: Arc<Pipeline>,
    base: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.pipeline.lock();
        state.open -= 1;
        if let Some(count) = state.active.get_mut(&self.base) {
            *count -= 1;
            if *count == 0 {
                state.active.remove(&self.base);
            }
        }
        state.forget();
        if state.leading {
            self.pipeline.joined.notify_one();
        }
    }
}

impl Registration {
    pub(crate) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }
}

fn bytes_of(batch: &Batch) -> usize {
    batch.iter().map(|(key, value)| ROW_BYTES + key.len() + value.map_or(0, Bytes::len)).sum()
}

impl State {
    /// Drops what no open transaction, and none to come, can conflict with.
    fn forget(&mut self) {
        let oldest = self.active.first_key_value().map_or(self.applied, |(&base, _)| base.min(self.applied));
        while let Some((version, batch)) = self.recent.front() {
            if *version > oldest && self.recent_bytes <= MAX_RECENT_BYTES {
                break;
            }
            // What is not in the store yet must stay, as must what a transaction that begins now will not see.
            if *version > self.applied {
                break;
            }
            self.recent_after = *version;
            self.recent_bytes -= bytes_of(batch);
            self.recent.pop_front();
        }
    }
}

impl Pipeline {
    pub(crate) fn new(store: Arc<dyn Store>, version: u64, keeps_history: bool) -> Pipeline {
        Pipeline {
            store,
            keeps_history,
            state: Mutex::new(State {
                applied: version,
                given: version,
                active: BTreeMap::new(),
                open: 0,
                recent: VecDeque::new(),
                recent_bytes: 0,
                recent_after: version,
                waiting: Vec::new(),
                last_ticket: 0,
                leading: false,
                counters: HashMap::new(),
                answers: HashMap::new(),
            }),
            written: Condvar::new(),
            joined: Condvar::new(),
            absences: Absences::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that the store holds.
    pub(crate) fn version(&self) -> u64 {
        self.lock().applied
    }

    /// Waits until the store holds a version after `version`, for at most so long.
    pub(crate) fn wait_past(&self, version: u64, timeout: Duration) -> u64 {
        let none = |state: &mut State| state.applied <= version;
        let waited = self.written.wait_timeout_while(self.lock(), timeout, none);
        waited.unwrap_or_else(PoisonError::into_inner).0.applied
    }

    /// A snapshot for a read-write transaction.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<(Arc<dyn Snapshot>, Registration), DbError> {
        let mut state = self.lock();
        let base = state.applied;
        let snapshot = self.store.snapshot()?;
        *state.active.entry(base).or_default() += 1;
        state.open += 1;
        Ok((snapshot, Registration { pipeline: Arc::clone(self), base }))
    }

    /// Validates a transaction and writes it. `has_read` tells whether it has read a key; `snapshot` is its own.
    /// Answers its version.
    ///
    /// # Errors
    /// [`DbError::Conflict`]; what the store answers, to every transaction of the group.
    pub(crate) fn commit(
        &self,
        registration: Registration,
        snapshot: Arc<dyn Snapshot>,
        prepared: Prepared,
        mut has_read: impl FnMut(&[u8]) -> bool,
    ) -> Result<u64, DbError> {
        let mut state = self.lock();
        if registration.base < state.recent_after {
            return Err(DbError::Conflict {
                with: "so much was committed meanwhile that it cannot be told what".into(),
            });
        }
        for (_, batch) in state.recent.iter().rev().take_while(|(version, _)| *version > registration.base) {
            if let Some((key, _)) = batch.iter().find(|(key, _)| has_read(key)) {
                return Err(DbError::Conflict {
                    with: format!("another transaction changed {}", describe(key)),
                });
            }
        }
        let version = state.given + 1;
        let Prepared { mut writes, merges, created, mut journal, durability, with_commit, is_snapshot_old } =
            prepared;
        let is_latest = version == registration.base + 1 && !is_snapshot_old;
        let merged = self.merge(&state, is_latest, &*snapshot, merges)?;
        self.absences.add(&created, &writes);
        // Nodes that a snapshot still shares would be copied instead of changed.
        drop(snapshot);
        for (key, old, new) in &merged {
            if self.keeps_history {
                journal.push(key, counters::encode(*old).as_deref());
            }
            writes.push((key.clone(), counters::encode(*new)));
        }
        writes.extend(journal.rows(version).map(|(key, value)| (key, Some(value))));
        if !self.keeps_history && version > 1 {
            writes.push((journal::row_key(version - 1, 0), None));
        }
        writes.extend(with_commit.into_iter().flat_map(|rows| rows(version)));
        // Not only those merged: restoring sets them.
        let counters = writes.iter().filter(|(key, _)| key.first() == Some(&COUNTER));
        let counters: Vec<(Bytes, (u64, u64))> = counters
            .map(|(key, value)| Ok((key.clone(), (version, counters::decode(key, value.as_ref())?))))
            .collect::<Result<_, DbError>>()?;
        state.counters.extend(counters);
        let batch = Arc::new(Batch::from(writes));
        state.given = version;
        state.recent_bytes += bytes_of(&batch);
        state.recent.push_back((version, Arc::clone(&batch)));
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        state.waiting.push(Waiting { ticket, version, batch, durability });
        if state.leading {
            self.joined.notify_one();
        }
        let answer = loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                break answer;
            }
            state = if state.leading {
                self.written.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.lead(state)
            };
        };
        drop(state);
        drop(registration);
        match answer {
            Ok(()) => Ok(version),
            Err(error) => Err(DbError::from_shared(error)),
        }
    }

    /// Counters before and after a transaction's changes.
    fn merge(
        &self,
        state: &State,
        is_latest: bool,
        snapshot: &dyn Snapshot,
        merges: Vec<(Bytes, Merge)>,
    ) -> Result<Vec<(Bytes, u64, u64)>, DbError> {
        if merges.is_empty() {
            return Ok(Vec::new());
        }
        // With nothing committed since, the transaction's own snapshot is the state.
        let latest = if is_latest { None } else { Some(self.store.snapshot()?) };
        let snapshot = latest.as_deref().unwrap_or(snapshot);
        let mut merged = Vec::with_capacity(merges.len());
        for (key, merge) in merges {
            let old = match state.counters.get(&key) {
                Some(&(_, value)) => value,
                None => counters::decode(&key, snapshot.get(&key)?.as_ref())?,
            };
            let new = merge.apply(&key, old)?;
            if new != old {
                merged.push((key, old, new));
            }
        }
        Ok(merged)
    }

    /// Writes the group that waits, without holding the lock.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.leading = true;
        if state.waiting.iter().all(|waiting| waiting.durability == Durability::Group) {
            let more = |state: &mut State| state.waiting.len() < state.open;
            let waited = self.joined.wait_timeout_while(state, GROUP_DELAY, more);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let group = mem::take(&mut state.waiting);
        drop(state);
        let result = self.write(&group);
        let mut state = self.lock();
        state.leading = false;
        match result {
            Ok(()) => {
                if let Some(last) = group.last() {
                    state.applied = last.version;
                }
                let applied = state.applied;
                state.counters.retain(|_, (version, _)| *version > applied);
                state.answers.extend(group.iter().map(|waiting| (waiting.ticket, Ok(()))));
            }
            Err(error) => {
                let error = Arc::new(error);
                let applied = state.applied;
                // Those that wait were validated against, and numbered after, what was not written.
                let lost = mem::take(&mut state.waiting);
                let lost = group.iter().chain(&lost).map(|waiting| (waiting.ticket, Err(Arc::clone(&error))));
                state.answers.extend(lost);
                state.given = applied;
                state.counters.clear();
                state.recent.retain(|(version, _)| *version <= applied);
                state.recent_bytes = state.recent.iter().map(|(_, batch)| bytes_of(batch)).sum();
            }
        }
        state.forget();
        self.written.notify_all();
        state
    }

    fn write(&self, group: &[Waiting]) -> Result<(), StoreError> {
        let durable = group.iter().any(|waiting| waiting.durability != Durability::None);
        let durability = if durable { dotdb_store::Durability::Sync } else { dotdb_store::Durability::None };
        match group {
            [one] => self.store.apply(&one.batch, durability),
            group => {
                let writes = group.iter().flat_map(|waiting| waiting.batch.iter());
                let batch: Batch = writes.map(|(key, value)| (key.clone(), value.cloned())).collect();
                self.store.apply(&batch, durability)
            }
        }
    }
}
