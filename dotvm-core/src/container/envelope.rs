//! Modules that travel: a module file that is compressed, encrypted and signed, each or all, described byte by byte in
//! `docs/module-format.md`.
//!
//! An envelope has the header of the module inside, with flags, and is opened from the outside in: its hash, its
//! signature, its cipher, its compression, and then [`read`](super::read) checks the module. Whose signature to trust is
//! up to the caller. Opening takes memory only for what the bytes at hand can hold.

use dotvm_crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};

use super::error::{ReadError, ReadErrorKind};
use super::layout::{HASH_OFFSET, HEADER_BYTES, MAGIC, VERSION_MAJOR, VERSION_MINOR, field, flags};
use super::{HASH_BYTES, read, seal};
use crate::limits::module::FILE_BYTES;

/// Bytes of a secret key, to sign or to encrypt, and of a public key.
pub const KEY_BYTES: usize = 32;
/// Bytes of the number that names an encryption key.
pub const KEY_ID_BYTES: usize = 8;
/// Bytes between the header and what is inside: number of the key, nonce, length of the body, length as stored.
const PREFIX_BYTES: usize = KEY_ID_BYTES + AeadAlg::NONCE_BYTES + 8;
/// Bytes behind what is inside, if it is signed: public key and signature.
const SIGNATURE_BYTES: usize = KEY_BYTES + 64;
/// Most bytes that one byte of an LZ4 block stands for.
const EXPANSION: usize = 255;
/// What a signature is made of, before the hash.
const SIGNED: &[u8] = b"DotVM module 1\0";

const ALL_FLAGS: u16 = flags::COMPRESSED | flags::ENCRYPTED | flags::SIGNED;

/// How a module is to travel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrapping<'a> {
    /// Compressed.
    pub compress: bool,
    /// Encrypted under this key.
    pub encrypt_with: Option<&'a [u8; KEY_BYTES]>,
    /// Signed with this secret key of Ed25519.
    pub sign_with: Option<&'a [u8; KEY_BYTES]>,
}

/// A module file that was taken out of its envelope, or that had none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The module file, which [`read`](super::read) has still to check.
    pub module: Vec<u8>,
    /// Whether it was compressed.
    pub compressed: bool,
    /// Whether it was encrypted.
    pub encrypted: bool,
    /// The public key of who signed it. The signature is right; whether this key is to be trusted is open.
    pub signer: Option<[u8; KEY_BYTES]>,
}

/// Why an envelope is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Flags that this build does not know.
    #[error("the module needs what this build does not support: flags 0x{0:04x}")]
    Flags(u16),
    /// The file is larger than a module can be.
    #[error("the file has {bytes} bytes, more than the limit of {max}")]
    TooLarge {
        /// Bytes of the file, or of the module inside.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The file ends early, or goes on.
    #[error("the sealed module has {bytes} bytes, but its header says {needed}")]
    Length {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes it must have.
        needed: u64,
    },
    /// The hash in the header is not that of the bytes.
    #[error("the checksum does not match: the sealed module is damaged or was changed")]
    Checksum,
    /// A key or nonce is named though nothing is encrypted.
    #[error("the module is not encrypted, but names a key or a nonce")]
    StrayKey,
    /// The signature is none of the module.
    #[error("the signature is not one of this module under the key {}", hex(.0))]
    Signature([u8; KEY_BYTES]),
    /// The key is not at hand.
    #[error("the module is encrypted under the key {}, which was not given", hex(.0))]
    NoKey([u8; KEY_ID_BYTES]),
    /// Decryption says no.
    #[error("the encrypted module was changed, or encrypted under another key of the same number")]
    Decrypt,
    /// What is inside would be larger than what is stored can stand for.
    #[error("a module of {body} bytes cannot come from {stored} compressed bytes")]
    Bomb {
        /// Bytes that are promised.
        body: usize,
        /// Bytes that are there.
        stored: usize,
    },
    /// What is inside cannot be unpacked.
    #[error("the compressed module cannot be unpacked")]
    Decompress,
    /// What is inside has another length than is said.
    #[error("the module inside has {found} bytes behind its header, but {expected} are promised")]
    Body {
        /// Bytes found.
        found: usize,
        /// Bytes promised.
        expected: usize,
    },
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number by which an envelope names an encryption key; it tells nothing about the key.
pub fn key_id(key: &[u8; KEY_BYTES]) -> [u8; KEY_ID_BYTES] {
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&derived(key, b"dotvm module key id", KEY_ID_BYTES));
    id
}

/// Bytes that follow from a key, for one use.
fn derived(key: &[u8; KEY_BYTES], what: &[u8], len: usize) -> Vec<u8> {
    KdfAlg::HkdfSha2_256.derive(key, &[], what, len).expect("a digest's length or less")
}

/// A nonce that no other module under the key has: it follows from all that is encrypted and authenticated.
fn nonce(key: &[u8; KEY_BYTES], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let nonce_key = derived(key, b"dotvm module nonce", KEY_BYTES);
    let tag = MacAlg::KeyedBlake3.tag(&nonce_key, &[aad, text].concat()).expect("a key of 32 bytes");
    tag.as_bytes()[..AeadAlg::NONCE_BYTES].to_vec()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The hash of an envelope up to its signature, the hash field taken as zeros.
fn hash_of(sealed: &[u8]) -> [u8; HASH_BYTES] {
    super::content_hash(sealed)
}

/// What is signed for a hash.
fn signed_message(hash: &[u8]) -> Vec<u8> {
    [SIGNED, hash].concat()
}

/// Puts a module file into an envelope; without any wrapping it stays as it is.
///
/// # Errors
/// The bytes are no module file.
pub fn wrap(module: &[u8], wrapping: &Wrapping) -> Result<Vec<u8>, ReadError> {
    read(module)?;
    let mut bits = 0;
    for (is_set, flag) in [
        (wrapping.compress, flags::COMPRESSED),
        (wrapping.encrypt_with.is_some(), flags::ENCRYPTED),
        (wrapping.sign_with.is_some(), flags::SIGNED),
    ] {
        bits |= if is_set { flag } else { 0 };
    }
    if bits == 0 {
        return Ok(module.to_vec());
    }
    let (header, body) = module.split_at(HEADER_BYTES);
    let mut sealed = header.to_vec();
    sealed[field::FLAGS..field::FLAGS + 2].copy_from_slice(&bits.to_le_bytes());
    let mut inside = if wrapping.compress { lz4_flex::block::compress(body) } else { body.to_vec() };
    let (mut id, mut iv) = ([0; KEY_ID_BYTES], vec![0; AeadAlg::NONCE_BYTES]);
    if let Some(key) = wrapping.encrypt_with {
        id = key_id(key);
        let aad = authenticated(&sealed, &id, body.len() as u32);
        iv = nonce(key, &aad, &inside);
        let encrypted = AeadAlg::Aes256Gcm.encrypt(key, &iv, &aad, &inside);
        inside = encrypted.expect("key and nonce have their lengths, and the module fits");
    }
    sealed.extend_from_slice(&id);
    sealed.extend_from_slice(&iv);
    sealed.extend_from_slice(&(body.len() as u32).to_le_bytes());
    sealed.extend_from_slice(&(inside.len() as u32).to_le_bytes());
    sealed.extend_from_slice(&inside);
    seal(&mut sealed);
    if let Some(key) = wrapping.sign_with {
        let message = signed_message(&sealed[HASH_OFFSET..HASH_OFFSET + HASH_BYTES]);
        let public = SignatureAlg::Ed25519.public_key(key).expect("any 32 bytes are a key");
        let signature = SignatureAlg::Ed25519.sign(key, &message).expect("any 32 bytes are a key");
        sealed.extend_from_slice(&public);
        sealed.extend_from_slice(&signature);
    }
    if sealed.len() > FILE_BYTES {
        let kind = ReadErrorKind::FileTooLarge { bytes: sealed.len(), max: FILE_BYTES };
        return Err(ReadError { offset: 0, section: None, kind });
    }
    Ok(sealed)
}

/// What a cipher authenticates besides what it encrypts: the header up to its hash, the key's number, the body's length.
fn authenticated(header: &[u8], id: &[u8], body_len: u32) -> Vec<u8> {
    [&header[..HASH_OFFSET], id, &body_len.to_le_bytes()].concat()
}

/// Whether the bytes begin as an envelope of this version does.
fn is_wrapped(bytes: &[u8]) -> bool {
    let version = |at: usize, number: u16| bytes[at..at + 2] == number.to_le_bytes();
    bytes.len() >= HEADER_BYTES
        && bytes.starts_with(&MAGIC)
        && version(field::MAJOR, VERSION_MAJOR)
        && version(field::MINOR, VERSION_MINOR)
        && bytes[field::FLAGS..field::FLAGS + 2] != [0, 0]
}

/// The hash of a module file, or of the one in a signed or compressed envelope, under which a database keeps both. Of what
/// is not to be opened without a key, or not at all, it is the hash of the bytes.
pub fn code_hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    match open(bytes, &[]) {
        Ok(opened) => super::content_hash(&opened.module),
        Err(_) => super::content_hash(bytes),
    }
}

/// Takes a module file out of its envelope. What has none is answered as it is, for [`read`](super::read) to judge.
/// `keys` are the encryption keys at hand.
///
/// # Errors
/// The envelope is damaged, was changed, or cannot be opened with these keys.
pub fn open(bytes: &[u8], keys: &[[u8; KEY_BYTES]]) -> Result<Opened, OpenError> {
    if !is_wrapped(bytes) {
        return Ok(Opened { module: bytes.to_vec(), compressed: false, encrypted: false, signer: None });
    }
    if bytes.len() > FILE_BYTES {
        return Err(OpenError::TooLarge { bytes: bytes.len(), max: FILE_BYTES });
    }
    let bits = u16::from_le_bytes([bytes[field::FLAGS], bytes[field::FLAGS + 1]]);
    if bits & !ALL_FLAGS != 0 {
        return Err(OpenError::Flags(bits));
    }
    let [compressed, encrypted, signed] =
        [flags::COMPRESSED, flags::ENCRYPTED, flags::SIGNED].map(|flag| bits & flag != 0);

    let start = HEADER_BYTES + PREFIX_BYTES;
    let trailer = if signed { SIGNATURE_BYTES } else { 0 };
    let stored_len = if bytes.len() < start { 0 } else { u32_at(bytes, start - 4) as usize };
    let needed = (start + stored_len + trailer) as u64;
    if bytes.len() as u64 != needed {
        return Err(OpenError::Length { bytes: bytes.len(), needed });
    }
    let (sealed, trailer) = bytes.split_at(start + stored_len);
    let hash = &sealed[HASH_OFFSET..HASH_OFFSET + HASH_BYTES];
    if *hash != hash_of(sealed) {
        return Err(OpenError::Checksum);
    }
    let mut signer = None;
    if signed {
        let mut public = [0; KEY_BYTES];
        public.copy_from_slice(&trailer[..KEY_BYTES]);
        if !SignatureAlg::Ed25519.verify(&public, &signed_message(hash), &trailer[KEY_BYTES..]) {
            return Err(OpenError::Signature(public));
        }
        signer = Some(public);
    }

    let (header, prefix) = sealed.split_at(HEADER_BYTES);
    let (prefix, stored) = prefix.split_at(PREFIX_BYTES);
    let (id, iv) = prefix[..PREFIX_BYTES - 8].split_at(KEY_ID_BYTES);
    let body_len = u32_at(prefix, PREFIX_BYTES - 8) as usize;
    if HEADER_BYTES + body_len > FILE_BYTES {
        return Err(OpenError::TooLarge { bytes: HEADER_BYTES + body_len, max: FILE_BYTES });
    }
    let decrypted = if encrypted {
        let key = keys.iter().find(|key| key_id(key) == id).ok_or_else(|| {
            let mut missing = [0; KEY_ID_BYTES];
            missing.copy_from_slice(id);
            OpenError::NoKey(missing)
        })?;
        let aad = authenticated(header, id, body_len as u32);
        let text = AeadAlg::Aes256Gcm.decrypt(key, iv, &aad, stored).map_err(|_| OpenError::Decrypt)?;
        Some(text.ok_or(OpenError::Decrypt)?)
    } else if prefix[..PREFIX_BYTES - 8].iter().any(|&byte| byte != 0) {
        return Err(OpenError::StrayKey);
    } else {
        None
    };
    let inside = decrypted.as_deref().unwrap_or(stored);
    let body = if compressed {
        if body_len / EXPANSION > inside.len() {
            return Err(OpenError::Bomb { body: body_len, stored: inside.len() });
        }
        lz4_flex::block::decompress(inside, body_len).map_err(|_| OpenError::Decompress)?
    } else {
        inside.to_vec()
    };
    if body.len() != body_len {
        return Err(OpenError::Body { found: body.len(), expected: body_len });
    }
    let mut module = header.to_vec();
    module[field::FLAGS..field::FLAGS + 2].fill(0);
    module.extend_from_slice(&body);
    seal(&mut module);
    Ok(Opened { module, compressed, encrypted, signer })
}
