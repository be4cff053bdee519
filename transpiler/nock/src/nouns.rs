//! The nouns that the compiler has seen, each once: equal nouns have equal numbers.

use dotvm_heap::{Heap, Integer, Kind, Reference};
use hashbrown::HashMap;
use num_bigint::BigInt;

/// The number of a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub u32);

/// A noun that is no cell, or a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// An atom of at most 64 bits.
    Small(u64),
    /// A greater atom.
    Large,
    Cell(Id, Id),
}

/// The nouns. They are kept in the heap of an instance, with a count for each.
#[derive(Debug, Default)]
pub(crate) struct Nouns {
    nodes: Vec<(Node, Reference)>,
    small: HashMap<u64, Id>,
    large: HashMap<BigInt, Id>,
    cells: HashMap<(Id, Id), Id>,
    /// The numbers of the very cells that are kept.
    kept: HashMap<u64, Id>,
}

impl Nouns {
    /// The number of a noun of the heap, or `None` if it is none.
    pub fn intern(&mut self, heap: &mut Heap, noun: &Reference) -> Option<Id> {
        enum Task {
            Visit(Reference),
            Join(Reference),
        }
        // Cells of this noun that are equal to others that are kept.
        let mut seen: HashMap<u64, Id> = HashMap::new();
        let mut tasks = vec![Task::Visit(noun.alias())];
        let mut done: Vec<Id> = Vec::new();
        while let Some(task) = tasks.pop() {
            let id = match task {
                Task::Visit(part) if part.is_cell() => {
                    let identity = part.identity();
                    match self.kept.get(&identity).or_else(|| seen.get(&identity)) {
                        Some(id) => *id,
                        None => {
                            let (head, tail) = (heap.head(&part)?.alias(), heap.tail(&part)?.alias());
                            tasks.extend([Task::Join(part), Task::Visit(tail), Task::Visit(head)]);
                            continue;
                        }
                    }
                }
                Task::Visit(part) => self.atom(heap, &part)?,
                Task::Join(part) => {
                    let tail = done.pop()?;
                    let head = done.pop()?;
                    match self.cells.get(&(head, tail)) {
                        Some(id) => {
                            seen.insert(part.identity(), *id);
                            *id
                        }
                        None => {
                            let id = self.add(Node::Cell(head, tail), heap.share(&part));
                            self.cells.insert((head, tail), id);
                            self.kept.insert(part.identity(), id);
                            id
                        }
                    }
                }
            };
            done.push(id);
        }
        done.pop()
    }

    fn atom(&mut self, heap: &mut Heap, atom: &Reference) -> Option<Id> {
        if atom.kind() != Kind::Integer {
            return None;
        }
        let large = match heap.as_integer(atom)? {
            Integer::Small(number) => return Some(self.small(heap, u64::try_from(number).ok()?)),
            Integer::Large(number) => number.clone(),
        };
        if large.sign() == num_bigint::Sign::Minus {
            return None;
        }
        if let Some(id) = self.large.get(&large) {
            return Some(*id);
        }
        let node = u64::try_from(&large).map_or(Node::Large, Node::Small);
        let id = self.add(node, heap.share(atom));
        self.large.insert(large, id);
        Some(id)
    }

    /// The number of a small atom.
    pub fn small(&mut self, heap: &mut Heap, number: u64) -> Id {
        if let Some(id) = self.small.get(&number) {
            return *id;
        }
        let reference = heap.integer(number.into()).unwrap_or_default();
        let id = self.add(Node::Small(number), reference);
        self.small.insert(number, id);
        id
    }

    fn add(&mut self, node: Node, reference: Reference) -> Id {
        self.nodes.push((node, reference));
        Id(self.nodes.len() as u32 - 1)
    }

    pub fn node(&self, id: Id) -> Node {
        self.nodes[id.0 as usize].0
    }

    pub fn cell(&self, id: Id) -> Option<(Id, Id)> {
        match self.node(id) {
            Node::Cell(head, tail) => Some((head, tail)),
            _ => None,
        }
    }

    pub fn number(&self, id: Id) -> Option<u64> {
        match self.node(id) {
            Node::Small(number) => Some(number),
            _ => None,
        }
    }

    /// The noun in the heap; its count is the compiler's.
    pub fn reference(&self, id: Id) -> &Reference {
        &self.nodes[id.0 as usize].1
    }
}
