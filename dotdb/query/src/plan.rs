//! The planner: which way to the rows, and what is done with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::QueryError;
use crate::access::{self, Access, Conditions, Wanted};
use crate::collation::Collation;
use crate::compiled::mark;
use crate::explain::{Considered, Explain};
use crate::index::{IndexPath, IndexSpec};
use crate::normal::normal;
use crate::page::{Position, Token};
use crate::query::{Count, Expr, Filter, Function, Query};
use crate::ranges::Target;
use crate::schema::Schema;
use crate::source::Statistics;
use crate::value::Value;

/// Cost of reading a record by its key from an index, in rows of a scan.
const FETCH_COST: u64 = 8;
/// Rows that are counted to compare indexes, in rounds: the next round comes if all were exceeded.
const DIVES: [u64; 3] = [64, 1024, 8192];
/// Rows read for one that is wanted, where conditions are left to check.
const RESIDUAL_FACTOR: u64 = 4;

/// An index that is ready for queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name, none twice in a list.
    pub name: String,
    /// What it is over.
    pub spec: IndexSpec,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError<E> {
    /// The query, its values or its token are refused.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Counting rows failed.
    #[error("{0}")]
    Statistics(E),
}

/// How rows are put together.
#[derive(Clone, Debug)]
pub(crate) enum Grouping {
    /// Rows stay rows.
    None,
    /// All that is asked for is how many records there are.
    Count,
    /// All that is asked for is at the ends of indexes: one probe a column.
    Ends(Vec<Probe>),
    /// One group, or groups that come one after the other.
    Streaming,
    /// Groups are collected.
    Collected,
}

/// A first or last row.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) access: Access,
    pub(crate) reverse: bool,
    /// Which column of the index is wanted; `None` is the key.
    pub(crate) column: Option<usize>,
}

/// What the executor does: made by [`plan`].
pub struct Plan {
    pub(crate) query: Query,
    pub(crate) mark: [u8; 8],
    pub(crate) indexes: Arc<[Index]>,
    pub(crate) access: Access,
    pub(crate) reverse: bool,
    /// Checked on an entry's values, before its record is read.
    pub(crate) entry_filter: Option<Filter>,
    /// Checked on the record.
    pub(crate) filter: Option<Filter>,
    /// Whether records are read.
    pub(crate) fetch: bool,
    /// Whether rows are sorted after they were found.
    pub(crate) sort: bool,
    pub(crate) collations: Vec<Option<Collation>>,
    pub(crate) grouping: Grouping,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) resume: Option<Position>,
    pub(crate) explain: Explain,
}

impl Plan {
    /// What it does, and why.
    #[must_use]
    pub fn explain(&self) -> &Explain {
        &self.explain
    }
}

/// Everything a plan is made from.
pub struct Request<'a> {
    /// The query.
    pub query: &'a Query,
    /// A value for each of its parameters.
    pub parameters: &'a [Value],
    /// The collection's indexes that are ready.
    pub indexes: &'a [Index],
    /// The collection's schema.
    pub schema: Option<&'a Schema>,
    /// Where the last page ended.
    pub token: Option<&'a Token>,
}

/// Plans a query.
///
/// # Errors
/// [`PlanError::Query`]: the query has another number of parameters, names a field that the schema
/// forbids, needs rules of locales that are not built in, or the token is of another query;
/// [`PlanError::Statistics`].
pub fn plan<S: Statistics>(request: &Request<'_>, statistics: &mut S) -> Result<Plan, PlanError<S::Error>> {
    let mut query = request.query.bind(request.parameters)?;
    if let Some(schema) = request.schema {
        query.paths().into_iter().try_for_each(|path| schema.allows(path))?;
    }
    let mark = mark(&query);
    if request.token.is_some_and(|token| token.mark != mark) {
        return Err(QueryError::Token("it is of another query, or of other values".to_owned()).into());
    }
    let resume = request.token.map(|token| token.position.clone());
    let text = query.to_string();
    query.filter = query.filter.map(normal);
    query.having = query.having.map(normal);
    let collations = query
        .order_by
        .iter()
        .map(|order| order.collation.as_deref().map(Collation::new).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let planner = Planner {
        conditions: Conditions::new(query.filter.clone()),
        limit: count(query.limit),
        offset: if resume.is_some() { 0 } else { count(query.offset).unwrap_or(0) },
        query: &query,
        indexes: request.indexes,
    };
    let mut chosen = planner.choose(statistics, resume.as_ref())?;
    chosen.explain.query = text;
    let Choice { access, reverse, sort, grouping, entry_filter, filter, fetch, explain } = chosen;
    let (limit, offset) = (planner.limit, planner.offset);
    Ok(Plan {
        mark,
        indexes: request.indexes.into(),
        access,
        reverse,
        entry_filter,
        filter,
        fetch,
        sort,
        collations,
        grouping,
        limit,
        offset,
        resume,
        explain,
        query,
    })
}

fn count(count: Option<Count>) -> Option<u64> {
    match count {
        Some(Count::Number(number)) => Some(number),
        _ => None,
    }
}

struct Planner<'a> {
    query: &'a Query,
    conditions: Conditions,
    indexes: &'a [Index],
    limit: Option<u64>,
    offset: u64,
}

struct Choice {
    access: Access,
    reverse: bool,
    sort: bool,
    grouping: Grouping,
    entry_filter: Option<Filter>,
    filter: Option<Filter>,
    fetch: bool,
    explain: Explain,
}

struct Candidate {
    access: Access,
    /// Whether the order that is asked for comes by itself.
    ordered: bool,
    /// Whether groups come one after the other.
    streaming: bool,
    reverse: bool,
    entry_filter: Vec<usize>,
    filter: Vec<usize>,
    fetch: bool,
    rows: Option<u64>,
    cost: u64,
}

impl Planner<'_> {
    fn choose<S: Statistics>(
        &self,
        statistics: &mut S,
        resume: Option<&Position>,
    ) -> Result<Choice, PlanError<S::Error>> {
        let total = statistics.rows().map_err(PlanError::Statistics)?;
        let mut candidates = self.candidates(resume)?;
        let shortcut = self.shortcut();
        if candidates.len() > 1 && shortcut.is_none() {
            self.estimate(&mut candidates, statistics, total)?;
        }
        for candidate in &mut candidates {
            let all = matches!(&candidate.access.ranges[..], [range] if range.start.is_empty() && range.end.is_none());
            if all {
                candidate.rows = Some(total);
            }
        }
        // No more rows are found than the narrowest way has.
        let most = candidates.iter().filter_map(|candidate| candidate.rows).min().unwrap_or(total);
        for candidate in &mut candidates {
            candidate.cost = self.cost(candidate, total, most);
        }
        let best = (0..candidates.len()).min_by_key(|&number| candidates[number].cost).unwrap_or(0);
        let considered = self.considered(&candidates, best, resume);
        let chosen = candidates.swap_remove(best);
        let grouping = shortcut.unwrap_or_else(|| self.grouping(&chosen));
        let sort = self.sorts(&chosen, &grouping);
        let conjuncts = |numbers: &[usize]| {
            Filter::all(numbers.iter().map(|&number| self.conditions.conjuncts[number].clone()).collect())
        };
        let entry_filter = conjuncts(&chosen.entry_filter);
        let filter = conjuncts(&chosen.filter);
        let explain = self.explain(&chosen, &grouping, sort, total, considered);
        let Candidate { access, reverse, fetch, .. } = chosen;
        Ok(Choice { access, reverse, sort, grouping, entry_filter, filter, fetch, explain })
    }

    /// The records first, then the indexes in their order: of equal costs the first wins.
    fn candidates(&self, resume: Option<&Position>) -> Result<Vec<Candidate>, QueryError> {
        let mut candidates = vec![self.candidate(access::primary(&self.conditions))];
        for (number, index) in self.indexes.iter().enumerate() {
            if let Some(access) = access::through(number, &index.spec, &self.conditions) {
                candidates.push(self.candidate(access));
            }
        }
        match resume {
            None => {}
            Some(Position::Sorted { .. }) if self.query.is_grouped() => {}
            Some(Position::Sorted { .. }) => {
                for candidate in &mut candidates {
                    candidate.ordered = false;
                }
            }
            Some(Position::Scan { index, reverse, .. }) => {
                if self.query.is_grouped() {
                    return Err(QueryError::Token("it is damaged".to_owned()));
                }
                candidates.retain(|candidate| {
                    let name = candidate.access.index.map(|number| &self.indexes[number].name);
                    candidate.ordered && name == index.as_ref()
                });
                if candidates.is_empty() {
                    let problem = "the index that the last page was read from is gone: begin again";
                    return Err(QueryError::Token(problem.to_owned()));
                }
                for candidate in &mut candidates {
                    candidate.reverse = *reverse;
                }
            }
        }
        Ok(candidates)
    }

    fn candidate(&self, access: Access) -> Candidate {
        let grouped = self.query.is_grouped();
        let group_targets = self.query.group_by.iter().filter_map(Target::of_expr);
        let group_targets: Vec<Target> =
            group_targets.filter(|target| !self.conditions.is_constant(target)).collect();
        let streaming = grouped && access.comes_by(&group_targets, self.indexes, &self.conditions);
        let (ordered, reverse) = if grouped {
            match self.query.group_order() {
                Some(reverse) => (streaming, streaming && reverse),
                None => (self.query.order_by.is_empty(), false),
            }
        } else {
            match access::wanted(&self.query.order_by, &self.conditions) {
                Wanted::Scan(targets, reverse) => {
                    let ordered = access.comes_by(&targets, self.indexes, &self.conditions);
                    (ordered, ordered && reverse)
                }
                Wanted::Sort => (false, false),
            }
        };
        // Conditions on an index's own columns are checked before the record is read.
        let columns: BTreeSet<Target> = match access.index {
            Some(number) => {
                let of_values = |column: &&IndexPath| matches!(column, IndexPath::Value(_));
                let columns = self.indexes[number].spec.columns();
                columns.iter().filter(of_values).map(Target::of_column).chain([Target::Key]).collect()
            }
            None => BTreeSet::new(),
        };
        let on_entry = |filter: &Filter| {
            let mut all = access.index.is_some();
            filter.visit(&mut |expr| match expr {
                Expr::Literal(_) => {}
                other => all &= Target::of_expr(other).is_some_and(|target| columns.contains(&target)),
            });
            all
        };
        let left = (0..self.conditions.conjuncts.len()).filter(|number| !access.covers.contains(number));
        let (entry_filter, filter): (Vec<usize>, Vec<usize>) =
            left.partition(|&number| on_entry(&self.conditions.conjuncts[number]));
        let fetch =
            access.index.is_some() && (!filter.is_empty() || access.repeats || self.reads_records(&columns));
        Candidate { access, ordered, streaming, reverse, entry_filter, filter, fetch, rows: None, cost: 0 }
    }

    /// Whether what is shown, ordered and grouped by needs more than `columns`. Rows show values as
    /// the document has them, which an index does not know (1 or 1.0); groups show canonical values.
    fn reads_records(&self, columns: &BTreeSet<Target>) -> bool {
        let known = |expr: &Expr| match expr {
            Expr::Aggregate(_, None) => true,
            Expr::Aggregate(_, Some(argument)) => {
                Target::of_expr(argument).is_some_and(|target| columns.contains(&target))
            }
            other => Target::of_expr(other).is_some_and(|target| columns.contains(&target)),
        };
        let shown = self.query.columns.as_deref();
        if !self.query.is_grouped() {
            let only_key = |column: &crate::query::Column| column.expr == Expr::Key;
            let shows_more = shown.is_none_or(|columns| !columns.iter().all(only_key));
            return shows_more || !self.query.order_by.iter().all(|order| known(&order.expr));
        }
        let mut all = shown.unwrap_or_default().iter().all(|column| known(&column.expr))
            && self.query.group_by.iter().all(known)
            && self.query.order_by.iter().all(|order| known(&order.expr));
        if let Some(having) = &self.query.having {
            having.visit(&mut |expr| all &= matches!(expr, Expr::Literal(_)) || known(expr));
        }
        !all
    }

    fn estimate<S: Statistics>(
        &self,
        candidates: &mut [Candidate],
        statistics: &mut S,
        total: u64,
    ) -> Result<(), PlanError<S::Error>> {
        for cap in DIVES {
            let mut some_is_known = false;
            for candidate in candidates.iter_mut().filter(|candidate| candidate.rows.is_none()) {
                // Of rows that come in order and are all wanted, no more are read than that.
                let enough = self.wanted_in_order(candidate).unwrap_or(u64::MAX);
                let cap = cap.min(enough);
                let mut rows = 0;
                for range in &candidate.access.ranges {
                    if rows >= cap {
                        break;
                    }
                    let left = cap - rows;
                    let counted = match candidate.access.index {
                        _ if range.start.is_empty() && range.end.is_none() => Ok(total),
                        Some(number) => statistics.index_rows(number, range, left),
                        None => statistics.key_rows(range, left),
                    };
                    rows += counted.map_err(PlanError::Statistics)?.min(left);
                }
                if rows < cap {
                    candidate.rows = Some(rows);
                }
                // Others that go beyond this round's rows read no fewer.
                some_is_known |= rows < cap || rows >= enough;
            }
            if some_is_known {
                break;
            }
        }
        Ok(())
    }

    /// How many rows end a query whose rows come in order and pass no other condition.
    fn wanted_in_order(&self, candidate: &Candidate) -> Option<u64> {
        let residual = !candidate.filter.is_empty() || !candidate.entry_filter.is_empty();
        let limit = self.limit.filter(|_| candidate.ordered && !residual && !self.query.is_grouped())?;
        Some(limit.saturating_add(self.offset))
    }

    /// What a plan costs, in rows of a scan, if at most `most` rows are found.
    fn cost(&self, candidate: &Candidate, total: u64, most: u64) -> u64 {
        let access = &candidate.access;
        // What was not counted to its end is taken for a tenth of all rows if it is one value, else
        // for a third.
        let guess = if access.ends_in_range { total / 3 } else { total / 10 };
        let rows = candidate.rows.unwrap_or_else(|| guess.max(DIVES[0]));
        let residual = !candidate.filter.is_empty() || !candidate.entry_filter.is_empty();
        let grouped = self.query.is_grouped();
        let read = match self.limit {
            Some(limit) if candidate.ordered && !grouped => {
                let wanted = limit.saturating_add(self.offset);
                let for_one = if residual { RESIDUAL_FACTOR.max(rows / most.max(1)) } else { 1 };
                rows.min(wanted.saturating_mul(for_one))
            }
            _ => rows,
        };
        let per_row = if candidate.fetch { 1 + FETCH_COST } else { 1 };
        let found = if residual { read / RESIDUAL_FACTOR } else { read };
        let sorting = if grouped {
            if candidate.streaming { 0 } else { found }
        } else if candidate.ordered {
            0
        } else {
            found.saturating_mul(2)
        };
        read.saturating_mul(per_row).saturating_add(sorting).saturating_add(access.ranges.len() as u64)
    }

    fn grouping(&self, chosen: &Candidate) -> Grouping {
        if !self.query.is_grouped() {
            return Grouping::None;
        }
        if chosen.streaming { Grouping::Streaming } else { Grouping::Collected }
    }

    fn sorts(&self, chosen: &Candidate, grouping: &Grouping) -> bool {
        match grouping {
            Grouping::None => !chosen.ordered,
            Grouping::Streaming => !self.query.order_by.is_empty() && !chosen.ordered,
            Grouping::Collected => !self.query.order_by.is_empty(),
            Grouping::Count | Grouping::Ends(_) => false,
        }
    }

    /// Answers that need no rows, or one of each index.
    fn shortcut(&self) -> Option<Grouping> {
        let query = self.query;
        if !query.group_by.is_empty() || query.having.is_some() || !query.order_by.is_empty() {
            return None;
        }
        let columns = query.columns.as_deref()?;
        if query.filter.is_none()
            && columns.iter().all(|column| column.expr == Expr::Aggregate(Function::Count, None))
        {
            return Some(Grouping::Count);
        }
        let probe = |expr: &Expr| {
            let Expr::Aggregate(function @ (Function::Min | Function::Max), Some(argument)) = expr else {
                return None;
            };
            let target = Target::of_expr(argument)?;
            let reverse = *function == Function::Max;
            let serves = |access: &Access| {
                access.covers.len() == self.conditions.conjuncts.len()
                    && !access.repeats
                    && access.sorted
                    && (self.conditions.is_constant(&target)
                        || access.comes_by(std::slice::from_ref(&target), self.indexes, &self.conditions))
            };
            if target == Target::Key {
                let access = access::primary(&self.conditions);
                return serves(&access).then_some(Probe { access, reverse, column: None });
            }
            let conditions = self.conditions.with_something_at(&target);
            self.indexes.iter().enumerate().find_map(|(number, index)| {
                let column =
                    index.spec.columns().iter().position(|column| Target::of_column(column) == target)?;
                let access = access::through(number, &index.spec, &conditions)?;
                // Null and missing must be outside of the ranges, so the column must be ranged over.
                let is_ranged = access.fixed >= column;
                (is_ranged && serves(&access)).then_some(Probe { access, reverse, column: Some(column) })
            })
        };
        let probes: Option<Vec<Probe>> = columns.iter().map(|column| probe(&column.expr)).collect();
        probes.map(Grouping::Ends)
    }

    fn considered(
        &self,
        candidates: &[Candidate],
        best: usize,
        resume: Option<&Position>,
    ) -> Vec<Considered> {
        let mut considered = vec![];
        for (number, candidate) in candidates.iter().enumerate() {
            let chosen = number == best;
            let why = if chosen && candidates.len() == 1 && resume.is_some() {
                "the last page was read this way".to_owned()
            } else if chosen && candidates.len() == 1 {
                "there is no other way".to_owned()
            } else if chosen {
                "chosen: it costs least".to_owned()
            } else {
                format!("costs {} more", candidate.cost.saturating_sub(candidates[best].cost))
            };
            considered.push(Considered {
                access: self.name(candidate.access.index),
                rows: candidate.rows,
                cost: Some(candidate.cost),
                chosen,
                why,
            });
        }
        for (number, index) in self.indexes.iter().enumerate() {
            if !candidates.iter().any(|candidate| candidate.access.index == Some(number)) {
                let why = match index.spec.element_column() {
                    Some(column) => {
                        format!("no condition that it can use is on {}", index.spec.columns()[column])
                    }
                    None => "the last page was read another way".to_owned(),
                };
                considered.push(Considered {
                    access: self.name(Some(number)),
                    rows: None,
                    cost: None,
                    chosen: false,
                    why,
                });
            }
        }
        considered
    }

    fn name(&self, index: Option<usize>) -> String {
        match index {
            None => "records by key".to_owned(),
            Some(number) => format!("index {} ({})", self.indexes[number].name, self.indexes[number].spec),
        }
    }

    fn explain(
        &self,
        chosen: &Candidate,
        grouping: &Grouping,
        sort: bool,
        total: u64,
        considered: Vec<Considered>,
    ) -> Explain {
        let texts = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            numbers.map(|number| self.conditions.conjuncts[number].to_string()).collect()
        };
        let how = match grouping {
            Grouping::Count => "count of the collection".to_owned(),
            Grouping::Ends(probes) => {
                let names: BTreeSet<String> =
                    probes.iter().map(|probe| self.name(probe.access.index)).collect();
                format!("ends of {}", names.into_iter().collect::<Vec<_>>().join(", "))
            }
            _ => self.name(chosen.access.index),
        };
        let short = matches!(grouping, Grouping::Count | Grouping::Ends(_));
        let limit = self.limit.is_some();
        Explain {
            query: String::new(),
            access: how,
            ranges: if short { 0 } else { chosen.access.ranges.len() as u64 },
            within: texts(&mut chosen.access.covers.iter().copied()),
            backward: chosen.reverse,
            filter_on_entry: texts(&mut chosen.entry_filter.iter().copied()),
            filter_on_record: texts(&mut chosen.filter.iter().copied()),
            reads_records: !short && (chosen.fetch || chosen.access.index.is_none()),
            grouping: match grouping {
                Grouping::None => None,
                Grouping::Count | Grouping::Ends(_) => Some("no rows are read".to_owned()),
                Grouping::Streaming if self.query.group_by.is_empty() => Some("one group".to_owned()),
                Grouping::Streaming => Some("groups one after the other".to_owned()),
                Grouping::Collected => Some("groups collected in memory".to_owned()),
            },
            order: match (sort, limit) {
                (true, true) => Some("the first rows kept in memory (LIMIT)".to_owned()),
                (true, false) => Some("all rows sorted in memory".to_owned()),
                (false, _) if !self.query.order_by.is_empty() => Some("comes by itself".to_owned()),
                (false, _) => None,
            },
            limit: self.limit,
            offset: self.offset,
            collection_rows: total,
            estimated_rows: if short { None } else { chosen.rows },
            considered,
            actual: None,
        }
    }
}
