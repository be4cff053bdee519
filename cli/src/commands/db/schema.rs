//! `db schema`.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};
use dotdb::query::Schema;
use dotdb::{Durability, Mode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ReadOptions;
use super::place::{CollectionPlace, find_collection};
use super::write::read_text;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;

/// Set, show and drop the schema of a collection of documents
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Subcommand)]
enum SchemaCommand {
    /// Give a collection a schema, which its documents must satisfy already
    Set {
        #[arg(value_name = "CONTRACT/COLLECTION")]
        place: CollectionPlace,
        /// The schema in JSON; - is standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        store: StoreOption,
    },
    /// Show the schema of a collection
    Show {
        #[arg(value_name = "CONTRACT/COLLECTION")]
        place: CollectionPlace,
        #[command(flatten)]
        read: ReadOptions,
    },
    /// Let a collection take any documents again
    Drop {
        #[arg(value_name = "CONTRACT/COLLECTION")]
        place: CollectionPlace,
        #[command(flatten)]
        store: StoreOption,
    },
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
    /// The version that the state has now.
    version: u64,
}

#[derive(Serialize)]
struct Shown {
    status: &'static str,
    schema: Option<Box<RawValue>>,
}

pub(super) fn run(args: &Args, json: bool, output: &Output) -> Result<Exit, Failure> {
    match &args.command {
        SchemaCommand::Set { place, file, store } => {
            let name = file.display();
            let text = if file.as_os_str() == "-" { "-".to_owned() } else { format!("@{name}") };
            let schema = Schema::from_json(&read_text(&text)?)
                .map_err(|error| Failure::new(Exit::Input, format!("{name} is no schema: {error}")))?;
            set(place, Some(&schema), store, json, output)
        }
        SchemaCommand::Drop { place, store } => set(place, None, store, json, output),
        SchemaCommand::Show { place, read } => {
            let (_, mut tx) = read.begin()?;
            let (_, collection, _) = find_collection(&mut tx, place)?;
            let schema = tx.schema(collection)?.map(|schema| schema.to_json());
            if json {
                let schema = schema.map(RawValue::from_string).transpose();
                let schema = schema.map_err(|error| Failure::new(Exit::Output, error))?;
                output.print_json(&Shown { status: "ok", schema })?;
                return Ok(Exit::Success);
            }
            match schema {
                Some(schema) => output.print(&format!("{schema}\n"))?,
                None => output.remark(&format!("{place} has no schema")),
            }
            Ok(Exit::Success)
        }
    }
}

fn set(
    place: &CollectionPlace,
    schema: Option<&Schema>,
    store: &StoreOption,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let database = store.open(Access::Write)?;
    let mut tx = database.begin(Mode::ReadWrite)?;
    let (_, collection, _) = find_collection(&mut tx, place)?;
    tx.set_schema(collection, schema)?;
    let version = tx.commit(Durability::Sync)?;
    if json {
        output.print_json(&Done { status: "ok", version })?;
    } else {
        let done = if schema.is_some() { "has the schema now" } else { "has no schema any more" };
        output.remark(&format!("{place} {done}"));
    }
    Ok(Exit::Success)
}
