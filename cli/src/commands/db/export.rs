//! `db export`.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::ValueHint;
use dotdb::{CollectionId, Direction, Tx, ValueKind};
use dotvm_runtime::show;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ReadOptions;
use super::fresh::write_file;
use super::import::{Format, KEY_COLUMN, is_json};
use super::place::{CollectionPlace, find_collection};
use super::read::all_records;
use super::row::json_text;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// Most columns of a CSV file.
const MAX_COLUMNS: usize = 4096;

/// Write the records of a collection as JSON lines or CSV, which `db import` reads
///
/// A line is {"key": KEY, "value": DOCUMENT}, keys as `db scan` shows them. A CSV file has a column `_key` and one for
/// each field that any document has; cells are text as it is, and JSON for all else.
#[derive(clap::Args)]
pub(super) struct ExportArgs {
    #[arg(value_name = "CONTRACT/COLLECTION")]
    place: CollectionPlace,
    /// Where to [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// What to write [default: csv for a name with .csv, else jsonl]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    read: ReadOptions,
}

#[derive(Serialize)]
struct Exported {
    status: &'static str,
    records: u64,
}

pub(super) fn export(args: &ExportArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (_, mut tx) = args.read.begin()?;
    let (_, collection, kind) = find_collection(&mut tx, &args.place)?;
    let records = tx.count(collection)?;
    let format = Format::of(args.format, args.output.as_deref());
    let mut progress = Progress::new("exporting", "records", Some(records), output);
    let mut write = |to: &mut dyn Write| match format {
        Format::Jsonl => lines(&mut tx, collection, kind, to, &mut progress),
        Format::Csv => csv_rows(&mut tx, collection, kind, to, &mut progress),
    };
    let records = match &args.output {
        Some(path) => write_file(path, write)?,
        None => {
            let mut stdout = BufWriter::new(io::stdout().lock());
            match write(&mut stdout).and_then(|records| stdout.flush().map(|()| records).map_err(unwritable))
            {
                // Nobody is left to write for.
                Err(failure) if failure.exit == Exit::Output && failure.sentence.is_empty() => {
                    return Ok(Exit::Success);
                }
                written => written?,
            }
        }
    };
    drop(progress);
    if args.output.is_some() {
        if json {
            output.print_json(&Exported { status: "ok", records })?;
        } else {
            output.remark(&format!("{records} records"));
        }
    }
    Ok(Exit::Success)
}

/// A failure without a sentence if the reader has closed the pipe.
fn unwritable(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::new(Exit::Output, "");
    }
    Failure::unwritable("the records", &error)
}

fn lines(
    tx: &mut Tx,
    collection: CollectionId,
    kind: ValueKind,
    to: &mut dyn Write,
    progress: &mut Progress,
) -> Result<u64, Failure> {
    let mut records = 0;
    for pair in all_records(tx, collection, None, None, Direction::Forward)? {
        let (key, value) = pair?;
        let quoted = |text: String| serde_json::Value::from(text).to_string();
        let value = match kind {
            ValueKind::Document => json_text(&value)?,
            ValueKind::Bytes => quoted(show::bytes(&value)),
        };
        writeln!(to, "{{\"key\":{},\"value\":{value}}}", quoted(show::bytes(&key))).map_err(unwritable)?;
        records += 1;
        progress.advance(1);
    }
    Ok(records)
}

/// The fields of a JSON object with their JSON, in their order.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn fields(key: &[u8], value: &[u8]) -> Result<Fields, Failure> {
    serde_json::from_str(&json_text(value)?).map_err(|_| {
        let sentence =
            format!("the record {} is no object, and CSV has rows of fields only", show::bytes(key));
        Failure::new(Exit::Input, sentence)
    })
}

fn csv_rows(
    tx: &mut Tx,
    collection: CollectionId,
    kind: ValueKind,
    to: &mut dyn Write,
    progress: &mut Progress,
) -> Result<u64, Failure> {
    if kind == ValueKind::Bytes {
        return Err(Failure::new(Exit::Usage, "the collection keeps byte strings, and CSV is for documents"));
    }
    // Twice over the records: the first row has all names.
    let mut columns = Vec::new();
    let mut known = BTreeSet::new();
    for pair in all_records(tx, collection, None, None, Direction::Forward)? {
        let (key, value) = pair?;
        for (name, _) in fields(&key, &value)?.0 {
            if name == KEY_COLUMN {
                let sentence = format!("the record {} has a field {KEY_COLUMN} itself", show::bytes(&key));
                return Err(Failure::new(Exit::Input, sentence));
            }
            if known.insert(name.clone()) {
                columns.push(name);
            }
        }
        if columns.len() > MAX_COLUMNS {
            let sentence = format!("the documents have more than {MAX_COLUMNS} fields, too many for CSV");
            return Err(Failure::new(Exit::Input, sentence));
        }
    }
    let mut csv = csv::Writer::from_writer(to);
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => unwritable(error),
        other => Failure::new(Exit::Output, format!("the records cannot be written: {other:?}")),
    };
    let head = std::iter::once(KEY_COLUMN).chain(columns.iter().map(String::as_str));
    csv.write_record(head).map_err(failed)?;
    let mut records = 0;
    for pair in all_records(tx, collection, None, None, Direction::Forward)? {
        let (key, value) = pair?;
        let fields: std::collections::BTreeMap<String, Box<RawValue>> =
            fields(&key, &value)?.0.into_iter().collect();
        let key = show::bytes(&key);
        let cells =
            columns.iter().map(|name| fields.get(name).map_or(Ok(String::new()), |value| cell(value)));
        let cells = cells.collect::<Result<Vec<_>, Failure>>()?;
        csv.write_record(std::iter::once(&key).chain(&cells)).map_err(failed)?;
        records += 1;
        progress.advance(1);
    }
    csv.flush().map_err(unwritable)?;
    Ok(records)
}

/// Text as it is unless it would be read as something else, all else as JSON.
fn cell(value: &RawValue) -> Result<String, Failure> {
    if !value.get().starts_with('"') {
        return Ok(value.get().to_owned());
    }
    let text: String =
        serde_json::from_str(value.get()).map_err(|error| Failure::new(Exit::Output, error))?;
    Ok(if text.is_empty() || is_json(&text) { value.get().to_owned() } else { text })
}
