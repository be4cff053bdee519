//! The rows that the state root commits to, as DotDB lays them out, and roots and proofs of them.

use bytes::Bytes;
use dotdb::commitment::{self, NodeReader, Overlay, Proof, Root};
use dotdb::store::StoreError;
use dotdb::{ContractId, Direction, record_key, slot_key};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{HostError, HostResult};
use dotvm_core::module::{Collection, CollectionKind};
use dotvm_core::trap::TrapKind;

use super::State;

/// Number of the only contract, and of the one that does not exist.
const CONTRACT: u32 = 1;
const NO_CONTRACT: u32 = 0;

/// Everything that a state is committed to by: the contract, its collections in the order of the module, slots,
/// records, and the collections' two counters.
fn rows(state: &State, contract: &[u8], collections: &[Collection]) -> Vec<(Bytes, Option<Bytes>)> {
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let contract_number = CONTRACT.to_be_bytes();
    if state.is_linked {
        rows.push(([&[1], contract].concat(), contract_number.to_vec()));
        for (collection, number) in collections.iter().zip(1u32..) {
            let kind = match collection.kind {
                CollectionKind::Bytes => 0,
                CollectionKind::Document => 1,
            };
            let key = [&[4][..], &contract_number, collection.name.as_bytes()].concat();
            rows.push((key, [&number.to_be_bytes()[..], &[kind, 0]].concat()));
        }
    }
    for (key, value) in &state.slots {
        rows.push(([&[3][..], &contract_number, &[key.len() as u8], key].concat(), value.clone()));
    }
    for (collection, documents) in &state.documents {
        let number = (collection + 1).to_be_bytes();
        for (key, document) in documents {
            rows.push(([&[5][..], &number, key].concat(), document.to_vec()));
        }
        if !documents.is_empty() {
            rows.push(([&[6][..], &number, &[0]].concat(), (documents.len() as u64).to_be_bytes().to_vec()));
        }
    }
    for (collection, greatest) in state.counters.iter().filter(|(_, greatest)| **greatest > 0) {
        let number = (collection + 1).to_be_bytes();
        rows.push(([&[6][..], &number, &[1]].concat(), greatest.to_be_bytes().to_vec()));
    }
    rows.into_iter().map(|(key, value)| (key.into(), Some(value.into()))).collect()
}

/// A tree without rows.
struct Nothing;

impl NodeReader for Nothing {
    fn row(&self, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    fn rows(&self, _: &[u8], _: &[u8], _: Direction, _: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        Ok(Vec::new())
    }
}

fn failed<T>(error: impl std::fmt::Display) -> HostResult<T> {
    Err(HostError::Trap(TrapKind::Db, error.to_string()))
}

/// A state's tree with everything that it commits to.
struct Tree {
    rows: Vec<(Bytes, Option<Bytes>)>,
    nodes: Overlay<'static>,
}

impl Tree {
    fn of(state: &State, contract: &[u8], collections: &[Collection]) -> HostResult<Tree> {
        let rows = rows(state, contract, collections);
        let update = commitment::update(&Nothing, 0, &rows).or_else(failed)?;
        let mut nodes = Overlay::new(&Nothing);
        nodes.apply(update.writes);
        Ok(Tree { rows, nodes })
    }

    fn prove(&self, key: &[u8]) -> HostResult<Bytes> {
        let row = self.rows.iter().find(|(row, _)| row == key);
        let value = row.and_then(|(_, value)| value.as_deref());
        let proof = commitment::prove(&self.nodes, 0, key, value).or_else(failed)?;
        Ok(proof.to_bytes().into())
    }
}

/// STATE_ROOT.
pub fn root(state: &State, contract: &[u8], collections: &[Collection]) -> HostResult<Bytes> {
    let tree = Tree::of(state, contract, collections)?;
    let root = commitment::root(&tree.nodes, 0).or_else(failed)?;
    Ok(Bytes::copy_from_slice(&root.0))
}

fn contract_number(state: &State) -> u32 {
    if state.is_linked { CONTRACT } else { NO_CONTRACT }
}

/// STATE_PROVE.
pub fn prove_slot(
    state: &State,
    contract: &[u8],
    collections: &[Collection],
    key: &[u8],
) -> HostResult<Bytes> {
    let tree = Tree::of(state, contract, collections)?;
    tree.prove(&slot_key(ContractId(contract_number(state)), key).or_else(failed)?)
}

/// DB_PROVE.
pub fn prove_record(
    state: &State,
    contract: &[u8],
    collections: &[Collection],
    collection: u32,
    key: &[u8],
) -> HostResult<Bytes> {
    let tree = Tree::of(state, contract, collections)?;
    let number = if state.is_linked { collection + 1 } else { 0 };
    tree.prove(&record_key(number, key).or_else(failed)?)
}

/// STATE_VERIFY.
pub fn verify(
    state: &State,
    key: &[u8],
    value: &[u8],
    root: &[u8],
    proof: &[u8],
    gas: &mut Gas,
) -> HostResult<bool> {
    let Ok(decoded) = Proof::from_bytes(proof) else {
        gas.charge(gas::proof(proof.len() as u64, 0))?;
        return Ok(false);
    };
    gas.charge(gas::proof(proof.len() as u64, decoded.depth() as u64))?;
    let Ok(root) = <[u8; 32]>::try_from(root) else { return Ok(false) };
    let Ok(shown) = decoded.verify(&Root(root)) else { return Ok(false) };
    let number = contract_number(state).to_be_bytes();
    let expected = [&[3][..], &number, &[key.len() as u8], key].concat();
    Ok(shown.key == expected && shown.value.as_deref() == (!value.is_empty()).then_some(value))
}
