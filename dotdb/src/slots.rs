//! Slots: the words a contract keeps, keyed by words.
//!
//! Keys and values are big-endian numbers of at most [`MAX_SLOT_BYTES`]; leading zeros do not count,
//! so modules of different widths read the same state. Zero is the empty string, and a slot that
//! holds zero does not exist.

use bytes::Bytes;
use imbl::OrdMap;

use crate::Touch;
use crate::contracts::ContractId;
use crate::cursor::MergedRange;
use crate::error::DbError;
use crate::keys::{
    MAX_SLOT_BYTES, SLOT, SLOT_PREFIX_BYTES, check_len, corrupt, prefix, prefix_end, significant,
};
use crate::tx::Tx;

/// The value of a slot: a big-endian number without leading zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotValue {
    bytes: [u8; MAX_SLOT_BYTES],
    len: u8,
}

impl SlotValue {
    /// The number in big-endian bytes; empty for zero.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    #[inline]
    fn new(number: &[u8]) -> Result<SlotValue, DbError> {
        let number = significant(number);
        check_len("slot value", number.len(), MAX_SLOT_BYTES)?;
        let mut bytes = [0; MAX_SLOT_BYTES];
        bytes[..number.len()].copy_from_slice(number);
        // At most MAX_SLOT_BYTES.
        Ok(SlotValue { bytes, len: number.len() as u8 })
    }

    /// The number with these bytes, if it is one.
    pub(crate) fn restored(number: &[u8]) -> Option<SlotValue> {
        SlotValue::new(number).ok()
    }

    /// As it is stored; `None` removes the slot.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        (self.len > 0).then(|| Bytes::copy_from_slice(self.as_bytes()))
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<SlotValue, DbError> {
        if value.is_empty() || value.len() > MAX_SLOT_BYTES || value[0] == 0 {
            return Err(corrupt(key, "is not a slot value"));
        }
        SlotValue::new(value)
    }
}

impl std::fmt::Debug for SlotValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlotValue({:02x?})", self.as_bytes())
    }
}

/// One slot, looked up: what an access costs, then the access.
pub struct SlotEntry<'tx> {
    tx: &'tx mut Tx,
    index: usize,
}

impl<'tx> SlotEntry<'tx> {
    /// What an access now would count as. Changes nothing.
    #[inline]
    pub fn touch(&self) -> Touch {
        self.tx.slots.touch_of(self.index)
    }

    /// Bytes of the value it holds, 0 if it does not exist. Changes nothing.
    #[inline]
    pub fn bytes(&self) -> usize {
        usize::from(self.tx.slots.entry(self.index).value.len)
    }

    /// The value, empty if the slot does not exist; counts as an access.
    #[inline]
    pub fn read(self) -> &'tx [u8] {
        let tx: &'tx mut Tx = self.tx;
        tx.slots.touch(self.index, tx.epoch);
        tx.slots.entry(self.index).value.as_bytes()
    }

    /// Writes a value, an empty one or zero removing the slot; counts as an access.
    #[inline]
    pub fn store(self, value: &[u8]) -> Result<(), DbError> {
        self.tx.check_writable()?;
        let value = SlotValue::new(value)?;
        self.tx.slots.set(self.index, self.tx.epoch, value);
        Ok(())
    }

    /// Removes the slot and tells whether it existed; counts as an access.
    pub fn delete(self) -> Result<bool, DbError> {
        let existed = self.bytes() > 0;
        self.store(&[])?;
        Ok(existed)
    }
}

impl Tx {
    /// Looks a slot up. The key's leading zeros do not count.
    #[inline]
    pub fn slot_entry(&mut self, contract: ContractId, key: &[u8]) -> Result<SlotEntry<'_>, DbError> {
        let key = significant(key);
        check_len("slot key", key.len(), MAX_SLOT_BYTES)?;
        let mut buffer = [0; SLOT_PREFIX_BYTES + MAX_SLOT_BYTES];
        buffer[..5].copy_from_slice(&prefix(SLOT, contract.0));
        buffer[5] = key.len() as u8; // At most MAX_SLOT_BYTES.
        buffer[SLOT_PREFIX_BYTES..][..key.len()].copy_from_slice(key);
        let encoded = &buffer[..SLOT_PREFIX_BYTES + key.len()];
        let snapshot = &self.snapshot;
        let index = self.slots.find_or_load(encoded, || match snapshot.get(encoded)? {
            Some(value) => SlotValue::decode(encoded, &value),
            None => SlotValue::new(&[]),
        })?;
        Ok(SlotEntry { tx: self, index })
    }

    /// The value of a slot.
    pub fn slot_get(&mut self, contract: ContractId, key: &[u8]) -> Result<SlotValue, DbError> {
        let entry = self.slot_entry(contract, key)?;
        let index = entry.index;
        entry.read();
        Ok(self.slots.entry(index).value)
    }

    /// Sets a slot; an empty value or zero removes it.
    pub fn slot_set(&mut self, contract: ContractId, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        self.slot_entry(contract, key)?.store(value)
    }

    /// Whether a slot holds anything but zero.
    pub fn slot_exists(&mut self, contract: ContractId, key: &[u8]) -> Result<bool, DbError> {
        Ok(!self.slot_entry(contract, key)?.read().is_empty())
    }

    /// Removes a slot and tells whether it existed.
    pub fn slot_delete(&mut self, contract: ContractId, key: &[u8]) -> Result<bool, DbError> {
        self.slot_entry(contract, key)?.delete()
    }

    /// A contract's slots as of now, in numeric order of their keys, the transaction's own writes
    /// included. Counts no touches.
    pub fn slots(&mut self, contract: ContractId) -> Result<Slots, DbError> {
        let prefix = prefix(SLOT, contract.0);
        let pending: OrdMap<Bytes, Option<Bytes>> = self
            .slots
            .dirty()
            .filter(|entry| entry.key.starts_with(&prefix))
            .map(|entry| (entry.key.clone(), entry.value.encode()))
            .collect();
        let from = std::ops::Bound::Included(prefix.to_vec());
        Ok(Slots { rows: self.read_range(pending, from, prefix_end(&prefix))? })
    }
}

/// What [`Tx::slots`] gives: key and value of each slot.
pub struct Slots {
    rows: MergedRange,
}

impl Iterator for Slots {
    type Item = Result<(Bytes, Bytes), DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.map(|(key, value)| (key.slice(SLOT_PREFIX_BYTES.min(key.len())..), value)))
    }
}
