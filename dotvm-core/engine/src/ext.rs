//! Operations on references, memory ranges and the host: in place, out of line.
//!
//! Word operands and results lie from `words[w]` on, references from `refs[r]` on. Like all operations these check
//! their operands first, then charge, then take effect.

use bytes::Bytes;
use dotvm_arch::{W512, Word};
use dotvm_core::call::CallRequest;
use dotvm_core::env::{EnvField, EnvValue};
use dotvm_core::gas;
use dotvm_core::hash::HashAlg;
use dotvm_core::host::SlotValue;
use dotvm_core::limits::MAX_BYTES_LEN;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_heap::Heap;

use crate::machine::{Machine, Stop};
use crate::references::{bytes_of, optional_bytes};

/// A word from a stored number, or an Overflow trap.
fn word_of<W: Word>(value: &SlotValue) -> Result<W, Stop> {
    W::from_be_slice(value.as_bytes()).ok_or_else(|| Stop::trap(TrapKind::Overflow))
}

/// A word from a count, or an Overflow trap.
pub(crate) fn word_of_count<W: Word>(count: u64) -> Result<W, Stop> {
    let word = W::from_u64(count);
    if word.low_u64() == count { Ok(word) } else { Err(Stop::trap(TrapKind::Overflow)) }
}

/// The greatest word not above `count`.
fn saturating_word<W: Word>(count: u64) -> W {
    word_of_count(count).unwrap_or(W::MAX)
}

impl<W: Word> Machine<'_, W> {
    /// Does the operation. `w` and `r` are indices in the two stacks.
    #[inline(never)]
    pub fn ext(&mut self, op: Op, w: usize, r: usize, imms: [u64; 2]) -> Result<(), Stop> {
        let [a, b] = imms;
        if !self.dropped.is_empty() {
            self.check_held(op.info().capability)?;
        }
        let mut key_buffer = [0; 64];
        match op {
            // Control
            Op::Trap => return Err(Stop::trap(TrapKind::Unreachable)),
            Op::Throw => {
                let code = self.words[w].resize::<W512>();
                return Err(Stop::Throw(Box::new((code, std::mem::take(&mut self.refs[r])))));
            }
            Op::Halt => {
                let code = self.words[w].resize::<W512>();
                return Err(Stop::Halt(Box::new((code, std::mem::take(&mut self.refs[r])))));
            }
            Op::Meter => self.meter(Some(a))?,
            Op::Meterd => self.meter(self.words[w].try_u64())?,
            Op::Meterq => {
                self.check_in_turn()?;
                self.words[w] = saturating_word(self.guest_gas);
            }
            Op::Gas => {
                self.check_in_turn()?;
                self.words[w] = saturating_word(self.gas.left());
            }

            // Memory
            Op::Load8 => self.words[w] = W::from_u64(self.memory.load::<W, 1>(self.words[w], a)?[0] as u64),
            Op::Load16 => {
                self.words[w] = W::from_u64(u16::from_le_bytes(*self.memory.load(self.words[w], a)?) as u64)
            }
            Op::Load32 => {
                self.words[w] = W::from_u64(u32::from_le_bytes(*self.memory.load(self.words[w], a)?) as u64)
            }
            Op::Load64 => {
                self.words[w] = W::from_u64(u64::from_le_bytes(*self.memory.load(self.words[w], a)?))
            }
            Op::Load => {
                let range = self.memory.range(self.words[w], W::from_u64(W::BYTES as u64), a)?;
                self.words[w] = W::read_le(&self.memory.bytes()[range]);
            }
            Op::Loadx => self.load_format(w, a, b)?,
            Op::Store8 => self.memory.store::<W, 1>(self.words[w], a)?[0] = self.words[w + 1].low_u64() as u8,
            Op::Store16 => {
                *self.memory.store(self.words[w], a)? = (self.words[w + 1].low_u64() as u16).to_le_bytes();
            }
            Op::Store32 => {
                *self.memory.store(self.words[w], a)? = (self.words[w + 1].low_u64() as u32).to_le_bytes();
            }
            Op::Store64 => *self.memory.store(self.words[w], a)? = self.words[w + 1].low_u64().to_le_bytes(),
            Op::Store => {
                let range = self.memory.writable_range(self.words[w], W::from_u64(W::BYTES as u64), a)?;
                self.words[w + 1].write_le(&mut self.memory.bytes_mut()[range]);
            }
            Op::Storex => self.store_format(w, a, b)?,
            Op::Msize => self.words[w] = W::from_u64(self.memory.pages()),
            Op::Mgrow => {
                let old = self.memory.grow(self.words[w].try_u64(), &mut self.gas)?;
                self.words[w] = old.map_or(W::MAX, W::from_u64);
            }
            Op::Mcopy => {
                let (to, from, len) = (self.words[w], self.words[w + 1], self.words[w + 2]);
                let from = self.memory.range(from, len, 0)?;
                let to = self.memory.writable_range(to, len, 0)?;
                self.gas.charge(gas::copy(from.len() as u64))?;
                self.memory.bytes_mut().copy_within(from, to.start);
            }
            Op::Mfill => {
                let (to, byte, len) = (self.words[w], self.words[w + 1], self.words[w + 2]);
                let to = self.memory.writable_range(to, len, 0)?;
                self.gas.charge(gas::copy(to.len() as u64))?;
                self.memory.bytes_mut()[to].fill(byte.low_u64() as u8);
            }
            Op::Alloc => {
                let address = self.memory.alloc(self.words[w].try_u64(), &mut self.gas)?;
                self.words[w] = W::from_u64(address);
            }
            Op::Free => self.memory.free(self.words[w].try_u64())?,

            // References
            Op::Rconst | Op::Rswap | Op::Rgset | Op::Rkind => self.reference_op(op, w, r, a)?,
            Op::Blen => {
                self.words[w] = W::from_u64(bytes_of(&self.heap, &self.refs[r])?.len() as u64);
                self.clear_refs(r, 1);
            }
            Op::Bget => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                let index = self.words[w].try_u64().and_then(|index| usize::try_from(index).ok());
                let byte =
                    index.and_then(|index| bytes.get(index)).ok_or_else(|| Stop::trap(TrapKind::Index))?;
                self.words[w] = W::from_u64(*byte as u64);
                self.clear_refs(r, 1);
            }
            Op::Bload => {
                let range = self.memory.range(self.words[w], self.words[w + 1], 0)?;
                let len = range.len() as u64;
                if len > MAX_BYTES_LEN {
                    return Err(Stop::trap(TrapKind::Size));
                }
                self.gas.charge(gas::copy(len))?;
                self.heap.room(Heap::size_of_bytes(len))?;
                self.set_bytes(r, Bytes::copy_from_slice(&self.memory.bytes()[range]))?;
            }
            Op::Bstore => {
                let (to, from, len) = (self.words[w], self.words[w + 1], self.words[w + 2]);
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                let from = from.try_u64().zip(len.try_u64()).and_then(|(from, len)| {
                    let end = from.checked_add(len).filter(|&end| end <= bytes.len() as u64)?;
                    Some(from as usize..end as usize)
                });
                let from = from.ok_or_else(|| Stop::trap(TrapKind::Index))?;
                let to = self.memory.writable_range(to, len, 0)?;
                self.gas.charge(gas::copy(from.len() as u64))?;
                self.memory.bytes_mut()[to].copy_from_slice(&bytes[from]);
                self.clear_refs(r, 1);
            }

            // Database
            Op::DbGet => {
                let key = bytes_of(&self.heap, &self.refs[r])?;
                let found = self.host.db_get(a as u32, key, &mut self.gas)?;
                let is_found = found.is_some();
                self.set_optional_bytes(r, found)?;
                self.words[w] = W::from_bool(is_found);
            }
            Op::DbPut => {
                let (key, doc) =
                    (bytes_of(&self.heap, &self.refs[r])?, bytes_of(&self.heap, &self.refs[r + 1])?);
                let replaced = self.host.db_put(a as u32, key, doc, &mut self.gas)?;
                self.words[w] = W::from_bool(replaced);
                self.clear_refs(r, 2);
            }
            Op::DbDelete => {
                let existed =
                    self.host.db_delete(a as u32, bytes_of(&self.heap, &self.refs[r])?, &mut self.gas)?;
                self.words[w] = W::from_bool(existed);
                self.clear_refs(r, 1);
            }
            Op::DbExists => {
                let exists =
                    self.host.db_exists(a as u32, bytes_of(&self.heap, &self.refs[r])?, &mut self.gas)?;
                self.words[w] = W::from_bool(exists);
                self.clear_refs(r, 1);
            }
            Op::DbInsert => {
                let doc = bytes_of(&self.heap, &self.refs[r])?.clone();
                self.heap.room(Heap::size_of_bytes(8))?;
                let key = self.host.db_insert(a as u32, &doc, &mut self.gas)?;
                self.set_bytes(r, key)?;
            }
            Op::DbPatch => {
                let (key, patch) =
                    (bytes_of(&self.heap, &self.refs[r])?, bytes_of(&self.heap, &self.refs[r + 1])?);
                let found = self.host.db_patch(a as u32, key, patch, &mut self.gas)?;
                self.words[w] = W::from_bool(found);
                self.clear_refs(r, 2);
            }
            Op::DbGetAt => {
                let key = bytes_of(&self.heap, &self.refs[r])?;
                let version = self.words[w].try_u64().ok_or_else(|| Stop::trap(TrapKind::Db))?;
                let found = self.host.db_get_at(a as u32, version, key, &mut self.gas)?;
                let is_found = found.is_some();
                self.set_optional_bytes(r, found)?;
                self.words[w] = W::from_bool(is_found);
            }
            Op::DbProve => {
                let proof =
                    self.host.db_prove(a as u32, bytes_of(&self.heap, &self.refs[r])?, &mut self.gas)?;
                self.set_bytes(r, proof)?;
            }
            Op::DbCount => {
                let (plan, arguments) = (
                    optional_bytes(&self.heap, &self.refs[r])?,
                    optional_bytes(&self.heap, &self.refs[r + 1])?,
                );
                let count = match (plan, arguments) {
                    (Some(plan), arguments) => {
                        self.host.db_query_count(a as u32, plan, arguments, &mut self.gas)?
                    }
                    (None, None) => self.host.db_count(a as u32, &mut self.gas)?,
                    (None, Some(_)) => return Err(Stop::trap(TrapKind::Kind)),
                };
                self.words[w] = word_of_count(count)?;
                self.clear_refs(r, 2);
            }
            Op::DbQuery => {
                let (plan, arguments) =
                    (bytes_of(&self.heap, &self.refs[r])?, optional_bytes(&self.heap, &self.refs[r + 1])?);
                let cursor = self.host.db_query(a as u32, plan, arguments, &mut self.gas)?;
                self.words[w] = word_of_count(cursor)?;
                self.clear_refs(r, 2);
            }
            Op::DbScan => {
                let (from, to) = (
                    optional_bytes(&self.heap, &self.refs[r])?,
                    optional_bytes(&self.heap, &self.refs[r + 1])?,
                );
                let cursor = self.host.db_scan(a as u32, from, to, b & 1 != 0, &mut self.gas)?;
                self.words[w] = word_of_count(cursor)?;
                self.clear_refs(r, 2);
            }
            Op::DbNext => {
                let cursor = self.words[w].try_u64().ok_or_else(|| Stop::trap(TrapKind::Index))?;
                let entry = self.host.db_next(cursor, &mut self.gas)?;
                if let Some((key, doc)) = &entry {
                    let sizes = [key, doc].map(|bytes| Heap::size_of_bytes(bytes.len() as u64));
                    self.heap.room(sizes[0] + sizes[1])?;
                }
                self.words[w] = W::from_bool(entry.is_some());
                let (key, doc) = entry.unzip();
                self.set_optional_bytes(r, key)?;
                self.set_optional_bytes(r + 1, doc)?;
            }
            Op::DbClose => {
                let cursor = self.words[w].try_u64().ok_or_else(|| Stop::trap(TrapKind::Index))?;
                self.host.db_close(cursor)?;
            }

            // Contract state and transactions
            Op::Sload => {
                let value =
                    self.host.slot_load(self.words[w].to_be_trimmed(&mut key_buffer), &mut self.gas)?;
                self.words[w] = word_of(&value)?;
            }
            Op::Sstore => {
                let mut value_buffer = [0; 64];
                let key = self.words[w].to_be_trimmed(&mut key_buffer);
                let value = self.words[w + 1].to_be_trimmed(&mut value_buffer);
                self.host.slot_store(key, value, &mut self.gas)?;
            }
            Op::Sdelete => {
                let existed =
                    self.host.slot_delete(self.words[w].to_be_trimmed(&mut key_buffer), &mut self.gas)?;
                self.words[w] = W::from_bool(existed);
            }
            Op::Sexists => {
                let exists =
                    self.host.slot_exists(self.words[w].to_be_trimmed(&mut key_buffer), &mut self.gas)?;
                self.words[w] = W::from_bool(exists);
            }
            Op::Tload => {
                let value = self.host.scratch_load(self.words[w].to_be_trimmed(&mut key_buffer))?;
                self.words[w] = word_of(&value)?;
            }
            Op::Tstore => {
                let mut value_buffer = [0; 64];
                let key = self.words[w].to_be_trimmed(&mut key_buffer);
                let value = self.words[w + 1].to_be_trimmed(&mut value_buffer);
                self.host.scratch_store(key, value)?;
            }
            Op::TxBegin => self.host.tx_begin(a & 1 != 0)?,
            Op::TxCommit if self.host.stops_before_commit() => return Err(Stop::Quantum),
            Op::TxCommit => self.words[w] = W::from_bool(self.host.tx_commit(&mut self.gas)?),
            Op::TxAbort => self.host.tx_abort()?,
            Op::Savepoint => self.words[w] = word_of_count(self.host.savepoint()?)?,
            Op::Rollback => {
                let savepoint = self.words[w].try_u64();
                self.host.rollback(savepoint.ok_or_else(|| Stop::trap(TrapKind::Tx))?)?;
            }

            Op::StateRoot => {
                let root = self.host.state_root(&mut self.gas)?;
                self.set_bytes(r, root)?;
            }
            Op::StateProve => {
                let proof =
                    self.host.state_prove(self.words[w].to_be_trimmed(&mut key_buffer), &mut self.gas)?;
                self.set_bytes(r, proof)?;
            }
            Op::StateVerify => {
                let mut value_buffer = [0; 64];
                let (root, proof) =
                    (bytes_of(&self.heap, &self.refs[r])?, bytes_of(&self.heap, &self.refs[r + 1])?);
                let key = self.words[w].to_be_trimmed(&mut key_buffer);
                let value = self.words[w + 1].to_be_trimmed(&mut value_buffer);
                let shows = self.host.state_verify(key, value, root, proof, &mut self.gas)?;
                self.words[w] = W::from_bool(shows);
                self.clear_refs(r, 2);
            }
            Op::StateAt => {
                let version = self.words[w].try_u64().ok_or_else(|| Stop::trap(TrapKind::Db))?;
                let key = self.words[w + 1].to_be_trimmed(&mut key_buffer);
                let value = self.host.slot_load_at(version, key, &mut self.gas)?;
                self.words[w] = word_of(&value)?;
            }

            // Cryptography
            Op::Hash => {
                let digest = self.digest_of_ref(a, r)?;
                self.set_bytes(r, Bytes::copy_from_slice(digest.as_bytes()))?;
            }
            Op::Hashw => {
                let digest = self.digest_of_ref(a, r)?;
                self.words[w] =
                    W::from_be_slice(digest.as_bytes()).ok_or_else(|| Stop::trap(TrapKind::Overflow))?;
                self.clear_refs(r, 1);
            }
            Op::Hashm => {
                let range = self.memory.range(self.words[w], self.words[w + 1], 0)?;
                let alg = hash_alg(a);
                self.gas.charge(gas::hash(range.len() as u64, alg.block_bytes(), alg.block_weight()))?;
                let digest = alg.digest(&self.memory.bytes()[range]);
                self.words[w] =
                    W::from_be_slice(digest.as_bytes()).ok_or_else(|| Stop::trap(TrapKind::Overflow))?;
            }

            // System
            Op::Xcall => return Err(self.contract_call(w, r, a)?),
            Op::Sys => self.sys(w, r, a)?,
            Op::CapTest => self.cap_test(w),
            Op::CapDrop => self.cap_drop(w),
            Op::Env => {
                let field = EnvField::from_code(a).expect("the verifier checked the field");
                match self.host.env().get(field, W::BITS) {
                    EnvValue::Word(value) => {
                        if value.bit_len() > W::BITS {
                            return Err(Stop::trap(TrapKind::Overflow));
                        }
                        self.words[w] = crate::lower::word_from(value);
                    }
                    EnvValue::Bytes(bytes) => self.set_bytes(r, bytes)?,
                }
            }
            Op::Xcreate => {
                let code = bytes_of(&self.heap, &self.refs[r])?;
                let salt = self.words[w].to_be_trimmed(&mut key_buffer);
                let (is_new, name) = self.host.contract_create(salt, code, &mut self.gas)?;
                self.set_optional_bytes(r, name)?;
                self.words[w] = W::from_bool(is_new);
            }
            Op::Emit => {
                let data = bytes_of(&self.heap, &self.refs[r])?;
                let topics: Vec<SlotValue> = self.words[w..w + a as usize]
                    .iter()
                    .map(|topic| {
                        SlotValue::new(topic.to_be_trimmed(&mut key_buffer)).unwrap_or(SlotValue::ZERO)
                    })
                    .collect();
                self.host.emit(&topics, data, &mut self.gas)?;
                self.clear_refs(r, 1);
            }
            op => unreachable!("{op:?} has an instruction of its own"),
        }
        Ok(())
    }

    /// The request of XCALL. Its operands stay where they are until it is answered.
    fn contract_call(&mut self, w: usize, r: usize, flags: u64) -> Result<Stop, Stop> {
        let contract = bytes_of(&self.heap, &self.refs[r])?.clone();
        let input = match self.refs[r + 1].is_null() {
            true => Bytes::new(),
            false => bytes_of(&self.heap, &self.refs[r + 1])?.clone(),
        };
        self.gas.charge(gas::copy((contract.len() + input.len()) as u64))?;
        let wanted = self.words[w].try_u64().unwrap_or(u64::MAX);
        let request = CallRequest {
            flags: flags as u8,
            gas: wanted.min(self.gas.left()),
            guest_gas: self.guest_gas,
            value: self.words[w + 1].resize(),
            contract,
            input,
            pages: self.memory.pages()
                + self.scheduler.as_ref().map_or(0, |scheduler| scheduler.other_pages()),
            heap_bytes: self.heap.reachable(),
        };
        self.answer_at = (w, r);
        Ok(Stop::Call(Box::new(request)))
    }

    fn meter(&mut self, amount: Option<u64>) -> Result<(), Stop> {
        self.check_in_turn()?;
        let left = amount.and_then(|amount| self.guest_gas.checked_sub(amount));
        self.guest_gas = left.ok_or_else(|| Stop::trap(TrapKind::Meter))?;
        Ok(())
    }

    fn digest_of_ref(&mut self, alg: u64, r: usize) -> Result<dotvm_core::hash::Digest, Stop> {
        let bytes = bytes_of(&self.heap, &self.refs[r])?;
        let alg = hash_alg(alg);
        self.gas.charge(gas::hash(bytes.len() as u64, alg.block_bytes(), alg.block_weight()))?;
        Ok(alg.digest(bytes))
    }

    /// LOADX: `1 << (format & 7)` bytes, big-endian if `format & 16`, sign-extended if `format & 8`.
    fn load_format(&mut self, w: usize, format: u64, offset: u64) -> Result<(), Stop> {
        self.words[w] = self.formatted(self.words[w], format, offset)?.1;
        Ok(())
    }

    /// The number at an address plus an offset in this format, and the address that it starts at.
    pub fn formatted(&mut self, address: W, format: u64, offset: u64) -> Result<(u64, W), Stop> {
        let len = 1usize << (format & 7);
        let range = self.memory.range(address, W::from_u64(len as u64), offset)?;
        let start = range.start as u64;
        let mut buffer = [0; 64];
        let bytes = &mut buffer[..W::BYTES];
        bytes[..len].copy_from_slice(&self.memory.bytes()[range]);
        if format & 16 != 0 {
            bytes[..len].reverse();
        }
        if format & 8 != 0 && bytes[len - 1] & 0x80 != 0 {
            bytes[len..].fill(0xff);
        }
        Ok((start, W::read_le(bytes)))
    }

    fn store_format(&mut self, w: usize, format: u64, offset: u64) -> Result<(), Stop> {
        let len = 1usize << (format & 7);
        let range = self.memory.writable_range(self.words[w], W::from_u64(len as u64), offset)?;
        let mut buffer = [0; 64];
        self.words[w + 1].write_le(&mut buffer[..W::BYTES]);
        if format & 16 != 0 {
            buffer[..len].reverse();
        }
        self.memory.bytes_mut()[range].copy_from_slice(&buffer[..len]);
        Ok(())
    }
}

fn hash_alg(code: u64) -> HashAlg {
    HashAlg::from_code(code).expect("the verifier checked the algorithm")
}
