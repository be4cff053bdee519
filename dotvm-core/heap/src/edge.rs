//! References in and out of an instance. What is shared on one side is shared on the other.

use std::collections::HashMap;

use dotvm_core::value::{Cell, Ref};

use crate::heap::{Failure, Heap};
use crate::reference::{Kind, Reference};

/// What is still to be brought over.
enum Task<T, C> {
    Bring(T),
    /// Both parts of a cell are there.
    Join(C),
}

impl Heap {
    /// Brings a reference into the heap.
    ///
    /// # Errors
    /// If there is no room; what was brought over until then is given back.
    pub fn import(&mut self, reference: &Ref) -> Result<Reference, Failure> {
        let mut known: HashMap<usize, Reference> = HashMap::new();
        let mut done: Vec<Reference> = Vec::new();
        let result = self.import_into(reference, &mut known, &mut done);
        known.into_values().for_each(|reference| self.release(reference));
        match result {
            Ok(()) => Ok(done.pop().unwrap_or_default()),
            Err(failure) => {
                done.into_iter().for_each(|reference| self.release(reference));
                Err(failure)
            }
        }
    }

    fn import_into(
        &mut self,
        reference: &Ref,
        known: &mut HashMap<usize, Reference>,
        done: &mut Vec<Reference>,
    ) -> Result<(), Failure> {
        let mut tasks = vec![Task::Bring(reference)];
        while let Some(task) = tasks.pop() {
            let new = match task {
                Task::Bring(Ref::Null) => Reference::NULL,
                Task::Bring(Ref::Int(number)) => {
                    self.room(Heap::size_of_integer(number))?;
                    self.integer(number.clone())?
                }
                Task::Bring(Ref::Bytes(bytes)) => self.bytes(bytes.clone())?,
                Task::Bring(Ref::Cell(cell)) => match known.get(&cell.address()) {
                    Some(there) => self.share(there),
                    None => {
                        tasks.extend([Task::Join(cell), Task::Bring(cell.tail()), Task::Bring(cell.head())]);
                        continue;
                    }
                },
                Task::Join(cell) => {
                    let mut tail = done.pop().unwrap_or_default();
                    let mut head = done.pop().unwrap_or_default();
                    let joined = self.cons(&mut head, &mut tail);
                    self.release(head);
                    self.release(tail);
                    let joined = joined?;
                    known.insert(cell.address(), self.share(&joined));
                    joined
                }
            };
            done.push(new);
        }
        Ok(())
    }

    /// The reference as it is outside of the instance.
    pub fn export(&self, reference: &Reference) -> Ref {
        let mut known: HashMap<usize, Cell> = HashMap::new();
        let mut done: Vec<Ref> = Vec::new();
        let mut tasks = vec![Task::Bring(reference)];
        while let Some(task) = tasks.pop() {
            let new = match task {
                Task::Bring(reference) => match (reference.kind(), self.as_integer(reference)) {
                    (Kind::Null, _) => Ref::Null,
                    (_, Some(number)) => Ref::Int(number.to_big()),
                    (Kind::Cell, _) => match known.get(&reference.index()) {
                        Some(there) => Ref::Cell(there.clone()),
                        None => {
                            let place = &self.cells[reference.index()];
                            tasks.extend([
                                Task::Join(reference.index()),
                                Task::Bring(&place.tail),
                                Task::Bring(&place.head),
                            ]);
                            continue;
                        }
                    },
                    _ => self.as_bytes(reference).map_or(Ref::Null, |bytes| Ref::Bytes(bytes.clone())),
                },
                Task::Join(index) => {
                    let tail = done.pop().unwrap_or_default();
                    let cell = Cell::new(done.pop().unwrap_or_default(), tail);
                    known.insert(index, cell.clone());
                    Ref::Cell(cell)
                }
            };
            done.push(new);
        }
        done.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_sharing_stays() {
        let mut heap = Heap::new(u64::MAX);
        let big = num_bigint::BigInt::from(7) << 100;
        let leaf = Ref::cell(Ref::Int(big), Ref::Bytes(Bytes::from_static(b"x")));
        let double = (0..100).fold(leaf, |part, _| Ref::cell(part.clone(), part));
        let inside = heap.import(&double).unwrap();
        assert_eq!(heap.census(), (101, 2, 101 * 32 + 64 + 16 + 65));
        let outside = heap.export(&inside);
        assert!(outside == double);
        let Ref::Cell(cell) = &outside else { panic!() };
        let (Ref::Cell(head), Ref::Cell(tail)) = (cell.head(), cell.tail()) else { panic!() };
        assert_eq!(head.address(), tail.address());
        heap.release(inside);
        assert_eq!(heap.census(), (0, 0, 0));
    }

    #[test]
    fn what_does_not_fit_leaves_nothing() {
        let list = (0..100).fold(Ref::Null, |tail, number| Ref::cell(Ref::from(number), tail));
        let mut heap = Heap::new(99 * 32);
        assert_eq!(heap.import(&list), Err(Failure::Full));
        assert_eq!(heap.census(), (0, 0, 0));
    }
}
