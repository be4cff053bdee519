//! Layer four: text.

use dotvm_core::gas;
use dotvm_heap::Reference;

use super::call::{Call, Product};

pub(super) fn trip(call: &mut Call<'_>) -> Product {
    let cord = call.sample()?;
    let bytes = call.bytes(&cord, u64::MAX)?;
    call.pay(gas::NODE * bytes.len() as u64)?;
    let items = bytes.into_iter().map(|byte| Reference::small(byte.into()).unwrap_or_default());
    call.list(items, Call::nil())
}

/// The farther of two traces; the second where they are equal.
pub(super) fn last(call: &mut Call<'_>) -> Product {
    let (first, second) = call.arguments()?;
    let ((p, q), (r, s)) = (call.pair(&first)?, call.pair(&second)?);
    let first_place = (call.number(&p)?, call.number(&q)?);
    let second_place = (call.number(&r)?, call.number(&s)?);
    Ok(call.share(if first_place > second_place { &first } else { &second }))
}
