//! Proofs: their two forms and their verification, which needs no store. `docs/proofs.md` has every byte.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::ProofError;
use crate::hash::{HASH_BYTES, Hash, PLACEHOLDER, Root, bit, hash, hex, inner_hash, leaf_hash, unhex};

/// Longest key in a proof, bytes.
pub const MAX_PROOF_KEY_BYTES: usize = u16::MAX as usize;
/// Longest value in a proof, bytes.
pub const MAX_PROOF_VALUE_BYTES: usize = 32 << 20;

/// Format of a proof: its bytes, and the hash function.
const FORMAT: u8 = 1;
/// Most siblings: one for each bit of a key's hash.
const MAX_SIBLINGS: usize = 8 * HASH_BYTES;

/// That a state has a value under a key, or that it has no such key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Json", try_from = "Json")]
pub struct Proof {
    key: Bytes,
    end: End,
    /// The hashes beside the way from the root, root first; `None` where there is no pair.
    siblings: Vec<Option<Hash>>,
}

/// Where the way of the key ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the key, which has this value.
    Value(Bytes),
    /// At a subtree without pairs.
    Empty,
    /// At a subtree that has one pair, of another key.
    Other { key_hash: Hash, value_hash: Hash },
}

/// What a proof has proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key.
    pub key: Bytes,
    /// Its value, or `None`: the state has no such key.
    pub value: Option<Bytes>,
}

impl Proof {
    pub(crate) fn new(key: Bytes, end: End, siblings: Vec<Option<Hash>>) -> Self {
        Self { key, end, siblings }
    }

    /// The key that the proof is about.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Levels of the tree that the proof's way goes through, at most 256: verifying it takes a hash for each.
    pub fn depth(&self) -> usize {
        self.siblings.len()
    }

    /// The value that the proof claims the key to have, `None` for absence. Only [`verify`](Proof::verify) makes it
    /// true.
    pub fn claimed_value(&self) -> Option<&Bytes> {
        match &self.end {
            End::Value(value) => Some(value),
            End::Empty | End::Other { .. } => None,
        }
    }

    /// What the state with this root has under the proof's key.
    ///
    /// # Errors
    /// A proof that does not lead to the root, or from which absence does not follow.
    pub fn verify(&self, root: &Root) -> Result<Verified, ProofError> {
        let key_hash = hash(&self.key);
        let (value, end_hash) = match &self.end {
            End::Value(value) => (Some(value.clone()), leaf_hash(&key_hash, &hash(value))),
            End::Empty => (None, PLACEHOLDER),
            End::Other { key_hash: other, value_hash } => {
                if *other == key_hash {
                    return Err(ProofError::NotAbsent { problem: "it shows the key itself" });
                }
                if (0..self.siblings.len()).any(|index| bit(other, index) != bit(&key_hash, index)) {
                    return Err(ProofError::NotAbsent { problem: "it shows a pair of another place" });
                }
                (None, leaf_hash(other, value_hash))
            }
        };
        let computed = self.siblings.iter().enumerate().rev().fold(end_hash, |below, (index, sibling)| {
            let sibling = sibling.as_ref().unwrap_or(&PLACEHOLDER);
            if bit(&key_hash, index) { inner_hash(sibling, &below) } else { inner_hash(&below, sibling) }
        });
        if computed != root.0 {
            return Err(ProofError::OtherRoot { computed: Root(computed), expected: *root });
        }
        Ok(Verified { key: self.key.clone(), value })
    }

    /// The proof as bytes; equal proofs have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.key.len() + 32 * self.siblings.len() + 128);
        out.push(FORMAT);
        out.push(match self.end {
            End::Value(_) => 0,
            End::Empty => 1,
            End::Other { .. } => 2,
        });
        // The lengths are within the limits: `prove` and both readers see to it.
        out.extend_from_slice(&(self.key.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.key);
        match &self.end {
            End::Value(value) => {
                out.extend_from_slice(&(value.len() as u32).to_be_bytes());
                out.extend_from_slice(value);
            }
            End::Empty => {}
            End::Other { key_hash, value_hash } => {
                out.extend_from_slice(key_hash);
                out.extend_from_slice(value_hash);
            }
        }
        out.extend_from_slice(&(self.siblings.len() as u16).to_be_bytes());
        out.extend(self.siblings.chunks(8).map(|eight| {
            (0..)
                .zip(eight)
                .fold(0u8, |bits, (index, sibling)| bits | u8::from(sibling.is_some()) << (7 - index))
        }));
        out.extend(self.siblings.iter().flatten().flatten());
        out
    }

    /// Reads what [`to_bytes`](Proof::to_bytes) made. Any bytes may be given; nothing is allocated beyond
    /// their length.
    ///
    /// # Errors
    /// Bytes that are no proof.
    pub fn from_bytes(bytes: &[u8]) -> Result<Proof, ProofError> {
        let mut input = Input { bytes, at: 0 };
        let [format] = input.array()?;
        if format != FORMAT {
            return Err(match format {
                0 => input.malformed_at(0, "there is an unknown format"),
                found => ProofError::NewerFormat { found: found.into(), supported: FORMAT },
            });
        }
        let [kind] = input.array()?;
        if kind > 2 {
            return Err(input.malformed_at(1, "there is an unknown kind"));
        }
        let key_bytes = u16::from_be_bytes(input.array()?);
        let key = Bytes::copy_from_slice(input.take(key_bytes.into())?);
        let end = match kind {
            0 => {
                let value_at = input.at;
                let value_bytes = u32::from_be_bytes(input.array()?) as usize;
                if value_bytes > MAX_PROOF_VALUE_BYTES {
                    return Err(input.malformed_at(value_at, "the value is too long"));
                }
                End::Value(Bytes::copy_from_slice(input.take(value_bytes)?))
            }
            1 => End::Empty,
            _ => End::Other { key_hash: input.array()?, value_hash: input.array()? },
        };
        let count_at = input.at;
        let count = usize::from(u16::from_be_bytes(input.array()?));
        if count > MAX_SIBLINGS {
            return Err(input.malformed_at(count_at, "there are more than 256 siblings"));
        }
        let bits_at = input.at;
        let bits = input.take(count.div_ceil(8))?;
        let is_there = |index: usize| bits[index / 8] >> (7 - index % 8) & 1 == 1;
        if (count..8 * bits.len()).any(is_there) {
            return Err(input.malformed_at(bits_at + count / 8, "there are bits beyond the siblings"));
        }
        let mut siblings = Vec::with_capacity(count);
        for index in 0..count {
            if !is_there(index) {
                siblings.push(None);
                continue;
            }
            let sibling_at = input.at;
            let sibling = input.array()?;
            if sibling == PLACEHOLDER {
                return Err(input.malformed_at(sibling_at, "a sibling is spelled out that is empty"));
            }
            siblings.push(Some(sibling));
        }
        if input.at < bytes.len() {
            return Err(input.malformed_at(input.at, "there are bytes after the end"));
        }
        Ok(Proof { key, end, siblings })
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ProofError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count));
        let taken = taken.ok_or_else(|| self.malformed_at(self.bytes.len(), "the bytes end too early"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProofError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn malformed_at(&self, at: usize, problem: &'static str) -> ProofError {
        ProofError::Malformed { at, problem }
    }
}

/// The form for people: bytes in hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: u64,
    key: String,
    /// Not there if the key is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The pair at which the way of an absent key ends, if it ends at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other: Option<JsonOther>,
    /// Root first; null where there is no pair.
    siblings: Vec<Option<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonOther {
    key_hash: String,
    value_hash: String,
}

impl From<Proof> for Json {
    fn from(proof: Proof) -> Self {
        let (value, other) = match &proof.end {
            End::Value(value) => (Some(hex(value)), None),
            End::Empty => (None, None),
            End::Other { key_hash, value_hash } => {
                (None, Some(JsonOther { key_hash: hex(key_hash), value_hash: hex(value_hash) }))
            }
        };
        Json {
            format: FORMAT.into(),
            key: hex(&proof.key),
            value,
            other,
            siblings: proof.siblings.iter().map(|sibling| sibling.as_ref().map(|hash| hex(hash))).collect(),
        }
    }
}

impl TryFrom<Json> for Proof {
    type Error = ProofError;

    fn try_from(json: Json) -> Result<Self, ProofError> {
        let malformed = |problem| ProofError::MalformedJson { problem };
        if json.format != FORMAT.into() {
            return Err(match json.format {
                0 => malformed("it has an unknown format"),
                found => ProofError::NewerFormat { found, supported: FORMAT },
            });
        }
        let to_hash = |text: &str| -> Result<Hash, ProofError> {
            let hash = unhex(text).and_then(|bytes| bytes.try_into().ok());
            hash.ok_or_else(|| malformed("a hash is not 64 hexadecimal digits"))
        };
        let key = unhex(&json.key).ok_or_else(|| malformed("the key is not hexadecimal digits"))?;
        let end = match (json.value, json.other) {
            (Some(_), Some(_)) => return Err(malformed("it has both a value and another pair")),
            (Some(value), None) => End::Value(
                unhex(&value).ok_or_else(|| malformed("the value is not hexadecimal digits"))?.into(),
            ),
            (None, None) => End::Empty,
            (None, Some(other)) => {
                End::Other { key_hash: to_hash(&other.key_hash)?, value_hash: to_hash(&other.value_hash)? }
            }
        };
        let value_bytes = if let End::Value(value) = &end { value.len() } else { 0 };
        if key.len() > MAX_PROOF_KEY_BYTES || value_bytes > MAX_PROOF_VALUE_BYTES {
            return Err(malformed("its key or value is too long"));
        }
        if json.siblings.len() > MAX_SIBLINGS {
            return Err(malformed("it has more than 256 siblings"));
        }
        let sibling = |text: &Option<String>| text.as_deref().map(to_hash).transpose();
        let siblings = json.siblings.iter().map(sibling).collect::<Result<Vec<_>, _>>()?;
        if siblings.contains(&Some(PLACEHOLDER)) {
            return Err(malformed("a sibling is spelled out that is empty"));
        }
        Ok(Proof { key: key.into(), end, siblings })
    }
}
