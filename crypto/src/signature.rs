//! Signatures and key pairs.
//!
//! - `ed25519` signs messages of any length; secret keys have 32 bytes (RFC 8032 section 5.1.5), public keys 32,
//!   signatures 64. Verification is strict: keys of small order and non-canonical encodings are refused, so that a
//!   signature binds one message and one key.
//! - `secp256k1` signs digests of 32 bytes with ECDSA and deterministic nonces (RFC 6979, HMAC-SHA-256); secret keys
//!   have 32 bytes, public keys are SEC 1 points of 33 or 65 bytes, signatures are r, s and the recovery id, 65
//!   bytes, with s in the lower half (SEC 1 section 4.1, BIP 62). Verification takes 64 bytes as well and refuses an
//!   s in the upper half.

use ed25519_dalek::Signer;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::{CryptoError, KdfAlg, exactly};

crate::algorithms! {
    /// A signature scheme, the immediate of `SIGN`, `VERIFY`, `RECOVER`, `PUBKEY` and `KEYGEN`.
    SignatureAlg {
        0 Ed25519 "ed25519" "RFC 8032 section 5.1";
        1 Secp256k1 "secp256k1" "SEC 1 section 4.1 over SEC 2 section 2.4.1, nonces by RFC 6979";
    }
}

/// Bytes of a seed of [`SignatureAlg::key_from_seed`], at least.
const MIN_SEED_BYTES: usize = 16;

impl SignatureAlg {
    /// Length of a secret key in bytes.
    pub const SECRET_KEY_BYTES: usize = 32;

    /// Length of a signature that [`sign`](SignatureAlg::sign) makes, in bytes.
    pub const fn signature_bytes(self) -> u32 {
        match self {
            SignatureAlg::Ed25519 => 64,
            SignatureAlg::Secp256k1 => 65,
        }
    }

    /// The signature of a message, which for secp256k1 is a digest of 32 bytes.
    ///
    /// # Errors
    /// A secret key that is none; a digest of another length.
    pub fn sign(self, secret_key: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match self {
            SignatureAlg::Ed25519 => {
                let key = ed25519_dalek::SigningKey::from_bytes(exactly("secret key", secret_key)?);
                Ok(key.sign(message).to_bytes().to_vec())
            }
            SignatureAlg::Secp256k1 => {
                let key = secp256k1_key(secret_key)?;
                let digest: &[u8; 32] = exactly("digest", message)?;
                let (signature, id) = key.sign_prehash_recoverable(digest);
                let mut bytes = signature.to_bytes().to_vec();
                bytes.push(id.to_byte());
                Ok(bytes)
            }
        }
    }

    /// Whether `signature` is one of `message` under `public_key`. Malformed arguments are a "no".
    pub fn verify(self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        match self {
            SignatureAlg::Ed25519 => {
                let Ok(key) = <&[u8; 32]>::try_from(public_key) else { return false };
                let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
                let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else { return false };
                key.verify_strict(message, &signature).is_ok()
            }
            SignatureAlg::Secp256k1 => {
                if message.len() != 32 {
                    return false;
                }
                let Some((signature, _)) = secp256k1_signature(signature) else { return false };
                let Ok(key) = VerifyingKey::from_sec1_bytes(public_key) else { return false };
                key.verify_prehash(message, &signature).is_ok()
            }
        }
    }

    /// The public key that made a signature, as 65 bytes (04, x, y): secp256k1 only, from a digest of 32 bytes and a
    /// signature of 65. `None` if there is no such key.
    pub fn recover(self, digest: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        if self != SignatureAlg::Secp256k1 || digest.len() != 32 {
            return None;
        }
        let (signature, id) = secp256k1_signature(signature)?;
        let key = VerifyingKey::recover_from_prehash(digest, &signature, id?).ok()?;
        Some(key.to_sec1_point(false).as_bytes().to_vec())
    }

    /// The public key of a secret key: 32 bytes, or for secp256k1 65 (04, x, y).
    ///
    /// # Errors
    /// A secret key that is none.
    pub fn public_key(self, secret_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match self {
            SignatureAlg::Ed25519 => {
                let key = ed25519_dalek::SigningKey::from_bytes(exactly("secret key", secret_key)?);
                Ok(key.verifying_key().to_bytes().to_vec())
            }
            SignatureAlg::Secp256k1 => {
                let key = secp256k1_key(secret_key)?;
                Ok(key.verifying_key().to_sec1_point(false).as_bytes().to_vec())
            }
        }
    }

    /// The secret key that belongs to a seed, always the same: HKDF-SHA-256 of the seed with the scheme's name and a
    /// counter, the first one that is a secret key.
    ///
    /// # Errors
    /// A seed of fewer than 16 bytes.
    pub fn key_from_seed(self, seed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if seed.len() < MIN_SEED_BYTES {
            let problem = format!("has {} bytes and must have at least {MIN_SEED_BYTES}", seed.len());
            return Err(CryptoError::new("seed", problem));
        }
        for counter in 0..=u8::MAX {
            let info = [b"dotvm key ", self.name().as_bytes(), &[counter]].concat();
            let key = KdfAlg::HkdfSha2_256.derive(seed, &[], &info, Self::SECRET_KEY_BYTES)?;
            let key = Zeroizing::new(key);
            // All but one in 2^127 are.
            if self == SignatureAlg::Ed25519 || secp256k1_key(&key).is_ok() {
                return Ok(key.to_vec());
            }
        }
        Err(CryptoError::new("seed", "gives no secret key"))
    }
}

fn secp256k1_key(secret_key: &[u8]) -> Result<SigningKey, CryptoError> {
    let bytes: &[u8; 32] = exactly("secret key", secret_key)?;
    SigningKey::from_slice(bytes).map_err(|_| CryptoError::new("secret key", "is not a scalar of the curve"))
}

/// r and s of 64 or 65 bytes, with s in the lower half, and the recovery id of 65.
fn secp256k1_signature(bytes: &[u8]) -> Option<(Signature, Option<RecoveryId>)> {
    let (rs, id) = match bytes.len() {
        64 => (bytes, None),
        65 => (&bytes[..64], Some(RecoveryId::from_byte(bytes[64])?)),
        _ => return None,
    };
    let signature = Signature::from_slice(rs).ok()?;
    // Normalising changes a high s.
    (signature.normalize_s() == signature).then_some((signature, id))
}
