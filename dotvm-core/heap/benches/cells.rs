//! Cells built, walked, copied, compared and freed, against `Rc`: nanoseconds a cell, the median of eleven rounds.
//!
//! `cargo bench -p dotvm-heap`

use std::convert::Infallible;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use dotvm_heap::{Axis, Heap, Reference};

/// Cells of a list.
const CELLS: u32 = 1 << 20;

/// Nodes as a program in Rust would keep them.
enum Noun {
    Number(u64),
    Cell(Rc<(Noun, Noun)>),
}

impl Drop for Noun {
    fn drop(&mut self) {
        // A list that ends in as many nested calls would not end well.
        let mut next = match self {
            Noun::Cell(cell) => Rc::get_mut(cell).map(|cell| std::mem::replace(&mut cell.1, Noun::Number(0))),
            Noun::Number(_) => None,
        };
        while let Some(mut noun) = next {
            next = match &mut noun {
                Noun::Cell(cell) => {
                    Rc::get_mut(cell).map(|cell| std::mem::replace(&mut cell.1, Noun::Number(0)))
                }
                Noun::Number(_) => None,
            };
        }
    }
}

/// The median time of a cell.
fn measure(name: &str, count: u32, mut round: impl FnMut() -> Vec<f64>) {
    let mut rounds: Vec<Vec<f64>> = (0..11).map(|_| round()).collect();
    let phases = rounds[0].len();
    let medians: Vec<String> = (0..phases)
        .map(|phase| {
            rounds.sort_by(|a, b| a[phase].total_cmp(&b[phase]));
            format!("{:6.1}", rounds[5][phase] / f64::from(count))
        })
        .collect();
    println!("{name:28}{}", medians.join(" "));
}

fn timed<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    times.push(start.elapsed().as_nanos() as f64);
    result
}

fn number(value: u32) -> Reference {
    Reference::small(value.into()).unwrap_or_default()
}

fn list(heap: &mut Heap) -> Reference {
    let mut list = Reference::NULL;
    for value in 0..CELLS {
        list = heap.cons(&mut number(value), &mut list).expect("there is room");
    }
    list
}

fn main() {
    println!("{:28} build   walk   free", "ns a cell");
    measure("heap", CELLS, || {
        let mut times = Vec::new();
        let mut heap = Heap::new(u64::MAX);
        // Places that were used before, as in a program that runs for a while.
        let first = list(&mut heap);
        let keep = heap.cons(&mut number(1), &mut number(2)).expect("there is room");
        heap.release(first);
        heap.settle();
        let built = timed(&mut times, || list(&mut heap));
        timed(&mut times, || {
            let (mut at, mut sum) = (&built, 0);
            while let (Some(head), Some(tail)) = (heap.head(at), heap.tail(at)) {
                sum += head.as_small().unwrap_or(0);
                at = tail;
            }
            black_box(sum);
        });
        timed(&mut times, || {
            heap.release(built);
            heap.settle();
        });
        heap.release(keep);
        times
    });
    measure("Rc", CELLS, || {
        let mut times = Vec::new();
        let built = timed(&mut times, || {
            (0..CELLS)
                .fold(Noun::Number(0), |list, value| Noun::Cell(Rc::new((Noun::Number(value.into()), list))))
        });
        timed(&mut times, || {
            let (mut at, mut sum) = (&built, 0);
            while let Noun::Cell(cell) = at {
                if let Noun::Number(value) = cell.0 {
                    sum += value;
                }
                at = &cell.1;
            }
            black_box(sum);
        });
        timed(&mut times, || drop(built));
        times
    });

    println!("\n{:28} short lived   axis step   compare", "ns");
    measure("heap", CELLS, || {
        let mut times = Vec::new();
        let mut heap = Heap::new(u64::MAX);
        timed(&mut times, || {
            for value in 0..CELLS {
                let cell =
                    heap.cons(&mut number(value), &mut Reference::NULL.alias()).expect("there is room");
                heap.release(black_box(cell));
            }
        });
        // A full tree of 16 levels, each leaf its own axis.
        let mut level: Vec<Reference> = (0..1u32 << 16).map(number).collect();
        while level.len() > 1 {
            level = level
                .chunks_mut(2)
                .map(|pair| {
                    let [head, tail] = pair else { unreachable!("pairs") };
                    heap.cons(head, tail).expect("there is room")
                })
                .collect();
        }
        let tree = level.pop().unwrap_or_default();
        timed(&mut times, || {
            let mut sum = 0;
            for step in 0..CELLS / 16 {
                let axis = 1 << 16 | u64::from(step.wrapping_mul(40_503) & 0xFFFF);
                let part = heap.part(&tree, Axis::Short(axis)).and_then(Reference::as_small);
                sum += part.unwrap_or(0);
            }
            black_box(sum);
        });
        let (a, b) = (list(&mut heap), list(&mut heap));
        timed(&mut times, || {
            let equal = heap.compare(&a, &b, |_| Ok::<(), Infallible>(()));
            assert_eq!(black_box(equal), Ok(std::cmp::Ordering::Equal));
        });
        times
    });
}
