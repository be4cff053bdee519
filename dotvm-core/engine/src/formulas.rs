//! NOCK: which function of a growing program stands for a formula.
//!
//! A function stands for a formula on any subject, or only on subjects whose head is a certain noun (the battery of a
//! core, whose arms the formula may call). Formulas are found by value; the ones met last are found by identity, for
//! each place in the code its own.
//!
//! A formula may be marked: a pair of a byte string and the formula. It means the same and has functions of its own.

use std::cmp::Ordering;

use dotvm_arch::Word;
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Heap, Kind, NounError, Reference};
use hashbrown::HashMap;

use crate::machine::{Machine, Stop};
use crate::services::{Answer, FormulaCall, Served, Services};

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

/// What NOCK found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    /// A function for the subject.
    Function(u32),
    /// A function for the subject and what lies in the formula's place now.
    Through(u32),
    /// The product, which lies in the subject's place.
    Product,
}

/// The bit of a hash of a marked formula; hashes of nouns have 31.
const MARKED: u32 = 1 << 31;

/// The hash that a formula's functions are kept by.
pub(crate) fn hash<E>(
    heap: &mut Heap,
    formula: &Reference,
    charge: impl FnMut(u64) -> Result<(), E>,
) -> Result<u32, NounError<E>> {
    match unmarked(heap, formula) {
        Some(formula) => Ok(heap.mug(&formula, charge)? | MARKED),
        None => heap.mug(formula, charge),
    }
}

/// The formula of a marked one.
fn unmarked(heap: &Heap, formula: &Reference) -> Option<Reference> {
    let is_marked = heap.head(formula).is_some_and(|head| head.kind() == Kind::Bytes);
    if is_marked { heap.tail(formula).map(Reference::alias) } else { None }
}

/// The functions of formulas.
pub(crate) struct Formulas {
    /// By the formula's mug, oldest first.
    entries: HashMap<u32, Vec<Entry>>,
    recent: Box<[Entry]>,
    /// Where the formula lies that waits for its function, on the reference stack behind its subject.
    pub wanted: usize,
    /// What is asked before functions are called.
    pub services: Option<Box<dyn Services>>,
    /// The function that returns its only argument, if there are services.
    pub identity: u32,
}

impl Formulas {
    pub fn new() -> Formulas {
        let recent = std::iter::repeat_with(Entry::default).take(RECENT).collect();
        Formulas { entries: HashMap::new(), recent, wanted: 0, services: None, identity: 0 }
    }

    /// Forgets places whose formulas have become of interest.
    fn forget_interest(&mut self, heap: &mut Heap) {
        let Some(services) = &self.services else { return };
        for entry in &mut self.recent {
            let Ok(mug) = hash(heap, &entry.formula, |_| Ok::<(), ()>(())) else { continue };
            if services.is_of_interest(mug & !MARKED) {
                let old = std::mem::take(entry);
                heap.release(old.formula);
                heap.release(old.battery);
            }
        }
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
        let formula = &self.refs[at + 1];
        let entry = &self.formulas.as_ref()?.recent[slot(place, formula)];
        entry.is_for(&self.heap, formula, &self.refs[at]).then_some(entry.function)
    }

    /// The same by value.
    #[inline(never)]
    pub fn formula(&mut self, at: usize, place: usize) -> Result<Found, Stop> {
        if !self.refs[at + 1].is_cell() {
            return self.service(at);
        }
        if self.formulas.is_none() {
            return Err(Stop::trap(TrapKind::Null));
        }
        let mug = hash(&mut self.heap, &self.refs[at + 1], |cost| self.gas.charge(cost))?;
        let Machine { formulas: Some(formulas), heap, refs, gas, .. } = self else {
            unreachable!("it is there")
        };
        let (subject, formula) = (&refs[at], &refs[at + 1]);
        let mut is_shown = false;
        if let Some(services) = &mut formulas.services
            && services.is_of_interest(mug & !MARKED)
        {
            let unmarked = unmarked(heap, formula);
            let is_marked = unmarked.is_some();
            let formula = unmarked.unwrap_or_else(|| formula.alias());
            let call = FormulaCall { heap, subject, formula: &formula, mug: mug & !MARKED, is_marked };
            match services.call(call, &mut |cost| gas.charge(cost))? {
                Answer::Formula => is_shown = true,
                Answer::Product(product) => {
                    self.set_ref(at, product);
                    self.clear_refs(at + 1, 1);
                    return Ok(Found::Product);
                }
                Answer::Through(function, with) => {
                    self.set_ref(at + 1, with);
                    return Ok(Found::Through(function));
                }
            }
        }
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
                battery = head;
            }
            let function = entry.function;
            if !is_shown {
                let recent = Entry { formula: heap.share(formula), battery: heap.share(&battery), function };
                let old = std::mem::replace(&mut formulas.recent[slot(place, formula)], recent);
                heap.release(old.formula);
                heap.release(old.battery);
            }
            return Ok(Found::Function(function));
        }
        formulas.wanted = at;
        Err(Stop::Formula)
    }

    /// The answer to a byte string in place of a formula.
    fn service(&mut self, at: usize) -> Result<Found, Stop> {
        let Some(name) = self.heap.as_bytes(&self.refs[at + 1]).cloned() else {
            return Err(Stop::trap(TrapKind::Kind));
        };
        let Machine { formulas: Some(formulas), heap, refs, gas, .. } = self else {
            return Err(Stop::trap(TrapKind::Kind));
        };
        let Some(services) = &mut formulas.services else { return Err(Stop::trap(TrapKind::Kind)) };
        let Served { product, is_new_interest } =
            services.serve(&name, heap, &refs[at], &mut |cost| gas.charge(cost))?;
        if is_new_interest {
            formulas.forget_interest(heap);
        }
        self.set_ref(at, product);
        self.clear_refs(at + 1, 1);
        Ok(Found::Product)
    }

    /// The function that returns its only argument.
    #[cold]
    pub fn identity_function(&self) -> u32 {
        self.formulas.as_ref().map_or(0, |formulas| formulas.identity)
    }
}

/// Where the entry for a formula at a place is: formulas have places of their own at places that see many.
#[inline(always)]
fn slot(place: usize, formula: &Reference) -> usize {
    (place ^ (formula.identity() >> 32) as usize) % RECENT
}
