//! Compiled queries: deterministic CBOR, so that programs carry queries without their text.
//!
//! `[version, from, columns or null, where or null, group by, having or null, order by, limit or
//! null, offset or null]`. A literal is a document; every other operand, and every condition, is an
//! array that begins with its number in the tables below. Equal queries are equal bytes.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::QueryError;
use crate::cbor;
use crate::path::{MAX_STEPS, Path, Step};
use crate::query::{
    Column, Comparison, Count, Expr, Filter, Function, MAX_COLUMNS, MAX_FILTER_DEPTH, MAX_NODES, OrderBy,
    Query,
};
use crate::value::Value;

/// Of the layout above.
const VERSION: u8 = 1;
/// Longest compiled query, bytes.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];
const FUNCTIONS: [Function; 5] =
    [Function::Count, Function::Sum, Function::Min, Function::Max, Function::Avg];

type Out<'a> = &'a mut Encoder<Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

impl Query {
    /// The compiled form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encoded(self.limit, self.offset)
    }

    /// The compiled form of the same query without LIMIT and OFFSET: pages of it may differ in size.
    pub(crate) fn unlimited_bytes(&self) -> Vec<u8> {
        self.encoded(None, None)
    }

    fn encoded(&self, limit: Option<Count>, offset: Option<Count>) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        self.write(&mut out, limit, offset).expect("a vector takes everything that is written to it");
        out.into_writer()
    }

    fn write(&self, out: Out<'_>, limit: Option<Count>, offset: Option<Count>) -> Written {
        out.array(9)?.u8(VERSION)?.array(self.from.len() as u64)?;
        for part in &self.from {
            out.str(part)?;
        }
        match &self.columns {
            None => {
                out.null()?;
            }
            Some(columns) => {
                out.array(columns.len() as u64)?;
                for column in columns {
                    out.array(2)?;
                    write_expr(out, &column.expr)?;
                    out.str(&column.name)?;
                }
            }
        }
        write_optional_filter(out, self.filter.as_ref())?;
        out.array(self.group_by.len() as u64)?;
        for group in &self.group_by {
            write_expr(out, group)?;
        }
        write_optional_filter(out, self.having.as_ref())?;
        out.array(self.order_by.len() as u64)?;
        for order in &self.order_by {
            out.array(3)?;
            write_expr(out, &order.expr)?;
            out.bool(order.descending)?;
            match &order.collation {
                None => out.null()?,
                Some(locale) => out.str(locale)?,
            };
        }
        for count in [limit, offset] {
            match count {
                None => out.null()?,
                Some(Count::Number(number)) => out.u64(number)?,
                Some(Count::Parameter(number)) => out.array(1)?.u16(number)?,
            };
        }
        Ok(())
    }

    /// Reads a compiled query.
    ///
    /// # Errors
    /// [`QueryError::Compiled`] for all bytes that [`Query::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Query, QueryError> {
        let refused = |problem: String| QueryError::Compiled(problem);
        if bytes.len() > MAX_COMPILED_BYTES {
            return Err(refused(format!("it has {} bytes, more than {MAX_COMPILED_BYTES}", bytes.len())));
        }
        let mut reader = Reader { input: Decoder::new(bytes), nodes: 0 };
        let query = reader.query().map_err(|problem| {
            refused(format!("{problem} at byte {}", reader.input.position().min(bytes.len())))
        })?;
        query.check().map_err(|(problem, _)| refused(problem))?;
        if query.to_bytes() != bytes {
            return Err(refused("its encoding is not the deterministic one".to_owned()));
        }
        Ok(query)
    }
}

fn write_optional_filter(out: Out<'_>, filter: Option<&Filter>) -> Written {
    match filter {
        None => {
            out.null()?;
            Ok(())
        }
        Some(filter) => write_filter(out, filter),
    }
}

fn write_path(out: Out<'_>, path: &Path) -> Written {
    out.array(path.steps().len() as u64)?;
    for step in path.steps() {
        match step {
            Step::Field(name) => out.str(name)?,
            Step::Index(index) => out.u32(*index)?,
        };
    }
    Ok(())
}

fn write_expr(out: Out<'_>, expr: &Expr) -> Written {
    match expr {
        Expr::Key => {
            out.array(1)?.u8(0)?;
        }
        Expr::Path(path) => {
            write_path(out.array(2)?.u8(1)?, path)?;
        }
        Expr::Elements { array, below } => {
            write_path(out.array(3)?.u8(5)?, array)?;
            write_path(out, below)?;
        }
        // Bound queries, which alone have them, are encoded for their hash only.
        Expr::Literal(Value::Missing) => {
            out.array(1)?.u8(2)?;
        }
        Expr::Literal(value) => {
            out.array(2)?.u8(2)?;
            cbor::write(out.writer_mut(), value.as_ref());
        }
        Expr::Parameter(number) => {
            out.array(2)?.u8(3)?.u16(*number)?;
        }
        Expr::Aggregate(function, argument) => {
            out.array(3)?
                .u8(4)?
                .u8(FUNCTIONS.iter().position(|known| known == function).unwrap_or(0) as u8)?;
            match argument {
                None => {
                    out.null()?;
                }
                Some(argument) => write_expr(out, argument)?,
            }
        }
    }
    Ok(())
}

fn write_comparison(out: Out<'_>, comparison: Comparison) -> Written {
    out.u8(COMPARISONS.iter().position(|known| *known == comparison).unwrap_or(0) as u8)?;
    Ok(())
}

fn write_filter(out: Out<'_>, filter: &Filter) -> Written {
    match filter {
        Filter::Compare(left, comparison, right) => {
            out.array(4)?.u8(0)?;
            write_comparison(out, *comparison)?;
            write_expr(out, left)?;
            write_expr(out, right)
        }
        Filter::In(value, list) => {
            out.array(3)?.u8(1)?;
            write_expr(out, value)?;
            out.array(list.len() as u64)?;
            list.iter().try_for_each(|value| write_expr(out, value))
        }
        Filter::IsNull(value) => {
            out.array(2)?.u8(2)?;
            write_expr(out, value)
        }
        Filter::IsMissing(value) => {
            out.array(2)?.u8(3)?;
            write_expr(out, value)
        }
        Filter::StartsWith(value, prefix) => {
            out.array(3)?.u8(4)?;
            write_expr(out, value)?;
            write_expr(out, prefix)
        }
        Filter::Like(value, pattern) => {
            out.array(3)?.u8(5)?;
            write_expr(out, value)?;
            write_expr(out, pattern)
        }
        Filter::Any(value, comparison, array) => {
            out.array(4)?.u8(6)?;
            write_comparison(out, *comparison)?;
            write_expr(out, value)?;
            write_expr(out, array)
        }
        Filter::And(filters) | Filter::Or(filters) => {
            out.array(2)?
                .u8(if matches!(filter, Filter::And(_)) { 7 } else { 8 })?
                .array(filters.len() as u64)?;
            filters.iter().try_for_each(|filter| write_filter(out, filter))
        }
        Filter::Not(filter) => {
            out.array(2)?.u8(9)?;
            write_filter(out, filter)
        }
    }
}

struct Reader<'b> {
    input: Decoder<'b>,
    nodes: usize,
}

type Read<T> = Result<T, String>;

fn damaged(_: minicbor::decode::Error) -> String {
    "it is damaged".to_owned()
}

impl Reader<'_> {
    fn array(&mut self, most: usize) -> Read<usize> {
        let length =
            self.input.array().map_err(damaged)?.ok_or_else(|| "a length is indefinite".to_owned())?;
        match usize::try_from(length) {
            Ok(length) if length <= most => Ok(length),
            _ => Err(format!("a list of {length} is longer than {most}")),
        }
    }

    fn array_of(&mut self, expected: usize) -> Read<()> {
        match self.array(expected)? {
            length if length == expected => Ok(()),
            length => Err(format!("a list of {length} has not {expected}")),
        }
    }

    fn is_null(&mut self) -> Read<bool> {
        let is_null = self.input.datatype().map_err(damaged)? == Type::Null;
        if is_null {
            self.input.null().map_err(damaged)?;
        }
        Ok(is_null)
    }

    fn text(&mut self) -> Read<String> {
        self.input.str().map(str::to_owned).map_err(damaged)
    }

    fn number(&mut self) -> Read<u8> {
        self.input.u8().map_err(damaged)
    }

    fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let length = self.array(most)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn query(&mut self) -> Read<Query> {
        self.array_of(9)?;
        let version = self.number()?;
        if version != VERSION {
            return Err(format!("it is of version {version}, known is {VERSION}"));
        }
        let from = self.list(2, Self::text)?;
        let columns = if self.is_null()? { None } else { Some(self.list(MAX_COLUMNS, Self::column)?) };
        let filter = if self.is_null()? { None } else { Some(self.filter(0)?) };
        let group_by = self.list(MAX_COLUMNS, |reader| reader.expr(0))?;
        let having = if self.is_null()? { None } else { Some(self.filter(0)?) };
        let order_by = self.list(MAX_COLUMNS, Self::order)?;
        let limit = self.count()?;
        let offset = self.count()?;
        if self.input.position() != self.input.input().len() {
            return Err("there are bytes behind it".to_owned());
        }
        Ok(Query { from, columns, filter, group_by, having, order_by, limit, offset })
    }

    fn column(&mut self) -> Read<Column> {
        self.array_of(2)?;
        Ok(Column { expr: self.expr(0)?, name: self.text()? })
    }

    fn order(&mut self) -> Read<OrderBy> {
        self.array_of(3)?;
        let expr = self.expr(0)?;
        let descending = self.input.bool().map_err(damaged)?;
        let collation = if self.is_null()? { None } else { Some(self.text()?) };
        Ok(OrderBy { expr, descending, collation })
    }

    fn count(&mut self) -> Read<Option<Count>> {
        Ok(match self.input.datatype().map_err(damaged)? {
            Type::Null => {
                self.input.null().map_err(damaged)?;
                None
            }
            Type::Array => {
                self.array_of(1)?;
                Some(Count::Parameter(self.parameter()?))
            }
            _ => Some(Count::Number(self.input.u64().map_err(damaged)?)),
        })
    }

    fn parameter(&mut self) -> Read<u16> {
        let number = self.input.u16().map_err(damaged)?;
        if usize::from(number) < crate::query::MAX_PARAMETERS {
            return Ok(number);
        }
        Err(format!("a query has at most {} parameters", crate::query::MAX_PARAMETERS))
    }

    /// `depth` is 1 inside of a function.
    fn expr(&mut self, depth: usize) -> Read<Expr> {
        self.nodes += 1;
        if self.nodes > 2 * MAX_NODES {
            return Err("it has too many operands".to_owned());
        }
        let length = self.array(3)?;
        match (self.number()?, length) {
            (0, 1) => Ok(Expr::Key),
            (1, 2) => self.path().map(Expr::Path),
            (2, 2) => {
                let start = self.input.position();
                self.input.skip().map_err(damaged)?;
                let item = self.input.input().get(start..self.input.position()).unwrap_or_default();
                Value::from_document(item).map(Expr::Literal).map_err(|error| error.to_string())
            }
            (3, 2) => Ok(Expr::Parameter(self.parameter()?)),
            (4, 3) if depth == 0 => {
                let function = self.number()?;
                let function = *FUNCTIONS.get(usize::from(function)).ok_or("a function is unknown")?;
                let argument = if self.is_null()? { None } else { Some(Box::new(self.expr(1)?)) };
                Ok(Expr::Aggregate(function, argument))
            }
            (5, 3) => {
                let (array, below) = (self.path()?, self.path()?);
                if below.steps().is_empty() {
                    return Err("elements without a path below are the array".to_owned());
                }
                Ok(Expr::Elements { array, below })
            }
            (kind, _) => Err(format!("an operand of kind {kind} is malformed")),
        }
    }

    fn path(&mut self) -> Read<Path> {
        let steps = self.list(MAX_STEPS, Self::step)?;
        Path::new(steps).map_err(|error| error.to_string())
    }

    fn step(&mut self) -> Read<Step> {
        match self.input.datatype().map_err(damaged)? {
            Type::String => self.text().map(Step::Field),
            _ => self.input.u32().map(Step::Index).map_err(damaged),
        }
    }

    fn comparison(&mut self) -> Read<Comparison> {
        let number = self.number()?;
        COMPARISONS.get(usize::from(number)).copied().ok_or_else(|| "a comparison is unknown".to_owned())
    }

    fn filter(&mut self, depth: usize) -> Read<Filter> {
        self.nodes += 1;
        if depth > MAX_FILTER_DEPTH || self.nodes > 2 * MAX_NODES {
            return Err("its conditions are too many or nested too deep".to_owned());
        }
        let length = self.array(4)?;
        Ok(match (self.number()?, length) {
            (0, 4) => {
                let comparison = self.comparison()?;
                Filter::Compare(self.expr(0)?, comparison, self.expr(0)?)
            }
            (1, 3) => Filter::In(self.expr(0)?, self.list(MAX_NODES, |reader| reader.expr(0))?),
            (2, 2) => Filter::IsNull(self.expr(0)?),
            (3, 2) => Filter::IsMissing(self.expr(0)?),
            (4, 3) => Filter::StartsWith(self.expr(0)?, self.expr(0)?),
            (5, 3) => Filter::Like(self.expr(0)?, self.expr(0)?),
            (6, 4) => {
                let comparison = self.comparison()?;
                Filter::Any(self.expr(0)?, comparison, self.expr(0)?)
            }
            (7, 2) => Filter::And(self.list(MAX_NODES, |reader| reader.filter(depth + 1))?),
            (8, 2) => Filter::Or(self.list(MAX_NODES, |reader| reader.filter(depth + 1))?),
            (9, 2) => Filter::Not(Box::new(self.filter(depth + 1)?)),
            (kind, _) => return Err(format!("a condition of kind {kind} is malformed")),
        })
    }
}

/// The query's mark in continuation tokens: the same for the same query with the same values,
/// whatever its LIMIT and OFFSET.
pub(crate) fn mark(bound: &Query) -> [u8; 8] {
    let hash = blake3::hash(&bound.unlimited_bytes());
    let mut mark = [0; 8];
    mark.copy_from_slice(&hash.as_bytes()[..8]);
    mark
}
