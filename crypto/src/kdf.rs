//! Key derivation.

use hkdf::SimpleHkdf;

use crate::CryptoError;

crate::algorithms! {
    /// A key derivation function, the immediate of `KDF`.
    KdfAlg {
        0 HkdfSha2_256 "hkdf-sha2-256" "RFC 5869 with FIPS 180-4 section 6.2";
        1 HkdfSha2_512 "hkdf-sha2-512" "RFC 5869 with FIPS 180-4 section 6.4";
    }
}

/// Most bytes that one call derives: 255 digests of 32 bytes.
pub const MAX_DERIVED_BYTES: usize = 255 * 32;

impl KdfAlg {
    /// Extracts and expands `secret` to `bytes` bytes.
    ///
    /// # Errors
    /// More than [`MAX_DERIVED_BYTES`].
    pub fn derive(
        self,
        secret: &[u8],
        salt: &[u8],
        info: &[u8],
        bytes: usize,
    ) -> Result<Vec<u8>, CryptoError> {
        let too_long = || {
            CryptoError::new(
                "derived key",
                format!("would have {bytes} bytes, more than {MAX_DERIVED_BYTES}"),
            )
        };
        if bytes > MAX_DERIVED_BYTES {
            return Err(too_long());
        }
        let mut derived = vec![0; bytes];
        let expanded = match self {
            KdfAlg::HkdfSha2_256 => {
                SimpleHkdf::<sha2::Sha256>::new(Some(salt), secret).expand(info, &mut derived)
            }
            KdfAlg::HkdfSha2_512 => {
                SimpleHkdf::<sha2::Sha512>::new(Some(salt), secret).expand(info, &mut derived)
            }
        };
        expanded.map_err(|_| too_long())?;
        Ok(derived)
    }
}
