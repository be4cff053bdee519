//! Layer four: parser combinators. An edge is `[trace 0]` or `[trace 0 value nail]`, a nail `[trace text]`, a trace line and
//! column.

use dotvm_core::gas;
use dotvm_heap::Reference;

use super::call::{Call, Miss, Product};
use super::steps::{Next, Step, goto, pull, slam};

/// Where the sample of the gate lies in which a rule's gate was made.
const OUTER: u64 = 30;

/// An edge taken apart.
struct Edge {
    trace: Reference,
    /// Value and nail, if the rule matched.
    found: Option<(Reference, Reference)>,
}

fn edge(call: &Call<'_>, noun: &Reference) -> Result<Edge, Miss> {
    let (trace, unit) = call.pair(noun)?;
    if call.is_end(&unit)? {
        return Ok(Edge { trace, found: None });
    }
    let (_, found) = call.pair(&unit)?;
    Ok(Edge { trace, found: Some(call.pair(&found)?) })
}

/// The trace that is farther on; the second where they are equal.
fn last(call: &Call<'_>, first: &Reference, second: &Reference) -> Product {
    let ((p, q), (r, s)) = (call.pair(first)?, call.pair(second)?);
    let place =
        |line: &Reference, column: &Reference| Ok::<_, Miss>((call.number(line)?, call.number(column)?));
    let is_first = place(&p, &q)? > place(&r, &s)?;
    Ok(if is_first { first.alias() } else { second.alias() })
}

/// An edge of a trace and a unit, both counted.
fn made(call: &mut Call<'_>, trace: &Reference, value: Reference, nail: &Reference) -> Product {
    let (trace, nail) = (call.share(trace), call.share(nail));
    let found = call.cons(value, nail)?;
    let unit = call.cons(Call::nil(), found)?;
    call.cons(trace, unit)
}

/// An edge without a match.
fn failed(call: &mut Call<'_>, trace: &Reference) -> Product {
    let trace = call.share(trace);
    call.cons(trace, Call::nil())
}

/// Nothing kept.
fn none() -> Reference {
    Call::nil()
}

// Combinators: the sample is the edge of the first rule, and the second rule.

/// Calls the second rule where the first one stopped, or answers its failure.
fn second(call: &mut Call<'_>) -> Result<Next, Miss> {
    let (vex, sab) = call.arguments()?;
    match edge(call, &vex)?.found {
        None => Ok(Next::Done(call.share(&vex))),
        Some((_, nail)) => {
            let nail = call.share(&nail);
            slam(call, &sab, nail, none())
        }
    }
}

/// The first edge, the second one, and the farther trace.
fn both(call: &Call<'_>, result: &Reference) -> Result<(Edge, Edge, Reference), Miss> {
    let (vex, _) = call.arguments()?;
    let (vex, yit) = (edge(call, &vex)?, edge(call, result)?);
    let yur = last(call, &vex.trace, &yit.trace)?;
    Ok((vex, yit, yur))
}

/// Goes on with both edges by a value made of both values.
fn joined(
    call: &mut Call<'_>,
    result: &Reference,
    join: fn(&mut Call<'_>, &Reference, &Reference) -> Product,
) -> Result<Next, Miss> {
    let (vex, yit, yur) = both(call, result)?;
    let Some(((first, _), (value, nail))) = vex.found.zip(yit.found) else {
        return Ok(Next::Done(failed(call, &yur)?));
    };
    let value = join(call, &first, &value)?;
    Ok(Next::Done(made(call, &yur, value, &nail)?))
}

pub(super) const PLUG: Step = Step {
    begin: second,
    resume: |call, result, _| {
        joined(call, result, |call, a, b| {
            let (a, b) = (call.share(a), call.share(b));
            call.cons(a, b)
        })
    },
};

pub(super) const PFIX: Step =
    Step { begin: second, resume: |call, result, _| joined(call, result, |call, _, b| Ok(call.share(b))) };

pub(super) const SFIX: Step =
    Step { begin: second, resume: |call, result, _| joined(call, result, |call, a, _| Ok(call.share(a))) };

pub(super) const POSE: Step = Step {
    begin: |call| {
        let (vex, sab) = call.arguments()?;
        match edge(call, &vex)?.found {
            Some(_) => Ok(Next::Done(call.share(&vex))),
            None => pull(call, &sab, none()),
        }
    },
    resume: |call, result, _| {
        let (vex, _) = call.arguments()?;
        let ((first, _), (trace, unit)) = (call.pair(&vex)?, call.pair(result)?);
        let trace = last(call, &first, &trace)?;
        let (trace, unit) = (call.share(&trace), call.share(&unit));
        Ok(Next::Done(call.cons(trace, unit)?))
    },
};

/// The second rule, then a gate on both values. Kept is 0, or the farther trace and the second nail.
fn composed(call: &mut Call<'_>, result: &Reference, kept: &Reference, is_bend: bool) -> Result<Next, Miss> {
    if !kept.is_cell() {
        let (vex, yit, yur) = both(call, result)?;
        let Some(((first, _), (value, rest))) = vex.found.zip(yit.found) else {
            if !is_bend {
                return Ok(Next::Done(failed(call, &yur)?));
            }
            return first_alone(call, &yur);
        };
        let (first, value) = (call.share(&first), call.share(&value));
        let sample = call.cons(first, value)?;
        let (yur, rest) = (call.share(&yur), call.share(&rest));
        let kept = call.cons(yur, rest)?;
        let raq = call.slot(call.core, OUTER)?;
        return slam(call, &raq, sample, kept);
    }
    let (yur, nail) = call.pair(kept)?;
    let value = if !is_bend {
        result.alias()
    } else if call.is_end(result)? {
        return first_alone(call, &yur);
    } else {
        call.pair(result)?.1
    };
    let value = call.share(&value);
    Ok(Next::Done(made(call, &yur, value, &nail)?))
}

/// What the first rule found, with another trace.
fn first_alone(call: &mut Call<'_>, trace: &Reference) -> Result<Next, Miss> {
    let (vex, _) = call.arguments()?;
    let (_, unit) = call.pair(&vex)?;
    let (trace, unit) = (call.share(trace), call.share(&unit));
    Ok(Next::Done(call.cons(trace, unit)?))
}

pub(super) const COMP: Step =
    Step { begin: second, resume: |call, result, kept| composed(call, result, kept, false) };

pub(super) const BEND: Step =
    Step { begin: second, resume: |call, result, kept| composed(call, result, kept, true) };

/// The rule between, then the second rule. Kept is 0, or the trace of the rule between.
pub(super) const GLUE: Step = Step {
    begin: |call| {
        let (vex, _) = call.arguments()?;
        let bus = call.slot(call.core, OUTER)?;
        match edge(call, &vex)?.found {
            None => Ok(Next::Done(call.share(&vex))),
            Some((_, nail)) => {
                let nail = call.share(&nail);
                slam(call, &bus, nail, none())
            }
        }
    },
    resume: |call, result, kept| {
        let (vex, sab) = call.arguments()?;
        let vex = edge(call, &vex)?;
        let yit = edge(call, result)?;
        if !kept.is_cell() {
            let Some((_, nail)) = yit.found else {
                let trace = last(call, &vex.trace, &yit.trace)?;
                return Ok(Next::Done(failed(call, &trace)?));
            };
            let (nail, trace) = (call.share(&nail), call.share(&yit.trace));
            return slam(call, &sab, nail, trace);
        }
        let trace = last(call, kept, &yit.trace)?;
        let trace = last(call, &vex.trace, &trace)?;
        let Some(((first, _), (value, nail))) = vex.found.zip(yit.found) else {
            return Ok(Next::Done(failed(call, &trace)?));
        };
        let (first, value) = (call.share(&first), call.share(&value));
        let value = call.cons(first, value)?;
        Ok(Next::Done(made(call, &trace, value, &nail)?))
    },
};

// Rules that another rule is part of: the sample is a nail.

/// Calls the rule at an axis of the core with the sample.
fn inner(call: &mut Call<'_>, axis: u64) -> Result<Next, Miss> {
    let rule = call.slot(call.core, axis)?;
    let nail = call.sample()?;
    let nail = call.share(&nail);
    slam(call, &rule, nail, none())
}

/// An edge with another value where there is one.
fn valued(
    call: &mut Call<'_>,
    result: &Reference,
    value: fn(&mut Call<'_>, &Reference) -> Product,
) -> Result<Next, Miss> {
    let vex = edge(call, result)?;
    let Some((found, nail)) = vex.found else { return Ok(Next::Done(call.share(result))) };
    let value = value(call, &found)?;
    Ok(Next::Done(made(call, &vex.trace, value, &nail)?))
}

pub(super) const COLD: Step = Step {
    begin: |call| inner(call, 2 * OUTER + 1),
    resume: |call, result, _| {
        valued(call, result, |call, _| {
            let constant = call.slot(call.core, 2 * OUTER)?;
            Ok(call.share(&constant))
        })
    },
};

pub(super) const STAG: Step = Step {
    begin: |call| inner(call, 2 * OUTER + 1),
    resume: |call, result, _| {
        valued(call, result, |call, value| {
            let label = call.slot(call.core, 2 * OUTER)?;
            let (label, value) = (call.share(&label), call.share(value));
            call.cons(label, value)
        })
    },
};

/// Applies a gate to what a rule found. Kept is 0, or the edge.
fn applied(
    call: &mut Call<'_>,
    result: &Reference,
    kept: &Reference,
    sample: fn(&mut Call<'_>, &Reference, &Reference) -> Product,
) -> Result<Next, Miss> {
    if kept.is_cell() {
        let vex = edge(call, kept)?;
        let (_, nail) = vex.found.ok_or(Miss::Punt)?;
        let value = call.share(result);
        return Ok(Next::Done(made(call, &vex.trace, value, &nail)?));
    }
    let vex = edge(call, result)?;
    let Some((value, nail)) = vex.found else { return Ok(Next::Done(call.share(result))) };
    let sample = sample(call, &value, &nail)?;
    let gate = call.slot(call.core, 2 * OUTER)?;
    let kept = call.share(result);
    slam(call, &gate, sample, kept)
}

pub(super) const COOK: Step = Step {
    begin: |call| inner(call, 2 * OUTER + 1),
    resume: |call, result, kept| applied(call, result, kept, |call, value, _| Ok(call.share(value))),
};

pub(super) const HERE: Step = Step {
    begin: |call| inner(call, 2 * OUTER + 1),
    resume: |call, result, kept| {
        applied(call, result, kept, |call, value, nail| {
            let (from, _) = call.arguments()?;
            let (to, _) = call.pair(nail)?;
            let (from, to, value) = (call.share(&from), call.share(&to), call.share(value));
            let place = call.cons(from, to)?;
            call.cons(place, value)
        })
    },
};

/// Repeats a rule. Kept is `[0 edges nail]` while it matches, then `[1 edges trace nail]` while what it found is folded.
pub(super) const STIR: Step = Step {
    begin: |call| {
        let nail = call.sample()?;
        let nail = call.share(&nail);
        stir_next(call, Call::nil(), nail)
    },
    resume: |call, result, kept| {
        let [phase, edges, rest] = call.three(kept)?;
        if Call::small(&phase) == Some(1) {
            let (trace, nail) = call.pair(&rest)?;
            return stir_fold(call, &edges, &trace, result, &nail);
        }
        let vex = edge(call, result)?;
        let Some((_, nail)) = vex.found else {
            let value = call.slot(call.core, 2 * OUTER)?;
            return stir_fold(call, &edges, &vex.trace, &value, &rest);
        };
        let (result, edges, nail) = (call.share(result), call.share(&edges), call.share(&nail));
        let edges = call.cons(result, edges)?;
        stir_next(call, edges, nail)
    },
};

fn stir_next(call: &mut Call<'_>, edges: Reference, nail: Reference) -> Result<Next, Miss> {
    let rule = call.slot(call.core, 4 * OUTER + 3)?;
    let sample = call.share(&nail);
    let kept = call.cons(edges, nail)?;
    let kept = call.cons(Call::nil(), kept)?;
    slam(call, &rule, sample, kept)
}

fn stir_fold(
    call: &mut Call<'_>,
    edges: &Reference,
    trace: &Reference,
    value: &Reference,
    nail: &Reference,
) -> Result<Next, Miss> {
    if call.is_end(edges)? {
        let value = call.share(value);
        return Ok(Next::Done(made(call, trace, value, nail)?));
    }
    let (first, rest) = call.pair(edges)?;
    let vex = edge(call, &first)?;
    let (found, _) = vex.found.ok_or(Miss::Punt)?;
    let trace = last(call, &vex.trace, trace)?;
    let (found, value) = (call.share(&found), call.share(value));
    let sample = call.cons(found, value)?;
    let (trace, nail, rest) = (call.share(&trace), call.share(nail), call.share(&rest));
    let place = call.cons(trace, nail)?;
    let kept = call.cons(rest, place)?;
    let kept = call.cons(Reference::small(1).unwrap_or_default(), kept)?;
    let gate = call.slot(call.core, 4 * OUTER + 2)?;
    slam(call, &gate, sample, kept)
}

/// Looks the first character up in a search tree of characters and ranges.
pub(super) const STEW: Step = Step {
    begin: |call| {
        let nail = call.sample()?;
        let (trace, text) = call.pair(&nail)?;
        let mut tree = call.slot(call.core, 14)?;
        let first = if call.is_end(&text)? { None } else { Some(call.pair(&text)?.0) };
        let Some(first) = first else { return Ok(Next::Done(failed(call, &trace)?)) };
        let first = call.number(&first)?;
        while !call.is_end(&tree)? {
            call.pay(gas::NODE)?;
            let [node, left, right] = call.three(&tree)?;
            let (key, rule) = call.pair(&node)?;
            let (from, to) = if key.is_cell() {
                let (from, to) = call.pair(&key)?;
                (call.number(&from)?, call.number(&to)?)
            } else {
                let key = call.number(&key)?;
                (key, key)
            };
            if from <= first && first <= to {
                let nail = call.share(&nail);
                return goto(call, &rule, nail);
            }
            tree = if first < from { left } else { right };
        }
        Ok(Next::Done(failed(call, &trace)?))
    },
    resume: |_, _, _| Err(Miss::Punt),
};

// Rules of one character.

/// The edge of a rule that takes the first character of the sample if it matches.
fn character(
    call: &mut Call<'_>,
    is_match: impl FnOnce(&mut Call<'_>, &Reference) -> Result<bool, Miss>,
) -> Product {
    let (trace, text) = call.arguments()?;
    if call.is_end(&text)? {
        return failed(call, &trace);
    }
    let (first, rest) = call.pair(&text)?;
    if !is_match(call, &first)? {
        return failed(call, &trace);
    }
    let (line, column) = call.pair(&trace)?;
    let (line, column) = (call.number(&line)?, call.number(&column)?);
    let is_newline = Call::small(&first) == Some(10);
    let (line, column) = if is_newline { (line + 1, 1) } else { (line, column + 1) };
    let (line, column) = (call.atom_of(line)?, call.atom_of(column)?);
    let trace = call.cons(line, column)?;
    let (again, rest) = (call.share(&trace), call.share(&rest));
    let nail = call.cons(again, rest)?;
    let first = call.share(&first);
    let found = call.cons(first, nail)?;
    let unit = call.cons(Call::nil(), found)?;
    call.cons(trace, unit)
}

pub(super) fn just(call: &mut Call<'_>) -> Product {
    let wanted = call.slot(call.core, OUTER)?;
    character(call, |call, first| call.equal(first, &wanted))
}

pub(super) fn shim(call: &mut Call<'_>) -> Product {
    let range = call.slot(call.core, OUTER)?;
    let (from, to) = call.pair(&range)?;
    let (from, to) = (call.number(&from)?, call.number(&to)?);
    character(call, |call, first| Ok((from..=to).contains(&call.number(first)?)))
}

pub(super) fn mask(call: &mut Call<'_>) -> Product {
    let wanted = call.slot(call.core, OUTER)?;
    let wanted = call.items(&wanted)?;
    character(call, |call, first| {
        for character in &wanted {
            if call.equal(character, first)? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

pub(super) fn easy(call: &mut Call<'_>) -> Product {
    let nail = call.sample()?;
    let (trace, _) = call.pair(&nail)?;
    let value = call.slot(call.core, OUTER)?;
    let value = call.share(&value);
    made(call, &trace, value, &nail)
}
