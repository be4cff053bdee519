//! Nock: random formulas under the oracle and as compiled code.

use std::collections::HashMap;

use dotvm_core::value::Ref;
use dotvm_nock_machine::text::{Style, show};
use dotvm_nock_machine::{Bounds, Failure, Input, run};
use dotvm_nock_oracle::{Arena, End, Noun};
use fastrand::Rng;
use num_bigint::{BigInt, BigUint};

/// Reductions after which the oracle gives up.
pub const REDUCTIONS: u64 = 3_000;

fn atom(number: u64) -> Ref {
    Ref::Int(number.into())
}

/// The list of these nouns, the last one its end.
fn nouns(parts: &[Ref]) -> Ref {
    let (last, parts) = parts.split_last().expect("at least one part");
    parts.iter().rev().fold(last.clone(), |tail, head| Ref::cell(head.clone(), tail))
}

/// A random noun: small numbers, numbers at the borders of words, numbers beyond.
pub fn noun(random: &mut Rng, depth: u32) -> Ref {
    if depth > 0 && random.u8(..10) < 6 {
        return Ref::cell(noun(random, depth - 1), noun(random, depth - 1));
    }
    match random.u8(..12) {
        0 => Ref::Int((BigInt::from(1) << random.u32(58..70)) - random.u8(..2)),
        1 => Ref::Int(BigInt::from(random.u128(..)) << random.u32(..200)),
        2 => atom(random.u64(..)),
        _ => atom(random.u64(..12)),
    }
}

fn axis(random: &mut Rng) -> Ref {
    match random.u8(..20) {
        0 => atom(0),
        1 => atom(random.u64(..200)),
        2 => noun(random, 1),
        3..6 => atom(random.u64(4..16)),
        6..14 => atom(random.u64(1..4)),
        _ => atom(1),
    }
}

/// A random formula, mostly well formed.
pub fn formula(random: &mut Rng, depth: u32) -> Ref {
    if depth == 0 {
        return match random.u8(..10) {
            0..6 => Ref::cell(atom(0), axis(random)),
            6 => noun(random, 2),
            _ => Ref::cell(atom(1), noun(random, 2)),
        };
    }
    let part = |random: &mut Rng| {
        let shallower = random.u32(..depth);
        formula(random, shallower)
    };
    match random.u8(..32) {
        0..3 => Ref::cell(atom(0), axis(random)),
        3 => Ref::cell(atom(1), noun(random, 3)),
        4 => nouns(&[atom(2), part(random), part(random)]),
        5 => nouns(&[atom(2), part(random), atom(1), part(random)]),
        6 => nouns(&[atom(3), part(random)]),
        7..10 => nouns(&[atom(4), part(random)]),
        10..12 => nouns(&[atom(5), part(random), part(random)]),
        12..16 => nouns(&[atom(6), test(random, depth), part(random), part(random)]),
        16..18 => nouns(&[atom(7), part(random), part(random)]),
        18..21 => nouns(&[atom(8), part(random), part(random)]),
        21 => nouns(&[atom(9), axis(random), part(random)]),
        22..24 => looping(random, depth),
        24..26 => nouns(&[atom(10), Ref::cell(axis(random), part(random)), part(random)]),
        26 => nouns(&[atom(11), atom(random.u64(..300)), part(random)]),
        27 => nouns(&[atom(11), Ref::cell(atom(random.u64(..300)), part(random)), part(random)]),
        28 => nouns(&[atom(random.u64(..14)), part(random)]),
        _ => Ref::cell(part(random), part(random)),
    }
}

/// A formula that is mostly a loobean.
fn test(random: &mut Rng, depth: u32) -> Ref {
    let shallower = random.u32(..depth);
    match random.u8(..10) {
        0..3 => nouns(&[atom(3), formula(random, shallower)]),
        3..6 => nouns(&[atom(5), formula(random, shallower), formula(random, shallower)]),
        6 => Ref::cell(atom(1), atom(random.u64(..3))),
        7..9 if depth > 1 => nouns(&[
            atom(6),
            test(random, depth - 1),
            if random.bool() { nouns(&[atom(1), atom(random.u64(..2))]) } else { test(random, depth - 1) },
            if random.bool() { nouns(&[atom(1), atom(random.u64(..2))]) } else { test(random, depth - 1) },
        ]),
        _ => formula(random, shallower),
    }
}

/// A core whose arm calls itself on an edited sample until a counter reaches a bound.
fn looping(random: &mut Rng, depth: u32) -> Ref {
    let shallower = random.u32(..depth);
    let bound = random.u64(1..12);
    // [battery counter sample]: 6 counts, 7 is worked on.
    let step = formula(random, shallower);
    let again = match random.u8(..3) {
        0 => {
            nouns(&[atom(9), atom(2), Ref::cell(atom(0), atom(2)), nouns(&[atom(4), atom(0), atom(6)]), step])
        }
        1 => nouns(&[
            atom(9),
            atom(2),
            atom(10),
            Ref::cell(atom(6), nouns(&[atom(4), atom(0), atom(6)])),
            nouns(&[atom(10), Ref::cell(atom(7), step), Ref::cell(atom(0), atom(1))]),
        ]),
        _ => Ref::cell(
            step,
            nouns(&[
                atom(9),
                atom(2),
                atom(10),
                Ref::cell(atom(6), nouns(&[atom(4), atom(0), atom(6)])),
                Ref::cell(atom(0), atom(1)),
            ]),
        ),
    };
    let arm = nouns(&[
        atom(6),
        nouns(&[atom(5), Ref::cell(atom(0), atom(6)), Ref::cell(atom(1), atom(bound))]),
        Ref::cell(atom(0), atom(7)),
        again,
    ]);
    nouns(&[
        atom(8),
        Ref::cell(atom(1), atom(random.u64(..2))),
        nouns(&[atom(8), Ref::cell(atom(1), arm), nouns(&[atom(9), atom(2), Ref::cell(atom(0), atom(1))])]),
    ])
}

/// A noun in the oracle.
pub fn to_oracle(arena: &mut Arena, noun: &Ref) -> Noun {
    enum Task<'a> {
        Visit(&'a Ref),
        Join(usize),
    }
    let mut known: HashMap<usize, Noun> = HashMap::new();
    let mut done: Vec<Noun> = Vec::new();
    let mut tasks = vec![Task::Visit(noun)];
    while let Some(task) = tasks.pop() {
        let made = match task {
            Task::Visit(Ref::Cell(cell)) => match known.get(&cell.address()) {
                Some(noun) => *noun,
                None => {
                    tasks.extend([
                        Task::Join(cell.address()),
                        Task::Visit(cell.tail()),
                        Task::Visit(cell.head()),
                    ]);
                    continue;
                }
            },
            Task::Visit(Ref::Int(number)) => arena.atom(number.magnitude().clone()),
            Task::Visit(other) => panic!("{other:?} is no noun"),
            Task::Join(address) => {
                let tail = done.pop().expect("the tail");
                let head = done.pop().expect("the head");
                let cell = arena.cell(head, tail);
                known.insert(address, cell);
                cell
            }
        };
        done.push(made);
    }
    done.pop().expect("the noun")
}

/// Evaluates under both; how it ended, or what differs.
pub fn compare(subject: &Ref, formula: &Ref) -> Result<&'static str, String> {
    let mut arena = Arena::new();
    let (in_subject, in_formula) = (to_oracle(&mut arena, subject), to_oracle(&mut arena, formula));
    let end = arena.nock(in_subject, in_formula, REDUCTIONS);
    let gas = match end {
        // It may have an end that is far.
        End::Unfinished => 100_000,
        _ => Bounds::default().max_computation,
    };
    let bounds = Bounds { max_memory: 256 << 20, max_computation: gas, max_stack_depth: 100_000 };
    let result = run(&Input::Pair(subject.clone(), formula.clone()), &bounds).result;
    let told = |what: String| {
        let text = |noun| show(noun, Style::PLAIN);
        format!("{what}\nsubject {}\nformula {}", text(subject), text(formula))
    };
    match (end, result) {
        (End::Unfinished, Err(Failure::Machine(why))) => Err(told(why)),
        (End::Unfinished, _) => Ok("unfinished"),
        (End::Crash, Err(Failure::Crash)) => Ok("crash"),
        (End::Product(expected), Ok(product)) => {
            let product_there = to_oracle(&mut arena, &product);
            if arena.equal(expected, product_there) {
                return Ok("product");
            }
            Err(told(format!("the product is {}, which is wrong", show(&product, Style::PLAIN))))
        }
        (End::Crash, Ok(product)) => {
            Err(told(format!("the product is {}, where there is none", show(&product, Style::PLAIN))))
        }
        (_, Err(failure)) => Err(told(failure.to_string())),
    }
}

/// An atom of the oracle as a number, for tests that compute it.
pub fn number(noun: &Ref) -> Option<BigUint> {
    match noun {
        Ref::Int(number) => Some(number.magnitude().clone()),
        _ => None,
    }
}

/// What a fuzz target does with bytes: they are cued under a small limit, and what is a pair is evaluated as the oracle
/// does.
///
/// # Panics
/// If the two differ.
pub fn fuzz(bytes: &[u8]) {
    let Ok(noun) = dotvm_nock_machine::cue(&bytes::Bytes::copy_from_slice(bytes), 1 << 20) else { return };
    if let Ref::Cell(cell) = &noun {
        compare(cell.head(), cell.tail()).unwrap_or_else(|difference| panic!("{difference}"));
    }
}
