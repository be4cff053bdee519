//! References: trees of counted nodes, and what of them is reachable.

use std::cell::{Cell as Slot, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use bytes::Bytes;
use dotvm_core::limits::heap as size;
use dotvm_core::outcome::Ref;
use num_bigint::BigInt;

/// A reference.
#[derive(Clone, Default)]
pub enum Value {
    #[default]
    Null,
    Int(Rc<Number>),
    Bytes(Rc<Text>),
    Cell(Rc<Node>),
}

/// An integer.
pub struct Number {
    pub value: BigInt,
    is_constant: bool,
}

/// A byte string.
pub struct Text {
    pub bytes: Bytes,
    /// What it is a part of.
    pub whole: Option<Rc<Text>>,
    is_constant: bool,
}

/// A cell. What it holds changes only for something equal.
pub struct Node {
    pub parts: RefCell<[Value; 2]>,
    /// Its mug, once that is known.
    pub mug: Slot<Option<u32>>,
}

impl Drop for Node {
    /// In a loop, so that a long list does not end in as many nested calls.
    fn drop(&mut self) {
        let mut rest = vec![std::mem::take(self.parts.get_mut())];
        while let Some(parts) = rest.pop() {
            for part in parts {
                if let Value::Cell(mut node) = part
                    && let Some(node) = Rc::get_mut(&mut node)
                {
                    rest.push(std::mem::take(node.parts.get_mut()));
                }
            }
        }
    }
}

impl Value {
    pub fn bytes(bytes: Bytes) -> Value {
        Value::Bytes(Rc::new(Text { bytes, whole: None, is_constant: false }))
    }

    /// A part of a byte string.
    pub fn slice(of: &Rc<Text>, bytes: Bytes) -> Value {
        let whole = of.whole.as_ref().unwrap_or(of);
        Value::Bytes(Rc::new(Text { bytes, whole: Some(whole.clone()), is_constant: false }))
    }

    pub fn constant_bytes(bytes: Bytes) -> Value {
        Value::Bytes(Rc::new(Text { bytes, whole: None, is_constant: true }))
    }

    pub fn int(value: impl Into<BigInt>) -> Value {
        Value::Int(Rc::new(Number { value: value.into(), is_constant: false }))
    }

    pub fn constant_int(value: BigInt) -> Value {
        Value::Int(Rc::new(Number { value, is_constant: true }))
    }

    pub fn cell(head: Value, tail: Value) -> Value {
        Value::Cell(Rc::new(Node { parts: RefCell::new([head, tail]), mug: Slot::new(None) }))
    }

    /// What RKIND answers.
    pub fn kind(&self) -> u32 {
        match self {
            Value::Null => 0,
            Value::Int(_) => 1,
            Value::Bytes(_) => 2,
            Value::Cell(_) => 3,
        }
    }

    /// What it counts itself, without what it leads to.
    pub fn size(&self) -> u64 {
        match self {
            Value::Null => 0,
            Value::Int(number) => size_of_number(number),
            Value::Bytes(text) => size_of_text(text),
            Value::Cell(_) => size::CELL,
        }
    }

    /// Brings a reference in; shared cells stay shared.
    pub fn of(reference: &Ref) -> Value {
        let mut known: HashMap<usize, Value> = HashMap::new();
        let mut done: Vec<Value> = Vec::new();
        let mut tasks = vec![(reference, false)];
        while let Some((reference, has_parts)) = tasks.pop() {
            let value = match reference {
                Ref::Null => Value::Null,
                Ref::Int(number) => Value::int(number.clone()),
                Ref::Bytes(bytes) => Value::bytes(bytes.clone()),
                Ref::Cell(cell) if has_parts => {
                    let tail = done.pop().unwrap_or_default();
                    let value = Value::cell(done.pop().unwrap_or_default(), tail);
                    known.insert(cell.address(), value.clone());
                    value
                }
                Ref::Cell(cell) => match known.get(&cell.address()) {
                    Some(value) => value.clone(),
                    None => {
                        tasks.extend([(reference, true), (cell.tail(), false), (cell.head(), false)]);
                        continue;
                    }
                },
            };
            done.push(value);
        }
        done.pop().unwrap_or_default()
    }

    /// The reference as it is outside; shared cells stay shared.
    pub fn to_ref(&self) -> Ref {
        let mut known: HashMap<*const Node, Ref> = HashMap::new();
        let mut done: Vec<Ref> = Vec::new();
        let mut tasks = vec![(self.clone(), false)];
        while let Some((value, has_parts)) = tasks.pop() {
            let reference = match &value {
                Value::Null => Ref::Null,
                Value::Int(number) => Ref::Int(number.value.clone()),
                Value::Bytes(text) => Ref::Bytes(text.bytes.clone()),
                Value::Cell(node) if has_parts => {
                    let tail = done.pop().unwrap_or_default();
                    let reference = Ref::cell(done.pop().unwrap_or_default(), tail);
                    known.insert(Rc::as_ptr(node), reference.clone());
                    reference
                }
                Value::Cell(node) => match known.get(&Rc::as_ptr(node)) {
                    Some(reference) => reference.clone(),
                    None => {
                        let [head, tail] = node.parts.borrow().clone();
                        tasks.extend([(value, true), (tail, false), (head, false)]);
                        continue;
                    }
                },
            };
            done.push(reference);
        }
        done.pop().unwrap_or_default()
    }
}

fn size_of_number(number: &Number) -> u64 {
    let is_small = i64::try_from(&number.value)
        .is_ok_and(|number| (size::LEAST_SMALL..=size::GREATEST_SMALL).contains(&number));
    if is_small || number.is_constant { 0 } else { size::OBJECT + 8 * number.value.bits().div_ceil(64) }
}

fn size_of_text(text: &Text) -> u64 {
    match text {
        Text { is_constant: true, whole: None, .. } => 0,
        Text { whole: Some(_), .. } => size::OBJECT,
        Text { bytes, .. } => size::OBJECT + bytes.len() as u64,
    }
}

/// What is reachable from some references, everything counted once.
pub fn reachable<'a>(roots: impl Iterator<Item = &'a Value>) -> u64 {
    let mut seen: HashSet<*const ()> = HashSet::new();
    let mut total = 0;
    let mut rest: Vec<Value> = roots.cloned().collect();
    while let Some(value) = rest.pop() {
        let (address, parts) = match &value {
            Value::Null => continue,
            Value::Int(number) => (Rc::as_ptr(number).cast(), Vec::new()),
            Value::Bytes(text) => {
                let whole = text.whole.clone().map(Value::Bytes);
                (Rc::as_ptr(text).cast(), whole.into_iter().collect())
            }
            Value::Cell(node) => (Rc::as_ptr(node).cast(), node.parts.borrow().to_vec()),
        };
        if seen.insert(address) {
            total += value.size();
            rest.extend(parts);
        }
    }
    total
}
