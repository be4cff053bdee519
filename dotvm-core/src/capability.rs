//! Capabilities: what a module must list, and a host must grant, before its first instruction runs.

use std::fmt;

macro_rules! capabilities {
    ($($code:literal $variant:ident $name:literal $by_default:literal $meaning:literal;)*) => {
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

            /// Whether hosts grant it without being told to: it lets a program at its own contract's state and contracts of its making, and at what
            /// the caller hands over. What makes two runs differ is asked for by name.
            pub const fn is_default(self) -> bool {
                match self { $(Capability::$variant => $by_default),* }
            }
        }
    };
}

capabilities! {
    0 DbRead "db.read" true "read this contract's collections";
    1 DbWrite "db.write" true "change this contract's collections";
    2 Tx "tx" true "begin, commit and abort transactions inside a call";
    3 ConsoleWrite "console.write" true "write to standard output and standard error";
    4 ConsoleRead "console.read" true "read standard input";
    5 Args "args" true "read the arguments of the command line";
    6 FileRead "file.read" true "open, read and list this contract's files";
    7 FileWrite "file.write" true "write into this contract's files";
    8 FileCreate "file.create" true "make files of this contract, or empty them";
    9 FileRemove "file.remove" true "remove files of this contract";
    10 Clock "clock" false "read the host's clocks";
    11 Entropy "entropy" false "take random bytes from the host";
    12 ContractCreate "contract.create" true "create contracts from code";
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

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CapabilitySet {
    /// Bit n is the capability with code n.
    bits: u64,
}

const _: () = assert!(Capability::ALL.len() <= 64, "a set has 64 bits");

impl CapabilitySet {
    /// No capability.
    pub const NONE: CapabilitySet = CapabilitySet { bits: 0 };

    /// Those that hosts grant without being told to.
    pub fn defaults() -> CapabilitySet {
        Capability::ALL.iter().copied().filter(|capability| capability.is_default()).collect()
    }

    /// Every capability.
    pub fn all() -> CapabilitySet {
        Capability::ALL.iter().copied().collect()
    }

    /// Whether it has none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Whether it has this one.
    #[inline]
    pub const fn contains(self, capability: Capability) -> bool {
        self.bits >> capability as u8 & 1 != 0
    }

    /// Adds one.
    pub const fn insert(&mut self, capability: Capability) {
        self.bits |= 1 << capability as u8;
    }

    /// Takes one out; whether it was there.
    pub const fn remove(&mut self, capability: Capability) -> bool {
        let held = self.contains(capability);
        self.bits &= !(1 << capability as u8);
        held
    }

    /// Its members, ascending by code.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |&capability| self.contains(capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<T: IntoIterator<Item = Capability>>(capabilities: T) -> CapabilitySet {
        let mut set = CapabilitySet::NONE;
        capabilities.into_iter().for_each(|capability| set.insert(capability));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for (code, &capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(capability as usize, code);
            assert_eq!(Capability::from_code(code as u8), Some(capability));
            assert_eq!(Capability::from_name(capability.name()), Some(capability));
        }
        assert_eq!(Capability::from_code(Capability::ALL.len() as u8), None);
        assert_eq!(Capability::from_name("everything"), None);
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let mut set = CapabilitySet::NONE;
        assert!(set.is_empty() && !set.remove(Capability::Tx));
        set.insert(Capability::Clock);
        set.insert(Capability::DbRead);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Capability::DbRead, Capability::Clock]);
        assert!(set.remove(Capability::Clock) && !set.contains(Capability::Clock) && !set.is_empty());
        assert_eq!(CapabilitySet::all().iter().count(), Capability::ALL.len());
        let left_out: Vec<_> =
            Capability::ALL.iter().filter(|&&one| !CapabilitySet::defaults().contains(one)).collect();
        assert_eq!(left_out, [&Capability::Clock, &Capability::Entropy]);
    }
}
