//! Contracts: names, numbers and code.

use std::ops::Bound;

use bytes::Bytes;

use crate::error::DbError;
use crate::keys::{
    CODE, CONTRACT, MAX_CODE_BYTES, MAX_NAME_BYTES, META_CONTRACTS, check_len, check_name, corrupt,
    prefix_end, tagged,
};
use crate::tx::Tx;

/// Number of a contract, from 1 on in the order of creation. One that was given after a savepoint
/// means nothing once that savepoint was rolled back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractId(pub u32);

/// Hash of a module, by which its code is found. DotDB does not compute it.
pub type CodeHash = [u8; 32];

/// A contract as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: ContractId,
    /// Hash of its code, once one was bound.
    pub code: Option<CodeHash>,
}

impl Contract {
    fn encode(&self) -> Bytes {
        let mut value = self.id.0.to_be_bytes().to_vec();
        value.extend(self.code.iter().flatten());
        value.into()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Contract, DbError> {
        let name = std::str::from_utf8(key.get(1..).unwrap_or_default());
        let name = name.map_err(|_| corrupt(key, "is not a contract"))?;
        let (id, code) = decode_value(key, value)?;
        Ok(Contract { name: name.to_owned(), id, code })
    }
}

fn decode_value(key: &[u8], value: &[u8]) -> Result<(ContractId, Option<CodeHash>), DbError> {
    let bad = || corrupt(key, "is not a contract");
    let (id, code) = value.split_first_chunk::<4>().ok_or_else(bad)?;
    let code = if code.is_empty() { None } else { Some(code.try_into().map_err(|_| bad())?) };
    Ok((ContractId(u32::from_be_bytes(*id)), code))
}

impl Tx {
    /// The number of the contract with this name, which is given one if it is new.
    ///
    /// # Errors
    /// [`DbError::Name`]; [`DbError::UnknownContract`] for a new name in a read-only transaction.
    pub fn contract_id(&mut self, name: &str) -> Result<ContractId, DbError> {
        if let Some((id, _)) = self.find_contract(name)? {
            return Ok(id);
        }
        if self.read_only() {
            return Err(DbError::UnknownContract { name: name.to_owned() });
        }
        let id = ContractId(self.next_number(META_CONTRACTS, "contract numbers")?);
        let contract = Contract { name: name.to_owned(), id, code: None };
        self.raw_set(&tagged(CONTRACT, name.as_bytes()), Some(contract.encode()))?;
        Ok(id)
    }

    /// The contract with this name, if there is one.
    pub fn contract(&mut self, name: &str) -> Result<Option<Contract>, DbError> {
        let found = self.find_contract(name)?;
        Ok(found.map(|(id, code)| Contract { name: name.to_owned(), id, code }))
    }

    /// Number and code of the contract with this name, if there is one: [`Tx::contract`] without a copy of the
    /// name.
    pub fn find_contract(&mut self, name: &str) -> Result<Option<(ContractId, Option<CodeHash>)>, DbError> {
        check_name(name)?;
        let mut buffer = [CONTRACT; 1 + MAX_NAME_BYTES];
        buffer[1..=name.len()].copy_from_slice(name.as_bytes());
        let key = &buffer[..=name.len()];
        self.raw_get(key)?.map(|value| decode_value(key, &value)).transpose()
    }

    /// All contracts in the order of their names.
    pub fn contracts(&mut self) -> Result<Vec<Contract>, DbError> {
        let from = Bound::Included(vec![CONTRACT]);
        let to = prefix_end(&[CONTRACT]);
        let pending = self.pending_writes();
        self.read_range(pending, from, to)?
            .map(|row| row.and_then(|(key, value)| Contract::decode(&key, &value)))
            .collect()
    }

    /// Keeps a module under its hash.
    pub fn put_code(&mut self, hash: CodeHash, module: impl Into<Bytes>) -> Result<(), DbError> {
        let module = module.into();
        check_len("module", module.len(), MAX_CODE_BYTES)?;
        self.raw_set(&tagged(CODE, &hash), Some(module))
    }

    /// The module with this hash, if it is kept.
    pub fn code(&mut self, hash: &CodeHash) -> Result<Option<Bytes>, DbError> {
        self.raw_get(&tagged(CODE, hash))
    }

    /// Gives a contract its code, which must be kept already. The contract is created if it is new;
    /// one that had code keeps its state.
    pub fn bind(&mut self, name: &str, hash: CodeHash) -> Result<ContractId, DbError> {
        self.check_writable()?;
        if self.code(&hash)?.is_none() {
            let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(DbError::UnknownCode { hash });
        }
        let id = self.contract_id(name)?;
        let contract = Contract { name: name.to_owned(), id, code: Some(hash) };
        self.raw_set(&tagged(CONTRACT, name.as_bytes()), Some(contract.encode()))?;
        Ok(id)
    }
}
