//! The word locals of the one function that a program becomes.
//!
//! Between instructions of PVM the machine's state is in these locals. FL is kept in three parts: its result flags
//! change with nearly every instruction and are seldom read.

/// A word local.
pub(crate) type Local = u64;

macro_rules! locals {
    ($($name:ident $text:literal $meaning:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u64)]
        enum Number { $($name,)* COUNT }
        $(
            #[doc = $meaning]
            // Some are named in the text of the general scheme only.
            #[allow(dead_code)]
            pub(crate) const $name: Local = Number::$name as Local;
        )*
        /// How many there are before those for limits of the stack.
        pub(crate) const COUNT: Local = Number::COUNT as Local;
        /// Their names, in assembly text and for people.
        pub(crate) const NAMES: &[&str] = &[$($text),*];
    };
}

locals! {
    A "a" "Register A.";
    B "b" "Register B.";
    C "c" "Register C.";
    D "d" "Register D.";
    A_LOW "a_low" "X, where direct code keeps A in halves.";
    A_HIGH "a_high" "Y, where direct code keeps A in halves.";
    B_LOW "b_low" "W, where direct code keeps B in halves.";
    B_HIGH "b_high" "Z, where direct code keeps B in halves.";
    S "s" "SP less [`SP_BIAS`].";
    FZ "fz" "Not 0 where the compare flag is 1.";
    FO "fo" "The overflow flag.";
    FH "fh" "FL without its result flags.";
    PC "pc" "Address of the next instruction, where the general scheme is entered; its upper bits do not count.";
    LEFT "left" "Instructions left.";
    START "start" "Instructions at the start.";
    DIRTY "dirty" "1 once the vector table may hold an entry.";
    LIM1 "lim1" "Greatest address for an access of 1 byte.";
    LIM2 "lim2" "Greatest address for an access of 2 bytes.";
    LIM4 "lim4" "Greatest address for an access of 4 bytes.";
    LIM8 "lim8" "Greatest address for an access of 8 bytes.";
    ROOM1 "room1" "The same for a write below the vector table, counted from the image's end.";
    ROOM2 "room2" "The same for 2 bytes.";
    ROOM4 "room4" "The same for 4 bytes.";
    ROOM8 "room8" "The same for 8 bytes.";
    VAL "val" "Operand, and what an overflow flag not yet computed is computed from.";
    OLD "old" "Value of the destination before the operation.";
    RES "res" "Result.";
    ADDR "addr" "Address.";
    TMP "tmp" "For one instruction.";
    POPPED "popped" "What Pop takes from the stack.";
    WORD "word" "Instruction word.";
    OP "op" "Operation.";
    LOAD "load" "Load type.";
    LSIZE "lsize" "Load size.";
    SIZE "size" "Load size in bytes.";
    SRC "src" "Source.";
    DST "dst" "Destination.";
    MASK "mask" "The bits of the destination.";
    OV "ov" "Overflow of the operation.";
    NS "ns" "Stack pointer after the operation.";
    NEXT "next" "Address behind the instruction.";
    RESUME "resume" "Address that an interrupt saves.";
    VEC "vec" "Vector.";
    EXC "exc" "Bits of FL that say exception and gpf.";
    STATUS "status" "How the run ended.";
}

/// How much less than SP the local `s` is: so the stack's cells below and above SP have offsets of two bytes.
pub(crate) const SP_BIAS: u64 = 32_760;
