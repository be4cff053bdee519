//! Hashes of keys, values and nodes, and the root.

use std::fmt;
use std::str::FromStr;

use jmt::SimpleHasher;
use sha2::{Digest, Sha256};

/// Bytes of a hash.
pub(crate) const HASH_BYTES: usize = 32;

/// A hash of a key, a value or a node.
pub(crate) type Hash = [u8; HASH_BYTES];

/// The hash of a subtree without pairs.
pub(crate) const PLACEHOLDER: Hash = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// What a leaf's hash begins with; jmt 0.12, `types/proof.rs`.
const LEAF_DOMAIN: &[u8] = b"JMT::LeafNode";
/// What an inner node's hash begins with; jmt 0.12, `types/proof.rs`.
const INNER_DOMAIN: &[u8] = b"JMT::IntrnalNode";

/// The commitment to a state: equal roots mean equal pairs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub [u8; HASH_BYTES]);

impl Root {
    /// The root of the state without pairs.
    pub const EMPTY: Root = Root(PLACEHOLDER);
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

/// A text that is no root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a state root is 64 hexadecimal digits")]
pub struct ParseRootError;

impl FromStr for Root {
    type Err = ParseRootError;

    fn from_str(text: &str) -> Result<Self, ParseRootError> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Root).ok_or(ParseRootError)
    }
}

/// SHA-256 as jmt asks for it.
pub(crate) struct TreeHasher(Sha256);

impl SimpleHasher for TreeHasher {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }

    fn finalize(self) -> Hash {
        Digest::finalize(self.0).into()
    }
}

/// The hash of a key or a value.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The hash of a leaf.
pub(crate) fn leaf_hash(key_hash: &Hash, value_hash: &Hash) -> Hash {
    Sha256::new().chain_update(LEAF_DOMAIN).chain_update(key_hash).chain_update(value_hash).finalize().into()
}

/// The hash of a node with two subtrees.
pub(crate) fn inner_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update(INNER_DOMAIN).chain_update(left).chain_update(right).finalize().into()
}

/// Bit `index` of a hash, most significant first.
pub(crate) fn bit(hash: &Hash, index: usize) -> bool {
    hash[index / 8] >> (7 - index % 8) & 1 == 1
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that an even number of hexadecimal digits stand for.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
