//! Scratch slots: words that live as long as the transaction, with an undo log for savepoints.

use dotvm_codec::{Damage, Reader, Writer};
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

    /// Writes the slots down.
    pub(crate) fn save(&self, to: &mut Writer) {
        save_places(&self.places, to);
        let mut others: Vec<_> = self.others.iter().collect();
        others.sort_unstable_by_key(|(contract, _)| **contract);
        to.count(others.len());
        for (&contract, places) in others {
            to.number(contract);
            save_places(places, to);
        }
        to.count(self.values.len());
        self.values.iter().for_each(|value| to.bytes(value.as_bytes()));
        to.count(self.undo.len());
        for (place, value) in &self.undo {
            to.count(*place);
            to.bytes(value.as_bytes());
        }
    }

    /// Reads slots.
    pub(crate) fn restore(from: &mut Reader<'_>) -> Result<Scratch, Damage> {
        let mut greatest = None;
        let mut scratch = Scratch { places: restore_places(&mut greatest, from)?, ..Scratch::default() };
        for _ in 0..from.count(2)? {
            let contract = from.small()?;
            let places = restore_places(&mut greatest, from)?;
            let is_new = scratch.others.insert(contract, places).is_none();
            from.require(is_new, "a contract's scratch slots are there twice")?;
        }
        for _ in 0..from.count(1)? {
            scratch.values.push(restore_value(from)?);
        }
        for _ in 0..from.count(2)? {
            let place = from.small()?;
            greatest = greatest.max(Some(place));
            scratch.undo.push((place, restore_value(from)?));
        }
        from.require(greatest < Some(scratch.values.len()), "a scratch slot has no value")?;
        Ok(scratch)
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

type Places = HashMap<Box<[u8]>, usize>;

fn save_places(places: &Places, to: &mut Writer) {
    let mut places: Vec<_> = places.iter().collect();
    places.sort_unstable();
    to.count(places.len());
    for (key, place) in places {
        to.bytes(key);
        to.count(*place);
    }
}

fn restore_places(greatest: &mut Option<usize>, from: &mut Reader<'_>) -> Result<Places, Damage> {
    let mut places = Places::new();
    for _ in 0..from.count(2)? {
        let key = from.bytes()?.into();
        let place = from.small()?;
        *greatest = (*greatest).max(Some(place));
        from.require(places.insert(key, place).is_none(), "a scratch slot is there twice")?;
    }
    Ok(places)
}

fn restore_value(from: &mut Reader<'_>) -> Result<SlotValue, Damage> {
    match SlotValue::new(from.bytes()?) {
        Some(value) => Ok(value),
        None => from.damage("the value of a scratch slot is too long"),
    }
}
