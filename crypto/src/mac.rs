//! Message authentication codes.

use hmac::{KeyInit, Mac, SimpleHmac};

use crate::Digest;

crate::algorithms! {
    /// A message authentication code, the immediate of `HMAC`.
    MacAlg {
        0 HmacSha2_256 "hmac-sha2-256" "RFC 2104 with FIPS 180-4 section 6.2";
        1 HmacSha2_512 "hmac-sha2-512" "RFC 2104 with FIPS 180-4 section 6.4";
        2 HmacSha3_256 "hmac-sha3-256" "RFC 2104 with FIPS 202 section 6.1";
        3 HmacSha3_512 "hmac-sha3-512" "RFC 2104 with FIPS 202 section 6.1";
        4 KeyedBlake3 "keyed-blake3" "BLAKE3 specification section 2.3, keys of 32 bytes";
    }
}

impl MacAlg {
    /// Length of a tag in bytes.
    pub const fn tag_bytes(self) -> u32 {
        match self {
            MacAlg::HmacSha2_256 | MacAlg::HmacSha3_256 | MacAlg::KeyedBlake3 => 32,
            MacAlg::HmacSha2_512 | MacAlg::HmacSha3_512 => 64,
        }
    }

    /// The tag of a message under a key. HMAC takes keys of any length.
    ///
    /// # Errors
    /// A key of another length than 32 bytes for BLAKE3.
    pub fn tag(self, key: &[u8], message: &[u8]) -> Result<Digest, crate::CryptoError> {
        match self {
            MacAlg::HmacSha2_256 => hmac::<sha2::Sha256>(key, message),
            MacAlg::HmacSha2_512 => hmac::<sha2::Sha512>(key, message),
            MacAlg::HmacSha3_256 => hmac::<sha3::Sha3_256>(key, message),
            MacAlg::HmacSha3_512 => hmac::<sha3::Sha3_512>(key, message),
            MacAlg::KeyedBlake3 => {
                let key = crate::exactly("key", key)?;
                Ok(Digest::new(blake3::keyed_hash(key, message).as_bytes()))
            }
        }
    }
}

fn hmac<D>(key: &[u8], message: &[u8]) -> Result<Digest, crate::CryptoError>
where
    D: sha2::Digest + hmac::digest::block_api::BlockSizeUser,
{
    let mac = <SimpleHmac<D> as KeyInit>::new_from_slice(key);
    let mut mac = mac.map_err(|_| crate::CryptoError::length("key", key.len(), 0))?;
    mac.update(message);
    Ok(Digest::new(&mac.finalize().into_bytes()))
}
