//! The token of [`super::token`] on disk: every transaction is durable before the next one starts.

use anyhow::Result;

use super::Setup;
use super::token::{self, Grouping};
use super::token_dotvm::{Place, Token};
use crate::harness::{Contender, Kind, Workload};
use crate::peers::redb::{self, Redb};
use crate::peers::sqlite::Sqlite;

pub const NAME_EACH: &str = "token_durable";
pub const NAME_ALL: &str = "token_loop_durable";

/// One durable transaction a transfer, with all its contenders.
pub fn build_each(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_EACH, Grouping::Each, "a durable transaction each")
}

/// One durable transaction in all, with all its contenders.
pub fn build_all(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_ALL, Grouping::All, "one durable transaction")
}

fn build(setup: &Setup, name: &'static str, grouping: Grouping, how: &str) -> Result<Workload> {
    let transfers = token::transfers(setup);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    let place = Place::Below(setup.store_directory.clone());
    contenders.push(Box::new(Token::new(place, grouping, transfers)?));
    contenders.push(Box::new(Redb::new(&setup.store_directory, grouping, transfers)));
    contenders.push(Box::new(Sqlite::new(&setup.store_directory, grouping, transfers)));
    Ok(Workload {
        name,
        summary: format!("{transfers} token transfers, {how}, on disk"),
        operations: transfers,
        unit: "transfer",
        kind: Kind::Durable,
        baseline: redb::NAME,
        expected: transfers,
        expected_state: Some(token::expected_state(transfers)),
        goal: None,
        contenders,
    })
}
