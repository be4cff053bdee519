//! Caches written down and read back: keys, values and all that can be undone.

use bytes::Bytes;
use dotvm_codec::{Damage, Reader, Writer};

use super::{Cache, Entry, NEVER_WRITTEN, Undo};
use crate::error::DbError;
use crate::keys::{PREFIX_BYTES, SLOT_PREFIX_BYTES};

/// A kind of value that a cache holds.
pub(crate) trait Saved: Clone {
    fn save(&self, to: &mut Writer);
    fn restore(from: &mut Reader<'_>) -> Result<Self, Damage>;
    /// Whether a key can be one of this kind.
    fn is_key(key: &[u8]) -> bool;
    /// As the store has it; nothing if the store is not asked.
    fn stored(&self) -> Option<Option<Bytes>>;
}

impl<V: Saved> Cache<V> {
    /// Writes the cache down.
    pub(crate) fn save(&self, to: &mut Writer) {
        to.count(self.entries.len());
        for entry in &self.entries {
            to.bytes(&entry.key);
            entry.value.save(to);
            to.flag(entry.dirty);
            to.flag(entry.touched);
            to.number(entry.logged);
            to.flag(entry.original != NEVER_WRITTEN);
            if entry.original != NEVER_WRITTEN {
                self.originals[entry.original as usize].save(to);
            }
        }
        to.count(self.undo.len());
        for undo in &self.undo {
            to.number(undo.index);
            undo.value.save(to);
            to.flag(undo.dirty);
            to.flag(undo.touched);
            to.number(undo.logged);
        }
    }

    /// Reads a cache.
    pub(crate) fn restore(from: &mut Reader<'_>) -> Result<Cache<V>, Damage> {
        let mut cache = Cache::new();
        for index in 0..from.count(6)? {
            let key = from.bytes()?;
            from.require(V::is_key(key), "a key of the transaction is none")?;
            let value = V::restore(from)?;
            match cache.find_or_load(key, || Ok(value)) {
                Ok(there) if there == index => {}
                Ok(_) => return from.damage("a key of the transaction is there twice"),
                Err(_) => return from.damage("the transaction has too many keys"),
            }
            let (dirty, touched, logged) = (from.flag()?, from.flag()?, from.number()?);
            let is_written = from.flag()?;
            from.require(is_written || !dirty, "a change of the transaction has changed nothing")?;
            if is_written {
                let original = V::restore(from)?;
                cache.entries[index].original = cache.originals.len() as u32;
                cache.originals.push(original);
            }
            cache.dirty += usize::from(dirty);
            let entry = &mut cache.entries[index];
            (entry.dirty, entry.touched, entry.logged) = (dirty, touched, logged);
        }
        for _ in 0..from.count(4)? {
            let index: u32 = from.small()?;
            let undo = Undo {
                index,
                value: V::restore(from)?,
                dirty: from.flag()?,
                touched: from.flag()?,
                logged: from.number()?,
            };
            let entry = cache.entries.get(index as usize);
            let can_be = entry.is_some_and(|entry| entry.original != NEVER_WRITTEN || !undo.dirty);
            from.require(can_be, "what the transaction can undo was not done")?;
            cache.undo.push(undo);
        }
        Ok(cache)
    }

    /// The first key whose value in the state is not what the transaction has read, as `get` reads it.
    pub(crate) fn first_other(
        &self,
        get: impl Fn(&[u8]) -> Result<Option<Bytes>, DbError>,
    ) -> Result<Option<&Bytes>, DbError> {
        for entry in &self.entries {
            if let Some(stored) = self.read_value(entry).stored()
                && stored != get(&entry.key)?
            {
                return Ok(Some(&entry.key));
            }
        }
        Ok(None)
    }

    /// What was read of the state.
    fn read_value<'a>(&'a self, entry: &'a Entry<V>) -> &'a V {
        match entry.original {
            NEVER_WRITTEN => &entry.value,
            original => &self.originals[original as usize],
        }
    }
}

impl Saved for crate::slots::SlotValue {
    fn save(&self, to: &mut Writer) {
        to.bytes(self.as_bytes());
    }

    fn restore(from: &mut Reader<'_>) -> Result<Self, Damage> {
        let bytes = from.bytes()?;
        match crate::slots::SlotValue::restored(bytes) {
            Some(value) if value.as_bytes() == bytes => Ok(value),
            _ => from.damage("the value of a slot is none"),
        }
    }

    fn is_key(key: &[u8]) -> bool {
        let rest = key.get(SLOT_PREFIX_BYTES..);
        key.first() == Some(&crate::keys::SLOT)
            && rest.is_some_and(|slot| {
                slot.len() <= crate::keys::MAX_SLOT_BYTES
                    && usize::from(key[SLOT_PREFIX_BYTES - 1]) == slot.len()
                    && slot.first() != Some(&0)
            })
    }

    fn stored(&self) -> Option<Option<Bytes>> {
        Some(self.encode())
    }
}

impl Saved for crate::collections::CollectionState {
    fn save(&self, to: &mut Writer) {
        to.number(self.number);
        to.flag(self.kind == crate::ValueKind::Document);
        to.flag(self.has_definitions);
    }

    fn restore(from: &mut Reader<'_>) -> Result<Self, Damage> {
        let number = from.small()?;
        let kind = if from.flag()? { crate::ValueKind::Document } else { crate::ValueKind::Bytes };
        Ok(crate::collections::CollectionState { number, kind, has_definitions: from.flag()? })
    }

    fn is_key(key: &[u8]) -> bool {
        key.first() == Some(&crate::keys::COLLECTION) && key.len() > PREFIX_BYTES
    }

    fn stored(&self) -> Option<Option<Bytes>> {
        Some(self.encode())
    }
}

impl Saved for crate::counters::Counters {
    fn save(&self, to: &mut Writer) {
        to.word(self.added as u64);
        to.number(self.greatest);
    }

    fn restore(from: &mut Reader<'_>) -> Result<Self, Damage> {
        Ok(crate::counters::Counters { added: from.word()? as i64, greatest: from.number()? })
    }

    fn is_key(key: &[u8]) -> bool {
        key.first() == Some(&crate::keys::COUNTER) && key.len() == PREFIX_BYTES
    }

    fn stored(&self) -> Option<Option<Bytes>> {
        // What is added was not read.
        None
    }
}

impl Saved for Option<Bytes> {
    fn save(&self, to: &mut Writer) {
        to.optional_bytes(self.as_deref());
    }

    fn restore(from: &mut Reader<'_>) -> Result<Self, Damage> {
        Ok(from.optional_bytes()?.map(Bytes::copy_from_slice))
    }

    fn is_key(key: &[u8]) -> bool {
        key.first().is_some_and(|&tag| tag < crate::keys::JOURNAL)
            && key != crate::keys::META_SCHEMA
            && key.len() <= 2 * crate::keys::MAX_KEY_BYTES + PREFIX_BYTES
    }

    fn stored(&self) -> Option<Option<Bytes>> {
        Some(self.clone())
    }
}
