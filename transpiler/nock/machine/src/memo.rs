//! Products that are kept: by subject and formula, for as long as there is room.

use std::collections::VecDeque;

use dotvm_heap::{Heap, Reference};
use hashbrown::HashMap;

use crate::jets::{Call, Miss};

/// A product; all references are counted.
struct Kept {
    subject: Reference,
    formula: Reference,
    product: Reference,
    number: u64,
}

/// The most products that are kept; the oldest goes first.
const MOST: usize = 1 << 18;

/// Kept products.
#[derive(Default)]
pub(crate) struct Memo {
    /// By the hash of subject and formula.
    kept: HashMap<(u32, u32), Vec<Kept>>,
    order: VecDeque<((u32, u32), u64)>,
    next: u64,
    /// Bytes that the heap is to have left: below that nothing is kept.
    reserve: u64,
}

impl Memo {
    /// Nothing is kept; nothing will be where the heap has fewer bytes left than these.
    pub fn new(reserve: u64) -> Memo {
        Memo { reserve, ..Memo::default() }
    }

    /// The product for the subject, not counted.
    pub fn recall(
        &self,
        call: &mut Call<'_>,
        subject: &Reference,
        formula: &Reference,
    ) -> Result<Option<Reference>, Miss> {
        let key = (call.mug(subject)?, call.mug(formula)?);
        for kept in self.kept.get(&key).into_iter().flatten() {
            if (kept.formula == *formula || call.equal(&kept.formula, formula)?)
                && (kept.subject == *subject || call.equal(&kept.subject, subject)?)
            {
                return Ok(Some(kept.product.alias()));
            }
        }
        Ok(None)
    }

    /// Keeps a product. Where there is no room, all that was kept is forgotten.
    pub fn keep(
        &mut self,
        call: &mut Call<'_>,
        subject: &Reference,
        formula: &Reference,
        product: &Reference,
    ) -> Result<(), Miss> {
        if self.recall(call, subject, formula)?.is_some() {
            return Ok(());
        }
        if call.heap.room(self.reserve).is_err() {
            self.forget(call.heap);
            return Ok(());
        }
        let key = (call.mug(subject)?, call.mug(formula)?);
        let (subject, formula, product) = (call.share(subject), call.share(formula), call.share(product));
        let number = self.next;
        self.next += 1;
        self.kept.entry(key).or_default().push(Kept { subject, formula, product, number });
        self.order.push_back((key, number));
        if self.order.len() > MOST
            && let Some((key, number)) = self.order.pop_front()
            && let Some(bucket) = self.kept.get_mut(&key)
        {
            for old in bucket.extract_if(.., |kept| kept.number == number) {
                release(call.heap, old);
            }
            if bucket.is_empty() {
                self.kept.remove(&key);
            }
        }
        Ok(())
    }

    fn forget(&mut self, heap: &mut Heap) {
        for (_, bucket) in self.kept.drain() {
            bucket.into_iter().for_each(|kept| release(heap, kept));
        }
        self.order.clear();
    }
}

fn release(heap: &mut Heap, kept: Kept) {
    for reference in [kept.subject, kept.formula, kept.product] {
        heap.release(reference);
    }
}
