//! Keys of modules that travel, and whom to trust.
//!
//! A key is a line of text: what it is, a space, 64 hexadecimal digits.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use dotvm_core::container::KEY_BYTES;
use dotvm_runtime::audit;
use dotvm_runtime::show::hex;

use crate::exit::Exit;
use crate::failure::Failure;

/// The environment variable that holds an encryption key.
pub const KEY_VARIABLE: &str = "DOTVM_KEY";

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Signs: secret, of Ed25519.
    Signing,
    /// Says who signed: public, of Ed25519.
    Public,
    /// Encrypts and decrypts: secret, of AES-256-GCM.
    Encryption,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Signing, Kind::Public, Kind::Encryption];

    /// The word in front of the digits.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Signing => "dotvm-signing-key",
            Kind::Public => "dotvm-public-key",
            Kind::Encryption => "dotvm-encryption-key",
        }
    }
}

/// A key as a line.
pub fn line(kind: Kind, key: &[u8; KEY_BYTES]) -> String {
    let mut line = String::new();
    let _ = writeln!(line, "{} {}", kind.word(), hex(key));
    line
}

/// The key of a kind in a line; `what` says where the line is from.
fn parse(text: &str, wanted: Kind, what: &str) -> Result<[u8; KEY_BYTES], Failure> {
    let refused = |why: String| Failure::new(Exit::Input, format!("{what} is refused: {why}"));
    let (word, digits) = text.trim().split_once(' ').unwrap_or(("", text.trim()));
    match Kind::ALL.into_iter().find(|kind| kind.word() == word) {
        Some(kind) if kind == wanted => {}
        // A public key is told by its digits alone, too.
        None if word.is_empty() && wanted == Kind::Public => {}
        Some(kind) => return Err(refused(format!("it is a {}, not a {}", kind.word(), wanted.word()))),
        None => return Err(refused(format!("it is no line `{} DIGITS`", wanted.word()))),
    }
    let mut key = [0; KEY_BYTES];
    let is_key = digits.len() == 2 * KEY_BYTES && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_key {
        return Err(refused(format!("a key has {} hexadecimal digits", 2 * KEY_BYTES)));
    }
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    Ok(key)
}

/// The key of a kind in a file.
pub fn read(path: &Path, kind: Kind) -> Result<[u8; KEY_BYTES], Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?;
    parse(&text, kind, &path.display().to_string())
}

/// Writes a key into a new file, which only its owner may read if it is secret.
pub fn write(path: &Path, kind: Kind, key: &[u8; KEY_BYTES]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if kind != Kind::Public {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(path).and_then(|mut file| file.write_all(line(kind, key).as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Usage,
            format!("{} is there already, and a key is never replaced", path.display()),
        ),
        _ => Failure::unwritable(path.display(), &error),
    })
}

/// `--key` and `--require-signed-by`: what opens modules, and whose are run.
#[derive(Args, Default)]
pub struct TrustOptions {
    /// File with a key that opens encrypted modules (can be repeated); the variable DOTVM_KEY holds one, too
    #[arg(long = "key", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Trust")]
    keys: Vec<PathBuf>,

    #[command(flatten)]
    signers: SignerOptions,
}

/// `--require-signed-by`: whose modules are run and whose contracts are called.
#[derive(Args, Default)]
pub struct SignerOptions {
    /// Refuse modules, and contracts whose code was deployed from one, that were not signed with this public key, digits
    /// or a file (can be repeated: any of them)
    #[arg(long = "require-signed-by", value_name = "KEY", help_heading = "Trust")]
    signers: Vec<String>,
}

impl SignerOptions {
    /// The public keys of those who are trusted, if it matters.
    pub fn signers(&self) -> Result<Option<Vec<[u8; KEY_BYTES]>>, Failure> {
        if self.signers.is_empty() {
            return Ok(None);
        }
        self.signers.iter().map(|text| public_key(text)).collect::<Result<_, _>>().map(Some)
    }
}

impl TrustOptions {
    /// The encryption keys at hand.
    pub fn keys(&self) -> Result<Vec<[u8; KEY_BYTES]>, Failure> {
        let mut keys = Vec::new();
        for path in &self.keys {
            keys.push(read(path, Kind::Encryption)?);
        }
        if let Ok(text) = std::env::var(KEY_VARIABLE) {
            keys.push(parse(&text, Kind::Encryption, KEY_VARIABLE)?);
        }
        Ok(keys)
    }

    /// The public keys of those who are trusted, if it matters.
    pub fn signers(&self) -> Result<Option<Vec<[u8; KEY_BYTES]>>, Failure> {
        self.signers.signers()
    }

    /// Holds the signer of a module against the keys that are trusted.
    pub fn check(&self, path: &Path, signer: Option<&[u8; KEY_BYTES]>) -> Result<(), Failure> {
        let Some(trusted) = self.signers()? else { return Ok(()) };
        let path = path.display();
        audit::check_signer(&path.to_string(), signer, &trusted)
            .map_err(|why| Failure::new(Exit::Input, format!("{path} is refused: {why}")))
    }
}

/// A public key as digits, or the file with one.
fn public_key(text: &str) -> Result<[u8; KEY_BYTES], Failure> {
    let is_digits = text.len() == 2 * KEY_BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_digits { parse(text, Kind::Public, "the key") } else { read(Path::new(text), Kind::Public) }
}
