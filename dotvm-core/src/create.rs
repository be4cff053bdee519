//! Contracts created by contracts: which code is accepted, and the name that it gets.

use crate::container;
use crate::verify;

/// What the hash of a name is derived for.
const CONTEXT: &str = "DotVM 2026-11-22 name of a created contract";

/// What all names of created contracts begin with.
pub const PREFIX: &str = "created-";

/// The hash of a module, if contracts can be made of it: it is a module file in no envelope, and the verifier accepts it.
pub fn accepted(code: &[u8]) -> Option<[u8; 32]> {
    verify::verify(container::read(code).ok()?).ok()?;
    Some(container::content_hash(code))
}

/// The name of the contract that `creator` makes of the code with this hash: `created-` and the first 56 hexadecimal
/// digits of BLAKE3, keyed for this use, of the creator's name, its length before it as a byte, of the salt as a number of 64
/// big-endian bytes, and of the code's hash. `salt` is a big-endian number of at most 64 bytes.
pub fn name(creator: &str, salt: &[u8], code: &[u8; 32]) -> String {
    let mut number = [0; 64];
    let salt = &salt[salt.len().saturating_sub(64)..];
    number[64 - salt.len()..].copy_from_slice(salt);
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    // A contract's name has at most 255 bytes.
    hasher.update(&[creator.len() as u8]);
    hasher.update(creator.as_bytes());
    hasher.update(&number);
    hasher.update(code);
    // A name has at most 64 bytes.
    format!("{PREFIX}{}", &hasher.finalize().to_hex()[..56])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_all_three_and_from_the_salt_as_a_number() {
        let preimage = [&[4][..], b"bank", &[0; 62], &[1, 2], &[9; 32]].concat();
        let expected = blake3::derive_key(CONTEXT, &preimage);
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name("bank", &[1, 2], &[9; 32]), format!("created-{}", &expected[..56]));
        assert_eq!(name("bank", &[0, 1, 2], &[9; 32]), name("bank", &[1, 2], &[9; 32]));
        let others = [
            name("bank", &[1, 3], &[9; 32]),
            name("bank", &[1, 2], &[8; 32]),
            name("banc", &[1, 2], &[9; 32]),
        ];
        assert!(others.iter().all(|other| *other != name("bank", &[1, 2], &[9; 32])));
    }

    #[test]
    fn only_modules_that_verify_are_accepted() {
        assert_eq!(accepted(b""), None);
        assert_eq!(accepted(b"DOTV"), None);
    }
}
