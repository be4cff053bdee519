//! The gas schedule: what each class of operation costs at each operating width.
//!
//! The static cost of a basic block is taken when the block is entered; if it does not fit, the block does not
//! start. Costs that depend on lengths or on storage are taken before their effect. Weights are initial: they
//! have the right shape and are not yet calibrated.

pub mod crypto;

/// Number of this schedule, kept with each module.
pub const SCHEDULE: u16 = 1;

/// The gas class of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Free.
    Z,
    /// Basic: 1.
    B,
    /// Jump: 1.
    J,
    /// Jump by map: 3.
    Jmap,
    /// Add, logic, compare.
    A,
    /// Multiply.
    M,
    /// Divide.
    D,
    /// Twice a division.
    D2,
    /// Power: 10, and half a division per bit of the exponent.
    E,
    /// Modular power or inverse: twice E, over the bits of the exponent or the modulus.
    E2,
    /// Floating point: 2.
    F,
    /// Load or store.
    L,
    /// Copy: 1, and 1 per 32 bytes.
    C,
    /// Product of matrices: 10, 1 per 32 bytes of all three, and 1 per 32 bytes of terms.
    Mat,
    /// Growth of memory: 1, and 1 per 64 bytes made usable.
    G,
    /// Allocator: 10, and 1 per 64 bytes.
    Al,
    /// New reference to few bytes, or to bytes that are there: 4.
    New,
    /// New reference: 4, and 1 per 32 bytes.
    R,
    /// Way into a tree: 1, and 1 per step.
    Way,
    /// Cells made anew: 4, and 8 for each.
    Cells,
    /// Comparison of references: 1, 4 for each pair of cells that does not follow from others, and 1 per 32 bytes of the
    /// shorter of two byte strings or integers.
    Same,
    /// Noun: 10, 8 for each cell and 1 for each limb of 64 bits of an atom.
    Noun,
    /// Unbounded integers, limb by limb: 2, and 1 per 2 limbs of 64 bits.
    Zn,
    /// Unbounded integers, each limb with each: 4, and half the product of the numbers of limbs.
    Zm,
    /// Function of unbounded integers: 20, and what [`crate::integer::cost`] says.
    Zf,
    /// Document: 10, and 1 per 2 bytes.
    Doc,
    /// Contract slot: 20, 480 more on first touch, and 1 per 8 bytes of key and value.
    S,
    /// Scratch slot: 10.
    S0,
    /// Database: 300, 20 per row and 1 per 8 bytes of keys and documents.
    Q,
    /// Transaction: 100, and at a commit 50 per changed key; roots and proofs 2000 and 5000 per changed key.
    T,
    /// Hash: 20, and the algorithm's weight per block; proofs: 20, and SHA-256 of them and of their siblings; events:
    /// 20, and 1 per 8 bytes.
    H,
    /// Keys and signatures: 20, and what the algorithm takes.
    K,
    /// Host call: 50, and what the call itself costs.
    X,
    /// Call: 3, and 1 per 8 word locals of the callee.
    Call,
    /// Indirect call: 5, and 1 per 8 word locals of the callee.
    Calli,
    /// Between tasks: 20.
    P,
    /// New task: 200, 1 per 8 word locals, and of a process 1 per 64 bytes of its data and 1 per 8 globals.
    Task,
    /// Contract call: 500, 1 per 32 bytes of name and input, and what the callee uses; creating a contract: 540, 64 for each
    /// byte of code and 1 per 8.
    Xc,
}

impl Class {
    /// The class's name in documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Z => "z",
            Class::B => "b",
            Class::J => "j",
            Class::Jmap => "j+2",
            Class::A => "a",
            Class::M => "m",
            Class::D => "d",
            Class::D2 => "2d",
            Class::E => "e",
            Class::E2 => "2e",
            Class::F => "f",
            Class::L => "l",
            Class::C => "c(n)",
            Class::Mat => "mat",
            Class::G => "g(n)",
            Class::Al => "al(n)",
            Class::New => "r",
            Class::R => "r+c(n)",
            Class::Way => "b·depth",
            Class::Cells => "r·n",
            Class::Same => "eq(n)",
            Class::Noun => "n",
            Class::Zn => "zn",
            Class::Zm => "zm",
            Class::Zf => "zf",
            Class::Doc => "doc(n)",
            Class::S => "s",
            Class::S0 => "s0",
            Class::Q => "q",
            Class::T => "t",
            Class::H => "h",
            Class::K => "k",
            Class::X => "x",
            Class::Call => "call",
            Class::Calli => "call+2",
            Class::P => "p",
            Class::Task => "task",
            Class::Xc => "xc",
        }
    }

    /// The part of the cost that is known before the program runs, for an operating width of `bits`.
    pub const fn static_cost(self, bits: u32) -> u64 {
        let lambda = if bits < 64 { 1 } else { (bits / 64) as u64 };
        match self {
            Class::Z => 0,
            Class::B | Class::J | Class::Way | Class::Same | Class::C | Class::G => 1,
            Class::Jmap => 3,
            Class::A => match bits {
                512 => 4,
                256 => 2,
                _ => 1,
            },
            Class::M => 1 + lambda * (lambda + 1) / 4,
            Class::D => division(lambda),
            Class::D2 => 2 * division(lambda),
            Class::F => 2,
            Class::E => 10,
            Class::E2 => 20,
            Class::L => 1 + (bits / 8 / 32) as u64,
            Class::Al | Class::Doc | Class::Noun | Class::Mat => 10,
            Class::New | Class::R | Class::Cells | Class::Zm => 4,
            Class::S => 20,
            Class::S0 => 10,
            Class::Q => 300,
            Class::T => 100,
            Class::Zn => 2,
            Class::H | Class::K | Class::Zf | Class::P => 20,
            Class::Task => 200,
            Class::X => 50,
            Class::Call => 3,
            Class::Calli => 5,
            Class::Xc => 500,
        }
    }
}

const fn division(lambda: u64) -> u64 {
    6 + 2 * lambda * lambda
}

/// Cost of a power beyond its static part: half a division per bit of the exponent.
pub const fn power(bits: u32, exponent_bits: u32) -> u64 {
    let lambda = if bits < 64 { 1 } else { (bits / 64) as u64 };
    division(lambda) * exponent_bits as u64 / 2
}

/// Cost of copying, filling or comparing `bytes` beyond the static part.
pub const fn copy(bytes: u64) -> u64 {
    bytes / 32
}

/// Cost of a product of matrices beyond the static part: `bytes` of the three matrices and `terms` of `element_bytes` each.
pub const fn matrices(bytes: u64, terms: u64, element_bytes: u64) -> u64 {
    (bytes / 32).saturating_add(terms.saturating_mul(element_bytes) / 32)
}

/// Cost of reading `bytes` of documents or JSON text beyond the static part.
pub const fn document(bytes: u64) -> u64 {
    bytes / 2
}

/// Cost of an operation on unbounded integers that goes through the limbs of 64 bits once.
pub const fn integer(limbs: u64) -> u64 {
    limbs / 2
}

/// Cost of an operation on unbounded integers that goes through the limbs of one for each of the other.
pub const fn integer_product(limbs: u64, others: u64) -> u64 {
    limbs.saturating_mul(others) / 2
}

/// Cost of making a cell, or of looking at one, where an operation does that with many.
pub const NODE: u64 = 8;

/// Cost of comparing a pair of cells beyond that of their parts.
pub const PAIR: u64 = 4;

/// Cost of making `bytes` of memory usable beyond the static part.
pub const fn grow(bytes: u64) -> u64 {
    bytes / 64
}

/// Cost of a callee's word locals (parameters not counted).
pub const fn locals(word_locals: u32) -> u64 {
    (word_locals / 8) as u64
}

/// Cost of a task beyond the static part, or of a process with so many bytes of data and globals.
pub const fn task(word_locals: u32, process: Option<(u64, u64)>) -> u64 {
    let process = match process {
        Some((data_bytes, globals)) => grow(data_bytes) + globals / 8,
        None => 0,
    };
    locals(word_locals) + process
}

/// Cost of a contract slot beyond the static part; `first` = first touch in this transaction.
pub const fn slot(first: bool, key_and_value_bytes: u64) -> u64 {
    (if first { 480 } else { 0 }) + key_and_value_bytes / 8
}

/// Cost of a database operation beyond the static part.
pub const fn database(rows: u64, key_and_document_bytes: u64) -> u64 {
    rows * 20 + key_and_document_bytes / 8
}

/// Cost of creating a contract beyond the static part: its code is verified and kept.
pub const fn create(code_bytes: u64) -> u64 {
    database(2, code_bytes) + code_bytes * 64
}

/// Cost of a commit beyond the static part.
pub const fn commit(changed_keys: u64) -> u64 {
    changed_keys * 50
}

/// Cost of a state root or a proof beyond the static part: a look at the tree, and the transaction's changed keys
/// brought into it.
pub const fn tree(changed_keys: u64) -> u64 {
    2000 + changed_keys * 5000
}

/// Cost of verifying a proof beyond the static part: SHA-256 of its bytes, and of two blocks for each sibling. What is
/// no proof has no siblings.
pub const fn proof(bytes: u64, siblings: u64) -> u64 {
    const BLOCK: u64 = crate::hash::HashAlg::Sha2_256.block_weight();
    hash(bytes, 64, BLOCK) + siblings * 2 * BLOCK
}

/// Cost of an event beyond the static part.
pub const fn event(topics: u64, topic_and_data_bytes: u64) -> u64 {
    topics * 10 + topic_and_data_bytes / 8
}

/// Cost of bytes that a host call hands over, beyond the static part.
pub const fn system(bytes: u64) -> u64 {
    bytes / 8
}

/// Cost of a digest beyond the static part: the weight of each block of the algorithm.
pub const fn hash(bytes: u64, block_bytes: u64, block_weight: u64) -> u64 {
    (bytes / block_bytes + 1) * block_weight
}

/// The execution ran out of gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfGas;

/// What is left of an execution's gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gas {
    left: u64,
}

impl Gas {
    /// The largest limit: the counter stays within a signed 64-bit number.
    pub const MAX: u64 = i64::MAX as u64;

    /// A meter holding `limit`, at most [`Gas::MAX`].
    pub const fn new(limit: u64) -> Gas {
        Gas { left: if limit > Gas::MAX { Gas::MAX } else { limit } }
    }

    /// What is left.
    #[inline(always)]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Takes `amount`, or leaves the meter as it was and reports that it does not fit.
    #[inline(always)]
    pub fn charge(&mut self, amount: u64) -> Result<(), OutOfGas> {
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(OutOfGas),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_costs_have_the_documented_shape() {
        let at = |class: Class| [32, 64, 128, 256, 512].map(|bits| class.static_cost(bits));
        assert_eq!(at(Class::A), [1, 1, 1, 2, 4]);
        assert_eq!(at(Class::M), [1, 1, 2, 6, 19]);
        assert_eq!(at(Class::D), [8, 8, 14, 38, 134]);
        assert_eq!(at(Class::L), [1, 1, 1, 2, 3]);
    }

    #[test]
    fn a_charge_that_does_not_fit_changes_nothing() {
        let mut gas = Gas::new(10);
        assert_eq!(gas.charge(7), Ok(()));
        assert_eq!(gas.charge(4), Err(OutOfGas));
        assert_eq!(gas.left(), 3);
    }
}
