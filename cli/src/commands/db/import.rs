//! `db import`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};
use dotdb::query::{Path, Value};
use dotdb::{Database, Durability, Mode, Tx, ValueKind, document};
use dotvm_core::outcome::Ref;
use dotvm_runtime::args::parse_reference;
use dotvm_runtime::show;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::open_or_make;
use super::place::CollectionPlace;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::progress::Progress;

/// Longest line, bytes.
const MAX_LINE_BYTES: u64 = 4 * dotdb::MAX_VALUE_BYTES as u64;
/// Bytes of text after which a batch is committed.
const BATCH_BYTES: u64 = 8 << 20;

/// Put many records into a collection, from JSON lines or CSV
///
/// Without --key and --insert a line is {"key": KEY, "value": DOCUMENT} and a CSV file has a column `_key`, as
/// `db export` writes them. In CSV the first row has the fields' names; a cell that is JSON is that value, an empty one
/// leaves the field out, any other is text. Records are committed in batches: after an error those before are kept.
#[derive(clap::Args)]
pub(super) struct ImportArgs {
    #[arg(value_name = "CONTRACT/COLLECTION")]
    place: CollectionPlace,
    /// The file; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// What the file has [default: csv for a name with .csv, else jsonl]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Documents alone: the key is this field's text, or its number in decimal
    #[arg(long, value_name = "FIELD", conflicts_with = "insert")]
    key: Option<String>,
    /// Documents alone: the collection gives each a new key
    #[arg(long)]
    insert: bool,
    /// Replace a record that has the key already
    #[arg(long, conflicts_with_all = ["skip", "fail"])]
    replace: bool,
    /// Keep a record that has the key already
    #[arg(long, conflicts_with = "fail")]
    skip: bool,
    /// End with an error at a record that has the key already (the default)
    #[arg(long)]
    fail: bool,
    /// In CSV, take every cell for text
    #[arg(long)]
    text: bool,
    /// The collection keeps byte strings, if it is new
    #[arg(long, conflicts_with_all = ["key", "insert"])]
    bytes: bool,
    /// Records of a batch, each of which is committed on its own
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    #[command(flatten)]
    store: StoreOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Jsonl,
    Csv,
}

impl Format {
    /// As asked for, or as the file's name says.
    pub(super) fn of(asked: Option<Format>, path: Option<&std::path::Path>) -> Format {
        let csv = path.and_then(std::path::Path::extension).is_some_and(|extension| extension == "csv");
        asked.unwrap_or(if csv { Format::Csv } else { Format::Jsonl })
    }
}

/// How a line's key is found.
enum KeyOf<'a> {
    /// In the line, beside the value.
    Beside,
    Field(&'a str, Path),
    Insert,
}

/// A record as it was read: its key, unless it is to be given one, and its value.
type Record = (Option<Vec<u8>>, Vec<u8>);

#[derive(Serialize)]
struct Imported {
    status: &'static str,
    put: u64,
    replaced: u64,
    skipped: u64,
    version: u64,
}

/// Where an error is, and what is wrong there.
struct Wrong {
    line: u64,
    column: Option<u64>,
    problem: String,
}

pub(super) fn import(args: &ImportArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let keys = match (&args.key, args.insert) {
        (Some(field), _) => {
            let path = Path::parse(field)
                .map_err(|error| Failure::new(Exit::Usage, format!("{field:?} is no field: {error}")))?;
            KeyOf::Field(field, path)
        }
        (None, true) => KeyOf::Insert,
        (None, false) => KeyOf::Beside,
    };
    let is_stdin = args.file.as_os_str() == "-";
    let (from, length): (Box<dyn Read>, _) = if is_stdin {
        (Box::new(io::stdin().lock()), None)
    } else {
        let unreadable = |error: io::Error| Failure::unreadable(&args.file, &error);
        let file = File::open(&args.file).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        (Box::new(file), Some(metadata.len()))
    };
    let database = open_or_make(&args.store, |database| {
        let mut tx = database.begin(Mode::ReadWrite)?;
        collection(&mut tx, args).map(drop)
    })?;
    let mut batches = Batches::begin(&database, args)?;
    let mut progress = Progress::new("importing", "bytes", length, output);
    let reader = BufReader::with_capacity(1 << 18, from);
    let mut put = |record: Result<Record, String>, bytes: u64, read: u64| {
        progress.reach(read);
        batches.put(record?, bytes)
    };
    let done = match Format::of(args.format, Some(&args.file)) {
        Format::Jsonl => read_lines(reader, &keys, batches_kind(&database, args)?, &mut put),
        Format::Csv => read_csv(reader, &keys, batches_kind(&database, args)?, args.text, &mut put),
    };
    drop(progress);
    let name = if is_stdin { "standard input".to_owned() } else { args.file.display().to_string() };
    if let Err(wrong) = done {
        let kept = match batches.committed {
            0 => "nothing was kept".to_owned(),
            1 => "the record before it is kept".to_owned(),
            records => format!("{records} records before it are kept"),
        };
        let column = wrong.column.map(|column| format!(":{column}")).unwrap_or_default();
        let sentence = format!("{name}:{}{column}: {} ({kept})", wrong.line, wrong.problem);
        return Err(Failure::new(batches.exit, sentence));
    }
    let imported = batches.end()?;
    if json {
        output.print_json(&imported)?;
    } else {
        let counts = [("put", imported.put), ("replaced", imported.replaced), ("skipped", imported.skipped)];
        let counts = counts.iter().filter(|(what, count)| *count > 0 || *what == "put");
        let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        output.remark(&format!("{}, at version {}", counts.join(", "), imported.version));
    }
    Ok(Exit::Success)
}

fn collection(tx: &mut Tx, args: &ImportArgs) -> Result<(dotdb::CollectionId, ValueKind), Failure> {
    let contract = tx.contract_id(&args.place.contract)?;
    let name = &args.place.collection;
    let new = if args.bytes { ValueKind::Bytes } else { ValueKind::Document };
    let kind = tx.collection_kind(contract, name)?.unwrap_or(new);
    Ok((tx.collection(contract, name, if args.bytes { new } else { kind })?, kind))
}

/// What the collection keeps, or would keep.
fn batches_kind(database: &Database, args: &ImportArgs) -> Result<ValueKind, Failure> {
    let mut tx = database.begin(Mode::ReadWrite)?;
    Ok(collection(&mut tx, args)?.1)
}

/// Records on their way into the collection.
struct Batches<'a> {
    database: &'a Database,
    args: &'a ImportArgs,
    tx: Tx,
    collection: dotdb::CollectionId,
    records: u64,
    bytes: u64,
    /// Of the batch, then of those committed.
    batch: [u64; 3],
    done: [u64; 3],
    /// Records read and committed.
    committed: u64,
    version: u64,
    /// How the command ends if a record is not put: the input's fault unless the database says otherwise.
    exit: Exit,
}

impl<'a> Batches<'a> {
    fn begin(database: &'a Database, args: &'a ImportArgs) -> Result<Batches<'a>, Failure> {
        let mut tx = database.begin(Mode::ReadWrite)?;
        let (collection, _) = collection(&mut tx, args)?;
        let version = database.version();
        let (batch, done) = ([0; 3], [0; 3]);
        Ok(Batches {
            database,
            args,
            tx,
            collection,
            records: 0,
            bytes: 0,
            batch,
            done,
            committed: 0,
            version,
            exit: Exit::Input,
        })
    }

    fn put(&mut self, (key, value): Record, bytes: u64) -> Result<(), String> {
        let sentence = |error: dotdb::DbError, exit: &mut Exit| {
            let failure = Failure::from(error);
            *exit = failure.exit;
            failure.sentence
        };
        let which = match key {
            None => {
                self.tx.insert(self.collection, value).map_err(|error| sentence(error, &mut self.exit))?;
                0
            }
            Some(key) => {
                let entry = self
                    .tx
                    .record_entry(self.collection, &key)
                    .map_err(|error| sentence(error, &mut self.exit))?;
                match entry.exists() {
                    true if self.args.skip => 2,
                    true if self.args.fail || !self.args.replace => {
                        return Err(format!(
                            "there is a record {} already (--replace and --skip say what to do)",
                            show::bytes(&key)
                        ));
                    }
                    replaced => {
                        entry.put(value).map_err(|error| sentence(error, &mut self.exit))?;
                        u64::from(replaced) as usize
                    }
                }
            }
        };
        self.batch[which] += 1;
        self.records += 1;
        self.bytes += bytes;
        if self.records >= self.args.batch || self.bytes >= BATCH_BYTES {
            self.commit().map_err(|failure| {
                self.exit = failure.exit;
                failure.sentence
            })?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let next = self.database.begin(Mode::ReadOnly)?;
        self.version = std::mem::replace(&mut self.tx, next).commit(Durability::Sync)?;
        self.committed += self.records;
        for (done, batch) in self.done.iter_mut().zip(&mut self.batch) {
            *done += std::mem::take(batch);
        }
        (self.records, self.bytes) = (0, 0);
        self.tx = self.database.begin(Mode::ReadWrite)?;
        self.collection = collection(&mut self.tx, self.args)?.0;
        Ok(())
    }

    fn end(mut self) -> Result<Imported, Failure> {
        self.commit()?;
        // Readers, which cannot write, would each have to work the state tree out.
        self.database.settle()?;
        let [put, replaced, skipped] = self.done;
        Ok(Imported { status: "ok", put, replaced, skipped, version: self.version })
    }
}

/// Takes a record, the length of its text, and how far the file was read.
type Put<'a> = dyn FnMut(Result<Record, String>, u64, u64) -> Result<(), String> + 'a;

fn read_lines(
    mut reader: impl BufRead,
    keys: &KeyOf<'_>,
    kind: ValueKind,
    put: &mut Put<'_>,
) -> Result<(), Wrong> {
    let mut read = 0;
    let mut line = Vec::new();
    for number in 1.. {
        let wrong = |column, problem: String| Wrong { line: number, column, problem };
        line.clear();
        let length = (&mut reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let length = length.map_err(|error| wrong(None, format!("it cannot be read: {error}")))? as u64;
        read += length;
        if length == 0 {
            break;
        }
        if length > MAX_LINE_BYTES {
            return Err(wrong(None, format!("the line has more than {MAX_LINE_BYTES} bytes")));
        }
        let text = std::str::from_utf8(&line).map_err(|error| {
            wrong(Some(error.valid_up_to() as u64 + 1), "it is not UTF-8 text".to_owned())
        })?;
        if text.trim().is_empty() {
            continue;
        }
        let record = record_of_line(text, keys, kind).map_err(|(column, problem)| wrong(column, problem))?;
        put(Ok(record), length, read).map_err(|problem| wrong(None, problem))?;
    }
    Ok(())
}

/// A line as `db export` writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

fn record_of_line(text: &str, keys: &KeyOf<'_>, kind: ValueKind) -> Result<Record, (Option<u64>, String)> {
    let plain = |problem: String| (None, problem);
    let placed = |error: document::DocumentError| match error {
        document::DocumentError::Json { column, problem, .. } => (Some(column), problem),
        error => (None, error.to_string()),
    };
    if let KeyOf::Beside = keys {
        // The document parser tells places, and refuses names that are there twice.
        document::from_json(text).map_err(placed)?;
        let line: Line<'_> = serde_json::from_str(text).map_err(|_| {
            plain(
                "this is not {\"key\": …, \"value\": …}: --key and --insert take documents alone".to_owned(),
            )
        })?;
        let key = reference(&line.key).map_err(plain)?;
        let value = match kind {
            ValueKind::Document => document::from_json(line.value.get()).map_err(placed)?,
            ValueKind::Bytes => {
                let text: String = serde_json::from_str(line.value.get())
                    .map_err(|_| plain("the value of a byte string is a text".to_owned()))?;
                reference(&text).map_err(plain)?
            }
        };
        return Ok((Some(key), value));
    }
    if kind == ValueKind::Bytes {
        return Err(plain(
            "the collection keeps byte strings, and --key and --insert are for documents".to_owned(),
        ));
    }
    let document = document::from_json(text).map_err(placed)?;
    let key = key_of(&document, keys).map_err(plain)?;
    Ok((key, document))
}

/// Bytes in the command line's form; a file's are not taken.
fn reference(text: &str) -> Result<Vec<u8>, String> {
    if text.starts_with('@') {
        return Ok(text.as_bytes().to_vec());
    }
    match parse_reference(text).map_err(|error| error.to_string())? {
        Ref::Bytes(bytes) => Ok(bytes.to_vec()),
        _ => Err(format!("{text} is no byte string: the text is text:{text}")),
    }
}

fn key_of(document: &[u8], keys: &KeyOf<'_>) -> Result<Option<Vec<u8>>, String> {
    let KeyOf::Field(name, path) = keys else { return Ok(None) };
    let found = path.find(document).map_err(|_| "the document cannot be read".to_owned())?;
    match found.to_value() {
        Value::Text(text) => Ok(Some(text.into_bytes())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        Value::Missing => Err(format!("the document has no field {name}, which is to be the key")),
        _ => Err(format!("the field {name} is neither text nor an integer, and cannot be the key")),
    }
}

/// The column of keys in CSV.
pub(super) const KEY_COLUMN: &str = "_key";

fn read_csv(
    reader: impl Read,
    keys: &KeyOf<'_>,
    kind: ValueKind,
    all_text: bool,
    put: &mut Put<'_>,
) -> Result<(), Wrong> {
    if kind == ValueKind::Bytes {
        let problem = "the collection keeps byte strings, and CSV is for documents".to_owned();
        return Err(Wrong { line: 1, column: None, problem });
    }
    let mut csv = csv::ReaderBuilder::new().from_reader(reader);
    let wrong_at = |error: csv::Error, line: u64| {
        let line = error.position().map_or(line, csv::Position::line);
        let problem = match error.kind() {
            csv::ErrorKind::Utf8 { .. } => "it is not UTF-8 text".to_owned(),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("the row has {len} cells, and the first one has {expected_len}")
            }
            _ => format!("it cannot be read: {error}"),
        };
        Wrong { line, column: None, problem }
    };
    let names: Vec<String> =
        csv.headers().map_err(|error| wrong_at(error, 1))?.iter().map(str::to_owned).collect();
    let first = |problem: String| Wrong { line: 1, column: None, problem };
    let mut seen = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        if seen.insert(name.as_str(), index).is_some() {
            return Err(first(format!("two columns have the name {name:?}")));
        }
    }
    let key_column = match (keys, seen.get(KEY_COLUMN)) {
        (KeyOf::Beside, None) => {
            let problem = format!("there is no column {KEY_COLUMN}: --key and --insert take documents alone");
            return Err(first(problem));
        }
        (KeyOf::Beside, Some(&column)) => Some(column),
        _ => None,
    };
    let mut row = csv::StringRecord::new();
    loop {
        let line = csv.position().line();
        if !csv.read_record(&mut row).map_err(|error| wrong_at(error, line))? {
            return Ok(());
        }
        let line = row.position().map_or(line, csv::Position::line);
        let read = csv.position().byte();
        let bytes = row.as_slice().len() as u64;
        if bytes > MAX_LINE_BYTES {
            let problem = format!("the row has more than {MAX_LINE_BYTES} bytes");
            return Err(Wrong { line, column: None, problem });
        }
        let record = record_of_row(&names, &row, key_column, keys, all_text);
        put(record, bytes, read).map_err(|problem| Wrong { line, column: None, problem })?;
    }
}

fn record_of_row(
    names: &[String],
    row: &csv::StringRecord,
    key_column: Option<usize>,
    keys: &KeyOf<'_>,
    all_text: bool,
) -> Result<Record, String> {
    let mut text = String::from("{");
    let mut key = None;
    for (index, (name, cell)) in names.iter().zip(row).enumerate() {
        if Some(index) == key_column {
            key = Some(reference(cell)?);
            continue;
        }
        if cell.is_empty() && !all_text {
            continue;
        }
        if text.len() > 1 {
            text.push(',');
        }
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        text.push_str(&quoted(name));
        text.push(':');
        match !all_text && is_json(cell) {
            true => text.push_str(cell),
            false => text.push_str(&quoted(cell)),
        }
    }
    text.push('}');
    let document = document::from_json(&text).map_err(|error| error.to_string())?;
    match key {
        Some(key) => Ok((Some(key), document)),
        None => Ok((key_of(&document, keys)?, document)),
    }
}

/// Whether a cell is taken for JSON: `db export` writes text that looks like it as JSON, in quotation marks.
pub(super) fn is_json(cell: &str) -> bool {
    cell.starts_with(|c: char| matches!(c, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n'))
        && document::from_json(cell).is_ok()
}
