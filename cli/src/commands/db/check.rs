//! `db check`.

use dotdb::{Database, DbError, Finding, StoreError};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::progress::Progress;
use crate::store::Access;

/// Look for damage: in the store, in every row, and between those that must agree
///
/// Exit code 0 if nothing was found, else 1. Changes nothing.
#[derive(clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    store: StoreOption,
}

#[derive(Serialize)]
struct Checked {
    /// `ok` or `damaged`.
    status: &'static str,
    /// Rows that were looked at.
    rows: u64,
    damage: Vec<Damage>,
}

#[derive(Serialize)]
struct Damage {
    place: String,
    problem: String,
}

/// Most damage that is listed.
const MAX_LISTED: usize = 1000;

pub(super) fn check(args: &CheckArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let mut damage = Vec::new();
    let mut more = 0u64;
    let mut rows = 0;
    let mut found = |finding: Finding| {
        if damage.len() < MAX_LISTED {
            damage.push(Damage { place: finding.place, problem: finding.problem });
        } else {
            more += 1;
        }
    };
    match open_and_check(args, output, &mut found) {
        Ok(checked) => rows = checked,
        // What cannot be opened for its damage is found damaged.
        Err(DbError::Store(StoreError::Corrupt { detail })) => {
            found(Finding { place: "the store".to_owned(), problem: detail });
        }
        Err(error) => return Err(error.into()),
    }
    let exit = if damage.is_empty() { Exit::Success } else { Exit::Program };
    if json {
        let status = if damage.is_empty() { "ok" } else { "damaged" };
        output.print_json(&Checked { status, rows, damage })?;
        return Ok(exit);
    }
    if damage.is_empty() {
        output.remark(&format!("nothing is damaged: {rows} rows"));
    }
    let lines = damage.iter().map(|damage| Ok(format!("{}: {}", damage.place, damage.problem)));
    let rest = (more > 0).then(|| Ok(format!("and {more} more")));
    output.print_lines(lines.chain(rest))?;
    Ok(exit)
}

fn open_and_check(args: &CheckArgs, output: &Output, found: &mut dyn FnMut(Finding)) -> Result<u64, DbError> {
    let store = dotdb_stores::open_waiting(args.store.url(), Access::Read, args.store.wait())?;
    let database = match Database::open(std::sync::Arc::clone(&store)) {
        Ok(database) => database,
        Err(error) => {
            // What the store itself finds says more.
            let mut any = false;
            if matches!(error, DbError::Store(StoreError::Corrupt { .. })) {
                store.check(&mut |damage| {
                    any = true;
                    found(Finding { place: "the store".to_owned(), problem: damage.to_string() });
                })?;
            }
            return if any { Ok(0) } else { Err(error) };
        }
    };
    let mut progress = Progress::new("checking", "rows", None, output);
    database.check(&dotvm_core::container::code_hash, |rows| progress.advance(rows), found)
}
