//! redb used by hand: what a user would write who has a token and no DotVM.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};
use ruint::aliases::U256;
use tempfile::TempDir;

use crate::harness::Contender;
use crate::workloads::token::{self, Grouping, Transfer};

/// The name of redb contenders.
pub const NAME: &str = "redb by hand";

/// Address to balance, 32 bytes big-endian.
const BALANCES: TableDefinition<[u8; 20], [u8; 32]> = TableDefinition::new("balances");

/// Transfers as redb transactions with [`Durability::Immediate`]: two reads and two writes each.
pub struct Redb {
    parent: PathBuf,
    grouping: Grouping,
    transfers: u64,
    /// A new database in a new directory for every run.
    store: Option<(Database, TempDir)>,
}

impl Redb {
    /// Keeps its files below `parent`.
    pub fn new(parent: &Path, grouping: Grouping, transfers: u64) -> Self {
        Self { parent: parent.to_path_buf(), grouping, transfers, store: None }
    }

    fn database(&self) -> Result<&Database> {
        Ok(&self.store.as_ref().context("not prepared")?.0)
    }
}

fn apply(balances: &mut Table<'_, [u8; 20], [u8; 32]>, transfer: Transfer) -> Result<()> {
    let (from, to) = (token::address(transfer.from), token::address(transfer.to));
    let read = |address: [u8; 20], balances: &Table<'_, [u8; 20], [u8; 32]>| -> Result<U256> {
        let value = balances.get(address)?.context("an account without a balance")?.value();
        Ok(U256::from_be_bytes(value))
    };
    let amount = U256::from(transfer.amount);
    let left = read(from, balances)?.checked_sub(amount).context("overdraft")?;
    let grown = read(to, balances)?.checked_add(amount).context("overflow")?;
    balances.insert(from, left.to_be_bytes::<32>())?;
    balances.insert(to, grown.to_be_bytes::<32>())?;
    Ok(())
}

impl Contender for Redb {
    fn name(&self) -> &str {
        NAME
    }

    fn prepare(&mut self) -> Result<()> {
        self.store = None;
        let directory = TempDir::new_in(&self.parent)?;
        let database = Database::create(directory.path().join("token.redb"))?;
        let transaction = database.begin_write()?;
        {
            let mut balances = transaction.open_table(BALANCES)?;
            for account in 0..token::ACCOUNTS {
                balances.insert(token::address(account), token::INITIAL_BALANCE.to_be_bytes::<32>())?;
            }
        }
        transaction.commit()?;
        self.store = Some((database, directory));
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let database = self.database()?;
        let per_transaction = match self.grouping {
            Grouping::Each => 1,
            Grouping::All => self.transfers.max(1),
        };
        let mut done = 0;
        while done < self.transfers {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut balances = transaction.open_table(BALANCES)?;
                for i in done..done + per_transaction {
                    apply(&mut balances, token::transfer(i))?;
                }
            }
            transaction.commit()?;
            done += per_transaction;
        }
        Ok(done)
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let transaction = self.database()?.begin_read()?;
        let table = transaction.open_table(BALANCES)?;
        let mut balances = Vec::new();
        for account in 0..token::ACCOUNTS {
            let value = table.get(token::address(account))?.context("an account is gone")?.value();
            balances.push(U256::from_be_bytes(value));
        }
        let entries = table.iter()?.count();
        ensure!(entries == balances.len(), "{entries} entries for {} accounts", balances.len());
        Ok(Some(token::state_checksum(balances)))
    }
}
