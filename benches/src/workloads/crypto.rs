//! Hashes, ciphers and signatures over 1 KB and 64 KB: what an instruction adds to the crate that does the work.

use std::hint::black_box;

use anyhow::Result;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use dotvm_arch::Width;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use sha3::Keccak256;

use super::Setup;
use crate::dotvm;
use crate::harness::{Contender, Goal, Kind, Workload};
use crate::peers::native::{self, Native};

/// An instruction, and the crate's function that does the same.
struct Case {
    name: &'static str,
    /// What is on the reference stack before, with the input as the local `text`, and the instruction.
    body: &'static str,
    bytes: u64,
    /// In one run.
    times: u64,
    native: fn(&[u8]) -> u64,
}

/// The first eight bytes of a result.
fn head(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

const SHA2: &str = "RLGET text HASH sha2-256";
const KECCAK: &str = "RLGET text HASH keccak-256";
const BLAKE3: &str = "RLGET text HASH blake3";
const AES: &str = "RLGET key RLGET nonce RCONST \"\" RLGET text ENCRYPT aes-256-gcm";
const CHACHA: &str = "RLGET key RLGET nonce RCONST \"\" RLGET text ENCRYPT chacha20-poly1305";
const SIGN: &str = "RLGET key RLGET text SIGN ed25519";

fn sha2_256(text: &[u8]) -> u64 {
    head(&Sha256::digest(text))
}

fn keccak_256(text: &[u8]) -> u64 {
    head(&Keccak256::digest(text))
}

fn blake3(text: &[u8]) -> u64 {
    head(blake3::hash(text).as_bytes())
}

fn seal<C: KeyInit + Aead>(text: &[u8]) -> u64 {
    let (key, nonce) = (vec![0; C::key_size()], [0u8; 12]);
    let cipher = C::new_from_slice(&key).expect("the key has its length");
    let nonce = nonce.as_slice().try_into().expect("the nonce has its length");
    cipher.encrypt(nonce, Payload { msg: text, aad: &[] }).map_or(0, |sealed| head(&sealed))
}

fn sign(text: &[u8]) -> u64 {
    head(&SigningKey::from_bytes(&[0; 32]).sign(text).to_bytes())
}

const CASES: [Case; 12] = [
    Case { name: "sha2_1k", body: SHA2, bytes: 1 << 10, times: 20_000, native: sha2_256 },
    Case { name: "sha2_64k", body: SHA2, bytes: 1 << 16, times: 500, native: sha2_256 },
    Case { name: "keccak_1k", body: KECCAK, bytes: 1 << 10, times: 10_000, native: keccak_256 },
    Case { name: "keccak_64k", body: KECCAK, bytes: 1 << 16, times: 200, native: keccak_256 },
    Case { name: "blake3_1k", body: BLAKE3, bytes: 1 << 10, times: 30_000, native: blake3 },
    Case { name: "blake3_64k", body: BLAKE3, bytes: 1 << 16, times: 2_000, native: blake3 },
    Case { name: "aes_1k", body: AES, bytes: 1 << 10, times: 20_000, native: seal::<aes_gcm::Aes256Gcm> },
    Case { name: "aes_64k", body: AES, bytes: 1 << 16, times: 1_000, native: seal::<aes_gcm::Aes256Gcm> },
    Case {
        name: "chacha_1k",
        body: CHACHA,
        bytes: 1 << 10,
        times: 20_000,
        native: seal::<chacha20poly1305::ChaCha20Poly1305>,
    },
    Case {
        name: "chacha_64k",
        body: CHACHA,
        bytes: 1 << 16,
        times: 1_000,
        native: seal::<chacha20poly1305::ChaCha20Poly1305>,
    },
    Case { name: "sign_1k", body: SIGN, bytes: 1 << 10, times: 500, native: sign },
    Case { name: "sign_64k", body: SIGN, bytes: 1 << 16, times: 100, native: sign },
];

/// The names, for `--only`.
pub const NAMES: [&str; CASES.len()] = {
    let mut names = [""; CASES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = CASES[at].name;
        at += 1;
    }
    names
};

/// One of them, with all its contenders.
pub fn build<const CASE: usize>(setup: &Setup) -> Result<Workload> {
    let Case { name, body, bytes, times, native } = &CASES[CASE];
    let (bytes, native) = (*bytes, *native);
    let times = setup.pick(*times, times / 10);
    let program = format!(
        "
.arch 64
.memory 2
.func pub run [n] -> [head]
  .rlocal text key nonce out
  PUSH 0 PUSH 7 PUSH {bytes} MFILL PUSH 0 PUSH {bytes} BLOAD RLSET text
  RCONST 0x{} RLSET key RCONST 0x{} RLSET nonce
again:
  {body} RLSET out
  LGET n ADDI -1 LTEE n JNZ again
  PUSH 0 PUSH 8 RLGET out R.SLICE R.B2W RET
.end
",
        "00".repeat(32),
        "00".repeat(12),
    );
    let text = vec![7; bytes as usize];
    let expected = native(&text);
    let contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(dotvm::Call::new(&program, Width::W64, times)?),
        Box::new(Native(move || (0..times).fold(0, |_, _| native(black_box(&text))))),
    ];
    Ok(Workload {
        name,
        summary: format!(
            "{times} times the same over {bytes} bytes: {body}; native: the crate's own function"
        ),
        operations: times,
        unit: "call",
        kind: Kind::Compute,
        baseline: native::NAME,
        expected,
        expected_state: None,
        goal: Some(Goal::TimesBaseline(1.05)),
        contenders,
    })
}
