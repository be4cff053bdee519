//! Indexed queries over a million documents, against SQLite with the same documents as JSON and as plain columns.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dotdb::query::{IndexSpec, Path, Prepared, Query, Value, ValueRef};
use dotdb::{ContractId, Database, Durability, Mode, QueryOptions, Settings, ValueKind, document};
use dotdb_redb::RedbStore;
use rusqlite::Connection;
use tempfile::TempDir;

use super::Setup;
use crate::harness::{Contender, Goal, Kind, OUR_DATABASE, Workload};
use crate::subjects;

pub const NAME_EQUAL: &str = "query_equal";
pub const NAME_RANGE: &str = "query_range";
pub const NAME_COUNT: &str = "query_count";

/// The baseline.
const JSON: &str = "SQLite, JSON in a column";
const COLUMNS: &str = "SQLite, plain columns";

/// Documents of a customer.
const PER_CUSTOMER: u64 = 100;
/// Rows of a range query, by its limit.
const LIMIT: u64 = 100;
/// Totals between the bounds of a range, of which each document has another.
const WIDTH: u64 = 1000;
/// Coprime to the numbers of documents.
const STEP: u64 = 77_773;
/// Documents of a transaction while stores are filled.
const BATCH: u64 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Equal,
    Range,
    Count,
}

/// A document: the customer repeats, the total does not.
struct Order {
    customer: u64,
    total: u64,
    city: String,
}

fn order(number: u64, documents: u64) -> Order {
    let customers = documents / PER_CUSTOMER;
    Order {
        customer: number * STEP % customers,
        total: number * STEP % documents,
        city: format!("city {}", number % 97),
    }
}

impl Order {
    fn json(&self) -> String {
        let Order { customer, total, city } = self;
        format!(
            "{{\"customer\":{customer},\"total\":{total},\"city\":\"{city}\",\"state\":\"delivered to the door\"}}"
        )
    }
}

/// Documents with a field equal to a value.
pub fn build_equal(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_EQUAL, Ask::Equal)
}

/// The first documents, in order, with a field in a range.
pub fn build_range(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_RANGE, Ask::Range)
}

/// The number of documents with a field in a range.
pub fn build_count(setup: &Setup) -> Result<Workload> {
    build(setup, NAME_COUNT, Ask::Count)
}

fn build(setup: &Setup, name: &'static str, ask: Ask) -> Result<Workload> {
    let documents = setup.pick(1_000_000, 20_000);
    let queries = match ask {
        Ask::Equal | Ask::Range => setup.pick(1000, 50),
        Ask::Count => setup.pick(200, 10),
    };
    let customers = documents / PER_CUSTOMER;
    let parameters: Vec<u64> = (0..queries)
        .map(|i| match ask {
            Ask::Equal => i * STEP % customers,
            Ask::Range | Ask::Count => i * STEP % (documents - WIDTH),
        })
        .collect();
    let mut of_customer = vec![0; customers as usize];
    for order in (0..documents).map(|number| order(number, documents)) {
        of_customer[order.customer as usize] += order.total;
    }
    let expected = parameters.iter().map(|&from| match ask {
        Ask::Equal => of_customer[from as usize],
        // Every total is there once.
        Ask::Range => (from..from + LIMIT).sum(),
        Ask::Count => WIDTH,
    });
    let what = match ask {
        Ask::Equal => format!("all {PER_CUSTOMER} documents of a customer, two of their fields"),
        Ask::Range => format!("the first {LIMIT} documents of a range of {WIDTH}, in its order, one field"),
        Ask::Count => format!("the number of documents in a range, {WIDTH}"),
    };
    let plan = Plan { ask, documents, parameters: parameters.clone() };
    let parent = &setup.store_directory;
    Ok(Workload {
        name,
        summary: format!("{queries} queries by index over {documents} documents on disk: {what}"),
        operations: queries,
        unit: "query",
        kind: Kind::Compute,
        baseline: JSON,
        expected: expected.sum(),
        expected_state: None,
        goal: Some(Goal::TimesBaseline(1.0)),
        contenders: vec![
            Box::new(Ours { plan: plan.clone(), parent: parent.clone(), made: None }),
            Box::new(Sqlite { name: JSON, plan: plan.clone(), parent: parent.clone(), made: None }),
            Box::new(Sqlite { name: COLUMNS, plan, parent: parent.clone(), made: None }),
        ],
    })
}

#[derive(Clone)]
struct Plan {
    ask: Ask,
    documents: u64,
    parameters: Vec<u64>,
}

impl Plan {
    fn orders(&self) -> impl Iterator<Item = (u64, Order)> + use<> {
        let documents = self.documents;
        (0..documents).map(move |number| (number, order(number, documents)))
    }
}

const CONTRACT: &str = "bench";
const COLLECTION: &str = "orders";

struct Ours {
    plan: Plan,
    parent: PathBuf,
    made: Option<(Database, ContractId, TempDir)>,
}

impl Contender for Ours {
    fn name(&self) -> &str {
        const NAME: &str = "DotDB over redb";
        debug_assert!(NAME.starts_with(OUR_DATABASE));
        NAME
    }

    fn prepare(&mut self) -> Result<()> {
        if self.made.is_some() {
            return Ok(());
        }
        let directory = TempDir::new_in(&self.parent)?;
        let store = RedbStore::open_or_create(directory.path().join("orders"))?;
        let database = Database::open_or_create(Arc::new(store), Settings::default())?;
        let mut orders = self.plan.orders().peekable();
        let mut contract = ContractId(0);
        while orders.peek().is_some() {
            let mut tx = database.begin(Mode::ReadWrite)?;
            contract = tx.contract_id(CONTRACT)?;
            let collection = tx.collection(contract, COLLECTION, ValueKind::Document)?;
            for (number, order) in orders.by_ref().take(BATCH as usize) {
                tx.put(collection, &number.to_be_bytes(), document::from_json(&order.json())?)?;
            }
            tx.commit(Durability::None)?;
        }
        for field in ["customer", "total"] {
            database.create_index(contract, COLLECTION, field, &IndexSpec::parse(field)?, |_| ())?;
        }
        self.made = Some((database, contract, directory));
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let (database, contract, _) = self.made.as_ref().context("not prepared")?;
        let Plan { ask, parameters, .. } = &self.plan;
        let (text, column) = match ask {
            Ask::Equal => ("SELECT total, city FROM orders WHERE customer = $1", "total"),
            Ask::Range => (
                "SELECT total FROM orders WHERE total >= $1 AND total < $2 ORDER BY total LIMIT 100",
                "total",
            ),
            Ask::Count => ("SELECT count(*) AS n FROM orders WHERE total >= $1 AND total < $2", "n"),
        };
        // As SQLite's statement is.
        let query = Prepared::new(Query::parse(text)?);
        let column = Path::parse(column)?;
        let mut tx = database.begin(Mode::ReadOnly)?;
        let orders = tx.collection(*contract, COLLECTION, ValueKind::Document)?;
        let mut sum = 0;
        for &from in parameters {
            let both = [Value::Int(from.into()), Value::Int((from + WIDTH).into())];
            let given = if *ask == Ask::Equal { &both[..1] } else { &both[..] };
            let (cursor, _) = tx.query_prepared(orders, &query, given, &QueryOptions::default())?;
            while let Some(row) = tx.query_lend(cursor)? {
                let ValueRef::Int(value) = column.find(row.document)? else {
                    anyhow::bail!("a row without an integer");
                };
                sum += u64::try_from(value)?;
            }
            tx.close(cursor)?;
        }
        Ok(sum)
    }
}

struct Sqlite {
    name: &'static str,
    plan: Plan,
    parent: PathBuf,
    made: Option<(Connection, TempDir)>,
}

impl Contender for Sqlite {
    fn name(&self) -> &str {
        self.name
    }

    fn prepare(&mut self) -> Result<()> {
        if self.made.is_some() {
            return Ok(());
        }
        let directory = TempDir::new_in(&self.parent)?;
        let mut connection = subjects::sqlite::connect(&directory.path().join("orders.sqlite"))?;
        let json = self.name == JSON;
        let (columns, values) = match json {
            true => ("doc TEXT NOT NULL", "?2"),
            false => ("customer INTEGER, total INTEGER, city TEXT, state TEXT", "?2, ?3, ?4, ?5"),
        };
        connection.execute(&format!("CREATE TABLE orders (id INTEGER PRIMARY KEY, {columns})"), [])?;
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare(&format!("INSERT INTO orders VALUES (?1, {values})"))?;
            for (number, order) in self.plan.orders() {
                if json {
                    insert.execute((number as i64, order.json()))?;
                } else {
                    let Order { customer, total, city } = &order;
                    let numbers = (number as i64, *customer as i64, *total as i64);
                    insert.execute((numbers.0, numbers.1, numbers.2, city, "delivered to the door"))?;
                }
            }
        }
        transaction.commit()?;
        for field in ["customer", "total"] {
            let column = self.column(field);
            connection.execute(&format!("CREATE INDEX by_{field} ON orders ({column})"), [])?;
        }
        connection.execute("ANALYZE", [])?;
        self.made = Some((connection, directory));
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let (customer, total, city) = (self.column("customer"), self.column("total"), self.column("city"));
        let Plan { ask, parameters, .. } = &self.plan;
        let text = match ask {
            Ask::Equal => format!("SELECT {total}, {city} FROM orders WHERE {customer} = ?1"),
            Ask::Range => format!(
                "SELECT {total} FROM orders WHERE {total} >= ?1 AND {total} < ?2 ORDER BY {total} LIMIT {LIMIT}"
            ),
            Ask::Count => format!("SELECT count(*) FROM orders WHERE {total} >= ?1 AND {total} < ?2"),
        };
        let (connection, _) = self.made.as_mut().context("not prepared")?;
        let transaction = connection.transaction()?;
        let mut statement = transaction.prepare_cached(&text)?;
        let mut sum = 0;
        for &from in parameters {
            let both = [from as i64, (from + WIDTH) as i64];
            let given = if *ask == Ask::Equal { &both[..1] } else { &both[..] };
            let mut rows = statement.query(rusqlite::params_from_iter(given))?;
            while let Some(row) = rows.next()? {
                if *ask == Ask::Equal {
                    ensure!(!row.get_ref(1)?.as_str()?.is_empty(), "a city without a name");
                }
                sum += u64::try_from(row.get::<_, i64>(0)?)?;
            }
        }
        Ok(sum)
    }
}

impl Sqlite {
    /// How a field is read.
    fn column(&self, field: &str) -> String {
        if self.name == JSON { format!("doc ->> '$.{field}'") } else { field.to_owned() }
    }
}
