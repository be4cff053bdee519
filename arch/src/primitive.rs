//! Conversions at the edge to and from the `primitive-types` that Ethereum tools use.
//!
//! A conversion whose target may be too narrow returns `None` when a nonzero bit would be lost.

use crate::{W256, Word};
use primitive_types::{H160, H256, U256};

/// The same number.
pub fn u256_from_w256(word: W256) -> U256 {
    U256(word.into_limbs())
}

/// The same number.
pub fn w256_from_u256(number: U256) -> W256 {
    W256::from_limbs(number.0)
}

/// The big-endian bytes of the word.
pub fn h256_from_w256(word: W256) -> H256 {
    H256(word.to_be_bytes())
}

/// The word with these big-endian bytes.
pub fn w256_from_h256(hash: H256) -> W256 {
    W256::from_be_bytes(hash.0)
}

/// The same number, if it is below 2^256.
pub fn to_u256<W: Word>(word: W) -> Option<U256> {
    narrow(word).map(u256_from_w256)
}

/// The same number, if it fits in the word.
pub fn from_u256<W: Word>(number: U256) -> Option<W> {
    narrow(w256_from_u256(number))
}

/// The word as 32 big-endian bytes, if it is below 2^256.
pub fn to_h256<W: Word>(word: W) -> Option<H256> {
    narrow(word).map(h256_from_w256)
}

/// The word with these big-endian bytes, if they fit.
pub fn from_h256<W: Word>(hash: H256) -> Option<W> {
    W::from_be_slice(&hash.0)
}

/// The address in the low 20 bytes, if all higher bits of the word are 0.
pub fn to_h160<W: Word>(word: W) -> Option<H160> {
    let mut buffer = [0; 64];
    let bytes = word.to_be_trimmed(&mut buffer);
    let mut address = H160::zero();
    let start = address.0.len().checked_sub(bytes.len())?;
    address.0[start..].copy_from_slice(bytes);
    Some(address)
}

/// The word with the address in its low 20 bytes, if it fits (always, from 256 bits on).
pub fn from_h160<W: Word>(address: H160) -> Option<W> {
    W::from_be_slice(&address.0)
}

/// The same number in another width, if it fits.
fn narrow<V: Word, W: Word>(word: V) -> Option<W> {
    let resized: W = word.resize();
    if resized.resize::<V>() == word { Some(resized) } else { None }
}
