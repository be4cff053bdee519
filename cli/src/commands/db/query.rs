//! `db query` and `db explain`.

use std::collections::BTreeMap;

use dotdb::query::{Query, Token, Value};
use dotdb::{CollectionId, QueryOptions, Tx, document};
use dotvm_runtime::show;
use serde::Serialize;
use serde_json::value::RawValue;

use super::ReadOptions;
use super::place::{CollectionPlace, find_collection};
use super::row::{json_text, raw_json};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::report::BytesReport;
use crate::table::Table;

/// Ask a collection of documents, in a part of SQL (docs/database.md)
///
/// With --json each row is a line, and after them comes a line with `status`, and with `next` if there are more rows.
#[derive(clap::Args)]
pub(super) struct QueryArgs {
    /// SELECT … FROM CONTRACT.COLLECTION WHERE … GROUP BY … ORDER BY … LIMIT …
    query: String,
    /// A value for each `?` of the query, in order: JSON, or else text (can be repeated)
    #[arg(long = "arg", value_name = "VALUE", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// At most so many rows on this page
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The page after the one that gave this token
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    page: Option<String>,
    #[command(flatten)]
    read: ReadOptions,
}

/// Show what a query does, why, and what it touches
#[derive(clap::Args)]
pub(super) struct ExplainArgs {
    /// SELECT … FROM CONTRACT.COLLECTION WHERE … GROUP BY … ORDER BY … LIMIT …
    query: String,
    /// A value for each `?` of the query, in order: JSON, or else text (can be repeated)
    #[arg(long = "arg", value_name = "VALUE", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Only plan, and do not count what carrying it out touches
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    read: ReadOptions,
}

fn parse(text: &str) -> Result<(Query, CollectionPlace), Failure> {
    let query = Query::parse(text).map_err(|error| refused(&error))?;
    let place = match query.from() {
        [contract, collection] => {
            CollectionPlace { contract: contract.clone(), collection: collection.clone() }
        }
        [collection] => {
            let sentence = format!("FROM needs the contract too: FROM CONTRACT.{collection}");
            return Err(Failure::new(Exit::Usage, sentence));
        }
        _ => return Err(Failure::new(Exit::Usage, "FROM is CONTRACT.COLLECTION")),
    };
    Ok((query, place))
}

fn refused(error: &dotdb::query::QueryError) -> Failure {
    Failure::new(Exit::Usage, format!("the query is refused: {error}"))
}

/// Values of parameters: JSON, or else the text itself.
fn arguments(texts: &[String]) -> Vec<Value> {
    let value = |text: &String| Value::from_json(text).unwrap_or_else(|_| Value::Text(text.clone()));
    texts.iter().map(value).collect()
}

fn begin(tx: &mut Tx, place: &CollectionPlace) -> Result<CollectionId, Failure> {
    Ok(find_collection(tx, place)?.1)
}

/// A query's own errors are those of its text.
fn query_failed(error: dotdb::DbError) -> Failure {
    match &error {
        dotdb::DbError::Query(query) => refused(query),
        _ => error.into(),
    }
}

#[derive(Serialize)]
struct RowReport {
    /// Null for a group.
    key: Option<BytesReport>,
    value: Box<RawValue>,
}

#[derive(Serialize)]
struct End {
    status: &'static str,
    rows: u64,
    /// For `--page`, if there may be more rows.
    next: Option<String>,
    /// Fields of the query that no document had.
    absent: Vec<dotdb::query::Absent>,
}

pub(super) fn query(args: &QueryArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (query, place) = parse(&args.query)?;
    let token = args.page.as_deref().map(Token::from_text).transpose().map_err(|error| refused(&error))?;
    let (_, mut tx) = args.read.begin()?;
    let collection = begin(&mut tx, &place)?;
    let options = QueryOptions { token, ..QueryOptions::default() };
    let (cursor, _) =
        tx.query(collection, &query, &arguments(&args.arguments), &options).map_err(query_failed)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut count = 0u64;
    let mut ended = false;
    let mut rows = std::iter::from_fn(|| {
        if ended || count as usize >= limit {
            return None;
        }
        let row = tx.query_next(cursor).map_err(query_failed).transpose();
        match &row {
            Some(Ok(_)) => count += 1,
            _ => ended = true,
        }
        row
    });
    if json {
        for row in &mut rows {
            let row = row?;
            let value = raw_json(&row.document)?;
            let report = RowReport { key: row.key.as_deref().map(BytesReport::new), value };
            if !output.print_json_line(&report)? {
                return Ok(Exit::Success);
            }
        }
    } else {
        print_table(&query, &mut rows, output)?;
    }
    let next = match limit {
        usize::MAX => None,
        _ if ended => None,
        _ => tx.query_token(cursor)?.map(|token| token.to_text()),
    };
    let absent = tx.query_absent(cursor)?;
    if json {
        output.print_json_line(&End { status: "ok", rows: count, next, absent })?;
        return Ok(Exit::Success);
    }
    for absent in absent {
        let hint = absent.suggestion.map(|name| format!(": did you mean {name:?}?")).unwrap_or_default();
        output.remark(&format!("no document has the field {}{hint}", absent.path));
    }
    if let Some(next) = next {
        output.remark(&format!("there may be more: --page {next}"));
    }
    Ok(Exit::Success)
}

type Rows<'a> = dyn Iterator<Item = Result<dotdb::query::Row, Failure>> + 'a;

fn print_table(query: &Query, rows: &mut Rows<'_>, output: &Output) -> Result<(), Failure> {
    let Some(columns) = query.columns() else {
        // Whole documents have no columns in common.
        return output.print_lines(rows.map(|row| {
            let row = row?;
            let key = row.key.as_deref().map(show::bytes).unwrap_or_default();
            Ok(format!("{key}  {}", json_text(&row.document)?))
        }));
    };
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let cells = rows.map(|row| {
        let json = document::to_json(&row?.document).map_err(|error| Failure::new(Exit::Database, error))?;
        let mut cells: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&json).map_err(|error| Failure::new(Exit::Output, error))?;
        names
            .iter()
            .map(|name| match cells.remove(name) {
                None => Ok(String::new()),
                Some(value) if value.get().starts_with('"') => {
                    let text: String = serde_json::from_str(value.get())
                        .map_err(|error| Failure::new(Exit::Output, error))?;
                    // A line of its own for each row.
                    Ok(if text.chars().any(char::is_control) { value.get().to_owned() } else { text })
                }
                Some(value) => Ok(value.get().to_owned()),
            })
            .collect()
    });
    output.print_lines(Table::new(names.clone(), cells)?)
}

#[derive(Serialize)]
struct Explained {
    status: &'static str,
    #[serde(flatten)]
    explain: dotdb::query::Explain,
}

pub(super) fn explain(args: &ExplainArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let (query, place) = parse(&args.query)?;
    let (_, mut tx) = args.read.begin()?;
    let collection = begin(&mut tx, &place)?;
    let arguments = arguments(&args.arguments);
    let explain = if args.plan {
        tx.explain(collection, &query, &arguments).map_err(query_failed)?
    } else {
        let options = QueryOptions::default();
        let (cursor, _) = tx.query(collection, &query, &arguments, &options).map_err(query_failed)?;
        while tx.query_next(cursor).map_err(query_failed)?.is_some() {}
        tx.query_explain(cursor)?
    };
    if json {
        output.print_json(&Explained { status: "ok", explain })?;
    } else {
        output.print(&format!("{}\n", explain.to_string().trim_end()))?;
    }
    Ok(Exit::Success)
}
