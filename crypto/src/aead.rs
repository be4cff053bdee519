//! Authenticated encryption with associated data.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::ChaCha20Poly1305;

use crate::{CryptoError, exactly};

crate::algorithms! {
    /// An authenticated cipher, the immediate of `ENCRYPT` and `DECRYPT`.
    AeadAlg {
        0 Aes256Gcm "aes-256-gcm" "NIST SP 800-38D";
        1 ChaCha20Poly1305 "chacha20-poly1305" "RFC 8439 section 2.8";
    }
}

impl AeadAlg {
    /// Length of a key in bytes.
    pub const KEY_BYTES: usize = 32;
    /// Length of a nonce in bytes. One nonce must not encrypt two messages under the same key.
    pub const NONCE_BYTES: usize = 12;
    /// How much longer than its plaintext a ciphertext is, in bytes: the tag at its end.
    pub const TAG_BYTES: usize = 16;

    /// The ciphertext, with the tag at its end.
    ///
    /// # Errors
    /// A key or nonce of the wrong length; a plaintext too long for the cipher (64 GiB).
    pub fn encrypt(
        self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = parts(key, nonce)?;
        let payload = Payload { msg: plaintext, aad };
        let sealed = match self {
            AeadAlg::Aes256Gcm => Aes256Gcm::new(key.into()).encrypt(nonce.into(), payload),
            AeadAlg::ChaCha20Poly1305 => ChaCha20Poly1305::new(key.into()).encrypt(nonce.into(), payload),
        };
        sealed.map_err(|_| CryptoError::new("plaintext", "is too long for the cipher"))
    }

    /// The plaintext, or `None` if ciphertext or associated data are not what was encrypted under this key and nonce.
    ///
    /// # Errors
    /// A key or nonce of the wrong length.
    pub fn decrypt(
        self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Option<Vec<u8>>, CryptoError> {
        let (key, nonce) = parts(key, nonce)?;
        let payload = Payload { msg: ciphertext, aad };
        Ok(match self {
            AeadAlg::Aes256Gcm => Aes256Gcm::new(key.into()).decrypt(nonce.into(), payload).ok(),
            AeadAlg::ChaCha20Poly1305 => {
                ChaCha20Poly1305::new(key.into()).decrypt(nonce.into(), payload).ok()
            }
        })
    }
}

fn parts<'a>(key: &'a [u8], nonce: &'a [u8]) -> Result<(&'a [u8; 32], &'a [u8; 12]), CryptoError> {
    Ok((exactly("key", key)?, exactly("nonce", nonce)?))
}
