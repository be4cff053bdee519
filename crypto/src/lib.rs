//! Cryptography of the instruction set: hashes, MACs, key derivation, authenticated encryption, signatures and a
//! deterministic random stream, over the RustCrypto and dalek crates and BLAKE3.
//!
//! Everything here is a pure function of its arguments; nonces and seeds are arguments, so that a result is the same
//! on every machine. Keys are wiped from memory after use, tags are compared in constant time. Bad lengths are errors;
//! what can only be malformed by somebody else's hand (a signature, a public key, a ciphertext) is answered with
//! "no".

mod aead;
mod hash;
mod kdf;
mod mac;
mod random;
mod signature;

use std::fmt;

pub use aead::AeadAlg;
pub use hash::{Digest, HashAlg};
pub use kdf::{KdfAlg, MAX_DERIVED_BYTES};
pub use mac::MacAlg;
pub use random::{RANDOM_BLOCK_BYTES, random};
pub use signature::SignatureAlg;

/// An argument that has the wrong length or is outside its range, which the caller could have known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoError {
    what: &'static str,
    problem: String,
}

impl CryptoError {
    fn length(what: &'static str, bytes: usize, wanted: usize) -> CryptoError {
        CryptoError { what, problem: format!("has {bytes} bytes and must have {wanted}") }
    }

    fn new(what: &'static str, problem: impl Into<String>) -> CryptoError {
        CryptoError { what, problem: problem.into() }
    }
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {}", self.what, self.problem)
    }
}

impl std::error::Error for CryptoError {}

/// `bytes` as an array.
fn exactly<'a, const N: usize>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8; N], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::length(what, bytes.len(), N))
}

/// An algorithm list: codes, names and sources, from one table each.
macro_rules! algorithms {
    ($(#[$doc:meta])* $name:ident { $($code:literal $variant:ident $text:literal $source:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`, ", $source, ".")] $variant = $code,)*
        }

        impl $name {
            /// All algorithms, ascending by code.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The algorithm with a code.
            pub const fn from_code(code: u64) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }

            /// The name in assembly text.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            /// The specification.
            pub const fn source(self) -> &'static str {
                match self { $($name::$variant => $source),* }
            }
        }
    };
}
use algorithms;
