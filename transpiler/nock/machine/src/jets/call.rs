//! What a jet has at hand: the core that it is called on, the heap, and gas.

use dotvm_core::gas;
use dotvm_core::limits::MAX_INTEGER_BITS;
use dotvm_core::trap::TrapKind;
use dotvm_engine::{Charge, Refusal};
use dotvm_heap::{Axis, Heap, Integer, Reference};
use num_bigint::{BigInt, BigUint, Sign};

/// Why a jet has no product.
#[derive(Debug)]
pub(crate) enum Miss {
    /// It does not say: the formula is to be evaluated.
    Punt,
    /// The formula crashes.
    Crash,
    /// The run cannot go on.
    Refused(Refusal),
}

impl<T: Into<Refusal>> From<T> for Miss {
    fn from(refusal: T) -> Miss {
        Miss::Refused(refusal.into())
    }
}

/// A product, counted.
pub(crate) type Product = Result<Reference, Miss>;

/// A call of a jet. What it answers of the heap is not counted unless it says so.
pub(crate) struct Call<'a> {
    pub heap: &'a mut Heap,
    pub core: &'a Reference,
    pub charge: Charge<'a>,
}

impl Call<'_> {
    pub fn pay(&mut self, cost: u64) -> Result<(), Miss> {
        Ok((self.charge)(cost)?)
    }

    /// Pays for a number of this many bits.
    pub fn pay_bits(&mut self, bits: u64) -> Result<(), Miss> {
        if bits > MAX_INTEGER_BITS {
            return Err(Refusal::Trap(TrapKind::Size).into_miss());
        }
        self.pay(gas::integer(bits.div_ceil(64)))
    }

    /// The part of a noun at an axis.
    pub fn slot(&self, noun: &Reference, axis: u64) -> Product {
        self.heap.part(noun, Axis::Short(axis)).map(Reference::alias).ok_or(Miss::Punt)
    }

    pub fn sample(&self) -> Product {
        self.slot(self.core, 6)
    }

    pub fn pair(&self, noun: &Reference) -> Result<(Reference, Reference), Miss> {
        match (self.heap.head(noun), self.heap.tail(noun)) {
            (Some(head), Some(tail)) => Ok((head.alias(), tail.alias())),
            _ => Err(Miss::Punt),
        }
    }

    /// Head and tail of the sample.
    pub fn arguments(&self) -> Result<(Reference, Reference), Miss> {
        self.pair(&self.sample()?)
    }

    /// Head, head of the tail, and tail of the tail.
    pub fn three(&self, noun: &Reference) -> Result<[Reference; 3], Miss> {
        let (first, rest) = self.pair(noun)?;
        let (second, third) = self.pair(&rest)?;
        Ok([first, second, third])
    }

    /// A small atom.
    pub fn small(noun: &Reference) -> Option<u64> {
        noun.as_small().map(|number| number as u64)
    }

    /// An atom below 2^61.
    pub fn number(&self, noun: &Reference) -> Result<u64, Miss> {
        Call::small(noun).ok_or(Miss::Punt)
    }

    /// An atom. Copying is paid.
    pub fn natural(&mut self, noun: &Reference) -> Result<BigUint, Miss> {
        if let Some(small) = Call::small(noun) {
            return Ok(small.into());
        }
        let bits = self.bits(noun)?;
        self.pay(gas::integer(bits.div_ceil(64)))?;
        match self.heap.as_integer(noun) {
            Some(Integer::Large(number)) => Ok(number.magnitude().clone()),
            _ => Err(Miss::Punt),
        }
    }

    /// The length of an atom in bits.
    pub fn bits(&self, noun: &Reference) -> Result<u64, Miss> {
        match self.heap.as_integer(noun) {
            Some(Integer::Small(number)) => Ok(64 - u64::from(number.leading_zeros())),
            Some(Integer::Large(number)) if number.sign() == Sign::Plus => Ok(number.bits()),
            _ => Err(Miss::Punt),
        }
    }

    /// The bytes of an atom, low ones first, without zeros at the end; at most `limit`. They are paid.
    pub fn bytes(&mut self, noun: &Reference, limit: u64) -> Result<Vec<u8>, Miss> {
        let len = self.bits(noun)?.div_ceil(8).min(limit);
        self.pay(gas::copy(len))?;
        let mut bytes = match self.heap.as_integer(noun) {
            Some(Integer::Small(number)) => number.to_le_bytes().to_vec(),
            Some(Integer::Large(number)) => number.magnitude().to_bytes_le(),
            None => return Err(Miss::Punt),
        };
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    /// An atom of the heap, counted.
    pub fn atom(&mut self, number: BigUint) -> Product {
        if number.bits() > MAX_INTEGER_BITS {
            return Err(Refusal::Trap(TrapKind::Size).into_miss());
        }
        Ok(self.heap.integer(BigInt::from(number))?)
    }

    /// An atom of the heap, counted.
    pub fn atom_of_bytes(&mut self, bytes: &[u8]) -> Product {
        self.atom(BigUint::from_bytes_le(bytes))
    }

    pub fn atom_of(&mut self, number: u64) -> Product {
        match i64::try_from(number).ok().and_then(Reference::small) {
            Some(small) => Ok(small),
            None => self.atom(number.into()),
        }
    }

    /// 0 for yes, 1 for no.
    pub fn flag(is_yes: bool) -> Product {
        Reference::small(i64::from(!is_yes)).ok_or(Miss::Punt)
    }

    pub fn share(&mut self, noun: &Reference) -> Reference {
        self.heap.share(noun)
    }

    /// A cell, counted, of two counted parts.
    pub fn cons(&mut self, mut head: Reference, mut tail: Reference) -> Product {
        self.pay(gas::NODE)?;
        match self.heap.cons(&mut head, &mut tail) {
            Ok(cell) => Ok(cell),
            Err(failure) => {
                self.heap.release(head);
                self.heap.release(tail);
                Err(failure.into())
            }
        }
    }

    pub fn equal(&mut self, a: &Reference, b: &Reference) -> Result<bool, Miss> {
        Ok(self.heap.compare(a, b, &mut *self.charge)?.is_eq())
    }

    /// Whether a noun is the empty list. What is neither that nor a cell is no list.
    pub fn is_end(&self, list: &Reference) -> Result<bool, Miss> {
        match Call::small(list) {
            Some(0) => Ok(true),
            _ if list.is_cell() => Ok(false),
            _ => Err(Miss::Punt),
        }
    }

    /// The items of a list, each paid.
    pub fn items(&mut self, list: &Reference) -> Result<Vec<Reference>, Miss> {
        let mut items = Vec::new();
        let mut rest = list.alias();
        while !self.is_end(&rest)? {
            self.pay(gas::NODE)?;
            let (item, next) = self.pair(&rest)?;
            items.push(item);
            rest = next;
        }
        Ok(items)
    }

    /// A list of counted items in front of a counted rest.
    pub fn list(&mut self, items: impl DoubleEndedIterator<Item = Reference>, rest: Reference) -> Product {
        let mut list = rest;
        for item in items.rev() {
            list = self.cons(item, list)?;
        }
        Ok(list)
    }

    /// Whether a noun is made of atoms: its hash is asked for, which is known the second time.
    pub fn mug(&mut self, noun: &Reference) -> Result<u32, Miss> {
        Ok(self.heap.mug(noun, &mut *self.charge)?)
    }

    /// The empty list.
    pub fn nil() -> Reference {
        Reference::small(0).unwrap_or_default()
    }
}

/// A refusal as a miss, where no `?` does it.
pub(crate) trait IntoMiss {
    fn into_miss(self) -> Miss;
}

impl IntoMiss for Refusal {
    fn into_miss(self) -> Miss {
        Miss::Refused(self)
    }
}
