//! Checksums of pairs: four bytes behind each value.

use dotdb_store::StoreError;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of a checksum.
pub(crate) const BYTES: usize = 4;

/// How a store's checksums are computed, which its format says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Format 1: CRC-32 (IEEE) of key and value.
    Crc32,
    /// Format 2: the lower half of XXH3 (64 bits) of the value, seeded with that of the key. 12 ns for
    /// a key of 37 and a value of 100 bytes, where CRC-32 takes 55.
    Xxh3,
}

impl Checksum {
    /// That of a format, if there is such a format.
    pub(crate) fn of_format(version: u32) -> Option<Checksum> {
        match version {
            1 => Some(Checksum::Crc32),
            2 => Some(Checksum::Xxh3),
            _ => None,
        }
    }

    /// The checksum of a pair, little-endian.
    #[inline]
    pub(crate) fn of(self, key: &[u8], value: &[u8]) -> [u8; BYTES] {
        let sum = match self {
            Checksum::Crc32 => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(key);
                hasher.update(value);
                hasher.finalize()
            }
            // The lower half.
            Checksum::Xxh3 => xxh3_64_with_seed(value, xxh3_64(key)) as u32,
        };
        sum.to_le_bytes()
    }

    /// The value without its checksum, which is right.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not.
    #[inline]
    pub(crate) fn verified<'a>(self, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], StoreError> {
        match stored.split_last_chunk::<BYTES>() {
            Some((value, sum)) if *sum == self.of(key, value) => Ok(value),
            _ => Err(mismatch(key)),
        }
    }
}

#[cold]
fn mismatch(key: &[u8]) -> StoreError {
    let detail = format!("the value of key {} does not match its checksum", shown(key));
    StoreError::Corrupt { detail }
}

/// A key for people.
pub(crate) fn shown(key: &[u8]) -> String {
    key.iter().take(80).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32 of `123456789` is the check value of its catalogue entry, XXH3 of the empty input that of the reference
    /// implementation (`xxhsum -H3`).
    #[test]
    fn known_checksums() {
        assert_eq!(Checksum::Crc32.of(b"1234", b"56789"), 0xcbf4_3926u32.to_le_bytes());
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for sums in [Checksum::Crc32, Checksum::Xxh3] {
            for len in [0, 1, 4, 9, 17, 100, 129, 241, 1000] {
                let (mut key, mut stored): (Vec<u8>, Vec<u8>) =
                    (vec![7; len / 3], (0..len).map(|i| i as u8).collect());
                let sum = sums.of(&key, &stored);
                stored.extend(sum);
                assert_eq!(sums.verified(&key, &stored).unwrap(), &stored[..len]);
                for bit in 0..stored.len() * 8 {
                    stored[bit / 8] ^= 1 << (bit % 8);
                    assert!(sums.verified(&key, &stored).is_err(), "{sums:?} {len} {bit}");
                    stored[bit / 8] ^= 1 << (bit % 8);
                }
                for bit in 0..key.len() * 8 {
                    key[bit / 8] ^= 1 << (bit % 8);
                    assert!(sums.verified(&key, &stored).is_err(), "{sums:?} key {len} {bit}");
                    key[bit / 8] ^= 1 << (bit % 8);
                }
                assert!(sums.verified(&key, &stored[..stored.len().min(3)]).is_err());
            }
        }
    }
}
