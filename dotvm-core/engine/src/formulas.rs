//! NOCK: which function of a growing program stands for a formula.
//!
//! A function stands for a formula on any subject, or only on subjects whose head is a certain noun (the battery of a
//! core, whose arms the formula may call). Formulas are found by value; the ones met last are found by identity, for
//! each place in the code its own.

use std::cmp::Ordering;

use dotvm_arch::Word;
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Heap, Reference};
use hashbrown::HashMap;

use crate::machine::{Machine, Stop};

/// Places of formulas met last; a power of two.
const RECENT: usize = 4096;

/// Functions of one formula for different batteries; where there are more, one for any subject is asked for.
const MOST_BATTERIES: usize = 16;

/// What a function stands for. Both references are counted.
#[derive(Debug, Default)]
struct Entry {
    formula: Reference,
    /// What the subject's head must be; null if it may be anything.
    battery: Reference,
    function: u32,
}

impl Entry {
    /// Whether the function does for this formula and subject, as far as identity tells.
    #[inline(always)]
    fn is_for(&self, heap: &Heap, formula: &Reference, subject: &Reference) -> bool {
        self.formula == *formula
            && (self.battery.is_null() || heap.head(subject).is_some_and(|head| *head == self.battery))
    }
}

/// The functions of formulas.
#[derive(Debug)]
pub(crate) struct Formulas {
    /// By the formula's mug, oldest first.
    entries: HashMap<u32, Vec<Entry>>,
    recent: Box<[Entry]>,
    /// Where the formula lies that waits for its function, on the reference stack behind its subject.
    pub wanted: usize,
}

impl Formulas {
    pub fn new() -> Formulas {
        let recent = std::iter::repeat_with(Entry::default).take(RECENT).collect();
        Formulas { entries: HashMap::new(), recent, wanted: 0 }
    }

    /// From now on a function stands for a formula on subjects with this head, or any if it is null.
    pub fn define(
        &mut self,
        heap: &mut Heap,
        mug: u32,
        formula: &Reference,
        battery: &Reference,
        function: u32,
    ) {
        let entry = Entry { formula: heap.share(formula), battery: heap.share(battery), function };
        self.entries.entry(mug).or_default().push(entry);
    }

    /// How many functions there are for formulas with this mug.
    pub fn count(&self, mug: u32) -> usize {
        self.entries.get(&mug).map_or(0, Vec::len)
    }
}

/// Whether there are so many functions of a formula that the next is to be one for any subject.
pub(crate) fn is_crowded(count: usize) -> bool {
    count >= MOST_BATTERIES
}

impl<W: Word> Machine<'_, W> {
    /// The function for the subject and the formula from `at` on, if it was the last that was met at this place.
    #[inline(always)]
    pub fn known_formula(&self, at: usize, place: usize) -> Option<u32> {
        let entry = &self.formulas.as_ref()?.recent[place % RECENT];
        entry.is_for(&self.heap, &self.refs[at + 1], &self.refs[at]).then_some(entry.function)
    }

    /// The same by value.
    #[inline(never)]
    pub fn formula(&mut self, at: usize, place: usize) -> Result<u32, Stop> {
        if !self.refs[at + 1].is_cell() {
            return Err(Stop::trap(TrapKind::Kind));
        }
        if self.formulas.is_none() {
            return Err(Stop::trap(TrapKind::Null));
        }
        let mug = self.heap.mug(&self.refs[at + 1], |cost| self.gas.charge(cost))?;
        let Machine { formulas: Some(formulas), heap, refs, gas, .. } = self else {
            unreachable!("it is there")
        };
        let (subject, formula) = (&refs[at], &refs[at + 1]);
        for entry in formulas.entries.get(&mug).into_iter().flatten() {
            if entry.formula != *formula
                && heap.compare(&entry.formula, formula, |cost| gas.charge(cost))? != Ordering::Equal
            {
                continue;
            }
            let mut battery = Reference::NULL;
            if !entry.battery.is_null() {
                let Some(head) = heap.head(subject).map(Reference::alias) else { continue };
                if head != entry.battery {
                    // Two hashes before two structures.
                    let hashes = [&head, &entry.battery].map(|noun| heap.mug(noun, |cost| gas.charge(cost)));
                    let [first, second] = hashes;
                    if first? != second?
                        || heap.compare(&head, &entry.battery, |cost| gas.charge(cost))? != Ordering::Equal
                    {
                        continue;
                    }
                }
                battery = heap.share(&head);
            }
            let recent = Entry { formula: heap.share(formula), battery, function: entry.function };
            let old = std::mem::replace(&mut formulas.recent[place % RECENT], recent);
            let function = entry.function;
            heap.release(old.formula);
            heap.release(old.battery);
            return Ok(function);
        }
        formulas.wanted = at;
        Err(Stop::Formula)
    }
}
