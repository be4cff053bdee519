//! Slots of a contract between two numbers, in either direction.

use std::ops::Bound;

use bytes::Bytes;
use dotdb_store::Direction;
use imbl::OrdMap;

use crate::contracts::ContractId;
use crate::cursor::MergedRange;
use crate::error::DbError;
use crate::keys::{SLOT, SLOT_PREFIX_BYTES, prefix, prefix_end};
use crate::tree::slot_key;
use crate::tx::Tx;

impl Tx {
    /// A contract's slots as of now whose keys are from one number on to before another, in numeric order or
    /// backwards, the transaction's own writes included. Counts no touches; what lies between the bounds counts as
    /// read.
    ///
    /// # Errors
    /// [`DbError::TooLarge`] for a bound of more than 512 bits.
    pub fn slots_between(
        &mut self,
        contract: ContractId,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Result<SlotRange, DbError> {
        let of_contract = prefix(SLOT, contract.0);
        let from = match from {
            None => Bound::Included(of_contract.to_vec()),
            Some(key) => Bound::Included(slot_key(contract, key)?.to_vec()),
        };
        let to = match to {
            None => prefix_end(&of_contract),
            Some(key) => Bound::Excluded(slot_key(contract, key)?.to_vec()),
        };
        let pending: OrdMap<Bytes, Option<Bytes>> = self
            .slots
            .dirty()
            .filter(|entry| entry.key.starts_with(&of_contract))
            .map(|entry| (entry.key.clone(), entry.value.encode()))
            .collect();
        if !self.read_only() {
            self.reads.add_range(from.clone().map(Bytes::from), to.clone().map(Bytes::from));
        }
        Ok(SlotRange { rows: MergedRange::new(&*self.snapshot, pending, from, to, direction)? })
    }
}

/// What [`Tx::slots_between`] gives: key and value of each slot.
pub struct SlotRange {
    rows: MergedRange,
}

impl Iterator for SlotRange {
    type Item = Result<(Bytes, Bytes), DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.map(|(key, value)| (key.slice(SLOT_PREFIX_BYTES.min(key.len())..), value)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dotdb_memory::MemoryStore;

    use super::*;
    use crate::{Database, Durability, Mode};

    #[test]
    fn bounds_are_numbers() {
        let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        let (before, contract) = (tx.contract_id("a").unwrap(), tx.contract_id("b").unwrap());
        tx.slot_set(before, &[9], &[1]).unwrap();
        for key in [&[2][..], &[], &[1, 0]] {
            tx.slot_set(contract, key, &[7]).unwrap();
        }
        tx.commit(Durability::None).unwrap();
        let mut tx = database.begin(Mode::ReadWrite).unwrap();
        tx.slot_set(contract, &[5], &[7]).unwrap();
        tx.slot_delete(contract, &[2]).unwrap();
        let mut keys = |from: Option<&[u8]>, to: Option<&[u8]>, direction| -> Vec<Vec<u8>> {
            let slots = tx.slots_between(contract, from, to, direction).unwrap();
            slots.map(|slot| slot.unwrap().0.to_vec()).collect()
        };
        assert_eq!(keys(None, None, Direction::Forward), [vec![], vec![5], vec![1, 0]]);
        assert_eq!(keys(None, None, Direction::Backward), [vec![1, 0], vec![5], vec![]]);
        assert_eq!(keys(Some(&[0, 5]), Some(&[1, 0]), Direction::Forward), [vec![5]]);
        assert!(keys(Some(&[6]), Some(&[5]), Direction::Backward).is_empty());
    }
}
