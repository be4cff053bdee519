//! The planner: it compares the ways to the rows by what they cost.

use std::sync::Arc;

use crate::QueryError;
use crate::access::{self, Access, Conditions, Wanted};
use crate::index::IndexPath;
use crate::page::Position;
use crate::plan::{Fetch, Grouping, Index, PlanError, Probe};
use crate::query::{Expr, Filter, Function, Query};
use crate::ranges::Target;
use crate::source::Statistics;
use crate::union;

/// Cost of reading a record by its key from an index, in rows of a scan.
const FETCH_COST: u64 = 8;
/// Rows that are counted to compare indexes, in rounds: the next round comes if all were exceeded.
const DIVES: [u64; 3] = [64, 1024, 8192];
/// Rows read for one that is wanted, where conditions are left to check.
const RESIDUAL_FACTOR: u64 = 4;

pub(crate) struct Planner<'a> {
    pub(crate) query: &'a Query,
    pub(crate) grouped: bool,
    pub(crate) conditions: Conditions,
    pub(crate) indexes: &'a Arc<[Index]>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
}

/// What the planner has come to.
pub(crate) struct Choice {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) best: usize,
    pub(crate) settled: bool,
    pub(crate) total: u64,
    pub(crate) grouping: Grouping,
    pub(crate) sort: bool,
}

/// A way to the rows: the records by key, an index, or several one after the other.
pub(crate) struct Candidate {
    pub(crate) accesses: Vec<Access>,
    /// Whether the order that is asked for comes by itself.
    pub(crate) ordered: bool,
    /// Whether groups come one after the other.
    pub(crate) streaming: bool,
    pub(crate) reverse: bool,
    pub(crate) entry_filter: Vec<usize>,
    pub(crate) filter: Vec<usize>,
    pub(crate) fetch: Fetch,
    /// How many rows are read, if that is known.
    pub(crate) rows: Option<u64>,
    pub(crate) cost: u64,
}

impl Candidate {
    /// The names of the indexes gone through, as tokens keep them.
    pub(crate) fn names(&self, indexes: &[Index]) -> Vec<Option<String>> {
        self.accesses.iter().map(|access| access.index.map(|number| indexes[number].name.clone())).collect()
    }

    fn has_residual(&self) -> bool {
        !self.filter.is_empty() || !self.entry_filter.is_empty()
    }

    /// In how many ranges its rows are.
    pub(crate) fn ranges(&self) -> u64 {
        self.accesses.iter().map(|access| access.ranges.len() as u64).sum()
    }

    fn is_of_all(&self) -> bool {
        matches!(&self.accesses[..], [Access { ranges, .. }]
            if matches!(&ranges[..], [range] if range.start.is_empty() && range.end.is_none()))
    }
}

impl Planner<'_> {
    pub(crate) fn choose<S: Statistics>(
        &self,
        statistics: &mut S,
        resume: Option<&Position>,
    ) -> Result<Choice, PlanError<S::Error>> {
        let total = statistics.rows().map_err(PlanError::Statistics)?;
        let mut candidates = self.candidates(resume)?;
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_of_all()) {
            candidate.rows = Some(total);
        }
        let shortcut = self.shortcut();
        let settled = self.settled(&candidates, total).filter(|_| candidates.len() > 1 && shortcut.is_none());
        if candidates.len() > 1 && shortcut.is_none() && settled.is_none() {
            self.estimate(&mut candidates, statistics)?;
        }
        // No more rows are found than the narrowest way has.
        let most = candidates.iter().filter_map(|candidate| candidate.rows).min().unwrap_or(total);
        for candidate in &mut candidates {
            // What was not counted to its end is taken for a tenth of all rows if it is one value, else
            // for a third.
            let in_range = candidate.accesses.iter().any(|access| access.ends_in_range);
            let guess = if in_range { total / 3 } else { total / 10 };
            let rows = candidate.rows.unwrap_or_else(|| guess.max(DIVES[0]));
            candidate.cost = self.cost(candidate, rows, most);
        }
        if let Some(settled) = settled {
            candidates[settled].cost = self.cost(&candidates[settled], total, total);
        }
        let cheapest = || (0..candidates.len()).min_by_key(|&number| candidates[number].cost);
        let best = settled.or_else(cheapest).unwrap_or(0);
        let chosen = &candidates[best];
        let grouping = shortcut.unwrap_or_else(|| self.grouping(chosen));
        let sort = self.sorts(chosen, &grouping);
        Ok(Choice { best, settled: settled.is_some(), total, grouping, sort, candidates })
    }

    /// The records first, then the indexes in their order, then a union: of equal costs the first wins.
    fn candidates(&self, resume: Option<&Position>) -> Result<Vec<Candidate>, QueryError> {
        let mut candidates = vec![self.candidate(vec![access::primary(&self.conditions)])];
        for (number, index) in self.indexes.iter().enumerate() {
            if let Some(access) = access::through(number, &index.spec, &self.conditions) {
                candidates.push(self.candidate(vec![access]));
            }
        }
        let union = union::accesses(&self.conditions, self.indexes);
        candidates.extend(union.map(|accesses| self.candidate(accesses)));
        let scanned: Option<(Vec<Option<String>>, bool)> = match resume {
            None => None,
            Some(Position::Sorted { .. }) if self.grouped => None,
            Some(Position::Sorted { .. }) => {
                for candidate in &mut candidates {
                    candidate.ordered = false;
                }
                None
            }
            Some(Position::Scan { index, reverse, .. }) => Some((vec![index.clone()], *reverse)),
            Some(Position::Union { indexes, .. }) => Some((indexes.clone(), false)),
        };
        if let Some((names, reverse)) = scanned {
            if self.grouped {
                return Err(QueryError::Token("it is damaged".to_owned()));
            }
            candidates.retain(|candidate| candidate.ordered && candidate.names(self.indexes) == names);
            if candidates.is_empty() {
                let problem = "the index that the last page was read from is gone: begin again";
                return Err(QueryError::Token(problem.to_owned()));
            }
            for candidate in &mut candidates {
                candidate.reverse = reverse;
            }
        }
        Ok(candidates)
    }

    fn candidate(&self, accesses: Vec<Access>) -> Candidate {
        let single = if let [access] = &accesses[..] { Some(access) } else { None };
        // The rows of a union come in no order.
        let comes_by = |targets: &[Target]| match single {
            Some(access) => access.comes_by(targets, self.indexes, &self.conditions),
            None => targets.is_empty(),
        };
        let (streaming, ordered, reverse) = if self.grouped {
            let targets = self.query.group_by.iter().filter_map(Target::of_expr);
            let targets: Vec<Target> =
                targets.filter(|target| !self.conditions.is_constant(target)).collect();
            let streaming = comes_by(&targets);
            match self.query.group_order() {
                Some(reverse) => (streaming, streaming, streaming && reverse),
                None => (streaming, self.query.order_by.is_empty(), false),
            }
        } else {
            match access::wanted(&self.query.order_by, &self.conditions) {
                Wanted::Scan(targets, reverse) => {
                    let ordered = comes_by(&targets);
                    (false, ordered, ordered && reverse)
                }
                Wanted::Sort => (false, false, false),
            }
        };
        let index = single.and_then(|access| access.index);
        // Conditions on an index's own columns are checked before the record is read.
        let columns: Vec<Target> = match index {
            Some(number) => {
                let of_values = |column: &&IndexPath| matches!(column, IndexPath::Value(_));
                let columns = self.indexes[number].spec.columns();
                columns.iter().filter(of_values).map(Target::of_column).chain([Target::Key]).collect()
            }
            None => vec![],
        };
        let on_entry = |filter: &Filter| {
            let mut all = index.is_some();
            filter.visit(&mut |expr| match expr {
                Expr::Literal(_) => {}
                other => all &= is_among(&columns, other),
            });
            all
        };
        let is_covered = |number: &usize| single.is_some_and(|access| access.covers.contains(number));
        let left = (0..self.conditions.conjuncts.len()).filter(|number| !is_covered(number));
        let (entry_filter, filter): (Vec<usize>, Vec<usize>) =
            left.partition(|&number| on_entry(&self.conditions.conjuncts[number]));
        let fetch = match single {
            Some(Access { index: None, .. }) => Fetch::Never,
            Some(access) if filter.is_empty() && !access.repeats => self.fetch(&columns),
            _ => Fetch::Always,
        };
        let reverse = reverse && single.is_some();
        Candidate { accesses, ordered, streaming, reverse, entry_filter, filter, fetch, rows: None, cost: 0 }
    }

    /// Whether what is shown, ordered and grouped by needs more than `columns` of an index. Rows show values as
    /// the document has them, which an index has but for 1 and 1.0; groups show canonical values.
    fn fetch(&self, columns: &[Target]) -> Fetch {
        let known = |expr: &Expr| match expr {
            Expr::Aggregate(_, None) => true,
            Expr::Aggregate(_, Some(argument)) => is_among(columns, argument),
            other => is_among(columns, other),
        };
        let query = self.query;
        let orders = query.order_by.iter().all(|order| known(&order.expr));
        let Some(shown) = query.columns.as_deref().filter(|_| orders) else { return Fetch::Always };
        if !shown.iter().all(|column| known(&column.expr)) {
            return Fetch::Always;
        }
        if !self.grouped {
            let only_keys = shown.iter().all(|column| column.expr == Expr::Key);
            return if only_keys { Fetch::Never } else { Fetch::Inexact };
        }
        let mut all = query.group_by.iter().all(known);
        if let Some(having) = &query.having {
            having.visit(&mut |expr| {
                all &= matches!(expr, Expr::Literal(_) | Expr::Parameter(_)) || known(expr);
            });
        }
        if all { Fetch::Never } else { Fetch::Always }
    }

    /// The one way whose rows are not known, if it costs no more than the others even if it has all.
    fn settled(&self, candidates: &[Candidate], total: u64) -> Option<usize> {
        let mut unknown = (0..candidates.len()).filter(|&number| candidates[number].rows.is_none());
        let (Some(number), None) = (unknown.next(), unknown.next()) else { return None };
        // Elements are counted each, of which there can be more than records.
        let accesses = &candidates[number].accesses;
        if accesses.len() > 1 || accesses.iter().any(|access| access.repeats) {
            return None;
        }
        let at_most = self.cost(&candidates[number], total, total);
        let others = candidates.iter().filter_map(|other| Some((other, other.rows?)));
        others
            .map(|(other, rows)| self.cost(other, rows, total))
            .all(|cost| at_most <= cost)
            .then_some(number)
    }

    fn estimate<S: Statistics>(
        &self,
        candidates: &mut [Candidate],
        statistics: &mut S,
    ) -> Result<(), PlanError<S::Error>> {
        for cap in DIVES {
            let mut some_is_known = false;
            for candidate in candidates.iter_mut().filter(|candidate| candidate.rows.is_none()) {
                // Of rows that come in order and are all wanted, no more are read than that.
                let enough = self.wanted_in_order(candidate).unwrap_or(u64::MAX);
                let cap = cap.min(enough);
                let mut rows = 0;
                let ranges = candidate
                    .accesses
                    .iter()
                    .flat_map(|access| access.ranges.iter().map(|range| (access.index, range)));
                for (index, range) in ranges {
                    if rows >= cap {
                        break;
                    }
                    let left = cap - rows;
                    let counted = match index {
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
        let limit = self.limit.filter(|_| candidate.ordered && !candidate.has_residual() && !self.grouped)?;
        Some(limit.saturating_add(self.offset))
    }

    /// What a plan that has `rows` costs, in rows of a scan, if at most `most` rows are found.
    fn cost(&self, candidate: &Candidate, rows: u64, most: u64) -> u64 {
        let residual = candidate.has_residual();
        let read = match self.limit {
            Some(limit) if candidate.ordered && !self.grouped => {
                let wanted = limit.saturating_add(self.offset);
                let for_one = if residual { RESIDUAL_FACTOR.max(rows / most.max(1)) } else { 1 };
                rows.min(wanted.saturating_mul(for_one))
            }
            _ => rows,
        };
        let per_row = if candidate.fetch == Fetch::Always { 1 + FETCH_COST } else { 1 };
        let found = if residual { read / RESIDUAL_FACTOR } else { read };
        let sorting = if self.grouped {
            if candidate.streaming { 0 } else { found }
        } else if candidate.ordered {
            0
        } else {
            found.saturating_mul(2)
        };
        read.saturating_mul(per_row).saturating_add(sorting).saturating_add(candidate.ranges())
    }

    fn grouping(&self, chosen: &Candidate) -> Grouping {
        if !self.grouped {
            return Grouping::None;
        }
        let counts_ranges = self.counts_only()
            && !chosen.has_residual()
            && matches!(&chosen.accesses[..], [access] if !access.repeats);
        if counts_ranges {
            Grouping::CountRanges
        } else if chosen.streaming {
            Grouping::Streaming
        } else {
            Grouping::Collected
        }
    }

    fn sorts(&self, chosen: &Candidate, grouping: &Grouping) -> bool {
        match grouping {
            Grouping::None => !chosen.ordered,
            Grouping::Streaming => !self.query.order_by.is_empty() && !chosen.ordered,
            Grouping::Collected => !self.query.order_by.is_empty(),
            Grouping::Count | Grouping::CountRanges | Grouping::Ends(_) => false,
        }
    }

    /// Whether the result is one row of nothing but `COUNT(*)`.
    fn counts_only(&self) -> bool {
        let query = self.query;
        let all_count = |columns: &[crate::query::Column]| {
            columns.iter().all(|column| column.expr == Expr::Aggregate(Function::Count, None))
        };
        query.group_by.is_empty()
            && query.having.is_none()
            && query.order_by.is_empty()
            && query.columns.as_deref().is_some_and(all_count)
    }

    /// Answers that need no rows, or one of each index.
    fn shortcut(&self) -> Option<Grouping> {
        let query = self.query;
        if !query.group_by.is_empty() || query.having.is_some() || !query.order_by.is_empty() {
            return None;
        }
        if query.filter.is_none() && self.counts_only() {
            return Some(Grouping::Count);
        }
        let columns = query.columns.as_deref()?;
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
}

/// Whether an operand is one of these.
fn is_among(targets: &[Target], expr: &Expr) -> bool {
    targets.iter().any(|target| match (target, expr) {
        (Target::Key, Expr::Key) => true,
        (Target::Path(known), Expr::Path(path)) => known == path,
        _ => false,
    })
}
