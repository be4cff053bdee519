//! The state root and proofs, as programs see them.

use bytes::Bytes;
use dotdb::commitment::{Proof, Root};
use dotdb::{ContractId, DbError, MAX_KEY_BYTES, slot_key};
use dotvm_core::gas::{self, Gas};

use crate::open_tx::{OpenTx, Refusal};

impl OpenTx {
    fn tree_cost(&self) -> u64 {
        gas::tree(self.changed_keys())
    }

    pub(crate) fn state_root(&mut self, gas: &mut Gas) -> Result<Bytes, Refusal> {
        gas.charge(self.tree_cost())?;
        Ok(Bytes::copy_from_slice(&self.tx.state_root()?.0))
    }

    pub(crate) fn state_prove(&mut self, key: &[u8], gas: &mut Gas) -> Result<Bytes, Refusal> {
        gas.charge(self.tree_cost())?;
        let (_, proof) = self.tx.prove(&slot_key(self.contract, key)?)?;
        Ok(proof.to_bytes().into())
    }

    pub(crate) fn db_prove(&mut self, coll: u32, key: &[u8], gas: &mut Gas) -> Result<Bytes, Refusal> {
        let collection = self.collection(coll)?;
        // Before the charge, as with every operand.
        if key.len() > MAX_KEY_BYTES {
            return Err(DbError::TooLarge { what: "key", bytes: key.len(), limit: MAX_KEY_BYTES }.into());
        }
        gas.charge(gas::database(1, key.len() as u64) + self.tree_cost())?;
        let (_, proof) = self.tx.prove_record(collection, key)?;
        Ok(proof.to_bytes().into())
    }
}

/// Whether a proof shows that a slot of the contract holds `value` (empty: that it is not set) under a root.
pub(crate) fn verify(
    contract: ContractId,
    key: &[u8],
    value: &[u8],
    root: &[u8],
    proof: &[u8],
    gas: &mut Gas,
) -> Result<bool, Refusal> {
    let decoded = Proof::from_bytes(proof).ok();
    let depth = decoded.as_ref().map_or(0, Proof::depth);
    gas.charge(gas::proof(proof.len() as u64, depth as u64))?;
    let (Some(decoded), Ok(root)) = (decoded, root.try_into()) else { return Ok(false) };
    let key = slot_key(contract, key)?;
    let shown = decoded.verify(&Root(root)).ok();
    Ok(shown.is_some_and(|shown| {
        shown.key == key && shown.value.as_deref() == (!value.is_empty()).then_some(value)
    }))
}
