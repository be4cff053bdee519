//! The token as a contract of DotVM, deployed and called as a user would, on any store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dotdb::{Database, Durability, Mode, Store};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use dotvm_arch::{W512, Width, Word};
use dotvm_core::container;
use dotvm_core::env::Env;
use dotvm_core::module::Module;
use dotvm_core::outcome::Invocation;
use dotvm_runtime::{Options, Runtime};
use ruint::aliases::U256;
use tempfile::TempDir;

use super::token::{self, Grouping, Transfer};
use crate::dotvm::{assemble, invocation, limits, returned_word};
use crate::harness::{Contender, OURS};

const PROGRAM: &str = include_str!("../../programs/token.dasm");

/// The name under which the token is deployed.
const CONTRACT: &str = "token";

/// Where the state is kept.
pub enum Place {
    /// In the in-memory store.
    Memory,
    /// In the default durable store, below this directory.
    Below(PathBuf),
}

/// Calls of the deployed token; a new store for every run.
pub struct Token {
    place: Place,
    grouping: Grouping,
    transfers: u64,
    module: Module,
    options: Options,
    calls: Vec<(W512, Invocation)>,
    /// The store is closed before its directory is removed.
    store: Option<(Runtime, Option<TempDir>)>,
}

impl Token {
    /// Assembles the token.
    pub fn new(place: Place, grouping: Grouping, transfers: u64) -> Result<Self> {
        Ok(Self {
            place,
            grouping,
            transfers,
            module: assemble(PROGRAM, Width::W256)?,
            options: Options { limits: limits(), ..Options::default() },
            calls: Vec::new(),
            store: None,
        })
    }

    fn runtime(&self) -> Result<&Runtime> {
        Ok(&self.store.as_ref().context("not prepared")?.0)
    }

    fn call(&self, transfer: Transfer) -> Result<(W512, Invocation)> {
        let words = [address(transfer.to), W512::from(transfer.amount)];
        Ok((address(transfer.from), invocation(&self.module, "transfer", &words)?))
    }
}

fn address(account: u64) -> W512 {
    W512::from_be_slice(&token::address(account))
}

impl Contender for Token {
    fn name(&self) -> &str {
        OURS
    }

    fn prepare(&mut self) -> Result<()> {
        self.store = None;
        let (store, directory): (Arc<dyn Store>, _) = match &self.place {
            Place::Memory => (Arc::new(MemoryStore::new()), None),
            Place::Below(parent) => {
                let directory = TempDir::new_in(parent)?;
                (Arc::new(RedbStore::open_or_create(directory.path().join("token.dotdb"))?), Some(directory))
            }
        };
        let runtime = Runtime::new(Database::open(store)?);
        let contract = runtime.deploy(CONTRACT, &container::write(&self.module)?, false)?.contract;
        let mut tx = runtime.database().begin(Mode::ReadWrite)?;
        for account in 0..token::ACCOUNTS {
            let slot = token::slot(&token::address(account)).to_be_bytes::<32>();
            tx.slot_set(contract, &slot, &token::INITIAL_BALANCE.to_be_bytes::<32>())?;
        }
        tx.commit(Durability::Sync)?;
        self.store = Some((runtime, directory));
        self.calls = match self.grouping {
            Grouping::Each => {
                (0..self.transfers).map(|i| self.call(token::transfer(i))).collect::<Result<_>>()?
            }
            Grouping::All => {
                let words = [W512::from(self.transfers)];
                vec![(W512::ZERO, invocation(&self.module, "transfers", &words)?)]
            }
        };
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let (runtime, _) = self.store.as_ref().context("not prepared")?;
        let mut done = W512::ZERO;
        for (caller, invocation) in self.calls.drain(..) {
            self.options.env = Env { caller, ..Env::default() };
            let (_, execution) = runtime.call(CONTRACT, |_| Ok(invocation.clone()), &self.options)?;
            done += returned_word(&execution.outcome)?;
        }
        done.try_u64().context("too many transfers")
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let mut tx = self.runtime()?.database().begin(Mode::ReadOnly)?;
        let contract = tx.contract(CONTRACT)?.context("the contract is gone")?.id;
        let mut balances = Vec::new();
        for account in 0..token::ACCOUNTS {
            let value = tx.slot_get(contract, &token::slot(&token::address(account)).to_be_bytes::<32>())?;
            balances.push(U256::try_from_be_slice(value.as_bytes()).context("a balance is too wide")?);
        }
        let entries = tx.slots(contract)?.count();
        ensure!(entries == balances.len(), "{entries} slots for {} accounts", balances.len());
        Ok(Some(token::state_checksum(balances)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdraft_traps_and_changes_nothing() {
        let mut contract = Token::new(Place::Memory, Grouping::Each, 1).unwrap();
        contract.prepare().unwrap();
        contract.calls = vec![contract.call(Transfer { from: 0, to: 1, amount: 1_000_001 }).unwrap()];
        let message = contract.run().unwrap_err().to_string();
        assert!(message.contains("exception 1: overdraft"), "{message}");
        assert_eq!(contract.audit().unwrap(), Some(token::expected_state(0)));
        contract.calls = vec![contract.call(Transfer { from: 0, to: 1, amount: 1_000_000 }).unwrap()];
        assert_eq!(contract.run().unwrap(), 1);
    }
}
