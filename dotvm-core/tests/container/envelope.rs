//! Modules that travel: each wrapping and all together, every bit flipped, every end cut, wrong keys, bombs.

use dotvm_core::container::{HEADER_BYTES, OpenError, Wrapping, key_id, open, read, seal, wrap, write};
use dotvm_core::module::Module;
use dotvm_crypto::SignatureAlg;

use crate::samples;

const KEY: [u8; 32] = [7; 32];
const SIGNER: [u8; 32] = [9; 32];
/// Behind the header: the key's number, the nonce, the body's length, the stored length.
const PREFIX_BYTES: usize = 8 + 12 + 4 + 4;

fn sample() -> Vec<u8> {
    write(&samples::documents()).unwrap()
}

/// Every wrapping but none.
fn wrappings() -> impl Iterator<Item = Wrapping<'static>> {
    (1..8).map(|bits| Wrapping {
        compress: bits & 1 != 0,
        encrypt_with: (bits & 2 != 0).then_some(&KEY),
        sign_with: (bits & 4 != 0).then_some(&SIGNER),
    })
}

/// What a loader does: opens, then reads; whether anything of the module comes out.
fn load(bytes: &[u8]) -> Result<Module, String> {
    let opened = open(bytes, &[KEY]).map_err(|error| error.to_string())?;
    read(&opened.module).map_err(|error| error.to_string())
}

#[test]
fn what_was_wrapped_comes_out_the_same() {
    let module = sample();
    let public: [u8; 32] = SignatureAlg::Ed25519.public_key(&SIGNER).unwrap().try_into().unwrap();
    for wrapping in wrappings() {
        let wrapped = wrap(&module, &wrapping).unwrap();
        assert_ne!(wrapped, module);
        assert_eq!(wrapped, wrap(&module, &wrapping).unwrap(), "{wrapping:?} is not repeatable");
        assert!(read(&wrapped).is_err(), "only opening makes a module of it");
        let opened = open(&wrapped, &[[1; 32], KEY]).unwrap();
        assert_eq!(opened.module, module, "{wrapping:?}");
        assert_eq!(opened.compressed, wrapping.compress);
        assert_eq!(opened.encrypted, wrapping.encrypt_with.is_some());
        assert_eq!(opened.signer, wrapping.sign_with.map(|_| public));
    }
    assert_eq!(wrap(&module, &Wrapping::default()).unwrap(), module);
    assert_eq!(open(&module, &[]).unwrap().module, module);
    assert!(wrap(&module[1..], &Wrapping::default()).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let module = sample();
    for wrapping in wrappings() {
        let wrapped = wrap(&module, &wrapping).unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut bad = wrapped.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let sentence = load(&bad).expect_err("a flipped bit");
            assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence}");
        }
        for len in 0..wrapped.len() {
            assert!(load(&wrapped[..len]).is_err(), "{wrapping:?} cut at {len}");
        }
        assert!(load(&[&wrapped[..], b"x"].concat()).is_err());
    }
}

/// Who changes bytes can make the hash anew; the cipher and the signature still say no.
#[test]
fn a_new_hash_does_not_help() {
    let module = sample();
    for wrapping in
        wrappings().filter(|wrapping| wrapping.encrypt_with.is_some() || wrapping.sign_with.is_some())
    {
        let wrapped = wrap(&module, &wrapping).unwrap();
        let end = if wrapping.sign_with.is_some() { wrapped.len() - 96 } else { wrapped.len() };
        for byte in 0..end {
            let mut bad = wrapped.clone();
            bad[byte] ^= 0x10;
            seal(&mut bad[..end]);
            // The hash itself is made anew, and so is as it was.
            if (32..64).contains(&byte) {
                assert_eq!(bad, wrapped);
                continue;
            }
            assert!(load(&bad).is_err(), "{wrapping:?} byte {byte}");
        }
    }
}

#[test]
fn wrong_keys_and_signatures_of_others_are_told() {
    let module = sample();
    let other = write(&Module::new("other", dotvm_arch::Width::W64)).unwrap();
    let encrypted = wrap(&module, &Wrapping { encrypt_with: Some(&KEY), ..Wrapping::default() }).unwrap();
    assert_eq!(open(&encrypted, &[]).unwrap_err(), OpenError::NoKey(key_id(&KEY)));
    assert_eq!(open(&encrypted, &[[8; 32]]).unwrap_err(), OpenError::NoKey(key_id(&KEY)));

    // The signature of one module behind another, and a key that did not sign.
    let signed = Wrapping { sign_with: Some(&SIGNER), ..Wrapping::default() };
    let (mut first, second) = (wrap(&module, &signed).unwrap(), wrap(&other, &signed).unwrap());
    let at = first.len() - 96;
    first[at..].copy_from_slice(&second[second.len() - 96..]);
    assert!(matches!(open(&first, &[]).unwrap_err(), OpenError::Signature(_)));
    let mut claimed = wrap(&module, &signed).unwrap();
    claimed[at..at + 32].copy_from_slice(&SignatureAlg::Ed25519.public_key(&KEY).unwrap());
    assert!(matches!(open(&claimed, &[]).unwrap_err(), OpenError::Signature(_)));

    // Without its signature, and with its flag taken away, it is unsigned, and says so.
    let mut stripped = wrap(&module, &Wrapping { compress: true, ..signed }).unwrap();
    stripped.truncate(stripped.len() - 96);
    stripped[10] &= !4;
    seal(&mut stripped);
    assert_eq!(open(&stripped, &[]).unwrap().signer, None);
}

#[test]
fn bombs_and_lies_about_lengths_are_refused() {
    let module = sample();
    let compressed = wrap(&module, &Wrapping { compress: true, ..Wrapping::default() }).unwrap();
    let at = HEADER_BYTES + PREFIX_BYTES - 8;
    let with_body = |len: u32| {
        let mut bytes = compressed.clone();
        bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        seal(&mut bytes);
        open(&bytes, &[]).unwrap_err()
    };
    assert!(matches!(with_body(200 << 20), OpenError::Bomb { .. }));
    assert!(matches!(with_body(u32::MAX), OpenError::TooLarge { .. }));
    let len = (module.len() - HEADER_BYTES) as u32;
    assert!(matches!(with_body(len - 1), OpenError::Decompress | OpenError::Body { .. }));
    assert!(matches!(with_body(len + 1), OpenError::Body { .. }));
    assert!(matches!(with_body(0), OpenError::Decompress | OpenError::Body { .. }));

    // A real bomb: a megabyte of zeros from four kilobytes is within what LZ4 can hold, and still bounded.
    let bomb = lz4_flex::block::compress(&vec![0; 1 << 20]);
    let mut bytes = compressed[..HEADER_BYTES + PREFIX_BYTES].to_vec();
    bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    bytes[at + 4..at + 8].copy_from_slice(&(bomb.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&bomb);
    seal(&mut bytes);
    assert!(matches!(open(&bytes, &[]).unwrap_err(), OpenError::Decompress | OpenError::Body { .. }));

    let mut unknown = compressed.clone();
    unknown[11] = 0x80;
    seal(&mut unknown);
    assert_eq!(open(&unknown, &[]).unwrap_err(), OpenError::Flags(0x8001));
    let mut stray = compressed;
    stray[HEADER_BYTES] = 1;
    seal(&mut stray);
    assert_eq!(open(&stray, &[]).unwrap_err(), OpenError::StrayKey);
}
