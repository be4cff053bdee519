//! Layer two: lists.

use dotvm_core::gas;
use dotvm_heap::Reference;

use super::call::{Call, Miss, Product};
use super::steps::{Next, Step, slam};

fn shared(call: &mut Call<'_>, items: &[Reference]) -> Vec<Reference> {
    items.iter().map(|item| call.share(item)).collect()
}

pub(super) fn flop(call: &mut Call<'_>) -> Product {
    let list = call.sample()?;
    let items = call.items(&list)?;
    let items = shared(call, &items);
    call.list(items.into_iter().rev(), Call::nil())
}

pub(super) fn lent(call: &mut Call<'_>) -> Product {
    let list = call.sample()?;
    let count = call.items(&list)?.len();
    call.atom_of(count as u64)
}

pub(super) fn snag(call: &mut Call<'_>) -> Product {
    let (index, list) = call.arguments()?;
    let mut rest = list;
    for _ in 0..call.number(&index)? {
        call.pay(gas::NODE)?;
        rest = call.pair(&rest)?.1;
    }
    let (item, _) = call.pair(&rest)?;
    Ok(call.share(&item))
}

pub(super) fn scag(call: &mut Call<'_>) -> Product {
    let (count, list) = call.arguments()?;
    let (mut items, mut rest) = (Vec::new(), list);
    for _ in 0..call.number(&count)? {
        if call.is_end(&rest)? {
            break;
        }
        call.pay(gas::NODE)?;
        let (item, next) = call.pair(&rest)?;
        items.push(item);
        rest = next;
    }
    let items = shared(call, &items);
    call.list(items.into_iter(), Call::nil())
}

pub(super) fn snip(call: &mut Call<'_>) -> Product {
    let list = call.sample()?;
    let mut items = call.items(&list)?;
    items.pop();
    let items = shared(call, &items);
    call.list(items.into_iter(), Call::nil())
}

pub(super) fn weld(call: &mut Call<'_>) -> Product {
    let (a, b) = call.arguments()?;
    let items = call.items(&a)?;
    let items = shared(call, &items);
    let rest = call.share(&b);
    call.list(items.into_iter(), rest)
}

pub(super) fn zing(call: &mut Call<'_>) -> Product {
    let lists = call.sample()?;
    let mut items = Vec::new();
    for list in call.items(&lists)? {
        items.extend(call.items(&list)?);
    }
    let items = shared(call, &items);
    call.list(items.into_iter(), Call::nil())
}

pub(super) fn find(call: &mut Call<'_>) -> Product {
    let (needle, stack) = call.arguments()?;
    let needle = call.items(&needle)?;
    let stack = call.items(&stack)?;
    if needle.is_empty() {
        return Ok(Call::nil());
    }
    for index in 0..(stack.len() + 1).saturating_sub(needle.len()) {
        let mut is_here = true;
        for (wanted, item) in needle.iter().zip(&stack[index..]) {
            call.pay(gas::PAIR)?;
            if !call.equal(wanted, item)? {
                is_here = false;
                break;
            }
        }
        if is_here {
            let index = call.atom_of(index as u64)?;
            return call.cons(Call::nil(), index);
        }
    }
    Ok(Call::nil())
}

pub(super) fn reap(call: &mut Call<'_>) -> Product {
    let (count, item) = call.arguments()?;
    let mut list = Call::nil();
    for _ in 0..call.number(&count)? {
        let item = call.share(&item);
        list = call.cons(item, list)?;
    }
    Ok(list)
}

/// The head of a list as the sample of a gate, and the rest; `None` at its end.
fn first(call: &mut Call<'_>, list: &Reference) -> Result<Option<(Reference, Reference)>, Miss> {
    if call.is_end(list)? {
        return Ok(None);
    }
    call.pair(list).map(Some)
}

pub(super) const TURN: Step = Step { begin: turn, resume: turn_on };

fn turn(call: &mut Call<'_>) -> Result<Next, Miss> {
    let (list, _) = call.arguments()?;
    turn_next(call, &list, Call::nil())
}

/// Kept: the rest of the list, and what came out so far, the last one first.
fn turn_on(call: &mut Call<'_>, result: &Reference, kept: &Reference) -> Result<Next, Miss> {
    let (rest, done) = call.pair(kept)?;
    let (result, done) = (call.share(result), call.share(&done));
    let done = call.cons(result, done)?;
    turn_next(call, &rest, done)
}

fn turn_next(call: &mut Call<'_>, rest: &Reference, done: Reference) -> Result<Next, Miss> {
    let Some((item, rest)) = first(call, rest)? else {
        let items = call.items(&done)?;
        let items = shared(call, &items);
        let list = call.list(items.into_iter().rev(), Call::nil());
        call.heap.release(done);
        return list.map(Next::Done);
    };
    let (_, gate) = call.arguments()?;
    let (item, rest) = (call.share(&item), call.share(&rest));
    let kept = call.cons(rest, done)?;
    slam(call, &gate, item, kept)
}

pub(super) const ROLL: Step = Step { begin: roll, resume: roll_on };

fn roll(call: &mut Call<'_>) -> Result<Next, Miss> {
    let (list, gate) = call.arguments()?;
    let sum = call.slot(&gate, 13)?;
    roll_next(call, &list, &sum)
}

/// Kept: the rest of the list.
fn roll_on(call: &mut Call<'_>, result: &Reference, kept: &Reference) -> Result<Next, Miss> {
    roll_next(call, kept, result)
}

fn roll_next(call: &mut Call<'_>, rest: &Reference, sum: &Reference) -> Result<Next, Miss> {
    let Some((item, rest)) = first(call, rest)? else {
        return Ok(Next::Done(call.share(sum)));
    };
    let (_, gate) = call.arguments()?;
    let (item, sum, rest) = (call.share(&item), call.share(sum), call.share(&rest));
    let sample = call.cons(item, sum)?;
    slam(call, &gate, sample, rest)
}

pub(super) const LEVY: Step = Step { begin: levy, resume: levy_on };

fn levy(call: &mut Call<'_>) -> Result<Next, Miss> {
    let (list, _) = call.arguments()?;
    levy_next(call, &list)
}

/// Kept: the rest of the list.
fn levy_on(call: &mut Call<'_>, result: &Reference, kept: &Reference) -> Result<Next, Miss> {
    match Call::small(result) {
        Some(0) => levy_next(call, kept),
        Some(1) => Ok(Next::Done(Call::flag(false)?)),
        _ => Err(Miss::Crash),
    }
}

fn levy_next(call: &mut Call<'_>, rest: &Reference) -> Result<Next, Miss> {
    let Some((item, rest)) = first(call, rest)? else { return Ok(Next::Done(Call::flag(true)?)) };
    let (_, gate) = call.arguments()?;
    let (item, rest) = (call.share(&item), call.share(&rest));
    slam(call, &gate, item, rest)
}
