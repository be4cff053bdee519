//! Traps: the ways an execution stops that the program did not ask for.

use std::fmt;

use dotvm_arch::W512;

use crate::value::Ref;

macro_rules! traps {
    ($($code:literal $variant:ident $catchable:literal $sentence:literal;)*) => {
        /// The kind of a trap.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum TrapKind {
            $(#[doc = $sentence] $variant = $code,)*
        }

        impl TrapKind {
            /// All kinds, ascending by code.
            pub const ALL: &'static [TrapKind] = &[$(TrapKind::$variant),*];

            /// The name in reports and text tests.
            pub const fn name(self) -> &'static str {
                match self { $(TrapKind::$variant => stringify!($variant)),* }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<TrapKind> {
                TrapKind::ALL.iter().copied().find(|kind| kind.name() == name)
            }

            /// What happened, in one sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(TrapKind::$variant => $sentence),* }
            }

            /// Whether a handler of the program may catch it; the others end the instance.
            pub const fn is_catchable(self) -> bool {
                match self { $(TrapKind::$variant => $catchable),* }
            }
        }
    };
}

traps! {
    0 Unreachable true "The program reached a TRAP instruction.";
    1 User true "The program raised an exception and nothing caught it.";
    2 DivZero true "Division by zero.";
    3 Overflow true "The result does not fit the word.";
    4 Range true "A parameter is outside its allowed range.";
    5 Size true "An object would exceed its size limit.";
    6 Bounds true "A memory access reaches beyond the end of memory.";
    7 Protect true "An access reaches into memory that is read-only, protected or freed.";
    8 BadFree true "An address is not that of a block that ALLOC gave and FREE has not taken back.";
    9 OutOfMemory true "The memory limit is reached.";
    10 Null true "A table entry is empty.";
    11 Kind true "A reference is of another kind than the operation needs.";
    12 Index true "An index is outside the table, byte string or list of cursors.";
    13 Sig true "The function in the table has another signature than the call expects.";
    14 Jump true "The jump map has no entry for this guest address.";
    15 Db true "The database refused the operation.";
    16 Cap true "A capability that the operation needs was not granted.";
    17 ReadOnly true "A write was attempted in a read-only transaction.";
    18 Tx true "No transaction is open, one is already open, or the savepoint is unknown.";
    19 Meter false "The guest meter is empty.";
    20 Gas false "Out of gas.";
    21 Depth false "The call depth limit is reached.";
    22 Stack false "The stack limit is reached.";
    23 Crypto true "A key, a nonce or a seed is none for the algorithm.";
    24 Deadlock true "All tasks wait, and nothing can wake one.";
}

impl TrapKind {
    /// The kind's bit in the mask of a handler.
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// The bits of the kinds that a handler may catch.
    pub const CATCHABLE: u32 = {
        let mut mask = 0;
        let mut index = 0;
        while index < TrapKind::ALL.len() {
            let kind = TrapKind::ALL[index];
            if kind.is_catchable() {
                mask |= kind.bit();
            }
            index += 1;
        }
        mask
    };
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Most entries of a stack that a trap shows.
pub const SHOWN_ENTRIES: usize = 8;

/// The tops of the two stacks of the function that trapped, as they were before its instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackTops {
    /// Words, zero-extended, the topmost first: at most [`SHOWN_ENTRIES`].
    pub words: Vec<W512>,
    /// Entries of the word stack below those.
    pub more_words: u64,
    /// References, the topmost first: at most [`SHOWN_ENTRIES`].
    pub refs: Vec<ShownRef>,
    /// Entries of the reference stack below those.
    pub more_refs: u64,
}

/// A reference, but for what cells hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownRef {
    /// Null, an integer, or a byte string.
    Value(Ref),
    /// A cell.
    Cell,
}

/// A trap and where it happened. Two are the same if the same happened at the same place, whatever they show.
#[derive(Clone, Debug, Eq)]
pub struct Trap {
    /// What happened.
    pub kind: TrapKind,
    /// More about it where the kind alone does not say enough, such as the exception code of a User trap.
    pub detail: Option<String>,
    /// Index of the function.
    pub function: u32,
    /// Byte offset of the instruction in the function's code.
    pub offset: u32,
    /// What lay on the stacks, for people, where the machine that ran tells it.
    pub stacks: Option<Box<StackTops>>,
}

impl PartialEq for Trap {
    fn eq(&self, other: &Trap) -> bool {
        let Trap { kind, detail, function, offset, stacks: _ } = self;
        (kind, detail, function, offset) == (&other.kind, &other.detail, &other.function, &other.offset)
    }
}
