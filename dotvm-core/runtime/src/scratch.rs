//! Scratch slots: words that live as long as the transaction, with an undo log for savepoints.

use dotvm_core::host::SlotValue;
use hashbrown::HashMap;

use crate::open_tx::MAX_SCRATCH_SLOTS;

/// The scratch slots of one transaction.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Place of each key of the contract that runs in `values`. Never iterated.
    places: HashMap<Box<[u8]>, usize>,
    /// The same of the other contracts, by their numbers.
    others: HashMap<u32, HashMap<Box<[u8]>, usize>>,
    values: Vec<SlotValue>,
    /// Place and former value of each change made while a savepoint was set.
    undo: Vec<(usize, SlotValue)>,
}

impl Scratch {
    /// The value of a key, zero if it was never set.
    #[inline]
    pub(crate) fn load(&self, key: &[u8]) -> SlotValue {
        self.places.get(key).map_or(SlotValue::ZERO, |&place| self.values[place])
    }

    /// Sets a value, undoably or for good. False if the limit on slots and undoable changes is reached.
    #[inline]
    pub(crate) fn store(&mut self, key: &[u8], value: SlotValue, undoable: bool) -> bool {
        if undoable && self.undo.len() >= MAX_SCRATCH_SLOTS {
            return false;
        }
        let place = match self.places.get(key) {
            Some(&place) => place,
            None if self.values.len() >= MAX_SCRATCH_SLOTS => return false,
            None => {
                self.places.insert(key.into(), self.values.len());
                self.values.push(SlotValue::ZERO);
                self.values.len() - 1
            }
        };
        if undoable {
            self.undo.push((place, self.values[place]));
        }
        self.values[place] = value;
        true
    }

    /// Goes over from the slots of one contract to those of another.
    pub(crate) fn switch(&mut self, from: u32, to: u32) {
        if from != to {
            let there = self.others.remove(&to).unwrap_or_default();
            self.others.insert(from, std::mem::replace(&mut self.places, there));
        }
    }

    /// A point to roll back to.
    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Undoes what was set since `mark`.
    pub(crate) fn rollback(&mut self, mark: usize) {
        for (place, value) in self.undo.drain(mark..).rev() {
            self.values[place] = value;
        }
    }
}
