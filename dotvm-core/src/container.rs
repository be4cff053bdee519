//! The `.dotvm` file format: a [`Module`](crate::module::Module) as bytes, described byte by byte in
//! `docs/module-format.md`.
//!
//! [`read`] is total on any bytes and accepts exactly one encoding of each module: `read(bytes) == Ok(module)`
//! implies `write(&module) == Ok(bytes)`. It checks the form alone; whether indices name something, orders hold
//! and code is sound is up to [`crate::verify`].

mod envelope;
mod error;
mod layout;
mod reader;
mod writer;

pub use envelope::{KEY_BYTES, KEY_ID_BYTES, OpenError, Opened, Wrapping, code_hash, key_id, open, wrap};
pub use error::{ReadError, ReadErrorKind, WriteError, WriteErrorKind};
pub use layout::{
    DEBUG_NAMES, HASH_OFFSET, HEADER_BYTES, MAGIC, SECTION_ENTRY_BYTES, Section, VERSION_MAJOR,
    VERSION_MINOR, flags,
};
pub use reader::read;
pub use writer::write;

/// Bytes of the content hash.
pub const HASH_BYTES: usize = 32;

/// The hash that identifies a module file: BLAKE3 of all its bytes with the hash field itself taken as zeros.
///
/// Names, lines and every other byte take part. The result is defined for any bytes; of a file that [`read`]
/// accepts it is the hash in the header.
pub fn content_hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let (before, rest) = bytes.split_at(bytes.len().min(HASH_OFFSET));
    let (field, after) = rest.split_at(rest.len().min(HASH_BYTES));
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&[0; HASH_BYTES][..field.len()]).update(after);
    *hasher.finalize().as_bytes()
}

/// Writes the content hash into the header, for tools that change the bytes of a file.
///
/// Bytes too short for a header are left as they are.
pub fn seal(bytes: &mut [u8]) {
    let hash = content_hash(bytes);
    if let Some(field) = bytes.get_mut(HASH_OFFSET..HASH_OFFSET + HASH_BYTES) {
        field.copy_from_slice(&hash);
    }
}
