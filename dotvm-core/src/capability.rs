//! Capabilities: what a module must list, and a host must grant, before its first instruction runs.

macro_rules! capabilities {
    ($($code:literal $variant:ident $name:literal $meaning:literal;)*) => {
        /// A right that a module asks for and a host grants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Capability {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant = $code,)*
        }

        impl Capability {
            /// All capabilities, ascending by code.
            pub const ALL: &'static [Capability] = &[$(Capability::$variant),*];

            /// The name in assembly text and messages.
            pub const fn name(self) -> &'static str {
                match self { $(Capability::$variant => $name),* }
            }

            /// What the capability allows.
            pub const fn meaning(self) -> &'static str {
                match self { $(Capability::$variant => $meaning),* }
            }
        }
    };
}

capabilities! {
    0 DbRead "db.read" "read this contract's collections";
    1 DbWrite "db.write" "change this contract's collections";
    2 Tx "tx" "begin, commit and abort transactions inside a call";
}

impl Capability {
    /// The capability with this code.
    pub fn from_code(code: u8) -> Option<Capability> {
        Capability::ALL.get(code as usize).copied()
    }

    /// The capability with this name.
    pub fn from_name(name: &str) -> Option<Capability> {
        Capability::ALL.iter().copied().find(|capability| capability.name() == name)
    }
}
