//! The width-independent half of DotVM: opcode table, instruction encoding, module format, verifier, gas
//! schedule, traps, and the interface between a running program and its host.
//!
//! Trust is a type: bytes become a [`module::Module`] or an error, a module becomes a
//! [`verify::Verified`] or an error, and only that is ever run.

pub mod builder;
pub mod call;
pub mod capability;
pub mod container;
pub mod create;
pub mod decode;
pub mod env;
pub mod gas;
pub mod heap;
pub mod host;
pub mod host_call;
pub mod integer;
pub mod leb;
pub mod limits;
pub mod module;
pub mod opcode;
pub mod outcome;
pub mod trap;
pub mod value;
pub mod verify;

/// Algorithms of MACs, key derivation, ciphers and signatures, the immediates of rows 0xA3 to 0xAB.
pub mod crypto {
    pub use dotvm_crypto::{AeadAlg, CryptoError, KdfAlg, MAX_DERIVED_BYTES, MacAlg, SignatureAlg, random};
}

/// Hash algorithms, the immediates of HASH, HASHW and HASHM.
pub mod hash {
    pub use dotvm_crypto::{Digest, HashAlg};
}
