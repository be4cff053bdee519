//! Layout of the store's keys, and the limits.
//!
//! | key | value |
//! |---|---|
//! | 00 `schema` | schema version, u32 |
//! | 00 `contracts` | number of the last contract, u32 |
//! | 00 `collections` | number of the last collection, u32 |
//! | 00 `indexes` | number of the last index, u32 |
//! | 01 contract name | contract number u32, then code hash (32 bytes) once bound |
//! | 02 code hash | module bytes |
//! | 03 contract u32, length u8, slot key | slot value |
//! | 04 contract u32, collection name | number u32, kind u8, 1 if it has indexes or a schema, else 0 |
//! | 05 collection u32, record key | record value |
//! | 06 collection u32, 00 | number of records, u64; absent: 0 |
//! | 06 collection u32, 01 | greatest 8-byte key it ever held, u64; absent: 0 |
//! | 07 collection u32, index name | definition of an index |
//! | 08 collection u32 | schema of its documents |
//! | 10 index u32, entry | see `index` |
//! | 80 version u64, chunk u32 | see `journal` |
//! | 81 key, version u64 | see `history` |
//! | 82 … | nodes of the state tree |
//! | 83 name | version u64 that the name stands for |
//! | 84 … | see `settings` |
//! | 85 machine u64, … | see `machines` |
//!
//! All integers are big-endian; numbers start at 1. Slot keys have no leading zeros, so that length
//! and bytes order them as numbers. Tags below 80 have a history; of these the state root commits to
//! 01 to 08.

use std::ops::Bound;

use dotdb_store::StoreError;

use crate::error::DbError;

/// Version of the layout above. A store with a greater one is refused.
pub const SCHEMA_VERSION: u32 = 2;
/// Longest name of a contract or collection, bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest slot key or value, bytes without leading zeros: one 512-bit word.
pub const MAX_SLOT_BYTES: usize = 64;
/// Longest key of a record, bytes. The empty key is a key.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest value of a record, bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
/// Longest module, bytes.
pub const MAX_CODE_BYTES: usize = 16 << 20;
/// Most cursors open in one transaction.
pub const MAX_CURSORS: usize = 1024;

pub(crate) const META_SCHEMA: &[u8] = b"\x00schema";
pub(crate) const META_CONTRACTS: &[u8] = b"\x00contracts";
pub(crate) const META_COLLECTIONS: &[u8] = b"\x00collections";
pub(crate) const META_INDEXES: &[u8] = b"\x00indexes";
pub(crate) const CONTRACT: u8 = 1;
pub(crate) const CODE: u8 = 2;
pub(crate) const SLOT: u8 = 3;
pub(crate) const COLLECTION: u8 = 4;
pub(crate) const RECORD: u8 = 5;
pub(crate) const COUNTER: u8 = 6;
pub(crate) const INDEX: u8 = 7;
pub(crate) const SCHEMA: u8 = 8;
pub(crate) const INDEX_ENTRY: u8 = 0x10;
pub(crate) const JOURNAL: u8 = 0x80;
pub(crate) const HISTORY: u8 = 0x81;
pub(crate) const TREE: u8 = 0x82;
pub(crate) const VERSION_NAME: u8 = 0x83;
pub(crate) const SETTING: u8 = 0x84;
pub(crate) const MACHINE: u8 = 0x85;

/// Tags of what the state root commits to.
pub(crate) const COMMITTED: std::ops::Range<u8> = CONTRACT..SCHEMA + 1;

/// Whether the state root commits to a key.
pub(crate) fn is_committed(key: &[u8]) -> bool {
    key.first().is_some_and(|tag| COMMITTED.contains(tag))
}

/// Bytes before the slot key: tag, contract, length.
pub(crate) const SLOT_PREFIX_BYTES: usize = 6;
/// Bytes before the collection name, or before the record key: tag and number.
pub(crate) const PREFIX_BYTES: usize = 5;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(80).map(|byte| format!("{byte:02x}")).collect()
}

/// A record's key or a name, for people: as text if it is some, else in hexadecimal.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => format!("0x{}", hex(bytes)),
    }
}

/// What a store key stands for, for people.
pub(crate) fn describe(key: &[u8]) -> String {
    let text = show;
    let number = key.get(1..PREFIX_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let rest = key.get(PREFIX_BYTES..).unwrap_or_default();
    match (key.first(), number) {
        (Some(0), _) => format!("the counter {}", text(&key[1..])),
        (Some(&CONTRACT), _) => format!("the contract {}", text(&key[1..])),
        (Some(&CODE), _) => format!("the code {}", hex(&key[1..])),
        (Some(&SLOT), Some(contract)) => {
            let slot = rest.get(1..).unwrap_or_default();
            let slot = if slot.is_empty() { "0".to_owned() } else { format!("0x{}", hex(slot)) };
            format!("slot {slot} of contract {contract}")
        }
        (Some(&COLLECTION), Some(contract)) => {
            format!("the collection {} of contract {contract}", text(rest))
        }
        (Some(&RECORD), Some(collection)) => format!("the record {} of collection {collection}", text(rest)),
        (Some(&COUNTER), Some(collection)) => format!("the counters of collection {collection}"),
        (Some(&INDEX), Some(collection)) => format!("the index {} of collection {collection}", text(rest)),
        (Some(&SCHEMA), Some(collection)) => format!("the schema of collection {collection}"),
        (Some(&INDEX_ENTRY), Some(index)) => format!("an entry of index {index}"),
        _ => format!("the key {}", hex(key)),
    }
}

/// Tag and number, as they begin slot, collection and record keys.
pub(crate) fn prefix(tag: u8, number: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = number.to_be_bytes();
    [tag, a, b, c, d]
}

/// `tag` followed by `rest`.
pub(crate) fn tagged(tag: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(tag);
    key.extend_from_slice(rest);
    key
}

/// `prefix` followed by `rest`.
pub(crate) fn prefixed(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

/// The exclusive upper bound of all keys that begin with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// `bytes` without leading zeros.
pub(crate) fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros..]
}

/// Checks the rules for names.
pub(crate) fn check_name(name: &str) -> Result<(), DbError> {
    let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.');
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("has {} bytes", name.len())
    } else if let Some(c) = name.chars().find(|&c| !fits(c)) {
        format!("has the character {c:?}")
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "does not start with a letter".to_owned()
    } else {
        return Ok(());
    };
    Err(DbError::Name { name: name.chars().take(MAX_NAME_BYTES).collect(), problem })
}

/// Checks a length against its limit.
pub(crate) fn check_len(what: &'static str, bytes: usize, limit: usize) -> Result<(), DbError> {
    if bytes > limit { Err(DbError::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

/// A value in the store that DotDB cannot have written.
pub(crate) fn corrupt(key: &[u8], problem: &str) -> DbError {
    let shown: String = key.iter().take(80).map(|byte| format!("{byte:02x}")).collect();
    DbError::Store(StoreError::Corrupt { detail: format!("the value of key {shown} {problem}") })
}

/// Decodes a u32 that makes up a whole value.
pub(crate) fn decode_u32(key: &[u8], value: &[u8]) -> Result<u32, DbError> {
    let bytes = value.try_into().map_err(|_| corrupt(key, "is not a 32-bit number"))?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(prefix_end(&[5, 0, 0, 1, 255]), Bound::Excluded(vec![5, 0, 0, 2]));
        assert_eq!(prefix_end(&[7]), Bound::Excluded(vec![8]));
        assert_eq!(prefix_end(&[255, 255]), Bound::Unbounded);
        assert_eq!(prefix_end(&[]), Bound::Unbounded);
    }

    #[test]
    fn names() {
        for good in ["a", "token", "a-b_c.d9", &"x".repeat(64)] {
            check_name(good).unwrap();
        }
        for (bad, problem) in [
            ("", "is empty"),
            ("9a", "does not start with a letter"),
            (".a", "does not start with a letter"),
            ("a b", "has the character ' '"),
            ("Token", "has the character 'T'"),
            ("tokén", "has the character 'é'"),
            (&"x".repeat(65), "has 65 bytes"),
        ] {
            let message = check_name(bad).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
