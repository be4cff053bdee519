//! Cells and nouns, rows 0xC0 to 0xCF, and lists.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use dotvm_core::gas;
use dotvm_core::limits::{MAX_BYTES_LEN, MAX_INTEGER_BITS, heap as size};
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::machine::{Fault, Machine};
use crate::value::{Node, Value};

type Address = *const Node;

/// 64-bit limbs of an absolute value, at least 1.
pub fn limbs(number: &BigInt) -> u64 {
    number.bits().div_ceil(64).max(1)
}

/// The parts of a cell.
fn parts(value: &Value) -> Result<[Value; 2], Fault> {
    match value {
        Value::Cell(node) => Ok(node.parts.borrow().clone()),
        _ => Err(TrapKind::Kind.into()),
    }
}

/// Steps from the whole to the part at an axis, false for the head, the first step first.
fn path(axis: &BigUint) -> Vec<bool> {
    (0..axis.bits() - 1).rev().map(|bit| axis.bit(bit)).collect()
}

impl Machine<'_> {
    /// CONS.
    pub fn cons(&mut self) -> Result<(), Fault> {
        let (tail, head) = (self.pop_ref(), self.pop_ref());
        self.push_new(Value::cell(head, tail))
    }

    /// HEAD (0) and TAIL (1).
    pub fn part(&mut self, which: usize) -> Result<(), Fault> {
        let [head, tail] = parts(&self.pop_ref())?;
        self.push_ref(if which == 0 { head } else { tail });
        Ok(())
    }

    /// An axis off the stack.
    fn pop_axis(&mut self) -> Result<BigUint, Fault> {
        let Value::Int(axis) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        if !axis.value.is_positive() {
            return Err(TrapKind::Range.into());
        }
        Ok(axis.value.magnitude().clone())
    }

    /// AXIS.
    pub fn axis(&mut self, axis: u64) -> Result<(), Fault> {
        let whole = self.pop_ref();
        self.axis_of(&axis.into(), whole)
    }

    /// AXISD.
    pub fn computed_axis(&mut self) -> Result<(), Fault> {
        let whole = self.pop_ref();
        let axis = self.pop_axis()?;
        self.axis_of(&axis, whole)
    }

    fn axis_of(&mut self, axis: &BigUint, whole: Value) -> Result<(), Fault> {
        self.charge(axis.bits() - 1)?;
        let mut part = whole;
        for is_tail in path(axis) {
            let [head, tail] = parts(&part)?;
            part = if is_tail { tail } else { head };
        }
        self.push_ref(part);
        Ok(())
    }

    /// EDIT.
    pub fn edit(&mut self, axis: u64) -> Result<(), Fault> {
        let (whole, new) = (self.pop_ref(), self.pop_ref());
        self.edit_of(&axis.into(), whole, new)
    }

    /// EDITD.
    pub fn computed_edit(&mut self) -> Result<(), Fault> {
        let (whole, new) = (self.pop_ref(), self.pop_ref());
        let axis = self.pop_axis()?;
        self.edit_of(&axis, whole, new)
    }

    fn edit_of(&mut self, axis: &BigUint, whole: Value, new: Value) -> Result<(), Fault> {
        let path = path(axis);
        self.charge(gas::NODE * path.len() as u64)?;
        let mut beside = Vec::new();
        let mut part = whole;
        for &is_tail in &path {
            let [head, tail] = parts(&part)?;
            let (on, off) = if is_tail { (tail, head) } else { (head, tail) };
            part = on;
            beside.push((is_tail, off));
        }
        self.room(size::CELL * path.len() as u64)?;
        let result = beside.into_iter().rev().fold(new, |made, (is_tail, off)| {
            if is_tail { Value::cell(off, made) } else { Value::cell(made, off) }
        });
        self.push_ref(result);
        Ok(())
    }

    /// ISCELL.
    pub fn is_cell(&mut self) {
        let is_cell = matches!(self.pop_ref(), Value::Cell(_));
        self.push(u32::from(is_cell));
    }

    /// RINC.
    pub fn increment(&mut self) -> Result<(), Fault> {
        let Value::Int(number) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        self.charge(gas::copy(8 * limbs(&number.value)))?;
        let next: BigInt = &number.value + 1;
        if next.bits() > MAX_INTEGER_BITS {
            return Err(TrapKind::Size.into());
        }
        self.push_new(Value::int(next))
    }

    /// REQ.
    pub fn equal(&mut self) -> Result<(), Fault> {
        let order = self.order()?;
        self.push(u32::from(order == Ordering::Equal));
        Ok(())
    }

    /// RCMP.
    pub fn compare(&mut self) -> Result<(), Fault> {
        let order = self.order()? as i8;
        self.push(crate::arithmetic::wrap(&order.into(), self.bits));
        Ok(())
    }

    /// Compares the two references on top; what is equal shares its parts then.
    fn order(&mut self) -> Result<Ordering, Fault> {
        let (b, a) = (self.pop_ref(), self.pop_ref());
        // For a cell the one that stands for its class, which may itself have been put into another since.
        let mut classes: HashMap<Address, Rc<Node>> = HashMap::new();
        let find = |classes: &HashMap<Address, Rc<Node>>, node: &Rc<Node>| {
            let mut node = node.clone();
            while let Some(next) = classes.get(&Rc::as_ptr(&node)) {
                node = next.clone();
            }
            node
        };
        let mut joined: Vec<Rc<Node>> = Vec::new();
        let mut pairs = vec![(a, b)];
        while let Some((a, b)) = pairs.pop() {
            let order = match (&a, &b) {
                (Value::Cell(a), Value::Cell(b)) => {
                    let (root_a, root_b) = (find(&classes, a), find(&classes, b));
                    if Rc::ptr_eq(&root_a, &root_b) {
                        continue;
                    }
                    self.charge(gas::PAIR)?;
                    classes.insert(Rc::as_ptr(&root_b), root_a);
                    joined.push(root_b);
                    let ([head_a, tail_a], [head_b, tail_b]) =
                        (a.parts.borrow().clone(), b.parts.borrow().clone());
                    pairs.push((tail_a, tail_b));
                    pairs.push((head_a, head_b));
                    continue;
                }
                (Value::Int(a), Value::Int(b)) => {
                    self.charge(gas::copy(8 * limbs(&a.value).min(limbs(&b.value))))?;
                    a.value.cmp(&b.value)
                }
                (Value::Bytes(a), Value::Bytes(b)) => {
                    self.charge(gas::copy(a.bytes.len().min(b.bytes.len()) as u64))?;
                    a.bytes.cmp(&b.bytes)
                }
                (a, b) => a.kind().cmp(&b.kind()),
            };
            if order != Ordering::Equal {
                return Ok(order);
            }
        }
        for node in joined {
            let parts = find(&classes, &node).parts.borrow().clone();
            node.parts.replace(parts);
        }
        Ok(Ordering::Equal)
    }

    /// Looks at every cell of a noun that `is_known` does not answer for, parts first; a leaf must be a natural number.
    fn walk(
        &mut self,
        noun: &Value,
        is_known: impl Fn(&Node) -> bool,
        mut visit: impl FnMut(&Value),
    ) -> Result<(), Fault> {
        let mut seen: HashSet<Address> = HashSet::new();
        let mut tasks = vec![(noun.clone(), false)];
        while let Some((value, is_done)) = tasks.pop() {
            match &value {
                Value::Cell(_) if is_done => visit(&value),
                Value::Cell(node) => {
                    if !is_known(node) && seen.insert(Rc::as_ptr(node)) {
                        self.charge(gas::NODE)?;
                        let [head, tail] = node.parts.borrow().clone();
                        tasks.extend([(value.clone(), true), (tail, false), (head, false)]);
                    }
                }
                Value::Int(number) if !number.value.is_negative() => {
                    self.charge(limbs(&number.value))?;
                    visit(&value);
                }
                _ => return Err(TrapKind::Kind.into()),
            }
        }
        Ok(())
    }

    /// MUG.
    pub fn mug(&mut self) -> Result<(), Fault> {
        let noun = self.pop_ref();
        let mut cells = Vec::new();
        self.walk(&noun, |node| node.mug.get().is_some(), |value| cells.push(value.clone()))?;
        for value in cells {
            if let Value::Cell(node) = &value {
                let [head, tail] = node.parts.borrow().clone();
                let both = (BigUint::from(mug_of(&tail)) << 32) + mug_of(&head);
                node.mug.set(Some(fold(0xDEAD_BEEF, 0xFFFE, &both)));
            }
        }
        self.push(mug_of(&noun));
        Ok(())
    }

    /// JAM.
    pub fn jam(&mut self) -> Result<(), Fault> {
        let noun = self.pop_ref();
        // Equal values have equal numbers.
        let mut atoms: HashMap<BigInt, usize> = HashMap::new();
        let mut pairs: HashMap<(usize, usize), usize> = HashMap::new();
        let mut of_cell: HashMap<Address, usize> = HashMap::new();
        self.walk(
            &noun,
            |_| false,
            |value| {
                let next = atoms.len() + pairs.len();
                match value {
                    Value::Int(number) => {
                        atoms.entry(number.value.clone()).or_insert(next);
                    }
                    Value::Cell(node) => {
                        let [head, tail] = &*node.parts.borrow();
                        let key = (number_of(head, &atoms, &of_cell), number_of(tail, &atoms, &of_cell));
                        of_cell.insert(Rc::as_ptr(node), *pairs.entry(key).or_insert(next));
                    }
                    _ => {}
                }
            },
        )?;
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut bits: Vec<bool> = Vec::new();
        let mut rest = vec![noun];
        while let Some(value) = rest.pop() {
            let number = number_of(&value, &atoms, &of_cell);
            let place = places.get(&number).copied();
            let is_short = |place: usize| match &value {
                Value::Int(number) => number.value.bits() <= BigUint::from(place).bits(),
                _ => false,
            };
            match (place, &value) {
                (Some(place), _) if !is_short(place) => {
                    bits.extend([true, true]);
                    write_number(&mut bits, &place.into());
                }
                (_, Value::Int(atom)) => {
                    places.entry(number).or_insert(bits.len());
                    bits.push(false);
                    write_number(&mut bits, atom.value.magnitude());
                }
                (_, Value::Cell(node)) => {
                    places.insert(number, bits.len());
                    bits.extend([true, false]);
                    let [head, tail] = node.parts.borrow().clone();
                    rest.extend([tail, head]);
                }
                _ => {}
            }
            if bits.len() as u64 > 8 * MAX_BYTES_LEN {
                return Err(TrapKind::Size.into());
            }
        }
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        let bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
        self.push_new(Value::bytes(bytes.into()))
    }

    /// CUE.
    pub fn cue(&mut self) -> Result<(), Fault> {
        let Value::Bytes(text) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        let all = BigUint::from_bytes_le(&text.bytes);
        let end = 8 * text.bytes.len() as u64;
        let mut at = 0;
        let mut known: HashMap<u64, Value> = HashMap::new();
        // A noun to be read, or a cell that starts here to be made.
        let mut tasks: Vec<Option<u64>> = vec![None];
        let mut done: Vec<Value> = Vec::new();
        while let Some(task) = tasks.pop() {
            if let Some(start) = task {
                let (Some(tail), Some(head)) = (done.pop(), done.pop()) else { break };
                let cell = Value::cell(head, tail);
                self.room(cell.size())?;
                self.keep(cell.clone());
                known.insert(start, cell.clone());
                done.push(cell);
                continue;
            }
            let start = at;
            at += 1;
            if !all.bit(start) {
                let number = read_number(&all, end, &mut at).ok_or(TrapKind::Range)?;
                let atom = Value::int(BigInt::from_biguint(Sign::Plus, number.clone()));
                self.charge(number.bits().div_ceil(64).max(1))?;
                self.room(atom.size())?;
                self.keep(atom.clone());
                known.insert(start, atom.clone());
                done.push(atom);
                continue;
            }
            at += 1;
            if !all.bit(start + 1) {
                self.charge(gas::NODE)?;
                tasks.extend([Some(start), None, None]);
            } else {
                let place = read_number(&all, end, &mut at).ok_or(TrapKind::Range)?;
                let place = place.to_u64().ok_or(TrapKind::Range)?;
                self.charge(1)?;
                done.push(known.get(&place).ok_or(TrapKind::Range)?.clone());
            }
        }
        let noun = done.pop().unwrap_or_default();
        self.push_ref(noun);
        Ok(())
    }

    /// R.LIST.
    pub fn list(&mut self, count: u64) -> Result<(), Fault> {
        let items: Vec<Value> = (0..count).map(|_| self.pop_ref()).collect();
        self.charge(gas::NODE * count)?;
        self.room(size::CELL * count)?;
        let list = items.into_iter().fold(Value::Null, |tail, item| Value::cell(item, tail));
        self.push_ref(list);
        Ok(())
    }

    /// R.UNLIST.
    pub fn unlist(&mut self, count: u64) -> Result<(), Fault> {
        let mut rest = self.pop_ref();
        self.charge(count)?;
        let mut items = Vec::new();
        for _ in 0..count {
            let [head, tail] = parts(&rest)?;
            items.push(head);
            rest = tail;
        }
        if !matches!(rest, Value::Null) {
            return Err(TrapKind::Kind.into());
        }
        items.into_iter().for_each(|item| self.push_ref(item));
        Ok(())
    }
}

/// The number of a noun whose parts have one.
fn number_of(value: &Value, atoms: &HashMap<BigInt, usize>, cells: &HashMap<Address, usize>) -> usize {
    match value {
        Value::Int(number) => atoms[&number.value],
        Value::Cell(node) => cells[&Rc::as_ptr(node)],
        _ => usize::MAX,
    }
}

/// A number with its length in front: as many zeros as the length has bits, a one, the length without its top bit.
fn write_number(bits: &mut Vec<bool>, number: &BigUint) {
    let len = number.bits();
    let length_bits = 64 - len.leading_zeros();
    bits.extend((0..length_bits).map(|_| false));
    bits.push(true);
    bits.extend((0..length_bits.saturating_sub(1)).map(|bit| len >> bit & 1 != 0));
    bits.extend((0..len).map(|bit| number.bit(bit)));
}

fn read_number(all: &BigUint, end: u64, at: &mut u64) -> Option<BigUint> {
    let mut zeros = 0u64;
    while !all.bit(*at) {
        zeros += 1;
        *at += 1;
        if *at >= end || zeros > 62 {
            return None;
        }
    }
    *at += 1;
    let Some(low_bits) = zeros.checked_sub(1) else { return Some(BigUint::zero()) };
    let ones = |bits: u64| (BigUint::one() << bits) - 1u32;
    let low = (all >> *at) & ones(low_bits);
    *at += low_bits;
    let len = (1 << low_bits) + low.to_u64()?;
    let number = (all >> *at) & ones(len.min(end));
    *at += len;
    Some(number)
}

fn mug_of(value: &Value) -> u32 {
    match value {
        Value::Int(number) => fold(0xCAFE_BABE, 0x7FFF, number.value.magnitude()),
        Value::Cell(node) => node.mug.get().unwrap_or_default(),
        _ => 0,
    }
}

/// The first of eight hashes that is not zero, folded to 31 bits.
fn fold(seed: u32, otherwise: u32, atom: &BigUint) -> u32 {
    let bytes = if atom.is_zero() { Vec::new() } else { atom.to_bytes_le() };
    for round in 0..8 {
        let hash = murmur3(seed.wrapping_add(round), &bytes);
        let folded = (hash >> 31) ^ (hash & 0x7FFF_FFFF);
        if folded != 0 {
            return folded;
        }
    }
    otherwise
}

/// MurmurHash3_x86_32, on numbers modulo 2^32.
fn murmur3(seed: u32, bytes: &[u8]) -> u32 {
    let times = |a: u32, b: u32| ((u64::from(a) * u64::from(b)) % (1 << 32)) as u32;
    let mut hash = seed;
    for block in bytes.chunks(4) {
        let number = block.iter().rev().fold(0u32, |number, &byte| number << 8 | u32::from(byte));
        hash ^= times(times(number, 0xCC9E_2D51).rotate_left(15), 0x1B87_3593);
        if block.len() == 4 {
            hash = times(hash.rotate_left(13), 5).wrapping_add(0xE654_6B64);
        }
    }
    hash ^= bytes.len() as u32;
    hash = times(hash ^ (hash >> 16), 0x85EB_CA6B);
    hash = times(hash ^ (hash >> 13), 0xC2B2_AE35);
    hash ^ (hash >> 16)
}
