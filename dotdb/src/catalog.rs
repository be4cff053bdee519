//! The numbers in store keys by name.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use dotdb_store::{Direction, Snapshot, StoreError};

use crate::collections::{CollectionState, ValueKind};
use crate::contracts::{CodeHash, Contract, ContractId};
use crate::error::DbError;
use crate::keys::{COLLECTION, CONTRACT, PREFIX_BYTES, corrupt};
use crate::tx::Tx;

/// Contracts and collections of a state by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    contracts: BTreeMap<u32, (String, Option<CodeHash>)>,
    collections: BTreeMap<u32, CatalogCollection>,
}

/// A collection by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogCollection {
    /// The contract it belongs to.
    pub contract: ContractId,
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ValueKind,
    pub(crate) has_definitions: bool,
}

impl Catalog {
    /// Reads the rows of contracts and collections. `bad` is told of those that cannot be read.
    pub(crate) fn read(
        snapshot: &dyn Snapshot,
        mut bad: impl FnMut(DbError) -> Result<(), DbError>,
    ) -> Result<Catalog, DbError> {
        let mut catalog = Catalog::default();
        for row in rows_of(snapshot, CONTRACT)? {
            let contract = row.map_err(DbError::from).and_then(|(key, value)| {
                let contract = Contract::decode(&key, &value)?;
                match catalog.contracts.get(&contract.id.0) {
                    Some(_) => Err(corrupt(&key, "has the number of another contract")),
                    None => Ok(contract),
                }
            });
            match contract {
                Ok(contract) => {
                    catalog.contracts.insert(contract.id.0, (contract.name, contract.code));
                }
                Err(error) => bad(error)?,
            }
        }
        for row in rows_of(snapshot, COLLECTION)? {
            let collection = row.map_err(DbError::from).and_then(|(key, value)| {
                let state = CollectionState::decode(&key, &value)?;
                let [_, a, b, c, d, name @ ..] = &key[..] else {
                    return Err(corrupt(&key, "has no collection name in its key"));
                };
                let name = std::str::from_utf8(name).map_err(|_| corrupt(&key, "has no name in its key"))?;
                let contract = ContractId(u32::from_be_bytes([*a, *b, *c, *d]));
                if catalog.collections.contains_key(&state.number) {
                    return Err(corrupt(&key, "has the number of another collection"));
                }
                if !catalog.contracts.contains_key(&contract.0) {
                    return Err(corrupt(&key, "is a collection of no contract"));
                }
                let (kind, has_definitions) = (state.kind, state.has_definitions);
                let name = name.to_owned();
                Ok((state.number, CatalogCollection { contract, name, kind, has_definitions }))
            });
            match collection {
                Ok((number, collection)) => {
                    catalog.collections.insert(number, collection);
                }
                Err(error) => bad(error)?,
            }
        }
        Ok(catalog)
    }

    /// The name of a contract.
    pub fn contract(&self, id: ContractId) -> Option<&str> {
        self.contracts.get(&id.0).map(|(name, _)| name.as_str())
    }

    /// The collection with a number.
    pub fn collection(&self, number: u32) -> Option<&CatalogCollection> {
        self.collections.get(&number)
    }

    /// `CONTRACT/COLLECTION` of the collection with a number.
    pub fn collection_place(&self, number: u32) -> Option<String> {
        let collection = self.collections.get(&number)?;
        Some(format!("{}/{}", self.contract(collection.contract)?, collection.name))
    }

    pub(crate) fn contracts(&self) -> &BTreeMap<u32, (String, Option<CodeHash>)> {
        &self.contracts
    }

    pub(crate) fn collections(&self) -> &BTreeMap<u32, CatalogCollection> {
        &self.collections
    }

    /// What a store key stands for, with names.
    pub(crate) fn describe(&self, key: &[u8]) -> String {
        let number = key.get(1..PREFIX_BYTES).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let text = crate::describe_key(key);
        let named = match (key.first(), number) {
            (Some(&(crate::keys::SLOT | COLLECTION)), Some(number)) => {
                let old = format!("contract {number}");
                self.contract(ContractId(number))
                    .map(|name| text.replacen(&old, &format!("contract {name}"), 1))
            }
            (
                Some(
                    &(crate::keys::RECORD | crate::keys::COUNTER | crate::keys::INDEX | crate::keys::SCHEMA),
                ),
                Some(number),
            ) => {
                let old = format!("collection {number}");
                let place = self.collection_place(number);
                place.and_then(|place| {
                    // The number stands at the end, behind a key that may look like it.
                    text.strip_suffix(&old).map(|start| format!("{start}{place}"))
                })
            }
            _ => None,
        };
        named.unwrap_or(text)
    }
}

/// The rows with a tag.
pub(crate) fn rows_of(snapshot: &dyn Snapshot, tag: u8) -> Result<dotdb_store::PairIter, StoreError> {
    let (from, to) = ([tag], [tag + 1]);
    snapshot.range(Bound::Included(&from[..]), Bound::Excluded(&to[..]), Direction::Forward)
}

impl Tx {
    /// Contracts and collections by number, as the transaction's snapshot has them; its own writes do not show.
    ///
    /// # Errors
    /// The store's; a row that cannot be read.
    pub fn catalog(&mut self) -> Result<Catalog, DbError> {
        if !self.read_only() {
            for tag in [CONTRACT, COLLECTION] {
                let (from, to) = (Bytes::copy_from_slice(&[tag]), Bytes::copy_from_slice(&[tag + 1]));
                self.reads.add_range(Bound::Included(from), Bound::Excluded(to));
            }
        }
        Catalog::read(&*self.snapshot, Err)
    }
}
