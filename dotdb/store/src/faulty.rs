//! A layer that makes a store fail on demand, to test what is above it.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::{
    Batch, CompactReport, Damage, Direction, Durability, PairIter, Snapshot, Store, StoreError, StoreStats,
};

/// A store whose calls fail once a countdown has run out. Snapshots, reads, each row of a range,
/// batches and syncs count one each; a failing batch changes nothing.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    countdown: Countdown,
}

/// Calls left before every call fails; `u64::MAX` never fails. Shared with the snapshots.
#[derive(Clone)]
struct Countdown(Arc<AtomicU64>);

impl Countdown {
    fn tick(&self) -> Result<(), StoreError> {
        let step = |left: u64| match left {
            u64::MAX => Some(u64::MAX),
            _ => left.checked_sub(1),
        };
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Io {
                context: "the injected fault".into(),
                source: io::Error::other("the countdown has run out"),
            }),
        }
    }
}

impl FaultyStore {
    /// A layer over `inner` that does not fail yet.
    pub fn new(inner: Arc<dyn Store>) -> FaultyStore {
        FaultyStore { inner, countdown: Countdown(Arc::new(AtomicU64::new(u64::MAX))) }
    }

    /// Lets `calls` calls through, then fails all others.
    pub fn fail_after(&self, calls: u64) {
        self.countdown.0.store(calls, Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.countdown.0.store(u64::MAX, Ordering::SeqCst);
    }
}

impl Store for FaultyStore {
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.countdown.tick()?;
        Ok(Arc::new(FaultySnapshot { inner: self.inner.snapshot()?, countdown: self.countdown.clone() }))
    }

    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.countdown.tick()?;
        self.inner.apply(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.countdown.tick()?;
        self.inner.sync()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats()
    }

    fn compact(&self) -> Result<CompactReport, StoreError> {
        self.countdown.tick()?;
        self.inner.compact()
    }

    fn check(&self, found: &mut dyn FnMut(Damage)) -> Result<(), StoreError> {
        self.countdown.tick()?;
        self.inner.check(found)
    }

    fn read_only(&self) -> bool {
        self.inner.read_only()
    }
}

struct FaultySnapshot {
    inner: Arc<dyn Snapshot>,
    countdown: Countdown,
}

impl Snapshot for FaultySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.countdown.tick()?;
        self.inner.get(key)
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<PairIter, StoreError> {
        self.countdown.tick()?;
        let rows = self.inner.range(from, to, direction)?;
        Ok(Box::new(FaultyIter { rows: Some(rows), countdown: self.countdown.clone() }))
    }
}

struct FaultyIter {
    /// `None` after an error.
    rows: Option<PairIter>,
    countdown: Countdown,
}

impl Iterator for FaultyIter {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        if let Err(error) = self.countdown.tick() {
            self.rows = None;
            return Some(Err(error));
        }
        rows.next()
    }
}
