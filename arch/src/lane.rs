//! Lanes: the parts that packed operations divide a word into.

use crate::Word;

macro_rules! lanes {
    ($($code:literal $variant:ident $name:literal $bits:literal $is_float:literal;)*) => {
        /// What a word is divided into.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Lane {
            $(#[doc = concat!("`", $name, "`.")] $variant = $code,)*
        }

        impl Lane {
            /// All of them, ascending by code.
            pub const ALL: [Lane; 6] = [$(Lane::$variant),*];

            /// The one with this code.
            pub const fn from_code(code: u64) -> Option<Lane> {
                match code { $($code => Some(Lane::$variant),)* _ => None }
            }

            /// The name in assembly text.
            pub const fn name(self) -> &'static str {
                match self { $(Lane::$variant => $name),* }
            }

            /// Bits of a lane.
            pub const fn bits(self) -> u32 {
                match self { $(Lane::$variant => $bits),* }
            }

            /// Whether its lanes are floating-point numbers.
            pub const fn is_float(self) -> bool {
                match self { $(Lane::$variant => $is_float),* }
            }
        }
    };
}

lanes! {
    0 I8 "i8" 8 false;
    1 I16 "i16" 16 false;
    2 I32 "i32" 32 false;
    3 I64 "i64" 64 false;
    4 F32 "f32" 32 true;
    5 F64 "f64" 64 true;
}

impl Lane {
    /// Lanes in a word; 0 if a lane is wider than the word.
    pub const fn count<W: Word>(self) -> u32 {
        W::BITS / self.bits()
    }

    /// The low bits of a number that make up a lane.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }
}
