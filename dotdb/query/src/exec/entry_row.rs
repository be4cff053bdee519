//! Index entries as rows.

use crate::eval;
use crate::index::{IndexPath, IndexSpec};
use crate::plan::Plan;
use crate::query::Expr;
use crate::value::{Malformed, Value, ValueRef};

/// Where a row of an index has what is shown.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    Key,
    Column(usize),
}

/// Where rows of an index have the columns of the result, in the order of the resulting document; `None` if they do not
/// have one of them.
pub(super) fn shown(plan: &Plan, spec: &IndexSpec) -> Option<Vec<Shown>> {
    let columns = plan.bound.prepared.query().columns.as_deref()?;
    let shown = |(position, _): &(usize, Vec<u8>)| match &columns.get(*position)?.expr {
        Expr::Key => Some(Shown::Key),
        Expr::Path(path) => {
            let is_it = |column: &IndexPath| matches!(column, IndexPath::Value(known) if known == path);
            spec.columns().iter().position(is_it).map(Shown::Column)
        }
        _ => None,
    };
    plan.bound.prepared.names().iter().map(shown).collect()
}

/// An index entry as a row: of its columns and the key.
pub(super) struct EntryRow<'e> {
    pub(super) spec: &'e IndexSpec,
    pub(super) values: &'e [Value],
    pub(super) key: &'e [u8],
}

impl eval::Row for EntryRow<'_> {
    fn value<'a>(&'a self, expr: &'a Expr) -> Result<ValueRef<'a>, Malformed> {
        match expr {
            Expr::Key => Ok(ValueRef::Bytes(self.key)),
            Expr::Literal(value) => Ok(value.as_ref()),
            Expr::Path(path) => {
                let is_it = |column: &IndexPath| matches!(column, IndexPath::Value(known) if known == path);
                let column = self.spec.columns().iter().position(is_it).ok_or(Malformed)?;
                Ok(self.values.get(column).ok_or(Malformed)?.as_ref())
            }
            Expr::Elements { .. } | Expr::Parameter(_) | Expr::Aggregate(..) => Err(Malformed),
        }
    }
}
