//! Answers published with the specifications, and what malformed arguments give.

use dotvm_crypto::{AeadAlg, HashAlg, KdfAlg, MacAlg, SignatureAlg, random};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// RFC 8032 section 7.1, tests 1 to 3: secret key, public key, message, signature.
const RFC_8032: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
         d25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
         387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
         4a7c15e9716ed28dc027beceea1ec40a",
    ],
];

#[test]
fn rfc_8032() {
    let alg = SignatureAlg::Ed25519;
    for test in RFC_8032 {
        let [secret, public, message, signature] = test.map(unhex);
        assert_eq!(alg.public_key(&secret).unwrap(), public);
        assert_eq!(alg.sign(&secret, &message).unwrap(), signature);
        assert!(alg.verify(&public, &message, &signature));
        for bit in 0..signature.len() * 8 {
            let mut bad = signature.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!alg.verify(&public, &message, &bad), "bit {bit}");
        }
        assert!(!alg.verify(&public, b"another", &signature));
    }
}

#[test]
fn rfc_8439() {
    // Section 2.8.2.
    let key: Vec<u8> = (0x80..=0x9f).collect();
    let nonce = unhex("070000004041424344454647");
    let aad = unhex("50515253c0c1c2c3c4c5c6c7");
    let plaintext =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let ciphertext = unhex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b\
         1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
         3ff4def08e4b7a9de576d26586cec64b6116 1ae10b594f09e26a7e902ecbd0600691",
    );
    let alg = AeadAlg::ChaCha20Poly1305;
    assert_eq!(alg.encrypt(&key, &nonce, &aad, plaintext).unwrap(), ciphertext);
    assert_eq!(alg.decrypt(&key, &nonce, &aad, &ciphertext).unwrap().unwrap(), plaintext);
}

#[test]
fn aes_256_gcm() {
    // McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16.
    let key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let nonce = unhex("cafebabefacedbaddecaf888");
    let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let plaintext = unhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
         b16aedf5aa0de657ba637b39",
    );
    let ciphertext = unhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
         c5f61e6393ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b",
    );
    let alg = AeadAlg::Aes256Gcm;
    assert_eq!(alg.encrypt(&key, &nonce, &aad, &plaintext).unwrap(), ciphertext);
    for bit in 0..ciphertext.len() * 8 {
        let mut bad = ciphertext.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(alg.decrypt(&key, &nonce, &aad, &bad).unwrap(), None, "bit {bit}");
    }
    assert_eq!(alg.decrypt(&key, &nonce, &aad[1..], &ciphertext).unwrap(), None);
    for cut in 0..ciphertext.len() {
        assert_eq!(alg.decrypt(&key, &nonce, &aad, &ciphertext[..cut]).unwrap(), None, "cut at {cut}");
    }
}

#[test]
fn rfc_4231_and_rfc_5869() {
    // RFC 4231 section 4.2, RFC 5869 appendix A.1.
    let tag = MacAlg::HmacSha2_256.tag(&[0x0b; 20], b"Hi There").unwrap();
    let expected = unhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_eq!(tag.as_bytes(), expected);
    let salt = unhex("000102030405060708090a0b0c");
    let info = unhex("f0f1f2f3f4f5f6f7f8f9");
    let derived = KdfAlg::HkdfSha2_256.derive(&[0x0b; 22], &salt, &info, 42).unwrap();
    let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(derived, unhex(expected));
    assert_eq!(
        KdfAlg::HkdfSha2_512.derive(b"", b"", b"", 8161).unwrap_err().to_string(),
        "the derived key would have 8161 bytes, more than 8160"
    );
}

#[test]
fn secp256k1() {
    let alg = SignatureAlg::Secp256k1;
    // The secret key 1 has the generator as its public key (SEC 2 section 2.4.1).
    let one = unhex(&format!("{:064x}", 1));
    let generator = unhex(
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8\
         fd17b448a68554199c47d08ffb10d4b8",
    );
    assert_eq!(alg.public_key(&one).unwrap(), generator);
    // RFC 6979 nonces: the vector of the Bitcoin libraries for key 1 and "Satoshi Nakamoto".
    let digest = HashAlg::Sha2_256.digest(b"Satoshi Nakamoto");
    let signature = alg.sign(&one, digest.as_bytes()).unwrap();
    let expected = "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8\
         2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5";
    assert_eq!(signature[..64], unhex(expected));
    assert!(alg.verify(&generator, digest.as_bytes(), &signature));
    assert!(alg.verify(&generator, digest.as_bytes(), &signature[..64]));
    assert_eq!(alg.recover(digest.as_bytes(), &signature).unwrap(), generator);
    for bit in 0..64 * 8 {
        let mut bad = signature.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!alg.verify(&generator, digest.as_bytes(), &bad), "bit {bit}");
        assert_ne!(alg.recover(digest.as_bytes(), &bad).as_ref(), Some(&generator), "bit {bit}");
    }
    for bad in [&[0; 32][..], &[0xff; 32], &[1; 31], &[]] {
        assert!(alg.sign(bad, digest.as_bytes()).is_err());
        assert!(alg.public_key(bad).is_err());
    }
    assert_eq!(alg.recover(digest.as_bytes(), &signature[..64]), None);
    assert_eq!(alg.recover(&[0; 31], &signature), None);
    assert!(!alg.verify(&[4; 65], digest.as_bytes(), &signature));
}

#[test]
fn keys_of_seeds_and_the_random_stream_repeat() {
    for &alg in SignatureAlg::ALL {
        let key = alg.key_from_seed(&[7; 32]).unwrap();
        assert_eq!(key, alg.key_from_seed(&[7; 32]).unwrap());
        assert_ne!(key, alg.key_from_seed(&[8; 32]).unwrap());
        let message = [9; 32];
        let signature = alg.sign(&key, &message).unwrap();
        assert!(alg.verify(&alg.public_key(&key).unwrap(), &message, &signature));
        let message = alg.key_from_seed(&[1; 15]).unwrap_err().to_string();
        assert_eq!(message, "the seed has 15 bytes and must have at least 16");
    }
    let (mut all, mut part) = ([0; 300], [0; 100]);
    random(&[3; 32], 0, &mut all);
    random(&[3; 32], 150, &mut part);
    assert_eq!(all[150..250], part);
    random(&[4; 32], 150, &mut part);
    assert_ne!(all[150..250], part);
    // Of nothing, keyed: what BLAKE3 in keyed mode gives.
    assert_eq!(all[..32], *MacAlg::KeyedBlake3.tag(&[3; 32], b"").unwrap().as_bytes());
}
