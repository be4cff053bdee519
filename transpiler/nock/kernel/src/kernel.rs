//! How a kernel is called: arms at fixed axes, each a gate whose sample is replaced.

use dotvm_core::value::Ref;
use dotvm_nock_machine::{Bounds, Failure, Input, Ran, run};
use num_bigint::{BigInt, BigUint};

use crate::Error;

/// Axis of the arm that makes a kernel of this code and the state of an earlier one: upgrades.
pub const LOAD: u64 = 4;
/// Axis of the arm that answers questions.
pub const PEEK: u64 = 22;
/// Axis of the arm that takes events.
pub const POKE: u64 = 23;
/// The arms that a kernel must have.
pub const ARMS: [(u64, &str); 3] = [(LOAD, "load"), (PEEK, "peek"), (POKE, "poke")];

/// Axis of the battery, which holds the arms.
pub const BATTERY: u64 = 2;
/// Axis of the state: the sample of the kernel's core.
pub const STATE: u64 = 6;
/// Axis of what lies behind the state: the core's context.
pub const CONTEXT: u64 = 7;

/// The part of a noun at an axis.
pub fn part(noun: &Ref, axis: &BigUint) -> Option<Ref> {
    let mut part = noun;
    for bit in (0..axis.bits().checked_sub(1)?).rev() {
        let Ref::Cell(cell) = part else { return None };
        part = if axis.bit(bit) { cell.tail() } else { cell.head() };
    }
    Some(part.clone())
}

fn at(noun: &Ref, axis: u64) -> Option<Ref> {
    part(noun, &axis.into())
}

fn atom(number: u64) -> Ref {
    Ref::Int(BigInt::from(number))
}

/// The list of these nouns, the last one its end.
fn nouns<const N: usize>(parts: [Ref; N]) -> Ref {
    let mut parts = parts.into_iter().rev();
    let last = parts.next().unwrap_or_default();
    parts.fold(last, |tail, head| Ref::cell(head, tail))
}

/// A kernel: `[battery state context]` with the arms [`ARMS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel(Ref);

/// What came of an event.
#[derive(Clone, Debug)]
pub struct Poked {
    /// What the kernel wants to be done, a list as a rule: the head of the product.
    pub effects: Ref,
    /// The kernel after the event: the tail of the product.
    pub kernel: Kernel,
    /// Gas used.
    pub gas_used: u64,
}

impl Kernel {
    /// The kernel that a noun is.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn new(noun: Ref) -> Result<Kernel, Error> {
        if at(&noun, CONTEXT).is_none() {
            return Err(Error::Shape("it is not [battery state context]"));
        }
        for (axis, _) in ARMS {
            if !matches!(at(&noun, axis), Some(Ref::Cell(_))) {
                return Err(Error::Shape(
                    "its battery has no arms load, peek and poke at the axes 4, 22 and 23",
                ));
            }
        }
        Ok(Kernel(noun))
    }

    /// The kernel that a trap gives: the product of its arm at axis 2.
    ///
    /// # Errors
    /// [`Error::Nock`], [`Error::Shape`].
    pub fn of_trap(trap: Ref, bounds: &Bounds) -> Result<Kernel, Error> {
        let formula = nouns([atom(9), atom(2), atom(0), atom(1)]);
        Kernel::new(run(&Input::Pair(trap, formula), bounds).result?)
    }

    pub(crate) fn assemble(code: &Ref, state: Ref) -> Result<Kernel, Error> {
        let Ref::Cell(code) = code else { return Err(Error::Shape("its code is no pair")) };
        Kernel::new(nouns([code.head().clone(), state, code.tail().clone()]))
    }

    /// The whole core.
    pub fn noun(&self) -> &Ref {
        &self.0
    }

    /// The state, which is at axis 6.
    pub fn state(&self) -> Ref {
        at(&self.0, STATE).unwrap_or_default()
    }

    /// The pair of battery and context.
    pub fn code(&self) -> Ref {
        let part = |axis| at(&self.0, axis).unwrap_or_default();
        Ref::cell(part(BATTERY), part(CONTEXT))
    }

    /// Calls an arm: `[8 [9 axis 0 2] 9 2 10 [6 0 7] 0 2]` of `[kernel sample]`. The arm's product is a gate, whose sample is
    /// replaced and which is called.
    pub fn slam(&self, axis: u64, sample: Ref, bounds: &Bounds) -> Ran {
        let arm = nouns([atom(9), atom(axis), atom(0), atom(2)]);
        let replaced = nouns([atom(6), atom(0), atom(7)]);
        let formula = nouns([atom(8), arm, atom(9), atom(2), atom(10), replaced, atom(0), atom(2)]);
        run(&Input::Pair(Ref::cell(self.0.clone(), sample), formula), bounds)
    }

    /// Gives the kernel an event.
    ///
    /// # Errors
    /// [`Error::Nock`]; [`Error::Product`] if its product is not a pair of effects and a kernel.
    pub fn poke(&self, event: Ref, bounds: &Bounds) -> Result<Poked, Error> {
        let Ran { result, gas_used, .. } = self.slam(POKE, event, bounds);
        let not_both = Error::Product("the product of poke is not a pair of effects and a kernel");
        let Ref::Cell(product) = result? else { return Err(not_both) };
        let Ok(kernel) = Kernel::new(product.tail().clone()) else { return Err(not_both) };
        Ok(Poked { effects: product.head().clone(), kernel, gas_used })
    }

    /// Asks the kernel something: as a rule 0, `[0 0]` or `[0 0 answer]`.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn peek(&self, path: Ref, bounds: &Bounds) -> Result<(Ref, u64), Failure> {
        let Ran { result, gas_used, .. } = self.slam(PEEK, path, bounds);
        Ok((result?, gas_used))
    }

    /// This kernel with the state of an earlier one, as its arm `load` says.
    ///
    /// # Errors
    /// [`Error::Nock`]; [`Error::Product`] if its product is no kernel.
    pub fn load(&self, state: Ref, bounds: &Bounds) -> Result<Kernel, Error> {
        let product = self.slam(LOAD, state, bounds).result?;
        Kernel::new(product).map_err(|_| Error::Product("the product of load is no kernel"))
    }
}
