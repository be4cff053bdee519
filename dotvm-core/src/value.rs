//! References outside of an instance: arguments, results, and what is left in globals.
//!
//! Inside, each tier keeps references in its own way. All values are immutable, so that there are no cycles. Dropping,
//! comparing and printing need no more of the host's stack for deep cells than for flat ones, and comparing takes a
//! time in proportion to the cells that there are, not to the tree that they unfold to.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use num_bigint::BigInt;

/// A reference: null, an unbounded integer, an immutable byte string, or a pair of references.
#[derive(Clone, Default)]
pub enum Ref {
    /// Null.
    #[default]
    Null,
    /// An integer.
    Int(BigInt),
    /// A byte string; slices share.
    Bytes(Bytes),
    /// A pair; shared.
    Cell(Cell),
}

impl Ref {
    /// A pair.
    pub fn cell(head: Ref, tail: Ref) -> Ref {
        Ref::Cell(Cell::new(head, tail))
    }

    /// The number that `RKIND` answers: 0 null, 1 integer, 2 bytes, 3 cell (4 is kept for handles).
    pub fn kind(&self) -> u64 {
        match self {
            Ref::Null => 0,
            Ref::Int(_) => 1,
            Ref::Bytes(_) => 2,
            Ref::Cell(_) => 3,
        }
    }

    /// The byte string, if it is one.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Ref::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a reference inside a cell: `null`, a decimal number (from 4096 bits on `int:0x…`), `0x` and the
    /// digits of a byte string, `[a b c]` for `[a [b c]]`. What is longer than about `limit` bytes ends in `…`.
    pub fn text(&self, limit: usize) -> String {
        let mut text = String::new();
        let mut tasks = vec![Task::Show(self, false)];
        while let Some(task) = tasks.pop() {
            if text.len() > limit {
                text.push('…');
                break;
            }
            match task {
                Task::Write(mark) => text.push(mark),
                Task::Show(Ref::Null, _) => text.push_str("null"),
                Task::Show(Ref::Int(number), _) if number.bits() < 4096 => {
                    let _ = write!(text, "{number}");
                }
                Task::Show(Ref::Int(number), _) => {
                    let _ = write!(text, "int:{number:#x}");
                }
                Task::Show(Ref::Bytes(bytes), _) => {
                    text.push_str("0x");
                    for byte in bytes.iter().take(limit) {
                        let _ = write!(text, "{byte:02x}");
                    }
                }
                Task::Show(Ref::Cell(cell), is_tail) => {
                    if !is_tail {
                        text.push('[');
                        tasks.push(Task::Write(']'));
                    }
                    tasks.push(Task::Show(cell.tail(), true));
                    tasks.push(Task::Write(' '));
                    tasks.push(Task::Show(cell.head(), false));
                }
            }
        }
        text
    }
}

/// What is still to be written.
enum Task<'a> {
    Write(char),
    /// A reference, and whether it is the tail of a cell whose bracket is open.
    Show(&'a Ref, bool),
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ref::Bytes(bytes) => bytes.fmt(f),
            other => f.write_str(&other.text(10_000)),
        }
    }
}

impl From<i64> for Ref {
    fn from(number: i64) -> Ref {
        Ref::Int(number.into())
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Ref) -> bool {
        let mut pairs = vec![(self, other)];
        let mut classes = Classes::default();
        while let Some(pair) = pairs.pop() {
            match pair {
                (Ref::Null, Ref::Null) => {}
                (Ref::Int(a), Ref::Int(b)) if a == b => {}
                (Ref::Bytes(a), Ref::Bytes(b)) if a == b => {}
                (Ref::Cell(a), Ref::Cell(b)) => {
                    if classes.join(a.address(), b.address()) {
                        pairs.push((a.tail(), b.tail()));
                        pairs.push((a.head(), b.head()));
                    }
                }
                _ => return false,
            }
        }
        true
    }
}

impl Eq for Ref {}

/// Cells that are found equal if nothing speaks against it: each pair is looked into once.
#[derive(Default)]
struct Classes(HashMap<usize, usize>);

impl Classes {
    fn find(&self, mut cell: usize) -> usize {
        while let Some(&next) = self.0.get(&cell) {
            cell = next;
        }
        cell
    }

    /// Puts two cells into one class; false if they are in one already.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (root_a, root_b) = (self.find(a), self.find(b));
        if root_a == root_b {
            return false;
        }
        self.0.insert(root_b, root_a);
        true
    }
}

/// A pair of references.
#[derive(Clone)]
pub struct Cell(Arc<Pair>);

struct Pair {
    head: Ref,
    tail: Ref,
}

impl Cell {
    /// A pair.
    pub fn new(head: Ref, tail: Ref) -> Cell {
        Cell(Arc::new(Pair { head, tail }))
    }

    /// The first of the pair.
    pub fn head(&self) -> &Ref {
        &self.0.head
    }

    /// The second of the pair.
    pub fn tail(&self) -> &Ref {
        &self.0.tail
    }

    /// Tells shared cells from equal ones, as long as they live.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl Drop for Cell {
    /// Takes apart what nobody else holds in a loop: left to itself, a long list would end in as many nested calls.
    fn drop(&mut self) {
        let mut pairs: Vec<Ref> = Vec::new();
        let dismantle = |cell: &mut Cell, pairs: &mut Vec<Ref>| {
            let Some(pair) = Arc::get_mut(&mut cell.0) else { return };
            for part in [&mut pair.head, &mut pair.tail] {
                if matches!(part, Ref::Cell(_)) {
                    pairs.push(std::mem::take(part));
                }
            }
        };
        dismantle(self, &mut pairs);
        while let Some(part) = pairs.pop() {
            if let Ref::Cell(mut cell) = part {
                dismantle(&mut cell, &mut pairs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(len: i64) -> Ref {
        (0..len).rev().fold(Ref::Null, |tail, number| Ref::cell(number.into(), tail))
    }

    #[test]
    fn deep_cells_are_compared_shown_and_dropped() {
        let (right, other) = (list(300_000), list(300_000));
        assert!(right == other && right != list(299_999));
        assert!(right.text(50).starts_with("[0 1 2 3 "));
        let left = (0..300_000).fold(Ref::Null, |head, number| Ref::cell(head, number.into()));
        assert!(left.text(50).starts_with("[[[["));
    }

    #[test]
    fn what_unfolds_to_more_than_the_world_holds_is_compared() {
        let double = |levels: u32| (0..levels).fold(Ref::from(1), |part, _| Ref::cell(part.clone(), part));
        assert!(double(200) == double(200));
        assert!(double(200) != double(199));
    }

    #[test]
    fn text_nests_to_the_right() {
        let bytes = Ref::Bytes(Bytes::from_static(b"\x00\xff"));
        let cell =
            Ref::cell(Ref::cell(1.into(), 2.into()), Ref::cell(bytes, Ref::cell((-3).into(), Ref::Null)));
        assert_eq!(cell.text(100), "[[1 2] 0x00ff -3 null]");
    }
}
