//! Cryptography beyond digests: rows 0xA3 to 0xAC. Like all operations these check their operands first, then charge,
//! then take effect.

use bytes::Bytes;
use dotvm_arch::Word;
use dotvm_core::crypto::{AeadAlg, CryptoError, KdfAlg, MAX_DERIVED_BYTES, MacAlg, SignatureAlg};
use dotvm_core::gas::crypto as gas;
use dotvm_core::limits::MAX_BYTES_LEN;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;

use crate::machine::{Machine, Stop};
use crate::references::bytes_of;

/// What the verifier checked.
const CHECKED: &str = "the verifier checked the algorithm";

fn refused(error: CryptoError) -> Stop {
    Stop::Trap(TrapKind::Crypto, Some(error.to_string().into_boxed_str()))
}

impl<W: Word> Machine<'_, W> {
    /// Does an operation of row 0xA0 from 0xA3 on; `alg` is its immediate.
    #[inline(never)]
    pub fn crypto(&mut self, op: Op, w: usize, r: usize, alg: u64) -> Result<(), Stop> {
        match op {
            Op::Hmac => {
                let alg = MacAlg::from_code(alg).expect(CHECKED);
                let [key, message] = self.byte_operands(r)?;
                self.gas.charge(gas::mac(alg, key.len(), message.len()))?;
                let tag = alg.tag(&key, &message).map_err(refused)?;
                self.leave_bytes(r, 2, Some(Bytes::copy_from_slice(tag.as_bytes())))?;
            }
            Op::Kdf => {
                let alg = KdfAlg::from_code(alg).expect(CHECKED);
                let [secret, salt, info] = self.byte_operands(r)?;
                let len = self.words[w].try_u64().filter(|&len| len <= MAX_DERIVED_BYTES as u64);
                let len = len.ok_or(Stop::trap(TrapKind::Range))? as usize;
                self.gas.charge(gas::derive(alg, secret.len(), salt.len(), info.len(), len))?;
                let derived = alg.derive(&secret, &salt, &info, len).map_err(refused)?;
                self.leave_bytes(r, 3, Some(derived.into()))?;
            }
            Op::Encrypt => {
                let alg = AeadAlg::from_code(alg).expect(CHECKED);
                let [key, nonce, aad, plaintext] = self.byte_operands(r)?;
                if (plaintext.len() + AeadAlg::TAG_BYTES) as u64 > MAX_BYTES_LEN {
                    return Err(Stop::trap(TrapKind::Size));
                }
                self.gas.charge(gas::cipher(alg, aad.len(), plaintext.len()))?;
                let ciphertext = alg.encrypt(&key, &nonce, &aad, &plaintext).map_err(refused)?;
                self.leave_bytes(r, 4, Some(ciphertext.into()))?;
            }
            Op::Decrypt => {
                let alg = AeadAlg::from_code(alg).expect(CHECKED);
                let [key, nonce, aad, ciphertext] = self.byte_operands(r)?;
                self.gas.charge(gas::cipher(alg, aad.len(), ciphertext.len()))?;
                let plaintext = alg.decrypt(&key, &nonce, &aad, &ciphertext).map_err(refused)?;
                let is_some = plaintext.is_some();
                self.leave_bytes(r, 4, plaintext.map(Bytes::from))?;
                self.words[w] = W::from_bool(is_some);
            }
            Op::Sign => {
                let alg = SignatureAlg::from_code(alg).expect(CHECKED);
                let [key, message] = self.byte_operands(r)?;
                self.gas.charge(gas::sign(alg, message.len()))?;
                let signature = alg.sign(&key, &message).map_err(refused)?;
                self.leave_bytes(r, 2, Some(signature.into()))?;
            }
            Op::Verify => {
                let alg = SignatureAlg::from_code(alg).expect(CHECKED);
                let [key, message, signature] = self.byte_operands(r)?;
                self.gas.charge(gas::verify(alg, message.len()))?;
                self.words[w] = W::from_bool(alg.verify(&key, &message, &signature));
                self.clear_refs(r, 3);
            }
            Op::Recover => {
                let alg = SignatureAlg::from_code(alg).expect(CHECKED);
                let [digest, signature] = self.byte_operands(r)?;
                self.gas.charge(gas::recover(alg))?;
                let key = alg.recover(&digest, &signature);
                self.leave_bytes(r, 2, key.map(Bytes::from))?;
            }
            Op::Pubkey => {
                let alg = SignatureAlg::from_code(alg).expect(CHECKED);
                let [key] = self.byte_operands(r)?;
                self.gas.charge(gas::public_key(alg))?;
                let key = alg.public_key(&key).map_err(refused)?;
                self.leave_bytes(r, 1, Some(key.into()))?;
            }
            Op::Keygen => {
                let alg = SignatureAlg::from_code(alg).expect(CHECKED);
                let [seed] = self.byte_operands(r)?;
                self.gas.charge(gas::key_from_seed(alg, seed.len()))?;
                let key = alg.key_from_seed(&seed).map_err(refused)?;
                self.leave_bytes(r, 1, Some(key.into()))?;
            }
            Op::Random => {
                let len = self.words[w].try_u64().filter(|&len| len <= MAX_BYTES_LEN);
                let len = len.ok_or(Stop::trap(TrapKind::Range))?;
                self.gas.charge(gas::random(len))?;
                let mut bytes = vec![0; len as usize];
                self.host.random(&mut bytes);
                self.leave_bytes(r, 0, Some(bytes.into()))?;
            }
            op => unreachable!("{op:?} is no cryptography"),
        }
        Ok(())
    }

    /// The byte strings from `refs[r]` on, or a Kind trap.
    fn byte_operands<const N: usize>(&self, r: usize) -> Result<[Bytes; N], Stop> {
        let mut operands = [const { Bytes::new() }; N];
        for (operand, reference) in operands.iter_mut().zip(&self.refs[r..]) {
            *operand = bytes_of(&self.heap, reference)?.clone();
        }
        Ok(operands)
    }

    /// Puts a result, or null, in the place of `taken` references.
    fn leave_bytes(&mut self, r: usize, taken: usize, result: Option<Bytes>) -> Result<(), Stop> {
        self.set_optional_bytes(r, result)?;
        if taken > 1 {
            self.clear_refs(r + 1, taken - 1);
        }
        Ok(())
    }
}
