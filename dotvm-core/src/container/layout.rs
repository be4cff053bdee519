//! Constants of the file format: the header's fields and the kinds of sections.

use std::fmt;

/// The first four bytes of a module file.
pub const MAGIC: [u8; 4] = *b"DOTV";

/// Major version of the format; readers refuse any other.
pub const VERSION_MAJOR: u16 = 1;

/// Minor version of the format; readers refuse any other, because each module has exactly one encoding.
pub const VERSION_MINOR: u16 = 0;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of an entry of the section table.
pub const SECTION_ENTRY_BYTES: usize = 12;

/// Offset of the content hash in the file.
pub const HASH_OFFSET: usize = 32;

/// Names in the debug section, of functions, locals, labels and the rest together: what a name takes in memory
/// besides its text is many times its length byte.
pub const DEBUG_NAMES: usize = 1 << 22;

/// Entry function of a module that has none.
pub(super) const NO_ENTRY: u32 = u32::MAX;

/// Offsets of the header's fields.
pub(super) mod field {
    pub const MAJOR: usize = 4;
    pub const MINOR: usize = 6;
    pub const WIDTH: usize = 8;
    pub const FLAGS: usize = 10;
    pub const SCHEDULE: usize = 12;
    pub const SECTIONS: usize = 14;
    pub const ENTRY: usize = 16;
    pub const RESERVED: usize = 20;
}

/// What a reference constant is.
pub(super) mod constant_kind {
    pub const BYTES: u8 = 0;
    pub const NOT_NEGATIVE: u8 = 1;
    pub const NEGATIVE: u8 = 2;
}

/// Bits of the header's flags: how a module travels (see [`wrap`](super::wrap)). A module that is read has none.
pub mod flags {
    /// What is behind the header is compressed.
    pub const COMPRESSED: u16 = 1;
    /// What is behind the header is encrypted.
    pub const ENCRYPTED: u16 = 1 << 1;
    /// The file is signed.
    pub const SIGNED: u16 = 1 << 2;
}

macro_rules! sections {
    ($($code:literal $variant:ident $name:literal $contents:literal;)*) => {
        /// The kind of a section. Sections stand in ascending order of their codes, each at most once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Section {
            $(#[doc = concat!($contents, ".")] $variant = $code,)*
        }

        impl Section {
            /// All kinds, ascending by code.
            pub const ALL: &'static [Section] = &[$(Section::$variant),*];

            /// The name in messages and in the format's description.
            pub const fn name(self) -> &'static str {
                match self { $(Section::$variant => $name),* }
            }

            /// The kind with this code.
            pub const fn from_code(code: u16) -> Option<Section> {
                match code { $($code => Some(Section::$variant),)* _ => None }
            }
        }
    };
}

sections! {
    1 Name "name" "The module's name";
    2 Memory "memory" "Sizes of linear memory";
    3 Signatures "signatures" "Parameters and results of functions";
    4 Functions "functions" "Functions with their code";
    5 WordConstants "word constants" "Word constants";
    6 RefConstants "reference constants" "Reference constants";
    7 WordGlobals "word globals" "Initial values of the word globals";
    8 RefGlobals "reference globals" "Number of reference globals";
    9 Data "data" "Initial contents of memory";
    10 Tables "tables" "Function tables";
    11 JumpMaps "jump maps" "Jump maps";
    12 Collections "collections" "Collections";
    13 Capabilities "capabilities" "Capabilities";
    14 Exports "exports" "Exported functions";
    15 Debug "debug" "Names and lines for people";
    16 Handlers "handlers" "Handlers of traps";
    17 HostCalls "host calls" "Host calls by name and signature";
}

impl Section {
    /// The code in the section table.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
