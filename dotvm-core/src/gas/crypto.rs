//! Gas of cryptography beyond its static part.
//!
//! The weights are ratios to a 64-bit ADD, measured on an x86-64 machine with SHA and AES instructions: the loop of
//! `arith64` (docs/benchmarks.md) spends 0.24 ns of CPU time a unit of gas, so a unit stands for a quarter of a
//! nanosecond. In nanoseconds: AES-256-GCM 470 for one byte and 27 for each 64 more, ChaCha20-Poly1305 1,210 and 41;
//! Ed25519 signs in 34,000, verifies in 41,000 and finds a public key in 16,500; secp256k1 in 98,800, 61,600 and 25,200,
//! and recovers a key in 110,600. What the hashes take stands with their weights (`dotvm-crypto`). Lengths are in bytes.

use super::hash;
use crate::crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};
use crate::hash::HashAlg;

/// Cost of a digest.
fn digest(alg: HashAlg, bytes: usize) -> u64 {
    hash(bytes as u64, alg.block_bytes(), alg.block_weight())
}

/// The hash of a MAC.
const fn hash_of(alg: MacAlg) -> HashAlg {
    match alg {
        MacAlg::HmacSha2_256 => HashAlg::Sha2_256,
        MacAlg::HmacSha2_512 => HashAlg::Sha2_512,
        MacAlg::HmacSha3_256 => HashAlg::Sha3_256,
        MacAlg::HmacSha3_512 => HashAlg::Sha3_512,
        MacAlg::KeyedBlake3 => HashAlg::Blake3,
    }
}

/// HMAC: the digest of the message behind a block, that of its digest behind another, and that of the key if it is
/// longer than a block. Keyed BLAKE3: the digest of the message.
pub fn mac(alg: MacAlg, key: usize, message: usize) -> u64 {
    let inner = hash_of(alg);
    if alg == MacAlg::KeyedBlake3 {
        return digest(inner, message);
    }
    let block = inner.block_bytes() as usize;
    let of_key = if key > block { digest(inner, key) } else { 0 };
    of_key + digest(inner, block + message) + digest(inner, block + inner.digest_bytes() as usize)
}

/// HKDF: one HMAC to extract, and one for each digest that is derived.
pub fn derive(alg: KdfAlg, secret: usize, salt: usize, info: usize, derived: usize) -> u64 {
    let (alg, digest_bytes) = match alg {
        KdfAlg::HkdfSha2_256 => (MacAlg::HmacSha2_256, 32),
        KdfAlg::HkdfSha2_512 => (MacAlg::HmacSha2_512, 64),
    };
    let expand = mac(alg, digest_bytes, digest_bytes + info + 1);
    mac(alg, salt, secret) + derived.div_ceil(digest_bytes) as u64 * expand
}

/// ENCRYPT and DECRYPT: the key's schedule, and the algorithm's weight for each 64 bytes of text and associated data.
pub fn cipher(alg: AeadAlg, aad: usize, text: usize) -> u64 {
    let (schedule, weight) = match alg {
        AeadAlg::Aes256Gcm => (1_800, 110),
        AeadAlg::ChaCha20Poly1305 => (4_700, 170),
    };
    schedule + ((aad + text) as u64 / 64 + 1) * weight
}

/// What Ed25519 hashes of a message.
fn message(alg: SignatureAlg, bytes: usize) -> u64 {
    match alg {
        SignatureAlg::Ed25519 => digest(HashAlg::Sha2_512, bytes),
        // A digest of a fixed length.
        SignatureAlg::Secp256k1 => 0,
    }
}

/// SIGN. Ed25519 hashes the message twice (RFC 8032 section 5.1.6).
pub fn sign(alg: SignatureAlg, bytes: usize) -> u64 {
    2 * message(alg, bytes)
        + match alg {
            SignatureAlg::Ed25519 => 135_000,
            SignatureAlg::Secp256k1 => 395_000,
        }
}

/// VERIFY, whatever it answers.
pub fn verify(alg: SignatureAlg, bytes: usize) -> u64 {
    message(alg, bytes)
        + match alg {
            SignatureAlg::Ed25519 => 160_000,
            SignatureAlg::Secp256k1 => 245_000,
        }
}

/// RECOVER, whatever it answers.
pub const fn recover(alg: SignatureAlg) -> u64 {
    match alg {
        // No module has it.
        SignatureAlg::Ed25519 => 0,
        SignatureAlg::Secp256k1 => 440_000,
    }
}

/// PUBKEY.
pub const fn public_key(alg: SignatureAlg) -> u64 {
    match alg {
        SignatureAlg::Ed25519 => 66_000,
        SignatureAlg::Secp256k1 => 100_000,
    }
}

/// KEYGEN: an HKDF of the seed, and whether the result is a key, which for secp256k1 takes its public key.
pub fn key_from_seed(alg: SignatureAlg, seed: usize) -> u64 {
    let check = match alg {
        SignatureAlg::Ed25519 => 0,
        SignatureAlg::Secp256k1 => public_key(alg),
    };
    derive(KdfAlg::HkdfSha2_256, seed, 0, 32, 32) + check
}

/// RANDOM: BLAKE3's weight for each block of the stream.
pub fn random(bytes: u64) -> u64 {
    hash(bytes, HashAlg::Blake3.block_bytes(), HashAlg::Blake3.block_weight())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2104: the inner digest is over a block and the message, the outer over a block and the inner digest; a block
    /// holds what is hashed and at least nine bytes (FIPS 180-4 section 5.1.1), which one block more than the bytes
    /// fill stands for.
    #[test]
    fn macs_cost_their_blocks() {
        let block = HashAlg::Sha2_256.block_weight();
        assert_eq!(mac(MacAlg::HmacSha2_256, 64, 0), 4 * block);
        assert_eq!(mac(MacAlg::HmacSha2_256, 64, 64), 5 * block);
        assert_eq!(mac(MacAlg::HmacSha2_256, 65, 64), 7 * block);
        assert_eq!(mac(MacAlg::KeyedBlake3, 32, 63), HashAlg::Blake3.block_weight());
        // Two keys of 32 bytes are two rounds.
        let round = derive(KdfAlg::HkdfSha2_256, 32, 32, 1, 32) - derive(KdfAlg::HkdfSha2_256, 32, 32, 1, 0);
        assert_eq!(
            derive(KdfAlg::HkdfSha2_256, 32, 32, 1, 64),
            derive(KdfAlg::HkdfSha2_256, 32, 32, 1, 32) + round
        );
        assert_eq!(derive(KdfAlg::HkdfSha2_256, 32, 32, 1, 33), derive(KdfAlg::HkdfSha2_256, 32, 32, 1, 64));
    }

    #[test]
    fn longer_messages_cost_more_where_they_are_hashed() {
        assert!(sign(SignatureAlg::Ed25519, 1_000) > sign(SignatureAlg::Ed25519, 10));
        assert_eq!(sign(SignatureAlg::Secp256k1, 1_000), sign(SignatureAlg::Secp256k1, 32));
        assert_eq!(cipher(AeadAlg::Aes256Gcm, 64, 64) - cipher(AeadAlg::Aes256Gcm, 0, 64), 110);
    }
}
