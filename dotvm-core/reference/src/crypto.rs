//! Cryptography, row 0xA0 from 0xA3 on: the algorithms are those of the specifications, as `dotvm-crypto` has them.

use dotvm_core::crypto::{AeadAlg, CryptoError, KdfAlg, MAX_DERIVED_BYTES, MacAlg, SignatureAlg};
use dotvm_core::gas::crypto as gas;
use dotvm_core::limits;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use num_traits::ToPrimitive;

use crate::machine::{Fault, Machine};
use crate::value::Value;

fn refused(error: CryptoError) -> Fault {
    Fault::new(TrapKind::Crypto, error.to_string())
}

impl Machine<'_> {
    fn push_result(&mut self, result: Option<Vec<u8>>) -> Result<(), Fault> {
        self.push_new(result.map_or(Value::Null, |bytes| Value::bytes(bytes.into())))
    }

    /// HMAC, KDF and RANDOM.
    pub fn derive(&mut self, op: Op, alg: u64) -> Result<(), Fault> {
        match op {
            Op::Hmac => {
                let alg = MacAlg::from_code(alg).ok_or(TrapKind::Index)?;
                let (message, key) = (self.pop_bytes()?, self.pop_bytes()?);
                self.charge(gas::mac(alg, key.len(), message.len()))?;
                let tag = alg.tag(&key, &message).map_err(refused)?;
                self.push_result(Some(tag.as_bytes().to_vec()))?;
            }
            Op::Kdf => {
                let alg = KdfAlg::from_code(alg).ok_or(TrapKind::Index)?;
                let (info, salt, secret) = (self.pop_bytes()?, self.pop_bytes()?, self.pop_bytes()?);
                let len = self.pop().to_usize().filter(|&len| len <= MAX_DERIVED_BYTES);
                let len = len.ok_or(TrapKind::Range)?;
                self.charge(gas::derive(alg, secret.len(), salt.len(), info.len(), len))?;
                let derived = alg.derive(&secret, &salt, &info, len).map_err(refused)?;
                self.push_result(Some(derived))?;
            }
            _ => {
                let len = self.pop().to_u64().filter(|&len| len <= limits::MAX_BYTES_LEN);
                let len = len.ok_or(TrapKind::Range)?;
                self.charge(gas::random(len))?;
                let mut bytes = vec![0; len as usize];
                self.host.random(&mut bytes);
                self.push_result(Some(bytes))?;
            }
        }
        Ok(())
    }

    /// ENCRYPT and DECRYPT.
    pub fn cipher(&mut self, op: Op, alg: u64) -> Result<(), Fault> {
        let alg = AeadAlg::from_code(alg).ok_or(TrapKind::Index)?;
        let (text, aad) = (self.pop_bytes()?, self.pop_bytes()?);
        let (nonce, key) = (self.pop_bytes()?, self.pop_bytes()?);
        if op == Op::Encrypt {
            if (text.len() + AeadAlg::TAG_BYTES) as u64 > limits::MAX_BYTES_LEN {
                return Err(TrapKind::Size.into());
            }
            self.charge(gas::cipher(alg, aad.len(), text.len()))?;
            let ciphertext = alg.encrypt(&key, &nonce, &aad, &text).map_err(refused)?;
            self.push_result(Some(ciphertext))?;
        } else {
            self.charge(gas::cipher(alg, aad.len(), text.len()))?;
            let plaintext = alg.decrypt(&key, &nonce, &aad, &text).map_err(refused)?;
            self.push(u32::from(plaintext.is_some()));
            self.push_result(plaintext)?;
        }
        Ok(())
    }

    /// SIGN, VERIFY, RECOVER, PUBKEY and KEYGEN.
    pub fn signature(&mut self, op: Op, alg: u64) -> Result<(), Fault> {
        let alg = SignatureAlg::from_code(alg).ok_or(TrapKind::Index)?;
        let top = self.pop_bytes()?;
        match op {
            Op::Sign => {
                let (message, key) = (top, self.pop_bytes()?);
                self.charge(gas::sign(alg, message.len()))?;
                let signature = alg.sign(&key, &message).map_err(refused)?;
                self.push_result(Some(signature))?;
            }
            Op::Verify => {
                let (signature, message, key) = (top, self.pop_bytes()?, self.pop_bytes()?);
                self.charge(gas::verify(alg, message.len()))?;
                self.push(u32::from(alg.verify(&key, &message, &signature)));
            }
            Op::Recover => {
                let (signature, digest) = (top, self.pop_bytes()?);
                self.charge(gas::recover(alg))?;
                self.push_result(alg.recover(&digest, &signature))?;
            }
            Op::Pubkey => {
                self.charge(gas::public_key(alg))?;
                let key = alg.public_key(&top).map_err(refused)?;
                self.push_result(Some(key))?;
            }
            _ => {
                self.charge(gas::key_from_seed(alg, top.len()))?;
                let key = alg.key_from_seed(&top).map_err(refused)?;
                self.push_result(Some(key))?;
            }
        }
        Ok(())
    }
}
