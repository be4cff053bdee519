//! SQLite used by hand: write-ahead log, `synchronous = FULL`, statements prepared once.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ruint::aliases::U256;
use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;

use crate::harness::Contender;
use crate::workloads::token::{self, Grouping, Transfer};

/// The name of SQLite contenders.
pub const NAME: &str = "SQLite by hand";

const CREATE: &str = "CREATE TABLE balances (address BLOB PRIMARY KEY, balance BLOB NOT NULL) WITHOUT ROWID";
const INSERT: &str = "INSERT INTO balances (address, balance) VALUES (?1, ?2)";
const SELECT: &str = "SELECT balance FROM balances WHERE address = ?1";
const UPDATE: &str = "UPDATE balances SET balance = ?2 WHERE address = ?1";

/// Transfers as immediate SQLite transactions: two reads and two writes each.
pub struct Sqlite {
    parent: PathBuf,
    grouping: Grouping,
    transfers: u64,
    /// A new database in a new directory for every run; the connection is closed first.
    store: Option<(Connection, TempDir)>,
}

impl Sqlite {
    /// Keeps its files below `parent`.
    pub fn new(parent: &Path, grouping: Grouping, transfers: u64) -> Self {
        Self { parent: parent.to_path_buf(), grouping, transfers, store: None }
    }
}

fn balance(connection: &Connection, address: &[u8; 20]) -> Result<U256> {
    let bytes: [u8; 32] = connection.prepare_cached(SELECT)?.query_row([address], |row| row.get(0))?;
    Ok(U256::from_be_bytes(bytes))
}

fn set_balance(connection: &Connection, address: &[u8; 20], balance: U256) -> Result<()> {
    let rows = connection.prepare_cached(UPDATE)?.execute((address, balance.to_be_bytes::<32>()))?;
    ensure!(rows == 1, "an update changed {rows} rows");
    Ok(())
}

fn apply(connection: &Connection, transfer: Transfer) -> Result<()> {
    let (from, to) = (token::address(transfer.from), token::address(transfer.to));
    let amount = U256::from(transfer.amount);
    let left = balance(connection, &from)?.checked_sub(amount).context("overdraft")?;
    let grown = balance(connection, &to)?.checked_add(amount).context("overflow")?;
    set_balance(connection, &from, left)?;
    set_balance(connection, &to, grown)
}

impl Contender for Sqlite {
    fn name(&self) -> &str {
        NAME
    }

    fn prepare(&mut self) -> Result<()> {
        self.store = None;
        let directory = TempDir::new_in(&self.parent)?;
        let mut connection = Connection::open(directory.path().join("token.sqlite"))?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        ensure!(mode == "wal", "SQLite chose journal mode {mode}");
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute(CREATE, [])?;
        let transaction = connection.transaction()?;
        for account in 0..token::ACCOUNTS {
            transaction
                .prepare_cached(INSERT)?
                .execute((token::address(account), token::INITIAL_BALANCE.to_be_bytes::<32>()))?;
        }
        transaction.commit()?;
        self.store = Some((connection, directory));
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let (connection, _) = self.store.as_mut().context("not prepared")?;
        let per_transaction = match self.grouping {
            Grouping::Each => 1,
            Grouping::All => self.transfers.max(1),
        };
        let mut done = 0;
        while done < self.transfers {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for i in done..done + per_transaction {
                apply(&transaction, token::transfer(i))?;
            }
            transaction.commit()?;
            done += per_transaction;
        }
        Ok(done)
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let (connection, _) = self.store.as_ref().context("not prepared")?;
        let balances: Vec<U256> = (0..token::ACCOUNTS)
            .map(|account| balance(connection, &token::address(account)))
            .collect::<Result<_>>()?;
        let rows: i64 = connection.query_row("SELECT COUNT(*) FROM balances", [], |row| row.get(0))?;
        ensure!(usize::try_from(rows) == Ok(balances.len()), "{rows} rows for {} accounts", balances.len());
        Ok(Some(token::state_checksum(balances)))
    }
}
