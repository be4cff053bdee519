//! What whoever runs an instance does for NOCK: functions of its own for formulas (jets), and answers to formulas that
//! are byte strings, which no noun holds (hints).

use bytes::Bytes;
use dotvm_core::gas::OutOfGas;
use dotvm_core::trap::TrapKind;
use dotvm_heap::{Failure, Heap, NounError, Reference};

use crate::machine::Stop;

/// Work as it is to be paid, before it is done.
pub type Charge<'a> = &'a mut dyn FnMut(u64) -> Result<(), OutOfGas>;

/// A call of a formula that somebody shows interest in. The references are not counted.
#[derive(Debug)]
pub struct FormulaCall<'a> {
    /// What the references lead to.
    pub heap: &'a mut Heap,
    /// The subject.
    pub subject: &'a Reference,
    /// The formula, a noun.
    pub formula: &'a Reference,
    /// Its mug.
    pub mug: u32,
    /// Whether it was called as a pair of a byte string and the formula.
    pub is_marked: bool,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Answer {
    /// The function that stands for the formula is called.
    Formula,
    /// This is the product. It is counted.
    Product(Reference),
    /// This function is called with the subject and another reference, which is counted.
    Through(u32, Reference),
}

/// Why there is no answer. Nothing has changed then but for what was given back.
#[derive(Debug)]
pub enum Refusal {
    /// What was to be done cannot be paid; it may be asked for again.
    Gas,
    /// The call traps.
    Trap(TrapKind),
    /// The machine underneath cannot go on.
    Machine(String),
}

impl From<OutOfGas> for Refusal {
    fn from(_: OutOfGas) -> Refusal {
        Refusal::Gas
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        match failure {
            Failure::Full => Refusal::Trap(TrapKind::OutOfMemory),
            Failure::Machine => Refusal::Machine("The machine has no memory for more cells.".to_owned()),
        }
    }
}

impl From<NounError<OutOfGas>> for Refusal {
    fn from(error: NounError<OutOfGas>) -> Refusal {
        match error {
            NounError::Kind => Refusal::Trap(TrapKind::Kind),
            NounError::Size => Refusal::Trap(TrapKind::Size),
            NounError::Malformed => Refusal::Trap(TrapKind::Range),
            NounError::Charge(error) => error.into(),
            NounError::Failure(failure) => failure.into(),
        }
    }
}

impl From<Refusal> for Stop {
    #[cold]
    fn from(refusal: Refusal) -> Stop {
        match refusal {
            Refusal::Gas => Stop::trap(TrapKind::Gas),
            Refusal::Trap(kind) => Stop::trap(kind),
            Refusal::Machine(why) => Stop::Machine(why.into()),
        }
    }
}

/// What a growing instance asks. Answers must follow from what was asked before, for a run is to be the same wherever it
/// runs.
pub trait Services: Send {
    /// Whether formulas with this mug are to be shown to [`Services::call`] each time. An interest that is new is told by
    /// [`Served::is_new_interest`].
    fn is_of_interest(&self, mug: u32) -> bool;

    /// A formula of interest is called.
    ///
    /// # Errors
    /// See [`Refusal`].
    fn call(&mut self, call: FormulaCall<'_>, charge: Charge<'_>) -> Result<Answer, Refusal>;

    /// NOCK met a byte string in place of a formula.
    ///
    /// # Errors
    /// See [`Refusal`].
    fn serve(
        &mut self,
        name: &Bytes,
        heap: &mut Heap,
        subject: &Reference,
        charge: Charge<'_>,
    ) -> Result<Served, Refusal>;
}

/// The answer to a byte string.
#[derive(Debug)]
pub struct Served {
    /// The product. It is counted.
    pub product: Reference,
    /// Formulas have become of interest that were not before.
    pub is_new_interest: bool,
}
