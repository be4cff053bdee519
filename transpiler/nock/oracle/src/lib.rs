//! Nock from its rules, slowly: nouns are trees in an arena, numbers have no limit, and there is one function for each
//! operator. It shares no code with the compiler, nor with the heap.
//!
//! Evaluation keeps its own stack of what is to be done, so that deep formulas and long recursions need no more of the
//! host's.

use std::collections::HashSet;

use num_bigint::BigUint;

/// A noun: its number in an [`Arena`].
pub type Noun = u32;

#[derive(Clone, Debug)]
enum Node {
    Atom(BigUint),
    Cell(Noun, Noun),
}

/// Where nouns live. Nothing is given back.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    nodes: Vec<Node>,
}

/// How an evaluation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a product.
    Product(Noun),
    /// Without one.
    Crash,
    /// It was not at its end after the reductions that it was given.
    Unfinished,
}

/// What is still to be done. Values lie on a stack beside it.
enum Task {
    /// Evaluate a formula on a subject.
    Reduce(Noun, Noun),
    /// Evaluate a formula on the value on top, which is taken.
    On(Noun),
    /// Take formula and subject, the formula on top, and evaluate.
    Both,
    Pair,
    IsCell,
    Increment,
    Equal,
    /// Take a test, and evaluate the one or the other on the subject.
    Choose(Noun, Noun, Noun),
    /// Take a value, pair it with the subject, and evaluate the formula on that.
    Push(Noun, Noun),
    /// Take a core and evaluate its part at the axis on it.
    Arm(Noun),
    /// Take the new part and the target, and edit.
    Edit(Noun),
    Drop,
}

impl Arena {
    /// Nothing.
    pub fn new() -> Arena {
        Arena::default()
    }

    fn add(&mut self, node: Node) -> Noun {
        self.nodes.push(node);
        self.nodes.len() as Noun - 1
    }

    /// A number.
    pub fn atom(&mut self, number: BigUint) -> Noun {
        self.add(Node::Atom(number))
    }

    /// A pair.
    pub fn cell(&mut self, head: Noun, tail: Noun) -> Noun {
        self.add(Node::Cell(head, tail))
    }

    /// The number that a noun is.
    pub fn as_atom(&self, noun: Noun) -> Option<&BigUint> {
        match &self.nodes[noun as usize] {
            Node::Atom(number) => Some(number),
            Node::Cell(..) => None,
        }
    }

    /// The pair that a noun is.
    pub fn as_cell(&self, noun: Noun) -> Option<(Noun, Noun)> {
        match self.nodes[noun as usize] {
            Node::Cell(head, tail) => Some((head, tail)),
            Node::Atom(_) => None,
        }
    }

    /// `=[a b]`
    pub fn equal(&self, a: Noun, b: Noun) -> bool {
        let mut pairs = vec![(a, b)];
        let mut seen = HashSet::new();
        while let Some((a, b)) = pairs.pop() {
            if !seen.insert((a, b)) {
                continue;
            }
            match (&self.nodes[a as usize], &self.nodes[b as usize]) {
                _ if a == b => {}
                (Node::Atom(a), Node::Atom(b)) if a == b => {}
                (Node::Cell(a, c), Node::Cell(b, d)) => pairs.extend([(*c, *d), (*a, *b)]),
                _ => return false,
            }
        }
        true
    }

    /// `/[axis noun]`
    fn part(&self, axis: &BigUint, noun: Noun) -> Option<Noun> {
        let mut part = noun;
        for bit in (0..axis.bits().checked_sub(1)?).rev() {
            let (head, tail) = self.as_cell(part)?;
            part = if axis.bit(bit) { tail } else { head };
        }
        Some(part)
    }

    /// `#[axis new noun]`
    fn edit(&mut self, axis: &BigUint, new: Noun, noun: Noun) -> Option<Noun> {
        let mut way = Vec::new();
        let mut part = noun;
        for bit in (0..axis.bits().checked_sub(1)?).rev() {
            let (head, tail) = self.as_cell(part)?;
            way.push((axis.bit(bit), if axis.bit(bit) { head } else { tail }));
            part = if axis.bit(bit) { tail } else { head };
        }
        let mut result = new;
        for (is_tail, beside) in way.into_iter().rev() {
            result = if is_tail { self.cell(beside, result) } else { self.cell(result, beside) };
        }
        Some(result)
    }

    fn loobean(&mut self, is_yes: bool) -> Noun {
        self.atom(BigUint::from(u8::from(!is_yes)))
    }

    /// `*[subject formula]`, within so many reductions.
    pub fn nock(&mut self, subject: Noun, formula: Noun, reductions: u64) -> End {
        let mut tasks = vec![Task::Reduce(subject, formula)];
        let mut values: Vec<Noun> = Vec::new();
        let mut left = reductions;
        while let Some(task) = tasks.pop() {
            if matches!(task, Task::Reduce(..)) {
                if left == 0 {
                    return End::Unfinished;
                }
                left -= 1;
            }
            if self.step(task, &mut tasks, &mut values).is_none() {
                return End::Crash;
            }
        }
        values.pop().map_or(End::Crash, End::Product)
    }

    fn step(&mut self, task: Task, tasks: &mut Vec<Task>, values: &mut Vec<Noun>) -> Option<()> {
        match task {
            Task::Reduce(subject, formula) => return self.reduce(subject, formula, tasks, values),
            Task::On(formula) => tasks.push(Task::Reduce(values.pop()?, formula)),
            Task::Both => {
                let formula = values.pop()?;
                tasks.push(Task::Reduce(values.pop()?, formula));
            }
            Task::Pair => {
                let tail = values.pop()?;
                let head = values.pop()?;
                values.push(self.cell(head, tail));
            }
            Task::IsCell => {
                let is_cell = self.as_cell(values.pop()?).is_some();
                values.push(self.loobean(is_cell));
            }
            Task::Increment => {
                let next = self.as_atom(values.pop()?)? + 1u8;
                values.push(self.atom(next));
            }
            Task::Equal => {
                let (a, b) = (values.pop()?, values.pop()?);
                let equal = self.equal(a, b);
                values.push(self.loobean(equal));
            }
            Task::Choose(subject, yes, no) => {
                let test = self.as_atom(values.pop()?)?;
                if *test == BigUint::ZERO {
                    tasks.push(Task::Reduce(subject, yes));
                } else if *test == BigUint::from(1u8) {
                    tasks.push(Task::Reduce(subject, no));
                } else {
                    return None;
                }
            }
            Task::Push(subject, formula) => {
                let pushed = self.cell(values.pop()?, subject);
                tasks.push(Task::Reduce(pushed, formula));
            }
            Task::Arm(axis) => {
                let core = values.pop()?;
                let axis = self.as_atom(axis)?.clone();
                tasks.push(Task::Reduce(core, self.part(&axis, core)?));
            }
            Task::Edit(axis) => {
                let new = values.pop()?;
                let target = values.pop()?;
                let axis = self.as_atom(axis)?.clone();
                values.push(self.edit(&axis, new, target)?);
            }
            Task::Drop => {
                values.pop()?;
            }
        }
        Some(())
    }

    fn reduce(
        &mut self,
        subject: Noun,
        formula: Noun,
        tasks: &mut Vec<Task>,
        values: &mut Vec<Noun>,
    ) -> Option<()> {
        let (op, rest) = self.as_cell(formula)?;
        let Some(op) = self.as_atom(op) else {
            tasks.extend([Task::Pair, Task::Reduce(subject, rest), Task::Reduce(subject, op)]);
            return Some(());
        };
        match u8::try_from(op).ok()? {
            0 => {
                let axis = self.as_atom(rest)?.clone();
                values.push(self.part(&axis, subject)?);
            }
            1 => values.push(rest),
            2 => {
                let (f, g) = self.as_cell(rest)?;
                tasks.extend([Task::Both, Task::Reduce(subject, g), Task::Reduce(subject, f)]);
            }
            3 => tasks.extend([Task::IsCell, Task::Reduce(subject, rest)]),
            4 => tasks.extend([Task::Increment, Task::Reduce(subject, rest)]),
            5 => {
                let (f, g) = self.as_cell(rest)?;
                tasks.extend([Task::Equal, Task::Reduce(subject, g), Task::Reduce(subject, f)]);
            }
            6 => {
                let (test, ways) = self.as_cell(rest)?;
                let (yes, no) = self.as_cell(ways)?;
                tasks.extend([Task::Choose(subject, yes, no), Task::Reduce(subject, test)]);
            }
            7 => {
                let (f, g) = self.as_cell(rest)?;
                tasks.extend([Task::On(g), Task::Reduce(subject, f)]);
            }
            8 => {
                let (f, g) = self.as_cell(rest)?;
                tasks.extend([Task::Push(subject, g), Task::Reduce(subject, f)]);
            }
            9 => {
                let (axis, f) = self.as_cell(rest)?;
                self.as_atom(axis)?;
                tasks.extend([Task::Arm(axis), Task::Reduce(subject, f)]);
            }
            10 => {
                let (edit, target) = self.as_cell(rest)?;
                let (axis, new) = self.as_cell(edit)?;
                self.as_atom(axis)?;
                tasks.extend([Task::Edit(axis), Task::Reduce(subject, new), Task::Reduce(subject, target)]);
            }
            11 => {
                let (hint, body) = self.as_cell(rest)?;
                tasks.push(Task::Reduce(subject, body));
                if let Some((_, clue)) = self.as_cell(hint) {
                    tasks.extend([Task::Drop, Task::Reduce(subject, clue)]);
                }
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noun(arena: &mut Arena, parts: &[u64]) -> Noun {
        let atom = |arena: &mut Arena, number: u64| arena.atom(number.into());
        let last = atom(arena, parts[parts.len() - 1]);
        parts[..parts.len() - 1].iter().rev().fold(last, |tail, head| {
            let head = atom(arena, *head);
            arena.cell(head, tail)
        })
    }

    #[test]
    fn rules_hold() {
        let mut arena = Arena::new();
        let subject = noun(&mut arena, &[40, 41, 42]);
        for (formula, expected) in [
            (&[0, 7][..], Some(42)),
            (&[4, 0, 6], Some(42)),
            (&[3, 0, 3], Some(0)),
            (&[3, 0, 2], Some(1)),
            (&[0, 0], None),
            (&[0, 4], None),
            (&[4, 0, 1], None),
            (&[12, 0, 1], None),
        ] {
            let formula = noun(&mut arena, formula);
            let end = arena.nock(subject, formula, 100);
            match (end, expected) {
                (End::Product(product), Some(number)) => {
                    assert_eq!(arena.as_atom(product), Some(&BigUint::from(number as u64)));
                }
                (end, expected) => assert_eq!((end, expected), (End::Crash, None)),
            }
        }
    }
}
