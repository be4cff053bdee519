//! Index entries as rows.

use crate::eval;
use crate::index::{IndexPath, IndexSpec};
use crate::query::Expr;
use crate::value::{Malformed, Value, ValueRef};

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
