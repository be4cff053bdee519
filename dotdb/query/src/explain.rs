//! What a plan does and why, and what executing it touched.

use std::fmt;

use serde::Serialize;

/// What executing a query has touched so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records read in a scan by key.
    pub records: u64,
    /// Index entries read.
    pub entries: u64,
    /// Records read by the keys of index entries.
    pub fetched: u64,
    /// Bytes of keys, entries and documents read.
    pub bytes: u64,
    /// Groups made.
    pub groups: u64,
    /// Rows that were sorted or kept for sorting.
    pub sorted: u64,
    /// Rows of the result.
    pub results: u64,
}

/// A way to the rows that the planner looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Which.
    pub access: String,
    /// How many rows it reads, where that was counted to its end.
    pub rows: Option<u64>,
    /// In rows of a scan.
    pub cost: Option<u64>,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why, or why not.
    pub why: String,
}

/// A plan, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explain {
    /// The query with its values.
    pub query: String,
    /// The way to the rows.
    pub access: String,
    /// In how many ranges.
    pub ranges: u64,
    /// The conditions that the ranges ensure.
    pub within: Vec<String>,
    /// Whether it is read from its end.
    pub backward: bool,
    /// The conditions checked on index entries.
    pub filter_on_entry: Vec<String>,
    /// The conditions checked on records.
    pub filter_on_record: Vec<String>,
    /// Whether records are read, or the index's entries suffice.
    pub reads_records: bool,
    /// How groups are made.
    pub grouping: Option<String>,
    /// How the order comes about.
    pub order: Option<String>,
    /// Most rows of the result.
    pub limit: Option<u64>,
    /// Rows passed over first.
    pub offset: u64,
    /// How many records the collection has.
    pub collection_rows: u64,
    /// How many rows the ranges have, where that was counted.
    pub estimated_rows: Option<u64>,
    /// The ways that were looked at.
    pub considered: Vec<Considered>,
    /// What was touched, after execution.
    pub actual: Option<Counts>,
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.query)?;
        let mut depth = 0;
        let mut line = |f: &mut fmt::Formatter<'_>, text: String| {
            depth += 1;
            writeln!(f, "{:indent$}└ {text}", "", indent = 2 * (depth - 1))
        };
        if self.limit.is_some() || self.offset > 0 {
            let limit = self.limit.map_or_else(String::new, |limit| format!("limit {limit} "));
            let offset = if self.offset > 0 { format!("offset {}", self.offset) } else { String::new() };
            line(f, format!("{limit}{offset}").trim_end().to_owned())?;
        }
        if let Some(order) = &self.order {
            line(f, format!("order: {order}"))?;
        }
        if let Some(grouping) = &self.grouping {
            line(f, format!("group: {grouping}"))?;
        }
        if !self.filter_on_record.is_empty() {
            line(f, format!("keep records with {}", self.filter_on_record.join(" AND ")))?;
        }
        if self.reads_records && self.access.starts_with("index") {
            line(f, "read each record by its key".to_owned())?;
        }
        if !self.filter_on_entry.is_empty() {
            line(f, format!("keep entries with {}", self.filter_on_entry.join(" AND ")))?;
        }
        let mut access = self.access.clone();
        if self.backward {
            access.push_str(", backward");
        }
        if !self.within.is_empty() {
            access.push_str(&format!(", where {}", self.within.join(" AND ")));
        }
        if self.ranges > 1 {
            access.push_str(&format!(", {} ranges", self.ranges));
        }
        match self.estimated_rows {
            Some(rows) => access.push_str(&format!(", {rows} of {} rows", self.collection_rows)),
            None => access.push_str(&format!(", collection of {} rows", self.collection_rows)),
        }
        line(f, access)?;
        if self.considered.len() > 1 {
            writeln!(f, "considered:")?;
            for considered in &self.considered {
                let rows = considered
                    .rows
                    .map_or_else(|| "rows not counted".to_owned(), |rows| format!("{rows} rows"));
                let cost = considered.cost.map_or_else(String::new, |cost| format!(", cost {cost}"));
                writeln!(f, "  {}: {rows}{cost}: {}", considered.access, considered.why)?;
            }
        }
        if let Some(actual) = &self.actual {
            writeln!(
                f,
                "touched: {} records, {} index entries, {} records by key, {} bytes; {} groups, {} rows sorted; {} rows",
                actual.records,
                actual.entries,
                actual.fetched,
                actual.bytes,
                actual.groups,
                actual.sorted,
                actual.results
            )?;
        }
        Ok(())
    }
}
