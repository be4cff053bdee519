//! A collection in memory, random collections and queries, and an evaluator that is slow and obvious.

#![allow(dead_code)] // Each test uses its part.

pub mod choose;
pub mod memory;
pub mod naive;
pub mod tree;

use dotdb_query::{
    Budget, ExecuteError, Index, Prepared, Query, QueryError, Request, Row, Token, Value, execute, plan,
};

use memory::Memory;

/// All rows of one execution, the token behind the last, and the plan.
pub fn run(
    memory: &mut Memory,
    indexes: &[Index],
    query: &Query,
    parameters: &[Value],
    token: Option<&Token>,
) -> Result<(Vec<Row>, Option<Token>, dotdb_query::Explain), QueryError> {
    run_within(memory, indexes, query, parameters, token, Budget::default())
}

pub fn run_within(
    memory: &mut Memory,
    indexes: &[Index],
    query: &Query,
    parameters: &[Value],
    token: Option<&Token>,
    budget: Budget,
) -> Result<(Vec<Row>, Option<Token>, dotdb_query::Explain), QueryError> {
    let (query, indexes) = (Prepared::new(query.clone()), indexes.into());
    let request = Request { query: &query, parameters, indexes: &indexes, schema: None, token };
    let plan = plan(&request, memory).map_err(|error| match error {
        dotdb_query::PlanError::Query(error) => error,
        dotdb_query::PlanError::Statistics(never) => match never {},
    })?;
    let mut executor = execute(plan, budget);
    let mut rows = vec![];
    loop {
        match executor.next(memory) {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => return Ok((rows, executor.token(), executor.explain())),
            Err(ExecuteError::Query(error)) => return Err(error),
            Err(ExecuteError::Source(never)) => match never {},
        }
    }
}

/// Runs a query as it is and page by page, and compares with the naive evaluator.
pub fn check(memory: &mut Memory, indexes: &[Index], query: &Query, parameters: &[Value]) {
    let (rows, _, explain) = run(memory, indexes, query, parameters, None).unwrap();
    naive::compare(memory, query, parameters, &rows, &explain.to_string());
    // Pages of two: the same rows, none twice, none left out. Without ORDER BY the order is that of
    // the first page's plan.
    if query.limit().is_some() || query.offset().is_some() {
        return;
    }
    let paged = Query::parse(&format!("{query} LIMIT 2")).unwrap();
    let mut token = None;
    let mut all = vec![];
    for _ in 0..=rows.len() {
        let (page, next, _) = run(memory, indexes, &paged, parameters, token.as_ref()).unwrap();
        assert!(page.len() <= 2);
        let short = page.len() < 2;
        all.extend(page);
        match next {
            Some(next) if !short => {
                token = Some(Token::from_text(&next.to_text()).unwrap());
            }
            _ => break,
        }
    }
    naive::compare(memory, query, parameters, &all, &format!("by pages: {explain}"));
}
