//! References that go from one heap to another: what work beside an instance is given and gives back.

use bytes::Bytes;
use num_bigint::BigInt;

use crate::heap::{Failure, Heap, Object};
use crate::reference::{Kind, Reference};

/// What a reference leads to, if it is no cell: it needs nothing else of its heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loose {
    /// Nothing.
    Null,
    /// An integer.
    Integer(BigInt),
    /// A byte string.
    Bytes(Bytes),
}

impl Heap {
    /// A heap whose limit rises from nothing as it is needed, at most to `most`: nothing that it ever held counted more
    /// than [`Heap::limit`] says at the end.
    pub fn rising(most: u64) -> Heap {
        let mut heap = Heap::new(most);
        heap.limit = 0;
        heap
    }

    /// The limit as it stands.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What fits beside all that is reachable: exact, because what is dead is given back first.
    pub fn room_left(&mut self) -> u64 {
        self.limit - self.reachable()
    }

    /// Whether something did not fit.
    pub fn was_full(&self) -> bool {
        self.was_full
    }

    /// What a reference leads to; `None` for a cell.
    pub fn loose(&self, reference: &Reference) -> Option<Loose> {
        match reference.kind() {
            Kind::Null => Some(Loose::Null),
            Kind::Integer => self.as_integer(reference).map(|number| Loose::Integer(number.to_big())),
            Kind::Bytes => self.as_bytes(reference).cloned().map(Loose::Bytes),
            Kind::Cell => None,
        }
    }

    /// The same for what this heap alone holds and counts: `None` also for constants and parts of other byte strings.
    pub fn own(&self, reference: &Reference) -> Option<Loose> {
        let is_object = reference.is_counted() && !reference.is_cell();
        let is_own = !is_object
            || matches!(self.objects[reference.index()].object, Object::Bytes(_) | Object::Integer(_));
        self.loose(reference).filter(|_| is_own)
    }

    /// Takes in what another heap counts: here it counts nothing.
    ///
    /// # Errors
    /// None but what [`Failure`] says of the machine underneath.
    pub fn lent(&mut self, loose: &Loose) -> Result<Reference, Failure> {
        match loose {
            Loose::Null => Ok(Reference::NULL),
            Loose::Integer(number) => self.constant_integer(number),
            Loose::Bytes(bytes) => self.constant_bytes(bytes.clone()),
        }
    }

    /// Takes in what another heap has given up.
    ///
    /// # Errors
    /// If there is no room.
    pub fn bring(&mut self, loose: Loose) -> Result<Reference, Failure> {
        match loose {
            Loose::Null => Ok(Reference::NULL),
            Loose::Integer(number) => self.integer(number),
            Loose::Bytes(bytes) => self.bytes(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_counts_nothing_and_does_not_come_back() {
        let mut heap = Heap::rising(1000);
        let lent = heap.lent(&Loose::Bytes(Bytes::from(vec![1; 5000]))).unwrap();
        let part = heap.slice(&lent, 0..10).unwrap().unwrap();
        assert_eq!((heap.own(&lent), heap.own(&part)), (None, None));
        assert_eq!(heap.loose(&part), Some(Loose::Bytes(Bytes::from(vec![1; 10]))));
        let own = heap.bring(Loose::Bytes(Bytes::from_static(b"own"))).unwrap();
        assert_eq!(heap.own(&own), Some(Loose::Bytes(Bytes::from_static(b"own"))));
        let large = heap.lent(&Loose::Integer(BigInt::from(1) << 100)).unwrap();
        assert_eq!(heap.own(&large), None);
        let small = heap.lent(&Loose::Integer(BigInt::from(-7))).unwrap();
        assert_eq!(heap.own(&small), Some(Loose::Integer(BigInt::from(-7))));
        assert_eq!(heap.own(&Reference::NULL), Some(Loose::Null));
        assert_eq!(heap.reachable(), 64 + 64 + 3);
    }

    #[test]
    fn the_limit_rises_to_the_most_and_stays_where_it_was_needed() {
        let mut heap = Heap::rising(1000);
        assert_eq!((heap.limit(), heap.was_full()), (0, false));
        let first = heap.bring(Loose::Bytes(Bytes::from(vec![0; 100]))).unwrap();
        assert_eq!(heap.limit(), 164);
        heap.release(first);
        let second = heap.bring(Loose::Bytes(Bytes::from(vec![0; 400]))).unwrap();
        assert_eq!((heap.limit(), heap.was_full()), (464, false));
        assert_eq!(heap.bring(Loose::Bytes(Bytes::from(vec![0; 500]))), Err(Failure::Full));
        assert!(heap.was_full());
        heap.release(second);
        let cell = heap.cons(&mut Reference::NULL.alias(), &mut Reference::NULL.alias()).unwrap();
        assert_eq!((heap.loose(&cell), heap.own(&cell)), (None, None));
    }
}
