//! The managed heap against trees: bytes are read as operations on both, which must answer alike, and what the heap
//! counts must be exactly what the trees that are still held have.
//!
//! A fuzzer chooses the bytes.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use dotvm_core::limits::heap as size;
use dotvm_core::outcome::Ref;
use dotvm_heap::{Axis, EditError, Failure, Heap, NounError, Reference};
use num_bigint::{BigInt, Sign};

/// Registers, each a reference of the heap and its tree.
const REGISTERS: usize = 12;

/// A tree. What is shared is the same `Rc`.
#[derive(Clone, Default)]
enum Tree {
    #[default]
    Null,
    Int(Rc<BigInt>),
    Bytes(Rc<Part>),
    Cell(Rc<Node>),
}

struct Part {
    bytes: Vec<u8>,
    /// What it is a slice of.
    whole: Option<Rc<Part>>,
}

struct Node {
    head: Tree,
    tail: Tree,
}

impl Drop for Node {
    /// In a loop: lists become long.
    fn drop(&mut self) {
        let mut rest = vec![std::mem::take(&mut self.head), std::mem::take(&mut self.tail)];
        while let Some(tree) = rest.pop() {
            if let Tree::Cell(mut node) = tree
                && let Some(node) = Rc::get_mut(&mut node)
            {
                rest.extend([std::mem::take(&mut node.head), std::mem::take(&mut node.tail)]);
            }
        }
    }
}

impl Tree {
    fn cell(head: Tree, tail: Tree) -> Tree {
        Tree::Cell(Rc::new(Node { head, tail }))
    }

    /// What it counts without what it leads to.
    fn size(&self) -> u64 {
        match self {
            Tree::Null => 0,
            Tree::Int(number) => Heap::size_of_integer(number),
            Tree::Bytes(part) if part.whole.is_some() => size::OBJECT,
            Tree::Bytes(part) => size::OBJECT + part.bytes.len() as u64,
            Tree::Cell(_) => size::CELL,
        }
    }

    /// The reference outside; only of trees that are small when unfolded.
    fn to_ref(&self) -> Ref {
        match self {
            Tree::Null => Ref::Null,
            Tree::Int(number) => Ref::Int((**number).clone()),
            Tree::Bytes(part) => Ref::Bytes(part.bytes.clone().into()),
            Tree::Cell(node) => Ref::cell(node.head.to_ref(), node.tail.to_ref()),
        }
    }

    /// Leaves and cells when unfolded, up to a few hundred.
    fn unfolded(&self) -> usize {
        let (mut count, mut rest) = (0, vec![self]);
        while let Some(tree) = rest.pop() {
            count += 1;
            if count > 300 {
                break;
            }
            if let Tree::Cell(node) = tree {
                rest.extend([&node.head, &node.tail]);
            }
        }
        count
    }

    /// Order of trees that are small when unfolded.
    fn cmp(&self, other: &Tree) -> Ordering {
        let kind = |tree: &Tree| match tree {
            Tree::Null => 0,
            Tree::Int(_) => 1,
            Tree::Bytes(_) => 2,
            Tree::Cell(_) => 3,
        };
        match (self, other) {
            (Tree::Int(a), Tree::Int(b)) => a.cmp(b),
            (Tree::Bytes(a), Tree::Bytes(b)) => a.bytes.cmp(&b.bytes),
            (Tree::Cell(a), Tree::Cell(b)) => a.head.cmp(&b.head).then_with(|| a.tail.cmp(&b.tail)),
            (a, b) => kind(a).cmp(&kind(b)),
        }
    }

    /// The mug of a noun that is small when unfolded.
    fn mug(&self) -> Option<u32> {
        match self {
            Tree::Int(number) if number.sign() == Sign::NoSign => Some(dotvm_heap::mug_of_bytes(&[])),
            Tree::Int(number) if number.sign() == Sign::Plus => {
                Some(dotvm_heap::mug_of_bytes(&number.magnitude().to_bytes_le()))
            }
            Tree::Cell(node) => Some(dotvm_heap::mug_of_cell(node.head.mug()?, node.tail.mug()?)),
            _ => None,
        }
    }
}

struct Model {
    heap: Heap,
    limit: u64,
    registers: [(Reference, Tree); REGISTERS],
    /// Whether the heap shares exactly what the trees share: not any more once a comparison has made it share more.
    is_exact: bool,
}

impl Model {
    /// Cells, objects and bytes that the registers lead to.
    fn live(&self) -> (u64, u64, u64) {
        let mut seen: HashSet<*const ()> = HashSet::new();
        let (mut cells, mut objects, mut bytes) = (0, 0, 0);
        let mut rest: Vec<&Tree> = self.registers.iter().map(|(_, tree)| tree).collect();
        let mut wholes: Vec<Tree> = Vec::new();
        while let Some(tree) = rest.pop() {
            let address: *const () = match tree {
                Tree::Null => continue,
                Tree::Int(number) => Rc::as_ptr(number).cast(),
                Tree::Bytes(part) => Rc::as_ptr(part).cast(),
                Tree::Cell(node) => Rc::as_ptr(node).cast(),
            };
            if !seen.insert(address) {
                continue;
            }
            bytes += tree.size();
            match tree {
                Tree::Cell(node) => {
                    cells += 1;
                    rest.extend([&node.head, &node.tail]);
                }
                Tree::Bytes(part) => {
                    objects += 1;
                    wholes.extend(part.whole.clone().map(Tree::Bytes));
                }
                _ => objects += u64::from(tree.size() > 0),
            }
        }
        // A whole is no slice.
        for whole in &wholes {
            let Tree::Bytes(part) = whole else { continue };
            if seen.insert(Rc::as_ptr(part).cast()) {
                objects += 1;
                bytes += whole.size();
            }
        }
        (cells, objects, bytes)
    }

    fn check(&mut self) {
        let (cells, objects, bytes) = self.live();
        let census = self.heap.census();
        if self.is_exact {
            assert_eq!(census, (cells, objects, bytes));
        } else {
            assert!(census.0 <= cells && census.1 <= objects && census.2 <= bytes, "{census:?}");
        }
    }

    /// Puts what an operation gave into a register. It must have failed exactly if there was no room.
    fn put(&mut self, at: usize, made: Result<Reference, Failure>, tree: Tree, bytes: u64) {
        let fits = self.live().2 + bytes <= self.limit;
        match made {
            Ok(reference) => {
                assert!(fits || !self.is_exact);
                let old = std::mem::replace(&mut self.registers[at].0, reference);
                self.heap.release(old);
                self.registers[at].1 = tree;
            }
            Err(failure) => assert!(failure == Failure::Full && !fits),
        }
    }

    fn step(&mut self, op: u8, a: usize, b: usize, c: usize, operand: u8) {
        let free = |_: u64| Ok::<(), Infallible>(());
        match op % 15 {
            0 => {
                self.heap.clear(&mut self.registers[a].0);
                self.registers[a].1 = Tree::Null;
            }
            1 => {
                let copy = self.heap.share(&self.registers[a].0);
                let tree = self.registers[a].1.clone();
                let old = std::mem::replace(&mut self.registers[b].0, copy);
                self.heap.release(old);
                self.registers[b].1 = tree;
            }
            2 => {
                let mut head = self.heap.share(&self.registers[a].0);
                let mut tail = self.heap.share(&self.registers[b].0);
                let made = self.heap.cons(&mut head, &mut tail);
                self.heap.release(head);
                self.heap.release(tail);
                let tree = Tree::cell(self.registers[a].1.clone(), self.registers[b].1.clone());
                self.put(c, made, tree, size::CELL);
            }
            3 => {
                let axis = u64::from(operand).max(1);
                let part = self.heap.part(&self.registers[a].0, Axis::Short(axis)).map(Reference::alias);
                let mut tree = Some(self.registers[a].1.clone());
                for step in (0..axis.ilog2()).rev() {
                    tree = match tree {
                        Some(Tree::Cell(node)) if axis >> step & 1 == 0 => Some(node.head.clone()),
                        Some(Tree::Cell(node)) => Some(node.tail.clone()),
                        _ => None,
                    };
                }
                assert_eq!(part.is_some(), tree.is_some());
                if let (Some(part), Some(tree)) = (part, tree) {
                    let part = self.heap.share(&part);
                    self.put(b, Ok(part), tree, 0);
                }
            }
            4 => {
                let axis = u64::from(operand).max(1);
                let edited = self.heap.edit(&self.registers[a].0, Axis::Short(axis), &self.registers[b].0);
                let mut beside = Vec::new();
                let mut tree = Some(self.registers[a].1.clone());
                for step in (0..axis.ilog2()).rev() {
                    tree = match tree {
                        Some(Tree::Cell(node)) if axis >> step & 1 == 0 => {
                            beside.push((false, node.tail.clone()));
                            Some(node.head.clone())
                        }
                        Some(Tree::Cell(node)) => {
                            beside.push((true, node.head.clone()));
                            Some(node.tail.clone())
                        }
                        _ => None,
                    };
                }
                let made = match (edited, tree.is_some()) {
                    (Err(EditError::NoCell), false) => return,
                    (Ok(edited), true) => Ok(edited),
                    (Err(EditError::Failure(failure)), true) => Err(failure),
                    (edited, _) => panic!("{edited:?}"),
                };
                let bytes = size::CELL * beside.len() as u64;
                let new = self.registers[b].1.clone();
                let tree = beside.into_iter().rev().fold(new, |made, (is_tail, other)| {
                    if is_tail { Tree::cell(other, made) } else { Tree::cell(made, other) }
                });
                self.put(c, made, tree, bytes);
            }
            5 | 6 => {
                let number = match op % 3 {
                    0 => BigInt::from(operand as i8),
                    1 => (BigInt::from(1) << (operand % 140)) - 1u32,
                    _ => BigInt::from(-1) << (operand % 140),
                };
                let made = self.heap.integer(number.clone());
                let tree = Tree::Int(Rc::new(number));
                let bytes = tree.size();
                self.put(a, made, tree, bytes);
            }
            7 => {
                let bytes = vec![operand; usize::from(operand % 40)];
                let made = self.heap.bytes(Bytes::from(bytes.clone()));
                let tree = Tree::Bytes(Rc::new(Part { bytes, whole: None }));
                let bytes = tree.size();
                self.put(a, made, tree, bytes);
            }
            8 => {
                let (from, to) = (usize::from(operand % 8), usize::from(operand / 8));
                let made = if from <= to { self.heap.slice(&self.registers[a].0, from..to) } else { None };
                if let (Some(made), Tree::Bytes(part)) = (made, self.registers[a].1.clone()) {
                    let whole = part.whole.clone().unwrap_or_else(|| part.clone());
                    let bytes = part.bytes[from..to].to_vec();
                    let tree = Tree::Bytes(Rc::new(Part { bytes, whole: Some(whole) }));
                    self.put(b, made, tree, size::OBJECT);
                }
            }
            9 => {
                let Ok(order) = self.heap.compare(&self.registers[a].0, &self.registers[b].0, free);
                let (left, right) = (&self.registers[a].1, &self.registers[b].1);
                if left.unfolded() < 300 && right.unfolded() < 300 {
                    assert_eq!(order, left.cmp(right));
                }
                self.is_exact &= order != Ordering::Equal || a == b;
            }
            10 => {
                let mug = self.heap.mug(&self.registers[a].0, free);
                if self.registers[a].1.unfolded() < 300 {
                    assert_eq!(mug.ok(), self.registers[a].1.mug());
                }
            }
            11 => {
                let Ok(bytes) = self.heap.jam(&self.registers[a].0, free) else { return };
                match self.heap.cue(&bytes, free) {
                    Ok(noun) => {
                        let Ok(order) = self.heap.compare(&noun, &self.registers[a].0, free);
                        assert_eq!(order, Ordering::Equal);
                        self.is_exact = false;
                        self.heap.release(noun);
                    }
                    Err(error) => assert_eq!(error, NounError::Failure(Failure::Full)),
                }
            }
            12 => {
                // A long list, and its end.
                let mut list = Reference::NULL;
                for _ in 0..usize::from(operand) * 16 {
                    let mut head = Reference::NULL;
                    match self.heap.cons(&mut head, &mut list) {
                        Ok(longer) => list = longer,
                        Err(failure) => {
                            assert_eq!(failure, Failure::Full);
                            break;
                        }
                    }
                }
                self.heap.release(list);
            }
            13 => {
                if self.registers[a].1.unfolded() < 300 {
                    assert_eq!(self.heap.export(&self.registers[a].0), self.registers[a].1.to_ref());
                }
            }
            _ => self.check(),
        }
    }
}

/// Does what the bytes say.
///
/// # Panics
/// If the heap and the trees disagree.
pub fn run(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let limit = if first % 2 == 0 { u64::from(first) * 8 } else { 1 << 20 };
    let mut model = Model { heap: Heap::new(limit), limit, registers: Default::default(), is_exact: true };
    for step in rest.chunks_exact(5) {
        let register = |byte: u8| usize::from(byte) % REGISTERS;
        model.step(step[0], register(step[1]), register(step[2]), register(step[3]), step[4]);
    }
    model.check();
    for (reference, _) in std::mem::take(&mut model.registers) {
        model.heap.release(reference);
    }
    assert_eq!(model.heap.census(), (0, 0, 0), "something is left");
}
