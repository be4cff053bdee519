//! The environment of an execution: what `ENV` reads and the host fixes beforehand.

use bytes::Bytes;
use dotvm_arch::W512;

macro_rules! env_fields {
    ($($code:literal $variant:ident $name:literal $is_word:literal $meaning:literal;)*) => {
        /// A field that `ENV` reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum EnvField {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant = $code,)*
        }

        impl EnvField {
            /// All fields, ascending by code.
            pub const ALL: &'static [EnvField] = &[$(EnvField::$variant),*];

            /// The name in assembly text.
            pub const fn name(self) -> &'static str {
                match self { $(EnvField::$variant => $name),* }
            }

            /// What the field holds.
            pub const fn meaning(self) -> &'static str {
                match self { $(EnvField::$variant => $meaning),* }
            }

            /// Whether it is a word (the others are references).
            pub const fn is_word(self) -> bool {
                match self { $(EnvField::$variant => $is_word),* }
            }
        }
    };
}

env_fields! {
    0 Caller "caller" true "who calls, as a number";
    1 Value "value" true "amount sent along, as a number";
    2 Height "height" true "height of the history this execution belongs to";
    3 Time "time" true "time given by the host, in seconds since 1970";
    4 Chain "chain" true "identifier of the history this execution belongs to";
    5 Arch "arch" true "word width in bits";
    6 Contract "contract" false "name of the running contract, as bytes";
    7 Input "input" false "input bytes";
    8 Seed "seed" false "seed of this execution, 32 bytes";
}

impl EnvField {
    /// The field with this code.
    pub fn from_code(code: u64) -> Option<EnvField> {
        EnvField::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// The field with this name.
    pub fn from_name(name: &str) -> Option<EnvField> {
        EnvField::ALL.iter().copied().find(|field| field.name() == name)
    }
}

/// The values behind the fields. Nothing here is read from a clock or another source outside the host's control.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Env {
    /// Who calls.
    pub caller: W512,
    /// Amount sent along.
    pub value: W512,
    /// Height.
    pub height: u64,
    /// Seconds since 1970.
    pub time: u64,
    /// Identifier of the history.
    pub chain: u64,
    /// Name of the running contract.
    pub contract: Bytes,
    /// Input bytes.
    pub input: Bytes,
    /// Seed.
    pub seed: [u8; 32],
}

/// A place in the random stream of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RandomStream {
    place: u64,
}

impl RandomStream {
    /// The stream from a place on.
    pub const fn at(place: u64) -> RandomStream {
        RandomStream { place }
    }

    /// How many bytes were taken from it.
    pub const fn place(&self) -> u64 {
        self.place
    }

    /// Fills `bytes` with the next ones of the seed's stream: BLAKE3's extended output of nothing under the seed as a key.
    pub fn fill(&mut self, seed: &[u8; 32], bytes: &mut [u8]) {
        crate::crypto::random(seed, self.place, bytes);
        // Nobody has the gas for 2^64 bytes.
        self.place = self.place.wrapping_add(bytes.len() as u64);
    }
}

/// A value of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// For word fields.
    Word(W512),
    /// For reference fields.
    Bytes(Bytes),
}

impl Env {
    /// The value of a field for a module of `width_bits`.
    pub fn get(&self, field: EnvField, width_bits: u32) -> EnvValue {
        match field {
            EnvField::Caller => EnvValue::Word(self.caller),
            EnvField::Value => EnvValue::Word(self.value),
            EnvField::Height => EnvValue::Word(W512::from(self.height)),
            EnvField::Time => EnvValue::Word(W512::from(self.time)),
            EnvField::Chain => EnvValue::Word(W512::from(self.chain)),
            EnvField::Arch => EnvValue::Word(W512::from(width_bits)),
            EnvField::Contract => EnvValue::Bytes(self.contract.clone()),
            EnvField::Input => EnvValue::Bytes(self.input.clone()),
            EnvField::Seed => EnvValue::Bytes(Bytes::copy_from_slice(&self.seed)),
        }
    }
}
