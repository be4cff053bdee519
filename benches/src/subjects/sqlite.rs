//! SQLite through `rusqlite`: write-ahead log, `synchronous = FULL`, statements prepared once, a connection a client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{ABSENT, CACHE_BYTES, Client, Key, READS, Subject, Value, incremented};

const CREATE: &str = "CREATE TABLE pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
const INSERT: &str = "INSERT INTO pairs (key, value) VALUES (?1, ?2)";
const SELECT: &str = "SELECT value FROM pairs WHERE key = ?1";
const RANGE: &str = "SELECT key, value FROM pairs WHERE key >= ?1 ORDER BY key LIMIT ?2";
const UPDATE: &str = "UPDATE pairs SET value = ?2 WHERE key = ?1";

/// For how long a client waits for others.
const PATIENCE: Duration = Duration::from_secs(60);

struct Sqlite(PathBuf);

pub fn open(directory: &Path) -> Result<Box<dyn Subject>> {
    let path = directory.join("pairs.sqlite");
    connect(&path)?.execute(CREATE, [])?;
    Ok(Box::new(Sqlite(path)))
}

/// A connection as all SQLite contenders use it.
pub fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    ensure!(mode == "wal", "SQLite chose journal mode {mode}");
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -i64::try_from(CACHE_BYTES / 1024)?)?;
    Ok(connection)
}

impl Subject for Sqlite {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(connect(&self.0)?))
    }
}

impl Client for Connection {
    fn put(&mut self, pairs: &[(Key, Value)]) -> Result<()> {
        let transaction = self.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for (key, value) in pairs {
                insert.execute((key, value))?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn get(&mut self, keys: &[Key], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let transaction = self.transaction()?;
        let mut select = transaction.prepare_cached(SELECT)?;
        for key in keys {
            let mut rows = select.query([key])?;
            see(rows.next()?.context(ABSENT)?.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }

    fn scan(&mut self, from: &[Key], rows: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let transaction = self.transaction()?;
        let mut select = transaction.prepare_cached(RANGE)?;
        for from in from {
            let mut found = select.query((from, i64::try_from(rows)?))?;
            while let Some(row) = found.next()? {
                see(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            }
        }
        Ok(())
    }

    fn increment(&mut self, keys: &[Key; READS]) -> Result<()> {
        let transaction = self.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut select = transaction.prepare_cached(SELECT)?;
            let mut update = transaction.prepare_cached(UPDATE)?;
            for (i, key) in keys.iter().enumerate() {
                let value: Value = select.query_row([key], |row| row.get(0)).optional()?.context(ABSENT)?;
                if i < 2 {
                    let rows = update.execute((key, incremented(&value)?))?;
                    ensure!(rows == 1, "an update changed {rows} rows");
                }
            }
        }
        Ok(transaction.commit()?)
    }
}
