//! Operations on byte strings, and those that ask the host: database, slots, digests, events.

use bytes::Bytes;
use dotvm_core::gas;
use dotvm_core::hash::HashAlg;
use dotvm_core::host::SlotValue;
use dotvm_core::limits;
use dotvm_core::trap::TrapKind;
use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};

use crate::machine::{Fault, Machine};
use crate::value::Value;

/// The big-endian bytes of a number without leading zeros, empty for zero.
fn number_bytes(number: &BigUint) -> Vec<u8> {
    if number.is_zero() { Vec::new() } else { number.to_bytes_be() }
}

/// A word on its way to the host.
fn slot_value(number: &BigUint) -> SlotValue {
    SlotValue::new(&number_bytes(number)).expect("a word has at most 64 bytes")
}

impl Machine<'_> {
    /// Takes a byte string off the stack.
    pub fn pop_bytes(&mut self) -> Result<Bytes, Fault> {
        match self.pop_ref() {
            Value::Bytes(text) => Ok(text.bytes.clone()),
            _ => Err(TrapKind::Kind.into()),
        }
    }

    /// Takes a byte string or null off the stack.
    fn pop_optional_bytes(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.pop_ref() {
            Value::Bytes(text) => Ok(Some(text.bytes.clone())),
            Value::Null => Ok(None),
            _ => Err(TrapKind::Kind.into()),
        }
    }

    pub fn push_bytes(&mut self, bytes: Option<Bytes>) -> Result<(), Fault> {
        self.push_new(bytes.map_or(Value::Null, Value::bytes))
    }

    pub fn push_flag(&mut self, flag: bool) {
        self.push(u32::from(flag));
    }

    /// A number from storage, if it fits the word.
    pub fn push_number(&mut self, number: BigUint) -> Result<(), Fault> {
        if number.bits() > u64::from(self.bits) {
            return Err(TrapKind::Overflow.into());
        }
        self.push(number);
        Ok(())
    }

    pub fn blen(&mut self) -> Result<(), Fault> {
        let bytes = self.pop_bytes()?;
        self.push(bytes.len());
        Ok(())
    }

    pub fn bget(&mut self) -> Result<(), Fault> {
        let (bytes, index) = (self.pop_bytes()?, self.pop());
        let byte = index.to_usize().and_then(|index| bytes.get(index)).ok_or(TrapKind::Index)?;
        self.push(*byte);
        Ok(())
    }

    pub fn bload(&mut self) -> Result<(), Fault> {
        let (len, address) = (self.pop(), self.pop());
        let len = len.to_u64().ok_or(TrapKind::Bounds)?;
        let range = self.memory.range(&address, 0, len)?;
        if len > limits::MAX_BYTES_LEN {
            return Err(TrapKind::Size.into());
        }
        self.charge(gas::copy(len))?;
        let bytes = Bytes::copy_from_slice(self.memory.slice(range));
        self.push_bytes(Some(bytes))
    }

    pub fn bstore(&mut self) -> Result<(), Fault> {
        let (len, start, address) = (self.pop(), self.pop(), self.pop());
        let bytes = self.pop_bytes()?;
        let len = len.to_usize().ok_or(TrapKind::Index)?;
        let start = start.to_usize().ok_or(TrapKind::Index)?;
        let end = start.checked_add(len).ok_or(TrapKind::Index)?;
        let part = bytes.get(start..end).ok_or(TrapKind::Index)?;
        let range = self.memory.writable(&address, 0, len as u64)?;
        self.charge(gas::copy(len as u64))?;
        self.memory.slice_mut(range).copy_from_slice(part);
        Ok(())
    }

    pub fn db_get(&mut self, coll: u32) -> Result<(), Fault> {
        let key = self.pop_bytes()?;
        let document = self.host.db_get(coll, &key, &mut self.gas)?;
        self.push_flag(document.is_some());
        self.push_bytes(document)
    }

    pub fn db_put(&mut self, coll: u32) -> Result<(), Fault> {
        let (document, key) = (self.pop_bytes()?, self.pop_bytes()?);
        let replaced = self.host.db_put(coll, &key, &document, &mut self.gas)?;
        self.push_flag(replaced);
        Ok(())
    }

    pub fn db_delete(&mut self, coll: u32) -> Result<(), Fault> {
        let key = self.pop_bytes()?;
        let existed = self.host.db_delete(coll, &key, &mut self.gas)?;
        self.push_flag(existed);
        Ok(())
    }

    pub fn db_count(&mut self, coll: u32) -> Result<(), Fault> {
        let (arguments, plan) = (self.pop_optional_bytes()?, self.pop_optional_bytes()?);
        let count = match plan {
            Some(plan) => self.host.db_query_count(coll, &plan, arguments.as_deref(), &mut self.gas)?,
            None if arguments.is_some() => return Err(TrapKind::Kind.into()),
            None => self.host.db_count(coll, &mut self.gas)?,
        };
        self.push_number(count.into())
    }

    pub fn db_query(&mut self, coll: u32) -> Result<(), Fault> {
        let (arguments, plan) = (self.pop_optional_bytes()?, self.pop_bytes()?);
        let cursor = self.host.db_query(coll, &plan, arguments.as_deref(), &mut self.gas)?;
        self.push_number(cursor.into())
    }

    pub fn db_exists(&mut self, coll: u32) -> Result<(), Fault> {
        let key = self.pop_bytes()?;
        let exists = self.host.db_exists(coll, &key, &mut self.gas)?;
        self.push_flag(exists);
        Ok(())
    }

    pub fn db_insert(&mut self, coll: u32) -> Result<(), Fault> {
        let document = self.pop_bytes()?;
        // Checked before the record is there; the key has 8 bytes.
        self.room(Value::bytes(Bytes::from_static(&[0; 8])).size())?;
        let key = self.host.db_insert(coll, &document, &mut self.gas)?;
        self.push_bytes(Some(key))
    }

    pub fn db_patch(&mut self, coll: u32) -> Result<(), Fault> {
        let (patch, key) = (self.pop_bytes()?, self.pop_bytes()?);
        let found = self.host.db_patch(coll, &key, &patch, &mut self.gas)?;
        self.push_flag(found);
        Ok(())
    }

    /// A version; there is none that is wider than 64 bits.
    fn pop_version(&mut self) -> Result<u64, Fault> {
        Ok(self.pop().to_u64().ok_or(TrapKind::Db)?)
    }

    pub fn db_get_at(&mut self, coll: u32) -> Result<(), Fault> {
        let key = self.pop_bytes()?;
        let version = self.pop_version()?;
        let document = self.host.db_get_at(coll, version, &key, &mut self.gas)?;
        self.push_flag(document.is_some());
        self.push_bytes(document)
    }

    pub fn db_prove(&mut self, coll: u32) -> Result<(), Fault> {
        let key = self.pop_bytes()?;
        let proof = self.host.db_prove(coll, &key, &mut self.gas)?;
        self.push_bytes(Some(proof))
    }

    pub fn db_scan(&mut self, coll: u32, descending: bool) -> Result<(), Fault> {
        let (to, from) = (self.pop_optional_bytes()?, self.pop_optional_bytes()?);
        let cursor = self.host.db_scan(coll, from.as_deref(), to.as_deref(), descending, &mut self.gas)?;
        self.push(cursor);
        Ok(())
    }

    pub fn db_next(&mut self) -> Result<(), Fault> {
        let cursor = self.pop().to_u64().ok_or(TrapKind::Index)?;
        let entry = self.host.db_next(cursor, &mut self.gas)?;
        self.push_flag(entry.is_some());
        let (key, document) = entry.unzip();
        self.push_bytes(key)?;
        self.push_bytes(document)
    }

    pub fn db_close(&mut self) -> Result<(), Fault> {
        let cursor = self.pop().to_u64().ok_or(TrapKind::Index)?;
        Ok(self.host.db_close(cursor)?)
    }

    pub fn sload(&mut self) -> Result<(), Fault> {
        let key = self.pop();
        let value = self.host.slot_load(&number_bytes(&key), &mut self.gas)?;
        self.push_number(BigUint::from_bytes_be(value.as_bytes()))
    }

    pub fn sstore(&mut self) -> Result<(), Fault> {
        let (value, key) = (self.pop(), self.pop());
        Ok(self.host.slot_store(&number_bytes(&key), &number_bytes(&value), &mut self.gas)?)
    }

    pub fn sdelete(&mut self) -> Result<(), Fault> {
        let key = self.pop();
        let existed = self.host.slot_delete(&number_bytes(&key), &mut self.gas)?;
        self.push_flag(existed);
        Ok(())
    }

    pub fn sexists(&mut self) -> Result<(), Fault> {
        let key = self.pop();
        let exists = self.host.slot_exists(&number_bytes(&key), &mut self.gas)?;
        self.push_flag(exists);
        Ok(())
    }

    pub fn tload(&mut self) -> Result<(), Fault> {
        let key = self.pop();
        let value = self.host.scratch_load(&number_bytes(&key))?;
        self.push_number(BigUint::from_bytes_be(value.as_bytes()))
    }

    pub fn tstore(&mut self) -> Result<(), Fault> {
        let (value, key) = (self.pop(), self.pop());
        Ok(self.host.scratch_store(&number_bytes(&key), &number_bytes(&value))?)
    }

    pub fn state_root(&mut self) -> Result<(), Fault> {
        let root = self.host.state_root(&mut self.gas)?;
        self.push_bytes(Some(root))
    }

    pub fn state_prove(&mut self) -> Result<(), Fault> {
        let key = self.pop();
        let proof = self.host.state_prove(&number_bytes(&key), &mut self.gas)?;
        self.push_bytes(Some(proof))
    }

    pub fn state_verify(&mut self) -> Result<(), Fault> {
        let (proof, root) = (self.pop_bytes()?, self.pop_bytes()?);
        let (value, key) = (self.pop(), self.pop());
        let (key, value) = (number_bytes(&key), number_bytes(&value));
        let shows = self.host.state_verify(&key, &value, &root, &proof, &mut self.gas)?;
        self.push_flag(shows);
        Ok(())
    }

    pub fn state_at(&mut self) -> Result<(), Fault> {
        let key = self.pop();
        let version = self.pop_version()?;
        let value = self.host.slot_load_at(version, &number_bytes(&key), &mut self.gas)?;
        self.push_number(BigUint::from_bytes_be(value.as_bytes()))
    }

    /// The digest of `data`, and its cost.
    fn digest(alg: u64, data: &[u8]) -> Result<(Vec<u8>, u64), Fault> {
        let alg = HashAlg::from_code(alg).ok_or(TrapKind::Index)?;
        let cost = gas::hash(data.len() as u64, alg.block_bytes(), alg.block_weight());
        Ok((alg.digest(data).as_bytes().to_vec(), cost))
    }

    pub fn hash(&mut self, alg: u64) -> Result<(), Fault> {
        let (digest, cost) = Self::digest(alg, &self.pop_bytes()?)?;
        self.charge(cost)?;
        self.push_bytes(Some(digest.into()))
    }

    pub fn hashw(&mut self, alg: u64) -> Result<(), Fault> {
        let (digest, cost) = Self::digest(alg, &self.pop_bytes()?)?;
        self.charge(cost)?;
        self.push(BigUint::from_bytes_be(&digest));
        Ok(())
    }

    pub fn hashm(&mut self, alg: u64) -> Result<(), Fault> {
        let (len, address) = (self.pop(), self.pop());
        let range = self.memory.range(&address, 0, len.to_u64().ok_or(TrapKind::Bounds)?)?;
        let (digest, cost) = Self::digest(alg, self.memory.slice(range))?;
        self.charge(cost)?;
        self.push(BigUint::from_bytes_be(&digest));
        Ok(())
    }

    pub fn emit(&mut self, topics: usize) -> Result<(), Fault> {
        let data = self.pop_bytes()?;
        let topics: Vec<SlotValue> = self.pop_many(topics).iter().map(slot_value).collect();
        Ok(self.host.emit(&topics, &data, &mut self.gas)?)
    }
}
