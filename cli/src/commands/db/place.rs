//! What of the database is meant: places, keys, and what is near a misspelt name.

use dotdb::{CollectionId, Contract, ContractId, Tx, ValueKind};
use dotvm_arch::{W512, Word};
use dotvm_core::outcome::Ref;
use dotvm_runtime::args::{nearest, parse_reference};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::parse_wide;

/// `CONTRACT` or `CONTRACT/COLLECTION`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) contract: String,
    pub(super) collection: Option<String>,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (contract, collection) = match text.split_once('/') {
            Some((contract, collection)) => (contract, Some(collection.to_owned())),
            None => (text, None),
        };
        if contract.is_empty() || collection.as_ref().is_some_and(String::is_empty) {
            return Err("this is neither CONTRACT nor CONTRACT/COLLECTION".to_owned());
        }
        Ok(Place { contract: contract.to_owned(), collection })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.contract)?;
        self.collection.iter().try_for_each(|collection| write!(f, "/{collection}"))
    }
}

/// `CONTRACT/COLLECTION`.
#[derive(Clone, Debug)]
pub(super) struct CollectionPlace {
    pub(super) contract: String,
    pub(super) collection: String,
}

impl std::str::FromStr for CollectionPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<CollectionPlace, String> {
        match text.parse()? {
            Place { contract, collection: Some(collection) } => Ok(CollectionPlace { contract, collection }),
            Place { contract, .. } => {
                Err(format!("this is a contract, and a collection of it is needed: {contract}/COLLECTION"))
            }
        }
    }
}

impl std::fmt::Display for CollectionPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.contract, self.collection)
    }
}

/// Slots of a contract or records of a collection.
pub(super) enum Source {
    Slots(Contract),
    Records(CollectionId, ValueKind),
}

impl Source {
    /// What the values are, for [`Row`](super::row::Row).
    pub(super) fn kind(&self) -> Option<ValueKind> {
        match self {
            Source::Slots(_) => None,
            Source::Records(_, kind) => Some(*kind),
        }
    }
}

/// A place that must be there.
pub(super) fn find(tx: &mut Tx, place: &Place) -> Result<Source, Failure> {
    match &place.collection {
        None => Ok(Source::Slots(find_contract(tx, &place.contract)?)),
        Some(name) => {
            let contract = find_contract(tx, &place.contract)?.id;
            let (collection, kind) = find_in(tx, contract, &place.contract, name)?;
            Ok(Source::Records(collection, kind))
        }
    }
}

/// A collection that must be there.
pub(super) fn find_collection(
    tx: &mut Tx,
    place: &CollectionPlace,
) -> Result<(ContractId, CollectionId, ValueKind), Failure> {
    let contract = find_contract(tx, &place.contract)?.id;
    let (collection, kind) = find_in(tx, contract, &place.contract, &place.collection)?;
    Ok((contract, collection, kind))
}

fn find_contract(tx: &mut Tx, name: &str) -> Result<Contract, Failure> {
    match tx.contract(name)? {
        Some(contract) => Ok(contract),
        None => {
            let names: Vec<String> = tx.contracts()?.into_iter().map(|contract| contract.name).collect();
            Err(unknown("contract", name, "", &names))
        }
    }
}

fn find_in(
    tx: &mut Tx,
    contract: ContractId,
    contract_name: &str,
    name: &str,
) -> Result<(CollectionId, ValueKind), Failure> {
    let Some(kind) = tx.collection_kind(contract, name)? else {
        let collections = tx.collections()?.into_iter();
        let own = collections.filter(|collection| collection.contract == contract);
        let names: Vec<String> = own.map(|collection| collection.name).collect();
        return Err(unknown("collection", name, &format!(" in {contract_name}"), &names));
    };
    Ok((tx.collection(contract, name, kind)?, kind))
}

/// Something that has a name, and none has this one.
pub(super) fn unknown(what: &str, name: &str, place: &str, names: &[String]) -> Failure {
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(nearest) => format!(": did you mean {nearest:?}?"),
        None => String::new(),
    };
    Failure::new(Exit::Database, format!("there is no {what} named {name:?}{place}{hint}"))
}

/// A record's key: text, 0x…, @FILE or text:….
pub(super) fn record_key(text: &str) -> Result<Vec<u8>, Failure> {
    match parse_reference(text)? {
        Ref::Bytes(key) => Ok(key.to_vec()),
        _ => Err(Failure::new(Exit::Usage, format!("{text} is no key: the text is text:{text}"))),
    }
}

/// A slot's number.
pub(super) fn slot_key(text: &str) -> Result<W512, Failure> {
    parse_wide(text).map_err(|error| Failure::new(Exit::Usage, error))
}

/// A slot's number as its key, big-endian without leading zeros.
pub(super) fn slot_bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let mut buffer = [0; 64];
    Ok(slot_key(text)?.to_be_trimmed(&mut buffer).to_vec())
}
